//! Texts as tokens: the character table, the corpus with its split, and the windows that make a batch.

mod batch;
mod corpus;
mod meta;
mod order;
mod tokenizer;

pub use batch::{Batch, Consecutive, Windows, consecutive};
pub use corpus::Corpus;
pub use order::{Batches, Order};
pub use tokenizer::Tokenizer;
