//! Operands rounded to bf16 and paired along k, so that the blocked product runs on them as on matrices half as deep.

use super::blocked::{self, Avx512Bf16};
use super::{Line, Mat, Product};
use crate::backend::cpu::Isa;
use std::arch::x86_64::*;
use std::cell::RefCell;

thread_local! {
    /// The paired operands of this thread's part: grows to those of the largest product and stays.
    static PAIRED: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Computes C = bf16(A) bf16(B) (+ C) (+ bias); products are exact and summed in f32.
///
/// # Safety
/// AVX-512 with AVX512_BF16 is there, and nothing else accesses C meanwhile.
pub unsafe fn product(isa: Isa, p: &Product<'_>) {
    let depth = p.k.div_ceil(2);
    let (a_len, b_len) = (p.m * depth, p.n * depth);
    PAIRED.with_borrow_mut(|lines| {
        let need = a_len.div_ceil(16) + b_len.div_ceil(16);
        crate::memory::at_least(lines, need, Line::ZERO);
        let (a, b) = lines.split_at_mut(a_len.div_ceil(16));
        let (a, b) = (&mut Line::floats(a)[..a_len], &mut Line::floats(b)[..b_len]);
        // SAFETY: the caller says that the instructions are there, and lets nothing else access C; the operands were checked for their shapes.
        unsafe {
            let transposed = Mat {
                rs: p.b.cs,
                cs: p.b.rs,
                ..p.b
            };
            let b = pair(transposed, p.n, p.k, b);
            let paired = Product {
                k: depth,
                a: pair(p.a, p.m, p.k, a),
                b: Mat {
                    rs: b.cs,
                    cs: b.rs,
                    ..b
                },
                ..*p
            };
            blocked::product::<Avx512Bf16>(isa, &paired);
        }
    });
}

/// Writes X (rows, k) as (rows, k / 2) pairs in the same memory order: along rows where k is contiguous, across them where it is not.
///
/// # Safety
/// The instructions are there, X holds its shape, one of its strides is 1, and `out` has a float for each pair.
#[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn pair<'a>(x: Mat<'_>, rows: usize, k: usize, out: &'a mut [f32]) -> Mat<'a> {
    let depth = k.div_ceil(2);
    // SAFETY: the caller says that the instructions are there and that X and `out` are as long as their shape; whole vectors end at k or at rows, and what is left goes one by one.
    unsafe {
        let (from, to) = (x.data.as_ptr(), out.as_mut_ptr());
        if x.cs == 1 {
            for i in 0..rows {
                let (from, to) = (from.add(i * x.rs), to.add(i * depth));
                let mut at = 0;
                while at + 32 <= k {
                    let low = _mm512_loadu_ps(from.add(at));
                    let high = _mm512_loadu_ps(from.add(at + 16));
                    let both = _mm512_cvtne2ps_pbh(high, low);
                    _mm512_storeu_ps(
                        to.add(at / 2),
                        std::mem::transmute::<__m512bh, __m512>(both),
                    );
                    at += 32;
                }
                while at < k {
                    let second = if at + 1 < k { *from.add(at + 1) } else { 0.0 };
                    *to.add(at / 2) = one(*from.add(at), second);
                    at += 2;
                }
            }
            return Mat::rows(out, depth);
        }
        assert!(x.rs == 1, "gemm: one stride of an operand is 1");
        for d in 0..depth {
            let (first, to) = (from.add(2 * d * x.cs), to.add(d * rows));
            // The last of an odd k has no partner.
            let second = (2 * d + 1 < k).then(|| first.add(x.cs));
            let mut at = 0;
            while at + 16 <= rows {
                let low = _mm512_cvtneps_pbh(_mm512_loadu_ps(first.add(at)));
                let high = match second {
                    Some(second) => _mm512_cvtneps_pbh(_mm512_loadu_ps(second.add(at))),
                    None => _mm512_cvtneps_pbh(_mm512_setzero_ps()),
                };
                let wide = |x: __m256bh| {
                    _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(x))
                };
                let both = _mm512_or_si512(wide(low), _mm512_slli_epi32::<16>(wide(high)));
                _mm512_storeu_si512(to.add(at).cast(), both);
                at += 16;
            }
            while at < rows {
                let second = second.map_or(0.0, |second| *second.add(at));
                *to.add(at) = one(*first.add(at), second);
                at += 1;
            }
        }
        Mat::cols(out, rows)
    }
}

/// Packs two numbers into a pair, the first in the lower half. Rounds as the instructions do, which includes denormals to 0.
fn one(first: f32, second: f32) -> f32 {
    let round = |x: f32| {
        if x.is_subnormal() {
            0
        } else {
            crate::bf16::from_f32(x) as u32
        }
    };
    f32::from_bits(round(first) | round(second) << 16)
}
