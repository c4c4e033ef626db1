//! Fitting a Gaussian approximation to a GPT's posterior: one batch per step, by any of the methods.

use super::Phase;
use super::ekf::Squared;
use super::gaussian::GaussianApproximation;
use super::gaussian_config::{CurvatureKind, GaussianConfig, GaussianMethod};
use super::gaussian_state::{DEVIATIONS, GaussianState, STATES, Values};
use super::laplace::PriorFit;
use super::last_layer::{HeadBatch, LastLayer};
use super::observed::Observed;
use crate::backend::vectors::Combine;
use crate::backend::{Backend, Scalars};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::gpt::{Gpt, Squares};
use crate::memory;
use crate::posterior::Posterior;
use crate::rng::{Stream, StreamTag};
use std::cell::Cell;

/// The outcome of a batch for a fit on a GPT's posterior.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitReport {
    /// Which step this was, counted from 0.
    pub step: u64,
    /// Mean log likelihood of the batch where the gradient was taken, nats; VI's over its draws.
    pub log_lik: f64,
    /// The log posterior of an optimiser on its path, and of VI its mean over the draws; num_data * log_lik otherwise.
    pub log_post: f64,
}

enum Fit<B: Backend> {
    /// A fit of every parameter.
    Independent {
        normals: GaussianApproximation<B>,
        squares: B::Vector, // (n_params) for EKF and Laplace; else empty
    },
    /// A fit of the head's weights.
    Head(Head<B>),
}

/// A fit of the head with its settings.
struct Head<B: Backend> {
    config: GaussianConfig,
    fit: LastLayer<B>,
    prior: Option<PriorFit>, // of the curvature as it is
}

impl<B: Backend> Head<B> {
    fn step(&mut self, posterior: &mut Posterior<B>, batch: &Batch) -> Result<FitReport> {
        let (inputs, logits) = posterior.head_inputs(self.fit.mean(), batch)?;
        let head = HeadBatch {
            inputs: &inputs,
            logits: &logits,
            labels: &batch.y,
            t: batch.t,
            objective: posterior.objective(),
        };
        let step = self.fit.steps_made();
        let log_lik = self.fit.step(head, self.config.share() / batch.b as f64)?;
        self.prior = None;
        Ok(FitReport {
            step,
            log_lik,
            log_post: posterior.num_data() * log_lik,
        })
    }

    fn prior_fit(&mut self) -> Result<Option<PriorFit>> {
        if self.config.laplace_fit_prior && self.prior.is_none() {
            self.prior = Some(self.fit.fit_prior(self.config.prior_std.powi(-2))?);
        }
        Ok(self.prior)
    }

    /// Returns the prior's precision: fitted, or as given.
    fn precision(&mut self) -> Result<f64> {
        let fitted = self.prior_fit()?.map(|p| p.precision);
        Ok(fitted.unwrap_or(self.config.prior_std.powi(-2)))
    }

    /// Returns the standard deviations of all `n` parameters: 0 except for the head's, which come last.
    fn sd(&mut self, n: usize) -> Result<Vec<f32>> {
        let p = self.precision()?;
        let own = self.fit.sd(p, self.config.temperature)?;
        let mut sd = memory::zeros(n, "standard deviations")?;
        for (sd, s) in sd[n - own.len()..].iter_mut().zip(&own) {
            *sd = *s as f32;
        }
        Ok(sd)
    }

    fn average_sd(&mut self, prior_precision: f64) -> Result<f64> {
        let sd = self.fit.sd(prior_precision, self.config.temperature)?;
        Ok(sd.iter().sum::<f64>() / sd.len() as f64)
    }

    fn draw(&mut self, index: u64, out: &mut B::Vector) -> Result<()> {
        let (p, c) = (self.precision()?, &self.config);
        let index = c.numbered(index);
        self.fit.draw(p, c.temperature, c.seed, index, out)
    }
}

/// Makes a step of an optimiser on its path, or all draws of a step of VI or IVON.
fn gradient_step<B: Backend>(
    normals: &mut GaussianApproximation<B>,
    posterior: &mut Posterior<B>,
    batch: &Batch,
) -> Result<FitReport> {
    let (mut log_lik, gradients) = (0.0, normals.config().gradients_per_step() as f64);
    loop {
        let scale = posterior.launch(normals.point(), batch, None)?;
        let (grad, record) = posterior.launched();
        let found = Cell::new(0.0);
        let log_post = |of: &Scalars| {
            let at = scale.log_posterior(of);
            found.set(at.log_lik);
            at.log_post
        };
        let report = normals.step(Observed::Recorded {
            grad,
            record,
            log_post: &log_post,
        })?;
        log_lik += found.get();
        if let Some(r) = report {
            return Ok(FitReport {
                step: r.step,
                log_lik: log_lik / gradients,
                log_post: r.value,
            });
        }
    }
}

