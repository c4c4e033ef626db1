//! The posterior that samplers move in: num_data * mean log-likelihood + log prior, and its gradient, one batch at a time.
//!
//! Target: pi(theta) proportional to exp((num_data * mean_log_lik + log_prior) / T); the temperature T is the sampler's. A weight may stand before
//! num_data: [`Posterior::with_likelihood_weight`]. `num_data` counts
//! what the mean runs over: tokens with [`Objective::All`], windows with [`Objective::Last`]. See `docs/conventions.md`.

mod prior;

pub use crate::backend::PriorFamily;
use crate::backend::{Backend, Precision, PriorTerms, Scalars, Transfer};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::gpt::{Gpt, Objective, SquareSums, Squares, TokenBatch, Workspace};
use crate::memory;
use crate::rng::{Stream, StreamTag};
pub use prior::{PRIOR_FLOOR, Prior, PriorUnits};

/// What one batch says of the posterior at the current parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogPosterior {
    /// Mean log-likelihood of the batch, nats (per token or per window, as the objective says).
    pub log_lik: f64,
    /// Log prior without its constant; of a normal -1/2 sum ((theta - center) / sd)^2.
    pub log_prior: f64,
    /// likelihood_weight * num_data * log_lik + log_prior.
    pub log_post: f64,
}

/// A GPT's posterior on a device. Holds the gradient and the workspace, so one thread at a time.
pub struct Posterior<B: Backend> {
    backend: B,
    gpt: Gpt,
    objective: Objective,
    b: usize,
    t: usize,
    num_data: f64,
    likelihood_weight: f64,
    family: PriorFamily,
    std: f32,
    center: Option<B::Vector>,
    scales: Option<B::Vector>,
    ws: Workspace<B>,
    grad: B::Vector,
}

impl<B: Backend> Posterior<B> {
    /// Creates the posterior of `gpt` for batches of up to `b` sequences of `t` tokens.
    ///
    /// # Errors
    /// When `num_data` is not at least 1, the prior's standard deviation is not positive, or a prior's vector has another length than the
    /// model or a value that is not finite.
    pub fn new(
        backend: &B,
        gpt: &Gpt,
        prior: &Prior,
        num_data: f64,
        objective: Objective,
        b: usize,
        t: usize,
    ) -> Result<Self> {
        if !(num_data >= 1.0 && num_data.is_finite()) {
            return Err(Error::out_of_range("num_data", "at least 1", num_data));
        }
        prior.validate()?;
        let on_device = |what: &str, v: &Option<Vec<f32>>| {
            v.as_ref()
                .map(|v| {
                    if v.len() != gpt.n_params() {
                        return Err(Error::shape(what, [gpt.n_params()], [v.len()]));
                    }
                    if let Some(at) = v.iter().position(|v| !v.is_finite()) {
                        let what = format!("{what}[{at}]");
                        return Err(Error::out_of_range(what, "a finite number", v[at]));
                    }
                    let mut buf = backend.zeros(v.len())?;
                    backend.upload(&mut buf, v)?;
                    Ok::<_, Error>(buf)
                })
                .transpose()
        };
        Ok(Self {
            backend: backend.clone(),
            gpt: gpt.clone(),
            objective,
            b,
            t,
            num_data,
            likelihood_weight: 1.0,
            family: prior.family,
            std: prior.std,
            center: on_device("prior's center", &prior.center)?,
            scales: on_device("prior's units", &prior.units.scales(gpt.n_params())?)?,
            ws: Workspace::for_gradients(backend, gpt.config(), b, t)?,
            grad: backend.zeros(gpt.n_params())?,
        })
    }

    /// Returns the posterior with the likelihood to the power `weight`, beside the temperature, which tempers the prior too: above 1 sharpens, below 1
    /// distrusts the data.
    ///
    /// # Errors
    /// When it is not a positive number.
    pub fn with_likelihood_weight(mut self, weight: f64) -> Result<Self> {
        if !(weight > 0.0 && weight.is_finite()) {
            let expected = "a positive number";
            return Err(Error::out_of_range("likelihood_weight", expected, weight));
        }
        self.likelihood_weight = weight;
        Ok(self)
    }

