//! Causal attention in blocks of rows, forward and backward: the masked half is skipped and no (T, T) matrix is kept.
//!
//! Like FlashAttention (Dao et al. 2022), it keeps only the log-sum-exp of each row and recomputes the probabilities in the backward pass.

use super::{Attended, AttentionShape, CacheShape, PieceRows};
use crate::backend::Dropout;
use crate::backend::activations::cpu::Tokens;
use crate::backend::cpu::gemm::{cols, rows, rows_mut, serial};
use crate::backend::cpu::isa::{Isa, multiversion};
use crate::backend::cpu::math::exp;
use crate::backend::cpu::{Cpu, Rows};
use crate::backend::dropout::cpu::Mask;
use crate::backend::ops::AttentionOps;
use crate::error::Result;
use crate::memory::or_error;
use ndarray::ArrayView2;
use std::cell::RefCell;

/// Rows of queries per block: a block of probabilities (64, T) stays in the L2 cache.
const BLOCK: usize = 64;

/// Rows of queries per block when decoding. Work is split only at its multiples, because the method of a product depends on its number of
/// rows.
const CACHED: usize = 32;

thread_local! {
    /// The probabilities of one block and their gradient: grows once to 2 (BLOCK, T).
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with two scratch matrices of n elements.
fn with_scratch<R>(n: usize, f: impl FnOnce(&mut [f32], &mut [f32]) -> R) -> R {
    SCRATCH.with_borrow_mut(|s| {
        crate::memory::at_least(s, 2 * n, 0.0);
        let (a, b) = s.split_at_mut(n);
        f(a, &mut b[..n])
    })
}

/// Reduces sixteen lanes to one by halving: four steps instead of fifteen.
#[inline(always)]
fn tree(mut x: [f32; 16], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = 8;
    while width > 0 {
        for i in 0..width {
            x[i] = f(x[i], x[i + width]);
        }
        width /= 2;
    }
    x[0]
}

/// Returns a row's visible scores, extended to whole vectors by masked ones that are set to -infinity (up to the row's end).
#[inline(always)]
fn whole_vectors(row: &mut [f32], seen: usize) -> &mut [f32] {
    let end = seen.next_multiple_of(16).min(row.len());
    row[seen..end].fill(f32::NEG_INFINITY);
    &mut row[..end]
}

multiversion! {
    // Row r of s (rows, cols) holds scores; the first `past + r + 1` become probabilities, the rest 0. lse gets each log-sum-exp.
    fn softmax_rows(s: &mut [f32], lse: &mut [f32], cols: usize, past: usize, scale: f32) {
        for (r, (row, lse)) in s.chunks_exact_mut(cols).zip(lse).enumerate() {
            let seen = past + r + 1;
            let scores = whole_vectors(row, seen);
            let larger = |a: f32, b: f32| if b > a { b } else { a };
            let mut lanes = [f32::NEG_INFINITY; 16];
            let (whole, rest) = scores.as_chunks::<16>();
            for chunk in whole {
                lanes = std::array::from_fn(|i| larger(lanes[i], chunk[i]));
            }
            for (l, &v) in lanes.iter_mut().zip(rest) {
                *l = larger(*l, v);
            }
            let top = tree(lanes, larger);
            let mut sums = [0.0f32; 16];
            let (whole, rest) = scores.as_chunks_mut::<16>();
            for chunk in whole {
                *chunk = std::array::from_fn(|i| exp((chunk[i] - top) * scale));
                // a masked one adds e^-87 to a sum of at least 1
                sums = std::array::from_fn(|i| sums[i] + chunk[i]);
            }
            for (l, v) in sums.iter_mut().zip(rest) {
                *v = exp((*v - top) * scale);
                *l += *v;
            }
            let total = tree(sums, |a, b| a + b);
            let inverse = 1.0 / total;
            for v in scores.iter_mut() {
                *v *= inverse;
            }
            row[seen..].fill(0.0);
            *lse = top * scale + total.ln();
        }
    }
}

multiversion! {
    // Scores back to probabilities with the kept log-sum-exp.
    fn probabilities(s: &mut [f32], lse: &[f32], cols: usize, past: usize, scale: f32) {
        for (r, (row, &lse)) in s.chunks_exact_mut(cols).zip(lse).enumerate() {
            let seen = past + r + 1;
            for v in whole_vectors(row, seen) {
                *v = exp(*v * scale - lse);
            }
            row[seen..].fill(0.0);
        }
    }
}

multiversion! {
    // dp becomes ds = p (dp - delta) scale; delta (rows) = sum_c dout out
    fn softmax_backward(dp: &mut [f32], p: &[f32], delta: &[f32], cols: usize, scale: f32) {
        for ((dp, p), &delta) in dp.chunks_exact_mut(cols).zip(p.chunks_exact(cols)).zip(delta) {
            for (d, p) in dp.iter_mut().zip(p) {
                *d = p * (*d - delta) * scale;
            }
        }
    }
}

/// Returns the first element of row-block (b, h, i0..) in the (B, H, T, T) numbering of attention dropout.
fn mask_block(mask: &Mask, s: &mut [f32], cols: usize, t: usize, head: usize, i0: usize) {
    for (r, row) in s.chunks_exact_mut(cols).enumerate() {
        mask.apply(row, (head * t + i0 + r) * t);
    }
}

/// Computes out (N, C) and lse (B, H, T) from qkv (N, 3C).
fn forward(
    cpu: &Cpu,
    out: &mut [f32],
    lse: &mut [f32],
    qkv: &[f32],
    d: AttentionShape,
    dropout: Option<Dropout>,
) {
    let (t, c, size) = (d.t, d.width(), d.size);
    let mask = dropout.map(Mask::new);
    let scale = 1.0 / (size as f32).sqrt();
    cpu.rows(
        d.b,
        1,
        [Rows::new(out, t * c), Rows::new(lse, d.h * t)],
        |range, [out, lse]| {
            for (i, b) in range.enumerate() {
                let out = &mut out[i * t * c..][..t * c];
                let lse = &mut lse[i * d.h * t..][..d.h * t];
                let qkv = &qkv[b * t * 3 * c..][..t * 3 * c];
                for h in 0..d.h {
                    let head = Head::new(qkv, h, c, size);
                    with_scratch(BLOCK * t, |p, _| {
                        for i0 in (0..t).step_by(BLOCK) {
                            let (m, n) = (BLOCK.min(t - i0), t.min(i0 + BLOCK));
                            let p = &mut p[..m * n];
                            serial(
                                cpu.isa,
                                head.q(i0, m),
                                head.k_t(n),
                                rows_mut(p, (m, n), n),
                                false,
                                None,
                            );
                            softmax_rows(cpu.isa, p, &mut lse[h * t + i0..][..m], n, i0, scale);
                            if let Some(mask) = &mask {
                                mask_block(mask, p, n, t, b * d.h + h, i0);
                            }
                            let o = &mut out[i0 * c + h * size..];
                            serial(
                                cpu.isa,
                                rows(p, (m, n), n),
                                head.v(n),
                                rows_mut(o, (m, size), c),
                                false,
                                None,
                            );
                        }
                    });
                }
            }
        },
    );
}

/// The views of one head in a sequence's qkv (T, 3C).
struct Head<'a> {
    qkv: &'a [f32],
    at: usize,
    c: usize,
    size: usize,
}

