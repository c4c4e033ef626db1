//! The moving average and the snapshots of an optimiser: both against a plain reference and against the trainer's own, and what is refused.

mod common;

use bnn::Error;
use bnn::backend::vectors::Transfer;
use bnn::backend::{Cpu, Objective};
use bnn::baseline::{Recipe, Trainer};
use bnn::data::{Batch, Windows};
use bnn::posterior::{Posterior, Prior};
use bnn::samplers::ema::{Ema, EmaConfig};
use bnn::samplers::snapshots::{Snapshots, SnapshotsConfig};
use bnn::samplers::{GaussianApproximation, GaussianConfig, GaussianFit, GaussianMethod, Schedule};
use common::adam_path::{N, Plain, gradient};
use common::{every_cpu, relative_error};

/// AdamW, and the moving average of its path, in f64.
struct Averaged {
    path: Plain,
    mean: Vec<f64>,
}

impl Averaged {
    fn step(&mut self, step: u64, grad: &[f32], (lr, observations, decay): (f64, f64, f64)) {
        self.path.step(step, grad, lr, observations);
        let t = (step + 1) as f64;
        let keep = decay.min(t / (t + 9.0));
        for (mean, theta) in self.mean.iter_mut().zip(&self.path.theta) {
            *mean = keep * *mean + (1.0 - keep) * theta;
        }
    }
}

/// At every step, before and after the decay has its full value, on every instruction set; the rate has the caller's factor.
#[test]
fn the_average_is_the_plain_one() {
    let config = EmaConfig {
        lr: 3e-3,
        observations: 40.0,
        decay: 0.6,
    };
    for cpu in every_cpu() {
        let mut ema = Ema::new(cpu, &vec![1.0; N], config).unwrap();
        let mut plain = Averaged {
            path: Plain::new(vec![1.0; N]),
            mean: vec![1.0; N],
        };
        for step in 0..30 {
            let rate = 1.0 + 0.5 * (step % 3) as f64;
            let grad = gradient(step, ema.params());
            let report = ema.step_with_gradient(&grad, -1.5, rate).unwrap();
            assert_eq!((report.step, report.log_post), (step, -1.5));
            plain.step(step, &grad, (3e-3 * rate, 40.0, 0.6));
            assert!(
                relative_error(ema.params(), &plain.path.theta) < 1e-5,
                "{step}"
            );
            assert!(relative_error(ema.mean(), &plain.mean) < 1e-5, "{step}");
        }
        assert!(relative_error(ema.mean(), &plain.path.theta) > 1e-4);
        let mut out = vec![0.0; N];
        ema.draw(&mut out).unwrap();
        assert_eq!(&out, ema.mean());
        assert_eq!(ema.steps_made(), 30);
    }
}

/// State i of K is that after step i S / K, rounded up, and the mean and the deviations are theirs.
#[test]
fn the_snapshots_are_states_of_the_path() {
    let config = SnapshotsConfig {
        lr: 3e-3,
        observations: 40.0,
        steps: 17,
        states: 5,
    };
    let due = [4, 7, 11, 14, 17];
    for cpu in every_cpu() {
        let mut all = Snapshots::new(cpu, &vec![1.0; N], config).unwrap();
        let mut plain = Plain::new(vec![1.0; N]);
        let mut kept: Vec<Vec<f64>> = Vec::new();
        for step in 0..17 {
            let grad = gradient(step, all.params());
            all.step_with_gradient(&grad, 0.0, 1.0).unwrap();
            plain.step(step, &grad, 3e-3, 40.0);
            if due.contains(&(step + 1)) {
                kept.push(plain.theta.clone());
            }
            let mut out = vec![0.0; N];
            for (i, state) in kept.iter().enumerate() {
                all.draw(i as u64, &mut out).unwrap();
                assert!(relative_error(&out, state) < 1e-5, "{step} {i}");
            }
            let e = all.draw(kept.len() as u64, &mut out);
            assert!(matches!(e, Err(Error::OutOfRange { .. })), "{e:?}");
            let n = kept.len() as f64;
            if kept.is_empty() {
                assert_eq!(all.mean(), all.params());
                continue;
            }
            let mean = |i: usize| kept.iter().map(|s| s[i]).sum::<f64>() / n;
            let sd = |i: usize| {
                let each = kept.iter().map(|s| (s[i] - mean(i)).powi(2));
                (each.sum::<f64>() / n).sqrt()
            };
            let means: Vec<f64> = (0..N).map(mean).collect();
            assert!(relative_error(all.mean(), &means) < 1e-5, "{step}");
            if kept.len() > 1 {
                let want: Vec<f64> = (0..N).map(sd).collect();
                assert!(relative_error(&all.sd().unwrap(), &want) < 1e-3, "{step}");
                let want = want.iter().sum::<f64>() / N as f64;
                assert!((all.average_sd().unwrap() / want - 1.0).abs() < 1e-3);
            } else {
                assert!(all.average_sd().unwrap() < 1e-6);
            }
        }
        assert_eq!(kept.len(), 5);
    }
}

