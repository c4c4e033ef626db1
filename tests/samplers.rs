//! Samplers against recorded trajectories and against the exact stationary moments of their own discretisation; what a step size means.

mod common;

use bnn::Error;
use bnn::backend::vectors::Random;
use bnn::backend::{Cpu, Vectors};
use bnn::rng::{Stream, StreamTag};
use bnn::samplers::{
    ChainConfig, Method, Momenta, Phase, Sampler, SamplerState, Thermostat, stability,
};
use common::plane::*;

fn cpu() -> Cpu {
    Cpu::new(1).unwrap()
}

fn normals(n: usize, step: u64) -> Vec<f32> {
    let mut z = vec![0.0; n];
    Stream::new(77, StreamTag::Evaluate, 0).fill_normal(step, &mut z);
    z
}

// ---------------------------------------------------------------- recorded trajectories

struct Fixture {
    bytes: Vec<u8>,
}

impl Fixture {
    fn open() -> Self {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/samplers.safetensors"
        );
        Self {
            bytes: std::fs::read(path).unwrap(),
        }
    }

    /// The tensor's rows.
    fn get(&self, name: &str) -> Vec<Vec<f32>> {
        let file = safetensors::SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap();
        let four = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap());
        let all: Vec<f32> = view.data().chunks_exact(4).map(four).collect();
        let width = match view.shape() {
            [_, width] => *width,
            _ => all.len(),
        };
        all.chunks(width).map(<[f32]>::to_vec).collect()
    }

    fn hyperparameters(&self) -> serde_json::Value {
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&self.bytes).unwrap();
        let text = &metadata.metadata().as_ref().unwrap()["hyperparameters"];
        serde_json::from_str(text).unwrap()
    }
}

fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut got.iter().zip(want).map(|(a, b)| *a as f64 - *b as f64));
    difference / norm(&mut want.iter().map(|x| *x as f64))
}

/// Follows a recorded chain on -(theta - b)' A (theta - b) / 2 and returns the largest relative error of its states.
fn replay(fixture: &Fixture, method: Method, name: &str) -> f64 {
    let (a, b) = (fixture.get("A"), fixture.get("b").remove(0));
    let (theta, noise) = (
        fixture.get(&format!("{name}.theta")),
        fixture.get(&format!("{name}.noise")),
    );
    let log_post = fixture.get(&format!("{name}.log_posterior")).remove(0);
    let momenta = method
        .has_momenta()
        .then(|| fixture.get(&format!("{name}.momenta")));
    let settings = &fixture.hyperparameters()[name];
    let number = |key: &str, default: f64| settings[key].as_f64().unwrap_or(default);
    let mut config = ChainConfig::new(method, number("lr", f64::NAN));
    config.alpha = number("alpha", 0.0);
    config.beta = number("beta", 0.0);
    config.sigma = number("sigma", 1.0);
    config.temperature = number("temperature", f64::NAN);
    let start = SamplerState {
        step: 0,
        theta: theta[0].clone(),
        momenta: momenta.as_ref().map(|m| m[0].clone()),
        mass: None,
        live: None,
        gradient_noise: None,
        center: theta[0].clone(),
        thermostats: (method.has_thermostat().then(|| {
            let m = &momenta.as_ref().unwrap()[0];
            let squares: f64 = m.iter().map(|&m| (m as f64).powi(2)).sum();
            Thermostat {
                xi: config.alpha,
                kinetic: squares / m.len() as f64 / config.sigma.powi(2),
                parameters: m.len(),
            }
        }))
        .into_iter()
        .collect(),
    };
    let xi = method
        .has_thermostat()
        .then(|| fixture.get(&format!("{name}.xi")).remove(0));
    let mut sampler = Sampler::restore(cpu(), config, &start).unwrap();
    let mut worst = 0f64;
    for step in 0..noise.len() {
        let e: Vec<f64> = sampler
            .params()
            .iter()
            .zip(&b)
            .map(|(t, b)| (t - b) as f64)
            .collect();
        let row = |row: &Vec<f32>| row.iter().zip(&e).map(|(a, e)| *a as f64 * e).sum::<f64>();
        let a_e: Vec<f64> = a.iter().map(row).collect();
        let grad: Vec<f32> = a_e.iter().map(|g| -*g as f32).collect();
        let value = -0.5 * a_e.iter().zip(&e).map(|(a, e)| a * e).sum::<f64>();
        // The recorded log posterior belongs to the state before the update, as ours does.
        worst = worst.max((value / log_post[step] as f64 - 1.0).abs());
        let report = sampler.step_with_noise(&grad, value, &noise[step]).unwrap();
        assert_eq!((report.step, report.log_post), (step as u64, value));
        worst = worst.max(relative_error(sampler.params(), &theta[step + 1]));
        if let (Some(got), Some(want)) = (sampler.momenta(), &momenta) {
            worst = worst.max(relative_error(got, &want[step + 1]));
        }
        assert_eq!(report.xi.is_some(), xi.is_some());
        if let (Some(got), Some(want)) = (report.xi, &xi) {
            worst = worst.max((got - want[step] as f64).abs());
        }
    }
    worst
}

