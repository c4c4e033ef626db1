//! The instruction set: found at run time, forced by `BNN_ISA`, and a macro that compiles a plain function for each.
#![allow(unsafe_code)] // one call a function, behind a value that only detection makes

use crate::error::{Error, Result};

/// An instruction set that this machine has: a value proves it, since only detection makes one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Isa {
    level: Level,
    amx: bool,
}

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

const PORTABLE: Isa = Isa::of(Level::Portable, false);
const AVX2: Isa = Isa::of(Level::Avx2, false);
const AVX512: Isa = Isa::of(Level::Avx512, false);
const AMX: Isa = Isa::of(Level::Avx512, true);

/// The words of `BNN_ISA`.
const NAMES: &str = "portable, avx2, avx512 or amx";

impl Isa {
    const fn of(level: Level, amx: bool) -> Self {
        Self { level, amx }
    }

    /// The widest that this machine has, or what the environment variable `BNN_ISA` (`portable`, `avx2`, `avx512`, `amx`) asks for.
    ///
    /// # Errors
    /// When `BNN_ISA` is another word, or names instructions that are not there.
    pub fn detect() -> Result<Self> {
        match std::env::var("BNN_ISA") {
            Ok(name) => Self::named(&name),
            Err(std::env::VarError::NotPresent) => Ok(Self::all().pop().unwrap_or(PORTABLE)),
            Err(e) => Err(Error::invalid("BNN_ISA", NAMES, e)),
        }
    }

    /// The instruction set of that name, if the machine has it.
    pub fn named(name: &str) -> Result<Self> {
        let isa = match name {
            "portable" => PORTABLE,
            "avx2" => AVX2,
            "avx512" => AVX512,
            "amx" => AMX,
            other => return Err(Error::invalid("BNN_ISA", NAMES, other)),
        };
        isa.available().ok_or_else(|| {
            Error::Unsupported(format!("BNN_ISA={name}: this machine does not have it"))
        })
    }

    /// Every instruction set of this machine, the plainest first.
    pub fn all() -> Vec<Self> {
        let all = [PORTABLE, AVX2, AVX512, AMX];
        all.into_iter().filter_map(Self::available).collect()
    }

    /// Whether AVX-512 is in use and multiplies pairs of bf16 (AVX512_BF16).
    pub fn has_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            self.level == Level::Avx512 && is_x86_feature_detected!("avx512bf16")
        }
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Whether AMX tiles of bf16 are in use, beside AVX-512.
    pub fn has_amx(self) -> bool {
        self.amx
    }

    /// AVX-512 and AMX without asking whether AMX is there: for a process that serves its instructions itself, as the tests do.
    ///
    /// # Safety
    /// AVX-512 with AVX512_BF16 is there, and an AMX instruction in this process does what it should.
    #[doc(hidden)]
    pub unsafe fn assume_amx() -> Self {
        AMX
    }

    /// The level of vectors.
    pub fn level(self) -> Level {
        self.level
    }

    fn available(self) -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        let amx = super::amx::there;
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        let amx = || false;
        let there = match self.level {
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
        (there && (!self.amx || amx())).then_some(self)
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
