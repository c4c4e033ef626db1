//! Counter-based random numbers: (seed, stream, step, index) -> uniform or normal, identical on every machine and for every thread count.
//!
//! Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). Nothing here has a state: a number is a function of
//! its address, so a resumed run draws what an uninterrupted run would have drawn.
//!
//! Normals are Box and Muller's (1958), from IEEE operations alone (no fused multiply-add, no library function),
//! so that every instruction set and every device that rounds correctly gives the same bits.

mod generator;

pub use generator::StreamRng;
/// The versions of `rand` and `rand_distr` whose distributions a [`StreamRng`] serves.
pub use {rand, rand_distr};

/// What a stream of numbers is for. Streams of one seed with different tags are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum StreamTag {
    /// Initial parameters.
    Init = 1,
    /// The choice of the windows of a batch.
    Batch = 2,
    /// Dropout masks.
    Dropout = 3,
    /// The sampler's noise.
    Noise = 4,
    /// Initial momenta.
    Momenta = 5,
    /// The choice of tokens.
    Generate = 6,
    /// Resampling in a bootstrap.
    Bootstrap = 7,
    /// The choice of texts and windows for an evaluation.
    Evaluate = 8,
    /// Draws from a fitted normal distribution.
    Posterior = 9,
    /// Labels drawn from a model's own prediction.
    Labels = 10,
    /// The start vector of a search for the largest curvature.
    Curvature = 11,
    /// The signs in the estimate of a Hessian's diagonal.
    Diagonal = 12,
    /// Draws from a prior.
    Prior = 13,
    /// Draws of a caller: the library uses none of them.
    Caller = 14,
}

/// An independent stream of numbers, addressed by (step, index).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
}

const M: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const W: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Computes Philox4x32-10: four 32-bit words from a counter and a key.
///
/// Each word is the low half of a `u64`, whose high half is arbitrary: a 32-bit multiplication reads low halves, and its product holds both
/// words that the round needs. A loop over counters compiles to SIMD lanes.
#[inline(always)]
pub fn philox(c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    let low = |x: u64| x & 0xFFFF_FFFF;
    let mut c = c.map(u64::from);
    for _ in 0..10 {
        let (p, q) = (M[0] as u64 * low(c[0]), M[1] as u64 * low(c[2]));
        c = [
            (q >> 32) ^ c[1] ^ k[0] as u64,
            q,
            (p >> 32) ^ c[3] ^ k[1] as u64,
            p,
        ];
        k = [k[0].wrapping_add(W[0]), k[1].wrapping_add(W[1])];
    }
    c.map(|w| w as u32)
}

impl Stream {
    /// Returns the stream of `seed` for one purpose and one chain (0 where there are no chains).
    pub fn new(seed: u64, purpose: StreamTag, chain: u32) -> Self {
        // The key is itself a Philox output, so that neighbouring seeds and chains share no structure.
        let w = philox(
            [purpose as u32, chain, 0, 0],
            [seed as u32, (seed >> 32) as u32],
        );
        Self { key: [w[0], w[1]] }
    }

    /// Returns the four words at (step, block).
    #[inline(always)]
    pub fn words(&self, step: u64, block: u64) -> [u32; 4] {
        philox(
            [
                block as u32,
                (block >> 32) as u32,
                step as u32,
                (step >> 32) as u32,
            ],
            self.key,
        )
    }

