//! Flat vectors on the CPU: one pass over memory per update, in blocks that any thread may take.

use crate::backend::cpu::Cpu;
use crate::backend::cpu::chunk::{
    CHUNK, EXPONENT, LANES, accumulate, chunk, chunk_mut, load, same, store,
};
use crate::backend::cpu::isa::multiversion;
use crate::backend::cpu::noise::Draw;
use crate::backend::cpu::pages;
use crate::backend::elementwise::cpu as elementwise;
use crate::backend::gaussian::cpu as gaussian;
use crate::backend::preconditioned::cpu as preconditioned;
use crate::backend::range_moments::cpu as moments;
use crate::backend::vectors::{
    AdamW, Badodab, Block, ChainView, Combine, EkfStep, Langevin, Noise, NoisyKick,
    PreconditionedRule, PreconditionedUpdate, Random, RangeMoments, Reduce, Rule, StdDev, Vectors,
    ViDraw,
};
use crate::backend::{Input, Scalars};
use crate::error::{Error, Result};
use crate::rng::Stream;
use std::ops::Range;

impl Vectors for Cpu {
    type Vector = Vec<f32>;
    type Record = Scalars;

    fn record(&self) -> Result<Scalars> {
        Ok(Scalars::default())
    }

    fn read(&self, record: &mut Scalars) -> Result<Scalars> {
        Ok(std::mem::take(record))
    }

    fn zeros(&self, n: usize) -> Result<Vec<f32>> {
        pages::zeros(n, "a vector")
    }

    fn len(&self, buf: &Vec<f32>) -> usize {
        buf.len()
    }

    fn upload(&self, to: &mut Vec<f32>, from: &[f32]) -> Result<()> {
        same("upload", to.len(), from.len())?;
        to.copy_from_slice(from);
        Ok(())
    }

    fn download_from(&self, from: &Vec<f32>, at: usize, to: &mut [f32]) -> Result<()> {
        let part = at.checked_add(to.len()).and_then(|end| from.get(at..end));
        let part = part.ok_or_else(|| {
            let expected = format!("inside 0..{}", from.len());
            Error::out_of_range("elements", expected, format!("{} from {at}", to.len()))
        })?;
        to.copy_from_slice(part);
        Ok(())
    }

    fn combine(&self, y: &mut Vec<f32>, op: Combine<'_, Vec<f32>>) -> Result<()> {
        elementwise::combine(self, y, op)
    }

    fn random(&self, x: &mut Vec<f32>, what: Random, stream: Stream, step: u64) -> Result<()> {
        elementwise::random(self, x, what, stream, step);
        Ok(())
    }

    fn reduce(&self, of: Reduce<'_, Vec<f32>>) -> Result<f64> {
        elementwise::reduce(self, of)
    }

    fn sum_of_squares(&self, x: &Vec<f32>, record: &mut Scalars) -> Result<()> {
        record.grad_squares = elementwise::dot(self, x, x);
        // A sum in f64 of squares of f32s is finite just when all of them are.
        if !record.grad_squares.is_finite() {
            record.gradient = x.iter().position(|x| !x.is_finite());
        }
        Ok(())
    }

    fn check_finite(&self, x: &Vec<f32>, input: Input, record: &mut Scalars) -> Result<()> {
        let leaf = |range: Range<usize>, []: [&mut [f32]; 0]| {
            let x = &x[range.clone()];
            let found = non_finite_block(self.isa(), x)
                .then(|| x.iter().position(|x| !x.is_finite()))
                .flatten();
            found.map(|at| range.start + at)
        };
        let found = self.blocks(x.len(), [], leaf, Option::or);
        match input {
            Input::Gradient => record.gradient = found,
            Input::Second => record.second = found,
        }
        Ok(())
    }

