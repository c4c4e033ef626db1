//! What predictions are worth: scores of averaged predictions, their calibration, texts against references, and the bootstrap that tells a
//! difference from noise. What chains are worth: whether they agree, and how many independent draws they hold.

mod auroc;
mod bootstrap;
mod calibration;
mod chains;
mod energy;
mod ensemble;
mod llc;
mod loss;
mod predictive;
mod probe;
pub(crate) mod quantiles;
mod text;
mod tokens;

use crate::error::Result;
use crate::memory;

pub use auroc::auroc;
pub use bootstrap::{DEFAULT_BLOCK, PairedDifference, paired_block_bootstrap};
pub use calibration::{brier_score, expected_calibration_error};
pub use chains::{ChainDiagnostics, MIN_DRAWS, chain_diagnostics};
pub use energy::{Energy, Mean};
pub use ensemble::EnsembleScores;
pub use llc::{LocalLearningCoefficient, local_learning_coefficient};
pub use loss::{eval_batch, split_loss, split_loss_watched};
pub use predictive::{
    ECE_BINS, PredictiveAccumulator, PredictiveScores, Summary, TokenScores, log_mean_exp,
    predictive_scores,
};
pub use probe::{PROJECTIONS, Probe, probe_places, random_projections};
pub use text::{
    ROUGE_MOST, ROUGE_RESAMPLES, Rouge, Unit, bleu, rouge, rouge_bootstrap, rouge_mean,
};
pub use tokens::text_scores;

/// Returns an empty vector with room for `n` doubles; a caller may have asked for more than memory holds.
fn room(what: &str, n: usize) -> Result<Vec<f64>> {
    memory::room(n, what)
}
