//! SGNHT by explicit Euler, as posteriors has it: to compare with it, not to sample with.
//!
//! **Target.** As [`super::sgnht`], with an error of first order in h.
//!
//! **Update.** All three lines of [`super::sgnht`] from the old state:
//!
//! ```text
//! theta' = theta + h m / M'
//! m' = m + h grad(theta) - h xi / sigma^2 m + sqrt(h T (2 alpha - h T beta)) sqrt(M) z,  z ~ N(0, 1)
//! xi' = xi + h (mean(m^2 / M') - T) / Q
//! ```
//!
//! **Hyperparameters, state, init.** As [`super::sgnht`]. (posteriors takes an explicit xi of 0 for alpha.)

use super::{Config, Thermostat, sgnht};
use crate::backend::vectors::Rule;
use crate::error::Result;

/// Default noise coefficient.
pub const ALPHA: f64 = sgnht::ALPHA;

pub(super) fn validate(c: &Config) -> Result<()> {
    sgnht::validate(c)
}

pub(super) fn rule(c: &Config, h: f64, xi: f64) -> Rule {
    Rule::SghmcEuler(sgnht::coefficients(c, h, xi))
}

/// The thermostat after a step of size h that left the kinetic temperature `kinetic`.
pub(super) fn follow(c: &Config, h: f64, now: Thermostat, kinetic: f64) -> Thermostat {
    Thermostat {
        xi: now.xi + h * (now.kinetic - c.temperature) / c.thermostat_mass,
        kinetic,
    }
}
