//! Checks this build on this machine against reference files: one line a quantity, with its error and pass or fail.

mod gaussians;

use crate::backend::vectors::{Combine, Transfer};
use crate::backend::{Backend, GemmPrecision};
use crate::error::{Error, Result};
use crate::gpt::{Gpt, GptConfig, Objective, SquareSums, Squares, TokenBatch, Workspace};
use crate::metrics::{self, Unit};
use crate::samplers::{Config, Method, Sampler, SamplerState, Thermostat};
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

/// One quantity compared with its reference.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Check {
    /// The reference file's name.
    pub file: String,
    /// The quantity, such as `grad.transformer.wte.weight`.
    pub quantity: String,
    /// Norm of the difference over the norm of the reference (absolute where the reference is 0).
    pub error: f64,
    /// The largest error that passes.
    pub tolerance: f64,
    /// Whether it passes; a value that is not finite does not.
    pub pass: bool,
}

/// Largest relative error of logits, losses and gradients: f32 sums over a few hundred terms, six roundings deep.
const GPT_TOLERANCE: f64 = 2e-5;
/// The same when products round their operands to bf16: 2^-8 each at most, 2e-3 a product in the mean, a few dozen of them in a row.
const ROUNDED_TOLERANCE: f64 = 3e-2;
/// When they are split into two bf16s: 2^-15 a product at most, 4e-6 in the mean.
const SPLIT_TOLERANCE: f64 = 1e-4;
/// Squares of gradients carry twice the relative error.
const FISHER_TOLERANCE: f64 = 4e-5;

/// A safetensors file of reference values.
struct Reference<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
    metadata: std::collections::HashMap<String, String>,
}

impl<'a> Reference<'a> {
    fn read(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let bad = |e: safetensors::SafeTensorError| {
            Error::data(path.display().to_string(), e.to_string())
        };
        let (_, meta) = SafeTensors::read_metadata(bytes).map_err(bad)?;
        Ok(Self {
            path,
            tensors: SafeTensors::deserialize(bytes).map_err(bad)?,
            metadata: meta.metadata().clone().unwrap_or_default(),
        })
    }

    fn tensor(&self, name: &str, dtype: Dtype) -> Result<(Vec<usize>, &[u8])> {
        let place = || self.path.display().to_string();
        let t = self
            .tensors
            .tensor(name)
            .map_err(|e| Error::data(place(), e.to_string()))?;
        if t.dtype() != dtype {
            return Err(Error::data(
                place(),
                format!("{name}: expected {dtype:?}, got {:?}", t.dtype()),
            ));
        }
        // The tensor's bytes live as long as the file's, not as the view.
        let shape = t.shape().to_vec();
        Ok((shape, t.data()))
    }

    fn f32(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let (shape, bytes) = self.tensor(name, Dtype::F32)?;
        Ok((
            shape,
            bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        ))
    }

    fn f64(&self, name: &str) -> Result<(Vec<usize>, Vec<f64>)> {
        let (shape, bytes) = self.tensor(name, Dtype::F64)?;
        let values = bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b));
        Ok((shape, values.collect()))
    }

    fn tokens(&self, name: &str) -> Result<(Vec<usize>, Vec<u16>)> {
        let (shape, bytes) = self.tensor(name, Dtype::I32)?;
        let tokens = bytes
            .chunks_exact(4)
            .map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .map(|v| {
                u16::try_from(v).map_err(|_| {
                    Error::data(
                        self.path.display().to_string(),
                        format!("{name}: token {v} is outside 0 to 65,535"),
                    )
                })
            })
            .collect::<Result<_>>()?;
        Ok((shape, tokens))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        let place = self.path.display().to_string();
        let text = self
            .metadata
            .get(key)
            .ok_or_else(|| Error::data(&place, format!("metadata has no `{key}`")))?;
        serde_json::from_str(text).map_err(|e| Error::data(place, format!("metadata `{key}`: {e}")))
    }

    fn check(&self, quantity: &str, got: &[f32], want: &[f32], tolerance: f64) -> Check {
        let (mut diff, mut norm) = (0.0f64, 0.0f64);
        for (&g, &w) in got.iter().zip(want) {
            diff += (g as f64 - w as f64).powi(2);
            norm += (w as f64).powi(2);
        }
        let error = if norm > 0.0 {
            (diff / norm).sqrt()
        } else {
            diff.sqrt()
        };
        Check {
            file: name_of(self.path),
            quantity: quantity.into(),
            error,
            tolerance,
            // a NaN compares false and fails
            pass: got.len() == want.len() && error <= tolerance,
        }
    }
}

