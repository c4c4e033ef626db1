//! The C ABI: opaque handles, a status from every call, no logic. `include/bnn.h` is generated from here.
//!
//! Conventions are in `docs/c-api.md`. Every function goes through `guard`, which checks nothing but catches panics; pointers are
//! checked by the helpers in `pointer`.
#![allow(unsafe_code, non_camel_case_types)]
// A C function's safety contract is its documentation in the header.
#![allow(clippy::missing_safety_doc)]
// "[in]" and "[out]" are the header's marks of parameters, not links.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::private_intra_doc_links)]

mod agreement;
mod baseline;
mod bootstrap;
mod check;
mod context;
mod corpus;
mod curvature;
mod drive;
mod energy;
mod ensemble;
mod evaluator;
mod generator;
mod guard;
mod metrics;
mod mixing;
mod model;
mod model_file;
mod options;
mod pointer;
mod probe;
mod progress;
mod pulled;
mod report;
mod sampler;
mod sampler_report;
mod schedule;
mod scoring;
mod status;
mod store;
mod trainer;
mod verdict;
mod version;

pub use agreement::*;
pub use baseline::*;
pub use bootstrap::*;
pub use check::*;
pub use context::*;
pub use corpus::*;
pub use curvature::*;
pub use drive::*;
pub use energy::*;
pub use ensemble::*;
pub use evaluator::*;
pub use generator::*;
pub use metrics::*;
pub use mixing::*;
pub use model::*;
pub use model_file::*;
pub use options::*;
pub use probe::*;
pub use progress::*;
pub use pulled::*;
pub use report::*;
pub use sampler::*;
pub use sampler_report::*;
pub use schedule::*;
pub use scoring::*;
pub use status::*;
pub use store::*;
pub use trainer::*;
pub use verdict::*;
pub use version::*;
