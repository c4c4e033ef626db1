//! The curvature that EKF takes: with the true Fisher information it is exact where it can be, with the data's own labels it is not; and on a model's
//! posterior each of `ekf_labels` is what it says.

mod common;

use bnn::backend::{Cpu, Transfer};
use bnn::data::{Batch, Windows};
use bnn::gpt::{Gelu, Gpt, Objective, Squares};
use bnn::posterior::{Posterior, Prior};
use bnn::rng::{Stream, StreamTag};
use bnn::samplers::ekf::{Ekf, EkfConfig};
use bnn::samplers::{
    CurvatureKind, GaussianApproximation, GaussianConfig, GaussianFit, GaussianMethod,
};
use common::model::config;
use common::{normals, relative_error, tokens, wide};

const TRUTH: [f64; 4] = [2.0, -1.0, 0.3, 0.0];
const N: usize = 4000;
const PRIOR_SD: f64 = 1.5;
/// Of an observation.
const VARIANCE: f64 = 0.09;

/// y = theta_k + noise, where observation i is of k = i mod 4.
fn observations() -> Vec<f64> {
    let noise = normals(N, 5);
    let y = noise
        .iter()
        .enumerate()
        .map(|(i, e)| TRUTH[i % 4] + VARIANCE.sqrt() * *e as f64);
    y.collect()
}

/// How far the filter's means end from the posterior's, in its standard deviations, and the ratios of the standard deviations.
fn ends(batch: usize, temperature: f64, empirical: bool) -> Vec<(f64, f64)> {
    let (y, steps) = (observations(), N / batch);
    let config = GaussianConfig {
        temperature,
        observations: N as f64,
        init_sd: PRIOR_SD,
        ..GaussianConfig::new(GaussianMethod::Ekf, steps as u64)
    };
    let mut fit = GaussianApproximation::new(Cpu::new(1).unwrap(), &[0.0; 4], config).unwrap();
    for at in (0..N).collect::<Vec<_>>().chunks(batch) {
        let (mut grad, mut squares) = (vec![0.0f32; 4], vec![0.0f32; 4]);
        for &i in at {
            let g = (y[i] - fit.mean()[i % 4] as f64) / VARIANCE;
            grad[i % 4] += g as f32;
            // The Fisher information of a normal's mean is 1 over the variance, whatever the residual is.
            squares[i % 4] += if empirical { g * g } else { 1.0 / VARIANCE } as f32;
        }
        let share = 1.0 / batch as f64;
        fit.step_with_squares(&grad, share, &squares, share, 0.0)
            .unwrap();
    }
    let sd = fit.sd().unwrap();
    let of = |k: usize| {
        let own: Vec<f64> = y.iter().copied().skip(k).step_by(4).collect();
        let share = 1.0 / (VARIANCE * temperature); // of an observation in the precision
        let precision = PRIOR_SD.powi(-2) + share * own.len() as f64;
        let mean = share * own.iter().sum::<f64>() / precision;
        let exact = precision.powf(-0.5);
        ((fit.mean()[k] as f64 - mean) / exact, sd[k] as f64 / exact)
    };
    (0..4).map(of).collect()
}

/// A thousand roundings of 6e-8 of a mean of 2, whose standard deviation is 0.0047 at the least, make 0.03 of it at the worst.
#[test]
fn the_true_fisher_information_makes_it_exact() {
    for batch in [1, 20, 200] {
        for temperature in [1.0, 0.25] {
            for (off, ratio) in ends(batch, temperature, false) {
                assert!(off.abs() < 0.03, "batches of {batch}: {off} sd");
                assert!((ratio - 1.0).abs() < 1e-3, "batches of {batch}: {ratio}");
            }
        }
    }
}

/// Far from the mode residuals are large, their squares lock the precision, and the mean stops where it is.
#[test]
fn the_datas_labels_stop_it_far_from_the_mode() {
    for batch in [1, 20, 200] {
        let ends = ends(batch, 1.0, true);
        assert!(ends[0].0 < -100.0 && ends[1].0 > 20.0, "{ends:?}");
        assert!(ends[0].1 < 0.3 && ends[1].1 < 0.7, "{ends:?}");
        // Near the mode there is little to see.
        assert!(ends[3].0.abs() < 3.0, "{ends:?}");
    }
}

