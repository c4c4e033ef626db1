//! The blocked product: tiles of C over packed panels of B, for AVX2 (6 by 16) and AVX-512 (12 by 32).

use super::Product;
use super::pack;
use super::tile::{Tile, tile};
use std::arch::x86_64::{__m256, __m512};
use std::cell::RefCell;

/// The longest block of k: MC rows of A fit the L2 cache, a panel of B the L1 cache of most machines.
/// It decides where sums are cut, and so the last bits of results: one value for all machines.
const KC: usize = 256;

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

    /// The tile of `rows <= MR` rows and `t.nc <= NR` columns; A is packed or in place.
    ///
    /// # Safety
    /// As [`tile`].
    unsafe fn tile(rows: usize, packed: bool, t: &Tile);
    /// # Safety
    /// As [`pack::right`].
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
    /// As [`pack::left`].
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
                #[target_feature(enable = $features)]
                unsafe fn compiled<const R: usize, const W: usize, const MR: usize>(t: &Tile) {
                    // SAFETY: the caller's promise.
                    unsafe { tile::<$vector, R, W, MR>(t) }
                }
                let narrow = t.nc <= $nr / 2;
                // SAFETY: the caller's promise.
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
                // SAFETY: the caller's promise.
                unsafe { pack::right::<$nr>(src, rs, cs, kc, nc, dst, stride) }
            }

            unsafe fn pack_left(src: *const f32, ld: usize, kc: usize, mc: usize, dst: *mut f32, stride: usize) {
                // SAFETY: the caller's promise.
                unsafe { pack::left::<$mr>(src, ld, kc, mc, dst, stride) }
            }
        }
    };
}

kernel! {
    /// 24 accumulators, 2 vectors of B and a broadcast, of 32 registers.
    Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", __m512, 12, 32, 240, 1 2 3 4 5 6 7 8 9 10 11 12
}
kernel! {
    /// 12 accumulators, 2 vectors of B and a broadcast, of 16 registers.
    Avx2, "avx2,fma", __m256, 6, 16, 96, 1 2 3 4 5 6
}

/// A cache line, for the alignment.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [f32; 16]);

thread_local! {
    /// Packed B and packed A of this thread: it grows to the largest product and stays.
    static PACKED: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// The block of k: `KC` at most, and all blocks about as long.
fn k_block(k: usize) -> usize {
    k.div_ceil(k.div_ceil(KC).max(1)).max(1)
}

/// C = A B (+ C) (+ bias).
///
/// # Safety
/// The kernel's instruction set is there, and nothing else accesses C meanwhile.
pub unsafe fn product<K: Kernel>(p: &Product<'_>) {
    let kb = k_block(p.k);
    // How much of B is packed together: columns first, then as many whole blocks of k as fit.
    let columns = (PACKED_B / p.k.max(1))
        .max(MIN_COLUMNS)
        .min(p.n)
        .next_multiple_of(K::NR);
    let depth = (PACKED_B / columns / kb).max(1) * kb;
    let depth = depth.min(p.k);
    // A few rows of B are used once or twice: cheaper read where they are.
    let b_in_place = p.m <= K::MR && p.b.cs == 1;

    let b_stride = depth * K::NR + PAD;
    let a_stride = kb * K::MR + PAD;
    let b_len = columns / K::NR * b_stride;
    let a_len = K::MC / K::MR * a_stride;
    PACKED.with_borrow_mut(|lines| {
        let need = (b_len + a_len).div_ceil(16);
        if lines.len() < need {
            lines.resize(need, Line([0.0; 16]));
        }
        let packed_b: *mut f32 = lines.as_mut_ptr().cast();
        let packed_a = packed_b.wrapping_add(b_len);
        for j0 in (0..p.n).step_by(columns) {
            let nc = columns.min(p.n - j0);
            // With k = 0 there is one block, of length 0: it clears C or adds the bias.
            let mut k0 = 0;
            loop {
                let kg = depth.min(p.k - k0);
                let part = Part {
                    j0,
                    nc,
                    k0,
                    kg,
                    kb,
                    b_in_place,
                    packed_b,
                    b_stride,
                    packed_a,
                    a_stride,
                };
                // SAFETY: the buffers are as large as the strides say, the rest is the caller's promise.
                unsafe { part.run::<K>(p) };
                k0 += kg;
                if k0 >= p.k {
                    break;
                }
            }
        }
    });
}

/// The columns `j0..j0 + nc` of C, and the products over `k0..k0 + kg` that go into them.
struct Part {
    j0: usize,
    nc: usize,
    k0: usize,
    kg: usize,
    kb: usize,
    b_in_place: bool,
    packed_b: *mut f32,
    b_stride: usize,
    packed_a: *mut f32,
    a_stride: usize,
}

impl Part {
    /// # Safety
    /// As [`product`]; the buffers hold the panels.
    unsafe fn run<K: Kernel>(&self, p: &Product<'_>) {
        // SAFETY: A, B and C were checked against (m, n, k); all indices below stay within.
        unsafe {
            let whole = if self.b_in_place { self.nc / K::NR } else { 0 };
            let done = whole * K::NR;
            let b =
                p.b.data
                    .as_ptr()
                    .wrapping_add(self.k0 * p.b.rs + self.j0 * p.b.cs);
            if done < self.nc {
                K::pack_right(
                    b.wrapping_add(done * p.b.cs),
                    p.b.rs,
                    p.b.cs,
                    self.kg,
                    self.nc - done,
                    self.packed_b.add(whole * self.b_stride),
                    self.b_stride,
                );
            }
            for i0 in (0..p.m).step_by(K::MC) {
                let mc = K::MC.min(p.m - i0);
                let mut k0 = 0;
                loop {
                    let kc = self.kb.min(self.kg - k0);
                    let a =
                        p.a.data
                            .as_ptr()
                            .wrapping_add(i0 * p.a.rs + (self.k0 + k0) * p.a.cs);
                    let packed = p.a.cs != 1;
                    if packed {
                        K::pack_left(a, p.a.cs, kc, mc, self.packed_a, self.a_stride);
                    }
                    let first = self.k0 + k0 == 0;
                    let last = self.k0 + k0 + kc == p.k;
                    for j in (0..self.nc).step_by(K::NR) {
                        let panel = j / K::NR;
                        let (b, bs) = if panel < whole {
                            (b.wrapping_add(k0 * p.b.rs + j), p.b.rs)
                        } else {
                            (
                                self.packed_b
                                    .add(panel * self.b_stride + k0 * K::NR)
                                    .cast_const(),
                                K::NR,
                            )
                        };
                        for i in (0..mc).step_by(K::MR) {
                            let rows = K::MR.min(mc - i);
                            let t = Tile {
                                kc,
                                a: if packed {
                                    self.packed_a.add(i / K::MR * self.a_stride)
                                } else {
                                    a.wrapping_add(i * p.a.rs)
                                },
                                rs: p.a.rs,
                                b,
                                bs,
                                c: p.c.wrapping_add((i0 + i) * p.ldc + self.j0 + j),
                                ldc: p.ldc,
                                nc: K::NR.min(self.nc - j),
                                load: p.accumulate || !first,
                                bias: match p.bias {
                                    Some(bias) if last => bias.as_ptr().add(self.j0 + j),
                                    _ => std::ptr::null(),
                                },
                            };
                            K::tile(rows, packed, &t);
                        }
                    }
                    k0 += kc;
                    if k0 >= self.kg {
                        break;
                    }
                }
            }
        }
    }
}