    fn langevin_update(
        &self,
        rule: Rule,
        on: Langevin<'_, Self>,
        record: &mut Scalars,
    ) -> Result<()> {
        let n = on.theta.len();
        let variance = checked(rule, n, &on)?;
        let momenta = if rule.has_momenta() {
            same("momenta", n, on.momenta.len())?;
            &mut on.momenta[..]
        } else {
            &mut [][..]
        };
        if !record.is_sound() {
            return Ok(());
        }
        let given = Given {
            grad: on.grad,
            center: on.center,
            mass: on.mass,
            variance,
            noise: on.noise,
        };
        if on.blocks.is_empty() {
            given.move_range(self, rule, 0..n, [on.theta, momenta], record);
        }
        for block in on.blocks {
            let (r, mut found) = (block.range.clone(), Scalars::default());
            let parts = [&mut on.theta[r.clone()], &mut momenta[r.clone()]];
            let rule = match rule {
                Rule::Badodab(b) => Rule::Badodab(Badodab { xi: block.xi, ..b }),
                rule => rule,
            };
            given.move_range(self, rule, r, parts, &mut found);
            (block.kicked, block.kinetic) = (found.kicked, found.kinetic);
            record.kicked += found.kicked;
            record.kinetic += found.kinetic;
            record.virial += found.virial;
            record.state = record.state.or(found.state);
        }
        Ok(())
    }

    fn preconditioned_update(
        &self,
        rule: PreconditionedRule,
        on: PreconditionedUpdate<'_, Self>,
        record: &mut Scalars,
    ) -> Result<()> {
        preconditioned::update(self, rule, on, record)
    }

    fn range_moments(
        &self,
        out: &mut [RangeMoments],
        ranges: &[Range<usize>],
        at: ChainView<'_, Self>,
    ) -> Result<()> {
        moments::of_ranges(self, out, ranges, at)
    }

    fn adamw_update(
        &self,
        theta: &mut Vec<f32>,
        grad: &Vec<f32>,
        m: &mut Vec<f32>,
        v: &mut Vec<f32>,
        decay: &[Range<usize>],
        adamw: &AdamW,
        record: &mut Scalars,
    ) -> Result<()> {
        let n = theta.len();
        same("grad", n, grad.len())?;
        same("m", n, m.len())?;
        same("v", n, v.len())?;
        let mut end = 0;
        for r in decay {
            if r.start < end || r.end < r.start || r.end > n {
                let expected = format!("ascending, disjoint ranges inside 0..{n}");
                return Err(Error::out_of_range("decay", expected, format!("{r:?}")));
            }
            end = r.end;
        }
        let scalars = AdamScalars::new(adamw, record.grad_squares)?;
        if !record.is_sound() {
            return Ok(());
        }
        // What lies before a decayed range, that range, and so on; at the end, what is left.
        let mut at = 0;
        for r in decay.iter().cloned().chain(std::iter::once(n..n)) {
            for (end, keep) in [(r.start, 1.0), (r.end, scalars.keep)] {
                let part = at..end;
                let outs = [
                    &mut theta[part.clone()],
                    &mut m[part.clone()],
                    &mut v[part.clone()],
                ];
                let (grad, scalars) = (&grad[part], AdamScalars { keep, ..scalars });
                let leaf = |range: Range<usize>, [theta, m, v]: [&mut [f32]; 3]| {
                    let grad = &grad[range.clone()];
                    let found = adamw_block(self.isa(), scalars, &mut *theta, grad, m, v)
                        .then(|| theta.iter().position(|t| !t.is_finite()))
                        .flatten();
                    found.map(|i| at + range.start + i)
                };
                let found = self.blocks(grad.len(), outs, leaf, Option::or);
                record.state = record.state.or(found);
                at = end;
            }
        }
        Ok(())
    }

    fn gaussian_point(
        &self,
        out: &mut Vec<f32>,
        mean: &Vec<f32>,
        spread: StdDev<'_, Vec<f32>>,
        noise: Noise<'_, Self>,
    ) -> Result<()> {
        gaussian::point(self, out, mean, spread, noise)
    }

