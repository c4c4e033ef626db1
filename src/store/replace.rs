//! Files that appear whole or not at all: written beside their place, made durable, then renamed.

use crate::disk::{self, File};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// How the name of an unfinished file ends; it begins with a dot.
pub(super) const TEMP_SUFFIX: &str = ".tmp";

/// Puts a file with what `write` writes at `path`, in the place of what may be there.
///
/// `write` fills a temporary file `.<name>.<process>.<count>.tmp` in the same folder, which is then flushed to the
/// disk and renamed. After a crash, at any moment, `path` holds either the old file or the new one, whole. An error
/// leaves the old one and takes the temporary file away; a killed process can leave the latter behind.
///
/// # Errors
///
/// [`Error::Io`] with `path` if the system refuses, [`Error::Data`] for a device, a pipe or a socket, [`Error::OutOfRange`] if `path` names no file, and whatever
/// `write` returns.
pub fn replace_file(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut File) -> Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    if disk::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        let expected =
            "expected a regular file or none to write, found a pipe, a device or a socket";
        return Err(Error::data(path.display().to_string(), expected));
    }
    let (mut file, mut temporary) = Temporary::beside(path)?;
    write(&mut file)?;
    file.sync().map_err(Error::io(path))?;
    drop(file);
    disk::rename(&temporary.0, path).map_err(Error::io(path))?;
    // The name belongs to nobody now: there is nothing to take away.
    temporary.0 = PathBuf::new();
    let folder = disk::folder_of(path);
    disk::sync_folder(folder).map_err(Error::io(folder))
}

/// The path of an unfinished file, removed when it is dropped; empty when it has its name.
pub(super) struct Temporary(PathBuf);

impl Temporary {
    /// Returns the path.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes an empty file of a name that nobody else has, beside `path`.
    pub(super) fn beside(path: &Path) -> Result<(File, Self)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = path.file_name().ok_or_else(|| {
            Error::out_of_range("path", "the path of a file", format!("{}", path.display()))
        })?;
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let mut temporary = OsString::from(".");
            temporary.push(name);
            temporary.push(format!(".{}.{count}{TEMP_SUFFIX}", std::process::id()));
            let temporary = path.with_file_name(temporary);
            match File::create_new(&temporary) {
                Ok(file) => return Ok((file, Self(temporary))),
                // Left by a dead process that had our number: leave it and take the next name.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io(path)(e)),
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Runs only when something failed already: that error is the one to report, and leftovers do no harm.
        if !self.0.as_os_str().is_empty() {
            let _ = disk::remove(&self.0);
        }
    }
}
