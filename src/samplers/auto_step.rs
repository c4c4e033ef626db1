//! A step size from an error budget, found while the chain warms up and then frozen.
//!
//! **The error.** Relative, of a temperature, from two numbers that every step has at hand, with K the kinetic temperature and
//! kappa = mean(grad^2 / M'):
//!
//! | method | error e | what it sees |
//! |---|---|---|
//! | with momenta | max(abs(K / K_0 - 1), h^2 kappa / (4 T)) | heating by the gradient's noise; the step |
//! | SGLD | epsilon kappa / (2 T), M for M' | both |
//!
//! K_0 is what momenta without a force have ([`Scheme::expected_kinetic`](super::Scheme::expected_kinetic)): T; with SGHMC
//! T / (1 - gamma h / 2), whose friction step is Euler's. That part does not reach the positions and no step size mends it while the momentum stays, so it is no error here.
//!
//! On a Gaussian with curvature lambda, E grad^2 = T lambda + V with V the variance of the gradient's noise. So h^2 kappa / (4 T) is
//! h^2 omega^2 / 4 + h^2 V / (4 M' T), omega^2 = lambda / M': the first is what a leapfrog (BAOAB) is off in the kinetic temperature at the middle of its
//! kick. Of the noise that BAOA makes up for ([`super::gradient_noise`]) the mean of v / M' is taken off kappa: it is no error. BAOA's own two temperatures are exact on a Gaussian whatever the step ([`super::baoa`]), which is why comparing those two alone could not
//! find a step for it. SGLD's variance is too large by 1 / (1 - e) there, and by V's part besides:
//! epsilon lambda / 2 + epsilon V / (2 T M), which is e to first order.
//!
//! All are means over parameters: a few stiff directions can be off by far more than e. Where the gradient's noise is made up for, e is not below the
//! mean heating that is left of it ([`NoiseHeat::residual`](super::NoiseHeat)).
//!
//! **Ceilings.** What the means do not see is left to two of them. The step grows to at most [`AutoStep::at_most`] times the one that was given. And where
//! the largest curvature per mass is known ([`AutoStep::limit_curvature`]), the step is at most 0.95 times the largest that is stable in that direction
//! ([`super::stability::stability_limit`]): with BAOA h omega is at most 1.9, and w = h^2 omega^2 / 4 of its error e w / (1 - w) at most 0.9. A step above a
//! ceiling comes down to it before it is made.
//!
//! **The search.** Four fifths of the warm-up are cut into eight windows. After each h is multiplied with (budget / e)^(1/2) (SGLD: the first power),
//! at least 1/4 and at most 2, e from the second half of the window. The last fifth forgets the changes; from then on nothing moves. Everything is a
//! function of the chain's own numbers, so a run repeats bit for bit.
//!
//! **Friction.** With `keep_momentum` alpha is divided by what h is multiplied with, so that the optimiser's momentum stays
//! ([`super::stability::optimizer_pair`]). Else it stays itself. A step that the settings do not allow is not made: h then stays.

use super::{ChainConfig, Phase, Sampler, StepReport, stability};
use crate::backend::Vectors;
use crate::backend::vectors::RangeMoments;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Windows, each of which ends with a new step size.
const WINDOWS: u64 = 8;

/// The share of the largest stable step that a search may take.
const STABLE_SHARE: f64 = 0.95;

/// The search's whole state as plain data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AutoStepState {
    /// The step size as it is now.
    pub step_size: f64,
    /// The friction coefficient alpha as it is now.
    pub alpha: f64,
    /// The error in the last window that ended, at the step size that it had; 0 before.
    pub error: f64,
    /// Sum of kinetic temperatures over what was looked at of this window.
    pub kinetic: f64,
    /// Sum of kappa.
    pub force: f64,
    /// How many steps these are.
    pub steps: u64,
}

impl AutoStepState {
    /// Returns the numbers that a file keeps: step size, alpha, error, sums of the kinetic temperature and of the force, their count.
    pub fn numbers(self) -> [f64; 6] {
        let Self {
            step_size,
            alpha,
            error,
            kinetic,
            force,
            steps,
        } = self;
        [step_size, alpha, error, kinetic, force, steps as f64]
    }

    /// Returns the state that has these [`AutoStepState::numbers`].
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when the count is no whole number of 0 or more that f64 holds exactly.
    pub fn from_numbers(numbers: [f64; 6]) -> Result<Self> {
        let [step_size, alpha, error, kinetic, force, steps] = numbers;
        if !(steps >= 0.0 && steps <= 2f64.powi(53) && steps.fract() == 0.0) {
            let expected = "a whole number of 0 or more";
            return Err(Error::out_of_range("auto_step's steps", expected, steps));
        }
        Ok(Self {
            step_size,
            alpha,
            error,
            kinetic,
            force,
            steps: steps as u64,
        })
    }
}

