//! SGNHT by explicit Euler, as posteriors has it: to compare with it, not to sample with.
//!
//! **Target.** As [`super::sgnht_ding`], with an error of first order in h.
//!
//! **Update.** All three lines of [`super::sgnht_ding`] from the old state:
//!
//! ```text
//! theta' = theta + h m / M'
//! m' = m + h grad(theta) - h xi / sigma^2 m + sqrt(h T (2 alpha - h T beta)) sqrt(M) z,  z ~ N(0, 1)
//! xi' = xi + h (mean(m^2 / M') - T) / Q
//! ```
//!
//! **Hyperparameters, state, init.** As [`super::sgnht_ding`]. (posteriors takes an explicit xi of 0 for alpha.)

use super::scheme::Kinetic;
use super::stability::OptimizerPair;
use super::{ChainConfig, FreeMotion, Scheme, Thermostat, sghmc, sghmc_euler, sgnht_ding};
use crate::backend::vectors::Rule;
use crate::error::Result;

/// The method.
pub struct SgnhtEuler;

impl Scheme for SgnhtEuler {
    fn name(&self) -> &'static str {
        "sgnht_euler"
    }

    fn description(&self) -> &'static str {
        "SGNHT by explicit Euler, for comparison with other programs"
    }

    fn has_thermostat(&self) -> bool {
        true
    }

    fn default_alpha(&self) -> f64 {
        sgnht_ding::SgnhtDing.default_alpha()
    }

    fn validate(&self, c: &ChainConfig) -> Result<()> {
        sgnht_ding::SgnhtDing.validate(c)
    }

    fn rule(&self, c: &ChainConfig, xi: f64) -> Rule {
        Rule::SghmcEuler(sgnht_ding::coefficients(c, xi))
    }

    fn follow(&self, c: &ChainConfig, now: Thermostat, kinetic: Kinetic) -> Thermostat {
        let (h, t) = (
            c.step_size,
            self.expected_kinetic(c).unwrap_or(c.temperature),
        );
        Thermostat {
            xi: now.xi + h * (now.kinetic - t) / c.thermostat_mass,
            kinetic: kinetic.after,
            ..now
        }
    }

    /// Returns T, at which the thermostat holds the momenta.
    fn expected_kinetic(&self, c: &ChainConfig) -> Option<f64> {
        Some(c.temperature)
    }

    fn free_motion(&self, c: &ChainConfig) -> FreeMotion {
        FreeMotion::with_momenta(c.temperature, sghmc::kept(c), c.step_size, 0.0)
    }

    /// Returns [`sghmc_euler`]'s limit at the friction that the chain starts with.
    fn stability_limit(&self, c: &ChainConfig, lambda_over_mass: f64) -> f64 {
        sghmc_euler::stability_limit(c, lambda_over_mass)
    }

    fn optimizer_pair(&self, c: &ChainConfig, num_data: f64) -> OptimizerPair {
        sghmc::optimizer_pair(c, num_data)
    }

    fn friction_for_momentum(&self, momentum: f64) -> Option<f64> {
        Some(1.0 - momentum)
    }
}
