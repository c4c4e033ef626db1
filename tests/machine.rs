//! A sampler as a state machine: phases, schedules, states, what stops it, the thermostat step by step.

mod common;

use bnn::backend::vectors::Reduce;
use bnn::backend::{Cpu, Vectors, cpu::Isa};
use bnn::rng::{Stream, StreamTag};
use bnn::samplers::{
    ChainConfig, Factors, Method, Momenta, Phase, Sampler, SamplerState, Schedule, StepReport,
    Thermostat, stability,
};
use bnn::{Error, Result};
use common::ensure::every_isa;
use common::plane::config;

fn cpu() -> Cpu {
    Cpu::new(1).unwrap()
}

fn normals(n: usize, step: u64) -> Vec<f32> {
    let mut z = vec![0.0; n];
    Stream::new(77, StreamTag::Evaluate, 0).fill_normal(step, &mut z);
    z
}

/// Two sides of a normal beyond this: 1.5e-9.
const Z: f64 = 6.04;

/// Steps on -|theta|^2 / 2 and collects the reports.
fn run(sampler: &mut Sampler<Cpu>, steps: usize) -> Vec<StepReport> {
    let step = |_| {
        let grad: Vec<f32> = sampler.params().iter().map(|x| -x).collect();
        sampler.step_with_gradient(&grad, -1.0).unwrap()
    };
    (0..steps).map(step).collect()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

fn settings(method: Method) -> ChainConfig {
    let mut c = ChainConfig::new(method, 0.1);
    (
        c.warmup_steps,
        c.sampling_steps,
        c.thinning,
        c.seed,
        c.temperature,
    ) = (30, 70, 8, 5, 0.8);
    if method.has_momenta() {
        (c.alpha, c.sigma) = (0.9, 1.2);
    }
    c.schedule = Schedule::Cosine {
        final_fraction: 0.3,
    };
    c
}

#[test]
fn phases_and_due_samples() {
    let mut sampler = Sampler::new(cpu(), &[1.0, 2.0], settings(Method::Baoa)).unwrap();
    let reports = run(&mut sampler, 100);
    for (i, r) in reports.iter().enumerate() {
        assert_eq!(r.step, i as u64);
        assert_eq!(
            r.phase,
            if i < 30 {
                Phase::Warmup
            } else {
                Phase::Sampling
            }
        );
        assert_eq!(r.sample_due, i >= 30 && (i - 30 + 1) % 8 == 0, "{i}");
    }
    let due = reports.iter().filter(|r| r.sample_due).count() as u64;
    assert_eq!((due, sampler.config().num_samples()), (8, 8));
    assert_eq!((sampler.phase(), sampler.step()), (Phase::Done, 100));
    let over = sampler.step_with_gradient(&vec![0.0; 2], 0.0);
    assert!(matches!(over, Err(Error::Conflict(_))), "{over:?}");
}

#[test]
fn a_resumed_chain_is_the_unbroken_one() {
    let (n, mass) = (
        9000,
        normals(9000, 9)
            .iter()
            .map(|z| 1.0 + z.exp())
            .collect::<Vec<_>>(),
    );
    for method in Method::ALL {
        let mut whole = Sampler::new(cpu(), &normals(n, 1), settings(method)).unwrap();
        let mut broken = Sampler::new(cpu(), &normals(n, 1), settings(method)).unwrap();
        let mut reports = [run(&mut whole, 20), run(&mut broken, 20)];
        whole.set_mass(&mass).unwrap();
        broken.set_mass(&mass).unwrap();
        reports[0].extend(run(&mut whole, 80));
        reports[1].extend(run(&mut broken, 17)); // 37 in all
        let text = serde_json::to_string(&broken.state().unwrap()).unwrap();
        drop(broken);
        let state: SamplerState = serde_json::from_str(&text).unwrap();
        let mut broken = Sampler::restore(Cpu::new(2).unwrap(), settings(method), &state).unwrap();
        reports[1].extend(run(&mut broken, 63));
        assert_eq!(reports[0], reports[1], "{method}");
        assert_eq!(whole.state().unwrap(), broken.state().unwrap(), "{method}");
        assert_ne!(bits(whole.params()), bits(&normals(n, 1)));
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    let n = 5 * 8 * 4096 + 7;
    for method in Method::ALL {
        let outcome = |cpu: Cpu| {
            let mut sampler = Sampler::new(cpu, &normals(n, 1), settings(method)).unwrap();
            let reports = run(&mut sampler, 4);
            (reports, bits(sampler.params()))
        };
        let first = outcome(Cpu::with_isa(1, Isa::named("portable").unwrap()).unwrap());
        for isa in every_isa() {
            for threads in 1..=3 {
                assert!(
                    outcome(Cpu::with_isa(threads, isa).unwrap()) == first,
                    "{method} {isa:?} {threads}"
                );
            }
        }
    }
}

#[test]
fn chains_and_seeds_are_independent() {
    // The displacements that four chains of one seed and a chain of another make: correlations of a normal law
    // about 0, 10 pairs a method.
    let n = 1 << 16;
    for method in Method::ALL {
        let ids = [(5, 0), (5, 1), (5, 2), (5, u32::MAX), (6, 0)];
        let moved = |(seed, chain): (u64, u32)| {
            let mut c = settings(method);
            (c.seed, c.chain) = (seed, chain);
            let mut sampler = Sampler::new(cpu(), &vec![0.0; n], c).unwrap();
            run(&mut sampler, 3);
            sampler.params().clone()
        };
        let paths: Vec<Vec<f32>> = ids.into_iter().map(moved).collect();
        assert_eq!(paths[0], moved(ids[0]));
        for i in 0..paths.len() {
            for j in 0..i {
                let dot = |a: &[f32], b: &[f32]| {
                    cpu().reduce(Reduce::Dot(&a.to_vec(), &b.to_vec())).unwrap()
                };
                let r = dot(&paths[i], &paths[j])
                    / (dot(&paths[i], &paths[i]) * dot(&paths[j], &paths[j])).sqrt();
                assert!(r.abs() < Z / (n as f64).sqrt(), "{method} {i} {j}: {r}");
            }
        }
    }
}

#[test]
fn momenta_start_as_asked() {
    let n = 1 << 16;
    let mut c = settings(Method::Baoa);
    let mass: Vec<f32> = (0..n)
        .map(|i| if i % 2 == 0 { 4.0 } else { 0.25 })
        .collect();
    let mut sampler = Sampler::new(cpu(), &vec![0.0; n], c.clone()).unwrap();
    // N(0, T sigma^2 M): the mean of m^2 / M over n has the deviation T sigma^2 sqrt(2 / n).
    let check = |m: &[f32], mass: &[f32]| {
        let mean = m
            .iter()
            .zip(mass)
            .map(|(m, s)| (*m as f64).powi(2) / *s as f64)
            .sum::<f64>()
            / n as f64;
        let want = 0.8 * 1.44;
        assert!(
            (mean - want).abs() < Z * want * (2.0 / n as f64).sqrt(),
            "{mean}"
        );
    };
    check(sampler.momenta().unwrap(), &vec![1.0; n]);
    let first = sampler.momenta().unwrap().clone();
    sampler.set_mass(&mass).unwrap();
    check(sampler.momenta().unwrap(), &mass);
    check(
        &sampler.momenta().unwrap()[..n / 2],
        &mass[..n / 2].iter().map(|m| 0.5 * m).collect::<Vec<_>>(),
    );
    // A mass that is there from the start gives the same numbers, scaled; one set later gives others.
    assert!((0..n).all(|i| sampler.momenta().unwrap()[i] == first[i] * mass[i].sqrt()));
    run(&mut sampler, 1);
    sampler.set_mass(&vec![1.0; n]).unwrap();
    check(sampler.momenta().unwrap(), &vec![1.0; n]);
    assert_ne!(sampler.momenta().unwrap()[0], first[0]);
    c.momenta = Momenta::Constant(-0.5);
    let sampler = Sampler::new(cpu(), &vec![0.0; n], c.clone()).unwrap();
    assert!(sampler.momenta().unwrap().iter().all(|m| *m == -0.5));
    (c.momenta, c.temperature) = (Momenta::Thermal, 0.0);
    let sampler = Sampler::new(cpu(), &vec![0.0; n], c).unwrap();
    assert!(sampler.momenta().unwrap().iter().all(|m| *m == 0.0));
}

#[test]
fn the_mass_is_frozen_when_sampling_begins() {
    for method in Method::ALL {
        let mut sampler = Sampler::new(cpu(), &[1.0, 2.0, 3.0], settings(method)).unwrap();
        assert!(sampler.mass().is_none());
        let state = sampler.state().unwrap();
        assert!(matches!(sampler.set_mass(&[1.0]), Err(Error::Shape { .. })));
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-40, f32::MAX] {
            let e = sampler.set_mass(&[1.0, 2.0, bad]).unwrap_err();
            assert!(e.to_string().starts_with("mass[2]"), "{e}");
        }
        assert_eq!(
            sampler.state().unwrap(),
            state,
            "a refused mass changes nothing"
        );
        run(&mut sampler, 30);
        sampler.set_mass(&[1.0, 2.0, 3.0]).unwrap(); // between the last step of warm-up and the first of sampling
        assert_eq!(sampler.mass().unwrap(), &vec![1.0, 2.0, 3.0]);
        run(&mut sampler, 1);
        assert!(matches!(
            sampler.set_mass(&[1.0; 3]),
            Err(Error::Conflict(_))
        ));
    }
}

#[test]
fn what_is_not_finite_stops_the_chain() {
    let n = 10_000;
    for method in Method::ALL {
        let mut sampler = Sampler::new(cpu(), &normals(n, 1), settings(method)).unwrap();
        run(&mut sampler, 5);
        let before = sampler.state().unwrap();
        let good = vec![0.1; n];
        let stopped = |r: Result<StepReport>, tensor: &str, step: u64| match r {
            Err(Error::NotFinite {
                step: s,
                tensor: t,
                value,
            }) => {
                assert_eq!(
                    (s, t.as_str(), value.is_finite()),
                    (step, tensor, false),
                    "{method}"
                );
            }
            other => panic!("{method}: {other:?}"),
        };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            stopped(
                sampler.step_with_gradient(&good, bad as f64),
                "log_posterior",
                5,
            );
            assert_eq!(sampler.non_finite_index(), None);
            let mut grad = good.clone();
            (grad[7777], grad[9000]) = (bad, f32::NAN);
            stopped(sampler.step_with_gradient(&grad, 0.0), "gradient[7777]", 5);
            assert_eq!(sampler.non_finite_index(), Some(7777));
        }
        assert_eq!(
            sampler.state().unwrap(),
            before,
            "{method}: the state is as it was"
        );
        assert!(matches!(
            sampler.step_with_gradient(&vec![0.0; 3], 0.0),
            Err(Error::Shape { .. })
        ));
        sampler.step_with_gradient(&good, 0.0).unwrap();
        assert_eq!((sampler.step(), sampler.non_finite_index()), (6, None));
        // Finite gradients that overflow the state; under Euler the momentum first.
        let mut c = settings(method);
        c.step_size = if method.has_momenta() { 1.5 } else { 4.0 };
        c.schedule = Schedule::Constant;
        let mut sampler = Sampler::new(cpu(), &normals(n, 1), c).unwrap();
        let mut grad = good;
        grad[4097] = 3e38;
        if method == Method::Sglrw {
            // Its steps are clamped: no gradient throws it far.
            sampler.step_with_gradient(&grad, 0.0).unwrap();
            let moved = (sampler.params()[4097] - normals(n, 1)[4097]) as f64;
            assert!(
                (moved - (2.0 * 0.8 * 4.0f64).sqrt()).abs() < 1e-5,
                "{moved}"
            );
            continue;
        }
        let tensor = match method {
            Method::SghmcEuler | Method::SgnhtEuler => "momenta[4097]",
            _ => "params[4097]",
        };
        stopped(sampler.step_with_gradient(&grad, 0.0), tensor, 0);
        assert_eq!(sampler.non_finite_index(), Some(4097));
        // And it stays stopped.
        assert!(sampler.step_with_gradient(&vec![0.0; n], 0.0).is_err());
        let lost = sampler.state().unwrap();
        assert!(Sampler::restore(cpu(), settings(method), &lost).is_err());
    }
}

