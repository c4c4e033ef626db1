//! bnn_evaluator: a model's losses, gradients and predictions at any parameters, for any tokens.

use super::guard::guard;
use super::model::{Model, Params, bnn_model};
use super::pointer::{Handle, get, hand_out, lock, out, room, slice, take_back};
use super::status::{Fail, bnn_error, bnn_status};
use crate::backend::ops::ActivationOps;
use crate::backend::{Device, Transfer};
use crate::error::Error;
use crate::gpt::Objective;
use crate::inference::{At, Evaluator, Sequences};
use std::sync::{Arc, Mutex};

/// Computes a model's losses, gradients and predictions at any parameters. One thread at a time; any number of evaluators of one model may work at once,
/// none waits for another, and the model keeps its parameters. Buffers grow to the largest batch that came and are kept: a call allocates nothing after
/// the first of a size (on a context of one thread; with more, handing work to them may).
pub struct bnn_evaluator {
    device: Device,
    model: Arc<Model>,
    inner: Mutex<Evaluator<Device>>,
}

impl Handle for bnn_evaluator {
    const NAME: &str = "bnn_evaluator";

    fn device(&self) -> Option<&Device> {
        Some(&self.device)
    }
}

/// Makes an evaluator of a model. [out] evaluator: to be freed with bnn_evaluator_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_evaluator_new(
    model: *const bnn_model,
    evaluator: *mut *mut bnn_evaluator,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: the handle is NULL or live.
        let model = unsafe { get(model, "model") }?.inner.clone();
        let made = bnn_evaluator {
            device: model.device.clone(),
            inner: Mutex::new(Evaluator::new(&model.device, &model.gpt)),
            model,
        };
        // SAFETY: `evaluator` is NULL or the caller's to write.
        unsafe { hand_out(evaluator, made, "evaluator") }
    })
}

/// Frees an evaluator; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_evaluator_free(evaluator: *mut bnn_evaluator) {
    // SAFETY: the caller passes NULL or a handle from bnn_evaluator_new, once.
    unsafe { take_back(evaluator) }
}

/// Where to evaluate.
enum Point<'a> {
    Own(&'a [f32]),
    Models(Arc<Params>),
}

impl Point<'_> {
    fn at(&self) -> At<'_, Params> {
        match self {
            Self::Own(params) => At::Host(params),
            Self::Models(params) => At::Device(params),
        }
    }
}

/// Returns the caller's parameters; for NULL with n = 0 the model's as they are now.
///
/// # Safety
/// `params` is NULL or n floats of the caller's.
unsafe fn point<'a>(e: &bnn_evaluator, params: *const f32, n: usize) -> Result<Point<'a>, Fail> {
    if params.is_null() && n == 0 {
        return Ok(Point::Models(e.model.params()));
    }
    // SAFETY: the caller says that they are n floats.
    Ok(Point::Own(unsafe { slice(params, n, "params") }?))
}

/// Returns the caller's sequences.
///
/// # Safety
/// `x` and `y` are NULL or b * t tokens of the caller's.
unsafe fn sequences<'a>(
    x: *const u32,
    y: *const u32,
    (b, t): (usize, usize),
    last_only: i32,
) -> Result<Sequences<'a>, Fail> {
    let rows = count(b, t)?;
    // SAFETY: the caller says that they are so many tokens.
    let (x, y) = unsafe { (slice(x, rows, "x")?, slice(y, rows, "y")?) };
    let objective = match last_only {
        0 => Objective::All,
        _ => Objective::Last,
    };
    Ok(Sequences { x, y, t, objective })
}

fn count(b: usize, t: usize) -> Result<usize, Fail> {
    let size = || Error::out_of_range("b * t", "a size", format!("{b} * {t}"));
    Ok(b.checked_mul(t).ok_or_else(size)?)
}

/// Computes the loss of targets y after tokens x.
///
/// [in] params: n floats, n = the model's n_params; NULL with n = 0 takes the model's as they are now; x, y: (B, T), b * t tokens each, t at most
/// block_size; last_only: nonzero counts the last position of each sequence alone. [out] mean: nats per position that counts; total: nats, over all of
/// them. Errors: BNN_ERR_INVALID for sizes and for a token out of range, with its place; BNN_ERR_SHAPE for n. A loss that is not finite is given as it
/// is. Reproducible to the bit whatever the number of threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_evaluator_loss(
    evaluator: *mut bnn_evaluator,
    params: *const f32,
    n: usize,
    x: *const u32,
    y: *const u32,
    b: usize,
    t: usize,
    last_only: i32,
    mean: *mut f64,
    total: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let e = get(evaluator, "evaluator")?;
            let (at, of) = (point(e, params, n)?, sequences(x, y, (b, t), last_only)?);
            let (mean, total) = (out(mean, "mean")?, out(total, "total")?);
            let loss = lock(&e.inner, "evaluator")?.loss(at.at(), of)?;
            mean.write(loss.mean);
            total.write(loss.total());
        }
        Ok(())
    })
}

