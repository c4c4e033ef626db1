//! A fit's whole state as plain data, and the arrays that a file keeps of it.

use super::NormalConfig;
use super::ekf::EkfState;
use super::laplace::LaplaceState;
use super::last_layer::{Curvature, LastLayerState};
use super::normal::{NormalMethod, Structure};
use super::vi::ViState;

/// A fit's whole state.
#[derive(Clone, Debug, PartialEq)]
pub enum NormalState {
    /// Of EKF.
    Ekf(EkfState),
    /// Of VI, between two steps.
    Vi(ViState),
    /// Of Laplace with independent normals.
    Laplace(LaplaceState),
    /// Of Laplace on the head alone.
    LastLayer(LastLayerState),
}

/// An array of a state.
#[derive(Debug)]
pub enum Values<'a> {
    /// (n_params).
    F32(&'a [f32]),
    /// Of another size.
    F64(&'a [f64]),
}

/// An array of a state, to be filled.
#[derive(Debug)]
pub enum ValuesMut<'a> {
    /// (n_params).
    F32(&'a mut [f32]),
    /// Of another size.
    F64(&'a mut [f64]),
}

impl NormalState {
    /// Where a fit begins, about `mean`, of a model whose head is (V, C) = `head`; of a caller's own parameters, which have none, [0, 0].
    pub(super) fn start(config: &NormalConfig, mean: &[f32], head: [usize; 2]) -> Self {
        let (step, n, mean) = (0, mean.len(), mean.to_vec());
        let [v, c] = head;
        let last_layer = |curvature| {
            Self::LastLayer(LastLayerState {
                step,
                mean: mean.clone(),
                curvature,
            })
        };
        match (config.method, config.laplace_structure) {
            (NormalMethod::Ekf, _) => Self::Ekf(EkfState {
                step,
                mean,
                sd: vec![config.init_sd as f32; n],
            }),
            (NormalMethod::Vi, _) => Self::Vi(ViState {
                step,
                mean,
                log_sd: vec![config.init_log_scale as f32; n],
                adam: Default::default(),
            }),
            (NormalMethod::Laplace, Structure::Diagonal) => Self::Laplace(LaplaceState {
                step,
                mean,
                precision: vec![0.0; n],
            }),
            (NormalMethod::Laplace, Structure::LastLayerFull) => last_layer(Curvature::full(v, c)),
            (NormalMethod::Laplace, Structure::LastLayerKfac) => {
                last_layer(Curvature::kronecker(v, c))
            }
        }
    }

    /// A state of `n` parameters after `step` steps whose arrays have the sizes that the settings say: to be filled. `head`: (V, C) of the
    /// model's; of a caller's own parameters, which have none, [0, 0]: [`Normals`](super::Normals) take no fit of a head.
    pub fn blank(config: &NormalConfig, n: usize, head: [usize; 2], step: u64) -> Self {
        let mut state = Self::start(config, &vec![0.0; n], head);
        match &mut state {
            Self::Ekf(s) => s.step = step,
            Self::Vi(s) => {
                s.step = step;
                s.adam = std::array::from_fn(|_| vec![0.0; n]);
            }
            Self::Laplace(s) => s.step = step,
            Self::LastLayer(s) => s.step = step,
        }
        state
    }

    /// The method that it is of.
    pub fn method(&self) -> NormalMethod {
        match self {
            Self::Ekf(_) => NormalMethod::Ekf,
            Self::Vi(_) => NormalMethod::Vi,
            Self::Laplace(_) | Self::LastLayer(_) => NormalMethod::Laplace,
        }
    }

    /// Steps made.
    pub fn step(&self) -> u64 {
        match self {
            Self::Ekf(s) => s.step,
            Self::Vi(s) => s.step,
            Self::Laplace(s) => s.step,
            Self::LastLayer(s) => s.step,
        }
    }

    /// The arrays by name: `params` and `sd` (ekf); `params`, `log_sd`, `adam.0` to `adam.3` (vi); `params` and `precision` (laplace), or
    /// `params` with `pairs`, or with `outputs` and `inputs` (of a head).
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
            Self::LastLayer(s) => {
                let arrays = s.curvature.arrays().into_iter();
                let mut all = vec![("params", F32(&s.mean))];
                all.extend(arrays.map(|(name, v)| (name, F64(v))));
                all
            }
        }
    }

    /// The same, to be filled.
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
            Self::LastLayer(s) => {
                let arrays = s.curvature.arrays_mut().into_iter();
                let mut all = vec![("params", F32(&mut s.mean))];
                all.extend(arrays.map(|(name, v)| (name, F64(v))));
                all
            }
        }
    }
}
