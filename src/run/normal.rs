//! Fitting independent normals on a GPT's posterior (ekf, vi, laplace): epochs of batches, a checkpoint, then draws into the store.

use super::config::{Config, Normal, Structure};
use super::evaluate::{self, SplitReport};
use super::folder::{now, write_json, write_text};
use super::prepare::Baseline;
use super::progress::Progress;
use super::train::{Run, TrainReport};
use super::{Context, hex};
use crate::backend::{Cpu, Vectors};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::metrics::split_loss;
use crate::posterior::Posterior;
use crate::samplers::{FitReport, NormalConfig, NormalFit, NormalState};
use crate::store::{self, Header, Kind, Reader, Store, TensorData};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;

/// What the steps left behind.
#[derive(Default)]
struct Trace {
    loss: Vec<f64>,     // mean of each step's batch, nats
    log_post: Vec<f64>, // of each step
    epoch_sd: Vec<f64>, // mean deviation at each epoch's end
    epoch_seconds: Vec<f64>,
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
    let path = run.folder.file(&format!("{}_state.bnn", c.sampler));
    let be = &setting.backend;
    let (prior, gpt) = (&run.prior, &setting.gpt);
    let posterior = Posterior::new(be, gpt, prior, run.num_data, c.objective, b, t)?
        .with_likelihood_weight(c.likelihood_weight)?;
    let config = c.normal_config(normal, total);
    let (mut fit, mut trace) = match path.exists() {
        true => {
            let (state, trace) = load(run, &config, &path)?;
            let fit = NormalFit::restore(be, posterior, config, &state)?;
            (fit, trace)
        }
        false => {
            let fit = NormalFit::new(be, posterior, &baseline.params, config)?;
            (fit, Trace::default())
        }
    };
    if normal == Normal::Ekf {
        let config = fit.config();
        let lr = config.ekf_rate();
        let times = lr * total as f64 / config.observations;
        ctx.log.say(&format!(
            "each batch's mean counts {lr:.4e} times: the data count {times:.3} times over the run, after a baseline that has seen them"
        ))?;
    }
    let mut batch = Batch::new(b, t)?;
    let mut progress = Progress::new(c.sampler.name(), fit.steps_made(), total);
    let mut epoch_start = Instant::now();
    while fit.steps_made() < total {
        let step = fit.steps_made();
        if ctx.stopped() {
            save(run, &path, &fit, &trace)?;
            ctx.log.say(&format!(
                "stopped; `bnn train --resume {}` goes on",
                run.folder.path.display()
            ))?;
            return Err(Error::Interrupted);
        }
        run.batches
            .fill(&setting.corpus.train, c.seed, 0, step, &mut batch)?;
        let FitReport {
            log_lik, log_post, ..
        } = fit.step(&batch)?;
        trace.loss.push(-log_lik);
        trace.log_post.push(log_post);
        let epoch_ends = (step + 1).is_multiple_of(per_epoch);
        if epoch_ends {
            trace.epoch_sd.push(fit.average_sd()?);
            trace
                .epoch_seconds
                .push(epoch_start.elapsed().as_secs_f64());
            epoch_start = Instant::now();
        }
        if (step + 1).is_multiple_of(c.checkpoint_every) || step + 1 == total {
            save(run, &path, &fit, &trace)?;
        }
        progress.at(&mut ctx.log, step + 1, || format!("loss {:.4}", -log_lik))?;
    }
    drop(progress);
    let fit_seconds = start.elapsed().as_secs_f64();
    draw_and_report(run, normal, &mut fit, &trace, baseline, fit_seconds, ctx)
}

/// The draws of the fit in the store, scored.
fn draw_and_report(
    run: &Run<'_>,
    normal: Normal,
    fit: &mut NormalFit<Cpu>,
    trace: &Trace,
    baseline: &Baseline,
    seconds: f64,
    ctx: &mut Context,
) -> Result<TrainReport> {
    let (c, setting) = (run.config, run.setting);
    let be = &setting.backend;
    let mut prior_precision = c.prior_std.powi(-2);
    let mut fitted_prior = Value::Null;
    if let Some(p) = fit.prior_fit()? {
        prior_precision = p.precision;
        ctx.log.say(&format!(
            "marginal likelihood: prior precision {:.4e} (sd {:.4e}), {:.0} of {} parameters determined by the data",
            p.precision,
            p.precision.powf(-0.5),
            p.effective_parameters,
            fit.parameters()
        ))?;
        fitted_prior = json!({
            "precision": p.precision,
            "effective_parameters": p.effective_parameters,
            "log_evidence": p.log_evidence,
        });
    }
    let sd = fit.average_sd_with(prior_precision)?;
    let mut store = Store::resume(run.folder.samples(), run.provenance()?)?;
    let mut theta = be.zeros(setting.gpt.n_params())?;
    for i in 0..c.num_samples {
        ctx.check_stop()?;
        fit.draw(i, &mut theta)?;
        store.append(0, i + 1, &theta)?;
    }
    let samples_hash = hex(&store.hash()?);
    let (reports, val) = evaluate::at_the_end(c, setting, &run.folder, &store, baseline, ctx)?;
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
    let fitted = match (normal, c.laplace_structure) {
        (Normal::Laplace, Structure::LastLayerFull) => ", the head's full covariance",
        (Normal::Laplace, Structure::LastLayerKfac) => ", the head's Kronecker-factored covariance",
        _ => "",
    };
    let mut summary = format!(
        "{} run {}\n\n\
         corpus            {} ({} training, {} validation tokens)\n\
         baseline          {} steps, validation loss {:.4}\n\
         fit               {} steps, T {}, mean deviation {sd:.4e}{fitted}\n\
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
    if let Some(line) = warning(c, normal, &val, at_mean) {
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
        "uncertainty": val.uncertainty(),
        "parameter_uncertainty": {"avg_parameter_std": sd},
    })
}

/// What a person should know of the draws.
fn warning(c: &Config, normal: Normal, val: &SplitReport, at_mean: f64) -> Option<String> {
    let lost = val.loss_mean_of_samples - at_mean;
    let gained = val.against_baseline.z;
    let worse = val.loss_averaged_prediction > val.loss_baseline && gained < -3.0;
    worse.then(|| {
        let how = match normal {
            Normal::Ekf => "a smaller --init-sd, or a longer run",
            Normal::Vi => "a smaller --init-log-scale, or a longer run",
            Normal::Laplace => "a lower --temperature, or a smaller --prior-std",
        };
        let why = match c.unties() {
            true => "this normal is too wide for the head's weights",
            false => "independent normals are too wide for these weights, which depend on each other",
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

fn save(run: &Run<'_>, path: &Path, fit: &NormalFit<Cpu>, trace: &Trace) -> Result<()> {
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
    let state = fit.state()?;
    let mut tensors = store::normal_tensors(&state);
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

fn load(run: &Run<'_>, config: &NormalConfig, path: &Path) -> Result<(NormalState, Trace)> {
    let mut r = Reader::open(path, Kind::Chain)?;
    run.check_header(path, r.header(), 0)?;
    let step = r.header().step;
    let total = config.steps;
    if step > total {
        return Err(Error::BadHeader {
            path: path.to_path_buf(),
            message: format!("expected at most {total} steps, found {step}"),
        });
    }
    let (n, model) = (run.setting.gpt.n_params(), run.setting.gpt.config());
    let head = [model.vocab_size, model.n_embd];
    let mut state = NormalState::blank(config, n, head, step);
    store::read_normal_tensors(&mut r, &mut state)?;
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
    Ok((state, trace))
}
