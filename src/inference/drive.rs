//! A session stepped to its end: samples into a store as they fall due, and a checkpoint every so many steps.

use super::{Session, StepReport};
use crate::backend::Backend;
use crate::disk;
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
/// What a refused write has left out is made up for by the next drive of the session. Returns the errors of [`Session::step`], [`Store::append`] and [`Session::save`], and of the passenger; [`Error::Conflict`] when the store has another
/// sample in a sample's place.
pub fn drive<B: Backend + 'static>(
    session: &mut Session<B>,
    mut store: Option<&mut Store>,
    (path, every): (&Path, u64),
    passenger: &mut impl Passenger<B>,
) -> Result<usize> {
    let total = session.total_steps();
    let (mut params, mut drawn) = (Vec::new(), 0);
    check_place(path)?;
    if let Some(store) = store.as_deref_mut() {
        store.expect_chain(session.parameters(), session.inference().seed())?;
        store.set_target(session.identity()?)?;
        drawn += pay(session, store, &mut params)?;
    }
    // Of a session that is done, the file may have been refused.
    if session.steps_made() == total && !disk::exists(path).map_err(Error::io(path))? {
        save(session, path, passenger)?;
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
                append(session, store, &mut params)?;
            }
        }
        if made == total || (every > 0 && made.is_multiple_of(every)) {
            save(session, path, passenger)?;
        }
    }
    Ok(drawn)
}

/// Stores the sample that a session is at, where it is one that a refused write has left out; returns how many that are.
fn pay<B: Backend + 'static>(
    session: &Session<B>,
    store: &mut Store,
    params: &mut Vec<f32>,
) -> Result<usize> {
    let (inference, made) = (session.inference(), session.steps_made());
    let missing = inference.missing(inference.chain(), made, store.ids())?;
    if missing.last().is_none_or(|id| id.step != made) {
        return Ok(0);
    }
    append(session, store, params).map(|()| 1)
}

/// Appends a session's parameters to a store.
fn append<B: Backend + 'static>(
    session: &Session<B>,
    store: &mut Store,
    params: &mut Vec<f32>,
) -> Result<()> {
    memory::resize(params, session.parameters(), 0.0, "a sample")?;
    session.read_params(params)?;
    let appended = store.append(session.inference().chain(), session.steps_made(), params);
    appended.map_err(drawn_otherwise)
}

/// Refuses a path that no file can be written at, before any step is made for it.
fn check_place(path: &Path) -> Result<()> {
    let folder = disk::folder_of(path);
    match (path.file_name(), disk::metadata(folder)) {
        (None, _) => {
            let got = path.display();
            Err(Error::out_of_range("path", "the path of a file", got))
        }
        (_, Ok(m)) if m.is_dir() => Ok(()),
        (_, Ok(_)) => Err(Error::data(
            folder.display().to_string(),
            "expected a folder",
        )),
        (_, Err(e)) => Err(Error::io(folder)(e)),
    }
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
                "{} holds another sample than this chain has drawn at that step: was it drawn by another chain of that number, on another processor, or with another BNN_ISA? \
                 Go on with that one, or move the chain's samples from that step on out of the folder",
                path.display()
            ))
        }
        e => e,
    }
}
