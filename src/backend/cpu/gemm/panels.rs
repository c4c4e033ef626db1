//! A weight packed once for many products with few rows: decoding reads every weight once per token, whatever the number of rows.
#![allow(clippy::needless_range_loop)] // an index counts the places of several things at once

use super::vector::{TileVector, Vector};
use super::{Grid, Line, Method};
use crate::backend::WeightType;
use crate::backend::cpu::isa::Level;
use crate::backend::cpu::{Cpu, Isa};
use crate::bf16;
use crate::error::{Error, Result};
use std::ops::Range;

/// W (n, k) as panels of NR rows: element (j, k) has index `(j / NR * k_total + k) * NR + j % NR`; missing rows are 0.
pub struct Panels {
    lines: Vec<Line>,
    form: WeightType,
    isa: Isa, // NR is twice its lanes
    n: usize,
    k: usize,
}

/// How a weight is stored; a kernel is compiled for each.
trait Element: Copy {
    /// # Safety
    /// The requirements of [`TileVector`] hold; `p` covers the vector's lanes.
    unsafe fn load<V: TileVector>(p: *const Self) -> V;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<V: TileVector>(p: *const Self) -> V {
        // SAFETY: the caller has the instruction set, and `p` covers the lanes.
        unsafe { V::load(p) }
    }
}

impl Element for u16 {
    #[inline(always)]
    unsafe fn load<V: TileVector>(p: *const Self) -> V {
        // SAFETY: the caller has the instruction set, and `p` covers the lanes.
        unsafe { V::load_bf16(p) }
    }
}

/// Rows of W in a panel: two vectors' lanes.
fn panel_width(isa: Isa) -> usize {
    match isa.level() {
        Level::Avx512 => 32,
        _ => 16,
    }
}

impl Panels {
    /// Packs W (n, k), row-major.
    ///
    /// # Errors
    /// Returns an error when W has another number of elements, or there is no memory for them.
    pub fn new(isa: Isa, w: &[f32], n: usize, k: usize, form: WeightType) -> Result<Self> {
        if n.checked_mul(k) != Some(w.len()) {
            return Err(Error::shape("a weight", [n, k], [w.len()]));
        }
        let nr = panel_width(isa);
        let count = n.next_multiple_of(nr).saturating_mul(k);
        let mut lines = Line::room(match form {
            WeightType::F32 => count,
            WeightType::Bf16 => count.div_ceil(2),
        })?;
        let place = |j: usize, i: usize| (j / nr * k + i) * nr + j % nr;
        let floats = Line::floats(&mut lines);
        for (j, row) in w.chunks_exact(k.max(1)).enumerate() {
            for (i, &v) in row.iter().enumerate() {
                let at = place(j, i);
                match form {
                    WeightType::F32 => floats[at] = v,
                    // Two to a float, in the order of the bytes in memory.
                    WeightType::Bf16 => {
                        let mut pair = floats[at / 2].to_ne_bytes();
                        pair[at % 2 * 2..][..2].copy_from_slice(&bf16::from_f32(v).to_ne_bytes());
                        floats[at / 2] = f32::from_ne_bytes(pair);
                    }
                }
            }
        }
        Ok(Self {
            lines,
            form,
            isa,
            n,
            k,
        })
    }
}

/// A range of rows and columns of C = A W^T + bias.
#[derive(Clone, Copy)]
struct Product<'a> {
    panels: &'a Panels,
    a: &'a [f32], // (m, k)
    bias: Option<&'a [f32]>,
    c: *mut f32, // (m, n)
}

// SAFETY: threads share a product only to make parts of C that do not overlap.
unsafe impl Sync for Product<'_> {}

