//! bnn_sampler: a chain, or a fit of normals, on a model's posterior or on gradients of the caller's.

use super::context::bnn_context;
use super::corpus::bnn_corpus;
use super::guard::guard;
use super::model::bnn_model;
use super::options::{Set, bnn_options};
use super::pointer::{
    Handle, get, hand_out, lock, optional_room, out, room, slice, take_back, text,
};
use super::schedule::{ScheduleOf, bnn_schedule_callback};
use super::status::{Fail, bnn_error, bnn_status};
use crate::backend::Device;
use crate::data::{Batch, narrow};
use crate::error::{Error, Result as Checked};
use crate::gpt::GptConfig;
use crate::inference::{Inference, Session, SessionConfig, StepReport, Target};
use crate::memory;
use crate::samplers::{Factors, Phase};
use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex};

/// Steps that are thrown away: the mass is estimated, then the chain warms up; or normals are being fitted.
pub const BNN_PHASE_WARMUP: i32 = 0;
/// Samples fall due.
pub const BNN_PHASE_SAMPLING: i32 = 1;
/// Every step was made.
pub const BNN_PHASE_DONE: i32 = 2;
/// The part of a cycle in which the chain moves without noise, and no sample falls due.
pub const BNN_PHASE_EXPLORATION: i32 = 3;

fn phase_number(p: Phase) -> i32 {
    match p {
        Phase::Warmup => BNN_PHASE_WARMUP,
        Phase::Sampling => BNN_PHASE_SAMPLING,
        Phase::Done => BNN_PHASE_DONE,
        Phase::Exploration => BNN_PHASE_EXPLORATION,
    }
}

pub(super) struct Inner {
    pub session: Session<Device>,
    pub(super) schedule: ScheduleOf,
    vocab_size: usize,  // of the model; 0 on gradients of the caller's
    tokens: Batch,      // the caller's, and of what is read out
    narrowed: Vec<f32>, // a gradient in double
}

impl Inner {
    /// Makes a step, with the schedule's factors; the next phase and whether a sample is due.
    fn step(
        &mut self,
        step: impl FnOnce(&mut Session<Device>) -> Checked<Option<StepReport>>,
    ) -> Result<(i32, bool), Fail> {
        if self.session.phase() == Phase::Done {
            let steps = self.session.total_steps();
            return Err(Fail::Done(format!(
                "all of the {steps} steps were made: bnn_sampler_extend gives a sampler more, where no step depends on their number"
            ).into()));
        }
        if self.schedule.is_set() {
            let factors = self.schedule.at(self.session.steps_made())?;
            self.session.set_factors(factors)?;
        }
        let due = step(&mut self.session)?.is_some_and(|r| r.sample_due);
        Ok((phase_number(self.session.phase()), due))
    }

    /// Takes in a batch of the caller's.
    fn take_tokens(&mut self, x: &[u32], y: &[u32], t: usize) -> Checked<()> {
        let v = self.vocab_size;
        narrow("x", x, t, v, &mut self.tokens.x)?;
        narrow("y", y, t, v, &mut self.tokens.y)
    }

    fn check(&self, what: &str, n: usize) -> Checked<()> {
        match self.session.parameters() {
            own if own == n => Ok(()),
            own => Err(Error::shape(what, [own], [n])),
        }
    }
}

/// A chain or a fit of normals. One thread at a time.
pub struct bnn_sampler {
    device: Device,
    pub(super) inner: Arc<Mutex<Inner>>,
}

impl Handle for bnn_sampler {
    const NAME: &str = "bnn_sampler";

    fn device(&self) -> Option<&Device> {
        Some(&self.device)
    }
}

impl bnn_sampler {
    /// On a model with so many tokens, or with 0 on gradients of the caller's.
    fn new(session: Session<Device>, vocab_size: usize) -> Self {
        let (x, y) = (Vec::new(), Vec::new());
        let inner = Inner {
            schedule: ScheduleOf::NONE,
            vocab_size,
            tokens: Batch { x, y, b: 0, t: 0 },
            narrowed: Vec::new(),
            session,
        };
        Self {
            device: inner.session.device().clone(),
            inner: Arc::new(Mutex::new(inner)),
        }
    }
}

