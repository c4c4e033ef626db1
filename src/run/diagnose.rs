//! `bnn diagnose`: the draws of runs' folders, with what the runs took.

use super::folder::RunFolder;
use crate::error::{Error, Result};
use crate::inference::RunDraws;
use serde_json::Value;
use std::path::Path;

/// Reads what a run's chains recorded, whether it is done or not.
///
/// # Errors
/// As [`RunDraws::read`], and when the folder is no run's.
pub fn open(path: &Path) -> Result<RunDraws> {
    let (folder, config) = RunFolder::open(path)?;
    let mut draws = RunDraws::read(path, config, |chain| folder.chain(chain))?;
    draws.seconds_a_gradient = timed(&folder)?;
    Ok(draws)
}

/// Seconds per gradient, from a run's report; none while it has none.
fn timed(folder: &RunFolder) -> Result<Option<f64>> {
    match std::fs::read_to_string(folder.metrics()) {
        Ok(text) => {
            let of_file = |e: serde_json::Error| {
                Error::data(folder.metrics().display().to_string(), e.to_string())
            };
            let m: Value = serde_json::from_str(&text).map_err(of_file)?;
            Ok(seconds_a_gradient(&m["training_metrics"]))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(folder.metrics())(e)),
    }
}

/// Seconds a gradient from `training_metrics` of a report.
fn seconds_a_gradient(training: &Value) -> Option<f64> {
    let of = |key: &str| training[key].as_f64();
    // A process that resumes a run times its own gradients alone.
    let (seconds, gradients) = (of("sampling_seconds")?, of("timed_gradients")?);
    (gradients > 0.0).then(|| seconds / gradients)
}
