//! One row of the table: a setting as data.

use super::defaults::Case;
use super::purpose::Purpose;
use super::table::{Given, Settings};
use crate::error::{Error, Result};
use serde::Serialize;
use std::fmt;
use std::ops::{Bound, RangeBounds};

/// A setting: what it is called, what it may be, what it means and who reads it.
pub struct Row {
    /// The name in files and C options; a flag has dashes for underscores.
    pub name: &'static str,
    /// Other names that mean this setting.
    pub aliases: &'static [&'static str],
    /// The flag's name where it is not the setting's.
    pub flag: Option<&'static str>,
    /// What it means: full sentences.
    pub help: &'static str,
    /// The heading that it stands under.
    pub group: Group,
    /// The kind of its values.
    pub kind: Kind,
    /// What its values may be, whatever the other settings are.
    pub range: Range,
    /// Who reads it.
    pub readers: &'static [Reader],
    /// What it is for, where not every run asks for that.
    pub purpose: Option<Purpose>,
    /// The few words of the short help, which has only the settings that most users need.
    pub brief: Option<&'static str>,
    /// What runs did before the setting was there.
    pub before: Option<&'static str>,
    pub(super) words: fn() -> Vec<&'static str>,
    pub(super) set: fn(&mut Given, &Value) -> bool,
    pub(super) unset: fn(&mut Given),
    pub(super) given: fn(&Given) -> Option<Value>,
    pub(super) value: fn(&Settings) -> Option<Value>,
    pub(super) default: fn(&Case) -> Option<Value>,
}

impl Row {
    /// Returns the words that the setting may be; none for numbers, paths and lists.
    pub fn words(&self) -> Vec<&'static str> {
        match self.range {
            Range::Words(words) => words(),
            _ => (self.words)(),
        }
    }

    /// Returns the name of the flag, without its dashes at the front.
    pub fn flag(&self) -> String {
        self.flag.unwrap_or(self.name).replace('_', "-")
    }

    /// Returns whether a reader reads it.
    pub fn is_read_by(&self, reader: Reader) -> bool {
        self.readers.contains(&reader)
    }

    /// Returns whether a run records it in its folder: whether `bnn train` reads it.
    pub fn is_recorded(&self) -> bool {
        self.is_read_by(Reader::Train)
    }

    /// Returns the default in a case, if there is one.
    pub fn default(&self, case: &Case) -> Option<Value> {
        (self.default)(case)
    }

    /// Returns the value among resolved settings.
    pub fn value(&self, settings: &Settings) -> Option<Value> {
        (self.value)(settings)
    }

    /// Returns the value among given settings.
    pub fn given(&self, given: &Given) -> Option<Value> {
        (self.given)(given)
    }

    /// Sets the value.
    ///
    /// # Errors
    /// When the value is of another kind or out of range; nothing is changed then.
    pub fn set(&self, given: &mut Given, value: &Value) -> Result<()> {
        self.set_as(self.name, given, value)
    }

    /// Sets the value; errors call the setting by the name that was used, which may be an alias.
    ///
    /// # Errors
    /// Returns the errors of [`Row::set`].
    pub fn set_as(&self, name: &str, given: &mut Given, value: &Value) -> Result<()> {
        self.check_as(name, value)?;
        if (self.set)(given, value) {
            Ok(())
        } else {
            Err(Error::out_of_range(name, self.expected(), value))
        }
    }

    /// Takes the value back.
    pub fn unset(&self, given: &mut Given) {
        (self.unset)(given);
    }

    /// Checks kind and range.
    ///
    /// # Errors
    /// When one of the two does not fit: with the name, the range and the value.
    pub fn check(&self, value: &Value) -> Result<()> {
        self.check_as(self.name, value)
    }

    fn check_as(&self, name: &str, value: &Value) -> Result<()> {
        let words = self.words();
        let known = |word: &String| words.is_empty() || words.contains(&word.as_str());
        let fits = match (self.kind, value) {
            (Kind::Bool, Value::Bool(_)) | (Kind::Path, Value::Text(_)) => true,
            (Kind::U64, Value::U64(v)) => self.range.holds_whole(*v),
            (Kind::F64, Value::F64(v)) => self.range.holds_real(*v),
            (Kind::Text, Value::Text(word)) if known(word) => true,
            (Kind::Text, Value::Text(word)) => {
                return Err(Error::unknown(name, word, words.iter().copied()));
            }
            (Kind::List, Value::List(all)) => match all.iter().find(|word| !known(word)) {
                Some(word) => return Err(Error::unknown(name, word, words.iter().copied())),
                None => !all.is_empty(),
            },
            _ => false,
        };
        if fits {
            Ok(())
        } else {
            Err(Error::out_of_range(name, self.expected(), value))
        }
    }

    /// Reads a value from the text of a flag.
    ///
    /// # Errors
    /// Returns the errors of [`Row::check`].
    pub fn parse(&self, text: &str) -> Result<Value> {
        let bad = || Error::out_of_range(self.name, self.expected(), format!("`{text}`"));
        let value = match self.kind {
            Kind::Bool => Value::Bool(text.parse().map_err(|_| bad())?),
            Kind::U64 => Value::U64(text.parse().map_err(|_| bad())?),
            Kind::F64 => Value::F64(text.parse().map_err(|_| bad())?),
            Kind::Text | Kind::Path => Value::Text(text.into()),
            Kind::List => Value::List(vec![text.into()]),
        };
        self.check(&value)?;
        Ok(value)
    }

    /// Returns kind and range in words.
    pub fn expected(&self) -> String {
        let words = self.words();
        match (self.kind, self.range.to_string()) {
            (Kind::Bool, _) => "true or false".into(),
            (Kind::U64, range) if range.is_empty() => "a whole number, 0 or more".into(),
            (Kind::U64, range) => format!("a whole number, {range}"),
            (Kind::F64, range) if range.is_empty() => "a number".into(),
            (Kind::F64, range) => format!("a number {range}"),
            (Kind::Text, _) if !words.is_empty() => format!("one of {}", words.join(", ")),
            (Kind::List, _) if !words.is_empty() => {
                format!("one or more of {}", words.join(", "))
            }
            (Kind::List, _) => "a list of words".into(),
            (Kind::Text, _) => "a word".into(),
            (Kind::Path, _) => "a path".into(),
        }
    }
}

