//! Copying operands into the order in which the inner kernel reads them.

use std::arch::x86_64::*;

/// Packs B(kc, nc) into panels of NR columns: element (k, j) goes to `dst[j / NR * stride + k * NR + j % NR]`.
///
/// Source element (k, j) is `src[k * rs + j * cs]`; one of the two strides is 1. The last panel is filled up with zeros.
///
/// # Safety
/// AVX2 is there, `src` covers (kc, nc) and `dst` covers the panels.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn right<const NR: usize>(
    src: *const f32,
    rs: usize,
    cs: usize,
    kc: usize,
    nc: usize,
    dst: *mut f32,
    stride: usize,
) {
    // SAFETY: every access stays in (kc, nc) of the source and in a panel of the destination.
    unsafe {
        let panels = nc.div_ceil(NR);
        let whole = nc / NR;
        if whole < panels {
            dst.add(whole * stride).write_bytes(0, kc * NR);
        }
        if cs == 1 {
            rows::<NR>(src, rs, kc, nc, dst, stride);
        } else {
            for p in 0..panels {
                let width = NR.min(nc - p * NR);
                columns::<NR>(src.add(p * NR * cs), cs, kc, width, dst.add(p * stride));
            }
        }
    }
}

/// Packs A(mc, kc) with k strided into panels of MR rows: element (i, k) goes to `dst[i / MR * stride + k * MR + i % MR]`.
///
/// Source element (i, k) is `src[k * ld + i]`.
///
/// # Safety
/// The requirements of [`right`] hold.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn left<const MR: usize>(
    src: *const f32,
    ld: usize,
    kc: usize,
    mc: usize,
    dst: *mut f32,
    stride: usize,
) {
    // SAFETY: the requirements are those of `right`, which the caller keeps. The transposed left operand is packed like a right one that is MR wide.
    unsafe { rows::<MR>(src, ld, kc, mc, dst, stride) }
}

/// Packs a row-major source: P floats of each row at a time. It takes a few panels at a time, so that lines are read whole and the lines
/// being written do not evict each other.
///
/// # Safety
/// `src` covers kc rows of `width` floats that lie ld apart, `dst` the panels of P by kc that lie `stride` apart, nothing else accesses `dst`, and the two
/// do not overlap.
#[inline(always)]
unsafe fn rows<const P: usize>(
    src: *const f32,
    ld: usize,
    kc: usize,
    width: usize,
    dst: *mut f32,
    stride: usize,
) {
    const TOGETHER: usize = 8;
    // SAFETY: the pieces are cut at the width and at kc, and the caller's pointers cover as much.
    unsafe {
        for first in (0..width).step_by(TOGETHER * P) {
            let pieces = (width - first).div_ceil(P).min(TOGETHER);
            let last = P.min(width - first - (pieces - 1) * P);
            for k in 0..kc {
                let from = src.add(k * ld + first);
                let to = dst.add(first / P * stride + k * P);
                for q in 0..pieces - 1 {
                    copy::<P>(from.add(q * P), to.add(q * stride));
                }
                let (from, to) = (from.add((pieces - 1) * P), to.add((pieces - 1) * stride));
                if last == P {
                    copy::<P>(from, to);
                } else {
                    for j in 0..last {
                        *to.add(j) = *from.add(j);
                    }
                }
            }
        }
    }
}

/// Copies P floats.
///
/// # Safety
/// Both pointers cover P floats, which do not overlap, and nothing else accesses those at `to`.
#[inline(always)]
unsafe fn copy<const P: usize>(from: *const f32, to: *mut f32) {
    // SAFETY: the caller's pointers cover P floats, of operands and a buffer that do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(from, to, P) }
}

/// Packs one panel of a column-major source: column j is `src[j * ld..][..kc]`. It is transposed in blocks of 8 by 8, along k first: 8
/// columns are few enough to be read as streams, even where they lie a power of two apart.
///
/// # Safety
/// AVX2 is there; `src` covers `width` columns of kc floats that lie ld apart, `dst` NR by kc; nothing else accesses `dst`, and the two do not overlap.
#[inline(always)]
unsafe fn columns<const NR: usize>(
    src: *const f32,
    ld: usize,
    kc: usize,
    width: usize,
    dst: *mut f32,
) {
    /// What is written in a run of k is still in the L1 cache when the next columns go between.
    const RUN: usize = 128;
    // SAFETY: the caller says that AVX2 is there and that `src` and `dst` cover the panel; blocks are cut at kc and at the width.
    unsafe {
        for k0 in (0..kc).step_by(RUN) {
            let end = kc.min(k0 + RUN);
            for j0 in (0..width).step_by(8) {
                let mut k = k0;
                if j0 + 8 <= width {
                    while k + 8 <= end {
                        transpose8(src.add(j0 * ld + k), ld, dst.add(k * NR + j0), NR);
                        k += 8;
                    }
                }
                for k in k..end {
                    for j in j0..width.min(j0 + 8) {
                        *dst.add(k * NR + j) = *src.add(j * ld + k);
                    }
                }
            }
        }
    }
}

/// Writes the transpose of src(8, 8) to dst(8, 8).
///
/// # Safety
/// AVX2 is there; `src` covers 8 rows of 8 floats that lie ld apart, `dst` 8 rows that lie ldd apart, and nothing else accesses `dst`.
#[inline(always)]
unsafe fn transpose8(src: *const f32, ld: usize, dst: *mut f32, ldd: usize) {
    // SAFETY: the caller's pointers cover 8 rows of 8, and it has AVX2.
    unsafe {
        // Column k + 0..4 of rows j and j + 4, side by side: what is left is a transposition of 4 by 4 in each half.
        let pair = |j: usize, k: usize| {
            let low = _mm256_castps128_ps256(_mm_loadu_ps(src.add(j * ld + k)));
            _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(src.add((j + 4) * ld + k)))
        };
        for k in [0, 4] {
            let (r0, r1, r2, r3) = (pair(0, k), pair(1, k), pair(2, k), pair(3, k));
            let (a, b) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
            let (c, d) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
            let to = |i: usize| dst.add((k + i) * ldd);
            _mm256_storeu_ps(to(0), _mm256_shuffle_ps::<0x44>(a, c));
            _mm256_storeu_ps(to(1), _mm256_shuffle_ps::<0xee>(a, c));
            _mm256_storeu_ps(to(2), _mm256_shuffle_ps::<0x44>(b, d));
            _mm256_storeu_ps(to(3), _mm256_shuffle_ps::<0xee>(b, d));
        }
    }
}
