//! A safetensors file of reference values, and one quantity's comparison with it.

use super::Check;
use crate::error::{Error, Result};
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::Path;

pub(super) struct Reference<'a> {
    pub path: &'a Path,
    pub metadata: HashMap<String, String>,
    tensors: SafeTensors<'a>,
}

impl<'a> Reference<'a> {
    pub fn read(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let bad = |e: safetensors::SafeTensorError| bad(path, e);
        let (_, meta) = SafeTensors::read_metadata(bytes).map_err(bad)?;
        Ok(Self {
            path,
            metadata: meta.metadata().clone().unwrap_or_default(),
            tensors: SafeTensors::deserialize(bytes).map_err(bad)?,
        })
    }

    /// Whether some tensor's name begins so.
    pub fn has(&self, prefix: &str) -> bool {
        self.tensors.names().iter().any(|n| n.starts_with(prefix))
    }

    /// Returns a tensor's shape, and reads nothing of its numbers.
    pub fn shape(&self, name: &str) -> Result<Vec<usize>> {
        let tensor = self.tensors.tensor(name).map_err(|e| bad(self.path, e))?;
        Ok(tensor.shape().to_vec())
    }

    /// A tensor's shape and its little-endian numbers.
    fn tensor<T, const N: usize>(
        &self,
        name: &str,
        dtype: Dtype,
        number: fn([u8; N]) -> T,
    ) -> Result<(Vec<usize>, Vec<T>)> {
        let tensor = self.tensors.tensor(name).map_err(|e| bad(self.path, e))?;
        if tensor.dtype() != dtype {
            let got = tensor.dtype();
            let message = format!("{name}: expected {dtype:?}, got {got:?}");
            return Err(bad(self.path, message));
        }
        let values = tensor.data().as_chunks().0.iter().map(|b| number(*b));
        Ok((tensor.shape().to_vec(), values.collect()))
    }

    pub fn f32(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>)> {
        self.tensor(name, Dtype::F32, f32::from_le_bytes)
    }

    pub fn f64(&self, name: &str) -> Result<(Vec<usize>, Vec<f64>)> {
        self.tensor(name, Dtype::F64, f64::from_le_bytes)
    }

    pub fn tokens(&self, name: &str) -> Result<(Vec<usize>, Vec<u16>)> {
        let (shape, values) = self.tensor(name, Dtype::I32, i32::from_le_bytes)?;
        let token = |v: i32| {
            let outside = |_| format!("{name}: token {v} is outside 0 to 65,535");
            u16::try_from(v).map_err(|e| bad(self.path, outside(e)))
        };
        Ok((shape, values.into_iter().map(token).collect::<Result<_>>()?))
    }

    /// An entry of the metadata, which is JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        let missing = || bad(self.path, format!("metadata has no `{key}`"));
        let text = self.metadata.get(key).ok_or_else(missing)?;
        serde_json::from_str(text).map_err(|e| bad(self.path, format!("metadata `{key}`: {e}")))
    }

    /// Compares numbers with the tensor of that name.
    pub fn check(&self, quantity: &str, got: &[f32], tolerance: f64) -> Result<Check> {
        let (_, want) = self.f32(quantity)?;
        let (mut diff, mut norm) = (0.0f64, 0.0f64);
        for (&g, &w) in got.iter().zip(&want) {
            diff += (g as f64 - w as f64).powi(2);
            norm += (w as f64).powi(2);
        }
        let error = match norm > 0.0 {
            true => (diff / norm).sqrt(),
            false => diff.sqrt(),
        };
        let mut check = Check::new(self.path, quantity, error, tolerance);
        check.pass &= got.len() == want.len();
        Ok(check)
    }
}

/// Says what is wrong with a file.
pub(super) fn bad(path: &Path, message: impl ToString) -> Error {
    Error::data(path.display().to_string(), message.to_string())
}