#[test]
fn trajectories_match_the_recorded_ones() {
    // 25 steps on 37 dimensions, both sides in f32: rounding errors of 6e-8 add up to about 25 * 6e-8 = 1.5e-6.
    let fixture = Fixture::open();
    let cases = [
        (Method::Sgld, "sgld"),
        (Method::SghmcEuler, "sghmc"),
        (Method::Baoa, "baoa"),
        (Method::SgnhtEuler, "sgnht"),
        (Method::Sglrw, "sglrw"),
    ];
    for (method, name) in cases {
        let error = replay(&fixture, method, name);
        assert!(error < 2e-6, "{method}: {error}");
    }
    // The semi-implicit scheme is another: its trajectory differs from Euler's from the first step on.
    assert!(replay(&fixture, Method::Sghmc, "sghmc") > 1e-2);
    assert!(replay(&fixture, Method::SgnhtDing, "sgnht") > 1e-2);
    assert!(replay(&fixture, Method::Sgnht, "sgnht") > 1e-2);
}

// ---------------------------------------------------------------- exact stationary moments

#[test]
fn the_exact_moments_are_the_published_ones() {
    // Variances of position and momentum for a unit Gaussian, T = 1.
    let table = [
        (Method::SghmcEuler, 0.1, 1.0, 1.1140, 1.1665),
        (Method::SghmcEuler, 0.3, 1.0, 1.4654, 1.6373),
        (Method::SghmcEuler, 0.3, 0.5, 2.5594, 2.6385),
        (Method::Sghmc, 0.1, 1.0, 1.0026, 1.0554),
        (Method::Sghmc, 0.3, 1.0, 1.0272, 1.2085),
        (Method::Sghmc, 0.3, 0.5, 1.0249, 1.1080),
        (Method::Baoa, 0.1, 1.0, 1.0, 1.0),
        (Method::Baoa, 0.3, 0.5, 1.0, 1.0),
        (Method::Sgld, 0.1, 0.0, 1.0526, 0.0),
        (Method::Sgld, 0.3, 0.0, 1.1765, 0.0),
    ];
    for (method, h, alpha, position, momentum) in table {
        let s = stationary(&config(method, h, alpha, 0.0, 1.0, 1.0), &UNIT);
        assert!(
            (s[0][0] - position).abs() < 6e-5,
            "{method} {h} {alpha}: {s:?}"
        );
        assert!(
            (s[1][1] - momentum).abs() < 6e-5,
            "{method} {h} {alpha}: {s:?}"
        );
    }
    // Closed forms away from neutral settings: SGLD's T / lambda / (1 - epsilon P lambda / 2), BAOA's exact
    // variances and h T / 2.
    let d = Direction {
        lambda: 3.0,
        mass: 2.5,
        gradient_noise: 0.0,
    };
    let s = stationary(&config(Method::Sgld, 0.4, 0.0, 0.0, 1.0, 0.7), &d);
    assert!((s[0][0] - 0.7 / 3.0 / (1.0 - 0.2 * 3.0 / 2.5)).abs() < 1e-12);
    let s = stationary(&config(Method::Baoa, 0.4, 0.8, 0.0, 1.3, 0.7), &d);
    let want = [
        [0.7 / 3.0, 0.4 * 0.7 / 2.0],
        [0.4 * 0.7 / 2.0, 0.7 * 1.69 * 2.5],
    ];
    assert!(
        (0..4).all(|i| (s[i / 2][i % 2] - want[i / 2][i % 2]).abs() < 1e-12),
        "{s:?}"
    );
}

