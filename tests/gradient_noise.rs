//! BAOA where the variance of the gradient's noise is known: the law of its step against the closed form, the sampler against that law, and the
//! estimate of the variance.

mod common;

use bnn::Error;
use bnn::backend::vectors::Random;
use bnn::backend::{Cpu, Vectors};
use bnn::inference::{Inference, Session};
use bnn::rng::{Stream, StreamTag};
use bnn::samplers::{
    ChainConfig, Method, NoiseCorrection, NoiseHeat, Phase, Preconditioner, Sampler, baoa,
};
use bnn::store::Kind;
use common::forged::forge;
use common::normals;
use common::plane::{self, Direction, Matrix, multiply, transpose};

/// One direction: curvature, mass, the variance of the gradient's noise, and what the step takes that variance for.
#[derive(Clone, Copy, Debug)]
struct Noisy {
    lambda: f64,
    mass: f64,
    noise: f64,
    known: f64,
}

/// The friction of the kick, that of the middle, and rho.
fn split(c: &ChainConfig, d: &Noisy) -> (f64, f64, f64) {
    let heavy = c.sigma * c.sigma * d.mass;
    let rho = c.step_size.powi(2) * d.known / (4.0 * c.temperature * heavy);
    let c1 = ((1.0 - rho) / (1.0 + rho)).max(0.0);
    let all = (-c.alpha / (c.sigma * c.sigma) * c.step_size).exp();
    (c1, if c1 > all { all / c1 } else { 1.0 }, rho)
}

/// The covariance of (theta, m) in equilibrium, S = A S A' + Q, the step written out in the order of its letters.
fn stationary(c: &ChainConfig, d: &Noisy) -> Matrix {
    let (h, heavy) = (c.step_size, c.sigma * c.sigma * d.mass);
    let (c1, c2, _) = split(c, d);
    let kick = 0.5 * (1.0 + c1) * h;
    let b = [[1.0, 0.0], [-kick * d.lambda, c1]];
    let a = [[1.0, 0.5 * h / heavy], [0.0, 1.0]];
    let o = [[1.0, 0.0], [0.0, c2]];
    let after = multiply(&a, &multiply(&o, &a));
    let fluctuation = (c.temperature * (1.0 - c2 * c2) * heavy).sqrt();
    let columns = [
        [
            after[0][1] * kick * d.noise.sqrt(),
            after[1][1] * kick * d.noise.sqrt(),
        ],
        [a[0][1] * fluctuation, fluctuation],
    ];
    let q = |i: usize, j: usize| columns.iter().map(|n| n[i] * n[j]).sum::<f64>();
    let mut s = [[q(0, 0), q(0, 1)], [q(1, 0), q(1, 1)]];
    let mut step = multiply(&after, &b);
    for _ in 0..60 {
        let carried = multiply(&multiply(&step, &s), &transpose(&step));
        for (s, more) in s.iter_mut().flatten().zip(carried.iter().flatten()) {
            *s += more;
        }
        step = multiply(&step, &step);
    }
    s
}

/// lambda var(theta) by the formula of the method's file: T (1 + e w / (1 - w)), or rho T in place of T beyond the strongest friction.
fn temperature(c: &ChainConfig, d: &Noisy) -> f64 {
    let heavy = c.sigma * c.sigma * d.mass;
    let (c1, c2, rho) = split(c, d);
    let kept = c1 * c2;
    let e = rho.min(1.0) * (1.0 + kept) / (1.0 - kept);
    let u = c.step_size.powi(2) * (1.0 + c1) * (1.0 + c2) * d.lambda / (4.0 * heavy);
    let w = u / (2.0 * (1.0 + kept));
    c.temperature * rho.max(1.0) * (1.0 + e * w / (1.0 - w))
}

fn config(h: f64, alpha: f64, sigma: f64, temperature: f64) -> ChainConfig {
    ChainConfig {
        temperature,
        sigma,
        alpha,
        thinning: 1,
        ..ChainConfig::new(Method::Baoa, h)
    }
}

