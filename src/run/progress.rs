//! What a person sees while a run works: a bar on a terminal, a plain line now and then elsewhere, and the log.

use super::terminal;
use crate::disk::File;
use crate::error::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Where the run's words go: standard error, and the log files once there are any. What cannot be written is remarked once, and the work goes on.
#[derive(Default)]
pub struct Log {
    files: Vec<LogFile>,
    /// What was said before the first file was opened.
    early: String,
    /// Whether standard error has failed.
    unheard: bool,
}

struct LogFile {
    file: File,
    path: PathBuf,
    /// Whether writing has failed.
    failed: bool,
}

impl LogFile {
    /// Writes text; the first failure is returned as a remark.
    fn write(&mut self, text: &str) -> Option<String> {
        let e = self.file.write_all(text.as_bytes()).err()?;
        let path = self.path.display();
        (!std::mem::replace(&mut self.failed, true))
            .then(|| format!("warning: {path}: {e}; the log has gaps, the work goes on"))
    }
}

impl Log {
    /// Says a line.
    pub fn say(&mut self, line: &str) {
        if let Err(e) = terminal::say(line)
            && !std::mem::replace(&mut self.unheard, true)
        {
            self.keep(&format!(
                "warning: standard error: {e}; the work goes on, its words are in this log alone"
            ));
        }
        self.keep(line);
    }

    /// Writes a line to the log files alone.
    pub fn keep(&mut self, line: &str) {
        let line = format!("{line}\n");
        if self.files.is_empty() {
            self.early.push_str(&line);
        }
        let remarks: Vec<String> = (self.files.iter_mut())
            .filter_map(|f| f.write(&line))
            .collect();
        // A file that failed does not fail anew, so this ends.
        remarks.iter().for_each(|remark| self.say(remark));
    }

    /// Opens a log file, appending; it begins with what was said before.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(&mut self, path: &Path) -> Result<()> {
        let file = File::append(path).map_err(Error::io(path))?;
        let mut log = LogFile {
            file,
            path: path.to_path_buf(),
            failed: false,
        };
        let remark = log.write(&self.early);
        self.files.push(log);
        if let Some(remark) = remark {
            self.say(&remark);
        }
        Ok(())
    }
}

/// The progress of one piece of work.
pub struct Progress {
    bar: Option<ProgressBar>,
    what: String,
    total: u64,
    first: u64,
    started: Instant,
    last: Instant,
}

impl Progress {
    /// Begins the display of a piece of work, of which `first` steps were made before.
    pub fn new(what: &str, first: u64, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total).with_position(first);
            let style = "{prefix:>10} {bar:30} {pos}/{len} {per_sec} {eta} left  {msg}";
            // The template is a constant; the default bar is what remains if it were wrong.
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.set_prefix(what.to_owned());
            bar.reset_eta();
            bar
        });
        let now = Instant::now();
        Self {
            bar,
            what: what.into(),
            total,
            first,
            started: now,
            last: now,
        }
    }

    /// Shows that `done` steps are made; `state` says how it goes (loss, temperature).
    pub fn at(&mut self, log: &mut Log, done: u64, state: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
        let due = match &self.bar {
            Some(_) => Duration::from_millis(200),
            None => PLAIN_EVERY,
        };
        if self.last.elapsed() < due && done != self.total {
            return;
        }
        self.last = Instant::now();
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = (done - self.first) as f64 / seconds.max(1e-9);
        let left = (self.total - done) as f64 / rate.max(1e-9);
        let line = format!(
            "{} {done}/{}  {rate:.1}/s  {left:.0} s left  {}",
            self.what,
            self.total,
            state()
        );
        match &self.bar {
            Some(bar) => {
                bar.set_message(line.rsplit("left  ").next().unwrap_or_default().to_owned());
                log.keep(&line);
            }
            None => log.say(&line),
        }
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
