//! The precision of matrix products: what a user asks for, by PyTorch's names, and what a device then keeps to.

use serde::{Deserialize, Serialize};

/// The precision of matrix products in forward and backward passes. Everything else is f32, with sums of losses in f64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Computes in f32 throughout.
    #[default]
    Highest,
    /// Keeps at least 15 significant bits: [`GemmPrecision::Bits15`] where the device is faster so, and f32 elsewhere.
    High,
    /// Keeps at least 7 significant bits: [`GemmPrecision::Bits7`] where the device is faster so, and f32 elsewhere.
    Medium,
}

impl Precision {
    /// Returns its name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Highest => "highest",
            Self::High => "high",
            Self::Medium => "medium",
        }
    }
}

/// The precision that a device keeps to for its [`Precision`], by the error of each product a b before it is summed in f32. The products of
/// attention, and those with up to 16 rows, are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GemmPrecision {
    /// Operands are f32: the relative error of a product is at most 2^-24.
    F32,
    /// Operands may be split into two bf16s each: the relative error is at most 2^-15 per product, and some 4e-6 of the norm of a matrix
    /// product. Operands from 2^128 - 2^119 on count as infinite, and infinities may give NaN where f32 gives infinity. Anything below
    /// 2^-126 counts as 0 (operands, their lower parts, terms, sums and C): of an a b below 2^-118 or so, 8 bits are left.
    Bits15,
    /// Operands may be rounded to bf16: the relative error is at most 2^-7 per product, and some 2e-3 of the norm of a matrix product.
    /// Denormals count as 0.
    Bits7,
}

impl GemmPrecision {
    /// Returns how many bits of a product a b are right: the largest relative error is 2 to the power of minus this.
    pub fn bits(self) -> u32 {
        match self {
            Self::F32 => 24,
            Self::Bits15 => 15,
            Self::Bits7 => 7,
        }
    }

    /// Returns the largest relative error of a product a b.
    pub fn error_bound(self) -> f64 {
        0.5f64.powi(self.bits() as i32)
    }
}
