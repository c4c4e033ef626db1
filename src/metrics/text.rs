//! Generated texts against references: corpus BLEU and ROUGE over characters or words.

use std::collections::HashMap;
use std::hash::Hash;

use super::bootstrap::quantile;
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Stream, StreamTag};

/// What messages call them.
const UNITS: &str = "the tokens of texts to compare";

/// The units of n-grams. Neither kind changes the case or strips anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Characters, including white space.
    Char,
    /// Words: the text between white space.
    Word,
}

impl Unit {
    fn split(self, text: &str) -> Result<Vec<&str>> {
        match self {
            Unit::Char => memory::collect(text.split_inclusive(|_: char| true), UNITS),
            Unit::Word => memory::collect(text.split_whitespace(), UNITS),
        }
    }
}

/// Returns the corpus BLEU with one reference per prediction (Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine
/// translation", eq. 2 to 4), with n-grams of 1 to `max_order` weighted equally, in 0..=1.
///
/// It is not smoothed: it is 0 when any order has no match. A prediction of fewer than n tokens counts as one n-gram without a match, as in
/// NLTK's `corpus_bleu`; other implementations leave it out.
///
/// # Errors
/// Returns [`Error::OutOfRange`] if `max_order` is not in 1..=4; [`Error::Shape`] if there are no pairs, or if one list is longer.
pub fn bleu<R: AsRef<str>, P: AsRef<str>>(
    references: &[R],
    predictions: &[P],
    unit: Unit,
    max_order: usize,
) -> Result<f64> {
    if !(1..=4).contains(&max_order) {
        return Err(Error::out_of_range("BLEU order", "1 to 4", max_order));
    }
    check_pairs(references, predictions)?;
    let (mut matches, mut possible) = ([0; 4], [0; 4]);
    let (mut reference_len, mut prediction_len) = (0, 0);
    for (reference, prediction) in references.iter().zip(predictions) {
        let (r, p) = (
            unit.split(reference.as_ref())?,
            unit.split(prediction.as_ref())?,
        );
        reference_len += r.len();
        prediction_len += p.len();
        for n in 1..=max_order {
            matches[n - 1] += common_ngrams(&r, &p, n)?;
            possible[n - 1] += count_ngrams(&p, n).max(1);
        }
    }
    if matches[..max_order].contains(&0) {
        return Ok(0.0);
    }
    let log_precisions = matches
        .iter()
        .zip(possible)
        .take(max_order)
        .map(|(&m, p)| (m as f64 / p as f64).ln());
    let log_brevity = (1.0 - reference_len as f64 / prediction_len as f64).min(0.0);
    Ok((log_precisions.sum::<f64>() / max_order as f64 + log_brevity).exp())
}

/// F-measures of one pair, or a mean of them, each in 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rouge {
    /// ROUGE-1: the F-measure of common tokens.
    pub rouge1: f64,
    /// ROUGE-2: the F-measure of common pairs of neighbouring tokens.
    pub rouge2: f64,
    /// ROUGE-L: the F-measure of the longest common subsequence.
    pub rouge_l: f64,
}

impl Rouge {
    fn mean(scores: impl Iterator<Item = Rouge>, n: usize) -> Self {
        let sum = scores.fold(Rouge::default(), |a, s| Rouge {
            rouge1: a.rouge1 + s.rouge1,
            rouge2: a.rouge2 + s.rouge2,
            rouge_l: a.rouge_l + s.rouge_l,
        });
        let n = n as f64;
        Rouge {
            rouge1: sum.rouge1 / n,
            rouge2: sum.rouge2 / n,
            rouge_l: sum.rouge_l / n,
        }
    }
}

/// Returns ROUGE-1, ROUGE-2 and ROUGE-L of one pair (Lin 2004, "ROUGE: a package for automatic evaluation of summaries", sections 2 and
/// 3.1), with recall and precision weighted equally. A text without an n-gram scores 0.
///
/// ROUGE-L takes O(n m) time and O(min(n, m)) memory in the numbers of tokens, so n m may be [`ROUGE_MOST`] at most.
///
/// # Errors
/// Returns [`Error::OutOfRange`] for texts that are too long together; [`Error::OutOfMemory`].
pub fn rouge(reference: &str, prediction: &str, unit: Unit) -> Result<Rouge> {
    let (r, p) = (unit.split(reference)?, unit.split(prediction)?);
    if (r.len() as u64).saturating_mul(p.len() as u64) > ROUGE_MOST {
        let expected = format!(
            "at most {ROUGE_MOST} as the product of their lengths (score shorter pieces, or words in place of characters)"
        );
        let got = format!("{} and {}", r.len(), p.len());
        return Err(Error::out_of_range("texts for ROUGE", expected, got));
    }
    let ngrams = |n| {
        Ok::<_, Error>(f_measure(
            common_ngrams(&r, &p, n)?,
            count_ngrams(&r, n),
            count_ngrams(&p, n),
        ))
    };
    Ok(Rouge {
        rouge1: ngrams(1)?,
        rouge2: ngrams(2)?,
        rouge_l: f_measure(longest_common_subsequence(&r, &p)?, r.len(), p.len()),
    })
}

