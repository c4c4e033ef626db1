//! SWAG: a normal around the average of an optimiser's path, with a diagonal and a low-rank part of its covariance.
//!
//! **Target.** None in closed form: the path of AdamW at a constant rate wanders about in the basin that it has found, and the normal has the mean and the
//! covariance of points of that path (Maddox et al. 2019, "A simple baseline for Bayesian uncertainty in deep learning", algorithm 1). Fits of several
//! chains make MultiSWAG (Wilson & Izmailov 2020).
//!
//! **Update.** Every step moves theta by AdamW (`adam_path`). Every `every` steps theta
//! is a snapshot, number n = 1, 2, …:
//!
//! ```text
//! d = theta - mean
//! mean += d / n,  squares += (1 - 1 / n) d^2
//! theta - mean is a column of D, in the place of the oldest where there are `rank` of them (none for n = 1, which is its mean)
//! ```
//!
//! **Draw.** With K the columns of D and z1 (d), z2 (K) standard normals,
//!
//! ```text
//! mean + sqrt(T / 2) sqrt(squares / n) z1 + sqrt(T / (2 (K - 1))) D z2
//! ```
//!
//! **Hyperparameters.** `lr` > 0, times the caller's factor of a step; `every` >= 1. `rank` >= 2. `temperature` T > 0 multiplies
//! the covariance; 1 is the paper's, and the path does not depend on it.
//!
//! **State.** theta, AdamW's two means, mean, squares, D, steps. **Init.** As given.
//!
//! **Where it differs.** The paper moves by SGD and counts the start as a snapshot. It keeps the mean of the squares, from which small variances
//! cannot be told in f32; the sums here are of squared distances (Welford 1962) and equal it but for rounding.

use super::adam_path::{AdamPath, PathReport};
use super::observed::Observed;
use crate::backend::vectors::{Combine, Noise, StdDev, Transfer, Vectors};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Stream, StreamTag};

/// What messages call the columns.
const COLUMNS: &str = "swag's deviations";

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SwagConfig {
    /// AdamW's rate, > 0.
    pub lr: f64,
    /// Observations that the log posterior is of, > 0: the optimiser's loss is minus the log posterior over them.
    pub observations: f64,
    /// Steps between two snapshots, at least 1.
    pub every: u64,
    /// The most columns that are kept, at least 2.
    pub rank: usize,
}

impl SwagConfig {
    /// Returns how many snapshots there are after `steps` steps, and how many columns.
    pub(super) fn collected(&self, steps: u64) -> (u64, usize) {
        let snapshots = steps / self.every.max(1);
        let columns = snapshots.saturating_sub(1).min(self.rank as u64);
        (snapshots, columns as usize)
    }
}

/// The whole state as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct SwagState {
    /// Steps made.
    pub step: u64,
    /// Where the optimiser is.
    pub params: Vec<f32>,
    /// AdamW's first and second moments; empty is 0.
    pub adam: [Vec<f32>; 2],
    /// Mean of the snapshots.
    pub mean: Vec<f32>,
    /// Sums of their squared distances from it.
    pub squares: Vec<f32>,
    /// The columns of D, one after the other, (K, d): column i of n takes place i mod `rank`.
    pub deviations: Vec<f32>,
}

/// A fit by SWAG. One thread at a time.
pub struct Swag<V: Vectors> {
    path: AdamPath<V>,
    config: SwagConfig,
    mean: V::Vector,
    squares: V::Vector,
    columns: Vec<V::Vector>, // of D, and room for those to come: (rank)
    room: V::Vector,
}

impl<V: Vectors> Swag<V> {
    /// Begins at `params`.
    ///
    /// # Errors
    /// When a setting is out of range, or a number is not finite.
    pub fn new(vectors: V, params: &[f32], config: SwagConfig) -> Result<Self> {
        let n = params.len();
        let state = SwagState {
            step: 0,
            params: memory::copy(params, "a fit's start")?,
            adam: Default::default(),
            mean: memory::zeros(n, "a fit's mean")?,
            squares: memory::zeros(n, "a fit's spread")?,
            deviations: Vec::new(),
        };
        Self::restore(vectors, config, &state)
    }

    /// Goes on from a saved state, bit for bit.
    ///
    /// # Errors
    /// Returns the errors of [`Swag::new`], and an error when there are not as many columns as the steps made.
    pub fn restore(vectors: V, config: SwagConfig, state: &SwagState) -> Result<Self> {
        if config.every == 0 {
            return Err(Error::out_of_range("every", "at least 1", 0));
        }
        if config.rank < 2 {
            return Err(Error::out_of_range("rank", "at least 2", config.rank));
        }
        let n = state.params.len();
        super::sampler_state::check_finite("mean", &state.mean, n)?;
        let what = "0 or a positive number";
        super::sampler_state::check("squares", &state.squares, n, what, |s| {
            s >= 0.0 && s.is_finite()
        })?;
        let (_, columns) = config.collected(state.step);
        super::sampler_state::check_finite(
            "deviations",
            &state.deviations,
            columns.saturating_mul(n),
        )?;
        let there = state.deviations.chunks_exact(n.max(1));
        let columns = there.map(|column| vectors.put(column));
        let room = (columns.len()..config.rank).map(|_| vectors.zeros(n));
        let rates = (config.lr, config.observations);
        Ok(Self {
            config,
            mean: vectors.put(&state.mean)?,
            squares: vectors.put(&state.squares)?,
            columns: memory::try_collect(columns.chain(room), COLUMNS)?,
            room: vectors.zeros(n)?,
            path: AdamPath::restore(vectors, rates, state.step, &state.params, &state.adam)?,
        })
    }

