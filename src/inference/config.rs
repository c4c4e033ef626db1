//! What a session is made of, as plain data: a method, how batches are made, and what is read off on the way.

use crate::data::{Batches, Corpus, Order, Windows};
use crate::error::{Error, Result};
use crate::gpt::{Gpt, Objective};
use crate::posterior::Prior;
use crate::samplers::{AutoStep, ChainConfig, GaussianConfig, Preconditioner};
use crate::store::SampleId;
use std::sync::Arc;

/// How many missing samples are listed.
const MOST_MISSING: usize = 1_000_000;

/// A chain or a fit, with all that its steps depend on.
#[derive(Clone, Debug, PartialEq)]
pub enum Inference {
    /// A chain that samples.
    Chain {
        /// Its method, hyperparameters and length.
        sampler: ChainConfig,
        /// How its mass is chosen; [`Preconditioner::None`] with gradients of the caller's.
        preconditioner: Preconditioner,
        /// The search for its step size while it warms up, if there is to be one.
        auto_step: Option<AutoStep>,
    },
    /// A fit of normals.
    Fit {
        /// Its method and hyperparameters; on a model's posterior the steps are replaced with the epochs'.
        config: GaussianConfig,
        /// Sweeps over the data, at least 1; with gradients of the caller's, the steps are the configuration's.
        epochs: u64,
    },
}

impl Inference {
    /// Returns the seed of everything random.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Chain { sampler, .. } => sampler.seed,
            Self::Fit { config, .. } => config.seed,
        }
    }

    /// Returns which chain or which fit of the seed it is.
    pub fn chain(&self) -> u32 {
        match self {
            Self::Chain { sampler, .. } => sampler.chain,
            Self::Fit { config, .. } => config.chain,
        }
    }

    /// Returns the same with a fit's steps counted: its epochs of `per_epoch` batches each.
    pub(super) fn counted(&self, per_epoch: u64) -> Self {
        let mut counted = self.clone();
        if let Self::Fit { config, epochs } = &mut counted {
            config.steps = epochs.saturating_mul(per_epoch);
        }
        counted
    }

    /// Returns the gradients that estimate the mass.
    pub fn mass_steps(&self) -> u64 {
        match self {
            Self::Chain { preconditioner, .. } => preconditioner.steps(),
            Self::Fit { .. } => 0,
        }
    }

    /// Returns the steps before sampling, those that estimate the mass among them; 0 for a fit.
    pub fn steps_before_sampling(&self) -> u64 {
        match self {
            Self::Chain {
                sampler,
                preconditioner,
                ..
            } => preconditioner.steps().saturating_add(sampler.warmup_steps),
            Self::Fit { .. } => 0,
        }
    }

    /// Returns the samples that a chain has taken in `made` steps but that are not among `there`, which is sorted; nothing for a fit, whose samples are
    /// drawn at its end.
    ///
    /// # Errors
    /// [`Error::Conflict`] for more than 1,000,000, which no run has lost: what says how long it is was forged.
    pub fn missing(&self, chain: u32, made: u64, there: &[SampleId]) -> Result<Vec<SampleId>> {
        let missing: Vec<SampleId> = (self.sample_steps())
            .take_while(|&step| step <= made)
            .map(|step| SampleId { chain, step })
            .filter(|id| there.binary_search(id).is_err())
            .take(MOST_MISSING + 1)
            .collect();
        match missing.len() {
            0..=MOST_MISSING => Ok(missing),
            _ => Err(Error::conflict(format!(
                "chain {chain} has made {made} steps, but more than {MOST_MISSING} of its samples are missing: the run's settings or its checkpoint \
                 are not its own"
            ))),
        }
    }

    /// Returns how many steps the chain has made at each of its samples, in order.
    fn sample_steps(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        let Self::Chain { sampler, .. } = self else {
            return Box::new(std::iter::empty());
        };
        let before = self.steps_before_sampling();
        let thinning = sampler.thinning.max(1);
        let due = (1..=sampler.sampling_steps / thinning).map(move |i| i * thinning);
        Box::new(
            due.filter(|i| !sampler.explores(sampler.warmup_steps + i - 1))
                .map(move |i| before + i),
        )
    }

    /// Returns the gradients that the first `steps` steps take.
    pub fn gradients(&self, steps: u64) -> u64 {
        match self {
            Self::Chain { preconditioner, .. } => {
                let mass = steps.min(preconditioner.steps());
                let moves = steps - mass;
                mass.saturating_add(moves.saturating_mul(preconditioner.gradients_a_step()))
            }
            Self::Fit { config, .. } => steps.saturating_mul(config.gradients_per_step()),
        }
    }
}

