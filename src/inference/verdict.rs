//! What a run's samples are, what they gain, and what to try next: facts in, sentences out.

use super::scoring::PRACTICAL;
use super::verdict_facts::{Compared, Facts};
use super::{Report, counted};
use crate::settings::Value;
use serde::Serialize;

/// R-hat from which chains are not called agreed.
const RHAT: f64 = 1.05;
/// Effective draws per chain below which a mean is not called known (Vehtari et al. 2021, section 4.1).
const ESS: f64 = 100.0;
/// Below this mutual information, nats per token, samples predict alike.
const ALIKE: f64 = 1e-4;
/// A displacement within this share of free diffusion's is that of free diffusion.
const LIKE_FREE: f64 = 0.1;

/// What samples may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleKind {
    /// Samples of the posterior: T is 1 and every check passes.
    Posterior,
    /// Samples of a tempered chain: T is not 1 and every check passes.
    Tempered,
    /// Some models near the start: a check fails, or something is not known.
    LocalEnsemble,
    /// Points on an optimiser's path: T is 0.
    OptimiserPath,
    /// Draws from a fitted normal.
    Fit,
    /// One model, or none.
    OneModel,
}

/// One check of a chain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What is checked, a word.
    pub name: &'static str,
    /// Whether it passes; none where that is not known.
    pub passes: Option<bool>,
    /// The number and the limit, or why there is none.
    pub said: String,
}

/// A judgement of a run's samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// What the samples may be called.
    pub kind: SampleKind,
    /// Two or three sentences.
    pub text: String,
    /// What to try next, as flags with their reason.
    pub next: Vec<String>,
    /// The checks.
    pub checks: Vec<Check>,
    /// What is known.
    pub facts: Facts,
}

impl Verdict {
    /// Judges samples by what is known of them.
    pub fn new(facts: Facts) -> Self {
        let checks = checks(&facts);
        let passes = checks.iter().all(|c| c.passes == Some(true));
        let kind = kind(&facts, passes);
        let sentences = [
            Some(what_they_are(&facts, kind)),
            gain(&facts, kind),
            beside_the_control(&facts),
        ];
        let sentences: Vec<String> = sentences.into_iter().flatten().collect();
        Self {
            text: sentences.join(" "),
            next: next(&facts, kind),
            kind,
            checks,
            facts,
        }
    }

    /// Returns whether every check is known and passes.
    pub fn passes(&self) -> bool {
        self.checks.iter().all(|c| c.passes == Some(true))
    }

    /// Returns the sentences, with what to try next on a line of its own.
    pub fn text_and_next(&self) -> String {
        match self.next.is_empty() {
            true => format!("{}\n", self.text),
            false => format!("{}\nTry {}.\n", self.text, self.next.join("; ")),
        }
    }

    /// Returns a line for each check.
    pub fn check_lines(&self) -> Vec<String> {
        let line = |c: &Check| {
            let word = match c.passes {
                Some(true) => "passes",
                Some(false) => "FAILS",
                None => "not known",
            };
            format!("{:<16} {word:<10} {}", c.name, c.said)
        };
        self.checks.iter().map(line).collect()
    }
}

/// Returns the checks of a chain, or the one that a fit or an optimiser never passes.
fn checks(f: &Facts) -> Vec<Check> {
    let check = |name, passes, said: String| Check { name, passes, said };
    if f.fit {
        let said = "a fitted normal has no chain that could be checked".into();
        return vec![check("law", None, said)];
    }
    if f.temperature == 0.0 {
        let said = "T = 0: nothing is sampled".into();
        return vec![check("law", Some(false), said)];
    }
    let enough = ESS * f.chains.max(1) as f64;
    let unknown = |what: &str| format!("{what} is not known");
    let temperature = |over: Option<f64>, off: Option<bool>, what: &str| {
        let said = match over {
            Some(x) => format!("{x:.3} times what equilibrium at T has"),
            None => unknown(what),
        };
        (off.map(|off| !off), said)
    };
    let (hot, said_hot) = temperature(f.kinetic, f.kinetic_off, "the kinetic temperature");
    let (there, said_there) = temperature(
        f.configurational,
        f.configurational_off,
        "the configurational temperature",
    );
    let mut all = vec![
        check(
            "R-hat",
            f.rhat.map(|r| r < RHAT),
            f.rhat.map_or_else(
                || unknown("R-hat"),
                |r| format!("worst {r:.3}, to be under {RHAT}"),
            ),
        ),
        check(
            "ESS",
            f.ess.map(|e| e >= enough),
            f.ess.map_or_else(
                || unknown("the effective sample size"),
                |e| format!("worst {e:.0} draws, to be {enough:.0} or more"),
            ),
        ),
        check("configurational", there, said_there),
    ];
    if f.kinetic.is_some() {
        all.push(check("kinetic", hot, said_hot));
    }
    if let Some(m) = f.mutual_information {
        let said = format!("mutual information {m:.4} nats per token, to be above {ALIKE}");
        all.push(check("disagreement", Some(m > ALIKE), said));
    }
    if f.one_ray == Some(true) {
        let said = "all samples of a chain lie on one ray from its start".into();
        all.push(check("movement", Some(false), said));
    }
    all
}