/// A search for the step size of one chain.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoStep {
    tolerance: f64,
    keep_momentum: bool,
    window: u64, // steps
    given: f64,  // step size
    growth: Option<f64>,
    curvature: Option<f64>, // the largest, over the mass
    state: AutoStepState,
}

impl AutoStep {
    /// Begins a search from the step size in `config`, with a budget of `tolerance`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when the budget is not in (0, 1), T is 0, the warm-up is shorter than 50 steps, or the method is SGLRW, whose steps are
    /// no longer for a larger gradient.
    pub fn new(config: &ChainConfig, tolerance: f64, keep_momentum: bool) -> Result<Self> {
        if !(tolerance > 0.0 && tolerance < 1.0) {
            let expected = "above 0 and below 1";
            return Err(Error::out_of_range("step_tolerance", expected, tolerance));
        }
        if config.temperature <= 0.0 {
            return Err(Error::conflict(format!(
                "temperature: auto_step needs one above 0, not {}: set a higher one, or give the step size",
                config.temperature
            )));
        }
        if config.warmup_steps < 50 {
            return Err(Error::conflict(format!(
                "warmup_steps: auto_step needs at least 50, not {}: set more, or give the step size",
                config.warmup_steps
            )));
        }
        if (config.method.scheme())
            .temperature_error(config, 0.0, 0.0)
            .is_none()
        {
            return Err(Error::conflict(format!(
                "auto_step is not available for {}: set step_size",
                config.method
            )));
        }
        Ok(Self {
            tolerance,
            keep_momentum: keep_momentum && config.method.has_momenta(),
            window: 4 * config.warmup_steps / 5 / WINDOWS,
            given: config.step_size,
            growth: None,
            curvature: None,
            state: AutoStepState {
                step_size: config.step_size,
                alpha: config.alpha,
                error: 0.0,
                kinetic: 0.0,
                force: 0.0,
                steps: 0,
            },
        })
    }

    /// Lets the step grow to at most `growth` times the one that the search was given; without it there is no such ceiling.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when it is not a positive number.
    pub fn at_most(self, growth: f64) -> Result<Self> {
        if !(growth.is_finite() && growth > 0.0) {
            return Err(Error::out_of_range(
                "step_growth",
                "a positive number",
                growth,
            ));
        }
        Ok(Self {
            growth: Some(growth),
            ..self
        })
    }

    /// Keeps the step below 0.95 times the largest that is stable in a direction of this curvature over the mass (without sigma). It is no part of
    /// the state.
    pub fn limit_curvature(&mut self, lambda_over_mass: f64) {
        self.curvature = Some(lambda_over_mass);
    }

    /// Returns how many times the given step the search may take, where that is limited.
    pub fn growth(&self) -> Option<f64> {
        self.growth
    }

    /// Returns the largest step that the search may take under settings with this friction; infinite where nothing limits it.
    pub fn ceiling(&self, c: &ChainConfig) -> f64 {
        let grown = self.growth.map_or(f64::INFINITY, |g| g * self.given);
        let stable = self.curvature.map(|l| stability::stability_limit(c, l));
        let stable = stable.map_or(f64::INFINITY, |h| STABLE_SHARE * h);
        // Where no step is stable, a shorter one does not help.
        grown.min(if stable > 0.0 { stable } else { f64::INFINITY })
    }

    /// Returns the budget.
    pub fn tolerance(&self) -> f64 {
        self.tolerance
    }

    /// Returns whether alpha changes with the step size, so that the optimiser's momentum stays.
    pub fn keeps_momentum(&self) -> bool {
        self.keep_momentum
    }

