//! bnn_options: settings by name. One table says what there is.

use super::guard::guard;
use super::pointer::{get, give, hand_out, lock, out, take_back, text};
use super::status::{Fail, bnn_error, bnn_status};
use crate::backend::{Precision, WeightType};
use crate::baseline::Recipe;
use crate::data::Order;
use crate::error::{Error, Result};
use crate::generate::{Context, Options};
use crate::gpt::{Gelu, GptConfig, Objective};
use crate::posterior::{Family, Prior};
use crate::samplers::{
    AutoStep, Config, Method, NormalConfig, NormalMethod, Preconditioner, Schedule, stability,
};
use crate::store::Dtype;
use std::collections::BTreeMap;
use std::ffi::c_char;
use std::sync::Mutex;

/// An option that takes a double.
pub const BNN_TYPE_F64: i32 = 0;
/// An option that takes an unsigned integer.
pub const BNN_TYPE_U64: i32 = 1;
/// An option that takes a word.
pub const BNN_TYPE_STR: i32 = 2;

#[derive(Clone, Debug, PartialEq)]
enum Value {
    F64(f64),
    U64(u64),
    Str(String),
}

use Value::{F64, U64};

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            F64(v) => write!(f, "{v}"),
            U64(v) => write!(f, "{v}"),
            Self::Str(v) => f.write_str(v),
        }
    }
}

/// What an option takes when it is not set.
#[derive(Clone, Copy)]
enum Initial {
    F64(f64),
    U64(u64),
    Str(&'static str),
    /// Nothing: the place where it is used decides.
    F64Unset,
    U64Unset,
    StrUnset,
}

/// What an option may be, whatever the others are.
enum Range {
    /// A finite number that the text describes.
    Real(&'static str, fn(f64) -> bool),
    Whole(u64, u64),
    Words(&'static [&'static str]),
}

use Range::{Real, Whole, Words};

const ANY: Range = Real("any finite number", |_| true);
const ABOVE_0: Range = Real("above 0", |v| v > 0.0);
const FROM_0: Range = Real("at least 0", |v| v >= 0.0);
const FROM_1: Range = Real("at least 1", |v| v >= 1.0);
const SHARE: Range = Real("above 0, at most 1", |v| v > 0.0 && v <= 1.0);
const INSIDE: Range = Real("above 0, below 1", |v| v > 0.0 && v < 1.0);
const BELOW_1: Range = Real("0 to below 1", |v| (0.0..1.0).contains(&v));
const COUNT: Range = Whole(1, u64::MAX);
const ALL: Range = Whole(0, u64::MAX);
const SWITCH: Range = Whole(0, 1);
const CURVES: &[&str] = &["constant", "linear", "cosine", "polynomial", "cyclical"];
const METHODS: &[&str] = &[
    "sgld",
    "sghmc",
    "sghmc_euler",
    "baoa",
    "sgnht",
    "sgnht_ding",
    "sgnht_euler",
    "sglrw",
    "ekf",
    "vi",
    "laplace",
];

impl Range {
    /// Whether a value is in it; the type was compared before.
    fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Real(_, ok), F64(v)) => v.is_finite() && ok(*v),
            (Whole(low, high), U64(v)) => (low..=high).contains(&v),
            (Words(words), Value::Str(v)) => words.contains(&v.as_str()),
            _ => false,
        }
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Real(text, _) => f.write_str(text),
            Whole(0, u64::MAX) => f.write_str("any"),
            Whole(low, u64::MAX) => write!(f, "at least {low}"),
            Whole(low, high) => write!(f, "{low} to {high}"),
            Words(words) => f.write_str(&words.join(", ")),
        }
    }
}

