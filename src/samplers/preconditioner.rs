//! A diagonal mass: what lets one step size serve parameters of very different scales.
//!
//! | choice | M_i |
//! |---|---|
//! | none | 1 |
//! | RMS | rms_i + floor mean(rms): the root mean square of the log posterior's gradient over batches at the start (the RMSprop statistic; Li et al. 2016, "Preconditioned SGLD", eq. 4-5, without its running average) |
//! | adaptive | the same, going on through the warm-up as a running average with its `decay`, set anew every so many steps |
//! | Fisher | h_i + floor mean(h): the diagonal empirical Fisher information of the data at the start, an estimate of the log likelihood's curvature |
//! | live | the same as RMS, but following every step, sampling too: [`super::live`], for comparison only |
//! | prior | the curvature of -log prior, 1 / sd_i^2 of a normal one |
//!
//! Each but the live one is frozen before sampling, so the target is unchanged and no correction term is owed (Li et al.'s Gamma).
//!
//! Since the gradient of the log posterior is num_data times that of the mean loss, a step of h in optimiser terms under RMS is
//! lr = h^2 num_data / M_i = h^2 / rms_i(mean loss): the step size is per preconditioned unit, whatever the data's size. Under Fisher and
//! prior M is a curvature, and a step of methods with momenta is stable below about 2.

use super::sampler::check_mass;
use super::{LiveMass, Method};
use crate::backend::Vectors;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the mass is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preconditioner {
    /// M = 1.
    None,
    /// From the root mean square of `steps` gradients at the chain's start.
    Rms {
        /// How many gradients, at least 1.
        steps: u64,
        /// Added to every rms, as a share of their mean, above 0: a parameter without gradient would have no mass.
        floor: f64,
    },
    /// The same, then a running average through the warm-up.
    Adaptive {
        /// How many gradients at the start, at least 1.
        steps: u64,
        /// As above.
        floor: f64,
        /// What a square keeps of its weight a step, above 0 and below 1.
        decay: f64,
        /// Steps of warm-up between new masses, at least 1. Each draws the momenta anew.
        every: u64,
    },
    /// From the squared gradients of the sequences of `steps` batches at the chain's start.
    Fisher {
        /// How many batches, at least 1.
        steps: u64,
        /// Added to every element, as a share of their mean, above 0.
        floor: f64,
    },
    /// A root mean square that follows every step, in warm-up and sampling: [`super::live`]. SGLD alone; biased, and for comparison.
    Live {
        /// How many gradients at the start, at least 1.
        steps: u64,
        /// Added to every root, as a share of the mean of all roots at the start, above 0.
        floor: f64,
        /// What the mean square keeps of itself a step, at least 0 and below 1.
        decay: f64,
        /// Whether the divergence term is added: a second gradient a step.
        gamma: bool,
    },
    /// From the prior alone.
    Prior,
}

impl Preconditioner {
    /// How many gradients it takes before the chain moves.
    pub fn steps(&self) -> u64 {
        match self {
            Self::None | Self::Prior => 0,
            Self::Rms { steps, .. }
            | Self::Adaptive { steps, .. }
            | Self::Fisher { steps, .. }
            | Self::Live { steps, .. } => *steps,
        }
    }

    /// How many gradients each step takes once it moves.
    pub fn gradients_a_step(&self) -> u64 {
        match self {
            Self::Live { gamma: true, .. } => 2,
            _ => 1,
        }
    }

