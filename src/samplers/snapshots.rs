//! An ensemble of an optimiser's states: points of its path at equal distances, whose predictions are averaged.
//!
//! **Target.** None: it is no approximation of a posterior, but an ensemble that costs no more than one training (Huang et al. 2017, "Snapshot ensembles:
//! train 1, get M for free"). It is here to be compared with.
//!
//! **Update.** Every step moves theta by AdamW (`adam_path`). Of S steps, K states are kept: state number i, from 1, is theta after step i S / K, rounded up.
//!
//! **Draw.** Number i is state i + 1, as it was: there are K of them.
//!
//! **Hyperparameters.** `lr` > 0, times the caller's factor of a step. `states` K, 1 to `steps`, S.
//!
//! **State.** theta, AdamW's two means, the states so far, steps. **Init.** As given.
//!
//! **Where it differs.** The paper lets the rate fall and rise in cycles, and keeps a state at the end of each; here the rate is the caller's, constant by
//! default.

use super::adam_path::{AdamPath, PathReport};
use super::observed::Observed;
use crate::backend::vectors::{Combine, Transfer, Vectors};
use crate::error::{Error, Result};
use crate::memory;

/// What messages call the states.
const STATES: &str = "an ensemble's states";

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SnapshotsConfig {
    /// AdamW's rate, > 0.
    pub lr: f64,
    /// Observations that the log posterior is of, > 0: the optimiser's loss is minus the log posterior over them.
    pub observations: f64,
    /// Steps of the whole path, S.
    pub steps: u64,
    /// States that are kept of it, K, 1 to `steps`.
    pub states: u64,
}

impl SnapshotsConfig {
    /// Returns how many states there are after `made` steps.
    pub(super) fn kept(&self, made: u64) -> usize {
        let kept = u128::from(made.min(self.steps)) * u128::from(self.states);
        (kept / u128::from(self.steps.max(1))) as usize
    }
}

/// The whole state as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotsState {
    /// Steps made.
    pub step: u64,
    /// Where the optimiser is.
    pub params: Vec<f32>,
    /// AdamW's first and second moments; empty is 0.
    pub adam: [Vec<f32>; 2],
    /// The states that are kept, one after the other.
    pub states: Vec<f32>,
}

/// An optimiser that keeps states of its path. One thread at a time.
pub struct Snapshots<V: Vectors> {
    path: AdamPath<V>,
    config: SnapshotsConfig,
    states: Vec<V::Vector>, // those kept, and room for those to come: (K)
    mean: V::Vector,        // of those kept
}

impl<V: Vectors> Snapshots<V> {
    /// Begins at `params`.
    ///
    /// # Errors
    /// When a setting is out of range, a number is not finite, or the device has no room for all states.
    pub fn new(vectors: V, params: &[f32], config: SnapshotsConfig) -> Result<Self> {
        let state = SnapshotsState {
            step: 0,
            params: memory::copy(params, "a fit's start")?,
            adam: Default::default(),
            states: Vec::new(),
        };
        Self::restore(vectors, config, &state)
    }

    /// Goes on from a saved state, bit for bit.
    ///
    /// # Errors
    /// Returns the errors of [`Snapshots::new`], and an error when there are not as many states as the steps made.
    pub fn restore(vectors: V, config: SnapshotsConfig, state: &SnapshotsState) -> Result<Self> {
        if config.states == 0 || config.states > config.steps {
            let expected = format!("1 to the {} steps", config.steps);
            return Err(Error::out_of_range("states", expected, config.states));
        }
        let (n, kept) = (state.params.len(), config.kept(state.step));
        let numbers = kept.saturating_mul(n);
        super::sampler_state::check_finite("states", &state.states, numbers)?;
        let there = state.states.chunks_exact(n.max(1)).map(|s| vectors.put(s));
        let room = (kept..config.states as usize).map(|_| vectors.zeros(n));
        let states = memory::try_collect(there.chain(room), STATES)?;
        let mut mean = vectors.zeros(n)?;
        for (before, state) in states[..kept].iter().enumerate() {
            take(&vectors, &mut mean, state, before)?;
        }
        let rates = (config.lr, config.observations);
        Ok(Self {
            path: AdamPath::restore(vectors, rates, state.step, &state.params, &state.adam)?,
            config,
            states,
            mean,
        })
    }

