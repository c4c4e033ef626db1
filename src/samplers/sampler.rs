//! The state machine of a chain: one gradient in, one step made, a report out.

use super::sampler_state::{check, check_finite, check_mass, check_state, check_takes_noise};
use super::{
    ChainConfig, Kinetic, Momenta, NoiseHeat, Psgld, PsgldMass, SamplerState, Thermostat,
    Thermostats,
};
use crate::backend::vectors::{
    Block, ChainView, Combine, Langevin, Noise, PreconditionedUpdate, RangeMoments, Transfer,
    Vectors,
};
use crate::backend::{Input, Scalars};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Stream, StreamTag};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Where a chain is in its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Steps before sampling: no sample is kept, and the mass may still be set.
    Warmup,
    /// Samples fall due.
    Sampling,
    /// The part of a cycle in which the chain moves without noise, and no sample falls due.
    Exploration,
    /// Every step was made.
    Done,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Which step this was, counted from 0 over the whole run.
    pub step: u64,
    /// The phase that the step belonged to: warm-up, sampling or exploration. [`Sampler::phase`] is that of the next.
    pub phase: Phase,
    /// The step size that it had.
    pub step_size: f64,
    /// The temperature that it had: 0 while exploring.
    pub temperature: f64,
    /// The log posterior that the caller gave: at the parameters before the step.
    pub log_post: f64,
    /// Mean of m^2 / M' over the parameters, after the step: near T in equilibrium. `None` without momenta.
    ///
    /// On a Gaussian its standard deviation is T sqrt(2 / d) for d parameters.
    pub kinetic_temperature: Option<f64>,
    /// Minus the mean of (theta - theta_0) * grad over the parameters, before the step: its expectation is T in
    /// equilibrium, whatever the chain's start theta_0, and 0 at the start.
    pub configurational_temperature: f64,
    /// A thermostat's friction coefficient xi after the step: of several the mean over parameters.
    pub xi: Option<f64>,
    /// Whether the parameters after this step are a sample to keep.
    pub sample_due: bool,
}

/// Factors on the step size and the temperature, in place of the schedules'.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factors {
    /// On the step size, above 0.
    pub step_size: f64,
    /// On the temperature, 0 or more.
    pub temperature: f64,
}

/// A chain: parameters, momenta and mass on a device, and how far it is.
///
/// One thread at a time; any number of chains may share a device. A step allocates nothing (a thread pool may,
/// handing work over).
pub struct Sampler<V: Vectors> {
    vectors: V,
    config: ChainConfig,
    stream: Stream,
    step: u64,
    theta: V::Vector,
    momenta: V::Vector,      // empty without momenta
    mass: Option<V::Vector>, // under a live mass that of the last step
    live: Option<Psgld<V::Vector>>,
    gradient_noise: Option<V::Vector>, // variances
    center: V::Vector,
    record: V::Record,
    found: Scalars, // by the last step
    thermostats: Vec<Thermostat>,
    blocks: Vec<Block>, // of thermostats for tensors
    factors: Option<Factors>,
    nonfinite: Option<usize>,
}

impl<V: Vectors> Sampler<V> {
    /// Creates a chain that starts at `theta0`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] or [`Error::Unstable`] for a setting ([`ChainConfig::validate`]), an empty start, or a start
    /// that is not finite; [`Error::Conflict`] where each tensor is to have a thermostat.
    pub fn new(vectors: V, theta0: &[f32], config: ChainConfig) -> Result<Self> {
        if !config.thermostats.is_global() {
            return Err(Error::conflict(
                "thermostat: one for each tensor needs to know the tensors, and a caller's parameters have none: choose global",
            ));
        }
        Self::of_tensors(vectors, theta0, config, &[theta0.len()])
    }

