//! pSGLD: Langevin dynamics whose mass follows the chain. For comparison with the frozen masses only: it is biased.
//!
//! **Target.** pi(theta) ~ exp(log_post(theta) / T), which it misses; how far is below.
//!
//! **Update** (Li, Chen, Carlson & Carin 2016, "Preconditioned stochastic gradient Langevin dynamics for deep neural networks", algorithm 1 and
//! eq. 4-5, with Gamma of eq. 3), with g the gradient of the log posterior on the step's batch:
//!
//! ```text
//! V = decay V + (1 - decay) g^2;  G = 1 / M = 1 / (floor + sqrt(V))
//! theta += epsilon (G g + T Gamma) + sqrt(T epsilon (2 - T epsilon beta) G) xi
//! Gamma_i = dG_i / dtheta_i = -(1 - decay) g_i H_ii / (sqrt(V_i) M_i^2),  H the Hessian of the log posterior on the same batch
//! ```
//!
//! V depends on the theta of this step through g alone, with the weight 1 - decay: that is the factor in Gamma, and all of the dependence that Gamma
//! corrects for. Where V = 0 Gamma is taken as 0.
//!
//! **Gamma needs the Hessian's diagonal**, here from one more gradient on the same batch, at a point beside theta (Hutchinson's estimator;
//! Bekas, Kokiopoulou & Saad 2007): for z of independent signs
//!
//! ```text
//! h = z (grad(theta + delta z) - grad(theta)) / delta,   E h = diag(H) + O(delta^2)
//! ```
//!
//! The difference is one-sided, and still off in second order only: its first-order error is odd in z. h has the variance sum_j (j != i) H_ij^2 and
//! enters the step linearly, so it adds noise but no bias in its first moment. delta is 1e-3 of theta's root mean square.
//!
//! **Rounding.** Gradients that are off by r of their norm leave h off by some sqrt(2) r |g| / (delta |H z|) of its own. With f32 r is 2e-7 to 7e-7: 6e-5
//! of h's norm in the small GPT of `tests/live_chain.rs` (rms 0.19, |H z| 23 times |g|), in proportion more where delta is smaller. With operands rounded to bf16
//! it would be all of h: a weight of half the root mean square or more mostly has the same 8 bits at theta and at theta + delta z. So both gradients are taken with f32 products, whatever the device's precision
//! ([`Posterior::with_f32_products`](crate::posterior::Posterior::with_f32_products)).
//!
//! **Hyperparameters.** `decay` in [0, 1); `floor` > 0 in units of the gradient; `step_size`, `beta` and `temperature` as in [`super::sgld`].
//!
//! **State.** theta, V. **Init.** theta as given, V the mean square over some gradients there (the paper begins at 0, so that its first steps are
//! 1 / sqrt(1 - decay) times too long).
//!
//! **Where it differs.** The paper's epsilon is twice ours. Its g in V is the mean of the likelihood's gradient over the batch; ours is the log
//! posterior's, num_data times that plus the prior's, as in the frozen masses: epsilon and floor take up the factor.
//!
//! **Its bias**, for exact gradients and steps that are small:
//! - without Gamma the density is M(theta) exp(log_post / T) in one dimension, with M at V = g(theta)^2: too much where gradients are large;
//! - with Gamma it is M(theta)^decay exp(log_post / T): right at decay = 0 alone. Of the running mean's dependence on theta 1 - decay is the
//!   part of this step, and Gamma knows no other; at 0.99 it mends a hundredth of the bias.
//!
//! Both hold where theta moves little within the 1 / (1 - decay) steps that V remembers. A V that remembers many times what the chain needs to
//! forget theta is nearly constant, and then the bias is small with or without Gamma.
//!
//! **Batches add another**: the gradient that moves theta is part of its own mass, and `E[G(g) g]` is not `E[G] E[g]`. A large gradient counts less. At
//! decay = 0 and floor = 0 the drift is the mean of g's sign: the chain settles where the gradients' median is 0, not their mean. In first
//! order in 1 - decay the drift is off by `-(1 - decay) E[g^3] / (2 sqrt(V) M^2)` where `E[g] = 0`: none if gradients are symmetric, and Gamma
//! knows nothing of it.

use super::sampler_state::check;
use super::{ChainConfig, Method, sgld};
use crate::backend::vectors::{Combine, PreconditionedRule, Random, Reduce, Vectors};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Stream, StreamTag};
use serde::{Deserialize, Serialize};

/// How far the second gradient is taken from the first, in each coordinate, as a share of the parameters' root mean square.
pub const DISPLACEMENT: f64 = 1e-3;

/// The mass of pSGLD (the setting word is `live`) as plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PsgldMass {
    /// V, the running mean square of the gradient, one number of 0 or more per parameter.
    pub squares: Vec<f32>,
    /// The number added to the root of V, above 0.
    pub floor: f64,
    /// Weight that V keeps per step, at least 0 and below 1.
    pub decay: f64,
}

