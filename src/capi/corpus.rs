//! bnn_corpus: tokens, split into training and validation, and what they are.

use super::guard::guard;
use super::pointer::{Handle, get, give, give_each, hand_out, out, slice, take_back, text};
use super::status::{Fail, bnn_error, bnn_status};
use crate::data::{Corpus, narrow};
use crate::error::Error;
use std::ffi::c_char;
use std::sync::Arc;

/// The first 90 % of a corpus.
pub const BNN_SPLIT_TRAIN: i32 = 0;
/// The rest.
pub const BNN_SPLIT_VAL: i32 = 1;

/// Tokens in two splits, with the characters that they are where these are known. Immutable, so shareable between threads. Children keep it alive.
pub struct bnn_corpus {
    pub(super) inner: Arc<Corpus>,
}

impl Handle for bnn_corpus {
    const NAME: &str = "bnn_corpus";
}

pub(super) fn split_of(corpus: &Corpus, split: i32) -> Result<&[u16], Fail> {
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

/// Makes a corpus of token ids, whatever made them: the splits are as given. No characters are known of them.
///
/// [in] train, val: n_train and n_val ids, each below vocab_size; none of one split is fine where that split is not used; vocab_size: 1 to 65536. [out]
/// corpus. Errors: BNN_ERR_INVALID with the place of an id out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_corpus_from_tokens(
    train: *const u32,
    n_train: usize,
    val: *const u32,
    n_val: usize,
    vocab_size: usize,
    corpus: *mut *mut bnn_corpus,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both arrays are NULL or the caller's, of those lengths.
        let (train, val) = unsafe { (slice(train, n_train, "train")?, slice(val, n_val, "val")?) };
        let inner = Arc::new(Corpus::from_tokens("tokens", train, val, vocab_size)?);
        // SAFETY: `corpus` is NULL or the caller's to write.
        unsafe { hand_out(corpus, bnn_corpus { inner }, "corpus") }
    })
}

/// Makes a corpus of what nanoGPT's prepare.py writes into a folder: train.bin and val.bin, tokens of 16 bits, and the characters of meta.pkl.
///
/// [in] path: of the folder, UTF-8, path_len bytes; vocab_size: 0 reads meta.pkl; another number takes the files for ids below it, of which no characters
/// are known, as where there is no meta.pkl (GPT-2's tokens have 50257). [out] corpus. Errors: BNN_ERR_IO; BNN_ERR_DATA for a file that is empty or
/// damaged, and for a token out of range; BNN_ERR_INVALID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_corpus_from_nanogpt(
    path: *const c_char,
    path_len: usize,
    vocab_size: usize,
    corpus: *mut *mut bnn_corpus,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: `path` is NULL or path_len bytes of the caller's.
        let path = unsafe { text(path, path_len, "path") }?;
        let inner = Arc::new(match vocab_size {
            0 => Corpus::from_nanogpt(path, None)?,
            v => Corpus::from_nanogpt_ids(path, v)?,
        });
        // SAFETY: `corpus` is NULL or the caller's to write.
        unsafe { hand_out(corpus, bnn_corpus { inner }, "corpus") }
    })
}

/// Gives the characters that the tokens are, in the order of their ids. [out] chars: UTF-8 without NUL, capacity bytes; needed: its bytes, 0 where no
/// characters are known. Errors: BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_corpus_vocabulary(
    corpus: *const bnn_corpus,
    chars: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let vocabulary = get(corpus, "corpus")?.inner.tokenizer.vocabulary();
            give(vocabulary.as_bytes(), chars.cast(), capacity, needed)
        }
    })
}

/// Frees a corpus; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_corpus_free(corpus: *mut bnn_corpus) {
    // SAFETY: the caller passes NULL or a handle from this file, once.
    unsafe { take_back(corpus) }
}

/// Gives the sizes of a corpus. [out] vocab_size: how many different tokens; [out] n_train, n_val: tokens of the splits.
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
    split: i32,
    tokens: *mut u32,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let c = get(corpus, "corpus")?;
            let of = split_of(&c.inner, split)?.iter().map(|&id| id.into());
            give_each(of, tokens, capacity, needed)
        }
    })
}

/// Turns text into tokens.
///
/// [in] chars: UTF-8, len bytes. [out] tokens: capacity elements; [out] needed: how many there are.
/// Errors: BNN_ERR_DATA or BNN_ERR_INVALID for a character that the corpus does not have, BNN_ERR_INVALID where no characters are known,
/// BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_corpus_encode(
    corpus: *const bnn_corpus,
    chars: *const c_char,
    len: usize,
    tokens: *mut u32,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (c, chars) = unsafe { (get(corpus, "corpus")?, text(chars, len, "text")?) };
        let encoded = c.inner.tokenizer.encode(chars)?;
        let each = encoded.iter().map(|&id| id.into());
        // SAFETY: the buffer is NULL or the caller's, of that capacity.
        unsafe { give_each(each, tokens, capacity, needed) }
    })
}

/// Turns tokens into text.
///
/// [in] tokens: n elements. [out] chars: UTF-8 without NUL, capacity bytes; [out] needed: how many bytes there are.
/// Errors: BNN_ERR_INVALID for a token out of range and where no characters are known, BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_corpus_decode(
    corpus: *const bnn_corpus,
    tokens: *const u32,
    n: usize,
    chars: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (c, tokens) = unsafe { (get(corpus, "corpus")?, slice(tokens, n, "tokens")?) };
        let (tokenizer, mut ids) = (&c.inner.tokenizer, Vec::new());
        narrow("tokens", tokens, 0, tokenizer.vocab_size(), &mut ids)?;
        let decoded = tokenizer.decode(&ids)?;
        // SAFETY: the buffer is NULL or the caller's, of that capacity; c_char and u8 have one layout.
        unsafe { give(decoded.as_bytes(), chars.cast(), capacity, needed) }
    })
}
