//! What a step size means: the largest stable one, the time it covers, and its name in an optimiser's language.
//!
//! On log_post = -lambda theta^2 / 2 with mass M' = sigma^2 M and omega^2 = lambda / M' a step is linear, with a
//! matrix whose trace t and determinant d are, with friction rate gamma = alpha / sigma^2 and c = exp(-gamma h),
//!
//! | method | t | d |
//! |---|---|---|
//! | SGLD | 1 - epsilon lambda / M (one dimension) | |
//! | SGHMC | 2 - gamma h - h^2 omega^2 | 1 - gamma h |
//! | SGHMC, Euler | 2 - gamma h | 1 - gamma h + h^2 omega^2 |
//! | BAOA | (1 + c) (1 - h^2 omega^2 / 2) | c |
//! | SGNHT, CCAdL | as BAOA with gamma = xi / sigma^2, xi as it is then | |
//! | SGNHT, Ding; Euler | as SGHMC; as SGHMC, Euler, with that gamma | |
//!
//! and the eigenvalues lie inside the unit circle just when |d| < 1 and |t| < 1 + d (Jury's conditions). That gives
//!
//! | method | stable when |
//! |---|---|
//! | SGLD | epsilon lambda / M < 2 |
//! | SGHMC | h^2 omega^2 < 4 - 2 gamma h |
//! | SGHMC, Euler | 2 gamma h - 4 < h^2 omega^2 < gamma h |
//! | BAOA | h^2 omega^2 < 4 |
//!
//! For Euler's scheme the lower bound bites from gamma h = 2 on, where any flat direction diverges; such a step is
//! refused. Where tensors have frictions of their own, BAOA's condition holds with each of them 0 or more; `tests/thermostats.rs` looks for exceptions. SGLRW's clamped steps cannot diverge; from epsilon lambda / M = 2 on they only jump back and forth. The temperature has no part in it: log_post is not divided by T.

use super::{ChainConfig, Schedule};
use crate::error::{Error, Result};

/// Returns the largest stable step size in a direction of curvature lambda, given lambda / M (M without sigma); infinite
/// where nothing limits it.
///
/// The step size in `config` is not used. A curvature of 0 or less sets no limit on it, which leaves that of
/// the friction. Where a thermostat drives (xi < 0), no step is stable and the limit is 0.
pub fn stability_limit(config: &ChainConfig, lambda_over_mass: f64) -> f64 {
    if drives(config) {
        return 0.0;
    }
    let scheme = config.method.scheme();
    scheme.stability_limit(config, lambda_over_mass.max(0.0))
}

/// Returns whether the friction is negative, as a thermostat's may be: momenta then grow at any step size.
fn drives(config: &ChainConfig) -> bool {
    config.friction_rate().is_some_and(|gamma| gamma < 0.0)
}

/// Checks that the step size is stable in a direction of curvature lambda, given lambda / M (M without sigma).
///
/// # Errors
/// [`Error::Unstable`] with the numbers when it is not; [`Error::OutOfRange`] when the curvature is NaN.
pub fn is_stable(config: &ChainConfig, lambda_over_mass: f64) -> Result<()> {
    if lambda_over_mass.is_nan() {
        return Err(Error::out_of_range(
            "curvature",
            "a number",
            lambda_over_mass,
        ));
    }
    let limit = stability_limit(config, lambda_over_mass);
    if config.step_size < limit {
        return Ok(());
    }
    if drives(config) {
        return Err(Error::Unstable(format!(
            "{} with a negative friction (xi): the momenta grow at any step size",
            config.method
        )));
    }
    let friction = match config.friction_rate() {
        Some(gamma) => format!(" and friction rate {gamma:.4e}"),
        None => String::new(),
    };
    Err(Error::Unstable(format!(
        "{} with step_size {:.4e} in a direction of curvature per mass {lambda_over_mass:.4e} (sigma {}){friction}: \
         stable below {limit:.4e}",
        config.method, config.step_size, config.sigma
    )))
}

/// Returns the time that `steps` steps from the start of the run cover: the sum of step sizes. For SGLD, of the time of
/// overdamped dynamics.
///
/// Exact up to 10^6 steps that follow a schedule; longer ones are summed at the middles of 10^6 equal parts.
pub fn physical_time(config: &ChainConfig, steps: u64) -> f64 {
    const PARTS: u64 = 1_000_000;
    let constant = match config.schedule {
        Schedule::Constant => steps,
        _ => steps.min(config.warmup_steps),
    };
    let rest = steps - constant;
    let scheduled = if rest <= PARTS {
        (constant..steps)
            .map(|step| config.step_size_at(step))
            .sum()
    } else {
        let part = rest as f64 / PARTS as f64;
        let middle = |i: u64| constant + ((i as f64 + 0.5) * part) as u64;
        let sizes = (0..PARTS).map(|i| config.step_size_at(middle(i).min(steps - 1)));
        part * sizes.sum::<f64>()
    };
    constant as f64 * config.step_size + scheduled
}

/// Returns how often the momentum is forgotten in `steps` steps: [`physical_time`] times the friction rate. Samples that
/// are less than one apart share their direction. `None` without momenta.
pub fn friction_times(config: &ChainConfig, steps: u64) -> Option<f64> {
    config
        .friction_rate()
        .map(|gamma| gamma * physical_time(config, steps))
}

/// The pair that an optimiser would call this step: SGD with v = momentum * v - grad(mean loss), theta += lr * v.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerPair {
    /// Learning rate on the mean loss, at M = 1.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
}

/// Returns the optimiser's pair for a log posterior of `num_data` times a mean: at T = 0 the chain's gradients are taken at
/// just the points where that optimiser takes them.
///
/// - SGLD, and SGLRW in the mean: lr = epsilon num_data, momentum 0.
/// - SGHMC, and Ding's SGNHT with its friction at the start: lr = h^2 num_data / sigma^2, momentum = 1 - gamma h. Euler's schemes have the
///   same pair, with each gradient used a step late.
/// - BAOA, and SGNHT and CCAdL with its friction at the start: momentum = c = exp(-gamma h), lr = h^2 num_data / sigma^2 * (1 + c) / 2, which is h^2 num_data / sigma^2
///   up to order h^3.
pub fn optimizer_pair(config: &ChainConfig, num_data: f64) -> OptimizerPair {
    config.method.scheme().optimizer_pair(config, num_data)
}

/// Returns the `alpha` with which a step of the configured size has this momentum in an optimiser's sense: the inverse of
/// [`optimizer_pair`]'s.
///
/// # Errors
/// [`Error::Conflict`] for a method without momenta; [`Error::OutOfRange`] for a momentum outside (0, 1).
pub fn alpha_for_momentum(config: &ChainConfig, momentum: f64) -> Result<f64> {
    if !(momentum > 0.0 && momentum < 1.0) {
        return Err(Error::out_of_range(
            "momentum",
            "above 0 and below 1",
            momentum,
        ));
    }
    let lost = config.method.scheme().friction_for_momentum(momentum);
    let lost = lost.ok_or_else(|| {
        Error::conflict(format!(
            "momentum: {} has no momenta, and {momentum} was given: leave it out",
            config.method
        ))
    })?;
    Ok(lost * config.sigma * config.sigma / config.step_size)
}
