//! bnn_model: a GPT's shape with one parameter vector.

use super::context::bnn_context;
use super::corpus::{bnn_corpus, split_of};
use super::guard::guard;
use super::options::{Set, bnn_options};
use super::pointer::{Handle, get, give, hand_out, out, room, slice, take_back, text};
use super::report::{bnn_report, report_of};
use super::status::{Fail, bnn_error, bnn_status};
use crate::backend::{Device, Transfer, Vectors};
use crate::data::{Corpus, Tokenizer};
use crate::error::{Error, Result as Checked};
use crate::gpt::{Gpt, Tensor};
use crate::inference::Report;
use crate::metrics::split_loss;
use std::ffi::c_char;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Parameters on the device.
pub(super) type Params = <Device as Vectors>::Vector;

pub(super) struct Model {
    pub device: Device,
    pub gpt: Gpt,
    /// (n_params), on the device: a snapshot that readers share, held for no longer than it takes to clone or to replace it.
    params: Mutex<Arc<Params>>,
    /// The characters of the first corpus that it was used with.
    characters: OnceLock<Vec<char>>,
}

/// A GPT with its parameters. May be used by several threads at once: a call works with the parameters that are there when it begins, whatever
/// another thread sets meanwhile. Children keep it alive. The first corpus with characters that it is used with says what its tokens are; one with
/// others is refused from then on.
pub struct bnn_model {
    pub(super) inner: Arc<Model>,
}

impl Handle for bnn_model {
    const NAME: &str = "bnn_model";

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
/// for a model that is not tied.
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
            params: Mutex::new(Arc::new(m.device.put(&params)?)),
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

/// Copies the parameters out. [out] params: n floats, n = n_params. Errors: BNN_ERR_SHAPE.
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
        (m.inner.device).download(&m.inner.params(), to.zeros())?;
        Ok(())
    })
}

/// Copies parameters in. [in] params: n floats, n = n_params, all finite. Errors: BNN_ERR_SHAPE, BNN_ERR_INVALID.
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
            params: Mutex::new(Arc::new(device.put(params)?)),
            device,
            gpt,
            characters: characters.map_or_else(OnceLock::new, OnceLock::from),
        })
    }

    /// Returns the parameters as they are now.
    pub fn params(&self) -> Arc<Params> {
        let params = self.params.lock();
        params.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Copies the parameters to the host, (n_params).
    pub fn host_params(&self) -> Checked<Vec<f32>> {
        self.device.get(&self.params())
    }

    /// Returns what the tokens are, as far as it is known.
    pub fn tokenizer(&self) -> Checked<Tokenizer> {
        match self.characters.get() {
            Some(chars) => Tokenizer::from_chars(chars.iter().copied()),
            None => Tokenizer::of_ids(self.gpt.config().vocab_size),
        }
    }

    /// Returns a corpus that fits the model; for NULL one without a token.
    ///
    /// # Safety
    /// `corpus` is NULL or a live handle.
    pub unsafe fn corpus(&self, corpus: *const bnn_corpus) -> Result<Arc<Corpus>, Fail> {
        if corpus.is_null() {
            return Ok(Arc::new(Corpus::without_text(self.tokenizer()?)));
        }
        // SAFETY: the caller says that it is a live handle.
        let corpus = &unsafe { get(corpus, "corpus") }?.inner;
        self.fits(corpus)?;
        Ok(corpus.clone())
    }

    /// Checks that a corpus has as many characters as the model has tokens, and those of the corpora before it.
    pub fn fits(&self, corpus: &Corpus) -> Result<(), Fail> {
        let (model, text) = (self.gpt.config().vocab_size, corpus.tokenizer.vocab_size());
        if model != text {
            let expected = format!("a vocabulary of {model}, as the model has");
            return Err(Error::out_of_range("corpus", expected, text).into());
        }
        if !corpus.tokenizer.has_characters() {
            return Ok(());
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
        let new = Arc::new(self.device.put(from)?);
        let mut params = self.params.lock().unwrap_or_else(PoisonError::into_inner);
        *params = new;
        Ok(())
    }
}

/// Describes one named tensor of the parameter vector, in nanoGPT's order.
///
/// [in] index: from 0. [out] name: UTF-8 without NUL, capacity bytes; needed: its bytes; dims: 1 for a gain or a bias, 2 for a matrix; rows, columns:
/// its shape, (out, in) for a matrix, and 1 column with one dimension; offset, len: its place, row by row. Each may be NULL, the name with a capacity of 0
/// once its bytes are not wanted. Errors: BNN_ERR_INVALID past the last tensor, BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_tensor(
    model: *const bnn_model,
    index: usize,
    name: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    dims: *mut usize,
    rows: *mut usize,
    columns: *mut usize,
    offset: *mut usize,
    len: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        unsafe {
            let m = get(model, "model")?;
            let (dims, rows) = (out(dims, "dims")?, out(rows, "rows")?);
            let columns = out(columns, "columns")?;
            let (offset, len) = (out(offset, "offset")?, out(len, "len")?);
            let tensors = m.inner.gpt.layout().tensors();
            let t: &Tensor = tensors.get(index).ok_or_else(|| {
                Error::out_of_range("index", format!("below {}", tensors.len()), index)
            })?;
            if !(name.is_null() && capacity == 0 && needed.is_null()) {
                give(t.name.as_bytes(), name.cast(), capacity, needed)?;
            }
            dims.write(t.shape.len());
            rows.write(t.shape[0]);
            columns.write(t.shape.get(1).copied().unwrap_or(1));
            offset.write(t.range.start);
            len.write(t.range.len());
        }
        Ok(())
    })
}

