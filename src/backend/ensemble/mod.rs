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
    /// As they are.
    #[default]
    F32,
    /// Rounded to bfloat16, 8 significant bits: half the memory, and near twice the speed where memory bounds it. Sums stay f32.
    Bf16,
}

/// What an ensemble keeps of a model's flat vector.
#[derive(Clone, Copy, Debug)]
pub struct EnsembleLayout<'a> {
    /// Layers whose weights are laid out for products.
    pub layers: &'a [Linear],
    /// What is kept as it is: all else, and a table that is looked up though it is a layer's weight too. Ascending, without overlap.
    pub flat: &'a [Range<usize>],
    /// How the layers' weights are kept.
    pub form: WeightType,
}

/// Making an ensemble.
pub trait EnsembleOps: ActivationOps {
    /// An ensemble of these parameter vectors; each is given back when it was laid out.
    fn ensemble(
        &self,
        samples: Vec<Self::Vector>,
        layout: EnsembleLayout<'_>,
    ) -> Result<Self::Ensemble>;
}