#[test]
fn settings_are_checked() {
    let refused = |what: &str, c: ChainConfig| {
        let e = c.validate().unwrap_err();
        assert!(e.to_string().starts_with(what), "{e}");
        assert!(Sampler::new(cpu(), &[1.0], c).is_err());
    };
    for method in Method::ALL {
        let with = |change: &dyn Fn(&mut ChainConfig)| {
            let mut c = settings(method);
            assert!(c.validate().is_ok());
            change(&mut c);
            c
        };
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            refused("step_size", with(&|c| c.step_size = bad));
            refused("sigma", with(&|c| c.sigma = bad));
            refused("alpha", with(&|c| c.alpha = bad));
            refused("beta", with(&|c| c.beta = bad));
            refused("temperature", with(&|c| c.temperature = bad));
            refused(
                "final_fraction",
                with(&|c| {
                    c.schedule = Schedule::Cosine {
                        final_fraction: bad,
                    }
                }),
            );
        }
        refused("step_size", with(&|c| c.step_size = 0.0));
        refused("sigma", with(&|c| c.sigma = 0.0));
        refused("thinning", with(&|c| c.thinning = 0));
        refused("thinning", with(&|c| c.thinning = 71));
        refused("sampling_steps", with(&|c| c.sampling_steps = u64::MAX));
        refused(
            "final_fraction",
            with(&|c| {
                c.schedule = Schedule::Cosine {
                    final_fraction: 0.0,
                }
            }),
        );
        refused(
            "momenta",
            with(&|c| c.momenta = Momenta::Constant(f32::NAN)),
        );
        match method {
            Method::Sgld => {
                refused("alpha", with(&|c| c.alpha = 0.1));
                refused("sigma", with(&|c| c.sigma = 2.0));
                refused("momenta", with(&|c| c.momenta = Momenta::Constant(0.0)));
                refused("beta", with(&|c| c.beta = 25.1)); // 0.8 * 0.1 * 25 = 2
                assert!(with(&|c| c.beta = 24.9).validate().is_ok());
            }
            Method::Sghmc | Method::SghmcEuler => {
                refused("alpha", with(&|c| c.alpha = 0.0));
                refused("beta", with(&|c| c.beta = 22.6)); // 0.8 * 0.1 * 22.5 = 2 * 0.9
                assert!(with(&|c| c.beta = 22.4).validate().is_ok());
                refused("unstable", with(&|c| c.step_size = 3.3)); // 0.9 / 1.44 * 3.2 = 2
            }
            Method::Baoa => {
                refused("alpha", with(&|c| c.alpha = 0.0));
                refused("beta", with(&|c| c.beta = 0.1));
            }
            Method::Ccadl => {
                assert!(with(&|c| c.alpha = 0.0).validate().is_ok());
                refused("beta", with(&|c| c.beta = 0.1));
                refused("xi", with(&|c| c.xi = Some(f64::NAN)));
                refused("thermostat_mass", with(&|c| c.thermostat_mass = 0.0));
            }
            Method::Sgnht | Method::SgnhtDing | Method::SgnhtEuler => {
                assert!(with(&|c| c.alpha = 0.0).validate().is_ok());
                refused("beta", with(&|c| c.beta = 22.6));
                refused("xi", with(&|c| c.xi = Some(f64::NAN)));
                refused("thermostat_mass", with(&|c| c.thermostat_mass = 0.0));
            }
            Method::Sglrw => {
                refused("alpha", with(&|c| c.alpha = 0.1));
                refused("sigma", with(&|c| c.sigma = 2.0));
                refused("beta", with(&|c| c.beta = 0.1));
                refused("temperature", with(&|c| c.temperature = 0.0));
            }
        }
        if !method.has_thermostat() {
            refused("xi", with(&|c| c.xi = Some(1.0)));
        }
        assert_eq!(method.name().parse::<Method>().unwrap(), method);
        assert_eq!(serde_json::to_value(method).unwrap(), method.name());
        let text = serde_json::to_string(&settings(method)).unwrap();
        assert_eq!(
            serde_json::from_str::<ChainConfig>(&text).unwrap(),
            settings(method)
        );
    }
    assert!("baoab".parse::<Method>().is_err());
    assert!(matches!(
        Sampler::new(cpu(), &[], settings(Method::Baoa)),
        Err(Error::OutOfRange { .. })
    ));
    assert!(Sampler::new(cpu(), &[f32::NAN], settings(Method::Baoa)).is_err());
}

