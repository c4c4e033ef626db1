//! bnn_sampler: a chain on a model's posterior, one batch at a time.

use super::corpus::bnn_corpus;
use super::guard::guard;
use super::model::{Model, bnn_model};
use super::options::{Set, bnn_options};
use super::pointer::{get, hand_out, lock, out, slice, slice_mut, take_back};
use super::status::{Fail, bnn_error, bnn_status};
use crate::backend::Cpu;
use crate::data::{Batch, Corpus, Windows};
use crate::error::Error;
use crate::gpt::Objective;
use crate::posterior::Posterior;
use crate::samplers::{Chain, ChainReport, Phase};
use std::sync::{Arc, Mutex};

/// Steps that are thrown away: the mass is estimated, then the chain warms up.
pub const BNN_PHASE_WARMUP: i32 = 0;
/// Samples fall due.
pub const BNN_PHASE_SAMPLING: i32 = 1;
/// Every step was made.
pub const BNN_PHASE_DONE: i32 = 2;
/// The part of a cycle in which the chain moves without noise, and no sample falls due.
pub const BNN_PHASE_EXPLORATION: i32 = 3;

pub(super) fn phase_number(p: Phase) -> i32 {
    match p {
        Phase::Warmup => BNN_PHASE_WARMUP,
        Phase::Sampling => BNN_PHASE_SAMPLING,
        Phase::Done => BNN_PHASE_DONE,
        Phase::Exploration => BNN_PHASE_EXPLORATION,
    }
}

struct Inner {
    model: Arc<Model>,
    corpus: Arc<Corpus>,
    chain: Chain<Cpu>,
    windows: Windows,
    batch: Batch,
    given: Batch,
    seed: u64,
    index: u32,
    last: Option<ChainReport>,
}

/// A chain. One thread at a time.
pub struct bnn_sampler {
    inner: Mutex<Inner>,
}

/// Makes a chain that starts at the model's parameters.
///
/// [in] options: sampler, step_size, alpha or momentum, sigma, beta, temperature, warmup_steps, sampling_steps, thinning, seed, chain,
/// preconditioner, preconditioner_steps, preconditioner_floor, prior_std, num_data, objective, batch_size, window; NULL for defaults.
/// [out] sampler: to be freed with bnn_sampler_free. Errors: BNN_ERR_INVALID, BNN_ERR_UNSTABLE, BNN_ERR_DATA when the text is too short.
/// The chain is a function of options, model and corpus: the same on any number of threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_new(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    options: *const bnn_options,
    sampler: *mut *mut bnn_sampler,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles.
        let (model, corpus, o) = unsafe {
            (
                &get(model, "model")?.inner,
                &get(corpus, "corpus")?.inner,
                Set::from(options)?,
            )
        };
        model.fits(corpus)?;
        let (b, t) = o.batch(model.gpt.config())?;
        let windows = Windows::all(corpus.train.len(), t)?;
        let objective = o.objective()?;
        let counted = match objective {
            Objective::All => corpus.train.len() - 1,
            Objective::Last => windows.num_windows(),
        };
        let num_data = o.num_data().unwrap_or(counted as f64);
        let posterior = Posterior::new(
            &model.cpu,
            &model.gpt,
            &o.prior(),
            num_data,
            objective,
            b,
            t,
        )?;
        let start = lock(&model.params, "model")?;
        let config = o.sampler()?;
        let inner = Inner {
            index: config.chain,
            chain: Chain::new(&model.cpu, posterior, &start, config, o.preconditioner()?)?,
            model: model.clone(),
            corpus: corpus.clone(),
            windows,
            batch: Batch::new(b, t)?,
            given: Batch::new(b, t)?,
            seed: o.seed(),
            last: None,
        };
        let inner = Mutex::new(inner);
        // SAFETY: `sampler` is NULL or the caller's to write.
        unsafe { hand_out(sampler, bnn_sampler { inner }, "sampler") }
    })
}

/// Frees a chain; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_free(sampler: *mut bnn_sampler) {
    // SAFETY: the caller passes NULL or a handle from bnn_sampler_new, once.
    unsafe { take_back(sampler) }
}

