//! A warm-up that finds the mass and the step: what it finds on normals whose covariance is known, that it goes on bit for bit, and what it refuses.

use bnn::Error;
use bnn::backend::Cpu;
use bnn::inference::{Inference, Session};
use bnn::samplers::{
    Adaptation, ChainConfig, MassShape, Method, NoiseCorrection, Phase, Preconditioner,
};
use bnn::settings::{Adapt, Given, SamplerChoice, TargetKind};

/// A normal with mean `MEAN` and precision `PRECISION`: correlated, and of scales 500 apart.
const N: usize = 3;
const MEAN: [f64; N] = [40.0, -3.0, 0.25];
const FACTOR: [[f64; N]; N] = [[50.0, 0.0, 0.0], [1.5, 0.8, 0.0], [-0.05, 0.06, 0.1]]; // of the covariance

/// log density and gradient at theta: with L y = theta - mean, -y^T y / 2 and -L^-T y.
fn normal(theta: &[f32]) -> (f64, [f32; N]) {
    let mut y = [0.0; N];
    for i in 0..N {
        let done: f64 = (0..i).map(|j| FACTOR[i][j] * y[j]).sum();
        y[i] = (f64::from(theta[i]) - MEAN[i] - done) / FACTOR[i][i];
    }
    let mut g = y.map(|y| -y);
    for i in (0..N).rev() {
        g[i] /= FACTOR[i][i];
        for j in 0..i {
            g[j] -= FACTOR[i][j] * g[i];
        }
    }
    (
        -0.5 * y.iter().map(|y| y * y).sum::<f64>(),
        g.map(|g| g as f32),
    )
}

fn config(method: Method, mass: MassShape) -> ChainConfig {
    ChainConfig {
        adapt: Some(Adaptation {
            mass,
            tolerance: 0.06,
        }),
        alpha: 0.8,
        sigma: 1.3,
        temperature: 0.7,
        warmup_steps: 4000,
        sampling_steps: 40_000,
        thinning: 1,
        seed: 11,
        ..ChainConfig::new(method, 0.01)
    }
}

fn inference(sampler: ChainConfig) -> Inference {
    let (preconditioner, auto_step) = (Preconditioner::None, None);
    Inference::Chain {
        sampler,
        preconditioner,
        auto_step,
    }
}

fn session(sampler: ChainConfig) -> Session<Cpu> {
    let cpu = Cpu::new(1).expect("a device");
    Session::with_gradients(&cpu, inference(sampler), 1.0, &[0.0; N]).expect("a session")
}

/// Makes a step; the parameters after it, and whether they are a sample.
fn step(s: &mut Session<Cpu>) -> (Vec<f32>, bool) {
    let mut theta = vec![0.0; N];
    s.read_params(&mut theta).expect("parameters");
    let (log_post, grad) = normal(&theta);
    let report = s
        .step_with_gradient(&grad, log_post)
        .expect("a step")
        .expect("a report");
    s.read_params(&mut theta).expect("parameters");
    (theta, report.sample_due)
}

fn covariance(i: usize, j: usize) -> f64 {
    (0..N).map(|k| FACTOR[i][k] * FACTOR[j][k]).sum()
}

/// The covariance is T times L L^T, and the mass that is found is its inverse: L^-1 C L^-T is near the unit matrix. The last window has 2000 steps, of which a draw takes 2 units of
/// time, some 2000 h / 2.6 = 500: relative standard deviations of 0.06, and a pull of 8 / 500 to the mass before.
#[test]
fn a_dense_mass_is_the_inverse_covariance() {
    let mut s = session(config(Method::Baoa, MassShape::Dense));
    while s.phase() == Phase::Warmup {
        step(&mut s);
    }
    let l = s.mass_factor().expect("a factor");
    // The columns of L^-1 FACTOR, and the products of its rows.
    let mut y = FACTOR;
    for i in 0..N {
        for c in 0..N {
            let done: f64 = (0..i).map(|j| l[i * N + j] * y[j][c]).sum();
            y[i][c] = (FACTOR[i][c] - done) / l[i * N + i];
        }
    }
    for i in 0..N {
        for j in 0..N {
            let got: f64 = (0..N).map(|c| y[i][c] * y[j][c]).sum();
            let want = f64::from(u8::from(i == j));
            assert!((got - want).abs() < 0.4, "{i} {j}: {got}");
        }
    }
    // h^2 lambda / (4 T sigma^2) = tolerance, lambda the largest eigenvalue of the gradients' second moments, near T in z.
    let h = s.sampler_now().expect("a chain").step_size;
    let usual = 2.0 * 1.3 * 0.06f64.sqrt();
    assert!(h > 0.65 * usual && h < 1.05 * usual, "{h} {usual}");
}

