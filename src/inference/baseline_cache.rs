//! A deterministic model that is trained once and kept: the file is named by all that its training depends on.

use super::Report;
use super::baseline_file::BaselineFile;
use super::baseline_part::{self, Part, Record};
use super::selection::{Chosen, Selector};
use super::snapshots::Snapshots;
use crate::backend::{Backend, GemmPrecision, Transfer};
use crate::baseline::{Recipe, Selection, Trainer};
use crate::data::{Batch, Corpus, Windows};
use crate::disk;
use crate::error::{Error, Result};
use crate::gpt::Gpt;
use crate::memory;
use crate::metrics::split_loss_watched;
use crate::store::{Attempt, FileLock, Header, Kind, Store, hex, leftovers, params_sha256};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The baseline's batches come from a stream that no chain uses.
pub const BASELINE_CHAIN: u32 = u32::MAX;
/// Between two looks at whether another process has ended.
const WAIT: Duration = Duration::from_millis(100);

/// Who watches a training, and may end it. A function of a step's number and its loss is one.
pub trait Watch {
    /// Hears each step's number, from 1, and its loss. An error ends the training, whose state is kept.
    fn step(&mut self, step: u64, loss: f64) -> Result<()>;

    /// Is asked now and then while no step is made. An error ends that: while another process is waited for, or while the validation loss is computed; the
    /// trained model is kept by then, and its loss is computed next time.
    fn look(&mut self) -> Result<()> {
        Ok(())
    }

    /// Hears what a person should know.
    fn say(&mut self, words: &str) {
        let _ = words;
    }
}

impl<F: FnMut(u64, f64) -> Result<()>> Watch for F {
    fn step(&mut self, step: u64, loss: f64) -> Result<()> {
        self(step, loss)
    }
}

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
    /// How the best state is found; without it, the last one is taken.
    pub selection: Option<&'a Selection>,
    /// Where it starts, (n_params); without it, at the initial parameters of the recipe's seed.
    pub start: Option<&'a [f32]>,
    /// Which states are kept on the way.
    pub snapshots: Option<Snapshots<'a>>,
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

impl<'a> Training<'a> {
    /// Returns the training of a model from its initial parameters to its last step, for batches of (B, T).
    pub fn new(
        corpus: &'a Corpus,
        gpt: &'a Gpt,
        recipe: &'a Recipe,
        batch: (usize, usize),
    ) -> Self {
        Self {
            corpus,
            gpt,
            recipe,
            batch,
            selection: None,
            start: None,
            snapshots: None,
        }
    }

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
        if let Some(selection) = self.selection {
            let how = serde_json::to_string(selection);
            let how = how.map_err(|e| Error::out_of_range("selection", "JSON", e))?;
            text.push_str(&format!(" best {how}"));
        }
        if let Some(start) = self.start {
            text.push_str(&format!(" from {}", hex(&params_sha256(start))));
        }
        if let Some(s) = self.snapshots {
            text.push_str(&format!(" keeping {} {}", s.after, s.every));
        }
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

    /// Takes the model that a folder keeps, or trains it and keeps it there.
    ///
    /// Every `every` steps, and when `watch` ends the training, its state is kept in the folder too, as `<key>.part.bnn`: the next call goes on from it bit
    /// for bit, and it is taken away when the model is there. Two processes never train one model at the same time: the second waits until the
    /// first has ended, and then takes its model, or goes on from its state. Within one process the second trains too, without keeping its state.
    ///
    /// # Errors
    /// Returns the errors of [`Training::run`] and of `watch`, and an error when the folder or a file cannot be written, or a kept file is damaged or of
    /// another model.
    pub fn once<B: Backend>(
        &self,
        backend: &B,
        folder: &Path,
        every: u64,
        watch: &mut impl Watch,
    ) -> Result<Kept> {
        disk::make_folders(folder).map_err(Error::io(folder))?;
        let path = self.path(backend, folder)?;
        let there = || disk::exists(&path).map_err(Error::io(&path));
        let whole = || match &self.snapshots {
            None => Ok(true),
            Some(s) => Ok::<_, Error>(s.open(self.recipe.iters)?.is_some()),
        };
        let mut cached = there()? && whole()?;
        if !cached {
            let lock = lock(&path, watch)?;
            // Another may have trained it in the meantime.
            cached = there()? && whole()?;
            if !cached {
                if lock.is_some() {
                    sweep(&path)?;
                }
                let part = lock.as_ref();
                let part = part.map(|_| Ok(Part::of(&path, self.header(backend)?, every)));
                self.train(backend, part.transpose()?.as_ref(), watch)?
                    .write(&path)?;
            }
            lock.map_or(Ok(()), FileLock::remove)?;
        }
        // A process that was killed may have left it.
        baseline_part::remove(&path)?;
        let mut file = BaselineFile::read(&path)?;
        file.check_fits(&path, self.gpt, &self.corpus.tokenizer.vocabulary())?;
        if file.val_loss.is_nan() {
            file.val_loss = self.val_loss(backend, &file.params, || watch.look())?;
            file.write(&path)?;
        }
        Ok(Kept { path, file, cached })
    }

