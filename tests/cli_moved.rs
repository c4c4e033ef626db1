//! A run's folder is all that a run needs: it is moved, its text is renamed, its baseline is lost, its record names other places.
#![cfg(feature = "cli")]

mod common;

use common::command::{self, *};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

const FEW: &[&str] = &["--probe-tokens", "0", "--temperature-every", "0"];

fn text(seed: usize) -> String {
    let letter = |i: usize| ['a', 'b', 'c', 'd', '\n'][(i * i / 7 + i * seed) % 5];
    (0..4000).map(letter).collect()
}

/// A run that was made in one place and lies in another; what it was made from is gone.
struct Moved {
    dir: tempfile::TempDir,
    /// The folder of the run now.
    run: PathBuf,
    report: Value,
}

impl Moved {
    /// Makes a run on a text of its own.
    fn new(more: &[&str]) -> Self {
        let (made, dir) = (folder(), folder());
        fs::write(made.path().join("text.txt"), text(1)).expect("a text");
        let args = [&["--data", "text.txt"], FEW, more].concat();
        let report = json(&train(made.path(), &args));
        let run = dir.path().join("here");
        move_folder(&made.path().join(run_dir(&report)), &run);
        Self { dir, run, report }
    }

    fn bnn(&self, args: &[&str]) -> Output {
        let run = self.run.to_str().expect("UTF-8");
        let args: Vec<&str> = args
            .iter()
            .map(|&a| if a == "RUN" { run } else { a })
            .collect();
        command::run(self.dir.path(), &args)
    }

    fn resume(&self, more: &[&str]) -> Output {
        self.bnn(&[&["train", "--json", "--resume", "RUN"], more].concat())
    }

    /// Asserts that a command is refused with these words.
    fn refused(&self, args: &[&str], wanted: &[&str]) {
        let out = self.bnn(args);
        let said = words(&out);
        assert_eq!(out.status.code(), Some(1), "{args:?}: {said}");
        for w in wanted {
            assert!(said.contains(w), "{args:?}: {w:?} is not in {said}");
        }
    }

    /// Replaces a line of the record.
    fn edit(&self, name: &str, line: &str) {
        let path = self.run.join("config.toml");
        let text = fs::read_to_string(&path).expect("a record");
        let is =
            |l: &str| l.starts_with(&format!("{name} =")) || l.starts_with(&format!("# {name} ="));
        assert!(text.lines().any(is), "{text}");
        let lines = text.lines().map(|l| if is(l) { line } else { l });
        fs::write(&path, lines.collect::<Vec<_>>().join("\n") + "\n").expect("written");
    }
}

/// Moves a folder to what may be another file system.
fn move_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry").path();
        let place = to.join(entry.file_name().expect("a name"));
        match entry.is_dir() {
            true => move_folder(&entry, &place),
            false => drop(fs::copy(&entry, &place).expect("copied")),
        }
    }
    fs::remove_dir_all(from).expect("removed");
}

const WRITE: &[&str] = &[
    "generate",
    "RUN",
    "--json",
    "--max-new-tokens",
    "5",
    "--prompt",
    "a",
];
const SCORE: &[&str] = &["eval", "RUN", "--json", "--eval-control=false"];

