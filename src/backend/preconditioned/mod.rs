//! Langevin dynamics with an adaptive preconditioner (pSGLD): one step's rule, and what it moves.

pub(in crate::backend) mod cpu;

use crate::backend::Vectors;
use crate::backend::vectors::Noise;

/// One step of Langevin dynamics with an adaptive preconditioner (pSGLD), for each element with gradient g, mean square V, diagonal of the
/// Hessian H and standard normal xi; [`crate::samplers::psgld`] says where each coefficient comes from.
///
/// ```text
/// V = keep V + take g^2;  M = floor + sqrt(V)
/// theta += (drift g - gamma g H / (sqrt(V) M)) / M + noise / sqrt(M) xi
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PreconditionedRule {
    /// The weight of the old V.
    pub keep: f32,
    /// The weight of the new square.
    pub take: f32,
    /// What is added to the root of V, above 0.
    pub floor: f32,
    /// The step size.
    pub drift: f32,
    /// The factor of the divergence term.
    pub gamma: f32,
    /// The noise's standard deviation at M = 1.
    pub noise: f32,
}

/// The buffers that [`Vectors::preconditioned_update`] reads and writes; all have one length.
pub struct PreconditionedUpdate<'a, V: Vectors> {
    /// Parameters; read and written.
    pub theta: &'a mut V::Vector,
    /// The gradient's mean square V; read and written.
    pub squares: &'a mut V::Vector,
    /// The mass M of the step; written.
    pub mass: &'a mut V::Vector,
    /// Gradient of the log posterior at the old parameters.
    pub grad: &'a V::Vector,
    /// Diagonal of the log posterior's Hessian at the old parameters; `None` leaves the divergence term out.
    pub diagonal: Option<&'a V::Vector>,
    /// The point about which the virial is taken.
    pub center: &'a V::Vector,
    /// The standard normals.
    pub noise: Noise<'a, V>,
}
