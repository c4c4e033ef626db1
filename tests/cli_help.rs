//! What a person meets first: help, version, completions, manual pages, `-q`, exit codes.
#![cfg(feature = "cli")]

#[path = "common/command.rs"]
#[allow(dead_code)] // what others share
mod command;

use bnn::settings::TABLE;
use command::*;
use std::path::Path;

fn said(args: &[&str]) -> String {
    let out = run(Path::new("/"), args);
    assert!(out.status.success(), "{args:?}: {}", words(&out));
    String::from_utf8(out.stdout).expect("UTF-8")
}

/// A screen of 40 lines of 100 characters; everything else under its headings.
#[test]
fn help_fits_a_screen_and_help_all_has_every_flag() {
    let short = said(&["train", "--help"]);
    assert_eq!(short, said(&["train", "-h"]));
    let lines: Vec<&str> = short.lines().collect();
    assert!(lines.len() <= 40, "{} lines: {short}", lines.len());
    assert!(lines.iter().all(|l| l.chars().count() <= 100), "{short}");
    for part in [
        "--data",
        "--sampler",
        "[0.014]",
        "[0.15]",
        "Example",
        "--help-all",
    ] {
        assert!(short.contains(part), "{part}: {short}");
    }
    assert!(
        !short.contains("--xi") && !short.contains("--no-wandb"),
        "{short}"
    );
    let all = said(&["train", "--help-all"]);
    for row in TABLE.iter().filter(|row| row.is_recorded()) {
        assert!(all.contains(&format!("--{}", row.flag())), "{}", row.name);
        assert!(
            all.contains(&format!("\n{}:\n", row.group.title())),
            "{}",
            row.name
        );
    }
    for command in [
        "baseline", "eval", "diagnose", "generate", "config", "verify", "bench",
    ] {
        assert!(said(&[command, "--help-all"]).len() > said(&[command, "--help"]).len());
    }
    for command in ["check", "completions", "man"] {
        said(&[command, "--help"]);
    }
    assert!(said(&["--help"]).contains("Exit codes"));
}

#[test]
fn the_version_says_how_the_command_was_built() {
    let version = said(&["--version"]);
    for part in [env!("CARGO_PKG_VERSION"), "target ", "rustc "] {
        assert!(version.contains(part), "{version}");
    }
    assert_eq!(said(&["-V"]).lines().count(), 1);
}

#[test]
fn shells_and_man_know_every_subcommand() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell]);
        assert!(
            script.contains("diagnose") && script.contains("sampling-steps"),
            "{shell}"
        );
    }
    let page = said(&["man"]);
    assert!(
        page.contains(".TH bnn 1") && page.contains("diagnose"),
        "{page}"
    );
    let train = said(&["man", "train"]);
    assert!(train.contains("sampling"), "{train}");
    let out = run(Path::new("/"), &["man", "trian"]);
    assert!(!out.status.success() && words(&out).contains("did you mean `train`?"));
}

#[test]
fn a_wrong_flag_exits_with_2_and_an_error_with_1() {
    for args in [
        &["train", "--no-such-flag"][..],
        &["train", "--sampler", "bao"],
        &["train", "--temperature", "-1"],
        &["nonsense"],
        &["eval"],
    ] {
        let out = run(Path::new("/"), args);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", words(&out));
    }
    assert_eq!(
        run(Path::new("/"), &["diagnose", "nowhere"]).status.code(),
        Some(1)
    );
}

