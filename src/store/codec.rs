//! The header's bytes: the only place that knows which encoder makes them.

use std::collections::BTreeSet;

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::{Deserialize, Serialize};

use super::container::{HEADER_MAX, Header, Kind, TensorInfo};
use super::dtype::Dtype;

/// Little-endian integers of fixed width and lengths as u64. The limit bounds what a length in a header can allocate.
const CONFIG: Configuration<LittleEndian, Fixint, Limit<{ HEADER_MAX as usize }>> =
    bincode::config::legacy().with_limit();

/// The fields in the order of the file. Its arrays have no length before them, its strings and lists do.
#[derive(Serialize, Deserialize)]
struct Record {
    kind: u32,
    config: String,
    model: String,
    seed: u64,
    chain: u32,
    step: u64,
    corpus_sha256: [u8; 32],
    baseline_sha256: [u8; 32],
    vocabulary: String,
    /// Name, data type, number of elements.
    tensors: Vec<(String, u32, u64)>,
    scalars: Vec<(String, f64)>,
    counters: Vec<(String, u64)>,
}

/// Returns the header's bytes, or why they cannot be made.
pub fn encode(header: &Header, tensors: &[TensorInfo]) -> Result<Vec<u8>, String> {
    check_names(header, tensors)?;
    let record = Record {
        kind: match header.kind {
            Kind::Sample => 0,
            Kind::Chain => 1,
            Kind::Baseline => 2,
            Kind::Training => 3,
        },
        config: header.config.clone(),
        model: header.model.clone(),
        seed: header.seed,
        chain: header.chain,
        step: header.step,
        corpus_sha256: header.corpus_sha256,
        baseline_sha256: header.baseline_sha256,
        vocabulary: header.vocabulary.clone(),
        tensors: tensors
            .iter()
            .map(|t| (t.name.clone(), dtype_code(t.dtype), t.len))
            .collect(),
        scalars: header.scalars.clone(),
        counters: header.counters.clone(),
    };
    let bytes = bincode::serde::encode_to_vec(&record, CONFIG).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > HEADER_MAX {
        return Err(format!(
            "{} bytes, at most {HEADER_MAX} are allowed",
            bytes.len()
        ));
    }
    Ok(bytes)
}

/// Returns the header in `bytes`, or why there is none.
pub fn decode(bytes: &[u8]) -> Result<(Header, Vec<TensorInfo>), String> {
    lengths(bytes).ok_or("a length in it is more than it has bytes")?;
    let (record, used): (Record, usize) =
        bincode::serde::decode_from_slice(bytes, CONFIG).map_err(|e| e.to_string())?;
    if used != bytes.len() {
        return Err(format!(
            "{} bytes follow its last field",
            bytes.len() - used
        ));
    }
    let kind = match record.kind {
        0 => Kind::Sample,
        1 => Kind::Chain,
        2 => Kind::Baseline,
        3 => Kind::Training,
        code => return Err(format!("kind {code}, expected 0, 1, 2 or 3")),
    };
    let header = Header {
        kind,
        config: record.config,
        model: record.model,
        seed: record.seed,
        chain: record.chain,
        step: record.step,
        corpus_sha256: record.corpus_sha256,
        baseline_sha256: record.baseline_sha256,
        vocabulary: record.vocabulary,
        scalars: record.scalars,
        counters: record.counters,
    };
    let tensors = record
        .tensors
        .into_iter()
        .map(|(name, code, len)| {
            let dtype = dtype_of(code).ok_or_else(|| {
                format!("tensor {name:?} has data type {code}, expected 0, 1 or 2")
            })?;
            Ok(TensorInfo { name, dtype, len })
        })
        .collect::<Result<Vec<_>, String>>()?;
    check_names(&header, &tensors)?;
    Ok((header, tensors))
}

/// Walks over the fields, so that no length is more than the bytes that are there: the encoder makes room by a length before it reads.
fn lengths(bytes: &[u8]) -> Option<()> {
    fn skip(rest: &mut &[u8], n: u64) -> Option<()> {
        *rest = rest.get(usize::try_from(n).ok()?..)?;
        Some(())
    }
    fn length(rest: &mut &[u8]) -> Option<u64> {
        let length = u64::from_le_bytes(*rest.first_chunk()?);
        skip(rest, 8)?;
        Some(length)
    }
    fn text(rest: &mut &[u8]) -> Option<()> {
        let length = length(rest)?;
        skip(rest, length)
    }
    let rest = &mut { bytes };
    // Kind; configuration and model; seed, chain, step and both checksums; vocabulary.
    skip(rest, 4)?;
    text(rest)?;
    text(rest)?;
    skip(rest, 8 + 4 + 8 + 64)?;
    text(rest)?;
    // Each entry of tensors, scalars and counters is a name and so many bytes.
    for more in [4 + 8, 8, 8] {
        let entries = length(rest)?;
        // One takes 8 bytes and more.
        if entries > rest.len() as u64 {
            return None;
        }
        for _ in 0..entries {
            text(rest)?;
            skip(rest, more)?;
        }
    }
    Some(())
}

fn dtype_code(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::F32 => 0,
        Dtype::Bf16 => 1,
        Dtype::F64 => 2,
    }
}

fn dtype_of(code: u32) -> Option<Dtype> {
    [Dtype::F32, Dtype::Bf16, Dtype::F64]
        .into_iter()
        .find(|&dtype| dtype_code(dtype) == code)
}

/// Checks the names by which tensors, scalars and counters are found: each has one, and no two of a list share it.
fn check_names(header: &Header, tensors: &[TensorInfo]) -> Result<(), String> {
    fn distinct<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for name in names {
            if name.is_empty() {
                return Err(format!("a {what} has an empty name"));
            }
            if !seen.insert(name) {
                return Err(format!("two {what}s have the name {name:?}"));
            }
        }
        Ok(())
    }
    distinct("tensor", tensors.iter().map(|t| &t.name))?;
    distinct("scalar", header.scalars.iter().map(|(name, _)| name))?;
    distinct("counter", header.counters.iter().map(|(name, _)| name))
}
