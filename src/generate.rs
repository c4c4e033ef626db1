//! The next token from an average of posterior samples, and how uncertain it is.
//!
//! For samples s with logits z_s after the context, p = mean_s softmax(z_s) at temperature 1 is what the posterior predicts. Its entropy
//! H(p) is the whole uncertainty, mean_s H(p_s) the part that remains if the parameters were known, their difference the mutual
//! information (Depeweg et al. 2018, eq. 3). The token is drawn from q = mean_s softmax(z_s / T): an average of probabilities, not of
//! logits, so that the draw is from the posterior predictive of the tempered models.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::gpt::{Cache, Decoder, Gpt};
use crate::rng::{Purpose, Stream};
use serde::{Deserialize, Serialize};

/// What happens when the block is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Context {
    /// nanoGPT's way: the last block_size tokens are the context. Their positions shift with every token, so all are read again.
    #[default]
    Exact,
    /// The older half is dropped and the younger read again; then tokens are appended until the block is full again. About as fast as
    /// within the block; the context is between half a block and a block long.
    Hop,
}

/// How tokens are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// How many.
    pub max_new_tokens: usize,
    /// Temperature of the draw, above 0.
    pub temperature: f64,
    /// Draw among this many likeliest tokens (of equals, those with the lowest numbers); `None` takes all.
    pub top_k: Option<usize>,
    /// Seed of the draws.
    pub seed: u64,
    /// What happens when the block is full.
    pub context: Context,
}

impl Default for Options {
    /// 100 tokens at temperature 0.8 among all, seed 0, exact.
    fn default() -> Self {
        Self {
            max_new_tokens: 100,
            temperature: 0.8,
            top_k: None,
            seed: 0,
            context: Context::Exact,
        }
    }
}

impl Options {
    /// Whether every value is in its range.
    ///
    /// # Errors
    /// Names the one that is not.
    pub fn check(&self) -> Result<()> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(Error::invalid("temperature", "above 0", self.temperature));
        }
        if self.top_k == Some(0) {
            return Err(Error::invalid("top_k", "at least 1", 0));
        }
        Ok(())
    }
}

/// One new token and what the samples thought before it was drawn; nats, at temperature 1, before top-k.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenInfo {
    /// The token.
    pub token: u16,
    /// Entropy of the averaged prediction, 0 to ln V.
    pub entropy: f64,
    /// Mean entropy of the samples' predictions.
    pub expected_entropy: f64,
    /// Their difference: what the samples disagree about. Not below 0 but for rounding.
    pub mutual_information: f64,
    /// Log probability of the token under the averaged prediction.
    pub log_prob: f64,
}

/// A text.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The new tokens, without the prompt.
    pub tokens: Vec<u16>,
    /// What is known of each.
    pub info: Vec<TokenInfo>,
    /// Tokens read again because the block was full, by each sample.
    pub rereads: usize,
}

/// One sample with its cache and its last logits.
struct Member<B: Backend> {
    params: B::Buf,
    cache: Cache<B>,
    decoder: Decoder<B>,
    logits: Vec<f32>, // (V)
}

/// Writes text with one parameter vector a posterior sample. One thread at a time; samples are run in parallel.
///
/// The same seed gives the same text whatever the number of threads.
pub struct Generator<B: Backend> {
    backend: B,
    gpt: Gpt,
    members: Vec<Member<B>>,
    average: Average,
}

