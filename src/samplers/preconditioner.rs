//! A diagonal mass from the sizes of gradients: what lets one step size serve parameters of very different scales.
//!
//! M_i = rms_i + floor * mean(rms), where rms_i is the root mean square of the gradient of the log posterior over batches at a fixed
//! point (the RMSprop statistic; Li et al. 2016, "Preconditioned SGLD", eq. 4-5, without its running average). The mass is frozen
//! before the chain moves, so the target is unchanged and no correction term is owed (their Gamma).
//!
//! Since the gradient of the log posterior is num_data times that of the mean loss, a step of h in optimiser terms is
//! lr = h^2 num_data / M_i = h^2 / rms_i(mean loss): the step size is per preconditioned unit, whatever the data's size.

use super::sampler::check_mass;
use crate::backend::Vectors;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the mass is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preconditioner {
    /// M = 1.
    None,
    /// From the root mean square of `steps` gradients at the chain's start.
    Rms {
        /// How many gradients, at least 1.
        steps: u64,
        /// Added to every rms, as a share of their mean, above 0: a parameter without gradient would have no mass.
        floor: f64,
    },
}

impl Preconditioner {
    /// How many gradients it takes.
    pub fn steps(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Rms { steps, .. } => *steps,
        }
    }

    /// Whether its settings are in range.
    ///
    /// # Errors
    /// Names the one that is not.
    pub fn check(&self) -> Result<()> {
        if let Self::Rms { steps, floor } = *self {
            if steps == 0 {
                return Err(Error::invalid("preconditioner_steps", "at least 1", steps));
            }
            if !(floor > 0.0 && floor.is_finite()) {
                return Err(Error::invalid("preconditioner_floor", "above 0", floor));
            }
        }
        Ok(())
    }
}

/// The running sum of squared gradients.
pub(super) struct Estimate<V: Vectors> {
    pub squares: V::Buf,
    pub count: u64,
}

impl<V: Vectors> Estimate<V> {
    pub fn new(vectors: &V, n: usize) -> Result<Self> {
        Ok(Self {
            squares: vectors.zeros(n)?,
            count: 0,
        })
    }

    /// Takes in one gradient.
    pub fn add(&mut self, vectors: &V, grad: &V::Buf) -> Result<()> {
        self.count += 1;
        vectors.square_accumulate(&mut self.squares, grad)
    }

    /// The mass, on the host; the sums become it too, so that the sampler needs no other room for it.
    ///
    /// # Errors
    /// When no gradient was other than 0, or the sums overflowed. The sums are then as before.
    pub fn make_mass(&mut self, vectors: &V, floor: f64) -> Result<Vec<f32>> {
        let mut m = vec![0.0f32; vectors.len(&self.squares)];
        vectors.download(&self.squares, &mut m)?;
        let mut sum = 0.0f64;
        for m in &mut m {
            *m = (*m as f64 / self.count as f64).sqrt() as f32;
            sum += *m as f64;
        }
        let floor = (floor * sum / m.len() as f64) as f32;
        if !(floor > 0.0 && floor.is_finite()) {
            return Err(Error::invalid(
                "preconditioner",
                "gradients that are not all 0, and finite",
                format!("a mean root mean square of {}", sum / m.len() as f64),
            ));
        }
        m.iter_mut().for_each(|m| *m += floor);
        check_mass(&m, m.len())?;
        vectors.upload(&mut self.squares, &m)?;
        Ok(m)
    }
}
