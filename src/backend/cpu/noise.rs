//! The random numbers of a block of an update: made by address, or given.

use super::Cpu;
use super::chunk::{CHUNK, load};
use crate::backend::vectors::Noise;
use crate::rng::{NORMALS, Stream};
use std::ops::Range;

/// A block's noise.
#[derive(Clone, Copy)]
pub enum Draw<'a> {
    Counter {
        stream: Stream,
        step: u64,
        block: u64,
    },
    Given(&'a [f32]),
}

impl<'a> Draw<'a> {
    pub fn of(noise: &Noise<'a, Cpu>, range: &Range<usize>) -> Self {
        match *noise {
            Noise::Counter { stream, step } => Self::Counter {
                stream,
                step,
                block: (range.start / NORMALS) as u64,
            },
            Noise::Given(xi) => Self::Given(&xi[range.clone()]),
        }
    }

    /// The standard normals of the chunk that begins at `at`.
    #[inline(always)]
    pub fn normals(&self, at: usize) -> [f32; CHUNK] {
        match *self {
            Self::Counter {
                stream,
                step,
                block,
            } => stream.normals(step, block + (at / CHUNK) as u64),
            Self::Given(xi) => load(xi, at, 0.0),
        }
    }

    /// The uniforms of that chunk.
    #[inline(always)]
    pub fn uniforms(&self, at: usize) -> [f32; CHUNK] {
        match *self {
            Self::Counter {
                stream,
                step,
                block,
            } => stream.uniforms(step, block + (at / CHUNK) as u64),
            Self::Given(u) => load(u, at, 0.0),
        }
    }
}
