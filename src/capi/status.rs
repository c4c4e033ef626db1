//! Status codes, the caller's error object, and how library errors map to them. Values are never reused.

use crate::error::Error;
use std::borrow::Cow;
use std::ffi::{CStr, c_char};

/// What every fallible call returns: BNN_OK or the reason.
pub type bnn_status = i32;

/// Success.
pub const BNN_OK: bnn_status = 0;
/// An argument or option is out of its range.
pub const BNN_ERR_INVALID: bnn_status = 1;
/// A buffer has the wrong length.
pub const BNN_ERR_SHAPE: bnn_status = 2;
/// A text or token file does not hold what it must.
pub const BNN_ERR_DATA: bnn_status = 3;
/// The operating system refused to read or write.
pub const BNN_ERR_IO: bnn_status = 4;
/// Not a bnn file.
pub const BNN_ERR_BAD_MAGIC: bnn_status = 5;
/// Another version of the format.
pub const BNN_ERR_BAD_VERSION: bnn_status = 6;
/// A file is shorter or longer than it says.
pub const BNN_ERR_BAD_LENGTH: bnn_status = 7;
/// A file is damaged.
pub const BNN_ERR_BAD_CHECKSUM: bnn_status = 8;
/// A file's header makes no sense.
pub const BNN_ERR_BAD_HEADER: bnn_status = 9;
/// A file is of another model, corpus or chain.
pub const BNN_ERR_MISMATCH: bnn_status = 10;
/// NaN or infinity stopped the computation.
pub const BNN_ERR_NOT_FINITE: bnn_status = 11;
/// The step is provably too large.
pub const BNN_ERR_UNSTABLE: bnn_status = 12;
/// The build or the machine cannot do it.
pub const BNN_ERR_UNSUPPORTED: bnn_status = 13;
/// The caller asked to stop.
pub const BNN_ERR_INTERRUPTED: bnn_status = 14;
/// A pointer that must not be NULL is.
pub const BNN_ERR_NULL: bnn_status = 15;
/// A defect of the library; the message has its text. The handle may be freed, nothing else.
pub const BNN_ERR_PANIC: bnn_status = 16;
/// The caller's buffer is too small; *needed says how large it must be.
pub const BNN_ERR_TOO_SMALL: bnn_status = 17;
/// The handle is in use by another call: another thread's, or the one that runs this callback.
pub const BNN_ERR_BUSY: bnn_status = 18;
/// An error of a kind that this list does not have yet.
pub const BNN_ERR_OTHER: bnn_status = 19;

/// The system has not the memory that is needed; the message says for what, and how much. What the call was to change is as before, or, of a step,
/// as the call's other errors leave it.
pub const BNN_ERR_NO_MEMORY: bnn_status = 20;
/// Every step was made, or every text has ended: nothing is left to do.
pub const BNN_ERR_DONE: bnn_status = 21;
/// The call came too early or too late, as before the first step or when sampling has begun; the message says what to do.
pub const BNN_ERR_STATE: bnn_status = 22;

/// Returns the name of a status, such as "BNN_ERR_BUSY", and "unknown status" for another number: static, NUL-terminated, not to be freed. Never fails.
#[unsafe(no_mangle)]
pub extern "C" fn bnn_status_name(status: bnn_status) -> *const c_char {
    name(status).as_ptr()
}

