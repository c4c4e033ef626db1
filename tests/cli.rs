//! The command as a user runs it: files, keys, exit codes, stopping and resuming.
#![cfg(feature = "cli")]

mod common;

use common::command::{self, *};
use serde_json::Value;
use std::path::Path;

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
    let again = json(&command::run(
        dir.path(),
        &["eval", v["run_dir"].as_str().expect("run_dir"), "--json"],
    ));
    assert_eq!(
        again["results"]["val"]["loss_averaged_prediction"],
        e["results"]["val"]["loss_averaged_prediction"]
    );
    let two = json(&command::run(
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
    let none = two["results"]["val"]["held_out"]["controls"].as_array();
    assert!(none.expect("controls").is_empty());

    // Text: the same from one thread and from two, and kept with its uncertainty.
    let text = |threads: &str| {
        json(&command::run(
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
        json(&command::run(dir.path(), &args))
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
    let bad = command::run(
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
    // bf16 rounds weights by at most 2^-8 of themselves; the loss near a minimum moves far less than 1 %.
    assert!((loss(&full) - loss(&half)).abs() < 0.01 * loss(&full));
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
        assert_eq!(v["chains"][0]["reach"], "ray");
        let verdict = v["chains"][0]["verdict"].as_str().expect("a sentence");
        assert!(verdict.contains("momentum is not forgotten"), "{verdict}");
        assert!(verdict.contains("worth about 1"), "{verdict}");
        let text = words(&out);
        assert!(text.contains("on one ray"), "{text}");
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
fn errors_end_with_1_or_2_and_say_what_and_where() {
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
    // What flags alone show to be wrong has the code of wrong usage.
    let usage = [
        "nuts",
        "temperature",
        "no-such-flag",
        "thinning",
        "n_head",
        "alpha",
        "eval_splits",
    ];
    for (args, says) in cases {
        let out = run(dir.path(), args);
        let code = if usage.contains(says) { 2 } else { 1 };
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", words(&out));
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