    fn ekf_update(
        &self,
        mean: &mut Vec<f32>,
        sd: &mut Vec<f32>,
        grad: &Vec<f32>,
        squares: &Vec<f32>,
        step: EkfStep,
        record: &mut Scalars,
    ) -> Result<()> {
        gaussian::ekf(self, mean, sd, grad, squares, step, record)
    }

    fn vi_gradient(
        &self,
        d_mean: &mut Vec<f32>,
        d_log_sd: &mut Vec<f32>,
        grad: &Vec<f32>,
        log_sd: &Vec<f32>,
        noise: Noise<'_, Self>,
        draw: ViDraw,
        record: &mut Scalars,
    ) -> Result<()> {
        gaussian::vi_gradient(self, [d_mean, d_log_sd], grad, log_sd, noise, draw, record)
    }
}

/// What a Langevin update reads of all elements.
struct Given<'a> {
    grad: &'a [f32],
    center: &'a [f32],
    mass: Option<&'a Vec<f32>>,
    variance: Option<(&'a Vec<f32>, NoisyKick)>,
    noise: Noise<'a, Cpu>,
}

impl Given<'_> {
    /// Moves the elements of `all`, which `parts` (theta, momenta) hold, and leaves their sums.
    fn move_range(
        &self,
        cpu: &Cpu,
        rule: Rule,
        all: Range<usize>,
        parts: [&mut [f32]; 2],
        record: &mut Scalars,
    ) {
        let (isa, n) = (cpu.isa(), all.len());
        let place = |r: &Range<usize>| all.start + r.start..all.start + r.end;
        let noisy = |r: &Range<usize>| self.variance.map(|(v, kick)| (&v[r.clone()], kick));
        let rule = match rule {
            Rule::Badodab(b) => {
                record.kicked = cpu.sum(n, |r| {
                    let (m, r) = (&parts[1][r.clone()], place(&r));
                    let mass = self.mass.map(|mass| &mass[r.clone()]);
                    kicked_block(isa, b.kick, m, &self.grad[r.clone()], mass, noisy(&r))
                });
                Rule::Baoa(b.coefficients(record.kicked, n))
            }
            rule => rule,
        };
        let leaf = |range: Range<usize>, [theta, momenta]: [&mut [f32]; 2]| {
            let r = place(&range);
            let given = [&self.grad[r.clone()], &self.center[r.clone()]];
            let mass = self.mass.map(|mass| &mass[r.clone()]);
            let (noisy, draw) = (noisy(&r), Draw::of(&self.noise, &r));
            let (t, m) = (&mut *theta, &mut *momenta);
            let sums = langevin_block(isa, rule, t, m, given, mass, noisy, draw);
            let bad = |i: &usize| {
                !theta[*i].is_finite() || momenta.get(*i).is_some_and(|m| !m.is_finite())
            };
            let state = (sums.nonfinite)
                .then(|| (0..theta.len()).find(bad))
                .flatten();
            (sums.kinetic, sums.virial, state.map(|at| r.start + at))
        };
        type Found = (f64, f64, Option<usize>);
        let join = |a: Found, b: Found| (a.0 + b.0, a.1 + b.1, a.2.or(b.2));
        (record.kinetic, record.virial, record.state) = cpu.blocks(n, parts, leaf, join);
    }
}

/// Checks the lengths of what an update of `n` elements reads, and returns the noise's variances with what the rule makes of them, if it adds noise.
fn checked<'a>(
    rule: Rule,
    n: usize,
    on: &Langevin<'a, Cpu>,
) -> Result<Option<(&'a Vec<f32>, NoisyKick)>> {
    same("grad", n, on.grad.len())?;
    same("center", n, on.center.len())?;
    if let Some(mass) = on.mass {
        same("mass", n, mass.len())?;
    }
    if let Noise::Given(xi) = on.noise {
        same("noise", n, xi.len())?;
    }
    check_blocks(rule, n, on.blocks)?;
    let kick = match (on.gradient_noise, rule) {
        (None, _) => return Ok(None),
        (Some(_), Rule::Baoa(k)) => k.noisy_kick(),
        (Some(_), Rule::Badodab(b)) => b.noisy_kick(),
        (Some(_), _) => {
            return Err(Error::conflict(
                "gradient_noise: only the updates of BAOA and BADODAB take the variance of the gradient's noise",
            ));
        }
    };
    same("gradient_noise", n, on.gradient_noise.map_or(0, Vec::len))?;
    Ok(on.gradient_noise.zip(kick))
}

