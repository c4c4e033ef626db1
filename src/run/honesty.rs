//! What a run says of its own chain: before sampling how far it can get, afterwards how far it got and what its samples are worth.

use super::config::Config;
use super::tensors::{self, TensorTemperature};
use crate::error::{Error, Result};
use crate::metrics::{Energy, LocalLearningCoefficient, Mean};
use crate::posterior::Prior;
use crate::samplers::{self, Curvature, Preconditioner, stability};
use serde::Serialize;

/// Above this cosine between the first and the last sample's displacement all samples lie on one ray.
const RAY: f64 = 0.99;
/// Below this displacement, as a share of the weights' root mean square, a chain has stayed where it was.
const STILL: f64 = 1e-3;

/// How far a chain can get, said before it starts.
#[derive(Clone, Debug, Serialize)]
pub struct Prospect {
    /// Sum of step sizes over the whole run.
    pub physical_time: f64,
    /// The same in units of the time in which momentum is forgotten; none for SGLD.
    pub friction_times: Option<f64>,
    /// The learning rate that an optimiser on the mean loss would call this step, at unit mass.
    pub optimizer_learning_rate: f64,
    /// And its momentum.
    pub optimizer_momentum: f64,
}

impl Prospect {
    /// Of one chain.
    pub fn new(c: &samplers::Config, num_data: f64) -> Self {
        let steps = c.total_steps();
        let pair = stability::optimizer_pair(c, num_data);
        Self {
            physical_time: stability::physical_time(c, steps),
            friction_times: stability::friction_times(c, steps),
            optimizer_learning_rate: pair.lr,
            optimizer_momentum: pair.momentum,
        }
    }

    /// As lines for a person.
    pub fn lines(&self, c: &samplers::Config, mass: Preconditioner) -> Vec<String> {
        let mut lines = vec![format!(
            "physical time: {} steps of {:.3e} make {:.4e}{}",
            c.total_steps(),
            c.step_size,
            self.physical_time,
            match self.friction_times {
                Some(f) => format!(", {f:.4} friction times (n h alpha / sigma^2)"),
                None => String::new(),
            }
        )];
        // Under a preconditioner the mass holds num_data's scale: M = rms of num_data * gradient, or a curvature.
        let over = match mass {
            Preconditioner::None => None,
            Preconditioner::Rms { .. } | Preconditioner::Adaptive { .. } => {
                Some("the gradient's root mean square")
            }
            Preconditioner::Live { .. } => Some("the gradient's running root mean square"),
            Preconditioner::Fisher { .. } => Some("the Fisher information"),
            Preconditioner::Prior => Some("the prior's curvature"),
        };
        lines.push(match over {
            Some(over) => format!(
                "in an optimiser's terms: learning rate {:.3e} over {over}, momentum {:.6}",
                match c.method.has_momenta() {
                    true => c.step_size * c.step_size / (c.sigma * c.sigma),
                    false => c.step_size,
                },
                self.optimizer_momentum
            ),
            None => format!(
                "in an optimiser's terms: learning rate {:.3e}, momentum {:.9}",
                self.optimizer_learning_rate, self.optimizer_momentum
            ),
        });
        if let Preconditioner::Live { .. } = mass {
            lines.push(
                "warning: the mass follows the chain, which biases it: for comparison only".into(),
            );
        }
        if self.friction_times.is_some_and(|f| f < 1.0) {
            lines.push(
                "warning: the run ends before momentum is forgotten once: the chain will move along one straight line"
                    .into(),
            );
        }
        lines
    }
}

/// Refuses a step that diverges in the prior's stiffest direction whatever the data; the largest stable step otherwise.
///
/// The data's curvature is not known, so a step that passes may still diverge.
///
/// # Errors
/// [`Error::Unstable`], unless the configuration forces the step; the line to print comes back in any other case.
pub fn stability_line(
    config: &Config,
    sampler: &samplers::Config,
    prior: &Prior,
    mass: Option<&[f32]>,
) -> Result<String> {
    let stiffest = match mass {
        Some(mass) => prior.stiffest_over(mass),
        None => prior.stiffest(),
    };
    let limit = stability::stability_limit(sampler, stiffest);
    let line = format!(
        "stability: the prior's stiffest direction (precision per mass {stiffest:.3e}) allows steps below {limit:.3e}; the step is {:.3e}",
        sampler.step_size
    );
    match stability::is_stable(sampler, stiffest) {
        Ok(()) => Ok(line),
        Err(Error::Unstable(text)) if !config.force => Err(Error::Unstable(format!(
            "{text}; --force runs it all the same"
        ))),
        Err(Error::Unstable(text)) => Ok(format!("warning: unstable: {text}; forced")),
        Err(e) => Err(e),
    }
}

