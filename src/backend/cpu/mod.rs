//! The CPU: a thread pool of its own, the instruction set found at run time, and what its operations share.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
mod blocks;
pub(in crate::backend) mod chunk;
pub mod gemm;
pub mod isa;
pub(in crate::backend) mod math;
pub(in crate::backend) mod noise;
pub(in crate::backend) mod pages;
pub(in crate::backend) mod par;
mod roofline;
pub(in crate::backend) mod squares;

pub use isa::Isa;
pub(in crate::backend) use par::Rows;

use crate::backend::{GemmPrecision, Precision};
use crate::error::{Error, Result};
use std::sync::Arc;

/// A CPU context: one thread pool, shared by everything that is computed in it. Cloning shares the pool.
///
/// Results do not depend on the number of threads: work is split over outputs, never over a sum.
#[derive(Clone)]
pub struct Cpu {
    pub(in crate::backend) pool: Option<Arc<rayon::ThreadPool>>, // None: one thread, the caller's
    pub(in crate::backend) threads: usize,
    pub(in crate::backend) isa: Isa,
    precision: Precision,
}

impl std::fmt::Debug for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cpu")
            .field("threads", &self.threads)
            .field("isa", &self.isa)
            .field("precision", &self.precision)
            .finish()
    }
}

impl Cpu {
    /// A context with `threads` threads; 0 takes as many as the machine has. With one thread everything runs on the caller's.
    ///
    /// # Errors
    /// When the threads cannot be started, or when `BNN_ISA` asks for instructions that this machine does not have.
    pub fn new(threads: usize) -> Result<Self> {
        Self::with_isa(threads, Isa::detect()?)
    }

    /// Like [`Cpu::new`], with the instruction set forced.
    pub fn with_isa(threads: usize, isa: Isa) -> Result<Self> {
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
        Ok(Self {
            pool,
            threads,
            isa,
            precision: Precision::default(),
        })
    }

    /// The same context with products of another precision; its threads are shared.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// How exactly products are computed.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// What products of matrices keep to with these instructions.
    pub fn gemm_precision(&self) -> GemmPrecision {
        match self.precision {
            Precision::High if self.isa.has_amx() => GemmPrecision::Bits15,
            Precision::Medium if self.isa.has_bf16() => GemmPrecision::Bits7,
            _ => GemmPrecision::F32,
        }
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Runs `f` on a thread of the pool, so that the operations inside start without a hand-over each.
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(f),
            None => f(),
        }
    }

    /// Splits `rows` rows of the outputs into contiguous parts of a multiple of `grain` rows and runs `f` on each.
    ///
    /// `f` gets the range of rows and that part of every output. A row's result must not depend on the split.
    pub(in crate::backend) fn rows<const N: usize>(
        &self,
        rows: usize,
        grain: usize,
        outs: [Rows<'_>; N],
        f: impl Fn(std::ops::Range<usize>, [&mut [f32]; N]) + Sync,
    ) {
        match &self.pool {
            // One part is not worth waking anybody.
            Some(pool) if rows > grain => {
                pool.install(|| par::split(0..rows, self.threads, grain, outs, &f))
            }
            _ => par::serial(0..rows, outs, &f),
        }
    }
}
