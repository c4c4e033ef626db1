//! What can be read off a session, as numbers and as rows of a report.

use super::monitors::TensorTemperatures;
use super::temperature_band::{equilibrium_sd, expected_kinetic};
use super::{Report, Session, StepReport, TrajectoryForecast};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::metrics::{Energy, LocalLearningCoefficient, Mean, local_learning_coefficient};
use crate::samplers::laplace::PriorFit;
use crate::samplers::stability::{optimizer_pair, stability_limit};
use crate::samplers::{ChainConfig, ExtremeEigenvalues, Phase, RunningMean, Schedule};

/// Says why the sampling steps of a chain do not all have one stationary law, where they do not.
pub(super) fn no_one_law(c: &ChainConfig) -> Option<&'static str> {
    if matches!(c.schedule, Schedule::Cyclical { .. }) {
        Some("a cyclical schedule explores")
    } else if c.temperature_schedule != Schedule::Constant {
        Some("the temperature follows a schedule")
    } else {
        None
    }
}

/// Returns the word for a phase.
fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Warmup => "warmup",
        Phase::Sampling => "sampling",
        Phase::Exploration => "exploration",
        Phase::Done => "done",
    }
}

impl From<&StepReport> for Report {
    fn from(r: &StepReport) -> Self {
        let (kinetic, configurational) = (r.kinetic_temperature, r.configurational_temperature);
        Self::new()
            .row("step", r.step, "which step this was, counted from 0")
            .row(
                "phase",
                word(r.phase),
                "the phase that the step belonged to",
            )
            .row(
                "log_lik",
                r.log_lik,
                "mean log likelihood of the batch before the step, nats",
            )
            .row(
                "log_prior",
                r.log_prior,
                "log prior before the step, without its constant",
            )
            .row(
                "log_post",
                r.log_post,
                "log posterior before the step; of ekf and laplace without the prior",
            )
            .row(
                "kinetic_temperature",
                kinetic,
                "mean of m^2 / M' after the step",
            )
            .row(
                "configurational_temperature",
                configurational,
                "minus the mean of (theta - start) * grad before the step",
            )
            .row("xi", r.xi, "the thermostat's friction after the step")
            .row(
                "sample_due",
                r.sample_due,
                "whether the parameters are a sample to keep",
            )
    }
}

