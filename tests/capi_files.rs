//! Files between C, Rust and the command: samples, models and states that one writes and another reads, whole, damaged and forged.
#![cfg(target_os = "linux")]

#[path = "common/c_program.rs"]
#[allow(dead_code)] // what others share
mod c_program;

#[cfg(feature = "cli")]
#[path = "common/command.rs"]
#[allow(dead_code)] // what others share
mod command;

#[path = "common/ensure.rs"]
mod ensure;

#[path = "capi/expected.rs"]
#[allow(dead_code)] // what others share
mod expected;

#[path = "common/forged.rs"]
mod forged;

use c_program::*;
use forged::{Parts, forge};
use std::path::PathBuf;

/// Broken: the untied model's own checksum, which no baseline has.
#[test]
fn samples_and_models_are_kept_and_read() {
    let dir = tempfile::tempdir().expect("a folder");
    documented_in(dir.path(), "stores", true, &[]);
    let store = bnn::store::Store::open(dir.path().join("samples")).expect("a store");
    let ids: Vec<_> = (store.ids().iter()).map(|id| (id.chain, id.step)).collect();
    assert_eq!(ids, [(0, 20), (0, 300), (1, 20), (3, 7)]);
    store.verify().expect("whole samples");
    let of = store.provenance();
    assert_eq!((of.seed, of.dtype), (5, bnn::store::Dtype::F32));
    assert_eq!(of.vocabulary, "abcdefgh");
    // What an untied model's samples are named by is the tied model that it came from.
    let rounded = bnn::store::Store::open(dir.path().join("rounded")).expect("a store");
    assert_eq!(of.baseline_sha256, rounded.provenance().baseline_sha256);
    assert_eq!(rounded.provenance().dtype, bnn::store::Dtype::Bf16);
    assert_ne!(of.model, rounded.provenance().model);
}

/// Broken: a check that repairs when it is only to look; a hole that nobody names.
#[test]
fn damage_is_found_and_mended() {
    let dir = tempfile::tempdir().expect("a folder");
    documented_in(dir.path(), "damage", true, &[]);
}

/// The file with NaN for its last number, which nothing that writes would take.
fn forge_nan(from: PathBuf, to: PathBuf) {
    use sha2::{Digest, Sha256};
    let mut bytes = std::fs::read(from).expect("a file");
    let header = u64::from_le_bytes(bytes[12..20].try_into().expect("8 bytes")) as usize;
    let end = bytes.len() - 32;
    // Whether it is the half of an f64 or an f32.
    bytes[end - 4..end].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
    let digest = Sha256::digest(&bytes[52 + header..end]);
    bytes[end..].copy_from_slice(&digest);
    std::fs::write(to, bytes).expect("a file");
}

/// Files whose checksums are right and whose content is not, and lengths that no memory holds: a status that is documented, with the path.
/// Broken: a fit's room made before the file's lengths were compared, which aborts in an allocation of 4503599627370496 bytes.
#[test]
fn forged_files_end_in_the_documented_status() {
    use bnn::store::Kind::{Baseline, Chain};
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    documented_in(dir.path(), "forged", false, &["make"]);
    for name in ["chain.bnn", "vector.bnn", "model.bnn"] {
        forge_nan(at(name), at(&format!("nan_{name}")));
    }
    let sample = at("samples/c00_s00000001.bnn");
    forge_nan(sample.clone(), sample);
    let model = |to: &str, change: fn(&mut Parts)| {
        forge(&at("model.bnn"), Baseline, &at(to), change);
    };
    model("length.bnn", |p| _ = p.singles("params").pop());
    model("vocabulary.bnn", |p| p.header.vocabulary.truncate(7));
    model("json.bnn", |p| p.header.model = "{".into());
    model("heads.bnn", |p| {
        p.header.model = p.header.model.replace("\"n_head\":4", "\"n_head\":3");
    });
    model("name.bnn", |p| {
        let params = p.singles.remove("params").expect("parameters");
        p.singles.insert("weights".into(), params);
    });
    model("type.bnn", |p| {
        p.singles.remove("params");
        p.doubles.insert("params".into(), vec![0.5; 8]);
    });
    for name in ["chain", "vector"] {
        let to = at(&format!("no_search_{name}.bnn"));
        forge(&at(&format!("{name}.bnn")), Chain, &to, |p| {
            p.doubles.remove("auto_step");
        });
    }
    forge(&at("chain.bnn"), Chain, &at("means.bnn"), |p| {
        p.doubles("temperatures").pop();
    });
    forge(&at("chain.bnn"), Chain, &at("counter.bnn"), |p| {
        *p.counter("preconditioned") -= 1;
    });
    for name in ["no_search_chain", "means", "counter"] {
        let to = at(&format!("{name}.trace"));
        std::fs::copy(at("chain.trace"), to).expect("a copy");
    }
    documented_in(dir.path(), "forged", false, &["read"]);
}

