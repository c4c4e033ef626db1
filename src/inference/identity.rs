//! What a saved chain or fit says that it is of, as JSON with canonical names: a session goes on only with the same. Older files are brought to
//! today's form first.

use super::config::{Inference, SessionConfig, Target};
use crate::data::Windows;
use crate::error::{Error, Result};
use crate::posterior::{PriorFamily, PriorUnits};
use crate::samplers::{CurvatureKind, GaussianConfig, Method};
use crate::store::{Header, hex, params_sha256};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// How long the run is that goes on from a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Length {
    /// Where the settings have it: a JSON pointer.
    pub setting: &'static str,
    /// Steps of the whole run, those that estimate the mass included.
    pub total: u64,
    /// Why a run of another length makes other steps: then it must be the saved one.
    pub fixed: Option<&'static str>,
}

impl Length {
    pub fn of(inference: &Inference) -> Self {
        match inference {
            Inference::Chain {
                sampler,
                preconditioner,
                ..
            } => Self {
                setting: "/sampler/settings/sampling_steps",
                total: preconditioner.steps().saturating_add(sampler.total_steps()),
                fixed: sampler.length_matters(),
            },
            Inference::Fit { config, .. } => Self {
                setting: "/sampler/steps",
                total: config.steps,
                fixed: config.length_matters(),
            },
        }
    }
}

/// Returns the first 64 bits of the SHA-256 of settings, as JSON with sorted names, their length and seed left out.
pub(super) fn number(settings: &str, length: Length) -> Result<u64> {
    let bad = |e| Error::out_of_range("settings", "JSON", e);
    let mut all: Value = serde_json::from_str(settings).map_err(bad)?;
    for place in [
        length.setting,
        "/sampler/settings/seed",
        "/sampler/seed",
        "/sampler/settings/chain",
    ] {
        if let Some(v) = all.pointer_mut(place) {
            *v = Value::Null;
        }
    }
    let hash = Sha256::digest(all.to_string());
    let first = hash.first_chunk().expect("a hash has 32 bytes");
    Ok(u64::from_be_bytes(*first))
}

/// Returns the SHA-256 that names a chain or fit in its trace file: its settings but for its length, its model, seed, number, text and vocabulary.
pub(super) fn of_chain(header: &Header) -> [u8; 32] {
    let mut config = header.config.clone();
    if let Ok(mut all) = serde_json::from_str::<Value>(&header.config) {
        for place in ["/sampler/settings/sampling_steps", "/sampler/steps"] {
            if let Some(v) = all.pointer_mut(place) {
                *v = Value::Null;
            }
        }
        config = all.to_string();
    }
    let mut hash = Sha256::new();
    for text in [&config, &header.model, &header.vocabulary] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.update(header.seed.to_le_bytes());
    hash.update(header.chain.to_le_bytes());
    hash.update(header.corpus_sha256);
    hash.finalize().into()
}

fn to_json(v: impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(v).map_err(|e| Error::out_of_range("settings", "JSON", e))
}

/// Returns the settings of a chain or fit on gradients of the caller's.
pub(super) fn of_gradients(inference: &Inference) -> Result<Value> {
    Ok(json!({"sampler": of_inference(inference, false)?}))
}

/// Returns the settings of a session on a model's posterior.
pub(super) fn of_model(
    target: &Target<'_>,
    config: &SessionConfig,
    windows: &Windows,
    num_data: f64,
) -> Result<Value> {
    let (prior, batches) = (target.prior, &config.batches);
    let mut all = json!({
        "sampler": of_inference(&config.inference, true)?,
        "prior_family": to_json(prior.family)?,
        "prior_std": prior.std,
        "prior_center": if prior.center.is_some() { "pretrained" } else { "zero" },
        "prior_scale": match prior.units {
            PriorUnits::One => "absolute",
            PriorUnits::RelativeTo(_) => "relative",
            PriorUnits::Each(_) => "each",
        },
        "num_data": num_data,
        "likelihood_weight": config.likelihood_weight,
        "objective": to_json(config.objective)?,
        "batch_order": to_json(batches.order)?,
        "batch_size": batches.size,
        "window": batches.window,
    });
    let vectors = [
        ("prior_center_sha256", prior.center.as_deref()),
        ("prior_scale_sha256", prior.units.vector()),
    ];
    for (name, vector) in vectors {
        if let Some(v) = vector {
            all[name] = hex(&params_sha256(v)).into();
        }
    }
    if windows.is_subset() {
        all["chosen_windows"] = windows.num_windows().into();
    }
    Ok(all)
}

fn of_inference(inference: &Inference, on_model: bool) -> Result<Value> {
    match inference {
        Inference::Fit { config, .. } if on_model => to_json(config),
        // The caller gives the squares, of whatever labels.
        Inference::Fit { config, .. } => to_json(GaussianConfig {
            ekf_labels: CurvatureKind::EmpiricalFisher,
            ..config.clone()
        }),
        Inference::Chain {
            sampler,
            preconditioner,
            auto_step,
        } => {
            let mut all = json!({"settings": to_json(sampler)?});
            if on_model {
                all["preconditioner"] = to_json(preconditioner)?;
            }
            if let Some(a) = auto_step {
                all["auto_step"] = json!({
                    "step_tolerance": a.tolerance(),
                    "keep_momentum": a.keeps_momentum(),
                });
                // Searches of older files have no ceiling.
                if let Some(growth) = a.growth() {
                    all["auto_step"]["step_growth"] = growth.into();
                }
            }
            Ok(all)
        }
    }
}

