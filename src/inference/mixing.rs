//! How far a chain got, and whether its samples are worth more than one.

use super::readings::no_one_law;
use super::tensor_temperature::{self, TensorTemperature};
use super::{Report, StepFound, counted};
use crate::error::{Error, Result};
use crate::memory;
use crate::metrics::{Energy, LocalLearningCoefficient, Mean};
use crate::samplers::{ChainConfig, ExtremeEigenvalues};
use crate::store::{SampleId, Store};
use serde::Serialize;

/// Above this cosine between the first and the last sample's displacement all samples lie on one ray.
const RAY: f64 = 0.99;
/// Below this displacement, as a share of the weights' root mean square, a chain has stayed where it was.
const STILL: f64 = 1e-3;

/// How far the samples of a chain lie from its start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Movement {
    /// How many samples there are.
    pub samples: usize,
    /// Root mean square over the parameters of the last sample's displacement from the start.
    pub rms_move: f64,
    /// The displacement's norm over the start's.
    pub relative_move: f64,
    /// Cosine between the first and the last sample's displacement from the start; none for a single sample, or where one of them is 0.
    pub cosine_first_last: Option<f64>,
    /// Whether the samples are worth about one: a single one, all on one ray from the start, or none of them away from it.
    pub worth_about_one: bool,
    /// What a person should know, as a sentence.
    pub verdict: String,
}

impl Movement {
    /// Compares the first and the last of `samples` samples with the start, (n_params) each.
    ///
    /// # Errors
    /// [`Error::Shape`] when the vectors are empty or of different lengths; [`Error::OutOfRange`] when one is not finite.
    pub fn new(samples: usize, start: &[f32], first: &[f32], last: &[f32]) -> Result<Self> {
        let d = start.len();
        if d == 0 || first.len() != d || last.len() != d {
            let got = [d, first.len(), last.len()];
            let what = "start, first and last sample";
            return Err(Error::shape(what, [d.max(1); 3], got));
        }
        let (mut ff, mut fl, mut ll, mut ss) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
        for ((&s, &f), &l) in start.iter().zip(first).zip(last) {
            let (df, dl) = (f as f64 - s as f64, l as f64 - s as f64);
            ff += df * df;
            fl += df * dl;
            ll += dl * dl;
            ss += s as f64 * s as f64;
        }
        if !(ff + ll + ss).is_finite() {
            let what = "start, first and last sample";
            let got = "a number that is not, or a square beyond f64";
            return Err(Error::out_of_range(what, "finite numbers", got));
        }
        let (rms_move, relative_move) = ((ll / d as f64).sqrt(), (ll / ss).sqrt());
        let cosine = (samples > 1 && ff > 0.0 && ll > 0.0).then(|| fl / (ff * ll).sqrt());
        let stuck = cosine.is_some_and(|c| c > RAY) || relative_move < STILL;
        let mut movement = Self {
            samples,
            rms_move,
            relative_move,
            cosine_first_last: cosine,
            worth_about_one: samples <= 1 || stuck || cosine.is_none(),
            verdict: String::new(),
        };
        movement.verdict = movement.sentence();
        Ok(movement)
    }

    /// Compares the stored samples of a chain with its start, (n_params).
    ///
    /// # Errors
    /// Returns the errors of [`Movement::new`], and an error when a sample cannot be read.
    pub fn of_stored(store: &Store, chain: u32, start: &[f32]) -> Result<Self> {
        let mut first = memory::copy(start, "a sample")?;
        let mut last = memory::copy(start, "a sample")?;
        let of = |id: &SampleId| id.chain == chain;
        let ids = store.ids();
        if let (Some(a), Some(b)) = (ids.iter().position(of), ids.iter().rposition(of)) {
            store.load(a, &mut first)?;
            store.load(b, &mut last)?;
        }
        let samples = ids.iter().filter(|id| of(id)).count();
        Self::new(samples, start, &first, &last)
    }

    fn sentence(&self) -> String {
        let n = self.samples;
        let moved = format!(
            "the last sample lies {:.2e} from the start (root mean square per parameter, {:.2} % of the weights')",
            self.rms_move,
            100.0 * self.relative_move
        );
        match (self.cosine_first_last, n) {
            (_, 0) => "no sample was kept".into(),
            (None, 1) => format!("one sample; {moved}"),
            (None, _) => format!("the chain has not moved at all: these {n} samples are one"),
            (Some(c), n) if self.worth_about_one => format!(
                "the chain has not moved: {moved}, and the first and the last displacement point the same way (cosine {c:.6}); \
                 these {n} samples are worth about 1"
            ),
            (Some(c), n) => format!(
                "the chain moved: {moved}; cosine between the first and the last displacement {c:.3} over {}",
                counted(n, "sample"),
            ),
        }
    }
}

impl From<&Movement> for Report {
    fn from(m: &Movement) -> Self {
        Self::new()
            .row("samples", m.samples, "samples of the chain")
            .row("rms_move", m.rms_move, "root mean square over the parameters of the last sample's displacement from the start")
            .row("relative_move", m.relative_move, "norm of that displacement over the start's")
            .row("cosine_first_last", m.cosine_first_last, "cosine between the first and the last sample's displacement; NaN for a single sample")
            .row("worth_about_one", m.worth_about_one, "1 where the samples are worth about one: they lie on one ray, or have not moved")
            .row("verdict", m.verdict.clone(), "what a person should know, a sentence")
    }
}