/// Returns the settings of a session on a model's posterior. There are no probes: a C program has its own.
fn on_model(o: &Set, model: &GptConfig) -> Checked<SessionConfig> {
    let mut config = o.session(o.chain, model)?;
    config.monitors.probe_tokens = 0;
    Ok(config)
}

/// Returns the settings of a session on gradients of the caller's, and what a mean log likelihood is multiplied by.
fn on_gradients(o: &Set) -> Checked<(Inference, f64)> {
    let num_data = o.likelihood_weight * o.num_data.unwrap_or(1.0);
    Ok((o.on_gradients(o.chain)?, num_data))
}

/// # Safety
/// All are NULL or live handles.
unsafe fn session(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    options: *const bnn_options,
    path: Option<&str>,
) -> Result<bnn_sampler, Fail> {
    // SAFETY: the caller says that all are NULL or live handles.
    let (m, c, o) = unsafe {
        let m = &get(model, "model")?.inner;
        (m, m.corpus(corpus)?, Set::from(options)?)
    };
    let start = m.host_params()?;
    let target = Target {
        gpt: &m.gpt,
        corpus: &c,
        prior: &o.prior(m.gpt.layout(), &start)?,
        start: &start,
        start_sha256: None,
    };
    let config = on_model(&o, m.gpt.config())?;
    let session = match path {
        Some(path) => Session::resume(&m.device, &target, &config, path)?,
        None => Session::new(&m.device, &target, &config)?,
    };
    Ok(bnn_sampler::new(session, m.gpt.config().vocab_size))
}

/// Makes a sampler on a model's posterior that starts at the model's parameters.
///
/// [in] corpus: its text; NULL where every batch is the caller's, and num_data says how many data they are of; options: sampler; of chains step_size, alpha or momentum, sigma, beta, noise_correction, xi, thermostat_mass, thermostat, the schedules, warmup_steps,
/// sampling_steps, thinning, chain, preconditioner and its settings, auto_step, step_tolerance, step_growth, temperature_every, llc_every; of ekf, vi,
/// laplace, swag, ivon, ema and snapshots num_epochs, step_size, chain, init_sd, transition_sd, ekf_labels, init_log_scale, vi_n_samples, stick_the_landing, laplace_structure,
/// laplace_labels, laplace_fit_prior, swag_every, swag_rank, ivon_decay, ema_decay, num_samples, of vi, swag, ivon, ema and snapshots schedule; of all temperature, seed, the prior_… options, likelihood_weight, num_data, objective, batch_size,
/// batch_order, window; NULL for defaults.
/// [out] sampler: to be freed with bnn_sampler_free. Errors: BNN_ERR_INVALID, BNN_ERR_UNSTABLE, BNN_ERR_DATA when the text is too short.
/// The sampler is a function of options, model and corpus: the same on any number of threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_new(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    options: *const bnn_options,
    sampler: *mut *mut bnn_sampler,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles, `sampler` is NULL or the caller's to write.
        unsafe {
            let s = session(model, corpus, options, None)?;
            hand_out(sampler, s, "sampler")
        }
    })
}

/// Makes a sampler on any differentiable log posterior, whose gradients the caller gives, that starts at theta0.
///
/// [in] theta0: n finite floats, n at least 1. options: sampler; of chains step_size, alpha or momentum, sigma, beta, noise_correction, xi, thermostat_mass,
/// the schedules, temperature, warmup_steps, sampling_steps, thinning, seed, chain, adapt, adapt_tolerance, auto_step, step_tolerance, step_growth, num_data (for
/// bnn_sampler_step_size alone; with adapt, step_size has no effect); of ekf, vi, laplace, swag, ivon, ema and snapshots step_size, temperature, sampling_steps (all of a fit's steps), seed, num_data
/// (how many observations there are: ekf at step_size 0, laplace), likelihood_weight, chain, init_sd, transition_sd, init_log_scale, vi_n_samples,
/// stick_the_landing, prior_std, laplace_fit_prior, swag_every, swag_rank, ivon_decay, ema_decay, num_samples; NULL for defaults.
/// [out] sampler: to be freed with bnn_sampler_free. Errors: BNN_ERR_INVALID, BNN_ERR_UNSTABLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_new_with_gradients(
    context: *const bnn_context,
    options: *const bnn_options,
    theta0: *const f32,
    n: usize,
    sampler: *mut *mut bnn_sampler,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects, `sampler` is NULL or the caller's to write.
        unsafe {
            let (context, o) = (get(context, "context")?, Set::of_own(options)?);
            let theta0 = slice(theta0, n, "theta0")?;
            let (inference, num_data) = on_gradients(&o)?;
            let s = Session::with_gradients(&context.device, inference, num_data, theta0)?;
            hand_out(sampler, bnn_sampler::new(s, 0), "sampler")
        }
    })
}

