//! The choices that settings alone know: presets, samplers of both kinds, centre and unit of the prior, starts of chains.

use crate::error::{Error, Result};
use crate::samplers::{GaussianMethod, Method};
use serde::{Deserialize, Serialize};

/// What `sampler` names: the method of a chain, or one that fits a normal distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SamplerChoice {
    /// A Markov chain.
    Chain(Method),
    /// A fit of normals.
    Gaussian(GaussianMethod),
}

impl SamplerChoice {
    /// Returns all samplers: chains, then fits.
    pub fn all() -> impl Iterator<Item = Self> {
        let fits = GaussianMethod::ALL.map(Self::Gaussian);
        Method::ALL.map(Self::Chain).into_iter().chain(fits)
    }

    /// Returns the name in flags, files and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chain(m) => m.name(),
            Self::Gaussian(n) => n.name(),
        }
    }

    /// Returns the method of a chain.
    pub fn chain(self) -> Option<Method> {
        match self {
            Self::Chain(m) => Some(m),
            Self::Gaussian(_) => None,
        }
    }

    /// Returns the method of a fit.
    pub fn gaussian(self) -> Option<GaussianMethod> {
        match self {
            Self::Chain(_) => None,
            Self::Gaussian(n) => Some(n),
        }
    }
}

impl std::fmt::Display for SamplerChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl From<SamplerChoice> for String {
    fn from(s: SamplerChoice) -> Self {
        s.name().into()
    }
}

impl TryFrom<String> for SamplerChoice {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::all()
            .find(|s| s.name() == name)
            .ok_or_else(|| Error::unknown("sampler", &name, Self::all().map(Self::name)))
    }
}

/// Named sets of defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// What was found to move a chain and to pay.
    Default,
    /// The settings of the Python original: they do not move the chain.
    Original,
}

/// The form of the mass that a warm-up finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adapt {
    /// It finds none: mass and step are as they are set.
    None,
    /// A number for each parameter.
    Diagonal,
    /// A whole matrix.
    Dense,
}

/// Where the prior is centred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorCenter {
    /// At zero.
    Zero,
    /// At the baseline's parameters, as in the original: the data then count twice.
    Pretrained,
}

/// What the scale of the prior is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorUnit {
    /// |w| + 1e-4 of the baseline's weight w.
    Relative,
    /// 1, for every parameter.
    Absolute,
    /// 1 / sqrt(inputs) for the weights of a layer, 1 for embeddings, gains and biases.
    FanIn,
    /// A standard deviation for each tensor, which the marginal likelihood chooses at the baseline, in place of `prior_std`.
    Fitted,
}

/// Which state of its training the baseline is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaselineChoice {
    /// The one that predicts the choosing half of the validation split best, of the parameters and of their moving averages.
    Best,
    /// The parameters after the last step.
    Last,
}

/// What is averaged in a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predictive {
    /// The samples as they are: weights of the network.
    Weights,
    /// The network linearised around the mean of the fit, at the samples.
    Linearised,
}

/// What a run's samples are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controls {
    /// What AdamW makes of as many gradients as the samples took, from the same start.
    Basic,
    /// Also models that are trained from scratch, and the chain without noise.
    Full,
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
