//! How noisy a minibatch's gradient is, parameter by parameter, and what of its heat a chain's friction cannot take out.
//!
//! **Estimate.** Gradients of one chain that follow each other have means that change smoothly, and noise of their own. A second difference of them
//! cancels what is constant and what drifts at a constant rate, and has six times the noise's variance v. With g_n the gradients, those for the
//! mass first and then one a step, and n counting the differences,
//!
//! ```text
//! v += s_n ((g_n - 2 g_(n-1) + g_(n-2))^2 / 6 - v),  s_n = max(1 / n, 1 / 64)
//! ```
//!
//! which is the plain mean of the first 64 and then follows the chain, while it samples too: away from its start a chain's gradients are noisier, and
//! on a short run their variance can double. A friction may depend on where the chain is: with the fluctuation that belongs to it, it leaves the target as
//! it is, which a mass would not.
//!
//! **Its own error.** Successive differences share gradients: where the noise is normal their squares have correlations (2/3)^2 and (1/6)^2 at distances 1 and 2, so that a
//! mean of n has the relative variance 2 (1 + 2 (4/9 + 1/36)) / n = 3.9 / n (for halved squares of first differences it is 3 / n). The running mean weighs
//! 2 * 64 - 1 differences, and each parameter's v has a relative error of about a sixth. It averages out over parameters but for its square, 0.03: parameters whose noise
//! sets their friction are too hot by that much.
//!
//! **What is left of the motion.** In a direction of frequency omega, c the share of the momentum that a step keeps, a second difference of the
//! parameters has the variance h^2 T / M' ((1 - c^2) / 2 + h^2 omega^2) to leading order: the friction's own fluctuation, and the force. That counts as noise,
//!
//! ```text
//! rho = (h omega)^4 / 24 ((1 - c^2) / 2 + (h omega)^2)
//! ```
//!
//! where first differences have (h omega)^4 (1 + c) / 16, the momentum itself. And the noise of a gradient moves the chain, which changes the next two gradients against it: v is
//! overestimated by the factor 1 + (3 - c) (1 + c) (h omega)^2 / 6, where first differences have 1 + (1 + c) (h omega)^2 / 2. Stiff directions are sampled
//! too cold, at c = 0.9 and without noise by 1.6 % at h omega = 1/2 (first differences: 12 %) and by 44 % at 1 (69 %), from
//! the law of the step with the estimate that it gives rise to. Batches that overlap or avoid each other (an epoch's do) have noise that is not
//! independent, and v is that of the differences alone.
//!
//! **What it costs.** Three vectors on the device: v and the last two gradients. No gradient.

use super::{ChainConfig, Sampler};
use crate::backend::vectors::{Combine, Vectors};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The least weight of a new difference.
const SHARE: f64 = 1.0 / 64.0;

/// Gradients that one difference takes.
const SPAN: u64 = 3;

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
/// [`Error::Conflict`] where fewer than three come before sampling.
pub fn check(config: &ChainConfig, for_mass: u64) -> Result<()> {
    let before = for_mass.saturating_add(config.warmup_steps);
    if config.noise_correction.is_none() || before >= SPAN {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "noise_correction: it is estimated from at least {SPAN} gradients before sampling, and there are {before}: set more warmup_steps, or choose none"
    )))
}

/// The gradients that the next difference needs.
#[derive(Debug)]
pub(crate) struct LastGradients<G> {
    /// The last one.
    pub last: Option<G>,
    /// The one before it.
    pub before: Option<G>,
}

impl<G> LastGradients<G> {
    /// Returns that there are none.
    pub fn none() -> Self {
        Self {
            last: None,
            before: None,
        }
    }
}

/// The estimate in the making.
pub(crate) struct NoiseEstimation<V: Vectors> {
    taken: u64, // gradients
    gradients: LastGradients<V::Vector>,
    done: bool,
}

impl<V: Vectors> NoiseEstimation<V> {
    /// Begins an estimate where the settings ask for one.
    pub fn new(config: &ChainConfig) -> Self {
        Self {
            taken: 0,
            gradients: LastGradients::none(),
            done: config.noise_correction.is_none(),
        }
    }

