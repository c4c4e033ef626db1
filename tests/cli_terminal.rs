//! What the terminal, the shell and the disk do to a command: broken streams, signals, full devices, files that are none.
#![cfg(all(feature = "cli", unix))]

mod common;

use common::command::{self, *};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SIGPIPE: i32 = 13;

fn start(dir: &Path, args: &[&str]) -> Command {
    let mut c = bnn(dir);
    c.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    c
}

fn small<'a>(command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[command][..], SMALL, more].concat()
}

fn text(from: Option<impl Read>) -> String {
    let mut text = String::new();
    if let Some(mut from) = from {
        from.read_to_string(&mut text).expect("UTF-8");
    }
    text
}

/// The one run of a sampler in a folder, once it is there.
fn the_run(dir: &Path) -> PathBuf {
    let runs = dir.join("checkpoints/samplers/baoa_sampler");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < deadline, "no run came");
        let mut all = std::fs::read_dir(&runs).into_iter().flatten();
        match all.next() {
            Some(entry) => return entry.expect("an entry").path(),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn log(run: &Path) -> String {
    let mut all = std::fs::read_dir(run).expect("the run's folder");
    let path = all.find_map(|e| {
        let path = e.expect("an entry").path();
        path.extension().is_some_and(|e| e == "log").then_some(path)
    });
    std::fs::read_to_string(path.expect("a log")).expect("UTF-8")
}

/// Standard error has no reader, is on a full device, or is closed: the run ends well, and its log says what happened, once.
#[test]
fn a_run_outlives_its_standard_error() {
    for how in ["no reader", "full", "closed"] {
        let dir = folder();
        let args = small("train", &["--json"]);
        let mut command = start(dir.path(), &args);
        match how {
            "full" => {
                let full = File::options().write(true).open("/dev/full");
                command.stderr(full.expect("/dev/full"));
            }
            "closed" => {
                let mut shell = Command::new("sh");
                let bin = env!("CARGO_BIN_EXE_bnn");
                shell.args(["-c", "exec \"$0\" \"$@\" 2>&-", bin]);
                shell.args(&args).current_dir(dir.path());
                shell.stdout(Stdio::piped()).stderr(Stdio::piped());
                command = shell;
            }
            _ => {}
        }
        let mut child = command.spawn().expect("the command starts");
        drop(child.stderr.take());
        let status = end(&mut child, 120);
        assert!(status.success(), "{how}: {status}");
        let v: Value = serde_json::from_str(&text(child.stdout.take())).expect("JSON");
        let log = log(&dir.path().join(run_dir(&v)));
        assert!(
            log.contains("baseline") && log.contains("averaged"),
            "{log}"
        );
        let remarks = log.matches("warning: standard error").count();
        assert_eq!(remarks, usize::from(how != "closed"), "{how}: {log}");
    }
}

/// A log on a full device is remarked once and stops nothing.
#[test]
fn a_run_outlives_its_log() {
    let dir = folder();
    let v = json(&train(dir.path(), &[]));
    let run = dir.path().join(run_dir(&v));
    let name = run.file_name().expect("a name").to_str().expect("UTF-8");
    let log = name.replace("run_", "baoa_training_") + ".log";
    std::fs::create_dir(dir.path().join("logs")).expect("a folder");
    symlink("/dev/full", dir.path().join("logs").join(&log)).expect("a link");
    std::fs::remove_file(run.join(&log)).expect("the log");
    symlink("/dev/full", run.join(&log)).expect("a link");
    let run = run.to_str().expect("UTF-8");
    let args = ["train", "--json", "--log-dir", "logs", "--resume", run];
    let out = command::run(dir.path(), &args);
    assert_eq!(json(&out)["samples_hash"], v["samples_hash"]);
    let said = words(&out);
    assert_eq!(said.matches("the log has gaps").count(), 2, "{said}");
}

/// A terminal with a progress bar that is gone in the middle.
#[test]
fn a_run_outlives_its_terminal() {
    if !common::ensure::has("python") {
        return;
    }
    let dir = folder();
    let script = "import os, pty, subprocess, sys, time\n\
        master, slave = pty.openpty()\n\
        child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=slave)\n\
        os.close(slave)\n\
        got = b''\n\
        while b'chain 0' not in got: got += os.read(master, 4096)\n\
        os.close(master)\n\
        sys.exit(child.wait())\n";
    let mut python = Command::new("python3");
    python.args(["-c", script, env!("CARGO_BIN_EXE_bnn")]);
    python.args(small("train", &["--sampling-steps", "2000"]));
    let out = python.current_dir(dir.path()).output().expect("python3");
    assert!(out.status.success(), "{}", words(&out));
    assert!(the_run(dir.path()).join("baoa_summary.txt").exists());
}

/// `| head -c 10`: no words, no error, the exit of a tool that SIGPIPE ended; and everything is stored.
#[test]
fn a_reader_that_is_gone_ends_the_command_quietly_with_its_result_stored() {
    let dir = folder();
    let mut child = start(dir.path(), &small("train", &["--json"]))
        .spawn()
        .expect("the command starts");
    drop(child.stdout.take());
    assert_eq!(end(&mut child, 120).signal(), Some(SIGPIPE));
    let said = text(child.stderr.take());
    assert!(!said.contains("error:"), "{said}");
    let run = the_run(dir.path());
    assert!(run.join("baoa_metrics.json").exists());
    let run_name = run.to_str().expect("UTF-8");
    let fast = "--eval-splits val --eval-control=false --eval-num-text-samples 1";
    let eval: Vec<&str> = ["eval", run_name]
        .into_iter()
        .chain(fast.split(' '))
        .collect();
    for args in [
        &["generate", run_name, "--max-new-tokens", "50"][..],
        &eval,
        &["config"],
        &["--help"],
    ] {
        let mut child = start(dir.path(), args).spawn().expect("the command starts");
        drop(child.stdout.take());
        let status = end(&mut child, 60);
        assert_eq!(status.signal(), Some(SIGPIPE), "{args:?}: {status}");
        let said = text(child.stderr.take());
        assert!(!said.contains("rror") && !said.contains("panic"), "{said}");
    }
    let index = std::fs::read_to_string(run.join("generation_results.json")).expect("the index");
    let index: Value = serde_json::from_str(&index).expect("JSON");
    let mut texts = index.as_object().expect("an object").values();
    let written = texts.next().expect("a text")["text"].as_str();
    assert_eq!(written.expect("a text").chars().count(), 51);
    let kept = std::fs::read_dir(&run).expect("the run's folder");
    let names = kept.map(|e| {
        e.expect("an entry")
            .file_name()
            .into_string()
            .expect("UTF-8")
    });
    assert_eq!(names.filter(|n| n.starts_with("bayesian_eval_")).count(), 1);
}

/// Standard output on a full device is an error, after the result is stored.
#[test]
fn a_full_device_for_standard_output_is_an_error() {
    let dir = folder();
    let v = json(&train(dir.path(), &[]));
    let run = v["run_dir"].as_str().expect("run_dir");
    let full = File::options().write(true).open("/dev/full");
    let mut command = start(dir.path(), &["generate", run, "--max-new-tokens", "5"]);
    let out = command
        .stdout(full.expect("/dev/full"))
        .output()
        .expect("the command starts");
    assert_eq!(out.status.code(), Some(1));
    assert!(words(&out).contains("standard output"), "{}", words(&out));
    assert!(
        dir.path()
            .join(run)
            .join("generation_results.json")
            .exists()
    );
}

/// Ctrl-C, `kill` and a closed terminal stop a run with 128 and their number, and leave what it goes on from.
#[test]
fn a_signal_is_in_the_exit_code() {
    let long = ["--sampling-steps", "400000", "--thinning", "1000"];
    for (name, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let dir = folder();
        let mut child = start(dir.path(), &small("train", &long))
            .spawn()
            .expect("the command starts");
        let run = the_run(dir.path());
        std::thread::sleep(Duration::from_millis(300));
        signal(&child, name);
        let status = end(&mut child, 10);
        let said = text(child.stderr.take());
        assert_eq!(status.code(), Some(code), "{name}: {said}");
        assert!(said.contains("--resume"), "{said}");
        assert!(run.join("chain_00.bnn").exists());
    }
}

/// What `nohup` and background jobs ignore stays ignored.
#[test]
fn signals_that_are_ignored_at_the_start_stay_so() {
    let dir = folder();
    let mut shell = Command::new("sh");
    let script = "trap '' HUP INT; exec \"$0\" \"$@\"";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_bnn")]);
    shell.args(small("train", &["--sampling-steps", "3000"]));
    let mut child = (shell.current_dir(dir.path()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    let run = the_run(dir.path());
    for name in ["-HUP", "-INT", "-HUP"] {
        signal(&child, name);
        std::thread::sleep(Duration::from_millis(150));
    }
    assert!(end(&mut child, 120).success());
    assert!(run.join("baoa_summary.txt").exists());
}

/// While one step takes seconds, a second signal does not wait for it; one that came twice within a moment is one.
#[test]
fn a_second_signal_ends_at_once() {
    let dir = folder();
    let args = "baseline --shape baby --batch-size 16 --threads 1".split(' ');
    let mut child = start(dir.path(), &args.collect::<Vec<_>>())
        .spawn()
        .expect("the command starts");
    std::thread::sleep(Duration::from_millis(1000));
    signal(&child, "-TERM");
    signal(&child, "-TERM");
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().expect("a status").is_none());
    signal(&child, "-TERM");
    assert_eq!(end(&mut child, 1).code(), Some(143));
}

/// No long loop is deaf: texts of an evaluation, curvature, a fit, the control, `bench`.
#[test]
fn every_long_loop_hears_a_signal() {
    let dir = folder();
    let v = json(&train(dir.path(), &[]));
    let run = v["run_dir"].as_str().expect("run_dir");
    let texts = format!(
        "eval {run} --eval-splits train --eval-control=false --eval-num-text-samples 20 --eval-generation-length 35000"
    );
    let control = format!("eval {run} --eval-num-text-samples 1");
    let toml = dir.path().join(run).join("config.toml");
    let settings = std::fs::read_to_string(&toml).expect("settings");
    let small = SMALL.join(" ");
    for (what, args, edit) in [
        ("texts", texts, ""),
        ("control", control, "sampling_steps = 4000000"),
        (
            "curvature",
            format!("train {small} --curvature-iterations 9000 --batch-size 64"),
            "",
        ),
        (
            "fit",
            format!("train {small} --sampler vi --epochs 100000"),
            "",
        ),
        (
            "bench",
            "bench --shapes tiny --only generate --seconds 60".into(),
            "",
        ),
    ] {
        if !edit.is_empty() {
            let edited = settings.replace("sampling_steps = 40\n", &format!("{edit}\n"));
            assert!(edited != settings);
            std::fs::write(&toml, edited).expect("settings");
        }
        let args: Vec<&str> = args.split(' ').collect();
        let mut child = start(dir.path(), &args)
            .spawn()
            .expect("the command starts");
        std::thread::sleep(Duration::from_millis(1500));
        let there = child.try_wait().expect("a status");
        assert!(there.is_none(), "{what}: {}", text(child.stderr.take()));
        signal(&child, "-TERM");
        let status = end(&mut child, 2);
        let said = text(child.stderr.take());
        assert_eq!(status.code(), Some(143), "{what}: {said}");
    }
}

/// A pipe that nobody writes to, a device and a folder are refused before they are read.
#[test]
fn only_regular_files_are_read() {
    let dir = folder();
    let pipe = dir.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .expect("mkfifo")
            .success()
    );
    let run = dir.path().join("run");
    std::fs::create_dir(&run).expect("a folder");
    symlink(&pipe, run.join("config.toml")).expect("a link");
    let nanogpt = dir.path().join("nanogpt");
    std::fs::create_dir(&nanogpt).expect("a folder");
    symlink(&pipe, nanogpt.join("meta.pkl")).expect("a link");
    for (args, found) in [
        ("train --data pipe", "a pipe"),
        ("train --data /dev/zero", "a device"),
        ("train --data .", "a folder"),
        ("train --data-dir nanogpt", "a pipe"),
        ("train --config pipe", "a pipe"),
        ("train --resume run", "a pipe"),
        ("generate run", "a pipe"),
        ("verify pipe", "a pipe"),
    ] {
        let args: Vec<&str> = args.split(' ').collect();
        let mut child = start(dir.path(), &args)
            .spawn()
            .expect("the command starts");
        let status = end(&mut child, 10);
        let said = text(child.stderr.take());
        assert_eq!(status.code(), Some(1), "{args:?}: {said}");
        assert!(
            said.contains("expected a regular file") && said.contains(found),
            "{said}"
        );
    }
}

/// Macros that panic when a stream breaks stand nowhere in the command.
#[test]
fn the_command_prints_by_functions_that_may_fail() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.join("bin"), root.join("run")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).expect("UTF-8");
            for name in ["print!", "println!", "dbg!"] {
                assert!(!source.contains(name), "{}: {name}", path.display());
            }
        }
    }
}