fn name(status: bnn_status) -> &'static CStr {
    match status {
        BNN_OK => c"BNN_OK",
        BNN_ERR_INVALID => c"BNN_ERR_INVALID",
        BNN_ERR_SHAPE => c"BNN_ERR_SHAPE",
        BNN_ERR_DATA => c"BNN_ERR_DATA",
        BNN_ERR_IO => c"BNN_ERR_IO",
        BNN_ERR_BAD_MAGIC => c"BNN_ERR_BAD_MAGIC",
        BNN_ERR_BAD_VERSION => c"BNN_ERR_BAD_VERSION",
        BNN_ERR_BAD_LENGTH => c"BNN_ERR_BAD_LENGTH",
        BNN_ERR_BAD_CHECKSUM => c"BNN_ERR_BAD_CHECKSUM",
        BNN_ERR_BAD_HEADER => c"BNN_ERR_BAD_HEADER",
        BNN_ERR_MISMATCH => c"BNN_ERR_MISMATCH",
        BNN_ERR_NOT_FINITE => c"BNN_ERR_NOT_FINITE",
        BNN_ERR_UNSTABLE => c"BNN_ERR_UNSTABLE",
        BNN_ERR_UNSUPPORTED => c"BNN_ERR_UNSUPPORTED",
        BNN_ERR_INTERRUPTED => c"BNN_ERR_INTERRUPTED",
        BNN_ERR_NULL => c"BNN_ERR_NULL",
        BNN_ERR_PANIC => c"BNN_ERR_PANIC",
        BNN_ERR_TOO_SMALL => c"BNN_ERR_TOO_SMALL",
        BNN_ERR_BUSY => c"BNN_ERR_BUSY",
        BNN_ERR_OTHER => c"BNN_ERR_OTHER",
        BNN_ERR_NO_MEMORY => c"BNN_ERR_NO_MEMORY",
        BNN_ERR_DONE => c"BNN_ERR_DONE",
        BNN_ERR_STATE => c"BNN_ERR_STATE",
        _ => c"unknown status",
    }
}

/// Detail of an error, owned by the caller. Every function takes NULL in its place. Untouched on success.
#[repr(C)]
pub struct bnn_error {
    /// The status.
    pub code: i32,
    /// What was expected, what came, and where: UTF-8, NUL-terminated, cut at 507 bytes.
    pub message: [c_char; 508],
}

/// Why a call failed.
pub(super) enum Fail {
    Library(Error),
    Null(Cow<'static, str>),
    TooSmall {
        needed: usize,
        capacity: usize,
    },
    Busy(&'static str),
    Panic(String),
    /// With what says that nothing is left, and what to do about it.
    Done(Cow<'static, str>),
}

impl From<Error> for Fail {
    fn from(e: Error) -> Self {
        Self::Library(e)
    }
}

impl Fail {
    pub fn code(&self) -> bnn_status {
        match self {
            Self::Null(_) => BNN_ERR_NULL,
            Self::TooSmall { .. } => BNN_ERR_TOO_SMALL,
            Self::Busy(_) => BNN_ERR_BUSY,
            Self::Panic(_) => BNN_ERR_PANIC,
            Self::Done(_) => BNN_ERR_DONE,
            Self::Library(e) => match e {
                Error::OutOfRange { .. } | Error::Conflict(_) | Error::Unknown { .. } => {
                    BNN_ERR_INVALID
                }
                Error::State(_) => BNN_ERR_STATE,
                Error::Shape { .. } => BNN_ERR_SHAPE,
                Error::Data { .. } => BNN_ERR_DATA,
                Error::Io { .. } => BNN_ERR_IO,
                Error::BadMagic { .. } => BNN_ERR_BAD_MAGIC,
                Error::BadVersion { .. } => BNN_ERR_BAD_VERSION,
                Error::BadLength { .. } => BNN_ERR_BAD_LENGTH,
                Error::BadChecksum { .. } => BNN_ERR_BAD_CHECKSUM,
                Error::BadHeader { .. } => BNN_ERR_BAD_HEADER,
                Error::Mismatch { .. } => BNN_ERR_MISMATCH,
                Error::NotFinite { .. } => BNN_ERR_NOT_FINITE,
                Error::Unstable(_) => BNN_ERR_UNSTABLE,
                Error::Unsupported(_) => BNN_ERR_UNSUPPORTED,
                Error::Interrupted => BNN_ERR_INTERRUPTED,
                Error::OutOfMemory { .. } => BNN_ERR_NO_MEMORY,
            },
        }
    }

    pub fn text(&self) -> String {
        match self {
            Self::Library(e) => e.to_string(),
            Self::Null(what) => format!("{what}: expected a pointer, got NULL"),
            Self::TooSmall { needed, capacity } => {
                format!("buffer: expected room for {needed}, got {capacity}")
            }
            Self::Busy(what) => format!("{what}: in use by another call"),
            Self::Panic(text) => format!("defect in the library: {text}"),
            Self::Done(what) => what.clone().into_owned(),
        }
    }
}
