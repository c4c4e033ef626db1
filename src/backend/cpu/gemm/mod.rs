//! The matrix product C = A B (+ C) (+ bias) in f32, for any strides of A and B.
//!
//! Every element of C is one sum over k in an order that depends on (m, n, k) and the layout alone: never on the
//! thread count, and never on where the element lies in a block.
#![allow(unsafe_code)] // pointers into C, whose parts the threads write without overlap

use super::Cpu;
use super::Isa;

/// A matrix inside a slice: element (i, j) is `data[i * rs + j * cs]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    data: &'a [f32],
    rs: usize,
    cs: usize,
}

impl<'a> Mat<'a> {
    /// A row-major matrix: row i begins at `data[i * ld]`.
    pub fn rows(data: &'a [f32], ld: usize) -> Self {
        Self {
            data,
            rs: ld,
            cs: 1,
        }
    }

    /// The transposed view of a row-major matrix: column j begins at `data[j * ld]`.
    pub fn cols(data: &'a [f32], ld: usize) -> Self {
        Self {
            data,
            rs: 1,
            cs: ld,
        }
    }

    /// Refuses a slice that does not hold (rows, cols).
    fn check(&self, name: &str, rows: usize, cols: usize) {
        let len = self.data.len();
        assert!(
            rows == 0
                || cols == 0
                || last(rows, self.rs)
                    .zip(last(cols, self.cs))
                    .and_then(|(i, j)| i.checked_add(j))
                    .is_some_and(|at| at < len),
            "gemm: {name} is ({rows}, {cols}) with strides ({}, {}), which {len} elements do not hold",
            self.rs,
            self.cs,
        );
    }
}

/// Where the last of `count` steps of `stride` lands.
fn last(count: usize, stride: usize) -> Option<usize> {
    (count - 1).checked_mul(stride)
}

/// C(m, n) = A(m, k) B(k, n), on the calling thread; plus what C held if `accumulate`, plus `bias` (n) on each row.
///
/// Row i of C is `c[i * ldc..][..n]`; without `accumulate` C is not read. Nothing else in `c` is touched.
///
/// # Panics
/// When a slice is shorter than its shape and strides say, or `ldc < n`.
#[allow(clippy::too_many_arguments)]
pub fn serial(
    _isa: Isa,
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    accumulate: bool,
    c: &mut [f32],
    ldc: usize,
    bias: Option<&[f32]>,
) {
    check(m, n, k, a, b, c.len(), ldc, bias);
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: `check` has seen that every element lies inside its slice.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            a.data.as_ptr(),
            a.rs as isize,
            a.cs as isize,
            b.data.as_ptr(),
            b.rs as isize,
            b.cs as isize,
            if accumulate { 1.0 } else { 0.0 },
            c.as_mut_ptr(),
            ldc as isize,
            1,
        );
    }
    if let Some(bias) = bias {
        for row in c.chunks_mut(ldc).take(m) {
            for (c, b) in row.iter_mut().zip(&bias[..n]) {
                *c += b;
            }
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn check(
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'_>,
    b: Mat<'_>,
    c: usize,
    ldc: usize,
    bias: Option<&[f32]>,
) {
    a.check("A", m, k);
    b.check("B", k, n);
    assert!(
        ldc >= n
            && (m == 0
                || last(m, ldc)
                    .and_then(|i| i.checked_add(n))
                    .is_some_and(|end| end <= c)),
        "gemm: C is ({m}, {n}) with row stride {ldc}, which {c} elements do not hold",
    );
    if let Some(bias) = bias {
        assert!(
            bias.len() == n,
            "gemm: the bias has {} elements, C has {n} columns",
            bias.len()
        );
    }
}

impl Cpu {
    /// C(m, n) = A(m, k) B(k, n), plus what C held if `accumulate`. C is row-major without gaps; unless `accumulate`
    /// it is not read.
    ///
    /// # Panics
    /// When a slice is shorter than its shape and strides say.
    #[allow(clippy::too_many_arguments)]
    pub fn gemm(
        &self,
        m: usize,
        n: usize,
        k: usize,
        a: Mat<'_>,
        b: Mat<'_>,
        accumulate: bool,
        c: &mut [f32],
    ) {
        self.gemm_bias(m, n, k, a, b, accumulate, c, None);
    }

    /// Like [`Cpu::gemm`], and adds `bias` (n) to each row at the end.
    ///
    /// # Panics
    /// As [`Cpu::gemm`], or when the bias has not n elements.
    #[allow(clippy::too_many_arguments)]
    pub fn gemm_bias(
        &self,
        m: usize,
        n: usize,
        k: usize,
        a: Mat<'_>,
        b: Mat<'_>,
        accumulate: bool,
        c: &mut [f32],
        bias: Option<&[f32]>,
    ) {
        serial(self.isa, m, n, k, a, b, accumulate, c, n, bias);
    }
}
