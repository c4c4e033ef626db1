//! CCAdL: covariance-controlled adaptive Langevin dynamics, a thermostat for what an estimate of the gradient's noise leaves.
//!
//! **Target.** That of [`super::sgnht`], whose thermostat has to make one friction do for all of the gradient's noise. Here each parameter has the
//! friction that its noise is estimated to need, and the thermostat takes the rest: what the estimate missed on average.
//!
//! **Dynamics** (Shang, Zhu, Leimkuhler & Storkey 2015, "Covariance-controlled adaptive Langevin thermostat for large-scale Bayesian sampling",
//! arXiv:1510.08692), with v_i the variance of the gradient's noise, which a step of size h turns into noise of the rate h v:
//!
//! ```text
//! dtheta = m / M' dt
//! dm = grad dt - h v / (2 T M') m dt - xi / sigma^2 m dt + sqrt(2 alpha T M) dW
//! dxi = (mean(m^2 / M') - T) / Q dt
//! ```
//!
//! **Update.** [`super::sgnht`]'s BADODAB, with the noise's friction in the middle of the kick as in [`super::baoa`]: c1 = (1 - rho) / (1 + rho), rho = h^2
//! v / (4 T M'), at most 1, which is exp(-h times the second term's rate) up to third order.
//!
//! ```text
//! B1: m = c1 m + (1 + c1)/2 h grad
//! A: theta += h/2 m / M'
//! D: xi += h/2 (mean(m^2 / M') - T) / Q
//! O: m = c m + sqrt(2 T alpha (1 - c^2) / (2 gamma)) sqrt(M) z,  gamma = xi / sigma^2, c = exp(-gamma h), z ~ N(0, 1)
//! D: xi += h/2 (mean(m^2 / M') - T) / Q
//! A: theta += h/2 m / M'
//! ```
//!
//! **Hyperparameters.** `step_size`, `alpha`, `sigma`, `temperature`, `xi` and `thermostat_mass` as in [`super::sgnht`]; `beta` must be 0: v takes its place,
//! given by [`Sampler::set_gradient_noise`](super::Sampler::set_gradient_noise) or estimated ([`NoiseCorrection::Diagonal`](super::NoiseCorrection)). Where v is 0, or T is, it
//! is [`super::sgnht`].
//!
//! **State.** theta, m, xi, v if it is known, and M if one was set. **Init.** m ~ N(0, T M'), or a constant.
//!
//! **In equilibrium.** With the right v the kick is in balance with its own friction, xi settles near alpha, and on a Gaussian the parameters of one
//! direction are off at fifth order in h. With v off by a factor xi takes up the difference, above alpha where v is too small, and the error is of
//! third order; [`super::baoa`] is then off at first order. Where the factor, or noise over mass, differs between parameters, the one xi holds the mean temperature alone; a thermostat for each
//! tensor ([`Thermostats`](super::Thermostats)) does so tensor by tensor. Where rho is above 1, c1 is 0 and that parameter is too hot.
//!
//! **Where it differs.** The paper's algorithm is an explicit step of first order that takes the whole covariance matrix of the noise or its diagonal, estimated
//! from each minibatch's gradients; this has the diagonal alone, and positions that are right to a higher order. The paper has sigma = 1 and
//! T = 1, and its thermostat's mass is that of [`super::sgnht`]'s paper.

use super::scheme::{Kinetic, validate_thermostat};
use super::stability::OptimizerPair;
use super::{ChainConfig, FreeMotion, Scheme, Thermostat, baoa, sgnht};
use crate::backend::vectors::Rule;
use crate::error::{Error, Result};

/// The method.
pub struct Ccadl;

impl Scheme for Ccadl {
    fn name(&self) -> &'static str {
        "ccadl"
    }

    fn description(&self) -> &'static str {
        "covariance-controlled adaptive Langevin thermostat (diagonal noise, BADODAB)"
    }

    fn has_thermostat(&self) -> bool {
        true
    }

    fn has_tensor_thermostats(&self) -> bool {
        true
    }

    fn takes_gradient_noise(&self) -> bool {
        true
    }

    fn default_alpha(&self) -> f64 {
        sgnht::Sgnht.default_alpha()
    }

    fn validate(&self, c: &ChainConfig) -> Result<()> {
        validate_thermostat(c)?;
        if c.beta != 0.0 {
            return Err(Error::conflict(format!(
                "beta: ccadl takes a variance for each parameter in its place, and {} was given: leave it at 0, and have the variances estimated \
                 (noise_correction diagonal) or give them (set_gradient_noise)",
                c.beta
            )));
        }
        Ok(())
    }

    fn rule(&self, c: &ChainConfig, xi: f64) -> Rule {
        sgnht::Sgnht.rule(c, xi)
    }

    fn follow(&self, c: &ChainConfig, now: Thermostat, kinetic: Kinetic) -> Thermostat {
        sgnht::Sgnht.follow(c, now, kinetic)
    }

    fn expected_kinetic(&self, c: &ChainConfig) -> Option<f64> {
        Some(c.temperature)
    }

    fn free_motion(&self, c: &ChainConfig) -> FreeMotion {
        baoa::free_motion(c)
    }

    fn stability_limit(&self, c: &ChainConfig, lambda_over_mass: f64) -> f64 {
        baoa::stability_limit(c, lambda_over_mass)
    }

    /// Returns [`baoa`]'s pair at the friction that the chain starts with; that of the noise comes on top.
    fn optimizer_pair(&self, c: &ChainConfig, num_data: f64) -> OptimizerPair {
        baoa::optimizer_pair(c, num_data)
    }

    fn friction_for_momentum(&self, momentum: f64) -> Option<f64> {
        Some(-momentum.ln())
    }
}
