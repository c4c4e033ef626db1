//! The table of settings, and what is made from it: defaults, ranges, names, the docs, what a run records.

use bnn::Error;
use bnn::samplers::{Method, NoiseCorrection};
use bnn::settings::{
    Case, Given, Group, Kind, Preset, Reader, Row, SamplerChoice, Settings, TABLE, TargetKind,
    Value, default_text, markdown, row,
};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn find(name: &str) -> &'static Row {
    row("setting", name, |_| true).expect(name)
}

/// Every combination of what defaults depend on.
fn every_case() -> Vec<Case> {
    let mut cases = Vec::new();
    for sampler in SamplerChoice::all() {
        for preset in [Preset::Default, Preset::Original] {
            for shape in ["tiny", "cpu", "baby", "baby-full", "gpt2"] {
                for target in [TargetKind::Gpt, TargetKind::Own] {
                    for friction_given in [false, true] {
                        cases.push(Case {
                            target,
                            preset,
                            sampler,
                            shape: shape.into(),
                            friction_given,
                            ..Case::usual()
                        });
                    }
                }
            }
        }
    }
    cases
}

#[test]
fn every_name_is_there_once_and_every_default_is_in_its_range() {
    let mut names = HashSet::new();
    for row in TABLE {
        for name in row.aliases.iter().chain([&row.name]) {
            assert!(names.insert(*name), "{name} is there twice");
        }
        assert!(row.help.trim().ends_with('.'), "{}: {}", row.name, row.help);
        for case in every_case() {
            if let Some(default) = row.default(&case) {
                row.check(&default).expect(row.name);
                let mut given = Given::default();
                row.set(&mut given, &default).expect(row.name);
                assert_eq!(row.given(&given), Some(default));
                row.unset(&mut given);
                assert_eq!(given, Given::default(), "{}", row.name);
            }
        }
    }
}

/// Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_setting_is_read_by_somebody() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let text: String = files
        .iter()
        .filter(|f| !f.ends_with("settings/table.rs"))
        .map(|f| std::fs::read_to_string(f).expect("a source"))
        .collect();
    let words: HashSet<&str> = text
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
        .flat_map(|w| w.split('.').skip(1))
        .collect();
    for row in TABLE {
        assert!(!row.readers.is_empty(), "{} has no reader", row.name);
        assert!(words.contains(row.name), "nothing reads .{}", row.name);
    }
}

