//! The elements of a flat vector that are in registers together, and sums over them.

use crate::error::{Error, Result};
use crate::rng::NORMALS;

/// Elements that are in registers together.
pub const CHUNK: usize = NORMALS;

/// Refuses a vector of another length.
pub fn same(what: &str, expected: usize, got: usize) -> Result<()> {
    (expected == got)
        .then_some(())
        .ok_or_else(|| Error::shape(what, [expected], [got]))
}

/// Returns the whole chunk that begins at `at`.
#[inline(always)]
pub fn chunk(x: &[f32], at: usize) -> &[f32; CHUNK] {
    x[at..].first_chunk().expect("a whole chunk")
}

/// Returns the whole chunk that begins at `at`, for writing.
#[inline(always)]
pub fn chunk_mut(x: &mut [f32], at: usize) -> &mut [f32; CHUNK] {
    x[at..].first_chunk_mut().expect("a whole chunk")
}

/// Returns `CHUNK` elements from `at`; those beyond the end are `pad`.
#[inline(always)]
pub fn load(x: &[f32], at: usize, pad: f32) -> [f32; CHUNK] {
    let x = x.get(at..).unwrap_or_default();
    x.first_chunk().copied().unwrap_or_else(|| {
        let mut chunk = [pad; CHUNK];
        chunk[..x.len()].copy_from_slice(x);
        chunk
    })
}

/// Stores `CHUNK` elements at `at`; those beyond the end are dropped.
#[inline(always)]
pub fn store(x: &mut [f32], at: usize, chunk: &[f32; CHUNK]) {
    let x = x.get_mut(at..).unwrap_or_default();
    match x.first_chunk_mut() {
        Some(full) => *full = *chunk,
        None => x.copy_from_slice(&chunk[..x.len()]),
    }
}

pub const EXPONENT: u32 = 0x7F80_0000;

/// Sums that are kept in f64, side by side.
pub const LANES: usize = 16;

/// Adds a chunk's terms to sums in f64, four at a time summed in f32: each term is off by 2^-22 of itself at most, whatever the
/// number of chunks, and a quarter of the conversions is left.
#[inline(always)]
pub fn accumulate(sums: &mut [f64; LANES], x: &[f32; CHUNK]) {
    for i in 0..LANES {
        let four = (x[i] + x[i + LANES]) + (x[i + 2 * LANES] + x[i + 3 * LANES]);
        sums[i] += four as f64;
    }
}
