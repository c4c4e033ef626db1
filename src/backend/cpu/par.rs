//! Splitting the rows of several outputs over the threads of a pool, without allocating.

use std::ops::Range;

/// An output as a matrix of rows: `data` is (rows, width).
pub struct Rows<'a> {
    pub data: &'a mut [f32],
    pub width: usize,
}

impl<'a> Rows<'a> {
    pub fn new(data: &'a mut [f32], width: usize) -> Self {
        Self { data, width }
    }
}

pub fn serial<const N: usize>(
    range: Range<usize>,
    outs: [Rows<'_>; N],
    f: &(impl Fn(Range<usize>, [&mut [f32]; N]) + Sync),
) {
    let n = range.len();
    f(range, outs.map(|r| &mut r.data[..n * r.width]));
}

/// Halves the range until `parts` parts are left; each half is a multiple of `grain` rows but the last.
pub fn split<const N: usize>(
    range: Range<usize>,
    parts: usize,
    grain: usize,
    outs: [Rows<'_>; N],
    f: &(impl Fn(Range<usize>, [&mut [f32]; N]) + Sync),
) {
    let units = range.len().div_ceil(grain);
    if parts <= 1 || units <= 1 {
        return serial(range, outs, f);
    }
    let left_parts = parts / 2;
    let left = (units * left_parts).div_ceil(parts) * grain;
    let mid = range.start + left.min(range.len());
    let halves = outs.map(|r| {
        let (a, b) = r.data.split_at_mut((mid - range.start) * r.width);
        (Rows::new(a, r.width), Rows::new(b, r.width))
    });
    let mut right = [const { None }; N];
    let mut slots = right.iter_mut();
    let left = halves.map(|(a, b)| {
        *slots.next().expect("one slot per output") = Some(b);
        a
    });
    let right = right.map(|r| r.expect("every slot was filled"));
    rayon::join(
        || split(range.start..mid, left_parts, grain, left, f),
        || split(mid..range.end, parts - left_parts, grain, right, f),
    );
}
