//! What a run's samples are and what they gain, in sentences made from facts.

use super::guard::guard;
use super::pointer::{slice, text, texts};
use super::report::{bnn_report, report_of};
use super::status::{bnn_error, bnn_status};
use crate::error::Error;
use crate::inference::{Facts, Verdict};
use std::ffi::c_char;

/// Says in two or three sentences what samples are, what their average gains, and what to try next: what a run's summary begins with.
///
/// [in] names, name_lens, values: n facts, each a name with its number; what is not known is left out. temperature; chains; samples; sampling_steps;
/// auto_step, 1 where the warm-up has looked for the step; recorded, 1 where probes were recorded; fit, 1 for draws from a fitted normal; rhat and ess, the worst that was recorded (rhat.worst, and the smaller of ess_bulk.draws.worst and
/// ess_tail.draws.worst of bnn_agreement); kinetic and configurational, mean temperatures over the expected ones, kinetic_off and configurational_off,
/// 0 or 1 (bnn_temperature_band); over_free, rms_move of bnn_movement over rms of bnn_sampler_free_diffusion; one_ray, 1 where all samples lie on one
/// ray; mutual_information, nats per token; single.loss, single.models, single.difference and single.std_error, of the best single model (the average's
/// loss minus its); control.loss, .models, .difference, .std_error, of the best control of equal cost. sampler, single, control: what these are called; a
/// length of 0 is a name of the library's. [out] report: text, the sentences; next, what to try; passes, 1 where every check is known and passes;
/// check.*, of each check 1 or 0, NaN where it is not known, with the numbers as its meaning. Errors: BNN_ERR_INVALID for an unknown name and a number that is
/// not finite.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_verdict(
    names: *const *const c_char,
    name_lens: *const usize,
    values: *const f64,
    n: usize,
    sampler: *const c_char,
    sampler_len: usize,
    single: *const c_char,
    single_len: usize,
    control: *const c_char,
    control_len: usize,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let names = texts(names, name_lens, n, "name")?;
            let (values, mut report) = (slice(values, n, "values")?, report_of(report)?);
            let mut facts = Facts::default();
            for (name, &value) in names.iter().zip(values) {
                facts.set(name, value)?;
            }
            facts.sampler = text(sampler, sampler_len, "sampler")?.into();
            let called = [
                (
                    &mut facts.single,
                    text(single, single_len, "single")?,
                    "the best single model",
                ),
                (
                    &mut facts.control,
                    text(control, control_len, "control")?,
                    "the control",
                ),
            ];
            for (to, given, usual) in called {
                if let Some(c) = to {
                    c.name = if given.is_empty() { usual } else { given }.into();
                    if !(c.loss + c.difference + c.std_error).is_finite() {
                        return Err(Error::conflict(format!(
                            "{}: loss, difference and std_error belong together: give all three",
                            c.name
                        ))
                        .into());
                    }
                }
            }
            *report = (&Verdict::new(facts)).into();
        }
        Ok(())
    })
}
