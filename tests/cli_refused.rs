//! What cannot run is refused before anything is trained or made, in words that say what to do; and the keys of the JSON are those of the page.
#![cfg(feature = "cli")]

#[path = "common/command.rs"]
#[allow(dead_code)] // what others share
mod command;

use command::*;
use serde_json::Value;
use std::path::Path;

/// Asserts that `bnn train` refuses `more` with all these words, and has made neither a baseline nor a run.
fn refused(dir: &Path, more: &[&str], says: &[&str]) {
    let out = train(dir, more);
    let text = words(&out);
    // 2 where flags alone show it, 1 where the text or the disk has a part in it.
    let code = out.status.code();
    assert!(matches!(code, Some(1 | 2)), "{code:?} {more:?}: {text}");
    for part in says {
        assert!(text.contains(part), "{more:?}: {text}");
    }
    let kept = dir.join("checkpoints/samplers");
    let made = std::fs::read_dir(kept).map_or(0, Iterator::count);
    assert_eq!(made, 0, "{more:?} left something");
}

#[test]
fn what_cannot_run_is_refused_before_a_baseline_is_trained() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    refused(dir, &["--max-seq-length", "17"], &["max_seq_length", "16"]);
    let sweep = ["--batch-order", "sweep", "--batch-size", "100000"];
    refused(dir, &sweep, &["batch_size", "sweep"]);
    refused(
        dir,
        &[
            "--preconditioner",
            "none",
            "--step-size",
            "3",
            "--sampler",
            "sgld",
            "--prior-std",
            "1",
        ],
        &["unstable", "--learning-rate below 2.0", "--force"],
    );
    let seed = (1u64 << 63).to_string();
    refused(dir, &["--seed", &seed], &["seed", "9223372036854775807"]);
    for few in ["1", "15"] {
        refused(dir, &["--eval-max-tokens", few], &["eval_max_tokens", "16"]);
    }
    std::fs::write(dir.join("file"), "no folder").expect("a file");
    refused(dir, &["--save-dir", "file/runs"], &["save_dir", "file"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_path_that_no_configuration_can_hold_is_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join(OsStr::from_bytes(b"na\xefve"));
    std::fs::create_dir(&dir).expect("a folder");
    refused(&dir, &[], &["save_dir", "UTF-8"]);
    let mut flag = bnn(folder.path());
    flag.args(["train", "--save-dir"])
        .arg(OsStr::from_bytes(b"na\xefve"));
    let out = flag.output().expect("the command starts");
    assert_eq!(out.status.code(), Some(2));
    assert!(words(&out).contains("UTF-8"), "{}", words(&out));
}

#[test]
fn the_environment_is_named_where_it_is_wrong_and_flags_win_over_it() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["DATA_DIR", "META_PATH", "MODEL_PATH"] {
        let of = |more: &[&str]| {
            let mut command = bnn(folder.path());
            command.arg("config").args(more).env(name, "nowhere");
            command.output().expect("the command starts")
        };
        let out = of(&[]);
        assert_eq!(out.status.code(), Some(1));
        let text = words(&out);
        assert!(text.contains(&format!("{name}=nowhere")), "{text}");
        let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
        assert!(of(&[&flag, "."]).status.success(), "{name}");
    }
    let help = run(folder.path(), &["train", "--help-all"]);
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    for name in ["DATA_DIR", "META_PATH", "MODEL_PATH", "BASE_DIR", "DEVICE"] {
        assert!(help.contains(name), "{name}");
    }
}

#[test]
fn errors_say_what_to_give() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    for command in ["eval", "generate", "diagnose"] {
        let out = run(dir, &[command, "."]);
        assert_eq!(out.status.code(), Some(1));
        let text = words(&out);
        assert!(text.contains("folder of a run"), "{command}: {text}");
    }
    let baseline = json(&run(dir, &[&["baseline", "--json"], SMALL].concat()));
    let path = baseline["path"].as_str().expect("a path");
    let out = run(dir, &["train", "--model-path", path]);
    assert_eq!(out.status.code(), Some(1));
    let flags = "--shape tiny --n-layer 1 --n-embd 16 --block-size 16";
    assert!(words(&out).contains(flags), "{}", words(&out));
    let fit = ["--sampler", "laplace", "--num-samples", "2"];
    let fit = json(&train(dir, &fit));
    let fit = fit["run_dir"].as_str().expect("a folder");
    std::fs::remove_dir_all(dir.join(fit).join("samples")).expect("as before its end");
    for command in ["eval", "generate"] {
        let out = run(dir, &[command, fit]);
        assert_eq!(out.status.code(), Some(1));
        let (text, resume) = (words(&out), format!("bnn train --resume {fit}"));
        assert!(text.contains(&resume), "{command}: {text}");
    }
    let out = run(dir, &["eval", "--eval", "."]);
    assert_eq!(out.status.code(), Some(1));
    let help = run(dir, &["eval", "--help-all"]);
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    assert!(!help.contains("--eval["), "{help}");
    assert!(help.contains("one or more of val, train"), "{help}");
}

/// Every name of an object's member, at any depth.
fn names(v: &Value, into: &mut Vec<String>) {
    match v {
        Value::Object(all) => all.iter().for_each(|(name, v)| {
            into.push(name.clone());
            names(v, into);
        }),
        Value::Array(all) => all.iter().for_each(|v| names(v, into)),
        _ => {}
    }
}

#[test]
fn every_key_of_the_json_stands_on_its_page_and_a_found_step_in_the_summary() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let more = ["--eval", "--auto-step", "--warmup-steps", "60"];
    let about = ["--prior-center", "pretrained", "--sampling-steps", "100"];
    let trained = json(&train(dir, &[more, about].concat()));
    let run_dir = trained["run_dir"].as_str().expect("a folder").to_owned();
    let of = |args: &[&str]| json(&run(dir, args));
    let all = [
        of(&["eval", &run_dir, "--json"]),
        of(&["diagnose", &run_dir, "--json"]),
        of(&["check", &run_dir, "--json"]),
        of(&["generate", &run_dir, "--json", "--max-new-tokens", "3"]),
        of(&[
            "generate",
            &run_dir,
            "--json",
            "--max-new-tokens",
            "3",
            "--texts",
            "2",
            "--prompt",
            "A",
            "--prompt",
            "B",
        ]),
        trained.clone(),
    ];
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let mut found = Vec::new();
    all.iter().for_each(|v| names(v, &mut found));
    assert!(found.len() > 200);
    for name in found.iter().filter(|n| *n != "val" && *n != "train") {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
    let step = trained["chains"][0]["step"]["step_size"].as_f64();
    let summary = dir.join(&run_dir).join("baoa_summary.txt");
    let summary = std::fs::read_to_string(summary).expect("a summary");
    let line = format!("step {:.3e} (found from 1.400e-2)", step.expect("a step"));
    assert!(summary.contains(&line), "{summary}");
}
