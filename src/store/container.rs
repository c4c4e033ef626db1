//! One file: magic, version, header and tensors, each part with its checksum.

use std::io::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::dtype::{Dtype, TensorData};
use super::{codec, replace_file};
use crate::{Error, Result};

/// The first bytes of every file.
pub const MAGIC: [u8; 8] = *b"BNNSTORE";

/// The format version that this build writes and reads.
pub const VERSION: u32 = 1;

/// The most bytes that a header may take.
pub const HEADER_MAX: u64 = 1 << 20;

/// Bytes of magic, version and header length.
pub(super) const PREFIX: u64 = 20;

/// Bytes of a checksum.
pub(super) const DIGEST: u64 = 32;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One draw from the posterior: the parameters at a step of a chain.
    Sample,
    /// The state of a chain, from which it continues bit for bit.
    Chain,
    /// The parameters at which the prior is centred, or from which chains start.
    Baseline,
    /// The state of a deterministic model in training, from which it continues bit for bit.
    Training,
}

/// What a file says about its tensors. There is no time in it: the same run writes the same bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// What the file holds.
    pub kind: Kind,
    /// The text of the configuration that made it (TOML or JSON).
    pub config: String,
    /// The model's configuration as JSON.
    pub model: String,
    /// The run's seed.
    pub seed: u64,
    /// The chain, counted from 0.
    pub chain: u32,
    /// How many steps the chain had made.
    pub step: u64,
    /// SHA-256 of the text that the model was trained on; zeros if there is none.
    pub corpus_sha256: [u8; 32],
    /// SHA-256 that identifies the baseline; zeros if there is none.
    pub baseline_sha256: [u8; 32],
    /// The tokenizer's characters in the order of their tokens; may be empty.
    pub vocabulary: String,
    /// Further named numbers, kept bit for bit (infinities and NaNs too). Names are distinct and not empty.
    pub scalars: Vec<(String, f64)>,
    /// Further named integers. Names are distinct and not empty.
    pub counters: Vec<(String, u64)>,
}

impl Header {
    /// Creates a header in which all but the kind is empty or 0.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            config: String::new(),
            model: String::new(),
            seed: 0,
            chain: 0,
            step: 0,
            corpus_sha256: [0; 32],
            baseline_sha256: [0; 32],
            vocabulary: String::new(),
            scalars: Vec::new(),
            counters: Vec::new(),
        }
    }
}

/// A line in a file's list of tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, distinct within the file and not empty.
    pub name: String,
    /// How its elements are stored.
    pub dtype: Dtype,
    /// How many elements it has.
    pub len: u64,
}

impl TensorInfo {
    /// Returns how many bytes its elements take in a file.
    pub(super) fn bytes(&self) -> u64 {
        self.len * self.dtype.size()
    }
}

/// Writes one file with `header` and `tensors` at `path`, in the place of what may be there.
///
/// The file appears whole or not at all ([`replace_file`]). Elements are converted in chunks of 256 KiB; there is
/// never a second copy of a tensor in memory.
///
/// # Errors
///
/// [`Error::NotFinite`] with `header.step` if an element is NaN or infinite; [`Error::OutOfRange`] if a finite one is
/// too large for bf16, if names repeat or are empty, or if the header takes more than [`HEADER_MAX`] bytes;
/// [`Error::Io`] with `path` if the system refuses. What was at `path` is then still there.
pub fn write(
    path: impl AsRef<Path>,
    header: &Header,
    tensors: &[(&str, TensorData)],
) -> Result<()> {
    let path = path.as_ref();
    let infos: Vec<_> = tensors
        .iter()
        .map(|(name, data)| TensorInfo {
            name: name.to_string(),
            dtype: data.dtype(),
            len: data.len() as u64,
        })
        .collect();
    let record = codec::encode(header, &infos).map_err(|got| {
        let what = format!("the header of {}", path.display());
        Error::out_of_range(what, "distinct names and at most 1 MiB", got)
    })?;
    let mut head = Vec::with_capacity(PREFIX as usize + record.len());
    head.extend(MAGIC);
    head.extend(VERSION.to_le_bytes());
    head.extend((record.len() as u64).to_le_bytes());
    head.extend(record);

    replace_file(path, |file| {
        let mut put = |bytes: &[u8]| file.write_all(bytes).map_err(Error::io(path));
        put(&head)?;
        put(&Sha256::digest(&head))?;
        let digest = payload(header.step, tensors, &mut put)?;
        put(&digest)
    })
}

/// Hands the payload to `sink` in chunks and returns its SHA-256.
pub(super) fn payload(
    step: u64,
    tensors: &[(&str, TensorData)],
    mut sink: impl FnMut(&[u8]) -> Result<()>,
) -> Result<[u8; 32]> {
    let mut sha = Sha256::new();
    for (name, data) in tensors {
        data.encode(step, name, |bytes| {
            sha.update(bytes);
            sink(bytes)
        })?;
    }
    Ok(sha.finalize().into())
}
