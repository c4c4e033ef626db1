//! Conjugate Bayesian linear regression from batches to the averaged prediction: sampler, store, and the store read again,
//! against the closed form.
//!
//! y = x' w + N(0, s^2), w ~ N(0, 1 / prior). A batch is drawn with replacement, and its gradient, num_data times the mean
//! log-likelihood's plus the prior's, is linear in w; so mean and covariance of the chain are exact solutions of linear equations,
//! with the noise of the batches and the discretisation in them, and no bias has to be allowed for.

mod common;

use bnn::backend::Cpu;
use bnn::rng::{Stream, StreamTag};
use bnn::samplers::{ChainConfig, Method, Sampler, StepReport};
use bnn::store::{Dtype, Provenance, Store};
use common::discretised::{
    Rows, Target, add, diagonal, dot, forgetting, multiply, sandwich, settled, solve, stationary,
    transpose,
};
use common::normals;
use common::replicas::{Estimate, repeat, run};

const DIM: usize = 3;
const DATA: usize = 40;
const BATCH: u64 = 10;
/// Variance of y about x' w, and the prior's precision.
const NOISE: f64 = 0.5;
const PRIOR: f64 = 1.5;

/// Chains in one parameter vector, each with batches of its own.
const REPLICAS: usize = 512;
const SAMPLES: u64 = 150;

/// Two sides of a normal law beyond this: 2e-9. The file makes about 200 comparisons: 4e-7.
const Z: f64 = 6.0;

struct Data {
    x: Rows, // (DATA, DIM)
    y: Vec<f64>,
}

impl Data {
    fn new() -> Self {
        let z: Vec<f64> = normals(DATA * DIM, 1).iter().map(|&z| z as f64).collect();
        // Columns of several sizes that are correlated.
        let row = |z: &[f64]| vec![z[0], 0.6 * z[0] + 0.5 * z[1], 0.4 * z[2] + 0.3];
        let x: Rows = z.chunks(DIM).map(row).collect();
        let noise = normals(DATA, 2);
        let truth = [0.8, -1.1, 0.5];
        let y = x
            .iter()
            .zip(&noise)
            .map(|(x, &e)| dot(x, &truth) + NOISE.sqrt() * e as f64);
        let y = y.collect();
        Self { x, y }
    }

    /// The posterior's precision and mean.
    fn posterior(&self) -> (Rows, Vec<f64>) {
        let square = multiply(&transpose(&self.x), &self.x);
        let scaled: Rows = square
            .iter()
            .map(|r| r.iter().map(|x| x / NOISE).collect())
            .collect();
        let precision = add(&scaled, &diagonal(&[PRIOR; DIM]));
        let right = transpose(&self.x)
            .iter()
            .map(|c| dot(c, &self.y) / NOISE)
            .collect::<Vec<_>>();
        let mean = solve(&precision, &right);
        (precision, mean)
    }

    /// The covariance of a batch's gradient, given the mean and covariance of w: that of one datum's, x (y - x' w) / s^2 times
    /// num_data, over the size of the batch.
    fn batch_noise(&self, mean: &[f64], covariance: &Rows) -> Rows {
        let (precision, _) = self.posterior();
        let likelihood = add(&precision, &diagonal(&[-PRIOR; DIM]));
        // E g g' of the whole gradient's likelihood part, which has the mean `PRIOR * mean` at the posterior's.
        let pull: Vec<f64> = mean.iter().map(|w| PRIOR * w).collect();
        let whole = sandwich(&likelihood, covariance);
        let mut out = vec![vec![0.0; DIM]; DIM];
        for (x, y) in self.x.iter().zip(&self.y) {
            let spread = dot(
                x,
                &covariance.iter().map(|row| dot(row, x)).collect::<Vec<_>>(),
            );
            let square = (y - dot(x, mean)).powi(2) + spread;
            let scale = DATA as f64 * square / (NOISE * NOISE);
            for i in 0..DIM {
                for j in 0..DIM {
                    out[i][j] += scale * x[i] * x[j];
                }
            }
        }
        for i in 0..DIM {
            for j in 0..DIM {
                out[i][j] = (out[i][j] - whole[i][j] - pull[i] * pull[j]) / BATCH as f64;
            }
        }
        out
    }

