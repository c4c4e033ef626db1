//! The way from the start to the bulk of the target: ascent of the log posterior by L-BFGS, whose inverse Hessian is the first mass.
//!
//! Directions are those of the limited-memory BFGS (Nocedal & Wright 2006, "Numerical Optimization", algorithm 7.4, two loops); a step is halved, or cut to the
//! minimum of a parabola, until the log posterior grows by a share of what its slope promises (the Armijo condition). A point where the log posterior is not
//! finite is one that is too far. It stops where a draw would lie: g^T H g is at most n at a draw of a normal of n parameters on average, with H the
//! inverse Hessian. The way on to the mode is left to nobody: a density may be infinite there.

use super::MassShape;
use super::affine::{Affine, cholesky};
use crate::error::Result;
use crate::memory;

/// Pairs of steps and changes of the gradient that are kept.
pub(super) const PAIRS: usize = 20;

/// The share of the slope's promise that a step must keep.
const ARMIJO: f64 = 1e-4;

/// Cuts of one step after which there is no better point.
const MOST_CUTS: f64 = 60.0;

/// What messages call these numbers.
const WHAT: &str = "a chain's way to the target's bulk";

/// The ascent: where it is, and where it looks next.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ascent {
    n: usize,
    /// The best point, its gradient, the direction from there and the point that is looked at: (n) each.
    pub at: Vec<f64>,
    pub grad: Vec<f64>,
    pub direction: Vec<f64>,
    pub look: Vec<f64>,
    /// The log posterior at the best point, the step along the direction, and how often it was cut; the first two are NaN before the first gradient.
    pub log_post: f64,
    pub step: f64,
    pub cuts: f64,
    /// Steps and changes of the gradient against the step, (2 n) a pair, oldest first.
    pub pairs: Vec<f64>,
    /// Whether there is no way on.
    pub ended: bool,
}

impl Ascent {
    pub fn new(start: &[f32]) -> Result<Self> {
        let n = start.len();
        let at = memory::collect(start.iter().map(|&x| f64::from(x)), WHAT)?;
        let zeros = || memory::zeros(n, WHAT);
        Ok(Self {
            n,
            look: memory::copy(&at, WHAT)?,
            at,
            grad: zeros()?,
            direction: zeros()?,
            log_post: f64::NAN,
            step: f64::NAN,
            cuts: 0.0,
            pairs: memory::room(2 * n * PAIRS, WHAT)?,
            ended: false,
        })
    }

    /// Takes the gradient and the log posterior where it looked, of which either may be not finite but at the start, and chooses where to look next.
    pub fn take(&mut self, grad: &[f32], log_post: f64) -> Result<()> {
        let finite = log_post.is_finite() && grad.iter().all(|g| g.is_finite());
        if self.log_post.is_nan() {
            self.log_post = log_post;
            self.grad
                .iter_mut()
                .zip(grad)
                .for_each(|(o, &g)| *o = g.into());
            self.set_out();
            return Ok(());
        }
        let slope = dot(&self.grad, &self.direction);
        if finite && log_post >= self.log_post + ARMIJO * self.step * slope {
            self.keep(grad)?;
            self.log_post = log_post;
            self.at.copy_from_slice(&self.look);
            self.grad
                .iter_mut()
                .zip(grad)
                .for_each(|(o, &g)| *o = g.into());
            self.set_out();
            return Ok(());
        }
        // The parabola through value and slope here and the value there.
        let gained = if finite {
            log_post - self.log_post
        } else {
            f64::NEG_INFINITY
        };
        let best = 0.5 * self.step * slope / (slope - gained / self.step);
        self.step = best.clamp(0.1 * self.step, 0.5 * self.step);
        self.cuts += 1.0;
        self.look_ahead();
        self.ended = self.cuts > MOST_CUTS || self.look == self.at;
        Ok(())
    }

