//! What stored samples predict, beside their model's own parameters; and what they write, beside a split.

use super::corpus::{bnn_corpus, split_of};
use super::generator::bnn_generator;
use super::guard::guard;
use super::model::bnn_model;
use super::options::{Set, bnn_options};
use super::pointer::{get, lock};
use super::report::{bnn_report, report_of};
use super::status::{bnn_error, bnn_status};
use super::store::bnn_store;
use crate::inference::scoring::{Models, compare};
use crate::inference::spread;
use crate::inference::text_score::{TextPlan, write_and_score};

/// Scores the average of a store's samples on a whole split, reading one sample after the other, and compares it with the model's own parameters token
/// by token.
///
/// [in] model: of the samples' shape, its parameters now are what is compared with; corpus: whose characters the model knows; split: BNN_SPLIT_…;
/// samples: how many are averaged, those of bnn_store_spread, 0 takes all; seed: of the bootstrap's resamples. [out] report: the rows of bnn_ensemble_evaluate;
/// those of the model's parameters under baseline.…; against_baseline.difference, nats per token, below 0 where the average is better, with .std_error,
/// .z (above 0 where it is better), .low and .high, the ends of the 95 % interval, .block and .resamples.
/// Errors: BNN_ERR_INVALID without a sample; BNN_ERR_SHAPE for samples of another shape; those of bnn_store_get; BNN_ERR_BUSY. Takes 64 MB beside the
/// samples, however long the split is. Reproducible to the bit whatever the number of threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_store_score(
    store: *const bnn_store,
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    split: i32,
    samples: usize,
    seed: u64,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles.
        unsafe {
            let (s, m) = (get(store, "store")?, &get(model, "model")?.inner);
            let (c, mut report) = (get(corpus, "corpus")?, report_of(report)?);
            m.fits(&c.inner)?;
            let tokens = split_of(&c.inner, split)?;
            let (store, params) = (lock(&s.inner, "store")?, m.host_params()?);
            let used = spread(store.ids(), samples)?;
            let models = Models::Stored(&store, &used);
            let compared = compare(
                &m.device,
                &m.gpt,
                tokens,
                &models,
                &params,
                seed,
                |_| Ok(()),
            )?;
            *report = (&compared).into();
        }
        Ok(())
    })
}

/// Writes texts from prompts that are drawn from a split, and scores them against what follows there.
///
/// [in] split: BNN_SPLIT_…; texts: how many at most, fewer where the split has not 100 starts for each; prompt, length: characters of a prompt and of
/// what is written, at least 1 each; options: generation_temperature, mode, seed; NULL for defaults. [out] report: texts; bleu, corpus BLEU of up to 4 characters;
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
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles.
        unsafe {
            let (g, o) = (
                get(generator, "generator")?,
                Set::from(options)?.generation()?,
            );
            let mut report = report_of(report)?;
            let tokens = split_of(&g.corpus, split)?;
            let plan = TextPlan {
                texts,
                prompt,
                length,
                temperature: o.temperature,
                mode: o.mode,
                seed: o.seed,
                split: u32::from(split == super::corpus::BNN_SPLIT_TRAIN),
            };
            let mut inner = lock(&g.inner, "generator")?;
            let written =
                write_and_score(&mut inner, &g.corpus.tokenizer, tokens, &plan, || Ok(()))?;
            *report = (&written.ok_or_else(|| plan.too_short(tokens.len()))?).into();
        }
        Ok(())
    })
}
