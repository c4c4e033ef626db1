//! bnn_generator: text from an ensemble, with each token's uncertainty.

use super::corpus::bnn_corpus;
use super::ensemble::{bnn_ensemble, on_device};
use super::guard::{call_back, guard};
use super::options::{Set, bnn_options};
use super::pointer::{
    Handle, check_room, get, give, give_each, hand_out, lock, optional_room, out, slice, take_back,
    text, texts,
};
use super::status::{bnn_error, bnn_status};
use crate::backend::Device;
use crate::data::{Corpus, narrow};
use crate::error::Error;
use crate::generate::{Generated, Generator, TokenInfo};
use crate::memory;
use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex};

/// Called for each new token on the calling thread; 0 stops the text, anything else goes on.
///
/// entropy: of the averaged prediction, nats; mutual_information: what the samples disagree about; log_prob: of the token under the averaged
/// prediction: all at temperature 1 and before top_k, whatever the options' mode.
/// A call into the same generator from inside returns BNN_ERR_BUSY.
pub type bnn_token_callback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        token: u32,
        entropy: f64,
        mutual_information: f64,
        log_prob: f64,
    ) -> i32,
>;

/// Called with every token of several texts: prompt is the index of the prompt that the token's text goes on from, and the other values are those of
/// bnn_token_callback. Returning 0 stops that text alone.
pub type bnn_batch_token_callback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        prompt: usize,
        token: u32,
        entropy: f64,
        mutual_information: f64,
        log_prob: f64,
    ) -> i32,
>;

/// A writer with a cache for each sample. One thread at a time.
pub struct bnn_generator {
    device: Device,
    pub(super) inner: Arc<Mutex<Generator<Device>>>,
    pub(super) corpus: Arc<Corpus>, // without a token where it was made without one
}

impl Handle for bnn_generator {
    const NAME: &str = "bnn_generator";

    fn device(&self) -> Option<&Device> {
        Some(&self.device)
    }
}

/// Makes a generator from the samples that the ensemble has now.
///
/// [in] corpus: whose characters the model knows; NULL where prompts are tokens, or the model came from a file with its characters; options: weights;
/// NULL for defaults. [out] generator: to be freed with bnn_generator_free. Errors: BNN_ERR_INVALID without a sample or when the corpus has other
/// characters than the model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_generator_new(
    ensemble: *const bnn_ensemble,
    corpus: *const bnn_corpus,
    options: *const bnn_options,
    generator: *mut *mut bnn_generator,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles.
        let (e, corpus, o) = unsafe {
            let e = &get(ensemble, "ensemble")?.inner;
            (e, e.model.corpus(corpus)?, Set::from(options)?)
        };
        let device = &e.model.device;
        let samples = {
            let members = lock(&e.members, "ensemble")?;
            memory::try_collect(on_device(device, &members), "samples")?
        };
        let inner = Arc::new(Mutex::new(Generator::with_weights(
            device,
            &e.model.gpt,
            samples,
            o.weights,
        )?));
        let device = device.clone();
        // SAFETY: `generator` is NULL or the caller's to write.
        unsafe {
            hand_out(
                generator,
                bnn_generator {
                    device,
                    inner,
                    corpus,
                },
                "generator",
            )
        }
    })
}

/// Frees a generator; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_generator_free(generator: *mut bnn_generator) {
    // SAFETY: the caller passes NULL or a handle from bnn_generator_new, once.
    unsafe { take_back(generator) }
}

