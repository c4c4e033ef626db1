//! The series that every step of a chain on a model's posterior adds to: log likelihoods, log priors, temperatures.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::inference::monitor::{AfterStep, Monitor, Numbers, Progress, Saved, StepReport};
use crate::memory;
use crate::samplers::Phase;

/// One value per step; the temperatures per step after the warm-up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Steps that were made before the series begin: those of a chain that was saved without them.
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

    /// Returns the series in the order of their names.
    fn series(&self) -> [&Vec<f64>; 4] {
        [
            &self.log_lik,
            &self.log_prior,
            &self.kinetic,
            &self.configurational,
        ]
    }
}

impl<B: Backend + 'static> Monitor<B> for Trace {
    fn after(&mut self, report: &StepReport, _at: &mut AfterStep<'_, B>) -> Result<()> {
        // One value of each, or none: a step that was made is in all series or in none.
        let series = [
            &mut self.log_lik,
            &mut self.log_prior,
            &mut self.kinetic,
            &mut self.configurational,
        ];
        for series in series {
            memory::grow(series, 1, "a chain's trace")?;
        }
        self.log_lik.extend(report.log_lik);
        self.log_prior.extend(report.log_prior);
        if report.phase != Phase::Warmup {
            self.kinetic.extend(report.kinetic_temperature);
            self.configurational
                .extend(report.configurational_temperature);
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<(&'static str, Numbers<'_>)>> {
        let series = NAMES.into_iter().zip(self.series());
        let series = series.map(|(name, v)| (name, Numbers::F64(v.into())));
        let skipped = (self.skipped > 0).then_some((SKIPPED, Numbers::Count(self.skipped)));
        Ok(series.chain(skipped).collect())
    }

    fn restore(&mut self, saved: &mut dyn Saved, progress: Progress) -> Result<()> {
        let mut read = |name: &str| -> Result<Option<Vec<f64>>> {
            let v = saved.f64s(name)?;
            match v.as_ref().map_or(0, Vec::len) as u64 {
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
        self.skipped = match &log_lik {
            Some(_) => saved.count(SKIPPED).unwrap_or(0),
            None => progress.steps,
        };
        self.log_lik = log_lik.unwrap_or_default();
        self.log_prior = log_prior.unwrap_or_default();
        self.kinetic = kinetic.unwrap_or_default();
        self.configurational = configurational.unwrap_or_default();
        Ok(())
    }
}
