//! What README and docs say of the code is so: counts, tables of methods and of crates.

#[cfg(feature = "cli")]
#[path = "common/command.rs"]
#[allow(dead_code)] // what others share
mod command;

use std::collections::BTreeSet;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// README and the pages of docs, with their names.
fn pages() -> Vec<(String, String)> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    let mut names: Vec<String> = docs
        .map(|entry| format!("docs/{}", entry.unwrap().file_name().display()))
        .filter(|name| name.ends_with(".md"))
        .collect();
    names.sort();
    names.push("README.md".to_string());
    let page = |name: String| {
        let text = read(&name);
        (name, text)
    };
    names.into_iter().map(page).collect()
}

/// The number that a word says.
fn number(word: &str) -> Option<usize> {
    const WORDS: [&str; 21] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
    ];
    let word = word.to_lowercase();
    let tens = ["thirty", "forty", "fifty", "sixty"];
    let spelled = WORDS.iter().position(|w| *w == word);
    let spelled = spelled.or_else(|| Some(30 + 10 * tens.iter().position(|w| *w == word)?));
    let dozen = (word == "dozen").then_some(12);
    spelled
        .or(dozen)
        .or_else(|| word.replace(',', "").parse().ok())
}

/// Numbers of two or more that stand before `noun`, at most two words before.
fn counts(text: &str, noun: &str) -> Vec<usize> {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace())
        .map(|w| w.trim_matches(|c: char| !c.is_alphanumeric()))
        .collect();
    let mut found = Vec::new();
    for (at, _) in words.iter().enumerate().filter(|(_, w)| **w == noun) {
        let near = words[at.saturating_sub(2)..at].iter().rev();
        found.extend(near.filter_map(|w| number(w)).find(|&n| n > 1));
    }
    found
}

/// Functions that the C header declares.
fn c_functions() -> usize {
    let header = read("include/bnn.h");
    let code = header
        .split("*/")
        .map(|part| part.split("/*").next().unwrap());
    let starts = |line: &str| line.contains(" bnn_") || line.contains(" *bnn_");
    let lines = code
        .flat_map(str::lines)
        .filter(|line| !line.contains("typedef"));
    lines
        .filter(|line| starts(line) && line.contains('('))
        .count()
}

/// Functions of the traits that a device implements.
fn seam_methods() -> usize {
    let mut folders = vec![root().join("src/backend")];
    let mut methods = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == "mod.rs") {
                methods += trait_methods(&read(&path));
            }
        }
    }
    methods
}

/// Functions inside the public traits of a formatted source.
fn trait_methods(source: &str) -> usize {
    let traits = source.split("\npub trait ").skip(1);
    let bodies = traits.map(|t| t.split("\n}").next().unwrap());
    let is_method = |line: &&str| line.starts_with("    fn ");
    bodies
        .map(|body| body.lines().filter(is_method).count())
        .sum()
}

#[test]
fn counts_in_the_docs_are_true() {
    let examples = std::fs::read_dir(root().join("c_examples")).unwrap();
    let is_c = |name: &std::ffi::OsStr| Path::new(name).extension().is_some_and(|e| e == "c");
    let examples = examples
        .filter(|e| is_c(&e.as_ref().unwrap().file_name()))
        .count();
    let truths = [
        ("functions", c_functions()),
        ("methods", seam_methods()),
        ("operations", seam_methods()),
        ("examples", examples),
    ];
    for (name, text) in pages() {
        for (noun, truth) in truths {
            for count in counts(&text, noun) {
                assert_eq!(count, truth, "{name} counts {noun}");
            }
        }
    }
    // The readers see what they are to see.
    assert_eq!(
        counts(
            "has 44 methods, a dozen\nC functions; one method",
            "methods"
        ),
        [44]
    );
    assert_eq!(counts("about a dozen C functions", "functions"), [12]);
    assert_eq!(counts("forty functions", "functions"), [40]);
    assert_eq!(
        trait_methods(
            "\npub trait A {\n    fn f();\n\n    fn g() {\n        fn h() {}\n    }\n}\nfn i() {}\n"
        ),
        2
    );
    assert!(c_functions() > 40 && seam_methods() > 20 && examples > 1);
}

