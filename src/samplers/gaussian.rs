//! Gaussian approximations of all parameters, by any of seven methods: a state machine over a caller's gradients.
//!
//! The methods themselves are in [`ekf`](super::ekf), [`vi`](super::vi), [`laplace`](super::laplace), [`swag`](super::swag), [`ivon`](super::ivon), [`ema`](super::ema) and
//! [`snapshots`](super::snapshots). Here is what a run needs around
//! them: how many steps there are, and how often the data count.

use super::Phase;
use super::adam_path::PathReport;
use super::ekf::{Ekf, EkfConfig, Squared};
use super::ema::Ema;
use super::gaussian_config::{GaussianConfig, GaussianMethod};
use super::gaussian_state::GaussianState;
use super::ivon::{Ivon, IvonReport};
use super::laplace::{Laplace, PriorFit};
use super::observed::Observed;
use super::snapshots::Snapshots;
use super::swag::Swag;
use super::vi::{Vi, ViReport};
use crate::backend::{Scalars, Transfer, Vectors};
use crate::error::{Error, Result};
use crate::memory;

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianReport {
    /// Which step this was, counted from 0.
    pub step: u64,
    /// The value that was given with the gradient: of VI and IVON the log posterior, its mean over the step's draws; of an optimiser's path the log posterior; a mean log
    /// likelihood otherwise.
    pub value: f64,
}

impl GaussianReport {
    fn of_ivon(r: IvonReport) -> Self {
        Self {
            step: r.step,
            value: r.log_post,
        }
    }

    fn of_path(r: PathReport) -> Self {
        Self {
            step: r.step,
            value: r.log_post,
        }
    }

    fn of_vi(r: ViReport) -> Self {
        Self {
            step: r.step,
            value: r.log_post,
        }
    }
}

/// Returns the log posterior if it is finite.
pub(super) fn finite_log_post(log_post: f64, step: u64) -> Result<f64> {
    if log_post.is_finite() {
        return Ok(log_post);
    }
    Err(Error::NotFinite {
        step,
        tensor: "log_posterior".into(),
        value: log_post as f32,
    })
}

/// Returns the mean log likelihood if it is finite.
pub(super) fn finite_log_lik(log_lik: f64, step: u64) -> Result<f64> {
    if log_lik.is_finite() {
        return Ok(log_lik);
    }
    Err(Error::NotFinite {
        step,
        tensor: "log_likelihood".into(),
        value: log_lik as f32,
    })
}

enum Fit<V: Vectors> {
    Ekf(Ekf<V>),
    Vi(Vi<V>),
    Laplace(Laplace<V>),
    Swag(Swag<V>),
    Ivon(Ivon<V>),
    Ema(Ema<V>),
    Snapshots(Snapshots<V>),
}

/// A Gaussian approximation of all parameters that is being fitted to a caller's gradients. For one thread at a time.
pub struct GaussianApproximation<V: Vectors> {
    vectors: V,
    config: GaussianConfig,
    fit: Fit<V>,
    rate: Option<f64>,
    prior: Option<PriorFit>, // of the precisions as they are
}

impl<V: Vectors> GaussianApproximation<V> {
    /// Begins a fit centred at `mean`.
    ///
    /// # Errors
    /// When a setting is out of range ([`GaussianConfig::validate`]), there is no parameter, or one is not finite.
    pub fn new(vectors: V, mean: &[f32], config: GaussianConfig) -> Result<Self> {
        config.validate()?;
        // A caller's own model has no head.
        let start = GaussianState::start(&config, mean, [0, 0])?;
        Self::restore(vectors, config, &start)
    }

