//! bnn_sampler: a chain, or a fit of normals, on a model's posterior, one batch at a time.

use super::corpus::bnn_corpus;
use super::guard::guard;
use super::llc::ExcessLoss;
use super::machine::{Machine, Report, phase_number, resumed};
use super::model::{Model, bnn_model};
use super::options::{Set, bnn_options};
use super::pointer::{get, hand_out, lock, out, slice, slice_mut, take_back, text};
use super::schedule::{ScheduleOf, bnn_schedule_callback};
use super::status::{Fail, bnn_error, bnn_status};
use crate::backend::Vectors;
use crate::data::{Batch, Batches, Corpus, Windows};
use crate::error::Error;
use crate::gpt::{Gpt, Objective};
use crate::posterior::Posterior;
use crate::samplers::{AutoStep, Chain, NormalConfig, NormalFit, Structure, Temperatures};
use crate::store::{Header, Kind, Length, SavedState, params_sha256, read_state, write_state};
use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex};

/// Steps that are thrown away: the mass is estimated, then the chain warms up; or normals are being fitted.
pub const BNN_PHASE_WARMUP: i32 = 0;
/// Samples fall due.
pub const BNN_PHASE_SAMPLING: i32 = 1;
/// Every step was made.
pub const BNN_PHASE_DONE: i32 = 2;
/// The part of a cycle in which the chain moves without noise, and no sample falls due.
pub const BNN_PHASE_EXPLORATION: i32 = 3;

pub(super) struct Inner {
    pub model: Arc<Model>,
    corpus: Arc<Corpus>,
    pub machine: Machine,
    /// What the mean log likelihood is multiplied by, its weight included.
    pub num_data: f64,
    batches: Batches,
    batch: Batch,
    given: Batch,
    header: Header, // what a saved state says that it is of
    schedule: ScheduleOf,
    last: Option<Report>,
}

