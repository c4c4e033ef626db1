//! `bnn diagnose`: the draws of runs' folders, with what the runs took.

use super::folder::{RunFolder, read_json};
use crate::error::Result;
use crate::inference::RunDraws;
use serde_json::Value;
use std::path::Path;

/// Reads what a run's chains recorded, whether it is done or not.
///
/// # Errors
/// Returns the errors of [`RunDraws::read`], and an error when the folder is no run's.
pub fn open(path: &Path) -> Result<RunDraws> {
    let (folder, config) = RunFolder::open(path)?;
    let mut draws = RunDraws::read(path, config, |chain| folder.chain(chain))?;
    // A run that is not done has no report.
    let report: Option<Value> = read_json(&folder.metrics())?;
    draws.seconds_a_gradient = report.and_then(|r| seconds_a_gradient(&r["training_metrics"]));
    Ok(draws)
}

/// Seconds a gradient from `training_metrics` of a report.
fn seconds_a_gradient(training: &Value) -> Option<f64> {
    let of = |key: &str| training[key].as_f64();
    // A process that resumes a run times its own gradients alone.
    let (seconds, gradients) = (of("sampling_seconds")?, of("timed_gradients")?);
    (gradients > 0.0).then(|| seconds / gradients)
}
