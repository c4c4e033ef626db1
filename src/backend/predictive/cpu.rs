//! Sums of predictions on the host, rows on all threads.

use super::{Predicted, TokenPrediction};
use crate::backend::HostPool;
use crate::backend::activations::cpu::Tokens;
use crate::backend::cpu::Cpu;
use crate::backend::ops::PredictiveOps;
use crate::error::{Error, Result};
use crate::memory;

/// Rows per thread at a time.
const ROWS: usize = 32;

/// Sums over models of their predictions for N tokens: N V + 2 N doubles, whatever the number of models.
///
/// The sums of probabilities are doubles because entropy is to be exact for any S: sums in f32 lose up to S * 6e-8 of each probability.
#[derive(Clone, Debug)]
pub struct PredictiveSums {
    v: usize,
    targets: Vec<u32>,     // (N), as far as known
    p_sum: Vec<f64>,       // (N, V): sum_s p_s
    log_lik_sum: Vec<f64>, // (N): ln sum_s p_s(target)
    entropy_sum: Vec<f64>, // (N): sum_s H(p_s)
    sample_nll: Vec<f64>,  // (S): mean over tokens
    average_nll: Vec<f64>, // (S): that of the average of the first s
    nll: Vec<f64>,         // of the rows being added
    next: usize,           // where the running model's next rows begin
    nll_sum: f64,          // and its negative log-likelihood so far
}

/// A range of rows of the sums.
struct Part<'a> {
    p_sum: &'a mut [f64],
    log_lik_sum: &'a mut [f64],
    entropy_sum: &'a mut [f64],
    nll: &'a mut [f64],
}

impl PredictiveSums {
    /// Creates empty sums for `n` tokens, N, of a vocabulary of `v`, V.
    ///
    /// # Errors
    /// Returns [`Error::OutOfRange`] if either is 0, V is above 65,536, or memory does not hold N V doubles.
    pub fn new(n: usize, v: usize) -> Result<Self> {
        let what = "number of tokens to score";
        if n == 0 {
            return Err(Error::out_of_range(what, "at least 1", n));
        }
        if !(1..=1 << 16).contains(&v) {
            return Err(Error::out_of_range("vocabulary size", "1 to 65536", v));
        }
        let of = format!("the predictions for {n} tokens of a vocabulary of {v}");
        let room = n.checked_mul(v);
        let room = room.ok_or_else(|| Error::out_of_memory(&of, usize::MAX, size_of::<f64>()))?;
        let p_sum = memory::zeros(room, &of)?;
        Ok(Self {
            v,
            targets: memory::room(n, &of)?,
            p_sum,
            log_lik_sum: memory::filled(n, f64::NEG_INFINITY, &of)?,
            entropy_sum: memory::zeros(n, &of)?,
            sample_nll: Vec::new(),
            average_nll: Vec::new(),
            nll: Vec::new(),
            next: 0,
            nll_sum: 0.0,
        })
    }

    /// Returns the number of tokens, N.
    pub fn num_tokens(&self) -> usize {
        self.log_lik_sum.len()
    }

    /// Returns the size of the vocabulary, V.
    pub fn vocab_size(&self) -> usize {
        self.v
    }

    /// Returns the number of models that were added completely, S.
    pub fn num_samples(&self) -> usize {
        self.sample_nll.len()
    }

    /// Returns the token at which the current model's next rows begin.
    pub fn next(&self) -> usize {
        self.next
    }

