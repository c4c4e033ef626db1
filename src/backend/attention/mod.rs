//! Causal attention, forward, backward, and over cached keys and values.

pub(in crate::backend) mod cpu;

use crate::backend::Dropout;
use crate::backend::ops::ActivationOps;
use crate::error::Result;

/// Sizes of an attention: N = B T rows of C = H * head channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Sequences B.
    pub b: usize,
    /// Positions T.
    pub t: usize,
    /// Heads H.
    pub h: usize,
    /// Channels a head.
    pub size: usize,
}

impl Heads {
    /// Width C.
    pub fn width(&self) -> usize {
        self.h * self.size
    }
}

/// Some consecutive rows of a batch: new tokens of one sequence, of which others were read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first row.
    pub row: usize,
    /// How many, at least 1.
    pub rows: usize,
    /// Where its keys (block, C) and then its values (block, C) begin in the cache.
    pub slot: usize,
    /// Tokens of the sequence that are in the cache.
    pub past: usize,
}

/// What a device provides of it.
pub trait AttentionOps: ActivationOps {
    /// Causal attention: out (N, C) from qkv (N, 3C), scale 1/sqrt(head); `lse` (B, H, T) keeps each row's log-sum-exp.
    fn attention(
        &self,
        out: &mut Self::Vector,
        lse: &mut Self::Vector,
        qkv: &Self::Vector,
        heads: Heads,
        dropout: Option<Dropout>,
    ) -> Result<()>;

    /// dqkv (N, 3C) from dout (N, C); the probabilities are made again from qkv and lse.
    #[allow(clippy::too_many_arguments)]
    fn attention_backward(
        &self,
        dqkv: &mut Self::Vector,
        dout: &Self::Vector,
        out: &Self::Vector,
        lse: &Self::Vector,
        qkv: &Self::Vector,
        heads: Heads,
        dropout: Option<Dropout>,
    ) -> Result<()>;

    /// Attention of new positions after cached ones: the keys and values of every span join its slot of the cache, whose length is
    /// `block`, then each new position attends to all before it. qkv (N, 3C); out (N, C), or with `last` (S, C): each span's last row.
    #[allow(clippy::too_many_arguments)]
    fn attention_cached(
        &self,
        out: &mut Self::Vector,
        cache: &mut Self::Vector,
        block: usize,
        qkv: &Self::Vector,
        spans: &[Span],
        heads: usize,
        size: usize,
        last: bool,
    ) -> Result<()>;
}
