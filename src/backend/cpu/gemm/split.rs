//! Packing f32 into tiles of bf16, rounded, or split into an upper and a lower bf16 whose sum has 16 significant bits.
//!
//! A tile has 16 places (rows of A, or columns of B) by 16 pairs along k. A left operand wants a row for each place, a right one a row for
//! each pair. Where k is contiguous the source gives whole rows of pairs, where it is strided whole rows of places: what does not fit is
//! transposed as 16 x 16 words.

use super::Mat;
use super::tiles::{SIDE, STEP};
use std::arch::x86_64::*;
use std::ops::Range;

/// An operand: element (x, k) is `data[x * xs + k * ks]`.
pub struct Side<'a> {
    data: &'a [f32],
    xs: usize,
    ks: usize,
    /// Length of k; the tiles are padded with zeros.
    k: usize,
    left: bool,
}

impl<'a> Side<'a> {
    /// Views A with the given rows and `k` columns.
    pub fn left(a: Mat<'a>, k: usize) -> Self {
        Self {
            data: a.data,
            xs: a.rs,
            ks: a.cs,
            k,
            left: true,
        }
    }

    /// Views B with `k` rows and the given columns.
    pub fn right(b: Mat<'a>, k: usize) -> Self {
        Self {
            data: b.data,
            xs: b.cs,
            ks: b.rs,
            k,
            left: false,
        }
    }
}

/// Panels of 32 `places` by the `steps`: panel q's step s at `(q * stride + s - steps.start)` times a step's bytes, as two tiles of 1 KiB, the
/// upper halves; with `SPLIT` two of lower halves follow.
///
/// # Safety
/// AVX-512 with AVX512_BF16 is there; one stride of the operand is 1, and its slice holds its shape; `to` has room for the panels.
#[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub unsafe fn pack<const SPLIT: bool>(
    side: &Side<'_>,
    places: Range<usize>,
    steps: Range<usize>,
    stride: usize,
    to: *mut u8,
) {
    let bytes = if SPLIT { 4096 } else { 2048 };
    let panels = places.len().div_ceil(SIDE);
    let step = |q: usize, s: usize| {
        let at = to.wrapping_add((q * stride + s - steps.start) * bytes);
        for half in 0..2 {
            let x = places.start + q * SIDE + half * 16;
            let x = x.min(places.end)..places.end.min(x + 16);
            // SAFETY: the caller has the instructions and room for the panels; the places are cut at the operand's end.
            unsafe {
                match side.ks {
                    1 => tile::<SPLIT, true>(side, x, s * STEP, at.wrapping_add(half * 1024)),
                    _ => tile::<SPLIT, false>(side, x, s * STEP, at.wrapping_add(half * 1024)),
                }
            }
        }
    };
    // The source is walked along its contiguous axis.
    match side.ks {
        1 => (0..panels).for_each(|q| steps.clone().for_each(|s| step(q, s))),
        _ => (steps.clone()).for_each(|s| (0..panels).for_each(|q| step(q, s))),
    }
}

/// Packs one tile of at most 16 places and 32 steps of k from `k` on into `to`, and its lower halves 2 KiB behind.
///
/// # Safety
/// The requirements of [`pack`] hold; the places lie in the operand.
#[inline]
#[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn tile<const SPLIT: bool, const CONTIGUOUS: bool>(
    side: &Side<'_>,
    places: Range<usize>,
    k: usize,
    to: *mut u8,
) {
    let depth = side.k.saturating_sub(k).min(STEP);
    let from = side.data.as_ptr();
    let (upper, lower) = (
        to.cast::<__m512i>(),
        to.wrapping_add(2048).cast::<__m512i>(),
    );
    for row in 0..16 {
        // Both vectors of a row: 32 of k of one place, or 16 places of two that follow each other along k.
        let ((first, m), (second, n)) = if CONTIGUOUS {
            let there = row < places.len();
            let from = from.wrapping_add((places.start + row) * side.xs + k);
            let mask = |at: usize| mask(depth.saturating_sub(at) * there as usize);
            ((from, mask(0)), (from.wrapping_add(16), mask(16)))
        } else {
            let from = from.wrapping_add((k + 2 * row) * side.ks + places.start);
            let mask = |at: usize| mask(places.len() * (2 * row + at < depth) as usize);
            ((from, mask(0)), (from.wrapping_add(side.ks), mask(1)))
        };
        // SAFETY: the masks leave what the operand has, and the tiles lie in the caller's room.
        unsafe {
            let (x, y) = (
                _mm512_maskz_loadu_ps(m, first),
                _mm512_maskz_loadu_ps(n, second),
            );
            if SPLIT {
                let (high, up) = (upper_half(x), upper_half(y));
                _mm512_store_si512(upper.add(row), pairs::<CONTIGUOUS>(high, up));
                let (x, y) = (_mm512_sub_ps(x, high), _mm512_sub_ps(y, up));
                _mm512_store_si512(lower.add(row), pairs::<CONTIGUOUS>(x, y));
            } else {
                _mm512_store_si512(upper.add(row), pairs::<CONTIGUOUS>(x, y));
            }
        }
    }
    if CONTIGUOUS != side.left {
        // SAFETY: the tiles that were just written.
        unsafe {
            transpose(upper);
            if SPLIT {
                transpose(lower);
            }
        }
    }
}

