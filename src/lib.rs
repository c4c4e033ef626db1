//! Bayesian inference for GPT language models.
#![deny(unsafe_code)]

pub mod backend;
pub mod baseline;
pub mod capi;
pub mod data;
pub mod error;
pub mod generate;
pub mod gpt;
pub mod metrics;
pub mod posterior;
pub mod rng;
#[cfg(feature = "cli")]
pub mod run;
pub mod samplers;
pub mod store;

pub use error::{Error, Result};
