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

use super::Config;
use super::sgld;
use crate::backend::vectors::Rule;
use crate::error::{Error, Result};

/// No friction.
pub const ALPHA: f64 = 0.0;

pub(super) fn validate(c: &Config) -> Result<()> {
    if c.temperature <= 0.0 {
        let expected = "above 0 (sglrw's steps have no length at 0)";
        return Err(Error::invalid("temperature", expected, c.temperature));
    }
    if c.beta != 0.0 {
        return Err(Error::invalid("beta", "0 (sglrw does not use it)", c.beta));
    }
    sgld::validate_no_momenta(c)
}

pub(super) fn rule(c: &Config, h: f64) -> Rule {
    Rule::Sglrw {
        pull: (h / (2.0 * c.temperature)).sqrt() as f32,
        length: (2.0 * c.temperature * h).sqrt() as f32,
    }
}
