//! What settings may not be, and what a schedule means for what is reported.
#![cfg(feature = "cli")]

mod common;

use common::command::*;

/// Each tensor's temperature is on the scale of T, whatever schedule the temperature follows: here the prior alone is sampled, with steps that are exact for it.
#[test]
fn temperatures_by_tensor_follow_the_schedule() {
    let dir = folder();
    let more = "--sampling-steps 1000 --warmup-steps 100 --thinning 50 --likelihood-weight 1e-12 --preconditioner prior --prior-std 0.05 \
                --learning-rate 0.5 --temperature 0.1 --noise-correction none --temperature-schedule linear --probe-tokens 0 --curvature-iterations 0";
    let more: Vec<&str> = more.split_whitespace().collect();
    let v = json(&train(dir.path(), &more));
    let tensors = v["chains"][0]["tensors"].as_array().expect("a list");
    for t in tensors
        .iter()
        .filter(|t| t["parameters"].as_u64() > Some(500))
    {
        let mean = t["kinetic"]["mean"].as_f64().expect("a mean");
        // 500 parameters over 1,000 steps: far less than a twentieth of T.
        assert!((mean / 0.1 - 1.0).abs() < 0.05, "{t}");
    }
    assert!(v["chains"][0]["energy"].is_null() && v["chains"][0]["llc"].is_null());
}

#[test]
fn settings_that_contradict_each_other_are_refused_before_any_training() {
    let dir = folder();
    let file = dir.path().join("twice.toml");
    std::fs::write(&file, "learning_rate = 1e-3\nstep_size = 2e-3\n").expect("written");
    let none =
        "--sampling-steps 100 --schedule cyclical --cycles 10 --exploration 0.99 --thinning 9";
    let none: Vec<&str> = none.split_whitespace().collect();
    let file = file.to_str().expect("UTF-8");
    for (code, more, word) in [
        (1, &["--config", file][..], "given twice"),
        (2, &none, "no sample"),
    ] {
        let out = train(dir.path(), more);
        assert_eq!(out.status.code(), Some(code));
        assert!(words(&out).contains(word), "{}", words(&out));
        assert!(!dir.path().join("checkpoints").exists());
    }
}
