//! Elementary functions on f32 that the compiler can vectorise: no branches, no calls, no fused multiply-add.

/// Returns 2^n for an integral n in -126..=127.
#[inline(always)]
fn exp2i(biased: f32) -> f32 {
    // `biased` is n + 2^23 + 127 exactly, so its low mantissa bits are the exponent field of 2^n.
    f32::from_bits(biased.to_bits() << 23)
}

/// Returns e^x, with relative error below 1.2e-7 for -87 <= x <= 88; smaller x count as -87 (1.6e-38), larger ones as 88.
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

/// Returns (Phi(x), phi(x)), the normal distribution function and density. The absolute error is below 2.5e-7, the relative error below
/// 6e-7 down to x = -3 and below 5e-6 down to x = -13, where both are about 0; the rounding of x^2/2 dominates there.
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

/// Returns tanh x, with absolute error below 1.5e-7.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    // 1 - 2/(e^{2x} + 1), odd by construction of the sign
    let e = exp(2.0 * x.abs().min(20.0));
    (1.0 - 2.0 / (e + 1.0)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns every `stride`-th float from 0 to `top`, and their negatives.
    fn floats(top: f32, stride: usize) -> impl Iterator<Item = f32> {
        (0..=top.to_bits())
            .step_by(stride)
            .map(f32::from_bits)
            .flat_map(|x| [x, -x])
    }

    /// Returns the largest `error` over the floats from -`top` to `top`, and where it is.
    fn worst(top: f32, error: impl Fn(f32) -> f64) -> (f64, f32) {
        let all = floats(top, 4001).map(|x| (error(x), x));
        all.fold(
            (0.0, 0.0),
            |a, b| if a.0.is_nan() || a.0 >= b.0 { a } else { b },
        )
    }

    /// The normal distribution function and density to about 1e-14, relative in the lower tail too: near 0 the series
    /// phi(x) (x + x^3/3 + x^5/(3 5) + …), then Laplace's continued fraction phi(x) / (x + 1/(x + 2/(x + 3/…))).
    fn exact_normal(x: f64) -> (f64, f64) {
        let a = x.abs();
        let density = (-0.5 * a * a).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let upper = if a < 3.0 {
            let (mut term, mut sum) = (a, a);
            for k in 1..60 {
                term *= a * a / (2 * k + 1) as f64;
                sum += term;
            }
            0.5 - density * sum
        } else {
            density / (1..200).rev().fold(a, |rest, k| a + k as f64 / rest)
        };
        (if x > 0.0 { 1.0 - upper } else { upper }, density)
    }

    fn relative(got: f32, want: f64) -> f64 {
        ((got as f64 - want) / want).abs()
    }

    fn absolute(got: f32, want: f64) -> f64 {
        (got as f64 - want).abs()
    }

    #[test]
    fn exp_is_accurate_over_its_range() {
        let (error, at) = worst(87.0, |x| relative(exp(x), (x as f64).exp()));
        assert!(error < 1.2e-7, "{error:e} at {at}");
        assert!(relative(exp(88.0), 88f64.exp()) < 1.2e-7);
        assert_eq!(exp(0.0), 1.0);
        // what lies outside is held at the ends, and a NaN is kept
        assert_eq!(exp(f32::NEG_INFINITY), exp(-87.0));
        assert!(exp(-1e30) > 0.0 && exp(-1e30) < 2e-38);
        assert_eq!(exp(f32::INFINITY), exp(88.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_normal_distribution_is_accurate_in_both_tails() {
        let cdf = |x: f32| (normal_cdf_pdf(x).0, exact_normal(x as f64).0);
        let pdf = |x: f32| (normal_cdf_pdf(x).1, exact_normal(x as f64).1);
        let check = |top: f32, bound: f64, error: &dyn Fn(f32) -> f64| {
            let (error, at) = worst(top, error);
            assert!(error < bound, "{error:e} at {at}");
        };
        check(40.0, 2.5e-7, &|x| absolute(cdf(x).0, cdf(x).1));
        check(40.0, 5e-8, &|x| absolute(pdf(x).0, pdf(x).1));
        for (top, bound) in [(3.0, 6e-7), (13.0, 5e-6)] {
            check(top, bound, &|x| relative(cdf(x).0, cdf(x).1));
            check(top, bound, &|x| relative(pdf(x).0, pdf(x).1));
        }
        assert!(normal_cdf_pdf(-50.0).0 < 1e-37 && normal_cdf_pdf(50.0).0 == 1.0);
    }

    #[test]
    fn tanh_is_accurate_and_odd() {
        let (error, at) = worst(40.0, |x| absolute(tanh(x), (x as f64).tanh()));
        assert!(error < 1.5e-7, "{error:e} at {at}");
        for x in floats(40.0, 100_003) {
            assert_eq!(tanh(-x).to_bits(), (-tanh(x)).to_bits());
        }
        assert_eq!((tanh(f32::INFINITY), tanh(-30.0)), (1.0, -1.0));
    }

    /// Compares the reference itself with erfc of the C library.
    #[test]
    fn the_reference_is_right() {
        for (x, want) in [
            (0.0, 0.5),
            (-1.0, 0.158_655_253_931_457_07),
            (-2.0, 0.022_750_131_948_179_22),
            (-2.999_999, 1.349_902_463_485_155e-3),
            (-3.000_001, 1.349_893_599_788_332e-3),
            (-5.0, 2.866_515_718_791_946e-7),
            (-10.0, 7.619_853_024_160_53e-24),
        ] {
            let error = (exact_normal(x).0 / want - 1.0f64).abs();
            assert!(error < 1e-12, "{x}: {error:e}");
        }
    }
}
