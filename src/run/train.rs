//! `bnn train`: a baseline, then chains around it, streamed to disk; stopped and resumed at any step.

use super::checkpoint::Trace;
use super::config::{Config, PriorCenter, PriorUnit, Sampler, Starts};
use super::diagnose::{self, Diagnosis, RunDraws};
use super::draws;
use super::evaluate::{self, SplitReport};
use super::folder::{RunFolder, now, write_json, write_text};
use super::honesty::stability_line;
use super::prepare::{Baseline, Setting};
use super::progress::Progress;
use super::{Context, hex, tensors};
use crate::data::{Batch, Batches, Windows};
use crate::error::{Error, Result};
use crate::gpt::Objective;
use crate::inference::forecast::curvature_lines;
use crate::inference::{
    ChainSummary, Movement, StepFound, TraceView, TrajectoryForecast, mixing, tensor_temperature,
};
use crate::metrics::local_learning_coefficient;
use crate::posterior::{Posterior, Prior};
use crate::samplers::{self, AutoStep, Chain, Phase};
use crate::store::{Provenance, Store};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

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
    /// Seconds of sampling in this process.
    pub sampling_seconds: f64,
    /// Loss of the baseline on the whole validation split, nats a token.
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
    /// The validation split's scores; with `--eval`, of every split asked for.
    pub results: Map<String, Value>,
}

/// What this process spent on sampling; one that resumes a run did not make all of its gradients.
struct Timed {
    seconds: f64,
    gradients: u64,
}

/// A run: everything that stays the same over its chains.
pub(super) struct Run<'a> {
    pub config: &'a Config,
    pub setting: &'a Setting,
    pub folder: RunFolder,
    pub prior: Prior,
    pub num_data: f64,
    pub batches: Batches,
    pub batch: (usize, usize),
    pub baseline_sha256: [u8; 32],
    /// Where chains start: the first at the baseline, the others there too or at baselines of their own.
    pub starts: Vec<(PathBuf, [u8; 32])>,
}

/// Begins a new run.
///
/// # Errors
/// For bad settings, data or files; [`Error::NotFinite`] when a chain diverges; [`Error::Interrupted`] when it was stopped. What was sampled
/// before stays readable.
pub fn train(config: &Config, ctx: &mut Context) -> Result<TrainReport> {
    let setting = Setting::new(config)?;
    if config.num_epochs.is_some() && config.sampler.chain().is_some() {
        ctx.log.say(&format!(
            "note: --epochs does not apply to {}, which is counted in --warmup-steps and --sampling-steps",
            config.sampler
        ))?;
    }
    let baseline = setting.baseline(config, ctx)?;
    let mut config = config.clone();
    // From here on the run names its baseline, so that it can be resumed whatever else is trained.
    config.model_path = Some(absolute(&baseline.path)?);
    for path in [
        &mut config.data,
        &mut config.data_dir,
        &mut config.meta_path,
    ]
    .into_iter()
    .flatten()
    {
        *path = absolute(path)?;
    }
    let folder = RunFolder::create(&config)?;
    // The baselines that chains have of their own lie there, wherever the run is resumed.
    config.save_dir = absolute(&config.save_dir)?;
    write_text(&folder.config(), &config.to_toml()?)?;
    go(&config, &setting, folder, baseline, ctx)
}

/// Goes on with a run, bit for bit as if it had not been broken off.
///
/// # Errors
/// As [`train`], and when the run's folder is damaged or its corpus or baseline is not the same.
pub fn resume(config: &Config, folder: RunFolder, ctx: &mut Context) -> Result<TrainReport> {
    let setting = Setting::new(config)?;
    let baseline = setting.baseline(config, ctx)?;
    ctx.log
        .say(&format!("resuming {}", folder.path.display()))?;
    go(config, &setting, folder, baseline, ctx)
}

fn absolute(path: &Path) -> Result<std::path::PathBuf> {
    path.canonicalize().map_err(Error::io(path))
}

