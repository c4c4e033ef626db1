//! A look at extreme curvatures where a chain is, from its next batches or from gradients of the caller's.

use super::engine::Engine;
use super::session::{Session, no_batches};
use crate::backend::Backend;
use crate::backend::vectors::{Combine, Transfer};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Stream, StreamTag};
use crate::samplers::{ExtremeEigenvalues, extreme_curvature};

/// The most batches that a gradient for a curvature is the mean of.
const MOST_BATCHES: usize = 1024;

impl<B: Backend + 'static> Session<B> {
    /// Finds extreme curvatures per mass at the chain's parameters, from the mean over the batches of its next `batches` steps. The chain goes on
    /// as if nothing had been asked, but for a search for its step, whose ceiling follows
    /// ([`AutoStep::limit_curvature`](crate::samplers::AutoStep::limit_curvature)); its file has what was found last.
    ///
    /// # Errors
    /// Returns the errors of [`Chain::curvature`](crate::samplers::Chain::curvature), and [`Error::Conflict`] for fits and gradients of the caller's.
    pub fn find_curvature(&mut self, batches: usize, products: u64) -> Result<ExtremeEigenvalues> {
        self.find_curvature_watched(batches, products, || Ok(()))
    }

    /// Finds what [`Session::find_curvature`] does; `look` is called before each gradient and may end the search with an error.
    ///
    /// # Errors
    /// Fails as [`Session::find_curvature`] and `look` do.
    pub fn find_curvature_watched(
        &mut self,
        batches: usize,
        products: u64,
        look: impl FnMut() -> Result<()>,
    ) -> Result<ExtremeEigenvalues> {
        self.engine.sampler()?;
        if !(1..=MOST_BATCHES).contains(&batches) {
            let expected = format!("1 to {MOST_BATCHES}");
            return Err(Error::out_of_range("batches", expected, batches));
        }
        let first = self.engine.steps_made();
        let next = first..first.saturating_add(batches as u64);
        let next = next.map(|step| self.fill(step).cloned());
        let next = next.collect::<Result<Vec<_>>>()?;
        let Engine::Chain(chain) = &mut self.engine else {
            return Err(no_batches());
        };
        let found = chain.curvature_watched(&next, products, look)?;
        self.curvature = Some(found);
        Ok(found)
    }

    /// Finds extreme curvatures per mass at the chain's parameters from gradients of the caller's: `gradient` writes that of the log posterior at its
    /// first argument to its second, (n_params) each. A search for the step goes on as with [`Session::find_curvature`].
    ///
    /// # Errors
    /// Returns the errors of [`extreme_curvature`] and of `gradient`, and [`Error::Conflict`] for fits.
    pub fn find_curvature_with(
        &mut self,
        products: u64,
        mut gradient: impl FnMut(&[f32], &mut [f32]) -> Result<()>,
    ) -> Result<ExtremeEigenvalues> {
        let s = self.engine.sampler()?;
        let (v, c, affine) = (s.vectors(), s.config(), self.engine.affine());
        let stream = Stream::new(c.seed, StreamTag::Curvature, c.chain);
        let (mut on_device, mut host) = (v.zeros(s.len())?, memory::zeros(s.len(), "a gradient")?);
        let mut room = memory::zeros(s.len(), "a gradient")?;
        let found = extreme_curvature(v, s.params(), s.mass(), products, stream, |at, a, sum| {
            let mut place = v.get(at)?;
            if let Some(affine) = affine {
                let z = memory::copy(&place, "a chain's parameters")?;
                affine.place(&z, &mut place, &mut room);
            }
            gradient(&place, &mut host)?;
            if let Some(i) = host.iter().position(|g| !g.is_finite()) {
                let what = format!("gradient[{i}]");
                return Err(Error::out_of_range(what, "a finite number", host[i]));
            }
            if let Some(affine) = affine {
                place.copy_from_slice(&host);
                affine.pull(&place, &mut host, &mut room);
            }
            v.upload(&mut on_device, &host)?;
            v.combine(sum, Combine::Axpy(a, &on_device))
        })?;
        self.engine.limit_step(&found);
        self.curvature = Some(found);
        Ok(found)
    }
}