#[test]
fn states_that_do_not_fit_are_refused() {
    let (with, without) = (settings(Method::Baoa), settings(Method::Sgld));
    let mut sampler = Sampler::new(cpu(), &[1.0, 2.0], with.clone()).unwrap();
    sampler.set_mass(&[1.0, 3.0]).unwrap();
    let good = sampler.state().unwrap();
    let refused = |config: &ChainConfig, change: &dyn Fn(&mut SamplerState)| {
        let mut state = good.clone();
        change(&mut state);
        assert!(
            Sampler::restore(cpu(), config.clone(), &state).is_err(),
            "{state:?}"
        );
    };
    assert!(Sampler::restore(cpu(), with.clone(), &good).is_ok());
    refused(&without, &|_| ());
    refused(&with, &|s| s.momenta = None);
    refused(&with, &|s| s.step = 101);
    refused(&with, &|s| s.theta = vec![]);
    refused(&with, &|s| s.theta[1] = f32::NAN);
    refused(&with, &|s| s.center = vec![1.0]);
    refused(&with, &|s| s.momenta = Some(vec![1.0; 3]));
    refused(&with, &|s| s.momenta = Some(vec![1.0, f32::INFINITY]));
    refused(&with, &|s| s.mass = Some(vec![1.0, 0.0]));
    let thermostat = |xi| {
        let (kinetic, parameters) = (1.0, 2);
        vec![Thermostat {
            xi,
            kinetic,
            parameters,
        }]
    };
    refused(&with, &|s| s.thermostats = thermostat(1.0));
    let hot = settings(Method::Sgnht);
    refused(&hot, &|_| ());
    refused(&hot, &|s| s.thermostats = thermostat(f64::NAN));
    let fits = SamplerState {
        thermostats: thermostat(1.0),
        ..good.clone()
    };
    assert!(Sampler::restore(cpu(), hot, &fits).is_ok());
}