/// The result is printed once; with -q standard error has nothing, and the log everything, with the time before each line.
#[test]
fn a_quiet_run_says_its_result_alone() {
    let dir = folder();
    let args: Vec<&str> = [&["train", "-q"][..], SMALL].concat();
    let out = run(dir.path(), &args);
    assert!(out.status.success());
    assert_eq!(words(&out), "");
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    assert_eq!(text.matches("\ncorpus ").count(), 1, "{text}");
    assert!(text.contains("local ensemble, not the posterior"), "{text}");
    let folder = text.split("details: ").nth(1).expect("a place");
    let folder = dir
        .path()
        .join(folder.trim())
        .parent()
        .expect("a folder")
        .to_owned();
    let log = std::fs::read_dir(folder).expect("the run").find_map(|e| {
        let path = e.expect("an entry").path();
        path.extension().is_some_and(|e| e == "log").then_some(path)
    });
    let log = std::fs::read_to_string(log.expect("a log")).expect("UTF-8");
    assert!(log.contains("physical time"), "{log}");
    for line in log.lines() {
        let (time, _) = line.split_once(' ').unwrap_or((line, ""));
        let digits: Vec<&str> = time.split(':').collect();
        assert!(
            digits.len() == 3 && digits.iter().all(|d| d.len() == 2),
            "{line}"
        );
    }
    // Without -q there are words, and the result is no part of them.
    let loud = run(dir.path(), &[&["train"][..], SMALL].concat());
    assert!(words(&loud).contains("physical time"));
    assert!(
        !words(&loud).contains("averaged prediction"),
        "{}",
        words(&loud)
    );
}

/// A chain of a few steps passes nothing: 3, with its checks; a diagnosis too. Without --strict both end well.
#[test]
fn strict_exits_with_3_where_a_check_fails() {
    let dir = folder();
    let probed = [
        "--sampling-steps",
        "200",
        "--probe-every",
        "4",
        "--probe-tokens",
        "50",
        "--strict",
    ];
    let out = train(dir.path(), &probed);
    assert_eq!(out.status.code(), Some(3), "{}", words(&out));
    assert!(
        words(&out).contains("R-hat") && words(&out).contains("FAILS"),
        "{}",
        words(&out)
    );
    let v: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let place = v["run_dir"].as_str().expect("run_dir");
    assert_eq!(v["verdict"]["kind"], "local_ensemble");
    let csv = dir.path().join("rows.csv");
    let file = csv.to_str().expect("UTF-8");
    let of = |more: &[&str]| run(dir.path(), &[&["diagnose", place][..], more].concat());
    assert_eq!(of(&["--strict"]).status.code(), Some(3));
    let out = of(&["--csv", file, "--rows", "3"]);
    assert!(out.status.success(), "{}", words(&out));
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    assert!(text.contains("the 3 of 66 quantities"), "{text}");
    assert!(text.contains("R-hat            FAILS"), "{text}");
    let rows = std::fs::read_to_string(csv).expect("the file");
    assert_eq!(rows.lines().count(), 1 + 50 + 16);
    let names = "quantity,index,place,text,mean,mcse,sd,q05,q50,q95,ess_bulk,ess_tail,rhat";
    assert_eq!(rows.lines().next(), Some(names));
    // The first probe token is the second character of the validation split of the embedded play.
    let corpus = bnn::data::Corpus::embedded().expect("the play");
    let shown = corpus.tokenizer.decode(&corpus.val[..2]).expect("text");
    let mut chars = shown.chars();
    let want = format!(
        "\"{}[{}]\"",
        chars.next().expect("one"),
        chars.next().expect("two")
    );
    let first = rows.lines().nth(1).expect("a row");
    assert!(
        first.starts_with("log_prob,0,1,") && first.contains(&want),
        "{first}"
    );
}

/// Numbers of threads that the environment asks for are those of a run that does not say.
#[test]
fn threads_are_those_that_the_environment_asks_for() {
    let of = |name: &str, value: &str| {
        let mut command = bnn(Path::new("/"));
        command
            .args(["verify"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/text_scores.json"));
        let out = command
            .env_remove("RAYON_NUM_THREADS")
            .env_remove("OMP_NUM_THREADS")
            .env(name, value);
        let out = out.output().expect("the command starts");
        String::from_utf8(out.stdout).expect("UTF-8")
    };
    for name in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS"] {
        let said = of(name, "3");
        assert!(said.contains("threads: 3"), "{said}");
        assert!(!of(name, "many").contains("threads: 3"));
    }
}