/// Name, default, range, explanation. What depends on other options too is checked where they are used, by the library's own rules.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("shape", Initial::Str("cpu"), Words(&["tiny", "cpu", "baby", "baby-full", "gpt2"]), "named shape of the model"),
    ("n_layer", Initial::U64Unset, Whole(1, 1024), "layers, in place of the shape's"),
    ("n_head", Initial::U64Unset, Whole(1, 65536), "heads, in place of the shape's: a divisor of n_embd"),
    ("n_embd", Initial::U64Unset, Whole(1, 65536), "width, in place of the shape's"),
    ("block_size", Initial::U64Unset, Whole(1, 65536), "longest context, in place of the shape's"),
    ("bias", Initial::U64Unset, SWITCH, "biases, in place of the shape's"),
    ("dropout", Initial::F64(0.0), BELOW_1, "dropout of the baseline's training"),
    ("gelu", Initial::Str("exact"), Words(&["exact", "tanh"]), "form of GELU"),
    ("tie_weights", Initial::U64(1), SWITCH, "whether the token embedding is also the head's weight"),
    ("precision", Initial::Str("highest"), Words(&["highest", "high", "medium"]), "a model's matrix products: f32, two bf16s a number or f32, bf16 or f32"),
    ("seed", Initial::U64(0), ALL, "seed of everything random"),
    ("batch_size", Initial::U64(12), COUNT, "sequences a batch"),
    ("window", Initial::U64Unset, COUNT, "tokens a window, at most the block size; that when unset"),
    ("baseline_iters", Initial::U64(2000), COUNT, "length of the trainer's learning-rate schedule"),
    ("baseline_learning_rate", Initial::F64(1e-3), ABOVE_0, "peak learning rate of the trainer"),
    ("baseline_warmup_iters", Initial::U64(100), ALL, "warm-up steps of the trainer"),
    ("weight_decay", Initial::F64(0.1), FROM_0, "the trainer's decoupled decay of matrices"),
    ("grad_clip", Initial::F64(1.0), FROM_0, "the gradient's largest norm in training; 0 does not clip"),
    ("sampler", Initial::Str("baoa"), Words(METHODS), "method: chains, then those that fit normals (ekf, vi, laplace)"),
    ("step_size", Initial::F64Unset, FROM_0, "h or epsilon (unset: 4.5e-3; sgld, sglrw 2e-4), per preconditioned unit; vi: Adam's rate (1e-3); ekf: how often a batch's mean counts (0: the data once)"),
    ("alpha", Initial::F64Unset, FROM_0, "friction; momentum sets it when unset"),
    ("momentum", Initial::F64Unset, INSIDE, "an optimiser's momentum of the same step, which sets alpha; 0.9 when both are unset; sgld and sglrw have none"),
    ("sigma", Initial::F64(1.0), ABOVE_0, "standard deviation of the momenta at T = 1"),
    ("beta", Initial::F64(0.0), FROM_0, "gradient noise taken as given (sgld, sghmc)"),
    ("xi", Initial::F64Unset, ANY, "sgnht's thermostat at the start; alpha when unset"),
    ("thermostat_mass", Initial::F64(1.0), ABOVE_0, "how slowly sgnht's friction follows"),
    ("schedule", Initial::StrUnset, Words(CURVES), "of the step size while sampling; unset: constant, vi linear"),
    ("temperature_schedule", Initial::Str("constant"), Words(CURVES.split_at(4).0), "of the temperature while sampling"),
    ("final_fraction", Initial::F64Unset, SHARE, "what linear, cosine and cyclical schedules end at; unset: 0.1, vi 0.01"),
    ("schedule_delay", Initial::F64(100.0), ABOVE_0, "steps: a polynomial schedule is (1 + step / delay)^(-power)"),
    ("schedule_power", Initial::F64(0.55), SHARE, "of a polynomial schedule"),
    ("cycles", Initial::U64(4), COUNT, "of a cyclical schedule, at most sampling_steps"),
    ("exploration", Initial::F64(0.0), BELOW_1, "share of a cycle without noise and samples"),
    ("temperature", Initial::F64Unset, FROM_0, "temperature of the target; above 0 for normals; unset: 0.1, a diagonal laplace 3e-3"),
    ("warmup_steps", Initial::U64(100), ALL, "steps before sampling, after the mass is set"),
    ("sampling_steps", Initial::U64(1000), COUNT, "steps of sampling; of a vector sampler's fit, all steps"),
    ("thinning", Initial::U64(40), COUNT, "every how many sampling steps a sample is due, at most sampling_steps"),
    ("chain", Initial::U64(0), Whole(0, u32::MAX as u64), "which chain of the seed"),
    ("preconditioner", Initial::Str("rms"), Words(&["none", "rms", "adaptive", "fisher", "prior", "live"]), "how the mass is chosen (a vector sampler has none)"),
    ("preconditioner_steps", Initial::U64(100), COUNT, "gradients that the mass is estimated from"),
    ("preconditioner_floor", Initial::F64(0.1), ABOVE_0, "added to every element of the mass, as a share of their mean"),
    ("preconditioner_decay", Initial::F64(0.99), BELOW_1, "what a square keeps of its weight a step, in the adaptive mass (above 0) and the live one"),
    ("preconditioner_every", Initial::U64(25), COUNT, "steps of warm-up between new adaptive masses"),
    ("preconditioner_gamma", Initial::U64(1), SWITCH, "whether the live mass has its divergence term, for a second gradient a step"),
    ("prior_family", Initial::Str("normal"), Words(&["normal", "laplace", "student_t"]), "form of the prior"),
    ("prior_std", Initial::F64(1.0), ABOVE_0, "scale of the prior: a normal's standard deviation"),
    ("prior_dof", Initial::F64(3.0), ABOVE_0, "degrees of freedom of a student_t prior"),
    ("prior_center", Initial::Str("zero"), Words(&["zero", "pretrained"]), "centre of the prior: 0, or the model's parameters when the sampler is made"),
    ("prior_scale", Initial::Str("absolute"), Words(&["relative", "absolute"]), "unit of prior_std: |w| + 1e-4 of the model's parameters when the sampler is made, or 1"),
    ("likelihood_weight", Initial::F64(1.0), ABOVE_0, "power of the likelihood, beside the temperature, which tempers the prior too"),
    ("num_data", Initial::F64Unset, FROM_1, "what the mean log-likelihood is multiplied by; counted when unset (not by a vector sampler)"),
    ("objective", Initial::Str("all"), Words(&["all", "last"]), "positions that count as data"),
    ("batch_order", Initial::StrUnset, Words(&["independent", "sweep", "symmetric"]), "how batches follow each other; unset: independent, ekf, vi and laplace sweep"),
    ("num_epochs", Initial::U64(1), COUNT, "passes of ekf, vi and laplace over the data"),
    ("init_sd", Initial::F64(1e-3), ABOVE_0, "deviation of ekf's normals before any data"),
    ("transition_sd", Initial::F64(0.0), FROM_0, "deviation that ekf adds to every parameter a step"),
    ("init_log_scale", Initial::F64(-5.0), ANY, "logarithm of the deviation that vi's normals begin with"),
    ("vi_n_samples", Initial::U64(1), Whole(1, u32::MAX as u64), "draws, each with a gradient, a step of vi"),
    ("stick_the_landing", Initial::U64(1), SWITCH, "whether vi's gradient leaves out the part whose expectation is 0"),
    ("laplace_structure", Initial::Str("diagonal"), Words(&["diagonal", "last_layer_full", "last_layer_kfac"]), "covariance of laplace: of all parameters, or of an untied model's head"),
    ("laplace_labels", Initial::Str("data"), Words(&["data", "model", "ggn"]), "labels of a diagonal laplace's gradients: empirical Fisher, Fisher, none (Gauss-Newton)"),
    ("laplace_fit_prior", Initial::U64(0), SWITCH, "let the marginal likelihood choose the precision of laplace's prior, in place of prior_std"),
    ("auto_step", Initial::U64(0), SWITCH, "whether a chain's warm-up looks for the step size, from step_size on; the momentum stays unless alpha is set"),
    ("step_tolerance", Initial::F64(0.1), INSIDE, "relative error of a temperature that auto_step may leave"),
    ("temperature_every", Initial::U64(10), ALL, "sampling steps between two looks at the temperature of each tensor; 0 takes none (a vector sampler: bnn_vector_sampler_watch)"),
    ("llc_every", Initial::U64(20), ALL, "sampling steps between two looks at the loss over that at the start, of a prior centred there; 0 takes none"),
    ("sample_dtype", Initial::Str("f32"), Words(&["f32", "bf16"]), "how a store keeps parameters"),
    ("max_new_tokens", Initial::U64(100), ALL, "tokens to generate"),
    ("generation_temperature", Initial::F64(0.8), ABOVE_0, "temperature of drawing tokens"),
    ("top_k", Initial::U64(0), ALL, "draw among this many likeliest tokens; 0 takes all"),
    ("context", Initial::Str("exact"), Words(&["exact", "hop"]), "what happens when the block is full"),
    ("weights", Initial::Str("f32"), Words(&["f32", "bf16"]), "how a generator keeps its samples' weights"),
];