// ---------------------------------------------------------------- thermostat

#[test]
fn the_thermostat_follows_the_momenta() {
    // Two steps by hand without noise (T = 0): the friction is xi / sigma^2, and xi moves by h K / Q.
    let (h, sigma, q) = (0.1f64, 1.3f64, 0.25);
    for (method, start) in [
        (Method::SgnhtDing, Some(0.0)), // an explicit zero is zero
        (Method::SgnhtDing, Some(0.7)),
        (Method::SgnhtDing, None), // alpha
        (Method::SgnhtEuler, Some(0.7)),
    ] {
        let mut c = config(method, h, 0.4, 0.0, sigma, 0.0);
        (c.xi, c.thermostat_mass, c.momenta) = (start, q, Momenta::Constant(0.5));
        let mut sampler = Sampler::new(cpu(), &[1.0, 3.0], c).unwrap();
        sampler.set_mass(&[1.0, 4.0]).unwrap();
        // set_mass draws at T = 0; momenta of a half again.
        let mut state = sampler.state().unwrap();
        state.momenta = Some(vec![0.5, 0.5]);
        let kinetic = |m: &[f64; 2]| (m[0].powi(2) + m[1].powi(2) / 4.0) / (2.0 * sigma * sigma);
        let (mut m, mut xi) = ([0.5, 0.5], start.unwrap_or(0.4));
        let mut before = kinetic(&m);
        state.thermostats = vec![Thermostat {
            xi,
            kinetic: before,
            parameters: 2,
        }];
        let mut sampler = Sampler::restore(cpu(), sampler.config().clone(), &state).unwrap();
        assert_eq!(sampler.thermostat().unwrap().xi, xi);
        for _ in 0..2 {
            let r = sampler.step_with_gradient(&vec![0.3, -0.2], 0.0).unwrap();
            m = [
                m[0] + h * 0.3 - h * xi / sigma.powi(2) * m[0],
                m[1] - h * 0.2 - h * xi / sigma.powi(2) * m[1],
            ];
            let after = kinetic(&m);
            xi += h / q
                * if method == Method::SgnhtDing {
                    after
                } else {
                    before
                };
            before = after;
            assert!((r.xi.unwrap() - xi).abs() < 1e-6, "{method} {start:?}");
            let got = sampler.momenta().unwrap();
            assert!((got[0] as f64 - m[0]).abs() < 1e-6 && (got[1] as f64 - m[1]).abs() < 1e-6);
        }
    }
}

