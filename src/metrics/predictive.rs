//! What an average over posterior samples predicts, and how it knows: perplexity, entropy, mutual information.
//!
//! For samples s = 1..S with probabilities `p_s`, the averaged prediction is `p = (1/S) sum_s p_s`. Its entropy H(p)
//! is the total uncertainty; the mean of the samples' entropies H(p_s) is what remains if the parameters were known;
//! the difference is the mutual information between parameters and token (Depeweg et al. 2018, "Decomposition of
//! uncertainty in Bayesian deep learning", eq. 3). Everything is in nats and in f64.

use super::calibration::{brier_score, expected_calibration_error};
use crate::error::{Error, Result};

/// How many equal bins the calibration error uses.
pub const ECE_BINS: usize = 15;

/// `ln((1/n) sum exp(x))` without overflow; negative infinity if every value is, NaN for no values.
pub fn log_mean_exp(values: &[f64]) -> f64 {
    log_sum_exp(values.iter().copied()) - (values.len() as f64).ln()
}

/// The scores of S samples at once: `logits` is (S, N, V) row by row, `targets` (N).
///
/// # Errors
/// As [`PredictiveAccumulator`]'s functions; [`Error::Shape`] unless `logits` holds S rounds of (N, V), S >= 1.
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

/// Collects the scores one sample after the other, so that no more than one sample's logits for a chunk of tokens need
/// to be in memory.
///
/// It keeps N V + 2 N doubles however many samples come: 60 MB for 110,000 tokens and 65 characters. The sums of
/// probabilities are doubles because entropy is to be exact for any S: sums in f32 lose up to S * 6e-8 of each
/// probability, and with the compensation that would mend this they take as much memory.
#[derive(Clone, Debug)]
pub struct PredictiveAccumulator {
    vocab_size: usize,
    targets: Vec<u16>,     // (N), as far as known
    p_sum: Vec<f64>,       // (N, V): sum_s p_s
    log_lik_sum: Vec<f64>, // (N): ln sum_s p_s(target)
    entropy_sum: Vec<f64>, // (N): sum_s H(p_s)
    sample_nll: Vec<f64>,  // (S): mean over tokens
    /// Where the running sample's next chunk begins, and its negative log likelihood so far.
    next: usize,
    nll_sum: f64,
}

impl PredictiveAccumulator {
    /// For `n_tokens` tokens, N, over a vocabulary of `vocab_size`, V.
    ///
    /// # Errors
    /// [`Error::Invalid`] if either is 0, V is above 65,536, or memory does not hold N V doubles.
    pub fn new(n_tokens: usize, vocab_size: usize) -> Result<Self> {
        if n_tokens == 0 {
            return Err(Error::invalid(
                "number of tokens to score",
                "at least 1",
                n_tokens,
            ));
        }
        if !(1..=1 << 16).contains(&vocab_size) {
            return Err(Error::invalid("vocabulary size", "1 to 65536", vocab_size));
        }
        let mut p_sum = Vec::new();
        let room = n_tokens
            .checked_mul(vocab_size)
            .filter(|&n| p_sum.try_reserve_exact(n).is_ok());
        let Some(n) = room else {
            let got = format!("{n_tokens} over a vocabulary of {vocab_size}");
            return Err(Error::invalid(
                "number of tokens to score",
                "what memory holds",
                got,
            ));
        };
        p_sum.resize(n, 0.0);
        Ok(Self {
            vocab_size,
            targets: Vec::with_capacity(n_tokens),
            p_sum,
            log_lik_sum: vec![f64::NEG_INFINITY; n_tokens],
            entropy_sum: vec![0.0; n_tokens],
            sample_nll: Vec::new(),
            next: 0,
            nll_sum: 0.0,
        })
    }

