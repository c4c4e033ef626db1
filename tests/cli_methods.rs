//! The command's methods, schedules, orders, priors and masses as a user runs them; fits of normals, stopped and resumed.
#![cfg(feature = "cli")]

mod common;

use bnn::run::folder::RunFolder;
use bnn::run::prepare::{Baseline, Setting};
use bnn::run::{Context, evaluate};
use bnn::settings::{Given, row};
use bnn::store::Store;
use common::command::{self, bnn, json, words};
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A model of 4,000 parameters and a few steps.
const TINY: &str = "--shape tiny --n-layer 1 --n-embd 16 --block-size 16 --batch-size 4 --baseline-iters 40 --baseline-warmup-iters 5 \
     --preconditioner-steps 5 --warmup-steps 10 --sampling-steps 40 --thinning 10 --eval-max-tokens 640 --eval-num-text-samples 3 \
     --probe-tokens 64 --eval-control=false --threads 2";
/// Windows that a fit goes through: an epoch is 30 batches.
const FIT: &str = "--train-samples 120 --num-samples 4 --num-epochs 2";

fn train(dir: &Path, more: &str) -> Output {
    let args: Vec<&str> = ["train", "--json"]
        .into_iter()
        .chain(TINY.split_whitespace())
        .chain(more.split_whitespace())
        .collect();
    command::run(dir, &args)
}

fn metrics(dir: &Path, v: &Value) -> (PathBuf, Value) {
    let run = dir.join(v["run_dir"].as_str().expect("run_dir"));
    let name = format!(
        "{}_metrics.json",
        v["sampler_type"].as_str().expect("a name")
    );
    let text = std::fs::read_to_string(run.join(name)).expect("metrics");
    (run, serde_json::from_str(&text).expect("JSON"))
}

#[test]
fn fits_leave_the_originals_keys_and_draws_that_other_commands_read() {
    let dir = tempfile::tempdir().expect("a folder");
    for (sampler, more) in [
        ("ekf", "--init-sd 0.003 --transition-sd 1e-4"),
        ("vi", "--vi-n-samples 2 --init-log-scale -6"),
        ("vi", "--stick-the-landing=false"),
        (
            "ivon",
            "--vi-n-samples 2 --ivon-decay 0.99 --learning-rate 0.01",
        ),
        ("laplace", "--laplace-fit-prior --temperature 1e-3"),
        ("laplace", "--laplace-labels model --temperature 1e-3"),
        ("laplace", "--laplace-labels ggn --temperature 1e-3"),
        (
            "laplace",
            "--laplace-structure last_layer_kfac --laplace-fit-prior",
        ),
        (
            "laplace",
            "--laplace-structure last_layer_full --temperature 0.05",
        ),
        ("ekf", "--preset original"),
        ("ekf", "--ekf-labels data"),
        ("swag", "--swag-every 3 --swag-rank 4 --learning-rate 1e-4"),
        ("vi", "--preset original --sample-dtype bf16"),
    ] {
        let out = train(
            dir.path(),
            &format!("--sampler {sampler} {FIT} --eval {more}"),
        );
        let v = json(&out);
        let (run, m) = metrics(dir.path(), &v);
        assert_eq!(v["samples_collected"], 4, "{more}");
        let t = &m["training_metrics"];
        for list in [
            "training_losses",
            "log_posterior_values",
            "epoch_times",
            "sampler_specific_metrics",
        ] {
            assert_eq!(t[list].as_array().expect(list).len(), 2, "{list} {more}");
        }
        let sd = t["sampler_specific_metrics"][1]["avg_parameter_std"]
            .as_f64()
            .expect("a number");
        assert!(sd > 0.0);
        let e = &m["evaluation"];
        let number = |a: &str, b: &str| e[a][b].as_f64().unwrap_or_else(|| panic!("{a}.{b}: {e}"));
        let gain = number("deterministic", "loss") - number("posterior_mean", "loss");
        assert_eq!(
            number("posterior_mean", "improvement_over_deterministic"),
            gain
        );
        assert_eq!(e["posterior_mean"]["better_than_deterministic"], gain > 0.0);
        assert!(
            (number("posterior_mean", "perplexity").ln() - number("posterior_mean", "loss")).abs()
                < 1e-9
        );
        assert_eq!(number("posterior_sampling", "num_samples"), 4.0);
        let mean = number("posterior_sampling", "mean_loss");
        assert!((mean - v["loss_mean_of_samples"].as_f64().expect("a loss")).abs() < 1e-12);
        assert!(
            number("posterior_sampling", "min_loss") <= mean
                && mean <= number("posterior_sampling", "max_loss")
        );
        assert!(number("posterior_sampling", "std_loss") > 0.0);
        assert!(number("uncertainty", "avg_predictive_entropy") > 0.0);
        assert!(number("parameter_uncertainty", "avg_parameter_std") > 0.0);
        assert_eq!(m["uncertainty"], e["uncertainty"]);
        let fitted = more.contains("fit-prior");
        assert_eq!(
            m["fitted_prior"]["precision"].is_f64(),
            fitted,
            "{}",
            m["fitted_prior"]
        );
        let steps = m["training_metrics"]["total_steps"].as_u64();
        assert_eq!(steps, Some(60), "{more}");
        assert!(run.join(format!("{sampler}_summary.txt")).exists());
        // Its draws are samples like a chain's.
        let path = run.to_str().expect("UTF-8");
        let eval = json(&command::run(dir.path(), &["eval", path, "--json"]));
        assert_eq!(eval["results"]["val"]["num_posterior_samples"], 4, "{eval}");
        let judged = command::run(dir.path(), &["diagnose", path]);
        assert_eq!(judged.status.code(), Some(1));
        assert!(
            words(&judged).contains("no chain to diagnose"),
            "{}",
            words(&judged)
        );
        let args = ["generate", path, "--json", "--max-new-tokens", "5"];
        json(&command::run(dir.path(), &args));
    }
}

