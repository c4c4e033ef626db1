//! Whether chains agree on many quantities at once, how many independent draws they are worth, and one judgement of it.

use super::Report;
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::memory;
use crate::metrics::quantiles::fisher_f;
use crate::metrics::{ChainDiagnostics, MIN_DRAWS, chain_diagnostics};
use serde::Serialize;

/// Effective draws per chain below which a mean is not called known (Vehtari et al. 2021, section 4.1: 100 per chain).
const ENOUGH: f64 = 100.0;

/// The worst and the median of a number over quantities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WorstAndMedian {
    /// The largest R-hat or error, the smallest effective size.
    pub worst: f64,
    /// The median.
    pub median: f64,
}

impl WorstAndMedian {
    fn new(values: impl Iterator<Item = f64>, largest: bool) -> Option<Self> {
        let mut v: Vec<f64> = values.collect();
        v.sort_unstable_by(f64::total_cmp);
        let n = v.len();
        let worst = if largest { v.last() } else { v.first() };
        Some(Self {
            worst: *worst?,
            median: v[(n - 1) / 2] / 2.0 + v[n / 2] / 2.0,
        })
    }

    fn over(self, by: f64) -> Self {
        Self {
            worst: self.worst / by,
            median: self.median / by,
        }
    }

    fn rows(self, meaning: &str) -> Report {
        Report::new()
            .row(
                "worst",
                self.worst,
                format!("{meaning}, the worst of all quantities"),
            )
            .row(
                "median",
                self.median,
                format!("{meaning}, the median over the quantities"),
            )
    }
}

/// What the draws cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Gradients of all chains up to the last draw, those of warm-up and of the mass among them.
    pub gradients: u64,
    /// Seconds that they took; none where that is not known.
    pub seconds: Option<f64>,
}

/// Effective sample sizes of all chains together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effective {
    /// In draws.
    pub draws: WorstAndMedian,
    /// Per gradient, those of warm-up among them.
    #[serde(rename = "a_gradient")]
    pub per_gradient: WorstAndMedian,
    /// Per second of sampling; none where the time is not known.
    #[serde(rename = "a_second")]
    pub per_second: Option<WorstAndMedian>,
}

/// Diagnostics over many quantities of one kind. Those that never changed are counted and left out of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// How many quantities there are.
    pub quantities: usize,
    /// How many of them never changed.
    pub constant: usize,
    /// R-hat.
    pub rhat: WorstAndMedian,
    /// Share of the quantities with an R-hat under 1.01.
    pub share_under_1_01: f64,
    /// Share of them under 1.05.
    pub share_under_1_05: f64,
    /// Share of them under 1.1.
    pub share_under_1_1: f64,
    /// Bulk effective sample size.
    pub ess_bulk: Effective,
    /// Tail effective sample size.
    pub ess_tail: Effective,
    /// Monte Carlo standard error of the mean over draws, in the quantity's unit (nats for log-probabilities).
    pub mcse_mean: WorstAndMedian,
}

impl Agreement {
    /// Summarises the diagnostics of every quantity; none where no quantity ever changed.
    pub fn new(each: &[ChainDiagnostics], cost: Cost) -> Option<Self> {
        let moved: Vec<&ChainDiagnostics> = each.iter().filter(|d| !d.rhat.is_nan()).collect();
        let over = |f: fn(&ChainDiagnostics) -> f64, largest| {
            WorstAndMedian::new(moved.iter().map(|d| f(d)), largest)
        };
        let under = |limit: f64| {
            moved.iter().filter(|d| d.rhat < limit).count() as f64 / moved.len() as f64
        };
        let effective = |f| -> Option<Effective> {
            let draws = over(f, false)?;
            Some(Effective {
                draws,
                per_gradient: draws.over(cost.gradients as f64),
                per_second: cost.seconds.map(|s| draws.over(s)),
            })
        };
        Some(Self {
            quantities: each.len(),
            constant: each.len() - moved.len(),
            rhat: over(|d| d.rhat, true)?,
            share_under_1_01: under(1.01),
            share_under_1_05: under(1.05),
            share_under_1_1: under(1.1),
            ess_bulk: effective(|d| d.ess_bulk)?,
            ess_tail: effective(|d| d.ess_tail)?,
            mcse_mean: over(|d| d.mcse_mean, true)?,
        })
    }