/// Each step on a model's posterior is that of a filter which is given the data's gradient, and the squares that the setting names.
#[test]
fn a_models_fit_takes_the_squares_that_it_is_told() {
    let cpu = Cpu::new(1).unwrap();
    let (v, t, b, steps) = (7, 5, 3, 4);
    let gpt = Gpt::new(config([v, t, 1, 2, 8], true, Gelu::Exact)).unwrap();
    let mut start = gpt.layout().init(3);
    start.iter_mut().for_each(|p| *p *= 5.0);
    let text = tokens(200, v, 4);
    let windows = Windows::all(text.len(), t).unwrap();
    let posterior = |objective| {
        let prior = Prior::isotropic(1.0);
        Posterior::new(&cpu, &gpt, &prior, 200.0, objective, b, t).unwrap()
    };
    use CurvatureKind::{EmpiricalFisher, Fisher, Ggn};
    for objective in [Objective::All, Objective::Last] {
        let mut ended = Vec::new();
        for labels in [EmpiricalFisher, Fisher, Ggn] {
            let config = GaussianConfig {
                ekf_labels: labels,
                temperature: 0.3,
                init_sd: 0.02,
                seed: 8,
                ..GaussianConfig::new(GaussianMethod::Ekf, steps)
            };
            let mut fit =
                GaussianFit::new(&cpu, posterior(objective), &start, config.clone()).unwrap();
            let mut by_hand = posterior(objective);
            let filter = EkfConfig {
                lr: by_hand.sequences() / steps as f64 / 0.3,
                transition_sd: 0.0,
            };
            let mut want = Ekf::new(cpu.clone(), &start, 0.02, filter).unwrap();
            let mut batch = Batch::new(b, t).unwrap();
            for step in 0..steps {
                windows.fill(&text, 1, 0, step, &mut batch).unwrap();
                let report = fit.step(&batch).unwrap();
                let (mean, zeros) = (want.mean().clone(), || vec![0.0; gpt.n_params()]);
                let (mut squares, mut unused) = (zeros(), zeros());
                let mut of = |batch: &Batch, of, squares: &mut Vec<f32>| {
                    let log_lik = by_hand.likelihood_with_squares(&mean, batch, of, squares);
                    (log_lik.unwrap(), by_hand.grad().clone())
                };
                let mut drawn = batch.clone();
                let stream = Stream::new(8, StreamTag::Labels, 0);
                let curvature = Squares::Curvature { stream, draw: step };
                match labels {
                    EmpiricalFisher => _ = of(&batch, Squares::Gradients, &mut squares),
                    Ggn => _ = of(&batch, curvature, &mut squares),
                    Fisher => {
                        let mut other = posterior(objective);
                        other.draw_labels(&mean, 8, step, &mut drawn).unwrap();
                        of(&drawn, Squares::Gradients, &mut squares);
                    }
                }
                let (log_lik, grad) = of(&batch, Squares::Gradients, &mut unused);
                let (to_windows, share) = (-by_hand.positions(), 1.0 / b as f64);
                want.step(&grad, to_windows, &squares, share).unwrap();
                assert!((report.log_lik - log_lik).abs() < 1e-6 * log_lik.abs());
                let off = relative_error(fit.mean(), &wide(want.mean()));
                assert!(off < 1e-5, "{labels:?}: {off}");
                let off = relative_error(&fit.sd().unwrap(), &wide(want.sd()));
                assert!(off < 1e-5, "{labels:?}: {off}");
            }
            let gradients = 1 + u64::from(labels != EmpiricalFisher);
            assert_eq!(config.gradients_per_step(), gradients);
            ended.push(cpu.get(fit.mean()).unwrap());
        }
        assert!(ended[0] != ended[1] && ended[0] != ended[2] && ended[1] != ended[2]);
    }
}
