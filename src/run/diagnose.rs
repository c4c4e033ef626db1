//! `bnn diagnose`: whether the chains of one or several runs agree on what they predict, and what their draws are worth.

use super::config::Config;
use super::draws::{self, Draws};
use super::folder::RunFolder;
use super::hex;
use crate::backend::Cpu;
use crate::backend::ops::ActivationOps;
use crate::error::{Error, Result};
use crate::metrics::{ChainDiagnostics, MIN_DRAWS, PROJECTIONS, chain_diagnostics};
use crate::samplers::Preconditioner;
use crate::store::{Kind, Reader};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Effective draws a chain below which a mean is not called known (Vehtari et al. 2021, section 4.1: 100 a chain).
const ENOUGH: f64 = 100.0;

/// One chain's draws as its file has them.
#[derive(Clone, Debug)]
pub struct ChainDraws {
    /// The chain's file.
    pub path: PathBuf,
    /// What the probes recorded.
    pub draws: Draws,
    /// The batch's mean log-likelihood in nats, a value a draw: of the step that led to it.
    pub log_lik: Vec<f64>,
    /// The log prior without its constant, at the same places.
    pub log_prior: Vec<f64>,
    /// Kinetic temperature after these steps; empty without momenta.
    pub kinetic: Vec<f64>,
    /// Configurational temperature at these steps.
    pub configurational: Vec<f64>,
}

/// What the chains of one run recorded.
#[derive(Clone, Debug)]
pub struct RunDraws {
    /// The run's folder.
    pub path: PathBuf,
    /// Its settings.
    pub config: Config,
    /// The model as JSON.
    pub model: String,
    /// SHA-256 of the corpus.
    pub corpus: [u8; 32],
    /// SHA-256 of the baseline.
    pub baseline: [u8; 32],
    /// Its chains.
    pub chains: Vec<ChainDraws>,
    /// Seconds a gradient took; none while the run is not done.
    pub seconds_a_gradient: Option<f64>,
}

impl RunDraws {
    /// Reads the chains' files of a run, whether it is done or not.
    ///
    /// # Errors
    /// When the folder is no run's, recorded nothing (`probe_tokens` 0, or before there were probes), has no chain, or is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let (folder, config) = RunFolder::open(path)?;
        if config.sampler.chain().is_none() {
            let what = format!("sampler of {}", path.display());
            let expected = "a chain's method: draws from fitted normals are independent";
            return Err(Error::invalid(what, expected, config.sampler));
        }
        if config.probe_tokens == 0 {
            let what = format!("probe_tokens of {}", path.display());
            return Err(Error::invalid(what, "above 0: nothing was recorded", 0));
        }
        let (mut chains, mut of) = (Vec::new(), None);
        for index in 0..config.chains {
            let file = folder.chain(index);
            // Chains run one after the other: those after the first that is missing have not begun.
            if !file.exists() && index > 0 {
                break;
            }
            let mut r = Reader::open(&file, Kind::Chain)?;
            let h = r.header();
            // The prior's baseline is the run's, which is where its first chain starts.
            of.get_or_insert((h.model.clone(), h.corpus_sha256, h.baseline_sha256));
            let chain = read_chain(&mut r, file, &config)?;
            let tokens = |c: &ChainDraws| (!c.draws.is_empty()).then(|| c.draws.tokens());
            let known = chains.iter().find_map(tokens);
            if let (Some(expected), Some(got)) = (known, tokens(&chain))
                && expected != got
            {
                return Err(Error::BadHeader {
                    path: chain.path,
                    message: format!("expected {expected} probe tokens, found {got}"),
                });
            }
            if tokens(&chain) == Some(0) {
                return Err(Error::BadHeader {
                    path: chain.path,
                    message: "expected scores of probe tokens, found none".into(),
                });
            }
            chains.push(chain);
        }
        let Some((model, corpus, baseline)) = of else {
            return Err(Error::invalid("chains", "at least 1", 0));
        };
        let seconds_a_gradient = match std::fs::read_to_string(folder.metrics()) {
            Ok(text) => {
                let of_file = |e: serde_json::Error| {
                    Error::data(folder.metrics().display().to_string(), e.to_string())
                };
                let m: Value = serde_json::from_str(&text).map_err(of_file)?;
                seconds_a_gradient(&m["training_metrics"])
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(Error::io(folder.metrics())(e)),
        };
        Ok(Self {
            path: path.to_path_buf(),
            config,
            model,
            corpus,
            baseline,
            chains,
            seconds_a_gradient,
        })
    }

