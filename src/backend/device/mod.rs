//! The device that was asked for. The CPU is the only one so far; another is a variant here and a file in each operation's folder.

mod lower;
mod operations;

use super::{Cpu, GemmPrecision, Precision};
use crate::error::{Error, Result};

/// A device, chosen at run time. Cloning a handle shares the device.
#[derive(Clone)]
pub enum Device {
    /// The threads of this machine.
    Cpu(Cpu),
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu(cpu) => cpu.fmt(f),
        }
    }
}

/// A buffer of a [`Device`]. Its contents are read and written only through the device.
pub struct Buffer<C>(Place<C>);

/// The device that a buffer lies on.
enum Place<C> {
    Cpu(C),
}

impl Device {
    /// Returns the CPU with `threads` threads; 0 means as many as the machine has.
    ///
    /// # Errors
    /// Fails as [`Cpu::new`] does.
    pub fn cpu(threads: usize) -> Result<Self> {
        Ok(Self::Cpu(Cpu::new(threads)?))
    }

    /// Returns the device named `name` (`cpu`), with `threads` threads on the host.
    ///
    /// # Errors
    /// Returns an error when this build has no device of that name, and fails as [`Device::cpu`] does.
    pub fn named(name: &str, threads: usize) -> Result<Self> {
        match name {
            "cpu" => Self::cpu(threads),
            other => Err(Error::Unsupported(format!(
                "device {other}: this build computes on `cpu` alone"
            ))),
        }
    }

    /// Returns the name by which [`Device::named`] finds the device.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
        }
    }

    /// Returns what the last bits of results depend on beside the precision: the processor's instruction set, as in `cpu avx512`.
    pub fn instructions(&self) -> String {
        match self {
            Self::Cpu(cpu) => format!("{} {}", self.name(), cpu.isa().name()),
        }
    }

    /// Returns a handle that shares this device and computes products with another precision.
    pub fn with_precision(self, precision: Precision) -> Self {
        match self {
            Self::Cpu(cpu) => Self::Cpu(cpu.with_precision(precision)),
        }
    }

    /// Returns the requested precision of matrix products.
    pub fn precision(&self) -> Precision {
        match self {
            Self::Cpu(cpu) => cpu.precision(),
        }
    }

    /// Returns the precision that matrix products keep to.
    pub fn gemm_precision(&self) -> GemmPrecision {
        match self {
            Self::Cpu(cpu) => cpu.gemm_precision(),
        }
    }

    /// Returns the number of host threads that the device computes on.
    pub fn threads(&self) -> usize {
        match self {
            Self::Cpu(cpu) => cpu.threads(),
        }
    }
}
