//! Scores of a run's samples on a split: the averaged prediction beside its samples, the baseline and a deterministic model of equal cost.

use super::Context;
use super::config::Config;
use super::folder::RunFolder;
use super::prepare::{Baseline, Setting};
use super::progress::Progress;
use super::results::Place;
use super::split_report::mean;
pub use super::split_report::{SplitReport, by_split};
use crate::data::consecutive;
use crate::error::Result;
use crate::generate::Generator;
use crate::inference::Paired;
use crate::inference::scoring::{Models, compare, last_samples, score};
use crate::inference::text_score::{TextPlan, write_and_score};
use crate::metrics::eval_batch;
use crate::store::Store;
use serde_json::{Value, json};
use std::time::Instant;

/// Samples that texts are averaged over when all are asked for: the original's number.
const TEXT_SAMPLES: usize = 10;

/// The front of a split that an evaluation may use.
pub(super) fn limited<'a>(config: &Config, setting: &'a Setting, split: &str) -> &'a [u16] {
    let tokens = setting.split(split);
    let t = setting.model.gpt.config().block_size;
    let by_windows = config.eval_max_samples.map(|n| n.saturating_mul(t) + 1);
    let by_tokens = config.eval_max_tokens.map(|n| n.saturating_add(1));
    let most = by_windows.into_iter().chain(by_tokens).min();
    &tokens[..most.unwrap_or(tokens.len()).min(tokens.len())]
}

/// A split's scores, with the averaged prediction's of each token.
struct Scored {
    report: SplitReport,
    averaged: Vec<f64>,
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
}