    /// Continues from a saved state, bit for bit.
    ///
    /// # Errors
    /// Returns the errors of [`GaussianApproximation::new`], and an error when the state is another method's or past the last step.
    pub fn restore(vectors: V, config: GaussianConfig, state: &GaussianState) -> Result<Self> {
        config.validate()?;
        config.check_step(state.step())?;
        if config.fits_head() {
            return Err(Error::conflict(
                "laplace_structure must be diagonal without a GPT: the other covariances are those of its head",
            ));
        }
        let v = vectors.clone();
        let (fit, n) = match (config.method, state) {
            (GaussianMethod::Ekf, GaussianState::Ekf(s)) => {
                let settings = EkfConfig {
                    lr: config.ekf_rate(),
                    transition_sd: config.transition_sd,
                };
                (Fit::Ekf(Ekf::restore(v, settings, s)?), s.mean.len())
            }
            (GaussianMethod::Vi, GaussianState::Vi(s)) => {
                (Fit::Vi(Vi::restore(v, config.vi(), s)?), s.mean.len())
            }
            (GaussianMethod::Laplace, GaussianState::Laplace(s)) => {
                (Fit::Laplace(Laplace::restore(v, s)?), s.mean.len())
            }
            (GaussianMethod::Swag, GaussianState::Swag(s)) => (
                Fit::Swag(Swag::restore(v, config.swag(), s)?),
                s.params.len(),
            ),
            (GaussianMethod::Ivon, GaussianState::Ivon(s)) => {
                (Fit::Ivon(Ivon::restore(v, config.ivon(), s)?), s.mean.len())
            }
            (GaussianMethod::Ema, GaussianState::Ema(s)) => {
                (Fit::Ema(Ema::restore(v, config.ema(), s)?), s.params.len())
            }
            (GaussianMethod::Snapshots, GaussianState::Snapshots(s)) => (
                Fit::Snapshots(Snapshots::restore(v, config.snapshots(), s)?),
                s.params.len(),
            ),
            (method, other) => {
                return Err(Error::conflict(format!(
                    "the state is one of {}, and the settings ask for {method}",
                    other.method()
                )));
            }
        };
        if n == 0 {
            return Err(Error::out_of_range("params", "at least one", n));
        }
        Ok(Self {
            vectors,
            config,
            fit,
            rate: None,
            prior: None,
        })
    }

    /// Returns the state as plain data.
    ///
    /// # Errors
    /// When some of a step's draws are made already (VI), or the device cannot be read.
    pub fn state(&self) -> Result<GaussianState> {
        Ok(match &self.fit {
            Fit::Ekf(e) => GaussianState::Ekf(e.state()?),
            Fit::Vi(v) => GaussianState::Vi(v.state()?),
            Fit::Laplace(l) => GaussianState::Laplace(l.state()?),
            Fit::Swag(s) => GaussianState::Swag(s.state()?),
            Fit::Ivon(i) => GaussianState::Ivon(i.state()?),
            Fit::Ema(e) => GaussianState::Ema(e.state()?),
            Fit::Snapshots(s) => GaussianState::Snapshots(s.state()?),
        })
    }

    /// Takes in, for VI, IVON and an optimiser's path, the gradient of the log posterior at [`GaussianApproximation::point`], and its value; `None` while draws of the step are
    /// left.
    ///
    /// # Errors
    /// Returns the errors of the methods' own steps; [`Error::Conflict`] for the other methods and when every step was
    /// made.
    pub fn step_with_gradient(
        &mut self,
        grad: &V::Vector,
        log_post: f64,
    ) -> Result<Option<GaussianReport>> {
        self.step(Observed::Given { grad, log_post })
    }

    /// Does what [`GaussianApproximation::step_with_gradient`] does.
    pub(super) fn step(&mut self, observed: Observed<'_, V>) -> Result<Option<GaussianReport>> {
        let rate = self.next_rate()?;
        let of_path = |report| Some(GaussianReport::of_path(report));
        match &mut self.fit {
            Fit::Vi(f) => Ok(f.step(observed, rate)?.map(GaussianReport::of_vi)),
            Fit::Ivon(f) => Ok(f.step(observed, rate)?.map(GaussianReport::of_ivon)),
            Fit::Swag(f) => f.step(observed, rate).map(of_path),
            Fit::Ema(f) => f.step(observed, rate).map(of_path),
            Fit::Snapshots(f) => f.step(observed, rate).map(of_path),
            Fit::Ekf(_) | Fit::Laplace(_) => Err(self.needs_squares()),
        }
    }

    /// Returns the factor on the next step's rate, of which there must be one left.
    fn next_rate(&self) -> Result<f64> {
        let (c, made) = (&self.config, self.steps_made());
        c.refuse_when_done(made)?;
        Ok(self
            .rate
            .unwrap_or_else(|| c.schedule.factor(made, c.steps)))
    }

