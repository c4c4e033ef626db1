//! Pointers from C as references, slices and text, each checked for NULL; and the way back. `what` names them in errors.

use super::status::Fail;
use crate::error::Error;
use std::borrow::Cow;
use std::ffi::c_char;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard};

type Result<T> = std::result::Result<T, Fail>;

/// Returns the object behind a handle or another pointer.
///
/// # Safety
/// `p` is NULL or points to a live T that stays so for 'a.
pub unsafe fn get<'a, T>(p: *const T, what: &'static str) -> Result<&'a T> {
    // SAFETY: the caller says that `p` is NULL or points to a T that lives for 'a.
    unsafe { p.as_ref() }.ok_or(Fail::Null(what.into()))
}

/// An out-parameter. It is no reference: C may pass one place for several of them.
pub struct Out<T>(NonNull<T>);

/// Returns an out-parameter, to be written.
///
/// # Safety
/// `p` is NULL or points to memory for a T that, until the last [`Out::write`], stays and is the caller's to write.
pub unsafe fn out<T>(p: *mut T, what: &'static str) -> Result<Out<T>> {
    NonNull::new(p).map(Out).ok_or(Fail::Null(what.into()))
}

impl<T: Copy> Out<T> {
    /// Writes it, and reads nothing of what is there.
    pub fn write(&self, value: T) {
        // SAFETY: what the caller of `out` promised.
        unsafe { self.0.write(value) }
    }
}

/// Returns `n` elements to read; NULL is fine for none.
///
/// # Safety
/// `p` is NULL or points to `n` initialised T that nobody changes for 'a.
pub unsafe fn slice<'a, T>(
    p: *const T,
    n: usize,
    what: impl Into<Cow<'static, str>>,
) -> Result<&'a [T]> {
    match (p.is_null(), n) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Fail::Null(what.into())),
        // SAFETY: `p` is not NULL, and the caller says that it points to `n` initialised T that nobody changes for 'a.
        (false, n) => Ok(unsafe { std::slice::from_raw_parts(p, n) }),
    }
}

/// Returns `n` elements to write; NULL is fine for none.
///
/// # Safety
/// `p` is NULL or points to `n` initialised T that nobody else uses for 'a.
pub unsafe fn slice_mut<'a, T>(p: *mut T, n: usize, what: &'static str) -> Result<&'a mut [T]> {
    match (p.is_null(), n) {
        (_, 0) => Ok(&mut []),
        (true, _) => Err(Fail::Null(what.into())),
        // SAFETY: `p` is not NULL, and the caller says that it points to `n` initialised T that nobody else uses for 'a.
        (false, n) => Ok(unsafe { std::slice::from_raw_parts_mut(p, n) }),
    }
}

/// Returns a text, given as UTF-8 with its length in bytes.
///
/// # Safety
/// `p` is NULL or points to `n` initialised bytes that nobody writes during 'a.
pub unsafe fn text<'a>(
    p: *const c_char,
    n: usize,
    what: impl Into<Cow<'static, str>>,
) -> Result<&'a str> {
    let what = what.into();
    // SAFETY: the caller says that `p` is NULL or points to `n` bytes; c_char and u8 have one layout.
    let bytes = unsafe { slice(p.cast::<u8>(), n, what.clone()) }?;
    std::str::from_utf8(bytes)
        .map_err(|e| Error::out_of_range(what, "UTF-8", format!("bytes that are not: {e}")).into())
}

/// Returns `n` texts, given with their lengths; `what` is the name of one.
///
/// # Safety
/// `chars` and `lens` are NULL or point to `n` elements, and each of `chars` points to as many bytes as its length says; nobody writes them during 'a.
pub unsafe fn texts<'a>(
    chars: *const *const c_char,
    lens: *const usize,
    n: usize,
    what: &'static str,
) -> Result<Vec<&'a str>> {
    // SAFETY: the caller says that both arrays have `n` elements, and each text its length.
    unsafe {
        let chars = slice(chars, n, format!("{what}s"))?;
        let lens = slice(lens, n, format!("{what}_lens"))?;
        let each = chars.iter().zip(lens).enumerate();
        each.map(|(i, (&p, &len))| text(p, len, format!("{what} {i}")))
            .collect()
    }
}

/// Copies `from` to the caller's buffer; `needed` gets the length whatever happens.
///
/// # Safety
/// `buffer` is NULL or points to `capacity` elements that nobody else uses, and `needed` is NULL or to be written.
pub unsafe fn give<T: Copy>(
    from: &[T],
    buffer: *mut T,
    capacity: usize,
    needed: *mut usize,
) -> Result<()> {
    // SAFETY: the caller says that `needed` is NULL or to be written.
    unsafe { out(needed, "needed") }?.write(from.len());
    if from.len() > capacity {
        return Err(Fail::TooSmall {
            needed: from.len(),
            capacity,
        });
    }
    // SAFETY: the caller says that `buffer` has `capacity` elements; only the front that fits is touched.
    unsafe { slice_mut(buffer, from.len(), "buffer") }?.copy_from_slice(from);
    Ok(())
}

/// Locks the inside of a handle, unless another call is using it.
pub fn lock<'a, T>(inside: &'a Mutex<T>, what: &'static str) -> Result<MutexGuard<'a, T>> {
    match inside.try_lock() {
        Ok(guard) => Ok(guard),
        Err(std::sync::TryLockError::WouldBlock) => Err(Fail::Busy(what)),
        Err(std::sync::TryLockError::Poisoned(_)) => Err(Fail::Panic(format!(
            "{what}: an earlier call on it failed so"
        ))),
    }
}

/// Hands a new handle to the caller.
///
/// # Safety
/// `to` is NULL or to be written.
pub unsafe fn hand_out<T>(to: *mut *mut T, value: T, what: &'static str) -> Result<()> {
    // SAFETY: the caller says that `to` is NULL or to be written.
    unsafe { out(to, what) }?.write(Box::into_raw(Box::new(value)));
    Ok(())
}

/// Takes a handle back; NULL is fine.
///
/// # Safety
/// `p` is NULL or came from [`hand_out`] and was not taken back.
pub unsafe fn take_back<T>(p: *mut T) {
    if !p.is_null() {
        // A destructor does not panic here; if it did, C must not see it.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // SAFETY: `p` is not NULL, and the caller says that it came from `hand_out` and was not taken back.
            drop(unsafe { Box::from_raw(p) });
        }));
    }
}
