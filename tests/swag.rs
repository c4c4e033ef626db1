//! SWAG: the optimiser's path, its mean and its columns against a plain reference, the law of its draws against the covariance that they say they have,
//! and what is refused.

mod common;

use bnn::Error;
use bnn::backend::Cpu;
use bnn::samplers::swag::{Swag, SwagConfig};
use bnn::samplers::{
    GaussianApproximation, GaussianConfig, GaussianMethod, Schedule, SwagSnapshots,
};
use common::adam_path::{N, Plain, gradient};
use common::{every_cpu, normals, relative_error, wide};

/// AdamW, the mean of the snapshots, their variance about it, and the latest columns, in f64 from all snapshots.
struct Collected {
    path: Plain,
    snapshots: Vec<Vec<f64>>,
    columns: Vec<Vec<f64>>,
}

impl Collected {
    fn step(&mut self, step: u64, grad: &[f32], config: &SwagConfig, rate: f64) {
        let lr = config.lr * rate;
        self.path.step(step, grad, lr, config.observations);
        if (step + 1).is_multiple_of(config.every) {
            self.snapshots.push(self.path.theta.clone());
            let mean = self.mean();
            let column = self.path.theta.iter().zip(&mean).map(|(t, m)| t - m);
            self.columns.push(column.collect());
        }
    }

    fn mean(&self) -> Vec<f64> {
        let n = self.snapshots.len() as f64;
        let of = |i: usize| self.snapshots.iter().map(|s| s[i]).sum::<f64>() / n;
        (0..self.path.theta.len()).map(of).collect()
    }

    fn variance(&self) -> Vec<f64> {
        let (mean, n) = (self.mean(), self.snapshots.len() as f64);
        let of = |i: usize| {
            self.snapshots
                .iter()
                .map(|s| (s[i] - mean[i]).powi(2))
                .sum::<f64>()
                / n
        };
        (0..self.path.theta.len()).map(of).collect()
    }

    /// Those of the last `rank` snapshots, but not of the first snapshot of all.
    fn latest(&self, rank: usize) -> &[Vec<f64>] {
        let own = &self.columns[1..];
        &own[own.len().saturating_sub(rank)..]
    }

    /// The standard deviations of a draw.
    fn sd(&self, rank: usize, temperature: f64) -> Vec<f64> {
        let columns = self.latest(rank);
        let share = 1.0 / (columns.len() as f64 - 1.0);
        let of = |(i, v): (usize, f64)| {
            let low: f64 = columns.iter().map(|c| share * c[i] * c[i]).sum();
            (0.5 * temperature * (v + low)).sqrt()
        };
        self.variance().into_iter().enumerate().map(of).collect()
    }
}

/// Every number of the state, at every step, on every instruction set: fewer columns than the rank, as many, and places that are taken again.
#[test]
fn the_path_is_the_plain_one() {
    let config = SwagConfig {
        lr: 3e-3,
        observations: 40.0,
        every: 3,
        rank: 4,
    };
    for cpu in every_cpu() {
        let start = vec![1.0f32; N];
        let mut swag = Swag::new(cpu.clone(), &start, config).unwrap();
        let mut plain = Collected {
            path: Plain::new(vec![1.0; N]),
            snapshots: Vec::new(),
            columns: Vec::new(),
        };
        for step in 0..40 {
            let grad = gradient(step, swag.params());
            let rate = 1.0 / (1.0 + step as f64 / 50.0);
            let report = swag.step_with_gradient(&grad, -1.5, rate).unwrap();
            assert_eq!((report.step, report.log_post), (step, -1.5));
            plain.step(step, &grad, &config, rate);
            // Steps of at most 3e-3 from 1, each rounded to 6e-8.
            assert!(
                relative_error(swag.params(), &plain.path.theta) < 1e-5,
                "{step}"
            );
            let state = swag.state().unwrap();
            let (made, columns) = (step + 1, state.deviations.len() / N);
            assert_eq!(columns as u64, (made / 3).saturating_sub(1).min(4));
            if made < 9 {
                continue;
            }
            assert!(relative_error(swag.mean(), &plain.mean()) < 1e-5, "{step}");
            let n = plain.snapshots.len() as f64;
            let squares: Vec<f64> = plain.variance().iter().map(|v| n * v).collect();
            assert!(relative_error(&state.squares, &squares) < 1e-3, "{step}");
            for (k, column) in plain.columns.iter().enumerate().skip(1).rev().take(4) {
                let at = (k - 1) % 4;
                let got = &state.deviations[at * N..][..N];
                assert!(relative_error(got, column) < 1e-3, "{step}: column {k}");
            }
            for temperature in [1.0, 0.3] {
                let got = swag.sd(temperature).unwrap();
                let want = plain.sd(4, temperature);
                assert!(relative_error(&got, &want) < 1e-3, "{step}");
                let average = want.iter().sum::<f64>() / N as f64;
                let got = swag.average_sd(temperature).unwrap();
                assert!((got / average - 1.0).abs() < 1e-3);
            }
        }
    }
}

