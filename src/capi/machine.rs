//! What a sampler handle holds: a chain or a fit of normals, on a GPT's posterior or on a caller's gradients, behind the same calls.

use super::sampler::{BNN_PHASE_DONE, BNN_PHASE_EXPLORATION, BNN_PHASE_SAMPLING, BNN_PHASE_WARMUP};
use crate::backend::Cpu;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::samplers::{
    Chain, Factors, NormalFit, NormalMethod, NormalReport, Normals, Phase, Sampler, StepReport,
};
use crate::store::SavedState;

pub(super) fn phase_number(p: Phase) -> i32 {
    match p {
        Phase::Warmup => BNN_PHASE_WARMUP,
        Phase::Sampling => BNN_PHASE_SAMPLING,
        Phase::Done => BNN_PHASE_DONE,
        Phase::Exploration => BNN_PHASE_EXPLORATION,
    }
}

/// What a step tells; NaN for what there is not.
#[derive(Clone, Copy)]
pub(super) struct Report {
    pub step: u64,
    pub log_lik: f64,
    pub log_post: f64,
    pub kinetic: f64,
    pub configurational: f64,
    pub xi: f64,
    pub due: bool,
}

impl Report {
    fn of_fit(step: u64, log_lik: f64, log_post: f64) -> Self {
        Self {
            step,
            log_lik,
            log_post,
            kinetic: f64::NAN,
            configurational: f64::NAN,
            xi: f64::NAN,
            due: false,
        }
    }
}

/// The factor on a fit's rate; its temperature has none.
fn rate(method: NormalMethod, factors: Option<Factors>) -> Result<Option<f64>> {
    if let Some(f) = factors
        && f.temperature != 1.0
    {
        let expected = format!("1 ({method} holds its temperature)");
        return Err(Error::invalid(
            "temperature_factor",
            expected,
            f.temperature,
        ));
    }
    Ok(factors.map(|f| f.step_size))
}

fn no_normals() -> Error {
    Error::invalid(
        "sampler",
        "one that fits normals: ekf, vi, laplace",
        "a chain",
    )
}

/// On a GPT's posterior.
pub(super) enum Machine {
    Chain(Box<Chain<Cpu>>),
    Normal(Box<NormalFit<Cpu>>),
}

impl Machine {
    pub fn step(&mut self, batch: &Batch) -> Result<Report> {
        match self {
            Self::Chain(c) => {
                let r = c.step(batch)?;
                Ok(Report {
                    step: r.step,
                    log_lik: r.at.log_lik,
                    log_post: r.at.log_post,
                    kinetic: r.kinetic_temperature.unwrap_or(f64::NAN),
                    configurational: r.configurational_temperature.unwrap_or(f64::NAN),
                    xi: c.sampler().thermostat().map_or(f64::NAN, |t| t.xi),
                    due: r.sample_due,
                })
            }
            Self::Normal(n) => {
                let r = n.step(batch)?;
                Ok(Report::of_fit(r.step, r.log_lik, r.log_post))
            }
        }
    }

    pub fn set_factors(&mut self, factors: Option<Factors>) -> Result<()> {
        match self {
            Self::Chain(c) => {
                c.set_factors(factors);
                Ok(())
            }
            Self::Normal(n) => {
                let rate = rate(n.config().method, factors)?;
                n.set_rate(rate)
            }
        }
    }

    pub fn phase(&self) -> Phase {
        match self {
            Self::Chain(c) => c.phase(),
            Self::Normal(n) => n.phase(),
        }
    }

    pub fn steps_made(&self) -> u64 {
        match self {
            Self::Chain(c) => c.steps_made(),
            Self::Normal(n) => n.steps_made(),
        }
    }

    pub fn params(&self) -> &Vec<f32> {
        match self {
            Self::Chain(c) => c.params(),
            Self::Normal(n) => n.mean(),
        }
    }

    pub fn normals(&mut self) -> Result<&mut NormalFit<Cpu>> {
        match self {
            Self::Chain(_) => Err(no_normals()),
            Self::Normal(n) => Ok(n),
        }
    }

    pub fn state(&self) -> Result<SavedState> {
        match self {
            Self::Chain(c) => c.state().map(SavedState::Chain),
            Self::Normal(n) => n.state().map(SavedState::Normal),
        }
    }
}

/// On a caller's gradients.
pub(super) enum VectorMachine {
    Chain(Box<Sampler<Cpu>>),
    Normal(Box<Normals<Cpu>>),
}

impl VectorMachine {
    /// `None` while draws of vi's step are left.
    pub fn step(&mut self, grad: &Vec<f32>, log_post: f64) -> Result<Option<Report>> {
        match self {
            Self::Chain(s) => {
                let r: StepReport = s.step_with_gradient(grad, log_post)?;
                Ok(Some(Report {
                    step: r.step,
                    log_lik: f64::NAN,
                    log_post: r.log_post,
                    kinetic: r.kinetic_temperature.unwrap_or(f64::NAN),
                    configurational: r.configurational_temperature,
                    xi: r.xi.unwrap_or(f64::NAN),
                    due: r.sample_due,
                }))
            }
            Self::Normal(n) => {
                let done = n.step_with_gradient(grad, log_post)?;
                Ok(done.map(|r: NormalReport| Report::of_fit(r.step, f64::NAN, r.value)))
            }
        }
    }

    pub fn step_squares(
        &mut self,
        grad: &Vec<f32>,
        squares: &Vec<f32>,
        log_lik: f64,
    ) -> Result<Report> {
        match self {
            Self::Chain(_) => Err(no_normals()),
            Self::Normal(n) => {
                let r = n.step_with_squares(grad, 1.0, squares, 1.0, log_lik)?;
                Ok(Report::of_fit(r.step, r.value, f64::NAN))
            }
        }
    }

    pub fn set_factors(&mut self, factors: Option<Factors>) -> Result<()> {
        match self {
            Self::Chain(c) => {
                c.set_factors(factors);
                Ok(())
            }
            Self::Normal(n) => {
                let rate = rate(n.config().method, factors)?;
                n.set_rate(rate)
            }
        }
    }

    pub fn phase(&self) -> Phase {
        match self {
            Self::Chain(c) => c.phase(),
            Self::Normal(n) => n.phase(),
        }
    }

    pub fn steps_made(&self) -> u64 {
        match self {
            Self::Chain(c) => c.step(),
            Self::Normal(n) => n.steps_made(),
        }
    }

    /// Where the next gradient is to be taken.
    pub fn point(&self) -> &Vec<f32> {
        match self {
            Self::Chain(c) => c.params(),
            Self::Normal(n) => n.point(),
        }
    }

    pub fn set_mass(&mut self, mass: &[f32]) -> Result<()> {
        match self {
            Self::Chain(c) => c.set_mass(mass),
            Self::Normal(n) => {
                let method = n.config().method;
                let expected = format!("a chain ({method} has no mass)");
                Err(Error::invalid("sampler", expected, method))
            }
        }
    }

    pub fn normals(&mut self) -> Result<&mut Normals<Cpu>> {
        match self {
            Self::Chain(_) => Err(no_normals()),
            Self::Normal(n) => Ok(n),
        }
    }

    pub fn state(&self) -> Result<SavedState> {
        match self {
            Self::Chain(c) => c.state().map(SavedState::from),
            Self::Normal(n) => n.state().map(SavedState::Normal),
        }
    }
}
