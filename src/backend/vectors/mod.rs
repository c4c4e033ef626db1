//! Flat vectors on a device, and the fused updates that samplers and the optimiser make of them.

pub(in crate::backend) mod cpu;
mod transfer;

pub use super::elementwise::{Combine, Random, Reduce};
pub use super::gaussian::{EkfStep, StdDev, ViDraw};
pub use super::preconditioned::{PreconditionedRule, PreconditionedUpdate};
pub use super::range_moments::{ChainView, RangeMoments};
pub use transfer::Transfer;

use super::record::{Input, Scalars};
use crate::error::Result;
use crate::rng::Stream;
use std::ops::Range;

/// Where an update's random numbers come from: standard normals but for [`Rule::Sglrw`].
pub enum Noise<'a, V: Vectors> {
    /// The numbers at (step, element) of a stream, made on the fly: [`Stream::normal`].
    Counter {
        /// The stream.
        stream: Stream,
        /// The step.
        step: u64,
    },
    /// Recorded numbers, one an element: for replaying what another program drew.
    Given(&'a V::Vector),
}

/// One step of a Langevin scheme, for each element with mass M (1 without a mass), momentum m, gradient g and
/// standard normal xi. The samplers' files say where each comes from; every coefficient is theirs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// theta += drift / M * g + noise / sqrt(M) * xi. No momenta.
    Sgld {
        /// The step size.
        drift: f32,
        /// The noise's standard deviation at M = 1.
        noise: f32,
    },
    /// theta += length / sqrt(M) * s, s = 1 where a uniform is below (1 + clamp(pull / sqrt(M) * g, -1, 1)) / 2, else -1. No momenta; the
    /// noise is uniform: [`Stream::uniforms`], or numbers in [0, 1).
    Sglrw {
        /// What the gradient is multiplied by in the probability.
        pull: f32,
        /// The step's length at M = 1.
        length: f32,
    },
    /// m += kick * g - friction * m + noise * sqrt(M) * xi, then theta += drift / M * m with the new m.
    Sghmc(Coefficients),
    /// Both from the old state: theta += drift / M * m, m += kick * g - friction * m + noise * sqrt(M) * xi.
    SghmcEuler(Coefficients),
    /// m += kick * g; theta += drift / M * m; m += noise * sqrt(M) * xi - friction * m; theta += drift / M * m.
    ///
    /// Where the gradient's noise has a known variance ([`Langevin::gradient_noise`]), [`NoisyKick`] says what of the friction joins the kick.
    Baoa(Coefficients),
    /// [`Rule::Baoa`] with the friction and the noise that [`Badodab::coefficients`] makes of the sum of (m + kick * g)^2 / M: over all elements, or
    /// over those of each [`Block`].
    ///
    /// Where the gradient's noise has a known variance, the kick has the friction that goes with it ([`NoisyKick`]), and all of the thermostat's
    /// stays where it is.
    Badodab(Badodab),
}

impl Rule {
    /// Whether it moves momenta.
    pub fn has_momenta(&self) -> bool {
        !matches!(self, Self::Sgld { .. } | Self::Sglrw { .. })
    }
}

/// The coefficients of a scheme with momenta.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients {
    /// What the gradient is multiplied by in the momentum.
    pub kick: f32,
    /// The share of the momentum that is lost. A small share is subtracted, not folded into a factor 1 - friction,
    /// which would round to 1 below 6e-8 and leave the noise without its counterpart.
    pub friction: f32,
    /// The noise's standard deviation at M = 1.
    pub noise: f32,
    /// What the momentum is multiplied by in the position, at M = 1.
    pub drift: f32,
}

/// The friction that a kick brings along where the gradient has noise of variance v: [`crate::samplers::baoa`] has the derivation. With
/// rho = gain v / M, at most 1, each element's step becomes
///
/// ```text
/// lost = 2 rho / (1 + rho),  left = max(friction - lost, 0) / (1 - lost), 0 where lost is 1
/// m = (1 - lost) m + (1 - lost / 2) kick g;  theta += drift / M m
/// m = (1 - left) m + sqrt(thermal left (2 - left) M) xi;  theta += drift / M m
/// ```
///
/// and without a thermal variance the third line is that of the rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoisyKick {
    /// What v / M is multiplied by: h^2 / (4 T sigma^2).
    pub gain: f32,
    /// The variance of the momenta at M = 1, T sigma^2, where the kick takes its share out of the rule's own friction; `None` where it comes on top.
    pub thermal: Option<f32>,
}

impl Coefficients {
    /// Returns how the friction is spent under noise; none where the step adds no noise of its own, as at T = 0.
    pub fn noisy_kick(&self) -> Option<NoisyKick> {
        let (kick, friction, noise) = (self.kick as f64, self.friction as f64, self.noise as f64);
        let thermal = noise * noise / (friction * (2.0 - friction));
        let gain = kick * kick / (4.0 * thermal);
        (thermal > 0.0 && gain.is_finite()).then_some(NoisyKick {
            gain: gain as f32,
            thermal: Some(thermal as f32),
        })
    }
}

