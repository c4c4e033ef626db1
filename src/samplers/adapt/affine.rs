//! The coordinates of a mass: theta = center + L z, so that a chain with unit mass in z has the mass (L L^T)^-1 in theta.
//!
//! With p the momenta of z, those of theta are L^-T p and have the kinetic energy p^T p / 2: it is the same chain, whose scheme and kernels know
//! nothing of a mass. The gradient in z is L^T grad. Numbers are f64 here; z and theta are the chain's f32.

use super::MassShape;
use crate::error::{Error, Result};
use crate::memory;

/// What messages call these numbers.
const WHAT: &str = "a mass";

/// theta = center + L z.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    center: Vec<f64>, // (n)
    scale: Scale,
}

/// L.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scale {
    /// A diagonal, (n).
    Diagonal(Vec<f64>),
    /// Lower triangular, (n, n), row by row.
    Dense(Vec<f64>),
}

impl Scale {
    /// Returns the numbers, (n) or (n, n).
    pub fn numbers(&self) -> &[f64] {
        match self {
            Self::Diagonal(s) | Self::Dense(s) => s,
        }
    }

    /// Multiplies by x from the right: L x, in place.
    fn times(&self, x: &mut [f64]) {
        match self {
            Self::Diagonal(s) => x.iter_mut().zip(s).for_each(|(x, s)| *x *= s),
            Self::Dense(l) => {
                let n = x.len();
                for i in (0..n).rev() {
                    let row = &l[i * n..=i * n + i];
                    x[i] = row.iter().zip(&*x).map(|(l, x)| l * x).sum();
                }
            }
        }
    }

    /// Multiplies the transpose by x: L^T x, in place.
    pub fn transpose_times(&self, x: &mut [f64]) {
        match self {
            Self::Diagonal(_) => self.times(x),
            Self::Dense(l) => {
                let n = x.len();
                for i in 0..n {
                    let own = std::mem::take(&mut x[i]);
                    let row = &l[i * n..=i * n + i];
                    x.iter_mut().zip(row).for_each(|(x, l)| *x += l * own);
                }
            }
        }
    }

    /// Solves L y = x in place.
    pub fn solve(&self, x: &mut [f64]) {
        match self {
            Self::Diagonal(s) => x.iter_mut().zip(s).for_each(|(x, s)| *x /= s),
            Self::Dense(l) => {
                let n = x.len();
                for i in 0..n {
                    let row = &l[i * n..i * n + i];
                    let sum: f64 = row.iter().zip(&*x).map(|(l, x)| l * x).sum();
                    x[i] = (x[i] - sum) / l[i * n + i];
                }
            }
        }
    }

    /// Solves L^T y = x in place.
    fn solve_transpose(&self, x: &mut [f64]) {
        match self {
            Self::Diagonal(_) => self.solve(x),
            Self::Dense(l) => {
                let n = x.len();
                for i in (0..n).rev() {
                    x[i] /= l[i * n + i];
                    let own = x[i];
                    let row = &l[i * n..i * n + i];
                    x.iter_mut().zip(row).for_each(|(x, l)| *x -= l * own);
                }
            }
        }
    }
}

impl Affine {
    /// Returns theta = center + z.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a dense mass of more than [`MassShape::MOST`] parameters, and where memory is short.
    pub fn identity(center: &[f32], shape: MassShape) -> Result<Self> {
        let n = center.len();
        let scale = match shape {
            MassShape::Dense if n > 1 => {
                MassShape::check_dense(n)?;
                let mut l = memory::zeros(n * n, WHAT)?;
                l.iter_mut().step_by(n + 1).for_each(|l| *l = 1.0);
                Scale::Dense(l)
            }
            // One parameter has no correlations.
            _ => Scale::Diagonal(memory::filled(n, 1.0, WHAT)?),
        };
        let center = memory::collect(center.iter().map(|&c| c.into()), WHAT)?;
        Ok(Self { center, scale })
    }

    /// Returns theta = center + L z from the numbers of L, (n) of a diagonal or (n, n) row by row of a lower triangle.
    ///
    /// # Errors
    /// [`Error::Shape`] for another length, [`Error::OutOfRange`] for a number that is not finite, a diagonal that is not above 0, a number above
    /// the diagonal, and a dense mass of more than [`MassShape::MOST`] parameters.
    pub fn new(center: Vec<f64>, numbers: Vec<f64>) -> Result<Self> {
        let n = center.len();
        let dense = numbers.len() != n;
        if dense {
            MassShape::check_dense(n)?;
            if numbers.len() != n * n {
                return Err(Error::shape("mass factor", [n, n], [numbers.len()]));
            }
        }
        if let Some(i) = center.iter().position(|c| !c.is_finite()) {
            let what = format!("center[{i}]");
            return Err(Error::out_of_range(what, "a finite number", center[i]));
        }
        let width = if dense { n } else { 1 };
        for (at, &v) in numbers.iter().enumerate() {
            let (row, column) = if dense {
                (at / width, at % width)
            } else {
                (at, at)
            };
            let ok = match column.cmp(&row) {
                std::cmp::Ordering::Less => v.is_finite(),
                std::cmp::Ordering::Equal => v.is_normal() && v > 0.0 && (1.0 / v).is_normal(),
                std::cmp::Ordering::Greater => v == 0.0,
            };
            if !ok {
                let what = format!("mass factor[{row}, {column}]");
                let expected = "lower triangular and finite, with a positive diagonal";
                return Err(Error::out_of_range(what, expected, v));
            }
        }
        let scale = match dense {
            true => Scale::Dense(numbers),
            false => Scale::Diagonal(numbers),
        };
        Ok(Self { center, scale })
    }

