//! Simulation-based calibration (Cook, Gelman & Rubin 2006; Talts et al. 2018) on softmax regression: parameters from the prior,
//! data from the parameters, a chain on the data; the rank of the truth among the chain's samples is uniform if and only if the
//! chain draws from the posterior.
//!
//! 1536 simulations run side by side in one parameter vector. A rank is of one of 17 values, and the statistic is chi-square with
//! 16 degrees of freedom over independent simulations.

mod common;

use bnn::backend::Cpu;
use bnn::rng::{Stream, StreamTag};
use bnn::samplers::{ChainConfig, Method, Sampler, StepReport};
use common::replicas::run;

const CLASSES: usize = 3;
/// Features, the first of which is 1.
const FEATURES: usize = 2;
const DIM: usize = CLASSES * FEATURES;
const DATA: usize = 12;
const SIMULATIONS: usize = 1536;
const SAMPLES: usize = 16;
const PRIOR_SD: f32 = 1.2;

/// All simulations: elements of theta by simulations, as the samplers' vector has them.
struct World {
    truth: Vec<f32>,   // (DIM, SIMULATIONS)
    x: Vec<f32>,       // (DATA, SIMULATIONS): the second feature
    label: Vec<usize>, // (DATA, SIMULATIONS)
}

/// Probabilities of the classes at feature x for simulation s; weight (class k, feature f) is element k * FEATURES + f.
fn probabilities(theta: &[f32], s: usize, x: f32) -> [f32; CLASSES] {
    let logit = |k: usize| {
        let w = |f: usize| theta[(k * FEATURES + f) * SIMULATIONS + s];
        w(0) + w(1) * x
    };
    let z: [f32; CLASSES] = std::array::from_fn(logit);
    let top = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let e = z.map(|z| (z - top).exp());
    let total: f32 = e.iter().sum();
    e.map(|e| e / total)
}

impl World {
    fn new(seed: u64) -> Self {
        let stream = Stream::new(seed, StreamTag::Evaluate, 3);
        let mut truth = vec![0.0; DIM * SIMULATIONS];
        stream.fill_normal(0, &mut truth);
        truth.iter_mut().for_each(|w| *w *= PRIOR_SD);
        let mut x = vec![0.0; DATA * SIMULATIONS];
        stream.fill_normal(1, &mut x);
        let draw = |i: usize| {
            let p = probabilities(&truth, i % SIMULATIONS, x[i]);
            let u = stream.uniform(2, i as u64) as f32;
            (0..CLASSES - 1)
                .take_while(|&k| u >= p[..=k].iter().sum())
                .count()
        };
        let label = (0..x.len()).map(draw).collect();
        Self { truth, x, label }
    }

    /// The gradient of num_data * mean log-likelihood + log prior.
    fn gradient(&self, theta: &[f32], grad: &mut [f32]) {
        let prior = theta.iter().map(|w| -w / (PRIOR_SD * PRIOR_SD));
        grad.iter_mut().zip(prior).for_each(|(g, p)| *g = p);
        for (i, (&x, &label)) in self.x.iter().zip(&self.label).enumerate() {
            let s = i % SIMULATIONS;
            let p = probabilities(theta, s, x);
            for k in 0..CLASSES {
                let off = f32::from(k == label) - p[k];
                grad[k * FEATURES * SIMULATIONS + s] += off;
                grad[(k * FEATURES + 1) * SIMULATIONS + s] += off * x;
            }
        }
    }

    /// The quantities that are ranked: a parameter, and the log-likelihood of the data, which sees their number and scale
    /// (Modrák et al. 2023).
    fn quantities(&self, theta: &[f32]) -> [Vec<f64>; 2] {
        let mut log_lik = vec![0.0; SIMULATIONS];
        for (i, (&x, &label)) in self.x.iter().zip(&self.label).enumerate() {
            let s = i % SIMULATIONS;
            log_lik[s] += (probabilities(theta, s, x)[label] as f64).ln();
        }
        let slope = &theta[SIMULATIONS..2 * SIMULATIONS];
        [slope.iter().map(|&w| w as f64).collect(), log_lik]
    }
}