/// Names in the first column of the table below a heading.
fn first_column(text: &str, heading: &str) -> BTreeSet<String> {
    let section = text.split(heading).nth(1).expect("the heading");
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let cell = |row: &str| row.split('|').nth(1).expect("a cell").replace('`', "");
    let names = rows.flat_map(|row| {
        cell(row)
            .split(',')
            .map(|n| n.trim().to_string())
            .collect::<Vec<_>>()
    });
    names.collect()
}

#[test]
fn the_table_of_crates_is_that_of_cargo() {
    let manifest = read("Cargo.toml");
    let mut crates = BTreeSet::new();
    for section in manifest.split("\n[").filter(|s| {
        let name = s.split(']').next().unwrap();
        name.ends_with("dependencies")
    }) {
        for line in section.lines().skip(1) {
            let name = line.split('=').next().unwrap().trim();
            if line.contains('=') && !line.starts_with('#') {
                crates.insert(name.to_string());
            }
        }
    }
    let table = first_column(&read("docs/design.md"), "\n## Dependencies\n");
    assert_eq!(table, crates);
}

#[test]
fn the_table_of_methods_is_the_librarys() {
    use bnn::samplers::{GaussianMethod, Method};
    let name = |method: serde_json::Value| method.as_str().expect("a name").to_string();
    let chains = Method::ALL.map(|m| name(serde_json::to_value(m).unwrap()));
    let fits = GaussianMethod::ALL.map(|m| name(serde_json::to_value(m).unwrap()));
    let all: BTreeSet<String> = chains.into_iter().chain(fits).collect();
    assert_eq!(first_column(&read("README.md"), "\n## Methods\n"), all);
}

/// Words of the lines in README that begin with `bnn`, without what follows them as an explanation.
#[cfg(feature = "cli")]
fn commands() -> Vec<String> {
    let readme = read("README.md");
    let lines = readme.lines().filter(|line| line.starts_with("    bnn "));
    let line = |line: &str| line.split(" # ").next().unwrap().trim().to_string();
    lines.map(line).collect()
}

/// Each line in README is typed as it stands, one after another in one folder, on a small text with a small model: FILE.txt is that text, RUN the run
/// before, and the files to verify are of `tests/data`. `bnn bench` alone measures another shape, for a moment.
#[cfg(all(feature = "cli", unix))]
#[test]
fn the_readmes_commands_run() {
    let dir = tempfile::tempdir().unwrap();
    let verse = |i: usize| format!("MARETH:\nThe song of number {i} is dark and cold.\n\n");
    let text: String = (0..400).map(verse).collect();
    std::fs::write(dir.path().join("FILE.txt"), text).unwrap();
    let fixture = root().join("tests/data/samplers.safetensors");
    let small = [command::SMALL, &["--sampling-steps", "100"]]
        .concat()
        .join(" ");
    let mut run = String::from("RUN");
    let commands = commands();
    assert!(commands.len() > 6);
    for line in commands {
        let mut typed = line.replace("RUN…", &run).replace("RUN", &run);
        typed = typed.replace("FILE…", fixture.to_str().unwrap());
        typed = typed.replace("cpu,baby", "tiny --only sgld --seconds 0.01");
        if typed.contains("FILE.txt") || typed.contains("--quick") {
            typed = format!("{typed} {small}");
        }
        let bin = Path::new(env!("CARGO_BIN_EXE_bnn")).parent().unwrap();
        let typed = format!("PATH=\"$BNN_BIN:$PATH\"; {typed}");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &typed]).current_dir(dir.path());
        let out = shell.env("BNN_BIN", bin).output().unwrap();
        let words = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{line}\n{words}");
        // The first look is taken before there is this run.
        let runs = dir.path().join("checkpoints/samplers/sghmc_sampler");
        if let Ok(mut runs) = std::fs::read_dir(runs) {
            let first = runs.next().unwrap().unwrap();
            run = first.path().to_str().unwrap().to_string();
        }
    }
}
