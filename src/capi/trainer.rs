//! bnn_trainer: the deterministic model, one batch at a time.

use super::corpus::bnn_corpus;
use super::guard::guard;
use super::model::{Model, bnn_model};
use super::options::{Set, bnn_options};
use super::pointer::{Handle, get, hand_out, lock, out, take_back};
use super::status::{bnn_error, bnn_status};
use crate::backend::{Device, Transfer};
use crate::baseline::Trainer;
use crate::data::{Batch, Corpus, Windows};
use crate::inference::baseline_cache::BASELINE_CHAIN;
use std::sync::{Arc, Mutex};

struct Inner {
    model: Arc<Model>,
    corpus: Arc<Corpus>,
    trainer: Trainer<Device>,
    windows: Windows,
    batch: Batch,
    seed: u64,
}

/// A model in training by AdamW. One thread at a time.
pub struct bnn_trainer {
    device: Device,
    inner: Mutex<Inner>,
}

impl Handle for bnn_trainer {
    fn device(&self) -> Option<&Device> {
        Some(&self.device)
    }
}

/// Makes a trainer from the initial parameters of the options' seed.
///
/// [in] options: baseline_iters, baseline_learning_rate, baseline_warmup_iters, weight_decay, grad_clip, baseline_batch_size (without it,
/// batch_size), window, seed; NULL for defaults. [out] trainer: to be freed with bnn_trainer_free. Errors: BNN_ERR_INVALID, BNN_ERR_DATA when the text is too short.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_new(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    options: *const bnn_options,
    trainer: *mut *mut bnn_trainer,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles.
        let (model, corpus, o) = unsafe {
            (
                &get(model, "model")?.inner,
                &get(corpus, "corpus")?.inner,
                Set::from(options)?,
            )
        };
        model.fits(corpus)?;
        let (b, t) = o.training_batch(model.gpt.config())?;
        let windows = Windows::all(corpus.train.len(), t)?;
        let inner = Inner {
            trainer: Trainer::new(&model.device, &model.gpt, &o.recipe(), b, t)?,
            model: model.clone(),
            corpus: corpus.clone(),
            windows,
            batch: Batch::new(b, t)?,
            seed: o.seed,
        };
        let inner = Mutex::new(inner);
        let device = model.device.clone();
        // SAFETY: `trainer` is NULL or the caller's to write.
        unsafe { hand_out(trainer, bnn_trainer { device, inner }, "trainer") }
    })
}

/// Frees a trainer; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_free(trainer: *mut bnn_trainer) {
    // SAFETY: the caller passes NULL or a handle from bnn_trainer_new, once.
    unsafe { take_back(trainer) }
}

/// Makes one step on a batch that is a function of (seed, step).
///
/// [out] loss: of the batch before the step, nats per token. Errors: BNN_ERR_NOT_FINITE: the parameters are then those before the step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_step(
    trainer: *mut bnn_trainer,
    loss: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (trainer, loss) = unsafe { (get(trainer, "trainer")?, out(loss, "loss")?) };
        let i = &mut *lock(&trainer.inner, "trainer")?;
        let step = i.trainer.step_count();
        i.windows
            .fill(&i.corpus.train, i.seed, BASELINE_CHAIN, step, &mut i.batch)?;
        loss.write(i.trainer.step(&i.batch)?);
        Ok(())
    })
}

/// Puts the trained parameters into the model that the trainer was made from. Errors: BNN_ERR_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_finish(
    trainer: *const bnn_trainer,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: the handle is NULL or live.
        let trainer = unsafe { get(trainer, "trainer") }?;
        let i = lock(&trainer.inner, "trainer")?;
        i.model.set(&i.model.device.get(i.trainer.params())?)
    })
}