/// What the curvature of one batch of `tokens` tokens at the chain's start says of the step.
pub fn curvature_lines(c: &Curvature, sampler: &samplers::Config, tokens: usize) -> Vec<String> {
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
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StepFound {
    /// The step size h (SGLD's epsilon).
    pub step_size: f64,
    /// The friction coefficient that goes with it.
    pub alpha: f64,
    /// The learning rate on the mean loss that an optimiser would call it, at unit mass.
    pub optimizer_learning_rate: f64,
    /// And its momentum.
    pub optimizer_momentum: f64,
    /// The error in the last window, before the last change.
    pub error: f64,
}

impl StepFound {
    /// From the settings that have it.
    pub fn new(c: &samplers::Config, num_data: f64, error: f64) -> Self {
        let pair = stability::optimizer_pair(c, num_data);
        Self {
            step_size: c.step_size,
            alpha: c.alpha,
            optimizer_learning_rate: pair.lr,
            optimizer_momentum: pair.momentum,
            error,
        }
    }

    fn line(&self) -> String {
        format!(
            "the warm-up set the step to {:.3e} (learning rate {:.3e} at unit mass, momentum {:.6}); error in its last window {:.3}",
            self.step_size, self.optimizer_learning_rate, self.optimizer_momentum, self.error
        )
    }
}

/// Mean of a series with the standard error that batch means give it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Band {
    /// The mean.
    pub mean: f64,
    /// Its standard error, from 20 batches: it takes autocorrelation up to a batch's length into account.
    pub std_error: f64,
    /// Standard deviation of one step's value if the chain were in equilibrium and the target Gaussian, T sqrt(2/d).
    pub equilibrium_sd: f64,
}

impl Band {
    /// Of a series of temperatures of d parameters at T.
    pub fn new(series: &[f64], temperature: f64, d: usize) -> Option<Self> {
        let Mean { mean, std_error } = Mean::new(series)?;
        Some(Self {
            mean,
            std_error,
            equilibrium_sd: temperature * (2.0 / d as f64).sqrt(),
        })
    }

    fn text(&self, temperature: f64) -> String {
        format!(
            "{:.4} +- {:.4} (T = {temperature}, equilibrium band of one step +- {:.1e})",
            self.mean, self.std_error, self.equilibrium_sd
        )
    }
}

