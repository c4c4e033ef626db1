//! Sums over ranges of a chain's vectors: kinetic energy, virial and force.

use crate::backend::cpu::Cpu;
use crate::backend::cpu::chunk::{CHUNK, LANES, accumulate, load, same};
use crate::backend::cpu::isa::multiversion;
use crate::backend::vectors::{ChainView, RangeMoments};
use crate::error::{Error, Result};
use std::ops::Range;

/// Implements [`crate::backend::Vectors::range_moments`] on the CPU.
pub fn of_ranges(
    cpu: &Cpu,
    out: &mut [RangeMoments],
    ranges: &[Range<usize>],
    at: ChainView<'_, Cpu>,
) -> Result<()> {
    let n = at.theta.len();
    same("sums", ranges.len(), out.len())?;
    same("grad", n, at.grad.len())?;
    same("center", n, at.center.len())?;
    for (what, buf) in [("momenta", at.momenta), ("mass", at.mass)] {
        same(what, n, buf.map_or(n, Vec::len))?;
    }
    if let Some(r) = ranges.iter().find(|r| r.end < r.start || r.end > n) {
        let expected = format!("inside 0..{n}");
        return Err(Error::out_of_range("range", expected, format!("{r:?}")));
    }
    for (out, r) in out.iter_mut().zip(ranges) {
        let leaf = |block: Range<usize>, []: [&mut [f32]; 0]| {
            let part = r.start + block.start..r.start + block.end;
            block_moments(
                cpu.isa(),
                &at.theta[part.clone()],
                at.momenta.map_or(&[][..], |m| &m[part.clone()]),
                &at.grad[part.clone()],
                &at.center[part.clone()],
                at.mass.map(|m| &m[part]),
            )
        };
        *out = cpu.blocks(r.len(), [], leaf, |a, b| RangeMoments {
            kinetic: a.kinetic + b.kinetic,
            virial: a.virial + b.virial,
            force: a.force + b.force,
        });
    }
    Ok(())
}

multiversion! {
    fn block_moments(
        theta: &[f32],
        momenta: &[f32],
        grad: &[f32],
        center: &[f32],
        mass: Option<&[f32]>,
    ) -> RangeMoments {
        let [mut kinetic, mut virial, mut force] = [[0.0; LANES]; 3];
        for at in (0..theta.len()).step_by(CHUNK) {
            let (t, c, g) = (load(theta, at, 0.0), load(center, at, 0.0), load(grad, at, 0.0));
            let m = load(momenta, at, 0.0);
            let inverse = mass.map_or([1.0; CHUNK], |mass| load(mass, at, 1.0).map(|m| 1.0 / m));
            // In this order neither a large nor a small mass leaves f32's range.
            accumulate(&mut kinetic, &std::array::from_fn(|i| m[i] * inverse[i] * m[i]));
            accumulate(&mut virial, &std::array::from_fn(|i| (t[i] - c[i]) * g[i]));
            accumulate(&mut force, &std::array::from_fn(|i| g[i] * inverse[i] * g[i]));
        }
        RangeMoments {
            kinetic: kinetic.iter().sum(),
            virial: virial.iter().sum(),
            force: force.iter().sum(),
        }
    }
}
