//! The matrix product C = A B (+ C) (+ bias) in f32, for any strides of A and B.
//!
//! Every element of C is one sum over k in an order that depends on the instruction set, on (m, n, k) and the layout
//! alone: never on the thread count, and never on where the element lies in a block. Up to 16 rows against a
//! transposed B are dot products; everything else goes through packed blocks, and there a row of C does not depend on
//! how many others there are.
#![allow(unsafe_code)] // pointers into C, whose parts the threads write without overlap

#[cfg(target_arch = "x86_64")]
mod blocked;
mod dot;
mod finish;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg(target_arch = "x86_64")]
mod pairs;
mod panels;
mod portable;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod split;
mod squares;
#[cfg(target_arch = "x86_64")]
mod tile;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tiles;
mod vector;

pub use panels::Panels;

use finish::Finish;

pub use finish::Epilogue;

use super::isa::Level;
use super::{Cpu, Isa};
use crate::backend::GemmPrecision;
use crate::error::Result;
use crate::memory;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};
use std::ops::Range;

/// A cache line, for the alignment of what is packed.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [f32; 16]); // read through pointers

impl Line {
    const ZERO: Self = Self([0.0; 16]);

    /// Returns lines for n floats, set to 0.
    fn room(n: usize) -> Result<Vec<Self>> {
        memory::filled(n.div_ceil(16), Self::ZERO, "packed weights")
    }

    fn floats(lines: &mut [Self]) -> &mut [f32] {
        // SAFETY: a line is sixteen floats without padding, aligned for more than them.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 16) }
    }
}

/// Returns a row-major matrix of this shape inside a slice: row i begins at `data[i * ld]`.
///
/// # Panics
/// Panics when the slice is shorter.
pub fn rows(data: &[f32], shape: (usize, usize), ld: usize) -> ArrayView2<'_, f32> {
    view(data, shape, (ld, 1))
}

/// Returns the transposed view of a row-major matrix: column j begins at `data[j * ld]`.
///
/// # Panics
/// Panics when the slice is shorter.
pub fn cols(data: &[f32], shape: (usize, usize), ld: usize) -> ArrayView2<'_, f32> {
    view(data, shape, (1, ld))
}

fn view(data: &[f32], shape: (usize, usize), strides: (usize, usize)) -> ArrayView2<'_, f32> {
    // An empty matrix has no stride to check.
    let view = if shape.0 == 0 || shape.1 == 0 {
        ArrayView2::from_shape(shape, &[])
    } else {
        ArrayView2::from_shape(shape.strides(strides), data)
    };
    view.expect("gemm: a slice that holds its matrix")
}

/// Returns a writable row-major matrix of this shape inside a slice: row i begins at `data[i * ld]`.
///
/// # Panics
/// Panics when the slice is shorter, or rows would overlap.
pub fn rows_mut(data: &mut [f32], shape: (usize, usize), ld: usize) -> ArrayViewMut2<'_, f32> {
    let view = if shape.0 == 0 || shape.1 == 0 {
        ArrayViewMut2::from_shape(shape, &mut [])
    } else {
        ArrayViewMut2::from_shape(shape.strides((ld, 1)), data)
    };
    view.expect("gemm: a slice that holds its rows apart")
}

/// A view as the kernels take it: element (i, j) is `data[i * rs + j * cs]`.
#[derive(Clone, Copy, Debug)]
struct Mat<'a> {
    data: &'a [f32],
    rs: usize,
    cs: usize,
}

impl<'a> Mat<'a> {
    /// Returns a row-major matrix: row i begins at `data[i * ld]`.
    #[cfg(target_arch = "x86_64")]
    fn rows(data: &'a [f32], ld: usize) -> Self {
        Self {
            data,
            rs: ld,
            cs: 1,
        }
    }

    /// Returns the transposed view of a row-major matrix: column j begins at `data[j * ld]`.
    #[cfg(target_arch = "x86_64")]
    fn cols(data: &'a [f32], ld: usize) -> Self {
        Self {
            data,
            rs: 1,
            cs: ld,
        }
    }