/// Computes the loss as bnn_evaluator_loss, and the gradient of its mean: bit for bit what a chain's step takes of the same batch before the prior.
///
/// [out] grad: n_params floats, n of them also where params is NULL. Errors: those of bnn_evaluator_loss.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_evaluator_gradient(
    evaluator: *mut bnn_evaluator,
    params: *const f32,
    n: usize,
    x: *const u32,
    y: *const u32,
    b: usize,
    t: usize,
    last_only: i32,
    mean: *mut f64,
    total: *mut f64,
    grad: *mut f32,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let e = get(evaluator, "evaluator")?;
            let (at, of) = (point(e, params, n)?, sequences(x, y, (b, t), last_only)?);
            let (mean, total) = (out(mean, "mean")?, out(total, "total")?);
            let mut grad = room(grad, e.model.gpt.n_params(), "grad")?;
            let mut i = lock(&e.inner, "evaluator")?;
            let (loss, made) = i.gradient_on_device(at.at(), of)?;
            e.device.download(made, grad.zeros())?;
            mean.write(loss.mean);
            total.write(loss.total());
        }
        Ok(())
    })
}

/// Computes what bnn_evaluator_gradient does, and the sum over the sequences of the square of the gradient of a sequence's log likelihood, which is summed
/// over its positions that count. Over b it is the diagonal of the empirical Fisher information per sequence: what ekf and laplace take.
///
/// [out] grad, squares: n_params floats each. Errors: those of bnn_evaluator_loss.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_evaluator_squares(
    evaluator: *mut bnn_evaluator,
    params: *const f32,
    n: usize,
    x: *const u32,
    y: *const u32,
    b: usize,
    t: usize,
    last_only: i32,
    mean: *mut f64,
    total: *mut f64,
    grad: *mut f32,
    squares: *mut f32,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let e = get(evaluator, "evaluator")?;
            let (at, of) = (point(e, params, n)?, sequences(x, y, (b, t), last_only)?);
            let (mean, total) = (out(mean, "mean")?, out(total, "total")?);
            let own = e.model.gpt.n_params();
            let mut grad = room(grad, own, "grad")?;
            let mut squares = room(squares, own, "squares")?;
            let mut i = lock(&e.inner, "evaluator")?;
            let (loss, made, sums) = i.squares_on_device(at.at(), of)?;
            e.device.download(made, grad.zeros())?;
            e.device.download(sums, squares.zeros())?;
            mean.write(loss.mean);
            total.write(loss.total());
        }
        Ok(())
    })
}

/// Computes the log-probability of each target.
///
/// [in] as bnn_evaluator_loss. [out] log_probs: (B, T), b * t doubles, nats; computed in float. Errors: those of bnn_evaluator_loss.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_evaluator_log_probs(
    evaluator: *mut bnn_evaluator,
    params: *const f32,
    n: usize,
    x: *const u32,
    y: *const u32,
    b: usize,
    t: usize,
    log_probs: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let e = get(evaluator, "evaluator")?;
            let (at, of) = (point(e, params, n)?, sequences(x, y, (b, t), 0)?);
            let mut to = room(log_probs, count(b, t)?, "log_probs")?;
            let mut i = lock(&e.inner, "evaluator")?;
            let found = i.log_probs_kept(at.at(), of)?;
            to.write(found.iter().map(|&p| p.into()));
        }
        Ok(())
    })
}

/// Computes the logits after each token of x: their softmax is the prediction of the token that follows.
///
/// [in] params, n, x, b, t: as bnn_evaluator_loss; capacity: floats that there is room for, b * t * vocab_size. [out] logits: (B, T, V). Errors: those of
/// bnn_evaluator_loss; BNN_ERR_SHAPE for another capacity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_evaluator_logits(
    evaluator: *mut bnn_evaluator,
    params: *const f32,
    n: usize,
    x: *const u32,
    b: usize,
    t: usize,
    logits: *mut f32,
    capacity: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let rows = count(b, t)?;
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let e = get(evaluator, "evaluator")?;
            let (at, x) = (point(e, params, n)?, slice(x, rows, "x")?);
            let v = e.model.gpt.config().vocab_size;
            if rows.checked_mul(v) != Some(capacity) {
                return Err(Error::shape("logits", [b, t, v], [capacity]).into());
            }
            let mut logits = room(logits, capacity, "logits")?;
            let (y, objective) = (&[][..], Objective::All);
            let of = Sequences { x, y, t, objective };
            let mut i = lock(&e.inner, "evaluator")?;
            let made = i.logits_on_device(at.at(), of)?;
            e.device.download_act(made, v, logits.zeros())?;
        }
        Ok(())
    })
}
