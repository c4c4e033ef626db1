//! The prior: independent for each parameter, a scale family about a centre.

use crate::backend::PriorFamily;
use crate::error::{Error, Result};
use crate::gpt::Layout;
use crate::memory;
use crate::rng::{Stream, StreamTag};
use rand::RngExt;
use rand_distr::{Distribution, Exp1, StandardNormal, StudentT};

/// What is added to |w| in a prior whose standard deviation is relative to the weights, as in the original.
pub const PRIOR_FLOOR: f32 = 1e-4;
/// What messages call the scales.
const SCALES: &str = "a prior's scales";

/// What the scale of each parameter's prior is measured in.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum PriorUnits {
    /// 1.
    #[default]
    One,
    /// |w| + [`PRIOR_FLOOR`] of these reference weights, (n_params), as the original has it.
    RelativeTo(Vec<f32>),
    /// These, (n_params), each above 0.
    Each(Vec<f32>),
}

impl PriorUnits {
    /// Returns units that keep a layer's outputs of one size whatever its width: 1 / sqrt(inputs) for the weights of each matrix of a block and of an
    /// untied head. Embeddings, also one that is the head's weight, gains and biases have 1: each of their numbers reaches the sum alone.
    ///
    /// # Errors
    /// Returns [`Error::OutOfMemory`] where memory does not hold them.
    pub fn by_fan_in(layout: &Layout) -> Result<Self> {
        let mut units = memory::filled(layout.len(), 1.0f32, SCALES)?;
        for (range, n_in) in layout.matrices() {
            units[range].fill((n_in as f32).sqrt().recip());
        }
        Ok(Self::Each(units))
    }

    /// Returns the vector that the units are made of, if any, (n_params).
    pub fn vector(&self) -> Option<&[f32]> {
        match self {
            Self::One => None,
            Self::RelativeTo(v) | Self::Each(v) => Some(v),
        }
    }

    /// Returns the unit of each parameter; none where all are 1.
    fn each(&self) -> Option<impl Iterator<Item = f32> + '_> {
        let floor = match self {
            Self::RelativeTo(_) => PRIOR_FLOOR,
            _ => 0.0,
        };
        Some(self.vector()?.iter().map(move |v| v.abs() + floor))
    }

    /// Returns the units as a vector, as the gradient of the log posterior takes them; none where all are 1.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there are `n` of them; [`Error::OutOfRange`] with the first that is not above 0 and finite.
    pub(crate) fn scales(&self, n: usize) -> Result<Option<Vec<f32>>> {
        let (Some(vector), Some(each)) = (self.vector(), self.each()) else {
            return Ok(None);
        };
        let (what, expected) = match self {
            Self::RelativeTo(_) => ("prior's reference weights", "a finite number"),
            _ => ("prior's units", "a positive number"),
        };
        if vector.len() != n {
            return Err(Error::shape(what, [n], [vector.len()]));
        }
        let positive = matches!(self, Self::Each(_));
        let bad = |v: &f32| !v.is_finite() || (positive && *v <= 0.0);
        if let Some(at) = vector.iter().position(bad) {
            let what = format!("{what}[{at}]");
            return Err(Error::out_of_range(what, expected, vector[at]));
        }
        memory::collect(each, SCALES).map(Some)
    }
}

/// A prior, independent for each parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    /// The form of the prior.
    pub family: PriorFamily,
    /// The form's scale, above 0; of a normal the standard deviation.
    pub std: f32,
    /// The prior's centre, one value per parameter; `None` is zero.
    pub center: Option<Vec<f32>>,
    /// What `std` is measured in for each parameter.
    pub units: PriorUnits,
}

impl Prior {
    /// Returns N(0, std^2) on every parameter.
    pub fn isotropic(std: f32) -> Self {
        Self {
            family: PriorFamily::Normal,
            std,
            center: None,
            units: PriorUnits::One,
        }
    }

    /// Returns the largest curvature of any parameter's -log prior: the stiffest direction. 1 / s^2 of a normal, (nu + 1) / nu of that of a Student-t;
    /// 0 of a Laplace prior, whose kink has none.
    pub fn stiffest(&self) -> f64 {
        self.precisions().fold(0.0, f64::max)
    }

