//! What a chain on a model's posterior leaves when it is done, and its summary.

use super::config::Inference;
use super::monitors::{TensorTemperatures, Trace};
use super::readings::no_one_law;
use super::{ChainSummary, Movement, Session, StepFound, TraceView, tensor_temperature};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::gpt::Layout;
use crate::metrics::LocalLearningCoefficient;
use crate::samplers::{ChainConfig, ExtremeEigenvalues, FreeDiffusion, Lightness, Temperatures};

/// What is read off a chain that is done; the session may then be dropped.
#[derive(Clone, Debug)]
pub struct ChainEnd {
    /// The settings that the chain was made with.
    pub settings: ChainConfig,
    /// What the mean log likelihood was multiplied by.
    pub num_data: f64,
    /// The series of its steps.
    pub trace: Trace,
    /// The temperatures of its tensors, where they were taken.
    pub temperatures: Option<Temperatures>,
    /// The local learning coefficient of its start, where it was looked for.
    pub llc: Option<LocalLearningCoefficient>,
    /// The step that the warm-up found, where it looked for one.
    pub step: Option<StepFound>,
    /// The curvatures that were found last.
    pub curvature: Option<ExtremeEigenvalues>,
    /// Mean absolute standardised momentum; none without momenta.
    pub momentum: Option<f64>,
    /// What the mass says of free diffusion; none where the mass follows the chain.
    pub light: Option<Lightness>,
    /// The settings with the step and the friction that the chain has at its end.
    pub now: ChainConfig,
    /// Steps that estimated the mass before the chain moved.
    pub mass_steps: u64,
}

impl<B: Backend + 'static> Session<B> {
    /// Reads off what the chain leaves.
    ///
    /// # Errors
    /// Returns [`Error::Conflict`] for a fit, and the errors of [`Session::llc`], [`Session::trace`] and [`Session::mean_momentum`].
    pub fn end(&self) -> Result<ChainEnd> {
        let now = self.sampler()?.config();
        let Inference::Chain { sampler, .. } = self.inference() else {
            return Err(Error::conflict("a fit has no chain's end"));
        };
        let looked = no_one_law(sampler).is_none() && !self.excess_losses()?.is_empty();
        let taken = self.monitor::<TensorTemperatures>();
        let found = self.auto_step().map(|a| a.state().error);
        Ok(ChainEnd {
            settings: sampler.clone(),
            num_data: self.num_data(),
            trace: self.trace()?.unwrap_or_default(),
            temperatures: taken.map(|t| t.taken().clone()),
            llc: looked.then(|| self.llc()).transpose()?,
            step: found.map(|error| StepFound::new(now, self.num_data(), error)),
            curvature: self.curvature(),
            momentum: self.mean_momentum()?,
            light: self.lightness()?,
            now: self.sampler_now()?,
            mass_steps: self.inference().mass_steps(),
        })
    }
}

impl<B: Backend + 'static> Session<B> {
    /// Looks at the chain's mass as it is; none where it follows the chain.
    fn lightness(&self) -> Result<Option<Lightness>> {
        let sampler = self.sampler()?;
        if sampler.live().is_some() {
            return Ok(None);
        }
        let mass = self.mass()?;
        let (d, sigma) = (self.parameters(), sampler.config().sigma);
        Ok(Some(Lightness::new(mass.as_deref(), d, sigma)))
    }

    /// Returns how far the chain would lie from its start after `first` and after `last` of its steps, those of the mass counted, if there were no
    /// force: with the mass, the step and the friction that it has now. Where the warm-up looks for a step or the mass adapts, that is an
    /// approximation.
    ///
    /// # Errors
    /// Returns [`Error::Conflict`] for a fit and where the mass follows the chain, and the errors of [`FreeDiffusion::new`].
    pub fn free_diffusion(&self, first: u64, last: u64) -> Result<FreeDiffusion> {
        let light = self.lightness()?.ok_or_else(|| {
            Error::conflict("free diffusion has no closed form where the mass follows the chain: choose another preconditioner")
        })?;
        let moved = |step: u64| step.saturating_sub(self.inference().mass_steps());
        FreeDiffusion::new(&self.sampler_now()?, light, moved(first), moved(last))
    }
}

impl ChainEnd {
    /// Returns how far the samples of two steps, as a store counts them, would lie from the start if there were no force; none where that is not
    /// known.
    pub fn free_diffusion(&self, (first, last): (u64, u64)) -> Option<FreeDiffusion> {
        let moved = |step: u64| step.saturating_sub(self.mass_steps);
        FreeDiffusion::new(&self.now, self.light?, moved(first), moved(last)).ok()
    }

    /// Summarises the chain, given how its samples moved and the layout of its parameters.
    pub fn summary(&self, movement: Movement, layout: &Layout) -> ChainSummary {
        let (c, taken) = (&self.settings, self.temperatures.as_ref());
        let trace = TraceView {
            log_lik: &self.trace.log_lik,
            log_prior: &self.trace.log_prior,
            kinetic: &self.trace.kinetic,
            configurational: &self.trace.configurational,
        };
        let tensors = taken.map(|t| tensor_temperature::of_tensors(c, layout, t));
        ChainSummary {
            step: self.step,
            llc: self.llc,
            curvature: self.curvature,
            tensors: tensors.unwrap_or_default(),
            ..ChainSummary::new(c, movement, self.num_data, layout.len(), trace)
        }
    }
}