/// Settings by name. One thread at a time. Copied by what is made with them, so they may be freed or changed at once.
pub struct bnn_options {
    inner: Mutex<Set>,
}

/// The values that were set.
#[derive(Clone, Default)]
pub(super) struct Set(BTreeMap<&'static str, Value>);

impl Set {
    /// Copies the options; NULL is all defaults.
    ///
    /// # Safety
    /// `p` is NULL or a live handle.
    pub unsafe fn from(p: *const bnn_options) -> std::result::Result<Self, Fail> {
        // SAFETY: the caller's promise.
        match unsafe { p.as_ref() } {
            Some(o) => Ok(lock(&o.inner, "options")?.clone()),
            None => Ok(Self(BTreeMap::new())),
        }
    }

    fn put(&mut self, name: &str, value: Value) -> Result<()> {
        let row = known(name)?;
        let (kind, fits) = match row.1 {
            Initial::F64(_) | Initial::F64Unset => ("a double", matches!(value, F64(_))),
            Initial::U64(_) | Initial::U64Unset => ("an unsigned integer", matches!(value, U64(_))),
            Initial::Str(_) | Initial::StrUnset => ("a word", matches!(value, Value::Str(_))),
        };
        if !fits {
            return Err(Error::invalid(name, kind, format!("{value:?}")));
        }
        if !row.2.holds(&value) {
            return Err(Error::invalid(name, row.2.to_string(), value));
        }
        self.0.insert(row.0, value);
        Ok(())
    }

    fn unset(&mut self, name: &str) -> Result<()> {
        let row = known(name)?;
        self.0.remove(row.0);
        Ok(())
    }

    fn f64(&self, name: &str) -> Option<f64> {
        match (self.0.get(name), row(name)) {
            (Some(F64(v)), _) => Some(*v),
            (None, Some((_, Initial::F64(v), ..))) => Some(*v),
            _ => None,
        }
    }

    fn u64(&self, name: &str) -> Option<u64> {
        match (self.0.get(name), row(name)) {
            (Some(U64(v)), _) => Some(*v),
            (None, Some((_, Initial::U64(v), ..))) => Some(*v),
            _ => None,
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        match (self.0.get(name), row(name)) {
            (Some(Value::Str(v)), _) => Some(v),
            (None, Some((_, Initial::Str(v), ..))) => Some(v),
            _ => None,
        }
    }

    fn word<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let word = self.text(name).unwrap_or_default();
        serde_json::from_value(serde_json::Value::String(word.into())).map_err(|_| {
            let expected = row(name).map_or(String::new(), |r| r.2.to_string());
            Error::invalid(name, expected, word)
        })
    }

    fn switch(&self, name: &str) -> bool {
        self.u64(name).is_some_and(|v| v != 0)
    }

    fn size(&self, name: &str) -> Result<Option<usize>> {
        self.u64(name)
            .map(|v| usize::try_from(v).map_err(|_| Error::invalid(name, "a size", v)))
            .transpose()
    }

    pub fn model(&self, vocab_size: usize) -> Result<GptConfig> {
        let mut c = GptConfig::named(&self.word::<String>("shape")?, vocab_size)?;
        c.n_layer = self.size("n_layer")?.unwrap_or(c.n_layer);
        c.n_head = self.size("n_head")?.unwrap_or(c.n_head);
        c.n_embd = self.size("n_embd")?.unwrap_or(c.n_embd);
        c.block_size = self.size("block_size")?.unwrap_or(c.block_size);
        c.bias = self.u64("bias").map_or(c.bias, |v| v != 0);
        c.dropout = self.f64("dropout").map_or(c.dropout, |v| v as f32);
        c.gelu = self.word::<Gelu>("gelu")?;
        c.tie_weights = self.switch("tie_weights");
        c.check()?;
        Ok(c)
    }

    pub fn seed(&self) -> u64 {
        self.u64("seed").unwrap_or(0)
    }

    /// (B, T) of a batch.
    pub fn batch(&self, c: &GptConfig) -> Result<(usize, usize)> {
        let b = self.size("batch_size")?.unwrap_or(1);
        Ok((b, self.size("window")?.unwrap_or(c.block_size)))
    }

    pub fn recipe(&self) -> Result<Recipe> {
        let d = Recipe::default();
        let r = Recipe {
            iters: self.u64("baseline_iters").unwrap_or(d.iters),
            learning_rate: self
                .f64("baseline_learning_rate")
                .unwrap_or(d.learning_rate),
            warmup_iters: self.u64("baseline_warmup_iters").unwrap_or(d.warmup_iters),
            weight_decay: self.f64("weight_decay").unwrap_or(d.weight_decay),
            grad_clip: self.f64("grad_clip").unwrap_or(d.grad_clip),
            seed: self.seed(),
            ..d
        };
        r.check()?;
        Ok(r)
    }

    /// Which method fits normals; `None` for a chain.
    pub fn normal_method(&self) -> Option<NormalMethod> {
        self.word("sampler").ok()
    }

    pub fn chain(&self) -> Result<Config> {
        let method = self.word::<Method>("sampler")?;
        let own = method.scheme().model_step_size();
        let mut c = Config::new(method, self.f64("step_size").unwrap_or(own));
        c.sigma = self.f64("sigma").unwrap_or(c.sigma);
        c.beta = self.f64("beta").unwrap_or(c.beta);
        c.temperature = self.f64("temperature").unwrap_or(0.1);
        c.warmup_steps = self.u64("warmup_steps").unwrap_or(c.warmup_steps);
        c.sampling_steps = self.u64("sampling_steps").unwrap_or(c.sampling_steps);
        c.thinning = self.u64("thinning").unwrap_or(c.thinning);
        c.seed = self.seed();
        let chain = self.u64("chain").unwrap_or(0);
        c.chain =
            u32::try_from(chain).map_err(|_| Error::invalid("chain", "0 to 2^32 - 1", chain))?;
        c.xi = self.f64("xi");
        c.thermostat_mass = self.f64("thermostat_mass").unwrap_or(c.thermostat_mass);
        c.schedule = self.curve("schedule", Schedule::Constant, 0.1)?;
        c.temperature_schedule = self.curve("temperature_schedule", Schedule::Constant, 0.1)?;
        match (self.f64("alpha"), self.f64("momentum")) {
            (Some(_), Some(_)) => {
                let expected = "one of the two: each sets the friction";
                return Err(Error::invalid("alpha and momentum", expected, "both"));
            }
            (Some(alpha), None) => c.alpha = alpha,
            (None, momentum) if method.has_momenta() => {
                c.alpha = stability::alpha_for_momentum(&c, momentum.unwrap_or(0.9))?;
            }
            (None, _) => {}
        }
        c.validate()?;
        Ok(c)
    }

    /// The search for a chain's step size, if there is to be one.
    pub fn auto_step(&self, chain: &Config) -> Result<Option<AutoStep>> {
        let tolerance = self.f64("step_tolerance").unwrap_or(0.0);
        let keep_momentum = self.f64("alpha").is_none();
        let search = || AutoStep::new(chain, tolerance, keep_momentum);
        self.switch("auto_step").then(search).transpose()
    }

    pub fn temperature_every(&self) -> u64 {
        self.u64("temperature_every").unwrap_or(0)
    }

    pub fn llc_every(&self) -> u64 {
        self.u64("llc_every").unwrap_or(0)
    }

    pub fn sample_dtype(&self) -> Dtype {
        match self.text("sample_dtype") {
            Some("bf16") => Dtype::Bf16,
            _ => Dtype::F32,
        }
    }

    /// What was set, as JSON.
    pub fn json(&self) -> String {
        let each = self.0.iter().map(|(name, value)| {
            let value = match value {
                F64(v) => (*v).into(),
                U64(v) => (*v).into(),
                Value::Str(v) => v.as_str().into(),
            };
            ((*name).to_owned(), value)
        });
        serde_json::Value::Object(each.collect()).to_string()
    }

    /// The settings of a fit of `steps` steps.
    pub fn normal(&self, method: NormalMethod, steps: u64) -> Result<NormalConfig> {
        let d = NormalConfig::new(method, steps);
        let draws = self.u64("vi_n_samples").unwrap_or(1);
        let structure = self.word("laplace_structure")?;
        let usual = NormalConfig::default_temperature(method, structure);
        let c = NormalConfig {
            learning_rate: self.f64("step_size").unwrap_or(d.learning_rate),
            schedule: self.curve("schedule", d.schedule, 0.01)?,
            temperature: self.f64("temperature").unwrap_or(usual),
            seed: self.seed(),
            init_sd: self.f64("init_sd").unwrap_or(d.init_sd),
            transition_sd: self.f64("transition_sd").unwrap_or(d.transition_sd),
            init_log_scale: self.f64("init_log_scale").unwrap_or(d.init_log_scale),
            vi_n_samples: u32::try_from(draws)
                .map_err(|_| Error::invalid("vi_n_samples", "1 to 2^32 - 1", draws))?,
            stick_the_landing: self.switch("stick_the_landing"),
            prior_std: self.f64("prior_std").unwrap_or(d.prior_std),
            laplace_structure: structure,
            laplace_labels: self.word("laplace_labels")?,
            laplace_fit_prior: self.switch("laplace_fit_prior"),
            ..d
        };
        c.validate()?;
        Ok(c)
    }

    /// The settings of a vector sampler's fit: its steps are sampling_steps, its data num_data.
    pub fn vector_normal(&self, method: NormalMethod) -> Result<NormalConfig> {
        let mut c = self.normal(method, self.u64("sampling_steps").unwrap_or(0))?;
        let counts = match method {
            NormalMethod::Ekf => c.learning_rate == 0.0,
            NormalMethod::Laplace => true,
            NormalMethod::Vi => false,
        };
        if let Some(n) = self.num_data() {
            c.observations = self.likelihood_weight() * n;
        } else if counts {
            let expected = format!("how many observations the data are ({method} counts them)");
            return Err(Error::invalid("num_data", expected, "unset"));
        }
        c.validate()?;
        Ok(c)
    }

    fn curve(&self, name: &str, unset: Schedule, final_fraction: f64) -> Result<Schedule> {
        let number = |name| self.f64(name).unwrap_or(f64::NAN);
        let given = self.f64("final_fraction");
        let final_fraction = given.unwrap_or(final_fraction);
        match (self.text(name), unset) {
            (None, Schedule::Linear { .. }) | (Some("linear"), _) => {
                Ok(Schedule::Linear { final_fraction })
            }
            (None, unset) => Ok(unset),
            (Some("constant"), _) => Ok(Schedule::Constant),
            (Some("cosine"), _) => Ok(Schedule::Cosine { final_fraction }),
            (Some("polynomial"), _) => Ok(Schedule::Polynomial {
                delay: number("schedule_delay"),
                power: number("schedule_power"),
            }),
            (Some("cyclical"), _) => Ok(Schedule::Cyclical {
                cycles: self.u64("cycles").unwrap_or(0),
                exploration: number("exploration"),
                final_fraction,
            }),
            (Some(other), _) => Err(Error::invalid(name, CURVES.join(", "), other)),
        }
    }

    pub fn preconditioner(&self) -> Preconditioner {
        let steps = self.u64("preconditioner_steps").unwrap_or(0);
        let floor = self.f64("preconditioner_floor").unwrap_or(0.0);
        match self.text("preconditioner") {
            Some("none") => Preconditioner::None,
            Some("prior") => Preconditioner::Prior,
            Some("fisher") => Preconditioner::Fisher { steps, floor },
            Some("adaptive") => Preconditioner::Adaptive {
                steps,
                floor,
                decay: self.f64("preconditioner_decay").unwrap_or(0.0),
                every: self.u64("preconditioner_every").unwrap_or(0),
            },
            Some("live") => Preconditioner::Live {
                steps,
                floor,
                decay: self.f64("preconditioner_decay").unwrap_or(0.0),
                gamma: self.switch("preconditioner_gamma"),
            },
            _ => Preconditioner::Rms { steps, floor },
        }
    }

    /// The prior; `params` are the model's.
    pub fn prior(&self, params: &[f32]) -> Prior {
        let number = |name| self.f64(name).unwrap_or(1.0) as f32;
        let asked = |name, word| self.text(name) == Some(word);
        Prior {
            family: match self.text("prior_family") {
                Some("laplace") => Family::Laplace,
                Some("student_t") => Family::StudentT {
                    dof: number("prior_dof"),
                },
                _ => Family::Normal,
            },
            std: number("prior_std"),
            center: asked("prior_center", "pretrained").then(|| params.to_vec()),
            relative_to: asked("prior_scale", "relative").then(|| params.to_vec()),
        }
    }

    /// Whether the prior is centred at the parameters that a sampler starts from.
    pub fn prior_is_centred(&self) -> bool {
        self.text("prior_center") == Some("pretrained")
    }

    pub fn likelihood_weight(&self) -> f64 {
        self.f64("likelihood_weight").unwrap_or(1.0)
    }

    pub fn num_data(&self) -> Option<f64> {
        self.f64("num_data")
    }

    pub fn batch_order(&self) -> Result<Order> {
        match (self.text("batch_order"), self.normal_method()) {
            (Some(_), _) => self.word("batch_order"),
            (None, Some(_)) => Ok(Order::Sweep),
            (None, None) => Ok(Order::Independent),
        }
    }

    pub fn num_epochs(&self) -> u64 {
        self.u64("num_epochs").unwrap_or(1)
    }

    pub fn precision(&self) -> Result<Precision> {
        self.word("precision")
    }

    pub fn weights(&self) -> WeightType {
        match self.text("weights") {
            Some("bf16") => WeightType::Bf16,
            _ => WeightType::F32,
        }
    }

    pub fn objective(&self) -> Result<Objective> {
        self.word("objective")
    }

    pub fn generation(&self) -> Result<Options> {
        let o = Options {
            max_new_tokens: self.size("max_new_tokens")?.unwrap_or(0),
            temperature: self.f64("generation_temperature").unwrap_or(1.0),
            top_k: self.size("top_k")?.filter(|&k| k > 0),
            seed: self.seed(),
            context: self.word::<Context>("context")?,
        };
        o.check()?;
        Ok(o)
    }
}

type Row = (&'static str, Initial, Range, &'static str);

fn row(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|r| r.0 == name)
}

