//! The four machines that a session may drive: a chain or a fit of normals, on a model's posterior or on a caller's gradients.

use super::gradient_chain::GradientChain;
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::samplers::laplace::PriorFit;
use crate::samplers::{
    Affine, AutoStep, Chain, ExtremeEigenvalues, Factors, GaussianApproximation, GaussianConfig,
    GaussianFit, GaussianMethod, GaussianState, Phase, Sampler, Whitened,
};

pub(super) enum Engine<B: Backend + 'static> {
    Chain(Box<Chain<B>>),
    Fit(Box<GaussianFit<B>>),
    GradientChain(Box<GradientChain<B>>),
    GradientFit(Box<GaussianApproximation<B>>),
}

use Engine::{Fit, GradientChain as OwnChain, GradientFit as OwnFit};

/// Calls the same method of either fit, or fails with [`no_fit`].
macro_rules! of_fit {
    ($engine:expr, $fit:ident => $call:expr) => {
        match $engine {
            Fit($fit) => $call,
            OwnFit($fit) => $call,
            Engine::Chain(_) | OwnChain(_) => Err(no_fit()),
        }
    };
}

/// Says that a call is for fits alone.
pub(super) fn no_fit() -> Error {
    Error::conflict(
        "this needs a sampler that fits (ekf, vi, laplace, swag, ivon, ema or snapshots), and this one is a chain",
    )
}

/// Says that a call is for chains alone.
fn no_chain(method: GaussianMethod) -> Error {
    Error::conflict(format!("this needs a chain, and {method} fits a normal"))
}

/// A fit's rate has a factor, its temperature none.
fn rate(method: GaussianMethod, factors: Option<Factors>) -> Result<Option<f64>> {
    match factors {
        Some(f) if f.temperature != 1.0 => Err(Error::conflict(format!(
            "{method} holds its temperature: temperature_factor must be 1, and {} was given",
            f.temperature
        ))),
        factors => Ok(factors.map(|f| f.step_size)),
    }
}

