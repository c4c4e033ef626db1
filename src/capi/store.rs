//! bnn_store: samples on disk, a file each in a folder, as the command keeps and reads them.

use super::corpus::bnn_corpus;
use super::guard::guard;
use super::model::{Model, bnn_model};
use super::options::{Set, bnn_options};
use super::pointer::{Handle, get, give, hand_out, lock, out, room, slice, take_back, text};
use super::status::{bnn_error, bnn_status};
use crate::data::Corpus;
use crate::error::Error;
use crate::inference::spread;
use crate::memory;
use crate::store::{Provenance, Store};
use std::ffi::c_char;
use std::sync::{Arc, Mutex};

/// Samples of one model in a folder. Files there that have no sample's name are passed over. One thread at a time; several processes may append to one folder as long as
/// each chain has one writer.
pub struct bnn_store {
    pub(super) inner: Arc<Mutex<Store>>,
}

impl Handle for bnn_store {
    const NAME: &str = "bnn_store";
}

/// Begins a store in a folder, which is made where it does not exist, or goes on with the samples there, if they are of the same model, corpus,
/// baseline, seed and data type.
///
/// [in] model: its parameters now are the baseline that the samples are kept with (of a model from bnn_model_untie, with its head as it came:
/// those of the tied one); corpus: NULL where every batch was the caller's; options: seed, sample_dtype; NULL for defaults; path: UTF-8, path_len bytes. [out] store: to be freed with
/// bnn_store_free. Errors: BNN_ERR_MISMATCH with the first difference; BNN_ERR_IO;
/// BNN_ERR_BAD_… for a damaged file; BNN_ERR_INVALID for a corpus with other characters than the model's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_store_new(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    options: *const bnn_options,
    path: *const c_char,
    path_len: usize,
    store: *mut *mut bnn_store,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles, `path` is path_len bytes of the caller's, `store` is NULL or the caller's to write.
        unsafe {
            let m = &get(model, "model")?.inner;
            let c = m.corpus(corpus)?;
            let (o, path) = (Set::from(options)?, text(path, path_len, "path")?);
            let provenance = Provenance {
                config: o.json(),
                model: m.gpt.config().json()?,
                seed: o.seed,
                corpus_sha256: c.sha256,
                baseline_sha256: m.baseline_sha256()?,
                vocabulary: c.tokenizer.vocabulary(),
                dtype: o.sample_dtype,
                n_params: m.gpt.n_params() as u64,
            };
            let inner = Arc::new(Mutex::new(Store::resume(path, provenance)?));
            hand_out(store, bnn_store { inner }, "store")
        }
    })
}

/// Opens the samples in a folder, at least one: those of bnn_store_new, or `samples` of a run's folder.
///
/// [in] model: its shape; corpus: the text that it was trained on, NULL compares none; path: UTF-8, path_len bytes. [out] store: to be freed with bnn_store_free.
/// The baseline is not compared. Errors: BNN_ERR_MISMATCH for samples of another model, text or vocabulary; BNN_ERR_DATA for a folder without
/// samples; BNN_ERR_IO; BNN_ERR_BAD_… for a damaged file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_store_open(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    path: *const c_char,
    path_len: usize,
    store: *mut *mut bnn_store,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles, `path` is path_len bytes of the caller's, `store` is NULL or the caller's to write.
        unsafe {
            let m = &get(model, "model")?.inner;
            let c = match corpus.is_null() {
                true => None,
                false => Some(m.corpus(corpus)?),
            };
            let found = opened(m, text(path, path_len, "path")?, c.as_deref())?;
            let inner = Arc::new(Mutex::new(found));
            hand_out(store, bnn_store { inner }, "store")
        }
    })
}

/// Opens the samples in a folder, which must be of this model, and of this text where one is given.
pub(super) fn opened(m: &Model, path: &str, text: Option<&Corpus>) -> Result<Store, Error> {
    let opened = Store::open(path)?;
    let mut expected = Provenance {
        model: m.gpt.config().json()?,
        n_params: m.gpt.n_params() as u64,
        ..opened.provenance().clone()
    };
    if let Some(text) = text {
        expected.corpus_sha256 = text.sha256;
        expected.vocabulary = text.tokenizer.vocabulary();
    }
    opened.expect(&expected)?;
    Ok(opened)
}

/// Frees a store; NULL is fine. The files stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_store_free(store: *mut bnn_store) {
    // SAFETY: the caller passes NULL or a handle from this file, once.
    unsafe { take_back(store) }
}

