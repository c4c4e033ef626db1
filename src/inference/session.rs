//! A run of one chain or fit: what it is made of, its file, its monitors, and what can be asked of it.

use super::build;
use super::chain_file::{self, Rest};
use super::config::{Inference, SessionConfig, Target};
use super::engine::Engine;
use super::identity::{self, Length};
use super::monitor::{Monitor, Progress, StepReport};
use super::series::Stored;
use crate::backend::Backend;
use crate::backend::vectors::Transfer;
use crate::data::{Batch, Batches, Corpus};
use crate::error::{Error, Result};
use crate::memory;
use crate::samplers::laplace::PriorFit;
use crate::samplers::{
    AutoStep, ExtremeEigenvalues, Factors, GaussianConfig, GaussianFit, MassShape, Phase, Sampler,
};
use crate::store::{Header, drop_previous_trace, trace_of};
use std::any::Any;
use std::path::Path;
use std::sync::Arc;

/// The batches of a session on a model's posterior.
pub(super) struct Feed {
    pub corpus: Arc<Corpus>,
    pub batches: Batches,
    pub batch: Batch,
}

/// What the local learning coefficient needs of the settings.
#[derive(Clone, Copy, Default)]
pub(super) struct LlcLooks {
    /// Whether the prior is centred at the start.
    pub centred: bool,
    /// Sampling steps between two looks.
    pub every: u64,
}

/// A chain, or a fit of normals, on a model's posterior or on a caller's gradients: stepped one batch or gradient at a time, saved and resumed at any
/// step. One thread at a time.
///
/// ```
/// use bnn::backend::Cpu;
/// use bnn::inference::{Inference, Session};
/// use bnn::samplers::{ChainConfig, Method, Phase, Preconditioner};
///
/// # fn main() -> bnn::Result<()> {
/// let sampler = ChainConfig { sampling_steps: 500, ..ChainConfig::new(Method::Baoa, 0.3) };
/// let inference = Inference::Chain { sampler, preconditioner: Preconditioner::None, auto_step: None };
/// let mut session = Session::with_gradients(&Cpu::new(1)?, inference, 1.0, &[0.0; 2])?;
/// let mut theta = [0.0; 2];
/// while session.phase() != Phase::Done {
///     session.read_params(&mut theta)?;
///     let grad = theta.map(|x| -x); // of a standard normal
///     let log_post = -theta.iter().map(|x| 0.5 * (x * x) as f64).sum::<f64>();
///     session.step_with_gradient(&grad, log_post)?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct Session<B: Backend + 'static> {
    pub(super) backend: B,
    pub(super) engine: Engine<B>,
    pub(super) feed: Option<Feed>, // none with gradients of the caller's
    pub(super) inference: Inference,
    pub(super) num_data: f64, // the likelihood's weight included
    pub(super) header: Header,
    pub(super) keeps_center: bool,
    pub(super) curvature: Option<ExtremeEigenvalues>,
    pub(super) monitors: Vec<Box<dyn Monitor<B>>>, // the file has them
    pub(super) stored: Option<Stored>,             // where their series lie, once it was saved
    pub(super) watchers: Vec<Box<dyn Monitor<B>>>, // it has not
    pub(super) grad: Vec<B::Vector>,               // gradient, squares: made when they are needed
    pub(super) llc: LlcLooks,
    pub(super) last: Option<StepReport>,
    pub(super) unrecorded: Option<u64>, // the step of which a monitor could not record what the file must have
}