/// A training at a constant rate without decay of weights goes the same way, where the prior is too wide to be felt, but for the rounding of its
/// gradients; and its own average is the fit's.
#[test]
fn a_trainer_goes_the_same_way() {
    let cpu = Cpu::new(2).unwrap();
    let gpt = common::model::small(11);
    let tokens = common::tokens(400, 11, 1);
    let windows = Windows::all(tokens.len(), 8).unwrap();
    let recipe = Recipe {
        learning_rate: 2e-3,
        warmup_iters: 0,
        final_fraction: 1.0,
        weight_decay: 0.0,
        grad_clip: 0.0,
        iters: 12,
        ..Recipe::default()
    };
    let start = gpt.layout().init(3);
    let mut trainer = Trainer::new(&cpu, &gpt, &recipe, 3, 8).unwrap();
    trainer.average(&[0.8]).unwrap();
    trainer.start_at(&start).unwrap();
    let fit = |method| {
        let prior = Prior::isotropic(1e6);
        let posterior = Posterior::new(&cpu, &gpt, &prior, 399.0, Objective::All, 3, 8).unwrap();
        let config = GaussianConfig {
            learning_rate: 2e-3,
            ema_decay: Some(0.8),
            states: Some(4),
            ..GaussianConfig::new(method, 12)
        };
        GaussianFit::new(&cpu, posterior, &start, config).unwrap()
    };
    let mut fits = [GaussianMethod::Ema, GaussianMethod::Snapshots].map(fit);
    let (mut batch, mut states) = (Batch::new(3, 8).unwrap(), Vec::new());
    for step in 0..12 {
        windows.fill(&tokens, 1, 0, step, &mut batch).unwrap();
        trainer.step(&batch).unwrap();
        for fit in &mut fits {
            fit.step(&batch).unwrap();
        }
        if (step + 1) % 3 == 0 {
            states.push(cpu.get(trainer.params()).unwrap());
        }
    }
    let apart = |a: &[f32], b: &[f32]| {
        let moved: Vec<f64> = b.iter().zip(&start).map(|(b, s)| (b - s) as f64).collect();
        let got: Vec<f32> = a.iter().zip(&start).map(|(a, s)| a - s).collect();
        relative_error(&got, &moved)
    };
    // The biases of keys have no gradient but rounding, of which Adam makes steps: some 0.004 of the way.
    let (_, average) = trainer.averages().next().unwrap();
    assert!(apart(fits[0].mean(), average) < 0.02);
    assert!(apart(trainer.params(), average) > 0.03);
    let mut out = vec![0.0; start.len()];
    for (i, state) in states.iter().enumerate() {
        fits[1].draw(i as u64, &mut out).unwrap();
        assert!(apart(&out, state) < 0.02);
        assert!(apart(&states[(i + 1) % 4], state) > 0.1);
    }
}

#[test]
fn a_saved_state_goes_on_bit_for_bit() {
    let cpu = Cpu::new(1).unwrap();
    let ema = EmaConfig {
        lr: 0.01,
        observations: 3.0,
        decay: 0.9,
    };
    let snapshots = SnapshotsConfig {
        lr: 0.01,
        observations: 3.0,
        steps: 20,
        states: 7,
    };
    for broken_at in [0, 1, 3, 8, 13, 20] {
        let mut a = Ema::new(cpu.clone(), &vec![0.1; N], ema).unwrap();
        let mut b = Snapshots::new(cpu.clone(), &vec![0.1; N], snapshots).unwrap();
        let (mut whole_a, mut whole_b) = (
            Ema::new(cpu.clone(), &vec![0.1; N], ema).unwrap(),
            Snapshots::new(cpu.clone(), &vec![0.1; N], snapshots).unwrap(),
        );
        for step in 0..=20 {
            if step == broken_at {
                let (of_a, of_b) = (a.state().unwrap(), b.state().unwrap());
                a = Ema::restore(cpu.clone(), ema, &of_a).unwrap();
                b = Snapshots::restore(cpu.clone(), snapshots, &of_b).unwrap();
                assert_eq!((a.state().unwrap(), b.state().unwrap()), (of_a, of_b));
            }
            if step < 20 {
                for ema in [&mut a, &mut whole_a] {
                    let grad = gradient(step, ema.params());
                    ema.step_with_gradient(&grad, 0.0, 1.0).unwrap();
                }
                for all in [&mut b, &mut whole_b] {
                    let grad = gradient(step, all.params());
                    all.step_with_gradient(&grad, 0.0, 1.0).unwrap();
                }
            }
        }
        assert_eq!(a.state().unwrap(), whole_a.state().unwrap());
        assert_eq!(b.state().unwrap(), whole_b.state().unwrap());
        assert_eq!(b.mean(), whole_b.mean());
    }
}

