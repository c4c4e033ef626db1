//! How well a number tells two kinds of text apart.

use crate::error::{Error, Result};
use crate::memory;

/// Returns the area under the receiver operating characteristic: the probability that a number of `positive` is larger than one of `negative`, where equal
/// ones count half (Hanley & McNeil 1982, "The meaning and use of the area under a receiver operating characteristic (ROC) curve"). 1/2 tells nothing.
///
/// # Errors
/// Returns [`Error::OutOfRange`] if either is empty or a number is NaN.
pub fn auroc(negative: &[f64], positive: &[f64]) -> Result<f64> {
    if negative.is_empty() || positive.is_empty() {
        return Err(Error::out_of_range("numbers of a kind", "at least 1", 0));
    }
    let of = |x: &f64, positive: bool| (*x, positive);
    let both = negative.iter().map(|x| of(x, false));
    let both = both.chain(positive.iter().map(|x| of(x, true)));
    let mut all: Vec<(f64, bool)> = memory::collect(both, "numbers of two kinds")?;
    if all.iter().any(|(x, _)| x.is_nan()) {
        return Err(Error::out_of_range("numbers of a kind", "numbers", "NaN"));
    }
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut sum) = (0.0, 0.0);
    for equal in all.chunk_by(|a, b| a.0 == b.0) {
        let positives = equal.iter().filter(|(_, positive)| *positive).count() as f64;
        let negatives = equal.len() as f64 - positives;
        sum += positives * (below + 0.5 * negatives);
        below += negatives;
    }
    Ok(sum / (negative.len() as f64 * positive.len() as f64))
}
