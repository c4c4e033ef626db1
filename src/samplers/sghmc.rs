//! SGHMC: stochastic gradient Hamiltonian Monte Carlo, with the gradient at the new position.
//!
//! **Target.** pi(theta, m) ~ exp((log_post(theta) - sum m^2 / (2 M')) / T), with the mass M' = sigma^2 M.
//!
//! **Update** (Chen, Fox & Guestrin 2014, "Stochastic gradient Hamiltonian Monte Carlo", eq. 13 and algorithm 2;
//! eq. 15 is the same in the optimiser's variables), with friction rate gamma = alpha / sigma^2 in every
//! coordinate:
//!
//! ```text
//! m += h grad - h gamma m + sqrt(h T (2 alpha - h T beta)) sqrt(M) xi,  xi ~ N(0, 1)
//! theta += h m / M'
//! ```
//!
//! **Hyperparameters.**
//! - `step_size` (h) > 0; no default: stable for h^2 omega^2 < 4 - 2 gamma h and gamma h < 2, omega^2 = curvature /
//!   M'.
//! - `alpha` > 0, default 0.1: the momentum is forgotten in the time 1 / gamma, and a run must be many times longer.
//! - `beta` >= 0, default 0, with h T beta <= 2 alpha: the variance of grad / T in units of M. Where that is the
//!   variance of the minibatch noise, the noise that is added and the noise that is there make up the right sum.
//! - `sigma` > 0, default 1: the momenta's standard deviation at T = 1. `temperature` >= 0, default 1.
//!
//! **State.** theta, m, and M if one was set. **Init.** m ~ N(0, T M'), or a constant.
//!
//! **Where it differs.** The paper's algorithm moves the position first and takes the gradient there: A B A B …
//! Ours, which uses one gradient at the parameters that the caller sees, is momentum first: B A B A …, the same
//! alternating sequence read from the other letter. The parameters after each A are the same chain; only which
//! momentum stands beside them differs, so that every law of the parameters alone, or of the momenta alone, is the same.
//! The law of the parameters has an error of second order in h, on a double well too (tests/order.rs); that of the momenta, of first:
//! their temperature is T / (1 - gamma h / 2) and higher terms.
//! beta has the place of the paper's estimate B-hat. The form with *both* updates from the old state, which several
//! libraries ship under this name, is another scheme with an error of first order in h: [`super::sghmc_euler`].

use super::stability::OptimizerPair;
use super::{ChainConfig, FreeMotion, Scheme};
use crate::backend::vectors::{Coefficients, Rule};
use crate::error::{Error, Result};

/// The method.
pub struct Sghmc;

impl Scheme for Sghmc {
    fn name(&self) -> &'static str {
        "sghmc"
    }

    fn description(&self) -> &'static str {
        "stochastic gradient Hamiltonian Monte Carlo"
    }

    fn default_alpha(&self) -> f64 {
        0.1
    }

    fn validate(&self, c: &ChainConfig) -> Result<()> {
        validate(c)
    }

    fn rule(&self, c: &ChainConfig, _xi: f64) -> Rule {
        Rule::Sghmc(coefficients(c))
    }

    fn stability_limit(&self, c: &ChainConfig, lambda_over_mass: f64) -> f64 {
        stability_limit(c, lambda_over_mass)
    }

    fn optimizer_pair(&self, c: &ChainConfig, num_data: f64) -> OptimizerPair {
        optimizer_pair(c, num_data)
    }

    fn friction_for_momentum(&self, momentum: f64) -> Option<f64> {
        Some(1.0 - momentum)
    }

    fn expected_kinetic(&self, c: &ChainConfig) -> Option<f64> {
        Some(expected_kinetic(c))
    }

    fn free_motion(&self, c: &ChainConfig) -> FreeMotion {
        FreeMotion::with_momenta(expected_kinetic(c), kept(c), 0.0, c.step_size)
    }
}

pub(super) fn validate(c: &ChainConfig) -> Result<()> {
    if c.alpha <= 0.0 {
        return Err(Error::out_of_range("alpha", "a positive number", c.alpha));
    }
    validate_noise(c)?;
    let lost = c.step_size * c.alpha / (c.sigma * c.sigma);
    if lost >= 2.0 {
        return Err(Error::Unstable(format!(
            "{}: step_size * alpha / sigma^2 is {lost}, and from 2 on the momentum grows on any target",
            c.method
        )));
    }
    Ok(())
}

/// Checks that the noise that is added has a variance.
pub(super) fn validate_noise(c: &ChainConfig) -> Result<()> {
    let noise = c.temperature * c.step_size * c.beta;
    if noise > 2.0 * c.alpha {
        return Err(Error::conflict(format!(
            "beta: temperature * step_size * beta is {noise}, and above 2 * alpha = {} the noise's variance is negative: lower it from {}",
            2.0 * c.alpha,
            c.beta
        )));
    }
    Ok(())
}

pub(super) fn coefficients(c: &ChainConfig) -> Coefficients {
    let (h, t, precision) = (c.step_size, c.temperature, 1.0 / (c.sigma * c.sigma));
    Coefficients {
        kick: h as f32,
        friction: (h * c.alpha * precision) as f32,
        noise: (h * t * (2.0 * c.alpha - h * t * c.beta)).sqrt() as f32,
        drift: (h * precision) as f32,
    }
}

/// Returns the largest stable step size, from h^2 omega^2 < 4 - 2 gamma h.
pub(super) fn stability_limit(c: &ChainConfig, lambda_over_mass: f64) -> f64 {
    let (gamma, omega2) = c.friction_and_frequency(lambda_over_mass);
    // The positive root of h^2 omega^2 + 2 gamma h = 4, in a form that does not cancel.
    4.0 / (gamma + (gamma * gamma + 4.0 * omega2).sqrt())
}

/// Returns the learning rate h^2 num_data / sigma^2 and the momentum 1 - gamma h.
pub(super) fn optimizer_pair(c: &ChainConfig, num_data: f64) -> OptimizerPair {
    let h = c.step_size;
    OptimizerPair {
        lr: h * h * num_data / (c.sigma * c.sigma),
        momentum: kept(c),
    }
}

/// Returns the temperature of momenta that only the friction and its noise move, T / (1 - gamma h / 2); infinite where they grow.
pub(super) fn expected_kinetic(c: &ChainConfig) -> f64 {
    let left = 1.0 - 0.5 * (1.0 - kept(c));
    if left > 0.0 {
        c.temperature / left
    } else {
        f64::INFINITY
    }
}

/// Returns the share of the momentum that a step keeps, 1 - gamma h.
pub(super) fn kept(c: &ChainConfig) -> f64 {
    1.0 - c.step_size * c.friction_rate().unwrap_or(0.0)
}
