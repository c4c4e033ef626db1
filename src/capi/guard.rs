//! The one door that every fallible call goes through: panics are caught, the reason is written to the caller's error object.

use super::status::{BNN_OK, Fail, bnn_error, bnn_status};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body`; its failure, or its panic, becomes a status and a message.
pub(super) fn guard(err: *mut bnn_error, body: impl FnOnce() -> Result<(), Fail>) -> bnn_status {
    // Unwind safety: after a panic the handle may only be freed, and locks are not poisoned for that.
    let failed = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return BNN_OK,
        Ok(Err(fail)) => fail,
        Err(panic) => Fail::Panic(
            panic
                .downcast_ref::<&str>()
                .map(|s| (*s).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no text".into()),
        ),
    };
    // SAFETY: the caller passes NULL or a bnn_error of its own that nobody else uses during the call.
    if let Some(err) = unsafe { err.as_mut() } {
        err.code = failed.code();
        let text = failed.text();
        let mut end = text.len().min(err.message.len() - 1);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        err.message.fill(0);
        for (to, from) in err.message.iter_mut().zip(&text.as_bytes()[..end]) {
            *to = *from as std::ffi::c_char;
        }
    }
    failed.code()
}
