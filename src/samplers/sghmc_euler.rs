//! SGHMC by explicit Euler, as posteriors, blackjax and SGMCMCJax have it: to compare with them, not to sample with.
//!
//! **Target.** As [`super::sghmc`], with an error of first order in h: for a unit Gaussian at h = 0.1 and alpha = 1
//! the variance is 1.114, where the semi-implicit form has 1.003.
//!
//! **Update.** Explicit Euler of Chen, Fox & Guestrin 2014, eq. 13, both lines from the old state:
//!
//! ```text
//! theta' = theta + h m / M'
//! m' = m + h grad(theta) - h gamma m + sqrt(h T (2 alpha - h T beta)) sqrt(M) xi,  xi ~ N(0, 1)
//! ```
//!
//! **Hyperparameters.** As [`super::sghmc`]; stable only for h omega^2 < gamma and gamma h < 2, so that a stiff
//! direction (a tight prior) needs strong friction.
//!
//! **State, init.** As [`super::sghmc`].

use super::stability::OptimizerPair;
use super::{ChainConfig, FreeMotion, Scheme, sghmc};
use crate::backend::vectors::Rule;
use crate::error::Result;

/// The method.
pub struct SghmcEuler;

impl Scheme for SghmcEuler {
    fn name(&self) -> &'static str {
        "sghmc_euler"
    }

    fn description(&self) -> &'static str {
        "SGHMC by explicit Euler, for comparison with other programs"
    }

    fn default_alpha(&self) -> f64 {
        sghmc::Sghmc.default_alpha()
    }

    fn validate(&self, c: &ChainConfig) -> Result<()> {
        sghmc::validate(c)
    }

    fn rule(&self, c: &ChainConfig, _xi: f64) -> Rule {
        Rule::SghmcEuler(sghmc::coefficients(c))
    }

    fn stability_limit(&self, c: &ChainConfig, lambda_over_mass: f64) -> f64 {
        stability_limit(c, lambda_over_mass)
    }

    /// Returns the optimiser pair of [`sghmc`]; each gradient is used one step late.
    fn optimizer_pair(&self, c: &ChainConfig, num_data: f64) -> OptimizerPair {
        sghmc::optimizer_pair(c, num_data)
    }

    fn friction_for_momentum(&self, momentum: f64) -> Option<f64> {
        Some(1.0 - momentum)
    }

    fn expected_kinetic(&self, c: &ChainConfig) -> Option<f64> {
        Some(sghmc::expected_kinetic(c))
    }

    fn free_motion(&self, c: &ChainConfig) -> FreeMotion {
        let (kinetic, keep) = (sghmc::expected_kinetic(c), sghmc::kept(c));
        FreeMotion::with_momenta(kinetic, keep, c.step_size, 0.0)
    }
}

/// Returns the largest stable step size, from h omega^2 < gamma, and in flat directions from gamma h < 2.
pub(super) fn stability_limit(c: &ChainConfig, lambda_over_mass: f64) -> f64 {
    let (gamma, omega2) = c.friction_and_frequency(lambda_over_mass);
    (gamma / omega2).min(2.0 / gamma)
}
