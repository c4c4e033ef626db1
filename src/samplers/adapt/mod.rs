//! A mass and a step size found while a chain on a caller's gradients warms up, and then frozen: nothing is to be tuned by hand.
//!
//! The target is pi(theta) proportional to exp(log_post / T), with whole gradients: no minibatches. The chain moves in z, theta = center + L z
//! (`affine.rs`), with unit mass there. The warm-up's windows are Stan's (`windows.rs`):
//!
//! 1. **The first window** takes no steps of the chain: L-BFGS leads from the start to the bulk, and its inverse Hessian is the first L L^T
//!    (`ascent.rs`).
//! 2. **Slow windows** are steps of the chain. Welford's estimate of the variances (`diagonal`) or the covariance (`dense`) of z in each window is drawn
//!    towards the mass in force, and L becomes L A with A A^T that estimate over T (`welford.rs`).
//! 3. **The last window** settles the step size.
//!
//! **The step size** follows the largest curvature per mass, lambda, of the mean Hessian (`stiffest.rs`): it is the longest h whose error
//! ([`Scheme::temperature_error`](super::Scheme::temperature_error)) in that direction is `tolerance`, h^2 lambda / (4 sigma^2) = tolerance (sgld: epsilon lambda / 2), and at most 0.95 times the
//! largest that is stable there. There is no Metropolis step, and the error stays: on a normal, variances in the stiffest direction are off by
//!
//! | method | relative error of the variance |
//! |---|---|
//! | baoa, sgnht | 0 |
//! | sghmc | w / (1 - w), w = h^2 lambda / (2 sigma^2 (2 - gamma h)) |
//! | sgld | w / (1 - w), w = epsilon lambda / 2 |
//!
//! and by less in others. On other targets all have an error of second order in h (sgld: of first order in epsilon).
//!
//! **The friction** alpha is a setting; 1 fits unit scale: there a mean and a variance take 2 units of time each to be forgotten, 2 gamma and gamma +
//! 1 / gamma being their autocorrelation times for gamma = alpha / sigma^2 in a direction of unit frequency.
//!
//! **Set back.** Where a log posterior or gradient is not finite while the chain warms up, or the log posterior is far below the best one, more than T (100 + 10 n),
//! the step was too long: the chain goes back to where the window began, lambda is taken to be four times what it was, and the window's estimate
//! begins anew. After 100 of these the warm-up ends in an error.
//!
//! **Memory and time.** Dense: 3 n^2 numbers of f64 and some 4 n^2 operations a step, for at most 1,000 parameters. Diagonal: some 60 n numbers.

mod affine;
mod ascent;
mod stiffest;
mod warmup;
mod welford;
mod whitened;
mod windows;

pub use affine::Affine;
pub use whitened::Whitened;

use super::ChainConfig;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The fewest steps of a warm-up that adapts.
pub const FEWEST_STEPS: u64 = 200;

/// What a warm-up that adapts finds, and how exactly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adaptation {
    /// The form of the mass.
    pub mass: MassShape,
    /// Relative error that the step may make in the stiffest direction, above 0 and below 1.
    pub tolerance: f64,
}

impl Adaptation {
    /// Checks that a chain of these settings can warm up so.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a tolerance that is not in (0, 1), [`Error::Conflict`] at T = 0, for a warm-up of fewer than [`FEWEST_STEPS`] steps, for a
    /// method whose steps are no longer for a larger gradient, and with an estimate of the gradient's noise.
    pub(super) fn check(&self, c: &ChainConfig) -> Result<()> {
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            let (name, expected) = ("adapt's tolerance", "above 0 and below 1");
            return Err(Error::out_of_range(name, expected, self.tolerance));
        }
        if c.temperature <= 0.0 {
            return Err(Error::conflict(format!(
                "temperature: adapt needs one above 0, not {}: set a higher one, or choose adapt none",
                c.temperature
            )));
        }
        if c.warmup_steps < FEWEST_STEPS {
            return Err(Error::conflict(format!(
                "warmup_steps: adapt needs at least {FEWEST_STEPS}, not {}: set more (2000 is usual), or choose adapt none",
                c.warmup_steps
            )));
        }
        if (c.method.scheme()).temperature_error(c, 0.0, 0.0).is_none() {
            return Err(Error::conflict(format!(
                "adapt is not available for {}, whose steps have one length: choose another method, or adapt none",
                c.method
            )));
        }
        if !c.noise_correction.is_none() {
            return Err(Error::conflict(
                "noise_correction: adapt is for gradients without noise: choose one of the two, and none for the other",
            ));
        }
        Ok(())
    }
}

/// The form of a mass that a warm-up finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MassShape {
    /// A number for each parameter: the reciprocal of its variance.
    Diagonal,
    /// A whole matrix: the inverse of the covariance.
    Dense,
}

impl MassShape {
    /// The most parameters that a dense mass has.
    pub const MOST: usize = 1000;

    pub(crate) fn check_dense(n: usize) -> Result<()> {
        if n <= Self::MOST {
            return Ok(());
        }
        let expected = format!(
            "at most {} for a dense mass, whose matrix has their square: choose diagonal",
            Self::MOST
        );
        Err(Error::out_of_range("the number of parameters", expected, n))
    }

    /// Returns how many numbers such a matrix has.
    fn numbers(self, n: usize) -> usize {
        match self {
            Self::Diagonal => n,
            Self::Dense => n * n,
        }
    }
}