impl<B: Backend + 'static> Session<B> {
    /// Returns what the last step found, as rows.
    ///
    /// # Errors
    /// [`Error::State`] before the first step, also of a session that goes on.
    pub fn step_report(&self) -> Result<Report> {
        let last = self.last_report();
        let last = last
            .ok_or_else(|| Error::state("no step was made: make one before its report is read"))?;
        Ok((&last).into())
    }

    /// Returns the local learning coefficient of the parameters that the chain began at, from what it looked at so far: n beta times the mean loss
    /// over the start's.
    ///
    /// # Errors
    /// [`Error::Conflict`] without looks, with the reason, and for a fit; [`Error::OutOfRange`] when a loss was not finite.
    pub fn llc(&self) -> Result<LocalLearningCoefficient> {
        let config = self.sampler()?.config();
        if let Some(why) = no_one_law(config) {
            return Err(Error::conflict(format!(
                "local learning coefficient: it needs a chain at one temperature, and {why}: sample with a constant temperature, and without cycles"
            )));
        }
        let temperature = config.temperature;
        let losses = self.excess_losses()?;
        match &losses[..] {
            [] => Err(self.no_llc(temperature)),
            losses => local_learning_coefficient(losses, self.num_data() / temperature),
        }
    }

    /// Says why there is no local learning coefficient.
    fn no_llc(&self, temperature: f64) -> Error {
        let every = self.llc.every;
        let why = if !self.llc.centred {
            "it needs a prior centred at the start, and this one is centred at zero: set prior_center to pretrained".into()
        } else if temperature <= 0.0 {
            format!(
                "it needs a temperature above 0, and this chain has {temperature}: set a higher one"
            )
        } else if every == 0 {
            "no loss was looked at: set llc_every above 0".into()
        } else {
            format!(
                "no loss was looked at yet: make more sampling steps, one look takes {every} (llc_every)"
            )
        };
        Error::conflict(format!("local learning coefficient: {why}"))
    }

    /// Returns the energies of the chain while it sampled, over its temperature.
    ///
    /// # Errors
    /// Returns the errors of [`Energy::new`], and [`Error::Conflict`] for a fit, on gradients of the caller's, and for a chain that was saved without its trace.
    pub fn energy(&self) -> Result<Energy> {
        let c = self.sampler()?.config();
        if let Some(why) = no_one_law(c) {
            return Err(Error::conflict(format!(
                "the energy has no law to be compared with, as {why}: sample with a constant temperature, and without cycles"
            )));
        }
        let trace = self.trace()?.filter(|t| t.is_whole());
        let missing = || {
            Error::conflict(
                "the energy needs a trace of every step, and this chain was saved without one: start it anew",
            )
        };
        let trace = trace.ok_or_else(missing)?;
        let before = self.inference().steps_before_sampling();
        let from = usize::try_from(before).unwrap_or(usize::MAX);
        let all = trace.log_lik.iter().zip(&trace.log_prior).skip(from);
        let log_post: Vec<f64> = all
            .map(|(lik, prior)| self.num_data() * lik + prior)
            .collect();
        let kinetic = c.method.has_momenta().then_some(&trace.kinetic[..]);
        Energy::new(&log_post, kinetic, self.parameters(), c.temperature)
    }

    /// Returns the temperatures of a range of the parameters so far, as rows: `index` is a tensor's of the model, or which of the ranges that are
    /// watched.
    ///
    /// # Errors
    /// [`Error::Conflict`] for a fit and where none are taken; [`Error::OutOfRange`] past the last range.
    pub fn temperature_report(&self, index: usize) -> Result<Report> {
        let c = self.sampler()?.config();
        let taken = self.monitor::<TensorTemperatures>().ok_or_else(|| {
            Error::conflict(
                "no temperatures were taken: set temperature_every above 0, or ranges to watch",
            )
        })?;
        let taken = taken.taken();
        let range = taken.range(index).ok_or_else(|| {
            Error::out_of_range("index", format!("below {}", taken.ranges()), index)
        })?;
        let kinetic = taken.kinetic(index).filter(|_| c.method.has_momenta());
        let band = equilibrium_sd(c.temperature, range.len());
        let expected = expected_kinetic(c);
        let report = Report::new();
        let report = match taken.friction(index) {
            Some(xi) => report.group(
                "xi",
                running(Some(xi), "the friction of the range's own thermostat"),
            ),
            None => report,
        };
        Ok(report
            .group("kinetic", running(kinetic, "m^2 / M'"))
            .row("kinetic.expected", expected, "what that mean is in equilibrium at T; NaN without momenta")
            .group("configurational", running(taken.configurational(index), "-(theta - start) * grad"))
            .row("equilibrium_sd", band, "standard deviation of one step's value in equilibrium on a Gaussian, T sqrt(2 / d)")
            .row("count", taken.count(), "how often they were taken"))
    }

    /// Returns how far the whole chain can get with the step as it is now, as rows.
    ///
    /// # Errors
    /// Returns [`Error::Conflict`] for a fit.
    pub fn forecast_report(&self) -> Result<Report> {
        let forecast = TrajectoryForecast::new(&self.sampler_now()?, self.num_data());
        Ok(Report::from(&forecast))
    }

    /// Returns the step as it is now, as rows: as step size and friction, and in an optimiser's terms.
    ///
    /// # Errors
    /// [`Error::Conflict`] for a fit.
    pub fn step_size_report(&self) -> Result<Report> {
        let c = self.sampler_now()?;
        let pair = optimizer_pair(&c, self.num_data());
        // 0 is what it has before the first window ends.
        let error = self
            .auto_step()
            .map(|a| a.state().error)
            .filter(|&e| e > 0.0);
        Ok(Report::new()
            .row(
                "step_size",
                c.step_size,
                "h or epsilon, before any schedule",
            )
            .row(
                "alpha",
                c.alpha,
                "the friction that goes with it; of a thermostat the noise's",
            )
            .row(
                "learning_rate",
                pair.lr,
                "on the mean loss, of a parameter of mass 1",
            )
            .row(
                "momentum",
                pair.momentum,
                "of SGD, with the friction that the chain has now",
            )
            .row(
                "error",
                error,
                "relative error that auto_step saw in its last whole window",
            ))
    }

    /// Returns what the marginal likelihood says of Laplace's prior, as rows.
    ///
    /// # Errors
    /// Returns the errors of [`Session::prior_fit`], and [`Error::Conflict`] without `laplace_fit_prior`.
    pub fn prior_fit_report(&mut self) -> Result<Report> {
        let fit = self.prior_fit()?.ok_or_else(|| {
            Error::conflict("no prior was fitted: choose laplace and set laplace_fit_prior")
        })?;
        Ok((&fit).into())
    }

    /// Returns curvatures as rows, with the largest step that is stable in the largest of them.
    ///
    /// # Errors
    /// [`Error::Conflict`] for a fit.
    pub fn curvature_report(&self, found: &ExtremeEigenvalues) -> Result<Report> {
        let limit = stability_limit(&self.sampler_now()?, found.largest);
        Ok(Report::new()
            .row(
                "largest",
                found.largest,
                "the largest curvature per mass that was found",
            )
            .row(
                "residual",
                found.residual,
                "how far that is off an eigenvalue at most",
            )
            .row(
                "smallest",
                found.smallest,
                "the smallest; below 0 where the log posterior is not concave",
            )
            .row(
                "products",
                found.products,
                "products with the Hessian that were taken",
            )
            .row(
                "step_limit",
                limit,
                "the largest step that is stable in the largest, on a quadratic",
            ))
    }
}

