//! The seam: what a device must be able to do, and the devices that can. One folder per operation: `mod.rs` is its contract, `cpu.rs` its
//! kernels.
//!
//! Samplers see [`Vectors`]: flat vectors and one fused update per method. `gpt` sees [`Backend`]: the operations of a transformer, forward and
//! backward. Everything above is written once, for any device; [`Device`] is the one that was asked for.

mod activations;
mod attention;
pub mod cpu;
mod cross_entropy;
mod device;
mod draw;
mod dropout;
mod elementwise;
mod embed;
mod ensemble;
mod gaussian;
mod gelu;
mod host;
mod layer_norm;
mod linear;
mod posterior_gradient;
mod precision;
mod preconditioned;
mod predictive;
mod range_moments;
mod record;
pub mod vectors;

pub use activations::{Params, Piece, WeightGrad};
pub use attention::{Attended, AttentionShape, CacheShape, PieceRows};
pub use cpu::Cpu;
pub use cross_entropy::{Cotangent, LossShape, Objective};
pub use device::{Buffer, Device};
pub use draw::{Draw, DrawFrom, Drawn};
pub use dropout::Dropout;
pub use embed::{HeadGrad, Positions, Tables};
pub use ensemble::{EnsembleLayout, WeightType};
pub use gelu::Gelu;
pub use host::HostPool;
pub use layer_norm::{Norm, Normed, Write};
pub use linear::{Epilogue, Linear};
pub use posterior_gradient::{PriorFamily, PriorTerms};
pub use precision::{GemmPrecision, Precision};
pub use predictive::cpu::PredictiveSums;
pub use predictive::{Predicted, TokenPrediction};
pub use record::{Input, Scalars};
pub use vectors::{Transfer, Vectors};

/// Makes of one list of the operations' traits what is brought into scope to call them, and their sum.
macro_rules! operations {
    ($($module:ident::$ops:ident,)*) => {
        /// The traits of the operations, which must be in scope to call them on a device of known type.
        pub mod ops {
            $(pub use crate::backend::$module::$ops;)*
            pub use crate::backend::vectors::{Transfer, Vectors};
        }

        /// What `gpt` needs of a device: the sum of all operations. Shapes: N = B T rows; every matrix is row-major.
        ///
        /// This is an internal seam: callers of the library use [`crate::gpt::Gpt`]. Callers must pass the right sizes, which are asserted.
        pub trait Backend: $(ops::$ops +)* {}

        impl<T: $(ops::$ops +)*> Backend for T {}
    };
}

operations! {
    activations::ActivationOps,
    embed::EmbedOps,
    layer_norm::LayerNormOps,
    linear::LinearOps,
    attention::AttentionOps,
    gelu::GeluOps,
    dropout::DropoutOps,
    cross_entropy::CrossEntropyOps,
    posterior_gradient::PosteriorOps,
    ensemble::EnsembleOps,
    draw::DrawOps,
    predictive::PredictiveOps,
}