fn go(
    config: &Config,
    setting: &Setting,
    folder: RunFolder,
    mut baseline: Baseline,
    ctx: &mut Context,
) -> Result<TrainReport> {
    let name = folder.log_name();
    ctx.log.open(&folder.file(&name))?;
    if let Some(dir) = &config.log_dir {
        std::fs::create_dir_all(dir).map_err(Error::io(dir))?;
        ctx.log.open(&dir.join(&name))?;
    }
    let batches = setting.batches(config)?;
    let (t, n_train) = (batches.windows().len(), setting.corpus.train.len());
    let num_data = config
        .num_data
        .unwrap_or_else(|| count_data(config.objective, batches.windows(), n_train, t));
    let prior = Prior {
        family: config.prior_family(),
        std: config.prior_std as f32,
        center: (config.prior_center == PriorCenter::Pretrained).then(|| baseline.params.clone()),
        relative_to: (config.prior_scale == PriorUnit::Relative).then(|| baseline.params.clone()),
    };
    let run = Run {
        config,
        setting,
        folder,
        prior,
        num_data,
        batches,
        batch: (config.batch_size, t),
        baseline_sha256: baseline.sha256,
        starts: starts(config, setting, &baseline, ctx)?,
    };
    let unit = match config.objective {
        Objective::All => "tokens",
        Objective::Last => "windows",
    };
    ctx.log.say(&format!(
        "{} on {} parameters: num_data {num_data} {unit}, T {}, prior sd {} ({:?}, centre {:?}), batch {:?}",
        config.sampler,
        setting.gpt.n_params(),
        config.temperature,
        config.prior_std,
        config.prior_scale,
        config.prior_center,
        run.batch,
    ))?;
    if let Sampler::Normal(normal) = config.sampler {
        return super::normal::fit(&run, normal, &mut baseline, ctx);
    }
    let sampler = config.sampler_config(0)?;
    let forecast = TrajectoryForecast::new(&sampler, run.weighted_data());
    for line in forecast.lines(&sampler, config.mass()) {
        ctx.log.say(&line)?;
    }

    let mut store = Store::resume(run.folder.samples(), run.provenance()?)?;
    let start = std::time::Instant::now();
    let mut made = 0;
    let mut traces = Vec::new();
    let mut avg_momentum = None;
    // While chains run nobody needs the baseline's vector: a large model's is as large as one of the sampler's.
    drop(std::mem::take(&mut baseline.params));
    for chain in 0..config.chains {
        match run.chain(chain, &mut store, &mut made, ctx) {
            Ok((trace, momentum)) => {
                traces.push(trace);
                avg_momentum = momentum;
            }
            Err(e) => {
                ctx.log.say(&format!(
                    "{} samples are kept in {}",
                    store.len(),
                    run.folder.samples().display()
                ))?;
                if matches!(e, Error::Interrupted) {
                    ctx.log.say(&format!(
                        "stopped; `bnn train --resume {}` goes on",
                        run.folder.path.display()
                    ))?;
                }
                return Err(e);
            }
        }
    }
    let sampling_seconds = start.elapsed().as_secs_f64();
    baseline.params = run.start(0)?;
    let chains = run.movements(&store, &traces)?;
    for line in chains.iter().flat_map(|m| m.lines(config.temperature)) {
        ctx.log.say(&line)?;
    }
    run.finish(
        &store,
        &baseline,
        chains,
        &traces,
        avg_momentum,
        Timed {
            seconds: sampling_seconds,
            gradients: made,
        },
        ctx,
    )
}

/// The file and its hash that each chain starts at. Baselines of the chains' own are trained where they are not kept.
fn starts(
    config: &Config,
    setting: &Setting,
    baseline: &Baseline,
    ctx: &mut Context,
) -> Result<Vec<(PathBuf, [u8; 32])>> {
    let mut starts = vec![(baseline.path.clone(), baseline.sha256); config.chains as usize];
    if config.starts == Starts::Separate {
        for (chain, start) in (0..).zip(&mut starts).skip(1) {
            let mut own = config.clone();
            own.seed = config.seed.wrapping_add(chain);
            let what = format!("baseline of chain {chain}");
            let b = setting.deterministic(&own, config.baseline_iters, &what, ctx)?;
            *start = (b.path, b.sha256);
        }
    }
    Ok(starts)
}

/// What the mean log-likelihood runs over: distinct target tokens, or windows.
fn count_data(objective: Objective, windows: &Windows, n_train: usize, t: usize) -> f64 {
    let n = windows.num_windows();
    match objective {
        // Chosen windows may overlap; a token is data once.
        Objective::All => n.saturating_mul(t).min(n_train - 1) as f64,
        Objective::Last => n as f64,
    }
}

