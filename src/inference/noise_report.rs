//! What the noise of a chain's minibatch gradients does, and what heat of it is left where the step makes up for it.

use super::engine::Engine;
use super::{Report, Session};
use crate::backend::{Backend, Transfer};
use crate::error::{Error, Result};
use crate::samplers::NoiseHeat;
use crate::settings::Value;
use serde::Serialize;

/// The noise of a chain's gradients as it is known, at the chain's step size and temperature.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NoiseReport {
    /// Over all parameters.
    pub all: NoiseHeat,
    /// The tensor with the most heat left, and how much, as a share of T; none without a model, or where no heat is left.
    pub worst: Option<(String, f64)>,
}

impl<B: Backend + 'static> Session<B> {
    /// Returns what the gradient's noise does to the chain; none where its variances are neither given nor estimated.
    ///
    /// # Errors
    /// When the device cannot be read, and [`Error::Conflict`] for a fit.
    pub fn gradient_noise(&self) -> Result<Option<NoiseReport>> {
        let sampler = self.sampler()?;
        let Some(variance) = sampler.gradient_noise() else {
            return Ok(None);
        };
        let (variance, mass) = (self.device().get(variance)?, self.mass()?);
        let c = sampler.config();
        let tensors = match &self.engine {
            Engine::Chain(chain) => chain.posterior().gpt().layout().tensors(),
            _ => &[],
        };
        let heat = |t: &crate::gpt::Tensor| {
            let mass = mass.as_ref().map(|m| &m[t.range.clone()]);
            let left = NoiseHeat::new(c, &variance[t.range.clone()], mass).residual;
            (t.name.clone(), left)
        };
        let worst = tensors.iter().map(heat).max_by(|a, b| a.1.total_cmp(&b.1));
        Ok(Some(NoiseReport {
            all: NoiseHeat::new(c, &variance, mass.as_deref()),
            worst: worst.filter(|(_, left)| *left > 0.0),
        }))
    }
}

impl<B: Backend + 'static> Session<B> {
    /// Returns [`Session::gradient_noise`] as a report.
    ///
    /// # Errors
    /// Returns the errors of [`Session::gradient_noise`], and [`Error::Conflict`] where the variances are not known.
    pub fn gradient_noise_report(&self) -> Result<Report> {
        let known = self.gradient_noise()?;
        known.as_ref().map(Report::from).ok_or_else(|| {
            Error::conflict(
                "the gradient's noise is not known: choose noise_correction diagonal, or give the variances by set_gradient_noise",
            )
        })
    }
}

impl NoiseReport {
    /// Returns the report as a line for a person, with T and when the chain was looked at.
    pub fn line(&self, when: &str, temperature: f64) -> String {
        let (a, percent) = (&self.all, |share: f64| format!("{:.2} %", 100.0 * share));
        let worst = match &self.worst {
            Some((name, left)) => {
                let name = name.trim_start_matches("transformer.");
                format!(", most in {name}: {}", percent(*left))
            }
            None => String::new(),
        };
        format!(
            "gradient noise {when}: it is all of the fluctuation at T = {} for {} of the parameters, whose friction it sets, and for {} \
             more than any friction takes out; residual heating {} of T on average{worst}",
            Value::F64(temperature),
            percent(a.damped),
            percent(a.clamped),
            percent(a.residual),
        )
    }
}

impl From<&NoiseReport> for Report {
    fn from(n: &NoiseReport) -> Self {
        let a = &n.all;
        let (name, left) = n.worst.clone().unwrap_or_default();
        Self::new()
            .row("noise_per_mass", a.per_mass, "mean of the noise's variance over the mass, v / M'")
            .row("damped", a.damped, "share of the parameters whose noise is all of their fluctuation, and sets their friction")
            .row("clamped", a.clamped, "share of the parameters whose noise is more than the strongest friction takes out")
            .row("residual_heating", a.residual, "mean heating that is left, as a share of T")
            .row("worst_tensor", name, "the tensor with the most heat left; empty without one")
            .row("worst_heating", left, "the heating that is left there, as a share of T")
    }
}
