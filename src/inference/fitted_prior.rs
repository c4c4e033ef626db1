//! A prior with one standard deviation for each tensor, which the marginal likelihood chooses at the model that chains start from.
//!
//! With theta the model's parameters, h the diagonal of the generalised Gauss-Newton matrix there and p_k the precision of tensor k's normal prior about 0,
//! Laplace's approximation of the log marginal likelihood is, up to a constant,
//!
//! ```text
//! sum_k (d_k log p_k - p_k |theta_k|^2 - sum_i log(h_i + p_k)) / 2,  i over the d_k parameters of tensor k
//! ```
//!
//! and has its maximum where p_k |theta_k|^2 = gamma_k, gamma_k = sum_i h_i / (h_i + p_k) the number of parameters that the data determine (MacKay 1992, "A practical
//! Bayesian framework for backpropagation networks", eq. 4.9, here tensor by tensor). The left side rises with p_k and the right one falls, so that there is one such
//! point: it is found by bisection, where the fixed point's iteration may go back and forth. The standard deviation is p_k^-1/2, held within [[`LEAST`], [`MOST`]].
//!
//! The data choose the prior here, and are used again for the posterior: it is an empirical Bayes estimate, of T = 1 and of independent coordinates.

use crate::backend::{Backend, PriorFamily};
use crate::data::{Batch, Batches};
use crate::error::{Error, Result};
use crate::gpt::{Gpt, Layout, Objective};
use crate::memory;
use crate::posterior::{Posterior, Prior, PriorUnits};
use crate::samplers::{CurvatureKind, GaussianConfig, GaussianFit, GaussianMethod, GaussianState};
use serde::{Deserialize, Serialize};

/// The least standard deviation that a tensor's prior is given.
pub const LEAST: f64 = 0.01;
/// The largest.
pub const MOST: f64 = 10.0;
/// The most batches that the curvature is taken from.
const BATCHES: u64 = 100;

/// What was found for one tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorPrior {
    /// nanoGPT's name of the tensor.
    pub name: String,
    /// How many parameters it has.
    pub parameters: usize,
    /// The standard deviation of its prior.
    pub sd: f64,
    /// The number of its parameters that the data determine under that prior, gamma.
    pub effective_parameters: f64,
    /// Whether the maximum lies outside the range that standard deviations are held to.
    pub clamped: bool,
}

/// A prior about 0 with one standard deviation for each tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedPrior {
    /// What was found, in the order of the layout.
    pub tensors: Vec<TensorPrior>,
}

/// The data that a prior is fitted to.
pub struct FitData<'a> {
    /// The training tokens.
    pub tokens: &'a [u16],
    /// How they become batches.
    pub batches: &'a Batches,
    /// What the mean log-likelihood is multiplied by.
    pub num_data: f64,
    /// The positions that count.
    pub objective: Objective,
    /// Power of the likelihood.
    pub likelihood_weight: f64,
    /// Seed of batches and of the curvature's random cotangents.
    pub seed: u64,
}

impl FittedPrior {
    /// Fits the prior at `params`, (n_params), with the curvature of one sweep over the data or of its first 100 batches. `look` is called before each and may
    /// end the fit with an error.
    ///
    /// # Errors
    /// Returns the errors of [`FittedPrior::new`] and `look`, and an error where a batch does not fit or a gradient is not finite.
    pub fn at<B: Backend>(
        backend: &B,
        gpt: &Gpt,
        params: &[f32],
        data: &FitData<'_>,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<Self> {
        let (b, t) = (
            data.batches.batch_size(),
            data.batches.windows().window_len(),
        );
        // Its gradient has no part in the fit.
        let prior = Prior::isotropic(1.0);
        let posterior = Posterior::new(backend, gpt, &prior, data.num_data, data.objective, b, t)?
            .with_likelihood_weight(data.likelihood_weight)?;
        let steps = data.batches.per_sweep().min(BATCHES);
        let config = GaussianConfig {
            laplace_labels: CurvatureKind::Ggn,
            seed: data.seed,
            ..GaussianConfig::new(GaussianMethod::Laplace, steps)
        };
        let mut fit = GaussianFit::new(backend, posterior, params, config)?;
        let mut batch = Batch::new(b, t)?;
        for step in 0..steps {
            look()?;
            (data.batches).fill(data.tokens, data.seed, 0, step, &mut batch)?;
            fit.step(&batch)?;
        }
        match fit.state()? {
            GaussianState::Laplace(s) => Self::new(gpt.layout(), params, &s.precision),
            other => Err(Error::conflict(format!(
                "a prior is fitted by laplace, not by {}",
                other.method()
            ))),
        }
    }