impl<'a> Head<'a> {
    fn new(qkv: &'a [f32], h: usize, c: usize, size: usize) -> Self {
        Self {
            qkv,
            at: h * size,
            c,
            size,
        }
    }
    /// Returns the queries from i0 on, (m, size).
    fn q(&self, i0: usize, m: usize) -> ArrayView2<'a, f32> {
        let data = &self.qkv[i0 * 3 * self.c + self.at..];
        rows(data, (m, self.size), 3 * self.c)
    }

    /// Returns the keys, (n, size).
    fn k(&self, n: usize) -> ArrayView2<'a, f32> {
        let data = &self.qkv[self.c + self.at..];
        rows(data, (n, self.size), 3 * self.c)
    }

    /// Returns the values, (n, size).
    fn v(&self, n: usize) -> ArrayView2<'a, f32> {
        let data = &self.qkv[2 * self.c + self.at..];
        rows(data, (n, self.size), 3 * self.c)
    }

    fn k_t(&self, n: usize) -> ArrayView2<'a, f32> {
        self.k(n).reversed_axes()
    }

    fn v_t(&self, n: usize) -> ArrayView2<'a, f32> {
        self.v(n).reversed_axes()
    }
}

/// Computes dqkv (N, 3C) from dout (N, C), with out, lse and qkv of the forward pass.
#[allow(clippy::too_many_arguments)]
fn backward(
    cpu: &Cpu,
    dqkv: &mut [f32],
    dout: &[f32],
    out: &[f32],
    lse: &[f32],
    qkv: &[f32],
    d: AttentionShape,
    dropout: Option<Dropout>,
) {
    let (t, c) = (d.t, d.width());
    let mask = dropout.map(Mask::new);
    cpu.rows(d.b, 1, [Rows::new(dqkv, t * 3 * c)], |range, [dqkv]| {
        for (i, b) in range.enumerate() {
            let dqkv = &mut dqkv[i * t * 3 * c..][..t * 3 * c];
            let rows = b * t * c..(b + 1) * t * c;
            for h in 0..d.h {
                backward_head(
                    cpu.isa,
                    dqkv,
                    &dout[rows.clone()],
                    &out[rows.clone()],
                    &lse[(b * d.h + h) * t..][..t],
                    &qkv[b * t * 3 * c..][..t * 3 * c],
                    d,
                    h,
                    b * d.h + h,
                    mask.as_ref(),
                );
            }
        }
    });
}

