//! Reading files whole, regular ones alone: a pipe or a device may never end.

use crate::disk;
use crate::error::{Error, Result};
use std::io::ErrorKind;
use std::path::Path;

/// Checks, before it is opened, that a path is that of a regular file.
///
/// # Errors
/// Returns [`Error::Io`] if it is something else, which it says, or is not there.
pub(crate) fn check_regular(path: &Path) -> Result<()> {
    let found = disk::metadata(path).map_err(Error::io(path))?.file_type();
    if found.is_file() {
        return Ok(());
    }
    let what = if found.is_dir() {
        "a folder"
    } else {
        "a pipe, a device or a socket"
    };
    let message = format!(
        "expected a regular file, found {what}: name a file, or write what it gives to one"
    );
    Err(Error::io(path)(std::io::Error::new(
        ErrorKind::InvalidInput,
        message,
    )))
}

/// Reads a regular file.
///
/// # Errors
/// Returns the errors of [`check_regular`], and [`Error::Io`] if it cannot be read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    check_regular(path)?;
    disk::read(path).map_err(Error::io(path))
}