#[test]
fn a_diagonal_mass_has_the_variances() {
    let mut s = session(config(Method::Sghmc, MassShape::Diagonal));
    while s.phase() == Phase::Warmup {
        step(&mut s);
    }
    let mass = s.mass().expect("a mass").expect("one");
    for (i, m) in mass.iter().enumerate() {
        let got = f64::from(*m) * covariance(i, i);
        assert!(got > 0.4 && got < 2.5, "{i}: {got}");
    }
    // Correlations of 0.88 and less leave a stiffest direction of curvature above 1: the step is shorter than under a dense mass.
    let h = s.sampler_now().expect("a chain").step_size;
    assert!(h < 0.8 * 2.0 * 1.3 * 0.06f64.sqrt(), "{h}");
}

/// Means and standard deviations of the draws, at a temperature that is not 1: 40,000 steps are some 40,000 h / 2.6 = 9000 independent draws, so that a mean is off by 0.011 standard deviations
/// and a standard deviation by 0.0075 of itself; six of them, with room for draws that are fewer, and for SGHMC's h^2 lambda / (4 (1 - gamma h / 2)), 0.06 of the variance.
#[test]
fn draws_have_the_law_of_the_target() {
    for (method, mass) in [
        (Method::Baoa, MassShape::Dense),
        (Method::Sghmc, MassShape::Dense),
        (Method::Sgnht, MassShape::Dense),
        (Method::Baoa, MassShape::Diagonal),
    ] {
        let mut s = session(config(method, mass));
        let (mut count, mut sum, mut squares) = (0.0, [0.0; N], [0.0; N]);
        while s.phase() != Phase::Done {
            let (theta, due) = step(&mut s);
            if due {
                count += 1.0;
                for i in 0..N {
                    let off = f64::from(theta[i]) - MEAN[i];
                    sum[i] += off;
                    squares[i] += off * off;
                }
            }
        }
        for i in 0..N {
            let sd = (0.7 * covariance(i, i)).sqrt();
            let (mean, got) = (sum[i] / count / sd, (squares[i] / count).sqrt() / sd);
            assert!(
                mean.abs() < 0.1,
                "{method} {i}: the mean is off by {mean} standard deviations"
            );
            assert!(
                (got - 1.0).abs() < 0.08,
                "{method} {i}: the standard deviation is {got} times"
            );
        }
    }
}

#[test]
fn a_warm_up_goes_on_bit_for_bit_from_every_window() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("chain.bnn");
    let c = |method, mass| ChainConfig {
        warmup_steps: 400,
        sampling_steps: 50,
        ..config(method, mass)
    };
    for (method, mass) in [
        (Method::Baoa, MassShape::Dense),
        (Method::Sgnht, MassShape::Diagonal),
    ] {
        let mut whole = session(c(method, mass));
        let states: Vec<_> = (0..450).map(|_| step(&mut whole).0).collect();
        // Before the first gradient, on the way to the bulk, in slow windows and at their ends, in the last one, while sampling.
        for at in [0, 1, 7, 29, 30, 31, 40, 41, 123, 379, 381, 399, 400, 420] {
            let mut first = session(c(method, mass));
            (0..at).for_each(|_| drop(step(&mut first)));
            first.save(&path).expect("a file");
            let cpu = Cpu::new(1).expect("a device");
            let mut second =
                Session::resume_with_gradients(&cpu, inference(c(method, mass)), 1.0, N, &path)
                    .unwrap_or_else(|e| panic!("{method} at {at}: {e}"));
            for (k, want) in states.iter().enumerate().skip(at) {
                assert_eq!(
                    &step(&mut second).0,
                    want,
                    "{method}: step {k} after a break at {at}"
                );
            }
            assert_eq!(
                second.mass_factor().expect("one"),
                whole.mass_factor().expect("one")
            );
        }
    }
}