/// A GPT's logits, losses, gradients and Fisher diagonals (`gpt_*.safetensors`).
fn gpt<B: Backend>(be: &B, r: &Reference<'_>) -> Result<Vec<Check>> {
    let (tolerance, fisher_tolerance) = match be.gemm_precision() {
        GemmPrecision::F32 => (GPT_TOLERANCE, FISHER_TOLERANCE),
        GemmPrecision::Bits15 => (SPLIT_TOLERANCE, 2.0 * SPLIT_TOLERANCE),
        GemmPrecision::Bits7 => (ROUNDED_TOLERANCE, 2.0 * ROUNDED_TOLERANCE),
    };
    let gpt = Gpt::new(r.json::<GptConfig>("config")?)?;
    let mut flat = vec![0.0f32; gpt.n_params()];
    for t in gpt.layout().tensors() {
        let (shape, values) = r.f32(&format!("param.{}", t.name))?;
        if shape != t.shape {
            return Err(Error::shape(&t.name, &t.shape, shape));
        }
        flat[t.range.clone()].copy_from_slice(&values);
    }
    let (shape, x) = r.tokens("idx")?;
    let (_, y) = r.tokens("targets")?;
    let &[b, t] = shape.as_slice() else {
        return Err(Error::shape("idx", "(B, T)", shape));
    };
    let mut params = be.zeros(flat.len())?;
    be.upload(&mut params, &flat)?;
    let mut ws = Workspace::for_gradients(be, gpt.config(), b, t)?;
    let mut grad = be.zeros(flat.len())?;
    let mut host = vec![0.0f32; flat.len()];
    let mut checks = Vec::new();

    let (_, want) = r.f32("logits")?;
    let mut logits = vec![0.0f32; b * t * gpt.config().vocab_size];
    gpt.logits(be, &params, &x, t, &mut ws, &mut logits)?;
    checks.push(r.check("logits", &logits, &want, tolerance));

    for (prefix, objective) in [("", Objective::All), ("last.", Objective::Last)] {
        let loss = {
            let batch = TokenBatch::new(&x, &y, t, objective);
            gpt.gradient(be, &params, batch, None, &mut ws, &mut grad)?
        };
        let name = format!("{prefix}loss");
        let (_, want) = r.f32(&name)?;
        checks.push(r.check(&name, &[loss as f32], &want, tolerance));
        be.download(&grad, &mut host)?;
        for tensor in gpt.layout().tensors() {
            let name = format!("{prefix}grad.{}", tensor.name);
            let (_, want) = r.f32(&name)?;
            checks.push(r.check(&name, &host[tensor.range.clone()], &want, tolerance));
        }
    }

    // fisher = mean over sequences of (gradient of the sequence's summed log-likelihood)^2
    if r.tensors.names().iter().any(|n| n.starts_with("fisher.")) {
        let mut squares = be.zeros(flat.len())?;
        gpt.gradient_and_squares(
            be,
            &params,
            TokenBatch::new(&x, &y, t, Objective::All),
            &mut ws,
            &mut grad,
            SquareSums {
                of: Squares::Gradients,
                to: &mut squares,
            },
        )?;
        be.combine(&mut squares, Combine::Scale(1.0 / b as f32))?;
        be.download(&squares, &mut host)?;
        for tensor in gpt.layout().tensors() {
            let name = format!("fisher.{}", tensor.name);
            let (_, want) = r.f32(&name)?;
            checks.push(r.check(&name, &host[tensor.range.clone()], &want, fisher_tolerance));
        }
    }
    Ok(checks)
}

