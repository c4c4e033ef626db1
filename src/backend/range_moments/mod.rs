//! Sums over ranges of a chain's vectors: kinetic energy, virial and force.

pub(in crate::backend) mod cpu;

use crate::backend::Vectors;

/// The state of a chain, for [`Vectors::range_moments`]; all buffers have one length.
pub struct ChainView<'a, V: Vectors> {
    /// Parameters theta.
    pub theta: &'a V::Vector,
    /// Momenta m; `None` is 0 everywhere.
    pub momenta: Option<&'a V::Vector>,
    /// Gradient of the log posterior at the parameters.
    pub grad: &'a V::Vector,
    /// The point about which the virial is taken.
    pub center: &'a V::Vector,
    /// Diagonal mass M, all positive; `None` is 1 everywhere.
    pub mass: Option<&'a V::Vector>,
}

/// Sums over a range of elements, in f64 and in the fixed tree of [`Vectors`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RangeMoments {
    /// Sum of m^2 / M.
    pub kinetic: f64,
    /// Sum of (theta - center) * grad.
    pub virial: f64,
    /// Sum of grad^2 / M.
    pub force: f64,
}
