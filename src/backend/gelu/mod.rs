//! The Gaussian error linear unit (Hendrycks & Gimpel 2016) and its slope.

pub(in crate::backend) mod cpu;

use crate::backend::ops::ActivationOps;
use crate::error::Result;

/// Which form of the Gaussian error linear unit the model uses (Hendrycks & Gimpel 2016).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gelu {
    /// x Phi(x), as nanoGPT.
    #[default]
    Exact,
    /// The tanh approximation, as GPT-2.
    Tanh,
}

/// What a device provides of it.
pub trait GeluOps: ActivationOps {
    /// out = gelu(x) over the first n elements.
    fn gelu(&self, out: &mut Self::Vector, x: &Self::Vector, n: usize, form: Gelu) -> Result<()>;

    /// out = gelu(x), and x = gelu'(x) in place, over the first n elements.
    fn gelu_slope(
        &self,
        out: &mut Self::Vector,
        x: &mut Self::Vector,
        n: usize,
        form: Gelu,
    ) -> Result<()>;
}
