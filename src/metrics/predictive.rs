//! What an average over samples predicts, and how uncertain it is: perplexity, entropy, mutual information.
//!
//! For samples s = 1..S with probabilities `p_s`, the averaged prediction is `p = (1/S) sum_s p_s`. Its entropy H(p)
//! is the total uncertainty; the mean of the samples' entropies H(p_s) is what remains if the parameters were known;
//! the difference is the mutual information between parameters and token (Depeweg et al. 2018, "Decomposition of
//! uncertainty in Bayesian deep learning", eq. 3). Everything is in nats and in f64.

use super::calibration::expected_calibration_error;
use crate::backend::{HostPool, Predicted, PredictiveSums, TokenPrediction};
use crate::error::{Error, Result};
use crate::memory;

/// What messages call the scores of tokens.
const TOKENS: &str = "the scores of tokens";

/// The number of equal bins of the calibration error.
pub const ECE_BINS: usize = 15;

/// Returns `ln((1/n) sum exp(x))` without overflow; negative infinity if every value is, NaN for no values.
pub fn log_mean_exp(values: &[f64]) -> f64 {
    log_sum_exp(values.iter().copied()) - (values.len() as f64).ln()
}

/// Scores S samples at once: `logits` is (S, N, V) in row-major order, `targets` (N).
///
/// # Errors
/// Fails as the functions of [`PredictiveAccumulator`] do, and with [`Error::Shape`] unless `logits` holds S rounds of (N, V), S >= 1.
pub fn predictive_scores(
    logits: &[f32],
    targets: &[u16],
    vocab_size: usize,
) -> Result<PredictiveScores> {
    let mut scores = PredictiveAccumulator::new(targets.len(), vocab_size)?;
    let one = targets.len() * vocab_size;
    if logits.is_empty() || !logits.len().is_multiple_of(one) {
        let expected = format!("(S, {}, {vocab_size})", targets.len());
        return Err(Error::shape("logits", expected, logits.len()));
    }
    for sample in logits.chunks_exact(one) {
        scores.add_sample_chunk(sample, targets)?;
    }
    scores.finish()
}

/// Collects the scores one sample after the other, so that no more than one sample's logits for a chunk of tokens need to be in memory. For
/// models of this crate, [`super::EnsembleScores`] does so where the logits are.
///
/// It keeps N V + 2 N doubles, whatever the number of samples: 60 MB for 110,000 tokens and 65 characters.
#[derive(Clone, Debug)]
pub struct PredictiveAccumulator {
    sums: PredictiveSums,
    host: HostPool,
    ids: Vec<u32>,
}

impl PredictiveAccumulator {
    /// Creates an accumulator for `n_tokens` tokens, N, over a vocabulary of `vocab_size`, V.
    ///
    /// # Errors
    /// Returns [`Error::OutOfRange`] if either is 0, V is above 65,536, or memory does not hold N V doubles.
    pub fn new(n_tokens: usize, vocab_size: usize) -> Result<Self> {
        Ok(Self {
            sums: PredictiveSums::new(n_tokens, vocab_size)?,
            host: HostPool::new(1)?,
            ids: Vec::new(),
        })
    }

    /// Adds the next tokens of the current sample: `logits` (n, V), `targets` (n). Chunks come in the order of the tokens; the one that
    /// reaches token N ends the sample, and the next chunk begins the next sample at token 0.
    ///
    /// # Errors
    /// Returns [`Error::Shape`] if the chunk is empty, its two parts disagree or it runs past token N; [`Error::Data`] if a
    /// logit is not finite, a target is not below V, or a target differs from the one that an earlier sample had there.
    /// After an error nothing of the chunk is counted.
    pub fn add_sample_chunk(&mut self, logits: &[f32], targets: &[u16]) -> Result<()> {
        self.check_targets(targets)?;
        self.ids.clear();
        memory::grow(&mut self.ids, targets.len(), "targets")?;
        self.ids.extend(targets.iter().map(|&id| u32::from(id)));
        self.sums.add(&self.host, logits, &self.ids)
    }

