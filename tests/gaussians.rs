//! The methods that fit independent normals: against recorded runs, against the posteriors of linear-Gaussian models, and as state machines.

mod common;

use bnn::backend::{Cpu, Vectors};
use bnn::samplers::ekf::{Ekf, EkfConfig};
use bnn::samplers::laplace::Laplace;
use bnn::samplers::vi::{Vi, ViConfig};
use bnn::{Error, Result};
use common::{Reference, bits, every_cpu, normals, relative_error, wide};

fn cpu() -> Cpu {
    Cpu::new(1).unwrap()
}

// ---------------------------------------------------------------- recorded runs

/// The logistic regression of the recorded runs.
struct Logistic {
    x: Vec<f64>, // (n, d)
    y: Vec<f64>,
    n: usize,
    d: usize,
    theta0: Vec<f32>,
    batches: Vec<Vec<usize>>,
    file: Reference,
}

impl Logistic {
    fn open() -> Self {
        let file = Reference::open("gaussians.safetensors");
        let [n, d] = file.shape("X")[..] else {
            panic!("X is a matrix")
        };
        let size = file.shape("batches")[1];
        let rows: Vec<usize> = file.tokens("batches").iter().map(|&i| i as usize).collect();
        Self {
            x: wide(&file.f32("X")),
            y: wide(&file.f32("y")),
            n,
            d,
            theta0: file.f32("theta0"),
            batches: rows.chunks(size).map(<[usize]>::to_vec).collect(),
            file,
        }
    }

    /// Log likelihood of a row, and its gradient.
    fn row(&self, i: usize, theta: &[f32]) -> (f64, Vec<f64>) {
        let x = &self.x[i * self.d..][..self.d];
        let z: f64 = x.iter().zip(theta).map(|(x, t)| x * *t as f64).sum();
        let residual = self.y[i] - 1.0 / (1.0 + (-z).exp());
        let value = self.y[i] * z - (1.0 + z.exp()).ln();
        (value, x.iter().map(|x| residual * x).collect())
    }

    /// Sum over a batch of f of each row's gradient.
    fn sum(&self, at: &[usize], theta: &[f32], f: impl Fn(usize, f64) -> f64) -> Vec<f32> {
        let mut sum = vec![0.0; self.d];
        for &i in at {
            let (_, g) = self.row(i, theta);
            for (j, s) in sum.iter_mut().enumerate() {
                *s += f(j, g[j]);
            }
        }
        sum.iter().map(|&s| s as f32).collect()
    }

    fn hyper(&self, method: &str) -> serde_json::Value {
        self.file.metadata(method)
    }
}

/// Rounding to f32 at each of 12 steps.
const RECORDED: f64 = 2e-6;

#[test]
fn ekf_is_the_recorded_one() {
    let m = Logistic::open();
    let hyper = m.hyper("ekf");
    let number = |k: &str| hyper[k].as_f64().unwrap();
    let config = EkfConfig {
        lr: number("lr"),
        transition_sd: number("transition_sd"),
    };
    let mut ekf = Ekf::new(cpu(), &m.theta0, number("init_sds") as f32, config).unwrap();
    let (mean, sd) = (m.file.f32("ekf.mean"), m.file.f32("ekf.sd"));
    for (step, at) in m.batches.iter().enumerate() {
        let theta = ekf.mean().clone();
        // Given as sums, so that the scales have something to do.
        let grad = m.sum(at, &theta, |_, g| g);
        let squares = m.sum(at, &theta, |_, g| g * g);
        let scale = 1.0 / at.len() as f64;
        ekf.step(&grad, scale, &squares, scale).unwrap();
        let want = |x: &[f32]| wide(&x[step * m.d..][..m.d]);
        assert!(
            relative_error(ekf.mean(), &want(&mean)) < RECORDED,
            "{step}"
        );
        assert!(relative_error(ekf.sd(), &want(&sd)) < RECORDED, "{step}");
    }
}