    /// Returns the center, (n), and the numbers of L, which [`Affine::new`] takes.
    pub fn numbers(&self) -> (&[f64], &[f64]) {
        (&self.center, self.scale.numbers())
    }

    /// Returns whether L is dense.
    pub fn is_dense(&self) -> bool {
        matches!(self.scale, Scale::Dense(_))
    }

    /// Writes theta = center + L z; `room` is (n).
    pub fn place(&self, z: &[f32], theta: &mut [f32], room: &mut [f64]) {
        room.iter_mut().zip(z).for_each(|(r, &z)| *r = z.into());
        self.scale.times(room);
        let each = theta.iter_mut().zip(&*room).zip(&self.center);
        each.for_each(|((t, r), c)| *t = (c + r) as f32);
    }

    /// Writes the gradient in z, L^T grad; `room` is (n).
    pub fn pull(&self, grad: &[f32], out: &mut [f32], room: &mut [f64]) {
        room.iter_mut().zip(grad).for_each(|(r, &g)| *r = g.into());
        self.scale.transpose_times(room);
        out.iter_mut().zip(&*room).for_each(|(o, &r)| *o = r as f32);
    }

    /// Returns z = L^-1 (theta - center).
    ///
    /// # Errors
    /// When memory is short.
    pub fn coordinates(&self, theta: &[f64]) -> Result<Vec<f64>> {
        let mut z = memory::collect(theta.iter().zip(&self.center).map(|(t, c)| t - c), WHAT)?;
        self.scale.solve(&mut z);
        Ok(z)
    }

    /// Returns theta in f64.
    ///
    /// # Errors
    /// When memory is short.
    pub fn theta(&self, z: &[f64]) -> Result<Vec<f64>> {
        let mut theta = memory::copy(z, WHAT)?;
        self.scale.times(&mut theta);
        theta
            .iter_mut()
            .zip(&self.center)
            .for_each(|(t, c)| *t += c);
        Ok(theta)
    }

    /// Turns the momenta of z into those of theta: L^-T p, in place.
    pub fn momenta(&self, p: &mut [f64]) {
        self.scale.solve_transpose(p);
    }

    /// Returns 1 / (L L^T)_ii, (n): a diagonal mass, or the mass that a parameter has on its own.
    ///
    /// # Errors
    /// When memory is short.
    pub fn mass(&self) -> Result<Vec<f32>> {
        let n = self.center.len();
        let variance = |i: usize| match &self.scale {
            Scale::Diagonal(s) => s[i] * s[i],
            Scale::Dense(l) => l[i * n..=i * n + i].iter().map(|l| l * l).sum(),
        };
        memory::collect((0..n).map(|i| (1.0 / variance(i)) as f32), WHAT)
    }

    /// Returns L as a lower triangle, (n, n), row by row.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for more than [`MassShape::MOST`] parameters, and where memory is short.
    pub fn factor(&self) -> Result<Vec<f64>> {
        let n = self.center.len();
        MassShape::check_dense(n)?;
        match &self.scale {
            Scale::Dense(l) => memory::copy(l, WHAT),
            Scale::Diagonal(s) => {
                let mut l = memory::zeros(n * n, WHAT)?;
                l.iter_mut()
                    .step_by(n + 1)
                    .zip(s)
                    .for_each(|(l, s)| *l = *s);
                Ok(l)
            }
        }
    }

    /// Moves to coordinates z' with z = shift + A z': the center becomes center + L shift, and L becomes L A.
    ///
    /// # Errors
    /// When memory is short.
    pub(super) fn compose(&mut self, shift: &[f64], a: &Scale) -> Result<()> {
        self.center = self.theta(shift)?;
        match (&mut self.scale, a) {
            (Scale::Diagonal(s), Scale::Diagonal(a)) => {
                s.iter_mut().zip(a).for_each(|(s, a)| *s *= a);
            }
            (Scale::Dense(l), Scale::Dense(a)) => {
                let n = self.center.len();
                let mut row = memory::zeros::<f64>(n, WHAT)?;
                for own in l.chunks_mut(n) {
                    row.fill(0.0);
                    for (l, a) in own.iter().zip(a.chunks(n)) {
                        row.iter_mut().zip(a).for_each(|(r, a)| *r += l * a);
                    }
                    own.copy_from_slice(&row);
                }
            }
            _ => unreachable!("a mass keeps its shape"),
        }
        Ok(())
    }
}