    /// Returns the numbers as lines for a person, under a heading.
    pub fn text(&self, name: &str, unit: &str) -> String {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let effective = |e: &Effective| {
            let (draws, gradient) = (e.draws, e.per_gradient);
            let mut text = format!(
                "worst {:.1}, median {:.1}; per gradient {:.2e}, {:.2e}",
                draws.worst, draws.median, gradient.worst, gradient.median
            );
            if let Some(s) = e.per_second {
                text.push_str(&format!("; per second {:.3}, {:.3}", s.worst, s.median));
            }
            text
        };
        let constant = match self.constant {
            0 => String::new(),
            n => format!(", {n} of which never changed"),
        };
        format!(
            "  {} {name}{constant}\n    R-hat      worst {:.4}, median {:.4}; under 1.01: {}, 1.05: {}, 1.1: {}\n    bulk ESS   {}\n    tail ESS   {}\n    MCSE       worst {:.2e}, median {:.2e}{unit}\n",
            self.quantities,
            self.rhat.worst,
            self.rhat.median,
            percent(self.share_under_1_01),
            percent(self.share_under_1_05),
            percent(self.share_under_1_1),
            effective(&self.ess_bulk),
            effective(&self.ess_tail),
            self.mcse_mean.worst,
            self.mcse_mean.median,
        )
    }
}

/// The draws of some quantities in one chain: (draws, quantities), the quantities of a draw side by side.
pub trait DrawTable: Sync {
    /// Returns how many numbers there are.
    fn len(&self) -> usize;

    /// Returns whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns quantity `i` of draw `draw` among `quantities`.
    fn value(&self, draw: usize, i: usize, quantities: usize) -> f64;
}

impl DrawTable for &[f32] {
    fn len(&self) -> usize {
        <[f32]>::len(self)
    }

    fn value(&self, draw: usize, i: usize, quantities: usize) -> f64 {
        self[draw * quantities + i].into()
    }
}

impl DrawTable for &[f64] {
    fn len(&self) -> usize {
        <[f64]>::len(self)
    }

    fn value(&self, draw: usize, i: usize, quantities: usize) -> f64 {
        self[draw * quantities + i]
    }
}

/// Diagnoses every one of `quantities` quantities from the first `draws` draws of each chain, several quantities at a time.
///
/// # Errors
/// Returns the errors of [`chain_diagnostics`]; [`Error::Shape`] for a chain with fewer draws.
pub fn diagnose_each<B: Backend>(
    backend: &B,
    chains: &[impl DrawTable],
    draws: usize,
    quantities: usize,
) -> Result<Vec<ChainDiagnostics>> {
    for (c, chain) in chains.iter().enumerate() {
        if chain.len() / quantities.max(1) < draws {
            let what = format!("draws of chain {c}");
            return Err(Error::shape(what, [draws, quantities], [chain.len()]));
        }
    }
    let mut out: Vec<Option<ChainDiagnostics>> =
        memory::filled(quantities, None, "the diagnostics of quantities")?;
    backend.host().each(&mut out, |i, d| {
        let of = |chain: &_| -> Result<Vec<f64>> {
            let values = 0..draws;
            let values = values.map(|draw| DrawTable::value(chain, draw, i, quantities));
            memory::collect(values, "the draws of a quantity")
        };
        let series: Vec<Vec<f64>> = chains.iter().map(of).collect::<Result<_>>()?;
        *d = Some(chain_diagnostics(&series)?);
        Ok(())
    })?;
    memory::collect(out.into_iter().flatten(), "the diagnostics of quantities")
}

/// Returns the 95 % point of R-hat for independent draws of one law: what one quantity in 20 exceeds by chance.
///
/// With m halves of n draws, R-hat^2 is 1 + (F - 1) / n with F of m - 1 and m (n - 1) degrees of freedom; the larger of two nearly independent ones is
/// reported, so F's 0.95^(1/2) point. From 10 draws on 4.5 to 6.5 % exceed it; of fewer, whose ranks are coarse, up to 6 %.
pub fn rhat_by_chance(chains: usize, draws: usize) -> f64 {
    let (m, n) = ((2 * chains) as f64, (draws / 2) as f64);
    let f = fisher_f(0.95f64.sqrt(), m - 1.0, m * (n - 1.0));
    (1.0 + (f - 1.0) / n).sqrt()
}

