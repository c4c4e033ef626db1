//! A chain on a GPT's posterior: one batch in, one step made, a report out.
//!
//! Joins a [`Posterior`] to a [`Sampler`] and runs the preconditioner first. Everything is a function of the seed and of the batches.

use super::gradient_noise::{LastGradients, NoiseEstimation};
use super::preconditioner::MassEstimation;
use super::{
    AutoStep, ChainConfig, Diagonal, Factors, Phase, Preconditioner, Sampler, SamplerState,
    StepReport, curvature, gradient_noise,
};
use crate::backend::vectors::{Combine, Transfer};
use crate::backend::{Backend, Scalars};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::memory;
use crate::posterior::{LogPosterior, Posterior, Scale};
use crate::rng::{Stream, StreamTag};

/// What one batch did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChainReport {
    /// Which batch this was, counted from 0 over the whole run, preconditioning included.
    pub step: u64,
    /// Warm-up (preconditioning included) or sampling.
    pub phase: Phase,
    /// The batch's log posterior at the parameters before the step.
    pub at: LogPosterior,
    /// Mean of m^2 / M over the parameters; `None` without momenta or while the mass is estimated.
    pub kinetic_temperature: Option<f64>,
    /// Minus the mean of (theta - theta_0) * grad; `None` while the mass is estimated.
    pub configurational_temperature: Option<f64>,
    /// Whether the parameters are now a sample to keep.
    pub sample_due: bool,
}

/// A chain's whole state as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainState {
    /// Gradients taken for the mass.
    pub preconditioned: u64,
    /// The sum of squares for the mass, while it is still needed.
    pub squares: Option<Vec<f32>>,
    /// The last gradient, where its noise is estimated.
    pub last_gradient: Option<Vec<f32>>,
    /// The gradient before it, where the noise is estimated and there was one.
    pub gradient_before: Option<Vec<f32>>,
    /// The sampler's state.
    pub sampler: SamplerState,
}

impl ChainState {
    /// Returns the gradients that the estimate of their noise goes on from.
    pub(crate) fn gradients(&self) -> LastGradients<&[f32]> {
        LastGradients {
            last: self.last_gradient.as_deref(),
            before: self.gradient_before.as_deref(),
        }
    }
}

/// A chain. One thread at a time.
pub struct Chain<B: Backend> {
    posterior: Posterior<B>,
    sampler: Sampler<B>,
    mass: MassEstimation<B>,
    noise: NoiseEstimation<B>,
    diagonal: Option<Diagonal<B>>, // of a live mass's divergence term
    auto_step: Option<AutoStep>,
}

impl<B: Backend> Chain<B> {
    /// Creates a chain that starts at `theta0`.
    ///
    /// # Errors
    /// Returns the errors of [`Sampler::new`], and an error when the preconditioner's settings are out of range, when it does not go with the method, or
    /// when theta0 is not of the model's size.
    pub fn new(
        backend: &B,
        posterior: Posterior<B>,
        theta0: &[f32],
        config: ChainConfig,
        preconditioner: Preconditioner,
    ) -> Result<Self> {
        posterior.gpt().layout().check(theta0)?;
        let mass = MassEstimation::new(backend, preconditioner, config.method, theta0.len())?;
        let tensors = posterior.gpt().layout().tensors().iter();
        let lengths = memory::collect(tensors.map(|t| t.range.len()), "a chain's tensors")?;
        let mut sampler = Sampler::of_tensors(backend.clone(), theta0, config, &lengths)?;
        if preconditioner == Preconditioner::Prior {
            sampler.set_mass(&posterior.prior_curvature()?)?;
        }
        gradient_noise::check(sampler.config(), preconditioner.steps())?;
        let noise = NoiseEstimation::new(sampler.config());
        Self::join(posterior, sampler, (mass, noise), preconditioner)
    }

    /// Goes on from a saved state, bit for bit as it would have without the break.
    ///
    /// # Errors
    /// Returns the errors of [`Chain::new`], and an error when the state does not fit.
    pub fn restore(
        backend: &B,
        posterior: Posterior<B>,
        config: ChainConfig,
        preconditioner: Preconditioner,
        state: &ChainState,
    ) -> Result<Self> {
        posterior.gpt().layout().check(&state.sampler.theta)?;
        let b = posterior.batch();
        let mass = MassEstimation::restore(backend, preconditioner, &config, state, b)?;
        let sampler = Sampler::restore(backend.clone(), config, &state.sampler)?;
        check_tensors(&sampler, &posterior)?;
        let taken = mass.taken() + sampler.step();
        let noise = NoiseEstimation::restore(&sampler, taken, state.gradients())?;
        if !sampler.config().noise_correction.is_none() && !noise.is_running() {
            let expected = "the last gradient where its noise is estimated";
            return Err(Error::out_of_range("chain state", expected, "none"));
        }
        Self::join(posterior, sampler, (mass, noise), preconditioner)
    }