/// Goes on from a prompt.
///
/// [in] prompt: UTF-8, prompt_len bytes, at least one character; options: max_new_tokens, generation_temperature, top_k, mode, context, seed (NULL
/// for defaults); number: which text of the seed; callback: NULL or called for each token. [out] chars: the new text, UTF-8 without NUL,
/// capacity bytes; needed: its bytes (4 * max_new_tokens is always enough); mean_entropy, mean_mutual_information: nats per token.
/// Errors: BNN_ERR_DATA or BNN_ERR_INVALID for a character that the corpus does not have, BNN_ERR_TOO_SMALL (bnn_generator_text
/// gives the text), BNN_ERR_NOT_FINITE. The same seed gives the same text, whatever the number of threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_generator_generate(
    generator: *mut bnn_generator,
    prompt: *const c_char,
    prompt_len: usize,
    options: *const bnn_options,
    number: u64,
    callback: bnn_token_callback,
    user_data: *mut c_void,
    chars: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    mean_entropy: *mut f64,
    mean_mutual_information: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let g = get(generator, "generator")?;
            // The callback may free the handle: what the call uses is its own from here on.
            let (inner, corpus) = (g.inner.clone(), g.corpus.clone());
            let prompt = text(prompt, prompt_len, "prompt")?;
            let o = Set::from(options)?.generation()?;
            let (h, mi) = (
                out(mean_entropy, "mean_entropy")?,
                out(mean_mutual_information, "mean_mutual_information")?,
            );
            let tokens = corpus.tokenizer.encode(prompt)?;
            // What the buffer cannot be is said before a text is written.
            check_room(chars, capacity)?;
            let mut writer = lock(&inner, "generator")?;
            let made = writer.generate(&tokens, &o, number, |t| told(callback, user_data, t))?;
            drop(writer);
            let written = corpus.tokenizer.decode(&made.tokens)?;
            give(written.as_bytes(), chars.cast(), capacity, needed)?;
            let means = means(&made);
            h.write(means.0);
            mi.write(means.1);
        }
        Ok(())
    })
}

/// Tells a callback of a token; whether the text goes on.
///
/// # Safety
/// The callback is the caller's, called on the caller's thread with the caller's pointer.
unsafe fn told(callback: bnn_token_callback, user_data: *mut c_void, t: &TokenInfo) -> bool {
    let (h, mi) = (t.entropy, t.mutual_information);
    // SAFETY: what the caller promises.
    let call = |f: unsafe extern "C" fn(_, _, _, _, _) -> i32| unsafe {
        f(user_data, u32::from(t.token), h, mi, t.log_prob)
    };
    callback.is_none_or(|f| call_back(|| call(f)) != 0)
}

/// Goes on from tokens, as bnn_generator_generate from a text.
///
/// [in] prompt: n tokens, at least one; options, number, callback: as there. [out] tokens: the new ones, capacity of them; needed: how many there are,
/// max_new_tokens at most; mean_entropy, mean_mutual_information: nats per token. Errors: BNN_ERR_INVALID for a token out of range, with its place;
/// BNN_ERR_TOO_SMALL; BNN_ERR_NOT_FINITE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_generator_generate_tokens(
    generator: *mut bnn_generator,
    prompt: *const u32,
    n: usize,
    options: *const bnn_options,
    number: u64,
    callback: bnn_token_callback,
    user_data: *mut c_void,
    tokens: *mut u32,
    capacity: usize,
    needed: *mut usize,
    mean_entropy: *mut f64,
    mean_mutual_information: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let g = get(generator, "generator")?;
            // The callback may free the handle: what the call uses is its own from here on.
            let (inner, v) = (g.inner.clone(), g.corpus.tokenizer.vocab_size());
            let mut ids = Vec::new();
            narrow("prompt", slice(prompt, n, "prompt")?, 0, v, &mut ids)?;
            let o = Set::from(options)?.generation()?;
            let h = out(mean_entropy, "mean_entropy")?;
            let mi = out(mean_mutual_information, "mean_mutual_information")?;
            check_room(tokens, capacity)?;
            let mut writer = lock(&inner, "generator")?;
            let made = writer.generate(&ids, &o, number, |t| told(callback, user_data, t))?;
            drop(writer);
            let new = made.tokens.iter().map(|&id| id.into());
            give_each(new, tokens, capacity, needed)?;
            let means = means(&made);
            h.write(means.0);
            mi.write(means.1);
        }
        Ok(())
    })
}

