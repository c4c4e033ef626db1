//! How far a chain's samples lie from its start, beside what the chain would move if nothing pulled at it.

use super::{Report, counted};
use crate::error::{Error, Result};
use crate::memory;
use crate::samplers::FreeDiffusion;
use crate::store::{SampleId, Store};
use serde::Serialize;

/// Above this cosine between the first and the last sample's displacement all samples lie on one ray.
const RAY: f64 = 0.99;
/// A displacement within this share of free diffusion's is that of free diffusion.
const LIKE_FREE: f64 = 0.1;

/// What a chain's displacement says of the force that acted on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// There is no sample.
    NoSample,
    /// There is one sample, which says nothing of movement.
    OneSample,
    /// No sample differs from the start.
    Unmoved,
    /// All samples lie on one ray from the start.
    Ray,
    /// The chain moved as far as it would if nothing pulled at it: it has met no force yet that holds it.
    Free,
    /// The chain moved less than free diffusion: a force holds it.
    Held,
    /// The chain moved further than free diffusion: a force drives it away from the start, or noise heats it.
    Driven,
    /// It is not known how far free diffusion goes, or too few parameters average over its chance.
    Unjudged,
}

impl Reach {
    /// Returns the word that files have.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSample => "no_sample",
            Self::OneSample => "one_sample",
            Self::Unmoved => "unmoved",
            Self::Ray => "ray",
            Self::Free => "free",
            Self::Held => "held",
            Self::Driven => "driven",
            Self::Unjudged => "unjudged",
        }
    }
}

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
    /// What the displacement would be without a force; none where that is not known.
    pub free: Option<FreeDiffusion>,
    /// `rms_move` over that of free diffusion: near 1 where no force was felt yet.
    pub over_free: Option<f64>,
    /// Root mean square over the parameters of the prior's standard deviation at T; none where that is not known.
    pub prior_sd: Option<f64>,
    /// What the displacement says of the force.
    pub reach: Reach,
    /// Whether the samples are worth about one: a single one, all on one ray from the start, or none of them away from it.
    pub worth_about_one: bool,
    /// What a person should know, as a sentence.
    pub verdict: String,
    /// The steps that gave the first and the last sample, as the store counts them.
    #[serde(skip)]
    pub steps: Option<(u64, u64)>,
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
        let cosine = (samples > 1 && ff > 0.0 && ll > 0.0).then(|| fl / (ff * ll).sqrt());
        Ok(Self {
            samples,
            rms_move: (ll / d as f64).sqrt(),
            relative_move: (ll / ss).sqrt(),
            cosine_first_last: cosine,
            free: None,
            over_free: None,
            prior_sd: None,
            reach: Reach::Unjudged,
            worth_about_one: false,
            verdict: String::new(),
            steps: None,
        }
        .judged())
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
        let mut steps = None;
        if let (Some(a), Some(b)) = (ids.iter().position(of), ids.iter().rposition(of)) {
            store.load(a, &mut first)?;
            store.load(b, &mut last)?;
            steps = Some((ids[a].step, ids[b].step));
        }
        let samples = ids.iter().filter(|id| of(id)).count();
        Ok(Self {
            steps,
            ..Self::new(samples, start, &first, &last)?
        })
    }

    /// Judges the displacement by what it would be without a force, and shows the prior's standard deviation at T beside it.
    pub fn beside(self, free: Option<FreeDiffusion>, prior_sd: Option<f64>) -> Self {
        let free = free.filter(|f| f.rms > 0.0 && f.rms.is_finite());
        Self {
            over_free: free.map(|f| self.rms_move / f.rms),
            free,
            prior_sd,
            ..self
        }
        .judged()
    }

    fn judged(mut self) -> Self {
        self.reach = self.judge();
        self.worth_about_one = matches!(
            self.reach,
            Reach::NoSample | Reach::OneSample | Reach::Unmoved | Reach::Ray
        );
        self.verdict = self.sentence();
        self
    }

    fn judge(&self) -> Reach {
        let Some(cosine) = self.cosine_first_last else {
            return match self.samples {
                0 => Reach::NoSample,
                1 => Reach::OneSample,
                _ => Reach::Unmoved,
            };
        };
        if cosine > RAY {
            return Reach::Ray;
        }
        let (Some(free), Some(over)) = (self.free, self.over_free) else {
            return Reach::Unjudged;
        };
        // Five standard deviations of what one chain's displacement strays by chance.
        let tolerance = LIKE_FREE.max(5.0 * free.relative_sd);
        match over {
            _ if tolerance >= 1.0 => Reach::Unjudged,
            x if x > 1.0 + tolerance => Reach::Driven,
            x if x < 1.0 - tolerance => Reach::Held,
            _ => Reach::Free,
        }
    }

    fn sentence(&self) -> String {
        let n = self.samples;
        let cosine = self.cosine_first_last.unwrap_or(f64::NAN);
        let from = format!(
            "the last sample lies {:.2e} from the start (root mean square per parameter, {:.2} % of the weights')",
            self.rms_move,
            100.0 * self.relative_move
        );
        let over = self.over_free.unwrap_or(f64::NAN);
        let beside = format!("{from}, {over:.2} times what free diffusion at T gives");
        let said = match self.reach {
            Reach::NoSample => return "no sample was kept".into(),
            Reach::OneSample => return format!("one sample; {from}"),
            Reach::Unmoved => {
                return format!("the chain has not moved at all: these {n} samples are one");
            }
            Reach::Ray => return self.on_a_ray(&from),
            Reach::Free => format!("no force holds the chain yet: {beside}"),
            Reach::Held => format!("a force holds the chain: {beside}"),
            Reach::Driven => {
                format!("a force drives the chain from its start, or noise heats it: {beside}")
            }
            Reach::Unjudged => from,
        };
        let free = self.free.and_then(|f| f.cosine);
        let free = free.map_or(String::new(), |c| format!(" ({c:.3} if free)"));
        let prior = match self.prior_sd.filter(|sd| *sd > 0.0 && self.rms_move > 0.0) {
            Some(sd) => format!(
                "; the prior's standard deviation at T is {sd:.2e}, {:.3} times that",
                sd / self.rms_move
            ),
            None => String::new(),
        };
        format!(
            "{said}; cosine between the first and the last displacement {cosine:.3}{free} over {}{prior}",
            counted(n, "sample"),
        )
    }

    fn on_a_ray(&self, from: &str) -> String {
        let free = self.free.and_then(|f| f.cosine);
        let why = match free {
            Some(c) if c <= RAY => "a force carries the chain in one direction",
            Some(_) => "momentum is not forgotten within the run",
            None => "momentum was not forgotten, or a force carries the chain",
        };
        format!(
            "all samples lie on one ray from the start (cosine between the first and the last displacement {:.6}): {why}; {from}; \
             these {} samples are worth about 1",
            self.cosine_first_last.unwrap_or(f64::NAN),
            self.samples,
        )
    }
}

