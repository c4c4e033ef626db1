//! From the gradient of a mean loss to that of a log posterior.

pub(in crate::backend) mod cpu;

use crate::backend::Vectors;
use crate::error::Result;

/// The form of a prior, independent for each parameter, in z = (theta - center) / s with scale s.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorFamily {
    /// The normal prior, with log density -z^2 / 2: s is the standard deviation.
    #[default]
    Normal,
    /// The Laplace prior, with log density -|z|: the standard deviation is s sqrt 2. The gradient at the kink is taken as 0.
    Laplace,
    /// Student's t, with log density -(nu + 1) / 2 ln(1 + z^2 / nu): the standard deviation is s sqrt(nu / (nu - 2)) where nu > 2.
    StudentT {
        /// Degrees of freedom nu, above 0.
        dof: f32,
    },
}

impl PriorFamily {
    /// Returns the largest second derivative of -log density in z, which is at the centre; a Laplace prior's kink counts as 0.
    pub fn curvature(self) -> f64 {
        match self {
            Self::Normal => 1.0,
            Self::Laplace => 0.0,
            Self::StudentT { dof } => (dof as f64 + 1.0) / dof as f64,
        }
    }
}

/// A prior as [`posterior_gradient`](PosteriorOps::posterior_gradient) takes it.
#[derive(Debug)]
pub struct PriorTerms<'a, B> {
    /// The centre; `None` is 0.
    pub center: Option<&'a B>,
    /// What std is multiplied by for each parameter, above 0; `None` is 1.
    pub scales: Option<&'a B>,
    /// The common factor of the scales.
    pub std: f32,
    /// The form of the density.
    pub family: PriorFamily,
}

/// The operation that turns a mean loss's gradient into that of the log posterior.
pub trait PosteriorOps: Vectors {
    /// Computes grad = -num_data * grad + d/dtheta log prior, in place: from a mean loss to a log posterior. Leaves the log prior without
    /// its constant, and the first element of the gradient that is NaN or infinite.
    fn posterior_gradient(
        &self,
        grad: &mut Self::Vector,
        theta: &Self::Vector,
        prior: PriorTerms<'_, Self::Vector>,
        num_data: f32,
        record: &mut Self::Record,
    ) -> Result<()>;
}
