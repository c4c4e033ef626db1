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
    /// At least 15 significant bits: [`Products::Split`] where there is AMX, and f32 elsewhere.
    High,
    /// Operands may be rounded to bf16: [`Products::Bf16`] where the machine multiplies bf16s faster (AMX, AVX512_BF16), and f32 elsewhere.
    Medium,
}

/// What a context makes of its [`Precision`]: the operands of its products. Attention's products, and those of up to 16 rows, are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// f32 as they are.
    F32,
    /// a = a1 + a2 in bf16s, and a b = a2 b1 + a1 b1 + a1 b2 summed in f32. Left out are the lower parts' own roundings (2^-17 of a b each, at most)
    /// and their product (2^-16): each a b is off by 2^-15 of itself at most, a product of matrices by some 4e-6 of its norm. Operands from
    /// 2^128 - 2^119 on count as infinite, and infinities may give NaN where f32 gives infinity. What is below 2^-126 counts as 0, operands,
    /// their lower parts, terms, sums and C: of an a b below 2^-118 or so 8 bits are left.
    Split,
    /// Rounded to bf16 (8 significant bits, off by 2^-8 at most), summed in f32: each a b is off by 2^-7 of itself at most, a product of matrices by
    /// some 2e-3 of its norm. Denormals count as 0.
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
}
