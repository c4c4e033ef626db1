//! The settings of a fit: its method, how many steps there are, and how often the data count.

use super::Schedule;
use super::ema::EmaConfig;
use super::ivon::IvonConfig;
use super::snapshots::SnapshotsConfig;
use super::swag::SwagConfig;
use super::vi::ViConfig;
use crate::error::{Error, Result};
use crate::memory;
use serde::{Deserialize, Serialize};

/// The methods that fit: a Gaussian approximation, or an optimiser's average or states, to be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GaussianMethod {
    /// Extended Kalman filter: [`crate::samplers::ekf`].
    Ekf,
    /// Variational inference: [`crate::samplers::vi`].
    Vi,
    /// Laplace's approximation: [`crate::samplers::laplace`].
    Laplace,
    /// SWAG, a normal around an optimiser's path: [`crate::samplers::swag`].
    Swag,
    /// IVON, variational inference by natural gradients: [`crate::samplers::ivon`].
    Ivon,
    /// The moving average of an optimiser: [`crate::samplers::ema`].
    Ema,
    /// States of an optimiser, an ensemble: [`crate::samplers::snapshots`].
    Snapshots,
}

impl GaussianMethod {
    /// Lists every method.
    pub const ALL: [Self; 7] = [
        Self::Ekf,
        Self::Vi,
        Self::Laplace,
        Self::Swag,
        Self::Ivon,
        Self::Ema,
        Self::Snapshots,
    ];

    /// Returns whether it fits a normal, and draws from it: not so `ema` and `snapshots`, which are points of an optimiser's path.
    pub fn fits_normal(self) -> bool {
        !matches!(self, Self::Ema | Self::Snapshots)
    }

    /// Returns the name in flags and files: `ekf`, `vi`, `laplace`, `swag`, `ivon`, `ema` or `snapshots`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ekf => "ekf",
            Self::Vi => "vi",
            Self::Laplace => "laplace",
            Self::Swag => "swag",
            Self::Ivon => "ivon",
            Self::Ema => "ema",
            Self::Snapshots => "snapshots",
        }
    }
}

impl std::fmt::Display for GaussianMethod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Which approximation of the log likelihood's curvature EKF and a diagonal Laplace fit take.
///
/// Settings name it by the labels of its gradients: `data`, `model` or `ggn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CurvatureKind {
    /// The empirical Fisher information: squared gradients with the data's labels.
    #[serde(rename = "data")]
    EmpiricalFisher,
    /// The Fisher information: squared gradients with labels drawn from the model's prediction.
    #[serde(rename = "model")]
    Fisher,
    /// The generalised Gauss-Newton matrix, which needs no labels and equals the expected Fisher information of a softmax. Available for a GPT's
    /// posterior only.
    #[serde(rename = "ggn")]
    Ggn,
}

impl CurvatureKind {
    /// Returns what fits had before they had a choice, and what files of theirs do not name.
    fn empirical() -> Self {
        Self::EmpiricalFisher
    }

    fn is_empirical(&self) -> bool {
        *self == Self::EmpiricalFisher
    }
}

/// The covariance structure of Laplace's approximation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CovarianceStructure {
    /// Independent normals of all parameters: [`crate::samplers::laplace`].
    Diagonal,
    /// The head's weights alone, all their covariances: [`crate::samplers::last_layer`].
    LastLayerFull,
    /// The head's weights alone, their covariance a Kronecker product.
    LastLayerKfac,
}