#[test]
fn a_run_that_was_moved_works_from_its_folder_alone() {
    let moved = Moved::new(&["--chains", "2", "--starts", "separate"]);
    for name in ["baseline.bnn", "baseline_01.bnn"] {
        assert!(moved.run.join(name).exists(), "{name}");
    }
    let record = fs::read_to_string(moved.run.join("config.toml")).expect("a record");
    assert!(record.contains("model_path = \"baseline.bnn\""), "{record}");
    // Writing needs no text.
    json(&moved.bnn(WRITE));
    json(&moved.bnn(&[WRITE, &["--baseline"]].concat()));
    assert!(moved.bnn(&["check", "RUN"]).status.success());
    // Scoring and going on do, and say so.
    for command in [SCORE, &["train", "--resume", "RUN"]] {
        moved.refused(
            command,
            &["text.txt", "the run's text is not there", "--data FILE"],
        );
    }
    let place = moved.dir.path().join("renamed.txt");
    fs::write(&place, text(2)).expect("a text");
    for command in [SCORE, &["train", "--resume", "RUN"]] {
        let other = [command, &["--data", "renamed.txt"]].concat();
        moved.refused(&other, &["another text than the run's", "--data FILE"]);
    }
    fs::write(&place, text(1)).expect("a text");
    let scores = json(&moved.bnn(&[SCORE, &["--data", "renamed.txt"]].concat()));
    let want = &moved.report["results"]["val"];
    assert_eq!(
        scores["results"]["val"]["loss_averaged_prediction"],
        want["loss_averaged_prediction"]
    );
    let got = json(&moved.resume(&["--data", "renamed.txt"]));
    for what in ["samples_hash", "chains"] {
        assert_eq!(got[what], moved.report[what], "{what}");
    }
    // It is recorded from then on, and longer runs go on from here.
    let longer = json(&moved.resume(&["--sampling-steps", "60"]));
    assert_eq!(longer["samples_collected"], 12);
    assert!(!moved.run.join("baselines").exists(), "nothing was trained");
}

#[test]
fn a_control_of_a_moved_run_is_kept_in_its_folder() {
    let made = folder();
    let report = json(&train(
        made.path(),
        &[FEW, &["--eval", "--eval-splits", "val"]].concat(),
    ));
    let dir = folder();
    let run = dir.path().join("here");
    move_folder(&made.path().join(run_dir(&report)), &run);
    let path = run.to_str().expect("UTF-8");
    // The embedded text needs nothing.
    let scores = json(&command::run(
        dir.path(),
        &["eval", path, "--json", "--eval-splits", "val"],
    ));
    let of = |v: &Value| v["results"]["val"]["held_out"]["controls"].clone();
    assert_eq!(of(&scores), of(&report));
    assert!(!run.join("baselines").exists(), "nothing was trained");
    let controls = fs::read_dir(run.join("controls")).expect("a folder");
    assert_eq!(controls.count(), 1);
    // The record makes the same run anew.
    let config = run.join("config.toml");
    let args = [
        "train",
        "--json",
        "--config",
        config.to_str().expect("UTF-8"),
    ];
    let again = json(&command::run(dir.path(), &args));
    assert_eq!(again["samples_hash"], report["samples_hash"]);
}

#[test]
fn who_reads_never_trains_a_baseline() {
    let moved = Moved::new(&[]);
    fs::write(moved.dir.path().join("renamed.txt"), text(1)).expect("a text");
    let own = moved.run.join("baseline.bnn");
    let aside = moved.dir.path().join("aside.bnn");
    fs::rename(&own, &aside).expect("moved");
    let data: &[&str] = &["--data", "renamed.txt"];
    for command in [
        WRITE.to_vec(),
        [SCORE, data].concat(),
        [&["train", "--resume", "RUN"], data].concat(),
    ] {
        moved.refused(
            &command,
            &["baseline.bnn", "is missing", "--model-path FILE"],
        );
    }
    let out = moved.bnn(&["check", "RUN"]);
    let found = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.code() == Some(1) && found.contains("baseline.bnn"),
        "{found}"
    );
    assert!(!moved.run.join("baselines").exists());
    // It can be given, and lies in the run from then on.
    let given: &[&str] = &["--model-path", "aside.bnn"];
    json(&moved.bnn(&[WRITE, given].concat()));
    assert!(!own.exists());
    let got = json(&moved.resume(&[data, given].concat()));
    assert_eq!(got["samples_hash"], moved.report["samples_hash"]);
    assert!(own.exists());
    // Another one is not taken, wherever it lies.
    let other = Moved::new(&["--seed", "5"]);
    let foreign = other.run.join("baseline.bnn");
    let foreign = foreign.to_str().expect("UTF-8");
    moved.refused(
        &[WRITE, &["--model-path", foreign]].concat(),
        &["baseline is"],
    );
    fs::copy(foreign, &own).expect("copied");
    moved.refused(WRITE, &["baseline"]);
}

