//! The temperature of each tensor while a chain samples, kept in the chain's file.

use super::config::Config;
use super::prepare::Setting;
use crate::error::{Error, Result};
use crate::gpt::Layout;
use crate::samplers::Temperatures;
use crate::store::{Reader, TEMPERATURES};
use std::path::Path;

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
