//! A small text of few letters and a model for it: what trainings are tested on.

use bnn::data::Corpus;
use bnn::gpt::{Gpt, GptConfig};

/// Returns a text of `n` letters, the first `kinds` of the alphabet, in an order that a model learns in part.
pub fn corpus(n: usize, kinds: usize, order: fn(usize) -> usize) -> Corpus {
    let letter = |i| char::from(b'a' + (order(i) % kinds) as u8);
    let text: String = (0..n).map(letter).collect();
    Corpus::from_text("letters", &text).unwrap()
}

/// Returns a model of one layer for blocks of 8.
pub fn gpt(corpus: &Corpus, n_embd: usize, dropout: f32) -> Gpt {
    let named = GptConfig::named("tiny", corpus.tokenizer.vocab_size()).unwrap();
    let config = GptConfig {
        n_layer: 1,
        n_head: 2,
        n_embd,
        block_size: 8,
        dropout,
        ..named
    };
    Gpt::new(config).unwrap()
}
