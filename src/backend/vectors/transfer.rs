//! Whole vectors and single elements between host and device, for every device.

use super::Vectors;
use crate::error::{Error, Result};
use crate::memory;

/// Moves vectors between host and device. Every device has it: these are [`Vectors`]' transfers under handier names.
pub trait Transfer: Vectors {
    /// Returns a vector on the device with these elements.
    fn put(&self, from: &[f32]) -> Result<Self::Vector>;

    /// Returns the elements on the host.
    fn get(&self, from: &Self::Vector) -> Result<Vec<f32>>;

    /// Copies a whole vector to the host; lengths must agree.
    fn download(&self, from: &Self::Vector, to: &mut [f32]) -> Result<()>;

    /// Returns one element, for messages; `at` must be below the length.
    fn element(&self, buf: &Self::Vector, at: usize) -> Result<f32>;
}

impl<V: Vectors> Transfer for V {
    fn put(&self, from: &[f32]) -> Result<V::Vector> {
        let mut buf = self.zeros(from.len())?;
        self.upload(&mut buf, from)?;
        Ok(buf)
    }

    fn get(&self, from: &V::Vector) -> Result<Vec<f32>> {
        let mut out = memory::zeros(self.len(from), "a vector on the host")?;
        self.download_from(from, 0, &mut out)?;
        Ok(out)
    }

    fn download(&self, from: &V::Vector, to: &mut [f32]) -> Result<()> {
        let n = self.len(from);
        if to.len() != n {
            return Err(Error::shape("download", [n], [to.len()]));
        }
        self.download_from(from, 0, to)
    }

    fn element(&self, buf: &V::Vector, at: usize) -> Result<f32> {
        let mut out = [0.0];
        self.download_from(buf, at, &mut out)?;
        Ok(out[0])
    }
}
