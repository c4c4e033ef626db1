//! Linear layers y = x W^T + b, forward and backward, and what follows a product while it is in the cache.

pub(in crate::backend) mod cpu;

use crate::backend::Gelu;
use crate::backend::ops::ActivationOps;
use crate::error::Result;
use std::ops::Range;

/// What follows a matrix product, done while its rows are still in the cache. Matrices have the product's shape.
#[derive(Debug)]
pub enum Then<'a, B: ?Sized> {
    /// Nothing.
    Nothing,
    /// The matrix is added.
    Add(&'a B),
    /// Multiplied by the matrix, element by element.
    Times(&'a B),
    /// The matrix = gelu(product), which stays.
    Gelu(&'a mut B, Gelu),
}

/// A linear layer: y = x W^T + b, its parameters as places in the flat vector.
#[derive(Clone, Debug)]
pub struct Linear {
    /// The weight's place: (out, in).
    pub weight: Range<usize>,
    /// The bias's place: (out).
    pub bias: Option<Range<usize>>,
    /// Width of the input.
    pub n_in: usize,
    /// Width of the output.
    pub n_out: usize,
}

/// How decoding keeps the weights of linear layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightType {
    /// As they are.
    #[default]
    F32,
    /// Rounded to bfloat16, 8 significant bits: half the memory, and near twice the speed where memory bounds it. Sums stay f32.
    Bf16,
}

/// What a device provides of it.
pub trait LinearOps: ActivationOps {
    /// A linear layer's weight as decoding reads it.
    type Packed: Send + Sync;

    /// out (N, out) = x (N, in) W^T + b, and what follows.
    fn linear(
        &self,
        out: &mut Self::Vector,
        x: &Self::Vector,
        params: &Self::Vector,
        layer: &Linear,
        rows: usize,
        then: Then<'_, Self::Vector>,
    ) -> Result<()>;

    /// Lays a linear layer's weight out for [`Backend::linear_packed`].
    fn pack(&self, params: &Self::Vector, layer: &Linear, form: WeightType)
    -> Result<Self::Packed>;

    /// As [`Backend::linear`] with a packed weight; the bias, if any, is in `params`. A row's result does not depend on the others.
    fn linear_packed(
        &self,
        out: &mut Self::Vector,
        x: &Self::Vector,
        weight: &Self::Packed,
        params: &Self::Vector,
        layer: &Linear,
        rows: usize,
    ) -> Result<()>;

    /// dx (N, in) = dout (N, out) W, and what follows.
    fn linear_backward_input(
        &self,
        dx: &mut Self::Vector,
        dout: &Self::Vector,
        params: &Self::Vector,
        layer: &Linear,
        rows: usize,
        then: Then<'_, Self::Vector>,
    ) -> Result<()>;

    /// Writes the weight's and bias's gradient from dout (N, out) and x (N, in).
    fn linear_backward_weight(
        &self,
        grad: &mut Self::Vector,
        dout: &Self::Vector,
        x: &Self::Vector,
        layer: &Linear,
        rows: usize,
    ) -> Result<()>;

    /// Writes the weight's and bias's gradient from dout (N, out) and x (N, in); the squares of those of each sequence of `t` rows are
    /// added to `squares`.
    #[allow(clippy::too_many_arguments)]
    fn linear_backward_squares(
        &self,
        grad: &mut Self::Vector,
        squares: &mut Self::Vector,
        dout: &Self::Vector,
        x: &Self::Vector,
        layer: &Linear,
        rows: usize,
        t: usize,
    ) -> Result<()>;
}