    /// Creates a chain that starts at `theta0`, whose parameters are tensors of these lengths, one after another. Where the settings ask for it, each
    /// has a thermostat of its own.
    ///
    /// # Errors
    /// Returns the errors of [`Sampler::new`], and [`Error::Shape`] where the lengths are not those of all parameters.
    pub fn of_tensors(
        vectors: V,
        theta0: &[f32],
        config: ChainConfig,
        lengths: &[usize],
    ) -> Result<Self> {
        config.validate()?;
        let all = lengths
            .iter()
            .try_fold(0usize, |sum, n| sum.checked_add(*n));
        if all != Some(theta0.len()) {
            let all = all.unwrap_or(usize::MAX);
            return Err(Error::shape("tensors", [theta0.len()], [all]));
        }
        let momenta = config.method.has_momenta().then(|| match config.momenta {
            Momenta::Constant(value) => memory::filled(theta0.len(), value, MOMENTA),
            Momenta::Thermal => thermal_momenta(&config, theta0.len(), None, 0),
        });
        let momenta = momenta.transpose()?;
        let lengths = match (config.method.has_thermostat(), config.thermostats) {
            (false, _) => &[][..],
            (true, Thermostats::Global) => &[theta0.len()],
            (true, Thermostats::Tensor) => lengths,
        };
        let xi = config.xi.unwrap_or(config.alpha);
        let still = |&parameters: &usize| Thermostat {
            xi,
            kinetic: 0.0,
            parameters,
        };
        let mut thermostats = memory::collect(lengths.iter().map(still), THERMOSTATS)?;
        measure(&mut thermostats, &config, momenta.as_deref(), None);
        let state = SamplerState {
            step: 0,
            theta: memory::copy(theta0, "a chain's parameters")?,
            momenta,
            mass: None,
            live: None,
            gradient_noise: None,
            center: memory::copy(theta0, "a chain's start")?,
            thermostats,
        };
        Self::restore(vectors, config, &state)
    }

    /// Goes on from a saved state, as it would have without the break.
    ///
    /// # Errors
    /// Returns the errors of [`Sampler::new`], and [`Error::Shape`] or [`Error::OutOfRange`] when the state does not fit the settings or
    /// itself.
    pub fn restore(vectors: V, config: ChainConfig, state: &SamplerState) -> Result<Self> {
        config.validate()?;
        check_state(&config, state)?;
        let put = |from: &[f32]| vectors.put(from);
        let mass = state.live.as_ref().map(PsgldMass::mass).transpose()?;
        Ok(Self {
            theta: put(&state.theta)?,
            momenta: put(state.momenta.as_deref().unwrap_or_default())?,
            mass: (mass.as_deref().or(state.mass.as_deref()))
                .map(put)
                .transpose()?,
            live: (state.live.as_ref())
                .map(|l| on_device(&vectors, l))
                .transpose()?,
            gradient_noise: state.gradient_noise.as_deref().map(put).transpose()?,
            center: put(&state.center)?,
            record: vectors.record()?,
            found: Scalars::default(),
            stream: Stream::new(config.seed, StreamTag::Noise, config.chain),
            step: state.step,
            thermostats: memory::copy(&state.thermostats, THERMOSTATS)?,
            blocks: blocks(&config, &state.thermostats)?,
            factors: None,
            nonfinite: None,
            vectors,
            config,
        })
    }

    /// Returns the state as plain data, for [`Sampler::restore`].
    pub fn state(&self) -> Result<SamplerState> {
        let get = |buf: &V::Vector| self.vectors.get(buf);
        Ok(SamplerState {
            step: self.step,
            theta: get(&self.theta)?,
            momenta: self.momenta().map(get).transpose()?,
            mass: match self.live {
                Some(_) => None,
                None => self.mass.as_ref().map(get).transpose()?,
            },
            live: match &self.live {
                Some(live) => Some(PsgldMass {
                    squares: get(&live.squares)?,
                    floor: live.floor,
                    decay: live.decay,
                }),
                None => None,
            },
            gradient_noise: self.gradient_noise.as_ref().map(get).transpose()?,
            center: get(&self.center)?,
            thermostats: memory::copy(&self.thermostats, THERMOSTATS)?,
        })
    }

