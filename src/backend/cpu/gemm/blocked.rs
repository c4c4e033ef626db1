//! The blocked product: tiles of C over packed panels of B, for AVX2 (6 by 16) and AVX-512 (12 by 32).

use super::pack;
use super::tile::{Tile, tile};
use super::vector::Pairs;
use super::{Line, Mat, Product, steps};
use crate::backend::cpu::Isa;
use std::arch::x86_64::{__m256, __m512};
use std::cell::RefCell;
use std::ops::Range;

/// The longest block of k. MC rows of A stay in the L2 cache; longer blocks read and write C less often, and a panel
/// of B may come from the L2 cache, since a step of k loads two vectors for 24 (or 12) multiply-adds.
/// It decides where sums are cut, and so the last bits of results: one value for all machines.
const KC: usize = 384;

/// Floats of B packed at a time: a share of the last-level cache.
const PACKED_B: usize = 1 << 20;
/// Columns of B that are packed together at least, however long k is: A is read once for each such part.
const MIN_COLUMNS: usize = 1024;

/// Panels begin this many floats further apart than they are long: at a power of two, their lines would share the
/// few places that the cache has for one address modulo 4096.
const PAD: usize = 16;

/// The inner kernel of an instruction set.
pub trait Kernel {
    /// Rows of a tile.
    const MR: usize;
    /// Columns of a tile: two vectors.
    const NR: usize;
    /// Rows of A that stay in the L2 cache, a multiple of MR.
    const MC: usize;

    /// Computes the tile of `rows <= MR` rows and `t.nc <= NR` columns; A is packed or in place.
    ///
    /// # Safety
    /// The requirements of [`tile`] hold.
    unsafe fn tile(rows: usize, packed: bool, t: &Tile);
    /// # Safety
    /// The requirements of [`pack::right`] hold.
    unsafe fn pack_right(
        src: *const f32,
        rs: usize,
        cs: usize,
        kc: usize,
        nc: usize,
        dst: *mut f32,
        stride: usize,
    );
    /// # Safety
    /// The requirements of [`pack::left`] hold.
    unsafe fn pack_left(
        src: *const f32,
        ld: usize,
        kc: usize,
        mc: usize,
        dst: *mut f32,
        stride: usize,
    );
}

