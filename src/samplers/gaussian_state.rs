//! A fit's whole state as plain data, and the arrays that a file keeps of it.

use super::GaussianConfig;
use super::ekf::EkfState;
use super::ema::EmaState;
use super::gaussian_config::{CovarianceStructure, GaussianMethod};
use super::ivon::IvonState;
use super::laplace::LaplaceState;
use super::last_layer::{HeadHessian, LastLayerState};
use super::snapshots::SnapshotsState;
use super::swag::SwagState;
use super::vi::ViState;
use crate::error::Result;
use crate::memory;

/// The name of swag's columns, an array of any number of times (n_params).
pub(super) const DEVIATIONS: &str = "deviations";
/// The name of the states of snapshots, likewise.
pub(super) const STATES: &str = "states";
/// What messages call a fit's mean.
const MEAN: &str = "a fit's mean";

/// A fit's whole state.
#[derive(Clone, Debug, PartialEq)]
pub enum GaussianState {
    /// State of the EKF.
    Ekf(EkfState),
    /// State of VI between two steps.
    Vi(ViState),
    /// State of Laplace with a diagonal covariance.
    Laplace(LaplaceState),
    /// State of Laplace on the head only.
    LastLayer(LastLayerState),
    /// State of SWAG.
    Swag(SwagState),
    /// State of IVON between two steps.
    Ivon(IvonState),
    /// State of an optimiser's average.
    Ema(EmaState),
    /// State of an optimiser that keeps states.
    Snapshots(SnapshotsState),
}