/// Independent coordinates a direction.
const COPIES: usize = 2048;
/// Steps that are forgotten, and steps that are averaged.
const BURN_IN: u64 = 150;
const STEPS: u64 = 450;

/// Runs the method on a Gaussian whose directions are repeated `COPIES` times, and returns the largest standardised
/// error of E theta^2, E theta m and E m^2 against the covariances that are expected.
///
/// The coordinates are independent, so the standard error of a mean over them comes from their own spread.
fn worst_error(c: &ChainConfig, directions: &[Direction], expected: &[Matrix]) -> f64 {
    let n = directions.len() * COPIES;
    let of = |i: usize| directions[i / COPIES];
    // Near equilibrium from the start; the burn-in does the rest.
    let mut theta0 = normals(n, 0);
    for (i, t) in theta0.iter_mut().enumerate() {
        *t *= (c.temperature / of(i).lambda).sqrt() as f32;
    }
    let mut c = c.clone();
    (c.warmup_steps, c.sampling_steps, c.thinning) = (BURN_IN, STEPS, 1);
    let mut sampler = Sampler::new(cpu(), &theta0, c).unwrap();
    let mass: Vec<f32> = (0..n).map(|i| of(i).mass as f32).collect();
    sampler.set_mass(&mass).unwrap();
    let noisy = directions.iter().any(|d| d.gradient_noise > 0.0);
    let lambda: Vec<f32> = (0..n).map(|i| of(i).lambda as f32).collect();
    let sd: Vec<f32> = (0..n).map(|i| of(i).gradient_noise.sqrt() as f32).collect();
    let (mut grad, mut noise) = (vec![0.0; n], vec![0.0; n]);
    let mut sums = vec![[0.0; 3]; n];
    let stream = Stream::new(12, StreamTag::Evaluate, 5);
    for step in 0..BURN_IN + STEPS {
        if noisy {
            sampler
                .vectors()
                .random(&mut noise, Random::Normal, stream, step)
                .unwrap();
        }
        for i in 0..n {
            grad[i] = sd[i] * noise[i] - lambda[i] * sampler.params()[i];
        }
        let report = sampler.step_with_gradient(&grad, 0.0).unwrap();
        if report.phase == Phase::Sampling {
            for (i, s) in sums.iter_mut().enumerate() {
                let t = sampler.params()[i] as f64;
                let m = sampler.momenta().map_or(0.0, |m| m[i] as f64);
                *s = [s[0] + t * t, s[1] + t * m, s[2] + m * m];
            }
        }
    }
    let mut worst = 0f64;
    for (sums, s) in sums.chunks(COPIES).zip(expected) {
        for (k, want) in [s[0][0], s[0][1], s[1][1]].into_iter().enumerate() {
            let x: Vec<f64> = sums.iter().map(|s| s[k] / STEPS as f64).collect();
            let mean = x.iter().sum::<f64>() / COPIES as f64;
            let spread = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (COPIES - 1) as f64;
            if spread > 0.0 {
                worst = worst.max((mean - want).abs() / (spread / COPIES as f64).sqrt());
            }
        }
    }
    worst
}

/// Two sides of a normal beyond this: 1.5e-9. The file makes about 200 such checks, so a false alarm has a
/// probability of 3e-7. (Means over 2048 time averages are normal enough: what is left of their skewness raises
/// that by a factor of two at most.)
const Z: f64 = 6.04;

