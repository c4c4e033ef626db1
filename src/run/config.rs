//! Settings from files, and as the record in a run's folder.
//!
//! A flag wins over `--config FILE.toml`, that over the environment, that over the preset's defaults.

use super::hex;
use crate::data::read_file;
use crate::error::{Error, Result};
pub use crate::settings::Settings as Config;
pub use crate::settings::{
    Given, Preset, PriorCenter, PriorUnit, Row, SamplerChoice, Starts, TABLE, Value,
};
use crate::settings::{Group, Kind, Reader, row};
use crate::store::{Store, read_header};
use std::path::Path;

pub use crate::samplers::{CovarianceStructure, CurvatureKind, GaussianMethod};

/// Says which meaning of the names a file has. Files without it are of version 1, whose `sgnht` is `sgnht_ding` now.
const VERSION_KEY: &str = "settings_version";
const VERSION: i64 = 2;

/// Under it a run's record has the SHA-256 of its text, which tells a record from other files.
const CORPUS_KEY: &str = "corpus_sha256";

/// What a file of settings says.
pub(super) struct Recorded {
    /// The settings that it gives.
    pub given: Given,
    /// SHA-256 of the run's text; none where it is no run's, or an older run's.
    pub corpus_sha256: Option<[u8; 32]>,
}

/// Reads settings from a TOML file as `bnn config` prints it. The relative paths of a run's record are relative to its folder.
///
/// # Errors
/// When the file is not a regular one, cannot be read, is no TOML, names a setting that does not exist, or has a value out of range.
pub fn from_toml(path: &Path) -> Result<Given> {
    let Recorded {
        mut given,
        corpus_sha256,
    } = recorded(path)?;
    if let (Some(_), Some(folder)) = (corpus_sha256, path.parent()) {
        let paths = [
            &mut given.data,
            &mut given.data_dir,
            &mut given.meta_path,
            &mut given.test,
            &mut given.model_path,
        ];
        for path in paths.into_iter().flatten() {
            // An absolute path stays as it is.
            *path = folder.join(&path);
        }
    }
    Ok(given)
}

/// Reads settings as [`from_toml`] does, with paths as they stand there, and what a run's record has beside them.
///
/// # Errors
/// Those of [`from_toml`].
pub(super) fn recorded(path: &Path) -> Result<Recorded> {
    let place = path.display().to_string();
    let text = String::from_utf8(read_file(path)?)
        .map_err(|e| Error::data(&place, format!("expected UTF-8: {e}")))?;
    let table: toml::Table = text
        .parse()
        .map_err(|e: toml::de::Error| Error::data(&place, e.to_string()))?;
    from_table(table).map_err(|e| Error::data(&place, e.to_string()))
}

/// Says which setting of a run's record is another than a sample was drawn with, whose file carries the record of then. What a resumed or an evaluated run
/// may change has no part in it, nor have samples that other programs stored.
///
/// # Errors
/// When the sample's header cannot be read.
pub(super) fn edited(now: &Config, sample: &Path) -> Result<Option<String>> {
    let (header, _) = read_header(sample)?;
    let then = header.config.parse().ok();
    let then = then.and_then(|table| from_table(table).ok()?.given.recorded().ok());
    Ok(then.and_then(|then| difference(now, &then)))
}

/// Returns whether text is a run's whole record, as [`recorded`] reads it.
pub(super) fn is_record(text: &str) -> bool {
    let read = text.parse().ok().and_then(|table| from_table(table).ok());
    read.is_some_and(|r| r.corpus_sha256.is_some() && r.given.recorded().is_ok())
}

/// Says the first setting of the samples' law that differs.
fn difference(now: &Config, then: &Config) -> Option<String> {
    let of_samples = |row: &&Row| {
        let draws = row.is_read_by(Reader::Sampler) || row.name == "chains";
        let may_change = row.is_read_by(Reader::Resume) || row.is_read_by(Reader::Eval);
        draws
            && row.is_recorded()
            && !may_change
            && row.kind != Kind::Path
            && row.group != Group::Recording
    };
    TABLE.iter().filter(of_samples).find_map(|row| {
        let show = |v: Option<Value>| v.map_or("nothing".into(), |v| v.to_string());
        let (was, is) = (show(row.value(then)), show(row.value(now)));
        (was != is).then(|| {
            format!(
                "config.toml says {} = {is}, but the samples were drawn with {was}: put it back",
                row.name
            )
        })
    })
}

