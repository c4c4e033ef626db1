//! Characters to token ids and back: one id per character, numbered as in nanoGPT's character-level data sets; or ids that no character is known of.

use std::collections::{BTreeSet, HashMap};

use crate::error::{Error, Result};
use crate::memory;

/// A table of distinct characters; a character's id is its position in the table. Or a number of ids whose meaning only the caller knows.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    chars: Vec<char>, // (V), or none
    ids: HashMap<char, u16>,
    vocab_size: usize,
}

/// Two tokenizers are equal when their tables and their numbers of ids are.
impl PartialEq for Tokenizer {
    fn eq(&self, other: &Self) -> bool {
        self.chars == other.chars && self.vocab_size == other.vocab_size
    }
}

impl Eq for Tokenizer {}

impl Tokenizer {
    /// Collects the distinct characters of `text` in the order of their code points (nanoGPT: `sorted(list(set(data)))`).
    ///
    /// # Errors
    /// Fails as [`Tokenizer::from_chars`] does.
    pub fn from_text(text: &str) -> Result<Self> {
        // One by one: collecting a set first makes a list of all that comes.
        let mut chars = BTreeSet::new();
        for c in text.chars() {
            chars.insert(c);
        }
        Self::from_chars(chars)
    }

    /// Takes a table in the given order, such as [`Tokenizer::chars`] returns.
    ///
    /// # Errors
    /// Returns [`Error::OutOfRange`] unless there are 1 to 65,536 characters (ids are 16 bits wide), all different.
    pub fn from_chars(chars: impl IntoIterator<Item = char>) -> Result<Self> {
        let chars: Vec<char> = memory::collect(chars, "a vocabulary")?;
        let mut ids = HashMap::new();
        let none = |_| Error::out_of_memory("a vocabulary", chars.len(), size_of::<(char, u16)>());
        ids.try_reserve(chars.len()).map_err(none)?;
        for (at, &c) in chars.iter().enumerate() {
            let id = u16::try_from(at).map_err(|_| {
                Error::out_of_range("vocabulary", "at most 65536 characters", chars.len())
            })?;
            if let Some(first) = ids.insert(c, id) {
                let got = format!("{c:?} at {first} and at {at}");
                return Err(Error::out_of_range(
                    "vocabulary",
                    "distinct characters",
                    got,
                ));
            }
        }
        if chars.is_empty() {
            return Err(Error::out_of_range(
                "vocabulary",
                "at least one character",
                "none",
            ));
        }
        let vocab_size = chars.len();
        Ok(Self {
            chars,
            ids,
            vocab_size,
        })
    }

    /// Takes a number of ids that no character is known of, such as those of a tokenizer of the caller's. It neither encodes nor decodes text.
    ///
    /// # Errors
    /// Returns [`Error::OutOfRange`] unless there are 1 to 65,536 (ids are 16 bits wide).
    pub fn of_ids(vocab_size: usize) -> Result<Self> {
        if !(1..=1 << 16).contains(&vocab_size) {
            return Err(Error::out_of_range("vocab_size", "1 to 65536", vocab_size));
        }
        Ok(Self {
            chars: Vec::new(),
            ids: HashMap::new(),
            vocab_size,
        })
    }

    /// Takes what a file has: the characters in the order of their ids, or, where it has none, a number of ids.
    ///
    /// # Errors
    /// Fails as [`Tokenizer::from_chars`] and [`Tokenizer::of_ids`] do.
    pub fn of_vocabulary(vocabulary: &str, vocab_size: usize) -> Result<Self> {
        match vocabulary {
            "" => Self::of_ids(vocab_size),
            chars => Self::from_chars(chars.chars()),
        }
    }

    /// Returns whether characters are known.
    pub fn has_characters(&self) -> bool {
        !self.chars.is_empty()
    }

    /// Returns the table: the character at index i has the id i. It is empty where no characters are known.
    pub fn chars(&self) -> &[char] {
        &self.chars
    }

    /// Returns the table as one string, the form in which files store it.
    pub fn vocabulary(&self) -> String {
        self.chars.iter().collect()
    }

    /// Returns the number of ids, V: of characters, where they are known.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn need_characters(&self) -> Result<()> {
        if self.has_characters() {
            return Ok(());
        }
        Err(Error::conflict(
            "the tokens are ids without characters: encode and decode them with the tokenizer that made them",
        ))
    }

    /// Returns the ids of the characters of `text`.
    ///
    /// # Errors
    /// Returns [`Error::Data`] for the first character that the table lacks, with its index (in characters, from 0),
    /// line and column (from 1), and [`Error::Conflict`] where no characters are known.
    pub fn encode(&self, text: &str) -> Result<Vec<u16>> {
        self.need_characters()?;
        // A character takes a byte at least.
        let mut tokens = memory::room(text.len(), "a text's tokens")?;
        for (at, c) in text.chars().enumerate() {
            let known = self.ids.get(&c).copied();
            tokens.push(known.ok_or_else(|| self.unknown(text, at, c))?);
        }
        // Back to their number where characters took more.
        if tokens.len() < text.len() {
            tokens.shrink_to_fit();
        }
        Ok(tokens)
    }

    /// Returns the text of `tokens`.
    ///
    /// # Errors
    /// Returns [`Error::Data`] for the first id that is not below V, with its position from 0, and [`Error::Conflict`] where no characters are known.
    pub fn decode(&self, tokens: &[u16]) -> Result<String> {
        self.need_characters()?;
        let char_of = |(at, &id): (usize, &u16)| {
            let known = self.chars.get(id as usize).copied();
            known.ok_or_else(|| {
                let v = self.vocab_size();
                Error::data(
                    format!("token {at}"),
                    format!("expected an id below the vocabulary size {v}, found {id}"),
                )
            })
        };
        let each = || tokens.iter().enumerate().map(char_of);
        let bytes = each().try_fold(0, |sum, c| Ok::<_, Error>(sum + c?.len_utf8()))?;
        let mut text = String::new();
        text.try_reserve_exact(bytes)
            .map_err(|_| Error::out_of_memory("a text", bytes, 1))?;
        for c in each() {
            text.push(c?);
        }
        Ok(text)
    }

    fn unknown(&self, text: &str, at: usize, c: char) -> Error {
        let (mut line, mut column) = (1, 1);
        for before in text.chars().take(at) {
            (line, column) = match before {
                '\n' => (line + 1, 1),
                _ => (line, column + 1),
            };
        }
        Error::data(
            format!("character {at} (line {line}, column {column})"),
            format!(
                "{c:?} is not among the {} characters of the vocabulary",
                self.vocab_size()
            ),
        )
    }
}