    /// # Panics
    /// Panics when a stride points backward.
    fn of(view: ArrayView2<'a, f32>) -> Self {
        let stride = |axis: usize| {
            usize::try_from(view.strides()[axis]).expect("gemm: strides that point forward")
        };
        let ((rows, columns), (rs, cs)) = (view.dim(), (stride(0), stride(1)));
        let len = if view.is_empty() {
            0
        } else {
            (rows - 1) * rs + (columns - 1) * cs + 1
        };
        // SAFETY: these elements, from the view's first to its last, lie in the slice that it was made of, which is borrowed for 'a.
        let data = unsafe { std::slice::from_raw_parts(view.as_ptr(), len) };
        Self { data, rs, cs }
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

/// Returns the offset of the last of `count` elements that are `stride` apart.
fn last(count: usize, stride: usize) -> Option<usize> {
    (count - 1).checked_mul(stride)
}

/// A product, or the part of one that makes some rows and columns of C. Its shapes have been checked.
#[derive(Clone, Copy)]
struct Product<'a> {
    m: usize,
    n: usize,
    k: usize,
    a: Mat<'a>,
    b: Mat<'a>,
    accumulate: bool,
    c: *mut f32,
    ldc: usize,
    bias: Option<&'a [f32]>,
    finish: Finish<'a>,
}

// SAFETY: threads share a product only to make parts of it that do not overlap in C.
unsafe impl Sync for Product<'_> {}

/// The methods of computing a product. They differ in rounding, so the choice depends on the whole product, never on a part.
#[derive(Clone, Copy)]
enum Method {
    Dot,
    Blocked,
    /// Blocked, of operands rounded to bf16.
    Pairs,
    /// On AMX tiles, of operands rounded to bf16.
    Tiles,
    /// On AMX tiles, of operands split into two bf16s.
    SplitTiles,
}

impl Method {
    /// Returns the number of rows at whose multiples the parts of C begin, so that few tiles are cut.
    fn row_unit(self) -> usize {
        match self {
            Self::Tiles | Self::SplitTiles => 32,
            Self::Dot | Self::Blocked | Self::Pairs => 12,
        }
    }
}

impl<'a> Product<'a> {
    /// # Panics
    /// Panics when a slice is shorter than its shape and strides say, or `ldc < n`.
    #[allow(clippy::too_many_arguments)]
    fn new(
        m: usize,
        n: usize,
        k: usize,
        a: Mat<'a>,
        b: Mat<'a>,
        accumulate: bool,
        c: &'a mut [f32],
        ldc: usize,
        bias: Option<&'a [f32]>,
    ) -> Self {
        a.check("A", m, k);
        b.check("B", k, n);
        let len = c.len();
        assert!(
            ldc >= n
                && (m == 0
                    || last(m, ldc)
                        .and_then(|i| i.checked_add(n))
                        .is_some_and(|end| end <= len)),
            "gemm: C is ({m}, {n}) with row stride {ldc}, which {len} elements do not hold",
        );
        Self::checked([m, n, k], a, b, accumulate, (c.as_mut_ptr(), ldc), bias)
    }

    /// Returns the product of matrices that lie in their slices.
    ///
    /// # Panics
    /// Panics when the bias has another length than a row of C.
    fn checked(
        [m, n, k]: [usize; 3],
        a: Mat<'a>,
        b: Mat<'a>,
        accumulate: bool,
        (c, ldc): (*mut f32, usize),
        bias: Option<&'a [f32]>,
    ) -> Self {
        if let Some(bias) = bias {
            let len = bias.len();
            assert!(
                len == n,
                "gemm: the bias has {len} elements, C has {n} columns"
            );
        }
        Self {
            m,
            n,
            k,
            a,
            b,
            accumulate,
            c,
            ldc,
            bias,
            finish: Finish::None,
        }
    }

