//! The table in words: defaults with what they depend on, and the page `docs/settings.md`.

use super::choices::{Preset, SamplerChoice};
use super::defaults::{Case, TargetKind};
use super::row::{Row, Value};
use super::table::TABLE;
use crate::gpt::NAMED;
use crate::samplers::{CovarianceStructure, GaussianMethod};

const LAPLACE: [(&str, CovarianceStructure); 3] = [
    ("laplace (diagonal)", CovarianceStructure::Diagonal),
    (
        "laplace (last_layer_full)",
        CovarianceStructure::LastLayerFull,
    ),
    (
        "laplace (last_layer_kfac)",
        CovarianceStructure::LastLayerKfac,
    ),
];

/// Returns a setting's default under a preset, then what it is for the methods, shapes and targets that have another one.
pub fn default_text(row: &Row, preset: Preset) -> String {
    let usual = Case {
        preset,
        ..Case::usual()
    };
    let base = row.default(&usual);
    let mut others: Vec<(Option<Value>, Vec<&str>)> = Vec::new();
    for (label, case) in cases(&usual) {
        let value = row.default(&case);
        match others.iter_mut().find(|(v, _)| *v == value) {
            _ if value == base => {}
            Some((_, labels)) => labels.push(label),
            None => others.push((value, vec![label])),
        }
    }
    let words = |v: &Option<Value>| v.as_ref().map_or("unset".into(), Value::to_string);
    let mut text = words(&base);
    for (value, labels) in others {
        let labels = labels.join(", ");
        let all = LAPLACE.map(|l| l.0).join(", ");
        let labels = labels.replace(&all, "laplace");
        text.push_str(&format!("; {} for {labels}", words(&value)));
    }
    text
}

/// Returns the cases that differ from the usual one in one respect, with a name for each.
fn cases(usual: &Case) -> Vec<(&'static str, Case)> {
    let laplace = SamplerChoice::Gaussian(GaussianMethod::Laplace);
    let mut cases = Vec::new();
    let mut add = |label, sampler, structure, shape: &str, target| {
        let case = Case {
            target,
            sampler,
            shape: shape.into(),
            structure,
            ..usual.clone()
        };
        cases.push((label, case));
    };
    for sampler in SamplerChoice::all().filter(|s| *s != laplace) {
        add(
            sampler.name(),
            sampler,
            usual.structure,
            &usual.shape,
            usual.target,
        );
    }
    for (label, structure) in LAPLACE {
        add(label, laplace, structure, &usual.shape, usual.target);
    }
    for (shape, ..) in NAMED {
        add(shape, usual.sampler, usual.structure, shape, usual.target);
    }
    let own = "a log posterior of your own";
    add(
        own,
        usual.sampler,
        usual.structure,
        &usual.shape,
        TargetKind::Own,
    );
    let adapts = Case {
        adapts: true,
        ..usual.clone()
    };
    cases.push(("adapt", adapts));
    cases
}

/// Returns the page `docs/settings.md`.
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    let mut group = None;
    for row in TABLE {
        if group.replace(row.group) != Some(row.group) {
            let title = row.group.title();
            text.push_str(&format!(
                "\n## {title}\n\n| setting | type and range | default | `--preset original` | read by | meaning |\n|---|---|---|---|---|---|\n"
            ));
        }
        text.push_str(&line(row));
    }
    text
}

fn line(row: &Row) -> String {
    let mut names = vec![format!("`{}`", row.name)];
    if row.flag.is_some() {
        names.push(format!("`--{}`", row.flag()));
    }
    names.extend(row.aliases.iter().map(|alias| format!("`{alias}`")));
    let (default, original) = (
        default_text(row, Preset::Default),
        default_text(row, Preset::Original),
    );
    let original = if original == default {
        String::new()
    } else {
        original
    };
    let readers: Vec<_> = row.readers.iter().map(|r| r.name()).collect();
    format!(
        "| {} | {} | {default} | {original} | {} | {} |\n",
        names.join(", "),
        row.expected(),
        readers.join(", "),
        row.help.trim(),
    )
}

const HEAD: &str = "\
# Settings

Every setting, once. The command takes them as flags (`thinning` is `--thinning`, `batch_size` is `--batch-size`), and C by `bnn_options_set_f64`, `_u64` and
`_str`; of two names in a row both are taken. Those that `bnn train` reads are the settings of a run: `bnn config` prints them, and `--config FILE.toml` and a
run's `config.toml` have them under the names below. `chain` is C's alone, since a run counts its `chains`, and `adapt` and `adapt_tolerance` are for a caller's own
log posterior. This page is made from
`src/settings/table.rs`, and a test compares the two.

A default that depends on the method, the named shape or the target says so. A GPT's posterior is sampled at T = 0.15: at T = 1 single samples predict
worse than the baseline, and in the steps that a run has, their average gains less ([tuning.md](tuning.md)). A log posterior of your own is sampled as
you give it, at T = 1, without a mass (`adapt` finds one: [own-posterior.md](own-posterior.md)), and with a thermostat of mass 1.

## Environment

`bnn train`, `bnn baseline` and `bnn config` read the original's variables, also from a file `.env`; flags and `--config` win over them. A run that is resumed or evaluated takes no
setting from them: it looks at `DEVICE`, which must be one that this build has, and every command at `BNN_ISA` and the numbers of threads.

| variable | meaning |
|---|---|
| `DATA_DIR`, `META_PATH` | `data_dir` and `meta_path`; not read where `data` is given |
| `MODEL_PATH` | `model_path` |
| `BASE_DIR` | `save_dir` is `BASE_DIR/checkpoints/samplers` |
| `DEVICE` | the device: only `cpu`, which this build has alone |
| `WANDB_AVAILABLE` | nothing: nothing is sent anywhere |
| `BNN_ISA` | instruction set of the kernels: portable, avx2, avx512 or amx; the best there is otherwise |
| `RAYON_NUM_THREADS`, else `OMP_NUM_THREADS` | threads where `threads` is 0; from the process alone |
";
