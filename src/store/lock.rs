//! A lock on a folder, so that one process at a time writes what it holds.

use crate::disk::File;
use crate::{Error, Result};
use std::fs::TryLockError;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

/// The name of the file that is locked.
const NAME: &str = ".lock";

/// An advisory lock on a folder, which ends when it is dropped or its process dies.
///
/// File systems without locks give one to everybody.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks a folder for writing, without waiting.
    ///
    /// # Errors
    /// Returns [`Error::Conflict`] with the process that holds the lock, and [`Error::Io`].
    pub fn acquire(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let mut file = File::append(&path).map_err(Error::io(&path))?;
        match file.system().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who holds it is advice: a file that cannot be read changes nothing.
                let _ = (&mut file).take(64).read_to_string(&mut holder);
                let of = match holder.trim() {
                    "" => "another process".to_owned(),
                    id => format!("process {id}"),
                };
                return Err(Error::conflict(format!(
                    "{} is being written by {of}: wait until it has ended, or stop it",
                    folder.display()
                )));
            }
            Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(Error::io(&path)(e)),
        }
        let named = file
            .cut(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        named.map_err(Error::io(&path))?;
        Ok(Self { _file: file })
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
