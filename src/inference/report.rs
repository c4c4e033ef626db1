//! Results as named rows: a new number is one more row, and nobody who reads the others notices.

use crate::error::{Error, Result, nearest};
use std::borrow::Cow;
use std::fmt;

/// What a row holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number. One that is not known is NaN.
    F64(f64),
    /// A count, or 0 and 1 for no and yes.
    U64(u64),
    /// A word or a sentence.
    Str(String),
    /// A series of numbers.
    F64s(Vec<f64>),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::F64(_) => "a number",
            Self::U64(_) => "a count",
            Self::Str(_) => "text",
            Self::F64s(_) => "a series of numbers",
        }
    }
}

impl From<f64> for Value {
    fn from(v: f64) -> Self {
        Self::F64(v)
    }
}

impl From<Option<f64>> for Value {
    fn from(v: Option<f64>) -> Self {
        Self::F64(v.unwrap_or(f64::NAN))
    }
}

impl From<u64> for Value {
    fn from(v: u64) -> Self {
        Self::U64(v)
    }
}

impl From<u32> for Value {
    fn from(v: u32) -> Self {
        Self::U64(v.into())
    }
}

impl From<usize> for Value {
    fn from(v: usize) -> Self {
        Self::U64(v as u64)
    }
}

impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Self::U64(v.into())
    }
}

impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Self::Str(v.into())
    }
}

impl From<String> for Value {
    fn from(v: String) -> Self {
        Self::Str(v)
    }
}

impl From<Vec<f64>> for Value {
    fn from(v: Vec<f64>) -> Self {
        Self::F64s(v)
    }
}

impl fmt::Display for Value {
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
pub struct Row {
    /// The name, unique in its report. Dots separate a group from what is in it, as in `rhat.worst`.
    pub name: Cow<'static, str>,
    /// The value.
    pub value: Value,
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
    rows: Vec<Row>,
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
        value: impl Into<Value>,
        meaning: impl Into<Cow<'static, str>>,
    ) -> Self {
        let row = Row {
            name: name.into(),
            value: value.into(),
            meaning: meaning.into(),
        };
        match self.rows.iter_mut().find(|r| r.name == row.name) {
            Some(there) => *there = row,
            None => self.rows.push(row),
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
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns the row of that name.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the nearest name where there is none.
    pub fn get(&self, name: &str) -> Result<&Row> {
        let found = self.rows.iter().find(|r| r.name == name);
        found.ok_or_else(|| {
            let near = nearest(name, self.rows.iter().map(|r| &*r.name));
            let hint = near.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
            Error::invalid("report", "the name of a row", format!("`{name}`{hint}"))
        })
    }

    /// Returns a row's number; a count is one too.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown name or a row of another kind.
    pub fn f64(&self, name: &str) -> Result<f64> {
        match &self.get(name)?.value {
            Value::F64(v) => Ok(*v),
            Value::U64(v) => Ok(*v as f64),
            other => Err(wrong_kind(name, "a number", other)),
        }
    }

    /// Returns a row's count.
    ///
    /// # Errors
    /// Returns the errors of [`Report::f64`].
    pub fn u64(&self, name: &str) -> Result<u64> {
        match &self.get(name)?.value {
            Value::U64(v) => Ok(*v),
            other => Err(wrong_kind(name, "a count", other)),
        }
    }

    /// Returns a row's text.
    ///
    /// # Errors
    /// Returns the errors of [`Report::f64`].
    pub fn str(&self, name: &str) -> Result<&str> {
        match &self.get(name)?.value {
            Value::Str(v) => Ok(v),
            other => Err(wrong_kind(name, "text", other)),
        }
    }

    /// Returns a row's series.
    ///
    /// # Errors
    /// Returns the errors of [`Report::f64`].
    pub fn f64s(&self, name: &str) -> Result<&[f64]> {
        match &self.get(name)?.value {
            Value::F64s(v) => Ok(v),
            other => Err(wrong_kind(name, "a series of numbers", other)),
        }
    }
}

fn wrong_kind(name: &str, expected: &str, got: &Value) -> Error {
    Error::invalid(format!("report: row `{name}`"), expected, got.kind())
}

impl fmt::Display for Report {
    /// Writes a line per row: name, value, meaning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|r| r.name.len()).max().unwrap_or(0);
        for Row {
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
