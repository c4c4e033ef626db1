//! A chain on a GPT's posterior: one batch in, one step made, a report out.
//!
//! Joins a [`Posterior`] to a [`Sampler`] and runs the preconditioner first. Everything is a function of the seed and of the batches.

use super::preconditioner::{Estimate, Form};
use super::{
    AutoStep, Config, Diagonal, Factors, Phase, Preconditioner, Sampler, SamplerState,
    Temperatures, curvature,
};
use crate::backend::Backend;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::posterior::{LogPosterior, Posterior};
use crate::rng::{Purpose, Stream};

/// What one batch did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChainReport {
    /// Which batch this was, counted from 0 over the whole run, preconditioning included.
    pub step: u64,
    /// Warm-up (preconditioning included) or sampling.
    pub phase: Phase,
    /// The batch's log posterior at the parameters before the step.
    pub at: LogPosterior,
    /// Mean of m^2 / M over the parameters; `None` without momenta or while the mass is estimated.
    pub kinetic_temperature: Option<f64>,
    /// Minus the mean of (theta - theta_0) * grad; `None` while the mass is estimated.
    pub configurational_temperature: Option<f64>,
    /// Whether the parameters are now a sample to keep.
    pub sample_due: bool,
}

/// A chain's whole state as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainState {
    /// Gradients taken for the mass.
    pub preconditioned: u64,
    /// The sum of squares for the mass, while it is still needed.
    pub squares: Option<Vec<f32>>,
    /// The sampler's state.
    pub sampler: SamplerState,
}

/// A chain. One thread at a time.
pub struct Chain<B: Backend> {
    posterior: Posterior<B>,
    sampler: Sampler<B>,
    preconditioner: Preconditioner,
    preconditioned: u64,
    estimate: Option<Estimate<B>>,
    diagonal: Option<Diagonal<B>>, // of a live mass's divergence term
    temperatures: Option<Temperatures>,
    auto_step: Option<AutoStep>,
}

impl<B: Backend> Chain<B> {
    /// A chain that starts at `theta0`.
    ///
    /// # Errors
    /// As [`Sampler::new`], when the preconditioner's settings are out of range or it does not go with the method, and when theta0 is not of the model's size.
    pub fn new(
        backend: &B,
        posterior: Posterior<B>,
        theta0: &[f32],
        config: Config,
        preconditioner: Preconditioner,
    ) -> Result<Self> {
        preconditioner.check()?;
        preconditioner.check_method(config.method)?;
        posterior.gpt().layout().check(theta0)?;
        let estimate = match preconditioner.steps() {
            0 => None,
            _ => Some(Estimate::new(backend, theta0.len())?),
        };
        let (diagonal, posterior) = diagonal(backend, posterior, &config, preconditioner)?;
        let mut sampler = Sampler::new(backend.clone(), theta0, config)?;
        if preconditioner == Preconditioner::Prior {
            sampler.set_mass(&posterior.prior_curvature()?)?;
        }
        Ok(Self {
            sampler,
            posterior,
            preconditioner,
            preconditioned: 0,
            estimate,
            diagonal,
            temperatures: None,
            auto_step: None,
        })
    }

