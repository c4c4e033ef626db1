//! Flat vectors on a device, and the fused single-pass updates that samplers and the optimiser make of them.

pub(in crate::backend) mod cpu;

pub use super::gaussian::{EkfStep, Spread, ViDraw};
pub use super::live::{LiveRule, LiveUpdate};
pub use super::range_moments::{RangeMoments, Standing};

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
        /// Of the gradient in the probability.
        pull: f32,
        /// The step's length at M = 1.
        length: f32,
    },
    /// m += kick * g - friction * m + noise * sqrt(M) * xi, then theta += drift / M * m with the new m.
    Sghmc(Coefficients),
    /// Both from the old state: theta += drift / M * m, m += kick * g - friction * m + noise * sqrt(M) * xi.
    SghmcEuler(Coefficients),
    /// m += kick * g; theta += drift / M * m; m += noise * sqrt(M) * xi - friction * m; theta += drift / M * m.
    Baoa(Coefficients),
    /// [`Rule::Baoa`] with the friction and the noise that [`Badodab::coefficients`] makes of the sum of (m + kick * g)^2 / M.
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
    /// Of the gradient in the momentum.
    pub kick: f32,
    /// The share of the momentum that is lost. A small share is subtracted, not folded into a factor 1 - friction,
    /// which would round to 1 below 6e-8 and leave the noise without its counterpart.
    pub friction: f32,
    /// The noise's standard deviation at M = 1.
    pub noise: f32,
    /// Of the momentum in the position, at M = 1.
    pub drift: f32,
}

/// A step whose friction follows the temperature of the momenta that it has just kicked; [`crate::samplers::sgnht`] has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Badodab {
    /// Of the gradient in the momentum.
    pub kick: f32,
    /// Of the momentum in the position, at M = 1, before the friction and after it.
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
    /// The standard normals.
    pub noise: Noise<'a, V>,
}

/// Sums over all elements, taken in the pass that updates them: in f64, in blocks of 4096 that are added in a fixed
/// tree, so that the number of threads changes no bit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Sum of m^2 / M over the new momenta; 0 without momenta.
    pub kinetic: f64,
    /// Sum of m^2 / M over the kicked momenta under [`Rule::Badodab`]; else 0.
    pub kicked: f64,
    /// Sum of (theta - center) * grad at the old parameters.
    pub virial: f64,
    /// The first element whose new parameter or momentum is NaN or infinite.
    pub nonfinite: Option<usize>,
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
    /// Multiplies the gradient first: a clip factor, or -1 / num_data to turn a log likelihood into a mean loss.
    pub grad_scale: f64,
}

/// A device's flat `f32` vectors. Cloning a handle shares the device.
///
/// Every sum is in f64 and does not depend on the number of threads. Buffers of different lengths in one call are an
/// error ([`crate::Error::Shape`]), and so is a device that fails.
pub trait Vectors: Clone + Send + Sync {
    /// A vector on the device.
    type Vector: Send + Sync;

    /// A vector of `n` zeros.
    fn zeros(&self, n: usize) -> Result<Self::Vector>;

    /// How many elements.
    fn len(&self, buf: &Self::Vector) -> usize;

    /// From the host; lengths must agree.
    fn upload(&self, to: &mut Self::Vector, from: &[f32]) -> Result<()>;

    /// To the host; lengths must agree.
    fn download(&self, from: &Self::Vector, to: &mut [f32]) -> Result<()>;

    /// A vector on the device with these elements.
    fn put(&self, from: &[f32]) -> Result<Self::Vector> {
        let mut buf = self.zeros(from.len())?;
        self.upload(&mut buf, from)?;
        Ok(buf)
    }

    /// The elements on the host.
    fn get(&self, from: &Self::Vector) -> Result<Vec<f32>> {
        let mut out = vec![0.0; self.len(from)];
        self.download(from, &mut out)?;
        Ok(out)
    }

    /// One element, for messages; `at` must be below the length.
    fn read(&self, buf: &Self::Vector, at: usize) -> Result<f32>;

    /// `to = from`.
    fn copy(&self, to: &mut Self::Vector, from: &Self::Vector) -> Result<()>;

