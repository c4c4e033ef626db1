//! A text as two runs of tokens, train and validation, from a file, from nanoGPT's files or from the crate itself.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::file::read;
use super::meta::read_meta;
use super::narrow::narrow;
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::memory;

/// The tokens of a text, split in order into train and validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// The character table.
    pub tokenizer: Tokenizer,
    /// The first nine tenths of the text.
    pub train: Vec<u16>,
    /// The last tenth of the text.
    pub val: Vec<u16>,
    /// A text of its own to report on, where one was given: [`Corpus::set_test`].
    pub test: Option<Vec<u16>>,
    /// The name for messages and reports: that of the file or folder.
    pub name: String,
    /// The fingerprint of the corpus: SHA-256 of V, the character table (nothing where no characters are known), the length of `train`, its tokens, the length of `val`, its
    /// tokens. Counts are u64, characters u32 code points, tokens u16, all little-endian.
    pub sha256: [u8; 32],
}

impl Corpus {
    /// Returns the text that is built into the crate.
    ///
    /// # Errors
    /// Fails as [`Corpus::from_text`] does.
    pub fn embedded() -> Result<Self> {
        Self::from_text("play", include_str!("play.txt"))
    }

    /// Splits a text 90/10 in order, counting characters like nanoGPT: `train = data[:int(n*0.9)]`.
    ///
    /// # Errors
    /// Returns [`Error::Data`] for an empty text; [`Error::OutOfRange`] for more than 65,536 different characters.
    pub fn from_text(name: impl Into<String>, text: &str) -> Result<Self> {
        let name = name.into();
        if text.is_empty() {
            return Err(Error::data(name, "expected text, found nothing"));
        }
        let tokenizer = Tokenizer::from_text(text)?;
        let mut train = tokenizer.encode(text)?;
        let at = (train.len() as f64 * 0.9) as usize;
        let val = memory::copy(&train[at..], "tokens")?;
        train.truncate(at);
        Ok(Self::new(name, tokenizer, train, val))
    }

