//! What a run's average is compared with, as a user asks for it: the controls, the two parts of the held-out text, a text to report on.
#![cfg(feature = "cli")]

mod common;

use common::command::*;
use serde_json::Value;
use std::fs;

const VAL: &[&str] = &["--eval", "--eval-splits", "val"];

fn held_out(v: &Value) -> &Value {
    &v["results"]["val"]["held_out"]
}

fn names(held_out: &Value) -> Vec<&str> {
    let controls = held_out["controls"].as_array().expect("controls");
    let each = controls.iter().map(|c| c["name"].as_str().expect("a name"));
    each.collect()
}

/// Each control takes the gradients that it says, and a second evaluation trains nothing and says the same.
#[test]
fn all_controls_are_made_once() {
    let dir = folder();
    let out = train(dir.path(), &[VAL, &["--controls", "full"]].concat());
    let said = words(&out);
    let v = json(&out);
    let parts = held_out(&v);
    let adamw = ["adamw_last", "adamw_best", "adamw_mean", "adamw_snapshots"];
    let others = ["adamw_scratch", "deep_ensemble", "chain_without_noise"];
    let want: Vec<&str> = (["baseline"].into_iter().chain(adamw))
        .chain(others)
        .collect();
    // Early in a training more of its states predict better, so that the first alone are no control of their own.
    assert_eq!(names(parts), want);
    let of = |key: &str| -> Vec<u64> {
        let each = parts["controls"].as_array().expect("controls").iter();
        each.map(|c| c[key].as_u64().expect("a number")).collect()
    };
    // 5 + 10 + 40 gradients of the chain, 40 of the baseline.
    assert_eq!(of("gradients"), [0, 55, 55, 55, 55, 95, 95, 55]);
    let aurocs: Vec<bool> = (parts["controls"].as_array().expect("controls").iter())
        .map(|c| c["shuffled_auroc"].is_number())
        .collect();
    assert_eq!(
        aurocs,
        [false, false, false, false, true, false, true, true]
    );
    assert_eq!(of("models"), [1, 1, 1, 1, 4, 1, 2, 4]);
    assert!(
        said.contains("the best control by the choosing part"),
        "{said}"
    );
    let run = dir.path().join(run_dir(&v));
    let path = run.to_str().expect("UTF-8");
    let again = ["eval", path, "--json", "--eval-splits", "val"];
    let out = self::run(dir.path(), &again);
    let trained = |text: &str| text.contains("55/55") || text.contains("95/95");
    assert!(!trained(&words(&out)), "{}", words(&out));
    assert_eq!(held_out(&json(&out)), parts);
    // Without noise the chain is another one, and the run's own samples are as they were.
    let states =
        |folder: &str| fs::read(run.join(folder).join("c00_s00000055.bnn")).expect("a state");
    assert_ne!(states("samples"), states("controls/without_noise/samples"));
    let basic = self::run(dir.path(), &[&again[..], &["--controls", "basic"]].concat());
    assert_eq!(names(held_out(&json(&basic))), want[..5]);
}

