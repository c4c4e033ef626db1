//! The automatic step: what its search ends at, against the exact errors of the methods' steps, and what it refuses.
//!
//! "Broken" in a test's comment is a change of the code that was tried, and the figure that the test then failed with.

mod common;

use bnn::backend::Cpu;
use bnn::inference::{Inference, Session};
use bnn::rng::{Stream, StreamTag};
use bnn::samplers::{
    AutoStep, AutoStepState, ChainConfig, Method, Phase, Preconditioner, Sampler, stability,
};
use common::discretised::{Target, kinetic, stationary};

/// Two curvatures, half the coordinates each, and a gradient with noise of variance `noise`.
const CURVATURES: [f64; 2] = [1.0, 4.0];

/// The error that the file defines, in the exact equilibrium of the method's step: the mean over the two curvatures.
fn exact_error(c: &ChainConfig, noise: f64) -> f64 {
    let (mut k, mut force) = (0.0, 0.0);
    for lambda in CURVATURES {
        let on = Target {
            precision: vec![vec![lambda]],
            mass: vec![1.0],
            gradient_noise: vec![vec![noise]],
        };
        let s = stationary(c, &on);
        force += 0.5 * (lambda * lambda * s[0][0] + noise) / (c.sigma * c.sigma);
        if c.method.has_momenta() {
            k += 0.5 * kinetic(c, &on, &s);
        }
    }
    let (h, t) = (c.step_size, c.temperature);
    // the stationary variance of m' = (1 - a) m + (2 a T)^1/2 z, a = gamma h
    let a = h * c.alpha / (c.sigma * c.sigma);
    let free = match c.method {
        Method::Sghmc => 2.0 * a * t / (1.0 - (1.0 - a).powi(2)),
        _ => t,
    };
    if c.method.has_momenta() {
        (k / free - 1.0).abs().max(h * h * force / (4.0 * t))
    } else {
        h * force / (2.0 * t)
    }
}

/// Returns the settings at another step size, with the momentum 0.9 where there is one.
fn at_step(c: &ChainConfig, h: f64) -> ChainConfig {
    let mut c = c.clone();
    c.step_size = h;
    if c.method.has_momenta() {
        c.alpha = stability::alpha_for_momentum(&c, 0.9).unwrap();
    }
    c
}

fn adapted(c: &ChainConfig, noise: f64, tolerance: f64, broken_at: Option<u64>) -> Sampler<Cpu> {
    let (cpu, n) = (Cpu::new(1).unwrap(), 20_000);
    let mut sampler = Sampler::new(cpu.clone(), &vec![0.0; n], c.clone()).unwrap();
    let mut auto = AutoStep::new(c, tolerance, true).unwrap();
    let stream = Stream::new(4, StreamTag::Evaluate, 0);
    let mut z = vec![0.0; n];
    while sampler.phase() == Phase::Warmup {
        if broken_at == Some(sampler.step()) {
            let (state, search) = (sampler.state().unwrap(), auto.state());
            let mut c = c.clone();
            (c.step_size, c.alpha) = (search.step_size, search.alpha);
            sampler = Sampler::restore(cpu.clone(), c.clone(), &state).unwrap();
            auto = AutoStep::new(&c, tolerance, true).unwrap();
            auto.go_on(search).unwrap();
        }
        stream.fill_normal(sampler.step(), &mut z);
        let theta = sampler.params();
        let grad: Vec<f32> = (0..n)
            .map(|i| -CURVATURES[i % 2] as f32 * theta[i] + noise.sqrt() as f32 * z[i])
            .collect();
        auto.step(&mut sampler, &grad, 0.0).unwrap();
    }
    let found = sampler.config();
    let search = auto.state();
    assert_eq!(
        (found.step_size, found.alpha),
        (search.step_size, search.alpha)
    );
    // frozen: sampling goes on at that step
    let grad = vec![0.0; n];
    let report = auto.step(&mut sampler, &grad, 0.0).unwrap();
    assert_eq!(report.step_size, search.step_size);
    assert!(sampler.set_step(0.1, 1.0).is_err());
    sampler
}

