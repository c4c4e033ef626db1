//! A chain in the coordinates of its mass: gradients and parameters are the caller's, z is the sampler's.

use super::ascent::Ascent;
use super::warmup::Warmup;
use super::windows::window_at;
use super::{Adaptation, Affine};
use crate::backend::vectors::{Transfer, Vectors};
use crate::error::{Error, Result};
use crate::memory;
use crate::samplers::{AutoStep, Phase, Sampler, StepReport};

/// The coordinates, where the chain is in the caller's, and the warm-up that finds them while it lasts.
pub struct Whitened<V: Vectors> {
    affine: Affine,
    warmup: Option<Warmup>,
    theta: V::Vector,  // where the next gradient is taken
    pulled: V::Vector, // the gradient in z
    grad: Vec<f32>,
    host: Vec<f32>,
    room: Vec<f64>,
}

impl<V: Vectors> Whitened<V> {
    /// Lets a chain that has made no step find its mass and its step while it warms up.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a dense mass of too many parameters, and where memory is short.
    pub fn adapting(sampler: &mut Sampler<V>, how: Adaptation) -> Result<Self> {
        let theta = sampler.vectors().get(sampler.params())?;
        let origin = memory::zeros::<f32>(theta.len(), "a chain's start")?;
        let new = Self::with(
            sampler,
            Affine::identity(&theta, how.mass)?,
            Some(Warmup::new(how, &theta)?),
            &theta,
        )?;
        sampler.relocate(&origin, &origin)?;
        Ok(new)
    }

    /// Gives a chain the mass (L L^T)^-1, and momenta that go with it, before sampling begins. `factor` is L, (n, n) row by row and lower triangular.
    ///
    /// # Errors
    /// Those of [`Affine::new`], and [`Error::Conflict`] when sampling has begun.
    pub fn given(
        sampler: &mut Sampler<V>,
        theta: &[f32],
        start: &[f64],
        factor: Vec<f64>,
    ) -> Result<Self> {
        let center = memory::collect(theta.iter().map(|&t| f64::from(t)), "a mass")?;
        let affine = Affine::new(center, factor)?;
        let origin = memory::zeros::<f32>(theta.len(), "a chain's start")?;
        let start = affine.coordinates(start)?;
        let start = memory::collect(start.into_iter().map(|z| z as f32), "a chain's start")?;
        let new = Self::with(sampler, affine, None, theta)?;
        sampler.relocate(&origin, &start)?;
        Ok(new)
    }

    /// Goes on from saved coordinates, and from a warm-up's numbers where it had not ended.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for numbers that none has.
    pub fn restore(
        sampler: &Sampler<V>,
        affine: Affine,
        warmup: Option<(Adaptation, &[f64])>,
    ) -> Result<Self> {
        let n = sampler.len();
        let warmup = warmup.map(|(how, numbers)| Warmup::restore(how, n, numbers));
        let theta = memory::zeros(n, "a chain's parameters")?;
        let mut new = Self::with(sampler, affine, warmup.transpose()?, &theta)?;
        new.show(sampler)?;
        Ok(new)
    }

    fn with(
        sampler: &Sampler<V>,
        affine: Affine,
        warmup: Option<Warmup>,
        theta: &[f32],
    ) -> Result<Self> {
        let (v, n) = (sampler.vectors(), sampler.len());
        let what = "a gradient";
        Ok(Self {
            affine,
            warmup,
            theta: v.put(theta)?,
            pulled: v.zeros(n)?,
            grad: memory::zeros(n, what)?,
            host: memory::zeros(n, what)?,
            room: memory::zeros(n, what)?,
        })
    }

    /// Returns the coordinates.
    pub fn affine(&self) -> &Affine {
        &self.affine
    }

    /// Returns the parameters where the next gradient is taken, (n).
    pub fn params(&self) -> &V::Vector {
        &self.theta
    }

    /// Returns whether the warm-up still looks for a mass.
    pub fn is_adapting(&self) -> bool {
        self.warmup.is_some()
    }

    /// Returns the numbers of the warm-up, for [`Whitened::restore`]; none where it has ended.
    ///
    /// # Errors
    /// When memory is short.
    pub fn warmup_numbers(&self) -> Result<Option<Vec<f64>>> {
        self.warmup.as_ref().map(Warmup::numbers).transpose()
    }

