//! The temperature of each tensor while a chain samples, taken every few steps.
//!
//! For a tensor of d parameters: kinetic, the mean of m^2 / M' over its momenta, and configurational, minus the mean of
//! (theta - theta_0) * grad with theta_0 the chain's start. In equilibrium at T both have expectation T (equipartition, and integration by
//! parts), coordinate by coordinate, so every tensor must show T by itself; a mean over all parameters can hide a hot tensor behind a cold one.
//!
//! What they are *exactly* in equilibrium, step size and all, is known on a Gaussian: BAOA's are both T there if the gradient has no noise.
//! Other methods are off by their discretisation, a batch's gradient noise heats any of them, and where the target is no Gaussian the
//! step's error has no closed form. The configurational one is near 0 at the start and takes as long as the tensor's slowest direction to
//! arrive. Where each tensor has a thermostat, its friction xi is taken too.

use super::{RunningMean, Sampler};
use crate::backend::Vectors;
use crate::backend::vectors::RangeMoments;
use crate::batch_means::BatchMeans;
use crate::error::{Error, Result};
use crate::memory;
use std::ops::Range;

/// Running temperatures of ranges of the parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Temperatures {
    every: u64,
    ranges: Vec<Range<usize>>,
    sums: Vec<RangeMoments>, // (ranges)
    values: Vec<f64>,        // (2 or 3, ranges): kinetic, configurational, friction
    means: BatchMeans,
}

impl Temperatures {
    /// Creates an estimator for `ranges`, none of them empty, read at every `every`-th sampling step.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when `every` is 0 or a range is empty.
    pub fn new(every: u64, ranges: Vec<Range<usize>>) -> Result<Self> {
        let width = 2 * ranges.len();
        Self::with_means(every, ranges, BatchMeans::try_new(width)?)
    }

    /// Creates an estimator as [`Temperatures::new`] does, for ranges that have a thermostat each, of whose friction it also takes the mean.
    ///
    /// # Errors
    /// Returns the errors of [`Temperatures::new`].
    pub fn with_frictions(every: u64, ranges: Vec<Range<usize>>) -> Result<Self> {
        let width = 3 * ranges.len();
        Self::with_means(every, ranges, BatchMeans::try_new(width)?)
    }

    /// Returns one of the same ranges that goes on from what [`Temperatures::count`] and [`Temperatures::state`] gave, of a chain that had made `sampled`
    /// sampling steps.
    ///
    /// # Errors
    /// Returns the errors of [`BatchMeans::restore`], and [`Error::OutOfRange`] when they were taken more often than there were steps.
    pub fn restore(&self, sampled: u64, (count, state): (u64, &[f64])) -> Result<Self> {
        if count > sampled {
            let expected = format!("at most {sampled}, the sampling steps made");
            return Err(Error::out_of_range(
                "count of temperatures",
                expected,
                count,
            ));
        }
        let means = BatchMeans::restore(self.values.len(), count, state)?;
        let ranges = memory::collect(self.ranges.iter().cloned(), "temperatures")?;
        Self::with_means(self.every, ranges, means)
    }

    fn with_means(every: u64, ranges: Vec<Range<usize>>, means: BatchMeans) -> Result<Self> {
        if every == 0 {
            return Err(Error::out_of_range("temperature_every", "at least 1", 0));
        }
        if let Some(r) = ranges.iter().find(|r| r.is_empty()) {
            return Err(Error::out_of_range(
                "range",
                "at least one element",
                format!("{r:?}"),
            ));
        }
        Ok(Self {
            every,
            sums: memory::zeros(ranges.len(), "temperatures")?,
            values: memory::zeros(means.width(), "temperatures")?,
            ranges,
            means,
        })
    }

    /// Returns whether the sampling step of that number, from 0, is one at which they are taken.
    pub fn due(&self, sampling_step: u64) -> bool {
        (sampling_step + 1).is_multiple_of(self.every)
    }

    /// Reads the chain as it stands, `grad` being the gradient there; [`Temperatures::keep`] makes it count. Under a schedule of the temperature
    /// what is read is on the scale of T: times T over the temperature of the step.
    ///
    /// # Errors
    /// When the ranges or the gradient do not fit the chain, or it has other thermostats than one for each range.
    pub fn read<V: Vectors>(&mut self, sampler: &Sampler<V>, grad: &V::Vector) -> Result<()> {
        sampler.range_moments(grad, &self.ranges, &mut self.sums)?;
        let n = self.ranges.len();
        let (kinetic, rest) = self.values.split_at_mut(n);
        let (configurational, frictions) = rest.split_at_mut(n);
        if !frictions.is_empty() {
            let all = sampler.thermostats();
            if all.len() != n {
                return Err(Error::shape("thermostats", [n], [all.len()]));
            }
            (frictions.iter_mut().zip(all)).for_each(|(f, t)| *f = t.xi);
        }
        let scale = sampler.temperature_scale();
        for (i, (sums, range)) in self.sums.iter().zip(&self.ranges).enumerate() {
            let d = range.len() as f64;
            kinetic[i] = scale * sums.kinetic / d;
            configurational[i] = -scale * sums.virial / d;
        }
        Ok(())
    }

    /// Counts what was read last.
    pub fn keep(&mut self) {
        self.means.push(&self.values);
    }

    /// Returns the number of ranges.
    pub fn ranges(&self) -> usize {
        self.ranges.len()
    }

    /// Returns range `i`, if there is one.
    pub fn range(&self, i: usize) -> Option<Range<usize>> {
        self.ranges.get(i).cloned()
    }

    /// Returns how often the temperatures were taken.
    pub fn count(&self) -> u64 {
        self.means.count()
    }

    /// Returns what [`Temperatures::state`] does.
    ///
    /// # Errors
    /// Returns [`Error::OutOfMemory`] where memory does not hold it.
    pub(crate) fn kept(&self) -> Result<Vec<f64>> {
        self.means.try_state()
    }

    /// Returns all that it takes to go on, beside the count.
    pub fn state(&self) -> Vec<f64> {
        self.means.state()
    }

    /// Returns the kinetic temperature of range `i`: 0 for a method without momenta. None before the first time.
    pub fn kinetic(&self, i: usize) -> Option<RunningMean> {
        (i < self.ranges.len()).then(|| self.means.get(i)).flatten()
    }

    /// Returns the configurational temperature of range `i`. None before the first time.
    pub fn configurational(&self, i: usize) -> Option<RunningMean> {
        let n = self.ranges.len();
        (i < n).then(|| self.means.get(n + i)).flatten()
    }

    /// Returns the thermostat's friction xi in range `i`. None before the first time, and where ranges have no thermostats of their own.
    pub fn friction(&self, i: usize) -> Option<RunningMean> {
        let n = self.ranges.len();
        let known = i < n && self.values.len() > 2 * n;
        known.then(|| self.means.get(2 * n + i)).flatten()
    }
}
