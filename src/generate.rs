//! The next token from an average of posterior samples, and how uncertain it is.
//!
//! For samples s with logits z_s after the context, p = mean_s softmax(z_s) at temperature 1 is what the posterior predicts. Its entropy
//! H(p) is the whole uncertainty, mean_s H(p_s) the part that remains if the parameters were known, their difference the mutual
//! information (Depeweg et al. 2018, eq. 3). The token is drawn from q = mean_s softmax(z_s / T): an average of probabilities, not of
//! logits, so that the draw is from the posterior predictive of the tempered models.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::gpt::{Cache, Decoder, Gpt, Piece, WeightType, Weights};
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

/// One sample with its caches and its last logits.
struct Member<B: Backend> {
    weights: Weights<B>,
    cache: Cache<B>,
    logits: Vec<f32>, // (texts, V)
}

/// Samples that are run one after another, in parallel to the other lanes.
struct Lane<B: Backend> {
    first: usize, // the number of members[0] among all samples
    members: Vec<Member<B>>,
    decoder: Decoder<B>,
}

/// One text being written.
struct Text {
    tokens: Vec<u16>, // prompt and what came
    prompt: usize,
    read: usize, // tokens before it are in the caches, or were dropped
    info: Vec<TokenInfo>,
    rereads: usize,
}

/// Writes texts with one parameter vector a posterior sample. One thread at a time; samples are run in parallel.
///
/// The same seed gives the same text whatever the number of threads, and whatever other texts are written with it.
pub struct Generator<B: Backend> {
    backend: B,
    gpt: Gpt,
    lanes: Vec<Lane<B>>,
    average: Average,
    texts: usize, // room in the caches
}

impl<B: Backend> Generator<B> {
    /// From at least one parameter vector of the model.
    ///
    /// # Errors
    /// When there is none, one has another length, or the device has no room for the caches.
    pub fn new(backend: &B, gpt: &Gpt, samples: Vec<B::Vector>) -> Result<Self> {
        Self::with_weights(backend, gpt, samples, WeightType::F32)
    }

