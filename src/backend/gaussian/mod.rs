//! Independent normals: the representation of their standard deviations, and the steps of the filter and of variational inference.

pub(in crate::backend) mod cpu;

/// The standard deviations of independent normals, in one of three representations.
#[derive(Debug)]
pub enum StdDev<'a, B> {
    /// The standard deviations themselves.
    Sd(&'a B),
    /// The natural logarithms of the standard deviations.
    LogSd(&'a B),
    /// Precisions: with p added to each and T the temperature, sd = sqrt(T / (precision + p)).
    Precision {
        /// The precisions.
        precision: &'a B,
        /// What is added to each precision: the prior's.
        plus: f32,
        /// The temperature T.
        temperature: f32,
    },
}

/// A step of the extended Kalman filter on independent normals; [`crate::samplers::ekf`] has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EkfStep {
    /// The variance that is added to each coordinate first.
    pub transition_variance: f32,
    /// The factor of the squared gradient in the precision.
    pub squares: f32,
    /// The factor of the gradient in the mean.
    pub gradient: f32,
}

/// The coefficients of one draw's part of the gradient of the negative evidence lower bound; [`crate::samplers::vi`] has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ViDraw {
    /// The temperature T.
    pub temperature: f32,
    /// Whether the density's direct dependence on mean and standard deviation is left out (sticking the landing).
    pub stick_the_landing: bool,
    /// The draw's weight: 1 over the number of draws.
    pub weight: f32,
    /// Whether this is the first draw of a step: it overwrites the buffers that later draws add to.
    pub first: bool,
}