    /// Returns the largest such curvature over a mass, one value per parameter: the stiffest direction as the sampler feels it.
    pub fn stiffest_over(&self, mass: &[f32]) -> f64 {
        match &self.units {
            PriorUnits::One => {
                let lightest = mass.iter().fold(f32::INFINITY, |a, &b| a.min(b));
                self.family.curvature() / (self.std as f64).powi(2) / lightest as f64
            }
            _ => self
                .precisions()
                .zip(mass)
                .map(|(p, &m)| p / m as f64)
                .fold(0.0, f64::max),
        }
    }

    fn precisions(&self) -> impl Iterator<Item = f64> + '_ {
        let std = self.std as f64;
        let curvature = self.family.curvature();
        let each = self.units.each();
        let one = each.is_none().then_some(curvature / (std * std));
        let each = each.into_iter().flatten();
        let each = each.map(move |unit| curvature / (std * f64::from(unit)).powi(2));
        one.into_iter().chain(each)
    }

    /// Returns the root mean square over the parameters of the prior's standard deviation at temperature T, of the density prior^(1/T); `None` where it
    /// has none, as a Student-t with few degrees of freedom.
    pub fn sd_at(&self, temperature: f64) -> Option<f64> {
        let t = temperature;
        // Of a scale of 1.
        let unit = match self.family {
            PriorFamily::Normal => t.sqrt(),
            // exp(-|x| / T) has the variance 2 T^2.
            PriorFamily::Laplace => 2f64.sqrt() * t,
            // (1 + x^2 / nu)^(-(nu + 1) / (2 T)) is a Student-t of n = (nu + 1) / T - 1 degrees of freedom, its scale squared nu / n.
            PriorFamily::StudentT { dof } => {
                let nu = f64::from(dof);
                let n = (nu + 1.0) / t - 1.0;
                (n > 2.0).then(|| (nu / (n - 2.0)).sqrt())?
            }
        };
        let scale = match (self.units.each(), self.units.vector()) {
            (Some(each), Some(all)) => {
                let squares = each.map(|u| (f64::from(self.std) * f64::from(u)).powi(2));
                (squares.sum::<f64>() / all.len() as f64).sqrt()
            }
            _ => f64::from(self.std),
        };
        Some(unit * scale)
    }

    /// Checks the scale and the degrees of freedom.
    pub(super) fn validate(&self) -> Result<()> {
        if !(self.std > 0.0 && self.std.is_finite()) {
            return Err(Error::out_of_range("prior_std", "above 0", self.std));
        }
        match self.family {
            PriorFamily::StudentT { dof } if !(dof > 0.0 && dof.is_finite()) => {
                Err(Error::out_of_range("prior_dof", "above 0", dof))
            }
            _ => Ok(()),
        }
    }

    /// Fills `out` (n_params) with draw number `index` of `seed` from the prior. A model with these parameters shows what the prior says before
    /// any data are seen.
    ///
    /// Equal arguments give equal numbers, which may change with a release of `rand_distr`.
    ///
    /// # Errors
    /// When the scale or the degrees of freedom are not positive, or a vector of the prior has another length than `out`.
    pub fn draw(&self, seed: u64, index: u64, out: &mut [f32]) -> Result<()> {
        self.validate()?;
        let n = out.len();
        if let Some(center) = self.center.as_ref().filter(|v| v.len() != n) {
            return Err(Error::shape("prior's center", [n], [center.len()]));
        }
        let scales = self.units.scales(n)?;
        let scales = scales.as_deref();
        let mut rng = Stream::new(seed, StreamTag::Prior, 0).rng(index);
        match self.family {
            PriorFamily::Normal => self.place(StandardNormal.sample_iter(rng), scales, out),
            PriorFamily::Laplace => {
                let signed = || {
                    let size: f64 = Exp1.sample(&mut rng);
                    if rng.random() { size } else { -size }
                };
                self.place(std::iter::repeat_with(signed), scales, out);
            }
            PriorFamily::StudentT { dof } => {
                let student = StudentT::new(dof as f64)
                    .map_err(|e| Error::out_of_range("prior_dof", "above 0", e))?;
                self.place(student.sample_iter(rng), scales, out);
            }
        }
        Ok(())
    }

    /// Writes theta = center + scale z.
    fn place(&self, z: impl Iterator<Item = f64>, scales: Option<&[f32]>, out: &mut [f32]) {
        for (i, (out, z)) in out.iter_mut().zip(z).enumerate() {
            let scale = scales.map_or(1.0, |s| s[i]);
            let center = self.center.as_ref().map_or(0.0, |c| c[i]);
            *out = center + scale * self.std * z as f32;
        }
    }
}