    /// Returns the state as plain data.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn state(&self) -> Result<SwagState> {
        let v = self.path.vectors();
        let (params, adam) = self.path.state()?;
        let n = params.len();
        let mut deviations = memory::zeros(n.saturating_mul(self.columns().len()), COLUMNS)?;
        for (to, column) in deviations.chunks_exact_mut(n.max(1)).zip(self.columns()) {
            v.download(column, to)?;
        }
        Ok(SwagState {
            step: self.path.steps_made(),
            params,
            adam,
            mean: v.get(&self.mean)?,
            squares: v.get(&self.squares)?,
            deviations,
        })
    }

    /// Takes in the gradient of the log posterior at [`Swag::params`], and its value: AdamW moves by its rate times `rate`, and every so often takes a
    /// snapshot.
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

    /// Does what [`Swag::step_with_gradient`] does.
    pub(super) fn step(&mut self, observed: Observed<'_, V>, rate: f64) -> Result<PathReport> {
        let report = self.path.step(observed, rate)?;
        self.look(report)
    }

    /// Takes a snapshot where one is due.
    fn look(&mut self, report: PathReport) -> Result<PathReport> {
        if (report.step + 1).is_multiple_of(self.config.every) {
            self.take_snapshot()?;
        }
        Ok(report)
    }

    /// Takes the parameters into mean, squares and columns.
    fn take_snapshot(&mut self) -> Result<()> {
        let (v, room, params) = (self.path.vectors(), &mut self.room, self.path.params());
        let (snapshots, _) = self.config.collected(self.path.steps_made());
        let share = 1.0 / snapshots as f64;
        v.combine(room, Combine::Copy(params))?;
        v.combine(room, Combine::Axpy(-1.0, &self.mean))?;
        v.combine(&mut self.mean, Combine::Axpy(share as f32, room))?;
        if snapshots == 1 {
            return Ok(());
        }
        v.combine(room, Combine::Scale((1.0 - share).sqrt() as f32))?;
        v.combine(&mut self.squares, Combine::AddSquares(room))?;
        let place = ((snapshots - 2) % self.config.rank as u64) as usize;
        let column = &mut self.columns[place];
        v.combine(column, Combine::Copy(params))?;
        v.combine(column, Combine::Axpy(-1.0, &self.mean))
    }

    /// Returns where the optimiser is: where the next gradient is to be taken.
    pub fn params(&self) -> &V::Vector {
        self.path.params()
    }

    /// Returns the mean of the snapshots; before the first one where the optimiser is.
    pub fn mean(&self) -> &V::Vector {
        match self.config.collected(self.path.steps_made()).0 {
            0 => self.path.params(),
            _ => &self.mean,
        }
    }

    /// Returns the number of steps made.
    pub fn steps_made(&self) -> u64 {
        self.path.steps_made()
    }

    /// Returns the columns of D that there are.
    fn columns(&self) -> &[V::Vector] {
        &self.columns[..self.config.collected(self.path.steps_made()).1]
    }

    /// Returns the factor of D z2 in a draw: 0 where there are too few columns for a covariance.
    fn low_rank(&self, temperature: f64) -> f64 {
        match self.columns().len() {
            0 | 1 => 0.0,
            k => (temperature / (2.0 * (k as f64 - 1.0))).sqrt(),
        }
    }

    /// Returns the standard deviations of the diagonal part.
    fn diagonal(&self, temperature: f64) -> Result<Vec<f32>> {
        let (snapshots, _) = self.config.collected(self.path.steps_made());
        let share = temperature / (2.0 * snapshots.max(1) as f64);
        let mut sd = self.path.vectors().get(&self.squares)?;
        sd.iter_mut()
            .for_each(|s| *s = (share * *s as f64).sqrt() as f32);
        Ok(sd)
    }

    /// Returns the standard deviations of a draw's parameters, (d), both parts together: 0 before the second snapshot.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn sd(&self, temperature: f64) -> Result<Vec<f32>> {
        let mut sd = self.diagonal(temperature)?;
        let mut variance: Vec<f64> =
            memory::collect(sd.iter().map(|&s| (s as f64).powi(2)), "a fit's spread")?;
        let factor = self.low_rank(temperature).powi(2);
        for column in self.columns() {
            let column = self.path.vectors().get(column)?;
            for (v, d) in variance.iter_mut().zip(column) {
                *v += factor * (d as f64).powi(2);
            }
        }
        sd.iter_mut()
            .zip(variance)
            .for_each(|(s, v)| *s = v.sqrt() as f32);
        Ok(sd)
    }

    /// Returns the mean of [`Swag::sd`] over the parameters.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn average_sd(&self, temperature: f64) -> Result<f64> {
        let sd = self.sd(temperature)?;
        Ok(sd.iter().map(|&s| s as f64).sum::<f64>() / sd.len() as f64)
    }

    /// Writes draw number `index` of `seed` into `out`.
    ///
    /// # Errors
    /// When `out` has another length, or the device has no room for one more vector.
    pub fn draw(&self, temperature: f64, seed: u64, index: u64, out: &mut V::Vector) -> Result<()> {
        let v = self.path.vectors();
        let noise = Noise::Counter {
            stream: Stream::new(seed, StreamTag::Posterior, 0),
            step: index,
        };
        let sd = v.put(&self.diagonal(temperature)?)?;
        v.gaussian_point(out, self.mean(), StdDev::Sd(&sd), noise)?;
        let mut z = memory::zeros(self.columns().len(), COLUMNS)?; // (K)
        Stream::new(seed, StreamTag::Posterior, 1).fill_normal(index, &mut z);
        let factor = self.low_rank(temperature);
        for (z, column) in z.iter().zip(self.columns()) {
            v.combine(out, Combine::Axpy((factor * *z as f64) as f32, column))?;
        }
        Ok(())
    }
}
