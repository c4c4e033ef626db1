//! Flat vectors on a device, and the fused single-pass updates that samplers and the optimiser make of them.

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
    Given(&'a V::Buf),
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

/// One step of Langevin dynamics whose mass follows the gradient, for each element with gradient g, mean square V, diagonal of the Hessian H
/// and standard normal xi; [`crate::samplers::live`] says where each coefficient comes from.
///
/// ```text
/// V = keep V + take g^2;  M = floor + sqrt(V)
/// theta += (drift g - gamma g H / (sqrt(V) M)) / M + noise / sqrt(M) xi
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveRule {
    /// What V keeps of itself.
    pub keep: f32,
    /// The new square's share.
    pub take: f32,
    /// Added to the root of V, above 0.
    pub floor: f32,
    /// The step size.
    pub drift: f32,
    /// Of the divergence term.
    pub gamma: f32,
    /// The noise's standard deviation at M = 1.
    pub noise: f32,
}

/// What [`Vectors::live_update`] reads and writes; all buffers have one length.
pub struct LiveUpdate<'a, V: Vectors> {
    /// Parameters. [in, out]
    pub theta: &'a mut V::Buf,
    /// The gradient's mean square V. [in, out]
    pub squares: &'a mut V::Buf,
    /// The mass M of the step; written alone.
    pub mass: &'a mut V::Buf,
    /// Gradient of the log posterior at the old parameters.
    pub grad: &'a V::Buf,
    /// Diagonal of the log posterior's Hessian there; `None` leaves the divergence term out.
    pub diagonal: Option<&'a V::Buf>,
    /// The point that the virial is taken about.
    pub center: &'a V::Buf,
    /// The standard normals.
    pub noise: Noise<'a, V>,
}

/// What [`Vectors::langevin_update`] reads and writes; all buffers have one length.
pub struct Langevin<'a, V: Vectors> {
    /// Parameters. [in, out]
    pub theta: &'a mut V::Buf,
    /// Momenta; ignored (and may be empty) under rules that have none. [in, out]
    pub momenta: &'a mut V::Buf,
    /// Gradient of the log posterior at the old parameters.
    pub grad: &'a V::Buf,
    /// The point that the virial is taken about.
    pub center: &'a V::Buf,
    /// Diagonal mass, all positive; `None` is 1 everywhere.
    pub mass: Option<&'a V::Buf>,
    /// The standard normals.
    pub noise: Noise<'a, V>,
}

/// Sums over all elements, taken in the pass that updates them: in f64, in blocks of 4096 that are added in a fixed
/// tree, so that the number of threads changes no bit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Sum of m^2 / M over the new momenta; 0 without momenta.
    pub kinetic: f64,
    /// Sum of (theta - center) * grad at the old parameters.
    pub virial: f64,
    /// The first element whose new parameter or momentum is NaN or infinite.
    pub nonfinite: Option<usize>,
}

/// Where a chain stands, for [`Vectors::range_moments`]; all buffers have one length.
pub struct Standing<'a, V: Vectors> {
    /// Parameters theta.
    pub theta: &'a V::Buf,
    /// Momenta m; `None` is 0 everywhere.
    pub momenta: Option<&'a V::Buf>,
    /// Gradient of the log posterior at the parameters.
    pub grad: &'a V::Buf,
    /// The point that the virial is taken about.
    pub center: &'a V::Buf,
    /// Diagonal mass M, all positive; `None` is 1 everywhere.
    pub mass: Option<&'a V::Buf>,
}

/// Sums over a range of elements, in f64 and in the same fixed tree as [`Moments`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RangeMoments {
    /// Sum of m^2 / M.
    pub kinetic: f64,
    /// Sum of (theta - center) * grad.
    pub virial: f64,
    /// Sum of grad^2 / M.
    pub force: f64,
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

/// The standard deviations of independent normals, as they are kept.
#[derive(Debug)]
pub enum Spread<'a, B> {
    /// Themselves.
    Sd(&'a B),
    /// Their natural logarithms.
    LogSd(&'a B),
    /// Precisions: with p added to each and T the temperature, sd = sqrt(T / (precision + p)).
    Precision {
        /// The precisions.
        precision: &'a B,
        /// What is added: the prior's.
        plus: f32,
        /// T.
        temperature: f32,
    },
}

/// A step of the extended Kalman filter on independent normals; [`crate::samplers::ekf`] has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EkfStep {
    /// Variance that is added to each coordinate first.
    pub transition_variance: f32,
    /// Of the squares in the precision.
    pub squares: f32,
    /// Of the gradient in the mean.
    pub gradient: f32,
}

/// What one draw adds to the gradient of the negative evidence lower bound; [`crate::samplers::vi`] has the formulas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ViDraw {
    /// T.
    pub temperature: f32,
    /// Whether the density's own dependence on mean and deviation is left out (stick the landing).
    pub stick_the_landing: bool,
    /// The draw's share: 1 over the number of draws.
    pub weight: f32,
    /// Whether this is the first draw of a step: it overwrites what the others add to.
    pub first: bool,
}

