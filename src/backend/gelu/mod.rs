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

/// The unit's slope; the unit itself follows a product: [`crate::backend::Epilogue::Gelu`].
pub trait GeluOps: ActivationOps {
    /// out = gelu(x), and x = gelu'(x) in place, over the first n elements of matrices whose rows lie side by side.
    fn gelu_slope(
        &self,
        out: &mut Self::Act,
        x: &mut Self::Act,
        n: usize,
        form: Gelu,
    ) -> Result<()>;
}