macro_rules! kernel {
    ($(#[$meta:meta])* $name:ident, $features:literal, $vector:ty, $mr:literal, $nr:literal, $mc:literal, $($r:literal)*) => {
        $(#[$meta])*
        pub struct $name;

        impl Kernel for $name {
            const MR: usize = $mr;
            const NR: usize = $nr;
            const MC: usize = $mc;

            #[inline]
            unsafe fn tile(rows: usize, packed: bool, t: &Tile) {
                /// # Safety
                /// The requirements of [`Kernel::tile`] hold.
                #[target_feature(enable = $features)]
                unsafe fn compiled<const R: usize, const W: usize, const MR: usize>(t: &Tile) {
                    // SAFETY: the features are enabled here, and the caller keeps the tile's pointers valid.
                    unsafe { tile::<$vector, R, W, MR>(t) }
                }
                let narrow = t.nc <= $nr / 2;
                // SAFETY: the caller has the kernel's instruction set and keeps the tile's pointers valid.
                unsafe {
                    match (rows, narrow, packed) {
                        $(
                            ($r, false, false) => compiled::<$r, 2, 0>(t),
                            ($r, false, true) => compiled::<$r, 2, $mr>(t),
                            ($r, true, false) => compiled::<$r, 1, 0>(t),
                            ($r, true, true) => compiled::<$r, 1, $mr>(t),
                        )*
                        _ => unreachable!("a tile of {rows} rows"),
                    }
                }
            }

            unsafe fn pack_right(src: *const f32, rs: usize, cs: usize, kc: usize, nc: usize, dst: *mut f32, stride: usize) {
                // SAFETY: the requirements are those of the trait's method, which the caller keeps.
                unsafe { pack::right::<$nr>(src, rs, cs, kc, nc, dst, stride) }
            }

            unsafe fn pack_left(src: *const f32, ld: usize, kc: usize, mc: usize, dst: *mut f32, stride: usize) {
                // SAFETY: the requirements are those of the trait's method, which the caller keeps.
                unsafe { pack::left::<$mr>(src, ld, kc, mc, dst, stride) }
            }
        }
    };
}

kernel! {
    /// 24 accumulators, 2 vectors of B and a broadcast, of 32 registers.
    Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", __m512, 12, 32, 144, 1 2 3 4 5 6 7 8 9 10 11 12
}
kernel! {
    /// The kernel of [`Avx512`] on pairs of bf16 along k.
    Avx512Bf16, "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", Pairs, 12, 32, 144, 1 2 3 4 5 6 7 8 9 10 11 12
}
kernel! {
    /// 12 accumulators, 2 vectors of B and a broadcast, of 16 registers.
    Avx2, "avx2,fma", __m256, 6, 16, 96, 1 2 3 4 5 6
}

thread_local! {
    /// Packed B and packed A of this thread: it grows to the largest product (a few MB) and
    /// stays, so that no product allocates but the first of its size.
    static PACKED: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// How a product is cut, and where its packed operands lie.
struct Blocks {
    /// The block of k: `KC` at most, and all about as long.
    k: usize,
    /// The part of B that is packed together: this many columns, by this many k (whole blocks).
    columns: usize,
    depth: usize,
    /// How many of the panels of such a part are read where they are.
    b_in_place: bool,
    a: Left,
    packed_a: *mut f32,
    packed_b: *mut f32,
    /// Between packed panels.
    a_stride: usize,
    b_stride: usize,
}

/// Where the inner kernel reads A.
#[derive(Clone, Copy, PartialEq)]
enum Left {
    /// Rows of k, where they are.
    InPlace,
    /// Rows of k, copied as they are: their distance is such that the rows of a tile would evict each other.
    Copied,
    /// Panels: k is strided.
    Packed,
}

impl Blocks {
    /// Returns the cut, with the lengths of packed A and packed B.
    fn new<K: Kernel>(p: &Product<'_>) -> (Self, usize, usize) {
        let k = p.k.div_ceil(p.k.div_ceil(KC).max(1)).max(1);
        let columns = (PACKED_B / p.k.max(1)).max(MIN_COLUMNS).min(p.n);
        let depth = ((PACKED_B / columns / k).max(1) * k).min(p.k);
        let panels = columns.div_ceil(K::NR);
        // A few rows use B once or twice: packing would cost more than it saves.
        let b_in_place = p.m <= K::MR && p.b.cs == 1;
        let a = match p.a {
            Mat { cs: 1, rs, .. } if rs % 1024 != 0 || panels == 1 => Left::InPlace,
            Mat { cs: 1, .. } => Left::Copied,
            _ => Left::Packed,
        };
        let (a_stride, b_stride) = (k * K::MR + PAD, depth * K::NR + PAD);
        let a_len = match a {
            Left::InPlace => 0,
            Left::Copied => K::MC * (k + PAD),
            Left::Packed => K::MC / K::MR * a_stride,
        };
        let b_len = if b_in_place { 1 } else { panels } * b_stride;
        let null = std::ptr::null_mut();
        let blocks = Self {
            k,
            columns,
            depth,
            b_in_place,
            a,
            packed_a: null,
            packed_b: null,
            a_stride,
            b_stride,
        };
        (blocks, a_len, b_len)
    }
}

/// Computes C = A B (+ C) (+ bias).
///
/// # Safety
/// The kernel's instruction set is there, and nothing else accesses C meanwhile.
pub unsafe fn product<K: Kernel>(isa: Isa, p: &Product<'_>) {
    PACKED.with_borrow_mut(|lines| {
        let (mut blocks, a_len, b_len) = Blocks::new::<K>(p);
        let need = a_len.div_ceil(16) + b_len.div_ceil(16);
        crate::memory::at_least(lines, need, Line::ZERO);
        let (b, a) = lines.split_at_mut(b_len.div_ceil(16));
        (blocks.packed_a, blocks.packed_b) = (a.as_mut_ptr().cast(), b.as_mut_ptr().cast());
        for columns in steps(0..p.n, blocks.columns) {
            for k in steps(0..p.k, blocks.depth) {
                // SAFETY: the buffers are as long as the cut asks for; the caller has the instructions, and lets nothing else access C.
                unsafe { part::<K>(isa, p, &blocks, &columns, &k) };
            }
        }
    });
}

/// Adds the products over `ks` that go into these columns of C.
///
/// # Safety
/// The requirements of [`product`] hold; the buffers hold what `blocks` says.
unsafe fn part<K: Kernel>(
    isa: Isa,
    p: &Product<'_>,
    blocks: &Blocks,
    columns: &Range<usize>,
    ks: &Range<usize>,
) {
    let nc = columns.len();
    // Only whole panels can be read in place: the kernel loads whole vectors.
    let in_place = if blocks.b_in_place { nc / K::NR } else { 0 };
    let b = |k: usize, j: usize| {
        p.b.data
            .as_ptr()
            .wrapping_add(k * p.b.rs + (columns.start + j) * p.b.cs)
    };
    let packed_b = |k: usize, panel: usize| {
        blocks
            .packed_b
            .wrapping_add((panel - in_place) * blocks.b_stride + (k - ks.start) * K::NR)
    };
    let packed = in_place * K::NR;
    if packed < nc {
        // SAFETY: B was checked for these rows and columns, and its buffer for these panels.
        unsafe {
            K::pack_right(
                b(ks.start, packed),
                p.b.rs,
                p.b.cs,
                ks.len(),
                nc - packed,
                packed_b(ks.start, in_place),
                blocks.b_stride,
            );
        }
    }
    for rows in steps(0..p.m, K::MC) {
        for k in steps(ks.clone(), blocks.k) {
            // SAFETY: A was checked for these rows and k, and its buffer holds MC rows of a block of k.
            let (a, panel, rs) = unsafe { left::<K>(p, blocks, &rows, &k) };
            for j in (0..nc).step_by(K::NR) {
                let (b, bs) = match j / K::NR {
                    panel if panel < in_place => (b(k.start, j), p.b.rs),
                    panel => (packed_b(k.start, panel).cast_const(), K::NR),
                };
                let column = columns.start + j;
                for i in (0..rows.len()).step_by(K::MR) {
                    let tile = Tile {
                        kc: k.len(),
                        a: a.wrapping_add(i / K::MR * panel),
                        rs,
                        b,
                        bs,
                        c: p.c.wrapping_add((rows.start + i) * p.ldc + column),
                        ldc: p.ldc,
                        nc: K::NR.min(nc - j),
                        load: p.accumulate || k.start > 0,
                        bias: match p.bias {
                            Some(bias) if k.end == p.k => bias[column..].as_ptr(),
                            _ => std::ptr::null(),
                        },
                    };
                    // SAFETY: the tile lies in C, and its operands were checked or packed.
                    unsafe { K::tile(K::MR.min(rows.len() - i), blocks.a == Left::Packed, &tile) };
                }
                if k.end == p.k {
                    // SAFETY: the sums of these rows are whole up to the panel's end, and the caller lets nothing else access them.
                    unsafe { p.finish_group(isa, &rows, columns, column + K::NR) };
                }
            }
        }
    }
}

/// Returns a block of A as the kernel reads it: its first element, the distance between tiles, and the row stride.
///
/// # Safety
/// The requirements of [`part`] hold.
unsafe fn left<K: Kernel>(
    p: &Product<'_>,
    blocks: &Blocks,
    rows: &Range<usize>,
    k: &Range<usize>,
) -> (*const f32, usize, usize) {
    let a =
        p.a.data
            .as_ptr()
            .wrapping_add(rows.start * p.a.rs + k.start * p.a.cs);
    let to = blocks.packed_a;
    match blocks.a {
        Left::InPlace => (a, K::MR * p.a.rs, p.a.rs),
        Left::Copied => {
            let stride = blocks.k + PAD;
            for i in 0..rows.len() {
                // SAFETY: the rows lie in A, the caller's buffer has room for them, and it is no part of A.
                unsafe {
                    std::ptr::copy_nonoverlapping(a.add(i * p.a.rs), to.add(i * stride), k.len())
                };
            }
            (to, K::MR * stride, stride)
        }
        Left::Packed => {
            // SAFETY: the rows lie in A, and the caller's buffer has room for their panels.
            unsafe { K::pack_left(a, p.a.cs, k.len(), rows.len(), to, blocks.a_stride) };
            (to, blocks.a_stride, 1)
        }
    }
}
