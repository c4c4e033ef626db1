//! Linear layers y = x W^T + b, forward and backward, and what follows a product while its rows are in the cache.

pub(in crate::backend) mod cpu;

use crate::backend::activations::{Params, WeightGrad};
use crate::backend::ops::ActivationOps;
use crate::backend::{Dropout, Gelu};
use crate::error::Result;
use std::ops::Range;

/// A linear layer, its parameters as places in the flat vector.
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

/// What follows a matrix product, done while its rows are still in the cache. Matrices have the product's shape.
pub enum Epilogue<'a, B: ActivationOps> {
    /// Nothing.
    None,
    /// out = x + dropout(product).
    Residual {
        /// What the product is added to.
        x: &'a B::Act,
        /// What is dropped of the product.
        dropout: Option<Dropout>,
        /// Where there are pieces here, x has all their rows and the product a row for each piece's last.
        ends: Option<&'a B::Tokens>,
    },
    /// Multiplied by the matrix, element by element.
    Mul(&'a B::Act),
    /// The matrix = gelu(product), which stays.
    Gelu(&'a mut B::Act, Gelu),
}

/// Linear layers.
pub trait LinearOps: ActivationOps {
    /// out (N, out) = x (N, in) W^T + b, and what follows. With an ensemble a row's result does not depend on the others.
    fn linear(
        &self,
        out: &mut Self::Act,
        x: &Self::Act,
        params: Params<'_, Self>,
        layer: &Linear,
        rows: usize,
        epilogue: Epilogue<'_, Self>,
    ) -> Result<()>;

    /// dx (N, in) = dout (N, out) W, and what follows.
    fn linear_backward_input(
        &self,
        dx: &mut Self::Act,
        dout: &Self::Act,
        params: &Self::Vector,
        layer: &Linear,
        rows: usize,
        epilogue: Epilogue<'_, Self>,
    ) -> Result<()>;

    /// Writes the weight's and bias's gradient from dout (N, out) and x (N, in).
    fn linear_backward_weight(
        &self,
        to: WeightGrad<'_, Self>,
        dout: &Self::Act,
        x: &Self::Act,
        layer: &Linear,
    ) -> Result<()>;
}
