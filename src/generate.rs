//! The next token from an average of samples, and how uncertain it is.
//!
//! For samples s with logits z_s after the context, p = mean_s softmax(z_s) is the posterior predictive of the token. Its entropy H(p)
//! is the total uncertainty, mean_s H(p_s) the part that would remain if the parameters were known, and their difference the mutual
//! information (Depeweg et al. 2018, eq. 3). [`Mode`] says what a token is drawn from.

use crate::backend::{Backend, Draw, DrawFrom, Drawn};
use crate::error::{Error, Result};
use crate::gpt::{Ensemble, Gpt, Piece, WeightType};
use crate::memory;
use crate::rng::{Stream, StreamTag};
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

/// The number of tokens that room is reserved for.
const ROOM: usize = 1 << 12;

/// What messages call them.
const TEXTS: &str = "texts in progress";

/// One text in progress.
struct Text {
    tokens: Vec<u16>, // prompt and what came
    prompt: usize,
    read: usize, // tokens before it are in the caches, or were dropped
    info: Vec<TokenInfo>,
    rereads: usize,
}

/// Generates texts from an average of parameter vectors, one per posterior sample. Use it from one thread at a time.
///
/// A seed gives one text, whatever the number of threads and whatever other texts are generated with it.
pub struct Generator<B: Backend> {
    gpt: Gpt,
    ensemble: Ensemble<B>,
    drawn: Vec<Drawn>, // one per text that is still written
    uniforms: Vec<f64>,
    writers: Vec<usize>, // the sample that writes each text alone
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
            drawn: Vec::new(),
            uniforms: Vec::new(),
            writers: Vec::new(),
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
        options.check()?;
        self.check_prompts(prompts)?;
        self.ensemble.make_room(prompts.len().max(1))?;
        (0..self.ensemble.sequences()).for_each(|t| self.ensemble.clear(t));
        let stream = Stream::new(options.seed, StreamTag::Generate, 0);
        let block = self.gpt.config().block_size;
        let new = |prompt: &&[u16]| Text::new(prompt, block, options.max_new_tokens);
        let mut texts: Vec<Text> = memory::try_collect(prompts.iter().map(new), TEXTS)?;
        let mut active: Vec<usize> = memory::collect(0..texts.len(), TEXTS)?;
        self.uniforms.clear();
        memory::grow(&mut self.uniforms, texts.len(), TEXTS)?;
        self.writers.clear();
        memory::grow(&mut self.writers, texts.len(), TEXTS)?;
        for i in 0..options.max_new_tokens {
            if active.is_empty() {
                break;
            }
            for &t in &active {
                self.slide_window(&mut texts[t], t, options.context);
            }
            let uniform = |&t: &usize| stream.uniform(first.wrapping_add(t as u64), i as u64);
            self.uniforms.clear();
            self.uniforms.extend(active.iter().map(uniform));
            let samples = self.num_samples();
            let writer = |&t: &usize| writer(options.seed, first.wrapping_add(t as u64), samples);
            self.writers.clear();
            self.writers.extend(active.iter().map(writer));
            for &t in &active {
                memory::grow(&mut texts[t].info, 1, TEXTS)?;
                memory::grow(&mut texts[t].tokens, 1, TEXTS)?;
            }
            self.read(&texts, &active, options, i as u64)?;
            let mut drawn = self.drawn.iter();
            active.retain(|&t| {
                let Some(info) = drawn.next().map(TokenInfo::of) else {
                    return false;
                };
                let text = &mut texts[t];
                text.read = text.tokens.len();
                text.info.push(info);
                text.tokens.push(info.token);
                on_token(t, &info)
            });
        }
        let made = texts.into_iter().map(|t| {
            Ok(Generated {
                tokens: memory::copy(&t.tokens[t.prompt..], TEXTS)?,
                info: t.info,
                rereads: t.rereads,
            })
        });
        memory::try_collect(made, TEXTS)
    }

    /// Refuses an empty prompt, and a token out of range, even if it lies before the block and is never read.
    fn check_prompts(&self, prompts: &[&[u16]]) -> Result<()> {
        let v = self.gpt.config().vocab_size;
        for (p, prompt) in prompts.iter().enumerate() {
            let name = |rest: &str| match prompts.len() {
                1 => format!("prompt{rest}"),
                _ => format!("prompt {p}{rest}"),
            };
            if prompt.is_empty() {
                return Err(Error::out_of_range(name(""), "at least one token", "none"));
            }
            if let Some(i) = prompt.iter().position(|&t| t as usize >= v) {
                let expected = format!("a token below vocab_size = {v}");
                return Err(Error::out_of_range(
                    name(&format!("[{i}]")),
                    expected,
                    prompt[i],
                ));
            }
        }
        Ok(())
    }

    /// When the block is full, drops what the context says and lets the rest be read again.
    fn slide_window(&mut self, text: &mut Text, t: usize, context: ContextOverflow) {
        let block = self.gpt.config().block_size;
        let cached = self.ensemble.len(t);
        if cached + (text.tokens.len() - text.read) <= block {
            return;
        }
        let keep = match context {
            ContextOverflow::Exact => block,
            ContextOverflow::Hop => (block / 2).max(1),
        };
        self.ensemble.clear(t);
        text.read = text.tokens.len() - keep;
        text.rereads += keep - 1;
    }

    /// Reads the active texts' unread tokens, as many texts at a time as there is room for, and draws the next token of each.
    fn read(
        &mut self,
        texts: &[Text],
        active: &[usize],
        options: &Options,
        step: u64,
    ) -> Result<()> {
        let piece = |&t: &usize| Piece {
            sequence: t,
            tokens: &texts[t].tokens[texts[t].read..],
        };
        let pieces: Vec<Piece> = memory::collect(active.iter().map(piece), TEXTS)?;
        self.drawn.clear();
        memory::resize(&mut self.drawn, pieces.len(), Drawn::default(), TEXTS)?;
        let mut at = 0;
        while at < pieces.len() {
            let mut rows = 0;
            let fits = pieces[at..].iter().take_while(|p| {
                rows += p.tokens.len();
                rows <= self.ensemble.rows()
            });
            let now = at..at + fits.count();
            self.ensemble.read(&pieces[now.clone()])?;
            let how = Draw {
                from: match options.mode {
                    Mode::Average => DrawFrom::Average,
                    Mode::Vote => DrawFrom::Vote,
                    Mode::Sequence => DrawFrom::Member(&self.writers[now.clone()]),
                },
                temperature: options.temperature,
                top_k: options.top_k,
            };
            let (drawn, u) = (&mut self.drawn[now.clone()], &self.uniforms[now.clone()]);
            if let Some((sample, value)) = self.ensemble.draw(drawn, how, u)? {
                return Err(Error::NotFinite {
                    step,
                    tensor: format!("logits of sample {sample}"),
                    value,
                });
            }
            at = now.end;
        }
        Ok(())
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

impl Text {
    fn new(prompt: &[u16], block: usize, max_new_tokens: usize) -> Result<Self> {
        // A text that `on_token` ends may ask for any number.
        let room = max_new_tokens.min(ROOM);
        let mut tokens = memory::room(prompt.len() + room, TEXTS)?;
        tokens.extend_from_slice(prompt);
        Ok(Self {
            tokens,
            prompt: prompt.len(),
            read: prompt.len().saturating_sub(block),
            info: memory::room(room, TEXTS)?,
            rereads: 0,
        })
    }
}
