//! bnn_probe: log-probabilities of fixed tokens, to watch what chains say rather than which weights they have.

use super::corpus::{bnn_corpus, split_of};
use super::guard::guard;
use super::model::{Model, bnn_model};
use super::pointer::{Handle, get, give_each, hand_out, lock, out, slice, take_back};
use super::status::{bnn_error, bnn_status};
use crate::backend::{Device, Transfer};
use crate::metrics::Probe;
use std::sync::{Arc, Mutex};

struct Inner {
    model: Arc<Model>,
    probe: Probe<Device>,
}

/// Tokens of a corpus to be scored again and again. One thread at a time.
pub struct bnn_probe {
    device: Device,
    inner: Mutex<Inner>,
}

impl Handle for bnn_probe {
    const NAME: &str = "bnn_probe";

    fn device(&self) -> Option<&Device> {
        Some(&self.device)
    }
}

/// Chooses tokens of a split, in windows of the block's length spread evenly over it.
///
/// [in] split: BNN_SPLIT_…; tokens: at least 1; at most what the split's windows have are taken. [out] probe: to be freed with bnn_probe_free.
/// Errors: BNN_ERR_INVALID, BNN_ERR_DATA when the split is shorter than a window. The tokens are a function of corpus, block and number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_probe_new(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    split: i32,
    tokens: usize,
    probe: *mut *mut bnn_probe,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or live handles.
        let (m, c) = unsafe { (&get(model, "model")?.inner, get(corpus, "corpus")?) };
        m.fits(&c.inner)?;
        let (text, t) = (split_of(&c.inner, split)?, m.gpt.config().block_size);
        let inner = Mutex::new(Inner {
            probe: Probe::new(&m.device, &m.gpt, text, t, tokens)?,
            model: m.clone(),
        });
        let device = m.device.clone();
        // SAFETY: `probe` is NULL or the caller's to write.
        unsafe { hand_out(probe, bnn_probe { device, inner }, "probe") }
    })
}

/// Frees a probe; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_probe_free(probe: *mut bnn_probe) {
    // SAFETY: the caller passes NULL or a handle from bnn_probe_new, once.
    unsafe { take_back(probe) }
}

/// Gives how many tokens are scored. [out] n.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_probe_len(
    probe: *const bnn_probe,
    n: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (p, n) = unsafe { (get(probe, "probe")?, out(n, "n")?) };
        n.write(lock(&p.inner, "probe")?.probe.tokens());
        Ok(())
    })
}

/// Computes the log-probabilities of the tokens, each given those before it in its window, at parameters such as bnn_sampler_get_params gives.
///
/// [in] params: n floats, n = the model's n_params. [out] log_probs: capacity doubles, nats; needed: how many there are.
/// Errors: BNN_ERR_SHAPE, BNN_ERR_TOO_SMALL, BNN_ERR_INVALID when one is not finite. Reproducible to the bit whatever the number of threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_probe_log_probs(
    probe: *mut bnn_probe,
    params: *const f32,
    n: usize,
    log_probs: *mut f64,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let (p, params) = (get(probe, "probe")?, slice(params, n, "params")?);
            let i = &mut *lock(&p.inner, "probe")?;
            let (device, gpt) = (&i.model.device, &i.model.gpt);
            gpt.layout().check(params)?;
            let scores = i.probe.log_prob(device, gpt, &device.put(params)?)?;
            give_each(
                scores.iter().map(|&p| p.into()),
                log_probs,
                capacity,
                needed,
            )
        }
    })
}
