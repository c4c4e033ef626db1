//! SGLRW: the stochastic gradient lattice random walk, whose steps are all of one size and differ in sign.
//!
//! **Target.** pi(theta) ~ exp(log_post(theta) / T).
//!
//! **Update** (arXiv 2602.15925, the binary walk), with a preconditioner P = 1 / M and the temperature:
//!
//! ```text
//! theta += s sqrt(2 T epsilon P),  s = +1 with probability (1 + clamp(grad sqrt(epsilon P / (2 T)), -1, 1)) / 2, else -1
//! ```
//!
//! which has the mean epsilon P grad and the second moment 2 T epsilon P of Langevin's step. A gradient that is too large is clamped: the
//! chain cannot be thrown far, however large the step size.
//!
//! **Hyperparameters.**
//! - `step_size` (epsilon) > 0; no default.
//! - `temperature` > 0, default 1: at 0 no step has any length.
//! - `alpha`, `beta` must be 0 and `sigma` 1.
//!
//! **State.** theta, and M if one was set. **Init.** theta as given.
//!
//! **In equilibrium.** As long as nothing is clamped, a step's second moment does not depend on the gradient, so that on a Gaussian of
//! curvature lambda the variance is T / lambda exactly, for every step size and with any noise in the gradient. Coordinates of one step are
//! uncorrelated only given the gradient: between coordinates the error is of first order, as SGLD's.

use super::stability::OptimizerPair;
use super::{ChainConfig, FreeMotion, Scheme, sgld};
use crate::backend::vectors::Rule;
use crate::error::{Error, Result};

/// The method.
pub struct Sglrw;

impl Scheme for Sglrw {
    fn name(&self) -> &'static str {
        "sglrw"
    }

    fn description(&self) -> &'static str {
        "stochastic gradient lattice random walk"
    }

    fn has_momenta(&self) -> bool {
        false
    }

    /// Returns `false`: a lattice walk has no step without temperature.
    fn can_explore(&self) -> bool {
        false
    }

    fn default_alpha(&self) -> f64 {
        0.0
    }

    fn model_step_size(&self) -> f64 {
        sgld::MODEL_STEP_SIZE
    }

    fn validate(&self, c: &ChainConfig) -> Result<()> {
        if c.temperature <= 0.0 {
            let expected = "above 0 (sglrw's steps have no length at 0)";
            return Err(Error::out_of_range("temperature", expected, c.temperature));
        }
        if c.beta != 0.0 {
            return Err(Error::conflict(format!(
                "beta: sglrw does not use it, and {} was given: leave it at 0",
                c.beta
            )));
        }
        sgld::validate_no_momenta(c)
    }

    fn rule(&self, c: &ChainConfig, _xi: f64) -> Rule {
        let h = c.step_size;
        Rule::Sglrw {
            pull: (h / (2.0 * c.temperature)).sqrt() as f32,
            length: (2.0 * c.temperature * h).sqrt() as f32,
        }
    }

    fn expected_kinetic(&self, _c: &ChainConfig) -> Option<f64> {
        None
    }

    fn free_motion(&self, c: &ChainConfig) -> FreeMotion {
        FreeMotion::overdamped(c)
    }

    /// Returns the step size from which, at epsilon lambda / M = 2, clamped steps only jump back and forth; they cannot diverge.
    fn stability_limit(&self, _c: &ChainConfig, lambda_over_mass: f64) -> f64 {
        sgld::stability_limit(lambda_over_mass)
    }

    /// Returns the pair of gradient descent, which the walk is in the mean.
    fn optimizer_pair(&self, c: &ChainConfig, num_data: f64) -> OptimizerPair {
        sgld::optimizer_pair(c, num_data)
    }

    fn friction_for_momentum(&self, _momentum: f64) -> Option<f64> {
        None
    }

    fn temperature_error(&self, _c: &ChainConfig, _kinetic: f64, _force: f64) -> Option<f64> {
        None
    }
}
