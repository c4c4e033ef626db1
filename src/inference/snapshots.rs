//! The states of a training that are kept on its way, as samples are: an ensemble that costs nothing but room.

use crate::backend::{Backend, Transfer};
use crate::baseline::Trainer;
use crate::error::Result;
use crate::memory;
use crate::store::{Provenance, Store};
use std::path::Path;

/// Which states are kept, and where.
#[derive(Clone, Copy, Debug)]
pub struct Snapshots<'a> {
    /// The folder of the store.
    pub folder: &'a Path,
    /// What the store's files say that they are of.
    pub provenance: &'a Provenance,
    /// Steps before the first interval.
    pub after: u64,
    /// Steps of an interval, at least 1: a state is kept at the end of each.
    pub every: u64,
}

impl Snapshots<'_> {
    /// Returns whether the state after a step is kept.
    pub fn is_due(&self, step: u64) -> bool {
        step > self.after && (step - self.after).is_multiple_of(self.every)
    }

    /// Returns how many states are kept in the first `steps` steps.
    pub fn count(&self, steps: u64) -> u64 {
        steps.saturating_sub(self.after) / self.every
    }

    /// Opens the store, as far as it has what a training of so many steps has kept; none where something is missing.
    pub(super) fn open(&self, made: u64) -> Result<Option<Store>> {
        let store = Store::resume(self.folder, self.provenance.clone())?;
        let there = |step: u64| store.ids().iter().any(|id| id.step == step);
        let kept = (1..=self.count(made)).map(|i| self.after + i * self.every);
        Ok(kept.into_iter().all(there).then_some(store))
    }

    /// Keeps the state that a step has made. One that is there already must be the same.
    pub(super) fn keep<B: Backend>(
        &self,
        store: &mut Store,
        backend: &B,
        trainer: &Trainer<B>,
    ) -> Result<()> {
        let mut params = memory::zeros(backend.len(trainer.params()), "a model's parameters")?;
        backend.download(trainer.params(), &mut params)?;
        store.append(0, trainer.step_count(), &params)
    }
}
