//! A chain on a GPT's posterior: its mass, its reports, its way back from a saved state, and how it stops.

mod common;

use bnn::backend::Cpu;
use bnn::data::{Batch, Windows};
use bnn::gpt::{Gpt, Objective};
use bnn::posterior::{Posterior, Prior, PriorFamily, PriorUnits};
use bnn::samplers::{Chain, ChainConfig, ChainReport, ChainState, Method, Phase, Preconditioner};
use bnn::{Error, Result};
use common::ensure::every_isa;
use common::model::small;
use common::{bits, norm, wide};

const RMS: Preconditioner = Preconditioner::Rms {
    steps: 4,
    floor: 0.3,
};
const ADAPTIVE: Preconditioner = Preconditioner::Adaptive {
    steps: 4,
    floor: 0.3,
    decay: 0.8,
    every: 2,
};
const FISHER: Preconditioner = Preconditioner::Fisher {
    steps: 4,
    floor: 0.3,
};
const ALL: [Preconditioner; 5] = [
    Preconditioner::None,
    RMS,
    ADAPTIVE,
    FISHER,
    Preconditioner::Prior,
];
const NUM_DATA: f64 = 500.0;
const T: usize = 5;

fn config(method: Method) -> ChainConfig {
    let mut config = ChainConfig::new(method, 1e-4);
    config.temperature = 0.7;
    config.warmup_steps = 3;
    config.sampling_steps = 7;
    config.thinning = 3;
    config.seed = 5;
    config.chain = 2;
    config
}

fn prior(gpt: &Gpt) -> Prior {
    Prior {
        family: PriorFamily::Normal,
        std: 0.8,
        center: Some(gpt.layout().init(9)),
        units: PriorUnits::One,
    }
}

fn posterior(cpu: &Cpu, gpt: &Gpt) -> Posterior<Cpu> {
    let all = Objective::All;
    Posterior::new(cpu, gpt, &prior(gpt), NUM_DATA, all, 2, T).unwrap()
}

fn chain(cpu: &Cpu, config: ChainConfig, preconditioner: Preconditioner) -> Chain<Cpu> {
    let gpt = small(7);
    let theta = gpt.layout().init(9);
    Chain::new(cpu, posterior(cpu, &gpt), &theta, config, preconditioner).unwrap()
}

/// The batch of a step: a function of (seed, chain, step).
fn batch(config: &ChainConfig, step: u64) -> Batch {
    let text = common::tokens(100, 7, 1);
    let windows = Windows::all(text.len(), T).unwrap();
    let mut batch = Batch::new(2, T).unwrap();
    windows
        .fill(&text, config.seed, config.chain, step, &mut batch)
        .unwrap();
    batch
}

fn step(chain: &mut Chain<Cpu>) -> Result<ChainReport> {
    let batch = batch(chain.sampler().config(), chain.steps_made());
    chain.step(&batch)
}

// ---------------------------------------------------------------- the mass

/// M = rms + floor * mean(rms) of the gradients of the log posterior at the start, in f64 from its definition.
#[test]
fn the_mass_is_the_root_mean_square_with_its_floor() {
    let gpt = small(7);
    let theta = gpt.layout().init(9);
    for isa in every_isa() {
        let cpu = Cpu::with_isa(2, isa).unwrap();
        for floor in [0.3, 2.0] {
            let rms = Preconditioner::Rms { steps: 4, floor };
            let config = config(Method::Baoa);
            let mut chain = chain(&cpu, config.clone(), rms);
            let mut posterior = posterior(&cpu, &gpt);
            let mut squares = vec![0.0; theta.len()];
            for i in 0..4 {
                assert!(chain.sampler().mass().is_none());
                assert_eq!(bits(chain.params()), bits(&theta));
                posterior.evaluate(&theta, &batch(&config, i)).unwrap();
                for (s, g) in squares.iter_mut().zip(wide(posterior.grad())) {
                    *s += g * g;
                }
                step(&mut chain).unwrap();
            }
            let rms: Vec<f64> = squares.iter().map(|s| (s / 4.0).sqrt()).collect();
            let mean = rms.iter().sum::<f64>() / rms.len() as f64;
            let mass = chain.sampler().mass().expect("it was just set");
            for (got, want) in mass.iter().zip(&rms) {
                let want = want + floor * mean;
                // the sum of four squares and a root, each rounded to f32
                assert!((*got as f64 / want - 1.0).abs() < 5e-7, "{got}, not {want}");
            }
            assert!(rms.iter().any(|r| *r > 2.0 * mean) && rms.iter().any(|r| *r < 0.5 * mean));
            assert_eq!(bits(chain.params()), bits(&theta));
        }
    }
}