/// A step whose friction follows the temperature of the momenta that it has just kicked; [`crate::samplers::sgnht`] has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Badodab {
    /// What the gradient is multiplied by in the momentum.
    pub kick: f32,
    /// What the momentum is multiplied by in the position, at M = 1, before the friction and again after it.
    pub drift: f32,
    /// 1 / sigma^2, so that m^2 / M times it is m^2 / M'.
    pub precision: f64,
    /// The thermostat before the step.
    pub xi: f64,
    /// What the thermostat moves by per unit of temperature in half a step.
    pub follow: f64,
    /// T.
    pub temperature: f64,
    /// The friction's exponent per unit of xi.
    pub decay: f64,
    /// The variance of the whole step's noise at M = 1 without friction.
    pub variance: f64,
}

impl Badodab {
    /// Returns the friction that the kick brings along under noise of known variance; none at T = 0.
    pub fn noisy_kick(&self) -> Option<NoisyKick> {
        let kick = f64::from(self.kick);
        let gain = (kick * kick * self.precision / (4.0 * self.temperature)) as f32;
        gain.is_finite().then_some(NoisyKick {
            gain,
            thermal: None,
        })
    }

    /// The coefficients for `n` elements whose kicked momenta have this sum of m^2 / M.
    pub fn coefficients(&self, kicked: f64, n: usize) -> Coefficients {
        let xi = self.xi + self.follow * (kicked * self.precision / n as f64 - self.temperature);
        let lost = self.decay * xi;
        // (1 - exp(-2 lost)) / (2 lost), and its limit.
        let share = if lost == 0.0 {
            1.0
        } else {
            -(-2.0 * lost).exp_m1() / (2.0 * lost)
        };
        Coefficients {
            kick: self.kick,
            friction: -(-lost).exp_m1() as f32,
            noise: (self.variance * share).sqrt() as f32,
            drift: self.drift,
        }
    }
}

/// A range of elements with a thermostat of its own, under [`Rule::Badodab`].
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The elements, at least one.
    pub range: Range<usize>,
    /// The thermostat before the step, in place of the rule's. Read.
    pub xi: f64,
    /// Sum of m^2 / M over the kicked momenta. Written.
    pub kicked: f64,
    /// Sum of m^2 / M over the momenta after the step. Written.
    pub kinetic: f64,
}

/// What [`Vectors::langevin_update`] reads and writes; all buffers have one length.
pub struct Langevin<'a, V: Vectors> {
    /// Parameters. [in, out]
    pub theta: &'a mut V::Vector,
    /// Momenta; ignored (and may be empty) under rules that have none. [in, out]
    pub momenta: &'a mut V::Vector,
    /// Gradient of the log posterior at the old parameters.
    pub grad: &'a V::Vector,
    /// The point that the virial is taken about.
    pub center: &'a V::Vector,
    /// Diagonal mass, all positive; `None` is 1 everywhere.
    pub mass: Option<&'a V::Vector>,
    /// Variance of each element's gradient noise, 0 or more and finite. [`Rule::Baoa`] and [`Rule::Badodab`] alone take one.
    pub gradient_noise: Option<&'a V::Vector>,
    /// Ranges with thermostats of their own, one after another over all elements: [`Rule::Badodab`] alone takes any. Empty, there is one
    /// thermostat, the rule's. The host waits for their sums. [in, out]
    pub blocks: &'a mut [Block],
    /// The standard normals.
    pub noise: Noise<'a, V>,
}

/// A step of Adam with decoupled weight decay: Loshchilov & Hutter 2019, algorithm 2, with the learning rate as the
/// schedule multiplier, which is what `torch.optim.AdamW` computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean of gradients, in [0, 1).
    pub beta1: f64,
    /// Decay of the mean of squared gradients, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the mean of squares.
    pub eps: f64,
    /// Decoupled decay: parameters in the decayed ranges are multiplied by 1 - lr * weight_decay first.
    pub weight_decay: f64,
    /// Which step this is, counted from 1: it sets the bias corrections 1 - beta^step.
    pub step: u64,
    /// Multiplies the gradient first: -1 / num_data turns a log likelihood into a mean loss.
    pub grad_scale: f64,
    /// The gradient's largest norm, by the record's sum of its squares: a longer one is multiplied by clip / (norm + 1e-6), as
    /// `torch.nn.utils.clip_grad_norm_` does. 0 does not clip.
    pub clip: f64,
}

impl AdamW {
    /// What the gradient is multiplied with, given the sum of its squares.
    pub(super) fn scale(&self, grad_squares: f64) -> f64 {
        if self.clip > 0.0 {
            self.grad_scale * (self.clip / (grad_squares.sqrt() + 1e-6)).min(1.0)
        } else {
            self.grad_scale
        }
    }
}

/// A device's flat `f32` vectors. Cloning a handle shares the device.
///
/// Every sum is in f64, in blocks of 4096 that are added in a fixed tree, so that the number of threads changes no bit. Vectors of different
/// lengths in one call are an error ([`crate::Error::Shape`]), and so is a device that fails.
///
/// Scalars are left in a record, which the host reads once per step, after everything was launched. An update whose record is not sound
/// ([`Scalars::is_sound`]) changes nothing.
pub trait Vectors: Clone + Send + Sync {
    /// A vector on the device.
    type Vector: Send + Sync;