#[test]
fn laplace_is_the_recorded_one() {
    let m = Logistic::open();
    let start = m.hyper("laplace_fisher")["init_prec_diag"]
        .as_f64()
        .unwrap();
    let mut laplace = Laplace::new(cpu(), &m.theta0, start as f32).unwrap();
    let want = m.file.f32("laplace_fisher.precision");
    for (step, at) in m.batches.iter().enumerate() {
        // Its observations carry their share of the prior N(0, 1).
        let share = |j: usize| m.theta0[j] as f64 / m.n as f64;
        let squares = m.sum(at, &m.theta0, |j, g| (g - share(j)).powi(2));
        let half: Vec<f32> = squares.iter().map(|s| 0.5 * s).collect();
        laplace.step(&half, 2.0).unwrap();
        let want = wide(&want[step * m.d..][..m.d]);
        assert!(
            relative_error(laplace.precision(), &want) < RECORDED,
            "{step}"
        );
    }
}

#[test]
fn vi_is_the_recorded_one() {
    let m = Logistic::open();
    let hyper = m.hyper("vi");
    let number = |k: &str| hyper[k].as_f64().unwrap();
    for (name, stick_the_landing) in [("vi", false), ("vi_stl", true)] {
        let config = ViConfig {
            lr: 2.0 * number("lr"), // and half of it by the rate of each step
            temperature: number("temperature"),
            stick_the_landing,
            ..ViConfig::default()
        };
        let mut vi = Vi::new(cpu(), &m.theta0, number("init_log_sds") as f32, config).unwrap();
        let get = |what: &str| m.file.f32(&format!("{name}.{what}"));
        let (mean, log_sd, nelbo, noise) = (get("mean"), get("log_sd"), get("nelbo"), get("noise"));
        for (step, at) in m.batches.iter().enumerate() {
            let row = step * m.d..(step + 1) * m.d;
            let z = noise[row.clone()].to_vec();
            vi.set_noise(&z).unwrap();
            let theta = vi.point().clone();
            let scale = m.n as f64 / at.len() as f64;
            let lik: f64 = at.iter().map(|&i| m.row(i, &theta).0).sum();
            let square: f64 = theta.iter().map(|&t| (t as f64).powi(2)).sum();
            let mut grad = m.sum(at, &theta, |_, g| scale * g);
            grad.iter_mut().zip(&theta).for_each(|(g, t)| *g -= t);
            let report = vi
                .step_with_noise(&grad, scale * lik - 0.5 * square, 0.5, &z)
                .unwrap()
                .unwrap();
            assert_eq!(report.step, step as u64);
            let want = nelbo[step] as f64;
            assert!((report.nelbo / want - 1.0).abs() < 1e-5, "{name} {step}");
            // Adam's step has the size of its rate whatever the gradient's: where a gradient is near 0 its rounding shows.
            let off = relative_error(vi.mean(), &wide(&mean[row.clone()]));
            assert!(off < 2e-5, "{name} {step}: {off}");
            let off = relative_error(vi.log_sd(), &wide(&log_sd[row]));
            assert!(off < 2e-5, "{name} {step}: {off}");
        }
    }
}

// ---------------------------------------------------------------- linear-Gaussian models

/// y = X theta + noise of variance s2, prior N(0, 1 / p).
struct Linear {
    x: Vec<f64>, // (n, d)
    y: Vec<f64>,
    d: usize,
    s2: f64,
    p: f64,
}

impl Linear {
    /// With `orthogonal` columns the posterior has independent coordinates.
    fn new(n: usize, d: usize, orthogonal: bool) -> Self {
        let z = normals(n * d + n + d, 3);
        let mut x = wide(&z[..n * d]);
        if orthogonal {
            // Each observation sees one coordinate.
            for (i, row) in x.chunks_mut(d).enumerate() {
                for (j, x) in row.iter_mut().enumerate() {
                    *x = if i % d == j {
                        1.0 + 0.3 * j as f64
                    } else {
                        0.0
                    };
                }
            }
        }
        let theta = &z[n * d + n..];
        let s2: f64 = 0.7;
        let y = x.chunks(d).zip(&z[n * d..]).map(|(x, e)| {
            let mean: f64 = x.iter().zip(theta).map(|(x, t)| x * *t as f64).sum();
            mean + s2.sqrt() * *e as f64
        });
        Self {
            y: y.collect(),
            x,
            d,
            s2,
            p: 1.3,
        }
    }

