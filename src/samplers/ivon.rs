//! IVON: variational inference with independent normals, their means and precisions moved by a Newton step in natural gradients.
//!
//! **Target.** As [`vi`](super::vi): the q(theta) = N(theta; mean, sd^2) with the least -E_q(log_post(theta) - T log q(theta)).
//!
//! **Update** (Shen et al. 2024, "Variational learning is effective for large deep networks", algorithm 1), with theta = mean + sd z, g the gradient of
//! log_post at theta, N the observations, G = -g / N and H = G (theta - mean) / sd^2, both averaged over the draws of a step t = 1, 2, …:
//!
//! ```text
//! m = beta1 m + (1 - beta1) G
//! h = beta2 h + (1 - beta2) H + (1 - beta2)^2 (h - H)^2 / (2 h)
//! mean -= lr m / (1 - beta1^t) / h
//! sd = sqrt(T / (N h))
//! ```
//!
//! H estimates the Hessian of the loss -log_post / N without a second derivative (Price's theorem). The last term of h keeps it above 0.
//!
//! **Hyperparameters.**
//! - `lr` > 0, times the caller's factor of a step: 1 is Newton's step. beta1 is 0.9.
//! - `decay` beta2, inside (0, 1): the share of the curvature that a step keeps.
//! - `temperature` T > 0. `draws` >= 1: gradients per step. `observations` N > 0: a unit of h alone, which no step depends on.
//! - `init_log_sd`: of every coordinate.
//!
//! **State.** mean, h, m, steps. **Init.** h = T / (N sd^2), m = 0.
//!
//! **Where it differs.** The paper's weight decay delta is in log_post, as the prior, and so in h.

use super::gaussian::finite_log_post;
use super::observed::Observed;
use crate::backend::vectors::{Combine, Noise, Reduce, StdDev, Transfer, Vectors};
use crate::backend::{Input, Scalars};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Stream, StreamTag};

/// The share of the mean gradient that a step keeps.
const BETA1: f64 = 0.9;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IvonConfig {
    /// Step size in units of Newton's, > 0.
    pub lr: f64,
    /// Share of the curvature that a step keeps, inside (0, 1).
    pub decay: f64,
    /// T, > 0.
    pub temperature: f64,
    /// Observations that the log posterior is of, > 0.
    pub observations: f64,
    /// Draws per step, each with a gradient; at least 1.
    pub draws: u32,
    /// Seed of the draws.
    pub seed: u64,
    /// Which fit of the seed this is.
    pub chain: u32,
}

impl IvonConfig {
    /// Returns h of a standard deviation exp(`log_sd`).
    pub(super) fn curvature(&self, log_sd: f64) -> f64 {
        self.temperature / self.observations * (-2.0 * log_sd).exp()
    }

    /// Returns the standard deviations of these curvatures.
    fn spread<'a, B>(&self, curvature: &'a B) -> StdDev<'a, B> {
        StdDev::Precision {
            precision: curvature,
            plus: 0.0,
            temperature: (self.temperature / self.observations) as f32,
        }
    }
}

/// The whole state between two steps as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct IvonState {
    /// Steps made.
    pub step: u64,
    /// Means.
    pub mean: Vec<f32>,
    /// Curvatures h of the loss.
    pub curvature: Vec<f32>,
    /// Mean gradients m of the loss.
    pub momentum: Vec<f32>,
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IvonReport {
    /// Which step this was, counted from 0.
    pub step: u64,
    /// Mean log posterior of the draws.
    pub log_post: f64,
}

/// A fit by IVON. One thread at a time.
pub struct Ivon<V: Vectors> {
    vectors: V,
    config: IvonConfig,
    step: u64,
    mean: V::Vector,
    curvature: V::Vector,
    momentum: V::Vector,
    point: V::Vector,
    gradient: V::Vector, // mean of g over the step's draws
    change: V::Vector,   // mean of g (theta - mean)
    room: [V::Vector; 2],
    record: V::Record,
    draw: u32,
    log_post: f64,
}

impl<V: Vectors> Ivon<V> {
    /// Begins at `mean`, with standard deviation exp(`init_log_sd`) everywhere.
    ///
    /// # Errors
    /// When a setting is out of range, or a number is not finite.
    pub fn new(vectors: V, mean: &[f32], init_log_sd: f64, config: IvonConfig) -> Result<Self> {
        let n = mean.len();
        let curvature = config.curvature(init_log_sd) as f32;
        let state = IvonState {
            step: 0,
            mean: memory::copy(mean, "a fit's mean")?,
            curvature: memory::filled(n, curvature, "a fit's spread")?,
            momentum: memory::zeros(n, "a fit's momentum")?,
        };
        Self::restore(vectors, config, &state)
    }