/// The energy of a chain whose steps left these: log likelihoods and log priors, the warm-up's too, and the kinetic temperatures while sampling.
/// None at T = 0, where the temperature or the step follows a schedule that explores, and for fewer than 40 steps.
pub fn energy(num_data: f64, d: usize, c: &samplers::Config, trace: [&[f64]; 3]) -> Option<Energy> {
    let [log_lik, log_prior, kinetic] = trace;
    let explores = matches!(c.schedule, samplers::Schedule::Cyclical { .. });
    let one_temperature = c.temperature_schedule == samplers::Schedule::Constant;
    if explores || !one_temperature {
        return None;
    }
    let from = log_lik.len().checked_sub(c.sampling_steps as usize)?;
    let log_post: Vec<f64> = log_lik[from..]
        .iter()
        .zip(log_prior.get(from..)?)
        .map(|(lik, prior)| num_data * lik + prior)
        .collect();
    let kinetic = (kinetic.len() == log_post.len()).then_some(kinetic);
    Energy::new(&log_post, kinetic, d, c.temperature).ok()
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

/// How far one chain got.
#[derive(Clone, Debug, Serialize)]
pub struct Movement {
    /// The chain.
    pub chain: u32,
    /// Its samples.
    pub samples: usize,
    /// Root mean square over parameters of the last sample's distance from the start.
    pub rms_move: f64,
    /// The same over the start's own root mean square.
    pub relative_move: f64,
    /// Cosine between the first and the last sample's displacement from the start; none for a single sample.
    pub cosine_first_last: Option<f64>,
    /// Kinetic temperature while sampling.
    pub kinetic_temperature: Option<Band>,
    /// Configurational temperature while sampling.
    pub configurational_temperature: Option<Band>,
    /// The step that the warm-up found; none where it was given.
    pub step: Option<StepFound>,
    /// The local learning coefficient of the chain's start; none where the prior is not centred there, or it was not looked for.
    pub llc: Option<LocalLearningCoefficient>,
    /// Curvatures per mass at the start, of one batch; of the first chain alone, and where they were looked for.
    pub curvature: Option<Curvature>,
    /// Energies while sampling; none where they have no one temperature, or too few steps.
    pub energy: Option<Energy>,
    /// The temperatures of each tensor while sampling; empty where they were not taken.
    pub tensors: Vec<TensorTemperature>,
    /// Whether the samples are worth about one.
    pub worth_about_one: bool,
    /// What a person should know.
    pub verdict: String,
}

impl Movement {
    /// From the start and the chain's first and last samples.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        c: &samplers::Config,
        samples: usize,
        start: &[f32],
        first: &[f32],
        last: &[f32],
        kinetic: &[f64],
        configurational: &[f64],
    ) -> Self {
        let (mut ff, mut fl, mut ll, mut ss) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
        for ((&s, &f), &l) in start.iter().zip(first).zip(last) {
            let (df, dl) = (f as f64 - s as f64, l as f64 - s as f64);
            ff += df * df;
            fl += df * dl;
            ll += dl * dl;
            ss += s as f64 * s as f64;
        }
        let d = start.len();
        let rms_move = (ll / d as f64).sqrt();
        let relative_move = (ll / ss).sqrt();
        let cosine = (samples > 1 && ff > 0.0 && ll > 0.0).then(|| fl / (ff * ll).sqrt());
        let ray = cosine.is_some_and(|c| c > RAY);
        let still = relative_move < STILL;
        let moved = format!(
            "the last sample lies {rms_move:.2e} from the start (root mean square a parameter, {:.2} % of the weights')",
            100.0 * relative_move
        );
        let verdict = match (cosine, samples) {
            (_, 0) => "no sample was kept".into(),
            (None, 1) => format!("one sample; {moved}"),
            (None, _) => format!("the chain has not moved at all: these {samples} samples are one"),
            (Some(c), n) if ray || still => format!(
                "the chain has not moved: {moved}, and the first and the last displacement point the same way (cosine {c:.6}); \
                 these {n} samples are worth about 1"
            ),
            (Some(c), n) => format!(
                "the chain moved: {moved}; cosine between the first and the last displacement {c:.3} over {n} samples"
            ),
        };
        Self {
            chain: c.chain,
            samples,
            rms_move,
            relative_move,
            cosine_first_last: cosine,
            kinetic_temperature: Band::new(kinetic, c.temperature, d),
            configurational_temperature: Band::new(configurational, c.temperature, d),
            step: None,
            llc: None,
            curvature: None,
            energy: None,
            tensors: Vec::new(),
            worth_about_one: samples <= 1 || ray || still || cosine.is_none(),
            verdict,
        }
    }

    /// As lines for a person.
    pub fn lines(&self, temperature: f64) -> Vec<String> {
        let mut lines = vec![format!("chain {}: {}", self.chain, self.verdict)];
        for (what, band) in [
            ("kinetic", self.kinetic_temperature),
            ("configurational", self.configurational_temperature),
        ] {
            if let Some(b) = band {
                lines.push(format!(
                    "chain {}: {what} temperature {}{}",
                    self.chain,
                    b.text(temperature),
                    match tensors::is_off(b.mean, b.std_error, temperature) {
                        true => ": the chain is not in equilibrium at T",
                        false => "",
                    }
                ));
            }
        }
        let own = tensors::lines(&self.tensors, temperature);
        let more = own.into_iter().chain(self.energy.as_ref().map(energy_line));
        let llc = self.llc.as_ref().map(|l| {
            let error = l.std_error.map_or(String::new(), |e| format!(" +- {e:.1}"));
            format!(
                "local learning coefficient {:.1}{error} at n beta {:.3e} (excess loss {:.2e} over {} looks){}",
                l.value,
                l.n_beta,
                l.excess_loss,
                l.looks,
                match l.value < 0.0 {
                    true => ": the start is no minimum of the loss, and this no coefficient of it",
                    false => "",
                }
            )
        });
        let more = more.chain(llc).chain(self.step.map(|s| s.line()));
        lines.extend(more.map(|line| format!("chain {}: {line}", self.chain)));
        lines
    }
}
