//! What every command begins with: the corpus, the model, and its baseline, trained once and kept.

use super::config::Config;
use super::folder::RunFolder;
pub use super::model::{Baseline, Model};
use super::progress::Progress;
use super::{Context, hex};
use crate::data::{Batches, Corpus};
use crate::error::{Error, Result};
use crate::inference::baseline_cache::{Training, Watch};
use crate::inference::baseline_file::BaselineFile;
use crate::inference::selection::Chosen;
use std::io::ErrorKind;
use std::sync::Arc;

/// A corpus and a model that fits it, on a device.
pub struct Setting {
    /// The text.
    pub corpus: Arc<Corpus>,
    /// The model.
    pub model: Model,
}

/// A training as a person sees it.
struct Watched<'a> {
    what: &'a str,
    iters: u64,
    ctx: &'a mut Context,
    progress: Option<Progress>,
}

impl Watch for Watched<'_> {
    fn step(&mut self, step: u64, loss: f64) -> Result<()> {
        let new = || Progress::new(self.what, step - 1, self.iters);
        let progress = self.progress.get_or_insert_with(new);
        progress.at(&mut self.ctx.log, step, || format!("loss {loss:.4}"));
        // A model that is trained to its end is kept.
        if step == self.iters || !self.ctx.stopped() {
            return Ok(());
        }
        self.ctx.stop.wait_for_answer();
        let what = self.what;
        let line = format!("{what}: stopped after step {step}, which is kept");
        self.ctx.log.say(&line);
        Err(Error::Interrupted)
    }

    fn look(&mut self) -> Result<()> {
        self.ctx.check_stop()
    }

    fn say(&mut self, words: &str) {
        self.ctx.log.say(&format!("{}: {words}", self.what));
    }
}

/// Says which state of its training a model is.
pub(super) fn state(file: &BaselineFile) -> String {
    let Some(chosen) = &file.chosen else {
        return format!("after {} steps", file.steps);
    };
    let of = match chosen.decay() {
        Some(decay) => format!("moving average {decay}"),
        None => "parameters".into(),
    };
    format!(
        "{of} at step {}, best of {} (loss {:.4} on the choosing half)",
        chosen.step(),
        file.steps,
        chosen.loss()
    )
}

/// Returns at most ten points of what the looks saw: the best state of each.
fn curve(chosen: &Chosen) -> String {
    let looks: Vec<f64> = (chosen.curve.chunks(1 + chosen.decays.len()))
        .map(|seen| seen.iter().copied().fold(f64::INFINITY, f64::min))
        .collect();
    let every = looks.len().div_ceil(10).max(1);
    let points = (1..).zip(&looks).skip(every - 1).step_by(every);
    let points: Vec<String> = points
        .map(|(look, loss)| format!("{} {loss:.4}", (look * chosen.every).min(chosen.steps)))
        .collect();
    format!("loss on the choosing half by step: {}", points.join(", "))
}

impl Setting {
    /// Reads the corpus and builds the model.
    ///
    /// # Errors
    /// When the text cannot be read or is too small for the block, or the shape cannot be built.
    pub fn new(config: &Config) -> Result<Self> {
        let mut corpus = match (&config.data, &config.data_dir) {
            (Some(path), _) => Corpus::from_file(path)?,
            (None, Some(dir)) => Corpus::from_nanogpt(dir, config.meta_path.as_deref())?,
            (None, None) => Corpus::embedded()?,
        };
        if let Some(path) = &config.test {
            corpus.set_test(path)?;
        }
        let model = Model::new(config, corpus.tokenizer.clone(), Some(corpus.sha256))?;
        corpus.check_block(model.trained.config().block_size)?;
        Ok(Self {
            corpus: Arc::new(corpus),
            model,
        })
    }