fn settings() -> [ChainConfig; 3] {
    [
        config(0.5, 0.9, 1.3, 0.6),
        config(0.3, 1.4, 0.8, 1.7),
        config(0.7, 0.3, 1.0, 0.1),
    ]
}

/// Directions whose noise is a share `rho` of what the strongest friction takes out, known as it is.
fn direction(c: &ChainConfig, lambda: f64, mass: f64, rho: f64) -> Noisy {
    let noise = 4.0 * c.temperature * c.sigma.powi(2) * mass * rho / c.step_size.powi(2);
    Noisy {
        lambda,
        mass,
        noise,
        known: noise,
    }
}

#[test]
fn the_law_of_the_step_is_the_closed_form() {
    for c in settings() {
        let strongest = (0.5 * c.step_size * c.friction_rate().unwrap()).tanh();
        for rho in [0.0, 0.3 * strongest, strongest, 3.0 * strongest, 0.9, 2.5] {
            for (lambda, mass) in [(1.0, 1.0), (0.05, 2.5), (2.4, 1.9)] {
                let d = direction(&c, lambda, mass, rho);
                let (s, want) = (stationary(&c, &d), temperature(&c, &d));
                assert!((lambda * s[0][0] / want - 1.0).abs() < 1e-11, "{c:?} {d:?}");
                // Momenta have T M' up to the step's own terms, which vanish with the curvature.
                let flat = direction(&c, 1e-9, mass, rho);
                let kinetic = stationary(&c, &flat)[1][1] / (c.sigma.powi(2) * mass);
                let want = c.temperature * rho.max(1.0);
                assert!((kinetic / want - 1.0).abs() < 1e-6, "{c:?} {flat:?}");
            }
        }
        // Without noise it is BAOA, whose law on a Gaussian is exact.
        let d = direction(&c, 1.2, 1.7, 0.0);
        let plain = Direction {
            lambda: 1.2,
            mass: 1.7,
            gradient_noise: 0.0,
        };
        let (s, want) = (stationary(&c, &d), plane::stationary(&c, &plain));
        assert!((s[0][0] - want[0][0]).abs() < 1e-12 && (s[1][1] - want[1][1]).abs() < 1e-12);
        assert!((s[0][0] - c.temperature / 1.2).abs() < 1e-12);
    }
}

#[test]
fn the_error_is_of_third_order_and_the_uncorrected_one_of_first() {
    let error = |h: f64, known: bool| {
        let c = config(h, 0.8, 1.2, 0.7);
        let noise = 1.1;
        let known = if known { noise } else { 0.0 };
        let (lambda, mass) = (1.3, 1.6);
        let d = Noisy {
            lambda,
            mass,
            noise,
            known,
        };
        lambda * stationary(&c, &d)[0][0] / c.temperature - 1.0
    };
    let order = |known| (error(0.1, known) / error(0.05, known)).log2();
    assert!((order(true) - 3.0).abs() < 0.05, "{}", order(true));
    assert!((order(false) - 1.0).abs() < 0.05, "{}", order(false));
    assert!(error(0.1, false) > 100.0 * error(0.1, true));
}

/// The methods that have one number for all parameters take a gradient's noise of the variance beta T^2 M for their own: with it they have the law that they
/// have without both. The vector that BAOA takes is of such variances.
#[test]
fn beta_is_the_variance_over_the_mass_and_the_square_of_t() {
    for method in [Method::Sgld, Method::Sghmc, Method::SghmcEuler] {
        let c = ChainConfig {
            temperature: 0.6,
            alpha: if method.has_momenta() { 0.9 } else { 0.0 },
            sigma: if method.has_momenta() { 1.3 } else { 1.0 },
            beta: 1.4,
            ..ChainConfig::new(method, 0.1)
        };
        let without = ChainConfig {
            beta: 0.0,
            ..c.clone()
        };
        let of = |gradient_noise: f64| Direction {
            lambda: 1.2,
            mass: 1.7,
            gradient_noise,
        };
        let known = c.beta * c.temperature.powi(2) * 1.7;
        let (got, want) = (
            plane::stationary(&c, &of(known)),
            plane::stationary(&without, &of(0.0)),
        );
        let wrong = plane::stationary(&c, &of(1.3 * known));
        assert!((got[0][0] / want[0][0] - 1.0).abs() < 1e-9, "{method}");
        assert!((wrong[0][0] / want[0][0] - 1.0).abs() > 1e-3, "{method}");
    }
}

