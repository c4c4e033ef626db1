//! What `bnn train` says at the end: the chains' summaries, the metrics file, the text.

use super::config::{Config, Value as SettingValue};
use super::evaluate::{Evaluation, SplitReport, by_split};
use super::folder::{now, write_json, write_text};
use super::held_out_report::HeldOutReport;
use super::prepare::Baseline;
use super::spent::Spent;
use super::train::Run;
use super::{Context, hex};
use crate::error::{Error, Result};
use crate::inference::controls::{Control, best};
use crate::inference::{
    ChainEnd, ChainSummary, Compared, Diagnosis, Facts, Movement, Verdict, counted, diagnose,
};
use crate::samplers::GaussianMethod;
use crate::store::Store;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// What `bnn train` leaves.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    /// The run's folder.
    pub run_dir: String,
    /// The sampler.
    pub sampler_type: String,
    /// SHA-256 over the stored parameters in order, as little-endian f32.
    pub samples_hash: String,
    /// Samples in the store.
    pub samples_collected: usize,
    /// Gradients of all chains.
    pub total_steps: u64,
    /// Seconds of sampling, over all processes that worked on the run.
    pub sampling_seconds: f64,
    /// Loss of the baseline on the whole validation split, nats per token.
    pub loss_baseline: f64,
    /// Mean loss of the samples.
    pub loss_mean_of_samples: f64,
    /// Loss of the averaged prediction.
    pub loss_averaged_prediction: f64,
    /// Temperature of the target.
    pub temperature: f64,
    /// How each chain moved.
    pub chains: Vec<ChainSummary>,
    /// Whether the chains agree on what they predict, by the probes; none where those are off.
    pub diagnostics: Option<Diagnosis>,
    /// What the samples are, what they gain and what to try next.
    pub verdict: Option<Verdict>,
    /// The validation split's scores; with `--eval`, of every split asked for.
    pub results: Map<String, Value>,
    /// The summary without its details, for a person who waits for the command.
    #[serde(skip)]
    pub short: String,
}

impl TrainReport {
    /// Returns the report with its samples' scores, and what they come to.
    pub(super) fn scored(
        self,
        config: &Config,
        reports: &[SplitReport],
        val: &SplitReport,
    ) -> Result<Self> {
        Ok(Self {
            loss_baseline: val.loss_baseline,
            loss_mean_of_samples: val.loss_mean_of_samples,
            loss_averaged_prediction: val.loss_averaged_prediction,
            results: by_split(reports)?,
            verdict: Some(verdict(&self, config, val)),
            ..self
        })
    }
}

