//! Memory whose size depends on a model, on data or on a caller: refused as an error where the system has none, never an abort.
//!
//! What is small and fixed, such as names and messages, is allocated as usual.

use crate::error::{Error, Result};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Returns an empty vector with room for exactly `n` elements.
pub(crate) fn room<T>(n: usize, what: &str) -> Result<Vec<T>> {
    let mut v = Vec::new();
    v.try_reserve_exact(n)
        .map_err(|_| Error::out_of_memory(what, n, size_of::<T>()))?;
    Ok(v)
}

/// Returns `n` copies of a value.
pub(crate) fn filled<T: Clone>(n: usize, value: T, what: &str) -> Result<Vec<T>> {
    let mut v = room(n, what)?;
    v.resize(n, value);
    Ok(v)
}

/// Returns `n` zeros, or what else a type's default is.
pub(crate) fn zeros<T: Clone + Default>(n: usize, what: &str) -> Result<Vec<T>> {
    filled(n, T::default(), what)
}

/// Returns a copy.
pub(crate) fn copy<T: Clone>(from: &[T], what: &str) -> Result<Vec<T>> {
    let mut v = room(from.len(), what)?;
    v.extend_from_slice(from);
    Ok(v)
}

/// Adds to a text that grows as long as there is memory.
pub(crate) fn append_text(to: &mut String, from: &str, what: &str) -> Result<()> {
    let n = to.len().saturating_add(from.len());
    to.try_reserve(from.len())
        .map_err(|_| Error::out_of_memory(what, n, 1))?;
    to.push_str(from);
    Ok(())
}

/// Adds a value to a vector that grows as long as there is memory.
pub(crate) fn push<T>(to: &mut Vec<T>, value: T, what: &str) -> Result<()> {
    grow(to, 1, what)?;
    to.push(value);
    Ok(())
}

/// Adds values to a vector that grows as long as there is memory; without it, none is added.
pub(crate) fn append<T: Clone>(to: &mut Vec<T>, from: &[T], what: &str) -> Result<()> {
    grow(to, from.len(), what)?;
    to.extend_from_slice(from);
    Ok(())
}

/// Makes room for more elements than a vector has, by doubling, so that its growth costs little.
pub(crate) fn grow<T>(v: &mut Vec<T>, more: usize, what: &str) -> Result<()> {
    let n = v.len().saturating_add(more);
    v.try_reserve(more)
        .map_err(|_| Error::out_of_memory(what, n, size_of::<T>()))
}

/// Empties a vector whose values lie elsewhere now; what it keeps of its room is bounded.
pub(crate) fn empty<T>(v: &mut Vec<T>) {
    const MOST: usize = 1 << 16;
    if v.capacity() > MOST {
        *v = Vec::new();
    } else {
        v.clear();
    }
}

/// Gives a vector exactly this length: what is new has this value.
pub(crate) fn resize<T: Clone>(v: &mut Vec<T>, n: usize, value: T, what: &str) -> Result<()> {
    if n > v.len() {
        let more = n - v.len();
        v.try_reserve_exact(more)
            .map_err(|_| Error::out_of_memory(what, n, size_of::<T>()))?;
    }
    v.resize(n, value);
    Ok(())
}

/// Checks that memory holds `n` elements now, for what a crate allocates that cannot return an error.
pub(crate) fn probe<T>(n: usize, what: &str) -> Result<()> {
    room::<T>(n, what).map(drop)
}

/// Collects as many values as come.
pub(crate) fn collect<T>(from: impl IntoIterator<Item = T>, what: &str) -> Result<Vec<T>> {
    try_collect(from.into_iter().map(Ok), what)
}

/// Collects values up to the first error.
pub(crate) fn try_collect<T>(
    from: impl IntoIterator<Item = Result<T>>,
    what: &str,
) -> Result<Vec<T>> {
    let from = from.into_iter();
    let mut v = room(from.size_hint().0, what)?;
    for value in from {
        push(&mut v, value?, what)?;
    }
    Ok(v)
}

/// A buffer that could not grow, on its way to the [`or_error`] around it.
struct Shortage(Error);

/// Leaves for the [`or_error`] around. No hook of a panic hears of it: it is an error on its way.
fn leave(e: Error) -> ! {
    resume_unwind(Box::new(Shortage(e)))
}

/// Returns the error that something left with, if it was one of memory.
pub(crate) fn shortage(
    left: Box<dyn Any + Send>,
) -> std::result::Result<Error, Box<dyn Any + Send>> {
    left.downcast::<Shortage>().map(|shortage| shortage.0)
}

/// Adds a value to a vector, or leaves for the [`or_error`] around it, as a call from C is: for builders of results, which return themselves.
pub(crate) fn push_or_leave<T>(to: &mut Vec<T>, value: T, what: &str) {
    if let Err(e) = push(to, value, what) {
        leave(e);
    }
}

/// Gives a kernel's buffer at least `n` elements, or leaves the kernel for the [`or_error`] around it: kernels return nothing, and their
/// buffers grow once.
pub(crate) fn at_least<T: Clone>(v: &mut Vec<T>, n: usize, value: T) {
    if v.len() < n
        && let Err(e) = resize(v, n, value, "the buffer of an operation")
    {
        leave(e);
    }
}

/// Runs an operation; a buffer in it that could not grow is its error.
pub(crate) fn or_error<R>(operation: impl FnOnce() -> Result<R>) -> Result<R> {
    // Unwind safety: what the operation was to write is unspecified after an error, and nothing else has changed.
    match catch_unwind(AssertUnwindSafe(operation)) {
        Ok(result) => result,
        Err(left) => match shortage(left) {
            Ok(e) => Err(e),
            Err(panic) => resume_unwind(panic),
        },
    }
}
