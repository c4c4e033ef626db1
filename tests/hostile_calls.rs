//! Every function of the header, called with each argument wrong in turn: a status each time, nothing written, nothing printed. The calls are made from the
//! header, so a new function is among them.

mod common;

#[path = "common/abi.rs"]
#[allow(dead_code)] // what others share
mod abi;
#[path = "common/c_program.rs"]
#[allow(dead_code)] // what others share
mod c_program;

use common::ensure;
use std::fmt::Write;

/// A parameter: its type and name.
struct Parameter {
    kind: String,
    name: String,
}

/// Splits "T f(P a, Q *b)".
fn parsed(line: &str) -> Option<(String, Vec<Parameter>)> {
    let (before, rest) = line.strip_prefix("bnn_status ")?.split_once('(')?;
    let each = rest.strip_suffix(')')?.split(", ").map(|p| {
        let at = p.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        let (kind, name) = p.split_at(at + 1);
        Some(Parameter {
            kind: kind.trim().replace(" *", "*"),
            name: name.into(),
        })
    });
    Some((before.to_owned(), each.collect::<Option<_>>()?))
}

/// The object that a type's handle is of: its variable, and one of another type.
fn handle(kind: &str) -> Option<(&'static str, &'static str)> {
    let name = kind.trim_start_matches("const ").strip_suffix('*')?;
    Some(match name {
        "bnn_context" => ("contexts", "reports"),
        "bnn_corpus" => ("corpora", "reports"),
        "bnn_options" => ("options_", "models"),
        "bnn_model" => ("models", "options_"),
        "bnn_report" => ("reports", "models"),
        "bnn_sampler" => ("samplers", "models"),
        "bnn_ensemble" => ("ensembles", "generators"),
        "bnn_generator" => ("generators", "ensembles"),
        "bnn_probe" => ("probes", "evaluators"),
        "bnn_evaluator" => ("evaluators", "probes"),
        "bnn_trainer" => ("trainers", "stores"),
        "bnn_store" => ("stores", "trainers"),
        _ => return None,
    })
}

