//! The deterministic model: nanoGPT's recipe of AdamW, one batch at a time. Posterior chains start from its result.
//!
//! AdamW (Loshchilov & Hutter 2019, algorithm 2) with decay on matrices only, the gradient clipped to norm 1, a linear
//! warm-up and a cosine to a tenth of the learning rate, as nanoGPT's `train.py`.

mod selection;

pub use selection::Selection;

use crate::backend::vectors::{AdamW, Combine, Vectors};
use crate::backend::{Backend, Objective, Transfer};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::gpt::{Gpt, TokenBatch, Training, Workspace};
use crate::memory;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How the deterministic model is trained. The defaults are nanoGPT's for a small character model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Number of steps, at least 1.
    pub iters: u64,
    /// Peak learning rate, above 0.
    pub learning_rate: f64,
    /// Steps of linear warm-up. With as many as `iters`, or more, the peak is not reached.
    pub warmup_iters: u64,
    /// The last learning rate as a share of the peak, 0 to 1.
    pub final_fraction: f64,
    /// Decoupled weight decay on matrices.
    pub weight_decay: f64,
    /// Adam's decay of the gradient's mean.
    pub beta1: f64,
    /// Adam's decay of the squared gradient's mean.
    pub beta2: f64,
    /// The gradient's largest norm; 0 does not clip.
    pub grad_clip: f64,
    /// Seed of the initial parameters, the batches and dropout.
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            iters: 2000,
            learning_rate: 1e-3,
            warmup_iters: 100,
            final_fraction: 0.1,
            weight_decay: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            grad_clip: 1.0,
            seed: 1337,
        }
    }
}

impl Recipe {
    /// Returns the learning rate at a step, counted from 0.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let (peak, last) = (self.learning_rate, self.learning_rate * self.final_fraction);
        if step < self.warmup_iters {
            return peak * (step as f64 + 1.0) / (self.warmup_iters as f64 + 1.0);
        }
        let span = self.iters.saturating_sub(self.warmup_iters).max(1);
        let share = ((step - self.warmup_iters) as f64 / span as f64).min(1.0);
        last + 0.5 * (1.0 + (std::f64::consts::PI * share).cos()) * (peak - last)
    }

    /// Checks that every value is in its range.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self) -> Result<()> {
        let within = |what: &str, ok: bool, range: &str, v: f64| {
            if ok {
                Ok(())
            } else {
                Err(Error::out_of_range(what, range, v))
            }
        };
        let unit = |v: f64| (0.0..1.0).contains(&v);
        let positive = self.learning_rate > 0.0 && self.learning_rate.is_finite();
        within(
            "baseline_iters",
            self.iters > 0,
            "at least 1",
            self.iters as f64,
        )?;
        within(
            "baseline_learning_rate",
            positive,
            "above 0",
            self.learning_rate,
        )?;
        let share = (0.0..=1.0).contains(&self.final_fraction);
        within("final_fraction", share, "0 to 1", self.final_fraction)?;
        let decay = self.weight_decay >= 0.0 && self.weight_decay.is_finite();
        within("weight_decay", decay, "at least 0", self.weight_decay)?;
        within("beta1", unit(self.beta1), "0 to below 1", self.beta1)?;
        within("beta2", unit(self.beta2), "0 to below 1", self.beta2)?;
        let clip = self.grad_clip >= 0.0 && self.grad_clip.is_finite();
        within("grad_clip", clip, "at least 0", self.grad_clip)
    }
}

/// A model in training. One thread at a time.
pub struct Trainer<B: Backend> {
    backend: B,
    gpt: Gpt,
    recipe: Recipe,
    step: u64,
    decayed: Vec<Range<usize>>,
    params: B::Vector,
    grad: B::Vector,
    m: B::Vector,
    v: B::Vector,
    averages: Vec<Average<B>>,
    ws: Workspace<B>,
}

/// An exponential moving average of the parameters over the steps.
struct Average<B: Backend> {
    name: String,
    decay: f64,
    params: B::Vector,
}