/// The numbers that docs/tuning.md has, and those of the preset that is the Python original's.
#[test]
fn defaults_are_those_of_the_presets() {
    let of = |name: &str, sampler: &str, preset: Preset, target: TargetKind| {
        let case = Case {
            target,
            preset,
            sampler: SamplerChoice::try_from(sampler.to_owned()).expect(sampler),
            ..Case::usual()
        };
        let value = find(name).default(&case);
        value.map_or("unset".into(), |v| v.to_string())
    };
    let (default, original) = (Preset::Default, Preset::Original);
    for (name, sampler, preset, target, value) in [
        ("learning_rate", "baoa", default, TargetKind::Gpt, "0.014"),
        ("learning_rate", "sghmc", default, TargetKind::Gpt, "4.5e-3"),
        ("learning_rate", "sgld", default, TargetKind::Gpt, "2e-4"),
        ("learning_rate", "sghmc", original, TargetKind::Gpt, "1e-5"),
        ("learning_rate", "baoa", original, TargetKind::Gpt, "1e-6"),
        ("learning_rate", "vi", default, TargetKind::Gpt, "1e-3"),
        ("learning_rate", "ekf", default, TargetKind::Gpt, "0"),
        ("learning_rate", "ekf", original, TargetKind::Gpt, "5e-6"),
        ("temperature", "baoa", default, TargetKind::Gpt, "0.15"),
        ("prior_std", "baoa", default, TargetKind::Gpt, "0.4"),
        ("prior_std", "vi", default, TargetKind::Gpt, "1"),
        ("prior_std", "baoa", default, TargetKind::Own, "1"),
        ("prior_std", "baoa", original, TargetKind::Gpt, "1"),
        ("temperature", "laplace", default, TargetKind::Gpt, "3e-3"),
        ("temperature", "baoa", original, TargetKind::Gpt, "1"),
        ("temperature", "baoa", default, TargetKind::Own, "1"),
        ("temperature", "laplace", default, TargetKind::Own, "1"),
        ("momentum", "baoa", default, TargetKind::Gpt, "0.9"),
        ("momentum", "sgld", default, TargetKind::Gpt, "unset"),
        ("momentum", "baoa", original, TargetKind::Gpt, "unset"),
        ("alpha", "sghmc", original, TargetKind::Gpt, "0.1"),
        ("alpha", "sgnht", original, TargetKind::Gpt, "0.01"),
        ("thermostat_mass", "sgnht", default, TargetKind::Gpt, "4e-4"),
        ("thermostat_mass", "sgnht", default, TargetKind::Own, "1"),
        ("preconditioner", "baoa", default, TargetKind::Gpt, "rms"),
        ("preconditioner", "baoa", default, TargetKind::Own, "none"),
        ("schedule", "vi", default, TargetKind::Gpt, "linear"),
        ("final_fraction", "vi", default, TargetKind::Gpt, "0.01"),
        ("exploration", "sglrw", default, TargetKind::Gpt, "0"),
        ("exploration", "baoa", default, TargetKind::Gpt, "0.5"),
        ("batch_order", "ekf", default, TargetKind::Gpt, "sweep"),
        (
            "batch_order",
            "ekf",
            original,
            TargetKind::Gpt,
            "independent",
        ),
        ("thinning", "baoa", default, TargetKind::Gpt, "100"),
        ("thinning", "baoa", original, TargetKind::Gpt, "10"),
        (
            "noise_correction",
            "baoa",
            default,
            TargetKind::Gpt,
            "diagonal",
        ),
        (
            "noise_correction",
            "sghmc",
            default,
            TargetKind::Gpt,
            "none",
        ),
        (
            "noise_correction",
            "laplace",
            default,
            TargetKind::Gpt,
            "none",
        ),
        (
            "noise_correction",
            "baoa",
            original,
            TargetKind::Gpt,
            "none",
        ),
        ("noise_correction", "baoa", default, TargetKind::Own, "none"),
        ("seed", "baoa", default, TargetKind::Gpt, "42"),
        ("seed", "baoa", default, TargetKind::Own, "42"),
    ] {
        assert_eq!(of(name, sampler, preset, target), value, "{name} {sampler}");
    }
    let temperature = default_text(find("temperature"), default);
    let said = "0.15; 0.1 for ekf, vi, ivon, laplace (last_layer_full), laplace (last_layer_kfac); 1 for swag, ema, snapshots, a log posterior of your own; 3e-3 for laplace (diagonal)";
    assert_eq!(temperature, said);
}

#[test]
fn an_unknown_name_or_word_is_told_the_nearest() {
    let text = |e: Error| e.to_string();
    let unknown = |name: &str| {
        let found = row("option", name, |_| true).map(|r| r.name);
        found.map_err(text).expect_err("no such name")
    };
    let said = unknown("temperture");
    assert_eq!(
        said,
        "unknown option `temperture`; did you mean `temperature`?"
    );
    assert!(
        unknown("zzz").contains("expected one of data, "),
        "{}",
        unknown("zzz")
    );
    assert_eq!(find("step_size").name, "learning_rate");
    let refused = |name: &str, value: &str| find(name).parse(value).map_err(text).expect_err(name);
    assert_eq!(
        refused("sampler", "baao"),
        "unknown sampler `baao`; did you mean `baoa`?"
    );
    assert!(refused("sampler", "nuts!").contains("one of sgld, "));
    assert_eq!(
        refused("temperature", "-1"),
        "temperature: expected a number at least 0, got -1"
    );
    assert!(refused("thinning", "0").contains("at least 1"));
    assert!(refused("exploration", "1").contains("at least 0 and below 1"));
    assert!(refused("eval", "maybe").contains("true or false"));
    assert!(
        refused("sample_dtype", "f64").contains("f32, bf16")
            || refused("sample_dtype", "f64").contains("`f32`")
    );
}

