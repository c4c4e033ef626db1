//! Results as named rows: a new number is one more row, and nobody who reads the others notices.

use crate::error::{Error, Result, nearest};
use crate::memory;
use std::borrow::Cow;
use std::fmt;

/// What a row holds.
#[derive(Clone, Debug, PartialEq)]
pub enum ReportValue {
    /// A number. One that is not known is NaN.
    F64(f64),
    /// A count, or 0 and 1 for no and yes.
    U64(u64),
    /// A word or a sentence.
    Str(String),
    /// A series of numbers.
    F64s(Vec<f64>),
}

impl ReportValue {
    fn kind(&self) -> &'static str {
        match self {
            Self::F64(_) => "a number",
            Self::U64(_) => "a count",
            Self::Str(_) => "text",
            Self::F64s(_) => "a series of numbers",
        }
    }
}

impl From<f64> for ReportValue {
    fn from(v: f64) -> Self {
        Self::F64(v)
    }
}

impl From<Option<f64>> for ReportValue {
    fn from(v: Option<f64>) -> Self {
        Self::F64(v.unwrap_or(f64::NAN))
    }
}

impl From<u64> for ReportValue {
    fn from(v: u64) -> Self {
        Self::U64(v)
    }
}

impl From<u32> for ReportValue {
    fn from(v: u32) -> Self {
        Self::U64(v.into())
    }
}

impl From<usize> for ReportValue {
    fn from(v: usize) -> Self {
        Self::U64(v as u64)
    }
}

impl From<bool> for ReportValue {
    fn from(v: bool) -> Self {
        Self::U64(v.into())
    }
}

impl From<&str> for ReportValue {
    fn from(v: &str) -> Self {
        Self::Str(v.into())
    }
}

impl From<String> for ReportValue {
    fn from(v: String) -> Self {
        Self::Str(v)
    }
}

impl From<Vec<f64>> for ReportValue {
    fn from(v: Vec<f64>) -> Self {
        Self::F64s(v)
    }
}

impl fmt::Display for ReportValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F64(v) => write!(f, "{v}"),
            Self::U64(v) => write!(f, "{v}"),
            Self::Str(v) => f.write_str(v),
            Self::F64s(v) => {
                let each: Vec<String> = v.iter().map(f64::to_string).collect();
                f.write_str(&each.join(" "))
            }
        }
    }
}

/// A named value with its meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportRow {
    /// The name, unique in its report. Dots separate a group from what is in it, as in `rhat.worst`.
    pub name: Cow<'static, str>,
    /// The value.
    pub value: ReportValue,
    /// What the value means, with its unit.
    pub meaning: Cow<'static, str>,
}

/// A result as rows, in a fixed order.
///
/// ```
/// use bnn::inference::Report;
/// let report = Report::new()
///     .row("loss", 1.5, "mean loss, nats per token")
///     .row("tokens", 4096_u64, "how many tokens were scored");
/// assert_eq!(report.f64("loss")?, 1.5);
/// assert!(report.f64("loose").unwrap_err().to_string().contains("`loss`"));
/// # Ok::<(), bnn::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    rows: Vec<ReportRow>,
}

impl Report {
    /// Makes a report without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row at the end. A row of that name takes the new value and meaning.
    #[must_use]
    pub fn row(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<ReportValue>,
        meaning: impl Into<Cow<'static, str>>,
    ) -> Self {
        let row = ReportRow {
            name: name.into(),
            value: value.into(),
            meaning: meaning.into(),
        };
        match self.rows.iter_mut().find(|r| r.name == row.name) {
            Some(there) => *there = row,
            None => memory::push_or_leave(&mut self.rows, row, "a report"),
        }
        self
    }

    /// Adds the rows of another report at the end.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let rows = other.rows.into_iter();
        rows.fold(self, |all, r| all.row(r.name, r.value, r.meaning))
    }

    /// Adds the rows of `of` as a group: their names begin with `name` and a dot.
    #[must_use]
    pub fn group(mut self, name: &str, of: Self) -> Self {
        for row in of.rows {
            self = self.row(format!("{name}.{}", row.name), row.value, row.meaning);
        }
        self
    }

    /// Returns the rows in their order.
    pub fn rows(&self) -> &[ReportRow] {
        &self.rows
    }

    /// Returns the row of that name.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] with the nearest name where there is none.
    pub fn get(&self, name: &str) -> Result<&ReportRow> {
        let found = self.rows.iter().find(|r| r.name == name);
        found.ok_or_else(|| {
            let near = nearest(name, self.rows.iter().map(|r| &*r.name));
            let hint = near.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
            Error::out_of_range("report", "the name of a row", format!("`{name}`{hint}"))
        })
    }

    /// Returns a row's number; a count is one too.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for an unknown name or a row of another kind.
    pub fn f64(&self, name: &str) -> Result<f64> {
        match &self.get(name)?.value {
            ReportValue::F64(v) => Ok(*v),
            ReportValue::U64(v) => Ok(*v as f64),
            other => Err(wrong_kind(name, "a number", other)),
        }
    }

    /// Returns a row's count.
    ///
    /// # Errors
    /// Returns the errors of [`Report::f64`].
    pub fn u64(&self, name: &str) -> Result<u64> {
        match &self.get(name)?.value {
            ReportValue::U64(v) => Ok(*v),
            other => Err(wrong_kind(name, "a count", other)),
        }
    }

    /// Returns a row's text.
    ///
    /// # Errors
    /// Returns the errors of [`Report::f64`].
    pub fn str(&self, name: &str) -> Result<&str> {
        match &self.get(name)?.value {
            ReportValue::Str(v) => Ok(v),
            other => Err(wrong_kind(name, "text", other)),
        }
    }

    /// Returns a row's series.
    ///
    /// # Errors
    /// Returns the errors of [`Report::f64`].
    pub fn f64s(&self, name: &str) -> Result<&[f64]> {
        match &self.get(name)?.value {
            ReportValue::F64s(v) => Ok(v),
            other => Err(wrong_kind(name, "a series of numbers", other)),
        }
    }
}

fn wrong_kind(name: &str, expected: &str, got: &ReportValue) -> Error {
    Error::out_of_range(format!("report: row `{name}`"), expected, got.kind())
}

impl fmt::Display for Report {
    /// Writes a line per row: name, value, meaning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|r| r.name.len()).max().unwrap_or(0);
        for ReportRow {
            name,
            value,
            meaning,
        } in &self.rows
        {
            writeln!(f, "{name:<width$}  {value}  ({meaning})")?;
        }
        Ok(())
    }
}
