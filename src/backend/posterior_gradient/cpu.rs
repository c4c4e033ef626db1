//! From the gradient of a mean loss to that of the log posterior, in one pass.

use crate::backend::cpu::Cpu;
use crate::backend::cpu::chunk::{CHUNK, EXPONENT, LANES, load, store};
use crate::backend::cpu::isa::multiversion;
use crate::backend::ops::PosteriorOps;
use crate::backend::{PriorFamily, PriorTerms, Scalars};
use crate::error::Result;
use std::ops::Range;

/// The slices of a prior's terms in a block.
#[derive(Clone, Copy)]
struct Place<'a> {
    theta: &'a [f32],
    center: &'a [f32], // empty: 0
    scales: &'a [f32], // empty: 1 everywhere
    std: f32,
}

/// Computes g = -num_data g + slope / s, the sum of the values, and whether an element of g is not finite. `f` maps z to (value, slope),
/// and s is the scale. Beyond the end z is 0.
#[inline(always)]
fn each(g: &mut [f32], at: Place<'_>, num_data: f32, f: impl Fn(f32) -> (f64, f32)) -> (f64, bool) {
    let (mut sums, mut top) = ([0.0; LANES], [0; CHUNK]);
    for from in (0..g.len()).step_by(CHUNK) {
        let (t, mut d) = (load(at.theta, from, 0.0), load(g, from, 0.0));
        let (mut c, mut s) = ([0.0; CHUNK], [at.std; CHUNK]);
        if !at.center.is_empty() {
            c = load(at.center, from, 0.0);
        }
        if !at.scales.is_empty() {
            s = load(at.scales, from, 1.0).map(|scale| at.std * scale); // not 0, which would make z 0 / 0
        }
        let mut values = [0.0; CHUNK];
        for i in 0..CHUNK {
            let (value, slope) = f((t[i] - c[i]) / s[i]);
            values[i] = value;
            d[i] = -num_data * d[i] + slope / s[i];
            top[i] = (d[i].to_bits() & EXPONENT).max(top[i]);
        }
        for values in values.as_chunks::<LANES>().0 {
            for i in 0..LANES {
                sums[i] += values[i];
            }
        }
        store(g, from, &d);
    }
    (sums.iter().sum(), top.contains(&EXPONENT))
}

multiversion! {
    fn block(g: &mut [f32], at: Place<'_>, num_data: f32, family: PriorFamily) -> (f64, bool) {
        let (factor, (sum, nonfinite)) = match family {
            PriorFamily::Normal => (-0.5, each(g, at, num_data, |z| (z as f64 * z as f64, -z))),
            PriorFamily::Laplace => (-1.0, each(g, at, num_data, |z| {
                (z.abs() as f64, if z == 0.0 { 0.0 } else { -z.signum() })
            })),
            PriorFamily::StudentT { dof } => (-0.5 * (dof as f64 + 1.0), each(g, at, num_data, |z| {
                let value = (z as f64 * z as f64 / dof as f64).ln_1p();
                (value, -((dof + 1.0) * z) / (dof + z * z))
            })),
        };
        (factor * sum, nonfinite)
    }
}

impl PosteriorOps for Cpu {
    fn posterior_gradient(
        &self,
        grad: &mut Vec<f32>,
        theta: &Vec<f32>,
        prior: PriorTerms<'_, Vec<f32>>,
        num_data: f32,
        record: &mut Scalars,
    ) -> Result<()> {
        let leaf = |r: Range<usize>, [g]: [&mut [f32]; 1]| {
            let at = Place {
                theta: &theta[r.clone()],
                center: part(prior.center, &r),
                scales: part(prior.scales, &r),
                std: prior.std,
            };
            let (sum, nonfinite) = block(self.isa(), &mut *g, at, num_data, prior.family);
            let first = nonfinite.then(|| g.iter().position(|g| !g.is_finite()));
            (sum, first.flatten().map(|at| r.start + at))
        };
        let join = |a: (f64, Option<usize>), b: (f64, Option<usize>)| (a.0 + b.0, a.1.or(b.1));
        (record.log_prior, record.gradient) = self.blocks(grad.len(), [grad], leaf, join);
        Ok(())
    }
}

fn part<'a>(x: Option<&'a Vec<f32>>, r: &Range<usize>) -> &'a [f32] {
    x.map_or(&[], |x| &x[r.clone()])
}