/// Checks that a run's record is that which its samples were drawn with.
///
/// # Errors
/// [`Error::Conflict`] with the first setting that is another, and the errors of [`edited`].
pub(super) fn expect_unedited(config: &Config, store: &Store) -> Result<()> {
    let Some(first) = store.ids().first() else {
        return Ok(());
    };
    let sample = store.folder().join(first.file_name());
    match edited(config, &sample)? {
        Some(what) => Err(Error::conflict(format!("{}: {what}", sample.display()))),
        None => Ok(()),
    }
}

fn from_table(mut table: toml::Table) -> Result<Recorded> {
    let old = match table.remove(VERSION_KEY) {
        None => true,
        Some(toml::Value::Integer(VERSION)) => false,
        Some(other) => return Err(Error::out_of_range(VERSION_KEY, VERSION.to_string(), other)),
    };
    let corpus_sha256 = table.remove(CORPUS_KEY).map(sha256).transpose()?;
    let mut given = Given::default();
    for (name, value) in &table {
        let row = row("setting", name, Row::is_recorded)?;
        if row.given(&given).is_some() {
            return Err(Error::conflict(format!(
                "{} is given twice, once as {name} or another of its names: give it once",
                row.name
            )));
        }
        row.set(&mut given, &read(row, value)?)?;
    }
    let sampler = row("setting", "sampler", Row::is_recorded)?;
    let before = Value::Text("sgnht".into());
    if old && sampler.given(&given) == Some(before) {
        sampler.set(&mut given, &Value::Text("sgnht_ding".into()))?;
    }
    Ok(Recorded {
        given,
        corpus_sha256,
    })
}

/// Reads a checksum as messages and files print it.
fn sha256(value: toml::Value) -> Result<[u8; 32]> {
    let digits = |text: &str| -> Option<[u8; 32]> {
        let pairs = text.as_bytes().chunks_exact(2);
        let pairs = pairs.map(|p| u8::from_str_radix(std::str::from_utf8(p).ok()?, 16).ok());
        pairs.collect::<Option<Vec<u8>>>()?.try_into().ok()
    };
    let found = value.as_str().filter(|t| t.len() == 64).and_then(digits);
    found.ok_or_else(|| Error::out_of_range(CORPUS_KEY, "64 hexadecimal digits", value))
}

/// Returns a TOML value in the setting's kind: whole numbers are real ones too.
fn read(row: &Row, value: &toml::Value) -> Result<Value> {
    let bad = || Error::out_of_range(row.name, row.expected(), value);
    let text = |v: &toml::Value| v.as_str().map(str::to_owned).ok_or_else(bad);
    Ok(match (row.kind, value) {
        (Kind::Bool, toml::Value::Boolean(v)) => Value::Bool(*v),
        (Kind::U64, toml::Value::Integer(v)) => Value::U64((*v).try_into().map_err(|_| bad())?),
        (Kind::F64, toml::Value::Float(v)) => Value::F64(*v),
        (Kind::F64, toml::Value::Integer(v)) => Value::F64(*v as f64),
        (Kind::Text | Kind::Path, v) => Value::Text(text(v)?),
        (Kind::List, toml::Value::Array(all)) => {
            Value::List(all.iter().map(text).collect::<Result<_>>()?)
        }
        _ => return Err(bad()),
    })
}

impl Config {
    /// Returns the settings as the record of a run on a text.
    ///
    /// # Errors
    /// When a value has no TOML form.
    pub(super) fn to_record(&self, corpus_sha256: &[u8; 32]) -> Result<String> {
        let hash = format!("{CORPUS_KEY} = \"{}\"\n", hex(corpus_sha256));
        Ok(hash + &self.to_toml()?)
    }

    /// Returns the settings as TOML, each under its explanation; what has no value is a comment.
    ///
    /// # Errors
    /// When a value has no TOML form.
    pub fn to_toml(&self) -> Result<String> {
        let mut text = format!("{VERSION_KEY} = {VERSION}\n");
        let mut group = None;
        for row in TABLE.iter().filter(|row| row.is_recorded()) {
            if group.replace(row.group) != Some(row.group) {
                text.push_str(&format!("\n# --- {} ---\n", row.group.title()));
            }
            text.push_str(&format!("\n# {}\n", row.help.trim()));
            match row.value(self) {
                Some(value) => {
                    let bad = |e| Error::out_of_range(row.name, "a TOML value", e);
                    let value = toml::Value::try_from(&value).map_err(bad)?;
                    text.push_str(&format!("{} = {value}\n", row.name));
                }
                None => text.push_str(&format!("# {} =\n", row.name)),
            }
        }
        Ok(text)
    }
}

/// Returns a setting's value in words, as files and flags have it.
pub(super) fn word(name: &str, config: &Config) -> String {
    let row = TABLE.iter().find(|row| row.name == name);
    let value = row.and_then(|row| row.value(config));
    value.map_or(String::new(), |value| value.to_string())
}