    /// Precision matrix (d, d) and mean of the posterior, by Gaussian elimination.
    fn posterior(&self) -> (Vec<Vec<f64>>, Vec<f64>) {
        let d = self.d;
        let mut a = vec![vec![0.0; d + 1]; d];
        for (x, y) in self.x.chunks(d).zip(&self.y) {
            for i in 0..d {
                for j in 0..d {
                    a[i][j] += x[i] * x[j] / self.s2;
                }
                a[i][d] += x[i] * y / self.s2;
            }
        }
        (0..d).for_each(|i| a[i][i] += self.p);
        let precision: Vec<Vec<f64>> = a.iter().map(|r| r[..d].to_vec()).collect();
        for i in 0..d {
            let pivot = a[i].clone();
            for (_, row) in a.iter_mut().enumerate().filter(|(k, _)| *k != i) {
                let f = row[i] / pivot[i];
                row.iter_mut().zip(&pivot).for_each(|(r, p)| *r -= f * p);
            }
        }
        let mean = (0..d).map(|i| a[i][d] / a[i][i]).collect();
        (precision, mean)
    }

    /// Gradient of one observation's log likelihood.
    fn gradient(&self, i: usize, theta: &[f32]) -> Vec<f64> {
        let x = &self.x[i * self.d..][..self.d];
        let mean: f64 = x.iter().zip(theta).map(|(x, t)| x * *t as f64).sum();
        x.iter().map(|x| x * (self.y[i] - mean) / self.s2).collect()
    }

    /// Log posterior up to its constant, with its gradient.
    fn log_post(&self, theta: &[f32]) -> (f64, Vec<f32>) {
        let mut grad: Vec<f64> = theta.iter().map(|&t| -self.p * t as f64).collect();
        let mut value: f64 = theta
            .iter()
            .map(|&t| -0.5 * self.p * (t as f64).powi(2))
            .sum();
        for i in 0..self.y.len() {
            let x = &self.x[i * self.d..][..self.d];
            let mean: f64 = x.iter().zip(theta).map(|(x, t)| x * *t as f64).sum();
            value -= 0.5 * (self.y[i] - mean).powi(2) / self.s2;
            for (g, part) in grad.iter_mut().zip(self.gradient(i, theta)) {
                *g += part;
            }
        }
        (value, grad.iter().map(|&g| g as f32).collect())
    }
}

#[test]
fn ekf_reaches_the_posterior_of_a_linear_gaussian_model() {
    // Independent coordinates, the true Fisher information x^2 / s2 in place of the empirical one, each observation once: the Kalman filter's
    // posterior is the exact one. Batches of one observation count it lr = 1 times.
    let m = Linear::new(120, 4, true);
    let (precision, mean) = m.posterior();
    let config = EkfConfig {
        lr: 1.0,
        transition_sd: 0.0,
    };
    let prior_sd = (1.0 / m.p).sqrt() as f32;
    let mut ekf = Ekf::new(cpu(), &vec![0.0; m.d], prior_sd, config).unwrap();
    for i in 0..m.y.len() {
        let grad: Vec<f32> = m
            .gradient(i, ekf.mean())
            .iter()
            .map(|&g| g as f32)
            .collect();
        let x = &m.x[i * m.d..][..m.d];
        let fisher: Vec<f32> = x.iter().map(|x| (x * x / m.s2) as f32).collect();
        ekf.step(&grad, 1.0, &fisher, 1.0).unwrap();
    }
    // 120 roundings of 6e-8 each.
    assert!(
        relative_error(ekf.mean(), &mean) < 1e-5,
        "{:?} {mean:?}",
        ekf.mean()
    );
    let sd: Vec<f64> = (0..m.d).map(|i| precision[i][i].powf(-0.5)).collect();
    assert!(relative_error(ekf.sd(), &sd) < 1e-5);
    let average = sd.iter().sum::<f64>() / sd.len() as f64;
    assert!((ekf.average_sd().unwrap() / average - 1.0).abs() < 1e-5);
}

