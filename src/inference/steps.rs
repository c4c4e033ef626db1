//! One step of a session: a batch or the caller's gradient goes in, the monitors look before and after it, and its report comes out.

use super::engine::{Engine, no_fit};
use super::monitor::{AfterStep, Monitor, StepReport};
use super::session::{Session, no_batches, progress};
use crate::backend::Backend;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::samplers::{ChainReport, Phase, Sampler};

impl<B: Backend + 'static> Session<B> {
    /// Makes the next step on its own batch, which is a function of (seed, chain, step).
    ///
    /// # Errors
    /// [`Error::NotFinite`] with step and tensor when the chain diverges; [`Error::Conflict`] when every step was made, and with gradients of the
    /// caller's; a monitor's own.
    pub fn step(&mut self) -> Result<StepReport> {
        self.fill(self.engine.steps_made())?;
        // The batch is back in its place before anything can fail.
        let feed = self.feed.take().ok_or_else(no_batches)?;
        let report = self.step_on(&feed.batch);
        self.feed = Some(feed);
        report
    }

    /// Makes the next step on a batch of the caller's, of at most (B, T) tokens.
    ///
    /// # Errors
    /// Returns the errors of [`Session::step`], and an error when the batch does not fit.
    pub fn step_on(&mut self, batch: &Batch) -> Result<StepReport> {
        let (monitors, watchers) = (&mut self.monitors, &mut self.watchers);
        let report = match &mut self.engine {
            Engine::Chain(c) => {
                let r = c.step_observed(batch, |s, grad| before(monitors, watchers, s, grad))?;
                of_chain(&r, c.sampler())
            }
            Engine::Fit(f) => {
                let r = f.step(batch)?;
                of_fit(r.step, Some(r.log_lik), Some(r.log_post))
            }
            Engine::GradientChain(_) | Engine::GradientFit(_) => return Err(no_batches()),
        };
        self.made(report, Some(batch))
    }

    /// Fills `batch` with the one of a step, which is a function of (seed, chain, step).
    ///
    /// # Errors
    /// [`Error::Conflict`] on gradients of the caller's and without a text; [`Error::Shape`] for another (B, T).
    pub fn batch(&self, step: u64, batch: &mut Batch) -> Result<()> {
        let (seed, chain) = (self.header.seed, self.header.chain);
        let feed = self.feed.as_ref().ok_or_else(no_batches)?;
        if !feed.corpus.has_text() {
            return Err(no_text());
        }
        (feed.batches).fill(&feed.corpus.train, seed, chain, step, batch)
    }

    /// Makes the next step of a chain on a model's posterior, given the gradient of the mean loss at [`Session::params`], (n_params), and that loss in nats,
    /// which somebody else has computed: as the mean over several machines, or of a likelihood of the caller's. The prior, `num_data` and the likelihood's
    /// weight are the session's. With what [`Evaluator::gradient`](super::Evaluator::gradient) gives for the batch of the step, the step has the bits of [`Session::step`].
    ///
    /// # Errors
    /// Returns the errors of [`Session::step`]; [`Error::Conflict`] for fits, while a mass is estimated from sequences, and with a live mass's
    /// divergence term, which need more than one gradient; [`Error::Shape`] for another length.
    pub fn step_with_loss_gradient(&mut self, grad: &[f32], loss: f64) -> Result<StepReport> {
        let (monitors, watchers) = (&mut self.monitors, &mut self.watchers);
        let report = match &mut self.engine {
            Engine::Chain(c) => {
                let look = |s: &Sampler<B>, g: &B::Vector| before(monitors, watchers, s, g);
                let r = c.step_with_loss_gradient(grad, loss, look)?;
                of_chain(&r, c.sampler())
            }
            Engine::Fit(f) => {
                let method = f.config().method;
                return Err(Error::conflict(format!(
                    "{method} takes more than a gradient from a batch: step on a batch"
                )));
            }
            Engine::GradientChain(_) | Engine::GradientFit(_) => return Err(no_batches()),
        };
        self.made(report, None)
    }

    /// Makes the next step of a chain, or takes in a draw of VI's, given the gradient of the log posterior at [`Session::params`], (n_params), and its
    /// value. None while draws of VI's step are left.
    ///
    /// # Errors
    /// [`Error::NotFinite`]: for a gradient or a log posterior the session is as before; [`Error::Conflict`] for EKF and Laplace, on a model's
    /// posterior, and when every step was made; [`Error::Shape`] for another length.
    pub fn step_with_gradient(
        &mut self,
        grad: &[f32],
        log_post: f64,
    ) -> Result<Option<StepReport>> {
        self.upload(&[("gradient", grad)])?;
        let (monitors, watchers) = (&mut self.monitors, &mut self.watchers);
        let report = match &mut self.engine {
            Engine::GradientChain(c) => {
                let look = |s: &Sampler<B>, g: &B::Vector| before(monitors, watchers, s, g);
                let r = c.step(&self.grad[0], log_post, look)?;
                StepReport {
                    step: r.step,
                    phase: r.phase,
                    log_lik: None,
                    log_prior: None,
                    log_post: Some(r.log_post),
                    kinetic_temperature: r.kinetic_temperature,
                    configurational_temperature: Some(r.configurational_temperature),
                    xi: r.xi,
                    sample_due: r.sample_due,
                }
            }
            Engine::GradientFit(f) => match f.step_with_gradient(&self.grad[0], log_post)? {
                Some(r) => of_fit(r.step, None, Some(r.value)),
                None => return Ok(None),
            },
            Engine::Chain(_) | Engine::Fit(_) => return Err(no_gradients()),
        };
        self.made(report, None).map(Some)
    }

    /// Makes the next step of EKF or Laplace, given what a batch of observations says at [`Session::params`]: the means of the gradients of their log
    /// likelihoods and of the squares of those, (n_params) each, and the mean log likelihood. The prior has no part in them.
    ///
    /// # Errors
    /// Returns the errors of [`Session::step_with_gradient`], and [`Error::Conflict`] for chains and VI.
    pub fn step_with_squares(
        &mut self,
        grad: &[f32],
        squares: &[f32],
        log_lik: f64,
    ) -> Result<StepReport> {
        self.upload(&[("gradient", grad), ("squares", squares)])?;
        let report = match &mut self.engine {
            Engine::GradientFit(f) => {
                let r = f.step_with_squares(&self.grad[0], 1.0, &self.grad[1], 1.0, log_lik)?;
                of_fit(r.step, Some(r.value), None)
            }
            Engine::GradientChain(_) => return Err(no_fit()),
            Engine::Chain(_) | Engine::Fit(_) => return Err(no_gradients()),
        };
        self.made(report, None)
    }

    /// Fills the batch of a step, a function of (seed, chain, step).
    pub(super) fn fill(&mut self, step: u64) -> Result<&Batch> {
        let (seed, chain) = (self.header.seed, self.header.chain);
        let feed = self.feed.as_mut().ok_or_else(no_batches)?;
        if !feed.corpus.has_text() {
            return Err(no_text());
        }
        (feed.batches).fill(&feed.corpus.train, seed, chain, step, &mut feed.batch)?;
        Ok(&feed.batch)
    }

    /// Lets the monitors look at what a step made, and keeps its report.
    fn made(&mut self, report: StepReport, batch: Option<&Batch>) -> Result<StepReport> {
        self.last = Some(report);
        let made = self.engine.steps_made();
        let mut at = AfterStep {
            progress: progress(&self.inference, made),
            engine: &mut self.engine,
            batch,
        };
        for monitor in &mut self.monitors {
            if let Err(e) = monitor.after(&report, &mut at) {
                self.unrecorded = Some(made);
                return Err(e);
            }
        }
        for monitor in &mut self.watchers {
            monitor.after(&report, &mut at)?;
        }
        Ok(report)
    }

    /// Puts vectors of the caller's on the device.
    fn upload(&mut self, vectors: &[(&str, &[f32])]) -> Result<()> {
        let n = self.parameters();
        if let Some((what, v)) = vectors.iter().find(|(_, v)| v.len() != n) {
            return Err(Error::shape(*what, [n], [v.len()]));
        }
        while self.grad.len() < vectors.len() {
            self.grad.push(self.backend.zeros(n)?);
        }
        let all = self.grad.iter_mut().zip(vectors);
        for (buf, (_, v)) in all {
            self.backend.upload(buf, v)?;
        }
        Ok(())
    }
}