    /// Goes on after `taken` gradients, the last of which are `gradients`; without a last one the estimate has ended. Without the one before it, as in
    /// files from when differences were of two gradients, the variances that are there stay until two more gradients have come.
    ///
    /// # Errors
    /// When there is a gradient where none is needed or none where one is, or one is of another length than the chain's.
    pub fn restore(
        sampler: &Sampler<V>,
        taken: u64,
        gradients: LastGradients<&[f32]>,
    ) -> Result<Self> {
        let bad = |expected: &str, got: String| Error::out_of_range("chain state", expected, got);
        let mut new = Self::new(sampler.config());
        let LastGradients { last, before } = gradients;
        if before.is_some() && (last.is_none() || taken < 2) {
            let got = format!("one before it after {taken} gradients");
            return Err(bad("a last gradient of at least two", got));
        }
        let Some(last) = last else {
            new.done |= taken > 0;
            return Ok(new);
        };
        if new.done || taken == 0 {
            let got = format!("one after {taken} gradients");
            return Err(bad(
                "a last gradient just where its noise is estimated",
                got,
            ));
        }
        let known = sampler.gradient_noise().is_some();
        if !known && (taken >= SPAN || (taken == SPAN - 1 && before.is_none())) {
            return Err(bad("variances of the gradient's noise", "none".into()));
        }
        let put = |from: &[f32]| {
            let mut to = sampler.vectors().zeros(sampler.len())?;
            sampler.vectors().upload(&mut to, from)?;
            Ok(to)
        };
        new.taken = taken;
        new.gradients = LastGradients {
            last: Some(put(last)?),
            before: before.map(put).transpose()?,
        };
        Ok(new)
    }

    /// Returns whether gradients are still taken in.
    pub fn is_running(&self) -> bool {
        !self.done
    }

    /// Returns the last gradients, as far as they are there.
    pub fn gradients(&self) -> LastGradients<&V::Vector> {
        LastGradients {
            last: self.gradients.last.as_ref(),
            before: self.gradients.before.as_ref(),
        }
    }

    /// Ends the estimate: what the sampler has stays.
    pub fn end(&mut self) {
        (self.gradients, self.done) = (LastGradients::none(), true);
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
        let mut oldest = match (&self.gradients.last, self.gradients.before.take()) {
            (Some(last), Some(mut difference)) => {
                let share = (1.0 / (self.taken - 1) as f64).max(SHARE);
                let scale = (share / 6.0).sqrt() as f32;
                v.combine(&mut difference, Combine::Scale(scale))?;
                v.combine(&mut difference, Combine::Axpy(-2.0 * scale, last))?;
                v.combine(&mut difference, Combine::Axpy(scale, grad))?;
                sampler.average_gradient_noise((1.0 - share) as f32, &difference)?;
                difference
            }
            _ => v.zeros(v.len(grad))?,
        };
        v.combine(&mut oldest, Combine::Copy(grad))?;
        self.gradients.before = self.gradients.last.replace(oldest);
        self.taken += 1;
        Ok(())
    }
}

/// What gradient noise of known variances does to a chain with a step and a temperature: over all parameters, or over a part of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct NoiseHeat {
    /// Mean of the noise's variance over the mass, v / M'.
    pub per_mass: f64,
    /// Share of the parameters whose noise is all of their fluctuation, and sets their friction; 0 where that of the noise comes on top (CCAdL).
    pub damped: f64,
    /// Share of the parameters whose noise is more than the strongest friction takes out.
    pub clamped: f64,
    /// Mean heating that is left, as a share of T: 0 where no parameter is clamped, and with a thermostat, which takes it out on average.
    pub residual: f64,
}

impl NoiseHeat {
    /// Adds up the parameters of `variance`, with masses M or 1, under settings of BAOA or CCAdL: [`super::baoa`] has the formulas.
    pub fn new(c: &ChainConfig, variance: &[f32], mass: Option<&[f32]>) -> Self {
        let (sigma2, h, t) = (c.sigma * c.sigma, c.step_size, c.temperature);
        let strongest = (0.5 * h * c.friction_rate().unwrap_or(0.0)).tanh();
        let added = c.method.has_thermostat();
        let (mut all, n) = (Self::default(), variance.len().max(1) as f64);
        for (i, &v) in variance.iter().enumerate() {
            let per_mass = f64::from(v) / (sigma2 * mass.map_or(1.0, |m| f64::from(m[i])));
            let rho = if t > 0.0 {
                h * h * per_mass / (4.0 * t)
            } else {
                0.0
            };
            all.per_mass += per_mass / n;
            all.damped += f64::from(!added && rho >= strongest && rho > 0.0) / n;
            all.clamped += f64::from(rho > 1.0) / n;
            all.residual += if added { 0.0 } else { (rho - 1.0).max(0.0) / n };
        }
        all
    }
}
