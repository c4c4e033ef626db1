//! The temperature of each tensor while a chain samples.

use super::guard::guard;
use super::pointer::{get, lock, out, slice};
use super::sampler::bnn_sampler;
use super::status::{Fail, bnn_error, bnn_status};
use super::vector_sampler::bnn_vector_sampler;
use crate::error::Error;
use crate::samplers::{Config, RunningMean, Temperatures};

/// Out-parameters of both functions.
struct Out {
    kinetic: *mut f64,
    configurational: *mut f64,
    equilibrium_sd: *mut f64,
    count: *mut u64,
}

impl Out {
    /// # Safety
    /// The first two are NULL or room for 3 numbers, the others NULL or the caller's to write.
    unsafe fn write(
        self,
        all: Option<&Temperatures>,
        why_none: &str,
        index: usize,
        c: &Config,
    ) -> Result<(), Fail> {
        // SAFETY: the caller's promise; three numbers lie like an array of three.
        unsafe {
            let kinetic = out(self.kinetic.cast::<[f64; 3]>(), "kinetic")?;
            let configurational = out(self.configurational.cast(), "configurational")?;
            let band = out(self.equilibrium_sd, "equilibrium_sd")?;
            let count = out(self.count, "count")?;
            let all = all.ok_or_else(|| Error::invalid("temperatures", why_none, "none taken"))?;
            let d = all
                .range(index)
                .ok_or_else(|| Error::invalid("index", format!("below {}", all.ranges()), index))?;
            let three = |m: Option<RunningMean>| {
                m.map_or([f64::NAN; 3], |m| {
                    let known = |x: Option<f64>| x.unwrap_or(f64::NAN);
                    [m.mean, known(m.sd), known(m.std_error)]
                })
            };
            let momenta = c.method.has_momenta();
            kinetic.write(three(all.kinetic(index).filter(|_| momenta)));
            configurational.write(three(all.configurational(index)));
            band.write(c.temperature * (2.0 / d.len() as f64).sqrt());
            count.write(all.count());
        }
        Ok(())
    }
}

/// The temperatures of one tensor over the sampling steps so far, taken every temperature_every (an option) of them. Each tensor must show
/// the options' temperature by itself: a mean over all can hide a hot one behind a cold one.
///
/// [in] index: as bnn_model_tensor has it. [out] kinetic: 3 numbers, the mean of m^2 / M' over the tensor's momenta: mean over the steps,
/// standard deviation of one step's value, standard error of the mean by batch means (NaN with fewer than 2 and 10 values; all NaN without
/// momenta); configurational: the same of minus the mean of (theta - theta_0) * grad; equilibrium_sd: of one step's value if the target were
/// Gaussian about the start and the chain in equilibrium, T sqrt(2 / d); count: how often they were taken.
/// Errors: BNN_ERR_INVALID for normals, where none are taken, and past the last tensor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_temperature(
    sampler: *const bnn_sampler,
    index: usize,
    kinetic: *mut f64,
    configurational: *mut f64,
    equilibrium_sd: *mut f64,
    count: *mut u64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let to = Out {
            kinetic,
            configurational,
            equilibrium_sd,
            count,
        };
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let s = get(sampler, "sampler")?;
            let i = &mut *lock(&s.inner, "sampler")?;
            let (chain, _) = i.machine.chain()?;
            let (all, c) = (chain.temperatures(), chain.sampler().config());
            to.write(all, "temperature_every above 0", index, c)
        }
    })
}

/// From now on takes the temperatures of ranges of a chain's parameters, every so many sampling steps; in place of those before.
///
/// [in] every: 0 takes none any more; offsets, lens: k ranges, none of them empty. They are no part of a saved state.
/// Errors: BNN_ERR_INVALID for normals and for a range that is empty or outside.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_watch(
    sampler: *mut bnn_vector_sampler,
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
            let chain = i.machine.chain()?;
            let n = chain.sampler.len();
            let each = offsets.iter().zip(lens).enumerate();
            let ranges = each.map(|(r, (&from, &len))| {
                let end = from.checked_add(len).filter(|&end| end <= n);
                end.map(|end| from..end).ok_or_else(|| {
                    let (expected, got) = (format!("inside 0..{n}"), format!("{from} + {len}"));
                    Error::invalid(format!("range {r}"), expected, got)
                })
            });
            let ranges = ranges.collect::<Result<Vec<_>, _>>()?;
            chain.temperatures = match every {
                0 => None,
                every => Some(Temperatures::new(every, ranges)?),
            };
        }
        Ok(())
    })
}

/// The temperatures of one of bnn_vector_sampler_watch's ranges; otherwise as bnn_sampler_temperature.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_vector_sampler_temperature(
    sampler: *const bnn_vector_sampler,
    index: usize,
    kinetic: *mut f64,
    configurational: *mut f64,
    equilibrium_sd: *mut f64,
    count: *mut u64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let to = Out {
            kinetic,
            configurational,
            equilibrium_sd,
            count,
        };
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let s = get(sampler, "sampler")?;
            let i = &mut *lock(&s.inner, "sampler")?;
            let chain = i.machine.chain()?;
            let (all, c) = (chain.temperatures.as_ref(), chain.sampler.config());
            to.write(all, "ranges (bnn_vector_sampler_watch)", index, c)
        }
    })
}
