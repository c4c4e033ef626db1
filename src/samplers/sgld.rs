//! SGLD: stochastic gradient Langevin dynamics.
//!
//! **Target.** pi(theta) ~ exp(log_post(theta) / T).
//!
//! **Update** (Welling & Teh 2011, "Bayesian learning via stochastic gradient Langevin dynamics", eq. 4), with a
//! preconditioner P = 1 / M, the temperature, and room for the gradient's own noise:
//!
//! ```text
//! theta += epsilon P grad + sqrt(T epsilon (2 - T epsilon beta)) sqrt(P) xi,  xi ~ N(0, 1)
//! ```
//!
//! **Hyperparameters.**
//! - `step_size` (epsilon) > 0; no default, since it depends on the curvature: stable below 2 / (curvature P).
//! - `beta` >= 0, default 0, with T epsilon beta <= 2: the variance of grad / T in units of M. Where that is the
//!   variance of the minibatch noise, the noise that is added and the noise that is there make up the right sum.
//! - `temperature` >= 0, default 1. `alpha` must be 0 and `sigma` 1: there is no momentum.
//!
//! **State.** theta, and M if one was set. **Init.** theta as given.
//!
//! **Where it differs.** The paper's epsilon is twice ours: it writes epsilon / 2 before the gradient and N(0,
//! epsilon). The paper lets the step size fall to 0; here it is constant unless a schedule says otherwise, and on a
//! Gaussian of curvature lambda the variance is then T / lambda / (1 - epsilon lambda P / 2). P is constant, so the
//! divergence term of a preconditioner that follows theta (Girolami & Calderhead 2011) is 0; [`super::psgld`] has it.

use super::stability::OptimizerPair;
use super::{ChainConfig, FreeMotion, Scheme};
use crate::backend::vectors::Rule;
use crate::error::{Error, Result};

/// The method.
pub struct Sgld;

impl Scheme for Sgld {
    fn name(&self) -> &'static str {
        "sgld"
    }

    fn description(&self) -> &'static str {
        "stochastic gradient Langevin dynamics"
    }

    fn has_momenta(&self) -> bool {
        false
    }

    fn default_alpha(&self) -> f64 {
        0.0
    }

    fn model_step_size(&self) -> f64 {
        MODEL_STEP_SIZE
    }

    fn validate(&self, c: &ChainConfig) -> Result<()> {
        validate_no_momenta(c)?;
        let noise = c.temperature * c.step_size * c.beta;
        if noise > 2.0 {
            return Err(Error::conflict(format!(
                "beta: temperature * step_size * beta is {noise}, and above 2 the noise's variance is negative: lower it from {}",
                c.beta
            )));
        }
        Ok(())
    }

    fn rule(&self, c: &ChainConfig, _xi: f64) -> Rule {
        let h = c.step_size;
        Rule::Sgld {
            drift: h as f32,
            noise: noise(c),
        }
    }

    fn expected_kinetic(&self, _c: &ChainConfig) -> Option<f64> {
        None
    }

    fn free_motion(&self, c: &ChainConfig) -> FreeMotion {
        FreeMotion::overdamped(c)
    }

    fn stability_limit(&self, _c: &ChainConfig, lambda_over_mass: f64) -> f64 {
        stability_limit(lambda_over_mass)
    }

    fn optimizer_pair(&self, c: &ChainConfig, num_data: f64) -> OptimizerPair {
        optimizer_pair(c, num_data)
    }

    fn friction_for_momentum(&self, _momentum: f64) -> Option<f64> {
        None
    }

    fn temperature_error(&self, c: &ChainConfig, _kinetic: f64, force: f64) -> Option<f64> {
        let h = c.step_size;
        Some(h * force / (2.0 * c.temperature))
    }
}

/// Step size for a GPT's posterior: of squared time.
pub(super) const MODEL_STEP_SIZE: f64 = 2e-4;

pub(super) fn validate_no_momenta(c: &ChainConfig) -> Result<()> {
    for (name, neutral, value) in [("alpha", 0.0, c.alpha), ("sigma", 1.0, c.sigma)] {
        if value != neutral {
            return Err(Error::conflict(format!(
                "{name}: {} has no momenta for it to act on, and {value} was given: leave it at {neutral}",
                c.method
            )));
        }
    }
    Ok(())
}

/// Returns the noise's standard deviation at M = 1.
pub(super) fn noise(c: &ChainConfig) -> f32 {
    let (t, h) = (c.temperature, c.step_size);
    (t * h * (2.0 - t * h * c.beta)).sqrt() as f32
}

/// Returns the largest stable step size, from epsilon lambda / M < 2.
pub(super) fn stability_limit(lambda_over_mass: f64) -> f64 {
    2.0 / lambda_over_mass
}

/// Returns the pair of gradient descent.
pub(super) fn optimizer_pair(c: &ChainConfig, num_data: f64) -> OptimizerPair {
    OptimizerPair {
        lr: c.step_size * num_data,
        momentum: 0.0,
    }
}