/// The settings of a fit. Each method reads its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GaussianConfig {
    /// The method.
    pub method: GaussianMethod,
    /// Steps of the whole fit, at least 1.
    pub steps: u64,
    /// VI, SWAG, IVON, and the optimiser's average and states: the optimiser's rate, > 0. EKF: how often a step's mean observation counts, at T = 1; 0 counts every observation of the data once over
    /// the fit. Laplace: none.
    pub learning_rate: f64,
    /// A factor on the rate, where there is an optimiser's.
    pub schedule: Schedule,
    /// Temperature T of the target, > 0. SWAG: the factor of its covariance. The optimiser's average and states do not read it.
    pub temperature: f64,
    /// Seed of VI's and IVON's draws, of labels, and of the draws from the fit.
    pub seed: u64,
    /// Which fit of the seed this is: each has numbers of its own.
    #[serde(default, skip_serializing)]
    pub chain: u32,
    /// Observations that the data are, times the likelihood's weight, > 0: what EKF (at rate 0) and Laplace count the steps' means up to, and what SWAG and
    /// the optimiser's average and states divide the log posterior by. A fit on a GPT's posterior sets it to that posterior's sequences.
    pub observations: f64,
    /// EKF: standard deviation before any data, > 0.
    pub init_sd: f64,
    /// EKF: standard deviation that every parameter gains per step, >= 0.
    pub transition_sd: f64,
    /// EKF on a GPT's posterior: the approximation of the curvature. A caller of its own gradients gives the squares of its choice.
    #[serde(
        default = "CurvatureKind::empirical",
        skip_serializing_if = "CurvatureKind::is_empirical"
    )]
    pub ekf_labels: CurvatureKind,
    /// VI and IVON: logarithm of the standard deviation at the start.
    pub init_log_scale: f64,
    /// VI and IVON: draws per step, each with a gradient; at least 1.
    pub vi_n_samples: u32,
    /// VI: whether the gradient leaves out the part whose expectation is 0.
    pub stick_the_landing: bool,
    /// Laplace: standard deviation of the normal prior, > 0.
    pub prior_std: f64,
    /// Laplace: the structure of the covariance.
    pub laplace_structure: CovarianceStructure,
    /// Laplace with a diagonal covariance: the approximation of the curvature. A head's curvature is exact and takes `data` only.
    pub laplace_labels: CurvatureKind,
    /// Laplace: whether the marginal likelihood chooses the prior's precision, in place of `prior_std`.
    pub laplace_fit_prior: bool,
    /// SWAG: the snapshots of its path; the other methods take none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<SwagSnapshots>,
    /// IVON: the share of the curvature that a step keeps, inside (0, 1); the other methods have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ivon_decay: Option<f64>,
    /// The optimiser's average: the share of it that a step keeps, in [0, 1); the other methods have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// The optimiser's states: how many are kept, at equal distances, 1 to `steps`; the other methods keep none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<u64>,
}

/// The share of an optimiser's average that a step keeps by default.
pub(crate) const EMA_DECAY: f64 = 0.99;
/// The states of an optimiser that are kept by default.
const STATES: u64 = 25;

/// The share of the curvature that a step of IVON keeps by default.
const IVON_DECAY: f64 = 0.999;

/// Which points of its path SWAG takes for the mean and the covariance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwagSnapshots {
    /// Steps between two of them, at least 1.
    pub every: u64,
    /// The most of them that the low-rank part of the covariance is made of, the latest; at least 2.
    pub rank: usize,
}

impl Default for SwagSnapshots {
    fn default() -> Self {
        Self {
            every: 20,
            rank: 20,
        }
    }
}

/// SwagSnapshots that a covariance needs: the first is its own mean, and of the others there must be two.
const LEAST_SNAPSHOTS: u64 = 3;