/// Means of a text's entropy and mutual information, nats per token; 0 for a text without one.
fn means(made: &Generated) -> (f64, f64) {
    let n = (made.info.len() as f64).max(1.0);
    // The sum of no doubles is -0.
    let mean = |of: fn(&TokenInfo) -> f64| made.info.iter().map(of).fold(0.0, |a, b| a + b) / n;
    (mean(|t| t.entropy), mean(|t| t.mutual_information))
}

/// Returns the prompts' tokens; an error says of which prompt.
pub(super) fn encode(corpus: &Corpus, prompts: &[&str]) -> Result<Vec<Vec<u16>>, Error> {
    let each = prompts.iter().enumerate();
    let each = each.map(|(i, prompt)| match corpus.tokenizer.encode(prompt) {
        Err(Error::Data { place, message }) => {
            Err(Error::data(format!("prompt {i}: {place}"), message))
        }
        other => other,
    });
    memory::try_collect(each, "prompts")
}

/// Goes on from several prompts at once: each sample's weights are read once per token for all of them.
///
/// Text i is number first + i (modulo 2^64) of the seed: the same bytes as bnn_generator_generate writes from prompt i alone with that
/// number. The generator keeps caches for as many texts as it ever wrote at once.
///
/// [in] prompts, prompt_lens: n texts, UTF-8, with their lengths in bytes, each at least one character; n: 0 writes nothing; options: as
/// bnn_generator_generate; callback: NULL or called for each token, text by text for the first tokens, then for the second, and so on.
/// [out] chars: the new texts one after the other, UTF-8 without NUL, capacity bytes; needed: their bytes (4 * n * max_new_tokens is
/// always enough); offsets: n + 1 numbers, text i is bytes offsets[i] to offsets[i + 1] of chars; mean_entropy, mean_mutual_information:
/// n each, nats per token, 0 for a text without one.
/// Errors: those of bnn_generator_generate, with the prompt's index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_generator_generate_batch(
    generator: *mut bnn_generator,
    prompts: *const *const c_char,
    prompt_lens: *const usize,
    n: usize,
    options: *const bnn_options,
    first: u64,
    callback: bnn_batch_token_callback,
    user_data: *mut c_void,
    chars: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    offsets: *mut usize,
    mean_entropy: *mut f64,
    mean_mutual_information: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let ends = n
            .checked_add(1)
            .ok_or_else(|| Error::out_of_range("n", "below the largest size", n))?;
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let g = get(generator, "generator")?;
            // The callback may free the handle: what the call uses is its own from here on.
            let (inner, corpus) = (g.inner.clone(), g.corpus.clone());
            let prompts = texts(prompts, prompt_lens, n, "prompt")?;
            let o = Set::from(options)?.generation()?;
            let mut offsets = optional_room(offsets, ends, "offsets")?;
            let mut h = optional_room(mean_entropy, n, "mean_entropy")?;
            let mut mi = optional_room(mean_mutual_information, n, "mean_mutual_information")?;
            let tokens = encode(&corpus, &prompts)?;
            let tokens = tokens.iter().map(Vec::as_slice);
            let tokens: Vec<&[u16]> = memory::collect(tokens, "prompts")?;
            check_room(chars, capacity)?;
            let made = lock(&inner, "generator")?.generate_batch(&tokens, &o, first, |i, t| {
                let (h, mi) = (t.entropy, t.mutual_information);
                callback.is_none_or(|f| {
                    call_back(|| f(user_data, i, t.token.into(), h, mi, t.log_prob)) != 0
                })
            })?;
            let mut written = String::new();
            let mut at = memory::room(ends, "the texts' offsets")?;
            at.push(0);
            for text in &made {
                let decoded = corpus.tokenizer.decode(&text.tokens)?;
                memory::append_text(&mut written, &decoded, "texts")?;
                at.push(written.len());
            }
            give(written.as_bytes(), chars.cast(), capacity, needed)?;
            offsets.write(at.iter().copied());
            h.write(made.iter().map(|text| means(text).0));
            mi.write(made.iter().map(|text| means(text).1));
        }
        Ok(())
    })
}
