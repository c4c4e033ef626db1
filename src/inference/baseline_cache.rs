//! A deterministic model that is trained once and kept: the file is named by all that its training depends on.

use super::Report;
use super::baseline_file::BaselineFile;
use crate::backend::{Backend, GemmPrecision, Transfer};
use crate::baseline::{Recipe, Trainer};
use crate::data::{Batch, Corpus, Windows};
use crate::disk;
use crate::error::{Error, Result};
use crate::gpt::Gpt;
use crate::memory;
use crate::metrics::split_loss_watched;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// The baseline's batches come from a stream that no chain uses.
pub const BASELINE_CHAIN: u32 = u32::MAX;
/// Steps whose losses are averaged for the training loss.
const RECENT: usize = 50;

/// A training: the same one gives the same parameters.
#[derive(Clone, Copy, Debug)]
pub struct Training<'a> {
    /// The text.
    pub corpus: &'a Corpus,
    /// The model.
    pub gpt: &'a Gpt,
    /// How it is trained.
    pub recipe: &'a Recipe,
    /// Sequences and tokens of a batch, B and T.
    pub batch: (usize, usize),
}

/// A trained model in the file that keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The file.
    pub path: PathBuf,
    /// What it holds.
    pub file: BaselineFile,
    /// Whether it was there before.
    pub cached: bool,
}

impl From<&Kept> for Report {
    fn from(k: &Kept) -> Self {
        let f = &k.file;
        Self::new()
            .row("kept", k.cached, "1 where the file was there before")
            .row(
                "path",
                k.path.display().to_string(),
                "the file that keeps the model",
            )
            .row("steps", f.steps, "steps of training")
            .row(
                "train_loss",
                f.train_loss,
                "mean loss of the last 50 steps, nats per token",
            )
            .row(
                "val_loss",
                f.val_loss,
                "loss on the whole validation split, nats per token",
            )
            .row(
                "seconds",
                f.seconds,
                "seconds that the training took when it was made",
            )
    }
}

impl Training<'_> {
    /// Returns the recipe as its file keeps it. Another model comes of other products of matrices.
    fn config<B: Backend>(&self, backend: &B) -> Result<String> {
        let (b, t) = self.batch;
        let text = serde_json::to_string(&(self.recipe, b, t));
        let mut text = text.map_err(|e| Error::out_of_range("recipe", "JSON", e))?;
        text.push_str(match backend.gemm_precision() {
            GemmPrecision::F32 => "",
            GemmPrecision::Bits15 => " split",
            GemmPrecision::Bits7 => " bf16",
        });
        Ok(text)
    }

    /// Returns where a folder keeps the model.
    ///
    /// # Errors
    /// Never in fact: a recipe is plain data.
    pub fn path<B: Backend>(&self, backend: &B, folder: &Path) -> Result<PathBuf> {
        let model = serde_json::to_string(self.gpt.config());
        let key = Sha256::new()
            .chain_update(self.corpus.sha256)
            .chain_update(model.map_err(|e| Error::out_of_range("model", "JSON", e))?)
            .chain_update(self.config(backend)?)
            .finalize();
        let name: String = key[..8].iter().map(|b| format!("{b:02x}")).collect();
        Ok(folder.join(format!("{name}.bnn")))
    }

    /// Takes the model that a folder keeps, or trains it and keeps it there; `done` as of [`Training::run`]. `look` is called while the validation loss is
    /// computed and may end that with an error: the trained model is kept by then, and its loss is computed next time.
    ///
    /// # Errors
    /// Returns the errors of [`Training::run`] and of `look`, and an error when the folder or the file cannot be written, or a kept file is damaged or of another model.
    pub fn once<B: Backend>(
        &self,
        backend: &B,
        folder: &Path,
        done: impl FnMut(u64, f64) -> Result<()>,
        look: impl FnMut() -> Result<()>,
    ) -> Result<Kept> {
        disk::make_folders(folder).map_err(Error::io(folder))?;
        let path = self.path(backend, folder)?;
        let cached = disk::exists(&path).map_err(Error::io(&path))?;
        if !cached {
            self.train(backend, done)?.write(&path)?;
        }
        let mut file = BaselineFile::read(&path)?;
        file.check_fits(&path, self.gpt, &self.corpus.tokenizer.vocabulary())?;
        if file.val_loss.is_nan() {
            file.val_loss = self.val_loss(backend, &file.params, look)?;
            file.write(&path)?;
        }
        Ok(Kept { path, file, cached })
    }

    /// Trains the model; `done` hears each step's number, from 1, and its loss, and may end the training with an error.
    ///
    /// # Errors
    /// When the recipe does not fit the text, the loss or the gradient is not finite, or `done` fails.
    pub fn run<B: Backend>(
        &self,
        backend: &B,
        done: impl FnMut(u64, f64) -> Result<()>,
    ) -> Result<BaselineFile> {
        let mut file = self.train(backend, done)?;
        file.val_loss = self.val_loss(backend, &file.params, || Ok(()))?;
        Ok(file)
    }

    /// Returns the loss of the trained model on the whole validation split.
    fn val_loss<B: Backend>(
        &self,
        backend: &B,
        params: &[f32],
        look: impl FnMut() -> Result<()>,
    ) -> Result<f64> {
        let (block, val) = (self.gpt.config().block_size, &self.corpus.val);
        let params = backend.put(params)?;
        Ok(split_loss_watched(backend, self.gpt, &params, val, block, look)?.0)
    }

    /// Trains the model; its validation loss is not known yet, NaN.
    fn train<B: Backend>(
        &self,
        backend: &B,
        mut done: impl FnMut(u64, f64) -> Result<()>,
    ) -> Result<BaselineFile> {
        let (b, t) = self.batch;
        let (tokens, seed) = (&self.corpus.train, self.recipe.seed);
        let windows = Windows::all(tokens.len(), t)?;
        let mut batch = Batch::new(b, t)?;
        let mut trainer = Trainer::new(backend, self.gpt, self.recipe, b, t)?;
        let mut recent = VecDeque::with_capacity(RECENT);
        let start = std::time::Instant::now();
        for step in 0..self.recipe.iters {
            windows.fill(tokens, seed, BASELINE_CHAIN, step, &mut batch)?;
            let loss = trainer.step(&batch)?;
            if recent.len() == RECENT {
                recent.pop_front();
            }
            recent.push_back(loss);
            done(step + 1, loss)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let trained = trainer.into_params();
        let mut params = memory::zeros(self.gpt.n_params(), "a model's parameters")?;
        backend.download(&trained, &mut params)?;
        Ok(BaselineFile {
            config: self.config(backend)?,
            model: self.gpt.config().clone(),
            params,
            seed,
            steps: self.recipe.iters,
            corpus_sha256: self.corpus.sha256,
            vocabulary: self.corpus.tokenizer.vocabulary(),
            train_loss: recent.iter().sum::<f64>() / recent.len() as f64,
            val_loss: f64::NAN,
            seconds,
        })
    }
}
