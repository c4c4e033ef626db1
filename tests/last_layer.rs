//! Laplace's approximation of a head: against dense algebra, by its draws, and through a GPT, stopped and resumed.

mod common;

use bnn::backend::{Cpu, Vectors};
use bnn::data::Batch;
use bnn::gpt::{Gelu, Gpt, Objective};
use bnn::posterior::{Posterior, Prior};
use bnn::rng::{Stream, StreamTag};
use bnn::samplers::last_layer::{HeadBatch, HeadHessian, LastLayer, LastLayerState};
use bnn::samplers::{
    CovarianceStructure, CurvatureKind, GaussianConfig, GaussianFit, GaussianMethod, GaussianState,
    Phase,
};
use common::model::{SHAPE, batch, config};
use common::{bits, every_cpu, normals, relative_error, tokens, wide};
use nalgebra::{DMatrix, DVector};

/// Parameters before the head.
const REST: usize = 3;
/// H is summed in f32 over up to 512 positions, then in f64.
const SUMS: f64 = 1e-5;

struct Given {
    inputs: Vec<f32>,
    logits: Vec<f32>,
    labels: Vec<u16>,
    t: usize,
    objective: Objective,
    scale: f64,
}

impl Given {
    fn new(v: usize, c: usize, sequences: usize, objective: Objective, what: u64) -> Self {
        let (t, rows) = (3, 3 * sequences);
        Self {
            inputs: normals(rows * c, what).iter().map(|x| x + 0.3).collect(),
            logits: normals(rows * v, what + 1)
                .iter()
                .map(|z| 1.5 * z)
                .collect(),
            labels: tokens(rows, v, what + 2),
            t,
            objective,
            scale: 0.5 + what as f64,
        }
    }

    fn head(&self) -> HeadBatch<'_> {
        HeadBatch {
            inputs: &self.inputs,
            logits: &self.logits,
            labels: &self.labels,
            t: self.t,
            objective: self.objective,
        }
    }

    /// Prediction, input and label of the positions that count.
    fn counted(&self, v: usize, c: usize) -> Vec<(DVector<f64>, DVector<f64>, usize)> {
        let rows = (0..self.labels.len())
            .filter(|n| self.objective == Objective::All || n % self.t == self.t - 1);
        let each = rows.map(|n| {
            let z = DVector::from_vec(wide(&self.logits[n * v..][..v])).map(f64::exp);
            let x = DVector::from_vec(wide(&self.inputs[n * c..][..c]));
            (&z / z.sum(), x, self.labels[n] as usize)
        });
        each.collect()
    }
}

/// Two batches, the second of last positions alone.
fn given(v: usize, c: usize) -> [Given; 2] {
    [
        Given::new(v, c, 11, Objective::All, 1),
        Given::new(v, c, 7, Objective::Last, 4),
    ]
}

fn output_hessian(p: &DVector<f64>) -> DMatrix<f64> {
    DMatrix::from_diagonal(p) - p * p.transpose()
}

/// H of weights row by row, (V C, V C), as its definition says.
fn dense(given: &[Given], [v, c]: [usize; 2]) -> DMatrix<f64> {
    let mut h = DMatrix::zeros(v * c, v * c);
    for g in given {
        for (p, x, _) in g.counted(v, c) {
            h += g.scale * output_hessian(&p).kronecker(&(&x * x.transpose()));
        }
    }
    h
}

/// Returns the Kronecker-factored Hessian: the factors apart.
fn factored(given: &[Given], [v, c]: [usize; 2]) -> DMatrix<f64> {
    let (mut outputs, mut inputs) = (DMatrix::zeros(v, v), DMatrix::zeros(c, c));
    for g in given {
        let all = g.counted(v, c);
        for (p, x, _) in &all {
            outputs += g.scale * output_hessian(p);
            inputs += x * x.transpose() / all.len() as f64 / given.len() as f64;
        }
    }
    outputs.kronecker(&inputs)
}

fn fit(cpu: &Cpu, curvature: HeadHessian, given: &[Given], shape: [usize; 2]) -> LastLayer<Cpu> {
    let state = LastLayerState {
        step: 0,
        mean: normals(REST + shape[0] * shape[1], 90),
        curvature,
    };
    let mut fit = LastLayer::restore(cpu, shape, &state).unwrap();
    for g in given {
        let got = fit.step(g.head(), g.scale).unwrap();
        let all = g.counted(shape[0], shape[1]);
        let sum: f64 = all.iter().map(|(p, _, y)| p[*y].ln()).sum();
        assert!((got - sum / all.len() as f64).abs() < 1e-6);
    }
    fit
}