    fn join(
        mut posterior: Posterior<B>,
        sampler: Sampler<B>,
        (mass, noise): (MassEstimation<B>, NoiseEstimation<B>),
        preconditioner: Preconditioner,
    ) -> Result<Self> {
        let mut diagonal = None;
        if let Preconditioner::Live { gamma: true, .. } = preconditioner {
            let (v, c) = (sampler.vectors(), sampler.config());
            diagonal = Some(Diagonal::new(v, sampler.len(), c.seed, c.chain)?);
            // The divergence term is a difference of gradients, which rounded operands would drown.
            posterior = posterior.with_f32_products();
        }
        Ok(Self {
            posterior,
            sampler,
            mass,
            noise,
            diagonal,
            auto_step: None,
        })
    }

    /// Returns the state as plain data.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn state(&self) -> Result<ChainState> {
        let get = |buf: &B::Vector| self.sampler.vectors().get(buf);
        Ok(ChainState {
            preconditioned: self.mass.taken(),
            squares: self.mass.squares().map(get).transpose()?,
            last_gradient: self.last_gradients().last.map(get).transpose()?,
            gradient_before: self.last_gradients().before.map(get).transpose()?,
            sampler: self.sampler.state()?,
        })
    }

    /// Advances by one batch.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the step and the tensor's name when the loss, the gradient or the state is NaN or infinite;
    /// [`Error::Conflict`] when the run is done; [`Error::Shape`] or [`Error::OutOfRange`] when the batch does not fit.
    pub fn step(&mut self, batch: &Batch) -> Result<ChainReport> {
        self.step_observed(batch, |_, _| Ok(()))
    }

    /// Advances by one batch, and calls `look` with the chain and the gradient at its parameters just before it moves: only there do the two belong
    /// together. A gradient for the mass moves nothing and is not shown. When `look` fails, no step is made.
    ///
    /// # Errors
    /// Returns the errors of [`Chain::step`], and those of `look`.
    pub fn step_observed(
        &mut self,
        batch: &Batch,
        look: impl FnOnce(&Sampler<B>, &B::Vector) -> Result<()>,
    ) -> Result<ChainReport> {
        let step = self.check_is_left()?;
        self.mass.check_batch(batch.b, self.posterior.batch())?;
        let theta = self.sampler.params();
        let squares = self.mass.of_sequences();
        let scale = self.posterior.launch(theta, batch, squares)?;
        self.mass.count_sequences(batch.b);
        if self.mass.is_running() {
            return self.estimate_mass(step, scale);
        }
        if let Some(d) = &mut self.diagonal {
            let v = self.sampler.vectors();
            d.displace(v, theta, self.posterior.grad(), self.sampler.step())?;
            // The scalars of the first gradient wait.
            d.swap_record(self.posterior.launched().1);
            self.posterior.launch(d.point(), batch, None)?;
            d.swap_record(self.posterior.launched().1);
            d.finish(v, self.posterior.grad())?;
        }
        self.move_on(step, scale, look)
    }

    /// Advances by one gradient of the mean loss at the parameters, (n_params), and that loss in nats, which the caller has computed; the prior is added
    /// here. `look` is as in [`Chain::step_observed`].
    ///
    /// # Errors
    /// Returns the errors of [`Chain::step_observed`], and [`Error::Conflict`] where more than one gradient is needed: while a mass is estimated from
    /// sequences' gradients, and with a live mass's divergence term.
    pub fn step_with_loss_gradient(
        &mut self,
        grad: &[f32],
        loss: f64,
        look: impl FnOnce(&Sampler<B>, &B::Vector) -> Result<()>,
    ) -> Result<ChainReport> {
        let step = self.check_is_left()?;
        if self.diagonal.is_some() || self.mass.of_sequences().is_some() {
            return Err(Error::conflict(
                "the preconditioner needs more of a batch than one gradient: choose rms, adaptive, prior or none, or step on batches",
            ));
        }
        let theta = self.sampler.params();
        let scale = self.posterior.launch_given(theta, grad, loss)?;
        if self.mass.is_running() {
            return self.estimate_mass(step, scale);
        }
        self.move_on(step, scale, look)
    }

    /// Returns the number of the next step, if there is one.
    fn check_is_left(&self) -> Result<u64> {
        if self.phase() == Phase::Done {
            return Err(Error::conflict(format!(
                "the chain has made all of its {} steps: give it more sampling_steps to go on",
                self.total_steps()
            )));
        }
        Ok(self.steps_made())
    }

    /// Moves by the posterior's gradient, and lets the mass and the noise's estimate take it in.
    fn move_on(
        &mut self,
        step: u64,
        scale: Scale,
        look: impl FnOnce(&Sampler<B>, &B::Vector) -> Result<()>,
    ) -> Result<ChainReport> {
        let r = self.advance(scale, look).map_err(|e| match e {
            Error::NotFinite { tensor, value, .. } => self.name_tensor(step, tensor, value),
            e => e,
        })?;
        let at = scale.log_posterior(self.sampler.found());
        self.mass.adapt(&mut self.sampler, self.posterior.grad())?;
        (self.noise).take(&mut self.sampler, self.posterior.grad())?;
        Ok(ChainReport {
            step,
            phase: r.phase,
            at,
            kinetic_temperature: r.kinetic_temperature,
            configurational_temperature: Some(r.configurational_temperature),
            sample_due: r.sample_due,
        })
    }

    /// Makes the sampler's step, after a look at the chain.
    fn advance(
        &mut self,
        scale: Scale,
        look: impl FnOnce(&Sampler<B>, &B::Vector) -> Result<()>,
    ) -> Result<StepReport> {
        let (sampler, (grad, record)) = (&mut self.sampler, self.posterior.launched());
        let grad = self.diagonal.as_ref().map_or(grad, Diagonal::grad);
        look(sampler, grad)?;
        let log_post = |found: &Scalars| scale.log_posterior(found).log_post;
        let diagonal = self.diagonal.as_ref().map(Diagonal::values);
        let mut step =
            |sampler: &mut Sampler<B>| sampler.step_recorded(grad, diagonal, record, &log_post);
        match &mut self.auto_step {
            Some(auto) => auto.step_by(sampler, grad, step),
            None => step(sampler),
        }
    }

    /// Takes in the posterior's gradient before the chain moves; the last one sets the mass.
    fn estimate_mass(&mut self, step: u64, scale: Scale) -> Result<ChainReport> {
        let v = self.sampler.vectors().clone();
        let found = v.read(self.posterior.launched().1)?;
        let at = scale.log_posterior(&found);
        if !at.log_post.is_finite() {
            return Err(Error::NotFinite {
                step,
                tensor: "log_posterior".into(),
                value: at.log_post as f32,
            });
        }
        let grad = self.posterior.grad();
        if let Some(i) = found.gradient {
            return Err(self.not_finite("gradient", step, i, v.element(grad, i)?));
        }
        let sequences = self.posterior.sequences();
        self.mass.take(&mut self.sampler, grad, sequences)?;
        self.noise.take(&mut self.sampler, grad)?;
        Ok(ChainReport {
            step,
            phase: Phase::Warmup,
            at,
            kinetic_temperature: None,
            configurational_temperature: None,
            sample_due: false,
        })
    }

    /// Returns the sampler's error about an element, as one about the tensor that it belongs to.
    fn name_tensor(&self, step: u64, tensor: String, value: f32) -> Error {
        match self.sampler.non_finite_index() {
            Some(i) => {
                let what = tensor.split('[').next().unwrap_or_default();
                self.not_finite(what, step, i, value)
            }
            None => Error::NotFinite {
                step,
                tensor,
                value,
            },
        }
    }

    /// Finds the extreme curvatures per mass at the chain's parameters, from the mean of `batches` and at most `products` products with the Hessian: two
    /// gradients each for every batch, with f32 products whatever the device's precision, and room for five vectors of parameters. The chain goes on
    /// as if nothing had been asked, but for a search for its step ([`AutoStep::limit_curvature`]).
    ///
    /// # Errors
    /// Returns the errors of [`curvature::extreme_curvature`], and an error when there is no batch or one does not fit.
    pub fn curvature(
        &mut self,
        batches: &[Batch],
        products: u64,
    ) -> Result<curvature::ExtremeEigenvalues> {
        self.curvature_watched(batches, products, || Ok(()))
    }

    /// Finds what [`Chain::curvature`] does; `look` is called before each gradient and may end the search with an error.
    ///
    /// # Errors
    /// Fails as [`Chain::curvature`] and `look` do.
    pub fn curvature_watched(
        &mut self,
        batches: &[Batch],
        products: u64,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<curvature::ExtremeEigenvalues> {
        if batches.is_empty() {
            return Err(Error::out_of_range("batches", "at least one", 0));
        }
        let (sampler, posterior) = (&self.sampler, &mut self.posterior);
        let (v, c) = (sampler.vectors(), sampler.config());
        let stream = Stream::new(c.seed, StreamTag::Curvature, c.chain);
        let (theta, mass) = (sampler.params(), sampler.mass());
        // Differences of gradients: rounded operands would make them noise.
        let found = posterior.in_f32(|posterior| {
            curvature::extreme_curvature(v, theta, mass, products, stream, |point, a, out| {
                for batch in batches {
                    look()?;
                    posterior.evaluate(point, batch)?;
                    v.combine(
                        out,
                        Combine::Axpy(a / batches.len() as f32, posterior.grad()),
                    )?;
                }
                Ok(())
            })
        })?;
        self.limit_step(&found);
        Ok(found)
    }

    /// Gives a search for the step the largest curvature per mass.
    pub(crate) fn limit_step(&mut self, found: &curvature::ExtremeEigenvalues) {
        if let Some(auto) = &mut self.auto_step {
            auto.limit_curvature(found.largest);
        }
    }

    /// Lets `auto` find the step size from now on, while the chain warms up; it is no part of the state. It does
    /// not see [`Chain::set_factors`]; give it none before sampling.
    ///
    /// # Errors
    /// Returns [`Error::Conflict`] when the mass is a live one: see [`AutoStep::step`].
    pub fn adapt_step(&mut self, auto: AutoStep) -> Result<()> {
        if self.mass.is_live() {
            return Err(AutoStep::no_psgld_mass());
        }
        self.auto_step = Some(auto);
        Ok(())
    }

    /// Returns the search for the step size, if there is one.
    pub fn auto_step(&self) -> Option<&AutoStep> {
        self.auto_step.as_ref()
    }

    /// Returns the mean log-likelihood of a batch at the parameters that the chain started from, by a forward pass alone. Beside a report's of the same
    /// batch it says what the chain lost: see `bnn::metrics::local_learning_coefficient`.
    ///
    /// # Errors
    /// When the batch does not fit.
    pub fn log_lik_at_start(&mut self, batch: &Batch) -> Result<f64> {
        self.posterior.log_lik(self.sampler.center(), batch)
    }

    fn not_finite(&self, what: &str, step: u64, index: usize, value: f32) -> Error {
        let owner = self.posterior.gpt().layout().owner(index);
        let name = owner.map_or_else(|| index.to_string(), |t| t.name.clone());
        Error::NotFinite {
            step,
            tensor: format!("{what} of {name}"),
            value,
        }
    }

    /// Returns the parameters, (n_params).
    pub fn params(&self) -> &B::Vector {
        self.sampler.params()
    }

    /// Returns the running sum of squared gradients, while the mass is estimated.
    pub fn squares(&self) -> Option<&B::Vector> {
        self.mass.squares()
    }

    /// Returns the last gradients, where their noise is estimated.
    pub(crate) fn last_gradients(&self) -> LastGradients<&B::Vector> {
        self.noise.gradients()
    }

    /// Returns the sampler.
    pub fn sampler(&self) -> &Sampler<B> {
        &self.sampler
    }

    /// Returns the posterior.
    pub fn posterior(&self) -> &Posterior<B> {
        &self.posterior
    }

    /// Sets the factors on the step size and the temperature ([`Sampler::set_factors`]); the steps that estimate the mass have none.
    pub fn set_factors(&mut self, factors: Option<Factors>) {
        self.sampler.set_factors(factors);
    }

    /// Sets a new number of sampling steps ([`Sampler::extend`]).
    ///
    /// # Errors
    /// Returns the errors of [`Sampler::extend`].
    pub fn extend(&mut self, sampling_steps: u64) -> Result<()> {
        self.sampler.extend(sampling_steps)
    }

    /// Batches taken so far, which is the next step's index.
    pub fn steps_made(&self) -> u64 {
        self.mass.taken() + self.sampler.step()
    }

    /// Batches of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.mass.steps() + self.sampler.config().total_steps()
    }

    /// Returns the phase of the next step.
    pub fn phase(&self) -> Phase {
        if self.mass.is_running() {
            Phase::Warmup
        } else {
            self.sampler.phase()
        }
    }
}

/// Checks that thermostats for tensors are those of the model's.
fn check_tensors<B: Backend>(sampler: &Sampler<B>, posterior: &Posterior<B>) -> Result<()> {
    if sampler.config().thermostats.is_global() {
        return Ok(());
    }
    let (all, tensors) = (sampler.thermostats(), posterior.gpt().layout().tensors());
    let of = tensors.iter().map(|t| t.range.len());
    if all.iter().map(|t| t.parameters).eq(of) {
        return Ok(());
    }
    let expected = format!("one for each of the model's {} tensors", tensors.len());
    Err(Error::out_of_range("thermostats", expected, all.len()))
}
