//! A few rows times a transposed row-major matrix: dot products that read the matrix once, where it lies.
#![allow(clippy::needless_range_loop)] // an index counts the places of several things at once

use super::Product;
use super::vector::Vector;
use crate::backend::cpu::Isa;
use crate::backend::cpu::isa::Level;

/// Rows of A up to which this is faster than packing B.
pub const MAX_ROWS: usize = 16;

/// Computes C = A B (+ C) (+ bias) where k is contiguous in A and in B.
///
/// Every element is a sum of vectors over k and then over their lanes, in one order wherever it lies.
///
/// # Safety
/// Nothing else accesses C meanwhile; `p.a.cs == 1` and `p.b.rs == 1`.
pub unsafe fn product(isa: Isa, p: &Product<'_>) {
    // SAFETY: an `Isa` of a level is made only after its features were detected; the caller lets nothing else access C meanwhile, and says that k is contiguous in both.
    unsafe {
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512(p),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2(p),
            _ => eight::<[f32; 8]>(p),
        }
    }
}

/// # Safety
/// The requirements of [`product`] hold, and AVX-512 is there. (The closures and arrays below are inlined into this function, so that all of
/// it is compiled for these instructions.)
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn avx512(p: &Product<'_>) {
    // SAFETY: the instructions are enabled here, and the caller keeps the requirements of `product`.
    unsafe {
        match p.m {
            1 => blocks::<V512, 1, 8, 1>(p),
            2 => blocks::<V512, 2, 8, 2>(p),
            _ => blocks::<V512, 4, 4, 2>(p),
        }
    }
}

#[cfg(target_arch = "x86_64")]
type V512 = std::arch::x86_64::__m512;

/// # Safety
/// The requirements of [`product`] hold, and AVX2 with FMA is there.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(p: &Product<'_>) {
    // SAFETY: the instructions are enabled here, and the caller keeps the requirements of `product`.
    unsafe { eight::<std::arch::x86_64::__m256>(p) }
}

/// Computes C in blocks of 8 sums, for 16 registers.
///
/// # Safety
/// The requirements of [`product`] hold, and the vector's instructions are there.
#[inline(always)]
unsafe fn eight<V: Vector>(p: &Product<'_>) {
    // SAFETY: the caller has the vector's instructions and keeps the requirements of `product`.
    unsafe {
        match p.m {
            1 => blocks::<V, 1, 8, 1>(p),
            2 => blocks::<V, 2, 4, 1>(p),
            _ => blocks::<V, 4, 2, 1>(p),
        }
    }
}

/// Computes all blocks of R rows by Q columns of C: the rows in turn, over columns of B that stay in the L1 cache.
///
/// # Safety
/// The requirements of [`eight`] hold.
#[inline(always)]
unsafe fn blocks<V: Vector, const R: usize, const Q: usize, const G: usize>(p: &Product<'_>) {
    for j in (0..p.n).step_by(Q) {
        for i in (0..p.m).step_by(R) {
            // SAFETY: the block begins inside C, and the caller keeps the requirements of `eight`.
            unsafe { block::<V, R, Q, G>(p, i, j) }
        }
    }
}

/// Computes R rows by Q columns: R * Q = 8 G sums. Missing rows and columns repeat the last one and are not stored.
///
/// # Safety
/// The requirements of [`eight`] hold, and C(i0, j0) exists.
#[inline(always)]
unsafe fn block<V: Vector, const R: usize, const Q: usize, const G: usize>(
    p: &Product<'_>,
    i0: usize,
    j0: usize,
) {
    const { assert!(R * Q == 8 * G) }
    // SAFETY: indices are cut at m, n and k, for which the operands and C were checked.
    unsafe {
        let a: [*const f32; R] = std::array::from_fn(|i| {
            let row = (i0 + i).min(p.m - 1);
            p.a.data.as_ptr().wrapping_add(row * p.a.rs)
        });
        let b: [*const f32; Q] = std::array::from_fn(|j| {
            let column = (j0 + j).min(p.n - 1);
            p.b.data.as_ptr().wrapping_add(column * p.b.cs)
        });
        let mut sums = [[V::zero(); 8]; G];
        let mut k = 0;
        while k + V::LANES <= p.k {
            let mut x = [V::zero(); R];
            for i in 0..R {
                x[i] = V::load(a[i].add(k));
            }
            for j in 0..Q {
                let y = V::load(b[j].add(k));
                for i in 0..R {
                    let at = i * Q + j;
                    sums[at / 8][at % 8] = x[i].mul_add(y, sums[at / 8][at % 8]);
                }
            }
            k += V::LANES;
        }
        if k < p.k {
            let rest = p.k - k;
            let mut x = [V::zero(); R];
            for i in 0..R {
                x[i] = V::load_first(rest, a[i].add(k));
            }
            for j in 0..Q {
                let y = V::load_first(rest, b[j].add(k));
                for i in 0..R {
                    let at = i * Q + j;
                    sums[at / 8][at % 8] = x[i].mul_add(y, sums[at / 8][at % 8]);
                }
            }
        }
        let mut out = [[0.0; 8]; G];
        for g in 0..G {
            out[g] = V::sums(sums[g]);
        }
        let width = Q.min(p.n - j0);
        for i in 0..R.min(p.m - i0) {
            let mut row = [0.0; Q];
            row.copy_from_slice(&out.as_flattened()[i * Q..(i + 1) * Q]);
            // Twice the same, so that the common case is compiled for a constant width.
            if width == Q {
                finish(p, row, Q, i0 + i, j0);
            } else {
                finish(p, row, width, i0 + i, j0);
            }
        }
    }
}

/// Stores C(i, j0..j0 + width) = sums (+ C) (+ bias).
///
/// # Safety
/// The requirements of [`product`] hold, and these elements of C exist.
#[inline(always)]
unsafe fn finish<const Q: usize>(
    p: &Product<'_>,
    mut sums: [f32; Q],
    width: usize,
    i: usize,
    j0: usize,
) {
    // SAFETY: the caller says that these elements of C exist and that nothing else accesses them.
    unsafe {
        let c = p.c.add(i * p.ldc + j0);
        if p.accumulate {
            for j in 0..width {
                sums[j] += *c.add(j);
            }
        }
        if let Some(bias) = p.bias {
            for j in 0..width {
                sums[j] += bias[j0 + j];
            }
        }
        for j in 0..width {
            *c.add(j) = sums[j];
        }
    }
}
