//! How much more loss a chain has than its start, for the local learning coefficient: on one batch at both, so that the batch's own noise falls
//! out of the difference.

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::inference::config::Target;
use crate::inference::monitor::{AfterStep, Monitor, Numbers, Progress, Saved, StepReport};
use crate::memory;
use crate::samplers::{ChainConfig, Phase};

const NAME: &str = "trace.excess_loss";

/// The loss of a batch over that at the chain's start, at every so many sampling steps;
/// [`Session::excess_losses`](crate::inference::Session::excess_losses) returns all.
#[derive(Clone, Debug, PartialEq)]
pub struct ExcessLoss {
    every: u64,
    /// Those that are not in a file.
    losses: Vec<f64>,
}

impl ExcessLoss {
    /// Looks at every `every`-th sampling step; none where `every` is 0, or the coefficient has no meaning: the prior is not centred at the
    /// chain's start, or the temperature is 0.
    pub(crate) fn new(target: &Target<'_>, every: u64, chain: &ChainConfig) -> Option<Self> {
        let looks = target.prior_is_about_the_start() && chain.temperature > 0.0 && every > 0;
        looks.then(|| Self {
            every,
            losses: Vec::new(),
        })
    }

    /// Reads the losses over the start's, nats, one per look.
    ///
    /// # Errors
    /// Returns the errors of [`Saved::f64s`].
    pub(in crate::inference) fn read(saved: &mut dyn Saved) -> Result<Vec<f64>> {
        Ok(saved.f64s(NAME)?.unwrap_or_default())
    }
}

impl<B: Backend + 'static> Monitor<B> for ExcessLoss {
    fn after(&mut self, report: &StepReport, at: &mut AfterStep<'_, B>) -> Result<()> {
        let due = at.progress().sampled.is_multiple_of(self.every);
        if report.phase == Phase::Sampling && due {
            let excess = at.log_lik_at_start()?.zip(report.log_lik);
            memory::grow(&mut self.losses, 1, "a chain's excess losses")?;
            self.losses.extend(excess.map(|(start, now)| start - now));
        }
        Ok(())
    }

    fn series(&self) -> Vec<(&'static str, Numbers<'_>)> {
        vec![(NAME, Numbers::F64((&self.losses).into()))]
    }

    fn stored(&mut self) {
        memory::empty(&mut self.losses);
    }

    fn restore(&mut self, saved: &mut dyn Saved, progress: Progress) -> Result<()> {
        let losses = Self::read(saved)?;
        let looks = saved.stored(NAME).saturating_add(losses.len() as u64);
        if looks > progress.sampled {
            let expected = format!("at most {}, the sampling steps made", progress.sampled);
            let what = "losses over the start's";
            return Err(Error::out_of_range(what, expected, looks));
        }
        self.losses = losses;
        Ok(())
    }
}
