//! Several models of one shape as one object of the device, for decoding: every weight is read once per token, for all rows of a batch.

pub(in crate::backend) mod cpu;

use crate::backend::linear::Linear;
use crate::backend::ops::ActivationOps;
use crate::error::Result;
use std::ops::Range;

/// How decoding keeps the weights of linear layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightType {
    /// The weights are kept in f32.
    #[default]
    F32,
    /// The weights are rounded to bfloat16, 8 significant bits: half the memory, and nearly twice the speed where memory bounds it. Sums
    /// stay f32.
    Bf16,
}

/// What an ensemble keeps of a model's flat vector.
#[derive(Clone, Copy, Debug)]
pub struct EnsembleLayout<'a> {
    /// Layers whose weights are laid out for products.
    pub layers: &'a [Linear],
    /// Ranges that are kept flat: everything else, and a layer's weight that is also looked up as a table. Ascending and disjoint.
    pub flat: &'a [Range<usize>],
    /// The number format of the layers' weights.
    pub form: WeightType,
}

/// The operation that creates an ensemble.
pub trait EnsembleOps: ActivationOps {
    /// Creates an ensemble of these parameter vectors; each vector is dropped once it is laid out.
    fn ensemble(
        &self,
        samples: Vec<Self::Vector>,
        layout: EnsembleLayout<'_>,
    ) -> Result<Self::Ensemble>;
}
