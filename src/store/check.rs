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
            leftovers: leftovers(folder, |name| SampleId::from_file_name(name).is_some())?,
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

/// Lists the files in a folder that killed processes left unfinished, of those files whose names `of` takes. Links, folders and other programs' files
/// are none.
///
/// # Errors
/// Returns [`Error::Io`] when the folder cannot be listed, or a file not be looked at.
pub fn leftovers(folder: &Path, of: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in disk::list(folder).map_err(Error::io(folder))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if in_the_making(&name).is_some_and(&of)
            && disk::is_file_itself(&path).map_err(Error::io(&path))?
        {
            found.push(path);
        }
    }
    Ok(found)
}

/// Returns the name of the file of which this is an unfinished one, as [`replace_file`](super::replace_file) names it: `.<name>.<process>.<count>.tmp`.
fn in_the_making(name: &str) -> Option<&str> {
    let made = name.strip_prefix('.')?.strip_suffix(TEMP_SUFFIX)?;
    let (rest, count) = made.rsplit_once('.')?;
    let (of, process) = rest.rsplit_once('.')?;
    let are_numbers = [process, count].iter().all(|n| n.parse::<u64>().is_ok());
    are_numbers.then_some(of)
}

/// Moves a file to a folder, which is made where it does not exist; one of that name there is kept, and the file gets a number.
///
/// # Errors
/// Returns [`Error::Io`] with the path that the system refuses.
pub fn set_aside(path: &Path, to: &Path) -> Result<PathBuf> {
    let moved = free_name(path, to)?;
    disk::rename(path, &moved).map_err(Error::io(path))?;
    for folder in [to, disk::folder_of(path)] {
        disk::sync_folder(folder).map_err(Error::io(folder))?;
    }
    Ok(moved)
}

/// Keeps what a file holds now in a folder too, as [`set_aside`] does, and says so in a sentence: for one that is about to be written anew.
///
/// # Errors
/// Returns the errors of [`set_aside`].
pub(crate) fn keep_aside(path: &Path, to: &Path) -> Result<String> {
    let kept = free_name(path, to)?;
    link_file(path, &kept)?;
    Ok(format!("{} is kept as {}", path.display(), kept.display()))
}

/// Returns a name in a folder, which is made where it does not exist, that no file has: that of `path`, or with a number.
fn free_name(path: &Path, folder: &Path) -> Result<PathBuf> {
    disk::make_folders(folder).map_err(Error::io(folder))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut free = folder.join(&*name);
    let mut n = 1;
    while disk::exists(&free).map_err(Error::io(&free))? {
        n += 1;
        free = folder.join(format!("{name}.{n}"));
    }
    Ok(free)
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