/// Returns the settings that a file was saved with, in today's form; none for an older run's file, whose settings were TOML and stood beside it.
pub(super) fn saved(header: &Header, format: u64) -> Option<Value> {
    let mut is: Value = serde_json::from_str(&header.config).ok()?;
    if format > 0 {
        return Some(is);
    }
    if is.get("sampler").is_none() {
        is = of_old_gradients(is);
    }
    if let Some(family) = is.get("prior_family").and_then(Value::as_str) {
        is["prior_family"] = to_json(old_family(family)?).ok()?;
    }
    let refers = [
        ("prior_center", "pretrained", "prior_center_sha256"),
        ("prior_scale", "relative", "prior_scale_sha256"),
    ];
    for (setting, word, name) in refers {
        if is.get(setting).and_then(Value::as_str) == Some(word) {
            is[name] = hex(&header.baseline_sha256).into();
        }
    }
    // What was `sgnht` then has another name now.
    let ding = "sgnht_ding";
    if let Some(method) = is.pointer_mut("/sampler/settings/method")
        && method.as_str() == Some("sgnht")
        && ding.parse::<Method>().is_ok()
    {
        *method = ding.into();
    }
    Some(is)
}

/// The settings of a caller's own gradients once stood without a name over them.
fn of_old_gradients(mut settings: Value) -> Value {
    let search = settings
        .as_object_mut()
        .and_then(|all| all.remove("auto_step"));
    if settings.get("steps").is_some() {
        return json!({"sampler": settings});
    }
    let mut sampler = Map::from_iter([("settings".to_owned(), settings)]);
    sampler.extend(search.map(|a| ("auto_step".to_owned(), a)));
    json!({"sampler": sampler})
}

/// Reads a prior's form as it was once printed.
fn old_family(text: &str) -> Option<PriorFamily> {
    let dof = text
        .strip_prefix("StudentT { dof: ")
        .and_then(|t| t.strip_suffix(" }"));
    match (text, dof) {
        ("Normal", _) => Some(PriorFamily::Normal),
        ("Laplace", _) => Some(PriorFamily::Laplace),
        (_, Some(dof)) => dof.parse().ok().map(|dof| PriorFamily::StudentT { dof }),
        _ => None,
    }
}

/// Returns how an error names a setting that a file was saved with another value of, and what it says of the one that was asked for.
pub(super) fn other_setting(name: &str, want: &Value) -> (String, String) {
    let word = name.rsplit('.').next().unwrap_or(name);
    let what = match word == name {
        true => name.to_owned(),
        false => format!("{word} ({name})"),
    };
    let way = "go on with the setting that it was saved with, or begin anew with this one";
    (what, format!("{want}: {way}"))
}

/// Returns the first place at which two JSON values differ, with what stands there.
pub(super) fn difference(at: &str, a: &Value, b: &Value) -> Option<(String, Value, Value)> {
    if let (Value::Object(x), Value::Object(y)) = (a, b) {
        let keys = x.keys().chain(y.keys());
        return keys.into_iter().find_map(|k| {
            let null = Value::Null;
            let (x, y) = (x.get(k).unwrap_or(&null), y.get(k).unwrap_or(&null));
            let name = match at {
                "" => k.clone(),
                at => format!("{at}.{k}"),
            };
            difference(&name, x, y)
        });
    }
    (a != b).then(|| (at.to_string(), a.clone(), b.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let a = json!({"a": 1, "b": {"c": [1, 2], "d": 0.5}});
        assert_eq!(difference("", &a, &a), None);
        let b = json!({"a": 1, "b": {"c": [1, 2], "d": 0.25}, "e": 3});
        let found = difference("", &a, &b).expect("one");
        assert_eq!(found, ("b.d".into(), json!(0.5), json!(0.25)));
        let c = json!({"a": 1, "b": {"c": [1, 2], "d": 0.5}, "e": 3});
        assert_eq!(difference("", &a, &c).expect("one").0, "e");
    }

    #[test]
    fn old_forms_are_todays() {
        let old = |config: Value| Header {
            config: config.to_string(),
            baseline_sha256: [1; 32],
            ..Header::new(crate::store::Kind::Chain)
        };
        let h = old(
            json!({"method": "sgnht_euler", "alpha": 0.5, "auto_step": {"step_tolerance": 0.1}}),
        );
        let want = json!({"sampler": {
            "settings": {"method": "sgnht_euler", "alpha": 0.5},
            "auto_step": {"step_tolerance": 0.1},
        }});
        assert_eq!(saved(&h, 0), Some(want));
        let h = old(json!({"method": "vi", "steps": 3}));
        let want = json!({"sampler": {"method": "vi", "steps": 3}});
        assert_eq!(saved(&h, 0), Some(want));
        let h = old(
            json!({"sampler": {}, "prior_family": "StudentT { dof: 4.5 }", "prior_center": "pretrained"}),
        );
        let got = saved(&h, 0).expect("JSON");
        assert_eq!(got["prior_family"], json!({"student_t": {"dof": 4.5}}));
        assert_eq!(got["prior_center_sha256"], "01".repeat(32));
        assert_eq!(
            saved(
                &Header {
                    config: "a = 1".into(),
                    ..h
                },
                0
            ),
            None
        );
    }
}
