//! Fits on a GPT's posterior (ekf, vi, laplace, swag, ivon, ema, snapshots), one or several: epochs of batches, a checkpoint, then draws into the store.

use super::config::{
    Config, CovarianceStructure, GaussianMethod, Value as SettingValue, expect_unedited, word,
};
use super::evaluate::{self, SplitReport};
use super::folder::{RunFolder, now, write_json, write_text};
use super::prepare::Baseline;
use super::progress::Progress;
use super::spent::Meter;
use super::train::Run;
use super::train_report::{TrainReport, said};
use super::{Context, hex};
use crate::backend::Device;
use crate::error::{Error, Result};
use crate::inference::monitors::{FitRecorder, FitTrace};
use crate::inference::{Passenger, Session, StepReport, drive};
use crate::metrics::split_loss_watched;
use crate::samplers::GaussianFit;
use crate::store::Store;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

/// Fits, draws, and reports.
///
/// # Errors
/// [`Error::NotFinite`] when a fit diverges; [`Error::Interrupted`] when it was stopped, with its state kept; damaged files.
pub(super) fn fit(
    run: &Run<'_>,
    normal: GaussianMethod,
    baseline: &mut Baseline,
    ctx: &mut Context,
) -> Result<TrainReport> {
    refuse_other_length(run)?;
    let meter = Meter::open(&run.folder, &run.setting.model.backend, ctx)?;
    // It is begun when there is something to draw from.
    let mut store = None;
    let mut fits = Vec::new();
    for chain in 0..run.config.chains {
        let path = run.folder.fit(chain);
        let mut session = run.session(chain, &run.setting.model.backend, &path)?;
        if chain == 0 {
            run.record_config()?;
            say_length(run, normal, &session, ctx)?;
        }
        meter.begin(&session);
        step_to_the_end(run, &mut session, (&path, &meter), ctx)?;
        meter.end();
        let store = match &mut store {
            Some(store) => store,
            none => none.insert(open_store(run, ctx)?),
        };
        fits.push(Fit::new(run, session, store, ctx)?);
    }
    let store = match store {
        Some(store) => store,
        None => open_store(run, ctx)?,
    };
    let fitted = Fitted {
        run,
        normal,
        fits,
        seconds: meter.spent().seconds,
    };
    fitted.report(&store, baseline, ctx)
}

/// Refuses to make a fit longer whose draws are stored: a longer one would draw others in their place.
fn refuse_other_length(run: &Run<'_>) -> Result<()> {
    let recorded = RunFolder::open(&run.folder.path)?.1.num_epochs;
    let asked = run.config.num_epochs;
    if recorded == asked {
        return Ok(());
    }
    let n = run.open_store()?.len();
    if n == 0 {
        return Ok(());
    }
    let say = |epochs: Option<u64>| epochs.map_or("1".into(), |n| n.to_string());
    Err(Error::conflict(format!(
        "num_epochs: the run has {n} draws of a fit of {} epochs, and one of {} draws others: go on without --epochs, or begin a new run",
        say(recorded),
        say(asked)
    )))
}

fn open_store(run: &Run<'_>, ctx: &mut Context) -> Result<Store> {
    let store = run.open_store()?;
    expect_unedited(run.config, &store)?;
    run.say_foreign(&store, ctx);
    Ok(store)
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
    (path, meter): (&Path, &Meter),
    ctx: &mut Context,
) -> Result<()> {
    let (c, total, per_epoch) = (run.config, session.total_steps(), run.batches.per_sweep());
    let name = match c.chains {
        1 => c.sampler.name().to_owned(),
        _ => format!("{} {}", c.sampler, session.inference().chain()),
    };
    let mut seen = Seen {
        progress: Progress::new(&name, session.steps_made(), total),
        per_epoch,
        precision: c.prior_std.powi(-2),
        epoch_start: Instant::now(),
        meter,
        ctx,
    };
    drive(session, None, (path, c.checkpoint_every), &mut seen).map(drop)
}

/// What a person sees of a fit that is driven, and what is kept of each epoch.
struct Seen<'a> {
    progress: Progress,
    per_epoch: u64,
    precision: f64,
    epoch_start: Instant,
    meter: &'a Meter,
    ctx: &'a mut Context,
}

