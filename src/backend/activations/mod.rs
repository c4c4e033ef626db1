//! What a pass works on: activations, tokens, and the parameters of one model or of an ensemble; and how work is handed to a device.

pub(in crate::backend) mod cpu;

use crate::backend::{GemmPrecision, HostPool, Precision, Vectors};
use crate::error::Result;

/// New tokens of one sequence whose earlier tokens are in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Index of the sequence in the cache.
    pub sequence: usize,
    /// Number of new tokens, at least 1.
    pub len: usize,
    /// Number of the sequence's tokens that are in the cache.
    pub past: usize,
}

/// The parameters that an operation reads. Its tensors are addressed by their ranges in one model's flat vector.
pub enum Params<'a, B: ActivationOps> {
    /// The parameters of one model.
    Flat(&'a B::Vector),
    /// The parameters of every member of an ensemble. The rows of a matrix are grouped by member, equally many for each.
    Ensemble(&'a B::Ensemble),
}

impl<B: ActivationOps> Clone for Params<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: ActivationOps> Copy for Params<'_, B> {}

/// Where the gradient of the parameters goes. It is overwritten; with `squares`, the squares of each sequence's gradient are accumulated
/// too.
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
    /// Reborrows the destination for one operation.
    pub fn reborrow(&mut self) -> WeightGrad<'_, B> {
        WeightGrad {
            grad: &mut *self.grad,
            squares: self.squares.as_deref_mut(),
            rows: self.rows,
            t: self.t,
        }
    }
}

/// The buffers of a pass on the device.
pub trait ActivationOps: Vectors {
    /// A matrix of activations. The device chooses its element type and the distance between its rows.
    type Act: Send + Sync;
    /// Token indices, as windows or as pieces of sequences.
    type Tokens: Send + Sync;
    /// The parameters of several models of one shape, laid out to be read together.
    type Ensemble: Send + Sync;

    /// Returns a matrix of `rows` by `width` zeros.
    fn act(&self, rows: usize, width: usize) -> Result<Self::Act>;

    /// Copies the first `to.len() / width` rows to the host.
    fn download_act(&self, from: &Self::Act, width: usize, to: &mut [f32]) -> Result<()>;

    /// Computes to += scale (plus - minus) for the first `n` elements.
    fn add_difference(
        &self,
        to: &mut Self::Act,
        scale: f32,
        plus: &Self::Act,
        minus: &Self::Act,
        n: usize,
    ) -> Result<()>;

    /// Returns room for `n` tokens.
    fn tokens(&self, n: usize) -> Result<Self::Tokens>;

    /// Copies tokens to the front of `to`. With `pieces`, the tokens are those of the pieces, concatenated.
    fn upload_tokens(&self, to: &mut Self::Tokens, from: &[u32], pieces: &[Piece]) -> Result<()>;

    /// Returns the host's threads, for work that is no operation of the device; a pass may be launched from one of them.
    fn host(&self) -> &HostPool;

    /// Returns the precision that matrix products keep to.
    fn gemm_precision(&self) -> GemmPrecision;

    /// Returns a handle to this device whose products have another precision; both share the threads and the memory.
    fn with_precision(&self, precision: Precision) -> Self;
}
