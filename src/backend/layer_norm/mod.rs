//! Layer norm (Ba et al. 2016), forward and backward.

pub(in crate::backend) mod cpu;

use crate::backend::activations::{Params, WeightGrad};
use crate::backend::ops::ActivationOps;
use crate::error::Result;
use std::ops::Range;

/// A layer norm: the ranges of its parameters in the flat vector.
#[derive(Clone, Debug)]
pub struct Norm {
    /// The range of the gain, (C).
    pub weight: Range<usize>,
    /// The range of the bias, (C).
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

/// Whether a result replaces what a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// The buffer is overwritten.
    Over,
    /// The result is added to the buffer.
    Add,
}

/// The operations of layer norm.
pub trait LayerNormOps: ActivationOps {
    /// Computes out (N, C) = (x - mean) rstd w + b, with eps 1e-5; `stats` (N, 2) receives mean and rstd.
    fn layer_norm(
        &self,
        out: &mut Self::Act,
        stats: &mut Self::Act,
        x: &Self::Act,
        params: Params<'_, Self>,
        norm: &Norm,
        rows: usize,
    ) -> Result<()>;

    /// Computes the input's gradient into dx (N, C), as `write` says, and writes those of the gain and the bias.
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
