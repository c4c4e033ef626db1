//! The temperature of each tensor, or of any ranges of the parameters, while a chain samples.

use crate::backend::Backend;
use crate::error::Result;
use crate::gpt::Gpt;
use crate::inference::monitor::{AfterStep, Monitor, Numbers, Progress, Saved, StepReport};
use crate::samplers::{ChainConfig, Phase, Sampler, Temperatures};
use std::ops::Range;

/// The name of the running temperatures, and of how often they were taken.
const NAME: &str = "temperatures";

/// Takes [`Temperatures`] at every so many sampling steps.
pub struct TensorTemperatures {
    taken: Temperatures,
    read: bool, // at the step that is being made
}

impl TensorTemperatures {
    /// Takes those of `ranges`, none of them empty, at every `every`-th sampling step.
    ///
    /// # Errors
    /// Returns the errors of [`Temperatures::new`].
    pub fn new(every: u64, ranges: Vec<Range<usize>>) -> Result<Self> {
        Ok(Self {
            taken: Temperatures::new(every, ranges)?,
            read: false,
        })
    }

    /// Takes those of each tensor of a model, with the frictions of a chain whose tensors have thermostats; none where `every` is 0.
    ///
    /// # Errors
    /// Returns the errors of [`Temperatures::new`].
    pub fn of_tensors(gpt: &Gpt, every: u64, chain: &ChainConfig) -> Result<Option<Self>> {
        let tensors = gpt.layout().tensors().iter();
        let ranges = tensors.map(|t| t.range.clone()).collect();
        if every == 0 {
            return Ok(None);
        }
        let taken = match chain.thermostats.is_global() {
            true => Temperatures::new(every, ranges),
            false => Temperatures::with_frictions(every, ranges),
        }?;
        Ok(Some(Self { taken, read: false }))
    }

    /// Returns the temperatures so far.
    pub fn taken(&self) -> &Temperatures {
        &self.taken
    }
}

impl<B: Backend + 'static> Monitor<B> for TensorTemperatures {
    fn before(&mut self, chain: &Sampler<B>, grad: &B::Vector) -> Result<()> {
        let sampled = chain.step().saturating_sub(chain.config().warmup_steps);
        self.read = chain.phase() == Phase::Sampling && self.taken.due(sampled);
        if self.read {
            self.taken.read(chain, grad)
        } else {
            Ok(())
        }
    }

    fn after(&mut self, _report: &StepReport, _at: &mut AfterStep<'_, B>) -> Result<()> {
        if std::mem::take(&mut self.read) {
            self.taken.keep();
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<(&'static str, Numbers<'_>)>> {
        Ok(vec![
            (NAME, Numbers::Count(self.taken.count())),
            (NAME, Numbers::F64(self.taken.kept()?.into())),
        ])
    }

    fn restore(&mut self, saved: &mut dyn Saved, progress: Progress) -> Result<()> {
        // A file from before counts has a count of 0 where none were taken.
        if let (Some(count), Some(state)) = (saved.count(NAME), saved.f64s(NAME)?) {
            self.taken = self.taken.restore(progress.sampled, (count, &state))?;
        }
        Ok(())
    }
}
