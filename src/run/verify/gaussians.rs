//! Recorded runs of the methods that fit independent normals, on a logistic regression (`gaussians.safetensors`).

use super::{Check, Reference};
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
}

/// Checks every method's path against the recorded one.
pub fn gaussians<B: Backend>(be: &B, r: &Reference<'_>) -> Result<Vec<Check>> {
    let (shape, x) = r.f32("X")?;
    let (_, y) = r.f32("y")?;
    let (_, theta0) = r.f32("theta0")?;
    let (batch_shape, rows) = r.tokens("batches")?;
    let (&[n, d], &[_, size]) = (shape.as_slice(), batch_shape.as_slice()) else {
        return Err(Error::shape(
            "X and batches",
            "two matrices",
            (shape, batch_shape),
        ));
    };
    if y.len() != n || theta0.len() != d || size == 0 {
        let got = (y.len(), theta0.len(), size);
        return Err(Error::shape(
            "y, theta0 and batches",
            (n, d, "at least 1"),
            got,
        ));
    }
    if let Some(bad) = rows.iter().find(|&&i| i as usize >= n) {
        return Err(Error::out_of_range(
            "batches",
            format!("rows below {n}"),
            bad,
        ));
    }
    let m = Logistic { x, y, n, d };
    let batches: Vec<&[u16]> = rows.chunks_exact(size).collect();
    let setting = |method: &str, key: &str| -> Result<f64> {
        let values: serde_json::Value = r.json(method)?;
        let missing = || {
            let message = format!("{method}: `{key}` is no number");
            Error::data(r.path.display().to_string(), message)
        };
        values[key].as_f64().ok_or_else(missing)
    };
    let up = |v: &[f32]| -> Result<B::Vector> {
        let mut buf = be.zeros(v.len())?;
        be.upload(&mut buf, v)?;
        Ok(buf)
    };
    let down = |buf: &B::Vector| -> Result<Vec<f32>> {
        let mut v = vec![0.0; d];
        be.download(buf, &mut v)?;
        Ok(v)
    };
    let mut checks = Vec::new();
    let mut compare = |quantity: &str, got: &[f32]| -> Result<()> {
        let (_, want) = r.f32(quantity)?;
        checks.push(r.check(quantity, got, &want, TOLERANCE));
        Ok(())
    };

    let of = |key| setting("ekf", key);
    let config = EkfConfig {
        lr: of("lr")?,
        transition_sd: of("transition_sd")?,
    };
    let mut ekf = Ekf::new(be.clone(), &theta0, of("init_sds")? as f32, config)?;
    let (mut mean, mut sd) = (Vec::new(), Vec::new());
    let share = 1.0 / size as f64;
    for rows in &batches {
        let theta = down(ekf.mean())?;
        let grad = up(&m.sum(rows, &theta, |g, _| g))?;
        let squares = up(&m.sum(rows, &theta, |g, _| g * g))?;
        ekf.step(&grad, share, &squares, share)?;
        mean.extend(down(ekf.mean())?);
        sd.extend(down(ekf.sd())?);
    }
    compare("ekf.mean", &mean)?;
    compare("ekf.sd", &sd)?;

    let start = setting("laplace_fisher", "init_prec_diag")?;
    let mut laplace = Laplace::new(be.clone(), &theta0, start as f32)?;
    let mut precision = Vec::new();
    for rows in &batches {
        // Each row carries its share of the prior N(0, 1).
        let of_prior = |j: usize| theta0[j] as f64 / m.n as f64;
        let squares = m.sum(rows, &theta0, |g, j| (g - of_prior(j)).powi(2));
        laplace.step(&up(&squares)?, 1.0)?;
        precision.extend(down(laplace.precision())?);
    }
    compare("laplace_fisher.precision", &precision)?;

    let of = |key| setting("vi", key);
    for (name, stick_the_landing) in [("vi", false), ("vi_stl", true)] {
        let config = ViConfig {
            lr: of("lr")?,
            temperature: of("temperature")?,
            stick_the_landing,
            ..ViConfig::default()
        };
        let mut vi = Vi::new(be.clone(), &theta0, of("init_log_sds")? as f32, config)?;
        let (_, noise) = r.f32(&format!("{name}.noise"))?;
        let (mut mean, mut log_sd, mut nelbo) = (Vec::new(), Vec::new(), Vec::new());
        for (rows, z) in batches.iter().zip(noise.chunks_exact(d)) {
            let z = up(z)?;
            vi.set_noise(&z)?;
            let theta = down(vi.point())?;
            let scale = m.n as f64 / size as f64;
            let lik: f64 = rows.iter().map(|&i| m.row(i as usize, &theta).0).sum();
            let square: f64 = theta.iter().map(|&t| (t as f64).powi(2)).sum();
            let mut grad = m.sum(rows, &theta, |g, _| scale * g);
            grad.iter_mut().zip(&theta).for_each(|(g, t)| *g -= t);
            let log_post = scale * lik - 0.5 * square;
            let report = vi.step_with_noise(&up(&grad)?, log_post, 1.0, &z)?;
            nelbo.extend(report.map(|r| r.nelbo as f32));
            mean.extend(down(vi.mean())?);
            log_sd.extend(down(vi.log_sd())?);
        }
        compare(&format!("{name}.mean"), &mean)?;
        compare(&format!("{name}.log_sd"), &log_sd)?;
        compare(&format!("{name}.nelbo"), &nelbo)?;
    }
    Ok(checks)
}
