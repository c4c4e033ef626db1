//! A sampler stepped to its end in one call: samples stored as they fall due, its state kept in a file.

use super::guard::guard;
use super::pointer::{get, lock, out, text};
use super::progress::{Watched, bnn_progress_callback};
use super::sampler::{Inner, bnn_sampler};
use super::schedule::ScheduleOf;
use super::status::{bnn_error, bnn_status};
use super::store::bnn_store;
use crate::backend::Device;
use crate::error::Result;
use crate::inference::{Passenger, Session, drive};
use std::ffi::{c_char, c_void};
use std::path::Path;

/// Asks the caller before each step.
struct Asked<'a> {
    schedule: &'a ScheduleOf,
    watched: Watched,
}

impl Passenger<Device> for Asked<'_> {
    fn before(&mut self, session: &mut Session<Device>) -> Result<()> {
        let made = session.steps_made();
        self.watched
            .at(usize::try_from(made).unwrap_or(usize::MAX))?;
        match self.schedule.is_set() {
            true => session.set_factors(self.schedule.at(made)?),
            false => Ok(()),
        }
    }
}

/// Makes all steps of a sampler that are left, on batches of its corpus, as bnn_sampler_step makes them one by one. Each sample that falls due is stored, and the
/// state is written to a file now and then and after the last step, with the one before it kept beside (x.bnn as x.previous.bnn): what was killed or ended by
/// the callback goes on from there with bnn_sampler_load and this call, bit for bit.
///
/// [in] store: where samples go, which must be of the sampler's model; NULL keeps none; path: of the file, UTF-8, path_len bytes; every: steps between two
/// writings of the state, 0 for none but the last; callback: NULL or called before each step with the steps that are made and all there are. [out] drawn: how
/// many samples fell due, those among them that were stored already. Errors: those of bnn_sampler_step, bnn_store_append and bnn_sampler_save; BNN_ERR_INVALID
/// where the store has another sample in a sample's place; BNN_ERR_INTERRUPTED when the callback or the schedule's ended it: the state is then in the file.
/// Where every step is made already, nothing is done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_run(
    sampler: *mut bnn_sampler,
    store: *mut bnn_store,
    path: *const c_char,
    path_len: usize,
    every: u64,
    callback: bnn_progress_callback,
    user_data: *mut c_void,
    drawn: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            // The callback may free the handles: what the call uses is its own from here on.
            let inner = get(sampler, "sampler")?.inner.clone();
            let store = match store.is_null() {
                true => None,
                false => Some(get(store, "store")?.inner.clone()),
            };
            let path = text(path, path_len, "path")?.to_owned();
            let drawn = out(drawn, "drawn")?;
            let inner = &mut *lock(&inner, "sampler")?;
            let mut store = match &store {
                Some(store) => Some(lock(store, "store")?),
                None => None,
            };
            let Inner {
                session, schedule, ..
            } = inner;
            let total = usize::try_from(session.total_steps()).unwrap_or(usize::MAX);
            let mut asked = Asked {
                schedule,
                watched: Watched::new(callback, user_data, total),
            };
            let place = (Path::new(&path), every);
            let n = drive(session, store.as_deref_mut(), place, &mut asked)?;
            drawn.write(n);
        }
        Ok(())
    })
}
