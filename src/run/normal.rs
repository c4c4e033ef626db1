//! Fitting independent normals on a GPT's posterior (ekf, vi, laplace): epochs of batches, a checkpoint, then draws into the store.

use super::chain::save;
use super::config::{Config, CovarianceStructure, GaussianMethod, expect_unedited, word};
use super::evaluate::{self, SplitReport};
use super::folder::{now, write_json, write_text};
use super::prepare::Baseline;
use super::progress::Progress;
use super::spent::Meter;
use super::train::Run;
use super::train_report::{TrainReport, said};
use super::{Context, hex};
use crate::backend::Device;
use crate::error::{Error, Result};
use crate::inference::Session;
use crate::inference::monitors::FitRecorder;
use crate::metrics::split_loss_watched;
use crate::samplers::GaussianFit;
use crate::store::Store;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

/// Fits, draws, and reports.
///
/// # Errors
/// [`Error::NotFinite`] when the fit diverges; [`Error::Interrupted`] when it was stopped, with its state kept; damaged files.
pub(super) fn fit(
    run: &Run<'_>,
    normal: GaussianMethod,
    baseline: &mut Baseline,
    ctx: &mut Context,
) -> Result<TrainReport> {
    let path = run.folder.fit();
    let mut session = run.session(0, &path)?;
    run.record_config()?;
    say_length(run, normal, &session, ctx)?;
    let mut meter = Meter::open(&run.folder, &run.setting.model.backend, ctx)?;
    meter.begin(&session);
    step_to_the_end(run, &mut session, (&path, &mut meter), ctx)?;
    let seconds = meter.spent().seconds;
    let mut fitted = Fitted::new(run, normal, session, seconds, ctx)?;
    fitted.draw_and_report(baseline, ctx)
}

/// Says how long the fit is, and what a batch counts for.
fn say_length(
    run: &Run<'_>,
    normal: GaussianMethod,
    session: &Session<Device>,
    ctx: &mut Context,
) -> Result<()> {
    let (total, per_epoch) = (session.total_steps(), run.batches.per_sweep());
    ctx.log.say(&format!(
        "{total} steps in {} epochs of {per_epoch} batches, in the order `{}`",
        total / per_epoch,
        word("batch_order", run.config)
    ));
    if normal == GaussianMethod::Ekf {
        let config = session.fit_config()?;
        let lr = config.ekf_rate();
        let times = lr * total as f64 / config.observations;
        ctx.log.say(&format!(
            "each batch's mean log-likelihood has the weight {lr:.4e}, so the data count {times:.3} times over the run; the baseline has seen them already"
        ));
    }
    Ok(())
}

fn step_to_the_end(
    run: &Run<'_>,
    session: &mut Session<Device>,
    (path, meter): (&Path, &mut Meter),
    ctx: &mut Context,
) -> Result<()> {
    let (c, total, per_epoch) = (run.config, session.total_steps(), run.batches.per_sweep());
    let mut progress = Progress::new(c.sampler.name(), session.steps_made(), total);
    let mut epoch_start = Instant::now();
    while session.steps_made() < total {
        if ctx.stopped() {
            save(session, path, meter)?;
            return Err(Error::Interrupted);
        }
        let loss = session.step()?.log_lik.map_or(f64::NAN, |l| -l);
        let made = session.steps_made();
        if made.is_multiple_of(per_epoch) {
            let sd = session.average_sd(c.prior_std.powi(-2))?;
            if let Some(trace) = session.monitor_mut::<FitRecorder>() {
                trace.epoch(sd, epoch_start.elapsed().as_secs_f64())?;
            }
            epoch_start = Instant::now();
        }
        if made.is_multiple_of(c.checkpoint_every) || made == total {
            save(session, path, meter)?;
        }
        progress.at(&mut ctx.log, made, || format!("loss {loss:.4}"));
    }
    Ok(())
}

