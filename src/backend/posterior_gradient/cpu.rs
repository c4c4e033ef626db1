//! From the gradient of a mean loss to that of the log posterior, in one pass.

use crate::backend::cpu::Cpu;
use crate::backend::cpu::chunk::{CHUNK, LANES, load, store};
use crate::backend::cpu::isa::multiversion;
use crate::backend::ops::PosteriorOps;
use crate::backend::{Family, PRIOR_FLOOR, PriorTerms};
use crate::error::Result;
use std::ops::Range;

/// Where a prior's terms lie in a block.
#[derive(Clone, Copy)]
struct Place<'a> {
    theta: &'a [f32],
    center: &'a [f32],  // empty: 0
    weights: &'a [f32], // empty: 1 everywhere
    std: f32,
}

/// g = -num_data g + slope / s, and the sum of the values: `f` maps z to (value, slope), s being the scale. Beyond the end z is 0.
#[inline(always)]
fn each(g: &mut [f32], at: Place<'_>, num_data: f32, f: impl Fn(f32) -> (f64, f32)) -> f64 {
    let mut sums = [0.0; LANES];
    for from in (0..g.len()).step_by(CHUNK) {
        let (t, mut d) = (load(at.theta, from, 0.0), load(g, from, 0.0));
        let (mut c, mut s) = ([0.0; CHUNK], [at.std; CHUNK]);
        if !at.center.is_empty() {
            c = load(at.center, from, 0.0);
        }
        if !at.weights.is_empty() {
            let w = load(at.weights, from, 1.0); // no weight of 0, which would leave the floor alone to keep z from 0 / 0
            for i in 0..CHUNK {
                s[i] = at.std * (w[i].abs() + PRIOR_FLOOR);
            }
        }
        let mut values = [0.0; CHUNK];
        for i in 0..CHUNK {
            let (value, slope) = f((t[i] - c[i]) / s[i]);
            values[i] = value;
            d[i] = -num_data * d[i] + slope / s[i];
        }
        for values in values.as_chunks::<LANES>().0 {
            for i in 0..LANES {
                sums[i] += values[i];
            }
        }
        store(g, from, &d);
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

impl PosteriorOps for Cpu {
    fn posterior_gradient(
        &self,
        grad: &mut Vec<f32>,
        theta: &Vec<f32>,
        prior: PriorTerms<'_, Vec<f32>>,
        num_data: f32,
    ) -> Result<f64> {
        Ok(posterior_gradient(self, grad, theta, prior, num_data))
    }
}
