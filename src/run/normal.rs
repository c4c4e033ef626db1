//! Fitting independent normals on a GPT's posterior (ekf, vi, laplace): epochs of batches, a checkpoint, then draws into the store.

use super::config::{Labels, Normal};
use super::evaluate::{self, SplitReport};
use super::folder::{now, write_json, write_text};
use super::prepare::Baseline;
use super::progress::Progress;
use super::train::{Run, TrainReport};
use super::{Context, hex};
use crate::backend::{Cpu, Vectors};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::gpt::Objective;
use crate::metrics::split_loss;
use crate::posterior::Posterior;
use crate::samplers::ekf::{Ekf, EkfConfig, EkfState};
use crate::samplers::laplace::{Laplace, LaplaceState};
use crate::samplers::vi::{Vi, ViConfig, ViState};
use crate::store::{self, Header, Kind, Reader, Store, TensorData};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

/// One of the three methods with what it needs of the run.
enum Fit {
    Ekf(Ekf<Cpu>),
    Vi(Vi<Cpu>),
    Laplace(Laplace<Cpu>),
}

/// What the steps left behind.
#[derive(Default)]
struct Trace {
    loss: Vec<f64>,     // mean of each step's batch, nats
    log_post: Vec<f64>, // of each step
    epoch_sd: Vec<f64>, // mean deviation at each epoch's end
    epoch_seconds: Vec<f64>,
}

/// Names of a method's vectors in its checkpoint.
fn names(normal: Normal) -> &'static [&'static str] {
    match normal {
        Normal::Ekf => &["params", "sd"],
        Normal::Laplace => &["params", "precision"],
        Normal::Vi => &["params", "log_sd", "adam.0", "adam.1", "adam.2", "adam.3"],
    }
}

impl Fit {
    fn new(run: &Run<'_>, normal: Normal, vectors: Vec<Vec<f32>>, step: u64) -> Result<Self> {
        let (c, cpu) = (run.config, run.setting.backend.clone());
        let mut vectors = vectors.into_iter();
        let mut next = || vectors.next().unwrap_or_default();
        Ok(match normal {
            Normal::Ekf => {
                let (mean, sd) = (next(), next());
                Self::Ekf(Ekf::restore(
                    cpu,
                    ekf_config(run)?,
                    &EkfState { step, mean, sd },
                )?)
            }
            Normal::Laplace => {
                let (mean, precision) = (next(), next());
                let state = LaplaceState {
                    step,
                    mean,
                    precision,
                };
                Self::Laplace(Laplace::restore(cpu, &state)?)
            }
            Normal::Vi => {
                let config = ViConfig {
                    lr: c.learning_rate,
                    temperature: c.temperature,
                    draws: c.vi_n_samples,
                    stick_the_landing: c.stick_the_landing,
                    seed: c.seed,
                };
                let (mean, log_sd) = (next(), next());
                let adam = [next(), next(), next(), next()];
                let state = ViState {
                    step,
                    mean,
                    log_sd,
                    adam,
                };
                Self::Vi(Vi::restore(cpu, config, &state)?)
            }
        })
    }

    fn vectors(&self) -> Result<Vec<Vec<f32>>> {
        Ok(match self {
            Self::Ekf(e) => {
                let s = e.state()?;
                vec![s.mean, s.sd]
            }
            Self::Laplace(l) => {
                let s = l.state()?;
                vec![s.mean, s.precision]
            }
            Self::Vi(v) => {
                let s = v.state()?;
                let mut all = vec![s.mean, s.log_sd];
                all.extend(s.adam);
                all
            }
        })
    }

    fn mean(&self) -> &Vec<f32> {
        match self {
            Self::Ekf(e) => e.mean(),
            Self::Laplace(l) => l.mean(),
            Self::Vi(v) => v.mean(),
        }
    }

    fn steps_made(&self) -> u64 {
        match self {
            Self::Ekf(e) => e.steps_made(),
            Self::Laplace(l) => l.steps_made(),
            Self::Vi(v) => v.steps_made(),
        }
    }