    /// Whether it goes with the method.
    ///
    /// # Errors
    /// When it is live and the method is not SGLD.
    pub fn check_method(&self, method: Method) -> Result<()> {
        match self {
            Self::Live { .. } if method != Method::Sgld => {
                let expected = format!(
                    "one that is frozen before sampling (live is sgld's, the method is {method})"
                );
                Err(Error::invalid("preconditioner", expected, "live"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the mass is still estimated while `warmed` of `warmup` steps of warm-up are made.
    pub(super) fn adapts(&self, warmed: u64, warmup: u64) -> bool {
        matches!(self, Self::Adaptive { .. }) && warmed < warmup
    }

    /// Whether its settings are in range.
    ///
    /// # Errors
    /// Names the one that is not.
    pub fn check(&self) -> Result<()> {
        let (steps, floor) = match *self {
            Self::None | Self::Prior => return Ok(()),
            Self::Rms { steps, floor } | Self::Fisher { steps, floor } => (steps, floor),
            Self::Adaptive {
                steps,
                floor,
                decay,
                every,
            } => {
                if !(decay > 0.0 && decay < 1.0) {
                    let expected = "above 0 and below 1";
                    return Err(Error::invalid("preconditioner_decay", expected, decay));
                }
                if every == 0 {
                    return Err(Error::invalid("preconditioner_every", "at least 1", every));
                }
                (steps, floor)
            }
            Self::Live {
                steps,
                floor,
                decay,
                ..
            } => {
                if !(0.0..1.0).contains(&decay) {
                    let expected = "at least 0 and below 1";
                    return Err(Error::invalid("preconditioner_decay", expected, decay));
                }
                (steps, floor)
            }
        };
        if steps == 0 {
            return Err(Error::invalid("preconditioner_steps", "at least 1", steps));
        }
        if !(floor > 0.0 && floor.is_finite()) {
            return Err(Error::invalid("preconditioner_floor", "above 0", floor));
        }
        Ok(())
    }
}

/// The running sum of squared gradients.
pub(super) struct Estimate<V: Vectors> {
    pub squares: V::Vector,
    pub weight: f64, // of which the sum is one of: gradients, or sequences
}

/// From a mean square to a mass.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// Its root.
    Root,
    /// Itself, times a number.
    Times(f64),
}

impl<V: Vectors> Estimate<V> {
    pub fn new(vectors: &V, n: usize) -> Result<Self> {
        Ok(Self {
            squares: vectors.zeros(n)?,
            weight: 0.0,
        })
    }

    /// Takes in one gradient; what is there keeps `decay` of itself.
    pub fn add(&mut self, vectors: &V, grad: &V::Vector, decay: f64) -> Result<()> {
        if decay != 1.0 {
            vectors.scale(&mut self.squares, decay as f32)?;
        }
        self.weight = self.weight * decay + 1.0;
        vectors.square_accumulate(&mut self.squares, grad)
    }

    /// The mass, on the host.
    ///
    /// # Errors
    /// When no gradient was other than 0, or the sums overflowed.
    pub fn mass(&self, vectors: &V, floor: f64, form: Form) -> Result<Vec<f32>> {
        Ok(self.mass_and_floor(vectors, floor, form)?.0)
    }

    /// What a live mass begins with.
    ///
    /// # Errors
    /// As [`Estimate::mass`].
    pub fn live(&self, vectors: &V, floor: f64, decay: f64) -> Result<LiveMass> {
        let (_, floor) = self.mass_and_floor(vectors, floor, Form::Root)?;
        let mut squares = vectors.get(&self.squares)?;
        let mean = |v: &mut f32| *v = (*v as f64 / self.weight) as f32;
        squares.iter_mut().for_each(mean);
        Ok(LiveMass {
            squares,
            floor: floor as f64,
            decay,
        })
    }

    /// The mass, and what was added to every element of it.
    fn mass_and_floor(&self, vectors: &V, floor: f64, form: Form) -> Result<(Vec<f32>, f32)> {
        let mut m = vec![0.0f32; vectors.len(&self.squares)];
        vectors.download(&self.squares, &mut m)?;
        let mut sum = 0.0f64;
        for m in &mut m {
            let mean = *m as f64 / self.weight;
            *m = match form {
                Form::Root => mean.sqrt(),
                Form::Times(scale) => scale * mean,
            } as f32;
            sum += *m as f64;
        }
        let floor = (floor * sum / m.len() as f64) as f32;
        if !(floor > 0.0 && floor.is_finite()) {
            return Err(Error::invalid(
                "preconditioner",
                "gradients that are not all 0, and finite",
                format!("a mean mass of {}", sum / m.len() as f64),
            ));
        }
        m.iter_mut().for_each(|m| *m += floor);
        check_mass(&m, m.len())?;
        Ok((m, floor))
    }
}
