//! The training of a deterministic model, one batch at a time: on its own batches or the caller's, from the start or from a file, with the best state so
//! far by the caller's score.

use super::Report;
use super::training_file::{self, RecentLosses};
use crate::backend::{Backend, Transfer};
use crate::baseline::{Recipe, Trainer};
use crate::data::{Batch, Corpus, Windows};
use crate::error::{Error, Result};
use crate::gpt::Gpt;
use crate::inference::baseline_cache::BASELINE_CHAIN;
use crate::memory;
use crate::store::{Header, Kind, Reader, TensorData};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// Names in the file.
const BEST: &str = "best";
const BEST_SCORE: &str = "best_score";
const BEST_STEP: &str = "best_step";
/// The largest whole number up to which f64 has all.
const MOST_STEPS: f64 = (1u64 << 53) as f64;

/// The state with the lowest score so far.
struct Best {
    score: f64,
    step: u64,
    params: Vec<f32>, // (n_params)
}

/// A model in training by [`Trainer`], with its batches, what it reports, and its file. One thread at a time.
pub struct TrainingRun<B: Backend> {
    backend: B,
    trainer: Trainer<B>,
    recipe: Recipe,
    corpus: Arc<Corpus>,
    windows: Option<Windows>, // none without a text
    batch: Batch,
    losses: RecentLosses,
    best: Option<Best>,
    header: Header,
}

impl<B: Backend> TrainingRun<B> {
    /// Begins at `start` (n_params), or at the initial parameters of the recipe's seed, with batches of `b` sequences of `t` tokens: those that the command
    /// trains a baseline on, or the caller's, who may leave the corpus without a token.
    ///
    /// # Errors
    /// When the recipe is out of range, the start is of another length or not finite, or the text is too short.
    pub fn new(
        backend: &B,
        gpt: &Gpt,
        corpus: &Arc<Corpus>,
        recipe: &Recipe,
        (b, t): (usize, usize),
        start: Option<&[f32]>,
    ) -> Result<Self> {
        let mut trainer = Trainer::new(backend, gpt, recipe, b, t)?;
        if let Some(start) = start {
            if let Some(i) = start.iter().position(|v| !v.is_finite()) {
                let what = format!("start[{i}]");
                return Err(Error::out_of_range(what, "a finite number", start[i]));
            }
            trainer.start_at(start)?;
        }
        let windows = match corpus.has_text() {
            true => Some(Windows::all(corpus.train.len(), t)?),
            false => None,
        };
        let header = Header {
            config: json!({"recipe": recipe, "batch": [b, t]}).to_string(),
            model: gpt.config().json()?,
            seed: recipe.seed,
            corpus_sha256: corpus.sha256,
            vocabulary: corpus.tokenizer.vocabulary(),
            ..Header::new(Kind::Training)
        };
        Ok(Self {
            backend: backend.clone(),
            trainer,
            recipe: recipe.clone(),
            corpus: corpus.clone(),
            windows,
            batch: Batch::new(b, t)?,
            losses: RecentLosses::default(),
            best: None,
            header,
        })
    }

    /// Makes one step on a batch that is a function of (seed, step), and returns the batch's mean loss in nats before it.
    ///
    /// # Errors
    /// Returns the errors of [`Trainer::step`], and [`Error::Conflict`] without a text.
    pub fn step(&mut self) -> Result<f64> {
        let none = || {
            Error::conflict("there is no text to take a batch from: step on a batch of your own")
        };
        let windows = self.windows.as_ref().ok_or_else(none)?;
        let (seed, step) = (self.recipe.seed, self.trainer.step_count());
        windows.fill(
            &self.corpus.train,
            seed,
            BASELINE_CHAIN,
            step,
            &mut self.batch,
        )?;
        let loss = self.trainer.step(&self.batch)?;
        self.losses.add(loss);
        Ok(loss)
    }

    /// Makes one step on a batch of the caller's, of (B, T) tokens at most, and returns its mean loss in nats before it.
    ///
    /// # Errors
    /// Returns the errors of [`Trainer::step`].
    pub fn step_on(&mut self, batch: &Batch) -> Result<f64> {
        let loss = self.trainer.step(batch)?;
        self.losses.add(loss);
        Ok(loss)
    }

    /// Returns (B, T).
    pub fn batch_shape(&self) -> (usize, usize) {
        (self.batch.b, self.batch.t)
    }