    /// A step's scalars on the device.
    type Record: Send + Sync;

    /// A record of nothing.
    fn record(&self) -> Result<Self::Record>;

    /// Brings a record's scalars to the host and clears it. This is where the host waits for the device.
    fn read(&self, record: &mut Self::Record) -> Result<Scalars>;

    /// A vector of `n` zeros.
    fn zeros(&self, n: usize) -> Result<Self::Vector>;

    /// How many elements.
    fn len(&self, buf: &Self::Vector) -> usize;

    /// From the host; lengths must agree.
    fn upload(&self, to: &mut Self::Vector, from: &[f32]) -> Result<()>;

    /// Copies the elements from `at` on to the host; they must lie inside the vector.
    fn download_from(&self, from: &Self::Vector, at: usize, to: &mut [f32]) -> Result<()>;

    /// Combines a vector with another or with a number, element by element.
    fn combine(&self, y: &mut Self::Vector, op: Combine<'_, Self::Vector>) -> Result<()>;

    /// Fills a vector with the random numbers of a step.
    fn random(&self, x: &mut Self::Vector, what: Random, stream: Stream, step: u64) -> Result<()>;

    /// Returns a sum over all elements. The host waits for it.
    fn reduce(&self, of: Reduce<'_, Self::Vector>) -> Result<f64>;

    /// Leaves the sum of squares of the gradient `x`, and its first element that is NaN or infinite.
    fn sum_of_squares(&self, x: &Self::Vector, record: &mut Self::Record) -> Result<()>;

    /// Leaves the first element of an input that is NaN or infinite.
    fn check_finite(&self, x: &Self::Vector, input: Input, record: &mut Self::Record)
    -> Result<()>;

    /// One step of a sampler, in one pass over memory ([`Rule::Badodab`]: and one that reads momenta, gradient and mass). Leaves kinetic
    /// energies, virial and the first element of parameters and momenta that is not finite.
    fn langevin_update(
        &self,
        rule: Rule,
        on: Langevin<'_, Self>,
        record: &mut Self::Record,
    ) -> Result<()>;

    /// One step of a sampler whose mass follows the gradient, in one pass over memory. Leaves the virial and the first parameter that is not
    /// finite.
    fn preconditioned_update(
        &self,
        rule: PreconditionedRule,
        on: PreconditionedUpdate<'_, Self>,
        record: &mut Self::Record,
    ) -> Result<()>;

    /// `out[k]` = the sums over `ranges[k]`, which may overlap. A range's sums depend on its own elements and its length alone.
    ///
    /// # Errors
    /// When a range does not lie inside the vectors, or `out` has another length than `ranges`.
    fn range_moments(
        &self,
        out: &mut [RangeMoments],
        ranges: &[Range<usize>],
        at: ChainView<'_, Self>,
    ) -> Result<()>;

    /// One step of AdamW down the gradient of a loss, in one pass over memory. `m` and `v` are the running means,
    /// zero at the start. Leaves the first new parameter that is not finite, unless the record has one already.
    ///
    /// `decay` lists the ranges whose parameters decay: ascending, disjoint, inside the vector.
    #[allow(clippy::too_many_arguments)]
    fn adamw_update(
        &self,
        theta: &mut Self::Vector,
        grad: &Self::Vector,
        m: &mut Self::Vector,
        v: &mut Self::Vector,
        decay: &[Range<usize>],
        adamw: &AdamW,
        record: &mut Self::Record,
    ) -> Result<()>;

    /// out = mean + sd * z, z standard normal.
    fn gaussian_point(
        &self,
        out: &mut Self::Vector,
        mean: &Self::Vector,
        spread: StdDev<'_, Self::Vector>,
        noise: Noise<'_, Self>,
    ) -> Result<()>;

    /// One step of the extended Kalman filter. `grad` and `squares` are scaled by the step's factors. Leaves the first element whose mean
    /// became NaN or infinite, or whose standard deviation did, or became 0.
    fn ekf_update(
        &self,
        mean: &mut Self::Vector,
        sd: &mut Self::Vector,
        grad: &Self::Vector,
        squares: &Self::Vector,
        step: EkfStep,
        record: &mut Self::Record,
    ) -> Result<()>;

    /// Adds one draw's part to the gradients of the negative evidence lower bound in mean and log sd, given the gradient of the log
    /// posterior at the point mean + sd * z; `noise` gives the same z as it did to [`Vectors::gaussian_point`]. Leaves the sum of
    /// z^2 / 2 + log sd.
    #[allow(clippy::too_many_arguments)]
    fn vi_gradient(
        &self,
        d_mean: &mut Self::Vector,
        d_log_sd: &mut Self::Vector,
        grad: &Self::Vector,
        log_sd: &Self::Vector,
        noise: Noise<'_, Self>,
        draw: ViDraw,
        record: &mut Self::Record,
    ) -> Result<()>;
}