/// An optimiser's average is one model, and its states are as many as are asked for, the last at the end of the path; several paths give several. They are
/// what they are called, and not draws.
#[test]
fn points_of_an_optimisers_path_are_samples() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = "--num-epochs 2 --train-samples 120 --learning-rate 1e-3";
    let mut losses = Vec::new();
    for (more, samples) in [
        ("--sampler ema --ema-decay 0.9", 1),
        (
            "--sampler ema --ema-decay 0.5 --chains 3 --starts separate",
            3,
        ),
        ("--sampler snapshots --num-samples 7", 7),
        ("--sampler snapshots --num-samples 4 --chains 2", 8),
    ] {
        let v = json(&train(dir.path(), &format!("{more} {path}")));
        assert_eq!(v["samples_collected"], samples, "{more}");
        let kind = if samples == 1 {
            "one_model"
        } else {
            "optimiser_path"
        };
        assert_eq!(v["verdict"]["kind"], kind, "{more}: {}", v["verdict"]);
        let (run, m) = metrics(dir.path(), &v);
        let sd = m["fits"][0]["avg_parameter_std"]
            .as_f64()
            .expect("a number");
        assert_eq!(sd > 0.0, more.contains("snapshots"), "{more}");
        if samples == 1 {
            // The average's loss is that of its one sample.
            let at_mean = m["fits"][0]["loss_at_mean"].as_f64().expect("a loss");
            let loss = v["loss_mean_of_samples"].as_f64().expect("a loss");
            assert!((at_mean - loss).abs() < 1e-6, "{at_mean} {loss}");
        }
        losses.push(m["fits"][0]["loss_at_mean"].clone());
        let path = run.to_str().expect("UTF-8");
        // A longer fit would draw others; the run stays as it is.
        let longer = ["train", "--resume", path, "--num-epochs", "9"];
        let longer = command::run(dir.path(), &longer);
        assert_eq!(longer.status.code(), Some(1), "{more}");
        let said = words(&longer);
        assert!(
            said.contains("num_epochs") && said.contains("begin"),
            "{said}"
        );
        let again = ["train", "--resume", path, "--json"];
        let again = json(&command::run(dir.path(), &again));
        assert_eq!(again["samples_hash"], v["samples_hash"]);
    }
    assert_ne!(losses[0], losses[1]);
    for (code, more, part) in [
        (2, "--sampler ema --num-samples 2", "one model"),
        (
            1,
            "--sampler snapshots --num-samples 61 --num-epochs 2 --train-samples 120",
            "num_samples",
        ),
    ] {
        let out = train(dir.path(), more);
        assert_eq!(out.status.code(), Some(code), "{more}");
        assert!(words(&out).contains(part), "{more}: {}", words(&out));
    }
}

