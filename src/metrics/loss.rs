//! A model's loss over a whole split: consecutive windows, so that there is no sampling noise.

use crate::backend::Backend;
use crate::data::{Batch, consecutive};
use crate::error::Result;
use crate::gpt::{Gpt, Objective, TokenBatch, Workspace};

/// Rows per evaluation pass: enough to keep the threads busy, few enough to be small compared with the parameters.
const EVAL_ROWS: usize = 4096;

/// Returns the number of sequences of `t` tokens per evaluation pass, at least 1.
pub fn eval_batch(t: usize) -> usize {
    (EVAL_ROWS / t.max(1)).max(1)
}

/// Returns the mean negative log-likelihood in nats per token over consecutive windows of `t` tokens, and the number of tokens.
///
/// # Errors
/// Returns an error when the split is shorter than a window, or shapes do not fit.
pub fn split_loss<B: Backend>(
    backend: &B,
    gpt: &Gpt,
    params: &B::Vector,
    tokens: &[u16],
    t: usize,
) -> Result<(f64, usize)> {
    split_loss_watched(backend, gpt, params, tokens, t, || Ok(()))
}

/// Returns what [`split_loss`] does; `look` is called before each pass and may end it with an error.
///
/// # Errors
/// Fails as [`split_loss`] and `look` do.
pub fn split_loss_watched<B: Backend>(
    backend: &B,
    gpt: &Gpt,
    params: &B::Vector,
    tokens: &[u16],
    t: usize,
    mut look: impl FnMut() -> Result<()>,
) -> Result<(f64, usize)> {
    let windows = consecutive(tokens, t)?;
    let rows = eval_batch(t).min(windows.num_windows());
    let mut ws = Workspace::for_prediction(backend, gpt.config(), rows, t)?;
    let mut batch = Batch::new(rows, t)?;
    let (mut sum, mut count, mut first) = (0.0, 0, 0);
    while first < windows.num_windows() {
        look()?;
        first += windows.fill(first, rows, &mut batch)?;
        let objective = Objective::All;
        let of = TokenBatch::new(&batch.x, &batch.y, t, objective);
        let mean = gpt.loss(backend, params, of, &mut ws)?;
        sum += mean * batch.y.len() as f64;
        count += batch.y.len();
    }
    Ok((sum / count as f64, count))
}