/// Steps whose errors add up in a trajectory: each rounds a few times at 6e-8.
const TRAJECTORY_TOLERANCE: f64 = 1e-5;
/// Sums and logarithms in f64 of f32 logits.
const PREDICTIVE_TOLERANCE: f64 = 1e-6;
/// Sums in f64, and ranks that rounding could swap.
const CHAINS_TOLERANCE: f64 = 1e-6;
/// Counts and a few f64 operations.
const TEXT_TOLERANCE: f64 = 1e-9;

/// Recorded trajectories on a quadratic log posterior, noise included (`samplers.safetensors`).
fn samplers<B: Backend>(be: &B, r: &Reference<'_>) -> Result<Vec<Check>> {
    let settings: serde_json::Map<String, serde_json::Value> = r.json("hyperparameters")?;
    let (shape, a) = r.f32("A")?;
    let (_, b) = r.f32("b")?;
    let (_, theta0) = r.f32("theta0")?;
    let d = theta0.len();
    if shape != [d, d] || b.len() != d {
        return Err(Error::shape("A and b", ([d, d], [d]), (shape, [b.len()])));
    }
    let up = |v: &[f32]| -> Result<B::Vector> {
        let mut buf = be.zeros(v.len())?;
        be.upload(&mut buf, v)?;
        Ok(buf)
    };
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
        let get = |key: &str, default: f64| values.get(key).map_or(Some(default), |v| v.as_f64());
        let number = |key: &str, default: f64| {
            get(key, default).ok_or_else(|| {
                Error::data(
                    r.path.display().to_string(),
                    format!("hyperparameters of {name}: `{key}` is no number"),
                )
            })
        };
        let mut c = Config::new(method, number("lr", f64::NAN)?);
        c.alpha = number("alpha", c.alpha)?;
        c.beta = number("beta", c.beta)?;
        c.sigma = number("sigma", c.sigma)?;
        c.temperature = number("temperature", c.temperature)?;
        let (_, noise) = r.f32(&format!("{name}.noise"))?;
        let steps = noise.len() / d;
        (c.warmup_steps, c.sampling_steps, c.thinning) = (0, steps as u64, 1);
        let momenta = match method.has_momenta() {
            true => Some(r.f32("momenta0")?.1),
            false => None,
        };
        let state = SamplerState {
            step: 0,
            theta: theta0.clone(),
            momenta: momenta.clone(),
            mass: None,
            live: None,
            center: theta0.clone(),
            thermostat: method.has_thermostat().then(|| Thermostat {
                xi: c.alpha,
                kinetic: momenta
                    .iter()
                    .flatten()
                    .map(|&m| (m as f64).powi(2))
                    .sum::<f64>()
                    / (d as f64 * c.sigma * c.sigma),
            }),
        };
        let mut sampler = Sampler::restore(be.clone(), c, &state)?;
        let mut theta = theta0.clone();
        let (mut path, mut path_m) = (theta0.clone(), momenta.unwrap_or_default());
        let (mut log_post, mut thermostat) = (Vec::new(), Vec::new());
        for xi in noise.chunks_exact(d) {
            let e: Vec<f64> = theta.iter().zip(&b).map(|(t, b)| (t - b) as f64).collect();
            let grad: Vec<f32> = a
                .chunks_exact(d)
                .map(|row| -row.iter().zip(&e).map(|(a, e)| *a as f64 * e).sum::<f64>() as f32)
                .collect();
            let lp: f64 = 0.5 * grad.iter().zip(&e).map(|(g, e)| *g as f64 * e).sum::<f64>();
            log_post.push(lp as f32);
            let report = match sampler.step_with_noise(&up(&grad)?, lp, &up(xi)?) {
                Ok(report) => report,
                // A chain that diverges where the recorded one did not is a difference: the paths end here and fail for their length.
                Err(Error::NotFinite { .. }) => break,
                Err(e) => return Err(e),
            };
            thermostat.extend(report.xi.map(|xi| xi as f32));
            be.download(sampler.params(), &mut theta)?;
            path.extend_from_slice(&theta);
            if let Some(m) = sampler.momenta() {
                let mut host = vec![0.0; d];
                be.download(m, &mut host)?;
                path_m.extend(host);
            }
        }
        let mut check = |what: &str, got: &[f32]| -> Result<()> {
            let quantity = format!("{name}.{what}");
            let (_, want) = r.f32(&quantity)?;
            checks.push(r.check(&quantity, got, &want, TRAJECTORY_TOLERANCE));
            Ok(())
        };
        check("theta", &path)?;
        check("log_posterior", &log_post)?;
        if method.has_momenta() {
            check("momenta", &path_m)?;
        }
        if method.has_thermostat() {
            check("xi", &thermostat)?;
        }
    }
    Ok(checks)
}

