//! Local learning coefficient: how much loss a tempered chain around a point gains, in units of 1 / (n beta).
//!
//! Lau, Furman, Wang, Murfet and Wei 2023, "Quantifying degeneracy in singular models via the learning coefficient" (arXiv 2308.12108;
//! at AISTATS 2025 as "The local learning coefficient: a singularity-aware complexity measure"): with w
//! drawn from the local posterior exp(-n beta L_n(w) - gamma/2 |w - w*|^2) about w*,
//!
//! ```text
//! lambda(w*) = n beta (E[L_n(w)] - L_n(w*))
//! ```
//!
//! It is half the number of parameters where the loss is quadratic and n beta times its curvatures is large compared with gamma; half the
//! number of directions that matter where the others are flat; and less where the loss is degenerate of higher order.
//!
//! **The estimator here.** Each evaluation is one number: the difference in loss of *one* batch between w and w*, which has far less noise
//! than either loss. The expected value for a batch that is drawn after w is the excess loss of w, so the mean is unbiased in the batches.
//! There are other biases:
//!
//! - gamma: directions with n beta times the curvature below gamma count for less than half.
//! - A chain that began at w* and has not yet spread gives too small a value, which still grows with the length of the chain.
//! - A chain that is hotter than T (because of gradient noise or the step size) gives too large a value, by the ratio of its temperature to
//!   T.
//! - A w* that is no minimum of the loss gives too small a value, which may be negative.

use crate::batch_means::BatchMeans;
use crate::error::{Error, Result};
use serde::Serialize;

/// An estimate of the local learning coefficient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LocalLearningCoefficient {
    /// The estimate, which has no unit.
    pub value: f64,
    /// The standard error by batch means along the chain; `None` with fewer than 10 evaluations.
    pub std_error: Option<f64>,
    /// Mean excess loss, in the loss's unit.
    pub excess_loss: f64,
    /// The factor n beta: the number of data over the temperature.
    pub n_beta: f64,
    /// Number of evaluations along the chain.
    pub looks: u64,
}

/// Estimates the coefficient from the excess losses L(w) - L(w*) along a chain, each on one batch, of the posterior exp(-`n_beta` L(w))
/// with a prior about w*.
///
/// # Errors
/// Returns [`Error::OutOfRange`] when there are none, one is not finite (with its place, from 0), or `n_beta` is not a positive number.
pub fn local_learning_coefficient(excess: &[f64], n_beta: f64) -> Result<LocalLearningCoefficient> {
    if !(n_beta > 0.0 && n_beta.is_finite()) {
        return Err(Error::out_of_range("n_beta", "a positive number", n_beta));
    }
    if let Some(i) = excess.iter().position(|x| !x.is_finite()) {
        let what = format!("excess loss {i}");
        return Err(Error::out_of_range(what, "a finite number", excess[i]));
    }
    let mut means = BatchMeans::new(1);
    excess.iter().for_each(|&x| means.push(&[x]));
    let Some(m) = means.get(0) else {
        return Err(Error::out_of_range("excess losses", "at least one", 0));
    };
    Ok(LocalLearningCoefficient {
        value: n_beta * m.mean,
        std_error: m.std_error.map(|e| n_beta * e),
        excess_loss: m.mean,
        n_beta,
        looks: means.count(),
    })
}
