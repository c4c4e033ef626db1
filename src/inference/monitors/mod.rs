//! The monitors that a session has by its settings: a file each, and a row in the list below.

mod draws;
mod excess_loss;
mod fit_trace;
mod temperatures;
mod trace;

pub use draws::{DrawRecorder, DrawSchedule, Draws};
pub use excess_loss::ExcessLoss;
pub use fit_trace::{FitRecorder, FitTrace};
pub use temperatures::TensorTemperatures;
pub use trace::{Trace, TraceRecorder};

use super::config::{Inference, MonitorConfig, Target};
use super::monitor::Monitor;
use crate::backend::Backend;
use crate::error::Result;

/// Returns the monitors of a chain or a fit on a model's posterior.
///
/// # Errors
/// When the validation split is too short for the probe.
pub(super) fn all<B: Backend + 'static>(
    backend: &B,
    target: &Target<'_>,
    settings: &MonitorConfig,
    inference: &Inference,
) -> Result<Vec<Box<dyn Monitor<B>>>> {
    let Inference::Chain { sampler, .. } = inference else {
        return Ok(vec![Box::new(FitRecorder::default())]);
    };
    let before = inference.steps_before_sampling();
    let every = settings.temperature_every;
    let temperatures = TensorTemperatures::of_tensors(target.gpt, every, sampler)?;
    let excess = ExcessLoss::new(target, settings.llc_every, sampler);
    let draws = DrawRecorder::new(backend, target, settings, sampler, before)?;
    let rows: [Option<Box<dyn Monitor<B>>>; 4] = [
        Some(Box::new(TraceRecorder::default())),
        boxed(temperatures),
        boxed(excess),
        boxed(draws),
    ];
    Ok(rows.into_iter().flatten().collect())
}

fn boxed<B: Backend + 'static, M: Monitor<B>>(monitor: Option<M>) -> Option<Box<dyn Monitor<B>>> {
    monitor.map(|m| Box::new(m) as _)
}
