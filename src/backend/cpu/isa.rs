//! The instruction set: detected at run time or forced by `BNN_ISA`, and a macro that compiles a plain function for each.
#![allow(unsafe_code)] // one call a function, behind a value that only detection makes

use crate::error::{Error, Result};

/// An instruction set that this machine has. A value is proof of it, since only detection creates one (and [`Isa::assume_amx`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Isa {
    level: Level,
    amx: Amx,
}

/// How AMX is available, beside the level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Amx {
    None,
    /// The processor has it. The system is asked for its registers when a product first needs them, because that changes what the whole
    /// process may do.
    There,
    /// It is assumed without asking.
    Assumed,
}

/// The levels that kernels are compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// The baseline of the compiler's target.
    Portable,
    /// AVX2 and FMA: 8 lanes.
    Avx2,
    /// AVX-512 F, BW, DQ, VL: 16 lanes.
    Avx512,
}

const PORTABLE: Isa = Isa::of(Level::Portable, Amx::None);
const AVX2: Isa = Isa::of(Level::Avx2, Amx::None);
const AVX512: Isa = Isa::of(Level::Avx512, Amx::None);
const AMX: Isa = Isa::of(Level::Avx512, Amx::There);
const ALL: [Isa; 4] = [PORTABLE, AVX2, AVX512, AMX];

/// The values of `BNN_ISA`.
const NAMES: &str = "portable, avx2, avx512 or amx";

impl Isa {
    const fn of(level: Level, amx: Amx) -> Self {
        Self { level, amx }
    }

    /// Returns the widest set that this processor has, or the one that the environment variable `BNN_ISA` names (`portable`, `avx2`,
    /// `avx512`, `amx`).
    ///
    /// # Errors
    /// Returns an error when `BNN_ISA` has another value, or names instructions that this machine does not have.
    pub fn detect() -> Result<Self> {
        match std::env::var("BNN_ISA") {
            Ok(name) => Self::named(&name),
            Err(std::env::VarError::NotPresent) => {
                let there = ALL.into_iter().rev().find(|isa| isa.is_there());
                Ok(there.unwrap_or(PORTABLE))
            }
            Err(e) => Err(Error::out_of_range("BNN_ISA", NAMES, e)),
        }
    }

    /// Returns the instruction set of that name, if the machine has it.
    pub fn named(name: &str) -> Result<Self> {
        let isa = match name {
            "portable" => PORTABLE,
            "avx2" => AVX2,
            "avx512" => AVX512,
            "amx" => AMX,
            other => return Err(Error::out_of_range("BNN_ISA", NAMES, other)),
        };
        isa.is_usable().then_some(isa).ok_or_else(|| {
            Error::Unsupported(format!("BNN_ISA={name}: this machine does not have it"))
        })
    }

    /// Returns every instruction set of this machine, from the narrowest to the widest.
    pub fn all() -> Vec<Self> {
        ALL.into_iter().filter(|isa| isa.is_usable()).collect()
    }

    /// Returns whether AVX-512 is in use and multiplies pairs of bf16 (AVX512_BF16).
    pub fn has_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            self.level == Level::Avx512 && is_x86_feature_detected!("avx512bf16")
        }
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Returns whether AMX tiles of bf16 are in use, beside AVX-512. The first call asks the system for them, for the whole process: from
    /// then on signal stacks too small for their state are refused, and while such a stack exists the system refuses the request.
    pub fn has_amx(self) -> bool {
        match self.amx {
            Amx::None => false,
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Amx::There => super::amx::is_usable(),
            #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
            Amx::There => false,
            Amx::Assumed => true,
        }
    }

    /// Returns AVX-512 with AMX without asking whether AMX is there: for a process that emulates its instructions, as the tests do.
    ///
    /// # Safety
    /// The set `avx512` is there, with AVX512_BF16 ([`Isa::has_bf16`]), and an AMX instruction in this process does what it should.
    #[doc(hidden)]
    pub unsafe fn assume_amx() -> Self {
        Self::of(Level::Avx512, Amx::Assumed)
    }

    /// Returns the level of the vectors.
    pub fn level(self) -> Level {
        self.level
    }

    /// Returns the name by which `BNN_ISA` asks for it.
    pub fn name(self) -> &'static str {
        match (self.level, self.amx) {
            (Level::Portable, _) => "portable",
            (Level::Avx2, _) => "avx2",
            (Level::Avx512, Amx::None) => "avx512",
            (Level::Avx512, _) => "amx",
        }
    }

    /// Returns whether the processor has it and the system grants what must be requested.
    fn is_usable(self) -> bool {
        self.is_there() && (self.amx == Amx::None || self.has_amx())
    }

    /// Returns whether the processor has it.
    fn is_there(self) -> bool {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        let amx = super::amx::is_there;
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        let amx = || false;
        let level = match self.level {
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
        level && (self.amx == Amx::None || amx())
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
                // SAFETY: an `Isa` of this level is made only after the features were detected.
                #[cfg(target_arch = "x86_64")]
                $crate::backend::cpu::isa::Level::Avx512 => unsafe { avx512($($arg),*) },
                _ => body($($arg),*),
            }
        }
    };
}
pub(crate) use multiversion;
