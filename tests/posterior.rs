//! The posterior: what it is made of, its gradient, its prior by itself, and what it refuses.

mod common;

use bnn::backend::Cpu;
use bnn::data::Batch;
use bnn::gpt::{Gelu, Gpt, GptConfig, Objective};
use bnn::posterior::{PRIOR_FLOOR, Posterior, Prior, PriorFamily, PriorUnits};
use bnn::samplers::{Chain, ChainConfig, Method, Phase, Preconditioner};
use common::{bits, normals, reference, relative_error, wide};

fn gpt(vocab_size: usize) -> Gpt {
    Gpt::new(GptConfig {
        vocab_size,
        block_size: 6,
        n_layer: 2,
        n_head: 2,
        n_embd: 6,
        bias: true,
        // never used in sampling
        dropout: 0.4,
        gelu: Gelu::Exact,
        tie_weights: true,
    })
    .unwrap()
}

fn batch(v: usize, what: u64) -> Batch {
    let mut batch = Batch::new(3, 5).unwrap();
    batch.x = common::tokens(15, v, what);
    batch.y = common::tokens(15, v, what + 1000);
    batch
}

/// Parameters away from their initial values.
fn params(gpt: &Gpt) -> Vec<f32> {
    let noise = normals(gpt.n_params(), 1);
    let init = gpt.layout().init(1);
    init.iter().zip(noise).map(|(v, z)| v + 0.3 * z).collect()
}

/// Each form of the prior, none at a neutral value.
fn priors(n: usize) -> [Prior; 7] {
    let center: Vec<f32> = normals(n, 2).iter().map(|z| 0.5 * z).collect();
    let weights = normals(n, 3);
    [
        Prior::isotropic(0.7),
        Prior {
            center: Some(center.clone()),
            ..Prior::isotropic(1.3)
        },
        Prior {
            units: PriorUnits::RelativeTo(weights.clone()),
            ..Prior::isotropic(2.5)
        },
        Prior {
            family: PriorFamily::Normal,
            std: 0.4,
            center: Some(center.clone()),
            units: PriorUnits::RelativeTo(weights.clone()),
        },
        Prior {
            family: PriorFamily::Laplace,
            center: Some(center.clone()),
            ..Prior::isotropic(0.6)
        },
        Prior {
            units: PriorUnits::Each(weights.iter().map(|w| 0.1 + w.abs()).collect()),
            center: Some(center.clone()),
            ..Prior::isotropic(0.8)
        },
        Prior {
            family: PriorFamily::StudentT { dof: 2.5 },
            center: Some(center),
            units: PriorUnits::RelativeTo(weights),
            ..Prior::isotropic(0.9)
        },
    ]
}

fn standard_deviation(prior: &Prior, i: usize) -> f64 {
    let unit = match &prior.units {
        PriorUnits::One => 1.0,
        PriorUnits::RelativeTo(w) => w[i].abs() as f64 + 1e-4,
        PriorUnits::Each(units) => units[i] as f64,
    };
    prior.std as f64 * unit
}

fn center(prior: &Prior, i: usize) -> f64 {
    prior.center.as_ref().map_or(0.0, |c| c[i] as f64)
}

/// The log density without its constant.
fn log_prior(prior: &Prior, theta: &[f64]) -> f64 {
    let of = |(i, v): (usize, &f64)| {
        let z = (v - center(prior, i)) / standard_deviation(prior, i);
        match prior.family {
            PriorFamily::Normal => -0.5 * z * z,
            PriorFamily::Laplace => -z.abs(),
            PriorFamily::StudentT { dof } => {
                let nu = dof as f64;
                -0.5 * (nu + 1.0) * (1.0 + z * z / nu).ln()
            }
        }
    };
    theta.iter().enumerate().map(of).sum()
}

