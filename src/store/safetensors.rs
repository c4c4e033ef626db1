//! A model's parameters as a safetensors file, by nanoGPT's names: what other programs read and write.
//!
//! The format (<https://github.com/huggingface/safetensors>): the header's length (u64, little-endian), the header as JSON (each tensor's `dtype`, `shape` and
//! `data_offsets` behind the header), the tensors' bytes.

use super::replace::replace_file;
use crate::bf16;
use crate::data::read_file;
use crate::error::{Error, Result};
use crate::gpt::{Gpt, Tensor};
use crate::memory;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::Path;

/// Bytes of the header's length.
const LENGTH: usize = 8;
/// Elements that are turned into bytes at a time.
const CHUNK: usize = 1 << 14;

/// Writes the parameters (n_params) of a model, in the place of what may be there; the file appears whole or not at all. A head that is tied is not written.
///
/// # Errors
/// [`Error::Shape`] for another number of parameters, and those of [`replace_file`].
pub fn write_safetensors(path: impl AsRef<Path>, gpt: &Gpt, params: &[f32]) -> Result<()> {
    gpt.layout().check(params)?;
    let mut header = Map::new();
    for t in gpt.layout().tensors() {
        let offsets = [4 * t.range.start, 4 * t.range.end];
        let entry = json!({"dtype": "F32", "shape": t.shape, "data_offsets": offsets});
        header.insert(t.name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string();
    // Tensors then begin at a multiple of 8, as readers that map the file like it.
    while !header.len().is_multiple_of(LENGTH) {
        header.push(' ');
    }
    let path = path.as_ref();
    replace_file(path, |file| {
        let mut put = |bytes: &[u8]| file.write_all(bytes).map_err(Error::io(path));
        put(&(header.len() as u64).to_le_bytes())?;
        put(header.as_bytes())?;
        let mut bytes = memory::room(4 * CHUNK, "a file's bytes")?;
        for part in params.chunks(CHUNK) {
            bytes.clear();
            bytes.extend(part.iter().flat_map(|v| v.to_le_bytes()));
            put(&bytes)?;
        }
        Ok(())
    })
}

/// One tensor, as the header has it.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// Reads the parameters (n_params) of a model of this shape: every tensor by nanoGPT's name, in F32 or BF16. Other tensors are passed over, as a head that is
/// written beside the embedding that it is tied to.
///
/// # Errors
/// [`Error::Io`]; [`Error::BadHeader`] for a file that is damaged or of another format, and for one that lacks a tensor or has it of another shape or type;
/// [`Error::Data`] for a parameter that is not finite.
pub fn read_safetensors(path: impl AsRef<Path>, gpt: &Gpt) -> Result<Vec<f32>> {
    let path = path.as_ref();
    let bytes = read_file(path)?;
    let bad = |message: String| Error::BadHeader {
        path: path.into(),
        message,
    };
    let too_short = || {
        bad(format!(
            "{} bytes are too few for a safetensors file",
            bytes.len()
        ))
    };
    let (length, rest) = bytes.split_first_chunk::<LENGTH>().ok_or_else(too_short)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let header = rest.get(..length).ok_or_else(too_short)?;
    let header: Map<String, Value> = serde_json::from_slice(header)
        .map_err(|e| bad(format!("a safetensors header is expected: {e}")))?;
    let mut params = memory::zeros(gpt.n_params(), "a model's parameters")?;
    for t in gpt.layout().tensors() {
        let entry = header.get(&t.name);
        let entry = entry.ok_or_else(|| bad(format!("there is no tensor {}", t.name)))?;
        let entry = Entry::deserialize(entry).map_err(|e| bad(format!("{}: {e}", t.name)))?;
        let data = of_tensor(&entry, t, &rest[length..]).map_err(bad)?;
        let to = &mut params[t.range.clone()];
        read_numbers(&entry.dtype, data, to);
        if let Some(i) = to.iter().position(|v| !v.is_finite()) {
            let place = format!("{}: {}[{i}]", path.display(), t.name);
            return Err(Error::data(
                place,
                format!("expected a finite number, found {}", to[i]),
            ));
        }
    }
    Ok(params)
}

/// Returns the bytes of a tensor, if the entry is one of this shape and inside the data.
fn of_tensor<'a>(
    entry: &Entry,
    t: &Tensor,
    data: &'a [u8],
) -> std::result::Result<&'a [u8], String> {
    let name = &t.name;
    if entry.shape != t.shape {
        return Err(format!(
            "{name} has the shape {:?}, expected {:?}",
            entry.shape, t.shape
        ));
    }
    let size = match entry.dtype.as_str() {
        "F32" => 4,
        "BF16" => 2,
        other => return Err(format!("{name} is of type {other}, expected F32 or BF16")),
    };
    let [from, to] = entry.data_offsets;
    let found = data
        .get(from..to)
        .filter(|d| d.len() == size * t.range.len());
    found.ok_or_else(|| {
        let (n, len) = (t.range.len(), data.len());
        format!("{name} lies at bytes {from} to {to} of {len}, where {n} numbers are expected")
    })
}

fn read_numbers(dtype: &str, data: &[u8], to: &mut [f32]) {
    if dtype == "F32" {
        for (to, b) in to.iter_mut().zip(data.chunks_exact(4)) {
            *to = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        }
    } else {
        for (to, b) in to.iter_mut().zip(data.chunks_exact(2)) {
            *to = bf16::to_f32(u16::from_le_bytes([b[0], b[1]]));
        }
    }
}
