//! The configurations of the library's objects, filled from the settings: the one place where that happens.

use super::choices::{
    Adapt, BaselineChoice, Preset, PriorCenter, PriorUnit, SamplerChoice, Starts,
};
use super::table::Settings;
use super::words::Word;
use crate::backend::PriorFamily;
use crate::baseline::{Recipe, Selection};
use crate::error::{Error, Result};
use crate::generate::Options;
use crate::gpt::{GptConfig, Layout, NAMED};
use crate::memory;
use crate::posterior::{Prior, PriorUnits};
use crate::samplers::{
    self, Adaptation, AutoStep, CurvatureKind, GaussianConfig, GaussianMethod, MassShape,
    Preconditioner, Schedule, SwagSnapshots, stability,
};
use serde_json::json;

impl Settings {
    /// Returns the shape of the model for a vocabulary.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn model(&self, vocab_size: usize) -> Result<GptConfig> {
        let named = GptConfig::named(&self.shape, vocab_size)?;
        let c = GptConfig {
            vocab_size,
            n_layer: self.n_layer.unwrap_or(named.n_layer),
            n_head: self.n_head.unwrap_or(named.n_head),
            n_embd: self.n_embd.unwrap_or(named.n_embd),
            block_size: self.block_size.unwrap_or(named.block_size),
            bias: self.bias.unwrap_or(named.bias),
            dropout: self.dropout.unwrap_or(named.dropout),
            gelu: self.gelu.unwrap_or(named.gelu),
            tie_weights: self.tie_weights.unwrap_or(named.tie_weights),
        };
        c.check()?;
        Ok(c)
    }

    /// Returns whether the sampled model has a head of its own though the baseline's is tied: that of a laplace on the head alone.
    pub fn unties(&self) -> bool {
        let normal = self.sampler.gaussian();
        normal.is_some_and(|n| self.gaussian_config(n, 1).fits_head())
    }

    /// Returns the recipe of the baseline.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            iters: self.baseline_iters,
            learning_rate: self.baseline_learning_rate,
            warmup_iters: self.baseline_warmup_iters,
            weight_decay: self.weight_decay,
            grad_clip: self.grad_clip,
            seed: self.seed,
            ..Recipe::default()
        }
    }

    /// Returns how the baseline's state is chosen; none where it is the last.
    pub fn selection(&self) -> Option<Selection> {
        let patience = self.baseline_patience;
        (self.baseline_choice == BaselineChoice::Best).then(|| Selection {
            patience,
            ..Selection::default()
        })
    }

    /// Returns the batch (B, T) of the baseline for a model.
    pub fn baseline_batch(&self, model: &GptConfig) -> (usize, usize) {
        let usual = NAMED.iter().find(|n| n.0 == self.shape);
        let (b, t) = usual.map_or((12, model.block_size), |n| (n.1, n.2));
        let b = self.baseline_batch_size.unwrap_or(b);
        (b, t.min(model.block_size))
    }

    /// Returns the tokens per window of the sampler for a model; the original's 128 is cut to a shorter block.
    ///
    /// # Errors
    /// When more are asked for than the block has.
    pub fn window(&self, model: &GptConfig) -> Result<usize> {
        let block = model.block_size;
        match self.max_seq_length {
            Some(t) if t > block && self.preset == Preset::Default => {
                let expected = format!("at most block_size = {block}");
                Err(Error::out_of_range("max_seq_length", expected, t))
            }
            Some(t) => Ok(t.min(block)),
            None => Ok(block),
        }
    }

    /// Checks that an evaluation on a model has at least one window, and the two tokens that a standard error needs.
    ///
    /// # Errors
    /// When `eval_max_tokens` is smaller.
    pub fn check_evaluation(&self, model: &GptConfig) -> Result<()> {
        let fewest = model.block_size.max(2);
        match self.eval_max_tokens {
            Some(n) if n < fewest => {
                let expected = format!("at least {fewest}, a window of block_size tokens");
                Err(Error::out_of_range("eval_max_tokens", expected, n))
            }
            _ => Ok(()),
        }
    }

    /// Returns the configuration of one chain.
    ///
    /// # Errors
    /// When the method is not a chain's, when friction is given twice, or when momentum and method do not fit.
    pub fn sampler_config(&self, chain: u32) -> Result<samplers::ChainConfig> {
        let method = self.sampler.chain().ok_or_else(|| {
            Error::conflict(format!(
                "sampler: this needs a chain, and {} fits a normal: choose a chain's method",
                self.sampler.name()
            ))
        })?;
        self.check_friction()?;
        let usual = samplers::ChainConfig::new(method, self.learning_rate);
        let mut c = samplers::ChainConfig {
            sigma: self.sigma,
            beta: self.beta,
            noise_correction: self.noise_correction,
            temperature: self.temperature,
            warmup_steps: self.warmup_steps,
            sampling_steps: self.sampling_steps,
            thinning: self.thinning,
            seed: self.seed,
            chain,
            schedule: self.schedule(self.schedule),
            temperature_schedule: self.schedule(self.temperature_schedule),
            alpha: self.alpha.unwrap_or(usual.alpha),
            xi: self.xi,
            thermostat_mass: self.thermostat_mass.unwrap_or(usual.thermostat_mass),
            thermostats: self.thermostat,
            ..usual
        };
        if let Some(momentum) = self.momentum {
            c.alpha = stability::alpha_for_momentum(&c, momentum)?;
        }
        Ok(c)
    }

    /// Returns what the warm-up of a chain on a caller's own gradients finds, if anything.
    ///
    /// # Errors
    /// [`Error::Conflict`] beside a momentum, which is that of a step which is not known yet, and beside a search for the step alone.
    pub fn adaptation(&self) -> Result<Option<Adaptation>> {
        let mass = match self.adapt {
            Adapt::None => return Ok(None),
            Adapt::Diagonal => MassShape::Diagonal,
            Adapt::Dense => MassShape::Dense,
        };
        if self.momentum.is_some() {
            return Err(Error::conflict(
                "momentum: it is that of a step which adapt has yet to find: give alpha, or neither",
            ));
        }
        if self.auto_step {
            return Err(Error::conflict(
                "auto_step and adapt each look for the step size: choose one of the two",
            ));
        }
        let tolerance = self.adapt_tolerance;
        Ok(Some(Adaptation { mass, tolerance }))
    }

    /// Returns the search for the step size of a chain, if one is asked for.
    ///
    /// # Errors
    /// Returns the errors of [`AutoStep::new`].
    pub fn auto_step(&self, sampler: &samplers::ChainConfig) -> Result<Option<AutoStep>> {
        let keep_momentum = self.momentum.is_some();
        let search = || {
            let search = AutoStep::new(sampler, self.step_tolerance, keep_momentum)?;
            match self.step_growth {
                0.0 => Ok(search),
                growth => search.at_most(growth),
            }
        };
        self.auto_step.then(search).transpose()
    }

    /// Returns the configuration of a fit of `steps` steps.
    pub fn gaussian_config(&self, method: GaussianMethod, steps: u64) -> GaussianConfig {
        GaussianConfig {
            learning_rate: self.learning_rate,
            schedule: self.schedule(self.schedule),
            temperature: self.temperature,
            seed: self.seed,
            init_sd: self.init_sd,
            transition_sd: self.transition_sd,
            ekf_labels: match method {
                GaussianMethod::Ekf => self.ekf_labels,
                _ => CurvatureKind::EmpiricalFisher,
            },
            snapshots: (method == GaussianMethod::Swag).then_some(SwagSnapshots {
                every: self.swag_every,
                rank: self.swag_rank,
            }),
            ivon_decay: (method == GaussianMethod::Ivon).then_some(self.ivon_decay),
            ema_decay: (method == GaussianMethod::Ema).then_some(self.ema_decay),
            states: (method == GaussianMethod::Snapshots).then_some(self.num_samples),
            init_log_scale: self.init_log_scale,
            vi_n_samples: self.vi_n_samples,
            stick_the_landing: self.stick_the_landing,
            prior_std: self.prior_std,
            laplace_structure: self.laplace_structure,
            laplace_labels: self.laplace_labels,
            laplace_fit_prior: self.laplace_fit_prior,
            ..GaussianConfig::new(method, steps)
        }
    }

    /// Returns a schedule of a form.
    pub fn schedule(&self, form: Word<Schedule>) -> Schedule {
        form.with(json!({
            "final_fraction": self.final_fraction,
            "delay": self.schedule_delay,
            "power": self.schedule_power,
            "cycles": self.cycles,
            "exploration": self.exploration,
        }))
    }

    /// Returns how the mass is chosen.
    pub fn mass(&self) -> Preconditioner {
        self.preconditioner.with(json!({
            "steps": self.preconditioner_steps,
            "floor": self.preconditioner_floor,
            "decay": self.preconditioner_decay,
            "every": self.preconditioner_every,
            "gamma": self.preconditioner_gamma,
        }))
    }

    /// Returns the form of the prior.
    pub fn prior_family(&self) -> PriorFamily {
        self.prior_family.with(json!({"dof": self.prior_dof}))
    }

    /// Returns the prior of a chain that starts from `params`, (n_params) of this layout.
    ///
    /// # Errors
    /// When memory is short, and [`Error::Conflict`] for a prior that is fitted to the data, which this does not have.
    pub fn prior(&self, layout: &Layout, params: &[f32]) -> Result<Prior> {
        let copy = || memory::copy(params, "a prior's vectors");
        let pretrained = self.prior_center == PriorCenter::Pretrained;
        Ok(Prior {
            family: self.prior_family(),
            std: self.prior_std as f32,
            center: pretrained.then(copy).transpose()?,
            units: match self.prior_scale {
                PriorUnit::Absolute => PriorUnits::One,
                PriorUnit::Relative => PriorUnits::RelativeTo(copy()?),
                PriorUnit::FanIn => PriorUnits::by_fan_in(layout)?,
                PriorUnit::Fitted => {
                    return Err(Error::conflict(
                        "prior_scale: fitted needs the data and a run that keeps what was found, as `bnn train` has (in Rust: inference::FittedPrior): choose another one",
                    ));
                }
            },
        })
    }

    /// Returns how tokens are drawn.
    ///
    /// # Errors
    /// Returns the errors of [`Options::check`].
    pub fn generation(&self) -> Result<Options> {
        let o = Options {
            max_new_tokens: self.max_new_tokens,
            temperature: self.generation_temperature,
            top_k: (self.top_k > 0).then_some(self.top_k),
            seed: self.seed,
            context: self.context,
            mode: self.mode,
        };
        o.check()?;
        Ok(o)
    }

    /// Returns the gradients of the baselines that chains have of their own.
    pub fn extra_baselines(&self) -> u64 {
        match self.starts {
            Starts::Shared => 0,
            Starts::Separate => self.baseline_iters * (u64::from(self.chains.max(1)) - 1),
        }
    }

    /// Returns the gradients of all chains together, or of all fits, whose epochs have so many batches; the baseline's are not counted.
    pub fn gradients(&self, per_epoch: u64) -> u64 {
        if let Some(method) = self.gaussian() {
            let steps = self.num_epochs.unwrap_or(1).saturating_mul(per_epoch);
            let config = self.gaussian_config(method, steps);
            let each = steps.saturating_mul(config.gradients_per_step());
            return each.saturating_mul(u64::from(self.chains));
        }
        let mass = self.mass();
        let moves = self.warmup_steps + self.sampling_steps;
        (mass.steps() + moves * mass.gradients_a_step()) * u64::from(self.chains)
    }

    /// Returns the method of a fit, where the sampler is one.
    pub fn gaussian(&self) -> Option<GaussianMethod> {
        match self.sampler {
            SamplerChoice::Chain(_) => None,
            SamplerChoice::Gaussian(n) => Some(n),
        }
    }
}