/// Its slope.
fn prior_slope(prior: &Prior, i: usize, v: f64) -> f64 {
    let s = standard_deviation(prior, i);
    let z = (v - center(prior, i)) / s;
    match prior.family {
        PriorFamily::Normal => -z / s,
        PriorFamily::Laplace => -z.signum() / s,
        PriorFamily::StudentT { dof } => -(dof as f64 + 1.0) * z / (dof as f64 + z * z) / s,
    }
}

#[test]
fn the_floor_is_the_originals() {
    assert_eq!(PRIOR_FLOOR, 1e-4);
}

/// num_data * log_lik + log_prior, each by itself from its definition, and the gradient from differences of all of it.
#[test]
fn the_parts_and_the_gradient() {
    let (gpt, v) = (gpt(7), 7);
    let theta = params(&gpt);
    let batch = batch(v, 4);
    let flat = wide(&theta);
    for objective in [Objective::All, Objective::Last] {
        let likelihood =
            |flat: &[f64]| -reference::loss(&gpt, flat, (&batch.x, &batch.y), 5, objective, None);
        let likelihood_slope = reference::gradient(&flat, likelihood);
        for prior in priors(theta.len()) {
            for num_data in [1.0, 137.5, 1e6] {
                let of =
                    |i: usize| num_data * likelihood_slope[i] + prior_slope(&prior, i, flat[i]);
                let want_grad: Vec<f64> = (0..flat.len()).map(of).collect();
                let mut seen = Vec::new();
                for cpu in common::every_cpu() {
                    let mut posterior =
                        Posterior::new(&cpu, &gpt, &prior, num_data, objective, 3, 5).unwrap();
                    assert_eq!(posterior.num_data(), num_data);
                    let at = posterior.evaluate(&theta, &batch).unwrap();
                    assert_eq!(at.log_post, num_data * at.log_lik + at.log_prior);
                    // f32 through two blocks; four roundings in each standardised distance
                    let error = at.log_lik / likelihood(&flat) - 1.0;
                    assert!(error.abs() < 2e-6, "log_lik is off by {error:e}");
                    let error = at.log_prior / log_prior(&prior, &flat) - 1.0;
                    assert!(error.abs() < 1e-6, "log_prior is off by {error:e}");
                    let grad = posterior.grad().clone();
                    let error = relative_error(&grad, &want_grad);
                    assert!(error < 2e-5, "the gradient is off by {error:e}");
                    seen.push((cpu.isa(), bits(&grad), at));
                }
                for pair in seen.chunks(3) {
                    assert!(pair.iter().all(|one| *one == pair[0]), "threads");
                }
            }
        }
    }
}

/// With the squares of the sequences' likelihoods: the posterior's parts and gradient are the same up to the order of sums, and neither the
/// prior nor `num_data` is in the squares.
#[test]
fn squares_are_the_likelihoods_alone() {
    let gpt = gpt(7);
    let theta = params(&gpt);
    let batch = batch(7, 9);
    let flat = wide(&theta);
    for objective in [Objective::All, Objective::Last] {
        let before = normals(theta.len(), 10);
        let mut want: Vec<f64> = before.iter().map(|z| (z * z) as f64).collect();
        let count = if objective == Objective::All {
            5.0
        } else {
            1.0
        };
        for (x, y) in batch.x.chunks(5).zip(batch.y.chunks(5)) {
            let loss = |flat: &[f64]| reference::loss(&gpt, flat, (x, y), 5, objective, None);
            let one = reference::gradient(&flat, loss);
            (want.iter_mut().zip(one)).for_each(|(w, g)| *w += (g * count).powi(2));
        }
        for prior in priors(theta.len()) {
            for cpu in common::every_cpu() {
                let mut posterior =
                    Posterior::new(&cpu, &gpt, &prior, 137.5, objective, 3, 5).unwrap();
                let plain = posterior.evaluate(&theta, &batch).unwrap();
                let want_grad = wide(posterior.grad());
                let mut squares: Vec<f32> = before.iter().map(|z| z * z).collect();
                let at = posterior
                    .evaluate_with_squares(&theta, &batch, &mut squares)
                    .unwrap();
                assert_eq!(at, plain);
                let error = relative_error(posterior.grad(), &want_grad);
                assert!(error < 1e-6, "the gradient is off by {error:e}");
                let error = relative_error(&squares, &want);
                assert!(error < 4e-5, "the squares are off by {error:e}");
            }
        }
        let cpu = Cpu::new(1).unwrap();
        let prior = Prior::isotropic(1.0);
        let mut posterior = Posterior::new(&cpu, &gpt, &prior, 1.0, objective, 3, 5).unwrap();
        let refused = posterior.evaluate_with_squares(&theta, &batch, &mut vec![0.0; 7]);
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("squares") && text.contains('7'), "{text}");
    }
}

