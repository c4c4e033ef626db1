//! What a sampling method is: the questions that a chain asks of it, each answered in the method's own file.

use super::stability::OptimizerPair;
use super::{ChainConfig, FreeMotion, Thermostat};
use crate::backend::vectors::Rule;
use crate::error::{Error, Result};

/// A sampling method. Each has a unit struct in its own file, and a line in the list of [`super::Method`].
///
/// A `ChainConfig` given to a method is that of one step: its step size and temperature are those of the step.
pub trait Scheme: Sync {
    /// Returns the name in flags, options and files.
    fn name(&self) -> &'static str;

    /// Returns what the method is, in one line.
    fn description(&self) -> &'static str;

    /// Returns whether the state has momenta.
    fn has_momenta(&self) -> bool {
        true
    }

    /// Returns whether the state has a thermostat: a friction xi that follows the momenta.
    fn has_thermostat(&self) -> bool {
        false
    }

    /// Returns whether the state may have a thermostat for each tensor.
    fn has_tensor_thermostats(&self) -> bool {
        false
    }

    /// Whether a cyclical schedule may run it at T = 0 for a while: a thermostat would freeze the chain for good.
    fn can_explore(&self) -> bool {
        !self.has_thermostat()
    }

    /// Returns whether a step can make up for gradient noise of known variances, one per parameter.
    fn takes_gradient_noise(&self) -> bool {
        false
    }

    /// Returns the friction coefficient where none is given.
    fn default_alpha(&self) -> f64;

    /// Returns the step size for a GPT's posterior where none is given, per unit of the mass that [`super::Preconditioner::Rms`] estimates.
    fn model_step_size(&self) -> f64 {
        4.5e-3
    }

    /// Checks what [`ChainConfig::validate`] leaves to the method.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a setting that the method does not take, [`Error::Unstable`] for a step that is too large for any target.
    fn validate(&self, c: &ChainConfig) -> Result<()>;

    /// Returns the update of one step, with the thermostat at `xi` (0 without one).
    fn rule(&self, c: &ChainConfig, xi: f64) -> Rule;

    /// Returns the thermostat after a step with these kinetic temperatures.
    fn follow(&self, _c: &ChainConfig, now: Thermostat, _kinetic: Kinetic) -> Thermostat {
        now
    }

    /// Returns the kinetic temperature after a step, of momenta that have settled where there is no force: T, but for an error of the friction's own
    /// step, which does not reach the positions. Thermostats steer towards it, and verdicts compare with it. `None` without momenta.
    fn expected_kinetic(&self, c: &ChainConfig) -> Option<f64>;

    /// Returns how a step moves a parameter where there is no force: [`super::free`].
    fn free_motion(&self, c: &ChainConfig) -> FreeMotion;

    /// Returns the largest stable step size in a direction of curvature lambda over the mass M (without sigma), 0 or more; infinite where nothing
    /// limits it. The friction is 0 or more.
    fn stability_limit(&self, c: &ChainConfig, lambda_over_mass: f64) -> f64;

    /// Returns the pair that an optimiser would call this step: [`super::stability::optimizer_pair`].
    fn optimizer_pair(&self, c: &ChainConfig, num_data: f64) -> OptimizerPair;

    /// Returns the share of the friction, gamma h, at which the optimiser's pair has this momentum, in (0, 1); `None` without momenta.
    fn friction_for_momentum(&self, momentum: f64) -> Option<f64>;

    /// Returns the relative error of a temperature that the step makes, by the mean kinetic temperature and the mean of grad^2 / M' over some
    /// steps: [`super::auto_step`]. `None` where a step is not too long for a large gradient, so that no step size can be found by it.
    fn temperature_error(&self, c: &ChainConfig, kinetic: f64, force: f64) -> Option<f64> {
        let heat = kinetic / self.expected_kinetic(c)? - 1.0;
        Some(heat.abs().max(leapfrog_error(c, force)))
    }
}

/// Kinetic temperatures of one step, each the mean of m^2 / M' over the parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kinetic {
    /// Kinetic temperature of the momenta after the kick, where the rule takes it ([`Rule::Badodab`]); else 0.
    pub kicked: f64,
    /// Kinetic temperature of the momenta after the step.
    pub after: f64,
}

/// Returns how far a leapfrog's kinetic temperature is off in the middle of its kick, h^2 force / (4 T).
pub(super) fn leapfrog_error(c: &ChainConfig, force: f64) -> f64 {
    c.step_size * c.step_size * force / (4.0 * c.temperature)
}

/// Refuses a setting of thermostats that is out of range.
pub(super) fn validate_thermostat(c: &ChainConfig) -> Result<()> {
    if let Some(xi) = c.xi
        && !xi.is_finite()
    {
        return Err(Error::out_of_range("xi", "a finite number", xi));
    }
    if !(c.thermostat_mass > 0.0 && c.thermostat_mass.is_finite()) {
        let (name, expected) = ("thermostat_mass", "a positive number");
        return Err(Error::out_of_range(name, expected, c.thermostat_mass));
    }
    Ok(())
}