impl<B: Backend> Trainer<B> {
    /// Creates the training of a model at its initial parameters, for batches of up to `b` sequences of `t` tokens.
    ///
    /// # Errors
    /// When the recipe is out of range or the device has no room.
    pub fn new(backend: &B, gpt: &Gpt, recipe: &Recipe, b: usize, t: usize) -> Result<Self> {
        recipe.check()?;
        let n = gpt.n_params();
        let mut params = backend.zeros(n)?;
        backend.upload(&mut params, &gpt.layout().initial(recipe.seed)?)?;
        let decayed = gpt
            .layout()
            .decayed()
            .filter_map(|(range, decays)| decays.then_some(range))
            .collect();
        Ok(Self {
            backend: backend.clone(),
            gpt: gpt.clone(),
            recipe: recipe.clone(),
            step: 0,
            decayed,
            params,
            grad: backend.zeros(n)?,
            m: backend.zeros(n)?,
            v: backend.zeros(n)?,
            averages: Vec::new(),
            ws: Workspace::for_gradients(backend, gpt.config(), b, t)?,
        })
    }

    /// Begins at these parameters, (n_params), in place of the initial ones, before the first step. Adam's means begin at 0.
    ///
    /// # Errors
    /// [`Error::State`] after the first step; [`Error::Shape`] for another length.
    pub fn start_at(&mut self, params: &[f32]) -> Result<()> {
        self.before_the_first_step("the start")?;
        self.gpt.layout().check(params)?;
        self.backend.upload(&mut self.params, params)?;
        for average in &mut self.averages {
            self.backend.upload(&mut average.params, params)?;
        }
        Ok(())
    }

    /// Keeps an exponential moving average of the parameters for each of these decays, in [0, 1), from the present parameters on: after step t, counted
    /// from 1, the average moves to the parameters by 1 - min(decay, t / (t + 9)). The smaller decay at the front keeps the start from weighing on it.
    ///
    /// # Errors
    /// [`Error::State`] after the first step; [`Error::OutOfRange`] for a decay; when the device has no room.
    pub fn average(&mut self, decays: &[f64]) -> Result<()> {
        self.before_the_first_step("averages")?;
        let each = decays.iter().enumerate().map(|(i, &decay)| {
            if !(0.0..1.0).contains(&decay) {
                return Err(Error::out_of_range(
                    "decay of an average",
                    "0 to below 1",
                    decay,
                ));
            }
            let mut params = self.backend.zeros(self.gpt.n_params())?;
            let name = format!("average.{i}");
            self.backend
                .combine(&mut params, Combine::Copy(&self.params))?;
            Ok(Average {
                name,
                decay,
                params,
            })
        });
        self.averages = each.collect::<Result<_>>()?;
        Ok(())
    }

    fn before_the_first_step(&self, what: &str) -> Result<()> {
        match self.step {
            0 => Ok(()),
            made => Err(Error::state(format!(
                "{what} must be set before the first step, and {made} were made: make another trainer"
            ))),
        }
    }

    /// Steps taken.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// Returns the parameters, (n_params).
    pub fn params(&self) -> &B::Vector {
        &self.params
    }

    /// Returns the averages of [`Trainer::average`], each with its decay, (n_params).
    pub fn averages(&self) -> impl ExactSizeIterator<Item = (f64, &B::Vector)> {
        self.averages.iter().map(|a| (a.decay, &a.params))
    }

    /// Returns what the next step depends on beside the step's number, by name: the parameters, AdamW's two running means, and the averages,
    /// (n_params) each.
    pub fn state(&self) -> Vec<(&str, &B::Vector)> {
        let own = [
            ("params", &self.params),
            ("adam.mean", &self.m),
            ("adam.squares", &self.v),
        ];
        let averages = self.averages.iter().map(|a| (a.name.as_str(), &a.params));
        own.into_iter().chain(averages).collect()
    }

