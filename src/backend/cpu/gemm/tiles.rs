//! The product on AMX tiles: operands rounded to bf16, or split into two bf16s whose three larger products are summed.
//!
//! Panels of 32 rows of A and of 32 columns of B are packed step by step, a step being 32 of k. B is packed for as many columns and as much
//! of k as the last-level cache has room for, A a block at a time, which stays in the L2 cache while it meets every panel of B. Each thread
//! packs both for its own part: lines that another core has just written come more slowly than they are packed again.

use super::split::{self, Side};
use super::{Line, Product};
use crate::backend::cpu::Isa;
use crate::backend::cpu::amx::{self, Tiles};
use std::arch::x86_64::*;
use std::cell::RefCell;
use std::ops::Range;

/// Rows and columns of the block of C that four tiles hold.
pub const SIDE: usize = 32;
/// The length of a step along k.
pub const STEP: usize = 32;

/// Floats' worth of B that are packed at a time, and its least columns: A is read and packed again for each such part.
const PACKED_B: usize = 1 << 20;
const MIN_COLUMNS: usize = 1024;

/// Returns the bytes of one step of a panel: two tiles of 1 KiB, or four.
const fn step_bytes(split: bool) -> usize {
    if split { 4096 } else { 2048 }
}

/// How a product is cut. Sums are cut at multiples of `k_steps`, which looks at k alone, so that no bit depends on how C is cut.
struct Blocks {
    /// Steps whose products are summed in registers: a panel of B of as many stays in the L1 cache while the block of A comes from L2.
    k_steps: usize,
    /// Steps of B that are packed together, a multiple of `k_steps`.
    depth: usize,
    /// Columns of B that are packed together, a multiple of [`SIDE`].
    columns: usize,
    /// Panels of A that are packed together: half of an L2 cache of 1 MiB, or less.
    panels: usize,
}

impl Blocks {
    fn new(p: &Product<'_>, split: bool) -> Self {
        let (most, bytes) = if split {
            (8, 512 << 10)
        } else {
            (16, 256 << 10)
        };
        let steps = p.k.div_ceil(STEP).max(1);
        let k_steps = steps.div_ceil(steps.div_ceil(most));
        let columns = (PACKED_B / (steps * STEP)).max(MIN_COLUMNS).min(p.n);
        let columns = columns.next_multiple_of(SIDE);
        let depth = (PACKED_B / columns / STEP / k_steps).max(1) * k_steps;
        Self {
            k_steps,
            depth: depth.min(steps.next_multiple_of(k_steps)),
            columns,
            panels: (bytes / (k_steps * step_bytes(split)))
                .min(p.m.div_ceil(SIDE))
                .max(1),
        }
    }
}

