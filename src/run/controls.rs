//! The models that a run's average is compared with: trained or taken from the run's folder, and scored.

use super::Context;
use super::evaluate::Evaluation;
use super::prepare::Baseline;
use super::progress::Progress;
use crate::backend::Device;
use crate::data::HeldOut;
use crate::disk;
use crate::error::{Error, Result};
use crate::inference::controls::{AdamwRun, AdamwStates, Contender, Control, compare_with};
use crate::inference::held_out::HeldOutScores;
use crate::inference::scoring::Models;
use crate::inference::{Session, Target, counted};
use crate::samplers::Phase;
use crate::settings::{Controls, Settings};
use crate::store::{Dtype, FolderLock, Provenance, Store, keep_generation};
use std::path::{Path, PathBuf};

/// Contenders that were trained from scratch, and the chain without noise.
struct Others {
    scratch: Baseline,
    ensemble: Vec<Vec<f32>>,
    cold: Option<(Store, Vec<usize>)>,
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
        let gradients = self.gradients()?;
        let states = self.adamw(gradients, ctx)?;
        let last = self.last(&states)?;
        let mut all = of_adamw(&states, &last, gradients);
        all.insert(
            0,
            Contender {
                name: "baseline",
                what: "the baseline, where the samples began".into(),
                gradients: 0,
                models: Models::One(&self.baseline.params),
                first: None,
            },
        );
        let others = match self.config.controls {
            Controls::Basic => None,
            Controls::Full => Some(self.others(gradients, ctx)?),
        };
        if let Some(others) = &others {
            all.extend(self.of_others(others, gradients));
        }
        let t = self.setting.model.gpt.config().block_size;
        let windows = |tokens: &[u16]| (tokens.len() - 1) / t;
        let models: usize = all.iter().map(|c| c.models.count()).sum();
        let work = models * (windows(text.choosing) + windows(text.reporting));
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

    /// Makes AdamW's run of as many gradients, which keeps as many states as there are samples.
    fn adamw(&self, gradients: u64, ctx: &mut Context) -> Result<AdamwStates> {
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
            batch: config.baseline_batch(setting.model.gpt.config()),
            start: &self.baseline.params,
            gradients,
            kept: (after, every),
            provenance: &provenance,
        };
        ctx.check_stop()?;
        let folder = self.place(&format!("adamw_{gradients}_{samples}"));
        let mut watch = setting.watched("control", gradients, ctx);
        let every = config.checkpoint_every;
        run.once(&setting.model.backend, &folder, every, &mut watch)
    }

    /// Returns the last state that was kept.
    fn last(&self, states: &AdamwStates) -> Result<Vec<f32>> {
        let mut params = vec![0.0; self.setting.model.gpt.n_params()];
        let last = states.snapshots.len().saturating_sub(1);
        states.snapshots.load(last, &mut params)?;
        Ok(params)
    }

    fn others(&self, gradients: u64, ctx: &mut Context) -> Result<Others> {
        let (config, setting) = (self.config, self.setting);
        let iters = self.baseline.iters + gradients;
        let scratch = setting.deterministic(config, iters, "control from scratch", ctx)?;
        let members = (iters / self.baseline.iters.max(1)).max(2);
        let ensemble = (0..members).map(|i| {
            let own = Settings {
                seed: config.seed.wrapping_add(i),
                ..config.clone()
            };
            let what = format!("control, member {i}");
            let member = setting.deterministic(&own, config.baseline_iters, &what, ctx)?;
            Ok(member.params)
        });
        Ok(Others {
            scratch,
            ensemble: ensemble.collect::<Result<_>>()?,
            cold: self.cold(ctx)?.map(|store| {
                let all = (0..store.len()).collect();
                (store, all)
            }),
        })
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
        let prior = config.prior(&self.baseline.params);
        let target = Target {
            gpt: &setting.model.gpt,
            corpus: &setting.corpus,
            prior: &prior,
            start: &self.baseline.params,
            start_sha256: Some(self.baseline.sha256),
        };
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

    fn run_cold(
        &self,
        session: &mut Session<Device>,
        store: &mut Store,
        path: &Path,
        ctx: &mut Context,
    ) -> Result<()> {
        let (made, total) = (session.steps_made(), session.total_steps());
        let mut progress = Progress::new("chain without noise", made, total);
        let mut params = vec![0.0; session.parameters()];
        while session.phase() != Phase::Done {
            let report = session.step()?;
            let made = session.steps_made();
            if report.sample_due {
                session.read_params(&mut params)?;
                store.append(0, made, &params)?;
            }
            let stopped = ctx.stopped();
            if stopped || made.is_multiple_of(self.config.checkpoint_every) || made == total {
                keep_generation(path)?;
                session.save(path)?;
            }
            if stopped && made < total {
                return Err(Error::Interrupted);
            }
            progress.at(&mut ctx.log, made, String::new);
        }
        Ok(())
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
            let (setting, prior) = (self.setting, self.config.prior(&self.baseline.params));
            let target = Target {
                gpt: &setting.model.gpt,
                corpus: &setting.corpus,
                prior: &prior,
                start: &self.baseline.params,
                start_sha256: Some(self.baseline.sha256),
            };
            let settings = self.config.session(0, setting.model.gpt.config())?;
            let be = &setting.model.backend;
            let session = Session::resume(be, &target, &settings, self.folder.chain(0))?;
            let found = session.sampler()?.config();
            config.auto_step = false;
            (config.learning_rate, config.momentum) = (found.step_size, None);
            config.alpha = Some(found.alpha);
        }
        Ok(config)
    }

    fn of_others<'a>(&self, others: &'a Others, gradients: u64) -> Vec<Contender<'a>> {
        let all = self.baseline.iters + gradients;
        let mut made = vec![
            Contender {
                name: "adamw_scratch",
                what: "AdamW from scratch, best state".into(),
                gradients: all,
                models: Models::One(&others.scratch.params),
                first: None,
            },
            Contender {
                name: "deep_ensemble",
                what: "ensemble of baselines of other seeds".into(),
                gradients: all,
                models: Models::Each(&others.ensemble),
                first: None,
            },
        ];
        if let Some((cold, all)) = &others.cold {
            made.push(Contender {
                name: "chain_without_noise",
                what: "the chain at T = 0".into(),
                gradients,
                models: Models::Stored(cold, all),
                first: None,
            });
        }
        made
    }
}

/// Returns what AdamW's run gives for nothing more.
fn of_adamw<'a>(states: &'a AdamwStates, last: &'a [f32], gradients: u64) -> Vec<Contender<'a>> {
    let best = match &states.best.file.chosen {
        Some(c) => match c.decay() {
            Some(decay) => format!(
                "AdamW, moving average {decay} at its best, step {}",
                c.step()
            ),
            None => format!("AdamW, best step {}", c.step()),
        },
        None => "AdamW, best state".into(),
    };
    let n = states.snapshots.len();
    let one = |name, what: String, params| Contender {
        name,
        what,
        gradients,
        models: Models::One(params),
        first: None,
    };
    vec![
        one("adamw_last", "AdamW, last state".into(), last),
        one("adamw_best", best, &states.best.file.params),
        one(
            "adamw_mean",
            format!("AdamW, mean of {} (SWA)", counted(n, "state")),
            &states.mean,
        ),
        Contender {
            name: "adamw_snapshots",
            what: "AdamW, average of its states' predictions".into(),
            gradients,
            models: Models::Stored(&states.snapshots, &states.all),
            first: Some("adamw_first_snapshots"),
        },
    ]
}