/// What a step tells: written only when the step went well.
///
/// # Safety
/// Both are NULL or the caller's to write.
unsafe fn told(
    phase: *mut i32,
    sample_due: *mut i32,
    step: impl FnOnce() -> Result<(i32, bool), Fail>,
) -> Result<(), Fail> {
    // SAFETY: the caller's promise.
    let (phase, due) = unsafe { (out(phase, "phase")?, out(sample_due, "sample_due")?) };
    let (next, is_due) = step()?;
    phase.write(next);
    due.write(is_due.into());
    Ok(())
}

/// One step on a batch of the corpus, which is a function of (seed, chain, step).
///
/// [out] phase: BNN_PHASE_… of the next step; sample_due: 1 when the parameters are now a sample to keep, else 0.
/// Errors: BNN_ERR_INVALID when the run is done; BNN_ERR_NOT_FINITE with step and tensor when the chain diverges.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_step(
    sampler: *mut bnn_sampler,
    phase: *mut i32,
    sample_due: *mut i32,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        unsafe {
            let sampler = get(sampler, "sampler")?;
            told(phase, sample_due, || {
                let i = &mut *lock(&sampler.inner, "sampler")?;
                let step = i.chain.steps_made();
                i.windows
                    .fill(&i.corpus.train, i.seed, i.index, step, &mut i.batch)?;
                let report = i.chain.step(&i.batch)?;
                i.last = Some(report);
                Ok((phase_number(i.chain.phase()), report.sample_due))
            })
        }
    })
}

/// One step on the caller's batch. [in] x, y: (B, T), batch_size * window tokens each; n: how many. Otherwise as bnn_sampler_step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_step_tokens(
    sampler: *mut bnn_sampler,
    x: *const u16,
    y: *const u16,
    n: usize,
    phase: *mut i32,
    sample_due: *mut i32,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let sampler = get(sampler, "sampler")?;
            let (x, y) = (slice(x, n, "x")?, slice(y, n, "y")?);
            told(phase, sample_due, || {
                let i = &mut *lock(&sampler.inner, "sampler")?;
                let expected = i.batch.b * i.batch.t;
                if n != expected {
                    return Err(Error::shape("batch", [expected], [n]).into());
                }
                i.given.x.clear();
                i.given.x.extend_from_slice(x);
                i.given.y.clear();
                i.given.y.extend_from_slice(y);
                let report = i.chain.step(&i.given)?;
                i.last = Some(report);
                Ok((phase_number(i.chain.phase()), report.sample_due))
            })
        }
    })
}

/// What the last step saw.
///
/// [out] step: counted from 0; log_lik: mean log-likelihood of the batch, nats; log_post: num_data * log_lik + log prior; kinetic,
/// configurational: temperatures, NaN where there is none. Errors: BNN_ERR_INVALID before the first step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_report(
    sampler: *const bnn_sampler,
    step: *mut u64,
    log_lik: *mut f64,
    log_post: *mut f64,
    kinetic: *mut f64,
    configurational: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        unsafe {
            let sampler = get(sampler, "sampler")?;
            let (step, log_lik, log_post) = (
                out(step, "step")?,
                out(log_lik, "log_lik")?,
                out(log_post, "log_post")?,
            );
            let (kinetic, configurational) = (
                out(kinetic, "kinetic")?,
                out(configurational, "configurational")?,
            );
            let i = lock(&sampler.inner, "sampler")?;
            let r = i
                .last
                .ok_or_else(|| Error::invalid("report", "a step that was made", "none"))?;
            step.write(r.step);
            log_lik.write(r.at.log_lik);
            log_post.write(r.at.log_post);
            kinetic.write(r.kinetic_temperature.unwrap_or(f64::NAN));
            configurational.write(r.configurational_temperature.unwrap_or(f64::NAN));
        }
        Ok(())
    })
}

/// Copies the chain's parameters out. [out] params: n floats, n = the model's n_params. Errors: BNN_ERR_SHAPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_get_params(
    sampler: *const bnn_sampler,
    params: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (sampler, to) = unsafe { (get(sampler, "sampler")?, slice_mut(params, n, "params")?) };
        let i = lock(&sampler.inner, "sampler")?;
        i.model.gpt.layout().check(to)?;
        to.copy_from_slice(i.chain.params());
        Ok(())
    })
}
