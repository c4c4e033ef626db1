//! What is done to a vector element by element: arithmetic, random numbers, and sums over all elements.

pub(in crate::backend) mod cpu;

use crate::backend::vectors::StdDev;

/// What [`crate::backend::Vectors::combine`] makes of a vector y, for each of its elements; vectors have y's length.
#[derive(Debug)]
pub enum Combine<'a, B> {
    /// y = value.
    Fill(f32),
    /// y = x.
    Copy(&'a B),
    /// y *= a.
    Scale(f32),
    /// y += a x.
    Axpy(f32, &'a B),
    /// y /= x.
    Divide(&'a B),
    /// y += x^2.
    AddSquares(&'a B),
}

/// The random numbers of [`crate::backend::Vectors::random`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Random {
    /// Standard normals: [`crate::rng::Stream::normal`] at (step, element).
    Normal,
    /// 1 or -1 with equal probability: 1 where the uniform at (step, element), of [`crate::rng::Stream::uniforms`], is below 1/2.
    Signs,
}

/// The sums of [`crate::backend::Vectors::reduce`].
#[derive(Debug)]
pub enum Reduce<'a, B> {
    /// The inner product of two vectors of one length.
    Dot(&'a B, &'a B),
    /// The sum of the standard deviations.
    Sds(StdDev<'a, B>),
}