/// Chi-square of the ranks of the truth among the samples, for each quantity.
fn chi_squares(world: &World, c: &ChainConfig) -> [f64; 2] {
    let truth = world.quantities(&world.truth);
    let mut ranks = vec![[0usize; 2]; SIMULATIONS];
    let mut samples = 0;
    let gradient =
        |sampler: &Sampler<Cpu>, grad: &mut Vec<f32>| world.gradient(sampler.params(), grad);
    let observe = |sampler: &Sampler<Cpu>, report: &StepReport| {
        if report.sample_due {
            let got = world.quantities(sampler.params());
            for (s, ranks) in ranks.iter_mut().enumerate() {
                for (q, rank) in ranks.iter_mut().enumerate() {
                    *rank += usize::from(got[q][s] < truth[q][s]);
                }
            }
            samples += 1;
        }
    };
    let n = DIM * SIMULATIONS;
    run(c, &vec![0.0; n], &vec![1.0; n], gradient, observe);
    assert_eq!(samples, SAMPLES);
    let expected = SIMULATIONS as f64 / (SAMPLES + 1) as f64;
    std::array::from_fn(|q| {
        let mut counts = [0.0; SAMPLES + 1];
        ranks.iter().for_each(|ranks| counts[ranks[q]] += 1.0);
        counts
            .iter()
            .map(|n| (n - expected).powi(2) / expected)
            .sum()
    })
}

/// The probability of a chi-square with 2 k degrees of freedom beyond x: e^-y sum_(j<k) y^j / j!, y = x / 2.
fn beyond(x: f64, k: usize) -> f64 {
    let mut term = (-0.5 * x).exp();
    let mut sum = 0.0;
    for j in 0..k {
        sum += term;
        term *= 0.5 * x / (j + 1) as f64;
    }
    sum
}

/// Of a false alarm in one comparison; the file makes eight.
const RARE: f64 = 1e-8;

/// Curvatures lie between the prior's 1 / 1.44 and about 1 / 1.44 + 12 / 2 = 7. The steps are short enough that the error in a
/// standard deviation, h^2 lambda / 8 = 2 % for SGHMC in the stiffest direction and less for BAOA, is not seen by 1536 ranks, which see
/// 5 %; 12 units of time between samples leave exp(-0.7 12) = 2e-4 of what the slowest direction remembers.
fn config(method: Method) -> ChainConfig {
    let (h, thinning) = match method {
        Method::Sghmc => (0.15, 80),
        _ => (0.25, 50),
    };
    let mut c = ChainConfig::new(method, h);
    (c.alpha, c.thinning) = (1.4, thinning);
    (c.warmup_steps, c.sampling_steps) = (2 * thinning, SAMPLES as u64 * thinning);
    c
}

#[test]
fn ranks_are_uniform() {
    let world = World::new(1);
    for method in [Method::Baoa, Method::Sghmc] {
        for (q, x) in chi_squares(&world, &config(method)).into_iter().enumerate() {
            println!("{method} {q}: {x:.1}, {:.1e}", beyond(x, SAMPLES / 2));
            assert!(beyond(x, SAMPLES / 2) > RARE, "{method}: quantity {q}: {x}");
        }
    }
}

#[test]
fn a_wrong_temperature_is_seen() {
    let world = World::new(1);
    for factor in [0.5, 2.0] {
        let mut c = config(Method::Baoa);
        c.temperature = factor;
        for (q, x) in chi_squares(&world, &c).into_iter().enumerate() {
            println!("T = {factor} {q}: {x:.1}, {:.1e}", beyond(x, SAMPLES / 2));
            assert!(
                beyond(x, SAMPLES / 2) < 1e-3 * RARE,
                "T = {factor}: quantity {q}: {x}"
            );
        }
    }
    // The tail by its closed form: the median of 16 degrees of freedom is 15.34, the upper 1 % 32.00.
    assert!((beyond(15.338, 8) - 0.5).abs() < 1e-4 && (beyond(32.0, 8) - 0.01).abs() < 1e-5);
}
