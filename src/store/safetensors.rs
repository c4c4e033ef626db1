//! A model's parameters as a safetensors file, by nanoGPT's names: what other programs read and write.
//!
//! The crate `safetensors` reads them. It would write from a copy of the whole file in memory, and past [`crate::disk`]; so the few lines of the header are
//! written here (<https://github.com/huggingface/safetensors>): its length (u64, little-endian), itself as JSON (each tensor's `dtype`, `shape` and `data_offsets`
//! behind the header), then the tensors' bytes.

use super::replace::replace_file;
use crate::bf16;
use crate::data::read_file;
use crate::error::{Error, Result};
use crate::gpt::{Gpt, Tensor};
use crate::memory;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
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
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|e| bad(format!("a safetensors file is expected: {e}")))?;
    let mut params = memory::zeros(gpt.n_params(), "a model's parameters")?;
    for t in gpt.layout().tensors() {
        let found = file.tensor(&t.name);
        let found = found.map_err(|_| bad(format!("there is no tensor {}", t.name)))?;
        let to = &mut params[t.range.clone()];
        read_numbers(&found, t, to).map_err(bad)?;
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

/// Reads a tensor that is of this shape and of a type that is known.
fn read_numbers(
    found: &TensorView<'_>,
    t: &Tensor,
    to: &mut [f32],
) -> std::result::Result<(), String> {
    if found.shape() != t.shape {
        let (name, is) = (&t.name, found.shape());
        return Err(format!(
            "{name} has the shape {is:?}, expected {:?}",
            t.shape
        ));
    }
    match found.dtype() {
        Dtype::F32 => {
            let values = found.data().as_chunks().0.iter();
            to.iter_mut()
                .zip(values)
                .for_each(|(to, b)| *to = f32::from_le_bytes(*b));
        }
        Dtype::BF16 => {
            let values = found.data().as_chunks().0.iter();
            to.iter_mut()
                .zip(values)
                .for_each(|(to, b)| *to = bf16::to_f32(u16::from_le_bytes(*b)));
        }
        other => {
            return Err(format!(
                "{} is of type {other:?}, expected F32 or BF16",
                t.name
            ));
        }
    }
    Ok(())
}