    /// Its chains that have at least so many draws.
    fn used(&self, fewest: usize) -> impl Iterator<Item = &ChainDraws> {
        self.chains.iter().filter(move |c| c.draws.len() >= fewest)
    }

    /// Gradients that one chain took for its first `draws` draws, warm-up and the mass's among them.
    fn gradients(&self, draws: usize) -> u64 {
        let c = &self.config;
        let mass = c.mass();
        let before = mass.steps().saturating_add(c.warmup_steps);
        let all = draws::steps_of_draws(c, before.saturating_add(c.sampling_steps));
        // The step of that draw: exploring steps give none, but cost a gradient each.
        let last = draws.checked_sub(1).and_then(|i| all.get(i).copied());
        let moves = c.warmup_steps.saturating_add(last.unwrap_or(0));
        mass.steps() + moves.saturating_mul(mass.gradients_a_step())
    }

    /// What must be the same for chains to have one target and one set of probes.
    fn identity(&self) -> Vec<(&'static str, String)> {
        let c = &self.config;
        let tokens = self.chains.iter().find(|c| !c.draws.is_empty());
        let mut of = vec![
            ("model", self.model.clone()),
            ("corpus", hex(&self.corpus)),
            ("temperature", c.temperature.to_string()),
            (
                "temperature_schedule",
                format!("{:?}", c.schedule(c.temperature_schedule)),
            ),
            ("objective", format!("{:?}", c.objective)),
            ("num_data", format!("{:?}", c.num_data)),
            ("max_seq_length", format!("{:?}", c.max_seq_length)),
            ("train_samples", format!("{:?}", c.train_samples)),
            ("likelihood_weight", c.likelihood_weight.to_string()),
            ("prior_family", format!("{:?}", c.prior_family())),
            ("prior_std", c.prior_std.to_string()),
            ("prior_center", format!("{:?}", c.prior_center)),
            ("prior_scale", format!("{:?}", c.prior_scale)),
            // A mass that follows the chain has another stationary law than one that stays.
            (
                "preconditioner",
                match c.mass() {
                    Preconditioner::Live {
                        floor,
                        decay,
                        gamma,
                        ..
                    } => format!("live (decay {decay}, floor {floor}, gamma {gamma})"),
                    _ => "one that stays".into(),
                },
            ),
            ("probe_every", c.probe_every.to_string()),
            (
                "number of probe tokens",
                tokens
                    .map_or(c.probe_tokens, |c| c.draws.tokens())
                    .to_string(),
            ),
        ];
        use super::config::{PriorCenter, PriorUnit};
        if c.prior_center == PriorCenter::Pretrained || c.prior_scale == PriorUnit::Relative {
            of.push(("baseline in the prior", hex(&self.baseline)));
        }
        if c.train_samples.is_some() {
            of.push(("seed of the chosen windows", c.seed.to_string()));
        }
        of
    }
}

/// Seconds a gradient from `training_metrics` of a report.
fn seconds_a_gradient(training: &Value) -> Option<f64> {
    let of = |key: &str| training[key].as_f64();
    // A process that resumes a run times its own gradients alone.
    let (seconds, gradients) = (of("sampling_seconds")?, of("timed_gradients")?);
    (gradients > 0.0).then(|| seconds / gradients)
}

fn read_chain(r: &mut Reader, path: PathBuf, config: &Config) -> Result<ChainDraws> {
    let step = r.header().step;
    let draws = Draws::read(r, &path, draws::due(config, step))?;
    let n = draws.len();
    let due = draws::steps_of_draws(config, step);
    let before = step.min(config.mass().steps() + config.warmup_steps) as usize;
    let mut series = |name: &str, skip: usize| -> Result<Vec<f64>> {
        let len = r.tensor(name)?.len as usize;
        let mut v = vec![0.0; len];
        r.read_f64(name, &mut v)?;
        let picked: Vec<f64> = (due.iter())
            .filter_map(|&made| v.get(skip + made as usize - 1).copied())
            .collect();
        match picked.len() == n || len == 0 {
            true => Ok(picked),
            false => Err(Error::BadHeader {
                path: path.clone(),
                message: format!(
                    "{name}: expected a value for each of {n} draws, found {len} values"
                ),
            }),
        }
    };
    Ok(ChainDraws {
        log_lik: series("trace.log_lik", before)?,
        log_prior: series("trace.log_prior", before)?,
        kinetic: series("trace.kinetic_temperature", 0)?,
        configurational: series("trace.configurational_temperature", 0)?,
        path,
        draws,
    })
}