/// Independent coordinates a direction, steps that are forgotten, steps that are averaged.
const COPIES: usize = 2048;
const BURN_IN: u64 = 200;
const STEPS: u64 = 400;

/// Two sides of a normal beyond this: 5e-10. The file makes 54 such comparisons, so that a false alarm has a probability of 3e-8.
const Z: f64 = 6.2;

/// Runs copies of each direction, and returns the means over the copies of theta^2, theta m and m^2 with their standard errors, which come from the
/// copies' own spread.
fn moments(c: &ChainConfig, directions: &[Noisy]) -> Vec<[(f64, f64); 3]> {
    let n = directions.len() * COPIES;
    let each = |f: fn(&Noisy) -> f64| -> Vec<f32> {
        (0..n).map(|i| f(&directions[i / COPIES]) as f32).collect()
    };
    let c = ChainConfig {
        warmup_steps: BURN_IN,
        sampling_steps: STEPS,
        ..c.clone()
    };
    let lambda = each(|d| d.lambda);
    let start: Vec<f32> = normals(n, 0)
        .iter()
        .zip(&lambda)
        .map(|(z, lambda)| z * (c.temperature as f32 / lambda).sqrt())
        .collect();
    let mut sampler = Sampler::new(Cpu::new(1).unwrap(), &start, c).unwrap();
    sampler.set_mass(&each(|d| d.mass)).unwrap();
    sampler.set_gradient_noise(&each(|d| d.known)).unwrap();
    let sd = each(|d| d.noise.sqrt());
    let (mut grad, mut noise) = (vec![0.0; n], vec![0.0; n]);
    let stream = Stream::new(31, StreamTag::Evaluate, 6);
    let mut sums = vec![[0.0; 3]; n];
    while sampler.phase() != Phase::Done {
        let cpu = sampler.vectors();
        (cpu.random(&mut noise, Random::Normal, stream, sampler.step())).unwrap();
        for i in 0..n {
            grad[i] = sd[i] * noise[i] - lambda[i] * sampler.params()[i];
        }
        let report = sampler.step_with_gradient(&grad, 0.0).unwrap();
        if report.phase == Phase::Sampling {
            for (i, s) in sums.iter_mut().enumerate() {
                let (t, m) = (
                    sampler.params()[i] as f64,
                    sampler.momenta().unwrap()[i] as f64,
                );
                *s = [s[0] + t * t, s[1] + t * m, s[2] + m * m];
            }
        }
    }
    let of = |copies: &[[f64; 3]], k: usize| {
        let x: Vec<f64> = copies.iter().map(|s| s[k] / STEPS as f64).collect();
        let mean = x.iter().sum::<f64>() / COPIES as f64;
        let squares: f64 = x.iter().map(|x| (x - mean).powi(2)).sum();
        (mean, (squares / (COPIES * (COPIES - 1)) as f64).sqrt())
    };
    let rows = sums.chunks(COPIES);
    rows.map(|copies| [0, 1, 2].map(|k| of(copies, k)))
        .collect()
}

fn off((mean, error): (f64, f64), want: f64) -> f64 {
    (mean - want).abs() / error
}

