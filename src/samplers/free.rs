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
//! | BAOA, SGNHT, CCAdL | exp(-gamma h) | h / 2 | h / 2 | T |
//! | SGLD, SGLRW | 0 | 0 | epsilon^1/2 | 2 T |
//!
//! Second moments follow by a recursion over the steps, exactly, whatever the schedules. A `beta` counts as noise that is there. Momenta begin at
//! N(0, T M').
//!
//! A chain whose displacement has this size has not met a force that holds it: its target could be flat.

use super::{ChainConfig, Schedule};
use crate::error::{Error, Result};
use serde::Serialize;

/// The most steps that are followed one by one, where a schedule makes each different.
const MOST_SCHEDULED: u64 = 100_000_000;

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

/// Second moments: of m with m, of D with m, of D with D, and a 1 for what noise adds.
type State = [f64; 4];
/// What a step makes of them.
type Step = [State; 4];

/// Second moments of displacement and momentum, and of the displacement at an earlier step with both.
struct Moments {
    state: State,
    /// The earlier displacement's variance, and its covariances with D and m.
    first: f64,
    first_d: f64,
    first_m: f64,
}

impl Moments {
    /// Makes `n` equal steps.
    fn advance(&mut self, f: &FreeMotion, n: u64) {
        let (p, a, b) = (f.keep, f.before, f.after);
        let (noise, follows) = (f.kinetic * (1.0 - p * p).max(0.0), a + b * p);
        let once: Step = [
            [p * p, 0.0, 0.0, noise],
            [p * follows, p, 0.0, b * noise],
            [follows * follows, 2.0 * follows, 1.0, b * b * noise],
            [0.0, 0.0, 0.0, 1.0],
        ];
        self.state = applied(&power(once, n), &self.state);
        let kept = p.powf(n as f64);
        let times = if p == 1.0 {
            n as f64
        } else {
            (1.0 - kept) / (1.0 - p)
        };
        self.first_d += follows * times * self.first_m;
        self.first_m *= kept;
    }

    /// Takes the displacement as it is for the earlier one.
    fn remember(&mut self) {
        let [_, dm, dd, _] = self.state;
        (self.first, self.first_d, self.first_m) = (dd, dd, dm);
    }
}

fn applied(step: &Step, to: &State) -> State {
    step.map(|row| row.iter().zip(to).map(|(a, b)| a * b).sum())
}

/// Returns `step` made `n` times, by squaring.
fn power(mut step: Step, mut n: u64) -> Step {
    let product = |a: &Step, b: &Step| -> Step {
        let columns: Step = std::array::from_fn(|j| b.map(|row| row[j]));
        a.map(|row| columns.map(|c| row.iter().zip(c).map(|(a, b)| a * b).sum()))
    };
    let mut all: Step =
        std::array::from_fn(|i| std::array::from_fn(|j| f64::from(u8::from(i == j))));
    while n > 0 {
        if n % 2 == 1 {
            all = product(&step, &all);
        }
        step = product(&step, &step);
        n /= 2;
    }
    all
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
    /// [`Error::OutOfRange`] when `first` is above `last` or `last` beyond the run; [`Error::Conflict`] where parameters have frictions of their own, as with a
    /// thermostat for each tensor, and as CCAdL has for the noise that it estimates.
    pub fn new(c: &ChainConfig, light: Lightness, first: u64, last: u64) -> Result<Self> {
        let known = c.method.has_thermostat() && !c.noise_correction.is_none();
        if known || !c.thermostats.is_global() {
            return Err(Error::conflict(
                "free diffusion: parameters with frictions of their own move each in its own way: it is known for one thermostat, without noise_correction",
            ));
        }
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
            state: [c.temperature, 0.0, 0.0, 1.0],
            first: 0.0,
            first_d: 0.0,
            first_m: 0.0,
        };
        let constant = [&c.schedule, &c.temperature_schedule];
        if constant.into_iter().all(|s| *s == Schedule::Constant) {
            let motion = scheme.free_motion(c);
            all.advance(&motion, first);
            all.remember();
            all.advance(&motion, last - first);
        } else if last > MOST_SCHEDULED {
            let expected = format!("at most {MOST_SCHEDULED} where a schedule changes every step");
            return Err(Error::out_of_range("last step", expected, last));
        } else {
            for step in 0..last {
                if step == first {
                    all.remember();
                }
                all.advance(&scheme.free_motion(&c.at(step)), 1);
            }
            if first == last {
                all.remember();
            }
        }
        let dd = all.state[2];
        let both = all.first * dd;
        Ok(Self {
            rms: (light.mean * dd).sqrt(),
            cosine: (both > 0.0).then(|| all.first_d / both.sqrt()),
            relative_sd: (0.5 / light.parameters).sqrt(),
        })
    }
}