/// A fit of seven snapshots, of which three columns are kept.
fn fitted(cpu: &Cpu) -> Swag<Cpu> {
    let config = SwagConfig {
        lr: 0.05,
        observations: 1.0,
        every: 2,
        rank: 3,
    };
    let mut swag = Swag::new(cpu.clone(), &[0.5, -1.0, 2.0, 0.0, 7.0], config).unwrap();
    for step in 0..14 {
        let noise = normals(5, 7 + step);
        let grad: Vec<f32> = noise
            .iter()
            .zip(swag.params())
            .map(|(z, t)| z - t)
            .collect();
        swag.step_with_gradient(&grad, 0.0, 1.0).unwrap();
    }
    swag
}

/// The mean and the covariance of 40,000 draws. Each of 5 means and 15 covariances lies within 6 of its standard errors: 4e-8 for all of them. Without
/// the low-rank part, with a K in place of K - 1, or without one of the halves, a covariance is off by 10 of them at the least.
#[test]
fn draws_have_the_covariance_that_they_say() {
    const DRAWS: u64 = 40_000;
    let cpu = Cpu::new(1).unwrap();
    let swag = fitted(&cpu);
    let state = swag.state().unwrap();
    let temperature = 0.4;
    let mut covariance = [[0.0f64; 5]; 5];
    for (i, row) in covariance.iter_mut().enumerate() {
        row[i] += 0.5 * temperature * state.squares[i] as f64 / 7.0;
        for (j, c) in row.iter_mut().enumerate() {
            for column in state.deviations.chunks(5) {
                *c += 0.5 * temperature * (column[i] * column[j]) as f64 / 2.0;
            }
        }
    }
    let mean = wide(&state.mean);
    let (mut sum, mut products) = ([0.0f64; 5], [[0.0f64; 5]; 5]);
    let mut out = vec![0.0f32; 5];
    for index in 0..DRAWS {
        swag.draw(temperature, 9, index, &mut out).unwrap();
        let d: Vec<f64> = out.iter().zip(&mean).map(|(x, m)| *x as f64 - m).collect();
        for i in 0..5 {
            sum[i] += d[i];
            for j in 0..5 {
                products[i][j] += d[i] * d[j];
            }
        }
    }
    let n = DRAWS as f64;
    for i in 0..5 {
        let error = (covariance[i][i] / n).sqrt();
        assert!((sum[i] / n).abs() < 6.0 * error, "mean {i}");
        for j in 0..=i {
            let want = covariance[i][j];
            let error = ((covariance[i][i] * covariance[j][j] + want * want) / n).sqrt();
            let off = products[i][j] / n - want;
            assert!(off.abs() < 6.0 * error, "{i}, {j}: {off} of {want}");
        }
        // What the test would see: half of the covariance, the one part alone, or K for K - 1.
        let diagonal = 0.5 * temperature * state.squares[i] as f64 / 7.0;
        let low = covariance[i][i] - diagonal;
        let error = covariance[i][i] * (2.0 / n).sqrt();
        assert!(diagonal > 10.0 * error && low / 3.0 > 10.0 * error);
    }
}

#[test]
fn a_saved_state_goes_on_bit_for_bit() {
    let cpu = Cpu::new(1).unwrap();
    let config = SwagConfig {
        lr: 0.01,
        observations: 3.0,
        every: 2,
        rank: 3,
    };
    for broken_at in [0, 1, 2, 5, 8, 13] {
        let mut whole = Swag::new(cpu.clone(), &vec![0.1; N], config).unwrap();
        for step in 0..20 {
            if step == broken_at {
                let state = whole.state().unwrap();
                let mut resumed = Swag::restore(cpu.clone(), config, &state).unwrap();
                assert_eq!(resumed.state().unwrap(), state);
                std::mem::swap(&mut whole, &mut resumed);
            }
            let grad = gradient(step, whole.params());
            whole.step_with_gradient(&grad, 0.0, 1.0).unwrap();
        }
        let mut unbroken = Swag::new(cpu.clone(), &vec![0.1; N], config).unwrap();
        for step in 0..20 {
            let grad = gradient(step, unbroken.params());
            unbroken.step_with_gradient(&grad, 0.0, 1.0).unwrap();
        }
        assert_eq!(whole.state().unwrap(), unbroken.state().unwrap());
    }
}

