//! SGNHT: the stochastic gradient Nosé-Hoover thermostat, adaptive Langevin dynamics by the BADODAB splitting.
//!
//! **Target.** pi(theta, m, xi) ~ exp((log_post(theta) - sum m^2 / (2 M') - d Q (xi - alpha)^2 / (2 sigma^2)) / T), with the mass M' =
//! sigma^2 M, d parameters and the thermostat's mass Q: xi has the variance T sigma^2 / (d Q). Gradient noise that nobody knows heats the
//! momenta; the thermostat raises the friction xi / sigma^2 until they have the temperature T again.
//!
//! **Update** (Leimkuhler & Shang 2016, "Adaptive thermostats for noisy gradient systems", the method BADODAB: its letters are kick B, drift
//! A, thermostat D and Ornstein-Uhlenbeck O), with gamma = xi / sigma^2 and c = exp(-gamma h):
//!
//! ```text
//! B: m += h grad
//! A: theta += h/2 m / M'
//! D: xi += h/2 (mean(m^2 / M') - T) / Q
//! O: m = c m + sqrt(T (2 alpha - h T beta) (1 - c^2) / (2 gamma)) sqrt(M) z,  z ~ N(0, 1)
//! D: xi += h/2 (mean(m^2 / M') - T) / Q
//! A: theta += h/2 m / M'
//! ```
//!
//! When gamma goes to 0, (1 - c^2) / (2 gamma) goes to h; xi may be negative, and then O drives.
//!
//! **Hyperparameters.**
//! - `step_size` (h) > 0; no default: stable for h^2 omega^2 < 4, omega^2 = curvature / M', while xi >= 0.
//! - `alpha` >= 0, default 0.01: the noise that is added, which is the friction without gradient noise; at 0 the gradient's noise is all
//!   there is.
//! - `beta`, `sigma`, `temperature` as [`super::sghmc`].
//! - `xi`: the thermostat at the start, default alpha.
//! - `thermostat_mass` (Q) > 0, default 1: how slowly the friction follows. With strong friction it relaxes at the rate T / (Q xi), and a
//!   run must be many times longer than Q xi / T.
//!
//! **State.** theta, m, xi, and M if one was set. **Init.** m ~ N(0, T M'), or a constant.
//!
//! **In equilibrium** the mean of the two D is 0. On a Gaussian of many coordinates with white gradient noise of variance V, the momenta's
//! temperature is T + e after B and T - e after O, and that of the parameters
//!
//! ```text
//! curvature * var(theta) = T - e/2 tanh(gamma h / 2),  e = h^2 V / (2 M' (1 - h^2 omega^2 / 4))
//! ```
//!
//! with gamma that of O; a step ends with an xi that is lower by h e / (2 Q). This is T up to third order in h, and T exactly where the
//! gradient has no noise. On other targets the law of the parameters has an error of second order.
//!
//! **Where it differs.** The paper's splitting has half a kick at each end; a step that uses one gradient, at the parameters that the caller
//! sees, reads it from the other end of its kick, and functions of the parameters have the same law ([`super::baoa`] does so too). The
//! paper's thermal mass mu is d Q sigma^2 here. The paper has no beta.

use super::scheme::{Kinetic, validate_thermostat};
use super::stability::OptimizerPair;
use super::{ChainConfig, FreeMotion, Scheme, Thermostat, baoa, sghmc};
use crate::backend::vectors::{Badodab, Rule};
use crate::error::Result;

/// The method.
pub struct Sgnht;

impl Scheme for Sgnht {
    fn name(&self) -> &'static str {
        "sgnht"
    }

    fn description(&self) -> &'static str {
        "stochastic gradient Nosé-Hoover thermostat (adaptive Langevin, BADODAB)"
    }

    fn has_thermostat(&self) -> bool {
        true
    }

    fn has_tensor_thermostats(&self) -> bool {
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
        let (h, t, precision) = (c.step_size, c.temperature, 1.0 / (c.sigma * c.sigma));
        Rule::Badodab(Badodab {
            kick: h as f32,
            drift: (0.5 * h * precision) as f32,
            precision,
            xi,
            follow: 0.5 * h / c.thermostat_mass,
            temperature: t,
            decay: h * precision,
            variance: h * t * (2.0 * c.alpha - h * t * c.beta),
        })
    }

    fn follow(&self, c: &ChainConfig, now: Thermostat, kinetic: Kinetic) -> Thermostat {
        let t = self.expected_kinetic(c).unwrap_or(c.temperature);
        let follow = 0.5 * c.step_size / c.thermostat_mass;
        Thermostat {
            xi: now.xi + follow * (kinetic.kicked - t) + follow * (kinetic.after - t),
            kinetic: kinetic.after,
            ..now
        }
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

    /// Returns [`baoa`]'s pair at the friction that the chain starts with.
    fn optimizer_pair(&self, c: &ChainConfig, num_data: f64) -> OptimizerPair {
        baoa::optimizer_pair(c, num_data)
    }

    fn friction_for_momentum(&self, momentum: f64) -> Option<f64> {
        Some(-momentum.ln())
    }
}
