//! What averaged samples predict for a text, token by token.

use super::{EnsembleScores, PredictiveScores, eval_batch};
use crate::backend::Backend;
use crate::data::consecutive;
use crate::error::{Error, Result};
use crate::gpt::{Gpt, Workspace};
use std::borrow::Borrow;

/// Scores the tokens of a text after the first, each given those before it in its window: consecutive windows of the block's length, as in
/// an evaluation, and a shorter one for the rest. Takes the samples one after the other, so that only one need lie on the device at a time.
///
/// # Errors
/// Returns [`Error::OutOfRange`] for fewer than two tokens, no sample, or a token (the last one included) that is not below the vocabulary
/// size; returns the first error among the samples; otherwise fails as the functions of [`EnsembleScores`] do.
pub fn text_scores<B: Backend>(
    backend: &B,
    gpt: &Gpt,
    samples: impl IntoIterator<Item = Result<impl Borrow<B::Vector>>>,
    tokens: &[u16],
) -> Result<PredictiveScores> {
    let n = tokens.len().saturating_sub(1);
    if n == 0 {
        return Err(Error::out_of_range("tokens", "at least two", tokens.len()));
    }
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return Err(Error::out_of_range("samples", "at least one", 0));
    }
    let (t, v) = (gpt.config().block_size, gpt.config().vocab_size);
    if let Some(i) = tokens.iter().position(|&y| usize::from(y) >= v) {
        let what = format!("tokens[{i}]");
        return Err(Error::out_of_range(what, format!("below {v}"), tokens[i]));
    }
    let rest = n % t;
    let (whole, end) = (&tokens[..n - rest + 1], &tokens[n - rest..]);
    let mut scores = EnsembleScores::new(backend, gpt, n)?;
    let mut run = |params: &B::Vector, part: &[u16], t: usize| -> Result<()> {
        if part.len() < 2 {
            return Ok(());
        }
        let windows = consecutive(part, t)?.num_windows();
        let rows = eval_batch(t).min(windows);
        let mut ws = Workspace::for_prediction(backend, gpt.config(), rows, t)?;
        scores.add(params, part, t, &mut ws)
    };
    for params in samples {
        let params = params?;
        run(params.borrow(), whole, t)?;
        run(params.borrow(), end, rest.max(1))?;
    }
    scores.finish()
}
