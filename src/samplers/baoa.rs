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
//! - `beta` must be 0: the gradient's noise has a variance for each parameter here.
//!
//! **Gradient noise of known variance.** A minibatch's gradient has a noise of variance v_i, and the kick brings its heat. With
//! [`Sampler::set_gradient_noise`](super::Sampler::set_gradient_noise) or [`NoiseCorrection::Diagonal`](super::NoiseCorrection) the step splits its
//! friction, c = c1 c2, each parameter its own: c1 stands in the middle of the kick, so that the kick's noise *is* the fluctuation that c1
//! owes, and c2 keeps the place of c.
//!
//! ```text
//! B1: m = c1 m + (1 + c1)/2 h grad,  c1 = (1 - rho) / (1 + rho),  rho = h^2 v / (4 T M'), at most 1
//! A:  theta += h/2 m / M'
//! O2: m = c2 m + sqrt(T (1 - c2^2)) sqrt(M') xi,  c2 = c / c1, at most 1
//! A:  theta += h/2 m / M'
//! ```
//!
//! Half a kick, c1, half a kick is B1, and h (1 + c1)/2 times the noise has the variance T (1 - c1^2) M' just when (1 - c1) / (1 + c1) = rho. Folding
//! the gradient's noise into the fluctuation is the idea of Matthews & Weare 2018 (arXiv:1805.08863); the splitting here is our own, with
//! one gradient per step and BAOA itself where v is 0. With u = h^2 (1 + c1) (1 + c2) lambda / (4 M'), eliminating m leaves on a Gaussian
//!
//! ```text
//! theta' = theta + c (theta - theta_before) + h^2 (1 + c1) (1 + c2) / (4 M') grad + noise of the two steps
//! lambda var(theta) = T (1 + e w / (1 - w)),  w = u / (2 (1 + c)),  e = rho (1 + c) / (1 - c)
//! ```
//!
//! e is the noise's share of the fluctuation. w is h^2 omega^2 / 4 and less, and e of first order in h, so that the error is of third order;
//! it is at most a leapfrog's. Momenta have T M' up to the same terms. Where e would be above 1, c2 is 1 and no noise is added: c1 is
//! then smaller than c, more friction than was asked for, and e is 1. Where rho is above 1 the kick's noise is more than the strongest friction takes
//! out: c1 is 0 and that parameter has the temperature rho T ([`NoiseHeat`] counts what is left). Correlations of the noise between parameters and between
//! steps are not made up for.
//!
//! **State.** theta, m, M if one was set, and v if it is known. **Init.** m ~ N(0, T M'), or a constant.
//!
//! **Where it differs.** The book's BAOAB has half a kick at each end; read from the other end of its kick it is
//! this one, and functions of the parameters have the same law. On a Gaussian the parameters and the momenta both
//! have the target's variance, and the covariance h T / 2 in place of 0.

use super::stability::OptimizerPair;
use super::{ChainConfig, FreeMotion, NoiseHeat, Scheme};
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

    fn takes_gradient_noise(&self) -> bool {
        true
    }

    fn default_alpha(&self) -> f64 {
        0.01
    }

    /// Returns a longer step than others have: the heat of the gradient's noise is made up for.
    fn model_step_size(&self) -> f64 {
        1.4e-2
    }

    fn validate(&self, c: &ChainConfig) -> Result<()> {
        if c.alpha <= 0.0 {
            return Err(Error::out_of_range("alpha", "a positive number", c.alpha));
        }
        if c.beta != 0.0 {
            return Err(Error::conflict(format!(
                "beta: baoa takes a variance for each parameter in its place, and {} was given: leave it at 0, and have the variances estimated \
                 (noise_correction diagonal) or give them (set_gradient_noise)",
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

/// Returns the kinetic temperature that the momenta have in equilibrium: T, and where the gradient's noise is made up for, T and what heat is left. Noise
/// that is not known of, and a step that is too long for the target, are not in it.
pub fn expected_kinetic(temperature: f64, heat: Option<&NoiseHeat>) -> f64 {
    temperature * (1.0 + heat.map_or(0.0, |h| h.residual))
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