/// Settings away from neutral, with directions: plain; stiff; heavy; and with gradient noise just as strong as beta
/// says.
fn cases(method: Method) -> Vec<(ChainConfig, Vec<Direction>)> {
    let directions = |t: f64, beta: f64, tight: f64, noise: f64| {
        let d = |lambda, mass, gradient_noise| Direction {
            lambda,
            mass,
            gradient_noise,
        };
        vec![
            d(1.0, 1.0, 0.0),
            d(tight, 0.6, 0.0),
            d(1.5, 2.5, 0.0),
            d(1.2, 1.7, noise + t * t * beta * 1.7),
        ]
    };
    match method {
        Method::Sgld => vec![
            (
                config(method, 0.3, 0.0, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 2.0, 0.0),
            ),
            (
                config(method, 0.4, 0.0, 1.9, 1.0, 0.6),
                directions(0.6, 1.9, 1.6, 0.0),
            ),
        ],
        Method::Sghmc => vec![
            (
                config(method, 0.3, 1.0, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 4.0, 0.0),
            ),
            (
                config(method, 0.4, 0.9, 1.6, 1.3, 0.6),
                directions(0.6, 1.6, 5.0, 0.0),
            ),
        ],
        Method::SghmcEuler => vec![
            (
                config(method, 0.2, 1.0, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 1.0, 0.0),
            ),
            (
                config(method, 0.2, 1.6, 2.2, 1.2, 0.6),
                directions(0.6, 2.2, 1.1, 0.0),
            ),
        ],
        Method::Baoa => vec![
            (
                config(method, 0.5, 1.0, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 4.0, 0.5),
            ),
            (
                config(method, 0.6, 0.8, 0.0, 0.8, 1.4),
                directions(1.4, 0.0, 1.9, 2.0),
            ),
        ],
        // The thermostat is not told of the gradient's noise.
        Method::Sgnht | Method::SgnhtDing => vec![
            (
                config(method, 0.3, 1.0, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 4.0, 1.5),
            ),
            (
                config(method, 0.4, 0.9, 1.6, 1.3, 0.6),
                directions(0.6, 1.6, 5.0, 1.0),
            ),
        ],
        Method::Ccadl => vec![
            (
                config(method, 0.3, 1.0, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 4.0, 1.5),
            ),
            (
                config(method, 0.4, 0.9, 0.0, 1.3, 0.6),
                directions(0.6, 0.0, 5.0, 1.0),
            ),
        ],
        Method::SgnhtEuler => vec![
            (
                config(method, 0.1, 1.5, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 1.0, 2.0),
            ),
            (
                config(method, 0.1, 1.6, 2.2, 1.2, 0.6),
                directions(0.6, 2.2, 1.1, 3.0),
            ),
        ],
        // Small steps and little noise: a gradient is clamped beyond 5 of its deviations.
        Method::Sglrw => vec![
            (
                config(method, 0.04, 0.0, 0.0, 1.0, 1.0),
                directions(1.0, 0.0, 1.0, 0.5),
            ),
            (
                config(method, 0.03, 0.0, 0.0, 1.0, 0.6),
                directions(0.6, 0.0, 1.6, 0.2),
            ),
        ],
    }
}

#[test]
fn moments_are_those_of_the_discretisation() {
    for method in Method::ALL {
        for (config, directions) in cases(method) {
            let (config, exact) = equilibrium(&config, &directions);
            let worst = worst_error(&config, &directions, &exact);
            assert!(worst < Z, "{config:?}: {worst} standard errors");
        }
    }
}