thread_local! {
    /// Packed B and packed A of this thread: grows to those of the largest product and stays.
    static PACKED: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Computes C = A B (+ C) (+ bias), with 16 significant bits of each operand if `SPLIT`, else 8.
///
/// # Safety
/// AMX may be used, with AVX512_BF16; one stride of each operand is 1; nothing else accesses C meanwhile.
pub unsafe fn product<const SPLIT: bool>(isa: Isa, p: &Product<'_>) {
    let blocks = Blocks::new(p, SPLIT);
    let bytes = step_bytes(SPLIT);
    let b_bytes = blocks.columns / SIDE * blocks.depth * bytes;
    let a_bytes = blocks.panels * blocks.k_steps * bytes;
    PACKED.with_borrow_mut(|lines| {
        let need = (a_bytes + b_bytes) / size_of::<Line>();
        crate::memory::at_least(lines, need, Line::ZERO);
        let b: *mut u8 = lines.as_mut_ptr().cast();
        let a = b.wrapping_add(b_bytes);
        // SAFETY: the caller has AMX, and lets nothing else access C. Nothing below has tiles of its own, or leaves this thread.
        let _tiles = unsafe { Tiles::new() };
        let steps = p.k.div_ceil(STEP).max(1);
        for columns in super::steps(0..p.n, blocks.columns) {
            for ks in super::steps(0..steps, blocks.depth) {
                // SAFETY: the buffers are as long as the cut asks for; the caller has AMX, and lets nothing else access C.
                unsafe { part::<SPLIT>(isa, p, &blocks, &columns, &ks, a, b) };
            }
        }
    });
}

/// Adds the products over the steps `ks` that go into these columns of C.
///
/// # Safety
/// The requirements of [`product`] hold, with this thread's tiles; the buffers hold what `blocks` says.
#[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn part<const SPLIT: bool>(
    isa: Isa,
    p: &Product<'_>,
    blocks: &Blocks,
    columns: &Range<usize>,
    ks: &Range<usize>,
    packed_a: *mut u8,
    packed_b: *mut u8,
) {
    let bytes = step_bytes(SPLIT);
    let b_side = Side::right(p.b, p.k);
    let a_side = Side::left(p.a, p.k);
    // SAFETY: A and B were checked for their shapes, the buffers hold these panels, and every block lies in C.
    unsafe {
        split::pack::<SPLIT>(&b_side, columns.clone(), ks.clone(), ks.len(), packed_b);
        for rows in super::steps(0..p.m, blocks.panels * SIDE) {
            for k in super::steps(ks.clone(), blocks.k_steps) {
                split::pack::<SPLIT>(&a_side, rows.clone(), k.clone(), k.len(), packed_a);
                let load = p.accumulate || k.start > 0;
                let last = k.end * STEP >= p.k;
                let bias = p.bias.filter(|_| last);
                for (q, j) in columns.clone().step_by(SIDE).enumerate() {
                    let b = packed_b.wrapping_add((q * ks.len() + k.start - ks.start) * bytes);
                    for (q, i) in rows.clone().step_by(SIDE).enumerate() {
                        let block = Block {
                            steps: k.len(),
                            a: packed_a.wrapping_add(q * k.len() * bytes),
                            b,
                            c: p.c.wrapping_add(i * p.ldc + j),
                            ldc: p.ldc,
                            load,
                        };
                        let (height, width) = (SIDE.min(rows.end - i), SIDE.min(columns.end - j));
                        let bias = bias.map(|bias| &bias[j..][..width]);
                        match (height, width) {
                            (SIDE, SIDE) => block.whole::<SPLIT>(bias),
                            _ => block.cut::<SPLIT>(height, width, bias),
                        }
                    }
                    if last {
                        p.finish_group(isa, &rows, columns, j + SIDE);
                    }
                }
            }
        }
    }
}

/// A block of C, (32, 32), and its packed operands.
struct Block {
    steps: usize,
    a: *const u8,
    b: *const u8,
    c: *mut f32,
    ldc: usize,
    /// Add to what C holds; it is not read otherwise.
    load: bool,
}

impl Block {
    /// # Safety
    /// This thread has tiles, the panels are as long as the steps, and the block lies whole in C, which nothing else accesses.
    #[target_feature(enable = "avx512f")]
    unsafe fn whole<const SPLIT: bool>(&self, bias: Option<&[f32]>) {
        let stride = self.ldc * size_of::<f32>();
        let below = self.c.wrapping_add(16 * self.ldc);
        // SAFETY: the caller holds this thread's tiles, and says that the block lies whole in C and is accessed by nothing else.
        unsafe {
            if self.load {
                amx::load::<0, _>(self.c, stride);
                amx::load::<1, _>(self.c.wrapping_add(16), stride);
                amx::load::<2, _>(below, stride);
                amx::load::<3, _>(below.wrapping_add(16), stride);
            } else {
                amx::zero::<0>();
                amx::zero::<1>();
                amx::zero::<2>();
                amx::zero::<3>();
            }
            if SPLIT {
                self.split_steps()
            } else {
                self.rounded_steps()
            }
            amx::store::<0>(self.c, stride);
            amx::store::<1>(self.c.wrapping_add(16), stride);
            amx::store::<2>(below, stride);
            amx::store::<3>(below.wrapping_add(16), stride);
            if let Some(bias) = bias {
                let bias = bias.as_ptr();
                let (first, second) = (_mm512_loadu_ps(bias), _mm512_loadu_ps(bias.add(16)));
                for i in 0..SIDE {
                    let row = self.c.add(i * self.ldc);
                    _mm512_storeu_ps(row, _mm512_add_ps(_mm512_loadu_ps(row), first));
                    let row = row.add(16);
                    _mm512_storeu_ps(row, _mm512_add_ps(_mm512_loadu_ps(row), second));
                }
            }
        }
    }