/// M = h + floor mean(h), h the squares of the sequences' gradients times how many sequences the data are; and the prior's curvature.
#[test]
fn the_mass_may_be_the_fisher_information_or_the_priors_curvature() {
    let (gpt, cpu) = (small(7), Cpu::new(2).unwrap());
    let theta = gpt.layout().init(9);
    let config = config(Method::Sghmc);
    let mut fisher = chain(&cpu, config.clone(), FISHER);
    let mut alone = posterior(&cpu, &gpt);
    let mut squares = vec![0.0; theta.len()];
    for i in 0..4 {
        assert_eq!(fisher.phase(), Phase::Warmup);
        let batch = batch(&config, i);
        alone
            .evaluate_with_squares(&theta, &batch, &mut squares)
            .unwrap();
        step(&mut fisher).unwrap();
    }
    // 4 batches of 2 sequences of T tokens, of NUM_DATA tokens
    let h: Vec<f64> = wide(&squares)
        .iter()
        .map(|s| s / 8.0 * NUM_DATA / T as f64)
        .collect();
    let mean = h.iter().sum::<f64>() / h.len() as f64;
    for (got, h) in fisher.sampler().mass().unwrap().iter().zip(&h) {
        let want = h + 0.3 * mean;
        assert!((*got as f64 / want - 1.0).abs() < 5e-7, "{got}, not {want}");
    }
    let by_prior = chain(&cpu, config, Preconditioner::Prior);
    let want = 1.0 / (0.8f64 * 0.8);
    let mass = by_prior.sampler().mass().unwrap();
    assert!(mass.iter().all(|m| (*m as f64 / want - 1.0).abs() < 1e-6));
    // A prior relative to weights, and one without a curvature.
    let weights = gpt.layout().init(3);
    let of = |family| {
        let prior = Prior {
            family,
            units: PriorUnits::RelativeTo(weights.clone()),
            ..Prior::isotropic(0.5)
        };
        let p = Posterior::new(&cpu, &gpt, &prior, NUM_DATA, Objective::All, 2, T).unwrap();
        p.prior_curvature()
    };
    let dof = 4.0;
    for (got, w) in of(PriorFamily::StudentT { dof })
        .unwrap()
        .iter()
        .zip(&weights)
    {
        let want = 1.25 / (0.5 * (w.abs() as f64 + 1e-4)).powi(2);
        assert!((*got as f64 / want - 1.0).abs() < 1e-6);
    }
    assert!(of(PriorFamily::Laplace).is_err());
}

/// The running average, by hand in f64: set at the start, at every second step of the warm-up and at its end, then never again.
#[test]
fn the_adaptive_mass_follows_the_warm_up_and_then_stays() {
    let (gpt, cpu) = (small(7), Cpu::new(1).unwrap());
    let mut config = config(Method::Baoa);
    config.step_size = 0.05; // far enough that the gradients change
    let mut chain = chain(&cpu, config.clone(), ADAPTIVE);
    let mut alone = posterior(&cpu, &gpt);
    let n = gpt.n_params();
    let (mut sum, mut weight) = (vec![0.0f64; n], 0.0);
    let mut masses = Vec::new();
    while chain.phase() != Phase::Done {
        let at = chain.steps_made();
        alone.evaluate(chain.params(), &batch(&config, at)).unwrap();
        let moving = at >= 4;
        if at < 4 + config.warmup_steps {
            let decay = if moving { 0.8 } else { 1.0 };
            weight = decay * weight + 1.0;
            for (s, g) in sum.iter_mut().zip(wide(alone.grad())) {
                *s = decay * *s + g * g;
            }
        }
        step(&mut chain).unwrap();
        // After the 4 gradients, and after steps 2 and 3 of the warm-up's 3.
        if [3, 5, 6].contains(&at) {
            let rms: Vec<f64> = sum.iter().map(|s| (s / weight).sqrt()).collect();
            let mean = rms.iter().sum::<f64>() / n as f64;
            for (got, rms) in chain.sampler().mass().unwrap().iter().zip(&rms) {
                let want = rms + 0.3 * mean;
                assert!(
                    (*got as f64 / want - 1.0).abs() < 2e-6,
                    "{at}: {got}, not {want}"
                );
            }
        }
        masses.push(chain.sampler().mass().map(|m| bits(m)));
    }
    assert_ne!(masses[3], masses[5]);
    assert_ne!(masses[5], masses[6]);
    assert!(masses[6..].iter().all(|m| *m == masses[6]));
}

