//! Recorded trajectories of chains on a quadratic log posterior, noise included (`samplers.safetensors`).

use super::{Check, Reference, bad};
use crate::backend::{Backend, Transfer};
use crate::error::{Error, Result};
use crate::samplers::{ChainConfig, Method, Sampler, SamplerState, Thermostat};
use serde_json::{Map, Value};

/// Steps whose errors add up in a trajectory: each rounds a few times at 6e-8.
const TOLERANCE: f64 = 1e-5;

/// The log posterior -(theta - b)^T A (theta - b) / 2, and where chains begin.
struct Target {
    a: Vec<f32>, // (d, d)
    b: Vec<f32>,
    theta0: Vec<f32>,
}

impl Target {
    fn read(r: &Reference<'_>) -> Result<Self> {
        let (shape, a) = r.f32("A")?;
        let (_, b) = r.f32("b")?;
        let (_, theta0) = r.f32("theta0")?;
        let d = theta0.len();
        if d == 0 || shape != [d, d] || b.len() != d {
            return Err(Error::shape("A and b", ([d, d], [d]), (shape, [b.len()])));
        }
        Ok(Self { a, b, theta0 })
    }

    /// The log posterior's gradient and value.
    fn at(&self, theta: &[f32]) -> (Vec<f32>, f64) {
        let e: Vec<f64> = (theta.iter().zip(&self.b))
            .map(|(t, b)| (t - b) as f64)
            .collect();
        let along = |row: &[f32]| row.iter().zip(&e).map(|(a, e)| *a as f64 * e).sum::<f64>();
        let grad: Vec<f32> = (self.a.chunks_exact(e.len()))
            .map(|row| -along(row) as f32)
            .collect();
        let log_post = 0.5 * along(&grad);
        (grad, log_post)
    }
}

/// What a chain went through, step after step.
#[derive(Default)]
struct Path {
    theta: Vec<f32>,
    momenta: Vec<f32>,
    log_post: Vec<f32>,
    xi: Vec<f32>,
}

pub(super) fn samplers<B: Backend>(be: &B, r: &Reference<'_>) -> Result<Vec<Check>> {
    let settings: Map<String, Value> = r.json("hyperparameters")?;
    let target = Target::read(r)?;
    let mut checks = Vec::new();
    for (name, values) in &settings {
        // A method of another program is no check of this library.
        let method = match name.as_str() {
            "sgld" => Method::Sgld,
            "baoa" => Method::Baoa,
            // posteriors' SGHMC is the explicit Euler form
            "sghmc" => Method::SghmcEuler,
            "sgnht" => Method::SgnhtEuler,
            "sglrw" => Method::Sglrw,
            _ => continue,
        };
        let (_, noise) = r.f32(&format!("{name}.noise"))?;
        let mut config = config(method, name, values, r)?;
        let steps = noise.len() / target.theta0.len();
        (config.warmup_steps, config.sampling_steps, config.thinning) = (0, steps as u64, 1);
        let momenta = match method.has_momenta() {
            true => Some(r.f32("momenta0")?.1),
            false => None,
        };
        let state = start(&config, &target, momenta);
        let mut sampler = Sampler::restore(be.clone(), config, &state)?;
        let path = walk(be, &mut sampler, &target, &noise)?;
        for (what, got, there) in [
            ("theta", &path.theta, true),
            ("log_posterior", &path.log_post, true),
            ("momenta", &path.momenta, method.has_momenta()),
            ("xi", &path.xi, method.has_thermostat()),
        ] {
            if there {
                checks.push(r.check(&format!("{name}.{what}"), got, TOLERANCE)?);
            }
        }
    }
    Ok(checks)
}

/// A method's settings as recorded.
fn config(method: Method, name: &str, values: &Value, r: &Reference<'_>) -> Result<ChainConfig> {
    let number = |key: &str, default: f64| {
        let value = values.get(key).map_or(Some(default), Value::as_f64);
        let message = || format!("hyperparameters of {name}: `{key}` is no number");
        value.ok_or_else(|| bad(r.path, message()))
    };
    let mut c = ChainConfig::new(method, number("lr", f64::NAN)?);
    c.alpha = number("alpha", c.alpha)?;
    c.beta = number("beta", c.beta)?;
    c.sigma = number("sigma", c.sigma)?;
    c.temperature = number("temperature", c.temperature)?;
    Ok(c)
}

/// The state that the recorded chain began in.
fn start(c: &ChainConfig, target: &Target, momenta: Option<Vec<f32>>) -> SamplerState {
    let squares = momenta.iter().flatten().map(|&m| (m as f64).powi(2));
    let kinetic = squares.sum::<f64>() / (target.theta0.len() as f64 * c.sigma * c.sigma);
    let xi = c.alpha;
    SamplerState {
        step: 0,
        theta: target.theta0.clone(),
        momenta,
        mass: None,
        live: None,
        gradient_noise: None,
        center: target.theta0.clone(),
        thermostats: (c.method.has_thermostat().then_some(Thermostat {
            xi,
            kinetic,
            parameters: target.theta0.len(),
        }))
        .into_iter()
        .collect(),
    }
}

/// Takes the chain along with the recorded noise.
fn walk<B: Backend>(
    be: &B,
    sampler: &mut Sampler<B>,
    target: &Target,
    noise: &[f32],
) -> Result<Path> {
    let momenta = |s: &Sampler<B>| s.momenta().map_or(Ok(Vec::new()), |m| be.get(m));
    let mut theta = target.theta0.clone();
    let mut path = Path {
        theta: theta.clone(),
        momenta: momenta(sampler)?,
        ..Path::default()
    };
    for z in noise.chunks_exact(theta.len()) {
        let (grad, log_post) = target.at(&theta);
        path.log_post.push(log_post as f32);
        let report = match sampler.step_with_noise(&be.put(&grad)?, log_post, &be.put(z)?) {
            Ok(report) => report,
            // A chain that diverges where the recorded one did not is a difference: the paths end here and fail for their length.
            Err(Error::NotFinite { .. }) => break,
            Err(e) => return Err(e),
        };
        path.xi.extend(report.xi.map(|xi| xi as f32));
        be.download(sampler.params(), &mut theta)?;
        path.theta.extend_from_slice(&theta);
        path.momenta.extend(momenta(sampler)?);
    }
    Ok(path)
}
