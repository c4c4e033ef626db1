//! A run's checkpoint with right checksums and wrong numbers: `bnn train --resume` refuses it and names the file.
#![cfg(feature = "cli")]

mod common;

use bnn::store::Kind;
use common::command::{self, *};
use common::forged::{Parts, forge};

/// Broken: the count of a window's steps not compared, a run with 4 of 3 went on.
#[test]
fn forged_checkpoints_are_refused() {
    let dir = folder();
    let more = "--auto-step --warmup-steps 60 --step-tolerance 0.2 --temperature-every 2";
    let more: Vec<&str> = more.split_whitespace().collect();
    let v = json(&train(dir.path(), &more));
    let run = dir.path().join(run_dir(&v));
    let (chain, whole) = (run.join("chain_00.bnn"), dir.path().join("whole.bnn"));
    std::fs::copy(&chain, &whole).expect("a copy");
    let path = run.to_str().expect("UTF-8");
    let resume = |change: fn(&mut Parts)| {
        forge(&whole, Kind::Chain, &chain, change);
        command::run(dir.path(), &["train", "--json", "--resume", path])
    };
    let same = json(&resume(|_| {}));
    assert_eq!(same["samples_hash"], v["samples_hash"]);
    // 5 gradients for the mass, 60 steps of warm-up in windows of 6 of which 3 count, 40 of sampling.
    type Change = fn(&mut Parts);
    let cases: [(Change, &str); 15] = [
        // Broken: settings that are no JSON taken for those of an older file, which are not compared.
        (|p| p.header.config.truncate(100), "no JSON"),
        (|p| p.header.config.clear(), "no JSON"),
        (|p| p.doubles("auto_step")[5] = 1e300, "whole number"),
        (|p| p.doubles("auto_step")[5] = 4.0, "at most 3"),
        (|p| p.doubles("auto_step")[3] = -1.0, "kinetic"),
        (|p| p.doubles("auto_step")[2] = -1.0, "error"),
        (|p| *p.counter("temperatures") = 41, "at most 40"),
        (|p| *p.counter("temperatures") = u64::MAX, "at most 40"),
        (|p| *p.counter("sampler_step") = 99, "105 steps in all"),
        (
            |p| *p.counter("preconditioned") = u64::MAX,
            "105 steps in all",
        ),
        (|p| p.header.step = 104, "104 steps in all"),
        // Broken: a chain that estimates its gradient's noise went on without what it knew.
        (|p| _ = p.singles.remove("last_gradient"), "last gradient"),
        (
            |p| _ = p.singles.insert("gradient_before".into(), vec![0.0; 3]),
            "gradient_before",
        ),
        (|p| _ = p.singles.remove("gradient_noise"), "variances"),
        (
            |p| p.singles.get_mut("gradient_noise").expect("one")[0] = -1.0,
            "gradient_noise[0]",
        ),
    ];
    for (change, part) in cases {
        let out = resume(change);
        assert_eq!(out.status.code(), Some(1), "{part}");
        assert!(words(&out).contains(part), "{}, not {part}", words(&out));
        assert!(words(&out).contains("chain_00.bnn"), "{}", words(&out));
    }
}

/// A forged number of steps costs no memory and no time: the draws that are due are counted, not listed. Broken: all steps of the draws collected, 8 GB.
#[test]
fn a_forged_length_costs_nothing() {
    let dir = folder();
    let v = json(&train(dir.path(), &[]));
    let run = dir.path().join(run_dir(&v));
    let (chain, config) = (run.join("chain_00.bnn"), run.join("config.toml"));
    let path = run.to_str().expect("UTF-8");
    assert!(
        command::run(dir.path(), &["diagnose", path])
            .status
            .success()
    );
    let text = std::fs::read_to_string(&config).expect("settings");
    let lines = text.lines().map(|line| match line.split(" = ").next() {
        Some("sampling_steps") => "sampling_steps = 1000000000",
        Some("probe_every") => "probe_every = 1",
        Some("thinning") => "thinning = 1",
        _ => line,
    });
    let forged: Vec<&str> = lines.collect();
    std::fs::write(&config, forged.join("\n")).expect("settings");
    let whole = dir.path().join("whole.bnn");
    std::fs::copy(&chain, &whole).expect("a copy");
    forge(&whole, Kind::Chain, &chain, |p| {
        p.header.step = 1_000_000_000
    });
    for (command, part) in [
        ("diagnose", "draws of the probes"),
        // Broken: the names of all missing samples listed, 10^9 of them.
        ("check", "more than 1000000 of its samples are missing"),
    ] {
        let begin = std::time::Instant::now();
        let out = command::run(dir.path(), &[command, path]);
        assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
        assert_eq!(out.status.code(), Some(1), "{}", words(&out));
        assert!(words(&out).contains(part), "{}", words(&out));
    }
}