#[test]
fn the_check_sees_a_wrong_factor() {
    // What a sampler would be expected to have with its noise's deviation off by a factor: T in place of its root,
    // the root of 2, beta or the mass ignored, friction not divided by sigma^2. Each must fail the check that the
    // right one passes.
    for method in Method::ALL {
        let (right, directions) = cases(method).remove(1);
        let expect = |change: &dyn Fn(&mut ChainConfig, &mut Direction)| -> Vec<Matrix> {
            let (mut c, mut all) = (right.clone(), directions.clone());
            for d in &mut all {
                c = right.clone();
                change(&mut c, d);
            }
            equilibrium(&c, &all).1
        };
        let start = equilibrium(&right, &directions).0;
        let mut wrong = vec![
            (
                "noise times the root of 2",
                expect(&|c, _| c.temperature *= 2.0),
            ),
            (
                "T for its root",
                expect(&|c, _| c.temperature *= c.temperature),
            ),
            ("T off by 5 %", expect(&|c, _| c.temperature *= 1.05)),
        ];
        // The lattice walk's variance depends on neither.
        if method != Method::Sglrw {
            wrong.push(("no mass", expect(&|_, d| d.mass = 1.0)));
            let none = expect(&|_, d| d.gradient_noise = 0.0);
            wrong.push(("no gradient noise", none));
        }
        // A thermostat makes up for the noise that beta holds back: only the sum counts.
        if right.beta > 0.0 && !method.has_thermostat() {
            wrong.push(("beta ignored", expect(&|c, _| c.beta = 0.0)));
        }
        if method.has_momenta() && !method.has_thermostat() {
            wrong.push((
                "friction alpha",
                expect(&|c, _| c.alpha *= c.sigma * c.sigma),
            ));
        }
        for (what, expected) in wrong {
            let worst = worst_error(&start, &directions, &expected);
            assert!(worst > 1.2 * Z, "{method}: '{what}' passes at {worst}");
        }
    }
}

#[test]
fn a_double_well() {
    // log p = x^2 - x^4 / 10: E x^2 = 4.356815, E x^4 = 24.284073. The wells have curvature 4, so that at h = 0.05
    // a scheme of second order has their width wrong by about 4 h^2 / 4 = 0.25 %; the allowance is 1 % on top of
    // the Monte Carlo error.
    for method in [Method::Baoa, Method::Sghmc] {
        let n = 4096;
        let mut c = config(method, 0.05, 0.7, 0.0, 1.0, 1.0);
        (c.warmup_steps, c.sampling_steps, c.thinning) = (600, 1400, 1);
        // Both wells alike, so that no coordinate has to cross to make the mean right.
        let start: Vec<f32> = (0..n)
            .map(|i| if i % 2 == 0 { 2.0 } else { -2.0 })
            .collect();
        let mut sampler = Sampler::new(cpu(), &start, c).unwrap();
        let mut grad = vec![0.0; n];
        let mut sums = vec![[0.0; 2]; n];
        while sampler.phase() != Phase::Done {
            for (g, x) in grad.iter_mut().zip(sampler.params()) {
                *g = 2.0 * x - 0.4 * x * x * x;
            }
            if sampler.step_with_gradient(&grad, 0.0).unwrap().sample_due {
                for (s, x) in sums.iter_mut().zip(sampler.params()) {
                    let square = (*x as f64).powi(2);
                    *s = [s[0] + square, s[1] + square * square];
                }
            }
        }
        for (k, want) in [4.356_815, 24.284_073].into_iter().enumerate() {
            let x: Vec<f64> = sums.iter().map(|s| s[k] / 1400.0).collect();
            let mean = x.iter().sum::<f64>() / n as f64;
            let spread = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            let error = (mean - want).abs();
            assert!(
                error < 0.01 * want + Z * (spread / n as f64).sqrt(),
                "{method}: {mean} for {want}"
            );
        }
    }
}

