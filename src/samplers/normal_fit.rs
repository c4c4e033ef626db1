//! Fitting normals on a GPT's posterior: one batch a step, by any of the methods.

use super::Phase;
use super::ekf::Squared;
use super::laplace::PriorFit;
use super::last_layer::{HeadBatch, LastLayer};
use super::normal::{Labels, NormalConfig, NormalMethod, Normals};
use super::normal_state::{NormalState, Values};
use crate::backend::vectors::Combine;
use crate::backend::{Backend, Scalars};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::gpt::{Gpt, Squares};
use crate::posterior::Posterior;
use crate::rng::{Purpose, Stream};
use std::cell::Cell;

/// What a batch did to a fit on a GPT's posterior.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitReport {
    /// Which step this was, counted from 0.
    pub step: u64,
    /// Mean log likelihood of the batch, nats; VI's over its draws.
    pub log_lik: f64,
    /// VI's log posterior, mean over its draws; num_data * log_lik otherwise.
    pub log_post: f64,
}

enum Fit<B: Backend> {
    /// Of every parameter.
    Independent {
        normals: Normals<B>,
        squares: B::Vector, // (n_params); empty for VI
    },
    /// Of the head's weights.
    Head(Head<B>),
}

/// A fit of the head with the settings that it is read by.
struct Head<B: Backend> {
    config: NormalConfig,
    fit: LastLayer<B>,
    prior: Option<PriorFit>, // of the curvature as it is
}

impl<B: Backend> Head<B> {
    fn prior_fit(&mut self) -> Result<Option<PriorFit>> {
        if self.config.laplace_fit_prior && self.prior.is_none() {
            self.prior = Some(self.fit.fit_prior(self.config.prior_std.powi(-2))?);
        }
        Ok(self.prior)
    }

    /// The prior's: fitted, or as given.
    fn precision(&mut self) -> Result<f64> {
        let fitted = self.prior_fit()?.map(|p| p.precision);
        Ok(fitted.unwrap_or(self.config.prior_std.powi(-2)))
    }

    /// Of all `n` parameters: 0 but for the head's, which are the last.
    fn sd(&mut self, n: usize) -> Result<Vec<f32>> {
        let p = self.precision()?;
        let own = self.fit.sd(p, self.config.temperature)?;
        let mut sd = vec![0.0; n - own.len()];
        sd.extend(own.iter().map(|&s| s as f32));
        Ok(sd)
    }

    fn average_sd(&mut self, prior_precision: f64) -> Result<f64> {
        let sd = self.fit.sd(prior_precision, self.config.temperature)?;
        Ok(sd.iter().sum::<f64>() / sd.len() as f64)
    }

    fn draw(&mut self, index: u64, out: &mut B::Vector) -> Result<()> {
        let (p, c) = (self.precision()?, &self.config);
        self.fit.draw(p, c.temperature, c.seed, index, out)
    }
}

/// Normals in the making, on a GPT's posterior: one batch a step. One thread at a time.
pub struct NormalFit<B: Backend> {
    backend: B,
    posterior: Posterior<B>,
    fit: Fit<B>,
}

/// (V, C) of a model's head.
fn head(gpt: &Gpt) -> [usize; 2] {
    [gpt.config().vocab_size, gpt.config().n_embd]
}

impl<B: Backend> NormalFit<B> {
    /// Begins about `start`.
    ///
    /// # Errors
    /// As [`Normals::new`], when `start` is not of the model's size, for Laplace when the prior is not normal with one precision, and on the
    /// head alone when the model's is tied.
    pub fn new(
        backend: &B,
        posterior: Posterior<B>,
        start: &[f32],
        config: NormalConfig,
    ) -> Result<Self> {
        let state = NormalState::start(&config, start, head(posterior.gpt()));
        Self::restore(backend, posterior, config, &state)
    }

