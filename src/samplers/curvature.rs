//! The largest curvature that a chain feels, from gradients alone.
//!
//! With H the Hessian of -log_post at theta and M the diagonal mass: the extreme eigenvalues of M^-1/2 H M^-1/2, which set the largest stable step
//! ([`super::stability::stability_limit`]). Power iteration would find one of them, the larger in size, at the rate of the ratio of the two largest;
//! Lanczos' recurrence (Golub & Van Loan, "Matrix Computations", section 10.1) takes the same products with H and gives the best estimate in
//! all the space that they span, of both ends. It is written in u = M^-1/2 v and p = M u, so that no root of the mass is needed:
//!
//! ```text
//! w = H u;  alpha = u w;  w -= alpha p + beta p_old;  beta = (w M^-1 w)^1/2;  p_old, p, u = p, w / beta, M^-1 w / beta
//! ```
//!
//! The tridiagonal matrix of the alphas and betas has the estimates (Ritz values) as eigenvalues. H u is a central difference of gradients along
//! u; its length is a compromise between the third derivative (error of second order in it) and the rounding of the gradient. It is 1e-4 of theta's
//! length, which operands rounded to bf16 would not see: [`Chain::curvature`](super::Chain::curvature) has f32 products whatever the device's precision.
//!
//! **What it is an estimate of.** The gradient that is given. On a batch of B of N data it is the curvature of N / B times that batch's log
//! likelihood: on average over batches the largest eigenvalue is *above* that of all data (the largest eigenvalue is a convex function), the
//! more so the fewer data a batch has; and the Ritz value is below the operator's by what the iterations have left. Neither bound is sharp, so
//! the step that it allows is a scale, not a proof. It is also what one step of a chain on such batches feels.

use crate::backend::vectors::{Combine, Random, Reduce, Vectors};
use crate::error::{Error, Result};
use crate::rng::Stream;
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

/// How long a displacement is, as a share of theta's own Euclidean length.
const DISPLACEMENT: f64 = 1e-4;

/// Extreme eigenvalues of the curvature relative to the mass.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExtremeEigenvalues {
    /// The largest eigenvalue found of M^-1/2 H M^-1/2; but for the differences' error not above the true one.
    pub largest: f64,
    /// Norm of what its unit vector v is off an eigenvector, |A v - largest v|: some eigenvalue lies no further away.
    pub residual: f64,
    /// The smallest found; below 0 where log_post is not concave.
    pub smallest: f64,
    /// Products with H, of two gradients each.
    pub products: u64,
}

/// Estimates the extreme eigenvalues at `theta` from at most `products` products with H; `stream` draws the direction that it starts from.
///
/// `add_gradient(point, a, out)` adds a times the gradient of log_post at `point` to `out`; it must be the same function at every call (the same
/// batches). Allocates five vectors.
///
/// # Errors
/// [`Error::OutOfRange`] when `products` is 0 or the curvature comes out NaN or infinite, and what `add_gradient` returns.
pub fn extreme_curvature<V: Vectors>(
    vectors: &V,
    theta: &V::Vector,
    mass: Option<&V::Vector>,
    products: u64,
    stream: Stream,
    mut add_gradient: impl FnMut(&V::Vector, f32, &mut V::Vector) -> Result<()>,
) -> Result<ExtremeEigenvalues> {
    if products == 0 {
        return Err(Error::out_of_range("curvature_iterations", "at least 1", 0));
    }
    let n = vectors.len(theta);
    let over_mass =
        |x: &mut V::Vector| mass.map_or(Ok(()), |m| vectors.combine(x, Combine::Divide(m)));
    let length = DISPLACEMENT * vectors.reduce(Reduce::Dot(theta, theta))?.sqrt();
    let length = if length > 0.0 { length } else { DISPLACEMENT };
    let (mut u, mut p, mut p_old) = (vectors.zeros(n)?, vectors.zeros(n)?, vectors.zeros(n)?);
    let (mut w, mut point) = (vectors.zeros(n)?, vectors.zeros(n)?);

    vectors.random(&mut p, Random::Normal, stream, 0)?;
    vectors.combine(&mut u, Combine::Copy(&p))?;
    over_mass(&mut u)?;
    let first = vectors.reduce(Reduce::Dot(&p, &u))?.sqrt();
    vectors.combine(&mut p, Combine::Scale((1.0 / first) as f32))?;
    vectors.combine(&mut u, Combine::Scale((1.0 / first) as f32))?;

    let (mut alphas, mut betas) = (Vec::new(), Vec::<f64>::new());
    while (alphas.len() as u64) < products {
        let h = (length / vectors.reduce(Reduce::Dot(&u, &u))?.sqrt()) as f32;
        vectors.combine(&mut w, Combine::Fill(0.0))?;
        for side in [h, -h] {
            vectors.combine(&mut point, Combine::Copy(theta))?;
            vectors.combine(&mut point, Combine::Axpy(side, &u))?;
            // H is minus the derivative of log_post's gradient.
            add_gradient(&point, -0.5 / side, &mut w)?;
        }
        let alpha = vectors.reduce(Reduce::Dot(&u, &w))?;
        vectors.combine(&mut w, Combine::Axpy(-alpha as f32, &p))?;
        if let Some(&beta) = betas.last() {
            vectors.combine(&mut w, Combine::Axpy(-beta as f32, &p_old))?;
        }
        vectors.combine(&mut point, Combine::Copy(&w))?;
        over_mass(&mut point)?;
        let beta = vectors.reduce(Reduce::Dot(&w, &point))?.max(0.0).sqrt();
        if !(alpha.is_finite() && beta.is_finite()) {
            let got = format!("{alpha} and {beta} at product {}", alphas.len());
            return Err(Error::out_of_range("curvature", "finite numbers", got));
        }
        alphas.push(alpha);
        betas.push(beta);
        // The space is closed: it holds its eigenvectors. What is left is rounding.
        if alphas.len() >= n || beta <= 1e-6 * alpha.abs() {
            break;
        }
        vectors.combine(&mut w, Combine::Scale((1.0 / beta) as f32))?;
        vectors.combine(&mut point, Combine::Scale((1.0 / beta) as f32))?;
        std::mem::swap(&mut p_old, &mut p);
        std::mem::swap(&mut p, &mut w);
        std::mem::swap(&mut u, &mut point);
    }
    let pairs = ritz(&alphas, &betas);
    let ((smallest, _), (largest, last)) = (pairs[0], pairs[pairs.len() - 1]);
    Ok(ExtremeEigenvalues {
        largest,
        residual: betas[betas.len() - 1] * last.abs(),
        smallest,
        products: alphas.len() as u64,
    })
}

/// Returns the eigenvalues of the symmetric tridiagonal matrix with diagonal `a` and off-diagonals `b` (its last is not used), each with the last element of
/// its unit eigenvector, in rising order.
fn ritz(a: &[f64], b: &[f64]) -> Vec<(f64, f64)> {
    let n = a.len();
    let matrix = DMatrix::from_fn(n, n, |i, j| match i.abs_diff(j) {
        0 => a[i],
        1 => b[i.min(j)],
        _ => 0.0,
    });
    let eigen = matrix.symmetric_eigen();
    let last = eigen.eigenvectors.row(n - 1);
    let mut pairs: Vec<_> = eigen
        .eigenvalues
        .iter()
        .copied()
        .zip(last.iter().copied())
        .collect();
    pairs.sort_by(|x, y| x.0.total_cmp(&y.0));
    pairs
}
