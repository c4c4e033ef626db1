//! The state of a warm-up that adapts: from window to window, and as plain numbers.

use super::ascent::{Ascent, PAIRS};
use super::stiffest::Stiffest;
use super::welford::Welford;
use super::windows::{Kind, window_at};
use super::{Adaptation, Affine};
use crate::backend::Vectors;
use crate::error::{Error, Result};
use crate::memory;
use crate::samplers::{ChainConfig, Sampler, stability};

/// What messages call these numbers.
const WHAT: &str = "a warm-up's state";

/// Set-backs after which the warm-up has failed.
const MOST_SETBACKS: f64 = 100.0;

/// The share of the largest stable step that is taken at most.
const STABLE_SHARE: f64 = 0.95;

/// The curvature that the first step is chosen for; that of a mass that fits is 1.
const FIRST_CURVATURE: f64 = 2.0;

/// All that a warm-up knows beside the chain's own state and its coordinates.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Warmup {
    how: Adaptation,
    pub ascent: Option<Ascent>, // until the first window ends
    stiffest: Stiffest,
    welford: Welford,
    theta0: Vec<f64>, // (n): where the chain started
    anchor: Vec<f32>, // z, (n): where the window began
    best: f64,        // log posterior
    draws: f64,       // independent ones, by the time that the window covered
    setbacks: f64,
}

impl Warmup {
    pub fn new(how: Adaptation, start: &[f32]) -> Result<Self> {
        let n = start.len();
        Ok(Self {
            how,
            ascent: Some(Ascent::new(start)?),
            stiffest: Stiffest::new(n, FIRST_CURVATURE)?,
            welford: Welford::new(n, how.mass)?,
            theta0: memory::collect(start.iter().map(|&x| f64::from(x)), WHAT)?,
            anchor: memory::zeros(n, WHAT)?,
            best: f64::MIN,
            draws: 0.0,
            setbacks: 0.0,
        })
    }

    /// Returns whether what was found at the chain's place says that the step was too long.
    pub fn is_too_far(&self, c: &ChainConfig, grad: &[f32], log_post: f64) -> bool {
        let n = self.anchor.len() as f64;
        let far = c.temperature * (100.0 + 10.0 * n);
        let finite = log_post.is_finite() && grad.iter().all(|g| g.is_finite());
        !finite || log_post < self.best - far
    }

    /// Goes back to where the window began, with a shorter step.
    pub fn set_back<V: Vectors>(&mut self, sampler: &mut Sampler<V>) -> Result<()> {
        self.setbacks += 1.0;
        if self.setbacks > MOST_SETBACKS {
            return Err(Error::conflict(format!(
                "the warm-up was set back {MOST_SETBACKS} times, the last time at step {}, by log posteriors that fell or were not finite: check the \
                 gradient against differences of the log posterior, or start nearer to the target's bulk",
                sampler.step()
            )));
        }
        let c = sampler.config();
        // The step in force says what the curvature was taken to be.
        let taken = self.curvature_of(c);
        self.stiffest.set(4.0 * taken * c.temperature);
        self.welford.clear();
        self.draws = 0.0;
        let center = sampler.center_on_host()?;
        sampler.relocate(&self.anchor, &center)?;
        self.set_step(sampler);
        Ok(())
    }

    /// Takes in the gradient of a step of the chain, in z, and sets the step that is made with it.
    pub fn before<V: Vectors>(&mut self, sampler: &mut Sampler<V>, grad: &[f32], log_post: f64) {
        self.best = self.best.max(log_post);
        self.stiffest.add(grad);
        self.set_step(sampler);
    }

    /// Takes in where the step led, `z`, and ends the window where it ends.
    pub fn after<V: Vectors>(
        &mut self,
        sampler: &mut Sampler<V>,
        affine: &mut Affine,
        z: &[f32],
    ) -> Result<()> {
        let c = sampler.config();
        let made = sampler.step() - 1;
        let window = window_at(made, c.warmup_steps);
        if window.kind == Kind::Slow {
            self.welford.add(z);
            // Two units of time a draw, at unit scale and friction: the file's head.
            self.draws += 0.5 * c.step_size / c.sigma;
        }
        if made + 1 < window.end || window.kind == Kind::Last {
            return Ok(());
        }
        let a = (self.welford).factor(self.draws, c.temperature, &self.stiffest)?;
        let theta = affine.theta(&memory::collect(z.iter().map(|&z| f64::from(z)), WHAT)?)?;
        affine.compose(&self.welford.mean, &a)?;
        self.stiffest.follow(&a);
        let least = FIRST_CURVATURE * c.temperature;
        if self.stiffest.eigenvalue() < least {
            self.stiffest.set(least);
        }
        self.settle(sampler, affine, &theta)?;
        self.welford.clear();
        self.draws = 0.0;
        Ok(())
    }

    /// Ends the ascent: the chain begins at its best point, in the coordinates that it found.
    pub fn end_ascent<V: Vectors>(
        &mut self,
        sampler: &mut Sampler<V>,
        affine: &mut Affine,
    ) -> Result<()> {
        if let Some(ascent) = self.ascent.take() {
            *affine = ascent.coordinates(self.how.mass)?;
            self.best = ascent.log_post;
            self.stiffest
                .set(FIRST_CURVATURE * sampler.config().temperature);
            self.settle(sampler, affine, &ascent.at)?;
        }
        Ok(())
    }

