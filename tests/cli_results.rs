//! What evaluations and texts leave: one file each, whoever works at the same time, and nothing that is finished is lost.
#![cfg(all(feature = "cli", unix))]

mod common;

use common::command::{self, *};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn names(folder: &Path, prefix: &str) -> Vec<String> {
    let all = std::fs::read_dir(folder).expect("a folder");
    let names = all.map(|e| {
        e.expect("an entry")
            .file_name()
            .into_string()
            .expect("UTF-8")
    });
    names
        .filter(|n| n.starts_with(prefix) && n.ends_with(".json"))
        .collect()
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

/// A small run, in a folder of its own.
fn small_run() -> (tempfile::TempDir, PathBuf) {
    let dir = folder();
    let run = run_dir(&json(&train(dir.path(), &[])));
    (dir, run)
}

/// Words of an evaluation that takes a moment.
fn eval(run: &Path) -> Vec<&str> {
    let run = run.to_str().expect("UTF-8");
    let fast = "--eval-splits val --eval-control=false --eval-num-text-samples 1 --threads 1";
    ["eval", run].into_iter().chain(fast.split(' ')).collect()
}

fn generate(run: &Path) -> Vec<&str> {
    let run = run.to_str().expect("UTF-8");
    vec!["generate", run, "--max-new-tokens", "20", "--threads", "1"]
}

/// Runs commands at once; all end well.
fn at_once(dir: &Path, commands: &[Vec<&str>]) {
    let start = |args: &Vec<&str>| {
        let mut c = bnn(dir);
        c.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        c.spawn().expect("the command starts")
    };
    let children: Vec<_> = commands.iter().map(start).collect();
    for child in children {
        let out = child.wait_with_output().expect("an end");
        assert!(out.status.success(), "{}", words(&out));
    }
}

#[test]
fn results_of_commands_at_the_same_time_are_all_kept() {
    let (dir, run) = small_run();
    let path = dir.path().join(&run);
    // A run from before texts had files of their own.
    let old =
        r#"{"20240101-000000-0": {"text": "old", "unc_info": {"token_uncertainties": [1.0]}}}"#;
    std::fs::write(path.join("generation_results.json"), old).expect("an index");
    let seeds: Vec<String> = (0..10).map(|seed| seed.to_string()).collect();
    let with_seed = |seed: &'_ String| -> Vec<String> {
        let words = generate(&run).into_iter().map(str::to_owned);
        words.chain(["--seed".into(), seed.clone()]).collect()
    };
    let owned: Vec<Vec<String>> = seeds.iter().map(with_seed).collect();
    let commands: Vec<Vec<&str>> = owned
        .iter()
        .map(|c| c.iter().map(String::as_str).collect())
        .collect();
    at_once(dir.path(), &commands);
    let index = read(&path.join("generation_results.json"));
    let index = index.as_object().expect("an object");
    assert_eq!(index.len(), 11);
    assert_eq!(
        index["20240101-000000-0"]["unc_info"]["token_uncertainties"][0],
        1.0
    );
    let mut written = std::collections::BTreeSet::new();
    for (id, entry) in index.iter().filter(|(id, _)| *id != "20240101-000000-0") {
        keys(
            entry,
            &["generation_params", "start_prompt", "text", "unc_info"],
        );
        keys(
            &entry["unc_info"],
            &["avg_uncertainty", "max_uncertainty", "num_samples_used"],
        );
        assert!(entry["unc_info"]["token_uncertainties"].is_null());
        let file = entry["file"].as_str().expect("a file");
        assert_eq!(file, format!("generations/{id}.json"));
        let own = read(&path.join(file));
        assert_eq!(own["text"], entry["text"]);
        let tokens = own["unc_info"]["token_uncertainties"].as_array();
        assert_eq!(tokens.expect("a list").len(), 20);
        written.insert(own["generation_params"]["seed"].as_u64());
    }
    assert_eq!(written.len(), 10);
    at_once(dir.path(), &[eval(&run), eval(&run), eval(&run)]);
    let evals = names(&path, "bayesian_eval_");
    assert_eq!(evals.len(), 3, "{evals:?}");
    for name in evals {
        keys(
            &read(&path.join(name)),
            &["results", "config", "vocab_size"],
        );
    }
    // A text that is deleted leaves the index with the next one; a file that another process has only begun is not taken in.
    let one = names(&path.join("generations"), "").remove(0);
    std::fs::remove_file(path.join("generations").join(one)).expect("a text");
    std::fs::write(path.join("generations/20200101-000000.json"), "").expect("a file");
    at_once(dir.path(), &[generate(&run)]);
    let index = read(&path.join("generation_results.json"));
    assert_eq!(index.as_object().expect("an object").len(), 11);
}

