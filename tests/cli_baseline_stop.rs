//! Baselines and deterministic controls that are stopped or killed while they are trained: they go on, and the run's results are those of one
//! that nobody disturbed.
#![cfg(all(feature = "cli", unix))]

mod common;

use common::command::*;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Both trainings are long enough to be found at work, and keep their state often.
const MORE: &[&str] = &[
    "--baseline-iters",
    "2500",
    "--baseline-choice",
    "last",
    "--sampling-steps",
    "2000",
    "--thinning",
    "400",
    "--checkpoint-every",
    "50",
    "--probe-tokens",
    "0",
    "--eval",
    "--eval-splits",
    "val",
];

/// Starts a command, sends it a signal when a checkpoint of a training has been there for a while, and waits for its end.
fn disturb(
    dir: &Path,
    args: &[&str],
    name: &str,
    after: Duration,
    begun: impl Fn() -> bool,
) -> (Option<i32>, String) {
    let mut child = bnn(dir)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let deadline = Instant::now() + Duration::from_secs(300);
    let before = part(dir).and_then(|p| p.metadata().ok()?.modified().ok());
    // A checkpoint of this process, not the one that it found.
    let kept = || part(dir).and_then(|p| p.metadata().ok()?.modified().ok()) > before;
    while !(begun() && kept()) {
        assert!(Instant::now() < deadline, "no checkpoint came");
        assert!(
            child.try_wait().expect("a status").is_none(),
            "it has ended"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(after);
    signal(&child, name);
    let mut text = String::new();
    let mut err = BufReader::new(child.stderr.take().expect("standard error"));
    while err.read_line(&mut text).is_ok_and(|n| n > 0) {}
    let _ = err.read_to_string(&mut text);
    (child.wait().expect("a status").code(), text)
}

/// The checkpoint of a training, if there is one.
fn part(dir: &Path) -> Option<PathBuf> {
    let files = |folder: PathBuf| {
        let all = std::fs::read_dir(folder).into_iter().flatten();
        all.filter_map(|e| Some(e.ok()?.path()))
    };
    let controls = the_run(dir)
        .into_iter()
        .flat_map(|run| files(run.join("controls")));
    let folders = controls.chain([dir.join("checkpoints/samplers/baselines")]);
    folders.flat_map(files).find(|p| {
        let name = p.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".part.bnn") && !name.starts_with('.')
    })
}

fn the_run(dir: &Path) -> Option<PathBuf> {
    let mut runs = std::fs::read_dir(dir.join("checkpoints/samplers/baoa_sampler")).ok()?;
    runs.next().and_then(|e| Some(e.ok()?.path()))
}

/// What does not depend on when and where a run was made.
fn results(v: &Value) -> Value {
    let mut v = v.clone();
    for split in v["results"].as_object_mut().expect("splits").values_mut() {
        split["elapsed_seconds"] = Value::Null;
    }
    serde_json::json!([
        v["samples_hash"],
        v["results"],
        v["chains"],
        v["loss_baseline"]
    ])
}

fn metrics(run: &Path) -> Value {
    let text = std::fs::read_to_string(run.join("baoa_metrics.json")).expect("metrics");
    serde_json::from_str(&text).expect("JSON")
}

fn all<'a>(first: &[&'a str]) -> Vec<&'a str> {
    [first, SMALL, MORE].concat()
}

#[test]
fn a_baseline_goes_on_after_signals() {
    let undisturbed = folder();
    let want = json(&run(undisturbed.path(), &all(&["train", "--json"])));
    let dir = folder();
    for (n, name) in (0..).zip(["-TERM", "-KILL", "-TERM"]) {
        let after = Duration::from_millis(20 * n);
        let (code, text) = disturb(dir.path(), &all(&["baseline"]), name, after, || true);
        assert!(part(dir.path()).is_some(), "{name}: {text}");
        assert_eq!(text.contains("going on from step"), n > 0, "{text}");
        if name == "-TERM" {
            assert_eq!(code, Some(143), "{text}");
            assert!(
                text.contains("which is kept") && text.contains("the same command goes on"),
                "{text}"
            );
        }
    }
    let out = run(dir.path(), &all(&["train", "--json"]));
    assert!(
        words(&out).contains("baseline: going on from step"),
        "{}",
        words(&out)
    );
    assert_eq!(results(&json(&out)), results(&want));
    assert!(part(dir.path()).is_none());
}

#[test]
fn a_control_goes_on_and_the_report_is_there_before_it() {
    let undisturbed = folder();
    let want = json(&run(undisturbed.path(), &all(&["train", "--json"])));
    let want_metrics = metrics(&undisturbed.path().join(run_dir(&want)));
    let dir = folder();
    let in_control = || the_run(dir.path()).is_some_and(|r| r.join("baoa_metrics.json").exists());
    let (code, text) = disturb(
        dir.path(),
        &all(&["train"]),
        "-TERM",
        Duration::ZERO,
        in_control,
    );
    assert_eq!(code, Some(143), "{text}");
    let made = the_run(dir.path()).expect("a run");
    assert!(
        text.contains("control: stopped after step") && text.contains("--resume"),
        "{text}"
    );
    let early = metrics(&made);
    assert_eq!(early["samples_hash"], want["samples_hash"]);
    let none = early["results"]["val"]["held_out"]["controls"].as_array();
    assert!(none.expect("controls").is_empty());
    assert!(made.join("baoa_summary.txt").exists());
    let path = made.to_str().expect("UTF-8");
    for (n, name) in (1..).zip(["-KILL", "-TERM"]) {
        let after = Duration::from_millis(20 * n);
        let (_, text) = disturb(
            dir.path(),
            &["train", "--resume", path],
            name,
            after,
            || true,
        );
        assert!(text.contains("control: going on from step"), "{text}");
        assert!(part(dir.path()).is_some(), "{text}");
    }
    let out = run(dir.path(), &["train", "--json", "--resume", path]);
    assert!(
        words(&out).contains("control: going on from step"),
        "{}",
        words(&out)
    );
    let got = json(&out);
    assert_eq!(results(&got), results(&want));
    assert_eq!(metrics(&made)["chains"], want_metrics["chains"]);
    assert!(part(dir.path()).is_none());
}

#[test]
fn two_commands_train_one_baseline_once() {
    let dir = folder();
    let first = bnn(dir.path())
        .args(all(&["baseline", "--json"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    while part(dir.path()).is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let second = run(dir.path(), &all(&["baseline", "--json"]));
    let first = first.wait_with_output().expect("an end");
    let (first, text) = (json(&first), words(&second));
    let second = json(&second);
    assert!(
        text.contains("waiting for it") || second["cached"] == true,
        "{text}"
    );
    assert_eq!(second["cached"], true);
    assert_eq!(first["sha256"], second["sha256"]);
}
