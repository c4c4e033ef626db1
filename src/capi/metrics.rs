//! What texts are worth (BLEU and ROUGE over characters), and what chains are (R-hat, effective sample sizes).

use super::guard::guard;
use super::pointer::{out, slice, texts};
use super::status::{bnn_error, bnn_status};
use crate::error::Error;
use crate::metrics::{Unit, bleu, chain_diagnostics, rouge_mean};
use std::ffi::c_char;

/// Corpus BLEU over characters: unsmoothed, brevity penalty, one reference a text.
///
/// [in] references, predictions: n texts, UTF-8, with their lengths in bytes; max_order: 1 to 4. [out] score: 0 to 1.
/// Errors: BNN_ERR_INVALID for the order or for no texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_bleu(
    references: *const *const c_char,
    reference_lens: *const usize,
    predictions: *const *const c_char,
    prediction_lens: *const usize,
    n: usize,
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
            score.write(bleu(&r, &p, Unit::Char, max_order)?);
        }
        Ok(())
    })
}

/// Mean ROUGE-1, ROUGE-2 and ROUGE-L F-measures over characters. As bnn_bleu. [out] rouge1, rouge2, rouge_l: 0 to 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_rouge(
    references: *const *const c_char,
    reference_lens: *const usize,
    predictions: *const *const c_char,
    prediction_lens: *const usize,
    n: usize,
    rouge1: *mut f64,
    rouge2: *mut f64,
    rouge_l: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let r = texts(references, reference_lens, n, "reference")?;
            let p = texts(predictions, prediction_lens, n, "prediction")?;
            let (r1, r2, rl) = (
                out(rouge1, "rouge1")?,
                out(rouge2, "rouge2")?,
                out(rouge_l, "rouge_l")?,
            );
            let mean = rouge_mean(&r, &p, Unit::Char)?;
            r1.write(mean.rouge1);
            r2.write(mean.rouge2);
            rl.write(mean.rouge_l);
        }
        Ok(())
    })
}

/// Whether chains agree on one scalar quantity, and how many independent draws they are worth (Vehtari et al. 2021).
///
/// [in] draws: (chains, n), the draws of one chain after the other, all finite; chains: at least 1; n: draws of each chain, at least 4.
/// [out] rhat: rank-normalised split R-hat, about 1 where the halves of all chains agree; NaN for a constant quantity; ess_bulk, ess_tail: effective
/// sample sizes of the middle and of the 5 % and 95 % quantiles; ess_mean: of the mean; mcse_mean: Monte Carlo standard error of the mean,
/// in the quantity's unit. Errors: BNN_ERR_INVALID for too few chains or draws, and for a draw that is not finite.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_chain_diagnostics(
    draws: *const f64,
    chains: usize,
    n: usize,
    rhat: *mut f64,
    ess_bulk: *mut f64,
    ess_tail: *mut f64,
    ess_mean: *mut f64,
    mcse_mean: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let all = chains
            .checked_mul(n)
            .ok_or_else(|| Error::invalid("chains * n", "a size", format!("{chains} * {n}")))?;
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let draws = slice(draws, all, "draws")?;
            let (rhat, mcse_mean) = (out(rhat, "rhat")?, out(mcse_mean, "mcse_mean")?);
            let (bulk, tail, mean) = (
                out(ess_bulk, "ess_bulk")?,
                out(ess_tail, "ess_tail")?,
                out(ess_mean, "ess_mean")?,
            );
            let each: Vec<&[f64]> = (0..chains.min(all))
                .map(|c| &draws[c * n..(c + 1) * n])
                .collect();
            let d = chain_diagnostics(&each)?;
            rhat.write(d.rhat);
            bulk.write(d.ess_bulk);
            tail.write(d.ess_tail);
            mean.write(d.ess_mean);
            mcse_mean.write(d.mcse_mean);
        }
        Ok(())
    })
}