    /// A chain that goes on from a saved state, bit for bit as it would have without the break.
    ///
    /// # Errors
    /// As [`Chain::new`], and when the state does not fit.
    pub fn restore(
        backend: &B,
        posterior: Posterior<B>,
        config: Config,
        preconditioner: Preconditioner,
        state: &ChainState,
    ) -> Result<Self> {
        preconditioner.check()?;
        preconditioner.check_method(config.method)?;
        posterior.gpt().layout().check(&state.sampler.theta)?;
        let (taken, steps) = (state.preconditioned, preconditioner.steps());
        let (running, s) = (taken < steps, &state.sampler);
        let refuse =
            |expected: &str, got: String| Err(Error::invalid("chain state", expected, got));
        if taken > steps {
            return refuse(
                &format!("at most {steps} gradients for the mass"),
                taken.to_string(),
            );
        }
        if running && (s.step > 0 || s.mass.is_some() || s.live.is_some()) {
            let got = format!("step {} after {taken} of {steps} gradients", s.step);
            return refuse("no step and no mass while the mass is estimated", got);
        }
        let decay = match preconditioner {
            Preconditioner::Live { decay, .. } if !running => Some(decay),
            _ => None,
        };
        if s.live.as_ref().map(|l| l.decay) != decay {
            let name = |decay: Option<f64>| match decay {
                Some(decay) => format!("a live mass of decay {decay}"),
                None => "no live mass".into(),
            };
            let got = name(s.live.as_ref().map(|l| l.decay));
            return refuse(&name(decay), got);
        }
        let has_mass = (steps > 0 && decay.is_none()) || preconditioner == Preconditioner::Prior;
        if !running && s.mass.is_some() != has_mass {
            let got = format!(
                "{} after {steps}",
                s.mass.as_ref().map_or("none", |_| "a mass")
            );
            return refuse("a mass just after gradients were taken for it", got);
        }
        let adapting = !running && preconditioner.adapts(s.step, config.warmup_steps);
        let estimate = match (&state.squares, running || adapting) {
            (Some(squares), true) => {
                if squares.len() != s.theta.len() {
                    return Err(Error::shape(
                        "sums of squares",
                        [s.theta.len()],
                        [squares.len()],
                    ));
                }
                let mut e = Estimate::new(backend, squares.len())?;
                backend.upload(&mut e.squares, squares)?;
                e.weight = taken as f64;
                match preconditioner {
                    Preconditioner::Fisher { .. } => e.weight *= posterior.batch() as f64,
                    // The same roundings as step by step.
                    Preconditioner::Adaptive { decay, .. } => {
                        (0..s.step).for_each(|_| e.weight = e.weight * decay + 1.0);
                    }
                    _ => {}
                }
                Some(e)
            }
            (None, false) => None,
            (squares, _) => {
                let got = squares.as_ref().map_or("none", |_| "some");
                return refuse(
                    "sums of squares just while the mass is estimated",
                    format!("{got} after {taken} of {steps} gradients"),
                );
            }
        };
        let (diagonal, posterior) = diagonal(backend, posterior, &config, preconditioner)?;
        Ok(Self {
            sampler: Sampler::restore(backend.clone(), config, &state.sampler)?,
            posterior,
            preconditioner,
            preconditioned: state.preconditioned,
            estimate,
            diagonal,
            temperatures: None,
            auto_step: None,
        })
    }

