//! What the draws of Markov chains are worth: rank-normalised split R-hat, effective sample sizes, the Monte Carlo error of the mean.
//!
//! Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021, "Rank-normalization, folding, and localization: an improved R-hat for assessing
//! convergence of MCMC" (Bayesian Analysis 16). Choices that the paper leaves open follow ArviZ 0.23, and the numbers agree with it.

use super::bootstrap::quantile;
use crate::error::{Error, Result};
use crate::memory;

/// The fewest draws per chain: each half then has a variance.
pub const MIN_DRAWS: usize = 4;

/// The diagnostics of one quantity. With M chains of n draws each, S = M n.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ChainDiagnostics {
    /// Rank-normalised split R-hat: the larger of the values for the draws and for the folded draws. It is about 1 where the halves of all
    /// chains agree, infinite where every half is constant, at different values, and NaN for a constant quantity, of which it says nothing.
    pub rhat: f64,
    /// Effective sample size of the rank-normalised draws: how well the middle of the distribution is known.
    pub ess_bulk: f64,
    /// The smaller of the effective sample sizes of the 5 % and the 95 % quantile.
    pub ess_tail: f64,
    /// Effective sample size of the mean.
    pub ess_mean: f64,
    /// Monte Carlo standard error of the mean, in the quantity's unit: sd / sqrt(`ess_mean`). 0 for a constant quantity.
    pub mcse_mean: f64,
    /// Mean of all draws.
    pub mean: f64,
    /// Standard deviation of all draws, with the divisor S - 1.
    pub sd: f64,
    /// 5 % quantile of all draws, linear between neighbours.
    pub q05: f64,
    /// Median of all draws.
    pub q50: f64,
    /// 95 % quantile of all draws.
    pub q95: f64,
}

/// Diagnoses one scalar quantity from its draws in every chain: `chains` is M slices of n.
///
/// Each chain is cut into halves (an odd draw in the middle is left out), so a single chain has an R-hat too; it compares the beginning of
/// that chain with its end and cannot see what the chain never visited.
///
/// Effective sample sizes are at most S log10(S). With fewer than 10 draws per chain (halves of 4) no autocorrelation is estimated beyond
/// the first lag, and they equal that bound whatever the draws. For a constant quantity, whose range is below 2.3e-308, all of them are S.
///
/// Differs from ArviZ: a single chain has an R-hat (there NaN); a range below 1e-15 does not count as constant; a quantile between equal
/// draws is exactly that draw (there its last bit may be off, and with it which draws are at most the quantile).
///
/// # Errors
/// Returns [`Error::OutOfRange`] if there is no chain, if chains have fewer than [`MIN_DRAWS`] draws, or if a draw is not finite (with its chain and
/// place, from 0); [`Error::Shape`] if chains have different lengths.
pub fn chain_diagnostics<C: AsRef<[f64]>>(chains: &[C]) -> Result<ChainDiagnostics> {
    let n = check(chains)?;
    // All copies of the draws, ranks among them, that are there at once.
    memory::probe::<f64>(
        n.saturating_mul(12 * chains.len()),
        "the diagnostics of chains",
    )?;
    let mut pooled: Vec<f64> = chains.iter().flat_map(|c| c.as_ref()).copied().collect(); // (M, n)
    let s = pooled.len() as f64;
    let (low, high) = pooled
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &x| {
            (l.min(x), h.max(x))
        });
    // Halved, because the range of finite numbers need not be finite.
    let half_range = high / 2.0 - low / 2.0;
    if half_range < f64::MIN_POSITIVE / 2.0 {
        return Ok(constant(low, s));
    }

    let half = n / 2;
    let halves = split(&pooled, n); // (2 M, half)
    let (z, median) = rank_normalised(&halves);
    let folded: Vec<f64> = halves
        .iter()
        .map(|x| (x / 2.0 - median / 2.0).abs())
        .collect();
    let (z_folded, _) = rank_normalised(&folded);

    // Moments of draws near the ends of f64 would overflow; in [0, 1] they cannot, and the effective size does not change.
    let unit: Vec<f64> = pooled
        .iter()
        .map(|x| (x / 2.0 - low / 2.0) / half_range)
        .collect();
    let ess_mean = ess(&split(&unit, n), half);
    let (mean, squares) = moments(&unit);
    let sd = (squares / (s - 1.0)).sqrt();

    let chain_major = pooled.clone();
    pooled.sort_unstable_by(f64::total_cmp);
    let ess_of_quantile = |q: f64| {
        let at = quantile(&pooled, q);
        let below: Vec<f64> = chain_major
            .iter()
            .map(|&x| f64::from(u8::from(x <= at)))
            .collect();
        ess(&split(&below, n), half)
    };
    Ok(ChainDiagnostics {
        // The folded draws of two values are constant: their NaN is passed over.
        rhat: rhat(&z, half).max(rhat(&z_folded, half)),
        ess_bulk: ess(&z, half),
        ess_tail: ess_of_quantile(0.05).min(ess_of_quantile(0.95)),
        ess_mean,
        mcse_mean: half_range * (2.0 * sd / ess_mean.sqrt()),
        mean: 2.0 * (low / 2.0 + half_range * mean),
        sd: half_range * (2.0 * sd),
        q05: quantile(&pooled, 0.05),
        q50: quantile(&pooled, 0.5),
        q95: quantile(&pooled, 0.95),
    })
}