#[test]
fn a_record_does_not_lead_out_of_its_run() {
    let moved = Moved::new(&[]);
    let own = moved.run.join("baseline.bnn");
    let outside = moved.dir.path().join("outside.bnn");
    fs::rename(&own, &outside).expect("moved");
    moved.edit("model_path", "model_path = \"../outside.bnn\"");
    moved.refused(WRITE, &["leads out of the run", "--model-path FILE"]);
    // An older run names an absolute path: it is taken where the hash agrees, which is said.
    let line = format!("model_path = {:?}", outside.to_str().expect("UTF-8"));
    moved.edit("model_path", &line);
    let out = moved.bnn(WRITE);
    assert!(
        words(&out).contains("lies outside the run"),
        "{}",
        words(&out)
    );
    json(&out);
    let other = Moved::new(&["--seed", "5"]);
    let foreign = other.run.join("baseline.bnn");
    moved.edit(
        "model_path",
        &format!("model_path = {:?}", foreign.to_str().expect("UTF-8")),
    );
    moved.refused(WRITE, &["baseline is", "expected"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&foreign, &own).expect("a link");
        moved.refused(WRITE, &["baseline is", "expected"]);
        fs::remove_file(&own).expect("removed");
    }
    moved.edit("model_path", &line);
    // Its text is then known from its checkpoint alone.
    moved.edit("corpus_sha256", "");
    let place = moved.dir.path().join("renamed.txt");
    fs::write(&place, text(2)).expect("a text");
    let resume = ["train", "--resume", "RUN", "--data", "renamed.txt"];
    moved.refused(&resume, &["corpus"]);
    fs::remove_file(&own).expect("it had been taken into the run");
    // Going on takes it into the run; a second log goes nowhere that the record says.
    moved.edit("model_path", &line);
    fs::write(&place, text(1)).expect("a text");
    let logs = moved.dir.path().join("logs");
    moved.edit(
        "log_dir",
        &format!("log_dir = {:?}", logs.to_str().expect("UTF-8")),
    );
    let elsewhere = moved.dir.path().join("elsewhere");
    moved.edit(
        "save_dir",
        &format!("save_dir = {:?}", elsewhere.to_str().expect("UTF-8")),
    );
    let got = json(&moved.resume(&["--data", "renamed.txt"]));
    assert_eq!(got["samples_hash"], moved.report["samples_hash"]);
    assert!(own.exists() && !logs.exists() && !elsewhere.exists());
    // Without a checkpoint or a sample there is nothing to compare it with.
    fs::remove_file(&own).expect("removed");
    moved.edit("model_path", &line);
    for name in ["chain_00.bnn", "chain_00.previous.bnn"] {
        let _ = fs::remove_file(moved.run.join(name));
    }
    fs::remove_dir_all(moved.run.join("samples")).expect("removed");
    moved.refused(WRITE, &["no checkpoint and no sample", "--model-path FILE"]);
}

#[test]
fn two_runs_share_a_kept_baseline_and_a_named_one_is_copied() {
    let dir = folder();
    let first = json(&train(dir.path(), FEW));
    let both = std::thread::scope(|s| {
        let one = || json(&train(dir.path(), FEW));
        let (a, b) = (s.spawn(one), s.spawn(one));
        [a.join().expect("a run"), b.join().expect("a run")]
    });
    for run in &both {
        assert_eq!(run["samples_hash"], first["samples_hash"]);
    }
    let own = |v: &Value| dir.path().join(run_dir(v)).join("baseline.bnn");
    let bytes = fs::read(own(&first)).expect("a baseline");
    assert_eq!(fs::read(own(&both[0])).expect("a baseline"), bytes);
    let named = dir.path().join("named.bnn");
    fs::copy(own(&first), &named).expect("copied");
    let run = json(&train(
        dir.path(),
        &[FEW, &["--model-path", "named.bnn"]].concat(),
    ));
    fs::write(&named, "overwritten").expect("written");
    assert_eq!(fs::read(own(&run)).expect("a baseline"), bytes);
}
