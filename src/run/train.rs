//! `bnn train`: a baseline, then chains around it, streamed to disk; stopped and resumed at any step.

use super::config::{Config, PriorUnit, SamplerChoice, Starts, Value, expect_unedited, word};
use super::folder::{RunFolder, check_utf8, write_text};
use super::prepare::{Baseline, Setting};
use super::recover::{self, Broken};
use super::spent::{Meter, Spent};
use super::train_report::TrainReport;
use super::{Context, fitted_prior, hex};
use crate::backend::Device;
use crate::data::Batches;
use crate::disk;
use crate::error::{Error, Result};
use crate::gpt::Objective;
use crate::inference::{ChainEnd, PriorStability, Session, Target, TrajectoryForecast, count_data};
use crate::posterior::Prior;
use crate::samplers::{ChainConfig, GaussianMethod, Preconditioner, stability::is_stable};
use crate::store::{FolderLock, Provenance, Store};
use std::path::{Path, PathBuf};

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
    /// What is done with a chain that cannot go on.
    pub broken: Broken,
    /// Keeps other processes from writing the run.
    _lock: FolderLock,
}

/// Begins a new run.
///
/// # Errors
/// For bad settings, data or files; [`Error::NotFinite`] when a chain diverges; [`Error::Interrupted`] when it was stopped. What was sampled
/// before stays readable.
pub fn train(config: &Config, ctx: &mut Context) -> Result<TrainReport> {
    let setting = Setting::new(config)?;
    let mut config = absolute_paths(config)?;
    refuse_early(&config, &setting)?;
    let baseline = setting.baseline(&config, ctx);
    let baseline = ctx.stopped_with(baseline, "the same command")?;
    let folder = RunFolder::create(&config)?;
    let lock = recover::lock(&folder)?;
    // From here on the run has its baseline, so that it can be moved and resumed whatever else is trained.
    config.save_dir = absolute(&config.save_dir)?;
    let baseline = own(&folder, &mut config, baseline)?;
    write_text(
        &folder.config(),
        &folder.record(&config, &setting.corpus.sha256)?,
    )?;
    run(
        &config,
        &setting,
        (folder, lock),
        baseline,
        Broken::Refuse,
        ctx,
    )
}

/// Goes on with a run, bit for bit as if it had not been broken off.
///
/// # Errors
/// Returns the errors of [`train`], and an error when the run's folder is damaged or its corpus or baseline is not the same.
pub fn resume(
    config: &Config,
    folder: RunFolder,
    broken: Broken,
    ctx: &mut Context,
) -> Result<TrainReport> {
    let lock = recover::lock(&folder)?;
    let mut config = absolute_paths(config)?;
    let setting = Setting::of_run(&config, &folder)?;
    let baseline = setting.model.baseline_of(&folder, &config, ctx)?;
    let baseline = own(&folder, &mut config, baseline)?;
    ctx.log.say(&format!("resuming {}", folder.path.display()));
    run(&config, &setting, (folder, lock), baseline, broken, ctx)
}

/// Puts the baseline into the run's folder, and has the settings name it there.
fn own(folder: &RunFolder, config: &mut Config, baseline: Baseline) -> Result<Baseline> {
    let kept = config.save_dir.join("baselines");
    let path = folder.keep_baseline(0, &baseline.path, &kept)?;
    config.model_path = Some(path.clone());
    Ok(Baseline { path, ..baseline })
}

/// Returns the settings with absolute paths in place of those that are read from the working folder.
fn absolute_paths(config: &Config) -> Result<Config> {
    let mut config = config.clone();
    for (name, path) in [
        ("data", &mut config.data),
        ("data_dir", &mut config.data_dir),
        ("meta_path", &mut config.meta_path),
        ("test", &mut config.test),
    ] {
        if let Some(path) = path {
            // A text that is not there is refused where it is read.
            *path = path.canonicalize().unwrap_or_else(|_| path.clone());
            check_utf8(name, path)?;
        }
    }
    Ok(config)
}

/// Refuses before any training what could not run or could not be kept.
fn refuse_early(config: &Config, setting: &Setting) -> Result<()> {
    RunFolder::check_place(&config.save_dir)?;
    let per_epoch = setting.batches(config)?.per_sweep();
    if let Some(method) = config.gaussian() {
        let steps = config.num_epochs.unwrap_or(1).saturating_mul(per_epoch);
        config.gaussian_config(method, steps).validate()?;
    }
    config.check_evaluation(setting.model.gpt.config())?;
    let absolute = config.prior_scale == PriorUnit::Absolute;
    if absolute && config.mass() == Preconditioner::None && config.sampler.chain().is_some() {
        // Neither mass nor baseline has a part in it, so it is known by now.
        stable(
            config,
            &config.sampler_config(0)?,
            &config.prior(setting.model.gpt.layout(), &[])?,
            None,
        )?;
    }
    Ok(())
}