impl Run<'_> {
    /// Scores the samples, writes the run's files, and returns what they say.
    pub fn report(
        &self,
        store: &Store,
        baseline: &Baseline,
        ends: &[ChainEnd],
        spent: Spent,
        ctx: &mut Context,
    ) -> Result<TrainReport> {
        let config = self.config;
        let chains = self.summaries(store, ends)?;
        for line in chains.iter().flat_map(|m| m.lines(config.temperature)) {
            ctx.log.keep(&line);
        }
        if store.is_empty() {
            return Err(Error::conflict(format!(
                "{} holds no sample, so nothing can be scored: `bnn train --resume {} --restart-chain` draws them again",
                store.folder().display(),
                self.folder.path.display()
            )));
        }
        let hash = hex(&store.hash()?);
        let known = TrainReport {
            chains,
            diagnostics: self.diagnose()?,
            ..self.unscored(store, hash, spent.seconds)
        };
        let (mut summary, evaluation) = (String::new(), self.evaluation(store, baseline));
        let report = evaluation.at_the_end(ctx, |reports, val| {
            let mut report = known.clone().scored(config, reports, val)?;
            let metrics = self.metrics(&report, val, baseline, ends, &spent);
            write_json(&self.folder.metrics(), &metrics)?;
            report.short = self.summary(&report, baseline, reports);
            summary = format!("{}{}", report.short, details(&report, config.temperature));
            write_text(&self.folder.summary(), &summary)?;
            Ok(report)
        })?;
        ctx.log.keep(&summary);
        Ok(report)
    }

    /// Returns the metrics file, under the original's keys.
    fn metrics(
        &self,
        report: &TrainReport,
        val: &SplitReport,
        baseline: &Baseline,
        ends: &[ChainEnd],
        spent: &Spent,
    ) -> Value {
        json!({
            "sampler_type": report.sampler_type,
            "config": self.original_config(),
            "training_metrics": self.training_metrics(report, ends, spent),
            "timestamp": now(),
            "uncertainty": val.uncertainty(),
            "num_data": self.num_data,
            "baseline": baseline.json(),
            "samples_hash": report.samples_hash,
            "chains": report.chains,
            "diagnostics": report.diagnostics,
            "verdict": report.verdict,
            "results": report.results,
        })
    }

    /// Its samples, to be scored.
    pub(super) fn evaluation<'a>(
        &'a self,
        store: &'a Store,
        baseline: &'a Baseline,
    ) -> Evaluation<'a> {
        Evaluation {
            config: self.config,
            setting: self.setting,
            store,
            baseline,
            folder: &self.folder,
        }
    }

    /// What a run leaves of its samples before they are scored, whatever drew them.
    pub(super) fn unscored(&self, store: &Store, hash: String, seconds: f64) -> TrainReport {
        TrainReport {
            run_dir: self.folder.path.display().to_string(),
            sampler_type: self.config.sampler.name().into(),
            samples_hash: hash,
            samples_collected: store.len(),
            total_steps: self.gradients(),
            sampling_seconds: seconds,
            loss_baseline: f64::NAN,
            loss_mean_of_samples: f64::NAN,
            loss_averaged_prediction: f64::NAN,
            temperature: self.config.temperature,
            chains: Vec::new(),
            diagnostics: None,
            verdict: None,
            results: Map::new(),
            short: String::new(),
        }
    }

    /// The first lines of a summary.
    pub(super) fn head(&self) -> String {
        let corpus = &self.setting.corpus;
        format!(
            "{} run {}\n\ncorpus            {} ({} training, {} validation tokens)\n",
            self.config.sampler,
            self.folder.stamp,
            corpus.name,
            corpus.train.len(),
            corpus.val.len(),
        )
    }

    /// The original's `training_metrics`, bnn's own beside them.
    fn training_metrics(&self, report: &TrainReport, ends: &[ChainEnd], spent: &Spent) -> Value {
        let last = ends.last();
        let of = |series: fn(&ChainEnd) -> &Vec<f64>| last.and_then(|e| series(e).last().copied());
        let mut training = json!({
            "total_steps": report.total_steps,
            "samples_collected": report.samples_collected,
        });
        if let Some(m) = last.and_then(|e| e.momentum) {
            training["avg_momentum"] = m.into();
        }
        training["last_log_lik"] = of(|e| &e.trace.log_lik).into();
        training["last_log_prior"] = of(|e| &e.trace.log_prior).into();
        training["sampling_seconds"] = spent.seconds.into();
        training["timed_gradients"] = spent.gradients.into();
        training
    }

    fn summaries(&self, store: &Store, ends: &[ChainEnd]) -> Result<Vec<ChainSummary>> {
        let each = ends.iter().zip(0u32..).map(|(end, chain)| {
            let movement = Movement::of_stored(store, chain, &self.start(chain)?)?;
            let free = movement.steps.and_then(|steps| end.free_diffusion(steps));
            let movement = movement.beside(free, self.prior.sd_at(self.config.temperature));
            Ok(end.summary(movement, self.setting.model.gpt.layout()))
        });
        each.collect()
    }

    /// Returns what the chains' files say of each other; none where the probes are off.
    fn diagnose(&self) -> Result<Option<Diagnosis>> {
        if self.config.probe_tokens == 0 {
            return Ok(None);
        }
        let draws = super::diagnose::open(&self.folder.path)?;
        let mut diagnosis = diagnose(&self.setting.model.backend, &[draws])?;
        // A report is read by people: the tokens' own numbers are `bnn diagnose`'s.
        diagnosis.each = None;
        Ok(Some(diagnosis))
    }

    /// The configuration under the original's keys, bnn's own beside them.
    pub fn original_config(&self) -> Value {
        let c = self.config;
        let mut v = serde_json::to_value(c).unwrap_or(Value::Null);
        v["num_epochs"] = c.num_epochs.into();
        v["max_seq_length"] = self.batch.1.into();
        v["train_samples"] = c
            .train_samples
            .unwrap_or(self.batches.windows().num_windows())
            .into();
        if let Ok(s) = c.sampler_config(0) {
            v["num_samples"] = (s.num_samples() * c.chains as u64).into();
        }
        v["num_data"] = self.num_data.into();
        v
    }

    fn summary(&self, r: &TrainReport, baseline: &Baseline, splits: &[SplitReport]) -> String {
        let (c, model) = (self.config, self.setting.model.gpt.config());
        let mut text = format!(
            "{}{}\
             model             {} layers, {} heads, {} wide, block {}: {} parameters\n\
             baseline          {} steps, validation loss {:.4}\n\
             sampler           step {}, T {}, {} of {} gradients\n\
             samples           {} in {}\n\n",
            said(r),
            self.head(),
            model.n_layer,
            model.n_head,
            model.n_embd,
            model.block_size,
            self.setting.model.gpt.n_params(),
            baseline.iters,
            baseline.val_loss,
            steps(c.learning_rate, &r.chains),
            SettingValue::F64(c.temperature),
            counted(c.chains as usize, "chain"),
            self.gradients() / c.chains as u64,
            r.samples_collected,
            self.folder.samples().display(),
        );
        for split in splits {
            text.push_str(&split.text());
            text.push('\n');
        }
        text
    }
}

