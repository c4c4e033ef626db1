//! Independent normals: how their standard deviations are kept, and the steps of the filter and of variational inference.

pub(in crate::backend) mod cpu;

/// The standard deviations of independent normals, as they are kept.
#[derive(Debug)]
pub enum Spread<'a, B> {
    /// Themselves.
    Sd(&'a B),
    /// Their natural logarithms.
    LogSd(&'a B),
    /// Precisions: with p added to each and T the temperature, sd = sqrt(T / (precision + p)).
    Precision {
        /// The precisions.
        precision: &'a B,
        /// What is added: the prior's.
        plus: f32,
        /// T.
        temperature: f32,
    },
}

/// A step of the extended Kalman filter on independent normals; [`crate::samplers::ekf`] has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EkfStep {
    /// Variance that is added to each coordinate first.
    pub transition_variance: f32,
    /// Of the squares in the precision.
    pub squares: f32,
    /// Of the gradient in the mean.
    pub gradient: f32,
}

/// What one draw adds to the gradient of the negative evidence lower bound; [`crate::samplers::vi`] has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ViDraw {
    /// T.
    pub temperature: f32,
    /// Whether the density's own dependence on mean and deviation is left out (stick the landing).
    pub stick_the_landing: bool,
    /// The draw's share: 1 over the number of draws.
    pub weight: f32,
    /// Whether this is the first draw of a step: it overwrites what the others add to.
    pub first: bool,
}