    /// Adds the next tokens of the running sample: `logits` (n, V), `targets` (n). Chunks come in the order of the
    /// tokens; the one that reaches token N ends the sample, and the next chunk begins the next sample at token 0.
    ///
    /// # Errors
    /// [`Error::Shape`] if the chunk is empty, its two parts disagree or it runs past token N; [`Error::Data`] if a
    /// logit is not finite, a target is not below V, or a target differs from the one that an earlier sample had there.
    /// After an error nothing of the chunk is counted.
    pub fn add_sample_chunk(&mut self, logits: &[f32], targets: &[u16]) -> Result<()> {
        self.check_chunk(logits, targets)?;
        let (first, end, v) = (self.next, self.next + targets.len(), self.vocab_size);
        self.targets
            .extend_from_slice(&targets[self.targets.len().clamp(first, end) - first..]);

        let rows = logits
            .chunks_exact(v)
            .zip(targets)
            .zip(self.p_sum[first * v..end * v].chunks_exact_mut(v))
            .zip(&mut self.log_lik_sum[first..end])
            .zip(&mut self.entropy_sum[first..end]);
        let nll: Vec<f64> = rows
            .map(|((((logits, &target), p_sum), log_lik_sum), entropy_sum)| {
                let normaliser = log_sum_exp(logits.iter().map(|&z| z.into()));
                for (p_sum, &z) in p_sum.iter_mut().zip(logits) {
                    let log_p = f64::from(z) - normaliser;
                    let p = log_p.exp();
                    *p_sum += p;
                    *entropy_sum -= p * log_p;
                }
                let log_lik = f64::from(logits[target as usize]) - normaliser;
                *log_lik_sum = log_sum_exp([*log_lik_sum, log_lik].into_iter());
                -log_lik
            })
            .collect();
        // Summed in the order of the tokens, so that the result does not depend on the number of threads.
        self.nll_sum += nll.iter().sum::<f64>();
        self.next = end;
        if end == self.n_tokens() {
            self.sample_nll.push(self.nll_sum / end as f64);
            (self.next, self.nll_sum) = (0, 0.0);
        }
        Ok(())
    }

    /// The scores of the samples so far.
    ///
    /// # Errors
    /// [`Error::Shape`] if there is no sample, or if the last one lacks tokens.
    pub fn finish(self) -> Result<PredictiveScores> {
        self.finish_tokens()?.scores()
    }

    /// The scores of each token, which those of further tokens can be added to.
    ///
    /// # Errors
    /// As [`PredictiveAccumulator::finish`].
    pub fn finish_tokens(self) -> Result<TokenScores> {
        let (n, n_samples) = (self.n_tokens(), self.sample_nll.len());
        if self.next != 0 || n_samples == 0 {
            let what = format!("tokens of sample {n_samples}");
            return Err(Error::shape(what, n, self.next));
        }
        let s = n_samples as f64;
        Ok(TokenScores {
            rows: self
                .p_sum
                .chunks_exact(self.vocab_size)
                .zip(&self.targets)
                .map(|(p_sum, &target)| Row::new(p_sum, s, target.into()))
                .collect::<Result<_>>()?,
            nll: self
                .log_lik_sum
                .iter()
                .map(|log_lik_sum| s.ln() - log_lik_sum)
                .collect(),
            expected_entropy: self.entropy_sum.iter().map(|sum| sum / s).collect(),
            sample_nll: self.sample_nll,
        })
    }

    fn n_tokens(&self) -> usize {
        self.log_lik_sum.len()
    }