/// The prior's gradient by differences of its own log density, where nothing else is in the way: with one token in the
/// vocabulary the likelihood is 1 whatever the parameters.
#[test]
fn with_one_token_the_posterior_is_the_prior() {
    let gpt = gpt(1);
    let theta = params(&gpt);
    let flat = wide(&theta);
    let cpu = Cpu::new(1).unwrap();
    for prior in priors(theta.len()) {
        let mut posterior = Posterior::new(&cpu, &gpt, &prior, 1e4, Objective::All, 3, 5).unwrap();
        let at = posterior.evaluate(&theta, &batch(1, 5)).unwrap();
        assert_eq!((at.log_lik, at.log_post), (0.0, at.log_prior));
        let want = reference::gradient(&flat, |flat| log_prior(&prior, flat));
        let error = relative_error(posterior.grad(), &want);
        assert!(error < 1e-6, "the gradient is off by {error:e}");
        // at its centre the prior is flat and its log density, without the constant, 0
        let mode: Vec<f32> = (0..theta.len()).map(|i| center(&prior, i) as f32).collect();
        let at = posterior.evaluate(&mode, &batch(1, 5)).unwrap();
        assert_eq!(at.log_prior, 0.0);
        assert!(posterior.grad().iter().all(|&g| g == 0.0));
    }
}

/// A weight on the likelihood is a factor on num_data, and leaves the prior alone.
#[test]
fn the_likelihoods_weight_is_a_factor_on_the_data() {
    let gpt = gpt(7);
    let (theta, batch) = (params(&gpt), batch(7, 3));
    let cpu = Cpu::new(1).unwrap();
    for prior in priors(theta.len()) {
        let new = |n: f64| Posterior::new(&cpu, &gpt, &prior, n, Objective::All, 3, 5).unwrap();
        let mut weighted = new(100.0).with_likelihood_weight(2.5).unwrap();
        let mut plain = new(250.0);
        let (a, b) = (
            weighted.evaluate(&theta, &batch).unwrap(),
            plain.evaluate(&theta, &batch).unwrap(),
        );
        assert_eq!((a, weighted.num_data()), (b, 100.0));
        assert_eq!(bits(weighted.grad()), bits(plain.grad()));
    }
}

/// All parameters 0: the model is uniform, so a token's likelihood is 1/V.
#[test]
fn a_uniform_model_has_log_likelihood_minus_ln_v() {
    let gpt = gpt(7);
    let cpu = Cpu::new(1).unwrap();
    let prior = Prior::isotropic(1.0);
    for objective in [Objective::All, Objective::Last] {
        let mut posterior = Posterior::new(&cpu, &gpt, &prior, 2.0, objective, 3, 5).unwrap();
        let at = posterior
            .evaluate(&vec![0.0; gpt.n_params()], &batch(7, 6))
            .unwrap();
        assert!((at.log_lik + 7f64.ln()).abs() < 1e-6);
        assert_eq!(at.log_prior, 0.0);
    }
}

