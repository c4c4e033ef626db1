//! One text that is being written.

use super::{Generated, TokenInfo};
use crate::error::Result;
use crate::memory;

/// The number of tokens that room is reserved for.
const ROOM: usize = 1 << 12;

/// What messages call them.
pub(super) const TEXTS: &str = "texts in progress";

/// One text in progress.
pub(super) struct Text {
    pub tokens: Vec<u16>, // prompt and what came
    pub prompt: usize,
    pub read: usize, // tokens before it are in the caches, or were dropped
    pub info: Vec<TokenInfo>,
    pub rereads: usize,
}

impl Text {
    pub fn new(prompt: &[u16], block: usize, max_new_tokens: usize) -> Result<Self> {
        // A text that the caller ends may ask for any number.
        let room = max_new_tokens.min(ROOM);
        let mut tokens = memory::room(prompt.len() + room, TEXTS)?;
        tokens.extend_from_slice(prompt);
        Ok(Self {
            tokens,
            prompt: prompt.len(),
            read: prompt.len().saturating_sub(block),
            info: memory::room(room, TEXTS)?,
            rereads: 0,
        })
    }

    /// Adds a token after those that are read by now; there is room for it.
    pub fn add(&mut self, info: TokenInfo) {
        self.read = self.tokens.len();
        self.info.push(info);
        self.tokens.push(info.token);
    }

    /// Gives away what is known of the new tokens, and a copy of these.
    pub fn generated(&mut self) -> Result<Generated> {
        Ok(Generated {
            tokens: memory::copy(&self.tokens[self.prompt..], TEXTS)?,
            info: std::mem::take(&mut self.info),
            rereads: self.rereads,
        })
    }
}
