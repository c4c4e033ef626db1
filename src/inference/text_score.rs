//! Texts that samples write, against what follows in the original: starts that are drawn from a split, BLEU and ROUGE of characters.

use super::Report;
use crate::backend::Backend;
use crate::data::Tokenizer;
use crate::error::{Error, Result};
use crate::generate::{Generator, Mode, Options};
use crate::metrics::{Rouge, Unit, bleu, rouge_mean};
use crate::rng::{Stream, StreamTag};

/// Texts that are written at once: each sample's weights are read once for all of them, each keeps its own keys and values.
pub const TEXTS_AT_ONCE: usize = 8;
/// A text needs this many starts to choose from.
const STARTS_PER_TEXT: usize = 100;

/// Which texts are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextPlan {
    /// How many at most; fewer where the split has not 100 starts for each.
    pub texts: usize,
    /// Characters of a prompt.
    pub prompt: usize,
    /// Characters that are written after it.
    pub length: usize,
    /// Temperature of the choice of tokens.
    pub temperature: f64,
    /// What tokens are drawn from.
    pub mode: Mode,
    /// Seed of the starts and of the texts.
    pub seed: u64,
    /// Tells splits apart: each has starts of its own.
    pub split: u32,
}

impl TextPlan {
    /// Returns how many texts a split of `tokens` tokens gives, and how many starts each has to choose from; none where it gives none.
    pub fn starts(&self, tokens: usize) -> Option<(usize, usize)> {
        let room = tokens.saturating_sub(self.prompt.saturating_add(self.length));
        let n = self.texts.min(room / STARTS_PER_TEXT);
        (n > 0).then_some((n, room))
    }

    /// Returns the error for a split of `tokens` tokens that gives no text.
    pub fn too_short(&self, tokens: usize) -> Error {
        let most = self.prompt.saturating_add(self.length);
        Error::data(
            "split",
            format!(
                "expected at least {} tokens for a text, found {tokens}",
                most.saturating_add(STARTS_PER_TEXT)
            ),
        )
    }
}

/// Texts with their originals, and how alike they are, 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct WrittenTexts {
    /// What follows the prompts in the split, without white space around it.
    pub references: Vec<String>,
    /// What was written, without white space around it.
    pub predictions: Vec<String>,
    /// Corpus BLEU with up to 4 characters.
    pub bleu: f64,
    /// Mean ROUGE of characters.
    pub rouge: Rouge,
}

/// Writes and scores texts; none where the split is too short for one. `look` is called with each token and may end the work with an error.
///
/// # Errors
/// When a text cannot be written, and what `look` returns.
pub fn write_and_score<B: Backend>(
    generator: &mut Generator<B>,
    tokenizer: &Tokenizer,
    tokens: &[u16],
    plan: &TextPlan,
    mut look: impl FnMut() -> Result<()>,
) -> Result<Option<WrittenTexts>> {
    let (prompt, length) = (plan.prompt, plan.length);
    let Some((n, room)) = plan.starts(tokens.len()) else {
        return Ok(None);
    };
    let options = Options {
        max_new_tokens: length,
        temperature: plan.temperature,
        mode: plan.mode,
        seed: plan.seed,
        ..Options::default()
    };
    let stream = Stream::new(plan.seed, StreamTag::Evaluate, plan.split);
    let starts: Vec<usize> = (0..n as u64)
        .map(|i| stream.below(room as u64, 0, i) as usize)
        .collect();
    let prompts: Vec<&[u16]> = starts.iter().map(|&at| &tokens[at..at + prompt]).collect();
    let mut made = Vec::with_capacity(n);
    for prompts in prompts.chunks(TEXTS_AT_ONCE) {
        let first = made.len() as u64;
        let mut seen = Ok(());
        made.extend(generator.generate_batch(prompts, &options, first, |_, _| {
            if seen.is_ok() {
                seen = look();
            }
            seen.is_ok()
        })?);
        seen?;
    }
    let trimmed = |tokens: &[u16]| Ok(tokenizer.decode(tokens)?.trim().to_owned());
    let after = |&at: &usize| trimmed(&tokens[at + prompt..at + prompt + length]);
    let references: Vec<String> = starts.iter().map(after).collect::<Result<_>>()?;
    let written = made.iter().map(|text| trimmed(&text.tokens));
    let predictions: Vec<String> = written.collect::<Result<_>>()?;
    Ok(Some(WrittenTexts {
        bleu: bleu(&references, &predictions, Unit::Char, 4)?,
        rouge: rouge_mean(&references, &predictions, Unit::Char)?,
        references,
        predictions,
    }))
}

impl From<&WrittenTexts> for Report {
    fn from(t: &WrittenTexts) -> Self {
        Self::new()
            .row("texts", t.predictions.len(), "texts that were written")
            .row("bleu", t.bleu, "corpus BLEU of up to 4 characters, 0 to 1")
            .and((&t.rouge).into())
    }
}
