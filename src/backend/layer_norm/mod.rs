//! Layer norm (Ba et al. 2016), forward and backward.

pub(in crate::backend) mod cpu;

use crate::backend::activations::{Params, WeightGrad};
use crate::backend::ops::ActivationOps;
use crate::error::Result;
use std::ops::Range;

/// A layer norm: its parameters as places in the flat vector.
#[derive(Clone, Debug)]
pub struct Norm {
    /// The gain's place: (C).
    pub weight: Range<usize>,
    /// The bias's place: (C).
    pub bias: Option<Range<usize>>,
}

/// What a layer norm's backward pass reads.
pub struct Normed<'a, A> {
    /// The output's gradient, (N, C).
    pub dout: &'a A,
    /// The input, (N, C).
    pub x: &'a A,
    /// Mean and 1 / standard deviation of each row, (N, 2).
    pub stats: &'a A,
}

/// What becomes of what a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It is overwritten.
    Over,
    /// It is added to.
    Add,
}

/// Layer norm.
pub trait LayerNormOps: ActivationOps {
    /// out (N, C) = (x - mean) rstd w + b, eps 1e-5; `stats` (N, 2) gets mean and rstd.
    fn layer_norm(
        &self,
        out: &mut Self::Act,
        stats: &mut Self::Act,
        x: &Self::Act,
        params: Params<'_, Self>,
        norm: &Norm,
        rows: usize,
    ) -> Result<()>;

    /// dx (N, C) gets the input's gradient, as `write` says; writes the gain's and the bias's.
    fn layer_norm_backward(
        &self,
        dx: &mut Self::Act,
        write: Write,
        to: WeightGrad<'_, Self>,
        of: Normed<'_, Self::Act>,
        params: &Self::Vector,
        norm: &Norm,
    ) -> Result<()>;
}