fn kind(f: &Facts, passes: bool) -> SampleKind {
    match f {
        _ if f.samples <= 1 => SampleKind::OneModel,
        _ if f.fit => SampleKind::Fit,
        _ if f.temperature == 0.0 => SampleKind::OptimiserPath,
        _ if !passes => SampleKind::LocalEnsemble,
        _ if f.temperature == 1.0 => SampleKind::Posterior,
        _ => SampleKind::Tempered,
    }
}

/// Returns the first sentence.
fn what_they_are(f: &Facts, kind: SampleKind) -> String {
    let (n, t) = (f.samples, Value::F64(f.temperature));
    let ess = f.ess.unwrap_or(f64::NAN);
    let evidence = || {
        format!(
            "R-hat is at most {:.3}, every recorded quantity is known by {ess:.0} effective draws or more, and the temperatures are those of equilibrium",
            f.rhat.unwrap_or(f64::NAN)
        )
    };
    match kind {
        SampleKind::OneModel if n == 0 => "There is no sample.".into(),
        SampleKind::OneModel => "One model: a single sample says nothing of uncertainty.".into(),
        SampleKind::Fit => {
            let (normals, around) = match f.chains {
                0 | 1 => (
                    "the normal".to_owned(),
                    "an approximation around one point".to_owned(),
                ),
                fits => (
                    format!("{fits} normals"),
                    format!("approximations around {fits} points"),
                ),
            };
            format!(
                "{} from {normals} that {} fitted at T = {t}: {around}, not samples of the posterior.",
                counted(n, "draw"),
                f.sampler
            )
        }
        SampleKind::OptimiserPath => format!(
            "{n} points on an optimiser's path (T = 0): no noise was added, and nothing was sampled."
        ),
        SampleKind::Posterior => format!("{n} posterior samples (T = 1): {}.", evidence()),
        SampleKind::Tempered => format!(
            "{n} samples of a tempered chain (T = {t}; the posterior has T = 1): {}.",
            evidence()
        ),
        SampleKind::LocalEnsemble => {
            let what = match f.temperature {
                cold if cold < 1.0 => format!("A cold (T = {t}) local ensemble"),
                hot if hot > 1.0 => format!("A hot (T = {t}) local ensemble"),
                _ => "A local ensemble (T = 1)".into(),
            };
            format!("{what}, not the posterior: {}.", failures(f))
        }
    }
}

/// Returns what is wrong, the plainest first, at most three of them.
fn failures(f: &Facts) -> String {
    let mut all: Vec<String> = Vec::new();
    if f.mutual_information.is_some_and(|m| m <= ALIKE) {
        all.push("its samples predict alike".into());
    }
    if f.one_ray == Some(true) {
        all.push("the samples of a chain lie on one ray from its start".into());
    }
    match f.rhat {
        Some(r) if r >= RHAT => all.push(format!("R-hat {r:.2}")),
        None => all.push("whether it has converged is not known".into()),
        _ => {}
    }
    let is_free = |x: f64| (x - 1.0).abs() <= LIKE_FREE;
    let free = f.over_free.is_some_and(is_free) && f.one_ray != Some(true);
    if free {
        all.push("it moved as far as free diffusion would".into());
    }
    if let (Some(true), Some(k)) = (f.kinetic_off, f.kinetic) {
        all.push(format!(
            "its momenta are at {k:.2} times the temperature that they should have"
        ));
    }
    let enough = ESS * f.chains.max(1) as f64;
    if let Some(e) = f
        .ess
        .filter(|e| *e < enough && f.rhat.is_some_and(|r| r < RHAT))
    {
        all.push(format!(
            "only {e:.0} effective draws where {enough:.0} are wanted"
        ));
    }
    if let (Some(true), Some(c), false) = (f.configurational_off, f.configurational, free) {
        let why = match c < 1.0 {
            true => "its slow directions have not forgotten the start",
            false => "it is hotter than T",
        };
        all.push(why.into());
    }
    if all.is_empty() {
        all.push("its temperatures are not known".into());
    }
    all.truncate(3);
    match all.split_last() {
        Some((last, before)) if !before.is_empty() => {
            format!("{}, and {last}", before.join(", "))
        }
        _ => all.concat(),
    }
}