#[test]
fn temperatures_are_the_temperature() {
    // On a Gaussian the mean of m^2 / M' over d parameters has the deviation T sqrt(2 / d) about its exact value,
    // and that of -(theta - theta_0) grad, with theta_0 drawn from the target too, T sqrt(3 / d). Both are T for
    // BAOA.
    let d = 1 << 15;
    for method in Method::ALL {
        let (c, directions) = cases(method).remove(1);
        let (direction, t) = (directions[2], c.temperature);
        let (settings, all) = equilibrium(&c, &[direction]);
        let (exact, mut c) = (all[0], settings);
        let mut theta0 = normals(d, 4);
        theta0
            .iter_mut()
            .for_each(|x| *x *= exact[0][0].sqrt() as f32);
        let mass_scale = c.sigma.powi(2);
        (c.warmup_steps, c.sampling_steps, c.thinning) = (150, 50, 40);
        let mut sampler = Sampler::new(cpu(), &theta0, c).unwrap();
        sampler.set_mass(&vec![direction.mass as f32; d]).unwrap();
        let mut first = None;
        while sampler.phase() != Phase::Done {
            let grad: Vec<f32> = sampler
                .params()
                .iter()
                .map(|x| -direction.lambda as f32 * x)
                .collect();
            let r = sampler.step_with_gradient(&grad, -1.0).unwrap();
            first.get_or_insert(r);
            if !r.sample_due {
                continue;
            }
            let kinetic = exact[1][1] / (mass_scale * direction.mass);
            match r.kinetic_temperature {
                Some(k) => assert!(
                    (k - kinetic).abs() < Z * kinetic * (2.0 / d as f64).sqrt(),
                    "{method} {k} {kinetic}"
                ),
                None => assert!(!method.has_momenta()),
            }
            let configurational = exact[0][0] * direction.lambda;
            let (got, band) = (
                r.configurational_temperature,
                configurational * (3.0 / d as f64).sqrt(),
            );
            assert!(
                (got - configurational).abs() < Z * band,
                "{method} {got} {configurational}"
            );
            if method == Method::Baoa {
                assert!((kinetic - t).abs() < 1e-9 && (configurational - t).abs() < 1e-9);
            }
        }
        // At the start theta is theta_0, and the momenta were drawn at T.
        assert_eq!(first.unwrap().configurational_temperature, 0.0);
    }
}

#[test]
fn the_thermostat_finds_the_friction_that_noise_needs() {
    // Started far off, at the friction that would hold T without gradient noise, xi settles where E kinetic = T, which the Lyapunov equation
    // says; the mean over a long run is compared within its own batch means. With 8192 coordinates the law's width, (T / (d Q))^1/2 = 0.01,
    // has left no bias that could be seen.
    for method in [Method::Sgnht, Method::SgnhtDing] {
        the_thermostat_settles(method);
    }
}

fn the_thermostat_settles(method: Method) {
    let (c, directions) = cases(method).remove(0);
    let (settings, all) = equilibrium(&c, &directions);
    let mut want = settings.xi.unwrap();
    if method == Method::Sgnht {
        // Seen at the end of a step: half a thermostat's step after the friction's, which took the kicked momenta, as hot as these are cold.
        let kinetic = |(s, d): (&Matrix, &Direction)| s[1][1] / (c.sigma.powi(2) * d.mass);
        let after = all.iter().zip(&directions).map(kinetic).sum::<f64>() / 4.0;
        want -= 0.5 * c.step_size * (c.temperature - after) / c.thermostat_mass;
    }
    let n = 4 * COPIES;
    let of = |i: usize| directions[i / COPIES];
    let mut c = c;
    (c.warmup_steps, c.sampling_steps, c.thinning) = (400, 4000, 1);
    c.xi = Some(0.2);
    let mut sampler = Sampler::new(cpu(), &vec![0.0; n], c.clone()).unwrap();
    let mass: Vec<f32> = (0..n).map(|i| of(i).mass as f32).collect();
    sampler.set_mass(&mass).unwrap();
    let stream = Stream::new(13, StreamTag::Evaluate, 5);
    let (mut grad, mut noise) = (vec![0.0; n], vec![0.0; n]);
    let mut xi = Vec::new();
    while sampler.phase() != Phase::Done {
        sampler
            .vectors()
            .random(&mut noise, Random::Normal, stream, sampler.step())
            .unwrap();
        for i in 0..n {
            let sd = of(i).gradient_noise.sqrt() as f32;
            grad[i] = sd * noise[i] - of(i).lambda as f32 * sampler.params()[i];
        }
        let r = sampler.step_with_gradient(&grad, 0.0).unwrap();
        if r.phase == Phase::Sampling {
            xi.push(r.xi.unwrap());
        }
    }
    let batches: Vec<f64> = xi
        .chunks(100)
        .map(|c| c.iter().sum::<f64>() / 100.0)
        .collect();
    let k = batches.len() as f64;
    let mean = batches.iter().sum::<f64>() / k;
    let error = (batches.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / (k * (k - 1.0))).sqrt();
    // Student's t with 39 degrees of freedom beyond 7: 2e-8. Taking the noise for none would be off by hundreds of these.
    assert!(
        (mean - want).abs() < 7.0 * error,
        "{method}: {mean} +- {error}, {want}"
    );
    assert!((mean - c.alpha).abs() > 20.0 * error);
}

