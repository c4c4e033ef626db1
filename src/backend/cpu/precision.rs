//! How exactly products of matrices are computed, by PyTorch's names.

use super::Isa;
use serde::{Deserialize, Serialize};

/// The precision of matrix products in forward and backward passes. Everything else is f32, with sums of losses in f64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32 throughout.
    #[default]
    Highest,
    /// At least 16 significant bits. No machine that bnn has kernels for is faster at that than at f32, so it is f32.
    High,
    /// Operands may be rounded to bf16 (8 significant bits), summed in f32: done where the machine multiplies bf16s faster
    /// (AVX512_BF16), and f32 elsewhere. Attention's products stay f32. Relative to the norm, a product is off by some 2e-3.
    Medium,
}

impl Precision {
    /// Whether operands are rounded on this machine.
    pub fn rounds(self, isa: Isa) -> bool {
        self == Self::Medium && isa.has_bf16()
    }
}
