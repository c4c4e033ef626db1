//! Whether chains agree on many quantities.

use super::context::bnn_context;
use super::guard::guard;
use super::pointer::{get, slice};
use super::report::{bnn_report, report_of};
use super::status::{bnn_error, bnn_status};
use crate::error::Error;
use crate::inference::Cost;
use crate::inference::agreement::{Called, judge};

/// Says whether chains agree on many quantities at once, what their draws are worth, and one judgement of it: what `bnn diagnose` says of runs
/// (docs/diagnostics.md).
///
/// [in] draws: (chains, n, quantities) doubles, the quantities of a draw side by side, such as bnn_probe_log_probs' numbers; chains: at least 1; n: at
/// least 4; quantities: at least 1; gradients: how many all chains took, warm-up among them, at least 1; seconds: that they took, NaN where unknown.
/// [out] report: verdict, a sentence; rhat_by_chance, what one quantity in 20 exceeds though all draws are independent; chains; draws; quantities;
/// constant, how many never changed and are left out of the rest; rhat.worst, .median; share_under_1_01, share_under_1_05, share_under_1_1;
/// ess_bulk.draws.worst, .median, .per_gradient.…, .per_second.…; ess_tail.…; mcse_mean.worst, .median. Where every quantity is constant there are no
/// rows after draws. Errors: BNN_ERR_INVALID, also for a draw that is not finite.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bnn_agreement(
    context: *const bnn_context,
    draws: *const f64,
    chains: usize,
    n: usize,
    quantities: usize,
    gradients: u64,
    seconds: f64,
    report: *mut bnn_report,
    err: *mut bnn_error,
) -> bnn_status {
    guard(err, || {
        let of_chain = n.checked_mul(quantities);
        let all = of_chain.and_then(|one| one.checked_mul(chains));
        let (Some(one), Some(all)) = (of_chain, all) else {
            let got = format!("{chains} * {n} * {quantities}");
            return Err(Error::out_of_range("chains * n * quantities", "a size", got).into());
        };
        // SAFETY: all are NULL or the caller's live objects of those lengths.
        unsafe {
            let context = get(context, "context")?;
            let (draws, mut report) = (slice(draws, all, "draws")?, report_of(report)?);
            let each: Vec<&[f64]> = draws.chunks_exact(one.max(1)).collect();
            if seconds.is_finite() && seconds <= 0.0 || seconds.is_infinite() {
                let expected = "above 0 and finite, or NaN where unknown";
                return Err(Error::out_of_range("seconds", expected, seconds).into());
            }
            let cost = Cost {
                gradients,
                seconds: Some(seconds).filter(|s| !s.is_nan()),
            };
            let called = Called {
                one: "quantity",
                many: "quantities",
            };
            *report = (&judge(&context.device, &each, n, quantities, cost, called)?).into();
        }
        Ok(())
    })
}
