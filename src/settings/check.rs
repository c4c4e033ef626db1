//! What the settings of a run must fulfil together.

use super::choices::{Predictive, PriorCenter, PriorUnit, SamplerChoice, Starts};
use super::row::Value;
use super::table::{Settings, TABLE};
use crate::error::{Error, Result};
use crate::samplers::{CovarianceStructure, GaussianMethod, Schedule, gradient_noise};

/// More steps than any run makes: what goes over them one by one still ends in seconds.
const MOST_STEPS: u64 = 1_000_000_000;

impl Settings {
    /// Checks each setting's range, and what can be checked together without data or model.
    ///
    /// # Errors
    /// Names the setting that is out of range.
    pub fn check(&self) -> Result<()> {
        for row in TABLE {
            let Some(value) = row.value(self) else {
                continue;
            };
            row.check(&value)?;
            if let Value::U64(v) = value
                && row.is_recorded()
                && i64::try_from(v).is_err()
            {
                let expected = format!(
                    "at most {}, the largest whole number of a TOML file",
                    i64::MAX
                );
                return Err(Error::out_of_range(row.name, expected, v));
            }
        }
        for (what, v) in [
            ("preconditioner_steps", self.preconditioner_steps),
            ("warmup_steps", self.warmup_steps),
            ("sampling_steps", self.sampling_steps),
        ] {
            if v > MOST_STEPS {
                return Err(Error::out_of_range(
                    what,
                    format!("at most {MOST_STEPS}"),
                    v,
                ));
            }
        }
        if self.data.is_some() && self.data_dir.is_some() {
            return Err(Error::conflict(
                "data and data_dir each name the text: give one of the two",
            ));
        }
        self.check_friction()?;
        self.check_predictive()?;
        self.check_fitted_prior()?;
        match self.sampler {
            SamplerChoice::Chain(_) => self.check_chain(),
            SamplerChoice::Gaussian(normal) => self.check_gaussian(normal),
        }
    }

    pub(super) fn check_friction(&self) -> Result<()> {
        if self.alpha.is_some() && self.momentum.is_some() {
            Err(Error::conflict(
                "alpha and momentum each set the friction: give one of the two",
            ))
        } else {
            Ok(())
        }
    }

    fn check_predictive(&self) -> Result<()> {
        let diagonal = self.sampler == SamplerChoice::Gaussian(GaussianMethod::Laplace)
            && self.laplace_structure == CovarianceStructure::Diagonal;
        let why = match (self.predictive, diagonal, self.starts) {
            (Predictive::Weights, ..) | (_, true, Starts::Shared) => return Ok(()),
            (_, true, Starts::Separate) => "the fits of starts = separate have a mean each",
            (_, false, _) if self.sampler.gaussian() == Some(GaussianMethod::Laplace) => {
                "the logits are linear in the head's weights as they are"
            }
            _ => "only the draws of laplace are of a linearised model",
        };
        Err(Error::conflict(format!(
            "predictive: linearised does not apply, since {why}: choose weights"
        )))
    }

    fn check_chain(&self) -> Result<()> {
        let sampler = self.sampler_config(0)?;
        sampler.validate()?;
        if sampler.num_samples() == 0 {
            return Err(Error::conflict(format!(
                "sampling_steps: {} steps with thinning {} give no sample{}: make more steps, or thin less",
                sampler.sampling_steps,
                sampler.thinning,
                if matches!(sampler.schedule, Schedule::Cyclical { .. }) {
                    " outside the exploring part of the cycles"
                } else {
                    ""
                }
            )));
        }
        self.mass().check_method(sampler.method)?;
        gradient_noise::check(&sampler, self.mass().steps())?;
        if self.auto_step && self.preconditioner.name() == "live" {
            return Err(Error::conflict(
                "auto_step needs a preconditioner that is frozen, and live follows every step: choose another one, or give the step size",
            ));
        }
        self.auto_step(&sampler).map(|_| ())
    }

    fn check_gaussian(&self, normal: GaussianMethod) -> Result<()> {
        if normal == GaussianMethod::Laplace {
            self.check_laplace()?;
        }
        if normal == GaussianMethod::Ema && self.num_samples != 1 {
            return Err(Error::conflict(format!(
                "num_samples: a moving average is one model, and {} are asked for: choose 1, or more chains",
                self.num_samples
            )));
        }
        // How many steps there are depends on the text; a schedule is checked against them where the fit begins.
        self.gaussian_config(normal, u64::MAX).validate()
    }

    /// Checks that a fitted prior is one that the marginal likelihood knows of.
    fn check_fitted_prior(&self) -> Result<()> {
        let normal = self.prior_family.name() == "normal";
        if self.prior_scale != PriorUnit::Fitted
            || (normal && self.prior_center == PriorCenter::Zero)
        {
            return Ok(());
        }
        Err(Error::conflict(
            "prior_scale: the marginal likelihood of a fitted one is that of a normal prior about zero: choose prior_family normal and prior_center zero, or another scale",
        ))
    }

    fn check_laplace(&self) -> Result<()> {
        if self.prior_family.name() != "normal" {
            return Err(Error::conflict(format!(
                "prior_family: the method laplace needs a normal prior, and {} was given: choose normal",
                self.prior_family.name()
            )));
        }
        if self.laplace_fit_prior && self.prior_center == PriorCenter::Pretrained {
            return Err(Error::conflict(
                "prior_center: the marginal likelihood of laplace_fit_prior is that of a prior about zero: choose zero",
            ));
        }
        if self.prior_scale != PriorUnit::Absolute {
            return Err(Error::conflict(
                "prior_scale: laplace has one precision for its whole prior: choose absolute, and laplace_fit_prior to have it fitted",
            ));
        }
        Ok(())
    }
}