/// Once the mass is known the momenta are drawn anew for it: N(0, T M), within 6 standard errors.
#[test]
fn the_momenta_fit_the_mass() {
    let cpu = Cpu::new(1).unwrap();
    let mut chain = chain(&cpu, config(Method::Sghmc), RMS);
    let before = chain.sampler().momenta().unwrap().clone();
    for _ in 0..4 {
        step(&mut chain).unwrap();
    }
    let momenta = chain.sampler().momenta().unwrap();
    assert_ne!(bits(momenta), bits(&before));
    let mass = chain.sampler().mass().unwrap();
    let scaled = momenta
        .iter()
        .zip(mass)
        .map(|(p, m)| *p as f64 / (*m as f64).sqrt());
    let d = mass.len() as f64;
    let temperature = norm(&scaled.collect::<Vec<_>>()).powi(2) / d;
    assert!(
        (temperature / 0.7 - 1.0).abs() < 6.0 * (2.0 / d).sqrt(),
        "{temperature}"
    );
}

#[test]
fn without_gradients_there_is_no_mass() {
    // One token in the vocabulary and the start at the prior's centre: every gradient is 0.
    let (gpt, cpu) = (small(1), Cpu::new(1).unwrap());
    let theta = gpt.layout().init(9);
    let mut chain = Chain::new(
        &cpu,
        posterior(&cpu, &gpt),
        &theta,
        config(Method::Baoa),
        RMS,
    )
    .unwrap();
    let batch = Batch::new(2, T).unwrap();
    for _ in 0..3 {
        chain.step(&batch).unwrap();
    }
    for _ in 0..2 {
        let text = chain.step(&batch).unwrap_err().to_string();
        assert!(
            text.contains("preconditioner") && text.contains("not all 0"),
            "{text}"
        );
    }
}

// ---------------------------------------------------------------- reports

#[test]
fn reports_count_steps_and_phases() {
    let cpu = Cpu::new(1).unwrap();
    for method in Method::ALL {
        for (preconditioner, first) in [(Preconditioner::None, 0), (RMS, 4)] {
            let config = config(method);
            let mut chain = chain(&cpu, config.clone(), preconditioner);
            let total = first + 3 + 7;
            assert_eq!(chain.total_steps(), total);
            let gpt = small(7);
            let mut posterior = posterior(&cpu, &gpt);
            let mut samples = 0;
            for i in 0..total {
                assert_eq!(chain.steps_made(), i);
                let phase = if i < first + 3 {
                    Phase::Warmup
                } else {
                    Phase::Sampling
                };
                assert_eq!(chain.phase(), phase);
                let before = chain.params().clone();
                let report = step(&mut chain).unwrap();
                assert_eq!((report.step, report.phase), (i, phase));
                // the log posterior of this batch, where the chain was before
                let at = posterior.evaluate(&before, &batch(&config, i)).unwrap();
                assert_eq!(report.at, at);
                let estimating = i < first;
                assert_eq!(bits(&before) == bits(chain.params()), estimating);
                assert_eq!(
                    report.kinetic_temperature.is_some(),
                    !estimating && method.has_momenta()
                );
                assert_eq!(report.configurational_temperature.is_some(), !estimating);
                // sampling steps 2 and 5, counted from 0, are the third and the sixth
                let sampling = i as i64 - first as i64 - 3;
                assert_eq!(
                    report.sample_due,
                    sampling == 2 || sampling == 5,
                    "step {i}"
                );
                samples += report.sample_due as u64;
            }
            assert_eq!(samples, config.num_samples());
            assert_eq!((chain.steps_made(), chain.phase()), (total, Phase::Done));
            let last = chain.params().clone();
            let text = step(&mut chain).unwrap_err().to_string();
            assert!(text.contains(&total.to_string()), "{text}");
            assert_eq!(bits(chain.params()), bits(&last));
        }
    }
}