/// A chain with a dense mass is one with unit mass in theta = center + L z: the same bits where L and the places are powers of two.
#[test]
fn a_dense_mass_is_a_change_of_coordinates() {
    const L: [[f64; N]; N] = [[2.0, 0.0, 0.0], [0.5, 1.0, 0.0], [-0.25, 0.5, 0.5]];
    let c = || ChainConfig {
        adapt: None,
        sampling_steps: 200,
        warmup_steps: 0,
        ..ChainConfig {
            step_size: 0.3,
            ..config(Method::Baoa, MassShape::Dense)
        }
    };
    let cpu = Cpu::new(1).expect("a device");
    let gradient = |theta: &[f64; N]| theta.map(|t| -0.5 * t);
    let mut own = Session::with_gradients(&cpu, inference(c()), 1.0, &[0.0; N]).expect("a session");
    let mut massive =
        Session::with_gradients(&cpu, inference(c()), 1.0, &[0.0; N]).expect("a session");
    massive.set_mass_factor(&L.concat()).expect("a factor");
    assert_eq!(massive.mass_factor().expect("one"), L.concat());
    assert_eq!(
        massive.mass().expect("a mass"),
        Some(vec![0.25, 0.8, (1.0 / 0.5625) as f32])
    );
    let mut z = [0.0f32; N];
    let mut theta = [0.0f32; N];
    for k in 0..200 {
        own.read_params(&mut z).expect("parameters");
        massive.read_params(&mut theta).expect("parameters");
        let place: [f64; N] =
            std::array::from_fn(|i| (0..N).map(|j| L[i][j] * f64::from(z[j])).sum());
        for i in 0..N {
            assert!(
                (f64::from(theta[i]) - place[i]).abs() < 1e-5 * (1.0 + place[i].abs()),
                "{k}: {theta:?} {place:?}"
            );
        }
        let g = gradient(&place);
        let pulled: [f32; N] =
            std::array::from_fn(|j| (0..N).map(|i| L[i][j] * g[i]).sum::<f64>() as f32);
        own.step_with_gradient(&pulled, 0.0).expect("a step");
        let g = gradient(&theta.map(f64::from)).map(|g| g as f32);
        massive.step_with_gradient(&g, 0.0).expect("a step");
    }
    // Kinetic energy is the same in both: p_theta^T L L^T p_theta = p^T p.
    let (p, q) = (
        own.momenta().expect("momenta").expect("some"),
        massive.momenta().expect("momenta").expect("some"),
    );
    let back: [f64; N] = std::array::from_fn(|j| (0..N).map(|i| L[i][j] * f64::from(q[i])).sum());
    for i in 0..N {
        assert!((back[i] - f64::from(p[i])).abs() < 1e-3, "{p:?} {back:?}");
    }
    let late = massive
        .set_mass_factor(&L.concat())
        .expect_err("sampling has begun");
    assert!(late.to_string().contains("before sampling"), "{late}");
}

/// log theta - theta: nothing at 0 and below, where a step too far gives NaN; the first point must be sound.
#[test]
fn a_point_that_is_not_finite_is_too_far_but_at_the_start() {
    let c = ChainConfig {
        warmup_steps: 1000,
        sampling_steps: 20_000,
        ..config(Method::Baoa, MassShape::Dense)
    };
    let c = ChainConfig {
        temperature: 1.0,
        ..c
    };
    let cpu = Cpu::new(1).expect("a device");
    let start = |at: f32| {
        Session::with_gradients(&cpu, inference(c.clone()), 1.0, &[at]).expect("a session")
    };
    let density = |x: f64| (9.0 * x.ln() - x, (9.0 / x - 1.0) as f32);
    let (log_post, grad) = density(-1.0);
    let e = start(-1.0)
        .step_with_gradient(&[grad], log_post)
        .expect_err("no start");
    assert!(matches!(e, Error::NotFinite { .. }), "{e}");
    let mut s = start(1e-3);
    let (mut sum, mut count, mut refused) = (0.0, 0.0, 0);
    while s.phase() != Phase::Done {
        let mut x = [0.0];
        s.read_params(&mut x).expect("a parameter");
        let (log_post, grad) = density(x[0].into());
        refused += u32::from(log_post.is_nan());
        if s.step_with_gradient(&[grad], log_post)
            .expect("a step")
            .expect("a report")
            .sample_due
        {
            s.read_params(&mut x).expect("a parameter");
            sum += f64::from(x[0]);
            count += 1.0;
        }
    }
    // Gamma(10, 1): mean 10, deviation 3.2; some 4000 draws.
    assert!((sum / count - 10.0).abs() < 0.5, "{}", sum / count);
    assert!(refused < 60, "{refused}");
}