    /// Returns the product of these views.
    ///
    /// # Panics
    /// Panics when the shapes do not fit, or a row of C has gaps.
    fn of(
        a: ArrayView2<'a, f32>,
        b: ArrayView2<'a, f32>,
        mut c: ArrayViewMut2<'a, f32>,
        accumulate: bool,
        bias: Option<&'a [f32]>,
    ) -> Self {
        let ((m, k), (k_b, n)) = (a.dim(), b.dim());
        assert!(
            k == k_b && c.dim() == (m, n),
            "gemm: A is ({m}, {k}), B ({k_b}, {n}), C {:?}",
            c.dim(),
        );
        let stride = |axis: usize| usize::try_from(c.strides()[axis]).unwrap_or(0);
        let ldc = if m > 1 { stride(0) } else { n };
        assert!(
            c.is_empty() || n == 1 || stride(1) == 1,
            "gemm: C's rows have gaps"
        );
        // Views lie in the slices that they were made of, so there is nothing more to check.
        let c = (c.as_mut_ptr(), ldc);
        Self::checked([m, n, k], Mat::of(a), Mat::of(b), accumulate, c, bias)
    }

    /// Adds what is done to the rows at the end. C has no gaps.
    ///
    /// # Panics
    /// Panics when a matrix of the last step is not (m, n).
    fn then(mut self, epilogue: Epilogue<'a>) -> Self {
        let len = self.m * self.n;
        let check = |x: &[f32]| {
            assert!(
                self.ldc == self.n && x.len() == len,
                "gemm: what follows C, ({}, {}), has {} elements",
                self.m,
                self.n,
                x.len(),
            );
        };
        self.finish = match epilogue {
            Epilogue::None => Finish::None,
            Epilogue::Add(x) => {
                check(x);
                Finish::Add(x)
            }
            Epilogue::Mul(x) => {
                check(x);
                Finish::Mul(x)
            }
            Epilogue::Gelu(y, form) => {
                check(y);
                Finish::Gelu(y.as_mut_ptr(), form)
            }
        };
        self
    }

    /// Returns the method of computing the whole product.
    fn method(&self, isa: Isa, precision: GemmPrecision) -> Method {
        let strided = |mat: Mat| mat.rs == 1 || mat.cs == 1;
        let wide = self.m > dot::MAX_ROWS && strided(self.a) && strided(self.b);
        match precision {
            GemmPrecision::Bits15 if wide => Method::SplitTiles,
            GemmPrecision::Bits7 if wide && isa.has_amx() => Method::Tiles,
            GemmPrecision::Bits7 if wide => Method::Pairs,
            _ if self.m <= dot::MAX_ROWS && self.a.cs == 1 && self.b.rs == 1 => Method::Dot,
            _ => Method::Blocked,
        }
    }

    /// Returns the product restricted to these rows and columns.
    fn part(&self, rows: Range<usize>, cols: Range<usize>) -> Self {
        let skip = |mat: Mat<'a>, at: usize| Mat {
            data: &mat.data[at.min(mat.data.len())..],
            ..mat
        };
        let at = rows.start * self.ldc + cols.start;
        Self {
            m: rows.len(),
            n: cols.len(),
            a: skip(self.a, rows.start * self.a.rs),
            b: skip(self.b, cols.start * self.b.cs),
            c: self.c.wrapping_add(at),
            bias: self.bias.map(|bias| &bias[cols]),
            finish: self.finish.part(at),
            ..*self
        }
    }

    /// # Safety
    /// Nothing else accesses C meanwhile.
    unsafe fn run(&self, isa: Isa, method: Method) {
        if self.m == 0 || self.n == 0 {
            return;
        }
        // SAFETY: the caller lets nothing else access C meanwhile; an `Isa` of a level is made only after its features were detected; pairs are chosen only
        // where AVX512_BF16 was detected, too, and tiles where AMX may be used. Those that work in blocks finish each.
        unsafe {
            match (method, isa.level()) {
                (Method::Dot, _) => {
                    dot::product(isa, self);
                    self.finish(isa, 0..self.m, 0..self.n);
                }
                #[cfg(target_arch = "x86_64")]
                (Method::Pairs, _) => pairs::product(isa, self),
                #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
                (Method::Tiles, _) => tiles::product::<false>(isa, self),
                #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
                (Method::SplitTiles, _) => tiles::product::<true>(isa, self),
                #[cfg(target_arch = "x86_64")]
                (Method::Blocked, Level::Avx512) => {
                    blocked::product::<blocked::Avx512>(isa, self);
                }
                #[cfg(target_arch = "x86_64")]
                (Method::Blocked, Level::Avx2) => {
                    blocked::product::<blocked::Avx2>(isa, self);
                }
                _ => {
                    portable::product(self);
                    self.finish(isa, 0..self.m, 0..self.n);
                }
            }
        }
    }
}

