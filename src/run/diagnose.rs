//! `bnn diagnose`: the draws of runs' folders, with what the runs took.

use super::folder::{RunFolder, read_json};
use super::spent::Spent;
use crate::error::Result;
use crate::inference::{Diagnosis, Facts, RunDraws, TemperatureBand, Verdict};
use serde_json::Value;
use std::path::Path;

/// Reads what a run's chains recorded, whether it is done or not.
///
/// # Errors
/// Returns the errors of [`RunDraws::read`], and an error when the folder is no run's.
pub fn open(path: &Path) -> Result<RunDraws> {
    let (folder, config) = RunFolder::open(path)?;
    let mut draws = RunDraws::read(path, config, |chain| folder.chain(chain))?;
    draws.seconds_a_gradient = Spent::read(&folder)?.seconds_per_gradient();
    if draws.seconds_a_gradient.is_none() {
        let report: Option<Value> = read_json(&folder.metrics())?;
        draws.seconds_a_gradient = report.and_then(|r| in_report(&r["training_metrics"]));
    }
    Ok(draws)
}

/// Judges runs by what their chains' draws say, and by the temperatures in the reports of those that are done.
///
/// # Errors
/// When a report cannot be read.
pub fn verdict(runs: &[RunDraws], diagnosis: &Diagnosis) -> Result<Verdict> {
    let first = runs.first().map(|r| &r.settings);
    let mut facts = Facts {
        sampler: first.map_or(String::new(), |s| s.sampler.name().into()),
        temperature: first.map_or(1.0, |s| s.temperature),
        chains: diagnosis.chains,
        samples: diagnosis.chains * diagnosis.draws,
        sampling_steps: first.map(|s| s.sampling_steps as f64),
        auto_step: first.map(|s| s.auto_step),
        recorded: first.map(|s| s.probe_tokens > 0),
        ..Facts::default()
    };
    if let Some(a) = &diagnosis.log_prob {
        facts.add_agreement(a);
    }
    for run in runs {
        let (folder, _) = RunFolder::open(&run.path)?;
        let report: Option<Value> = read_json(&folder.metrics())?;
        let chains = report.as_ref().and_then(|r| r["chains"].as_array());
        for chain in chains.into_iter().flatten() {
            facts.add_kinetic(band(&chain["kinetic_temperature"]).as_ref());
            facts.add_configurational(band(&chain["configurational_temperature"]).as_ref());
            let reach = chain["reach"].as_str();
            facts.one_ray = Some(
                facts.one_ray == Some(true) || reach == Some("ray") || reach == Some("unmoved"),
            );
        }
    }
    Ok(Verdict::new(facts))
}

/// Returns a temperature of a report; none where there is none, or no expected value beside it.
fn band(v: &Value) -> Option<TemperatureBand> {
    let of = |key: &str| v[key].as_f64();
    Some(TemperatureBand {
        mean: of("mean")?,
        std_error: of("std_error")?,
        expected: of("expected")?,
        equilibrium_sd: of("equilibrium_sd")?,
    })
}

/// Returns the seconds per gradient of an older run, which kept them in its report alone.
fn in_report(training: &Value) -> Option<f64> {
    let of = |key: &str| training[key].as_f64();
    let (seconds, gradients) = (of("sampling_seconds")?, of("timed_gradients")?);
    (gradients > 0.0).then(|| seconds / gradients)
}
