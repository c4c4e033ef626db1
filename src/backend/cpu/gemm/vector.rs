//! The SIMD vectors that the kernels are written in: 16 lanes of AVX-512, 8 of AVX2, 8 in plain Rust.
#![allow(unsafe_op_in_unsafe_fn)] // each body is an intrinsic or two, and its contract the trait's

/// A register of f32.
///
/// Every method needs the instruction set: callers are reached through an `Isa` of that level, which is made only after the set was detected.
pub trait Vector: Copy {
    const LANES: usize;
    /// Returns 0 in every lane.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn zero() -> Self;
    /// Loads all lanes.
    ///
    /// # Safety
    /// The instruction set is there, and `p` covers `LANES` numbers; it need not be aligned.
    unsafe fn load(p: *const f32) -> Self;
    /// Loads the first `n < LANES` lanes; the others are 0 and their memory is not touched.
    ///
    /// # Safety
    /// The instruction set is there, and `p` covers `n` numbers.
    unsafe fn load_first(n: usize, p: *const f32) -> Self;
    /// Returns self * b + c, rounded once where the machine fuses.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// Returns the sum over the lanes of each of eight vectors, all in one order.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn sums(v: [Self; 8]) -> [f32; 8];
}

/// The operations that a tile of C needs beyond those of [`Vector`].
pub trait TileVector: Vector {
    /// Returns x in every lane.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn splat(x: f32) -> Self;
    /// Loads all lanes and widens them from bf16s, which are the upper halves of f32s.
    ///
    /// # Safety
    /// The instruction set is there, and `p` covers `LANES` numbers; it need not be aligned.
    unsafe fn load_bf16(p: *const u16) -> Self;
    /// Stores all lanes.
    ///
    /// # Safety
    /// The instruction set is there, and nothing else accesses the `LANES` numbers at `p`, which need not be aligned.
    unsafe fn store(self, p: *mut f32);
    /// Returns the sum, lane by lane.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn add(self, other: Self) -> Self;
}

/// Eight lanes in plain Rust: multiplication and addition are rounded separately, as most portable targets have no fused instruction.
impl Vector for [f32; 8] {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Self {
        [0.0; 8]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        p.cast::<Self>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn load_first(n: usize, p: *const f32) -> Self {
        std::array::from_fn(|i| if i < n { *p.add(i) } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        std::array::from_fn(|i| self[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn sums(v: [Self; 8]) -> [f32; 8] {
        v.map(|x| {
            let y: [f32; 4] = std::array::from_fn(|i| x[i] + x[i + 4]);
            (y[0] + y[2]) + (y[1] + y[3])
        })
    }
}

impl TileVector for [f32; 8] {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> Self {
        p.cast::<[u16; 8]>()
            .read_unaligned()
            .map(crate::bf16::to_f32)
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        p.cast::<Self>().write_unaligned(self)
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        std::array::from_fn(|i| self[i] + other[i])
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::Pairs;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{TileVector, Vector};
    use std::arch::x86_64::*;

    impl Vector for __m256 {
        const LANES: usize = 8;
        #[inline(always)]
        unsafe fn zero() -> Self {
            _mm256_setzero_ps()
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            _mm256_loadu_ps(p)
        }
        #[inline(always)]
        unsafe fn load_first(n: usize, p: *const f32) -> Self {
            _mm256_maskload_ps(p, first8(n))
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            _mm256_fmadd_ps(self, b, c)
        }
        #[inline(always)]
        unsafe fn sums(v: [Self; 8]) -> [f32; 8] {
            // Each step folds two vectors into one, so that the adds work on full registers.
            let fold = |a, b| _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let fold2 = |a, b| {
                _mm256_add_ps(
                    _mm256_shuffle_ps::<0x44>(a, b),
                    _mm256_shuffle_ps::<0xee>(a, b),
                )
            };
            let lo = fold2(fold(v[0], v[1]), fold(v[2], v[3]));
            let hi = fold2(fold(v[4], v[5]), fold(v[6], v[7]));
            let sums = _mm256_add_ps(
                _mm256_permute2f128_ps::<0x20>(lo, hi),
                _mm256_permute2f128_ps::<0x31>(lo, hi),
            );
            let mut out = [0.0; 8];
            _mm256_storeu_ps(out.as_mut_ptr(), sums);
            out
        }
    }

    impl TileVector for __m256 {
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            _mm256_set1_ps(x)
        }
        #[inline(always)]
        unsafe fn load_bf16(p: *const u16) -> Self {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            _mm256_storeu_ps(p, self)
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            _mm256_add_ps(self, other)
        }
    }

    /// Returns a mask with all bits set in the first n of 8 lanes.
    ///
    /// # Safety
    /// AVX2 is there.
    #[inline(always)]
    unsafe fn first8(n: usize) -> __m256i {
        _mm256_cmpgt_epi32(
            _mm256_set1_epi32(n as i32),
            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
        )
    }

    impl Vector for __m512 {
        const LANES: usize = 16;
        #[inline(always)]
        unsafe fn zero() -> Self {
            _mm512_setzero_ps()
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            _mm512_loadu_ps(p)
        }
        #[inline(always)]
        unsafe fn load_first(n: usize, p: *const f32) -> Self {
            _mm512_maskz_loadu_ps(first16(n), p)
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            _mm512_fmadd_ps(self, b, c)
        }
        #[inline(always)]
        unsafe fn sums(v: [Self; 8]) -> [f32; 8] {
            let mut half = [_mm256_setzero_ps(); 8];
            for i in 0..8 {
                let high = _mm512_extractf32x8_ps::<1>(v[i]);
                half[i] = _mm256_add_ps(_mm512_castps512_ps256(v[i]), high);
            }
            __m256::sums(half)
        }
    }

    impl TileVector for __m512 {
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            _mm512_set1_ps(x)
        }
        #[inline(always)]
        unsafe fn load_bf16(p: *const u16) -> Self {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            _mm512_storeu_ps(p, self)
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            _mm512_add_ps(self, other)
        }
    }

    /// Sixteen f32 sums, or sixteen pairs of bf16 that are multiplied into them (AVX512_BF16). A product of two bf16s is exact in f32;
    /// denormals count as 0.
    #[derive(Clone, Copy)]
    pub struct Pairs(__m512);

    impl Vector for Pairs {
        const LANES: usize = 16;
        #[inline(always)]
        unsafe fn zero() -> Self {
            Self(_mm512_setzero_ps())
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self {
            Self(_mm512_loadu_ps(p))
        }
        #[inline(always)]
        unsafe fn load_first(n: usize, p: *const f32) -> Self {
            Self(_mm512_maskz_loadu_ps(first16(n), p))
        }
        /// Returns c plus both products of each lane's pairs.
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            let pairs = |x: __m512| std::mem::transmute::<__m512, __m512bh>(x);
            Self(_mm512_dpbf16_ps(c.0, pairs(self.0), pairs(b.0)))
        }
        #[inline(always)]
        unsafe fn sums(v: [Self; 8]) -> [f32; 8] {
            __m512::sums(v.map(|v| v.0))
        }
    }

    impl TileVector for Pairs {
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            Self(_mm512_set1_ps(x))
        }
        #[inline(always)]
        unsafe fn load_bf16(p: *const u16) -> Self {
            Self(__m512::load_bf16(p))
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32) {
            _mm512_storeu_ps(p, self.0)
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Self(_mm512_add_ps(self.0, other.0))
        }
    }

    /// Returns a mask with a bit for each of the first n of 16 lanes.
    #[inline(always)]
    fn first16(n: usize) -> __mmask16 {
        (1u16 << n) - 1
    }
}
