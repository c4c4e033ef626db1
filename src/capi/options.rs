//! bnn_options: the settings by name, as the table of settings has them.

use super::guard::guard;
use super::pointer::{Handle, get, give, hand_out, lock, out, take_back, text};
use super::report::{bnn_report, report_of};
use super::status::{Fail, bnn_error, bnn_status};
use crate::error::{Error, Result};
use crate::gpt::GptConfig;
use crate::inference::Report;
use crate::settings::{
    Case, Given, Kind, Preset, Reader, Row, Settings, TABLE, TargetKind, Value, default_text, row,
};
use std::ffi::c_char;
use std::sync::Mutex;

/// Settings by name. One thread at a time. Copied by what is made with them, so they may be freed or changed at once.
pub struct bnn_options {
    inner: Mutex<Given>,
}

impl Handle for bnn_options {
    const NAME: &str = "bnn_options";
}

/// Returns the settings that some object of the library reads.
fn rows() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(|row| is_offered(row))
}

fn is_offered(row: &Row) -> bool {
    row.readers.iter().any(|reader| reader.is_object())
}

fn known(name: &str) -> Result<&'static Row> {
    row("option", name, is_offered)
}

/// Returns the type of an option's values in C.
fn type_of(row: &Row) -> &'static str {
    match row.kind {
        Kind::F64 => "f64",
        Kind::U64 | Kind::Bool => "u64",
        Kind::Text | Kind::Path | Kind::List => "str",
    }
}

/// Returns a value in the form that C has: a switch is 0 or 1.
fn in_c(value: Value) -> Value {
    match value {
        Value::Bool(v) => Value::U64(u64::from(v)),
        other => other,
    }
}

/// Returns the form that the table has of a value from C.
fn from_c(row: &Row, name: &str, value: Value) -> Result<Value> {
    match (row.kind, value) {
        (Kind::Bool, Value::U64(v @ 0..=1)) => Ok(Value::Bool(v == 1)),
        (Kind::Bool, value) => Err(Error::out_of_range(name, "0 or 1", value)),
        (_, value) => Ok(value),
    }
}

/// Every value, from what was set and the defaults.
pub(super) struct Set {
    given: Given,
    settings: Settings,
}

impl std::ops::Deref for Set {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl Set {
    /// Returns the settings of a GPT and what is made around it; NULL is all defaults.
    ///
    /// # Safety
    /// `p` is NULL or a live handle.
    pub unsafe fn from(p: *const bnn_options) -> std::result::Result<Self, Fail> {
        // SAFETY: the caller says that `p` is NULL or a live handle.
        unsafe { Self::defaulted(p, TargetKind::Gpt) }
    }

    /// Returns the settings of a sampler of the caller's own log posterior; NULL is all defaults.
    ///
    /// # Safety
    /// `p` is NULL or a live handle.
    pub unsafe fn of_own(p: *const bnn_options) -> std::result::Result<Self, Fail> {
        // SAFETY: the caller says that `p` is NULL or a live handle.
        unsafe { Self::defaulted(p, TargetKind::Own) }
    }

    /// Returns the settings of a target, with its defaults; NULL is all defaults.
    ///
    /// # Safety
    /// `p` is NULL or a live handle.
    unsafe fn defaulted(
        p: *const bnn_options,
        target: TargetKind,
    ) -> std::result::Result<Self, Fail> {
        let mut given = match p.is_null() {
            // SAFETY: the caller says that `p` is a live handle.
            false => lock(&unsafe { get(p, "options") }?.inner, "options")?.clone(),
            true => Given::default(),
        };
        let method = given.case(target).sampler.chain();
        if method.is_some_and(|m| !m.has_momenta()) {
            // One set of options may serve for several methods.
            given.momentum = None;
        }
        let settings = given.clone().defaulted(target);
        Ok(Self { given, settings })
    }

    /// Returns (B, T) of a batch of the baseline's training.
    pub fn training_batch(&self, c: &GptConfig) -> Result<(usize, usize)> {
        let b = self.baseline_batch_size.unwrap_or(self.batch_size);
        Ok((b, self.window(c)?))
    }

