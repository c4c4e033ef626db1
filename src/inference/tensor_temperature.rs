//! The temperature of each tensor while a chain sampled, and for people the worst of them.

use super::mixing::{equilibrium_sd, is_off};
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
    /// Minus the mean of (theta - theta_0) * grad.
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
    let tensors = layout.tensors().iter().enumerate();
    let of = |(i, t): (usize, &crate::gpt::Tensor)| TensorTemperature {
        name: t.name.clone(),
        parameters: t.range.len(),
        kinetic: taken.kinetic(i).filter(|_| momenta),
        configurational: taken.configurational(i),
        equilibrium_sd: equilibrium_sd(c.temperature, t.range.len()),
    };
    tensors.map(of).collect()
}

/// Returns a line for each of the two temperatures: how many tensors are off T, and the coldest and the hottest. At T = 0, where nothing is in
/// equilibrium, there are none.
pub fn lines(tensors: &[TensorTemperature], temperature: f64) -> Vec<String> {
    type Get = fn(&TensorTemperature) -> Option<RunningMean>;
    let kinds: [(&str, Get); 2] = [
        ("kinetic", |t| t.kinetic),
        ("configurational", |t| t.configurational),
    ];
    let mut lines = Vec::new();
    if temperature == 0.0 {
        return lines;
    }
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
