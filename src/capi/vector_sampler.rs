//! bnn_vector_sampler: a sampler for a caller who has a model of their own: gradient in, parameters out.

use super::context::bnn_context;
use super::guard::guard;
use super::machine::{Report, VectorChain, VectorMachine, phase_number, resumed};
use super::options::{Set, bnn_options};
use super::pointer::{get, hand_out, lock, out, slice, slice_mut, take_back, text};
use super::sampler::{ONES, auto_step_json, other_kind, told};
use super::schedule::{ScheduleOf, bnn_schedule_callback};
use super::status::{Fail, bnn_error, bnn_status};
use crate::backend::{Cpu, Vectors};
use crate::error::Error;
use crate::samplers::{ChainState, Normals, Sampler};
use crate::store::{Header, Kind, Length, Looks, SavedState, read_state, write_state};
use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex};

pub(super) struct Inner {
    cpu: Cpu,
    pub machine: VectorMachine,
    /// What the options say of it, the likelihood's weight included; 1 when they say nothing.
    pub num_data: f64,
    grad: Vec<f32>,
    squares: Vec<f32>, // made when a step has some
    header: Header,
    schedule: ScheduleOf,
    last: Option<Report>,
}

impl Inner {
    /// A sampler from the options at `theta0`, or with a path from the state of `n` parameters there.
    fn new(cpu: &Cpu, o: &Set, n: usize, from: Result<&[f32], &str>) -> Result<Self, Fail> {
        let json = |e: serde_json::Error| Error::invalid("settings", "JSON", e);
        let mut header = Header {
            seed: o.seed(),
            ..Header::new(Kind::Chain)
        };
        let machine = match o.normal_method() {
            Some(method) => {
                let config = o.vector_normal(method)?;
                header.config = serde_json::to_string(&config).map_err(json)?;
                let length = Length {
                    setting: "/steps",
                    total: config.steps,
                    fixed: config.length_matters(),
                };
                VectorMachine::Normal(Box::new(match from {
                    Ok(theta0) => Normals::new(cpu.clone(), theta0, config)?,
                    Err(path) => {
                        match read_state(path, &header, length, Some((&config, [0, 0])), n)? {
                            SavedState::Normal(s) => Normals::restore(cpu.clone(), config, &s)
                                .map_err(Error::of_file(path))?,
                            SavedState::Chain(..) => return Err(other_kind(path)),
                        }
                    }
                }))
            }
            None => {
                let mut config = o.chain()?;
                let mut auto = o.auto_step(&config)?;
                header.chain = config.chain;
                let mut settings = serde_json::to_value(&config).map_err(json)?;
                if let Some(auto) = &auto {
                    settings["auto_step"] = auto_step_json(auto);
                }
                header.config = settings.to_string();
                let length = Length {
                    setting: "/sampling_steps",
                    total: config.total_steps(),
                    fixed: config.length_matters(),
                };
                let sampler = match from {
                    Ok(theta0) => Sampler::new(cpu.clone(), theta0, config)?,
                    Err(path) => match read_state(path, &header, length, None, n)? {
                        SavedState::Chain(s, looks) => {
                            resumed(path, &mut auto, &mut config, &looks)?;
                            of_own_gradients(path, &s, &looks)?;
                            let restored = Sampler::restore(cpu.clone(), config, &s.sampler);
                            restored.map_err(Error::of_file(path))?
                        }
                        SavedState::Normal(_) => return Err(other_kind(path)),
                    },
                };
                VectorMachine::Chain(Box::new(VectorChain {
                    sampler,
                    auto,
                    temperatures: None,
                }))
            }
        };
        Ok(Self {
            cpu: cpu.clone(),
            machine,
            num_data: o.likelihood_weight() * o.num_data().unwrap_or(1.0),
            grad: vec![0.0; n],
            squares: Vec::new(),
            header,
            schedule: ScheduleOf::NONE,
            last: None,
        })
    }

    pub fn check(&self, what: &str, n: usize) -> Result<(), Fail> {
        match n == self.grad.len() {
            true => Ok(()),
            false => Err(Error::shape(what, [self.grad.len()], [n]).into()),
        }
    }

