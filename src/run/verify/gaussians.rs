//! Recorded runs of the methods that fit independent normals, on a logistic regression (`gaussians.safetensors`).

use super::{Check, Reference, bad};
use crate::backend::{Backend, Transfer};
use crate::error::{Error, Result};
use crate::samplers::ekf::{Ekf, EkfConfig};
use crate::samplers::laplace::Laplace;
use crate::samplers::vi::{Vi, ViConfig};

/// A dozen steps in f32, each rounding at 6e-8; Adam's steps magnify the rounding of gradients near 0.
const TOLERANCE: f64 = 2e-5;

/// The model: y ~ Bernoulli(sigmoid(x theta)), rows drawn in recorded batches.
struct Logistic {
    x: Vec<f32>, // (n, d)
    y: Vec<f32>,
    n: usize,
    d: usize,
}

impl Logistic {
    /// Returns a row's log likelihood, and its residual: the gradient over x.
    fn row(&self, i: usize, theta: &[f32]) -> (f64, f64) {
        let x = &self.x[i * self.d..][..self.d];
        let z: f64 = x
            .iter()
            .zip(theta)
            .map(|(x, t)| *x as f64 * *t as f64)
            .sum();
        let y = self.y[i] as f64;
        (y * z - z.exp().ln_1p(), y - 1.0 / (1.0 + (-z).exp()))
    }

    /// Returns the sum over rows of f(gradient's coordinate, coordinate's index).
    fn sum(&self, rows: &[u16], theta: &[f32], f: impl Fn(f64, usize) -> f64) -> Vec<f32> {
        let mut sum = vec![0.0f64; self.d];
        for &i in rows {
            let (_, residual) = self.row(i as usize, theta);
            for (j, s) in sum.iter_mut().enumerate() {
                *s += f(residual * self.x[i as usize * self.d + j] as f64, j);
            }
        }
        sum.iter().map(|&s| s as f32).collect()
    }

    /// The gradient and the value of the log posterior under the prior N(0, 1), the rows standing for all.
    fn log_post(&self, rows: &[u16], theta: &[f32]) -> (Vec<f32>, f64) {
        let scale = self.n as f64 / rows.len() as f64;
        let lik: f64 = rows.iter().map(|&i| self.row(i as usize, theta).0).sum();
        let square: f64 = theta.iter().map(|&t| (t as f64).powi(2)).sum();
        let mut grad = self.sum(rows, theta, |g, _| scale * g);
        grad.iter_mut().zip(theta).for_each(|(g, t)| *g -= t);
        (grad, scale * lik - 0.5 * square)
    }
}

/// The recorded model with where methods begin and the rows of each step.
struct Runs<'a, B: Backend> {
    be: &'a B,
    r: &'a Reference<'a>,
    model: Logistic,
    theta0: Vec<f32>,
    rows: Vec<u16>,
    size: usize, // rows of a batch
}

/// Checks every method's path against the recorded one.
pub fn gaussians<B: Backend>(be: &B, r: &Reference<'_>) -> Result<Vec<Check>> {
    let runs = Runs::read(be, r)?;
    let mut checks = runs.ekf()?;
    checks.push(runs.laplace()?);
    for (name, stick_the_landing) in [("vi", false), ("vi_stl", true)] {
        checks.extend(runs.vi(name, stick_the_landing)?);
    }
    Ok(checks)
}

impl<'a, B: Backend> Runs<'a, B> {
    fn read(be: &'a B, r: &'a Reference<'a>) -> Result<Self> {
        let (shape, x) = r.f32("X")?;
        let (_, y) = r.f32("y")?;
        let (_, theta0) = r.f32("theta0")?;
        let (batch_shape, rows) = r.tokens("batches")?;
        let (&[n, d], &[_, size]) = (shape.as_slice(), batch_shape.as_slice()) else {
            let got = (shape, batch_shape);
            return Err(Error::shape("X and batches", "two matrices", got));
        };
        if y.len() != n || theta0.len() != d || d == 0 || size == 0 {
            let (got, expected) = ((y.len(), theta0.len(), size), (n, d.max(1), "at least 1"));
            return Err(Error::shape("y, theta0 and batches", expected, got));
        }
        if let Some(bad) = rows.iter().find(|&&i| i as usize >= n) {
            return Err(Error::out_of_range(
                "batches",
                format!("rows below {n}"),
                bad,
            ));
        }
        Ok(Self {
            be,
            r,
            model: Logistic { x, y, n, d },
            theta0,
            rows,
            size,
        })
    }

