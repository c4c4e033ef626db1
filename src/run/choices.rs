//! The words that settings choose between.

use crate::error::{Error, Result};
use crate::samplers::{Method, NormalMethod as Normal};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What `--sampler` names: a chain's method, or one that fits normals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Sampler {
    /// A Markov chain.
    Chain(Method),
    /// Independent normals.
    Normal(Normal),
}

impl Sampler {
    /// The name in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chain(m) => m.name(),
            Self::Normal(n) => n.name(),
        }
    }

    /// The chain's method.
    pub fn chain(self) -> Option<Method> {
        match self {
            Self::Chain(m) => Some(m),
            Self::Normal(_) => None,
        }
    }
}

impl std::fmt::Display for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl From<Sampler> for String {
    fn from(s: Sampler) -> Self {
        s.name().into()
    }
}

impl TryFrom<String> for Sampler {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        let normals = Normal::ALL.map(Self::Normal);
        let mut all = Method::ALL.map(Self::Chain).into_iter().chain(normals);
        all.clone().find(|s| s.name() == name).ok_or_else(|| {
            let names: Vec<_> = all.by_ref().map(Self::name).collect();
            Error::invalid("sampler", format!("one of {}", names.join(", ")), name)
        })
    }
}

/// Named sets of defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// What was found to move a chain and to pay.
    Default,
    /// The Python original's settings: they do not move the chain.
    Original,
}

/// Where the prior is centred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorCenter {
    /// At zero.
    Zero,
    /// At the baseline's parameters, as the original: the data then count twice.
    Pretrained,
}

/// The prior's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorFamily {
    /// exp(-z^2 / 2).
    Normal,
    /// exp(-|z|).
    Laplace,
    /// (1 + z^2 / nu)^(-(nu + 1) / 2).
    StudentT,
}

/// What the prior's standard deviation is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorUnit {
    /// Times |w| + 1e-4 of the baseline's weight w.
    Relative,
    /// The same for every parameter.
    Absolute,
}

/// How the sampler's mass is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MassChoice {
    /// 1 everywhere.
    None,
    /// From the root mean square of gradients at the chain's start.
    Rms,
    /// The same, going on through the warm-up.
    Adaptive,
    /// From the squared gradients of sequences at the chain's start: the Fisher information.
    Fisher,
    /// A root mean square of gradients that follows every step.
    Live,
    /// The prior's curvature.
    Prior,
}

/// Where chains start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Starts {
    /// All at the baseline.
    Shared,
    /// The first at the baseline, each other at one of its own, trained from another seed.
    Separate,
}

/// The shape of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleChoice {
    /// No change.
    Constant,
    /// A straight line down to the final fraction.
    Linear,
    /// Half a cosine down to it.
    Cosine,
    /// (1 + step / delay)^(-power).
    Polynomial,
    /// A cosine in each of several cycles, whose first part explores without noise.
    Cyclical,
}

/// How stored samples are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleDtype {
    /// Not at all.
    F32,
    /// To bfloat16: half the space.
    Bf16,
}

/// Reads a word of an enumeration by the name that files have for it.
pub fn word<T: DeserializeOwned>(text: &str) -> std::result::Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.into())).map_err(|e| e.to_string())
}