    fn needs_squares(&self) -> Error {
        Error::conflict(format!(
            "{} needs the gradient's squares: call step_with_squares",
            self.config.method
        ))
    }

    /// Takes in, for EKF and Laplace, one batch at [`GaussianApproximation::point`]. `grad` times `gradient_scale` is the mean gradient of the observations'
    /// log likelihoods (Laplace does not read it), `squares` times `squares_scale` the mean of their squares, `log_lik` the mean itself.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with step and element, the state as before; [`Error::Conflict`] for VI, IVON and an optimiser's path, and when every step was made.
    pub fn step_with_squares(
        &mut self,
        grad: &V::Vector,
        gradient_scale: f64,
        squares: &V::Vector,
        squares_scale: f64,
        log_lik: f64,
    ) -> Result<GaussianReport> {
        finite_log_lik(log_lik, self.steps_made())?;
        let of = Squared {
            grad,
            gradient_scale,
            squares,
            squares_scale,
        };
        let mut record = self.vectors.record()?;
        self.squares_recorded(of, &mut record, &|_| log_lik)
    }

    /// Does what [`GaussianApproximation::step_with_squares`] does, with a batch whose scalars are in `record`; `log_lik` makes the mean log likelihood of them.
    pub(super) fn squares_recorded(
        &mut self,
        of: Squared<'_, V::Vector>,
        record: &mut V::Record,
        log_lik: &dyn Fn(&Scalars) -> f64,
    ) -> Result<GaussianReport> {
        self.config.refuse_when_done(self.steps_made())?;
        let step = self.steps_made();
        let value = match &mut self.fit {
            Fit::Ekf(e) => e.step_recorded(of, record, log_lik)?,
            Fit::Laplace(l) => {
                // Each step's mean counts for its share of the data.
                let scale = self.config.share() * of.squares_scale;
                self.prior = None;
                l.step_recorded(of.squares, scale, record, log_lik)?
            }
            Fit::Vi(_) | Fit::Swag(_) | Fit::Ivon(_) | Fit::Ema(_) | Fit::Snapshots(_) => {
                return Err(Error::conflict(format!(
                    "{} takes the gradient of the log posterior: call step_with_gradient",
                    self.config.method
                )));
            }
        };
        Ok(GaussianReport { step, value })
    }

    /// Sets, for VI, IVON and an optimiser's path, the factor on the rate in all following steps, in place of the schedule's; `None` gives that its place back. No part of the
    /// state.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when it is not positive, and for the methods without a rate.
    pub fn set_rate(&mut self, rate: Option<f64>) -> Result<()> {
        self.config.check_rate(rate)?;
        self.rate = rate;
        Ok(())
    }

    /// Returns where the next gradient is to be taken: the draw of VI or IVON, an optimiser on its path, or the mean.
    pub fn point(&self) -> &V::Vector {
        match &self.fit {
            Fit::Vi(v) => v.point(),
            Fit::Swag(s) => s.params(),
            Fit::Ivon(i) => i.point(),
            Fit::Ema(e) => e.params(),
            Fit::Snapshots(s) => s.params(),
            _ => self.mean(),
        }
    }

    /// Returns the mean.
    pub fn mean(&self) -> &V::Vector {
        match &self.fit {
            Fit::Ekf(e) => e.mean(),
            Fit::Vi(v) => v.mean(),
            Fit::Laplace(l) => l.mean(),
            Fit::Swag(s) => s.mean(),
            Fit::Ivon(i) => i.mean(),
            Fit::Ema(e) => e.mean(),
            Fit::Snapshots(s) => s.mean(),
        }
    }

    /// Returns the standard deviations (n_params) that [`GaussianApproximation::draw`] uses: infinite where there is no precision.
    ///
    /// # Errors
    /// Returns the errors of [`GaussianApproximation::prior_fit`], and an error when the device cannot be read.
    pub fn sd(&mut self) -> Result<Vec<f32>> {
        let (p, t) = (self.prior_precision()?, self.config.temperature);
        let v = &self.vectors;
        Ok(match &self.fit {
            Fit::Ekf(e) => v.get(e.sd())?,
            Fit::Vi(vi) => {
                let mut sd = v.get(vi.log_sd())?;
                sd.iter_mut().for_each(|l| *l = l.exp());
                sd
            }
            Fit::Laplace(l) => {
                let mut sd = v.get(l.precision())?;
                sd.iter_mut()
                    .for_each(|h| *h = (t / (*h as f64 + p)).sqrt() as f32);
                sd
            }
            Fit::Swag(s) => s.sd(t)?,
            Fit::Ivon(i) => i.sd()?,
            Fit::Ema(e) => memory::zeros(v.len(e.mean()), "standard deviations")?,
            Fit::Snapshots(s) => s.sd()?,
        })
    }

