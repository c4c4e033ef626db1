//! A model in a file: what the command calls a baseline.

use super::context::bnn_context;
use super::corpus::bnn_corpus;
use super::guard::guard;
use super::model::{Model, bnn_model};
use super::options::{Set, bnn_options};
use super::pointer::{get, hand_out, lock, text};
use super::status::{Fail, bnn_error, bnn_status};
use crate::error::Error;
use crate::gpt::{Gpt, GptConfig};
use crate::metrics::split_loss;
use crate::store::{Header, Kind, Reader, TensorData, params_sha256, write};
use std::ffi::c_char;
use std::sync::Arc;

/// The parameters' name in the file.
const PARAMS: &str = "params";

impl Model {
    /// SHA-256 of the parameters as little-endian f32, which is what samples name their baseline by; of an untied model whose head is still the
    /// embedding's copy, of the tied one's.
    pub fn baseline_sha256(&self) -> Result<[u8; 32], Fail> {
        let params = lock(&self.params, "model")?;
        let mut used = &params[..];
        let c = self.gpt.config();
        if !c.tie_weights {
            let head = c.vocab_size * c.n_embd;
            // The embedding comes first, a head of its own last.
            let (before, own) = params.split_at(params.len() - head);
            if before[..head] == *own {
                used = before;
            }
        }
        Ok(params_sha256(used))
    }
}

/// Writes the model to a file that the command takes for a baseline (`--model-path`), in the place of what may be there; it appears whole or
/// not at all.
///
/// [in] corpus: the text that it was trained on, whose validation loss is written too; steps: of training, for the record; path: UTF-8,
/// path_len bytes. Errors: BNN_ERR_INVALID for a corpus with other characters; BNN_ERR_DATA when its validation split is shorter than a window;
/// BNN_ERR_IO; BNN_ERR_BUSY.
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
        let (m, c, path) = unsafe {
            (
                &get(model, "model")?.inner,
                &get(corpus, "corpus")?.inner,
                text(path, path_len, "path")?,
            )
        };
        m.fits(c)?;
        let params = lock(&m.params, "model")?;
        let t = m.gpt.config().block_size;
        let (val_loss, _) = split_loss(&m.cpu, &m.gpt, &params, &c.val, t)?;
        let json = |e: serde_json::Error| Error::invalid("model", "JSON", e);
        let header = Header {
            config: "{}".into(),
            model: serde_json::to_string(m.gpt.config()).map_err(json)?,
            step: steps,
            corpus_sha256: c.sha256,
            vocabulary: c.tokenizer.vocabulary(),
            scalars: vec![
                ("train_loss".into(), f64::NAN),
                ("val_loss".into(), val_loss),
                ("seconds".into(), f64::NAN),
            ],
            ..Header::new(Kind::Baseline)
        };
        write(path, &header, &[(PARAMS, TensorData::F32(&params))])?;
        Ok(())
    })
}

/// Makes a model from a file: bnn_model_save's, or a baseline of the command's. Shape, parameters and characters are the file's.
///
/// [in] options: precision; NULL for defaults; path: UTF-8, path_len bytes. [out] model: to be freed with bnn_model_free.
/// Errors: BNN_ERR_IO; BNN_ERR_BAD_… for a file that is damaged or none of bnn's, BNN_ERR_BAD_HEADER also where its shape cannot be built and
/// where it has not as many parameters or characters as its shape says; BNN_ERR_MISMATCH for a file of another kind, or without parameters in
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
            let mut r = Reader::open(path, Kind::Baseline)?;
            let bad = |message: String| Error::BadHeader {
                path: path.into(),
                message,
            };
            let config: GptConfig =
                serde_json::from_str(&r.header().model).map_err(|e| bad(format!("model: {e}")))?;
            config.check().map_err(|e| bad(format!("model: {e}")))?;
            let chars: Vec<char> = r.header().vocabulary.chars().collect();
            if chars.len() != config.vocab_size {
                let (v, n) = (config.vocab_size, chars.len());
                return Err(bad(format!("{n} characters, expected {v}")).into());
            }
            let gpt = Gpt::new(config)?;
            let (n, len) = (gpt.n_params(), r.tensor(PARAMS)?.len);
            // Before there is room for them.
            if len != n as u64 {
                return Err(bad(format!("{len} parameters, expected {n}")).into());
            }
            let mut params = vec![0.0; n];
            r.read_f32(PARAMS, &mut params)?;
            let cpu = context.cpu.clone().with_precision(o.precision()?);
            let inner = Arc::new(Model::new(cpu, gpt, params, Some(chars)));
            hand_out(model, bnn_model { inner }, "model")
        }
    })
}
