//! `include/bnn.h` is what the source says, compiles as strict C and C++, and declares just what the library exports.

#[path = "common/abi.rs"]
mod abi;
#[path = "common/manual.rs"]
mod manual;

#[path = "common/ensure.rs"]
mod ensure;

use abi::Abi;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn generated() -> String {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml");
    let builder = cbindgen::Builder::new()
        .with_config(config)
        .with_src(root().join("src/capi/mod.rs"));
    let mut text = Vec::new();
    builder.generate().expect("a header").write(&mut text);
    let raw = String::from_utf8(text).expect("UTF-8");
    let first = std::fs::read_to_string(root().join("tests/capi/first.c")).expect("a program");
    manual::header(&raw, &first)
}

/// No line is longer than people's windows, and each function says since when it is there.
#[test]
fn the_header_reads_like_a_manual() {
    let text = generated();
    let long: Vec<&str> = text.lines().filter(|l| l.chars().count() > 100).collect();
    assert!(long.is_empty(), "{long:?}");
    let functions = declared().len();
    assert_eq!(
        text.matches("Since 0.").count(),
        functions,
        "one for each of {functions}"
    );
}

#[test]
fn the_committed_header_is_what_the_source_says() {
    let path = root().join("include/bnn.h");
    let want = generated();
    if std::env::var_os("BNN_BLESS").is_some() {
        std::fs::write(&path, &want).expect("include/bnn.h");
    }
    let got = std::fs::read_to_string(&path).expect("include/bnn.h");
    assert!(
        got == want,
        "include/bnn.h differs from the source: BNN_BLESS=1 cargo test --test header writes it anew"
    );
}

/// Broken: a parameter of a function in bnn.h of another type.
#[test]
fn the_signatures_of_python_are_the_headers() {
    if !ensure::has("python") {
        return;
    }
    let make = root().join("c_examples/python/make_abi.py");
    let check = Command::new("python3").arg(make).arg("--check").output();
    let check = check.expect("python3");
    assert!(
        check.status.success(),
        "{}",
        String::from_utf8_lossy(&check.stderr)
    );
}

fn compiles(compiler: &str, standard: &str, name: &str, text: &str) {
    let dir = tempfile::tempdir().expect("a folder");
    let source = dir.path().join(name);
    std::fs::write(&source, text).expect("a source");
    let out = Command::new(compiler)
        .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c"])
        .arg("-I")
        .arg(root().join("include"))
        .arg(&source)
        .arg("-o")
        .arg(dir.path().join("out.o"))
        .output()
        .unwrap_or_else(|e| panic!("{compiler} is needed for this test: {e}"));
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn the_header_compiles_as_c99_and_cpp17() {
    // Twice: the guard must hold.
    let text =
        "#include \"bnn.h\"\n#include \"bnn.h\"\nint f(void);\nint f(void) { return BNN_OK; }\n";
    compiles("gcc", "-std=c99", "a.c", text);
    compiles("g++", "-std=c++17", "a.cpp", text);
}

/// Names declared as functions in the header.
fn declared() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("include/bnn.h")).expect("include/bnn.h");
    let mut names = BTreeSet::new();
    let mut comment = false;
    for line in text.lines() {
        comment |= line.trim_start().starts_with("/*");
        if !comment && !line.contains("typedef") {
            for (at, _) in line.match_indices("bnn_") {
                let name: String = line[at..]
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                if line[at + name.len()..].starts_with('(') {
                    names.insert(name);
                }
            }
        }
        comment &= !line.contains("*/");
    }
    names
}

/// The source's `extern "C"` functions, and how many go through the guard.
fn source() -> (BTreeSet<String>, usize, usize) {
    let (mut names, mut functions, mut guards) = (BTreeSet::new(), 0, 0);
    for entry in std::fs::read_dir(root().join("src/capi")).expect("src/capi") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a source");
        for part in text.split("extern \"C\" fn ").skip(1) {
            let name: String = part.chars().take_while(|c| *c != '(').collect();
            if name.starts_with("bnn_") {
                functions += 1;
                // What returns a status goes through the guard; what frees or tells a constant cannot fail.
                let head = part.split('{').next().unwrap_or_default();
                let body = part.split("\n}\n").next().unwrap_or_default();
                if head.contains("-> bnn_status") {
                    assert!(
                        body.contains("guard(err, ||"),
                        "{name} does not go through the guard"
                    );
                    guards += 1;
                } else {
                    assert!(
                        name.ends_with("_free")
                            || head.contains("-> u32")
                            || head.contains("-> usize")
                            || head.contains("*const c_char"),
                        "{name} returns no status"
                    );
                }
                names.insert(name);
            }
        }
    }
    (names, functions, guards)
}

#[test]
fn every_function_is_declared_and_goes_through_the_guard() {
    let (names, functions, guards) = source();
    assert_eq!(names, declared());
    assert!(
        functions > 40 && guards > 25,
        "{functions} functions, {guards} guards"
    );
}

/// What the fuzzer does not call cannot fail, but for the embedded text, which is large and always the same.
#[test]
fn the_fuzzer_calls_what_can_fail() {
    let targets = root().join("tests/fuzz/targets");
    let text = ["capi.rs", "capi/arguments.rs"]
        .map(|name| std::fs::read_to_string(targets.join(name)).expect("a file"))
        .concat();
    let left: Vec<String> = declared()
        .into_iter()
        .filter(|name| !text.contains(&format!("{name}(")) && !text.contains(&format!("{name};")))
        .collect();
    assert_eq!(
        left,
        [
            "bnn_abi",
            "bnn_abi_minor",
            "bnn_corpus_embedded",
            "bnn_options_count",
            "bnn_status_name",
            "bnn_version_number",
            "bnn_version_string"
        ]
    );
}