/// Returns the lower Cholesky factor of a symmetric matrix (n, n), row by row, in its place; `None` where it is not positive definite.
///
/// Row by row: Golub and Van Loan 2013, "Matrix Computations", section 4.2.
pub(super) fn cholesky(mut a: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    for i in 0..n {
        for j in 0..=i {
            let (above, own) = a.split_at(i * n);
            let other = if i == j {
                &own[..j]
            } else {
                &above[j * n..j * n + j]
            };
            let dot: f64 = own[..j].iter().zip(other).map(|(x, y)| x * y).sum();
            let left = own[j] - dot;
            a[i * n + j] = if i != j {
                left / a[j * n + j]
            } else if left > 0.0 && left.is_finite() {
                left.sqrt()
            } else {
                return None;
            };
        }
        a[i * n + i + 1..(i + 1) * n].fill(0.0);
    }
    Some(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    const L: [f64; 9] = [2.0, 0.0, 0.0, 0.5, 1.5, 0.0, -1.0, 0.25, 0.75];

    fn affine() -> Affine {
        Affine::new(vec![1.0, -2.0, 3.0], L.to_vec()).expect("a factor")
    }

    #[test]
    fn a_factor_is_that_of_its_product() {
        let mut a = vec![0.0; 9];
        for i in 0..3 {
            for j in 0..3 {
                a[3 * i + j] = (0..3).map(|k| L[3 * i + k] * L[3 * j + k]).sum();
            }
        }
        let found = cholesky(a, 3).expect("positive definite");
        assert!(
            found.iter().zip(L).all(|(f, l)| (f - l).abs() < 1e-14),
            "{found:?}"
        );
        assert_eq!(cholesky(vec![1.0, 2.0, 2.0, 1.0], 2), None);
    }

    #[test]
    fn there_and_back_is_where_one_was() {
        let (a, z) = (affine(), [0.5f32, -1.0, 2.0]);
        let (mut theta, mut room) = ([0.0f32; 3], [0.0; 3]);
        a.place(&z, &mut theta, &mut room);
        assert_eq!(theta, [2.0, -3.25, 3.75]); // by hand
        let back = a.coordinates(&theta.map(f64::from)).expect("memory");
        assert!(
            back.iter()
                .zip(z)
                .all(|(b, z)| (b - f64::from(z)).abs() < 1e-12)
        );
        let mut grad = [0.0f32; 3];
        a.pull(&[1.0, 10.0, 100.0], &mut grad, &mut room);
        assert_eq!(grad, [-93.0, 40.0, 75.0]);
        // p_theta . v_theta = p . v for v_theta = L v.
        let (mut p, v) = ([0.3, -0.2, 0.9], [1.0, 2.0, -1.5]);
        let want: f64 = p.iter().zip(v).map(|(p, v)| p * v).sum();
        a.momenta(&mut p);
        let mut moved = v;
        a.scale.times(&mut moved);
        let got: f64 = p.iter().zip(moved).map(|(p, v)| p * v).sum();
        assert!((got - want).abs() < 1e-12);
        assert_eq!(a.mass().expect("memory")[1], 1.0 / 2.5);
    }

    #[test]
    fn composed_coordinates_are_one_after_the_other() {
        let (mut a, inner) = (affine(), [1.5, 0.0, 0.0, -0.5, 0.5, 0.0, 0.25, 1.0, 2.0]);
        let (shift, z) = ([0.1, 0.2, -0.3], [1.0, -1.0, 0.5]);
        let within = Affine::new(shift.to_vec(), inner.to_vec()).expect("a factor");
        let want = a.theta(&within.theta(&z).expect("memory")).expect("memory");
        a.compose(&shift, &Scale::Dense(inner.to_vec()))
            .expect("memory");
        let got = a.theta(&z).expect("memory");
        assert!(
            got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-12),
            "{got:?} {want:?}"
        );
    }

    #[test]
    fn what_is_no_factor_is_refused() {
        let at = |i: usize, v: f64| {
            let mut l = L.to_vec();
            l[i] = v;
            Affine::new(vec![0.0; 3], l).is_err()
        };
        assert!(at(0, 0.0) && at(4, -1.0) && at(1, 0.1) && at(3, f64::NAN) && at(8, 1e-320));
        assert!(Affine::new(vec![f64::INFINITY, 0.0], vec![1.0, 1.0]).is_err());
        assert!(Affine::new(vec![0.0; 3], vec![1.0; 5]).is_err());
    }
}
