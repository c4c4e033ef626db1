//! How far chains move on a flat target: the library's second moments against sums written out, and against chains that were simulated.

mod common;

use bnn::samplers::{ChainConfig, FreeDiffusion, Lightness, Method, Schedule};
use common::replicas;

/// Steps of the size 0.3 with gamma = 0.9 / 1.44, at T = 0.7: friction and its step's error both matter.
fn config(method: Method) -> ChainConfig {
    let mut c = ChainConfig::new(method, 0.3);
    (c.temperature, c.warmup_steps, c.sampling_steps, c.thinning) = (0.7, 20, 40, 10);
    if method.has_momenta() {
        (c.alpha, c.sigma) = (0.9, 1.2);
    }
    if method.has_thermostat() {
        // So heavy that its friction stays where momenta have T.
        c.thermostat_mass = 1e12;
        let rate = c.alpha / c.sigma.powi(2);
        c.xi = Some(match method {
            Method::Sgnht | Method::Ccadl => c.alpha,
            // 2 gamma h - (gamma h)^2 = 2 alpha h / sigma^2
            _ => (1.0 - (1.0 - 2.0 * rate * c.step_size).sqrt()) / c.step_size * c.sigma.powi(2),
        });
    }
    c
}

/// The variance after n steps, and the covariance with that after k, of a displacement that is the sum of a m_j + b m_(j+1) with momenta that have the
/// variance K and the correlation p^lag, from m_0 of the variance K.
fn sums(p: f64, kinetic: f64, (a, b): (f64, f64), k: i32, n: i32) -> (f64, f64) {
    let covariance = |i: i32, j: i32| {
        let of = |i: i32, j: i32| kinetic * p.powi((i - j).abs());
        a * a * of(i, j) + a * b * (of(i, j + 1) + of(i + 1, j)) + b * b * of(i + 1, j + 1)
    };
    let total = |k: i32, n: i32| -> f64 {
        (0..k)
            .map(|i| (0..n).map(|j| covariance(i, j)).sum::<f64>())
            .sum()
    };
    (total(n, n), total(k, n))
}

/// BAOA, whose momenta begin in equilibrium, by the double sum over steps; SGLD by n variances. Broken: the drift doubled, 4 times the variance; the
/// cross term of a and b left out, 0.58 of it.
#[test]
fn second_moments_are_those_of_the_sums() {
    let light = Lightness::new(Some(&[0.5, 2.0]), 2, 1.2);
    let inverse = (1.0 / 0.5 + 1.0 / 2.0) / 2.0 / 1.44;
    assert!((light.mean / inverse - 1.0).abs() < 1e-6);
    // (2 + 1/2)^2 / (4 + 1/4)
    assert!((light.parameters - 6.25 / 4.25).abs() < 1e-6);
    let c = config(Method::Baoa);
    let p = (-0.3f64 * 0.9 / 1.44).exp();
    for (first, last) in [(1, 1), (1, 2), (7, 60), (30, 60)] {
        let (v, with) = sums(p, 0.7, (0.15, 0.15), first, last);
        let (of_first, _) = sums(p, 0.7, (0.15, 0.15), first, first);
        let f = FreeDiffusion::new(&c, light, first as u64, last as u64).unwrap();
        assert!((f.rms / (v * inverse).sqrt() - 1.0).abs() < 1e-6, "{f:?}");
        let cosine = with / (v * of_first).sqrt();
        assert!((f.cosine.unwrap() - cosine).abs() < 1e-9, "{f:?}");
    }
    let c = config(Method::Sgld);
    let one = Lightness::new(None, 50, 1.0);
    let f = FreeDiffusion::new(&c, one, 15, 60).unwrap();
    assert!((f.rms - (60.0 * 2.0 * 0.7 * 0.3f64).sqrt()).abs() < 1e-12);
    assert!((f.cosine.unwrap() - 0.5).abs() < 1e-12);
    assert!((f.relative_sd - 0.1).abs() < 1e-12);
    assert!(FreeDiffusion::new(&c, one, 3, 2).is_err());
    assert!(FreeDiffusion::new(&c, one, 3, 61).is_err());
}

/// A chain that is long against its friction diffuses: the cosine is that of Brownian motion, (n_1 / n_2)^1/2, and the variance 2 T t / gamma.
#[test]
fn a_long_chain_is_brownian() {
    let mut c = ChainConfig::new(Method::Baoa, 4.5e-3);
    c.alpha = -(0.9f64.ln()) / 4.5e-3;
    c.temperature = 0.1;
    let f = FreeDiffusion::new(&c, Lightness::new(None, 800_000, 1.0), 140, 1100).unwrap();
    assert!((f.cosine.unwrap() / (140.0f64 / 1100.0).sqrt() - 1.0).abs() < 0.02);
    let brownian = (2.0 * 0.1 * 1100.0 * 4.5e-3 / c.alpha).sqrt();
    assert!((f.rms / brownian - 1.0).abs() < 0.01, "{f:?}, {brownian}");
}

