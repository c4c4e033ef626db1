//! A session stepped to its end: samples into a store as they fall due, and a checkpoint every so many steps.

use super::{Session, StepReport};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::memory;
use crate::store::{Store, keep_generation};
use std::path::Path;

/// Who sees a session being driven, and may end it. All methods do nothing by default.
pub trait Passenger<B: Backend + 'static> {
    /// Called before each step.
    ///
    /// # Errors
    /// [`Error::Interrupted`] ends the drive once the state is saved; another error ends it as it is.
    fn before(&mut self, _: &mut Session<B>) -> Result<()> {
        Ok(())
    }

    /// Called after each step, before its sample is stored and the state saved.
    ///
    /// # Errors
    /// An error ends the drive as it is: the step is then lost.
    fn after(&mut self, _: &mut Session<B>, _: &StepReport) -> Result<()> {
        Ok(())
    }

    /// Called when a checkpoint is written.
    ///
    /// # Errors
    /// An error ends the drive.
    fn saved(&mut self, _: &Session<B>) -> Result<()> {
        Ok(())
    }
}

impl<B: Backend + 'static> Passenger<B> for () {}

/// Steps a session to its end, and returns how many samples fell due, those among them that were stored already.
///
/// Each sample that falls due is appended to the store, whose files then name the session's target; one that is there from before must be the same. The checkpoint at `path` is written after every
/// `every` steps (0: none but the last) and after the last one, with the one before it kept beside it ([`previous`](crate::store::previous)): a session that
/// was killed is [`Session::resume`]d from there and driven on, bit for bit.
///
/// # Errors
/// Returns the errors of [`Session::step`], [`Store::append`] and [`Session::save`], and of the passenger; [`Error::Conflict`] when the store has another
/// sample in a sample's place.
pub fn drive<B: Backend + 'static>(
    session: &mut Session<B>,
    mut store: Option<&mut Store>,
    (path, every): (&Path, u64),
    passenger: &mut impl Passenger<B>,
) -> Result<usize> {
    let (chain, total) = (session.inference().chain(), session.total_steps());
    let (mut params, mut drawn) = (Vec::new(), 0);
    if let Some(store) = store.as_deref_mut() {
        store.set_target(session.identity()?)?;
    }
    while session.steps_made() < total {
        if let Err(e) = passenger.before(session) {
            if matches!(e, Error::Interrupted) {
                save(session, path, passenger)?;
            }
            return Err(e);
        }
        let report = session.step()?;
        passenger.after(session, &report)?;
        let made = session.steps_made();
        if report.sample_due {
            drawn += 1;
            if let Some(store) = store.as_deref_mut() {
                memory::resize(&mut params, session.parameters(), 0.0, "a sample")?;
                session.read_params(&mut params)?;
                let appended = store.append(chain, made, &params);
                appended.map_err(drawn_otherwise)?;
            }
        }
        if made == total || (every > 0 && made.is_multiple_of(every)) {
            save(session, path, passenger)?;
        }
    }
    Ok(drawn)
}

fn save<B: Backend + 'static>(
    session: &mut Session<B>,
    path: &Path,
    passenger: &mut impl Passenger<B>,
) -> Result<()> {
    keep_generation(path)?;
    session.save(path)?;
    passenger.saved(session)
}

/// Says what it means that a stored sample is not the one that the chain has drawn.
fn drawn_otherwise(e: Error) -> Error {
    match e {
        Error::Mismatch { path, what, .. } if what.contains("parameters") => {
            Error::conflict(format!(
                "{} holds another sample than this chain has drawn at that step: was the run begun on another processor, or with another BNN_ISA? \
                 Go on with that one, or move the chain's samples from that step on out of the folder",
                path.display()
            ))
        }
        e => e,
    }
}