/// Returns what is said of `s` equal draws.
fn constant(at: f64, s: f64) -> ChainDiagnostics {
    ChainDiagnostics {
        rhat: f64::NAN,
        ess_bulk: s,
        ess_tail: s,
        ess_mean: s,
        mcse_mean: 0.0,
        mean: at,
        sd: 0.0,
        q05: at,
        q50: at,
        q95: at,
    }
}

/// Returns the number of draws per chain.
fn check<C: AsRef<[f64]>>(chains: &[C]) -> Result<usize> {
    let n = match chains.first() {
        Some(first) => first.as_ref().len(),
        None => return Err(Error::out_of_range("chains", "at least one", 0)),
    };
    if n < MIN_DRAWS {
        return Err(Error::out_of_range(
            "draws per chain",
            format!("at least {MIN_DRAWS}"),
            n,
        ));
    }
    for (c, chain) in chains.iter().enumerate() {
        let chain = chain.as_ref();
        if chain.len() != n {
            return Err(Error::shape(format!("draws of chain {c}"), n, chain.len()));
        }
        if let Some(i) = chain.iter().position(|x| !x.is_finite()) {
            let what = format!("draw {i} of chain {c}");
            return Err(Error::out_of_range(what, "a finite number", chain[i]));
        }
    }
    Ok(n)
}

/// Returns the first and the last half of every chain of `n` draws, one after the other.
fn split(pooled: &[f64], n: usize) -> Vec<f64> {
    let half = n / 2;
    pooled
        .chunks_exact(n)
        .flat_map(|chain| chain[..half].iter().chain(&chain[n - half..]))
        .copied()
        .collect()
}

/// Returns the normal scores of the draws, and their median. The score of a draw of rank r (ties share the mean rank) among S is
/// Phi^-1((r - 3/8) / (S + 1/4)), section 4.1 of the paper.
fn rank_normalised(x: &[f64]) -> (Vec<f64>, f64) {
    let s = x.len();
    let mut order: Vec<(f64, u32)> = x.iter().copied().zip(0..).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut z = vec![0.0; s];
    let mut first = 0;
    for tied in order.chunk_by(|a, b| a.0 == b.0) {
        // Ranks first + 1 to first + count.
        let rank = first as f64 + (tied.len() + 1) as f64 / 2.0;
        let score = normal_quantile((rank - 0.375) / (s as f64 + 0.25));
        for &(_, at) in tied {
            z[at as usize] = score;
        }
        first += tied.len();
    }
    let median = order[(s - 1) / 2].0 / 2.0 + order[s / 2].0 / 2.0;
    (z, median)
}

/// Returns Gelman and Rubin's ratio, equation 4 of the paper, of sequences of `n` that lie one after the other.
fn rhat(x: &[f64], n: usize) -> f64 {
    let (means, variances): (Vec<f64>, Vec<f64>) = x
        .chunks_exact(n)
        .map(moments)
        .map(|(mean, squares)| (mean, squares / (n - 1) as f64))
        .unzip();
    let within = variances.iter().sum::<f64>() / variances.len() as f64;
    let between = moments(&means).1 / (means.len() - 1) as f64;
    (between / within + (n - 1) as f64 / n as f64).sqrt()
}

