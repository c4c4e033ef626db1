//! What an average of models predicts of known tokens. It accumulates where the logits are, one model after the other.
//!
//! For models s = 1..S with probabilities `p_s` the averaged prediction is `p = (1/S) sum_s p_s` (Depeweg et al. 2018, eq. 3). Sums are in f64.

pub(in crate::backend) mod cpu;

use crate::backend::ops::ActivationOps;
use crate::error::Result;

/// What the averaged prediction is of one token; nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenPrediction {
    /// Negative log-likelihood of the token.
    pub nll: f64,
    /// Entropy H(p).
    pub entropy: f64,
    /// mean_s H(p_s).
    pub expected_entropy: f64,
    /// The largest probability.
    pub confidence: f64,
    /// Whether the likeliest token (of equals, the one with the lowest number) is the one that came.
    pub correct: bool,
    /// Squared distance between the probabilities and the token that came, in 0..=2.
    pub brier: f64,
}

/// What an average predicts of some tokens.
#[derive(Clone, Debug)]
pub struct Predicted {
    /// Of each token.
    pub tokens: Vec<TokenPrediction>, // (N)
    /// Each model's mean negative log-likelihood over the tokens.
    pub sample_nll: Vec<f64>, // (S)
}

/// Averaging predictions.
pub trait PredictiveOps: ActivationOps {
    /// Sums over models, for N tokens of a vocabulary of V.
    type Predictive: Send + Sync;

    /// Empty sums for `n` tokens of a vocabulary of `v`.
    fn predictive(&self, n: usize, v: usize) -> Result<Self::Predictive>;

    /// Adds a model's prediction of its next `rows` tokens, logits (rows, V) and targets (rows). The tokens come in their order; the one that
    /// reaches token N ends the model, and the next is another's first. A logit that is not finite is an error of this call or of the read.
    fn predict(
        &self,
        to: &mut Self::Predictive,
        logits: &Self::Act,
        targets: &Self::Tokens,
        rows: usize,
    ) -> Result<()>;

    /// What the average of the models so far predicts. An error if there is none, or the last lacks tokens.
    fn read_predictive(&self, from: &Self::Predictive) -> Result<Predicted>;
}
