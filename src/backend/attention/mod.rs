//! Causal attention, forward, backward, and over cached keys and values.

pub(in crate::backend) mod cpu;

use crate::backend::Dropout;
use crate::backend::ops::ActivationOps;
use crate::error::Result;

/// The sizes of an attention: N = B T rows of C = H * head channels.
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
    /// Returns the width C.
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

/// The part of a cache (S, sequences, L, 2, block, C) that belongs to one block: the keys and values of S members' sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShape {
    /// Members S.
    pub members: usize,
    /// Sequences per member.
    pub sequences: usize,
    /// Blocks L.
    pub layers: usize,
    /// Index of the block.
    pub layer: usize,
    /// Longest context, in tokens.
    pub block: usize,
    /// Heads H.
    pub h: usize,
    /// Channels per head.
    pub size: usize,
}

/// The rows that a pass over pieces continues with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceRows {
    /// Every row.
    All,
    /// The last row of each piece.
    Last,
}

/// The operations of causal attention.
pub trait AttentionOps: ActivationOps {
    /// Computes causal attention: out (N, C) from qkv (N, 3C), with scale 1/sqrt(head); `lse` (B, H, T) receives the log-sum-exp of each
    /// row's scores.
    fn attention(
        &self,
        out: &mut Self::Act,
        lse: &mut Self::Act,
        qkv: &Self::Act,
        shape: AttentionShape,
        dropout: Option<Dropout>,
    ) -> Result<()>;

    /// Computes dqkv (N, 3C); the probabilities are recomputed from qkv and lse.
    fn attention_backward(
        &self,
        dqkv: &mut Self::Act,
        of: Attended<'_, Self::Act>,
        shape: AttentionShape,
        dropout: Option<Dropout>,
    ) -> Result<()>;

    /// Computes the attention of new positions after cached ones: the keys and values of every piece join its sequence's part of the cache,
    /// then each new position attends to all before it. qkv is (S, N, 3C); out is (S, N, C), or (S, pieces, C) with the last row of each
    /// piece.
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