/// What kind of value a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Yes or no; in C an unsigned integer, 0 or 1.
    Bool,
    /// An unsigned integer.
    U64,
    /// A finite real number.
    F64,
    /// A word.
    Text,
    /// A file or folder.
    Path,
    /// Several words.
    List,
}

/// A value without its type, as flags, files and C options carry it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// An unsigned integer.
    U64(u64),
    /// A real number.
    F64(f64),
    /// A word or path.
    Text(String),
    /// Several words.
    List(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(v) => write!(f, "{v}"),
            Self::U64(v) => write!(f, "{v}"),
            Self::F64(v) if *v != 0.0 && (v.abs() < 1e-2 || v.abs() >= 1e6) => write!(f, "{v:e}"),
            Self::F64(v) => write!(f, "{v}"),
            Self::Text(v) => f.write_str(v),
            Self::List(v) => f.write_str(&v.join(" ")),
        }
    }
}

/// What a value may be, whatever the other settings are.
#[derive(Clone, Copy)]
pub enum Range {
    /// All that the type holds; of real numbers, all that are finite.
    Any,
    /// Real numbers between two bounds.
    Real(Bound<f64>, Bound<f64>),
    /// Whole numbers from the first to the second.
    Whole(u64, u64),
    /// Some words.
    Words(fn() -> Vec<&'static str>),
}

impl Range {
    fn holds_real(&self, v: f64) -> bool {
        match self {
            Self::Real(low, high) => v.is_finite() && (*low, *high).contains(&v),
            _ => v.is_finite(),
        }
    }

    fn holds_whole(&self, v: u64) -> bool {
        match self {
            Self::Whole(low, high) => (low..=high).contains(&&v),
            _ => true,
        }
    }

    /// Returns the least value, if there is one, and whether it is itself in the range.
    pub fn low(&self) -> Option<(f64, bool)> {
        match self {
            Self::Real(Bound::Included(v), _) => Some((*v, true)),
            Self::Real(Bound::Excluded(v), _) => Some((*v, false)),
            Self::Whole(v, _) => Some((*v as f64, true)),
            _ => None,
        }
    }