    /// Reads a plain text file in UTF-8. Line ends are read as in Python's text mode, so that the tokens are nanoGPT's: CR LF and a lone CR
    /// become LF.
    ///
    /// # Errors
    /// Returns [`Error::Io`] if it cannot be read; [`Error::Data`] if it is empty or not UTF-8, with the byte offset (from 0)
    /// and the line (from 1).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_text(file_name(path), &read_text(path)?)
    }

    /// Reads what nanoGPT's `prepare.py` writes: `train.bin` and `val.bin` (u16 little-endian) in a folder, and the character table
    /// `meta.pkl`, which may be elsewhere.
    ///
    /// # Errors
    /// Returns [`Error::Io`] if a file cannot be read; [`Error::Data`] for a token file that is empty, has an odd number of
    /// bytes or a token that is not below the vocabulary size (with its position, from 0), and for a `meta.pkl` that is
    /// damaged, lacks a key or contradicts itself.
    pub fn from_nanogpt(dir: impl AsRef<Path>, meta: Option<&Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let tokenizer = match meta {
            Some(path) => read_meta(path)?,
            None => read_meta(&dir.join("meta.pkl"))?,
        };
        let train = read_tokens(&dir.join("train.bin"), tokenizer.vocab_size())?;
        let val = read_tokens(&dir.join("val.bin"), tokenizer.vocab_size())?;
        Ok(Self::new(file_name(dir), tokenizer, train, val))
    }

    /// Takes token ids below `vocab_size` as they are, whatever made them. No characters are known of them, so texts are neither encoded nor decoded.
    /// Without a token in `train`, steps take batches of the caller's, and without one in `val` nothing is scored.
    ///
    /// # Errors
    /// Returns [`Error::OutOfRange`] for a vocabulary that is not 1 to 65,536, and for a token that is not below it, with its place; and
    /// [`Error::OutOfMemory`].
    pub fn from_tokens(
        name: impl Into<String>,
        train: &[u32],
        val: &[u32],
        vocab_size: usize,
    ) -> Result<Self> {
        let tokenizer = Tokenizer::of_ids(vocab_size)?;
        let (mut t, mut v) = (Vec::new(), Vec::new());
        narrow("train", train, 0, vocab_size, &mut t)?;
        narrow("val", val, 0, vocab_size, &mut v)?;
        Ok(Self::new(name.into(), tokenizer, t, v))
    }

    /// Reads nanoGPT's `train.bin` and `val.bin` (u16 little-endian) in a folder that has no character table, as ids below `vocab_size`.
    ///
    /// # Errors
    /// Fails as [`Corpus::from_nanogpt`] does.
    pub fn from_nanogpt_ids(dir: impl AsRef<Path>, vocab_size: usize) -> Result<Self> {
        let (dir, tokenizer) = (dir.as_ref(), Tokenizer::of_ids(vocab_size)?);
        let train = read_tokens(&dir.join("train.bin"), vocab_size)?;
        let val = read_tokens(&dir.join("val.bin"), vocab_size)?;
        Ok(Self::new(file_name(dir), tokenizer, train, val))
    }

    /// Creates a corpus without a token, with zeros for its fingerprint: for models whose batches are all the caller's. The tokenizer says what their
    /// tokens are.
    pub fn without_text(tokenizer: Tokenizer) -> Self {
        Self {
            sha256: [0; 32],
            ..Self::new("no text".into(), tokenizer, Vec::new(), Vec::new())
        }
    }

    /// Returns whether there are tokens to train on.
    pub fn has_text(&self) -> bool {
        !self.train.is_empty()
    }

    /// Reads a text to report on, UTF-8, whose characters the corpus must have; the whole validation split is then left to choose by. The fingerprint
    /// of the corpus stays.
    ///
    /// # Errors
    /// Fails as [`Corpus::from_file`] does, and with [`Error::Data`] for a character that the corpus has not.
    pub fn set_test(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.test = Some(self.tokenizer.encode(&read_text(path.as_ref())?)?);
        Ok(())
    }

    /// Checks that each split has a window of `block_size` tokens and the target after the last of them.
    ///
    /// # Errors
    /// Returns [`Error::OutOfRange`] for a block size of 0; [`Error::Data`] naming the split that is too short.
    pub fn check_block(&self, block_size: usize) -> Result<()> {
        if block_size == 0 {
            return Err(Error::out_of_range("block size", "at least 1", block_size));
        }
        let test = self.test.as_ref().map(|tokens| ("test", tokens));
        let splits = [("train", &self.train), ("validation", &self.val)];
        for (split, tokens) in splits.into_iter().chain(test) {
            if tokens.len() <= block_size {
                return Err(Error::data(
                    format!("{}: {split} split", self.name),
                    format!(
                        "a block of {block_size} tokens and the target after it need more than {block_size} tokens, \
                         found {}",
                        tokens.len()
                    ),
                ));
            }
        }
        Ok(())
    }

    fn new(name: String, tokenizer: Tokenizer, train: Vec<u16>, val: Vec<u16>) -> Self {
        let mut hash = Sha256::new();
        hash.update((tokenizer.vocab_size() as u64).to_le_bytes());
        for &c in tokenizer.chars() {
            hash.update((c as u32).to_le_bytes());
        }
        for tokens in [&train, &val] {
            hash.update((tokens.len() as u64).to_le_bytes());
            for token in tokens {
                hash.update(token.to_le_bytes());
            }
        }
        let sha256 = hash.finalize().into();
        Self {
            tokenizer,
            train,
            val,
            test: None,
            name,
            sha256,
        }
    }
}

/// Reads a text in UTF-8 with Python's line ends.
fn read_text(path: &Path) -> Result<String> {
    let bytes = read(path)?;
    if bytes.is_empty() {
        return Err(Error::data(
            path.display().to_string(),
            "expected text, the file is empty",
        ));
    }
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        let at = e.valid_up_to();
        let line = 1 + bytes[..at].iter().filter(|&&b| b == b'\n').count();
        Error::data(
            format!("{}: byte {at}, line {line}", path.display()),
            format!("expected UTF-8, found {:#04x}", bytes[at]),
        )
    })?;
    let mut read = String::new();
    read.try_reserve_exact(text.len())
        .map_err(|_| Error::out_of_memory(path.display().to_string(), text.len(), 1))?;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\r' {
            chars.next_if_eq(&'\n');
        }
        read.push(if c == '\r' { '\n' } else { c });
    }
    Ok(read)
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn read_tokens(path: &Path, vocab_size: usize) -> Result<Vec<u16>> {
    let bytes = read(path)?;
    if bytes.is_empty() || !bytes.len().is_multiple_of(2) {
        return Err(Error::data(
            path.display().to_string(),
            format!(
                "expected two bytes for each token, found {} bytes",
                bytes.len()
            ),
        ));
    }
    let tokens = bytes
        .chunks_exact(2)
        .map(|b| u16::from_le_bytes([b[0], b[1]]));
    let tokens: Vec<u16> = memory::collect(tokens, "tokens")?;
    match tokens.iter().position(|&id| id as usize >= vocab_size) {
        None => Ok(tokens),
        Some(at) => Err(Error::data(
            format!("{}: token {at}", path.display()),
            format!(
                "expected an id below the vocabulary size {vocab_size}, found {}",
                tokens[at]
            ),
        )),
    }
}