impl Inner {
    /// A sampler from the options; with a path it goes on from the state there.
    fn new(
        model: &Arc<Model>,
        corpus: &Arc<Corpus>,
        o: &Set,
        path: Option<&str>,
    ) -> Result<Self, Fail> {
        model.fits(corpus)?;
        let (cpu, gpt) = (&model.cpu, &model.gpt);
        let (b, t) = o.batch(gpt.config())?;
        let windows = Windows::all(corpus.train.len(), t)?;
        let objective = o.objective()?;
        let counted = match objective {
            Objective::All => corpus.train.len() - 1,
            Objective::Last => windows.num_windows(),
        };
        let num_data = o.num_data().unwrap_or(counted as f64);
        let order = o.batch_order()?;
        let batches = Batches::new(windows, order, b)?;
        let start = lock(&model.params, "model")?;
        let prior = o.prior(&start);
        let posterior = Posterior::new(cpu, gpt, &prior, num_data, objective, b, t)?
            .with_likelihood_weight(o.likelihood_weight())?;
        let settings = |sampler: serde_json::Value| {
            let family = format!("{:?}", prior.family);
            let (center, scale) = (prior.center.is_some(), prior.relative_to.is_some());
            serde_json::json!({
                "sampler": sampler,
                "prior_family": family,
                "prior_std": prior.std,
                "prior_center": if center { "pretrained" } else { "zero" },
                "prior_scale": if scale { "relative" } else { "absolute" },
                "num_data": num_data,
                "likelihood_weight": o.likelihood_weight(),
                "objective": objective,
                "batch_order": order,
                "batch_size": b,
                "window": t,
            })
            .to_string()
        };
        let json = |e: serde_json::Error| Error::invalid("settings", "JSON", e);
        let mut header = Header {
            model: serde_json::to_string(gpt.config()).map_err(json)?,
            seed: o.seed(),
            corpus_sha256: corpus.sha256,
            vocabulary: corpus.tokenizer.vocabulary(),
            ..Header::new(Kind::Chain)
        };
        if prior.center.is_some() || prior.relative_to.is_some() {
            header.baseline_sha256 = params_sha256(&start);
        }
        let n = gpt.n_params();
        let machine = match o.normal_method() {
            Some(method) => {
                let steps = o.num_epochs().saturating_mul(batches.per_sweep());
                let config = o.normal(method, steps)?;
                header.config = settings(serde_json::to_value(&config).map_err(json)?);
                let head = [gpt.config().vocab_size, gpt.config().n_embd];
                head_fits(&config, head)?;
                let length = Length {
                    setting: "/sampler/steps",
                    total: config.steps,
                    fixed: config.length_matters(),
                };
                let fit = match path {
                    Some(path) => {
                        match read_state(path, &header, length, Some((&config, head)), n)? {
                            SavedState::Normal(s) => NormalFit::restore(cpu, posterior, config, &s)
                                .map_err(Error::of_file(path))?,
                            SavedState::Chain(..) => return Err(other_kind(path)),
                        }
                    }
                    None => NormalFit::new(cpu, posterior, &start, config)?,
                };
                Machine::Normal(Box::new(fit))
            }
            None => {
                let (mut config, mass) = (o.chain()?, o.preconditioner());
                let mut auto = o.auto_step(&config)?;
                header.chain = config.chain;
                let both = serde_json::to_value((&config, &mass)).map_err(json)?;
                let mut all = serde_json::json!({"settings": both[0], "preconditioner": both[1]});
                if let Some(auto) = &auto {
                    all["auto_step"] = auto_step_json(auto);
                }
                header.config = settings(all);
                let length = Length {
                    setting: "/sampler/settings/sampling_steps",
                    total: mass.steps().saturating_add(config.total_steps()),
                    fixed: config.length_matters(),
                };
                let mut excess = ExcessLoss::new(o, &config, mass);
                let (ranges, every) = (tensors(gpt), o.temperature_every());
                let mut temperatures = None;
                let mut chain = match path {
                    Some(path) => {
                        let (s, looks) = match read_state(path, &header, length, None, n)? {
                            SavedState::Chain(s, looks) => (s, looks),
                            SavedState::Normal(_) => return Err(other_kind(path)),
                        };
                        resumed(path, &mut auto, &mut config, &looks)?;
                        let sampled = s.sampler.step.saturating_sub(config.warmup_steps);
                        excess
                            .go_on(looks.excess_loss, sampled)
                            .map_err(Error::of_file(path))?;
                        if let Some((count, t)) = looks.temperatures.filter(|_| every > 0) {
                            let ranges = ranges.clone();
                            let before = Temperatures::restore(every, ranges, sampled, (count, &t));
                            temperatures = Some(before.map_err(Error::of_file(path))?);
                        }
                        Chain::restore(cpu, posterior, config, mass, &s)
                            .map_err(Error::of_file(path))?
                    }
                    None => Chain::new(cpu, posterior, &start, config, mass)?,
                };
                if every > 0 {
                    let fresh = || Temperatures::new(every, ranges);
                    chain.watch(temperatures.map_or_else(fresh, Ok)?);
                }
                if let Some(auto) = auto {
                    chain.adapt_step(auto)?;
                }
                Machine::Chain(Box::new(chain), excess)
            }
        };
        drop(start);
        Ok(Self {
            machine,
            num_data: o.likelihood_weight() * num_data,
            model: model.clone(),
            corpus: corpus.clone(),
            batches,
            batch: Batch::new(b, t)?,
            given: Batch::new(b, t)?,
            header,
            schedule: ScheduleOf::NONE,
            last: None,
        })
    }

    /// The batches of the next `n` steps.
    pub fn next_batches(&mut self, n: usize) -> Result<Vec<Batch>, Fail> {
        let (seed, chain) = (self.header.seed, self.header.chain);
        let first = self.machine.steps_made();
        let each = (first..first.saturating_add(n as u64)).map(|step| {
            let tokens = &self.corpus.train;
            (self.batches).fill(tokens, seed, chain, step, &mut self.batch)?;
            Ok(self.batch.clone())
        });
        each.collect()
    }

    /// One step, on the given batch or on the run's own; the next phase and whether a sample is due.
    fn step(&mut self, given: bool) -> Result<(i32, bool), Fail> {
        let step = self.machine.steps_made();
        if self.schedule.is_set() {
            let factors = self.schedule.at(step)?;
            self.machine.set_factors(factors)?;
        }
        let (seed, chain) = (self.header.seed, self.header.chain);
        let batch = match given {
            true => &self.given,
            false => {
                let tokens = &self.corpus.train;
                self.batches
                    .fill(tokens, seed, chain, step, &mut self.batch)?;
                &self.batch
            }
        };
        let report = self.machine.step(batch)?;
        self.last = Some(report);
        Ok((phase_number(self.machine.phase()), report.due))
    }
}

