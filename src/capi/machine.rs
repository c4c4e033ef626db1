//! What a sampler handle holds: a chain or a fit of normals, on a GPT's posterior or on a caller's gradients, behind the same calls.

use super::llc::ExcessLoss;
use super::sampler::{BNN_PHASE_DONE, BNN_PHASE_EXPLORATION, BNN_PHASE_SAMPLING, BNN_PHASE_WARMUP};
use crate::backend::Cpu;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::samplers::{
    AutoStep, Chain, Config, Factors, NormalFit, NormalMethod, NormalReport, Normals, Phase,
    Sampler, StepReport, Temperatures,
};
use crate::store::{Looks, SavedState};

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

fn no_chain(method: NormalMethod) -> Error {
    Error::invalid(
        "sampler",
        format!("a chain ({method} fits normals)"),
        method,
    )
}

/// A schedule of the caller's and a search would both set the step.
fn check_factors(factors: Option<Factors>, auto: Option<&AutoStep>, phase: Phase) -> Result<()> {
    match factors.is_some() && auto.is_some() && phase == Phase::Warmup {
        true => {
            let expected = "none before sampling begins, while auto_step looks for the step size";
            Err(Error::invalid("schedule", expected, "one"))
        }
        false => Ok(()),
    }
}

/// A search for the step size that goes on from the state saved at `path`, if there is one; the settings then have its numbers.
pub(super) fn resumed(
    path: &str,
    auto: &mut Option<AutoStep>,
    config: &mut Config,
    looks: &Looks,
) -> Result<()> {
    match (auto, looks.auto_step) {
        (None, None) => Ok(()),
        (Some(auto), Some(state)) => {
            auto.go_on(state).map_err(Error::of_file(path))?;
            (config.step_size, config.alpha) = (state.step_size, state.alpha);
            Ok(())
        }
        (auto, _) => {
            let had = |yes: bool| {
                if yes {
                    "one with a search for its step size"
                } else {
                    "one without"
                }
            };
            Err(Error::Mismatch {
                path: path.into(),
                what: "the chain".into(),
                expected: had(auto.is_some()).into(),
                got: had(auto.is_none()).into(),
            })
        }
    }
}

/// On a GPT's posterior.
pub(super) enum Machine {
    Chain(Box<Chain<Cpu>>, ExcessLoss),
    Normal(Box<NormalFit<Cpu>>),
}

impl Machine {
    pub fn step(&mut self, batch: &Batch) -> Result<Report> {
        match self {
            Self::Chain(c, excess) => {
                let r = excess.step(c, batch)?;
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
            Self::Chain(c, _) => {
                check_factors(factors, c.auto_step(), c.phase())?;
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
            Self::Chain(c, _) => c.phase(),
            Self::Normal(n) => n.phase(),
        }
    }

    pub fn steps_made(&self) -> u64 {
        match self {
            Self::Chain(c, _) => c.steps_made(),
            Self::Normal(n) => n.steps_made(),
        }
    }

    pub fn params(&self) -> &Vec<f32> {
        match self {
            Self::Chain(c, _) => c.params(),
            Self::Normal(n) => n.mean(),
        }
    }

    pub fn normals(&mut self) -> Result<&mut NormalFit<Cpu>> {
        match self {
            Self::Chain(..) => Err(no_normals()),
            Self::Normal(n) => Ok(n),
        }
    }

    pub fn chain(&mut self) -> Result<(&mut Chain<Cpu>, &ExcessLoss)> {
        match self {
            Self::Chain(c, excess) => Ok((c, excess)),
            Self::Normal(n) => Err(no_chain(n.config().method)),
        }
    }

    pub fn state(&self) -> Result<SavedState> {
        match self {
            Self::Chain(c, excess) => {
                let looks = Looks {
                    auto_step: c.auto_step().map(AutoStep::state),
                    temperatures: c.temperatures().map(|t| (t.count(), t.state())),
                    excess_loss: excess.losses.clone(),
                };
                c.state().map(|s| SavedState::Chain(s, looks))
            }
            Self::Normal(n) => n.state().map(SavedState::Normal),
        }
    }
}

/// A chain on a caller's gradients, with what is looked at on the way.
pub(super) struct VectorChain {
    pub sampler: Sampler<Cpu>,
    pub auto: Option<AutoStep>,
    pub temperatures: Option<Temperatures>,
}

impl VectorChain {
    fn step(&mut self, grad: &Vec<f32>, log_post: f64) -> Result<StepReport> {
        let sampler = &mut self.sampler;
        let sampled = (sampler.step()).saturating_sub(sampler.config().warmup_steps);
        let sampling = sampler.phase() == Phase::Sampling;
        let mut taken = (self.temperatures.as_mut()).filter(|t| sampling && t.due(sampled));
        if let Some(t) = &mut taken {
            // Before the step: only there do parameters and gradient belong together.
            t.read(sampler, grad)?;
        }
        let report = match &mut self.auto {
            Some(auto) => auto.step(sampler, grad, log_post),
            None => sampler.step_with_gradient(grad, log_post),
        }?;
        if let Some(t) = taken {
            t.keep();
        }
        Ok(report)
    }
}

/// On a caller's gradients.
pub(super) enum VectorMachine {
    Chain(Box<VectorChain>),
    Normal(Box<Normals<Cpu>>),
}

impl VectorMachine {
    /// `None` while draws of vi's step are left.
    pub fn step(&mut self, grad: &Vec<f32>, log_post: f64) -> Result<Option<Report>> {
        match self {
            Self::Chain(s) => {
                let r = s.step(grad, log_post)?;
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
                check_factors(factors, c.auto.as_ref(), c.sampler.phase())?;
                c.sampler.set_factors(factors);
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
            Self::Chain(c) => c.sampler.phase(),
            Self::Normal(n) => n.phase(),
        }
    }

    pub fn steps_made(&self) -> u64 {
        match self {
            Self::Chain(c) => c.sampler.step(),
            Self::Normal(n) => n.steps_made(),
        }
    }

    /// Where the next gradient is to be taken.
    pub fn point(&self) -> &Vec<f32> {
        match self {
            Self::Chain(c) => c.sampler.params(),
            Self::Normal(n) => n.point(),
        }
    }

    pub fn set_mass(&mut self, mass: &[f32]) -> Result<()> {
        match self {
            Self::Chain(c) => c.sampler.set_mass(mass),
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

    pub fn chain(&mut self) -> Result<&mut VectorChain> {
        match self {
            Self::Chain(c) => Ok(c),
            Self::Normal(n) => Err(no_chain(n.config().method)),
        }
    }

    pub fn state(&self) -> Result<SavedState> {
        match self {
            Self::Chain(c) => {
                let mut state = SavedState::from(c.sampler.state()?);
                if let SavedState::Chain(_, looks) = &mut state {
                    looks.auto_step = c.auto.as_ref().map(AutoStep::state);
                }
                Ok(state)
            }
            Self::Normal(n) => n.state().map(SavedState::Normal),
        }
    }
}
