//! bnn_vector_sampler: a chain for a caller who has a model of their own: gradient in, parameters out.

use super::context::bnn_context;
use super::guard::guard;
use super::options::{Set, bnn_options};
use super::pointer::{get, hand_out, lock, out, slice, slice_mut, take_back};
use super::sampler::phase_number;
use super::status::{bnn_error, bnn_status};
use crate::backend::Cpu;
use crate::error::Error;
use crate::samplers::Sampler;
use std::sync::Mutex;

struct Inner {
    sampler: Sampler<Cpu>,
    grad: Vec<f32>,
}

/// A chain on any differentiable log posterior. One thread at a time.
pub struct bnn_vector_sampler {
    inner: Mutex<Inner>,
}

/// Makes a chain that starts at theta0.
///
/// [in] theta0: n finite floats, n at least 1. options: sampler, step_size, alpha or momentum, sigma, beta, temperature, warmup_steps,
/// sampling_steps, thinning, seed, chain; NULL for defaults. [out] sampler: to be freed with bnn_vector_sampler_free.
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
        // SAFETY: all are NULL or the caller's live objects.
        let (context, o, theta0) = unsafe {
            (
                get(context, "context")?,
                Set::from(options)?,
                slice(theta0, n, "theta0")?,
            )
        };
        let inner = Mutex::new(Inner {
            sampler: Sampler::new(context.cpu.clone(), theta0, o.sampler()?)?,
            grad: vec![0.0; n],
        });
        // SAFETY: `sampler` is NULL or the caller's to write.
        unsafe { hand_out(sampler, bnn_vector_sampler { inner }, "sampler") }
    })
}

/// Frees a chain; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_free(sampler: *mut bnn_vector_sampler) {
    // SAFETY: the caller passes NULL or a handle from bnn_vector_sampler_new, once.
    unsafe { take_back(sampler) }
}

/// Sets the diagonal mass, before sampling begins. [in] mass: n positive floats. The momenta are drawn anew.
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
        lock(&s.inner, "sampler")?.sampler.set_mass(mass)?;
        Ok(())
    })
}

/// One step, given the log posterior at the chain's parameters and its gradient (not divided by the temperature).
///
/// [in] grad: n floats; log_post. [out] params: n floats, where the next gradient is to be taken; phase: BNN_PHASE_… of the next step;
/// sample_due: 1 when params are a sample to keep. Errors: BNN_ERR_NOT_FINITE: for the gradient or log_post the chain is as before.
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
            let (s, grad) = (get(sampler, "sampler")?, slice(grad, n, "grad")?);
            let params = slice_mut(params, n, "params")?;
            let (phase, due) = (out(phase, "phase")?, out(sample_due, "sample_due")?);
            let i = &mut *lock(&s.inner, "sampler")?;
            if n != i.grad.len() {
                return Err(Error::shape("grad", [i.grad.len()], [n]).into());
            }
            i.grad.copy_from_slice(grad);
            let report = i.sampler.step_with_gradient(&i.grad, log_post)?;
            params.copy_from_slice(i.sampler.params());
            phase.write(phase_number(i.sampler.phase()));
            due.write(report.sample_due.into());
        }
        Ok(())
    })
}