    /// Keeps the step that was made and what it changed, where the curvature along it is positive.
    fn keep(&mut self, grad: &[f32]) -> Result<()> {
        let n = self.n;
        let change = |i: usize| self.grad[i] - f64::from(grad[i]);
        let moved = |i: usize| self.look[i] - self.at[i];
        let (mut along, mut squares) = (0.0, 0.0);
        for i in 0..n {
            along += moved(i) * change(i);
            squares += change(i) * change(i);
        }
        let length: f64 = (0..n).map(|i| moved(i) * moved(i)).sum();
        if along <= 1e-10 * (length * squares).sqrt() {
            return Ok(());
        }
        let mut pair = memory::collect((0..n).map(moved), WHAT)?;
        memory::append(&mut pair, &memory::collect((0..n).map(change), WHAT)?, WHAT)?;
        if self.pairs.len() == 2 * n * PAIRS {
            self.pairs.drain(..2 * n);
        }
        self.pairs.extend(pair);
        Ok(())
    }

    /// Sets out from the best point in the direction that the pairs say.
    fn set_out(&mut self) {
        self.direction.copy_from_slice(&self.grad);
        let scale = first_scale(&self.pairs, self.n);
        times_inverse(&self.pairs, self.n, scale, &mut self.direction);
        let slope = dot(&self.grad, &self.direction);
        let whole = self.pairs.len() == 2 * self.n * PAIRS.min(self.n);
        self.ended = slope <= 0.0 || (whole && slope <= self.n as f64);
        // Without a pair nothing is known of the scale: one unit of length.
        self.step = if self.pairs.is_empty() {
            1.0 / slope.sqrt().max(1.0)
        } else {
            1.0
        };
        self.cuts = 0.0;
        self.look_ahead();
    }

    fn look_ahead(&mut self) {
        let step = self.step;
        let each = self.look.iter_mut().zip(&self.at).zip(&self.direction);
        // Parameters are kept as f32.
        each.for_each(|((l, a), d)| *l = f64::from((a + step * d) as f32));
    }