impl Cpu {
    /// Computes C (m, n) = A (m, k) W^T + bias.
    ///
    /// Every element is one chain of multiply-adds over k from 0, then + bias: a row of C depends neither on the other rows
    /// nor on the number of threads.
    ///
    /// # Panics
    /// Panics when a slice is not of its shape, or the panels were packed for other instructions.
    pub fn gemm_panels(
        &self,
        m: usize,
        a: &[f32],
        w: &Panels,
        bias: Option<&[f32]>,
        c: &mut [f32],
    ) {
        let (n, k) = (w.n, w.k);
        assert!(
            m.checked_mul(k) == Some(a.len())
                && m.checked_mul(n) == Some(c.len())
                && bias.is_none_or(|b| b.len() == n),
            "gemm: A has {} elements, C {}, the bias {:?}, for (m, n, k) = ({m}, {n}, {k})",
            a.len(),
            c.len(),
            bias.map(<[f32]>::len),
        );
        assert!(w.isa == self.isa, "gemm: panels of another instruction set");
        if m == 0 || n == 0 {
            return;
        }
        let product = Product {
            panels: w,
            a,
            bias,
            c: c.as_mut_ptr(),
        };
        let grid = Grid::new(self.threads(), Method::Blocked.row_unit(), m, n, k);
        let parts = grid.down * grid.across;
        let product = &product;
        self.rows(parts, 1, [], |range, []| {
            for i in range {
                let (rows, columns) = grid.part(i, m, n);
                // SAFETY: C is borrowed mutably by this call, and the parts of a grid do not overlap.
                unsafe { product.run(rows, columns) }
            }
        });
    }
}

/// The inner loop for an instruction set. Each size is a separate function: inlined into one, they would share its registers.
trait Kernel {
    /// Rows of W in a panel.
    const NR: usize;

    /// # Safety
    /// The requirements of [`Product::tile`] hold.
    unsafe fn tile<E: Element, const R: usize, const P: usize>(
        product: &Product<'_>,
        i: usize,
        p: usize,
    );
}