    /// Returns the targets that are known so far.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// Adds the current model's next rows: logits (n, V), and targets (n) below V. On an error nothing is added.
    ///
    /// # Errors
    /// Returns [`Error::Shape`] if they are none or run past token N; [`Error::Data`] if a logit is not finite.
    pub fn add(&mut self, host: &HostPool, logits: &[f32], targets: &[u32]) -> Result<()> {
        let (v, n, left) = (self.v, targets.len(), self.num_tokens() - self.next);
        if n == 0 || n > left {
            let expected = format!("1 to {left} tokens");
            return Err(Error::shape("targets of a chunk", expected, n));
        }
        if logits.len() != n * v {
            return Err(Error::shape("logits of a chunk", (n, v), logits.len()));
        }
        if let Some(at) = logits.iter().position(|z| !z.is_finite()) {
            let place = format!(
                "sample {}, token {}",
                self.num_samples(),
                self.next + at / v
            );
            let (z, id) = (logits[at], at % v);
            let message = format!("expected finite logits, found {z} for id {id}");
            return Err(Error::data(place, message));
        }
        let (first, end) = (self.next, self.next + n);
        let known = self.targets.len().clamp(first, end) - first;
        self.nll.clear();
        memory::resize(&mut self.nll, n, 0.0, "a chunk's losses")?;
        memory::grow(&mut self.sample_nll, 1, "the samples' losses")?;
        memory::grow(&mut self.average_nll, 1, "the averages' losses")?;
        let each = (self.p_sum[first * v..end * v].chunks_mut(ROWS * v))
            .zip(self.log_lik_sum[first..end].chunks_mut(ROWS))
            .zip(self.entropy_sum[first..end].chunks_mut(ROWS))
            .zip(self.nll.chunks_mut(ROWS))
            .map(|(((p_sum, log_lik_sum), entropy_sum), nll)| Part {
                p_sum,
                log_lik_sum,
                entropy_sum,
                nll,
            });
        let mut parts = memory::collect(each, "the parts of a chunk")?;
        self.targets.extend_from_slice(&targets[known..]);
        host.each(&mut parts, |i, part| {
            let logits = &logits[i * ROWS * v..][..part.nll.len() * v];
            part.add(logits, &targets[i * ROWS..], v);
            Ok(())
        })?;
        // In the order of the tokens, so that the threads change no bit.
        self.nll_sum += self.nll.iter().sum::<f64>();
        self.next = end;
        if end == self.num_tokens() {
            self.sample_nll.push(self.nll_sum / end as f64);
            (self.next, self.nll_sum) = (0, 0.0);
            let log_lik = self.log_lik_sum.iter().sum::<f64>() / end as f64;
            self.average_nll
                .push((self.num_samples() as f64).ln() - log_lik);
        }
        Ok(())
    }

    /// Returns what the average of the models so far predicts, and its losses at these temperatures.
    ///
    /// # Errors
    /// Returns [`Error::Shape`] if there is no model, or if the last one lacks tokens; [`Error::OutOfRange`] for a temperature that is not above 0.
    pub fn read(&self, host: &HostPool, temperatures: &[f64]) -> Result<Predicted> {
        let (n, s) = (self.num_tokens(), self.num_samples());
        if self.next != 0 || s == 0 {
            let what = format!("tokens of sample {s}");
            return Err(Error::shape(what, n, self.next));
        }
        let s = s as f64;
        let token = |i: usize| {
            let p_sum = &self.p_sum[i * self.v..][..self.v];
            let mean = |sum: f64| sum / s;
            let nll = s.ln() - self.log_lik_sum[i];
            predicted(
                p_sum,
                s,
                self.targets[i] as usize,
                nll,
                mean(self.entropy_sum[i]),
            )
        };
        Ok(Predicted {
            tokens: memory::collect((0..n).map(token), "the predictions of tokens")?,
            sample_nll: memory::copy(&self.sample_nll, "the samples' losses")?,
            average_nll: memory::copy(&self.average_nll, "the averages' losses")?,
            tempered: self.tempered(host, temperatures)?,
        })
    }

