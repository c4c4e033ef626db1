//! From the gradient of a mean loss to that of the log posterior under a Gaussian prior, in one pass.

use super::Cpu;
use super::isa::multiversion;
use crate::backend::PRIOR_FLOOR;
use std::ops::Range;

multiversion! {
    // g = -(num_data g) - (theta - center) / sd^2; returns sum ((theta - center) / sd)^2. Empty slices: center 0, sd = std.
    fn block(g: &mut [f32], theta: &[f32], center: &[f32], weights: &[f32], std: f32, num_data: f32) -> f64 {
        let mut sums = [0.0f64; 16];
        for (i, g) in g.iter_mut().enumerate() {
            let c = if center.is_empty() { 0.0 } else { center[i] };
            let sd = if weights.is_empty() { std } else { std * (weights[i].abs() + PRIOR_FLOOR) };
            let z = (theta[i] - c) / sd;
            sums[i % 16] += z as f64 * z as f64;
            *g = -num_data * *g - z / sd;
        }
        sums.iter().sum()
    }
}

/// Overwrites `grad` and returns the sum of squared standardised distances from the centre.
pub fn posterior_gradient(
    cpu: &Cpu,
    grad: &mut [f32],
    theta: &[f32],
    center: &[f32],
    weights: &[f32],
    std: f32,
    num_data: f32,
) -> f64 {
    cpu.blocks(
        grad.len(),
        [grad],
        |r, [g]| {
            let of = |x: &[f32]| -> Range<usize> { if x.is_empty() { 0..0 } else { r.clone() } };
            block(
                cpu.isa,
                g,
                &theta[r.clone()],
                &center[of(center)],
                &weights[of(weights)],
                std,
                num_data,
            )
        },
        |a, b| a + b,
    )
}
