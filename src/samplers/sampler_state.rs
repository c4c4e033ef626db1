//! The state of a chain as plain data, and what it must be to go on from.

use super::{ChainConfig, PsgldMass, Thermostat};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A chain's whole state as plain data: with its settings, all that it takes to go on bit for bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplerState {
    /// Steps made.
    pub step: u64,
    /// Parameters.
    pub theta: Vec<f32>,
    /// Momenta; `None` for a method without.
    pub momenta: Option<Vec<f32>>,
    /// Diagonal mass M (without sigma) that stays; `None` is 1 everywhere.
    pub mass: Option<Vec<f32>>,
    /// A mass that follows the chain, in place of one that stays.
    #[serde(default)]
    pub live: Option<PsgldMass>,
    /// Variances of the gradient's noise, 0 or more, where the step makes up for it.
    #[serde(default)]
    pub gradient_noise: Option<Vec<f32>>,
    /// Where the chain started.
    pub center: Vec<f32>,
    /// The thermostats, in the order of the parameters: one for all or one for each tensor; none for a method without.
    #[serde(default)]
    pub thermostats: Vec<Thermostat>,
}

/// Checks that a state is one that a chain of these settings has.
pub(super) fn check_state(config: &ChainConfig, state: &SamplerState) -> Result<()> {
    let n = state.theta.len();
    if n == 0 {
        return Err(Error::out_of_range("params", "at least one", n));
    }
    if state.step > config.total_steps() {
        let expected = format!("at most the run's {} steps", config.total_steps());
        return Err(Error::out_of_range("step", expected, state.step));
    }
    match (&state.momenta, config.method.has_momenta()) {
        (None, true) => return Err(Error::shape("momenta", [n], [0])),
        (Some(m), false) => return Err(Error::shape("momenta", [0], [m.len()])),
        _ => {}
    }
    check_thermostats(config, state)?;
    check_finite("params", &state.theta, n)?;
    check_finite("center", &state.center, n)?;
    if let Some(momenta) = &state.momenta {
        check_finite("momenta", momenta, n)?;
    }
    if let Some(mass) = &state.mass {
        check_mass(mass, n)?;
    }
    if let Some(variance) = &state.gradient_noise {
        check_takes_noise(config)?;
        // An estimate may have overflowed; the step then adds no noise of its own.
        let expected = "0 or a positive number";
        check("gradient_noise", variance, n, expected, |v| v >= 0.0)?;
    }
    if let Some(live) = &state.live {
        live.check(config.method, n)?;
        if state.mass.is_some() {
            return Err(Error::conflict(
                "the state has a frozen mass and one that follows the chain: keep one of them",
            ));
        }
    }
    Ok(())
}

/// Checks that a state's thermostats are those of the settings, and govern all of its parameters.
fn check_thermostats(config: &ChainConfig, state: &SamplerState) -> Result<()> {
    let (all, n) = (&state.thermostats, state.theta.len());
    match (all.is_empty(), config.method.has_thermostat()) {
        (true, true) => {
            return Err(Error::conflict(format!(
                "the state has no thermostat, and {} needs one",
                config.method
            )));
        }
        (false, false) => {
            return Err(Error::conflict(format!(
                "the state has a thermostat, and {} has none",
                config.method
            )));
        }
        _ => {}
    }
    if config.thermostats.is_global() && all.len() > 1 {
        return Err(Error::conflict(format!(
            "the state has {} thermostats, and the settings one: choose thermostat tensor",
            all.len()
        )));
    }
    let bad = |t: &&Thermostat| !(t.xi.is_finite() && t.kinetic.is_finite()) || t.parameters == 0;
    if let Some(t) = all.iter().find(bad) {
        let expected = "finite numbers for at least one parameter";
        return Err(Error::out_of_range(
            "thermostat",
            expected,
            format!("{t:?}"),
        ));
    }
    let governed = all
        .iter()
        .try_fold(0usize, |sum, t| sum.checked_add(t.parameters));
    match governed {
        Some(sum) if all.is_empty() || sum == n => Ok(()),
        sum => Err(Error::shape(
            "thermostats' parameters",
            [n],
            [sum.unwrap_or(usize::MAX)],
        )),
    }
}

pub(super) fn check_takes_noise(c: &ChainConfig) -> Result<()> {
    if c.method.scheme().takes_gradient_noise() {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "gradient_noise: {} cannot make up for the gradient's noise: leave it out, or choose the method baoa or ccadl",
        c.method
    )))
}

pub(super) fn check_finite(what: &str, x: &[f32], n: usize) -> Result<()> {
    check(what, x, n, "a finite number", |x| x.is_finite())
}

pub(super) fn check_mass(mass: &[f32], n: usize) -> Result<()> {
    // Its inverse must be finite too.
    check("mass", mass, n, "a positive normal number", |m| {
        m.is_normal() && m > 0.0 && (1.0 / m).is_normal()
    })
}

pub(super) fn check(
    what: &str,
    x: &[f32],
    n: usize,
    expected: &str,
    ok: impl Fn(f32) -> bool,
) -> Result<()> {
    if x.len() != n {
        return Err(Error::shape(what, [n], [x.len()]));
    }
    match x.iter().position(|x| !ok(*x)) {
        Some(at) => Err(Error::out_of_range(
            format!("{what}[{at}]"),
            expected,
            x[at],
        )),
        None => Ok(()),
    }
}
