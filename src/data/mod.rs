//! Texts as tokens: the character table, the corpus with its split, and the windows that make a batch.

mod batch;
mod corpus;
mod file;
mod held_out;
mod meta;
mod narrow;
mod order;
mod tokenizer;

pub use batch::{Batch, Consecutive, Windows, consecutive};
pub use corpus::Corpus;
#[cfg(feature = "cli")]
pub(crate) use file::check_regular;
pub(crate) use file::read as read_file;
pub use held_out::HeldOut;
pub use narrow::narrow;
pub use order::{Batches, Order};
pub use tokenizer::Tokenizer;