/// Whether memory holds the covariance that the settings ask for, of a head of (V, C).
fn head_fits(config: &NormalConfig, head: [usize; 2]) -> Result<(), Error> {
    let [v, c] = head.map(|n| n as u128);
    let numbers = match (config.fits_head(), config.laplace_structure) {
        (true, Structure::LastLayerFull) => (v * v.saturating_sub(1) / 2) * (c * (c + 1) / 2),
        (true, Structure::LastLayerKfac) => v * v + c * c,
        _ => return Ok(()),
    };
    let room = |n: u128| {
        Vec::<f64>::new()
            .try_reserve_exact(usize::try_from(n).ok()?)
            .ok()
    };
    room(numbers).ok_or_else(|| {
        let expected = format!("one whose {numbers} numbers of 8 bytes memory holds");
        let got = format!("{:?} of {v} by {c}", config.laplace_structure);
        Error::invalid("laplace_structure", expected, got)
    })
}

/// A state of a chain for normals, or the other way round.
pub(super) fn other_kind(path: &str) -> Fail {
    let what = format!("{path}: state");
    Error::invalid(what, "one of the options' method", "another").into()
}

/// Every tensor's place.
fn tensors(gpt: &Gpt) -> Vec<std::ops::Range<usize>> {
    let each = gpt.layout().tensors().iter();
    each.map(|t| t.range.clone()).collect()
}

/// A search as settings.
pub(super) fn auto_step_json(auto: &AutoStep) -> serde_json::Value {
    serde_json::json!({"step_tolerance": auto.tolerance(), "keep_momentum": auto.keeps_momentum()})
}

/// A chain or a fit of normals. One thread at a time.
pub struct bnn_sampler {
    pub(super) inner: Arc<Mutex<Inner>>,
}

/// Makes a sampler that starts at the model's parameters.
///
/// [in] options: sampler; of chains step_size, alpha or momentum, sigma, beta, xi, thermostat_mass, the schedules, warmup_steps,
/// sampling_steps, thinning, chain, preconditioner and its settings, auto_step, step_tolerance, temperature_every, llc_every; of ekf, vi and
/// laplace num_epochs, step_size, init_sd, transition_sd, init_log_scale, vi_n_samples, stick_the_landing, laplace_structure,
/// laplace_labels, laplace_fit_prior; of all temperature, seed, the prior_… options, likelihood_weight, num_data, objective, batch_size,
/// batch_order, window; NULL for defaults.
/// [out] sampler: to be freed with bnn_sampler_free. Errors: BNN_ERR_INVALID, BNN_ERR_UNSTABLE, BNN_ERR_DATA when the text is too short.
/// The sampler is a function of options, model and corpus: the same on any number of threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_new(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    options: *const bnn_options,
    sampler: *mut *mut bnn_sampler,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles, `sampler` is NULL or the caller's to write.
        unsafe {
            let (m, c) = (get(model, "model")?, get(corpus, "corpus")?);
            let inner = Inner::new(&m.inner, &c.inner, &Set::from(options)?, None)?;
            let inner = Arc::new(Mutex::new(inner));
            hand_out(sampler, bnn_sampler { inner }, "sampler")
        }
    })
}

/// Makes a sampler that goes on from a saved state, bit for bit as it would have without the break.
///
/// [in] model, corpus, options: as bnn_sampler_new had them, but that sampling_steps (of fits num_epochs) may be another number that holds the
/// steps made, where no step depends on it: the sampler then goes on as one that was made with it. Steps depend on it under a linear, cosine
/// or cyclical schedule (vi's is linear when unset), with laplace, and with ekf at step_size 0. path: UTF-8, path_len bytes. [out] sampler.
/// temperature_every and llc_every may differ too. The model's parameters are read only where the prior refers to them. A schedule callback is
/// no part of the state: set it again.
/// Errors: those of bnn_sampler_new; BNN_ERR_IO; BNN_ERR_BAD_… for a file that is damaged or none of bnn's; BNN_ERR_MISMATCH, with what
/// differs (and why it must not), for a state of other settings, another model or another corpus; BNN_ERR_DATA for a number in it that is
/// not finite; BNN_ERR_SHAPE and BNN_ERR_INVALID, with the path, for numbers that no sampler of these settings has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_load(
    model: *const bnn_model,
    corpus: *const bnn_corpus,
    options: *const bnn_options,
    path: *const c_char,
    path_len: usize,
    sampler: *mut *mut bnn_sampler,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles, `path` is path_len bytes of the caller's, `sampler` is NULL or the caller's to write.
        unsafe {
            let (m, c) = (get(model, "model")?, get(corpus, "corpus")?);
            let path = text(path, path_len, "path")?;
            let inner = Inner::new(&m.inner, &c.inner, &Set::from(options)?, Some(path))?;
            let inner = Arc::new(Mutex::new(inner));
            hand_out(sampler, bnn_sampler { inner }, "sampler")
        }
    })
}

