//! Token and position embedding, forward and backward.

pub(in crate::backend) mod cpu;

use crate::backend::activations::{Params, WeightGrad};
use crate::backend::ops::ActivationOps;
use crate::error::Result;
use std::ops::Range;

/// The tables of tokens (V, C) and positions (block, C), as ranges of the flat vector.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The range of the token embedding.
    pub wte: Range<usize>,
    /// The range of the position embedding.
    pub wpe: Range<usize>,
    /// Width C.
    pub c: usize,
}

/// The positions of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Rows are windows of this many tokens, each from position 0.
    Windows(usize),
    /// Rows are pieces, each from where its sequence's cache ends.
    Pieces,
}

/// How the head's gradient relates to that of the token embedding.
pub enum HeadGrad<'a, A> {
    /// The head's weight is a separate tensor.
    Own,
    /// The head's weight is the token embedding, and its part of the gradient has been written already.
    There,
    /// The head's weight is the token embedding, and its part is still to be computed.
    Missing {
        /// The logits' gradient, (N, V).
        dlogits: &'a A,
        /// The head's input, (N, C).
        input: &'a A,
    },
}

/// The operations of embedding.
pub trait EmbedOps: ActivationOps {
    /// Computes out (N, C) = `wte[x] + wpe[position]`.
    fn embed(
        &self,
        out: &mut Self::Act,
        params: Params<'_, Self>,
        tables: &Tables,
        x: &Self::Tokens,
        rows: usize,
        positions: Positions,
    ) -> Result<()>;

    /// Writes the tables' gradients from that of the embedding, `dout` (N, C). The two parts of a token's row are added before squaring.
    fn embed_backward(
        &self,
        to: WeightGrad<'_, Self>,
        tables: &Tables,
        head: HeadGrad<'_, Self::Act>,
        dout: &Self::Act,
        x: &Self::Tokens,
    ) -> Result<()>;
}