/// Minus the mean of (theta - theta_0) grad, by hand.
#[test]
fn the_configurational_temperature_is_a_virial() {
    let (gpt, cpu) = (small(7), Cpu::new(1).unwrap());
    let config = config(Method::Sgld);
    let mut chain = chain(&cpu, config.clone(), RMS);
    let start = wide(chain.params());
    let mut posterior = posterior(&cpu, &gpt);
    while chain.phase() != Phase::Done {
        let before = chain.params().clone();
        posterior
            .evaluate(&before, &batch(&config, chain.steps_made()))
            .unwrap();
        let terms = wide(&before)
            .into_iter()
            .zip(&start)
            .zip(wide(posterior.grad()));
        let sum: f64 = terms.map(|((v, s), g)| (v - s) * g).sum();
        let Some(got) = step(&mut chain).unwrap().configurational_temperature else {
            continue;
        };
        let want = -sum / start.len() as f64;
        assert!((got - want).abs() <= 1e-6 * want.abs(), "{got}, not {want}");
    }
}

/// Neither the threads nor a second run change a bit; another seed or chain changes all.
#[test]
fn a_run_is_a_function_of_seed_and_chain() {
    let run = |cpu: &Cpu, config: ChainConfig| {
        let mut chain = chain(cpu, config, RMS);
        while chain.phase() != Phase::Done {
            step(&mut chain).unwrap();
        }
        bits(chain.params())
    };
    for isa in every_isa() {
        let cpu = |threads| Cpu::with_isa(threads, isa).unwrap();
        for method in Method::ALL {
            let first = run(&cpu(1), config(method));
            for threads in 1..=3 {
                assert!(
                    first == run(&cpu(threads), config(method)),
                    "{threads} threads"
                );
            }
            let changes: [fn(&mut ChainConfig); 3] =
                [|c| c.seed += 1, |c| c.chain += 1, |c| c.temperature = 0.8];
            for change in changes {
                let mut other = config(method);
                change(&mut other);
                assert_ne!(first, run(&cpu(1), other));
            }
        }
    }
}

#[test]
fn batches_are_functions_of_seed_chain_and_step() {
    let base = config(Method::Baoa);
    let first = batch(&base, 6);
    assert_eq!(first, batch(&base, 6));
    for (seed, chain, step) in [(6, 2, 6), (5, 3, 6), (5, 2, 7), (5, 2, 6 + (1 << 32))] {
        let other = ChainConfig {
            seed,
            chain,
            ..base.clone()
        };
        assert_ne!(first, batch(&other, step), "({seed}, {chain}, {step})");
    }
    assert!(
        first
            .x
            .iter()
            .skip(1)
            .zip(&first.y)
            .take(T - 1)
            .all(|(x, y)| x == y)
    );
}

// ---------------------------------------------------------------- the way back

/// Broken off after every number of steps: while the mass is estimated, in the warm-up, while sampling, at the end.
#[test]
fn a_restored_chain_goes_on_bit_for_bit() {
    let (gpt, cpu) = (small(7), Cpu::new(2).unwrap());
    for method in Method::ALL {
        for preconditioner in ALL {
            let config = config(method);
            let mut unbroken = chain(&cpu, config.clone(), preconditioner);
            let mut states = vec![unbroken.state().unwrap()];
            let mut reports = Vec::new();
            while unbroken.phase() != Phase::Done {
                reports.push(step(&mut unbroken).unwrap());
                states.push(unbroken.state().unwrap());
            }
            for (at, state) in states.iter().enumerate() {
                let until = match preconditioner {
                    Preconditioner::Adaptive { steps, .. } => steps + config.warmup_steps,
                    _ => preconditioner.steps(),
                };
                assert_eq!(state.squares.is_some(), (at as u64) < until);
                assert_eq!(state.preconditioned, preconditioner.steps().min(at as u64));
                let mut chain = Chain::restore(
                    &cpu,
                    posterior(&cpu, &gpt),
                    config.clone(),
                    preconditioner,
                    state,
                )
                .unwrap();
                assert_eq!(chain.steps_made(), at as u64);
                for report in &reports[at..] {
                    assert_eq!(step(&mut chain).unwrap(), *report);
                }
                assert_eq!(chain.state().unwrap(), *states.last().unwrap());
            }
        }
    }
}

