//! Whether one model predicts better than another.

use super::guard::guard;
use super::pointer::slice;
use super::report::{bnn_report, report_of};
use super::status::{bnn_error, bnn_status};
use crate::metrics::paired_block_bootstrap;

/// Compares two series of losses of the same tokens in the order of the text, by a circular block bootstrap of their difference a - b.
///
/// [in] a, b: n losses each, finite; block: tokens that are drawn together, 1 to n / 2, longer than the context that neighbours share (256 is
/// usual); resamples: at least 2, of 8 bytes each. [out] report: mean, of a - b, below 0 where a loses less; std_error, its standard error; z,
/// mean / std_error, 0 where the mean is 0; low, high, the ends of the 95 % interval. Errors: BNN_ERR_INVALID; BNN_ERR_NO_MEMORY for more resamples than
/// memory holds. The result is a function of the losses and the seed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_paired_bootstrap(
    a: *const f64,
    b: *const f64,
    n: usize,
    block: usize,
    resamples: usize,
    seed: u64,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let (a, b) = (slice(a, n, "a")?, slice(b, n, "b")?);
            let mut report = report_of(report)?;
            *report = (&paired_block_bootstrap(a, b, block, resamples, seed)?).into();
        }
        Ok(())
    })
}