/// The state machine around them: schedule, draws, the calls that are another method's, and settings out of range.
#[test]
fn fits_count_their_steps_and_refuse_what_is_wrong() {
    let new = |config: GaussianConfig| {
        GaussianApproximation::new(Cpu::new(1).unwrap(), &[0.5, -0.5], config)
    };
    for method in [GaussianMethod::Ema, GaussianMethod::Snapshots] {
        let config = GaussianConfig {
            schedule: Schedule::Linear {
                final_fraction: 0.5,
            },
            learning_rate: 0.01,
            states: Some(3),
            ..GaussianConfig::new(method, 6)
        };
        assert_eq!((config.temperature, method.fits_normal()), (1.0, false));
        let mut f = new(config.clone()).unwrap();
        let ema = EmaConfig {
            lr: 0.01,
            observations: 1.0,
            decay: 0.99,
        };
        let mut by_hand = Ema::new(Cpu::new(1).unwrap(), &[0.5, -0.5], ema).unwrap();
        for step in 0..6 {
            let grad: Vec<f32> = f.point().iter().map(|t| 0.2 * step as f32 - t).collect();
            let report = f.step_with_gradient(&grad, 1.0).unwrap().expect("a step");
            assert_eq!((report.step, report.value), (step, 1.0));
            let rate = config.schedule.factor(step, 6);
            by_hand.step_with_gradient(&grad, 1.0, rate).unwrap();
        }
        assert_eq!(f.point(), by_hand.params());
        assert!(f.step_with_gradient(&vec![0.0; 2], 0.0).is_err());
        let mut out = vec![0.0; 2];
        f.draw(2, &mut out).unwrap();
        if method == GaussianMethod::Ema {
            assert_eq!((&out, f.mean()), (by_hand.mean(), by_hand.mean()));
            assert_eq!(
                (f.sd().unwrap(), f.average_sd().unwrap()),
                (vec![0.0; 2], 0.0)
            );
        } else {
            assert_eq!(&out, by_hand.params());
            assert!(f.average_sd().unwrap() > 0.0);
        }
        let zeros = vec![0.0; 2];
        let mut other = new(config).unwrap();
        let e = other.step_with_squares(&zeros, 1.0, &zeros, 1.0, 0.0);
        assert!(e.unwrap_err().to_string().contains("takes the gradient"));
        let nan = other.step_with_gradient(&vec![f32::NAN, 0.0], 0.0);
        assert!(matches!(nan, Err(Error::NotFinite { .. })), "{nan:?}");
    }
    let refused = |method, change: fn(&mut GaussianConfig), part: &str| {
        let mut config = GaussianConfig::new(method, 30);
        change(&mut config);
        let e = new(config).err().expect(part).to_string();
        assert!(e.starts_with(part), "{e}");
    };
    let (ema, snapshots) = (GaussianMethod::Ema, GaussianMethod::Snapshots);
    refused(ema, |c| c.ema_decay = Some(1.0), "ema_decay");
    refused(ema, |c| c.learning_rate = 0.0, "learning_rate");
    refused(snapshots, |c| c.states = Some(0), "num_samples: a path");
    refused(
        snapshots,
        |c| c.states = Some(31),
        "num_samples: a path of 30",
    );
    refused(snapshots, |c| c.learning_rate = -1.0, "learning_rate");
    let cpu = Cpu::new(1).unwrap();
    let config = SnapshotsConfig {
        lr: 0.1,
        observations: 1.0,
        steps: 4,
        states: 2,
    };
    let mut state = Snapshots::new(cpu.clone(), &[1.0], config)
        .unwrap()
        .state()
        .unwrap();
    state.step = 2;
    assert!(
        Snapshots::restore(cpu, config, &state).is_err(),
        "a state too few"
    );
}
