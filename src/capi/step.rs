//! The step of a chain, found in its warm-up or given: as step size and friction, and as an optimiser's learning rate and momentum.

use super::guard::guard;
use super::pointer::{get, lock, out};
use super::sampler::bnn_sampler;
use super::status::{Fail, bnn_error, bnn_status};
use super::vector_sampler::bnn_vector_sampler;
use crate::backend::Cpu;
use crate::samplers::stability::optimizer_pair;
use crate::samplers::{AutoStep, Config, Sampler};

/// A chain's settings with the friction that it has now: a thermostat's moves on from where it started.
pub(super) fn now(s: &Sampler<Cpu>) -> Config {
    let mut c = s.config().clone();
    c.xi = s.thermostat().map_or(c.xi, |t| Some(t.xi));
    c
}

/// Out-parameters of both functions.
struct Out {
    step_size: *mut f64,
    alpha: *mut f64,
    learning_rate: *mut f64,
    momentum: *mut f64,
    error: *mut f64,
}

impl Out {
    /// # Safety
    /// Each is NULL or the caller's to write.
    unsafe fn write(self, c: &Config, num_data: f64, auto: Option<&AutoStep>) -> Result<(), Fail> {
        // SAFETY: the caller's promise.
        unsafe {
            let (h, alpha) = (out(self.step_size, "step_size")?, out(self.alpha, "alpha")?);
            let (lr, momentum, error) = (
                out(self.learning_rate, "learning_rate")?,
                out(self.momentum, "momentum")?,
                out(self.error, "error")?,
            );
            let pair = optimizer_pair(c, num_data);
            h.write(c.step_size);
            alpha.write(c.alpha);
            lr.write(pair.lr);
            momentum.write(pair.momentum);
            // 0 is what it has before the first window ends.
            let found = auto.map(|a| a.state().error).filter(|&e| e > 0.0);
            error.write(found.unwrap_or(f64::NAN));
        }
        Ok(())
    }
}

/// A chain's step size as it is now, and its name in an optimiser's language. With auto_step it changes during the warm-up and is then frozen.
///
/// [out] step_size: h or epsilon, before any schedule; alpha: the friction that goes with it (of a thermostat the noise's);
/// learning_rate: on the mean loss, of a parameter with mass M_i = 1; under a preconditioner that of parameter i is learning_rate / M_i (live:
/// M_i of the last step); momentum: of SGD with v = momentum v - gradient, theta += learning_rate v, with the friction that the chain has now
/// (a thermostat's is its xi: momentum is above 1 while that is below 0); error: what auto_step found in its last whole window, relative,
/// at the step size that it had then, NaN without a search and before. Errors: BNN_ERR_INVALID for normals.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_get_step(
    sampler: *const bnn_sampler,
    step_size: *mut f64,
    alpha: *mut f64,
    learning_rate: *mut f64,
    momentum: *mut f64,
    error: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let to = Out {
            step_size,
            alpha,
            learning_rate,
            momentum,
            error,
        };
        // SAFETY: all are NULL or the caller's live objects.
        unsafe {
            let s = get(sampler, "sampler")?;
            let i = &mut *lock(&s.inner, "sampler")?;
            let (chain, _) = i.machine.chain()?;
            to.write(&now(chain.sampler()), i.num_data, chain.auto_step())
        }
    })
}

/// As bnn_sampler_get_step; the learning rate is for a log posterior of likelihood_weight times num_data (options; num_data 1 when unset) times
/// a mean.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_get_step(
    sampler: *const bnn_vector_sampler,
    step_size: *mut f64,
    alpha: *mut f64,
    learning_rate: *mut f64,
    momentum: *mut f64,
    error: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let to = Out {
            step_size,
            alpha,
            learning_rate,
            momentum,
            error,
        };
        // SAFETY: all are NULL or the caller's live objects.
        unsafe {
            let s = get(sampler, "sampler")?;
            let i = &mut *lock(&s.inner, "sampler")?;
            let chain = i.machine.chain()?;
            to.write(&now(&chain.sampler), i.num_data, chain.auto.as_ref())
        }
    })
}