#[test]
fn the_splitting_step_by_step() {
    // Three steps of BADODAB by hand with given noise, the thermostat light, at friction above, below and at 0; each letter is done as its
    // own line says.
    let (h, sigma, q, alpha, beta, t) = (0.1f64, 1.3f64, 0.05, 0.4, 0.7, 0.6);
    let (mass, grads) = ([1.0f64, 4.0], [0.3f64, -0.2]);
    for start in [None, Some(0.0), Some(0.7), Some(-0.9)] {
        let mut c = config(Method::Sgnht, h, alpha, beta, sigma, t);
        (c.xi, c.thermostat_mass) = (start, q);
        let mut sampler = Sampler::new(cpu(), &[1.0, 3.0], c).unwrap();
        sampler.set_mass(&mass.map(|m| m as f32)).unwrap();
        let double = |x: &[f32]| [x[0] as f64, x[1] as f64];
        let (mut x, mut m) = (double(sampler.params()), double(sampler.momenta().unwrap()));
        let heavy = mass.map(|m| m * sigma * sigma);
        let kinetic = |m: &[f64; 2]| 0.5 * (m[0].powi(2) / heavy[0] + m[1].powi(2) / heavy[1]);
        let mut xi = start.unwrap_or(alpha);
        for step in 0..3 {
            let z = [0.8 - step as f64, 0.5 * step as f64];
            let given = z.map(|z| z as f32).to_vec();
            let grad = grads.map(|g| g as f32).to_vec();
            let r = sampler.step_with_noise(&grad, 0.0, &given).unwrap();
            for i in 0..2 {
                m[i] += h * grads[i];
                x[i] += 0.5 * h * m[i] / heavy[i];
            }
            xi += 0.5 * h / q * (kinetic(&m) - t);
            let gamma = xi / (sigma * sigma);
            // The variance of the noise over the step, by its integral, which has no other form at gamma = 0.
            let n = 1000;
            let at = |k: usize| (-2.0 * gamma * h * (k as f64 + 0.5) / n as f64).exp();
            let integral = (0..n).map(at).sum::<f64>() * h / n as f64;
            let variance = t * (2.0 * alpha - h * t * beta) * integral;
            for i in 0..2 {
                m[i] = (-gamma * h).exp() * m[i] + (variance * mass[i]).sqrt() * z[i];
            }
            xi += 0.5 * h / q * (kinetic(&m) - t);
            for i in 0..2 {
                x[i] += 0.5 * h * m[i] / heavy[i];
            }
            assert!((r.xi.unwrap() - xi).abs() < 3e-6, "{start:?} {r:?} {xi}");
            assert!((r.kinetic_temperature.unwrap() - kinetic(&m)).abs() < 1e-6);
            for i in 0..2 {
                assert!((sampler.params()[i] as f64 - x[i]).abs() < 2e-6);
                assert!((sampler.momenta().unwrap()[i] as f64 - m[i]).abs() < 2e-6);
            }
        }
        assert!((xi - start.unwrap_or(alpha)).abs() > 0.1, "it moved");
    }
}