/// Laplace's draws are averaged as those of the linearised model unless their weights are asked for; at a temperature where the two differ.
#[test]
fn laplace_predicts_by_the_linearised_model() {
    let dir = tempfile::tempdir().expect("a folder");
    let more = "--temperature 0.1 --eval-splits val --eval-control=false";
    let v = json(&train(
        dir.path(),
        &format!("--sampler laplace {FIT} {more}"),
    ));
    let (run, m) = metrics(dir.path(), &v);
    let summary = std::fs::read_to_string(run.join("laplace_summary.txt")).expect("a summary");
    // Of the whole split, and of the part to report on.
    assert_eq!(
        summary.matches("averaged linearised prediction").count(),
        2,
        "{summary}"
    );
    let path = run.to_str().expect("UTF-8");
    let eval = |words: &[&str]| {
        let all = [&["eval", path, "--json"], words].concat();
        let v = json(&command::run(dir.path(), &all));
        v["results"]["val"].clone()
    };
    let (linear, weights) = (eval(&[]), eval(&["--predictive", "weights"]));
    assert_eq!(linear["predictive"], "linearised");
    assert_eq!(weights["predictive"], "weights");
    let loss = |v: &Value, of: &str| v[of].as_f64().expect("a loss");
    for of in ["loss_averaged_prediction", "loss_mean_of_samples"] {
        assert!(loss(&linear, of) < loss(&weights, of), "{linear} {weights}");
    }
    let trained = &m["evaluation"]["posterior_sampling"]["mean_loss"];
    assert_eq!(*trained, linear["loss_mean_of_samples"]);
    // Other methods, and fits with a mean each, have no such model.
    for more in [
        "--sampler vi",
        "--sampler laplace --chains 2 --starts separate",
    ] {
        let v = json(&train(dir.path(), &format!("{more} {FIT}")));
        let (run, _) = metrics(dir.path(), &v);
        let record = std::fs::read_to_string(run.join("config.toml")).expect("a record");
        assert!(record.contains("predictive = \"weights\""), "{record}");
    }
}

/// The temperature where none is said, and whether the head is untied: only laplace asks for the structure, and the original's T is 1.
#[test]
fn what_a_structure_sets_is_laplaces_alone() {
    for (preset, sampler, structure, usual, unties) in [
        ("default", "laplace", "diagonal", 3e-3, false),
        ("default", "laplace", "last_layer_kfac", 0.1, true),
        ("default", "vi", "last_layer_kfac", 0.1, false),
        ("default", "baoa", "last_layer_full", 0.15, false),
        ("original", "laplace", "diagonal", 1.0, false),
        ("original", "laplace", "last_layer_full", 1.0, true),
        ("original", "ekf", "last_layer_full", 1.0, false),
        ("original", "sgld", "last_layer_kfac", 1.0, false),
    ] {
        let mut settings = Given::default();
        for (name, word) in [
            ("preset", preset),
            ("sampler", sampler),
            ("laplace_structure", structure),
        ] {
            let row = row("setting", name, |_| true).expect("a setting");
            let word = row.parse(word).expect("a word");
            row.set(&mut settings, &word).expect("a value");
        }
        let given = Given {
            temperature: Some(0.7),
            ..settings.clone()
        };
        let config = settings.resolve().expect("settings");
        let of = format!("{preset} {sampler} {structure}");
        assert_eq!(
            (config.temperature, config.unties()),
            (usual, unties),
            "{of}"
        );
        assert_eq!(given.resolve().expect("settings").temperature, 0.7);
    }
}

