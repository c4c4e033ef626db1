//! A model that is trained once and kept in a folder.

use super::corpus::bnn_corpus;
use super::guard::{call_back, guard};
use super::model::bnn_model;
use super::options::{Set, bnn_options};
use super::pointer::{get, text};
use super::report::{bnn_report, report_of};
use super::status::{bnn_error, bnn_status};
use crate::error::Error;
use crate::inference::Report;
use crate::inference::baseline_cache::Training;
use std::ffi::{c_char, c_void};

/// Called after each step of a training on the calling thread; 0 ends it with BNN_ERR_INTERRUPTED, anything else goes on.
///
/// step: how many are made; loss: of the step's batch before it, nats per token.
pub type bnn_step_callback =
    Option<unsafe extern "C" fn(user_data: *mut c_void, step: u64, loss: f64) -> i32>;

/// Trains a model by bnn_trainer_step's steps, baseline_iters at most, or takes the parameters that an earlier call kept: the file in the folder is named
/// by all that they depend on. With baseline_choice "best" they are those that predict the first half of the validation split best, of the trained
/// parameters and two moving averages of them, and the training ends when baseline_patience steps brought no better ones. The parameters become the model's. The training's state is kept in the folder every checkpoint_every steps and when
/// the callback ends it: the next call goes on from there, bit for bit. While another process trains the same model there, the call waits for it.
///
/// [in] model: its shape; corpus: the text; options: those of bnn_trainer_new, baseline_choice, baseline_patience, checkpoint_every; NULL for defaults; path: of the folder, which is made where it does not
/// exist, UTF-8, path_len bytes; callback: NULL or called after each step. [out] report: kept, 1 where the file was there; path, of the file; steps that were made;
/// train_loss, mean of the last 50 steps' losses; val_loss, on the whole validation split; nats per token; seconds, of the training when it was made.
/// Errors: those of bnn_trainer_new and bnn_trainer_step; BNN_ERR_IO; BNN_ERR_BAD_… for a damaged file; BNN_ERR_BUSY; BNN_ERR_INTERRUPTED. The model is
/// then as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_train_once(
    model: *mut bnn_model,
    corpus: *const bnn_corpus,
    options: *const bnn_options,
    path: *const c_char,
    path_len: usize,
    callback: bnn_step_callback,
    user_data: *mut c_void,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles, `path` is path_len bytes of the caller's.
        unsafe {
            // The callback may free the handles: what the call uses is its own from here on.
            let (m, c) = (
                get(model, "model")?.inner.clone(),
                get(corpus, "corpus")?.inner.clone(),
            );
            let (o, path) = (Set::from(options)?, text(path, path_len, "path")?);
            let mut report = report_of(report)?;
            m.fits(&c)?;
            let (recipe, selection) = (o.recipe(), o.selection());
            let batch = o.training_batch(m.gpt.config())?;
            let training = Training {
                selection: selection.as_ref(),
                ..Training::new(&c, &m.gpt, &recipe, batch)
            };
            let mut watch = |step: u64, loss: f64| {
                if callback.is_none_or(|f| call_back(|| f(user_data, step, loss)) != 0) {
                    Ok(())
                } else {
                    Err(Error::Interrupted)
                }
            };
            let (path, every) = (path.as_ref(), o.checkpoint_every);
            let made = training.once(&m.device, path, every, &mut watch)?;
            m.set(&made.file.params)?;
            *report = Report::from(&made);
        }
        Ok(())
    })
}