#[test]
fn states_that_do_not_fit_are_refused() {
    let (gpt, cpu) = (small(7), Cpu::new(1).unwrap());
    let config = config(Method::Baoa);
    let mut chain = chain(&cpu, config.clone(), RMS);
    let mut at = vec![chain.state().unwrap()];
    while chain.phase() != Phase::Done {
        step(&mut chain).unwrap();
        at.push(chain.state().unwrap());
    }
    let restore = |state: &ChainState, preconditioner: Preconditioner| {
        let posterior = posterior(&cpu, &gpt);
        let result = Chain::restore(&cpu, posterior, config.clone(), preconditioner, state);
        result.map(|_| ()).map_err(|e| e.to_string())
    };
    type Change = fn(&mut ChainState);
    let cases: [(usize, Change, &str); 11] = [
        (2, |s| s.squares = None, "none after 2 of 4"),
        (6, |s| s.squares = Some(vec![1.0; 3]), "some after 4 of 4"),
        (2, |s| s.squares = Some(vec![1.0; 3]), "sums of squares"),
        (6, |s| s.preconditioned = 5, "at most 4"),
        (6, |s| s.preconditioned = 3, "step 2 after 3 of 4"),
        (6, |s| s.sampler.mass = None, "a mass just after"),
        (2, |s| s.sampler.mass = Some(vec![1.0; 3]), "no mass while"),
        (6, |s| s.sampler.momenta = None, "momenta"),
        (6, |s| s.sampler.step = 11, "10 steps"),
        (6, |s| s.sampler.theta[1] = f32::NAN, "params[1]"),
        (6, |s| _ = s.sampler.theta.pop(), "parameters"),
    ];
    for (i, change, part) in cases {
        let mut state = at[i].clone();
        restore(&state, RMS).unwrap();
        change(&mut state);
        let text = restore(&state, RMS).unwrap_err();
        assert!(text.contains(part), "{text}, not {part}");
    }
    assert!(restore(&at[6], Preconditioner::None).is_err());
    assert!(restore(&at[2], Preconditioner::None).is_err());
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let (gpt, cpu) = (small(7), Cpu::new(1).unwrap());
    let theta = gpt.layout().init(9);
    let new = |theta: &[f32], config: ChainConfig, preconditioner: Preconditioner| {
        let posterior = posterior(&cpu, &gpt);
        let result = Chain::new(&cpu, posterior, theta, config, preconditioner);
        result.map(|_| ()).map_err(|e| e.to_string())
    };
    let good = || config(Method::Baoa);
    let rms = |steps, floor| Preconditioner::Rms { steps, floor };
    new(&theta, good(), RMS).unwrap();
    for (preconditioner, part) in [
        (rms(0, 0.1), "preconditioner_steps"),
        (rms(1, 0.0), "preconditioner_floor"),
        (rms(1, -1.0), "preconditioner_floor"),
        (rms(1, f64::NAN), "preconditioner_floor"),
        (rms(1, f64::INFINITY), "preconditioner_floor"),
        (
            Preconditioner::Fisher {
                steps: 0,
                floor: 0.1,
            },
            "preconditioner_steps",
        ),
        (
            Preconditioner::Adaptive {
                steps: 1,
                floor: 0.1,
                decay: 1.0,
                every: 1,
            },
            "preconditioner_decay",
        ),
        (
            Preconditioner::Adaptive {
                steps: 1,
                floor: 0.1,
                decay: 0.5,
                every: 0,
            },
            "preconditioner_every",
        ),
    ] {
        let text = new(&theta, good(), preconditioner).unwrap_err();
        assert!(text.contains(part), "{text}");
    }
    let text = new(&theta[1..], good(), RMS).unwrap_err();
    assert!(text.contains("parameters"), "{text}");
    let mut broken = theta.clone();
    broken[8] = f32::INFINITY;
    assert!(new(&broken, good(), RMS).unwrap_err().contains("params[8]"));
    let mut config = good();
    config.temperature = -1.0;
    assert!(
        new(&theta, config, RMS)
            .unwrap_err()
            .contains("temperature")
    );
}

/// A batch that the posterior refuses leaves the chain where it was.
#[test]
fn a_batch_that_does_not_fit_changes_nothing() {
    let cpu = Cpu::new(1).unwrap();
    for (steps, preconditioner) in [1, 5].into_iter().flat_map(|s| ALL.map(|p| (s, p))) {
        let mut chain = chain(&cpu, config(Method::Baoa), preconditioner);
        for _ in 0..steps {
            step(&mut chain).unwrap();
        }
        let before = chain.state().unwrap();
        let mut unknown = batch(chain.sampler().config(), 0);
        unknown.x[3] = 7;
        let text = chain.step(&unknown).unwrap_err().to_string();
        assert!(text.contains("x[0, 3]"), "{text}");
        let large = Batch::new(3, T).unwrap();
        assert!(chain.step(&large).is_err());
        // A mass by sequences must know how many there were.
        if let (1, Preconditioner::Fisher { .. }) = (steps, preconditioner) {
            let text = chain.step(&Batch::new(1, T).unwrap()).unwrap_err();
            assert!(text.to_string().contains("sequences of a batch"), "{text}");
        }
        assert_eq!(chain.state().unwrap(), before);
        assert_eq!(step(&mut chain).unwrap().step, steps);
    }
}

