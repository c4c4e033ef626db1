//! A model with its parameters on a device, as the tests of a whole GPT use it.

use super::{reference, wide};
use bnn::Result;
use bnn::backend::vectors::{Combine, Transfer};
use bnn::backend::{Cpu, Vectors};
use bnn::gpt::{
    Gelu, Gpt, GptConfig, Objective, SquareSums, Squares, TokenBatch, Training, Workspace,
};

/// One unit of f32 is 6e-8; sums over up to 128 terms, a few dozen of them in a row, leave below 2e-5 of a norm.
pub const TOLERANCE: f64 = 2e-5;

/// A model whose chains take no time.
pub fn small(vocab_size: usize) -> Gpt {
    Gpt::new(GptConfig {
        vocab_size,
        block_size: 8,
        n_layer: 1,
        n_head: 2,
        n_embd: 6,
        bias: true,
        dropout: 0.0,
        gelu: Gelu::Exact,
        tie_weights: true,
    })
    .unwrap()
}

/// About the smallest model there is.
pub fn smallest(vocab_size: usize) -> Gpt {
    Gpt::new(GptConfig {
        vocab_size,
        block_size: 4,
        n_layer: 1,
        n_head: 1,
        n_embd: 2,
        bias: false,
        dropout: 0.0,
        gelu: Gelu::Exact,
        tie_weights: true,
    })
    .unwrap()
}

/// A model with its parameters on a device, and room for gradients.
pub struct Model {
    pub cpu: Cpu,
    pub gpt: Gpt,
    pub flat: Vec<f32>,
    pub params: Vec<f32>,
    pub ws: Workspace<Cpu>,
    pub grad: Vec<f32>,
}

impl Model {
    pub fn new(cpu: &Cpu, config: &GptConfig, flat: &[f32], b: usize, t: usize) -> Self {
        let gpt = Gpt::new(config.clone()).unwrap();
        let mut params = cpu.zeros(gpt.n_params()).unwrap();
        cpu.upload(&mut params, flat).unwrap();
        let ws = Workspace::for_gradients(cpu, config, b, t).unwrap();
        let grad = cpu.zeros(gpt.n_params()).unwrap();
        Self {
            cpu: cpu.clone(),
            gpt,
            flat: flat.to_vec(),
            params,
            ws,
            grad,
        }
    }

    /// Parameters away from their initial values: gains of 1 and biases of 0 hide mistakes.
    pub fn random(cpu: &Cpu, config: &GptConfig, b: usize, t: usize, what: u64) -> Self {
        let gpt = Gpt::new(config.clone()).unwrap();
        let mut flat = super::normals(gpt.n_params(), what);
        for tensor in gpt.layout().tensors() {
            let gain = tensor.name.contains("ln_") && tensor.name.ends_with("weight");
            for v in &mut flat[tensor.range.clone()] {
                *v = if gain { 1.0 + 0.2 * *v } else { 0.4 * *v };
            }
        }
        Self::new(cpu, config, &flat, b, t)
    }

    pub fn logits(&mut self, x: &[u16], t: usize) -> Result<Vec<f32>> {
        let mut out = vec![f32::NAN; x.len() * self.gpt.config().vocab_size];
        let (gpt, ws) = (&self.gpt, &mut self.ws);
        gpt.logits(&self.cpu, &self.params, x, t, ws, &mut out)?;
        Ok(out)
    }

    pub fn loss(&mut self, x: &[u16], y: &[u16], t: usize, objective: Objective) -> Result<f64> {
        let (gpt, ws) = (&self.gpt, &mut self.ws);
        let batch = TokenBatch::new(x, y, t, objective);
        gpt.loss(&self.cpu, &self.params, batch, ws)
    }

    /// The loss and its gradient, whose buffer holds rubbish before.
    pub fn gradient(
        &mut self,
        x: &[u16],
        y: &[u16],
        t: usize,
        objective: Objective,
        training: Option<Training>,
    ) -> Result<(f64, Vec<f32>)> {
        self.cpu.combine(&mut self.grad, Combine::Fill(f32::NAN))?;
        let (gpt, ws, grad) = (&self.gpt, &mut self.ws, &mut self.grad);
        let batch = TokenBatch::new(x, y, t, objective);
        let loss = gpt.gradient(&self.cpu, &self.params, batch, training, ws, grad)?;
        let mut host = vec![0.0; self.grad.len()];
        self.cpu.download(&self.grad, &mut host)?;
        Ok((loss, host))
    }

    /// Loss, gradient and the sequences' squares; the gradient's buffer holds rubbish before, the squares' zeros.
    pub fn squares(
        &mut self,
        x: &[u16],
        y: &[u16],
        t: usize,
        objective: Objective,
    ) -> Result<(f64, Vec<f32>, Vec<f32>)> {
        let (cpu, params) = (&self.cpu, &self.params);
        cpu.combine(&mut self.grad, Combine::Fill(f32::NAN))?;
        let (gpt, ws, grad) = (&self.gpt, &mut self.ws, &mut self.grad);
        let mut squares = cpu.zeros(gpt.n_params())?;
        let (of, batch) = (Squares::Gradients, TokenBatch::new(x, y, t, objective));
        let loss = gpt.gradient_and_squares(
            cpu,
            params,
            batch,
            ws,
            grad,
            SquareSums {
                of,
                to: &mut squares,
            },
        )?;
        Ok((loss, grad.clone(), squares))
    }

    pub fn reference_gradient(
        &self,
        x: &[u16],
        y: &[u16],
        t: usize,
        objective: Objective,
        training: Option<Training>,
    ) -> (f64, Vec<f64>) {
        let flat = wide(&self.flat);
        let loss = |flat: &[f64]| reference::loss(&self.gpt, flat, (x, y), t, objective, training);
        (loss(&flat), reference::gradient(&flat, loss))
    }
}

pub fn config(shape: [usize; 5], bias: bool, gelu: Gelu) -> GptConfig {
    let [vocab_size, block_size, n_layer, n_head, n_embd] = shape;
    GptConfig {
        vocab_size,
        block_size,
        n_layer,
        n_head,
        n_embd,
        bias,
        dropout: 0.0,
        gelu,
        tie_weights: true,
    }
}

pub const SHAPE: [usize; 5] = [11, 12, 3, 2, 10];

/// A batch's tokens for [`SHAPE`].
pub fn batch(b: usize, t: usize, what: u64) -> (Vec<u16>, Vec<u16>) {
    let of = |what| super::tokens(b * t, SHAPE[0], what);
    (of(2 * what), of(2 * what + 1))
}
