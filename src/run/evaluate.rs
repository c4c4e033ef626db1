//! Scores of a run's samples on a split: the averaged prediction beside its samples, the baseline and what else could be made of as many gradients.

use super::Context;
use super::config::{Config, Preset};
use super::folder::RunFolder;
use super::held_out_report::HeldOutReport;
use super::prepare::{Baseline, Setting};
use super::progress::Progress;
use super::results::Place;
use super::split_report::mean;
pub use super::split_report::{SplitReport, by_split};
use crate::data::{HeldOut, consecutive};
use crate::error::Result;
use crate::generate::{Generator, Mode};
use crate::inference::held_out::{HeldOutScores, score_held_out};
use crate::inference::scoring::{Models, compare, score};
use crate::inference::text_score::{TextPlan, write_and_score};
use crate::inference::{Comparison, describe, spread};
use crate::metrics::eval_batch;
use crate::settings::Predictive;
use crate::store::Store;
use serde_json::{Value, json};
use std::time::Instant;

/// Samples that texts are averaged over when all are asked for: the original's number.
const TEXT_SAMPLES: usize = 10;

/// Returns the most windows of a split that an evaluation may use.
fn most_windows(config: &Config, block: usize) -> Option<usize> {
    let by_tokens = config.eval_max_tokens.map(|n| n / block);
    config.eval_max_samples.into_iter().chain(by_tokens).min()
}

/// Returns the held-out text that an evaluation may use.
pub(super) fn held_out<'a>(config: &Config, setting: &'a Setting) -> HeldOut<'a> {
    let block = setting.model.gpt.config().block_size;
    setting.corpus.held_out(block, most_windows(config, block))
}

/// A split's report, with the average's scores where it is the validation split.
struct Scored {
    report: SplitReport,
    averaged: Option<HeldOutScores>,
}

/// A run's samples, and what they are scored with.
#[derive(Clone, Copy)]
pub struct Evaluation<'a> {
    /// The run's settings.
    pub config: &'a Config,
    /// Its text and model.
    pub setting: &'a Setting,
    /// Its samples.
    pub store: &'a Store,
    /// Its baseline.
    pub baseline: &'a Baseline,
    /// Its folder.
    pub folder: &'a RunFolder,
}

