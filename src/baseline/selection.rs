//! How the best state of a training is found, and when it has been found.

use crate::error::{Error, Result};
use serde::Serialize;

/// How a training's best state is found, and when it has been found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Selection {
    /// Steps between two looks at the held-out text, at least 1. The last step has a look too.
    pub every: u64,
    /// The training ends when the best state is so many steps old; 0 makes all steps.
    pub patience: u64,
    /// Decays of the averages that are looked at beside the parameters, each in [0, 1): [`Trainer::average`](super::Trainer::average).
    pub decays: Vec<f64>,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            every: 100,
            patience: 1000,
            decays: vec![0.99, 0.998],
        }
    }
}

impl Selection {
    /// Checks that every value is in its range.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the first that is not.
    pub fn check(&self) -> Result<()> {
        if self.every == 0 {
            return Err(Error::out_of_range("steps between looks", "at least 1", 0));
        }
        match self.decays.iter().find(|d| !(0.0..1.0).contains(*d)) {
            Some(d) => Err(Error::out_of_range(
                "decay of an average",
                "0 to below 1",
                d,
            )),
            None => Ok(()),
        }
    }
}