/// The shared library that cargo built beside this test.
fn library() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    let profile = exe.parent()?.parent()?;
    // Beside the tests, not in the folder above, where an older build may lie.
    Some(profile.join("deps/libbnn.so")).filter(|p| p.exists())
}

#[cfg(target_os = "linux")]
#[test]
fn the_library_exports_just_what_the_header_declares_and_its_soname_has_the_abi() {
    let library = library().expect("libbnn.so beside the test: cargo builds it with the tests");
    let run = |tool: &str, args: &[&str], file: &Path| {
        let out = Command::new(tool)
            .args(args)
            .arg(file)
            .output()
            .unwrap_or_else(|e| panic!("{tool} is needed for this test: {e}"));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let exported: BTreeSet<String> = run("nm", &["-D", "--defined-only"], &library)
        .lines()
        .filter_map(|l| l.split_whitespace().last())
        .filter(|n| n.starts_with("bnn_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(exported, declared());
    let soname = format!("libbnn.so.{}", bnn::capi::BNN_ABI);
    assert!(run("readelf", &["-d"], &library).contains(&format!("[{soname}]")));
    // SAFETY is not at stake: these take nothing.
    assert_eq!(bnn::capi::bnn_abi(), bnn::capi::BNN_ABI);
    assert_eq!(bnn::capi::bnn_version_number(), 1_000);
    let composed = format!(
        "{}.{}.{}",
        bnn::capi::BNN_VERSION_MAJOR,
        bnn::capi::BNN_VERSION_MINOR,
        bnn::capi::BNN_VERSION_PATCH
    );
    assert_eq!(composed, env!("CARGO_PKG_VERSION"));
}

/// The numbers that are not taken from the source: cargo-c's, which give the SONAME of what is installed, and CMake's. src/build.rs reads its own from it.
#[test]
fn what_is_installed_has_the_sources_numbers() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).expect(name);
    let manifest = read("Cargo.toml");
    let section = manifest.split("[package.metadata.capi.library]\n").nth(1);
    let first = section.and_then(|s| s.lines().next()).expect("a version");
    let (abi, minor) = (bnn::capi::BNN_ABI, bnn::capi::BNN_ABI_MINOR);
    assert_eq!(
        first,
        format!("version = \"{abi}.{minor}.0\""),
        "package.metadata.capi.library in Cargo.toml has BNN_ABI.BNN_ABI_MINOR.0"
    );
    let cmake = read("include/cmake/bnn-config-version.cmake");
    let version = format!("set(PACKAGE_VERSION \"{}\")", env!("CARGO_PKG_VERSION"));
    assert!(cmake.contains(&version), "{version}");
    for name in ["bnn.h", "bnn.hpp"] {
        assert!(
            manifest.contains(&format!("from = \"include/{name}\"")),
            "{name} is installed"
        );
    }
}

/// What is removed or changed moves BNN_ABI, and what is added BNN_ABI_MINOR; docs/abi.txt says what there was when they moved last.
#[test]
fn the_interface_is_the_recorded_one_or_its_number_has_moved() {
    let path = root().join("docs/abi.txt");
    let now = Abi::now(&root());
    let bless = std::env::var_os("BNN_BLESS").is_some();
    let then = std::fs::read_to_string(&path)
        .ok()
        .map(|text| Abi::read(&text));
    if let Some(then) = &then {
        assert_eq!(then.must_move(&now), None);
    }
    if bless {
        std::fs::write(&path, now.text()).expect("docs/abi.txt");
    } else {
        assert!(
            then.as_ref() == Some(&now),
            "docs/abi.txt is not of this interface: BNN_BLESS=1 cargo test --test header writes it anew"
        );
    }
}

/// Broken: a changed line counted as an addition.
#[test]
fn a_break_and_an_addition_demand_their_numbers() {
    let of = |number, minor, lines: &[&str]| Abi {
        number,
        minor,
        lines: lines.iter().map(|l| (*l).to_owned()).collect(),
    };
    let then = of(3, 1, &["int f(int)", "option a: F64"]);
    for (now, words) in [
        (of(3, 1, &["int f(int)", "option a: F64"]), None),
        (
            of(3, 1, &["int f(int)", "int g(void)", "option a: F64"]),
            Some("BNN_ABI_MINOR"),
        ),
        (
            of(3, 2, &["int f(int)", "int g(void)", "option a: F64"]),
            None,
        ),
        (
            of(3, 2, &["int f(long)", "option a: F64"]),
            Some("BNN_ABI must"),
        ),
        (of(3, 2, &["int f(int)"]), Some("BNN_ABI must")),
        (of(4, 0, &["int f(long)"]), None),
    ] {
        let said = then.must_move(&now);
        assert_eq!(said.is_some(), words.is_some(), "{said:?}");
        assert!(said.unwrap_or_default().contains(words.unwrap_or_default()));
    }
    assert_eq!(Abi::read(&then.text()), then);
    let now = Abi::now(&root());
    for line in [
        "#define BNN_OK 0",
        "option step_size: F64",
        "row verdict",
        "typedef struct bnn_model bnn_model",
    ] {
        assert!(now.lines.contains(line), "{line}");
    }
    assert!(
        now.lines
            .iter()
            .any(|l| l.starts_with("bnn_status bnn_model_new(const bnn_context *context,"))
    );
}
