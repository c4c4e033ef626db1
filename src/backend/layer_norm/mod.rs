//! Layer norm (Ba et al. 2016), forward and backward.

pub(in crate::backend) mod cpu;

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

/// What a device provides of it.
pub trait LayerNormOps: ActivationOps {
    /// out (N, C) = (x - mean) rstd w + b, eps 1e-5; `stats` (N, 2) gets mean and rstd.
    #[allow(clippy::too_many_arguments)]
    fn layer_norm(
        &self,
        out: &mut Self::Vector,
        stats: &mut Self::Vector,
        x: &Self::Vector,
        params: &Self::Vector,
        norm: &Norm,
        rows: usize,
        c: usize,
    ) -> Result<()>;

    /// dx (N, C) += gradient; writes the gain's and the bias's gradient.
    #[allow(clippy::too_many_arguments)]
    fn layer_norm_backward(
        &self,
        dx: &mut Self::Vector,
        grad: &mut Self::Vector,
        dout: &Self::Vector,
        x: &Self::Vector,
        stats: &Self::Vector,
        params: &Self::Vector,
        norm: &Norm,
        rows: usize,
        c: usize,
    ) -> Result<()>;

    /// The same; and the squares of the gain's and the bias's gradient of each sequence of `t` rows are added to `squares`.
    #[allow(clippy::too_many_arguments)]
    fn layer_norm_backward_squares(
        &self,
        dx: &mut Self::Vector,
        grad: &mut Self::Vector,
        squares: &mut Self::Vector,
        dout: &Self::Vector,
        x: &Self::Vector,
        stats: &Self::Vector,
        params: &Self::Vector,
        norm: &Norm,
        rows: usize,
        t: usize,
        c: usize,
    ) -> Result<()>;
}
