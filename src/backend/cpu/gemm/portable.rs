//! The product for machines without AVX2, by the crate matrixmultiply, which allocates its packing buffers in each call.

use super::Product;

/// Computes C = A B (+ C) (+ bias).
///
/// Its sums over k are cut at fixed places and its incomplete tiles add in the same order as whole ones.
///
/// # Safety
/// Nothing else accesses C meanwhile.
pub unsafe fn product(p: &Product<'_>) {
    // SAFETY: the shapes were checked when the product was made, and the caller lets nothing else access C meanwhile.
    unsafe {
        matrixmultiply::sgemm(
            p.m,
            p.k,
            p.n,
            1.0,
            p.a.data.as_ptr(),
            p.a.rs as isize,
            p.a.cs as isize,
            p.b.data.as_ptr(),
            p.b.rs as isize,
            p.b.cs as isize,
            if p.accumulate { 1.0 } else { 0.0 },
            p.c,
            p.ldc as isize,
            1,
        );
        if let Some(bias) = p.bias {
            for i in 0..p.m {
                for (j, b) in bias.iter().enumerate() {
                    *p.c.add(i * p.ldc + j) += b;
                }
            }
        }
    }
}