/// Each word of a setting that names a variant with numbers of its own makes that variant.
#[test]
fn every_word_makes_its_variant() {
    for (name, made) in [
        (
            "preconditioner",
            (|s: &Settings| format!("{:?}", s.mass())) as fn(&Settings) -> String,
        ),
        ("schedule", |s| format!("{:?}", s.schedule(s.schedule))),
        ("prior_family", |s| format!("{:?}", s.prior_family())),
    ] {
        let row = find(name);
        assert!(row.words().len() >= 3, "{name}");
        for word in row.words() {
            let mut given = Given {
                exploration: Some(0.25),
                preconditioner_floor: Some(0.75),
                prior_dof: Some(5.5),
                ..Given::default()
            };
            row.set(&mut given, &Value::Text(word.into())).expect(word);
            let made = made(&given.defaulted(TargetKind::Gpt)).to_lowercase();
            assert!(made.starts_with(&word.replace('_', "")), "{word}: {made}");
            let fields = made.contains("exploration: 0.25")
                || made.contains("floor: 0.75")
                || made.contains("dof: 5.5");
            let has_fields =
                ["cyclical", "rms", "adaptive", "fisher", "live", "student_t"].contains(&word);
            assert_eq!(fields, has_fields, "{made}");
        }
    }
}

/// Where the gradient's noise cannot be estimated, nobody who did not ask for it hears of it; who asks is refused.
#[test]
fn an_estimate_that_cannot_be_made_is_off_by_default_and_refused_when_asked_for() {
    let few = |preconditioner_steps, warmup_steps| Given {
        preconditioner_steps: Some(preconditioner_steps),
        warmup_steps: Some(warmup_steps),
        ..Given::default()
    };
    for (given, want) in [
        (few(19, 0), NoiseCorrection::None),
        (few(20, 0), NoiseCorrection::Diagonal),
        (few(1, 19), NoiseCorrection::Diagonal),
    ] {
        let settings = given.resolve().expect("settings");
        assert_eq!(settings.noise_correction, want);
        let chain = settings.sampler_config(0).expect("a chain");
        assert_eq!(chain.noise_correction, want);
    }
    for (given, part) in [
        (few(2, 0), "at least 3 gradients"),
        (
            Given {
                sampler: Some(SamplerChoice::Chain(Method::Sghmc)),
                ..Given::default()
            },
            "sghmc cannot make up for",
        ),
    ] {
        let asked = Given {
            noise_correction: Some(NoiseCorrection::Diagonal),
            ..given
        };
        let said = asked.resolve().expect_err(part).to_string();
        assert!(said.contains(part), "{said}");
    }
}

/// A setting that came later is, in a run from before it, what the run did then; one that was always there must be there.
#[test]
fn a_run_from_before_a_setting_did_what_it_did() {
    let given = Given::from(&Given::default().resolve().expect("the defaults"));
    let mut before = given.clone();
    for row in TABLE.iter().filter(|row| row.before.is_some()) {
        row.unset(&mut before);
    }
    let then = before.clone().recorded().expect("a run from before");
    for row in TABLE.iter().filter(|row| row.is_recorded()) {
        let value = row.value(&then);
        match row.before {
            Some(text) => assert_eq!(value, Some(row.parse(text).expect(row.name))),
            None => assert_eq!(value, row.given(&given), "{}", row.name),
        }
    }
    before.seed = None;
    let missing = before.recorded().expect_err("no seed").to_string();
    assert!(missing.contains("seed"), "{missing}");
    // A thermostat's mass that a run does not name is the paper's, not the default of now.
    let given = Given {
        sampler: SamplerChoice::try_from("sgnht_euler".to_owned()).ok(),
        ..Given::default()
    };
    let now = given.resolve().expect("settings");
    let mut old = Given::from(&now);
    old.thermostat_mass = None;
    let old = old.recorded().expect("a run from before");
    let mass = |s: &Settings| s.sampler_config(0).expect("a chain").thermostat_mass;
    assert_eq!((mass(&now), mass(&old)), (4e-4, 1.0));
}

