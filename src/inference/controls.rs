//! What else could be made of as many gradients: AdamW from the same start, and its states averaged in the ways that cost nothing more.

use super::baseline_cache::{Kept, Training, Watch};
use super::held_out::{HeldOutScores, score_held_out};
use super::scoring::{Models, Paired};
use super::snapshots::Snapshots;
use crate::backend::Backend;
use crate::baseline::{Recipe, Selection};
use crate::data::{Corpus, HeldOut};
use crate::error::Result;
use crate::gpt::Gpt;
use crate::memory;
use crate::store::{Provenance, Store};
use serde::Serialize;
use std::path::Path;

/// A run of AdamW at a constant rate that takes as many gradients as the samples did, from where they began, and keeps as many of its states.
#[derive(Clone, Copy, Debug)]
pub struct AdamwRun<'a> {
    /// The text.
    pub corpus: &'a Corpus,
    /// The model.
    pub gpt: &'a Gpt,
    /// The recipe of the baseline, whose peak rate is kept to the end.
    pub recipe: &'a Recipe,
    /// Sequences and tokens of a batch, B and T.
    pub batch: (usize, usize),
    /// Where it starts, (n_params). Adam's means begin at 0.
    pub start: &'a [f32],
    /// Gradients in all.
    pub gradients: u64,
    /// Gradients before the first interval, and of each: a state is kept at the end of an interval, as many as there are samples.
    pub kept: (u64, u64),
    /// What the kept states' files say that they are of.
    pub provenance: &'a Provenance,
}

/// What such a run left.
#[derive(Debug)]
pub struct AdamwStates {
    /// The best state by the choosing half, of the parameters and their moving averages.
    pub best: Kept,
    /// The states that were kept on the way.
    pub snapshots: Store,
    /// The mean of their weights, (n_params).
    pub mean: Vec<f32>,
}

impl AdamwRun<'_> {
    /// Makes the run and keeps it in a folder, or takes it from there. A run that was broken off goes on bit for bit, as [`Training::once`] has it.
    ///
    /// # Errors
    /// Returns the errors of [`Training::once`] and of [`Store::resume`].
    pub fn once<B: Backend>(
        &self,
        backend: &B,
        folder: &Path,
        checkpoint_every: u64,
        watch: &mut impl Watch,
    ) -> Result<AdamwStates> {
        let recipe = Recipe {
            iters: self.gradients,
            final_fraction: 1.0,
            // The baseline's batches are those of its seed.
            seed: self.recipe.seed.wrapping_add(1 << 32),
            ..self.recipe.clone()
        };
        let selection = Selection {
            patience: 0,
            ..Selection::default()
        };
        let (after, every) = self.kept;
        let states = folder.join("snapshots");
        let snapshots = Snapshots {
            folder: &states,
            provenance: self.provenance,
            after,
            every,
        };
        let training = Training {
            selection: Some(&selection),
            start: Some(self.start),
            snapshots: Some(snapshots),
            ..Training::new(self.corpus, self.gpt, &recipe, self.batch)
        };
        let best = training.once(backend, folder, checkpoint_every, watch)?;
        let snapshots = Store::resume(&states, self.provenance.clone())?;
        let mean = mean_of(&snapshots, self.gpt.n_params())?;
        Ok(AdamwStates {
            best,
            snapshots,
            mean,
        })
    }
}

/// Returns the mean of a store's parameters (stochastic weight averaging: Izmailov et al. 2018, "Averaging weights leads to wider optima and better
/// generalization").
fn mean_of(store: &Store, n: usize) -> Result<Vec<f32>> {
    let of = "a mean of models";
    let mut sum: Vec<f64> = memory::zeros(n, of)?;
    store.for_each(0..store.len(), |_, params| {
        let each = sum.iter_mut().zip(params);
        each.for_each(|(sum, &p)| *sum += f64::from(p));
        Ok(())
    })?;
    let count = store.len() as f64;
    memory::collect(sum.iter().map(|sum| (sum / count) as f32), of)
}

/// A prediction that the samples' average is compared with.
#[derive(Clone, Debug)]
pub struct Contender<'a> {
    /// Its name in files.
    pub name: &'static str,
    /// What it is, for people.
    pub what: String,
    /// Gradients that it took beyond the baseline's, or in all where it begins anew.
    pub gradients: u64,
    /// The models whose predictions are averaged.
    pub models: Models<'a>,
    /// The average of its first models alone, as many as predict the part to choose by best, where that is compared too.
    pub first: Option<FirstModels>,
}

