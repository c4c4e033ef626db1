//! Pointers from C as references, slices and text, each checked for NULL; and the way back. `what` names them in errors.

use super::guard::quietly;
use super::status::Fail;
use crate::backend::Device;
use crate::backend::ops::ActivationOps;
use crate::error::Error;
use crate::memory;
use std::borrow::Cow;
use std::ffi::{CStr, c_char};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard};

type Result<T> = std::result::Result<T, Fail>;

/// What a handle points to.
pub trait Handle {
    /// The type's name in the header.
    const NAME: &'static str;

    /// Returns the device that the object computes on, if it does.
    fn device(&self) -> Option<&Device> {
        None
    }
}

/// An object as C has it, behind a word that says what it is: the handle of another object is then an error, and not the end of the program.
#[repr(C)]
struct Tagged<T> {
    tag: u64,
    object: T,
}

/// The word of an object that was freed. What is read there later may be anything; this is what it most likely is.
const FREED: u64 = 0;

/// Returns the word of a type: FNV-1a of its name.
const fn tag(name: &str) -> u64 {
    let (bytes, mut hash, mut i) = (name.as_bytes(), 0xcbf2_9ce4_8422_2325_u64, 0);
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

/// Returns whether a handle is of this type, by its word.
///
/// # Safety
/// `p` points to a live object of this library, of any type.
unsafe fn is_of<T: Handle>(p: *const T) -> bool {
    let p = p.cast::<u64>();
    // SAFETY: objects of every type begin with their word.
    p.is_aligned() && unsafe { p.read() } == tag(T::NAME)
}

/// Returns the object behind a handle.
///
/// A handle that computes on several threads is refused in a process that was forked off its own, where those threads are not.
///
/// # Safety
/// `p` is NULL or a live handle that stays so for 'a.
pub unsafe fn get<'a, T: Handle>(p: *const T, what: &'static str) -> Result<&'a T> {
    if p.is_null() {
        return Err(Fail::Null(what.into()));
    }
    // SAFETY: the caller says that the handle is live.
    if !unsafe { is_of(p) } {
        let expected = format!("a live {}", T::NAME);
        let got = "the handle of another object, or of one that was freed";
        return Err(Error::out_of_range(what, expected, got).into());
    }
    // SAFETY: its word says that it is a `Tagged<T>`, and the caller that it lives for 'a.
    let object = unsafe { &(*p.cast::<Tagged<T>>()).object };
    if let Some(device) = object.device() {
        device.host().check_process()?;
    }
    Ok(object)
}

/// Refuses an array that no memory holds, or that its pointer cannot be the start of.
fn check<T>(p: *const T, n: usize, what: impl Into<Cow<'static, str>>) -> Result<()> {
    if p.is_null() {
        return Err(Fail::Null(what.into()));
    }
    let most = isize::MAX as usize / size_of::<T>().max(1);
    if n > most {
        let expected = format!("at most {most} elements, as many as memory can hold");
        return Err(Error::out_of_range(what.into(), expected, n).into());
    }
    if !p.is_aligned() {
        let expected = format!("an address that is a multiple of {}", align_of::<T>());
        return Err(Error::out_of_range(what.into(), expected, format!("{p:?}")).into());
    }
    Ok(())
}

/// An out-parameter; a caller who does not want it gives NULL. It is no reference: C may pass one place for several of them.
pub struct Out<T>(Option<NonNull<T>>);

/// Returns an out-parameter, to be written.
///
/// # Safety
/// `p` is NULL or points to memory for a T that, until the last [`Out::write`], stays and is the caller's to write.
pub unsafe fn out<T>(p: *mut T, what: &'static str) -> Result<Out<T>> {
    if !p.is_null() {
        check(p, 1, what)?;
    }
    Ok(Out(NonNull::new(p)))
}

/// Returns an out-parameter without which a call is for nothing.
///
/// # Safety
/// `p` is NULL or points to memory for a T that, until the last [`Out::write`], stays and is the caller's to write.
unsafe fn needed_out<T>(p: *mut T, what: &'static str) -> Result<Out<T>> {
    check(p, 1, what)?;
    Ok(Out(NonNull::new(p)))
}

