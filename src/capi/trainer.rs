//! bnn_trainer: the deterministic model, one batch at a time.

use super::corpus::bnn_corpus;
use super::guard::guard;
use super::model::{Model, bnn_model};
use super::options::{Set, bnn_options};
use super::pointer::{Handle, get, hand_out, lock, out, room, slice, take_back, text};
use super::report::{bnn_report, report_of};
use super::status::{Fail, bnn_error, bnn_status};
use crate::backend::{Device, Transfer};
use crate::data::{Batch, narrow};
use crate::error::Error;
use crate::inference::{Report, TrainingRun};
use std::ffi::c_char;
use std::sync::{Arc, Mutex};

/// At nanoGPT's initial parameters of the options' seed.
pub const BNN_START_FRESH: i32 = 0;
/// At the model's parameters.
pub const BNN_START_MODEL: i32 = 1;

struct Inner {
    model: Arc<Model>,
    run: TrainingRun<Device>,
    tokens: Batch, // the caller's
}

/// A model in training by AdamW. One thread at a time.
pub struct bnn_trainer {
    device: Device,
    inner: Mutex<Inner>,
}

impl Handle for bnn_trainer {
    const NAME: &str = "bnn_trainer";

    fn device(&self) -> Option<&Device> {
        Some(&self.device)
    }
}

/// # Safety
/// All are NULL or live handles, `trainer` is NULL or to be written.
unsafe fn make(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    options: *const bnn_options,
    start: i32,
    path: Option<&str>,
    trainer: *mut *mut bnn_trainer,
) -> Result<(), Fail> {
    // SAFETY: the caller says that all are NULL or live handles.
    let (model, corpus, o) = unsafe {
        let model = &get(model, "model")?.inner;
        (model, model.corpus(corpus)?, Set::from(options)?)
    };
    let start = match start {
        BNN_START_FRESH => None,
        BNN_START_MODEL => Some(model.host_params()?),
        other => {
            let expected = "BNN_START_FRESH or BNN_START_MODEL";
            return Err(Error::out_of_range("start", expected, other).into());
        }
    };
    let (device, gpt, recipe) = (&model.device, &model.gpt, o.recipe());
    let batch = o.training_batch(gpt.config())?;
    let run = match path {
        Some(path) => TrainingRun::resume(device, gpt, &corpus, &recipe, batch, path)?,
        None => TrainingRun::new(device, gpt, &corpus, &recipe, batch, start.as_deref())?,
    };
    let (x, y) = (Vec::new(), Vec::new());
    let inner = Inner {
        model: model.clone(),
        run,
        tokens: Batch { x, y, b: 0, t: 0 },
    };
    let (device, inner) = (device.clone(), Mutex::new(inner));
    // SAFETY: `trainer` is NULL or the caller's to write.
    unsafe { hand_out(trainer, bnn_trainer { device, inner }, "trainer") }
}

/// Makes a trainer of a model's shape.
///
/// [in] corpus: the text; NULL where every batch is the caller's; options: baseline_iters, baseline_learning_rate, baseline_warmup_iters, weight_decay,
/// grad_clip, baseline_batch_size (without it, batch_size), window, seed; NULL for defaults; start: BNN_START_FRESH, or BNN_START_MODEL, which goes on
/// from the model's parameters as they are now (fine-tuning: AdamW's means begin at 0). The model changes with bnn_trainer_finish alone. [out] trainer:
/// to be freed with bnn_trainer_free. Errors: BNN_ERR_INVALID, BNN_ERR_DATA when the text is too short.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_new(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    options: *const bnn_options,
    start: i32,
    trainer: *mut *mut bnn_trainer,
    err: *mut bnn_error,
) -> bnn_status {
    // SAFETY: passed on as the caller gave it.
    guard(err, || unsafe {
        make(model, corpus, options, start, None, trainer)
    })
}

/// Makes a trainer that goes on from what bnn_trainer_save wrote, bit for bit.
///
/// [in] model, corpus, options: as bnn_trainer_new had them; path: UTF-8, path_len bytes. [out] trainer. Errors: those of bnn_trainer_new; BNN_ERR_IO;
/// BNN_ERR_BAD_… for a file that is damaged or none of bnn's; BNN_ERR_MISMATCH, with what differs, for other options, another model or text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_load(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    options: *const bnn_options,
    path: *const c_char,
    path_len: usize,
    trainer: *mut *mut bnn_trainer,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: `path` is NULL or path_len bytes of the caller's; the rest is passed on as it came.
        unsafe {
            let path = text(path, path_len, "path")?;
            make(model, corpus, options, BNN_START_FRESH, Some(path), trainer)
        }
    })
}

