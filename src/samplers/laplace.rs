//! Laplace: a Gaussian with independent coordinates around a mode, with precisions from squared gradients.
//!
//! **Target.** pi(theta) ~ exp(log_post(theta) / T) near its mode: N(theta; mean, T / (h + p)) with h the diagonal of the log likelihood's
//! negative Hessian, approximated, and p the prior's precision.
//!
//! **Update** (posteriors, `laplace.diag_fisher`; MacKay 1992, "A practical Bayesian framework for backpropagation networks"; Daxberger et
//! al. 2021, section 3), for each coordinate:
//!
//! ```text
//! h += scale sum_n g_n^2
//! ```
//!
//! where g_n is the gradient of one observation's log likelihood at the mode. With the data's own labels that is the empirical Fisher
//! information; with labels drawn from the model's prediction the true Fisher, which for a softmax is the generalised Gauss-Newton matrix in
//! expectation (Martens 2020, section 9.2).
//!
//! **The prior's precision by marginal likelihood.** log p(D) = log_lik + d/2 log p - p |theta|^2 / 2 - sum log(h + p) / 2 + const has its
//! maximum in p where p = gamma / |theta|^2, gamma = sum h / (h + p) the number of well-determined parameters (MacKay 1992, eq. 4.9):
//! iterated from the given start.
//!
//! **Hyperparameters.** `init_precision` >= 0, default 0: of every coordinate, before any data. `scale` > 0: num_data over the data taken in,
//! where not all were. `temperature` > 0 of the draws.
//!
//! **State.** mean, h, steps. **Init.** As given.

use super::gaussian::finite_log_lik;
use crate::backend::vectors::{Combine, Noise, Reduce, StdDev, Transfer, Vectors};
use crate::backend::{Input, Scalars};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Stream, StreamTag};

/// A Laplace approximation's whole state as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct LaplaceState {
    /// Batches taken in.
    pub step: u64,
    /// The mode.
    pub mean: Vec<f32>,
    /// Precisions so far.
    pub precision: Vec<f32>,
}

/// A Laplace approximation. One thread at a time.
pub struct Laplace<V: Vectors> {
    vectors: V,
    step: u64,
    mean: V::Vector,
    precision: V::Vector,
}

/// What the marginal likelihood says of an isotropic normal prior about 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PriorFit {
    /// The precision with the largest marginal likelihood.
    pub precision: f64,
    /// The number of parameters that the data determine, gamma.
    pub effective_parameters: f64,
    /// d/2 log p - p |theta|^2 / 2 - sum log(h + p) / 2: what of the log marginal likelihood depends on p.
    pub log_evidence: f64,
}

impl<V: Vectors> Laplace<V> {
    /// Creates an approximation centred at `mean`, with precision `init_precision` >= 0 everywhere.
    ///
    /// # Errors
    /// When the precision is out of range or a mean not finite.
    pub fn new(vectors: V, mean: &[f32], init_precision: f32) -> Result<Self> {
        let state = LaplaceState {
            step: 0,
            mean: memory::copy(mean, "a fit's mean")?,
            precision: memory::filled(mean.len(), init_precision, "a fit's spread")?,
        };
        Self::restore(vectors, &state)
    }

    /// Continues from a saved state, bit for bit.
    ///
    /// # Errors
    /// Returns the errors of [`Laplace::new`], and an error when a precision is negative or not finite.
    pub fn restore(vectors: V, state: &LaplaceState) -> Result<Self> {
        let n = state.mean.len();
        super::sampler_state::check_finite("mean", &state.mean, n)?;
        let what = "0 or a positive number";
        super::sampler_state::check("precision", &state.precision, n, what, |p| {
            p >= 0.0 && p.is_finite()
        })?;
        Ok(Self {
            step: state.step,
            mean: vectors.put(&state.mean)?,
            precision: vectors.put(&state.precision)?,
            vectors,
        })
    }

