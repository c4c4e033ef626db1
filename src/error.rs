//! One error type and one result type for the whole crate.

use std::path::{Path, PathBuf};

/// What went wrong: every variant says what was expected, what was found, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or a setting is out of its range.
    #[error("{what}: expected {expected}, got {got}")]
    OutOfRange {
        /// The argument's or setting's name.
        what: String,
        /// The range or form that was expected.
        expected: String,
        /// The value that was given.
        got: String,
    },
    /// Settings, arguments or calls contradict each other; the sentence says what to do.
    #[error("{0}")]
    Conflict(String),
    /// A call came before or after the time that it is for; the sentence says what to do.
    #[error("{0}")]
    State(String),
    /// Nothing has the given name.
    #[error("unknown {what} `{name}`; {hint}")]
    Unknown {
        /// The kind of thing that was named.
        what: String,
        /// The name that was given.
        name: String,
        /// The nearest known name, or all of them.
        hint: String,
    },
    /// A buffer, tensor or batch has the wrong shape.
    #[error("{what}: expected shape {expected}, got {got}")]
    Shape {
        /// The tensor's name.
        what: String,
        /// The expected shape.
        expected: String,
        /// The given shape.
        got: String,
    },
    /// The contents of a text or token file are wrong.
    #[error("{place}: {message}")]
    Data {
        /// The file, with line, byte or token position where known.
        place: String,
        /// What was expected and what was found.
        message: String,
    },
    /// The operating system refused to read or write.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is of another kind.
    #[error("{path}: not a bnn file (its first bytes are {got:02x?}, expected {expected:02x?})", path = path.display())]
    BadMagic {
        /// The file.
        path: PathBuf,
        /// The bytes that a bnn file begins with.
        expected: [u8; 8],
        /// The bytes that this file begins with.
        got: Vec<u8>,
    },
    /// The file was written by another version of the format.
    #[error("{path}: format version {got}, this build reads version {expected}", path = path.display())]
    BadVersion {
        /// The file.
        path: PathBuf,
        /// The version that this build reads.
        expected: u32,
        /// The version in the file.
        got: u32,
    },
    /// The file is shorter or longer than its header says.
    #[error("{path}: {what} needs {expected} bytes, the file has {got}", path = path.display())]
    BadLength {
        /// The file.
        path: PathBuf,
        /// The part of the file.
        what: String,
        /// How many bytes it needs.
        expected: u64,
        /// How many are there.
        got: u64,
    },
    /// The bytes are not those that were written.
    #[error("{path}: checksum of {what} is {got}, expected {expected}: the file is damaged; take it from a copy that is whole, and of a run's file `bnn check RUN --repair` goes on without it", path = path.display())]
    BadChecksum {
        /// The file.
        path: PathBuf,
        /// The part of the file.
        what: String,
        /// The checksum in the file.
        expected: String,
        /// The checksum of the bytes.
        got: String,
    },
    /// The header is intact but its contents are invalid.
    #[error("{path}: {message}", path = path.display())]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The file belongs to another model, corpus or chain.
    #[error("{path}: {what} is {got}, expected {expected}", path = path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What does not match.
        what: String,
        /// What was expected.
        expected: String,
        /// What the file holds.
        got: String,
    },
    /// The system has not the memory that is needed.
    #[error(
        "no memory for {what}: {bytes} bytes are needed at once; make the model, the batch or the data smaller, or free memory"
    )]
    OutOfMemory {
        /// What was to be kept there.
        what: String,
        /// How many bytes it takes.
        bytes: u64,
    },
    /// A NaN or an infinity stopped the computation.
    #[error(
        "step {step}: {tensor} is not finite ({value}); stopped, what was stored before is intact"
    )]
    NotFinite {
        /// The step at which it was seen, counted from 0.
        step: u64,
        /// The tensor's name.
        tensor: String,
        /// The first value that is not finite.
        value: f32,
    },
    /// The step is provably too large.
    #[error("unstable: {0}")]
    Unstable(String),
    /// The build or the machine cannot do this.
    #[error("{0}")]
    Unsupported(String),
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// `std::result::Result` with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Returns whether an error of reading a file says that its bytes are wrong, and not that the system refused them or memory did not hold them, which
    /// may be otherwise next time.
    pub(crate) fn is_damage(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::OutOfMemory { .. })
    }

    /// Builds [`Error::OutOfRange`]: an argument is out of range.
    pub fn out_of_range(
        what: impl Into<String>,
        expected: impl Into<String>,
        got: impl std::fmt::Display,
    ) -> Self {
        Self::OutOfRange {
            what: what.into(),
            expected: expected.into(),
            got: got.to_string(),
        }
    }

    /// Builds [`Error::Conflict`] from a sentence that says what contradicts and what to do about it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::Conflict(message.into())
    }

    /// Builds [`Error::State`] from a sentence that says what the time is and what to do about it.
    pub fn state(message: impl Into<String>) -> Self {
        Self::State(message.into())
    }

    /// Builds [`Error::Unknown`] for a name that is not among those known; the message suggests the nearest of them, or lists all where
    /// none is near.
    pub fn unknown<'a>(
        what: impl Into<String>,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let hint = match nearest(name, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("expected one of {}", known.join(", ")),
        };
        Self::Unknown {
            what: what.into(),
            name: name.into(),
            hint,
        }
    }

    /// Builds [`Error::Shape`]: a buffer has the wrong shape.
    pub fn shape(
        what: impl Into<String>,
        expected: impl std::fmt::Debug,
        got: impl std::fmt::Debug,
    ) -> Self {
        Self::Shape {
            what: what.into(),
            expected: format!("{expected:?}"),
            got: format!("{got:?}"),
        }
    }

    /// Builds [`Error::Data`]: contents that are not as expected, and where.
    pub fn data(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Data {
            place: place.into(),
            message: message.into(),
        }
    }

    /// Adds the file's name, for `map_err` on a check of its contents.
    pub(crate) fn of_file(path: impl AsRef<Path>) -> impl FnOnce(Self) -> Self {
        let path = path.as_ref().to_path_buf();
        move |e| match e {
            Self::OutOfMemory { .. } => e,
            e => Self::BadHeader {
                path,
                message: e.to_string(),
            },
        }
    }

    /// Builds [`Error::OutOfMemory`]: there is no memory for `n` elements of `size` bytes.
    pub fn out_of_memory(what: impl Into<String>, n: usize, size: usize) -> Self {
        Self::OutOfMemory {
            what: what.into(),
            bytes: (n as u64).saturating_mul(size as u64),
        }
    }

    /// Adds the path, for `map_err` on a file operation. A file that memory does not hold is [`Error::OutOfMemory`].
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| match source.kind() {
            std::io::ErrorKind::OutOfMemory => Self::OutOfMemory {
                what: path.display().to_string(),
                bytes: std::fs::metadata(&path).map_or(0, |m| m.len()),
            },
            _ => Self::Io { path, source },
        }
    }
}

/// Returns the known name that `name` probably stands for: the one with the fewest edits (Levenshtein distance), unless that takes more
/// than half of its characters.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let each = known.into_iter().map(|k| (edits(name, k), k));
    let (n, found) = each.min_by_key(|(n, _)| *n)?;
    (2 * n <= found.chars().count()).then_some(found)
}

/// Returns how many characters must be inserted, deleted or replaced to turn `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let above = row[j + 1];
            let replaced = diagonal + usize::from(x != y);
            row[j + 1] = replaced.min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or(0)
}
