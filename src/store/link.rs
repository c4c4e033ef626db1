//! A file in a second place: a second name for it, or a copy; it appears whole or not at all.

use super::replace::{Temporary, replace_file};
use crate::disk::{self, File};
use crate::{Error, Result};
use std::io;
use std::path::Path;

/// Gives the file at `from` the second name `to`, in the place of what may be there. Where the file system cannot, `to` is a copy.
///
/// This is for files that are never written to but replaced as a whole: what is written to one name shows under the other.
///
/// # Errors
/// Returns [`Error::Io`] with the path that the system refuses.
pub fn link_file(from: &Path, to: &Path) -> Result<()> {
    // Of a symbolic link the file is meant: the link may be relative.
    let file = from.canonicalize().map_err(Error::io(from))?;
    let (_, temporary) = Temporary::beside(to)?;
    // The name is this call's alone, and the empty file gives way to the link.
    disk::remove(temporary.path()).map_err(Error::io(to))?;
    if disk::link(&file, temporary.path()).is_err() {
        return copy_file(&file, to);
    }
    // Where `to` is a name of the same file already, this does nothing; the temporary name goes when it is dropped.
    disk::rename(temporary.path(), to).map_err(Error::io(to))?;
    drop(temporary);
    let folder = disk::folder_of(to);
    disk::sync_folder(folder).map_err(Error::io(folder))
}

/// Copies the file at `from` to `to`, in the place of what may be there.
///
/// # Errors
/// Returns [`Error::Io`] with the path that the system refuses.
pub fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let mut source = File::open(from).map_err(Error::io(from))?;
    replace_file(to, |f| {
        io::copy(&mut source, f).map(drop).map_err(Error::io(to))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_linked_file_is_whole_whoever_else_links_it() {
        let folder = std::env::temp_dir().join(format!("bnn-link-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (from, to, copy) = (folder.join("a"), folder.join("b"), folder.join("c"));
        fs::write(&from, "content").unwrap();
        fs::write(&to, "before").unwrap();
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| (0..50).for_each(|_| link_file(&from, &to).unwrap()));
            }
        });
        copy_file(&from, &copy).unwrap();
        for path in [&from, &to, &copy] {
            assert_eq!(fs::read(path).unwrap(), b"content");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
        fs::remove_dir_all(&folder).unwrap();
    }
}