macro_rules! kernel {
    ($name:ident, $vector:ty $(, $features:literal)?) => {
        struct $name;

        impl Kernel for $name {
            const NR: usize = 2 * <$vector>::LANES;

            unsafe fn tile<E: Element, const R: usize, const P: usize>(product: &Product<'_>, i: usize, p: usize) {
                /// # Safety
                /// The requirements of [`Kernel::tile`] hold.
                $(#[target_feature(enable = $features)])?
                #[inline(never)]
                unsafe fn compiled<E: Element, const R: usize, const P: usize>(product: &Product<'_>, i: usize, p: usize) {
                    // SAFETY: the features are enabled here, and the caller keeps the other requirements.
                    unsafe { product.tile::<$vector, E, R, P>(i, p) }
                }
                // SAFETY: the caller has the kernel's instruction set and keeps the other requirements.
                unsafe { compiled::<E, R, P>(product, i, p) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernel!(
    Avx512,
    std::arch::x86_64::__m512,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"
);
#[cfg(target_arch = "x86_64")]
kernel!(Avx2, std::arch::x86_64::__m256, "avx2,fma");
kernel!(Portable, [f32; 8]);

impl Product<'_> {
    /// # Safety
    /// Nothing else accesses these rows and columns of C meanwhile.
    unsafe fn run(&self, rows: Range<usize>, columns: Range<usize>) {
        // SAFETY: an `Isa` of a level is made only after its features were detected; the caller lets nothing else access these rows and columns of C.
        unsafe {
            match (self.panels.isa.level(), self.panels.form) {
                #[cfg(target_arch = "x86_64")]
                (Level::Avx512, WeightType::F32) => self.tiles::<Avx512, f32, 12>(rows, columns),
                #[cfg(target_arch = "x86_64")]
                (Level::Avx512, WeightType::Bf16) => self.tiles::<Avx512, u16, 12>(rows, columns),
                #[cfg(target_arch = "x86_64")]
                (Level::Avx2, WeightType::F32) => self.tiles::<Avx2, f32, 6>(rows, columns),
                #[cfg(target_arch = "x86_64")]
                (Level::Avx2, WeightType::Bf16) => self.tiles::<Avx2, u16, 6>(rows, columns),
                (_, WeightType::F32) => self.tiles::<Portable, f32, 4>(rows, columns),
                (_, WeightType::Bf16) => self.tiles::<Portable, u16, 4>(rows, columns),
            }
        }
    }

    /// Computes tiles of at most MR rows by a panel. One or two rows take several panels at a time, so that enough sums are in flight.
    ///
    /// # Safety
    /// The requirements of [`Product::run`] hold, and the vector's instructions are there.
    unsafe fn tiles<K: Kernel, E: Element, const MR: usize>(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        let nr = K::NR;
        let panels = columns.start / nr..columns.end.div_ceil(nr);
        // SAFETY: a tile begins inside C, and its panels exist; the caller lets nothing else access C.
        unsafe {
            if rows.len() <= 2 {
                let mut p = panels.start;
                while p + 4 <= panels.end {
                    if rows.len() == 1 {
                        K::tile::<E, 1, 4>(self, rows.start, p);
                    } else {
                        K::tile::<E, 2, 4>(self, rows.start, p);
                    }
                    p += 4;
                }
                for p in p..panels.end {
                    self.few::<K, E>(rows.start, rows.len(), p);
                }
                return;
            }
            for p in panels {
                let mut i = rows.start;
                while i + MR <= rows.end {
                    K::tile::<E, MR, 1>(self, i, p);
                    i += MR;
                }
                // What is left, in halves: few sizes are compiled.
                while i < rows.end {
                    i += self.few::<K, E>(i, rows.end - i, p);
                }
            }
        }
    }

    /// Computes a tile of at most `rows` rows and returns how many it took.
    ///
    /// # Safety
    /// The requirements of [`Product::tiles`] hold.
    unsafe fn few<K: Kernel, E: Element>(&self, i: usize, rows: usize, p: usize) -> usize {
        // SAFETY: the requirements are those of `tiles`, which the caller keeps; no tile has more rows than are left.
        unsafe {
            match rows {
                0 => 0,
                1 => {
                    K::tile::<E, 1, 1>(self, i, p);
                    1
                }
                2 => {
                    K::tile::<E, 2, 1>(self, i, p);
                    2
                }
                3 => {
                    K::tile::<E, 3, 1>(self, i, p);
                    3
                }
                4..8 => {
                    K::tile::<E, 4, 1>(self, i, p);
                    4
                }
                _ => {
                    K::tile::<E, 8, 1>(self, i, p);
                    8
                }
            }
        }
    }

    /// Computes R rows from i by P panels from p.
    ///
    /// # Safety
    /// The requirements of [`Product::tiles`] hold.
    #[inline(always)]
    unsafe fn tile<V: TileVector, E: Element, const R: usize, const P: usize>(
        &self,
        i: usize,
        p: usize,
    ) {
        let (n, k) = (self.panels.n, self.panels.k);
        let nr = 2 * V::LANES;
        // SAFETY: rows i..i + R exist in A and C, panels p..p + P in W, and lines are long enough for whole panels.
        unsafe {
            let w = self.panels.lines.as_ptr().cast::<E>();
            let w: [*const E; P] = std::array::from_fn(|q| w.add((p + q) * k * nr));
            let mut a = self.a.as_ptr().add(i * k);
            let mut x = [[[V::zero(); 2]; P]; R];
            for kk in 0..k {
                let mut b = [[V::zero(); 2]; P];
                for q in 0..P {
                    let at = w[q].add(kk * nr);
                    b[q] = [E::load(at), E::load(at.add(V::LANES))];
                }
                for r in 0..R {
                    let s = V::splat(*a.add(r * k));
                    for q in 0..P {
                        for h in 0..2 {
                            x[r][q][h] = s.mul_add(b[q][h], x[r][q][h]);
                        }
                    }
                }
                a = a.wrapping_add(1);
            }
            let (j0, width) = (p * nr, (P * nr).min(n - p * nr));
            let c = self.c.add(i * n + j0);
            if width == P * nr {
                for q in 0..P {
                    for h in 0..2 {
                        let at = q * nr + h * V::LANES;
                        if let Some(bias) = self.bias {
                            let bias = V::load(bias.as_ptr().add(j0 + at));
                            for r in 0..R {
                                x[r][q][h] = x[r][q][h].add(bias);
                            }
                        }
                        for r in 0..R {
                            x[r][q][h].store(c.add(r * n + at));
                        }
                    }
                }
                return;
            }
            // The last panel of a width that is no multiple: through memory, since indices into registers must be constant.
            let mut out = [[[0.0f32; 32]; P]; R];
            for r in 0..R {
                for q in 0..P {
                    x[r][q][0].store(out[r][q].as_mut_ptr());
                    x[r][q][1].store(out[r][q].as_mut_ptr().add(V::LANES));
                }
            }
            for (r, out) in out.iter().enumerate() {
                for l in 0..width {
                    let sum = out[l / nr][l % nr];
                    // Without a bias nothing is added: + 0 would make 0 of -0, and whole panels do not.
                    *c.add(r * n + l) = self.bias.map_or(sum, |bias| sum + bias[j0 + l]);
                }
            }
        }
    }
}