/// Predictive scores of an ensemble's logits (`predictive.safetensors`).
fn predictive(r: &Reference<'_>) -> Result<Vec<Check>> {
    let (shape, logits) = r.f32("logits")?;
    let (_, targets) = r.tokens("targets")?;
    let &[_, _, v] = shape.as_slice() else {
        return Err(Error::shape("logits", "(S, N, V)", shape));
    };
    let got = metrics::predictive_scores(&logits, &targets, v)?;
    let want: std::collections::BTreeMap<String, f64> = r.json("scores")?;
    let mut checks = Vec::new();
    for (name, value) in [
        ("perplexity_of_mean_prediction", got.perplexity),
        ("perplexity_mean_nll_over_samples", got.gibbs_perplexity),
        ("predictive_entropy_mean", got.entropy_summary.mean),
        ("expected_entropy_mean", got.expected_entropy),
        (
            "mutual_information_mean",
            got.mutual_information_summary.mean,
        ),
        ("brier", got.brier),
        ("accuracy", got.accuracy),
        ("ece_15_equal_width_bins", got.ece),
    ] {
        // A score that the file leaves out is not checked.
        if let Some(want) = want.get(name) {
            checks.push(scalar(r.path, name, value, *want, PREDICTIVE_TOLERANCE));
        }
    }
    for (name, values) in [
        ("predictive_entropy", &got.entropy),
        ("mutual_information", &got.mutual_information),
    ] {
        let (_, want) = r.f32(name)?;
        let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        checks.push(r.check(name, &values, &want, PREDICTIVE_TOLERANCE));
    }
    Ok(checks)
}

/// R-hat, effective sample sizes and Monte Carlo errors of chains (`chains*.safetensors`): one tensor (chains, draws) a name.
fn chains(r: &Reference<'_>) -> Result<Vec<Check>> {
    type Numbers = std::collections::BTreeMap<String, f64>;
    let want: std::collections::BTreeMap<String, Numbers> = r.json("arviz")?;
    let mut checks = Vec::new();
    for (name, want) in &want {
        let (shape, draws) = r.f64(name)?;
        let &[_, n] = shape.as_slice() else {
            return Err(Error::shape(name, "(chains, draws)", shape));
        };
        let chains: Vec<&[f64]> = draws.chunks_exact(n.max(1)).collect();
        let got = metrics::chain_diagnostics(&chains)?;
        for (what, value) in [
            ("rhat", got.rhat),
            ("ess_bulk", got.ess_bulk),
            ("ess_tail", got.ess_tail),
            ("ess_mean", got.ess_mean),
            ("mcse_mean", got.mcse_mean),
        ] {
            // A number that the file leaves out is not checked.
            if let Some(want) = want.get(what) {
                let quantity = format!("{name}.{what}");
                checks.push(scalar(r.path, &quantity, value, *want, CHAINS_TOLERANCE));
            }
        }
    }
    Ok(checks)
}

