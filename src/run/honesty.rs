//! Whether a run's step is refused before it samples.

use super::config::Config;
use crate::error::{Error, Result};
use crate::inference::PriorStability;
use crate::posterior::Prior;
use crate::samplers::{self, stability};

/// Refuses a step that diverges in the prior's stiffest direction whatever the data; returns the line to print otherwise.
///
/// # Errors
/// [`Error::Unstable`], unless the configuration forces the step.
pub fn stability_line(
    config: &Config,
    sampler: &samplers::ChainConfig,
    prior: &Prior,
    mass: Option<&[f32]>,
) -> Result<String> {
    let found = PriorStability::new(sampler, prior, mass);
    match stability::is_stable(sampler, found.stiffest) {
        Ok(()) => Ok(found.line()),
        Err(Error::Unstable(text)) if !config.force => Err(Error::Unstable(format!(
            "{text}; --force runs it all the same"
        ))),
        Err(Error::Unstable(text)) => Ok(format!("warning: unstable: {text}; forced")),
        Err(e) => Err(e),
    }
}