    /// Makes one step, given the gradient of the log posterior at [`Sampler::params`], and its value.
    ///
    /// # Errors
    /// - [`Error::OutOfRange`] when the run is done, [`Error::Shape`] when the gradient has another length.
    /// - [`Error::NotFinite`] for a `gradient` or `log_posterior` that is NaN or infinite: the state is as before,
    ///   and another gradient may be tried.
    /// - [`Error::NotFinite`] for `params` or `momenta` that the step made so: the chain has diverged and its state
    ///   is lost; go back to a saved one.
    ///
    /// [`Sampler::non_finite_index`] has the element.
    pub fn step_with_gradient(&mut self, grad: &V::Vector, log_post: f64) -> Result<StepReport> {
        self.check_given(grad, log_post)?;
        let noise = self.noise();
        self.advance(grad, None, &|_| log_post, noise)
    }

    /// Makes one step under a live mass, with its divergence term, given the diagonal of the log posterior's Hessian at
    /// [`Sampler::params`] or an unbiased estimate of it: [`super::psgld`]. (The other steps leave the term out.)
    ///
    /// # Errors
    /// Returns the errors of [`Sampler::step_with_gradient`], for a `diagonal` that is NaN or infinite too; [`Error::OutOfRange`] when the mass is not live.
    pub fn step_with_diagonal(
        &mut self,
        grad: &V::Vector,
        diagonal: &V::Vector,
        log_post: f64,
    ) -> Result<StepReport> {
        self.check_given(grad, log_post)?;
        let noise = self.noise();
        self.advance(grad, Some(diagonal), &|_| log_post, noise)
    }

    /// Makes one step with given standard normals, one per parameter: to replay what another program
    /// drew.
    pub fn step_with_noise(
        &mut self,
        grad: &V::Vector,
        log_post: f64,
        noise: &V::Vector,
    ) -> Result<StepReport> {
        self.check_given(grad, log_post)?;
        self.advance(grad, None, &|_| log_post, Noise::Given(noise))
    }

    /// Makes one step with a gradient whose scalars are in `record` already, from which `log_post` makes the log posterior.
    pub(super) fn step_recorded(
        &mut self,
        grad: &V::Vector,
        diagonal: Option<&V::Vector>,
        record: &mut V::Record,
        log_post: &dyn Fn(&Scalars) -> f64,
    ) -> Result<StepReport> {
        let noise = self.noise();
        std::mem::swap(&mut self.record, record);
        let report = self.advance(grad, diagonal, log_post, noise);
        std::mem::swap(&mut self.record, record);
        report
    }

    fn noise<'a>(&self) -> Noise<'a, V>
    where
        V: 'a,
    {
        let (stream, step) = (self.stream, self.step);
        Noise::Counter { stream, step }
    }

    /// Refuses a step that there is none of, and a vector of another length.
    fn check_step(&self, grad: &V::Vector, diagonal: Option<&V::Vector>) -> Result<()> {
        if self.phase() == Phase::Done {
            return Err(Error::conflict(format!(
                "the chain has made all of its {} steps: give it more sampling_steps to go on",
                self.config.total_steps()
            )));
        }
        let n = self.len();
        let len = |x: &V::Vector| self.vectors.len(x);
        if len(grad) != n {
            return Err(Error::shape("gradient", [n], [len(grad)]));
        }
        let Some(diagonal) = diagonal else {
            return Ok(());
        };
        if self.live.is_none() {
            return Err(Error::conflict(
                "a diagonal was given, but no mass follows the chain: call step_with_gradient",
            ));
        }
        if len(diagonal) != n {
            return Err(Error::shape("diagonal", [n], [len(diagonal)]));
        }
        Ok(())
    }

    /// Checks what a caller gave for a step.
    fn check_given(&mut self, grad: &V::Vector, log_post: f64) -> Result<()> {
        self.check_step(grad, None)?;
        self.nonfinite = None;
        self.check_log_post(log_post)?;
        (self.vectors).check_finite(grad, Input::Gradient, &mut self.record)
    }

    fn check_log_post(&self, log_post: f64) -> Result<()> {
        if log_post.is_finite() {
            return Ok(());
        }
        Err(Error::NotFinite {
            step: self.step,
            tensor: "log_posterior".into(),
            value: log_post as f32,
        })
    }

