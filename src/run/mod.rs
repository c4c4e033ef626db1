//! A whole run: configuration, run folder, progress, report. What only the command needs.

pub mod bench;
mod chain;
pub mod check;
pub mod config;
pub mod diagnose;
pub mod evaluate;
pub mod export;
pub mod flags;
pub mod folder;
pub mod generate;
pub mod normal;
pub mod prepare;
pub mod progress;
pub mod recover;
mod spent;
pub mod split_report;
pub mod train;
pub mod train_report;
pub mod verify;

use crate::error::{Error, Result};
pub use crate::store::hex;
use progress::Log;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a command shares with the work it starts: the log, and whether it was asked to stop.
#[derive(Default)]
pub struct Context {
    /// Where words go.
    pub log: Log,
    stop: Arc<AtomicBool>,
}

impl Context {
    /// Creates a context with a flag that, once set, stops the work at its next step.
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        Self {
            log: Log::default(),
            stop,
        }
    }

    /// Returns whether the work was asked to stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Checks that the work was not asked to stop.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn check_stop(&self) -> Result<()> {
        if self.stopped() {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    }
}