impl Run<'_> {
    /// What the mean log-likelihood is multiplied by.
    fn weighted_data(&self) -> f64 {
        self.num_data * self.config.likelihood_weight
    }

    pub fn provenance(&self) -> Result<Provenance> {
        Ok(Provenance {
            config: self.config.to_toml()?,
            model: self.setting.model_json()?,
            seed: self.config.seed,
            corpus_sha256: self.setting.corpus.sha256,
            baseline_sha256: self.baseline_sha256,
            vocabulary: self.setting.vocabulary(),
            dtype: self.config.sample_dtype,
            n_params: self.setting.gpt.n_params() as u64,
        })
    }

    /// The parameters that a chain starts at, read from their file.
    fn start(&self, chain: u32) -> Result<Vec<f32>> {
        let (path, sha256) = &self.starts[chain as usize];
        let read = self.setting.load(path)?;
        if read.sha256 != *sha256 {
            return Err(Error::Mismatch {
                path: path.clone(),
                what: "baseline".into(),
                expected: hex(sha256),
                got: hex(&read.sha256),
            });
        }
        Ok(read.params)
    }

    /// Runs one chain to its end, counting its gradients in `made`; its trace and the mean absolute standardised momentum at the end.
    fn chain(
        &self,
        index: u32,
        store: &mut Store,
        made: &mut u64,
        ctx: &mut Context,
    ) -> Result<(Trace, Option<f64>)> {
        let config = self.config;
        let be = &self.setting.backend;
        let (b, t) = self.batch;
        let posterior = Posterior::new(
            be,
            &self.setting.gpt,
            &self.prior,
            self.num_data,
            config.objective,
            b,
            t,
        )?
        .with_likelihood_weight(config.likelihood_weight)?;
        let mut sampler = config.sampler_config(index)?;
        let mut auto = config.auto_step(&sampler)?;
        let path = self.folder.chain(index);
        let start = self.start(index)?;
        let (mut chain, mut trace) = match path.exists() {
            true => {
                let (state, trace) = self.load_chain(&path, index, &start)?;
                if let (Some(state), Some(auto)) = (trace.auto_step, &mut auto) {
                    (sampler.step_size, sampler.alpha) = (state.step_size, state.alpha);
                    auto.go_on(state).map_err(Error::of_file(&path))?;
                }
                let chain = Chain::restore(be, posterior, sampler.clone(), config.mass(), &state)?;
                (chain, trace)
            }
            false => (
                Chain::new(be, posterior, &start, sampler.clone(), config.mass())?,
                Trace::default(),
            ),
        };
        drop(start);
        let fresh = || tensors::new(config, self.setting);
        if let Some(t) = (trace.temperatures.take()).map_or_else(fresh, |t| Ok(Some(t)))? {
            chain.watch(t);
        }
        if let Some(auto) = auto {
            chain.adapt_step(auto)?;
        }
        // Samples after the checkpoint are drawn again, the same.
        store.truncate_after(index, chain.steps_made())?;
        let mass_at = config.mass().steps();
        if chain.steps_made() == 0 && mass_at == 0 {
            let mass = chain.sampler().mass().map(Vec::as_slice);
            ctx.log
                .say(&stability_line(config, &sampler, &self.prior, mass)?)?;
        }

        let mut batch = Batch::new(b, t)?;
        let mut probe = draws::probe(config, self.setting)?;
        let total = chain.total_steps();
        let mut progress = Progress::new(&format!("chain {index}"), chain.steps_made(), total);
        while chain.phase() != Phase::Done {
            let step = chain.steps_made();
            if ctx.stopped() {
                self.save_chain(&path, index, &chain, &trace)?;
                return Err(Error::Interrupted);
            }
            self.batches.fill(
                &self.setting.corpus.train,
                config.seed,
                index,
                step,
                &mut batch,
            )?;
            // At its start, with the mass that it has there, and on its own first batch.
            let look = config.curvature_iterations > 0 && index == 0 && step == mass_at;
            if look && trace.curvature.is_none() {
                let batches = std::slice::from_ref(&batch);
                // It is advice: a chain that can run does not end for want of it.
                match chain.curvature(batches, config.curvature_iterations) {
                    Ok(found) => {
                        for line in curvature_lines(&found, &sampler, b * t) {
                            ctx.log.say(&line)?;
                        }
                        trace.curvature = Some(found);
                    }
                    Err(e @ (Error::Invalid { .. } | Error::Conflict(_))) => {
                        ctx.log
                            .say(&format!("warning: no curvature was found: {e}"))?;
                    }
                    Err(e) => return Err(e),
                }
            }
            let report = chain.step(&batch)?;
            *made += if step < mass_at {
                1
            } else {
                config.mass().gradients_a_step()
            };
            if step + 1 == mass_at {
                let mass = chain.sampler().mass().map(Vec::as_slice);
                let line = stability_line(config, &sampler, &self.prior, mass)?;
                ctx.log.say(&line)?;
            }
            if config.auto_step && step + 1 == mass_at + config.warmup_steps {
                let found = chain.sampler().config();
                let line = format!(
                    "the step was adapted from {:.3e} to {:.3e}",
                    config.learning_rate, found.step_size
                );
                let forecast = TrajectoryForecast::new(found, self.weighted_data());
                let forecast = forecast.lines(found, config.mass());
                // The budget is of a mean over parameters; the stiffest direction has its own word.
                let beyond = (trace.curvature.iter())
                    .flat_map(|c| curvature_lines(c, found, b * t).into_iter().skip(1));
                for line in std::iter::once(line).chain(forecast).chain(beyond) {
                    ctx.log.say(&line)?;
                }
            }
            if report.phase == Phase::Sampling && self.looks_for_llc(index, step + 1) {
                // The same batch at both: its own noise falls out of the difference.
                let start = chain.log_lik_at_start(&batch)?;
                trace.excess_loss.push(start - report.at.log_lik);
            }
            trace.log_lik.push(report.at.log_lik);
            trace.log_prior.push(report.at.log_prior);
            if report.phase != Phase::Warmup {
                trace.kinetic.extend(report.kinetic_temperature);
                trace
                    .configurational
                    .extend(report.configurational_temperature);
            }
            draws::record(
                &mut trace.draws,
                &mut probe,
                config,
                self.setting,
                step + 1,
                chain.params(),
            )?;
            if report.sample_due {
                store.append(index, step + 1, chain.params())?;
            }
            if (step + 1).is_multiple_of(config.checkpoint_every) || chain.phase() == Phase::Done {
                self.save_chain(&path, index, &chain, &trace)?;
            }
            // One step's value, and how far equilibrium at T lets it stray.
            let d = self.setting.gpt.n_params();
            let band = mixing::equilibrium_sd(config.temperature, d);
            progress.at(&mut ctx.log, step + 1, || {
                let show = |what: &str, t: Option<f64>| {
                    t.map_or(String::new(), |t| format!("  {what} T {t:.4}"))
                };
                format!(
                    "{:?}  loss {:.4}{}{}  (T {} +- {band:.1e})",
                    report.phase,
                    -report.at.log_lik,
                    show("kinetic", report.kinetic_temperature),
                    show("configurational", report.configurational_temperature),
                    config.temperature,
                )
            })?;
        }
        drop(progress);
        trace.auto_step = chain.auto_step().map(AutoStep::state);
        trace.temperatures = chain.temperatures().cloned();
        let momentum = chain.sampler().momenta().map(|m| {
            let mass = chain.sampler().mass();
            let each = m.iter().enumerate().map(|(i, m)| {
                let mass = mass.map_or(1.0, |v| v[i]) as f64;
                (*m as f64).abs() / mass.sqrt()
            });
            each.sum::<f64>() / m.len() as f64
        });
        Ok((trace, momentum))
    }

    /// Whether the excess loss is looked at in the step after which `steps` were made: where the prior is about this chain's start, and
    /// there is a temperature.
    fn looks_for_llc(&self, chain: u32, steps: u64) -> bool {
        let c = self.config;
        let sampling = steps.saturating_sub(c.mass().steps() + c.warmup_steps);
        c.llc_every > 0
            && c.prior_center == PriorCenter::Pretrained
            && self.starts[chain as usize].1 == self.baseline_sha256
            && c.temperature > 0.0
            && sampling.is_multiple_of(c.llc_every)
    }

    fn movements(&self, store: &Store, traces: &[Trace]) -> Result<Vec<ChainSummary>> {
        traces
            .iter()
            .zip(0u32..)
            .map(|(trace, chain)| {
                let start = self.start(chain)?;
                let movement = Movement::of_stored(store, chain, &start)?;
                let c = self.config.sampler_config(chain)?;
                let layout = self.setting.gpt.layout();
                let of = |t| tensor_temperature::of_tensors(&c, layout, t);
                let n_beta = self.weighted_data() / c.temperature;
                let llc = match trace.excess_loss.is_empty() {
                    true => None,
                    false => Some(local_learning_coefficient(&trace.excess_loss, n_beta)?),
                };
                let found = trace.auto_step.map(|s| samplers::Config {
                    step_size: s.step_size,
                    alpha: s.alpha,
                    ..c.clone()
                });
                let trace_view = TraceView {
                    log_lik: &trace.log_lik,
                    log_prior: &trace.log_prior,
                    kinetic: &trace.kinetic,
                    configurational: &trace.configurational,
                };
                Ok(ChainSummary {
                    step: found.map(|c| {
                        let error = trace.auto_step.map_or(0.0, |s| s.error);
                        StepFound::new(&c, self.weighted_data(), error)
                    }),
                    llc,
                    curvature: trace.curvature,
                    tensors: trace.temperatures.as_ref().map(of).unwrap_or_default(),
                    ..ChainSummary::new(
                        &c,
                        movement,
                        self.weighted_data(),
                        self.setting.gpt.n_params(),
                        trace_view,
                    )
                })
            })
            .collect()
    }

    #[allow(clippy::too_many_arguments)]
    fn finish(
        &self,
        store: &Store,
        baseline: &Baseline,
        chains: Vec<ChainSummary>,
        traces: &[Trace],
        avg_momentum: Option<f64>,
        timed: Timed,
        ctx: &mut Context,
    ) -> Result<TrainReport> {
        let config = self.config;
        if store.is_empty() {
            return Err(Error::invalid(
                "sampling_steps",
                "enough for a sample: at least the thinning",
                config.sampling_steps,
            ));
        }
        let samples_hash = hex(&store.hash()?);
        let (reports, val) =
            evaluate::at_the_end(config, self.setting, &self.folder, store, baseline, ctx)?;
        let results = evaluate::by_split(&reports)?;
        let mut training = json!({
            "total_steps": config.chain_gradients(),
            "samples_collected": store.len(),
        });
        if let Some(m) = avg_momentum {
            training["avg_momentum"] = m.into();
        }
        let last = |f: fn(&Trace) -> &Vec<f64>| traces.last().and_then(|t| f(t).last().copied());
        training["last_log_lik"] = last(|t| &t.log_lik).into();
        training["last_log_prior"] = last(|t| &t.log_prior).into();
        training["sampling_seconds"] = timed.seconds.into();
        training["timed_gradients"] = timed.gradients.into();
        let diagnostics = self.diagnose(&timed)?;
        let metrics = json!({
            "sampler_type": config.sampler.name(),
            "config": self.original_config(),
            "training_metrics": training,
            "timestamp": now(),
            "uncertainty": val.uncertainty(),
            "num_data": self.num_data,
            "baseline": baseline.json(),
            "samples_hash": samples_hash,
            "chains": chains,
            "diagnostics": diagnostics,
            "results": results,
        });
        write_json(&self.folder.metrics(), &metrics)?;
        let report = TrainReport {
            run_dir: self.folder.path.display().to_string(),
            sampler_type: config.sampler.name().into(),
            samples_hash,
            samples_collected: store.len(),
            total_steps: config.chain_gradients(),
            sampling_seconds: timed.seconds,
            loss_baseline: val.loss_baseline,
            loss_mean_of_samples: val.loss_mean_of_samples,
            loss_averaged_prediction: val.loss_averaged_prediction,
            temperature: config.temperature,
            chains,
            diagnostics,
            results,
        };
        let summary = self.summary(&report, baseline, &reports);
        write_text(&self.folder.summary(), &summary)?;
        ctx.log.keep(&summary)?;
        Ok(report)
    }

    /// What the chains' files say of each other; none where the probes are off.
    fn diagnose(&self, timed: &Timed) -> Result<Option<Diagnosis>> {
        if self.config.probe_tokens == 0 {
            return Ok(None);
        }
        let mut draws = RunDraws::open(&self.folder.path)?;
        draws.seconds_a_gradient =
            (timed.gradients > 0).then(|| timed.seconds / timed.gradients as f64);
        let mut diagnosis = diagnose::diagnose(&self.setting.backend, &[draws])?;
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
        let c = self.config;
        let mut text = format!(
            "{} run {}\n\n\
             corpus            {} ({} training, {} validation tokens)\n\
             model             {} layers, {} heads, {} wide, block {}: {} parameters\n\
             baseline          {} steps, validation loss {:.4}\n\
             sampler           step {:.3e}, T {}, {} chain(s) of {} gradients\n\
             samples           {} in {}\n\n",
            r.sampler_type,
            self.folder.stamp,
            self.setting.corpus.name,
            self.setting.corpus.train.len(),
            self.setting.corpus.val.len(),
            self.setting.gpt.config().n_layer,
            self.setting.gpt.config().n_head,
            self.setting.gpt.config().n_embd,
            self.setting.gpt.config().block_size,
            self.setting.gpt.n_params(),
            baseline.iters,
            baseline.val_loss,
            c.learning_rate,
            c.temperature,
            c.chains,
            c.chain_gradients() / c.chains as u64,
            r.samples_collected,
            self.folder.samples().display(),
        );
        for split in splits {
            text.push_str(&split.text());
            text.push('\n');
        }
        for line in r.chains.iter().flat_map(|m| m.lines(c.temperature)) {
            text.push_str(&line);
            text.push('\n');
        }
        if let Some(d) = &r.diagnostics {
            text.push('\n');
            text.push_str(&d.text());
        }
        text
    }
}
