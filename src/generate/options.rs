//! How texts are written: what tokens are drawn from, at which temperature, and what happens when the block is full.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// What happens to the context when the block is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContextOverflow {
    /// Keeps the last block_size tokens as the context, as nanoGPT does. Their positions shift with every token, so all are read again.
    #[default]
    Exact,
    /// Drops the older half and reads the younger half again; then tokens are appended until the block is full again. About as fast as
    /// within the block; the context is between half a block and a block long.
    Hop,
}

/// What tokens are drawn from, at temperature T. At T = 0 a distribution is all on its likeliest token, and of several on the one with the lowest id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The averaged prediction, proportional to p^(1/T). At T = 1 each token is a draw from its posterior predictive given the tokens before it.
    #[default]
    Average,
    /// The average of the samples' own, mean_s softmax(z_s / T): a vote among the samples, for one token each at T = 0.
    Vote,
    /// One sample's prediction, softmax(z_s / T), for all of a text: at T = 1, among all tokens, the whole text is a draw from the posterior predictive of
    /// texts. The samples take turns, text by text, and the seed chooses the first.
    Sequence,
}

/// How tokens are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Number of tokens.
    pub max_new_tokens: usize,
    /// Temperature of the draw, 0 or more.
    pub temperature: f64,
    /// The number of likeliest tokens to draw from (ties go to the lowest ids); `None` draws from all.
    pub top_k: Option<usize>,
    /// Seed of the draws.
    pub seed: u64,
    /// What happens to the context when the block is full.
    pub context: ContextOverflow,
    /// What tokens are drawn from.
    pub mode: Mode,
}

impl Default for Options {
    /// Returns 100 tokens of the average at temperature 0.8 among all, seed 0, exact.
    fn default() -> Self {
        Self {
            max_new_tokens: 100,
            temperature: 0.8,
            top_k: None,
            seed: 0,
            context: ContextOverflow::Exact,
            mode: Mode::Average,
        }
    }
}

impl Options {
    /// Checks that every value is in its range.
    ///
    /// # Errors
    /// Returns an error that names the value out of range.
    pub fn check(&self) -> Result<()> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(Error::out_of_range(
                "temperature",
                "0 or more",
                self.temperature,
            ));
        }
        if self.top_k == Some(0) {
            return Err(Error::out_of_range("top_k", "at least 1", 0));
        }
        Ok(())
    }
}
