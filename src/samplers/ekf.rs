//! EKF: the extended Kalman filter on independent normals, with the diagonal Fisher information for the Hessian.
//!
//! **Target.** pi(theta) ~ N(theta; mean_0, sd_0^2) prod_n p(y_n | theta)^lr, the data taken in batch by batch, each batch as if it were
//! one observation of its mean log likelihood, lr times.
//!
//! **Update** (posteriors, `ekf.diag_fisher`; Ollivier 2018, "Online natural gradient as a Kalman filter", section 2, with an inverse
//! temperature), for each coordinate, where the means run over the batch's observations, g_n is the gradient of one's log likelihood at
//! the old mean, and f_n estimates the diagonal of the Fisher information there:
//!
//! ```text
//! predict: v = sd^2 + transition_sd^2
//! update:  sd'^-2 = v^-1 + lr mean(f_n)
//!          mean' = mean + lr sd'^2 mean(g_n)
//! ```
//!
//! With the true Fisher information and coordinates that do not interact, one pass over the data of a linear-Gaussian model gives its posterior. f_n = g_n^2,
//! with the data's own labels, is the empirical Fisher information: it holds the residuals, so that far from the mode the precision grows too fast and
//! the mean stops too early.
//!
//! **Hyperparameters.**
//! - `lr` > 0: how often an observation of the batch's mean counts. In one pass over N observations in batches of any size, N over the number of
//!   batches counts each once; over T at temperature T.
//! - `transition_sd` >= 0, default 0: what the parameters may drift from batch to batch.
//! - `init_sd` > 0, default 1: the standard deviation before any data, of every coordinate or of each. It is the filter's prior.
//!
//! **State.** mean, sd, steps. **Init.** As given.
//!
//! **Where it differs.** Nothing but that variances are kept finite for sd below 1e-19, where 1 / sd^2 would overflow.

use super::gaussian::finite_log_lik;
use crate::backend::vectors::{EkfStep, Noise, Reduce, StdDev, Transfer, Vectors};
use crate::backend::{Input, Scalars};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Stream, StreamTag};

/// The filter's settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EkfConfig {
    /// How often a batch's mean observation counts, > 0.
    pub lr: f64,
    /// Standard deviation of the parameters' drift per step, >= 0.
    pub transition_sd: f64,
}

/// The filter's whole state as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct EkfState {
    /// Steps made.
    pub step: u64,
    /// Means.
    pub mean: Vec<f32>,
    /// Standard deviations.
    pub sd: Vec<f32>,
}

/// What a batch gave: gradients and squares as [`Ekf::step`] takes them.
pub(super) struct Squared<'a, B> {
    pub grad: &'a B,
    pub gradient_scale: f64,
    pub squares: &'a B,
    pub squares_scale: f64,
}

/// A filter. One thread at a time.
pub struct Ekf<V: Vectors> {
    vectors: V,
    config: EkfConfig,
    step: u64,
    mean: V::Vector,
    sd: V::Vector,
    record: V::Record,
}

impl<V: Vectors> Ekf<V> {
    /// Creates a filter with the same standard deviation `init_sd` > 0 in every coordinate.
    ///
    /// # Errors
    /// When a setting is out of range, or a mean is not finite.
    pub fn new(vectors: V, mean: &[f32], init_sd: f32, config: EkfConfig) -> Result<Self> {
        let state = EkfState {
            step: 0,
            mean: memory::copy(mean, "a fit's mean")?,
            sd: memory::filled(mean.len(), init_sd, "a fit's spread")?,
        };
        Self::restore(vectors, config, &state)
    }

    /// Goes on from a saved state, bit for bit.
    ///
    /// # Errors
    /// Returns the errors of [`Ekf::new`], and an error when a standard deviation is not positive and finite.
    pub fn restore(vectors: V, config: EkfConfig, state: &EkfState) -> Result<Self> {
        let EkfConfig { lr, transition_sd } = config;
        if !(lr > 0.0 && lr.is_finite()) {
            return Err(Error::out_of_range("lr", "a positive number", lr));
        }
        if !(transition_sd >= 0.0 && transition_sd.is_finite()) {
            let expected = "0 or a positive number";
            return Err(Error::out_of_range(
                "transition_sd",
                expected,
                transition_sd,
            ));
        }
        let n = state.mean.len();
        super::sampler_state::check_finite("mean", &state.mean, n)?;
        super::sampler_state::check("sd", &state.sd, n, "a positive number", |s| {
            s > 0.0 && s.is_finite()
        })?;
        Ok(Self {
            step: state.step,
            mean: vectors.put(&state.mean)?,
            sd: vectors.put(&state.sd)?,
            record: vectors.record()?,
            vectors,
            config,
        })
    }

