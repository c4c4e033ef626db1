//! What a chain records while it runs, in place of its weights: log-probabilities of probe tokens and random projections, one draw every so
//! many sampling steps.

use crate::backend::{Backend, Transfer};
use crate::error::{Error, Result};
use crate::gpt::Gpt;
use crate::inference::config::{MonitorConfig, Target};
use crate::inference::monitor::{AfterStep, Monitor, Numbers, Progress, Saved, StepReport};
use crate::memory;
use crate::metrics::{PROJECTIONS, Probe, random_projections};
use crate::samplers::{ChainConfig, Schedule};

const LOG_PROB: &str = "probe.log_prob";
const PROJECTION: &str = "probe.projection";
const SKIPPED: &str = "probe.skipped";

/// The recorded draws of one chain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draws {
    /// Log-probabilities in nats, (draws, tokens).
    pub log_prob: Vec<f32>,
    /// Projections of the weights, (draws, [`PROJECTIONS`]).
    pub projection: Vec<f64>,
    /// Draws that fell due before recording began, as when a program without probes had stepped the chain.
    pub skipped: u64,
}

impl Draws {
    /// Returns how many draws there are.
    pub fn len(&self) -> usize {
        self.projection.len() / PROJECTIONS
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many tokens each draw scores; 0 without draws.
    pub fn tokens(&self) -> usize {
        self.log_prob.len().checked_div(self.len()).unwrap_or(0)
    }

    /// Reads the draws of a chain for which `due` fell due by now: of one with draws in a trace file, those that are not there. A file without any was
    /// written by a program that records none: they count as skipped.
    ///
    /// # Errors
    /// When there are another number of them, or they do not make a whole table.
    pub fn read(saved: &mut dyn Saved, due: u64) -> Result<Self> {
        let (log_prob, projection) = (saved.f32s(LOG_PROB)?, saved.f64s(PROJECTION)?);
        let stored = [LOG_PROB, PROJECTION].map(|name| saved.stored(name));
        if log_prob.is_none() && projection.is_none() && stored == [0, 0] {
            return Ok(Self {
                skipped: due,
                ..Self::default()
            });
        }
        let draws = Self {
            log_prob: log_prob.unwrap_or_default(),
            projection: projection.unwrap_or_default(),
            skipped: saved.count(SKIPPED).unwrap_or(0),
        };
        draws.check(stored, due)?;
        Ok(draws)
    }

    /// Reads all draws of a session.
    ///
    /// # Errors
    /// Returns the errors of [`Saved::f64s`].
    pub(in crate::inference) fn all(saved: &mut dyn Saved) -> Result<Self> {
        Ok(Self {
            log_prob: saved.f32s(LOG_PROB)?.unwrap_or_default(),
            projection: saved.f64s(PROJECTION)?.unwrap_or_default(),
            skipped: saved.count(SKIPPED).unwrap_or(0),
        })
    }

    /// Compares these and the scores and projections in a trace file with the draws that fell due.
    fn check(&self, [scores, sums]: [u64; 2], due: u64) -> Result<()> {
        let Some(expected) = due.checked_sub(self.skipped) else {
            let range = format!("at most the {due} draws that fell due");
            return Err(Error::out_of_range(SKIPPED, range, self.skipped));
        };
        let scores = scores.saturating_add(self.log_prob.len() as u64);
        let sums = sums.saturating_add(self.projection.len() as u64);
        let whole = scores.checked_rem(expected).unwrap_or(scores) == 0;
        if Some(sums) != expected.checked_mul(PROJECTIONS as u64) || !whole {
            let got = format!("{scores} scores and {sums} projections");
            let expected = format!("{expected} draws of the probes");
            return Err(Error::out_of_range("recorded draws", expected, got));
        }
        Ok(())
    }
}

/// After which steps draws are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DrawSchedule {
    every: u64,
    before: u64,
    sampling_steps: u64,
    schedule: Schedule,
}

impl DrawSchedule {
    /// Of a chain that records every `every` sampling steps after `before` steps that do not sample; none where `every` is 0.
    pub fn new(every: u64, before: u64, sampling_steps: u64, schedule: Schedule) -> Self {
        Self {
            every,
            before,
            sampling_steps,
            schedule,
        }
    }

