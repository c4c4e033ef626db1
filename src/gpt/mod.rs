//! nanoGPT's GPT: learned positions, pre-norm blocks, causal attention, GELU, a tied head (or one of its own); forward, backward, decoding.
//!
//! Radford et al. 2019 (GPT-2), as <https://github.com/karpathy/nanoGPT> writes it. The model holds no parameters: they are one flat
//! vector that samplers move, and every call takes it.

mod backward;
mod config;
mod decode;
mod forward;
mod params;
mod workspace;

pub use crate::backend::{Gelu, Objective, WeightType};
pub use config::{GptConfig, NAMED};
pub use decode::{Cache, Decoder, Piece, Weights};
pub use params::{Layout, Tensor};
pub use workspace::Workspace;

use crate::backend::{Backend, Heads, Linear};
use crate::error::{Error, Result};
use crate::rng::Stream;
use backward::Gradient;

/// A GPT's shape with the layout of its parameters. Shareable between threads.
#[derive(Clone, Debug)]
pub struct Gpt {
    config: GptConfig,
    layout: Layout,
}

/// A dropout draw of a training step: the model's rate is in its configuration.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// Seed of the run.
    pub seed: u64,
    /// Which step.
    pub step: u64,
}

/// Whose squares [`Gpt::gradient_and_squares`] adds up.
#[derive(Clone, Copy, Debug)]
pub enum Squares {
    /// The sequences' gradients'.
    Gradients,
    /// In place of the gradient of a sequence's log likelihood, those of the product of its Jacobian with a random cotangent of the logits
    /// whose covariance is the cross-entropy's Hessian in them. The squares' expectation is the diagonal of the generalised Gauss-Newton
    /// matrix, summed over the sequences (Martens 2020, "New Insights and Perspectives on the Natural Gradient Method", section 8): no label
    /// has a part in it. The gradient's buffer is overwritten with numbers of no use.
    Curvature {
        /// Where the cotangents' signs come from.
        stream: Stream,
        /// Which of its draws.
        draw: u64,
    },
}

impl Gpt {
    /// A model of that shape.
    ///
    /// # Errors
    /// When the shape cannot be built.
    pub fn new(config: GptConfig) -> Result<Self> {
        config.check()?;
        let layout = Layout::new(&config);
        Ok(Self { config, layout })
    }

    /// The shape.
    pub fn config(&self) -> &GptConfig {
        &self.config
    }

    /// Where each tensor lies in the flat vector.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of parameters.
    pub fn n_params(&self) -> usize {
        self.layout.len()
    }