    /// Returns the posterior with products of f32 operands, whatever the device's precision: for differences of gradients, which rounded operands would drown.
    pub fn with_f32_products(mut self) -> Self {
        self.backend = self.backend.with_precision(Precision::Highest);
        self
    }

    /// Runs `f` on this posterior as [`Posterior::with_f32_products`] makes it.
    pub(crate) fn in_f32<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let f32_products = self.backend.with_precision(Precision::Highest);
        let own = std::mem::replace(&mut self.backend, f32_products);
        let result = f(self);
        self.backend = own;
        result
    }

    /// Returns the model.
    pub fn gpt(&self) -> &Gpt {
        &self.gpt
    }

    /// Returns what the mean log-likelihood is multiplied by.
    pub fn num_data(&self) -> f64 {
        self.num_data
    }

    /// Returns whether the prior is a normal with one standard deviation for all parameters.
    pub fn has_one_precision(&self) -> bool {
        self.family == PriorFamily::Normal && self.scales.is_none()
    }

    /// Positions of a sequence that count.
    pub fn positions(&self) -> f64 {
        match self.objective {
            Objective::All => self.t as f64,
            Objective::Last => 1.0,
        }
    }

    /// Returns how many sequences the likelihood counts as: num_data over the positions of a sequence that count, times the likelihood's weight.
    pub fn sequences(&self) -> f64 {
        self.likelihood_weight * self.num_data / self.positions()
    }

    /// Returns the number of sequences per batch, B: the most that [`Posterior::evaluate`] takes.
    pub fn batch(&self) -> usize {
        self.b
    }

    /// Returns the curvature of -log prior at its centre, (n_params).
    ///
    /// # Errors
    /// When the prior has none (a Laplace prior), or the device cannot be read.
    pub fn prior_curvature(&self) -> Result<Vec<f32>> {
        let curvature = self.family.curvature();
        if curvature == 0.0 {
            return Err(Error::conflict(
                "the preconditioner adds the prior's curvature, and a Laplace prior has none: choose normal or student_t",
            ));
        }
        let mut scale = memory::filled(self.gpt.n_params(), 1.0f32, "the prior's curvature")?;
        if let Some(own) = &self.scales {
            self.backend.download(own, &mut scale)?;
        }
        let of = |s: f32| (curvature / (self.std as f64 * s as f64).powi(2)) as f32;
        scale.iter_mut().for_each(|s| *s = of(*s));
        Ok(scale)
    }

    /// Returns the gradient of the log posterior that [`Posterior::evaluate`] left, (n_params).
    pub fn grad(&self) -> &B::Vector {
        &self.grad
    }

    /// Computes the log posterior of a batch at `params`; its gradient is then in [`Posterior::grad`].
    ///
    /// # Errors
    /// When shapes or tokens do not fit.
    pub fn evaluate(&mut self, params: &B::Vector, batch: &Batch) -> Result<LogPosterior> {
        self.evaluate_likelihood(params, batch, None)
    }

    /// Computes the mean log-likelihood of a batch at `params`, by a forward pass alone: about a third of [`Posterior::evaluate`]'s work.
    ///
    /// # Errors
    /// When shapes or tokens do not fit.
    pub fn log_lik(&mut self, params: &B::Vector, batch: &Batch) -> Result<f64> {
        let batch = tokens(batch, self.objective);
        let loss = (self.gpt).loss(&self.backend, params, batch, &mut self.ws)?;
        Ok(-loss)
    }

    /// Computes the log posterior of a batch at `params` and its gradient ([`Posterior::grad`]), and adds to `squares` (n_params) the squares of the
    /// gradients of the sequences' log likelihoods, without prior and without `num_data`: see [`Gpt::gradient_and_squares`].
    ///
    /// # Errors
    /// Returns the errors of [`Posterior::evaluate`], and an error when `squares` has another length than the model.
    pub fn evaluate_with_squares(
        &mut self,
        params: &B::Vector,
        batch: &Batch,
        squares: &mut B::Vector,
    ) -> Result<LogPosterior> {
        self.evaluate_likelihood(params, batch, Some(squares))
    }

    /// Computes the mean log-likelihood of a batch at `params`; minus its gradient (of the mean loss, that is) is then in [`Posterior::grad`], and the
    /// squares of the sequences' are added to `squares` (n_params), or those that `of` says: there is no gradient then. The prior has no part
    /// in it.
    ///
    /// # Errors
    /// Returns the errors of [`Posterior::evaluate_with_squares`].
    pub fn likelihood_with_squares(
        &mut self,
        params: &B::Vector,
        batch: &Batch,
        of: Squares,
        squares: &mut B::Vector,
    ) -> Result<f64> {
        let scale = self.launch_squares(params, batch, of, squares)?;
        let found = self.backend.read(&mut self.ws.record)?;
        Ok(scale.log_posterior(&found).log_lik)
    }

    /// Launches what [`Posterior::likelihood_with_squares`] computes, and leaves the scalars in the posterior's record. Returns how the log likelihood is
    /// made from them.
    ///
    /// # Errors
    /// Returns the errors of [`Posterior::evaluate_with_squares`].
    pub(crate) fn launch_squares(
        &mut self,
        params: &B::Vector,
        batch: &Batch,
        of: Squares,
        squares: &mut B::Vector,
    ) -> Result<Scale> {
        let batch = tokens(batch, self.objective);
        let (be, ws, grad) = (&self.backend, &mut self.ws, &mut self.grad);
        let squares = SquareSums { of, to: squares };
        (self.gpt).launch_squares(be, params, batch, ws, grad, squares)?;
        Ok(self.scale(batch.count()))
    }

    /// Launches the mean log-likelihood of a batch at `params`, without the prior; minus its gradient is then in [`Posterior::grad`], the scalars are in the
    /// posterior's record, and how they make the log likelihood comes back.
    ///
    /// # Errors
    /// When shapes or tokens do not fit.
    pub(crate) fn launch_likelihood(&mut self, params: &B::Vector, batch: &Batch) -> Result<Scale> {
        let batch = tokens(batch, self.objective);
        let (be, ws, grad) = (&self.backend, &mut self.ws, &mut self.grad);
        (self.gpt).launch_gradient(be, params, batch, None, ws, grad)?;
        Ok(self.scale(batch.count()))
    }

    fn scale(&self, count: usize) -> Scale {
        Scale {
            weight: self.likelihood_weight * self.num_data,
            count,
            given: None,
        }
    }

    /// Computes the head's inputs (B, T, C) and the logits (B, T, V) of a batch at `params`.
    ///
    /// # Errors
    /// When shapes or tokens do not fit.
    pub fn head_inputs(
        &mut self,
        params: &B::Vector,
        batch: &Batch,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let (c, rows) = (self.gpt.config(), batch.x.len());
        let mut inputs = memory::zeros(rows * c.n_embd, "the head's inputs")?;
        let mut logits = memory::zeros(rows * c.vocab_size, "logits")?;
        let (be, ws, batch) = (&self.backend, &mut self.ws, tokens(batch, self.objective));
        (self.gpt).head_inputs(be, params, batch, ws, &mut inputs, &mut logits)?;
        Ok((inputs, logits))
    }

    /// Returns which positions count.
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// Puts labels drawn from the model's own prediction at `params` in place of the batch's: number `draw` of `seed`.
    ///
    /// # Errors
    /// When shapes or tokens do not fit, and [`Error::NotFinite`] when a prediction is not finite.
    pub fn draw_labels(
        &mut self,
        params: &B::Vector,
        seed: u64,
        draw: u64,
        batch: &mut Batch,
    ) -> Result<()> {
        let v = self.gpt.config().vocab_size;
        let mut logits = memory::zeros(batch.x.len() * v, "logits")?;
        let (be, ws) = (&self.backend, &mut self.ws);
        self.gpt
            .logits(be, params, &batch.x, batch.t, ws, &mut logits)?;
        let stream = Stream::new(seed, StreamTag::Labels, 0);
        for (row, (z, y)) in logits.chunks(v).zip(&mut batch.y).enumerate() {
            let top = z.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b)) as f64;
            let weight = |z: f32| (z as f64 - top).exp();
            let total: f64 = z.iter().map(|&z| weight(z)).sum();
            if !total.is_finite() {
                return Err(Error::NotFinite {
                    step: draw,
                    tensor: format!("logits of row {row}"),
                    value: top as f32,
                });
            }
            let mut left = stream.uniform(draw, row as u64) * total;
            let drawn = z.iter().position(|&z| {
                left -= weight(z);
                left < 0.0
            });
            *y = drawn.unwrap_or(v - 1) as u16;
        }
        Ok(())
    }

    /// Launches the log posterior of a batch at `params` and its gradient, which is then in [`Posterior::grad`], with the scalars in the
    /// posterior's record; how they make the log posterior comes back. With `squares` as [`Posterior::evaluate_with_squares`].
    ///
    /// # Errors
    /// Returns the errors of [`Posterior::evaluate_with_squares`].
    pub(crate) fn launch(
        &mut self,
        params: &B::Vector,
        batch: &Batch,
        squares: Option<&mut B::Vector>,
    ) -> Result<Scale> {
        let batch = tokens(batch, self.objective);
        let (be, ws, grad) = (&self.backend, &mut self.ws, &mut self.grad);
        match squares {
            None => (self.gpt).launch_gradient(be, params, batch, None, ws, grad)?,
            Some(squares) => {
                let of = Squares::Gradients;
                let squares = SquareSums { of, to: squares };
                (self.gpt).launch_squares(be, params, batch, ws, grad, squares)?
            }
        }
        self.add_prior(params)?;
        Ok(self.scale(batch.count()))
    }

    /// Takes in the gradient of a mean loss at `params`, (n_params), and that loss, as if they were a batch's, and launches the rest of
    /// [`Posterior::launch`].
    ///
    /// # Errors
    /// [`Error::Shape`] for another length, and when the device has no room.
    pub(crate) fn launch_given(
        &mut self,
        params: &B::Vector,
        grad: &[f32],
        loss: f64,
    ) -> Result<Scale> {
        self.gpt.layout().check(grad)?;
        self.backend.upload(&mut self.grad, grad)?;
        // Nothing of an earlier pass is taken for this one's.
        self.ws.record = self.backend.record()?;
        self.add_prior(params)?;
        Ok(Scale {
            given: Some(-loss),
            ..self.scale(1)
        })
    }

    /// Launches what makes the gradient of the log posterior of that of the mean loss.
    fn add_prior(&mut self, params: &B::Vector) -> Result<()> {
        let prior = PriorTerms {
            center: self.center.as_ref(),
            scales: self.scales.as_ref(),
            std: self.std,
            family: self.family,
        };
        let weight = (self.likelihood_weight * self.num_data) as f32;
        let (be, record) = (&self.backend, &mut self.ws.record);
        be.posterior_gradient(&mut self.grad, params, prior, weight, record)
    }

    /// Returns the gradient and the scalars that [`Posterior::launch`] left.
    pub(crate) fn launched(&mut self) -> (&B::Vector, &mut B::Record) {
        (&self.grad, &mut self.ws.record)
    }

    fn evaluate_likelihood(
        &mut self,
        params: &B::Vector,
        batch: &Batch,
        squares: Option<&mut B::Vector>,
    ) -> Result<LogPosterior> {
        let scale = self.launch(params, batch, squares)?;
        let found = self.backend.read(&mut self.ws.record)?;
        Ok(scale.log_posterior(&found))
    }
}

/// How a pass's scalars make a log posterior.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    weight: f64,        // of the mean log-likelihood
    count: usize,       // positions that it is the mean of
    given: Option<f64>, // mean log-likelihood that the caller has computed
}

impl Scale {
    /// Returns the log posterior of these scalars.
    pub(crate) fn log_posterior(self, found: &Scalars) -> LogPosterior {
        let mean = || -(found.nll / self.count as f64);
        let (log_lik, log_prior) = (self.given.unwrap_or_else(mean), found.log_prior);
        LogPosterior {
            log_lik,
            log_prior,
            log_post: self.weight * log_lik + log_prior,
        }
    }
}

fn tokens(batch: &Batch, objective: Objective) -> TokenBatch<'_> {
    TokenBatch::new(&batch.x, &batch.y, batch.t, objective)
}
