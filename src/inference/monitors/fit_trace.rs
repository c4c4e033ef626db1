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

impl FitTrace {
    /// Reads the series of a fit that has made so many steps: of one with its values in a trace file, those that are not there.
    ///
    /// # Errors
    /// When there are more values than steps, and the errors of [`Saved::f64s`].
    pub fn read(saved: &mut dyn Saved, steps: u64) -> Result<Self> {
        let mut all = Self::default();
        for (name, to) in NAMES.into_iter().zip(all.series_mut()) {
            *to = saved.f64s(name)?.unwrap_or_default();
            let n = saved.stored(name).saturating_add(to.len() as u64);
            if n > steps {
                let expected = format!("at most {steps} values");
                return Err(Error::out_of_range(name, expected, n));
            }
        }
        Ok(all)
    }

    fn series_mut(&mut self) -> [&mut Vec<f64>; 4] {
        [
            &mut self.loss,
            &mut self.log_post,
            &mut self.epoch_sd,
            &mut self.epoch_seconds,
        ]
    }
}

/// Records a [`FitTrace`], and holds what of it is not in a file; [`Session::fit_trace`](crate::inference::Session::fit_trace) returns all of it.
#[derive(Debug, Default)]
pub struct FitRecorder {
    rest: FitTrace,
}

impl FitRecorder {
    /// Adds what the driver found at an epoch's end: the mean standard deviation, and its seconds.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where memory does not hold it.
    pub fn epoch(&mut self, sd: f64, seconds: f64) -> Result<()> {
        memory::push(&mut self.rest.epoch_sd, sd, "a fit's trace")?;
        memory::push(&mut self.rest.epoch_seconds, seconds, "a fit's trace")
    }
}

impl<B: Backend + 'static> Monitor<B> for FitRecorder {
    fn after(&mut self, report: &StepReport, _at: &mut AfterStep<'_, B>) -> Result<()> {
        let rest = &mut self.rest;
        memory::grow(&mut rest.loss, 1, "a fit's trace")?;
        memory::grow(&mut rest.log_post, 1, "a fit's trace")?;
        rest.loss.extend(report.log_lik.map(|l| -l));
        rest.log_post.extend(report.log_post);
        Ok(())
    }

    fn series(&self) -> Vec<(&'static str, Numbers<'_>)> {
        let series = [
            &self.rest.loss,
            &self.rest.log_post,
            &self.rest.epoch_sd,
            &self.rest.epoch_seconds,
        ];
        let named = NAMES.into_iter().zip(series);
        named
            .map(|(name, v)| (name, Numbers::F64(v.into())))
            .collect()
    }

    fn stored(&mut self) {
        self.rest.series_mut().into_iter().for_each(memory::empty);
    }

    fn restore(&mut self, saved: &mut dyn Saved, progress: Progress) -> Result<()> {
        self.rest = FitTrace::read(saved, progress.steps)?;
        Ok(())
    }
}
