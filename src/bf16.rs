//! bfloat16: the upper half of an f32, with 8 significant bits and the same range.

/// Returns the nearest bf16, and of two that are equally near the even one. Magnitudes from 2^128 (1 - 2^-9) on become infinite, a NaN stays one.
pub fn from_f32(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        // A payload in the lower half alone would be cut off, and leave an infinity: set the quiet bit.
        return (bits >> 16) as u16 | 0x0040;
    }
    // Half of the last kept bit, less one where that bit is even: a tie then carries only into an odd one.
    // No carry leaves the word, as only NaNs lie above 0xff80_0000.
    let half = 0x7fff + ((bits >> 16) & 1);
    ((bits + half) >> 16) as u16
}

/// Returns the number that the bits stand for; an f32 holds every bf16 exactly.
pub fn to_f32(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bf16_survives() {
        for bits in 0..=u16::MAX {
            let x = to_f32(bits);
            if x.is_nan() {
                assert!(to_f32(from_f32(x)).is_nan(), "{bits:04x}");
            } else {
                assert_eq!(from_f32(x), bits);
            }
        }
    }

    #[test]
    fn midpoints_go_to_the_even_neighbour_and_their_neighbours_to_the_nearer() {
        for bits in (0..0x7f80).chain(0x8000..0xff80) {
            let midpoint = (bits as u32) << 16 | 0x8000;
            let even = bits + (bits & 1);
            assert_eq!(from_f32(f32::from_bits(midpoint)), even, "{bits:04x}");
            assert_eq!(from_f32(f32::from_bits(midpoint - 1)), bits);
            assert_eq!(from_f32(f32::from_bits(midpoint + 1)), bits + 1);
        }
    }

    #[test]
    fn a_nan_with_its_payload_in_the_lower_half_stays_a_nan() {
        for bits in [0x7f80_0001, 0xff80_0001, 0x7fff_ffff, 0xffff_ffff] {
            assert!(to_f32(from_f32(f32::from_bits(bits))).is_nan());
        }
    }

    #[test]
    fn the_largest_f32_is_beyond_bf16() {
        assert_eq!(to_f32(from_f32(f32::MAX)), f32::INFINITY);
        assert_eq!(to_f32(from_f32(f32::MIN)), f32::NEG_INFINITY);
        // 2^128 (1 - 2^-9) is the midpoint between the largest bf16 and 2^128; the f32 below it still rounds down.
        assert_eq!(from_f32(f32::from_bits(0x7f7f_7fff)), 0x7f7f);
        assert_eq!(from_f32(f32::from_bits(0x7f7f_8000)), 0x7f80);
    }
}