/// Makes a sampler on a model's posterior that goes on from a saved state, bit for bit as it would have without the break: one that
/// bnn_sampler_save wrote, or a run's chain_00.bnn with the run's baseline for the model.
///
/// [in] model, corpus, options: as bnn_sampler_new had them, but that sampling_steps (of fits num_epochs) may be another number that holds the
/// steps made, where no step depends on it: the sampler then goes on as one that was made with it. Steps depend on it under a linear, cosine
/// or cyclical schedule (vi's is linear when unset), with laplace, and with ekf at step_size 0. path: UTF-8, path_len bytes. [out] sampler.
/// temperature_every and llc_every may differ too. The model's parameters are read only where the prior refers to them, and for a file that
/// leaves out where the chain started. A schedule callback is no part of the state: set it again.
/// Errors: those of bnn_sampler_new; BNN_ERR_IO; BNN_ERR_BAD_… for a file that is damaged or none of bnn's; BNN_ERR_MISMATCH, with what
/// differs (and why it must not), for a state of other settings, another model, start or corpus; BNN_ERR_DATA for a number in it that is
/// not finite, and for a trace that is missing, damaged or another sampler's, with what to do; BNN_ERR_SHAPE and BNN_ERR_BAD_HEADER, with the path, for numbers that no sampler of these settings has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_load(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    options: *const bnn_options,
    path: *const c_char,
    path_len: usize,
    sampler: *mut *mut bnn_sampler,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles, `path` is path_len bytes of the caller's, `sampler` is NULL or the caller's to write.
        unsafe {
            let path = text(path, path_len, "path")?;
            let s = session(model, corpus, options, Some(path))?;
            hand_out(sampler, s, "sampler")
        }
    })
}

/// Makes a sampler on gradients of the caller's that goes on from a saved state, as bnn_sampler_load.
///
/// [in] options: as bnn_sampler_new_with_gradients had them, but for sampling_steps; n: how many parameters; path: UTF-8, path_len bytes.
/// [out] sampler. Where the next gradient is to be taken, bnn_sampler_get_params says. Errors: those of bnn_sampler_new_with_gradients and
/// bnn_sampler_load; BNN_ERR_SHAPE for another n.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_load_with_gradients(
    context: *const bnn_context,
    options: *const bnn_options,
    n: usize,
    path: *const c_char,
    path_len: usize,
    sampler: *mut *mut bnn_sampler,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects, `sampler` is NULL or the caller's to write.
        unsafe {
            let (context, o) = (get(context, "context")?, Set::of_own(options)?);
            let path = text(path, path_len, "path")?;
            let (inference, num_data) = on_gradients(&o)?;
            let device = &context.device;
            let s = Session::resume_with_gradients(device, inference, num_data, n, path)?;
            hand_out(sampler, bnn_sampler::new(s, 0), "sampler")
        }
    })
}

/// Writes the sampler's whole state to a file, in the place of what may be there; the file appears whole or not at all.
///
/// What was recorded of every step goes into a trace beside it, which only grows: `x.trace` beside `x.bnn`, and a name that ends otherwise has
/// `.trace` added. Keep and move the two together. Until the first save all of that is held in memory. A sampler on gradients of the caller's
/// has no trace.
///
/// [in] path: UTF-8, path_len bytes. Errors: BNN_ERR_IO; BNN_ERR_INVALID while draws of vi's step are left; BNN_ERR_NOT_FINITE for a chain
/// that has diverged: what is there stays; BNN_ERR_DATA when the trace that the sampler saved there before is gone or another's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_save(
    sampler: *const bnn_sampler,
    path: *const c_char,
    path_len: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects of that length.
        let (s, path) = unsafe { (get(sampler, "sampler")?, text(path, path_len, "path")?) };
        lock(&s.inner, "sampler")?.session.save(path)?;
        Ok(())
    })
}