    /// Returns the state as plain data.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn state(&self) -> Result<LaplaceState> {
        let v = &self.vectors;
        Ok(LaplaceState {
            step: self.step,
            mean: v.get(&self.mean)?,
            precision: v.get(&self.precision)?,
        })
    }

    /// Takes in one batch: adds `scale` times the sum of its observations' squared gradients at the mode.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with step and element for a square that is NaN or infinite; the state is then as before.
    pub fn step(&mut self, squares: &V::Vector, scale: f64) -> Result<()> {
        let mut record = self.vectors.record()?;
        self.step_recorded(squares, scale, &mut record, &|_| 0.0)
            .map(drop)
    }

    /// Does what [`Laplace::step`] does, with a batch whose scalars are in `record`; returns the mean log likelihood that `log_lik` makes of them.
    pub(super) fn step_recorded(
        &mut self,
        squares: &V::Vector,
        scale: f64,
        record: &mut V::Record,
        log_lik: &dyn Fn(&Scalars) -> f64,
    ) -> Result<f64> {
        let v = &self.vectors;
        v.check_finite(squares, Input::Second, record)?;
        let found = v.read(record)?;
        let log_lik = finite_log_lik(log_lik(&found), self.step)?;
        self.refuse("squares", squares, found.second, self.step)?;
        v.combine(&mut self.precision, Combine::Axpy(scale as f32, squares))?;
        self.step += 1;
        Ok(log_lik)
    }

    /// Returns the mode.
    pub fn mean(&self) -> &V::Vector {
        &self.mean
    }

    /// Returns the precisions h (d), without the prior's.
    pub fn precision(&self) -> &V::Vector {
        &self.precision
    }

    /// Returns the number of batches taken in.
    pub fn steps_made(&self) -> u64 {
        self.step
    }

    fn spread(&self, prior_precision: f64, temperature: f64) -> Result<StdDev<'_, V::Vector>> {
        if !(prior_precision >= 0.0 && prior_precision.is_finite()) {
            let expected = "0 or a positive number";
            return Err(Error::out_of_range(
                "prior_precision",
                expected,
                prior_precision,
            ));
        }
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(Error::out_of_range(
                "temperature",
                "a positive number",
                temperature,
            ));
        }
        Ok(StdDev::Precision {
            precision: &self.precision,
            plus: prior_precision as f32,
            temperature: temperature as f32,
        })
    }

    /// Returns the mean standard deviation over the parameters, sqrt(T / (h + p)); infinite where both are 0.
    ///
    /// # Errors
    /// When a number is out of range.
    pub fn average_sd(&self, prior_precision: f64, temperature: f64) -> Result<f64> {
        let sum = self
            .vectors
            .reduce(Reduce::Sds(self.spread(prior_precision, temperature)?))?;
        Ok(sum / self.vectors.len(&self.mean) as f64)
    }

    /// Writes draw number `index` of `seed` from N(mean, T / (h + p)) into `out`.
    ///
    /// # Errors
    /// When a number is out of range, and [`Error::NotFinite`] when a draw is: a coordinate without any precision has no standard deviation.
    pub fn draw(
        &self,
        prior_precision: f64,
        temperature: f64,
        seed: u64,
        index: u64,
        out: &mut V::Vector,
    ) -> Result<()> {
        let noise = Noise::Counter {
            stream: Stream::new(seed, StreamTag::Posterior, 0),
            step: index,
        };
        let spread = self.spread(prior_precision, temperature)?;
        self.vectors
            .gaussian_point(out, &self.mean, spread, noise)?;
        let mut record = self.vectors.record()?;
        (self.vectors).check_finite(out, Input::Second, &mut record)?;
        let found = self.vectors.read(&mut record)?;
        self.refuse("draw", out, found.second, index)
    }

    fn refuse(&self, what: &str, x: &V::Vector, found: Option<usize>, step: u64) -> Result<()> {
        match found {
            Some(at) => Err(Error::NotFinite {
                step,
                tensor: format!("{what}[{at}]"),
                value: self.vectors.element(x, at)?,
            }),
            None => Ok(()),
        }
    }

    /// Finds the precision of an isotropic normal prior about 0 that maximises the marginal likelihood, by MacKay's fixed point from `start`, to a
    /// relative change below 1e-6 or 1000 rounds.
    ///
    /// # Errors
    /// When `start` is not positive, the mode is 0, or no coordinate has any precision.
    pub fn fit_prior(&self, start: f64) -> Result<PriorFit> {
        if !(start > 0.0 && start.is_finite()) {
            return Err(Error::out_of_range("start", "a positive number", start));
        }
        let LaplaceState {
            mean, precision, ..
        } = self.state()?;
        let square: f64 = mean.iter().map(|&m| (m as f64).powi(2)).sum();
        let determined = |p: f64| -> f64 {
            let each = precision.iter().map(|&h| h as f64 / (h as f64 + p));
            each.sum()
        };
        if square == 0.0 || determined(start) == 0.0 {
            return Err(Error::conflict(
                "the prior cannot be fitted to a mode or precisions that are all 0",
            ));
        }
        let mut p = start;
        for _ in 0..1000 {
            let next = determined(p) / square;
            let done = (next / p - 1.0).abs() < 1e-6;
            p = next;
            if done {
                break;
            }
        }
        let logs: f64 = precision.iter().map(|&h| (h as f64 + p).ln()).sum();
        Ok(PriorFit {
            precision: p,
            effective_parameters: determined(p),
            log_evidence: 0.5 * (mean.len() as f64 * p.ln() - p * square - logs),
        })
    }
}