/// From ten times too small and three times too large the step comes out within a tenth of the one whose exact error is the budget, whether the
/// step's own error or the gradient's noise decides; and the momentum is as it was. Broken, the step as a share of the right one: the force's part of
/// the error doubled, 0.708 (halved, 1.412); the kinetic part, 0.677 (1.399); SGLD's error, 0.518 (1.858); the part of SGHMC's friction step, 0.122
/// (0.724); the budget, 1.412; alpha divided by twice what it must be, a momentum of 0.99959 for 0.9.
#[test]
fn the_automatic_step_spends_the_budget() {
    for (method, noise) in [
        (Method::Baoa, 0.0),
        (Method::Baoa, 1.5),
        (Method::Sghmc, 0.0),
        (Method::Sghmc, 1.5),
        (Method::Sgld, 0.0),
        (Method::Sgld, 1.5),
    ] {
        let mut c = ChainConfig::new(method, 0.1);
        c.temperature = 0.6;
        (c.warmup_steps, c.sampling_steps, c.thinning) = (500, 10, 1);
        if method.has_momenta() {
            c.sigma = 1.2;
        }
        let tolerance = 0.06;
        let error = |h: f64| exact_error(&at_step(&c, h), noise);
        let (mut low, mut high) = (1e-4, 0.4);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if error(middle) < tolerance {
                low = middle
            } else {
                high = middle
            }
        }
        assert!((error(low) / tolerance - 1.0).abs() < 1e-6, "{method}");
        for start in [0.1 * low, 3.0 * low] {
            let sampler = adapted(&at_step(&c, start), noise, tolerance, None);
            let h = sampler.config().step_size;
            let off = h / low;
            assert!(
                (off - 1.0).abs() < 0.1,
                "{method}, noise {noise}: {off} of {low}"
            );
            if method.has_momenta() {
                let pair = stability::optimizer_pair(sampler.config(), 1.0);
                assert!((pair.momentum - 0.9).abs() < 1e-9, "{pair:?}");
            }
        }
    }
}

/// Broken off in a window, at its end, and after the search, the chain goes on bit for bit.
#[test]
fn the_search_for_a_step_goes_on_bit_for_bit() {
    let mut c = ChainConfig::new(Method::Baoa, 0.05);
    (c.warmup_steps, c.sampling_steps, c.thinning) = (100, 10, 1);
    let c = at_step(&c, 0.05);
    let whole = adapted(&c, 0.5, 0.05, None);
    assert_ne!(whole.config().step_size, 0.05);
    for broken_at in [17, 40, 90] {
        let again = adapted(&c, 0.5, 0.05, Some(broken_at));
        assert_eq!(again.config(), whole.config());
        assert_eq!(common::bits(again.params()), common::bits(whole.params()));
    }
    // Friction that is to stay stays.
    let mut auto = AutoStep::new(&c, 0.05, false).unwrap();
    let mut sampler = Sampler::new(Cpu::new(1).unwrap(), &[0.0; 50], c.clone()).unwrap();
    for _ in 0..100 {
        let grad = sampler.params().iter().map(|x| -x).collect();
        auto.step(&mut sampler, &grad, 0.0).unwrap();
    }
    assert!(sampler.config().alpha == c.alpha && sampler.config().step_size != c.step_size);
}

/// One coordinate in two hundred is stiff, which the means of a search do not see.
fn stiff(i: usize) -> f32 {
    if i.is_multiple_of(200) { 400.0 } else { 1.0 }
}

fn stiff_settings(step_size: f64) -> ChainConfig {
    let mut c = ChainConfig::new(Method::Baoa, step_size);
    (c.temperature, c.sigma) = (0.6, 1.2);
    (c.warmup_steps, c.sampling_steps, c.thinning) = (200, 10, 1);
    c.alpha = stability::alpha_for_momentum(&c, 0.9).unwrap();
    c
}