    /// Goes on from what [`AutoStep::state`] gave, with a sampler that was restored with the state's `step_size` and `alpha` in its settings.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for numbers that no search has: a step size of 0 or less, another number below 0, one that is not finite, more
    /// steps than a window looks at. The search is then as before.
    pub fn go_on(&mut self, state: AutoStepState) -> Result<()> {
        let AutoStepState {
            step_size,
            alpha,
            error,
            kinetic,
            force,
            steps,
        } = state;
        if !(step_size.is_finite() && step_size > 0.0) {
            let expected = "a positive number";
            return Err(Error::out_of_range(
                "auto_step's step_size",
                expected,
                step_size,
            ));
        }
        for (name, v) in [
            ("alpha", alpha),
            ("error", error),
            ("kinetic", kinetic),
            ("force", force),
        ] {
            if !(v.is_finite() && v >= 0.0) {
                let expected = "a finite number of 0 or more";
                return Err(Error::out_of_range(
                    format!("auto_step's {name}"),
                    expected,
                    v,
                ));
            }
        }
        let most = self.window - self.window / 2;
        if steps > most {
            let expected = format!("at most {most}, a window's later half");
            return Err(Error::out_of_range("auto_step's steps", expected, steps));
        }
        self.state = state;
        Ok(())
    }

    /// Returns the state as plain data.
    pub fn state(&self) -> AutoStepState {
        self.state
    }

    /// Makes a step of the chain ([`Sampler::step_with_gradient`]), and searches on while the chain warms up.
    ///
    /// # Errors
    /// Returns the errors of [`Sampler::step_with_gradient`], and [`Error::OutOfRange`] under a live mass: its error is not what the search takes it for.
    pub fn step<V: Vectors>(
        &mut self,
        sampler: &mut Sampler<V>,
        grad: &V::Vector,
        log_post: f64,
    ) -> Result<StepReport> {
        self.step_by(sampler, grad, |sampler| {
            sampler.step_with_gradient(grad, log_post)
        })
    }

    /// Does what [`AutoStep::step`] does, for a step that the caller makes.
    pub(super) fn step_by<V: Vectors>(
        &mut self,
        sampler: &mut Sampler<V>,
        grad: &V::Vector,
        make: impl FnOnce(&mut Sampler<V>) -> Result<StepReport>,
    ) -> Result<StepReport> {
        if sampler.live().is_some() {
            return Err(Self::no_psgld_mass());
        }
        let window = self.window;
        let (at, made) = (sampler.step() % window, sampler.step());
        if sampler.phase() != Phase::Warmup || made >= WINDOWS * window {
            return make(sampler);
        }
        if sampler.config().step_size > self.ceiling(sampler.config()) {
            self.multiply(sampler, 1.0);
        }
        let mut sums = [RangeMoments::default()];
        let all = 0..sampler.len();
        let counts = at >= window / 2;
        if counts {
            sampler.range_moments(grad, std::slice::from_ref(&all), &mut sums)?;
        }
        let report = make(sampler)?;
        if counts {
            self.state.kinetic += report.kinetic_temperature.unwrap_or(0.0);
            self.state.force += sums[0].force / sampler.len() as f64;
            self.state.steps += 1;
        }
        if at + 1 == window {
            self.end_window(sampler)?;
        }
        Ok(report)
    }

    /// Says that there is no search under a live mass.
    pub(super) fn no_psgld_mass() -> Error {
        Error::conflict(
            "auto_step needs a mass that stays, and live follows the chain: choose another preconditioner, or set step_size",
        )
    }

    fn end_window<V: Vectors>(&mut self, sampler: &mut Sampler<V>) -> Result<()> {
        let n = self.state.steps.max(1) as f64;
        // What the step makes up for is no error of its.
        let heat = sampler.noise_heat()?.unwrap_or_default();
        let (c, s) = (sampler.config(), self.state);
        let (kinetic, force) = (s.kinetic / n, (s.force / n - heat.per_mass).max(0.0));
        let scheme = c.method.scheme();
        let error = scheme.temperature_error(c, kinetic, force);
        // What is too large for a number is too large.
        let error = error.filter(|e| e.is_finite()).unwrap_or(f64::MAX);
        let error = error.max(heat.residual);
        let power = if scheme.has_momenta() { 0.5 } else { 1.0 };
        let factor = (self.tolerance / error).powf(power).clamp(0.25, 2.0);
        self.multiply(sampler, factor);
        self.state = AutoStepState {
            error,
            kinetic: 0.0,
            force: 0.0,
            steps: 0,
            ..self.state
        };
        Ok(())
    }

    /// Multiplies the step, up to its ceiling; one that the settings do not allow stays.
    fn multiply<V: Vectors>(&mut self, sampler: &mut Sampler<V>, factor: f64) {
        let c = sampler.config();
        let step_size = (c.step_size * factor).min(self.ceiling(c));
        let friction = if self.keep_momentum {
            step_size / c.step_size
        } else {
            1.0
        };
        let alpha = c.alpha / friction;
        if sampler.set_step(step_size, alpha).is_ok() {
            (self.state.step_size, self.state.alpha) = (step_size, alpha);
        }
    }
}
