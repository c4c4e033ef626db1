//! A model in a file: what the command calls a baseline.

use super::context::bnn_context;
use super::corpus::bnn_corpus;
use super::guard::guard;
use super::model::{Model, bnn_model};
use super::options::{Set, bnn_options};
use super::pointer::{get, hand_out, text};
use super::status::{Fail, bnn_error, bnn_status};
use crate::backend::Transfer;
use crate::gpt::Gpt;
use crate::inference::baseline_file::{BaselineFile, baseline_sha256};
use crate::metrics::split_loss;
use crate::store::{read_safetensors, write_safetensors};
use std::ffi::c_char;
use std::sync::Arc;

impl Model {
    /// Returns the hash that samples name the model's parameters by.
    pub fn baseline_sha256(&self) -> Result<[u8; 32], Fail> {
        Ok(baseline_sha256(&self.gpt, &self.host_params()?))
    }
}

/// Writes the model to a file that the command takes for a baseline (`--model-path`), in the place of what may be there; it appears whole or
/// not at all.
///
/// [in] corpus: the text that it was trained on, whose validation loss is written too; NULL writes neither, and the characters where the model knows
/// them; steps: of training, for the record; path: UTF-8,
/// path_len bytes. Errors: BNN_ERR_INVALID for a corpus with other characters; BNN_ERR_DATA when its validation split is shorter than a window;
/// BNN_ERR_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_save(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    steps: u64,
    path: *const c_char,
    path_len: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles, `path` is path_len bytes of the caller's.
        let (m, has_text, c, path) = unsafe {
            let m = &get(model, "model")?.inner;
            let path = text(path, path_len, "path")?;
            (m, !corpus.is_null(), m.corpus(corpus)?, path)
        };
        let (params, t) = (m.params(), m.gpt.config().block_size);
        let (val_loss, corpus_sha256) = match has_text {
            true => {
                let (loss, _) = split_loss(&m.device, &m.gpt, &params, &c.val, t)?;
                (loss, c.sha256)
            }
            false => (f64::NAN, [0; 32]),
        };
        let file = BaselineFile {
            config: "{}".into(),
            model: m.gpt.config().clone(),
            params: m.device.get(&params)?,
            seed: 0,
            steps,
            corpus_sha256,
            vocabulary: c.tokenizer.vocabulary(),
            train_loss: f64::NAN,
            val_loss,
            seconds: f64::NAN,
            chosen: None,
        };
        file.write(path)?;
        Ok(())
    })
}

/// Makes a model from a file: bnn_model_save's, or a baseline of the command's. Shape, parameters and characters are the file's.
///
/// [in] options: precision; NULL for defaults; path: UTF-8, path_len bytes. [out] model: to be freed with bnn_model_free.
/// Errors: BNN_ERR_IO; BNN_ERR_BAD_… for a file that is damaged or none of bnn's, BNN_ERR_BAD_HEADER also where its shape cannot be built and
/// where it has not as many parameters as its shape says, or characters, if it has any; BNN_ERR_MISMATCH for a file of another kind, or without parameters in
/// f32; BNN_ERR_DATA for a parameter that is not finite.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_load(
    context: *const bnn_context,
    options: *const bnn_options,
    path: *const c_char,
    path_len: usize,
    model: *mut *mut bnn_model,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles, `path` is path_len bytes of the caller's, `model` is NULL or the caller's to write.
        unsafe {
            let (context, o) = (get(context, "context")?, Set::from(options)?);
            let path = text(path, path_len, "path")?;
            let file = BaselineFile::read(path)?;
            let (gpt, words) = (Gpt::new(file.model)?, &file.vocabulary);
            let chars = (!words.is_empty()).then(|| words.chars().collect());
            let device = context.device.clone().with_precision(o.precision);
            let inner = Arc::new(Model::new(device, gpt, &file.params, chars)?);
            hand_out(model, bnn_model { inner }, "model")
        }
    })
}

/// Writes the model's parameters to a safetensors file by nanoGPT's names, in the place of what may be there; it appears whole or not at all. A head that is
/// tied is not written. [in] path: UTF-8, path_len bytes. Errors: BNN_ERR_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_save_safetensors(
    model: *const bnn_model,
    path: *const c_char,
    path_len: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects of that length.
        let (m, path) = unsafe { (&get(model, "model")?.inner, text(path, path_len, "path")?) };
        write_safetensors(path, &m.gpt, &m.host_params()?)?;
        Ok(())
    })
}

/// Puts the parameters of a safetensors file into a model of their shape: every tensor by nanoGPT's name, in F32 or BF16; others are passed over.
///
/// [in] path: UTF-8, path_len bytes. Errors: BNN_ERR_IO; BNN_ERR_BAD_HEADER for a file that is damaged or of another format, and where a tensor is missing or
/// of another shape or type, with its name; BNN_ERR_DATA for a parameter that is not finite. The model is then as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_read_safetensors(
    model: *mut bnn_model,
    path: *const c_char,
    path_len: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects of that length.
        let (m, path) = unsafe { (&get(model, "model")?.inner, text(path, path_len, "path")?) };
        m.set(&read_safetensors(path, &m.gpt)?)
    })
}