/// A device's flat `f32` vectors. Cloning a handle shares the device.
///
/// Every sum is in f64 and does not depend on the number of threads. Buffers of different lengths in one call are an
/// error ([`crate::Error::Shape`]), and so is a device that fails.
pub trait Vectors: Clone + Send + Sync {
    /// A vector on the device.
    type Buf: Send + Sync;

    /// A vector of `n` zeros.
    fn zeros(&self, n: usize) -> Result<Self::Buf>;

    /// How many elements.
    fn len(&self, buf: &Self::Buf) -> usize;

    /// From the host; lengths must agree.
    fn upload(&self, to: &mut Self::Buf, from: &[f32]) -> Result<()>;

    /// To the host; lengths must agree.
    fn download(&self, from: &Self::Buf, to: &mut [f32]) -> Result<()>;

    /// A vector on the device with these elements.
    fn put(&self, from: &[f32]) -> Result<Self::Buf> {
        let mut buf = self.zeros(from.len())?;
        self.upload(&mut buf, from)?;
        Ok(buf)
    }

    /// The elements on the host.
    fn get(&self, from: &Self::Buf) -> Result<Vec<f32>> {
        let mut out = vec![0.0; self.len(from)];
        self.download(from, &mut out)?;
        Ok(out)
    }

    /// One element, for messages; `at` must be below the length.
    fn read(&self, buf: &Self::Buf, at: usize) -> Result<f32>;

    /// `to = from`.
    fn copy(&self, to: &mut Self::Buf, from: &Self::Buf) -> Result<()>;

    /// `x[i] = value`.
    fn fill(&self, x: &mut Self::Buf, value: f32) -> Result<()>;

    /// `x[i] *= a`.
    fn scale(&self, x: &mut Self::Buf, a: f32) -> Result<()>;

    /// `y[i] += a * x[i]`.
    fn axpy(&self, y: &mut Self::Buf, a: f32, x: &Self::Buf) -> Result<()>;

    /// `x[i] /= y[i]`.
    fn divide(&self, x: &mut Self::Buf, y: &Self::Buf) -> Result<()>;

    /// `acc[i] += x[i]^2`.
    fn square_accumulate(&self, acc: &mut Self::Buf, x: &Self::Buf) -> Result<()>;

    /// `x[i] = ` [`Stream::normal`]`(step, i)`.
    fn normal(&self, x: &mut Self::Buf, stream: Stream, step: u64) -> Result<()>;

    /// `x[i]` = 1 or -1 with the same probability: 1 where the uniform at (step, i), of [`Stream::uniforms`], is below 1/2.
    fn signs(&self, x: &mut Self::Buf, stream: Stream, step: u64) -> Result<()>;

    /// Sum of squares.
    fn sum_of_squares(&self, x: &Self::Buf) -> Result<f64>;

    /// Inner product.
    fn dot(&self, x: &Self::Buf, y: &Self::Buf) -> Result<f64>;

    /// The first element that is NaN or infinite.
    fn first_non_finite(&self, x: &Self::Buf) -> Result<Option<usize>>;

    /// One step of a sampler, in one pass over memory.
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
        theta: &mut Self::Buf,
        grad: &Self::Buf,
        m: &mut Self::Buf,
        v: &mut Self::Buf,
        decay: &[Range<usize>],
        adamw: &AdamW,
    ) -> Result<()>;

    /// out = mean + sd * z, z standard normal.
    fn gaussian_point(
        &self,
        out: &mut Self::Buf,
        mean: &Self::Buf,
        spread: Spread<'_, Self::Buf>,
        noise: Noise<'_, Self>,
    ) -> Result<()>;

    /// Sum in f64 of the standard deviations.
    fn sum_of_sds(&self, spread: Spread<'_, Self::Buf>) -> Result<f64>;

    /// One step of the extended Kalman filter. `grad` and `squares` are scaled by the step's factors. Returns the first element whose mean
    /// became NaN or infinite, or whose deviation did, or became 0.
    fn ekf_update(
        &self,
        mean: &mut Self::Buf,
        sd: &mut Self::Buf,
        grad: &Self::Buf,
        squares: &Self::Buf,
        step: EkfStep,
    ) -> Result<Option<usize>>;

    /// Adds one draw's part to the gradients of the negative evidence lower bound in mean and log sd, given the gradient of the log
    /// posterior at the point mean + sd * z; `noise` gives the same z as it did to [`Vectors::gaussian_point`]. Returns the sum in f64 of
    /// z^2 / 2 + log sd.
    #[allow(clippy::too_many_arguments)]
    fn vi_gradient(
        &self,
        d_mean: &mut Self::Buf,
        d_log_sd: &mut Self::Buf,
        grad: &Self::Buf,
        log_sd: &Self::Buf,
        noise: Noise<'_, Self>,
        draw: ViDraw,
    ) -> Result<f64>;
}