    /// Returns what was set, as JSON.
    pub fn json(&self) -> String {
        self.given.json()
    }
}

/// Makes options, all at their defaults. [out] options: to be freed with bnn_options_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_new(
    options: *mut *mut bnn_options,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let inner = Mutex::new(Given::default());
        // SAFETY: `options` is NULL or the caller's to write.
        unsafe { hand_out(options, bnn_options { inner }, "options") }
    })
}

/// Frees options; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_free(options: *mut bnn_options) {
    // SAFETY: the caller passes NULL or a handle from bnn_options_new, once.
    unsafe { take_back(options) }
}

/// Sets an option to a value of a type that C has.
///
/// # Safety
/// `options` is NULL or a live handle, `name` NULL or name_len bytes.
unsafe fn set(
    options: *mut bnn_options,
    name: *const c_char,
    name_len: usize,
    value: Value,
) -> std::result::Result<(), Fail> {
    // SAFETY: both are NULL or the caller's live objects.
    let (o, name) = unsafe { (get(options, "options")?, text(name, name_len, "name")?) };
    let row = known(name)?;
    let came = match value {
        Value::F64(_) => "f64",
        Value::U64(_) | Value::Bool(_) => "u64",
        Value::Text(_) | Value::List(_) => "str",
    };
    if came != type_of(row) {
        return Err(wrong_setter(row, name));
    }
    let value = from_c(row, name, value)?;
    row.set_as(name, &mut *lock(&o.inner, "options")?, &value)?;
    Ok(())
}

/// Sets an option that takes a double. [in] name: UTF-8, name_len bytes.
///
/// Errors: BNN_ERR_INVALID for an unknown name, another type, or a value out of the option's range; the option is then as before. What
/// depends on several options is checked where they are used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_set_f64(
    options: *mut bnn_options,
    name: *const c_char,
    name_len: usize,
    value: f64,
    err: *mut bnn_error,
) -> bnn_status {
    // SAFETY: passed on as the caller gave it.
    guard(err, || unsafe {
        set(options, name, name_len, Value::F64(value))
    })
}

/// Sets an option that takes an unsigned integer; a switch takes 0 or 1. Name and errors are those of bnn_options_set_f64.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_set_u64(
    options: *mut bnn_options,
    name: *const c_char,
    name_len: usize,
    value: u64,
    err: *mut bnn_error,
) -> bnn_status {
    // SAFETY: passed on as the caller gave it.
    guard(err, || unsafe {
        set(options, name, name_len, Value::U64(value))
    })
}

/// Sets an option that takes a word: UTF-8, value_len bytes. Name and errors are those of bnn_options_set_f64.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_set_str(
    options: *mut bnn_options,
    name: *const c_char,
    name_len: usize,
    value: *const c_char,
    value_len: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: `value` is NULL or value_len bytes of the caller's; the rest is passed on as it came.
        unsafe {
            let value = Value::Text(text(value, value_len, "value")?.to_owned());
            set(options, name, name_len, value)
        }
    })
}

/// Sets an option of any type from text, as a flag or a file of settings has it: a number in decimal, true or false (1 or 0) for a switch, a word. [in] value:
/// UTF-8, value_len bytes. Name and errors are those of bnn_options_set_f64.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_set_text(
    options: *mut bnn_options,
    name: *const c_char,
    name_len: usize,
    value: *const c_char,
    value_len: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        let (o, name, value) = unsafe {
            let name = text(name, name_len, "name")?;
            (
                get(options, "options")?,
                name,
                text(value, value_len, "value")?,
            )
        };
        let row = known(name)?;
        let value = match (row.kind, value) {
            (Kind::Bool, "0") => Value::Bool(false),
            (Kind::Bool, "1") => Value::Bool(true),
            (_, text) => row.parse(text)?,
        };
        row.set_as(name, &mut *lock(&o.inner, "options")?, &value)?;
        Ok(())
    })
}

/// Makes options that are set as these are now. [out] copy: to be freed with bnn_options_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_copy(
    options: *const bnn_options,
    copy: *mut *mut bnn_options,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: the handle is NULL or live.
        let o = unsafe { get(options, "options") }?;
        let inner = Mutex::new(lock(&o.inner, "options")?.clone());
        // SAFETY: `copy` is NULL or the caller's to write.
        unsafe { hand_out(copy, bnn_options { inner }, "copy") }
    })
}