#[test]
fn laplace_reaches_the_posterior_of_a_linear_gaussian_model() {
    // At the mode, with the true Fisher information, the precision's diagonal is exact; so is the marginal likelihood's prior where the
    // coordinates are independent.
    let m = Linear::new(200, 5, true);
    let (precision, mean) = m.posterior();
    let mode: Vec<f32> = mean.iter().map(|&v| v as f32).collect();
    let mut laplace = Laplace::new(cpu(), &mode, 0.0).unwrap();
    let mut h = vec![0.0f64; m.d];
    for x in m.x.chunks(m.d) {
        let f: Vec<f32> = x.iter().map(|x| (x * x / m.s2) as f32).collect();
        laplace.step(&f, 1.0).unwrap();
        h.iter_mut().zip(x).for_each(|(h, x)| *h += x * x / m.s2);
    }
    let want: Vec<f64> = (0..m.d).map(|i| precision[i][i] - m.p).collect();
    assert!(relative_error(laplace.precision(), &want) < 1e-5);
    let sd = |t: f64| -> f64 {
        let each = (0..m.d).map(|i| (t / precision[i][i]).sqrt());
        each.sum::<f64>() / m.d as f64
    };
    let got = laplace.average_sd(m.p, 0.4).unwrap();
    assert!((got / sd(0.4) - 1.0).abs() < 1e-5);
    // The best prior precision, by golden section on the evidence itself.
    let square: f64 = mean.iter().map(|m| m * m).sum();
    let evidence = |p: f64| {
        let logs: f64 = h.iter().map(|h| (h + p).ln()).sum();
        0.5 * (m.d as f64 * p.ln() - p * square - logs)
    };
    let (mut a, mut b) = (1e-3f64, 1e3f64);
    for _ in 0..200 {
        let (c, d) = (a.powf(0.618) * b.powf(0.382), a.powf(0.382) * b.powf(0.618));
        if evidence(c) > evidence(d) {
            b = d
        } else {
            a = c
        }
    }
    let fit = laplace.fit_prior(5.0).unwrap();
    assert!((fit.precision / a - 1.0).abs() < 1e-4, "{fit:?} {a}");
    assert!((fit.log_evidence - evidence(a)).abs() < 1e-6);
    let gamma: f64 = h.iter().map(|h| h / (h + a)).sum();
    assert!((fit.effective_parameters - gamma).abs() < 1e-3 && gamma < m.d as f64);
}

#[test]
fn vi_reaches_the_posterior_of_a_linear_gaussian_model() {
    // The nearest independent normals in KL(q || p) have the posterior's mean and, at temperature T, the variances T over the precision's
    // diagonal, also where coordinates interact. With the landing stuck to, the gradient's variance goes to 0 at the optimum where they do not,
    // so that a fading rate ends there to the rounding of f32; where they do, averages over draws end near.
    for (orthogonal, draws, bound) in [(true, 1, 1e-3), (false, 3, 0.03)] {
        let m = Linear::new(60, 4, orthogonal);
        let (precision, mean) = m.posterior();
        let config = ViConfig {
            lr: 0.05,
            temperature: 0.6,
            draws,
            stick_the_landing: true,
            seed: 4,
            ..ViConfig::default()
        };
        let mut vi = Vi::new(cpu(), &vec![0.0; m.d], -3.0, config).unwrap();
        let steps = 3000;
        for step in 0..steps {
            let rate = 1.0 - step as f64 / steps as f64;
            for draw in 0..draws {
                let (value, grad) = m.log_post(vi.point());
                let report = vi.step_with_gradient(&grad, value, rate).unwrap();
                assert_eq!(report.is_some(), draw + 1 == draws);
            }
        }
        let off = relative_error(vi.mean(), &mean);
        assert!(off < bound, "{off}");
        for (i, row) in precision.iter().enumerate() {
            let want = 0.5 * (0.6 / row[i]).ln();
            let got = vi.log_sd()[i] as f64;
            assert!((got - want).abs() < bound, "{got} {want}");
        }
    }
}