    fn advance(
        &mut self,
        grad: &V::Vector,
        diagonal: Option<&V::Vector>,
        log_post: &dyn Fn(&Scalars) -> f64,
        noise: Noise<'_, V>,
    ) -> Result<StepReport> {
        self.check_step(grad, diagonal)?;
        self.nonfinite = None;
        let (step, phase) = (self.step, self.phase());
        let now = self.settings_at(step)?;
        if let Some(diagonal) = diagonal {
            (self.vectors).check_finite(diagonal, Input::Second, &mut self.record)?;
        }
        self.update(&now, grad, diagonal, noise)?;
        let found = self.vectors.read(&mut self.record)?;
        self.found = found;
        let log_post = log_post(&found);
        self.check_log_post(log_post)?;
        self.check_found(&found, grad, diagonal)?;
        let d = self.len() as f64;
        let mass_scale = self.config.sigma * self.config.sigma;
        let kinetic = Kinetic {
            kicked: found.kicked / (mass_scale * d),
            after: found.kinetic / (mass_scale * d),
        };
        self.follow(&now, kinetic);
        self.step += 1;
        let sampled = self.step.saturating_sub(self.config.warmup_steps);
        Ok(StepReport {
            step,
            phase,
            step_size: now.step_size,
            temperature: now.temperature,
            log_post,
            kinetic_temperature: self.config.method.has_momenta().then_some(kinetic.after),
            configurational_temperature: -found.virial / d,
            xi: self.thermostat().map(|t| t.xi),
            sample_due: phase == Phase::Sampling && sampled.is_multiple_of(self.config.thinning),
        })
    }

    /// Moves the state by one step.
    fn update(
        &mut self,
        now: &ChainConfig,
        grad: &V::Vector,
        diagonal: Option<&V::Vector>,
        noise: Noise<'_, V>,
    ) -> Result<()> {
        if let (Some(live), Some(mass)) = (&mut self.live, &mut self.mass) {
            let rule = live.rule(now);
            let on = PreconditionedUpdate {
                theta: &mut self.theta,
                squares: &mut live.squares,
                mass,
                grad,
                diagonal,
                center: &self.center,
                noise,
            };
            return self
                .vectors
                .preconditioned_update(rule, on, &mut self.record);
        }
        let xi = self.thermostats.first().map_or(0.0, |t| t.xi);
        let rule = now.method.scheme().rule(now, xi);
        for (block, t) in self.blocks.iter_mut().zip(&self.thermostats) {
            block.xi = t.xi;
        }
        let on = Langevin {
            theta: &mut self.theta,
            momenta: &mut self.momenta,
            grad,
            center: &self.center,
            mass: self.mass.as_ref(),
            gradient_noise: self.gradient_noise.as_ref(),
            blocks: &mut self.blocks,
            noise,
        };
        self.vectors.langevin_update(rule, on, &mut self.record)
    }

    /// Moves the thermostats: one by the kinetic temperatures of all parameters, each tensor's by its own.
    fn follow(&mut self, now: &ChainConfig, kinetic: Kinetic) {
        let (scheme, mass_scale) = (now.method.scheme(), self.config.sigma * self.config.sigma);
        let each = self.blocks.iter().map(|b| {
            let d = b.range.len() as f64;
            Kinetic {
                kicked: b.kicked / (mass_scale * d),
                after: b.kinetic / (mass_scale * d),
            }
        });
        let one = std::iter::once(kinetic).filter(|_| self.blocks.is_empty());
        for (t, kinetic) in self.thermostats.iter_mut().zip(each.chain(one)) {
            *t = scheme.follow(now, *t, kinetic);
        }
    }

    /// Names the first element that a step found to be NaN or infinite: of its inputs, with the state as before, or of the state.
    fn check_found(
        &mut self,
        found: &Scalars,
        grad: &V::Vector,
        diagonal: Option<&V::Vector>,
    ) -> Result<()> {
        let v = self.vectors.clone();
        if let Some(at) = found.gradient {
            return Err(self.not_finite("gradient", at, v.element(grad, at)?));
        }
        if let (Some(at), Some(diagonal)) = (found.second, diagonal) {
            return Err(self.not_finite("diagonal", at, v.element(diagonal, at)?));
        }
        let Some(at) = found.state else {
            return Ok(());
        };
        let value = v.element(&self.theta, at)?;
        if !value.is_finite() {
            return Err(self.not_finite("params", at, value));
        }
        let value = v.element(&self.momenta, at)?;
        Err(self.not_finite("momenta", at, value))
    }

