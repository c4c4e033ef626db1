//! The energy of a chain over its temperature.

use super::guard::guard;
use super::pointer::{out, slice};
use super::status::{bnn_error, bnn_status};
use crate::metrics::{Energy, Mean};

/// The energies of a chain while it sampled, over its temperature, from what bnn_sampler_report gave after each sampling step.
///
/// [in] log_post: n numbers, at least 40; kinetic: n temperatures, or NULL for a method without momenta; n_params: d; temperature: T, above 0
/// and the same all the while. [out] mean, std_error: 4 numbers each, the standard errors from 20 batches: potential, -log_post / T;
/// kinetic, d/2 times the temperature over T: d/2 in equilibrium, NaN without; their sum; its drift, the second half's mean minus the first's:
/// 0 in equilibrium. Errors: BNN_ERR_INVALID for too few steps and numbers out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_energy(
    log_post: *const f64,
    kinetic: *const f64,
    n: usize,
    n_params: usize,
    temperature: f64,
    mean: *mut f64,
    std_error: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths; four numbers lie like an array of four.
        unsafe {
            let log_post = slice(log_post, n, "log_post")?;
            let kinetic = match kinetic.is_null() {
                true => None,
                false => Some(slice(kinetic, n, "kinetic")?),
            };
            let mean = out(mean.cast::<[f64; 4]>(), "mean")?;
            let std_error = out(std_error.cast::<[f64; 4]>(), "std_error")?;
            let e = Energy::new(log_post, kinetic, n_params, temperature)?;
            let none = Mean {
                mean: f64::NAN,
                std_error: f64::NAN,
            };
            let all = [e.potential, e.kinetic.unwrap_or(none), e.total, e.drift];
            mean.write(all.map(|m| m.mean));
            std_error.write(all.map(|m| m.std_error));
        }
        Ok(())
    })
}