    /// Returns a uniform in [0, 1) with 53 bits at (step, index).
    pub fn uniform(&self, step: u64, index: u64) -> f64 {
        let w = self.words(step, index / 2);
        let at = 2 * (index % 2) as usize;
        let bits = (w[at] as u64) << 32 | w[at + 1] as u64;
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns an integer in 0..n at (step, index), by multiplication: the bias is below n / 2^64. `n` must not be 0.
    pub fn below(&self, n: u64, step: u64, index: u64) -> u64 {
        let w = self.words(step, index / 2);
        let at = 2 * (index % 2) as usize;
        let bits = (w[at] as u64) << 32 | w[at + 1] as u64;
        ((bits as u128 * n as u128) >> 64) as u64
    }

    /// Returns the 64 standard normals of (step, block), from 16 counters.
    ///
    /// Counter `16 * block + lane` gives four words w; number `16 * i + lane` is the first (i = 0) or second (1) of the pair from w0 and
    /// w1, or of the pair from w2 and w3 (2, 3). Their absolute values are at most sqrt(2 ln 2^33) = 6.76, where the 32-bit uniform ends (a
    /// true normal exceeds it once in 7e10 draws).
    #[inline(always)]
    pub fn normals(&self, step: u64, block: u64) -> [f32; NORMALS] {
        // Loops over lanes, each of one kind of number, which compilers turn into vector instructions.
        let (mut radius, mut angle) = ([0; 32], [0; 32]);
        for lane in 0..16 {
            let w = self.words(step, 16 * block + lane as u64);
            (radius[lane], angle[lane]) = (w[0], w[1]);
            (radius[16 + lane], angle[16 + lane]) = (w[2], w[3]);
        }
        let (mut first, mut second) = ([0.0; 32], [0.0; 32]);
        for i in 0..32 {
            (first[i], second[i]) = box_muller(radius[i], angle[i]);
        }
        let mut z = [0.0; NORMALS];
        z[..16].copy_from_slice(&first[..16]);
        z[16..32].copy_from_slice(&second[..16]);
        z[32..48].copy_from_slice(&first[16..]);
        z[48..].copy_from_slice(&second[16..]);
        z
    }

    /// Returns the 64 uniforms in [0, 1) of (step, block), 24 bits each: number `16 * i + lane` is from word i of counter `16 * block +
    /// lane`, the words that [`Stream::normals`] uses too.
    #[inline(always)]
    pub fn uniforms(&self, step: u64, block: u64) -> [f32; NORMALS] {
        let mut u = [0.0; NORMALS];
        for lane in 0..16 {
            let w = self.words(step, 16 * block + lane as u64);
            for (i, w) in w.into_iter().enumerate() {
                u[16 * i + lane] = (w >> 8) as f32 * (1.0 / (1u32 << 24) as f32);
            }
        }
        u
    }

    /// Returns the standard normal at (step, index): number `index % 64` of the block `index / 64`.
    pub fn normal(&self, step: u64, index: u64) -> f32 {
        let (block, at) = (index / NORMALS as u64, index % NORMALS as u64);
        let w = self.words(step, 16 * block + at % 16);
        let pair = 2 * (at / 32) as usize;
        let (first, second) = box_muller(w[pair], w[pair + 1]);
        if at / 16 % 2 == 0 { first } else { second }
    }

    /// Fills `out` with the standard normals at (step, 0), (step, 1), …
    pub fn fill_normal(&self, step: u64, out: &mut [f32]) {
        for (block, out) in out.chunks_mut(NORMALS).enumerate() {
            out.copy_from_slice(&self.normals(step, block as u64)[..out.len()]);
        }
    }
}

/// The number of normals per block.
pub const NORMALS: usize = 64;

/// Returns two standard normals from two words: the radius from one, the angle from the other.
#[inline(always)]
fn box_muller(radius: u32, angle: u32) -> (f32, f32) {
    // (w + 1/2) / 2^32 in (0, 1]; rounding to f32 keeps small uniforms fine, so the tails are.
    let r = minus_two_ln(radius as f32 + 0.5).sqrt();
    let (cos, sin) = cos_sin_turn(angle);
    (r * cos, r * sin)
}

/// Returns -2 ln (x / 2^32) for normal x > 0 up to 2^32, where it is not negative. With x = m 2^e and m in [3/4, 3/2), ln m = 2 atanh(s), s
/// = (m - 1) / (m + 1).
///
/// |s| <= 1/5, so the series cut after s^9 is off by less than 1e-8 of its value. The factor -2 is folded into the coefficients, where it
/// costs nothing and rounds nothing, as 2^-32 is into the exponent.
#[inline(always)]
fn minus_two_ln(x: f32) -> f32 {
    let above = x.to_bits().wrapping_sub(0x3F40_0000); // 0x3F400000 is 3/4
    let e = (above as i32 >> 23) - 32;
    let m = f32::from_bits(x.to_bits().wrapping_sub(above & 0xFF80_0000));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let p = (((-4.0 / 9.0 * z - 4.0 / 7.0) * z - 4.0 / 5.0) * z - 4.0 / 3.0) * z - 4.0;
    e as f32 * (-2.0 * std::f32::consts::LN_2) + p * s
}

/// Returns the cosine and sine of an angle that is uniform when `w` is: the top two bits choose a quarter turn, the other thirty an angle
/// in [-pi/4, pi/4), which is exact until the conversion to f32. Taylor to x^8 and x^9: off by 3e-8.
#[inline(always)]
fn cos_sin_turn(w: u32) -> (f32, f32) {
    let x = (w << 2) as i32 as f32 * (std::f32::consts::FRAC_PI_2 / 4_294_967_296.0);
    let z = x * x;
    let s = (((z * (1.0 / 362_880.0) - 1.0 / 5040.0) * z + 1.0 / 120.0) * z - 1.0 / 6.0) * z + 1.0;
    let s = s * x;
    let c = (((z * (1.0 / 40_320.0) - 1.0 / 720.0) * z + 1.0 / 24.0) * z - 0.5) * z + 1.0;
    // Quarters 0 to 3: (c, s), (-s, c), (-c, -s), (s, -c).
    let (a, b) = if w & 0x4000_0000 == 0 { (c, s) } else { (s, c) };
    let sign_a = (w ^ (w << 1)) & 0x8000_0000;
    let sign_b = w & 0x8000_0000;
    (
        f32::from_bits(a.to_bits() ^ sign_a),
        f32::from_bits(b.to_bits() ^ sign_b),
    )
}
