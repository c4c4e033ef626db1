//! The file system as this library uses it: every call can be watched and refused, so that crashes and failing disks can be simulated.
//!
//! Whatever the library and the command read and write goes through here. A program that wants to know what happens to its runs when
//! the disk fails lets a [`Watch`] look:
//!
//! ```
//! use bnn::disk::{Access, Watch, watch};
//! use std::cell::RefCell;
//! use std::rc::Rc;
//!
//! /// Refuses every rename.
//! struct NoRename;
//!
//! impl Watch for NoRename {
//!     fn before(&mut self, access: &Access<'_>) -> std::io::Result<()> {
//!         match access {
//!             Access::Rename { .. } => Err(std::io::ErrorKind::StorageFull.into()),
//!             _ => Ok(()),
//!         }
//!     }
//! }
//!
//! let path = std::env::temp_dir().join(format!("bnn-disk-example-{}", std::process::id()));
//! let watching = watch(Rc::new(RefCell::new(NoRename)));
//! assert!(bnn::store::replace_file(&path, |_| Ok(())).is_err());
//! assert!(!path.exists());
//! drop(watching); // nobody looks any more
//! ```

use std::cell::RefCell;
use std::fs;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A call to the file system that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access<'a> {
    /// Asks whether something is there, and what it is.
    Look(&'a Path),
    /// Lists a folder.
    List(&'a Path),
    /// Opens a file that is there, or a file to append to.
    Open(&'a Path),
    /// Reads from an open file.
    Read(&'a Path),
    /// Makes a folder, whose parent is there.
    MakeFolder(&'a Path),
    /// Makes a file, which must not be there.
    Create(&'a Path),
    /// Writes to a file.
    Write {
        /// The file, by the name under which it was opened.
        path: &'a Path,
        /// The place of the first byte.
        at: u64,
        /// What is written.
        bytes: &'a [u8],
    },
    /// Cuts a file to a length.
    Cut {
        /// The file, by the name under which it was opened.
        path: &'a Path,
        /// Its new length, at most the present one.
        len: u64,
    },
    /// Makes what was written to a file durable.
    Sync(&'a Path),
    /// Gives a file another name, in the place of what has it.
    Rename {
        /// The old name.
        from: &'a Path,
        /// The new name.
        to: &'a Path,
    },
    /// Gives a file a second name, which must not be there.
    Link {
        /// The first name.
        from: &'a Path,
        /// The second name.
        to: &'a Path,
    },
    /// Takes a name away.
    Remove(&'a Path),
    /// Makes the names in a folder durable.
    SyncFolder(&'a Path),
}

/// Somebody who looks at each call to the file system that one thread makes.
pub trait Watch {
    /// Hears of a call before it is made. An error is returned to the caller, and the call is not made.
    ///
    /// # Errors
    /// Whatever the file system is to answer.
    fn before(&mut self, access: &Access<'_>) -> io::Result<()>;

    /// Returns how many of `n` bytes one call reads or writes, from 1 to `n`. A short one is no error: the caller goes on behind it.
    fn at_most(&mut self, n: usize) -> usize {
        n
    }
}

thread_local! {
    static WATCH: RefCell<Option<Rc<RefCell<dyn Watch>>>> = const { RefCell::new(None) };
}

/// Somebody looks as long as this lives.
#[must_use = "nobody looks once this is dropped"]
pub struct Watching(Option<Rc<RefCell<dyn Watch>>>);

/// Lets somebody look at this thread's calls until what is returned is dropped; then the one who looked before does again. The threads that
/// [`Store::for_each`](crate::store::Store::for_each) starts to read ahead are not looked at.
pub fn watch(watch: Rc<RefCell<dyn Watch>>) -> Watching {
    Watching(WATCH.with(|now| now.replace(Some(watch))))
}

impl Drop for Watching {
    fn drop(&mut self) {
        WATCH.with(|now| now.replace(self.0.take()));
    }
}

/// Asks the one who looks, if there is one.
fn ask<R>(of: impl FnOnce(&mut dyn Watch) -> R) -> Option<R> {
    // Whoever looks may use the file system, and is not asked about that.
    let watch = WATCH.with(|now| now.try_borrow_mut().ok()?.take())?;
    let answer = of(&mut *watch.borrow_mut());
    WATCH.with(|now| now.replace(Some(watch)));
    Some(answer)
}

fn is_watched() -> bool {
    WATCH.with(|now| now.try_borrow().is_ok_and(|watch| watch.is_some()))
}

fn before(access: Access<'_>) -> io::Result<()> {
    ask(|watch| watch.before(&access)).unwrap_or(Ok(()))
}

fn at_most(n: usize) -> usize {
    ask(|watch| watch.at_most(n)).map_or(n, |most| most.clamp(n.min(1), n))
}

/// Returns whether something has that name.
pub(crate) fn exists(path: &Path) -> io::Result<bool> {
    before(Access::Look(path))?;
    path.try_exists()
}

/// Returns what has that name.
pub(crate) fn metadata(path: &Path) -> io::Result<fs::Metadata> {
    before(Access::Look(path))?;
    path.metadata()
}

/// Returns whether a name is a file's own, and not a folder's or a link's.
pub(crate) fn is_file_itself(path: &Path) -> io::Result<bool> {
    before(Access::Look(path))?;
    Ok(path.symlink_metadata()?.is_file())
}

/// Returns the names in a folder, sorted.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    before(Access::List(folder))?;
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort_unstable();
    Ok(paths)
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a whole text.
#[cfg(feature = "cli")]
pub(crate) fn read_to_string(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Makes a folder, whose parent is there, and makes its name durable.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] where something has that name, and what the system says.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    before(Access::MakeFolder(folder))?;
    fs::create_dir(folder)?;
    sync_folder(folder_of(folder))
}

/// Makes a folder and those above it that are not there, and makes each name durable.
pub(crate) fn make_folders(folder: &Path) -> io::Result<()> {
    if metadata(folder).is_ok_and(|m| m.is_dir()) {
        return Ok(());
    }
    match make_folder(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound && folder.parent().is_some() => {
            make_folders(folder_of(folder))?;
            make_folder(folder).or_else(|e| made_meanwhile(folder, e))
        }
        made => made.or_else(|e| made_meanwhile(folder, e)),
    }
}

/// Takes a folder that another process has made meanwhile.
fn made_meanwhile(folder: &Path, e: io::Error) -> io::Result<()> {
    match e.kind() {
        ErrorKind::AlreadyExists if folder.is_dir() => Ok(()),
        _ => Err(e),
    }
}

/// Gives a file another name.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    before(Access::Rename { from, to })?;
    fs::rename(from, to)
}

/// Gives a file a second name, which must not be there.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    before(Access::Link { from, to })?;
    fs::hard_link(from, to)
}

/// Takes a name away.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    before(Access::Remove(path))?;
    fs::remove_file(path)
}

/// Returns the folder that holds `path`.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes the names in a folder durable, where the system can.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    before(Access::SyncFolder(folder))?;
    // Only Unix opens folders as files; there, some may be written to but not opened, and some file systems
    // refuse to flush them.
    if !cfg!(unix) {
        return Ok(());
    }
    match fs::File::open(folder).and_then(|f| f.sync_all()) {
        Err(e)
            if [
                ErrorKind::InvalidInput,
                ErrorKind::Unsupported,
                ErrorKind::PermissionDenied,
            ]
            .contains(&e.kind()) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// An open file, with the name under which it was opened.
#[derive(Debug)]
pub struct File {
    file: fs::File,
    path: PathBuf,
    /// Whether every write goes to the end.
    appends: bool,
}

impl File {
    /// Opens a file to read.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        before(Access::Open(path))?;
        Self::named(fs::File::open(path), path)
    }

    /// Makes a file to write, which must not be there.
    pub(crate) fn create_new(path: &Path) -> io::Result<Self> {
        before(Access::Create(path))?;
        Self::named(fs::File::create_new(path), path)
    }

    /// Opens a file to read and to append to, and makes it where it is not there.
    pub(crate) fn append(path: &Path) -> io::Result<Self> {
        match Self::create_new(path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
            // Opened anew below, so that every write goes to the end.
            Ok(_) => {}
        }
        before(Access::Open(path))?;
        let file = fs::File::options().read(true).append(true).open(path);
        let mut file = Self::named(file, path)?;
        file.appends = true;
        Ok(file)
    }

    /// Opens a file that is there to write over it, for devices and pipes.
    #[cfg(feature = "cli")]
    pub(crate) fn write_over(path: &Path) -> io::Result<Self> {
        before(Access::Open(path))?;
        Self::named(fs::File::options().write(true).open(path), path)
    }

    /// Opens a file that is there to read and to write anywhere.
    pub(crate) fn update(path: &Path) -> io::Result<Self> {
        before(Access::Open(path))?;
        let file = fs::File::options().read(true).write(true).open(path);
        Self::named(file, path)
    }

    fn named(file: io::Result<fs::File>, path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: file?,
            path: path.to_path_buf(),
            appends: false,
        })
    }

    /// Returns its length in bytes.
    pub(crate) fn len(&self) -> io::Result<u64> {
        before(Access::Look(&self.path))?;
        Ok(self.file.metadata()?.len())
    }

    /// Cuts it to a length.
    pub(crate) fn cut(&mut self, len: u64) -> io::Result<()> {
        let path = &self.path;
        before(Access::Cut { path, len })?;
        self.file.set_len(len)
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        before(Access::Sync(&self.path))?;
        self.file.sync_all()
    }

    /// Returns the system's file, for locks.
    pub(crate) fn system(&self) -> &fs::File {
        &self.file
    }
}

impl Read for File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        before(Access::Read(&self.path))?;
        let n = at_most(buf.len());
        self.file.read(&mut buf[..n])
    }
}

impl Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if !is_watched() {
            return self.file.write(buf);
        }
        let (path, bytes) = (&self.path, &buf[..at_most(buf.len())]);
        let at = match self.appends {
            true => self.file.metadata()?.len(),
            false => self.file.stream_position()?,
        };
        before(Access::Write { path, at, bytes })?;
        // Whole, so that whoever looks knows what is there.
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for File {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        self.file.seek(pos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count(usize);

    impl Watch for Count {
        fn before(&mut self, access: &Access<'_>) -> io::Result<()> {
            self.0 += 1;
            match access {
                Access::Link { .. } => Err(ErrorKind::Unsupported.into()),
                _ => Ok(()),
            }
        }

        fn at_most(&mut self, n: usize) -> usize {
            n.min(3)
        }
    }

    #[test]
    fn calls_are_watched_one_by_one_and_short_ones_are_gone_on_with() {
        let folder = std::env::temp_dir().join(format!("bnn-disk-{}/a/b", std::process::id()));
        let count = Rc::new(RefCell::new(Count(0)));
        let watching = watch(count.clone());
        make_folders(&folder).unwrap();
        let (file, copy) = (folder.join("f"), folder.join("g"));
        File::create_new(&file)
            .unwrap()
            .write_all(b"ten bytes.")
            .unwrap();
        assert!(link(&file, &copy).is_err());
        std::io::copy(
            &mut File::open(&file).unwrap(),
            &mut File::create_new(&copy).unwrap(),
        )
        .unwrap();
        assert_eq!(read(&copy).unwrap(), b"ten bytes.");
        let mut appended = File::append(&copy).unwrap();
        appended.write_all(b" More.").unwrap();
        appended.cut(13).unwrap();
        appended.sync().unwrap();
        assert_eq!(read(&copy).unwrap(), b"ten bytes. Mo");
        let seen = count.borrow().0;
        assert!(seen > 30, "{seen}");
        drop(watching);
        remove(&file).unwrap();
        assert_eq!(count.borrow().0, seen);
        let top = folder.parent().and_then(Path::parent).unwrap();
        fs::remove_dir_all(top).unwrap();
    }
}