/// Writes the sampler's whole state to a file, in the place of what may be there; the file appears whole or not at all.
///
/// [in] path: UTF-8, path_len bytes. Errors: BNN_ERR_IO; BNN_ERR_NOT_FINITE for a chain that has diverged: what is there stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_save(
    sampler: *const bnn_sampler,
    path: *const c_char,
    path_len: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects of that length.
        let (s, path) = unsafe { (get(sampler, "sampler")?, text(path, path_len, "path")?) };
        let i = lock(&s.inner, "sampler")?;
        write_state(path, &i.header, &i.machine.state()?)?;
        Ok(())
    })
}

/// Frees a sampler; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_free(sampler: *mut bnn_sampler) {
    // SAFETY: the caller passes NULL or a handle from this file, once.
    unsafe { take_back(sampler) }
}

/// Sets a schedule of the caller's own, in place of the options'; a NULL callback gives these their place back.
///
/// The factors stand on the step size and the temperature of chains, from the warm-up on (the steps before it, which
/// estimate the mass, have none), and on vi's rate, whose temperature factor must stay 1; a cyclical schedule's exploration is off meanwhile.
/// Errors: BNN_ERR_INVALID for ekf and laplace, which have no schedule, and with auto_step before sampling begins. The step that gets a factor
/// out of range fails so and is not made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_set_schedule(
    sampler: *mut bnn_sampler,
    callback: bnn_schedule_callback,
    user_data: *mut c_void,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: the handle is NULL or live.
        let s = unsafe { get(sampler, "sampler") }?;
        let i = &mut *lock(&s.inner, "sampler")?;
        i.machine.set_factors(callback.map(|_| ONES))?;
        i.schedule = ScheduleOf::new(callback, user_data);
        Ok(())
    })
}

/// What a schedule that changes nothing gives.
pub(super) const ONES: crate::samplers::Factors = crate::samplers::Factors {
    step_size: 1.0,
    temperature: 1.0,
};

/// What a step tells: written only when the step went well.
///
/// # Safety
/// Both are NULL or the caller's to write.
pub(super) unsafe fn told(
    phase: *mut i32,
    sample_due: *mut i32,
    step: impl FnOnce() -> Result<(i32, bool), Fail>,
) -> Result<(), Fail> {
    // SAFETY: the caller's promise.
    let (phase, due) = unsafe { (out(phase, "phase")?, out(sample_due, "sample_due")?) };
    let (next, is_due) = step()?;
    phase.write(next);
    due.write(is_due.into());
    Ok(())
}

/// One step on a batch of the corpus, which is a function of (seed, chain, step).
///
/// [out] phase: BNN_PHASE_… of the next step: normals are in BNN_PHASE_WARMUP until all steps are made; sample_due: 1 when the parameters are
/// now a sample to keep, else 0, as always with normals. Errors: BNN_ERR_INVALID when the run is done; BNN_ERR_NOT_FINITE with step and tensor
/// when it diverges; BNN_ERR_INTERRUPTED when the schedule's callback stopped it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_step(
    sampler: *mut bnn_sampler,
    phase: *mut i32,
    sample_due: *mut i32,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        unsafe {
            // The schedule's callback may free the handle: what the call uses is its own from here on.
            let inner = get(sampler, "sampler")?.inner.clone();
            told(phase, sample_due, || lock(&inner, "sampler")?.step(false))
        }
    })
}

/// One step on the caller's batch. [in] x, y: (B, T), batch_size * window tokens each; n: how many. Otherwise as bnn_sampler_step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_step_tokens(
    sampler: *mut bnn_sampler,
    x: *const u16,
    y: *const u16,
    n: usize,
    phase: *mut i32,
    sample_due: *mut i32,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let inner = get(sampler, "sampler")?.inner.clone();
            let (x, y) = (slice(x, n, "x")?, slice(y, n, "y")?);
            told(phase, sample_due, || {
                let i = &mut *lock(&inner, "sampler")?;
                if n != i.given.x.len() {
                    return Err(Error::shape("x and y", [i.given.b, i.given.t], [n]).into());
                }
                i.given.x.copy_from_slice(x);
                i.given.y.copy_from_slice(y);
                i.step(true)
            })
        }
    })
}

