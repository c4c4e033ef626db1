//! How noisy a minibatch's gradient is, parameter by parameter, and what of its heat a chain's friction cannot take out.
//!
//! **Estimate.** Two gradients of one chain that follow each other have the same mean but for what one step moved it, and noise of their own:
//! half the square of their difference estimates the noise's variance v, free of how the mean drifts. With g_n the gradients, those for the mass
//! first and then one a step,
//!
//! ```text
//! v += s_n ((g_n - g_(n-1))^2 / 2 - v),  s_n = max(1 / n, 1 / 50)
//! ```
//!
//! which is the plain mean of the first 50 and then follows the chain, while it samples too: away from its start a chain's gradients are noisier, and
//! on a short run their variance can double. A friction may depend on where the chain is: with the fluctuation that belongs to it, it leaves the target as
//! it is, which a mass would not. The running mean weighs about a hundred gradients, so that each parameter's v has a relative error of about a
//! sixth where the noise is normal. It averages out over parameters but for its square, 0.03: so much too hot are those whose noise sets their
//! friction. What a step itself changes in the gradient counts as noise too, rho = (h omega)^4 / 8 in a direction of frequency omega: stiff ones are sampled too cold.
//! By these formulas that is 15 % at h omega = 1/2 and momentum 0.9, and 1 % at 1/4. Batches that overlap or avoid each other (an epoch's do) have noise that is not independent, and v is that of the differences alone.
//!
//! **What it costs.** Two vectors on the device: v and the last gradient. No gradient.

use super::{ChainConfig, Sampler};
use crate::backend::vectors::{Combine, Vectors};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The least weight of a new pair of gradients.
const SHARE: f64 = 0.02;

/// What a chain does about the noise of its gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseCorrection {
    /// Nothing: the noise heats the chain, unless the caller gives its variance.
    #[default]
    None,
    /// Estimates each parameter's noise variance as the chain goes, and lets the step make up for it.
    Diagonal,
}

impl NoiseCorrection {
    /// Returns whether it is none.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Checks that there are gradients to estimate the noise from, where the settings ask for that: `for_mass` of them before the warm-up.
///
/// # Errors
/// [`Error::Conflict`] where fewer than two come before sampling.
pub fn check(config: &ChainConfig, for_mass: u64) -> Result<()> {
    let before = for_mass.saturating_add(config.warmup_steps);
    if config.noise_correction.is_none() || before >= 2 {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "noise_correction: it is estimated from at least 2 gradients before sampling, and there are {before}: set more warmup_steps, or choose none"
    )))
}

/// The estimate in the making.
pub(crate) struct NoiseEstimation<V: Vectors> {
    taken: u64, // gradients
    last: Option<V::Vector>,
    done: bool,
}

impl<V: Vectors> NoiseEstimation<V> {
    /// Begins an estimate where the settings ask for one.
    pub fn new(config: &ChainConfig) -> Self {
        Self {
            taken: 0,
            last: None,
            done: config.noise_correction.is_none(),
        }
    }

    /// Goes on after `taken` gradients, the last of which was `last`; without it the estimate has ended.
    ///
    /// # Errors
    /// When there is a gradient where none is needed, or it is of another length than the chain's.
    pub fn restore(sampler: &Sampler<V>, taken: u64, last: Option<&[f32]>) -> Result<Self> {
        let mut new = Self::new(sampler.config());
        let Some(last) = last else {
            new.done |= taken > 0;
            return Ok(new);
        };
        if new.done || taken == 0 {
            let got = format!("one after {taken} gradients");
            let expected = "a last gradient just where its noise is estimated";
            return Err(Error::out_of_range("chain state", expected, got));
        }
        if taken > 1 && sampler.gradient_noise().is_none() {
            let expected = "variances of the gradient's noise";
            return Err(Error::out_of_range("chain state", expected, "none"));
        }
        let v = sampler.vectors();
        let mut buf = v.zeros(sampler.len())?;
        v.upload(&mut buf, last)?;
        (new.taken, new.last) = (taken, Some(buf));
        Ok(new)
    }

    /// Returns whether gradients are still taken in.
    pub fn is_running(&self) -> bool {
        !self.done
    }

    /// Returns the last gradient, where the estimate goes on.
    pub fn last(&self) -> Option<&V::Vector> {
        self.last.as_ref()
    }

    /// Ends the estimate: what the sampler has stays.
    pub fn end(&mut self) {
        (self.last, self.done) = (None, true);
    }

    /// Takes in the gradient of a step that was made, or of one for the mass.
    ///
    /// # Errors
    /// When the device fails.
    pub fn take(&mut self, sampler: &mut Sampler<V>, grad: &V::Vector) -> Result<()> {
        if self.done {
            return Ok(());
        }
        let v = sampler.vectors().clone();
        match &mut self.last {
            Some(last) => {
                let share = (1.0 / self.taken as f64).max(SHARE);
                let scale = (0.5 * share).sqrt() as f32;
                v.combine(last, Combine::Scale(-scale))?;
                v.combine(last, Combine::Axpy(scale, grad))?;
                sampler.average_gradient_noise((1.0 - share) as f32, last)?;
                v.combine(last, Combine::Copy(grad))?;
            }
            None => {
                let mut last = v.zeros(v.len(grad))?;
                v.combine(&mut last, Combine::Copy(grad))?;
                self.last = Some(last);
            }
        }
        self.taken += 1;
        Ok(())
    }
}

/// What gradient noise of known variances does to a chain with a step and a temperature: over all parameters, or over a part of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct NoiseHeat {
    /// Mean of the noise's variance over the mass, v / M'.
    pub per_mass: f64,
    /// Share of the parameters whose noise is all of their fluctuation, and sets their friction.
    pub damped: f64,
    /// Share of the parameters whose noise is more than the strongest friction takes out.
    pub clamped: f64,
    /// Mean heating that is left, as a share of T: 0 where no parameter is clamped.
    pub residual: f64,
}

impl NoiseHeat {
    /// Adds up the parameters of `variance`, with masses M or 1, under settings of BAOA: [`super::baoa`] has the formulas.
    pub fn new(c: &ChainConfig, variance: &[f32], mass: Option<&[f32]>) -> Self {
        let (sigma2, h, t) = (c.sigma * c.sigma, c.step_size, c.temperature);
        let strongest = (0.5 * h * c.friction_rate().unwrap_or(0.0)).tanh();
        let (mut all, n) = (Self::default(), variance.len().max(1) as f64);
        for (i, &v) in variance.iter().enumerate() {
            let per_mass = f64::from(v) / (sigma2 * mass.map_or(1.0, |m| f64::from(m[i])));
            let rho = if t > 0.0 {
                h * h * per_mass / (4.0 * t)
            } else {
                0.0
            };
            all.per_mass += per_mass / n;
            all.damped += f64::from(rho >= strongest && rho > 0.0) / n;
            all.clamped += f64::from(rho > 1.0) / n;
            all.residual += (rho - 1.0).max(0.0) / n;
        }
        all
    }
}
