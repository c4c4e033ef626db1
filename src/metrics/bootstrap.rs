//! Whether one model predicts better than another: a paired block bootstrap over per-token losses.

use super::quantiles::student_t;
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Stream, StreamTag};

/// The default block, in tokens: longer than the context that neighbouring losses share.
pub const DEFAULT_BLOCK: usize = 256;

/// The normal's 97.5 % point.
const NORMAL_97_5: f64 = 1.959_963_984_540_054;

/// A mean difference and its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedDifference {
    /// The mean of a - b; below 0 if `a` has the smaller loss.
    pub mean: f64,
    /// The standard error of `mean`.
    pub std_error: f64,
    /// `mean` / `std_error`: about standard normal if there is no difference; 0 where `mean` is 0.
    pub z: f64,
    /// The lower end of the 95 % interval, by Student's t for few blocks.
    pub low: f64,
    /// The upper end of the 95 % interval.
    pub high: f64,
}

/// Compares two series of losses for the same tokens in the order of the text, such as the nats per token of an averaged prediction and of
/// a single model.
///
/// Losses of neighbouring tokens depend on each other, so whole blocks of `block` tokens are drawn, from anywhere in the series closed to a
/// ring (circular block bootstrap; Politis and Romano 1992, "A circular block-resampling procedure for stationary data"), until there are N
/// tokens. The variance comes out too small by a fraction of about sum |k| rho_k / (`block` sum rho_k) over all lags k, where rho is the
/// differences' autocorrelation: a block should be many times longer than the dependence, and fit many times into the series.
///
/// Differs from the paper: deviations from the mean are scaled by sqrt(N / (N - `block`)), which makes the variance
/// unbiased for independent losses. Without it few blocks look surer than they are: by sqrt(2) for two. The interval's ends are moreover widened from the
/// mean by what Student's t with N / `block` - 1 degrees of freedom has over the normal: few blocks know their own spread badly.
///
/// # Errors
/// Returns [`Error::Shape`] if the lengths differ; [`Error::OutOfRange`] if `block` is 0, if the series is shorter than two
/// blocks, if `n_resamples` is below 2, or if a loss is not finite (with its position, from 0).
pub fn paired_block_bootstrap(
    a: &[f64],
    b: &[f64],
    block: usize,
    n_resamples: usize,
    seed: u64,
) -> Result<PairedDifference> {
    let n = a.len();
    if b.len() != n {
        return Err(Error::shape("second series of losses", n, b.len()));
    }
    if block == 0 || n / block < 2 {
        let expected = format!("1 to {}, so that {n} tokens hold two blocks", n / 2);
        return Err(Error::out_of_range("bootstrap block", expected, block));
    }
    if n_resamples < 2 {
        return Err(Error::out_of_range(
            "bootstrap resamples",
            "at least 2",
            n_resamples,
        ));
    }
    let mut deviations = super::room("bootstrap resamples", n_resamples)?;
    let difference = differences(a, b)?;
    let mean = difference.iter().sum::<f64>() / n as f64;

    // Prefix sums of the deviations over the ring's first lap and the block that may run into the second.
    let mut prefix: Vec<f64> = memory::room(n + block + 1, "sums of differences")?;
    prefix.push(0.0);
    let mut sum = 0.0;
    for i in 0..n + block {
        sum += difference[i % n] - mean;
        prefix.push(sum);
    }
    let stream = Stream::new(seed, StreamTag::Bootstrap, 0);
    let scale = (n as f64 / (n - block) as f64).sqrt() / n as f64;
    deviations.extend((0..n_resamples as u64).map(|resample| {
        let mut total = 0.0;
        for (draw, taken) in (0..n).step_by(block).enumerate() {
            let start = stream.below(n as u64, resample, draw as u64) as usize;
            total += prefix[start + block.min(n - taken)] - prefix[start];
        }
        total * scale
    }));
    let centre = deviations.iter().sum::<f64>() / n_resamples as f64;
    let squares: f64 = deviations.iter().map(|d| (d - centre) * (d - centre)).sum();
    let std_error = (squares / (n_resamples - 1) as f64).sqrt();
    deviations.sort_unstable_by(f64::total_cmp);
    let wider = student_t(0.975, n as f64 / block as f64 - 1.0) / NORMAL_97_5;
    Ok(PairedDifference {
        mean,
        std_error,
        z: if mean == 0.0 { 0.0 } else { mean / std_error },
        low: mean + wider * quantile(&deviations, 0.025),
        high: mean + wider * quantile(&deviations, 0.975),
    })
}

/// Returns a - b.
fn differences(a: &[f64], b: &[f64]) -> Result<Vec<f64>> {
    let difference = a.iter().zip(b).map(|(a, b)| a - b);
    let difference: Vec<f64> = memory::collect(difference, "differences")?;
    match difference.iter().position(|d| !d.is_finite()) {
        None => Ok(difference),
        Some(at) => Err(Error::out_of_range(
            format!("losses of token {at}"),
            "finite numbers",
            format!("{} and {}", a[at], b[at]),
        )),
    }
}

/// Returns the q-quantile of one or more values in ascending order, linear between neighbours (Hyndman and Fan 1996, type 7).
pub(super) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + at.fract() * (above - below)
}
