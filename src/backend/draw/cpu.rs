//! Averaging and drawing on the CPU, one thread per row.

use std::cell::RefCell;

use super::{Draw, DrawFrom, Drawn};
use crate::backend::cpu::Cpu;
use crate::backend::ops::DrawOps;
use crate::error::Result;
use crate::memory;

thread_local! {
    /// Room for [`Prediction`], which is kept from token to token.
    static ROOM: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
}

/// What the members predict for one row, and what its token is drawn from.
struct Prediction<'a> {
    p: &'a [f64],   // (V) the average, at temperature 1
    q: &'a [f64],   // (V) what is drawn from, up to a factor
    lse: &'a [f64], // (S) ln of the sum of e^z, of each
    expected_entropy: f64,
}

impl<'a> Prediction<'a> {
    /// Averages the members' logits of `row` in `room`, (3 V + S), whatever it holds.
    fn of<'z>(
        logits: impl ExactSizeIterator<Item = &'z [f32]> + Clone,
        v: usize,
        how: Draw<'_>,
        row: usize,
        room: &'a mut [f64],
    ) -> Self {
        let (share, t) = (1.0 / logits.len() as f64, how.temperature);
        let (p, rest) = room.split_at_mut(v);
        let (q, rest) = rest.split_at_mut(v);
        let (one, lse) = rest.split_at_mut(v);
        p.fill(0.0);
        q.fill(0.0);
        let mut expected_entropy = 0.0;
        for (s, (z, lse)) in logits.clone().zip(&mut *lse).enumerate() {
            widen(z, one);
            *lse = normalise(one, 1.0);
            expected_entropy += share * entropy(one);
            add(p, share, one);
            match how.from {
                DrawFrom::Vote if t != 1.0 => {
                    widen(z, one);
                    normalise(one, t);
                    add(q, share, one);
                }
                DrawFrom::Member(of_row) if of_row[row] == s => {
                    widen(z, q);
                    temper(q, t);
                }
                _ => (),
            }
        }
        match how.from {
            DrawFrom::Average if t != 1.0 => {
                for (token, q) in q.iter_mut().enumerate() {
                    *q = log_average(p[token], logits.clone(), lse, token);
                }
                temper(q, t);
            }
            DrawFrom::Average | DrawFrom::Vote if t == 1.0 => q.copy_from_slice(p),
            _ => (),
        }
        Self {
            p,
            q,
            lse,
            expected_entropy,
        }
    }

    /// Returns the first token, of the top k of q in ascending order of id, whose cumulative probability exceeds u in [0, 1), and the logarithm of its
    /// probability among them.
    fn choose(&self, top_k: Option<usize>, u: f64) -> (usize, f64) {
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
        (token, (q[token] / total).ln())
    }
}

impl DrawOps for Cpu {
    fn draw(
        &self,
        out: &mut [Drawn],
        logits: &Vec<f32>,
        v: usize,
        members: usize,
        how: Draw<'_>,
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
                let predicted = Prediction::of(each.clone(), v, how, row, room);
                let (token, draw_log_prob) = predicted.choose(how.top_k, u[row]);
                Ok(Drawn {
                    token: token as u32,
                    entropy: entropy(predicted.p),
                    expected_entropy: predicted.expected_entropy,
                    log_prob: log_mean_exp(log_probs(each, predicted.lse, token)),
                    draw_log_prob,
                })
            })?;
            Ok(())
        })?;
        Ok(None)
    }
}

fn widen(z: &[f32], out: &mut [f64]) {
    out.iter_mut().zip(z).for_each(|(o, &z)| *o = z as f64);
}

/// Puts e^((z - max z) / T) in the place of z; at T = 0 this is 1 for the first of the largest and 0 for all others. Returns max z.
fn temper(z: &mut [f64], temperature: f64) -> f64 {
    let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if temperature > 0.0 {
        z.iter_mut()
            .for_each(|z| *z = ((*z - top) / temperature).exp());
        return top;
    }
    let first = z.iter().position(|&z| z == top);
    z.fill(0.0);
    if let Some(first) = first {
        z[first] = 1.0;
    }
    top
}

/// Puts softmax(z / T) in the place of z. Returns ln of the sum of e^z where T = 1.
fn normalise(z: &mut [f64], temperature: f64) -> f64 {
    let top = temper(z, temperature);
    let total: f64 = z.iter().sum();
    z.iter_mut().for_each(|z| *z /= total);
    top + total.ln()
}

/// Returns every member's ln p_s of a token.
fn log_probs<'z>(
    logits: impl Iterator<Item = &'z [f32]> + Clone,
    lse: &[f64],
    token: usize,
) -> impl Iterator<Item = f64> + Clone {
    logits.zip(lse).map(move |(z, lse)| z[token] as f64 - lse)
}

/// Returns ln p of a token, of which p may be too small for an f64.
fn log_average<'z>(
    p: f64,
    logits: impl Iterator<Item = &'z [f32]> + Clone,
    lse: &[f64],
    token: usize,
) -> f64 {
    if p >= f64::MIN_POSITIVE {
        p.ln()
    } else {
        log_mean_exp(log_probs(logits, lse, token))
    }
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
