//! The series that every step of a chain on a model's posterior adds to: log likelihoods, log priors, temperatures.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::inference::monitor::{AfterStep, Monitor, Numbers, Progress, Saved, StepReport};
use crate::memory;
use crate::samplers::Phase;

/// One value per step; the temperatures per step after the warm-up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Steps that were made before the series begin: those of a chain that was saved without them, or whose trace was lost.
    pub skipped: u64,
    /// Mean log likelihood of the step's batch, nats.
    pub log_lik: Vec<f64>,
    /// Log prior without its constant.
    pub log_prior: Vec<f64>,
    /// Kinetic temperature.
    pub kinetic: Vec<f64>,
    /// Configurational temperature.
    pub configurational: Vec<f64>,
}

const NAMES: [&str; 4] = [
    "trace.log_lik",
    "trace.log_prior",
    "trace.kinetic_temperature",
    "trace.configurational_temperature",
];
const SKIPPED: &str = "trace.skipped";

impl Trace {
    /// Whether it has every step of the chain.
    pub fn is_whole(&self) -> bool {
        self.skipped == 0
    }

    /// Reads the series of a chain that has made `progress`: of one with its values in a trace file, those that are not there.
    ///
    /// # Errors
    /// When there are more values than steps, and the errors of [`Saved::f64s`].
    pub fn read(saved: &mut dyn Saved, progress: Progress) -> Result<Self> {
        let mut read = |name: &str| -> Result<Option<Vec<f64>>> {
            let v = saved.f64s(name)?;
            let here = v.as_ref().map_or(0, Vec::len) as u64;
            match here.saturating_add(saved.stored(name)) {
                n if n > progress.steps => {
                    let expected = format!("at most {} values", progress.steps);
                    Err(Error::out_of_range(name, expected, n))
                }
                _ => Ok(v),
            }
        };
        let series = [
            read(NAMES[0])?,
            read(NAMES[1])?,
            read(NAMES[2])?,
            read(NAMES[3])?,
        ];
        let [log_lik, log_prior, kinetic, configurational] = series;
        let skipped = match &log_lik {
            None if saved.stored(NAMES[0]) == 0 => progress.steps,
            _ => saved.count(SKIPPED).unwrap_or(0),
        };
        Ok(Self {
            skipped,
            log_lik: log_lik.unwrap_or_default(),
            log_prior: log_prior.unwrap_or_default(),
            kinetic: kinetic.unwrap_or_default(),
            configurational: configurational.unwrap_or_default(),
        })
    }

    /// Returns the series in the order of their names.
    fn series(&self) -> [&Vec<f64>; 4] {
        [
            &self.log_lik,
            &self.log_prior,
            &self.kinetic,
            &self.configurational,
        ]
    }

    fn series_mut(&mut self) -> [&mut Vec<f64>; 4] {
        [
            &mut self.log_lik,
            &mut self.log_prior,
            &mut self.kinetic,
            &mut self.configurational,
        ]
    }
}

/// Records a [`Trace`], and holds what of it is not in a file; [`Session::trace`](crate::inference::Session::trace) returns all of it.
#[derive(Debug, Default)]
pub struct TraceRecorder {
    rest: Trace,
}

impl<B: Backend + 'static> Monitor<B> for TraceRecorder {
    fn after(&mut self, report: &StepReport, _at: &mut AfterStep<'_, B>) -> Result<()> {
        // One value of each, or none: a step that was made is in all series or in none.
        for series in self.rest.series_mut() {
            memory::grow(series, 1, "a chain's trace")?;
        }
        let rest = &mut self.rest;
        rest.log_lik.extend(report.log_lik);
        rest.log_prior.extend(report.log_prior);
        if report.phase != Phase::Warmup {
            rest.kinetic.extend(report.kinetic_temperature);
            (rest.configurational).extend(report.configurational_temperature);
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<(&'static str, Numbers<'_>)>> {
        let skipped = self.rest.skipped;
        let skipped = (skipped > 0).then_some((SKIPPED, Numbers::Count(skipped)));
        Ok(skipped.into_iter().collect())
    }

    fn series(&self) -> Vec<(&'static str, Numbers<'_>)> {
        let series = NAMES.into_iter().zip(self.rest.series());
        series
            .map(|(name, v)| (name, Numbers::F64(v.into())))
            .collect()
    }

    fn stored(&mut self) {
        self.rest.series_mut().into_iter().for_each(memory::empty);
    }

    fn restore(&mut self, saved: &mut dyn Saved, progress: Progress) -> Result<()> {
        self.rest = Trace::read(saved, progress)?;
        Ok(())
    }
}