impl Evaluation<'_> {
    /// The losses and uncertainties of a split, without texts and without the deterministic model of equal cost.
    ///
    /// # Errors
    /// When a sample cannot be read, or a prediction is not finite.
    pub fn losses(&self, split: &str, ctx: &mut Context) -> Result<SplitReport> {
        Ok(self.scored(split, ctx)?.report)
    }

    fn scored(&self, split: &str, ctx: &mut Context) -> Result<Scored> {
        let (config, setting, store) = (self.config, self.setting, self.store);
        let start = Instant::now();
        let tokens = limited(config, setting, split);
        let used = last_samples(store, config.eval_num_posterior_samples);
        let (gpt, models) = (&setting.model.gpt, Models::Stored(store, used.clone()));
        // The baseline comes after the samples.
        let scored = used.len() + 1;
        let work = scored * consecutive(tokens, gpt.config().block_size)?.num_windows();
        let mut progress = Progress::new(&format!("eval {split}"), 0, work as u64);
        let compared = compare(
            &setting.model.backend,
            gpt,
            tokens,
            &models,
            &self.baseline.params,
            config.seed,
            |done| {
                ctx.check_stop()?;
                progress.at(&mut ctx.log, done as u64, String::new);
                Ok(())
            },
        )?;
        let report = SplitReport::new(config, split, &compared, start.elapsed().as_secs_f64());
        Ok(Scored {
            report,
            averaged: compared.averaged.nll,
        })
    }

    /// Everything that `--eval` asks for, on every split.
    ///
    /// # Errors
    /// Returns the errors of [`Evaluation::losses`], and those of the control's training and of texts.
    pub fn evaluate(&self, ctx: &mut Context) -> Result<Vec<SplitReport>> {
        let scored = self.of_samples(ctx)?;
        self.with_control(scored, ctx)
    }

    /// Scores every split but for the deterministic model of equal cost.
    fn of_samples(&self, ctx: &mut Context) -> Result<Vec<Scored>> {
        let each = self.config.eval_splits.iter().map(|split| {
            let start = Instant::now();
            let mut scored = self.scored(split, ctx)?;
            self.texts(split, &mut scored.report, ctx)?;
            scored.report.elapsed_seconds = start.elapsed().as_secs_f64();
            Ok(scored)
        });
        each.collect()
    }

    /// Adds the deterministic model of equal cost where it is asked for, which is trained or kept from before, and says the reports.
    fn with_control(&self, scored: Vec<Scored>, ctx: &mut Context) -> Result<Vec<SplitReport>> {
        let control = match self.config.eval_control {
            true => Some(self.control(ctx)?),
            false => None,
        };
        let mut reports = Vec::new();
        for mut split in scored {
            if let Some(control) = &control {
                self.compare_with(control, &mut split, ctx)?;
            }
            ctx.log.keep(split.report.text().trim_end());
            reports.push(split.report);
        }
        Ok(reports)
    }

    /// Returns the deterministic model that took as many gradients as the samples and their baselines.
    fn control(&self, ctx: &mut Context) -> Result<Baseline> {
        let (config, setting) = (self.config, self.setting);
        let per_epoch = setting.batches(config)?.per_sweep();
        let iters = self.baseline.iters + config.extra_baselines() + config.gradients(per_epoch);
        setting.deterministic(config, iters, "control", ctx)
    }

    fn compare_with(
        &self,
        control: &Baseline,
        split: &mut Scored,
        ctx: &mut Context,
    ) -> Result<()> {
        let start = Instant::now();
        let (config, setting, report) = (self.config, self.setting, &mut split.report);
        let tokens = limited(config, setting, &report.split);
        let one = Models::One(&control.params);
        let look = |_| ctx.check_stop();
        let scores = score(
            &setting.model.backend,
            &setting.model.gpt,
            tokens,
            &one,
            look,
        )?;
        report.loss_deterministic_equal_gradients = Some(mean(&scores.nll));
        report.deterministic_gradients = Some(control.iters);
        report.against_deterministic_equal_gradients =
            Some(Paired::new(&split.averaged, &scores.nll, config.seed)?);
        report.elapsed_seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Returns what `bayesian_eval_<time>.json` keeps of an evaluation, under the original's keys.
    ///
    /// # Errors
    /// Never in fact: reports are plain data.
    pub fn record(&self, reports: &[SplitReport]) -> Result<Value> {
        let (config, setting, store) = (self.config, self.setting, self.store);
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
            "num_posterior_samples": last_samples(store, config.eval_num_posterior_samples).len(),
            "temperature": config.temperature,
            "results": by_split(reports)?,
            "vocab_size": setting.model.gpt.config().vocab_size,
        }))
    }

    /// What a run says of its samples at its end: with `--eval` every split that was asked for, else the validation split's losses. `write` gets the
    /// reports and the validation split's, wherever that was asked for, and returns what it makes of them. Before the deterministic model of equal
    /// cost is trained it gets what is known by then, so that an end in that training loses nothing of it.
    ///
    /// # Errors
    /// Returns the errors of [`Evaluation::evaluate`] and of `write`, and an error when the result cannot be written.
    pub fn at_the_end<T>(
        &self,
        folder: &RunFolder,
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
            let (so_far, run) = (folder.summary(), folder.path.display());
            let so_far = so_far.display();
            ctx.log.say(&format!("{so_far} has the results so far; the control comes next, and `bnn train --resume {run}` goes on with it if it is stopped"));
        }
        let reports = self.with_control(scored, ctx)?;
        Place::of_evaluation(folder, None)?.write(&self.record(&reports)?)?;
        let val = found(&reports).unwrap_or(val);
        write(&reports, &val)
    }

    /// Generates texts as the original does (uniform starts, temperature 0.8, all tokens) and scores them against what follows in the split.
    fn texts(&self, split: &str, report: &mut SplitReport, ctx: &Context) -> Result<()> {
        let (config, setting, store) = (self.config, self.setting, self.store);
        let count = match config.eval_num_posterior_samples {
            0 => TEXT_SAMPLES,
            n => n,
        };
        let plan = TextPlan {
            texts: config.eval_num_text_samples,
            prompt: config.eval_prompt_length,
            length: config.eval_generation_length,
            temperature: 0.8,
            seed: config.seed,
            split: u32::from(split == "train"),
        };
        let tokens = setting.split(split);
        if plan.starts(tokens.len()).is_none() {
            return Ok(());
        }
        let samples = setting.model.put_samples(store, count, &ctx.stop)?;
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
    };
    let reports = evaluation.evaluate(ctx);
    let reports = ctx.stopped_with(reports, "the same command")?;
    let record = evaluation.record(&reports)?;
    Ok((reports, record))
}