/// A fit that is done, with what is said of it.
struct Fitted<'a> {
    run: &'a Run<'a>,
    normal: GaussianMethod,
    session: Session<Device>,
    seconds: f64,
    /// Mean standard deviation, with the prior's precision that was fitted or given.
    sd: f64,
    /// What the marginal likelihood says of the prior, where it was asked.
    prior: Value,
}

impl<'a> Fitted<'a> {
    fn new(
        run: &'a Run<'a>,
        normal: GaussianMethod,
        mut session: Session<Device>,
        seconds: f64,
        ctx: &mut Context,
    ) -> Result<Self> {
        let mut precision = run.config.prior_std.powi(-2);
        let mut prior = Value::Null;
        if let Some(p) = session.prior_fit()? {
            precision = p.precision;
            ctx.log.say(&format!(
                "marginal likelihood: prior precision {:.4e} (sd {:.4e}), {:.0} of {} parameters determined by the data",
                p.precision,
                p.precision.powf(-0.5),
                p.effective_parameters,
                session.fit().map_or(0, GaussianFit::parameters)
            ));
            prior = json!({
                "precision": p.precision,
                "effective_parameters": p.effective_parameters,
                "log_evidence": p.log_evidence,
            });
        }
        let sd = session.average_sd(precision)?;
        Ok(Self {
            run,
            normal,
            session,
            seconds,
            sd,
            prior,
        })
    }

    /// Draws into the store, and scores the draws.
    fn draw_and_report(&mut self, baseline: &Baseline, ctx: &mut Context) -> Result<TrainReport> {
        let (run, c, setting) = (self.run, self.run.config, self.run.setting);
        let mut store = Store::resume(run.folder.samples(), run.provenance()?)?;
        expect_unedited(c, &store)?;
        run.say_foreign(&store, ctx);
        store.set_target(self.session.identity()?)?;
        for i in 0..c.num_samples {
            ctx.check_stop()?;
            store.append(0, i + 1, &self.session.draw(i)?)?;
        }
        let tokens = evaluate::limited(c, setting, "val");
        let block = setting.model.gpt.config().block_size;
        let mean = self.session.mean()?;
        let (be, gpt, look) = (&setting.model.backend, &setting.model.gpt, || {
            ctx.stop.check()
        });
        let (at_mean, _) = split_loss_watched(be, gpt, mean, tokens, block, look)?;
        let known = run.unscored(&store, hex(&store.hash()?), self.seconds);
        let (mut summary, scores) = (String::new(), run.evaluation(&store, baseline));
        let report = scores.at_the_end(&run.folder, ctx, |reports, val| {
            let mut report = known.clone().scored(c, reports, val)?;
            let metrics = self.metrics(&report, evaluation(val, at_mean, self.sd), baseline)?;
            write_json(&run.folder.metrics(), &metrics)?;
            summary = self.summary(&report, baseline, at_mean);
            let warning = warning(c, self.normal, val, at_mean);
            let splits = reports.iter().map(SplitReport::text).chain(warning);
            summary.extend(splits.map(|text| text + "\n"));
            write_text(&run.folder.summary(), &summary)?;
            report.short.clone_from(&summary);
            Ok(report)
        })?;
        ctx.log.keep(&summary);
        Ok(report)
    }

    /// Returns the metrics file, under the original's keys.
    ///
    /// # Errors
    /// When the fit's trace cannot be read.
    fn metrics(
        &self,
        report: &TrainReport,
        evaluation: Value,
        baseline: &Baseline,
    ) -> Result<Value> {
        let trace = self.session.fit_trace()?.unwrap_or_default();
        let n = trace.epoch_sd.len();
        let epochs: Vec<Value> = (0..)
            .zip(&trace.epoch_sd)
            .map(|(epoch, sd)| json!({"epoch": epoch, "avg_parameter_std": sd}))
            .collect();
        Ok(json!({
            "sampler_type": report.sampler_type,
            "config": self.run.original_config(),
            "timestamp": now(),
            "training_metrics": {
                "training_losses": by_epoch(&trace.loss, n),
                "log_posterior_values": by_epoch(&trace.log_post, n),
                "epoch_times": trace.epoch_seconds,
                "sampler_specific_metrics": epochs,
                "total_steps": self.session.steps_made(),
                "total_gradients": report.total_steps,
                "samples_collected": report.samples_collected,
                "sampling_seconds": self.seconds,
            },
            "evaluation": evaluation,
            "uncertainty": evaluation["uncertainty"],
            "fitted_prior": self.prior,
            "num_data": self.run.num_data,
            "baseline": baseline.json(),
            "samples_hash": report.samples_hash,
            "verdict": report.verdict,
            "results": report.results,
        }))
    }