    /// Goes on from a saved state, bit for bit.
    ///
    /// # Errors
    /// As [`Normals::restore`], and when the state is not of the model's size.
    pub fn restore(
        backend: &B,
        posterior: Posterior<B>,
        config: NormalConfig,
        state: &NormalState,
    ) -> Result<Self> {
        let gpt = posterior.gpt();
        for (_, v) in state.values() {
            // Adam's moments may be left out.
            if let Values::F32(v) = v
                && !(v.is_empty() && state.method() == NormalMethod::Vi)
            {
                gpt.layout().check(v)?;
            }
        }
        let laplace = config.method == NormalMethod::Laplace;
        if laplace && !posterior.has_one_precision() {
            return Err(Error::conflict(
                "laplace adds one precision to all parameters: choose a normal prior of absolute scale",
            ));
        }
        let config = NormalConfig {
            observations: posterior.sequences(),
            ..config
        };
        let fit = match (config.fits_head(), state) {
            (true, NormalState::LastLayer(s)) => {
                config.validate()?;
                if gpt.config().tie_weights {
                    return Err(Error::conflict(
                        "a head's Laplace approximation needs an untied model, whose head is not its embedding: untie it first",
                    ));
                }
                config.check_step(s.step)?;
                Fit::Head(Head {
                    fit: LastLayer::restore(backend, head(gpt), s)?,
                    prior: None,
                    config,
                })
            }
            (true, _) => {
                return Err(Error::conflict(
                    "laplace_structure asks for a head's fit, and the state is another's",
                ));
            }
            (false, state) => {
                let n = match config.method {
                    NormalMethod::Vi => 0,
                    _ => gpt.n_params(),
                };
                Fit::Independent {
                    normals: Normals::restore(backend.clone(), config, state)?,
                    squares: backend.zeros(n)?,
                }
            }
        };
        Ok(Self {
            fit,
            backend: backend.clone(),
            posterior,
        })
    }

    /// The state as plain data.
    ///
    /// # Errors
    /// As [`Normals::state`].
    pub fn state(&self) -> Result<NormalState> {
        match &self.fit {
            Fit::Independent { normals, .. } => normals.state(),
            Fit::Head(h) => h.fit.state().map(NormalState::LastLayer),
        }
    }

    /// Advances by one batch, (B, T).
    ///
    /// # Errors
    /// [`Error::NotFinite`] with step and tensor; [`Error::Invalid`] when every step was made or the batch does not fit.
    pub fn step(&mut self, batch: &Batch) -> Result<FitReport> {
        self.config().refuse_when_done(self.steps_made())?;
        let posterior = &mut self.posterior;
        let (normals, squares) = match &mut self.fit {
            Fit::Independent { normals, squares } => (normals, squares),
            Fit::Head(h) => {
                let (inputs, logits) = posterior.head_inputs(h.fit.mean(), batch)?;
                let head = HeadBatch {
                    inputs: &inputs,
                    logits: &logits,
                    labels: &batch.y,
                    t: batch.t,
                    objective: posterior.objective(),
                };
                let step = h.fit.steps_made();
                let log_lik = h.fit.step(head, h.config.share() / batch.b as f64)?;
                h.prior = None;
                return Ok(FitReport {
                    step,
                    log_lik,
                    log_post: posterior.num_data() * log_lik,
                });
            }
        };
        let config = normals.config();
        if config.method == NormalMethod::Vi {
            let (mut log_lik, draws) = (0.0, config.vi_n_samples as f64);
            loop {
                let scale = posterior.launch(normals.point(), batch, None)?;
                let (grad, record) = posterior.launched();
                let found = Cell::new(0.0);
                let log_post = |of: &Scalars| {
                    let at = scale.log_posterior(of);
                    found.set(at.log_lik);
                    at.log_post
                };
                let report = normals.step_recorded(grad, record, &log_post)?;
                log_lik += found.get();
                if let Some(r) = report {
                    return Ok(FitReport {
                        step: r.step,
                        log_lik: log_lik / draws,
                        log_post: r.value,
                    });
                }
            }
        }
        self.backend.combine(squares, Combine::Fill(0.0))?;
        let (seed, step, mean) = (config.seed, normals.steps_made(), normals.mean());
        let labels = match config.method {
            NormalMethod::Laplace => config.laplace_labels,
            _ => Labels::Data,
        };
        let own = Squares::Gradients;
        let scale = match labels {
            Labels::Data => posterior.launch_squares(mean, batch, own, squares)?,
            Labels::Model => {
                let mut drawn = batch.clone();
                posterior.draw_labels(mean, seed, step, &mut drawn)?;
                posterior.launch_squares(mean, &drawn, own, squares)?
            }
            Labels::Ggn => {
                let stream = Stream::new(seed, Purpose::Labels, 0);
                let of = Squares::Curvature { stream, draw: step };
                posterior.launch_squares(mean, batch, of, squares)?
            }
        };
        // The gradient is of the mean loss over positions; an observation is a sequence.
        let (to_windows, of_batch) = (-posterior.positions(), 1.0 / batch.b as f64);
        let num_data = posterior.num_data();
        let (grad, record) = posterior.launched();
        let of = Squared {
            grad,
            gradient_scale: to_windows,
            squares,
            squares_scale: of_batch,
        };
        let log_lik = |found: &Scalars| scale.log_posterior(found).log_lik;
        let r = normals.squares_recorded(of, record, &log_lik)?;
        Ok(FitReport {
            step: r.step,
            log_lik: r.value,
            log_post: num_data * r.value,
        })
    }

