//! VI: variational inference with independent normals, their means and log deviations moved by Adam.
//!
//! **Target.** The q(theta) = N(theta; mean, sd^2) with the least NELBO = -E_q(log_post(theta) - T log q(theta)): for T = 1 the nearest to
//! exp(log_post) in KL(q || p).
//!
//! **Update** (posteriors, `vi.diag`; Kingma & Welling 2014; Blundell et al. 2015, section 3.2), with draws theta = mean + sd z and g the
//! gradient of log_post at theta, averaged over the draws of a step, then Adam (Kingma & Ba 2015, algorithm 1) on both:
//!
//! ```text
//! plain:             d mean = -g                  d log sd = -(g sd z + T)
//! stick the landing: d mean = -(g + T z / sd)     d log sd = -(g sd z + T z^2)
//! ```
//!
//! The second form (Roeder, Wu & Duvenaud 2017, eq. 4) leaves out a part whose expectation is 0; near the optimum its variance goes to 0.
//!
//! **Hyperparameters.**
//! - `lr` > 0: Adam's rate, times the caller's factor of a step; betas 0.9 and 0.999, eps 1e-8.
//! - `temperature` T >= 0, default 1. `draws` >= 1, default 1: gradients per step. `stick_the_landing`, default true.
//! - `init_log_sd`, default -5: of every coordinate.
//!
//! **State.** mean, log sd, Adam's two means of each, steps, and within a step how many draws were made and what they added up to.
//! **Init.** As given.

use super::observed::Observed;
use crate::backend::vectors::{AdamW, Noise, Reduce, StdDev, Transfer, Vectors, ViDraw};
use crate::backend::{Input, Scalars};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Stream, StreamTag};

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ViConfig {
    /// Adam's rate, > 0.
    pub lr: f64,
    /// T, >= 0.
    pub temperature: f64,
    /// Draws per step of Adam, each with a gradient; at least 1.
    pub draws: u32,
    /// Which estimator of the gradient.
    pub stick_the_landing: bool,
    /// Seed of the draws.
    pub seed: u64,
    /// Which fit of the seed this is.
    pub chain: u32,
}

impl Default for ViConfig {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            temperature: 1.0,
            draws: 1,
            stick_the_landing: true,
            seed: 0,
            chain: 0,
        }
    }
}

/// The whole state between two steps as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct ViState {
    /// Steps of Adam made.
    pub step: u64,
    /// Means.
    pub mean: Vec<f32>,
    /// Logarithms of the standard deviations.
    pub log_sd: Vec<f32>,
    /// Adam's first and second moments of the means, then of the log deviations; empty is 0.
    pub adam: [Vec<f32>; 4],
}

/// The outcome of a step of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ViReport {
    /// Which step this was, counted from 0.
    pub step: u64,
    /// The negative evidence lower bound, estimated from the step's draws: nats, up to log_post's constant.
    pub nelbo: f64,
    /// Mean log posterior of the draws.
    pub log_post: f64,
}

/// Variational inference. One thread at a time.
pub struct Vi<V: Vectors> {
    vectors: V,
    config: ViConfig,
    step: u64,
    mean: V::Vector,
    log_sd: V::Vector,
    adam: [V::Vector; 4],
    point: V::Vector,
    d_mean: V::Vector,
    d_log_sd: V::Vector,
    record: V::Record,
    draw: u32,
    nelbo: f64,
    log_post: f64,
    stream: Stream,
}

impl<V: Vectors> Vi<V> {
    /// Begins at `mean`, with exp(`init_log_sd`) everywhere.
    ///
    /// # Errors
    /// When a setting is out of range, or a number is not finite.
    pub fn new(vectors: V, mean: &[f32], init_log_sd: f32, config: ViConfig) -> Result<Self> {
        let state = ViState {
            step: 0,
            mean: memory::copy(mean, "a fit's mean")?,
            log_sd: memory::filled(mean.len(), init_log_sd, "a fit's spread")?,
            adam: Default::default(),
        };
        Self::restore(vectors, config, &state)
    }

