//! AMX: whether this process may use the tile registers, and the six instructions that the products use.
//!
//! A tile is 16 rows of 64 bytes: 16 x 16 of f32, 16 x 32 of bf16 in a left operand, and in a right one 16 x 16 pairs of bf16, each pair
//! two elements that follow each other along k. Every block that changes a tile declares all eight as clobbered, which is all that the compiler
//! can be told of them: no value of its own lies in one. It has no instruction that touches them where AMX is not enabled, and `asm!` that is not
//! `pure` stays in order. So they hold what these functions put there, as long as a [`Tiles`] lives.
#![allow(unsafe_code)] // instructions that the compiler has no name for

use std::arch::asm;
use std::sync::OnceLock;

/// An `asm!` block that changes tile registers.
macro_rules! tile_asm {
    ($($words:tt)*) => {
        asm!($($words)*,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _)
    };
}

/// Returns whether the processor multiplies tiles of bf16 and the system lets this process use the registers. Asked once.
pub fn is_usable() -> bool {
    static USABLE: OnceLock<bool> = OnceLock::new();
    *USABLE.get_or_init(|| is_there() && is_permitted())
}

/// CPUID leaf 7: AMX-BF16 (EDX bit 22) and AMX-TILE (bit 24). Packing needs AVX512_BF16 besides.
#[allow(unused_unsafe)] // safe in newer compilers
pub fn is_there() -> bool {
    // SAFETY: every x86-64 has CPUID, and leaf 0 says whether there is a leaf 7.
    let (most, features) = unsafe {
        use std::arch::x86_64::{__cpuid, __cpuid_count};
        (__cpuid(0).eax, __cpuid_count(7, 0).edx)
    };
    most >= 7
        && features >> 22 & 1 == 1
        && features >> 24 & 1 == 1
        && is_x86_feature_detected!("avx512bf16")
}

/// Requests the 8 KiB of state, once per process; a kernel may not know the request, or may refuse it.
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and touches no memory of ours.
    let refused = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) };
    refused == 0
}

/// What LDTILECFG reads: palette 1, and for each tile its rows and the bytes of one.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Eight whole tiles.
static WHOLE: Shapes = {
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    let mut t = 0;
    while t < 8 {
        (row_bytes[t], rows[t]) = (64, 16);
        t += 1;
    }
    Shapes {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes,
        rows,
    }
};

/// The tile registers of this thread, eight whole tiles. They are released on drop: a thread that holds them has 8 KiB more to save
/// whenever it is interrupted, and its core does not sleep deeply.
pub struct Tiles(std::marker::PhantomData<*const ()>); // of one thread

impl Tiles {
    /// # Safety
    /// The instructions are there and may be used ([`is_usable`]), and this thread has no other `Tiles`.
    pub unsafe fn new() -> Self {
        // SAFETY: the caller says that the instructions may be used; the 64 bytes are a static.
        unsafe {
            tile_asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE, options(nostack, readonly, preserves_flags))
        };
        Self(std::marker::PhantomData)
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: a `Tiles` is made only where the instructions are.
        unsafe { tile_asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}

/// Sets tile T to 0.
///
/// # Safety
/// This thread has [`Tiles`].
#[inline(always)]
pub unsafe fn zero<const T: usize>() {
    // SAFETY: the caller holds this thread's `Tiles`.
    unsafe { tile_asm!("tilezero tmm{t}", t = const T, options(nostack, nomem, preserves_flags)) }
}

/// Loads tile T from the 16 rows of 64 bytes that begin at `from`, `stride` bytes apart.
///
/// # Safety
/// This thread has [`Tiles`], and the rows can be read.
#[inline(always)]
pub unsafe fn load<const T: usize, E>(from: *const E, stride: usize) {
    // SAFETY: the caller holds this thread's `Tiles`, and the rows can be read.
    unsafe {
        tile_asm!("tileloadd tmm{t}, [{from} + {stride}*1]", t = const T, from = in(reg) from, stride = in(reg) stride,
            options(nostack, readonly, preserves_flags))
    }
}

/// Stores tile T to the 16 rows of 64 bytes that begin at `to`, `stride` bytes apart.
///
/// # Safety
/// This thread has [`Tiles`], and nothing else accesses the rows meanwhile.
#[inline(always)]
pub unsafe fn store<const T: usize>(to: *mut f32, stride: usize) {
    // SAFETY: the caller holds this thread's `Tiles`, and nothing else accesses the rows.
    unsafe {
        asm!("tilestored [{to} + {stride}*1], tmm{t}", t = const T, to = in(reg) to, stride = in(reg) stride,
            options(nostack, preserves_flags))
    }
}

/// Computes tile C += A B, with A of (16, 32) bf16 and B of 16 x 16 pairs. Sums are f32, rounded to nearest; denormals count as 0.
///
/// # Safety
/// This thread has [`Tiles`].
#[inline(always)]
pub unsafe fn multiply<const C: usize, const A: usize, const B: usize>() {
    // SAFETY: the caller holds this thread's `Tiles`.
    unsafe {
        tile_asm!("tdpbf16ps tmm{c}, tmm{a}, tmm{b}", c = const C, a = const A, b = const B,
            options(nostack, nomem, preserves_flags))
    }
}
