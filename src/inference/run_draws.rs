//! What the chains of one run recorded, read from their files, and whether several runs belong together.

use super::Identity;
use super::monitor::Saved;
use super::monitors::{DrawSchedule, Draws};
use super::series::SavedChain;
use crate::disk;
use crate::error::{Error, Result};
use crate::memory;
use crate::metrics::{MIN_DRAWS, PROJECTIONS};
use crate::samplers::Preconditioner;
use crate::settings::{PriorCenter, PriorUnit, Settings};
use crate::store::hex;
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

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
    /// Where they lie, for errors and reports.
    pub path: PathBuf,
    /// Its settings.
    pub settings: Settings,
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
    /// Reads the files of a run's chains, `file` of each, whether they are done or not; how long they took is left to be set.
    ///
    /// # Errors
    /// When the run's method is no chain's, it recorded nothing (`probe_tokens` 0, or before there were probes), has no chain, or is damaged.
    pub fn read(path: &Path, settings: Settings, file: impl Fn(u32) -> PathBuf) -> Result<Self> {
        if settings.sampler.chain().is_none() {
            return Err(Error::conflict(format!(
                "{}: {} is a fit, so there is no chain to diagnose: its summary and its metrics say what the fit is worth",
                path.display(),
                settings.sampler
            )));
        }
        if settings.probe_tokens == 0 {
            return Err(Error::conflict(format!(
                "{}: nothing was recorded, as its probe_tokens are 0: a new run with --probe-tokens 4096 records what R-hat needs",
                path.display()
            )));
        }
        let (mut chains, mut of) = (Vec::<ChainDraws>::new(), None);
        for file in (0..settings.chains).map(file) {
            // Chains run one after the other: those after the first that is missing have not begun.
            if !chains.is_empty() && !disk::exists(&file).map_err(Error::io(&file))? {
                break;
            }
            let mut r = SavedChain::open(&file)?;
            let h = r.reader.header();
            // The prior's baseline is the run's, which is where its first chain starts.
            of.get_or_insert((h.model.clone(), h.corpus_sha256, h.baseline_sha256));
            let chain = read_chain(&mut r, file, &settings)?;
            let tokens = |c: &ChainDraws| (!c.draws.is_empty()).then(|| c.draws.tokens());
            let known = chains.iter().find_map(tokens);
            let message = match (known, tokens(&chain)) {
                (Some(expected), Some(got)) if expected != got => {
                    format!("expected {expected} probe tokens, found {got}")
                }
                (_, Some(0)) => "expected scores of probe tokens, found none".into(),
                _ => {
                    chains.push(chain);
                    continue;
                }
            };
            let path = chain.path;
            return Err(Error::BadHeader { path, message });
        }
        let Some((model, corpus, baseline)) = of else {
            return Err(Error::out_of_range("chains", "at least 1", 0));
        };
        Ok(Self {
            path: path.to_path_buf(),
            settings,
            model,
            corpus,
            baseline,
            chains,
            seconds_a_gradient: None,
        })
    }

    /// Its chains that have at least so many draws.
    pub(super) fn used(&self, fewest: usize) -> impl Iterator<Item = &ChainDraws> {
        self.chains.iter().filter(move |c| c.draws.len() >= fewest)
    }

    /// Gradients that one chain took for its first `draws` draws, warm-up and the mass's among them.
    pub(super) fn gradients(&self, draws: usize) -> u64 {
        let c = &self.settings;
        let mass = c.mass();
        let before = mass.steps().saturating_add(c.warmup_steps);
        let schedule = draw_schedule(c);
        let mut all = schedule.steps(before.saturating_add(c.sampling_steps));
        // The step of that draw: exploring steps give none, but cost a gradient each.
        let skipped = self.chains.iter().map(|c| c.draws.skipped as usize).max();
        let last = draws
            .checked_sub(1)
            .and_then(|i| all.nth(i + skipped.unwrap_or(0)));
        let moves = c.warmup_steps.saturating_add(last.unwrap_or(0));
        mass.steps() + moves.saturating_mul(mass.gradients_a_step())
    }

    /// What must be the same for chains to have one target and one set of probes.
    fn identity(&self) -> Identity {
        let c = &self.settings;
        let recorded = self.chains.iter().find(|c| !c.draws.is_empty());
        let tokens = recorded.map_or(c.probe_tokens, |c| c.draws.tokens());
        let of_baseline = [PriorUnit::Relative, PriorUnit::Fitted];
        let baseline =
            c.prior_center == PriorCenter::Pretrained || of_baseline.contains(&c.prior_scale);
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

/// A setting as its own words, whatever it is called in the source.
fn canonical(setting: &impl Serialize) -> String {
    match serde_json::to_value(setting) {
        Ok(Value::String(word)) => word,
        Ok(Value::Null) => "none".into(),
        Ok(other) => other.to_string(),
        Err(e) => e.to_string(),
    }
}

/// A mass that follows the chain has another stationary law than one that stays.
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

/// After which steps a run's chains record draws.
fn draw_schedule(c: &Settings) -> DrawSchedule {
    let before = c.mass().steps().saturating_add(c.warmup_steps);
    DrawSchedule::new(
        c.probe_every,
        before,
        c.sampling_steps,
        c.schedule(c.schedule),
    )
}

fn read_chain(r: &mut SavedChain, path: PathBuf, config: &Settings) -> Result<ChainDraws> {
    let step = r.reader.header().step;
    let schedule = draw_schedule(config);
    let due = match config.probe_tokens {
        0 => 0,
        _ => schedule.due(step),
    };
    let draws = Draws::read(r, due).map_err(Error::of_file(&path))?;
    let n = draws.len();
    let warmup = config.mass().steps().saturating_add(config.warmup_steps);
    let before = step.min(warmup);
    let lost = r.count("trace.skipped").unwrap_or(0);
    // `skip`: how many values of a whole series come before the first sampling step; `lost`: how many of them it does not have.
    let mut series = |name: &str, skip: u64, lost: u64| -> Result<Vec<f64>> {
        let values = r.f64s(name)?.unwrap_or_default();
        let len = values.len();
        // No further than the file's own values: a step that was forged has no end.
        let picked = schedule
            .steps(step)
            .skip(draws.skipped as usize)
            .map_while(|made| (skip + made - 1).checked_sub(lost))
            .take_while(|&at| at < len as u64)
            .take(n)
            .map(|at| values[at as usize]);
        let picked: Vec<f64> = memory::collect(picked, name)?;
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
        log_lik: series("trace.log_lik", before, lost)?,
        log_prior: series("trace.log_prior", before, lost)?,
        kinetic: series("trace.kinetic_temperature", 0, lost.saturating_sub(before))?,
        configurational: series(
            "trace.configurational_temperature",
            0,
            lost.saturating_sub(before),
        )?,
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
    let named = |r: &'_ RunDraws| (r.settings.seed, r.settings.sampler);
    for (i, a) in runs.iter().enumerate() {
        for b in runs[..i].iter().filter(|b| named(a) == named(b)) {
            for (x, y) in a.chains.iter().zip(&b.chains) {
                let n = x.draws.len().min(y.draws.len()) * PROJECTIONS;
                if n > 0 && x.draws.projection[..n] == y.draws.projection[..n] {
                    return Err(Error::conflict(format!(
                        "{} and {} hold the same draws, and one chain twice says nothing: name each run once, and give runs seeds of their own",
                        x.path.display(),
                        y.path.display()
                    )));
                }
            }
        }
    }
    Ok(())
}

/// Returns the chains that count, and the fewest draws that one of them needs: a chain that has just begun would leave nothing of the others.
pub fn select(runs: &[RunDraws]) -> (usize, Vec<&ChainDraws>) {
    let of =
        |fewest: usize| -> Vec<&ChainDraws> { runs.iter().flat_map(|r| r.used(fewest)).collect() };
    match of(MIN_DRAWS) {
        none if none.is_empty() => (0, of(0)),
        some => (MIN_DRAWS, some),
    }
}

/// Returns how many draws every one of the chains has.
pub fn shortest(chains: &[&ChainDraws]) -> usize {
    chains.iter().map(|c| c.draws.len()).min().unwrap_or(0)
}
