//! `bnn check`: whether a run's files are whole and complete, and what can be mended.

use super::config::{self, Config};
use super::folder::{RunFolder, read_json, write_json, write_text};
use super::recover::{given_up, lock};
use super::results;
use super::spent::{self, Spent};
use crate::disk;
use crate::error::{Error, Result};
use crate::inference::CheckpointCheck;
use crate::store::{
    FolderLock, Kind, Reader, SampleId, StoreCheck, leftovers, put_aside, read_header, unread,
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What is found in a run's folder.
#[derive(Debug, Default, Serialize)]
pub struct RunCheck {
    /// The run's folder.
    pub run_dir: PathBuf,
    /// Samples that are whole.
    pub samples: usize,
    /// Checkpoints that are whole, with the steps that they hold.
    pub checkpoints: Vec<(PathBuf, u64)>,
    /// Damaged files, with what is wrong.
    pub damaged: Vec<(PathBuf, String)>,
    /// Files that the system refuses to read, with why: nothing says that they are damaged.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Whole checkpoints whose series cannot be read, since their trace is missing, damaged or another chain's, with what is wrong.
    pub without_trace: Vec<(PathBuf, String)>,
    /// Samples that the steps made imply but that are not there.
    pub missing: Vec<String>,
    /// The run's baseline, where it is not there.
    pub without_baseline: Option<PathBuf>,
    /// Chains that have samples but no checkpoint to go on from.
    pub without_checkpoint: Vec<u32>,
    /// Checkpoints that are not there, while the generation before them is.
    pub missing_checkpoints: Vec<PathBuf>,
    /// What the settings say that the samples were not drawn with, if there is such a thing.
    pub edited: Option<String>,
    /// Files among the samples that are none.
    pub foreign: Vec<PathBuf>,
    /// What killed processes left behind.
    pub leftovers: Vec<PathBuf>,
    /// What was done about it.
    pub repaired: Vec<String>,
}

/// Reads every checkpoint with its trace and every sample of a run and compares all their checksums, and the samples that are there with those that should be.
///
/// # Errors
/// Returns an error when the folder or its `config.toml` cannot be read; what is wrong with a checkpoint or a sample is no error but found.
pub fn check(folder: &RunFolder, config: &Config) -> Result<RunCheck> {
    let samples = folder.samples();
    let store = match disk::exists(&samples).map_err(Error::io(&samples))? {
        true => StoreCheck::of(&samples)?,
        false => StoreCheck::default(),
    };
    let mut found = RunCheck {
        run_dir: folder.path.clone(),
        samples: store.whole.len(),
        foreign: store.foreign,
        leftovers: leftovers(&folder.path, |_| true)?,
        ..RunCheck::default()
    };
    found.leftovers.extend(store.leftovers);
    let of_sample = |(id, e): (SampleId, Error)| (samples.join(id.file_name()), e.to_string());
    found
        .damaged
        .extend(store.damaged.into_iter().map(of_sample));
    (found.unreadable).extend(store.unreadable.into_iter().map(of_sample));
    found.baselines(folder, config)?;
    found.records(folder)?;
    if let Some(first) = store.whole.first() {
        found.edited = config::edited(config, &samples.join(first.file_name()))?;
    }
    // A list that cannot be read is among what is damaged.
    let given_up = given_up(folder).unwrap_or_default();
    let has = |chain: u32| store.whole.iter().any(|id| id.chain == chain);
    if config.sampler.chain().is_none() {
        for chain in 0..config.chains {
            found.checkpoint(&folder.fit(chain))?;
        }
        return Ok(found);
    }
    for chain in 0..config.chains {
        let Some(made) = found.checkpoint(&folder.chain(chain))? else {
            if has(chain) {
                found.without_checkpoint.push(chain);
            }
            continue;
        };
        let missing = config
            .inference(chain)?
            .missing(chain, made, &store.whole)?;
        let names = missing.iter().map(SampleId::file_name);
        (found.missing).extend(names.filter(|name| !given_up.contains(name)));
    }
    Ok(found)
}

/// Mends what can be mended without inventing anything, and says what was done: damaged files are moved to `damaged/`, a damaged checkpoint gives
/// way to the one before it, as does one whose trace is not whole where the one before it has all of its own; where neither has, the chain goes on
/// without its series; leftovers are taken away, and missing samples are written down as given up, so that the run goes on without them.
///
/// # Errors
/// Returns the errors of [`check`]; [`Error::Conflict`] when another process writes the run; [`Error::Io`].
pub fn repair(folder: &RunFolder, config: &Config) -> Result<RunCheck> {
    let _lock = lock(folder)?;
    let first = check(folder, config)?;
    let mut done = Vec::new();
    if let Some((_, why)) = first.unreadable.first() {
        return Err(unread(why));
    }
    for (path, _) in &first.damaged {
        done.push(put_aside(path, &folder.damaged())?);
    }
    let (chains, fits) = (0..config.chains, 0..config.chains);
    let chains = chains.map(|chain| folder.chain(chain));
    for path in chains.chain(fits.map(|chain| folder.fit(chain))) {
        done.extend(CheckpointCheck::repair(&path, &folder.damaged())?);
    }
    // What is missing depends on the checkpoints that are there now.
    let mut found = check(folder, config)?;
    if !found.missing.is_empty() {
        let mut lost = given_up(folder)?;
        lost.append(&mut found.missing);
        lost.sort_unstable();
        write_json(&folder.lost(), &lost)?;
        done.push(format!(
            "{} lists the samples that are given up: {}; `bnn train --resume {} --restart-chain` would draw them again",
            folder.lost().display(),
            lost.join(", "),
            folder.path.display(),
        ));
    }
    found.repaired = done;
    Ok(found)
}

/// Writes a run's `config.toml` anew where it is missing or damaged, with the record that the last sample carries, and says so.
///
/// # Errors
/// Returns the errors of [`RunFolder::open`] where no sample has a record of settings; [`Error::Conflict`] when another process writes the run.
pub fn repair_settings(run: &Path) -> Result<Option<String>> {
    let Err(wrong) = RunFolder::open(run) else {
        return Ok(None);
    };
    let samples = run.join("samples");
    let last = match disk::exists(&samples) {
        Ok(true) if wrong.is_damage() => StoreCheck::of(&samples)?.whole.pop(),
        _ => None,
    };
    let Some(last) = last.map(|id| samples.join(id.file_name())) else {
        return Err(wrong);
    };
    let record = read_header(&last)?.0.config;
    if !config::is_record(&record) {
        return Err(wrong);
    }
    let _lock = FolderLock::acquire(run)?;
    let path = run.join("config.toml");
    let aside = match disk::exists(&path).map_err(Error::io(&path))? {
        true => put_aside(&path, &run.join("damaged"))? + ", and ",
        false => String::new(),
    };
    write_text(&path, &record)?;
    Ok(Some(format!(
        "{aside}{} has the settings that {} carries: a run that was made longer after it is as long as it was then",
        path.display(),
        last.display()
    )))
}

impl RunCheck {
    /// Looks at a checkpoint and the one before it; returns the steps that the newer one holds, if it is whole.
    fn checkpoint(&mut self, path: &Path) -> Result<Option<u64>> {
        let found = CheckpointCheck::of(path)?;
        let newest = found.steps();
        self.missing_checkpoints.extend(found.missing);
        self.checkpoints.extend(found.whole);
        self.damaged.extend(found.damaged);
        self.unreadable.extend(found.unreadable);
        self.without_trace.extend(found.without_trace);
        Ok(newest)
    }

    /// Lists a file by what is wrong with it.
    fn wrong(&mut self, path: PathBuf, e: &Error) {
        let list = match e.is_damage() {
            true => &mut self.damaged,
            false => &mut self.unreadable,
        };
        list.push((path, e.to_string()));
    }

    /// Looks at the small files that a run goes on with, or adds to.
    fn records(&mut self, folder: &RunFolder) -> Result<()> {
        let path = folder.file(spent::NAME);
        if let Err(e) = read_json::<Spent>(&path) {
            self.wrong(path, &e);
        }
        if let Err(e) = read_json::<Vec<String>>(&folder.lost()) {
            self.wrong(folder.lost(), &e);
        }
        let path = folder.file(results::INDEX);
        if let Err(e) = read_json::<Map<String, Value>>(&path) {
            self.wrong(path, &e);
        }
        Ok(())
    }

    /// Looks at the run's baseline and at those of chains' own. One that lies outside the folder is looked at by whoever uses it.
    fn baselines(&mut self, folder: &RunFolder, config: &Config) -> Result<()> {
        let own = |chain: u32| folder.baseline(chain);
        for path in (0..config.chains).map(own) {
            if disk::exists(&path).map_err(Error::io(&path))?
                && let Err(e) = Reader::open(&path, Kind::Baseline)
            {
                self.wrong(path, &e);
            }
        }
        let named = config.model_path.clone().unwrap_or_else(|| own(0));
        if !disk::exists(&named).map_err(Error::io(&named))? {
            self.without_baseline = Some(named);
        }
        Ok(())
    }

    /// Returns whether nothing is damaged and nothing missing.
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty()
            && self.unreadable.is_empty()
            && self.without_trace.is_empty()
            && self.missing.is_empty()
            && self.without_checkpoint.is_empty()
            && self.without_baseline.is_none()
            && self.missing_checkpoints.is_empty()
            && self.edited.is_none()
    }

    /// Returns whether `--repair` changes anything.
    fn can_be_mended(&self) -> bool {
        !self.damaged.is_empty()
            || !self.without_trace.is_empty()
            || !self.missing.is_empty()
            || !self.missing_checkpoints.is_empty()
    }

    /// Returns what was found as text for a person.
    pub fn text(&self) -> String {
        let mut lines = vec![format!("{} samples are whole", self.samples)];
        let steps = |(path, step): &(PathBuf, u64)| {
            format!("{} is whole and holds {step} steps", path.display())
        };
        lines.extend(self.checkpoints.iter().map(steps));
        // What is wrong names the file.
        lines.extend(
            self.damaged
                .iter()
                .map(|(_, why)| format!("damaged: {why}")),
        );
        let unreadable = self.unreadable.iter();
        lines.extend(unreadable.map(|(_, why)| format!("not read: {why}")));
        let without = self.without_trace.iter();
        lines.extend(without.map(|(_, why)| format!("without its trace: {why}")));
        lines.extend(self.missing.iter().map(|name| format!("missing: {name}")));
        if let Some(path) = &self.without_baseline {
            lines.push(format!(
                "missing: {}, the run's baseline: put it back, or give it with --model-path FILE",
                path.display()
            ));
        }
        let gone = self.missing_checkpoints.iter();
        lines.extend(gone.map(|path| {
            format!(
                "missing: {}, but the checkpoint before it is whole",
                path.display()
            )
        }));
        lines.extend(self.edited.iter().map(|what| format!("edited: {what}")));
        for chain in &self.without_checkpoint {
            lines.push(format!(
                "chain {chain} has samples but no checkpoint: `bnn train --resume {} --restart-chain` draws them again and compares",
                self.run_dir.display()
            ));
        }
        let of = |what: &str, paths: &[PathBuf]| -> Vec<String> {
            let line = |path: &PathBuf| format!("{what}: {}", path.display());
            paths.iter().map(line).collect()
        };
        lines.extend(of("no sample, passed over", &self.foreign));
        lines.extend(of("left by a killed process", &self.leftovers));
        lines.extend(self.repaired.iter().map(|r| format!("repaired: {r}")));
        if self.can_be_mended() && self.repaired.is_empty() {
            lines.push(format!(
                "`bnn check {} --repair` moves damaged files aside and lets the run go on",
                self.run_dir.display()
            ));
        }
        lines.join("\n")
    }
}
