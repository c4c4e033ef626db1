//! bnn_ensemble: samples in memory or in their files, and what their average predicts.

use super::corpus::{bnn_corpus, split_of};
use super::guard::guard;
use super::model::{Model, bnn_model};
use super::pointer::{Handle, get, hand_out, lock, optional_room, out, slice, take_back, text};
use super::progress::{Watched, bnn_progress_callback};
use super::report::{bnn_report, report_of};
use super::status::{bnn_error, bnn_status};
use super::store::opened;
use crate::backend::{Device, Transfer, Vectors};
use crate::data::narrow;
use crate::error::Error;
use crate::inference::Member;
use crate::inference::scoring::{Models, score};
use crate::memory;
use crate::metrics::text_scores;
use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex};

pub(super) struct Samples {
    pub model: Arc<Model>,
    pub members: Arc<Mutex<Vec<Member>>>,
}

/// Parameter vectors of one model, held or read from their files when they are used. One thread at a time. Children copy the samples that are there when they are made.
pub struct bnn_ensemble {
    pub(super) inner: Samples,
}

impl Handle for bnn_ensemble {
    const NAME: &str = "bnn_ensemble";

    fn device(&self) -> Option<&Device> {
        Some(&self.inner.model.device)
    }
}

/// Makes an empty ensemble. [out] ensemble: to be freed with bnn_ensemble_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_ensemble_new(
    model: *const bnn_model,
    ensemble: *mut *mut bnn_ensemble,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: the handle is NULL or live.
        let model = unsafe { get(model, "model") }?.inner.clone();
        let members = Arc::new(Mutex::new(Vec::new()));
        let inner = Samples { model, members };
        // SAFETY: `ensemble` is NULL or the caller's to write.
        unsafe { hand_out(ensemble, bnn_ensemble { inner }, "ensemble") }
    })
}

/// Frees an ensemble; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_ensemble_free(ensemble: *mut bnn_ensemble) {
    // SAFETY: the caller passes NULL or a handle from bnn_ensemble_new, once.
    unsafe { take_back(ensemble) }
}

/// Adds a sample. [in] params: n finite floats, n = the model's n_params, copied. Errors: BNN_ERR_SHAPE, BNN_ERR_INVALID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_ensemble_add(
    ensemble: *mut bnn_ensemble,
    params: *const f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (e, from) = unsafe { (get(ensemble, "ensemble")?, slice(params, n, "params")?) };
        e.inner.model.gpt.layout().check(from)?;
        if let Some(i) = from.iter().position(|v| !v.is_finite()) {
            return Err(
                Error::out_of_range(format!("params[{i}]"), "a finite number", from[i]).into(),
            );
        }
        let copy = memory::copy(from, "a sample")?;
        let mut all = lock(&e.inner.members, "ensemble")?;
        memory::push(&mut *all, Member::Held(copy), "samples")?;
        Ok(())
    })
}

/// Adds samples of a folder, that of bnn_store_new or `samples` of a run's; folders of several runs may follow each other.
///
/// [in] path: UTF-8, path_len bytes; samples: how many, spread evenly over the chains and their steps (bnn_store_spread), 0 for all; memory: bytes of
/// parameters that may be kept, 4 times n_params per sample: the samples that fit are read now, the others each time that they are used, checked then, but for bnn_generator_new, which
/// reads and holds all.
/// [out] added: how many. Errors: those of bnn_store_open without a corpus. A sample whose file is gone or damaged later is an error of the call
/// that reads it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_ensemble_add_stored(
    ensemble: *mut bnn_ensemble,
    path: *const c_char,
    path_len: usize,
    samples: usize,
    memory: usize,
    added: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let e = get(ensemble, "ensemble")?;
            let (path, added) = (text(path, path_len, "path")?, out(added, "added")?);
            let store = Arc::new(opened(&e.inner.model, path, None)?);
            let new = Member::of_store(&store, samples, memory)?;
            let mut all = lock(&e.inner.members, "ensemble")?;
            memory::grow(&mut *all, new.len(), "samples")?;
            added.write(new.len());
            all.extend(new);
        }
        Ok(())
    })
}

