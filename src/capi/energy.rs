//! The energy of a chain over its temperature.

use super::guard::guard;
use super::pointer::slice;
use super::report::{bnn_report, report_of};
use super::status::{bnn_error, bnn_status};
use crate::metrics::Energy;

/// Reports the energies of a chain while it sampled, over its temperature, from what bnn_sampler_report gave after each sampling step.
///
/// [in] log_post: n numbers, at least 40; kinetic: n temperatures, or NULL for a method without momenta; n_params: d; temperature: T, above 0
/// and the same all the while. [out] report: for each a .mean and a .std_error, from 20 batches: potential, -log_post / T;
/// kinetic, d/2 times the temperature over T: d/2 in equilibrium, NaN without; total, their sum; drift, the second half's mean minus the first's:
/// 0 in equilibrium. Errors: BNN_ERR_INVALID for too few steps and numbers out of range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_energy(
    log_post: *const f64,
    kinetic: *const f64,
    n: usize,
    n_params: usize,
    temperature: f64,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        let (mut to, log_post, kinetic) = unsafe {
            let kinetic = (!kinetic.is_null()).then(|| slice(kinetic, n, "kinetic"));
            (
                report_of(report)?,
                slice(log_post, n, "log_post")?,
                kinetic.transpose()?,
            )
        };
        *to = (&Energy::new(log_post, kinetic, n_params, temperature)?).into();
        Ok(())
    })
}
