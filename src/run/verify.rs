//! Checks this build on this machine against reference files: one line a quantity, with its error and pass or fail.

mod gaussians;
mod gpt;
mod reference;
mod scores;
mod trajectories;

use crate::backend::Backend;
use crate::data::read_file;
use crate::error::Result;
use reference::{Reference, bad};
use std::path::Path;

/// One quantity compared with its reference.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Check {
    /// The reference file's name.
    pub file: String,
    /// The quantity, such as `grad.transformer.wte.weight`.
    pub quantity: String,
    /// Norm of the difference over the norm of the reference (absolute where the reference is 0).
    pub error: f64,
    /// The largest error that passes.
    pub tolerance: f64,
    /// Whether it passes; a value that is not finite does not.
    pub pass: bool,
}

impl Check {
    fn new(path: &Path, quantity: &str, error: f64, tolerance: f64) -> Self {
        let name = path.file_name().unwrap_or_default();
        Self {
            file: name.to_string_lossy().into_owned(),
            quantity: quantity.into(),
            error,
            tolerance,
            // a NaN compares false and fails
            pass: error <= tolerance,
        }
    }

    /// Of one number.
    fn of(path: &Path, quantity: &str, got: f64, want: f64, tolerance: f64) -> Self {
        let error = match want == 0.0 {
            true => (got - want).abs(),
            false => ((got - want) / want).abs(),
        };
        Self::new(path, quantity, error, tolerance)
    }
}

/// Checks every quantity of one reference file, whose kind is told by what it holds.
///
/// # Errors
/// When the file cannot be read or is of no known kind. A quantity that is off is no error but a [`Check`] that does not pass.
pub fn verify_file<B: Backend>(be: &B, path: &Path) -> Result<Vec<Check>> {
    let bytes = read_file(path)?;
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{') {
        return scores::texts(path, &bytes);
    }
    let r = Reference::read(path, &bytes)?;
    let is = |key: &str| r.metadata.contains_key(key);
    let checks = match () {
        () if is("config") => gpt::gpt(be, &r)?,
        () if is("hyperparameters") => trajectories::samplers(be, &r)?,
        () if is("scores") => scores::predictive(&r)?,
        () if is("laplace_fisher") => gaussians::gaussians(be, &r)?,
        () if is("arviz") => scores::chains(&r)?,
        () => {
            return Err(bad(
                path,
                "expected metadata `config` (a GPT), `hyperparameters` (samplers), `scores` (predictive), `laplace_fisher` (normals) or `arviz` (chains), found none of them",
            ));
        }
    };
    match checks.is_empty() {
        true => Err(bad(path, "nothing in it to check")),
        false => Ok(checks),
    }
}
