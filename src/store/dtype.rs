//! The element types of a stored tensor, and their little-endian bytes.

use super::CHUNK;
use crate::bf16;
use crate::memory;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the elements of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE 754 binary32, 4 bytes.
    F32,
    /// bfloat16, 2 bytes: an f32 rounded to 8 significant bits, ties to even (relative error at most 2^-8 where it is normal).
    Bf16,
    /// IEEE 754 binary64, 8 bytes.
    F64,
}

/// The elements to store, and how.
#[derive(Clone, Copy, Debug)]
pub enum TensorData<'a> {
    /// Stored as they are.
    F32(&'a [f32]),
    /// Rounded to bf16.
    Bf16(&'a [f32]),
    /// Stored as they are.
    F64(&'a [f64]),
    /// Fetched when their turn comes, and stored as they are: of several vectors on a device, the host holds one at a time.
    Fetch(Fetch<'a>),
}

/// Singles that are not on the host yet.
#[derive(Clone, Copy)]
pub struct Fetch<'a> {
    /// How many.
    pub len: usize,
    /// Fetches them.
    pub get: &'a dyn Fn() -> Result<Vec<f32>>,
}

impl Fetch<'_> {
    fn fetch(&self, name: &str) -> Result<Vec<f32>> {
        let got = (self.get)()?;
        if got.len() == self.len {
            Ok(got)
        } else {
            Err(Error::shape(name, [self.len], [got.len()]))
        }
    }
}

impl std::fmt::Debug for Fetch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fetch({})", self.len)
    }
}

impl Dtype {
    /// Bytes an element.
    pub const fn size(self) -> u64 {
        match self {
            Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Returns the position and value of the first NaN or infinity in `bytes`.
    pub(super) fn first_non_finite(self, bytes: &[u8]) -> Option<(usize, f64)> {
        fn first(values: impl Iterator<Item = f64>) -> Option<(usize, f64)> {
            values.enumerate().find(|(_, x)| !x.is_finite())
        }
        match self {
            Self::F32 => first(f32s(bytes).map(f64::from)),
            Self::Bf16 => first(bf16s(bytes).map(f64::from)),
            Self::F64 => first(f64s(bytes)),
        }
    }
}

/// Returns stored f32s.
pub(super) fn f32s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|b: &[u8; 4]| f32::from_le_bytes(*b))
}

/// Returns stored bf16s, widened.
pub(super) fn bf16s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|b: &[u8; 2]| bf16::to_f32(u16::from_le_bytes(*b)))
}

/// Returns stored f64s.
pub(super) fn f64s(bytes: &[u8]) -> impl Iterator<Item = f64> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|b: &[u8; 8]| f64::from_le_bytes(*b))
}

impl TensorData<'_> {
    /// Returns how the elements are stored.
    pub const fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) | Self::Fetch(_) => Dtype::F32,
            Self::Bf16(_) => Dtype::Bf16,
            Self::F64(_) => Dtype::F64,
        }
    }

    /// Returns how many elements there are.
    pub const fn len(&self) -> usize {
        match self {
            Self::F32(x) | Self::Bf16(x) => x.len(),
            Self::F64(x) => x.len(),
            Self::Fetch(x) => x.len,
        }
    }

    /// Returns whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands out the stored bytes, at most [`CHUNK`] at a time and never a NaN or an infinity among them;
    /// `step` and `name` are for the error.
    pub(super) fn encode(
        &self,
        step: u64,
        name: &str,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let dtype = self.dtype();
        let mut checked = |bytes: &[u8], value: &dyn Fn(usize) -> f64| {
            if let Some((at, _)) = dtype.first_non_finite(bytes) {
                return Err(refuse(step, name, value(at)));
            }
            sink(bytes)
        };
        match self {
            Self::F32(x) => encode_chunks(
                x,
                |x| x.to_le_bytes(),
                |b, c| checked(b, &|at| c[at].into()),
            ),
            Self::Fetch(f) => encode_chunks(
                &f.fetch(name)?,
                |x| x.to_le_bytes(),
                |b, c| checked(b, &|at| c[at].into()),
            ),
            Self::Bf16(x) => encode_chunks(
                x,
                |x| bf16::from_f32(x).to_le_bytes(),
                |b, c| checked(b, &|at| c[at].into()),
            ),
            Self::F64(x) => encode_chunks(x, |x| x.to_le_bytes(), |b, c| checked(b, &|at| c[at])),
        }
    }
}

/// Says why `value` cannot be stored: it is not finite, or beyond bf16.
fn refuse(step: u64, name: &str, value: f64) -> Error {
    if value.is_finite() {
        let expected = "a magnitude below 3.396e38, where bf16 ends";
        return Error::out_of_range(format!("tensor {name:?}"), expected, value);
    }
    Error::NotFinite {
        step,
        tensor: name.to_string(),
        value: value as f32,
    }
}

/// Encodes elements, and gives their bytes with the elements that they came from, at most [`CHUNK`] bytes at a time.
fn encode_chunks<T: Copy, const N: usize>(
    elements: &[T],
    to_bytes: impl Fn(T) -> [u8; N],
    mut sink: impl FnMut(&[u8], &[T]) -> Result<()>,
) -> Result<()> {
    let mut buffer = memory::zeros(CHUNK.min(elements.len() * N), "the buffer of a file")?;
    for chunk in elements.chunks(CHUNK / N) {
        let bytes = &mut buffer[..chunk.len() * N];
        for (b, &x) in bytes.as_chunks_mut().0.iter_mut().zip(chunk) {
            *b = to_bytes(x);
        }
        sink(bytes, chunk)?;
    }
    Ok(())
}