#[test]
fn the_same_fit_is_the_same_on_any_threads_and_another_with_another_seed() {
    let dir = tempfile::tempdir().expect("a folder");
    let hash = |sampler: &str, more: &str| {
        let v = json(&train(
            dir.path(),
            &format!("--sampler {sampler} {FIT} {more}"),
        ));
        v["samples_hash"].as_str().expect("a hash").to_owned()
    };
    for sampler in ["ekf", "vi", "laplace", "swag", "ivon"] {
        let first = hash(sampler, "--temperature 1e-3");
        assert_eq!(first, hash(sampler, "--temperature 1e-3 --threads 1"));
        assert_ne!(first, hash(sampler, "--temperature 2e-3"));
    }
}

/// Several fits of a seed: each with draws of its own, from one start or from several, and a run of them that is done can be resumed.
#[test]
fn several_fits_are_averaged() {
    let dir = tempfile::tempdir().expect("a folder");
    let swag = "--sampler swag --swag-every 3 --swag-rank 4 --learning-rate 1e-4";
    let mut hashes = Vec::new();
    for more in ["--chains 2", "--chains 2 --starts separate"] {
        let v = json(&train(dir.path(), &format!("{swag} {FIT} {more}")));
        assert_eq!(v["samples_collected"], 8, "{more}");
        assert_eq!(v["total_steps"], 120, "{more}");
        let (run, m) = metrics(dir.path(), &v);
        let fits = m["fits"].as_array().expect("fits");
        assert_eq!(fits.len(), 2);
        let of = |key: &'static str| fits.iter().map(move |f| f[key].as_f64().expect(key));
        let mean = of("loss_at_mean").sum::<f64>() / 2.0;
        let said = m["evaluation"]["posterior_mean"]["loss"].as_f64();
        assert!((said.expect("a loss") - mean).abs() < 1e-12);
        assert_ne!(fits[0]["training_losses"], fits[1]["training_losses"]);
        assert_eq!(
            fits[0]["training_losses"],
            m["training_metrics"]["training_losses"]
        );
        assert!(of("avg_parameter_std").all(|sd| sd > 0.0));
        let store = Store::open(run.join("samples")).expect("samples");
        let chains: Vec<u32> = store.ids().iter().map(|id| id.chain).collect();
        assert_eq!(chains, [0, 0, 0, 0, 1, 1, 1, 1]);
        for file in ["swag_state.bnn", "swag_state_01.bnn"] {
            assert!(run.join(file).exists(), "{file}");
        }
        let summary = std::fs::read_to_string(run.join("swag_summary.txt")).expect("a summary");
        assert!(
            summary.contains("2 fits            60 steps each"),
            "{summary}"
        );
        let path = run.to_str().expect("UTF-8");
        let check = json(&command::run(dir.path(), &["check", path, "--json"]));
        assert_eq!(
            check["checkpoints"].as_array().expect("checkpoints").len(),
            2
        );
        let again = json(&command::run(
            dir.path(),
            &["train", "--resume", path, "--json"],
        ));
        assert_eq!(again["samples_hash"], v["samples_hash"]);
        hashes.push(v["samples_hash"].clone());
    }
    assert_ne!(hashes[0], hashes[1]);
    // The first of two is the one alone.
    let one = json(&train(dir.path(), &format!("--sampler vi {FIT}")));
    let two = json(&train(
        dir.path(),
        &format!("--sampler vi {FIT} --chains 2"),
    ));
    let load = |v: &Value, i: usize| {
        let store = Store::open(metrics(dir.path(), v).0.join("samples")).expect("samples");
        let mut params = vec![0.0; store.provenance().n_params as usize];
        store.load(i, &mut params).expect("a sample");
        params
    };
    assert_eq!(load(&one, 3), load(&two, 3));
    assert_ne!(load(&two, 3), load(&two, 7));
}

