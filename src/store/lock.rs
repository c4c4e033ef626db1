//! Locks on files, so that one process at a time writes what they stand for.

use crate::disk::{self, File};
use crate::{Error, Result};
use std::fs::TryLockError;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// The name of the file that is locked in a folder.
const NAME: &str = ".lock";

/// An advisory lock on a file, which ends when it is dropped or its process dies. The file names the process that holds it.
///
/// File systems without locks give one to everybody.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
    path: PathBuf,
}

/// What came of asking for a lock.
#[derive(Debug)]
pub enum Attempt {
    /// It is held now.
    Held(FileLock),
    /// Another has it: the number of its process, where that could be read.
    Taken(Option<u32>),
}

impl FileLock {
    /// Asks for the lock on a file, which is made where it does not exist, without waiting.
    ///
    /// # Errors
    /// Returns [`Error::Io`] when the system refuses the file.
    pub fn attempt(path: &Path) -> Result<Attempt> {
        let mut file = File::append(path).map_err(Error::io(path))?;
        match file.system().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who holds it is advice: a file that cannot be read changes nothing.
                let _ = (&mut file).take(64).read_to_string(&mut holder);
                return Ok(Attempt::Taken(holder.trim().parse().ok()));
            }
            Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(Error::io(path)(e)),
        }
        let named = file
            .cut(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        named.map_err(Error::io(path))?;
        Ok(Attempt::Held(Self {
            _file: file,
            path: path.to_path_buf(),
        }))
    }

    /// Gives the lock back and takes its file away. Who waits for it may get the lock on the file that is gone, and another process one on a new file:
    /// this is for locks on work that, once it is done, nobody does again.
    ///
    /// # Errors
    /// Returns [`Error::Io`] when the file is there and cannot be removed.
    pub fn remove(self) -> Result<()> {
        match disk::remove(&self.path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(&self.path)(e)),
            _ => Ok(()),
        }
    }
}

/// An advisory lock on a folder, which ends when it is dropped or its process dies.
///
/// File systems without locks give one to everybody.
#[derive(Debug)]
pub struct FolderLock {
    _lock: FileLock,
}

impl FolderLock {
    /// Locks a folder for writing, without waiting.
    ///
    /// # Errors
    /// Returns [`Error::Conflict`] with the process that holds the lock, and [`Error::Io`].
    pub fn acquire(folder: &Path) -> Result<Self> {
        match FileLock::attempt(&folder.join(NAME))? {
            Attempt::Held(lock) => Ok(Self { _lock: lock }),
            Attempt::Taken(holder) => {
                let of = holder.map_or("another process".into(), |id| format!("process {id}"));
                Err(Error::conflict(format!(
                    "{} is being written by {of}: wait until it has ended, or stop it",
                    folder.display()
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once_at_a_time() {
        let folder = std::env::temp_dir().join(format!("bnn-lock-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let first = FolderLock::acquire(&folder).unwrap();
        let error = FolderLock::acquire(&folder).unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(first);
        FolderLock::acquire(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