impl GaussianConfig {
    /// Returns the method's defaults: T = 0.1 (Laplace 0.003, SWAG and the optimiser's average and states 1), seed 0, one observation, a prior of standard deviation 1.
    pub fn new(method: GaussianMethod, steps: u64) -> Self {
        Self {
            method,
            steps,
            learning_rate: match method {
                GaussianMethod::Vi
                | GaussianMethod::Swag
                | GaussianMethod::Ema
                | GaussianMethod::Snapshots => 1e-3,
                GaussianMethod::Ivon => 1e-2,
                GaussianMethod::Ekf | GaussianMethod::Laplace => 0.0,
            },
            schedule: match method {
                GaussianMethod::Vi | GaussianMethod::Ivon => Schedule::Linear {
                    final_fraction: 0.01,
                },
                _ => Schedule::Constant,
            },
            temperature: Self::default_temperature(method, CovarianceStructure::Diagonal),
            seed: 0,
            chain: 0,
            observations: 1.0,
            init_sd: 1e-3,
            transition_sd: 0.0,
            ekf_labels: match method {
                GaussianMethod::Ekf => CurvatureKind::Ggn,
                _ => CurvatureKind::EmpiricalFisher,
            },
            init_log_scale: -5.0,
            vi_n_samples: 1,
            stick_the_landing: true,
            prior_std: 1.0,
            laplace_structure: CovarianceStructure::Diagonal,
            laplace_labels: CurvatureKind::EmpiricalFisher,
            laplace_fit_prior: false,
            snapshots: (method == GaussianMethod::Swag).then(SwagSnapshots::default),
            ivon_decay: (method == GaussianMethod::Ivon).then_some(IVON_DECAY),
            ema_decay: (method == GaussianMethod::Ema).then_some(EMA_DECAY),
            states: (method == GaussianMethod::Snapshots).then_some(STATES),
        }
    }

    /// Returns the default temperature: 0.003 for laplace's independent normals, 1 for swag, ema and snapshots, 0.1 for all others. Only laplace reads the structure.
    pub fn default_temperature(method: GaussianMethod, structure: CovarianceStructure) -> f64 {
        match (method, structure) {
            // Independent normals of the Fisher information's widths are far too wide for weights that depend on each other.
            (GaussianMethod::Laplace, CovarianceStructure::Diagonal) => 3e-3,
            (GaussianMethod::Swag | GaussianMethod::Ema | GaussianMethod::Snapshots, _) => 1.0,
            _ => 0.1,
        }
    }

    /// Returns whether the fit covers a model's head only: laplace with a structure other than diagonal.
    pub fn fits_head(&self) -> bool {
        self.method == GaussianMethod::Laplace
            && self.laplace_structure != CovarianceStructure::Diagonal
    }

    /// Checks the settings that the method reads, except those that the method itself checks at its start.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the setting's name, its range and the value.
    pub fn validate(&self) -> Result<()> {
        if self.steps == 0 {
            return Err(Error::out_of_range("steps", "at least 1", 0));
        }
        let positive = |what: &str, v: f64| {
            if v > 0.0 && v.is_finite() {
                Ok(())
            } else {
                Err(Error::out_of_range(what, "a positive number", v))
            }
        };
        positive("temperature", self.temperature)?;
        positive("observations", self.observations)?;
        match self.method {
            GaussianMethod::Vi | GaussianMethod::Ivon => {
                positive("learning_rate", self.learning_rate)?;
                self.schedule.check(self.steps)
            }
            GaussianMethod::Swag => {
                positive("learning_rate", self.learning_rate)?;
                self.schedule.check(self.steps)?;
                self.check_snapshots()
            }
            GaussianMethod::Ema => {
                positive("learning_rate", self.learning_rate)?;
                let decay = self.ema().decay;
                if !(0.0..1.0).contains(&decay) {
                    return Err(Error::out_of_range("ema_decay", "0 to below 1", decay));
                }
                self.schedule.check(self.steps)
            }
            GaussianMethod::Snapshots => {
                positive("learning_rate", self.learning_rate)?;
                self.schedule.check(self.steps)?;
                self.check_states()
            }
            GaussianMethod::Ekf if self.learning_rate == 0.0 => Ok(()),
            GaussianMethod::Ekf => positive("learning_rate", self.learning_rate),
            GaussianMethod::Laplace => {
                if self.fits_head() && self.laplace_labels != CurvatureKind::EmpiricalFisher {
                    return Err(Error::conflict(
                        "laplace_labels does not matter to a head, whose curvature is exact: leave it at data",
                    ));
                }
                positive("prior_std", self.prior_std)
            }
        }
    }

