//! `bnn diagnose`: runs that belong together are judged, others refused, and a file for other programs is written.
#![cfg(feature = "cli")]

mod common;

use common::command::{self, *};
use common::series::draws;
use serde_json::Value;

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
    let d = json(&command::run(dir.path(), &["diagnose", &two_dir, "--json"]));
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
    let text = command::run(dir.path(), &["diagnose", &two_dir, "--rows", "0"]).stdout;
    let text = String::from_utf8(text).expect("UTF-8");
    // The checks follow.
    let (text, checks) = text.split_once("\nR-hat ").expect("checks");
    assert!(
        checks.contains("ESS ") && checks.contains("kinetic "),
        "{checks}"
    );
    assert!(summary.expect("summary").contains(text), "{text}");
    assert!(text.contains("R-hat") && text.contains("draws per chain are few"));
    assert!(!text.contains("with one chain"), "{text}");

    // Exported, the draws lie in an HDF5 file; the statistics are those of the steps that led to them, after 15 steps of preparation.
    let out = command::run(dir.path(), &["diagnose", &two_dir, "--export", "two.nc"]);
    assert!(out.status.success(), "{}", words(&out));
    let bytes = std::fs::read(dir.path().join("two.nc")).expect("the file");
    assert!(bytes.starts_with(b"\x89HDF\r\n\x1a\n") && bytes.len() > 2 * 50 * 50 * 4);
    let run = bnn::run::diagnose::open(&dir.path().join(&two_dir)).expect("a run");
    for chain in &run.chains {
        let log_lik = common::series::doubles(&chain.path, "trace.log_lik");
        let kinetic = common::series::doubles(&chain.path, "trace.kinetic_temperature");
        assert_eq!((log_lik.len(), kinetic.len()), (215, 200));
        assert_eq!(chain.log_lik.len(), 50);
        for d in 0..50 {
            assert_eq!(chain.log_lik[d], log_lik[15 + 4 * d + 3]);
            assert_eq!(chain.kinetic[d], kinetic[4 * d + 3]);
        }
    }

    // Runs of one target together, whatever their methods.
    let d = json(&command::run(
        dir.path(),
        &["diagnose", &two_dir, &other_dir, "--json"],
    ));
    assert_eq!(d["chains"], 3);
    assert_eq!(d["gradients"], 3 * 215);
    let alone = json(&command::run(
        dir.path(),
        &["diagnose", &other_dir, "--json"],
    ));
    let verdict = alone["verdict"].as_str().expect("a verdict");
    assert!(verdict.contains("with one chain"), "{verdict}");

    let refused = |runs: &[&str], says: &[&str]| {
        let out = command::run(dir.path(), &[&["diagnose"], runs].concat());
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
    // A mass that follows the chain has a law of its own, for each of its settings.
    let live = |more: &[&str]| {
        let sgld = ["--sampler", "sgld", "--preconditioner"];
        name(&of(&[&sgld[..], more].concat()))
    };
    let stays = live(&["rms"]);
    let first = live(&["live", "--preconditioner-decay", "0.9"]);
    let again = live(&["live", "--preconditioner-decay", "0.9", "--seed", "44"]);
    let slower = live(&["live", "--preconditioner-decay", "0.95"]);
    let floor = "live --preconditioner-decay 0.9 --preconditioner-floor 0.2";
    let higher = live(&floor.split(' ').collect::<Vec<_>>());
    let bare = live(&[
        "live",
        "--preconditioner-decay",
        "0.9",
        "--preconditioner-gamma=false",
    ]);
    refused(
        &[&stays, &first],
        &["preconditioner", "one that stays", "live"],
    );
    refused(
        &[&first, &two_dir],
        &["preconditioner", "one that stays", "live"],
    );
    refused(
        &[&first, &slower],
        &["preconditioner", "decay 0.9,", "decay 0.95"],
    );
    refused(
        &[&first, &higher],
        &["preconditioner", "floor 0.1", "floor 0.2"],
    );
    refused(
        &[&first, &bare],
        &["preconditioner", "gamma true", "gamma false"],
    );
    let d = json(&command::run(
        dir.path(),
        &["diagnose", &first, &again, "--json"],
    ));
    assert_eq!(d["chains"], 2);
    let d = json(&command::run(
        dir.path(),
        &["diagnose", &stays, &two_dir, "--json"],
    ));
    assert_eq!(d["chains"], 3);
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
    let out = command::run(dir.path(), &["diagnose", &none, "--export", "none.nc"]);
    assert!(words(&out).contains("draws to export"), "{}", words(&out));
    assert!(!dir.path().join("none.nc").exists());
}