/// Both kinds with their dense H.
fn both(cpu: &Cpu, given: &[Given], shape: [usize; 2]) -> [(LastLayer<Cpu>, DMatrix<f64>); 2] {
    let [v, c] = shape;
    [
        (HeadHessian::full(v, c).unwrap(), dense(given, shape)),
        (
            HeadHessian::kronecker(v, c).unwrap(),
            factored(given, shape),
        ),
    ]
    .map(|(curvature, h)| (fit(cpu, curvature, given, shape), h))
}

fn with_prior(h: &DMatrix<f64>, p: f64) -> DMatrix<f64> {
    h + p * DMatrix::identity(h.nrows(), h.nrows())
}

/// Deviations are those of the dense inverse, and the first draw is L^-T z; up to 437 weights: four blocks of the factor, the last one odd.
/// Seen to fail: the temperature not under its root (draws off by 0.45, |z|^2 by 0.70); in draws the eigenvectors of the outputs transposed
/// (|z|^2 by 0.10 to 3.0) or those of the inputs (0.36 to 1.06), in deviations (0.24 and 0.14); the inputs not divided by the steps
/// (deviations by 0.17).
#[test]
fn deviations_and_draws_are_those_of_the_dense_inverse() {
    let (p, t) = (0.7, 0.3);
    for shape in [[1, 3], [2, 1], [5, 7], [19, 23], [16, 16]] {
        let [v, c] = shape;
        let given = given(v, c);
        for (i, cpu) in every_cpu().into_iter().enumerate() {
            for (kind, (mut fit, h)) in both(&cpu, &given, shape).into_iter().enumerate() {
                let m = with_prior(&h, p);
                let inverse = m.clone().try_inverse().unwrap();
                let want: Vec<f64> = inverse.diagonal().iter().map(|d| (t * d).sqrt()).collect();
                let sd: Vec<f32> = fit.sd(p, t).unwrap().iter().map(|&s| s as f32).collect();
                let error = relative_error(&sd, &want);
                assert!(
                    error < SUMS,
                    "{shape:?}, {kind}: deviations off by {error:e}"
                );

                let mean = fit.state().unwrap().mean;
                let mut draw = cpu.zeros(mean.len()).unwrap();
                fit.draw(p, t, 9, 4, &mut draw).unwrap();
                assert_eq!(bits(&draw[..REST]), bits(&mean[..REST]));
                let delta = DVector::from_iterator(
                    v * c,
                    draw[REST..]
                        .iter()
                        .zip(&mean[REST..])
                        .map(|(d, m)| (*d - *m) as f64),
                );
                let mut z = vec![0.0; v * c];
                Stream::new(9, StreamTag::Posterior, 0).fill_normal(4, &mut z);
                let z = DVector::from_vec(wide(&z));
                if kind == 0 {
                    let l = m.cholesky().unwrap().unpack();
                    let whitened = l.transpose() * delta / t.sqrt();
                    let error = (whitened - &z).norm() / z.norm();
                    assert!(error < 1e-4, "{shape:?}: draw off by {error:e}");
                } else {
                    // Any root of the covariance gives |z|^2 back.
                    let got = delta.dot(&(m * &delta)) / t;
                    assert!((got / z.norm_squared() - 1.0).abs() < 1e-4, "{shape:?}");
                }
                if i == 0 && shape == [5, 7] {
                    covariance(&mut fit, &inverse, &mean, p, t);
                }
            }
        }
    }
}

/// Variances of draws along directions. 4000 draws: a variance is off by more than 5.4 sqrt(2 / 4000) = 12 % once in 1.5e7; three directions
/// of two kinds. Seen: off by 3.6 % at most; 69 to 71 % where the temperature was not under its root, 49 to 166 % with the outputs' eigenvectors
/// transposed, 10 to 25 % with the inputs not divided by the steps. The inputs' eigenvectors transposed pass here (4 %) and fail before.
fn covariance(fit: &mut LastLayer<Cpu>, inverse: &DMatrix<f64>, mean: &[f32], p: f64, t: f64) {
    let n = inverse.nrows();
    let directions: Vec<DVector<f64>> = (0..3)
        .map(|k| DVector::from_vec(wide(&normals(n, 300 + k))))
        .collect();
    let mut squares = [0.0; 3];
    let mut draw = mean.to_vec();
    for index in 0..4000 {
        fit.draw(p, t, 1, index, &mut draw).unwrap();
        let delta: Vec<f64> = draw[REST..]
            .iter()
            .zip(&mean[REST..])
            .map(|(d, m)| (*d - *m) as f64)
            .collect();
        let delta = DVector::from_vec(delta);
        for (s, a) in squares.iter_mut().zip(&directions) {
            *s += a.dot(&delta).powi(2) / 4000.0;
        }
    }
    for (got, a) in squares.iter().zip(&directions) {
        let want = t * a.dot(&(inverse * a));
        assert!((got / want - 1.0).abs() < 0.12, "{got} for {want}");
    }
}

