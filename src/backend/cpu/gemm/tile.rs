//! The inner kernel: one tile of C, held in registers over a block of k.
#![allow(clippy::needless_range_loop)] // i counts rows of three things at once

use super::vector::TileVector;

/// A tile of C and where its operands lie: C(R, nc) (+)= A(R, kc) B(kc, nc).
#[derive(Clone, Copy)]
pub struct Tile {
    pub kc: usize,
    /// Element (i, k) of A at `a[i * rs + k]`, or packed at `a[k * MR + i]`.
    pub a: *const f32,
    pub rs: usize,
    /// Row k of B at `b[k * bs]`: as many whole vectors as nc needs.
    pub b: *const f32,
    pub bs: usize,
    pub c: *mut f32,
    pub ldc: usize,
    pub nc: usize,
    /// Add to what C holds; it is not read otherwise.
    pub load: bool,
    /// (nc), added last; or null.
    pub bias: *const f32,
}

/// Computes a tile of R rows and W vectors. With `MR > 0`, A is packed.
///
/// Every element is the same chain of fused multiply-adds from 0 over k, then + C, then + bias, whatever R, W and nc.
///
/// # Safety
/// The vector's instruction set is there, `t`'s pointers cover the tile, and nothing else accesses C's part of it.
#[inline(always)]
pub unsafe fn tile<V: TileVector, const R: usize, const W: usize, const MR: usize>(t: &Tile) {
    // SAFETY: the caller says that the instructions are there and that the pointers cover the tile, of C alone; b is padded to whole vectors.
    unsafe {
        let row = |i: usize| t.c.wrapping_add(i * t.ldc);
        for i in 0..R {
            for w in 0..W {
                prefetch(row(i).wrapping_add(w * V::LANES));
            }
        }
        let mut x = [[V::zero(); W]; R];
        let (mut a, mut b) = (t.a, t.b);
        for _ in 0..t.kc {
            let mut bw = [V::zero(); W];
            for w in 0..W {
                bw[w] = V::load(b.add(w * V::LANES));
            }
            for i in 0..R {
                let s = V::splat(*a.add(if MR > 0 { i } else { i * t.rs }));
                for w in 0..W {
                    x[i][w] = s.mul_add(bw[w], x[i][w]);
                }
            }
            a = a.wrapping_add(if MR > 0 { MR } else { 1 });
            b = b.wrapping_add(t.bs);
        }
        if t.nc == W * V::LANES {
            if t.load {
                for i in 0..R {
                    for w in 0..W {
                        x[i][w] = x[i][w].add(V::load(row(i).add(w * V::LANES)));
                    }
                }
            }
            if !t.bias.is_null() {
                for w in 0..W {
                    let bias = V::load(t.bias.add(w * V::LANES));
                    for i in 0..R {
                        x[i][w] = x[i][w].add(bias);
                    }
                }
            }
            for i in 0..R {
                for w in 0..W {
                    x[i][w].store(row(i).add(w * V::LANES));
                }
            }
        } else {
            let mut out = [0.0; MAX_TILE];
            for i in 0..R {
                for w in 0..W {
                    x[i][w].store(out.as_mut_ptr().add((i * W + w) * V::LANES));
                }
            }
            for (i, out) in out.chunks_exact(W * V::LANES).take(R).enumerate() {
                for j in 0..t.nc {
                    let mut sum = out[j];
                    if t.load {
                        sum += *row(i).add(j);
                    }
                    if !t.bias.is_null() {
                        sum += *t.bias.add(j);
                    }
                    *row(i).add(j) = sum;
                }
            }
        }
    }
}

/// The largest number of elements in a tile.
const MAX_TILE: usize = 12 * 32;

#[inline(always)]
fn prefetch(p: *const f32) {
    use std::arch::x86_64::*;
    // SAFETY: a hint, which faults at no address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
}