impl Passenger<Device> for Seen<'_> {
    fn before(&mut self, _: &mut Session<Device>) -> Result<()> {
        self.ctx.check_stop()
    }

    fn after(&mut self, session: &mut Session<Device>, report: &StepReport) -> Result<()> {
        let made = session.steps_made();
        if made.is_multiple_of(self.per_epoch) {
            let sd = session.average_sd(self.precision)?;
            let seconds = self.epoch_start.elapsed().as_secs_f64();
            if let Some(trace) = session.monitor_mut::<FitRecorder>() {
                trace.epoch(sd, seconds)?;
            }
            self.epoch_start = Instant::now();
        }
        let loss = report.log_lik.map_or(f64::NAN, |l| -l);
        let line = || format!("loss {loss:.4}");
        self.progress.at(&mut self.ctx.log, made, line);
        Ok(())
    }

    fn saved(&mut self, session: &Session<Device>) -> Result<()> {
        self.meter.keep(session)
    }
}

/// What is said of one fit that is done and has left its draws.
struct Fit {
    steps: u64,
    trace: FitTrace,
    /// Mean standard deviation, with the prior's precision that was fitted or given.
    sd: f64,
    /// What the marginal likelihood says of the prior, where it was asked.
    prior: Value,
    /// Loss of the model at the mean, nats per token of the validation split.
    at_mean: f64,
}

impl Fit {
    /// Draws into the store from a fit that is done.
    fn new(
        run: &Run<'_>,
        mut session: Session<Device>,
        store: &mut Store,
        ctx: &mut Context,
    ) -> Result<Self> {
        let c = run.config;
        let mut precision = c.prior_std.powi(-2);
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
        store.set_target(session.identity()?)?;
        let chain = session.inference().chain();
        for i in 0..c.num_samples {
            ctx.check_stop()?;
            store.append(chain, i + 1, &session.draw(i)?)?;
        }
        let at_mean = loss_of_mean(run, &session, ctx)?;
        Ok(Self {
            steps: session.steps_made(),
            trace: session.fit_trace()?.unwrap_or_default(),
            sd: session.average_sd(precision)?,
            prior,
            at_mean,
        })
    }

    /// Returns what the metrics file says of the fit's course, under the original's keys.
    fn course(&self) -> Value {
        let trace = &self.trace;
        let n = trace.epoch_sd.len();
        let epochs: Vec<Value> = (0..)
            .zip(&trace.epoch_sd)
            .map(|(epoch, sd)| json!({"epoch": epoch, "avg_parameter_std": sd}))
            .collect();
        json!({
            "training_losses": by_epoch(&trace.loss, n),
            "log_posterior_values": by_epoch(&trace.log_post, n),
            "epoch_times": trace.epoch_seconds,
            "sampler_specific_metrics": epochs,
            "total_steps": self.steps,
        })
    }
}

/// Returns the loss of a normal's mean on the validation split, as far as that is evaluated.
fn loss_of_mean(run: &Run<'_>, session: &Session<Device>, ctx: &Context) -> Result<f64> {
    let (config, setting) = (run.config, run.setting);
    let (be, gpt) = (&setting.model.backend, &setting.model.gpt);
    let (mean, block) = (session.mean()?, gpt.config().block_size);
    let (mut sum, mut count) = (0.0, 0);
    for tokens in evaluate::held_out(config, setting).validation() {
        let look = || ctx.stop.check();
        let (loss, n) = split_loss_watched(be, gpt, mean, tokens, block, look)?;
        sum += loss * n as f64;
        count += n;
    }
    Ok(sum / count as f64)
}

/// All fits of a run.
struct Fitted<'a> {
    run: &'a Run<'a>,
    normal: GaussianMethod,
    fits: Vec<Fit>,
    seconds: f64,
}

