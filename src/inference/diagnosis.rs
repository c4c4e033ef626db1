//! Whether the chains of one or several runs agree on what they predict, and what their draws are worth: numbers and a verdict.

use super::agreement::{Called, judge, too_few};
use super::monitors::Draws;
use super::run_draws::{RunDraws, check_together, select, shortest};
use super::{Agreement, Cost, counted};
use crate::backend::Backend;
use crate::error::Result;
use crate::metrics::{ChainDiagnostics, MIN_DRAWS, PROJECTIONS};
use serde::Serialize;

/// What the quantities are that the verdict is about.
const PROBES: Called = Called {
    one: "probe token",
    many: "probe tokens",
};

/// Diagnostics of every quantity, in order.
#[derive(Clone, Debug, Serialize)]
pub struct Each {
    /// The agreement of the probe tokens' log-probabilities.
    pub log_prob: Vec<ChainDiagnostics>,
    /// The agreement of the projections.
    pub projection: Vec<ChainDiagnostics>,
}

/// What the draws of some chains say of each other.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The runs' folders.
    pub runs: Vec<String>,
    /// Chains of all runs.
    pub chains: usize,
    /// Draws a chain that were used: as many as the shortest has.
    pub draws: usize,
    /// Whether some chain has more.
    pub cut: bool,
    /// Chains that were left out because they have fewer than 4 draws, where others have more.
    pub left_out: usize,
    /// Sampling steps between two draws.
    pub probe_every: u64,
    /// Gradients of all chains up to the last draw that was used, warm-up and the mass's among them.
    pub gradients: u64,
    /// Seconds that they took; none where a run's time is not known.
    pub seconds: Option<f64>,
    /// What one quantity in 20 exceeds though all draws are independent ones of one law: the noise of R-hat itself. None below 4 draws.
    pub rhat_by_chance: Option<f64>,
    /// Probe tokens' log-probabilities; none below 4 draws, or where none ever changed.
    pub log_prob: Option<Agreement>,
    /// Projections of the weights.
    pub projection: Option<Agreement>,
    /// One judgement.
    pub verdict: String,
    /// Every quantity's own numbers, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each: Option<Each>,
}

/// Diagnoses the chains of runs that belong together.
///
/// # Errors
/// Returns the errors of [`check_together`].
pub fn diagnose<B: Backend>(backend: &B, runs: &[RunDraws]) -> Result<Diagnosis> {
    check_together(runs)?;
    let (fewest, used) = select(runs);
    let all: Vec<&Draws> = used.iter().map(|c| &c.draws).collect();
    let draws = shortest(&used);
    let gradients = |r: &RunDraws| r.used(fewest).count() as u64 * r.gradients(draws);
    let seconds = runs
        .iter()
        .map(|r| Some(r.seconds_a_gradient? * gradients(r) as f64))
        .sum::<Option<f64>>();
    let mut d = Diagnosis {
        runs: runs.iter().map(|r| r.path.display().to_string()).collect(),
        chains: all.len(),
        draws,
        cut: all.iter().any(|d| d.len() > draws),
        left_out: runs.iter().map(|r| r.chains.len()).sum::<usize>() - all.len(),
        probe_every: runs[0].settings.probe_every,
        gradients: runs.iter().map(gradients).sum(),
        seconds,
        rhat_by_chance: None,
        log_prob: None,
        projection: None,
        verdict: String::new(),
        each: None,
    };
    if draws < MIN_DRAWS {
        d.verdict = too_few(draws);
        return Ok(d);
    }
    let log_prob: Vec<&[f32]> = all.iter().map(|d| &d.log_prob[..]).collect();
    let projection: Vec<&[f64]> = all.iter().map(|d| &d.projection[..]).collect();
    let cost = Cost {
        gradients: d.gradients,
        seconds,
    };
    let log_prob = judge(backend, &log_prob, draws, all[0].tokens(), cost, PROBES)?;
    let projection = judge(backend, &projection, draws, PROJECTIONS, cost, PROBES)?;
    d.rhat_by_chance = Some(log_prob.rhat_by_chance);
    d.verdict = log_prob.verdict;
    (d.log_prob, d.projection) = (log_prob.agreement, projection.agreement);
    d.each = Some(Each {
        log_prob: log_prob.each,
        projection: projection.each,
    });
    Ok(d)
}

impl Diagnosis {
    /// Returns the diagnosis as text for a person.
    pub fn text(&self) -> String {
        let mut text = format!(
            "probes: {} of {}, one every {} sampling steps{}; {} gradients{}\n",
            counted(self.chains, "chain"),
            counted(self.draws, "draw"),
            self.probe_every,
            [
                (self.cut, ", cut to the shortest chain".to_owned()),
                (
                    self.left_out > 0,
                    format!(
                        ", without {} that just began",
                        counted(self.left_out, "chain")
                    )
                ),
            ]
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, text)| text)
            .collect::<String>(),
            self.gradients,
            self.seconds
                .map_or(String::new(), |s| format!(" in {s:.1} s")),
        );
        for (name, unit, family) in [
            ("log-probabilities of tokens", " (nats)", &self.log_prob),
            ("projections of the weights", "", &self.projection),
        ] {
            if let Some(f) = family {
                text.push_str(&f.text(name, unit));
            }
        }
        text + &self.verdict + "\n"
    }
}