    /// Returns the settings with the step size and the temperature of a step.
    fn settings_at(&self, step: u64) -> Result<ChainConfig> {
        let c = &self.config;
        let Some(f) = self.factors else {
            return Ok(ChainConfig {
                step_size: c.step_size_at(step),
                temperature: c.temperature_at(step),
                ..c.clone()
            });
        };
        let now = ChainConfig {
            step_size: c.step_size * f.step_size,
            temperature: c.temperature * f.temperature,
            ..c.clone()
        };
        now.validate()?;
        Ok(now)
    }

    /// Returns T over the temperature of the next step; 1 where that is 0.
    pub(super) fn temperature_scale(&self) -> f64 {
        let t = self.config.temperature;
        let now = match self.factors {
            Some(f) => t * f.temperature,
            None => self.config.temperature_at(self.step),
        };
        if now == t || now == 0.0 { 1.0 } else { t / now }
    }

    /// Sets the factors of all following steps, in place of the schedules'; `None` gives these their place back. For a schedule of the caller's
    /// own, called before each step. They are no part of the state.
    pub fn set_factors(&mut self, factors: Option<Factors>) {
        self.factors = factors;
    }

    fn not_finite(&mut self, tensor: &str, at: usize, value: f32) -> Error {
        self.nonfinite = Some(at);
        Error::NotFinite {
            step: self.step,
            tensor: format!("{tensor}[{at}]"),
            value,
        }
    }

    /// Sets the step size and the friction coefficient alpha of all following steps; schedules go on from there. They are settings, no part of the
    /// state: a chain is restored with a configuration that has them.
    ///
    /// Allowed until the first sampling step is made.
    ///
    /// # Errors
    /// Returns [`Error::Conflict`] when sampling has begun, and the errors of [`ChainConfig::validate`]; the settings are then as before.
    pub fn set_step(&mut self, step_size: f64, alpha: f64) -> Result<()> {
        self.before_sampling("step_size")?;
        let config = ChainConfig {
            step_size,
            alpha,
            ..self.config.clone()
        };
        config.validate()?;
        self.config = config;
        Ok(())
    }

    /// Sets the number of sampling steps of a run that may be longer or shorter, as far as no step that was made depends on it.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a schedule depends on it; [`Error::OutOfRange`] when more steps were made; the errors of [`ChainConfig::validate`]. The settings are
    /// then as before.
    pub fn extend(&mut self, sampling_steps: u64) -> Result<()> {
        let made = self.step.saturating_sub(self.config.warmup_steps);
        if let Some(why) = self.config.length_matters() {
            return Err(Error::conflict(format!(
                "sampling_steps: it must stay {} ({why}), and {sampling_steps} was given: start a new chain",
                self.config.sampling_steps
            )));
        }
        if sampling_steps < made.max(1) {
            let expected = format!("at least {}, those made and not 0", made.max(1));
            return Err(Error::out_of_range(
                "sampling_steps",
                expected,
                sampling_steps,
            ));
        }
        let config = ChainConfig {
            sampling_steps,
            ..self.config.clone()
        };
        config.validate()?;
        self.config = config;
        Ok(())
    }

    /// Sets the diagonal mass M, one positive number per parameter, and draws new momenta from N(0, T sigma^2 M). A live mass ends.
    ///
    /// Allowed until the first sampling step is made, any number of times: a mass that followed the chain would
    /// change the target.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when sampling has begun or a mass is not positive and finite, [`Error::Shape`] for
    /// another length.
    pub fn set_mass(&mut self, mass: &[f32]) -> Result<()> {
        self.take_mass(mass, None)
    }

