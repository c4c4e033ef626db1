//! Fixed functions of the parameters, recorded while a chain runs: log-probabilities of probe tokens, and random projections of the weights.
//!
//! A network's weights have symmetries, so two chains can agree on every prediction and share no weight. What chains should agree on is the
//! function; the projections give a few views of the weights besides.

use crate::backend::Backend;
use crate::data::consecutive;
use crate::error::{Error, Result};
use crate::gpt::{Gpt, Objective, TokenBatch, Workspace};
use crate::memory;
use crate::rng::{Stream, StreamTag};

/// Tokens per pass: enough to keep the threads busy, few enough to be small compared with a sampler's own buffers.
const ROWS: usize = 512;

/// The probe tokens of a text: windows spread evenly over it, without overlap, and the buffers to score them.
pub struct Probe<B: Backend> {
    x: Vec<u16>, // (W, T)
    y: Vec<u16>, // (W, T)
    t: usize,
    tokens: usize,
    ws: Workspace<B>,
    scores: Vec<f32>,
}

impl<B: Backend> Probe<B> {
    /// Chooses `tokens` targets of a split, at most those that its consecutive windows of `t` tokens have: the first of ceil(`tokens` / `t`)
    /// windows is the split's first, the others follow at even distances.
    ///
    /// # Errors
    /// Returns an error when `tokens` or `t` is 0, `t` is longer than the model's block, or the split is shorter than a window.
    pub fn new(backend: &B, gpt: &Gpt, split: &[u16], t: usize, tokens: usize) -> Result<Self> {
        if tokens == 0 {
            return Err(Error::out_of_range("probe tokens", "at least 1", 0));
        }
        let windows = consecutive(split, t)?;
        let tokens = tokens.min(windows.num_tokens());
        let count = tokens.div_ceil(t);
        let starts = starts(windows.num_windows(), count, t);
        let mut x = memory::room(count * t, "probe tokens")?;
        let mut y = memory::room(count * t, "probe tokens")?;
        for start in starts {
            x.extend_from_slice(&split[start..start + t]);
            y.extend_from_slice(&split[start + 1..start + t + 1]);
        }
        Ok(Self {
            x,
            y,
            t,
            tokens,
            ws: Workspace::for_prediction(backend, gpt.config(), rows(t).min(count), t)?,
            scores: memory::zeros(count * t, "probe scores")?,
        })
    }

    /// Returns how many tokens are scored.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Returns the tokens that are scored, (`tokens`).
    pub fn targets(&self) -> &[u16] {
        &self.y[..self.tokens]
    }

    /// Returns the log-probabilities in nats of the probe tokens at `params`, each given the tokens before it in its window: (`tokens`).
    ///
    /// # Errors
    /// Returns an error when the parameters do not fit the model, or a log-probability is not finite (with its place, from 0).
    pub fn log_prob(&mut self, backend: &B, gpt: &Gpt, params: &B::Vector) -> Result<&[f32]> {
        let at_once = rows(self.t) * self.t;
        let batches = self.x.chunks(at_once).zip(self.y.chunks(at_once));
        for ((x, y), out) in batches.zip(self.scores.chunks_mut(at_once)) {
            let batch = TokenBatch::new(x, y, self.t, Objective::All);
            gpt.log_prob(backend, params, batch, &mut self.ws, out)?;
        }
        let scores = &self.scores[..self.tokens];
        match scores.iter().position(|v| !v.is_finite()) {
            Some(i) => Err(Error::out_of_range(
                format!("log-probability of probe token {i}"),
                "a finite number",
                scores[i],
            )),
            None => Ok(scores),
        }
    }
}

/// Returns where `count` of `all` windows of `t` tokens begin, spread evenly.
fn starts(all: usize, count: usize, t: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |i| i * all / count * t)
}

/// Returns the places, from 0, of the tokens of a split that [`Probe::new`] chooses, in the order of its log-probabilities.
///
/// # Errors
/// Returns an error when `t` is 0 or the split is shorter than a window.
pub fn probe_places(split: &[u16], t: usize, tokens: usize) -> Result<Vec<usize>> {
    let windows = consecutive(split, t)?;
    let tokens = tokens.min(windows.num_tokens());
    let windows_used = starts(windows.num_windows(), tokens.div_ceil(t), t);
    let places = windows_used.flat_map(|start| start + 1..start + t + 1);
    memory::collect(places.take(tokens), "probe places")
}

/// Returns the number of sequences per pass.
fn rows(t: usize) -> usize {
    (ROWS / t).max(1)
}

/// The number of random projections.
pub const PROJECTIONS: usize = 16;

/// The seed of the projections' signs, which no run uses.
const SIGNS: u64 = 0x9d39_247e_3377_6d41;

/// Returns the projections of the weights theta (n) on [`PROJECTIONS`] fixed random directions: p_j = sum_i s_ij theta_i / sqrt(n) with
/// signs s_ij = +-1 that are a function of i and j alone, so that chains and runs can be compared. Directions have length 1 and are nearly
/// orthogonal (inner products of order 1 / sqrt(n)).
pub fn random_projections(theta: &[f32]) -> [f64; PROJECTIONS] {
    let stream = Stream::new(SIGNS, StreamTag::Evaluate, 0);
    let mut sums = [0.0f64; PROJECTIONS];
    // A counter gives 128 bits: the signs of 8 parameters.
    for (block, theta) in theta.chunks(8).enumerate() {
        let words = stream.words(0, block as u64);
        for (i, &v) in theta.iter().enumerate() {
            let signs = (words[i / 2] >> (16 * (i % 2))) as u64;
            let v = (v as f64).to_bits();
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum += f64::from_bits(v ^ (signs >> j << 63));
            }
        }
    }
    let scale = 1.0 / (theta.len().max(1) as f64).sqrt();
    sums.map(|s| s * scale)
}