    /// Fits the prior to a model's parameters and the curvature of its log likelihood there, both (n_params).
    ///
    /// # Errors
    /// [`Error::Shape`] for another length, [`Error::OutOfRange`] for a parameter that is not finite or a curvature that is below 0 or not finite.
    pub fn new(layout: &Layout, params: &[f32], curvature: &[f32]) -> Result<Self> {
        layout.check(params)?;
        layout.check(curvature)?;
        let bad = |(p, h): (&f32, &f32)| !p.is_finite() || !h.is_finite() || *h < 0.0;
        if let Some(i) = params.iter().zip(curvature).position(bad) {
            return Err(Error::out_of_range(
                format!("parameter or curvature[{i}]"),
                "a finite number, and a curvature of 0 or more",
                format!("{}, {}", params[i], curvature[i]),
            ));
        }
        let of = |t: &crate::gpt::Tensor| {
            let (theta, h) = (&params[t.range.clone()], &curvature[t.range.clone()]);
            let (sd, gamma, clamped) = fitted(theta, h);
            TensorPrior {
                name: t.name.clone(),
                parameters: theta.len(),
                sd,
                effective_parameters: gamma,
                clamped,
            }
        };
        let tensors = memory::collect(layout.tensors().iter().map(of), "a fitted prior")?;
        Ok(Self { tensors })
    }

    /// Returns the prior, for a model of this layout.
    ///
    /// # Errors
    /// [`Error::Data`] where it was fitted to other tensors, or a standard deviation is out of range: it may have been read from a file.
    pub fn prior(&self, layout: &Layout) -> Result<Prior> {
        let bad = |why: String| Error::data("fitted prior", why);
        let tensors = layout.tensors();
        let same = |(a, b): (&TensorPrior, &crate::gpt::Tensor)| {
            a.name == b.name && a.parameters == b.range.len()
        };
        if self.tensors.len() != tensors.len() || !self.tensors.iter().zip(tensors).all(same) {
            return Err(bad(format!(
                "expected the {} tensors of the model",
                tensors.len()
            )));
        }
        let mut units = memory::filled(layout.len(), 1.0f32, "a prior's scales")?;
        for (of, t) in self.tensors.iter().zip(tensors) {
            if !(LEAST..=MOST).contains(&of.sd) {
                let (name, sd) = (&of.name, of.sd);
                return Err(bad(format!(
                    "sd of {name}: expected {LEAST} to {MOST}, got {sd}"
                )));
            }
            units[t.range.clone()].fill(of.sd as f32);
        }
        Ok(Prior {
            family: PriorFamily::Normal,
            std: 1.0,
            center: None,
            units: PriorUnits::Each(units),
        })
    }

    /// Returns a line for a person.
    pub fn line(&self) -> String {
        let by_sd = |a: &&TensorPrior, b: &&TensorPrior| a.sd.total_cmp(&b.sd);
        let show = |t: Option<&TensorPrior>| {
            t.map_or(String::new(), |t| {
                format!(
                    "{:.4} ({})",
                    t.sd,
                    t.name.trim_start_matches("transformer.")
                )
            })
        };
        let all = || self.tensors.iter();
        format!(
            "prior: standard deviations by tensor, fitted by the marginal likelihood at the baseline, from {} to {}; {} of {} held to [{LEAST}, {MOST}]; the data \
             determine {:.0} of {} parameters",
            show(all().min_by(by_sd)),
            show(all().max_by(by_sd)),
            all().filter(|t| t.clamped).count(),
            self.tensors.len(),
            all().map(|t| t.effective_parameters).sum::<f64>(),
            all().map(|t| t.parameters).sum::<usize>(),
        )
    }
}

/// Returns the standard deviation for one tensor's parameters and curvatures, its gamma, and whether it was held to the range.
fn fitted(theta: &[f32], h: &[f32]) -> (f64, f64, bool) {
    let square: f64 = theta.iter().map(|&t| f64::from(t).powi(2)).sum();
    let determined = |p: f64| -> f64 {
        let each = h.iter().map(|&h| f64::from(h) / (f64::from(h) + p));
        each.sum()
    };
    let excess = |sd: f64| determined(sd.powi(-2)) - sd.powi(-2) * square;
    // It rises with the standard deviation.
    let held = |sd: f64| (sd, determined(sd.powi(-2)), true);
    if excess(LEAST) >= 0.0 {
        return held(LEAST);
    }
    if excess(MOST) <= 0.0 {
        return held(MOST);
    }
    let (mut low, mut high) = (LEAST.ln(), MOST.ln());
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        match excess(middle.exp()) >= 0.0 {
            true => high = middle,
            false => low = middle,
        }
    }
    let sd = (0.5 * (low + high)).exp();
    (sd, determined(sd.powi(-2)), false)
}