impl PsgldMass {
    /// Checks that a chain of `n` parameters can have this mass.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a method other than SGLD or a number out of range, [`Error::Shape`] for another length.
    pub fn check(&self, method: Method, n: usize) -> Result<()> {
        if method != Method::Sgld {
            return Err(Error::conflict(format!(
                "a mass that follows the chain is for sgld, and the method is {method}"
            )));
        }
        if !(0.0..1.0).contains(&self.decay) {
            let expected = "at least 0 and below 1";
            return Err(Error::out_of_range("decay", expected, self.decay));
        }
        let floor = self.floor as f32;
        if !(floor.is_normal() && floor > 0.0 && (1.0 / floor).is_normal()) {
            let expected = "a positive normal number";
            return Err(Error::out_of_range("floor", expected, self.floor));
        }
        let expected = "a finite number of 0 or more";
        check("squares", &self.squares, n, expected, |v| {
            v.is_finite() && v >= 0.0
        })
    }

    /// Returns the mass itself, as the step that left V had it.
    ///
    /// # Errors
    /// Returns [`Error::OutOfMemory`] where memory does not hold it.
    pub fn mass(&self) -> Result<Vec<f32>> {
        let floor = self.floor as f32;
        memory::collect(self.squares.iter().map(|v| floor + v.sqrt()), "a mass")
    }
}

/// The mass of pSGLD on a device.
#[derive(Debug)]
pub struct Psgld<B> {
    /// V, the running mean square of the gradient.
    pub squares: B,
    /// The number added to the root of V, above 0.
    pub floor: f64,
    /// Weight that V keeps per step, at least 0 and below 1.
    pub decay: f64,
}

impl<B> Psgld<B> {
    /// Returns the update's coefficients for a step of the settings' size and temperature.
    pub(super) fn rule(&self, c: &ChainConfig) -> PreconditionedRule {
        let h = c.step_size;
        PreconditionedRule {
            keep: self.decay as f32,
            take: (1.0 - self.decay) as f32,
            floor: self.floor as f32,
            drift: h as f32,
            gamma: (c.temperature * h * (1.0 - self.decay)) as f32,
            noise: sgld::noise(c),
        }
    }
}

/// Estimates of a Hessian's diagonal from differences of gradients: [`Diagonal::displace`], a gradient at [`Diagonal::point`], [`Diagonal::finish`].
pub struct Diagonal<V: Vectors> {
    stream: Stream,
    delta: f32,
    signs: V::Vector,
    grad: V::Vector,
    values: V::Vector, // the point until there is a second gradient
    record: V::Record, // of the second gradient
}

impl<V: Vectors> Diagonal<V> {
    /// Creates an estimator for `n` parameters, with the signs of a seed and a chain. Allocates three vectors.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn new(vectors: &V, n: usize, seed: u64, chain: u32) -> Result<Self> {
        Ok(Self {
            stream: Stream::new(seed, StreamTag::Diagonal, chain),
            delta: 0.0,
            signs: vectors.zeros(n)?,
            grad: vectors.zeros(n)?,
            values: vectors.zeros(n)?,
            record: vectors.record()?,
        })
    }

    /// Keeps the gradient at theta and chooses the point of the second; the signs are those of `step`.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn displace(
        &mut self,
        v: &V,
        theta: &V::Vector,
        grad: &V::Vector,
        step: u64,
    ) -> Result<()> {
        v.combine(&mut self.grad, Combine::Copy(grad))?;
        v.random(&mut self.signs, Random::Signs, self.stream, step)?;
        let size = (v.reduce(Reduce::Dot(theta, theta))? / v.len(theta) as f64).sqrt();
        self.delta = (DISPLACEMENT * if size > 0.0 { size } else { 1.0 }) as f32;
        v.combine(&mut self.values, Combine::Copy(theta))?;
        v.combine(&mut self.values, Combine::Axpy(self.delta, &self.signs))
    }

    /// Returns the point at which the second gradient is to be taken, after [`Diagonal::displace`].
    pub fn point(&self) -> &V::Vector {
        &self.values
    }

    /// Swaps a record with the one that is kept for the second gradient.
    pub(super) fn swap_record(&mut self, record: &mut V::Record) {
        std::mem::swap(&mut self.record, record);
    }

    /// Takes the second gradient.
    ///
    /// # Errors
    /// When the lengths differ.
    pub fn finish(&mut self, v: &V, grad: &V::Vector) -> Result<()> {
        v.combine(&mut self.values, Combine::Copy(grad))?;
        v.combine(&mut self.values, Combine::Axpy(-1.0, &self.grad))?;
        v.combine(&mut self.values, Combine::Scale(1.0 / self.delta))?;
        v.combine(&mut self.values, Combine::Divide(&self.signs)) // a sign is its own inverse
    }

    /// Returns the gradient at theta.
    pub fn grad(&self) -> &V::Vector {
        &self.grad
    }

    /// Returns the estimate, after [`Diagonal::finish`].
    pub fn values(&self) -> &V::Vector {
        &self.values
    }
}
