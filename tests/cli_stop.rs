//! Runs that are stopped or killed, and go on bit for bit.
#![cfg(feature = "cli")]

mod common;

use common::command::{self, *};
use common::series::draws;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Waits for a child; returns its exit code and its words.
fn wait(mut child: std::process::Child) -> (Option<i32>, String) {
    let status = end(&mut child, 120);
    let mut text = String::new();
    if let Some(mut err) = child.stderr.take() {
        err.read_to_string(&mut text).expect("UTF-8");
    }
    (status.code(), text)
}

/// A long run's settings: enough steps that a signal finds it at work.
const LONG: &[&str] = &[
    "--sampling-steps",
    "3000",
    "--thinning",
    "100",
    "--checkpoint-every",
    "37",
    "--probe-tokens",
    "100",
    "--probe-every",
    "7",
    "--temperature-every",
    "3",
    "--prior-center",
    "pretrained",
    "--llc-every",
    "11",
    "--auto-step",
    "--warmup-steps",
    "60",
    "--step-tolerance",
    "0.2",
];

#[cfg(unix)]
fn start_and(
    dir: &Path,
    name: &str,
    samples: usize,
    sampler: &str,
    more: &[&str],
) -> (PathBuf, Option<i32>, String) {
    let args: Vec<&str> = ["train"].iter().chain(SMALL).chain(more).copied().collect();
    let child = bnn(dir)
        .args(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // Wait until some samples are there, then interrupt.
    let parent = dir.join(format!("checkpoints/samplers/{sampler}_sampler"));
    let deadline = Instant::now() + Duration::from_secs(120);
    let run = loop {
        assert!(Instant::now() < deadline, "no sample came");
        let found = std::fs::read_dir(&parent)
            .ok()
            .and_then(|mut d| d.next())
            .and_then(|e| e.ok());
        if let Some(e) = found {
            let n = std::fs::read_dir(e.path().join("samples")).map_or(0, |d| {
                d.filter(|e| {
                    e.as_ref()
                        .is_ok_and(|e| !e.file_name().to_string_lossy().starts_with('.'))
                })
                .count()
            });
            if n >= samples {
                break e.path();
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    signal(&child, name);
    let (code, text) = wait(child);
    (run, code, text)
}

#[cfg(unix)]
#[test]
fn a_run_that_was_stopped_or_killed_goes_on_bit_for_bit() {
    let whole = folder();
    let want = json(&train(whole.path(), LONG));
    let whole_draws = draws(&whole.path().join(run_dir(&want)).join("chain_00.bnn"));
    assert_eq!(whole_draws.0.len(), 428 * 100);
    let tensors = want["chains"][0]["tensors"].as_array().expect("a list");
    assert_eq!(tensors.len(), 9);
    for t in tensors {
        for what in ["kinetic", "configurational"] {
            keys(&t[what], &["mean", "sd", "std_error"]);
        }
    }
    let curvature = &want["chains"][0]["curvature"];
    keys(curvature, &["largest", "residual", "smallest"]);
    assert_eq!(curvature["products"], 10);
    let llc = &want["chains"][0]["llc"];
    keys(llc, &["value", "std_error", "excess_loss", "n_beta"]);
    assert_eq!(llc["looks"], 272);
    let step = &want["chains"][0]["step"];
    keys(step, &["alpha", "optimizer_learning_rate", "error"]);
    let (h, momentum) = (&step["step_size"], &step["optimizer_momentum"]);
    assert!(h.as_f64().is_some_and(|h| h != 4.5e-3), "{step}");
    assert!(
        momentum.as_f64().is_some_and(|m| (m - 0.9).abs() < 1e-9),
        "{step}"
    );
    let energy = &want["chains"][0]["energy"];
    keys(energy, &["potential", "kinetic", "total", "drift"]);
    let of = |what: &str| energy[what]["mean"].as_f64().expect("a number");
    let (sum, total) = (of("potential") + of("kinetic"), of("total"));
    assert!((sum / total - 1.0).abs() < 1e-9, "{energy}");
    for name in ["-INT", "-KILL"] {
        let dir = folder();
        let (run, code, text) = start_and(dir.path(), name, 3, "baoa", LONG);
        if name == "-INT" {
            assert_eq!(code, Some(130), "{text}");
            assert!(
                text.contains("samples are kept") && text.contains("--resume"),
                "{text}"
            );
        }
        // What is there can be read as it is.
        let v = json(&command::run(
            dir.path(),
            &[
                "generate",
                run.to_str().expect("UTF-8"),
                "--json",
                "--max-new-tokens",
                "5",
                "--prompt",
                "T",
            ],
        ));
        assert!(
            v["unc_info"]["num_samples_used"]
                .as_u64()
                .expect("a number")
                >= 3
        );
        let got = json(&command::run(
            dir.path(),
            &["train", "--json", "--resume", run.to_str().expect("UTF-8")],
        ));
        assert_eq!(got["samples_hash"], want["samples_hash"], "{name}");
        assert_eq!(got["samples_collected"], 30);
        // The trace of temperatures is whole again, too, and so are each tensor's.
        assert_eq!(got["chains"], want["chains"]);
        // And so are the probes' draws.
        assert!(draws(&run.join("chain_00.bnn")) == whole_draws, "{name}");
    }
}

/// A chain whose mass follows it has the mean squares in its state.
#[cfg(unix)]
#[test]
fn a_stopped_run_whose_mass_follows_it_goes_on_bit_for_bit() {
    let more = "--sampler sgld --preconditioner live --preconditioner-decay 0.9 --sampling-steps 2000 --thinning 100 --checkpoint-every 37 \
                --probe-tokens 100 --temperature-every 3";
    let more: Vec<&str> = more.split_whitespace().collect();
    let whole = folder();
    let want = json(&train(whole.path(), &more));
    for name in ["-INT", "-KILL"] {
        let dir = folder();
        let (run, ..) = start_and(dir.path(), name, 2, "sgld", &more);
        let path = run.to_str().expect("UTF-8");
        let got = json(&command::run(
            dir.path(),
            &["train", "--json", "--resume", path],
        ));
        assert_eq!(got["samples_hash"], want["samples_hash"], "{name}");
        assert_eq!(got["chains"], want["chains"], "{name}");
    }
}
