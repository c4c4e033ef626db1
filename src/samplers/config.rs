//! A chain's settings: which method, its hyperparameters, how long.

use super::{Adaptation, Method, NoiseCorrection, Schedule, defaults};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The momenta that a chain starts with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Momenta {
    /// N(0, T * sigma^2 * M), what they have in equilibrium. (posteriors draws N(0, 1) whatever T: at T = 1 /
    /// num_data that is too hot by the root of num_data.)
    #[default]
    Thermal,
    /// One number everywhere.
    Constant(f32),
}

/// The friction of a thermostat, which follows the momenta: [`super::sgnht`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thermostat {
    /// The friction coefficient xi.
    pub xi: f64,
    /// The kinetic temperature of its momenta as they are: mean of m^2 / M'.
    pub kinetic: f64,
    /// How many parameters it governs, one after another.
    pub parameters: usize,
}

/// How many thermostats a chain has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thermostats {
    /// One, which the mean kinetic temperature of all parameters moves.
    #[default]
    Global,
    /// One for each tensor, which that tensor's kinetic temperature moves: [`super::Sampler::of_tensors`].
    Tensor,
}

impl Thermostats {
    /// Returns whether it is one for all.
    pub fn is_global(&self) -> bool {
        *self == Self::Global
    }
}

/// A chain's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChainConfig {
    /// The method.
    pub method: Method,
    /// Step size, > 0: of time for the methods with momenta (h), of squared time for SGLD (epsilon).
    pub step_size: f64,
    /// How the step size changes after the warm-up.
    pub schedule: Schedule,
    /// How the temperature changes after the warm-up: any but [`Schedule::Cyclical`].
    pub temperature_schedule: Schedule,
    /// Friction coefficient, > 0: the momentum decays at the rate alpha / sigma^2. For SGNHT, >= 0, the noise that is added. Methods without
    /// momenta want 0.
    pub alpha: f64,
    /// Gradient noise that is already there and need not be added, >= 0: the variance of grad / T, in units of the
    /// mass. BAOA, CCAdL and SGLRW want 0.
    pub beta: f64,
    /// Whether the variance of the gradient's noise is estimated and made up for, parameter by parameter; methods but BAOA and CCAdL want
    /// [`NoiseCorrection::None`].
    #[serde(default, skip_serializing_if = "NoiseCorrection::is_none")]
    pub noise_correction: NoiseCorrection,
    /// The mass and the step that the warm-up finds, for chains on a caller's gradients: [`super::adapt`]; none leaves both as they are set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapt: Option<Adaptation>,
    /// Standard deviation of the momenta at T = 1 and M = 1, > 0: the mass is sigma^2 * M. Methods without momenta want 1.
    pub sigma: f64,
    /// The thermostat at the start, of SGNHT and CCAdL; `None` is alpha. Other methods want `None`.
    pub xi: Option<f64>,
    /// Mass Q of the thermostat, > 0: how slowly the friction follows. Others ignore it.
    pub thermostat_mass: f64,
    /// How many thermostats there are; methods without a thermostat for each tensor want one.
    #[serde(default, skip_serializing_if = "Thermostats::is_global")]
    pub thermostats: Thermostats,
    /// Temperature T of the target exp(log_post / T), >= 0. At 0 there is no noise, and the method is an optimiser (SGLRW wants it above 0).
    pub temperature: f64,
    /// Steps before sampling.
    pub warmup_steps: u64,
    /// Steps of sampling.
    pub sampling_steps: u64,
    /// A sample is due at every `thinning`-th sampling step: at step i, counted from 0, when (i + 1) is a multiple
    /// of it.
    pub thinning: u64,
    /// Seed of the noise and of the initial momenta.
    pub seed: u64,
    /// Which chain of the seed; chains are independent.
    pub chain: u32,
    /// The momenta at the start.
    pub momenta: Momenta,
}

impl ChainConfig {
    /// Creates the settings of a method with its default hyperparameters at T = 1 for 100 steps of warm-up and 5000 of sampling, of which every 100th is
    /// kept, with seed 0: see [`defaults`].
    pub fn new(method: Method, step_size: f64) -> Self {
        Self {
            method,
            step_size,
            schedule: Schedule::Constant,
            temperature_schedule: Schedule::Constant,
            alpha: method.scheme().default_alpha(),
            xi: None,
            thermostat_mass: defaults::THERMOSTAT_MASS,
            thermostats: Thermostats::Global,
            beta: 0.0,
            noise_correction: NoiseCorrection::None,
            adapt: None,
            sigma: 1.0,
            temperature: defaults::TEMPERATURE,
            warmup_steps: defaults::WARMUP_STEPS,
            sampling_steps: defaults::SAMPLING_STEPS,
            thinning: defaults::THINNING,
            seed: 0,
            chain: 0,
            momenta: Momenta::Thermal,
        }
    }