#[test]
fn a_run_takes_some_settings_anew_and_no_others() {
    let settings = Given::default().resolve().expect("the defaults");
    for row in TABLE.iter().filter(|row| row.is_recorded()) {
        let anew = [
            "eval",
            "threads",
            "chains_at_once",
            "log_dir",
            "sampling_steps",
            "num_epochs",
            "data",
            "meta_path",
            "model_path",
            "test",
            "controls",
            "predictive",
        ]
        .iter()
        .any(|p| row.name.starts_with(p));
        assert_eq!(row.is_read_by(Reader::Resume), anew, "{}", row.name);
    }
    let given = Given {
        eval_splits: Some(vec!["val".into()]),
        ..Given::default()
    };
    let anew = settings
        .overlaid(given, Reader::Eval)
        .expect("another split");
    assert_eq!(anew.eval_splits, ["val"]);
    assert_eq!(
        Settings {
            eval_splits: settings.eval_splits.clone(),
            ..anew
        },
        settings
    );
    let given = Given {
        seed: Some(5),
        ..Given::default()
    };
    let refused = settings
        .overlaid(given, Reader::Eval)
        .expect_err("another seed");
    assert!(refused.to_string().contains("seed"), "{refused}");
}

#[test]
fn the_page_is_what_the_table_says() {
    let path = root().join("docs/settings.md");
    let want = markdown();
    if std::env::var_os("BNN_BLESS").is_some() {
        std::fs::write(&path, &want).expect("docs/settings.md");
    }
    let got = std::fs::read_to_string(&path).expect("docs/settings.md");
    assert!(
        got == want,
        "docs/settings.md differs from the table: BNN_BLESS=1 cargo test --test settings writes it anew"
    );
    assert!(
        TABLE
            .iter()
            .all(|row| want.contains(&format!("| `{}`", row.name)))
    );
    assert!(TABLE.iter().any(|row| row.kind == Kind::Bool));
}

/// One thing about an option, as C gets it.
fn option(index: usize, field: &str) -> String {
    let mut text = vec![0u8; 4096];
    let mut needed = 0;
    // SAFETY: all pointers are to live memory of the lengths that are given.
    let status = unsafe {
        bnn::capi::bnn_options_describe(
            index,
            field.as_ptr().cast(),
            field.len(),
            text.as_mut_ptr().cast(),
            text.len(),
            &mut needed,
            std::ptr::null_mut(),
        )
    };
    assert_eq!(status, bnn::capi::BNN_OK, "{field} of option {index}");
    text.truncate(needed);
    String::from_utf8(text).expect("UTF-8")
}

#[test]
fn c_offers_what_its_objects_read_with_the_tables_defaults() {
    let objects = |row: &&Row| row.readers.iter().any(|reader| reader.is_object());
    let rows: Vec<&Row> = TABLE.iter().filter(objects).collect();
    assert_eq!(bnn::capi::bnn_options_count(), rows.len());
    for (i, row) in rows.into_iter().enumerate() {
        assert_eq!(option(i, "name"), row.name);
        assert_eq!(option(i, "group"), row.group.title());
        assert_eq!(option(i, "help"), row.help.trim());
        assert_eq!(option(i, "words"), row.words().join(", "));
        assert_eq!(option(i, "defaults"), default_text(row, Preset::Default));
        let default = match row.default(&Case::usual()) {
            Some(Value::Bool(v)) => u8::from(v).to_string(),
            value => value.map_or(String::new(), |v| v.to_string()),
        };
        assert_eq!(option(i, "default"), default, "{}", row.name);
        for reader in row.readers.iter().filter(|reader| reader.is_object()) {
            assert!(option(i, "readers").contains(reader.name()), "{}", row.name);
        }
    }
}

