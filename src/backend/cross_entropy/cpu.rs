//! Softmax with cross-entropy: nll = log sum exp(z) - z[target], and its gradient in place of the logits.

use super::{Cotangent, LossShape, Objective};
use crate::backend::Scalars;
use crate::backend::activations::cpu::Tokens;
use crate::backend::cpu::isa::multiversion;
use crate::backend::cpu::math::exp;
use crate::backend::cpu::{Cpu, Rows};
use crate::backend::ops::CrossEntropyOps;
use crate::error::Result;
use crate::rng::Stream;

/// The signs in one block of the stream.
const SIGNS: usize = 128;

/// Returns the largest element, in lanes.
#[inline(always)]
fn max(z: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let mut chunks = z.chunks_exact(16);
    for c in &mut chunks {
        for (l, &v) in lanes.iter_mut().zip(c) {
            // not f32::max: a NaN must win, so that it is seen
            *l = if v > *l || v.is_nan() { v } else { *l };
        }
    }
    for (l, &v) in lanes.iter_mut().zip(chunks.remainder()) {
        *l = if v > *l || v.is_nan() { v } else { *l };
    }
    lanes.iter().fold(
        f32::NEG_INFINITY,
        |a, &b| if b > a || b.is_nan() { b } else { a },
    )
}

/// Returns the sum of exp(z - top), in lanes.
#[inline(always)]
fn sum_exp(z: &[f32], top: f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    let mut chunks = z.chunks_exact(16);
    for c in &mut chunks {
        for (l, &v) in lanes.iter_mut().zip(c) {
            *l += exp(v - top);
        }
    }
    for (l, &v) in lanes.iter_mut().zip(chunks.remainder()) {
        *l += exp(v - top);
    }
    lanes.iter().sum()
}

multiversion! {
    fn forward_rows(nll: &mut [f32], logits: &[f32], targets: &[u32], v: usize) {
        for ((n, z), &y) in nll.iter_mut().zip(logits.chunks_exact(v)).zip(targets) {
            let top = max(z);
            *n = sum_exp(z, top).ln() + (top - z[y as usize]);
        }
    }
}

multiversion! {
    // dz = weight (softmax(z) - onehot(y)); weight 0 leaves the row out
    fn backward_rows(nll: &mut [f32], logits: &mut [f32], targets: &[u32], v: usize, first: usize, t: usize, weight: f32, last: bool) {
        for (i, ((n, z), &y)) in nll.iter_mut().zip(logits.chunks_exact_mut(v)).zip(targets).enumerate() {
            if last && (first + i) % t != t - 1 {
                *n = 0.0;
                z.fill(0.0);
                continue;
            }
            let top = max(z);
            let total = sum_exp(z, top);
            *n = total.ln() + (top - z[y as usize]);
            let scale = weight / total;
            for z in z.iter_mut() {
                *z = exp(*z - top) * scale;
            }
            z[y as usize] -= weight;
        }
    }
}

multiversion! {
    // z = r * e - p (r . e), p = softmax(z), r = sqrt(p), e of +-1
    fn cotangent_rows(logits: &mut [f32], v: usize, first: usize, t: usize, last: bool, stream: Stream, draw: u64) {
        let blocks = v.div_ceil(SIGNS) as u64;
        for (i, z) in logits.chunks_exact_mut(v).enumerate() {
            let row = first + i;
            if last && row % t != t - 1 {
                z.fill(0.0);
                continue;
            }
            let top = max(z);
            let scale = 1.0 / sum_exp(z, top);
            let mut along = 0.0;
            for (block, z) in (0..).zip(z.chunks_mut(SIGNS)) {
                let words = stream.words(draw, row as u64 * blocks + block);
                for (j, z) in z.iter_mut().enumerate() {
                    let root = (exp(*z - top) * scale).sqrt();
                    let negative = words[j / 32] >> (j % 32) & 1 == 1;
                    *z = if negative { -root } else { root };
                    along += *z;
                }
            }
            for z in z.iter_mut() {
                *z -= *z * *z * along;
            }
        }
    }
}

impl CrossEntropyOps for Cpu {
    fn cross_entropy(
        &self,
        nll: &mut Vec<f32>,
        logits: &mut Vec<f32>,
        targets: &Tokens,
        shape: LossShape,
        cotangent: Cotangent,
        record: &mut Scalars,
    ) -> Result<()> {
        let LossShape {
            rows,
            t,
            v,
            objective,
        } = shape;
        let (nll, logits) = (&mut nll[..rows], &mut logits[..rows * v]);
        let (targets, last) = (&targets.ids[..rows], objective == Objective::Last);
        if let Cotangent::Gradient(weight) = cotangent {
            let outs = [Rows::new(nll, 1), Rows::new(logits, v)];
            self.rows(rows, 8, outs, |r, [nll, z]| {
                let first = r.start;
                backward_rows(self.isa, nll, z, &targets[r], v, first, t, weight, last);
            });
        } else {
            self.rows(rows, 8, [Rows::new(nll, 1)], |r, [nll]| {
                let z = &logits[r.start * v..r.end * v];
                forward_rows(self.isa, nll, z, &targets[r], v);
            });
        }
        if let Cotangent::Curvature { stream, draw } = cotangent {
            self.rows(rows, 8, [Rows::new(logits, v)], |r, [z]| {
                cotangent_rows(self.isa, z, v, r.start, t, last, stream, draw);
            });
        }
        let (first, step) = match objective {
            Objective::All => (0, 1),
            Objective::Last => (t - 1, t),
        };
        let counted = nll.iter().skip(first).step_by(step);
        record.nll = counted.map(|&v| v as f64).sum();
        Ok(())
    }
}