    /// Returns the state as plain data.
    ///
    /// # Errors
    /// When the device cannot be read; [`Error::OutOfRange`] for a standard deviation that has become 0, from which nothing goes on.
    pub fn state(&self) -> Result<EkfState> {
        let v = &self.vectors;
        let sd = v.get(&self.sd)?;
        if let Some(i) = sd.iter().position(|&s| s == 0.0) {
            let what = format!("sd[{i}] after step {}", self.step);
            return Err(Error::out_of_range(what, "a positive number", 0));
        }
        Ok(EkfState {
            step: self.step,
            mean: v.get(&self.mean)?,
            sd,
        })
    }

    /// Takes in one batch: `grad` times `gradient_scale` is the mean gradient of the observations' log likelihoods at [`Ekf::mean`],
    /// `squares` times `squares_scale` the mean of their squares.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with step and element for a gradient, a square or a state that is NaN or infinite. For a gradient the state is as
    /// before.
    pub fn step(
        &mut self,
        grad: &V::Vector,
        gradient_scale: f64,
        squares: &V::Vector,
        squares_scale: f64,
    ) -> Result<()> {
        let of = Squared {
            grad,
            gradient_scale,
            squares,
            squares_scale,
        };
        self.advance(of, &|_| 0.0).map(drop)
    }

    /// Does what [`Ekf::step`] does, with a batch whose scalars are in `record`; returns the mean log likelihood that `log_lik` makes of them.
    pub(super) fn step_recorded(
        &mut self,
        of: Squared<'_, V::Vector>,
        record: &mut V::Record,
        log_lik: &dyn Fn(&Scalars) -> f64,
    ) -> Result<f64> {
        std::mem::swap(&mut self.record, record);
        let result = self.advance(of, log_lik);
        std::mem::swap(&mut self.record, record);
        result
    }

    fn advance(
        &mut self,
        of: Squared<'_, V::Vector>,
        log_lik: &dyn Fn(&Scalars) -> f64,
    ) -> Result<f64> {
        let EkfConfig { lr, transition_sd } = self.config;
        let step = EkfStep {
            transition_variance: (transition_sd * transition_sd) as f32,
            squares: (lr * of.squares_scale) as f32,
            gradient: (lr * of.gradient_scale) as f32,
        };
        let (v, record) = (&self.vectors, &mut self.record);
        v.check_finite(of.grad, Input::Gradient, record)?;
        v.check_finite(of.squares, Input::Second, record)?;
        v.ekf_update(
            &mut self.mean,
            &mut self.sd,
            of.grad,
            of.squares,
            step,
            record,
        )?;
        let found = v.read(record)?;
        let log_lik = finite_log_lik(log_lik(&found), self.step)?;
        for (what, x, at) in [
            ("gradient", of.grad, found.gradient),
            ("squares", of.squares, found.second),
        ] {
            if let Some(at) = at {
                return Err(self.not_finite(what, at, v.element(x, at)?));
            }
        }
        if let Some(at) = found.state {
            self.diverged(at)?;
        }
        self.step += 1;
        Ok(log_lik)
    }

    /// Says what became of an element that is no normal's.
    fn diverged(&self, at: usize) -> Result<()> {
        let v = &self.vectors;
        let value = v.element(&self.mean, at)?;
        if !value.is_finite() {
            return Err(self.not_finite("mean", at, value));
        }
        let value = v.element(&self.sd, at)?;
        if value > 0.0 {
            return Err(self.not_finite("sd", at, value));
        }
        let what = format!("sd[{at}] after step {}", self.step);
        let expected = "above 0: the precision overflowed";
        Err(Error::out_of_range(what, expected, value))
    }

    fn not_finite(&self, what: &str, at: usize, value: f32) -> Error {
        Error::NotFinite {
            step: self.step,
            tensor: format!("{what}[{at}]"),
            value,
        }
    }

    /// Returns the mean: where the next gradient is to be taken.
    pub fn mean(&self) -> &V::Vector {
        &self.mean
    }

    /// Returns the standard deviations.
    pub fn sd(&self) -> &V::Vector {
        &self.sd
    }

    /// Steps made.
    pub fn steps_made(&self) -> u64 {
        self.step
    }

    /// Returns the mean standard deviation over the parameters.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn average_sd(&self) -> Result<f64> {
        let sum = self.vectors.reduce(Reduce::Sds(StdDev::Sd(&self.sd)))?;
        Ok(sum / self.vectors.len(&self.sd) as f64)
    }

    /// Writes draw number `index` of `seed` from the normals, into `out`.
    ///
    /// # Errors
    /// When `out` has another length.
    pub fn draw(&self, seed: u64, index: u64, out: &mut V::Vector) -> Result<()> {
        let noise = Noise::Counter {
            stream: Stream::new(seed, StreamTag::Posterior, 0),
            step: index,
        };
        self.vectors
            .gaussian_point(out, &self.mean, StdDev::Sd(&self.sd), noise)
    }
}
