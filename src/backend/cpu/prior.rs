//! From the gradient of a mean loss to that of the log posterior, in one pass.

use super::Cpu;
use super::isa::multiversion;
use crate::backend::{Family, PRIOR_FLOOR, PriorTerms};
use std::ops::Range;

/// Where a prior's terms lie in a block.
#[derive(Clone, Copy)]
struct Place<'a> {
    theta: &'a [f32],
    center: &'a [f32],  // empty: 0
    weights: &'a [f32], // empty: 1 everywhere
    std: f32,
}

/// g = -num_data g + slope / s, and the sum of the values: `f` maps z to (value, slope), s being the scale.
#[inline(always)]
fn each(g: &mut [f32], at: Place<'_>, num_data: f32, f: impl Fn(f32) -> (f64, f32)) -> f64 {
    let mut sums = [0.0f64; 16];
    for (i, g) in g.iter_mut().enumerate() {
        let c = if at.center.is_empty() {
            0.0
        } else {
            at.center[i]
        };
        let s = match at.weights.is_empty() {
            true => at.std,
            false => at.std * (at.weights[i].abs() + PRIOR_FLOOR),
        };
        let z = (at.theta[i] - c) / s;
        let (value, slope) = f(z);
        sums[i % 16] += value;
        *g = -num_data * *g + slope / s;
    }
    sums.iter().sum()
}

multiversion! {
    fn block(g: &mut [f32], at: Place<'_>, num_data: f32, family: Family) -> f64 {
        match family {
            Family::Normal => -0.5 * each(g, at, num_data, |z| (z as f64 * z as f64, -z)),
            Family::Laplace => -each(g, at, num_data, |z| {
                (z.abs() as f64, if z == 0.0 { 0.0 } else { -z.signum() })
            }),
            Family::StudentT { dof } => {
                let half = -0.5 * (dof as f64 + 1.0);
                half * each(g, at, num_data, |z| {
                    let value = (z as f64 * z as f64 / dof as f64).ln_1p();
                    (value, -((dof + 1.0) * z) / (dof + z * z))
                })
            }
        }
    }
}

/// Overwrites `grad` and returns the log prior without its constant.
pub fn posterior_gradient(
    cpu: &Cpu,
    grad: &mut [f32],
    theta: &[f32],
    prior: PriorTerms<'_, Vec<f32>>,
    num_data: f32,
) -> f64 {
    let leaf = |r: Range<usize>, [g]: [&mut [f32]; 1]| {
        let at = Place {
            theta: &theta[r.clone()],
            center: part(prior.center, &r),
            weights: part(prior.relative_to, &r),
            std: prior.std,
        };
        block(cpu.isa, g, at, num_data, prior.family)
    };
    cpu.blocks(grad.len(), [grad], leaf, |a, b| a + b)
}

fn part<'a>(x: Option<&'a Vec<f32>>, r: &Range<usize>) -> &'a [f32] {
    x.map_or(&[], |x| &x[r.clone()])
}
