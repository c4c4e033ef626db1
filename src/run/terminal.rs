//! Standard output and standard error, either of which may break while the work is worth finishing.

use crate::error::{Error, Result};
use std::io::{ErrorKind, Write};

/// What errors call standard output.
const STDOUT: &str = "standard output";

/// Says a line on standard error.
///
/// # Errors
/// When it cannot be written; most callers have nobody to tell and go on.
pub fn say(line: &str) -> std::io::Result<()> {
    // One write a line, so that lines of several processes do not mix.
    std::io::stderr().write_all(format!("{line}\n").as_bytes())
}

/// Writes text to standard output.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Error::io(STDOUT))
}

/// Standard output for work that goes on when it breaks: the first failure is kept for the end, and nothing is written after it.
#[derive(Debug, Default)]
pub struct Output {
    failed: Option<Error>,
}

impl Output {
    /// Writes text, unless an earlier one failed.
    pub fn print(&mut self, text: &str) {
        if self.failed.is_none() {
            self.failed = print(text).err();
        }
    }

    /// Gives back what failed, once the results are stored.
    ///
    /// # Errors
    /// The first failure.
    pub fn finish(self) -> Result<()> {
        self.failed.map_or(Ok(()), Err)
    }
}

/// Returns whether an error says that the reader of standard output is gone.
pub fn is_broken_output(e: &Error) -> bool {
    matches!(e, Error::Io { path, source } if path.as_os_str() == STDOUT && source.kind() == ErrorKind::BrokenPipe)
}

/// Ends the process without a word, as Unix tools end when the reader of their output is gone: by SIGPIPE. Elsewhere with exit code 1.
pub fn end_by_broken_output() -> ! {
    #[cfg(unix)]
    let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
    std::process::exit(1)
}