    /// VI: as [`Normals::set_rate`].
    ///
    /// # Errors
    /// As [`Normals::set_rate`].
    pub fn set_rate(&mut self, rate: Option<f64>) -> Result<()> {
        match &mut self.fit {
            Fit::Independent { normals, .. } => normals.set_rate(rate),
            Fit::Head(h) => h.config.check_rate(rate),
        }
    }

    /// As [`Normals::extend`]; of the head no fit can be another length.
    ///
    /// # Errors
    /// As [`Normals::extend`].
    pub fn extend(&mut self, steps: u64) -> Result<()> {
        match &mut self.fit {
            Fit::Independent { normals, .. } => normals.extend(steps),
            Fit::Head(h) => {
                h.config = h.config.extended(steps, h.fit.steps_made())?;
                Ok(())
            }
        }
    }

    /// The mean, (n_params).
    pub fn mean(&self) -> &B::Vector {
        match &self.fit {
            Fit::Independent { normals, .. } => normals.mean(),
            Fit::Head(h) => h.fit.mean(),
        }
    }

    /// The standard deviations, (n_params), as [`NormalFit::draw`] has them: infinite where there is no precision, 0 of what is not in the fit.
    ///
    /// # Errors
    /// As [`NormalFit::prior_fit`], and when the device cannot be read.
    pub fn sd(&mut self) -> Result<Vec<f32>> {
        match &mut self.fit {
            Fit::Independent { normals, .. } => normals.sd(),
            Fit::Head(h) => h.sd(self.posterior.gpt().n_params()),
        }
    }

    /// Mean standard deviation over the parameters that are in the fit; Laplace's with the prior of `prior_std`.
    ///
    /// # Errors
    /// When the device cannot be read, or as [`LastLayer::sd`].
    pub fn average_sd(&mut self) -> Result<f64> {
        let p = self.config().prior_std.powi(-2);
        self.average_sd_with(p)
    }

    /// The same; Laplace's with that prior precision.
    ///
    /// # Errors
    /// As [`NormalFit::average_sd`].
    pub fn average_sd_with(&mut self, prior_precision: f64) -> Result<f64> {
        match &mut self.fit {
            Fit::Independent { normals, .. } => normals.average_sd_with(prior_precision),
            Fit::Head(h) => h.average_sd(prior_precision),
        }
    }

    /// Laplace with `laplace_fit_prior`: what the marginal likelihood says of the prior, kept until the next step; else `None`.
    ///
    /// # Errors
    /// As [`Laplace::fit_prior`](super::Laplace::fit_prior) and [`LastLayer::fit_prior`].
    pub fn prior_fit(&mut self) -> Result<Option<PriorFit>> {
        match &mut self.fit {
            Fit::Independent { normals, .. } => normals.prior_fit(),
            Fit::Head(h) => h.prior_fit(),
        }
    }

    /// Draw number `index` of the seed from the normals as they are, into `out` (n_params).
    ///
    /// # Errors
    /// As [`Normals::draw`] and [`LastLayer::draw`].
    pub fn draw(&mut self, index: u64, out: &mut B::Vector) -> Result<()> {
        match &mut self.fit {
            Fit::Independent { normals, .. } => normals.draw(index, out),
            Fit::Head(h) => h.draw(index, out),
        }
    }

    /// Parameters that are in the fit.
    pub fn parameters(&self) -> usize {
        let gpt = self.posterior.gpt();
        match &self.fit {
            Fit::Independent { .. } => gpt.n_params(),
            Fit::Head(_) => head(gpt).iter().product(),
        }
    }

    /// Steps made, which is the next step's index.
    pub fn steps_made(&self) -> u64 {
        match &self.fit {
            Fit::Independent { normals, .. } => normals.steps_made(),
            Fit::Head(h) => h.fit.steps_made(),
        }
    }

    /// Warm-up while steps are left, then done: a fit's own steps are never samples.
    pub fn phase(&self) -> Phase {
        match self.steps_made() < self.config().steps {
            true => Phase::Warmup,
            false => Phase::Done,
        }
    }

    /// The settings.
    pub fn config(&self) -> &NormalConfig {
        match &self.fit {
            Fit::Independent { normals, .. } => normals.config(),
            Fit::Head(h) => &h.config,
        }
    }
}
