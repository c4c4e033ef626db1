//! The threads of the host: the CPU computes on them, and f64 algebra runs on them beside any device.

use crate::error::{Error, Result};
use std::sync::Arc;

/// The number of multiplications that take a thread about as long as waking another (some 50 us).
const MIN_WORK: usize = 1 << 21;

/// A pool of threads. Cloning shares it.
#[derive(Clone, Debug)]
pub struct HostPool {
    pool: Option<Arc<rayon::ThreadPool>>, // None: one thread, the caller's
    threads: usize,
}

impl HostPool {
    /// Creates a pool of `threads` threads; 0 means as many as the machine has. With one thread, everything runs on the caller's.
    ///
    /// # Errors
    /// Returns an error when the threads cannot be started.
    pub fn new(threads: usize) -> Result<Self> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
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
                    .map(Arc::new)
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

    /// Returns whether the pool has threads beside the caller's.
    pub(in crate::backend) fn is_parallel(&self) -> bool {
        self.pool.is_some()
    }

    /// Runs `f` on a thread of the pool, so that parallel work inside starts without a hand-over each.
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(f),
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
    /// Returns an error when `f` fails.
    pub fn each<T: Send>(
        &self,
        items: &mut [T],
        f: impl Fn(usize, &mut T) -> Result<()> + Sync,
    ) -> Result<()> {
        match &self.pool {
            Some(pool) => pool.install(|| halves(items, 0, &f)),
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