    /// Trains the model, and keeps nothing.
    ///
    /// # Errors
    /// When the recipe does not fit the text, the loss or the gradient is not finite, or `watch` fails.
    pub fn run<B: Backend>(&self, backend: &B, watch: &mut impl Watch) -> Result<BaselineFile> {
        let mut file = self.train(backend, None, watch)?;
        file.val_loss = self.val_loss(backend, &file.params, || watch.look())?;
        Ok(file)
    }

    /// Returns what a checkpoint says that it is of.
    fn header<B: Backend>(&self, backend: &B) -> Result<Header> {
        Ok(Header {
            config: self.config(backend)?,
            model: self.gpt.config().json()?,
            seed: self.recipe.seed,
            corpus_sha256: self.corpus.sha256,
            vocabulary: self.corpus.tokenizer.vocabulary(),
            ..Header::new(Kind::Training)
        })
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

    /// Trains the model, from the beginning or from its checkpoint; its validation loss is not known yet, NaN.
    fn train<B: Backend>(
        &self,
        backend: &B,
        part: Option<&Part>,
        watch: &mut impl Watch,
    ) -> Result<BaselineFile> {
        let (steps, params, record, chosen) = self.stepped(backend, part, watch)?;
        Ok(BaselineFile {
            config: self.config(backend)?,
            model: self.gpt.config().clone(),
            params,
            seed: self.recipe.seed,
            steps,
            corpus_sha256: self.corpus.sha256,
            vocabulary: self.corpus.tokenizer.vocabulary(),
            train_loss: record.losses.mean(),
            val_loss: f64::NAN,
            seconds: record.seconds,
            chosen,
        })
    }

    /// Makes all steps that are left; returns how many there are then, the parameters that are kept, and what the steps and looks left.
    fn stepped<B: Backend>(
        &self,
        backend: &B,
        part: Option<&Part>,
        watch: &mut impl Watch,
    ) -> Result<(u64, Vec<f32>, Record, Option<Chosen>)> {
        let mut run = self.begun(backend, part, watch)?;
        let (start, before) = (Instant::now(), run.record.seconds);
        loop {
            let made = run.trainer.step_count();
            if let Some(s) = run.selector.as_mut().filter(|s| s.is_due(made)) {
                let looked = s.take(backend, self.gpt, &run.trainer, || watch.look());
                if let (Err(_), Some(part)) = (&looked, part) {
                    run.write(part, backend)?;
                }
                looked?;
            }
            let over = (run.selector.as_ref()).is_some_and(|s| s.is_over(made));
            if over || made == self.recipe.iters {
                break;
            }
            let loss = self.step(backend, &mut run)?;
            let made = made + 1;
            run.record.seconds = before + start.elapsed().as_secs_f64();
            let wish = watch.step(made, loss);
            if let Some(part) = part
                && (wish.is_err() || (made.is_multiple_of(part.every) && made < self.recipe.iters))
            {
                run.write(part, backend)?;
            }
            wish?;
        }
        let (steps, record) = (run.trainer.step_count(), run.record);
        if let Some(s) = run.selector {
            let chosen = s.chosen(steps);
            return Ok((steps, s.best, record, Some(chosen)));
        }
        let mut params = memory::zeros(self.gpt.n_params(), "a model's parameters")?;
        backend.download(run.trainer.params(), &mut params)?;
        Ok((steps, params, record, None))
    }

    /// Makes one step, and keeps its state where one is due.
    fn step<B: Backend>(&self, backend: &B, run: &mut Running<'_, B>) -> Result<f64> {
        let step = run.trainer.step_count();
        let (tokens, seed) = (&self.corpus.train, self.recipe.seed);
        (run.windows).fill(tokens, seed, BASELINE_CHAIN, step, &mut run.batch)?;
        let loss = run.trainer.step(&run.batch)?;
        run.record.losses.add(loss);
        if let (Some(s), Some(store)) = (self.snapshots, &mut run.store)
            && s.is_due(step + 1)
        {
            s.keep(store, backend, &run.trainer)?;
        }
        Ok(loss)
    }

    /// Returns a training at its beginning, or where its checkpoint has it.
    fn begun<B: Backend>(
        &self,
        backend: &B,
        part: Option<&Part>,
        watch: &mut impl Watch,
    ) -> Result<Running<'a, B>> {
        let part = match part {
            Some(part) if part.is_there()? => part,
            _ => return self.anew(backend),
        };
        let mut run = self.anew(backend)?;
        let (trainer, selector) = (&mut run.trainer, run.selector.as_mut());
        let read = part.restore(trainer, selector, |words| watch.say(words))?;
        let made = run.trainer.step_count();
        let store = self.snapshots.map(|s| s.open(made)).transpose()?;
        match (read, store) {
            // States that it kept are gone.
            (_, Some(None)) | (None, _) => {
                // What a damaged file has left in it is not gone on from.
                drop(run);
                self.anew(backend)
            }
            (Some(record), _) => {
                watch.say(&format!("going on from step {made}"));
                Ok(Running { record, ..run })
            }
        }
    }