/// Returns rows for a running mean of `what`.
fn running(m: Option<RunningMean>, what: &str) -> Report {
    Report::new()
        .row(
            "mean",
            m.map(|m| m.mean),
            format!("mean of {what} over the steps"),
        )
        .row(
            "sd",
            m.and_then(|m| m.sd),
            "standard deviation of one step's value",
        )
        .row(
            "std_error",
            m.and_then(|m| m.std_error),
            "standard error of the mean, by batch means",
        )
}

impl From<&PriorFit> for Report {
    fn from(f: &PriorFit) -> Self {
        Self::new()
            .row(
                "precision",
                f.precision,
                "of the prior with the largest marginal likelihood",
            )
            .row(
                "effective_parameters",
                f.effective_parameters,
                "how many parameters the data determine",
            )
            .row(
                "log_evidence",
                f.log_evidence,
                "what of the log marginal likelihood depends on the precision, nats",
            )
    }
}

impl From<&LocalLearningCoefficient> for Report {
    fn from(l: &LocalLearningCoefficient) -> Self {
        Self::new()
            .row(
                "value",
                l.value,
                "the estimate, without a unit; below 0 where the start is no minimum of the loss",
            )
            .row(
                "std_error",
                l.std_error,
                "its standard error, by batch means",
            )
            .row(
                "excess_loss",
                l.excess_loss,
                "mean loss over the start's, nats",
            )
            .row(
                "n_beta",
                l.n_beta,
                "the number of data, weighted, over the temperature",
            )
            .row("looks", l.looks, "how many looks there were")
    }
}

impl From<&Energy> for Report {
    fn from(e: &Energy) -> Self {
        let rows = |m: Option<Mean>, what: &'static str| {
            Report::new().row("mean", m.map(|m| m.mean), what).row(
                "std_error",
                m.map(|m| m.std_error),
                "its standard error, from 20 batches",
            )
        };
        Report::new()
            .group("potential", rows(Some(e.potential), "-log_post / T"))
            .group(
                "kinetic",
                rows(e.kinetic, "d/2 times the kinetic temperature over T"),
            )
            .group("total", rows(Some(e.total), "the sum of both"))
            .group(
                "drift",
                rows(Some(e.drift), "the second half's mean minus the first's"),
            )
    }
}