    /// Goes on from a saved state, bit for bit.
    ///
    /// # Errors
    /// Returns the errors of [`Vi::new`].
    pub fn restore(vectors: V, config: ViConfig, state: &ViState) -> Result<Self> {
        if !(config.lr > 0.0 && config.lr.is_finite()) {
            return Err(Error::out_of_range("lr", "a positive number", config.lr));
        }
        let t = config.temperature;
        if !(t >= 0.0 && t.is_finite()) {
            return Err(Error::out_of_range(
                "temperature",
                "0 or a positive number",
                t,
            ));
        }
        if config.draws == 0 {
            return Err(Error::out_of_range("draws", "at least 1", 0));
        }
        let n = state.mean.len();
        super::sampler_state::check_finite("mean", &state.mean, n)?;
        super::sampler_state::check_finite("log_sd", &state.log_sd, n)?;
        let moment = |from: &[f32]| -> Result<V::Vector> {
            if from.is_empty() {
                vectors.zeros(n)
            } else {
                super::sampler_state::check_finite("adam", from, n)?;
                vectors.put(from)
            }
        };
        let [a, b, c, d] = &state.adam;
        let mut vi = Self {
            step: state.step,
            mean: vectors.put(&state.mean)?,
            log_sd: vectors.put(&state.log_sd)?,
            adam: [moment(a)?, moment(b)?, moment(c)?, moment(d)?],
            point: vectors.zeros(n)?,
            d_mean: vectors.zeros(n)?,
            d_log_sd: vectors.zeros(n)?,
            record: vectors.record()?,
            draw: 0,
            nelbo: 0.0,
            log_post: 0.0,
            stream: Stream::new(config.seed, StreamTag::Noise, config.chain),
            vectors,
            config,
        };
        vi.next_point()?;
        Ok(vi)
    }

    /// Returns the state as plain data, between two steps.
    ///
    /// # Errors
    /// When some of a step's draws are made already, or the device cannot be read.
    pub fn state(&self) -> Result<ViState> {
        if self.draw > 0 {
            return Err(Error::conflict(format!(
                "vi can be saved between steps, and {} of this step's {} draws are made",
                self.draw, self.config.draws
            )));
        }
        let v = &self.vectors;
        let [a, b, c, d] = &self.adam;
        Ok(ViState {
            step: self.step,
            mean: v.get(&self.mean)?,
            log_sd: v.get(&self.log_sd)?,
            adam: [v.get(a)?, v.get(b)?, v.get(c)?, v.get(d)?],
        })
    }

    fn noise<'a>(&self) -> Noise<'a, V>
    where
        V: 'a,
    {
        Noise::Counter {
            stream: self.stream,
            step: self.step * self.config.draws as u64 + self.draw as u64,
        }
    }

    fn next_point(&mut self) -> Result<()> {
        let (noise, spread) = (self.noise(), StdDev::LogSd(&self.log_sd));
        self.vectors
            .gaussian_point(&mut self.point, &self.mean, spread, noise)
    }

    /// Returns the draw at which the next gradient is to be taken.
    pub fn point(&self) -> &V::Vector {
        &self.point
    }

    /// Takes in the gradient of the log posterior at [`Vi::point`], and its value. After the last draw of a step Adam moves by its rate times
    /// `rate`, and the step's report comes back.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with step and element for a gradient or value that is NaN or infinite, with the state as before, and for a mean or
    /// standard deviation that the step made so.
    pub fn step_with_gradient(
        &mut self,
        grad: &V::Vector,
        log_post: f64,
        rate: f64,
    ) -> Result<Option<ViReport>> {
        self.step(Observed::Given { grad, log_post }, rate)
    }

    /// Does what [`Vi::step_with_gradient`] does.
    pub(super) fn step(
        &mut self,
        observed: Observed<'_, V>,
        rate: f64,
    ) -> Result<Option<ViReport>> {
        let noise = self.noise();
        let report = match observed {
            Observed::Given { grad, log_post } => {
                self.check_given(grad, log_post)?;
                self.advance(grad, &|_| log_post, rate, noise)?
            }
            Observed::Recorded {
                grad,
                record,
                log_post,
            } => {
                std::mem::swap(&mut self.record, record);
                let report = self.advance(grad, log_post, rate, noise);
                std::mem::swap(&mut self.record, record);
                report?
            }
        };
        self.next_point()?;
        Ok(report)
    }

    /// Checks what a caller gave.
    fn check_given(&mut self, grad: &V::Vector, log_post: f64) -> Result<()> {
        self.check_log_post(log_post)?;
        (self.vectors).check_finite(grad, Input::Gradient, &mut self.record)
    }

    fn check_log_post(&self, log_post: f64) -> Result<()> {
        if log_post.is_finite() {
            return Ok(());
        }
        Err(self.not_finite("log_posterior".into(), log_post as f32))
    }

    /// Moves [`Vi::point`] to where these standard normals put it: to replay what another program drew. The next step must be
    /// [`Vi::step_with_noise`].
    ///
    /// # Errors
    /// When there are not as many as parameters.
    pub fn set_noise(&mut self, noise: &V::Vector) -> Result<()> {
        let spread = StdDev::LogSd(&self.log_sd);
        self.vectors
            .gaussian_point(&mut self.point, &self.mean, spread, Noise::Given(noise))
    }

