//! The order in which windows make up batches: drawn independently, swept through, or swept forward and backward.

use super::{Batch, Windows};
use crate::error::{Error, Result};
use crate::rng::{Stream, StreamTag, philox};
use serde::{Deserialize, Serialize};

/// How the batches of a run follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Draws each batch with replacement, independently of all others.
    #[default]
    Independent,
    /// Sweeps over the data again and again: each window comes once per sweep, and each sweep has its own order.
    Sweep,
    /// Sweeps forward and then backward: w_1 … w_m w_m … w_1 (Paulin et al. 2024, "Sampling from Bayesian neural network posteriors with
    /// symmetric minibatch splitting Langevin dynamics"). To leading order the backward half undoes the effect of the gradient noise of the
    /// forward half, so its bias falls with the square of the step size.
    Symmetric,
}

/// The batches of a run as a function of (seed, chain, step).
///
/// A sweep covers the text in windows that do not overlap, cut at an offset that changes with the sweep, or it covers the windows of a
/// subset. Windows that do not fill a last batch are left out of that sweep.
#[derive(Clone, Debug)]
pub struct Batches {
    windows: Windows,
    order: Order,
    b: usize,
}

impl Batches {
    /// Creates an order of batches of `b` windows.
    ///
    /// # Errors
    /// Returns [`Error::OutOfRange`] when `b` is 0, or a sweep has fewer windows than that.
    pub fn new(windows: Windows, order: Order, b: usize) -> Result<Self> {
        let batches = Self { windows, order, b };
        let most = batches.swept();
        if b == 0 || (order != Order::Independent && b > most) {
            let expected = format!("1 to the {most} windows of a sweep");
            return Err(Error::out_of_range("batch_size", expected, b));
        }
        Ok(batches)
    }

    /// Returns the windows that batches are made of.
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// Returns the number of windows per sweep.
    fn swept(&self) -> usize {
        if self.windows.is_subset() {
            self.windows.num_windows()
        } else {
            // As many as lie side by side, and at least one.
            (self.windows.num_windows() / self.windows.window_len()).max(1)
        }
    }

    /// Returns the windows in a batch, B.
    pub fn batch_size(&self) -> usize {
        self.b
    }

    /// Returns the number of batches in one sweep over the data, for any order: windows without overlap, or a subset's, over B; at least 1.
    pub fn per_sweep(&self) -> u64 {
        (self.swept() / self.b).max(1) as u64
    }

    /// Fills the batch for a step. Does not allocate.
    ///
    /// # Errors
    /// Fails as [`Windows::fill`] does, and when the batch has another B.
    pub fn fill(
        &self,
        tokens: &[u16],
        seed: u64,
        chain: u32,
        step: u64,
        batch: &mut Batch,
    ) -> Result<()> {
        if batch.b != self.b {
            return Err(Error::shape("batch", self.b, batch.b));
        }
        if self.order == Order::Independent {
            return self.windows.fill(tokens, seed, chain, step, batch);
        }
        let m = self.per_sweep();
        let (sweep, at) = match self.order {
            Order::Symmetric => {
                let at = step % (2 * m);
                (step / (2 * m), at.min(2 * m - 1 - at))
            }
            _ => (step / m, step % m),
        };
        let stream = Stream::new(seed, StreamTag::Batch, chain);
        let (n, t) = (self.swept(), self.windows.window_len());
        // Words of a sweep: the permutation's key, then the offset, from an address that no independent draw of a run has.
        let key = stream.words(sweep, u64::MAX);
        let room = if self.windows.is_subset() {
            0
        } else {
            // What is left beside the windows, so that either end of the text comes into some sweep.
            self.windows.num_windows() - 1 - (n - 1) * t
        };
        let offset = (key[2] as u64 * (room as u64 + 1)) >> 32;
        let start = |row: usize| {
            let i = permuted(at * self.b as u64 + row as u64, n as u64, [key[0], key[1]]) as usize;
            let of_text = offset as usize + i * t;
            if self.windows.is_subset() {
                self.windows.start(i).unwrap_or(0)
            } else {
                of_text
            }
        };
        self.windows.gather(tokens, (0..self.b).map(start), batch)
    }
}

/// Returns the image of `i` under a keyed permutation of 0..n: a Feistel network of six rounds on the smallest even number of bits that
/// holds n, walked along its cycle until it is below n again (Black & Rogaway 2002, "Ciphers with arbitrary finite domains", method 2).
fn permuted(i: u64, n: u64, key: [u32; 2]) -> u64 {
    let half = (64 - (n - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half) - 1;
    let mut x = i;
    loop {
        let (mut l, mut r) = (x >> half, x & mask);
        for round in 0..6 {
            let f = philox([r as u32, round, 0, 1], key)[0] as u64;
            (l, r) = (r, l ^ (f & mask));
        }
        x = l << half | r;
        if x < n {
            return x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutations_are_permutations_and_differ() {
        for n in [1, 2, 3, 5, 16, 17, 1000, 4097] {
            let all = |key| -> Vec<u64> { (0..n).map(|i| permuted(i, n, key)).collect() };
            let (a, b) = (all([1, 2]), all([1, 3]));
            let mut sorted = a.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..n).collect::<Vec<_>>(), "{n}");
            assert_eq!(a, all([1, 2]));
            assert!(n < 16 || a != b, "{n}");
        }
    }

    #[test]
    fn every_place_is_as_likely_as_any_other() {
        // Where 3 of 0..10 goes over 20,000 keys: chi^2 of 9 degrees of freedom is beyond 50 once in 1e7.
        let mut counts = [0f64; 10];
        for k in 0..20_000 {
            counts[permuted(3, 10, [k, 7]) as usize] += 1.0;
        }
        let chi: f64 = counts
            .iter()
            .map(|c| (c - 2000.0f64).powi(2) / 2000.0)
            .sum();
        assert!(chi < 50.0, "{chi}: {counts:?}");
    }
}
