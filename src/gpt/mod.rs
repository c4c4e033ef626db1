//! nanoGPT's GPT: learned positions, pre-norm blocks, causal attention, GELU, a tied or separate head; forward, backward, decoding.
//!
//! Radford et al. 2019 (GPT-2), as <https://github.com/karpathy/nanoGPT> writes it. The model holds no parameters: they are one flat
//! vector that samplers move, and every call takes it.

mod backward;
mod block;
mod config;
mod ensemble;
mod forward;
mod linearised;
mod params;
mod views;
mod workspace;

pub use crate::backend::{Gelu, Objective, WeightType};
pub use config::{GptConfig, NAMED};
pub use ensemble::{Ensemble, Piece};
pub use linearised::Linearised;
pub use params::{Layout, Tensor};
pub use views::{BlockViews, LinearViews, NormViews, ParamViews};
pub use workspace::Workspace;

use crate::backend::vectors::Combine;
use crate::backend::{Backend, Cotangent, Dropout, Linear, LossShape, Params, WeightGrad};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::Stream;
use backward::Backward;
use block::{Attend, Pass};
use forward::forward;

/// A GPT's shape with the layout of its parameters. It can be shared between threads.
#[derive(Clone, Debug)]
pub struct Gpt {
    config: GptConfig,
    layout: Layout,
}

/// The address of a training step's dropout masks; the rate is in the model's configuration.
#[derive(Clone, Copy, Debug)]
pub struct Training {
    /// Seed of the run.
    pub seed: u64,
    /// Step of the run.
    pub step: u64,
}

/// A batch's tokens: inputs x and the targets y that follow them, both (B, T).
#[derive(Clone, Copy, Debug)]
pub struct TokenBatch<'a> {
    /// Inputs.
    pub x: &'a [u16],
    /// Targets.
    pub y: &'a [u16],
    /// Tokens T per sequence.
    pub t: usize,
    /// Which positions count in the loss.
    pub objective: Objective,
}

/// The squares that [`Gpt::gradient_and_squares`] adds up.
#[derive(Clone, Copy, Debug)]
pub enum Squares {
    /// The squares of the sequences' gradients: the empirical Fisher information.
    Gradients,
    /// In place of the gradient of a sequence's log likelihood, the product of its Jacobian with a random cotangent of the logits whose
    /// covariance is the cross-entropy's Hessian in them. The expectation of the squares is the diagonal of the generalised Gauss-Newton
    /// matrix, summed over the sequences (Martens 2020, "New Insights and Perspectives on the Natural Gradient Method", section 8): it does
    /// not depend on the labels. The gradient's buffer is overwritten with unspecified numbers.
    Curvature {
        /// The stream of the cotangents' signs.
        stream: Stream,
        /// The number of the draw.
        draw: u64,
    },
}

/// The squares to add up, and their sum.
#[derive(Debug)]
pub struct SquareSums<'a, V> {
    /// Which squares.
    pub of: Squares,
    /// Where they are added, (n_params).
    pub to: &'a mut V,
}

impl Gpt {
    /// Creates a model of this shape.
    ///
    /// # Errors
    /// Returns an error when the shape cannot be built.
    pub fn new(config: GptConfig) -> Result<Self> {
        config.check()?;
        let layout = Layout::new(&config);
        Ok(Self { config, layout })
    }

    /// Returns the shape.
    pub fn config(&self) -> &GptConfig {
        &self.config
    }

    /// Returns the layout: where each tensor lies in the flat vector.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the number of parameters.
    pub fn n_params(&self) -> usize {
        self.layout.len()
    }

