//! Layer norm (Ba et al. 2016), eps 1e-5: y = (x - mean) / sqrt(var + eps) * w + b, forward and backward.

use super::{Norm, Normed, Write};
use crate::backend::activations::{Params, WeightGrad};
use crate::backend::cpu::isa::multiversion;
use crate::backend::cpu::{Cpu, Rows, squares};
use crate::backend::ops::LayerNormOps;
use crate::error::Result;
use std::ops::Range;

const EPS: f32 = 1e-5;
const LANES: usize = 16;

/// Returns the sum of f over the elements of rows of equal length, in 16 lanes and then pairwise: the order depends only on the length.
#[inline(always)]
fn sum<const N: usize>(rows: [&[f32]; N], f: impl Fn([f32; N]) -> f32) -> f32 {
    let n = rows[0].len();
    let rows = rows.map(|row| row[..n].as_chunks::<LANES>());
    let mut lanes = [0.0f32; LANES];
    for i in 0..n / LANES {
        let chunks = rows.map(|row| &row.0[i]);
        lanes = std::array::from_fn(|j| lanes[j] + f(chunks.map(|c| c[j])));
    }
    for (j, lane) in lanes.iter_mut().enumerate().take(n % LANES) {
        *lane += f(rows.map(|row| row.1[j]));
    }
    let mut w = LANES / 2;
    while w > 0 {
        for j in 0..w {
            lanes[j] += lanes[j + w];
        }
        w /= 2;
    }
    lanes[0]
}

multiversion! {
    fn forward_rows(out: &mut [f32], stats: &mut [f32], x: &[f32], w: &[f32], b: &[f32]) {
        let c = w.len();
        for ((y, s), x) in out.chunks_exact_mut(c).zip(stats.chunks_exact_mut(2)).zip(x.chunks_exact(c)) {
            let mean = sum([x], |[x]| x) / c as f32;
            // two passes: the variance of values with a large mean would cancel in one
            let var = sum([x], |[x]| (x - mean) * (x - mean)) / c as f32;
            // A variance that overflows must be seen; 1 / infinity would make a row of zeros of it.
            let rstd = if var < f32::INFINITY { 1.0 / (var + EPS).sqrt() } else { f32::NAN };
            s[0] = mean;
            s[1] = rstd;
            if b.is_empty() {
                for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
                    *y = (x - mean) * rstd * w;
                }
            } else {
                for (((y, x), w), b) in y.iter_mut().zip(x).zip(w).zip(b) {
                    *y = (x - mean) * rstd * w + b;
                }
            }
        }
    }
}

multiversion! {
    // dx += rstd (g - mean(g) - xhat mean(g xhat)), with g = dout w
    fn backward_rows(dx: &mut [f32], dout: &[f32], x: &[f32], stats: &[f32], w: &[f32]) {
        let c = w.len();
        for (((dx, d), x), s) in dx.chunks_exact_mut(c).zip(dout.chunks_exact(c)).zip(x.chunks_exact(c)).zip(stats.chunks_exact(2)) {
            let (mean, rstd) = (s[0], s[1]);
            let g = sum([d, w], |[d, w]| d * w) / c as f32;
            let gx = sum([d, w, x], |[d, w, x]| d * w * ((x - mean) * rstd)) / c as f32;
            for (((o, d), x), w) in dx.iter_mut().zip(d).zip(x).zip(w) {
                *o += rstd * (d * w - g - (x - mean) * rstd * gx);
            }
        }
    }
}

multiversion! {
    // Columns `cols` of the gain's and the bias's gradient: sums over all rows, in order.
    fn backward_columns(dw: &mut [f32], db: &mut [f32], dout: &[f32], x: &[f32], stats: &[f32], c: usize, cols: Range<usize>) {
        dw.fill(0.0);
        db.fill(0.0);
        for ((d, x), s) in dout.chunks_exact(c).zip(x.chunks_exact(c)).zip(stats.chunks_exact(2)) {
            let (d, x) = (&d[cols.clone()], &x[cols.clone()]);
            let (mean, rstd) = (s[0], s[1]);
            for ((o, d), x) in dw.iter_mut().zip(d).zip(x) {
                *o += d * ((x - mean) * rstd);
            }
            for (o, d) in db.iter_mut().zip(d) {
                *o += d;
            }
        }
    }
}

