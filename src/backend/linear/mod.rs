//! Linear layers y = x W^T + b, forward and backward, and the epilogue of a product while its rows are in the cache.

pub(in crate::backend) mod cpu;

use crate::backend::activations::{Params, WeightGrad};
use crate::backend::ops::ActivationOps;
use crate::backend::{Dropout, Gelu};
use crate::error::Result;
use std::ops::Range;

/// A linear layer: the ranges of its parameters in the flat vector.
#[derive(Clone, Debug)]
pub struct Linear {
    /// The range of the weight, (out, in).
    pub weight: Range<usize>,
    /// The range of the bias, (out).
    pub bias: Option<Range<usize>>,
    /// Width of the input.
    pub n_in: usize,
    /// Width of the output.
    pub n_out: usize,
}

/// What is done to a matrix product while its rows are still in the cache. Matrices have the product's shape.
pub enum Epilogue<'a, B: ActivationOps> {
    /// Nothing is done.
    None,
    /// Adds the product to a residual stream: out = x + dropout(product).
    Residual {
        /// What the product is added to.
        x: &'a B::Act,
        /// The dropout that is applied to the product.
        dropout: Option<Dropout>,
        /// With pieces, x has all their rows, and the product has a row for the last of each piece.
        ends: Option<&'a B::Tokens>,
    },
    /// Multiplies the product by this matrix, element by element.
    Mul(&'a B::Act),
    /// Writes gelu(product) to this matrix and keeps the product.
    Gelu(&'a mut B::Act, Gelu),
}

/// The operations of linear layers.
pub trait LinearOps: ActivationOps {
    /// Computes out (N, out) = x (N, in) W^T + b, and the epilogue. With an ensemble, a row's result does not depend on the other rows.
    fn linear(
        &self,
        out: &mut Self::Act,
        x: &Self::Act,
        params: Params<'_, Self>,
        layer: &Linear,
        rows: usize,
        epilogue: Epilogue<'_, Self>,
    ) -> Result<()>;

    /// Computes dx (N, in) = dout (N, out) W, and the epilogue.
    fn linear_backward_input(
        &self,
        dx: &mut Self::Act,
        dout: &Self::Act,
        params: &Self::Vector,
        layer: &Linear,
        rows: usize,
        epilogue: Epilogue<'_, Self>,
    ) -> Result<()>;

    /// Writes the gradients of weight and bias from dout (N, out) and x (N, in).
    fn linear_backward_weight(
        &self,
        to: WeightGrad<'_, Self>,
        dout: &Self::Act,
        x: &Self::Act,
        layer: &Linear,
    ) -> Result<()>;
}
