//! A chain on a caller's gradients, with the search for its step size: what [`Chain`](crate::samplers::Chain) is on a model's posterior.

use crate::backend::Vectors;
use crate::error::Result;
use crate::samplers::{AutoStep, NoiseEstimation, Sampler, StepReport};

/// A chain whose gradients the caller gives. One thread at a time.
pub(super) struct GradientChain<V: Vectors> {
    pub sampler: Sampler<V>,
    pub auto_step: Option<AutoStep>,
    pub noise: NoiseEstimation<V>,
}

impl<V: Vectors> GradientChain<V> {
    /// Makes one step, and calls `look` just before.
    ///
    /// # Errors
    /// Returns the errors of [`Sampler::step_with_gradient`], and those of `look`: then no step is made.
    pub fn step(
        &mut self,
        grad: &V::Vector,
        log_post: f64,
        look: impl FnOnce(&Sampler<V>, &V::Vector) -> Result<()>,
    ) -> Result<StepReport> {
        look(&self.sampler, grad)?;
        let report = match &mut self.auto_step {
            Some(auto) => auto.step(&mut self.sampler, grad, log_post),
            None => self.sampler.step_with_gradient(grad, log_post),
        }?;
        self.noise.take(&mut self.sampler, grad)?;
        Ok(report)
    }

    /// Sets the variances of the gradient's noise, which ends their estimate.
    ///
    /// # Errors
    /// Returns the errors of [`Sampler::set_gradient_noise`].
    pub fn set_gradient_noise(&mut self, variance: &[f32]) -> Result<()> {
        self.sampler.set_gradient_noise(variance)?;
        self.noise.end();
        Ok(())
    }
}
