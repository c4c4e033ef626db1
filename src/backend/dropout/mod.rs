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

/// Dropout by itself; after a product it is part of [`crate::backend::Epilogue::Residual`].
pub trait DropoutOps: ActivationOps {
    /// out = x with elements dropped and the rest scaled by 1/(1-p), over the first n.
    fn dropout(&self, out: &mut Self::Act, x: &Self::Act, n: usize, dropout: Dropout)
    -> Result<()>;
}