/// A chain on the posterior that is the prior has the prior's moments, T times its variance: BAOA's are exact for any
/// stable step. Pooled over d parameters with different scales, n steps and an autocorrelation time below 10 steps
/// (half a period of the slowest is 6), the mean square's standard error is below sqrt(2 * 10 / (n d)); 6 of them.
#[test]
fn a_chain_on_the_prior_has_its_moments() {
    let gpt = Gpt::new(GptConfig {
        n_layer: 1,
        n_head: 1,
        n_embd: 2,
        block_size: 2,
        ..gpt(1).config().clone()
    })
    .unwrap();
    let d = gpt.n_params();
    let prior = Prior {
        family: PriorFamily::Normal,
        std: 0.5,
        center: Some(normals(d, 7)),
        units: PriorUnits::RelativeTo(normals(d, 8).iter().map(|z| 1.0 + 0.2 * z.tanh()).collect()),
    };
    let cpu = Cpu::new(1).unwrap();
    let mut batch = Batch::new(1, 1).unwrap();
    batch.y[0] = 0;
    for (temperature, sigma) in [(0.25, 1.0), (3.0, 2.0)] {
        let posterior = Posterior::new(&cpu, &gpt, &prior, 5.0, Objective::All, 1, 1).unwrap();
        let stiffest = prior.stiffest();
        let mut config = ChainConfig::new(Method::Baoa, 1.0 * sigma / stiffest.sqrt());
        config.temperature = temperature;
        config.sigma = sigma;
        config.alpha = stiffest.sqrt() * sigma;
        config.warmup_steps = 200;
        config.sampling_steps = 20_000;
        config.seed = 3;
        let start: Vec<f32> = prior.center.clone().unwrap();
        let mut chain = Chain::new(&cpu, posterior, &start, config, Preconditioner::None).unwrap();
        let (mut squares, mut sum, mut count) = (0.0, 0.0, 0.0);
        while chain.phase() != Phase::Done {
            let report = chain.step(&batch).unwrap();
            if report.phase == Phase::Sampling {
                for (i, &v) in chain.params().iter().enumerate() {
                    let z = (v as f64 - center(&prior, i)) / standard_deviation(&prior, i);
                    squares += z * z;
                    sum += z;
                }
                count += d as f64;
            }
        }
        let (mean, variance) = (sum / count, squares / count);
        let bound = 6.0 * (20.0 / count).sqrt();
        assert!(
            (variance / temperature - 1.0).abs() < bound,
            "{variance} at T = {temperature}"
        );
        assert!(mean.abs() < bound * temperature.sqrt(), "a mean of {mean}");
    }
}

#[test]
fn the_stiffest_direction_is_the_largest_precision() {
    let near = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-6, "{got}, not {want}");
    let plain = Prior::isotropic(0.25);
    near(plain.stiffest(), 16.0);
    near(plain.stiffest_over(&[4.0, 2.0, 8.0]), 8.0);
    let relative = Prior {
        units: PriorUnits::RelativeTo(vec![-0.5, 0.0999, 2.0]),
        ..plain
    };
    near(relative.stiffest(), 1.0 / (0.25f64 * 0.1).powi(2));
    // 1 / (0.25 (0.5 + 1e-4))^2 over 0.01 is more than 1 / (0.025)^2 over 1
    near(
        relative.stiffest_over(&[0.01, 1.0, 0.1]),
        100.0 / (0.25f64 * 0.5001).powi(2),
    );
    near(
        relative.stiffest_over(&[0.5, 1.0, 1.0]),
        1.0 / (0.25f64 * 0.1).powi(2),
    );
    let each = Prior {
        units: PriorUnits::Each(vec![2.0, 0.5]),
        ..Prior::isotropic(0.25)
    };
    near(each.stiffest(), 64.0);
    near(each.stiffest_over(&[0.1, 4.0]), 40.0);
    let student = Prior {
        family: PriorFamily::StudentT { dof: 4.0 },
        ..Prior::isotropic(0.5)
    };
    near(student.stiffest(), 5.0);
    near(student.stiffest_over(&[4.0, 2.5]), 2.0);
    let kink = Prior {
        family: PriorFamily::Laplace,
        ..Prior::isotropic(0.5)
    };
    assert_eq!((kink.stiffest(), kink.stiffest_over(&[2.0])), (0.0, 0.0));
    // a weight of 0 has the floor's deviation
    let zero = Prior {
        units: PriorUnits::RelativeTo(vec![0.0, 1.0]),
        ..Prior::isotropic(2.0)
    };
    near(zero.stiffest(), 1.0 / 2e-4f64.powi(2));
}