#[test]
fn a_stopped_fit_goes_on_bit_for_bit() {
    let dir = tempfile::tempdir().expect("a folder");
    for (i, (sampler, more)) in [
        ("ekf", ""),
        ("vi", ""),
        ("ivon", ""),
        ("swag", ""),
        ("ema", "--num-samples 1"),
        ("snapshots", ""),
        ("laplace", ""),
        ("laplace", "--laplace-structure last_layer_kfac"),
        ("laplace", "--laplace-structure last_layer_full"),
    ]
    .into_iter()
    .enumerate()
    {
        // The long fit: 40 epochs of 30 batches.
        let args = format!(
            "--sampler {sampler} {FIT} {more} --num-epochs 40 --checkpoint-every 50 --temperature 1e-3"
        );
        let (to_whole, to_broken) = (format!("whole{i}"), format!("broken{i}"));
        let whole = json(&train(dir.path(), &format!("{args} --save-dir {to_whole}")));
        let mut all: Vec<&str> = vec!["train", "--json"];
        all.extend(TINY.split_whitespace());
        all.extend(args.split_whitespace());
        all.extend(["--save-dir", &to_broken]);
        let child = bnn(dir.path())
            .args(&all)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the command starts");
        let parent = dir.path().join(format!("{to_broken}/{sampler}_sampler"));
        let start = Instant::now();
        let run = loop {
            assert!(start.elapsed() < Duration::from_secs(120), "no checkpoint");
            std::thread::sleep(Duration::from_millis(2));
            let Some(Ok(run)) = std::fs::read_dir(&parent).ok().and_then(|mut d| d.next()) else {
                continue;
            };
            if run.path().join(format!("{sampler}_state.bnn")).exists() {
                break run.path();
            }
        };
        let kill = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(kill.expect("kill").success());
        let out = child.wait_with_output().expect("an end");
        // It may have been done before the signal came; then there is nothing to resume, and the hash is the same all the same.
        if out.status.code() == Some(130) {
            let path = run.to_str().expect("UTF-8");
            let resumed = command::run(dir.path(), &["train", "--json", "--resume", path]);
            assert_eq!(
                json(&resumed)["samples_hash"],
                whole["samples_hash"],
                "{sampler}"
            );
        } else {
            assert!(out.status.success());
        }
    }
}

