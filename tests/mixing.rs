//! How far a chain can get and how far it got: closed forms of movement, forecast, temperatures and energies.

use bnn::Error;
use bnn::inference::temperature_band::{
    equilibrium_sd, expected_kinetic, is_off, temperatures_at_t,
};
use bnn::inference::{
    ChainSummary, Movement, PriorStability, Reach, Report, TemperatureBand, TraceView,
    TrajectoryForecast,
};
use bnn::metrics::Energy;
use bnn::posterior::Prior;
use bnn::samplers::{ChainConfig, FreeDiffusion, Method, Preconditioner, Schedule};
use bnn::store::{Dtype, Provenance, Store};

fn near(got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-6 * want.abs(), "{got}, not {want}");
}

/// From a start of length 5, the first sample 0.3 along one axis, the last 0.4 along the other.
#[test]
fn a_chain_that_turned_is_compared_with_free_diffusion() {
    let m = Movement::new(9, &[3.0, 4.0], &[3.3, 4.0], &[3.0, 4.4]).unwrap();
    let rms = 0.4 / 2f64.sqrt();
    near(m.rms_move, rms);
    near(m.relative_move, 0.4 / 5.0);
    assert!(m.cosine_first_last.unwrap().abs() < 1e-6);
    assert!(!m.worth_about_one && m.reach == Reach::Unjudged);
    // 0.85, 1.05 and 1.2 times free diffusion, whose own spread is 1 %; a spread of 5 % makes 0.85 nothing special, and one of 30 % everything.
    let beside = |over: f64, relative_sd: f64| {
        let free = FreeDiffusion {
            rms: rms / over,
            cosine: Some(0.25),
            relative_sd,
        };
        m.clone().beside(Some(free), Some(2.0 * rms))
    };
    let held = beside(0.85, 0.01);
    assert_eq!(held.reach, Reach::Held);
    near(held.over_free.unwrap(), 0.85);
    assert_eq!(beside(1.05, 0.01).reach, Reach::Free);
    assert_eq!(beside(1.2, 0.01).reach, Reach::Driven);
    assert_eq!(beside(0.85, 0.05).reach, Reach::Free);
    assert_eq!(beside(0.85, 0.3).reach, Reach::Unjudged);
    for (movement, said) in [
        (beside(1.05, 0.01), "no force holds the chain yet"),
        (held, "a force holds the chain"),
        (beside(1.2, 0.01), "drives the chain"),
    ] {
        let text = &movement.verdict;
        assert!(text.starts_with(said) || text.contains(said), "{text}");
        assert!(text.contains("0.250 if free"), "{text}");
        assert!(text.contains("2.000 times that"), "{text}");
        assert!(!movement.worth_about_one);
    }
    // At T = 0 the prior has no width to be compared with, and there is no free diffusion.
    let still = FreeDiffusion {
        rms: 0.0,
        cosine: None,
        relative_sd: 0.01,
    };
    let cold = m.clone().beside(Some(still), Some(0.0));
    assert!(
        cold.over_free.is_none() && !cold.verdict.contains("prior"),
        "{}",
        cold.verdict
    );
    let r = Report::from(&beside(1.2, 0.01));
    assert_eq!(r.u64("samples").unwrap(), 9);
    assert_eq!(r.u64("worth_about_one").unwrap(), 0);
    assert_eq!(r.f64("rms_move").unwrap(), m.rms_move);
    assert_eq!(r.str("reach").unwrap(), "driven");
    near(r.f64("over_free").unwrap(), 1.2);
    near(r.f64("free.rms").unwrap(), rms / 1.2);
    assert_eq!(r.f64("free.cosine").unwrap(), 0.25);
    near(r.f64("prior_sd").unwrap(), 2.0 * rms);
    assert!(Report::from(&m).f64("over_free").unwrap().is_nan());
}