    /// The state as plain data.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn state(&self) -> Result<ChainState> {
        let squares = self.estimate.as_ref().map(|e| &e.squares);
        Ok(ChainState {
            preconditioned: self.preconditioned,
            squares: squares.map(|s| self.sampler.vectors().get(s)).transpose()?,
            sampler: self.sampler.state()?,
        })
    }

    /// Advances by one batch.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the step and the tensor's name when the loss, the gradient or the state is NaN or infinite;
    /// [`Error::Invalid`] when the run is done or the batch does not fit.
    pub fn step(&mut self, batch: &Batch) -> Result<ChainReport> {
        self.step_observed(batch, |_, _| Ok(()))
    }

    /// As [`Chain::step`], and calls `look` with the chain and the gradient at its parameters just before it moves: only there do the two belong
    /// together. A gradient for the mass moves nothing and is not shown. When `look` fails, no step is made.
    ///
    /// # Errors
    /// As [`Chain::step`], and those of `look`.
    pub fn step_observed(
        &mut self,
        batch: &Batch,
        look: impl FnOnce(&Sampler<B>, &B::Vector) -> Result<()>,
    ) -> Result<ChainReport> {
        let step = self.steps_made();
        if self.phase() == Phase::Done {
            return Err(Error::invalid(
                "step",
                format!("one of the run's {} steps", self.total_steps()),
                step,
            ));
        }
        let estimating = self.preconditioned < self.preconditioner.steps();
        if let (true, Preconditioner::Fisher { .. }) = (estimating, self.preconditioner)
            && batch.b != self.posterior.batch()
        {
            // How many sequences went in is then known from how many batches did.
            let expected = format!("{} while the mass is estimated", self.posterior.batch());
            return Err(Error::shape("sequences of a batch", expected, batch.b));
        }
        let at = match (&mut self.estimate, self.preconditioner) {
            (Some(e), Preconditioner::Fisher { .. }) => {
                let params = self.sampler.params();
                let squares = &mut e.squares;
                let at = (self.posterior).evaluate_with_squares(params, batch, squares)?;
                e.weight += batch.b as f64;
                at
            }
            _ => self.posterior.evaluate(self.sampler.params(), batch)?,
        };
        if estimating {
            self.estimate_mass(step, at.log_post)?;
            return Ok(ChainReport {
                step,
                phase: Phase::Warmup,
                at,
                kinetic_temperature: None,
                configurational_temperature: None,
                sample_due: false,
            });
        }
        let (v, theta) = (self.sampler.vectors(), self.sampler.params());
        if let Some(d) = &mut self.diagonal {
            d.displace(v, theta, self.posterior.grad(), self.sampler.step())?;
            self.posterior.evaluate(d.point(), batch)?;
            d.finish(v, self.posterior.grad())?;
        }
        let made = self
            .sampler
            .step()
            .saturating_sub(self.sampler.config().warmup_steps);
        let sampling = self.phase() == Phase::Sampling;
        let grad = match &self.diagonal {
            Some(d) => d.grad(),
            None => self.posterior.grad(),
        };
        let mut taken = (self.temperatures.as_mut()).filter(|t| sampling && t.due(made));
        if let Some(t) = &mut taken {
            // Before the step: only there do parameters and gradient belong together.
            t.read(&self.sampler, grad)?;
        }
        look(&self.sampler, grad)?;
        let sampler = &mut self.sampler;
        let made = match (&mut self.auto_step, &self.diagonal) {
            (Some(auto), _) => auto.step(sampler, grad, at.log_post),
            (None, Some(d)) => sampler.step_with_diagonal(grad, d.values(), at.log_post),
            (None, None) => sampler.step_with_gradient(grad, at.log_post),
        };
        match made {
            Ok(r) => {
                if let Some(t) = taken {
                    t.keep();
                }
                self.adapt_mass()?;
                Ok(ChainReport {
                    step,
                    phase: r.phase,
                    at,
                    kinetic_temperature: r.kinetic_temperature,
                    configurational_temperature: Some(r.configurational_temperature),
                    sample_due: r.sample_due,
                })
            }
            Err(Error::NotFinite { tensor, value, .. }) => {
                let what = tensor.split('[').next().unwrap_or_default();
                Err(match self.sampler.non_finite_index() {
                    Some(i) => self.not_finite(what, step, i, value),
                    None => Error::NotFinite {
                        step,
                        tensor,
                        value,
                    },
                })
            }
            Err(e) => Err(e),
        }
    }

    /// Extreme curvatures per mass at the chain's parameters, from the mean of `batches` and at most `products` products with the Hessian: two
    /// gradients each for every batch, with f32 products whatever the device's precision, and room for five vectors of parameters. The chain goes on
    /// as if nothing had been asked.
    ///
    /// # Errors
    /// As [`curvature::extreme_curvature`], when there is no batch, and when one does not fit.
    pub fn curvature(&mut self, batches: &[Batch], products: u64) -> Result<curvature::Curvature> {
        if batches.is_empty() {
            return Err(Error::invalid("batches", "at least one", 0));
        }
        let (sampler, posterior) = (&self.sampler, &mut self.posterior);
        let (v, c) = (sampler.vectors(), sampler.config());
        let stream = Stream::new(c.seed, Purpose::Curvature, c.chain);
        let (theta, mass) = (sampler.params(), sampler.mass());
        // Differences of gradients: rounded operands would make them noise.
        posterior.in_f32(|posterior| {
            curvature::extreme_curvature(v, theta, mass, products, stream, |point, a, out| {
                for batch in batches {
                    posterior.evaluate(point, batch)?;
                    v.axpy(out, a / batches.len() as f32, posterior.grad())?;
                }
                Ok(())
            })
        })
    }

    /// From now on lets `auto` find the step size while the chain warms up; it is no part of the state. It does
    /// not see [`Chain::set_factors`]; give it none before sampling.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the mass is a live one: [`AutoStep::step`].
    pub fn adapt_step(&mut self, auto: AutoStep) -> Result<()> {
        if let Preconditioner::Live { .. } = self.preconditioner {
            return Err(AutoStep::no_live_mass());
        }
        self.auto_step = Some(auto);
        Ok(())
    }

    /// The search for the step size, if there is one.
    pub fn auto_step(&self) -> Option<&AutoStep> {
        self.auto_step.as_ref()
    }

    /// The mean log-likelihood of a batch at the parameters that the chain started from, by a forward pass alone. Beside a report's of the same
    /// batch it says what the chain lost: see `bnn::metrics::local_learning_coefficient`.
    ///
    /// # Errors
    /// When the batch does not fit.
    pub fn log_lik_at_start(&mut self, batch: &Batch) -> Result<f64> {
        self.posterior.log_lik(self.sampler.center(), batch)
    }

    /// From now on takes the temperatures of ranges of the parameters; they are no part of the state.
    pub fn watch(&mut self, temperatures: Temperatures) {
        self.temperatures = Some(temperatures);
    }

    /// The temperatures so far, if they are taken.
    pub fn temperatures(&self) -> Option<&Temperatures> {
        self.temperatures.as_ref()
    }

    /// Takes in the posterior's gradient before the chain moves; the last one sets the mass.
    fn estimate_mass(&mut self, step: u64, log_post: f64) -> Result<()> {
        let Some(estimate) = &mut self.estimate else {
            let expected = "the sums that it is made of";
            return Err(Error::invalid(
                "mass",
                expected,
                "none: it could not be set",
            ));
        };
        let v = self.sampler.vectors();
        if !log_post.is_finite() {
            return Err(Error::NotFinite {
                step,
                tensor: "log_posterior".into(),
                value: log_post as f32,
            });
        }
        if let Some(i) = v.first_non_finite(self.posterior.grad())? {
            let value = v.read(self.posterior.grad(), i)?;
            return Err(self.not_finite("gradient", step, i, value));
        }
        let (floor, form) = match self.preconditioner {
            Preconditioner::None | Preconditioner::Prior => return Ok(()),
            Preconditioner::Rms { floor, .. }
            | Preconditioner::Adaptive { floor, .. }
            | Preconditioner::Live { floor, .. } => {
                estimate.add(v, self.posterior.grad(), 1.0)?;
                (floor, Form::Root)
            }
            // Its squares are in already.
            Preconditioner::Fisher { floor, .. } => {
                (floor, Form::Times(self.posterior.sequences()))
            }
        };
        if self.preconditioned + 1 < self.preconditioner.steps() {
            self.preconditioned += 1;
            return Ok(());
        }
        if let Preconditioner::Live { decay, .. } = self.preconditioner {
            let live = estimate.live(v, floor, decay)?;
            self.sampler.set_live_mass(&live)?;
            self.estimate = None;
        } else {
            let mass = estimate.mass(v, floor, form)?;
            let warmup = self.sampler.config().warmup_steps;
            if self.preconditioner.adapts(0, warmup) {
                self.sampler.set_mass(&mass)?;
            } else {
                // The sums' buffer becomes the mass's, so that no other room is needed.
                v.upload(&mut estimate.squares, &mass)?;
                let buf = self.estimate.take().map(|e| e.squares);
                self.sampler.take_mass(&mass, buf)?;
            }
        }
        // Only now: a chain whose mass could not be set makes no step without it.
        self.preconditioned += 1;
        Ok(())
    }

    /// After a step of warm-up: its gradient joins the running average, a new mass where one is due, and an end of it with the warm-up.
    fn adapt_mass(&mut self) -> Result<()> {
        let (
            Some(e),
            Preconditioner::Adaptive {
                floor,
                decay,
                every,
                ..
            },
        ) = (&mut self.estimate, self.preconditioner)
        else {
            return Ok(());
        };
        e.add(self.sampler.vectors(), self.posterior.grad(), decay)?;
        let (made, warmup) = (self.sampler.step(), self.sampler.config().warmup_steps);
        if made.is_multiple_of(every) || made == warmup {
            let mass = e.mass(self.sampler.vectors(), floor, Form::Root)?;
            self.sampler.set_mass(&mass)?;
        }
        if made == warmup {
            self.estimate = None;
        }
        Ok(())
    }

    fn not_finite(&self, what: &str, step: u64, index: usize, value: f32) -> Error {
        let owner = self.posterior.gpt().layout().owner(index);
        let name = owner.map_or_else(|| index.to_string(), |t| t.name.clone());
        Error::NotFinite {
            step,
            tensor: format!("{what} of {name}"),
            value,
        }
    }

    /// The parameters, (n_params).
    pub fn params(&self) -> &B::Vector {
        self.sampler.params()
    }

    /// The running sum of squared gradients, while the mass is estimated.
    pub fn squares(&self) -> Option<&B::Vector> {
        self.estimate.as_ref().map(|e| &e.squares)
    }

    /// The sampler inside.
    pub fn sampler(&self) -> &Sampler<B> {
        &self.sampler
    }

    /// The posterior inside.
    pub fn posterior(&self) -> &Posterior<B> {
        &self.posterior
    }

    /// As [`Sampler::set_factors`]; the steps that estimate the mass have none.
    pub fn set_factors(&mut self, factors: Option<Factors>) {
        self.sampler.set_factors(factors);
    }

    /// As [`Sampler::extend`].
    ///
    /// # Errors
    /// As [`Sampler::extend`].
    pub fn extend(&mut self, sampling_steps: u64) -> Result<()> {
        self.sampler.extend(sampling_steps)
    }

    /// Batches taken so far, which is the next step's index.
    pub fn steps_made(&self) -> u64 {
        self.preconditioned + self.sampler.step()
    }

    /// Batches of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.preconditioner.steps() + self.sampler.config().total_steps()
    }

    /// The phase of the next step.
    pub fn phase(&self) -> Phase {
        match self.preconditioned < self.preconditioner.steps() {
            true => Phase::Warmup,
            false => self.sampler.phase(),
        }
    }
}

/// What a live mass's divergence term needs, where it is asked for: and then gradients without rounded operands ([`super::live`]).
fn diagonal<B: Backend>(
    backend: &B,
    posterior: Posterior<B>,
    c: &Config,
    preconditioner: Preconditioner,
) -> Result<(Option<Diagonal<B>>, Posterior<B>)> {
    match preconditioner {
        Preconditioner::Live { gamma: true, .. } => {
            let n = posterior.gpt().n_params();
            let diagonal = Diagonal::new(backend, n, c.seed, c.chain)?;
            Ok((Some(diagonal), posterior.with_f32_products()))
        }
        _ => Ok((None, posterior)),
    }
}
