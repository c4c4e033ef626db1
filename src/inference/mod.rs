//! What a run is, once, for whoever drives it: the command, a C program, or Rust code that links the library.

mod build;
mod chain_file;
mod config;
mod engine;
mod gradient_chain;
mod identity;
mod monitor;
pub mod monitors;
mod session;

pub use config::{BatchConfig, Inference, MonitorConfig, SessionConfig, Target, count_data};
pub use monitor::{AfterStep, Monitor, Numbers, Progress, Saved, StepReport};
pub use session::Session;