/// Lists the options that are set and that an object does not read, or that have no effect on it beside the others.
///
/// [in] reader: UTF-8, reader_len bytes, one of model, trainer, sampler, gradient sampler, store and generator: the `readers` of bnn_options_describe. [out]
/// report: a row per such option, its name with what it is set to, and in the meaning why it is not read. Errors: BNN_ERR_INVALID for another reader.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_unread(
    options: *const bnn_options,
    reader: *const c_char,
    reader_len: usize,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        let (o, reader, mut report) = unsafe {
            let reader = text(reader, reader_len, "reader")?;
            (get(options, "options")?, reader, report_of(report)?)
        };
        let reader = Reader::object(reader)?;
        let unread = lock(&o.inner, "options")?.unread_by(reader);
        let rows = unread.into_iter();
        *report = rows.fold(Report::new(), |all, u| {
            all.row(u.name, in_c(u.value).to_string(), u.reason)
        });
        Ok(())
    })
}

/// Puts an option back to its default. [in] name: UTF-8, name_len bytes. Errors: BNN_ERR_INVALID for an unknown name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_unset(
    options: *mut bnn_options,
    name: *const c_char,
    name_len: usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: both are NULL or the caller's live objects.
        let (o, name) = unsafe { (get(options, "options")?, text(name, name_len, "name")?) };
        known(name)?.unset(&mut *lock(&o.inner, "options")?);
        Ok(())
    })
}

/// Returns the value that an option has: what was set, or the default beside the others that are set.
///
/// # Safety
/// `options` is NULL or a live handle, `name` NULL or name_len bytes.
unsafe fn value(
    options: *const bnn_options,
    name: *const c_char,
    name_len: usize,
) -> std::result::Result<(&'static Row, Value), Fail> {
    // SAFETY: the caller says that `options` is NULL or a live handle, and `name` NULL or name_len bytes.
    let (o, name) = unsafe { (get(options, "options")?, text(name, name_len, "name")?) };
    let row = known(name)?;
    let settings = lock(&o.inner, "options")?
        .clone()
        .defaulted(TargetKind::Gpt);
    let none = || {
        Error::conflict(format!(
            "{name} has no value: it is not set, and it has no default"
        ))
    };
    Ok((row, in_c(row.value(&settings).ok_or_else(none)?)))
}

/// Returns what an option's values are, in words.
fn kind_of(row: &Row) -> &'static str {
    match row.kind {
        Kind::F64 => "a real number",
        Kind::U64 => "a whole number",
        Kind::Bool => "a switch, 0 or 1",
        Kind::Text | Kind::List => "a word",
        Kind::Path => "a path",
    }
}

fn wrong_setter(row: &Row, name: &str) -> Fail {
    let (is, t) = (kind_of(row), type_of(row));
    Error::conflict(format!("{name} is {is}: bnn_options_set_{t} sets it")).into()
}

fn other_type(row: &Row) -> Fail {
    let (name, is, t) = (row.name, kind_of(row), type_of(row));
    Error::conflict(format!("{name} is {is}: bnn_options_get_{t} reads it")).into()
}

/// Reads an option back: what was set, or the default that it has beside the other options, for a sampler of a GPT's posterior.
///
/// [in] name: UTF-8, name_len bytes. [out] value. Errors: BNN_ERR_INVALID for an unknown name, another type, or an option without a value:
/// one that is not set and whose default depends on where it is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_get_f64(
    options: *const bnn_options,
    name: *const c_char,
    name_len: usize,
    value: *mut f64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: `options` is NULL or a live handle, `name` NULL or name_len bytes of the caller's.
        match unsafe { self::value(options, name, name_len) }? {
            // SAFETY: `value` is NULL or the caller's to write.
            (_, Value::F64(v)) => unsafe { out(value, "value") }?.write(v),
            (row, _) => return Err(other_type(row)),
        }
        Ok(())
    })
}