fn known(name: &str) -> Result<&'static Row> {
    row(name).ok_or_else(|| {
        let names: Vec<_> = TABLE.iter().map(|r| r.0).collect();
        Error::invalid("option", names.join(", "), name)
    })
}

/// Makes options, all at their defaults. [out] options: to be freed with bnn_options_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_new(
    options: *mut *mut bnn_options,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let inner = Mutex::new(Set::default());
        // SAFETY: `options` is NULL or the caller's to write.
        unsafe { hand_out(options, bnn_options { inner }, "options") }
    })
}

/// Frees options; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_free(options: *mut bnn_options) {
    // SAFETY: the caller passes NULL or a handle from bnn_options_new, once.
    unsafe { take_back(options) }
}

unsafe fn set(
    options: *mut bnn_options,
    name: *const c_char,
    name_len: usize,
    value: Value,
) -> std::result::Result<(), Fail> {
    // SAFETY: both are NULL or the caller's live objects.
    let (o, name) = unsafe { (get(options, "options")?, text(name, name_len, "name")?) };
    lock(&o.inner, "options")?.put(name, value)?;
    Ok(())
}

/// Sets an option that takes a double. [in] name: UTF-8, name_len bytes.
///
/// Errors: BNN_ERR_INVALID for an unknown name, another type, or a value out of the option's range; the option is then as before. What
/// depends on several options is checked where they are used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_set_f64(
    options: *mut bnn_options,
    name: *const c_char,
    name_len: usize,
    value: f64,
    err: *mut bnn_error,
) -> bnn_status {
    // SAFETY: passed on as the caller gave it.
    guard(err, || unsafe { set(options, name, name_len, F64(value)) })
}

