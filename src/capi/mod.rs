//! The C ABI: opaque handles, a status from every call, no logic. `include/bnn.h` is generated from here.
//!
//! Conventions are in `docs/c-api.md`. Every function goes through `guard`, which checks nothing but catches panics; pointers are
//! checked by the helpers in `pointer`.
#![allow(unsafe_code, non_camel_case_types)]
// A C function's safety contract is its documentation in the header.
#![allow(clippy::missing_safety_doc)]
// "[in]" and "[out]" are the header's marks of parameters, not links.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::private_intra_doc_links)]

mod context;
mod corpus;
mod ensemble;
mod generator;
mod guard;
mod machine;
mod metrics;
mod model;
mod options;
mod pointer;
mod probe;
mod sampler;
mod schedule;
mod status;
mod trainer;
mod vector_sampler;
mod version;

pub use context::*;
pub use corpus::*;
pub use ensemble::*;
pub use generator::*;
pub use metrics::*;
pub use model::*;
pub use options::*;
pub use probe::*;
pub use sampler::*;
pub use schedule::*;
pub use status::*;
pub use trainer::*;
pub use vector_sampler::*;
pub use version::*;
