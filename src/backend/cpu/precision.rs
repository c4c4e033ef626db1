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
    /// At least 16 significant bits: [`Products::Split`] where AMX makes that faster than f32, and f32 elsewhere.
    High,
    /// Operands may be rounded to bf16: [`Products::Bf16`] where the machine multiplies bf16s faster (AMX, AVX512_BF16), and f32 elsewhere.
    Medium,
}

/// What a context makes of its [`Precision`]: the operands of its products. Attention's products, and those of up to 16 rows, are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// f32 as they are.
    F32,
    /// a = a1 + a2 in bf16s, and a b = a2 b1 + a1 b1 + a1 b2 summed in f32: with the lower parts' own rounding and their product left out, each
    /// a b is off by 3 2^-18 of itself at most, a product of matrices by some 4e-6 of its norm. Operands above 2^128 - 2^119 count as not
    /// finite, and a not finite one may give NaN where f32 gives infinity; what an operand has below 2^-126 counts as 0.
    Split,
    /// Rounded to bf16 (8 significant bits), summed in f32: each a b is off by 2^-8 of itself at most, a product of matrices by some 2e-3 of
    /// its norm. Denormals count as 0.
    Bf16,
}

impl Precision {
    /// What it is on this machine.
    pub fn products(self, isa: Isa) -> Products {
        match self {
            Self::High if isa.has_amx() => Products::Split,
            Self::Medium if isa.has_bf16() => Products::Bf16,
            _ => Products::F32,
        }
    }

    /// Whether operands are rounded to bf16 on this machine.
    pub fn rounds(self, isa: Isa) -> bool {
        self.products(isa) == Products::Bf16
    }
}