/// What was worked out for one precision or before a batch is not taken for another precision or after it: seen to fail with the factor kept
/// whatever the precision, and with it kept over a batch.
#[test]
fn deviations_follow_the_precision_and_the_data() {
    let (cpu, shape) = (Cpu::new(2).unwrap(), [5, 7]);
    let given = given(5, 7);
    for (kind, (mut fit, _)) in both(&cpu, &given[..1], shape).into_iter().enumerate() {
        let dense = [dense, factored][kind];
        let mut seen = Vec::new();
        for data in [&given[..1], &given] {
            for p in [0.7, 20.0, 20.0, 0.7] {
                let inverse = with_prior(&dense(data, shape), p).try_inverse().unwrap();
                let want: Vec<f64> = inverse.diagonal().iter().map(|d| d.sqrt()).collect();
                let sd: Vec<f32> = fit.sd(p, 1.0).unwrap().iter().map(|&s| s as f32).collect();
                assert!(relative_error(&sd, &want) < SUMS);
                seen.push(bits(&sd));
            }
            fit.step(given[1].head(), given[1].scale).unwrap();
        }
        assert!(seen[0] == seen[3] && seen[1] == seen[2] && seen[0] != seen[4]);
    }
}

/// Of one position the Kronecker product is no approximation.
#[test]
fn one_position_has_a_kronecker_product() {
    let (cpu, shape) = (Cpu::new(1).unwrap(), [5, 4]);
    let one = [Given::new(5, 4, 1, Objective::Last, 7)];
    let [a, b] = both(&cpu, &one, shape).map(|(mut fit, _)| fit.sd(0.2, 1.0).unwrap());
    let a: Vec<f32> = a.iter().map(|&a| a as f32).collect();
    assert!(relative_error(&a, &b) < SUMS);
}

