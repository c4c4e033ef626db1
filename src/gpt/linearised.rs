//! The linearised model: logits that are linear in the parameters, f(x; mean) + J(x) (theta - mean), with J their Jacobian at the mean.
//!
//! A normal that was fitted to the curvature at a mode, as by Laplace's approximation, is one of this model's parameters, not of the network's: under the
//! network, draws from it lose much more (Immer, Korzepa & Bauer 2021, "Improving predictions of Bayesian neural nets via local linearization").
//!
//! **The product with the Jacobian** is a central difference along d = theta - mean:
//!
//! ```text
//! J d = (f(mean + e d) - f(mean - e d)) / (2 e) + O(e^2),  e = STEP
//! ```
//!
//! Its two errors: e^2 / 6 times the third derivative of f along d, and the rounding of the two passes over 2 e, which does not shrink with d.

use super::block::Attend;
use super::forward::forward;
use super::{Gpt, TokenBatch, Workspace};
use crate::backend::vectors::{Combine, Transfer};
use crate::backend::{Backend, GemmPrecision, Objective};
use crate::error::{Error, Result};

/// The share e of a difference of parameters at which the passes are made. A power of two, so that no product with it is rounded.
const STEP: f32 = 1.0 / 256.0;

/// A model that is linear in its parameters, at one value of them. Use it from one thread at a time.
pub struct Linearised<B: Backend> {
    backend: B,
    gpt: Gpt,
    mean: B::Vector,
    above: B::Vector,  // mean + e (theta - mean)
    below: B::Vector,  // mean - e (theta - mean)
    room: [B::Act; 2], // (N, V) logits at those two
    rows: usize,       // N
}

impl<B: Backend> Linearised<B> {
    /// Linearises a model around the parameters `mean`, (n_params), where it is evaluated until [`Linearised::set`] is called. It has room for as many
    /// tokens as the workspace, twice the workspace's logits.
    ///
    /// # Errors
    /// [`Error::Conflict`] unless the device multiplies in f32, since differences lose what bf16 leaves; an error when `mean` has another length
    /// than the model's parameters, or the device has no room.
    pub fn new(backend: &B, gpt: &Gpt, mean: &[f32], ws: &Workspace<B>) -> Result<Self> {
        if backend.gemm_precision() != GemmPrecision::F32 {
            return Err(Error::conflict(
                "a linearised prediction needs matrix products in f32: choose precision = highest, or predictive = weights",
            ));
        }
        gpt.layout().check(mean)?;
        let logits = || backend.act(ws.rows, gpt.config().vocab_size);
        Ok(Self {
            mean: backend.put(mean)?,
            above: backend.put(mean)?,
            below: backend.put(mean)?,
            room: [logits()?, logits()?],
            rows: ws.rows,
            backend: backend.clone(),
            gpt: gpt.clone(),
        })
    }

    /// Sets the parameters theta, (n_params).
    ///
    /// # Errors
    /// When there are not as many as the model has, or the device fails.
    pub fn set(&mut self, theta: &[f32]) -> Result<()> {
        self.gpt.layout().check(theta)?;
        let (be, mean) = (&self.backend, &self.mean);
        be.upload(&mut self.below, theta)?;
        be.combine(&mut self.below, Combine::Axpy(-1.0, mean))?;
        be.combine(&mut self.above, Combine::Copy(mean))?;
        be.combine(&mut self.above, Combine::Axpy(STEP, &self.below))?;
        be.combine(&mut self.below, Combine::Scale(-STEP))?;
        be.combine(&mut self.below, Combine::Axpy(1.0, mean))
    }

    /// Computes the logits (B, T, V) of tokens x (B, T) into the caller's slice.
    ///
    /// # Errors
    /// Fails as [`Gpt::logits`] does, and for more tokens than there is room for.
    pub fn logits(
        &mut self,
        x: &[u16],
        t: usize,
        ws: &mut Workspace<B>,
        out: &mut [f32],
    ) -> Result<()> {
        let v = self.gpt.config().vocab_size;
        if out.len() != x.len() * v {
            return Err(Error::shape("logits", [x.len() * v], [out.len()]));
        }
        self.pass(TokenBatch::new(x, &[], t, Objective::All), false, ws)?;
        self.backend.download_act(&ws.logits, v, out)
    }

    /// Adds the prediction for the batch's targets to the sums of an average, as [`Gpt::predict`] does.
    ///
    /// # Errors
    /// Fails as [`Linearised::logits`] does, and when the sums are for fewer tokens.
    pub fn predict(
        &mut self,
        batch: TokenBatch<'_>,
        ws: &mut Workspace<B>,
        to: &mut B::Predictive,
    ) -> Result<()> {
        let rows = batch.x.len();
        self.pass(batch, true, ws)?;
        self.backend.predict(to, &ws.logits, &ws.y, rows)
    }

    /// Leaves the logits of a batch in the workspace.
    fn pass(&mut self, batch: TokenBatch<'_>, targets: bool, ws: &mut Workspace<B>) -> Result<()> {
        let (be, gpt, n) = (&self.backend, &self.gpt, batch.x.len());
        if n > self.rows {
            let expected = format!("at most {} tokens, as there is room for", self.rows);
            return Err(Error::out_of_range("batch", expected, n));
        }
        ws.take(be, gpt, &self.mean, &batch, targets)?;
        let [plus, minus] = &mut self.room;
        let at = |params: &B::Vector, ws: &mut Workspace<B>| {
            let pass = gpt.pass(be, params, &batch, None);
            forward(&pass, ws, Attend::Windows(batch.t))
        };
        be.host().batch(3 * gpt.work(n), || {
            at(&self.above, ws)?;
            std::mem::swap(plus, &mut ws.logits);
            at(&self.below, ws)?;
            std::mem::swap(minus, &mut ws.logits);
            at(&self.mean, ws)?;
            let all = n * gpt.config.vocab_size;
            be.add_difference(&mut ws.logits, 0.5 / STEP, plus, minus, all)
        })
    }
}