/// What the quantities of a judgement are called.
#[derive(Clone, Copy, Debug)]
pub struct Called {
    /// One of them.
    pub one: &'static str,
    /// Several of them.
    pub many: &'static str,
}

/// One judgement of some chains in a sentence: `of` is what their `draws` draws each say, none where nothing ever changed.
pub fn verdict(of: Option<&Agreement>, chains: usize, draws: usize, called: Called) -> String {
    let Called { one, many } = called;
    let Some(f) = of else {
        return format!("the chains have not moved: no {one} ever changed");
    };
    let mut text = agree(f, chains, called);
    if f.constant > 0 {
        text.push_str(&format!("; {} {many} never changed", f.constant));
    }
    if chains == 1 {
        text.push_str(
            "; with one chain R-hat compares its two halves and cannot see what it never visited",
        );
    }
    let chance = rhat_by_chance(chains, draws);
    if chance >= 1.01 {
        text.push_str(&format!(
            "; {draws} draws per chain are few: even independent ones would have an R-hat above {chance:.3} on one {one} in 20",
        ));
    }
    text
}

fn agree(f: &Agreement, chains: usize, Called { one, many }: Called) -> String {
    let enough = ENOUGH * chains as f64;
    let ess = f.ess_bulk.draws.worst.min(f.ess_tail.draws.worst);
    let above = 100.0 * (1.0 - f.share_under_1_05);
    match f.rhat.worst {
        r if r < 1.01 && ess >= enough => format!(
            "the chains agree on every {one}, and each is known by {ess:.0} effective draws or more"
        ),
        r if r < 1.01 => format!(
            "the chains agree on every {one}, but the worst is known by {ess:.0} effective draws alone, fewer than {enough:.0}"
        ),
        r if r < 1.05 => format!(
            "the chains nearly agree: R-hat is under 1.05 for every {one}, the worst is {r:.3}"
        ),
        r if f.share_under_1_05 >= 0.95 => format!(
            "the chains agree on most {many}, not on all: R-hat is under 1.05 for {:.1} %, the worst is {r:.3}",
            100.0 - above,
        ),
        r => format!(
            "not converged: R-hat is 1.05 or more for {above:.1} % of the {many} (worst {r:.3}); averages still depend on where the chains were \
             and when, and the MCSE understates that",
        ),
    }
}

/// Says why nothing can be said of so few draws.
pub fn too_few(draws: usize) -> String {
    format!(
        "nothing can be said: {draws} draws per chain, and R-hat needs {MIN_DRAWS}: more --sampling-steps or a smaller --probe-every records more"
    )
}

/// What some chains say of each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Every quantity's own numbers, in order.
    pub each: Vec<ChainDiagnostics>,
    /// The summary; none where no quantity ever changed.
    pub agreement: Option<Agreement>,
    /// How many chains there are.
    pub chains: usize,
    /// How many draws of each are used.
    pub draws: usize,
    /// What one quantity in 20 exceeds though all draws are independent ones of one law.
    pub rhat_by_chance: f64,
    /// One judgement, as a sentence.
    pub verdict: String,
}

/// Judges chains by the first `draws` draws of each, (draws, quantities).
///
/// # Errors
/// [`Error::OutOfRange`] without a quantity or a gradient; as [`diagnose_each`].
pub fn judge<B: Backend>(
    backend: &B,
    tables: &[impl DrawTable],
    draws: usize,
    quantities: usize,
    cost: Cost,
    called: Called,
) -> Result<Judgement> {
    if quantities == 0 {
        return Err(Error::out_of_range("quantities", "at least 1", quantities));
    }
    if cost.gradients == 0 {
        return Err(Error::out_of_range(
            "gradients",
            "at least 1",
            cost.gradients,
        ));
    }
    let (chains, each) = (
        tables.len(),
        diagnose_each(backend, tables, draws, quantities)?,
    );
    let agreement = Agreement::new(&each, cost);
    Ok(Judgement {
        verdict: verdict(agreement.as_ref(), chains, draws, called),
        rhat_by_chance: rhat_by_chance(chains, draws),
        each,
        agreement,
        chains,
        draws,
    })
}