/// Computes C (m, n) = A (m, k) B (k, n) on the calling thread; plus the old C if `accumulate`, plus `bias` (n) on each row.
///
/// Without `accumulate` C is not read. Its rows may lie apart; what is between them is not touched.
///
/// # Panics
/// Panics when the shapes do not fit, strides point backward, a row of C has gaps, or the bias has not n elements.
pub fn serial(
    isa: Isa,
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    c: ArrayViewMut2<'_, f32>,
    accumulate: bool,
    bias: Option<&[f32]>,
) {
    let product = Product::of(a, b, c, accumulate, bias);
    // SAFETY: C is borrowed mutably by this call.
    unsafe { product.run(isa, product.method(isa, GemmPrecision::F32)) }
}

/// Cuts `range` into steps; an empty range is one empty step, which clears C or adds the bias.
#[cfg(target_arch = "x86_64")]
fn steps(range: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    let count = range.len().div_ceil(step.max(1)).max(1);
    (0..count).map(move |i| range.start + i * step..range.end.min(range.start + (i + 1) * step))
}

/// How a product is split over threads: `down` parts of the rows, at multiples of `unit`, times `across` parts of the columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Grid {
    unit: usize,
    down: usize,
    across: usize,
}

/// Parts begin at multiples of this many columns.
const COLUMN_UNIT: usize = 32;

/// Multiplications that are worth handing to another thread (about 10 us).
const MIN_PART: usize = 1 << 19;

impl Grid {
    /// Returns the grid whose largest part costs least: its products, and the packing of its columns of B (and rows of A).
    fn new(threads: usize, unit: usize, m: usize, n: usize, k: usize) -> Self {
        // Fewer than 4 rows take as long as 4: reading B bounds them.
        let work = m.max(4).saturating_mul(n).saturating_mul(k);
        let threads = threads.min(work / MIN_PART);
        let whole = Self {
            unit,
            down: 1,
            across: 1,
        };
        if threads <= 1 {
            return whole;
        }
        let (rows, columns) = (m.div_ceil(unit), n.div_ceil(COLUMN_UNIT));
        let cost = |grid: &Self| {
            let r = rows.div_ceil(grid.down) * unit;
            let c = columns.div_ceil(grid.across) * COLUMN_UNIT;
            r * c + 4 * c + 2 * r
        };
        (1..=threads)
            .map(|across| Self {
                unit,
                down: (threads / across).min(rows.max(1)),
                across: across.min(columns.max(1)),
            })
            .min_by_key(cost)
            .unwrap_or(whole)
    }

    /// Returns the rows and columns of part `i` of `down * across`.
    fn part(self, i: usize, m: usize, n: usize) -> (Range<usize>, Range<usize>) {
        if self.down * self.across == 1 {
            return (0..m, 0..n);
        }
        let cut = |len: usize, unit: usize, parts: usize, i: usize| {
            (len.div_ceil(unit) * i / parts * unit).min(len)
        };
        let range = |len, unit, parts, i| cut(len, unit, parts, i)..cut(len, unit, parts, i + 1);
        (
            range(m, self.unit, self.down, i / self.across),
            range(n, COLUMN_UNIT, self.across, i % self.across),
        )
    }
}

