//! The series that every step of a fit on a model's posterior adds to, and what its driver says of each epoch.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::inference::monitor::{AfterStep, Monitor, Numbers, Progress, Saved, StepReport};
use crate::memory;

/// One value per step, and per epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FitTrace {
    /// Mean loss of the step's batch, nats.
    pub loss: Vec<f64>,
    /// Log posterior of the step.
    pub log_post: Vec<f64>,
    /// Mean standard deviation at each epoch's end, where the driver took it.
    pub epoch_sd: Vec<f64>,
    /// Seconds of each epoch, where the driver took them.
    pub epoch_seconds: Vec<f64>,
}

const NAMES: [&str; 4] = [
    "trace.loss",
    "trace.log_post",
    "trace.epoch_sd",
    "trace.epoch_seconds",
];

impl<B: Backend + 'static> Monitor<B> for FitTrace {
    fn after(&mut self, report: &StepReport, _at: &mut AfterStep<'_, B>) -> Result<()> {
        memory::grow(&mut self.loss, 1, "a fit's trace")?;
        memory::grow(&mut self.log_post, 1, "a fit's trace")?;
        self.loss.extend(report.log_lik.map(|l| -l));
        self.log_post.extend(report.log_post);
        Ok(())
    }

    fn state(&self) -> Result<Vec<(&'static str, Numbers<'_>)>> {
        let series = [
            &self.loss,
            &self.log_post,
            &self.epoch_sd,
            &self.epoch_seconds,
        ];
        let named = NAMES.into_iter().zip(series);
        Ok(named
            .map(|(name, v)| (name, Numbers::F64(v.into())))
            .collect())
    }

    fn restore(&mut self, saved: &mut dyn Saved, progress: Progress) -> Result<()> {
        let series = [
            &mut self.loss,
            &mut self.log_post,
            &mut self.epoch_sd,
            &mut self.epoch_seconds,
        ];
        for (name, to) in NAMES.into_iter().zip(series) {
            *to = saved.f64s(name)?.unwrap_or_default();
            if to.len() as u64 > progress.steps {
                let expected = format!("at most {} values", progress.steps);
                return Err(Error::out_of_range(name, expected, to.len()));
            }
        }
        Ok(())
    }
}
