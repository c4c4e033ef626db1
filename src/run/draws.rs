//! What a chain records while it runs, in place of its weights: log-probabilities of probe tokens and random projections, one draw every
//! `probe_every` sampling steps, kept in the chain's file.

use super::config::Config;
use super::prepare::Setting;
use crate::backend::Cpu;
use crate::error::{Error, Result};
use crate::metrics::{PROJECTIONS, Probe, random_projections};
use crate::store::{Reader, TensorData};

const LOG_PROB: &str = "probe.log_prob";
const PROJECTION: &str = "probe.projection";

/// The recorded draws of one chain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draws {
    /// Log-probabilities in nats, (draws, tokens).
    pub log_prob: Vec<f32>,
    /// Projections of the weights, (draws, [`PROJECTIONS`]).
    pub projection: Vec<f64>,
}

impl Draws {
    /// How many draws there are.
    pub fn len(&self) -> usize {
        self.projection.len() / PROJECTIONS
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many tokens each draw scores; 0 without draws.
    pub fn tokens(&self) -> usize {
        self.log_prob.len().checked_div(self.len()).unwrap_or(0)
    }

    /// As the tensors of a chain's file.
    pub fn tensors(&self) -> [(&'static str, TensorData<'_>); 2] {
        [
            (LOG_PROB, TensorData::F32(&self.log_prob)),
            (PROJECTION, TensorData::F64(&self.projection)),
        ]
    }

    /// Of a chain's file whose run has `expected` draws by now.
    ///
    /// # Errors
    /// When the file has another number of them, or they do not make a whole table.
    pub fn read(r: &mut Reader, path: &std::path::Path, expected: u64) -> Result<Self> {
        let bad = |message| Error::BadHeader {
            path: path.into(),
            message,
        };
        let (scores, sums) = (r.tensor(LOG_PROB)?.len, r.tensor(PROJECTION)?.len);
        if Some(sums) != expected.checked_mul(PROJECTIONS as u64)
            || scores.checked_rem(expected).unwrap_or(scores) != 0
        {
            let message = format!(
                "expected {expected} draws of the probes, found {scores} scores and {sums} projections"
            );
            return Err(bad(message));
        }
        let mut draws = Self {
            log_prob: vec![0.0; scores as usize],
            projection: vec![0.0; sums as usize],
        };
        r.read_f32(LOG_PROB, &mut draws.log_prob)?;
        r.read_f64(PROJECTION, &mut draws.projection)?;
        Ok(draws)
    }
}

/// Draws that a chain has after `steps` steps in all.
pub fn due(config: &Config, steps: u64) -> u64 {
    match config.probe_tokens {
        0 => 0,
        _ => steps_of_draws(config, steps).len() as u64,
    }
}

/// After how many sampling steps each draw was recorded that a chain has after `steps` steps in all.
pub fn steps_of_draws(config: &Config, steps: u64) -> Vec<u64> {
    (1..=sampling_steps(config, steps) / config.probe_every)
        .map(|i| i * config.probe_every)
        .filter(|&made| is_due(config, made))
        .collect()
}

/// Whether a draw is recorded after `made` sampling steps: at every so many, but for those that explore.
fn is_due(config: &Config, made: u64) -> bool {
    let explores = |step| {
        let schedule = config.schedule(config.schedule);
        schedule.explores(step, config.sampling_steps)
    };
    made > 0 && made.is_multiple_of(config.probe_every) && !explores(made - 1)
}

/// How many of `steps` steps came after the warm-up.
fn sampling_steps(config: &Config, steps: u64) -> u64 {
    let made = steps.saturating_sub(config.mass().steps() + config.warmup_steps);
    made.min(config.sampling_steps)
}

/// The probe of a run's validation split; none where it is off.
///
/// # Errors
/// As [`Probe::new`].
pub fn probe(config: &Config, setting: &Setting) -> Result<Option<Probe<Cpu>>> {
    match config.probe_tokens {
        0 => Ok(None),
        n => {
            let t = setting.gpt.config().block_size;
            let val = &setting.corpus.val;
            Probe::new(&setting.backend, &setting.gpt, val, t, n).map(Some)
        }
    }
}

/// Records a draw if one is due after `steps` steps.
///
/// # Errors
/// As [`Probe::log_prob`].
pub fn record(
    draws: &mut Draws,
    probe: &mut Option<Probe<Cpu>>,
    config: &Config,
    setting: &Setting,
    steps: u64,
    params: &Vec<f32>,
) -> Result<()> {
    let Some(probe) = probe else { return Ok(()) };
    if !is_due(config, sampling_steps(config, steps)) {
        return Ok(());
    }
    let scores = probe.log_prob(&setting.backend, &setting.gpt, params)?;
    draws.log_prob.extend_from_slice(scores);
    draws.projection.extend(random_projections(params));
    Ok(())
}
