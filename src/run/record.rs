//! Paths in a run's `config.toml`: which are written, and which are followed when the run is opened.
//!
//! A record comes with its folder, from wherever that was: what it names outside the folder is followed only where it is compared by hash, as the text is
//! and an older baseline.

use super::config::Config;
use super::folder::RunFolder;
use crate::disk;
use crate::error::{Error, Result};
use std::path::{Component, Path, PathBuf};

impl RunFolder {
    /// Returns the settings as the folder's `config.toml` has them: paths in the folder are relative to it.
    ///
    /// # Errors
    /// When a value has no TOML form.
    pub(super) fn record(&self, config: &Config, corpus_sha256: &[u8; 32]) -> Result<String> {
        let mut config = config.clone();
        let inside = self.path.canonicalize().map_err(Error::io(&self.path))?;
        let named = [
            &mut config.data,
            &mut config.data_dir,
            &mut config.meta_path,
            &mut config.model_path,
        ];
        for path in named.into_iter().flatten() {
            // What is not there is recorded as it was named.
            if let Ok(full) = path.canonicalize()
                && let Ok(relative) = full.strip_prefix(&inside)
            {
                *path = relative.to_path_buf();
            }
        }
        config.to_record(corpus_sha256)
    }

    /// Makes of the paths in a record those that are followed. Where models are kept depends on where the folder lies now; a second copy of the log
    /// goes, and a text to report on is read, only where a flag says so.
    pub(super) fn follow(&mut self, config: &mut Config) -> Result<()> {
        let text = [
            &mut config.data,
            &mut config.data_dir,
            &mut config.meta_path,
        ];
        for path in text.into_iter().flatten() {
            // An absolute path stays as it is.
            *path = self.path.join(&path);
        }
        (config.log_dir, config.test) = (None, None);
        config.save_dir = self.keeps_in()?;
        config.model_path = Some(self.follow_baseline(config.model_path.as_deref())?);
        Ok(())
    }

    /// Returns where `baselines` of a run lies: beside the runs, where it was made, or else in its folder.
    fn keeps_in(&self) -> Result<PathBuf> {
        let full = self.path.canonicalize().map_err(Error::io(&self.path))?;
        let of_sampler = full.parent();
        let of_sampler = of_sampler.filter(|p| p.ends_with(format!("{}_sampler", self.sampler)));
        let beside = of_sampler.and_then(Path::parent);
        let beside = beside.filter(|p| p.join("baselines").is_dir());
        Ok(beside.map_or_else(|| self.path.clone(), Path::to_path_buf))
    }

    /// Returns the run's baseline: its own, or the one that its record names, of which it is remembered when it lies outside.
    fn follow_baseline(&mut self, named: Option<&Path>) -> Result<PathBuf> {
        let own = self.baseline(0);
        let is_plain = |p: &Path| p.components().all(|c| matches!(c, Component::Normal(_)));
        let path = match named {
            Some(p) if !p.is_absolute() && !is_plain(p) => {
                return Err(Error::conflict(format!(
                    "model_path {} leads out of the run: put the baseline at {}, or give it with --model-path FILE and take the line out",
                    p.display(),
                    own.display()
                )));
            }
            Some(p) if !disk::exists(&own).map_err(Error::io(&own))? => self.path.join(p),
            _ => own,
        };
        let inside = self.path.canonicalize().map_err(Error::io(&self.path))?;
        // One that is not there is refused by name where it is needed.
        if path
            .canonicalize()
            .is_ok_and(|full| !full.starts_with(&inside))
        {
            self.outside = Some(path.clone());
        }
        Ok(path)
    }
}