/// Makes a step of EKF or Laplace; `squares` is 0.
fn squares_step<B: Backend>(
    normals: &mut GaussianApproximation<B>,
    posterior: &mut Posterior<B>,
    batch: &Batch,
    squares: &mut B::Vector,
) -> Result<FitReport> {
    let (config, step, mean) = (normals.config(), normals.steps_made(), normals.mean());
    let (seed, labels, own) = (config.seed, config.labels(), Squares::Gradients);
    let draw = config.numbered(step);
    let mut scale = match labels {
        CurvatureKind::EmpiricalFisher => posterior.launch_squares(mean, batch, own, squares)?,
        CurvatureKind::Fisher => {
            let mut drawn = batch.clone();
            posterior.draw_labels(mean, seed, draw, &mut drawn)?;
            posterior.launch_squares(mean, &drawn, own, squares)?
        }
        CurvatureKind::Ggn => {
            let stream = Stream::new(seed, StreamTag::Labels, 0);
            let of = Squares::Curvature { stream, draw };
            posterior.launch_squares(mean, batch, of, squares)?
        }
    };
    if config.method == GaussianMethod::Ekf && labels != CurvatureKind::EmpiricalFisher {
        // The pass left the gradient of other labels, and EKF's mean follows the data's.
        scale = posterior.launch_likelihood(mean, batch)?;
    }
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

/// A Gaussian approximation that is being fitted to a GPT's posterior, one batch per step. For one thread at a time.
pub struct GaussianFit<B: Backend> {
    backend: B,
    posterior: Posterior<B>,
    fit: Fit<B>,
}

/// Checks that a state's arrays are of the model's size.
fn check_size(gpt: &Gpt, state: &GaussianState) -> Result<()> {
    use GaussianMethod::{Ema, Snapshots, Swag, Vi};
    let has_moments = matches!(state.method(), Vi | Swag | Ema | Snapshots);
    for (name, v) in state.values() {
        // Adam's moments may be left out, and of columns and states there is any number.
        if let Values::F32(v) = v
            && !(v.is_empty() && has_moments)
            && name != DEVIATIONS
            && name != STATES
        {
            gpt.layout().check(v)?;
        }
    }
    Ok(())
}

/// Returns (V, C) of a model's head.
fn head(gpt: &Gpt) -> [usize; 2] {
    [gpt.config().vocab_size, gpt.config().n_embd]
}

impl<B: Backend> GaussianFit<B> {
    /// Begins a fit centred at `start`.
    ///
    /// # Errors
    /// Returns the errors of [`GaussianApproximation::new`], and an error when `start` is not of the model's size, for Laplace when the prior is not normal
    /// with one precision, and for a fit of the head when the model's head is tied.
    pub fn new(
        backend: &B,
        posterior: Posterior<B>,
        start: &[f32],
        config: GaussianConfig,
    ) -> Result<Self> {
        // What a state begins with may depend on how many observations there are.
        let config = GaussianConfig {
            observations: posterior.sequences(),
            ..config
        };
        let state = GaussianState::start(&config, start, head(posterior.gpt()))?;
        Self::restore(backend, posterior, config, &state)
    }

    /// Continues from a saved state, bit for bit.
    ///
    /// # Errors
    /// Returns the errors of [`GaussianApproximation::restore`], and an error when the state is not of the model's size.
    pub fn restore(
        backend: &B,
        posterior: Posterior<B>,
        config: GaussianConfig,
        state: &GaussianState,
    ) -> Result<Self> {
        let gpt = posterior.gpt();
        check_size(gpt, state)?;
        let laplace = config.method == GaussianMethod::Laplace;
        if laplace && !posterior.has_one_precision() {
            return Err(Error::conflict(
                "laplace adds one precision to all parameters: choose a normal prior of absolute scale",
            ));
        }
        let config = GaussianConfig {
            observations: posterior.sequences(),
            ..config
        };
        let fit = match (config.fits_head(), state) {
            (true, GaussianState::LastLayer(s)) => {
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
                    GaussianMethod::Ekf | GaussianMethod::Laplace => gpt.n_params(),
                    _ => 0,
                };
                Fit::Independent {
                    normals: GaussianApproximation::restore(backend.clone(), config, state)?,
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

    /// Returns the state as plain data.
    ///
    /// # Errors
    /// Returns the errors of [`GaussianApproximation::state`].
    pub fn state(&self) -> Result<GaussianState> {
        match &self.fit {
            Fit::Independent { normals, .. } => normals.state(),
            Fit::Head(h) => h.fit.state().map(GaussianState::LastLayer),
        }
    }

    /// Advances by one batch, (B, T).
    ///
    /// # Errors
    /// [`Error::NotFinite`] with step and tensor; [`Error::Conflict`] when every step was made; [`Error::Shape`] or [`Error::OutOfRange`] when the batch does not fit.
    pub fn step(&mut self, batch: &Batch) -> Result<FitReport> {
        self.config().refuse_when_done(self.steps_made())?;
        let (posterior, backend) = (&mut self.posterior, &self.backend);
        match &mut self.fit {
            Fit::Head(h) => h.step(posterior, batch),
            Fit::Independent { normals, squares } => match normals.config().method {
                GaussianMethod::Ekf | GaussianMethod::Laplace => {
                    backend.combine(squares, Combine::Fill(0.0))?;
                    squares_step(normals, posterior, batch, squares)
                }
                _ => gradient_step(normals, posterior, batch),
            },
        }
    }

    /// Sets the factor on VI's rate: see [`GaussianApproximation::set_rate`].
    ///
    /// # Errors
    /// Returns the errors of [`GaussianApproximation::set_rate`].
    pub fn set_rate(&mut self, rate: Option<f64>) -> Result<()> {
        match &mut self.fit {
            Fit::Independent { normals, .. } => normals.set_rate(rate),
            Fit::Head(h) => h.config.check_rate(rate),
        }
    }

    /// Changes the number of steps: see [`GaussianApproximation::extend`]. A fit of the head cannot change its length.
    ///
    /// # Errors
    /// Returns the errors of [`GaussianApproximation::extend`].
    pub fn extend(&mut self, steps: u64) -> Result<()> {
        match &mut self.fit {
            Fit::Independent { normals, .. } => normals.extend(steps),
            Fit::Head(h) => {
                h.config = h.config.extended(steps, h.fit.steps_made())?;
                Ok(())
            }
        }
    }

    /// Returns the mean (n_params).
    pub fn mean(&self) -> &B::Vector {
        match &self.fit {
            Fit::Independent { normals, .. } => normals.mean(),
            Fit::Head(h) => h.fit.mean(),
        }
    }

    /// Returns the standard deviations (n_params) that [`GaussianFit::draw`] uses: infinite where there is no precision, 0 outside the fit.
    ///
    /// # Errors
    /// Returns the errors of [`GaussianFit::prior_fit`], and an error when the device cannot be read.
    pub fn sd(&mut self) -> Result<Vec<f32>> {
        match &mut self.fit {
            Fit::Independent { normals, .. } => normals.sd(),
            Fit::Head(h) => h.sd(self.posterior.gpt().n_params()),
        }
    }

    /// Returns the mean standard deviation over the parameters that are in the fit; Laplace's with the prior of `prior_std`.
    ///
    /// # Errors
    /// When the device cannot be read, or as [`LastLayer::sd`].
    pub fn average_sd(&mut self) -> Result<f64> {
        let p = self.config().prior_std.powi(-2);
        self.average_sd_with(p)
    }

    /// Returns the mean standard deviation over the parameters that are in the fit; Laplace's with the given prior precision.
    ///
    /// # Errors
    /// Returns the errors of [`GaussianFit::average_sd`].
    pub fn average_sd_with(&mut self, prior_precision: f64) -> Result<f64> {
        match &mut self.fit {
            Fit::Independent { normals, .. } => normals.average_sd_with(prior_precision),
            Fit::Head(h) => h.average_sd(prior_precision),
        }
    }

    /// Returns what the marginal likelihood says of the prior, kept until the next step; `None` without `laplace_fit_prior`.
    ///
    /// # Errors
    /// Returns the errors of [`Laplace::fit_prior`](super::Laplace::fit_prior) and [`LastLayer::fit_prior`].
    pub fn prior_fit(&mut self) -> Result<Option<PriorFit>> {
        match &mut self.fit {
            Fit::Independent { normals, .. } => normals.prior_fit(),
            Fit::Head(h) => h.prior_fit(),
        }
    }

    /// Writes draw number `index` of the seed, from the approximation as it stands, into `out` (n_params).
    ///
    /// # Errors
    /// Returns the errors of [`GaussianApproximation::draw`] and [`LastLayer::draw`].
    pub fn draw(&mut self, index: u64, out: &mut B::Vector) -> Result<()> {
        match &mut self.fit {
            Fit::Independent { normals, .. } => normals.draw(index, out),
            Fit::Head(h) => h.draw(index, out),
        }
    }

    /// Returns the number of parameters that are in the fit.
    pub fn parameters(&self) -> usize {
        let gpt = self.posterior.gpt();
        match &self.fit {
            Fit::Independent { .. } => gpt.n_params(),
            Fit::Head(_) => head(gpt).iter().product(),
        }
    }

    /// Returns the number of steps made, which is the next step's index.
    pub fn steps_made(&self) -> u64 {
        match &self.fit {
            Fit::Independent { normals, .. } => normals.steps_made(),
            Fit::Head(h) => h.fit.steps_made(),
        }
    }

    /// Returns warm-up while steps are left, then done: a fit's own steps are never samples.
    pub fn phase(&self) -> Phase {
        if self.steps_made() < self.config().steps {
            Phase::Warmup
        } else {
            Phase::Done
        }
    }

    /// Returns the settings.
    pub fn config(&self) -> &GaussianConfig {
        match &self.fit {
            Fit::Independent { normals, .. } => normals.config(),
            Fit::Head(h) => &h.config,
        }
    }
}