#[test]
fn samples_on_one_ray_are_worth_about_one_and_small_moves_are_not_called_none() {
    // A cosine of 0.9899 is just no ray, one of 0.9901 is.
    let at = |cosine: f32| {
        let last = [1.0 + cosine, (1.0 - cosine * cosine).sqrt()];
        Movement::new(5, &[1.0, 0.0], &[2.0, 0.0], &last).unwrap()
    };
    assert!(!at(0.9899).worth_about_one);
    let ray = at(0.9901);
    assert!(
        ray.worth_about_one && ray.verdict.contains("worth about 1"),
        "{}",
        ray.verdict
    );
    let free = |cosine| FreeDiffusion {
        rms: 1.0,
        cosine: Some(cosine),
        relative_sd: 0.01,
    };
    for (cosine, why) in [
        (0.999, "momentum is not forgotten"),
        (0.3, "a force carries"),
    ] {
        let text = at(0.9901).beside(Some(free(cosine)), None).verdict;
        assert!(text.contains(why), "{text}");
    }
    // However small a displacement is beside the weights, a turn is a turn.
    let m = Movement::new(5, &[1.0, 0.0], &[1.0 + 1e-5, 0.0], &[1.0, 1e-5]).unwrap();
    assert!(
        !m.worth_about_one && !m.verdict.contains("not moved"),
        "{}",
        m.verdict
    );
    assert!(!m.verdict.contains("same way"), "{}", m.verdict);
}

#[test]
fn few_samples_are_said_to_be_few() {
    let (start, moved) = ([1.0, 0.0], [1.0, 1.0]);
    let none = Movement::new(0, &start, &start, &start).unwrap();
    assert_eq!(
        (none.worth_about_one, &*none.verdict),
        (true, "no sample was kept")
    );
    let one = Movement::new(1, &start, &moved, &moved).unwrap();
    assert_eq!((one.worth_about_one, one.cosine_first_last), (true, None));
    assert!(one.verdict.starts_with("one sample"));
    assert!(
        Report::from(&one)
            .f64("cosine_first_last")
            .unwrap()
            .is_nan()
    );
    let still = Movement::new(7, &start, &start, &start).unwrap();
    assert!(still.worth_about_one && still.verdict.contains("these 7 samples are one"));
    let wrong = Movement::new(2, &start, &[1.0], &moved).unwrap_err();
    assert!(matches!(wrong, Error::Shape { .. }));
    assert!(Movement::new(2, &[], &[], &[]).is_err());
}

#[test]
fn a_stored_chain_is_compared_by_its_own_first_and_last_sample() {
    let folder = tempfile::tempdir().unwrap();
    let of = Provenance {
        config: String::new(),
        model: "{}".into(),
        seed: 1,
        corpus_sha256: [0; 32],
        baseline_sha256: [0; 32],
        vocabulary: String::new(),
        dtype: Dtype::F32,
        n_params: 2,
    };
    let mut store = Store::create(folder.path().join("samples"), of).unwrap();
    for (chain, step, params) in [
        (0, 1, [9.0, 9.0]),
        (1, 5, [3.3, 4.0]),
        (1, 6, [8.0, 8.0]),
        (1, 7, [3.0, 4.4]),
        (2, 1, [7.0, 7.0]),
    ] {
        store.append(chain, step, &params).unwrap();
    }
    let start = [3.0, 4.0];
    let m = Movement::of_stored(&store, 1, &start).unwrap();
    let want = Movement::new(3, &start, &[3.3, 4.0], &[3.0, 4.4]).unwrap();
    assert_eq!(m.steps, Some((5, 7)));
    assert_eq!(Movement { steps: None, ..m }, want);
    let none = Movement::of_stored(&store, 4, &start).unwrap();
    assert_eq!(none.samples, 0);
}

#[test]
fn a_forecast_counts_time_and_friction() {
    let mut c = ChainConfig::new(Method::Baoa, 0.02);
    (c.alpha, c.sigma, c.warmup_steps, c.sampling_steps) = (6.0, 2.0, 30, 70);
    let f = TrajectoryForecast::new(&c, 500.0);
    near(f.physical_time, 2.0);
    // gamma = alpha / sigma^2 = 1.5
    near(f.friction_times.unwrap(), 3.0);
    let momentum = (-0.03f64).exp();
    near(f.optimizer_momentum, momentum);
    near(
        f.optimizer_learning_rate,
        0.02f64.powi(2) * 500.0 / 4.0 * (1.0 + momentum) / 2.0,
    );
    assert!(!f.is_one_line());
    let r = Report::from(&f);
    assert_eq!(r.f64("friction_times").unwrap(), f.friction_times.unwrap());
    assert_eq!(r.u64("one_line").unwrap(), 0);

    c.sampling_steps = 1; // 31 steps: 0.93 friction times
    let short = TrajectoryForecast::new(&c, 500.0);
    assert!(short.is_one_line());
    let warns = |lines: &[String]| lines.iter().any(|l| l.contains("one straight line"));
    assert!(warns(&short.lines(&c, Preconditioner::None)));
    assert!(!warns(&f.lines(&c, Preconditioner::None)));
    let sgld = TrajectoryForecast::new(&ChainConfig::new(Method::Sgld, 0.02), 500.0);
    assert!(sgld.friction_times.is_none() && !sgld.is_one_line());
    assert!(Report::from(&sgld).f64("friction_times").unwrap().is_nan());
}