#[test]
fn the_sampler_has_the_law_of_its_step() {
    for c in settings() {
        let strongest = (0.5 * c.step_size * c.friction_rate().unwrap()).tanh();
        let directions = [
            direction(&c, 1.0, 1.0, 0.6 * strongest),
            direction(&c, 1.8, 2.5, 0.9 * strongest),
            direction(&c, 0.8, 0.6, 3.0 * strongest),
            direction(&c, 0.7, 1.4, 0.8),
            direction(&c, 1.1, 1.7, 2.0),
            direction(&c, 1.3, 0.9, 0.0),
        ];
        for (d, got) in directions.iter().zip(moments(&c, &directions)) {
            let s = stationary(&c, d);
            for (got, want) in got.into_iter().zip([s[0][0], s[0][1], s[1][1]]) {
                assert!(off(got, want) < Z, "{c:?} {d:?}: {got:?} for {want}");
            }
            // A sampler that took the noise for another would be seen, and so would one that took it for none.
            for factor in [0.0, 0.7, 1.4] {
                let wrong = Noisy {
                    known: factor * d.known,
                    ..*d
                };
                let [t, _, m] = got;
                let s = stationary(&c, &wrong);
                let seen = off(t, s[0][0]).max(off(m, s[1][1]));
                let same = d.noise == 0.0 || split(&c, &wrong).0 + split(&c, d).0 == 0.0;
                assert!(same || seen > 8.0, "{c:?} {d:?}, times {factor}: {seen}");
            }
        }
    }
}

#[test]
fn the_heat_that_is_left_is_counted() {
    let c = config(0.5, 0.9, 1.3, 0.6);
    let strongest = (0.5 * c.step_size * c.friction_rate().unwrap()).tanh();
    let rhos = [0.0, 0.5 * strongest, 1.5 * strongest, 3.0];
    let d = rhos.map(|rho| direction(&c, 1e-9, 2.0, rho));
    let variance = d.map(|d| d.noise as f32);
    let heat = NoiseHeat::new(&c, &variance, Some(&[2.0; 4]));
    assert_eq!((heat.damped, heat.clamped), (0.5, 0.25));
    assert!((heat.residual - 0.5).abs() < 1e-6);
    let per_mass = d.iter().map(|d| d.noise / (1.69 * 2.0)).sum::<f64>() / 4.0;
    assert!((heat.per_mass / per_mass - 1.0).abs() < 1e-6);
    // It is what the momenta have beyond T.
    let kinetic = d.map(|d| stationary(&c, &d)[1][1] / (1.69 * 2.0));
    let mean = kinetic.iter().sum::<f64>() / 4.0;
    assert!((baoa::expected_kinetic(0.6, Some(&heat)) / mean - 1.0).abs() < 1e-6);
    assert_eq!(baoa::expected_kinetic(0.6, None), 0.6);
    // A thermostat takes it out on average, and noise has its friction beside the chain's.
    let ccadl = ChainConfig {
        method: Method::Ccadl,
        ..c.clone()
    };
    let of = NoiseHeat::new(&ccadl, &variance, Some(&[2.0; 4]));
    assert_eq!((of.damped, of.clamped, of.residual), (0.0, 0.25, 0.0));
    assert_eq!(of.per_mass, heat.per_mass);
    let frozen = ChainConfig {
        temperature: 0.0,
        ..c
    };
    assert_eq!(NoiseHeat::new(&frozen, &variance, None).residual, 0.0);
}

// ---------------------------------------------------------------- the estimate

fn estimated(warmup: u64) -> ChainConfig {
    ChainConfig {
        noise_correction: NoiseCorrection::Diagonal,
        warmup_steps: warmup,
        sampling_steps: 10,
        ..config(1e-3, 1.0, 1.0, 0.5)
    }
}

fn inference(sampler: ChainConfig) -> Inference {
    Inference::Chain {
        sampler,
        preconditioner: Preconditioner::None,
        auto_step: None,
    }
}

fn session(c: ChainConfig, n: usize) -> Session<Cpu> {
    let start = vec![0.0; n];
    Session::with_gradients(&Cpu::new(1).unwrap(), inference(c), 1.0, &start).unwrap()
}

/// The gradient of step `step`: a mean that drifts by `drift` a step, and noise whose standard deviation is that of the element.
fn gradient(n: usize, step: u64, drift: f32) -> Vec<f32> {
    let z = normals(n, 100 + step);
    let each = z.iter().enumerate();
    each.map(|(i, z)| spread(i) * z + drift * step as f32)
        .collect()
}

fn spread(i: usize) -> f32 {
    [0.5, 3.0][i % 2]
}

