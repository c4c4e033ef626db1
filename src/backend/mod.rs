//! The seam: what a device must be able to do, and the devices that can.
//!
//! Samplers see [`Vectors`]: flat vectors and one fused update a method. `gpt` sees [`Backend`]: the dozen
//! operations of a transformer, forward and backward. Everything above is written once, for any device.

pub mod cpu;
mod ops;
pub mod vectors;

pub use cpu::{Cpu, Precision, Products};
pub use ops::{
    Backend, Dropout, Family, Gelu, Heads, Linear, Norm, Objective, PRIOR_FLOOR, PriorTerms, Span,
    Then, WeightType,
};
pub use vectors::Vectors;
