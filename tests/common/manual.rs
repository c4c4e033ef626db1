//! The header as people read it: what cbindgen writes, in the order of use, under headings, in lines of at most 100 characters, with the release that each
//! function came with.

/// Characters of a line.
const WIDTH: usize = 100;
/// The release that brought a function whose text does not say.
const SINCE: &str = "0.1.0";

/// A heading, a line on what it is about, and the beginnings of the names that stand under it, in their order.
type Section = (&'static str, &'static str, &'static [&'static str]);

const SECTIONS: &[Section] = &[
    (
        "Versions, statuses and errors",
        "A call that can fail returns a status and takes a place for the error's words, or NULL.",
        &[
            "BNN_VERSION_",
            "BNN_ABI",
            "bnn_version_",
            "bnn_abi",
            "bnn_status",
            "BNN_OK",
            "BNN_ERR_",
            "bnn_error",
        ],
    ),
    (
        "Objects",
        "Opaque: bnn_x_new makes one, bnn_x_free frees it, in any order; freeing NULL is fine.",
        &[
            "type bnn_context",
            "type bnn_options",
            "type bnn_report",
            "type bnn_corpus",
            "type bnn_model",
            "type bnn_trainer",
            "type bnn_evaluator",
            "type bnn_sampler",
            "type bnn_store",
            "type bnn_ensemble",
            "type bnn_generator",
            "type bnn_probe",
            "bnn_progress_callback",
        ],
    ),
    ("Contexts", "Where things are computed.", &["bnn_context_"]),
    (
        "Options",
        "Settings by name; each constructor says which it reads.",
        &["BNN_TYPE_", "bnn_options_"],
    ),
    (
        "Reports",
        "Results of several numbers, by name.",
        &["bnn_report_"],
    ),
    (
        "Texts and tokens",
        "What models learn from.",
        &["BNN_SPLIT_", "bnn_corpus_"],
    ),
    (
        "Models",
        "A GPT's shape and its parameters.",
        &[
            "bnn_model_new",
            "bnn_model_untie",
            "bnn_model_copy",
            "bnn_model_free",
            "bnn_model_",
        ],
    ),
    (
        "Training",
        "The deterministic model that chains start at.",
        &[
            "BNN_START_",
            "bnn_trainer_",
            "bnn_step_callback",
            "bnn_model_train_once",
        ],
    ),
    (
        "Evaluators",
        "Losses and gradients at any parameters, for training loops of the caller's.",
        &["bnn_evaluator_"],
    ),
    (
        "Samplers: begun, kept, gone on with",
        "Chains and fits, of a GPT or on gradients of the caller's.",
        &[
            "BNN_PHASE_",
            "bnn_sampler_new",
            "bnn_sampler_free",
            "bnn_sampler_save",
            "bnn_sampler_load",
            "bnn_sampler_extend",
            "bnn_schedule_callback",
            "bnn_sampler_set_",
        ],
    ),
    (
        "Samplers: steps",
        "One at a time, or all.",
        &["bnn_sampler_step", "bnn_sampler_batch", "bnn_sampler_run"],
    ),
    (
        "Samplers: what they are at",
        "Parameters, mass, draws, and what is measured on the way.",
        &[
            "bnn_sampler_get_",
            "bnn_sampler_draw",
            "bnn_sampler_",
            "bnn_gradient_callback",
        ],
    ),
    (
        "Stores",
        "Samples on disk, and what mends them.",
        &[
            "bnn_store_new",
            "bnn_store_open",
            "bnn_store_free",
            "bnn_store_",
            "bnn_check_",
            "bnn_sampler_missing",
        ],
    ),
    (
        "Ensembles",
        "What the average of samples predicts.",
        &["bnn_ensemble_", "bnn_store_score"],
    ),
    (
        "Text",
        "Written by an ensemble, with each token's uncertainty.",
        &[
            "BNN_NO_TOKEN",
            "bnn_token_callback",
            "bnn_batch_token_callback",
            "bnn_generator_new",
            "bnn_generator_free",
            "bnn_generator_",
        ],
    ),
    (
        "Judgement",
        "What draws are worth: whether chains agree, and how far they moved.",
        &[
            "bnn_probe_",
            "bnn_agreement",
            "bnn_chain_diagnostics",
            "bnn_movement",
            "bnn_store_movement",
            "bnn_temperature_band",
            "bnn_energy",
            "bnn_verdict",
            "bnn_sampler_curvature",
        ],
    ),
    (
        "Metrics",
        "Of texts and predictions of any model.",
        &[
            "BNN_UNIT_",
            "bnn_bleu",
            "bnn_rouge",
            "bnn_brier_score",
            "bnn_calibration_error",
            "bnn_paired_bootstrap",
        ],
    ),
];

/// A declaration with what is said of it.
struct Item {
    name: String,
    text: String,
    code: String,
}

/// Returns the header of what cbindgen wrote; `first` is the program at its head.
pub fn header(raw: &str, first: &str) -> String {
    let (head, items) = parsed(raw);
    let mut sections: Vec<Vec<(usize, Item)>> = SECTIONS.iter().map(|_| Vec::new()).collect();
    for item in items {
        let (section, at) = place(&item.name);
        sections[section].push((at, item));
    }
    let mut out = format!("{head}{}", program(first));
    out += "#ifndef BNN_H\n#define BNN_H\n\n#include <stddef.h>\n#include <stdint.h>\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n";
    for ((title, about, _), mut items) in SECTIONS.iter().zip(sections) {
        // A stable sort: under one beginning the order is the source's.
        items.sort_by_key(|(at, _)| *at);
        let rule = "-".repeat(WIDTH - title.len() - 6);
        out += &format!("\n/* {title} {rule}*/\n/* {about} */\n");
        for (_, item) in items {
            out += &format!("\n{}{}\n", comment(&item), item.code);
        }
    }
    out + "\n#ifdef __cplusplus\n}\n#endif\n\n#endif /* BNN_H */\n"
}