/// Returns how the average compares with another prediction: "better than X by 0.021 +- 0.004 nats per token".
fn compared(c: &Compared) -> String {
    let (size, error) = (c.difference.abs(), c.std_error);
    let by = format!("by {size:.4} +- {error:.4} nats per token");
    match c.difference {
        d if d.abs() < PRACTICAL => {
            format!("as well as {} ({by}: no practical difference)", c.name)
        }
        d if d.abs() < 2.0 * error => {
            format!("as well as {}, as far as this text can tell ({by})", c.name)
        }
        d if d < 0.0 => format!("better than {} {by}", c.name),
        _ => format!("worse than {} {by}", c.name),
    }
}

/// Returns the sentence about the best single model.
fn gain(f: &Facts, kind: SampleKind) -> Option<String> {
    let single = f.single.as_ref().filter(|_| f.samples > 0)?;
    let subject = match kind {
        SampleKind::OneModel => "It",
        SampleKind::LocalEnsemble => "Its average",
        _ => "Their average",
    };
    let cost = match is_control(f, single) {
        true => ", which cost as much",
        false => "",
    };
    Some(format!("{subject} predicts {}{cost}.", compared(single)))
}

/// Returns whether the best single model is the best control of equal cost, too.
fn is_control(f: &Facts, single: &Compared) -> bool {
    f.control.as_ref().is_some_and(|c| c == single)
}

/// Returns the sentence about the control of equal cost, unless it was named before.
fn beside_the_control(f: &Facts) -> Option<String> {
    let Some(c) = &f.control else {
        return Some("Nothing of equal cost was compared.".into());
    };
    if f.single
        .as_ref()
        .is_some_and(|single| is_control(f, single))
    {
        return None;
    }
    let it = Compared {
        name: "it".into(),
        ..c.clone()
    };
    let (name, models) = (&c.name, counted(c.models, "model"));
    Some(format!(
        "For the same cost {name} ({models}) has a loss of {:.4}: the average predicts {}.",
        c.loss,
        compared(&it)
    ))
}

/// Returns what to try next.
fn next(f: &Facts, kind: SampleKind) -> Vec<String> {
    let mut all = Vec::new();
    let chain = !f.fit && f.temperature > 0.0;
    let failed = chain && matches!(kind, SampleKind::LocalEnsemble | SampleKind::OneModel);
    if failed && f.one_ray == Some(true) {
        all.push(
            "`--momentum 0.9`, which sets a friction that forgets the momentum within the run"
                .into(),
        );
    }
    if failed && f.mutual_information.is_some_and(|m| m <= ALIKE) {
        all.push("a larger `--learning-rate`, since the samples predict alike".into());
    }
    if failed && f.chains == 1 {
        all.push("`--chains 4`, since one chain cannot see where it has not been".into());
    }
    let short =
        f.rhat.is_some_and(|r| r >= RHAT) || f.ess.is_some_and(|e| e < ESS * f.chains as f64);
    if let Some(steps) = f.sampling_steps.filter(|_| failed && short) {
        let longer = (8.0 * steps).min(1e15) as u64;
        all.push(format!("`--sampling-steps {longer}`, for a longer chain"));
    }
    if failed && f.rhat.is_none() {
        // What is not recorded is missing; what is recorded is too short.
        all.push(match f.recorded {
            Some(true) => "more `--sampling-steps` or a smaller `--probe-every`, for draws that R-hat can be computed from".into(),
            _ => "`--probe-tokens 4096`, which records what R-hat needs".into(),
        });
    }
    if chain && f.kinetic_off == Some(true) && f.kinetic.is_some_and(|k| k > 1.0) {
        all.push(match f.auto_step {
            Some(true) => "a smaller `--learning-rate` with a smaller `--step-growth`, or a larger `--batch-size`, against the heat".into(),
            _ => "`--auto-step` or a larger `--batch-size`, against the heat".into(),
        });
    }
    if f.control.is_none() {
        all.push("`bnn eval RUN`, for controls of equal cost".into());
    }
    all
}

impl From<&Verdict> for Report {
    fn from(v: &Verdict) -> Self {
        let rows = Self::new()
            .row("text", v.text.clone(), "two or three sentences")
            .row("next", v.next.join("; "), "what to try next")
            .row(
                "passes",
                v.passes(),
                "1 where every check is known and passes",
            );
        v.checks.iter().fold(rows, |rows, c| {
            let name = c.name.to_lowercase().replace('-', "");
            rows.row(
                format!("check.{name}"),
                c.passes.map(|p| f64::from(u8::from(p))),
                c.said.clone(),
            )
        })
    }
}