/// Returns what is said of a step in the prior's stiffest direction; `mass` is the diagonal, 1 where none.
///
/// # Errors
/// [`Error::Unstable`] for a step that is not stable there, unless it is forced.
pub(super) fn stable(
    config: &Config,
    chain: &ChainConfig,
    prior: &Prior,
    mass: Option<&[f32]>,
) -> Result<String> {
    let found = PriorStability::new(chain, prior, mass);
    match is_stable(chain, found.stiffest) {
        Ok(()) => Ok(found.line()),
        Err(Error::Unstable(text)) if config.force => {
            Ok(format!("warning: unstable: {text}; forced"))
        }
        Err(Error::Unstable(text)) => {
            let smaller = match found.limit {
                limit if limit > 0.0 => format!("give --learning-rate below {limit:.3e}; "),
                _ => String::new(),
            };
            Err(Error::Unstable(format!(
                "{text}; {smaller}--force runs it all the same"
            )))
        }
        Err(e) => Err(e),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(Error::io(path))
}

fn run(
    config: &Config,
    setting: &Setting,
    (folder, lock): (RunFolder, FolderLock),
    mut baseline: Baseline,
    broken: Broken,
    ctx: &mut Context,
) -> Result<TrainReport> {
    open_logs(config, &folder, ctx)?;
    let goes_on = format!("`bnn train --resume {}`", folder.path.display());
    let run = Run::new(config, setting, (folder, lock), &baseline, broken, ctx);
    let run = ctx.stopped_with(run, &goes_on)?;
    run.say_target(ctx);
    if let SamplerChoice::Gaussian(normal) = config.sampler {
        let made = super::normal::fit(&run, normal, &mut baseline, ctx);
        return ctx.stopped_with(made, &goes_on);
    }
    let sampler = config.sampler_config(0)?;
    let forecast = TrajectoryForecast::new(&sampler, run.weighted_data());
    for line in forecast.lines(&sampler, config.mass()) {
        ctx.log.say(&line);
    }
    let mut store = run.open_store()?;
    expect_unedited(config, &store)?;
    run.say_foreign(&store, ctx);
    // While chains run nobody needs the baseline's vector: a large model's is as large as one of the sampler's.
    drop(std::mem::take(&mut baseline.params));
    let sampled = run.sample(&mut store, ctx);
    let (ends, spent) = ctx.stopped_with(sampled, &goes_on)?;
    recover::found_again(&run.folder, &store)?;
    baseline.params = run.start(0)?;
    let report = run.report(&store, &baseline, &ends, spent, ctx);
    ctx.stopped_with(report, &goes_on)
}

fn open_logs(config: &Config, folder: &RunFolder, ctx: &mut Context) -> Result<()> {
    let name = folder.log_name();
    ctx.log.open(&folder.file(&name))?;
    if let Some(dir) = &config.log_dir {
        disk::make_folders(dir).map_err(Error::io(dir))?;
        ctx.log.open(&dir.join(&name))?;
    }
    Ok(())
}

/// Returns the file, with its hash, that each chain starts at. Baselines of the chains' own are trained where they are not kept.
fn starts(
    config: &Config,
    setting: &Setting,
    folder: &RunFolder,
    baseline: &Baseline,
    ctx: &mut Context,
) -> Result<Vec<(PathBuf, [u8; 32])>> {
    let mut starts = vec![(baseline.path.clone(), baseline.sha256); config.chains as usize];
    if config.starts == Starts::Separate {
        for (chain, start) in (0..).zip(&mut starts).skip(1) {
            let path = folder.baseline(chain);
            if !disk::exists(&path).map_err(Error::io(&path))? {
                let mut own = config.clone();
                own.seed = config.seed.wrapping_add(chain.into());
                let what = format!("baseline of chain {chain}");
                let b = setting.deterministic(&own, config.baseline_iters, &what, ctx)?;
                folder.keep_baseline(chain, &b.path, &config.save_dir.join("baselines"))?;
            }
            *start = (path.clone(), setting.model.load(&path)?.sha256);
        }
    }
    Ok(starts)
}

impl<'a> Run<'a> {
    fn new(
        config: &'a Config,
        setting: &'a Setting,
        (folder, lock): (RunFolder, FolderLock),
        baseline: &Baseline,
        broken: Broken,
        ctx: &mut Context,
    ) -> Result<Self> {
        let batches = setting.batches(config)?;
        let counted = count_data(
            config.objective,
            batches.windows(),
            setting.corpus.train.len(),
        );
        let starts = starts(config, setting, &folder, baseline, ctx)?;
        let start = &baseline.params;
        let prior = fitted_prior::of_new_run(config, setting, &folder, start, ctx)?;
        Ok(Self {
            starts,
            config,
            setting,
            folder,
            prior,
            num_data: config.num_data.unwrap_or(counted),
            batch: (config.batch_size, batches.windows().window_len()),
            batches,
            baseline_sha256: baseline.sha256,
            broken,
            _lock: lock,
        })
    }

    /// Says what is sampled from.
    fn say_target(&self, ctx: &mut Context) {
        let config = self.config;
        let unit = match config.objective {
            Objective::All => "tokens",
            Objective::Last => "windows",
        };
        let law = match self.samples_a_law() {
            true => format!(
                "num_data {} {unit}, T {}, prior sd {} ({}, centre {}), ",
                self.num_data,
                Value::F64(config.temperature),
                match config.prior_scale {
                    PriorUnit::Fitted => "by tensor".into(),
                    _ => Value::F64(config.prior_std).to_string(),
                },
                word("prior_scale", config),
                word("prior_center", config),
            ),
            false => String::new(),
        };
        ctx.log.say(&format!(
            "{} on {} parameters: {law}batch ({}, {})",
            config.sampler,
            self.setting.model.gpt.n_params(),
            self.batch.0,
            self.batch.1,
        ));
        if config.temperature == 0.0 {
            ctx.log.say(
                "note: T = 0 is optimisation, not sampling: no noise is added, and the samples are points on the way downhill",
            );
        }
    }

    /// Returns whether the method samples from a law, or fits one: not so `ema` and `snapshots`, which are points of an optimiser's path.
    pub(super) fn samples_a_law(&self) -> bool {
        let method = self.config.sampler.gaussian();
        method.is_none_or(GaussianMethod::fits_normal)
    }

    /// Records the configuration, which may have become longer. A length that does not fit what was begun is refused before.
    pub fn record_config(&self) -> Result<()> {
        write_text(&self.folder.config(), &self.record()?)
    }

    /// Returns the settings as the run records them.
    fn record(&self) -> Result<String> {
        (self.folder).record(self.config, &self.setting.corpus.sha256)
    }

    /// The gradients of the whole run, the baseline's not counted.
    pub fn gradients(&self) -> u64 {
        self.config.gradients(self.batches.per_sweep())
    }

    /// What the mean log-likelihood is multiplied by.
    pub fn weighted_data(&self) -> f64 {
        self.num_data * self.config.likelihood_weight
    }

    /// Runs all chains, and returns what they have cost so far. When one fails, says what is kept.
    fn sample(&self, store: &mut Store, ctx: &mut Context) -> Result<(Vec<ChainEnd>, Spent)> {
        let device = &self.setting.model.backend;
        let meter = Meter::open(&self.folder, device, ctx)?;
        let ends = match self.chains_at_once() {
            1 => (0..self.config.chains)
                .map(|chain| self.chain(chain, device, store, &meter, ctx))
                .collect(),
            n => {
                let ends = self.side_by_side(n, &meter, ctx);
                *store = self.open_store()?;
                ends
            }
        };
        if ends.is_err() {
            ctx.log.say(&format!(
                "the samples are kept ({} of them) in {}",
                store.len(),
                self.folder.samples().display()
            ));
        }
        Ok((ends?, meter.spent()))
    }

    /// Returns the run's samples as they are now.
    pub fn open_store(&self) -> Result<Store> {
        Store::resume(self.folder.samples(), self.provenance()?)
    }

    pub fn provenance(&self) -> Result<Provenance> {
        Ok(Provenance {
            config: self.record()?,
            model: self.setting.model.gpt.config().json()?,
            seed: self.config.seed,
            corpus_sha256: self.setting.corpus.sha256,
            baseline_sha256: self.baseline_sha256,
            vocabulary: self.setting.model.vocabulary(),
            dtype: self.config.sample_dtype,
            n_params: self.setting.model.gpt.n_params() as u64,
        })
    }

    /// Returns the parameters that a chain starts at, read from their file.
    pub fn start(&self, chain: u32) -> Result<Vec<f32>> {
        let (path, sha256) = &self.starts[chain as usize];
        let read = self.setting.model.load(path)?;
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

    /// Returns a chain's session, or the fit's, new or from its file where there is one.
    ///
    /// # Errors
    /// Returns [`Error::Io`] when the system does not say whether there is a file: a chain never begins anew because of that.
    pub fn session(&self, chain: u32, device: &Device, path: &Path) -> Result<Session<Device>> {
        let there = disk::exists(path).map_err(Error::io(path))?;
        self.session_from(chain, device, there.then_some(path))
    }

    /// Returns a chain's session from its file, or at its start.
    pub fn session_from(
        &self,
        chain: u32,
        device: &Device,
        file: Option<&Path>,
    ) -> Result<Session<Device>> {
        let target = Target {
            gpt: &self.setting.model.gpt,
            corpus: &self.setting.corpus,
            prior: &self.prior,
            start: &self.start(chain)?,
            start_sha256: Some(self.starts[chain as usize].1),
        };
        let config = self
            .config
            .session(chain, self.setting.model.gpt.config())?;
        match file {
            Some(path) => Session::resume(device, &target, &config, path),
            None => Session::new(device, &target, &config),
        }
    }
}
