//! Which state of a training is kept: the one that predicts a held-out text best, of the parameters and of their moving averages.

use crate::backend::{Backend, Transfer};
use crate::baseline::{Selection, Trainer};
use crate::error::{Error, Result};
use crate::gpt::Gpt;
use crate::memory;
use crate::metrics::split_loss_watched;
use std::path::Path;

/// The most tokens of the held-out text that a look reads, from its front.
pub const CHECK_TOKENS: usize = 16_384;

/// What the looks at a held-out text saw, and which state they chose.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Steps between two looks.
    pub every: u64,
    /// Steps of the whole training.
    pub steps: u64,
    /// Decays of the averages, (K).
    pub decays: Vec<f64>,
    /// Losses at each look, nats per token: of the parameters, then of each average.
    pub curve: Vec<f64>, // (looks, 1 + K)
}

impl Chosen {
    /// Returns the smallest loss, nats per token. The first of equal ones counts.
    pub fn loss(&self) -> f64 {
        self.best().map_or(f64::NAN, |at| self.curve[at])
    }

    /// Returns the step after which the chosen state was there.
    pub fn step(&self) -> u64 {
        let look = self.best().map_or(0, |at| at / self.width()) as u64;
        ((look + 1) * self.every).min(self.steps)
    }

    /// Returns the decay of the chosen average, or none where the parameters themselves were best.
    pub fn decay(&self) -> Option<f64> {
        let at = self.best()? % self.width();
        at.checked_sub(1).map(|i| self.decays[i])
    }

    fn width(&self) -> usize {
        1 + self.decays.len()
    }

    fn best(&self) -> Option<usize> {
        let all = self.curve.iter().enumerate();
        all.min_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at)
    }
}

/// The looks of a training that goes on.
pub(super) struct Selector<'a> {
    plan: &'a Selection,
    tokens: &'a [u16],
    block: usize,
    iters: u64,
    n_params: usize,
    /// What was seen so far: (looks, 1 + K).
    pub curve: Vec<f64>,
    /// The best state so far, (n_params); empty before the first look.
    pub best: Vec<f32>,
}

impl<'a> Selector<'a> {
    /// Begins the looks at the front of a text, for a training of `iters` steps at most.
    ///
    /// # Errors
    /// Returns the errors of [`Selection::check`].
    pub fn new(plan: &'a Selection, tokens: &'a [u16], gpt: &Gpt, iters: u64) -> Result<Self> {
        plan.check()?;
        let block = gpt.config().block_size;
        let most = (CHECK_TOKENS / block).max(1) * block + 1;
        Ok(Self {
            plan,
            tokens: &tokens[..tokens.len().min(most)],
            block,
            iters,
            n_params: gpt.n_params(),
            curve: Vec::new(),
            best: Vec::new(),
        })
    }

    /// Returns how many looks there are by a step of a training of `iters` steps at most.
    fn looks(&self, step: u64) -> u64 {
        let last = step == self.iters && !step.is_multiple_of(self.plan.every);
        step / self.plan.every + u64::from(last)
    }

    /// Returns whether a look is still to be taken at a step.
    pub fn is_due(&self, step: u64) -> bool {
        self.taken() < self.looks(step)
    }

    /// Returns how many losses there are after a step at least and at most: a training that was stopped in a look has not its losses.
    pub fn lengths(&self, step: u64) -> (u64, u64) {
        let (looks, width) = (self.looks(step), 1 + self.plan.decays.len() as u64);
        let before = self.looks(step.saturating_sub(1));
        (before * width, looks * width)
    }

    /// Checks what a file gave.
    ///
    /// # Errors
    /// [`Error::BadHeader`] for a loss that is not finite, for a part of a look, and for another number of parameters than the model's.
    pub fn check(&self, path: &Path) -> Result<()> {
        let whole = self.curve.len().is_multiple_of(1 + self.plan.decays.len());
        let n = if self.curve.is_empty() {
            0
        } else {
            self.n_params
        };
        if whole && self.curve.iter().all(|l| l.is_finite()) && self.best.len() == n {
            return Ok(());
        }
        Err(Error::BadHeader {
            path: path.into(),
            message: format!(
                "{} losses on the held-out text and {} best parameters, expected finite losses, {} for each look, and {n} parameters",
                self.curve.len(),
                self.best.len(),
                1 + self.plan.decays.len()
            ),
        })
    }

    /// Returns how many looks were taken.
    pub fn taken(&self) -> u64 {
        (self.curve.len() / (1 + self.plan.decays.len())) as u64
    }

    /// Looks at the parameters and their averages as they are now.
    ///
    /// # Errors
    /// Those of `look`, which is asked while the text is read: the look then counts as not taken. When a loss is not finite.
    pub fn take<B: Backend>(
        &mut self,
        backend: &B,
        gpt: &Gpt,
        trainer: &Trainer<B>,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let averages = trainer.averages().map(|(_, params)| params);
        let states = std::iter::once(trainer.params()).chain(averages);
        let before = self.curve.iter().copied().fold(f64::INFINITY, f64::min);
        let (mut seen, mut best) = (Vec::with_capacity(1 + self.plan.decays.len()), None);
        let mut least = before;
        for state in states {
            let of = split_loss_watched(backend, gpt, state, self.tokens, self.block, &mut look)?;
            if !of.0.is_finite() {
                return Err(Error::NotFinite {
                    step: trainer.step_count(),
                    tensor: "loss on the held-out text".into(),
                    value: of.0 as f32,
                });
            }
            if of.0 < least {
                (least, best) = (of.0, Some(state));
            }
            seen.push(of.0);
        }
        if let Some(state) = best {
            if self.best.is_empty() {
                self.best = memory::zeros(gpt.n_params(), "the best parameters so far")?;
            }
            backend.download(state, &mut self.best)?;
        }
        memory::append(&mut self.curve, &seen, "losses on the held-out text")
    }

    /// Returns whether the best state is as old as the patience.
    pub fn is_over(&self, step: u64) -> bool {
        let (patience, chosen) = (self.plan.patience, self.chosen(step));
        patience > 0 && !self.curve.is_empty() && step - chosen.step() >= patience
    }

    /// Returns what was chosen by a step.
    pub fn chosen(&self, steps: u64) -> Chosen {
        Chosen {
            every: self.plan.every,
            steps,
            decays: self.plan.decays.clone(),
            curve: self.curve.clone(),
        }
    }
}
