//! The original's environment names, from the process and from `.env` in the working folder.

use super::progress::Log;
use crate::data::check_regular;
use crate::disk;
use crate::error::{Error, Result};
use crate::settings::Given;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The names that are read.
const NAMES: [&str; 6] = [
    "BASE_DIR",
    "DATA_DIR",
    "DEVICE",
    "META_PATH",
    "MODEL_PATH",
    "WANDB_AVAILABLE",
];

/// What the help says of the environment.
pub const ENVIRONMENT: &str = "\
Environment, for train, baseline and eval also in `.env` in the working folder; flags and --config win over it:
  DATA_DIR    as --data-dir; not read where --data is given
  META_PATH   as --meta-path; not read where --data is given
  MODEL_PATH  as --model-path
  BASE_DIR    runs and baselines are kept in BASE_DIR/checkpoints/samplers, as --save-dir
  DEVICE      the device; this build has the CPU alone, so it may only be cpu
  RAYON_NUM_THREADS, OMP_NUM_THREADS  threads where --threads is 0, from the process alone
  BNN_ISA     instruction set of the kernels: portable, avx2, avx512 or amx, from the process alone; the best there is otherwise";

/// Values of environment names: the process's own win over those of a file.
#[derive(Debug, Default)]
pub struct Environment {
    file: BTreeMap<String, String>,
}

impl Environment {
    /// Reads `.env` in the working folder, where there is one, and says what it gives. Folders above are not looked into, and a folder of that name
    /// is something else.
    ///
    /// # Errors
    /// When the file is not a regular one, cannot be read, or has a line that is no `NAME=value`.
    pub fn with_file(log: &mut Log) -> Result<Self> {
        let folder = std::env::current_dir().map_err(Error::io("."))?;
        let path = folder.join(".env");
        match disk::metadata(&path) {
            Ok(found) if !found.is_dir() => Self::read(&path, log),
            _ => Ok(Self::default()),
        }
    }

    fn read(path: &Path, log: &mut Log) -> Result<Self> {
        check_regular(path)?;
        let place = path.display().to_string();
        let bad = |e: dotenvy::Error| match e {
            dotenvy::Error::Io(e) => Error::io(path)(e),
            e => Error::data(
                &place,
                format!("expected lines NAME=value or # comment, got: {e}"),
            ),
        };
        let mut file = BTreeMap::new();
        for pair in dotenvy::from_path_iter(path).map_err(bad)? {
            let (name, value) = pair.map_err(bad)?;
            if name == "BNN_ISA" {
                log.say(&format!(
                    "warning: {place}: BNN_ISA is not taken from a file; set it in the environment"
                ));
            } else if NAMES.contains(&name.as_str()) {
                // The first of several counts, as it does for a variable that is set.
                file.entry(name).or_insert(value);
            }
        }
        let names: Vec<&str> = file.keys().map(String::as_str).collect();
        let given = match names.is_empty() {
            true => "no setting".into(),
            false => names.join(", "),
        };
        log.say(&format!("{place} was read: it gives {given}"));
        Ok(Self { file })
    }

    /// Returns the settings that are given, where `over` gives nothing that wins over them: `BASE_DIR` moves `save_dir`; `DATA_DIR`, `META_PATH` and
    /// `MODEL_PATH` are the settings of those names; `WANDB_AVAILABLE` has nothing to turn on.
    ///
    /// # Errors
    /// Returns the errors of [`Environment::check_device`], and an error when a variable is not UTF-8 or names a file that is not there.
    pub fn given(&self, over: &Given) -> Result<Given> {
        self.check_device()?;
        let there = |name: &str, wanted: bool| -> Result<Option<PathBuf>> {
            let path = self.get(name)?.filter(|_| wanted).map(PathBuf::from);
            match path {
                Some(path) if !disk::exists(&path).map_err(Error::io(&path))? => Err(Error::data(
                    format!("{name}={}", path.display()),
                    "the environment names a place that does not exist",
                )),
                path => Ok(path),
            }
        };
        let text = over.data.is_none();
        Ok(Given {
            save_dir: self
                .get("BASE_DIR")?
                .map(|d| PathBuf::from(d).join("checkpoints/samplers")),
            data_dir: there("DATA_DIR", text && over.data_dir.is_none())?,
            meta_path: there("META_PATH", text && over.meta_path.is_none())?,
            model_path: there("MODEL_PATH", over.model_path.is_none())?,
            ..Given::default()
        })
    }

    /// Checks that `DEVICE` names a device that this build has.
    ///
    /// # Errors
    /// When it does not, or is not UTF-8.
    pub fn check_device(&self) -> Result<()> {
        match self.get("DEVICE")? {
            Some(device) if device != "cpu" => Err(Error::Unsupported(format!(
                "DEVICE={device}: this build has the CPU alone; set DEVICE=cpu"
            ))),
            _ => Ok(()),
        }
    }

    /// Returns a value, none where it is not set or empty.
    fn get(&self, name: &str) -> Result<Option<String>> {
        let value = match std::env::var(name) {
            Ok(value) => value,
            Err(std::env::VarError::NotPresent) => self.file.get(name).cloned().unwrap_or_default(),
            Err(e) => return Err(Error::out_of_range(name, "UTF-8", e)),
        };
        Ok((!value.is_empty()).then_some(value))
    }
}
