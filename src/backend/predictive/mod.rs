//! The prediction of an average of models for known tokens. It accumulates where the logits are, one model after the other.
//!
//! For models s = 1..S with probabilities `p_s` the averaged prediction is `p = (1/S) sum_s p_s` (Depeweg et al. 2018, eq. 3). Sums are in f64.

pub(in crate::backend) mod cpu;

use crate::backend::ops::ActivationOps;
use crate::error::Result;

/// What the averaged prediction says of one token, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenPrediction {
    /// Negative log-likelihood of the token.
    pub nll: f64,
    /// Entropy of the averaged prediction, H(p).
    pub entropy: f64,
    /// Mean entropy of the models' predictions, mean_s H(p_s).
    pub expected_entropy: f64,
    /// The largest probability.
    pub confidence: f64,
    /// Whether the likeliest token (ties go to the lowest id) is the target.
    pub correct: bool,
    /// Squared distance between the probabilities and the target, in 0..=2.
    pub brier: f64,
}

/// What an average predicts for a run of tokens.
#[derive(Clone, Debug)]
pub struct Predicted {
    /// The scores of each token.
    pub tokens: Vec<TokenPrediction>, // (N)
    /// Each model's mean negative log-likelihood over the tokens.
    pub sample_nll: Vec<f64>, // (S)
    /// Mean negative log-likelihood of the average of the first s models, s = 1..S.
    pub average_nll: Vec<f64>, // (S)
    /// Each token's negative log-likelihood under the average at each of the K temperatures that were asked for: p^(1/T), normalised.
    pub tempered: Vec<Vec<f64>>, // (K, N)
}

/// The operations that average predictions.
pub trait PredictiveOps: ActivationOps {
    /// Sums over models, for N tokens of a vocabulary of V.
    type Predictive: Send + Sync;

    /// Returns empty sums for `n` tokens of a vocabulary of `v`.
    fn predictive(&self, n: usize, v: usize) -> Result<Self::Predictive>;

    /// Adds a model's prediction of its next `rows` tokens, logits (rows, V) and targets (rows). Tokens come in order; the one that reaches
    /// token N ends the model, and the next is the first of another. A logit that is not finite is an error of this call or of the read.
    fn predict(
        &self,
        to: &mut Self::Predictive,
        logits: &Self::Act,
        targets: &Self::Tokens,
        rows: usize,
    ) -> Result<()>;

    /// Returns what the average of the models so far predicts, and its losses at these temperatures, which are above 0. It is an error if there is no
    /// model, or if the last one lacks tokens.
    fn read_predictive(&self, from: &Self::Predictive, temperatures: &[f64]) -> Result<Predicted>;
}