/// 4.5e-3 over 20 is warned of, a little more is not; and only where the unit is the default's.
#[test]
fn a_step_far_below_the_default_is_warned_of_with_the_number() {
    let warns = |step: f64, mass| {
        let c = ChainConfig::new(Method::Baoa, step);
        let lines = TrajectoryForecast::new(&c, 500.0).lines(&c, mass);
        lines.into_iter().find(|l| l.contains("of the default"))
    };
    let rms = Preconditioner::Rms {
        steps: 5,
        floor: 0.1,
    };
    let text = warns(2e-5, rms).expect("a warning");
    assert!(
        text.contains("2.000e-5 is 1/700 of the default 1.4e-2"),
        "{text}"
    );
    assert!(warns(6.9e-4, rms).is_some() && warns(7.1e-4, rms).is_none());
    assert!(warns(2e-5, Preconditioner::None).is_none());
}

#[test]
fn the_priors_limit_is_that_of_its_precision() {
    // Precision 1 / 0.25^2 = 16: BAOA is stable below 2 / sqrt(16), and over a mass of 4 below 2 / sqrt(4).
    let (c, prior) = (ChainConfig::new(Method::Baoa, 0.1), Prior::isotropic(0.25));
    let free = PriorStability::new(&c, &prior, None);
    near(free.limit, 0.5);
    near(free.stiffest, 16.0);
    near(
        PriorStability::new(&c, &prior, Some(&[4.0, 4.0])).limit,
        1.0,
    );
    assert!(
        free.line().contains("below 5.000e-1; the step is 1.000e-1"),
        "{}",
        free.line()
    );
}

#[test]
fn a_temperature_is_off_beyond_noise_and_rounding() {
    assert_eq!(equilibrium_sd(2.0, 8), 1.0);
    // 5 standard errors and 5 % of T = 0.9: 0.095 with 0.01, 0.105 with 0.012.
    assert!(is_off(1.0, 0.01, 0.9) && !is_off(1.0, 0.012, 0.9));
    assert!(is_off(0.8, 0.01, 0.9));
    // At T = 0 a chain optimises, and no temperature is off.
    assert!(!is_off(0.8, 0.01, 0.0));
    let series: Vec<f64> = (0..40).map(|i| f64::from(i / 2)).collect();
    let band = TemperatureBand::new(&series, 2.0, 8).unwrap();
    near(band.mean, 9.5);
    // Batch means 0 to 19: squared deviations of 665, over 20 * 19.
    near(band.std_error, (665.0f64 / 380.0).sqrt());
    assert_eq!(band.equilibrium_sd, 1.0);
    let at = |expected| TemperatureBand::new(&series, expected, 8).unwrap();
    assert!(band.is_off() && !at(9.0).is_off() && !at(0.0).is_off());
    assert!(TemperatureBand::new(&series[..19], 2.0, 8).is_none());
    let r = band.report();
    assert_eq!(r.f64("expected").unwrap(), 2.0);
    assert_eq!(
        (r.f64("mean").unwrap(), r.u64("off").unwrap()),
        (band.mean, 1)
    );
    assert_eq!(at(9.0).report().u64("off").unwrap(), 0);
    assert_eq!(TemperatureBand::checked(&series, 2.0, 8).unwrap(), band);
    assert!(TemperatureBand::checked(&series[..19], 2.0, 8).is_err());
    assert!(TemperatureBand::checked(&series, 2.0, 0).is_err());
    assert!(TemperatureBand::checked(&[f64::NAN; 40], 2.0, 8).is_err());
}

#[test]
fn temperatures_under_a_schedule_are_brought_to_t() {
    let mut c = ChainConfig::new(Method::Baoa, 0.1);
    (c.warmup_steps, c.sampling_steps, c.temperature) = (3, 5, 2.0);
    c.temperature_schedule = Schedule::Linear {
        final_fraction: 0.5,
    };
    // The target falls from 2 to 1; a chain that follows it exactly is at T throughout.
    let series: Vec<f64> = (3..8).map(|step| c.temperature_at(step)).collect();
    assert_eq!((series[0], series[4]), (2.0, 1.0));
    assert_eq!(temperatures_at_t(&c, &series), [2.0; 5]);

    c.temperature_schedule = Schedule::Constant;
    c.schedule = Schedule::Cyclical {
        cycles: 1,
        exploration: 0.4,
        final_fraction: 1.0,
    };
    // Of five steps the first two explore.
    assert_eq!(
        temperatures_at_t(&c, &[9.0, 9.0, 1.0, 2.0, 3.0]),
        [1.0, 2.0, 3.0]
    );
}

