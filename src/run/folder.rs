//! The run folder: the original's names, in one place.

use super::config::{self, Config};
use crate::disk::{self, File};
use crate::error::{Error, Result};
use crate::store::{Store, replace_file};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// `<save_dir>/<s>_sampler/run_<time>/`.
#[derive(Clone, Debug)]
pub struct RunFolder {
    /// The folder.
    pub path: PathBuf,
    /// The sampler's name, which most files begin with.
    pub sampler: String,
    /// `%Y%m%d-%H%M%S`, UTC, from the folder's name.
    pub stamp: String,
    /// SHA-256 of the run's text, where its record says it.
    pub corpus_sha256: Option<[u8; 32]>,
    /// The baseline that the record names, where it lies outside the folder.
    pub(super) outside: Option<PathBuf>,
}

impl RunFolder {
    /// Makes a new folder, named after the time.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(config: &Config) -> Result<Self> {
        let sampler = config.sampler.name().to_owned();
        let parent = config.save_dir.join(format!("{sampler}_sampler"));
        disk::make_folders(&parent).map_err(Error::io(&parent))?;
        let time = now();
        // Two runs in one second get different folders.
        for n in 1.. {
            let stamp = match n {
                1 => time.clone(),
                n => format!("{time}-{n}"),
            };
            let path = parent.join(format!("run_{stamp}"));
            match disk::make_folder(&path) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        sampler,
                        stamp,
                        corpus_sha256: None,
                        outside: None,
                    });
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io(&path)(e)),
            }
        }
        unreachable!("the loop ends by returning")
    }

    /// Checks that runs can be kept in a folder, before anything is computed for them.
    ///
    /// # Errors
    /// When it cannot be made or written into, and when its path is not UTF-8, which `config.toml` could not say.
    pub fn check_place(save_dir: &Path) -> Result<()> {
        let cannot = |e: std::io::Error| {
            let place = format!("save_dir {}", save_dir.display());
            Error::data(place, format!("runs cannot be kept there: {e}"))
        };
        disk::make_folders(save_dir).map_err(cannot)?;
        let probe = save_dir.join(format!(".writable.{}.tmp", std::process::id()));
        match File::create_new(&probe) {
            // Left by a killed process of our number: it could be written.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            made => drop(made.map_err(cannot)?),
        }
        disk::remove(&probe).map_err(cannot)?;
        check_utf8("save_dir", &save_dir.canonicalize().map_err(cannot)?)
    }

    /// Opens a run's folder. Its settings name the paths that are followed.
    ///
    /// # Errors
    /// When it holds no whole `config.toml`, and when that names a path out of the folder.
    pub fn open(path: &Path) -> Result<(Self, Config)> {
        let at = path.join("config.toml");
        if let Err(e) = disk::metadata(&at)
            && e.kind() == ErrorKind::NotFound
        {
            let message = "expected the folder of a run, such as checkpoints/samplers/baoa_sampler/run_<time>: there is no config.toml in it";
            return Err(mendable(
                path,
                Error::data(path.display().to_string(), message),
            ));
        }
        let place = |e: Error| Error::data(at.display().to_string(), e.to_string());
        let recorded = config::recorded(&at).map_err(|e| mendable(path, e))?;
        let settings = recorded.given.recorded().map_err(place);
        let mut config = settings.map_err(|e| mendable(path, e))?;
        let name = path.canonicalize().map_err(Error::io(path))?;
        let stamp = name
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.strip_prefix("run_"))
            .map_or_else(now, str::to_owned);
        let mut folder = Self {
            path: path.to_path_buf(),
            sampler: config.sampler.name().to_owned(),
            stamp,
            corpus_sha256: recorded.corpus_sha256,
            outside: None,
        };
        folder.follow(&mut config).map_err(place)?;
        Ok((folder, config))
    }

    /// Returns the path of a file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns the path of the configuration that reproduces the run.
    pub fn config(&self) -> PathBuf {
        self.file("config.toml")
    }

    /// Returns the path of the folder of samples.
    pub fn samples(&self) -> PathBuf {
        self.file("samples")
    }

    /// Returns the path of a chain's checkpoint.
    pub fn chain(&self, chain: u32) -> PathBuf {
        self.file(&format!("chain_{chain:02}.bnn"))
    }

    /// Returns the path of a fit's checkpoint.
    pub fn fit(&self, chain: u32) -> PathBuf {
        self.file(&match chain {
            0 => format!("{}_state.bnn", self.sampler),
            chain => format!("{}_state_{chain:02}.bnn", self.sampler),
        })
    }

    /// Returns the path of the list of samples that were given up.
    pub fn lost(&self) -> PathBuf {
        self.file("lost_samples.json")
    }

    /// Returns the path of the folder to which damaged files are moved.
    pub fn damaged(&self) -> PathBuf {
        self.file("damaged")
    }

    /// Returns the path of `<s>_metrics.json`.
    pub fn metrics(&self) -> PathBuf {
        self.file(&format!("{}_metrics.json", self.sampler))
    }

    /// Returns the path of `<s>_summary.txt`.
    pub fn summary(&self) -> PathBuf {
        self.file(&format!("{}_summary.txt", self.sampler))
    }

    /// Returns the name `<s>_training_<time>.log`.
    pub fn log_name(&self) -> String {
        format!("{}_training_{}.log", self.sampler, self.stamp)
    }
}

/// Returns an error about a run's settings with what mends them, where the run has samples: each carries the settings that it was drawn with.
fn mendable(run: &Path, e: Error) -> Error {
    let has_samples = || Store::open(run.join("samples")).is_ok_and(|s| !s.is_empty());
    match e.is_damage() && has_samples() {
        true => Error::conflict(format!(
            "{e}: `bnn check {} --repair` writes config.toml anew with the settings that the samples carry",
            run.display()
        )),
        false => e,
    }
}

/// Checks that a path can be written into a configuration.
///
/// # Errors
/// When it is not UTF-8.
pub fn check_utf8(setting: &str, path: &Path) -> Result<()> {
    match path.to_str() {
        Some(_) => Ok(()),
        None => Err(Error::out_of_range(
            setting,
            "a path in UTF-8, which config.toml can hold",
            path.display(),
        )),
    }
}

/// Returns the time in the form that file names have, in UTC.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string()
}

/// Writes text beside and renames.
///
/// # Errors
/// When the folder or the disk refuses.
pub fn write_text(path: &Path, text: &str) -> Result<()> {
    replace_file(path, |f| {
        f.write_all(text.as_bytes()).map_err(Error::io(path))
    })
}

/// Writes JSON beside and renames.
///
/// # Errors
/// Returns the errors of [`write_text`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::data(path.display().to_string(), e.to_string()))?;
    write_text(path, &(text + "\n"))
}

/// Reads JSON; none where there is no file.
///
/// # Errors
/// When it cannot be read or is no such JSON.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match disk::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == ErrorKind::InvalidData => {
            let place = path.display().to_string();
            return Err(Error::data(place, format!("expected JSON in UTF-8: {e}")));
        }
        Err(e) => return Err(Error::io(path)(e)),
    };
    let bad = |e: serde_json::Error| Error::data(path.display().to_string(), e.to_string());
    serde_json::from_str(&text).map(Some).map_err(bad)
}
