//! IVON: its steps against a plain reference, the posterior of independent coordinates that it reaches, and what is refused.

mod common;

use bnn::Error;
use bnn::backend::Cpu;
use bnn::gpt::{Gelu, Gpt, Objective};
use bnn::posterior::{Posterior, Prior};
use bnn::samplers::ivon::{Ivon, IvonConfig};
use bnn::samplers::{GaussianApproximation, GaussianConfig, GaussianFit, GaussianMethod, Schedule};
use common::{every_cpu, normals, relative_error, wide};

const N: usize = 131;

const CONFIG: IvonConfig = IvonConfig {
    lr: 0.02,
    decay: 0.95,
    temperature: 0.7,
    observations: 40.0,
    draws: 3,
    seed: 5,
    chain: 2,
};

/// The gradient of a log posterior at a draw, with noise.
fn gradient(draw: u64, theta: &[f32]) -> Vec<f32> {
    let noise = normals(N, 300 + draw);
    let each = theta.iter().zip(noise).enumerate();
    let g = each.map(|(i, (t, z))| 40.0 * (-(1.0 + (i % 7) as f32) * (t - 0.3) + 0.3 * z));
    g.collect()
}

/// Formulas as the file states them, in f64, with the draws that the fit has made; three gradients a step, on every instruction set.
#[test]
fn steps_are_those_of_the_formulas() {
    let c = CONFIG;
    for cpu in every_cpu() {
        let start = vec![1.0f32; N];
        let mut ivon = Ivon::new(cpu, &start, -1.2, c).unwrap();
        let first = ivon.state().unwrap();
        assert!(
            ivon.sd()
                .unwrap()
                .iter()
                .all(|s| (s / (-1.2f32).exp() - 1.0).abs() < 1e-5)
        );
        let (mut mean, mut h) = (wide(&start), wide(&first.curvature));
        let mut m = vec![0.0; N];
        for step in 0..30 {
            let (mut gs, mut hs) = (vec![0.0; N], vec![0.0; N]);
            let rate = 1.0 / (1.0 + step as f64 / 20.0);
            for draw in 0..3 {
                let theta = ivon.point().clone();
                let grad = gradient(3 * step + draw, &theta);
                for i in 0..N {
                    let g = -(grad[i] as f64) / c.observations;
                    let variance = c.temperature / (c.observations * h[i]);
                    gs[i] += g / 3.0;
                    hs[i] += g * (theta[i] as f64 - mean[i]) / variance / 3.0;
                }
                let report = ivon
                    .step_with_gradient(&grad, -(draw as f64), rate)
                    .unwrap();
                assert_eq!(report.is_some(), draw == 2);
                if let Some(r) = report {
                    assert_eq!(r.step, step);
                    assert!((r.log_post + 1.0).abs() < 1e-12);
                }
            }
            let t = step as i32 + 1;
            for i in 0..N {
                m[i] = 0.9 * m[i] + 0.1 * gs[i];
                let new = 1.0 - c.decay;
                h[i] =
                    c.decay * h[i] + new * hs[i] + 0.5 * new * new * (h[i] - hs[i]).powi(2) / h[i];
                mean[i] -= c.lr * rate * m[i] / (1.0 - 0.9f64.powi(t)) / h[i];
            }
            let state = ivon.state().unwrap();
            assert!(state.curvature.iter().all(|&h| h > 0.0));
            // What f32 rounds in the difference of draw and mean grows with their ratio, and the reference goes on with its own.
            for (what, got, want) in [
                ("mean", &state.mean, &mean),
                ("curvature", &state.curvature, &h),
                ("momentum", &state.momentum, &m),
            ] {
                let off = relative_error(got, want);
                assert!(off < 1e-4, "{what} after {step}: {off}");
            }
            let sd: Vec<f64> = h
                .iter()
                .map(|h| (c.temperature / (c.observations * h)).sqrt())
                .collect();
            assert!(relative_error(&ivon.sd().unwrap(), &sd) < 1e-4);
            let average = sd.iter().sum::<f64>() / N as f64;
            assert!((ivon.average_sd().unwrap() / average - 1.0).abs() < 1e-4);
        }
    }
}