/// BLEU and ROUGE of one kind of unit in `text_scores.json`.
#[derive(serde::Deserialize)]
struct Scores {
    bleu1: f64,
    bleu2: f64,
    bleu4: f64,
    rouge1: Vec<f64>,
    rouge2: Vec<f64>,
    #[serde(rename = "rougeL")]
    rouge_l: Vec<f64>,
}

/// Pairs of texts with their scores.
#[derive(serde::Deserialize)]
struct Texts {
    references: Vec<String>,
    predictions: Vec<String>,
    #[serde(rename = "char")]
    chars: Scores,
    word: Scores,
}

/// BLEU and ROUGE (`text_scores.json`).
fn texts(path: &Path, bytes: &[u8]) -> Result<Vec<Check>> {
    let t: Texts = serde_json::from_slice(bytes)
        .map_err(|e| Error::data(path.display().to_string(), e.to_string()))?;
    let mut checks = Vec::new();
    for (kind, unit, want) in [
        ("char", Unit::Char, &t.chars),
        ("word", Unit::Word, &t.word),
    ] {
        for (order, want) in [(1, want.bleu1), (2, want.bleu2), (4, want.bleu4)] {
            let got = metrics::bleu(&t.references, &t.predictions, unit, order)?;
            let name = format!("{kind}.bleu{order}");
            checks.push(scalar(path, &name, got, want, TEXT_TOLERANCE));
        }
        let each: Vec<metrics::Rouge> = t
            .references
            .iter()
            .zip(&t.predictions)
            .map(|(r, p)| metrics::rouge(r, p, unit))
            .collect();
        type Of = fn(&metrics::Rouge) -> f64;
        let by: [(&str, Of, &Vec<f64>); 3] = [
            ("rouge1", |r| r.rouge1, &want.rouge1),
            ("rouge2", |r| r.rouge2, &want.rouge2),
            ("rougeL", |r| r.rouge_l, &want.rouge_l),
        ];
        for (name, of, want) in by {
            // The worst pair stands for all.
            let worst = each
                .iter()
                .map(of)
                .zip(want)
                .map(|(got, want)| (got - want).abs())
                .fold(0.0, f64::max);
            let mut check = scalar(path, &format!("{kind}.{name}"), worst, 0.0, TEXT_TOLERANCE);
            check.pass &= want.len() == each.len();
            checks.push(check);
        }
    }
    Ok(checks)
}

fn scalar(path: &Path, quantity: &str, got: f64, want: f64, tolerance: f64) -> Check {
    let error = match want == 0.0 {
        true => (got - want).abs(),
        false => ((got - want) / want).abs(),
    };
    Check {
        file: name_of(path),
        quantity: quantity.into(),
        error,
        tolerance,
        pass: error <= tolerance,
    }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Every quantity of one reference file, whose kind is told by what it holds.
///
/// # Errors
/// When the file cannot be read or is of no known kind. A quantity that is off is no error but a [`Check`] that does not pass.
pub fn verify_file<B: Backend>(be: &B, path: &Path) -> Result<Vec<Check>> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{') {
        return texts(path, &bytes);
    }
    let r = Reference::read(path, &bytes)?;
    let checks = if r.metadata.contains_key("config") {
        gpt(be, &r)?
    } else if r.metadata.contains_key("hyperparameters") {
        samplers(be, &r)?
    } else if r.metadata.contains_key("scores") {
        predictive(&r)?
    } else if r.metadata.contains_key("laplace_fisher") {
        gaussians::gaussians(be, &r)?
    } else if r.metadata.contains_key("arviz") {
        chains(&r)?
    } else {
        return Err(Error::data(
            path.display().to_string(),
            "expected metadata `config` (a GPT), `hyperparameters` (samplers), `scores` (predictive), `laplace_fisher` (normals) or `arviz` (chains), found none of them",
        ));
    };
    match checks.is_empty() {
        true => Err(Error::data(
            path.display().to_string(),
            "nothing in it to check",
        )),
        false => Ok(checks),
    }
}
