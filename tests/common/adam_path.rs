//! The path of AdamW on a noisy quadratic, plainly, in f64: what the fits that follow it are compared with.

use super::normals;

/// Parameters.
pub const N: usize = 131;

/// The gradient of the log posterior at a step: of a quadratic, with noise.
pub fn gradient(step: u64, theta: &[f32]) -> Vec<f32> {
    let noise = normals(N, 100 + step);
    let each = theta.iter().zip(noise).enumerate();
    let g = each.map(|(i, (t, z))| 40.0 * (-(1.0 + (i % 7) as f32) * (t - 0.3) + z));
    g.collect()
}

/// AdamW's parameters and means.
pub struct Plain {
    pub theta: Vec<f64>,
    m: Vec<f64>,
    v: Vec<f64>,
}

impl Plain {
    pub fn new(theta: Vec<f64>) -> Self {
        let zeros = vec![0.0; theta.len()];
        Self {
            theta,
            m: zeros.clone(),
            v: zeros,
        }
    }

    /// Makes step number `step`, from 0.
    pub fn step(&mut self, step: u64, grad: &[f32], lr: f64, observations: f64) {
        let t = step as i32 + 1;
        for (i, g) in grad.iter().enumerate() {
            let g = -(*g as f64) / observations;
            self.m[i] = 0.9 * self.m[i] + 0.1 * g;
            self.v[i] = 0.99 * self.v[i] + 0.01 * g * g;
            let (m, v) = (
                self.m[i] / (1.0 - 0.9f64.powi(t)),
                self.v[i] / (1.0 - 0.99f64.powi(t)),
            );
            self.theta[i] -= lr * m / (v.sqrt() + 1e-8);
        }
    }
}
