//! The prior: independent for each parameter, a scale family about a centre.

use crate::backend::{PRIOR_FLOOR, PriorFamily};
use crate::error::{Error, Result};
use crate::rng::{Stream, StreamTag};
use rand::RngExt;
use rand_distr::{Distribution, Exp1, StandardNormal, StudentT};

/// A prior, independent for each parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    /// The form of the prior.
    pub family: PriorFamily,
    /// The form's scale, above 0; of a normal the standard deviation.
    pub std: f32,
    /// The prior's centre, one value per parameter; `None` is zero.
    pub center: Option<Vec<f32>>,
    /// With reference weights w, the scale of each parameter is `std * (|w| + 1e-4)`, as the original; `None` is `std` everywhere.
    pub relative_to: Option<Vec<f32>>,
}

impl Prior {
    /// Returns N(0, std^2) on every parameter.
    pub fn isotropic(std: f32) -> Self {
        Self {
            family: PriorFamily::Normal,
            std,
            center: None,
            relative_to: None,
        }
    }

    /// Returns the largest curvature of any parameter's -log prior: the stiffest direction. 1 / s^2 of a normal, (nu + 1) / nu of that of a Student-t;
    /// 0 of a Laplace prior, whose kink has none.
    pub fn stiffest(&self) -> f64 {
        self.precisions().fold(0.0, f64::max)
    }

    /// Returns the largest such curvature over a mass, one value per parameter: the stiffest direction as the sampler feels it.
    pub fn stiffest_over(&self, mass: &[f32]) -> f64 {
        match &self.relative_to {
            None => {
                let lightest = mass.iter().fold(f32::INFINITY, |a, &b| a.min(b));
                self.family.curvature() / (self.std as f64).powi(2) / lightest as f64
            }
            Some(_) => self
                .precisions()
                .zip(mass)
                .map(|(p, &m)| p / m as f64)
                .fold(0.0, f64::max),
        }
    }

    fn precisions(&self) -> impl Iterator<Item = f64> + '_ {
        let std = self.std as f64;
        let curvature = self.family.curvature();
        let one = self
            .relative_to
            .is_none()
            .then_some(curvature / (std * std));
        let each = self
            .relative_to
            .iter()
            .flatten()
            .map(move |w| curvature / (std * (w.abs() as f64 + PRIOR_FLOOR as f64)).powi(2));
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
        let scale = match &self.relative_to {
            None => f64::from(self.std),
            Some(w) => {
                let each = w
                    .iter()
                    .map(|w| f64::from(self.std) * f64::from(w.abs() + PRIOR_FLOOR));
                (each.map(|s| s * s).sum::<f64>() / w.len() as f64).sqrt()
            }
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
        for (what, vector) in [
            ("prior's center", &self.center),
            ("prior's weights", &self.relative_to),
        ] {
            if let Some(vector) = vector.as_ref().filter(|v| v.len() != out.len()) {
                return Err(Error::shape(what, [out.len()], [vector.len()]));
            }
        }
        let mut rng = Stream::new(seed, StreamTag::Prior, 0).rng(index);
        match self.family {
            PriorFamily::Normal => self.place(StandardNormal.sample_iter(rng), out),
            PriorFamily::Laplace => {
                let signed = || {
                    let size: f64 = Exp1.sample(&mut rng);
                    if rng.random() { size } else { -size }
                };
                self.place(std::iter::repeat_with(signed), out);
            }
            PriorFamily::StudentT { dof } => {
                let student = StudentT::new(dof as f64)
                    .map_err(|e| Error::out_of_range("prior_dof", "above 0", e))?;
                self.place(student.sample_iter(rng), out);
            }
        }
        Ok(())
    }

    /// Writes theta = center + scale z.
    fn place(&self, z: impl Iterator<Item = f64>, out: &mut [f32]) {
        for (i, (out, z)) in out.iter_mut().zip(z).enumerate() {
            let weight = self.relative_to.as_ref().map(|w| w[i].abs() + PRIOR_FLOOR);
            let center = self.center.as_ref().map_or(0.0, |c| c[i]);
            *out = center + weight.unwrap_or(1.0) * self.std * z as f32;
        }
    }
}
