//! Texts written token by token: the caller looks at what is predicted, and may put tokens of their own.

use super::generator::bnn_generator;
use super::guard::guard;
use super::options::{Set, bnn_options};
use super::pointer::{get, give, give_each, lock, optional_room, out, slice, texts};
use super::status::{Fail, bnn_error, bnn_status};
use crate::backend::Device;
use crate::data::narrow;
use crate::error::Error;
use crate::generate::Generator;
use crate::memory;
use std::ffi::c_char;

/// What bnn_generator_advance gives of a text that has ended, in place of a token.
pub const BNN_NO_TOKEN: u32 = u32::MAX;

/// Begins n texts that are written token by token, after prompts of tokens; texts that were written before are forgotten. Text i is number first + i
/// (modulo 2^64) of the seed: until the caller puts a token, it has the tokens that bnn_generator_generate_tokens writes for that number.
///
/// [in] prompts, prompt_lens: n arrays of tokens with their lengths, each at least one token; options: as bnn_generator_generate: max_new_tokens bounds
/// each text. Errors: BNN_ERR_INVALID for an empty prompt and for a token out of range, with its prompt and place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_generator_begin(
    generator: *mut bnn_generator,
    prompts: *const *const u32,
    prompt_lens: *const usize,
    n: usize,
    options: *const bnn_options,
    first: u64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let g = get(generator, "generator")?;
            let (prompts, lens) = (
                slice(prompts, n, "prompts")?,
                slice(prompt_lens, n, "prompt_lens")?,
            );
            let v = g.corpus.tokenizer.vocab_size();
            let mut all = memory::room(n, "prompts")?;
            for (i, (&tokens, &len)) in prompts.iter().zip(lens).enumerate() {
                let what = format!("prompt {i}");
                let mut ids = Vec::new();
                narrow(&what, slice(tokens, len, what.clone())?, 0, v, &mut ids)?;
                all.push(ids);
            }
            let all: Vec<&[u16]> = memory::collect(all.iter().map(Vec::as_slice), "prompts")?;
            let o = Set::from(options)?.generation()?;
            lock(&g.inner, "generator")?.begin(&all, &o, first)?;
        }
        Ok(())
    })
}

/// Begins texts as bnn_generator_begin, after prompts of characters.
///
/// [in] prompts, prompt_lens: n texts, UTF-8, with their lengths in bytes, each at least one character. Errors: BNN_ERR_DATA or BNN_ERR_INVALID for a
/// character that the corpus does not have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_generator_begin_texts(
    generator: *mut bnn_generator,
    prompts: *const *const c_char,
    prompt_lens: *const usize,
    n: usize,
    options: *const bnn_options,
    first: u64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let g = get(generator, "generator")?;
            let tokens =
                super::generator::encode(&g.corpus, &texts(prompts, prompt_lens, n, "prompt")?)?;
            let tokens = tokens.iter().map(Vec::as_slice);
            let tokens: Vec<&[u16]> = memory::collect(tokens, "prompts")?;
            let o = Set::from(options)?.generation()?;
            lock(&g.inner, "generator")?.begin(&tokens, &o, first)?;
        }
        Ok(())
    })
}

/// Writes the next token of every text that goes on.
///
/// [out] tokens: n of them, the number of texts that were begun, BNN_NO_TOKEN for a text that has ended; entropy, mutual_information, log_probs: n
/// numbers each, of the averaged prediction at temperature 1 and before top_k, nats, NaN for a text that has ended. Errors: BNN_ERR_STATE before
/// bnn_generator_begin; BNN_ERR_DONE when every text has ended; BNN_ERR_SHAPE for another n; BNN_ERR_NOT_FINITE, which gives the texts up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_generator_advance(
    generator: *mut bnn_generator,
    tokens: *mut u32,
    entropy: *mut f64,
    mutual_information: *mut f64,
    log_probs: *mut f64,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let g = get(generator, "generator")?;
            let mut tokens = optional_room(tokens, n, "tokens")?;
            let mut entropy = optional_room(entropy, n, "entropy")?;
            let mut shared = optional_room(mutual_information, n, "mutual_information")?;
            let mut log_probs = optional_room(log_probs, n, "log_probs")?;
            let mut writer = lock(&g.inner, "generator")?;
            expect_texts(&writer, n)?;
            let mut came = writer.advance()?.iter().peekable();
            if came.peek().is_none() {
                return Err(Fail::Done(
                    "every text has ended: bnn_generator_begin begins others".into(),
                ));
            }
            let each = (0..n).map(|i| came.next_if(|(text, _)| *text == i).map(|(_, info)| info));
            let each = memory::collect(each, "tokens")?;
            let number = |of: fn(&crate::generate::TokenInfo) -> f64| {
                each.iter().map(move |info| info.map_or(f64::NAN, of))
            };
            tokens.write(
                each.iter()
                    .map(|info| info.map_or(BNN_NO_TOKEN, |t| t.token.into())),
            );
            entropy.write(number(|t| t.entropy));
            shared.write(number(|t| t.mutual_information));
            log_probs.write(number(|t| t.log_prob));
        }
        Ok(())
    })
}

