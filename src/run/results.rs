//! What evaluations and texts leave: a file of its own for each, whoever writes at the same time, and the index of a run's texts.

use super::folder::{RunFolder, now, read_json, write_json};
use crate::disk::{self, File};
use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The index of a run's texts, under the original's name.
pub(super) const INDEX: &str = "generation_results.json";
/// The folder of the texts' own files.
const TEXTS: &str = "generations";
/// The index is brought up to date by one process at a time, which holds this file of the folder.
const LOCK: &str = ".lock";

/// A result's file, which is there but empty until the result is written. Dropped before that, it is taken away.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    id: String,
    /// The folder of the run whose index names the result.
    indexed: Option<PathBuf>,
    reserved: bool,
}

impl Place {
    /// Returns the place of an evaluation: `bayesian_eval_<time>.json` in the run's folder, or the file that was asked for.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn of_evaluation(folder: &RunFolder, output: Option<&Path>) -> Result<Self> {
        match output {
            Some(path) => Ok(Self::asked_for(path)),
            None => Self::reserve(&folder.path, "bayesian_eval_"),
        }
    }

    /// Returns the place of a text: `generations/<time>.json` in the run's folder, or the file that was asked for.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn of_text(folder: &RunFolder, output: Option<&Path>) -> Result<Self> {
        if let Some(path) = output {
            return Ok(Self::asked_for(path));
        }
        let texts = folder.file(TEXTS);
        disk::make_folders(&texts).map_err(Error::io(&texts))?;
        let mut place = Self::reserve(&texts, "")?;
        place.indexed = Some(folder.path.clone());
        Ok(place)
    }

    fn asked_for(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            id: now(),
            indexed: None,
            reserved: false,
        }
    }

    /// Takes the first name of this second that nobody has: `<prefix><time>.json`, `<prefix><time>-2.json`, …
    fn reserve(folder: &Path, prefix: &str) -> Result<Self> {
        let time = now();
        let mut n = 1_u64;
        loop {
            let id = match n {
                1 => time.clone(),
                n => format!("{time}-{n}"),
            };
            let path = folder.join(format!("{prefix}{id}.json"));
            match File::create_new(&path) {
                Ok(_) => {
                    return Ok(Self {
                        path,
                        id,
                        indexed: None,
                        reserved: true,
                    });
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => n += 1,
                Err(e) => return Err(Error::io(&path)(e)),
            }
        }
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the result's name in the index: the time, and a counter where several came in one second.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Writes the result, and brings the index up to date where it has one.
    ///
    /// # Errors
    /// When the folder or the disk refuses. An error of the index alone leaves the result in its file.
    pub fn write(mut self, result: &impl Serialize) -> Result<()> {
        let is_special = |m: std::fs::Metadata| !m.is_file();
        if !self.reserved && disk::metadata(&self.path).is_ok_and(is_special) {
            // A device or a pipe takes the text, and keeps its place.
            return write_through(&self.path, result);
        }
        write_json(&self.path, result)?;
        self.reserved = false;
        match self.indexed.take() {
            Some(run) => index(&run),
            None => Ok(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.reserved {
            // The error that kept the result away is the one to report; an empty file does no harm.
            let _ = disk::remove(&self.path);
        }
    }
}

fn write_through(path: &Path, result: &impl Serialize) -> Result<()> {
    let bad = |e: serde_json::Error| Error::data(path.display().to_string(), e.to_string());
    let text = serde_json::to_string_pretty(result).map_err(bad)? + "\n";
    let file = File::write_over(path);
    file.and_then(|mut f| f.write_all(text.as_bytes()))
        .map_err(Error::io(path))
}

/// Adds to a run's index of texts what lies in their folder and is not yet in it, and takes out what lies there no longer. The entries have no
/// numbers per token: those are in each text's own file, which the entry names. Entries of runs before there were such files stay.
fn index(run: &Path) -> Result<()> {
    let texts = run.join(TEXTS);
    let path = texts.join(LOCK);
    let lock = File::append(&path).map_err(Error::io(&path))?;
    // It is given back when the file is closed, also by a process that was killed.
    match lock.system().lock() {
        // A file system without locks: two at once may leave the other's entry to the next text.
        Err(e) if e.kind() == ErrorKind::Unsupported => {}
        locked => locked.map_err(Error::io(&path))?,
    }
    let path = run.join(INDEX);
    let advice = |e: Error| {
        Error::conflict(format!(
            "{e}: move the file away, and the next text makes it anew from {}",
            texts.display()
        ))
    };
    // A file without a byte, as an editor or `touch` leaves it, says nothing that could be lost.
    let empty = disk::metadata(&path).is_ok_and(|m| m.is_file() && m.len() == 0);
    let known: Option<Map<String, Value>> = match empty {
        true => None,
        false => read_json(&path).map_err(advice)?,
    };
    let mut all = known.unwrap_or_default();
    let files = files(&texts)?;
    all.retain(|_, entry| {
        let file = entry["file"].as_str();
        file.is_none_or(|f| files.iter().any(|id| f == named(id)))
    });
    for id in files {
        if all.contains_key(&id) {
            continue;
        }
        // Another process may be writing its own, which it then adds itself.
        if let Ok(Some(mut entry)) = read_json::<Value>(&texts.join(format!("{id}.json"))) {
            without_tokens(&mut entry);
            entry["file"] = named(&id).into();
            all.insert(id, entry);
        }
    }
    write_json(&path, &all)
}

/// Returns a text's file as the index names it.
fn named(id: &str) -> String {
    format!("{TEXTS}/{id}.json")
}

/// Returns the names of the texts in a folder, in the order in which they were begun.
fn files(texts: &Path) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for path in disk::list(texts).map_err(Error::io(texts))? {
        let name = path.file_name().and_then(|n| n.to_str());
        let id = name.and_then(|n| n.strip_suffix(".json"));
        ids.extend(id.filter(|id| !id.starts_with('.')).map(str::to_owned));
    }
    // `<time>-10` comes after `<time>-9`.
    let order = |id: &String| {
        let (day, rest) = id.split_once('-').unwrap_or((id, ""));
        let (second, n) = rest.split_once('-').unwrap_or((rest, "1"));
        (
            day.to_owned(),
            second.to_owned(),
            n.parse().unwrap_or(u64::MAX),
        )
    };
    ids.sort_by_cached_key(order);
    Ok(ids)
}

/// Takes the numbers per token out of an entry, of one text or of several.
fn without_tokens(entry: &mut Value) {
    let info = &mut entry["unc_info"];
    let each = match info {
        Value::Array(each) => each.iter_mut().collect(),
        one => vec![one],
    };
    for info in each.into_iter().filter_map(Value::as_object_mut) {
        info.retain(|key, _| !(key.starts_with("token_")));
    }
}