#[test]
fn the_plain_estimator_agrees_with_the_stuck_one_on_average() {
    // At one point, the means over many draws of the two estimators of a gradient differ by their Monte-Carlo error alone. Adam's first moment
    // after its first step is a tenth of the gradient.
    let m = Linear::new(40, 3, false);
    let draws = 40_000;
    let gradient = |stick_the_landing: bool| {
        let config = ViConfig {
            lr: 1e-3,
            temperature: 0.6,
            draws,
            stick_the_landing,
            seed: 9,
            ..ViConfig::default()
        };
        let mut vi = Vi::new(cpu(), &[0.3, -0.2, 0.1], -1.5, config).unwrap();
        loop {
            let (value, grad) = m.log_post(vi.point());
            if vi.step_with_gradient(&grad, value, 1.0).unwrap().is_some() {
                break vi.state().unwrap().adam;
            }
        }
    };
    let (plain, stuck) = (gradient(false), gradient(true));
    // Their difference a draw has deviation T / sd = 2.7 for a mean and T sqrt 2 = 0.85 for a log deviation: over 40,000 draws, and a tenth,
    // 1.4e-3 and 4.3e-4. Seven of these: 3e-12 a number.
    for (k, bound) in [(0, 7.0 * 1.4e-3), (2, 7.0 * 4.3e-4)] {
        for (a, b) in plain[k].iter().zip(&stuck[k]) {
            assert!(((a - b) as f64).abs() < bound && a != b, "{a} {b}");
        }
    }
}

// ---------------------------------------------------------------- draws, states, refusals

#[test]
fn draws_have_mean_and_deviation_on_every_machine() {
    let n = 70_001;
    let mean: Vec<f32> = normals(n, 1);
    let first = {
        let mut out = vec![0.0; n];
        let ekf = Ekf::new(
            cpu(),
            &mean,
            0.3,
            EkfConfig {
                lr: 1.0,
                transition_sd: 0.0,
            },
        )
        .unwrap();
        ekf.draw(5, 2, &mut out).unwrap();
        let mut other = vec![0.0; n];
        ekf.draw(5, 3, &mut other).unwrap();
        assert_ne!(bits(&out), bits(&other));
        ekf.draw(6, 2, &mut other).unwrap();
        assert_ne!(bits(&out), bits(&other));
        out
    };
    let off: f64 = first
        .iter()
        .zip(&mean)
        .map(|(a, b)| ((a - b) as f64 / 0.3).powi(2))
        .sum();
    // chi^2 over n degrees of freedom: seven deviations of sqrt(2 n).
    assert!(
        (off - n as f64).abs() < 7.0 * (2.0 * n as f64).sqrt(),
        "{off}"
    );
    for cpu in every_cpu() {
        let config = EkfConfig {
            lr: 1.0,
            transition_sd: 0.0,
        };
        let ekf = Ekf::new(cpu.clone(), &mean, 0.3, config).unwrap();
        let mut out = vec![0.0; n];
        ekf.draw(5, 2, &mut out).unwrap();
        assert_eq!(bits(&out), bits(&first));
        // The same deviations in the other two forms, to the rounding of a logarithm or a root.
        let vi = Vi::new(cpu.clone(), &mean, 0.3f32.ln(), ViConfig::default()).unwrap();
        vi.draw(5, 2, &mut out).unwrap();
        assert!(relative_error(&out, &wide(&first)) < 1e-6);
        let laplace = Laplace::new(cpu, &mean, 4.0).unwrap();
        laplace.draw(1.0, 5.0 * 0.09, 5, 2, &mut out).unwrap();
        assert!(relative_error(&out, &wide(&first)) < 1e-6);
    }
}

