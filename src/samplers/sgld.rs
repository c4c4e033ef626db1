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
//! divergence term of a preconditioner that follows theta (Girolami & Calderhead 2011) is 0; [`super::live`] has it.

use super::Config;
use crate::backend::vectors::Rule;
use crate::error::{Error, Result};

/// No friction.
pub const ALPHA: f64 = 0.0;

pub(super) fn validate_no_momenta(c: &Config) -> Result<()> {
    let of = |what: &str| format!("{what} ({} has no momenta)", c.method);
    if c.alpha != 0.0 {
        return Err(Error::invalid("alpha", of("0"), c.alpha));
    }
    if c.sigma != 1.0 {
        return Err(Error::invalid("sigma", of("1"), c.sigma));
    }
    Ok(())
}

pub(super) fn validate(c: &Config) -> Result<()> {
    validate_no_momenta(c)?;
    let noise = c.temperature * c.step_size * c.beta;
    if noise > 2.0 {
        let expected =
            "temperature * step_size * beta at most 2 (or the noise's variance is negative)";
        return Err(Error::invalid(
            "beta",
            expected,
            format!("{} (product {noise})", c.beta),
        ));
    }
    Ok(())
}

/// The noise's standard deviation at M = 1.
pub(super) fn noise(c: &Config, h: f64) -> f32 {
    let t = c.temperature;
    (t * h * (2.0 - t * h * c.beta)).sqrt() as f32
}

pub(super) fn rule(c: &Config, h: f64) -> Rule {
    Rule::Sgld {
        drift: h as f32,
        noise: noise(c, h),
    }
}