fn variance(s: &Session<Cpu>) -> Vec<f32> {
    s.sampler().unwrap().gradient_noise().unwrap().clone()
}

#[test]
fn the_variance_is_the_running_mean_of_squared_second_differences() {
    let (n, warmup) = (130, 80);
    let mut s = session(estimated(warmup), n);
    let mut want = vec![0.0f64; n];
    for step in 0..warmup + 3 {
        let grad = gradient(n, step, 0.1);
        s.step_with_gradient(&grad, 0.0).unwrap();
        let known = s.sampler().unwrap().gradient_noise().is_some();
        assert_eq!(known, step >= 2);
        if step < 2 {
            continue;
        }
        let share = (1.0 / (step - 1) as f64).max(1.0 / 64.0);
        let (last, before) = (gradient(n, step - 1, 0.1), gradient(n, step - 2, 0.1));
        for i in 0..n {
            let second = grad[i] as f64 - 2.0 * last[i] as f64 + before[i] as f64;
            want[i] += share * (second * second / 6.0 - want[i]);
        }
        let got = variance(&s);
        let off = |i: usize| (got[i] as f64 - want[i]).abs() / (want[i] + 1e-3);
        assert!((0..n).all(|i| off(i) < 1e-4), "step {step}");
    }
}

#[test]
fn the_estimate_is_that_of_the_noise_whatever_the_drift() {
    // Over n / 2 parameters the mean of v of normal noise has a relative error of (3.9 / 127 / (n / 2))^(1/2), 0.25 %: the allowance is eight of
    // them. First differences would add half the square of the drift.
    let n = 10_000;
    for drift in [0.0, 0.3, 3.0] {
        let mut s = session(estimated(300), n);
        for step in 0..300 {
            s.step_with_gradient(&gradient(n, step, drift), 0.0)
                .unwrap();
        }
        let got = variance(&s);
        for k in 0..2 {
            let of = || got.iter().skip(k).step_by(2).map(|&v| v as f64);
            let mean = of().sum::<f64>() / 5000.0;
            let want = (spread(k) as f64).powi(2);
            assert!(
                (mean / want - 1.0).abs() < 0.02,
                "{drift} {k}: {mean} for {want}"
            );
            // Its own error is what the correlations of neighbouring differences make it: 0.175, and by its weights of 1/50 or without the
            // correlations it would be 0.20 or 0.126. The spread of 5000 values is known to 2 % at most.
            let spread = of().map(|v| (v / mean - 1.0).powi(2)).sum::<f64>() / 5000.0;
            let want = 2.0 * (1.0 + 2.0 * (4.0 / 9.0 + 1.0 / 36.0)) / 127.0;
            assert!((spread / want - 1.0).abs() < 0.2, "{spread} for {want}");
        }
    }
}

/// The response of theta to a kick of one unit of gradient, and the map of a step.
fn response(c: &ChainConfig, d: &Noisy) -> (Matrix, [f64; 2]) {
    let (h, heavy) = (c.step_size, c.sigma * c.sigma * d.mass);
    let (c1, c2, _) = split(c, d);
    let kick = 0.5 * (1.0 + c1) * h;
    let b = [[1.0, 0.0], [-kick * d.lambda, c1]];
    let a = [[1.0, 0.5 * h / heavy], [0.0, 1.0]];
    let after = multiply(&a, &multiply(&[[1.0, 0.0], [0.0, c2]], &a));
    let kicked = [after[0][1] * kick, after[1][1] * kick];
    (multiply(&after, &b), kicked)
}

/// What differences of order 1 or 2 of the gradients estimate in equilibrium: their weights' square sum taken out.
fn expected_estimate(c: &ChainConfig, d: &Noisy, order: usize) -> f64 {
    let (step, mut kicked) = response(c, d);
    let mut carried = stationary(c, d);
    // Covariances of g = noise - lambda theta at distances 0, 1 and 2.
    let mut lags = vec![d.lambda.powi(2) * carried[0][0] + d.noise];
    for _ in 0..2 {
        carried = multiply(&step, &carried);
        lags.push(d.lambda.powi(2) * carried[0][0] - d.lambda * d.noise * kicked[0]);
        let next = |i: usize| step[i][0] * kicked[0] + step[i][1] * kicked[1];
        kicked = [next(0), next(1)];
    }
    match order {
        1 => lags[0] - lags[1],
        _ => lags[0] - 4.0 / 3.0 * lags[1] + lags[2] / 3.0,
    }
}