/// Returns the samples' vectors, each put on the device when its turn comes.
pub(super) fn on_device<'a>(
    device: &'a Device,
    members: &'a [Member],
) -> impl Iterator<Item = Result<<Device as Vectors>::Vector, Error>> + 'a {
    members
        .iter()
        .map(|m| device.put(m.params(&mut Vec::new())?))
}

/// Gives how many samples there are. [out] n.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_ensemble_len(
    ensemble: *const bnn_ensemble,
    n: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (e, n) = unsafe { (get(ensemble, "ensemble")?, out(n, "n")?) };
        n.write(lock(&e.inner.members, "ensemble")?.len());
        Ok(())
    })
}

/// Scores the average of the samples' probabilities on a whole split, consecutive windows of the block's length; nats per token.
///
/// [in] split: BNN_SPLIT_…; callback: NULL or called after each batch of windows. [out] report: loss, of the averaged prediction; loss_mean, the mean of the samples' losses, and loss_of_each;
/// entropy.mean, .min, .max, of the averaged prediction; expected_entropy; mutual_information.mean, .min, .max; ece, expected calibration error,
/// 15 bins; brier, mean Brier score, 0 to 2; accuracy, how often the likeliest token came; tokens; samples. Errors: BNN_ERR_INVALID without a sample; BNN_ERR_INTERRUPTED.
/// Takes 64 MB, however long the split is. Reproducible to the bit whatever the number of threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_ensemble_evaluate(
    ensemble: *const bnn_ensemble,
    corpus: *const bnn_corpus,
    split: i32,
    callback: bnn_progress_callback,
    user_data: *mut c_void,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        unsafe {
            // The callback may free the handles: what the call uses is its own from here on.
            let e = &get(ensemble, "ensemble")?.inner;
            let (m, members) = (e.model.clone(), e.members.clone());
            let c = get(corpus, "corpus")?.inner.clone();
            let mut report = report_of(report)?;
            let tokens = split_of(&c, split)?;
            m.fits(&c)?;
            let members = lock(&members, "ensemble")?;
            let models = Models::Members(&members);
            let watched = Watched::new(callback, user_data, models.windows(&m.gpt, tokens)?);
            let scores = score(&m.device, &m.gpt, tokens, &models, |done| watched.at(done))?;
            *report = (&scores).into();
        }
        Ok(())
    })
}

/// Scores what the average of the samples says of a text, token by token: of each after the first, given those before it in its window. Windows are
/// consecutive and of the block's length, as bnn_ensemble_evaluate has them, the last one shorter where the text does not fill it.
///
/// [in] tokens: n, at least 2, as bnn_corpus_encode or bnn_corpus_tokens gives them. [out] log_probs, entropy, mutual_information: n - 1
/// numbers each, nats, entry i of token i + 1. A model alone is an ensemble of its parameters.
/// Errors: BNN_ERR_INVALID without a sample, for too few tokens, and for one out of range. Takes 8 bytes times the vocabulary a token.
/// Reproducible to the bit whatever the number of threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_ensemble_score(
    ensemble: *const bnn_ensemble,
    tokens: *const u32,
    n: usize,
    log_probs: *mut f64,
    entropy: *mut f64,
    mutual_information: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let e = get(ensemble, "ensemble")?;
            let (tokens, scored) = (slice(tokens, n, "tokens")?, n.saturating_sub(1));
            let mut log_probs = optional_room(log_probs, scored, "log_probs")?;
            let mut entropy = optional_room(entropy, scored, "entropy")?;
            let mut shared = optional_room(mutual_information, scored, "mutual_information")?;
            let m = &e.inner.model;
            let mut ids = Vec::new();
            narrow("tokens", tokens, 0, m.gpt.config().vocab_size, &mut ids)?;
            let members = lock(&e.inner.members, "ensemble")?;
            let each = on_device(&m.device, &members);
            let s = text_scores(&m.device, &m.gpt, each, &ids)?;
            log_probs.write(s.nll.iter().map(|nll| -nll));
            if !s.entropy.is_empty() {
                entropy.write(s.entropy.iter().copied());
                shared.write(s.mutual_information.iter().copied());
            }
        }
        Ok(())
    })
}