/// Sets the number of sampling steps, of a fit that of all its steps.
///
/// Errors: BNN_ERR_INVALID where a step depends on it (bnn_sampler_load says where), and below the steps made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_extend(
    sampler: *mut bnn_sampler,
    steps: u64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: the handle is NULL or live.
        let s = unsafe { get(sampler, "sampler") }?;
        lock(&s.inner, "sampler")?.session.extend(steps)?;
        Ok(())
    })
}

/// Frees a sampler; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_free(sampler: *mut bnn_sampler) {
    // SAFETY: the caller passes NULL or a handle from this file, once.
    unsafe { take_back(sampler) }
}

/// Sets a schedule of the caller's own, in place of the options'; a NULL callback gives these their place back.
///
/// The factors stand on the step size and the temperature of chains, from the warm-up on (the steps before it, which
/// estimate the mass, have none), and on vi's rate, whose temperature factor must stay 1; a cyclical schedule's exploration is off meanwhile.
/// With gradients of the caller's it is asked before each call of a step.
/// Errors: BNN_ERR_INVALID for ekf and laplace, which have no schedule; BNN_ERR_STATE with auto_step before sampling begins. The step that gets a factor
/// out of range fails so and is not made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_set_schedule(
    sampler: *mut bnn_sampler,
    callback: bnn_schedule_callback,
    user_data: *mut c_void,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: the handle is NULL or live.
        let s = unsafe { get(sampler, "sampler") }?;
        let i = &mut *lock(&s.inner, "sampler")?;
        let ones = Factors {
            step_size: 1.0,
            temperature: 1.0,
        };
        i.session.set_factors(callback.map(|_| ones))?;
        i.schedule = ScheduleOf::new(callback, user_data);
        Ok(())
    })
}

/// Sets the diagonal mass of a chain on gradients of the caller's, before sampling begins. [in] mass: n positive floats. The momenta are drawn
/// anew. Errors: BNN_ERR_INVALID for normals and for a model's posterior, whose options have a preconditioner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_set_mass(
    sampler: *mut bnn_sampler,
    mass: *const f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, mass) = unsafe { (get(sampler, "sampler")?, slice(mass, n, "mass")?) };
        lock(&s.inner, "sampler")?.session.set_mass(mass)?;
        Ok(())
    })
}

/// Sets a dense mass (L L^T)^-1 of a chain on gradients of the caller's, before sampling begins: L is a Cholesky factor of an estimate of the posterior's
/// covariance over the temperature. The momenta are drawn anew. [in] factor: n * n doubles, row by row, lower triangular with a positive diagonal and
/// zeros above it; n: how many parameters, at most 1000. Errors: BNN_ERR_INVALID for another factor, when sampling has begun, for normals, for a model's
/// posterior, and with options adapt or noise_correction; BNN_ERR_SHAPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_set_mass_cholesky(
    sampler: *mut bnn_sampler,
    factor: *const f64,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects; the factor is read only where n is the number of parameters.
        unsafe {
            let i = &mut *lock(&get(sampler, "sampler")?.inner, "sampler")?;
            i.check("factor", n)?;
            let factor = slice(factor, square(n), "factor")?;
            i.session.set_mass_factor(factor)?;
        }
        Ok(())
    })
}

/// Copies out L of a chain's mass (L L^T)^-1, which bnn_sampler_set_mass_cholesky has set or option adapt has found: of a diagonal mass M the diagonal
/// 1 / sqrt(M). [out] factor: n * n doubles, row by row. Errors: BNN_ERR_INVALID for normals, a model's posterior and more than 1000
/// parameters, BNN_ERR_SHAPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_get_mass_cholesky(
    sampler: *const bnn_sampler,
    factor: *mut f64,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        unsafe {
            let i = &mut *lock(&get(sampler, "sampler")?.inner, "sampler")?;
            i.check("factor", n)?;
            let mut to = room(factor, square(n), "factor")?;
            to.write(i.session.mass_factor()?.into_iter());
        }
        Ok(())
    })
}

/// Returns how many numbers a square matrix has; no room holds more than there are addresses.
fn square(n: usize) -> usize {
    n.saturating_mul(n)
}