#[test]
fn updates_are_the_same_on_every_machine_and_resume_bit_for_bit() {
    let n = 9000;
    let (mean, grad) = (normals(n, 1), normals(n, 2));
    let squares: Vec<f32> = normals(n, 3).iter().map(|z| z * z).collect();
    let ekf = |cpu: Cpu, broken: bool| {
        let config = EkfConfig {
            lr: 0.4,
            transition_sd: 0.1,
        };
        let mut ekf = Ekf::new(cpu.clone(), &mean, 0.5, config).unwrap();
        for i in 0..6 {
            if broken && i == 2 {
                ekf = Ekf::restore(cpu.clone(), config, &ekf.state().unwrap()).unwrap();
            }
            ekf.step(&grad, 0.3, &squares, 0.7).unwrap();
        }
        assert_eq!(ekf.steps_made(), 6);
        let s = ekf.state().unwrap();
        (bits(&s.mean), bits(&s.sd))
    };
    let vi = |cpu: Cpu, broken: bool| {
        let config = ViConfig {
            lr: 0.01,
            draws: 2,
            seed: 3,
            ..ViConfig::default()
        };
        let mut vi = Vi::new(cpu.clone(), &mean, -2.0, config).unwrap();
        for i in 0..12 {
            if broken && i == 4 {
                vi = Vi::restore(cpu.clone(), config, &vi.state().unwrap()).unwrap();
            }
            let g: Vec<f32> = vi.point().iter().map(|x| -x).collect();
            vi.step_with_gradient(&g, -1.0, 0.9).unwrap();
        }
        assert_eq!(vi.steps_made(), 6);
        let s = vi.state().unwrap();
        (bits(&s.mean), bits(&s.log_sd))
    };
    let laplace = |cpu: Cpu, broken: bool| {
        let mut l = Laplace::new(cpu.clone(), &mean, 0.5).unwrap();
        for i in 0..6 {
            if broken && i == 2 {
                l = Laplace::restore(cpu.clone(), &l.state().unwrap()).unwrap();
            }
            l.step(&squares, 0.3).unwrap();
        }
        let s = l.state().unwrap();
        (bits(&s.mean), bits(&s.precision))
    };
    let all = |cpu: &Cpu, broken| {
        (
            ekf(cpu.clone(), broken),
            vi(cpu.clone(), broken),
            laplace(cpu.clone(), broken),
        )
    };
    let want = all(&cpu(), false);
    for cpu in every_cpu() {
        assert!(
            all(&cpu, false) == want && all(&cpu, true) == want,
            "{cpu:?}"
        );
    }
}