/// The longest step of a search on the stiff target, and the settings that it ends with; none where the chain diverged.
fn searched(c: &ChainConfig, mut auto: AutoStep) -> Option<(f64, ChainConfig)> {
    let start = vec![0.0; 4000];
    let mut sampler = Sampler::new(Cpu::new(1).unwrap(), &start, c.clone()).unwrap();
    let mut longest = 0.0f64;
    while sampler.phase() == Phase::Warmup {
        let theta = sampler.params().iter().enumerate();
        let grad = theta.map(|(i, t)| -stiff(i) * t).collect();
        let report = auto.step(&mut sampler, &grad, 0.0).ok()?;
        longest = longest.max(report.step_size);
    }
    Some((longest, sampler.config().clone()))
}

/// Without a ceiling the search goes past what the stiff coordinates bear; with their curvature it stays at 0.95 times that, from below
/// and from above, and with a limit to its growth at that.
#[test]
fn a_search_stays_below_its_ceilings() {
    let limit = |c: &ChainConfig| stability::stability_limit(c, 400.0);
    let c = stiff_settings(0.02);
    let auto = || AutoStep::new(&c, 0.1, true).unwrap();
    let free = searched(&c, auto());
    // From 0.02 it doubles three times, to 4/3 of the limit, before the stiff coordinates show in the means.
    assert!(free.is_none_or(|(longest, _)| longest > 1.3 * limit(&c)));

    let mut known = auto();
    known.limit_curvature(400.0);
    let (longest, found) = searched(&c, known).expect("stable");
    let want = 0.95 * limit(&c);
    assert!((found.step_size / want - 1.0).abs() < 1e-9 && longest <= want * (1.0 + 1e-9));
    assert!((want - 0.95 * 2.0 * 1.2 / 20.0).abs() < 1e-9);
    let pair = stability::optimizer_pair(&found, 1.0);
    assert!((pair.momentum - 0.9).abs() < 1e-9, "{pair:?}");

    let grown = auto().at_most(1.7).unwrap();
    assert_eq!((grown.growth(), auto().growth()), (Some(1.7), None));
    let (longest, found) = searched(&c, grown).expect("stable");
    assert!((found.step_size / 0.034 - 1.0).abs() < 1e-9 && longest == found.step_size);
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(auto().at_most(bad).is_err());
    }

    // A step that was given too long comes down before it is made.
    let c = stiff_settings(0.2);
    let mut known = AutoStep::new(&c, 0.1, true).unwrap().at_most(1.0).unwrap();
    known.limit_curvature(400.0);
    let (longest, found) = searched(&c, known).expect("stable");
    assert!(longest <= want * (1.0 + 1e-9) && found.step_size <= longest);
    // A direction that bends the other way limits nothing.
    let mut known = AutoStep::new(&c, 0.1, true).unwrap();
    known.limit_curvature(-3.0);
    assert_eq!(known.ceiling(&c), f64::INFINITY);
}

/// The heat of the gradient's noise that no friction takes out is an error of the step, whatever the momenta show.
#[test]
fn heat_that_is_left_is_in_the_budget() {
    let c = stiff_settings(0.05);
    let n = 500;
    let mut sampler = Sampler::new(Cpu::new(1).unwrap(), &vec![0.0; n], c.clone()).unwrap();
    let clamped = 4.0 * 4.0 * c.temperature * c.sigma.powi(2) / c.step_size.powi(2);
    sampler
        .set_gradient_noise(&vec![clamped as f32; n])
        .unwrap();
    let left = sampler.noise_heat().unwrap().unwrap().residual;
    assert!((left - 3.0).abs() < 1e-5);
    let mut auto = AutoStep::new(&c, 0.1, true).unwrap();
    for _ in 0..20 {
        auto.step(&mut sampler, &vec![0.0; n], 0.0).unwrap();
    }
    assert_eq!(auto.state().error, left);
    assert!((sampler.config().step_size / 0.05 - 0.25).abs() < 1e-12);
}