/// Checks that as many texts were begun as the caller has room for.
fn expect_texts(writer: &Generator<Device>, n: usize) -> Result<(), Fail> {
    match writer.texts() {
        // Before any was begun that is what is wrong.
        0 => Ok(()),
        texts if texts == n => Ok(()),
        texts => Err(Error::shape("n", [texts], [n]).into()),
    }
}

/// Gives what the average of the samples predicts for the next token of a text. It changes no text: what is drawn is what would have been.
///
/// [in] text: its index among those that were begun. [out] log_probs: v numbers, the vocabulary's size, nats, at temperature 1 and before top_k; entropy,
/// mutual_information: nats. Errors: BNN_ERR_STATE before bnn_generator_begin and for a text that has ended; BNN_ERR_INVALID for another index;
/// BNN_ERR_SHAPE for another v; BNN_ERR_NOT_FINITE, which gives the texts up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_generator_predict(
    generator: *mut bnn_generator,
    text: usize,
    log_probs: *mut f64,
    v: usize,
    entropy: *mut f64,
    mutual_information: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let g = get(generator, "generator")?;
            let mut to = optional_room(log_probs, v, "log_probs")?;
            let (h, mi) = (
                out(entropy, "entropy")?,
                out(mutual_information, "mutual_information")?,
            );
            let size = g.corpus.tokenizer.vocab_size();
            if v != size && !log_probs.is_null() {
                return Err(Error::shape("v", [size], [v]).into());
            }
            let mut writer = lock(&g.inner, "generator")?;
            let p = writer.predict(text)?;
            to.write(p.log_probs.iter().copied());
            h.write(p.entropy);
            mi.write(p.mutual_information);
        }
        Ok(())
    })
}

/// Puts a token in place of the one that would be drawn: bnn_generator_advance writes it next. A second call for one text before that takes the place of
/// the first.
///
/// [in] text: its index; token: below the vocabulary's size. Errors: those of bnn_generator_predict, and BNN_ERR_INVALID for a token out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_generator_put(
    generator: *mut bnn_generator,
    text: usize,
    token: u32,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: the handle is NULL or live.
        let g = unsafe { get(generator, "generator") }?;
        let (v, mut ids) = (g.corpus.tokenizer.vocab_size(), Vec::new());
        narrow("token", &[token], 0, v, &mut ids)?;
        lock(&g.inner, "generator")?.put(text, ids[0])?;
        Ok(())
    })
}

/// Ends a text; the others go on. A text that has ended stays so. [in] text: its index. Errors: BNN_ERR_STATE before bnn_generator_begin;
/// BNN_ERR_INVALID for another index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_generator_stop(
    generator: *mut bnn_generator,
    text: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: the handle is NULL or live.
        let g = unsafe { get(generator, "generator") }?;
        lock(&g.inner, "generator")?.stop(text)?;
        Ok(())
    })
}

/// Gives the tokens that a text has by now, without its prompt: of texts that were begun, and of what the last call wrote whole, also where the caller's
/// buffer was too small for it.
///
/// [in] text: its index. [out] tokens: capacity of them; needed: how many there are. Errors: BNN_ERR_STATE before any text; BNN_ERR_INVALID for another
/// index; BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_generator_tokens(
    generator: *mut bnn_generator,
    text: usize,
    tokens: *mut u32,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let g = get(generator, "generator")?;
            let writer = lock(&g.inner, "generator")?;
            let written = writer.written(text)?.iter().map(|&id| id.into());
            give_each(written, tokens, capacity, needed)
        }
    })
}

/// Gives what bnn_generator_tokens does as characters.
///
/// [out] chars: UTF-8 without NUL, capacity bytes; needed: its bytes. Errors: those of bnn_generator_tokens, and BNN_ERR_INVALID where the model's
/// characters are not known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_generator_text(
    generator: *mut bnn_generator,
    text: usize,
    chars: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let g = get(generator, "generator")?;
            let writer = lock(&g.inner, "generator")?;
            let written = g.corpus.tokenizer.decode(writer.written(text)?)?;
            give(written.as_bytes(), chars.cast(), capacity, needed)
        }
    })
}