    /// Takes in a gradient at the point of [`Vi::set_noise`], otherwise like [`Vi::step_with_gradient`].
    ///
    /// # Errors
    /// Returns the errors of [`Vi::step_with_gradient`].
    pub fn step_with_noise(
        &mut self,
        grad: &V::Vector,
        log_post: f64,
        rate: f64,
        noise: &V::Vector,
    ) -> Result<Option<ViReport>> {
        self.check_given(grad, log_post)?;
        let report = self.advance(grad, &|_| log_post, rate, Noise::Given(noise))?;
        self.next_point()?;
        Ok(report)
    }

    fn advance(
        &mut self,
        grad: &V::Vector,
        log_post: &dyn Fn(&Scalars) -> f64,
        rate: f64,
        noise: Noise<'_, V>,
    ) -> Result<Option<ViReport>> {
        let (v, record) = (&self.vectors, &mut self.record);
        let ViConfig {
            temperature, draws, ..
        } = self.config;
        let draw = ViDraw {
            temperature: temperature as f32,
            stick_the_landing: self.config.stick_the_landing,
            weight: 1.0 / draws as f32,
            first: self.draw == 0,
        };
        let (dm, ds) = (&mut self.d_mean, &mut self.d_log_sd);
        v.vi_gradient(dm, ds, grad, &self.log_sd, noise, draw, record)?;
        let last = self.draw + 1 == draws;
        if last {
            self.adam(rate)?;
        }
        let found = self.vectors.read(&mut self.record)?;
        let log_post = log_post(&found);
        self.check_log_post(log_post)?;
        self.check_found(&found, grad)?;
        // -log q without its constant, and with it.
        let n = self.vectors.len(grad) as f64;
        let entropy = found.surprise + 0.5 * n * (2.0 * std::f64::consts::PI).ln();
        if self.draw == 0 {
            (self.nelbo, self.log_post) = (0.0, 0.0);
        }
        self.nelbo -= (log_post + temperature * entropy) / draws as f64;
        self.log_post += log_post / draws as f64;
        self.draw += 1;
        if !last {
            return Ok(None);
        }
        self.draw = 0;
        let step = self.step;
        self.step += 1;
        Ok(Some(ViReport {
            step,
            nelbo: self.nelbo,
            log_post: self.log_post,
        }))
    }

    /// Makes a step of Adam on means and log deviations.
    fn adam(&mut self, rate: f64) -> Result<()> {
        let adam = AdamW {
            lr: self.config.lr * rate,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            step: self.step + 1,
            grad_scale: 1.0,
            clip: 0.0,
        };
        let (v, record) = (&self.vectors, &mut self.record);
        let [m, v2, m_sd, v_sd] = &mut self.adam;
        v.adamw_update(&mut self.mean, &self.d_mean, m, v2, &[], &adam, record)?;
        let (log_sd, d) = (&mut self.log_sd, &self.d_log_sd);
        v.adamw_update(log_sd, d, m_sd, v_sd, &[], &adam, record)
    }

    /// Names the first element that a step found to be NaN or infinite.
    fn check_found(&self, found: &Scalars, grad: &V::Vector) -> Result<()> {
        let v = &self.vectors;
        if let Some(at) = found.gradient {
            return Err(self.not_finite(format!("gradient[{at}]"), v.element(grad, at)?));
        }
        let Some(at) = found.state else {
            return Ok(());
        };
        let value = v.element(&self.mean, at)?;
        if !value.is_finite() {
            return Err(self.not_finite(format!("mean[{at}]"), value));
        }
        let value = v.element(&self.log_sd, at)?;
        Err(self.not_finite(format!("log_sd[{at}]"), value))
    }

    fn not_finite(&self, tensor: String, value: f32) -> Error {
        Error::NotFinite {
            step: self.step,
            tensor,
            value,
        }
    }

    /// Returns the means.
    pub fn mean(&self) -> &V::Vector {
        &self.mean
    }

    /// Logarithms of the standard deviations.
    pub fn log_sd(&self) -> &V::Vector {
        &self.log_sd
    }

    /// Steps of Adam made.
    pub fn steps_made(&self) -> u64 {
        self.step
    }

    /// Returns the mean standard deviation over the parameters.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn average_sd(&self) -> Result<f64> {
        let sum = self
            .vectors
            .reduce(Reduce::Sds(StdDev::LogSd(&self.log_sd)))?;
        Ok(sum / self.vectors.len(&self.mean) as f64)
    }

    /// Writes draw number `index` of `seed` from q, into `out`.
    ///
    /// # Errors
    /// When `out` has another length.
    pub fn draw(&self, seed: u64, index: u64, out: &mut V::Vector) -> Result<()> {
        let noise = Noise::Counter {
            stream: Stream::new(seed, StreamTag::Posterior, 0),
            step: index,
        };
        let spread = StdDev::LogSd(&self.log_sd);
        self.vectors.gaussian_point(out, &self.mean, spread, noise)
    }
}
