//! The training of a deterministic model, one batch at a time: on its own batches or the caller's, from the start or from a file, with the best state so
//! far by the caller's score.

use super::Report;
use crate::backend::{Backend, Transfer};
use crate::baseline::{Recipe, Trainer};
use crate::data::{Batch, Corpus, Windows};
use crate::error::{Error, Result};
use crate::gpt::Gpt;
use crate::inference::baseline_cache::BASELINE_CHAIN;
use crate::memory;
use crate::store::{self, Fetch, Header, Kind, Reader, TensorData};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// Steps whose losses are averaged for the report.
const RECENT: usize = 50;
/// Names in the file.
const LOSSES: &str = "losses";
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
    losses: Vec<f64>, // of the last steps, oldest first
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
            losses: memory::room(RECENT, "recent losses")?,
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
        self.add(loss);
        Ok(loss)
    }

    /// Makes one step on a batch of the caller's, of (B, T) tokens at most, and returns its mean loss in nats before it.
    ///
    /// # Errors
    /// Returns the errors of [`Trainer::step`].
    pub fn step_on(&mut self, batch: &Batch) -> Result<f64> {
        let loss = self.trainer.step(batch)?;
        self.add(loss);
        Ok(loss)
    }

    fn add(&mut self, loss: f64) {
        if self.losses.len() == RECENT {
            self.losses.remove(0);
        }
        self.losses.push(loss);
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
    /// Returns the errors of [`store::write`] and of the device.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut header = Header {
            step: self.trainer.step_count(),
            ..self.header.clone()
        };
        let (be, state) = (&self.backend, self.trainer.state());
        let len = be.len(self.trainer.params());
        let fetch: Vec<_> = state.iter().map(|&(_, v)| move || be.get(v)).collect();
        let mut tensors = vec![(LOSSES, TensorData::F64(&self.losses))];
        for ((name, _), get) in state.iter().zip(&fetch) {
            tensors.push((name, TensorData::Fetch(Fetch { len, get })));
        }
        if let Some(best) = &self.best {
            let scalars = [(BEST_SCORE, best.score), (BEST_STEP, best.step as f64)];
            header.scalars = scalars.map(|(name, v)| (name.into(), v)).to_vec();
            tensors.push((BEST, TensorData::F32(&best.params)));
        }
        store::write(path.as_ref(), &header, &tensors)
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
        run.check(path, file.header())?;
        let bad = |message: String| Error::BadHeader {
            path: path.into(),
            message,
        };
        let step = file.header().step;
        let (n, wanted) = (file.tensor(LOSSES)?.len, step.min(RECENT as u64));
        if n != wanted {
            return Err(bad(format!(
                "{n} losses after {step} steps, expected {wanted}"
            )));
        }
        run.losses.resize(n as usize, 0.0);
        file.read_f64(LOSSES, &mut run.losses)?;
        run.trainer
            .restore(step, |name, to| file.read_f32(name, to))?;
        if file.tensors().iter().any(|t| t.name == BEST) {
            let (score, at) = (file.scalar(BEST_SCORE)?, file.scalar(BEST_STEP)?);
            if !score.is_finite() || !(0.0..=MOST_STEPS.min(step as f64)).contains(&at) {
                return Err(bad(format!("a best score of {score} after {at} steps")));
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

    fn check(&self, path: &Path, got: &Header) -> Result<()> {
        let own = &self.header;
        let hex = |sha: &[u8; 32]| store::hex(sha);
        let pairs = [
            ("training", own.config.clone(), got.config.clone()),
            ("model", own.model.clone(), got.model.clone()),
            ("corpus", hex(&own.corpus_sha256), hex(&got.corpus_sha256)),
            ("vocabulary", own.vocabulary.clone(), got.vocabulary.clone()),
        ];
        match pairs.into_iter().find(|(_, own, got)| own != got) {
            None => Ok(()),
            Some((what, expected, got)) => Err(Error::Mismatch {
                path: path.into(),
                what: what.into(),
                expected,
                got,
            }),
        }
    }
}

impl<B: Backend> From<&TrainingRun<B>> for Report {
    fn from(run: &TrainingRun<B>) -> Self {
        let (step, n) = (run.trainer.step_count(), run.losses.len());
        let recent = run.losses.iter().sum::<f64>() / n as f64;
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
                run.losses.last().copied(),
                "of the last step's batch before it, nats per token",
            )
            .row(
                "recent_loss",
                recent,
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
