//! Averaging and drawing on the CPU, one thread per row.

use std::cell::RefCell;

use super::{Draw, Drawn};
use crate::backend::cpu::Cpu;
use crate::backend::ops::DrawOps;
use crate::error::Result;
use crate::memory;

thread_local! {
    /// Room for [`Average`], which is kept from token to token.
    static ROOM: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
}

/// The average of the members' predictions for one row.
struct Average<'a> {
    p: &'a [f64],   // (V) at temperature 1
    q: &'a [f64],   // (V) at the draw's temperature
    lse: &'a [f64], // (S) ln of the sum of e^z, of each
    expected_entropy: f64,
}

impl<'a> Average<'a> {
    /// Averages in `room`, (3 V + S), whatever it holds.
    fn of<'z>(
        logits: impl ExactSizeIterator<Item = &'z [f32]>,
        v: usize,
        temperature: f64,
        room: &'a mut [f64],
    ) -> Self {
        let share = 1.0 / logits.len() as f64;
        let (p, rest) = room.split_at_mut(v);
        let (q, rest) = rest.split_at_mut(v);
        let (one, lse) = rest.split_at_mut(v);
        p.fill(0.0);
        q.fill(0.0);
        let mut expected_entropy = 0.0;
        for (z, lse) in logits.zip(&mut *lse) {
            let top = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            *lse = softmax(z, top, 1.0, one);
            expected_entropy += share * entropy(one);
            add(p, share, one);
            if temperature != 1.0 {
                softmax(z, top, temperature, one);
                add(q, share, one);
            }
        }
        if temperature == 1.0 {
            q.copy_from_slice(p);
        }
        Self {
            p,
            q,
            lse,
            expected_entropy,
        }
    }

    /// Returns the first token, of the top k of q in ascending order of id, whose cumulative probability exceeds u in [0, 1).
    fn choose(&self, top_k: Option<usize>, u: f64) -> usize {
        let q = self.q;
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
            *out = ROOM.with_borrow_mut(|room| -> Result<Drawn> {
                memory::resize(room, 3 * v + members, 0.0, "a draw")?;
                let average = Average::of(each.clone(), v, how.temperature, room);
                let token = average.choose(how.top_k, u[row]);
                Ok(Drawn {
                    token: token as u32,
                    entropy: entropy(average.p),
                    expected_entropy: average.expected_entropy,
                    log_prob: log_mean_exp(
                        each.zip(average.lse).map(|(z, lse)| z[token] as f64 - lse),
                    ),
                })
            })?;
            Ok(())
        })?;
        Ok(None)
    }
}

/// Computes the probabilities of z / temperature, and ln of the sum of e^(z / temperature). `top` is the largest of z.
fn softmax(z: &[f32], top: f32, temperature: f64, out: &mut [f64]) -> f64 {
    let top = top as f64;
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