    /// Returns the largest value, if there is one, and whether it is itself in the range.
    pub fn high(&self) -> Option<(f64, bool)> {
        match self {
            Self::Real(_, Bound::Included(v)) => Some((*v, true)),
            Self::Real(_, Bound::Excluded(v)) => Some((*v, false)),
            Self::Whole(_, v) if *v < u64::MAX => Some((*v as f64, true)),
            _ => None,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let low = |(v, inside)| {
            if inside {
                format!("at least {v}")
            } else {
                format!("above {v}")
            }
        };
        let high = |(v, inside)| {
            if inside {
                format!("at most {v}")
            } else {
                format!("below {v}")
            }
        };
        match (self, self.low(), self.high()) {
            (Self::Whole(0, u64::MAX), ..) | (_, None, None) => Ok(()),
            (Self::Whole(low, high), _, Some(_)) => write!(f, "{low} to {high}"),
            (_, Some(bound), None) => f.write_str(&low(bound)),
            (_, None, Some(bound)) => f.write_str(&high(bound)),
            (_, Some(from), Some(to)) => write!(f, "{} and {}", low(from), high(to)),
        }
    }
}

/// The heading that a setting stands under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The text.
    Corpus,
    /// The shape of the GPT.
    Model,
    /// The deterministic model that chains start from.
    Baseline,
    /// The method and its hyperparameters.
    Sampler,
    /// Step size and temperature over a run.
    Schedule,
    /// The preconditioner.
    Mass,
    /// The prior.
    Prior,
    /// What a step sees of the data.
    Batches,
    /// EKF, VI, Laplace, SWAG and IVON.
    Fits,
    /// What is recorded while a chain runs.
    Recording,
    /// Scores of a run's samples.
    Evaluation,
    /// Texts.
    Generation,
    /// Seed, threads, folders.
    Running,
}

impl Group {
    /// Returns the heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Corpus => "Corpus",
            Self::Model => "Model",
            Self::Baseline => "Baseline",
            Self::Sampler => "Sampler",
            Self::Schedule => "Schedules",
            Self::Mass => "Mass",
            Self::Prior => "Prior",
            Self::Batches => "Data and batches",
            Self::Fits => "Fits (ekf, vi, laplace, swag, ivon, ema, snapshots)",
            Self::Recording => "Samples and probes",
            Self::Evaluation => "Evaluation",
            Self::Generation => "Generation",
            Self::Running => "Running",
        }
    }
}

/// Who reads a setting: objects of the library, then commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A GPT: `bnn_model`.
    Model,
    /// The training of a baseline: `bnn_trainer`.
    Trainer,
    /// A sampler of a GPT's posterior.
    Sampler,
    /// A sampler of a log posterior whose gradients the caller gives.
    Gradients,
    /// A folder of samples: `bnn_store`.
    Store,
    /// A writer of texts: `bnn_generator`.
    Generator,
    /// `bnn train`.
    Train,
    /// `bnn train --resume`, which takes it anew.
    Resume,
    /// `bnn baseline`.
    Baseline,
    /// `bnn eval`, which takes it anew.
    Eval,
    /// `bnn generate`.
    Generate,
    /// `bnn diagnose`.
    Diagnose,
    /// `bnn verify`.
    Verify,
    /// `bnn bench`.
    Bench,
}

impl Reader {
    /// Returns the reader of that name among the library's objects.
    ///
    /// # Errors
    /// Returns [`Error::Unknown`] for another name, with the nearest.
    pub fn object(name: &str) -> Result<Self> {
        const OBJECTS: [Reader; 6] = [
            Reader::Model,
            Reader::Trainer,
            Reader::Sampler,
            Reader::Gradients,
            Reader::Store,
            Reader::Generator,
        ];
        let found = OBJECTS.into_iter().find(|r| r.name() == name);
        found.ok_or_else(|| Error::unknown("reader", name, OBJECTS.map(Self::name)))
    }

    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Trainer => "trainer",
            Self::Sampler => "sampler",
            Self::Gradients => "gradient sampler",
            Self::Store => "store",
            Self::Generator => "generator",
            Self::Train => "bnn train",
            Self::Resume => "bnn train --resume",
            Self::Baseline => "bnn baseline",
            Self::Eval => "bnn eval",
            Self::Generate => "bnn generate",
            Self::Diagnose => "bnn diagnose",
            Self::Verify => "bnn verify",
            Self::Bench => "bnn bench",
        }
    }

    /// Returns whether it is an object of the library, which the options of C reach.
    pub fn is_object(self) -> bool {
        !self.name().starts_with("bnn ")
    }
}