/// What an argument is plainly, and the ways in which it may be wrong, each with its value.
fn ways(f: &str, all: &[Parameter], i: usize) -> (String, Vec<(&'static str, String)>) {
    let (kind, name) = (all[i].kind.as_str(), all[i].name.as_str());
    let null = ("NOTHING", "NULL".to_owned());
    if let Some((own, other)) = handle(kind) {
        return (
            own.into(),
            vec![null, ("OTHER", format!("(void *){other}"))],
        );
    }
    let after_text = i > 0 && all[i - 1].kind == "const char*";
    match kind {
        "const char*" => {
            let word = match name {
                "path" | "folder" if !f.ends_with("_save") => "samples",
                "name" if f.contains("report_") => "loss",
                "name" if f.ends_with("_f64") => "temperature",
                "name" if f.ends_with("_str") => "sampler",
                "name" if f.contains("options_") => "thinning",
                "value" => "baoa",
                _ => "ab",
            };
            let bad = ("BAD_TEXT", "\"\\xff\\xfe\"".into());
            (format!("\"{word}\""), vec![null, bad])
        }
        "const char*const*" => ("words".into(), vec![null]),
        "const uint32_t*const*" => ("rows".into(), vec![null]),
        "const size_t*" => ("lens".into(), vec![null]),
        "const float*" => ("floats".into(), vec![null]),
        "const double*" => ("doubles".into(), vec![null]),
        "const uint32_t*" => ("tokens".into(), vec![null]),
        "const int32_t*" => ("flags".into(), vec![null]),
        "void*" => ("NULL".into(), Vec::new()),
        k if k.ends_with("_callback") => {
            // Its arguments are left alone.
            (
                "NULL".into(),
                vec![("CALLED", format!("({k})(void (*)(void))goes_on"))],
            )
        }
        k if k.ends_with("**") => ("&made".into(), vec![null]),
        k if k.ends_with('*') => (
            "place(how == SAME_PLACE)".into(),
            vec![null, ("SAME_PLACE", "place(1)".into())],
        ),
        "size_t" => {
            let plain = match name {
                // A NUL ends the text.
                _ if after_text => "SIZE_MAX",
                "text" | "index" => "1",
                "capacity" => "ROOM",
                "threads" => "1",
                "n" if [
                    "sampler",
                    "model",
                    "ensemble_add",
                    "trainer",
                    "evaluator",
                    "store",
                ]
                .iter()
                .any(|o| f.contains(o)) =>
                {
                    "size"
                }
                "v" => "8",
                _ => "2",
            };
            let ways = [
                ("ZERO", "0"),
                ("ONE", "1"),
                ("HUGE_SIZE", "SIZE_MAX / 2 + 1"),
                ("LARGEST", "SIZE_MAX"),
            ];
            (plain.into(), ways.map(|(w, v)| (w, v.into())).to_vec())
        }
        "uint64_t" | "uint32_t" => {
            let ways = [("ZERO", "0"), ("ODD", "77")];
            ("2".into(), ways.map(|(w, v)| (w, v.into())).to_vec())
        }
        "int32_t" => {
            let ways = [("ONE", "1"), ("NEGATIVE", "-7"), ("ODD", "99")];
            ("0".into(), ways.map(|(w, v)| (w, v.into())).to_vec())
        }
        "double" => {
            let ways = [
                ("NAN_NUMBER", "NAN"),
                ("INFINITE", "INFINITY"),
                ("NEGATIVE", "-1"),
            ];
            ("1".into(), ways.map(|(w, v)| (w, v.into())).to_vec())
        }
        other => panic!("{f}: no argument of type `{other}` is known"),
    }
}

/// The calls of one function.
fn calls(f: &str, all: &[Parameter]) -> String {
    let (mut body, mut arguments, mut variants) =
        (String::new(), Vec::new(), vec![(0, "PLAIN", 0)]);
    let mut made = None;
    let own = &all[..all.len() - 1];
    for (i, p) in own.iter().enumerate() {
        let (plain, ways) = ways(f, all, i);
        let mut value = plain;
        for (way, wrong) in &ways {
            variants.push((i, way, usize::from(handle(&p.kind).is_some())));
            value = format!("at == {i} && how == {way} ? {wrong} : {value}");
        }
        if let Some(object) = p.kind.strip_suffix("**") {
            made = Some(object);
        }
        let kind = &p.kind;
        writeln!(body, "  {} a{i} = {value};", kind.replace('*', " *")).unwrap();
        arguments.push(format!("a{i}"));
    }
    // Of a callback of gradients or of a schedule the arguments must be written, which a stub cannot.
    let may_write = ["step_gradient", "curvature_with"]
        .iter()
        .any(|part| f.contains(part));
    let made_line = made.map_or(String::new(), |object| {
        format!("  {object} *made = NULL;\n")
    });
    let free_line = made.map_or(String::new(), |object| format!("  {object}_free(made);\n"));
    let args = [arguments.join(", "), "&err".into()].join(", ");
    let table: Vec<String> = variants
        .iter()
        .map(|(at, way, of)| format!("{{{at}, {way}, {of}}}"))
        .collect();
    format!(
        "static void call_{f}(int at, int how, int is_handle) {{\n{made_line}{body}  memset(&err, 0, sizeof err);\n  bnn_status s = {f}({args});\n  \
         judge(\"{f}\", at, how, is_handle, {}, s);\n{free_line}  n_outs = 0;\n}}\nstatic const int ways_{f}[][3] = {{{}}};\n",
        i32::from(may_write),
        table.join(", ")
    )
}

/// The program, with a line for each function that it calls.
fn program() -> String {
    let root = c_program::root();
    let lines = abi::Abi::now(&root).lines;
    let functions: Vec<_> = lines.iter().filter_map(|line| parsed(line)).collect();
    assert!(functions.len() > 140, "{}", functions.len());
    let mut text = String::from("#include \"hostile_calls.h\"\n\n");
    for (f, parameters) in &functions {
        assert_eq!(
            parameters.last().expect("an error").kind,
            "bnn_error*",
            "{f}"
        );
        text += &calls(f, parameters);
    }
    text += "int main(int n, char **folder) {\n  if (n < 2) return 2;\n  begin(folder[1]);\n  for (int of_own = 0; of_own < 2; ++of_own) {\n    \
             samplers = of_own ? on_gradients : on_gpt;\n    if (of_own) size = 5;\n";
    for (f, _) in &functions {
        writeln!(
            text,
            "    for (size_t i = 0; i < sizeof ways_{f} / sizeof *ways_{f}; ++i) call_{f}(ways_{f}[i][0], ways_{f}[i][1], ways_{f}[i][2]);"
        )
        .unwrap();
    }
    text += "  }\n  end();\n  return finish();\n}\n";
    text
}

#[test]
fn every_wrong_argument_of_every_function_is_a_status() {
    let dir = tempfile::tempdir().expect("a folder");
    let (source, program_file) = (dir.path().join("calls.c"), dir.path().join("calls"));
    let shared = c_program::root().join("tests/capi/hostile_calls.h");
    for name in ["hostile_calls.h", "check.h"] {
        std::fs::copy(shared.with_file_name(name), dir.path().join(name)).expect("a copy");
    }
    std::fs::write(&source, program()).expect("a program");
    c_program::build(&source, &program_file, true);
    let work = dir.path().join("work");
    std::fs::create_dir(&work).expect("a folder");
    let folder = work.to_str().expect("UTF-8");
    let out = c_program::run(&program_file, &[], &[folder]);
    // Nothing is printed but what the program says itself.
    assert_eq!(c_program::text(&out), "all as documented\n");
    if ensure::has("valgrind") {
        let again = dir.path().join("again");
        std::fs::create_dir(&again).expect("a folder");
        let folder = again.to_str().expect("UTF-8");
        let out = c_program::run(&program_file, c_program::VALGRIND, &[folder]);
        assert_eq!(c_program::text(&out), "all as documented\n");
    }
}