#[test]
fn what_motion_leaves_in_the_estimate_is_what_its_file_says() {
    // Small h omega: leading order in it, which is off by its square and, where noise acts back, by its share.
    for (alpha, sigma, temperature) in [(1.0, 1.0, 0.6), (0.4, 1.3, 1.7)] {
        let (h, mass) = (0.1, 1.6);
        let c = config(h, alpha, sigma, temperature);
        let heavy = sigma * sigma * mass;
        let kept = (-alpha / (sigma * sigma) * h).exp();
        for square in [0.0025f64, 0.01] {
            let lambda = square * heavy / (h * h);
            let quiet = Noisy {
                lambda,
                mass,
                noise: 0.0,
                known: 0.0,
            };
            let rho = |v: f64| h * h * v / (4.0 * temperature * heavy);
            let left = square.powi(2) / 24.0 * (0.5 * (1.0 - kept * kept) + square);
            let got = rho(expected_estimate(&c, &quiet, 2));
            assert!((got / left - 1.0).abs() < 0.08, "{got} for {left}");
            let first = rho(expected_estimate(&c, &quiet, 1));
            assert!((first / (square.powi(2) / 8.0) - 1.0).abs() < 0.08);
            // Noise that acts back, by the difference from a chain without it.
            let noisy = Noisy {
                noise: 1e-3,
                ..quiet
            };
            for (order, back) in [
                (2, (3.0 - kept) * (1.0 + kept) / 6.0),
                (1, (1.0 + kept) / 2.0),
            ] {
                let of = |d| expected_estimate(&c, d, order);
                let heated = stationary(&c, &noisy)[0][0] / stationary(&c, &quiet)[0][0];
                let more = of(&noisy) - heated * of(&quiet);
                let want = 1e-3 * (1.0 + back * square);
                assert!(
                    (more / want - 1.0).abs() < 0.15 * square + 0.02,
                    "{more} {want}"
                );
            }
        }
    }
}

/// The temperature lambda var(theta) / T of a chain that estimates its own noise, in directions of frequency omega and a noise that is the share `e` of the
/// fluctuation.
fn estimating(h_omega: f64, e: f64) -> f64 {
    let n = 2000;
    let mut c = estimated(600);
    (c.sampling_steps, c.temperature, c.step_size) = (600, 0.7, 0.5);
    c.alpha = -0.9f64.ln() / c.step_size;
    let lambda = (h_omega / c.step_size).powi(2);
    let d = direction(&c, lambda, 1.0, e * 0.1 / 1.9);
    let mut s = session(c.clone(), n);
    let mut sum = 0.0;
    for step in 0..1200 {
        let theta = s.sampler().unwrap().params().clone();
        if step >= 600 {
            sum += theta.iter().map(|&t| (t as f64).powi(2)).sum::<f64>() / n as f64;
        }
        let z = normals(n, 5000 + step);
        let grad: Vec<f32> = (theta.iter().zip(&z))
            .map(|(t, z)| d.noise.sqrt() as f32 * z - lambda as f32 * t)
            .collect();
        s.step_with_gradient(&grad, 0.0).unwrap();
    }
    lambda * sum / 600.0 / c.temperature
}

/// The fixed point of the law of the step and of the estimate that it gives rise to.
fn settled(h_omega: f64, e: f64, order: usize) -> f64 {
    let mut c = config(0.5, 1.0, 1.0, 0.7);
    c.alpha = -0.9f64.ln() / c.step_size;
    let lambda = (h_omega / c.step_size).powi(2);
    let mut d = direction(&c, lambda, 1.0, e * 0.1 / 1.9);
    for _ in 0..400 {
        d.known = 0.5 * (d.known + expected_estimate(&c, &d, order));
    }
    lambda * stationary(&c, &d)[0][0] / c.temperature
}

