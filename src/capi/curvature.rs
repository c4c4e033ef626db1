//! The largest curvature that a chain feels, and the largest step that is stable in it.

use super::guard::{call_back, guard};
use super::pointer::{get, lock};
use super::progress::{Watched, bnn_progress_callback};
use super::report::{bnn_report, report_of};
use super::sampler::bnn_sampler;
use super::status::{Fail, bnn_error, bnn_status};
use crate::error::Error;
use std::ffi::c_void;

/// Reports extreme curvatures per mass at a chain's parameters: eigenvalues of M^-1/2 H M^-1/2, H the Hessian of minus the log posterior, by Lanczos'
/// recurrence on gradients. The chain goes on as if nothing had been asked.
///
/// Of few data the largest is above that of all data; it is what a step of the chain on such batches feels, and a scale for the step, no proof.
///
/// [in] products: with H, at least 1, two gradients a batch each: some 10 are usual; batches: 1 to 1024, those of the chain's next steps, whose
/// mean is taken; callback: NULL or called now and then. [out] report: largest, smallest: the ends that were found (smallest is below 0 where the log posterior is not concave);
/// residual: how far the largest is off an eigenvalue at most; products: taken, fewer when the space was exhausted; step_limit: the largest
/// stable step size in that direction (on a quadratic), for the friction that the chain has now (a thermostat's is its xi, and while that is
/// below 0, no step is stable: 0); infinite where nothing limits it.
/// Without a mass (preconditioner none, or while it is estimated) M is 1; of a mass that follows the chain (live) it is the last step's. Takes room
/// for five vectors of parameters.
/// Errors: BNN_ERR_INVALID for normals, on gradients of the caller's, numbers out of range, and when a curvature is not finite; BNN_ERR_INTERRUPTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_curvature(
    sampler: *mut bnn_sampler,
    products: u64,
    batches: usize,
    callback: bnn_progress_callback,
    user_data: *mut c_void,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects. The callback may free the handle: what the call uses is its own from here on.
        let (mut to, inner) =
            unsafe { (report_of(report)?, get(sampler, "sampler")?.inner.clone()) };
        let i = &mut *lock(&inner, "sampler")?;
        let (watched, mut done) = (Watched::new(callback, user_data, 0), 0);
        let look = || {
            done += 1;
            watched.at(done)
        };
        let found = i.session.find_curvature_watched(batches, products, look)?;
        *to = i.session.curvature_report(&found)?;
        Ok(())
    })
}

/// A caller's log posterior's gradient, asked for on the calling thread; 0 stops the call that asks, which then returns BNN_ERR_INTERRUPTED,
/// anything else goes on.
///
/// params: n floats, where; grad: n floats for the callback to write, not divided by the temperature. It must be the same function at every
/// call. A call into the same sampler from inside returns BNN_ERR_BUSY; freeing it there is fine.
pub type bnn_gradient_callback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        params: *const f32,
        n: usize,
        grad: *mut f32,
    ) -> i32,
>;

/// Reports extreme curvatures as bnn_sampler_curvature, with gradients of the caller's.
///
/// [in] products: at least 1, two calls each; gradient: of the log posterior. [out] report: as there. Errors: BNN_ERR_INVALID for normals, 0
/// products, and when a gradient or a curvature is not finite; BNN_ERR_INTERRUPTED when the callback stopped it; BNN_ERR_NULL without one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_curvature_with_gradients(
    sampler: *mut bnn_sampler,
    products: u64,
    gradient: bnn_gradient_callback,
    user_data: *mut c_void,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        let mut to = unsafe { report_of(report)? };
        // SAFETY: all are NULL or the caller's live objects. The callback may free the handle: what the call uses is its own from here on.
        let inner = unsafe { get(sampler, "sampler") }?.inner.clone();
        let gradient = gradient.ok_or(Fail::Null("gradient".into()))?;
        let i = &mut *lock(&inner, "sampler")?;
        let found = i.session.find_curvature_with(products, |at, grad| {
            // SAFETY: the function and its pointer are the caller's; both vectors have so many floats.
            match call_back(|| unsafe {
                gradient(user_data, at.as_ptr(), at.len(), grad.as_mut_ptr())
            }) {
                0 => Err(Error::Interrupted),
                _ => Ok(()),
            }
        })?;
        *to = i.session.curvature_report(&found)?;
        Ok(())
    })
}