/// Returns a mask with a bit for each of the first n of 16 lanes.
fn mask(n: usize) -> __mmask16 {
    ((1u32 << n.min(16)) - 1) as u16
}

/// Returns the nearest bf16, ties away from 0, as f32: the remainder of x is exact. From 2^128 - 2^119 on it is infinite; the remainder is
/// then an infinity of the other sign, or NaN for an infinite x, so the product is not finite. A NaN may lose its bits here, but its
/// remainder is NaN.
#[inline]
#[target_feature(enable = "avx512f")]
fn upper_half(x: __m512) -> __m512 {
    let nearest = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
    _mm512_castsi512_ps(_mm512_and_si512(nearest, _mm512_set1_epi32(-0x1_0000)))
}

/// Converts two vectors to bf16: one after the other, or interleaved lane by lane where they come from two rows.
#[inline]
#[target_feature(enable = "avx512bf16,avx512f,avx512bw")]
fn pairs<const CONTIGUOUS: bool>(first: __m512, second: __m512) -> __m512i {
    // SAFETY: both are 512 bits without rules.
    let both: __m512i = unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(second, first)) };
    if CONTIGUOUS {
        return both;
    }
    let mut side_by_side = [0i16; 32];
    let mut i = 0;
    while i < 16 {
        (side_by_side[2 * i], side_by_side[2 * i + 1]) = (i as i16, 16 + i as i16);
        i += 1;
    }
    // SAFETY: 32 numbers of 16 bits.
    let order = unsafe { _mm512_loadu_si512(side_by_side.as_ptr().cast()) };
    _mm512_permutexvar_epi16(order, both)
}

/// Transposes 16 x 16 words in place by two 4 x 4 transpositions: of words within each quarter of a row, then of the quarters.
///
/// # Safety
/// AVX-512 is there, and `tile` has 16 aligned vectors.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn transpose(tile: *mut __m512i) {
    // SAFETY: the caller has AVX-512, and `tile` has 16 aligned vectors.
    unsafe {
        // quads[g][j]: of the four rows 4 g + 0..4, column j of each quarter of the row, as four words in that quarter.
        let mut quads = [[_mm512_setzero_si512(); 4]; 4];
        for (g, quad) in quads.iter_mut().enumerate() {
            let row = |i: usize| _mm512_load_si512(tile.add(4 * g + i));
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let (low, up) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
            quad[0] = _mm512_unpacklo_epi64(low, up);
            quad[1] = _mm512_unpackhi_epi64(low, up);
            let (low, up) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
            quad[2] = _mm512_unpacklo_epi64(low, up);
            quad[3] = _mm512_unpackhi_epi64(low, up);
        }
        for j in 0..4 {
            let [a, b, c, d] = quads.map(|quad| quad[j]);
            // Quarters 0 and 2, or 1 and 3, of two groups of rows.
            let even = (
                _mm512_shuffle_i32x4::<0x88>(a, b),
                _mm512_shuffle_i32x4::<0x88>(c, d),
            );
            let odd = (
                _mm512_shuffle_i32x4::<0xdd>(a, b),
                _mm512_shuffle_i32x4::<0xdd>(c, d),
            );
            _mm512_store_si512(tile.add(j), _mm512_shuffle_i32x4::<0x88>(even.0, even.1));
            _mm512_store_si512(tile.add(j + 4), _mm512_shuffle_i32x4::<0x88>(odd.0, odd.1));
            _mm512_store_si512(
                tile.add(j + 8),
                _mm512_shuffle_i32x4::<0xdd>(even.0, even.1),
            );
            _mm512_store_si512(tile.add(j + 12), _mm512_shuffle_i32x4::<0xdd>(odd.0, odd.1));
        }
    }
}