impl Fitted<'_> {
    /// Returns the mean over the fits.
    fn mean(&self, of: fn(&Fit) -> f64) -> f64 {
        self.fits.iter().map(of).sum::<f64>() / self.fits.len() as f64
    }

    /// Scores the draws.
    fn report(&self, store: &Store, baseline: &Baseline, ctx: &mut Context) -> Result<TrainReport> {
        let (run, at_mean) = (self.run, self.mean(|f| f.at_mean));
        let known = run.unscored(store, hex(&store.hash()?), self.seconds);
        let (mut summary, scores) = (String::new(), run.evaluation(store, baseline));
        let report = scores.at_the_end(ctx, |reports, val| {
            let mut report = known.clone().scored(run.config, reports, val)?;
            let metrics = self.metrics(&report, val, baseline);
            write_json(&run.folder.metrics(), &metrics)?;
            summary = self.summary(&report, baseline);
            let warning = warning(run.config, self.normal, val, at_mean);
            let splits = reports.iter().map(SplitReport::text).chain(warning);
            summary.extend(splits.map(|text| text + "\n"));
            write_text(&run.folder.summary(), &summary)?;
            report.short.clone_from(&summary);
            Ok(report)
        })?;
        ctx.log.keep(&summary);
        Ok(report)
    }

    /// Returns the metrics file, under the original's keys: the course is the first fit's, and `fits` has that of each.
    fn metrics(&self, report: &TrainReport, val: &SplitReport, baseline: &Baseline) -> Value {
        let evaluation = evaluation(val, self.mean(|f| f.at_mean), self.mean(|f| f.sd));
        let mut training = self.fits.first().map_or(Value::Null, Fit::course);
        training["total_gradients"] = report.total_steps.into();
        training["samples_collected"] = report.samples_collected.into();
        training["sampling_seconds"] = self.seconds.into();
        let each = self.fits.iter().map(|f| {
            let mut fit = f.course();
            fit["loss_at_mean"] = f.at_mean.into();
            fit["avg_parameter_std"] = f.sd.into();
            fit["fitted_prior"] = f.prior.clone();
            fit
        });
        json!({
            "sampler_type": report.sampler_type,
            "config": self.run.original_config(),
            "timestamp": now(),
            "training_metrics": training,
            "evaluation": evaluation,
            "uncertainty": evaluation["uncertainty"],
            "fitted_prior": self.fits.first().map(|f| f.prior.clone()),
            "fits": each.collect::<Vec<_>>(),
            "num_data": self.run.num_data,
            "baseline": baseline.json(),
            "samples_hash": report.samples_hash,
            "verdict": report.verdict,
            "results": report.results,
        })
    }

    /// Returns the summary's head.
    fn summary(&self, report: &TrainReport, baseline: &Baseline) -> String {
        let (run, c) = (self.run, self.run.config);
        let at_mean = self.mean(|f| f.at_mean);
        let covariance = match (self.normal, c.laplace_structure) {
            (GaussianMethod::Laplace, CovarianceStructure::LastLayerFull) => {
                ", the head's full covariance"
            }
            (GaussianMethod::Laplace, CovarianceStructure::LastLayerKfac) => {
                ", the head's Kronecker-factored covariance"
            }
            _ => "",
        };
        let law = match run.samples_a_law() {
            true => format!(
                ", T {}, mean deviation {:.4e}{covariance}",
                SettingValue::F64(c.temperature),
                self.mean(|f| f.sd)
            ),
            false => String::new(),
        };
        let drawn = match run.samples_a_law() {
            true => "draws",
            false => "states",
        };
        let (fits, at, each) = match self.fits.len() {
            1 => ("fit".to_owned(), "at the mean", ""),
            n => (format!("{n} fits"), "at their means", " each"),
        };
        format!(
            "{}{}\
             baseline          {} steps, validation loss {:.4}\n\
             {fits:<17} {} steps{each}{law}\n\
             {at:<17} validation loss {at_mean:.4}\n\
             {drawn:<17} {} in {}\n\n",
            said(report),
            run.head(),
            baseline.iters,
            baseline.val_loss,
            self.fits.first().map_or(0, |f| f.steps),
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
            GaussianMethod::Vi | GaussianMethod::Ivon => "a smaller --init-log-scale, or a longer run",
            GaussianMethod::Laplace => "a lower --temperature, or a smaller --prior-std",
            GaussianMethod::Swag => "a lower --temperature, or a smaller --learning-rate",
            GaussianMethod::Ema | GaussianMethod::Snapshots => "a smaller --learning-rate, or fewer --num-epochs",
        };
        let why = match normal {
            GaussianMethod::Swag => "the path's normal is too wide",
            GaussianMethod::Ema | GaussianMethod::Snapshots => "the optimiser has gone on for too long, or too fast",
            _ if c.unties() => "this normal is too wide for the head's weights",
            _ => "independent normals are too wide for these weights, which depend on each other",
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