    /// Returns the summary's head.
    fn summary(&self, report: &TrainReport, baseline: &Baseline, at_mean: f64) -> String {
        let (run, c, sd) = (self.run, self.run.config, self.sd);
        let fitted = match (self.normal, c.laplace_structure) {
            (GaussianMethod::Laplace, CovarianceStructure::LastLayerFull) => {
                ", the head's full covariance"
            }
            (GaussianMethod::Laplace, CovarianceStructure::LastLayerKfac) => {
                ", the head's Kronecker-factored covariance"
            }
            _ => "",
        };
        format!(
            "{}{}\
             baseline          {} steps, validation loss {:.4}\n\
             fit               {} steps, T {}, mean deviation {sd:.4e}{fitted}\n\
             at the mean       validation loss {at_mean:.4}\n\
             draws             {} in {}\n\n",
            said(report),
            run.head(),
            baseline.iters,
            baseline.val_loss,
            self.session.steps_made(),
            c.temperature,
            report.samples_collected,
            run.folder.samples().display(),
        )
    }
}

/// Returns the original's `evaluation`: on the whole validation split, where it took a training batch.
fn evaluation(val: &SplitReport, at_mean: f64, sd: f64) -> Value {
    let each = &val.loss_of_each_sample;
    let n = each.len() as f64;
    let mean = val.loss_mean_of_samples;
    let spread = each.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / n;
    json!({
        "deterministic": {
            "loss": val.loss_baseline,
            "perplexity": val.loss_baseline.exp(),
        },
        "posterior_mean": {
            "loss": at_mean,
            "perplexity": at_mean.exp(),
            "improvement_over_deterministic": val.loss_baseline - at_mean,
            "better_than_deterministic": at_mean < val.loss_baseline,
        },
        "posterior_sampling": {
            "mean_loss": mean,
            "std_loss": spread.sqrt(),
            "min_loss": each.iter().copied().fold(f64::INFINITY, f64::min),
            "max_loss": each.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            "num_samples": each.len(),
        },
        "uncertainty": val.uncertainty(),
        "parameter_uncertainty": {"avg_parameter_std": sd},
    })
}

/// Returns what a person should know of the draws.
fn warning(c: &Config, normal: GaussianMethod, val: &SplitReport, at_mean: f64) -> Option<String> {
    let lost = val.loss_mean_of_samples - at_mean;
    let gained = val.against_baseline.z;
    let worse = val.loss_averaged_prediction > val.loss_baseline && gained < -3.0;
    worse.then(|| {
        let how = match normal {
            GaussianMethod::Ekf => "a smaller --init-sd, or a longer run",
            GaussianMethod::Vi => "a smaller --init-log-scale, or a longer run",
            GaussianMethod::Laplace => "a lower --temperature, or a smaller --prior-std",
        };
        let why = if c.unties() {
            "this normal is too wide for the head's weights"
        } else {
            "independent normals are too wide for these weights, which depend on each other"
        };
        format!(
            "warning: a draw loses {lost:.4} nats against the mean, and their average predicts worse than the baseline: {why}; try {how}"
        )
    })
}

/// Means over equal parts of a series.
fn by_epoch(series: &[f64], epochs: usize) -> Vec<f64> {
    let each = series.len() / epochs.max(1);
    series
        .chunks_exact(each.max(1))
        .map(|c| c.iter().sum::<f64>() / c.len() as f64)
        .collect()
}