impl<B: Backend + 'static> Engine<B> {
    pub fn sampler(&self) -> Result<&Sampler<B>> {
        match self {
            Self::Chain(c) => Ok(c.sampler()),
            OwnChain(c) => Ok(&c.sampler),
            Fit(f) => Err(no_chain(f.config().method)),
            OwnFit(f) => Err(no_chain(f.config().method)),
        }
    }

    pub fn auto_step(&self) -> Option<&AutoStep> {
        match self {
            Self::Chain(c) => c.auto_step(),
            OwnChain(c) => c.auto_step.as_ref(),
            Fit(_) | OwnFit(_) => None,
        }
    }

    /// Gives a search for the step the largest curvature per mass.
    pub fn limit_step(&mut self, found: &ExtremeEigenvalues) {
        match self {
            Self::Chain(c) => c.limit_step(found),
            OwnChain(c) => {
                if let Some(auto) = &mut c.auto_step {
                    auto.limit_curvature(found.largest);
                }
            }
            Fit(_) | OwnFit(_) => {}
        }
    }

    pub fn fit_config(&self) -> Result<&GaussianConfig> {
        of_fit!(self, f => Ok(f.config()))
    }

    pub fn fit_state(&self) -> Result<GaussianState> {
        of_fit!(self, f => f.state())
    }

    pub fn mean(&self) -> Result<&B::Vector> {
        of_fit!(self, f => Ok(f.mean()))
    }

    pub fn sd(&mut self) -> Result<Vec<f32>> {
        of_fit!(self, f => f.sd())
    }

    pub fn average_sd(&mut self, prior_precision: f64) -> Result<f64> {
        of_fit!(self, f => f.average_sd_with(prior_precision))
    }

    pub fn prior_fit(&mut self) -> Result<Option<PriorFit>> {
        of_fit!(self, f => f.prior_fit())
    }

    pub fn draw(&mut self, index: u64, out: &mut B::Vector) -> Result<()> {
        of_fit!(self, f => f.draw(index, out))
    }

    /// The parameters where the next gradient is taken.
    pub fn params(&self) -> &B::Vector {
        match self {
            Self::Chain(c) => c.params(),
            OwnChain(c) => c.params(),
            Fit(f) => f.mean(),
            OwnFit(f) => f.point(),
        }
    }

    pub fn phase(&self) -> Phase {
        match self {
            Self::Chain(c) => c.phase(),
            OwnChain(c) => c.sampler.phase(),
            Fit(f) => f.phase(),
            OwnFit(f) => f.phase(),
        }
    }

    pub fn steps_made(&self) -> u64 {
        match self {
            Self::Chain(c) => c.steps_made(),
            OwnChain(c) => c.sampler.step(),
            Fit(f) => f.steps_made(),
            OwnFit(f) => f.steps_made(),
        }
    }

    pub fn total_steps(&self) -> u64 {
        match self {
            Self::Chain(c) => c.total_steps(),
            OwnChain(c) => c.sampler.config().total_steps(),
            Fit(f) => f.config().steps,
            OwnFit(f) => f.config().steps,
        }
    }

    pub fn set_factors(&mut self, factors: Option<Factors>) -> Result<()> {
        let searches = self.auto_step().is_some() && self.phase() == Phase::Warmup;
        if factors.is_some() && searches {
            return Err(Error::state(
                "auto_step is looking for the step size: set factors when sampling has begun",
            ));
        }
        if factors.is_some() && self.is_adapting() {
            return Err(Error::state(
                "adapt is looking for the mass and the step size: set factors when sampling has begun",
            ));
        }
        match self {
            Self::Chain(c) => c.set_factors(factors),
            OwnChain(c) => c.sampler.set_factors(factors),
            Fit(f) => f.set_rate(rate(f.config().method, factors)?)?,
            OwnFit(f) => f.set_rate(rate(f.config().method, factors)?)?,
        }
        Ok(())
    }

    pub fn set_mass(&mut self, mass: &[f32]) -> Result<()> {
        match self {
            OwnChain(c) => c.set_mass(mass),
            Self::Chain(_) => Err(Error::conflict(
                "a model's chain estimates its mass: choose a preconditioner in its settings",
            )),
            Fit(f) => Err(no_mass(f.config().method)),
            OwnFit(f) => Err(no_mass(f.config().method)),
        }
    }

    pub fn set_mass_factor(&mut self, factor: &[f64]) -> Result<()> {
        match self {
            OwnChain(c) => c.set_mass_factor(factor),
            Self::Chain(_) => Err(Error::conflict(
                "a model's chain has a diagonal mass: choose a preconditioner in its settings",
            )),
            Fit(f) => Err(no_mass(f.config().method)),
            OwnFit(f) => Err(no_mass(f.config().method)),
        }
    }

    /// Returns the coordinates of a mass that adapts or is dense, where a chain has one.
    pub fn affine(&self) -> Option<&Affine> {
        self.whitened().map(Whitened::affine)
    }

    /// Returns those coordinates with the warm-up that finds them.
    pub fn whitened(&self) -> Option<&Whitened<B>> {
        match self {
            OwnChain(c) => c.whitened.as_ref(),
            _ => None,
        }
    }

    /// Returns whether the warm-up still looks for a mass.
    fn is_adapting(&self) -> bool {
        self.whitened().is_some_and(Whitened::is_adapting)
    }

    pub fn set_gradient_noise(&mut self, variance: &[f32]) -> Result<()> {
        match self {
            OwnChain(c) => c.set_gradient_noise(variance),
            Self::Chain(_) => Err(Error::conflict(
                "a model's chain estimates its gradient's noise: choose noise_correction in its settings",
            )),
            Fit(f) => Err(no_chain(f.config().method)),
            OwnFit(f) => Err(no_chain(f.config().method)),
        }
    }

    pub fn extend(&mut self, steps: u64) -> Result<()> {
        match self {
            Self::Chain(c) => c.extend(steps),
            OwnChain(c) => c.sampler.extend(steps),
            Fit(f) => f.extend(steps),
            OwnFit(f) => f.extend(steps),
        }
    }
}

fn no_mass(method: GaussianMethod) -> Error {
    Error::conflict(format!("{method} has no mass to set"))
}
