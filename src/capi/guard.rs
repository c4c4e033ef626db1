//! The one door that every fallible call goes through: panics are caught, the reason is written to the caller's error object.

use super::status::{BNN_OK, Fail, bnn_error, bnn_status};
use crate::memory::shortage;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

thread_local! {
    /// Whether this thread is inside a call, and not in a callback of the caller's.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// How many threads are inside a call.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Marks this thread as inside a call, or outside, until it is dropped.
struct Mark {
    before: bool,
}

impl Mark {
    fn new(inside: bool) -> Self {
        let before = INSIDE.replace(inside);
        Self::count(before, inside);
        Self { before }
    }

    fn count(from: bool, to: bool) {
        match (from, to) {
            (false, true) => _ = CALLS.fetch_add(1, Relaxed),
            (true, false) => _ = CALLS.fetch_sub(1, Relaxed),
            _ => {}
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        Self::count(INSIDE.replace(self.before), self.before);
    }
}

/// Keeps a panic of the library from being printed: it is reported through the status. Every other panic goes to the hook that was there
/// before, which this one, set by the first call, hands it to.
fn silence() {
    static SET: Once = Once::new();
    // A thread that panics cannot set a hook; a later call does.
    if SET.is_completed() || std::thread::panicking() {
        return;
    }
    SET.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let is_ours = INSIDE.get()
                || CALLS.load(Relaxed) > 0
                    && std::thread::current()
                        .name()
                        .is_some_and(|name| name.starts_with("bnn-"));
            if !is_ours {
                before(panic);
            }
        }));
    });
}

/// Runs what may panic; nothing of a panic is printed.
pub(super) fn quietly<R>(body: impl FnOnce() -> R) -> std::thread::Result<R> {
    silence();
    let _mark = Mark::new(true);
    // Unwind safety: after a panic the handle may only be freed, and what was locked tells the next call of it.
    catch_unwind(AssertUnwindSafe(body))
}

/// Runs a callback of the caller's: a panic in there is none of the library's.
pub(super) fn call_back<R>(callback: impl FnOnce() -> R) -> R {
    let _mark = Mark::new(false);
    callback()
}

/// Runs `body`; its failure, or its panic, becomes a status and a message.
pub(super) fn guard(err: *mut bnn_error, body: impl FnOnce() -> Result<(), Fail>) -> bnn_status {
    let failed = match quietly(body) {
        Ok(Ok(())) => return BNN_OK,
        Ok(Err(fail)) => fail,
        Err(panic) => match shortage(panic) {
            Ok(e) => e.into(),
            Err(panic) => Fail::Panic(
                panic
                    .downcast_ref::<&str>()
                    .map(|s| (*s).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "no text".into()),
            ),
        },
    };
    if !err.is_null() && err.is_aligned() {
        let text = failed.text();
        let mut message = [0; MESSAGE];
        let mut end = text.len().min(MESSAGE - 1);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        for (to, from) in message.iter_mut().zip(&text.as_bytes()[..end]) {
            *to = *from as std::ffi::c_char;
        }
        let code = failed.code();
        // SAFETY: `err` is not NULL and aligned; the caller passes a bnn_error of its own that nobody else uses during the call. Nothing in it
        // is read.
        unsafe { err.write(bnn_error { code, message }) };
    }
    failed.code()
}

/// The bytes of a message, the NUL at its end included.
const MESSAGE: usize = 508;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Broken: without the hook, the panics inside are counted too.
    #[test]
    fn a_panic_inside_is_a_status_and_is_not_printed() {
        let printed = Arc::new(AtomicUsize::new(0));
        let count = printed.clone();
        // The hook that a host has set; the first call of the library keeps it.
        std::panic::set_hook(Box::new(move |_| _ = count.fetch_add(1, Relaxed)));
        let mut err = bnn_error {
            code: 0,
            message: [0; MESSAGE],
        };
        let status = guard(&mut err, || panic!("out of step"));
        let text: Vec<u8> = err.message.iter().map(|&c| c as u8).collect();
        assert_eq!((status, err.code), (16, 16));
        assert!(text.starts_with(b"defect in the library: out of step\0"));
        // So is one of a thread that computes for the call.
        let status = guard(&mut err, || {
            let pool = crate::backend::HostPool::new(2)?;
            pool.run(|| -> () { panic!("a worker") });
            Ok(())
        });
        assert_eq!((status, printed.load(Relaxed)), (16, 0));
        // A panic outside, and one in a callback, are the host's.
        assert!(catch_unwind(|| panic!("the host's")).is_err());
        assert_eq!(printed.load(Relaxed), 1);
        guard(&mut err, || {
            call_back(|| _ = catch_unwind(|| panic!("the host's")));
            Ok(())
        });
        assert_eq!((CALLS.load(Relaxed), printed.load(Relaxed)), (0, 2));
        let _ = std::panic::take_hook();
    }
}