    /// Sets the diagonal mass M: see [`Sampler::set_mass`]. `buf` holds the mass already, or there is none yet.
    pub(super) fn take_mass(&mut self, mass: &[f32], buf: Option<V::Vector>) -> Result<()> {
        self.before_sampling("mass")?;
        check_mass(mass, self.len())?;
        let buf = match buf {
            Some(buf) => buf,
            None => self.vectors.put(mass)?,
        };
        self.mass = Some(buf);
        self.live = None;
        if self.config.method.has_momenta() {
            let momenta = thermal_momenta(&self.config, mass.len(), Some(mass), self.step)?;
            self.vectors.upload(&mut self.momenta, &momenta)?;
            measure(
                &mut self.thermostats,
                &self.config,
                Some(&momenta),
                Some(mass),
            );
        }
        Ok(())
    }

    /// Moves the chain to other parameters, (n_params), with another start, and draws new momenta under unit mass. For a change of coordinates, or for a
    /// start of the caller's.
    ///
    /// Allowed until the first sampling step is made.
    ///
    /// # Errors
    /// [`Error::Conflict`] when sampling has begun, [`Error::OutOfRange`] for a number that is not finite, [`Error::Shape`] for another length.
    pub fn relocate(&mut self, theta: &[f32], center: &[f32]) -> Result<()> {
        self.before_sampling("params")?;
        check_finite("params", theta, self.len())?;
        check_finite("center", center, self.len())?;
        let v = self.vectors.clone();
        v.upload(&mut self.theta, theta)?;
        v.upload(&mut self.center, center)?;
        (self.mass, self.live) = (None, None);
        if self.config.method.has_momenta() {
            let momenta = thermal_momenta(&self.config, theta.len(), None, self.step)?;
            v.upload(&mut self.momenta, &momenta)?;
            measure(&mut self.thermostats, &self.config, Some(&momenta), None);
        }
        Ok(())
    }

    /// Counts a step of the warm-up that moved nothing: its gradient was for somebody else.
    pub(super) fn pass(&mut self, log_post: f64) -> Result<StepReport> {
        let (step, phase) = (self.step, self.phase());
        if phase != Phase::Warmup {
            return Err(Error::conflict(
                "only steps of the warm-up may move nothing",
            ));
        }
        self.step += 1;
        Ok(StepReport {
            step,
            phase,
            step_size: self.config.step_size,
            temperature: self.config.temperature,
            log_post,
            kinetic_temperature: None,
            configurational_temperature: 0.0,
            xi: self.thermostat().map(|t| t.xi),
            sample_due: false,
        })
    }

    /// Copies where the chain started to the host, (n_params).
    pub(super) fn center_on_host(&self) -> Result<Vec<f32>> {
        self.vectors.get(&self.center)
    }

    /// Sets the variance of each parameter's gradient noise, (n_params): the step then adds less noise of its own, or has more friction
    /// ([`super::baoa`]).
    ///
    /// Allowed until the first sampling step is made, any number of times.
    ///
    /// # Errors
    /// [`Error::Conflict`] when sampling has begun or the method does not make up for such noise, [`Error::OutOfRange`] when a variance is below 0 or
    /// not finite, [`Error::Shape`] for another length.
    pub fn set_gradient_noise(&mut self, variance: &[f32]) -> Result<()> {
        self.before_sampling("gradient_noise")?;
        check_takes_noise(&self.config)?;
        let expected = "0 or a positive number, and finite";
        let ok = |v: f32| v.is_finite() && v >= 0.0;
        check("gradient_noise", variance, self.len(), expected, ok)?;
        self.gradient_noise = Some(self.vectors.put(variance)?);
        Ok(())
    }

    /// Moves the variances towards another estimate: what is there keeps `keep` of itself, and the squares of `add` are added.
    pub(super) fn average_gradient_noise(&mut self, keep: f32, add: &V::Vector) -> Result<()> {
        let variance = match &mut self.gradient_noise {
            Some(variance) => variance,
            none => none.insert(self.vectors.zeros(self.vectors.len(&self.theta))?),
        };
        self.vectors.combine(variance, Combine::Scale(keep))?;
        self.vectors.combine(variance, Combine::AddSquares(add))
    }