/// Returns S / tau for sequences of `n` draws that lie one after the other, section 3.2 of the paper.
///
/// tau is Geyer's initial monotone sequence estimate (1992, "Practical Markov chain Monte Carlo"): autocorrelations are added in pairs
/// while a pair's sum is positive, and no pair counts more than the one before it.
fn ess(x: &[f64], n: usize) -> f64 {
    let s = x.len() as f64;
    let mut deviations = x.to_vec();
    let mut means = Vec::with_capacity(x.len() / n);
    for chain in deviations.chunks_exact_mut(n) {
        let mean = moments(chain).0;
        chain.iter_mut().for_each(|v| *v -= mean);
        means.push(mean);
    }
    let autocovariance = |lag: usize| -> f64 {
        let chains = deviations.chunks_exact(n);
        chains.map(|d| dot(&d[lag..], &d[..n - lag])).sum::<f64>() / s
    };
    let variance = autocovariance(0);
    let within = variance * n as f64 / (n - 1) as f64;
    let total = variance + moments(&means).1 / (means.len() - 1) as f64;
    if total == 0.0 {
        return s;
    }
    let rho = |lag: usize| 1.0 - (within - autocovariance(lag)) / total;

    let mut pairs: Vec<(f64, f64)> = Vec::new();
    let mut last = (1.0, rho(1));
    let mut lag = 2;
    while last.0 + last.1 > 0.0 && lag + 2 < n {
        pairs.push(last);
        last = (rho(lag), rho(lag + 1));
        lag += 2;
    }
    for k in 1..pairs.len() {
        let before = pairs[k - 1].0 + pairs[k - 1].1;
        if pairs[k].0 + pairs[k].1 > before {
            pairs[k] = (before / 2.0, before / 2.0);
        }
    }
    // Of the last pair, which may be the negative one, only the even lag counts, and once: less variance for chains that alternate.
    let even = if last.0 + last.1 >= 0.0 {
        last.0
    } else {
        last.0.max(0.0)
    };
    let tau = -1.0 + 2.0 * pairs.iter().map(|(a, b)| a + b).sum::<f64>() + even;
    s / tau.max(1.0 / s.log10())
}

/// Returns the mean, and the sum of squared deviations from it; exact, with a sum of 0, for equal values.
fn moments(x: &[f64]) -> (f64, f64) {
    if x.iter().all(|v| *v == x[0]) {
        return (x[0], 0.0);
    }
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    (mean, x.iter().map(|v| (v - mean) * (v - mean)).sum())
}

/// Returns the inner product in eight running sums, which compilers vectorise.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// Returns Phi^-1(p) for p in (1e-11, 1 - 1e-11), to 1e-15 of its value: the first two branches of Wichura 1988, algorithm AS 241 (PPND16).
/// Ranks of up to 4e10 draws stay in that range.
fn normal_quantile(p: f64) -> f64 {
    let poly = |c: &[f64; 8], x: f64| c.iter().rev().fold(0.0, |sum, c| sum * x + c);
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * poly(&CENTRE.0, r) / poly(&CENTRE.1, r);
    }
    let r = (-p.min(1.0 - p).ln()).sqrt() - 1.6;
    (poly(&TAIL.0, r) / poly(&TAIL.1, r)).copysign(q)
}

/// Numerator and denominator for |p - 1/2| <= 0.425, constant term first.
const CENTRE: ([f64; 8], [f64; 8]) = (
    [
        3.387_132_872_796_366_5,
        133.141_667_891_784_38,
        1_971.590_950_306_551_3,
        13_731.693_765_509_46,
        45_921.953_931_549_87,
        67_265.770_927_008_7,
        33_430.575_583_588_13,
        2_509.080_928_730_122_7,
    ],
    [
        1.0,
        42.313_330_701_600_91,
        687.187_007_492_057_9,
        5_394.196_021_424_751,
        21_213.794_301_586_597,
        39_307.895_800_092_71,
        28_729.085_735_721_943,
        5_226.495_278_852_854,
    ],
);

/// Numerator and denominator elsewhere, in sqrt(-ln min(p, 1 - p)) - 1.6, constant term first.
const TAIL: ([f64; 8], [f64; 8]) = (
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        0.241_780_725_177_450_6,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        0.689_767_334_985_1,
        0.148_103_976_427_480_08,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ],
);
