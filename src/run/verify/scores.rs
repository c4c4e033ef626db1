//! Scores of predictions, of chains and of texts, which are computed from recorded numbers alone.

use super::{Check, Reference, bad};
use crate::error::{Error, Result};
use crate::metrics::{self, Rouge, Unit};
use std::collections::BTreeMap;
use std::path::Path;

/// Sums and logarithms in f64 of f32 logits.
const PREDICTIVE_TOLERANCE: f64 = 1e-6;
/// Sums in f64, and ranks that rounding could swap.
const CHAINS_TOLERANCE: f64 = 1e-6;
/// Counts and a few f64 operations.
const TEXT_TOLERANCE: f64 = 1e-9;

type Numbers = BTreeMap<String, f64>;

/// Predictive scores of an ensemble's logits (`predictive.safetensors`).
pub(super) fn predictive(r: &Reference<'_>) -> Result<Vec<Check>> {
    let (shape, logits) = r.f32("logits")?;
    let (_, targets) = r.tokens("targets")?;
    let &[_, _, v] = shape.as_slice() else {
        return Err(Error::shape("logits", "(S, N, V)", shape));
    };
    let got = metrics::predictive_scores(&logits, &targets, v)?;
    let want: Numbers = r.json("scores")?;
    let (entropy, mutual) = (got.entropy_summary, got.mutual_information_summary);
    let scores = [
        ("perplexity_of_mean_prediction", got.perplexity),
        ("perplexity_mean_nll_over_samples", got.gibbs_perplexity),
        ("predictive_entropy_mean", entropy.mean),
        ("expected_entropy_mean", got.expected_entropy),
        ("mutual_information_mean", mutual.mean),
        ("brier", got.brier),
        ("accuracy", got.accuracy),
        ("ece_15_equal_width_bins", got.ece),
    ];
    let mut checks = known(r.path, "", &scores, &want, PREDICTIVE_TOLERANCE);
    for (name, values) in [
        ("predictive_entropy", &got.entropy),
        ("mutual_information", &got.mutual_information),
    ] {
        let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        checks.push(r.check(name, &values, PREDICTIVE_TOLERANCE)?);
    }
    Ok(checks)
}

/// R-hat, effective sample sizes and Monte Carlo errors of chains (`chains*.safetensors`): one tensor (chains, draws) a name.
pub(super) fn chains(r: &Reference<'_>) -> Result<Vec<Check>> {
    let want: BTreeMap<String, Numbers> = r.json("arviz")?;
    let mut checks = Vec::new();
    for (name, want) in &want {
        let (shape, draws) = r.f64(name)?;
        let &[_, n] = shape.as_slice() else {
            return Err(Error::shape(name, "(chains, draws)", shape));
        };
        let chains: Vec<&[f64]> = draws.chunks_exact(n.max(1)).collect();
        let got = metrics::chain_diagnostics(&chains)?;
        let numbers = [
            ("rhat", got.rhat),
            ("ess_bulk", got.ess_bulk),
            ("ess_tail", got.ess_tail),
            ("ess_mean", got.ess_mean),
            ("mcse_mean", got.mcse_mean),
        ];
        let prefix = format!("{name}.");
        checks.extend(known(r.path, &prefix, &numbers, want, CHAINS_TOLERANCE));
    }
    Ok(checks)
}

/// Compares the numbers that the file has; those that it leaves out are not checked.
fn known(
    path: &Path,
    prefix: &str,
    got: &[(&str, f64)],
    want: &Numbers,
    tolerance: f64,
) -> Vec<Check> {
    let checks = got.iter().filter_map(|&(name, got)| {
        let want = *want.get(name)?;
        let quantity = format!("{prefix}{name}");
        Some(Check::of(path, &quantity, got, want, tolerance))
    });
    checks.collect()
}

/// BLEU and ROUGE of one kind of unit in `text_scores.json`.
#[derive(serde::Deserialize)]
struct Scores {
    bleu1: f64,
    bleu2: f64,
    bleu4: f64,
    rouge1: Vec<f64>,
    rouge2: Vec<f64>,
    #[serde(rename = "rougeL")]
    rouge_l: Vec<f64>,
}

/// Pairs of texts with their scores.
#[derive(serde::Deserialize)]
struct Texts {
    references: Vec<String>,
    predictions: Vec<String>,
    #[serde(rename = "char")]
    chars: Scores,
    word: Scores,
}

/// BLEU and ROUGE (`text_scores.json`).
pub(super) fn texts(path: &Path, bytes: &[u8]) -> Result<Vec<Check>> {
    let t: Texts = serde_json::from_slice(bytes).map_err(|e| bad(path, e))?;
    let mut checks = Vec::new();
    for (kind, unit, want) in [
        ("char", Unit::Char, &t.chars),
        ("word", Unit::Word, &t.word),
    ] {
        for (order, want) in [(1, want.bleu1), (2, want.bleu2), (4, want.bleu4)] {
            let got = metrics::bleu(&t.references, &t.predictions, unit, order)?;
            let name = format!("{kind}.bleu{order}");
            checks.push(Check::of(path, &name, got, want, TEXT_TOLERANCE));
        }
        let pairs = t.references.iter().zip(&t.predictions);
        let each = pairs.map(|(r, p)| metrics::rouge(r, p, unit));
        let each = each.collect::<Result<Vec<Rouge>>>()?;
        type Of = fn(&Rouge) -> f64;
        let by: [(&str, Of, &Vec<f64>); 3] = [
            ("rouge1", |r| r.rouge1, &want.rouge1),
            ("rouge2", |r| r.rouge2, &want.rouge2),
            ("rougeL", |r| r.rouge_l, &want.rouge_l),
        ];
        for (name, of, want) in by {
            // The worst pair stands for all.
            let errors = each.iter().zip(want).map(|(r, want)| (of(r) - want).abs());
            let (quantity, worst) = (format!("{kind}.{name}"), errors.fold(0.0, f64::max));
            let mut check = Check::of(path, &quantity, worst, 0.0, TEXT_TOLERANCE);
            check.pass &= want.len() == each.len();
            checks.push(check);
        }
    }
    Ok(checks)
}