    /// The method's settings in equilibrium, and the covariance of w there: batch noise and covariance give each other.
    fn equilibrium(&self, c: &ChainConfig, mass: &[f64]) -> (ChainConfig, Target, Rows) {
        let (precision, mean) = self.posterior();
        let mut on = Target {
            precision,
            mass: mass.to_vec(),
            gradient_noise: diagonal(&[0.0; DIM]),
        };
        let mut c = c.clone();
        let mut covariance = diagonal(&[0.0; DIM]);
        for round in 0.. {
            c = settled(&c, &on);
            let s: Rows = stationary(&c, &on)[..DIM]
                .iter()
                .map(|row| row[..DIM].to_vec())
                .collect();
            let change = s.iter().flatten().zip(covariance.iter().flatten());
            let change = change.fold(0.0, |top: f64, (a, b)| top.max((a - b).abs()));
            on.gradient_noise = self.batch_noise(&mean, &s);
            covariance = s;
            if change < 1e-12 {
                break;
            }
            assert!(round < 200, "{c:?}");
        }
        (c, on, covariance)
    }
}

/// The density of N(mean, variance).
fn density(y: f64, mean: f64, variance: f64) -> f64 {
    (-0.5 * (y - mean).powi(2) / variance).exp() / (2.0 * std::f64::consts::PI * variance).sqrt()
}

/// Runs the chains and stores the parameters, w_i of replica r at i * REPLICAS + r; gives what is read again.
fn sample(data: &Data, c: &ChainConfig, on: &Target) -> Vec<Vec<f32>> {
    let folder = tempfile::tempdir().unwrap();
    let provenance = Provenance {
        config: "regression".into(),
        model: "{}".into(),
        seed: c.seed,
        corpus_sha256: [0; 32],
        baseline_sha256: [0; 32],
        vocabulary: String::new(),
        dtype: Dtype::F32,
        n_params: (DIM * REPLICAS) as u64,
    };
    let mut store = Store::create(folder.path().join("samples"), provenance).unwrap();
    // Two runs of one seed, as two chains.
    for chain in 0..2 {
        let mut c = c.clone();
        c.chain = chain;
        let batches = Stream::new(9, StreamTag::Batch, chain);
        let x: Vec<Vec<f32>> = data
            .x
            .iter()
            .map(|x| x.iter().map(|&x| x as f32).collect())
            .collect();
        let gradient = |sampler: &Sampler<Cpu>, grad: &mut Vec<f32>| {
            let w = sampler.params();
            for r in 0..REPLICAS {
                let mut sum = [0.0f32; DIM];
                for b in 0..BATCH {
                    let k =
                        batches.below(DATA as u64, sampler.step(), r as u64 * BATCH + b) as usize;
                    let fit: f32 = (0..DIM).map(|i| x[k][i] * w[i * REPLICAS + r]).sum();
                    let residue = (data.y[k] as f32 - fit) / NOISE as f32;
                    sum.iter_mut()
                        .zip(&x[k])
                        .for_each(|(s, x)| *s += x * residue);
                }
                for (i, sum) in sum.into_iter().enumerate() {
                    let at = i * REPLICAS + r;
                    grad[at] = DATA as f32 * sum / BATCH as f32 - PRIOR as f32 * w[at];
                }
            }
        };
        let observe = |sampler: &Sampler<Cpu>, report: &StepReport| {
            if report.sample_due {
                store
                    .append(chain, report.step + 1, sampler.params())
                    .unwrap();
            }
        };
        let (start, mass) = (vec![0.0; DIM * REPLICAS], repeat(&on.mass, REPLICAS));
        run(&c, &start, &mass, gradient, observe);
    }
    drop(store);
    let store = Store::open(folder.path().join("samples")).unwrap();
    assert_eq!(store.len() as u64, 2 * SAMPLES);
    let load = |i: usize| {
        let mut w = vec![0.0; DIM * REPLICAS];
        store.load(i, &mut w).unwrap();
        w
    };
    (0..store.len()).map(load).collect()
}

/// An average over the samples of each chain, and its error by the chains' spread.
fn average(samples: &[Vec<f32>], f: impl Fn(&[f64; DIM]) -> f64) -> Estimate {
    let mut means = Vec::new();
    for half in samples.chunks(samples.len() / 2) {
        for r in 0..REPLICAS {
            let values = half
                .iter()
                .map(|w| f(&std::array::from_fn(|i| w[i * REPLICAS + r] as f64)));
            means.push(values.sum::<f64>() / half.len() as f64);
        }
    }
    Estimate::of(&means)
}