// ---------------------------------------------------------------- how it stops

fn not_finite(result: Result<ChainReport>) -> (u64, String, f32) {
    match result.unwrap_err() {
        Error::NotFinite {
            step,
            tensor,
            value,
        } => (step, tensor, value),
        other => panic!("{other}"),
    }
}

/// A step far too large: the parameters or the loss leave the numbers, and the error says where and when.
#[test]
fn a_diverged_chain_names_the_step_and_the_tensor() {
    let cpu = Cpu::new(1).unwrap();
    // The lattice walk's steps are clamped.
    for method in Method::ALL.into_iter().filter(|&m| m != Method::Sglrw) {
        for (preconditioner, first) in [(Preconditioner::None, 0), (RMS, 4)] {
            let mut config = config(method);
            config.step_size = 1e30;
            if method.has_momenta() {
                config.alpha = 1e-31; // friction that such a step can still have
            }
            let mut chain = chain(&cpu, config, preconditioner);
            for i in 0..first {
                assert_eq!(step(&mut chain).unwrap().step, i);
            }
            let (at, tensor, value) = loop {
                let at = chain.steps_made();
                match step(&mut chain) {
                    Ok(_) => assert!(at < first + 3, "{method} goes on at step {at}"),
                    error => break not_finite(error),
                }
            };
            assert_eq!(at, chain.steps_made(), "the step was not made");
            assert!(at >= first && !value.is_finite());
            let (what, name) = tensor.split_once(" of ").unwrap_or((&tensor, ""));
            let known = chain.posterior().gpt().layout().tensor(name).is_ok();
            match what {
                "params" | "momenta" | "gradient" => assert!(known, "{tensor}"),
                other => assert_eq!(other, "log_posterior"),
            }
        }
    }
}

/// A log posterior that is finite with a gradient that is not: a prior so narrow that 1 / sd^2 is beyond f32.
#[test]
fn an_infinite_gradient_names_its_tensor_and_changes_nothing() {
    let (gpt, cpu) = (small(7), Cpu::new(1).unwrap());
    let theta = gpt.layout().init(9);
    let name = "transformer.h.0.ln_2.bias";
    let index = gpt.layout().tensor(name).unwrap().range.start + 2;
    let mut center = theta.clone();
    center[index] = 1.0;
    let prior = Prior {
        family: PriorFamily::Normal,
        std: 1e-22,
        center: Some(center),
        units: PriorUnits::One,
    };
    for (preconditioner, first) in [(Preconditioner::None, 0), (RMS, 0)] {
        let posterior = Posterior::new(&cpu, &gpt, &prior, NUM_DATA, Objective::All, 2, T).unwrap();
        let mut chain = Chain::new(
            &cpu,
            posterior,
            &theta,
            config(Method::Baoa),
            preconditioner,
        )
        .unwrap();
        let before = chain.state().unwrap();
        let (at, tensor, value) = not_finite(step(&mut chain));
        assert_eq!((at, tensor), (first, format!("gradient of {name}")));
        assert_eq!(value, f32::INFINITY);
        assert_eq!(chain.state().unwrap(), before);
    }
}

/// A start whose activations overflow: the loss is NaN from the first step on.
#[test]
fn a_loss_that_is_not_a_number_stops_the_chain() {
    let (gpt, cpu) = (small(7), Cpu::new(1).unwrap());
    let mut theta = gpt.layout().init(9);
    let of = gpt
        .layout()
        .tensor("transformer.wte.weight")
        .unwrap()
        .range
        .clone();
    theta[of].iter_mut().for_each(|v| *v *= 1e25);
    for preconditioner in [Preconditioner::None, RMS] {
        let posterior = posterior(&cpu, &gpt);
        let mut chain = Chain::new(
            &cpu,
            posterior,
            &theta,
            config(Method::Sghmc),
            preconditioner,
        )
        .unwrap();
        let before = chain.state().unwrap();
        let (at, tensor, value) = not_finite(step(&mut chain));
        assert_eq!((at, tensor.as_str()), (0, "log_posterior"));
        assert!(!value.is_finite());
        assert_eq!(chain.state().unwrap(), before);
    }
}