    /// Checks every setting, and that they fit together.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the setting's name, its range and the value; [`Error::Unstable`] when the step is
    /// too large for any target.
    pub fn validate(&self) -> Result<()> {
        let positive = [("step_size", self.step_size), ("sigma", self.sigma)];
        for (name, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::out_of_range(name, "a positive number", value));
            }
        }
        let not_negative = [
            ("alpha", self.alpha),
            ("beta", self.beta),
            ("temperature", self.temperature),
        ];
        for (name, value) in not_negative {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::out_of_range(name, "0 or a positive number", value));
            }
        }
        self.schedule.check(self.sampling_steps)?;
        self.temperature_schedule.check(self.sampling_steps)?;
        if let Schedule::Cyclical { .. } = self.temperature_schedule {
            return Err(Error::conflict(
                "temperature_schedule cannot be cyclical, which is for step sizes: choose constant, linear, cosine or polynomial",
            ));
        }
        if let Schedule::Cyclical { exploration, .. } = self.schedule
            && exploration > 0.0
            && !self.method.scheme().can_explore()
        {
            return Err(Error::conflict(format!(
                "exploration must be 0 for {}, which cannot run at temperature 0",
                self.method
            )));
        }
        self.validate_for_the_method()?;
        if let Some(adapt) = &self.adapt {
            adapt.check(self)?;
        }
        if self.thinning == 0 || (self.sampling_steps > 0 && self.thinning > self.sampling_steps) {
            let expected = format!("1 to sampling_steps ({})", self.sampling_steps);
            return Err(Error::out_of_range("thinning", expected, self.thinning));
        }
        if self.warmup_steps.checked_add(self.sampling_steps).is_none() {
            let expected = "warmup_steps + sampling_steps below 2^64";
            return Err(Error::out_of_range(
                "sampling_steps",
                expected,
                self.sampling_steps,
            ));
        }
        self.method.scheme().validate(self)
    }

    /// Checks that the method has what is set.
    fn validate_for_the_method(&self) -> Result<()> {
        if self.xi.is_some() && !self.method.has_thermostat() {
            return Err(Error::conflict(format!(
                "xi sets a thermostat, and {} has none: leave it out",
                self.method
            )));
        }
        if !self.noise_correction.is_none() && !self.method.scheme().takes_gradient_noise() {
            return Err(Error::conflict(format!(
                "noise_correction: {} cannot make up for the gradient's noise: choose none, or the method baoa or ccadl",
                self.method
            )));
        }
        if !self.thermostats.is_global() && !self.method.scheme().has_tensor_thermostats() {
            return Err(Error::conflict(format!(
                "thermostat: {} has none for each tensor: choose global, or the method sgnht or ccadl",
                self.method
            )));
        }
        if let Momenta::Constant(value) = self.momenta {
            if !self.method.has_momenta() {
                return Err(Error::conflict(format!(
                    "momenta cannot be set for {}, which has none: leave them thermal",
                    self.method
                )));
            }
            if !value.is_finite() {
                return Err(Error::out_of_range("momenta", "a finite number", value));
            }
        }
        Ok(())
    }

    /// Returns why a longer run begins with other steps; `None` where it begins with the same, bit for bit.
    pub fn length_matters(&self) -> Option<&'static str> {
        if self.schedule.depends_on_steps() {
            Some("the schedule of the step size depends on it")
        } else if self.temperature_schedule.depends_on_steps() {
            Some("the schedule of the temperature depends on it")
        } else {
            None
        }
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.warmup_steps.saturating_add(self.sampling_steps)
    }

    /// Samples that fall due in the whole run.
    pub fn num_samples(&self) -> u64 {
        let due = self.sampling_steps / self.thinning.max(1);
        match self.schedule {
            Schedule::Cyclical { .. } => {
                let last = |i: &u64| self.warmup_steps + i * self.thinning - 1;
                (1..=due).filter(|i| !self.explores(last(i))).count() as u64
            }
            _ => due,
        }
    }

    /// Returns whether a step of the run, counted from 0, explores: it adds no noise, and gives no sample.
    pub fn explores(&self, step: u64) -> bool {
        step.checked_sub(self.warmup_steps)
            .is_some_and(|i| self.schedule.explores(i, self.sampling_steps))
    }

    /// Returns the rate at which momenta decay, alpha / sigma^2 (SGNHT: at the start, xi / sigma^2); `None` without momenta.
    pub fn friction_rate(&self) -> Option<f64> {
        self.method
            .has_momenta()
            .then(|| self.xi.unwrap_or(self.alpha) / (self.sigma * self.sigma))
    }

    /// Returns the friction rate gamma (0 without momenta) and the squared frequency omega^2 = lambda / M' in a direction of curvature lambda.
    pub(super) fn friction_and_frequency(&self, lambda_over_mass: f64) -> (f64, f64) {
        let gamma = self.friction_rate().unwrap_or(0.0);
        (gamma, lambda_over_mass / (self.sigma * self.sigma))
    }

    /// Returns the settings of one step of the run, counted from 0: with the step size and the temperature that it has by the schedules.
    pub fn at(&self, step: u64) -> Self {
        Self {
            step_size: self.step_size_at(step),
            temperature: self.temperature_at(step),
            ..self.clone()
        }
    }

    /// Returns the step size at a step of the run, counted from 0.
    pub fn step_size_at(&self, step: u64) -> f64 {
        match step.checked_sub(self.warmup_steps) {
            Some(i) => self.step_size * self.schedule.factor(i, self.sampling_steps),
            None => self.step_size,
        }
    }

    /// Returns the temperature at a step of the run, counted from 0; while the step explores, 0.
    pub fn temperature_at(&self, step: u64) -> f64 {
        let factor = |i| {
            if self.schedule.explores(i, self.sampling_steps) {
                0.0
            } else {
                self.temperature_schedule.factor(i, self.sampling_steps)
            }
        };
        self.temperature * step.checked_sub(self.warmup_steps).map_or(1.0, factor)
    }
}
