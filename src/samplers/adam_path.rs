//! The path of AdamW from a start, on minus the log posterior over the observations: what SWAG, the moving average and the snapshots are made of.
//!
//! **Update.** Adam with betas 0.9 and 0.99, eps 1e-8, and no weight decay, since the log posterior has its prior.

use super::observed::Observed;
use crate::backend::vectors::{AdamW, Transfer, Vectors};
use crate::backend::{Input, Scalars};
use crate::error::{Error, Result};

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathReport {
    /// Which step this was, counted from 0.
    pub step: u64,
    /// The log posterior before it.
    pub log_post: f64,
}

/// An optimiser on its path. One thread at a time.
pub(super) struct AdamPath<V: Vectors> {
    vectors: V,
    lr: f64,
    observations: f64,
    step: u64,
    params: V::Vector,
    moments: [V::Vector; 2],
    record: V::Record,
}

impl<V: Vectors> AdamPath<V> {
    /// Goes on after `step` steps, with AdamW's first and second moments; empty is 0.
    ///
    /// # Errors
    /// When the rate or the observations are not positive, a number is not finite, or the moments are of another length.
    pub(super) fn restore(
        vectors: V,
        (lr, observations): (f64, f64),
        step: u64,
        params: &[f32],
        moments: &[Vec<f32>; 2],
    ) -> Result<Self> {
        for (what, v) in [("lr", lr), ("observations", observations)] {
            if !(v > 0.0 && v.is_finite()) {
                return Err(Error::out_of_range(what, "a positive number", v));
            }
        }
        let n = params.len();
        super::sampler_state::check_finite("params", params, n)?;
        let moment = |from: &[f32]| -> Result<V::Vector> {
            if from.is_empty() {
                return vectors.zeros(n);
            }
            super::sampler_state::check_finite("adam", from, n)?;
            vectors.put(from)
        };
        let [m, v] = moments;
        Ok(Self {
            lr,
            observations,
            step,
            params: vectors.put(params)?,
            moments: [moment(m)?, moment(v)?],
            record: vectors.record()?,
            vectors,
        })
    }

    /// Returns the parameters and the moments as plain data.
    pub(super) fn state(&self) -> Result<(Vec<f32>, [Vec<f32>; 2])> {
        let (v, [first, second]) = (&self.vectors, &self.moments);
        Ok((v.get(&self.params)?, [v.get(first)?, v.get(second)?]))
    }

    /// Moves by the rate times `rate`, given the gradient of the log posterior at [`AdamPath::params`].
    ///
    /// # Errors
    /// [`Error::NotFinite`] with step and element for a gradient or value that is NaN or infinite, with the state as before, and for a parameter that
    /// the step made so.
    pub(super) fn step(&mut self, observed: Observed<'_, V>, rate: f64) -> Result<PathReport> {
        match observed {
            Observed::Given { grad, log_post } => {
                self.check_log_post(log_post)?;
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
    ) -> Result<PathReport> {
        let adam = AdamW {
            lr: self.lr * rate,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            step: self.step + 1,
            grad_scale: -1.0 / self.observations,
            clip: 0.0,
        };
        let (v, record) = (&self.vectors, &mut self.record);
        let [first, second] = &mut self.moments;
        v.adamw_update(&mut self.params, grad, first, second, &[], &adam, record)?;
        let found = v.read(record)?;
        let log_post = log_post(&found);
        self.check_log_post(log_post)?;
        for (what, x, at) in [
            ("gradient", grad, found.gradient),
            ("params", &self.params, found.state),
        ] {
            if let Some(at) = at {
                let value = self.vectors.element(x, at)?;
                return Err(self.not_finite(format!("{what}[{at}]"), value));
            }
        }
        let step = self.step;
        self.step += 1;
        Ok(PathReport { step, log_post })
    }

    fn check_log_post(&self, log_post: f64) -> Result<()> {
        if log_post.is_finite() {
            return Ok(());
        }
        Err(self.not_finite("log_posterior".into(), log_post as f32))
    }

    fn not_finite(&self, tensor: String, value: f32) -> Error {
        Error::NotFinite {
            step: self.step,
            tensor,
            value,
        }
    }

    /// Returns where the optimiser is: where the next gradient is to be taken.
    pub(super) fn params(&self) -> &V::Vector {
        &self.params
    }

    /// Returns the number of steps made.
    pub(super) fn steps_made(&self) -> u64 {
        self.step
    }

    /// Returns the device.
    pub(super) fn vectors(&self) -> &V {
        &self.vectors
    }
}
