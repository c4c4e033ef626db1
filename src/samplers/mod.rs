//! Stochastic gradient Markov chain Monte Carlo: state machines that a caller steps one gradient at a time.
//!
//! Every method targets pi(theta) proportional to exp(log_post(theta) / T). The caller gives log_post, an unbiased
//! estimate of `num_data * mean_log_lik + log_prior`, and grad, *its* gradient, not divided by T.
//!
//! | method | file | stationary law on a Gaussian |
//! |---|---|---|
//! | SGLD | [`sgld`] | variance too large by 1 / (1 - step_size * curvature / 2) |
//! | SGHMC | [`sghmc`] | variance too large at second order in the step size |
//! | SGHMC, explicit Euler | [`sghmc_euler`] | variance too large at first order: for comparison with other programs only |
//! | BAOA | [`baoa`] | exact variance of the parameters; with gradient noise of known variance, exact up to third order in the step size |
//! | SGNHT | [`sgnht`] | exact variance of the parameters; with gradient noise, exact up to third order in the step size |
//! | CCAdL | [`ccadl`] | as SGNHT, with the friction of each parameter's known noise in its kick |
//! | SGNHT, Ding et al. | [`sgnht_ding`] | variance of the parameters too small at first order: for comparison only |
//! | SGNHT, explicit Euler | [`sgnht_euler`] | that of SGHMC by explicit Euler, with the friction at which the momenta have T: for comparison only |
//! | SGLRW | [`sglrw`] | exact variance of each parameter, whatever the gradient's noise |
//!
//! Seven methods fit instead of sampling: five of them normals, of which they hand out draws, and two an average or states of an optimiser:
//!
//! | method | file | the fit on a Gaussian |
//! |---|---|---|
//! | EKF, diagonal Fisher | [`ekf`] | mean and precision of the data seen once, where coordinates do not interact and the squares are the true Fisher information |
//! | VI | [`vi`] | the mean, and the precision's diagonal |
//! | Laplace | [`laplace`] | the precision's diagonal at the mode, from squared gradients |
//! | Laplace of the head | [`last_layer`] | the precision, whole or as a Kronecker product, of the last layer's weights |
//! | IVON | [`ivon`] | as VI |
//! | SWAG | [`swag`] | mean and covariance of an optimiser's path, which gradient noise makes |
//! | moving average | [`ema`] | one point near the mode: no spread |
//! | snapshots | [`snapshots`] | points of an optimiser's path, whose spread gradient noise makes |
//!
//! What a step size means, and which is too large, is in [`stability`]; the curvature that decides it is found by [`curvature`].

mod adam_path;
pub mod adapt;
pub mod auto_step;
pub mod baoa;
pub mod ccadl;
mod chain;
mod config;
pub mod curvature;
pub mod defaults;
mod dense;
pub mod ekf;
pub mod ema;
pub mod free;
mod gaussian;
mod gaussian_config;
mod gaussian_fit;
mod gaussian_state;
pub mod gradient_noise;
pub mod ivon;
pub mod laplace;
pub mod last_layer;
mod method;
mod observed;
mod preconditioner;
pub mod psgld;
mod sampler;
mod sampler_state;
mod schedule;
mod scheme;
pub mod sghmc;
pub mod sghmc_euler;
pub mod sgld;
pub mod sglrw;
pub mod sgnht;
pub mod sgnht_ding;
pub mod sgnht_euler;
pub mod snapshots;
pub mod stability;
pub mod swag;
mod temperatures;
pub mod vi;

pub use crate::batch_means::{BatchMeans, RunningMean};
pub use adam_path::PathReport;
pub use adapt::{Adaptation, Affine, MassShape, Whitened};
pub use auto_step::{AutoStep, AutoStepState};
pub use chain::{Chain, ChainReport, ChainState};
pub use config::{ChainConfig, Momenta, Thermostat, Thermostats};
pub use curvature::{ExtremeEigenvalues, extreme_curvature};
pub use ekf::Ekf;
pub use ema::Ema;
pub use free::{FreeDiffusion, FreeMotion, Lightness};
pub use gaussian::{GaussianApproximation, GaussianReport};
pub(crate) use gaussian_config::EMA_DECAY;
pub use gaussian_config::{
    CovarianceStructure, CurvatureKind, GaussianConfig, GaussianMethod, SwagSnapshots,
};
pub use gaussian_fit::{FitReport, GaussianFit};
pub use gaussian_state::{GaussianState, Values, ValuesMut};
pub(crate) use gradient_noise::NoiseEstimation;
pub use gradient_noise::{NoiseCorrection, NoiseHeat};
pub use ivon::Ivon;
pub use laplace::Laplace;
pub use last_layer::LastLayer;
pub use method::Method;
pub use preconditioner::Preconditioner;
pub use psgld::{Diagonal, Psgld, PsgldMass};
pub use sampler::{Factors, Phase, Sampler, StepReport};
pub use sampler_state::SamplerState;
pub use schedule::Schedule;
pub use scheme::{Kinetic, Scheme};
pub use snapshots::Snapshots;
pub use swag::Swag;
pub use temperatures::Temperatures;
pub use vi::Vi;
