//! The CPU: its thread pool, the instruction set detected at run time, and what its operations share.

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

use crate::backend::{GemmPrecision, HostPool, Precision};
use crate::error::Result;
use std::ops::Range;

/// A CPU context: one thread pool, shared by everything that is computed in it. Cloning shares the pool.
///
/// Results do not depend on the number of threads: work is split over outputs, never over a sum.
#[derive(Clone)]
pub struct Cpu {
    pub(in crate::backend) host: HostPool,
    pub(in crate::backend) isa: Isa,
    precision: Precision,
}

impl std::fmt::Debug for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cpu")
            .field("threads", &self.threads())
            .field("isa", &self.isa)
            .field("precision", &self.precision)
            .finish()
    }
}

impl Cpu {
    /// Creates a context with `threads` threads; 0 means as many as the machine has. With one thread, everything runs on the caller's.
    ///
    /// # Errors
    /// Returns an error when the threads cannot be started, or when `BNN_ISA` asks for instructions that this machine does not have.
    pub fn new(threads: usize) -> Result<Self> {
        Self::with_isa(threads, Isa::detect()?)
    }

    /// Creates a context like [`Cpu::new`], with the instruction set forced.
    pub fn with_isa(threads: usize, isa: Isa) -> Result<Self> {
        Ok(Self {
            host: HostPool::new(threads)?,
            isa,
            precision: Precision::default(),
        })
    }

    /// Returns a context that shares the threads of this one and computes products with another precision.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Returns the requested precision of matrix products.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Returns the precision that matrix products keep to with these instructions.
    pub fn gemm_precision(&self) -> GemmPrecision {
        match self.precision {
            Precision::High if self.isa.has_amx() => GemmPrecision::Bits15,
            Precision::Medium if self.isa.has_bf16() => GemmPrecision::Bits7,
            _ => GemmPrecision::F32,
        }
    }

    /// Returns the number of threads.
    pub fn threads(&self) -> usize {
        self.host.threads()
    }

    /// Returns the instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Runs `f` on a thread of the pool, so that the operations inside start without a hand-over each.
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.host.run(f)
    }

    /// Splits `rows` rows of the outputs into contiguous parts of a multiple of `grain` rows and runs `f` on each.
    ///
    /// `f` gets the range of rows and that part of every output. A row's result must not depend on the split.
    pub(in crate::backend) fn rows<const N: usize>(
        &self,
        rows: usize,
        grain: usize,
        outs: [Rows<'_>; N],
        f: impl Fn(Range<usize>, [&mut [f32]; N]) + Sync,
    ) {
        // One part is not worth waking anybody.
        if rows > grain && self.host.is_parallel() {
            let parts = self.threads();
            self.run(|| par::split(0..rows, parts, grain, outs, &f));
        } else {
            par::serial(0..rows, outs, &f);
        }
    }

    /// Runs `f` on each of `count` members and on that member's part of every output.
    pub(in crate::backend) fn members<const N: usize>(
        &self,
        count: usize,
        outs: [Rows<'_>; N],
        f: impl Fn(usize, [&mut [f32]; N]) + Sync,
    ) {
        let widths = outs.each_ref().map(|out| out.width);
        self.rows(count, 1, outs, |range, outs| {
            let mut rest = outs;
            for member in range {
                let mut i = 0;
                let parts = rest.each_mut().map(|out| {
                    let (now, later) = std::mem::take(out).split_at_mut(widths[i]);
                    *out = later;
                    i += 1;
                    now
                });
                f(member, parts);
            }
        });
    }
}