/// Independent coordinates of precisions P_i: the mean, and the standard deviations sqrt(T / P_i). Where h has settled, H / h is z^2, so that ln h has
/// the standard deviation sqrt((1 - beta2) / draws) = 0.022 and ln sd half of it. Six of these, for each of 5: 1e-8. A factor of 2 in T or in H is 0.35.
#[test]
fn it_reaches_the_posterior_of_independent_coordinates() {
    let (precision, mean) = ([1.0, 2.0, 4.0, 9.0, 25.0], [0.5, -1.0, 3.0, 0.0, 0.2]);
    for observations in [1.0, 1000.0] {
        let steps = 15_000;
        let config = GaussianConfig {
            temperature: 0.6,
            observations,
            learning_rate: 0.1,
            schedule: Schedule::Linear {
                final_fraction: 1e-3,
            },
            init_log_scale: -1.5,
            vi_n_samples: 2,
            ivon_decay: Some(0.999),
            seed: 3,
            ..GaussianConfig::new(GaussianMethod::Ivon, steps)
        };
        let cpu = Cpu::new(1).unwrap();
        let mut fit = GaussianApproximation::new(cpu, &[0.0; 5], config).unwrap();
        while fit.steps_made() < steps {
            let theta = wide(fit.point());
            let g = |i: usize| (-precision[i] * (theta[i] - mean[i])) as f32;
            let grad: Vec<f32> = (0..5).map(g).collect();
            fit.step_with_gradient(&grad, 0.0).unwrap();
        }
        let sd = fit.sd().unwrap();
        for i in 0..5 {
            let want = (0.6f64 / precision[i]).sqrt();
            assert!((sd[i] as f64 / want).ln().abs() < 6.0 * 0.011, "{sd:?}");
            let off = (fit.mean()[i] as f64 - mean[i]) / want;
            assert!(off.abs() < 0.1, "{off} of coordinate {i}");
        }
    }
}

/// On a model's posterior too the fit begins with the standard deviation that it is told.
#[test]
fn a_models_fit_begins_as_wide_as_it_is_told() {
    let cpu = Cpu::new(1).unwrap();
    let gpt = Gpt::new(common::model::config([7, 5, 1, 2, 8], true, Gelu::Exact)).unwrap();
    let prior = Prior::isotropic(1.0);
    let posterior = Posterior::new(&cpu, &gpt, &prior, 200.0, Objective::All, 3, 5).unwrap();
    let config = GaussianConfig {
        init_log_scale: -3.0,
        ..GaussianConfig::new(GaussianMethod::Ivon, 9)
    };
    let mut fit = GaussianFit::new(&cpu, posterior, &gpt.layout().init(1), config).unwrap();
    let want = (-3.0f32).exp();
    assert!(
        fit.sd()
            .unwrap()
            .iter()
            .all(|sd| (sd / want - 1.0).abs() < 1e-5)
    );
}

#[test]
fn a_saved_state_goes_on_bit_for_bit() {
    let cpu = Cpu::new(1).unwrap();
    let run = |broken_at: u64| {
        let mut ivon = Ivon::new(cpu.clone(), &vec![0.1; N], -2.0, CONFIG).unwrap();
        for step in 0..8 {
            if step == broken_at {
                let state = ivon.state().unwrap();
                ivon = Ivon::restore(cpu.clone(), CONFIG, &state).unwrap();
            }
            for draw in 0..3 {
                let grad = gradient(3 * step + draw, ivon.point());
                ivon.step_with_gradient(&grad, 0.0, 1.0).unwrap();
                assert_eq!(ivon.state().is_ok(), draw == 2);
            }
        }
        let mut drawn = vec![0.0; N];
        ivon.draw(1, 4, &mut drawn).unwrap();
        (ivon.state().unwrap(), drawn)
    };
    let whole = run(99);
    for broken_at in [0, 1, 5] {
        assert_eq!(run(broken_at), whole);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let cpu = Cpu::new(1).unwrap();
    let of = |config| Ivon::new(cpu.clone(), &[1.0, 2.0], -1.0, config);
    for (what, bad) in [
        ("lr", IvonConfig { lr: 0.0, ..CONFIG }),
        (
            "decay",
            IvonConfig {
                decay: 1.0,
                ..CONFIG
            },
        ),
        (
            "decay",
            IvonConfig {
                decay: 0.0,
                ..CONFIG
            },
        ),
        (
            "temperature",
            IvonConfig {
                temperature: f64::INFINITY,
                ..CONFIG
            },
        ),
        (
            "observations",
            IvonConfig {
                observations: 0.0,
                ..CONFIG
            },
        ),
        ("draws", IvonConfig { draws: 0, ..CONFIG }),
    ] {
        let e = of(bad).err().expect(what);
        assert!(e.to_string().starts_with(what), "{e}");
    }
    let mut ivon = of(CONFIG).unwrap();
    let state = ivon.state().unwrap();
    let e = ivon
        .step_with_gradient(&vec![1.0, f32::INFINITY], 0.0, 1.0)
        .unwrap_err();
    assert!(
        matches!(&e, Error::NotFinite { step: 0, tensor, .. } if tensor == "gradient[1]"),
        "{e}"
    );
    assert!(
        ivon.step_with_gradient(&vec![0.0; 2], f64::NAN, 1.0)
            .is_err()
    );
    assert_eq!(ivon.state().unwrap(), state);
    let mut other = state.clone();
    other.curvature[1] = 0.0;
    assert!(Ivon::restore(cpu.clone(), CONFIG, &other).is_err());
    other = state;
    other.momentum.pop();
    assert!(Ivon::restore(cpu.clone(), CONFIG, &other).is_err());
}
