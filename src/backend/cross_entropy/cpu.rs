//! Softmax with cross-entropy: nll = log sum exp(z) - z[target], and its gradient in place of the logits.

use crate::backend::Objective;
use crate::backend::cpu::isa::multiversion;
use crate::backend::cpu::math::exp;
use crate::backend::cpu::{Cpu, Rows};
use crate::backend::ops::CrossEntropyOps;
use crate::error::Result;
use crate::rng::Stream;

/// Signs of one block of the stream.
const SIGNS: usize = 128;

/// Largest element, in lanes.
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

/// Sum of exp(z - top), in lanes.
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
    fn forward_rows(nll: &mut [f32], logits: &[f32], targets: &[u16], v: usize) {
        for ((n, z), &y) in nll.iter_mut().zip(logits.chunks_exact(v)).zip(targets) {
            let top = max(z);
            *n = sum_exp(z, top).ln() + (top - z[y as usize]);
        }
    }
}

multiversion! {
    // dz = weight (softmax(z) - onehot(y)); weight 0 leaves the row out
    fn backward_rows(nll: &mut [f32], logits: &mut [f32], targets: &[u16], v: usize, first: usize, t: usize, weight: f32, last: bool) {
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

/// nll (N) of logits (N, V).
pub fn forward(cpu: &Cpu, nll: &mut [f32], logits: &[f32], targets: &[u16], v: usize) {
    cpu.rows(targets.len(), 8, [Rows::new(nll, 1)], |r, [nll]| {
        forward_rows(
            cpu.isa,
            nll,
            &logits[r.start * v..r.end * v],
            &targets[r],
            v,
        );
    });
}

/// nll (N), and `weight` times the gradient of the sum over the rows that count in place of the logits (N, V).
#[allow(clippy::too_many_arguments)]
pub fn backward(
    cpu: &Cpu,
    nll: &mut [f32],
    logits: &mut [f32],
    targets: &[u16],
    t: usize,
    v: usize,
    objective: Objective,
    weight: f32,
) {
    let rows = targets.len();
    let last = objective == Objective::Last;
    cpu.rows(
        rows,
        8,
        [Rows::new(nll, 1), Rows::new(logits, v)],
        |r, [nll, z]| {
            let first = r.start;
            backward_rows(cpu.isa, nll, z, &targets[r], v, first, t, weight, last);
        },
    );
}

/// In place of the logits (N, V) of the rows that count a cotangent whose covariance is the Hessian of their cross-entropy.
#[allow(clippy::too_many_arguments)]
pub fn cotangent(
    cpu: &Cpu,
    logits: &mut [f32],
    t: usize,
    v: usize,
    objective: Objective,
    stream: Stream,
    draw: u64,
) {
    let last = objective == Objective::Last;
    let rows = logits.len() / v;
    cpu.rows(rows, 8, [Rows::new(logits, v)], |r, [z]| {
        cotangent_rows(cpu.isa, z, v, r.start, t, last, stream, draw);
    });
}

/// Sum in f64, in order, over the rows that count, and how many they are.
pub fn sum(nll: &[f32], t: usize, objective: Objective) -> (f64, usize) {
    let sum = match objective {
        Objective::All => nll.iter().map(|&v| v as f64).sum(),
        Objective::Last => nll.iter().skip(t - 1).step_by(t).map(|&v| v as f64).sum(),
    };
    (sum, objective.count(nll.len(), t))
}

impl CrossEntropyOps for Cpu {
    fn cross_entropy(
        &self,
        nll: &mut Vec<f32>,
        logits: &Vec<f32>,
        targets: &Vec<u16>,
        rows: usize,
        v: usize,
    ) -> Result<()> {
        forward(self, nll, logits, &targets[..rows], v);
        Ok(())
    }

    fn cross_entropy_backward(
        &self,
        nll: &mut Vec<f32>,
        logits: &mut Vec<f32>,
        targets: &Vec<u16>,
        rows: usize,
        t: usize,
        v: usize,
        objective: Objective,
        weight: f32,
    ) -> Result<()> {
        let targets = &targets[..rows];
        backward(self, nll, logits, targets, t, v, objective, weight);
        Ok(())
    }

    fn curvature_cotangent(
        &self,
        logits: &mut Vec<f32>,
        rows: usize,
        t: usize,
        v: usize,
        objective: Objective,
        stream: Stream,
        draw: u64,
    ) -> Result<()> {
        let logits = &mut logits[..rows * v];
        cotangent(self, logits, t, v, objective, stream, draw);
        Ok(())
    }

    fn sum_nll(
        &self,
        nll: &Vec<f32>,
        rows: usize,
        t: usize,
        objective: Objective,
    ) -> Result<(f64, usize)> {
        Ok(sum(&nll[..rows], t, objective))
    }
}