#[cfg(feature = "cli")]
mod command {
    use super::*;
    use std::process::Command;

    fn said(args: &[&str]) -> String {
        let dir = tempfile::tempdir().expect("a folder");
        let out = Command::new(env!("CARGO_BIN_EXE_bnn"))
            .current_dir(dir.path())
            .env_remove("BASE_DIR")
            .env_remove("DATA_DIR")
            .args(args)
            .output()
            .expect("the command starts");
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).expect("UTF-8")
    }

    /// Without the line breaks, which depend on the terminal.
    fn flat(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_command_has_the_tables_defaults() {
        for sampler in SamplerChoice::all() {
            let text = said(&["config", "--json", "--sampler", sampler.name()]);
            let v: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let case = Case {
                sampler,
                ..Case::usual()
            };
            for row in TABLE
                .iter()
                .filter(|row| row.is_recorded() && row.name != "sampler")
            {
                let default = serde_json::json!(row.default(&case));
                assert_eq!(v[row.name], default, "{} of {sampler}", row.name);
            }
        }
    }

    /// Flags under their headings, with ranges and defaults; and of each command those alone that it reads.
    #[test]
    fn help_shows_what_a_command_reads() {
        for (command, reader) in [
            ("train", Reader::Train),
            ("config", Reader::Train),
            ("baseline", Reader::Baseline),
            ("eval", Reader::Eval),
            ("generate", Reader::Generate),
            ("diagnose", Reader::Diagnose),
            ("verify", Reader::Verify),
            ("bench", Reader::Bench),
        ] {
            let help = said(&[command, "--help-all"]);
            let read = TABLE.iter().filter(|row| row.is_read_by(reader));
            let read: HashSet<String> = read.map(Row::flag).collect();
            for row in TABLE {
                let flag = row.flag();
                let forms = [format!("--{flag} <"), format!("--{flag}[=")];
                let there = forms.iter().any(|form| help.contains(form));
                assert_eq!(there, read.contains(&flag), "{command} --{flag}");
                if row.is_read_by(reader) {
                    let heading = format!("\n{}:\n", row.group.title());
                    assert!(help.contains(&heading), "{command}: {heading}");
                    let range = format!("[{}", row.expected());
                    assert!(flat(&help).contains(&range), "{command}: {range}");
                }
            }
        }
        let help = said(&["train", "--help-all"]);
        assert!(
            flat(&help).contains("default: 0.014; 2e-4 for sgld, sglrw; 4.5e-3 for sghmc,"),
            "{help}"
        );
        assert!(help.contains("[alias: --epochs]") && help.contains("[alias: --step-size]"));
        let few = said(&["train", "-h"]);
        assert!(few.contains("--thinning") && !few.contains("--xi"), "{few}");
    }
}

/// Returns a value of a setting that is not its default in a case.
fn another(row: &Row, case: &Case) -> Value {
    let default = row.default(case);
    let words = row.words();
    match (row.kind, &default) {
        (Kind::Bool, Some(Value::Bool(b))) => Value::Bool(!b),
        (Kind::U64, Some(Value::U64(n))) => Value::U64(n + 1),
        (Kind::U64, _) => Value::U64(3),
        (Kind::F64, Some(Value::F64(x))) if *x > 0.0 => Value::F64(0.5 * x),
        (Kind::F64, _) => Value::F64(0.25),
        (Kind::Text, _) => {
            let differs = |w: &&&str| default != Some(Value::Text((**w).into()));
            let word = words.iter().find(differs);
            Value::Text((*word.expect(row.name)).into())
        }
        _ => panic!("{}: no other value is known", row.name),
    }
}