/// Sets an option that takes an unsigned integer. As bnn_options_set_f64.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_set_u64(
    options: *mut bnn_options,
    name: *const c_char,
    name_len: usize,
    value: u64,
    err: *mut bnn_error,
) -> bnn_status {
    // SAFETY: passed on as the caller gave it.
    guard(err, || unsafe { set(options, name, name_len, U64(value)) })
}

/// Sets an option that takes a word: UTF-8, value_len bytes. As bnn_options_set_f64.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_set_str(
    options: *mut bnn_options,
    name: *const c_char,
    name_len: usize,
    value: *const c_char,
    value_len: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: `value` is NULL or value_len bytes of the caller's; the rest is passed on as it came.
        unsafe {
            let value = Value::Str(text(value, value_len, "value")?.to_owned());
            set(options, name, name_len, value)
        }
    })
}

/// Puts an option back to its default. [in] name: UTF-8, name_len bytes. Errors: BNN_ERR_INVALID for an unknown name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_unset(
    options: *mut bnn_options,
    name: *const c_char,
    name_len: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (o, name) = unsafe { (get(options, "options")?, text(name, name_len, "name")?) };
        lock(&o.inner, "options")?.unset(name)?;
        Ok(())
    })
}

/// How many options there are. Never fails.
#[unsafe(no_mangle)]
pub extern "C" fn bnn_options_count() -> usize {
    TABLE.len()
}

