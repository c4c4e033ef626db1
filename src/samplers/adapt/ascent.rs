//! The way from the start to the bulk of the target: ascent of the log posterior by L-BFGS, whose inverse Hessian is the first mass.
//!
//! Directions are those of the limited-memory BFGS (Nocedal & Wright 2006, "Numerical Optimization", algorithm 7.4, two loops). Where the pairs say nothing, the
//! inverse Hessian is the largest s^T s / s^T y of theirs, that of the flattest direction met so far: scales 10^6 apart are found in some forty gradients, where the
//! usual small start leaves flat directions at rest. A step is cut, to the top of a parabola, until the log posterior grows by a share of what its slope promises (the
//! Armijo condition), and lengthened while the slope hardly falls. A point where the log posterior is not finite is one that is too far. The ascent ends
//! when a few lines for each parameter have gained next to nothing, less than T / 2 each: what is left to gain is less than draws differ by.
//!
//! A density may be infinite at its mode: the window's end ends the way there, and the chain finds the way back to the bulk.

use super::MassShape;
use super::affine::{Affine, cholesky};
use crate::error::Result;
use crate::memory;

/// Pairs of steps and changes of the gradient that are kept.
pub(super) const PAIRS: usize = 20;

/// The share of the slope's promise that a step must keep.
const ARMIJO: f64 = 1e-4;

/// The share of the slope at which a line has not been followed far enough.
const FLAT: f64 = 0.9;

/// Cuts of one step after which there is no better point.
const MOST_CUTS: f64 = 60.0;

/// Lines for each parameter that must have gained little, and the most parameters that count.
const LINES: usize = 4;
const MOST_COUNTED: usize = 10;

/// Of T: what a line gains at least that has gained something, and the least s^T y of a pair that rounding leaves alone.
const GAIN: f64 = 0.5;
const LEAST_PAIR: f64 = 1e-4;

/// How often the pairs are dropped where there is no way on.
const MOST_RESTARTS: f64 = 2.0;

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
    /// The log posterior where the line began, lines in a row that gained little, and how often the pairs were dropped.
    pub line: f64,
    pub idle: f64,
    pub restarts: f64,
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
            line: 0.0,
            idle: 0.0,
            restarts: 0.0,
            pairs: memory::room(2 * n * PAIRS, WHAT)?,
            ended: false,
        })
    }

    /// Takes the gradient and the log posterior where it looked, of which either may be not finite but at the start, and chooses where to look next.
    pub fn take(&mut self, grad: &[f32], log_post: f64, temperature: f64) -> Result<()> {
        if self.log_post.is_nan() {
            self.arrive(grad, log_post);
            self.set_out();
            return Ok(());
        }
        let finite = log_post.is_finite() && grad.iter().all(|g| g.is_finite());
        let slope = dot(&self.grad, &self.direction);
        if !finite || log_post < self.log_post + ARMIJO * self.step * slope {
            self.cut(slope, if finite { log_post } else { f64::NEG_INFINITY });
            return Ok(());
        }
        let then = grad
            .iter()
            .zip(&self.direction)
            .map(|(&g, d)| f64::from(g) * d)
            .sum::<f64>();
        if then > FLAT * slope && self.cuts == 0.0 {
            self.arrive(grad, log_post);
            let zero = if slope > then {
                then / (slope - then)
            } else {
                f64::INFINITY
            };
            self.step *= zero.clamp(2.0, 100.0);
            self.look_ahead();
            return Ok(());
        }
        self.keep(grad, temperature)?;
        self.arrive(grad, log_post);
        let little = log_post - self.line < GAIN * temperature;
        self.idle = if little { self.idle + 1.0 } else { 0.0 };
        self.set_out();
        self.ended |= self.idle >= (LINES * self.n.min(MOST_COUNTED)) as f64;
        Ok(())
    }

    /// Makes the point that was looked at the best one.
    fn arrive(&mut self, grad: &[f32], log_post: f64) {
        self.log_post = log_post;
        self.at.copy_from_slice(&self.look);
        self.grad
            .iter_mut()
            .zip(grad)
            .for_each(|(o, &g)| *o = g.into());
    }

    /// Looks nearer, at the top of the parabola through value and slope here and the value there.
    fn cut(&mut self, slope: f64, log_post: f64) {
        let gained = log_post - self.log_post;
        let top = 0.5 * self.step * slope / (slope - gained / self.step);
        self.step = top.clamp(0.1 * self.step, 0.5 * self.step);
        self.cuts += 1.0;
        self.look_ahead();
        if self.cuts > MOST_CUTS || self.look == self.at {
            self.restart();
        }
    }

    /// Drops what the pairs say, which has led nowhere; too often, and the way ends.
    fn restart(&mut self) {
        self.restarts += 1.0;
        if self.restarts > MOST_RESTARTS || self.idle > 0.0 {
            self.ended = true;
            return;
        }
        self.pairs.clear();
        self.set_out();
    }

    /// Keeps the step that was made and what it changed, where the curvature along it is positive and not rounding's.
    fn keep(&mut self, grad: &[f32], temperature: f64) -> Result<()> {
        let n = self.n;
        let change = |i: usize| self.grad[i] - f64::from(grad[i]);
        let moved = |i: usize| self.look[i] - self.at[i];
        let sums = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>();
        let along = sums(&|i| moved(i) * change(i));
        let (length, squares) = (sums(&|i| moved(i).powi(2)), sums(&|i| change(i).powi(2)));
        if along <= 1e-10 * (length * squares).sqrt() || along < LEAST_PAIR * temperature {
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
        self.ended = !(slope > 0.0 && slope.is_finite());
        // Without a pair nothing is known of the scale: one unit of length at most.
        let unit = 1.0 / slope.sqrt().max(1.0);
        self.step = if self.pairs.is_empty() { unit } else { 1.0 };
        (self.cuts, self.line) = (0.0, self.log_post);
        self.look_ahead();
    }

    /// Chooses the next point; along a new line one that differs from the best, as parameters are kept as f32.
    fn look_ahead(&mut self) {
        loop {
            let step = self.step;
            let each = self.look.iter_mut().zip(&self.at).zip(&self.direction);
            each.for_each(|((l, a), d)| *l = f64::from((a + step * d) as f32));
            if self.ended || self.cuts > 0.0 || self.look != self.at || self.step > 1e30 {
                return;
            }
            self.step *= 100.0;
        }
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

/// Returns the largest s^T s / s^T y of the pairs, the inverse Hessian where they say nothing; 1 without one.
fn first_scale(pairs: &[f64], n: usize) -> f64 {
    let each = pairs.chunks(2 * n).map(|pair| {
        let (s, y) = pair.split_at(n);
        dot(s, s) / dot(s, y)
    });
    each.reduce(f64::max).unwrap_or(1.0)
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
            ascent.take(&g, log_post, 1.0).expect("memory");
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
                .take(&[(1.0 / x - 1.0) as f32], x.ln() - x, 1.0)
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
