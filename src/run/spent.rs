//! What sampling has cost a run so far, over all the processes that worked on it.

use super::Context;
use super::folder::{RunFolder, read_json, write_json};
use crate::backend::Device;
use crate::error::{Error, Result};
use crate::inference::Session;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The name of the file in the run's folder.
pub(super) const NAME: &str = "spent.json";

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
        let read = read_json(&folder.file(NAME)).map_err(|e| match e.is_damage() {
            true => Error::conflict(format!(
                "{e}: `bnn check {} --repair` moves the file aside, and time is counted anew",
                folder.path.display()
            )),
            false => e,
        });
        Ok(read?.unwrap_or_default())
    }

    /// Returns the seconds per gradient, where any was made.
    pub fn seconds_per_gradient(&self) -> Option<f64> {
        (self.gradients > 0).then(|| self.seconds / self.gradients as f64)
    }
}

/// Adds up what is spent, and keeps it in the run's folder. Chains that run side by side share it: their time counts once.
pub(super) struct Meter {
    path: PathBuf,
    count: Mutex<Count>,
}

/// What is spent, and up to where it was counted.
struct Count {
    spent: Spent,
    /// Sessions that are running.
    running: usize,
    since: Instant,
    /// Gradients that were counted, by chain.
    gradients: BTreeMap<u32, u64>,
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
            path: folder.file(NAME),
            count: Mutex::new(Count {
                spent,
                running: 0,
                since: Instant::now(),
                gradients: BTreeMap::new(),
            }),
        })
    }

    /// Begins to count a session's gradients, from where it is.
    pub fn begin(&self, session: &Session<Device>) {
        let mut count = self.count();
        if count.running == 0 {
            count.since = Instant::now();
        }
        count.running += 1;
        let (chain, made) = (session.inference().chain(), session.gradients_made());
        count.gradients.insert(chain, made);
    }

    /// Adds what was spent since the last call, and writes the sum.
    ///
    /// # Errors
    /// Returns an error when the file cannot be written.
    pub fn keep(&self, session: &Session<Device>) -> Result<()> {
        let mut count = self.count();
        let (now, made) = (Instant::now(), session.gradients_made());
        let before = count.gradients.insert(session.inference().chain(), made);
        count.spent.seconds += (now - count.since).as_secs_f64();
        count.spent.gradients += made - before.unwrap_or(made);
        count.since = now;
        write_json(&self.path, &count.spent)
    }

    /// Ends the count of one session.
    pub fn end(&self) {
        self.count().running -= 1;
    }

    /// Returns the sum.
    pub fn spent(&self) -> Spent {
        self.count().spent.clone()
    }

    /// Returns the count; one that a panic left behind is whole, since nothing in it is half done.
    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
