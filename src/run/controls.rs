//! The models that a run's average is compared with: trained or taken from the run's folder, and scored.

use super::evaluate::Evaluation;
use super::prepare::Baseline;
use super::progress::Progress;
use super::{Context, fitted_prior};
use crate::backend::Device;
use crate::data::HeldOut;
use crate::disk;
use crate::error::{Error, Result};
use crate::inference::baseline_file::BaselineFile;
use crate::inference::controls::{AdamwRun, Contender, Control, FirstModels, compare_with};
use crate::inference::held_out::HeldOutScores;
use crate::inference::scoring::Models;
use crate::inference::{Passenger, Session, StepReport, Target, counted, drive, spread};
use crate::posterior::Prior;
use crate::settings::{Controls, Settings};
use crate::store::{Dtype, FolderLock, Provenance, Store};
use std::path::{Path, PathBuf};

/// A store, and which of its states predict.
struct States {
    store: Store,
    used: Vec<usize>,
}

impl States {
    /// Takes `n` of a store's states, spread evenly, or all that there are.
    fn new(store: Store, n: usize) -> Result<Self> {
        let used = spread(store.ids(), n)?;
        Ok(Self { store, used })
    }

    fn models(&self) -> Models<'_> {
        Models::Stored(&self.store, &self.used)
    }
}

/// What a person sees of the chain without noise.
struct Cold<'a> {
    progress: Progress,
    ctx: &'a mut Context,
}

impl Passenger<Device> for Cold<'_> {
    fn before(&mut self, _: &mut Session<Device>) -> Result<()> {
        self.ctx.check_stop()
    }

    fn after(&mut self, session: &mut Session<Device>, _: &StepReport) -> Result<()> {
        let made = session.steps_made();
        self.progress.at(&mut self.ctx.log, made, String::new);
        Ok(())
    }
}

/// What AdamW makes of as many gradients.
struct Adamw {
    best: BaselineFile,
    mean: Vec<f32>,
    last: Vec<f32>,
    states: States,
}

/// Contenders that were trained from scratch, and the chain without noise.
struct Others {
    scratch: Baseline,
    ensemble: Vec<Vec<f32>>,
    cold: Option<States>,
}

