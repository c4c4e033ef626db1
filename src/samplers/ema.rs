//! The exponential moving average of an optimiser's parameters: one model, the cheapest average of weights there is.
//!
//! **Target.** None: it is no approximation of a posterior, and has no spread. It is here to be compared with (Polyak & Juditsky 1992, "Acceleration of
//! stochastic approximation by averaging", average all steps alike).
//!
//! **Update.** Every step moves theta by AdamW (`adam_path`) and then, for step t counted from 1, as the average of a baseline's training does,
//!
//! ```text
//! keep = min(decay, t / (t + 9)),  mean = keep mean + (1 - keep) theta
//! ```
//!
//! **Draw.** The average itself, whatever the number of the draw.
//!
//! **Hyperparameters.** `lr` > 0, times the caller's factor of a step. `decay` in [0, 1).
//!
//! **State.** theta, AdamW's two means, the average, steps. **Init.** The average begins at theta.

use super::adam_path::{AdamPath, PathReport};
use super::observed::Observed;
use crate::backend::vectors::{Combine, Transfer, Vectors};
use crate::baseline::follow;
use crate::error::{Error, Result};
use crate::memory;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmaConfig {
    /// AdamW's rate, > 0.
    pub lr: f64,
    /// Observations that the log posterior is of, > 0: the optimiser's loss is minus the log posterior over them.
    pub observations: f64,
    /// The share of the average that a step keeps, in [0, 1).
    pub decay: f64,
}

/// The whole state as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct EmaState {
    /// Steps made.
    pub step: u64,
    /// Where the optimiser is.
    pub params: Vec<f32>,
    /// AdamW's first and second moments; empty is 0.
    pub adam: [Vec<f32>; 2],
    /// The average.
    pub mean: Vec<f32>,
}

/// A moving average that follows an optimiser. One thread at a time.
pub struct Ema<V: Vectors> {
    path: AdamPath<V>,
    decay: f64,
    mean: V::Vector,
}

impl<V: Vectors> Ema<V> {
    /// Begins at `params`.
    ///
    /// # Errors
    /// When a setting is out of range, or a number is not finite.
    pub fn new(vectors: V, params: &[f32], config: EmaConfig) -> Result<Self> {
        let state = EmaState {
            step: 0,
            params: memory::copy(params, "a fit's start")?,
            adam: Default::default(),
            mean: memory::copy(params, "a fit's mean")?,
        };
        Self::restore(vectors, config, &state)
    }

    /// Goes on from a saved state, bit for bit.
    ///
    /// # Errors
    /// Returns the errors of [`Ema::new`], and an error when the vectors are of different lengths.
    pub fn restore(vectors: V, config: EmaConfig, state: &EmaState) -> Result<Self> {
        if !(0.0..1.0).contains(&config.decay) {
            return Err(Error::out_of_range("decay", "0 to below 1", config.decay));
        }
        let rates = (config.lr, config.observations);
        super::sampler_state::check_finite("mean", &state.mean, state.params.len())?;
        let mean = vectors.put(&state.mean)?;
        Ok(Self {
            path: AdamPath::restore(vectors, rates, state.step, &state.params, &state.adam)?,
            decay: config.decay,
            mean,
        })
    }

    /// Returns the state as plain data.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn state(&self) -> Result<EmaState> {
        let (params, adam) = self.path.state()?;
        Ok(EmaState {
            step: self.path.steps_made(),
            params,
            adam,
            mean: self.path.vectors().get(&self.mean)?,
        })
    }

    /// Takes in the gradient of the log posterior at [`Ema::params`], and its value: AdamW moves by its rate times `rate`, and the average follows.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with step and element for a gradient or value that is NaN or infinite, with the state as before, and for a parameter that
    /// the step made so.
    pub fn step_with_gradient(
        &mut self,
        grad: &V::Vector,
        log_post: f64,
        rate: f64,
    ) -> Result<PathReport> {
        self.step(Observed::Given { grad, log_post }, rate)
    }

    /// Does what [`Ema::step_with_gradient`] does.
    pub(super) fn step(&mut self, observed: Observed<'_, V>, rate: f64) -> Result<PathReport> {
        let report = self.path.step(observed, rate)?;
        self.follow(report)
    }

    fn follow(&mut self, report: PathReport) -> Result<PathReport> {
        let (path, step) = (&self.path, report.step + 1);
        let (vectors, params) = (path.vectors(), path.params());
        follow(vectors, &mut self.mean, params, self.decay, step)?;
        Ok(report)
    }

    /// Returns where the optimiser is: where the next gradient is to be taken.
    pub fn params(&self) -> &V::Vector {
        self.path.params()
    }

    /// Returns the average.
    pub fn mean(&self) -> &V::Vector {
        &self.mean
    }

    /// Returns the number of steps made.
    pub fn steps_made(&self) -> u64 {
        self.path.steps_made()
    }

    /// Writes the average into `out`.
    ///
    /// # Errors
    /// When `out` has another length.
    pub fn draw(&self, out: &mut V::Vector) -> Result<()> {
        self.path.vectors().combine(out, Combine::Copy(&self.mean))
    }
}