fn config(method: Method, heavy: bool) -> ChainConfig {
    // Curvatures of the posterior are up to 150; over the mass, the diagonal of the precision, up to 2.
    let scale = |light: f64, with_mass: f64| if heavy { with_mass } else { light };
    let mut c = match method {
        Method::Sgld => ChainConfig::new(method, scale(0.004, 0.25)),
        Method::Baoa => ChainConfig::new(method, scale(0.08, 0.6)),
        _ => ChainConfig::new(method, scale(0.05, 0.4)),
    };
    if method.has_momenta() {
        c.alpha = scale(12.0, 1.4);
    }
    if method.has_thermostat() {
        // The batches' noise is not known to the thermostat and comes on top.
        (c.step_size, c.alpha) = (scale(0.03, 0.25), scale(3.0, 0.5));
    }
    c.thinning = 10;
    c.sampling_steps = SAMPLES * c.thinning;
    c
}

/// The largest deviation from mean, covariance and the averaged prediction, in standard errors, and the prediction's density.
fn worst(samples: &[Vec<f32>], mean: &[f64], covariance: &Rows) -> f64 {
    let mut worst = 0f64;
    for i in 0..DIM {
        worst = worst.max(average(samples, |w| w[i]).off(mean[i]));
        for j in 0..=i {
            let product = average(samples, |w| (w[i] - mean[i]) * (w[j] - mean[j]));
            worst = worst.max(product.off(covariance[i][j]));
        }
    }
    for x in [[1.0, 0.2, 0.5], [-0.5, 1.0, 0.3], [2.0, 2.0, -1.0]] {
        let fit = dot(&x, mean);
        let spread = sandwich(&vec![x.to_vec()], covariance)[0][0];
        worst = worst.max(average(samples, |w| dot(w, &x)).off(fit));
        let second = average(samples, |w| NOISE + (dot(w, &x) - fit).powi(2));
        worst = worst.max(second.off(NOISE + spread));
        // The law of w is normal but for what the batches do; the excess of its fourth moment moves the density by 1/24 of it
        // times the share spread / (NOISE + spread) squared times at most 3.
        let fourth = average(samples, |w| (dot(w, &x) - fit).powi(4));
        let excess = (fourth.mean / (3.0 * spread * spread) - 1.0) * 3.0;
        let share = spread / (NOISE + spread);
        for away in [0.0, 1.0, -1.7] {
            let y = fit + away * NOISE.sqrt();
            let got = average(samples, |w| density(y, dot(w, &x), NOISE));
            let want = density(y, fit, NOISE + spread);
            let bias = excess.abs() / 8.0 * share * share * density(0.0, 0.0, NOISE + spread);
            worst = worst.max(((got.mean - want).abs() - bias).max(0.0) / got.error);
        }
    }
    worst
}

fn check(method: Method) {
    let data = Data::new();
    let (precision, mean) = data.posterior();
    for heavy in [false, true] {
        let mass: Vec<f64> = (0..DIM)
            .map(|i| if heavy { precision[i][i] } else { 1.0 })
            .collect();
        let (mut c, on, covariance) = data.equilibrium(&config(method, heavy), &mass);
        c.warmup_steps = 2 * forgetting(&c, &on);
        let samples = sample(&data, &c, &on);
        let off = worst(&samples, &mean, &covariance);
        assert!(off < Z, "{c:?}: {off} standard errors");
        // Batches and discretisation count: the closed form without them is refused, and so are a prior of another width
        // and num_data off by 10 %.
        let root: Rows = (0..DIM)
            .map(|i| solve(&precision, &diagonal(&[1.0; DIM])[i]))
            .collect();
        let off = worst(&samples, &mean, &root);
        assert!(off > 1.2 * Z, "{c:?}: the plain posterior passes at {off}");
        let scaled: Rows = covariance
            .iter()
            .map(|r| r.iter().map(|x| x / 1.1).collect())
            .collect();
        assert!(worst(&samples, &mean, &scaled) > 1.2 * Z);
        let other = solve(&add(&precision, &diagonal(&[0.2 * PRIOR; DIM])), &{
            let back = precision.iter().map(|row| dot(row, &mean));
            back.collect::<Vec<f64>>()
        });
        assert!(worst(&samples, &other, &covariance) > 1.2 * Z);
    }
}

#[test]
fn regression_sgld() {
    check(Method::Sgld);
}

#[test]
fn regression_sghmc() {
    check(Method::Sghmc);
}

#[test]
fn regression_baoa() {
    check(Method::Baoa);
}

#[test]
fn regression_sgnht() {
    check(Method::Sgnht);
}
