//! The temperature of each tensor while a chain sampled: kept in the chain's file, and for people the worst of them.

use super::config::Config;
use super::prepare::Setting;
use crate::error::{Error, Result};
use crate::gpt::Layout;
use crate::samplers::{RunningMean, Temperatures};
use crate::store::{Reader, TEMPERATURES};
use serde::Serialize;
use std::path::Path;

/// The temperatures of one tensor.
#[derive(Clone, Debug, Serialize)]
pub struct TensorTemperature {
    /// nanoGPT's name.
    pub name: String,
    /// Its parameters, d.
    pub parameters: usize,
    /// Mean of m^2 / M'; none without momenta.
    pub kinetic: Option<RunningMean>,
    /// Minus the mean of (theta - theta_0) * grad.
    pub configurational: Option<RunningMean>,
    /// Standard deviation of one step's value if the target were Gaussian about theta_0 and the chain in equilibrium, T sqrt(2/d).
    pub equilibrium_sd: f64,
}

/// What is to be taken while a chain runs; none where that is off.
///
/// # Errors
/// As [`Temperatures::new`].
pub fn new(config: &Config, setting: &Setting) -> Result<Option<Temperatures>> {
    match config.temperature_every {
        0 => Ok(None),
        every => Temperatures::new(every, ranges(setting.gpt.layout())).map(Some),
    }
}

/// The same from the file of a chain that has made `step` steps since it has its mass.
///
/// # Errors
/// When the file does not hold them.
pub fn read(
    config: &Config,
    setting: &Setting,
    step: u64,
    r: &mut Reader,
    path: &Path,
) -> Result<Option<Temperatures>> {
    if config.temperature_every == 0 {
        return Ok(None);
    }
    let (count, len) = (r.counter(TEMPERATURES)?, r.tensor(TEMPERATURES)?.len);
    let ranges = ranges(setting.gpt.layout());
    // The room that a file may ask for is bounded by the model's.
    let most = 2 * 64 * ranges.len() as u64;
    if len > most {
        let message = format!("{TEMPERATURES}: expected at most {most} values, found {len}");
        return Err(Error::BadHeader {
            path: path.into(),
            message,
        });
    }
    let mut state = vec![0.0; len as usize];
    r.read_f64(TEMPERATURES, &mut state)?;
    let sampled = step.saturating_sub(config.warmup_steps);
    Temperatures::restore(config.temperature_every, ranges, sampled, (count, &state))
        .map(Some)
        .map_err(Error::of_file(path))
}

fn ranges(layout: &Layout) -> Vec<std::ops::Range<usize>> {
    layout.tensors().iter().map(|t| t.range.clone()).collect()
}

/// Each tensor's.
pub fn report(config: &Config, setting: &Setting, all: &Temperatures) -> Vec<TensorTemperature> {
    let momenta = config.sampler.chain().is_some_and(|m| m.has_momenta());
    let tensors = setting.gpt.layout().tensors().iter().enumerate();
    let of = |(i, t): (usize, &crate::gpt::Tensor)| TensorTemperature {
        name: t.name.clone(),
        parameters: t.range.len(),
        kinetic: all.kinetic(i).filter(|_| momenta),
        configurational: all.configurational(i),
        equilibrium_sd: config.temperature * (2.0 / t.range.len() as f64).sqrt(),
    };
    tensors.map(of).collect()
}

/// Five standard errors and five percent: neither noise nor rounding.
pub fn is_off(mean: f64, std_error: f64, temperature: f64) -> bool {
    (mean - temperature).abs() > 5.0 * std_error + 0.05 * temperature
}

/// A line for each of the two temperatures: how many tensors are off T, and the coldest and the hottest.
pub fn lines(tensors: &[TensorTemperature], temperature: f64) -> Vec<String> {
    type Get = fn(&TensorTemperature) -> Option<RunningMean>;
    let kinds: [(&str, Get); 2] = [
        ("kinetic", |t| t.kinetic),
        ("configurational", |t| t.configurational),
    ];
    let mut lines = Vec::new();
    for (what, get) in kinds {
        let each = || {
            let known = |t| get(t).and_then(|m| Some((t, m.mean, m.std_error?)));
            tensors.iter().filter_map(known)
        };
        let by_mean = |a: &(_, f64, _), b: &(_, f64, _)| a.1.total_cmp(&b.1);
        let (Some(cold), Some(hot)) = (each().min_by(by_mean), each().max_by(by_mean)) else {
            continue;
        };
        let off = each().filter(|(_, m, se)| is_off(*m, *se, temperature));
        let show = |(t, mean, se): (&TensorTemperature, f64, f64)| {
            let name = t.name.trim_start_matches("transformer.");
            format!("{name} {mean:.4} +- {se:.4}")
        };
        lines.push(format!(
            "{what} temperature by tensor: {} of {} are off T = {temperature}; coldest {}, hottest {}",
            off.count(),
            each().count(),
            show(cold),
            show(hot),
        ));
    }
    lines
}
