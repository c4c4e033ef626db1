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
    let cases: [(Change, &str); 9] = [
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
    ];
    for (change, part) in cases {
        let out = resume(change);
        assert_eq!(out.status.code(), Some(1), "{part}");
        assert!(words(&out).contains(part), "{}, not {part}", words(&out));
        assert!(words(&out).contains("chain_00.bnn"), "{}", words(&out));
    }
}