    /// Asks the schedule.
    fn prepare(&mut self) -> Result<(), Fail> {
        if self.schedule.is_set() {
            let factors = self.schedule.at(self.machine.steps_made())?;
            self.machine.set_factors(factors)?;
        }
        Ok(())
    }

    /// Keeps what a step found; the next phase and whether a sample is due.
    fn made(&mut self, report: Option<Report>) -> (i32, bool) {
        self.last = report.or(self.last);
        let due = report.is_some_and(|r| r.due);
        (phase_number(self.machine.phase()), due)
    }
}

/// A chain on a GPT has more in its state, for which a caller's own gradients have no use.
fn of_own_gradients(path: &str, s: &ChainState, looks: &Looks) -> Result<(), Error> {
    let more = [
        ("gradients taken for a mass", s.preconditioned > 0),
        ("sums of squares for a mass", s.squares.is_some()),
        ("a live mass", s.sampler.live.is_some()),
        ("temperatures", looks.temperatures.is_some()),
        ("losses over the start's", !looks.excess_loss.is_empty()),
    ];
    match more.into_iter().find(|(_, there)| *there) {
        None => Ok(()),
        Some((what, _)) => Err(Error::Mismatch {
            path: path.into(),
            what: "the state".into(),
            expected: "a vector sampler's".into(),
            got: format!("one with {what}"),
        }),
    }
}

/// A chain on any differentiable log posterior, or a fit of normals to one. One thread at a time.
pub struct bnn_vector_sampler {
    pub(super) inner: Arc<Mutex<Inner>>,
}

/// Makes a sampler that starts at theta0.
///
/// [in] theta0: n finite floats, n at least 1. options: sampler; of chains step_size, alpha or momentum, sigma, beta, xi, thermostat_mass,
/// the schedules, temperature, warmup_steps, sampling_steps, thinning, seed, chain, auto_step, step_tolerance, num_data (for
/// bnn_vector_sampler_get_step alone); of ekf, vi and laplace step_size, temperature, sampling_steps (all of a fit's steps), seed, num_data
/// (how many observations there are: ekf at step_size 0, laplace), likelihood_weight, init_sd, transition_sd, init_log_scale, vi_n_samples,
/// stick_the_landing, prior_std, laplace_fit_prior; NULL for defaults.
/// [out] sampler: to be freed with bnn_vector_sampler_free. Errors: BNN_ERR_INVALID, BNN_ERR_UNSTABLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_new(
    context: *const bnn_context,
    options: *const bnn_options,
    theta0: *const f32,
    n: usize,
    sampler: *mut *mut bnn_vector_sampler,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects, `sampler` is NULL or the caller's to write.
        unsafe {
            let (context, o) = (get(context, "context")?, Set::of_own(options)?);
            let theta0 = slice(theta0, n, "theta0")?;
            let inner = Arc::new(Mutex::new(Inner::new(&context.cpu, &o, n, Ok(theta0))?));
            hand_out(sampler, bnn_vector_sampler { inner }, "sampler")
        }
    })
}

/// Makes a sampler that goes on from a saved state, bit for bit as it would have without the break.
///
/// [in] options: as bnn_vector_sampler_new had them, but for sampling_steps as bnn_sampler_load says; n: how many parameters; path: UTF-8, path_len bytes. [out] sampler. Where the next
/// gradient is to be taken, bnn_vector_sampler_get_params says. A schedule callback is no part of the state: set it again.
/// Errors: those of bnn_vector_sampler_new; BNN_ERR_IO; BNN_ERR_BAD_… for a file that is damaged or none of bnn's; BNN_ERR_MISMATCH, with what
/// differs, for a state of other settings; BNN_ERR_SHAPE for another n; BNN_ERR_DATA for a number in it that is not finite; BNN_ERR_INVALID,
/// with the path, for numbers that no sampler of these settings has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_load(
    context: *const bnn_context,
    options: *const bnn_options,
    n: usize,
    path: *const c_char,
    path_len: usize,
    sampler: *mut *mut bnn_vector_sampler,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects, `sampler` is NULL or the caller's to write.
        unsafe {
            let (context, o) = (get(context, "context")?, Set::of_own(options)?);
            let path = text(path, path_len, "path")?;
            let inner = Arc::new(Mutex::new(Inner::new(&context.cpu, &o, n, Err(path))?));
            hand_out(sampler, bnn_vector_sampler { inner }, "sampler")
        }
    })
}

