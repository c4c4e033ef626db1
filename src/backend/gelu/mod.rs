//! The Gaussian error linear unit (Hendrycks & Gimpel 2016) and its slope.

pub(in crate::backend) mod cpu;

use crate::backend::ops::ActivationOps;
use crate::error::Result;

/// The form of the Gaussian error linear unit (Hendrycks & Gimpel 2016) that the model uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gelu {
    /// The exact form x Phi(x), as in nanoGPT.
    #[default]
    Exact,
    /// The tanh approximation, as in GPT-2.
    Tanh,
}

/// The operation of GELU's slope; GELU itself follows a product: [`crate::backend::Epilogue::Gelu`].
pub trait GeluOps: ActivationOps {
    /// Computes out = gelu(x), and x = gelu'(x) in place, over the first n elements of matrices without gaps.
    fn gelu_slope(
        &self,
        out: &mut Self::Act,
        x: &mut Self::Act,
        n: usize,
        form: Gelu,
    ) -> Result<()>;
}