/// The largest product of the lengths of a reference and a prediction, in tokens, that [`rouge`] compares: some 5 s, as of two texts of 100,000
/// characters, so that no text, such as one in a file from elsewhere, costs hours.
pub const ROUGE_MOST: u64 = 10_000_000_000;

/// Returns the plain mean of [`rouge`] over pairs.
///
/// # Errors
/// Returns [`Error::Shape`] if there are no pairs, or if one list is longer; the errors of [`rouge`].
pub fn rouge_mean<R: AsRef<str>, P: AsRef<str>>(
    references: &[R],
    predictions: &[P],
    unit: Unit,
) -> Result<Rouge> {
    check_pairs(references, predictions)?;
    let mut scores = memory::room(references.len(), UNITS)?;
    for (r, p) in references.iter().zip(predictions) {
        scores.push(rouge(r.as_ref(), p.as_ref(), unit)?);
    }
    Ok(Rouge::mean(scores.into_iter(), references.len()))
}

/// The number of bootstrap means that [`rouge_bootstrap`] takes the median of.
pub const ROUGE_RESAMPLES: usize = 1000;

/// Returns the median of 1,000 bootstrap means over pairs, the figure that the `rouge_score` package reports in place of the mean. It
/// differs from the mean by noise, which `seed` fixes; it exists for comparison with such figures.
///
/// # Errors
/// Returns [`Error::Shape`] if there are no scores.
pub fn rouge_bootstrap(scores: &[Rouge], seed: u64) -> Result<Rouge> {
    if scores.is_empty() {
        return Err(Error::shape(
            "ROUGE scores",
            "at least one pair",
            scores.len(),
        ));
    }
    let stream = Stream::new(seed, StreamTag::Bootstrap, 0);
    let n = scores.len();
    let means: Vec<Rouge> = (0..ROUGE_RESAMPLES as u64)
        .map(|resample| {
            let drawn = (0..n as u64).map(|i| scores[stream.below(n as u64, resample, i) as usize]);
            Rouge::mean(drawn, n)
        })
        .collect();
    let median = |score: fn(&Rouge) -> f64| {
        let mut values: Vec<f64> = means.iter().map(score).collect();
        values.sort_by(f64::total_cmp);
        quantile(&values, 0.5)
    };
    Ok(Rouge {
        rouge1: median(|s| s.rouge1),
        rouge2: median(|s| s.rouge2),
        rouge_l: median(|s| s.rouge_l),
    })
}

fn check_pairs<R, P>(references: &[R], predictions: &[P]) -> Result<()> {
    if references.is_empty() {
        return Err(Error::shape("texts", "at least one pair", references.len()));
    }
    if references.len() != predictions.len() {
        return Err(Error::shape(
            "predictions",
            references.len(),
            predictions.len(),
        ));
    }
    Ok(())
}

fn f_measure(common: usize, in_reference: usize, in_prediction: usize) -> f64 {
    // 2PR/(P + R) with P = common / in_prediction and R = common / in_reference.
    match common {
        0 => 0.0,
        _ => 2.0 * common as f64 / (in_reference + in_prediction) as f64,
    }
}

fn count_ngrams<T>(tokens: &[T], n: usize) -> usize {
    (tokens.len() + 1).saturating_sub(n)
}

/// Returns the size of the multiset intersection of the n-grams.
fn common_ngrams<T: Eq + Hash>(reference: &[T], prediction: &[T], n: usize) -> Result<usize> {
    let mut left: HashMap<&[T], usize> = HashMap::new();
    let size = size_of::<(&[T], usize)>();
    left.try_reserve(reference.len())
        .map_err(|_| Error::out_of_memory(UNITS, reference.len(), size))?;
    for ngram in reference.windows(n) {
        *left.entry(ngram).or_default() += 1;
    }
    let mut common = 0;
    for ngram in prediction.windows(n) {
        if let Some(count) = left.get_mut(ngram).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    Ok(common)
}

/// Returns the length of the longest common subsequence, by the textbook recurrence with one row kept.
fn longest_common_subsequence<T: Eq>(a: &[T], b: &[T]) -> Result<usize> {
    let (long, short) = if a.len() < b.len() { (b, a) } else { (a, b) };
    let mut row: Vec<u32> = memory::zeros(short.len() + 1, UNITS)?;
    for x in long {
        let mut diagonal = 0;
        for (j, y) in short.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y {
                diagonal + 1
            } else {
                above.max(row[j])
            };
            diagonal = above;
        }
    }
    Ok(row[short.len()] as usize)
}