/// One option: "name | default | range | explanation".
///
/// [in] index: below bnn_options_count(). [out] type: BNN_TYPE_…; line: UTF-8 without NUL, capacity bytes; needed: its bytes.
/// Errors: BNN_ERR_INVALID for the index, BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_describe(
    index: usize,
    r#type: *mut i32,
    line: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let (name, default, range, explanation) = TABLE
            .get(index)
            .ok_or_else(|| Error::invalid("index", format!("below {}", TABLE.len()), index))?;
        let (kind, default) = match default {
            Initial::F64(v) => (BNN_TYPE_F64, v.to_string()),
            Initial::U64(v) => (BNN_TYPE_U64, v.to_string()),
            Initial::Str(v) => (BNN_TYPE_STR, (*v).to_owned()),
            Initial::F64Unset => (BNN_TYPE_F64, "unset".into()),
            Initial::U64Unset => (BNN_TYPE_U64, "unset".into()),
            Initial::StrUnset => (BNN_TYPE_STR, "unset".into()),
        };
        // SAFETY: the out-parameters are NULL or the caller's.
        unsafe {
            let kind_out = out(r#type, "type")?;
            let text = format!("{name} | {default} | {range} | {explanation}");
            give(text.as_bytes(), line.cast(), capacity, needed)?;
            kind_out.write(kind);
        }
        Ok(())
    })
}