/// Writes the sampler's whole state to a file, in the place of what may be there; the file appears whole or not at all.
///
/// [in] path: UTF-8, path_len bytes. Errors: BNN_ERR_IO; BNN_ERR_INVALID while draws of vi's step are left; BNN_ERR_NOT_FINITE for a chain
/// that has diverged: what is there stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_save(
    sampler: *const bnn_vector_sampler,
    path: *const c_char,
    path_len: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects of that length.
        let (s, path) = unsafe { (get(sampler, "sampler")?, text(path, path_len, "path")?) };
        let i = lock(&s.inner, "sampler")?;
        write_state(path, &i.header, &i.machine.state()?)?;
        Ok(())
    })
}

/// Frees a sampler; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_free(sampler: *mut bnn_vector_sampler) {
    // SAFETY: the caller passes NULL or a handle from this file, once.
    unsafe { take_back(sampler) }
}

/// Sets a schedule of the caller's own, as bnn_sampler_set_schedule; it is asked before each call of a step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_set_schedule(
    sampler: *mut bnn_vector_sampler,
    callback: bnn_schedule_callback,
    user_data: *mut c_void,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: the handle is NULL or live.
        let s = unsafe { get(sampler, "sampler") }?;
        let i = &mut *lock(&s.inner, "sampler")?;
        i.machine.set_factors(callback.map(|_| ONES))?;
        i.schedule = ScheduleOf::new(callback, user_data);
        Ok(())
    })
}

/// Sets a chain's diagonal mass, before sampling begins. [in] mass: n positive floats. The momenta are drawn anew.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_set_mass(
    sampler: *mut bnn_vector_sampler,
    mass: *const f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, mass) = unsafe { (get(sampler, "sampler")?, slice(mass, n, "mass")?) };
        lock(&s.inner, "sampler")?.machine.set_mass(mass)?;
        Ok(())
    })
}

/// Where the next gradient is to be taken: a chain's parameters, vi's draw, the mean of ekf and laplace. [out] params: n floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_get_params(
    sampler: *const bnn_vector_sampler,
    params: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, to) = unsafe { (get(sampler, "sampler")?, slice_mut(params, n, "params")?) };
        let i = lock(&s.inner, "sampler")?;
        i.check("params", n)?;
        to.copy_from_slice(i.machine.point());
        Ok(())
    })
}

/// One step of a chain or of vi, given the log posterior at the sampler's parameters and its gradient (not divided by the temperature).
///
/// [in] grad: n floats; log_post. [out] params: n floats, where the next gradient is to be taken; phase: BNN_PHASE_… of the next step;
/// sample_due: 1 when params are a sample to keep. vi's first gradient is to be taken where bnn_vector_sampler_get_params says, and
/// vi_n_samples calls make one of its steps. Errors: BNN_ERR_NOT_FINITE: for the gradient or log_post the sampler is as before;
/// BNN_ERR_INVALID for ekf and laplace, and when every step was made; BNN_ERR_INTERRUPTED when the schedule's callback stopped it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_step(
    sampler: *mut bnn_vector_sampler,
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
            // The schedule's callback may free the handle: what the call uses is its own from here on.
            let inner = get(sampler, "sampler")?.inner.clone();
            let (grad, params) = (slice(grad, n, "grad")?, slice_mut(params, n, "params")?);
            told(phase, sample_due, || {
                let i = &mut *lock(&inner, "sampler")?;
                i.check("grad", n)?;
                i.prepare()?;
                i.grad.copy_from_slice(grad);
                let report = i.machine.step(&i.grad, log_post)?;
                params.copy_from_slice(i.machine.point());
                Ok(i.made(report))
            })
        }
    })
}