    /// `x[i] = value`.
    fn fill(&self, x: &mut Self::Vector, value: f32) -> Result<()>;

    /// `x[i] *= a`.
    fn scale(&self, x: &mut Self::Vector, a: f32) -> Result<()>;

    /// `y[i] += a * x[i]`.
    fn axpy(&self, y: &mut Self::Vector, a: f32, x: &Self::Vector) -> Result<()>;

    /// `x[i] /= y[i]`.
    fn divide(&self, x: &mut Self::Vector, y: &Self::Vector) -> Result<()>;

    /// `acc[i] += x[i]^2`.
    fn square_accumulate(&self, acc: &mut Self::Vector, x: &Self::Vector) -> Result<()>;

    /// `x[i] = ` [`Stream::normal`]`(step, i)`.
    fn normal(&self, x: &mut Self::Vector, stream: Stream, step: u64) -> Result<()>;

    /// `x[i]` = 1 or -1 with the same probability: 1 where the uniform at (step, i), of [`Stream::uniforms`], is below 1/2.
    fn signs(&self, x: &mut Self::Vector, stream: Stream, step: u64) -> Result<()>;

    /// Sum of squares.
    fn sum_of_squares(&self, x: &Self::Vector) -> Result<f64>;

    /// Inner product.
    fn dot(&self, x: &Self::Vector, y: &Self::Vector) -> Result<f64>;

    /// The first element that is NaN or infinite.
    fn first_non_finite(&self, x: &Self::Vector) -> Result<Option<usize>>;

    /// One step of a sampler, in one pass over memory ([`Rule::Badodab`]: and one that reads momenta, gradient and mass).
    fn langevin_update(&self, rule: Rule, on: Langevin<'_, Self>) -> Result<Moments>;

    /// One step of a sampler whose mass follows the gradient, in one pass over memory.
    fn live_update(&self, rule: LiveRule, on: LiveUpdate<'_, Self>) -> Result<Moments>;

    /// `out[k]` = the sums over `ranges[k]`, which may overlap. A range's sums depend on its own elements and its length alone.
    ///
    /// # Errors
    /// When a range does not lie inside the vectors, or `out` has another length than `ranges`.
    fn range_moments(
        &self,
        out: &mut [RangeMoments],
        ranges: &[Range<usize>],
        at: Standing<'_, Self>,
    ) -> Result<()>;

    /// One step of AdamW down the gradient of a loss, in one pass over memory. `m` and `v` are the running means,
    /// zero at the start.
    ///
    /// `decay` lists the ranges whose parameters decay: ascending, disjoint, inside the vector.
    fn adamw_update(
        &self,
        theta: &mut Self::Vector,
        grad: &Self::Vector,
        m: &mut Self::Vector,
        v: &mut Self::Vector,
        decay: &[Range<usize>],
        adamw: &AdamW,
    ) -> Result<()>;

    /// out = mean + sd * z, z standard normal.
    fn gaussian_point(
        &self,
        out: &mut Self::Vector,
        mean: &Self::Vector,
        spread: Spread<'_, Self::Vector>,
        noise: Noise<'_, Self>,
    ) -> Result<()>;

    /// Sum in f64 of the standard deviations.
    fn sum_of_sds(&self, spread: Spread<'_, Self::Vector>) -> Result<f64>;

    /// One step of the extended Kalman filter. `grad` and `squares` are scaled by the step's factors. Returns the first element whose mean
    /// became NaN or infinite, or whose deviation did, or became 0.
    fn ekf_update(
        &self,
        mean: &mut Self::Vector,
        sd: &mut Self::Vector,
        grad: &Self::Vector,
        squares: &Self::Vector,
        step: EkfStep,
    ) -> Result<Option<usize>>;

    /// Adds one draw's part to the gradients of the negative evidence lower bound in mean and log sd, given the gradient of the log
    /// posterior at the point mean + sd * z; `noise` gives the same z as it did to [`Vectors::gaussian_point`]. Returns the sum in f64 of
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
    ) -> Result<f64>;
}
