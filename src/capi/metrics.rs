//! What texts are worth (BLEU and ROUGE), what stated probabilities are (Brier, calibration), and what chains are (R-hat, effective sizes).

use super::guard::guard;
use super::pointer::{out, slice, texts};
use super::report::{bnn_report, report_of};
use super::status::{Fail, bnn_error, bnn_status};
use crate::error::Error;
use crate::memory;
use crate::metrics::{
    Unit, bleu, brier_score, chain_diagnostics, expected_calibration_error, rouge_mean,
};
use std::ffi::c_char;

/// n-grams of characters, white space too.
pub const BNN_UNIT_CHAR: i32 = 0;
/// n-grams of what stands between white space.
pub const BNN_UNIT_WORD: i32 = 1;

fn unit(number: i32) -> Result<Unit, Fail> {
    match number {
        BNN_UNIT_CHAR => Ok(Unit::Char),
        BNN_UNIT_WORD => Ok(Unit::Word),
        other => Err(Error::out_of_range("unit", "BNN_UNIT_CHAR or BNN_UNIT_WORD", other).into()),
    }
}

/// Computes corpus BLEU: unsmoothed, brevity penalty, one reference per text.
///
/// [in] references, predictions: n texts, UTF-8, with their lengths in bytes; unit: BNN_UNIT_…; max_order: 1 to 4. [out] score: 0 to 1.
/// Errors: BNN_ERR_INVALID for the unit or the order, BNN_ERR_SHAPE for no texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_bleu(
    references: *const *const c_char,
    reference_lens: *const usize,
    predictions: *const *const c_char,
    prediction_lens: *const usize,
    n: usize,
    unit: i32,
    max_order: usize,
    score: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let r = texts(references, reference_lens, n, "reference")?;
            let p = texts(predictions, prediction_lens, n, "prediction")?;
            let score = out(score, "score")?;
            score.write(bleu(&r, &p, self::unit(unit)?, max_order)?);
        }
        Ok(())
    })
}

/// Computes the mean ROUGE-1, ROUGE-2 and ROUGE-L F-measures, of texts given as to bnn_bleu. [out] report: rouge1, rouge2, rouge_l, 0 to 1.
///
/// The time grows with the product of the lengths of a text and its reference, counted in units; above 10^10, two texts of 100,000 characters, it is
/// refused. Errors: BNN_ERR_INVALID, for that too; BNN_ERR_SHAPE for no texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_rouge(
    references: *const *const c_char,
    reference_lens: *const usize,
    predictions: *const *const c_char,
    prediction_lens: *const usize,
    n: usize,
    unit: i32,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let r = texts(references, reference_lens, n, "reference")?;
            let p = texts(predictions, prediction_lens, n, "prediction")?;
            let mut report = report_of(report)?;
            *report = (&rouge_mean(&r, &p, self::unit(unit)?)?).into();
        }
        Ok(())
    })
}

/// Computes the mean Brier score of predictions: the squared distance between the probabilities and the outcome.
///
/// [in] probabilities: (n, v), those of one prediction after the other; outcomes: n, each below v; n, v: at least 1. [out] score: 0 to 2, 0
/// the best. Errors: BNN_ERR_INVALID for an outcome or a probability that is not 0 to 1, with its place; BNN_ERR_SHAPE for no predictions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_brier_score(
    probabilities: *const f64,
    outcomes: *const u32,
    n: usize,
    v: usize,
    score: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let all = n
            .checked_mul(v)
            .ok_or_else(|| Error::out_of_range("n * v", "a size", format!("{n} * {v}")))?;
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let p = slice(probabilities, all, "probabilities")?;
            let (outcomes, score) = (slice(outcomes, n, "outcomes")?, out(score, "score")?);
            if all == 0 {
                return Err(Error::shape("predictions", "at least one", all).into());
            }
            if let Some(i) = p.iter().position(|p| !(0.0..=1.0).contains(p)) {
                let what = format!("probability {} of prediction {}", i % v, i / v);
                return Err(Error::out_of_range(what, "0 to 1", p[i]).into());
            }
            let each = p.chunks_exact(v).zip(outcomes);
            let each = each.map(|(p, &outcome)| brier_score(p, outcome as usize));
            score.write(each.sum::<Result<f64, _>>()? / n as f64);
        }
        Ok(())
    })
}

/// Computes the expected calibration error: the gap between mean confidence and accuracy, averaged over bins of equal width.
///
/// [in] confidence: n, each prediction's highest probability, above 0 and at most 1; correct: n, nonzero where that outcome came; bins: at
/// least 1. [out] ece: 0 to 1. Errors: BNN_ERR_INVALID for a confidence and no bins, BNN_ERR_NO_MEMORY for more bins than memory holds,
/// BNN_ERR_SHAPE for no predictions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_calibration_error(
    confidence: *const f64,
    correct: *const i32,
    n: usize,
    bins: usize,
    ece: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let confidence = slice(confidence, n, "confidence")?;
            let (correct, ece) = (slice(correct, n, "correct")?, out(ece, "ece")?);
            let correct = correct.iter().map(|&c| c != 0);
            let correct: Vec<bool> = memory::collect(correct, "outcomes")?;
            ece.write(expected_calibration_error(confidence, &correct, bins)?);
        }
        Ok(())
    })
}

/// Says whether chains agree on one scalar quantity, and how many independent draws they are worth (Vehtari et al. 2021).
///
/// [in] draws: (chains, n), the draws of one chain after the other, all finite; chains: at least 1; n: draws of each chain, at least 4.
/// [out] report: rhat, rank-normalised split R-hat, about 1 where the halves of all chains agree; NaN for a constant quantity; ess_bulk, ess_tail,
/// effective sample sizes of the middle and of the 5 % and 95 % quantiles; ess_mean, of the mean; mcse_mean, Monte Carlo standard error of the mean;
/// mean, sd, q05, q50, q95: mean, standard deviation and quantiles of all draws; the last six in the quantity's unit.
/// Errors: BNN_ERR_INVALID for too few chains or draws, and for a draw that is not finite.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_chain_diagnostics(
    draws: *const f64,
    chains: usize,
    n: usize,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let all = chains.checked_mul(n).ok_or_else(|| {
            Error::out_of_range("chains * n", "a size", format!("{chains} * {n}"))
        })?;
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let draws = slice(draws, all, "draws")?;
            let mut report = report_of(report)?;
            let each = (0..chains.min(all)).map(|c| &draws[c * n..(c + 1) * n]);
            let each: Vec<&[f64]> = memory::collect(each, "chains")?;
            *report = (&chain_diagnostics(&each)?).into();
        }
        Ok(())
    })
}
