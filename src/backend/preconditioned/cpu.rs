//! Langevin dynamics with an adaptive preconditioner (pSGLD): mean squares, mass and parameters in one pass.

use crate::backend::Scalars;
use crate::backend::cpu::Cpu;
use crate::backend::cpu::chunk::{CHUNK, EXPONENT, LANES, accumulate, load, same, store};
use crate::backend::cpu::isa::multiversion;
use crate::backend::cpu::noise::Draw;
use crate::backend::vectors::{Noise, PreconditionedRule, PreconditionedUpdate};
use crate::error::Result;
use std::ops::Range;

/// Implements [`crate::backend::Vectors::preconditioned_update`] on the CPU.
pub fn update(
    cpu: &Cpu,
    rule: PreconditionedRule,
    on: PreconditionedUpdate<'_, Cpu>,
    record: &mut Scalars,
) -> Result<()> {
    let n = on.theta.len();
    for (what, len) in [
        ("squares", on.squares.len()),
        ("mass", on.mass.len()),
        ("grad", on.grad.len()),
        ("diagonal", on.diagonal.map_or(n, Vec::len)),
        ("center", on.center.len()),
    ] {
        same(what, n, len)?;
    }
    if let Noise::Given(xi) = on.noise {
        same("noise", n, xi.len())?;
    }
    if !record.is_sound() {
        return Ok(());
    }
    let leaf = |range: Range<usize>, [theta, squares, mass]: [&mut [f32]; 3]| {
        let draw = Draw::of(&on.noise, &range);
        let (grad, center) = (&on.grad[range.clone()], &on.center[range.clone()]);
        let diagonal = on.diagonal.map(|h| &h[range.clone()]);
        let (virial, nonfinite) = preconditioned_block(
            cpu.isa(),
            rule,
            &mut *theta,
            squares,
            mass,
            grad,
            diagonal,
            center,
            draw,
        );
        let bad = |i: &usize| !theta[*i].is_finite();
        let state = nonfinite.then(|| (0..theta.len()).find(bad)).flatten();
        (virial, state.map(|at| range.start + at))
    };
    let join = |a: (f64, Option<usize>), b: (f64, Option<usize>)| (a.0 + b.0, a.1.or(b.1));
    (record.kinetic, record.kicked) = (0.0, 0.0);
    (record.virial, record.state) = cpu.blocks(n, [on.theta, on.squares, on.mass], leaf, join);
    Ok(())
}

/// Updates one chunk in one loop and returns its virial terms. `divergence` maps (element, sqrt V, 1/M) to what is subtracted from the
/// drift.
#[inline(always)]
fn move_chunk(
    k: PreconditionedRule,
    [t, v, m]: [&mut [f32; CHUNK]; 3],
    [g, c, xi]: [&[f32; CHUNK]; 3],
    top: &mut [u32; CHUNK],
    divergence: impl Fn(usize, f32, f32) -> f32,
) -> [f32; CHUNK] {
    let mut virial = [0.0; CHUNK];
    for i in 0..CHUNK {
        virial[i] = (t[i] - c[i]) * g[i];
        v[i] = k.keep * v[i] + k.take * (g[i] * g[i]);
        let root = v[i].sqrt();
        m[i] = k.floor + root;
        let inverse = 1.0 / m[i];
        let pull = k.drift * g[i] - divergence(i, root, inverse);
        t[i] += inverse * (pull + k.noise * m[i].sqrt() * xi[i]);
        // A V beyond f32 shows here too: 0 times infinity.
        top[i] = (t[i].to_bits() & EXPONENT).max(top[i]);
    }
    virial
}

multiversion! {
    fn preconditioned_block(
        rule: PreconditionedRule,
        theta: &mut [f32],
        squares: &mut [f32],
        mass: &mut [f32],
        grad: &[f32],
        diagonal: Option<&[f32]>,
        center: &[f32],
        draw: Draw<'_>,
    ) -> (f64, bool) {
        let mut sums = [0.0; LANES];
        let mut top = [0; CHUNK]; // the largest exponent field, which is full when a number is not finite
        for at in (0..theta.len()).step_by(CHUNK) {
            let (mut t, mut v, mut m) = (load(theta, at, 0.0), load(squares, at, 0.0), [0.0; CHUNK]);
            let (g, c, xi) = (load(grad, at, 0.0), load(center, at, 0.0), draw.normals(at));
            let (state, given) = ([&mut t, &mut v, &mut m], [&g, &c, &xi]);
            let virial = match diagonal.map(|h| load(h, at, 0.0)) {
                Some(h) => move_chunk(rule, state, given, &mut top, |i, root, inverse| {
                    // g / sqrt(V) is at most 1 / sqrt(take), and 0 where there never was a gradient.
                    let share = if root > 0.0 { g[i] / root } else { 0.0 };
                    rule.gamma * share * (h[i] * inverse)
                }),
                None => move_chunk(rule, state, given, &mut top, |_, _, _| 0.0),
            };
            accumulate(&mut sums, &virial);
            store(theta, at, &t);
            store(squares, at, &v);
            store(mass, at, &m);
        }
        // Beyond the end theta moves by noise over the floor alone, which is finite, and is not stored.
        (sums.iter().sum(), top.contains(&EXPONENT))
    }
}
