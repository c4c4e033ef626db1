//! Free diffusion: how far a chain moves when nothing pulls at it.
//!
//! On a flat target a step moves every parameter by itself. With m in units of sqrt(M') and the displacement D in units of 1 / sqrt(M'), a step
//! of a method with momenta is
//!
//! ```text
//! m' = p m + (K (1 - p^2))^1/2 z,  D' = D + a m + b m',  z ~ N(0, 1)
//! ```
//!
//! with p the share of the momentum that it keeps, K the kinetic temperature that momenta settle at ([`super::Scheme::expected_kinetic`]), and a and b
//! the times that the position moves with the momentum from before and after the friction:
//!
//! | method | p | a | b | K |
//! |---|---|---|---|---|
//! | SGHMC; SGNHT, Ding | 1 - gamma h | 0 | h | T / (1 - gamma h / 2); T |
//! | SGHMC, Euler; SGNHT, Euler | 1 - gamma h | h | 0 | T / (1 - gamma h / 2); T |
//! | BAOA, SGNHT | exp(-gamma h) | h / 2 | h / 2 | T |
//! | SGLD, SGLRW | 0 | 0 | epsilon^1/2 | 2 T |
//!
//! Second moments follow by a recursion over the steps, exactly, whatever the schedules. A `beta` counts as noise that is there. Momenta begin at
//! N(0, T M').
//!
//! A chain whose displacement has this size has not met a force that holds it: its target could be flat.

use super::ChainConfig;
use crate::error::{Error, Result};
use serde::Serialize;

/// How one step moves a parameter of unit mass without a force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FreeMotion {
    /// The share p of the momentum that is kept.
    pub keep: f64,
    /// The temperature K that momenta settle at.
    pub kinetic: f64,
    /// The time a for which the position moves with the momentum from before the friction.
    pub before: f64,
    /// The time b for which it moves with that from after it.
    pub after: f64,
}

impl FreeMotion {
    /// Returns the motion of a method without momenta: each step draws anew, with the variance 2 T epsilon.
    pub(super) fn overdamped(c: &ChainConfig) -> Self {
        Self {
            keep: 0.0,
            kinetic: 2.0 * c.temperature,
            before: 0.0,
            after: c.step_size.sqrt(),
        }
    }

    /// Returns the motion with momenta that settle at `kinetic` and keep the share `keep`.
    pub(super) fn with_momenta(kinetic: f64, keep: f64, before: f64, after: f64) -> Self {
        Self {
            keep,
            kinetic,
            before,
            after,
        }
    }
}

/// Second moments of displacement and momentum, and of the displacement at an earlier step with both.
#[derive(Clone, Copy, Default)]
struct Moments {
    dd: f64,
    dm: f64,
    mm: f64,
    /// Of the earlier displacement with D and with m.
    first_d: f64,
    first_m: f64,
}

impl Moments {
    fn step(&mut self, f: &FreeMotion) {
        let (p, a, b) = (f.keep, f.before, f.after);
        let mm = p * p * self.mm + f.kinetic * (1.0 - p * p).max(0.0);
        self.dd += a * a * self.mm
            + b * b * mm
            + 2.0 * (a * self.dm + b * p * self.dm + a * b * p * self.mm);
        self.dm = p * self.dm + a * p * self.mm + b * mm;
        self.mm = mm;
        self.first_d += (a + b * p) * self.first_m;
        self.first_m *= p;
    }
}

/// What a mass says of a chain's freedom: how far a unit of displacement goes, and over how many parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lightness {
    /// The mean of 1 / M' over the parameters.
    pub mean: f64,
    /// The number of parameters that the mean square displacement averages over: those of small mass weigh more.
    pub parameters: f64,
}

impl Lightness {
    /// Looks at a mass M, one number above 0 per parameter, or at `d` parameters of mass 1; the mass of the momenta is sigma^2 M.
    pub fn new(mass: Option<&[f32]>, d: usize, sigma: f64) -> Self {
        let over = 1.0 / (sigma * sigma);
        let Some(mass) = mass else {
            return Self {
                mean: over,
                parameters: d as f64,
            };
        };
        let each = || mass.iter().map(|&m| over / f64::from(m));
        let (sum, squares) = (each().sum::<f64>(), each().map(|w| w * w).sum::<f64>());
        Self {
            mean: sum / mass.len() as f64,
            parameters: sum * sum / squares,
        }
    }
}

/// The displacement of a chain from its start if there were no force.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FreeDiffusion {
    /// Root mean square over the parameters after the last of the two steps.
    pub rms: f64,
    /// Cosine between the displacements after the first and the last of them.
    pub cosine: Option<f64>,
    /// Relative standard deviation of the root mean square of one chain.
    pub relative_sd: f64,
}

impl FreeDiffusion {
    /// Computes the displacement after `first` and after `last` steps, those of the warm-up counted, of a chain of these settings. A thermostat's
    /// friction is `xi`, where that is set.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when `first` is above `last` or `last` beyond the run.
    pub fn new(c: &ChainConfig, light: Lightness, first: u64, last: u64) -> Result<Self> {
        if first > last {
            let expected = format!("at most {last}, the last");
            return Err(Error::out_of_range("first step", expected, first));
        }
        if last > c.total_steps() {
            let expected = format!("at most {}, the steps of the run", c.total_steps());
            return Err(Error::out_of_range("last step", expected, last));
        }
        let scheme = c.method.scheme();
        let mut all = Moments {
            mm: c.temperature,
            ..Moments::default()
        };
        let mut then = 0.0;
        for step in 0..last {
            all.step(&scheme.free_motion(&c.at(step)));
            if step + 1 == first {
                (then, all.first_d, all.first_m) = (all.dd, all.dd, all.dm);
            }
        }
        let both = then * all.dd;
        Ok(Self {
            rms: (light.mean * all.dd).sqrt(),
            cosine: (both > 0.0).then(|| all.first_d / both.sqrt()),
            relative_sd: (0.5 / light.parameters).sqrt(),
        })
    }
}
