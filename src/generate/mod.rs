//! The next token from an average of samples, and how uncertain it is.
//!
//! For samples s with logits z_s after the context, p = mean_s softmax(z_s) is the posterior predictive of the token. Its entropy H(p)
//! is the total uncertainty, mean_s H(p_s) the part that would remain if the parameters were known, and their difference the mutual
//! information (Depeweg et al. 2018, eq. 3). [`Mode`] says what a token is drawn from.

mod options;
mod text;
mod writing;

pub use options::{ContextOverflow, Mode, Options};
pub use writing::Prediction;

use crate::backend::{Backend, Drawn};
use crate::error::{Error, Result};
use crate::gpt::{Ensemble, Gpt, WeightType};
use crate::rng::{Stream, StreamTag};
use writing::Writing;

/// One new token and what the samples predicted before it was drawn, in nats. But for `draw_log_prob` all numbers are of the predictions at temperature 1
/// and before top-k, in every [`Mode`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenInfo {
    /// The drawn token.
    pub token: u16,
    /// Entropy of the averaged prediction, 0 to ln V.
    pub entropy: f64,
    /// Mean entropy of the samples' predictions.
    pub expected_entropy: f64,
    /// Difference of the two: the mutual information, what the samples disagree about. Not negative except for rounding.
    pub mutual_information: f64,
    /// Log probability of the token under the averaged prediction.
    pub log_prob: f64,
    /// Logarithm of the probability with which it was drawn: under the mode's distribution, at the options' temperature, among the top k.
    pub draw_log_prob: f64,
}

/// A generated text.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The new tokens, without the prompt.
    pub tokens: Vec<u16>,
    /// What the samples predicted for each token.
    pub info: Vec<TokenInfo>,
    /// How many tokens each sample read again because the block was full.
    pub rereads: usize,
}

/// Generates texts from an average of parameter vectors, one per posterior sample. Use it from one thread at a time.
///
/// A seed gives one text, whatever the number of threads and whatever other texts are generated with it.
///
/// [`Generator::generate`] and [`Generator::generate_batch`] write whole texts. [`Generator::begin`] and [`Generator::advance`] write token by token: between
/// two tokens the caller may look at the predictions and put tokens of their own in place of those that are drawn.
pub struct Generator<B: Backend> {
    gpt: Gpt,
    ensemble: Ensemble<B>,
    uniforms: Vec<f64>,
    writers: Vec<usize>, // the sample that writes each text alone
    logits: Vec<f32>,    // (S, texts, V) where predictions are looked at
    writing: Option<Writing>,
    came: Vec<(usize, TokenInfo)>, // what the last step wrote
}

impl<B: Backend> Generator<B> {
    /// Creates a generator from at least one parameter vector of the model.
    ///
    /// # Errors
    /// Returns an error when there is no vector, one has another length than the model's, or the device has no room for the caches.
    pub fn new(backend: &B, gpt: &Gpt, samples: Vec<B::Vector>) -> Result<Self> {
        Self::with_weights(backend, gpt, samples, WeightType::F32)
    }

    /// Creates a generator like [`Generator::new`], with the weights stored as `form` says.
    ///
    /// # Errors
    /// Fails as [`Generator::new`] does.
    pub fn with_weights(
        backend: &B,
        gpt: &Gpt,
        samples: Vec<B::Vector>,
        form: WeightType,
    ) -> Result<Self> {
        Ok(Self {
            gpt: gpt.clone(),
            ensemble: Ensemble::new(backend, gpt, samples, form, 1)?,
            uniforms: Vec::new(),
            writers: Vec::new(),
            logits: Vec::new(),
            writing: None,
            came: Vec::new(),
        })
    }

    /// Returns the number of samples that are averaged.
    pub fn num_samples(&self) -> usize {
        self.ensemble.members()
    }

    /// Continues `prompt`; `text` distinguishes the texts of one seed. `on_token` is called with each token and ends the text by returning
    /// `false`.
    ///
    /// Only the last block_size tokens of a longer prompt count.
    ///
    /// # Errors
    /// Returns an error when the prompt is empty or has a token out of range, an option is out of range, or a sample's logits are not finite.
    pub fn generate(
        &mut self,
        prompt: &[u16],
        options: &Options,
        text: u64,
        mut on_token: impl FnMut(&TokenInfo) -> bool,
    ) -> Result<Generated> {
        let mut made = self.generate_batch(&[prompt], options, text, |_, t| on_token(t))?;
        made.pop()
            .ok_or_else(|| Error::out_of_range("texts", "one", "none"))
    }

    /// Continues every prompt at once: each sample's weights are read once per token for all of them. Text i is number `first + i` of the
    /// seed, and equals the text generated alone. `on_token` is called with (i, token) and ends that text by returning `false`.
    ///
    /// # Errors
    /// Fails as [`Generator::generate`] does.
    pub fn generate_batch(
        &mut self,
        prompts: &[&[u16]],
        options: &Options,
        first: u64,
        mut on_token: impl FnMut(usize, &TokenInfo) -> bool,
    ) -> Result<Vec<Generated>> {
        self.begin(prompts, options, first)?;
        while !self.advance()?.is_empty() {
            for i in 0..self.came.len() {
                let (text, info) = self.came[i];
                if !on_token(text, &info) {
                    self.stop(text)?;
                }
            }
        }
        self.finish()
    }
}

/// Returns which of the samples writes a text alone: they take turns, beginning with one that the seed chooses.
pub fn writer(seed: u64, text: u64, samples: usize) -> usize {
    let n = samples.max(1) as u64;
    let first = Stream::new(seed, StreamTag::Generate, 1).below(n, 0, 0);
    ((text % n + first) % n) as usize
}

impl TokenInfo {
    fn of(drawn: &Drawn) -> Self {
        Self {
            token: drawn.token as u16,
            entropy: drawn.entropy,
            expected_entropy: drawn.expected_entropy,
            mutual_information: drawn.entropy - drawn.expected_entropy,
            log_prob: drawn.log_prob,
            draw_log_prob: drawn.draw_log_prob,
        }
    }
}