impl Evaluation<'_> {
    /// The losses and uncertainties of a split, without texts and without controls.
    ///
    /// # Errors
    /// When a sample cannot be read, or a prediction is not finite.
    pub fn losses(&self, split: &str, ctx: &mut Context) -> Result<SplitReport> {
        Ok(self.scored(split, ctx)?.report)
    }

    /// Returns the indices of the samples that are averaged.
    fn used(&self) -> Result<Vec<usize>> {
        spread(self.store.ids(), self.config.eval_num_posterior_samples)
    }

    /// Returns what is averaged: samples of the store, or the model linearised around the baseline at these.
    fn averaged<'b>(&'b self, samples: &'b Models<'b>) -> Models<'b> {
        match self.config.predictive {
            Predictive::Weights => samples.clone(),
            Predictive::Linearised => Models::Linearised {
                mean: &self.baseline.params,
                draws: samples,
            },
        }
    }

    fn scored(&self, split: &str, ctx: &mut Context) -> Result<Scored> {
        let start = Instant::now();
        let mut scored = match split {
            "val" => self.of_held_out(ctx)?,
            split => self.of_split(split, ctx)?,
        };
        scored.report.elapsed_seconds = start.elapsed().as_secs_f64();
        Ok(scored)
    }

    /// Scores the average and the baseline on the front of a split.
    fn of_split(&self, split: &str, ctx: &mut Context) -> Result<Scored> {
        let (config, setting, used) = (self.config, self.setting, self.used()?);
        let (backend, gpt) = (&setting.model.backend, &setting.model.gpt);
        let (tokens, block) = (setting.split(split), gpt.config().block_size);
        let most = match most_windows(config, block) {
            Some(n) => n.saturating_mul(block) + 1,
            None if config.preset == Preset::Original => tokens.len(),
            // The training text is there to be compared with the validation split, and may be ten times as long.
            None => setting.split("val").len(),
        };
        let tokens = &tokens[..most.min(tokens.len())];
        // The baseline comes after the samples.
        let work = (used.len() + 1) * consecutive(tokens, block)?.num_windows();
        let mut progress = Progress::new(&format!("eval {split}"), 0, work as u64);
        let samples = Models::Stored(self.store, &used);
        let models = self.averaged(&samples);
        let (params, seed) = (&self.baseline.params, config.seed);
        let compared = compare(backend, gpt, tokens, &models, params, seed, |done| {
            ctx.check_stop()?;
            progress.at(&mut ctx.log, done as u64, String::new);
            Ok(())
        })?;
        Ok(Scored {
            report: SplitReport::new(config, split, &compared),
            averaged: None,
        })
    }

    /// Scores the average and the baseline on both parts of the held-out text.
    fn of_held_out(&self, ctx: &mut Context) -> Result<Scored> {
        let (config, setting) = (self.config, self.setting);
        let text = held_out(config, setting);
        let used = self.used()?;
        let samples = Models::Stored(self.store, &used);
        let models = self.averaged(&samples);
        let averaged = self.score(&text, &models, "eval val", ctx)?;
        let baseline = Models::One(&self.baseline.params);
        let baseline = self.score(&text, &baseline, "eval baseline", ctx)?;
        let of = |s: &HeldOutScores| s.validation.clone();
        let compared = Comparison::new(of(&averaged), of(&baseline), config.seed)?;
        let mut report = SplitReport::new(config, "val", &compared);
        let chains = self.by_chain(&text, ctx)?;
        let held_out = HeldOutReport::new(
            &text,
            config.predictive,
            &averaged,
            &baseline,
            &chains,
            config.seed,
        )?;
        report.held_out = Some(held_out);
        Ok(Scored {
            report,
            averaged: Some(averaged),
        })
    }

    /// Scores models on both parts of the held-out text.
    fn score(
        &self,
        text: &HeldOut<'_>,
        models: &Models<'_>,
        what: &str,
        ctx: &mut Context,
    ) -> Result<HeldOutScores> {
        let (backend, gpt) = (&self.setting.model.backend, &self.setting.model.gpt);
        let windows: usize = text.windows(gpt.config().block_size).iter().sum();
        let mut progress = Progress::new(what, 0, (windows * models.count()) as u64);
        score_held_out(backend, gpt, text, models, |done| {
            ctx.check_stop()?;
            progress.at(&mut ctx.log, done as u64, String::new);
            Ok(())
        })
    }

    /// Returns the loss of each chain's own average on the part to report on; nothing for one chain.
    fn by_chain(&self, text: &HeldOut<'_>, ctx: &mut Context) -> Result<Vec<f64>> {
        let (ids, used) = (self.store.ids(), self.used()?);
        let chains: Vec<_> = used
            .chunk_by(|&a, &b| ids[a].chain == ids[b].chain)
            .collect();
        if chains.len() < 2 {
            return Ok(Vec::new());
        }
        let (backend, gpt) = (&self.setting.model.backend, &self.setting.model.gpt);
        let each = chains.iter().map(|chain| {
            let samples = Models::Stored(self.store, chain);
            let models = self.averaged(&samples);
            let scores = score(backend, gpt, text.reporting, &models, |_| ctx.check_stop())?;
            Ok(mean(&scores.nll))
        });
        each.collect()
    }

    /// Everything that `--eval` asks for, on every split.
    ///
    /// # Errors
    /// Returns the errors of [`Evaluation::losses`], and those of the controls' training and of texts.
    pub fn evaluate(&self, ctx: &mut Context) -> Result<Vec<SplitReport>> {
        let scored = self.of_samples(ctx)?;
        self.with_controls(scored, ctx)
    }

    /// Scores every split but for the controls.
    fn of_samples(&self, ctx: &mut Context) -> Result<Vec<Scored>> {
        self.say_samples(ctx)?;
        let each = self.config.eval_splits.iter().map(|split| {
            let start = Instant::now();
            let mut scored = self.scored(split, ctx)?;
            self.texts(split, &mut scored.report, ctx)?;
            scored.report.elapsed_seconds = start.elapsed().as_secs_f64();
            Ok(scored)
        });
        each.collect()
    }

    /// Says which samples are averaged, and which ones write, where that is not all of them.
    fn say_samples(&self, ctx: &mut Context) -> Result<()> {
        let all = self.store.len();
        let (scored, written) = (self.used()?, spread(self.store.ids(), self.writers())?);
        if self.config.predictive == Predictive::Linearised {
            ctx.log.say("the averaged prediction is that of the model linearised around the baseline; texts are written by the samples as they are");
        }
        for (what, used) in [("averaged", scored), ("averaged to write texts", written)] {
            if used.len() < all {
                ctx.log.say(&format!("{what}: {}", describe(&used, all)));
            }
        }
        Ok(())
    }

    /// Returns how many samples texts are averaged over.
    fn writers(&self) -> usize {
        match self.config.eval_num_posterior_samples {
            0 => TEXT_SAMPLES,
            n => n,
        }
    }

    /// Compares with the controls where they are asked for, which are trained or kept from before, and says the reports.
    fn with_controls(&self, scored: Vec<Scored>, ctx: &mut Context) -> Result<Vec<SplitReport>> {
        let mut reports = Vec::new();
        for Scored {
            mut report,
            averaged,
        } in scored
        {
            if let (true, Some(averaged), Some(parts)) =
                (self.config.eval_control, &averaged, &mut report.held_out)
            {
                let start = Instant::now();
                let text = held_out(self.config, self.setting);
                parts.controls = self.controls(&text, averaged, ctx)?;
                report.elapsed_seconds += start.elapsed().as_secs_f64();
            }
            ctx.log.keep(report.text().trim_end());
            reports.push(report);
        }
        Ok(reports)
    }

    /// Returns what `bayesian_eval_<time>.json` keeps of an evaluation, under the original's keys.
    ///
    /// # Errors
    /// When memory is short.
    pub fn record(&self, reports: &[SplitReport]) -> Result<Value> {
        let (config, setting, used) = (self.config, self.setting, self.used()?);
        let data = match (&config.data, &config.data_dir) {
            (Some(p), _) | (None, Some(p)) => p.display().to_string(),
            (None, None) => setting.corpus.name.clone(),
        };
        Ok(json!({
            "config": {
                "data_dir": data,
                "splits": config.eval_splits,
                "batch_size": eval_batch(setting.model.gpt.config().block_size),
                "max_eval_samples": config.eval_max_samples,
                "num_text_samples": config.eval_num_text_samples,
                "prompt_length": config.eval_prompt_length,
                "generation_length": config.eval_generation_length,
                "max_tokens": config.eval_max_tokens,
            },
            "sampler_type": config.sampler.name(),
            "num_posterior_samples": used.len(),
            "posterior_samples": used,
            "temperature": config.temperature,
            "results": by_split(reports)?,
            "vocab_size": setting.model.gpt.config().vocab_size,
        }))
    }

    /// What a run says of its samples at its end: with `--eval` every split that was asked for, else the validation split's losses. `write` gets the
    /// reports and the validation split's, wherever that was asked for, and returns what it makes of them. Before the controls
    /// are trained it gets what is known by then, so that an end in that training loses nothing of it.
    ///
    /// # Errors
    /// Returns the errors of [`Evaluation::evaluate`] and of `write`, and an error when the result cannot be written.
    pub fn at_the_end<T>(
        &self,
        ctx: &mut Context,
        mut write: impl FnMut(&[SplitReport], &SplitReport) -> Result<T>,
    ) -> Result<T> {
        if !self.config.eval {
            let val = self.losses("val", ctx)?;
            return write(std::slice::from_ref(&val), &val);
        }
        let scored = self.of_samples(ctx)?;
        let found = |reports: &[SplitReport]| reports.iter().find(|r| r.split == "val").cloned();
        let known: Vec<SplitReport> = scored.iter().map(|s| s.report.clone()).collect();
        let val = match found(&known) {
            Some(val) => val,
            None => self.losses("val", ctx)?,
        };
        if self.config.eval_control {
            write(&known, &val)?;
            let (so_far, run) = (self.folder.summary(), self.folder.path.display());
            let so_far = so_far.display();
            ctx.log.say(&format!("{so_far} has the results so far; the controls come next, and `bnn train --resume {run}` goes on with them if it is stopped"));
        }
        let reports = self.with_controls(scored, ctx)?;
        Place::of_evaluation(self.folder, None)?.write(&self.record(&reports)?)?;
        let val = found(&reports).unwrap_or(val);
        write(&reports, &val)
    }

    /// Generates texts as the original does (uniform starts, temperature 0.8, all tokens) and scores them against what follows in the split.
    fn texts(&self, split: &str, report: &mut SplitReport, ctx: &Context) -> Result<()> {
        let (config, setting, store) = (self.config, self.setting, self.store);
        let plan = TextPlan {
            texts: config.eval_num_text_samples,
            prompt: config.eval_prompt_length,
            length: config.eval_generation_length,
            temperature: 0.8,
            mode: match config.preset {
                Preset::Default => Mode::Average,
                Preset::Original => Mode::Vote,
            },
            seed: config.seed,
            split: u32::from(split == "train"),
        };
        let tokens = setting.split(split);
        if plan.starts(tokens.len()).is_none() {
            return Ok(());
        }
        let used = spread(store.ids(), self.writers())?;
        let samples = setting.model.put_samples(store, &used, &ctx.stop)?;
        let mut generator = Generator::new(&setting.model.backend, &setting.model.gpt, samples)?;
        let tokenizer = &setting.corpus.tokenizer;
        let look = || ctx.check_stop();
        let Some(made) = write_and_score(&mut generator, tokenizer, tokens, &plan, look)? else {
            return Ok(());
        };
        report.add(&made);
        Ok(())
    }
}

/// Scores a run's samples again (`bnn eval RUN`), with other settings of the evaluation if given; what is to be kept of it comes with the reports.
///
/// # Errors
/// Returns the errors of [`Evaluation::evaluate`], and an error when the run's folder is not whole.
pub fn eval_run(
    folder: &RunFolder,
    config: &Config,
    ctx: &mut Context,
) -> Result<(Vec<SplitReport>, Value)> {
    let setting = Setting::of_run(config, folder)?;
    config.check_evaluation(setting.model.gpt.config())?;
    let baseline = setting.model.baseline_of(folder, config, ctx)?;
    let store = setting.model.samples(folder.samples(), config, &baseline)?;
    let evaluation = Evaluation {
        config,
        setting: &setting,
        store: &store,
        baseline: &baseline,
        folder,
    };
    let reports = evaluation.evaluate(ctx);
    let reports = ctx.stopped_with(reports, "the same command")?;
    let record = evaluation.record(&reports)?;
    Ok((reports, record))
}
