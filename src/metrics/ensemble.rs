//! The scores of an average of models over a text, summed where the logits are.

use super::{PredictiveScores, TokenScores, eval_batch};
use crate::backend::Backend;
use crate::data::{Batch, consecutive};
use crate::error::Result;
use crate::gpt::{Gpt, Linearised, Objective, TokenBatch, Workspace};

/// Collects the scores of models one after the other, each over the same N tokens.
pub struct EnsembleScores<B: Backend> {
    backend: B,
    gpt: Gpt,
    sums: B::Predictive,
}

impl<B: Backend> EnsembleScores<B> {
    /// Creates scores for `n_tokens` tokens, N: N V + 2 N doubles on the device.
    ///
    /// # Errors
    /// Returns [`crate::Error::OutOfRange`] if N is 0 or the device has no room.
    pub fn new(backend: &B, gpt: &Gpt, n_tokens: usize) -> Result<Self> {
        Ok(Self {
            backend: backend.clone(),
            gpt: gpt.clone(),
            sums: backend.predictive(n_tokens, gpt.config().vocab_size)?,
        })
    }

    /// Scores consecutive windows of `t` tokens by a model: its next tokens. Tokens come in order; those that reach token N end the model,
    /// and the next belong to another.
    ///
    /// The workspace must hold [`eval_batch`] sequences of `t`, or all there are.
    ///
    /// # Errors
    /// Returns an error when the tokens are fewer than a window or run past token N, shapes do not fit, or a logit is not finite.
    pub fn add(
        &mut self,
        params: &B::Vector,
        tokens: &[u16],
        t: usize,
        ws: &mut Workspace<B>,
    ) -> Result<()> {
        self.add_watched(params, tokens, t, ws, |_| Ok(()))
    }

    /// Scores a model as [`EnsembleScores::add`] does; `done` hears after each batch how many windows are scored. When it fails, the scores are lost.
    ///
    /// # Errors
    /// Fails as [`EnsembleScores::add`] and `done` do.
    pub fn add_watched(
        &mut self,
        params: &B::Vector,
        tokens: &[u16],
        t: usize,
        ws: &mut Workspace<B>,
        done: impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let (gpt, backend) = (&self.gpt, &self.backend);
        let predict =
            |of: TokenBatch<'_>, ws: &mut _, to: &mut _| gpt.predict(backend, params, of, ws, to);
        each_batch(&mut self.sums, tokens, t, ws, predict, done)
    }

    /// Scores a linearised model, as [`EnsembleScores::add_watched`] does a model. It must have been made with this workspace.
    ///
    /// # Errors
    /// Fails as [`EnsembleScores::add_watched`] does.
    pub fn add_linearised(
        &mut self,
        model: &mut Linearised<B>,
        tokens: &[u16],
        t: usize,
        ws: &mut Workspace<B>,
        done: impl FnMut(usize) -> Result<()>,
    ) -> Result<()> {
        let predict = |of: TokenBatch<'_>, ws: &mut _, to: &mut _| model.predict(of, ws, to);
        each_batch(&mut self.sums, tokens, t, ws, predict, done)
    }

    /// Returns the scores of each token, to which those of further tokens can be added.
    ///
    /// # Errors
    /// Returns [`crate::Error::Shape`] if there is no model, or if the last one lacks tokens.
    pub fn finish_tokens(self) -> Result<TokenScores> {
        self.finish_tokens_at(&[])
    }

    /// Returns the scores of each token, and its losses under the average at these temperatures, each above 0: [`TokenScores::tempered`].
    ///
    /// # Errors
    /// Fails as [`EnsembleScores::finish_tokens`] does, and with [`crate::Error::OutOfRange`] for a temperature that is not above 0.
    pub fn finish_tokens_at(self, temperatures: &[f64]) -> Result<TokenScores> {
        let read = self.backend.read_predictive(&self.sums, temperatures)?;
        Ok(TokenScores::of(read))
    }

    /// Returns the scores of the models so far.
    ///
    /// # Errors
    /// Fails as [`EnsembleScores::finish_tokens`] does.
    pub fn finish(self) -> Result<PredictiveScores> {
        self.finish_tokens()?.scores()
    }
}

/// Adds the predictions for consecutive windows of `t` tokens, batch by batch.
fn each_batch<B: Backend>(
    sums: &mut B::Predictive,
    tokens: &[u16],
    t: usize,
    ws: &mut Workspace<B>,
    mut predict: impl FnMut(TokenBatch<'_>, &mut Workspace<B>, &mut B::Predictive) -> Result<()>,
    mut done: impl FnMut(usize) -> Result<()>,
) -> Result<()> {
    let (windows, rows) = (consecutive(tokens, t)?, eval_batch(t));
    let mut batch = Batch::new(rows, t)?;
    let mut first = 0;
    while first < windows.num_windows() {
        first += windows.fill(first, rows, &mut batch)?;
        let of = TokenBatch::new(&batch.x, &batch.y, t, Objective::All);
        predict(of, ws, sums)?;
        done(first)?;
    }
    Ok(())
}
