//! `bnn diagnose`: the draws of runs' folders, with what the runs took.

use super::folder::{RunFolder, read_json};
use super::spent::Spent;
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
    draws.seconds_a_gradient = Spent::read(&folder)?.seconds_per_gradient();
    if draws.seconds_a_gradient.is_none() {
        let report: Option<Value> = read_json(&folder.metrics())?;
        draws.seconds_a_gradient = report.and_then(|r| in_report(&r["training_metrics"]));
    }
    Ok(draws)
}

/// Returns the seconds per gradient of a run of before, which kept them in its report alone.
fn in_report(training: &Value) -> Option<f64> {
    let of = |key: &str| training[key].as_f64();
    let (seconds, gradients) = (of("sampling_seconds")?, of("timed_gradients")?);
    (gradients > 0.0).then(|| seconds / gradients)
}