impl<B: Backend + 'static> Session<B> {
    /// Begins at the target's start.
    ///
    /// A [`Monitor`] looks at each step; here one that keeps the batches' losses:
    ///
    /// ```
    /// use bnn::backend::{Backend, Cpu};
    /// use bnn::data::{Corpus, Order};
    /// use bnn::gpt::{Gpt, GptConfig, Objective};
    /// use bnn::inference::{AfterStep, BatchConfig, Inference, Monitor, MonitorConfig, Session, SessionConfig, StepReport, Target};
    /// use bnn::posterior::Prior;
    /// use bnn::samplers::{ChainConfig, Method, Phase, Preconditioner};
    /// use std::sync::Arc;
    ///
    /// struct Losses(Vec<f64>);
    ///
    /// impl<B: Backend + 'static> Monitor<B> for Losses {
    ///     fn after(&mut self, report: &StepReport, _at: &mut AfterStep<'_, B>) -> bnn::Result<()> {
    ///         self.0.extend(report.log_lik.map(|mean| -mean));
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # fn main() -> bnn::Result<()> {
    /// let corpus = Arc::new(Corpus::embedded()?);
    /// let gpt = Gpt::new(GptConfig::named("tiny", corpus.tokenizer.vocab_size())?)?;
    /// let (start, prior) = (gpt.layout().init(1), Prior::isotropic(1.0)); // a baseline's parameters, where there is one
    /// let target = Target { gpt: &gpt, corpus: &corpus, prior: &prior, start: &start, start_sha256: None };
    ///
    /// let mut sampler = ChainConfig::new(Method::Sgld, 2e-4);
    /// (sampler.warmup_steps, sampler.sampling_steps, sampler.thinning) = (2, 8, 4);
    /// let config = SessionConfig {
    ///     inference: Inference::Chain { sampler, preconditioner: Preconditioner::Rms { steps: 3, floor: 0.1 }, auto_step: None },
    ///     objective: Objective::All,
    ///     num_data: None, // counted
    ///     likelihood_weight: 1.0,
    ///     batches: BatchConfig { size: 4, window: 16, order: Order::Independent, chosen: None },
    ///     monitors: MonitorConfig::default(),
    /// };
    /// let mut session = Session::new(&Cpu::new(1)?, &target, &config)?;
    /// session.watch(Losses(Vec::new()));
    /// let mut samples = Vec::new();
    /// while session.phase() != Phase::Done {
    ///     if session.step()?.sample_due {
    ///         let mut sample = vec![0.0; session.parameters()];
    ///         session.read_params(&mut sample)?;
    ///         samples.push(sample);
    ///     }
    /// }
    /// let losses = &session.monitor::<Losses>().expect("it watched").0;
    /// assert_eq!((losses.len(), samples.len()), (13, 2)); // 3 steps for the mass, 2 of warm-up, 8 of sampling
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// For a setting out of range, a start or a text that does not fit the model, and a text that is too short.
    pub fn new(backend: &B, target: &Target<'_>, config: &SessionConfig) -> Result<Self> {
        build::on_model(backend, target, config, None)
    }

    /// Returns the device that the steps are computed on.
    pub fn device(&self) -> &B {
        &self.backend
    }

    /// Goes on from a saved state, bit for bit as it would have without the break. It may have another number of sampling steps (of a fit, epochs)
    /// where no step depends on it, and other monitors.
    ///
    /// # Errors
    /// Returns the errors of [`Session::new`] and [`Reader::open`](crate::store::Reader::open); [`Error::Mismatch`] with what differs for a file of other
    /// settings, another model or text, or another start; [`Error::BadHeader`] for numbers that no such session has.
    pub fn resume(
        backend: &B,
        target: &Target<'_>,
        config: &SessionConfig,
        path: impl AsRef<Path>,
    ) -> Result<Self> {
        build::on_model(backend, target, config, Some(path.as_ref()))
    }

    /// Begins at `start`, with gradients that the caller gives of a log posterior. `num_data` is what its mean log likelihood is multiplied by, for
    /// [`Session::num_data`] alone; 1 where that means nothing.
    ///
    /// # Errors
    /// For a setting out of range, and a start that is empty or not finite.
    pub fn with_gradients(
        backend: &B,
        inference: Inference,
        num_data: f64,
        start: &[f32],
    ) -> Result<Self> {
        build::on_gradients(backend, inference, num_data, Ok(start))
    }

    /// Goes on from the saved state of `n` parameters, with gradients that the caller gives, bit for bit as it would have without the break.
    ///
    /// # Errors
    /// Returns the errors of [`Session::with_gradients`] and [`Session::resume`]; [`Error::Shape`] for another number of parameters.
    pub fn resume_with_gradients(
        backend: &B,
        inference: Inference,
        num_data: f64,
        n: usize,
        path: impl AsRef<Path>,
    ) -> Result<Self> {
        build::on_gradients(backend, inference, num_data, Err((n, path.as_ref())))
    }

    /// Writes the whole state to a file, in the place of what may be there. The file appears whole or not at all.
    ///
    /// What was recorded of every step (log likelihoods, temperatures, draws of the probes) goes into a trace file beside it, which only grows: `x.trace`
    /// beside `x.bnn`, and a name that ends otherwise has `.trace` added. The two belong together, and move together. What is in the trace is no longer
    /// held in memory, where a session that is never saved keeps it all. Whoever saves to one path again and again writes as much each time, however
    /// many steps were made; another path gets a copy of the whole trace.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Data`] when the trace that it saved before is not there any more; [`Error::NotFinite`] for a chain that has diverged;
    /// [`Error::Conflict`] between the draws of one of VI's steps, and after a step that was made but could not be recorded, whose file could not be read.
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<()> {
        if let Some(step) = self.unrecorded {
            return Err(Error::conflict(format!(
                "step {step} was made, but not recorded, as its error said: the state is not whole, go on from the file that was saved before"
            )));
        }
        let path = path.as_ref();
        let grew = self.store_series(path)?;
        let rest = Rest {
            header: &self.header,
            center: self.keeps_center,
            curvature: self.curvature,
            monitors: &self.monitors,
            stored: self.stored.as_ref(),
        };
        chain_file::write(path, &self.engine, &rest)?;
        match grew {
            // By now the generation before names this trace, too.
            true => drop_previous_trace(&trace_of(path)),
            false => Ok(()),
        }
    }

    /// Returns what identifies target and settings as one number: it differs where a sample would be of another target, of another method or of
    /// another step. Seed, chain and length have no part in it. [`Store::set_target`](crate::store::Store::set_target) takes it.
    pub fn identity(&self) -> Result<u64> {
        identity::number(&self.header.config, Length::of(&self.inference))
    }

    /// Sets the number of sampling steps (of a fit, of all steps) of a session that may be longer or shorter.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a step depends on it; [`Error::OutOfRange`] when more were made, or it is out of range; nothing changes then.
    pub fn extend(&mut self, steps: u64) -> Result<()> {
        self.engine.extend(steps)?;
        match &mut self.inference {
            Inference::Chain { sampler, .. } => sampler.sampling_steps = steps,
            Inference::Fit { config, .. } => config.steps = steps,
        }
        let bad = |e| Error::out_of_range("settings", "JSON", e);
        let mut settings: serde_json::Value =
            serde_json::from_str(&self.header.config).map_err(bad)?;
        if let Some(v) = settings.pointer_mut(Length::of(&self.inference).setting) {
            *v = steps.into();
        }
        self.header.config = settings.to_string();
        Ok(())
    }

    /// Lets a monitor look from now on. Its numbers are no part of a saved state.
    pub fn watch(&mut self, monitor: impl Monitor<B>) {
        self.watchers.push(Box::new(monitor));
    }

    /// Lets no monitor of that type look any more that [`Session::watch`] added.
    pub fn unwatch<M: Monitor<B>>(&mut self) {
        self.watchers
            .retain(|m| !(m.as_ref() as &dyn Any).is::<M>());
    }

    /// Returns the monitor of that type, if there is one.
    pub fn monitor<M: Monitor<B>>(&self) -> Option<&M> {
        let all = self.monitors.iter().chain(&self.watchers);
        all.filter_map(|m| (m.as_ref() as &dyn Any).downcast_ref())
            .next()
    }

    /// Returns the monitor of that type, if there is one, for numbers that its driver adds.
    pub fn monitor_mut<M: Monitor<B>>(&mut self) -> Option<&mut M> {
        let all = self.monitors.iter_mut().chain(&mut self.watchers);
        all.filter_map(|m| (m.as_mut() as &mut dyn Any).downcast_mut())
            .next()
    }

    /// Returns the curvatures that were found last, or that the file had.
    pub fn curvature(&self) -> Option<ExtremeEigenvalues> {
        self.curvature
    }

    /// Returns the fit on a model's posterior, if it is one.
    pub fn fit(&self) -> Option<&GaussianFit<B>> {
        match &self.engine {
            Engine::Fit(f) => Some(f),
            _ => None,
        }
    }

    /// Returns the chain's sampler.
    ///
    /// # Errors
    /// [`Error::Conflict`] for a fit.
    pub fn sampler(&self) -> Result<&Sampler<B>> {
        self.engine.sampler()
    }

    /// Returns the chain's settings as they are now: with the step that a search has found so far, and a thermostat's friction for its start: of
    /// several the mean, or the least where that is below 0 and drives.
    ///
    /// # Errors
    /// [`Error::Conflict`] for a fit.
    pub fn sampler_now(&self) -> Result<crate::samplers::ChainConfig> {
        let s = self.engine.sampler()?;
        let mut c = s.config().clone();
        let least = s.thermostats().iter().map(|t| t.xi).reduce(f64::min);
        let mean = s.thermostat().map(|t| t.xi);
        c.xi = least.filter(|xi| *xi < 0.0).or(mean).or(c.xi);
        Ok(c)
    }

    /// Returns the mean over parameters of |m| / sqrt(M) of the momenta as they are; none without momenta.
    ///
    /// # Errors
    /// When the device cannot be read, and [`Error::Conflict`] for a fit.
    pub fn mean_momentum(&self) -> Result<Option<f64>> {
        let s = self.engine.sampler()?;
        let Some(momenta) = s.momenta() else {
            return Ok(None);
        };
        let mass = s.mass().map(|m| self.backend.get(m)).transpose()?;
        let m = self.backend.get(momenta)?;
        let each = m.iter().enumerate().map(|(i, m)| {
            let mass = mass.as_ref().map_or(1.0, |v| v[i]) as f64;
            (*m as f64).abs() / mass.sqrt()
        });
        Ok(Some(each.sum::<f64>() / m.len() as f64))
    }

    /// Returns the chain's momenta, (n_params); none without momenta.
    ///
    /// # Errors
    /// Returns the errors of [`Session::mean_momentum`].
    pub fn momenta(&self) -> Result<Option<Vec<f32>>> {
        let momenta = self.engine.sampler()?.momenta();
        let found = momenta.map(|m| self.backend.get(m)).transpose()?;
        let Some(affine) = self.engine.affine() else {
            return Ok(found);
        };
        let Some(mut found) = found else {
            return Ok(None);
        };
        let mut all = memory::collect(found.iter().map(|&p| f64::from(p)), "a chain's momenta")?;
        affine.momenta(&mut all);
        found.iter_mut().zip(all).for_each(|(f, p)| *f = p as f32);
        Ok(Some(found))
    }

    /// Returns the chain's diagonal mass, (n_params), if one was set or found; of a dense one 1 / (L L^T)_ii, the mass that each parameter has on its
    /// own.
    ///
    /// # Errors
    /// Returns the errors of [`Session::mean_momentum`].
    pub fn mass(&self) -> Result<Option<Vec<f32>>> {
        if let Some(affine) = self.engine.affine() {
            return affine.mass().map(Some);
        }
        let mass = self.engine.sampler()?.mass();
        mass.map(|m| self.backend.get(m)).transpose()
    }

    /// Sets the mass of a chain on gradients of the caller's, (n_params), before sampling begins; its momenta are drawn anew.
    ///
    /// # Errors
    /// Returns the errors of [`Sampler::set_mass`], and [`Error::Conflict`] for fits and on a model's posterior.
    pub fn set_mass(&mut self, mass: &[f32]) -> Result<()> {
        self.engine.set_mass(mass)
    }

    /// Sets the mass (L L^T)^-1 of a chain on gradients of the caller's, before sampling begins; its momenta are drawn anew. `factor` is L, (n_params,
    /// n_params) row by row and lower triangular: a Cholesky factor of an estimate of the posterior's covariance over T.
    ///
    /// # Errors
    /// [`Error::Conflict`] when sampling has begun, for fits, on a model's posterior, and where the mass adapts or the gradient's noise is made up for;
    /// [`Error::OutOfRange`] for what is no such factor, and more than [`MassShape::MOST`](crate::samplers::MassShape::MOST) parameters; [`Error::Shape`].
    pub fn set_mass_factor(&mut self, factor: &[f64]) -> Result<()> {
        let n = self.parameters();
        MassShape::check_dense(n)?;
        if factor.len() != n * n {
            return Err(Error::shape("mass factor", [n, n], [factor.len()]));
        }
        self.engine.set_mass_factor(factor)
    }

    /// Returns L of the chain's mass (L L^T)^-1, (n_params, n_params) row by row and lower triangular: diagonal where the mass is.
    ///
    /// # Errors
    /// Returns the errors of [`Session::mass`], [`Error::Conflict`] on a model's posterior, and [`Error::OutOfRange`] for more than [`MassShape::MOST`](crate::samplers::MassShape::MOST) parameters.
    pub fn mass_factor(&self) -> Result<Vec<f64>> {
        let n = self.engine.sampler()?.len();
        if self.feed.is_some() {
            return Err(Error::conflict(
                "a model's chain has a diagonal mass: read that one",
            ));
        }
        MassShape::check_dense(n)?;
        if let Some(affine) = self.engine.affine() {
            return affine.factor();
        }
        let mass = self.mass()?;
        let mut l = memory::zeros(n * n, "a mass")?;
        for i in 0..n {
            l[i * (n + 1)] = mass
                .as_ref()
                .map_or(1.0, |m| f64::from(m[i]).sqrt().recip());
        }
        Ok(l)
    }

    /// Checks that ranges of the parameters have momenta of their own.
    ///
    /// # Errors
    /// [`Error::Conflict`] under a dense mass, or one that is to be, which mixes them.
    pub fn has_own_ranges(&self) -> Result<()> {
        match self.engine.affine() {
            Some(a) if a.is_dense() => Err(Error::conflict(
                "a dense mass mixes the parameters: temperatures of ranges need a diagonal one",
            )),
            _ => Ok(()),
        }
    }

    /// Sets the variances of the gradient's noise of a chain on gradients of the caller's, (n_params), before sampling begins; an estimate of them that
    /// goes on ends.
    ///
    /// # Errors
    /// Returns the errors of [`Sampler::set_gradient_noise`], and [`Error::Conflict`] for fits and on a model's posterior.
    pub fn set_gradient_noise(&mut self, variance: &[f32]) -> Result<()> {
        self.engine.set_gradient_noise(variance)
    }

    /// Sets factors on the step size and the temperature of all following steps, in place of the schedules'; of VI on the rate, where the
    /// temperature's must be 1. They are no part of the state.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for EKF and Laplace, and while a search looks for the step size.
    pub fn set_factors(&mut self, factors: Option<Factors>) -> Result<()> {
        self.engine.set_factors(factors)
    }

    /// Returns the search for the step size, if there is one.
    pub fn auto_step(&self) -> Option<&AutoStep> {
        self.engine.auto_step()
    }

    /// Returns where the next gradient is taken, (n_params): a chain's parameters, VI's draw, or the mean of EKF and Laplace; of a fit on a model's
    /// posterior the mean.
    pub fn params(&self) -> &B::Vector {
        self.engine.params()
    }

    /// Copies [`Session::params`] to the host.
    ///
    /// # Errors
    /// [`Error::Shape`] for another length, and when the device cannot be read.
    pub fn read_params(&self, out: &mut [f32]) -> Result<()> {
        self.read("params", self.params(), out)
    }

    /// Returns how many parameters there are.
    pub fn parameters(&self) -> usize {
        self.backend.len(self.params())
    }

    /// Returns a fit's mean, (n_params).
    ///
    /// # Errors
    /// [`Error::Conflict`] for a chain.
    pub fn mean(&self) -> Result<&B::Vector> {
        self.engine.mean()
    }

    /// Copies [`Session::mean`] to the host.
    ///
    /// # Errors
    /// Returns the errors of [`Session::read_params`], and [`Error::Conflict`] for a chain.
    pub fn read_mean(&self, out: &mut [f32]) -> Result<()> {
        self.read("mean", self.mean()?, out)
    }

    fn read(&self, what: &str, from: &B::Vector, out: &mut [f32]) -> Result<()> {
        let n = self.parameters();
        if out.len() != n {
            return Err(Error::shape(what, [n], [out.len()]));
        }
        self.backend.download(from, out)
    }

    /// Returns a fit's standard deviations, (n_params): infinite where Laplace has no precision.
    ///
    /// # Errors
    /// Returns the errors of [`GaussianFit::sd`], and [`Error::Conflict`] for a chain.
    pub fn sd(&mut self) -> Result<Vec<f32>> {
        self.engine.sd()
    }

    /// Returns the mean of a fit's standard deviations; Laplace's with that prior precision.
    ///
    /// # Errors
    /// Returns the errors of [`Session::sd`].
    pub fn average_sd(&mut self, prior_precision: f64) -> Result<f64> {
        self.engine.average_sd(prior_precision)
    }

    /// Returns what the marginal likelihood says of Laplace's prior; none without `laplace_fit_prior`.
    ///
    /// # Errors
    /// Returns the errors of [`GaussianFit::prior_fit`], and [`Error::Conflict`] for a chain.
    pub fn prior_fit(&mut self) -> Result<Option<PriorFit>> {
        self.engine.prior_fit()
    }

    /// Returns draw number `index` of the seed from a fit as it is, (n_params).
    ///
    /// # Errors
    /// Returns the errors of [`GaussianFit::draw`], and [`Error::Conflict`] for a chain.
    pub fn draw(&mut self, index: u64) -> Result<Vec<f32>> {
        let mut out = self.backend.zeros(self.parameters())?;
        self.engine.draw(index, &mut out)?;
        self.backend.get(&out)
    }

    /// Returns a fit's settings, its steps counted.
    ///
    /// # Errors
    /// [`Error::Conflict`] for a chain.
    pub fn fit_config(&self) -> Result<&GaussianConfig> {
        self.engine.fit_config()
    }

    /// Returns the chain or the fit that it is, a fit's steps counted.
    pub fn inference(&self) -> &Inference {
        &self.inference
    }

    /// Returns what the mean log likelihood is multiplied by, its weight included.
    pub fn num_data(&self) -> f64 {
        self.num_data
    }

    /// Returns the batches of a session on a model's posterior.
    pub fn batches(&self) -> Option<&Batches> {
        self.feed.as_ref().map(|f| &f.batches)
    }

    /// Returns (B, T) of those batches.
    ///
    /// # Errors
    /// [`Error::Conflict`] on gradients of the caller's.
    pub fn batch_shape(&self) -> Result<(usize, usize)> {
        let feed = self.feed.as_ref().ok_or_else(no_batches)?;
        Ok((feed.batch.b, feed.batch.t))
    }

    /// Returns what the last step found; none before the first, also of a session that goes on.
    pub fn last_report(&self) -> Option<StepReport> {
        self.last
    }

    /// Returns the phase of the next step: warm-up, until every step of a fit was made.
    pub fn phase(&self) -> Phase {
        self.engine.phase()
    }

    /// Returns the steps made, which is the next step's index.
    pub fn steps_made(&self) -> u64 {
        self.engine.steps_made()
    }

    /// Returns the steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.engine.total_steps()
    }

    /// Returns the gradients that the steps made have taken.
    pub fn gradients_made(&self) -> u64 {
        self.inference.gradients(self.steps_made())
    }
}

/// Says how far a run of so many steps is.
pub(super) fn progress(inference: &Inference, steps: u64) -> Progress {
    Progress {
        steps,
        sampled: steps.saturating_sub(inference.steps_before_sampling()),
    }
}

/// Says that a call is for a session on a model's posterior alone.
pub(super) fn no_batches() -> Error {
    Error::conflict("this sampler takes gradients of the caller's: call step_with_gradient")
}
