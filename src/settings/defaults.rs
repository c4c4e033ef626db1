//! What a setting is when nobody sets it: the defaults that depend on preset, method, model and target.

use super::choices::{Predictive, Preset, SamplerChoice, Starts};
use super::words::Word;
use crate::samplers::{
    CovarianceStructure, GaussianConfig, GaussianMethod, Method, NoiseCorrection, Preconditioner,
    Schedule, defaults,
};

/// Whose log posterior is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// That of a GPT around its baseline. It is sampled at T = 0.15: at T = 1 single samples predict worse than the baseline, and in the steps
    /// that a run has their average gains less (`docs/tuning.md`).
    Gpt,
    /// The caller's own, by its gradients. It is sampled as it is given: at T = 1.
    Own,
}

/// What defaults depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Whose log posterior is sampled.
    pub target: TargetKind,
    /// The named set of defaults.
    pub preset: Preset,
    /// The method.
    pub sampler: SamplerChoice,
    /// The named shape of the model.
    pub shape: String,
    /// The covariance of laplace.
    pub structure: CovarianceStructure,
    /// Where chains, or fits, start.
    pub starts: Starts,
    /// Number of sampling steps.
    pub sampling_steps: u64,
    /// Whether `alpha` or `momentum` is given: then the other has no default.
    pub friction_given: bool,
    /// Whether the warm-up finds a mass and a step.
    pub adapts: bool,
    /// Whether enough gradients come before sampling to know their noise.
    pub knows_noise: bool,
}

impl Case {
    /// Returns the case where nothing is given.
    pub fn usual() -> Self {
        Self {
            target: TargetKind::Gpt,
            preset: Preset::Default,
            sampler: SamplerChoice::Chain(Method::Baoa),
            shape: "cpu".into(),
            sampling_steps: defaults::SAMPLING_STEPS,
            structure: CovarianceStructure::Diagonal,
            starts: Starts::Shared,
            friction_given: false,
            adapts: false,
            knows_noise: true,
        }
    }

    fn is_original(&self) -> bool {
        self.preset == Preset::Original
    }

    /// Returns the default, or under `--preset original` what the original has.
    pub(super) fn preset<T>(&self, default: T, original: T) -> T {
        match self.preset {
            Preset::Default => default,
            Preset::Original => original,
        }
    }

    /// Returns what chains have, or what fits have.
    pub(super) fn kind<T>(&self, chain: T, normal: T) -> T {
        match self.sampler {
            SamplerChoice::Chain(_) => chain,
            SamplerChoice::Gaussian(_) => normal,
        }
    }

    pub(super) fn learning_rate(&self) -> f64 {
        match (self.sampler, self.preset) {
            (SamplerChoice::Chain(m), Preset::Default) => m.scheme().model_step_size(),
            (SamplerChoice::Chain(Method::Sghmc | Method::SghmcEuler), _) => 1e-5,
            (SamplerChoice::Chain(_), _) => 1e-6,
            (SamplerChoice::Gaussian(n), Preset::Default) => {
                GaussianConfig::new(n, 1).learning_rate
            }
            (SamplerChoice::Gaussian(GaussianMethod::Vi), _) => 1e-4,
            (SamplerChoice::Gaussian(GaussianMethod::Ekf), _) => 5e-6,
            (SamplerChoice::Gaussian(GaussianMethod::Laplace), _) => 1e-5,
            // The original has no such methods.
            (SamplerChoice::Gaussian(n), _) => GaussianConfig::new(n, 1).learning_rate,
        }
    }

    pub(super) fn noise_correction(&self) -> NoiseCorrection {
        let method = self.sampler.chain();
        let takes = method.is_some_and(|m| m.scheme().takes_gradient_noise());
        match self.target {
            TargetKind::Gpt if takes && self.knows_noise && !self.is_original() => {
                NoiseCorrection::Diagonal
            }
            _ => NoiseCorrection::None,
        }
    }

    /// Returns that a search only lowers a model's step, whose stiffest directions its means do not see; of other targets nothing is known.
    pub(super) fn step_growth(&self) -> f64 {
        match self.target {
            TargetKind::Gpt => 1.0,
            _ => 0.0,
        }
    }

    fn moving(&self) -> Option<Method> {
        let method = self.sampler.chain().filter(|m| m.has_momenta());
        method.filter(|_| !self.friction_given)
    }

    pub(super) fn alpha(&self) -> Option<f64> {
        if self.adapts {
            // A friction that fits unit scale: `samplers::adapt`.
            return self.moving().map(|_| 1.0);
        }
        let method = self.moving().filter(|_| self.is_original())?;
        Some(method.scheme().default_alpha())
    }

    pub(super) fn momentum(&self) -> Option<f64> {
        self.moving()
            .filter(|_| !self.is_original() && !self.adapts)
            .map(|_| defaults::MOMENTUM)
    }

    /// Returns enough steps for each window of a warm-up that adapts to see some independent draws.
    pub(super) fn warmup_steps(&self) -> u64 {
        match self.adapts {
            true => defaults::ADAPTING_STEPS,
            false => self.preset(defaults::WARMUP_STEPS, 200),
        }
    }

