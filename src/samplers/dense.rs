//! The Cholesky factor of a symmetric matrix that fills memory, by blocks, and what a normal with that precision needs of it.
//!
//! Golub and Van Loan 2013, "Matrix Computations", section 4.2.6: nearly all the work is in products, which nalgebra hands to matrixmultiply.

use crate::backend::Backend;
use crate::error::Result;
use crate::memory;
use nalgebra::{Cholesky, DMatrix, DMatrixView, DMatrixViewMut};

/// Columns a block.
const WIDTH: usize = 128;

/// A = L L^T.
pub(super) struct Factor {
    n: usize,
    l: Vec<f64>, // (n, n), column by column; above the diagonal's blocks nothing is read
    diagonal: Vec<DMatrix<f64>>, // the inverse of each of L's diagonal blocks
}

impl Factor {
    /// Factors `a` (n, n), column by column, of which the lower triangle is read; `None` where it is not positive definite.
    pub fn new<B: Backend>(be: &B, n: usize, mut a: Vec<f64>) -> Result<Option<Self>> {
        assert_eq!(a.len(), n * n, "a square matrix");
        // What nalgebra allocates: copies of a panel, the inverses of the blocks, and a block for each thread.
        memory::probe::<f64>((2 + be.host().threads()) * n * WIDTH, "a factorisation")?;
        let mut diagonal = memory::room(n.div_ceil(WIDTH), "a factorisation")?;
        for k in (0..n).step_by(WIDTH) {
            let b = WIDTH.min(n - k);
            let (done, right) = a.split_at_mut((k + b) * n);
            let mut panel = DMatrixViewMut::from_slice(&mut done[k * n..], n, b);
            let block = panel.rows(k, b).into_owned();
            let Some(block) = Cholesky::new(block).map(|c| c.unpack()) else {
                return Ok(None);
            };
            let mut inverse = DMatrix::identity(b, b);
            if !block.solve_lower_triangular_mut(&mut inverse) {
                return Ok(None);
            }
            panel.rows_mut(k, b).copy_from(&block);
            let below = panel.rows(k + b, n - k - b).into_owned();
            let across = inverse.transpose();
            panel
                .rows_mut(k + b, n - k - b)
                .gemm(1.0, &below, &across, 0.0);
            diagonal.push(inverse);
            let panel = DMatrixView::from_slice(&done[k * n..], n, b);
            let mut columns: Vec<_> = right.chunks_mut(n * WIDTH).collect();
            be.host().each(&mut columns, |j, columns| {
                let (first, w) = (k + b + j * WIDTH, columns.len() / n);
                let lower = panel.rows(first, n - first);
                let across = panel.rows(first, w).transpose();
                DMatrixViewMut::from_slice(columns, n, w)
                    .rows_mut(first, n - first)
                    .gemm(-1.0, &lower, &across, 1.0);
                Ok(())
            })?;
        }
        Ok(Some(Self { n, l: a, diagonal }))
    }

    fn l(&self) -> DMatrixView<'_, f64> {
        DMatrixView::from_slice(&self.l, self.n, self.n)
    }

    /// Returns log det A.
    pub fn log_det(&self) -> f64 {
        let diagonal = (0..self.n).map(|i| self.l[i * (self.n + 1)].ln());
        2.0 * diagonal.sum::<f64>()
    }

    /// Replaces z (n) by L^-T z: standard normals become draws with the covariance A^-1.
    pub fn whiten(&self, z: &mut [f64]) {
        for (at, inverse) in (0..self.n).step_by(WIDTH).zip(&self.diagonal).rev() {
            let b = inverse.nrows();
            let below = nalgebra::DVectorView::from_slice(&z[at + b..], self.n - at - b);
            let left = self
                .l()
                .view((at + b, at), (self.n - at - b, b))
                .tr_mul(&below);
            let own = nalgebra::DVectorView::from_slice(&z[at..at + b], b) - left;
            z[at..at + b].copy_from_slice(inverse.tr_mul(&own).as_slice());
        }
    }

    /// Returns the diagonal of A^-1, (n): of L^-1 the sums of squares of the columns.
    pub fn inverse_diagonal<B: Backend>(&self, be: &B) -> Result<Vec<f64>> {
        let n = self.n;
        let mut out = memory::zeros(n, "an inverse's diagonal")?;
        let mut parts: Vec<_> = out.chunks_mut(WIDTH).collect();
        be.host().each(&mut parts, |j, part| {
            // Columns `first` on of L^-1, from row `first` down, block by block.
            let (first, w) = (j * WIDTH, part.len());
            memory::probe::<f64>(3 * (n - first) * WIDTH, "an inverse's columns")?;
            let mut x = DMatrix::zeros(n - first, w);
            for (i, inverse) in self.diagonal.iter().enumerate().skip(j) {
                let (row, b) = (i * WIDTH - first, inverse.nrows());
                let own = if i == j {
                    inverse.clone()
                } else {
                    let left = self.l().view((first + row, first), (b, row)).into_owned();
                    -(inverse * (left * x.rows(0, row)))
                };
                x.rows_mut(row, b).copy_from(&own);
            }
            for (o, column) in part.iter_mut().zip(x.column_iter()) {
                *o = column.norm_squared();
            }
            Ok(())
        })?;
        Ok(out)
    }
}
