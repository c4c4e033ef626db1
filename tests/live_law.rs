//! What a live mass does to the stationary law: in one dimension it is known, with Gamma and without.
//!
//! Every chain is a vector of replicas. Where a mean of replicas is compared with an exact number, 5.5 of its standard errors are allowed: beyond
//! that a normal lies once in 2.6e7, and there are fewer than 25 comparisons in this file.

mod common;

use bnn::backend::Cpu;
use bnn::rng::{Purpose, Stream};
use bnn::samplers::{Config, LiveMass, Method, Phase, Sampler};
use common::replicas::Estimate;

const T: f64 = 0.7;
const FLOOR: f64 = 0.8;
const SIGMAS: f64 = 5.5;

/// log_post = -(x^2 / 2 + x^4 / 4 - 0.6 x): no quadratic, and not symmetric, so that the mean shows a wrong mass too.
fn log_post(x: f64) -> f64 {
    -(x * x / 2.0 + x.powi(4) / 4.0 - 0.6 * x)
}

fn grad(x: f64) -> f64 {
    -(x + x.powi(3) - 0.6)
}

fn hessian(x: f64) -> f64 {
    -(1.0 + 3.0 * x * x)
}

/// Mean and mean square under a density on a grid that leaves nothing out.
fn moments(density: impl Fn(f64) -> f64) -> [f64; 2] {
    let (mut sums, dx) = ([0.0; 3], 1e-4);
    for i in 0..80_000 {
        let x = -4.0 + (i as f64 + 0.5) * dx;
        let p = density(x);
        [1.0, x, x * x]
            .iter()
            .zip(&mut sums)
            .for_each(|(f, s)| *s += p * f);
    }
    [sums[1] / sums[0], sums[2] / sums[0]]
}

/// M(x)^power exp(log_post / T), M at V = grad^2.
fn weighted(power: f64) -> [f64; 2] {
    moments(|x| (FLOOR + grad(x).abs()).powf(power) * (log_post(x) / T).exp())
}

/// A batch's noise in the gradient: (probability, value), of mean 0.
type Batches = [(f64, f64)];
const EXACT: &Batches = &[(1.0, 0.0)];
const SKEWED: &Batches = &[(0.75, -0.5), (0.25, 1.5)];

/// Mean and mean square of the stationary law of the chain itself at decay = 0, where a step depends on x alone: x' is normal given x and
/// the batch. The law on a grid, by going on until it stays.
fn discretised(step: f64, beta: f64, gamma: bool, batches: &Batches) -> [f64; 2] {
    const N: usize = 1200;
    let (low, dx) = (-2.8, 5e-3);
    let at = |i: usize| low + (i as f64 + 0.5) * dx;
    let kernel: Vec<Vec<f64>> = (0..N)
        .map(|i| {
            let x = at(i);
            let mut row = vec![0.0; N];
            for &(p, noise) in batches {
                let g = grad(x) + noise;
                let m = FLOOR + g.abs();
                let big_gamma = match gamma {
                    true => -g.signum() * hessian(x) / (m * m),
                    false => 0.0,
                };
                let mean = x + step * (g / m + T * big_gamma);
                let sd = (T * step * (2.0 - T * step * beta) / m).sqrt();
                for (j, to) in row.iter_mut().enumerate() {
                    let z = (at(j) - mean) / sd;
                    if z.abs() < 9.0 {
                        *to += p / sd * (-z * z / 2.0).exp();
                    }
                }
            }
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|k| *k /= sum);
            row
        })
        .collect();
    let mut p = vec![1.0 / N as f64; N];
    loop {
        let mut next = vec![0.0; N];
        for (p, row) in p.iter().zip(&kernel) {
            next.iter_mut().zip(row).for_each(|(n, k)| *n += p * k);
        }
        let change: f64 = p.iter().zip(&next).map(|(a, b)| (a - b).abs()).sum();
        p = next;
        if change < 1e-10 {
            break;
        }
    }
    let mean = |f: fn(f64) -> f64| p.iter().enumerate().map(|(i, p)| p * f(at(i))).sum::<f64>();
    [mean(|x| x), mean(|x| x * x)]
}

struct Case {
    step: f64,
    beta: f64,
    temperature: f64,
    decay: f64,
    gamma: bool,
    batches: &'static Batches,
    replicas: usize,
    steps: u64,
}

/// Mean and mean square over a chain's steps from its first quarter on, with the error that the replicas' spread gives.
fn measured(case: Case) -> [Estimate; 2] {
    let n = case.replicas;
    let mut c = Config::new(Method::Sgld, case.step);
    (c.temperature, c.beta) = (case.temperature, case.beta);
    (c.warmup_steps, c.sampling_steps, c.thinning) = (case.steps / 4, case.steps, 1);
    c.seed = 11;
    let mut s = Sampler::new(Cpu::new(1).unwrap(), &vec![0.5; n], c).unwrap();
    let live = LiveMass {
        squares: vec![1.0; n],
        floor: FLOOR,
        decay: case.decay,
    };
    s.set_live_mass(&live).unwrap();
    let stream = Stream::new(12, Purpose::Batch, 0);
    let (mut g, mut h) = (vec![0.0f32; n], vec![0.0f32; n]);
    let mut sums = [vec![0.0; n], vec![0.0; n]];
    while s.phase() != Phase::Done {
        for (i, &x) in s.params().iter().enumerate() {
            let mut noise = 0.0;
            if case.batches.len() > 1 {
                let mut u = stream.uniform(s.step(), i as u64);
                for &(p, value) in case.batches {
                    if (0.0..p).contains(&u) {
                        noise = value;
                    }
                    u -= p;
                }
            }
            g[i] = (grad(x as f64) + noise) as f32;
            h[i] = hessian(x as f64) as f32;
        }
        let report = match case.gamma {
            true => s.step_with_diagonal(&g, &h, 0.0).unwrap(),
            false => s.step_with_gradient(&g, 0.0).unwrap(),
        };
        if report.phase == Phase::Sampling {
            for (i, &x) in s.params().iter().enumerate() {
                sums[0][i] += x as f64;
                sums[1][i] += (x as f64).powi(2);
            }
        }
    }
    sums.map(|s| {
        let means: Vec<f64> = s.iter().map(|s| s / case.steps as f64).collect();
        Estimate::of(&means)
    })
}

#[test]
fn explore() {
    println!("M^0 {:?}", weighted(0.0));
    println!("M^1 {:?}", weighted(1.0));
    for gamma in [true, false] {
        for step in [0.1, 0.05, 0.025] {
            println!("{gamma} {step} {:?}", discretised(step, 0.0, gamma, EXACT));
        }
        for batches in [EXACT, SKEWED] {
            let want = discretised(0.05, 2.5, gamma, batches);
            let got = measured(Case {
                step: 0.05,
                beta: 2.5,
                temperature: T,
                decay: 0.0,
                gamma,
                batches,
                replicas: 4096,
                steps: 3000,
            });
            println!(
                "{gamma} {want:?} {got:?} off {:?}",
                [got[0].off(want[0]), got[1].off(want[1])]
            );
        }
    }
    for decay in [0.5, 0.9, 0.99] {
        println!("M^{decay} {:?}", weighted(decay));
        for gamma in [true, false] {
            for step in [0.04, 0.02, 0.01, 0.005] {
                let got = measured(Case {
                    step,
                    beta: 0.0,
                    temperature: T,
                    decay,
                    gamma,
                    batches: EXACT,
                    replicas: 8192,
                    steps: (100.0 / step) as u64,
                });
                println!("{decay} {gamma} {step} {got:?}");
            }
        }
    }
}
