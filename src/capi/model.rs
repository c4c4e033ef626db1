//! bnn_model: a GPT's shape with one parameter vector.

use super::context::bnn_context;
use super::corpus::{bnn_corpus, split};
use super::guard::guard;
use super::options::{Set, bnn_options};
use super::pointer::{Handle, get, give, hand_out, lock, out, room, slice, take_back};
use super::status::{Fail, bnn_error, bnn_status};
use crate::backend::{Device, Transfer, Vectors};
use crate::data::Corpus;
use crate::error::{Error, Result as Checked};
use crate::gpt::{Gpt, Objective, TokenBatch, Workspace};
use crate::metrics::split_loss;
use std::ffi::c_char;
use std::sync::{Arc, Mutex, OnceLock};

pub(super) struct Model {
    pub device: Device,
    pub gpt: Gpt,
    /// (n_params), on the device.
    pub params: Mutex<<Device as Vectors>::Vector>,
    /// The characters of the first corpus that it was used with.
    characters: OnceLock<Vec<char>>,
}

/// A GPT with its parameters. May be used by several threads: a call that finds the parameters in use returns BNN_ERR_BUSY. Children keep
/// it alive. The first corpus that it is used with says which characters its tokens are; one with others is refused from then on.
pub struct bnn_model {
    pub(super) inner: Arc<Model>,
}

impl Handle for bnn_model {
    fn device(&self) -> Option<&Device> {
        Some(&self.inner.device)
    }
}

/// Makes a model at nanoGPT's initial parameters.
///
/// [in] options: shape, n_layer, n_head, n_embd, block_size, bias, dropout, gelu, tie_weights, precision, seed; NULL for defaults. vocab_size: the corpus's.
/// [out] model: to be freed with bnn_model_free. Errors: BNN_ERR_INVALID for a shape that cannot be built,
/// BNN_ERR_NO_MEMORY for one that memory does not hold, with the bytes that it needs.
/// The parameters are a function of shape and seed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_new(
    context: *const bnn_context,
    options: *const bnn_options,
    vocab_size: usize,
    model: *mut *mut bnn_model,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or live handles.
        let (context, o) = unsafe { (get(context, "context")?, Set::from(options)?) };
        let gpt = Gpt::new(o.model(vocab_size)?)?;
        let params = gpt.layout().initial(o.seed)?;
        let device = context.device.clone().with_precision(o.precision);
        let inner = Arc::new(Model::new(device, gpt, &params, None)?);
        // SAFETY: `model` is NULL or the caller's to write.
        unsafe { hand_out(model, bnn_model { inner }, "model") }
    })
}

/// Makes the model with a head of its own that computes what a tied one does: its parameters, and a copy of the embedding's for the head.
///
/// [out] untied: a model of its own, to be freed with bnn_model_free. What laplace_structure = last_layer_… needs. Errors: BNN_ERR_INVALID
/// for a model that is not tied, BNN_ERR_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_untie(
    model: *const bnn_model,
    untied: *mut *mut bnn_model,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: the handle is NULL or live.
        let m = &unsafe { get(model, "model") }?.inner;
        if !m.gpt.config().tie_weights {
            return Err(Error::conflict(
                "the model's head is not tied to the embedding: use the model as it is",
            )
            .into());
        }
        let params = m.gpt.untie(&m.host_params()?)?;
        let inner = Arc::new(Model {
            device: m.device.clone(),
            gpt: m.gpt.untied(),
            params: Mutex::new(m.device.put(&params)?),
            characters: m.characters.clone(),
        });
        // SAFETY: `untied` is NULL or the caller's to write.
        unsafe { hand_out(untied, bnn_model { inner }, "untied") }
    })
}

/// Frees a model; NULL is fine. What was made from it goes on working.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_free(model: *mut bnn_model) {
    // SAFETY: the caller passes NULL or a handle from bnn_model_new, once.
    unsafe { take_back(model) }
}

/// Gives the sizes of a model. [out] n_params: length of the parameter vector; [out] block_size: longest context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_sizes(
    model: *const bnn_model,
    n_params: *mut usize,
    block_size: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        let (m, n, t) = unsafe {
            (
                get(model, "model")?,
                out(n_params, "n_params")?,
                out(block_size, "block_size")?,
            )
        };
        n.write(m.inner.gpt.n_params());
        t.write(m.inner.gpt.config().block_size);
        Ok(())
    })
}

/// Copies the parameters out. [out] params: n floats, n = n_params. Errors: BNN_ERR_SHAPE, BNN_ERR_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_get_params(
    model: *const bnn_model,
    params: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (m, mut to) = unsafe { (get(model, "model")?, room(params, n, "params")?) };
        m.inner.gpt.layout().check_len(n)?;
        let params = lock(&m.inner.params, "model")?;
        m.inner.device.download(&params, to.zeros())?;
        Ok(())
    })
}

/// Copies parameters in. [in] params: n floats, n = n_params, all finite. Errors: BNN_ERR_SHAPE, BNN_ERR_INVALID, BNN_ERR_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_set_params(
    model: *mut bnn_model,
    params: *const f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (m, from) = unsafe { (get(model, "model")?, slice(params, n, "params")?) };
        m.inner.set(from)
    })
}

