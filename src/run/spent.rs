//! What sampling has cost a run so far, over all the processes that worked on it.

use super::Context;
use super::folder::{RunFolder, read_json, write_json};
use crate::backend::Device;
use crate::error::Result;
use crate::inference::Session;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Instant;

/// The name of the file in the run's folder.
const NAME: &str = "spent.json";

/// Time and gradients that led to a checkpoint, and what they were computed on. What was made after a process's last checkpoint and then lost is
/// not counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Spent {
    pub seconds: f64,
    pub gradients: u64,
    /// Devices with their instruction sets, in the order in which they came; older runs do not say.
    #[serde(default)]
    pub devices: Vec<String>,
}

impl Spent {
    /// Reads what a run has spent so far; nothing where it does not say.
    ///
    /// # Errors
    /// Returns an error when the file is there but cannot be read.
    pub fn read(folder: &RunFolder) -> Result<Self> {
        Ok(read_json(&folder.file(NAME))?.unwrap_or_default())
    }

    /// Returns the seconds per gradient, where any was made.
    pub fn seconds_per_gradient(&self) -> Option<f64> {
        (self.gradients > 0).then(|| self.seconds / self.gradients as f64)
    }
}

/// Adds up what is spent, and keeps it in the run's folder.
pub(super) struct Meter {
    path: PathBuf,
    spent: Spent,
    since: Instant,
    counted: u64,
}

impl Meter {
    /// Goes on with what the run has spent before, and says where it was computed on another device than this one.
    ///
    /// # Errors
    /// Returns an error when the file is there but cannot be read.
    pub fn open(folder: &RunFolder, device: &Device, ctx: &mut Context) -> Result<Self> {
        let mut spent = Spent::read(folder)?;
        let now = device.instructions();
        if let Some(before) = spent.devices.last().filter(|before| **before != now) {
            ctx.log.say(&format!(
                "note: the run was computed with {before} before, and is with {now} now: the last bits of its steps differ"
            ));
        }
        spent.devices.retain(|device| *device != now);
        spent.devices.push(now);
        Ok(Self {
            spent,
            path: folder.file(NAME),
            since: Instant::now(),
            counted: 0,
        })
    }

    /// Begins to count a session's gradients, from where it is.
    pub fn begin(&mut self, session: &Session<Device>) {
        self.since = Instant::now();
        self.counted = session.gradients_made();
    }

    /// Adds what was spent since the last call, and writes the sum.
    ///
    /// # Errors
    /// Returns an error when the file cannot be written.
    pub fn keep(&mut self, session: &Session<Device>) -> Result<()> {
        let (now, made) = (Instant::now(), session.gradients_made());
        self.spent.seconds += (now - self.since).as_secs_f64();
        self.spent.gradients += made - self.counted;
        (self.since, self.counted) = (now, made);
        write_json(&self.path, &self.spent)
    }

    /// Returns the sum.
    pub fn spent(&self) -> Spent {
        self.spent.clone()
    }
}
