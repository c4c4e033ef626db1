//! Counter-based random numbers: (seed, stream, step, index) -> uniform, normal, the same on every machine and thread count.
//!
//! Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). Nothing here has a
//! state: a number is a function of its address, so a resumed run draws what an unbroken run would have drawn.

/// What a stream of numbers is for. Streams of one seed are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Initial parameters.
    Init = 1,
    /// Which windows make up a batch.
    Batch = 2,
    /// Dropout masks.
    Dropout = 3,
    /// The sampler's noise.
    Noise = 4,
    /// Initial momenta.
    Momenta = 5,
    /// Choosing tokens.
    Generate = 6,
    /// Resampling in a bootstrap.
    Bootstrap = 7,
    /// Choosing texts and windows for an evaluation.
    Evaluate = 8,
}

/// An independent stream of numbers, addressed by (step, index).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
}

const M: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const W: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Philox4x32-10: four 32-bit words from a counter and a key.
pub fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let (p, q) = (M[0] as u64 * c[0] as u64, M[1] as u64 * c[2] as u64);
        c = [
            (q >> 32) as u32 ^ c[1] ^ k[0],
            q as u32,
            (p >> 32) as u32 ^ c[3] ^ k[1],
            p as u32,
        ];
        k = [k[0].wrapping_add(W[0]), k[1].wrapping_add(W[1])];
    }
    c
}

impl Stream {
    /// The stream of `seed` for one purpose and one chain (0 where there are no chains).
    pub fn new(seed: u64, purpose: Purpose, chain: u32) -> Self {
        // The key is itself a Philox output, so that neighbouring seeds and chains share no structure.
        let w = philox(
            [purpose as u32, chain, 0, 0],
            [seed as u32, (seed >> 32) as u32],
        );
        Self { key: [w[0], w[1]] }
    }

    /// Four words at (step, block).
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

    /// A uniform in [0, 1) with 53 bits at (step, index).
    pub fn uniform(&self, step: u64, index: u64) -> f64 {
        let w = self.words(step, index / 2);
        let at = 2 * (index % 2) as usize;
        let bits = (w[at] as u64) << 32 | w[at + 1] as u64;
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }

    /// An integer in 0..n at (step, index), by multiplication: the bias is below n / 2^64. `n` must not be 0.
    pub fn below(&self, n: u64, step: u64, index: u64) -> u64 {
        let w = self.words(step, index / 2);
        let at = 2 * (index % 2) as usize;
        let bits = (w[at] as u64) << 32 | w[at + 1] as u64;
        ((bits as u128 * n as u128) >> 64) as u64
    }
}

impl Stream {
    /// stub
    pub fn fill_normal(&self, step: u64, out: &mut [f32]) {
        for (i, o) in out.iter_mut().enumerate() {
            let (u, v) = (1.0 - self.uniform(step, 2 * i as u64), self.uniform(step, 2 * i as u64 + 1));
            *o = ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32;
        }
    }
}
