//! What a chain's settings are where none are given.
//!
//! A caller's own log posterior is sampled as it stands: T = 1, a thermostat of mass 1. A GPT's posterior is sampled colder, where its
//! predictions are better than at T = 1 (`docs/tuning.md`), with a thermostat that follows within a fiftieth of a usual run and not within
//! a few thousand of its steps. How long a run is and how often it keeps a sample is the same for both.

/// Temperature T for a caller's own log posterior.
pub const TEMPERATURE: f64 = 1.0;
/// Temperature T for a GPT's posterior.
pub const MODEL_TEMPERATURE: f64 = 0.15;
/// Standard deviation of the prior on a GPT's weights, for chains.
pub const MODEL_PRIOR_STD: f64 = 0.4;
/// A thermostat's mass Q for a caller's own log posterior.
pub const THERMOSTAT_MASS: f64 = 1.0;
/// A thermostat's mass Q for a GPT's posterior: with the friction of [`MOMENTUM`] near 23, xi relaxes within a fiftieth of the run.
pub const MODEL_THERMOSTAT_MASS: f64 = 4e-4;
/// The optimiser's momentum that sets the friction on a GPT's posterior.
pub const MOMENTUM: f64 = 0.9;
/// Steps before sampling.
pub const WARMUP_STEPS: u64 = 100;
/// Steps before sampling where they find a mass and a step.
pub const ADAPTING_STEPS: u64 = 2000;
/// Steps of sampling.
pub const SAMPLING_STEPS: u64 = 5000;
/// Sampling steps per sample that is kept.
pub const THINNING: u64 = 100;
