//! A whole run: configuration, run folder, progress, report. What only the command needs.

pub mod bench;
mod chain;
pub mod check;
pub mod command_line;
pub mod config;
mod controls;
pub mod diagnose;
pub mod environment;
pub mod evaluate;
pub mod export;
mod fitted_prior;
pub mod flags;
pub mod folder;
pub mod generate;
mod held_out_report;
pub mod model;
pub mod normal;
mod own_baseline;
mod parallel;
pub mod prepare;
pub mod progress;
pub mod quantities;
mod record;
pub mod recover;
pub mod results;
mod spent;
pub mod split_report;
pub mod stop;
pub mod terminal;
pub mod train;
pub mod train_report;
pub mod verify;

use crate::error::{Error, Result};
pub use crate::store::hex;
use progress::Log;
use stop::Stop;

/// What a command shares with the work it starts: the log, and whether it was asked to stop.
#[derive(Default)]
pub struct Context {
    /// Where words go.
    pub log: Log,
    /// Whether the work was asked to stop.
    pub stop: Stop,
}

impl Context {
    /// Returns whether the work was asked to stop.
    pub fn stopped(&self) -> bool {
        self.stop.is_asked()
    }

    /// Checks that the work was not asked to stop.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn check_stop(&self) -> Result<()> {
        self.stop.check()
    }

    /// Returns a result as it came; of work that was stopped, says how it goes on.
    ///
    /// # Errors
    /// That of the work.
    pub fn stopped_with<T>(&mut self, result: Result<T>, how: &str) -> Result<T> {
        if matches!(result, Err(Error::Interrupted)) {
            self.stop.wait_for_answer();
            self.log.say(&format!("stopped; {how} goes on"));
        }
        result
    }
}
