//! How far a chain can get, said before it samples: the time that its steps cover, and the steps that are stable.

use super::Report;
use crate::posterior::Prior;
use crate::samplers::{ChainConfig, ExtremeEigenvalues, Preconditioner, stability};
use serde::Serialize;

/// A step that is this many times smaller than the default is warned of.
const SMALL_STEP: f64 = 20.0;

/// How far a chain can get.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TrajectoryForecast {
    /// Sum of the step sizes of the whole run.
    pub physical_time: f64,
    /// How often the momentum is forgotten in that time; none without momenta. Below 1 the chain moves along one straight line.
    pub friction_times: Option<f64>,
    /// Learning rate that an optimiser on the mean loss would call this step, at unit mass.
    pub optimizer_learning_rate: f64,
    /// Momentum that goes with it.
    pub optimizer_momentum: f64,
}

impl TrajectoryForecast {
    /// Forecasts one chain; `num_data` is what the mean log-likelihood is multiplied by.
    pub fn new(c: &ChainConfig, num_data: f64) -> Self {
        let steps = c.total_steps();
        let pair = stability::optimizer_pair(c, num_data);
        Self {
            physical_time: stability::physical_time(c, steps),
            friction_times: stability::friction_times(c, steps),
            optimizer_learning_rate: pair.lr,
            optimizer_momentum: pair.momentum,
        }
    }

    /// Whether the run ends before the momentum is forgotten once.
    pub fn is_one_line(&self) -> bool {
        self.friction_times.is_some_and(|f| f < 1.0)
    }

    /// Returns the forecast as lines for a person.
    pub fn lines(&self, c: &ChainConfig, mass: Preconditioner) -> Vec<String> {
        let friction = match self.friction_times {
            Some(f) => format!(", {f:.4} friction times (n h alpha / sigma^2)"),
            None => String::new(),
        };
        let mut lines = vec![
            format!(
                "physical time: {} steps of {:.3e} make {:.4e}{friction}",
                c.total_steps(),
                c.step_size,
                self.physical_time,
            ),
            self.optimizer_line(c, mass),
        ];
        if let Preconditioner::Live { .. } = mass {
            lines.push(
                "warning: the mass follows the chain, which biases it: for comparison only".into(),
            );
        }
        lines.extend(small_step(c, mass));
        if self.is_one_line() {
            lines.push(
                "warning: the run ends before momentum is forgotten once: the chain will move along one straight line"
                    .into(),
            );
        }
        lines
    }

    fn optimizer_line(&self, c: &ChainConfig, mass: Preconditioner) -> String {
        // Under a preconditioner the mass holds num_data's scale: M = rms of num_data * gradient, or a curvature.
        let over = match mass {
            Preconditioner::None => {
                return format!(
                    "in an optimiser's terms: learning rate {:.3e}, momentum {:.9}",
                    self.optimizer_learning_rate, self.optimizer_momentum
                );
            }
            Preconditioner::Rms { .. } | Preconditioner::Adaptive { .. } => {
                "the gradient's root mean square"
            }
            Preconditioner::Live { .. } => "the gradient's running root mean square",
            Preconditioner::Fisher { .. } => "the Fisher information",
            Preconditioner::Prior => "the prior's curvature",
        };
        let learning_rate = if c.method.has_momenta() {
            c.step_size * c.step_size / (c.sigma * c.sigma)
        } else {
            c.step_size
        };
        format!(
            "in an optimiser's terms: learning rate {learning_rate:.3e} over {over}, momentum {:.6}",
            self.optimizer_momentum
        )
    }
}

/// Warns of a step that is a small part of the method's default, per unit of the mass that the default is for.
fn small_step(c: &ChainConfig, mass: Preconditioner) -> Option<String> {
    let usual = c.method.scheme().model_step_size();
    let share = usual / c.step_size;
    let same_unit = matches!(
        mass,
        Preconditioner::Rms { .. } | Preconditioner::Adaptive { .. }
    );
    (same_unit && share >= SMALL_STEP).then(|| {
        format!(
            "warning: the step {:.3e} is 1/{share:.0} of the default {usual:.1e}: the chain will hardly leave its start; steps are per preconditioned \
             unit here, and the Python original's belong to --preset original",
            c.step_size
        )
    })
}