    /// Goes on from where a training of this model by this recipe was: after `step` steps, with the vectors of [`Trainer::state`], each of which `read`
    /// fills.
    ///
    /// # Errors
    /// For more steps than the recipe has, and those of `read`: the training is then to be made anew.
    pub fn restore(
        &mut self,
        step: u64,
        mut read: impl FnMut(&str, &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        let iters = self.recipe.iters;
        if step > iters {
            return Err(Error::out_of_range(
                "steps made",
                format!("at most {iters}"),
                step,
            ));
        }
        let mut host = memory::zeros(self.gpt.n_params(), "a model's parameters")?;
        let own = [
            ("params", &mut self.params),
            ("adam.mean", &mut self.m),
            ("adam.squares", &mut self.v),
        ];
        let averages = self.averages.iter_mut();
        let averages = averages.map(|a| (a.name.as_str(), &mut a.params));
        for (name, to) in own.into_iter().chain(averages) {
            read(name, &mut host)?;
            self.backend.upload(to, &host)?;
        }
        self.step = step;
        Ok(())
    }

    /// Returns the parameters alone: everything else that training took is given back.
    pub fn into_params(self) -> B::Vector {
        self.params
    }

    /// Makes one step on one batch, and returns the batch's mean loss in nats before it.
    ///
    /// # Errors
    /// When the batch does not fit, or the loss or the gradient is not finite: the parameters are then those before the step. When the step
    /// makes a parameter that is not finite, training is lost.
    pub fn step(&mut self, batch: &Batch) -> Result<f64> {
        let training = Training {
            seed: self.recipe.seed,
            step: self.step,
        };
        let of = TokenBatch::new(&batch.x, &batch.y, batch.t, Objective::All);
        let (be, ws, grad) = (&self.backend, &mut self.ws, &mut self.grad);
        (self.gpt).launch_gradient(be, &self.params, of, Some(training), ws, grad)?;
        let adamw = AdamW {
            lr: self.recipe.learning_rate_at(self.step),
            beta1: self.recipe.beta1,
            beta2: self.recipe.beta2,
            eps: 1e-8,
            weight_decay: self.recipe.weight_decay,
            step: self.step + 1,
            grad_scale: 1.0,
            clip: self.recipe.grad_clip,
        };
        let record = &mut self.ws.record;
        be.sum_of_squares(&self.grad, record)?;
        be.adamw_update(
            &mut self.params,
            &self.grad,
            &mut self.m,
            &mut self.v,
            &self.decayed,
            &adamw,
            record,
        )?;
        let found = be.read(record)?;
        let not_finite = |tensor: String, value: f64| Error::NotFinite {
            step: self.step,
            tensor,
            value: value as f32,
        };
        let loss = found.nll / of.count() as f64;
        if !loss.is_finite() {
            return Err(not_finite("loss".into(), loss));
        }
        for (what, x, at) in [
            ("gradient", &self.grad, found.gradient),
            ("params", &self.params, found.state),
        ] {
            if let Some(at) = at {
                let owner = self.gpt.layout().owner(at).map_or("", |t| &t.name);
                let value = be.element(x, at)?;
                return Err(not_finite(format!("{what} of {owner}"), value.into()));
            }
        }
        self.step += 1;
        self.follow()?;
        Ok(loss)
    }

    /// Moves the averages to the parameters that a step has made.
    fn follow(&mut self) -> Result<()> {
        for average in &mut self.averages {
            let (be, to) = (&self.backend, &mut average.params);
            follow(be, to, &self.params, average.decay, self.step)?;
        }
        Ok(())
    }
}

/// Moves an average to the parameters that step `step`, counted from 1, has made, by 1 - min(decay, t / (t + 9)).
pub(crate) fn follow<V: Vectors>(
    vectors: &V,
    average: &mut V::Vector,
    params: &V::Vector,
    decay: f64,
    step: u64,
) -> Result<()> {
    let t = step as f64;
    let kept = decay.min(t / (t + 9.0)) as f32;
    vectors.combine(average, Combine::Scale(kept))?;
    vectors.combine(average, Combine::Axpy(1.0 - kept, params))
}