/// Finds a tensor by its name. [in] name: UTF-8, name_len bytes. [out] index: for bnn_model_tensor. Errors: BNN_ERR_INVALID for an unknown name, with the
/// nearest one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_find_tensor(
    model: *const bnn_model,
    name: *const c_char,
    name_len: usize,
    index: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        let (m, name, index) = unsafe {
            let name = text(name, name_len, "name")?;
            (get(model, "model")?, name, out(index, "index")?)
        };
        let tensors = m.inner.gpt.layout().tensors();
        let names = tensors.iter().map(|t| t.name.as_str());
        let at = tensors.iter().position(|t| t.name == name);
        index.write(at.ok_or_else(|| Error::unknown("tensor", name, names))?);
        Ok(())
    })
}

/// Says what a model is. [out] report: vocab_size; block_size, the longest context; n_layer; n_head; n_embd; bias; dropout; gelu; tie_weights; n_params;
/// tensors, how many bnn_model_tensor knows; precision, of matrix products; characters, 1 where it is known which characters the tokens are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_info(
    model: *const bnn_model,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (m, mut report) = unsafe { (&get(model, "model")?.inner, report_of(report)?) };
        let has_characters = m.characters.get().is_some();
        *report = Report::from(&m.gpt)
            .row(
                "precision",
                m.device.precision().name(),
                "of matrix products, as the option has it",
            )
            .row(
                "characters",
                has_characters,
                "whether it is known which characters the tokens are",
            );
        Ok(())
    })
}

/// Makes a model of the same shape with the parameters that this one has now. [out] copy: to be freed with bnn_model_free. Errors: BNN_ERR_NO_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_model_copy(
    model: *const bnn_model,
    copy: *mut *mut bnn_model,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: the handle is NULL or live.
        let m = &unsafe { get(model, "model") }?.inner;
        let inner = Arc::new(Model {
            device: m.device.clone(),
            gpt: m.gpt.clone(),
            // Nobody changes a snapshot: the two part when one of them is set.
            params: Mutex::new(m.params()),
            characters: m.characters.clone(),
        });
        // SAFETY: `copy` is NULL or the caller's to write.
        unsafe { hand_out(copy, bnn_model { inner }, "copy") }
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
    split: i32,
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
        let tokens = split_of(&c.inner, split)?;
        let t = m.gpt.config().block_size;
        loss.write(split_loss(&m.device, &m.gpt, &m.params(), tokens, t)?.0);
        Ok(())
    })
}