/// Every method, 40,000 parameters of two masses without a gradient: the root mean square within 8 of its standard deviations, the cosine within 8 of
/// its own (below 1 / 200), the kinetic temperature of the last step within 8: a false alarm in 1e-14 each. A factor of 2 in any variance is 58
/// standard deviations and more.
#[test]
fn simulated_chains_move_as_far() {
    let schedules = [
        (Schedule::Constant, Schedule::Constant),
        (
            Schedule::Cosine {
                final_fraction: 0.2,
            },
            Schedule::Linear {
                final_fraction: 0.3,
            },
        ),
    ];
    for method in Method::ALL {
        for (of_step, of_temperature) in &schedules {
            let mut c = config(method);
            (c.schedule, c.temperature_schedule) = (*of_step, *of_temperature);
            if method.has_thermostat() && *of_step != Schedule::Constant {
                continue; // its friction would have to move with the step
            }
            like_a_simulated_one(&c);
        }
    }
    let mut c = config(Method::Baoa);
    c.schedule = Schedule::Cyclical {
        cycles: 2,
        exploration: 0.3,
        final_fraction: 0.1,
    };
    like_a_simulated_one(&c);
}

fn like_a_simulated_one(c: &ChainConfig) {
    const N: usize = 40_000;
    let (first, last) = (30, 60);
    let mass: Vec<f32> = (0..N).map(|i| if i % 2 == 0 { 0.5 } else { 3.0 }).collect();
    let (start, mut seen, mut kinetic) = (vec![0.25f32; N], Vec::new(), None);
    replicas::run(
        c,
        &start,
        &mass,
        |_, grad| grad.fill(0.0),
        |sampler, report| {
            if sampler.step() == first || sampler.step() == last {
                seen.push(sampler.params().clone());
            }
            kinetic = report.kinetic_temperature;
        },
    );
    let moved = |x: &[f32], y: &[f32]| -> f64 {
        let each = x.iter().zip(y);
        each.map(|(x, y)| f64::from(x - 0.25) * f64::from(y - 0.25))
            .sum::<f64>()
            / N as f64
    };
    let (a, b) = (&seen[0], &seen[1]);
    let light = Lightness::new(Some(&mass), N, c.sigma);
    let f = FreeDiffusion::new(c, light, first, last).unwrap();
    let off = (moved(b, b).sqrt() / f.rms - 1.0) / f.relative_sd;
    assert!(off.abs() < 8.0, "{c:?}: {f:?}, {off}");
    let cosine = moved(a, b) / (moved(a, a) * moved(b, b)).sqrt();
    let spread = 8.0 / light.parameters.sqrt();
    assert!(
        (cosine - f.cosine.unwrap()).abs() < spread,
        "{c:?}: {f:?}, {cosine}"
    );
    assert!(spread < 0.06);
    let expected = c.method.scheme().expected_kinetic(&c.at(59));
    assert_eq!(expected.is_some(), c.method.has_momenta());
    let constant = c.schedule == Schedule::Constant && c.temperature_schedule == Schedule::Constant;
    if let Some(expected) = expected.filter(|_| constant) {
        let off = kinetic.unwrap() / expected - 1.0;
        assert!(
            off.abs() < 8.0 * (2.0 / N as f64).sqrt(),
            "{}: {off}",
            c.method
        );
    }
}

/// T / (1 - gamma h / 2) of Euler's friction, T of the exact one, nothing without momenta. gamma h = 0.3 * 0.9 / 1.44 = 0.1875.
#[test]
fn expected_temperatures_are_those_of_the_frictions_step() {
    let of = |method| Method::scheme(method).expected_kinetic(&config(method));
    for method in [Method::Sghmc, Method::SghmcEuler] {
        assert!((of(method).unwrap() - 0.7 / (1.0 - 0.09375)).abs() < 1e-12);
    }
    for method in [
        Method::Baoa,
        Method::Sgnht,
        Method::SgnhtDing,
        Method::SgnhtEuler,
    ] {
        assert_eq!(of(method), Some(0.7));
    }
    assert_eq!((of(Method::Sgld), of(Method::Sglrw)), (None, None));
}

/// Where parameters have frictions of their own there is no one displacement.
#[test]
fn several_frictions_are_refused() {
    let light = Lightness::new(None, 4, 1.2);
    let new = |c: &ChainConfig| FreeDiffusion::new(c, light, 10, 40);
    let c = config(Method::Ccadl);
    assert!(new(&c).is_ok());
    let tensor = ChainConfig {
        thermostats: bnn::samplers::Thermostats::Tensor,
        ..c.clone()
    };
    let estimated = ChainConfig {
        noise_correction: bnn::samplers::NoiseCorrection::Diagonal,
        ..c
    };
    for c in [tensor, estimated] {
        let said = new(&c).unwrap_err().to_string();
        assert!(said.contains("free diffusion"), "{said}");
    }
}
