//! Buffers of a pass, tokens on the device, and how work is handed to it.

pub(in crate::backend) mod cpu;

use crate::backend::{GemmPrecision, Span, Vectors};
use crate::error::Result;

/// Buffers, tokens and threads of a pass.
pub trait ActivationOps: Vectors {
    /// Token indices on the device.
    type Tokens: Send + Sync;

    /// Room for `n` tokens.
    fn tokens(&self, n: usize) -> Result<Self::Tokens>;

    /// Copies tokens to the front of `to`.
    fn upload_tokens(&self, from: &[u16], to: &mut Self::Tokens) -> Result<()>;

    /// Copies `to.len()` elements from `at` to the caller.
    fn download_part(&self, from: &Self::Vector, at: usize, to: &mut [f32]) -> Result<()>;

    /// Runs several operations as one piece of work, without a hand-over to the device's threads for each. `work` is about how many
    /// multiplications they are: few are not worth the one hand-over.
    fn batch<R: Send>(&self, work: usize, f: impl FnOnce() -> R + Send) -> R;

    /// What products of matrices keep to.
    fn gemm_precision(&self) -> GemmPrecision;

    /// The same device with products of f32 operands as they are; what it runs on is shared.
    fn with_f32_products(&self) -> Self;

    /// How many items [`Backend::each`] runs at a time, at least 1.
    fn lanes(&self) -> usize;

    /// Runs `f` on every item, several at a time where the device can. The first item's error, in their order, is given back.
    fn each<T: Send>(
        &self,
        items: &mut [T],
        f: impl Fn(usize, &mut T) -> Result<()> + Sync,
    ) -> Result<()>;

    /// out (S, C) = the last row of each of S spans of x (N, C).
    fn last_rows(
        &self,
        out: &mut Self::Vector,
        x: &Self::Vector,
        spans: &[Span],
        c: usize,
    ) -> Result<()>;

    /// out = a + b over the first n elements.
    fn add(
        &self,
        out: &mut Self::Vector,
        a: &Self::Vector,
        b: &Self::Vector,
        n: usize,
    ) -> Result<()>;
}