#[test]
fn a_warm_up_that_cannot_be_is_refused_with_what_to_do() {
    let usual = || config(Method::Baoa, MassShape::Dense);
    let adapt = |tolerance| {
        Some(Adaptation {
            mass: MassShape::Dense,
            tolerance,
        })
    };
    let noise_correction = NoiseCorrection::Diagonal;
    let cases = [
        (
            ChainConfig {
                adapt: adapt(1.0),
                ..usual()
            },
            "tolerance",
        ),
        (
            ChainConfig {
                adapt: adapt(f64::NAN),
                ..usual()
            },
            "tolerance",
        ),
        (
            ChainConfig {
                warmup_steps: 199,
                ..usual()
            },
            "warmup_steps",
        ),
        (
            ChainConfig {
                temperature: 0.0,
                ..usual()
            },
            "temperature",
        ),
        (
            ChainConfig {
                noise_correction,
                ..usual()
            },
            "noise_correction",
        ),
        (
            ChainConfig {
                adapt: adapt(0.1),
                warmup_steps: 500,
                ..ChainConfig::new(Method::Sglrw, 0.01)
            },
            "sglrw",
        ),
    ];
    let cpu = Cpu::new(1).expect("a device");
    for (c, word) in cases {
        let e = Session::with_gradients(&cpu, inference(c), 1.0, &[0.0; N])
            .err()
            .expect(word);
        assert!(e.to_string().contains(word), "{e}");
    }
    let many = vec![0.0; MassShape::MOST + 1];
    let e = Session::with_gradients(&cpu, inference(usual()), 1.0, &many)
        .err()
        .expect("too many");
    assert!(e.to_string().contains("1000"), "{e}");
    let mut s = session(usual());
    let e = s.set_mass(&[1.0; N]).expect_err("it adapts");
    assert!(e.to_string().contains("adapt"), "{e}");
    assert!(s.set_mass_factor(&[1.0; N * N]).is_err());
    assert!(s.set_gradient_noise(&[1.0; N]).is_err());
    let e = s.set_mass_factor(&[1.0; N]).expect_err("no square");
    assert!(matches!(e, Error::Shape { .. }), "{e}");
}

/// Every point but the start is out of the density: the warm-up gives up with what to look at, and does not go on for ever.
#[test]
fn a_warm_up_that_only_falls_back_is_an_error() {
    let c = ChainConfig {
        warmup_steps: 1000,
        ..config(Method::Baoa, MassShape::Diagonal)
    };
    let mut s = session(c);
    s.step_with_gradient(&[1.0; N], 0.0).expect("a start");
    let e = (0..999)
        .find_map(|_| s.step_with_gradient(&[1.0; N], f64::NAN).err())
        .expect("an end");
    assert!(e.to_string().contains("set back 100 times"), "{e}");
}

#[test]
fn settings_of_a_warm_up_that_adapts() {
    let given = |adapt| Given {
        adapt: Some(adapt),
        ..Given::default()
    };
    let own = |g: &Given| g.clone().defaulted(TargetKind::Own);
    let s = own(&given(Adapt::Dense));
    assert_eq!(
        (s.alpha, s.momentum, s.warmup_steps),
        (Some(1.0), None, 2000)
    );
    let mass = MassShape::Dense;
    let tolerance = 0.03;
    assert_eq!(
        s.adaptation().expect("one"),
        Some(Adaptation { mass, tolerance })
    );
    let s = own(&Given {
        sampler: Some(SamplerChoice::Chain(Method::Sghmc)),
        ..given(Adapt::Diagonal)
    });
    let (mass, tolerance) = (MassShape::Diagonal, 0.01);
    let Inference::Chain { sampler, .. } = s.on_gradients(3).expect("a chain") else {
        panic!("a chain was asked for");
    };
    assert_eq!(
        (sampler.adapt, sampler.alpha),
        (Some(Adaptation { mass, tolerance }), 1.0)
    );
    let s = own(&given(Adapt::None));
    assert_eq!(
        (s.adaptation().expect("none"), s.momentum.is_some()),
        (None, true)
    );
    let beside = |g: Given| own(&g).on_gradients(0).expect_err("a conflict").to_string();
    let momentum = Some(0.9);
    assert!(
        beside(Given {
            momentum,
            ..given(Adapt::Dense)
        })
        .contains("momentum")
    );
    let auto_step = Some(true);
    assert!(
        beside(Given {
            auto_step,
            ..given(Adapt::Dense)
        })
        .contains("auto_step")
    );
    let mut s = session(config(Method::Baoa, MassShape::Dense));
    let factors = bnn::samplers::Factors {
        step_size: 0.5,
        temperature: 1.0,
    };
    assert!(s.set_factors(Some(factors)).is_err());
}