/// `bnn train`'s samples read in C; then C's own in their place, which `bnn eval` and `bnn generate` read.
#[cfg(feature = "cli")]
#[test]
fn the_command_and_c_read_each_others_samples() {
    let dir = tempfile::tempdir().expect("a folder");
    let v = command::json(&command::train(dir.path(), &[]));
    let run = dir.path().join(command::run_dir(&v));
    std::os::unix::fs::symlink(&run, dir.path().join("run")).expect("a link");
    let m = std::fs::read_to_string(run.join("baoa_metrics.json")).expect("metrics");
    let m: serde_json::Value = serde_json::from_str(&m).expect("JSON");
    let baseline = PathBuf::from(m["baseline"]["path"].as_str().expect("a path"));
    std::fs::copy(dir.path().join(baseline), dir.path().join("baseline.bnn")).expect("a copy");
    let scored = |out: &std::process::Output| {
        let v = command::json(out);
        let of = |key: &str| v["results"]["val"][key].as_f64().expect(key);
        [
            of("loss_averaged_prediction"),
            of("loss_mean_of_samples"),
            v["results"]["val"]["predictive_entropy"]["mean"]
                .as_f64()
                .expect("one"),
            v["results"]["val"]["mutual_information"]["mean"]
                .as_f64()
                .expect("one"),
            of("ece"),
            of("brier"),
            of("accuracy"),
        ]
    };
    // All of the split, as C has it.
    let eval = [
        "eval",
        "run",
        "--json",
        "--eval-control=false",
        "--eval-max-tokens",
        "1000000",
    ];
    let theirs = scored(&command::run(dir.path(), &eval));
    let folder = dir.path().to_str().expect("UTF-8");
    let out = documented_in(dir.path(), "stores", false, &[folder]);
    let ours = scored(&command::run(dir.path(), &eval));
    for (what, command) in [("theirs", theirs), ("ours", ours)] {
        for (a, b) in expected::printed(&out, what).iter().zip(command) {
            // The command sums in pieces.
            assert!((a - b).abs() < 1e-9, "{what}: {a}, not {b}");
        }
    }
    assert_ne!(theirs, ours);
    let words = [
        "generate",
        "run",
        "--json",
        "--max-new-tokens",
        "20",
        "--prompt",
        "The ",
    ];
    let v = command::json(&command::run(dir.path(), &words));
    assert_eq!(v["generation_params"]["num_samples"], 6, "{v}");
    // A run's folder from C alone: its samples, its model, and the settings that name it.
    let own = dir.path().join("own");
    std::fs::create_dir(&own).expect("a folder");
    std::fs::rename(run.join("samples"), own.join("samples")).expect("a move");
    // Relative paths in a run's settings are relative to its folder.
    std::fs::copy(dir.path().join("saved.bnn"), own.join("saved.bnn")).expect("a copy");
    let config = [&["config", "--model-path", "saved.bnn"], command::SMALL].concat();
    let config = command::run(dir.path(), &config);
    assert!(config.status.success(), "{}", command::words(&config));
    std::fs::write(own.join("config.toml"), &config.stdout).expect("settings");
    let eval: Vec<_> = (eval.iter().copied())
        .map(|a| if a == "run" { "own" } else { a })
        .collect();
    assert_eq!(scored(&command::run(dir.path(), &eval)), ours);
}