impl Model {
    /// Creates a model, with its characters where they are known.
    pub fn new(
        device: Device,
        gpt: Gpt,
        params: &[f32],
        characters: Option<Vec<char>>,
    ) -> Checked<Self> {
        Ok(Self {
            params: Mutex::new(device.put(params)?),
            device,
            gpt,
            characters: characters.map_or_else(OnceLock::new, OnceLock::from),
        })
    }

    /// Copies the parameters to the host, (n_params).
    pub fn host_params(&self) -> Result<Vec<f32>, Fail> {
        let params = lock(&self.params, "model")?;
        Ok(self.device.get(&params)?)
    }

    /// Checks that a corpus has as many characters as the model has tokens, and those of the corpora before it.
    pub fn fits(&self, corpus: &Corpus) -> Result<(), Fail> {
        let (model, text) = (self.gpt.config().vocab_size, corpus.tokenizer.vocab_size());
        if model != text {
            let expected = format!("{model} characters, as the model has");
            return Err(Error::out_of_range("corpus", expected, text).into());
        }
        let chars = corpus.tokenizer.chars();
        let own = self.characters.get_or_init(|| chars.to_vec());
        match own.iter().zip(chars).enumerate().find(|(_, (a, b))| a != b) {
            Some((i, (a, b))) => {
                let what = format!("corpus: character {i}");
                let expected = format!(
                    "{a:?}, as in the model's file or the first corpus that it was used with"
                );
                Err(Error::out_of_range(what, expected, format!("{b:?}")).into())
            }
            None => Ok(()),
        }
    }

    pub fn set(&self, from: &[f32]) -> Result<(), Fail> {
        self.gpt.layout().check(from)?;
        if let Some(i) = from.iter().position(|v| !v.is_finite()) {
            return Err(
                Error::out_of_range(format!("params[{i}]"), "a finite number", from[i]).into(),
            );
        }
        let mut params = lock(&self.params, "model")?;
        self.device.upload(&mut params, from)?;
        Ok(())
    }
}

/// Describes one named tensor of the parameter vector, in nanoGPT's order.
///
/// [in] index: from 0. [out] name: UTF-8 without NUL, capacity bytes; needed: its bytes; offset, len: its place.
/// Errors: BNN_ERR_INVALID past the last tensor, BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_tensor(
    model: *const bnn_model,
    index: usize,
    name: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    offset: *mut usize,
    len: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        unsafe {
            let m = get(model, "model")?;
            let (offset, len) = (out(offset, "offset")?, out(len, "len")?);
            let tensors = m.inner.gpt.layout().tensors();
            let t = tensors.get(index).ok_or_else(|| {
                Error::out_of_range("index", format!("below {}", tensors.len()), index)
            })?;
            give(t.name.as_bytes(), name.cast(), capacity, needed)?;
            offset.write(t.range.start);
            len.write(t.range.len());
        }
        Ok(())
    })
}

/// Loss over a whole split, consecutive windows of the block's length.
///
/// [in] split: BNN_SPLIT_…. [out] loss: nats per token. Errors: BNN_ERR_DATA when the split is shorter than a window.
/// Reproducible to the bit on one machine, whatever the number of threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_loss(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    which: i32,
    loss: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        let (m, c, loss) = unsafe {
            (
                &get(model, "model")?.inner,
                get(corpus, "corpus")?,
                out(loss, "loss")?,
            )
        };
        m.fits(&c.inner)?;
        let tokens = split(&c.inner, which)?;
        let params = lock(&m.params, "model")?;
        let t = m.gpt.config().block_size;
        loss.write(split_loss(&m.device, &m.gpt, &params, tokens, t)?.0);
        Ok(())
    })
}

/// Computes the mean loss of targets y after tokens x, and its gradient.
///
/// [in] x, y: (B, T), b * t tokens each. last_only: nonzero counts the last position of each sequence alone. [out] loss: nats; grad: n
/// floats, n = n_params, or NULL for none. Errors: BNN_ERR_INVALID for tokens or sizes, BNN_ERR_SHAPE for n. A loss that is not finite is
/// given as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_gradient(
    model: *const bnn_model,
    x: *const u16,
    y: *const u16,
    b: usize,
    t: usize,
    last_only: i32,
    loss: *mut f64,
    grad: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let rows = b
            .checked_mul(t)
            .ok_or_else(|| Error::out_of_range("b * t", "a size", format!("{b} * {t}")))?;
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        let (m, x, y, loss) = unsafe {
            (
                &get(model, "model")?.inner,
                slice(x, rows, "x")?,
                slice(y, rows, "y")?,
                out(loss, "loss")?,
            )
        };
        let objective = match last_only {
            0 => Objective::All,
            _ => Objective::Last,
        };
        let batch = TokenBatch::new(x, y, t, objective);
        let params = lock(&m.params, "model")?;
        if grad.is_null() {
            let mut ws = Workspace::for_prediction(&m.device, m.gpt.config(), b, t)?;
            loss.write(m.gpt.loss(&m.device, &params, batch, &mut ws)?);
            return Ok(());
        }
        // SAFETY: `grad` is n floats of the caller's.
        let mut to = unsafe { room(grad, n, "grad") }?;
        m.gpt.layout().check_len(n)?;
        let mut ws = Workspace::for_gradients(&m.device, m.gpt.config(), b, t)?;
        let mut g = m.device.zeros(n)?;
        let value = m
            .gpt
            .gradient(&m.device, &params, batch, None, &mut ws, &mut g)?;
        m.device.download(&g, to.zeros())?;
        loss.write(value);
        Ok(())
    })
}
