//! The threads of the host: the CPU computes on them, and f64 algebra runs on them beside any device.

use crate::error::{Error, Result};
use std::sync::Arc;

/// The number of multiplications that take a thread about as long as waking another (some 50 us).
const MIN_WORK: usize = 1 << 21;

/// A pool of threads. Cloning shares it.
///
/// The threads are those of the process that made the pool. One that was forked off it has none of them, and work that is given to the pool
/// there would wait for ever: it is refused.
#[derive(Clone, Debug)]
pub struct HostPool {
    pool: Option<Arc<Pool>>, // None: one thread, the caller's
    threads: usize,
}

/// The threads, and whose they are.
#[derive(Debug)]
struct Pool {
    threads: Option<rayon::ThreadPool>, // there until it is dropped
    process: u32,
}

impl Pool {
    /// Checks that this is the process whose threads they are.
    fn check(&self) -> Result<()> {
        match std::process::id() {
            own if own == self.process => Ok(()),
            other => Err(Error::Unsupported(format!(
                "the threads of this context belong to process {}, and process {other} was forked off it without them: make a context, and \
                 what is computed in it, after the fork, or fork with a context of one thread",
                self.process
            ))),
        }
    }

    /// Returns the threads.
    ///
    /// # Panics
    /// Panics in a forked process, whose work they would never do.
    fn threads(&self) -> &rayon::ThreadPool {
        if let Err(e) = self.check() {
            panic!("{e}");
        }
        self.threads.as_ref().expect("threads until the drop")
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.check().is_err() {
            // Who ends threads tells them, through locks that may have been held at the fork.
            std::mem::forget(self.threads.take());
        }
    }
}

impl HostPool {
    /// Creates a pool of `threads` threads; 0 means as many as `RAYON_NUM_THREADS` or else `OMP_NUM_THREADS` say, and without either as many as the
    /// machine has. With one thread, everything runs on the caller's.
    ///
    /// # Errors
    /// Returns an error when the threads cannot be started.
    pub fn new(threads: usize) -> Result<Self> {
        let threads = match threads {
            0 => usual_threads(),
            n => n,
        };
        if threads > 1024 {
            return Err(Error::out_of_range("threads", "0 (all) to 1024", threads));
        }
        let pool = (threads > 1)
            .then(|| {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|i| format!("bnn-{i}"))
                    .build()
                    .map(|pool| {
                        Arc::new(Pool {
                            threads: Some(pool),
                            process: std::process::id(),
                        })
                    })
                    .map_err(|e| {
                        Error::Unsupported(format!("could not start {threads} threads: {e}"))
                    })
            })
            .transpose()?;
        Ok(Self { pool, threads })
    }

    /// Returns the number of threads, at least 1.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Checks that this process has the pool's threads: one that was forked off the pool's own has not.
    ///
    /// # Errors
    /// Returns [`Error::Unsupported`] in a forked process. A pool of one thread, the caller's, works in any.
    pub fn check_process(&self) -> Result<()> {
        self.pool.as_ref().map_or(Ok(()), |pool| pool.check())
    }

    /// Returns whether the pool has threads beside the caller's.
    pub(in crate::backend) fn is_parallel(&self) -> bool {
        self.pool.is_some()
    }

    /// Runs `f` on a thread of the pool, so that parallel work inside starts without a hand-over each.
    ///
    /// # Panics
    /// Panics in a process that was forked off the pool's own ([`HostPool::check_process`]).
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.threads().install(f),
            None => f(),
        }
    }

    /// Runs `f` as one piece of work of about `work` multiplications: few are not worth the hand-over.
    pub fn batch<R: Send>(&self, work: usize, f: impl FnOnce() -> R + Send) -> R {
        if work < MIN_WORK { f() } else { self.run(f) }
    }

    /// Runs `f` on every item, several at a time. Returns the first error in the order of the items.
    ///
    /// # Errors
    /// Returns an error when `f` fails, and fails as [`HostPool::check_process`] does.
    pub fn each<T: Send>(
        &self,
        items: &mut [T],
        f: impl Fn(usize, &mut T) -> Result<()> + Sync,
    ) -> Result<()> {
        match &self.pool {
            Some(pool) => {
                pool.check()?;
                pool.threads().install(|| halves(items, 0, &f))
            }
            None => items.iter_mut().enumerate().try_for_each(|(i, t)| f(i, t)),
        }
    }
}

/// Runs `f` on every item, halving the slice; `first` is the index of items[0].
fn halves<T: Send>(
    items: &mut [T],
    first: usize,
    f: &(impl Fn(usize, &mut T) -> Result<()> + Sync),
) -> Result<()> {
    match items {
        [] => Ok(()),
        [one] => f(first, one),
        many => {
            let mid = many.len() / 2;
            let (a, b) = many.split_at_mut(mid);
            let (a, b) = rayon::join(|| halves(a, first, f), || halves(b, first + mid, f));
            a.and(b)
        }
    }
}

/// Returns the threads that the environment asks for, or those of the machine. A value that is no number of 1 or more, such as OpenMP's list for nested
/// regions, is passed over.
fn usual_threads() -> usize {
    let mut asked = ["RAYON_NUM_THREADS", "OMP_NUM_THREADS"].into_iter();
    let asked = asked.find_map(|name| std::env::var(name).ok()?.trim().parse().ok());
    let machine = || std::thread::available_parallelism().map_or(1, |n| n.get());
    asked.filter(|n| *n > 0).unwrap_or_else(machine)
}