    /// Checks that SWAG's path has the snapshots that a covariance needs.
    fn check_snapshots(&self) -> Result<()> {
        let SwagSnapshots { every, rank } = self.snapshots.unwrap_or_default();
        if rank < 2 {
            return Err(Error::out_of_range("swag_rank", "at least 2", rank));
        }
        let taken = self.steps / every.max(1);
        if every == 0 || taken < LEAST_SNAPSHOTS {
            return Err(Error::conflict(format!(
                "swag_every: {} steps with a snapshot every {every} give {}, and a covariance needs {LEAST_SNAPSHOTS}: make more steps (num_epochs), or take \
                 snapshots more often",
                self.steps,
                if every == 0 { 0 } else { taken },
            )));
        }
        Ok(())
    }

    /// Checks that an optimiser's path has as many states as are kept.
    fn check_states(&self) -> Result<()> {
        let states = self.states.unwrap_or(STATES);
        if states == 0 || states > self.steps {
            return Err(Error::conflict(format!(
                "num_samples: a path of {} steps has 1 to {0} states to keep, and {states} are asked for: make more steps (num_epochs), or keep fewer",
                self.steps
            )));
        }
        Ok(())
    }

    /// Returns the number of observations that a step's mean counts for.
    pub(super) fn share(&self) -> f64 {
        self.observations / self.steps as f64
    }

    /// Checks that a state after `step` steps can belong to a fit with these settings.
    pub(super) fn check_step(&self, step: u64) -> Result<()> {
        if step > self.steps {
            let expected = format!("at most the fit's {} steps", self.steps);
            return Err(Error::out_of_range("step", expected, step));
        }
        Ok(())
    }

    pub(super) fn refuse_when_done(&self, step: u64) -> Result<()> {
        if step >= self.steps {
            return Err(Error::conflict(format!(
                "the fit has made all of its {} steps: start one with more steps",
                self.steps
            )));
        }
        Ok(())
    }

    /// Checks that the method has a rate and that it can be set to this one.
    pub(super) fn check_rate(&self, rate: Option<f64>) -> Result<()> {
        let Some(r) = rate else { return Ok(()) };
        if matches!(self.method, GaussianMethod::Ekf | GaussianMethod::Laplace) {
            return Err(Error::conflict(format!(
                "{} has no step size to schedule, and a factor of {r} was set",
                self.method
            )));
        }
        if !(r > 0.0 && r.is_finite()) {
            return Err(Error::out_of_range(
                "step size's factor",
                "a positive number",
                r,
            ));
        }
        Ok(())
    }

