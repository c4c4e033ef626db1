//! stub
use crate::error::Result;
/// Flat vectors.
pub trait Vectors: Send + Sync + Clone {
    /// A vector.
    type Buf: Send + Sync;
    /// zeros
    fn zeros(&self, n: usize) -> Result<Self::Buf>;
    /// len
    fn len(&self, b: &Self::Buf) -> usize;
    /// up
    fn upload(&self, from: &[f32], to: &mut Self::Buf) -> Result<()>;
    /// down
    fn download(&self, from: &Self::Buf, to: &mut [f32]) -> Result<()>;
    /// copy
    fn copy(&self, from: &Self::Buf, to: &mut Self::Buf) -> Result<()>;
    /// fill
    fn fill(&self, b: &mut Self::Buf, v: f32) -> Result<()>;
}
impl Vectors for super::Cpu {
    type Buf = Vec<f32>;
    fn zeros(&self, n: usize) -> Result<Vec<f32>> {
        Ok(vec![0.0; n])
    }
    fn len(&self, b: &Vec<f32>) -> usize {
        b.len()
    }
    fn upload(&self, from: &[f32], to: &mut Vec<f32>) -> Result<()> {
        to[..from.len()].copy_from_slice(from);
        Ok(())
    }
    fn download(&self, from: &Vec<f32>, to: &mut [f32]) -> Result<()> {
        to.copy_from_slice(&from[..to.len()]);
        Ok(())
    }
    fn copy(&self, from: &Vec<f32>, to: &mut Vec<f32>) -> Result<()> {
        to.copy_from_slice(from);
        Ok(())
    }
    fn fill(&self, b: &mut Vec<f32>, v: f32) -> Result<()> {
        b.fill(v);
        Ok(())
    }
}
