//! The scores of a prediction on the two parts of the held-out text, and the temperature that the first part fits to it.

use super::scoring::{Models, score_tokens};
use super::shuffled::shuffled_auroc;
use crate::backend::Backend;
use crate::data::HeldOut;
use crate::error::Result;
use crate::gpt::Gpt;
use crate::metrics::{PredictiveScores, TokenScores};

/// Temperatures that are tried: 2^(i / 8), from 1/2 to 2.
const TRIED: i32 = 8;

/// What a prediction is worth on the two parts.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOutScores {
    /// The scores on the part to choose by.
    pub choosing: PredictiveScores,
    /// The scores on the part to report on.
    pub reporting: PredictiveScores,
    /// The scores on the whole validation split, where that was cut in two; else those of `choosing`.
    pub validation: PredictiveScores,
    /// The temperature at which the prediction, p^(1/T) normalised, loses least on the part to choose by (temperature scaling: Guo et al. 2017, "On
    /// calibration of modern neural networks"), of 17 from 1/2 to 2 in equal ratios.
    pub temperature: f64,
    /// Mean loss at that temperature on the part to choose by, nats per token.
    pub choosing_scaled: f64,
    /// Each token's loss at that temperature on the part to report on, nats.
    pub reporting_scaled: Vec<f64>, // (N)
    /// How well the mutual information tells the front of the part to report on from its tokens in random order: [`shuffled_auroc`].
    pub shuffled_auroc: Option<f64>,
}

/// Scores a model, or the average of several, on both parts; `done` hears after each batch how many windows times models are scored.
///
/// # Errors
/// Returns the errors of [`super::scoring::score`].
pub fn score_held_out<B: Backend>(
    backend: &B,
    gpt: &Gpt,
    text: &HeldOut<'_>,
    models: &Models<'_>,
    mut done: impl FnMut(usize) -> Result<()>,
) -> Result<HeldOutScores> {
    let tried: Vec<f64> = (-TRIED..=TRIED)
        .map(|i| (f64::from(i) / 8.0).exp2())
        .collect();
    let [first, second] = text.windows(gpt.config().block_size);
    let choosing = score_tokens(backend, gpt, text.choosing, models, &tried, &mut done)?;
    let before = first * models.count();
    let reporting = match text.is_apart {
        true => score_tokens(backend, gpt, text.reporting, models, &tried, |n| {
            done(before + n)
        })?,
        false => choosing.clone(),
    };
    let mut scores = of_tokens(choosing, reporting, &tried, text)?;
    let (tokens, all) = (text.reporting, before + second * models.count());
    let known = &scores.reporting.mutual_information;
    scores.shuffled_auroc = shuffled_auroc(backend, gpt, tokens, models, known, || done(all))?;
    Ok(scores)
}

fn of_tokens(
    choosing: TokenScores,
    mut reporting: TokenScores,
    tried: &[f64],
    text: &HeldOut<'_>,
) -> Result<HeldOutScores> {
    let losses = choosing.tempered().iter().map(|nll| mean(nll));
    let best = losses.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
    let (at, choosing_scaled) = best.unwrap_or((TRIED as usize, f64::NAN));
    let reporting_scaled = reporting.take_tempered(at);
    let validation = match text.is_apart && text.is_halved {
        true => {
            let mut whole = choosing.try_clone()?;
            whole.extend(reporting.try_clone()?)?;
            whole.scores()?
        }
        false => choosing.try_clone()?.scores()?,
    };
    Ok(HeldOutScores {
        choosing: choosing.scores()?,
        reporting: reporting.scores()?,
        validation,
        temperature: tried[at],
        choosing_scaled,
        reporting_scaled,
        shuffled_auroc: None,
    })
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

impl HeldOutScores {
    /// Returns the mean loss on the part to report on, nats per token.
    pub fn loss(&self) -> f64 {
        mean(&self.reporting.nll)
    }

    /// Returns the mean loss on the part to report on at the fitted temperature, nats per token.
    pub fn loss_scaled(&self) -> f64 {
        mean(&self.reporting_scaled)
    }

    /// Returns the mean loss on the part to choose by, nats per token.
    pub fn choosing_loss(&self) -> f64 {
        mean(&self.choosing.nll)
    }
}