impl Evaluation<'_> {
    /// Makes the controls that are asked for, or takes them from the run's folder, and compares the average with each.
    ///
    /// # Errors
    /// When a training fails or is interrupted; it goes on with the next call.
    pub(super) fn controls(
        &self,
        text: &HeldOut<'_>,
        average: &HeldOutScores,
        ctx: &mut Context,
    ) -> Result<Vec<Control>> {
        let (gradients, members) = (self.gradients()?, average.reporting.sample_nll.len());
        let adamw = self.adamw(gradients, members, ctx)?;
        let baseline = Models::One(&self.baseline.params);
        let mut all = vec![contender("baseline", "the baseline", 0, baseline)];
        all.extend(of_adamw(&adamw, gradients));
        let others = match self.config.controls {
            Controls::Basic => None,
            Controls::Full => Some(self.others(gradients, members, ctx)?),
        };
        if let Some(others) = &others {
            all.extend(self.of_others(others, gradients));
        }
        let windows = text.windows(self.setting.model.gpt.config().block_size);
        let models: usize = all.iter().map(|c| c.models.count()).sum();
        let work = models * windows.iter().sum::<usize>();
        let mut progress = Progress::new("eval controls", 0, work as u64);
        let (backend, gpt) = (&self.setting.model.backend, &self.setting.model.gpt);
        let seed = self.config.seed;
        compare_with(backend, gpt, text, &all, average, seed, |done| {
            ctx.check_stop()?;
            progress.at(&mut ctx.log, done as u64, String::new);
            Ok(())
        })
    }

    /// Returns the gradients that the samples took.
    fn gradients(&self) -> Result<u64> {
        let per_sweep = self.setting.batches(self.config)?.per_sweep();
        Ok(self.config.extra_baselines() + self.config.gradients(per_sweep))
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.file("controls").join(name)
    }

    /// Returns what AdamW's states say that they are of: the run, but for how many there are.
    fn provenance(&self, config: String) -> Result<Provenance> {
        let model = &self.setting.model;
        Ok(Provenance {
            config,
            model: model.gpt.config().json()?,
            seed: self.config.seed,
            corpus_sha256: self.setting.corpus.sha256,
            baseline_sha256: self.baseline.sha256,
            vocabulary: model.vocabulary(),
            dtype: Dtype::F32,
            n_params: model.gpt.n_params() as u64,
        })
    }

    /// Makes AdamW's run of as many gradients, which keeps as many states as there are samples; `members` of them predict together.
    fn adamw(&self, gradients: u64, members: usize, ctx: &mut Context) -> Result<Adamw> {
        let (config, setting) = (self.config, self.setting);
        let samples = self.store.len() as u64;
        let after = match config.sampler.chain() {
            Some(_) => config.mass().steps() + config.warmup_steps,
            // A fit has no warm-up of its own.
            None => gradients / 6,
        };
        let every = ((gradients - after.min(gradients)) / samples.max(1)).max(1);
        let recipe = config.recipe();
        let provenance = self.provenance(format!("control = \"adamw {gradients}\""))?;
        let run = AdamwRun {
            corpus: &setting.corpus,
            gpt: &setting.model.gpt,
            recipe: &recipe,
            // The run's own: a gradient of the control costs what one of the samples' does.
            batch: (
                config.batch_size,
                config.window(setting.model.gpt.config())?,
            ),
            start: &self.baseline.params,
            gradients,
            kept: (after, every),
            provenance: &provenance,
        };
        ctx.check_stop()?;
        let folder = self.place(&format!("adamw_{gradients}_{samples}"));
        let mut watch = setting.watched("control", gradients, ctx);
        let every = config.checkpoint_every;
        let made = run.once(&setting.model.backend, &folder, every, &mut watch)?;
        let mut last = vec![0.0; setting.model.gpt.n_params()];
        let at = made.snapshots.len().saturating_sub(1);
        made.snapshots.load(at, &mut last)?;
        Ok(Adamw {
            best: made.best.file,
            mean: made.mean,
            last,
            states: States::new(made.snapshots, members)?,
        })
    }

    fn others(&self, gradients: u64, members: usize, ctx: &mut Context) -> Result<Others> {
        let budget = self.baseline.iters + gradients;
        let (config, setting) = (self.config, self.setting);
        let cold = self.cold(ctx)?.map(|store| States::new(store, members));
        Ok(Others {
            scratch: setting.deterministic(config, budget, "control from scratch", ctx)?,
            ensemble: self.ensemble(budget, ctx)?,
            cold: cold.transpose()?,
        })
    }

    /// Returns as many baselines of other seeds as so many gradients pay for, and two at least.
    fn ensemble(&self, budget: u64, ctx: &mut Context) -> Result<Vec<Vec<f32>>> {
        let (mut members, mut spent, mut last) = (Vec::new(), 0, 0);
        while members.len() < 2 || spent + last <= budget {
            let i = members.len() as u64;
            let own = Settings {
                seed: self.config.seed.wrapping_add(i),
                ..self.config.clone()
            };
            let what = format!("control, member {i}");
            let member = (self.setting).deterministic(&own, own.baseline_iters, &what, ctx)?;
            // A training may end early.
            last = member.iters.max(1);
            spent += last;
            members.push(member.params);
        }
        Ok(members)
    }

    /// Returns the states of the first chain run again without noise; none of a fit.
    fn cold(&self, ctx: &mut Context) -> Result<Option<Store>> {
        if self.config.sampler.chain().is_none() {
            return Ok(None);
        }
        let (setting, folder) = (self.setting, self.place("without_noise"));
        disk::make_folders(&folder).map_err(Error::io(&folder))?;
        let _lock = FolderLock::acquire(&folder)?;
        let config = self.without_noise()?;
        let prior = fitted_prior::of_run(&config, setting, self.folder, &self.baseline.params)?;
        let target = self.target(&prior);
        let (be, path) = (&setting.model.backend, folder.join("chain.bnn"));
        let settings = config.session(0, setting.model.gpt.config())?;
        let mut session = match disk::exists(&path).map_err(Error::io(&path))? {
            true => Session::resume(be, &target, &settings, &path)?,
            false => Session::new(be, &target, &settings)?,
        };
        let provenance = self.provenance("control = \"without noise\"".into())?;
        let mut store = Store::resume(folder.join("samples"), provenance)?;
        self.run_cold(&mut session, &mut store, &path, ctx)?;
        Ok(Some(store))
    }

    fn target<'a>(&'a self, prior: &'a Prior) -> Target<'a> {
        Target {
            gpt: &self.setting.model.gpt,
            corpus: &self.setting.corpus,
            prior,
            start: &self.baseline.params,
            start_sha256: Some(self.baseline.sha256),
        }
    }

    fn run_cold(
        &self,
        session: &mut Session<Device>,
        store: &mut Store,
        path: &Path,
        ctx: &mut Context,
    ) -> Result<()> {
        let (made, total) = (session.steps_made(), session.total_steps());
        let mut seen = Cold {
            progress: Progress::new("chain without noise", made, total),
            ctx,
        };
        let every = self.config.checkpoint_every;
        drive(session, Some(store), (path, every), &mut seen).map(drop)
    }

    /// Returns the first chain's settings at T = 0, with the step that its warm-up may have found.
    fn without_noise(&self) -> Result<Settings> {
        let mut config = Settings {
            temperature: 0.0,
            chains: 1,
            probe_tokens: 0,
            temperature_every: 0,
            ..self.config.clone()
        };
        if config.auto_step {
            let (setting, start) = (self.setting, &self.baseline.params);
            let prior = fitted_prior::of_run(self.config, setting, self.folder, start)?;
            let model = &self.setting.model;
            let settings = self.config.session(0, model.gpt.config())?;
            let (target, path) = (self.target(&prior), self.folder.chain(0));
            let session = Session::resume(&model.backend, &target, &settings, path)?;
            let found = session.sampler()?.config();
            config.auto_step = false;
            (config.learning_rate, config.momentum) = (found.step_size, None);
            config.alpha = Some(found.alpha);
        }
        Ok(config)
    }

    fn of_others<'a>(&self, others: &'a Others, gradients: u64) -> Vec<Contender<'a>> {
        let all = self.baseline.iters + gradients;
        let scratch = Models::One(&others.scratch.params);
        let ensemble = Models::Each(&others.ensemble);
        let several = format!("an ensemble of {} baselines", others.ensemble.len());
        let mut made = vec![
            contender(
                "adamw_scratch",
                "a model trained from scratch",
                all,
                scratch,
            ),
            contender("deep_ensemble", several, all, ensemble),
        ];
        if let Some(cold) = &others.cold {
            let what = "the chain without noise (T = 0)";
            made.push(contender(
                "chain_without_noise",
                what,
                gradients,
                cold.models(),
            ));
        }
        made
    }
}

