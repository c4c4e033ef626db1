//! SGNHT as Ding et al. published it: to compare with, since [`super::sgnht`] does the same with less bias.
//!
//! **Target.** pi(theta, m, xi) ~ exp((log_post(theta) - sum m^2 / (2 M') - d Q (xi - alpha)^2 / (2 sigma^2)) / T), with the mass M' =
//! sigma^2 M, d parameters and the thermostat's mass Q: xi has the variance T sigma^2 / (d Q). Gradient noise that nobody knows heats the
//! momenta; the thermostat raises the friction xi / sigma^2 until they have the temperature T again.
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
//! the gradient's noise. **That of the parameters is not**: on a Gaussian it is below T at first order in h, about T (1 - gamma h / 2) with gamma =
//! xi / sigma^2: 0.947 T for alpha h / sigma^2 = 0.1, an optimiser's momentum of 0.9. With many parameters xi hardly moves, and the chain is SGHMC with that friction, at the
//! temperature at which SGHMC's momenta would have T.
//!
//! **Where it differs.** The paper has unit masses (Q = 1), T = 1 and no beta. posteriors takes position and thermostat from the old momenta, that
//! is explicit Euler: [`super::sgnht_euler`].

use super::scheme::{Kinetic, validate_thermostat};
use super::stability::OptimizerPair;
use super::{ChainConfig, FreeMotion, Scheme, Thermostat, sghmc};
use crate::backend::vectors::{Coefficients, Rule};
use crate::error::Result;

/// The method.
pub struct SgnhtDing;

impl Scheme for SgnhtDing {
    fn name(&self) -> &'static str {
        "sgnht_ding"
    }

    fn description(&self) -> &'static str {
        "SGNHT as Ding et al. (2014) have it, for comparison"
    }

    fn has_thermostat(&self) -> bool {
        true
    }

    fn default_alpha(&self) -> f64 {
        0.01
    }

    fn validate(&self, c: &ChainConfig) -> Result<()> {
        validate_thermostat(c)?;
        sghmc::validate_noise(c)
    }

    fn rule(&self, c: &ChainConfig, xi: f64) -> Rule {
        Rule::Sghmc(coefficients(c, xi))
    }

    fn follow(&self, c: &ChainConfig, now: Thermostat, kinetic: Kinetic) -> Thermostat {
        let (h, t) = (
            c.step_size,
            self.expected_kinetic(c).unwrap_or(c.temperature),
        );
        Thermostat {
            xi: now.xi + h * (kinetic.after - t) / c.thermostat_mass,
            kinetic: kinetic.after,
            ..now
        }
    }

    /// Returns T, at which the thermostat holds the momenta, and not what momenta of that friction would have by themselves.
    fn expected_kinetic(&self, c: &ChainConfig) -> Option<f64> {
        Some(c.temperature)
    }

    fn free_motion(&self, c: &ChainConfig) -> FreeMotion {
        FreeMotion::with_momenta(c.temperature, sghmc::kept(c), 0.0, c.step_size)
    }

    /// Returns [`sghmc`]'s limit at the friction that the chain starts with.
    fn stability_limit(&self, c: &ChainConfig, lambda_over_mass: f64) -> f64 {
        sghmc::stability_limit(c, lambda_over_mass)
    }

    fn optimizer_pair(&self, c: &ChainConfig, num_data: f64) -> OptimizerPair {
        sghmc::optimizer_pair(c, num_data)
    }

    fn friction_for_momentum(&self, momentum: f64) -> Option<f64> {
        Some(1.0 - momentum)
    }
}

pub(super) fn coefficients(c: &ChainConfig, xi: f64) -> Coefficients {
    let h = c.step_size;
    Coefficients {
        friction: (h * xi / (c.sigma * c.sigma)) as f32,
        ..sghmc::coefficients(c)
    }
}