    /// Computes a block at the edge of C, through a whole one beside it.
    ///
    /// # Safety
    /// The requirements of [`Block::whole`] hold, but for the rows from `height` and the columns from `width`, which C need not have.
    #[target_feature(enable = "avx512f")]
    unsafe fn cut<const SPLIT: bool>(&self, height: usize, width: usize, bias: Option<&[f32]>) {
        let mut beside = [Line::ZERO; SIDE * SIDE / 16];
        let beside = Line::floats(&mut beside);
        let row = |i: usize| self.c.wrapping_add(i * self.ldc);
        // SAFETY: the caller holds this thread's tiles; rows and columns of C are touched only before `height` and `width`.
        unsafe {
            if self.load {
                for (i, to) in beside.chunks_exact_mut(SIDE).take(height).enumerate() {
                    std::ptr::copy_nonoverlapping(row(i), to.as_mut_ptr(), width);
                }
            }
            let block = Self {
                c: beside.as_mut_ptr(),
                ldc: SIDE,
                ..*self
            };
            block.whole::<SPLIT>(None);
            for (i, from) in beside.chunks_exact_mut(SIDE).take(height).enumerate() {
                for (x, b) in from.iter_mut().zip(bias.into_iter().flatten()) {
                    *x += b;
                }
                std::ptr::copy_nonoverlapping(from.as_ptr(), row(i), width);
            }
        }
    }

    /// Sums over steps whose operands are two tiles each. A tile is multiplied in 16 cycles and done after some 50: four sums take turns.
    ///
    /// # Safety
    /// The requirements of [`Block::whole`] hold.
    #[inline(always)]
    unsafe fn rounded_steps(&self) {
        let (mut a, mut b) = (self.a, self.b);
        for _ in 0..self.steps {
            // SAFETY: the caller holds this thread's tiles, and the panels are as long as the steps.
            unsafe {
                amx::load::<4, _>(b, 64);
                amx::load::<6, _>(a, 64);
                amx::load::<5, _>(b.add(1024), 64);
                amx::multiply::<0, 6, 4>();
                amx::load::<7, _>(a.add(1024), 64);
                amx::multiply::<1, 6, 5>();
                amx::multiply::<2, 7, 4>();
                amx::multiply::<3, 7, 5>();
            }
            (a, b) = (a.wrapping_add(2048), b.wrapping_add(2048));
        }
    }

    /// Sums over steps of split operands: lower A times upper B, then upper times upper, then upper A times lower B. Each panel's step has
    /// its two upper tiles first. Eight loads feed twelve products.
    ///
    /// # Safety
    /// The requirements of [`Block::whole`] hold.
    #[inline(always)]
    unsafe fn split_steps(&self) {
        let (mut a, mut b) = (self.a, self.b);
        for _ in 0..self.steps {
            // SAFETY: the caller holds this thread's tiles, and the panels are as long as the steps.
            unsafe {
                amx::load::<4, _>(b, 64);
                amx::load::<6, _>(a.add(2048), 64);
                amx::load::<5, _>(b.add(1024), 64);
                amx::multiply::<0, 6, 4>();
                amx::load::<7, _>(a.add(3072), 64);
                amx::multiply::<1, 6, 5>();
                amx::multiply::<2, 7, 4>();
                amx::load::<6, _>(a, 64);
                amx::multiply::<3, 7, 5>();
                amx::load::<7, _>(a.add(1024), 64);
                amx::multiply::<0, 6, 4>();
                amx::multiply::<1, 6, 5>();
                amx::multiply::<2, 7, 4>();
                amx::load::<4, _>(b.add(2048), 64);
                amx::multiply::<3, 7, 5>();
                amx::load::<5, _>(b.add(3072), 64);
                amx::multiply::<0, 6, 4>();
                amx::multiply::<1, 6, 5>();
                amx::multiply::<2, 7, 4>();
                amx::multiply::<3, 7, 5>();
            }
            (a, b) = (a.wrapping_add(4096), b.wrapping_add(4096));
        }
    }
}
