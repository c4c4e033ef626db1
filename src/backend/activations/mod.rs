//! What a pass works on: activations, tokens, and the parameters of one model or of an ensemble; and how work is handed to a device.

pub(in crate::backend) mod cpu;

use crate::backend::{GemmPrecision, HostPool, Precision, Vectors};
use crate::error::Result;

/// New tokens of one sequence, of which others were read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which sequence of the cache.
    pub sequence: usize,
    /// How many new tokens, at least 1.
    pub len: usize,
    /// Tokens of the sequence that are in the cache.
    pub past: usize,
}

/// The parameters that an operation reads; the places of its tensors are those in one model's flat vector.
pub enum Params<'a, B: ActivationOps> {
    /// One model's.
    Flat(&'a B::Vector),
    /// Those of every member of an ensemble. Rows come member after member, as many of each.
    Ensemble(&'a B::Ensemble),
}

impl<B: ActivationOps> Clone for Params<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: ActivationOps> Copy for Params<'_, B> {}

/// Where the gradient of the parameters goes: overwritten, and with `squares` the squares of each sequence's part are added up.
pub struct WeightGrad<'a, B: Vectors> {
    /// The gradient, (n_params).
    pub grad: &'a mut B::Vector,
    /// The sum over sequences of the squares of their gradients, (n_params).
    pub squares: Option<&'a mut B::Vector>,
    /// Rows N = B T of the pass.
    pub rows: usize,
    /// Rows T of a sequence.
    pub t: usize,
}

impl<B: Vectors> WeightGrad<'_, B> {
    /// The same place, for one operation.
    pub fn reborrow(&mut self) -> WeightGrad<'_, B> {
        WeightGrad {
            grad: &mut *self.grad,
            squares: self.squares.as_deref_mut(),
            rows: self.rows,
            t: self.t,
        }
    }
}

/// Buffers of a pass on the device.
pub trait ActivationOps: Vectors {
    /// A matrix of activations. Its element type and the distance of its rows are the device's.
    type Act: Send + Sync;
    /// Token indices, as windows or as pieces of sequences.
    type Tokens: Send + Sync;
    /// The parameters of several models of one shape, laid out to be read together.
    type Ensemble: Send + Sync;

    /// A matrix of `rows` by `width` zeros.
    fn act(&self, rows: usize, width: usize) -> Result<Self::Act>;

    /// Copies the first `to.len() / width` rows to the host.
    fn download_act(&self, from: &Self::Act, width: usize, to: &mut [f32]) -> Result<()>;

    /// Room for `n` tokens.
    fn tokens(&self, n: usize) -> Result<Self::Tokens>;

    /// Copies tokens to the front of `to`. With `pieces` they are the pieces' tokens one after the other.
    fn upload_tokens(&self, to: &mut Self::Tokens, from: &[u32], pieces: &[Piece]) -> Result<()>;

    /// The host's threads, for what is no operation of a device; a pass may be launched from one of them.
    fn host(&self) -> &HostPool;

    /// What products of matrices keep to.
    fn gemm_precision(&self) -> GemmPrecision;

    /// The same device with products of another precision; what it runs on is shared.
    fn with_precision(&self, precision: Precision) -> Self;
}
