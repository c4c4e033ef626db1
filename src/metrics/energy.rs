//! The energy of a chain over its temperature, and whether it still drifts.

use crate::error::{Error, Result};
use crate::memory;
use serde::Serialize;

/// The number of batches that a standard error is computed from.
const BATCHES: usize = 20;

/// A mean with its standard error from 20 batches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// The mean.
    pub mean: f64,
    /// The standard error, which takes autocorrelation up to the length of a batch into account.
    pub std_error: f64,
}

impl Mean {
    /// Summarises a series; if 20 does not divide its length, the first values are left out. Returns `None` for fewer than 20 values.
    pub fn new(series: &[f64]) -> Option<Self> {
        let size = series.len() / BATCHES;
        if size == 0 {
            return None;
        }
        let used = &series[series.len() - size * BATCHES..];
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let m = mean(used);
        let between: f64 = used.chunks(size).map(|c| (mean(c) - m).powi(2)).sum();
        Some(Self {
            mean: m,
            std_error: (between / (BATCHES * (BATCHES - 1)) as f64).sqrt(),
        })
    }
}

/// The energies of a chain while it sampled, divided by T: natural units, in which the stationary distribution is exp(-total).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Energy {
    /// Minus the log posterior over T, each step's from its own batch: the batch's noise is num_data / T times that of its mean loss.
    pub potential: Mean,
    /// Half the sum of m^2 / M' over T, after each step: d/2 in equilibrium.
    pub kinetic: Option<Mean>,
    /// The sum of potential and kinetic energy.
    pub total: Mean,
    /// Mean total of the second half minus that of the first: 0 in equilibrium.
    pub drift: Mean,
}

impl Energy {
    /// Computes the energies from the log posteriors and kinetic temperatures of a chain's sampling steps, of d parameters at T; a chain
    /// without momenta has no kinetic temperatures.
    ///
    /// # Errors
    /// Returns [`Error::OutOfRange`] for T not above 0, fewer than 40 steps, no parameter and numbers that are not finite (with their place, from 0);
    /// [`Error::Shape`] for another number of kinetic temperatures.
    pub fn new(log_post: &[f64], kinetic: Option<&[f64]>, d: usize, t: f64) -> Result<Self> {
        if !(t > 0.0 && t.is_finite()) {
            return Err(Error::out_of_range("temperature", "a positive number", t));
        }
        if d == 0 {
            return Err(Error::out_of_range("parameters", "at least 1", d));
        }
        let finite = |what: &str, x: &[f64]| match x.iter().position(|v| !v.is_finite()) {
            Some(i) => Err(Error::out_of_range(
                format!("{what}[{i}]"),
                "a finite number",
                x[i],
            )),
            None => Ok(()),
        };
        finite("log_post", log_post)?;
        memory::probe::<f64>(log_post.len().saturating_mul(3), "energies")?;
        let potential: Vec<f64> = log_post.iter().map(|lp| -lp / t).collect();
        let mut total = potential.clone();
        let mut kinetic_mean = None;
        if let Some(kinetic) = kinetic {
            if kinetic.len() != log_post.len() {
                return Err(Error::shape("kinetic", [log_post.len()], [kinetic.len()]));
            }
            finite("kinetic", kinetic)?;
            let kinetic: Vec<f64> = kinetic.iter().map(|k| 0.5 * d as f64 * k / t).collect();
            total.iter_mut().zip(&kinetic).for_each(|(t, k)| *t += k);
            kinetic_mean = Mean::new(&kinetic);
        }
        let (first, second) = total.split_at(total.len() / 2);
        let means = Mean::new(first).zip(Mean::new(second));
        let ((a, b), potential, all) = means
            .and_then(|m| Some((m, Mean::new(&potential)?, Mean::new(&total)?)))
            .ok_or_else(|| {
                let expected = format!("at least {}", 2 * BATCHES);
                Error::out_of_range("sampling steps", expected, log_post.len())
            })?;
        Ok(Self {
            potential,
            kinetic: kinetic_mean,
            total: all,
            drift: Mean {
                mean: b.mean - a.mean,
                std_error: a.std_error.hypot(b.std_error),
            },
        })
    }
}
