//! A run's model without its text: what reads samples and baselines, and writes.

use super::Context;
use super::config::{Config, expect_unedited};
use super::folder::RunFolder;
use super::hex;
use super::stop::Stop;
use crate::backend::{Device, Transfer, Vectors};
use crate::data::Tokenizer;
use crate::disk;
use crate::error::{Error, Result};
use crate::gpt::Gpt;
use crate::inference::baseline_cache::Kept;
use crate::inference::baseline_file::{BaselineFile, baseline_sha256};
use crate::inference::selection::Chosen;
use crate::store::{Provenance, Store};
use std::path::{Path, PathBuf};

/// A model on a device, with the characters that its tokens are.
pub struct Model {
    /// The device.
    pub backend: Device,
    /// The characters.
    pub tokenizer: Tokenizer,
    /// The run's model.
    pub gpt: Gpt,
    /// The model that the baseline is trained as: the run's, or the tied one that the run's head was untied from.
    pub trained: Gpt,
    /// SHA-256 of its text, where that is known.
    pub corpus_sha256: Option<[u8; 32]>,
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
    /// How its state was chosen; none where the last one was taken.
    pub chosen: Option<Chosen>,
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
            "choice": self.chosen.as_ref().map(choice),
        })
    }
}

/// Returns what the looks at the choosing half saw, and which state they chose.
fn choice(of: &Chosen) -> serde_json::Value {
    let looks: Vec<_> = of.curve.chunks(1 + of.decays.len()).collect();
    serde_json::json!({
        "step": of.step(),
        "decay": of.decay(),
        "loss": of.loss(),
        "every": of.every,
        "decays": of.decays,
        "losses": looks,
    })
}

impl Model {
    /// Builds the model of these settings on characters.
    ///
    /// # Errors
    /// When the shape cannot be built.
    pub fn new(
        config: &Config,
        tokenizer: Tokenizer,
        corpus_sha256: Option<[u8; 32]>,
    ) -> Result<Self> {
        let trained = Gpt::new(config.model(tokenizer.vocab_size())?)?;
        Ok(Self {
            backend: Device::cpu(config.threads)?.with_precision(config.precision),
            tokenizer,
            gpt: if config.unties() {
                trained.untied()
            } else {
                trained.clone()
            },
            trained,
            corpus_sha256,
        })
    }

    /// Returns a run's model and its baseline, from whose file the characters come: the text is not read.
    ///
    /// # Errors
    /// When the baseline is missing, damaged or of another model.
    pub fn of_run(
        folder: &RunFolder,
        config: &Config,
        ctx: &mut Context,
    ) -> Result<(Self, Baseline)> {
        let path = folder.baseline_file(config)?;
        let file = BaselineFile::read(&path)?;
        let tokenizer = Tokenizer::of_vocabulary(&file.vocabulary, file.model.vocab_size)?;
        let model = Self::new(config, tokenizer, folder.corpus_sha256)?;
        let baseline = model.fitting(&path, file)?;
        folder.check_baseline(&path, &baseline.sha256, ctx)?;
        Ok((model, baseline))
    }

    /// Returns a run's baseline.
    ///
    /// # Errors
    /// When it is missing, damaged or of another model.
    pub fn baseline_of(
        &self,
        folder: &RunFolder,
        config: &Config,
        ctx: &mut Context,
    ) -> Result<Baseline> {
        let path = folder.baseline_file(config)?;
        let baseline = self.load(&path)?;
        folder.check_baseline(&path, &baseline.sha256, ctx)?;
        Ok(baseline)
    }

    /// Reads the samples of a store with these indices, and moves them to the device one by one.
    ///
    /// # Errors
    /// When a sample cannot be read, or the work was asked to stop.
    pub(super) fn put_samples(
        &self,
        store: &Store,
        indices: &[usize],
        stop: &Stop,
    ) -> Result<Vec<<Device as Vectors>::Vector>> {
        let mut params = vec![0.0; self.gpt.n_params()];
        let each = indices.iter().map(|&i| {
            stop.check()?;
            store.load(i, &mut params)?;
            self.backend.put(&params)
        });
        each.collect()
    }

    /// The tokenizer's characters.
    pub fn vocabulary(&self) -> String {
        self.tokenizer.vocabulary()
    }

    /// Opens the samples in a folder, which must be of this model and text, drawn with these settings, and kept with this baseline.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with what differs, and when the folder is no store or not there yet.
    pub fn samples(&self, folder: PathBuf, config: &Config, baseline: &Baseline) -> Result<Store> {
        if let (false, Some(run)) = (
            disk::exists(&folder).map_err(Error::io(&folder))?,
            folder.parent(),
        ) {
            return Err(Error::conflict(format!(
                "{} has no samples: `bnn train --resume {0}` goes on with a run that is not done, and `bnn check {0}` says what is missing of one that was",
                run.display()
            )));
        }
        let store = Store::open(folder)?;
        expect_unedited(config, &store)?;
        let own = store.provenance().clone();
        store.expect(&Provenance {
            model: self.gpt.config().json()?,
            corpus_sha256: self.corpus_sha256.unwrap_or(own.corpus_sha256),
            baseline_sha256: baseline.sha256,
            vocabulary: self.vocabulary(),
            ..own
        })?;
        Ok(store)
    }

    /// Reads a baseline and checks that it fits this model and its characters.
    ///
    /// # Errors
    /// When the file is damaged, or is of another model or another text.
    pub fn load(&self, path: &Path) -> Result<Baseline> {
        self.fitting(path, BaselineFile::read(path)?)
    }

    /// Checks that a baseline fits this model and its characters.
    fn fitting(&self, path: &Path, file: BaselineFile) -> Result<Baseline> {
        super::flags::check_shape(path, &file.model, self.trained.config())?;
        file.check_fits(path, &self.trained, &self.vocabulary())?;
        self.fitted(Kept {
            path: path.to_path_buf(),
            file,
            cached: false,
        })
    }

    /// Returns the parameters in the layout of the run's model.
    pub(super) fn fitted(&self, Kept { path, file, cached }: Kept) -> Result<Baseline> {
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
            chosen: file.chosen,
        })
    }
}
