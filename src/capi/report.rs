//! bnn_report: a result as named rows. What can be asked of a result is data, so a new number breaks no program.

use super::guard::guard;
use super::pointer::{Handle, get, give, hand_out, lock, out, take_back, text};
use super::status::{Fail, bnn_error, bnn_status};
use crate::error::Error;
use crate::inference::{Report, ReportValue};
use std::ffi::c_char;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};

/// A row that holds a double.
pub const BNN_TYPE_F64: i32 = 0;
/// A row that holds an unsigned integer.
pub const BNN_TYPE_U64: i32 = 1;
/// A row that holds text.
pub const BNN_TYPE_STR: i32 = 2;
/// A row that holds a series of doubles.
pub const BNN_TYPE_F64S: i32 = 3;

/// The rows of one result. One thread at a time. A call that gives a result replaces the rows that are there, so one report serves many calls.
pub struct bnn_report {
    inner: Arc<Mutex<Report>>,
}

impl Handle for bnn_report {
    const NAME: &str = "bnn_report";
}

/// A report that a call fills. It stays until the call ends, whatever a callback frees.
pub(super) struct Held {
    // Dropped before what it locks, since fields are dropped in their order.
    rows: MutexGuard<'static, Report>,
    _report: Arc<Mutex<Report>>,
}

impl Deref for Held {
    type Target = Report;

    fn deref(&self) -> &Report {
        &self.rows
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Report {
        &mut self.rows
    }
}

/// Returns the report that a call is to fill, held before the call does anything else.
///
/// # Safety
/// `report` is NULL or live.
pub(super) unsafe fn report_of(report: *mut bnn_report) -> Result<Held, Fail> {
    // SAFETY: the caller says that `report` is NULL or live.
    let report = unsafe { get(report, "report") }?.inner.clone();
    let rows: *const Mutex<Report> = Arc::as_ptr(&report);
    // SAFETY: the mutex stays where it is as long as `report` keeps it, which is dropped after the guard.
    let rows = lock(unsafe { &*rows }, "report")?;
    Ok(Held {
        rows,
        _report: report,
    })
}

/// Makes a report without rows. [out] report: to be freed with bnn_report_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_report_new(
    report: *mut *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let inner = Arc::new(Mutex::new(Report::new()));
        // SAFETY: `report` is NULL or the caller's to write.
        unsafe { hand_out(report, bnn_report { inner }, "report") }
    })
}

/// Frees a report; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_report_free(report: *mut bnn_report) {
    // SAFETY: the caller passes NULL or a handle from bnn_report_new, once.
    unsafe { take_back(report) }
}

/// Counts the rows. [out] count.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_report_count(
    report: *const bnn_report,
    count: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (r, count) = unsafe { (get(report, "report")?, out(count, "count")?) };
        count.write(lock(&r.inner, "report")?.rows().len());
        Ok(())
    })
}

/// Gives the name of a row.
///
/// [in] index: below bnn_report_count. [out] name: UTF-8 without NUL, capacity bytes; needed: its bytes. Errors: BNN_ERR_INVALID for the
/// index, BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_report_name(
    report: *const bnn_report,
    index: usize,
    name: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let report = lock(&get(report, "report")?.inner, "report")?;
            let n = report.rows().len();
            let row = report.rows().get(index);
            let row =
                row.ok_or_else(|| Error::out_of_range("index", format!("below {n}"), index))?;
            give(row.name.as_bytes(), name.cast(), capacity, needed)
        }
    })
}

/// Says what a row holds and what it means.
///
/// [in] name: UTF-8, name_len bytes. [out] type: BNN_TYPE_…; meaning: with the unit, UTF-8 without NUL, capacity bytes; needed: its bytes.
/// Errors: BNN_ERR_INVALID for an unknown name, with the nearest one; BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_report_describe(
    report: *const bnn_report,
    name: *const c_char,
    name_len: usize,
    r#type: *mut i32,
    meaning: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let kind = out(r#type, "type")?;
            let report = lock(&get(report, "report")?.inner, "report")?;
            let row = report.get(text(name, name_len, "name")?)?;
            give(row.meaning.as_bytes(), meaning.cast(), capacity, needed)?;
            kind.write(match row.value {
                ReportValue::F64(_) => BNN_TYPE_F64,
                ReportValue::U64(_) => BNN_TYPE_U64,
                ReportValue::Str(_) => BNN_TYPE_STR,
                ReportValue::F64s(_) => BNN_TYPE_F64S,
            });
        }
        Ok(())
    })
}

/// Gets a number; a count is one too.
///
/// [in] name: UTF-8, name_len bytes. [out] value: NaN for what is not known. Errors: BNN_ERR_INVALID for an unknown name, with the nearest
/// one, and for a row of another type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_report_get_f64(
    report: *const bnn_report,
    name: *const c_char,
    name_len: usize,
    value: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let (r, value) = (get(report, "report")?, out(value, "value")?);
            let name = text(name, name_len, "name")?;
            value.write(lock(&r.inner, "report")?.f64(name)?);
        }
        Ok(())
    })
}

/// Gets a count; name and errors are those of bnn_report_get_f64. [out] value: 0 and 1 where it means no and yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_report_get_u64(
    report: *const bnn_report,
    name: *const c_char,
    name_len: usize,
    value: *mut u64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let (r, value) = (get(report, "report")?, out(value, "value")?);
            let name = text(name, name_len, "name")?;
            value.write(lock(&r.inner, "report")?.u64(name)?);
        }
        Ok(())
    })
}

/// Gets text; name and errors are those of bnn_report_get_f64. [out] chars: UTF-8 without NUL, capacity bytes; needed: its bytes. Errors: BNN_ERR_TOO_SMALL too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_report_get_str(
    report: *const bnn_report,
    name: *const c_char,
    name_len: usize,
    chars: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let report = lock(&get(report, "report")?.inner, "report")?;
            let value = report.str(text(name, name_len, "name")?)?;
            give(value.as_bytes(), chars.cast(), capacity, needed)
        }
    })
}

/// Gets a series of numbers; name and errors are those of bnn_report_get_f64. [out] values: capacity doubles; needed: how many there are. Errors: BNN_ERR_TOO_SMALL too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_report_get_f64s(
    report: *const bnn_report,
    name: *const c_char,
    name_len: usize,
    values: *mut f64,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let report = lock(&get(report, "report")?.inner, "report")?;
            let series = report.f64s(text(name, name_len, "name")?)?;
            give(series, values, capacity, needed)
        }
    })
}
