//! The record of a step: scalars that stay on the device until they are read together.

/// The scalars of a step. An operation overwrites only those that it documents.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scalars {
    /// Sum of the negative log-likelihood over the positions that count, in nats.
    pub nll: f64,
    /// Log prior without its constant.
    pub log_prior: f64,
    /// Sum of squares of a gradient.
    pub grad_squares: f64,
    /// Sum of m^2 / M over the new momenta; 0 without momenta.
    pub kinetic: f64,
    /// Sum of m^2 / M over the kicked momenta under [`super::vectors::Rule::Badodab`]; else 0.
    pub kicked: f64,
    /// Sum of (theta - center) * grad at the old parameters.
    pub virial: f64,
    /// Sum of z^2 / 2 + log sd of a variational draw.
    pub surprise: f64,
    /// The first element of the gradient that is NaN or infinite.
    pub gradient: Option<usize>,
    /// The first element that is NaN or infinite among what an update reads beside the gradient.
    pub second: Option<usize>,
    /// The first element whose new state is NaN or infinite.
    pub state: Option<usize>,
}

impl Scalars {
    /// Returns whether everything that an update reads is finite. Where it is not, updates leave the state as it is.
    pub fn is_sound(&self) -> bool {
        let sums = [self.nll, self.log_prior, self.grad_squares];
        sums.iter().all(|x| x.is_finite()) && self.gradient.is_none() && self.second.is_none()
    }
}

/// The input that [`super::Vectors::check_finite`] examines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The gradient: [`Scalars::gradient`].
    Gradient,
    /// What an update reads beside the gradient: [`Scalars::second`].
    Second,
}
