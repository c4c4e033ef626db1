//! Runs whose files are missing, damaged, foreign or edited: no sample is lost in silence, and what can be mended is.
#![cfg(feature = "cli")]

mod common;

use bnn::store::FolderLock;
use common::command::{self, *};
use common::series::draws;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Two chains with 8 samples each, and a checkpoint every 7 steps.
const MORE: &[&str] = &[
    "--chains",
    "2",
    "--thinning",
    "5",
    "--checkpoint-every",
    "7",
];

/// A run that is done.
struct Done {
    dir: tempfile::TempDir,
    run: PathBuf,
    hash: Value,
}

impl Done {
    fn new(more: &[&str]) -> Self {
        let dir = folder();
        let report = json(&train(dir.path(), more));
        Self {
            run: dir.path().join(run_dir(&report)),
            hash: report["samples_hash"].clone(),
            dir,
        }
    }

    fn bnn(&self, args: &[&str]) -> std::process::Output {
        let run = self.run.to_str().expect("UTF-8");
        let args: Vec<&str> = args
            .iter()
            .map(|&a| if a == "RUN" { run } else { a })
            .collect();
        command::run(self.dir.path(), &args)
    }

    fn resume(&self, more: &[&str]) -> std::process::Output {
        self.bnn(&[&["train", "--json", "--resume", "RUN"], more].concat())
    }

    fn sample(&self, name: &str) -> PathBuf {
        self.run.join("samples").join(name)
    }

    /// Resumes, and asserts that it is refused with these words and that no sample went.
    fn refused(&self, more: &[&str], words_wanted: &[&str]) {
        self.refused_with(1, more, words_wanted);
    }

    fn refused_with(&self, code: i32, more: &[&str], words_wanted: &[&str]) {
        let before = listing(&self.run.join("samples"));
        let out = self.resume(more);
        let text = words(&out);
        assert_eq!(out.status.code(), Some(code), "{text}");
        for w in words_wanted {
            assert!(text.contains(w), "{w:?} is not in {text}");
        }
        assert_eq!(listing(&self.run.join("samples")), before, "{text}");
    }

    fn goes_on(&self, more: &[&str]) {
        let got = json(&self.resume(more));
        assert_eq!(got["samples_hash"], self.hash);
    }
}

/// The names of a folder's files with their lengths.
fn listing(folder: &Path) -> Vec<(String, u64)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|e| {
            let e = e.expect("an entry");
            let len = e.metadata().expect("a length").len();
            (e.file_name().to_string_lossy().into_owned(), len)
        })
        .collect();
    all.sort();
    all
}

/// Changes one bit in the middle of a file.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("a file");
}

#[test]
fn a_chain_without_its_file_is_refused_and_begins_anew_only_where_asked() {
    let done = Done::new(MORE);
    let file = done.run.join("chain_00.bnn");
    fs::rename(&file, done.run.join("elsewhere")).expect("moved");
    done.refused(
        &[],
        &[
            "chain 0 has 8 samples",
            "chain_00.bnn is missing",
            "--restart-chain",
        ],
    );
    // A file that the system cannot look at is not one that is not there.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("chain_00.bnn", &file).expect("a link to itself");
        done.refused(&["--restart-chain"], &["chain_00.bnn"]);
        fs::remove_file(&file).expect("removed");
        std::os::unix::fs::symlink("/nowhere/chain", &file).expect("a dangling link");
        done.refused(&[], &["chain 0 has 8 samples"]);
        fs::remove_file(&file).expect("removed");
    }
    let out = done.resume(&["--restart-chain"]);
    let said = words(&out);
    assert_eq!(json(&out)["samples_hash"], done.hash);
    for w in [
        "chain 0 begins anew, since",
        "each of its 8 samples is compared",
        "chain 0: 8 samples were drawn again, and are those that were there",
    ] {
        assert!(said.contains(w), "{w:?} is not in {said}");
    }
    assert!(!said.contains("chain 1: "), "{said}");
}

