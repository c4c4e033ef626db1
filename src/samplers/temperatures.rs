//! The temperature of each tensor while a chain samples, taken every few steps.
//!
//! For a tensor of d parameters: kinetic, the mean of m^2 / M' over its momenta, and configurational, minus the mean of
//! (theta - theta_0) * grad with theta_0 the chain's start. In equilibrium at T both have expectation T (equipartition, and integration by
//! parts), coordinate by coordinate, so every tensor must show T by itself; a mean over all parameters can hide a hot tensor behind a cold one.
//!
//! What they are *exactly* in equilibrium, step size and all, is known on a Gaussian: BAOA's are both T there if the gradient has no noise.
//! Other methods are off by their discretisation, a batch's gradient noise heats any of them, and where the target is no Gaussian the
//! step's error has no closed form. The configurational one is near 0 at the start and takes as long as the tensor's slowest direction to
//! arrive.

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
    values: Vec<f64>,        // (2, ranges): kinetic, configurational
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

    /// Goes on from what [`Temperatures::count`] and [`Temperatures::state`] gave, of a chain that had made `sampled` sampling steps.
    ///
    /// # Errors
    /// Returns the errors of [`Temperatures::new`] and [`BatchMeans::restore`], and [`Error::OutOfRange`] when they were taken more often than there were steps.
    pub fn restore(
        every: u64,
        ranges: Vec<Range<usize>>,
        sampled: u64,
        (count, state): (u64, &[f64]),
    ) -> Result<Self> {
        if count > sampled {
            let expected = format!("at most {sampled}, the sampling steps made");
            return Err(Error::out_of_range(
                "count of temperatures",
                expected,
                count,
            ));
        }
        let means = BatchMeans::restore(2 * ranges.len(), count, state)?;
        Self::with_means(every, ranges, means)
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
            values: memory::zeros(2 * ranges.len(), "temperatures")?,
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
    /// When the ranges or the gradient do not fit the chain.
    pub fn read<V: Vectors>(&mut self, sampler: &Sampler<V>, grad: &V::Vector) -> Result<()> {
        sampler.range_moments(grad, &self.ranges, &mut self.sums)?;
        let (kinetic, configurational) = self.values.split_at_mut(self.ranges.len());
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
        self.means.get(self.ranges.len() + i)
    }
}
