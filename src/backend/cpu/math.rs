//! Elementary functions on f32 that the compiler can vectorise: no branches, no calls, no fused multiply-add.

/// 2^n for an integral n in -126..=127, as a float.
#[inline(always)]
fn exp2i(biased: f32) -> f32 {
    // `biased` is n + 2^23 + 127 exactly, so its low mantissa bits are the exponent field of 2^n.
    f32::from_bits(biased.to_bits() << 23)
}

/// e^x: relative error below 2e-7 for -87 <= x <= 88; smaller x are taken as -87 (1.6e-38), larger as 88.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 8_388_608.0 + 127.0; // adding it rounds to an integer and leaves it biased in the mantissa
    let x = x.clamp(-87.0, 88.0);
    let biased = x * std::f32::consts::LOG2_E + SHIFT;
    let n = biased - SHIFT;
    // x - n ln 2 in two parts: the first product is exact, since n has at most 8 bits
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    // Taylor to r^7: |r| <= 0.35 leaves 5e-9
    let mut p = 1.0 / 5040.0;
    for c in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = p * r + c;
    }
    p * exp2i(biased)
}

/// (Phi(x), phi(x)): the normal distribution function and density; absolute error below 2e-7, relative below 2e-6 in
/// the lower tail down to x = -12, beyond which both are about 0.
///
/// Phi(-|x|) = exp(-x^2/2) P(t)/2 with t = 1/(1 + 0.3 |x|), where P is a minimax fit (2.8e-8) of the scaled
/// complementary error function erfcx(|x|/sqrt 2) for |x| <= 13. No cancellation on either side.
#[inline(always)]
pub fn normal_cdf_pdf(x: f32) -> (f32, f32) {
    const P: [f32; 10] = [
        3.962_153_1e-5,
        0.238_447_86,
        0.248_531_53,
        0.166_026_92,
        0.356_758_18,
        -0.294_192_03,
        0.635_961_56,
        -0.478_702_57,
        0.139_055_95,
        -0.011_926_978,
    ];
    let a = x.abs().min(13.0);
    let e = exp(-0.5 * a * a);
    let t = 1.0 / (1.0 + 0.3 * a);
    let mut p = P[9];
    for i in (0..9).rev() {
        p = p * t + P[i];
    }
    let tail = 0.5 * p * e;
    let cdf = if x > 0.0 { 1.0 - tail } else { tail };
    (cdf, 0.398_942_3 * e)
}

/// tanh x: absolute error below 2e-7.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    // 1 - 2/(e^{2x} + 1), odd by construction of the sign
    let e = exp(2.0 * x.abs().min(20.0));
    (1.0 - 2.0 / (e + 1.0)).copysign(x)
}