    /// Returns the scores of the samples so far.
    ///
    /// # Errors
    /// Returns [`Error::Shape`] if there is no sample, or if the last one lacks tokens.
    pub fn finish(self) -> Result<PredictiveScores> {
        self.finish_tokens()?.scores()
    }

    /// Returns the scores of each token, to which those of further tokens can be added.
    ///
    /// # Errors
    /// Fails as [`PredictiveAccumulator::finish`] does.
    pub fn finish_tokens(self) -> Result<TokenScores> {
        Ok(TokenScores::of(self.sums.read(&self.host, &[])?))
    }

    fn check_targets(&self, targets: &[u16]) -> Result<()> {
        let (v, sample, next) = (
            self.sums.vocab_size(),
            self.sums.num_samples(),
            self.sums.next(),
        );
        for (at, &target) in (next..).zip(targets) {
            let place = || format!("sample {sample}, token {at}");
            if usize::from(target) >= v {
                let message =
                    format!("expected a target below the vocabulary size {v}, found {target}");
                return Err(Error::data(place(), message));
            }
            let known = self.sums.targets().get(at);
            if let Some(known) = known.filter(|&&known| known != u32::from(target)) {
                let message =
                    format!("expected the target {known} as in the samples before, found {target}");
                return Err(Error::data(place(), message));
            }
        }
        Ok(())
    }
}

/// A mean over tokens with its extremes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The mean.
    pub mean: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

