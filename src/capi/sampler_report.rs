//! What is read off a sampler, as reports.

use super::guard::guard;
use super::pointer::{get, lock, slice};
use super::report::{bnn_report, report_of};
use super::sampler::{Inner, bnn_sampler};
use super::status::{Fail, bnn_error, bnn_status};
use crate::error::{Error, Result as Checked};
use crate::inference::Report;
use crate::inference::monitors::TensorTemperatures;

/// Fills a report from a sampler.
///
/// # Safety
/// Both are NULL or live.
unsafe fn fill(
    sampler: *const bnn_sampler,
    report: *mut bnn_report,
    read: impl FnOnce(&mut Inner) -> Checked<Report>,
) -> Result<(), Fail> {
    // SAFETY: the caller says that both are NULL or live.
    let (mut to, s) = unsafe { (report_of(report)?, get(sampler, "sampler")?) };
    *to = read(&mut *lock(&s.inner, "sampler")?)?;
    Ok(())
}

/// Reports what the last step found.
///
/// [out] report: step, counted from 0, those that estimate the mass included; phase of that step: warmup, sampling or exploration; log_lik: mean of
/// the batch, nats; log_prior; log_post: num_data * log_lik + log prior (ekf, laplace: without the prior); kinetic_temperature,
/// configurational_temperature; xi: the thermostat's friction after the step; sample_due. NaN for what there is not: log_lik and log_prior of a
/// chain on gradients of the caller's, temperatures while the mass is estimated, without momenta and of normals.
/// Errors: BNN_ERR_STATE before the first step, also of a sampler that was loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_report(
    sampler: *const bnn_sampler,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    // SAFETY: passed on as the caller gave it.
    guard(err, || unsafe {
        fill(sampler, report, |i| i.session.step_report())
    })
}

/// Reports a chain's step as it is now, and its name in an optimiser's language. With auto_step it changes during the warm-up and is then frozen.
///
/// [out] report: step_size: h or epsilon, before any schedule; alpha: the friction that goes with it (of a thermostat the noise's);
/// learning_rate: on the mean loss, of a parameter with mass M_i = 1; under a mass that of parameter i is learning_rate / M_i (live: M_i of the last
/// step); on gradients of the caller's it is for a log posterior of likelihood_weight times num_data (options; num_data 1 when unset) times a mean;
/// momentum: of SGD with v = momentum v - gradient, theta += learning_rate v, with the friction that the chain has now
/// (a thermostat's is its xi: momentum is above 1 while that is below 0); error: what auto_step found in its last whole window, relative,
/// at the step size that it had then, NaN without a search and before. Errors: BNN_ERR_INVALID for normals.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_step_size(
    sampler: *const bnn_sampler,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    // SAFETY: passed on as the caller gave it.
    guard(err, || unsafe {
        fill(sampler, report, |i| i.session.step_size_report())
    })
}

/// Reports how noisy a chain's gradients are, where that was given or is estimated, and what heat of it is left at the chain's step and temperature.
///
/// [out] report: noise_per_mass: mean of the noise's variance over the mass, v / M'; damped: share of the parameters whose noise is all of their
/// fluctuation, and sets their friction; clamped: share of those whose noise is more than the strongest friction takes out; residual_heating: mean
/// heating that is left, as a share of T; worst_tensor: of a model's the tensor with the most heat left, empty without one; worst_heating: the heating
/// there. Errors: BNN_ERR_INVALID for normals, and where the noise is not known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_gradient_noise(
    sampler: *const bnn_sampler,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    // SAFETY: passed on as the caller gave it.
    guard(err, || unsafe {
        fill(sampler, report, |i| i.session.gradient_noise_report())
    })
}

/// Forecasts how far a chain can get with the step as it is now. Call it before the first step: a chain that ends before its momentum is forgotten
/// once moves along one straight line, and its samples are worth about one.
///
/// [out] report: physical_time: sum of the step sizes of the whole run; friction_times: how often the momentum is forgotten in that time, NaN without
/// momenta; optimizer_learning_rate, optimizer_momentum: what an optimiser on the mean loss would call the step, at unit mass; one_line: 1 where
/// the run ends before the momentum is forgotten once. Errors: BNN_ERR_INVALID for normals.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_forecast(
    sampler: *const bnn_sampler,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    // SAFETY: passed on as the caller gave it.
    guard(err, || unsafe {
        fill(sampler, report, |i| i.session.forecast_report())
    })
}

/// Reports how far a chain would lie from its start if there were no force: with the mass, the step and the friction that it has now.
///
/// A chain whose rms_move (bnn_movement) is about this has met no force yet that holds it. Where the warm-up looks for a step, or the mass adapts, it is
/// an approximation. [in] first, last: the steps that gave the first and the last sample, those that estimate the mass counted; first at most last.
/// [out] report: rms, root mean square per parameter after the last; cosine, between the displacements after both, NaN where one is 0; relative_sd,
/// the relative standard deviation of one chain's rms. Errors: BNN_ERR_INVALID for normals, for a mass that follows the chain, and past the run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_free_diffusion(
    sampler: *const bnn_sampler,
    first: u64,
    last: u64,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    // SAFETY: passed on as the caller gave it.
    guard(err, || unsafe {
        fill(sampler, report, |i| {
            Ok((&i.session.free_diffusion(first, last)?).into())
        })
    })
}