    /// Returns the coordinates about the best point whose mass is the Hessian that the pairs say; unit scale where they say nothing.
    pub fn coordinates(&self, shape: MassShape) -> Result<Affine> {
        let n = self.n;
        let all = inverse(&self.pairs, n, shape)?;
        let step = if shape == MassShape::Dense { n + 1 } else { 1 };
        let root = |v: &f64| v.max(f64::MIN_POSITIVE).sqrt();
        let diagonal = memory::collect(all.iter().step_by(step).map(root), WHAT)?;
        let center = || memory::copy(&self.at, WHAT);
        if shape == MassShape::Diagonal {
            return Affine::new(center()?, diagonal);
        }
        if let Some(l) = cholesky(all, n) {
            return Affine::new(center()?, l);
        }
        // Rounding has left what is no covariance: its diagonal is one.
        let mut l = memory::zeros(n * n, WHAT)?;
        (l.iter_mut().step_by(n + 1).zip(diagonal)).for_each(|(l, d)| *l = d);
        Affine::new(center()?, l)
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// Returns s^T y / y^T y of the last pair, the first inverse Hessian's scale (Nocedal & Wright 2006, eq. 7.20); 1 without one.
fn first_scale(pairs: &[f64], n: usize) -> f64 {
    match pairs.chunks(2 * n).next_back() {
        Some(last) => {
            let (s, y) = last.split_at(n);
            dot(s, y) / dot(y, y)
        }
        None => 1.0,
    }
}

/// Multiplies by the inverse Hessian that pairs make of `scale` times the unit matrix, in place.
fn times_inverse(pairs: &[f64], n: usize, scale: f64, q: &mut [f64]) {
    let mut weights = [0.0; PAIRS];
    for (pair, w) in pairs.chunks(2 * n).zip(&mut weights).rev() {
        let (s, y) = pair.split_at(n);
        *w = dot(s, q) / dot(s, y);
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= *w * y);
    }
    q.iter_mut().for_each(|q| *q *= scale);
    for (pair, w) in pairs.chunks(2 * n).zip(&weights) {
        let (s, y) = pair.split_at(n);
        let left = w - dot(y, q) / dot(s, y);
        q.iter_mut().zip(s).for_each(|(q, s)| *q += left * s);
    }
}

/// Returns that inverse Hessian, (n, n) row by row, or its diagonal (n): with each pair H becomes H - rho (s (H y)^T + H y s^T) + rho (1 + rho y^T H y) s s^T,
/// rho = 1 / s^T y (Nocedal & Wright 2006, eq. 6.17, multiplied out).
fn inverse(pairs: &[f64], n: usize, shape: MassShape) -> Result<Vec<f64>> {
    let scale = first_scale(pairs, n);
    let mut h = memory::zeros(shape.numbers(n), WHAT)?;
    let step = if shape == MassShape::Dense { n + 1 } else { 1 };
    h.iter_mut().step_by(step).for_each(|h| *h = scale);
    for (k, pair) in pairs.chunks(2 * n).enumerate() {
        let (s, y) = pair.split_at(n);
        let mut hy = memory::copy(y, WHAT)?;
        times_inverse(&pairs[..k * 2 * n], n, scale, &mut hy);
        let rho = 1.0 / dot(s, y);
        let own = rho * (1.0 + rho * dot(y, &hy));
        let entry = |i: usize, j: usize| own * s[i] * s[j] - rho * (s[i] * hy[j] + hy[i] * s[j]);
        match shape {
            MassShape::Diagonal => (h.iter_mut().enumerate()).for_each(|(i, h)| *h += entry(i, i)),
            MassShape::Dense => {
                for (i, row) in h.chunks_mut(n).enumerate() {
                    (row.iter_mut().enumerate()).for_each(|(j, h)| *h += entry(i, j));
                }
            }
        }
    }
    Ok(h)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// log_post = -(x - b)' A (x - b) / 2.
    const A: [[f64; 3]; 3] = [[400.0, 30.0, 0.0], [30.0, 9.0, 0.2], [0.0, 0.2, 0.04]];
    const B: [f64; 3] = [5.0, -40.0, 300.0];

    fn at(x: &[f64]) -> ([f32; 3], f64) {
        let d = [x[0] - B[0], x[1] - B[1], x[2] - B[2]];
        let g = A.map(|row| -row.iter().zip(d).map(|(a, d)| a * d).sum::<f64>());
        (
            g.map(|g| g as f32),
            0.5 * d.iter().zip(g).map(|(d, g)| d * g).sum::<f64>(),
        )
    }

    #[test]
    fn it_stops_in_the_bulk_with_the_inverse_hessian() {
        let mut ascent = Ascent::new(&[0.0; 3]).expect("memory");
        let mut gradients = 0;
        while !ascent.ended {
            let (g, log_post) = at(&ascent.look);
            ascent.take(&g, log_post).expect("memory");
            gradients += 1;
            assert!(gradients < 100, "{ascent:?}");
        }
        assert!(at(&ascent.at).1 > -3.0, "{ascent:?}");
        // L^T A L is the unit matrix.
        for shape in [MassShape::Dense, MassShape::Diagonal] {
            let affine = ascent.coordinates(shape).expect("a mass");
            let l = affine.factor().expect("few parameters");
            for i in 0..3 {
                let column = |k: usize| (0..3).map(move |r| (r, k));
                let form = |j: usize, k: usize| -> f64 {
                    let terms =
                        column(j).flat_map(|(r, c)| column(k).map(move |(q, d)| (r, c, q, d)));
                    terms
                        .map(|(r, c, q, d)| l[3 * r + c] * A[r][q] * l[3 * q + d])
                        .sum()
                };
                if shape == MassShape::Dense {
                    assert!((form(i, i) - 1.0).abs() < 0.1, "{i}: {}", form(i, i));
                }
                assert!(form(i, i) > 0.5 && form(i, i) < 3.0, "{i}: {}", form(i, i));
            }
        }
    }

    #[test]
    fn a_point_that_is_not_finite_is_too_far() {
        // log_post = log x - x, whose mode is 1; nothing is there at 0 and below.
        let mut ascent = Ascent::new(&[1e-3]).expect("memory");
        for _ in 0..200 {
            let x = ascent.look[0];
            ascent
                .take(&[(1.0 / x - 1.0) as f32], x.ln() - x)
                .expect("memory");
            if ascent.ended {
                break;
            }
        }
        assert!(
            ascent.ended && ascent.at[0] > 0.2 && ascent.at[0] < 4.0,
            "{ascent:?}"
        );
    }
}
