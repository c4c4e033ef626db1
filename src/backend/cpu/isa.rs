//! The instruction set: found at run time, forced by `BNN_ISA`, and a macro that compiles a plain function for each.
#![allow(unsafe_code)] // one call a function, behind a value that only detection makes

use crate::error::{Error, Result};

/// An instruction set that this machine has: a value proves it, since only detection makes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Isa(Level);

/// The levels that kernels are compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// What the compiler's target guarantees.
    Portable,
    /// AVX2 and FMA: 8 lanes.
    Avx2,
    /// AVX-512 F, BW, DQ, VL: 16 lanes.
    Avx512,
}

impl Isa {
    /// The widest that this machine has, or what the environment variable `BNN_ISA` (`portable`, `avx2`, `avx512`) asks for.
    ///
    /// # Errors
    /// When `BNN_ISA` is another word, or names instructions that are not there.
    pub fn detect() -> Result<Self> {
        match std::env::var("BNN_ISA") {
            Ok(name) => Self::named(&name),
            Err(std::env::VarError::NotPresent) => Ok([Level::Avx512, Level::Avx2]
                .into_iter()
                .find_map(Self::available)
                .unwrap_or(Self(Level::Portable))),
            Err(e) => Err(Error::invalid("BNN_ISA", "portable, avx2 or avx512", e)),
        }
    }

    /// The instruction set of that name, if the machine has it.
    pub fn named(name: &str) -> Result<Self> {
        let level = match name {
            "portable" => Level::Portable,
            "avx2" => Level::Avx2,
            "avx512" => Level::Avx512,
            other => {
                return Err(Error::invalid("BNN_ISA", "portable, avx2 or avx512", other));
            }
        };
        Self::available(level).ok_or_else(|| {
            Error::Unsupported(format!("BNN_ISA={name}: this machine does not have it"))
        })
    }

    /// Every instruction set of this machine, the plainest first.
    pub fn all() -> Vec<Self> {
        [Level::Portable, Level::Avx2, Level::Avx512]
            .into_iter()
            .filter_map(Self::available)
            .collect()
    }

    /// Whether AVX-512 is in use and multiplies pairs of bf16 (AVX512_BF16).
    pub fn has_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            self.0 == Level::Avx512 && is_x86_feature_detected!("avx512bf16")
        }
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// The level.
    pub fn level(self) -> Level {
        self.0
    }

    fn available(level: Level) -> Option<Self> {
        let there = match level {
            Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("avx2")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        };
        there.then_some(Self(level))
    }
}

/// Compiles a plain function once for each instruction set; the generated function takes an [`Isa`] first and picks.
///
/// Plain Rust arithmetic is never contracted, so all versions give the same bits: they differ in lanes alone.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, unsafe_code)]
        $vis fn $name(isa: $crate::backend::cpu::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn avx512($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
            match isa.level() {
                // SAFETY: an `Isa` of this level is made only after the features were detected.
                #[cfg(target_arch = "x86_64")]
                $crate::backend::cpu::isa::Level::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::backend::cpu::isa::Level::Avx512 => unsafe { avx512($($arg),*) },
                _ => body($($arg),*),
            }
        }
    };
}
pub(crate) use multiversion;