    /// Returns the variance of each parameter's gradient noise, where it was given or estimated.
    pub fn gradient_noise(&self) -> Option<&V::Vector> {
        self.gradient_noise.as_ref()
    }

    /// Returns what the gradient's noise does at the step size and temperature as they are set, over all parameters; none where its variances are not
    /// known.
    ///
    /// # Errors
    /// When the device cannot be read, or memory does not hold the variances and the mass.
    pub fn noise_heat(&self) -> Result<Option<NoiseHeat>> {
        let Some(variance) = &self.gradient_noise else {
            return Ok(None);
        };
        let mass = self
            .mass
            .as_ref()
            .map(|m| self.vectors.get(m))
            .transpose()?;
        let variance = self.vectors.get(variance)?;
        Ok(Some(NoiseHeat::new(
            &self.config,
            &variance,
            mass.as_deref(),
        )))
    }

    /// Lets the mass follow the gradients of all following steps, sampling too: [`super::psgld`], which is biased.
    ///
    /// Allowed until the first sampling step is made.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when sampling has begun, and as [`PsgldMass::check`].
    pub fn set_psgld_mass(&mut self, live: &PsgldMass) -> Result<()> {
        self.before_sampling("live mass")?;
        live.check(self.config.method, self.len())?;
        let mass = self.vectors.put(&live.mass()?)?;
        self.live = Some(on_device(&self.vectors, live)?);
        self.mass = Some(mass);
        Ok(())
    }

    fn before_sampling(&self, what: &str) -> Result<()> {
        if self.step > self.config.warmup_steps {
            return Err(Error::conflict(format!(
                "{what} must be set before sampling, which began after step {}; this is step {}",
                self.config.warmup_steps, self.step
            )));
        }
        Ok(())
    }

    /// Returns the parameters: where the next gradient is to be taken.
    pub fn params(&self) -> &V::Vector {
        &self.theta
    }

    /// Returns the scalars of the last step.
    pub(super) fn found(&self) -> &Scalars {
        &self.found
    }

    /// Returns the momenta, if the method has them.
    pub fn momenta(&self) -> Option<&V::Vector> {
        self.config.method.has_momenta().then_some(&self.momenta)
    }

    /// Returns the thermostat, if the method has one: of several the means over parameters.
    pub fn thermostat(&self) -> Option<Thermostat> {
        let [first, rest @ ..] = &self.thermostats[..] else {
            return None;
        };
        if rest.is_empty() {
            return Some(*first);
        }
        let n = self.len();
        let mean = |f: fn(&Thermostat) -> f64| {
            let each = self.thermostats.iter().map(|t| f(t) * t.parameters as f64);
            each.sum::<f64>() / n as f64
        };
        Some(Thermostat {
            xi: mean(|t| t.xi),
            kinetic: mean(|t| t.kinetic),
            parameters: n,
        })
    }

    /// Returns the thermostats, in the order of the parameters: one, or one for each tensor; none for a method without.
    pub fn thermostats(&self) -> &[Thermostat] {
        &self.thermostats
    }

    /// Returns the diagonal mass, if one was set; of a live one that of the last step.
    pub fn mass(&self) -> Option<&V::Vector> {
        self.mass.as_ref()
    }

    /// Returns the live mass, if one was set.
    pub fn live(&self) -> Option<&Psgld<V::Vector>> {
        self.live.as_ref()
    }

    /// Returns where the chain started.
    pub fn center(&self) -> &V::Vector {
        &self.center
    }

    /// Sums over ranges of the parameters as the chain stands, `grad` being the gradient there: of m^2 / M', of (theta - theta_0) * grad, and
    /// of grad^2 / M'.
    ///
    /// # Errors
    /// When a range or the gradient does not fit.
    pub fn range_moments(
        &self,
        grad: &V::Vector,
        ranges: &[Range<usize>],
        out: &mut [RangeMoments],
    ) -> Result<()> {
        let at = ChainView {
            theta: &self.theta,
            momenta: self.momenta(),
            grad,
            center: &self.center,
            mass: self.mass.as_ref(),
        };
        self.vectors.range_moments(out, ranges, at)?;
        let mass_scale = self.config.sigma * self.config.sigma;
        for sums in out {
            sums.kinetic /= mass_scale;
            sums.force /= mass_scale;
        }
        Ok(())
    }

