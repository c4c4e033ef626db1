//! Whether samples know what they do not know: their disagreement on the held-out text beside that on its tokens in random order.

use super::scoring::{Models, score};
use crate::backend::Backend;
use crate::error::Result;
use crate::gpt::Gpt;
use crate::memory;
use crate::metrics::auroc;
use crate::rng::{Stream, StreamTag};

/// The most tokens that are shuffled and scored, from the text's front.
pub const SHUFFLED_TOKENS: usize = 16_384;

/// Returns the probability that the mutual information at a token of the shuffled text is larger than at one of the text, whose tokens' is given, (N): the
/// area under the receiver operating characteristic. None for one model, which has no mutual information.
///
/// # Errors
/// Returns the errors of [`score`].
pub fn shuffled_auroc<B: Backend>(
    backend: &B,
    gpt: &Gpt,
    tokens: &[u16],
    models: &Models<'_>,
    mutual_information: &[f64],
    mut look: impl FnMut() -> Result<()>,
) -> Result<Option<f64>> {
    if models.count() < 2 {
        return Ok(None);
    }
    let block = gpt.config().block_size;
    let most = (SHUFFLED_TOKENS / block).max(1) * block + 1;
    let shuffled = shuffle(&tokens[..tokens.len().min(most)])?;
    let other = score(backend, gpt, &shuffled, models, |_| look())?.mutual_information;
    let own = &mutual_information[..other.len().min(mutual_information.len())];
    auroc(own, &other).map(Some)
}

/// Returns tokens in a random order, the same one each time (Fisher and Yates; Durstenfeld 1964, algorithm 235).
fn shuffle(tokens: &[u16]) -> Result<Vec<u16>> {
    let mut all = memory::copy(tokens, "a shuffled text")?;
    let stream = Stream::new(0, StreamTag::Evaluate, u32::MAX);
    for i in (1..all.len()).rev() {
        let j = stream.below(i as u64 + 1, 0, i as u64) as usize;
        all.swap(i, j);
    }
    Ok(all)
}