/// SGHMC's momenta have T / (1 - gamma h / 2). A temperature schedule does not change that, since each reading is over its step's own temperature; a
/// step that halves over the run does: the mean over gamma h = 0.5 .. 0.25. Exploring steps are left out.
#[test]
fn the_expected_temperature_follows_the_step_and_not_the_schedule_of_t() {
    let mut c = ChainConfig::new(Method::Sghmc, 0.1);
    (c.alpha, c.temperature) = (5.0, 2.0);
    (c.warmup_steps, c.sampling_steps, c.thinning) = (10, 60, 5);
    near(expected_kinetic(&c).unwrap(), 2.0 / 0.75);
    let half = Schedule::Linear {
        final_fraction: 0.5,
    };
    c.temperature_schedule = half;
    near(expected_kinetic(&c).unwrap(), 2.0 / 0.75);
    let series: Vec<f64> = (10..70).map(|step| c.temperature_at(step) / 0.75).collect();
    let at_t = temperatures_at_t(&c, &series);
    assert!(!TemperatureBand::new(&at_t, 2.0 / 0.75, 9).unwrap().is_off());
    assert!(TemperatureBand::new(&at_t, 2.0, 9).unwrap().is_off());
    c.schedule = half;
    let each = (10..70).map(|step| 2.0 / (1.0 - 2.5 * c.step_size_at(step)));
    near(expected_kinetic(&c).unwrap(), each.sum::<f64>() / 60.0);
    c.method = Method::Baoa;
    near(expected_kinetic(&c).unwrap(), 2.0);
    assert!(expected_kinetic(&ChainConfig::new(Method::Sgld, 0.1)).is_none());
}

#[test]
fn a_summary_takes_the_sampling_steps_and_keeps_its_keys() {
    let mut c = ChainConfig::new(Method::Baoa, 0.1);
    (c.warmup_steps, c.sampling_steps, c.temperature, c.chain) = (10, 60, 0.5, 3);
    let wave = |n: usize, by: f64| (0..n).map(|i| by + (i as f64).sin()).collect::<Vec<f64>>();
    let (log_lik, log_prior) = (wave(70, -2.0), wave(70, -40.0));
    let (kinetic, configurational) = (wave(60, 0.5), wave(60, 0.7));
    let trace = TraceView {
        log_lik: &log_lik,
        log_prior: &log_prior,
        kinetic: &kinetic,
        configurational: &configurational,
    };
    let movement = Movement::new(2, &[1.0, 0.0], &[2.0, 0.0], &[1.0, 1.0]).unwrap();
    let s = ChainSummary::new(&c, movement, 7.0, 2, trace);
    let log_post: Vec<f64> = (10..70).map(|i| 7.0 * log_lik[i] + log_prior[i]).collect();
    assert_eq!(
        s.energy,
        Energy::new(&log_post, Some(&kinetic), 2, 0.5).ok()
    );
    assert_eq!(
        s.kinetic_temperature,
        TemperatureBand::new(&kinetic, 0.5, 2)
    );
    let lines = s.lines(0.5);
    assert!(
        lines.iter().all(|l| l.starts_with("chain 3: ")),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 4);
    assert!(lines[1].contains("kinetic temperature"));

    let json = serde_json::to_value(&s).unwrap();
    let keys: Vec<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut want = vec![
        "chain",
        "samples",
        "rms_move",
        "relative_move",
        "cosine_first_last",
        "free",
        "over_free",
        "prior_sd",
        "reach",
        "kinetic_temperature",
        "configurational_temperature",
        "step",
        "llc",
        "curvature",
        "energy",
        "tensors",
        "worth_about_one",
        "verdict",
    ];
    let mut got = keys.clone();
    want.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, want);

    // No one temperature, no energy.
    c.temperature_schedule = Schedule::Linear {
        final_fraction: 0.5,
    };
    let movement = s.movement.clone();
    assert!(
        ChainSummary::new(&c, movement, 7.0, 2, trace)
            .energy
            .is_none()
    );
}
