//! Going on with chains so that no sample is lost in silence: what is there is compared with what should be.

use super::Context;
use super::folder::{RunFolder, read_json, write_json};
use super::train::Run;
use crate::backend::Device;
use crate::disk;
use crate::error::{Error, Result};
use crate::inference::Session;
use crate::store::{FolderLock, SampleId, Store, leftovers};

/// How a chain goes on whose file is missing or does not fit its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It is refused.
    Refuse,
    /// It begins anew. Its samples stay; each is compared when the chain comes to it.
    Restart,
}

/// Locks the folder, and takes away what killed processes left unfinished.
///
/// # Errors
/// Returns [`Error::Conflict`] when another process writes the run, and [`Error::Io`].
pub(super) fn lock(folder: &RunFolder) -> Result<FolderLock> {
    let lock = FolderLock::acquire(&folder.path)?;
    let samples = folder.samples();
    let mut left = leftovers(&folder.path, |_| true)?;
    if disk::exists(&samples).map_err(Error::io(&samples))? {
        left.extend(leftovers(&samples, |_| true)?);
    }
    for path in left {
        disk::remove(&path).map_err(Error::io(&path))?;
    }
    Ok(lock)
}

impl Run<'_> {
    /// Says which files in the folder of samples are none.
    pub(super) fn say_foreign(&self, store: &Store, ctx: &mut Context) {
        for path in store.foreign() {
            ctx.log.say(&format!(
                "note: {} is no sample; it is passed over",
                path.display()
            ));
        }
    }

    /// Refuses a chain that would begin anew beside samples that it has already, or says so where that was asked for.
    pub(super) fn check_begun(&self, chain: u32, store: &Store, ctx: &mut Context) -> Result<()> {
        let path = self.folder.chain(chain);
        let has = of_chain(store, chain);
        if has == 0 || disk::exists(&path).map_err(Error::io(&path))? {
            return Ok(());
        }
        if self.broken == Broken::Restart {
            ctx.log.say(&format!(
                "chain {chain} begins anew, since {} is missing: each of its {has} samples is compared with the one that is drawn",
                path.display()
            ));
            return Ok(());
        }
        Err(Error::conflict(format!(
            "chain {chain} has {has} samples, but its file {} is missing: put the file back, or begin the chain anew with --restart-chain, \
             which keeps these samples and compares each with the one that it draws",
            path.display()
        )))
    }

    /// Compares the samples of a chain with those that its steps imply. A chain with a hole begins anew where that was asked for.
    ///
    /// # Errors
    /// Returns [`Error::Conflict`] with the first sample that is missing and was not given up with `bnn check --repair`.
    pub(super) fn fill_holes(
        &self,
        session: Session<Device>,
        device: &Device,
        store: &Store,
        ctx: &mut Context,
    ) -> Result<Session<Device>> {
        let (chain, made) = (session.inference().chain(), session.steps_made());
        let mut missing = session.inference().missing(chain, made, store.ids())?;
        if self.broken == Broken::Refuse {
            let given_up = given_up(&self.folder)?;
            missing.retain(|id| !given_up.contains(&id.file_name()));
        }
        let Some(first) = missing.first().map(SampleId::file_name) else {
            return Ok(session);
        };
        let n = missing.len();
        if self.broken == Broken::Restart {
            ctx.log.say(&format!(
                "chain {chain} begins anew: it had made {made} steps, and {n} of its samples are missing, {first} first; each of the {} that are there is \
                 compared with the one that is drawn",
                of_chain(store, chain)
            ));
            return self.session_from(chain, device, None);
        }
        Err(Error::conflict(format!(
            "chain {chain} has made {made} steps, but {n} of its samples are missing, {first} first: put them back into {}, draw them again with \
             --restart-chain, or give them up with `bnn check {} --repair`",
            store.folder().display(),
            self.folder.path.display()
        )))
    }
}

/// Returns how many samples of a chain are stored.
fn of_chain(store: &Store, chain: u32) -> usize {
    store.ids().iter().filter(|id| id.chain == chain).count()
}

/// Returns the names of the samples that were given up and are not there.
pub(super) fn given_up(folder: &RunFolder) -> Result<Vec<String>> {
    Ok(read_json(&folder.lost())?.unwrap_or_default())
}

/// Takes the samples that are there again off the list of those that were given up.
pub(super) fn found_again(folder: &RunFolder, store: &Store) -> Result<()> {
    let mut lost = given_up(folder)?;
    let before = lost.len();
    let there: Vec<String> = store.ids().iter().map(SampleId::file_name).collect();
    lost.retain(|name| !there.contains(name));
    if lost.len() < before {
        write_json(&folder.lost(), &lost)?;
    }
    Ok(())
}