/// Sets the variances of the gradient's noise of a chain on gradients of the caller's, before sampling begins: the step then makes up for their heat. An
/// estimate of them (option noise_correction) ends. [in] variance: n floats of 0 or more. Errors: BNN_ERR_INVALID for methods but baoa and ccadl
/// and for a model's posterior, whose options have noise_correction.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_set_gradient_noise(
    sampler: *mut bnn_sampler,
    variance: *const f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, variance) = unsafe { (get(sampler, "sampler")?, slice(variance, n, "variance")?) };
        let i = &mut *lock(&s.inner, "sampler")?;
        i.session.set_gradient_noise(variance)?;
        Ok(())
    })
}

/// Makes a step, and writes what it gives only when it went well.
///
/// # Safety
/// All are NULL or the caller's live objects.
unsafe fn make_step(
    sampler: *mut bnn_sampler,
    phase: *mut i32,
    sample_due: *mut i32,
    step: impl FnOnce(&mut Inner) -> Result<(i32, bool), Fail>,
) -> Result<(), Fail> {
    // SAFETY: the caller says that `sampler` is NULL or a live handle. The schedule's callback may free the handle: what the call uses is its own from here on.
    let inner = unsafe { get(sampler, "sampler") }?.inner.clone();
    // SAFETY: the caller says that both are NULL or to be written.
    let (phase, due) = unsafe { (out(phase, "phase")?, out(sample_due, "sample_due")?) };
    let (next, is_due) = step(&mut *lock(&inner, "sampler")?)?;
    phase.write(next);
    due.write(is_due.into());
    Ok(())
}

/// Makes one step on a batch of the corpus, which is a function of (seed, chain, step).
///
/// [out] phase: BNN_PHASE_… of the next step: normals are in BNN_PHASE_WARMUP until all steps are made; sample_due: 1 when the parameters are
/// now a sample to keep, else 0, as always with normals. Errors: BNN_ERR_DONE when every step was made; BNN_ERR_INVALID with gradients of the caller's;
/// BNN_ERR_NOT_FINITE with step and tensor when it diverges; BNN_ERR_INTERRUPTED when the schedule's callback stopped it.
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
            make_step(sampler, phase, sample_due, |i| {
                i.step(|s| s.step().map(Some))
            })
        }
    })
}

/// Makes one step on the caller's batch. [in] x, y: (B, T), batch_size * window tokens each; n: how many. The rest is as in bnn_sampler_step; besides
/// BNN_ERR_INVALID with the place of a token out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_step_tokens(
    sampler: *mut bnn_sampler,
    x: *const u32,
    y: *const u32,
    n: usize,
    phase: *mut i32,
    sample_due: *mut i32,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let (x, y) = (slice(x, n, "x")?, slice(y, n, "y")?);
            make_step(sampler, phase, sample_due, |i| {
                let (b, t) = i.session.batch_shape()?;
                if n != b * t {
                    return Err(Error::shape("x and y", [b, t], [n]).into());
                }
                i.take_tokens(x, y, t)?;
                let (x, y) = (
                    std::mem::take(&mut i.tokens.x),
                    std::mem::take(&mut i.tokens.y),
                );
                let batch = Batch { x, y, b, t };
                let made = i.step(|s| s.step_on(&batch).map(Some));
                i.tokens = batch;
                made
            })
        }
    })
}

/// Makes one step of a chain or of vi, given the log posterior at the sampler's parameters and its gradient (not divided by the temperature).
///
/// [in] grad: n floats; log_post. [out] params: n floats, where the next gradient is to be taken; phase: BNN_PHASE_… of the next step;
/// sample_due: 1 when params are a sample to keep. vi's first gradient is to be taken where bnn_sampler_get_params says, and
/// vi_n_samples calls make one of its steps. Errors: BNN_ERR_NOT_FINITE: for the gradient or log_post the sampler is as before;
/// BNN_ERR_INVALID for ekf and laplace, and for a model's posterior; BNN_ERR_DONE when every step was made; BNN_ERR_INTERRUPTED when the schedule's callback
/// stopped it. With option adapt the warm-up also asks for gradients where no sample lies, and there one that is not finite, but at the start, is a point too
/// far and no error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_step_gradient(
    sampler: *mut bnn_sampler,
    grad: *const f32,
    n: usize,
    log_post: f64,
    params: *mut f32,
    phase: *mut i32,
    sample_due: *mut i32,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let (grad, mut params) = (slice(grad, n, "grad")?, room(params, n, "params")?);
            make_step(sampler, phase, sample_due, |i| {
                i.check("grad", n)?;
                let made = i.step(|s| s.step_with_gradient(grad, log_post))?;
                i.session.read_params(params.zeros())?;
                Ok(made)
            })
        }
    })
}