// ---------------------------------------------------------------- what a step size means

#[test]
fn the_stability_limit_is_where_the_spectral_radius_is_one() {
    let radius = |c: &ChainConfig, d: &Direction| {
        let (a, _) = linear_step(c, d);
        let (trace, det) = (a[0][0] + a[1][1], a[0][0] * a[1][1] - a[0][1] * a[1][0]);
        let root = trace * trace / 4.0 - det;
        if root < 0.0 {
            det.sqrt()
        } else {
            trace.abs() / 2.0 + root.sqrt()
        }
    };
    for method in Method::ALL {
        for (alpha, sigma, lambda, mass) in [
            (0.5, 1.0, 3.0, 1.0),
            (2.0, 0.7, 50.0, 4.0),
            (0.1, 1.3, 1e4, 0.2),
            (5.0, 1.5, 0.1, 1.0),
        ] {
            let (alpha, sigma) = if method.has_momenta() {
                (alpha, sigma)
            } else {
                (0.0, 1.0)
            };
            let mut c = config(method, 1.0, alpha, 0.0, sigma, 1.0);
            let d = Direction {
                lambda,
                mass,
                gradient_noise: 0.0,
            };
            let limit = stability::stability_limit(&c, lambda / mass);
            c.step_size = 0.999 * limit;
            assert!(radius(&c, &d) < 1.0, "{method}: {c:?}");
            stability::is_stable(&c, lambda / mass).unwrap();
            // Smaller curvatures are stable then too, which the limit for Euler's scheme relies on.
            let flat = Direction {
                lambda: 1e-3 * lambda,
                ..d
            };
            assert!(radius(&c, &flat) < 1.0, "{method}: {c:?}");
            c.step_size = 1.001 * limit;
            let flattest = Direction { lambda: 0.0, ..d };
            assert!(
                radius(&c, &d) > 1.0 || radius(&c, &flattest) > 1.0,
                "{method}: {c:?}"
            );
            let e = stability::is_stable(&c, lambda / mass).unwrap_err();
            assert!(
                matches!(e, Error::Unstable(_)) && e.to_string().contains(method.name()),
                "{e}"
            );
        }
        let (alpha, sigma) = if method.has_momenta() {
            (0.9, 1.2)
        } else {
            (0.0, 1.0)
        };
        let c = config(method, 0.1, alpha, 0.0, sigma, 0.8);
        assert!(stability::is_stable(&c, f64::NAN).is_err());
        stability::is_stable(&c, -1.0).unwrap();
    }
}

#[test]
fn no_step_is_stable_where_the_thermostat_drives() {
    for method in Method::ALL.into_iter().filter(|m| m.has_thermostat()) {
        let mut c = config(method, 0.01, 0.3, 0.0, 1.5, 1.0);
        c.xi = Some(-1.0);
        c.validate().unwrap();
        for curvature in [-1.0, 0.0, 100.0] {
            assert_eq!(stability::stability_limit(&c, curvature), 0.0);
            let e = stability::is_stable(&c, curvature).unwrap_err();
            assert!(
                matches!(e, Error::Unstable(_)) && e.to_string().contains("negative friction"),
                "{e}"
            );
        }
        assert!(stability::optimizer_pair(&c, 1.0).momentum > 1.0);
        c.xi = Some(1.0);
        assert!(stability::stability_limit(&c, 10.0) > 0.0);
        stability::is_stable(&c, 10.0).unwrap();
    }
}

