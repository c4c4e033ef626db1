//! The step size over a run.

use serde::{Deserialize, Serialize};

/// How the step size changes after the warm-up, in which it is constant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Not at all.
    #[default]
    Constant,
    /// From the whole step size down to this fraction of it, in (0, 1], along half a cosine over the sampling steps.
    Cosine {
        /// The fraction at the last step.
        final_fraction: f64,
    },
}

impl Schedule {
    /// The factor on the step size at sampling step `step` (from 0) of `steps`.
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        match *self {
            Self::Constant => 1.0,
            Self::Cosine { final_fraction } => {
                let done = step as f64 / steps.saturating_sub(1).max(1) as f64;
                let wave = 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos());
                final_fraction + (1.0 - final_fraction) * wave
            }
        }
    }
}
