//! How far a long call is, told to the caller, who may end it.

use super::guard::call_back;
use crate::error::{Error, Result};
use std::ffi::c_void;

/// Called now and then by a long call, on the calling thread; 0 ends it with BNN_ERR_INTERRUPTED, anything else goes on.
///
/// done: pieces of work that are done, of total; total is 0 where it is not known. A call into a handle that the long call works with returns
/// BNN_ERR_BUSY; freeing one is fine.
pub type bnn_progress_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, done: u64, total: u64) -> i32>;

/// The callback with its pointer, and how much work there is.
pub(super) struct Watched {
    callback: bnn_progress_callback,
    user_data: *mut c_void,
    total: u64,
}

impl Watched {
    /// Watches for a caller, who promises that the callback may be called with its pointer on this thread.
    pub fn new(callback: bnn_progress_callback, user_data: *mut c_void, total: usize) -> Self {
        Self {
            callback,
            user_data,
            total: total as u64,
        }
    }

    /// Tells how much is done.
    ///
    /// # Errors
    /// [`Error::Interrupted`] where the caller ends the work.
    pub fn at(&self, done: usize) -> Result<()> {
        let Some(f) = self.callback else {
            return Ok(());
        };
        // SAFETY: the function and its pointer are the caller's, who gave them to the call that this is part of.
        match call_back(|| unsafe { f(self.user_data, done as u64, self.total) }) {
            0 => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }
}