    /// Returns each token's loss under the average's p^(1/T), at each temperature. The number of models has no part in it.
    fn tempered(&self, host: &HostPool, temperatures: &[f64]) -> Result<Vec<Vec<f64>>> {
        if let Some(t) = temperatures.iter().find(|&&t| !(t > 0.0 && t.is_finite())) {
            return Err(Error::out_of_range("temperature", "a number above 0", t));
        }
        let (n, k, v) = (self.num_tokens(), temperatures.len(), self.v);
        let of = "the losses of tokens at several temperatures";
        let room = n.saturating_mul(k);
        let mut losses: Vec<f64> = memory::zeros(room, of)?; // (N, K)
        if k > 0 {
            let mut rows = memory::collect(losses.chunks_mut(ROWS * k), of)?;
            host.each(&mut rows, |part, out| {
                let mut log_p = memory::zeros(v, of)?;
                for (i, out) in (part * ROWS..).zip(out.chunks_mut(k)) {
                    let p_sum = &self.p_sum[i * v..][..v];
                    log_p.iter_mut().zip(p_sum).for_each(|(l, p)| *l = p.ln());
                    for (out, t) in out.iter_mut().zip(temperatures) {
                        let normaliser = log_sum_exp(log_p.iter().map(|l| l / t));
                        *out = normaliser - self.log_lik_sum[i] / t;
                    }
                }
                Ok(())
            })?;
        }
        let of_one = |at: usize| memory::collect(losses.iter().skip(at).step_by(k).copied(), of);
        (0..k).map(of_one).collect()
    }
}

impl Part<'_> {
    fn add(&mut self, logits: &[f32], targets: &[u32], v: usize) {
        let rows = logits.chunks_exact(v).zip(targets).enumerate();
        for (i, (logits, &target)) in rows {
            let normaliser = log_sum_exp(logits.iter().map(|&z| z.into()));
            for (p_sum, &z) in self.p_sum[i * v..][..v].iter_mut().zip(logits) {
                let log_p = f64::from(z) - normaliser;
                let p = log_p.exp();
                *p_sum += p;
                self.entropy_sum[i] -= p * log_p;
            }
            let log_lik = f64::from(logits[target as usize]) - normaliser;
            self.log_lik_sum[i] = log_sum_exp([self.log_lik_sum[i], log_lik].into_iter());
            self.nll[i] = -log_lik;
        }
    }
}

fn predicted(
    p_sum: &[f64],
    s: f64,
    target: usize,
    nll: f64,
    expected_entropy: f64,
) -> TokenPrediction {
    let p = || p_sum.iter().map(|sum| sum / s);
    let mut best = (0, f64::NEG_INFINITY);
    for (v, p) in p().enumerate() {
        if p > best.1 {
            best = (v, p);
        }
    }
    let square = |(v, p): (usize, f64)| {
        let outcome = if v == target { 1.0 } else { 0.0 };
        (p - outcome) * (p - outcome)
    };
    TokenPrediction {
        nll,
        // p ln p tends to 0 with p.
        entropy: p().filter(|&p| p > 0.0).fold(0.0, |h, p| h - p * p.ln()),
        expected_entropy,
        // Rounding may leave a certain prediction an ulp above 1.
        confidence: best.1.min(1.0),
        correct: best.0 == target,
        brier: p().enumerate().map(square).sum(),
    }
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return max; // not NaN from -inf - -inf
    }
    max + values.map(|x| (x - max).exp()).sum::<f64>().ln()
}

impl PredictiveOps for Cpu {
    type Predictive = PredictiveSums;

    fn predictive(&self, n: usize, v: usize) -> Result<PredictiveSums> {
        PredictiveSums::new(n, v)
    }

    fn predict(
        &self,
        to: &mut PredictiveSums,
        logits: &Vec<f32>,
        targets: &Tokens,
        rows: usize,
    ) -> Result<()> {
        to.add(&self.host, &logits[..rows * to.v], &targets.ids[..rows])
    }

    fn read_predictive(&self, from: &PredictiveSums, temperatures: &[f64]) -> Result<Predicted> {
        from.read(&self.host, temperatures)
    }
}