#[test]
fn stiff_directions_are_less_cold_than_first_differences_would_have_them() {
    // (h omega, share of the noise, at least this much of T). A mean over 2000 coordinates has a standard error of 0.3 % of T or less; that of an
    // estimate as a number, whose error the fixed point does not know of, is within 5 %.
    for (h_omega, e, least) in [
        (0.25, 0.0, 0.98),
        (0.5, 0.0, 0.96),
        (0.5, 0.3, 0.91),
        (1.0, 0.0, 0.5),
        (1.0, 0.3, 0.37),
    ] {
        let got = estimating(h_omega, e);
        let (want, first) = (settled(h_omega, e, 2), settled(h_omega, e, 1));
        assert!(got > least && got < 1.03, "{h_omega} {e}: {got}");
        assert!((got - want).abs() < 0.05, "{h_omega} {e}: {got} for {want}");
        assert!(first < least || h_omega < 0.5, "{h_omega} {e}: {first}");
    }
}

/// Files from when differences were of two gradients go on: the variances in them stay until two more gradients have come.
#[test]
fn a_chain_without_the_gradient_before_begins_its_differences_anew() {
    let n = 5;
    let mut s = session(estimated(20), n);
    for step in 0..6 {
        s.step_with_gradient(&gradient(n, step, 0.0), 0.0).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain.bnn");
    s.save(&path).unwrap();
    let without = |name: &str| {
        forge(&path, Kind::Chain, &path, |parts| {
            parts.singles.remove(name).expect("there");
        });
    };
    without("gradient_before");
    let cpu = Cpu::new(1).unwrap();
    let old = Session::resume_with_gradients(&cpu, inference(estimated(20)), 1.0, n, &path);
    let mut old = old.unwrap();
    let kept = variance(&s);
    old.step_with_gradient(&gradient(n, 6, 0.0), 0.0).unwrap();
    assert!(variance(&old) == kept);
    old.step_with_gradient(&gradient(n, 7, 0.0), 0.0).unwrap();
    let got = variance(&old);
    for i in 0..n {
        let g = |k| gradient(n, k, 0.0)[i] as f64;
        let second = (g(7) - 2.0 * g(6) + g(5)).powi(2) / 6.0;
        let want = kept[i] as f64 + (second - kept[i] as f64) / 6.0;
        assert!((got[i] as f64 / want - 1.0).abs() < 1e-4, "{i}");
    }
    // And without the last one there is nothing that it could be before.
    s.save(&path).unwrap();
    without("last_gradient");
    let cpu = Cpu::new(1).unwrap();
    let broken = Session::resume_with_gradients(&cpu, inference(estimated(20)), 1.0, n, &path);
    assert!(broken.is_err());
}

#[test]
fn a_chain_goes_on_bit_for_bit_wherever_it_was_broken_off() {
    let (n, warmup) = (70, 6);
    let dir = tempfile::tempdir().unwrap();
    let state = |s: &Session<Cpu>| {
        let bits = |v: &Vec<f32>| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let sampler = s.sampler().unwrap();
        let noise = sampler.gradient_noise().map(bits);
        (
            bits(sampler.params()),
            bits(sampler.momenta().unwrap()),
            noise,
        )
    };
    let total = warmup + 10;
    for given in [false, true] {
        let mut whole = session(estimated(warmup), n);
        let mut known = Vec::new();
        for step in 0..total {
            known.push(state(&whole));
            if given && step == 3 {
                whole.set_gradient_noise(&vec![2.0; n]).unwrap();
            }
            whole
                .step_with_gradient(&gradient(n, step, 0.2), 0.0)
                .unwrap();
        }
        // A variance that was given stays: the estimate has ended.
        assert_eq!(variance(&whole) == vec![2.0; n], given);
        for broken in 0..total {
            let path = dir.path().join("chain.bnn");
            let mut first = session(estimated(warmup), n);
            for step in 0..broken {
                if given && step == 3 {
                    first.set_gradient_noise(&vec![2.0; n]).unwrap();
                }
                first
                    .step_with_gradient(&gradient(n, step, 0.2), 0.0)
                    .unwrap();
            }
            first.save(&path).unwrap();
            let cpu = Cpu::new(1).unwrap();
            let resumed =
                Session::resume_with_gradients(&cpu, inference(estimated(warmup)), 1.0, n, &path);
            let mut second = resumed.unwrap();
            for step in broken..total {
                if given && step == 3 {
                    second.set_gradient_noise(&vec![2.0; n]).unwrap();
                }
                assert!(state(&second) == known[step as usize] || (given && step == 3));
                second
                    .step_with_gradient(&gradient(n, step, 0.2), 0.0)
                    .unwrap();
            }
            assert!(state(&second) == state(&whole), "{broken}");
        }
    }
}

#[test]
fn settings_with_another_correction_are_another_chain() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain.bnn");
    let mut s = session(estimated(6), 3);
    s.step_with_gradient(&[0.1; 3], 0.0).unwrap();
    s.save(&path).unwrap();
    let mut c = estimated(6);
    let with = s.identity().unwrap();
    c.noise_correction = NoiseCorrection::None;
    assert_ne!(session(c.clone(), 3).identity().unwrap(), with);
    let cpu = Cpu::new(1).unwrap();
    match Session::resume_with_gradients(&cpu, inference(c), 1.0, 3, &path) {
        Err(Error::Mismatch { what, .. }) => assert!(what.contains("noise_correction"), "{what}"),
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn it_is_refused_where_it_has_no_use() {
    let takes = |m: &Method| matches!(m, Method::Baoa | Method::Ccadl);
    for method in Method::ALL.into_iter().filter(|m| !takes(m)) {
        let mut c = ChainConfig::new(method, 1e-3);
        c.validate().unwrap();
        c.noise_correction = NoiseCorrection::Diagonal;
        let said = c.validate().unwrap_err().to_string();
        assert!(
            said.contains("noise_correction") && said.contains("baoa"),
            "{said}"
        );
        c.noise_correction = NoiseCorrection::None;
        let mut sampler = Sampler::new(Cpu::new(1).unwrap(), &[0.0; 3], c).unwrap();
        let said = sampler
            .set_gradient_noise(&[1.0; 3])
            .unwrap_err()
            .to_string();
        assert!(
            said.contains(method.name()) && said.contains("baoa"),
            "{said}"
        );
    }
    for (method, variance) in [
        (Method::Sghmc, 1.0),
        (Method::Baoa, -1.0),
        (Method::Baoa, f32::NAN),
    ] {
        let c = ChainConfig::new(method, 1e-3);
        let new = Sampler::new(Cpu::new(1).unwrap(), &[0.0; 2], c.clone()).unwrap();
        let mut state = new.state().unwrap();
        state.gradient_noise = Some(vec![1.0, variance]);
        let restored = Sampler::restore(Cpu::new(1).unwrap(), c, &state);
        let said = restored.err().expect("refused").to_string();
        assert!(said.contains("gradient_noise"), "{said}");
    }
    let none = Session::with_gradients(&Cpu::new(1).unwrap(), inference(estimated(2)), 1.0, &[0.0]);
    let said = none.err().expect("refused").to_string();
    assert!(said.contains("at least 3 gradients"), "{said}");
    let mut s = session(estimated(3), 3);
    for bad in [
        &[1.0, -1.0, 1.0][..],
        &[1.0, f32::NAN, 1.0],
        &[1.0, f32::INFINITY, 0.0],
        &[1.0],
    ] {
        assert!(s.set_gradient_noise(bad).is_err(), "{bad:?}");
    }
    for step in 0..4 {
        s.step_with_gradient(&gradient(3, step, 0.0), 0.0).unwrap();
    }
    let said = s.set_gradient_noise(&[1.0; 3]).unwrap_err().to_string();
    assert!(said.contains("before sampling"), "{said}");
}
