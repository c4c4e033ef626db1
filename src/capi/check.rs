//! Whether samples and checkpoints are whole, and what lets a chain go on from what is left of them.

use super::guard::guard;
use super::pointer::{get, lock, text};
use super::report::{bnn_report, report_of};
use super::sampler::bnn_sampler;
use super::status::{Fail, bnn_error, bnn_status};
use super::store::bnn_store;
use crate::inference::{CheckpointCheck, Report};
use crate::store::{SampleId, StoreCheck};
use std::ffi::c_char;
use std::path::{Path, PathBuf};

/// Reads every sample in a folder whole, also where bnn_store_open refuses the folder, and mends what can be mended.
///
/// [in] path: the folder, UTF-8, path_len bytes; repair: 0 changes nothing; else damaged samples are moved to the folder `damaged` beside it, with a
/// number where their name is taken there, and what killed processes left of unfinished samples is taken away: no other process may write the samples
/// meanwhile. [out] report: whole: 1 when every sample was read and none is damaged, after the repair, also where there is none; samples: that are whole;
/// damaged, unreadable, foreign, leftovers: how many files of each there are, foreign ones being no samples and passed over; message: what is wrong with
/// samples, a line each; repaired: what was done, a line each. Whether the samples belong together, bnn_store_open says, and which are missing,
/// bnn_sampler_missing. Errors: BNN_ERR_IO, also where there is no such folder; BNN_ERR_INVALID for a repair while the system refuses to read a sample,
/// which says nothing of damage: nothing was changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_check_samples(
    path: *const c_char,
    path_len: usize,
    repair: i32,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: `path` is path_len bytes of the caller's, `report` is NULL or live.
        unsafe {
            check(report, text(path, path_len, "path")?, repair, |path, to| {
                let before = StoreCheck::of(path)?;
                let Some(to) = to else {
                    return Ok((before.report(), Vec::new()));
                };
                let done = before.repair(path, to)?;
                Ok((StoreCheck::of(path)?.report(), done))
            })
        }
    })
}

/// Reads what bnn_sampler_save wrote whole, with its trace, also where bnn_sampler_load refuses it, and lets a chain go on from what is left.
///
/// A generation before it counts too, where there is one: `x.previous.bnn` beside `x.bnn`, as the command keeps it. [in] path: UTF-8, path_len bytes;
/// repair: 0 changes nothing; else what is damaged is moved to the folder `damaged` beside the file, and the generation before takes its place. So it does
/// for a file that is whole but whose trace is not, where its own trace is; where neither is, the chain goes on without the series of the steps that it has
/// made, and the file that named them is kept in `damaged`. No other process may write the files meanwhile. [out] report: whole: 1 when a chain can go on
/// and nothing is damaged or missing, after the repair; can_go_on; steps that the newest whole file holds; damaged, without_trace, unreadable: how many
/// files, at most 2; leftovers of killed processes, which a repair takes away; message: what is wrong, a line for each file; repaired: what was done, a
/// line each. Where there is no file, nothing is whole, and that is no error. Errors: those of bnn_check_samples; BNN_ERR_MISMATCH for a sample or a
/// baseline and BNN_ERR_BAD_MAGIC for what is no file of bnn's: nothing was changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_check_checkpoint(
    path: *const c_char,
    path_len: usize,
    repair: i32,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: `path` is path_len bytes of the caller's, `report` is NULL or live.
        unsafe {
            check(report, text(path, path_len, "path")?, repair, |path, to| {
                CheckpointCheck::expect_checkpoint(path)?;
                let done = to.map_or(Ok(Vec::new()), |to| CheckpointCheck::repair(path, to))?;
                Ok((CheckpointCheck::of(path)?.report(), done))
            })
        }
    })
}

/// Says which samples a chain has taken by now that a store does not hold: whoever goes on with both asks this first, so that no hole stays unseen.
///
/// [in] sampler: made or loaded, of the store's model and settings; store, as it was opened and appended to since. [out] report: missing: how many; first:
/// the file name of the first, empty when none is missing. Samples that the store has from later steps than the sampler's are no holes: they are drawn again,
/// and bnn_store_append compares them. None is missing of ekf, vi, laplace, swag, ivon, ema and snapshots, whose samples are drawn at the end. Errors: BNN_ERR_SHAPE for a sampler of
/// another number of parameters, BNN_ERR_MISMATCH for another seed (other settings are not compared); BNN_ERR_INVALID for more than a million, which no
/// chain has lost: its file was forged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_missing(
    sampler: *const bnn_sampler,
    store: *const bnn_store,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or live handles.
        let (mut to, s, store) = unsafe {
            (
                report_of(report)?,
                get(sampler, "sampler")?,
                get(store, "store")?,
            )
        };
        let (s, store) = (lock(&s.inner, "sampler")?, lock(&store.inner, "store")?);
        let (made, inference) = (s.session.steps_made(), s.session.inference());
        store.expect_chain(s.session.parameters(), inference.seed())?;
        let missing = inference.missing(inference.chain(), made, store.ids())?;
        let first = missing.first().map(SampleId::file_name);
        *to = Report::new()
            .row("missing", missing.len(), "samples that are not there")
            .row(
                "first",
                first.unwrap_or_default(),
                "the file name of the first, empty when none is missing",
            );
        Ok(())
    })
}

/// Fills a report with what a check finds and does; it gets the path, and where damaged files go when it is to repair.
///
/// # Safety
/// `report` is NULL or live.
unsafe fn check(
    report: *mut bnn_report,
    path: &str,
    repair: i32,
    look: impl FnOnce(&Path, Option<&Path>) -> crate::Result<(Report, Vec<String>)>,
) -> Result<(), Fail> {
    // SAFETY: the caller says that `report` is NULL or live.
    let mut to = unsafe { report_of(report) }?;
    let path = Path::new(path);
    // A folder may be named by dots, which have nothing beside them.
    let named = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let damaged: PathBuf = named.with_file_name("damaged");
    let (found, done) = look(path, (repair != 0).then_some(&*damaged))?;
    *to = found.row("repaired", done.join("\n"), "what was done, a line each");
    Ok(())
}