    fn batches(&self) -> impl Iterator<Item = &[u16]> {
        self.rows.chunks_exact(self.size)
    }

    fn setting(&self, method: &str, key: &str) -> Result<f64> {
        let values: serde_json::Value = self.r.json(method)?;
        let missing = || bad(self.r.path, format!("{method}: `{key}` is no number"));
        values[key].as_f64().ok_or_else(missing)
    }

    fn check(&self, name: &str, paths: &[(&str, &[f32])]) -> Result<Vec<Check>> {
        let check = |(what, got): &(&str, &[f32])| {
            let quantity = format!("{name}.{what}");
            self.r.check(&quantity, got, TOLERANCE)
        };
        paths.iter().map(check).collect()
    }

    fn ekf(&self) -> Result<Vec<Check>> {
        let (be, m) = (self.be, &self.model);
        let of = |key| self.setting("ekf", key);
        let config = EkfConfig {
            lr: of("lr")?,
            transition_sd: of("transition_sd")?,
        };
        let mut ekf = Ekf::new(be.clone(), &self.theta0, of("init_sds")? as f32, config)?;
        let (mut mean, mut sd) = (Vec::new(), Vec::new());
        let share = 1.0 / self.size as f64;
        for rows in self.batches() {
            let theta = be.get(ekf.mean())?;
            let grad = be.put(&m.sum(rows, &theta, |g, _| g))?;
            let squares = be.put(&m.sum(rows, &theta, |g, _| g * g))?;
            ekf.step(&grad, share, &squares, share)?;
            mean.extend(be.get(ekf.mean())?);
            sd.extend(be.get(ekf.sd())?);
        }
        self.check("ekf", &[("mean", &mean), ("sd", &sd)])
    }

    fn laplace(&self) -> Result<Check> {
        let (be, m, theta0) = (self.be, &self.model, &self.theta0);
        let start = self.setting("laplace_fisher", "init_prec_diag")?;
        let mut laplace = Laplace::new(be.clone(), theta0, start as f32)?;
        let mut precision = Vec::new();
        for rows in self.batches() {
            // Each row carries its share of the prior N(0, 1).
            let of_prior = |j: usize| theta0[j] as f64 / m.n as f64;
            let squares = m.sum(rows, theta0, |g, j| (g - of_prior(j)).powi(2));
            laplace.step(&be.put(&squares)?, 1.0)?;
            precision.extend(be.get(laplace.precision())?);
        }
        let quantity = "laplace_fisher.precision";
        self.r.check(quantity, &precision, TOLERANCE)
    }

    fn vi(&self, name: &str, stick_the_landing: bool) -> Result<Vec<Check>> {
        let (be, m) = (self.be, &self.model);
        let of = |key| self.setting("vi", key);
        let config = ViConfig {
            lr: of("lr")?,
            temperature: of("temperature")?,
            stick_the_landing,
            ..ViConfig::default()
        };
        let start = of("init_log_sds")? as f32;
        let mut vi = Vi::new(be.clone(), &self.theta0, start, config)?;
        let (_, noise) = self.r.f32(&format!("{name}.noise"))?;
        let (mut mean, mut log_sd, mut nelbo) = (Vec::new(), Vec::new(), Vec::new());
        for (rows, z) in self.batches().zip(noise.chunks_exact(m.d)) {
            let z = be.put(z)?;
            vi.set_noise(&z)?;
            let (grad, log_post) = m.log_post(rows, &be.get(vi.point())?);
            let report = vi.step_with_noise(&be.put(&grad)?, log_post, 1.0, &z)?;
            nelbo.extend(report.map(|r| r.nelbo as f32));
            mean.extend(be.get(vi.mean())?);
            log_sd.extend(be.get(vi.log_sd())?);
        }
        let paths: [(&str, &[f32]); 3] = [("mean", &mean), ("log_sd", &log_sd), ("nelbo", &nelbo)];
        self.check(name, &paths)
    }
}