impl Summary {
    fn of(values: &[f64]) -> Self {
        Self {
            mean: mean(values),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// The scores of an averaged prediction. Logarithms are natural.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictiveScores {
    /// Perplexity of the averaged prediction: exp of the mean of `nll`.
    pub perplexity: f64,
    /// Perplexity of one sample at a time: exp of the mean negative log likelihood over tokens and samples. Never below `perplexity`
    /// (Jensen).
    pub gibbs_perplexity: f64,
    /// The averaged prediction's entropy, over tokens: in 0..=ln V nats.
    pub entropy_summary: Summary,
    /// The mean over tokens and samples of a sample's entropy, in nats.
    pub expected_entropy: f64,
    /// Entropy minus expected entropy, over tokens, in nats. Not negative except for rounding, about -1e-15 where all samples agree;
    /// reported unclamped.
    pub mutual_information_summary: Summary,
    /// The mean Brier score, in 0..=2.
    pub brier: f64,
    /// The fraction of tokens for which the likeliest token (ties go to the lowest id) is the target, in 0..=1.
    pub accuracy: f64,
    /// The expected calibration error with 15 bins, in 0..=1.
    pub ece: f64,
    /// Each sample's mean negative log likelihood, in nats per token.
    pub sample_nll: Vec<f64>, // (S)
    /// The mean negative log likelihood of the average of the first s samples, s = 1..S, in nats per token: whether more of them would help.
    pub average_nll: Vec<f64>, // (S)
    /// The averaged prediction's negative log likelihood of each token, in nats.
    pub nll: Vec<f64>, // (N)
    /// The averaged prediction's entropy at each token, in nats.
    pub entropy: Vec<f64>, // (N)
    /// The mutual information at each token, in nats.
    pub mutual_information: Vec<f64>, // (N)
}

/// The scores token by token: what remains of the predictions once the probabilities are dropped, so that a long split can be scored in
/// pieces whose N V probabilities fit in memory.
#[derive(Clone, Debug)]
pub struct TokenScores {
    tokens: Vec<TokenPrediction>, // (N)
    sample_nll: Vec<f64>,         // (S), means over tokens
    average_nll: Vec<f64>,        // (S), means over tokens
    tempered: Vec<Vec<f64>>,      // (K, N)
}

impl TokenScores {
    pub(super) fn of(predicted: Predicted) -> Self {
        Self {
            tokens: predicted.tokens,
            sample_nll: predicted.sample_nll,
            average_nll: predicted.average_nll,
            tempered: predicted.tempered,
        }
    }

    /// Appends the scores of the tokens that come next.
    ///
    /// # Errors
    /// Returns [`Error::Shape`] if they were scored with another number of samples, or of temperatures.
    pub fn extend(&mut self, next: Self) -> Result<()> {
        if next.sample_nll.len() != self.sample_nll.len() {
            return Err(Error::shape(
                "samples",
                [self.sample_nll.len()],
                [next.sample_nll.len()],
            ));
        }
        let (own, others) = (self.tempered.len(), next.tempered.len());
        if own != others {
            return Err(Error::shape("temperatures", [own], [others]));
        }
        let (n, m) = (self.tokens.len() as f64, next.tokens.len() as f64);
        for (a, b) in self.sample_nll.iter_mut().zip(next.sample_nll) {
            *a = (*a * n + b * m) / (n + m);
        }
        for (a, b) in self.average_nll.iter_mut().zip(next.average_nll) {
            *a = (*a * n + b * m) / (n + m);
        }
        memory::append(&mut self.tokens, &next.tokens, TOKENS)?;
        for (a, b) in self.tempered.iter_mut().zip(&next.tempered) {
            memory::append(a, b, TOKENS)?;
        }
        Ok(())
    }

    /// Returns each token's loss at each of the temperatures that were asked for, (K, N), nats.
    pub fn tempered(&self) -> &[Vec<f64>] {
        &self.tempered
    }

    /// Returns each token's loss at one of those temperatures, (N), nats; the losses at all of them are gone then.
    pub(crate) fn take_tempered(&mut self, at: usize) -> Vec<f64> {
        let mut all = std::mem::take(&mut self.tempered);
        match at < all.len() {
            true => all.swap_remove(at),
            false => Vec::new(),
        }
    }

    /// Returns a copy without the losses at other temperatures.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        Ok(Self {
            tokens: memory::copy(&self.tokens, TOKENS)?,
            sample_nll: memory::copy(&self.sample_nll, TOKENS)?,
            average_nll: memory::copy(&self.average_nll, TOKENS)?,
            tempered: Vec::new(),
        })
    }

    /// Returns the scores over all tokens.
    ///
    /// # Errors
    /// Does not fail for scores that [`PredictiveAccumulator::finish_tokens`] returned.
    pub fn scores(self) -> Result<PredictiveScores> {
        let each =
            |f: fn(&TokenPrediction) -> f64| memory::collect(self.tokens.iter().map(f), TOKENS);
        let (nll, entropy) = (each(|t| t.nll)?, each(|t| t.entropy)?);
        let (expected, confidence) = (each(|t| t.expected_entropy)?, each(|t| t.confidence)?);
        let mutual_information = each(|t| t.entropy - t.expected_entropy)?;
        let correct = memory::collect(self.tokens.iter().map(|t| t.correct), TOKENS)?;
        let n = nll.len() as f64;
        Ok(PredictiveScores {
            perplexity: mean(&nll).exp(),
            gibbs_perplexity: mean(&self.sample_nll).exp(),
            entropy_summary: Summary::of(&entropy),
            expected_entropy: mean(&expected),
            mutual_information_summary: Summary::of(&mutual_information),
            brier: self.tokens.iter().map(|t| t.brier).sum::<f64>() / n,
            accuracy: correct.iter().filter(|&&hit| hit).count() as f64 / n,
            ece: expected_calibration_error(&confidence, &correct, ECE_BINS)?,
            sample_nll: self.sample_nll,
            average_nll: self.average_nll,
            nll,
            entropy,
            mutual_information,
        })
    }
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return max; // not NaN from -inf - -inf
    }
    max + values.map(|x| (x - max).exp()).sum::<f64>().ln()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
