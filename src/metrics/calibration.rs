//! Whether stated probabilities are calibrated: the Brier score and the expected calibration error.

use crate::error::{Error, Result};

/// Returns the Brier score of one prediction over V outcomes (Brier 1950, "Verification of forecasts expressed in terms of probability",
/// eq. 2): the squared distance between the probabilities and the outcome, in 0..=2, where 0 is best.
///
/// # Errors
/// Returns [`Error::OutOfRange`] if `target` is not below V.
pub fn brier_score(probabilities: &[f64], target: usize) -> Result<f64> {
    if target >= probabilities.len() {
        return Err(Error::out_of_range(
            "target",
            format!("below {}", probabilities.len()),
            target,
        ));
    }
    let squares = probabilities.iter().enumerate().map(|(v, p)| {
        let outcome = if v == target { 1.0 } else { 0.0 };
        (p - outcome) * (p - outcome)
    });
    Ok(squares.sum())
}

/// Returns the expected calibration error (Guo et al. 2017, "On calibration of modern neural networks", eq. 3): the gap between mean
/// confidence and accuracy in each of `bins` bins of equal width (k/bins, (k+1)/bins], averaged with the number of predictions in the bin
/// as weight. In 0..=1.
///
/// `confidence` holds each prediction's highest probability, `correct` whether that outcome occurred.
///
/// # Errors
/// Returns [`Error::OutOfRange`] if `bins` is 0, or a confidence is not in (0, 1]; [`Error::Shape`] if there are no predictions or
/// the lengths differ.
pub fn expected_calibration_error(
    confidence: &[f64],
    correct: &[bool],
    bins: usize,
) -> Result<f64> {
    if bins == 0 {
        return Err(Error::out_of_range("calibration bins", "at least 1", bins));
    }
    if confidence.is_empty() || confidence.len() != correct.len() {
        return Err(Error::shape(
            "correct",
            confidence.len().max(1),
            correct.len(),
        ));
    }
    let mut gaps = super::room("calibration bins", bins)?; // sum of confidence minus number correct
    gaps.resize(bins, 0.0);
    for (at, (&c, &hit)) in confidence.iter().zip(correct).enumerate() {
        if !(c > 0.0 && c <= 1.0) {
            return Err(Error::out_of_range(
                format!("confidence {at}"),
                "above 0 and at most 1",
                c,
            ));
        }
        // c * bins may round across an edge, k / bins is the edge itself.
        let upper = |k: usize| (k + 1) as f64 / bins as f64;
        let mut k = ((c * bins as f64) as usize).min(bins - 1);
        while k > 0 && c <= upper(k - 1) {
            k -= 1;
        }
        while c > upper(k) {
            k += 1;
        }
        gaps[k] += c - if hit { 1.0 } else { 0.0 };
    }
    Ok(gaps.iter().map(|gap| gap.abs()).sum::<f64>() / confidence.len() as f64)
}