    /// Returns the mean standard deviation over the parameters; Laplace's with the prior of `prior_std`.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn average_sd(&self) -> Result<f64> {
        self.average_sd_with(self.config.prior_std.powi(-2))
    }

    /// Returns the mean standard deviation over the parameters; Laplace's with the given prior precision.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub fn average_sd_with(&self, prior_precision: f64) -> Result<f64> {
        match &self.fit {
            Fit::Ekf(e) => e.average_sd(),
            Fit::Vi(v) => v.average_sd(),
            Fit::Laplace(l) => l.average_sd(prior_precision, self.config.temperature),
            Fit::Swag(s) => s.average_sd(self.config.temperature),
            Fit::Ivon(i) => i.average_sd(),
            Fit::Ema(_) => Ok(0.0),
            Fit::Snapshots(s) => s.average_sd(),
        }
    }

    /// Returns what the marginal likelihood says of the prior, kept until the next step; `None` without `laplace_fit_prior`.
    ///
    /// # Errors
    /// Returns the errors of [`Laplace::fit_prior`].
    pub fn prior_fit(&mut self) -> Result<Option<PriorFit>> {
        if let Fit::Laplace(l) = &self.fit
            && self.config.laplace_fit_prior
            && self.prior.is_none()
        {
            self.prior = Some(l.fit_prior(self.config.prior_std.powi(-2))?);
        }
        Ok(self.prior)
    }

    fn prior_precision(&mut self) -> Result<f64> {
        let fitted = self.prior_fit()?.map(|p| p.precision);
        Ok(fitted.unwrap_or(self.config.prior_std.powi(-2)))
    }

    /// Writes draw number `index` of the seed from the normals as they are, into `out`; of snapshots the state of that number, and of a moving average that.
    ///
    /// # Errors
    /// When `out` has another length; as [`GaussianApproximation::prior_fit`] and [`Laplace::draw`].
    pub fn draw(&mut self, index: u64, out: &mut V::Vector) -> Result<()> {
        let (p, t, seed) = (
            self.prior_precision()?,
            self.config.temperature,
            self.config.seed,
        );
        let (state, index) = (index, self.config.numbered(index));
        match &self.fit {
            Fit::Ekf(e) => e.draw(seed, index, out),
            Fit::Vi(v) => v.draw(seed, index, out),
            Fit::Laplace(l) => l.draw(p, t, seed, index, out),
            Fit::Swag(s) => s.draw(t, seed, index, out),
            Fit::Ivon(i) => i.draw(seed, index, out),
            Fit::Ema(e) => e.draw(out),
            Fit::Snapshots(s) => s.draw(state, out),
        }
    }

    /// Steps made, which is the next step's index.
    pub fn steps_made(&self) -> u64 {
        match &self.fit {
            Fit::Ekf(e) => e.steps_made(),
            Fit::Vi(v) => v.steps_made(),
            Fit::Laplace(l) => l.steps_made(),
            Fit::Swag(s) => s.steps_made(),
            Fit::Ivon(i) => i.steps_made(),
            Fit::Ema(e) => e.steps_made(),
            Fit::Snapshots(s) => s.steps_made(),
        }
    }

    /// Sets the number of steps, as far as none that was made depends on it.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when one does, or more were made.
    pub fn extend(&mut self, steps: u64) -> Result<()> {
        self.config = self.config.extended(steps, self.steps_made())?;
        Ok(())
    }

    /// Returns the phase: warm-up while steps are left, then done. A fit's own steps are never samples.
    pub fn phase(&self) -> Phase {
        if self.steps_made() < self.config.steps {
            Phase::Warmup
        } else {
            Phase::Done
        }
    }

    /// Returns the settings.
    pub fn config(&self) -> &GaussianConfig {
        &self.config
    }
}