#[allow(clippy::too_many_arguments)]
fn backward_head(
    isa: Isa,
    dqkv: &mut [f32], // (T, 3C)
    dout: &[f32],     // (T, C)
    out: &[f32],      // (T, C)
    lse: &[f32],      // (T)
    qkv: &[f32],      // (T, 3C)
    d: AttentionShape,
    h: usize,
    index: usize, // of (b, h)
    mask: Option<&Mask>,
) {
    let (t, c, size) = (d.t, d.width(), d.size);
    let at = h * size;
    let scale = 1.0 / (size as f32).sqrt();
    let head = Head::new(qkv, h, c, size);
    with_scratch(BLOCK * t, |p, dp| {
        for i0 in (0..t).step_by(BLOCK) {
            let (m, n) = (BLOCK.min(t - i0), t.min(i0 + BLOCK));
            // Rows below i0 were reached by earlier blocks, which wrote their keys' and values' gradients first.
            let accumulate = i0 > 0;
            let (p, dp) = (&mut p[..m * n], &mut dp[..m * n]);
            let block = &dout[i0 * c + at..];
            let mut delta = [0.0f32; BLOCK];
            for (r, delta) in delta.iter_mut().enumerate().take(m) {
                let row = (i0 + r) * c + at;
                *delta = dout[row..][..size]
                    .iter()
                    .zip(&out[row..][..size])
                    .map(|(a, b)| a * b)
                    .sum();
            }
            serial(
                isa,
                head.q(i0, m),
                head.k_t(n),
                rows_mut(p, (m, n), n),
                false,
                None,
            );
            probabilities(isa, p, &lse[i0..][..m], n, i0, scale);
            // dp = dout v^T, through the mask
            serial(
                isa,
                rows(block, (m, size), c),
                head.v_t(n),
                rows_mut(dp, (m, n), n),
                false,
                None,
            );
            if let Some(mask) = mask {
                mask_block(mask, dp, n, t, index, i0);
            }
            softmax_backward(isa, dp, p, &delta[..m], n, scale);
            if let Some(mask) = mask {
                mask_block(mask, p, n, t, index, i0);
            }
            // The last block's keys and values begin at i0: their rows were not written before.
            if accumulate {
                for r in i0..n {
                    dqkv[r * 3 * c + c + at..][..size].fill(0.0);
                    dqkv[r * 3 * c + 2 * c + at..][..size].fill(0.0);
                }
            }
            serial(
                isa,
                cols(p, (n, m), n),
                rows(block, (m, size), c),
                rows_mut(&mut dqkv[2 * c + at..], (n, size), 3 * c),
                accumulate,
                None,
            );
            serial(
                isa,
                cols(dp, (n, m), n),
                head.q(i0, m),
                rows_mut(&mut dqkv[c + at..], (n, size), 3 * c),
                accumulate,
                None,
            );
            serial(
                isa,
                rows(dp, (m, n), n),
                head.k(n),
                rows_mut(&mut dqkv[i0 * 3 * c + at..], (m, size), 3 * c),
                false,
                None,
            );
        }
    });
}