/// Reads back an option that takes an unsigned integer; arguments and errors are those of bnn_options_get_f64.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_get_u64(
    options: *const bnn_options,
    name: *const c_char,
    name_len: usize,
    value: *mut u64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: `options` is NULL or a live handle, `name` NULL or name_len bytes of the caller's.
        match unsafe { self::value(options, name, name_len) }? {
            // SAFETY: `value` is NULL or the caller's to write.
            (_, Value::U64(v)) => unsafe { out(value, "value") }?.write(v),
            (row, _) => return Err(other_type(row)),
        }
        Ok(())
    })
}

/// Reads back an option that takes a word; options, name and errors are those of bnn_options_get_f64.
///
/// [out] value: UTF-8 without NUL, capacity bytes; needed: its bytes. Errors besides: BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_get_str(
    options: *const bnn_options,
    name: *const c_char,
    name_len: usize,
    value: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: `options` is NULL or a live handle, `name` NULL or name_len bytes of the caller's.
        match unsafe { self::value(options, name, name_len) }? {
            // SAFETY: `value` is NULL or the caller's to write, capacity bytes of it, and `needed` too.
            (_, Value::Text(v)) => unsafe { give(v.as_bytes(), value.cast(), capacity, needed) },
            (row, _) => Err(other_type(row)),
        }
    })
}

/// Returns how many options there are. Never fails.
#[unsafe(no_mangle)]
pub extern "C" fn bnn_options_count() -> usize {
    rows().count()
}

/// What can be asked of an option.
const FIELDS: [&str; 12] = [
    "name", "aliases", "type", "default", "defaults", "range", "min", "max", "words", "group",
    "readers", "help",
];

fn field(row: &Row, field: &str) -> Result<String> {
    let bound = |bound: Option<(f64, bool)>| bound.map_or(String::new(), |(v, _)| v.to_string());
    Ok(match field {
        "name" => row.name.into(),
        "aliases" => row.aliases.join(", "),
        "type" => type_of(row).into(),
        "default" => row
            .default(&Case::usual())
            .map_or(String::new(), |v| in_c(v).to_string()),
        "defaults" => default_text(row, Preset::Default),
        "range" if row.kind == Kind::Bool => "0 or 1".into(),
        "range" => row.expected(),
        "min" if row.kind == Kind::Bool => "0".into(),
        "max" if row.kind == Kind::Bool => "1".into(),
        "min" => bound(row.range.low()),
        "max" => bound(row.range.high()),
        "words" => row.words().join(", "),
        "group" => row.group.title().into(),
        "readers" => {
            let objects = row.readers.iter().filter(|reader| reader.is_object());
            let names: Vec<_> = objects.map(|reader| reader.name()).collect();
            names.join(", ")
        }
        "help" => row.help.trim().into(),
        other => return Err(Error::unknown("field", other, FIELDS)),
    })
}

/// Gives one thing about one option, as text.
///
/// [in] index: below bnn_options_count(); field: UTF-8, field_len bytes, one of name; aliases (other names that are taken); type (f64, u64 or
/// str); default (as the set functions take it; empty where it depends on the place of use); defaults (with the methods, shapes and targets that have
/// another one); range (in words); min and max (empty where there is none; `range` says whether the bound itself is allowed); words (that a str may be);
/// group; readers (the objects that read it); help. Lists are separated by ", ". [out] text: UTF-8 without NUL, capacity bytes; needed: its bytes.
/// Errors: BNN_ERR_INVALID for the index or the field, BNN_ERR_TOO_SMALL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_options_describe(
    index: usize,
    field: *const c_char,
    field_len: usize,
    text: *mut c_char,
    capacity: usize,
    needed: *mut usize,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let count = rows().count();
        let bad = || Error::out_of_range("index", format!("below {count}"), index);
        let row = rows().nth(index).ok_or_else(bad)?;
        // SAFETY: `field` is NULL or the caller's.
        let asked = unsafe { super::pointer::text(field, field_len, "field") }?;
        let value = self::field(row, asked)?;
        // SAFETY: the out-parameters are NULL or the caller's.
        unsafe { give(value.as_bytes(), text.cast(), capacity, needed) }
    })
}