/// Makes one step of ekf or laplace, given what a batch of observations says at the sampler's parameters.
///
/// [in] grad: n floats, the mean of the gradients of the observations' log likelihoods; squares: n floats, the mean of the squares of those
/// gradients, elementwise; log_lik: the mean log likelihood. The prior has no part in them. [out] params, phase, sample_due: as
/// bnn_sampler_step_gradient. Errors: BNN_ERR_NOT_FINITE: the sampler is as before; BNN_ERR_INVALID for chains and vi, for a model's posterior,
/// and when every step was made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_step_squares(
    sampler: *mut bnn_sampler,
    grad: *const f32,
    squares: *const f32,
    n: usize,
    log_lik: f64,
    params: *mut f32,
    phase: *mut i32,
    sample_due: *mut i32,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let (grad, squares) = (slice(grad, n, "grad")?, slice(squares, n, "squares")?);
            let mut params = room(params, n, "params")?;
            make_step(sampler, phase, sample_due, |i| {
                i.check("grad", n)?;
                let made = i.step(|s| s.step_with_squares(grad, squares, log_lik).map(Some))?;
                i.session.read_params(params.zeros())?;
                Ok(made)
            })
        }
    })
}

/// Copies the parameters out where the next gradient is taken: a chain's, vi's draw on gradients of the caller's, else a fit's mean.
/// [out] params: n floats. Errors: BNN_ERR_SHAPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_get_params(
    sampler: *const bnn_sampler,
    params: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, mut to) = unsafe { (get(sampler, "sampler")?, room(params, n, "params")?) };
        let i = &mut *lock(&s.inner, "sampler")?;
        i.check("params", n)?;
        i.session.read_params(to.zeros())?;
        Ok(())
    })
}

/// Copies out the batch of a step of a sampler on a model's posterior, which is a function of (seed, chain, step).
///
/// [in] step: from 0; n: how many tokens there is room for. [out] x, y: (B, T), batch_size * window tokens each; b, t: its shape. Errors: BNN_ERR_SHAPE for
/// another n; BNN_ERR_INVALID without a text. With n = 0 the shape alone is given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_batch(
    sampler: *const bnn_sampler,
    step: u64,
    x: *mut u32,
    y: *mut u32,
    n: usize,
    b: *mut usize,
    t: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let s = get(sampler, "sampler")?;
            let (mut x, mut y) = (room(x, n, "x")?, room(y, n, "y")?);
            let (b_out, t_out) = (out(b, "b")?, out(t, "t")?);
            let i = &mut *lock(&s.inner, "sampler")?;
            let (b, t) = i.session.batch_shape()?;
            if n != 0 {
                if n != b * t {
                    return Err(Error::shape("x and y", [b, t], [n]).into());
                }
                let mut batch = Batch::new(b, t)?;
                i.session.batch(step, &mut batch)?;
                x.write(batch.x.iter().map(|&id| id.into()));
                y.write(batch.y.iter().map(|&id| id.into()));
            }
            b_out.write(b);
            t_out.write(t);
        }
        Ok(())
    })
}

/// Makes one step of a chain on a model's posterior from the gradient of a mean loss that the caller has computed at bnn_sampler_get_params' parameters, such
/// as the mean of bnn_evaluator_gradient's over several machines: the prior is added here, and num_data stands before the likelihood.
///
/// [in] grad: n floats, of the mean loss, not of its negative; loss: that loss, nats. The rest is as in bnn_sampler_step, and for the batch of the step the
/// bits are. Errors besides: BNN_ERR_INVALID for normals, on gradients of the caller's, and with preconditioner fisher or live's preconditioner_gamma.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_step_loss_gradient(
    sampler: *mut bnn_sampler,
    grad: *const f32,
    n: usize,
    loss: f64,
    phase: *mut i32,
    sample_due: *mut i32,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let grad = slice(grad, n, "grad")?;
            make_step(sampler, phase, sample_due, |i| {
                i.check("grad", n)?;
                i.step(|s| s.step_with_loss_gradient(grad, loss).map(Some))
            })
        }
    })
}