/// How the average of a contender's first models is called.
#[derive(Clone, Copy, Debug)]
pub struct FirstModels {
    /// Its name in files.
    pub name: &'static str,
    /// Returns what it is, for people, from how many models it has.
    pub what: fn(usize) -> String,
}

/// A contender's scores beside those of the samples' average.
#[derive(Clone, Debug, Serialize)]
pub struct Control {
    /// Its name in files.
    pub name: &'static str,
    /// What it is, for people.
    pub what: String,
    /// Models whose predictions are averaged.
    pub models: usize,
    /// Gradients that it took beyond the baseline's, or in all where it begins anew.
    pub gradients: u64,
    /// Loss on the part to choose by, nats per token.
    pub loss_choosing: f64,
    /// Loss on the part to report on, nats per token.
    pub loss: f64,
    /// The temperature that the part to choose by fits.
    pub temperature: f64,
    /// Loss on the part to choose by at that temperature.
    pub loss_choosing_scaled: f64,
    /// Loss on the part to report on at that temperature.
    pub loss_scaled: f64,
    /// How well its models' mutual information tells the part to report on from its tokens in random order, 1/2 to 1; none for one model.
    pub shuffled_auroc: Option<f64>,
    /// The average's losses minus these, on the part to report on.
    pub average_against: Paired,
    /// That difference with both at the temperatures that the part to choose by fits to them.
    pub average_against_scaled: Paired,
}

impl Control {
    /// Compares the average with a contender whose scores are known.
    ///
    /// # Errors
    /// Returns the errors of [`Paired::new`].
    pub fn new(
        of: &Contender<'_>,
        scores: &HeldOutScores,
        average: &HeldOutScores,
        seed: u64,
    ) -> Result<Self> {
        let (a, b) = (&average.reporting, &scores.reporting);
        Ok(Self {
            name: of.name,
            what: of.what.clone(),
            models: of.models.count(),
            gradients: of.gradients,
            loss_choosing: scores.choosing_loss(),
            loss: scores.loss(),
            temperature: scores.temperature,
            loss_choosing_scaled: scores.choosing_scaled,
            loss_scaled: scores.loss_scaled(),
            shuffled_auroc: scores.shuffled_auroc,
            average_against: Paired::new(&a.nll, &b.nll, seed)?,
            average_against_scaled: Paired::new(
                &average.reporting_scaled,
                &scores.reporting_scaled,
                seed,
            )?,
        })
    }
}

/// Scores contenders on both parts of a text and compares the samples' average with each; `done` hears how many windows times models are scored.
///
/// # Errors
/// Returns the errors of [`score_held_out`] and of [`Control::new`].
pub fn compare_with<B: Backend>(
    backend: &B,
    gpt: &Gpt,
    text: &HeldOut<'_>,
    contenders: &[Contender<'_>],
    average: &HeldOutScores,
    seed: u64,
    mut done: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<Control>> {
    let all: usize = text.windows(gpt.config().block_size).iter().sum();
    let (mut before, mut controls) = (0, Vec::new());
    for of in contenders {
        let scores = score_held_out(backend, gpt, text, &of.models, |n| done(before + n))?;
        before += all * of.models.count();
        controls.push(Control::new(of, &scores, average, seed)?);
        let Some(FirstModels { name, what }) = of.first else {
            continue;
        };
        let best = least(&scores.choosing.average_nll);
        if let Some(models) = of.models.first(best) {
            let first = Contender {
                name,
                what: what(best),
                models,
                ..of.clone()
            };
            let scores = score_held_out(backend, gpt, text, &first.models, |_| done(before))?;
            controls.push(Control::new(&first, &scores, average, seed)?);
        }
    }
    Ok(controls)
}

/// Returns how many models' average loses least.
fn least(average_nll: &[f64]) -> usize {
    let each = average_nll.iter().enumerate();
    let least = each.min_by(|a, b| a.1.total_cmp(b.1));
    least.map_or(0, |(at, _)| at + 1)
}

/// Returns the control that loses least on the part to choose by, each at its own temperature: the one that the average has to beat.
pub fn best<'a>(controls: impl IntoIterator<Item = &'a Control>) -> Option<&'a Control> {
    let by_loss =
        |a: &&Control, b: &&Control| a.loss_choosing_scaled.total_cmp(&b.loss_choosing_scaled);
    controls.into_iter().min_by(by_loss)
}

/// Returns the standard error of a mean over independent chains, from each one's value: what the text's error does not know. None for one chain.
pub fn error_over_chains(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt())
}