/// Before there are snapshots the mean is where the optimiser is, and a draw is the mean.
#[test]
fn a_fit_without_snapshots_draws_its_mean() {
    let cpu = Cpu::new(1).unwrap();
    let config = SwagConfig {
        lr: 0.01,
        observations: 1.0,
        every: 2,
        rank: 3,
    };
    let mut swag = Swag::new(cpu, &[1.0, 2.0], config).unwrap();
    let mut out = vec![0.0; 2];
    for step in 0..2 {
        swag.draw(1.0, 1, 0, &mut out).unwrap();
        assert_eq!((&out, swag.mean()), (swag.params(), swag.params()));
        assert_eq!(swag.sd(1.0).unwrap(), [0.0; 2]);
        swag.step_with_gradient(&vec![1.0, step as f32], 0.0, 1.0)
            .unwrap();
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let cpu = Cpu::new(1).unwrap();
    let good = SwagConfig {
        lr: 0.01,
        observations: 1.0,
        every: 2,
        rank: 3,
    };
    for (what, bad) in [
        ("lr", SwagConfig { lr: 0.0, ..good }),
        (
            "lr",
            SwagConfig {
                lr: f64::NAN,
                ..good
            },
        ),
        (
            "observations",
            SwagConfig {
                observations: -1.0,
                ..good
            },
        ),
        ("every", SwagConfig { every: 0, ..good }),
        ("rank", SwagConfig { rank: 1, ..good }),
    ] {
        let e = Swag::new(cpu.clone(), &[1.0], bad).err().expect(what);
        assert!(e.to_string().starts_with(what), "{e}");
    }
    assert!(Swag::new(cpu.clone(), &[f32::NAN], good).is_err());
    let mut swag = fitted(&cpu);
    let state = swag.state().unwrap();
    // A gradient that is not finite leaves everything as it was.
    let e = swag
        .step_with_gradient(&vec![1.0, 0.0, f32::NAN, 0.0, 0.0], 0.0, 1.0)
        .unwrap_err();
    assert!(
        matches!(&e, Error::NotFinite { step: 14, tensor, .. } if tensor == "gradient[2]"),
        "{e}"
    );
    assert!(
        swag.step_with_gradient(&vec![0.0; 5], f64::NAN, 1.0)
            .is_err()
    );
    assert_eq!(swag.state().unwrap(), state);
    let config = SwagConfig {
        lr: 0.05,
        every: 2,
        ..good
    };
    for bad in [0, 1, 2] {
        let mut other = state.clone();
        match bad {
            0 => _ = other.deviations.pop(),
            1 => other.squares[1] = -1.0,
            _ => other.step = 2,
        }
        assert!(Swag::restore(cpu.clone(), config, &other).is_err(), "{bad}");
    }
}

fn fit(config: GaussianConfig) -> bnn::Result<GaussianApproximation<Cpu>> {
    GaussianApproximation::new(Cpu::new(1).unwrap(), &[0.5, -0.5], config)
}

/// The state machine around it: its schedule, its snapshots, the calls that are another method's, and draws of other fits of the seed.
#[test]
fn a_fit_counts_its_steps() {
    let config = GaussianConfig {
        snapshots: Some(SwagSnapshots { every: 2, rank: 2 }),
        schedule: Schedule::Linear {
            final_fraction: 0.5,
        },
        learning_rate: 0.01,
        temperature: 0.7,
        ..GaussianConfig::new(GaussianMethod::Swag, 6)
    };
    assert_eq!(
        GaussianConfig::new(GaussianMethod::Swag, 6).temperature,
        1.0
    );
    let ends = |chain| {
        let mut f = fit(GaussianConfig {
            chain,
            ..config.clone()
        })
        .unwrap();
        let swag = SwagConfig {
            lr: 0.01,
            observations: 1.0,
            every: 2,
            rank: 2,
        };
        let mut by_hand = Swag::new(Cpu::new(1).unwrap(), &[0.5, -0.5], swag).unwrap();
        for step in 0..6 {
            let grad: Vec<f32> = f.point().iter().map(|t| 0.2 * step as f32 - t).collect();
            let report = f.step_with_gradient(&grad, 1.0).unwrap().expect("a step");
            assert_eq!((report.step, report.value), (step, 1.0));
            let rate = config.schedule.factor(step, 6);
            by_hand.step_with_gradient(&grad, 1.0, rate).unwrap();
        }
        assert_eq!(f.mean(), by_hand.mean());
        assert_eq!(f.sd().unwrap(), by_hand.sd(0.7).unwrap());
        assert!(f.step_with_gradient(&vec![0.0; 2], 0.0).is_err());
        let mut out = [vec![0.0; 2], vec![0.0; 2]];
        f.draw(3, &mut out[0]).unwrap();
        by_hand
            .draw(0.7, 0, 3 + (u64::from(chain) << 32), &mut out[1])
            .unwrap();
        assert_eq!(out[0], out[1]);
        (f.mean().clone(), out[0].clone())
    };
    let (first, second) = (ends(0), ends(1));
    assert!(first.0 == second.0 && first.1 != second.1);
    let mut f = fit(config.clone()).unwrap();
    let zeros = vec![0.0; 2];
    let e = f
        .step_with_squares(&zeros, 1.0, &zeros, 1.0, 0.0)
        .unwrap_err();
    assert!(e.to_string().contains("swag takes the gradient"), "{e}");
    for (snapshots, part) in [
        (SwagSnapshots { every: 3, rank: 2 }, "swag_every: 6 steps"),
        (SwagSnapshots { every: 0, rank: 2 }, "swag_every"),
        (SwagSnapshots { every: 1, rank: 1 }, "swag_rank"),
    ] {
        let e = fit(GaussianConfig {
            snapshots: Some(snapshots),
            ..config.clone()
        });
        let text = e.err().expect(part).to_string();
        assert!(text.starts_with(part), "{text}");
    }
}