    /// Computes the logits (B, T, V) of tokens x (B, T) into the caller's slice.
    ///
    /// # Errors
    /// Returns an error when shapes do not fit the model or the workspace, or a token is out of range.
    pub fn logits<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        x: &[u16],
        t: usize,
        ws: &mut Workspace<B>,
        out: &mut [f32],
    ) -> Result<()> {
        let v = self.config.vocab_size;
        if out.len() != x.len() * v {
            return Err(Error::shape("logits", [x.len() * v], [out.len()]));
        }
        let made = self.logits_on_device(backend, params, x, t, ws)?;
        backend.download_act(made, v, out)
    }

    /// Computes what [`Gpt::logits`] does, and leaves it on the device.
    ///
    /// # Errors
    /// Fails as [`Gpt::logits`] does.
    pub fn logits_on_device<'w, B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        x: &[u16],
        t: usize,
        ws: &'w mut Workspace<B>,
    ) -> Result<&'w B::Act> {
        let batch = TokenBatch::new(x, &[], t, Objective::All);
        ws.take(backend, self, params, &batch, false)?;
        let pass = self.pass(backend, params, &batch, None);
        backend.host().batch(self.work(x.len()), || {
            forward(&pass, ws, Attend::Windows(t))
        })?;
        Ok(&ws.logits)
    }

    /// Computes the log-probability in nats of each target of the batch into the caller's slice (B, T).
    ///
    /// # Errors
    /// Fails as [`Gpt::logits`] does. Values that are not finite are returned unchanged.
    pub fn log_prob<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        batch: TokenBatch<'_>,
        ws: &mut Workspace<B>,
        out: &mut [f32],
    ) -> Result<()> {
        let n = batch.x.len();
        if out.len() != n {
            return Err(Error::shape("log-probabilities", [n], [out.len()]));
        }
        self.loss(backend, params, batch, ws)?;
        backend.download_act(&ws.nll, 1, out)?;
        out.iter_mut().for_each(|v| *v = -*v);
        Ok(())
    }

    /// Returns the mean negative log-likelihood in nats of the batch's targets, over the positions that count; summed in f64.
    ///
    /// # Errors
    /// Fails as [`Gpt::logits`] does. A loss that is not finite is returned unchanged.
    pub fn loss<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        batch: TokenBatch<'_>,
        ws: &mut Workspace<B>,
    ) -> Result<f64> {
        ws.take(backend, self, params, &batch, true)?;
        let pass = self.pass(backend, params, &batch, None);
        backend.host().batch(self.work(batch.x.len()), || {
            forward(&pass, ws, Attend::Windows(batch.t))?;
            self.cross_entropy(backend, &batch, Cotangent::None, ws)
        })?;
        batch.read_loss(backend, ws)
    }

    /// Adds the prediction of these parameters for the batch's targets to the sums of an average. No logits leave the device.
    ///
    /// # Errors
    /// Fails as [`Gpt::logits`] does, and when the sums are for fewer tokens.
    pub fn predict<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        batch: TokenBatch<'_>,
        ws: &mut Workspace<B>,
        to: &mut B::Predictive,
    ) -> Result<()> {
        ws.take(backend, self, params, &batch, true)?;
        let (pass, rows) = (self.pass(backend, params, &batch, None), batch.x.len());
        backend.host().batch(self.work(rows), || {
            forward(&pass, ws, Attend::Windows(batch.t))?;
            backend.predict(to, &ws.logits, &ws.y, rows)
        })
    }

    /// Returns the loss and overwrites `grad` (n_params) with its gradient in the parameters.
    ///
    /// With `training`, dropout is drawn at the configuration's rate; without, there is none.
    ///
    /// # Errors
    /// Fails as [`Gpt::logits`] does, and when the workspace is not one for gradients.
    pub fn gradient<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        batch: TokenBatch<'_>,
        training: Option<Training>,
        ws: &mut Workspace<B>,
        grad: &mut B::Vector,
    ) -> Result<f64> {
        self.launch_gradient(backend, params, batch, training, ws, grad)?;
        batch.read_loss(backend, ws)
    }

    /// Computes what [`Gpt::gradient`] does, and leaves the loss in the workspace's record.
    pub(crate) fn launch_gradient<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        batch: TokenBatch<'_>,
        training: Option<Training>,
        ws: &mut Workspace<B>,
        grad: &mut B::Vector,
    ) -> Result<()> {
        ws.take(backend, self, params, &batch, true)?;
        self.check_len(backend, "gradient", grad)?;
        let training = training.filter(|_| self.config.dropout > 0.0);
        let pass = self.pass(backend, params, &batch, training);
        // The gradient of the mean from the start: no pass of its own for the scale.
        let cotangent = Cotangent::Gradient(1.0 / batch.count() as f32);
        let to = batch.weight_grad(grad, None);
        backend.host().batch(self.work(batch.x.len()), || {
            self.there_and_back(&pass, params, &batch, cotangent, ws, to)
        })
    }

    /// Computes the gradient like [`Gpt::gradient`] without dropout, and adds to `squares`, for each sequence of the batch, the square of
    /// the gradient of its log likelihood, summed over the positions that the objective counts; or the squares that [`Squares`] describes. Divided by the number of sequences, the result is the diagonal of the empirical Fisher information per sequence.
    ///
    /// It takes one pass over the batch, and no sequence's gradient is ever stored as a whole. The mean gradient differs from that of
    /// [`Gpt::gradient`] only by rounding.
    ///
    /// Range: squares are taken of the *summed* log likelihood's gradient, not of the mean's, which would be (B T)^2 times smaller. An
    /// element of that gradient between 1.1e-19 and 1.8e19 in size has a square that f32 holds with all its digits; below, the square loses
    /// digits, and below 2.6e-23 it counts as 0. `squares` is an f32 sum: it stops growing where a square is below 6e-8 of it.
    ///
    /// # Errors
    /// Fails as [`Gpt::gradient`] does; `squares` is then as before. A loss that is not finite is returned unchanged, and `squares` is then
    /// unspecified.
    pub fn gradient_and_squares<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        batch: TokenBatch<'_>,
        ws: &mut Workspace<B>,
        grad: &mut B::Vector,
        squares: SquareSums<'_, B::Vector>,
    ) -> Result<f64> {
        self.launch_squares(backend, params, batch, ws, grad, squares)?;
        batch.read_loss(backend, ws)
    }

    /// Computes what [`Gpt::gradient_and_squares`] does, and leaves the loss in the workspace's record.
    pub(crate) fn launch_squares<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        batch: TokenBatch<'_>,
        ws: &mut Workspace<B>,
        grad: &mut B::Vector,
        squares: SquareSums<'_, B::Vector>,
    ) -> Result<()> {
        ws.take(backend, self, params, &batch, true)?;
        self.check_len(backend, "gradient", grad)?;
        self.check_len(backend, "squares", squares.to)?;
        let pass = self.pass(backend, params, &batch, None);
        let cotangent = match squares.of {
            Squares::Gradients => Cotangent::Gradient(1.0),
            Squares::Curvature { stream, draw } => Cotangent::Curvature { stream, draw },
        };
        backend.host().batch(self.work(batch.x.len()), || {
            let to = batch.weight_grad(grad, Some(squares.to));
            self.there_and_back(&pass, params, &batch, cotangent, ws, to)?;
            backend.combine(grad, Combine::Scale(1.0 / batch.count() as f32))
        })
    }

    /// Computes the head's inputs (B, T, C) and the logits (B, T, V) of the batch's tokens x (B, T) into the caller's slices.
    ///
    /// # Errors
    /// Fails as [`Gpt::logits`] does.
    pub fn head_inputs<B: Backend>(
        &self,
        backend: &B,
        params: &B::Vector,
        batch: TokenBatch<'_>,
        ws: &mut Workspace<B>,
        inputs: &mut [f32],
        logits: &mut [f32],
    ) -> Result<()> {
        let (n, c) = (batch.x.len(), self.config.n_embd);
        if inputs.len() != n * c {
            return Err(Error::shape("head's inputs", [n * c], [inputs.len()]));
        }
        self.logits(backend, params, batch.x, batch.t, ws, logits)?;
        // The forward pass leaves the last norm's output there.
        backend.download_act(&ws.norm, c, inputs)
    }

    /// Runs the passes forward and backward from the workspace's tokens, and leaves the loss in its record.
    fn there_and_back<B: Backend>(
        &self,
        pass: &Pass<'_, B>,
        params: &B::Vector,
        batch: &TokenBatch<'_>,
        cotangent: Cotangent,
        ws: &mut Workspace<B>,
        to: WeightGrad<'_, B>,
    ) -> Result<()> {
        forward(pass, ws, Attend::Windows(batch.t))?;
        self.cross_entropy(pass.be, batch, cotangent, ws)?;
        Backward { pass, params, to }.run(ws)
    }

    fn pass<'a, B: Backend>(
        &'a self,
        be: &'a B,
        params: &'a B::Vector,
        batch: &TokenBatch<'_>,
        training: Option<Training>,
    ) -> Pass<'a, B> {
        Pass {
            be,
            gpt: self,
            params: Params::Flat(params),
            rows: batch.x.len(),
            training,
        }
    }

    /// Computes the summed loss of the workspace's logits and replaces them with the cotangent.
    fn cross_entropy<B: Backend>(
        &self,
        backend: &B,
        batch: &TokenBatch<'_>,
        cotangent: Cotangent,
        ws: &mut Workspace<B>,
    ) -> Result<()> {
        let shape = LossShape {
            rows: batch.x.len(),
            t: batch.t,
            v: self.config.vocab_size,
            objective: batch.objective,
        };
        let (nll, logits) = (&mut ws.nll, &mut ws.logits);
        backend.cross_entropy(nll, logits, &ws.y, shape, cotangent, &mut ws.record)
    }

    fn check_len<B: Backend>(&self, backend: &B, what: &str, buf: &B::Vector) -> Result<()> {
        let (n, got) = (self.n_params(), backend.len(buf));
        if got != n {
            return Err(Error::shape(what, [n], [got]));
        }
        Ok(())
    }

    /// Returns about how many multiplications `rows` tokens take in a forward pass.
    fn work(&self, rows: usize) -> usize {
        rows.saturating_mul(self.n_params())
    }

    /// Returns this model with a separate head in place of a tied one.
    pub fn untied(&self) -> Self {
        let config = GptConfig {
            tie_weights: false,
            ..self.config.clone()
        };
        let layout = Layout::new(&config);
        Self { config, layout }
    }

    /// Returns the parameters of [`Gpt::untied`] that make the same model as these, (n_params): the head's are a copy of the embedding's.
    ///
    /// # Errors
    /// Returns an error when there are not as many as the model has.
    pub fn untie(&self, params: &[f32]) -> Result<Vec<f32>> {
        self.layout.check(params)?;
        let own = if self.config.tie_weights {
            &params[self.layout.tables.wte.clone()]
        } else {
            &[]
        };
        let n = params.len() + own.len();
        let mut all = memory::room(n, &format!("a model's {n} parameters"))?;
        all.extend_from_slice(params);
        all.extend_from_slice(own);
        Ok(all)
    }

    /// Returns the head: logits = x w^T.
    fn head(&self) -> Linear {
        Linear {
            weight: self.layout.head.clone(),
            bias: None,
            n_in: self.config.n_embd,
            n_out: self.config.vocab_size,
        }
    }

    /// Returns the dropout mask of a site in the model: 0 is the embedding, then come attention, its projection and the MLP of each block.
    fn dropout(&self, training: Option<Training>, site: usize) -> Option<Dropout> {
        training.map(|t| Dropout {
            p: self.config.dropout,
            seed: t.seed,
            step: t.step,
            site: site as u32,
        })
    }
}

impl<'a> TokenBatch<'a> {
    /// Takes inputs `x` and targets `y`, both (B, T), in sequences of `t`.
    pub fn new(x: &'a [u16], y: &'a [u16], t: usize, objective: Objective) -> Self {
        Self { x, y, t, objective }
    }

    /// Returns the mean loss that a pass left in the workspace's record.
    fn read_loss<B: Backend>(&self, backend: &B, ws: &mut Workspace<B>) -> Result<f64> {
        let found = backend.read(&mut ws.record)?;
        Ok(found.nll / self.count() as f64)
    }

    /// Returns how many positions count.
    pub(crate) fn count(&self) -> usize {
        self.objective.count(self.x.len(), self.t)
    }

    fn weight_grad<'b, B: Backend>(
        &self,
        grad: &'b mut B::Vector,
        squares: Option<&'b mut B::Vector>,
    ) -> WeightGrad<'b, B> {
        WeightGrad {
            grad,
            squares,
            rows: self.x.len(),
            t: self.t,
        }
    }
}