#[test]
fn every_choice_runs_and_makes_another_chain() {
    let dir = tempfile::tempdir().expect("a folder");
    let hash = |more: &str| {
        let v = json(&train(dir.path(), more));
        let (_, m) = metrics(dir.path(), &v);
        let collected = v["samples_collected"].as_u64().expect("a number");
        assert_eq!(
            m["config"]["num_samples"].as_u64(),
            Some(collected),
            "{more}"
        );
        (
            v["samples_hash"].as_str().expect("a hash").to_owned(),
            collected,
        )
    };
    let (first, samples) = hash("");
    assert_eq!(samples, 4);
    let mut seen = HashSet::new();
    for (more, samples) in [
        ("--sampler sgnht", 4),
        ("--sampler sgnht --xi 0", 4),
        ("--sampler sgnht --xi 30 --thermostat-mass 1", 4),
        ("--sampler sgnht --thermostat tensor", 4),
        ("--sampler ccadl", 4),
        ("--sampler ccadl --thermostat tensor", 4),
        ("--prior-scale fan_in", 4),
        ("--prior-scale fitted", 4),
        ("--sampler sgnht_ding", 4),
        ("--sampler sgnht_euler", 4),
        ("--sampler sglrw", 4),
        ("--schedule linear --final-fraction 0.5", 4),
        (
            "--schedule polynomial --schedule-delay 5 --schedule-power 0.7",
            4,
        ),
        // Cycles of 20 steps, half of each exploring: samples at 20 and 40.
        ("--schedule cyclical --cycles 2 --exploration 0.5", 2),
        ("--temperature-schedule cosine", 4),
        ("--batch-order sweep", 4),
        ("--batch-order symmetric", 4),
        ("--prior-family laplace", 4),
        ("--prior-family student_t --prior-dof 4", 4),
        ("--likelihood-weight 0.5", 4),
        ("--preconditioner adaptive --preconditioner-every 4", 4),
        ("--preconditioner fisher --learning-rate 0.01", 4),
        ("--preconditioner prior --learning-rate 1e-4", 4),
        ("--sampler sgld", 4),
        ("--sampler sgld --preconditioner live", 4),
        (
            "--sampler sgld --preconditioner live --preconditioner-decay 0",
            4,
        ),
        (
            "--sampler sgld --preconditioner live --preconditioner-gamma=false",
            4,
        ),
    ] {
        let (other, got) = hash(more);
        assert_eq!(got, samples, "{more}");
        assert_ne!(other, first, "{more} changes nothing");
        let of_live = more.starts_with("--sampler sgld");
        assert!(!of_live || seen.insert(other), "{more} changes nothing");
    }
    // A run's own settings are checked when it is opened again.
    let v = json(&train(dir.path(), ""));
    let (run, _) = metrics(dir.path(), &v);
    nothing_to_score(&run, dir.path());
    let at = run.join("config.toml");
    let text = std::fs::read_to_string(&at).expect("settings");
    for (good, bad) in [
        ("probe_every = 20", "probe_every = 0"),
        ("chains = 1", "chains = 0"),
    ] {
        assert!(text.contains(good), "{good}");
        std::fs::write(&at, text.replace(good, bad)).expect("settings");
        let path = run.to_str().expect("UTF-8");
        for command in [&["diagnose", path][..], &["train", "--resume", path][..]] {
            let out = command::run(dir.path(), command);
            assert_eq!(out.status.code(), Some(1), "{bad} {command:?}");
            let what = bad.split(' ').next().expect("a name");
            assert!(words(&out).contains(what), "{}", words(&out));
        }
    }
    // Exploring steps cost a gradient each, and give no draw of the probes.
    let v = json(&train(
        dir.path(),
        "--schedule cyclical --cycles 2 --exploration 0.5 --probe-every 2",
    ));
    assert_eq!(v["diagnostics"]["gradients"], 55, "{}", v["diagnostics"]);
    // So does a live mass's divergence term: 5 for the mass, two for each of 50 steps.
    let v = json(&train(
        dir.path(),
        "--sampler sgld --preconditioner live --probe-every 2",
    ));
    assert_eq!(v["diagnostics"]["gradients"], 105, "{}", v["diagnostics"]);
    assert_eq!(v["total_steps"], 105);
    // Two chains: at one start, and at two.
    let (shared, eight) = hash("--chains 2");
    let (separate, same) = hash("--chains 2 --starts separate");
    assert!(eight == 8 && same == 8 && shared != separate);
    for (more, part) in [
        ("--sampler nuts", "one of sgld"),
        ("--sampler sgld --xi 1", "xi"),
        (
            "--sampler swag --train-samples 120 --num-epochs 1",
            "swag_every",
        ),
        ("--sampler swag --swag-rank 1", "swag_rank"),
        ("--predictive linearised", "predictive"),
        (
            "--sampler laplace --laplace-structure last_layer_kfac --predictive linearised",
            "linear in the head's weights",
        ),
        (
            "--sampler laplace --starts separate --predictive linearised",
            "have a mean each",
        ),
        ("--sampler laplace --prior-family student_t", "prior_family"),
        ("--prior-family student_t --prior-dof 0", "prior_dof"),
        ("--temperature-schedule cyclical", "temperature_schedule"),
        (
            "--preconditioner prior --prior-family laplace",
            "preconditioner",
        ),
        (
            "--preconditioner live",
            "the live preconditioner is for sgld",
        ),
        (
            "--sampler sglrw --preconditioner live",
            "the live preconditioner is for sgld",
        ),
        (
            "--sampler sgld --preconditioner live --auto-step --warmup-steps 60",
            "auto_step needs",
        ),
        (
            "--sampler sgld --preconditioner live --preconditioner-decay 1",
            "preconditioner_decay",
        ),
        ("--batch-order sweep --train-samples 3", "batch_size"),
        ("--chains 4000000000", "chains"),
        ("--sampling-steps 1000000000000000", "sampling_steps"),
        (
            "--sampler laplace --laplace-fit-prior --prior-center pretrained",
            "prior_center",
        ),
        (
            "--sampler laplace --laplace-structure last_layer_kfac --laplace-labels ggn",
            "laplace_labels",
        ),
    ] {
        let out = train(dir.path(), more);
        // The model and the text have a part in what is refused with 1.
        let code = out.status.code();
        assert!(matches!(code, Some(1 | 2)), "{code:?}: {more}");
        let alone = words(&out).contains("invalid value");
        assert!(code == Some(2) || !alone, "{more}");
        assert!(words(&out).contains(part), "{more}: {}", words(&out));
    }
}