/// Returns the section of a name and its place there: by the longest beginning that fits.
fn place(name: &str) -> (usize, usize) {
    let fits = SECTIONS.iter().enumerate().flat_map(|(s, (_, _, names))| {
        let fit = names
            .iter()
            .enumerate()
            .filter(|(_, n)| name.starts_with(**n));
        fit.map(move |(at, n)| (n.len(), s, at))
    });
    let (_, section, at) = fits
        .max_by_key(|(len, ..)| *len)
        .unwrap_or_else(|| panic!("{name} has no section in tests/common/manual.rs"));
    (section, at)
}

/// Cuts cbindgen's text into its first line and its declarations.
fn parsed(raw: &str) -> (String, Vec<Item>) {
    let is_frame = |l: &&str| {
        [
            "#ifndef",
            "#endif",
            "#ifdef",
            "#include",
            "extern \"C\"",
            "}  // extern",
        ]
        .iter()
        .any(|f| l.starts_with(f))
            || *l == "#define BNN_H"
    };
    let mut lines = raw.lines();
    let head = lines.next().expect("a first line").to_owned() + "\n";
    let rest: Vec<&str> = lines.filter(|l| !is_frame(l)).collect();
    let (mut items, mut text, mut code) = (Vec::new(), Vec::new(), Vec::new());
    let (mut in_text, mut depth) = (false, 0);
    for line in rest {
        let is_text = in_text || (depth == 0 && line.starts_with("/**"));
        if is_text {
            in_text = !line.trim_end().ends_with("*/");
            let words = line.trim().trim_start_matches("/**").trim_end_matches("*/");
            let words = words.trim_start().trim_start_matches('*').trim();
            if !(words.is_empty() && (line.contains("/*") || !in_text)) {
                text.push(words.to_owned());
            }
            continue;
        }
        depth += line.matches('{').count();
        depth -= line.matches('}').count();
        if line.is_empty() && depth == 0 {
            continue;
        }
        code.push(line);
        let ends = line.starts_with("#define") || (depth == 0 && line.ends_with(';'));
        if ends {
            let code = std::mem::take(&mut code).join("\n");
            items.push(Item {
                name: name(&code),
                text: std::mem::take(&mut text).join("\n"),
                code,
            });
        }
    }
    assert!(code.is_empty() && text.is_empty(), "{code:?} {text:?}");
    (head, items)
}

/// Returns what a declaration declares; of an opaque type with "type" before it.
fn name(code: &str) -> String {
    let words = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let mut names = code
        .split(words)
        .filter(|w| w.starts_with("bnn_") || w.starts_with("BNN_"));
    if let Some(rest) = code.strip_prefix("typedef ") {
        return match rest {
            r if r.starts_with("struct {") => names.next_back().expect("a name").into(),
            r if r.starts_with("struct ") => format!("type {}", names.next().expect("a name")),
            r if r.contains("(*") => names.next().expect("a name").into(),
            _ => names.next_back().expect("a name").into(),
        };
    }
    let before = code.split('(').next().unwrap_or(code);
    match code.starts_with("#define") {
        true => names.next().expect("a name").into(),
        false => before
            .split(words)
            .rfind(|w| w.starts_with("bnn_"))
            .expect("a name")
            .into(),
    }
}

/// Returns the comment of a declaration, in lines that fit.
fn comment(item: &Item) -> String {
    let mut paragraphs: Vec<String> = vec![String::new()];
    for line in item.text.lines() {
        match (line.is_empty(), paragraphs.last_mut()) {
            (true, _) => paragraphs.push(String::new()),
            (false, Some(last)) => {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(line);
            }
            (false, None) => {}
        }
    }
    let is_function =
        item.code.contains('(') && !item.code.starts_with("typedef") && !item.code.starts_with('#');
    if is_function && !item.text.contains("Since ") {
        paragraphs.push(format!("Since {SINCE}."));
    }
    let line = format!("/** {} */\n", paragraphs[0]);
    if paragraphs.len() == 1 && line.chars().count() <= WIDTH {
        return line;
    }
    let mut out = String::from("/**\n");
    for (i, paragraph) in paragraphs.iter().enumerate() {
        if i > 0 {
            out += " *\n";
        }
        for line in wrapped(paragraph) {
            out += &format!(" * {line}\n");
        }
    }
    out + " */\n"
}

/// Breaks a paragraph at spaces.
fn wrapped(paragraph: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in paragraph.split(' ') {
        let last = lines.last_mut().expect("a line");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > WIDTH - 3 {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

/// Returns a program as a comment.
fn program(first: &str) -> String {
    assert!(
        first.lines().count() <= 40 && !first.contains("*/ *"),
        "a short program"
    );
    let mut out = String::from(
        "/*\n * The main job: a model is trained and sampled around; the average of the samples writes.\n *\n",
    );
    for line in first.lines() {
        // No comment stands within a comment.
        let line = match line.split_once("/*") {
            Some((code, _)) => code.trim_end(),
            None => line,
        };
        out += format!(" *   {line}").trim_end();
        out.push('\n');
    }
    out + " */\n"
}
