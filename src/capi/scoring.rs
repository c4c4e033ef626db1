//! What stored samples predict, beside their model's own parameters; and what they write, beside a split.

use super::corpus::{bnn_corpus, split_of};
use super::generator::bnn_generator;
use super::guard::guard;
use super::model::bnn_model;
use super::options::{Set, bnn_options};
use super::pointer::{get, lock};
use super::progress::{Watched, bnn_progress_callback};
use super::report::{bnn_report, report_of};
use super::status::{bnn_error, bnn_status};
use super::store::bnn_store;
use crate::inference::scoring::{Models, compare};
use crate::inference::spread;
use crate::inference::text_score::{TextPlan, write_and_score};
use std::ffi::c_void;

/// Scores the average of a store's samples on a whole split, reading one sample after the other, and compares it with the model's own parameters token
/// by token.
///
/// [in] model: of the samples' shape, its parameters now are what is compared with; corpus: whose characters the model knows; split: BNN_SPLIT_…;
/// samples: how many are averaged, those of bnn_store_spread, 0 takes all; seed: of the bootstrap's resamples; callback: NULL or called after each batch of
/// windows. [out] report: the rows of bnn_ensemble_evaluate;
/// those of the model's parameters under baseline.…; against_baseline.difference, nats per token, below 0 where the average is better, with .std_error,
/// .z (above 0 where it is better), .low and .high, the ends of the 95 % interval, .block and .resamples.
/// Errors: BNN_ERR_INVALID without a sample; BNN_ERR_SHAPE for samples of another shape; those of bnn_store_get; BNN_ERR_BUSY; BNN_ERR_INTERRUPTED. Takes 64 MB beside the
/// samples, however long the split is. Reproducible to the bit whatever the number of threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_store_score(
    store: *const bnn_store,
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    split: i32,
    samples: usize,
    seed: u64,
    callback: bnn_progress_callback,
    user_data: *mut c_void,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles.
        unsafe {
            // The callback may free the handles: what the call uses is its own from here on.
            let s = get(store, "store")?.inner.clone();
            let m = get(model, "model")?.inner.clone();
            let c = get(corpus, "corpus")?.inner.clone();
            let mut report = report_of(report)?;
            m.fits(&c)?;
            let tokens = split_of(&c, split)?;
            let (store, params) = (lock(&s, "store")?, m.host_params()?);
            let used = spread(store.ids(), samples)?;
            let models = Models::Stored(&store, &used);
            let windows = Models::One(&params).windows(&m.gpt, tokens)?;
            let total = models.windows(&m.gpt, tokens)?.saturating_add(windows);
            let watched = Watched::new(callback, user_data, total);
            let compared = compare(&m.device, &m.gpt, tokens, &models, &params, seed, |done| {
                watched.at(done)
            })?;
            *report = (&compared).into();
        }
        Ok(())
    })
}

/// Writes texts from prompts that are drawn from a split, and scores them against what follows there.
///
/// [in] split: BNN_SPLIT_…; texts: how many at most, fewer where the split has not 100 starts for each; prompt, length: characters of a prompt and of
/// what is written, at least 1 each; options: generation_temperature, mode, seed; NULL for defaults; callback: NULL or called for each token. [out] report: texts; bleu, corpus BLEU of up to 4 characters;
/// rouge1, rouge2, rouge_l, means over the texts; all 0 to 1. Errors: BNN_ERR_DATA where the split is too short for a text; those of
/// bnn_generator_generate. The texts are a function of the samples, the split, the numbers and the seed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_generator_score_texts(
    generator: *mut bnn_generator,
    split: i32,
    texts: usize,
    prompt: usize,
    length: usize,
    options: *const bnn_options,
    callback: bnn_progress_callback,
    user_data: *mut c_void,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles.
        unsafe {
            // The callback may free the handle: what the call uses is its own from here on.
            let g = get(generator, "generator")?;
            let (inner, corpus) = (g.inner.clone(), g.corpus.clone());
            let o = Set::from(options)?.generation()?;
            let mut report = report_of(report)?;
            let tokens = split_of(&corpus, split)?;
            let plan = TextPlan {
                texts,
                prompt,
                length,
                temperature: o.temperature,
                mode: o.mode,
                seed: o.seed,
                split: u32::from(split == super::corpus::BNN_SPLIT_TRAIN),
            };
            let (n, mut done) = (plan.starts(tokens.len()).map_or(0, |s| s.0), 0);
            let watched = Watched::new(callback, user_data, n.saturating_mul(length));
            let look = || {
                done += 1;
                watched.at(done)
            };
            let mut inner = lock(&inner, "generator")?;
            let written = write_and_score(&mut inner, &corpus.tokenizer, tokens, &plan, look)?;
            *report = (&written.ok_or_else(|| plan.too_short(tokens.len()))?).into();
        }
        Ok(())
    })
}
