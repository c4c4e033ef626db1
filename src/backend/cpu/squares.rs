//! Sums over sequences and sums of their squares: what a diagonal empirical Fisher information needs besides a gradient.

use super::isa::multiversion;
use super::{Cpu, Rows};
use std::ops::Range;

/// Columns whose sums one thread holds at a time.
const COLUMNS: usize = 64;
/// Columns per unit of work.
const GRAIN: usize = 16;

multiversion! {
    /// Adds one sequence's part, rows of `width` without gaps, to the sum, and its square to the squares, whose rows begin `ld` apart. The
    /// first sequence's part overwrites the sum.
    pub fn add(sum: &mut [f32], squares: &mut [f32], ld: usize, part: &[f32], width: usize, first: bool) {
        let rows = sum.chunks_mut(ld).zip(squares.chunks_mut(ld));
        for ((sum, squares), part) in rows.zip(part.chunks_exact(width)) {
            let (sum, squares) = (&mut sum[..width], &mut squares[..width]);
            if first {
                for ((o, s), p) in sum.iter_mut().zip(squares).zip(part) {
                    *o = *p;
                    *s += p * p;
                }
            } else {
                for ((o, s), p) in sum.iter_mut().zip(squares).zip(part) {
                    *o += p;
                    *s += p * p;
                }
            }
        }
    }
}

/// Writes to out the sums of columns `cols` over rows of n, in order.
pub fn column_sums(out: &mut [f32], rows: &[f32], n: usize, cols: Range<usize>) {
    out.fill(0.0);
    for row in rows.chunks_exact(n) {
        for (o, d) in out.iter_mut().zip(&row[cols.clone()]) {
            *o += d;
        }
    }
}

impl Cpu {
    /// Computes sums (n), the sum over sequences of what `of` writes for a sequence and its columns, and squares (n) += the sum of its
    /// squares.
    pub(in crate::backend) fn column_squares(
        &self,
        sequences: usize,
        sums: &mut [f32],
        squares: &mut [f32],
        of: impl Fn(usize, Range<usize>, &mut [f32]) + Sync,
    ) {
        let outs = [sums, squares].map(|out| Rows::new(out, 1));
        self.rows(outs[0].data.len(), GRAIN, outs, |range, [sums, squares]| {
            let (sums, squares) = (sums.chunks_mut(COLUMNS), squares.chunks_mut(COLUMNS));
            for (i, (sums, squares)) in sums.zip(squares).enumerate() {
                let first = range.start + i * COLUMNS;
                let mut part = [0.0; COLUMNS];
                let width = sums.len();
                let part = &mut part[..width];
                for s in 0..sequences {
                    of(s, first..first + width, part);
                    add(self.isa, sums, squares, width, part, width, s == 0);
                }
            }
        });
    }
}
