//! Means of a stream of numbers with their deviations and standard errors, in room that does not grow with the stream.
//!
//! The standard error is that of batch means: the stream is cut into batches of equal length, and the spread of their means is taken for
//! independent. It counts autocorrelation up to a batch's length, and is too small where that reaches further. Whenever 40 batches are full they
//! are merged in pairs, so 20 to 40 stand for a stream of any length.

use crate::error::{Error, Result};
use crate::memory;

/// The most batches that are kept.
const MOST: usize = 40;
/// The most values that a stream is taken up with: f64 counts them one by one.
const MOST_VALUES: u64 = 1 << 53;
/// The fewest that a standard error is taken from.
const FEWEST: u64 = 10;

/// Running means of `width` numbers that come together.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchMeans {
    width: usize,
    count: u64,
    mean: Vec<f64>,    // (width)
    squares: Vec<f64>, // (width), sums of squared deviations from the mean
    sums: Vec<f64>,    // (batches, width), the last may be unfinished
}

/// What is known of one of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct RunningMean {
    /// The mean.
    pub mean: f64,
    /// Standard deviation of one value; none with fewer than 2.
    pub sd: Option<f64>,
    /// Standard error of the mean from batch means; none with fewer than 10 values.
    pub std_error: Option<f64>,
}

impl BatchMeans {
    /// Nothing yet.
    ///
    /// # Panics
    /// Where memory does not hold them; [`BatchMeans::try_new`] returns an error.
    pub fn new(width: usize) -> Self {
        Self::try_new(width).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Nothing yet.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where memory does not hold them.
    pub fn try_new(width: usize) -> Result<Self> {
        let what = format!("the running means of {width} numbers");
        Ok(Self {
            width,
            count: 0,
            mean: memory::zeros(width, &what)?,
            squares: memory::zeros(width, &what)?,
            // All that there will ever be: taking a value in allocates nothing.
            sums: memory::room(width.saturating_mul(MOST), &what)?,
        })
    }

    /// From what [`BatchMeans::state`] gave.
    ///
    /// # Errors
    /// [`Error::Shape`] when `state` is not as long as `count` values of `width` numbers make it; [`Error::OutOfRange`] when `count` is above 2^53,
    /// a number is not finite, or a sum of squares is below 0.
    pub fn restore(width: usize, count: u64, state: &[f64]) -> Result<Self> {
        if count > MOST_VALUES {
            let expected = format!("at most {MOST_VALUES}");
            return Err(Error::out_of_range(
                "count of running means",
                expected,
                count,
            ));
        }
        let batches = count.div_ceil(size(count)) as usize;
        let expected = (2 + batches) * width;
        if state.len() != expected {
            return Err(Error::shape("running means", [expected], [state.len()]));
        }
        if let Some(at) = state.iter().position(|v| !v.is_finite()) {
            let what = format!("running means[{at}]");
            return Err(Error::out_of_range(what, "a finite number", state[at]));
        }
        let squares = state[width..2 * width].iter();
        if let Some((i, v)) = squares.enumerate().find(|(_, v)| **v < 0.0) {
            let what = format!("running means[{}]", width + i);
            let expected = "a sum of squares, 0 or more";
            return Err(Error::out_of_range(what, expected, v));
        }
        let mut all = Self::try_new(width)?;
        all.count = count;
        all.mean.copy_from_slice(&state[..width]);
        all.squares.copy_from_slice(&state[width..2 * width]);
        all.sums.extend_from_slice(&state[2 * width..]);
        Ok(all)
    }

    /// Returns how many numbers come together.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// All that it takes to go on, beside [`BatchMeans::count`]: means, sums of squared deviations, the batches' sums.
    ///
    /// # Panics
    /// Where memory does not hold it; [`BatchMeans::try_state`] returns an error.
    pub fn state(&self) -> Vec<f64> {
        self.try_state().unwrap_or_else(|e| panic!("{e}"))
    }

    /// What [`BatchMeans::state`] gives.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where memory does not hold it.
    pub fn try_state(&self) -> Result<Vec<f64>> {
        let parts = [&self.mean, &self.squares, &self.sums];
        let n = parts.iter().map(|p| p.len()).sum();
        let mut all = memory::room(n, "running means")?;
        parts.iter().for_each(|p| all.extend_from_slice(p));
        Ok(all)
    }

    /// How many values came.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes in one value of each number.
    ///
    /// # Panics
    /// When `x` is not `width` long.
    pub fn push(&mut self, x: &[f64]) {
        let w = self.width;
        assert_eq!(x.len(), w, "one value of each number");
        if self.count == MOST as u64 * size(self.count) {
            for b in 0..MOST / 2 {
                for i in 0..w {
                    self.sums[b * w + i] =
                        self.sums[2 * b * w + i] + self.sums[(2 * b + 1) * w + i];
                }
            }
            self.sums.truncate(MOST / 2 * w);
        }
        self.count += 1;
        if (self.count - 1).is_multiple_of(size(self.count)) {
            self.sums.resize(self.sums.len() + w, 0.0);
        }
        let last = self.sums.len() - w;
        for (i, &x) in x.iter().enumerate() {
            self.sums[last + i] += x;
            // Welford 1962: no difference of large sums.
            let from_old = x - self.mean[i];
            self.mean[i] += from_old / self.count as f64;
            self.squares[i] += from_old * (x - self.mean[i]);
        }
    }

    /// What is known of number `i`; none before the first value.
    pub fn get(&self, i: usize) -> Option<RunningMean> {
        if i >= self.width || self.count == 0 {
            return None;
        }
        let n = self.count as f64;
        Some(RunningMean {
            mean: self.mean[i],
            sd: (self.count > 1).then(|| (self.squares[i] / (n - 1.0)).sqrt()),
            std_error: self.std_error(i),
        })
    }

    fn std_error(&self, i: usize) -> Option<f64> {
        let size = size(self.count);
        let full = self.count / size;
        let each = || {
            self.sums
                .chunks(self.width)
                .take(full as usize)
                .map(|b| b[i] / size as f64)
        };
        let (b, mean) = (full as f64, each().sum::<f64>() / full as f64);
        let between: f64 = each().map(|m| (m - mean).powi(2)).sum();
        (full >= FEWEST).then(|| (between / (b * (b - 1.0))).sqrt())
    }
}

/// Values a batch after `count` values: the smallest power of 2 with which at most [`MOST`] batches hold them.
fn size(count: u64) -> u64 {
    count.div_ceil(MOST as u64).max(1).next_power_of_two()
}