/// States with right checksums and wrong numbers: each is refused with the file's name, and those that are left alone are not. Broken:
/// the count of a window's steps not compared, 4 of 3 were loaded.
#[test]
fn forged_states_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    documented_in(dir.path(), "forged_numbers", false, &[]);
    let forged = dir.path().join("forged.bnn");
    let program = dir.path().join("forged_numbers");
    let folder = dir.path().to_str().expect("UTF-8");
    let load = |kind: &str, change: &dyn Fn(&mut Parts)| {
        let from = dir.path().join(kind).with_extension("bnn");
        forge(&from, bnn::store::Kind::Chain, &forged, change);
        let trace = bnn::store::trace_of(&from);
        if trace.exists() {
            std::fs::copy(trace, bnn::store::trace_of(&forged)).expect("a copy");
        }
        let out = text(&run(&program, &[], &[folder, kind]));
        assert!(out.contains("all as documented"), "{out}");
        let line = out.lines().find_map(|l| l.strip_prefix("loaded "));
        let (status, message) = line.and_then(|l| l.split_once(' ')).expect("a line");
        (status.parse::<i32>().expect("a status"), message.to_owned())
    };
    for kind in ["gpt", "vector"] {
        assert_eq!(load(kind, &|_| {}).0, bnn::capi::BNN_OK, "{kind}");
    }
    type Change = fn(&mut Parts);
    let header = bnn::capi::BNN_ERR_BAD_HEADER;
    // 2 gradients for the mass, 50 steps of warm-up in windows of 5 of which 3 count, 10 of sampling.
    let gpt: [(Change, &str); 16] = [
        (|p| p.doubles("auto_step")[0] = 0.0, "step_size"),
        (|p| p.doubles("auto_step")[1] = -1.0, "alpha"),
        (|p| p.doubles("auto_step")[2] = -1.0, "error"),
        (|p| p.doubles("auto_step")[3] = -1.0, "kinetic"),
        (|p| p.doubles("auto_step")[4] = -1.0, "force"),
        (|p| p.doubles("auto_step")[5] = -1.0, "whole number"),
        (|p| p.doubles("auto_step")[5] = 1e300, "whole number"),
        (|p| p.doubles("auto_step")[5] = 4.0, "at most 3"),
        (|p| *p.counter("temperatures") = 11, "at most 10"),
        (|p| *p.counter("temperatures") = u64::MAX, "at most 10"),
        (|p| *p.counter("temperatures") = 9, "running means"),
        (
            |p| {
                // The sums of squares are the second of means, squares and 10 batches.
                let t = p.doubles("temperatures");
                let width = t.len() / 12;
                t[width] = -1.0;
            },
            "sum of squares",
        ),
        (
            |p| _ = p.doubles.insert("trace.excess_loss".into(), vec![0.0]),
            "at most 10",
        ),
        (|p| *p.counter("sampler_step") += 1, "62 steps in all"),
        (|p| *p.counter("sampler_step") = u64::MAX, "62 steps in all"),
        (|p| p.header.step -= 1, "61 steps in all"),
    ];
    let mismatch = bnn::capi::BNN_ERR_MISMATCH;
    let vector: [(Change, i32, &str); 5] = [
        (
            |p| p.doubles("auto_step")[5] = 1e300,
            header,
            "whole number",
        ),
        (
            |p| *p.counter("preconditioned") = 1,
            header,
            "8 steps in all",
        ),
        (
            |p| (*p.counter("preconditioned"), *p.counter("sampler_step")) = (1, 7),
            mismatch,
            "gradients taken for a mass",
        ),
        (
            |p| _ = p.singles.insert("squares".into(), vec![1.0; 3]),
            mismatch,
            "sums of squares for a mass",
        ),
        (
            |p| {
                p.singles.insert("live.squares".into(), vec![1.0; 3]);
                p.doubles.insert("live".into(), vec![0.1, 0.9]);
            },
            mismatch,
            "a live mass",
        ),
    ];
    let gpt = gpt.map(|(change, part)| ("gpt", change, header, part));
    let vector = vector.map(|(change, status, part)| ("vector", change, status, part));
    for (kind, change, status, part) in gpt.into_iter().chain(vector) {
        let (got, message) = load(kind, &change);
        assert_eq!(got, status, "{kind}: {message}, not {part}");
        assert!(message.contains(part), "{kind}: {message}, not {part}");
        assert!(message.contains("forged.bnn"), "{message} names no file");
    }
}