/// Without a sample there is no score, and that is what is said.
fn nothing_to_score(run: &Path, folder: &Path) {
    let (opened, config) = RunFolder::open(run).expect("a run");
    let setting = Setting::new(&config).expect("a setting");
    let samples = Store::open(run.join("samples")).expect("samples");
    let empty = Store::create(folder.join("empty"), samples.provenance().clone()).expect("a store");
    let baseline = Baseline {
        path: run.to_path_buf(),
        params: vec![0.0; setting.model.gpt.n_params()],
        sha256: [0; 32],
        iters: 0,
        train_loss: 0.0,
        val_loss: 0.0,
        seconds: 0.0,
        cached: true,
        chosen: None,
    };
    let mut ctx = Context::default();
    let evaluation = evaluate::Evaluation {
        config: &config,
        setting: &setting,
        store: &empty,
        baseline: &baseline,
        folder: &opened,
    };
    let scored = evaluation.losses("val", &mut ctx);
    let text = scored.map(|_| ()).expect_err("no score").to_string();
    assert_eq!(text, "samples to score: expected at least one, got 0");
}

/// A prior that was fitted lies with its run: a run that is broken off goes on with it, bit for bit, and not with another. Each tensor's thermostat does so too.
#[test]
fn a_fitted_prior_and_thermostats_of_tensors_go_on_with_their_run() {
    let dir = tempfile::tempdir().expect("a folder");
    let more = "--sampler ccadl --thermostat tensor --prior-scale fitted --temperature-every 1";
    let whole = json(&train(dir.path(), more));
    let shorter = TINY.replace("--sampling-steps 40", "--sampling-steps 20");
    let args: Vec<&str> = ["train", "--json"]
        .into_iter()
        .chain(shorter.split_whitespace())
        .chain(more.split_whitespace())
        .collect();
    let short = json(&command::run(dir.path(), &args));
    let (run, m) = metrics(dir.path(), &short);
    let tensors = m["chains"][0]["tensors"].as_array().expect("tensors");
    let prior = std::fs::read_to_string(run.join("prior.json")).expect("the prior");
    let found: Value = serde_json::from_str(&prior).expect("JSON");
    let of = found["tensors"].as_array().expect("tensors");
    assert_eq!(tensors.len(), of.len());
    let mean = |t: &Value, key: &str| t[key]["mean"].as_f64().expect("a mean");
    let first = mean(&tensors[0], "xi");
    assert!(tensors.iter().any(|t| mean(t, "xi") != first));
    assert!(tensors.iter().all(|t| mean(t, "kinetic") > 0.0));
    let log = std::fs::read_dir(&run).expect("a folder").flatten();
    let logs = log.filter(|f| f.path().extension().is_some_and(|e| e == "log"));
    let said: String = logs
        .map(|f| std::fs::read_to_string(f.path()).expect("a log"))
        .collect();
    assert!(
        said.contains("fitted by the marginal likelihood")
            && said.contains("thermostats by tensor")
    );

    let path = run.to_str().expect("UTF-8");
    let longer = |steps: &str| {
        let args = [
            "train",
            "--json",
            "--resume",
            path,
            "--sampling-steps",
            steps,
        ];
        command::run(dir.path(), &args)
    };
    assert_eq!(json(&longer("40"))["samples_hash"], whole["samples_hash"]);
    let sd = of[0]["sd"].as_f64().expect("a number");
    let other = prior.replacen(&sd.to_string(), &(0.9 * sd).to_string(), 1);
    assert_ne!(other, prior);
    std::fs::write(run.join("prior.json"), other).expect("written");
    let refused = longer("60");
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("prior_scale"), "{said}");
    std::fs::write(run.join("prior.json"), prior).expect("written");
    assert!(longer("60").status.success());
    for bad in ["--prior-family laplace", "--prior-center pretrained"] {
        let out = train(dir.path(), &format!("--prior-scale fitted {bad}"));
        assert_eq!(out.status.code(), Some(2), "{bad}");
    }
}