impl LayerNormOps for Cpu {
    fn layer_norm(
        &self,
        out: &mut Vec<f32>,
        stats: &mut Vec<f32>,
        x: &Vec<f32>,
        params: Params<'_, Self>,
        norm: &Norm,
        rows: usize,
    ) -> Result<()> {
        let c = norm.weight.len();
        let forward = |rows: usize, outs: [Rows<'_>; 2], x: &[f32], w: &[f32], b: &[f32]| {
            self.rows(rows, 8, outs, |r, [out, stats]| {
                forward_rows(self.isa, out, stats, &x[r.start * c..r.end * c], w, b);
            });
        };
        match params {
            Params::Flat(flat) => {
                let w = &flat[norm.weight.clone()];
                let b = norm.bias.clone().map_or(&[][..], |b| &flat[b]);
                forward(rows, [Rows::new(out, c), Rows::new(stats, 2)], x, w, b);
            }
            Params::Ensemble(ensemble) => {
                let rows = rows / ensemble.len();
                let outs = [Rows::new(out, rows * c), Rows::new(stats, rows * 2)];
                let weight = ensemble.place(&norm.weight);
                let bias = norm.bias.as_ref().map(|b| ensemble.place(b));
                self.members(ensemble.len(), outs, |s, [out, stats]| {
                    let w = ensemble.tensor(s, &weight);
                    let b = bias.as_ref().map_or(&[][..], |b| ensemble.tensor(s, b));
                    let outs = [Rows::new(out, c), Rows::new(stats, 2)];
                    forward(rows, outs, &x[s * rows * c..][..rows * c], w, b);
                });
            }
        }
        Ok(())
    }

    fn layer_norm_backward(
        &self,
        dx: &mut Vec<f32>,
        write: Write,
        to: WeightGrad<'_, Self>,
        of: Normed<'_, Vec<f32>>,
        params: &Vec<f32>,
        norm: &Norm,
    ) -> Result<()> {
        let (rows, c) = (to.rows, norm.weight.len());
        let (dout, x) = (&of.dout[..rows * c], &of.x[..rows * c]);
        let stats = &of.stats[..rows * 2];
        if write == Write::Over {
            dx[..rows * c].fill(0.0);
        }
        let w = &params[norm.weight.clone()];
        self.rows(rows, 8, [Rows::new(dx, c)], |r, [dx]| {
            let (at, stats) = (r.start * c..r.end * c, &stats[r.start * 2..r.end * 2]);
            backward_rows(self.isa, dx, &dout[at.clone()], &x[at], stats, w);
        });
        match to.squares {
            Some(squares) => column_squares(self, (to.grad, squares), to.t, (dout, x, stats), norm),
            None => columns(self, to.grad, (dout, x, stats), norm),
        }
        Ok(())
    }
}

/// Writes the gradients of gain and bias, and adds their squares per sequence to `squares`.
fn column_squares(
    cpu: &Cpu,
    (grad, squares): (&mut [f32], &mut [f32]),
    t: usize,
    (dout, x, stats): (&[f32], &[f32], &[f32]), // (N, C), (N, C), (N, 2)
    norm: &Norm,
) {
    let (w, c) = (norm.weight.clone(), norm.weight.len());
    let sequences = x.len() / (t * c);
    let (dw, sq) = (&mut grad[w.clone()], &mut squares[w]);
    cpu.column_squares(sequences, dw, sq, |s, cols, dw| {
        let of = |width: usize| s * t * width..(s + 1) * t * width;
        let (dout, x, stats) = (&dout[of(c)], &x[of(c)], &stats[of(2)]);
        backward_columns(cpu.isa, dw, &mut [], dout, x, stats, c, cols);
    });
    if let Some(b) = norm.bias.clone() {
        let (db, sq) = (&mut grad[b.clone()], &mut squares[b]);
        cpu.column_squares(sequences, db, sq, |s, cols, db| {
            squares::column_sums(db, &dout[s * t * c..][..t * c], c, cols);
        });
    }
}

/// Writes the gradients of gain and bias.
fn columns(
    cpu: &Cpu,
    grad: &mut [f32],
    (dout, x, stats): (&[f32], &[f32], &[f32]), // (N, C), (N, C), (N, 2)
    norm: &Norm,
) {
    let (w, c) = (norm.weight.clone(), norm.weight.len());
    match &norm.bias {
        // The bias follows the gain in the flat vector.
        Some(b) => {
            let (head, tail) = grad.split_at_mut(b.start);
            let outs = [Rows::new(&mut head[w], 1), Rows::new(&mut tail[..c], 1)];
            cpu.rows(c, LANES, outs, |cols, [dw, db]| {
                backward_columns(cpu.isa, dw, db, dout, x, stats, c, cols);
            });
        }
        None => cpu.rows(c, LANES, [Rows::new(&mut grad[w], 1)], |cols, [dw]| {
            backward_columns(cpu.isa, dw, &mut [], dout, x, stats, c, cols);
        }),
    }
}