/// Attends from new positions of one sequence after `past` cached ones: their keys and values join the cache, then the positions from
/// `first` on attend to all before them.
#[allow(clippy::too_many_arguments)]
fn cached(
    cpu: &Cpu,
    out: &mut [f32],   // (t - first, C)
    cache: &mut [f32], // keys (block, C), values (block, C)
    block: usize,
    past: usize,
    first: usize,
    qkv: &[f32], // (t, 3C)
    heads: usize,
    size: usize,
) {
    let c = heads * size;
    let t = qkv.len() / (3 * c);
    let scale = 1.0 / (size as f32).sqrt();
    let (keys, values) = cache.split_at_mut(block * c);
    for (i, row) in qkv.chunks_exact(3 * c).enumerate() {
        keys[(past + i) * c..][..c].copy_from_slice(&row[c..2 * c]);
        values[(past + i) * c..][..c].copy_from_slice(&row[2 * c..]);
    }
    let (keys, values) = (&keys[..], &values[..]);
    cpu.rows(t - first, CACHED, [Rows::new(out, c)], |range, [out]| {
        for at in (0..range.len()).step_by(CACHED) {
            let i0 = first + range.start + at;
            let m = CACHED.min(range.len() - at);
            let n = past + i0 + m;
            for h in 0..heads {
                let c0 = h * size;
                let q = rows(&qkv[i0 * 3 * c + c0..], (m, size), 3 * c);
                let k_t = cols(&keys[c0..], (size, n), c);
                let v = rows(&values[c0..], (n, size), c);
                let out = &mut out[at * c + c0..];
                with_scratch(CACHED * block, |p, lse| {
                    let p = &mut p[..m * n];
                    serial(cpu.isa, q, k_t, rows_mut(p, (m, n), n), false, None);
                    softmax_rows(cpu.isa, p, &mut lse[..m], n, past + i0, scale);
                    let p = rows(p, (m, n), n);
                    serial(cpu.isa, p, v, rows_mut(out, (m, size), c), false, None);
                });
            }
        }
    });
}

impl AttentionOps for Cpu {
    fn attention(
        &self,
        out: &mut Vec<f32>,
        lse: &mut Vec<f32>,
        qkv: &Vec<f32>,
        shape: AttentionShape,
        dropout: Option<Dropout>,
    ) -> Result<()> {
        or_error(|| {
            forward(self, out, lse, qkv, shape, dropout);
            Ok(())
        })
    }

    fn attention_backward(
        &self,
        dqkv: &mut Vec<f32>,
        of: Attended<'_, Vec<f32>>,
        shape: AttentionShape,
        dropout: Option<Dropout>,
    ) -> Result<()> {
        or_error(|| {
            backward(self, dqkv, of.dout, of.out, of.lse, of.qkv, shape, dropout);
            Ok(())
        })
    }

    fn attention_cached(
        &self,
        out: &mut Vec<f32>,
        cache: &mut Vec<f32>,
        qkv: &Vec<f32>,
        pieces: &Tokens,
        shape: CacheShape,
        rows: PieceRows,
    ) -> Result<()> {
        or_error(|| {
            let (c, block) = (shape.h * shape.size, shape.block);
            let (slot, n) = (2 * block * c, pieces.positions.len());
            let last = rows == PieceRows::Last;
            let out_rows = if last { pieces.pieces.len() } else { n };
            let outs = [
                Rows::new(out, out_rows * c),
                Rows::new(cache, shape.sequences * shape.layers * slot),
            ];
            self.members(shape.members, outs, |member, [out, cache]| {
                let (mut row, mut to) = (0, 0);
                for p in &pieces.pieces {
                    let at = (p.sequence * shape.layers + shape.layer) * slot;
                    let cache = &mut cache[at..][..slot];
                    let qkv = &qkv[(member * n + row) * 3 * c..][..p.len * 3 * c];
                    let first = if last { p.len - 1 } else { 0 };
                    let out = &mut out[to * c..][..(p.len - first) * c];
                    cached(
                        self, out, cache, block, p.past, first, qkv, shape.h, shape.size,
                    );
                    row += p.len;
                    to += p.len - first;
                }
            });
            Ok(())
        })
    }
}