/// Makes one step on a gradient of the caller's in double, as bnn_sampler_step_gradient: it is rounded to float, as the parameters are kept.
///
/// [in] grad: n doubles. [out] params: n doubles, or NULL. Errors besides: BNN_ERR_NOT_FINITE for a number that float does not hold.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_step_gradient_f64(
    sampler: *mut bnn_sampler,
    grad: *const f64,
    n: usize,
    log_post: f64,
    params: *mut f64,
    phase: *mut i32,
    sample_due: *mut i32,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let grad = slice(grad, n, "grad")?;
            let mut params = optional_room(params, n, "params")?;
            make_step(sampler, phase, sample_due, |i| {
                i.check("grad", n)?;
                let mut kept = std::mem::take(&mut i.narrowed);
                kept.clear();
                memory::grow(&mut kept, n, "a gradient")?;
                kept.extend(grad.iter().map(|&g| g as f32));
                let made = i.step(|s| s.step_with_gradient(&kept, log_post));
                if made.is_ok() {
                    i.session.read_params(&mut kept)?;
                    params.write(kept.iter().map(|&p| p.into()));
                }
                i.narrowed = kept;
                made
            })
        }
    })
}

/// Copies a chain's momenta out. [out] momenta: n floats. Errors: BNN_ERR_INVALID for normals and methods without momenta, BNN_ERR_SHAPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_get_momenta(
    sampler: *const bnn_sampler,
    momenta: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, mut to) = unsafe { (get(sampler, "sampler")?, room(momenta, n, "momenta")?) };
        let i = &mut *lock(&s.inner, "sampler")?;
        i.check("momenta", n)?;
        let found = i.session.momenta()?;
        let none = || Error::conflict("this method has no momenta");
        to.write(found.ok_or_else(none)?.into_iter());
        Ok(())
    })
}

/// Copies a chain's diagonal mass out: what bnn_sampler_set_mass, a preconditioner or option adapt has set, and 1 where nothing has; of a dense mass the one
/// that each parameter has on its own, 1 / (L L^T)_ii. [out] mass: n floats. Errors:
/// BNN_ERR_INVALID for normals, BNN_ERR_SHAPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_get_mass(
    sampler: *const bnn_sampler,
    mass: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, mut to) = unsafe { (get(sampler, "sampler")?, room(mass, n, "mass")?) };
        let i = &mut *lock(&s.inner, "sampler")?;
        i.check("mass", n)?;
        match i.session.mass()? {
            Some(found) => to.write(found.into_iter()),
            None => to.write((0..n).map(|_| 1.0)),
        }
        Ok(())
    })
}

/// Copies out the mean and the standard deviations of what ekf, vi, laplace, swag, ivon, ema or snapshots have fitted so far.
///
/// [out] mean, sd: n floats each; sd is infinite where laplace has no precision. Errors: BNN_ERR_INVALID for a chain, BNN_ERR_SHAPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_get_normals(
    sampler: *const bnn_sampler,
    mean: *mut f32,
    sd: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of that length.
        unsafe {
            let s = get(sampler, "sampler")?;
            let (mut mean, mut sd) = (room(mean, n, "mean")?, room(sd, n, "sd")?);
            let i = &mut *lock(&s.inner, "sampler")?;
            i.check("mean and sd", n)?;
            let found = i.session.sd()?;
            i.session.read_mean(mean.zeros())?;
            sd.write(found.into_iter());
        }
        Ok(())
    })
}

/// Draws from what ekf, vi, laplace, swag, ivon, ema or snapshots have fitted so far, at any time.
///
/// [in] index: which draw of the seed: the same index gives the same draw; of snapshots the state of that number, from 0, where it is kept already; of ema always
/// the average. [out] params: n floats.
/// Errors: BNN_ERR_INVALID for a chain and for a snapshot that there is not, BNN_ERR_SHAPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_draw(
    sampler: *const bnn_sampler,
    index: u64,
    params: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, mut to) = unsafe { (get(sampler, "sampler")?, room(params, n, "params")?) };
        let i = &mut *lock(&s.inner, "sampler")?;
        i.check("params", n)?;
        to.write(i.session.draw(index)?.into_iter());
        Ok(())
    })
}