    /// Returns the state as plain data.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn state(&self) -> Result<SnapshotsState> {
        let (params, adam) = self.path.state()?;
        let n = params.len();
        let mut states = memory::zeros(n.saturating_mul(self.kept().len()), STATES)?;
        for (to, state) in states.chunks_exact_mut(n.max(1)).zip(self.kept()) {
            self.path.vectors().download(state, to)?;
        }
        Ok(SnapshotsState {
            step: self.path.steps_made(),
            params,
            adam,
            states,
        })
    }

    /// Takes in the gradient of the log posterior at [`Snapshots::params`], and its value: AdamW moves by its rate times `rate`, and a state that is
    /// due is kept.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with step and element for a gradient or value that is NaN or infinite, with the state as before, and for a parameter that
    /// the step made so.
    pub fn step_with_gradient(
        &mut self,
        grad: &V::Vector,
        log_post: f64,
        rate: f64,
    ) -> Result<PathReport> {
        self.step(Observed::Given { grad, log_post }, rate)
    }

    /// Does what [`Snapshots::step_with_gradient`] does.
    pub(super) fn step(&mut self, observed: Observed<'_, V>, rate: f64) -> Result<PathReport> {
        let report = self.path.step(observed, rate)?;
        self.keep(report)
    }

    fn keep(&mut self, report: PathReport) -> Result<PathReport> {
        let (before, now) = (self.config.kept(report.step), self.kept().len());
        if now > before {
            let (v, params) = (self.path.vectors(), self.path.params());
            v.combine(&mut self.states[before], Combine::Copy(params))?;
            take(v, &mut self.mean, &self.states[before], before)?;
        }
        Ok(report)
    }

    /// Returns the states that are kept so far.
    fn kept(&self) -> &[V::Vector] {
        &self.states[..self.config.kept(self.path.steps_made())]
    }

    /// Returns where the optimiser is: where the next gradient is to be taken.
    pub fn params(&self) -> &V::Vector {
        self.path.params()
    }

    /// Returns the mean of the states (stochastic weight averaging); before the first one where the optimiser is.
    pub fn mean(&self) -> &V::Vector {
        match self.kept() {
            [] => self.path.params(),
            _ => &self.mean,
        }
    }

    /// Returns the number of steps made.
    pub fn steps_made(&self) -> u64 {
        self.path.steps_made()
    }

    /// Returns the standard deviations of the states about their mean, (n_params): 0 before the second.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn sd(&self) -> Result<Vec<f32>> {
        let v = self.path.vectors();
        let mean = v.get(self.mean())?;
        let mut squares: Vec<f64> = memory::zeros(mean.len(), "a fit's spread")?;
        for state in self.kept() {
            let state = v.get(state)?;
            for ((sum, s), m) in squares.iter_mut().zip(state).zip(&mean) {
                *sum += f64::from(s - m).powi(2);
            }
        }
        let share = 1.0 / self.kept().len().max(1) as f64;
        let each = squares.iter().map(|s| (share * s).sqrt() as f32);
        memory::collect(each, "a fit's spread")
    }

    /// Returns the mean of [`Snapshots::sd`] over the parameters.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn average_sd(&self) -> Result<f64> {
        let sd = self.sd()?;
        Ok(sd.iter().map(|&s| s as f64).sum::<f64>() / sd.len() as f64)
    }

    /// Writes state number `index`, from 0, into `out`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where there are not so many states; when `out` has another length.
    pub fn draw(&self, index: u64, out: &mut V::Vector) -> Result<()> {
        let kept = self.kept();
        let state = usize::try_from(index).ok().and_then(|i| kept.get(i));
        let state = state.ok_or_else(|| {
            let expected = format!("below {}, the states that are kept so far", kept.len());
            Error::out_of_range("number of a snapshot", expected, index)
        })?;
        self.path.vectors().combine(out, Combine::Copy(state))
    }
}

/// Takes one more state into the mean of `before` of them.
fn take<V: Vectors>(v: &V, mean: &mut V::Vector, state: &V::Vector, before: usize) -> Result<()> {
    let share = 1.0 / (before + 1) as f32;
    v.combine(mean, Combine::Scale(1.0 - share))?;
    v.combine(mean, Combine::Axpy(share, state))
}
