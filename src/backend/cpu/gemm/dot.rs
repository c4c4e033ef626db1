//! A few rows times a transposed row-major matrix: dot products that read the matrix once, where it lies.

use super::Product;
use super::vector::Vector;
use crate::backend::cpu::Isa;
use crate::backend::cpu::isa::Level;

/// Rows of A up to which this is used.
pub const MAX_ROWS: usize = 8;

/// C = A B (+ C) (+ bias) where k is contiguous in A and in B.
///
/// Every element is one sum of vectors over k and then over lanes, whatever block it lies in.
///
/// # Safety
/// Nothing else accesses C meanwhile; `p.a.cs == 1` and `p.b.rs == 1`.
pub unsafe fn product(isa: Isa, p: &Product<'_>) {
    // SAFETY: an `Isa` of a level is made only after its features were detected.
    unsafe {
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512(p),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2(p),
            _ => rows::<[f32; 8]>(p),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn avx512(p: &Product<'_>) {
    // SAFETY: the caller's promise.
    unsafe { rows::<std::arch::x86_64::__m512>(p) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(p: &Product<'_>) {
    // SAFETY: the caller's promise.
    unsafe { rows::<std::arch::x86_64::__m256>(p) }
}

/// Blocks of 8 elements: as many columns as leave room for the rows, and the rows over a block's columns in turn.
#[inline(always)]
unsafe fn rows<V: Vector>(p: &Product<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match p.m {
            1 => columns::<V, 1, 8>(p),
            2 => columns::<V, 2, 4>(p),
            _ => columns::<V, 4, 2>(p),
        }
    }
}

#[inline(always)]
unsafe fn columns<V: Vector, const R: usize, const Q: usize>(p: &Product<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        for j in (0..p.n).step_by(Q) {
            for i in (0..p.m).step_by(R) {
                block::<V, R, Q>(p, i, j);
            }
        }
    }
}

/// R rows by Q columns, R * Q = 8. Rows and columns that are not there repeat the last and are not stored.
#[inline(always)]
unsafe fn block<V: Vector, const R: usize, const Q: usize>(p: &Product<'_>, i0: usize, j0: usize) {
    // SAFETY: indices are cut at m, n and k, for which the operands were checked.
    unsafe {
        let a: [*const f32; R] =
            std::array::from_fn(|i| p.a.data.as_ptr().add((i0 + i).min(p.m - 1) * p.a.rs));
        let b: [*const f32; Q] =
            std::array::from_fn(|j| p.b.data.as_ptr().add((j0 + j).min(p.n - 1) * p.b.cs));
        let mut sums = [V::zero(); 8];
        let mut k = 0;
        while k + V::LANES <= p.k {
            let x: [V; R] = std::array::from_fn(|i| V::load(a[i].add(k)));
            for j in 0..Q {
                let y = V::load(b[j].add(k));
                for i in 0..R {
                    sums[i * Q + j] = x[i].mul_add(y, sums[i * Q + j]);
                }
            }
            k += V::LANES;
        }
        if k < p.k {
            let left = p.k - k;
            let x: [V; R] = std::array::from_fn(|i| V::load_first(left, a[i].add(k)));
            for j in 0..Q {
                let y = V::load_first(left, b[j].add(k));
                for i in 0..R {
                    sums[i * Q + j] = x[i].mul_add(y, sums[i * Q + j]);
                }
            }
        }
        let sums = V::sums(sums);
        for i in 0..R.min(p.m - i0) {
            let row = p.c.add((i0 + i) * p.ldc);
            for j in 0..Q.min(p.n - j0) {
                let mut x = sums[i * Q + j];
                if p.accumulate {
                    x += *row.add(j0 + j);
                }
                if let Some(bias) = p.bias {
                    x += bias[j0 + j];
                }
                *row.add(j0 + j) = x;
            }
        }
    }
}
