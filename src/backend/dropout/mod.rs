//! Dropout (Srivastava et al. 2014), the mask a function of (seed, step, site, element).

pub(in crate::backend) mod cpu;

use crate::backend::ops::ActivationOps;
use crate::error::Result;

/// Dropout as a function of (seed, step, site, element): the backward pass draws the same mask again.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability that an element is dropped, in [0, 1).
    pub p: f32,
    /// Seed of the run.
    pub seed: u64,
    /// Which step.
    pub step: u64,
    /// Which place in the model.
    pub site: u32,
}

/// What a device provides of it.
pub trait DropoutOps: ActivationOps {
    /// Drops elements of the first n of x in place and scales the rest by 1/(1-p).
    fn dropout(&self, x: &mut Self::Vector, n: usize, dropout: Dropout) -> Result<()>;
}