/// One step of ekf or laplace, given what a batch of observations says at the sampler's parameters.
///
/// [in] grad: n floats, the mean of the gradients of the observations' log likelihoods; squares: n floats, the mean of the squares of those
/// gradients, elementwise; log_lik: the mean log likelihood. The prior has no part in them. [out] params, phase, sample_due: as
/// bnn_vector_sampler_step. Errors: BNN_ERR_NOT_FINITE: the sampler is as before; BNN_ERR_INVALID for chains and vi, and when every step was made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_step_squares(
    sampler: *mut bnn_vector_sampler,
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
            let inner = get(sampler, "sampler")?.inner.clone();
            let (grad, squares) = (slice(grad, n, "grad")?, slice(squares, n, "squares")?);
            let params = slice_mut(params, n, "params")?;
            told(phase, sample_due, || {
                let i = &mut *lock(&inner, "sampler")?;
                i.check("grad", n)?;
                i.grad.copy_from_slice(grad);
                i.squares.resize(n, 0.0);
                i.squares.copy_from_slice(squares);
                let report = i.machine.step_squares(&i.grad, &i.squares, log_lik)?;
                params.copy_from_slice(i.machine.point());
                Ok(i.made(Some(report)))
            })
        }
    })
}

/// What the last step found.
///
/// [out] step: counted from 0; value: the log posterior or mean log likelihood that came with it (vi: mean over the step's draws); kinetic,
/// configurational: a chain's temperatures, NaN where there are none; xi: the thermostat's friction after the step, NaN for a method without.
/// Errors: BNN_ERR_INVALID before the first step, also of a sampler that was loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_report(
    sampler: *const bnn_vector_sampler,
    step: *mut u64,
    value: *mut f64,
    kinetic: *mut f64,
    configurational: *mut f64,
    xi: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        unsafe {
            let s = get(sampler, "sampler")?;
            let (step, value) = (out(step, "step")?, out(value, "value")?);
            let (kinetic, configurational, xi) = (
                out(kinetic, "kinetic")?,
                out(configurational, "configurational")?,
                out(xi, "xi")?,
            );
            let r = lock(&s.inner, "sampler")?
                .last
                .ok_or_else(|| Error::invalid("report", "a step that was made", "none"))?;
            step.write(r.step);
            value.write(match r.log_post.is_nan() {
                true => r.log_lik,
                false => r.log_post,
            });
            kinetic.write(r.kinetic);
            configurational.write(r.configurational);
            xi.write(r.xi);
        }
        Ok(())
    })
}

/// Mean and standard deviations of the normals that ekf, vi or laplace have fitted so far.
///
/// [out] mean, sd: n floats each; sd is infinite where laplace has no precision. Errors: BNN_ERR_INVALID for a chain, BNN_ERR_SHAPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_get_normals(
    sampler: *const bnn_vector_sampler,
    mean: *mut f32,
    sd: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of that length.
        unsafe {
            let s = get(sampler, "sampler")?;
            let (mean, sd) = (slice_mut(mean, n, "mean")?, slice_mut(sd, n, "sd")?);
            let i = &mut *lock(&s.inner, "sampler")?;
            i.check("mean and sd", n)?;
            let normals = i.machine.normals()?;
            sd.copy_from_slice(&normals.sd()?);
            mean.copy_from_slice(normals.mean());
        }
        Ok(())
    })
}

/// A draw from the normals that ekf, vi or laplace have fitted so far, at any time: as bnn_sampler_draw.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_draw(
    sampler: *const bnn_vector_sampler,
    index: u64,
    params: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, to) = unsafe { (get(sampler, "sampler")?, slice_mut(params, n, "params")?) };
        let i = &mut *lock(&s.inner, "sampler")?;
        i.check("params", n)?;
        let mut drawn = i.cpu.zeros(n)?;
        i.machine.normals()?.draw(index, &mut drawn)?;
        to.copy_from_slice(&drawn);
        Ok(())
    })
}