impl Cpu {
    /// Computes C (m, n) = A (m, k) B (k, n), plus the old C if `accumulate`, plus `bias` (n) on each row. Without `accumulate`, C is not
    /// read.
    ///
    /// # Panics
    /// Panics as [`serial`] does.
    pub fn gemm(
        &self,
        a: ArrayView2<'_, f32>,
        b: ArrayView2<'_, f32>,
        c: ArrayViewMut2<'_, f32>,
        accumulate: bool,
        bias: Option<&[f32]>,
    ) {
        self.multiply(Product::of(a, b, c, accumulate, bias));
    }

    /// Computes C (m, n) = A (m, k) B (k, n) + `bias` on each row, and the epilogue while a block is in the cache.
    ///
    /// # Panics
    /// Panics as [`Cpu::gemm`] does, or when C has gaps, or a matrix that follows is not (m, n).
    pub fn gemm_epilogue(
        &self,
        a: ArrayView2<'_, f32>,
        b: ArrayView2<'_, f32>,
        c: ArrayViewMut2<'_, f32>,
        bias: Option<&[f32]>,
        epilogue: Epilogue<'_>,
    ) {
        self.multiply(Product::of(a, b, c, false, bias).then(epilogue));
    }

    /// Computes the whole product on all threads.
    fn multiply(&self, product: Product<'_>) {
        let Product { m, n, k, .. } = product;
        let method = product.method(self.isa, self.gemm_precision());
        let grid = Grid::new(self.threads(), method.row_unit(), m, n, k);
        let parts = grid.down * grid.across;
        if parts == 1 {
            // SAFETY: C, and Y if there is one, are borrowed mutably by the product.
            return unsafe { product.run(self.isa, method) };
        }
        let product = &product;
        self.rows(parts, 1, [], |range, []| {
            for i in range {
                let (rows, columns) = grid.part(i, m, n);
                // SAFETY: C, and Y if there is one, are borrowed mutably by the product, and the parts of a grid do not overlap.
                unsafe { product.part(rows, columns).run(self.isa, method) }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::Grid;

    /// Every element of C is in exactly one part, and there are no more parts than threads.
    #[test]
    fn the_parts_of_a_grid_cover_c_once() {
        for (m, n, k) in [
            (1, 50_000, 768),
            (16, 3000, 300),
            (768, 65, 128),
            (100, 129, 5000),
            (7, 9, 11),
            (50_000, 1, 99),
        ] {
            for (threads, unit) in [1, 2, 3, 5, 8, 64, 1000]
                .map(|t| [(t, 12), (t, 32)])
                .concat()
            {
                let grid = Grid::new(threads, unit, m, n, k);
                assert!(
                    grid.down * grid.across <= threads,
                    "{grid:?} for {threads} threads"
                );
                let mut rows = vec![0; m];
                let mut columns = vec![0; n];
                for i in 0..grid.down * grid.across {
                    let (r, c) = grid.part(i, m, n);
                    // A grid is all pairs of a range of rows and one of columns: count each once.
                    if i % grid.across == 0 {
                        r.clone().for_each(|i| rows[i] += 1);
                    }
                    if i / grid.across == 0 {
                        c.clone().for_each(|j| columns[j] += 1);
                    }
                    assert_eq!(r, grid.part(i - i % grid.across, m, n).0);
                    assert_eq!(c, grid.part(i % grid.across, m, n).1);
                }
                assert!(
                    rows.iter().chain(&columns).all(|&count| count == 1),
                    "{m}x{n}: {grid:?}"
                );
            }
        }
    }

    /// Large products use all threads, small ones one: handing over costs more than they take.
    #[test]
    fn a_grid_follows_the_work() {
        let parts = |grid: Grid| grid.down * grid.across;
        assert_eq!(parts(Grid::new(2, 12, 768, 65, 128)), 2);
        assert_eq!(parts(Grid::new(8, 12, 2048, 384, 384)), 8);
        assert_eq!(parts(Grid::new(8, 12, 64, 64, 32)), 1);
        assert_eq!(parts(Grid::new(8, 12, 1, 65, 384)), 1);
        assert_eq!(
            Grid::new(8, 12, 1, 1 << 20, 768),
            Grid {
                unit: 12,
                down: 1,
                across: 8
            }
        );
    }
}