impl From<&Judgement> for Report {
    fn from(j: &Judgement) -> Self {
        let rows = Self::new()
            .row("verdict", j.verdict.clone(), "one judgement, a sentence")
            .row(
                "rhat_by_chance",
                j.rhat_by_chance,
                "R-hat that one quantity in 20 exceeds though all draws are independent ones of one law",
            )
            .row("chains", j.chains, "how many chains there are")
            .row("draws", j.draws, "how many draws of each are used");
        match &j.agreement {
            Some(agreement) => rows.and(agreement.into()),
            None => rows,
        }
    }
}

/// What draws must have in common to be compared, as names and values, with the place where they come from.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Where the draws come from, for errors.
    pub path: std::path::PathBuf,
    /// Each name with its value as text, in the same order for all.
    pub settings: Vec<(&'static str, String)>,
}

impl Identity {
    /// Checks that another one's draws are of the same target and the same quantities.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with the first setting that differs.
    pub fn check_same(&self, other: &Self) -> Result<()> {
        for ((what, expected), (_, got)) in self.settings.iter().zip(&other.settings) {
            if expected != got {
                return Err(Error::Mismatch {
                    path: other.path.clone(),
                    what: (*what).into(),
                    expected: format!("{expected} as in {}", self.path.display()),
                    got: got.clone(),
                });
            }
        }
        Ok(())
    }
}

impl From<&ChainDiagnostics> for Report {
    fn from(d: &ChainDiagnostics) -> Self {
        Self::new()
            .row("rhat", d.rhat, "rank-normalised split R-hat; about 1 where the chains agree, NaN for a constant quantity")
            .row("ess_bulk", d.ess_bulk, "effective sample size of the middle of the distribution, draws")
            .row("ess_tail", d.ess_tail, "effective sample size of the 5 % and the 95 % quantile, the smaller of the two, draws")
            .row("ess_mean", d.ess_mean, "effective sample size of the mean, draws")
            .row("mcse_mean", d.mcse_mean, "Monte Carlo standard error of the mean, in the quantity's unit")
            .row("mean", d.mean, "mean of all draws")
            .row("sd", d.sd, "standard deviation of all draws")
            .row("q05", d.q05, "5 % quantile of all draws")
            .row("q50", d.q50, "median of all draws")
            .row("q95", d.q95, "95 % quantile of all draws")
    }
}

impl From<&Effective> for Report {
    fn from(e: &Effective) -> Self {
        let unknown = WorstAndMedian {
            worst: f64::NAN,
            median: f64::NAN,
        };
        let per_second = e.per_second.unwrap_or(unknown);
        Self::new()
            .group("draws", e.draws.rows("effective sample size, draws"))
            .group(
                "per_gradient",
                e.per_gradient.rows("effective draws per gradient"),
            )
            .group(
                "per_second",
                per_second.rows("effective draws per second; NaN where the time is not known"),
            )
    }
}

impl From<&Agreement> for Report {
    fn from(a: &Agreement) -> Self {
        Self::new()
            .row("quantities", a.quantities, "how many quantities there are")
            .row(
                "constant",
                a.constant,
                "how many of them never changed and are left out of the rest",
            )
            .group("rhat", a.rhat.rows("rank-normalised split R-hat"))
            .row(
                "share_under_1_01",
                a.share_under_1_01,
                "share of the quantities with an R-hat under 1.01",
            )
            .row(
                "share_under_1_05",
                a.share_under_1_05,
                "share of the quantities with an R-hat under 1.05",
            )
            .row(
                "share_under_1_1",
                a.share_under_1_1,
                "share of the quantities with an R-hat under 1.1",
            )
            .group("ess_bulk", Self::from(&a.ess_bulk))
            .group("ess_tail", Self::from(&a.ess_tail))
            .group(
                "mcse_mean",
                a.mcse_mean
                    .rows("Monte Carlo standard error of the mean, in the quantity's unit"),
            )
    }
}
