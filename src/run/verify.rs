//! Checks this build on this machine against reference files: one line a quantity, with its error and pass or fail.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::gpt::{Gpt, GptConfig, Objective, Workspace};
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
/// Squares of gradients carry twice the relative error.
const FISHER_TOLERANCE: f64 = 4e-5;

pub(crate) struct Reference<'a> {
    pub path: &'a Path,
    pub tensors: SafeTensors<'a>,
    pub metadata: std::collections::HashMap<String, String>,
}

impl<'a> Reference<'a> {
    pub fn read(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
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

    pub fn f32(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        let (shape, bytes) = self.tensor(name, Dtype::F32)?;
        Ok((
            shape,
            bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        ))
    }

    pub fn tokens(&self, name: &str) -> Result<(Vec<usize>, Vec<u16>)> {
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

    pub fn json<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        let place = self.path.display().to_string();
        let text = self
            .metadata
            .get(key)
            .ok_or_else(|| Error::data(&place, format!("metadata has no `{key}`")))?;
        serde_json::from_str(text).map_err(|e| Error::data(place, format!("metadata `{key}`: {e}")))
    }

    pub fn check(&self, quantity: &str, got: &[f32], want: &[f32], tolerance: f64) -> Check {
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
            file: self
                .path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            quantity: quantity.into(),
            error,
            tolerance,
            // a NaN compares false and fails
            pass: got.len() == want.len() && error <= tolerance,
        }
    }
}

/// A GPT's logits, losses, gradients and Fisher diagonals (`gpt_*.safetensors`).
pub(crate) fn gpt<B: Backend>(be: &B, r: &Reference<'_>) -> Result<Vec<Check>> {
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
    checks.push(r.check("logits", &logits, &want, GPT_TOLERANCE));

    for (prefix, objective) in [("", Objective::All), ("last.", Objective::Last)] {
        let loss = gpt.gradient(be, &params, &x, &y, t, objective, None, &mut ws, &mut grad)?;
        let name = format!("{prefix}loss");
        let (_, want) = r.f32(&name)?;
        checks.push(r.check(&name, &[loss as f32], &want, GPT_TOLERANCE));
        be.download(&grad, &mut host)?;
        for tensor in gpt.layout().tensors() {
            let name = format!("{prefix}grad.{}", tensor.name);
            let (_, want) = r.f32(&name)?;
            checks.push(r.check(&name, &host[tensor.range.clone()], &want, GPT_TOLERANCE));
        }
    }

    // fisher = mean over sequences of (gradient of the sequence's summed log-likelihood)^2; summed is t times the mean.
    if r.tensors.names().iter().any(|n| n.starts_with("fisher.")) {
        let mut fisher = vec![0.0f64; flat.len()];
        for i in 0..b {
            let of = i * t..(i + 1) * t;
            gpt.gradient(
                be,
                &params,
                &x[of.clone()],
                &y[of],
                t,
                Objective::All,
                None,
                &mut ws,
                &mut grad,
            )?;
            be.download(&grad, &mut host)?;
            for (f, g) in fisher.iter_mut().zip(&host) {
                *f += (*g as f64 * t as f64).powi(2) / b as f64;
            }
        }
        let fisher: Vec<f32> = fisher.iter().map(|&v| v as f32).collect();
        for tensor in gpt.layout().tensors() {
            let name = format!("fisher.{}", tensor.name);
            let (_, want) = r.f32(&name)?;
            checks.push(r.check(
                &name,
                &fisher[tensor.range.clone()],
                &want,
                FISHER_TOLERANCE,
            ));
        }
    }
    Ok(checks)
}

/// Every quantity of one reference file.
///
/// # Errors
/// When the file cannot be read or is of no known kind. A quantity that is off is no error but a [`Check`] that does not pass.
pub fn verify_file<B: Backend>(be: &B, path: &Path) -> Result<Vec<Check>> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let r = Reference::read(path, &bytes)?;
    gpt(be, &r)
}