/// Returns what a summary has beside its front: the chains' own lines, and whether they agree.
fn details(r: &TrainReport, temperature: f64) -> String {
    let mut text = String::from("Details\n\n");
    let checks = r.verdict.iter().flat_map(Verdict::check_lines);
    let chains = r.chains.iter().flat_map(|m| m.lines(temperature));
    for line in checks.chain(std::iter::once(String::new())).chain(chains) {
        text.push_str(&line);
        text.push('\n');
    }
    if let Some(d) = &r.diagnostics {
        text.push('\n');
        text.push_str(&d.text());
    }
    text
}

/// Returns what a run's samples come to, by its chains, its probes and the validation split's scores.
fn verdict(report: &TrainReport, config: &Config, val: &SplitReport) -> Verdict {
    let method = config.sampler.gaussian();
    let fit = method.is_some();
    // What an optimiser went through is what a chain without noise is.
    let normal = method.is_none_or(GaussianMethod::fits_normal);
    let mut facts = Facts {
        sampler: report.sampler_type.clone(),
        fit: fit && normal,
        temperature: if normal { config.temperature } else { 0.0 },
        chains: config.chains as usize,
        samples: report.samples_collected,
        sampling_steps: (!fit).then_some(config.sampling_steps as f64),
        auto_step: (!fit).then_some(config.auto_step),
        recorded: (!fit).then_some(config.probe_tokens > 0),
        mutual_information: Some(val.mutual_information.mean),
        ..Facts::default()
    };
    facts.add_chains(&report.chains);
    if let Some(a) = report
        .diagnostics
        .as_ref()
        .and_then(|d| d.log_prob.as_ref())
    {
        facts.add_agreement(a);
    }
    let parts = val.held_out.as_ref();
    let of = |c: &Control| {
        Compared::new(
            c.what.clone(),
            c.loss_scaled,
            c.models,
            &c.average_against_scaled,
        )
    };
    facts.single = match parts.and_then(|p| best(p.controls.iter().filter(|c| c.models == 1))) {
        Some(best) => Some(of(best)),
        None => Some(baseline(val)),
    };
    facts.control = parts.and_then(HeldOutReport::best_control).map(of);
    Verdict::new(facts)
}

/// Returns the average beside the baseline, on the part of the text that nothing was chosen by.
fn baseline(val: &SplitReport) -> Compared {
    let (loss, against) = match &val.held_out {
        Some(parts) => (parts.loss_baseline, &parts.against_baseline),
        None => (val.loss_baseline, &val.against_baseline),
    };
    Compared::new("the baseline", loss, 1, against)
}

/// Returns the verdict and what to try next as the front of a summary.
pub(super) fn said(report: &TrainReport) -> String {
    let said = report.verdict.as_ref();
    said.map_or(String::new(), |v| v.text_and_next() + "\n")
}

/// Returns the step that was sampled with: the given one, or those that the chains' warm-ups found.
fn steps(given: f64, chains: &[ChainSummary]) -> String {
    let found = chains.iter().filter_map(|c| c.step);
    let found: Vec<String> = found.map(|s| format!("{:.3e}", s.step_size)).collect();
    match found.is_empty() {
        true => format!("{given:.3e}"),
        false => format!("{} (found from {given:.3e})", found.join(", ")),
    }
}
