//! Means with variances or covariances of vectors that come one at a time (Welford 1962), and what a mass is made of.

use super::MassShape;
use super::affine::{Scale, cholesky};
use super::stiffest::Stiffest;
use crate::error::Result;
use crate::memory;

/// What messages call these numbers.
const WHAT: &str = "a mass's estimate";

/// The weight of the mass in force, in draws: that of Stan's regularisation.
const PRIOR_DRAWS: f64 = 5.0;

/// Running mean and squares about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Welford {
    pub count: f64,
    pub mean: Vec<f64>,    // (n)
    pub squares: Vec<f64>, // sums about the mean, (n) or (n, n) row by row, lower triangle
    room: Vec<f64>,        // (n)
}

impl Welford {
    pub fn new(n: usize, shape: MassShape) -> Result<Self> {
        Ok(Self {
            count: 0.0,
            mean: memory::zeros(n, WHAT)?,
            squares: memory::zeros(shape.numbers(n), WHAT)?,
            room: memory::zeros(n, WHAT)?,
        })
    }

    pub fn clear(&mut self) {
        self.count = 0.0;
        self.mean.fill(0.0);
        self.squares.fill(0.0);
    }

    /// Takes a vector in, (n).
    pub fn add(&mut self, x: &[f32]) {
        self.count += 1.0;
        let n = x.len();
        let each = self.mean.iter_mut().zip(&mut self.room).zip(x);
        for ((m, before), &x) in each {
            *before = f64::from(x) - *m;
            *m += *before / self.count;
        }
        let share = (self.count - 1.0) / self.count; // before * after = share * before^2
        if self.squares.len() == n {
            let each = self.squares.iter_mut().zip(&self.room);
            each.for_each(|(s, d)| *s += share * d * d);
            return;
        }
        for (i, row) in self.squares.chunks_mut(n).enumerate() {
            let own = share * self.room[i];
            row[..=i]
                .iter_mut()
                .zip(&self.room)
                .for_each(|(s, d)| *s += own * d);
        }
    }

    /// Returns a factor A of the estimated covariance over the temperature, A A^T, drawn towards the unit mass that these vectors were taken under.
    ///
    /// `draws` are the independent draws that the vectors are worth. Stan's estimate (n S + 5 * 0.001 I) / (n + 5) draws towards a small multiple of the
    /// unit matrix (Stan Reference Manual, "Automatic parameter tuning"); here towards the mass in force, whose coordinates have unit scale, and for a
    /// covariance with as many draws more as there are parameters: fewer draws than that have no covariance of full rank. In the stiffest direction u the mass in
    /// force is first raised to the curvature lambda that was met there, I + (1 / lambda - 1) u u^T in place of I: few gradients know that, and few draws do not.
    pub fn factor(&self, draws: f64, temperature: f64, stiffest: &Stiffest) -> Result<Scale> {
        let n = self.mean.len();
        let dense = self.squares.len() != n;
        let prior = PRIOR_DRAWS + if dense { n as f64 } else { 0.0 };
        let scale = draws / (draws + prior) / ((self.count - 1.0).max(1.0) * temperature);
        let unit = prior / (draws + prior);
        let mut all = memory::collect(self.squares.iter().map(|s| s * scale), WHAT)?;
        let length = stiffest.eigenvalue();
        let curvature = (length / temperature).max(1.0);
        let along = memory::collect(stiffest.vector.iter().map(|v| v / length), WHAT)?;
        if !dense {
            let each = all.iter_mut().zip(&along);
            each.for_each(|(v, u)| *v = (*v + unit / (1.0 + (curvature - 1.0) * u * u)).sqrt());
            return Ok(Scale::Diagonal(all));
        }
        let less = unit * (1.0 - 1.0 / curvature);
        for (i, row) in all.chunks_mut(n).enumerate() {
            let own = less * along[i];
            row[..=i]
                .iter_mut()
                .zip(&along)
                .for_each(|(v, u)| *v -= own * u);
            row[i] += unit;
        }
        // A sum of squares and a positive diagonal: only numbers that are not finite have no factor.
        match cholesky(all, n) {
            Some(l) => Ok(Scale::Dense(l)),
            None => Err(crate::error::Error::conflict(
                "the warm-up's draws have no finite covariance: start nearer to the target's bulk",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [[f32; 2]; 4] = [[1.0, 2.0], [3.0, -1.0], [0.5, 0.0], [-2.0, 4.0]];

    #[test]
    fn the_estimate_is_the_two_pass_one_drawn_to_the_unit() {
        let mean: Vec<f64> = (0..2)
            .map(|i| X.iter().map(|x| f64::from(x[i])).sum::<f64>() / 4.0)
            .collect();
        let covariance = |i: usize, j: usize| {
            let each = X
                .iter()
                .map(|x| (f64::from(x[i]) - mean[i]) * (f64::from(x[j]) - mean[j]));
            each.sum::<f64>() / 3.0
        };
        let (draws, t) = (6.0, 0.5);
        let mut stiffest = Stiffest::new(2, 1.0).expect("memory");
        stiffest.vector = vec![1.2, 1.6]; // 2 along (0.6, 0.8): a curvature of 4
        for (shape, prior) in [(MassShape::Diagonal, 5.0), (MassShape::Dense, 7.0)] {
            let mut w = Welford::new(2, shape).expect("memory");
            X.iter().for_each(|x| w.add(x));
            let want = |i: usize, j: usize| {
                let (unit, u) = (f64::from(u8::from(i == j)), [0.6, 0.8]);
                let stiff = match shape {
                    MassShape::Diagonal => 1.0 / (1.0 + 3.0 * u[i] * u[i]),
                    MassShape::Dense => unit - 0.75 * u[i] * u[j],
                };
                (draws * covariance(i, j) / t + prior * stiff) / (draws + prior)
            };
            match w.factor(draws, t, &stiffest).expect("a factor") {
                Scale::Diagonal(s) => {
                    for i in 0..2 {
                        assert!((s[i] * s[i] - want(i, i)).abs() < 1e-12, "{s:?}");
                    }
                }
                Scale::Dense(l) => {
                    let product = [l[0] * l[0], l[0] * l[2], l[2] * l[2] + l[3] * l[3]];
                    for (got, (i, j)) in product.iter().zip([(0, 0), (1, 0), (1, 1)]) {
                        assert!((got - want(i, j)).abs() < 1e-12, "{product:?}");
                    }
                }
            }
        }
    }
}
