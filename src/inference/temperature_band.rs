//! Whether a chain's temperature is the one that equilibrium at T would show.

use super::Report;
use crate::error::{Error, Result};
use crate::metrics::Mean;
use crate::samplers::{ChainConfig, Schedule};
use serde::Serialize;

/// Mean of a series of temperatures with the standard error that batch means give it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TemperatureBand {
    /// The mean.
    pub mean: f64,
    /// Its standard error, from 20 batches: it takes autocorrelation up to a batch's length into account.
    pub std_error: f64,
    /// What the mean is in equilibrium at T: T, but for the kinetic temperature of methods whose friction step is not exact.
    pub expected: f64,
    /// Standard deviation of one step's value if the chain were in equilibrium and the target Gaussian, `expected` sqrt(2/d).
    pub equilibrium_sd: f64,
}

impl TemperatureBand {
    /// Summarises the temperatures of d parameters whose mean is `expected` in equilibrium; none for fewer than 20.
    pub fn new(series: &[f64], expected: f64, d: usize) -> Option<Self> {
        let Mean { mean, std_error } = Mean::new(series)?;
        Some(Self {
            mean,
            std_error,
            expected,
            equilibrium_sd: equilibrium_sd(expected, d),
        })
    }

    /// Summarises the temperatures of d parameters whose mean is `expected` in equilibrium, and says what is wrong with them.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for fewer than 20 temperatures, no parameter, and a number that is not finite.
    pub fn checked(series: &[f64], expected: f64, d: usize) -> Result<Self> {
        if d == 0 {
            return Err(Error::out_of_range("parameters", "at least 1", d));
        }
        if !(expected >= 0.0 && expected.is_finite()) {
            return Err(Error::out_of_range("temperature", "at least 0", expected));
        }
        if let Some(i) = series.iter().position(|t| !t.is_finite()) {
            let what = format!("series[{i}]");
            return Err(Error::out_of_range(what, "a finite number", series[i]));
        }
        let band = Self::new(series, expected, d);
        band.ok_or_else(|| Error::out_of_range("series", "at least 20 temperatures", series.len()))
    }

    /// Whether the mean is further from what is expected than noise and rounding explain.
    pub fn is_off(&self) -> bool {
        is_off(self.mean, self.std_error, self.expected)
    }

    /// Returns the numbers as rows, and whether they are off.
    pub fn report(&self) -> Report {
        Report::new()
            .row("mean", self.mean, "mean temperature")
            .row("std_error", self.std_error, "standard error of the mean, from 20 batches")
            .row("expected", self.expected, "what the mean is in equilibrium")
            .row("equilibrium_sd", self.equilibrium_sd, "standard deviation of one step's value in equilibrium, expected sqrt(2/d)")
            .row("off", self.is_off(), "1 where the mean is further from what is expected than five standard errors and 5 %; 0 at 0, where nothing is in equilibrium")
    }

    /// Returns the band in words: of the kinetic temperature, or of the configurational one.
    pub(super) fn text(&self, kind: Kind) -> String {
        let said = format!("{:.4} +- {:.4}", self.mean, self.std_error);
        if self.expected == 0.0 {
            return format!(
                "{said}: at T = 0 the chain optimises, and this says how fast it still moves"
            );
        }
        let why = match (self.is_off(), self.mean > self.expected) {
            (false, _) => String::new(),
            (true, above) => format!(": {}", kind.why(above)),
        };
        format!("{said} (expected {:.4}){why}", self.expected)
    }
}

/// Which of the two temperatures it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Kinetic,
    Configurational,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Kinetic => "kinetic",
            Self::Configurational => "configurational",
        }
    }

    fn why(self, above: bool) -> &'static str {
        match (self, above) {
            (Self::Kinetic, true) => {
                "the momenta are too hot: gradient noise or too long a step heats them"
            }
            (Self::Kinetic, false) => "the momenta are too cold",
            (Self::Configurational, true) => {
                "too hot: gradient noise or too long a step heats the chain, or it moves uphill"
            }
            (Self::Configurational, false) => {
                "the slow directions have not forgotten the start yet"
            }
        }
    }
}

/// Returns the standard deviation of one step's temperature of d parameters in equilibrium on a Gaussian, T sqrt(2/d).
pub fn equilibrium_sd(temperature: f64, d: usize) -> f64 {
    temperature * (2.0 / d as f64).sqrt()
}

/// Returns whether a mean temperature is off what is expected by more than five standard errors and five percent: neither noise nor rounding. Where
/// 0 is expected, a chain optimises and nothing is off.
pub fn is_off(mean: f64, std_error: f64, expected: f64) -> bool {
    expected > 0.0 && (mean - expected).abs() > 5.0 * std_error + 0.05 * expected
}

/// Returns the sampling steps' temperatures on the scale of T: those of exploring steps are left out, and under a schedule what is compared with T
/// is the ratio to the temperature of that step.
pub fn temperatures_at_t(c: &ChainConfig, series: &[f64]) -> Vec<f64> {
    let steps = (c.warmup_steps..).zip(series);
    steps
        .filter(|(step, _)| !c.explores(*step))
        .map(|(step, &t)| match c.temperature_at(step) {
            0.0 => t,
            then => t * c.temperature / then,
        })
        .collect()
}

/// Returns what the mean of [`temperatures_at_t`] is for momenta in equilibrium with each step's temperature; `None` without momenta.
pub fn expected_kinetic(c: &ChainConfig) -> Option<f64> {
    let scheme = c.method.scheme();
    let constant = |s: &Schedule| *s == Schedule::Constant;
    if constant(&c.schedule) && constant(&c.temperature_schedule) {
        return scheme.expected_kinetic(c);
    }
    // Of a long run, a million steps at equal distances.
    let stride = (c.sampling_steps / 1_000_000).max(1) as usize;
    let steps = (c.warmup_steps..c.total_steps()).step_by(stride);
    let steps = steps.filter(|step| !c.explores(*step));
    let (mut sum, mut count) = (0.0, 0u64);
    for step in steps {
        // A step at T says what the momenta of its size do; its own temperature is divided out.
        let at = ChainConfig {
            temperature: c.temperature,
            ..c.at(step)
        };
        sum += scheme.expected_kinetic(&at)?;
        count += 1;
    }
    if count == 0 {
        return scheme.expected_kinetic(c);
    }
    Some(sum / count as f64)
}