/// 640 tokens at most are 20 windows of each half; a text of one's own is reported on in place of the second half.
#[test]
fn the_parts_are_halves_or_two_texts() {
    let dir = folder();
    let v = json(&train(
        dir.path(),
        &[VAL, &["--eval-control=false"]].concat(),
    ));
    let parts = held_out(&v);
    let count = |parts: &Value| {
        let of = |key: &str| parts[key].as_u64().expect("a count");
        (of("choosing_tokens"), of("reporting_tokens"))
    };
    assert_eq!(count(parts), (320, 320));
    assert!(names(parts).is_empty());
    let run = run_dir(&v);
    let path = run.to_str().expect("UTF-8");
    let eval = |more: &[&str]| {
        let all = [
            "eval",
            path,
            "--json",
            "--eval-splits",
            "val",
            "--eval-control=false",
        ];
        self::run(dir.path(), &[&all[..], more].concat())
    };
    // The validation split's loss is that of both parts together.
    let loss = |v: &Value| v.as_f64().expect("a loss");
    let mean = (loss(&parts["loss"]) + loss(&parts["loss_choosing"])) / 2.0;
    let whole = loss(&v["results"]["val"]["loss_averaged_prediction"]);
    assert!((mean - whole).abs() < 1e-12, "{mean} {whole}");
    fs::write(
        dir.path().join("own.txt"),
        "To be or not to be, that is. ".repeat(9),
    )
    .expect("a text");
    let own = json(&eval(&["--test", "own.txt"]));
    // 261 characters hold 16 windows of 16, and all of the split chooses.
    assert_eq!(count(held_out(&own)), (640, 256));
    assert_eq!(held_out(&own)["reporting"], "test text");
    assert_ne!(held_out(&own)["loss"], parts["loss"]);
    fs::write(dir.path().join("foreign.txt"), "αβγ".repeat(90)).expect("a text");
    let refused = eval(&["--test", "foreign.txt"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(words(&refused).contains('α'), "{}", words(&refused));
    let missing = eval(&["--test", "nowhere.txt"]);
    assert!(
        words(&missing).contains("nowhere.txt"),
        "{}",
        words(&missing)
    );
}

/// Several chains say how far their averages lie apart, which one chain cannot.
#[test]
fn chains_say_what_a_seed_changes() {
    let dir = folder();
    let more = ["--chains", "3", "--eval-control=false"];
    let out = train(dir.path(), &[VAL, &more].concat());
    assert!(words(&out).contains("over chains the average's loss has a standard error"));
    let v = json(&out);
    let each: Vec<f64> = held_out(&v)["loss_of_each_chain"]
        .as_array()
        .expect("losses")
        .iter()
        .map(|l| l.as_f64().expect("a loss"))
        .collect();
    assert_eq!(each.len(), 3);
    let mean = each.iter().sum::<f64>() / 3.0;
    let variance = each.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / 2.0;
    let error = held_out(&v)["std_error_of_chains"]
        .as_f64()
        .expect("an error");
    assert!((error - (variance / 3.0).sqrt()).abs() < 1e-12);
    assert!(error > 0.0);
    let one = train(dir.path(), &[VAL, &["--eval-control=false"]].concat());
    assert!(words(&one).contains("with one chain nobody knows"));
    assert!(held_out(&json(&one))["std_error_of_chains"].is_null());
}

/// A baseline that is chosen says which state it is; the last one can be asked for, and is that of all steps.
#[test]
fn the_baseline_is_its_best_or_its_last_state() {
    let dir = folder();
    // Letters without a rule, few of them: the model overfits long before the last step.
    let letters: String = (0..900u32)
        .map(|i| ['a', 'b', 'c', 'd'][(i * i * i / 31 % 4) as usize])
        .collect();
    fs::write(dir.path().join("letters.txt"), letters).expect("a text");
    let base = |more: &[&str]| {
        let few = "baseline --json --data letters.txt --shape tiny --block-size 16 --baseline-iters 250 --baseline-learning-rate 0.01";
        let few: Vec<&str> = few.split_whitespace().collect();
        let out = self::run(dir.path(), &[&few[..], more].concat());
        (words(&out), json(&out))
    };
    let (said, best) = base(&[]);
    assert!(
        said.contains("best of 250") && said.contains("on the choosing half"),
        "{said}"
    );
    let (said, last) = base(&["--baseline-choice", "last"]);
    assert!(said.contains("after 250 steps"), "{said}");
    assert_ne!(best["sha256"], last["sha256"]);
    assert!(
        best["choice"]["step"].as_u64() < Some(250),
        "{}",
        best["choice"]
    );
    // Looks after 100, 200 and 250 steps, at the parameters and two averages.
    let looks = best["choice"]["losses"].as_array().expect("looks");
    assert!(
        looks.len() == 3
            && looks
                .iter()
                .all(|l| l.as_array().is_some_and(|l| l.len() == 3))
    );
    assert!(last["choice"].is_null());
}

/// A first answer has few steps, but for what other flags say.
#[test]
fn a_quick_run_is_short_and_compared() {
    let dir = folder();
    let shape = ["--shape", "tiny", "--n-layer", "1", "--n-embd", "16"];
    let few = ["--baseline-iters", "40", "--warmup-steps", "60"];
    let args = [&["train", "--json", "--quick"], &shape[..], &few[..]].concat();
    let v = json(&self::run(dir.path(), &args));
    assert_eq!(v["samples_collected"], 25);
    assert_eq!(v["total_steps"], 50 + 60 + 500);
    assert!(names(held_out(&v)).contains(&"adamw_snapshots"));
    assert!(v["results"]["train"].is_null());
    let config = fs::read_to_string(dir.path().join(run_dir(&v)).join("config.toml"));
    assert!(config.expect("settings").contains("baseline_iters = 40"));
}