fn before<B: Backend + 'static>(
    monitors: &mut [Box<dyn Monitor<B>>],
    watchers: &mut [Box<dyn Monitor<B>>],
    chain: &Sampler<B>,
    grad: &B::Vector,
) -> Result<()> {
    let mut all = monitors.iter_mut().chain(watchers);
    all.try_for_each(|m| m.before(chain, grad))
}

fn of_chain<B: Backend>(r: &ChainReport, sampler: &Sampler<B>) -> StepReport {
    StepReport {
        step: r.step,
        phase: r.phase,
        log_lik: Some(r.at.log_lik),
        log_prior: Some(r.at.log_prior),
        log_post: Some(r.at.log_post),
        kinetic_temperature: r.kinetic_temperature,
        configurational_temperature: r.configurational_temperature,
        xi: sampler.thermostat().map(|t| t.xi),
        sample_due: r.sample_due,
    }
}

fn of_fit(step: u64, log_lik: Option<f64>, log_post: Option<f64>) -> StepReport {
    StepReport {
        step,
        phase: Phase::Warmup,
        log_lik,
        log_prior: None,
        log_post,
        kinetic_temperature: None,
        configurational_temperature: None,
        xi: None,
        sample_due: false,
    }
}

fn no_text() -> Error {
    Error::conflict("there is no text to take a batch from: step on a batch of your own")
}

fn no_gradients() -> Error {
    Error::conflict("this sampler makes its own gradients: call step")
}
