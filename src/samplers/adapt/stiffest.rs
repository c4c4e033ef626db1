//! The largest curvature that a chain meets, from its gradients alone: the largest eigenvalue of their second moments.
//!
//! Under exp(log_post / T) the gradients have E[g g^T] = T E[-Hessian] (by parts), so that the largest eigenvalue over T is the largest curvature of the mean
//! Hessian, and on a normal the largest there is. One vector follows it: v moves towards g (g . v / |v|), and |v| is the eigenvalue (candid
//! covariance-free incremental principal components, Weng, Zhang & Hwang 2003), with weights 2 / k that forget where the chain came from.

use super::affine::Scale;
use crate::error::Result;
use crate::memory;

/// Gradients that what is known beforehand counts for.
const BEFORE: f64 = 20.0;

/// The running estimate.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stiffest {
    pub vector: Vec<f64>, // (n); its length is the eigenvalue
    pub count: f64,
}

impl Stiffest {
    /// Begins at an eigenvalue that is guessed.
    pub fn new(n: usize, guess: f64) -> Result<Self> {
        let vector = memory::filled(n, guess / (n as f64).sqrt(), "a chain's curvature")?;
        let count = BEFORE;
        Ok(Self { vector, count })
    }

    /// Returns the eigenvalue.
    pub fn eigenvalue(&self) -> f64 {
        norm(&self.vector)
    }

    /// Takes a gradient in, (n).
    pub fn add(&mut self, grad: &[f32]) {
        let length = self.eigenvalue();
        let along = self
            .vector
            .iter()
            .zip(grad)
            .map(|(v, &g)| v * f64::from(g))
            .sum::<f64>()
            / length;
        let share = 2.0 / self.count;
        let each = self.vector.iter_mut().zip(grad);
        each.for_each(|(v, &g)| *v += share * (along * f64::from(g) - *v));
        self.count += 1.0;
    }

    /// Gives the eigenvalue another length, and forgets how sure it was.
    pub fn set(&mut self, eigenvalue: f64) {
        let factor = eigenvalue / self.eigenvalue();
        self.vector.iter_mut().for_each(|v| *v *= factor);
        self.count = BEFORE;
    }

    /// Follows gradients into coordinates where they are A^T g.
    pub fn follow(&mut self, a: &Scale) {
        let before = self.eigenvalue();
        self.vector.iter_mut().for_each(|v| *v /= before);
        a.transpose_times(&mut self.vector);
        // Along the unit vector u the second moment is |v|; what of it lies along A^T u is |v| |A^T u|^2.
        let length = norm(&self.vector);
        self.vector.iter_mut().for_each(|v| *v *= before * length);
        self.count = (self.count / 2.0).max(BEFORE);
    }
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|v| v * v).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Stream, StreamTag};

    #[test]
    fn it_is_the_largest_eigenvalue_of_the_second_moments() {
        // g = R diag(sqrt(25, 4, 1)) xi with a rotation R in the first two coordinates.
        let (c, s) = (0.8f32, 0.6f32);
        let mut stiffest = Stiffest::new(3, 1.0).expect("memory");
        let stream = Stream::new(5, StreamTag::Noise, 0);
        let mut xi = [0.0f32; 3];
        for step in 0..4000 {
            stream.fill_normal(step, &mut xi);
            let (a, b) = (5.0 * xi[0], 2.0 * xi[1]);
            stiffest.add(&[c * a - s * b, s * a + c * b, xi[2]]);
        }
        // Weights 2 k / N^2: the relative standard deviation of the eigenvalue is sqrt(2 * 4 / 3 / 4000) = 0.026; six of them.
        let got = stiffest.eigenvalue();
        assert!((got / 25.0 - 1.0).abs() < 0.16, "{got}");
        let along = (stiffest.vector[0] * 0.8 + stiffest.vector[1] * 0.6).abs() / got;
        assert!(along > 0.99, "{along}");
        stiffest.follow(&Scale::Diagonal(vec![0.5, 0.5, 0.5]));
        assert!((stiffest.eigenvalue() / got - 0.25).abs() < 1e-9);
    }
}