    fn average_sd(&self, prior_precision: f64, temperature: f64) -> Result<f64> {
        match self {
            Self::Ekf(e) => e.average_sd(),
            Self::Laplace(l) => l.average_sd(prior_precision, temperature),
            Self::Vi(v) => v.average_sd(),
        }
    }
}

/// Positions of a window that count.
fn counted(run: &Run<'_>) -> f64 {
    match run.config.objective {
        Objective::All => run.batch.1 as f64,
        Objective::Last => 1.0,
    }
}

/// Windows that the data are, times the likelihood's weight.
fn windows_counted(run: &Run<'_>) -> f64 {
    run.config.likelihood_weight * run.num_data / counted(run)
}

fn ekf_config(run: &Run<'_>) -> Result<EkfConfig> {
    let c = run.config;
    let lr = match c.learning_rate {
        // All windows of the data, spread over the run's batches: each batch's mean counts for its share of them.
        0.0 => windows_counted(run) / run.setting.normal_steps(c)? as f64,
        lr => lr,
    };
    Ok(EkfConfig {
        lr: lr / c.temperature,
        transition_sd: c.transition_sd,
    })
}

/// Fits, draws, and reports.
///
/// # Errors
/// [`Error::NotFinite`] when the fit diverges; [`Error::Interrupted`] when it was stopped, with its state kept; damaged files.
pub(super) fn fit(
    run: &Run<'_>,
    normal: Normal,
    baseline: &mut Baseline,
    ctx: &mut Context,
) -> Result<TrainReport> {
    let (c, setting) = (run.config, run.setting);
    let start = Instant::now();
    let (b, t) = run.batch;
    let total = setting.normal_steps(c)?;
    let per_epoch = run.batches.per_sweep();
    ctx.log.say(&format!(
        "{total} steps in {} epochs of {per_epoch} batches, in the order {:?}",
        total / per_epoch,
        c.batch_order
    ))?;
    if normal == Normal::Ekf {
        let lr = ekf_config(run)?.lr;
        let times = lr * total as f64 / windows_counted(run);
        ctx.log.say(&format!(
            "each batch's mean counts {lr:.4e} times: the data count {times:.3} times over the run, after a baseline that has seen them"
        ))?;
    }
    let path = run.folder.file(&format!("{}_state.bnn", c.sampler));
    let (mut fit, mut trace) = match path.exists() {
        true => load(run, normal, &path, total)?,
        false => {
            let n = baseline.params.len();
            let spread = match normal {
                Normal::Ekf => c.init_sd as f32,
                Normal::Vi => c.init_log_scale as f32,
                Normal::Laplace => 0.0,
            };
            let vectors = vec![baseline.params.clone(), vec![spread; n]];
            (Fit::new(run, normal, vectors, 0)?, Trace::default())
        }
    };
    let be = &setting.backend;
    let (prior, gpt) = (&run.prior, &setting.gpt);
    let mut posterior = Posterior::new(be, gpt, prior, run.num_data, c.objective, b, t)?
        .with_likelihood_weight(c.likelihood_weight)?;
    let mut squares = be.zeros(gpt.n_params())?;
    let mut batch = Batch::new(b, t)?;
    let mut progress = Progress::new(c.sampler.name(), fit.steps_made(), total);
    let prior_precision = 1.0 / (c.prior_std * c.prior_std);
    let mut epoch_start = Instant::now();
    while fit.steps_made() < total {
        let step = fit.steps_made();
        if ctx.stopped() {
            save(run, normal, &path, &fit, &trace)?;
            ctx.log.say(&format!(
                "stopped; `bnn train --resume {}` goes on",
                run.folder.path.display()
            ))?;
            return Err(Error::Interrupted);
        }
        run.batches
            .fill(&setting.corpus.train, c.seed, 0, step, &mut batch)?;
        let of_batch = 1.0 / b as f64;
        let (log_lik, log_post) = match &mut fit {
            Fit::Ekf(e) => {
                be.fill(&mut squares, 0.0)?;
                let log_lik = posterior.likelihood_with_squares(e.mean(), &batch, &mut squares)?;
                let to_windows = -counted(run);
                e.step(posterior.grad(), to_windows, &squares, of_batch)?;
                (log_lik, run.num_data * log_lik)
            }
            Fit::Laplace(l) => {
                if c.laplace_labels == Labels::Model {
                    posterior.draw_labels(l.mean(), c.seed, step, &mut batch)?;
                }
                be.fill(&mut squares, 0.0)?;
                let log_lik = posterior.likelihood_with_squares(l.mean(), &batch, &mut squares)?;
                let seen = (total * b as u64) as f64;
                l.step(&squares, windows_counted(run) / seen)?;
                (log_lik, run.num_data * log_lik)
            }
            Fit::Vi(v) => {
                let rate = c.schedule(c.schedule).factor(step, total);
                let mut sum = (0.0, 0.0);
                let report = loop {
                    let at = posterior.evaluate(v.point(), &batch)?;
                    sum = (sum.0 + at.log_lik, sum.1 + at.log_post);
                    if let Some(r) = v.step_with_gradient(posterior.grad(), at.log_post, rate)? {
                        break r;
                    }
                };
                (sum.0 / c.vi_n_samples as f64, report.log_post)
            }
        };
        if !log_lik.is_finite() {
            return Err(Error::NotFinite {
                step,
                tensor: "log_likelihood".into(),
                value: log_lik as f32,
            });
        }
        trace.loss.push(-log_lik);
        trace.log_post.push(log_post);
        let epoch_ends = (step + 1).is_multiple_of(per_epoch);
        if epoch_ends {
            trace
                .epoch_sd
                .push(fit.average_sd(prior_precision, c.temperature)?);
            trace
                .epoch_seconds
                .push(epoch_start.elapsed().as_secs_f64());
            epoch_start = Instant::now();
        }
        if (step + 1).is_multiple_of(c.checkpoint_every) || step + 1 == total {
            save(run, normal, &path, &fit, &trace)?;
        }
        progress.at(&mut ctx.log, step + 1, || format!("loss {:.4}", -log_lik))?;
    }
    drop(progress);
    let fit_seconds = start.elapsed().as_secs_f64();
    draw_and_report(run, normal, &fit, &trace, baseline, fit_seconds, ctx)
}

