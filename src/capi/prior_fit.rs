//! The precision of Laplace's prior that the marginal likelihood chooses.

use super::guard::guard;
use super::pointer::{get, lock, out};
use super::sampler::bnn_sampler;
use super::status::{Fail, bnn_error, bnn_status};
use super::vector_sampler::bnn_vector_sampler;
use crate::error::Error;
use crate::samplers::laplace::PriorFit;

/// # Safety
/// Each pointer is NULL or the caller's to write.
unsafe fn write(
    fit: Option<PriorFit>,
    precision: *mut f64,
    effective_parameters: *mut f64,
    log_evidence: *mut f64,
) -> Result<(), Fail> {
    // SAFETY: the caller's promise.
    unsafe {
        let (precision, effective, evidence) = (
            out(precision, "precision")?,
            out(effective_parameters, "effective_parameters")?,
            out(log_evidence, "log_evidence")?,
        );
        let fit = fit.ok_or_else(|| {
            Error::invalid("sampler", "laplace with laplace_fit_prior", "one without")
        })?;
        precision.write(fit.precision);
        effective.write(fit.effective_parameters);
        evidence.write(fit.log_evidence);
    }
    Ok(())
}

/// What the marginal likelihood says of laplace's prior, a normal about 0 with one precision, from what was fitted so far: with
/// laplace_fit_prior (MacKay 1992).
///
/// [out] precision: the one with the largest marginal likelihood, which draws and deviations have in place of prior_std^-2;
/// effective_parameters: how many the data determine; log_evidence: what of the log marginal likelihood depends on the precision, nats.
/// Errors: BNN_ERR_INVALID for a chain, without laplace_fit_prior, and where there is no such precision.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_prior_fit(
    sampler: *const bnn_sampler,
    precision: *mut f64,
    effective_parameters: *mut f64,
    log_evidence: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        unsafe {
            let s = get(sampler, "sampler")?;
            let fit = lock(&s.inner, "sampler")?.machine.normals()?.prior_fit()?;
            write(fit, precision, effective_parameters, log_evidence)
        }
    })
}

/// As bnn_sampler_prior_fit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_prior_fit(
    sampler: *const bnn_vector_sampler,
    precision: *mut f64,
    effective_parameters: *mut f64,
    log_evidence: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        unsafe {
            let s = get(sampler, "sampler")?;
            let fit = lock(&s.inner, "sampler")?.machine.normals()?.prior_fit()?;
            write(fit, precision, effective_parameters, log_evidence)
        }
    })
}