/// Checks that runs belong together.
///
/// Their methods, step sizes, seeds and starting points may differ: the target and the probes may not.
///
/// # Errors
/// When there is none, two have different targets or probes, or two chains are the same draws.
pub fn check_together(runs: &[RunDraws]) -> Result<()> {
    let Some(first) = runs.first() else {
        return Err(Error::invalid("runs", "at least one", 0));
    };
    for run in &runs[1..] {
        for ((what, expected), (_, got)) in first.identity().into_iter().zip(run.identity()) {
            if expected != got {
                return Err(Error::Mismatch {
                    path: run.path.clone(),
                    what: what.into(),
                    expected: format!("{expected} as in {}", first.path.display()),
                    got,
                });
            }
        }
    }
    // Chains of one seed and number draw the same if their settings are the same; the same chain twice would look like agreement.
    let named = |r: &'_ RunDraws| (r.config.seed, r.config.sampler);
    for (i, a) in runs.iter().enumerate() {
        for b in runs[..i].iter().filter(|b| named(a) == named(b)) {
            for (x, y) in a.chains.iter().zip(&b.chains) {
                let n = x.draws.len().min(y.draws.len()) * PROJECTIONS;
                if n > 0 && x.draws.projection[..n] == y.draws.projection[..n] {
                    return Err(Error::invalid(
                        format!("draws of {}", x.path.display()),
                        "other ones than another chain's: one chain twice says nothing",
                        format!("those of {}", y.path.display()),
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The worst and the median of a number over quantities.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// The largest R-hat or error, the smallest effective size.
    pub worst: f64,
    /// The median.
    pub median: f64,
}

impl Spread {
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
}

/// Effective sample sizes of all chains together.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Effective {
    /// In draws.
    pub draws: Spread,
    /// A gradient, those of warm-up among them.
    pub a_gradient: Spread,
    /// A second of sampling; none where a run's time is not known.
    pub a_second: Option<Spread>,
}

/// Diagnostics of one family of quantities. Those that never changed are counted and left out of the rest.
#[derive(Clone, Debug, Serialize)]
pub struct Family {
    /// How many quantities.
    pub quantities: usize,
    /// How many of them never changed.
    pub constant: usize,
    /// R-hat.
    pub rhat: Spread,
    /// Share of the quantities with an R-hat under 1.01.
    pub share_under_1_01: f64,
    /// Under 1.05.
    pub share_under_1_05: f64,
    /// Under 1.1.
    pub share_under_1_1: f64,
    /// Bulk effective sample size.
    pub ess_bulk: Effective,
    /// Tail effective sample size.
    pub ess_tail: Effective,
    /// Monte Carlo standard error of the mean over draws, in the quantity's unit (nats for log-probabilities).
    pub mcse_mean: Spread,
}

/// Diagnostics of every quantity, in order.
#[derive(Clone, Debug, Serialize)]
pub struct Each {
    /// Of the probe tokens' log-probabilities.
    pub log_prob: Vec<ChainDiagnostics>,
    /// Of the projections.
    pub projection: Vec<ChainDiagnostics>,
}

/// What the draws of some chains say of each other.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The runs' folders.
    pub runs: Vec<String>,
    /// Chains of all runs.
    pub chains: usize,
    /// Draws a chain that were used: as many as the shortest has.
    pub draws: usize,
    /// Whether some chain has more.
    pub cut: bool,
    /// Chains that were left out because they have fewer than 4 draws, where others have more.
    pub left_out: usize,
    /// Sampling steps between two draws.
    pub probe_every: u64,
    /// Gradients of all chains up to the last draw that was used, warm-up and the mass's among them.
    pub gradients: u64,
    /// Seconds that they took; none where a run's time is not known.
    pub seconds: Option<f64>,
    /// What one quantity in 20 exceeds though all draws are independent ones of one law: the noise of R-hat itself. None below 4 draws.
    pub rhat_by_chance: Option<f64>,
    /// Probe tokens' log-probabilities; none below 4 draws, or where none ever changed.
    pub log_prob: Option<Family>,
    /// Projections of the weights.
    pub projection: Option<Family>,
    /// One judgement.
    pub verdict: String,
    /// Every quantity's own numbers, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each: Option<Each>,
}

/// The chains that count, and the fewest draws that one of them needs: a chain that has just begun would leave nothing of the others.
pub(super) fn select(runs: &[RunDraws]) -> (usize, Vec<&ChainDraws>) {
    let of =
        |fewest: usize| -> Vec<&ChainDraws> { runs.iter().flat_map(|r| r.used(fewest)).collect() };
    match of(MIN_DRAWS) {
        none if none.is_empty() => (0, of(0)),
        some => (MIN_DRAWS, some),
    }
}

/// The draws that every one of the chains has.
pub(super) fn shortest(chains: &[&ChainDraws]) -> usize {
    chains.iter().map(|c| c.draws.len()).min().unwrap_or(0)
}

/// Diagnoses the chains of runs that belong together.
///
/// # Errors
/// As [`check_together`].
pub fn diagnose(be: &Cpu, runs: &[RunDraws]) -> Result<Diagnosis> {
    check_together(runs)?;
    let (fewest, used) = select(runs);
    let all: Vec<&Draws> = used.iter().map(|c| &c.draws).collect();
    let draws = shortest(&used);
    let gradients = |r: &RunDraws| r.used(fewest).count() as u64 * r.gradients(draws);
    let seconds = runs
        .iter()
        .map(|r| Some(r.seconds_a_gradient? * gradients(r) as f64))
        .sum::<Option<f64>>();
    let mut d = Diagnosis {
        runs: runs.iter().map(|r| r.path.display().to_string()).collect(),
        chains: all.len(),
        draws,
        cut: all.iter().any(|d| d.len() > draws),
        left_out: runs.iter().map(|r| r.chains.len()).sum::<usize>() - all.len(),
        probe_every: runs[0].config.probe_every,
        gradients: runs.iter().map(gradients).sum(),
        seconds,
        rhat_by_chance: None,
        log_prob: None,
        projection: None,
        verdict: String::new(),
        each: None,
    };
    if draws >= MIN_DRAWS {
        let tokens = all[0].tokens();
        let log_prob = every(be, tokens, |i| {
            let of = |d: &&Draws| {
                d.log_prob
                    .iter()
                    .skip(i)
                    .step_by(tokens)
                    .take(draws)
                    .map(|&v| v as f64)
                    .collect()
            };
            all.iter().map(of).collect()
        })?;
        let projection = every(be, PROJECTIONS, |i| {
            let of = |d: &&Draws| {
                d.projection
                    .iter()
                    .skip(i)
                    .step_by(PROJECTIONS)
                    .take(draws)
                    .copied()
                    .collect()
            };
            all.iter().map(of).collect()
        })?;
        d.rhat_by_chance = Some(rhat_by_chance(all.len(), draws));
        d.log_prob = d.family(&log_prob);
        d.projection = d.family(&projection);
        d.each = Some(Each {
            log_prob,
            projection,
        });
    }
    d.verdict = d.judge();
    Ok(d)
}

/// Diagnostics of n quantities, several at a time.
fn every(
    be: &Cpu,
    n: usize,
    chains: impl Fn(usize) -> Vec<Vec<f64>> + Sync,
) -> Result<Vec<ChainDiagnostics>> {
    let mut out: Vec<Option<ChainDiagnostics>> = vec![None; n];
    be.each(&mut out, |i, d| {
        *d = Some(chain_diagnostics(&chains(i))?);
        Ok(())
    })?;
    Ok(out.into_iter().flatten().collect())
}

/// The 95 % point of R-hat for independent draws of one law. With m halves of n draws, R-hat^2 is about 1 + (F - 1) / n with (m - 1) F
/// chi-squared of m - 1 degrees of freedom; the larger of two nearly independent ones is reported, so F's 97.5 % point, by Wilson and
/// Hilferty (1931).
pub fn rhat_by_chance(chains: usize, draws: usize) -> f64 {
    let (k, n) = ((2 * chains - 1) as f64, (draws / 2) as f64);
    let v = 2.0 / (9.0 * k);
    let f = (1.0 - v + 1.96 * v.sqrt()).powi(3);
    (1.0 + (f - 1.0) / n).sqrt()
}

impl Diagnosis {
    fn family(&self, each: &[ChainDiagnostics]) -> Option<Family> {
        let moved: Vec<&ChainDiagnostics> = each.iter().filter(|d| !d.rhat.is_nan()).collect();
        let spread = |f: fn(&ChainDiagnostics) -> f64, largest| {
            Spread::new(moved.iter().map(|d| f(d)), largest)
        };
        let under = |limit: f64| {
            moved.iter().filter(|d| d.rhat < limit).count() as f64 / moved.len() as f64
        };
        let effective = |f| -> Option<Effective> {
            let draws = spread(f, false)?;
            Some(Effective {
                draws,
                a_gradient: draws.over(self.gradients as f64),
                a_second: self.seconds.map(|s| draws.over(s)),
            })
        };
        Some(Family {
            quantities: each.len(),
            constant: each.len() - moved.len(),
            rhat: spread(|d| d.rhat, true)?,
            share_under_1_01: under(1.01),
            share_under_1_05: under(1.05),
            share_under_1_1: under(1.1),
            ess_bulk: effective(|d| d.ess_bulk)?,
            ess_tail: effective(|d| d.ess_tail)?,
            mcse_mean: spread(|d| d.mcse_mean, true)?,
        })
    }

    fn judge(&self) -> String {
        let Some(chance) = self.rhat_by_chance else {
            return format!(
                "nothing can be said: {} draws a chain, one every {} sampling steps, and R-hat needs {MIN_DRAWS}",
                self.draws, self.probe_every
            );
        };
        let Some(f) = &self.log_prob else {
            return "the chains have not moved: no probe token's probability ever changed".into();
        };
        let enough = ENOUGH * self.chains as f64;
        let ess = f.ess_bulk.draws.worst.min(f.ess_tail.draws.worst);
        let above = 100.0 * (1.0 - f.share_under_1_05);
        let mut text = match f.rhat.worst {
            r if r < 1.01 && ess >= enough => {
                format!(
                    "the chains agree on every probe token, and each is known by {ess:.0} effective draws or more"
                )
            }
            r if r < 1.01 => format!(
                "the chains agree on every probe token, but the worst is known by {ess:.0} effective draws alone, fewer than {enough:.0}"
            ),
            r if r < 1.05 => format!(
                "the chains nearly agree: R-hat is under 1.05 for every probe token, the worst is {r:.3}"
            ),
            _ if f.share_under_1_05 >= 0.95 => format!(
                "the chains agree on most probe tokens, not on all: R-hat is under 1.05 for {:.1} %, the worst is {:.3}",
                100.0 - above,
                f.rhat.worst
            ),
            _ => format!(
                "not converged: R-hat is 1.05 or more for {above:.1} % of the probe tokens (worst {:.3}); averages still depend on where the chains \
                 were and when, and the MCSE understates that",
                f.rhat.worst
            ),
        };
        if f.constant > 0 {
            text.push_str(&format!("; {} tokens never changed", f.constant));
        }
        if self.chains == 1 {
            text.push_str("; with one chain R-hat compares its two halves and cannot see what it never visited");
        }
        if chance >= 1.01 {
            text.push_str(&format!(
                "; {} draws a chain are few: even independent ones would have an R-hat above {chance:.3} on one token in 20",
                self.draws
            ));
        }
        text
    }

    /// As text for a person.
    pub fn text(&self) -> String {
        let mut text = format!(
            "probes: {} chain(s) of {} draws, one every {} sampling steps{}; {} gradients{}\n",
            self.chains,
            self.draws,
            self.probe_every,
            [
                (self.cut, ", cut to the shortest chain".to_owned()),
                (
                    self.left_out > 0,
                    format!(", {} chain(s) left out that have just begun", self.left_out)
                ),
            ]
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, text)| text)
            .collect::<String>(),
            self.gradients,
            self.seconds
                .map_or(String::new(), |s| format!(" in {s:.1} s")),
        );
        for (name, unit, family) in [
            ("log-probabilities of tokens", " (nats)", &self.log_prob),
            ("projections of the weights", "", &self.projection),
        ] {
            if let Some(f) = family {
                text.push_str(&f.text(name, unit));
            }
        }
        text + &self.verdict + "\n"
    }
}

impl Family {
    fn text(&self, name: &str, unit: &str) -> String {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let effective = |e: &Effective| {
            let mut text = format!(
                "worst {:.1}, median {:.1}; a gradient {:.2e}, {:.2e}",
                e.draws.worst, e.draws.median, e.a_gradient.worst, e.a_gradient.median
            );
            if let Some(s) = e.a_second {
                text.push_str(&format!("; a second {:.3}, {:.3}", s.worst, s.median));
            }
            text
        };
        format!(
            "  {} {name}{}\n    R-hat      worst {:.4}, median {:.4}; under 1.01: {}, 1.05: {}, 1.1: {}\n    bulk ESS   {}\n    tail ESS   {}\n    MCSE       worst {:.2e}, median {:.2e}{unit}\n",
            self.quantities,
            match self.constant {
                0 => String::new(),
                n => format!(", {n} of which never changed"),
            },
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
