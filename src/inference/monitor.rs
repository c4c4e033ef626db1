//! What a run reads off its chain on the way: a monitor looks before and after each step, and its numbers go on with the chain.

use super::engine::Engine;
use crate::backend::Backend;
use crate::data::Batch;
use crate::error::Result;
use crate::samplers::{Phase, Sampler};
use std::any::Any;
use std::borrow::Cow;

/// Looks at a chain as a [`Session`](super::Session) steps it. The provided methods look at nothing and keep nothing.
pub trait Monitor<B: Backend + 'static>: Any + Send {
    /// Looks at the chain with the gradient at its parameters, just before it moves: only there do the two belong together. When this fails, no
    /// step is made.
    ///
    /// # Errors
    /// What the monitor's own look finds.
    fn before(&mut self, _chain: &Sampler<B>, _grad: &B::Vector) -> Result<()> {
        Ok(())
    }

    /// Looks at what a step made.
    ///
    /// # Errors
    /// What the monitor's own look finds; the step stays made.
    fn after(&mut self, _report: &StepReport, _at: &mut AfterStep<'_, B>) -> Result<()> {
        Ok(())
    }

    /// Returns what the chain's file keeps of it, by name: what does not grow with the steps. The file is written anew each time.
    ///
    /// # Errors
    /// Where memory does not hold a copy that it takes.
    fn state(&self) -> Result<Vec<(&'static str, Numbers<'_>)>> {
        Ok(Vec::new())
    }

    /// Returns by name the values that each series has got since [`Monitor::stored`]: a file's trace, which only grows, gets them.
    fn series(&self) -> Vec<(&'static str, Numbers<'_>)> {
        Vec::new()
    }

    /// Forgets what [`Monitor::series`] gave: the trace has it now.
    fn stored(&mut self) {}

    /// Goes on from what [`Monitor::state`] and [`Monitor::series`] gave, when the file of a chain that has made `progress` has it.
    ///
    /// # Errors
    /// For numbers that no such monitor has.
    fn restore(&mut self, _saved: &mut dyn Saved, _progress: Progress) -> Result<()> {
        Ok(())
    }
}

/// Numbers that a monitor keeps in a chain's file.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers<'a> {
    /// A count.
    Count(u64),
    /// A series of singles.
    F32(Cow<'a, [f32]>),
    /// A series of doubles.
    F64(Cow<'a, [f64]>),
}

/// The monitors' part of a chain's file.
pub trait Saved {
    /// Returns the count of that name, if the file has it.
    fn count(&self, name: &str) -> Option<u64>;

    /// Returns the series of doubles of that name, if the file has it: what of it does not lie in the trace, where [`Saved::stored`] counts values.
    ///
    /// # Errors
    /// When the file cannot be read, or has it in another type.
    fn f64s(&mut self, name: &str) -> Result<Option<Vec<f64>>>;

    /// Returns the series of singles of that name, if the file has it.
    ///
    /// # Errors
    /// Returns the errors of [`Saved::f64s`].
    fn f32s(&mut self, name: &str) -> Result<Option<Vec<f32>>>;

    /// Returns how many values of that series lie in the trace and stay there.
    fn stored(&self, _name: &str) -> u64 {
        0
    }
}

impl Numbers<'_> {
    /// Returns how many values a series has; none of a count.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Count(_) => 0,
            Self::F32(v) => v.len() as u64,
            Self::F64(v) => v.len() as u64,
        }
    }
}

/// How far a chain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Steps made in all, those that estimate the mass among them.
    pub steps: u64,
    /// Sampling steps made.
    pub sampled: u64,
}

/// What one step of a session found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Which step this was, counted from 0, those that estimate the mass included.
    pub step: u64,
    /// The phase that the step belonged to; the session's own is that of the next.
    pub phase: Phase,
    /// Mean log likelihood of the batch at the parameters before the step, nats; none with gradients of the caller's.
    pub log_lik: Option<f64>,
    /// Log prior there, without its constant; none where the step does not take it.
    pub log_prior: Option<f64>,
    /// Log posterior there; none where the step does not take it. Of a fit on a model's posterior the likelihood's part alone, but for VI.
    pub log_post: Option<f64>,
    /// Mean of m^2 / M' after the step; none without momenta and while the mass is estimated.
    pub kinetic_temperature: Option<f64>,
    /// Minus the mean of (theta - theta_0) * grad before the step; none of a fit and while the mass is estimated.
    pub configurational_temperature: Option<f64>,
    /// The thermostat's friction after the step; none for a method without.
    pub xi: Option<f64>,
    /// Whether the parameters are now a sample to keep.
    pub sample_due: bool,
}

/// A chain just after a step, as a monitor sees it.
pub struct AfterStep<'a, B: Backend + 'static> {
    pub(super) engine: &'a mut Engine<B>,
    pub(super) batch: Option<&'a Batch>,
    pub(super) progress: Progress,
}

impl<B: Backend + 'static> AfterStep<'_, B> {
    /// Returns how far the chain is, this step included.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Returns the chain's parameters, (n_params).
    pub fn params(&self) -> &B::Vector {
        self.engine.params()
    }

    /// Returns the mean log likelihood of the step's batch at the parameters that the chain began at; none with gradients of the caller's.
    ///
    /// # Errors
    /// When the device fails.
    pub fn log_lik_at_start(&mut self) -> Result<Option<f64>> {
        match (&mut *self.engine, self.batch) {
            (Engine::Chain(chain), Some(batch)) => chain.log_lik_at_start(batch).map(Some),
            _ => Ok(None),
        }
    }
}
