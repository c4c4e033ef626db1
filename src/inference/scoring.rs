//! What samples are worth on a text: the averaged prediction beside its samples and another model, in pieces that fit in memory.

use super::{Member, Report};
use crate::backend::Backend;
use crate::data::consecutive;
use crate::error::{Error, Result};
use crate::gpt::{Gpt, Linearised, Workspace};
use crate::memory;
use crate::metrics::{
    DEFAULT_BLOCK, EnsembleScores, PairedDifference, PredictiveScores, Rouge, Summary, TokenScores,
    eval_batch, paired_block_bootstrap,
};
use crate::store::Store;
use serde::Serialize;
use std::ops::Range;

/// Doubles that a piece of a split may take for its sums of probabilities: 64 MB.
const PIECE: usize = 8 << 20;
/// Resamples of the paired bootstrap.
pub const RESAMPLES: usize = 2000;

/// Loads the samples of a store with these indices.
///
/// # Errors
/// When a sample cannot be read.
pub fn load_samples(store: &Store, indices: &[usize]) -> Result<Vec<Vec<f32>>> {
    let len = usize::try_from(store.provenance().n_params)
        .map_err(|e| Error::Unsupported(format!("a sample's parameters: {e}")))?;
    let each = indices.iter().map(|&i| {
        let mut params = memory::zeros(len, "a sample")?;
        store.load(i, &mut params)?;
        Ok(params)
    });
    each.collect()
}

/// What is scored: parameter vectors of one model, (n_params) each.
#[derive(Clone, Debug)]
pub enum Models<'a> {
    /// One vector.
    One(&'a [f32]),
    /// The average of these.
    Each(&'a [Vec<f32>]),
    /// The average of the samples of a store with these indices, read one after the other: [`spread`](fn@super::spread) chooses some.
    Stored(&'a Store, &'a [usize]),
    /// The average of these, some of them read from stores one after the other.
    Members(&'a [Member]),
    /// The average of these, each linearised around a mean: [`Linearised`]. Each takes three passes in place of one.
    Linearised {
        /// The mean, (n_params).
        mean: &'a [f32],
        /// The parameters, as draws from a normal about it.
        draws: &'a Models<'a>,
    },
}

impl Models<'_> {
    /// Returns how many there are.
    pub fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Each(all) => all.len(),
            Self::Stored(_, used) => used.len(),
            Self::Members(all) => all.len(),
            Self::Linearised { draws, .. } => draws.count(),
        }
    }

    /// Returns how many windows times models a text has: what the work of scoring it is counted in.
    ///
    /// # Errors
    /// When the text is shorter than a window.
    pub fn windows(&self, gpt: &Gpt, tokens: &[u16]) -> Result<usize> {
        let windows = consecutive(tokens, gpt.config().block_size)?;
        Ok(windows.num_windows().saturating_mul(self.count()))
    }

    /// Returns the first `n` of several; none where that is all of them, or nothing, and of linearised ones.
    pub fn first(&self, n: usize) -> Option<Self> {
        if n == 0 || n >= self.count() {
            return None;
        }
        match self {
            Self::One(_) | Self::Linearised { .. } => None,
            Self::Each(all) => Some(Self::Each(&all[..n])),
            Self::Stored(store, used) => Some(Self::Stored(store, &used[..n])),
            Self::Members(all) => Some(Self::Members(&all[..n])),
        }
    }

    /// Returns what they are linearised around, where they are.
    fn mean(&self) -> Option<&[f32]> {
        match self {
            Self::Linearised { mean, .. } => Some(mean),
            _ => None,
        }
    }

    /// Hands over each in turn, and all of them `times` times.
    fn for_each(&self, times: usize, mut f: impl FnMut(&[f32]) -> Result<()>) -> Result<()> {
        match self {
            Self::One(params) => (0..times).try_for_each(|_| f(params)),
            Self::Each(all) => (0..times).try_for_each(|_| all.iter().try_for_each(|p| f(p))),
            Self::Stored(store, used) => {
                let indices = (0..times).flat_map(|_| used.iter().copied());
                store.for_each(indices, |_, params| f(params))
            }
            Self::Members(all) => {
                let mut room = Vec::new();
                let each = (0..times).flat_map(|_| all.iter());
                each.into_iter().try_for_each(|m| f(m.params(&mut room)?))
            }
            Self::Linearised { draws, .. } => draws.for_each(times, f),
        }
    }
}

