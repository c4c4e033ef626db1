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
//! Half the number of parameters where the loss is quadratic and n beta times its curvatures is large beside gamma; half the number of directions
//! that matter where the others are flat; less where it is degenerate of higher order.
//!
//! **The estimator here.** One number a look at the chain: the loss of the *same* batch at w and at w*, whose difference has far less
//! noise than either. A batch that is drawn after w was has that w's excess loss as its expectation, so the mean is unbiased in the batches.
//! It is not free of bias in anything else, and a reader should know of what:
//!
//! - gamma: directions with n beta times the curvature below gamma count for less than half.
//! - A chain that began at w* and has not yet spread gives too little: the value still grows with the chain's length.
//! - A chain that is hotter than T (its gradients' noise, its step's size) gives too much, by the ratio of its temperature to T.
//! - A w* that is no minimum of the loss gives too little, a negative number even.

use crate::batch_means::BatchMeans;
use crate::error::{Error, Result};
use serde::Serialize;

/// An estimate of the local learning coefficient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LocalLearningCoefficient {
    /// The estimate: no unit.
    pub value: f64,
    /// Its standard error by batch means along the chain; none with fewer than 10 looks.
    pub std_error: Option<f64>,
    /// Mean excess loss, in the loss's unit.
    pub excess_loss: f64,
    /// What it is multiplied by: the number of data over the temperature.
    pub n_beta: f64,
    /// Looks at the chain.
    pub looks: u64,
}

/// From the excess losses L(w) - L(w*) along a chain, each on one batch, of the posterior exp(-`n_beta` L(w)) and a prior about w*.
///
/// # Errors
/// [`Error::Invalid`] when there are none, one is not finite (with its place, from 0), or `n_beta` is not a positive number.
pub fn local_learning_coefficient(excess: &[f64], n_beta: f64) -> Result<LocalLearningCoefficient> {
    if !(n_beta > 0.0 && n_beta.is_finite()) {
        return Err(Error::invalid("n_beta", "a positive number", n_beta));
    }
    if let Some(i) = excess.iter().position(|x| !x.is_finite()) {
        let what = format!("excess loss {i}");
        return Err(Error::invalid(what, "a finite number", excess[i]));
    }
    let mut means = BatchMeans::new(1);
    excess.iter().for_each(|&x| means.push(&[x]));
    let Some(m) = means.get(0) else {
        return Err(Error::invalid("excess losses", "at least one", 0));
    };
    Ok(LocalLearningCoefficient {
        value: n_beta * m.mean,
        std_error: m.std_error.map(|e| n_beta * e),
        excess_loss: m.mean,
        n_beta,
        looks: means.count(),
    })
}
