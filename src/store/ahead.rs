//! Samples in turn, the next one read and checked while the caller computes with this one.

use super::Store;
use crate::error::{Error, Result};
use crate::memory;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

impl Store {
    /// Calls `f` with each of the samples `indices`, in their order, which may name one several times. Two samples are in memory: a thread
    /// of its own reads the next one meanwhile.
    ///
    /// # Errors
    ///
    /// The first of `f`'s errors or of [`Store::load`]'s, in the order of the samples: what `f` has done with those before is done.
    pub fn for_each(
        &self,
        indices: impl Iterator<Item = usize> + Send,
        mut f: impl FnMut(usize, &Vec<f32>) -> Result<()>,
    ) -> Result<()> {
        let n = self.provenance().n_params;
        let n = usize::try_from(n).map_err(|_| Error::Unsupported(format!("{n} parameters")))?;
        let (give, read) = sync_channel(1);
        let (give_back, empty) = sync_channel(2);
        for _ in 0..2 {
            // Both ends are here: this cannot fail.
            let _ = give_back.send(memory::zeros(n, "samples that are read ahead")?);
        }
        std::thread::scope(|scope| {
            // Ours to drop before the scope waits for the reader, which may wait for a buffer.
            let give_back = give_back;
            std::thread::Builder::new()
                .name("bnn-read".into())
                .spawn_scoped(scope, move || self.fill(indices, &empty, &give))
                .map_err(|e| {
                    Error::Unsupported(format!("could not start a thread to read: {e}"))
                })?;
            // The reader ends when there is no more to read, after an error, or when these ends of its channels are gone.
            for sample in read {
                let (index, params) = sample?;
                f(index, &params)?;
                let _ = give_back.send(params); // the reader may have ended
            }
            Ok(())
        })
    }

    fn fill(
        &self,
        indices: impl Iterator<Item = usize>,
        empty: &Receiver<Vec<f32>>,
        give: &SyncSender<Result<(usize, Vec<f32>)>>,
    ) {
        for i in indices {
            let Ok(mut params) = empty.recv() else { return };
            let sample = self.load(i, &mut params).map(|()| (i, params));
            let failed = sample.is_err();
            if give.send(sample).is_err() || failed {
                return;
            }
        }
    }
}