    /// Goes on from a saved state, bit for bit.
    ///
    /// # Errors
    /// Returns the errors of [`Ivon::new`].
    pub fn restore(vectors: V, config: IvonConfig, state: &IvonState) -> Result<Self> {
        for (what, v) in [
            ("lr", config.lr),
            ("temperature", config.temperature),
            ("observations", config.observations),
        ] {
            if !(v > 0.0 && v.is_finite()) {
                return Err(Error::out_of_range(what, "a positive number", v));
            }
        }
        if !(config.decay > 0.0 && config.decay < 1.0) {
            let expected = "above 0 and below 1";
            return Err(Error::out_of_range("decay", expected, config.decay));
        }
        if config.draws == 0 {
            return Err(Error::out_of_range("draws", "at least 1", 0));
        }
        let n = state.mean.len();
        super::sampler_state::check_finite("mean", &state.mean, n)?;
        super::sampler_state::check_finite("momentum", &state.momentum, n)?;
        super::sampler_state::check("curvature", &state.curvature, n, "a positive number", |h| {
            h > 0.0 && h.is_finite()
        })?;
        let zeros = || vectors.zeros(n);
        let mut ivon = Self {
            config,
            step: state.step,
            mean: vectors.put(&state.mean)?,
            curvature: vectors.put(&state.curvature)?,
            momentum: vectors.put(&state.momentum)?,
            point: zeros()?,
            gradient: zeros()?,
            change: zeros()?,
            room: [zeros()?, zeros()?],
            record: vectors.record()?,
            draw: 0,
            log_post: 0.0,
            vectors,
        };
        ivon.next_point()?;
        Ok(ivon)
    }

    /// Returns the state as plain data, between two steps.
    ///
    /// # Errors
    /// When some of a step's draws are made already, or the device cannot be read.
    pub fn state(&self) -> Result<IvonState> {
        if self.draw > 0 {
            return Err(Error::conflict(format!(
                "ivon can be saved between steps, and {} of this step's {} draws are made",
                self.draw, self.config.draws
            )));
        }
        let v = &self.vectors;
        Ok(IvonState {
            step: self.step,
            mean: v.get(&self.mean)?,
            curvature: v.get(&self.curvature)?,
            momentum: v.get(&self.momentum)?,
        })
    }

    fn next_point(&mut self) -> Result<()> {
        let c = &self.config;
        let noise = Noise::Counter {
            stream: Stream::new(c.seed, StreamTag::Noise, c.chain),
            step: self.step * u64::from(c.draws) + u64::from(self.draw),
        };
        let spread = c.spread(&self.curvature);
        self.vectors
            .gaussian_point(&mut self.point, &self.mean, spread, noise)
    }

    /// Returns the draw at which the next gradient is to be taken.
    pub fn point(&self) -> &V::Vector {
        &self.point
    }

    /// Takes in the gradient of the log posterior at [`Ivon::point`], and its value. After the last draw of a step mean and curvature move, and the step's
    /// report comes back.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with step and element for a gradient or value that is NaN or infinite; the draw is then not taken in.
    pub fn step_with_gradient(
        &mut self,
        grad: &V::Vector,
        log_post: f64,
        rate: f64,
    ) -> Result<Option<IvonReport>> {
        self.step(Observed::Given { grad, log_post }, rate)
    }

    /// Does what [`Ivon::step_with_gradient`] does.
    pub(super) fn step(
        &mut self,
        observed: Observed<'_, V>,
        rate: f64,
    ) -> Result<Option<IvonReport>> {
        match observed {
            Observed::Given { grad, log_post } => {
                (self.vectors).check_finite(grad, Input::Gradient, &mut self.record)?;
                self.advance(grad, &|_| log_post, rate)
            }
            Observed::Recorded {
                grad,
                record,
                log_post,
            } => {
                std::mem::swap(&mut self.record, record);
                let report = self.advance(grad, log_post, rate);
                std::mem::swap(&mut self.record, record);
                report
            }
        }
    }

