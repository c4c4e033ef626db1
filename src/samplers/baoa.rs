//! BAOA: a splitting of Langevin dynamics with one gradient per step, exact on a Gaussian in the parameters.
//!
//! **Target.** pi(theta, m) ~ exp((log_post(theta) - sum m^2 / (2 M')) / T), with the mass M' = sigma^2 M.
//!
//! **Update** (Leimkuhler & Matthews 2015, "Molecular Dynamics", p. 271: the splitting's letters are kick B, drift
//! A and Ornstein-Uhlenbeck O), with friction rate gamma = alpha / sigma^2 and c = exp(-gamma h):
//!
//! ```text
//! B: m += h grad
//! A: theta += h/2 m / M'
//! O: m = c m + sqrt(T (1 - c^2)) sqrt(M') xi,  xi ~ N(0, 1)
//! A: theta += h/2 m / M'
//! ```
//!
//! **Hyperparameters.**
//! - `step_size` (h) > 0; no default: stable for h^2 omega^2 < 4, omega^2 = curvature / M'.
//! - `alpha` > 0, default 0.01: the momentum is forgotten in the time 1 / gamma, and a run must be many times longer.
//! - `sigma` > 0, default 1: the momenta's standard deviation at T = 1. `temperature` >= 0, default 1.
//! - `beta` must be 0: the exact O step has no place for the gradient's noise.
//!
//! **State.** theta, m, and M if one was set. **Init.** m ~ N(0, T M'), or a constant.
//!
//! **Where it differs.** The book's BAOAB has half a kick at each end; read from the other end of its kick it is
//! this one, and functions of the parameters have the same law. On a Gaussian the parameters and the momenta both
//! have the target's variance, and the covariance h T / 2 in place of 0.

use super::stability::OptimizerPair;
use super::{ChainConfig, FreeMotion, Scheme};
use crate::backend::vectors::{Coefficients, Rule};
use crate::error::{Error, Result};

/// The method.
pub struct Baoa;

impl Scheme for Baoa {
    fn name(&self) -> &'static str {
        "baoa"
    }

    fn description(&self) -> &'static str {
        "BAOA splitting of Langevin dynamics"
    }

    fn default_alpha(&self) -> f64 {
        0.01
    }

    fn validate(&self, c: &ChainConfig) -> Result<()> {
        if c.alpha <= 0.0 {
            return Err(Error::out_of_range("alpha", "a positive number", c.alpha));
        }
        if c.beta != 0.0 {
            return Err(Error::conflict(format!(
                "beta: baoa does not use it, and {} was given: leave it at 0",
                c.beta
            )));
        }
        Ok(())
    }

    fn rule(&self, c: &ChainConfig, _xi: f64) -> Rule {
        let (h, precision) = (c.step_size, 1.0 / (c.sigma * c.sigma));
        let decay = -h * c.alpha * precision;
        Rule::Baoa(Coefficients {
            kick: h as f32,
            friction: -decay.exp_m1() as f32,
            noise: (c.temperature * -(2.0 * decay).exp_m1()).sqrt() as f32 * c.sigma as f32,
            drift: (0.5 * h * precision) as f32,
        })
    }

    fn expected_kinetic(&self, c: &ChainConfig) -> Option<f64> {
        Some(c.temperature)
    }

    fn free_motion(&self, c: &ChainConfig) -> FreeMotion {
        free_motion(c)
    }

    fn stability_limit(&self, c: &ChainConfig, lambda_over_mass: f64) -> f64 {
        stability_limit(c, lambda_over_mass)
    }

    fn optimizer_pair(&self, c: &ChainConfig, num_data: f64) -> OptimizerPair {
        optimizer_pair(c, num_data)
    }

    fn friction_for_momentum(&self, momentum: f64) -> Option<f64> {
        Some(-momentum.ln())
    }
}

/// Returns the motion of half a drift on either side of an exact friction.
pub(super) fn free_motion(c: &ChainConfig) -> FreeMotion {
    let keep = (-c.step_size * c.friction_rate().unwrap_or(0.0)).exp();
    let half = 0.5 * c.step_size;
    FreeMotion::with_momenta(c.temperature, keep, half, half)
}

/// Returns the largest stable step size, from h^2 omega^2 < 4.
pub(super) fn stability_limit(c: &ChainConfig, lambda_over_mass: f64) -> f64 {
    let (_, omega2) = c.friction_and_frequency(lambda_over_mass);
    2.0 / omega2.sqrt()
}

/// Returns the momentum c = exp(-gamma h) and the learning rate h^2 num_data / sigma^2 * (1 + c) / 2, which is h^2 num_data / sigma^2 up to
/// order h^3.
pub(super) fn optimizer_pair(c: &ChainConfig, num_data: f64) -> OptimizerPair {
    let h = c.step_size;
    let momentum = (-h * c.friction_rate().unwrap_or(0.0)).exp();
    OptimizerPair {
        lr: h * h * num_data / (c.sigma * c.sigma) * 0.5 * (1.0 + momentum),
        momentum,
    }
}
