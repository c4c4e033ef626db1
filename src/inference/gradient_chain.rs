//! A chain on a caller's gradients, with the search for its step size: what [`Chain`](crate::samplers::Chain) is on a model's posterior.

use crate::backend::Vectors;
use crate::backend::vectors::Transfer;
use crate::error::{Error, Result};
use crate::memory;
use crate::samplers::{AutoStep, NoiseEstimation, Sampler, StepReport, Whitened};

/// A chain whose gradients the caller gives. One thread at a time.
pub(super) struct GradientChain<V: Vectors> {
    pub sampler: Sampler<V>,
    pub auto_step: Option<AutoStep>,
    pub noise: NoiseEstimation<V>,
    /// The coordinates of a mass that the warm-up finds, or of a dense one.
    pub whitened: Option<Whitened<V>>,
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
        if let Some(whitened) = &mut self.whitened {
            let auto = self.auto_step.as_mut();
            return whitened.step(&mut self.sampler, grad, log_post, auto, look);
        }
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
        if self.whitened.is_some() {
            return Err(Error::conflict(
                "gradient_noise: a mass that adapts or is dense has other coordinates than these variances: set a diagonal mass",
            ));
        }
        self.sampler.set_gradient_noise(variance)?;
        self.noise.end();
        Ok(())
    }

    /// Returns the parameters where the next gradient is taken.
    pub fn params(&self) -> &V::Vector {
        match &self.whitened {
            Some(w) => w.params(),
            None => self.sampler.params(),
        }
    }

    /// Sets a diagonal mass.
    ///
    /// # Errors
    /// Returns the errors of [`Sampler::set_mass`], and [`Error::Conflict`] where the mass adapts or is dense.
    pub fn set_mass(&mut self, mass: &[f32]) -> Result<()> {
        if self.whitened.is_some() {
            return Err(Error::conflict(
                "mass: it adapts, or a dense one was set: choose adapt none, or keep the dense one",
            ));
        }
        self.sampler.set_mass(mass)
    }

    /// Sets the mass (L L^T)^-1, in place of the one in force.
    ///
    /// # Errors
    /// Returns the errors of [`Whitened::given`], and [`Error::Conflict`] where the mass adapts.
    pub fn set_mass_factor(&mut self, factor: &[f64]) -> Result<()> {
        if self.sampler.config().adapt.is_some() {
            return Err(Error::conflict(
                "mass: the warm-up finds it: choose adapt none to set one",
            ));
        }
        if self.sampler.gradient_noise().is_some() || self.noise.is_running() {
            return Err(Error::conflict(
                "mass: a dense one has other coordinates than the variances of the gradient's noise: leave those out, or set a diagonal mass",
            ));
        }
        let (theta, start) = (self.sampler.vectors().get(self.params())?, self.start()?);
        let factor = memory::copy(factor, "a mass")?;
        self.whitened = Some(Whitened::given(&mut self.sampler, &theta, &start, factor)?);
        Ok(())
    }

    /// Returns where the chain started, in the caller's coordinates.
    fn start(&self) -> Result<Vec<f64>> {
        let center = self.sampler.vectors().get(self.sampler.center())?;
        let center = memory::collect(center.into_iter().map(f64::from), "a chain's start")?;
        match &self.whitened {
            Some(w) => w.affine().theta(&center),
            None => Ok(center),
        }
    }
}
