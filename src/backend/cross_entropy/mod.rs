//! Softmax with cross-entropy, and what goes back from it: the gradient, or a cotangent of its curvature.

pub(in crate::backend) mod cpu;

use crate::backend::ops::ActivationOps;
use crate::error::Result;
use crate::rng::Stream;

/// Which positions of a sequence count in the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Every position: the mean runs over B T tokens.
    #[default]
    All,
    /// The last position alone, as the original: the mean runs over B windows.
    Last,
}

impl Objective {
    /// How many of `rows` positions, in sequences of `t`, count.
    pub fn count(self, rows: usize, t: usize) -> usize {
        match self {
            Self::All => rows,
            Self::Last => rows / t,
        }
    }
}

/// Which rows of the logits (N, V) a loss is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossShape {
    /// Rows N.
    pub rows: usize,
    /// Rows T of a sequence.
    pub t: usize,
    /// Vocabulary V.
    pub v: usize,
    /// Which rows count.
    pub objective: Objective,
}

/// What takes the logits' place. Rows that the objective leaves out get 0.
#[derive(Clone, Copy, Debug)]
pub enum Cotangent {
    /// Nothing: the logits stay.
    None,
    /// The gradient of the summed loss, times this.
    Gradient(f32),
    /// A cotangent (N, V) whose covariance is the cross-entropy's Hessian in the logits: with p = softmax(z) and r = sqrt(p),
    /// r * e - p (r . e) with e of +-1, element (n, v) of number `draw` of the stream.
    Curvature {
        /// Where the signs come from.
        stream: Stream,
        /// Which draw.
        draw: u64,
    },
}

/// Cross-entropy.
pub trait CrossEntropyOps: ActivationOps {
    /// Each row's negative log-likelihood in nats, nll (N), and `cotangent` in place of the logits (N, V). With [`Cotangent::Gradient`] rows
    /// that do not count have 0. Leaves the sum of nll in f64 over those that count, in a fixed order.
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
