//! The checkpoint of a deterministic model in training: parameters, AdamW's means and recent losses, from which it goes on bit for bit.

use super::selection::Selector;
use super::training_file::{self, RecentLosses};
use crate::backend::Backend;
use crate::baseline::Trainer;
use crate::disk;
use crate::error::{Error, Result};
use crate::memory;
use crate::store::{Header, Kind, Reader, TensorData, set_aside};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The losses on the held-out text, and the best state by them.
const CURVE: &str = "curve";
const BEST: &str = "best";
/// The scalar that says how long it was trained.
const SECONDS: &str = "seconds";
/// The folder beside the checkpoint that takes those that cannot be gone on from.
const DAMAGED: &str = "damaged";

/// What a training leaves beside the model: the losses of its last steps, and its seconds.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub losses: RecentLosses,
    pub seconds: f64,
}

/// The file of a training's state, and all that the state depends on.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    header: Header,
    /// Steps between two checkpoints.
    pub every: u64,
}

impl Part {
    /// Returns the checkpoint of the training that makes the file `kept`: `x.bnn` gives `x.part.bnn`. The header says what is trained.
    pub fn of(kept: &Path, header: Header, every: u64) -> Self {
        Self {
            path: path(kept),
            header: Header {
                kind: Kind::Training,
                ..header
            },
            every,
        }
    }

    /// Writes where a training is.
    ///
    /// # Errors
    /// Those of the device, and when the file cannot be written.
    pub fn write<B: Backend>(
        &self,
        backend: &B,
        trainer: &Trainer<B>,
        record: &Record,
        selector: Option<&Selector<'_>>,
    ) -> Result<()> {
        let header = Header {
            scalars: vec![(SECONDS.into(), record.seconds)],
            ..self.header.clone()
        };
        let mut looks = Vec::new();
        if let Some(s) = selector.filter(|s| s.taken() > 0) {
            looks.push((CURVE, TensorData::F64(&s.curve)));
            looks.push((BEST, TensorData::F32(&s.best)));
        }
        let of = (backend, trainer);
        training_file::write(&self.path, header, of, &record.losses, looks)
    }

    /// Returns whether there is a file.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn is_there(&self) -> Result<bool> {
        disk::exists(&self.path).map_err(Error::io(&self.path))
    }

    /// Brings a new training to where the file says that it was. A file that is damaged or of another training is moved to the folder `damaged` beside it,
    /// which `say` hears; then there is no record, and the training is to be made anew.
    ///
    /// # Errors
    /// When the system refuses the file, or memory does not hold it.
    pub fn restore<B: Backend>(
        &self,
        trainer: &mut Trainer<B>,
        selector: Option<&mut Selector<'_>>,
        say: impl FnOnce(&str),
    ) -> Result<Option<Record>> {
        match self.read(trainer, selector) {
            Ok(record) => Ok(Some(record)),
            Err(e @ (Error::Io { .. } | Error::OutOfMemory { .. })) => Err(e),
            Err(e) => {
                let to = self.path.with_file_name(DAMAGED);
                let moved = set_aside(&self.path, &to)?;
                say(&format!(
                    "warning: {e}; the file is now {}, and the training begins anew",
                    moved.display()
                ));
                Ok(None)
            }
        }
    }

    fn read<B: Backend>(
        &self,
        trainer: &mut Trainer<B>,
        selector: Option<&mut Selector<'_>>,
    ) -> Result<Record> {
        let mut file = Reader::open(&self.path, Kind::Training)?;
        let losses = training_file::read(&self.path, &mut file, &self.header, trainer)?;
        let (step, seconds) = (file.header().step, file.scalar(SECONDS)?);
        if !(seconds >= 0.0 && seconds.is_finite()) {
            return Err(Error::BadHeader {
                path: self.path.clone(),
                message: format!("{seconds} seconds, expected at least 0"),
            });
        }
        if let Some(selector) = selector {
            self.read_looks(&mut file, selector, step)?;
        }
        Ok(Record { losses, seconds })
    }

    /// Reads what the looks at the held-out text saw; one that the training was stopped in may be missing.
    fn read_looks(&self, file: &mut Reader, selector: &mut Selector<'_>, step: u64) -> Result<()> {
        let there = file.tensors().iter().any(|t| t.name == CURVE);
        let len = if there { file.tensor(CURVE)?.len } else { 0 };
        let (least, most) = selector.lengths(step);
        if !(least..=most).contains(&len) {
            return Err(Error::BadHeader {
                path: self.path.clone(),
                message: format!("{len} losses on the held-out text, expected {least} to {most}"),
            });
        }
        if there {
            let (best, what) = (file.tensor(BEST)?.len, "the best parameters so far");
            selector.curve = memory::zeros(len as usize, what)?;
            file.read_f64(CURVE, &mut selector.curve)?;
            selector.best = memory::zeros(usize::try_from(best).unwrap_or(usize::MAX), what)?;
            file.read_f32(BEST, &mut selector.best)?;
        }
        selector.check(&self.path)
    }
}

/// Returns where the checkpoint of the training that makes a file lies.
pub(super) fn path(kept: &Path) -> PathBuf {
    kept.with_extension("part.bnn")
}

/// Takes the checkpoint of a training that is done away, if it is there.
///
/// # Errors
/// Returns [`Error::Io`] when it is there and cannot be removed.
pub(super) fn remove(kept: &Path) -> Result<()> {
    let path = path(kept);
    match disk::remove(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(&path)(e)),
        _ => Ok(()),
    }
}
