//! One model of an average: held in memory, or read from its store each time that it is used.

use super::spread;
use crate::error::Result;
use crate::memory;
use crate::store::Store;
use std::sync::Arc;

/// A parameter vector, or where it is.
#[derive(Clone, Debug)]
pub enum Member {
    /// The vector, (n_params).
    Held(Vec<f32>),
    /// A sample of a store, by its index; it is checked each time that it is read.
    Stored(Arc<Store>, usize),
}

impl Member {
    /// Returns `n` samples of a store, spread evenly over its chains and steps, or all where `n` is 0. As many as fit into `bytes` are read now and held.
    ///
    /// # Errors
    /// When a sample cannot be read, or memory ends.
    pub fn of_store(store: &Arc<Store>, n: usize, bytes: usize) -> Result<Vec<Self>> {
        let used = spread(store.ids(), n)?;
        let len = usize::try_from(store.provenance().n_params).unwrap_or(usize::MAX);
        let held = bytes / len.saturating_mul(size_of::<f32>()).max(1);
        let each = used.iter().enumerate().map(|(i, &index)| {
            let stored = Self::Stored(Arc::clone(store), index);
            if i >= held {
                return Ok(stored);
            }
            let mut params = Vec::new();
            stored.params(&mut params)?;
            Ok(Self::Held(params))
        });
        memory::try_collect(each, "samples")
    }

    /// Returns the parameters, (n_params); `room` takes them where they are read.
    ///
    /// # Errors
    /// When the sample cannot be read, or memory ends.
    pub fn params<'a>(&'a self, room: &'a mut Vec<f32>) -> Result<&'a [f32]> {
        match self {
            Self::Held(params) => Ok(params),
            Self::Stored(store, index) => {
                let len = usize::try_from(store.provenance().n_params).unwrap_or(usize::MAX);
                memory::resize(room, len, 0.0, "a sample")?;
                store.load(*index, room)?;
                Ok(room)
            }
        }
    }
}
