//! SGNHT: the stochastic gradient Nosé-Hoover thermostat, whose friction follows the momenta's temperature.
//!
//! **Target.** pi(theta, m, xi) ~ exp((log_post(theta) - sum m^2 / (2 M') - d Q (xi - alpha)^2 / (2 sigma^2)) / T), with the mass M' =
//! sigma^2 M, d parameters and the thermostat's mass Q: xi has the variance T sigma^2 / (d Q). Noise in the gradient that nobody knows of raises the friction just as much as it heats: xi settles where the kinetic
//! temperature is T.
//!
//! **Update** (Ding et al. 2014, "Bayesian sampling using stochastic gradient thermostats", algorithm 2), one thermostat for all
//! coordinates:
//!
//! ```text
//! m += h grad - h xi / sigma^2 m + sqrt(h T (2 alpha - h T beta)) sqrt(M) z,  z ~ N(0, 1)
//! theta += h m / M'
//! xi += h (mean(m^2 / M') - T) / Q
//! ```
//!
//! **Hyperparameters.**
//! - `step_size` (h) > 0; stable as [`super::sghmc`] with gamma = xi / sigma^2.
//! - `alpha` >= 0, default 0.01: the noise that is added; at 0 the gradient's own is all there is.
//! - `beta`, `sigma`, `temperature` as [`super::sghmc`].
//! - `xi`: the thermostat at the start, default alpha (its value in equilibrium without gradient noise); 0 is 0.
//! - `thermostat_mass` (Q) > 0, default 1: how slowly the friction follows. With strong friction it relaxes at the rate T / (Q xi), and a run
//!   must be many times longer than Q xi / T.
//!
//! **State.** theta, m, xi, and M if one was set. **Init.** m ~ N(0, T M'), or a constant.
//!
//! **In equilibrium** the mean of the thermostat's last line is 0, so that the kinetic temperature is T exactly, whatever the step size and
//! the gradient's noise. With many parameters xi hardly moves, and the chain is SGHMC with that friction.
//!
//! **Where it differs.** The paper has unit masses (Q = 1), T = 1 and no beta. posteriors takes position and thermostat from the old momenta, that
//! is explicit Euler: [`super::sgnht_euler`].

use super::sghmc;
use super::{Config, Thermostat};
use crate::backend::vectors::{Coefficients, Rule};
use crate::error::{Error, Result};

/// Default noise coefficient.
pub const ALPHA: f64 = 0.01;

pub(super) fn validate(c: &Config) -> Result<()> {
    if let Some(xi) = c.xi
        && !xi.is_finite()
    {
        return Err(Error::invalid("xi", "a finite number", xi));
    }
    if !(c.thermostat_mass > 0.0 && c.thermostat_mass.is_finite()) {
        let expected = "a positive number";
        return Err(Error::invalid(
            "thermostat_mass",
            expected,
            c.thermostat_mass,
        ));
    }
    sghmc::validate_noise(c)
}

pub(super) fn rule(c: &Config, h: f64, xi: f64) -> Rule {
    Rule::Sghmc(coefficients(c, h, xi))
}

pub(super) fn coefficients(c: &Config, h: f64, xi: f64) -> Coefficients {
    Coefficients {
        friction: (h * xi / (c.sigma * c.sigma)) as f32,
        ..sghmc::coefficients(c, h)
    }
}

/// The thermostat after a step of size h that left the kinetic temperature `kinetic`.
pub(super) fn follow(c: &Config, h: f64, now: Thermostat, kinetic: f64) -> Thermostat {
    Thermostat {
        xi: now.xi + h * (kinetic - c.temperature) / c.thermostat_mass,
        kinetic,
    }
}