#[test]
fn bad_numbers_are_refused_and_change_nothing() {
    let config = EkfConfig {
        lr: 1.0,
        transition_sd: 0.0,
    };
    let out_of_range = |r: Result<()>, what: &str| match r {
        Err(e @ Error::OutOfRange { .. }) => assert!(e.to_string().starts_with(what), "{e}"),
        other => panic!("{what}: {other:?}"),
    };
    let ekf = |c: EkfConfig, sd: f32| Ekf::new(cpu(), &[1.0, 2.0], sd, c).map(drop);
    out_of_range(ekf(EkfConfig { lr: 0.0, ..config }, 1.0), "lr");
    out_of_range(
        ekf(
            EkfConfig {
                transition_sd: -1.0,
                ..config
            },
            1.0,
        ),
        "transition_sd",
    );
    out_of_range(ekf(config, 0.0), "sd");
    let vi = |c: ViConfig, mean: f32| Vi::new(cpu(), &[mean], -1.0, c).map(drop);
    let good = ViConfig::default();
    out_of_range(
        vi(
            ViConfig {
                lr: f64::NAN,
                ..good
            },
            0.0,
        ),
        "lr",
    );
    out_of_range(
        vi(
            ViConfig {
                temperature: -1.0,
                ..good
            },
            0.0,
        ),
        "temperature",
    );
    out_of_range(vi(ViConfig { draws: 0, ..good }, 0.0), "draws");
    out_of_range(vi(good, f32::NAN), "mean");
    out_of_range(Laplace::new(cpu(), &[1.0], -1.0).map(drop), "precision");

    let stopped = |r: Result<()>, tensor: &str| match r {
        Err(Error::NotFinite { tensor: t, .. }) => assert_eq!(t, tensor),
        other => panic!("{tensor}: {other:?}"),
    };
    let (ok, bad) = (vec![1.0, 1.0], vec![1.0, f32::NAN]);
    let mut e = Ekf::new(cpu(), &[1.0, 2.0], 1.0, config).unwrap();
    let before = e.state().unwrap();
    stopped(e.step(&bad, 1.0, &ok, 1.0), "gradient[1]");
    stopped(e.step(&ok, 1.0, &bad, 1.0), "squares[1]");
    assert_eq!(e.state().unwrap(), before);
    assert!(matches!(
        e.step(&vec![1.0], 1.0, &ok, 1.0),
        Err(Error::Shape { .. })
    ));
    stopped(e.step(&vec![3e38, 0.0], 1e3, &vec![0.0; 2], 1.0), "mean[0]");

    // A precision beyond f32 leaves no deviation, which is no state to go on from.
    let mut e = Ekf::new(cpu(), &[1.0, 2.0], 1e-18, config).unwrap();
    let flat = e.step(&vec![0.0; 2], 1.0, &vec![0.0, 3e38], 1e30);
    out_of_range(flat, "sd[1]");

    let mut v = Vi::new(cpu(), &[1.0, 2.0], -1.0, ViConfig { draws: 2, ..good }).unwrap();
    let before = v.state().unwrap();
    stopped(
        v.step_with_gradient(&bad, 0.0, 1.0).map(drop),
        "gradient[1]",
    );
    stopped(
        v.step_with_gradient(&ok, f64::NAN, 1.0).map(drop),
        "log_posterior",
    );
    assert_eq!(v.state().unwrap(), before);
    assert!(v.step_with_gradient(&ok, 0.0, 1.0).unwrap().is_none());
    assert!(matches!(v.state(), Err(Error::Conflict(_))));

    let mut l = Laplace::new(cpu(), &[1.0, 2.0], 0.0).unwrap();
    stopped(l.step(&bad, 1.0), "squares[1]");
    let mut out = vec![0.0; 2];
    stopped(l.draw(0.0, 1.0, 0, 0, &mut out), "draw[0]");
    out_of_range(l.draw(-1.0, 1.0, 0, 0, &mut out), "prior_precision");
    out_of_range(l.draw(1.0, 0.0, 0, 0, &mut out), "temperature");
    assert!(matches!(l.fit_prior(1.0), Err(Error::Conflict(_))));
    assert_eq!(cpu().len(l.mean()), 2);
}

/// What cannot be read back is not given out to be saved. Broken: a deviation of 0 in the state, which no reader takes.
#[test]
fn a_deviation_of_zero_is_no_state() {
    let config = EkfConfig {
        lr: 1.0,
        transition_sd: 0.0,
    };
    let mut ekf = Ekf::new(cpu(), &[0.0; 3], 1e-30, config).unwrap();
    ekf.state().unwrap();
    let step = ekf.step(&vec![0.0; 3], 1.0, &vec![1.0; 3], 1.0);
    for e in [step.unwrap_err(), ekf.state().map(drop).unwrap_err()] {
        let is =
            matches!(&e, Error::OutOfRange { what, .. } if what.starts_with("sd[0] after step"));
        assert!(is, "{e}");
    }
}
