//! What the order of minibatches does to a chain: the exact bias of independent batches, sweeps, and sweeps there and back.

mod common;

use bnn::backend::Cpu;
use bnn::rng::{Stream, StreamTag};
use bnn::samplers::{Method, Phase, Sampler};
use common::plane::*;

/// Two sides of a normal beyond this: 1.5e-9, three times.
const Z: f64 = 6.04;

/// Centres of four batches whose log posteriors are -(theta - centre)^2 / 2: their gradients differ by additive noise.
const CENTRES: [f64; 4] = [1.5, -0.5, -2.0, 1.0];

/// Every order of four batches.
fn permutations() -> Vec<Vec<usize>> {
    let all = (0..256).map(|i: usize| vec![i & 3, i >> 2 & 3, i >> 4 & 3, i >> 6]);
    all.filter(|p| (0..4).all(|i| p.contains(&i))).collect()
}

/// E theta^2 of BAOA at T = 0 in equilibrium, averaged over a cycle: cycles are drawn alike and independently from `cycles`, all of one length
/// and with the sum of their centres 0 in the mean.
fn square_from_batches(h: f64, cycles: &[Vec<usize>]) -> f64 {
    let mut c = config(Method::Baoa, h, 1.0, 0.0, 1.0, 0.0);
    c.temperature = 0.0;
    let (f, _) = linear_step(&c, &UNIT);
    // What a unit of gradient adds to (theta, m): a kick of h, then the rest of the step.
    let kick = [[0.0, 0.0], [h, 0.0]];
    let no_force = Direction {
        lambda: 0.0,
        ..UNIT
    };
    let b = multiply(&linear_step(&c, &no_force).0, &kick);
    let apply = |a: &Matrix, u: [f64; 2]| {
        [
            a[0][0] * u[0] + a[0][1] * u[1],
            a[1][0] * u[0] + a[1][1] * u[1],
        ]
    };
    // A cycle from rest: where it leads after each step.
    let paths: Vec<Vec<[f64; 2]>> = cycles
        .iter()
        .map(|cycle| {
            let mut u = [0.0; 2];
            let to = |i: &usize| {
                let v = apply(&f, u);
                u = [v[0] + b[0][0] * CENTRES[*i], v[1] + b[1][0] * CENTRES[*i]];
                u
            };
            cycle.iter().map(to).collect()
        })
        .collect();
    let (n, count) = (cycles[0].len(), cycles.len() as f64);
    let ends = || paths.iter().map(|p| p[n - 1]);
    // The state at a cycle's start, over many: mean mu = F^n mu + E u, second moment P = F^n P F^n' + terms, iterated.
    let power = (1..n).fold(f, |a, _| multiply(&f, &a));
    let (mut mu, mut p) = ([0.0; 2], [[0.0; 2]; 2]);
    for _ in 0..20_000 {
        let carried = apply(&power, mu);
        let mut next = multiply(&multiply(&power, &p), &transpose(&power));
        let mut mean = [0.0; 2];
        for u in ends() {
            for i in 0..2 {
                mean[i] += (carried[i] + u[i]) / count;
                for j in 0..2 {
                    next[i][j] += (carried[i] * u[j] + u[i] * carried[j] + u[i] * u[j]) / count;
                }
            }
        }
        (mu, p) = (mean, next);
    }
    // Within the cycle.
    let (mut total, mut power) = (0.0, [[1.0, 0.0], [0.0, 1.0]]);
    for k in 0..n {
        power = multiply(&f, &power);
        let carried = apply(&power, mu);
        let square = multiply(&multiply(&power, &p), &transpose(&power))[0][0];
        let cross: f64 = paths
            .iter()
            .map(|p| 2.0 * carried[0] * p[k][0] + p[k][0].powi(2))
            .sum();
        total += square + cross / count;
    }
    total / n as f64
}

#[test]
fn sweeps_there_and_back_raise_the_order_of_the_minibatches_bias() {
    // The gradients' noise alone, at T = 0: what it adds to E theta^2 is its bias at any temperature. Exactly: of first order in h for
    // independent batches, of third for a new order each sweep, of fourth for sweeps there and back.
    let single: Vec<Vec<usize>> = (0..4).map(|i| vec![i]).collect();
    let sweeps = permutations();
    let back = |p: &Vec<usize>| p.iter().chain(p.iter().rev()).copied().collect();
    let symmetric: Vec<Vec<usize>> = sweeps.iter().map(back).collect();
    let h = 0.2;
    for (name, cycles, order) in [
        ("independent", &single, 1.0),
        ("sweep", &sweeps, 3.0),
        ("symmetric", &symmetric, 4.0),
    ] {
        let want = square_from_batches(h, cycles);
        let slope =
            (square_from_batches(h / 2.0, cycles) / square_from_batches(h / 4.0, cycles)).log2();
        assert!((slope - order).abs() < 0.06, "{name}: {slope}");
        // The sampler itself, in many coordinates with batches of their own: the mean square within Z of its own standard error.
        let (n, length) = (2048, cycles[0].len() as u64);
        let mut c = config(Method::Baoa, h, 1.0, 0.0, 1.0, 0.0);
        (c.warmup_steps, c.sampling_steps, c.thinning) = (160, 480, 1);
        let mut sampler = Sampler::new(Cpu::new(1).unwrap(), &vec![0.0; n], c).unwrap();
        let stream = Stream::new(21, StreamTag::Evaluate, 3);
        let mut sums = vec![0.0; n];
        while sampler.phase() != Phase::Done {
            let step = sampler.step();
            let of = |i: usize| {
                let drawn = stream.below(cycles.len() as u64, step / length, i as u64) as usize;
                CENTRES[cycles[drawn][(step % length) as usize]] as f32
            };
            let theta = sampler.params();
            let grad = theta.iter().enumerate().map(|(i, t)| of(i) - t).collect();
            if sampler.step_with_gradient(&grad, 0.0).unwrap().sample_due {
                let each = sums.iter_mut().zip(sampler.params());
                each.for_each(|(s, x)| *s += (*x as f64).powi(2) / 480.0);
            }
        }
        let mean = sums.iter().sum::<f64>() / n as f64;
        let spread = sums.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n as f64;
        let error = (spread / n as f64).sqrt();
        assert!(
            (mean - want).abs() < Z * error,
            "{name}: {mean} +- {error}, {want}"
        );
        assert!(
            error < 0.02 * want,
            "{name}: too coarse to tell the orders apart"
        );
    }
}
