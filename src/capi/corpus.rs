//! bnn_corpus: a text as tokens, split into training and validation.

use super::guard::guard;
use super::pointer::{Handle, get, give, hand_out, out, slice, take_back, text};
use super::status::{Fail, bnn_error, bnn_status};
use crate::data::Corpus;
use crate::error::Error;
use std::ffi::c_char;
use std::sync::Arc;

/// The first 90 % of a corpus.
pub const BNN_SPLIT_TRAIN: i32 = 0;
/// The rest.
pub const BNN_SPLIT_VAL: i32 = 1;

/// A text with its character tokenizer. Immutable, so shareable between threads. Children keep it alive.
pub struct bnn_corpus {
    pub(super) inner: Arc<Corpus>,
}

impl Handle for bnn_corpus {}

pub(super) fn split(corpus: &Corpus, split: i32) -> Result<&[u16], Fail> {
    match split {
        BNN_SPLIT_TRAIN => Ok(&corpus.train),
        BNN_SPLIT_VAL => Ok(&corpus.val),
        other => {
            Err(Error::out_of_range("split", "BNN_SPLIT_TRAIN or BNN_SPLIT_VAL", other).into())
        }
    }
}

/// Makes a corpus of the play in verse that the library carries. [out] corpus: to be freed with bnn_corpus_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_corpus_embedded(
    corpus: *mut *mut bnn_corpus,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let inner = Arc::new(Corpus::embedded()?);
        // SAFETY: `corpus` is NULL or the caller's to write.
        unsafe { hand_out(corpus, bnn_corpus { inner }, "corpus") }
    })
}

/// Makes a corpus of a plain text file.
///
/// [in] path: UTF-8, path_len bytes. [out] corpus. Errors: BNN_ERR_IO, BNN_ERR_DATA when it is empty or not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_corpus_from_file(
    path: *const c_char,
    path_len: usize,
    corpus: *mut *mut bnn_corpus,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: `path` is NULL or path_len bytes of the caller's.
        let path = unsafe { text(path, path_len, "path") }?;
        let inner = Arc::new(Corpus::from_file(path)?);
        // SAFETY: `corpus` is NULL or the caller's to write.
        unsafe { hand_out(corpus, bnn_corpus { inner }, "corpus") }
    })
}

/// Makes a corpus of a text in memory.
///
/// [in] chars: UTF-8, len bytes. [out] corpus. Errors: BNN_ERR_DATA when it is empty, BNN_ERR_INVALID when it is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_corpus_from_text(
    chars: *const c_char,
    len: usize,
    corpus: *mut *mut bnn_corpus,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: `chars` is NULL or len bytes of the caller's.
        let chars = unsafe { text(chars, len, "text") }?;
        let inner = Arc::new(Corpus::from_text("text", chars)?);
        // SAFETY: `corpus` is NULL or the caller's to write.
        unsafe { hand_out(corpus, bnn_corpus { inner }, "corpus") }
    })
}

/// Frees a corpus; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_corpus_free(corpus: *mut bnn_corpus) {
    // SAFETY: the caller passes NULL or a handle from this file, once.
    unsafe { take_back(corpus) }
}

/// Gives the sizes of a corpus. [out] vocab_size: how many different characters; [out] n_train, n_val: tokens of the splits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_corpus_sizes(
    corpus: *const bnn_corpus,
    vocab_size: *mut usize,
    n_train: *mut usize,
    n_val: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        let (c, v, t, w) = unsafe {
            (
                &get(corpus, "corpus")?.inner,
                out(vocab_size, "vocab_size")?,
                out(n_train, "n_train")?,
                out(n_val, "n_val")?,
            )
        };
        v.write(c.tokenizer.vocab_size());
        t.write(c.train.len());
        w.write(c.val.len());
        Ok(())
    })
}

/// Copies the tokens of a split.
///
/// [in] split: BNN_SPLIT_…. [out] tokens: capacity elements; needed: how many there are. Errors: BNN_ERR_INVALID, BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_corpus_tokens(
    corpus: *const bnn_corpus,
    which: i32,
    tokens: *mut u16,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let c = get(corpus, "corpus")?;
            give(split(&c.inner, which)?, tokens, capacity, needed)
        }
    })
}

/// Turns text into tokens.
///
/// [in] chars: UTF-8, len bytes. [out] tokens: capacity elements; [out] needed: how many there are.
/// Errors: BNN_ERR_DATA or BNN_ERR_INVALID for a character that the corpus does not have, BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_corpus_encode(
    corpus: *const bnn_corpus,
    chars: *const c_char,
    len: usize,
    tokens: *mut u16,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (c, chars) = unsafe { (get(corpus, "corpus")?, text(chars, len, "text")?) };
        let encoded = c.inner.tokenizer.encode(chars)?;
        // SAFETY: the buffer is NULL or the caller's, of that capacity.
        unsafe { give(&encoded, tokens, capacity, needed) }
    })
}

/// Turns tokens into text.
///
/// [in] tokens: n elements. [out] chars: UTF-8 without NUL, capacity bytes; [out] needed: how many bytes there are.
/// Errors: BNN_ERR_INVALID or BNN_ERR_DATA for a token out of range, BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_corpus_decode(
    corpus: *const bnn_corpus,
    tokens: *const u16,
    n: usize,
    chars: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (c, tokens) = unsafe { (get(corpus, "corpus")?, slice(tokens, n, "tokens")?) };
        let decoded = c.inner.tokenizer.decode(tokens)?;
        // SAFETY: the buffer is NULL or the caller's, of that capacity; c_char and u8 have one layout.
        unsafe { give(decoded.as_bytes(), chars.cast(), capacity, needed) }
    })
}