    /// Logits (B, T, V) of tokens x (B, T), into the caller's slice.
    ///
    /// # Errors
    /// When shapes do not fit the model or the workspace, or a token is out of range.
    pub fn logits<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        x: &[u16],
        t: usize,
        ws: &mut Workspace<B>,
        out: &mut [f32],
    ) -> Result<()> {
        let n = x.len() * self.config.vocab_size;
        if out.len() != n {
            return Err(Error::shape("logits", [n], [out.len()]));
        }
        ws.take(backend, &self.config, &self.layout, params, x, None, t)?;
        backend.batch(self.work(x.len()), || {
            forward::forward(self, backend, params, x.len(), t, ws, None)
        })?;
        backend.download_part(&ws.logits, 0, out)
    }

    /// Log-probability in nats of each of y given x, both (B, T), into the caller's slice (B, T).
    ///
    /// # Errors
    /// As [`Gpt::logits`]. What is not finite is returned as it is.
    #[allow(clippy::too_many_arguments)]
    pub fn log_prob<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        x: &[u16],
        y: &[u16],
        t: usize,
        ws: &mut Workspace<B>,
        out: &mut [f32],
    ) -> Result<()> {
        if out.len() != x.len() {
            return Err(Error::shape("log-probabilities", [x.len()], [out.len()]));
        }
        ws.take(backend, &self.config, &self.layout, params, x, Some(y), t)?;
        let rows = x.len();
        backend.batch(self.work(rows), || {
            forward::forward(self, backend, params, rows, t, ws, None)?;
            let v = self.config.vocab_size;
            backend.cross_entropy(&mut ws.nll, &ws.logits, &ws.y, rows, v)
        })?;
        backend.download_part(&ws.nll, 0, out)?;
        out.iter_mut().for_each(|v| *v = -*v);
        Ok(())
    }

    /// Mean negative log-likelihood in nats of y given x, both (B, T), over the positions that the objective counts; summed in f64.
    ///
    /// # Errors
    /// As [`Gpt::logits`]. A loss that is not finite is returned as it is.
    #[allow(clippy::too_many_arguments)]
    pub fn loss<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        x: &[u16],
        y: &[u16],
        t: usize,
        objective: Objective,
        ws: &mut Workspace<B>,
    ) -> Result<f64> {
        ws.take(backend, &self.config, &self.layout, params, x, Some(y), t)?;
        let rows = x.len();
        backend.batch(self.work(rows), || {
            forward::forward(self, backend, params, rows, t, ws, None)?;
            let v = self.config.vocab_size;
            backend.cross_entropy(&mut ws.nll, &ws.logits, &ws.y, rows, v)?;
            let (sum, count) = backend.sum_nll(&ws.nll, rows, t, objective)?;
            Ok(sum / count as f64)
        })
    }

    /// The loss, and its gradient in the parameters, which overwrites `grad` (n_params).
    ///
    /// With `training` dropout is drawn at the configuration's rate; without, none.
    ///
    /// # Errors
    /// As [`Gpt::logits`], and when the workspace is not one for gradients.
    #[allow(clippy::too_many_arguments)]
    pub fn gradient<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        x: &[u16],
        y: &[u16],
        t: usize,
        objective: Objective,
        training: Option<Training>,
        ws: &mut Workspace<B>,
        grad: &mut B::Vector,
    ) -> Result<f64> {
        ws.take(backend, &self.config, &self.layout, params, x, Some(y), t)?;
        if backend.len(grad) != self.n_params() {
            return Err(Error::shape(
                "gradient",
                [self.n_params()],
                [backend.len(grad)],
            ));
        }
        let training = training.filter(|_| self.config.dropout > 0.0);
        let rows = x.len();
        backend.batch(self.work(rows), || {
            forward::forward(self, backend, params, rows, t, ws, training)?;
            // The gradient of the mean from the start: no pass of its own for the scale.
            let weight = 1.0 / objective.count(rows, t) as f32;
            let loss = self.loss_backward(backend, rows, t, objective, weight, ws)?;
            let to = Gradient::new(backend, params, grad, None, rows, t);
            backward::backward(self, to, ws, training)?;
            Ok(loss)
        })
    }

    /// As [`Gpt::gradient`] without dropout; and adds to `squares` (n_params), for each sequence of the batch, the square of the gradient
    /// of its log likelihood, summed over the positions that the objective counts; or what else [`Squares`] says. Divided by the number of
    /// sequences that went in, that is the diagonal of the empirical Fisher information of a sequence.
    ///
    /// One pass over the batch: no sequence's gradient is ever there as a whole. The mean's gradient is off [`Gpt::gradient`]'s by
    /// rounding alone.
    ///
    /// Range: squares are taken of the *summed* log likelihood's gradient, not of the mean's, which would be (B T)^2 times smaller. An
    /// element of that gradient between 1.1e-19 and 1.8e19 in size has a square that f32 holds with all its digits; below, the square
    /// loses digits, and below 2.6e-23 it counts as 0. `squares` is an f32 sum: it stops growing where a square is below 6e-8 of it.
    ///
    /// # Errors
    /// As [`Gpt::gradient`], and `squares` is then as it was. A loss that is not finite is returned as it is, and `squares` is spoilt.
    #[allow(clippy::too_many_arguments)]
    pub fn gradient_and_squares<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        x: &[u16],
        y: &[u16],
        t: usize,
        objective: Objective,
        of: Squares,
        ws: &mut Workspace<B>,
        grad: &mut B::Vector,
        squares: &mut B::Vector,
    ) -> Result<f64> {
        ws.take(backend, &self.config, &self.layout, params, x, Some(y), t)?;
        for (what, buf) in [("gradient", &*grad), ("squares", &*squares)] {
            if backend.len(buf) != self.n_params() {
                return Err(Error::shape(what, [self.n_params()], [backend.len(buf)]));
            }
        }
        let rows = x.len();
        backend.batch(self.work(rows), || {
            forward::forward(self, backend, params, rows, t, ws, None)?;
            let loss = match of {
                Squares::Gradients => self.loss_backward(backend, rows, t, objective, 1.0, ws)?,
                Squares::Curvature { stream, draw } => {
                    let (v, z) = (self.config.vocab_size, &mut ws.logits);
                    backend.cross_entropy(&mut ws.nll, z, &ws.y, rows, v)?;
                    backend.curvature_cotangent(z, rows, t, v, objective, stream, draw)?;
                    let (sum, count) = backend.sum_nll(&ws.nll, rows, t, objective)?;
                    sum / count as f64
                }
            };
            let to = Gradient::new(backend, params, grad, Some(squares), rows, t);
            backward::backward(self, to, ws, None)?;
            backend.scale(grad, 1.0 / objective.count(rows, t) as f32)?;
            Ok(loss)
        })
    }

    /// The head's inputs (B, T, C) and the logits (B, T, V) of tokens x (B, T), into the caller's slices.
    ///
    /// # Errors
    /// As [`Gpt::logits`].
    #[allow(clippy::too_many_arguments)]
    pub fn head_inputs<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        x: &[u16],
        t: usize,
        ws: &mut Workspace<B>,
        inputs: &mut [f32],
        logits: &mut [f32],
    ) -> Result<()> {
        let n = x.len() * self.config.n_embd;
        if inputs.len() != n {
            return Err(Error::shape("head's inputs", [n], [inputs.len()]));
        }
        self.logits(backend, params, x, t, ws, logits)?;
        // The forward pass leaves the last norm's output there.
        backend.download_part(&ws.norm, 0, inputs)
    }

    /// The mean loss of the workspace's logits, whose place `weight` times the gradient of the summed loss takes.
    fn loss_backward<B: Backend>(
        &self,
        backend: &B,
        rows: usize,
        t: usize,
        objective: Objective,
        weight: f32,
        ws: &mut Workspace<B>,
    ) -> Result<f64> {
        let v = self.config.vocab_size;
        let (nll, logits) = (&mut ws.nll, &mut ws.logits);
        backend.cross_entropy_backward(nll, logits, &ws.y, rows, t, v, objective, weight)?;
        let (sum, count) = backend.sum_nll(&ws.nll, rows, t, objective)?;
        Ok(sum / count as f64)
    }

    /// About how many multiplications `rows` tokens take forward.
    fn work(&self, rows: usize) -> usize {
        rows.saturating_mul(self.n_params())
    }

    fn heads(&self, rows: usize, t: usize) -> Heads {
        Heads {
            b: rows / t,
            t,
            h: self.config.n_head,
            size: self.config.head_size(),
        }
    }

    /// The same model with a head of its own in place of a tied one.
    pub fn untied(&self) -> Self {
        let config = GptConfig {
            tie_weights: false,
            ..self.config.clone()
        };
        let layout = Layout::new(&config);
        Self { config, layout }
    }

    /// The parameters of [`Gpt::untied`] that make the same model as these, (n_params): the head's are a copy of the embedding's.
    ///
    /// # Errors
    /// When they are not as many as the model has.
    pub fn untie(&self, params: &[f32]) -> Result<Vec<f32>> {
        self.layout.check(params)?;
        let own = match self.config.tie_weights {
            true => &params[self.layout.wte.clone()],
            false => &[],
        };
        Ok([params, own].concat())
    }

    /// The head: logits = x w^T.
    fn head(&self) -> Linear {
        Linear {
            weight: self.layout.head.clone(),
            bias: None,
            n_in: self.config.n_embd,
            n_out: self.config.vocab_size,
        }
    }

    /// The draw of one of the model's dropout places: 0 the embedding, then attention, its projection and the MLP of each block.
    fn dropout(&self, training: Option<Training>, site: usize) -> Option<crate::backend::Dropout> {
        training.map(|t| crate::backend::Dropout {
            p: self.config.dropout,
            seed: t.seed,
            step: t.step,
            site: site as u32,
        })
    }
}
