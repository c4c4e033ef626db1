//! Chains that run at a time: the bits of chains that run one after the other, whatever stops or fails in between.
#![cfg(feature = "cli")]

mod common;

use common::command::*;
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Three chains with a checkpoint every 7 steps.
const CHAINS: &[&str] = &["--chains", "3", "--checkpoint-every", "7"];

fn chains(dir: &Path, at_once: &str, more: &[&str]) -> Value {
    let own = ["--chains-at-once", at_once];
    json(&train(dir, &[CHAINS, &own, more].concat()))
}

#[test]
fn chains_have_the_same_bits_however_many_run_at_a_time() {
    let dir = folder();
    let want = chains(dir.path(), "1", &[]);
    assert_eq!(want["samples_collected"], 12);
    for at_once in ["0", "2", "3", "100"] {
        let got = chains(dir.path(), at_once, &[]);
        for what in ["samples_hash", "chains", "losses", "agreement"] {
            assert_eq!(got[what], want[what], "{what}, {at_once} at a time");
        }
        let spent = std::fs::read_to_string(dir.path().join(run_dir(&got)).join("spent.json"));
        let spent: Value = serde_json::from_str(&spent.expect("a file")).expect("JSON");
        assert_eq!(spent["gradients"], 3 * 55, "{at_once} at a time");
        let seconds = spent["seconds"].as_f64().expect("a number");
        assert!(seconds > 0.0 && seconds < 60.0, "{seconds}");
    }
}

#[test]
fn one_log_speaks_for_all_chains() {
    let dir = folder();
    let own = ["--chains-at-once", "3"];
    let out = train(dir.path(), &[CHAINS, &own].concat());
    let said = words(&out);
    for chain in 0..3 {
        let own = format!("chain {chain}: stability");
        assert!(said.contains(&own), "`{own}` is not in:\n{said}");
    }
    assert!(said.contains("3 chains 165/165"), "{said}");
    let log = dir.path().join(run_dir(&json(&out)));
    let log = std::fs::read_dir(log)
        .expect("a folder")
        .filter_map(|e| Some(e.ok()?.path()))
        .find(|p| p.extension().is_some_and(|e| e == "log"))
        .expect("a log");
    let log = std::fs::read_to_string(log).expect("UTF-8");
    assert!(log.contains("chain 2: stability"), "{log}");
}

#[cfg(unix)]
#[test]
fn chains_that_were_stopped_at_once_go_on_bit_for_bit() {
    let more = ["--sampling-steps", "2000", "--thinning", "100"];
    let whole = folder();
    let want = chains(whole.path(), "1", &more);
    let dir = folder();
    let own = ["train", "--chains-at-once", "3"];
    let args: Vec<&str> = [&own, SMALL, CHAINS, &more].concat();
    let mut child = bnn(dir.path())
        .args(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let parent = dir.path().join("checkpoints/samplers/baoa_sampler");
    let deadline = Instant::now() + Duration::from_secs(120);
    // Until each chain has a sample.
    let run = loop {
        assert!(Instant::now() < deadline, "no samples came");
        std::thread::sleep(Duration::from_millis(2));
        let Some(Ok(run)) = std::fs::read_dir(&parent).ok().and_then(|mut d| d.next()) else {
            continue;
        };
        let has = |chain: u32| {
            let samples = std::fs::read_dir(run.path().join("samples"));
            samples.is_ok_and(|mut all| {
                let begins = format!("c{chain:02}");
                all.any(|e| e.is_ok_and(|e| e.file_name().to_string_lossy().starts_with(&begins)))
            })
        };
        if (0..3).all(has) {
            break run.path();
        }
    };
    signal(&child, "-INT");
    assert_eq!(end(&mut child, 120).code(), Some(130));
    let run_path = run.to_str().expect("UTF-8");
    let got = json(&resume(dir.path(), run_path));
    assert_eq!(got["samples_hash"], want["samples_hash"]);
    assert_eq!(got["chains"], want["chains"]);
}

fn resume(dir: &Path, path: &str) -> std::process::Output {
    run(dir, &["train", "--json", "--resume", path])
}

#[test]
fn a_chain_that_fails_is_named_and_the_others_keep_their_states() {
    let dir = folder();
    let made = chains(dir.path(), "3", &[]);
    let run_path = dir.path().join(run_dir(&made));
    let file = run_path.join("chain_01.bnn");
    let good = std::fs::read(&file).expect("a file");
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    std::fs::write(&file, &bad).expect("written");
    let longer = |at_once: &str| {
        let path = run_path.to_str().expect("UTF-8");
        let args = ["train", "--json", "--resume", path];
        let more = ["--sampling-steps", "80", "--chains-at-once", at_once];
        run(dir.path(), &[args, more].concat())
    };
    let out = longer("3");
    let said = words(&out);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("chain_01.bnn"), "{said}");
    std::fs::write(&file, &good).expect("written");
    let want = chains(folder().path(), "1", &["--sampling-steps", "80"]);
    let got = json(&longer("3"));
    assert_eq!(got["samples_hash"], want["samples_hash"]);
    assert_eq!(got["samples_collected"], 24);
}