impl<B: Backend> Generator<B> {
    /// From at least one parameter vector of the model.
    ///
    /// # Errors
    /// When there is none, one has another length, or the device has no room for the caches.
    pub fn new(backend: &B, gpt: &Gpt, samples: Vec<B::Buf>) -> Result<Self> {
        if samples.is_empty() {
            return Err(Error::invalid("samples", "at least one", 0));
        }
        let v = gpt.config().vocab_size;
        let members = samples
            .into_iter()
            .map(|params| {
                let n = backend.len(&params);
                if n != gpt.n_params() {
                    return Err(Error::shape("parameters", [gpt.n_params()], [n]));
                }
                Ok(Member {
                    params,
                    cache: Cache::new(backend, gpt.config())?,
                    decoder: Decoder::new(backend, gpt)?,
                    logits: vec![0.0; v],
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            backend: backend.clone(),
            gpt: gpt.clone(),
            members,
            average: Average::new(v),
        })
    }

    /// How many samples are averaged.
    pub fn num_samples(&self) -> usize {
        self.members.len()
    }

    /// Goes on from `prompt`; `text` tells apart the texts of one seed. `on_token` sees each token and ends the text with `false`.
    ///
    /// A prompt longer than the block counts with its last block_size tokens.
    ///
    /// # Errors
    /// When the prompt is empty or has a token out of range, an option is out of range, or a sample's logits are not finite.
    pub fn generate(
        &mut self,
        prompt: &[u16],
        options: &Options,
        text: u64,
        mut on_token: impl FnMut(&TokenInfo) -> bool,
    ) -> Result<Generated> {
        options.check()?;
        if prompt.is_empty() {
            return Err(Error::invalid("prompt", "at least one token", "none"));
        }
        let block = self.gpt.config().block_size;
        let stream = Stream::new(options.seed, Purpose::Generate, 0);
        let mut all = prompt.to_vec();
        all.reserve(options.max_new_tokens);
        let mut info = Vec::with_capacity(options.max_new_tokens);
        let mut rereads = 0;

        self.members.iter_mut().for_each(|m| m.cache.clear());
        // Tokens before `read` are in the caches, or were dropped.
        let mut read = all.len().saturating_sub(block);
        for i in 0..options.max_new_tokens {
            let cached = self.members[0].cache.len();
            if cached + (all.len() - read) > block {
                let keep = match options.context {
                    Context::Exact => block,
                    Context::Hop => (block / 2).max(1),
                };
                self.members.iter_mut().for_each(|m| m.cache.clear());
                read = all.len() - keep;
                rereads += keep - 1;
            }
            self.read(&all[read..], i as u64)?;
            read = all.len();
            let u = stream.uniform(text, i as u64);
            let logits = self.members.iter().map(|m| &m.logits[..]);
            let one = self.average.draw(logits, options, u);
            info.push(one);
            all.push(one.token);
            if !on_token(&one) {
                break;
            }
        }
        Ok(Generated {
            tokens: all.split_off(prompt.len()),
            info,
            rereads,
        })
    }

    /// Every sample reads the tokens after what its cache holds.
    fn read(&mut self, tokens: &[u16], step: u64) -> Result<()> {
        let (be, gpt) = (&self.backend, &self.gpt);
        be.each(&mut self.members, |i, m| {
            m.decoder
                .read(be, gpt, &m.params, &mut m.cache, tokens, &mut m.logits)?;
            match m.logits.iter().find(|z| !z.is_finite()) {
                Some(&value) => Err(Error::NotFinite {
                    step,
                    tensor: format!("logits of sample {i}"),
                    value,
                }),
                None => Ok(()),
            }
        })
    }
}

/// Averages predictions and draws; its buffers are made once.
struct Average {
    p: Vec<f64>,        // (V) the average at temperature 1
    q: Vec<f64>,        // (V) the average at the draw's temperature
    order: Vec<usize>,  // (V) tokens, the likeliest under q first
    tempered: Vec<f64>, // (V)
}

impl Average {
    fn new(v: usize) -> Self {
        Self {
            p: vec![0.0; v],
            q: vec![0.0; v],
            order: (0..v).collect(),
            tempered: vec![0.0; v],
        }
    }

    fn draw<'a>(
        &mut self,
        logits: impl ExactSizeIterator<Item = &'a [f32]>,
        options: &Options,
        u: f64,
    ) -> TokenInfo {
        let share = 1.0 / logits.len() as f64;
        self.p.fill(0.0);
        self.q.fill(0.0);
        let mut expected_entropy = 0.0;
        for z in logits {
            softmax(z, 1.0, &mut self.tempered);
            expected_entropy += share * entropy(&self.tempered);
            for (p, s) in self.p.iter_mut().zip(&self.tempered) {
                *p += share * s;
            }
            softmax(z, options.temperature, &mut self.tempered);
            for (q, s) in self.q.iter_mut().zip(&self.tempered) {
                *q += share * s;
            }
        }
        let v = self.p.len();
        let k = options.top_k.unwrap_or(v).min(v);
        let q = &self.q;
        for (i, token) in self.order.iter_mut().enumerate() {
            *token = i;
        }
        if k < v {
            // Of equals the lower token first: the order is total, so the choice of k is one.
            self.order
                .sort_unstable_by(|&a, &b| q[b].total_cmp(&q[a]).then(a.cmp(&b)));
        }
        let kept = &self.order[..k];
        let total: f64 = kept.iter().map(|&t| q[t]).sum();
        let mut below = 0.0;
        // Rounding may leave the last sum a little short of the total; the last token with any probability then stands.
        let mut token = kept[0];
        for &t in kept {
            if q[t] > 0.0 {
                token = t;
                below += q[t];
                if u * total < below {
                    break;
                }
            }
        }
        let h = entropy(&self.p);
        TokenInfo {
            token: token as u16,
            entropy: h,
            expected_entropy,
            mutual_information: h - expected_entropy,
            log_prob: self.p[token].ln(),
        }
    }
}

fn softmax(z: &[f32], temperature: f64, out: &mut [f64]) {
    let top = z.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let mut total = 0.0;
    for (o, &z) in out.iter_mut().zip(z) {
        *o = ((z as f64 - top) / temperature).exp();
        total += *o;
    }
    out.iter_mut().for_each(|o| *o /= total);
}

fn entropy(p: &[f64]) -> f64 {
    p.iter()
        .filter(|&&p| p > 0.0)
        .fold(0.0, |h, p| h - p * p.ln())
}
