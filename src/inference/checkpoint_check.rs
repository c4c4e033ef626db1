//! Whether a chain can go on from its checkpoint, the generation before it and their trace, and what lets it.

use super::report::Report;
use super::series::{Stored, forget_series};
use crate::disk;
use crate::error::{Error, Result};
use crate::store::{
    Kind, Reader, StoreCheck, keep_aside, leftovers, previous, put_aside, read_header, trace_of,
    unread,
};
use std::path::{Path, PathBuf};

/// Why a whole checkpoint is moved.
const NO_TRACE: &str = ": its trace is not whole";

/// What is found at a checkpoint's path.
#[derive(Debug, Default)]
pub struct CheckpointCheck {
    /// The checkpoint and the generation before it, where they are whole, with the steps that they hold.
    pub whole: Vec<(PathBuf, u64)>,
    /// Those that are damaged, with what is wrong.
    pub damaged: Vec<(PathBuf, String)>,
    /// Those that the system refuses to read, or memory does not hold, they themselves or their trace: nothing says that they are damaged.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Those of the whole ones whose series cannot be read, since their trace is missing, damaged or another chain's, with what is wrong.
    pub without_trace: Vec<(PathBuf, String)>,
    /// The checkpoint, where it is not there while the generation before it is whole.
    pub missing: Option<PathBuf>,
    /// What killed processes left behind of these files.
    pub leftovers: Vec<PathBuf>,
}

impl CheckpointCheck {
    /// Checks that a path names a checkpoint, whole or damaged, or nothing: a file that is clearly something else is not called damaged, and not moved.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a sample or a baseline, [`Error::BadMagic`] for a file that is none of this library's.
    pub fn expect_checkpoint(path: &Path) -> Result<()> {
        if !disk::exists(path).map_err(Error::io(path))? {
            return Ok(());
        }
        match read_header(path) {
            Ok((header, _)) if header.kind != Kind::Chain => Err(Error::Mismatch {
                path: path.into(),
                what: "kind of file".into(),
                expected: format!("{:?}", Kind::Chain),
                got: format!("{:?}", header.kind),
            }),
            Err(e) if is_of_others(&e) => Err(e),
            _ => Ok(()),
        }
    }

    /// Reads a checkpoint and the generation before it whole, each with its trace.
    ///
    /// # Errors
    /// Returns [`Error::Io`] when the system does not say whether a file is there; what is wrong with a file is no error but found.
    pub fn of(path: &Path) -> Result<Self> {
        let mut found = Self::default();
        let there = |file: &Path| disk::exists(file).map_err(Error::io(file));
        for file in [path.to_path_buf(), previous(path)] {
            if !there(&file)? {
                continue;
            }
            match Reader::open(&file, Kind::Chain) {
                Ok(reader) => {
                    match Stored::open(&file, &reader) {
                        Ok(_) => {}
                        Err(e) if e.is_damage() => {
                            found.without_trace.push((file.clone(), e.to_string()));
                        }
                        Err(e) => found.unreadable.push((file.clone(), e.to_string())),
                    }
                    found.whole.push((file, reader.header().step));
                }
                Err(e) if e.is_damage() => found.damaged.push((file, e.to_string())),
                Err(e) => found.unreadable.push((file, e.to_string())),
            }
        }
        if !found.whole.is_empty() && !there(path)? {
            found.missing = Some(path.to_path_buf());
        }
        let folder = disk::folder_of(path);
        let names = [path.to_path_buf(), previous(path), trace_of(path)];
        let is_one = |name: &str| {
            let mut names = names.iter().filter_map(|path| path.file_name());
            names.any(|n| n == name)
        };
        if there(folder)? {
            found.leftovers = leftovers(folder, is_one)?;
        }
        Ok(found)
    }

    /// Returns the steps that the newest whole checkpoint holds.
    pub fn steps(&self) -> Option<u64> {
        self.whole.iter().map(|(_, steps)| *steps).max()
    }

    /// Returns whether a chain can go on and nothing is damaged.
    pub fn is_whole(&self) -> bool {
        let troubles = self.damaged.len() + self.without_trace.len() + self.unreadable.len();
        !self.whole.is_empty() && troubles == 0 && self.missing.is_none()
    }