    /// Reads the corpus of a run, which must be the one that it began with, and builds its model.
    ///
    /// # Errors
    /// Those of [`Setting::new`]; [`Error::Data`] for a text that is not where the run's record says, and for another text.
    pub fn of_run(config: &Config, folder: &RunFolder) -> Result<Self> {
        let place = config.data.as_ref().or(config.data_dir.as_ref());
        let place = place.map_or("the embedded text".into(), |p| p.display().to_string());
        let anew =
            "give the run's text with --data FILE, or with --data-dir DIR where it is nanoGPT's";
        let setting = Self::new(config).map_err(|e| match e {
            Error::Io { path, source } if source.kind() == ErrorKind::NotFound => Error::data(
                path.display().to_string(),
                format!(
                    "the run's text is not there ({source}): {anew}; it is compared by its SHA-256"
                ),
            ),
            e => e,
        })?;
        match folder.corpus_sha256 {
            Some(own) if own != setting.corpus.sha256 => Err(Error::data(
                place,
                format!(
                    "another text than the run's: its SHA-256 is {}, expected {}: {anew}",
                    hex(&setting.corpus.sha256),
                    hex(&own)
                ),
            )),
            _ => Ok(setting),
        }
    }

    /// Returns the tokens of a split, by the name that flags have for it.
    pub fn split(&self, name: &str) -> &[u16] {
        match name {
            "train" => &self.corpus.train,
            _ => &self.corpus.val,
        }
    }

    /// Returns the sampler's batches of the training split.
    ///
    /// # Errors
    /// When the window does not fit the model or the text, or a sweep the batch.
    pub fn batches(&self, config: &Config) -> Result<Batches> {
        let n = self.corpus.train.len();
        config
            .batches(self.model.gpt.config())?
            .batches(n, config.seed)
    }

    /// The baseline of these settings: the file that they name, or the kept one, or a new one, which is kept.
    ///
    /// # Errors
    /// When training fails or is interrupted, or a file does not fit.
    pub fn baseline(&self, config: &Config, ctx: &mut Context) -> Result<Baseline> {
        match &config.model_path {
            Some(path) => self.model.load(path),
            None => self.deterministic(config, config.baseline_iters, "baseline", ctx),
        }
    }

    /// Returns the deterministic model after `iters` steps of the recipe, kept for next time.
    ///
    /// # Errors
    /// Returns the errors of [`Setting::baseline`].
    pub fn deterministic(
        &self,
        config: &Config,
        iters: u64,
        what: &str,
        ctx: &mut Context,
    ) -> Result<Baseline> {
        let (mut recipe, selection) = (config.recipe(), config.selection());
        recipe.iters = iters;
        let batch = config.baseline_batch(self.model.gpt.config());
        let training = Training {
            selection: selection.as_ref(),
            ..Training::new(&self.corpus, &self.model.trained, &recipe, batch)
        };
        let folder = config.save_dir.join("baselines");
        ctx.check_stop()?;
        let mut watch = self.watched(what, iters, ctx);
        let every = config.checkpoint_every;
        let kept = training.once(&self.model.backend, &folder, every, &mut watch)?;
        drop(watch);
        let (f, path, state) = (&kept.file, kept.path.display(), state(&kept.file));
        let line = if kept.cached {
            format!(
                "{what}: {path} ({state}, validation loss {:.4}), kept from before",
                f.val_loss
            )
        } else {
            format!(
                "{what}: {} steps in {:.1} s, {state}, training loss {:.4}, validation loss {:.4}: {path}",
                f.steps, f.seconds, f.train_loss, f.val_loss
            )
        };
        ctx.log.say(&line);
        if let (Some(chosen), false) = (&kept.file.chosen, kept.cached) {
            ctx.log.say(&format!("{what}: {}", curve(chosen)));
        }
        self.model.fitted(kept)
    }

    /// Returns who watches a training of at most `iters` steps for a person.
    pub(super) fn watched<'a>(
        &self,
        what: &'a str,
        iters: u64,
        ctx: &'a mut Context,
    ) -> impl Watch + 'a {
        Watched {
            what,
            iters,
            ctx,
            progress: None,
        }
    }
}
