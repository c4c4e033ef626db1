//! Independent normals on the CPU: draws, the extended Kalman filter's update, and the gradient of variational inference.

use crate::backend::Scalars;
use crate::backend::cpu::Cpu;
use crate::backend::cpu::chunk::{CHUNK, load, same};
use crate::backend::cpu::isa::multiversion;
use crate::backend::cpu::math::exp;
use crate::backend::cpu::noise::Draw;
use crate::backend::vectors::{EkfStep, Noise, StdDev, ViDraw};
use crate::error::Result;
use std::ops::Range;

/// How a block's standard deviations are represented.
#[derive(Clone, Copy)]
enum Kept<'a> {
    Sd(&'a [f32]),
    LogSd(&'a [f32]),
    Precision(&'a [f32], f32, f32), // what is added to it, and T
}

impl<'a> Kept<'a> {
    fn of(spread: &StdDev<'a, Vec<f32>>) -> Self {
        match *spread {
            StdDev::Sd(x) => Self::Sd(x),
            StdDev::LogSd(x) => Self::LogSd(x),
            StdDev::Precision {
                precision,
                plus,
                temperature,
            } => Self::Precision(precision, plus, temperature),
        }
    }

    fn len(&self) -> usize {
        let (Self::Sd(x) | Self::LogSd(x) | Self::Precision(x, ..)) = self;
        x.len()
    }

    fn part(&self, r: Range<usize>) -> Self {
        match *self {
            Self::Sd(x) => Self::Sd(&x[r]),
            Self::LogSd(x) => Self::LogSd(&x[r]),
            Self::Precision(x, plus, t) => Self::Precision(&x[r], plus, t),
        }
    }

    /// Returns the standard deviations of a chunk.
    #[inline(always)]
    fn sds(&self, at: usize) -> [f32; CHUNK] {
        match *self {
            Self::Sd(x) => load(x, at, 0.0),
            Self::LogSd(x) => load(x, at, 0.0).map(exp),
            Self::Precision(x, plus, t) => load(x, at, 1.0).map(|p| (t / (p + plus)).sqrt()),
        }
    }
}

multiversion! {
    fn point_block(out: &mut [f32], mean: &[f32], kept: Kept<'_>, draw: Draw<'_>) {
        for (i, (out, mean)) in out.chunks_mut(CHUNK).zip(mean.chunks(CHUNK)).enumerate() {
            let (z, sd) = (draw.normals(i * CHUNK), kept.sds(i * CHUNK));
            for (((out, mean), z), sd) in out.iter_mut().zip(mean).zip(z).zip(sd) {
                *out = mean + sd * z;
            }
        }
    }
}

/// Computes out = mean + sd z.
pub fn point(
    cpu: &Cpu,
    out: &mut [f32],
    mean: &[f32],
    spread: StdDev<'_, Vec<f32>>,
    noise: Noise<'_, Cpu>,
) -> Result<()> {
    let (n, kept) = (out.len(), Kept::of(&spread));
    same("mean", n, mean.len())?;
    same("spread", n, kept.len())?;
    if let Noise::Given(z) = noise {
        same("noise", n, z.len())?;
    }
    let leaf = |r: Range<usize>, [out]: [&mut [f32]; 1]| {
        let draw = Draw::of(&noise, &r);
        point_block(cpu.isa(), out, &mean[r.clone()], kept.part(r), draw);
    };
    cpu.blocks(n, [out], leaf, |(), ()| ());
    Ok(())
}

multiversion! {
    fn sd_block(kept: Kept<'_>) -> f64 {
        let mut sum = 0.0;
        for at in (0..kept.len()).step_by(CHUNK) {
            let here = CHUNK.min(kept.len() - at);
            sum += kept.sds(at)[..here].iter().map(|&sd| sd as f64).sum::<f64>();
        }
        sum
    }
}

/// Returns the sum of the standard deviations.
pub fn sum_of_sds(cpu: &Cpu, spread: StdDev<'_, Vec<f32>>) -> f64 {
    let kept = Kept::of(&spread);
    let leaf = |r: Range<usize>, []: [&mut [f32]; 0]| sd_block(cpu.isa(), kept.part(r));
    cpu.blocks(kept.len(), [], leaf, |a, b| a + b)
}

multiversion! {
    fn ekf_block(k: EkfStep, mean: &mut [f32], sd: &mut [f32], grad: &[f32], squares: &[f32]) -> bool {
        let mut finite = true;
        for (((mean, sd), g), s) in mean.iter_mut().zip(sd).zip(grad).zip(squares) {
            let predicted = *sd * *sd + k.transition_variance;
            // 1 / (1 / predicted + squares), which neither overflows for a small variance nor needs a second division.
            let variance = predicted / (1.0 + predicted * (k.squares * s));
            *mean += variance * (k.gradient * g);
            *sd = variance.sqrt();
            finite &= mean.is_finite() & sd.is_finite() & (*sd > 0.0);
        }
        finite
    }
}

/// Makes one step of the extended Kalman filter.
pub fn ekf(
    cpu: &Cpu,
    mean: &mut [f32],
    sd: &mut [f32],
    grad: &[f32],
    squares: &[f32],
    step: EkfStep,
    record: &mut Scalars,
) -> Result<()> {
    let n = mean.len();
    same("sd", n, sd.len())?;
    same("grad", n, grad.len())?;
    same("squares", n, squares.len())?;
    if !record.is_sound() {
        return Ok(());
    }
    let leaf = |r: Range<usize>, [mean, sd]: [&mut [f32]; 2]| {
        let (g, s) = (&grad[r.clone()], &squares[r.clone()]);
        let finite = ekf_block(cpu.isa(), step, &mut *mean, &mut *sd, g, s);
        let bad = |i: &usize| !mean[*i].is_finite() || !sd[*i].is_finite() || sd[*i] <= 0.0;
        (!finite)
            .then(|| (0..mean.len()).find(bad))
            .flatten()
            .map(|at| r.start + at)
    };
    record.state = cpu.blocks(n, [mean, sd], leaf, Option::or);
    Ok(())
}

multiversion! {
    fn vi_block(k: ViDraw, d_mean: &mut [f32], d_log_sd: &mut [f32], grad: &[f32], log_sd: &[f32], draw: Draw<'_>) -> f64 {
        let old = |x: f32| if k.first { 0.0 } else { x };
        let mut sum = 0.0;
        for at in (0..grad.len()).step_by(CHUNK) {
            let z = draw.normals(at);
            let ls = load(log_sd, at, 0.0);
            let sd = ls.map(exp);
            let here = CHUNK.min(grad.len() - at);
            let (dm, ds, g) = (&mut d_mean[at..][..here], &mut d_log_sd[at..][..here], &grad[at..][..here]);
            for i in 0..here {
                // In the density, z / sd is what the point moves it by, and z^2 is that through the deviation; held fast, the density moves
                // with log sd alone, by 1.
                let (by_point, by_sd) = if k.stick_the_landing {
                    (k.temperature * z[i] / sd[i], k.temperature * z[i] * z[i])
                } else {
                    (0.0, k.temperature)
                };
                dm[i] = old(dm[i]) - k.weight * (g[i] + by_point);
                ds[i] = old(ds[i]) - k.weight * (g[i] * sd[i] * z[i] + by_sd);
                sum += (0.5 * z[i] * z[i] + ls[i]) as f64;
            }
        }
        sum
    }
}

/// Computes one draw's part of the gradient of the negative evidence lower bound.
pub fn vi_gradient(
    cpu: &Cpu,
    [d_mean, d_log_sd]: [&mut [f32]; 2],
    grad: &[f32],
    log_sd: &[f32],
    noise: Noise<'_, Cpu>,
    draw: ViDraw,
    record: &mut Scalars,
) -> Result<()> {
    let n = grad.len();
    same("gradient in the mean", n, d_mean.len())?;
    same("gradient in log sd", n, d_log_sd.len())?;
    same("log sd", n, log_sd.len())?;
    if let Noise::Given(z) = noise {
        same("noise", n, z.len())?;
    }
    if !record.is_sound() {
        return Ok(());
    }
    let leaf = |r: Range<usize>, [dm, ds]: [&mut [f32]; 2]| {
        let z = Draw::of(&noise, &r);
        let (g, ls) = (&grad[r.clone()], &log_sd[r]);
        vi_block(cpu.isa(), draw, dm, ds, g, ls, z)
    };
    record.surprise = cpu.blocks(n, [d_mean, d_log_sd], leaf, |a, b| a + b);
    Ok(())
}
