//! Dropout (Srivastava et al. 2014), the mask a function of (seed, step, site, element).

pub(in crate::backend) mod cpu;

use crate::backend::ops::ActivationOps;
use crate::error::Result;

/// A dropout mask as a function of (seed, step, site, element): the backward pass draws it again.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability that an element is dropped, in [0, 1).
    pub p: f32,
    /// Seed of the run.
    pub seed: u64,
    /// Step of the run.
    pub step: u64,
    /// Site in the model.
    pub site: u32,
}

/// The operation of dropout alone; after a product it is part of [`crate::backend::Epilogue::Residual`].
pub trait DropoutOps: ActivationOps {
    /// Writes x to out, over the first n elements, with elements dropped and the others scaled by 1/(1-p).
    fn dropout(&self, out: &mut Self::Act, x: &Self::Act, n: usize, dropout: Dropout)
    -> Result<()>;
}