    /// Returns a training at its beginning.
    fn anew<B: Backend>(&self, backend: &B) -> Result<Running<'a, B>> {
        let ((b, t), recipe) = (self.batch, self.recipe);
        let mut trainer = Trainer::new(backend, self.gpt, recipe, b, t)?;
        if let Some(start) = self.start {
            trainer.start_at(start)?;
        }
        let selector = self.selection.map(|plan| {
            let halves = self.corpus.halves(self.gpt.config().block_size);
            Selector::new(plan, halves.choosing, self.gpt, recipe.iters)
        });
        if let Some(plan) = self.selection {
            trainer.average(&plan.decays)?;
        }
        Ok(Running {
            trainer,
            windows: Windows::all(self.corpus.train.len(), t)?,
            batch: Batch::new(b, t)?,
            record: Record::default(),
            selector: selector.transpose()?,
            store: self.snapshots.map(|s| s.open(0)).transpose()?.flatten(),
        })
    }
}

/// A training that goes on.
struct Running<'a, B: Backend> {
    trainer: Trainer<B>,
    windows: Windows,
    batch: Batch,
    record: Record,
    selector: Option<Selector<'a>>,
    store: Option<Store>,
}

impl<B: Backend> Running<'_, B> {
    fn write(&self, part: &Part, backend: &B) -> Result<()> {
        part.write(backend, &self.trainer, &self.record, self.selector.as_ref())
    }
}

/// Takes the lock on the training that makes a file, and waits for it while another process has it; none where this process itself trains it already.
fn lock(kept: &Path, watch: &mut impl Watch) -> Result<Option<FileLock>> {
    let path = kept.with_extension("lock");
    let mut said = false;
    loop {
        match FileLock::attempt(&path)? {
            Attempt::Held(lock) => return Ok(Some(lock)),
            Attempt::Taken(Some(id)) if id == std::process::id() => return Ok(None),
            Attempt::Taken(holder) => {
                if !std::mem::replace(&mut said, true) {
                    let of = holder.map_or("another process".into(), |id| format!("process {id}"));
                    watch.say(&format!("{of} trains {}: waiting for it", kept.display()));
                }
                watch.look()?;
                std::thread::sleep(WAIT);
            }
        }
    }
}

/// Takes away what killed processes left of this model's unfinished files. Whoever calls holds the model's lock.
fn sweep(path: &Path) -> Result<()> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let of_model = |name: &str| name.split('.').next() == Some(&stem);
    let left = leftovers(disk::folder_of(path), of_model)?;
    left.iter()
        .try_for_each(|left| disk::remove(left).map_err(Error::io(left)))
}