impl From<&FreeDiffusion> for Report {
    fn from(f: &FreeDiffusion) -> Self {
        Self::new()
            .row("rms", f.rms, "root mean square over the parameters of the displacement after the last step")
            .row("cosine", f.cosine, "cosine between the displacements after the first and the last step; NaN where one is 0")
            .row("relative_sd", f.relative_sd, "relative standard deviation of one chain's root mean square")
    }
}

impl From<&Movement> for Report {
    fn from(m: &Movement) -> Self {
        let free = m.free;
        Self::new()
            .row("samples", m.samples, "samples of the chain")
            .row("rms_move", m.rms_move, "root mean square over the parameters of the last sample's displacement from the start")
            .row("relative_move", m.relative_move, "norm of that displacement over the start's")
            .row("cosine_first_last", m.cosine_first_last, "cosine between the first and the last sample's displacement; NaN for a single sample")
            .row("free.rms", free.map(|f| f.rms), "what rms_move would be without a force; NaN where that is not known")
            .row("free.cosine", free.and_then(|f| f.cosine), "what cosine_first_last would be without a force; NaN where that is not known")
            .row("over_free", m.over_free, "rms_move over free.rms: near 1 where no force was felt yet; NaN where that is not known")
            .row("prior_sd", m.prior_sd, "root mean square over the parameters of the prior's standard deviation at T; NaN where that is not known")
            .row("reach", m.reach.name(), "what the displacement says of the force: no_sample, one_sample, unmoved, ray, free, held, driven or unjudged")
            .row("worth_about_one", m.worth_about_one, "1 where the samples are worth about one: they lie on one ray, or have not moved at all")
            .row("verdict", m.verdict.clone(), "what a person should know, a sentence")
    }
}