/// The settings of a session on a model's posterior.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionConfig {
    /// The chain or the fit.
    pub inference: Inference,
    /// Which positions count as data.
    pub objective: Objective,
    /// What the mean log likelihood is multiplied by, at least 1; counted by [`count_data`] when none.
    pub num_data: Option<f64>,
    /// Power of the likelihood, above 0.
    pub likelihood_weight: f64,
    /// How windows become batches.
    pub batches: BatchConfig,
    /// What is read off a chain on its way.
    pub monitors: MonitorConfig,
}

/// How the windows of a text become batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// Sequences per batch, B.
    pub size: usize,
    /// Tokens per window, T, at most the model's block.
    pub window: usize,
    /// How batches follow each other.
    pub order: Order,
    /// How many windows are chosen to be the data; all of them when none, or when the text has fewer.
    pub chosen: Option<usize>,
}

impl BatchConfig {
    /// Returns the batches of a text of `n_tokens` tokens; `seed` chooses the windows.
    ///
    /// # Errors
    /// When the text is shorter than a window, or a sweep has fewer windows than a batch.
    pub fn batches(&self, n_tokens: usize, seed: u64) -> Result<Batches> {
        let (t, all) = (self.window, n_tokens.saturating_sub(self.window));
        let windows = match self.chosen {
            Some(count) if count < all => Windows::subset(n_tokens, t, count, seed)?,
            _ => Windows::all(n_tokens, t)?,
        };
        Batches::new(windows, self.order, self.size)
    }
}

/// Counts the data that the mean log likelihood runs over in a text of `n_tokens` tokens: distinct target tokens, or windows.
pub fn count_data(objective: Objective, windows: &Windows, n_tokens: usize) -> f64 {
    let n = windows.num_windows();
    match objective {
        // Chosen windows may overlap; a token is data once.
        Objective::All => n.saturating_mul(windows.window_len()).min(n_tokens - 1) as f64,
        Objective::Last => n as f64,
    }
}

/// What is read off a chain on its way, and how often. 0 everywhere reads nothing but the [`Trace`](super::monitors::Trace).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MonitorConfig {
    /// Sampling steps between two looks at the temperature of each tensor.
    pub temperature_every: u64,
    /// Sampling steps between two looks at the loss over the start's.
    pub llc_every: u64,
    /// Tokens of the validation split whose log-probabilities are recorded.
    pub probe_tokens: usize,
    /// Sampling steps between two draws of them; at least 1 where there are any.
    pub probe_every: u64,
}

/// The posterior that a session moves in, and where it begins.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The model.
    pub gpt: &'a Gpt,
    /// The text.
    pub corpus: &'a Arc<Corpus>,
    /// The prior.
    pub prior: &'a Prior,
    /// The parameters that it starts from, (n_params).
    pub start: &'a [f32],
    /// Their checksum, for a caller who keeps them in a file: a saved chain then leaves them out, and goes on only from the same ones.
    pub start_sha256: Option<[u8; 32]>,
}

impl Target<'_> {
    /// Returns whether the prior is centred at the start.
    pub fn prior_is_about_the_start(&self) -> bool {
        self.prior.center.as_deref() == Some(self.start)
    }

    /// Checks that model, text and start belong together.
    pub(super) fn check(&self) -> Result<()> {
        self.gpt.layout().check(self.start)?;
        let (v, characters) = (
            self.gpt.config().vocab_size,
            self.corpus.tokenizer.vocab_size(),
        );
        if v == characters {
            Ok(())
        } else {
            Err(Error::out_of_range(
                "corpus",
                format!("{v} characters, as the model has"),
                characters,
            ))
        }
    }
}