/// How a split is cut into pieces whose sums of probabilities fit in memory.
struct Pieces<'a> {
    tokens: &'a [u16],
    t: usize,
    windows: usize,
    /// Windows of a piece: whole batches, so that the pieces change no batch.
    per_piece: usize,
}

impl<'a> Pieces<'a> {
    fn new(tokens: &'a [u16], t: usize, vocab_size: usize) -> Result<Self> {
        let rows = eval_batch(t);
        Ok(Self {
            tokens,
            t,
            windows: consecutive(tokens, t)?.num_windows(),
            per_piece: (PIECE / (vocab_size * t)).max(rows) / rows * rows,
        })
    }

    fn count(&self) -> usize {
        self.windows.div_ceil(self.per_piece)
    }

    /// The windows of piece `i`, and the tokens that they read.
    fn piece(&self, i: usize) -> (Range<usize>, &'a [u16]) {
        let first = i * self.per_piece;
        let end = (first + self.per_piece).min(self.windows);
        (first..end, &self.tokens[first * self.t..end * self.t + 1])
    }
}

/// Scores one model, or the average of several, on consecutive windows of the block's length; `done` hears after each batch how many windows times
/// models are scored.
///
/// Takes 64 MB beside the model, however long the text is; what is left of it token by token comes on top.
///
/// # Errors
/// [`Error::OutOfRange`] without a model; when the text is shorter than a window, a sample cannot be read, a prediction is not finite, or `done` fails.
pub fn score<B: Backend>(
    backend: &B,
    gpt: &Gpt,
    tokens: &[u16],
    models: &Models<'_>,
    done: impl FnMut(usize) -> Result<()>,
) -> Result<PredictiveScores> {
    score_tokens(backend, gpt, tokens, models, &[], done)?.scores()
}

/// Scores as [`score`] does, token by token, and at these temperatures too, each above 0: [`TokenScores::tempered`].
///
/// # Errors
/// Returns the errors of [`score`], and [`Error::OutOfRange`] for a temperature.
pub fn score_tokens<B: Backend>(
    backend: &B,
    gpt: &Gpt,
    tokens: &[u16],
    models: &Models<'_>,
    temperatures: &[f64],
    mut done: impl FnMut(usize) -> Result<()>,
) -> Result<TokenScores> {
    let count = models.count();
    if count == 0 {
        return Err(Error::out_of_range("samples to score", "at least one", 0));
    }
    let (t, v) = (gpt.config().block_size, gpt.config().vocab_size);
    let pieces = Pieces::new(tokens, t, v)?;
    let rows = eval_batch(t).min(pieces.windows);
    let mut ws = Workspace::for_prediction(backend, gpt.config(), rows, t)?;
    let mut on_device = backend.zeros(gpt.n_params())?;
    let linearise = |mean: &[f32]| Linearised::new(backend, gpt, mean, &ws);
    let mut linearised = models.mean().map(linearise).transpose()?;
    let mut total: Option<TokenScores> = None;
    // How many times a model has scored a piece: all of them the first piece, then the second.
    let (mut made, mut sums) = (0, None);
    models.for_each(pieces.count(), |params| {
        let (windows, piece) = pieces.piece(made / count);
        let (n, before) = (
            windows.len(),
            windows.start * count + made % count * windows.len(),
        );
        let acc = match &mut sums {
            Some(acc) => acc,
            none => none.insert(EnsembleScores::new(backend, gpt, n * t)?),
        };
        let done = |windows| done(before + windows);
        match &mut linearised {
            Some(model) => {
                model.set(params)?;
                acc.add_linearised(model, piece, t, &mut ws, done)?;
            }
            None => {
                gpt.layout().check(params)?;
                backend.upload(&mut on_device, params)?;
                acc.add_watched(&on_device, piece, t, &mut ws, done)?;
            }
        }
        made += 1;
        let whole = made % count == 0;
        if let Some(acc) = sums.take_if(|_| whole) {
            let scores = acc.finish_tokens_at(temperatures)?;
            match &mut total {
                Some(total) => total.extend(scores)?,
                None => total = Some(scores),
            }
        }
        Ok(())
    })?;
    total.ok_or_else(|| Error::data("split", "no window to score"))
}

