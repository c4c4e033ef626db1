//! Causal attention, forward, backward, and over cached keys and values.

pub(in crate::backend) mod cpu;

use crate::backend::Dropout;
use crate::backend::ops::ActivationOps;
use crate::error::Result;

/// Sizes of an attention: N = B T rows of C = H * head channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Sequences B.
    pub b: usize,
    /// Positions T.
    pub t: usize,
    /// Heads H.
    pub h: usize,
    /// Channels per head.
    pub size: usize,
}

impl AttentionShape {
    /// Width C.
    pub fn width(&self) -> usize {
        self.h * self.size
    }
}

/// What attention's backward pass reads.
pub struct Attended<'a, A> {
    /// The output's gradient, (N, C).
    pub dout: &'a A,
    /// The output, (N, C).
    pub out: &'a A,
    /// Log-sum-exp of each row's scores, (B, H, T).
    pub lse: &'a A,
    /// Queries, keys and values, (N, 3C).
    pub qkv: &'a A,
}

/// One block's part of a cache (S, sequences, L, 2, block, C): keys and values of S members' sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShape {
    /// Members S.
    pub members: usize,
    /// Sequences of each.
    pub sequences: usize,
    /// Blocks L.
    pub layers: usize,
    /// Which block.
    pub layer: usize,
    /// Longest context.
    pub block: usize,
    /// Heads H.
    pub h: usize,
    /// Channels per head.
    pub size: usize,
}

/// Which rows a pass over pieces goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceRows {
    /// All of them.
    All,
    /// The last of each piece.
    Last,
}

/// Attention.
pub trait AttentionOps: ActivationOps {
    /// Causal attention: out (N, C) from qkv (N, 3C), scale 1/sqrt(head); `lse` (B, H, T) keeps each row's log-sum-exp.
    fn attention(
        &self,
        out: &mut Self::Act,
        lse: &mut Self::Act,
        qkv: &Self::Act,
        shape: AttentionShape,
        dropout: Option<Dropout>,
    ) -> Result<()>;

    /// dqkv (N, 3C); the probabilities are made again from qkv and lse.
    fn attention_backward(
        &self,
        dqkv: &mut Self::Act,
        of: Attended<'_, Self::Act>,
        shape: AttentionShape,
        dropout: Option<Dropout>,
    ) -> Result<()>;

    /// Attention of new positions after cached ones: the keys and values of every piece join its sequence's part of the cache, then each new
    /// position attends to all before it. qkv (S, N, 3C); out (S, N, C), or (S, pieces, C) with the last row of each.
    fn attention_cached(
        &self,
        out: &mut Self::Act,
        cache: &mut Self::Act,
        qkv: &Self::Act,
        pieces: &Self::Tokens,
        shape: CacheShape,
        rows: PieceRows,
    ) -> Result<()>;
}
