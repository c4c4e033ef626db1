//! What a run is and what its samples are worth, once, for whoever drives it: the command, a C program, or Rust code that links the library.

pub mod agreement;
pub mod baseline_cache;
pub mod baseline_file;
mod baseline_part;
mod build;
mod chain_end;
mod chain_file;
mod checkpoint_check;
mod config;
pub mod controls;
mod curvature;
mod diagnosis;
mod drive;
mod engine;
mod evaluator;
mod fitted_prior;
pub mod forecast;
mod from_settings;
mod gradient_chain;
pub mod held_out;
mod identity;
mod member;
pub mod mixing;
mod model_facts;
mod monitor;
pub mod monitors;
mod movement;
mod noise_report;
mod readings;
pub mod report;
mod run_draws;
pub mod scoring;
pub mod selection;
mod series;
mod session;
pub mod shuffled;
pub mod snapshots;
mod spread;
mod steps;
pub mod temperature_band;
pub mod tensor_temperature;
pub mod text_score;
mod training;
mod training_file;
pub mod verdict;
mod verdict_facts;

/// Returns a number with its noun, `one` or several of it: `1 chain`, `2 chains`.
pub(crate) fn counted(n: usize, one: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {one}{s}")
}

pub use agreement::{Agreement, Cost, Identity};
pub use chain_end::ChainEnd;
pub use checkpoint_check::CheckpointCheck;
pub use config::{BatchConfig, Inference, MonitorConfig, SessionConfig, Target, count_data};
pub use diagnosis::{Diagnosis, Each, diagnose};
pub use drive::{Passenger, drive};
pub use evaluator::{At, Evaluator, Loss, Sequences};
pub use fitted_prior::{FitData, FittedPrior, TensorPrior};
pub use forecast::{PriorStability, StepFound, TrajectoryForecast};
pub use member::Member;
pub use mixing::{ChainSummary, TraceView};
pub use monitor::{AfterStep, Monitor, Numbers, Progress, Saved, StepReport};
pub use movement::{Movement, Reach};
pub use noise_report::NoiseReport;
pub use report::{Report, ReportRow, ReportValue};
pub use run_draws::{ChainDraws, RunDraws, check_together, select, shortest};
pub use scoring::{Comparison, Models, Paired};
pub use series::{check_series, forget_series};
pub use session::Session;
pub use spread::{describe, spread};
pub use temperature_band::TemperatureBand;
pub use tensor_temperature::TensorTemperature;
pub use training::TrainingRun;
pub use verdict::Verdict;
pub use verdict_facts::{Compared, Facts, NUMBERS};
