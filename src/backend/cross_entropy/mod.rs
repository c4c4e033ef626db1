//! Softmax with cross-entropy, its gradient, and the curvature's cotangent.

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

/// What a device provides of it.
pub trait CrossEntropyOps: ActivationOps {
    /// Per-row negative log-likelihood in nats: nll (N) from logits (N, V).
    fn cross_entropy(
        &self,
        nll: &mut Self::Vector,
        logits: &Self::Vector,
        targets: &Self::Tokens,
        rows: usize,
        v: usize,
    ) -> Result<()>;

    /// The same, and `weight` times the gradient of the sum in place of the logits. Rows that the objective leaves out get 0.
    #[allow(clippy::too_many_arguments)]
    fn cross_entropy_backward(
        &self,
        nll: &mut Self::Vector,
        logits: &mut Self::Vector,
        targets: &Self::Tokens,
        rows: usize,
        t: usize,
        v: usize,
        objective: Objective,
        weight: f32,
    ) -> Result<()>;

    /// In place of the logits a cotangent (N, V) whose covariance is the cross-entropy's Hessian in them: with p = softmax(z) and r = sqrt(p),
    /// r * e - p (r . e) with e of +-1, element (n, v) of number `draw` of the stream. Rows that the objective leaves out get 0.
    #[allow(clippy::too_many_arguments)]
    fn curvature_cotangent(
        &self,
        logits: &mut Self::Vector,
        rows: usize,
        t: usize,
        v: usize,
        objective: Objective,
        stream: Stream,
        draw: u64,
    ) -> Result<()>;

    /// Sum in f64, in order, of nll over the rows that the objective counts, and how many those are.
    fn sum_nll(
        &self,
        nll: &Self::Vector,
        rows: usize,
        t: usize,
        objective: Objective,
    ) -> Result<(f64, usize)>;
}