impl<T> Out<T> {
    /// Writes it, and reads nothing of what is there.
    pub fn write(&self, value: T) {
        if let Some(to) = self.0 {
            // SAFETY: what the caller of `out` promised.
            unsafe { to.write(value) }
        }
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
    if n == 0 {
        return Ok(&[]);
    }
    check(p, n, what)?;
    // SAFETY: `p` is not NULL, it is aligned, and no array of `n` T is too long (`check`); the caller says that `n` initialised T are there
    // which nobody changes for 'a.
    Ok(unsafe { std::slice::from_raw_parts(p, n) })
}

/// Room for elements that a call gives. It is no slice: what is there need not be initialised.
pub struct Room<T> {
    at: *mut T,
    n: usize,
}

/// Returns room for `n` elements, to be written; NULL is fine for none.
///
/// # Safety
/// `p` is NULL or points to memory for `n` T that, as long as the room is used, stays and is nobody else's.
pub unsafe fn room<T>(p: *mut T, n: usize, what: &'static str) -> Result<Room<T>> {
    if n > 0 {
        check(p, n, what)?;
    }
    Ok(Room { at: p, n })
}

/// Checks a buffer that is written to when all is done, before anything is.
///
/// # Errors
/// Returns [`Fail::Null`] for NULL where there are elements, and an error for a pointer that is not aligned and a length that memory cannot have.
pub fn check_room<T>(p: *mut T, n: usize) -> Result<()> {
    match n {
        0 => Ok(()),
        n => check(p, n, "buffer"),
    }
}

/// Returns room for `n` elements that a caller may not want, who then gives NULL.
///
/// # Safety
/// `p` is NULL or points to memory for `n` T that, as long as the room is used, stays and is nobody else's.
pub unsafe fn optional_room<T>(p: *mut T, n: usize, what: &'static str) -> Result<Room<T>> {
    // SAFETY: what the caller promises.
    unsafe { room(p, if p.is_null() { 0 } else { n }, what) }
}

impl<T: Copy> Room<T> {
    /// Writes all elements, which must be as many; none where there is no room.
    pub fn write(&mut self, from: impl ExactSizeIterator<Item = T>) {
        if self.at.is_null() {
            return;
        }
        assert_eq!(from.len(), self.n, "as many elements as there is room for");
        for (i, value) in from.take(self.n).enumerate() {
            // SAFETY: i is below n, and the caller of `room` said that there is memory for n elements at this aligned address.
            unsafe { self.at.add(i).write(value) };
        }
    }
}

impl Room<f32> {
    /// Sets all elements to 0 and returns them. Only what can no longer fail should come after it: what was there is then gone.
    pub fn zeros(&mut self) -> &mut [f32] {
        if self.n == 0 {
            return &mut [];
        }
        // SAFETY: the caller of `room` said that there is memory for n elements, which is nobody else's; `check` saw that it is aligned and
        // no longer than memory can be. Bytes of 0 are floats, so all n are initialised when the slice is made.
        unsafe {
            self.at.write_bytes(0, self.n);
            std::slice::from_raw_parts_mut(self.at, self.n)
        }
    }
}

/// Returns a text, given as UTF-8 with its length in bytes; a length of SIZE_MAX means that a NUL ends it.
///
/// # Safety
/// `p` is NULL or points to `n` initialised bytes, or for SIZE_MAX to some with a NUL behind them, that nobody writes during 'a.
pub unsafe fn text<'a>(
    p: *const c_char,
    n: usize,
    what: impl Into<Cow<'static, str>>,
) -> Result<&'a str> {
    let what = what.into();
    let bytes = if n == usize::MAX {
        check(p, 1, what.clone())?;
        // SAFETY: `p` is not NULL, and the caller says that a NUL ends the text.
        unsafe { CStr::from_ptr(p) }.to_bytes()
    } else {
        // SAFETY: the caller says that `p` is NULL or points to `n` bytes; c_char and u8 have one layout.
        unsafe { slice(p.cast::<u8>(), n, what.clone()) }?
    };
    std::str::from_utf8(bytes)
        .map_err(|e| Error::out_of_range(what, "UTF-8", format!("bytes that are not: {e}")).into())
}

/// Returns `n` texts, given with their lengths, or with none where a NUL ends each; `what` is the name of one.
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
        let lens = match lens.is_null() {
            true => None,
            false => Some(slice(lens, n, format!("{what}_lens"))?),
        };
        let mut all = memory::room(n, what)?;
        for (i, &p) in chars.iter().enumerate() {
            let len = lens.map_or(usize::MAX, |lens| lens[i]);
            all.push(text(p, len, format!("{what} {i}"))?);
        }
        Ok(all)
    }
}

/// Copies `from` to the caller's buffer; `needed` gets the length then, and where the buffer is too small.
///
/// # Safety
/// `buffer` is NULL or points to `capacity` elements that nobody else uses, and `needed` is NULL or to be written.
pub unsafe fn give<T: Copy>(
    from: &[T],
    buffer: *mut T,
    capacity: usize,
    needed: *mut usize,
) -> Result<()> {
    // SAFETY: as below.
    unsafe { give_each(from.iter().copied(), buffer, capacity, needed) }
}

/// Copies elements to the caller's buffer as [`give`] does.
///
/// # Safety
/// `buffer` is NULL or points to `capacity` elements that nobody else uses, and `needed` is NULL or to be written.
pub unsafe fn give_each<T: Copy>(
    from: impl ExactSizeIterator<Item = T>,
    buffer: *mut T,
    capacity: usize,
    needed: *mut usize,
) -> Result<()> {
    // SAFETY: the caller says that `buffer` has `capacity` elements; only the front that fits is touched. `needed` is NULL or to be written.
    let (mut to, needed) = unsafe {
        let front = from.len().min(capacity);
        (room(buffer, front, "buffer")?, out(needed, "needed")?)
    };
    needed.write(from.len());
    if from.len() > capacity {
        return Err(Fail::TooSmall {
            needed: from.len(),
            capacity,
        });
    }
    to.write(from);
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
pub unsafe fn hand_out<T: Handle>(to: *mut *mut T, object: T, what: &'static str) -> Result<()> {
    // SAFETY: the caller says that `to` is NULL or to be written.
    let to = unsafe { needed_out(to, what) }?;
    let tag = tag(T::NAME);
    to.write(Box::into_raw(Box::new(Tagged { tag, object })).cast());
    Ok(())
}

/// Takes a handle back; NULL is fine, and the handle of another object is left alone.
///
/// # Safety
/// `p` is NULL or came from [`hand_out`] and was not taken back.
pub unsafe fn take_back<T: Handle>(p: *mut T) {
    // SAFETY: the caller says that it is live where it is not NULL.
    if p.is_null() || !unsafe { is_of(p) } {
        return;
    }
    // A destructor does not panic here; if it did, C must not see it.
    let _ = quietly(|| {
        let p = p.cast::<Tagged<T>>();
        // SAFETY: its word says that `hand_out` boxed it as a `Tagged<T>`, and the caller that it was not taken back.
        unsafe {
            (&raw mut (*p).tag).write_volatile(FREED);
            drop(Box::from_raw(p));
        }
    });
}
