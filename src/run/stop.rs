//! Signals: whether somebody asked the command to stop, and the exit code that says so.

use crate::error::{Error, Result};
use signal_hook::consts::signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The signals that ask for an end: Ctrl-C, `kill`, and a terminal that is closed.
#[cfg(unix)]
const ENDING: [i32; 3] = [signal::SIGINT, signal::SIGTERM, signal::SIGHUP];
#[cfg(not(unix))]
const ENDING: [i32; 2] = [signal::SIGINT, signal::SIGTERM];

/// The exit code of a process that a signal ended is this and the signal's number, as shells have it.
const OF_SIGNALS: usize = 128;

/// Whether the work was asked to stop. Clones share the answer.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// The number of the signal that asked; 0 before one came.
    signal: Arc<AtomicUsize>,
    /// Whether the work is to end because a part of it failed.
    failed: Arc<AtomicBool>,
    /// Whether the answer to the signal was said.
    answered: Arc<AtomicBool>,
}

/// The longest that other words wait for the answer to a signal, for a terminal that does not take it.
const ANSWER: Duration = Duration::from_millis(200);

impl Stop {
    /// Lets a signal ask the work to stop, and a second one end the process at once. Signals that were ignored when the process began, as by `nohup`, stay
    /// ignored.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen(&self) -> Result<()> {
        // A file that grows over the limit of `ulimit -f` is then an error of the call, not the end of the process.
        #[cfg(unix)]
        signal_hook::flag::register(signal::SIGXFSZ, Arc::default()).map_err(refused)?;
        listen(&heard(), self).map_err(refused)
    }

    /// Lets a signal end the process at once, with the exit code that says which it was: for work that leaves nothing half done.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn end_at_once(&self) -> Result<()> {
        let always = Arc::new(true.into());
        let shutdown = signal_hook::flag::register_conditional_shutdown;
        heard()
            .into_iter()
            .try_for_each(|s| shutdown(s, OF_SIGNALS as i32 + s, Arc::clone(&always)).map(drop))
            .map_err(refused)
    }

    /// Returns whether the work was asked to stop.
    pub fn is_asked(&self) -> bool {
        self.signal.load(Ordering::Relaxed) != 0 || self.failed.load(Ordering::Relaxed)
    }

    /// Returns what stops parts of the work: what stops all of it, and the failure of one of them.
    pub fn of_parts(&self) -> Self {
        Self {
            failed: Arc::default(),
            ..self.clone()
        }
    }

    /// Asks the other parts of the work to stop, since one has failed.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Checks that the work was not asked to stop.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn check(&self) -> Result<()> {
        if self.is_asked() {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Waits until the answer to the signal was said, so that what the work says of its end comes after it.
    pub fn wait_for_answer(&self) {
        let asked = Instant::now();
        let listens = self.signal.load(Ordering::Relaxed) != 0;
        while listens && !self.answered.load(Ordering::Relaxed) && asked.elapsed() < ANSWER {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns the exit code of work that was stopped: 128 and the signal's number.
    pub fn exit_code(&self) -> u8 {
        let number = match self.signal.load(Ordering::Relaxed) {
            0 => signal::SIGINT as usize,
            number => number,
        };
        u8::try_from(OF_SIGNALS + number).unwrap_or(u8::MAX)
    }
}

fn refused(e: std::io::Error) -> Error {
    Error::Unsupported(format!("expected to listen to signals, got: {e}"))
}

/// Returns the ending signals that were not ignored when the process began.
fn heard() -> Vec<i32> {
    let ignored = ignored();
    let is_heard = |s: &i32| ignored >> (s - 1) & 1 == 0;
    ENDING.into_iter().filter(is_heard).collect()
}

/// Returns the set of ignored signals, bit n - 1 for signal n. Linux alone shows it to safe code; elsewhere no signal counts as ignored.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    set.and_then(|s| u64::from_str_radix(s.trim(), 16).ok())
        .unwrap_or(0)
}

/// Listens on a thread of its own, which never writes and so cannot be held up.
#[cfg(unix)]
fn listen(signals: &[i32], stop: &Stop) -> std::io::Result<()> {
    /// One wish may come as several signals: `timeout` and shells send theirs to a process and to its group.
    const ONE_WISH: Duration = Duration::from_millis(100);
    let mut signals = signal_hook::iterator::Signals::new(signals)?;
    let thread = std::thread::Builder::new().name("signals".into());
    let (asked, answered) = (Arc::clone(&stop.signal), Arc::clone(&stop.answered));
    let work = move || {
        let mut first: Option<Instant> = None;
        for signal in signals.forever() {
            match first {
                None => {
                    first = Some(Instant::now());
                    asked.store(signal as usize, Ordering::Relaxed);
                    // A terminal that does not take the words must not keep the next signal waiting. Without a thread nothing is said.
                    let answered = Arc::clone(&answered);
                    let say = move || {
                        let _ = super::terminal::say(
                            "stopping after this step (press Ctrl-C again to stop at once)",
                        );
                        answered.store(true, Ordering::Relaxed);
                    };
                    let _ = std::thread::Builder::new().spawn(say);
                }
                Some(first) if first.elapsed() < ONE_WISH => {}
                Some(_) => signal_hook::low_level::exit(OF_SIGNALS as i32 + signal),
            }
        }
    };
    thread.spawn(work).map(drop)
}

#[cfg(not(unix))]
fn listen(signals: &[i32], stop: &Stop) -> std::io::Result<()> {
    use signal_hook::flag::{register, register_conditional_shutdown, register_usize};
    let again = Arc::new(false.into());
    for &s in signals {
        register_conditional_shutdown(s, OF_SIGNALS as i32 + s, Arc::clone(&again))?;
        register(s, Arc::clone(&again))?;
        register_usize(s, stop.signal.clone(), s as usize)?;
    }
    // Nothing is said there.
    stop.answered.store(true, Ordering::Relaxed);
    Ok(())
}