/// Reports the temperatures of one tensor, or of one of bnn_sampler_watch's ranges, over the sampling steps so far: taken every temperature_every
/// (an option) of them, or as often as the ranges are watched. Each must show the options' temperature by itself: a mean over all can hide a hot one
/// behind a cold one. Under a schedule of the temperature each value is times the options' temperature over that of its step.
///
/// [in] index: as bnn_model_tensor has it, or the range's. [out] report: kinetic.mean, kinetic.sd, kinetic.std_error: the mean of m^2 / M' over the
/// momenta: mean over the steps, standard deviation of one step's value, standard error of the mean by batch means (NaN with fewer than 2 and
/// 10 values; all NaN without momenta); kinetic.expected: what that mean is in equilibrium; with `thermostat` = tensor xi.mean, .sd, .std_error: those of the friction of
/// the tensor's own thermostat; configurational.mean, .sd, .std_error: those of minus the mean of (theta - theta_0) * grad;
/// equilibrium_sd: of one step's value if the target were Gaussian about the start and the chain in equilibrium, T sqrt(2 / d); count: how
/// often they were taken. Errors: BNN_ERR_INVALID for normals, where none are taken, and past the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_temperature(
    sampler: *const bnn_sampler,
    index: usize,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    // SAFETY: passed on as the caller gave it.
    guard(err, || unsafe {
        fill(sampler, report, |i| i.session.temperature_report(index))
    })
}

/// Takes the temperatures of ranges of a chain's parameters from now on, every so many sampling steps, in place of those that were watched before.
///
/// [in] every: 0 takes none any more; offsets, lens: k ranges, none of them empty. They are no part of a saved state.
/// Errors: BNN_ERR_INVALID for normals, under a dense mass, for a range that is empty or outside, and on a model's posterior whose temperature_every is not 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_watch(
    sampler: *mut bnn_sampler,
    every: u64,
    offsets: *const usize,
    lens: *const usize,
    k: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let s = get(sampler, "sampler")?;
            let (offsets, lens) = (slice(offsets, k, "offsets")?, slice(lens, k, "lens")?);
            let i = &mut *lock(&s.inner, "sampler")?;
            let n = i.session.sampler()?.len();
            i.session.has_own_ranges()?;
            let each = offsets.iter().zip(lens).enumerate();
            let ranges = each.map(|(r, (&from, &len))| {
                let end = from.checked_add(len).filter(|&end| end <= n);
                end.map(|end| from..end).ok_or_else(|| {
                    let (expected, got) = (format!("inside 0..{n}"), format!("{from} + {len}"));
                    Error::out_of_range(format!("range {r}"), expected, got)
                })
            });
            let ranges = ranges.collect::<Checked<Vec<_>>>()?;
            let new = (every > 0)
                .then(|| TensorTemperatures::new(every, ranges))
                .transpose()?;
            i.session.unwatch::<TensorTemperatures>();
            if i.session.monitor::<TensorTemperatures>().is_some() {
                return Err(Error::conflict("the temperatures of the tensors are taken already: set temperature_every to 0 to watch ranges").into());
            }
            if let Some(new) = new {
                i.session.watch(new);
            }
        }
        Ok(())
    })
}

/// Reports the local learning coefficient of the parameters that the chain started at, from what it looked at so far: n beta times the mean loss over
/// that of the start, each of one batch (Lau et al. 2023; docs/alive.md says what it is biased by).
///
/// The options say how often it looks (llc_every); it needs a prior centred at the start (prior_center pretrained) and a temperature above 0
/// and the same all the while: under temperature_schedule, or a callback's factors on the temperature, its n_beta is not the chain's.
///
/// [out] report: value: no unit; below 0 where the start is no minimum of the loss; std_error: by batch means along the chain, NaN with fewer than
/// 10 looks; excess_loss: mean, nats; n_beta: the number of data, weighted, over the options' temperature; looks: how many.
/// Errors: BNN_ERR_INVALID for normals, without looks (with the reason), and when a loss was not finite.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_llc(
    sampler: *const bnn_sampler,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    // SAFETY: passed on as the caller gave it.
    guard(err, || unsafe {
        fill(sampler, report, |i| Ok((&i.session.llc()?).into()))
    })
}

/// Reports the energies of a chain on a model's posterior while it sampled, over its temperature, as bnn_energy.
///
/// Errors: BNN_ERR_INVALID for normals, on gradients of the caller's, with fewer than 40 sampling steps, and at temperature 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_energy(
    sampler: *const bnn_sampler,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    // SAFETY: passed on as the caller gave it.
    guard(err, || unsafe {
        fill(sampler, report, |i| Ok((&i.session.energy()?).into()))
    })
}

/// Reports what the marginal likelihood says of laplace's prior, a normal about 0 with one precision, from what was fitted so far: with
/// laplace_fit_prior (MacKay 1992).
///
/// [out] report: precision: the one with the largest marginal likelihood, which draws and standard deviations have in place of prior_std^-2;
/// effective_parameters: how many the data determine; log_evidence: what of the log marginal likelihood depends on the precision, nats.
/// Errors: BNN_ERR_INVALID for a chain, without laplace_fit_prior, and where there is no such precision.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_prior_fit(
    sampler: *const bnn_sampler,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    // SAFETY: passed on as the caller gave it.
    guard(err, || unsafe {
        fill(sampler, report, |i| i.session.prior_fit_report())
    })
}
