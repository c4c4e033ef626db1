//! What is known of a run's samples when they are judged: [`super::verdict`].

use super::movement::Reach;
use super::{Agreement, ChainSummary, Paired, TemperatureBand};
use crate::error::{Error, Result};
use serde::Serialize;

/// Another prediction, and the averaged prediction's loss minus its.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// What it is called, as in "better than ...".
    pub name: String,
    /// Its loss, nats per token.
    pub loss: f64,
    /// How many models predict.
    pub models: usize,
    /// The averaged prediction's loss minus its, nats per token: below 0 where the average is better.
    pub difference: f64,
    /// The standard error of the difference.
    pub std_error: f64,
}

impl Compared {
    /// Names a prediction of `models` models that has this loss, with what the averaged prediction's losses are against its.
    pub fn new(name: impl Into<String>, loss: f64, models: usize, against: &Paired) -> Self {
        Self {
            name: name.into(),
            loss,
            models,
            difference: against.difference,
            std_error: against.std_error,
        }
    }
}

/// What is known of a run's samples. What is not known is `None`, and the verdict says so.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    /// What drew the samples.
    pub sampler: String,
    /// Whether they are draws from a fitted normal, and not a chain's.
    pub fit: bool,
    /// Temperature of the target.
    pub temperature: f64,
    /// How many chains, or fitted normals, there are.
    pub chains: usize,
    /// How many samples there are.
    pub samples: usize,
    /// Sampling steps of each chain.
    pub sampling_steps: Option<f64>,
    /// Whether each chain's warm-up has looked for its step.
    pub auto_step: Option<bool>,
    /// Whether chains recorded what R-hat is computed from.
    pub recorded: Option<bool>,
    /// The worst R-hat of what was recorded.
    pub rhat: Option<f64>,
    /// The smallest bulk or tail effective sample size, of all chains together.
    pub ess: Option<f64>,
    /// Mean kinetic temperature over the one that equilibrium at T has, of the chain that is furthest off.
    pub kinetic: Option<f64>,
    /// Whether that is off by more than noise.
    pub kinetic_off: Option<bool>,
    /// Mean configurational temperature over T, of the chain that is furthest off.
    pub configurational: Option<f64>,
    /// Whether that is off by more than noise.
    pub configurational_off: Option<bool>,
    /// Displacement from the start over that of free diffusion at T, of the chain that is nearest to 1.
    pub over_free: Option<f64>,
    /// Whether some chain's samples lie on one ray from its start, or have not moved at all.
    pub one_ray: Option<bool>,
    /// Mean mutual information of parameters and token, nats per token.
    pub mutual_information: Option<f64>,
    /// The best single model that was scored beside the average.
    pub single: Option<Compared>,
    /// The best control of equal cost that was scored.
    pub control: Option<Compared>,
}

/// The numbers among the facts, by name.
pub const NUMBERS: [&str; 24] = [
    "fit",
    "temperature",
    "chains",
    "samples",
    "sampling_steps",
    "auto_step",
    "recorded",
    "rhat",
    "ess",
    "kinetic",
    "kinetic_off",
    "configurational",
    "configurational_off",
    "over_free",
    "one_ray",
    "mutual_information",
    "single.loss",
    "single.models",
    "single.difference",
    "single.std_error",
    "control.loss",
    "control.models",
    "control.difference",
    "control.std_error",
];

impl Facts {
    /// Adds whether chains agree on what was recorded.
    pub fn add_agreement(&mut self, a: &Agreement) {
        self.rhat = Some(a.rhat.worst);
        self.ess = Some(a.ess_bulk.draws.worst.min(a.ess_tail.draws.worst));
    }

    /// Adds how chains moved, and their temperatures.
    pub fn add_chains(&mut self, chains: &[ChainSummary]) {
        for c in chains {
            self.add_kinetic(c.kinetic_temperature.as_ref());
            self.add_configurational(c.configurational_temperature.as_ref());
            let judged = c.movement.reach != Reach::Unjudged;
            let nearer = |x: &f64, y: f64| (x - 1.0).abs() < (y - 1.0).abs();
            if let Some(over) = c.movement.over_free.filter(|_| judged) {
                self.over_free = Some(self.over_free.filter(|x| nearer(x, over)).unwrap_or(over));
            }
            let ray = matches!(c.movement.reach, Reach::Ray | Reach::Unmoved);
            self.one_ray = Some(ray || self.one_ray == Some(true));
        }
    }

    /// Adds a chain's kinetic temperature, where it has one.
    pub fn add_kinetic(&mut self, band: Option<&TemperatureBand>) {
        furthest(&mut self.kinetic, &mut self.kinetic_off, band);
    }

    /// Adds a chain's configurational temperature, where it is known.
    pub fn add_configurational(&mut self, band: Option<&TemperatureBand>) {
        furthest(
            &mut self.configurational,
            &mut self.configurational_off,
            band,
        );
    }

    /// Sets one of [`NUMBERS`]; yes and no are 1 and 0.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for another name, with the nearest, and for a number that is not finite.
    pub fn set(&mut self, name: &str, value: f64) -> Result<()> {
        if !NUMBERS.contains(&name) {
            return Err(Error::unknown("fact", name, NUMBERS));
        }
        if !value.is_finite() {
            let expected = "a finite number; what is not known is left out";
            return Err(Error::out_of_range(name, expected, value));
        }
        let yes = value != 0.0;
        match name {
            "fit" => self.fit = yes,
            "temperature" => self.temperature = value,
            "chains" => self.chains = value as usize,
            "samples" => self.samples = value as usize,
            "sampling_steps" => self.sampling_steps = Some(value),
            "auto_step" => self.auto_step = Some(yes),
            "recorded" => self.recorded = Some(yes),
            "rhat" => self.rhat = Some(value),
            "ess" => self.ess = Some(value),
            "kinetic" => self.kinetic = Some(value),
            "kinetic_off" => self.kinetic_off = Some(yes),
            "configurational" => self.configurational = Some(value),
            "configurational_off" => self.configurational_off = Some(yes),
            "over_free" => self.over_free = Some(value),
            "one_ray" => self.one_ray = Some(yes),
            "mutual_information" => self.mutual_information = Some(value),
            other => self.set_compared(other, value),
        }
        Ok(())
    }

    fn set_compared(&mut self, name: &str, value: f64) {
        let Some((of, row)) = name.split_once('.') else {
            return;
        };
        let to = match of {
            "single" => &mut self.single,
            _ => &mut self.control,
        };
        let to = to.get_or_insert_with(|| Compared {
            name: String::new(),
            loss: f64::NAN,
            models: 1,
            difference: f64::NAN,
            std_error: f64::NAN,
        });
        match row {
            "loss" => to.loss = value,
            "models" => to.models = value as usize,
            "difference" => to.difference = value,
            _ => to.std_error = value,
        }
    }
}

/// Keeps the temperature over the expected one that is furthest from 1, and whether any is off.
fn furthest(over: &mut Option<f64>, off: &mut Option<bool>, band: Option<&TemperatureBand>) {
    let Some(band) = band.filter(|b| b.expected > 0.0) else {
        return;
    };
    let new = band.mean / band.expected;
    let further = |x: &f64| (x - 1.0).abs() > (new - 1.0).abs();
    *over = Some(over.filter(further).unwrap_or(new));
    *off = Some(band.is_off() || *off == Some(true));
}
