//! Token and position embedding, forward and backward.

pub(in crate::backend) mod cpu;

use crate::backend::activations::{Params, WeightGrad};
use crate::backend::ops::ActivationOps;
use crate::error::Result;
use std::ops::Range;

/// The tables of tokens (V, C) and positions (block, C), as places in the flat vector.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The token embedding's place.
    pub wte: Range<usize>,
    /// The position embedding's place.
    pub wpe: Range<usize>,
    /// Width C.
    pub c: usize,
}

/// Which positions rows have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Rows are windows of so many tokens, each from position 0.
    Windows(usize),
    /// Rows are pieces, each from where its sequence's cache ends.
    Pieces,
}

/// What the head's gradient has to do with the token embedding's.
pub enum HeadGrad<'a, A> {
    /// Nothing: the head's weight is a tensor of its own.
    Own,
    /// The head's weight is the token embedding, and its part of the gradient is there already.
    There,
    /// The head's weight is the token embedding, and its part is still to be made.
    Missing {
        /// The logits' gradient, (N, V).
        dlogits: &'a A,
        /// The head's input, (N, C).
        input: &'a A,
    },
}

/// Embedding.
pub trait EmbedOps: ActivationOps {
    /// out (N, C) = `wte[x] + wpe[position]`.
    fn embed(
        &self,
        out: &mut Self::Act,
        params: Params<'_, Self>,
        tables: &Tables,
        x: &Self::Tokens,
        rows: usize,
        positions: Positions,
    ) -> Result<()>;

    /// Writes the tables' gradients, given the embedding's, `dout` (N, C); of a token's row both its parts are added before squaring.
    fn embed_backward(
        &self,
        to: WeightGrad<'_, Self>,
        tables: &Tables,
        head: HeadGrad<'_, Self::Act>,
        dout: &Self::Act,
        x: &Self::Tokens,
    ) -> Result<()>;
}
