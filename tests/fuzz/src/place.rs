//! A folder for the files of one process, in the folder for temporary files: `tests/fuzz.sh` chooses one in memory.

use std::path::PathBuf;

/// A folder that is taken away in the end.
pub struct Place(PathBuf);

impl Place {
    /// Makes a folder that no other process has.
    pub fn new(what: &str) -> Self {
        let name = format!("bnn-fuzz-{what}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    /// Returns the path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