// ---------------------------------------------------------------- schedules

#[test]
fn schedules_by_hand() {
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    let f = 0.2;
    let linear = Schedule::Linear { final_fraction: f };
    for (i, want) in [(0, 1.0), (5, 0.6), (10, 0.2)] {
        close(linear.factor(i, 11), want);
    }
    let polynomial = Schedule::Polynomial {
        delay: 3.0,
        power: 0.5,
    };
    close(polynomial.factor(0, 11), 1.0);
    close(polynomial.factor(9, 11), 0.5);
    // 23 steps in 3 cycles of 7, 7 and 9; 40 % of each explores: 3, 3 and 4 steps.
    let cyclical = Schedule::Cyclical {
        cycles: 3,
        exploration: 0.4,
        final_fraction: f,
    };
    for (begin, length, explored) in [(0, 7, 3), (7, 7, 3), (14, 9, 4)] {
        close(cyclical.factor(begin, 23), 1.0);
        close(cyclical.factor(begin + length - 1, 23), f);
        close(cyclical.factor(begin + (length - 1) / 2, 23), 0.6);
        for i in 0..length {
            assert_eq!(
                cyclical.explores(begin + i, 23),
                i < explored,
                "{begin} {i}"
            );
        }
    }
    assert!(!linear.explores(0, 11));
}

