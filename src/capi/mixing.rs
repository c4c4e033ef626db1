//! Whether a chain has moved, and whether it is at its temperature.

use super::guard::guard;
use super::pointer::{get, lock, slice};
use super::report::{bnn_report, report_of};
use super::status::{bnn_error, bnn_status};
use super::store::bnn_store;
use crate::error::Error;
use crate::inference::{Movement, TemperatureBand};

/// Says how far the samples of a chain lie from its start, and whether they are worth more than about one.
///
/// [in] samples: how many there are; start, first, last: n parameters each, of the start and of the first and the last sample; n: at least 1.
/// [out] report: rms_move, root mean square per parameter of the last sample's displacement; relative_move, its norm over the start's;
/// cosine_first_last, between the first and the last sample's displacement, NaN for a single sample; worth_about_one, 1 where the samples lie on one
/// ray (a cosine above 0.99) or have not moved at all; reach, what the displacement says of the force, a word; verdict, a sentence; samples; free.rms,
/// free.cosine, over_free and prior_sd, which are NaN here: bnn_sampler_free_diffusion has what rms_move is to be compared with.
/// Errors: BNN_ERR_SHAPE for n = 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_movement(
    samples: usize,
    start: *const f32,
    first: *const f32,
    last: *const f32,
    n: usize,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let (start, first) = (slice(start, n, "start")?, slice(first, n, "first")?);
            let (last, mut report) = (slice(last, n, "last")?, report_of(report)?);
            *report = (&Movement::new(samples, start, first, last)?).into();
        }
        Ok(())
    })
}

/// Says how far the stored samples of a chain lie from its start, in the rows of bnn_movement.
///
/// [in] chain: which; start: n parameters, n = the model's n_params. Errors: BNN_ERR_SHAPE; those of bnn_store_get for a sample that cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_store_movement(
    store: *const bnn_store,
    chain: u32,
    start: *const f32,
    n: usize,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let (s, start) = (get(store, "store")?, slice(start, n, "start")?);
            let mut report = report_of(report)?;
            let store = lock(&s.inner, "store")?;
            let own = store.provenance().n_params;
            if n as u64 != own {
                return Err(Error::shape("start", [own], [n]).into());
            }
            *report = (&Movement::of_stored(&store, chain, start)?).into();
        }
        Ok(())
    })
}

/// Says whether a chain's temperatures are the target's: of all its parameters or of some.
///
/// [in] series: a temperature per sampling step, as bnn_sampler_report gives them, n of them, at least 20; temperature: what their mean is in
/// equilibrium: the target's, and for momenta kinetic.expected of bnn_sampler_temperature; parameters: how many they are of, at least 1.
/// [out] report: mean; std_error, from 20 batches; expected, the temperature that was given; equilibrium_sd, the standard deviation of one step's
/// value in equilibrium; off, 1 where the mean is further from it than five standard errors and 5 %, 0 at temperature 0. Errors: BNN_ERR_INVALID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_temperature_band(
    series: *const f64,
    n: usize,
    temperature: f64,
    parameters: usize,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects of those lengths.
        let (series, mut report) = unsafe { (slice(series, n, "series")?, report_of(report)?) };
        *report = TemperatureBand::checked(series, temperature, parameters)?.report();
        Ok(())
    })
}
