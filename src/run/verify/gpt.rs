//! A GPT's logits, losses, gradients and Fisher diagonals (`gpt_*.safetensors`).

use super::{Check, Reference};
use crate::backend::vectors::{Combine, Transfer};
use crate::backend::{Backend, GemmPrecision};
use crate::error::{Error, Result};
use crate::gpt::{Gpt, GptConfig, Objective, SquareSums, Squares, TokenBatch, Workspace};
use crate::memory;

/// Largest relative error of logits, losses and gradients: f32 sums over a few hundred terms, six roundings deep.
const TOLERANCE: f64 = 2e-5;
/// The largest difference allowed when products round their operands to bf16: 2^-8 each at most, 2e-3 a product in the mean, a few dozen of them in a row.
const ROUNDED_TOLERANCE: f64 = 3e-2;
/// When they are split into two bf16s: 2^-15 a product at most, 4e-6 in the mean.
const SPLIT_TOLERANCE: f64 = 1e-4;

/// The recorded model and batch on the device.
struct Model<'a, B: Backend> {
    be: &'a B,
    r: &'a Reference<'a>,
    gpt: Gpt,
    params: B::Vector,
    x: Vec<u16>,
    y: Vec<u16>,
    t: usize,
    ws: Workspace<B>,
    grad: B::Vector,
    tolerance: f64,
}

pub(super) fn gpt<B: Backend>(be: &B, r: &Reference<'_>) -> Result<Vec<Check>> {
    let mut m = Model::new(be, r)?;
    let mut checks = vec![m.logits()?];
    for (prefix, objective) in [("", Objective::All), ("last.", Objective::Last)] {
        checks.extend(m.gradient(prefix, objective)?);
    }
    if r.has("fisher.") {
        checks.extend(m.fisher()?);
    }
    Ok(checks)
}

impl<'a, B: Backend> Model<'a, B> {
    fn new(be: &'a B, r: &'a Reference<'a>) -> Result<Self> {
        let gpt = Gpt::new(r.json::<GptConfig>("config")?)?;
        // Before there is room for them: the shape may be forged.
        for t in gpt.layout().tensors() {
            let shape = r.shape(&format!("param.{}", t.name))?;
            if shape != t.shape {
                return Err(Error::shape(&t.name, &t.shape, shape));
            }
        }
        let mut flat = memory::zeros(gpt.n_params(), "a model's parameters")?;
        for t in gpt.layout().tensors() {
            let (_, values) = r.f32(&format!("param.{}", t.name))?;
            if values.len() != t.range.len() {
                return Err(Error::shape(&t.name, t.range.len(), values.len()));
            }
            flat[t.range.clone()].copy_from_slice(&values);
        }
        let (shape, x) = r.tokens("idx")?;
        let &[b, t] = shape.as_slice() else {
            return Err(Error::shape("idx", "(B, T)", shape));
        };
        Ok(Self {
            params: be.put(&flat)?,
            y: r.tokens("targets")?.1,
            ws: Workspace::for_gradients(be, gpt.config(), b, t)?,
            grad: be.zeros(flat.len())?,
            tolerance: match be.gemm_precision() {
                GemmPrecision::F32 => TOLERANCE,
                GemmPrecision::Bits15 => SPLIT_TOLERANCE,
                GemmPrecision::Bits7 => ROUNDED_TOLERANCE,
            },
            be,
            r,
            gpt,
            x,
            t,
        })
    }

    fn logits(&mut self) -> Result<Check> {
        let n = self.x.len() * self.gpt.config().vocab_size;
        let mut logits = memory::zeros(n, "logits")?;
        let (x, t, ws) = (&self.x, self.t, &mut self.ws);
        (self.gpt).logits(self.be, &self.params, x, t, ws, &mut logits)?;
        self.r.check("logits", &logits, self.tolerance)
    }

    fn gradient(&mut self, prefix: &str, objective: Objective) -> Result<Vec<Check>> {
        let batch = TokenBatch::new(&self.x, &self.y, self.t, objective);
        let (be, ws, grad) = (self.be, &mut self.ws, &mut self.grad);
        let loss = (self.gpt).gradient(be, &self.params, batch, None, ws, grad)?;
        let name = format!("{prefix}loss");
        let mut checks = vec![self.r.check(&name, &[loss as f32], self.tolerance)?];
        checks.extend(self.tensors(&format!("{prefix}grad"), &self.grad, self.tolerance)?);
        Ok(checks)
    }

    /// The mean over sequences of (gradient of the sequence's summed log likelihood)^2.
    fn fisher(&mut self) -> Result<Vec<Check>> {
        let mut squares = self.be.zeros(self.gpt.n_params())?;
        let batch = TokenBatch::new(&self.x, &self.y, self.t, Objective::All);
        let (be, ws, grad) = (self.be, &mut self.ws, &mut self.grad);
        let sums = SquareSums {
            of: Squares::Gradients,
            to: &mut squares,
        };
        (self.gpt).gradient_and_squares(be, &self.params, batch, ws, grad, sums)?;
        let sequences = (self.x.len() / self.t) as f32;
        be.combine(&mut squares, Combine::Scale(1.0 / sequences))?;
        // Squares of gradients carry twice the relative error.
        self.tensors("fisher", &squares, 2.0 * self.tolerance)
    }

    /// Compares every tensor of a vector of the parameters' layout.
    fn tensors(&self, prefix: &str, of: &B::Vector, tolerance: f64) -> Result<Vec<Check>> {
        let host = self.be.get(of)?;
        let tensors = self.gpt.layout().tensors().iter();
        let check = |t: &crate::gpt::Tensor| {
            let name = format!("{prefix}.{}", t.name);
            self.r.check(&name, &host[t.range.clone()], tolerance)
        };
        tensors.map(check).collect()
    }
}