fn contender<'a>(
    name: &'static str,
    what: impl Into<String>,
    gradients: u64,
    models: Models<'a>,
) -> Contender<'a> {
    Contender {
        name,
        what: what.into(),
        gradients,
        models,
        first: None,
    }
}

/// Returns what AdamW's run gives for nothing more.
fn of_adamw(adamw: &Adamw, gradients: u64) -> Vec<Contender<'_>> {
    let n = adamw.states.used.len();
    let best = match &adamw.best.chosen {
        Some(c) => match c.decay() {
            Some(decay) => format!("AdamW's moving average (decay {decay}, step {})", c.step()),
            None => format!("AdamW's best state (step {})", c.step()),
        },
        None => "AdamW's best state".into(),
    };
    let one = |name, what: String, params| contender(name, what, gradients, Models::One(params));
    let mut all = vec![
        one("adamw_last", "AdamW's last state".into(), &adamw.last),
        one("adamw_best", best, &adamw.best.params),
    ];
    if adamw.states.store.len() < 2 {
        // It is the last state.
        return all;
    }
    let mean = format!(
        "the mean of AdamW's {} (SWA)",
        counted(adamw.states.store.len(), "state")
    );
    let first = FirstModels {
        name: "adamw_first_snapshots",
        what: |n| format!("the average of AdamW's first {}", counted(n, "state")),
    };
    let average = format!("the average of AdamW's {}", counted(n, "state"));
    all.push(one("adamw_mean", mean, &adamw.mean));
    all.push(Contender {
        first: Some(first),
        ..contender("adamw_snapshots", average, gradients, adamw.states.models())
    });
    all
}