/// Writes the trainer's whole state to a file, in the place of what may be there; it appears whole or not at all. [in] path: UTF-8, path_len bytes.
/// Errors: BNN_ERR_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_save(
    trainer: *const bnn_trainer,
    path: *const c_char,
    path_len: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects of that length.
        let (trainer, path) = unsafe { (get(trainer, "trainer")?, text(path, path_len, "path")?) };
        lock(&trainer.inner, "trainer")?.run.save(path)?;
        Ok(())
    })
}

/// Frees a trainer; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_free(trainer: *mut bnn_trainer) {
    // SAFETY: the caller passes NULL or a handle from this file, once.
    unsafe { take_back(trainer) }
}

/// Makes one step on a batch that is a function of (seed, step).
///
/// [out] loss: of the batch before the step, nats per token. Errors: BNN_ERR_NOT_FINITE: the parameters are then those before the step; BNN_ERR_INVALID
/// without a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_step(
    trainer: *mut bnn_trainer,
    loss: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (trainer, loss) = unsafe { (get(trainer, "trainer")?, out(loss, "loss")?) };
        loss.write(lock(&trainer.inner, "trainer")?.run.step()?);
        Ok(())
    })
}

/// Makes one step on the caller's batch. [in] x, y: (B, T), tokens of as many sequences of window tokens as there are, at most batch_size; n: how many.
/// [out] loss: of the batch before the step, nats per token. Errors: BNN_ERR_INVALID with the place of a token out of range; BNN_ERR_SHAPE for n;
/// BNN_ERR_NOT_FINITE as bnn_trainer_step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_step_tokens(
    trainer: *mut bnn_trainer,
    x: *const u32,
    y: *const u32,
    n: usize,
    loss: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        let (trainer, x, y, loss) = unsafe {
            let (x, y) = (slice(x, n, "x")?, slice(y, n, "y")?);
            (get(trainer, "trainer")?, x, y, out(loss, "loss")?)
        };
        let i = &mut *lock(&trainer.inner, "trainer")?;
        let ((b, t), v) = (i.run.batch_shape(), i.model.gpt.config().vocab_size);
        if n == 0 || n > b * t || !n.is_multiple_of(t) {
            return Err(Error::shape("x and y", [b, t], [n]).into());
        }
        narrow("x", x, t, v, &mut i.tokens.x)?;
        narrow("y", y, t, v, &mut i.tokens.y)?;
        (i.tokens.b, i.tokens.t) = (n / t, t);
        loss.write(i.run.step_on(&i.tokens)?);
        Ok(())
    })
}

/// Copies the parameters in training out. [out] params: n floats, n = the model's n_params. Errors: BNN_ERR_SHAPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_get_params(
    trainer: *const bnn_trainer,
    params: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (trainer, mut to) = unsafe { (get(trainer, "trainer")?, room(params, n, "params")?) };
        let i = lock(&trainer.inner, "trainer")?;
        i.model.gpt.layout().check_len(n)?;
        i.model.device.download(i.run.params(), to.zeros())?;
        Ok(())
    })
}

/// Keeps the parameters as the best so far where a score of the caller's is below every one before, such as bnn_evaluator_loss' on tokens that no step
/// takes. [in] score: finite, the lower the better. [out] is_best: 1 where it is, else 0. Errors: BNN_ERR_INVALID; BNN_ERR_NO_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_keep_best(
    trainer: *mut bnn_trainer,
    score: f64,
    is_best: *mut i32,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (trainer, is_best) = unsafe { (get(trainer, "trainer")?, out(is_best, "is_best")?) };
        is_best.write(
            lock(&trainer.inner, "trainer")?
                .run
                .keep_best(score)?
                .into(),
        );
        Ok(())
    })
}

/// Copies the best parameters so far out. [out] params: n floats. Errors: BNN_ERR_STATE where none were kept; BNN_ERR_SHAPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_get_best(
    trainer: *const bnn_trainer,
    params: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (trainer, mut to) = unsafe { (get(trainer, "trainer")?, room(params, n, "params")?) };
        let i = lock(&trainer.inner, "trainer")?;
        i.model.gpt.layout().check_len(n)?;
        to.write(i.run.best()?.iter().copied());
        Ok(())
    })
}

/// Reports where a training is. [out] report: steps, that were made; iters, that the learning rate's schedule is for; learning_rate, of the next step; loss,
/// of the last step's batch, and recent_loss, the mean of the last 50 steps', nats per token; best.score and best.steps, of bnn_trainer_keep_best. What is
/// not known is NaN.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_report(
    trainer: *const bnn_trainer,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (trainer, mut report) = unsafe { (get(trainer, "trainer")?, report_of(report)?) };
        *report = Report::from(&lock(&trainer.inner, "trainer")?.run);
        Ok(())
    })
}

/// Puts the trained parameters into the model that the trainer was made from.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_trainer_finish(
    trainer: *mut bnn_trainer,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: the handle is NULL or live.
        let trainer = unsafe { get(trainer, "trainer") }?;
        let i = lock(&trainer.inner, "trainer")?;
        i.model.set(&i.model.device.get(i.run.params())?)
    })
}