#[test]
fn every_setting_of_a_method_is_named_where_the_method_does_not_read_it() {
    // What every method reads.
    let always = ["preset", "sampler", "chains", "starts", "chain"];
    let groups = [Group::Sampler, Group::Schedule, Group::Mass, Group::Fits];
    let rows = || TABLE.iter().filter(|row| groups.contains(&row.group));
    for row in rows().filter(|row| !always.contains(&row.name)) {
        let (mut read, mut unread) = (0, 0);
        for sampler in SamplerChoice::all() {
            for schedule in ["constant", "linear", "polynomial", "cyclical"] {
                for mass in ["none", "rms", "adaptive", "live"] {
                    for (auto_step, adapt) in [(false, "dense"), (true, "none")] {
                        let mut given = Given {
                            sampler: Some(sampler),
                            chains: Some(2),
                            ..Given::default()
                        };
                        for (name, value) in [
                            ("schedule", Value::Text(schedule.into())),
                            ("preconditioner", Value::Text(mass.into())),
                            ("auto_step", Value::Bool(auto_step)),
                            ("adapt", Value::Text(adapt.into())),
                        ] {
                            find(name).set(&mut given, &value).unwrap();
                        }
                        let value = another(row, &given.case(TargetKind::Gpt));
                        row.set(&mut given, &value).unwrap();
                        let settings = given.clone().defaulted(TargetKind::Gpt);
                        let said = given.without_effect(&settings);
                        match said
                            .iter()
                            .any(|s| s.starts_with(&format!("{} =", row.name)))
                        {
                            true => unread += 1,
                            false => read += 1,
                        }
                    }
                }
            }
        }
        assert!(read > 0, "{}: no method reads it", row.name);
        assert!(unread > 0, "{}: is it read by every method?", row.name);
    }
}

#[test]
fn a_setting_without_effect_is_named_with_what_it_is_for() {
    let said = |settings: &[(&str, Value)]| {
        let mut given = Given::default();
        for (name, value) in settings {
            find(name).set(&mut given, value).expect(name);
        }
        given.without_effect(&given.clone().defaulted(TargetKind::Gpt))
    };
    let word = |w: &str| Value::Text(w.into());
    let laplace = ("sampler", word("laplace"));
    let rate = ("learning_rate", Value::F64(0.1));
    assert_eq!(
        said(&[laplace, rate.clone()]),
        ["learning_rate = 0.1 has no effect: it is for methods with a step size"]
    );
    assert!(said(&[rate]).is_empty());
    let dof = ("prior_dof", Value::F64(5.0));
    assert_eq!(
        said(std::slice::from_ref(&dof)),
        ["prior_dof = 5 has no effect: it is for a student_t prior"]
    );
    assert!(said(&[dof, ("prior_family", word("student_t"))]).is_empty());
    let patience = ("baseline_patience", Value::U64(7));
    assert!(said(std::slice::from_ref(&patience)).is_empty());
    let last = ("baseline_choice", word("last"));
    let both = said(&[patience, last]);
    assert_eq!(
        both,
        ["baseline_patience = 7 has no effect: it is for baseline_choice = best"]
    );
    let controls = ("controls", word("full"));
    assert_eq!(
        said(std::slice::from_ref(&controls)),
        ["controls = full has no effect: it is for runs with eval and eval_control"]
    );
    assert!(said(&[controls, ("eval", Value::Bool(true))]).is_empty());
    // At its default it asks for nothing.
    let tolerance = ("step_tolerance", Value::F64(0.1));
    assert!(said(&[tolerance]).is_empty());
}