/// An array of a state.
#[derive(Debug)]
pub enum Values<'a> {
    /// Values of all parameters, (n_params), or several times as many.
    F32(&'a [f32]),
    /// Values of another size.
    F64(&'a [f64]),
}

/// An array of a state, to be filled.
#[derive(Debug)]
pub enum ValuesMut<'a> {
    /// Values of all parameters, (n_params), or several times as many.
    F32(&'a mut [f32]),
    /// Values of another size.
    F64(&'a mut [f64]),
}

impl GaussianState {
    /// Returns the state at which a fit centred at `mean` begins. `head` is (V, C) of the model's head, [0, 0] for a caller's own parameters.
    pub(super) fn start(config: &GaussianConfig, mean: &[f32], head: [usize; 2]) -> Result<Self> {
        Self::at(config, memory::copy(mean, MEAN)?, head)
    }

    /// Returns the state at which a fit centred at `mean` begins.
    fn at(config: &GaussianConfig, mean: Vec<f32>, head: [usize; 2]) -> Result<Self> {
        let (step, n) = (0, mean.len());
        let [v, c] = head;
        let filled = |value: f64| memory::filled(n, value as f32, "a fit's spread");
        Ok(match (config.method, config.laplace_structure) {
            (GaussianMethod::Ekf, _) => Self::Ekf(EkfState {
                step,
                mean,
                sd: filled(config.init_sd)?,
            }),
            (GaussianMethod::Vi, _) => Self::Vi(ViState {
                step,
                mean,
                log_sd: filled(config.init_log_scale)?,
                adam: Default::default(),
            }),
            (GaussianMethod::Ivon, _) => Self::Ivon(IvonState {
                step,
                mean,
                curvature: filled(config.ivon().curvature(config.init_log_scale))?,
                momentum: filled(0.0)?,
            }),
            (GaussianMethod::Swag, _) => Self::Swag(SwagState {
                step,
                params: mean,
                adam: Default::default(),
                mean: filled(0.0)?,
                squares: filled(0.0)?,
                deviations: Vec::new(),
            }),
            (GaussianMethod::Ema, _) => Self::Ema(EmaState {
                step,
                params: memory::copy(&mean, MEAN)?,
                adam: Default::default(),
                mean,
            }),
            (GaussianMethod::Snapshots, _) => Self::Snapshots(SnapshotsState {
                step,
                params: mean,
                adam: Default::default(),
                states: Vec::new(),
            }),
            (GaussianMethod::Laplace, CovarianceStructure::Diagonal) => {
                Self::Laplace(LaplaceState {
                    step,
                    mean,
                    precision: filled(0.0)?,
                })
            }
            (GaussianMethod::Laplace, CovarianceStructure::LastLayerFull) => {
                Self::LastLayer(LastLayerState {
                    step,
                    mean,
                    curvature: HeadHessian::full(v, c)?,
                })
            }
            (GaussianMethod::Laplace, CovarianceStructure::LastLayerKfac) => {
                Self::LastLayer(LastLayerState {
                    step,
                    mean,
                    curvature: HeadHessian::kronecker(v, c)?,
                })
            }
        })
    }

    /// Returns a state of `n` parameters after `step` steps whose arrays have the sizes that the settings say: to be filled. `head`: (V, C) of the
    /// model's head, [0, 0] for a caller's own parameters: a [`GaussianApproximation`](super::GaussianApproximation) has no head.
    ///
    /// # Errors
    /// Returns [`Error::OutOfMemory`](crate::Error::OutOfMemory) where memory does not hold it.
    pub fn blank(config: &GaussianConfig, n: usize, head: [usize; 2], step: u64) -> Result<Self> {
        let mut state = Self::at(config, memory::zeros(n, MEAN)?, head)?;
        let averages = |of: &mut [Vec<f32>]| {
            of.iter_mut().try_for_each(|v| {
                *v = memory::zeros(n, "the averages of AdamW")?;
                Ok(())
            })
        };
        match &mut state {
            Self::Ekf(s) => s.step = step,
            Self::Vi(s) => {
                s.step = step;
                averages(&mut s.adam)?;
            }
            Self::Ema(s) => {
                s.step = step;
                averages(&mut s.adam)?;
            }
            Self::Snapshots(s) => {
                s.step = step;
                averages(&mut s.adam)?;
                let kept = config.snapshots().kept(step);
                s.states = memory::zeros(n.saturating_mul(kept), "an ensemble's states")?;
            }
            Self::Laplace(s) => s.step = step,
            Self::LastLayer(s) => s.step = step,
            Self::Ivon(s) => s.step = step,
            Self::Swag(s) => {
                s.step = step;
                averages(&mut s.adam)?;
                let (_, columns) = config.swag().collected(step);
                s.deviations = memory::zeros(n.saturating_mul(columns), "swag's deviations")?;
            }
        }
        Ok(state)
    }

    /// Returns the method that the state belongs to.
    pub fn method(&self) -> GaussianMethod {
        match self {
            Self::Ekf(_) => GaussianMethod::Ekf,
            Self::Vi(_) => GaussianMethod::Vi,
            Self::Laplace(_) | Self::LastLayer(_) => GaussianMethod::Laplace,
            Self::Swag(_) => GaussianMethod::Swag,
            Self::Ivon(_) => GaussianMethod::Ivon,
            Self::Ema(_) => GaussianMethod::Ema,
            Self::Snapshots(_) => GaussianMethod::Snapshots,
        }
    }

    /// Returns the number of steps made.
    pub fn step(&self) -> u64 {
        match self {
            Self::Ekf(s) => s.step,
            Self::Vi(s) => s.step,
            Self::Laplace(s) => s.step,
            Self::LastLayer(s) => s.step,
            Self::Swag(s) => s.step,
            Self::Ivon(s) => s.step,
            Self::Ema(s) => s.step,
            Self::Snapshots(s) => s.step,
        }
    }

    /// Returns the arrays by name: `params` and `sd` (ekf); `params`, `log_sd`, `adam.0` to `adam.3` (vi); `params` and `precision` (laplace), or
    /// `params` with `pairs`, or with `outputs` and `inputs` (of a head); `params`, `adam.0`, `adam.1`, `mean`, `squares` and `deviations` (swag); `params`, `hessian`
    /// and `momentum` (ivon); `params`, `adam.0`, `adam.1` and `mean` (ema) or `states` (snapshots).
    pub fn values(&self) -> Vec<(&'static str, Values<'_>)> {
        use Values::{F32, F64};
        match self {
            Self::Ekf(s) => vec![("params", F32(&s.mean)), ("sd", F32(&s.sd))],
            Self::Laplace(s) => vec![("params", F32(&s.mean)), ("precision", F32(&s.precision))],
            Self::Vi(s) => {
                let [a, b, c, d] = &s.adam;
                vec![
                    ("params", F32(&s.mean)),
                    ("log_sd", F32(&s.log_sd)),
                    ("adam.0", F32(a)),
                    ("adam.1", F32(b)),
                    ("adam.2", F32(c)),
                    ("adam.3", F32(d)),
                ]
            }
            Self::Ivon(s) => vec![
                ("params", F32(&s.mean)),
                ("hessian", F32(&s.curvature)),
                ("momentum", F32(&s.momentum)),
            ],
            Self::Swag(s) => {
                let [a, b] = &s.adam;
                vec![
                    ("params", F32(&s.params)),
                    ("adam.0", F32(a)),
                    ("adam.1", F32(b)),
                    ("mean", F32(&s.mean)),
                    ("squares", F32(&s.squares)),
                    (DEVIATIONS, F32(&s.deviations)),
                ]
            }
            Self::Ema(s) => {
                let [a, b] = &s.adam;
                vec![
                    ("params", F32(&s.params)),
                    ("adam.0", F32(a)),
                    ("adam.1", F32(b)),
                    ("mean", F32(&s.mean)),
                ]
            }
            Self::Snapshots(s) => {
                let [a, b] = &s.adam;
                vec![
                    ("params", F32(&s.params)),
                    ("adam.0", F32(a)),
                    ("adam.1", F32(b)),
                    (STATES, F32(&s.states)),
                ]
            }
            Self::LastLayer(s) => {
                let arrays = s.curvature.arrays().into_iter();
                let mut all = vec![("params", F32(&s.mean))];
                all.extend(arrays.map(|(name, v)| (name, F64(v))));
                all
            }
        }
    }

    /// Returns the arrays of [`GaussianState::values`] to be filled.
    pub fn values_mut(&mut self) -> Vec<(&'static str, ValuesMut<'_>)> {
        use ValuesMut::{F32, F64};
        match self {
            Self::Ekf(s) => vec![("params", F32(&mut s.mean)), ("sd", F32(&mut s.sd))],
            Self::Laplace(s) => vec![
                ("params", F32(&mut s.mean)),
                ("precision", F32(&mut s.precision)),
            ],
            Self::Vi(s) => {
                let [a, b, c, d] = &mut s.adam;
                vec![
                    ("params", F32(&mut s.mean)),
                    ("log_sd", F32(&mut s.log_sd)),
                    ("adam.0", F32(a)),
                    ("adam.1", F32(b)),
                    ("adam.2", F32(c)),
                    ("adam.3", F32(d)),
                ]
            }
            Self::Ivon(s) => vec![
                ("params", F32(&mut s.mean)),
                ("hessian", F32(&mut s.curvature)),
                ("momentum", F32(&mut s.momentum)),
            ],
            Self::Swag(s) => {
                let [a, b] = &mut s.adam;
                vec![
                    ("params", F32(&mut s.params)),
                    ("adam.0", F32(a)),
                    ("adam.1", F32(b)),
                    ("mean", F32(&mut s.mean)),
                    ("squares", F32(&mut s.squares)),
                    (DEVIATIONS, F32(&mut s.deviations)),
                ]
            }
            Self::Ema(s) => {
                let [a, b] = &mut s.adam;
                vec![
                    ("params", F32(&mut s.params)),
                    ("adam.0", F32(a)),
                    ("adam.1", F32(b)),
                    ("mean", F32(&mut s.mean)),
                ]
            }
            Self::Snapshots(s) => {
                let [a, b] = &mut s.adam;
                vec![
                    ("params", F32(&mut s.params)),
                    ("adam.0", F32(a)),
                    ("adam.1", F32(b)),
                    (STATES, F32(&mut s.states)),
                ]
            }
            Self::LastLayer(s) => {
                let arrays = s.curvature.arrays_mut().into_iter();
                let mut all = vec![("params", F32(&mut s.mean))];
                all.extend(arrays.map(|(name, v)| (name, F64(v))));
                all
            }
        }
    }
}