impl From<&TrajectoryForecast> for Report {
    fn from(f: &TrajectoryForecast) -> Self {
        Self::new()
            .row("physical_time", f.physical_time, "sum of the step sizes of the whole run")
            .row("friction_times", f.friction_times, "how often the momentum is forgotten in that time; NaN without momenta")
            .row("optimizer_learning_rate", f.optimizer_learning_rate, "learning rate on the mean loss that an optimiser would call the step, at unit mass")
            .row("optimizer_momentum", f.optimizer_momentum, "momentum that goes with it")
            .row("one_line", f.is_one_line(), "1 where the run ends before the momentum is forgotten once: the chain moves along one straight line")
    }
}

/// Whether a step is stable in the prior's stiffest direction, whatever the data. Their curvature is not known, so a step that passes may still
/// diverge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PriorStability {
    /// The prior's largest precision per mass.
    pub stiffest: f64,
    /// The steps below this one are stable there.
    pub limit: f64,
    /// The step size.
    pub step_size: f64,
}

impl PriorStability {
    /// Looks at a chain's step; `mass` is its diagonal, 1 where none.
    pub fn new(c: &ChainConfig, prior: &Prior, mass: Option<&[f32]>) -> Self {
        let stiffest = match mass {
            Some(mass) => prior.stiffest_over(mass),
            None => prior.stiffest(),
        };
        Self {
            stiffest,
            limit: stability::stability_limit(c, stiffest),
            step_size: c.step_size,
        }
    }

    /// Returns a line for a person.
    pub fn line(&self) -> String {
        format!(
            "stability: the prior's stiffest direction (precision per mass {:.3e}) allows steps below {:.3e}; the step is {:.3e}",
            self.stiffest, self.limit, self.step_size
        )
    }
}

/// Says what the curvature of one batch of `tokens` tokens at the chain's start means for the step.
pub fn curvature_lines(
    c: &ExtremeEigenvalues,
    sampler: &ChainConfig,
    tokens: usize,
) -> Vec<String> {
    let limit = stability::stability_limit(sampler, c.largest);
    let mut lines = vec![format!(
        "curvature: from {:.3e} (residual {:.0e}) down to {:.1e} per mass, as {} products with the Hessian see it on one batch of {tokens} tokens; \
         a linear step is stable below {limit:.3e}; the step is {:.3e}",
        c.largest, c.residual, c.smallest, c.products, sampler.step_size
    )];
    if stability::is_stable(sampler, c.largest).is_err() {
        lines.push(format!(
            "warning: the step is {:.2} times the largest that is stable there: the chain will leave along the stiffest direction until the \
             curvature is less, or diverge",
            sampler.step_size / limit
        ));
    }
    lines
}

/// The step that a warm-up found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepFound {
    /// Step size h; SGLD's epsilon.
    pub step_size: f64,
    /// Friction coefficient that goes with it.
    pub alpha: f64,
    /// Learning rate on the mean loss that an optimiser would call it, at unit mass.
    pub optimizer_learning_rate: f64,
    /// Momentum that goes with it.
    pub optimizer_momentum: f64,
    /// Error in the last window, before the last change.
    pub error: f64,
}

impl StepFound {
    /// Describes the step of these settings, found with that error.
    pub fn new(c: &ChainConfig, num_data: f64, error: f64) -> Self {
        let pair = stability::optimizer_pair(c, num_data);
        Self {
            step_size: c.step_size,
            alpha: c.alpha,
            optimizer_learning_rate: pair.lr,
            optimizer_momentum: pair.momentum,
            error,
        }
    }

    /// Returns a line for a person.
    pub fn line(&self) -> String {
        format!(
            "the warm-up set the step to {:.3e} (learning rate {:.3e} at unit mass, momentum {:.6}); error in its last window {:.3}",
            self.step_size, self.optimizer_learning_rate, self.optimizer_momentum, self.error
        )
    }
}
