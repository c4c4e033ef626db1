//! `bnn diagnose`: whether the chains of one or several runs agree on what they predict, and what their draws are worth.

use super::config::Config;
use super::folder::RunFolder;
use super::hex;
use crate::backend::Device;
use crate::error::{Error, Result};
use crate::inference::agreement::{Called, judge, too_few};
use crate::inference::monitors::{DrawSchedule, Draws};
use crate::inference::{Agreement, Cost, Identity};
use crate::metrics::{ChainDiagnostics, MIN_DRAWS, PROJECTIONS};
use crate::samplers::Preconditioner;
use crate::store::{Kind, Reader};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What the quantities are that the verdict is about.
const PROBES: Called = Called {
    one: "probe token",
    many: "probe tokens",
};

/// One chain's draws as its file has them.
#[derive(Clone, Debug)]
pub struct ChainDraws {
    /// The chain's file.
    pub path: PathBuf,
    /// What the probes recorded.
    pub draws: Draws,
    /// The batch's mean log-likelihood in nats, a value per draw: of the step that led to it.
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
            return Err(Error::conflict(format!(
                "{}: {} fits a normal, whose draws are independent: give the run of a chain's method",
                path.display(),
                config.sampler
            )));
        }
        if config.probe_tokens == 0 {
            return Err(Error::conflict(format!(
                "{}: nothing was recorded, as probe_tokens was 0: start a run with probe_tokens above 0",
                path.display()
            )));
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
            return Err(Error::out_of_range("chains", "at least 1", 0));
        };
        Ok(Self {
            path: path.to_path_buf(),
            config,
            model,
            corpus,
            baseline,
            chains,
            seconds_a_gradient: timed(&folder)?,
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
        let all = draw_schedule(c).steps(before.saturating_add(c.sampling_steps));
        // The step of that draw: exploring steps give none, but cost a gradient each.
        let last = draws.checked_sub(1).and_then(|i| all.get(i).copied());
        let moves = c.warmup_steps.saturating_add(last.unwrap_or(0));
        mass.steps() + moves.saturating_mul(mass.gradients_a_step())
    }

    /// Returns what must be the same for chains to have one target and one set of probes.
    fn identity(&self) -> Identity {
        use super::config::{PriorCenter, PriorUnit};
        let c = &self.config;
        let recorded = self.chains.iter().find(|c| !c.draws.is_empty());
        let tokens = recorded.map_or(c.probe_tokens, |c| c.draws.tokens());
        let baseline =
            c.prior_center == PriorCenter::Pretrained || c.prior_scale == PriorUnit::Relative;
        let chosen = c.train_samples.map(|_| c.seed);
        let settings = vec![
            ("model", self.model.clone()),
            ("corpus", hex(&self.corpus)),
            ("temperature", c.temperature.to_string()),
            (
                "temperature_schedule",
                canonical(&c.schedule(c.temperature_schedule)),
            ),
            ("objective", canonical(&c.objective)),
            ("num_data", canonical(&c.num_data)),
            ("max_seq_length", canonical(&c.max_seq_length)),
            ("train_samples", canonical(&c.train_samples)),
            ("likelihood_weight", c.likelihood_weight.to_string()),
            ("prior_family", canonical(&c.prior_family())),
            ("prior_std", c.prior_std.to_string()),
            ("prior_center", canonical(&c.prior_center)),
            ("prior_scale", canonical(&c.prior_scale)),
            ("preconditioner", stays(c.mass())),
            ("probe_every", c.probe_every.to_string()),
            ("number of probe tokens", tokens.to_string()),
            (
                "baseline in the prior",
                canonical(&baseline.then(|| hex(&self.baseline))),
            ),
            ("seed of the chosen windows", canonical(&chosen)),
        ];
        Identity {
            path: self.path.clone(),
            settings,
        }
    }
}

/// Returns a setting in its own words, whatever it is called in the source.
fn canonical(setting: &impl Serialize) -> String {
    match serde_json::to_value(setting) {
        Ok(Value::String(word)) => word,
        Ok(Value::Null) => "none".into(),
        Ok(other) => other.to_string(),
        Err(e) => e.to_string(),
    }
}

/// Returns the mass in words. One that follows the chain has another stationary law than one that stays.
fn stays(mass: Preconditioner) -> String {
    match mass {
        Preconditioner::Live {
            floor,
            decay,
            gamma,
            ..
        } => format!("live (decay {decay}, floor {floor}, gamma {gamma})"),
        _ => "one that stays".into(),
    }
}

/// Seconds per gradient, from a run's report; none while it has none.
fn timed(folder: &RunFolder) -> Result<Option<f64>> {
    match std::fs::read_to_string(folder.metrics()) {
        Ok(text) => {
            let of_file = |e: serde_json::Error| {
                Error::data(folder.metrics().display().to_string(), e.to_string())
            };
            let m: Value = serde_json::from_str(&text).map_err(of_file)?;
            Ok(seconds_a_gradient(&m["training_metrics"]))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(folder.metrics())(e)),
    }
}

