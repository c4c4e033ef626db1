//! Weight gradients per sequence: P_s = dY_s^T X_s, their sum, and the sum of their squares, in one pass.
//!
//! One part of C is computed at a time: each sequence's product goes into scratch that fits in the cache, and from there into the sum and,
//! squared, into the squares. No sequence's gradient is ever stored as a whole.

use super::{Line, MIN_PART, Mat, Product};
use crate::backend::cpu::{Cpu, Rows, squares};
use std::cell::RefCell;
use std::ops::Range;

/// The most rows, and the columns, of the part that is computed at a time: 216 kB, which stay in the L2 cache with a sequence's packed
/// operands.
const ROWS: usize = 144;
const COLUMNS: usize = 384;

thread_local! {
    /// One sequence's part of C on this thread.
    static PART: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

impl Cpu {
    /// Computes c (m, n) = sum_s P_s and squares (m, n) += sum_s P_s^2, element by element, with P_s (m, n) = dY_s^T X_s of each sequence
    /// of `t` rows of `dy` (N, m) and `x` (N, n), plus what `add` adds to it.
    ///
    /// `add` is called with the sequence, a range of rows and one of columns, and that part of P_s, whose rows have no gaps.
    ///
    /// # Panics
    /// Panics when a slice has another length than its shape says.
    #[allow(clippy::too_many_arguments)]
    pub(in crate::backend) fn gemm_squares(
        &self,
        m: usize,
        n: usize,
        t: usize,
        dy: &[f32],
        x: &[f32],
        c: &mut [f32],
        squares: &mut [f32],
        add: impl Fn(usize, Range<usize>, Range<usize>, &mut [f32]) + Sync,
    ) {
        let sequences = x.len() / (t * n);
        assert!(
            dy.len() == sequences * t * m && x.len() == sequences * t * n,
            "gemm: {} and {} elements are no sequences of {t} rows of {m} and {n}",
            dy.len(),
            x.len(),
        );
        assert!(
            c.len() == m * n && squares.len() == m * n,
            "gemm: C and its squares are ({m}, {n}), which {} and {} elements are not",
            c.len(),
            squares.len(),
        );
        // Rows and columns of sequence s's operands.
        let operands = |s: usize, row: usize, col: usize| {
            (
                Mat::cols(&dy[s * t * m..][..t * m][row..], m),
                Mat::rows(&x[s * t * n..][..t * n][col..], n),
            )
        };
        let (a, b) = operands(0, 0, 0);
        let method =
            Product::new(m, n, t, a, b, false, c, n, None).method(self.isa, self.gemm_precision());
        let unit = method.row_unit();
        let height = ROWS / unit * unit;
        let work = sequences * t * n * unit;
        let grain = MIN_PART.div_ceil(work.max(1)) * unit;
        let outs = [Rows::new(c, n), Rows::new(squares, n)];
        self.rows(m, grain, outs, |range, [c, squares]| {
            PART.with_borrow_mut(|lines| {
                let need = (ROWS.min(m) * COLUMNS.min(n)).div_ceil(16);
                crate::memory::at_least(lines, need, Line::ZERO);
                let scratch = Line::floats(lines);
                for rows in range.clone().step_by(height) {
                    let rows = rows..range.end.min(rows + height);
                    for cols in (0..n).step_by(COLUMNS) {
                        let cols = cols..n.min(cols + COLUMNS);
                        let width = cols.len();
                        let at = (rows.start - range.start) * n + cols.start;
                        let part = &mut scratch[..rows.len() * width];
                        for s in 0..sequences {
                            let (a, b) = operands(s, rows.start, cols.start);
                            let m = rows.len();
                            let p = Product::new(m, width, t, a, b, false, part, width, None);
                            // SAFETY: the product is of `part`, which is borrowed mutably here.
                            unsafe { p.run(self.isa, method) };
                            add(s, rows.clone(), cols.clone(), part);
                            let (sum, squares) = (&mut c[at..], &mut squares[at..]);
                            squares::add(self.isa, sum, squares, n, part, width, s == 0);
                        }
                    }
                }
            });
        });
    }
}