/// Checks that blocks, if there are any, follow each other from the first of `n` elements to the last, under a rule that takes them.
fn check_blocks(rule: Rule, n: usize, blocks: &[Block]) -> Result<()> {
    if blocks.is_empty() {
        return Ok(());
    }
    if !matches!(rule, Rule::Badodab(_)) {
        return Err(Error::conflict(
            "blocks: only BADODAB's update has thermostats for ranges of its elements",
        ));
    }
    let mut end = 0;
    for Block { range, .. } in blocks {
        if range.start != end || range.end <= range.start || range.end > n {
            let expected = format!("ranges that follow each other from 0 to {n}");
            return Err(Error::out_of_range("block", expected, format!("{range:?}")));
        }
        end = range.end;
    }
    same("blocks", n, end)
}

/// The sums of a block.
struct Sums {
    kinetic: f64,
    virial: f64,
    nonfinite: bool,
}

/// The running sums that a block's chunks add to.
struct Running {
    kinetic: [f64; LANES],
    virial: [f64; LANES],
    top: [u32; CHUNK], // the largest exponent field, which is full when a number is not finite
}

/// Updates one chunk in one loop: every number is read, moved and written once. `f` maps (theta, m, gradient, 1/M, sqrt M, noise), and the
/// element's place, to (theta, m).
#[inline(always)]
fn move_chunk(
    t: &mut [f32; CHUNK],
    m: &mut [f32; CHUNK],
    [g, c, xi]: [&[f32; CHUNK]; 3],
    mass: Option<&[f32; CHUNK]>,
    sums: &mut Running,
    f: impl Fn(f32, f32, f32, f32, f32, f32, usize) -> (f32, f32),
) {
    let (mut virial, mut kinetic) = ([0.0; CHUNK], [0.0; CHUNK]);
    let mut one = |i: usize, inverse: f32, root: f32| {
        virial[i] = (t[i] - c[i]) * g[i];
        (t[i], m[i]) = f(t[i], m[i], g[i], inverse, root, xi[i], i);
        kinetic[i] = m[i] * inverse * m[i]; // in this order neither a large nor a small mass leaves f32's range
        let bits = (t[i].to_bits() & EXPONENT).max(m[i].to_bits() & EXPONENT);
        sums.top[i] = bits.max(sums.top[i]);
    };
    match mass {
        Some(mass) => (0..CHUNK).for_each(|i| one(i, 1.0 / mass[i], mass[i].sqrt())),
        None => (0..CHUNK).for_each(|i| one(i, 1.0, 1.0)),
    }
    accumulate(&mut sums.virial, &virial);
    accumulate(&mut sums.kinetic, &kinetic);
}