#[test]
fn what_does_not_fit_is_refused() {
    let (gpt, cpu) = (gpt(7), Cpu::new(1).unwrap());
    let n = gpt.n_params();
    let new = |prior: &Prior, num_data: f64| {
        let result = Posterior::new(&cpu, &gpt, prior, num_data, Objective::All, 3, 5);
        result.map_err(|e| e.to_string())
    };
    let says = |result: Result<Posterior<Cpu>, String>, part: &str| {
        let text = result.err().expect("refused");
        assert!(text.contains(part), "{text}");
    };
    for num_data in [0.0, 0.99, -5.0, f64::NAN, f64::INFINITY] {
        says(new(&Prior::isotropic(1.0), num_data), "num_data");
    }
    for dof in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let student = Prior {
            family: PriorFamily::StudentT { dof },
            ..Prior::isotropic(1.0)
        };
        says(new(&student, 10.0), "prior_dof");
    }
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let posterior = new(&Prior::isotropic(1.0), 10.0).unwrap();
        let refused = posterior.with_likelihood_weight(weight);
        says(refused.map_err(|e| e.to_string()), "likelihood_weight");
    }
    for std in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        says(new(&Prior::isotropic(std), 10.0), "prior_std");
    }
    let with = |center: Option<Vec<f32>>, weights: Option<Vec<f32>>| Prior {
        family: PriorFamily::Normal,
        std: 1.0,
        center,
        units: weights.map_or(PriorUnits::One, PriorUnits::RelativeTo),
    };
    let mut zero = vec![0.5; n];
    zero[3] = 0.0;
    let units = Prior {
        units: PriorUnits::Each(zero),
        ..Prior::isotropic(1.0)
    };
    says(new(&units, 10.0), "prior's units[3]");
    let mut broken = vec![0.5; n];
    broken[4] = f32::NAN;
    says(new(&with(Some(vec![0.0; n - 1]), None), 10.0), "center");
    says(
        new(&with(None, Some(vec![0.0; n + 1])), 10.0),
        "reference weights",
    );
    says(new(&with(Some(broken.clone()), None), 10.0), "center[4]");
    says(new(&with(None, Some(broken)), 10.0), "reference weights[4]");
    let result = Posterior::new(
        &cpu,
        &gpt,
        &Prior::isotropic(1.0),
        10.0,
        Objective::All,
        3,
        7,
    );
    says(result.map_err(|e| e.to_string()), "block_size = 6");

    let mut posterior = new(&Prior::isotropic(1.0), 10.0).unwrap();
    let theta = params(&gpt);
    let mut unknown = batch(7, 10);
    unknown.y[7] = 7;
    let text = posterior
        .evaluate(&theta, &unknown)
        .unwrap_err()
        .to_string();
    assert!(text.contains("y[1, 2]"), "{text}");
    let text = posterior
        .evaluate(&theta[1..].to_vec(), &batch(7, 10))
        .unwrap_err()
        .to_string();
    assert!(text.contains("parameters"), "{text}");
    let mut large = Batch::new(4, 5).unwrap();
    let text = posterior.evaluate(&theta, &large).unwrap_err().to_string();
    assert!(text.contains("at most 15"), "{text}");
    large.y.truncate(15);
    large.x.truncate(15);
    posterior.evaluate(&theta, &large).unwrap();
}