    /// The same, with the weights kept as `form` says.
    ///
    /// # Errors
    /// As [`Generator::new`].
    pub fn with_weights(
        backend: &B,
        gpt: &Gpt,
        samples: Vec<B::Vector>,
        form: WeightType,
    ) -> Result<Self> {
        let n_samples = samples.len();
        if n_samples == 0 {
            return Err(Error::invalid("samples", "at least one", 0));
        }
        let mut members = Vec::with_capacity(n_samples);
        // Each vector is given back when it was packed.
        for params in samples {
            members.push(Member {
                weights: Weights::new(backend, gpt, &params, form)?,
                cache: Cache::new(backend, gpt.config(), 1)?,
                logits: Vec::new(),
            });
        }
        let n_lanes = backend.lanes().min(n_samples);
        let mut members = members.into_iter();
        let lanes = (0..n_lanes)
            .map(|i| {
                let (first, end) = (n_samples * i / n_lanes, n_samples * (i + 1) / n_lanes);
                Ok(Lane {
                    first,
                    members: members.by_ref().take(end - first).collect(),
                    decoder: Decoder::new(backend, gpt, 1)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            backend: backend.clone(),
            gpt: gpt.clone(),
            lanes,
            average: Average::new(gpt.config().vocab_size, n_samples),
            texts: 1,
        })
    }

    /// How many samples are averaged.
    pub fn num_samples(&self) -> usize {
        self.lanes.iter().map(|l| l.members.len()).sum()
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
        let mut made = self.generate_batch(&[prompt], options, text, |_, t| on_token(t))?;
        made.pop()
            .ok_or_else(|| Error::invalid("texts", "one", "none"))
    }

    /// Goes on from every prompt at once: each sample's weights are read once a token for all of them. Text i is number `first + i` of the
    /// seed and is the same as if it were written alone. `on_token` sees (i, token) and ends that text with `false`.
    ///
    /// # Errors
    /// As [`Generator::generate`].
    pub fn generate_batch(
        &mut self,
        prompts: &[&[u16]],
        options: &Options,
        first: u64,
        mut on_token: impl FnMut(usize, &TokenInfo) -> bool,
    ) -> Result<Vec<Generated>> {
        options.check()?;
        let v = self.gpt.config().vocab_size;
        for (p, prompt) in prompts.iter().enumerate() {
            let name = |rest: &str| match prompts.len() {
                1 => format!("prompt{rest}"),
                _ => format!("prompt {p}{rest}"),
            };
            if prompt.is_empty() {
                return Err(Error::invalid(name(""), "at least one token", "none"));
            }
            // Here, because those before the block are never read.
            if let Some(i) = prompt.iter().position(|&t| t as usize >= v) {
                let expected = format!("a token below vocab_size = {v}");
                return Err(Error::invalid(name(&format!("[{i}]")), expected, prompt[i]));
            }
        }
        self.make_room(prompts.len())?;
        let stream = Stream::new(options.seed, Purpose::Generate, 0);
        let block = self.gpt.config().block_size;
        // A text that `on_token` ends may ask for any number.
        let room = options.max_new_tokens.min(ROOM);
        let mut texts: Vec<Text> = prompts
            .iter()
            .map(|prompt| {
                let mut tokens = Vec::with_capacity(prompt.len() + room);
                tokens.extend_from_slice(prompt);
                Text {
                    tokens,
                    prompt: prompt.len(),
                    read: prompt.len().saturating_sub(block),
                    info: Vec::with_capacity(room),
                    rereads: 0,
                }
            })
            .collect();
        let mut active: Vec<usize> = (0..texts.len()).collect();
        for i in 0..options.max_new_tokens {
            if active.is_empty() {
                break;
            }
            for &t in &active {
                self.make_place(&mut texts[t], t, options.context);
            }
            self.read(&texts, &active, i as u64)?;
            let mut row = 0;
            active.retain(|&t| {
                let text = &mut texts[t];
                text.read = text.tokens.len();
                let u = stream.uniform(first.wrapping_add(t as u64), i as u64);
                let members = self.lanes.iter().flat_map(|l| &l.members);
                let logits = members.map(|m| &m.logits[row * v..(row + 1) * v]);
                let one = self.average.draw(logits, options, u);
                text.info.push(one);
                text.tokens.push(one.token);
                row += 1;
                on_token(t, &one)
            });
        }
        let made = texts.into_iter().map(|mut t| Generated {
            tokens: t.tokens.split_off(t.prompt),
            info: t.info,
            rereads: t.rereads,
        });
        Ok(made.collect())
    }

    /// Caches for so many texts, all empty.
    fn make_room(&mut self, texts: usize) -> Result<()> {
        let (be, gpt) = (&self.backend, &self.gpt);
        for lane in &mut self.lanes {
            if texts > self.texts {
                lane.decoder = Decoder::new(be, gpt, texts)?;
            }
            for m in &mut lane.members {
                if texts > m.cache.sequences() {
                    m.cache = Cache::new(be, gpt.config(), texts)?;
                }
                (0..m.cache.sequences()).for_each(|t| m.cache.clear(t));
                m.logits.resize(texts * gpt.config().vocab_size, 0.0);
            }
        }
        self.texts = self.texts.max(texts);
        Ok(())
    }

    /// When the block is full, drops what the context says and lets the rest be read again.
    fn make_place(&mut self, text: &mut Text, t: usize, context: Context) {
        let block = self.gpt.config().block_size;
        let cached = self.lanes[0].members[0].cache.len(t);
        if cached + (text.tokens.len() - text.read) <= block {
            return;
        }
        let keep = match context {
            Context::Exact => block,
            Context::Hop => (block / 2).max(1),
        };
        for m in self.lanes.iter_mut().flat_map(|l| &mut l.members) {
            m.cache.clear(t);
        }
        text.read = text.tokens.len() - keep;
        text.rereads += keep - 1;
    }

    /// Every sample reads the active texts' tokens after what its cache holds.
    fn read(&mut self, texts: &[Text], active: &[usize], step: u64) -> Result<()> {
        let (be, gpt) = (&self.backend, &self.gpt);
        let v = gpt.config().vocab_size;
        let pieces: Vec<Piece> = active
            .iter()
            .map(|&t| Piece {
                sequence: t,
                tokens: &texts[t].tokens[texts[t].read..],
            })
            .collect();
        be.each(&mut self.lanes, |_, lane| {
            for (i, m) in lane.members.iter_mut().enumerate() {
                let mut at = 0;
                while at < pieces.len() {
                    let mut rows = 0;
                    let fits = pieces[at..].iter().take_while(|p| {
                        rows += p.tokens.len();
                        rows <= lane.decoder.rows()
                    });
                    let end = at + fits.count();
                    let out = &mut m.logits[at * v..end * v];
                    let now = &pieces[at..end];
                    lane.decoder
                        .read(be, gpt, &m.weights, &mut m.cache, now, out)?;
                    if let Some(&value) = out.iter().find(|z| !z.is_finite()) {
                        return Err(Error::NotFinite {
                            step,
                            tensor: format!("logits of sample {}", lane.first + i),
                            value,
                        });
                    }
                    at = end;
                }
            }
            Ok(())
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