/// Mean of a series of temperatures with the standard error that batch means give it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TemperatureBand {
    /// The mean.
    pub mean: f64,
    /// Its standard error, from 20 batches: it takes autocorrelation up to a batch's length into account.
    pub std_error: f64,
    /// Standard deviation of one step's value if the chain were in equilibrium and the target Gaussian, T sqrt(2/d).
    pub equilibrium_sd: f64,
}

impl TemperatureBand {
    /// Summarises the temperatures of d parameters at T; none for fewer than 20.
    pub fn new(series: &[f64], temperature: f64, d: usize) -> Option<Self> {
        let Mean { mean, std_error } = Mean::new(series)?;
        Some(Self {
            mean,
            std_error,
            equilibrium_sd: equilibrium_sd(temperature, d),
        })
    }

    /// Summarises the temperatures of d parameters at T, and says what is wrong with them.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for fewer than 20 temperatures, no parameter, and a number that is not finite.
    pub fn checked(series: &[f64], temperature: f64, d: usize) -> Result<Self> {
        if d == 0 {
            return Err(Error::out_of_range("parameters", "at least 1", d));
        }
        if !(temperature >= 0.0 && temperature.is_finite()) {
            return Err(Error::out_of_range(
                "temperature",
                "at least 0",
                temperature,
            ));
        }
        if let Some(i) = series.iter().position(|t| !t.is_finite()) {
            let what = format!("series[{i}]");
            return Err(Error::out_of_range(what, "a finite number", series[i]));
        }
        let band = Self::new(series, temperature, d);
        band.ok_or_else(|| Error::out_of_range("series", "at least 20 temperatures", series.len()))
    }

    /// Whether the mean is further from T than noise and rounding explain.
    pub fn is_off(&self, temperature: f64) -> bool {
        is_off(self.mean, self.std_error, temperature)
    }

    /// Returns the numbers as rows, and whether they are off T.
    pub fn report(&self, temperature: f64) -> Report {
        Report::new()
            .row("mean", self.mean, "mean temperature")
            .row(
                "std_error",
                self.std_error,
                "standard error of the mean, from 20 batches",
            )
            .row(
                "equilibrium_sd",
                self.equilibrium_sd,
                "standard deviation of one step's value in equilibrium, T sqrt(2/d)",
            )
            .row(
                "off",
                self.is_off(temperature),
                "1 where the mean is further from T than five standard errors and 5 %",
            )
    }

    fn text(&self, temperature: f64) -> String {
        let off = if temperature == 0.0 {
            ": at T = 0 the chain optimises, and this says how fast it still moves"
        } else if self.is_off(temperature) {
            ": the chain is not in equilibrium at T"
        } else {
            ""
        };
        format!(
            "{:.4} +- {:.4} (T = {temperature}, equilibrium band of one step +- {:.1e}){off}",
            self.mean, self.std_error, self.equilibrium_sd
        )
    }
}

/// Returns the standard deviation of one step's temperature of d parameters in equilibrium on a Gaussian, T sqrt(2/d).
pub fn equilibrium_sd(temperature: f64, d: usize) -> f64 {
    temperature * (2.0 / d as f64).sqrt()
}

/// Whether a mean temperature is off T by more than five standard errors and five percent: neither noise nor rounding.
pub fn is_off(mean: f64, std_error: f64, temperature: f64) -> bool {
    (mean - temperature).abs() > 5.0 * std_error + 0.05 * temperature
}

/// Returns the sampling steps' temperatures on the scale of T: those of exploring steps are left out, and under a schedule what is compared with T
/// is the ratio to the temperature of that step.
pub fn temperatures_at_t(c: &ChainConfig, series: &[f64]) -> Vec<f64> {
    let steps = (c.warmup_steps..).zip(series);
    steps
        .filter(|(step, _)| !c.explores(*step))
        .map(|(step, &t)| match c.temperature_at(step) {
            0.0 => t,
            then => t * c.temperature / then,
        })
        .collect()
}

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
        let band = |series| TemperatureBand::new(&temperatures_at_t(c, series), c.temperature, d);
        Self {
            chain: c.chain,
            movement,
            kinetic_temperature: band(trace.kinetic),
            configurational_temperature: band(trace.configurational),
            step: None,
            llc: None,
            curvature: None,
            energy: energy(c, num_data, d, trace),
            tensors: Vec::new(),
        }
    }

    /// Returns the summary as lines for a person.
    pub fn lines(&self, temperature: f64) -> Vec<String> {
        let mut lines = vec![self.movement.verdict.clone()];
        for (what, band) in [
            ("kinetic", self.kinetic_temperature),
            ("configurational", self.configurational_temperature),
        ] {
            lines.extend(band.map(|b| format!("{what} temperature {}", b.text(temperature))));
        }
        lines.extend(tensor_temperature::lines(&self.tensors, temperature));
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
