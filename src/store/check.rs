//! What is wrong with the files of a folder of samples, or beside it: found without stopping at the first.

use super::link::link_file;
use super::replace::TEMP_SUFFIX;
use super::samples::{SampleId, listed, open_sample};
use crate::disk;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// What is found in a folder of samples.
#[derive(Debug, Default)]
pub struct StoreCheck {
    /// The samples that are whole, in order.
    pub whole: Vec<SampleId>,
    /// The samples that are damaged, with what is wrong.
    pub damaged: Vec<(SampleId, Error)>,
    /// The samples that the system refuses to read, or memory does not hold: nothing says that they are damaged.
    pub unreadable: Vec<(SampleId, Error)>,
    /// Files that are no samples; stores pass them over.
    pub foreign: Vec<PathBuf>,
    /// What killed processes left behind.
    pub leftovers: Vec<PathBuf>,
}

impl StoreCheck {
    /// Reads every sample in a folder and compares all its checksums.
    ///
    /// # Errors
    /// Returns [`Error::Io`] when the folder cannot be listed; what is wrong with a file is no error but found.
    pub fn of(folder: &Path) -> Result<Self> {
        let all = listed(folder)?;
        let mut found = Self {
            foreign: all.foreign,
            leftovers: leftovers(folder)?,
            ..Self::default()
        };
        for id in all.ids {
            let path = folder.join(id.file_name());
            match open_sample(&path, id).and_then(|mut sample| sample.scan(|_, _| ())) {
                Ok(_) => found.whole.push(id),
                Err(e) if e.is_damage() => found.damaged.push((id, e)),
                Err(e) => found.unreadable.push((id, e)),
            }
        }
        Ok(found)
    }

    /// Returns whether every sample was read and none is damaged.
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.unreadable.is_empty()
    }

    /// Moves the damaged samples of a folder to another one, which is made where it does not exist, and takes away what killed processes left behind.
    /// Returns what was done, a sentence each.
    ///
    /// Whoever calls keeps other processes from writing the samples.
    ///
    /// # Errors
    /// Returns [`Error::Io`] with the path that the system refuses, and [`Error::Conflict`] with a sample that could not be read; nothing was changed then.
    pub fn repair(&self, folder: &Path, damaged: &Path) -> Result<Vec<String>> {
        if let Some((_, why)) = self.unreadable.first() {
            return Err(unread(why));
        }
        let mut done = Vec::new();
        for (id, _) in &self.damaged {
            let path = folder.join(id.file_name());
            done.push(put_aside(&path, damaged)?);
        }
        for left in &self.leftovers {
            disk::remove(left).map_err(Error::io(left))?;
            done.push(format!("{} was taken away", left.display()));
        }
        Ok(done)
    }
}

/// Says why nothing is repaired where a file could not be read.
pub(crate) fn unread(why: impl std::fmt::Display) -> Error {
    Error::conflict(format!(
        "{why}: whether that file is damaged is not known, so nothing was repaired; let it be read, or move it away"
    ))
}

/// Lists the files in a folder that killed processes left in the making.
///
/// # Errors
/// Returns [`Error::Io`] when the folder cannot be listed.
pub fn leftovers(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = disk::list(folder).map_err(Error::io(folder))?;
    found.retain(|path| is_leftover(&path.file_name().unwrap_or_default().to_string_lossy()));
    Ok(found)
}

/// Returns whether a file has a name as [`replace_file`](super::replace_file) gives it: `.<name>.<process>.<count>.tmp`. Other programs' files stay.
fn is_leftover(name: &str) -> bool {
    let made = name
        .strip_prefix('.')
        .and_then(|n| n.strip_suffix(TEMP_SUFFIX));
    let Some((rest, count)) = made.and_then(|n| n.rsplit_once('.')) else {
        return false;
    };
    let process = rest.rsplit_once('.').map(|(_, process)| process);
    [Some(count), process]
        .iter()
        .all(|n| n.is_some_and(|n| n.parse::<u64>().is_ok()))
}

/// Moves a file to a folder, which is made where it does not exist; one of that name there is kept, and the file gets a number.
///
/// # Errors
/// Returns [`Error::Io`] with the path that the system refuses.
pub fn set_aside(path: &Path, to: &Path) -> Result<PathBuf> {
    disk::make_folders(to).map_err(Error::io(to))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut moved = to.join(&*name);
    let mut n = 1;
    while disk::exists(&moved).map_err(Error::io(&moved))? {
        n += 1;
        moved = to.join(format!("{name}.{n}"));
    }
    disk::rename(path, &moved).map_err(Error::io(path))?;
    for folder in [to, disk::folder_of(path)] {
        disk::sync_folder(folder).map_err(Error::io(folder))?;
    }
    Ok(moved)
}

/// Moves a file as [`set_aside`] does, and says so in a sentence.
///
/// # Errors
/// Returns the errors of [`set_aside`].
pub fn put_aside(path: &Path, to: &Path) -> Result<String> {
    let moved = set_aside(path, to)?;
    Ok(format!("{} is now {}", path.display(), moved.display()))
}

/// Returns where the generation before of a checkpoint is kept: `x.bnn` gives `x.previous.bnn`.
pub fn previous(path: &Path) -> PathBuf {
    path.with_extension("previous.bnn")
}

/// Keeps what a checkpoint holds now as the generation before, so that one that is damaged later is not the only one.
///
/// At every moment `path` is there. Where the file system has no hard links, the file is copied.
///
/// # Errors
/// Returns [`Error::Io`] with the path that the system refuses.
pub fn keep_generation(path: &Path) -> Result<()> {
    if !disk::exists(path).map_err(Error::io(path))? {
        return Ok(());
    }
    link_file(path, &previous(path))
}