#[inline(always)]
fn apply(
    rule: Rule,
    t: &mut [f32; CHUNK],
    m: &mut [f32; CHUNK],
    given: [&[f32; CHUNK]; 3],
    mass: Option<&[f32; CHUNK]>,
    noisy: Option<(&[f32; CHUNK], NoisyKick)>,
    sums: &mut Running,
) {
    match rule {
        Rule::Sgld { drift, noise } => {
            move_chunk(t, m, given, mass, sums, |t, m, g, inverse, root, xi, _| {
                (t + inverse * (drift * g + noise * root * xi), m)
            })
        }
        Rule::Sglrw { pull, length } => {
            move_chunk(t, m, given, mass, sums, |t, m, g, inverse, root, u, _| {
                let over_root = inverse * root;
                let up = 0.5 + 0.5 * (pull * over_root * g).clamp(-1.0, 1.0);
                let step = length * over_root;
                (if u < up { t + step } else { t - step }, m)
            })
        }
        Rule::Sghmc(k) => move_chunk(t, m, given, mass, sums, |t, m, g, inverse, root, xi, _| {
            let m = m + (k.kick * g - k.friction * m + k.noise * root * xi);
            (t + k.drift * inverse * m, m)
        }),
        Rule::SghmcEuler(k) => {
            move_chunk(t, m, given, mass, sums, |t, m, g, inverse, root, xi, _| {
                let t = t + k.drift * inverse * m;
                (t, m + (k.kick * g - k.friction * m + k.noise * root * xi))
            })
        }
        Rule::Badodab(_) => unreachable!("has become BAOA's"),
        Rule::Baoa(k) => match noisy {
            None => move_chunk(t, m, given, mass, sums, |t, m, g, inverse, root, xi, _| {
                let half = m + k.kick * g;
                let middle = t + k.drift * inverse * half;
                let m = half + (k.noise * root * xi - k.friction * half);
                (middle + k.drift * inverse * m, m)
            }),
            Some((v, n)) => {
                move_chunk(t, m, given, mass, sums, |t, m, g, inverse, root, xi, i| {
                    // Shares that are lost, not kept: 1 - c^2 of a c near 1 would have no digits left.
                    let rho = (n.gain * v[i] * inverse).min(1.0);
                    let lost = 2.0 * rho / (1.0 + rho);
                    let half = (m - lost * m) + k.kick * (1.0 - 0.5 * lost) * g;
                    let middle = t + k.drift * inverse * half;
                    // Where all is lost, 0 / 0 would not be 0.
                    let rest = (k.friction - lost).max(0.0) / (1.0 - lost).max(f32::MIN_POSITIVE);
                    let (left, spread) = match n.thermal {
                        Some(thermal) => (rest, (thermal * rest * (2.0 - rest)).sqrt()),
                        None => (k.friction, k.noise),
                    };
                    let m = half + (spread * root * xi - left * half);
                    (middle + k.drift * inverse * m, m)
                })
            }
        },
    }
}

/// Returns the noise of the chunk at `at`. This is no closure of the block's: one that is not inlined is compiled without the block's
/// instructions, and took twice the time of the whole update.
#[inline(always)]
fn noise(rule: Rule, draw: Draw<'_>, at: usize) -> [f32; CHUNK] {
    match rule {
        Rule::Sglrw { .. } => draw.uniforms(at),
        _ => draw.normals(at),
    }
}

multiversion! {
    fn langevin_block(
        rule: Rule,
        theta: &mut [f32],
        momenta: &mut [f32],
        gradient_and_center: [&[f32]; 2],
        mass: Option<&[f32]>,
        noisy: Option<(&[f32], NoisyKick)>,
        draw: Draw<'_>,
    ) -> Sums {
        let mut sums = Running { kinetic: [0.0; LANES], virial: [0.0; LANES], top: [0; CHUNK] };
        let [grad, center] = gradient_and_center;
        let whole = theta.len() / CHUNK * CHUNK;
        for at in (0..whole).step_by(CHUNK) {
            let xi = noise(rule, draw, at);
            let given = [chunk(grad, at), chunk(center, at), &xi];
            let mass = mass.map(|mass| chunk(mass, at));
            let noisy = noisy.map(|(v, kick)| (chunk(v, at), kick));
            let t = chunk_mut(theta, at);
            if momenta.is_empty() {
                apply(rule, t, &mut [0.0; CHUNK], given, mass, noisy, &mut sums)
            } else {
                apply(rule, t, chunk_mut(momenta, at), given, mass, noisy, &mut sums)
            }
        }
        if whole < theta.len() {
            let (mut t, mut m) = (load(theta, whole, 0.0), load(momenta, whole, 0.0));
            let mut xi = noise(rule, draw, whole);
            xi[theta.len() - whole..].fill(0.0); // beyond the end momenta stay 0 and add nothing to the sums
            let given = [&load(grad, whole, 0.0), &load(center, whole, 0.0), &xi];
            let mass = mass.map(|mass| load(mass, whole, 1.0));
            let noisy = noisy.map(|(v, kick)| (load(v, whole, 0.0), kick));
            let noisy = noisy.as_ref().map(|(v, kick)| (v, *kick));
            apply(rule, &mut t, &mut m, given, mass.as_ref(), noisy, &mut sums);
            store(theta, whole, &t);
            store(momenta, whole, &m);
        }
        Sums {
            kinetic: sums.kinetic.iter().sum(),
            virial: sums.virial.iter().sum(),
            nonfinite: sums.top.contains(&EXPONENT),
        }
    }
}

