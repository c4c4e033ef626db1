//! What a live mass does to the stationary law: in one dimension it is known, with Gamma and without.
//!
//! Every chain is a vector of replicas. Where a mean of replicas is compared with an exact number, 5.5 of its standard errors are allowed: beyond
//! that a normal lies once in 2.6e7, and there are fewer than 25 comparisons in this file.

mod common;

use bnn::backend::Cpu;
use bnn::rng::{Stream, StreamTag};
use bnn::samplers::{ChainConfig, Method, Phase, PsgldMass, Sampler};
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
                let big_gamma = if gamma {
                    -g.signum() * hessian(x) / (m * m)
                } else {
                    0.0
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

impl Case {
    fn new(step: f64, decay: f64) -> Self {
        Self {
            step,
            beta: 0.0,
            temperature: T,
            decay,
            gamma: false,
            batches: EXACT,
            replicas: 4096,
            steps: 3000,
        }
    }
}

/// Mean and mean square over a chain's steps from its first quarter on, with the error that the replicas' spread gives.
fn measured(case: Case) -> [Estimate; 2] {
    let n = case.replicas;
    let mut c = ChainConfig::new(Method::Sgld, case.step);
    (c.temperature, c.beta) = (case.temperature, case.beta);
    (c.warmup_steps, c.sampling_steps, c.thinning) = (case.steps / 4, case.steps, 1);
    c.seed = 11;
    let mut s = Sampler::new(Cpu::new(1).unwrap(), &vec![0.5; n], c).unwrap();
    let live = PsgldMass {
        squares: vec![1.0; n],
        floor: FLOOR,
        decay: case.decay,
    };
    s.set_psgld_mass(&live).unwrap();
    let stream = Stream::new(12, StreamTag::Batch, 0);
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
        let report = if case.gamma {
            s.step_with_diagonal(&g, &h, 0.0).unwrap()
        } else {
            s.step_with_gradient(&g, 0.0).unwrap()
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

/// The sampler against the law of its own steps, away from neutral: T != 1, beta != 0, with Gamma and without, with batches and without.
///
/// Seen to fail here, each doubled or halved: Gamma and each of its factors, the step, the floor, T, the 2 and beta in the noise.
#[test]
fn the_law_is_that_of_its_own_steps() {
    let (step, beta) = (0.05, 2.5);
    for gamma in [true, false] {
        for batches in [EXACT, SKEWED] {
            let want = discretised(step, beta, gamma, batches);
            let got = measured(Case {
                beta,
                gamma,
                batches,
                ..Case::new(step, 0.0)
            });
            for (got, want) in got.iter().zip(want) {
                let what = format!("gamma {gamma}, {batches:?}: {got:?} for {want}");
                assert!(got.off(want) < SIGMAS, "{what}");
            }
        }
    }
}

/// The limit of small steps, from the laws at 0.05 and 0.025 without any random number: exp(log_post / T) with Gamma, M exp(log_post / T)
/// without. The mean squares are 0.437 and 0.660; what is left of the step's error at second order is below 0.002.
#[test]
fn gamma_alone_makes_the_law_the_target() {
    for (gamma, power) in [(true, 0.0), (false, 1.0)] {
        let [coarse, fine] = [0.05, 0.025].map(|step| discretised(step, 0.0, gamma, EXACT));
        for i in 0..2 {
            let (got, want) = (2.0 * fine[i] - coarse[i], weighted(power)[i]);
            assert!((got - want).abs() < 3e-3, "gamma {gamma}: {got} for {want}");
        }
    }
}

/// A running mean: M^decay exp(log_post / T) with Gamma, M exp(log_post / T) without, as steps become small. What is left of the step is
/// of its root in the mean (0.010, 0.007, 0.004, 0.003 at steps of 0.04, 0.02, 0.01, 0.005 with Gamma) and smaller in the mean square
/// (0.006, 0.004, 0.002, 0.001): allowed are 0.004 and 0.0015 beside the standard errors. With Gamma's factor 1 - decay left out the mean
/// square is 0.437 in place of 0.533.
#[test]
fn a_running_mean_keeps_the_power_decay_of_the_bias() {
    let decay = 0.5;
    for (gamma, power) in [(true, decay), (false, 1.0)] {
        let got = measured(Case {
            gamma,
            steps: 16_000,
            ..Case::new(0.005, decay)
        });
        for (i, left) in [(0, 0.004), (1, 0.0015)] {
            let (got, want) = (got[i], weighted(power)[i]);
            let off = (got.mean - want).abs();
            let what = format!("gamma {gamma}: {got:?} for {want}");
            assert!(off < SIGMAS * got.error + left, "{what}");
        }
    }
}

/// At T = 0 the chain settles where E[G g] = 0, not E[g] = 0.
///
/// At decay = 0 with g = y + a (probability p) or y - b (q), p a = q b, E[G g] = p (y + a) / (floor + y + a) - q (b - y) / (floor + b - y) is 0
/// at a root of (p - q) y^2 - (floor - (p - q) (a - b)) y - (p - q) a b = 0: y = 0.262 here. For decays near 1 it is 0 at
/// y = (1 - decay) E[g^3] / (2 sqrt(V) M) in first order: 0.0130 at 0.95. Where the gradient is so, the parameter is 0.178 and 0.0078 off.
/// What remains of steps and of the second order was 0.0006 and 0.012 of each, the standard errors 0.0005 and 0.011 of it. A tenth is allowed, at least 8 standard
/// errors, of which 0.03 may remain: beyond the other 5.6 lies a normal once in 4.7e7, at each of the two decays: a false alarm in 4.3e-8.
#[test]
fn a_gradient_that_is_in_its_own_mass_moves_the_mean() {
    let where_grad = |y: f64| {
        // Newton's iteration.
        (0..50).fold(0.4, |x, _| x - (grad(x) - y) / hessian(x))
    };
    let [(q, b), (p, a)] = [SKEWED[0], SKEWED[1]];
    let (b, skew) = (-b, p - q);
    let half = (FLOOR - skew * (a - b)) / (2.0 * skew);
    let own = half + (half * half + a * b).sqrt();
    let (v, third) = (p * a * a + q * b * b, p * a.powi(3) - q * b.powi(3));
    let first_order = |decay: f64| (1.0 - decay) * third / (2.0 * v.sqrt() * (FLOOR + v.sqrt()));
    for (decay, y) in [(0.0, own), (0.95, first_order(0.95))] {
        let [mean, _] = measured(Case {
            temperature: 0.0,
            batches: SKEWED,
            replicas: 2048,
            steps: 20_000,
            ..Case::new(0.002, decay)
        });
        let (shift, want) = (mean.mean - where_grad(0.0), where_grad(y) - where_grad(0.0));
        assert!(want.abs() > 80.0 * mean.error);
        assert!(
            (shift / want - 1.0).abs() < 0.1,
            "{shift} for {want} at {decay}"
        );
    }
}
