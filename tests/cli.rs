//! The command as a user runs it: files, keys, exit codes, stopping and resuming.
#![cfg(feature = "cli")]

use bnn::store::{Kind, Reader};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Settings that make everything small: a model of 10,000 parameters, a few steps.
const SMALL: &[&str] = &[
    "--shape",
    "tiny",
    "--n-layer",
    "1",
    "--n-embd",
    "16",
    "--block-size",
    "16",
    "--batch-size",
    "4",
    "--baseline-iters",
    "40",
    "--baseline-warmup-iters",
    "5",
    "--preconditioner-steps",
    "5",
    "--warmup-steps",
    "10",
    "--sampling-steps",
    "40",
    "--thinning",
    "10",
    "--eval-max-tokens",
    "640",
    "--eval-num-text-samples",
    "3",
    "--threads",
    "2",
];

fn bnn(dir: &Path) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_bnn"));
    c.current_dir(dir);
    for name in [
        "BASE_DIR",
        "MODEL_PATH",
        "META_PATH",
        "DATA_DIR",
        "DEVICE",
        "WANDB_AVAILABLE",
        "BNN_ISA",
    ] {
        c.env_remove(name);
    }
    c
}

fn run(dir: &Path, args: &[&str]) -> Output {
    bnn(dir).args(args).output().expect("the command starts")
}