#[test]
fn a_result_goes_where_it_is_asked_to() {
    let (dir, run) = small_run();
    let path = dir.path().join(&run);
    let of = |mut words: Vec<&'static str>, more: [&'static str; 2]| {
        words.extend(more);
        words
    };
    let run: &'static Path = Box::leak(run.into_boxed_path());
    let out = command::run(dir.path(), &of(generate(run), ["--output", "text.json"]));
    assert!(out.status.success(), "{}", words(&out));
    let text = read(&dir.path().join("text.json"));
    keys(&text, &["generation_params", "text", "unc_info"]);
    let printed = String::from_utf8(out.stdout).expect("UTF-8");
    assert_eq!(
        printed.trim_end_matches('\n'),
        text["text"].as_str().expect("text").trim_end_matches('\n')
    );
    let out = command::run(dir.path(), &of(eval(run), ["--output", "eval.json"]));
    assert!(out.status.success(), "{}", words(&out));
    keys(&read(&dir.path().join("eval.json")), &["results", "config"]);
    assert!(names(&path, "bayesian_eval_").is_empty());
    assert!(!path.join("generation_results.json").exists());
    assert!(!path.join("generations").exists());
    // A device keeps its place.
    let out = command::run(dir.path(), &of(generate(run), ["--output", "/dev/null"]));
    assert!(out.status.success(), "{}", words(&out));
    assert!(!Path::new("/dev/null").is_file());
    let bad = command::run(
        dir.path(),
        &of(generate(run), ["--output", "no/such/folder"]),
    );
    assert_eq!(bad.status.code(), Some(1));
    assert!(!bad.stdout.is_empty() && words(&bad).contains("could not be stored"));
}

/// Where nothing can be written, a finished text and a finished evaluation are printed; the exit code says that they are not stored.
#[test]
fn what_cannot_be_stored_is_printed() {
    let (dir, run) = small_run();
    let path = dir.path().join(&run);
    for args in [generate(&run), eval(&run)] {
        // Files of no byte: a full disk.
        let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\" --json";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, env!("CARGO_BIN_EXE_bnn")]);
        let out = shell.args(&args).current_dir(dir.path()).output();
        let out = out.expect("a shell");
        assert_eq!(out.status.code(), Some(1), "{}", words(&out));
        assert!(
            words(&out).contains("could not be stored"),
            "{}",
            words(&out)
        );
        let v: Value = serde_json::from_slice(&out.stdout).expect("the result");
        assert!(v["text"].is_string() || v["results"]["val"].is_object());
    }
    assert!(names(&path, "bayesian_eval_").is_empty());
    assert!(names(&path.join("generations"), "").is_empty());
    // The folder refuses a new file.
    std::fs::remove_dir_all(path.join("generations")).expect("the folder");
    std::fs::write(path.join("generations"), "in the way").expect("a file");
    let out = command::run(dir.path(), &generate(&run));
    assert_eq!(out.status.code(), Some(1));
    assert!(out.stdout.len() > 20 && words(&out).contains("could not be stored"));
    std::fs::remove_file(path.join("generations")).expect("the file");
    // A damaged index costs no text.
    std::fs::write(path.join("generation_results.json"), "{").expect("an index");
    let out = command::run(dir.path(), &generate(&run));
    assert_eq!(out.status.code(), Some(1));
    assert!(
        words(&out).contains("move the file away"),
        "{}",
        words(&out)
    );
    assert_eq!(names(&path.join("generations"), "").len(), 1);
    std::fs::remove_file(path.join("generation_results.json")).expect("the index");
    assert!(command::run(dir.path(), &generate(&run)).status.success());
    let index = read(&path.join("generation_results.json"));
    assert_eq!(index.as_object().expect("an object").len(), 2);
}

/// `.env` counts in the working folder alone, for `train`, `baseline` and `eval` alone, and cannot choose instructions.
#[test]
fn the_environments_file_is_the_working_folders() {
    let dir = folder();
    let inside = dir.path().join("inside");
    std::fs::create_dir(&inside).expect("a folder");
    std::fs::write(dir.path().join(".env"), "BASE_DIR=above\nthis is no line\n").expect(".env");
    let v = json(&train(&inside, &[]));
    assert!(run_dir(&v).starts_with("checkpoints"), "{v}");
    let run = v["run_dir"].as_str().expect("run_dir");

    let env = inside.join(".env");
    std::fs::write(&env, "BNN_ISA=nonsense\nBASE_DIR=moved\nOTHER=1\n").expect(".env");
    let out = train(&inside, &[]);
    assert!(run_dir(&json(&out)).starts_with("moved"));
    let said = words(&out);
    let place = env.canonicalize().expect("a path").display().to_string();
    assert!(
        said.contains(&format!("{place} was read: it gives BASE_DIR\n")),
        "{said}"
    );
    assert!(said.contains("BNN_ISA is not taken"), "{said}");
    // The process's own variable wins.
    let mut own = bnn(&inside);
    let own = own
        .args([&["train", "--json"], SMALL].concat())
        .env("BASE_DIR", "own");
    assert!(run_dir(&json(&own.output().expect("the command starts"))).starts_with("own"));

    std::fs::write(&env, "DEVICE=cpu\nthis is no line\n").expect(".env");
    for args in [
        &["train"][..],
        &["baseline"],
        &["eval", run],
        &["train", "--resume", run],
    ] {
        let out = command::run(&inside, args);
        assert_eq!(out.status.code(), Some(1), "{args:?}");
        let said = words(&out);
        assert!(
            said.contains(&place) && said.contains("NAME=value"),
            "{said}"
        );
    }
    for args in [
        &["generate", run, "--max-new-tokens", "2"][..],
        &["config"],
        &["diagnose", run],
    ] {
        let out = command::run(&inside, args);
        assert!(out.status.success(), "{args:?}: {}", words(&out));
    }
    // A folder of that name, as some keep Python's environments in, is something else.
    std::fs::remove_file(&env).expect(".env");
    std::fs::create_dir(&env).expect("a folder");
    let out = command::run(&inside, &["train", "--resume", run]);
    assert!(out.status.success(), "{}", words(&out));
}