    /// Returns how many draws a chain has after `steps` steps in all.
    pub fn due(&self, steps: u64) -> u64 {
        let made = steps.saturating_sub(self.before).min(self.sampling_steps);
        (self.schedule).samples_at(self.every, made, self.sampling_steps)
    }

    /// Returns after how many sampling steps each draw was recorded that a chain has after `steps` steps in all.
    pub fn steps(&self, steps: u64) -> impl Iterator<Item = u64> + '_ {
        let made = steps.saturating_sub(self.before).min(self.sampling_steps);
        (1..=made.checked_div(self.every).unwrap_or(0))
            .map(|i| i * self.every)
            .filter(|&made| self.is_due(made))
    }

    /// Returns whether a draw is recorded after `made` sampling steps: at every so many, but for those that explore.
    pub fn is_due(&self, made: u64) -> bool {
        let explores = |step| self.schedule.explores(step, self.sampling_steps);
        made > 0 && made.is_multiple_of(self.every) && !explores(made - 1)
    }
}

/// Records [`Draws`], and holds those that are not in a file; [`Session::draws`](crate::inference::Session::draws) returns all.
pub struct DrawRecorder<B: Backend + 'static> {
    backend: B,
    gpt: Gpt,
    probe: Probe<B>,
    schedule: DrawSchedule,
    draws: Draws,
}

impl<B: Backend + 'static> DrawRecorder<B> {
    /// Records on the target's validation split; none where the settings have no probe.
    ///
    /// # Errors
    /// Returns the errors of [`Probe::new`], and an error when there is a probe but no step for a draw.
    pub(crate) fn new(
        backend: &B,
        target: &Target<'_>,
        settings: &MonitorConfig,
        chain: &ChainConfig,
        before: u64,
    ) -> Result<Option<Self>> {
        if settings.probe_tokens == 0 {
            return Ok(None);
        }
        if settings.probe_every == 0 {
            return Err(Error::out_of_range("probe_every", "at least 1", 0));
        }
        let (gpt, val) = (target.gpt, &target.corpus.val);
        let t = gpt.config().block_size;
        let (every, length) = (settings.probe_every, chain.sampling_steps);
        Ok(Some(Self {
            backend: backend.clone(),
            gpt: gpt.clone(),
            probe: Probe::new(backend, gpt, val, t, settings.probe_tokens)?,
            schedule: DrawSchedule::new(every, before, length, chain.schedule),
            draws: Draws::default(),
        }))
    }
}

impl<B: Backend + 'static> Monitor<B> for DrawRecorder<B> {
    fn after(&mut self, report: &StepReport, at: &mut AfterStep<'_, B>) -> Result<()> {
        let warms_up = report.phase == crate::samplers::Phase::Warmup;
        if warms_up || !self.schedule.is_due(at.progress().sampled) {
            return Ok(());
        }
        let scores = (self.probe).log_prob(&self.backend, &self.gpt, at.params())?;
        let params = self.backend.get(at.params())?;
        memory::grow(&mut self.draws.projection, PROJECTIONS, "a chain's draws")?;
        memory::append(&mut self.draws.log_prob, scores, "a chain's draws")?;
        self.draws.projection.extend(random_projections(&params));
        Ok(())
    }

    fn state(&self) -> Result<Vec<(&'static str, Numbers<'_>)>> {
        let skipped = self.draws.skipped;
        let skipped = (skipped > 0).then_some((SKIPPED, Numbers::Count(skipped)));
        Ok(skipped.into_iter().collect())
    }

    fn series(&self) -> Vec<(&'static str, Numbers<'_>)> {
        vec![
            (LOG_PROB, Numbers::F32((&self.draws.log_prob).into())),
            (PROJECTION, Numbers::F64((&self.draws.projection).into())),
        ]
    }

    fn stored(&mut self) {
        memory::empty(&mut self.draws.log_prob);
        memory::empty(&mut self.draws.projection);
    }

    fn restore(&mut self, saved: &mut dyn Saved, progress: Progress) -> Result<()> {
        self.draws = Draws::read(saved, self.schedule.due(progress.steps))?;
        Ok(())
    }
}