/// The draws of the fit in the store, scored.
fn draw_and_report(
    run: &Run<'_>,
    normal: Normal,
    fit: &Fit,
    trace: &Trace,
    baseline: &Baseline,
    seconds: f64,
    ctx: &mut Context,
) -> Result<TrainReport> {
    let (c, setting) = (run.config, run.setting);
    let be = &setting.backend;
    let mut prior_precision = 1.0 / (c.prior_std * c.prior_std);
    let mut fitted_prior = Value::Null;
    if let (Fit::Laplace(l), true) = (fit, c.laplace_fit_prior) {
        let p = l.fit_prior(prior_precision)?;
        prior_precision = p.precision;
        ctx.log.say(&format!(
            "marginal likelihood: prior precision {:.4e} (sd {:.4e}), {:.0} of {} parameters determined by the data",
            p.precision,
            p.precision.powf(-0.5),
            p.effective_parameters,
            setting.gpt.n_params()
        ))?;
        fitted_prior = json!({
            "precision": p.precision,
            "effective_parameters": p.effective_parameters,
            "log_evidence": p.log_evidence,
        });
    }
    let sd = fit.average_sd(prior_precision, c.temperature)?;
    let mut store = Store::resume(run.folder.samples(), run.provenance()?)?;
    let mut theta = be.zeros(setting.gpt.n_params())?;
    for i in 0..c.num_samples {
        ctx.check_stop()?;
        match fit {
            Fit::Ekf(e) => e.draw(c.seed, i, &mut theta)?,
            Fit::Vi(v) => v.draw(c.seed, i, &mut theta)?,
            Fit::Laplace(l) => l.draw(prior_precision, c.temperature, c.seed, i, &mut theta)?,
        }
        store.append(0, i + 1, &theta)?;
    }
    let samples_hash = hex(&store.hash()?);
    let reports = match c.eval {
        true => evaluate::evaluate(c, setting, &run.folder, &store, baseline, ctx)?,
        false => vec![evaluate::losses(c, setting, &store, baseline, "val", ctx)?],
    };
    let val = match reports.iter().find(|r| r.split == "val") {
        Some(r) => r.clone(),
        None => evaluate::losses(c, setting, &store, baseline, "val", ctx)?,
    };
    let tokens = evaluate::limited(c, setting, "val");
    let block = setting.gpt.config().block_size;
    let (at_mean, _) = split_loss(be, &setting.gpt, fit.mean(), tokens, block)?;
    let results = evaluate::by_split(&reports)?;
    let gradients = setting.gradients(c)?;
    let evaluation = evaluation(&val, at_mean, sd);
    let epochs: Vec<Value> = (0..)
        .zip(&trace.epoch_sd)
        .map(|(epoch, sd)| json!({"epoch": epoch, "avg_parameter_std": sd}))
        .collect();
    let metrics = json!({
        "sampler_type": c.sampler.name(),
        "config": run.original_config(),
        "timestamp": now(),
        "training_metrics": {
            "training_losses": by_epoch(&trace.loss, trace.epoch_sd.len()),
            "log_posterior_values": by_epoch(&trace.log_post, trace.epoch_sd.len()),
            "epoch_times": trace.epoch_seconds,
            "sampler_specific_metrics": epochs,
            "total_steps": fit.steps_made(),
            "total_gradients": gradients,
            "samples_collected": store.len(),
            "sampling_seconds": seconds,
        },
        "evaluation": evaluation,
        "uncertainty": evaluation["uncertainty"],
        "fitted_prior": fitted_prior,
        "num_data": run.num_data,
        "baseline": baseline.json(),
        "samples_hash": samples_hash,
        "results": results,
    });
    write_json(&run.folder.metrics(), &metrics)?;
    let report = TrainReport {
        run_dir: run.folder.path.display().to_string(),
        sampler_type: c.sampler.name().into(),
        samples_hash,
        samples_collected: store.len(),
        total_steps: gradients,
        sampling_seconds: seconds,
        loss_baseline: val.loss_baseline,
        loss_mean_of_samples: val.loss_mean_of_samples,
        loss_averaged_prediction: val.loss_averaged_prediction,
        temperature: c.temperature,
        chains: Vec::new(),
        diagnostics: None,
        results,
    };
    let mut summary = format!(
        "{} run {}\n\n\
         corpus            {} ({} training, {} validation tokens)\n\
         baseline          {} steps, validation loss {:.4}\n\
         fit               {} steps, T {}, mean deviation {sd:.4e}\n\
         at the mean       validation loss {at_mean:.4}\n\
         draws             {} in {}\n\n",
        c.sampler,
        run.folder.stamp,
        setting.corpus.name,
        setting.corpus.train.len(),
        setting.corpus.val.len(),
        baseline.iters,
        baseline.val_loss,
        fit.steps_made(),
        c.temperature,
        store.len(),
        run.folder.samples().display(),
    );
    for split in &reports {
        summary.push_str(&split.text());
        summary.push('\n');
    }
    if let Some(line) = warning(normal, &val, at_mean) {
        summary.push_str(&line);
        summary.push('\n');
    }
    write_text(&run.folder.summary(), &summary)?;
    ctx.log.keep(&summary)?;
    Ok(report)
}

