//! A small model with a text, a start and a prior about it, for sessions that take no time.

use bnn::backend::Cpu;
use bnn::data::Corpus;
use bnn::gpt::Gpt;
use bnn::inference::Target;
use bnn::posterior::Prior;
use std::sync::Arc;

/// A text with an alphabet of nineteen or so.
pub const CAT: &str = "the cat sat on the mat and the dog sat on the cat; that was that, and so on it went \
                       until the mat and the cat and the dog had all been sat on by one and another.";

pub struct Place {
    pub cpu: Cpu,
    pub gpt: Gpt,
    pub corpus: Arc<Corpus>,
    pub start: Vec<f32>,
    pub prior: Prior,
    pub dir: tempfile::TempDir,
}

impl Place {
    /// A model for a vocabulary's size, its start, and the prior's standard deviation about that.
    pub fn of(
        text: &str,
        model: impl FnOnce(usize) -> Gpt,
        start: impl FnOnce(&Gpt) -> Vec<f32>,
        prior_std: f32,
    ) -> Self {
        let corpus = Arc::new(Corpus::from_text("cat", text).unwrap());
        let gpt = model(corpus.tokenizer.vocab_size());
        let start = start(&gpt);
        let prior = Prior {
            center: Some(start.clone()),
            ..Prior::isotropic(prior_std)
        };
        Self {
            cpu: Cpu::new(1).unwrap(),
            gpt,
            corpus,
            start,
            prior,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn target(&self) -> Target<'_> {
        Target {
            gpt: &self.gpt,
            corpus: &self.corpus,
            prior: &self.prior,
            start: &self.start,
            start_sha256: None,
        }
    }
}