    /// Makes a step, given the gradient of the log posterior at [`Whitened::params`], and its value; `look` is called before a step of the chain. `auto_step` looks for the
    /// step of a chain whose mass was given.
    ///
    /// # Errors
    /// Those of [`Sampler::step_with_gradient`], but that a gradient or a log posterior that is not finite is a point too far while the warm-up looks
    /// for the mass, except at the start; [`Error::Conflict`] where the warm-up fails; those of `look`.
    pub fn step(
        &mut self,
        sampler: &mut Sampler<V>,
        grad: &V::Vector,
        log_post: f64,
        auto_step: Option<&mut AutoStep>,
        look: impl FnOnce(&Sampler<V>, &V::Vector) -> Result<()>,
    ) -> Result<StepReport> {
        sampler.vectors().download(grad, &mut self.grad)?;
        if let Some(warmup) = &mut self.warmup {
            if warmup.ascent.is_some() {
                return self.climb(sampler, log_post);
            }
            if warmup.is_too_far(sampler.config(), &self.grad, log_post) {
                return self.set_back(sampler, log_post);
            }
        }
        self.check(sampler, log_post)?;
        self.affine.pull(&self.grad, &mut self.host, &mut self.room);
        sampler.vectors().upload(&mut self.pulled, &self.host)?;
        if let Some(warmup) = &mut self.warmup {
            warmup.before(sampler, &self.host, log_post);
        }
        look(sampler, &self.pulled)?;
        let made = match auto_step {
            Some(auto) => auto.step(sampler, &self.pulled, log_post),
            None => sampler.step_with_gradient(&self.pulled, log_post),
        };
        let report = match made {
            Err(Error::NotFinite { .. }) if self.warmup.is_some() => {
                return self.set_back(sampler, log_post);
            }
            made => made?,
        };
        if let Some(warmup) = &mut self.warmup {
            sampler
                .vectors()
                .download(sampler.params(), &mut self.host)?;
            warmup.after(sampler, &mut self.affine, &self.host)?;
        }
        self.show(sampler)?;
        Ok(report)
    }

    /// Takes a gradient on the way to the bulk.
    fn climb(&mut self, sampler: &mut Sampler<V>, log_post: f64) -> Result<StepReport> {
        let at_start = |a: &Ascent| a.log_post.is_nan();
        if self
            .warmup
            .as_ref()
            .and_then(|w| w.ascent.as_ref())
            .is_some_and(at_start)
        {
            self.check(sampler, log_post)?;
        }
        let Some(warmup) = &mut self.warmup else {
            unreachable!("a way to the bulk is a warm-up's");
        };
        if let Some(ascent) = &mut warmup.ascent {
            ascent.take(&self.grad, log_post, sampler.config().temperature)?;
            let looks = self.host.iter_mut().zip(&ascent.look);
            looks.for_each(|(h, &l)| *h = l as f32);
        }
        let ended = warmup.ascent.as_ref().is_some_and(|a| a.ended);
        let report = sampler.pass(log_post)?;
        if ended || sampler.step() == window_at(0, sampler.config().warmup_steps).end {
            warmup.end_ascent(sampler, &mut self.affine)?;
            self.show(sampler)?;
        } else {
            sampler.vectors().upload(&mut self.theta, &self.host)?;
        }
        Ok(report)
    }

    fn set_back(&mut self, sampler: &mut Sampler<V>, log_post: f64) -> Result<StepReport> {
        if let Some(warmup) = &mut self.warmup {
            warmup.set_back(sampler)?;
        }
        let report = sampler.pass(log_post)?;
        self.show(sampler)?;
        Ok(report)
    }

    /// Refuses a log posterior or a gradient of the caller's that is not finite.
    fn check(&self, sampler: &Sampler<V>, log_post: f64) -> Result<()> {
        let bad = |tensor: String, value: f32| {
            let step = sampler.step();
            Err(Error::NotFinite {
                step,
                tensor,
                value,
            })
        };
        if !log_post.is_finite() {
            return bad("log_posterior".into(), log_post as f32);
        }
        match self.grad.iter().position(|g| !g.is_finite()) {
            Some(i) => bad(format!("gradient[{i}]"), self.grad[i]),
            None => Ok(()),
        }
    }

    /// Brings the chain's place into the caller's coordinates; a warm-up that has ended is let go.
    fn show(&mut self, sampler: &Sampler<V>) -> Result<()> {
        let v = sampler.vectors();
        if sampler.phase() != Phase::Warmup {
            self.warmup = None;
        }
        if let Some(ascent) = self.warmup.as_ref().and_then(|w| w.ascent.as_ref()) {
            let looks = self.host.iter_mut().zip(&ascent.look);
            looks.for_each(|(h, &l)| *h = l as f32);
            return v.upload(&mut self.theta, &self.host);
        }
        v.download(sampler.params(), &mut self.grad)?;
        self.affine
            .place(&self.grad, &mut self.host, &mut self.room);
        v.upload(&mut self.theta, &self.host)
    }
}