    fn check_chunk(&self, logits: &[f32], targets: &[u16]) -> Result<()> {
        let v = self.vocab_size;
        let left = self.n_tokens() - self.next;
        if targets.is_empty() || targets.len() > left {
            return Err(Error::shape(
                "targets of a chunk",
                format!("1 to {left} tokens"),
                targets.len(),
            ));
        }
        if logits.len() != targets.len() * v {
            return Err(Error::shape(
                "logits of a chunk",
                (targets.len(), v),
                logits.len(),
            ));
        }
        let place =
            |at: usize| format!("sample {}, token {}", self.sample_nll.len(), self.next + at);
        if let Some(at) = logits.iter().position(|z| !z.is_finite()) {
            let message = format!(
                "expected finite logits, found {} for id {}",
                logits[at],
                at % v
            );
            return Err(Error::data(place(at / v), message));
        }
        for (at, &target) in targets.iter().enumerate() {
            if target as usize >= v {
                let message =
                    format!("expected a target below the vocabulary size {v}, found {target}");
                return Err(Error::data(place(at), message));
            }
            match self.targets.get(self.next + at) {
                Some(&known) if known != target => {
                    let message = format!(
                        "expected the target {known} as in the samples before, found {target}"
                    );
                    return Err(Error::data(place(at), message));
                }
                _ => {}
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
    /// The smallest.
    pub min: f64,
    /// The largest.
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
    /// exp of the mean of `nll`: of the averaged prediction.
    pub perplexity: f64,
    /// exp of the negative log likelihood's mean over tokens and samples: of one sample at a time. Never below
    /// `perplexity` (Jensen).
    pub gibbs_perplexity: f64,
    /// The averaged prediction's entropy, over tokens: in 0..=ln V nats.
    pub entropy_summary: Summary,
    /// The mean over tokens and samples of a sample's entropy, in nats.
    pub expected_entropy: f64,
    /// Entropy less expected entropy, over tokens, in nats. Not negative but for rounding, about -1e-15 where all
    /// samples agree; reported as it comes out.
    pub mutual_information_summary: Summary,
    /// The mean Brier score, in 0..=2.
    pub brier: f64,
    /// How often the likeliest token (of equals, the one with the lowest id) came, in 0..=1.
    pub accuracy: f64,
    /// The expected calibration error with 15 bins, in 0..=1.
    pub ece: f64,
    /// Each sample's mean negative log likelihood, in nats a token.
    pub sample_nll: Vec<f64>, // (S)
    /// The averaged prediction's negative log likelihood of each token, in nats.
    pub nll: Vec<f64>, // (N)
    /// The averaged prediction's entropy at each token, in nats.
    pub entropy: Vec<f64>, // (N)
    /// The mutual information at each token, in nats.
    pub mutual_information: Vec<f64>, // (N)
}

/// The scores token by token: what is left of the predictions once they are made, so that a long split can be scored
/// in pieces whose N V probabilities fit in memory.
#[derive(Clone, Debug)]
pub struct TokenScores {
    rows: Vec<Row>,             // (N)
    nll: Vec<f64>,              // (N)
    expected_entropy: Vec<f64>, // (N)
    sample_nll: Vec<f64>,       // (S), means over tokens
}

impl TokenScores {
    /// Adds the tokens that come next.
    ///
    /// # Errors
    /// [`Error::Shape`] if they were scored with another number of samples.
    pub fn extend(&mut self, next: Self) -> Result<()> {
        if next.sample_nll.len() != self.sample_nll.len() {
            return Err(Error::shape(
                "samples",
                [self.sample_nll.len()],
                [next.sample_nll.len()],
            ));
        }
        let (n, m) = (self.nll.len() as f64, next.nll.len() as f64);
        for (a, b) in self.sample_nll.iter_mut().zip(next.sample_nll) {
            *a = (*a * n + b * m) / (n + m);
        }
        self.rows.extend(next.rows);
        self.nll.extend(next.nll);
        self.expected_entropy.extend(next.expected_entropy);
        Ok(())
    }

    /// The scores over all tokens.
    ///
    /// # Errors
    /// Never for scores that [`PredictiveAccumulator::finish_tokens`] made.
    pub fn scores(self) -> Result<PredictiveScores> {
        let n = self.nll.len() as f64;
        let entropy: Vec<f64> = self.rows.iter().map(|row| row.entropy).collect();
        let mutual_information: Vec<f64> = entropy
            .iter()
            .zip(&self.expected_entropy)
            .map(|(h, e)| h - e)
            .collect();
        let confidence: Vec<f64> = self.rows.iter().map(|row| row.confidence).collect();
        let correct: Vec<bool> = self.rows.iter().map(|row| row.correct).collect();
        Ok(PredictiveScores {
            perplexity: mean(&self.nll).exp(),
            gibbs_perplexity: mean(&self.sample_nll).exp(),
            entropy_summary: Summary::of(&entropy),
            expected_entropy: mean(&self.expected_entropy),
            mutual_information_summary: Summary::of(&mutual_information),
            brier: self.rows.iter().map(|row| row.brier).sum::<f64>() / n,
            accuracy: correct.iter().filter(|&&hit| hit).count() as f64 / n,
            ece: expected_calibration_error(&confidence, &correct, ECE_BINS)?,
            sample_nll: self.sample_nll,
            nll: self.nll,
            entropy,
            mutual_information,
        })
    }
}

/// What one token's averaged prediction gives.
#[derive(Clone, Copy, Debug)]
struct Row {
    entropy: f64,
    confidence: f64,
    correct: bool,
    brier: f64,
}

impl Row {
    fn new(p_sum: &[f64], s: f64, target: usize) -> Result<Self> {
        let p: Vec<f64> = p_sum.iter().map(|sum| sum / s).collect();
        let mut best = 0;
        for v in 1..p.len() {
            if p[v] > p[best] {
                best = v;
            }
        }
        Ok(Self {
            // p ln p tends to 0 with p.
            entropy: p
                .iter()
                .filter(|&&p| p > 0.0)
                .fold(0.0, |h, p| h - p * p.ln()),
            // Rounding may leave a certain prediction an ulp above 1.
            confidence: p[best].min(1.0),
            correct: best == target,
            brier: brier_score(&p, target)?,
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
