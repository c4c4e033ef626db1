//! The temperature of each tensor while a chain sampled, and for people the worst of them.

use super::temperature_band::{Kind, equilibrium_sd, expected_kinetic, is_off};
use crate::gpt::Layout;
use crate::samplers::{ChainConfig, RunningMean, Temperatures};
use serde::Serialize;

/// The temperatures of one tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorTemperature {
    /// nanoGPT's name of the tensor.
    pub name: String,
    /// How many parameters it has, d.
    pub parameters: usize,
    /// Mean of m^2 / M'; none without momenta.
    pub kinetic: Option<RunningMean>,
    /// What that mean is in equilibrium at T; none without momenta.
    pub kinetic_expected: Option<f64>,
    /// Mean of the friction xi of the tensor's own thermostat; none where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xi: Option<RunningMean>,
    /// Minus the mean of (theta - theta_0) * grad, T in equilibrium.
    pub configurational: Option<RunningMean>,
    /// Standard deviation of one step's value if the target were Gaussian about theta_0 and the chain in equilibrium, T sqrt(2/d).
    pub equilibrium_sd: f64,
}

/// Returns the temperatures of each tensor, as they were taken from a chain of these settings.
pub fn of_tensors(
    c: &ChainConfig,
    layout: &Layout,
    taken: &Temperatures,
) -> Vec<TensorTemperature> {
    let momenta = c.method.has_momenta();
    let expected = expected_kinetic(c);
    let tensors = layout.tensors().iter().enumerate();
    let of = |(i, t): (usize, &crate::gpt::Tensor)| TensorTemperature {
        name: t.name.clone(),
        parameters: t.range.len(),
        kinetic: taken.kinetic(i).filter(|_| momenta),
        kinetic_expected: expected,
        xi: taken.friction(i),
        configurational: taken.configurational(i),
        equilibrium_sd: equilibrium_sd(c.temperature, t.range.len()),
    };
    tensors.map(of).collect()
}

/// Returns a line about the frictions of tensors that have thermostats, for a person; none where they have none.
pub fn friction_line(tensors: &[TensorTemperature]) -> Option<String> {
    let each: Vec<_> = (tensors.iter())
        .filter_map(|t| Some((t, t.xi?.mean)))
        .collect();
    let least = each.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    let most = each.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let show = |(t, xi): &(&TensorTemperature, f64)| {
        format!("{xi:.4e} in {}", t.name.trim_start_matches("transformer."))
    };
    Some(format!(
        "thermostats by tensor: mean friction xi from {} to {}",
        show(least),
        show(most)
    ))
}

/// Returns a line for each of the two temperatures of a chain at T: how many tensors are off what is expected, and the coldest and the hottest. At
/// T = 0, where nothing is in equilibrium, there are none.
pub fn lines(tensors: &[TensorTemperature], temperature: f64) -> Vec<String> {
    let of = |kind| line(tensors, kind, temperature);
    let kinds = [Kind::Kinetic, Kind::Configurational];
    let wanted = kinds.into_iter().filter(|_| temperature > 0.0);
    wanted.filter_map(of).collect()
}

fn line(tensors: &[TensorTemperature], kind: Kind, temperature: f64) -> Option<String> {
    let taken = |t: &TensorTemperature| match kind {
        Kind::Kinetic => Some((t.kinetic?, t.kinetic_expected?)),
        Kind::Configurational => Some((t.configurational?, temperature)),
    };
    let known = |t| taken(t).and_then(|(m, expected)| Some((t, m.mean, m.std_error?, expected)));
    let each: Vec<_> = tensors.iter().filter_map(known).collect();
    let by_mean = |a: &&(_, f64, _, _), b: &&(_, f64, _, _)| a.1.total_cmp(&b.1);
    let (cold, hot) = (each.iter().min_by(by_mean)?, each.iter().max_by(by_mean)?);
    let off = each.iter().filter(|(_, m, se, t)| is_off(*m, *se, *t));
    let show = |(t, mean, se, _): &(&TensorTemperature, f64, f64, f64)| {
        let name = t.name.trim_start_matches("transformer.");
        format!("{name} {mean:.4} +- {se:.4}")
    };
    Some(format!(
        "{} temperature by tensor: {} of {} are off the expected {:.4}; coldest {}, hottest {}",
        kind.name(),
        off.count(),
        each.len(),
        cold.3,
        show(cold),
        show(hot),
    ))
}
