//! The device that was asked for. The CPU is the one there is; another is a variant here and a file in each operation's folder.

mod lower;
mod operations;

use super::{Cpu, GemmPrecision, Precision};
use crate::error::{Error, Result};

/// A device, chosen at run time. Cloning a handle shares the device.
#[derive(Clone, Debug)]
pub enum Device {
    /// Threads of this machine.
    Cpu(Cpu),
}

/// A buffer of a [`Device`]. What it holds is read and written through the device alone.
pub struct Buffer<C>(Place<C>);

/// Which device a buffer lies on.
enum Place<C> {
    Cpu(C),
}

impl Device {
    /// The CPU with `threads` threads; 0 takes as many as the machine has.
    ///
    /// # Errors
    /// As [`Cpu::new`].
    pub fn cpu(threads: usize) -> Result<Self> {
        Ok(Self::Cpu(Cpu::new(threads)?))
    }

    /// The device of that name, `cpu`, with `threads` threads on the host.
    ///
    /// # Errors
    /// When this build has no device of that name, and as [`Device::cpu`].
    pub fn named(name: &str, threads: usize) -> Result<Self> {
        match name {
            "cpu" => Self::cpu(threads),
            other => Err(Error::Unsupported(format!(
                "device {other}: this build computes on `cpu` alone"
            ))),
        }
    }

    /// The name that [`Device::named`] knows it by.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
        }
    }

    /// The same device with products of another precision; what it runs on is shared.
    pub fn with_precision(self, precision: Precision) -> Self {
        match self {
            Self::Cpu(cpu) => Self::Cpu(cpu.with_precision(precision)),
        }
    }

    /// How exactly products are asked to be computed.
    pub fn precision(&self) -> Precision {
        match self {
            Self::Cpu(cpu) => cpu.precision(),
        }
    }

    /// What products of matrices keep to.
    pub fn gemm_precision(&self) -> GemmPrecision {
        match self {
            Self::Cpu(cpu) => cpu.gemm_precision(),
        }
    }

    /// How many threads of the host it computes on.
    pub fn threads(&self) -> usize {
        match self {
            Self::Cpu(cpu) => cpu.threads(),
        }
    }
}
