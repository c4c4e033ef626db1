//! What a chain on a model's posterior leaves when it is done, and its summary.

use super::config::Inference;
use super::monitors::{TensorTemperatures, Trace};
use super::readings::no_one_law;
use super::{ChainSummary, Movement, Session, StepFound, TraceView, tensor_temperature};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::gpt::Layout;
use crate::metrics::LocalLearningCoefficient;
use crate::samplers::{ChainConfig, ExtremeEigenvalues, Temperatures};

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
        })
    }
}

impl ChainEnd {
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