#[test]
fn a_chain_diverges_just_beyond_the_limit() {
    // Without noise the only direction shrinks to nothing or grows without bound: 4000 steps at 2 % either side.
    // The lattice walk has no step at T = 0, and a thermostat that stands still must weigh as much as it takes.
    for method in Method::ALL.into_iter().filter(|&m| m != Method::Sglrw) {
        let (lambda, mass) = (3.0, 0.5);
        let mut c = config(method, 1.0, 2.0, 0.0, 1.2, 0.0);
        if !method.has_momenta() {
            (c.alpha, c.sigma) = (0.0, 1.0);
        }
        (c.warmup_steps, c.momenta) = (4000, Momenta::Thermal);
        c.thermostat_mass = 1e30;
        let limit = stability::stability_limit(&c, lambda / mass);
        for (factor, stable) in [(0.98, true), (1.02, false)] {
            c.step_size = factor * limit;
            let mut sampler = Sampler::new(cpu(), &[1.0], c.clone()).unwrap();
            sampler.set_mass(&[mass as f32]).unwrap();
            let finished = (0..4000).all(|_| {
                let grad = vec![-lambda as f32 * sampler.params()[0]];
                sampler.step_with_gradient(&grad, 0.0).is_ok()
            });
            let end = sampler.params()[0].abs();
            assert_eq!(
                finished && end < 1e-3,
                stable,
                "{method} at {factor}: {end}"
            );
            assert!(stable || end.is_nan() || end > 1e6, "{method}: {end}");
        }
    }
}

#[test]
fn the_optimizer_pair_is_that_optimizer() {
    // At T = 0, on a quadratic: theta += lr * v, v = momentum * v - grad(loss), starting at rest. The gradients are
    // asked for at the same points; in f32, 40 steps agree to 1e-5.
    let (num_data, b) = (250.0, [1.0f64, -2.0, 0.5]);
    let curvature = [0.02, 0.1, 0.004]; // of the mean loss
    for method in [
        Method::Sgld,
        Method::Sghmc,
        Method::Baoa,
        Method::Sgnht,
        Method::SgnhtDing,
    ] {
        let mut c = config(method, 0.15, 2.0, 0.0, 1.1, 0.0);
        c.thermostat_mass = 1e30; // a thermostat that stands still
        if method == Method::Sgld {
            c = config(method, 0.02, 0.0, 0.0, 1.0, 0.0);
        }
        let pair = stability::optimizer_pair(&c, num_data);
        let mut sampler = Sampler::new(cpu(), &[0.0; 3], c.clone()).unwrap();
        let (mut theta, mut v) = ([0.0; 3], [0.0; 3]);
        for step in 0..40 {
            for i in 0..3 {
                assert!(
                    (theta[i] - sampler.params()[i] as f64).abs() < 1e-5,
                    "{method}: step {step}, {theta:?}"
                );
                v[i] = pair.momentum * v[i] - curvature[i] * (theta[i] - b[i]);
            }
            let grad = (0..3)
                .map(|i| (-num_data * curvature[i] * (sampler.params()[i] as f64 - b[i])) as f32);
            sampler.step_with_gradient(&grad.collect(), 0.0).unwrap();
            for i in 0..3 {
                theta[i] += pair.lr * v[i];
            }
        }
        assert!(theta[1].abs() > 0.5, "it moved");
        if method.has_momenta() {
            c.alpha = stability::alpha_for_momentum(&c, 0.9).unwrap();
            assert!((stability::optimizer_pair(&c, num_data).momentum - 0.9).abs() < 1e-12);
        }
    }
    let euler = config(Method::SghmcEuler, 0.15, 2.0, 0.0, 1.1, 0.0);
    let mut same = euler.clone();
    same.method = Method::Sghmc;
    assert_eq!(
        stability::optimizer_pair(&euler, 9.0),
        stability::optimizer_pair(&same, 9.0)
    );
    assert!(stability::alpha_for_momentum(&euler, 1.0).is_err());
    assert!(stability::alpha_for_momentum(&ChainConfig::new(Method::Sgld, 0.1), 0.9).is_err());
}