    /// Returns why a longer fit would begin with other steps; `None` where it begins with the same steps, bit for bit.
    pub fn length_matters(&self) -> Option<&'static str> {
        match self.method {
            GaussianMethod::Vi if self.schedule.depends_on_steps() => {
                Some("the schedule of vi's rate depends on it")
            }
            GaussianMethod::Swag if self.schedule.depends_on_steps() => {
                Some("the schedule of swag's rate depends on it")
            }
            GaussianMethod::Ivon if self.schedule.depends_on_steps() => {
                Some("the schedule of ivon's rate depends on it")
            }
            GaussianMethod::Ema if self.schedule.depends_on_steps() => {
                Some("the schedule of ema's rate depends on it")
            }
            GaussianMethod::Snapshots => Some("the distance of snapshots' states depends on it"),
            GaussianMethod::Ekf if self.learning_rate == 0.0 => {
                Some("ekf at step_size 0 counts a step for its share of the data")
            }
            GaussianMethod::Laplace => Some("laplace counts a step for its share of the data"),
            _ => None,
        }
    }

    /// Returns these settings with another number of steps, for a fit that has made `made` of them.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a step depends on how many there are; [`Error::OutOfRange`] when more were made.
    pub(super) fn extended(&self, steps: u64, made: u64) -> Result<Self> {
        if let Some(why) = self.length_matters() {
            return Err(Error::conflict(format!(
                "steps: it must stay {} ({why}), and {steps} was given: start a new fit",
                self.steps
            )));
        }
        if steps < made {
            let expected = format!("at least {made}, those made");
            return Err(Error::out_of_range("steps", expected, steps));
        }
        let config = Self {
            steps,
            ..self.clone()
        };
        config.validate()?;
        Ok(config)
    }

    /// Checks that memory holds the covariance that the settings ask for, of a model of `n` parameters with a head of (V, C).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] with how many numbers it has.
    pub fn check_memory(&self, n: usize, head: [usize; 2]) -> Result<()> {
        let [v, c] = head.map(|n| n as u128);
        if self.method == GaussianMethod::Swag {
            let rank = self.snapshots.unwrap_or_default().rank;
            let what = format!("swag_rank: {rank} vectors of {n} parameters (choose fewer)");
            return memory::probe::<f32>(rank.saturating_mul(n), &what);
        }
        if self.method == GaussianMethod::Snapshots {
            let states = usize::try_from(self.states.unwrap_or(STATES)).unwrap_or(usize::MAX);
            let what = format!("num_samples: {states} states of {n} parameters (choose fewer)");
            return memory::probe::<f32>(states.saturating_mul(n), &what);
        }
        let numbers = match (self.fits_head(), self.laplace_structure) {
            (true, CovarianceStructure::LastLayerFull) => {
                (v * v.saturating_sub(1) / 2) * (c * (c + 1) / 2)
            }
            (true, CovarianceStructure::LastLayerKfac) => v * v + c * c,
            _ => return Ok(()),
        };
        let what = format!(
            "laplace_structure: {:?} of {v} by {c}, {numbers} numbers of 8 bytes (choose a smaller structure)",
            self.laplace_structure
        );
        memory::probe::<f64>(usize::try_from(numbers).unwrap_or(usize::MAX), &what)
    }

    /// Returns the approximation of the curvature that EKF or Laplace takes.
    pub(super) fn labels(&self) -> CurvatureKind {
        match self.method {
            GaussianMethod::Ekf => self.ekf_labels,
            _ => self.laplace_labels,
        }
    }

    /// Returns how many gradients a step takes.
    pub fn gradients_per_step(&self) -> u64 {
        match self.method {
            GaussianMethod::Vi | GaussianMethod::Ivon => self.vi_n_samples.into(),
            // The squares of other labels than the data's have a pass of their own.
            GaussianMethod::Ekf if !self.ekf_labels.is_empirical() => 2,
            _ => 1,
        }
    }

    /// Returns the number of a draw among those of all fits of the seed.
    pub(super) fn numbered(&self, index: u64) -> u64 {
        // No fit gives 2^32 draws, and no step has so many.
        index.wrapping_add(u64::from(self.chain) << 32)
    }

    /// Returns how often EKF counts a step's mean observation, divided by T.
    pub fn ekf_rate(&self) -> f64 {
        let rate = match self.learning_rate {
            // All of the data, spread over the steps: each step's mean counts for its share of them.
            0.0 => self.share(),
            rate => rate,
        };
        rate / self.temperature
    }

    pub(super) fn vi(&self) -> ViConfig {
        ViConfig {
            lr: self.learning_rate,
            temperature: self.temperature,
            draws: self.vi_n_samples,
            stick_the_landing: self.stick_the_landing,
            seed: self.seed,
            chain: self.chain,
        }
    }

    pub(super) fn ivon(&self) -> IvonConfig {
        IvonConfig {
            lr: self.learning_rate,
            decay: self.ivon_decay.unwrap_or(IVON_DECAY),
            temperature: self.temperature,
            observations: self.observations,
            draws: self.vi_n_samples,
            seed: self.seed,
            chain: self.chain,
        }
    }

    pub(super) fn ema(&self) -> EmaConfig {
        EmaConfig {
            lr: self.learning_rate,
            observations: self.observations,
            decay: self.ema_decay.unwrap_or(EMA_DECAY),
        }
    }

    pub(super) fn snapshots(&self) -> SnapshotsConfig {
        SnapshotsConfig {
            lr: self.learning_rate,
            observations: self.observations,
            steps: self.steps,
            states: self.states.unwrap_or(STATES),
        }
    }

    pub(super) fn swag(&self) -> SwagConfig {
        let SwagSnapshots { every, rank } = self.snapshots.unwrap_or_default();
        SwagConfig {
            lr: self.learning_rate,
            observations: self.observations,
            every,
            rank,
        }
    }
}