#[test]
fn a_cycle_explores_without_noise_and_samples() {
    let mut c = settings(Method::Sghmc);
    (c.warmup_steps, c.sampling_steps, c.thinning) = (10, 60, 4);
    c.schedule = Schedule::Cyclical {
        cycles: 3,
        exploration: 0.5,
        final_fraction: 0.1,
    };
    c.temperature_schedule = Schedule::Linear {
        final_fraction: 0.5,
    };
    let run_with = |seed| {
        let mut c = c.clone();
        c.seed = seed;
        c.momenta = Momenta::Constant(0.0);
        // Past the warm-up, from rest, so that noise would be seen.
        let state = SamplerState {
            step: 10,
            ..Sampler::new(cpu(), &[1.0, -2.0], c.clone())
                .unwrap()
                .state()
                .unwrap()
        };
        let mut sampler = Sampler::restore(cpu(), c, &state).unwrap();
        let path: Vec<(StepReport, Vec<f32>)> = (0..60)
            .map(|_| (run(&mut sampler, 1)[0], sampler.params().clone()))
            .collect();
        path
    };
    let (a, b) = (run_with(1), run_with(2));
    let mut due = 0;
    for (i, ((r, x), (_, y))) in a.iter().zip(&b).enumerate() {
        let explores = i % 20 < 10;
        assert_eq!(
            r.phase,
            if explores {
                Phase::Exploration
            } else {
                Phase::Sampling
            }
        );
        assert_eq!(r.temperature == 0.0, explores);
        // Until the first noise, chains of other seeds are one.
        assert_eq!(x == y, i < 10, "{i}");
        assert!(!(explores && r.sample_due));
        due += r.sample_due as u64;
    }
    // Multiples of 4 among sampling steps 11 to 20 of each cycle: 12, 16, 20; 32, 36, 40; 52, 56, 60.
    assert_eq!((due, c.num_samples()), (9, 9));
    let last = a[59].0;
    assert!((last.temperature / c.temperature - 0.5).abs() < 1e-12);
    assert!((last.step_size / c.step_size - 0.1).abs() < 1e-12);
    // What does not go together.
    let refused = |what: &str, change: &dyn Fn(&mut ChainConfig)| {
        let mut c = c.clone();
        change(&mut c);
        let e = c.validate().unwrap_err().to_string();
        assert!(e.starts_with(what), "{e}");
    };
    refused("temperature_schedule", &|c| {
        c.temperature_schedule = c.schedule
    });
    refused("exploration", &|c| c.method = Method::Sgnht);
    let cyclical = |cycles, exploration| Schedule::Cyclical {
        cycles,
        exploration,
        final_fraction: 0.1,
    };
    refused("cycles", &|c| c.schedule = cyclical(0, 0.5));
    refused("cycles", &|c| c.schedule = cyclical(61, 0.5));
    refused("exploration", &|c| c.schedule = cyclical(3, 1.0));
    refused("schedule_delay", &|c| {
        c.schedule = Schedule::Polynomial {
            delay: 0.0,
            power: 0.5,
        };
    });
    refused("schedule_power", &|c| {
        c.schedule = Schedule::Polynomial {
            delay: 1.0,
            power: 1.5,
        };
    });
}

