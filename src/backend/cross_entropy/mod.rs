//! Softmax with cross-entropy, and what the backward pass starts from: the gradient, or a cotangent of its curvature.

pub(in crate::backend) mod cpu;

use crate::backend::ops::ActivationOps;
use crate::error::Result;
use crate::rng::Stream;

/// The positions of a sequence that count in the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Every position counts: the mean is over B T tokens.
    #[default]
    All,
    /// Only the last position counts, as in the original: the mean is over B windows.
    Last,
}

impl Objective {
    /// Returns how many of `rows` positions count, in sequences of `t`.
    pub fn count(self, rows: usize, t: usize) -> usize {
        match self {
            Self::All => rows,
            Self::Last => rows / t,
        }
    }
}

/// The rows of the logits (N, V) that a loss is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossShape {
    /// Rows N.
    pub rows: usize,
    /// Rows T per sequence.
    pub t: usize,
    /// Vocabulary V.
    pub v: usize,
    /// Which rows count.
    pub objective: Objective,
}

/// What replaces the logits. Rows that the objective leaves out are set to 0.
#[derive(Clone, Copy, Debug)]
pub enum Cotangent {
    /// Nothing: the logits are kept.
    None,
    /// The gradient of the summed loss, multiplied by this factor.
    Gradient(f32),
    /// A cotangent (N, V) whose covariance is the cross-entropy's Hessian in the logits: with p = softmax(z) and r = sqrt(p), r * e - p (r
    /// . e) with signs e = +-1, where element (n, v) is taken from draw number `draw` of the stream.
    Curvature {
        /// The stream of the signs.
        stream: Stream,
        /// The number of the draw.
        draw: u64,
    },
}

/// The operation of cross-entropy.
pub trait CrossEntropyOps: ActivationOps {
    /// Computes each row's negative log-likelihood in nats, nll (N), and writes `cotangent` in place of the logits (N, V). With
    /// [`Cotangent::Gradient`], rows that do not count are 0. Leaves the sum of nll over the rows that count, in f64 and in a fixed order.
    fn cross_entropy(
        &self,
        nll: &mut Self::Act,
        logits: &mut Self::Act,
        targets: &Self::Tokens,
        shape: LossShape,
        cotangent: Cotangent,
        record: &mut Self::Record,
    ) -> Result<()>;
}
