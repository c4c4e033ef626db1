//! What every file of a training has: the trainer's vectors, the losses of its last steps, and what it is a training of.

use crate::backend::{Backend, Transfer};
use crate::baseline::Trainer;
use crate::error::{Error, Result};
use crate::memory;
use crate::store::{self, Fetch, Header, Reader, TensorData, hex};
use std::path::Path;

/// Steps whose losses are averaged for the training loss.
const RECENT: usize = 50;
/// The recent losses' name in the file.
const LOSSES: &str = "losses";

/// The losses of the last steps, oldest first.
#[derive(Debug, Default)]
pub(super) struct RecentLosses(Vec<f64>);

impl RecentLosses {
    /// Adds a step's loss.
    pub fn add(&mut self, loss: f64) {
        if self.0.len() == RECENT {
            self.0.remove(0);
        }
        self.0.push(loss);
    }

    /// Returns their mean; NaN before the first step.
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// Returns the last one.
    pub fn last(&self) -> Option<f64> {
        self.0.last().copied()
    }
}

/// Writes where a training is, and `more` tensors; the header says what is trained.
///
/// # Errors
/// Those of [`store::write`] and of the device.
pub(super) fn write<B: Backend>(
    path: &Path,
    header: Header,
    (backend, trainer): (&B, &Trainer<B>),
    losses: &RecentLosses,
    more: Vec<(&str, TensorData<'_>)>,
) -> Result<()> {
    let header = Header {
        step: trainer.step_count(),
        ..header
    };
    let (state, len) = (trainer.state(), backend.len(trainer.params()));
    let fetch: Vec<_> = state.iter().map(|&(_, v)| move || backend.get(v)).collect();
    let mut tensors = vec![(LOSSES, TensorData::F64(&losses.0))];
    for ((name, _), get) in state.iter().zip(&fetch) {
        tensors.push((name, TensorData::Fetch(Fetch { len, get })));
    }
    tensors.extend(more);
    store::write(path, &header, &tensors)
}

/// Brings a trainer to where the file says that it was, once the file is known to be of what `own` says.
///
/// # Errors
/// [`Error::Mismatch`] with what differs; [`Error::BadHeader`] for another number of losses than the steps imply; those of [`Trainer::restore`].
pub(super) fn read<B: Backend>(
    path: &Path,
    file: &mut Reader,
    own: &Header,
    trainer: &mut Trainer<B>,
) -> Result<RecentLosses> {
    check(path, own, file.header())?;
    let step = file.header().step;
    let (n, wanted) = (file.tensor(LOSSES)?.len, step.min(RECENT as u64));
    if n != wanted {
        return Err(Error::BadHeader {
            path: path.into(),
            message: format!("{n} losses after {step} steps, expected {wanted}"),
        });
    }
    let mut losses = memory::room(RECENT, "recent losses")?;
    losses.resize(n as usize, 0.0);
    file.read_f64(LOSSES, &mut losses)?;
    trainer.restore(step, |name, to| file.read_f32(name, to))?;
    Ok(RecentLosses(losses))
}

/// Compares what a file is of with what is trained.
fn check(path: &Path, own: &Header, is: &Header) -> Result<()> {
    let each = [
        ("recipe", &own.config, &is.config),
        ("model", &own.model, &is.model),
        ("vocabulary", &own.vocabulary, &is.vocabulary),
        ("corpus", &hex(&own.corpus_sha256), &hex(&is.corpus_sha256)),
    ];
    match each.into_iter().find(|(_, own, is)| own != is) {
        None => Ok(()),
        Some((what, own, is)) => Err(Error::Mismatch {
            path: path.into(),
            what: what.into(),
            expected: own.clone(),
            got: is.clone(),
        }),
    }
}