    fn advance(
        &mut self,
        grad: &V::Vector,
        log_post: &dyn Fn(&Scalars) -> f64,
        rate: f64,
    ) -> Result<Option<IvonReport>> {
        let found = self.vectors.read(&mut self.record)?;
        let log_post = finite_log_post(log_post(&found), self.step)?;
        if let Some(at) = found.gradient {
            return Err(Error::NotFinite {
                step: self.step,
                tensor: format!("gradient[{at}]"),
                value: self.vectors.element(grad, at)?,
            });
        }
        self.take_in(grad)?;
        let share = 1.0 / f64::from(self.config.draws);
        let before = if self.draw == 0 { 0.0 } else { self.log_post };
        self.log_post = before + share * log_post;
        self.draw += 1;
        let report = (self.draw == self.config.draws).then_some(IvonReport {
            step: self.step,
            log_post: self.log_post,
        });
        if report.is_some() {
            self.draw = 0;
            self.step += 1;
            self.update(rate)?;
        }
        self.next_point()?;
        Ok(report)
    }

    /// Adds a draw's share to the means of g and of g (theta - mean).
    fn take_in(&mut self, grad: &V::Vector) -> Result<()> {
        let v = &self.vectors;
        if self.draw == 0 {
            v.combine(&mut self.gradient, Combine::Fill(0.0))?;
            v.combine(&mut self.change, Combine::Fill(0.0))?;
        }
        let share = 1.0 / self.config.draws as f32;
        v.combine(&mut self.gradient, Combine::Axpy(share, grad))?;
        let [product, inverse] = &mut self.room;
        v.combine(product, Combine::Copy(&self.point))?;
        v.combine(product, Combine::Axpy(-1.0, &self.mean))?;
        // A product is a quotient by the inverse; that of 0 is infinite, and the quotient 0 again.
        v.combine(inverse, Combine::Fill(1.0))?;
        v.combine(inverse, Combine::Divide(product))?;
        v.combine(product, Combine::Copy(grad))?;
        v.combine(product, Combine::Divide(inverse))?;
        v.combine(&mut self.change, Combine::Axpy(share, product))
    }

    /// Moves curvature and mean.
    fn update(&mut self, rate: f64) -> Result<()> {
        let (v, c) = (&self.vectors, &self.config);
        let [x, factor] = &mut self.room;
        // H / h = -g (theta - mean) / T, and h grows by the factor 1 + x + x^2 / 2 with x = (1 - beta2) (H / h - 1).
        let new = 1.0 - c.decay;
        v.combine(x, Combine::Fill(-new as f32))?;
        let scale = (-new / c.temperature) as f32;
        v.combine(x, Combine::Axpy(scale, &self.change))?;
        v.combine(factor, Combine::Fill(1.0))?;
        v.combine(factor, Combine::Axpy(1.0, x))?;
        v.combine(x, Combine::Scale(std::f32::consts::FRAC_1_SQRT_2))?;
        v.combine(factor, Combine::AddSquares(x))?;
        v.combine(x, Combine::Fill(1.0))?;
        v.combine(x, Combine::Divide(factor))?;
        v.combine(&mut self.curvature, Combine::Divide(x))?;
        v.combine(&mut self.momentum, Combine::Scale(BETA1 as f32))?;
        let scale = (-(1.0 - BETA1) / c.observations) as f32;
        v.combine(&mut self.momentum, Combine::Axpy(scale, &self.gradient))?;
        let unbiased = 1.0 - BETA1.powf(self.step as f64);
        v.combine(x, Combine::Copy(&self.momentum))?;
        v.combine(x, Combine::Divide(&self.curvature))?;
        let step = (-c.lr * rate / unbiased) as f32;
        v.combine(&mut self.mean, Combine::Axpy(step, x))
    }

    /// Returns the means.
    pub fn mean(&self) -> &V::Vector {
        &self.mean
    }

    /// Returns the number of steps made.
    pub fn steps_made(&self) -> u64 {
        self.step
    }

    /// Returns the standard deviations, (d).
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn sd(&self) -> Result<Vec<f32>> {
        let share = self.config.temperature / self.config.observations;
        let mut sd = self.vectors.get(&self.curvature)?;
        sd.iter_mut()
            .for_each(|h| *h = (share / *h as f64).sqrt() as f32);
        Ok(sd)
    }

    /// Returns the mean standard deviation over the parameters.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn average_sd(&self) -> Result<f64> {
        let sum = self
            .vectors
            .reduce(Reduce::Sds(self.config.spread(&self.curvature)))?;
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
        self.vectors
            .gaussian_point(out, &self.mean, self.config.spread(&self.curvature), noise)
    }
}
