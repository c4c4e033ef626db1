//! bnn_options: settings by name. One table says what there is.

use super::guard::guard;
use super::pointer::{get, give, hand_out, lock, out, take_back, text};
use super::status::{Fail, bnn_error, bnn_status};
use crate::baseline::Recipe;
use crate::error::{Error, Result};
use crate::generate::{Context, Options};
use crate::gpt::{Gelu, GptConfig, Objective};
use crate::posterior::Prior;
use crate::samplers::{Config, Method, Preconditioner, Schedule, stability};
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

/// What an option takes when it is not set.
enum Initial {
    F64(f64),
    U64(u64),
    Str(&'static str),
    /// Nothing: the place where it is used decides.
    F64Unset,
    U64Unset,
}

/// Name, default, range or words, explanation. Ranges are checked where the options are used, by the library's own rules.
const TABLE: &[(&str, Initial, &str, &str)] = &[
    (
        "shape",
        Initial::Str("cpu"),
        "tiny, cpu, baby, baby-full, gpt2",
        "named shape of the model",
    ),
    (
        "n_layer",
        Initial::U64Unset,
        "1 to 1024",
        "layers, in place of the shape's",
    ),
    (
        "n_head",
        Initial::U64Unset,
        "a divisor of n_embd",
        "heads, in place of the shape's",
    ),
    (
        "n_embd",
        Initial::U64Unset,
        "1 to 65536",
        "width, in place of the shape's",
    ),
    (
        "block_size",
        Initial::U64Unset,
        "1 to 65536",
        "longest context, in place of the shape's",
    ),
    (
        "bias",
        Initial::U64Unset,
        "0, 1",
        "biases, in place of the shape's",
    ),
    (
        "dropout",
        Initial::F64(0.0),
        "0 to below 1",
        "dropout of the baseline's training",
    ),
    ("gelu", Initial::Str("exact"), "exact, tanh", "form of GELU"),
    ("seed", Initial::U64(0), "any", "seed of everything random"),
    (
        "batch_size",
        Initial::U64(12),
        "at least 1",
        "sequences a batch",
    ),
    (
        "window",
        Initial::U64Unset,
        "1 to block_size",
        "tokens a window; the block size when unset",
    ),
    (
        "baseline_iters",
        Initial::U64(2000),
        "at least 1",
        "length of the trainer's learning-rate schedule",
    ),
    (
        "baseline_learning_rate",
        Initial::F64(1e-3),
        "above 0",
        "peak learning rate of the trainer",
    ),
    (
        "baseline_warmup_iters",
        Initial::U64(100),
        "any",
        "warm-up steps of the trainer",
    ),
    (
        "weight_decay",
        Initial::F64(0.1),
        "at least 0",
        "the trainer's decoupled decay of matrices",
    ),
    (
        "grad_clip",
        Initial::F64(1.0),
        "at least 0",
        "the gradient's largest norm in training; 0 does not clip",
    ),
    (
        "sampler",
        Initial::Str("baoa"),
        "sgld, sghmc, sghmc_euler, baoa, sgnht, sgnht_euler, sglrw",
        "method",
    ),
    (
        "step_size",
        Initial::F64(4.5e-3),
        "above 0",
        "h (sgld: epsilon), per preconditioned unit under a preconditioner",
    ),
    (
        "alpha",
        Initial::F64Unset,
        "above 0",
        "friction; momentum sets it when unset",
    ),
    (
        "momentum",
        Initial::F64(0.9),
        "above 0, below 1",
        "an optimiser's momentum of the same step; sgld has none",
    ),
    (
        "sigma",
        Initial::F64(1.0),
        "above 0",
        "standard deviation of the momenta at T = 1",
    ),
    (
        "beta",
        Initial::F64(0.0),
        "at least 0",
        "gradient noise taken as given (sgld, sghmc)",
    ),
    (
        "xi",
        Initial::F64Unset,
        "any",
        "sgnht's thermostat at the start; alpha when unset",
    ),
    (
        "thermostat_mass",
        Initial::F64(1.0),
        "above 0",
        "how slowly sgnht's friction follows",
    ),
    (
        "schedule",
        Initial::Str("constant"),
        "constant, linear, cosine, polynomial, cyclical",
        "of the step size while sampling",
    ),
    (
        "temperature_schedule",
        Initial::Str("constant"),
        "constant, linear, cosine, polynomial",
        "of the temperature while sampling",
    ),
    (
        "final_fraction",
        Initial::F64(0.1),
        "above 0, at most 1",
        "what linear, cosine and cyclical schedules end at",
    ),
    (
        "schedule_delay",
        Initial::F64(100.0),
        "above 0",
        "steps: a polynomial schedule is (1 + step / delay)^(-power)",
    ),
    (
        "schedule_power",
        Initial::F64(0.55),
        "above 0, at most 1",
        "of a polynomial schedule",
    ),
    (
        "cycles",
        Initial::U64(4),
        "1 to sampling_steps",
        "of a cyclical schedule",
    ),
    (
        "exploration",
        Initial::F64(0.0),
        "0 to below 1",
        "share of a cycle without noise and samples",
    ),
    (
        "temperature",
        Initial::F64(0.1),
        "at least 0",
        "temperature of the target",
    ),
    (
        "warmup_steps",
        Initial::U64(100),
        "any",
        "steps before sampling, after the mass is set",
    ),
    (
        "sampling_steps",
        Initial::U64(1000),
        "at least 1",
        "steps of sampling",
    ),
    (
        "thinning",
        Initial::U64(40),
        "1 to sampling_steps",
        "every how many sampling steps a sample is due",
    ),
    (
        "chain",
        Initial::U64(0),
        "0 to 2^32 - 1",
        "which chain of the seed",
    ),
    (
        "preconditioner",
        Initial::Str("rms"),
        "none, rms",
        "how the mass is chosen (a vector sampler has none)",
    ),
    (
        "preconditioner_steps",
        Initial::U64(100),
        "at least 1",
        "gradients that the mass is estimated from",
    ),
    (
        "preconditioner_floor",
        Initial::F64(0.1),
        "above 0",
        "added to every rms, as a share of their mean",
    ),
    (
        "prior_std",
        Initial::F64(1.0),
        "above 0",
        "standard deviation of the prior, centred at 0",
    ),
    (
        "num_data",
        Initial::F64Unset,
        "at least 1",
        "what the mean log-likelihood is multiplied by; counted when unset",
    ),
    (
        "objective",
        Initial::Str("all"),
        "all, last",
        "positions that count as data",
    ),
    (
        "max_new_tokens",
        Initial::U64(100),
        "any",
        "tokens to generate",
    ),
    (
        "generation_temperature",
        Initial::F64(0.8),
        "above 0",
        "temperature of drawing tokens",
    ),
    (
        "top_k",
        Initial::U64(0),
        "any",
        "draw among this many likeliest tokens; 0 takes all",
    ),
    (
        "context",
        Initial::Str("exact"),
        "exact, hop",
        "what happens when the block is full",
    ),
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
        let row = TABLE.iter().find(|r| r.0 == name).ok_or_else(|| {
            let names: Vec<_> = TABLE.iter().map(|r| r.0).collect();
            Error::invalid("option", names.join(", "), name)
        })?;
        let fits = matches!(
            (&row.1, &value),
            (Initial::F64(_) | Initial::F64Unset, F64(_))
                | (Initial::U64(_) | Initial::U64Unset, U64(_))
                | (Initial::Str(_), Value::Str(_))
        );
        if !fits {
            let kind = match row.1 {
                Initial::F64(_) | Initial::F64Unset => "a double",
                Initial::U64(_) | Initial::U64Unset => "an unsigned integer",
                Initial::Str(_) => "a word",
            };
            return Err(Error::invalid(name, kind, format!("{value:?}")));
        }
        self.0.insert(row.0, value);
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

    fn word<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let word = match (self.0.get(name), row(name)) {
            (Some(Value::Str(v)), _) => v.as_str(),
            (_, Some((_, Initial::Str(v), ..))) => v,
            _ => "",
        };
        serde_json::from_value(serde_json::Value::String(word.into()))
            .map_err(|_| Error::invalid(name, row(name).map_or("", |r| r.2), word))
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

    pub fn sampler(&self) -> Result<Config> {
        let method = self.word::<Method>("sampler")?;
        let mut c = Config::new(method, self.f64("step_size").unwrap_or(f64::NAN));
        c.sigma = self.f64("sigma").unwrap_or(c.sigma);
        c.beta = self.f64("beta").unwrap_or(c.beta);
        c.temperature = self.f64("temperature").unwrap_or(c.temperature);
        c.warmup_steps = self.u64("warmup_steps").unwrap_or(c.warmup_steps);
        c.sampling_steps = self.u64("sampling_steps").unwrap_or(c.sampling_steps);
        c.thinning = self.u64("thinning").unwrap_or(c.thinning);
        c.seed = self.seed();
        let chain = self.u64("chain").unwrap_or(0);
        c.chain =
            u32::try_from(chain).map_err(|_| Error::invalid("chain", "0 to 2^32 - 1", chain))?;
        c.xi = self.f64("xi");
        c.thermostat_mass = self.f64("thermostat_mass").unwrap_or(c.thermostat_mass);
        c.schedule = self.schedule("schedule")?;
        c.temperature_schedule = self.schedule("temperature_schedule")?;
        match (self.f64("alpha"), self.f64("momentum")) {
            (Some(alpha), _) => c.alpha = alpha,
            (None, Some(m)) if method.has_momenta() => {
                c.alpha = stability::alpha_for_momentum(&c, m)?;
            }
            _ => {}
        }
        c.validate()?;
        Ok(c)
    }

    fn schedule(&self, name: &str) -> Result<Schedule> {
        let number = |name| self.f64(name).unwrap_or(f64::NAN);
        let final_fraction = number("final_fraction");
        match self.word::<String>(name)?.as_str() {
            "constant" => Ok(Schedule::Constant),
            "linear" => Ok(Schedule::Linear { final_fraction }),
            "cosine" => Ok(Schedule::Cosine { final_fraction }),
            "polynomial" => Ok(Schedule::Polynomial {
                delay: number("schedule_delay"),
                power: number("schedule_power"),
            }),
            "cyclical" => Ok(Schedule::Cyclical {
                cycles: self.u64("cycles").unwrap_or(0),
                exploration: number("exploration"),
                final_fraction,
            }),
            other => {
                let expected = "constant, linear, cosine, polynomial, cyclical";
                Err(Error::invalid(name, expected, other))
            }
        }
    }

    pub fn preconditioner(&self) -> Result<Preconditioner> {
        match self.word::<String>("preconditioner")?.as_str() {
            "none" => Ok(Preconditioner::None),
            "rms" => Ok(Preconditioner::Rms {
                steps: self.u64("preconditioner_steps").unwrap_or(0),
                floor: self.f64("preconditioner_floor").unwrap_or(0.0),
            }),
            other => Err(Error::invalid("preconditioner", "none, rms", other)),
        }
    }

    pub fn prior(&self) -> Prior {
        Prior::isotropic(self.f64("prior_std").unwrap_or(1.0) as f32)
    }

    pub fn num_data(&self) -> Option<f64> {
        self.f64("num_data")
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

type Row = (&'static str, Initial, &'static str, &'static str);

fn row(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|r| r.0 == name)
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

/// Sets an option that takes a double. [in] name: UTF-8, name_len bytes. Errors: BNN_ERR_INVALID for an unknown name or another type.
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
