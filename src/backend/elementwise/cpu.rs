//! Elementwise arithmetic, random numbers and sums on the CPU.

use crate::backend::cpu::Cpu;
use crate::backend::cpu::chunk::{CHUNK, load, same, store};
use crate::backend::cpu::isa::multiversion;
use crate::backend::gaussian::cpu::sum_of_sds;
use crate::backend::vectors::{Combine, Random, Reduce};
use crate::error::Result;
use crate::rng::Stream;
use std::ops::Range;

/// Applies `f` to each element of `y`, with that of `x` at its place.
fn zip(cpu: &Cpu, y: &mut [f32], x: &[f32], f: impl Fn(&mut f32, f32) + Sync) -> Result<()> {
    same("combine", y.len(), x.len())?;
    let leaf = |range: Range<usize>, [y]: [&mut [f32]; 1]| {
        y.iter_mut().zip(&x[range]).for_each(|(y, x)| f(y, *x));
    };
    cpu.blocks(x.len(), [y], leaf, |(), ()| ());
    Ok(())
}

/// [`crate::backend::Vectors::combine`].
pub fn combine(cpu: &Cpu, y: &mut [f32], op: Combine<'_, Vec<f32>>) -> Result<()> {
    match op {
        Combine::Fill(value) => y.fill(value),
        Combine::Scale(a) => {
            let leaf = |_, [y]: [&mut [f32]; 1]| y.iter_mut().for_each(|y| *y *= a);
            cpu.blocks(y.len(), [y], leaf, |(), ()| ());
        }
        Combine::Copy(x) => {
            same("combine", y.len(), x.len())?;
            y.copy_from_slice(x);
        }
        Combine::Axpy(a, x) => zip(cpu, y, x, |y, x| *y += a * x)?,
        Combine::Divide(x) => zip(cpu, y, x, |y, x| *y /= x)?,
        Combine::AddSquares(x) => zip(cpu, y, x, |y, x| *y += x * x)?,
    }
    Ok(())
}

multiversion! {
    fn normal_block(stream: Stream, step: u64, first: usize, out: &mut [f32]) {
        for at in (0..out.len()).step_by(CHUNK) {
            store(out, at, &stream.normals(step, ((first + at) / CHUNK) as u64));
        }
    }
}

multiversion! {
    fn sign_block(stream: Stream, step: u64, first: usize, out: &mut [f32]) {
        for at in (0..out.len()).step_by(CHUNK) {
            let u = stream.uniforms(step, ((first + at) / CHUNK) as u64);
            store(out, at, &u.map(|u| if u < 0.5 { 1.0 } else { -1.0 }));
        }
    }
}

/// [`crate::backend::Vectors::random`].
pub fn random(cpu: &Cpu, x: &mut [f32], what: Random, stream: Stream, step: u64) {
    let leaf = |range: Range<usize>, [x]: [&mut [f32]; 1]| match what {
        Random::Normal => normal_block(cpu.isa(), stream, step, range.start, x),
        Random::Signs => sign_block(cpu.isa(), stream, step, range.start, x),
    };
    cpu.blocks(x.len(), [x], leaf, |(), ()| ());
}

multiversion! {
    fn dot_block(x: &[f32], y: &[f32]) -> f64 {
        let mut sums = [0.0; CHUNK];
        for at in (0..x.len()).step_by(CHUNK) {
            let (x, y) = (load(x, at, 0.0), load(y, at, 0.0));
            for i in 0..CHUNK {
                sums[i] += x[i] as f64 * y[i] as f64;
            }
        }
        sums.iter().sum()
    }
}

/// The inner product of vectors of one length.
pub fn dot(cpu: &Cpu, x: &[f32], y: &[f32]) -> f64 {
    cpu.sum(x.len(), |r| dot_block(cpu.isa(), &x[r.clone()], &y[r]))
}

/// [`crate::backend::Vectors::reduce`].
pub fn reduce(cpu: &Cpu, of: Reduce<'_, Vec<f32>>) -> Result<f64> {
    match of {
        Reduce::Dot(x, y) => {
            same("dot", x.len(), y.len())?;
            Ok(dot(cpu, x, y))
        }
        Reduce::Sds(spread) => Ok(sum_of_sds(cpu, spread)),
    }
}