/// The original's `evaluation`: on the whole validation split, where it took a training batch.
fn evaluation(val: &SplitReport, at_mean: f64, sd: f64) -> Value {
    let each = &val.loss_of_each_sample;
    let n = each.len() as f64;
    let mean = each.iter().sum::<f64>() / n;
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
        "uncertainty": {
            "avg_predictive_entropy": val.predictive_entropy.mean,
            "max_predictive_entropy": val.predictive_entropy.max,
            "min_predictive_entropy": val.predictive_entropy.min,
            "expected_entropy": val.expected_entropy,
            "mutual_information": val.mutual_information,
        },
        "parameter_uncertainty": {"avg_parameter_std": sd},
    })
}

/// What a person should know of the draws.
fn warning(normal: Normal, val: &SplitReport, at_mean: f64) -> Option<String> {
    let lost = val.loss_mean_of_samples - at_mean;
    let gained = val.against_baseline.z;
    let worse = val.loss_averaged_prediction > val.loss_baseline && gained < -3.0;
    worse.then(|| {
        let how = match normal {
            Normal::Ekf => "a smaller --init-sd, or a longer run",
            Normal::Vi => "a smaller --init-log-scale, or a longer run",
            Normal::Laplace => "a lower --temperature, or a smaller --prior-std",
        };
        format!(
            "warning: a draw loses {lost:.4} nats against the mean, and their average predicts worse than the baseline: \
             independent normals are too wide for these weights, which depend on each other; try {how}"
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

fn save(run: &Run<'_>, normal: Normal, path: &Path, fit: &Fit, trace: &Trace) -> Result<()> {
    let header = Header {
        config: run.config.to_toml()?,
        model: run.setting.model_json()?,
        seed: run.config.seed,
        step: fit.steps_made(),
        corpus_sha256: run.setting.corpus.sha256,
        baseline_sha256: run.baseline_sha256,
        vocabulary: run.setting.vocabulary(),
        ..Header::new(Kind::Chain)
    };
    let vectors = fit.vectors()?;
    let mut tensors: Vec<(&str, TensorData<'_>)> = names(normal)
        .iter()
        .zip(&vectors)
        .map(|(&name, v)| (name, TensorData::F32(v)))
        .collect();
    for (name, series) in [
        ("trace.loss", &trace.loss),
        ("trace.log_post", &trace.log_post),
        ("trace.epoch_sd", &trace.epoch_sd),
        ("trace.epoch_seconds", &trace.epoch_seconds),
    ] {
        tensors.push((name, TensorData::F64(series)));
    }
    store::write(path, &header, &tensors)
}

fn load(run: &Run<'_>, normal: Normal, path: &Path, total: u64) -> Result<(Fit, Trace)> {
    let mut r = Reader::open(path, Kind::Chain)?;
    run.check_header(path, r.header(), 0)?;
    let step = r.header().step;
    if step > total {
        return Err(Error::BadHeader {
            path: path.to_path_buf(),
            message: format!("expected at most {total} steps, found {step}"),
        });
    }
    let n = run.setting.gpt.n_params();
    let vectors = names(normal)
        .iter()
        .map(|name| {
            let mut v = vec![0.0; n];
            r.read_f32(name, &mut v)?;
            Ok(v)
        })
        .collect::<Result<_>>()?;
    let mut series = |name: &str| -> Result<Vec<f64>> {
        let len = r.tensor(name)?.len;
        if len > step {
            return Err(Error::BadHeader {
                path: path.to_path_buf(),
                message: format!("{name}: expected at most {step} values, found {len}"),
            });
        }
        let mut v = vec![0.0; len as usize];
        r.read_f64(name, &mut v)?;
        Ok(v)
    };
    let trace = Trace {
        loss: series("trace.loss")?,
        log_post: series("trace.log_post")?,
        epoch_sd: series("trace.epoch_sd")?,
        epoch_seconds: series("trace.epoch_seconds")?,
    };
    Ok((Fit::new(run, normal, vectors, step)?, trace))
}