/// A paired block bootstrap of per-token losses: one prediction minus another, so below 0 the first is better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// Mean difference, nats per token: below 0 where the first prediction is better.
    pub difference: f64,
    /// Its standard error.
    pub std_error: f64,
    /// The gain, which is minus the difference, over its standard error: above 0 where the first prediction is better.
    pub z: f64,
    /// 2.5 % point.
    pub low: f64,
    /// 97.5 % point.
    pub high: f64,
    /// Tokens per block.
    pub block: usize,
    /// Resamples.
    pub resamples: usize,
    /// Tokens per block of a second bootstrap, which shows whether the losses depend on each other further than a block reaches.
    pub other_block: usize,
    /// The standard error by that one.
    pub std_error_other_block: f64,
}

/// Below this difference in nats per token no reader would notice which of two predictions is used.
pub const PRACTICAL: f64 = 1e-3;

impl Paired {
    /// Compares the losses of the same tokens under two predictions, (N) each, nats; `seed` fixes the resamples.
    ///
    /// # Errors
    /// Returns the errors of [`paired_block_bootstrap`].
    pub fn new(a: &[f64], b: &[f64], seed: u64) -> Result<Self> {
        // A split shorter than two blocks still holds two shorter ones.
        let block = DEFAULT_BLOCK.min(a.len() / 2).max(1);
        let d = paired_block_bootstrap(a, b, block, RESAMPLES, seed)?;
        let other_block = other_block(block, a.len());
        let other = paired_block_bootstrap(a, b, other_block, RESAMPLES, seed)?;
        Ok(Self {
            difference: d.mean,
            std_error: d.std_error,
            z: -d.z,
            low: d.low,
            high: d.high,
            block,
            resamples: RESAMPLES,
            other_block,
            std_error_other_block: other.std_error,
        })
    }

    /// Returns the gain, minus the difference, with its standard errors in words.
    pub fn gain_text(&self) -> String {
        let gain = -self.difference;
        let note = if gain.abs() < PRACTICAL {
            "; no practical difference"
        } else {
            ""
        };
        format!(
            "{gain:+.4} +- {:.4} ({:.4} by blocks of {}), z {:+.1}{note}",
            self.std_error, self.std_error_other_block, self.other_block, self.z
        )
    }
}

/// Returns the length of a second bootstrap's blocks: four times or twice the first's, where at least eight of them fit into `n` tokens, else half of it.
fn other_block(block: usize, n: usize) -> usize {
    let longer = [4 * block, 2 * block];
    let fits = longer.into_iter().find(|b| n / b >= 8);
    fits.unwrap_or((block / 2).max(1))
}

impl From<&Paired> for Report {
    fn from(p: &Paired) -> Self {
        Self::new()
            .row("difference", p.difference, "mean difference of the losses, nats per token; below 0 where the average is better")
            .row("std_error", p.std_error, "standard error of the difference")
            .row("z", p.z, "minus difference over standard error; above 0 where the average is better")
            .row("low", p.low, "lower end of the 95 % interval of the difference")
            .row("high", p.high, "upper end of the 95 % interval of the difference")
            .row("block", p.block, "tokens per block of the bootstrap")
            .row("resamples", p.resamples, "resamples of the bootstrap")
            .row("other_block", p.other_block, "tokens per block of a second bootstrap")
            .row("std_error_other_block", p.std_error_other_block, "standard error of the difference by that one")
    }
}

/// Scores of an averaged prediction beside another model's, on one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The averaged prediction.
    pub averaged: PredictiveScores,
    /// The other model.
    pub baseline: PredictiveScores,
    /// The average's losses minus the other model's.
    pub paired: Paired,
}

