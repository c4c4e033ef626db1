//! Every setting of a run: one list for flags, TOML files and the record in the run folder.
//!
//! A flag wins over `--config FILE.toml`, that over the environment, that over the preset's defaults.

pub use super::choices::{
    MassChoice, Preset, PriorCenter, PriorFamily, PriorUnit, SampleDtype, Sampler, ScheduleChoice,
    Starts, word,
};
use crate::backend::{Family, Precision};
use crate::baseline::Recipe;
use crate::data::Order;
use crate::error::{Error, Result};
use crate::gpt::{Gelu, GptConfig, NAMED, Objective};
use crate::samplers::{self, AutoStep, Method, NormalConfig, Preconditioner, Schedule, stability};
pub use crate::samplers::{Labels, NormalMethod as Normal, Structure};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Makes the list twice: as options to be laid over each other, and with every value there.
macro_rules! settings {
    (
        required { $($(#[$rm:meta])* $rn:ident: $rt:ty,)* }
        optional { $($(#[$om:meta])* $on:ident: $ot:ty,)* }
    ) => {
        /// Settings as given: what is not said is `None`.
        #[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Settings {
            $($(#[$rm])* #[arg(long)] #[serde(skip_serializing_if = "Option::is_none")] pub $rn: Option<$rt>,)*
            $($(#[$om])* #[arg(long)] #[serde(skip_serializing_if = "Option::is_none")] pub $on: Option<$ot>,)*
        }

        impl Settings {
            /// These, and the other's where these say nothing.
            pub fn or(self, other: Self) -> Self {
                Self { $($rn: self.$rn.or(other.$rn),)* $($on: self.$on.or(other.$on),)* }
            }
        }

        /// Settings with every value there; each is explained in [`Settings`].
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Config {
            $(#[doc = concat!("[`Settings::", stringify!($rn), "`].")] pub $rn: $rt,)*
            $(
                #[doc = concat!("[`Settings::", stringify!($on), "`].")]
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $on: Option<$ot>,
            )*
        }

        impl TryFrom<Settings> for Config {
            type Error = Error;

            fn try_from(s: Settings) -> Result<Self> {
                Ok(Self {
                    $($rn: s.$rn.ok_or_else(|| Error::invalid(stringify!($rn), "a value", "none"))?,)*
                    $($on: s.$on,)*
                })
            }
        }
    };
}

settings! {
    required {
        /// Named set of defaults: default, original.
        #[arg(value_parser = word::<Preset>)]
        preset: Preset,
        /// Method: sgld, sghmc, sghmc_euler, baoa, sgnht, sgnht_euler, sglrw (chains); ekf, vi, laplace (independent normals).
        #[arg(value_parser = word::<Sampler>)]
        sampler: Sampler,

        /// Named shape of the model: tiny, cpu, baby, baby-full, gpt2.
        shape: String,

        /// Steps of AdamW for the baseline.
        #[arg(alias = "iters")]
        baseline_iters: u64,
        /// Peak learning rate of the baseline.
        baseline_learning_rate: f64,
        /// Warm-up steps of the baseline's learning rate.
        baseline_warmup_iters: u64,
        /// The baseline's decoupled weight decay, on matrices only.
        weight_decay: f64,
        /// The largest norm of the baseline's gradient; 0 does not clip.
        grad_clip: f64,

        /// The sampler's step size: h of time for methods with momenta, epsilon for sgld and sglrw; per preconditioned unit under a
        /// preconditioner. Adam's rate for vi. How often a batch's mean counts for ekf; 0 counts the data once.
        #[arg(alias = "step-size")]
        learning_rate: f64,
        /// Standard deviation of the momenta at T = 1.
        sigma: f64,
        /// Gradient noise that sgld and sghmc take as given.
        beta: f64,
        /// Temperature T of the target exp(log posterior / T).
        temperature: f64,
        /// How the step size changes while sampling: constant, linear, cosine, polynomial, cyclical.
        #[arg(value_parser = word::<ScheduleChoice>)]
        schedule: ScheduleChoice,
        /// How the temperature changes while sampling: constant, linear, cosine, polynomial.
        #[arg(value_parser = word::<ScheduleChoice>)]
        temperature_schedule: ScheduleChoice,
        /// What linear, cosine and cyclical schedules end at, as a share of the start.
        final_fraction: f64,
        /// Delay of polynomial schedules, in steps.
        schedule_delay: f64,
        /// Power of polynomial schedules.
        schedule_power: f64,
        /// Cycles of a cyclical schedule.
        cycles: u64,
        /// Share of a cycle that explores: no noise, no samples.
        exploration: f64,
        /// The mass: none, rms, adaptive (rms, going on through the warm-up), fisher, prior, each frozen before sampling; live (sgld's alone: rms,
        /// following every step, biased, for comparison).
        #[arg(value_parser = word::<MassChoice>)]
        preconditioner: MassChoice,
        /// Gradients that the mass is estimated from, before the warm-up.
        preconditioner_steps: u64,
        /// Added to every element of the mass, as a share of their mean.
        preconditioner_floor: f64,
        /// What a square keeps of its weight a step, in the adaptive and the live mass.
        preconditioner_decay: f64,
        /// Steps of warm-up between new adaptive masses.
        preconditioner_every: u64,
        /// Whether the live mass's divergence term (Gamma) is added, for a second gradient a step.
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        preconditioner_gamma: bool,
        /// Form of the prior: normal, laplace (double exponential), student_t.
        #[arg(value_parser = word::<PriorFamily>)]
        prior_family: PriorFamily,
        /// Scale of the prior: a normal's standard deviation.
        prior_std: f64,
        /// Degrees of freedom of a student_t prior.
        prior_dof: f64,
        /// Power of the likelihood, beside the temperature, which tempers the prior too.
        likelihood_weight: f64,
        /// Centre of the prior: zero, pretrained.
        #[arg(value_parser = word::<PriorCenter>)]
        prior_center: PriorCenter,
        /// Unit of the prior's standard deviation: relative (to the baseline's weights), absolute.
        #[arg(value_parser = word::<PriorUnit>)]
        prior_scale: PriorUnit,
        /// Positions that count as data: all, last.
        #[arg(value_parser = word::<Objective>)]
        objective: Objective,
        /// Sequences a batch of the sampler.
        batch_size: usize,
        /// How batches follow each other: independent, sweep (each window once a sweep), symmetric (sweeps there and back).
        #[arg(value_parser = word::<Order>)]
        batch_order: Order,
        /// Steps before sampling, after the mass is set.
        warmup_steps: u64,
        /// Steps of sampling.
        sampling_steps: u64,
        /// Every how many sampling steps a sample is kept.
        thinning: u64,
        /// Independent chains of the same seed, one after the other.
        chains: u32,
        /// Where they start: shared (at the baseline), separate (each after the first at a baseline of its own, of seed + chain).
        #[arg(value_parser = word::<Starts>)]
        starts: Starts,
        /// Seed of everything random.
        seed: u64,

        /// Draws from the fitted normals that are stored: ekf, vi, laplace.
        num_samples: u64,
        /// Deviation of ekf's normals before any data.
        init_sd: f64,
        /// Deviation that ekf adds to every parameter a step.
        transition_sd: f64,
        /// Logarithm of the deviation that vi's normals begin with.
        init_log_scale: f64,
        /// Draws, each with a gradient, a step of vi.
        vi_n_samples: u32,
        /// Whether vi's gradient leaves out the part whose expectation is 0.
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        stick_the_landing: bool,
        /// Covariance of laplace: diagonal (independent normals), or of the head's weights alone, untied from the embedding: last_layer_full,
        /// last_layer_kfac (a Kronecker product).
        #[arg(value_parser = word::<Structure>)]
        laplace_structure: Structure,
        /// Labels of a diagonal laplace's gradients: data (empirical Fisher), model (Fisher), ggn (none: the generalised Gauss-Newton matrix).
        #[arg(value_parser = word::<Labels>)]
        laplace_labels: Labels,
        /// Let the marginal likelihood choose the precision of laplace's prior, in place of prior_std.
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        laplace_fit_prior: bool,

        /// Stored samples: f32, bf16.
        #[arg(value_parser = word::<SampleDtype>)]
        sample_dtype: SampleDtype,
        /// Steps between checkpoints of a chain; one is also written when a run is stopped.
        checkpoint_every: u64,
        /// Validation tokens whose log-probability is recorded while a chain runs, for R-hat and effective sizes; 0 records nothing.
        probe_tokens: usize,
        /// Sampling steps between two such records.
        probe_every: u64,
        /// Let the warm-up find the step size, from learning_rate on: the error budget is step_tolerance. A given momentum stays.
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        auto_step: bool,
        /// The relative error of a temperature that auto_step may leave.
        step_tolerance: f64,
        /// Sampling steps between two looks at the temperature of each tensor; 0 takes none.
        temperature_every: u64,
        /// Products with the Hessian, of two gradients each, that look for the largest curvature before the first chain moves; 0 does not look.
        curvature_iterations: u64,
        /// Sampling steps between two looks at the loss that the chain has over its start, for the local learning coefficient of a prior centred
        /// there (prior_center pretrained); 0 does not look.
        llc_every: u64,
        /// Threads; 0 takes all.
        threads: usize,
        /// Matrix products of the passes: highest (f32), high (two bf16s a number with AMX, else f32), medium (bf16 with AMX or AVX512_BF16, else f32).
        #[arg(value_parser = word::<Precision>)]
        precision: Precision,
        /// Run a step that is provably unstable.
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        force: bool,
        /// Where runs and baselines are kept.
        save_dir: PathBuf,

        /// Evaluate after sampling.
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        eval: bool,
        /// Splits to evaluate on: val, train.
        #[arg(num_args = 1..)]
        eval_splits: Vec<String>,
        /// How many of the last samples are averaged; 0 takes all.
        eval_num_posterior_samples: usize,
        /// Texts generated for BLEU and ROUGE; at most what the split has room for.
        eval_num_text_samples: usize,
        /// Tokens of each text's prompt.
        eval_prompt_length: usize,
        /// Tokens generated for each text.
        eval_generation_length: usize,
        /// Train a deterministic model for as many gradients as baseline and chains together, and print it beside.
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        eval_control: bool,
    }
    optional {
        /// Plain text to learn from; the embedded play without.
        data: PathBuf,
        /// Folder with nanoGPT's train.bin and val.bin.
        data_dir: PathBuf,
        /// nanoGPT's meta.pkl; in the data folder without.
        meta_path: PathBuf,
        /// A baseline file to start from, in place of training one.
        model_path: PathBuf,
        /// Layers, in place of the shape's.
        n_layer: usize,
        /// Attention heads, in place of the shape's.
        n_head: usize,
        /// Width, in place of the shape's.
        n_embd: usize,
        /// Longest context, in place of the shape's.
        block_size: usize,
        /// Whether layers have biases, in place of the shape's.
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        bias: bool,
        /// Dropout of the baseline's training, in place of the shape's.
        dropout: f32,
        /// Whether the token embedding is also the head's weight; true without.
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        tie_weights: bool,
        /// Form of GELU: exact, tanh.
        #[arg(value_parser = word::<Gelu>)]
        gelu: Gelu,
        /// Sequences a batch of the baseline; the shape's usual number without.
        baseline_batch_size: usize,
        /// Tokens a window of the sampler; the block size without.
        max_seq_length: usize,
        /// Windows that the sampler draws from, chosen once by the seed; all without.
        train_samples: usize,
        /// What the mean log-likelihood is multiplied by; counted from the data without.
        num_data: f64,
        /// Friction alpha of sghmc and baoa; set by momentum without.
        alpha: f64,
        /// Momentum of the same step in an optimiser's terms, which sets alpha.
        momentum: f64,
        /// Thermostat of sgnht at the start; alpha without.
        xi: f64,
        /// Mass of sgnht's thermostat: how slowly its friction follows the momenta's temperature; 1 without.
        thermostat_mass: f64,
        /// Passes over the data of ekf, vi and laplace; chains are counted in steps.
        #[arg(alias = "epochs")]
        num_epochs: u64,
        /// A second place for the run's log.
        log_dir: PathBuf,
        /// At most this many windows of each split are evaluated; all without.
        eval_max_samples: usize,
        /// At most this many tokens of each split are evaluated; all without.
        eval_max_tokens: usize,
    }
}

impl Settings {
    /// Settings of a TOML file as `bnn config` prints it.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, or names a setting that does not exist.
    pub fn from_toml(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        toml::from_str(&text).map_err(|e| Error::data(path.display().to_string(), e.to_string()))
    }

    /// The original's environment names, where they are set and not empty.
    ///
    /// `BASE_DIR` moves `save_dir`; `DATA_DIR`, `META_PATH` and `MODEL_PATH` are the settings of those names; `DEVICE` other than cpu is an
    /// error in a build without CUDA; `WANDB_AVAILABLE` has nothing to turn on.
    ///
    /// # Errors
    /// When a variable is not UTF-8 or names a device that is not there.
    pub fn from_env() -> Result<Self> {
        let get = |name: &str| match std::env::var(name) {
            Ok(v) if !v.is_empty() => Ok(Some(v)),
            Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
            Err(e) => Err(Error::invalid(name, "UTF-8", e)),
        };
        if let Some(device) = get("DEVICE")?
            && device != "cpu"
        {
            return Err(Error::Unsupported(format!(
                "DEVICE={device}: this build has the CPU alone; set DEVICE=cpu"
            )));
        }
        Ok(Self {
            save_dir: get("BASE_DIR")?.map(|d| PathBuf::from(d).join("checkpoints/samplers")),
            data_dir: get("DATA_DIR")?.map(PathBuf::from),
            meta_path: get("META_PATH")?.map(PathBuf::from),
            model_path: get("MODEL_PATH")?.map(PathBuf::from),
            ..Self::default()
        })
    }

    /// Every value, from these and the preset's defaults.
    ///
    /// # Errors
    /// When two settings contradict each other or one is out of range.
    pub fn resolve(mut self) -> Result<Config> {
        if self.data.is_some() {
            // A text on the command line is not shadowed by a folder in the environment.
            self.data_dir = None;
            self.meta_path = None;
        }
        let preset = self.preset.unwrap_or(Preset::Default);
        let sampler = self.sampler.unwrap_or(Sampler::Chain(Method::Baoa));
        if self.alpha.is_some() && self.momentum.is_some() {
            return Err(Error::invalid(
                "alpha and momentum",
                "one of the two: each sets the friction",
                "both",
            ));
        }
        let friction_given = self.alpha.is_some() || self.momentum.is_some();
        let mut defaults = Self::defaults(preset, sampler);
        // As many tokens a batch as the shape's baseline has, in windows as long as the block: every position is then trained.
        defaults.batch_size = defaults.batch_size.or(Some(match self.shape.as_deref() {
            Some("baby" | "tiny") => 8,
            Some("baby-full") => 64,
            Some("gpt2") => 1,
            _ => 12,
        }));
        if matches!(self.shape.as_deref(), Some("baby" | "baby-full" | "gpt2")) {
            // The search takes five vectors of the model's size beside the sampler's five.
            defaults.curvature_iterations = Some(0);
        }
        if let (Sampler::Normal(normal), Some(structure)) = (sampler, self.laplace_structure)
            && preset == Preset::Default
        {
            defaults.temperature = Some(NormalConfig::default_temperature(normal, structure));
        }
        if friction_given {
            (defaults.alpha, defaults.momentum) = (None, None);
        }
        let config = Config::try_from(self.or(defaults))?;
        config.check()?;
        Ok(config)
    }
}

/// More steps than any run makes: what goes over them one by one still ends in seconds.
const MOST_STEPS: u64 = 1_000_000_000;
/// More chains than any run has.
const MOST_CHAINS: u32 = 10_000;

impl Config {
    /// What can be checked without data or model.
    ///
    /// # Errors
    /// Names the setting that is out of range.
    pub fn check(&self) -> Result<()> {
        for (what, v) in [
            ("preconditioner_steps", self.preconditioner_steps),
            ("warmup_steps", self.warmup_steps),
            ("sampling_steps", self.sampling_steps),
        ] {
            if v > MOST_STEPS {
                return Err(Error::invalid(what, format!("at most {MOST_STEPS}"), v));
            }
        }
        if self.chains > MOST_CHAINS {
            let expected = format!("1 to {MOST_CHAINS}");
            return Err(Error::invalid("chains", expected, self.chains));
        }
        let at_least_1 = |what: &str, v: u64| match v {
            0 => Err(Error::invalid(what, "at least 1", 0)),
            _ => Ok(()),
        };
        at_least_1("batch_size", self.batch_size as u64)?;
        at_least_1("chains", self.chains.into())?;
        at_least_1("checkpoint_every", self.checkpoint_every)?;
        at_least_1("probe_every", self.probe_every)?;
        at_least_1("sampling_steps", self.sampling_steps)?;
        at_least_1("eval_prompt_length", self.eval_prompt_length as u64)?;
        at_least_1("eval_generation_length", self.eval_generation_length as u64)?;
        for (what, v) in [
            ("baseline_batch_size", self.baseline_batch_size),
            ("max_seq_length", self.max_seq_length),
            ("train_samples", self.train_samples),
            ("eval_max_samples", self.eval_max_samples),
            ("eval_max_tokens", self.eval_max_tokens),
        ] {
            at_least_1(what, v.unwrap_or(1) as u64)?;
        }
        for split in &self.eval_splits {
            if split != "val" && split != "train" {
                return Err(Error::invalid("eval_splits", "val, train", split));
            }
        }
        if self.data.is_some() && self.data_dir.is_some() {
            return Err(Error::invalid(
                "data and data_dir",
                "one of the two",
                "both",
            ));
        }
        self.recipe().check()?;
        if let Sampler::Normal(normal) = self.sampler {
            return self.check_normal(normal);
        }
        let sampler = self.sampler_config(0)?;
        sampler.validate()?;
        self.mass().check_method(sampler.method)?;
        if self.auto_step && self.preconditioner == MassChoice::Live {
            let expected = "one that stays, for an automatic step";
            return Err(Error::invalid("preconditioner", expected, "live"));
        }
        self.auto_step(&sampler).map(|_| ())
    }

    fn check_normal(&self, normal: Normal) -> Result<()> {
        if self.num_epochs == Some(0) || self.num_samples == 0 {
            let expected = "at least 1 each";
            let got = format!("{:?} and {}", self.num_epochs, self.num_samples);
            return Err(Error::invalid("num_epochs and num_samples", expected, got));
        }
        if self.chains != 1 {
            let expected = format!("1 ({} fits one set of normals)", self.sampler);
            return Err(Error::invalid("chains", expected, self.chains));
        }
        if normal == Normal::Laplace {
            if self.prior_family != PriorFamily::Normal {
                let expected = "normal (laplace adds the prior's precision)";
                let got = format!("{:?}", self.prior_family);
                return Err(Error::invalid("prior_family", expected, got));
            }
            if self.laplace_fit_prior && self.prior_center == PriorCenter::Pretrained {
                let expected = "zero (the marginal likelihood is that of a prior about 0)";
                return Err(Error::invalid("prior_center", expected, "pretrained"));
            }
            if self.prior_scale != PriorUnit::Absolute {
                let expected = "absolute (laplace has one precision for its prior)";
                return Err(Error::invalid("prior_scale", expected, "relative"));
            }
        }
        // How many steps there are depends on the text; a schedule is checked against them where the fit begins.
        self.normal_config(normal, u64::MAX).validate()
    }

    /// Whether the run's model has a head of its own though the baseline's is tied: laplace's on the head alone.
    pub fn unties(&self) -> bool {
        match self.sampler {
            Sampler::Normal(normal) => self.normal_config(normal, 1).fits_head(),
            Sampler::Chain(_) => false,
        }
    }

    /// The settings of a fit of `steps` steps.
    pub fn normal_config(&self, method: Normal, steps: u64) -> NormalConfig {
        NormalConfig {
            learning_rate: self.learning_rate,
            schedule: self.schedule(self.schedule),
            temperature: self.temperature,
            seed: self.seed,
            init_sd: self.init_sd,
            transition_sd: self.transition_sd,
            init_log_scale: self.init_log_scale,
            vi_n_samples: self.vi_n_samples,
            stick_the_landing: self.stick_the_landing,
            prior_std: self.prior_std,
            laplace_structure: self.laplace_structure,
            laplace_labels: self.laplace_labels,
            laplace_fit_prior: self.laplace_fit_prior,
            ..NormalConfig::new(method, steps)
        }
    }

    /// The model's shape for a vocabulary.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn model(&self, vocab_size: usize) -> Result<GptConfig> {
        let mut c = GptConfig::named(&self.shape, vocab_size)?;
        c.n_layer = self.n_layer.unwrap_or(c.n_layer);
        c.n_head = self.n_head.unwrap_or(c.n_head);
        c.n_embd = self.n_embd.unwrap_or(c.n_embd);
        c.block_size = self.block_size.unwrap_or(c.block_size);
        c.bias = self.bias.unwrap_or(c.bias);
        c.dropout = self.dropout.unwrap_or(c.dropout);
        c.gelu = self.gelu.unwrap_or(c.gelu);
        c.tie_weights = self.tie_weights.unwrap_or(c.tie_weights);
        c.check()?;
        Ok(c)
    }

    /// The baseline's batch (B, T) for a model.
    pub fn baseline_batch(&self, model: &GptConfig) -> (usize, usize) {
        let usual = NAMED.iter().find(|n| n.0 == self.shape);
        let (b, t) = usual.map_or((12, model.block_size), |n| (n.1, n.2));
        (
            self.baseline_batch_size.unwrap_or(b),
            t.min(model.block_size),
        )
    }

    /// The sampler's window length for a model; the original's 128 is cut to a shorter block.
    ///
    /// # Errors
    /// When it is longer than the block and was asked for.
    pub fn window(&self, model: &GptConfig) -> Result<usize> {
        match self.max_seq_length {
            Some(t) if t > model.block_size && self.preset == Preset::Default => {
                Err(Error::invalid(
                    "max_seq_length",
                    format!("at most block_size = {}", model.block_size),
                    t,
                ))
            }
            Some(t) => Ok(t.min(model.block_size)),
            None => Ok(model.block_size),
        }
    }

    /// The baseline's recipe.
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

    /// The sampler's settings for one chain.
    ///
    /// # Errors
    /// When momentum and the method do not fit.
    pub fn sampler_config(&self, chain: u32) -> Result<samplers::Config> {
        let method = self
            .sampler
            .chain()
            .ok_or_else(|| Error::invalid("sampler", "a chain's method", self.sampler.name()))?;
        let mut c = samplers::Config::new(method, self.learning_rate);
        c.sigma = self.sigma;
        c.beta = self.beta;
        c.temperature = self.temperature;
        c.warmup_steps = self.warmup_steps;
        c.sampling_steps = self.sampling_steps;
        c.thinning = self.thinning;
        c.seed = self.seed;
        c.chain = chain;
        c.schedule = self.schedule(self.schedule);
        c.temperature_schedule = self.schedule(self.temperature_schedule);
        c.xi = self.xi;
        c.thermostat_mass = self.thermostat_mass.unwrap_or(c.thermostat_mass);
        if let Some(alpha) = self.alpha {
            c.alpha = alpha;
        }
        if let Some(momentum) = self.momentum {
            c.alpha = stability::alpha_for_momentum(&c, momentum)?;
        }
        Ok(c)
    }

    /// The prior's form.
    pub fn prior_family(&self) -> Family {
        match self.prior_family {
            PriorFamily::Normal => Family::Normal,
            PriorFamily::Laplace => Family::Laplace,
            PriorFamily::StudentT => Family::StudentT {
                dof: self.prior_dof as f32,
            },
        }
    }

    /// The search for a chain's step size, if one is asked for.
    ///
    /// # Errors
    /// As [`AutoStep::new`].
    pub fn auto_step(&self, sampler: &samplers::Config) -> Result<Option<AutoStep>> {
        match self.auto_step {
            false => Ok(None),
            true => AutoStep::new(sampler, self.step_tolerance, self.momentum.is_some()).map(Some),
        }
    }

    /// A schedule of that shape.
    pub fn schedule(&self, choice: ScheduleChoice) -> Schedule {
        let final_fraction = self.final_fraction;
        match choice {
            ScheduleChoice::Constant => Schedule::Constant,
            ScheduleChoice::Linear => Schedule::Linear { final_fraction },
            ScheduleChoice::Cosine => Schedule::Cosine { final_fraction },
            ScheduleChoice::Polynomial => Schedule::Polynomial {
                delay: self.schedule_delay,
                power: self.schedule_power,
            },
            ScheduleChoice::Cyclical => Schedule::Cyclical {
                cycles: self.cycles,
                exploration: self.exploration,
                final_fraction,
            },
        }
    }

    /// How the mass is chosen.
    pub fn mass(&self) -> Preconditioner {
        match self.preconditioner {
            MassChoice::None => Preconditioner::None,
            MassChoice::Rms => Preconditioner::Rms {
                steps: self.preconditioner_steps,
                floor: self.preconditioner_floor,
            },
            MassChoice::Adaptive => Preconditioner::Adaptive {
                steps: self.preconditioner_steps,
                floor: self.preconditioner_floor,
                decay: self.preconditioner_decay,
                every: self.preconditioner_every,
            },
            MassChoice::Fisher => Preconditioner::Fisher {
                steps: self.preconditioner_steps,
                floor: self.preconditioner_floor,
            },
            MassChoice::Live => Preconditioner::Live {
                steps: self.preconditioner_steps,
                floor: self.preconditioner_floor,
                decay: self.preconditioner_decay,
                gamma: self.preconditioner_gamma,
            },
            MassChoice::Prior => Preconditioner::Prior,
        }
    }

    /// Gradients of the baselines that chains have of their own.
    pub fn extra_baselines(&self) -> u64 {
        match self.starts {
            Starts::Shared => 0,
            Starts::Separate => self.baseline_iters * (self.chains.max(1) as u64 - 1),
        }
    }

    /// Gradients of all chains together.
    pub fn chain_gradients(&self) -> u64 {
        let mass = self.mass();
        let moves = self.warmup_steps + self.sampling_steps;
        (mass.steps() + moves * mass.gradients_a_step()) * self.chains as u64
    }

    /// As TOML, each setting under its explanation; what has no value is a comment.
    ///
    /// # Errors
    /// When a value has no TOML form.
    pub fn to_toml(&self) -> Result<String> {
        let bad = |e: toml::ser::Error| Error::invalid("configuration", "a TOML value", e);
        let table = toml::Table::try_from(self).map_err(bad)?;
        let command = Settings::augment_args(clap::Command::new("bnn"));
        let mut text = String::new();
        for arg in command.get_arguments() {
            let name = arg.get_id().as_str();
            for line in arg
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default()
                .lines()
            {
                text.push_str(&format!("# {line}\n"));
            }
            match table.get(name) {
                Some(value) => text.push_str(&format!("{name} = {value}\n\n")),
                None => text.push_str(&format!("# {name} =\n\n")),
            }
        }
        Ok(text)
    }
}