multiversion! {
    fn kicked_block(
        kick: f32,
        momenta: &[f32],
        grad: &[f32],
        mass: Option<&[f32]>,
        noisy: Option<(&[f32], NoisyKick)>,
    ) -> f64 {
        let mut sums = [0.0; LANES];
        for at in (0..momenta.len()).step_by(CHUNK) {
            let (m, g) = (load(momenta, at, 0.0), load(grad, at, 0.0));
            let inverse = mass.map_or([1.0; CHUNK], |mass| load(mass, at, 1.0).map(|m| 1.0 / m));
            let rho = noisy.map_or([0.0; CHUNK], |(v, n)| {
                let v = load(v, at, 0.0);
                std::array::from_fn(|i| (n.gain * v[i] * inverse[i]).min(1.0))
            });
            let mut terms = [0.0; CHUNK];
            for i in 0..CHUNK {
                let lost = 2.0 * rho[i] / (1.0 + rho[i]);
                let m = (m[i] - lost * m[i]) + kick * (1.0 - 0.5 * lost) * g[i];
                terms[i] = m * inverse[i] * m; // in this order neither a large nor a small mass leaves f32's range
            }
            accumulate(&mut sums, &terms);
        }
        sums.iter().sum()
    }
}

multiversion! {
    fn non_finite_block(x: &[f32]) -> bool {
        x.iter().fold(0, |top, x| (x.to_bits() & EXPONENT).max(top)) == EXPONENT
    }
}

/// The coefficients of one step of AdamW.
#[derive(Clone, Copy)]
struct AdamScalars {
    grad_scale: f32,
    keep: f32, // 1 - lr * weight_decay
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    rate: f32,      // lr / (1 - beta1^t)
    root_bias: f32, // 1 / sqrt(1 - beta2^t)
    eps: f32,
}

impl AdamScalars {
    fn new(a: &AdamW, grad_squares: f64) -> Result<Self> {
        for (name, beta) in [("beta1", a.beta1), ("beta2", a.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(Error::out_of_range(name, "0 or more and below 1", beta));
            }
        }
        if a.step == 0 {
            return Err(Error::out_of_range("step", "counted from 1", 0));
        }
        let t = a.step as f64;
        Ok(Self {
            grad_scale: a.scale(grad_squares) as f32,
            keep: (1.0 - a.lr * a.weight_decay) as f32,
            one_minus_beta1: (1.0 - a.beta1) as f32,
            beta2: a.beta2 as f32,
            one_minus_beta2: (1.0 - a.beta2) as f32,
            rate: (a.lr / (1.0 - a.beta1.powf(t))) as f32,
            root_bias: (1.0 / (1.0 - a.beta2.powf(t)).sqrt()) as f32,
            eps: a.eps as f32,
        })
    }
}

multiversion! {
    fn adamw_block(k: AdamScalars, theta: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) -> bool {
        let mut top = 0; // the largest exponent field, which is full when a parameter is not finite
        for (((t, g), m), v) in theta.iter_mut().zip(grad).zip(m).zip(v) {
            let g = k.grad_scale * g;
            *m += k.one_minus_beta1 * (g - *m);
            *v = k.beta2 * *v + k.one_minus_beta2 * (g * g);
            *t = k.keep * *t - k.rate * *m / (v.sqrt() * k.root_bias + k.eps);
            top = (t.to_bits() & EXPONENT).max(top);
        }
        top == EXPONENT
    }
}
