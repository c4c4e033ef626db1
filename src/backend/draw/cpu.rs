//! Averaging and drawing on the CPU, one thread per row.

use super::{Draw, Drawn};
use crate::backend::cpu::Cpu;
use crate::backend::ops::DrawOps;
use crate::error::Result;

/// Averages the members' predictions for one row.
struct Average {
    p: Vec<f64>,   // (V) at temperature 1
    q: Vec<f64>,   // (V) at the draw's temperature
    one: Vec<f64>, // (V) one member's
    lse: Vec<f64>, // (S) ln of the sum of e^z, of each
    expected_entropy: f64,
}

impl Average {
    fn of<'a>(
        logits: impl ExactSizeIterator<Item = &'a [f32]>,
        v: usize,
        temperature: f64,
    ) -> Self {
        let share = 1.0 / logits.len() as f64;
        let mut a = Self {
            p: vec![0.0; v],
            q: vec![0.0; v],
            one: vec![0.0; v],
            lse: Vec::with_capacity(logits.len()),
            expected_entropy: 0.0,
        };
        for z in logits {
            let lse = softmax(z, 1.0, &mut a.one);
            a.lse.push(lse);
            a.expected_entropy += share * entropy(&a.one);
            add(&mut a.p, share, &a.one);
            softmax(z, temperature, &mut a.one);
            add(&mut a.q, share, &a.one);
        }
        a
    }

    /// Returns the first token, of the top k of q in ascending order of id, whose cumulative probability exceeds u in [0, 1).
    fn choose(&self, top_k: Option<usize>, u: f64) -> usize {
        let q = &self.q;
        // Of equals the lower token first: the order is total, so the choice of k is one.
        let rank = |&a: &usize, &b: &usize| q[b].total_cmp(&q[a]).then(a.cmp(&b));
        let kth = top_k.filter(|&k| k < q.len()).map(|k| {
            let mut order: Vec<usize> = (0..q.len()).collect();
            *order.select_nth_unstable_by(k - 1, rank).1
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

impl DrawOps for Cpu {
    fn draw(
        &self,
        out: &mut [Drawn],
        logits: &Vec<f32>,
        v: usize,
        members: usize,
        how: Draw,
        u: &[f64],
    ) -> Result<Option<(usize, f32)>> {
        let rows = out.len();
        let logits = &logits[..members * rows * v];
        if let Some(at) = logits.iter().position(|z| !z.is_finite()) {
            return Ok(Some((at / (rows * v), logits[at])));
        }
        self.host.each(out, |row, out| {
            let each = (0..members).map(|s| &logits[(s * rows + row) * v..][..v]);
            let average = Average::of(each.clone(), v, how.temperature);
            let token = average.choose(how.top_k, u[row]);
            *out = Drawn {
                token: token as u32,
                entropy: entropy(&average.p),
                expected_entropy: average.expected_entropy,
                log_prob: log_mean_exp(
                    each.zip(&average.lse).map(|(z, lse)| z[token] as f64 - lse),
                ),
            };
            Ok(())
        })?;
        Ok(None)
    }
}

/// Computes the probabilities of z / temperature, and ln of the sum of e^(z / temperature).
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

/// Returns ln of the mean of e^x, which is finite where the x are: p itself may be too small for an f64.
fn log_mean_exp(x: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = x.clone().fold(f64::NEG_INFINITY, f64::max);
    let (sum, n) = x.fold((0.0, 0.0f64), |(sum, n), x| {
        (sum + (x - top).exp(), n + 1.0)
    });
    top + (sum / n).ln()
}
