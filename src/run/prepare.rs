//! What every command begins with: the corpus, the model, and its baseline, trained once and kept.

use super::config::Config;
use super::progress::Progress;
use super::stop::Stop;
use super::{Context, hex};
use crate::backend::{Device, Transfer, Vectors};
use crate::data::{Batches, Corpus};
use crate::error::{Error, Result};
use crate::gpt::Gpt;
use crate::inference::baseline_cache::{Kept, Training};
use crate::inference::baseline_file::{BaselineFile, baseline_sha256};
use crate::inference::scoring::last_samples;
use crate::store::{Provenance, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A corpus and a model that fits it, on a device.
pub struct Setting {
    /// The device.
    pub backend: Device,
    /// The text.
    pub corpus: Arc<Corpus>,
    /// The run's model.
    pub gpt: Gpt,
    /// The model that the baseline is trained as: the run's, or the tied one that the run's head was untied from.
    pub trained: Gpt,
}

/// A trained deterministic model.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// Where it is kept.
    pub path: PathBuf,
    /// Its parameters, in the layout of the run's model.
    pub params: Vec<f32>,
    /// SHA-256 of the file's parameters as little-endian f32.
    pub sha256: [u8; 32],
    /// Steps that it was trained for.
    pub iters: u64,
    /// Mean loss of its last steps (at most 50), nats per token.
    pub train_loss: f64,
    /// Loss on the whole validation split, nats per token.
    pub val_loss: f64,
    /// Seconds of training when it was trained.
    pub seconds: f64,
    /// Whether it was there before.
    pub cached: bool,
}

impl Baseline {
    /// Returns the baseline's entry in the metrics file.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "path": self.path,
            "sha256": hex(&self.sha256),
            "iters": self.iters,
            "train_loss": self.train_loss,
            "val_loss": self.val_loss,
            "seconds": self.seconds,
        })
    }
}

impl Setting {
    /// Reads the corpus and builds the model.
    ///
    /// # Errors
    /// When the text cannot be read or is too small for the block, or the shape cannot be built.
    pub fn new(config: &Config) -> Result<Self> {
        let corpus = match (&config.data, &config.data_dir) {
            (Some(path), _) => Corpus::from_file(path)?,
            (None, Some(dir)) => Corpus::from_nanogpt(dir, config.meta_path.as_deref())?,
            (None, None) => Corpus::embedded()?,
        };
        let trained = Gpt::new(config.model(corpus.tokenizer.vocab_size())?)?;
        corpus.check_block(trained.config().block_size)?;
        Ok(Self {
            backend: Device::cpu(config.threads)?.with_precision(config.precision),
            corpus: Arc::new(corpus),
            gpt: if config.unties() {
                trained.untied()
            } else {
                trained.clone()
            },
            trained,
        })
    }

    /// Reads the last `n` samples of a store, or all of them for 0, and moves them to the device one by one.
    ///
    /// # Errors
    /// When a sample cannot be read, or the work was asked to stop.
    pub(super) fn put_samples(
        &self,
        store: &Store,
        n: usize,
        stop: &Stop,
    ) -> Result<Vec<<Device as Vectors>::Vector>> {
        let mut params = vec![0.0; self.gpt.n_params()];
        let each = last_samples(store, n).map(|i| {
            stop.check()?;
            store.load(i, &mut params)?;
            self.backend.put(&params)
        });
        each.collect()
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
        config.batches(self.gpt.config())?.batches(n, config.seed)
    }

    /// The tokenizer's characters.
    pub fn vocabulary(&self) -> String {
        self.corpus.tokenizer.vocabulary()
    }

    /// Opens the samples in a folder, which must be of this model and text, and kept with this baseline.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with what differs, and when the folder is no store or not there yet.
    pub fn samples(&self, folder: PathBuf, baseline: &Baseline) -> Result<Store> {
        if let (false, Some(run)) = (folder.exists(), folder.parent()) {
            return Err(Error::conflict(format!(
                "{} has no samples yet, since the run is not done: `bnn train --resume {0}` goes on with it",
                run.display()
            )));
        }
        let store = Store::open(folder)?;
        store.expect(&Provenance {
            model: self.gpt.config().json()?,
            corpus_sha256: self.corpus.sha256,
            baseline_sha256: baseline.sha256,
            ..store.provenance().clone()
        })?;
        Ok(store)
    }

    /// The baseline of these settings: the file that they name, or the kept one, or a new one, which is kept.
    ///
    /// # Errors
    /// When training fails or is interrupted, or a file does not fit.
    pub fn baseline(&self, config: &Config, ctx: &mut Context) -> Result<Baseline> {
        match &config.model_path {
            Some(path) => self.load(path),
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
        let mut recipe = config.recipe();
        recipe.iters = iters;
        let training = Training {
            corpus: &self.corpus,
            gpt: &self.trained,
            recipe: &recipe,
            batch: config.baseline_batch(self.gpt.config()),
        };
        let folder = config.save_dir.join("baselines");
        ctx.check_stop()?;
        let mut progress: Option<Progress> = None;
        let stop = ctx.stop.clone();
        let step_made = |step, loss| {
            let progress = progress.get_or_insert_with(|| Progress::new(what, 0, iters));
            progress.at(&mut ctx.log, step, || format!("loss {loss:.4}"));
            // A model that is trained to its end is kept.
            if step < iters { stop.check() } else { Ok(()) }
        };
        let kept = training.once(&self.backend, &folder, step_made, || stop.check())?;
        drop(progress);
        let (f, path) = (&kept.file, kept.path.display());
        let line = if kept.cached {
            format!(
                "{what}: {path} ({iters} steps, validation loss {:.4}), kept from before",
                f.val_loss
            )
        } else {
            format!(
                "{what}: {iters} steps in {:.1} s, training loss {:.4}, validation loss {:.4}: {path}",
                f.seconds, f.train_loss, f.val_loss
            )
        };
        ctx.log.say(&line);
        self.fitted(kept)
    }

    /// Reads a baseline and checks that it fits this corpus and model.
    ///
    /// # Errors
    /// When the file is damaged, or is of another model or another text.
    pub fn load(&self, path: &Path) -> Result<Baseline> {
        let file = BaselineFile::read(path)?;
        super::flags::check_shape(path, &file.model, self.trained.config())?;
        file.check_fits(path, &self.trained, &self.vocabulary())?;
        self.fitted(Kept {
            path: path.to_path_buf(),
            file,
            cached: false,
        })
    }

    /// Returns the parameters in the layout of the run's model.
    fn fitted(&self, Kept { path, file, cached }: Kept) -> Result<Baseline> {
        Ok(Baseline {
            path,
            sha256: baseline_sha256(&self.trained, &file.params),
            params: if self.trained.config() == self.gpt.config() {
                file.params
            } else {
                self.trained.untie(&file.params)?
            },
            iters: file.steps,
            train_loss: file.train_loss,
            val_loss: file.val_loss,
            seconds: file.seconds,
            cached,
        })
    }
}
