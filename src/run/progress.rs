//! What a person sees while a run works: a bar on a terminal, a plain line now and then elsewhere, and the log.

use super::terminal;
use crate::disk::File;
use crate::error::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// Between two plain lines, and two lines of the log.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// Between two states that a bar shows.
const BAR_EVERY: Duration = Duration::from_millis(200);

/// A word of a chain that runs beside others, for the log that speaks for all.
pub enum Word {
    /// A line for everybody.
    Say(String),
    /// Lines for the log files alone.
    Keep(String),
    /// How far the chain is.
    At {
        /// The chain.
        chain: u32,
        /// Steps that were made before.
        first: u64,
        /// Steps that are made.
        done: u64,
        /// Steps that it makes in all.
        total: u64,
        /// How it goes.
        state: String,
    },
}

/// The way from a chain's log to the one that speaks for all.
struct Relay {
    chain: u32,
    words: Sender<Word>,
}

impl Relay {
    /// Passes a word on. Where nobody listens any more, there is nobody to tell.
    fn pass(&self, word: Word) {
        let _ = self.words.send(word);
    }
}

/// Where the run's words go: standard error, and the log files once there are any. What cannot be written is remarked once, and the work goes on.
#[derive(Default)]
pub struct Log {
    /// Another log that says everything in this one's place.
    relay: Option<Relay>,
    files: Vec<LogFile>,
    /// What was said before the first file was opened.
    early: String,
    /// Whether standard error has failed.
    unheard: bool,
    /// Whether only warnings are said.
    quiet: bool,
    /// The bar that stands on the terminal now.
    bar: Option<ProgressBar>,
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
    /// Creates a log without files; a quiet one says warnings alone, and keeps everything.
    pub fn new(quiet: bool) -> Self {
        Self {
            quiet,
            ..Self::default()
        }
    }

    /// Creates the log of a chain that runs beside others: another log says its words.
    pub fn of_chain(chain: u32, words: Sender<Word>) -> Self {
        Self {
            relay: Some(Relay { chain, words }),
            ..Self::default()
        }
    }

    /// Returns whether only warnings are said.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Says a line.
    pub fn say(&mut self, line: &str) {
        if let Some(relay) = &self.relay {
            return relay.pass(Word::Say(of_chain(relay.chain, line)));
        }
        let heard = !self.quiet || line.starts_with("warning");
        let said = match &self.bar {
            _ if !heard => Ok(()),
            // The bar makes room, and comes back below the line.
            Some(bar) => bar.suspend(|| terminal::say(line)),
            None => terminal::say(line),
        };
        if let Err(e) = said
            && !std::mem::replace(&mut self.unheard, true)
        {
            self.keep(&format!(
                "warning: standard error: {e}; the work goes on, its words are in this log alone"
            ));
        }
        self.keep(line);
    }

    /// Writes lines to the log files alone, each with the time in UTC.
    pub fn keep(&mut self, lines: &str) {
        if let Some(relay) = &self.relay {
            return relay.pass(Word::Keep(of_chain(relay.chain, lines)));
        }
        let time = jiff::Timestamp::now().strftime("%H:%M:%S");
        let line: String = lines.lines().map(|l| format!("{time} {l}\n")).collect();
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

/// Returns a chain's line with its number; a warning stays one.
fn of_chain(chain: u32, line: &str) -> String {
    let own = format!("chain {chain} ");
    match line.strip_prefix("warning: ") {
        _ if line.starts_with(&own) => line.to_owned(),
        Some(rest) => format!("warning: chain {chain}: {rest}"),
        None => format!("chain {chain}: {line}"),
    }
}

/// The progress of one piece of work.
pub struct Progress {
    bar: Option<ProgressBar>,
    what: String,
    total: u64,
    first: u64,
    started: Instant,
    /// When the state was shown last, and when it was logged.
    shown: Instant,
    logged: Instant,
    /// Steps that were made when the state was asked for last.
    last: u64,
}

impl Progress {
    /// Begins the display of a piece of work, of which `first` steps were made before.
    pub fn new(what: &str, first: u64, total: u64) -> Self {
        let moves = std::env::var("TERM").is_ok_and(|t| t != "dumb");
        let bar = (moves && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(total).with_position(first);
            // Short, and cut at the terminal's edge: a line that wraps could not be taken back.
            let style = "{prefix} {bar:10} {pos}/{len} {eta} left  {wide_msg}";
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
            shown: now,
            logged: now,
            last: first,
        }
    }

    /// Takes in that `steps` more of them were made before.
    pub fn made_before(&mut self, steps: u64) {
        self.first += steps;
    }

    /// Shows that `done` steps are made; `state` says how it goes (loss, temperature).
    pub fn at(&mut self, log: &mut Log, done: u64, state: impl FnOnce() -> String) {
        if let Some(relay) = &log.relay {
            self.bar = None;
            if self.shown.elapsed() >= BAR_EVERY || done == self.total {
                self.shown = Instant::now();
                relay.pass(Word::At {
                    chain: relay.chain,
                    first: self.first,
                    done,
                    total: self.total,
                    state: state(),
                });
            }
            return;
        }
        if log.quiet {
            self.bar = None;
        }
        log.bar.clone_from(&self.bar);
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
        // The end is said once, however often the work looks whether it is to stop after it.
        let ends = done == self.total && self.last != done;
        self.last = done;
        let due = |since: Instant, every| since.elapsed() >= every || ends;
        let show = self.bar.is_some() && due(self.shown, BAR_EVERY);
        let keep = due(self.logged, PLAIN_EVERY);
        if !show && !keep {
            return;
        }
        let state = state();
        if let Some(bar) = self.bar.as_ref().filter(|_| show) {
            bar.set_message(state.clone());
            self.shown = Instant::now();
        }
        if keep {
            self.logged = Instant::now();
            let line = self.line(done, &state);
            match self.bar {
                Some(_) => log.keep(&line),
                None => log.say(&line),
            }
        }
    }

    /// Returns a plain line: how far it is, how fast, how long it takes, and how it goes.
    fn line(&self, done: u64, state: &str) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = (done - self.first) as f64 / seconds.max(1e-9);
        let left = (self.total - done) as f64 / rate.max(1e-9);
        let (what, total) = (&self.what, self.total);
        format!("{what} {done}/{total}  {rate:.1}/s  {left:.0} s left  {state}")
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