    /// Returns the number of parameters.
    #[allow(clippy::len_without_is_empty)] // there is at least one
    pub fn len(&self) -> usize {
        self.vectors.len(&self.theta)
    }

    /// Steps made, which is the next step's index.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Returns the phase of the next step.
    pub fn phase(&self) -> Phase {
        if self.step < self.config.warmup_steps {
            Phase::Warmup
        } else if self.step < self.config.total_steps() {
            if self.config.explores(self.step) && self.factors.is_none() {
                Phase::Exploration
            } else {
                Phase::Sampling
            }
        } else {
            Phase::Done
        }
    }

    /// Returns the settings.
    pub fn config(&self) -> &ChainConfig {
        &self.config
    }

    /// Returns the device.
    pub fn vectors(&self) -> &V {
        &self.vectors
    }

    /// Returns the element that the last [`Error::NotFinite`] was about; `None` for a log posterior, and after a step that
    /// went well.
    pub fn non_finite_index(&self) -> Option<usize> {
        self.nonfinite
    }
}

fn on_device<V: Vectors>(vectors: &V, live: &PsgldMass) -> Result<Psgld<V::Vector>> {
    Ok(Psgld {
        squares: vectors.put(&live.squares)?,
        floor: live.floor,
        decay: live.decay,
    })
}

/// Draws from N(0, T sigma^2 M), by the numbers of the seed's momenta at `step`.
fn thermal_momenta(c: &ChainConfig, n: usize, mass: Option<&[f32]>, step: u64) -> Result<Vec<f32>> {
    let mut m = memory::zeros(n, MOMENTA)?;
    Stream::new(c.seed, StreamTag::Momenta, c.chain).fill_normal(step, &mut m);
    let sd = (c.temperature.sqrt() * c.sigma) as f32;
    m.iter_mut().for_each(|m| *m *= sd);
    if let Some(mass) = mass {
        m.iter_mut()
            .zip(mass)
            .for_each(|(m, mass)| *m *= mass.sqrt());
    }
    Ok(m)
}

/// What messages call a chain's momenta.
const MOMENTA: &str = "a chain's momenta";

/// What messages call a chain's thermostats.
const THERMOSTATS: &str = "a chain's thermostats";

/// Returns the ranges of thermostats for tensors; none for one.
fn blocks(c: &ChainConfig, of: &[Thermostat]) -> Result<Vec<Block>> {
    let of = if c.thermostats.is_global() { &[] } else { of };
    let mut end = 0;
    let each = of.iter().map(|t| {
        let start = end;
        end += t.parameters;
        Block {
            range: start..end,
            xi: t.xi,
            kicked: 0.0,
            kinetic: 0.0,
        }
    });
    memory::collect(each, THERMOSTATS)
}

/// Gives thermostats the kinetic temperatures of momenta, (n_params).
fn measure(of: &mut [Thermostat], c: &ChainConfig, momenta: Option<&[f32]>, mass: Option<&[f32]>) {
    let mut at = 0;
    for t in of {
        let own = at..at + t.parameters;
        let (m, mass) = (
            momenta.map(|m| &m[own.clone()]),
            mass.map(|m| &m[own.clone()]),
        );
        t.kinetic = kinetic(c, m, mass);
        at = own.end;
    }
}

/// Returns the mean of m^2 / M'; 0 without momenta.
fn kinetic(c: &ChainConfig, momenta: Option<&[f32]>, mass: Option<&[f32]>) -> f64 {
    let m = momenta.unwrap_or_default();
    let over = |i: usize| mass.map_or(1.0, |mass| mass[i] as f64) * c.sigma * c.sigma;
    let each = m
        .iter()
        .enumerate()
        .map(|(i, &m)| (m as f64).powi(2) / over(i));
    each.sum::<f64>() / m.len().max(1) as f64
}