impl Comparison {
    /// Compares two predictions of the same tokens, token by token.
    ///
    /// # Errors
    /// Returns the errors of [`Paired::new`].
    pub fn new(averaged: PredictiveScores, baseline: PredictiveScores, seed: u64) -> Result<Self> {
        let paired = Paired::new(&averaged.nll, &baseline.nll, seed)?;
        Ok(Self {
            averaged,
            baseline,
            paired,
        })
    }
}

/// Scores the average of `models` and `baseline`, (n_params), on a text, and compares them token by token; `done` hears of
/// both, as if the other model were one more of `models`.
///
/// # Errors
/// Returns the errors of [`score`].
pub fn compare<B: Backend>(
    backend: &B,
    gpt: &Gpt,
    tokens: &[u16],
    models: &Models<'_>,
    baseline: &[f32],
    seed: u64,
    mut done: impl FnMut(usize) -> Result<()>,
) -> Result<Comparison> {
    let averaged = score(backend, gpt, tokens, models, &mut done)?;
    let first = models.windows(gpt, tokens)?;
    let other = Models::One(baseline);
    let baseline = score(backend, gpt, tokens, &other, |n| done(first + n))?;
    Comparison::new(averaged, baseline, seed)
}

impl From<&Comparison> for Report {
    fn from(c: &Comparison) -> Self {
        Self::from(&c.averaged)
            .group("baseline", Self::from(&c.baseline))
            .group("against_baseline", Self::from(&c.paired))
    }
}

impl From<&PredictiveScores> for Report {
    /// A new score is one row here.
    fn from(s: &PredictiveScores) -> Self {
        Self::new()
            .row("tokens", s.nll.len(), "tokens that were scored")
            .row("samples", s.sample_nll.len(), "samples that were averaged")
            .row(
                "loss",
                s.perplexity.ln(),
                "loss of the averaged prediction, nats per token",
            )
            .row(
                "loss_mean",
                s.gibbs_perplexity.ln(),
                "mean of the samples' losses, nats per token",
            )
            .row(
                "loss_of_each",
                s.sample_nll.clone(),
                "each sample's loss, nats per token",
            )
            .group("entropy", Self::from(&s.entropy_summary))
            .row(
                "expected_entropy",
                s.expected_entropy,
                "mean entropy of the samples' predictions, nats per token",
            )
            .group(
                "mutual_information",
                Self::from(&s.mutual_information_summary),
            )
            .row("brier", s.brier, "mean Brier score, 0 to 2; 0 is the best")
            .row(
                "accuracy",
                s.accuracy,
                "share of the tokens that were the likeliest, 0 to 1",
            )
            .row(
                "ece",
                s.ece,
                "expected calibration error with 15 bins, 0 to 1",
            )
    }
}

impl From<&Summary> for Report {
    fn from(s: &Summary) -> Self {
        Self::new()
            .row("mean", s.mean, "mean over the tokens, nats per token")
            .row("min", s.min, "smallest of a token, nats")
            .row("max", s.max, "largest of a token, nats")
    }
}

impl From<&PairedDifference> for Report {
    fn from(d: &PairedDifference) -> Self {
        Self::new()
            .row(
                "mean",
                d.mean,
                "mean of a - b, nats per token; below 0 where a loses less",
            )
            .row("std_error", d.std_error, "standard error of the mean")
            .row("z", d.z, "mean over standard error, 0 where the mean is 0")
            .row("low", d.low, "lower end of the 95 % interval of the mean")
            .row("high", d.high, "upper end of the 95 % interval of the mean")
    }
}

impl From<&Rouge> for Report {
    fn from(r: &Rouge) -> Self {
        Self::new()
            .row(
                "rouge1",
                r.rouge1,
                "mean F-measure of common tokens, 0 to 1",
            )
            .row(
                "rouge2",
                r.rouge2,
                "mean F-measure of common pairs of neighbouring tokens, 0 to 1",
            )
            .row(
                "rouge_l",
                r.rouge_l,
                "mean F-measure of the longest common subsequence, 0 to 1",
            )
    }
}