/// What the last step found.
///
/// [out] step: counted from 0, preconditioning included; log_lik: mean of the batch, nats; log_post: num_data * log_lik + log prior (ekf,
/// laplace: without the prior); kinetic, configurational: temperatures, NaN where there are none (while the mass is estimated, without momenta,
/// of normals); xi: the thermostat's friction after the step, NaN for a method without.
/// Errors: BNN_ERR_INVALID before the first step, also of a sampler that was loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_report(
    sampler: *const bnn_sampler,
    step: *mut u64,
    log_lik: *mut f64,
    log_post: *mut f64,
    kinetic: *mut f64,
    configurational: *mut f64,
    xi: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        unsafe {
            let sampler = get(sampler, "sampler")?;
            let (step, log_lik, log_post) = (
                out(step, "step")?,
                out(log_lik, "log_lik")?,
                out(log_post, "log_post")?,
            );
            let (kinetic, configurational, xi) = (
                out(kinetic, "kinetic")?,
                out(configurational, "configurational")?,
                out(xi, "xi")?,
            );
            let i = lock(&sampler.inner, "sampler")?;
            let r = i
                .last
                .ok_or_else(|| Error::invalid("report", "a step that was made", "none"))?;
            step.write(r.step);
            log_lik.write(r.log_lik);
            log_post.write(r.log_post);
            kinetic.write(r.kinetic);
            configurational.write(r.configurational);
            xi.write(r.xi);
        }
        Ok(())
    })
}

/// Copies the chain's parameters out, or the mean of the normals. [out] params: n floats, n = the model's n_params. Errors: BNN_ERR_SHAPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_get_params(
    sampler: *const bnn_sampler,
    params: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (sampler, to) = unsafe { (get(sampler, "sampler")?, slice_mut(params, n, "params")?) };
        let i = lock(&sampler.inner, "sampler")?;
        i.model.gpt.layout().check(to)?;
        to.copy_from_slice(i.machine.params());
        Ok(())
    })
}

/// A draw from the normals that ekf, vi or laplace have fitted so far, at any time.
///
/// [in] index: which draw of the seed: the same index gives the same draw. [out] params: n floats, n = the model's n_params.
/// Errors: BNN_ERR_INVALID for a chain, BNN_ERR_SHAPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_draw(
    sampler: *const bnn_sampler,
    index: u64,
    params: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, to) = unsafe { (get(sampler, "sampler")?, slice_mut(params, n, "params")?) };
        let i = &mut *lock(&s.inner, "sampler")?;
        i.model.gpt.layout().check(to)?;
        let mut drawn = i.model.cpu.zeros(n)?;
        i.machine.normals()?.draw(index, &mut drawn)?;
        to.copy_from_slice(&drawn);
        Ok(())
    })
}

/// The standard deviations of the normals that ekf, vi or laplace have fitted so far; the mean is bnn_sampler_get_params's.
///
/// [out] sd: n floats, n = the model's n_params. Errors: BNN_ERR_INVALID for a chain, BNN_ERR_SHAPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_get_sd(
    sampler: *const bnn_sampler,
    sd: *mut f32,
    n: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (s, to) = unsafe { (get(sampler, "sampler")?, slice_mut(sd, n, "sd")?) };
        let i = &mut *lock(&s.inner, "sampler")?;
        i.model.gpt.layout().check(to)?;
        to.copy_from_slice(&i.machine.normals()?.sd()?);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samplers::NormalMethod;

    /// 65000 characters of width 256 have 556 TB of pairs, more than a process has addresses.
    #[test]
    fn a_head_that_memory_does_not_hold_is_refused() {
        let mut config = NormalConfig::new(NormalMethod::Laplace, 1);
        head_fits(&config, [65_000, 256]).expect("a diagonal");
        config.laplace_structure = Structure::LastLayerKfac;
        head_fits(&config, [650, 256]).expect("factors");
        config.laplace_structure = Structure::LastLayerFull;
        head_fits(&config, [10, 8]).expect("a small one");
        for head in [[65_000, 256], [usize::MAX, 1]] {
            let e = head_fits(&config, head).expect_err("too large");
            assert!(e.to_string().contains("laplace_structure"), "{e}");
        }
    }
}