#[test]
fn a_missing_sample_is_named_and_can_be_drawn_again_or_given_up() {
    let done = Done::new(MORE);
    let lost = ["c01_s00000030.bnn", "c01_s00000045.bnn"];
    for name in lost {
        fs::remove_file(done.sample(name)).expect("removed");
    }
    done.refused(
        &[],
        &[
            "chain 1",
            "2 of its samples are missing",
            lost[0],
            "--restart-chain",
            "--repair",
        ],
    );
    done.goes_on(&["--restart-chain"]);
    assert!(done.sample(lost[0]).exists() && done.sample(lost[1]).exists());

    fs::remove_file(done.sample(lost[0])).expect("removed");
    let out = done.bnn(&["check", "RUN", "--json"]);
    assert_eq!(out.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(found["missing"], serde_json::json!([lost[0]]));
    let out = done.bnn(&["check", "RUN", "--repair"]);
    assert!(out.status.success(), "{}", words(&out));
    let got = json(&done.resume(&[]));
    assert_eq!(got["samples_collected"], 15);
    assert!(done.bnn(&["check", "RUN"]).status.success());
}

#[test]
fn a_damaged_sample_is_set_aside_and_drawn_again() {
    let done = Done::new(MORE);
    let name = "c00_s00000035.bnn";
    damage(&done.sample(name));
    done.refused(&["--restart-chain"], &[name]);
    let out = done.bnn(&["check", "RUN"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(
        text.contains("15 samples are whole") && text.contains(name),
        "{text}"
    );
    let out = done.bnn(&["check", "RUN", "--repair"]);
    assert!(out.status.success(), "{}", words(&out));
    assert!(done.run.join("damaged").join(name).exists());
    // The others average; the one that was given up is drawn again where that is asked for.
    json(&done.bnn(&["generate", "RUN", "--json", "--max-new-tokens", "3"]));
    json(&done.resume(&[]));
    done.goes_on(&["--restart-chain"]);
    assert!(done.sample(name).exists());
    // It is given up no longer: were it lost again, that would be said.
    fs::remove_file(done.sample(name)).expect("removed");
    done.refused(&[], &[name]);
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let done = Done::new(MORE);
    let file = done.run.join("chain_01.bnn");
    damage(&file);
    done.refused(&[], &["chain_01.bnn", "damaged"]);
    let out = done.bnn(&["check", "RUN", "--repair"]);
    assert!(out.status.success(), "{}", words(&out));
    assert!(done.run.join("damaged/chain_01.bnn").exists());
    assert!(!done.run.join("chain_01.previous.bnn").exists());
    done.goes_on(&[]);
    let found: Value =
        serde_json::from_slice(&done.bnn(&["check", "RUN", "--json"]).stdout).expect("JSON");
    let steps: Vec<u64> = (found["checkpoints"].as_array().expect("a list").iter())
        .map(|c| c[1].as_u64().expect("steps"))
        .collect();
    // 5 of the mass, 10 of warm-up, 40 of sampling; every seventh before.
    assert_eq!(steps, [55, 49, 55, 49]);
}

#[test]
fn a_checkpoint_whose_trace_is_cut_gives_way_to_the_one_before() {
    let done = Done::new(MORE);
    let trace = done.run.join("chain_01.trace");
    let bytes = fs::read(&trace).expect("a trace");
    fs::write(&trace, &bytes[..bytes.len() - 1]).expect("written");
    done.refused(&[], &["chain_01.trace", "after step 49", "--repair"]);
    let out = done.bnn(&["check", "RUN"]);
    assert_eq!(out.status.code(), Some(1), "{}", words(&out));
    let out = done.bnn(&["check", "RUN", "--repair"]);
    assert!(out.status.success(), "{}", words(&out));
    assert!(done.run.join("damaged/chain_01.bnn").exists());
    done.goes_on(&[]);
    assert_eq!(fs::read(&trace).expect("a trace"), bytes);
}

#[test]
fn a_chain_whose_trace_is_lost_goes_on_without_its_series() {
    let done = Done::new(MORE);
    fs::remove_file(done.run.join("chain_00.trace")).expect("removed");
    done.refused(&[], &["chain_00.trace", "no such file", "--repair"]);
    let out = done.bnn(&["check", "RUN", "--repair"]);
    assert!(out.status.success(), "{}", words(&out));
    assert!(done.run.join("damaged/chain_00.previous.bnn").exists());
    done.goes_on(&[]);
    assert!(done.bnn(&["check", "RUN"]).status.success());
}

#[test]
fn a_run_that_is_being_written_is_locked() {
    let done = Done::new(MORE);
    let lock = FolderLock::acquire(&done.run).expect("a lock");
    let own = format!("process {}", std::process::id());
    done.refused(&[], &["being written", &own]);
    let out = done.bnn(&["check", "RUN", "--repair"]);
    assert!(words(&out).contains(&own), "{}", words(&out));
    // Who only reads needs no lock.
    assert!(done.bnn(&["check", "RUN"]).status.success());
    drop(lock);
    done.goes_on(&[]);
}

#[test]
fn other_files_are_named_and_leftovers_taken_away() {
    let done = Done::new(MORE);
    fs::write(done.sample("Thumbs.db"), "x").expect("written");
    fs::write(done.sample(".c00_s00000020.bnn.1.0.tmp"), "x").expect("written");
    fs::write(done.run.join(".chain_00.bnn.1.0.tmp"), "x").expect("written");
    let out = done.bnn(&["check", "RUN"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}");
    assert_eq!(
        text.matches("left by a killed process").count(),
        2,
        "{text}"
    );
    assert!(text.contains("no sample, passed over"), "{text}");
    let out = done.resume(&[]);
    assert!(
        words(&out).contains("Thumbs.db is no sample"),
        "{}",
        words(&out)
    );
    assert_eq!(json(&out)["samples_hash"], done.hash);
    assert!(!done.run.join(".chain_00.bnn.1.0.tmp").exists());
    assert!(!done.sample(".c00_s00000020.bnn.1.0.tmp").exists());
}

#[test]
fn samples_of_another_target_are_not_taken() {
    let hot = Done::new(&[MORE, &["--temperature", "1"]].concat());
    let cold = Done::new(&[MORE, &["--temperature", "0.5"]].concat());
    let name = "c01_s00000055.bnn";
    let old = fs::read(cold.sample(name)).expect("a sample");
    fs::copy(hot.sample(name), cold.sample(name)).expect("copied");
    for command in [
        &["generate", "RUN"][..],
        &["eval", "RUN"],
        &["train", "--resume", "RUN"],
    ] {
        let out = cold.bnn(command);
        assert_eq!(out.status.code(), Some(1), "{command:?}");
        assert!(
            words(&out).contains("the target and the settings"),
            "{}",
            words(&out)
        );
    }
    fs::write(cold.sample(name), old).expect("written");
    // An edited configuration is not taken either.
    let config = cold.run.join("config.toml");
    let text = fs::read_to_string(&config).expect("a file");
    fs::write(
        &config,
        text.replace("temperature = 0.5", "temperature = 5.0"),
    )
    .expect("written");
    cold.refused(&[], &["temperature"]);
    fs::write(&config, text).expect("written");
    cold.goes_on(&[]);
}

/// Going on with other instructions is no error, and is said.
#[test]
fn a_run_says_that_it_goes_on_with_other_instructions() {
    let done = Done::new(MORE);
    let resume = |isa: &str| {
        let run = done.run.to_str().expect("UTF-8");
        let mut c = bnn(done.dir.path());
        c.args(["train", "--json", "--resume", run, "--sampling-steps", "60"]);
        let out = c.env("BNN_ISA", isa).output().expect("it starts");
        assert!(out.status.success(), "{}", words(&out));
        words(&out)
    };
    let file = done.run.join("spent.json");
    let devices = || {
        let text = fs::read_to_string(&file).expect("a file");
        let spent: Value = serde_json::from_str(&text).expect("JSON");
        spent["devices"].clone()
    };
    let first = devices()[0].as_str().expect("a device").to_owned();
    let said = resume("portable");
    if first == "cpu portable" {
        assert!(!said.contains("before, and is with"), "{said}");
        return;
    }
    let note = format!("with {first} before, and is with cpu portable");
    assert!(said.contains(&note), "{said}");
    assert_eq!(devices(), serde_json::json!([first, "cpu portable"]));
    assert!(!resume("portable").contains("before, and is with"));
}

#[test]
fn a_run_can_be_made_longer() {
    let short = Done::new(MORE);
    let long = Done::new(&[MORE, &["--sampling-steps", "60"]].concat());
    let spent = |v: &Value| {
        let metrics = fs::read_to_string(short.run.join("baoa_metrics.json")).expect("a file");
        let metrics: Value = serde_json::from_str(&metrics).expect("JSON");
        let gradients = &metrics["training_metrics"]["timed_gradients"];
        let seconds = v["sampling_seconds"].as_f64().expect("seconds");
        (seconds, gradients.as_u64().expect("a count"))
    };
    let got = json(&short.resume(&[]));
    let first = spent(&got);
    assert_eq!(first.1, 110);
    // A run that is done has no more to spend.
    assert_eq!(spent(&json(&short.resume(&[]))), first);
    let got = json(&short.resume(&["--sampling-steps", "60"]));
    assert_eq!(got["samples_hash"], long.hash);
    assert_eq!(got["samples_collected"], 24);
    assert_eq!(spent(&got).1, 150);
    assert!(spent(&got).0 > first.0);
    // It stays so.
    assert_eq!(json(&short.resume(&[]))["samples_hash"], long.hash);
    short.refused(&["--sampling-steps", "30"], &["steps"]);
    // A file of settings is refused where it would change what was begun.
    let file = short.dir.path().join("hot.toml");
    fs::write(&file, "temperature = 1.0\n").expect("written");
    short.refused_with(
        2,
        &["--config", file.to_str().expect("UTF-8")],
        &["temperature"],
    );
    let fixed = Done::new(&[MORE, &["--schedule", "cosine"]].concat());
    fixed.refused(
        &["--sampling-steps", "60"],
        &["the schedule of the step size depends on it"],
    );
    fixed.goes_on(&[]);
}

#[test]
fn a_chain_that_was_stepped_without_probes_goes_on_with_them() {
    let probes = |n| ["--probe-tokens", n, "--probe-every", "4"];
    let long = Done::new(&[MORE, &probes("50"), &["--sampling-steps", "80"]].concat());
    let short = Done::new(&[MORE, &probes("0")].concat());
    let config = short.run.join("config.toml");
    let text = fs::read_to_string(&config).expect("a file");
    let text = text.replace("probe_tokens = 0", "probe_tokens = 50");
    fs::write(&config, text).expect("written");
    let got = json(&short.resume(&["--sampling-steps", "80"]));
    assert_eq!(got["samples_hash"], long.hash);
    // 40 of the 80 steps have draws; they are the last ones of the run that had probes all the time.
    let (part, whole) = (
        short.run.join("chain_00.bnn"),
        long.run.join("chain_00.bnn"),
    );
    let (part, whole) = (draws(&part), draws(&whole));
    assert_eq!((part.0.len(), whole.0.len()), (10 * 50, 20 * 50));
    assert!(whole.0.ends_with(&part.0) && whole.1.ends_with(&part.1));
    json(&short.resume(&[]));
    json(&short.bnn(&["diagnose", "RUN", "--json"]));
}

/// What keeps a run from going on is seen by the check, and mended.
#[test]
fn a_check_sees_what_a_resumed_run_needs() {
    let done = Done::new(MORE);
    fs::remove_file(done.run.join("chain_00.bnn")).expect("removed");
    fs::write(done.run.join("spent.json"), "").expect("written");
    let out = done.bnn(&["check", "RUN"]);
    assert_eq!(out.status.code(), Some(1));
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    for w in [
        "chain_00.bnn, but the checkpoint before",
        "spent.json",
        "--repair",
    ] {
        assert!(text.contains(w), "{w:?} is not in {text}");
    }
    assert!(done.bnn(&["check", "RUN", "--repair"]).status.success());
    assert!(done.run.join("damaged/spent.json").is_file());
    done.goes_on(&[]);
    for wrong in [&b"\xff\xfe"[..], b"{}", b"[1]"] {
        fs::write(done.run.join("spent.json"), wrong).expect("written");
        done.refused(&[], &["spent.json", "--repair` moves the file aside"]);
        assert!(done.bnn(&["check", "RUN", "--repair"]).status.success());
        done.goes_on(&[]);
    }
}

/// The settings are in each sample, too: a lost or damaged `config.toml` is written anew from the last one.
#[test]
fn lost_settings_come_back_from_the_samples() {
    let done = Done::new(MORE);
    let config = done.run.join("config.toml");
    let before = fs::read(&config).expect("settings");
    for wrong in [Some(&b"steps = "[..]), Some(b"\xff"), Some(b""), None] {
        match wrong {
            Some(bytes) => fs::write(&config, bytes).expect("written"),
            None => fs::remove_file(&config).expect("removed"),
        }
        let advice = "--repair` writes config.toml anew";
        done.refused(&[], &[advice]);
        let out = done.bnn(&["eval", "RUN"]);
        assert!(words(&out).contains(advice), "{}", words(&out));
        let out = done.bnn(&["check", "RUN", "--repair"]);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{}", words(&out));
        assert!(said.contains("has the settings that"), "{said}");
        assert_eq!(fs::read(&config).expect("settings"), before);
    }
    done.goes_on(&[]);
    // Without a sample nothing tells the settings.
    fs::remove_dir_all(done.run.join("samples")).expect("removed");
    fs::remove_file(&config).expect("removed");
    let out = done.bnn(&["check", "RUN", "--repair"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(
        words(&out).contains("no config.toml") && !words(&out).contains("--repair"),
        "{}",
        words(&out)
    );
}

/// Broken: texts and scores of samples that were drawn at another temperature than the settings say.
#[test]
fn edited_settings_are_refused_by_what_reads_the_samples() {
    let done = Done::new(MORE);
    let config = done.run.join("config.toml");
    let text = fs::read_to_string(&config).expect("a file");
    let line = text.lines().find(|l| l.starts_with("temperature = "));
    let edited = text.replace(line.expect("a temperature"), "temperature = 0.25");
    fs::write(&config, edited).expect("written");
    for args in [
        &["eval", "RUN"][..],
        &["generate", "RUN", "--max-new-tokens", "2"],
        &["check", "RUN"],
    ] {
        let out = done.bnn(args);
        let said = words(&out) + &String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(1), "{args:?}: {said}");
        assert!(
            said.contains("temperature = 0.25, but the samples"),
            "{said}"
        );
        // Nothing there is for a repair.
        assert!(!said.contains("--repair"), "{said}");
    }
    fs::write(&config, text).expect("written");
    assert!(done.bnn(&["check", "RUN"]).status.success());
    done.goes_on(&[]);
}