#[test]
fn factors_of_the_caller_are_a_schedule() {
    // A schedule by the caller's factors is the same chain as the built-in one.
    for method in Method::ALL {
        let mut scheduled = Sampler::new(cpu(), &normals(70, 1), settings(method)).unwrap();
        let mut c = settings(method);
        c.schedule = Schedule::Constant;
        let mut by_hand = Sampler::new(cpu(), &normals(70, 1), c).unwrap();
        let schedule = scheduled.config().clone();
        while scheduled.phase() != Phase::Done {
            let step = scheduled.step();
            by_hand.set_factors(Some(Factors {
                step_size: schedule.step_size_at(step) / schedule.step_size,
                temperature: 1.0,
            }));
            run(&mut scheduled, 1);
            let r = run(&mut by_hand, 1)[0];
            assert!((r.step_size - schedule.step_size_at(step)).abs() < 1e-15);
        }
        let far = |a: &[f32], b: &[f32]| {
            a.iter()
                .zip(b)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max)
        };
        assert!(far(scheduled.params(), by_hand.params()) < 1e-4, "{method}");
        // A factor that makes no step is refused, and the state stays.
        let mut c = settings(method);
        c.schedule = Schedule::Constant;
        let mut sampler = Sampler::new(cpu(), &normals(70, 1), c).unwrap();
        let before = sampler.state().unwrap();
        for (step_size, temperature) in [(0.0, 1.0), (-1.0, 1.0), (f64::NAN, 1.0), (1.0, -0.5)] {
            sampler.set_factors(Some(Factors {
                step_size,
                temperature,
            }));
            assert!(sampler.step_with_gradient(&vec![0.0; 70], 0.0).is_err());
        }
        assert_eq!(sampler.state().unwrap(), before);
        sampler.set_factors(None);
        sampler.step_with_gradient(&vec![0.0; 70], 0.0).unwrap();
    }
}

#[test]
fn times_and_schedules() {
    let mut c = settings(Method::Baoa);
    c.schedule = Schedule::Constant;
    assert!((stability::physical_time(&c, 100) - 10.0).abs() < 1e-12);
    assert!((stability::friction_times(&c, 100).unwrap() - 10.0 * 0.9 / 1.44).abs() < 1e-12);
    assert_eq!(
        stability::friction_times(&settings(Method::Sgld), 100),
        None
    );
    // Half a cosine from the whole step to 0.3 of it: its mean over the sampling steps is 0.65.
    c.schedule = Schedule::Cosine {
        final_fraction: 0.3,
    };
    assert!((stability::physical_time(&c, 100) - (3.0 + 7.0 * 0.65)).abs() < 1e-12);
    assert!((stability::physical_time(&c, 20) - 2.0).abs() < 1e-12);
    let at = |step| c.step_size_at(step) / c.step_size;
    assert_eq!((at(0), at(29), at(30)), (1.0, 1.0, 1.0));
    assert!(
        (at(99) - 0.3).abs() < 1e-12 && at(64) > at(65) && (at(64) + at(65) - 1.3).abs() < 1e-12
    );
    let one = Schedule::Cosine {
        final_fraction: 0.3,
    };
    assert_eq!(one.factor(0, 1), 1.0);
    // The chain uses it: without noise, from rest, a step of BAOA moves by h^2 (1 + c) / 2 times the gradient over
    // the mass.
    (c.temperature, c.warmup_steps) = (0.0, 0);
    let state = SamplerState {
        step: 69,
        theta: vec![0.0],
        momenta: Some(vec![0.0]),
        mass: None,
        live: None,
        gradient_noise: None,
        center: vec![0.0],
        thermostats: Vec::new(),
    };
    let mut sampler = Sampler::restore(cpu(), c, &state).unwrap();
    let r = sampler.step_with_gradient(&vec![1.0], 0.0).unwrap();
    assert!((r.step_size - 0.03).abs() < 1e-12 && r.temperature == 0.0);
    let (h, gamma) = (0.03f64, 0.9 / 1.44);
    let want = h * h * (1.0 + (-gamma * h).exp()) / 2.0 / 1.44;
    assert!((sampler.params()[0] as f64 / want - 1.0).abs() < 1e-6);
}
