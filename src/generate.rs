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

/// Tokens that there is room for from the start.
const ROOM: usize = 1 << 12;

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
        let (v, n_samples) = (gpt.config().vocab_size, samples.len());
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
            average: Average::new(v, n_samples),
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
        let (block, v) = (self.gpt.config().block_size, self.gpt.config().vocab_size);
        // Here, because those before the block are never read.
        if let Some(i) = prompt.iter().position(|&t| t as usize >= v) {
            let expected = format!("a token below vocab_size = {v}");
            return Err(Error::invalid(format!("prompt[{i}]"), expected, prompt[i]));
        }
        let stream = Stream::new(options.seed, Purpose::Generate, 0);
        let mut all = prompt.to_vec();
        // A text that `on_token` ends may ask for any number.
        let room = options.max_new_tokens.min(ROOM);
        all.reserve(room);
        let mut info = Vec::with_capacity(room);
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
    p: Vec<f64>,       // (V) the average at temperature 1
    q: Vec<f64>,       // (V) the average at the draw's temperature
    one: Vec<f64>,     // (V) one sample's
    lse: Vec<f64>,     // (S) log-sum-exp of each sample's logits
    order: Vec<usize>, // (V) tokens, to choose the likeliest
}

impl Average {
    fn new(v: usize, n_samples: usize) -> Self {
        Self {
            p: vec![0.0; v],
            q: vec![0.0; v],
            one: vec![0.0; v],
            lse: vec![0.0; n_samples],
            order: vec![0; v],
        }
    }

    fn draw<'a>(
        &mut self,
        logits: impl Iterator<Item = &'a [f32]> + Clone,
        options: &Options,
        u: f64,
    ) -> TokenInfo {
        let share = 1.0 / self.lse.len() as f64;
        self.p.fill(0.0);
        self.q.fill(0.0);
        let mut expected_entropy = 0.0;
        for (z, lse) in logits.clone().zip(&mut self.lse) {
            *lse = softmax(z, 1.0, &mut self.one);
            expected_entropy += share * entropy(&self.one);
            add(&mut self.p, share, &self.one);
            softmax(z, options.temperature, &mut self.one);
            add(&mut self.q, share, &self.one);
        }
        let token = self.choose(options.top_k, u);
        let log_probs = logits.zip(&self.lse).map(|(z, lse)| z[token] as f64 - lse);
        let h = entropy(&self.p);
        TokenInfo {
            token: token as u16,
            entropy: h,
            expected_entropy,
            mutual_information: h - expected_entropy,
            log_prob: log_mean_exp(log_probs),
        }
    }

    /// The first token, of the top k of q in the order of their numbers, whose cumulative probability exceeds u in [0, 1).
    fn choose(&mut self, top_k: Option<usize>, u: f64) -> usize {
        let q = &self.q;
        // Of equals the lower token first: the order is total, so the choice of k is one.
        let rank = |&a: &usize, &b: &usize| q[b].total_cmp(&q[a]).then(a.cmp(&b));
        let kth = top_k.filter(|&k| k < q.len()).map(|k| {
            self.order.iter_mut().enumerate().for_each(|(i, t)| *t = i);
            *self.order.select_nth_unstable_by(k - 1, rank).1
        });
        let kept = (0..q.len()).filter(|t| kth.is_none_or(|kth| rank(t, &kth).is_le()));
        let total: f64 = kept.clone().map(|t| q[t]).sum();
        let (mut below, mut token) = (0.0, 0);
        // Rounding may leave the last sum at u * total; the last token with any probability then stands.
        for t in kept.filter(|&t| q[t] > 0.0) {
            token = t;
            below += q[t];
            if u * total < below {
                break;
            }
        }
        token
    }
}

/// Probabilities of z / temperature; their log-sum-exp is given back.
fn softmax(z: &[f32], temperature: f64, out: &mut [f64]) -> f64 {
    let top = z.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let mut total = 0.0;
    for (o, &z) in out.iter_mut().zip(z) {
        *o = ((z as f64 - top) / temperature).exp();
        total += *o;
    }
    out.iter_mut().for_each(|o| *o /= total);
    top / temperature + total.ln()
}

fn add(sum: &mut [f64], share: f64, p: &[f64]) {
    sum.iter_mut().zip(p).for_each(|(s, p)| *s += share * p);
}

fn entropy(p: &[f64]) -> f64 {
    p.iter()
        .filter(|&&p| p > 0.0)
        .fold(0.0, |h, p| h - p * p.ln())
}

/// ln of the mean of e^x, finite where the x are: p itself may be too small for an f64.
fn log_mean_exp(x: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = x.clone().fold(f64::NEG_INFINITY, f64::max);
    let (sum, n) = x.fold((0.0, 0.0f64), |(sum, n), x| {
        (sum + (x - top).exp(), n + 1.0)
    });
    top + (sum / n).ln()
}