    /// Lets a chain go on from the newest checkpoint that is whole with its trace, or else from the newest that is whole, without its series. Nothing
    /// is deleted: what is damaged is moved to a folder, which is made where it does not exist. Returns what was done, a sentence each.
    ///
    /// Whoever calls keeps other processes from writing the files.
    ///
    /// # Errors
    /// Returns [`Error::Io`] with the path that the system refuses, and [`Error::Conflict`] with a file that could not be read; nothing was changed then.
    pub fn repair(path: &Path, damaged: &Path) -> Result<Vec<String>> {
        let mut done = Vec::new();
        let found = Self::of(path)?;
        if let Some((_, why)) = found.unreadable.first() {
            return Err(unread(why));
        }
        for (path, _) in &found.damaged {
            done.push(put_aside(path, damaged)?);
        }
        for left in &found.leftovers {
            disk::remove(left).map_err(Error::io(left))?;
            done.push(format!("{} was taken away", left.display()));
        }
        let before = previous(path);
        // Whether a file's trace is whole; none where the file is not there, or was moved.
        let state = |file: &Path| {
            let is_whole = found.whole.iter().any(|(whole, _)| whole == file);
            is_whole.then(|| {
                !found
                    .without_trace
                    .iter()
                    .any(|(without, _)| without == file)
            })
        };
        let (mut newest, mut older) = (state(path), state(&before));
        if newest == Some(false) && older == Some(true) {
            done.push(put_aside(path, damaged)? + NO_TRACE);
            newest = None;
        }
        if newest.is_none() && older.is_some() {
            disk::rename(&before, path).map_err(Error::io(path))?;
            let folder = disk::folder_of(path);
            disk::sync_folder(folder).map_err(Error::io(folder))?;
            done.push(format!(
                "{} takes the place of {}",
                before.display(),
                path.display()
            ));
            (newest, older) = (older, None);
        }
        if newest == Some(false) {
            forget(path, damaged, &mut done)?;
        } else if older == Some(false) {
            // One that could not be gone on from is no help, and the newer one is whole.
            done.push(put_aside(&before, damaged)? + NO_TRACE);
        }
        Ok(done)
    }

    /// Returns what was found as rows.
    pub fn report(&self) -> Report {
        let troubles = self.damaged.iter().chain(&self.unreadable);
        let troubles = troubles.chain(&self.without_trace);
        let gone = |path: &PathBuf| {
            format!(
                "{} is missing, but the generation before it is whole",
                path.display()
            )
        };
        let message: Vec<String> = (troubles.map(|(_, why)| why.clone()))
            .chain(self.missing.iter().map(gone))
            .collect();
        let nothing = self.whole.is_empty() && message.is_empty();
        let message = match nothing {
            true => "there is no checkpoint".into(),
            false => message.join("\n"),
        };
        Report::new()
            .row(
                "whole",
                self.is_whole(),
                "1 when a chain can go on and nothing is damaged, else 0",
            )
            .row(
                "can_go_on",
                !self.whole.is_empty(),
                "1 when the checkpoint or the generation before it is whole, else 0",
            )
            .row(
                "steps",
                self.steps().unwrap_or(0),
                "steps that the newest whole checkpoint holds",
            )
            .row(
                "damaged",
                self.damaged.len(),
                "damaged checkpoints, at most 2",
            )
            .row(
                "without_trace",
                self.without_trace.len(),
                "whole checkpoints whose series cannot be read, at most 2",
            )
            .row(
                "unreadable",
                self.unreadable.len(),
                "checkpoints that the system refuses to read, at most 2",
            )
            .row(
                "leftovers",
                self.leftovers.len(),
                "files that killed processes left unfinished",
            )
            .row(
                "message",
                message,
                "what is wrong, a line for each file; empty when nothing is",
            )
    }
}

impl StoreCheck {
    /// Returns what was found as rows.
    pub fn report(&self) -> Report {
        let troubles = self.damaged.iter().chain(&self.unreadable);
        let message: Vec<String> = troubles.map(|(_, e)| e.to_string()).collect();
        Report::new()
            .row(
                "whole",
                self.is_whole(),
                "1 when every sample was read and none is damaged, else 0",
            )
            .row("samples", self.whole.len(), "samples that are whole")
            .row("damaged", self.damaged.len(), "damaged samples")
            .row(
                "unreadable",
                self.unreadable.len(),
                "samples that the system refuses to read",
            )
            .row(
                "foreign",
                self.foreign.len(),
                "files that are no samples, which stores pass over",
            )
            .row(
                "leftovers",
                self.leftovers.len(),
                "files that killed processes left unfinished",
            )
            .row(
                "message",
                message.join("\n"),
                "what is wrong, a line for each file; empty when nothing is",
            )
    }
}

/// Returns whether a file that is no container does not look like a damaged one either: a container whose first bytes were changed has most of them left,
/// and one that a crash has cut or emptied is short or begins with zeros.
fn is_of_others(e: &Error) -> bool {
    let Error::BadMagic { expected, got, .. } = e else {
        return false;
    };
    let same = expected.iter().zip(got).filter(|(a, b)| a == b).count();
    same < expected.len() - 2 && got.len() == expected.len() && got.iter().any(|b| *b != 0)
}

/// Lets a checkpoint go on without its series; what is there of its trace, and the checkpoint before it, which needs that too, are kept.
fn forget(path: &Path, damaged: &Path, done: &mut Vec<String>) -> Result<()> {
    for lost in [trace_of(path), previous(path)] {
        if disk::exists(&lost).map_err(Error::io(&lost))? {
            done.push(put_aside(&lost, damaged)?);
        }
    }
    // The trace may be found again, and this is the checkpoint that names it.
    done.push(keep_aside(path, damaged)?);
    forget_series(path)?;
    done.push(format!(
        "{} goes on without the series of the steps that it has made: its trace is lost",
        path.display()
    ));
    Ok(())
}