/// The fitted precision is where the dense evidence has its maximum, and the numbers with it are the dense ones.
#[test]
fn the_priors_precision_maximises_the_evidence() {
    let (cpu, shape) = (Cpu::new(2).unwrap(), [6, 5]);
    for (mut fit, h) in both(&cpu, &given(6, 5), shape) {
        let state = fit.state().unwrap();
        let square: f64 = wide(&state.mean[REST..]).iter().map(|m| m * m).sum();
        let d = h.nrows() as f64;
        let evidence = |p: f64| {
            let log_det: f64 = with_prior(&h, p).symmetric_eigenvalues().map(f64::ln).sum();
            0.5 * (d * p.ln() - p * square - log_det)
        };
        for start in [1e-3, 1.0, 1e4] {
            let got = fit.fit_prior(start).unwrap();
            let p = got.precision;
            assert!(evidence(p) > evidence(p * 1.01) && evidence(p) > evidence(p / 1.01));
            assert!((got.log_evidence - evidence(p)).abs() < 1e-3);
            assert!((got.effective_parameters - p * square).abs() < 1e-4 * d);
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cpu = Cpu::new(1).unwrap();
    let state = |n: usize, curvature| LastLayerState {
        step: 0,
        mean: normals(n, 1),
        curvature,
    };
    let refused = |shape, s: &LastLayerState, what: &str| {
        let e = LastLayer::restore(&cpu, shape, s)
            .err()
            .expect(what)
            .to_string();
        assert!(e.contains(what), "{e}");
    };
    refused([4, 3], &state(11, HeadHessian::full(4, 3).unwrap()), "12");
    refused(
        [4, 3],
        &state(12, HeadHessian::full(4, 2).unwrap()),
        "pairs",
    );
    refused(
        [4, 3],
        &state(12, HeadHessian::kronecker(3, 3).unwrap()),
        "outputs",
    );
    refused(
        [4, 3],
        &state(12, HeadHessian::kronecker(4, 4).unwrap()),
        "inputs",
    );
    let most = state(25_601, HeadHessian::Full(Vec::new()));
    refused([1, 25_601], &most, "last_layer_kfac");
    let mut bad = state(12, HeadHessian::kronecker(4, 3).unwrap());
    bad.mean[5] = f32::NAN;
    refused([4, 3], &bad, "mean[5]");
    let mut bad = state(12, HeadHessian::full(4, 3).unwrap());
    if let HeadHessian::Full(pairs) = &mut bad.curvature {
        pairs[7] = f64::INFINITY;
    }
    refused([4, 3], &bad, "pairs[7]");

    let mut fit =
        LastLayer::restore(&cpu, [4, 3], &state(12, HeadHessian::full(4, 3).unwrap())).unwrap();
    assert!(fit.fit_prior(1.0).is_err(), "no data");
    let before = fit.state().unwrap();
    let mut g = Given::new(4, 3, 2, Objective::All, 3);
    let short = HeadBatch {
        inputs: &g.inputs[1..],
        ..g.head()
    };
    assert!(fit.step(short, 1.0).is_err());
    g.logits[9] = f32::NAN;
    let e = fit.step(g.head(), 1.0).unwrap_err().to_string();
    assert!(e.contains("logits[9]"), "{e}");
    // Labels, whether they count or not; no whole sequence.
    let g = Given::new(4, 3, 2, Objective::All, 3);
    let mut wrong = g.labels.clone();
    wrong[4] = 4;
    for objective in [Objective::All, Objective::Last] {
        let good = HeadBatch {
            objective,
            ..g.head()
        };
        let labels = &wrong;
        let none = HeadBatch {
            inputs: &[],
            logits: &[],
            labels: &[],
            ..good
        };
        for (batch, part) in [
            (
                HeadBatch { labels, ..good },
                "y[1, 1]: expected a token below vocab_size = 4, got 4",
            ),
            (HeadBatch { t: 0, ..good }, "6 positions in sequences of 0"),
            (HeadBatch { t: 4, ..good }, "6 positions in sequences of 4"),
            (HeadBatch { t: 7, ..good }, "6 positions in sequences of 7"),
            (none, "0 positions in sequences of 3"),
        ] {
            let e = fit.step(batch, 1.0).unwrap_err().to_string();
            assert!(e.contains(part), "{e}");
        }
    }
    assert_eq!(fit.state().unwrap(), before);
    for p in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(fit.sd(p, 1.0).is_err() && fit.fit_prior(p).is_err());
    }
    // With nothing seen it is the prior.
    assert!(
        fit.sd(4.0, 0.25)
            .unwrap()
            .iter()
            .all(|s| (s - 0.25).abs() < 1e-12)
    );
}

// ---------------------------------------------------------------- through a GPT

fn posterior(cpu: &Cpu, gpt: &Gpt, objective: Objective) -> Posterior<Cpu> {
    let prior = Prior::isotropic(0.5);
    Posterior::new(cpu, gpt, &prior, 600.0, objective, 3, 6)
        .unwrap()
        .with_likelihood_weight(1.5)
        .unwrap()
}

fn settings(structure: CovarianceStructure) -> GaussianConfig {
    GaussianConfig {
        laplace_structure: structure,
        prior_std: 0.5,
        temperature: 0.2,
        seed: 6,
        ..GaussianConfig::new(GaussianMethod::Laplace, 4)
    }
}

fn batches() -> Vec<Batch> {
    let of = |i: u64| {
        let (x, y) = batch(3, 6, 40 + i);
        Batch { x, y, b: 3, t: 6 }
    };
    (0..4).map(of).collect()
}

/// Which temperature is usual, which fits are a head's, and that a head takes no labels but the data's: only laplace reads any of it.
#[test]
fn the_settings_of_a_head_are_laplaces_alone() {
    use CovarianceStructure::{Diagonal, LastLayerFull, LastLayerKfac};
    use GaussianMethod::{Ekf, Laplace, Vi};
    for structure in [Diagonal, LastLayerFull, LastLayerKfac] {
        for method in [Ekf, Vi, Laplace] {
            let of_head = method == Laplace && structure != Diagonal;
            let usual = GaussianConfig::default_temperature(method, structure);
            assert_eq!(usual == 3e-3, method == Laplace && structure == Diagonal);
            assert!(usual == 3e-3 || usual == 0.1);
            for labels in [
                CurvatureKind::EmpiricalFisher,
                CurvatureKind::Fisher,
                CurvatureKind::Ggn,
            ] {
                let config = GaussianConfig {
                    laplace_structure: structure,
                    laplace_labels: labels,
                    ..GaussianConfig::new(method, 4)
                };
                assert_eq!(config.fits_head(), of_head);
                let refused = config.validate().err().map(|e| e.to_string());
                if of_head && labels != CurvatureKind::EmpiricalFisher {
                    assert!(refused.unwrap().starts_with("laplace_labels"))
                } else {
                    assert_eq!(refused, None)
                }
            }
        }
        assert_eq!(GaussianConfig::new(Laplace, 1).temperature, 3e-3);
        assert_eq!(GaussianConfig::new(Vi, 1).temperature, 0.1);
    }
}

/// Over a GPT the data count as often as the posterior says, every other parameter stays, and a broken fit goes on bit for bit on any number
/// of threads; a tied model is refused.
#[test]
fn a_gpts_head() {
    for objective in [Objective::All, Objective::Last] {
        for structure in [
            CovarianceStructure::LastLayerFull,
            CovarianceStructure::LastLayerKfac,
        ] {
            let mut seen: Vec<(GaussianState, Vec<u32>)> = Vec::new();
            for cpu in [Cpu::new(1).unwrap(), Cpu::new(2).unwrap()] {
                let tied = Gpt::new(config(SHAPE, true, Gelu::Exact)).unwrap();
                let (gpt, c) = (tied.untied(), settings(structure));
                let start = common::model::Model::random(&cpu, tied.config(), 1, 1, 5).flat;
                let refused =
                    GaussianFit::new(&cpu, posterior(&cpu, &tied, objective), &start, c.clone());
                assert!(refused.err().expect("tied").to_string().contains("untied"));
                let start = tied.untie(&start).unwrap();
                let mut fit =
                    GaussianFit::new(&cpu, posterior(&cpu, &gpt, objective), &start, c.clone())
                        .unwrap();
                let mut given = Vec::new();
                for (i, b) in batches().iter().enumerate() {
                    let (inputs, logits) = posterior(&cpu, &gpt, objective)
                        .head_inputs(&start, b)
                        .unwrap();
                    let positions = if objective == Objective::All {
                        6.0
                    } else {
                        1.0
                    };
                    given.push(Given {
                        inputs,
                        logits,
                        labels: b.y.clone(),
                        t: 6,
                        objective,
                        // 900 weighted data, over four steps of three sequences
                        scale: 900.0 / positions / 4.0 / 3.0,
                    });
                    let mut wrong = b.clone();
                    wrong.y[7] = SHAPE[0] as u16;
                    let e = fit.step(&wrong).unwrap_err().to_string();
                    assert!(e.starts_with("y[1, 1]"), "{e}");
                    let r = fit.step(b).unwrap();
                    assert_eq!(r.step, i as u64);
                    let want = posterior(&cpu, &gpt, objective).log_lik(&start, b).unwrap();
                    assert!((r.log_lik - want).abs() < 1e-5);
                    if i == 1 {
                        let state = fit.state().unwrap();
                        let p = posterior(&cpu, &gpt, objective);
                        fit = GaussianFit::restore(&cpu, p, c.clone(), &state).unwrap();
                    }
                }
                assert_eq!(fit.phase(), Phase::Done);
                assert!(fit.step(&batches()[0]).is_err());
                let shape = [SHAPE[0], SHAPE[4]];
                let h = match structure {
                    CovarianceStructure::LastLayerFull => dense(&given, shape),
                    _ => factored(&given, shape),
                };
                let inverse = with_prior(&h, 4.0).try_inverse().unwrap();
                let sd = fit.sd().unwrap();
                let head = gpt.layout().tensor("lm_head.weight").unwrap().range.clone();
                assert!(sd[..head.start].iter().all(|&s| s == 0.0));
                let want: Vec<f64> = inverse
                    .diagonal()
                    .iter()
                    .map(|d| (0.2 * d).sqrt())
                    .collect();
                assert!(relative_error(&sd[head.clone()], &want) < SUMS);
                let mean = want.iter().sum::<f64>() / want.len() as f64;
                assert!((fit.average_sd().unwrap() / mean - 1.0).abs() < SUMS);
                assert_eq!(fit.parameters(), head.len());
                let mut draw = cpu.zeros(start.len()).unwrap();
                fit.draw(3, &mut draw).unwrap();
                assert_eq!(bits(&draw[..head.start]), bits(&start[..head.start]));
                assert!(
                    draw[head]
                        .iter()
                        .zip(&start[start.len() - want.len()..])
                        .all(|(a, b)| a != b)
                );
                seen.push((fit.state().unwrap(), bits(&draw)));
            }
            assert!(seen[0] == seen[1], "threads");
        }
    }
}
