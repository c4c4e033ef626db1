//! All that is said of one chain when it is done.

use super::StepFound;
use super::movement::Movement;
use super::readings::no_one_law;
use super::temperature_band::{Kind, TemperatureBand, expected_kinetic, temperatures_at_t};
use super::tensor_temperature::{self, TensorTemperature};
use crate::metrics::{Energy, LocalLearningCoefficient};
use crate::samplers::{ChainConfig, ExtremeEigenvalues};
use serde::Serialize;

/// The series that a chain on a model's posterior leaves, a value per step.
#[derive(Clone, Copy, Debug)]
pub struct TraceView<'a> {
    /// Mean log likelihoods of the steps' batches, nats, the warm-up's too.
    pub log_lik: &'a [f64],
    /// Log priors without their constant, the warm-up's too.
    pub log_prior: &'a [f64],
    /// Kinetic temperatures while sampling; empty without momenta.
    pub kinetic: &'a [f64],
    /// Configurational temperatures while sampling.
    pub configurational: &'a [f64],
}

/// Returns the energy of a chain of d parameters while it sampled; `num_data` is what the mean log-likelihood is multiplied by.
///
/// None at T = 0, where the temperature or the step follows a schedule that explores, and for fewer than 40 steps.
pub fn energy(c: &ChainConfig, num_data: f64, d: usize, trace: TraceView<'_>) -> Option<Energy> {
    if no_one_law(c).is_some() {
        return None;
    }
    let from = (trace.log_lik.len()).checked_sub(c.sampling_steps as usize)?;
    let log_post: Vec<f64> = trace.log_lik[from..]
        .iter()
        .zip(trace.log_prior.get(from..)?)
        .map(|(lik, prior)| num_data * lik + prior)
        .collect();
    let kinetic = (trace.kinetic.len() == log_post.len()).then_some(trace.kinetic);
    Energy::new(&log_post, kinetic, d, c.temperature).ok()
}

/// All that is said of one chain when it is done.
#[derive(Clone, Debug, Serialize)]
pub struct ChainSummary {
    /// Which chain of the run.
    pub chain: u32,
    /// How far its samples lie from its start.
    #[serde(flatten)]
    pub movement: Movement,
    /// Kinetic temperature while sampling.
    pub kinetic_temperature: Option<TemperatureBand>,
    /// Configurational temperature while sampling.
    pub configurational_temperature: Option<TemperatureBand>,
    /// The step that the warm-up found; none where it was given.
    pub step: Option<StepFound>,
    /// The local learning coefficient of the chain's start; none where the prior is not centred there, or it was not looked for.
    pub llc: Option<LocalLearningCoefficient>,
    /// Curvatures per mass at the start, of one batch; none where they were not looked for.
    pub curvature: Option<ExtremeEigenvalues>,
    /// Energies while sampling; none where they have no one temperature, or too few steps.
    pub energy: Option<Energy>,
    /// The temperatures of each tensor while sampling; empty where they were not taken.
    pub tensors: Vec<TensorTemperature>,
}

impl ChainSummary {
    /// Summarises the movement and the series of a chain of d parameters; what else was looked for is to be added.
    pub fn new(
        c: &ChainConfig,
        movement: Movement,
        num_data: f64,
        d: usize,
        trace: TraceView<'_>,
    ) -> Self {
        let band =
            |series, expected| TemperatureBand::new(&temperatures_at_t(c, series), expected, d);
        let kinetic = expected_kinetic(c).and_then(|expected| band(trace.kinetic, expected));
        Self {
            chain: c.chain,
            movement,
            kinetic_temperature: kinetic,
            configurational_temperature: band(trace.configurational, c.temperature),
            step: None,
            llc: None,
            curvature: None,
            energy: energy(c, num_data, d, trace),
            tensors: Vec::new(),
        }
    }

    /// Returns the summary of a chain at T as lines for a person.
    pub fn lines(&self, temperature: f64) -> Vec<String> {
        let mut lines = vec![self.movement.verdict.clone()];
        for (kind, band) in [
            (Kind::Kinetic, self.kinetic_temperature),
            (Kind::Configurational, self.configurational_temperature),
        ] {
            let name = kind.name();
            lines.extend(band.map(|b| format!("{name} temperature {}", b.text(kind))));
        }
        lines.extend(tensor_temperature::lines(&self.tensors, temperature));
        lines.extend(tensor_temperature::friction_line(&self.tensors));
        lines.extend(self.energy.as_ref().map(energy_line));
        lines.extend(self.llc.as_ref().map(llc_line));
        lines.extend(self.step.map(|s| s.line()));
        let named = |line| format!("chain {}: {line}", self.chain);
        lines.into_iter().map(named).collect()
    }
}

fn energy_line(e: &Energy) -> String {
    let drifts = e.drift.mean.abs() > 5.0 * e.drift.std_error;
    format!(
        "energy over T {:.6e} +- {:.1e}, second half minus first {:+.3e} +- {:.1e}{}",
        e.total.mean,
        e.total.std_error,
        e.drift.mean,
        e.drift.std_error,
        if drifts { ": still drifting" } else { "" }
    )
}

fn llc_line(l: &LocalLearningCoefficient) -> String {
    let error = l.std_error.map_or(String::new(), |e| format!(" +- {e:.1}"));
    let sign = if l.value < 0.0 {
        ": it is negative, so the start is not at a minimum of the loss, and the number is not a learning coefficient"
    } else {
        ""
    };
    format!(
        "local learning coefficient {:.1}{error} at n beta {:.3e} (excess loss {:.2e} over {} looks){sign}",
        l.value, l.n_beta, l.excess_loss, l.looks,
    )
}