/// A session gives its search what it finds of the curvature, and its file does.
#[test]
fn a_session_limits_its_search_by_the_curvature() {
    let c = stiff_settings(0.2);
    let inference = || Inference::Chain {
        sampler: c.clone(),
        preconditioner: Preconditioner::None,
        auto_step: Some(AutoStep::new(&c, 0.1, true).unwrap()),
    };
    let (cpu, n) = (Cpu::new(1).unwrap(), 400);
    let mut s = Session::with_gradients(&cpu, inference(), 1.0, &vec![0.0; n]).unwrap();
    let found = s.find_curvature_with(30, |at, out| {
        (0..n).for_each(|i| out[i] = -stiff(i) * at[i]);
        Ok(())
    });
    let largest = found.unwrap().largest;
    assert!((largest / 400.0 - 1.0).abs() < 1e-3, "{largest}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain.bnn");
    s.save(&path).unwrap();
    let resumed = Session::resume_with_gradients(&cpu, inference(), 1.0, n, &path).unwrap();
    let want = 0.95 * stability::stability_limit(&c, largest);
    for mut s in [s, resumed] {
        s.step_with_gradient(&vec![0.0; n], 0.0).unwrap();
        let h = s.sampler().unwrap().config().step_size;
        assert!((h / want - 1.0).abs() < 1e-9, "{h} {want}");
    }
}

/// 120 steps of warm-up in windows of 12, of which the later 6 are looked at.
#[test]
fn numbers_that_no_search_has_are_refused() {
    let mut c = ChainConfig::new(Method::Baoa, 0.05);
    c.warmup_steps = 120;
    let mut auto = AutoStep::new(&c, 0.05, true).unwrap();
    let good = [0.1, 2.0, f64::MAX, 3.0, 4.0, 6.0];
    let go_on = |auto: &mut AutoStep, numbers| {
        AutoStepState::from_numbers(numbers).and_then(|s| auto.go_on(s))
    };
    go_on(&mut auto, good).unwrap();
    assert_eq!(auto.state().numbers(), good);
    for (at, value, part) in [
        (0, 0.0, "step_size"),
        (0, f64::INFINITY, "step_size"),
        (1, -1.0, "alpha"),
        (2, -0.1, "error"),
        (2, f64::NAN, "error"),
        (3, -1e-9, "kinetic"),
        (4, -1.0, "force"),
        (4, f64::INFINITY, "force"),
        (5, 7.0, "at most 6"),
        (5, -1.0, "whole number"),
        (5, 2.5, "whole number"),
        (5, 1e300, "whole number"),
        (5, f64::NAN, "whole number"),
    ] {
        let mut numbers = good;
        numbers[at] = value;
        let text = go_on(&mut auto, numbers).unwrap_err().to_string();
        assert!(text.contains(part), "{text}, not {part}");
        assert_eq!(auto.state().numbers(), good);
    }
}

#[test]
fn a_search_needs_a_budget_a_temperature_and_a_warm_up() {
    let c = ChainConfig::new(Method::Baoa, 0.1);
    assert!(AutoStep::new(&c, 0.1, true).is_ok());
    for tolerance in [0.0, 1.0, f64::NAN] {
        assert!(AutoStep::new(&c, tolerance, true).is_err());
    }
    let (mut cold, mut short, mut walk) = (c.clone(), c.clone(), c.clone());
    cold.temperature = 0.0;
    short.warmup_steps = 49;
    walk.method = Method::Sglrw;
    for c in [cold, short, walk] {
        assert!(AutoStep::new(&c, 0.1, true).is_err(), "{c:?}");
    }
}
