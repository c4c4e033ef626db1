//! The baselines in a run's folder: put there, and compared with what the run's files name.

use super::Context;
use super::config::Config;
use super::folder::RunFolder;
use super::hex;
use crate::disk;
use crate::error::{Error, Result};
use crate::store::{Store, copy_file, link_file, previous, read_header};
use std::path::{Path, PathBuf};

impl RunFolder {
    /// Returns the path of the run's baseline, or of the one that a chain has of its own.
    pub fn baseline(&self, chain: u32) -> PathBuf {
        match chain {
            0 => self.file("baseline.bnn"),
            chain => self.file(&format!("baseline_{chain:02}.bnn")),
        }
    }

    /// Puts a baseline into the folder, and returns its path there. A file of the folder `kept`, which is never written to, gets a second name; what a
    /// person named is copied.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn keep_baseline(&self, chain: u32, from: &Path, kept: &Path) -> Result<PathBuf> {
        let to = self.baseline(chain);
        let full = from.canonicalize().map_err(Error::io(from))?;
        if to.canonicalize().is_ok_and(|there| there == full) {
            return Ok(to);
        }
        // A folder that is not there keeps nothing.
        match kept.canonicalize() {
            Ok(kept) if full.parent() == Some(&kept) => link_file(&full, &to)?,
            _ => copy_file(&full, &to)?,
        }
        Ok(to)
    }

    /// Returns the file of the run's baseline: the one that was asked for, or the folder's.
    ///
    /// # Errors
    /// When it is not there. It is never trained anew: another one would be another run's.
    pub(super) fn baseline_file(&self, config: &Config) -> Result<PathBuf> {
        let path = config.model_path.clone();
        let path = path.unwrap_or_else(|| self.baseline(0));
        if disk::exists(&path).map_err(Error::io(&path))? {
            return Ok(path);
        }
        Err(Error::data(
            path.display().to_string(),
            format!(
                "the run's baseline is missing: put it at {}, or give it with --model-path FILE",
                self.baseline(0).display()
            ),
        ))
    }

    /// Checks a baseline that does not lie in the folder: its parameters must be those that the run's checkpoints or samples name. One that a flag names
    /// may begin a run that has none of them yet.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for other parameters; [`Error::Conflict`] where nothing tells and no flag names it.
    pub(super) fn check_baseline(
        &self,
        path: &Path,
        sha256: &[u8; 32],
        ctx: &mut Context,
    ) -> Result<()> {
        let named_by_record = self.outside.as_deref() == Some(path);
        if path == self.baseline(0) && !named_by_record {
            return Ok(());
        }
        match self.baseline_sha256() {
            Some(known) if known != *sha256 => Err(Error::Mismatch {
                path: path.into(),
                what: "baseline".into(),
                expected: hex(&known),
                got: hex(sha256),
            }),
            Some(_) => {
                ctx.log.say(&format!(
                    "note: the baseline {} lies outside the run; its parameters are those that the run's files name",
                    path.display()
                ));
                Ok(())
            }
            None if named_by_record => Err(Error::conflict(format!(
                "{} lies outside the run, and the run has no checkpoint and no sample to compare it with: put it at {}, or give it with --model-path FILE",
                path.display(),
                self.baseline(0).display()
            ))),
            None => Ok(()),
        }
    }

    /// Returns the hash of the baseline that the run's checkpoints or samples name.
    fn baseline_sha256(&self) -> Option<[u8; 32]> {
        let (chain, fit) = (self.chain(0), self.fit(0));
        let checkpoints = [chain.clone(), previous(&chain), fit.clone(), previous(&fit)];
        // A file that is missing or damaged does not tell, and the next may.
        let of_checkpoint = checkpoints.iter().find_map(|path| {
            let (header, _) = read_header(path).ok()?;
            Some(header.baseline_sha256)
        });
        let of_samples = || {
            let store = Store::open(self.samples()).ok()?;
            Some(store.provenance().baseline_sha256)
        };
        let found = of_checkpoint.or_else(of_samples);
        found.filter(|hash| *hash != [0; 32])
    }
}
