//! The local learning coefficient of a chain's start, from the chain that samples.

use super::guard::guard;
use super::options::Set;
use super::pointer::{get, lock, out};
use super::sampler::bnn_sampler;
use super::status::{bnn_error, bnn_status};
use crate::backend::Cpu;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::metrics::local_learning_coefficient;
use crate::samplers::{Chain, ChainReport, Config, Phase, Preconditioner};

/// Losses of batches over those at the chain's start, every so many sampling steps.
pub(super) struct ExcessLoss {
    every: u64,                       // 0 takes none
    before: u64,                      // steps before sampling
    why_none: (&'static str, String), // what it needs and what came
    pub losses: Vec<f64>,
}

impl ExcessLoss {
    pub fn new(o: &Set, chain: &Config, mass: Preconditioner) -> Self {
        let every = o.llc_every();
        let why_none = if !o.prior_is_centred() {
            let needs = "a prior centred at the start (prior_center pretrained)";
            (needs, "prior_center zero".into())
        } else if chain.temperature <= 0.0 {
            let got = format!("temperature {}", chain.temperature);
            ("a temperature above 0", got)
        } else if every == 0 {
            ("llc_every above 0", "llc_every 0".into())
        } else {
            let got = format!("none yet with llc_every {every}");
            ("a look by now", got)
        };
        let looks = o.prior_is_centred() && chain.temperature > 0.0;
        Self {
            every: if looks { every } else { 0 },
            before: mass.steps().saturating_add(chain.warmup_steps),
            why_none,
            losses: Vec::new(),
        }
    }

    /// Goes on from the losses of a chain that has made `sampled` sampling steps.
    pub fn go_on(&mut self, losses: Vec<f64>, sampled: u64) -> Result<()> {
        if losses.len() as u64 > sampled {
            let expected = format!("at most {sampled}, the sampling steps made");
            return Err(Error::invalid(
                "losses over the start's",
                expected,
                losses.len(),
            ));
        }
        self.losses = losses;
        Ok(())
    }

    /// Steps on the batch, and looks at the same batch at the start where a look is due, so that the batch's own noise falls out of the
    /// difference. The look comes first: if it fails, no step was made.
    pub fn step(&mut self, chain: &mut Chain<Cpu>, batch: &Batch) -> Result<ChainReport> {
        let sampled = (chain.steps_made() + 1).saturating_sub(self.before);
        let sampling = chain.phase() == Phase::Sampling;
        let due = self.every > 0 && sampling && sampled.is_multiple_of(self.every);
        let start = due.then(|| chain.log_lik_at_start(batch)).transpose()?;
        let r = chain.step(batch)?;
        self.losses.extend(start.map(|s| s - r.at.log_lik));
        Ok(r)
    }
}

/// The local learning coefficient of the parameters that the chain started at, from what it looked at so far: n beta times the mean loss over
/// that of the start, each of one batch (Lau et al. 2023; docs/alive.md says what it is biased by).
///
/// The options say how often it looks (llc_every); it needs a prior centred at the start (prior_center pretrained) and a temperature above 0
/// and the same all the while: under temperature_schedule, or a callback's factors on the temperature, its n_beta is not the chain's.
///
/// [out] value: no unit; below 0 where the start is no minimum of the loss; std_error: by batch means along the chain, NaN with fewer than 10
/// looks; excess_loss: mean, nats; n_beta: the number of data, weighted, over the options' temperature; looks: how many.
/// Errors: BNN_ERR_INVALID for normals, without looks (with the reason), and when a loss was not finite.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_sampler_llc(
    sampler: *const bnn_sampler,
    value: *mut f64,
    std_error: *mut f64,
    excess_loss: *mut f64,
    n_beta: *mut f64,
    looks: *mut u64,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        // SAFETY: all are NULL or the caller's live objects.
        unsafe {
            let s = get(sampler, "sampler")?;
            let (value, std_error) = (out(value, "value")?, out(std_error, "std_error")?);
            let (excess_loss, n_beta, looks) = (
                out(excess_loss, "excess_loss")?,
                out(n_beta, "n_beta")?,
                out(looks, "looks")?,
            );
            let i = &mut *lock(&s.inner, "sampler")?;
            let (chain, excess) = i.machine.chain()?;
            if excess.losses.is_empty() {
                let (expected, got) = &excess.why_none;
                return Err(Error::invalid("local learning coefficient", *expected, got).into());
            }
            let beta = i.num_data / chain.sampler().config().temperature;
            let llc = local_learning_coefficient(&excess.losses, beta)?;
            value.write(llc.value);
            std_error.write(llc.std_error.unwrap_or(f64::NAN));
            excess_loss.write(llc.excess_loss);
            n_beta.write(llc.n_beta);
            looks.write(llc.looks);
        }
        Ok(())
    })
}
