//! The largest curvature that a chain feels, and the largest step that is stable in it.

use super::guard::guard;
use super::pointer::{get, lock, out};
use super::sampler::bnn_sampler;
use super::status::{Fail, bnn_error, bnn_status};
use super::step::now;
use super::vector_sampler::bnn_vector_sampler;
use crate::backend::Vectors;
use crate::error::Error;
use crate::rng::{Purpose, Stream};
use crate::samplers::stability::stability_limit;
use crate::samplers::{Config, Curvature, extreme_curvature};
use std::ffi::c_void;

/// The most batches that a gradient is the mean of.
const MOST_BATCHES: usize = 1024;

/// Out-parameters of both functions.
struct Out {
    largest: *mut f64,
    residual: *mut f64,
    smallest: *mut f64,
    made: *mut u64,
    step_limit: *mut f64,
}

impl Out {
    /// # Safety
    /// Each is NULL or the caller's to write.
    unsafe fn write(
        self,
        find: impl FnOnce() -> Result<(Curvature, Config), Fail>,
    ) -> Result<(), Fail> {
        // SAFETY: the caller's promise.
        unsafe {
            let (largest, residual, smallest) = (
                out(self.largest, "largest")?,
                out(self.residual, "residual")?,
                out(self.smallest, "smallest")?,
            );
            let (made, limit) = (out(self.made, "made")?, out(self.step_limit, "step_limit")?);
            let (found, config) = find()?;
            largest.write(found.largest);
            residual.write(found.residual);
            smallest.write(found.smallest);
            made.write(found.products);
            limit.write(stability_limit(&config, found.largest));
        }
        Ok(())
    }
}

/// Extreme curvatures per mass at a chain's parameters: eigenvalues of M^-1/2 H M^-1/2, H the Hessian of minus the log posterior, by Lanczos'
/// recurrence on gradients. The chain goes on as if nothing had been asked.
///
/// Of few data the largest is above that of all data; it is what a step of the chain on such batches feels, and a scale for the step, no proof.
///
/// [in] products: with H, at least 1, two gradients a batch each: some 10 are usual; batches: 1 to 1024, those of the chain's next steps, whose
/// mean is taken. [out] largest, smallest: the ends that were found (smallest is below 0 where the log posterior is not concave); residual: how
/// far the largest is off an eigenvalue at most; made: products taken, fewer when the space was exhausted; step_limit: the largest stable
/// step size in that direction (on a quadratic), for the friction that the chain has now (a thermostat's is its xi, and while that is
/// below 0, no step is stable: 0); infinite where nothing limits it.
/// Without a mass (preconditioner none, or while it is estimated) M is 1; of a mass that follows the chain (live) it is the last step's. Takes room for five vectors of parameters.
/// Errors: BNN_ERR_INVALID for normals, numbers out of range, and when a curvature is not finite.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_curvature(
    sampler: *mut bnn_sampler,
    products: u64,
    batches: usize,
    largest: *mut f64,
    residual: *mut f64,
    smallest: *mut f64,
    made: *mut u64,
    step_limit: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let to = Out {
            largest,
            residual,
            smallest,
            made,
            step_limit,
        };
        // SAFETY: all are NULL or the caller's live objects.
        unsafe {
            let s = get(sampler, "sampler")?;
            to.write(|| {
                let i = &mut *lock(&s.inner, "sampler")?;
                i.machine.chain()?;
                if !(1..=MOST_BATCHES).contains(&batches) {
                    let expected = format!("1 to {MOST_BATCHES}");
                    return Err(Error::invalid("batches", expected, batches).into());
                }
                let batches = i.next_batches(batches)?;
                let (chain, _) = i.machine.chain()?;
                let found = chain.curvature(&batches, products)?;
                Ok((found, now(chain.sampler())))
            })
        }
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

/// As bnn_sampler_curvature, with gradients of the caller's.
///
/// [in] products: at least 1, two calls each; gradient: of the log posterior. [out] as there. Errors: BNN_ERR_INVALID for normals, 0 products,
/// and when a gradient or a curvature is not finite; BNN_ERR_INTERRUPTED when the callback stopped it; BNN_ERR_NULL without one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_curvature(
    sampler: *mut bnn_vector_sampler,
    products: u64,
    gradient: bnn_gradient_callback,
    user_data: *mut c_void,
    largest: *mut f64,
    residual: *mut f64,
    smallest: *mut f64,
    made: *mut u64,
    step_limit: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let to = Out {
            largest,
            residual,
            smallest,
            made,
            step_limit,
        };
        // SAFETY: all are NULL or the caller's live objects; the callback and its pointer are the caller's.
        unsafe {
            // The callback may free the handle: what the call uses is its own from here on.
            let inner = get(sampler, "sampler")?.inner.clone();
            let gradient = gradient.ok_or(Fail::Null("gradient".into()))?;
            to.write(|| {
                let i = &mut *lock(&inner, "sampler")?;
                let sampler = &i.machine.chain()?.sampler;
                let (v, c, n) = (sampler.vectors(), now(sampler), sampler.len());
                let stream = Stream::new(c.seed, Purpose::Curvature, c.chain);
                let (theta, mass) = (sampler.params(), sampler.mass());
                let mut grad = v.zeros(n)?;
                let found = extreme_curvature(v, theta, mass, products, stream, |at, a, sum| {
                    if gradient(user_data, at.as_ptr(), n, grad.as_mut_ptr()) == 0 {
                        return Err(Error::Interrupted);
                    }
                    if let Some(i) = grad.iter().position(|g| !g.is_finite()) {
                        let what = format!("gradient[{i}]");
                        return Err(Error::invalid(what, "a finite number", grad[i]));
                    }
                    v.axpy(sum, a, &grad)
                })?;
                Ok((found, c))
            })
        }
    })
}