/// Seconds a gradient from `training_metrics` of a report.
fn seconds_a_gradient(training: &Value) -> Option<f64> {
    let of = |key: &str| training[key].as_f64();
    // A process that resumes a run times its own gradients alone.
    let (seconds, gradients) = (of("sampling_seconds")?, of("timed_gradients")?);
    (gradients > 0.0).then(|| seconds / gradients)
}

/// Returns after which steps a run's chains record draws.
fn draw_schedule(c: &Config) -> DrawSchedule {
    let before = c.mass().steps() + c.warmup_steps;
    DrawSchedule::new(
        c.probe_every,
        before,
        c.sampling_steps,
        c.schedule(c.schedule),
    )
}

fn read_chain(r: &mut Reader, path: PathBuf, config: &Config) -> Result<ChainDraws> {
    let step = r.header().step;
    let due = match config.probe_tokens {
        0 => Vec::new(),
        _ => draw_schedule(config).steps(step),
    };
    let draws = Draws::read(r, due.len() as u64).map_err(Error::of_file(&path))?;
    let n = draws.len();
    let before = step.min(config.mass().steps() + config.warmup_steps) as usize;
    let mut series = |name: &str, skip: usize| -> Result<Vec<f64>> {
        let len = r.tensor(name)?.len as usize;
        let mut v = vec![0.0; len];
        r.read_f64(name, &mut v)?;
        let picked: Vec<f64> = (due.iter())
            .filter_map(|&made| v.get(skip + made as usize - 1).copied())
            .collect();
        if picked.len() == n || len == 0 {
            Ok(picked)
        } else {
            Err(Error::BadHeader {
                path: path.clone(),
                message: format!(
                    "{name}: expected a value for each of {n} draws, found {len} values"
                ),
            })
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
        return Err(Error::out_of_range("runs", "at least one", 0));
    };
    let identity = first.identity();
    for run in &runs[1..] {
        identity.check_same(&run.identity())?;
    }
    // Chains of one seed and number draw the same if their settings are the same; the same chain twice would look like agreement.
    let named = |r: &'_ RunDraws| (r.config.seed, r.config.sampler);
    for (i, a) in runs.iter().enumerate() {
        for b in runs[..i].iter().filter(|b| named(a) == named(b)) {
            for (x, y) in a.chains.iter().zip(&b.chains) {
                let n = x.draws.len().min(y.draws.len()) * PROJECTIONS;
                if n > 0 && x.draws.projection[..n] == y.draws.projection[..n] {
                    return Err(Error::conflict(format!(
                        "{} has the draws of {}, and one chain twice says nothing: leave one of them out",
                        x.path.display(),
                        y.path.display()
                    )));
                }
            }
        }
    }
    Ok(())
}

/// Diagnostics of every quantity, in order.
#[derive(Clone, Debug, Serialize)]
pub struct Each {
    /// Diagnostics of the probe tokens' log-probabilities.
    pub log_prob: Vec<ChainDiagnostics>,
    /// Diagnostics of the projections.
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
    pub log_prob: Option<Agreement>,
    /// Projections of the weights.
    pub projection: Option<Agreement>,
    /// One judgement.
    pub verdict: String,
    /// Every quantity's own numbers, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each: Option<Each>,
}

/// Returns the chains that count, and the fewest draws that one of them needs: a chain that has just begun would leave nothing of the others.
pub(super) fn select(runs: &[RunDraws]) -> (usize, Vec<&ChainDraws>) {
    let of =
        |fewest: usize| -> Vec<&ChainDraws> { runs.iter().flat_map(|r| r.used(fewest)).collect() };
    match of(MIN_DRAWS) {
        none if none.is_empty() => (0, of(0)),
        some => (MIN_DRAWS, some),
    }
}

/// Returns the draws that every one of the chains has.
pub(super) fn shortest(chains: &[&ChainDraws]) -> usize {
    chains.iter().map(|c| c.draws.len()).min().unwrap_or(0)
}

/// Diagnoses the chains of runs that belong together.
///
/// # Errors
/// Returns the errors of [`check_together`].
pub fn diagnose(device: &Device, runs: &[RunDraws]) -> Result<Diagnosis> {
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
    if draws < MIN_DRAWS {
        d.verdict = too_few(draws);
        return Ok(d);
    }
    let log_prob: Vec<&[f32]> = all.iter().map(|d| &d.log_prob[..]).collect();
    let projection: Vec<&[f64]> = all.iter().map(|d| &d.projection[..]).collect();
    let cost = Cost {
        gradients: d.gradients,
        seconds,
    };
    let log_prob = judge(device, &log_prob, draws, all[0].tokens(), cost, PROBES)?;
    let projection = judge(device, &projection, draws, PROJECTIONS, cost, PROBES)?;
    d.rhat_by_chance = Some(log_prob.rhat_by_chance);
    d.verdict = log_prob.verdict;
    (d.log_prob, d.projection) = (log_prob.agreement, projection.agreement);
    d.each = Some(Each {
        log_prob: log_prob.each,
        projection: projection.each,
    });
    Ok(d)
}

impl Diagnosis {
    /// Returns the diagnosis as text for a person.
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
