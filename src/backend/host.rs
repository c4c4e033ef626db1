//! Threads of the host: what the CPU computes on, and what f64 algebra beside any device runs on.

use crate::error::{Error, Result};
use std::sync::Arc;

/// Multiplications that take a thread about as long as waking another (some 50 us).
const MIN_WORK: usize = 1 << 21;

/// A pool of threads. Cloning shares it.
#[derive(Clone, Debug)]
pub struct HostPool {
    pool: Option<Arc<rayon::ThreadPool>>, // None: one thread, the caller's
    threads: usize,
}

impl HostPool {
    /// A pool of `threads` threads; 0 takes as many as the machine has. With one thread everything runs on the caller's.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn new(threads: usize) -> Result<Self> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        };
        if threads > 1024 {
            return Err(Error::invalid("threads", "0 (all) to 1024", threads));
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

    /// How many threads it has, at least 1.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Whether it has threads of its own.
    pub(in crate::backend) fn is_parallel(&self) -> bool {
        self.pool.is_some()
    }

    /// Runs `f` on a thread of the pool, so that what is split inside starts without a hand-over each.
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(f),
            None => f(),
        }
    }

    /// Runs `f` as one piece of work. `work` is about how many multiplications it is: few are not worth the one hand-over.
    pub fn batch<R: Send>(&self, work: usize, f: impl FnOnce() -> R + Send) -> R {
        if work < MIN_WORK { f() } else { self.run(f) }
    }

    /// Runs `f` on every item, several at a time. Returns the first item's error, in their order.
    ///
    /// # Errors
    /// When `f` fails.
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