/// Gives how many samples there are. [out] n.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_store_len(
    store: *const bnn_store,
    n: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, n) = unsafe { (get(store, "store")?, out(n, "n")?) };
        n.write(lock(&s.inner, "store")?.len());
        Ok(())
    })
}

/// Adds a sample; its file appears whole or not at all, and survives a power failure when the call has returned.
///
/// [in] chain: which; step: how many steps it had made, one more than bnn_sampler_report's step; params: n floats, n = the model's n_params,
/// all finite. A sample that is there already with the same parameters is left. Errors: BNN_ERR_SHAPE; BNN_ERR_NOT_FINITE; BNN_ERR_INVALID
/// for a parameter that is too large for bf16 (sample_dtype); BNN_ERR_MISMATCH when other parameters are there for that chain and step;
/// BNN_ERR_IO. The store is then as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_store_append(
    store: *mut bnn_store,
    chain: u32,
    step: u64,
    params: *const f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, params) = unsafe { (get(store, "store")?, slice(params, n, "params")?) };
        lock(&s.inner, "store")?.append(chain, step, params)?;
        Ok(())
    })
}

/// Copies a sample out, checked on the way.
///
/// [in] index: from 0, in the order of chains, then steps. [out] chain, step: which it is; params: n floats, n = the model's n_params (bf16
/// widened). Errors: BNN_ERR_INVALID past the last sample, BNN_ERR_SHAPE, BNN_ERR_IO, BNN_ERR_BAD_… for a
/// file that was damaged since, BNN_ERR_MISMATCH for one that was replaced by that of another chain or step, BNN_ERR_DATA for a parameter in it that is not finite.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_store_get(
    store: *const bnn_store,
    index: usize,
    chain: *mut u32,
    step: *mut u64,
    params: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let s = get(store, "store")?;
            let (chain, step) = (out(chain, "chain")?, out(step, "step")?);
            let mut params = room(params, n, "params")?;
            let inner = lock(&s.inner, "store")?;
            let own = inner.provenance().n_params;
            if n as u64 != own {
                return Err(Error::shape("params", [own], [n]).into());
            }
            let mut read = memory::zeros(n, "a sample")?;
            inner.load(index, &mut read)?;
            params.write(read.into_iter());
            let id = inner.ids()[index];
            chain.write(id.chain);
            step.write(id.step);
        }
        Ok(())
    })
}

/// Gives the indices of some of the samples, spread evenly over the chains and over the steps of each; the last sample of a chain is among those that
/// it gives.
///
/// [in] n: how many, 0 for all. [out] indices: for bnn_store_get, ascending, capacity numbers; needed: how many there are, n at most. Errors:
/// BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_store_spread(
    store: *const bnn_store,
    n: usize,
    indices: *mut usize,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let s = get(store, "store")?;
            let used = spread(lock(&s.inner, "store")?.ids(), n)?;
            give(&used, indices, capacity, needed)
        }
    })
}

/// Reads and checks every sample, without keeping any. Errors: those of bnn_store_get for the first that cannot be read, with its file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_store_verify(
    store: *const bnn_store,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: the handle is NULL or live.
        let s = unsafe { get(store, "store") }?;
        lock(&s.inner, "store")?.verify()?;
        Ok(())
    })
}

/// Keeps the last samples of each chain and deletes the files of the others.
///
/// [in] n: how many of each chain; 0 deletes all. [out] deleted: how many files. Errors: BNN_ERR_IO with the file that could not be deleted;
/// that one and those behind it are then still there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_store_keep_last(
    store: *mut bnn_store,
    n: usize,
    deleted: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, deleted) = unsafe { (get(store, "store")?, out(deleted, "deleted")?) };
        deleted.write(lock(&s.inner, "store")?.keep_last(n)?);
        Ok(())
    })
}

/// Keeps every k-th sample of each chain, from its first one on, and deletes the files of the others. It counts what is there: calling it again
/// thins again.
///
/// [in] k: at least 1. [out] deleted: how many files. Errors: BNN_ERR_INVALID for k = 0; BNN_ERR_IO as bnn_store_keep_last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_store_keep_every(
    store: *mut bnn_store,
    k: usize,
    deleted: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, deleted) = unsafe { (get(store, "store")?, out(deleted, "deleted")?) };
        deleted.write(lock(&s.inner, "store")?.keep_every(k)?);
        Ok(())
    })
}