    /// Returns the parameters, (n_params).
    pub fn params(&self) -> &B::Vector {
        self.trainer.params()
    }

    /// Keeps the parameters where `score`, the lower the better, such as a loss on text that no step has seen, is below every one before. Returns whether
    /// it is.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a score that is not finite; [`Error::OutOfMemory`]; when the device cannot be read.
    pub fn keep_best(&mut self, score: f64) -> Result<bool> {
        if !score.is_finite() {
            return Err(Error::out_of_range("score", "a finite number", score));
        }
        if self.best.as_ref().is_some_and(|best| best.score <= score) {
            return Ok(false);
        }
        self.best = Some(Best {
            score,
            step: self.trainer.step_count(),
            params: self.backend.get(self.trainer.params())?,
        });
        Ok(true)
    }

    /// Returns the parameters with the lowest score of [`TrainingRun::keep_best`], (n_params).
    ///
    /// # Errors
    /// [`Error::State`] where none were kept.
    pub fn best(&self) -> Result<&[f32]> {
        let none = || Error::state("no state was kept as the best yet: give its score first");
        Ok(&self.best.as_ref().ok_or_else(none)?.params)
    }

    /// Writes the whole state to a file, in the place of what may be there; it appears whole or not at all.
    ///
    /// # Errors
    /// Returns the errors of [`write`](crate::store::write) and of the device.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let (mut header, mut best) = (self.header.clone(), Vec::new());
        if let Some(found) = &self.best {
            let scalars = [(BEST_SCORE, found.score), (BEST_STEP, found.step as f64)];
            header.scalars = scalars.map(|(name, v)| (name.into(), v)).to_vec();
            best.push((BEST, TensorData::F32(&found.params)));
        }
        let of = (&self.backend, &self.trainer);
        training_file::write(path.as_ref(), header, of, &self.losses, best)
    }

    /// Goes on from what [`TrainingRun::save`] wrote, bit for bit. The other arguments are those of [`TrainingRun::new`].
    ///
    /// # Errors
    /// Returns the errors of [`TrainingRun::new`] and of [`Reader::open`]; [`Error::Mismatch`] with what differs for a training by another recipe, of
    /// another model or on another text; [`Error::BadHeader`] for numbers that no training has.
    pub fn resume(
        backend: &B,
        gpt: &Gpt,
        corpus: &Arc<Corpus>,
        recipe: &Recipe,
        batch: (usize, usize),
        path: impl AsRef<Path>,
    ) -> Result<Self> {
        let mut run = Self::new(backend, gpt, corpus, recipe, batch, None)?;
        let path = path.as_ref();
        let mut file = Reader::open(path, Kind::Training)?;
        run.losses = training_file::read(path, &mut file, &run.header, &mut run.trainer)?;
        let step = file.header().step;
        if file.tensors().iter().any(|t| t.name == BEST) {
            let (score, at) = (file.scalar(BEST_SCORE)?, file.scalar(BEST_STEP)?);
            if !score.is_finite() || !(0.0..=MOST_STEPS.min(step as f64)).contains(&at) {
                return Err(Error::BadHeader {
                    path: path.into(),
                    message: format!("a best score of {score} after {at} steps"),
                });
            }
            let mut params = memory::zeros(gpt.n_params(), "a model's parameters")?;
            file.read_f32(BEST, &mut params)?;
            let step = at as u64;
            run.best = Some(Best {
                score,
                step,
                params,
            });
        }
        Ok(run)
    }
}

impl<B: Backend> From<&TrainingRun<B>> for Report {
    fn from(run: &TrainingRun<B>) -> Self {
        let step = run.trainer.step_count();
        let rate = run.recipe.learning_rate_at(step);
        Self::new()
            .row("steps", step, "how many were made")
            .row(
                "iters",
                run.recipe.iters,
                "steps that the learning rate's schedule is for",
            )
            .row("learning_rate", rate, "of the next step")
            .row(
                "loss",
                run.losses.last(),
                "of the last step's batch before it, nats per token",
            )
            .row(
                "recent_loss",
                run.losses.mean(),
                "mean of the last 50 steps' losses, nats per token",
            )
            .row(
                "best.score",
                run.best.as_ref().map(|b| b.score),
                "the lowest score that was given",
            )
            .row(
                "best.steps",
                run.best.as_ref().map(|b| b.step as f64),
                "how many were made then",
            )
    }
}