    /// Returns a larger error for methods whose variances on a normal have none of it.
    pub(super) fn adapt_tolerance(&self) -> f64 {
        match self.sampler {
            SamplerChoice::Chain(Method::Baoa | Method::Sgnht | Method::Ccadl) => 0.03,
            _ => 0.01,
        }
    }

    pub(super) fn thermostat_mass(&self) -> Option<f64> {
        let has_one = self.sampler.chain().is_some_and(|m| m.has_thermostat());
        has_one.then_some(match (self.target, self.preset) {
            (TargetKind::Gpt, Preset::Default) => defaults::MODEL_THERMOSTAT_MASS,
            _ => defaults::THERMOSTAT_MASS,
        })
    }

    /// Returns the passes over the data of a fit. An optimiser's path needs more steps than a small text has in one.
    pub(super) fn epochs(&self) -> Option<u64> {
        let one = match self.sampler {
            SamplerChoice::Gaussian(
                GaussianMethod::Swag | GaussianMethod::Ema | GaussianMethod::Snapshots,
            ) => 20,
            _ => 1,
        };
        self.kind(None, Some(self.preset(one, 15)))
    }

    pub(super) fn temperature(&self) -> f64 {
        match (self.target, self.preset, self.sampler) {
            (TargetKind::Own, ..) | (_, Preset::Original, _) => defaults::TEMPERATURE,
            (.., SamplerChoice::Chain(_)) => defaults::MODEL_TEMPERATURE,
            (.., SamplerChoice::Gaussian(n)) => {
                GaussianConfig::default_temperature(n, self.structure)
            }
        }
    }

    /// Returns a fiftieth of the steps, so that a shorter run keeps as many samples, and at most the usual number.
    pub(super) fn thinning(&self) -> u64 {
        let usual = (self.sampling_steps / 50).clamp(1, defaults::THINNING);
        self.preset(usual, 10)
    }

    /// Returns the stored draws of a fit; a moving average is one model.
    pub(super) fn num_samples(&self) -> u64 {
        match self.sampler {
            SamplerChoice::Gaussian(GaussianMethod::Ema) => 1,
            _ => self.kind(25, self.preset(25, 10)),
        }
    }

    /// Returns the predictive whose law a diagonal Laplace approximation is of, where its fits have one mean.
    pub(super) fn predictive(&self) -> Predictive {
        let linear = self.sampler == SamplerChoice::Gaussian(GaussianMethod::Laplace)
            && self.structure == CovarianceStructure::Diagonal
            && self.starts == Starts::Shared;
        match linear {
            true => self.preset(Predictive::Linearised, Predictive::Weights),
            false => Predictive::Weights,
        }
    }

    pub(super) fn prior_std(&self) -> f64 {
        match (self.target, self.preset, self.sampler) {
            (TargetKind::Gpt, Preset::Default, SamplerChoice::Chain(_)) => {
                defaults::MODEL_PRIOR_STD
            }
            _ => 1.0,
        }
    }

    pub(super) fn schedule(&self) -> Word<Schedule> {
        let linear = [GaussianMethod::Vi, GaussianMethod::Ivon].map(SamplerChoice::Gaussian);
        word(if linear.contains(&self.sampler) {
            "linear"
        } else {
            "constant"
        })
    }

    pub(super) fn exploration(&self) -> f64 {
        match self.sampler {
            SamplerChoice::Chain(m) if !m.scheme().can_explore() => 0.0,
            _ => 0.5,
        }
    }

    pub(super) fn preconditioner(&self) -> Word<Preconditioner> {
        let none = self.is_original() || self.sampler.chain().is_none();
        word(if none || self.target == TargetKind::Own {
            "none"
        } else {
            "rms"
        })
    }

    /// Returns how many windows as long as the block hold as many tokens as a batch of the shape's baseline: every position is then trained.
    pub(super) fn batch_size(&self) -> usize {
        match (self.preset, self.shape.as_str()) {
            (Preset::Original, _) => 16,
            (_, "baby" | "tiny") => 8,
            (_, "baby-full") => 64,
            (_, "gpt2") => 1,
            _ => 12,
        }
    }

    /// Returns 0 for large models: the estimate takes five vectors of the model's size beside the sampler's seven.
    pub(super) fn curvature_iterations(&self) -> u64 {
        match self.shape.as_str() {
            "baby" | "baby-full" | "gpt2" => 0,
            _ => 10,
        }
    }

    /// Returns the settings of a fit, which a chain has too and does not read.
    pub(super) fn fit(&self) -> GaussianConfig {
        let method = self.sampler.gaussian().unwrap_or(GaussianMethod::Vi);
        GaussianConfig::new(method, 1)
    }
}

/// Returns a word that is known to be one.
pub(super) fn word<T: serde::de::DeserializeOwned>(name: &str) -> Word<T> {
    Word::new(name).expect("a default is one of the words")
}