/// Standard error, for messages.
fn words(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn json(out: &Output) -> Value {
    assert!(out.status.success(), "{}", words(out));
    serde_json::from_slice(&out.stdout).expect("one JSON object on standard output")
}

fn train(dir: &Path, more: &[&str]) -> Output {
    let args: Vec<&str> = ["train", "--json"]
        .iter()
        .chain(SMALL)
        .chain(more)
        .copied()
        .collect();
    run(dir, &args)
}

fn run_dir(v: &Value) -> PathBuf {
    v["run_dir"].as_str().expect("run_dir").into()
}

fn keys(v: &Value, names: &[&str]) {
    for name in names {
        assert!(!v[name].is_null(), "`{name}` is missing in {v}");
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn train_leaves_every_file_and_key() {
    let dir = folder();
    let v = json(&train(
        dir.path(),
        &[
            "--sampler",
            "baoa",
            "--eval",
            "--no-wandb",
            "--log-dir",
            "logs",
            "--epochs",
            "3",
        ],
    ));
    keys(
        &v,
        &[
            "run_dir",
            "samples_hash",
            "loss_baseline",
            "loss_mean_of_samples",
            "loss_averaged_prediction",
        ],
    );
    let run = dir.path().join(run_dir(&v));
    assert!(run.starts_with(dir.path().join("checkpoints/samplers/baoa_sampler")));

    let read = |name: &str| -> Value {
        let text = std::fs::read_to_string(run.join(name)).expect(name);
        serde_json::from_str(&text).expect(name)
    };
    let m = read("baoa_metrics.json");
    keys(
        &m,
        &[
            "sampler_type",
            "config",
            "training_metrics",
            "timestamp",
            "uncertainty",
        ],
    );
    keys(
        &m["training_metrics"],
        &["total_steps", "samples_collected", "avg_momentum"],
    );
    keys(
        &m["uncertainty"],
        &[
            "avg_predictive_entropy",
            "max_predictive_entropy",
            "min_predictive_entropy",
        ],
    );
    keys(
        &m["config"],
        &[
            "batch_size",
            "train_samples",
            "max_seq_length",
            "learning_rate",
            "temperature",
            "prior_std",
            "num_samples",
            "save_dir",
        ],
    );
    assert_eq!(m["training_metrics"]["samples_collected"], 4);
    assert_eq!(m["training_metrics"]["total_steps"], 55);
    let momentum = m["training_metrics"]["avg_momentum"].as_f64();
    assert!(momentum.is_some_and(|m| m > 0.0));

    let eval = std::fs::read_dir(&run)
        .expect("the run folder")
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .find(|n| n.starts_with("bayesian_eval_"))
        .expect("bayesian_eval_<time>.json");
    let e = read(&eval);
    keys(
        &e,
        &[
            "config",
            "sampler_type",
            "num_posterior_samples",
            "results",
            "vocab_size",
        ],
    );
    keys(
        &e["config"],
        &[
            "data_dir",
            "splits",
            "batch_size",
            "num_text_samples",
            "prompt_length",
            "generation_length",
            "max_tokens",
        ],
    );
    assert!(e["config"].get("max_eval_samples").is_some());
    for split in ["val", "train"] {
        let r = &e["results"][split];
        keys(
            r,
            &[
                "split",
                "total_tokens",
                "sampler_type",
                "num_posterior_samples",
                "perplexity",
                "bleu",
                "rouge1",
                "rouge2",
                "rougeL",
                "examples",
                "elapsed_seconds",
                "perplexity_mean_nll",
                "loss_baseline",
                "against_baseline",
                "loss_deterministic_equal_gradients",
                "predictive_entropy",
                "expected_entropy",
                "mutual_information",
            ],
        );
        let of = |k: &str| r[k].as_f64().expect("a number");
        // Jensen: the average predicts no worse than its samples do on average.
        assert!(of("loss_averaged_prediction") <= of("loss_mean_of_samples"));
        assert!((of("perplexity").ln() - of("loss_averaged_prediction")).abs() < 1e-9);
        assert_eq!(r["total_tokens"], 640);
        assert_eq!(r["deterministic_gradients"], 95);
    }
    let summary = std::fs::read_to_string(run.join("baoa_summary.txt")).expect("summary");
    assert!(summary.contains("averaged prediction"));
    let log = std::fs::read_dir(dir.path().join("logs")).expect("the log folder");
    assert_eq!(log.count(), 1);
    assert!(run.join("config.toml").exists() && run.join("chain_00.bnn").exists());
    assert_eq!(
        std::fs::read_dir(run.join("samples"))
            .expect("samples")
            .count(),
        4
    );

    // Scoring again gives the same figures, and other settings of the evaluation are taken.
    let again = json(&run_cmd(
        dir.path(),
        &["eval", v["run_dir"].as_str().expect("run_dir"), "--json"],
    ));
    assert_eq!(
        again["results"]["val"]["loss_averaged_prediction"],
        e["results"]["val"]["loss_averaged_prediction"]
    );
    let two = json(&run_cmd(
        dir.path(),
        &[
            "eval",
            v["run_dir"].as_str().expect("run_dir"),
            "--json",
            "--eval-splits",
            "val",
            "--eval-num-posterior-samples",
            "2",
            "--eval-control=false",
        ],
    ));
    assert_eq!(two["results"]["val"]["num_posterior_samples"], 2);
    assert!(two["results"]["train"].is_null());
    assert!(two["results"]["val"]["loss_deterministic_equal_gradients"].is_null());

    // Text: the same from one thread and from two, and kept with its uncertainty.
    let text = |threads: &str| {
        json(&run_cmd(
            dir.path(),
            &[
                "generate",
                v["run_dir"].as_str().expect("run_dir"),
                "--json",
                "--prompt",
                "MARETH:",
                "--max-new-tokens",
                "40",
                "--samples",
                "3",
                "--temperature",
                "0.8",
                "--threads",
                threads,
            ],
        ))
    };
    let (one, two) = (text("1"), text("2"));
    assert_eq!(one["text"], two["text"]);
    assert_eq!(one["text"].as_str().expect("text").chars().count(), 47);
    keys(
        &one,
        &["generation_params", "start_prompt", "text", "unc_info"],
    );
    keys(
        &one["unc_info"],
        &[
            "avg_uncertainty",
            "max_uncertainty",
            "num_samples_used",
            "token_uncertainties",
        ],
    );
    assert_eq!(
        one["unc_info"]["token_uncertainties"]
            .as_array()
            .expect("a list")
            .len(),
        40
    );
    let kept: Value = serde_json::from_str(
        &std::fs::read_to_string(run.join("generation_results.json")).expect("results"),
    )
    .expect("JSON");
    assert_eq!(kept.as_object().expect("an object").len(), 2);
    // A run from before a setting was there: it has the default, and what follows is the same.
    let toml = run.join("config.toml");
    let text = std::fs::read_to_string(&toml).expect("settings");
    let without: Vec<&str> = text
        .lines()
        .filter(|l| {
            !l.starts_with("precision")
                && !l.starts_with("probe_")
                && !l.starts_with("temperature_every")
                && !l.starts_with("curvature_iterations")
                && !l.starts_with("auto_step")
                && !l.starts_with("step_tolerance")
                && !l.starts_with("llc_every")
        })
        .collect();
    assert_eq!(without.len() + 8, text.lines().count());
    std::fs::write(&toml, without.join("\n")).expect("settings");

    // Several prompts at once: the first text is that of the prompt alone; the rounded weights change the draws' probabilities a little.
    let run_dir = v["run_dir"].as_str().expect("run_dir");
    let many = |weights: &str| {
        let common = "--json --max-new-tokens 40 --samples 3 --temperature 0.8 --texts 2 --weights";
        let prompts = ["--prompt", "MARETH:", "--prompt", "O"];
        let args = [&["generate", run_dir][..], &prompts].concat();
        let common = common.split(' ').chain([weights]);
        let args: Vec<&str> = args.into_iter().chain(common).collect();
        json(&run_cmd(dir.path(), &args))
    };
    let (f32s, bf16s) = (many("f32"), many("bf16"));
    assert_eq!(f32s["texts"][0], one["text"]);
    assert_eq!(f32s["unc_info"][0], one["unc_info"]);
    assert_eq!(f32s["texts"].as_array().expect("texts").len(), 4);
    assert_eq!(f32s["start_prompts"][1], "O");
    assert_eq!(bf16s["generation_params"]["weights"], "bf16");
    let entropy = |v: &Value| {
        v["unc_info"][3]["token_uncertainties"][0]
            .as_f64()
            .expect("a number")
    };
    let off = (entropy(&f32s) - entropy(&bf16s)).abs();
    assert!(off > 0.0 && off < 0.05, "{off}");
    let bad = run_cmd(
        dir.path(),
        &[
            "generate",
            v["run_dir"].as_str().expect("run_dir"),
            "--prompt",
            "caf\u{e9}",
        ],
    );
    assert_eq!(bad.status.code(), Some(1));
    assert!(words(&bad).contains('\u{e9}'), "{}", words(&bad));
}

fn run_cmd(dir: &Path, args: &[&str]) -> Output {
    run(dir, args)
}

#[test]
fn threads_change_no_bit_and_seeds_and_samplers_do() {
    let dir = folder();
    let hash = |more: &[&str]| {
        json(&train(dir.path(), more))["samples_hash"]
            .as_str()
            .expect("hash")
            .to_owned()
    };
    let one = hash(&["--threads", "1"]);
    assert_eq!(one, hash(&["--threads", "3"]));
    assert_ne!(one, hash(&["--seed", "43"]));
    assert_ne!(one, hash(&["--sampler", "sgld"]));
    assert_ne!(one, hash(&["--sampler", "sghmc"]));
    assert_ne!(one, hash(&["--objective", "last"]));
    let two = json(&train(dir.path(), &["--chains", "2"]));
    assert_eq!(two["samples_collected"], 8);
    assert_ne!(two["chains"][0]["rms_move"], two["chains"][1]["rms_move"]);
}

#[test]
fn bf16_samples_take_half_the_space_and_predict_about_the_same() {
    let dir = folder();
    let size = |v: &Value| -> u64 {
        std::fs::read_dir(dir.path().join(run_dir(v)).join("samples"))
            .expect("samples")
            .map(|e| e.expect("an entry").metadata().expect("metadata").len())
            .sum()
    };
    let (full, half) = (
        json(&train(dir.path(), &[])),
        json(&train(dir.path(), &["--sample-dtype", "bf16"])),
    );
    assert!(size(&half) < size(&full) * 3 / 4);
    let loss = |v: &Value| v["loss_averaged_prediction"].as_f64().expect("a number");
    // bf16 rounds weights by at most 2^-9 of themselves; the loss near a minimum moves far less than 1 %.
    assert!((loss(&full) - loss(&half)).abs() < 0.01 * loss(&full));
}

/// Waits for a child with a deadline, so that a hung command fails the test.
fn wait(mut child: std::process::Child) -> (Option<i32>, String) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(status) = child.try_wait().expect("the child's status") {
            let mut text = String::new();
            if let Some(mut err) = child.stderr.take() {
                err.read_to_string(&mut text).expect("UTF-8");
            }
            return (status.code(), text);
        }
        assert!(Instant::now() < deadline, "the command hangs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(unix)]
fn signal(child: &std::process::Child, name: &str) {
    let ok = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .expect("kill");
    assert!(ok.success());
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
fn start_and(dir: &Path, name: &str, samples: usize) -> (PathBuf, Option<i32>, String) {
    let args: Vec<&str> = ["train"].iter().chain(SMALL).chain(LONG).copied().collect();
    let child = bnn(dir)
        .args(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // Wait until some samples are there, then interrupt.
    let parent = dir.join("checkpoints/samplers/baoa_sampler");
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

/// The draws of the probes in a chain's file: log-probabilities and projections.
fn draws(file: &Path) -> (Vec<f32>, Vec<f64>) {
    let mut r = Reader::open(file, Kind::Chain).expect("the chain's file");
    let len = |name: &str| r.tensor(name).expect(name).len as usize;
    let (mut a, mut b) = (
        vec![0.0; len("probe.log_prob")],
        vec![0.0; len("probe.projection")],
    );
    r.read_f32("probe.log_prob", &mut a).expect("scores");
    r.read_f64("probe.projection", &mut b).expect("projections");
    (a, b)
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
        let (run, code, text) = start_and(dir.path(), name, 3);
        if name == "-INT" {
            assert_eq!(code, Some(130), "{text}");
            assert!(
                text.contains("samples are kept") && text.contains("--resume"),
                "{text}"
            );
        }
        // What is there can be read as it is.
        let v = json(&run_cmd(
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
        let got = json(&run_cmd(
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

/// A run with draws enough for R-hat.
const PROBED: &[&str] = &[
    "--sampling-steps",
    "200",
    "--probe-every",
    "4",
    "--probe-tokens",
    "50",
];

#[test]
fn diagnose_judges_runs_that_belong_together_and_refuses_others() {
    let dir = folder();
    let of = |more: &[&str]| json(&train(dir.path(), &[PROBED, more].concat()));
    let name = |v: &Value| v["run_dir"].as_str().expect("run_dir").to_owned();
    let (two, other) = (
        of(&["--chains", "2"]),
        of(&["--seed", "43", "--sampler", "sghmc"]),
    );
    let (two_dir, other_dir) = (name(&two), name(&other));
    let d = json(&run_cmd(dir.path(), &["diagnose", &two_dir, "--json"]));
    assert_eq!((&d["chains"], &d["draws"]), (&2.into(), &50.into()));
    assert_eq!(d["gradients"], 2 * 215);
    assert!(d["seconds"].as_f64().is_some_and(|s| s > 0.0));

    // Every number is that of the draws in the chains' files.
    let (mut scores, mut sums) = (Vec::new(), Vec::new());
    for chain in ["chain_00.bnn", "chain_01.bnn"] {
        let (a, b) = draws(&dir.path().join(&two_dir).join(chain));
        assert_eq!((a.len(), b.len()), (50 * 50, 50 * 16));
        scores.push(a.iter().map(|&v| v as f64).collect::<Vec<f64>>());
        sums.push(b);
    }
    for (key, tables, width) in [("log_prob", &scores, 50), ("projection", &sums, 16)] {
        let each = d["each"][key].as_array().expect("a list");
        assert_eq!(each.len(), width);
        let mut worst = 0.0f64;
        for (i, got) in each.iter().enumerate() {
            let column = |t: &Vec<f64>| t.iter().skip(i).step_by(width).copied().collect();
            let chains: Vec<Vec<f64>> = tables.iter().map(column).collect();
            let want = bnn::metrics::chain_diagnostics(&chains).expect("numbers");
            // Numbers pass through text: their last bit may be off.
            let close = |a: Option<f64>, b: f64| a.is_some_and(|a| (a / b - 1.0).abs() < 1e-12);
            for (what, want) in [
                ("rhat", want.rhat),
                ("ess_bulk", want.ess_bulk),
                ("ess_tail", want.ess_tail),
                ("mcse_mean", want.mcse_mean),
            ] {
                assert!(close(got[what].as_f64(), want), "{key} {i} {what}: {got}");
            }
            worst = worst.max(want.rhat);
        }
        let f = &d[key];
        let found = f["rhat"]["worst"].as_f64().expect("a number");
        assert!((found / worst - 1.0).abs() < 1e-12);
        let number = |path: &[&str]| {
            let v = path.iter().fold(f, |v, k| &v[k]);
            v.as_f64().unwrap_or_else(|| panic!("{path:?} in {f}"))
        };
        let per = number(&["ess_tail", "draws", "median"]) / 430.0;
        assert!((number(&["ess_tail", "a_gradient", "median"]) / per - 1.0).abs() < 1e-12);
        let under = |limit| {
            let n = each
                .iter()
                .filter(|e| e["rhat"].as_f64() < Some(limit))
                .count();
            n as f64 / width as f64
        };
        assert_eq!(number(&["share_under_1_1"]), under(1.1));
        assert_eq!(number(&["share_under_1_05"]), under(1.05));
    }
    // The run's own report has the same summary.
    let path = dir.path().join(&two_dir).join("baoa_metrics.json");
    let m: Value = serde_json::from_slice(&std::fs::read(path).expect("metrics")).expect("JSON");
    assert_eq!(m["diagnostics"]["log_prob"], d["log_prob"]);
    assert_eq!(m["diagnostics"]["verdict"], d["verdict"]);
    assert_eq!(two["diagnostics"], m["diagnostics"]);
    let summary = std::fs::read_to_string(dir.path().join(&two_dir).join("baoa_summary.txt"));
    let text = run_cmd(dir.path(), &["diagnose", &two_dir]).stdout;
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(summary.expect("summary").contains(&text), "{text}");
    assert!(text.contains("R-hat") && text.contains("draws a chain are few"));
    assert!(!text.contains("with one chain"), "{text}");

    // Exported, the draws lie in an HDF5 file; the statistics are those of the steps that led to them, after 15 steps of preparation.
    let out = run_cmd(dir.path(), &["diagnose", &two_dir, "--export", "two.nc"]);
    assert!(out.status.success(), "{}", words(&out));
    let bytes = std::fs::read(dir.path().join("two.nc")).expect("the file");
    assert!(bytes.starts_with(b"\x89HDF\r\n\x1a\n") && bytes.len() > 2 * 50 * 50 * 4);
    let run = bnn::run::diagnose::RunDraws::open(&dir.path().join(&two_dir)).expect("a run");
    for chain in &run.chains {
        let mut r = Reader::open(&chain.path, Kind::Chain).expect("the chain's file");
        let (mut log_lik, mut kinetic) = (vec![0.0; 215], vec![0.0; 200]);
        r.read_f64("trace.log_lik", &mut log_lik).expect("a trace");
        r.read_f64("trace.kinetic_temperature", &mut kinetic)
            .expect("a trace");
        assert_eq!(chain.log_lik.len(), 50);
        for d in 0..50 {
            assert_eq!(chain.log_lik[d], log_lik[15 + 4 * d + 3]);
            assert_eq!(chain.kinetic[d], kinetic[4 * d + 3]);
        }
    }

    // Runs of one target together, whatever their methods.
    let d = json(&run_cmd(
        dir.path(),
        &["diagnose", &two_dir, &other_dir, "--json"],
    ));
    assert_eq!(d["chains"], 3);
    assert_eq!(d["gradients"], 3 * 215);
    let alone = json(&run_cmd(dir.path(), &["diagnose", &other_dir, "--json"]));
    let verdict = alone["verdict"].as_str().expect("a verdict");
    assert!(verdict.contains("with one chain"), "{verdict}");

    let refused = |runs: &[&str], says: &[&str]| {
        let out = run_cmd(dir.path(), &[&["diagnose"], runs].concat());
        assert_eq!(out.status.code(), Some(1), "{runs:?}");
        for part in says {
            assert!(words(&out).contains(part), "{} lacks {part}", words(&out));
        }
    };
    refused(&[&two_dir, &two_dir], &["one chain twice"]);
    let warm = name(&of(&["--temperature", "0.2"]));
    refused(&[&two_dir, &warm], &["temperature", "0.1", "0.2"]);
    let wide = name(&of(&["--probe-tokens", "51", "--seed", "44"]));
    refused(&[&two_dir, &wide], &["probe tokens", "50", "51"]);
    let blind = name(&of(&["--probe-tokens", "0"]));
    refused(&[&blind], &["probe_tokens", "nothing was recorded"]);
    refused(&["nowhere"], &["nowhere"]);

    // Two draws say nothing, and that is no error.
    let few = json(&train(dir.path(), &[]));
    let verdict = few["diagnostics"]["verdict"].as_str().expect("a verdict");
    assert!(
        verdict.contains("nothing can be said: 2 draws"),
        "{verdict}"
    );
    assert!(few["diagnostics"]["log_prob"].is_null());
    let none = name(&json(&train(dir.path(), &["--probe-every", "41"])));
    let out = run_cmd(dir.path(), &["diagnose", &none, "--export", "none.nc"]);
    assert!(words(&out).contains("draws to export"), "{}", words(&out));
    assert!(!dir.path().join("none.nc").exists());
}

#[test]
fn a_diverging_chain_stops_with_step_and_tensor_and_keeps_its_samples() {
    let dir = folder();
    let diverging = [
        "--sampler",
        "sgld",
        "--step-size",
        "1e-7",
        "--num-data",
        "1e6",
        "--prior-scale",
        "relative",
        "--prior-center",
        "pretrained",
        "--preconditioner",
        "none",
        "--temperature",
        "1",
        "--thinning",
        "1",
        "--warmup-steps",
        "0",
    ];
    let refused = train(dir.path(), &diverging);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        words(&refused).contains("unstable") && words(&refused).contains("--force"),
        "{}",
        words(&refused)
    );
    let forced = train(
        dir.path(),
        &[&diverging[..], &["--force", "--sampling-steps", "400"]].concat(),
    );
    assert_eq!(forced.status.code(), Some(1));
    let text = words(&forced);
    assert!(
        text.contains("not finite") && text.contains("step "),
        "{text}"
    );
    assert!(
        text.contains("transformer.") || text.contains("log_posterior"),
        "{text}"
    );
    assert!(text.contains("samples are kept"), "{text}");
}

#[test]
fn the_originals_settings_do_not_move_the_chain_and_the_command_says_so() {
    let dir = folder();
    for sampler in ["baoa", "sghmc"] {
        let out = train(
            dir.path(),
            &[
                "--preset",
                "original",
                "--sampler",
                sampler,
                "--sampling-steps",
                "100",
                "--warmup-steps",
                "20",
            ],
        );
        let v = json(&out);
        assert_eq!(v["chains"][0]["worth_about_one"], true);
        // Untouched momenta: E|N(0, 1)| = 0.798 over 3,800 parameters, with a standard deviation of 0.01.
        let path = dir
            .path()
            .join(run_dir(&v))
            .join(format!("{sampler}_metrics.json"));
        let m: Value =
            serde_json::from_str(&std::fs::read_to_string(path).expect("metrics")).expect("JSON");
        let momentum = m["training_metrics"]["avg_momentum"]
            .as_f64()
            .expect("a number");
        assert!((momentum - 0.798).abs() < 0.06, "{momentum}");
        let text = words(&out);
        assert!(text.contains("the chain has not moved"), "{text}");
        assert!(text.contains("worth about 1"), "{text}");
        assert!(
            text.contains("physical time") && text.contains("optimiser"),
            "{text}"
        );
    }
    let v = json(&train(dir.path(), &[]));
    assert_eq!(v["chains"][0]["worth_about_one"], false, "{v}");
}

#[test]
fn configuration_is_a_file_that_the_command_reads_back() {
    let dir = folder();
    for sampler in ["sgld", "sghmc", "sghmc_euler", "baoa"] {
        for preset in ["default", "original"] {
            let args = [
                "config",
                "--sampler",
                sampler,
                "--preset",
                preset,
                "--seed",
                "7",
            ];
            let out = run(dir.path(), &args);
            assert!(out.status.success(), "{}", words(&out));
            std::fs::write(dir.path().join("c.toml"), &out.stdout).expect("a file");
            let again = run(dir.path(), &["config", "--config", "c.toml"]);
            assert_eq!(
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&again.stdout)
            );
        }
    }
    // A flag wins over the file.
    let v = json(&run(
        dir.path(),
        &["config", "--config", "c.toml", "--seed", "8", "--json"],
    ));
    assert_eq!(v["seed"], 8);
    std::fs::write(dir.path().join("bad.toml"), "no_such_setting = 1\n").expect("a file");
    let bad = run(dir.path(), &["config", "--config", "bad.toml"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(words(&bad).contains("no_such_setting"));
}

#[test]
fn errors_end_with_1_and_say_what_and_where() {
    let dir = folder();
    let write =
        |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).expect(name);
    write("empty.txt", b"");
    write("short.txt", b"too short");
    write("latin.txt", b"first line\nna\xefve");
    let cases: &[(&[&str], &str)] = &[
        (&["train", "--data", "missing.txt"], "missing.txt"),
        (&["train", "--data", "empty.txt"], "empty.txt"),
        (&["train", "--data", "short.txt"], "short.txt"),
        (&["train", "--data", "latin.txt"], "13"),
        (&["train", "--sampler", "nuts"], "nuts"),
        (&["train", "--temperature", "-1"], "temperature"),
        (&["train", "--no-such-flag"], "no-such-flag"),
        (&["train", "--thinning", "0"], "thinning"),
        (&["train", "--n-head", "3"], "n_head"),
        (&["train", "--alpha", "1", "--momentum", "0.5"], "alpha"),
        (&["train", "--model-path", "empty.txt"], "empty.txt"),
        (&["train", "--eval-splits", "test"], "eval_splits"),
        (&["train", "--resume", "nowhere"], "nowhere"),
        (&["eval", "nowhere"], "nowhere"),
        (&["verify", "short.txt"], "short.txt"),
        (&["verify", "missing.safetensors"], "missing.safetensors"),
    ];
    for (args, says) in cases {
        let out = run(dir.path(), args);
        assert_eq!(out.status.code(), Some(1), "{args:?}: {}", words(&out));
        assert!(words(&out).contains(says), "{args:?}: {}", words(&out));
        assert!(out.stdout.is_empty(), "{args:?}");
    }
    let gpu = bnn(dir.path())
        .args(["train"])
        .env("DEVICE", "cuda")
        .output()
        .expect("the command starts");
    assert_eq!(gpu.status.code(), Some(1));
    assert!(words(&gpu).contains("DEVICE"));
    for help in ["--help", "--version"] {
        assert!(run(dir.path(), &[help]).status.success());
    }
}

#[test]
fn nanogpt_files_and_the_originals_environment_are_read() {
    let dir = folder();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/nanogpt");
    std::fs::write(
        dir.path().join(".env"),
        format!(
            "BASE_DIR=base\nDATA_DIR={}\nDEVICE=cpu\nWANDB_AVAILABLE=false\n",
            data.display()
        ),
    )
    .expect(".env");
    let v = json(&train(dir.path(), &[]));
    assert!(run_dir(&v).starts_with("base/checkpoints/samplers"), "{v}");
    // A baseline file of the same text is taken as it is.
    let b = json(&run(dir.path(), &[&["baseline", "--json"], SMALL].concat()));
    assert_eq!(b["cached"], true);
    let path = b["path"].as_str().expect("path");
    let again = json(&train(dir.path(), &["--model-path", path]));
    assert_eq!(again["samples_hash"], v["samples_hash"]);
    // Of another text it is not.
    let other = train(dir.path(), &["--model-path", path, "--data", "/dev/null"]);
    assert_eq!(other.status.code(), Some(1));
}

#[test]
fn verify_passes_on_good_files_and_fails_on_bad_ones() {
    let dir = folder();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let good = data.join("samplers.safetensors");
    let out = run(dir.path(), &["verify", good.to_str().expect("UTF-8")]);
    assert!(out.status.success(), "{}", words(&out));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        text.contains("baoa.theta") && text.contains("0 failed"),
        "{text}"
    );
    let of_chains = data.join("chains_more.safetensors");
    let out = run(dir.path(), &["verify", of_chains.to_str().expect("UTF-8")]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}");
    assert!(
        text.contains("odd.ess_tail") && text.contains("50 passed"),
        "{text}"
    );
    // One float of the recorded trajectory changed: near the end lies a tensor's data.
    let mut bytes = std::fs::read(&good).expect("the reference");
    let n = bytes.len();
    bytes[n - 1] ^= 0x40;
    std::fs::write(dir.path().join("bad.safetensors"), &bytes).expect("a file");
    let out = run(dir.path(), &["verify", "--json", "bad.safetensors"]);
    let v: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    match v["failed"].as_u64().expect("a number") {
        // The last tensor may be one that is not checked here (theta0); then change the middle as well.
        0 => panic!("a changed file passed: {v}"),
        _ => assert_eq!(out.status.code(), Some(1)),
    }
}

/// A row a line, with the names and fields of the programs that it is laid beside; a bad name is refused before anything runs.
#[test]
fn bench_prints_a_row_for_every_piece_of_work() {
    let dir = folder();
    let work = "limits,grad,logits,adamw,sgld,sghmc,baoa,generate,bma,per_sample";
    let args = |only: &'static str| {
        [
            "bench",
            "--shapes",
            "tiny",
            "--seconds",
            "0.01",
            "--threads",
            "1",
            "--json",
            "--only",
            only,
        ]
    };
    let out = run(dir.path(), &args(work));
    assert!(out.status.success(), "{}", words(&out));
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a row"))
        .collect();
    let of = |what: &str| rows.iter().find(|r| r["what"] == what);
    for (what, more) in [
        ("limit_f32", "gflops"),
        ("limit_memory", "gb_per_s"),
        ("grad", "tokens_per_s"),
        ("grad_medium", "gflops"),
        ("logits", "tokens_per_s"),
        ("adamw_step", "params"),
        ("sgld_update_inplace", "params"),
        ("sghmc_update_inplace", "params"),
        ("baoa_update_inplace", "gb_per_s"),
        ("generate_1", "tokens_per_s"),
        ("generate_1_bf16", "tokens_per_s"),
        ("generate_bma10", "tokens_per_s"),
        ("generate_bma10_prompts8", "tokens_per_s"),
        ("per_sample_fisher_B4", "ms_per_sequence"),
        ("per_sample_fisher_B4", "gradient_ms"),
        ("per_sample_fisher_B4", "percent_of_gradient"),
    ] {
        let row = of(what).unwrap_or_else(|| panic!("no row {what}: {text}"));
        assert!(row["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{row}");
        assert!(row["runs"].as_u64().is_some_and(|n| n >= 1), "{row}");
        assert!(row[more].as_f64().is_some_and(|v| v > 0.0), "{row}");
    }
    for bad in [
        &["bench", "--only", "nothing"][..],
        &["bench", "--shapes", "round"],
        &["bench", "--seconds", "0"],
    ] {
        let out = run(dir.path(), bad);
        assert_eq!(out.status.code(), Some(1), "{bad:?}");
        assert!(out.stdout.is_empty());
    }
}