    /// Puts the chain at theta in new coordinates, with a step that fits them.
    fn settle<V: Vectors>(
        &mut self,
        sampler: &mut Sampler<V>,
        affine: &Affine,
        theta: &[f64],
    ) -> Result<()> {
        let f32s = |v: Vec<f64>| memory::collect(v.into_iter().map(|v| v as f32), WHAT);
        self.anchor = f32s(affine.coordinates(theta)?)?;
        let center = f32s(affine.coordinates(&self.theta0)?)?;
        sampler.relocate(&self.anchor, &center)?;
        self.set_step(sampler);
        Ok(())
    }

    /// Returns the curvature at which the step in force has the error that is allowed.
    fn curvature_of(&self, c: &ChainConfig) -> f64 {
        let kinetic = c.method.scheme().expected_kinetic(c).unwrap_or(0.0);
        let error = c.method.scheme().temperature_error(c, kinetic, 1.0);
        self.how.tolerance / error.unwrap_or(1.0) * c.sigma * c.sigma / c.temperature
    }

    /// Sets the step by the curvature as it is known; one that the settings do not allow is not taken.
    fn set_step<V: Vectors>(&self, sampler: &mut Sampler<V>) {
        let c = sampler.config();
        let curvature = self.stiffest.eigenvalue() / c.temperature;
        let power = if c.method.has_momenta() { 0.5 } else { 1.0 };
        let step = c.step_size * (self.curvature_of(c) / curvature).powf(power);
        let most = STABLE_SHARE * stability::stability_limit(c, curvature);
        let step = if most > 0.0 { step.min(most) } else { step };
        let alpha = c.alpha;
        // Refused: the friction allows no such step, and the one in force stays.
        let _ = sampler.set_step(step, alpha);
    }

    /// Returns the state as numbers, for [`Warmup::restore`].
    pub fn numbers(&self) -> Result<Vec<f64>> {
        let begun = self.ascent.as_ref().filter(|a| !a.log_post.is_nan());
        let scalars = [
            self.best,
            self.draws,
            self.setbacks,
            self.stiffest.count,
            self.welford.count,
            match (&self.ascent, begun) {
                (None, _) => 0.0,
                (_, None) => 1.0,
                _ => 2.0,
            },
        ];
        let mut all = memory::copy(&scalars, WHAT)?;
        let anchor = memory::collect(self.anchor.iter().map(|&z| f64::from(z)), WHAT)?;
        let (s, w) = (&self.stiffest, &self.welford);
        for part in [&self.theta0, &anchor, &s.vector, &w.mean, &w.squares] {
            memory::append(&mut all, part, WHAT)?;
        }
        if let Some(a) = begun {
            let more = [a.line, a.idle, a.restarts, f64::from(a.ended)];
            let scalars = [&[a.log_post, a.step, a.cuts][..], &more].concat();
            for part in [
                &scalars[..],
                &a.at,
                &a.grad,
                &a.direction,
                &a.look,
                &a.pairs,
            ] {
                memory::append(&mut all, part, WHAT)?;
            }
        }
        Ok(all)
    }

    /// Goes on from what [`Warmup::numbers`] gave.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for numbers that no warm-up of `n` parameters has.
    pub fn restore(how: Adaptation, n: usize, numbers: &[f64]) -> Result<Self> {
        let mut rest = Numbers(numbers);
        let mut new = Self::new(how, &memory::zeros(n, WHAT)?)?;
        let scalars = [&mut new.best, &mut new.draws, &mut new.setbacks];
        let counts = [&mut new.stiffest.count, &mut new.welford.count];
        for v in scalars.into_iter().chain(counts) {
            *v = rest.next()?;
        }
        let stage = rest.next()?;
        rest.fill(&mut new.theta0)?;
        for z in &mut new.anchor {
            *z = rest.next()? as f32;
        }
        let (stiffest, welford) = (&mut new.stiffest, &mut new.welford);
        for to in [
            &mut stiffest.vector,
            &mut welford.mean,
            &mut welford.squares,
        ] {
            rest.fill(to)?;
        }
        new.ascent = match stage {
            0.0 => None,
            1.0 => new.ascent,
            _ => {
                let mut a = Ascent::new(&memory::zeros(n, WHAT)?)?;
                let more = [&mut a.line, &mut a.idle, &mut a.restarts];
                for v in [&mut a.log_post, &mut a.step, &mut a.cuts]
                    .into_iter()
                    .chain(more)
                {
                    *v = rest.next()?;
                }
                a.ended = rest.next()? != 0.0;
                for to in [&mut a.at, &mut a.grad, &mut a.direction, &mut a.look] {
                    rest.fill(to)?;
                }
                let left = rest.0.len();
                if !left.is_multiple_of(2 * n) || left > 2 * n * PAIRS {
                    return Err(bad(format!("{left} more at its end")));
                }
                memory::append(&mut a.pairs, std::mem::take(&mut rest.0), WHAT)?;
                Some(a)
            }
        };
        let positive = new.stiffest.count >= 1.0 && new.stiffest.eigenvalue() > 0.0;
        if !rest.0.is_empty() || !positive || new.welford.count < 0.0 || new.draws < 0.0 {
            return Err(bad("others".into()));
        }
        Ok(new)
    }
}

/// Numbers that are left to be read.
struct Numbers<'a>(&'a [f64]);

impl Numbers<'_> {
    fn next(&mut self) -> Result<f64> {
        match self.0.split_first() {
            Some((&v, rest)) if v.is_finite() => {
                self.0 = rest;
                Ok(v)
            }
            Some((v, _)) => Err(bad(format!("{v}"))),
            None => Err(bad("too few".into())),
        }
    }

    fn fill(&mut self, to: &mut [f64]) -> Result<()> {
        to.iter_mut().try_for_each(|v| {
            *v = self.next()?;
            Ok(())
        })
    }
}

fn bad(got: String) -> Error {
    Error::out_of_range("the warm-up's state", "the numbers of one", got)
}
