//! The buffers of a pass on the CPU.

use super::Piece;
use crate::backend::cpu::{Cpu, pages};
use crate::backend::ensemble::cpu::Ensemble;
use crate::backend::ops::ActivationOps;
use crate::backend::{GemmPrecision, HostPool, Precision};
use crate::error::{Error, Result};

/// Token indices on the CPU, with what the pieces that they form need.
pub struct Tokens {
    pub ids: Vec<u32>,
    pub pieces: Vec<Piece>,
    /// The position of each token of the pieces in its sequence.
    pub positions: Vec<u32>,
}

impl Tokens {
    /// The index of the last token of each piece.
    pub fn ends(&self) -> impl Iterator<Item = usize> + '_ {
        self.pieces.iter().scan(0, |end, p| {
            *end += p.len;
            Some(*end - 1)
        })
    }
}

impl ActivationOps for Cpu {
    type Act = Vec<f32>;
    type Tokens = Tokens;
    type Ensemble = Ensemble;

    fn act(&self, rows: usize, width: usize) -> Result<Vec<f32>> {
        let n = rows
            .checked_mul(width)
            .filter(|&n| Vec::<f32>::new().try_reserve_exact(n).is_ok());
        n.map(pages::zeros).ok_or_else(|| {
            Error::Unsupported(format!("no memory for a matrix of {rows} by {width}"))
        })
    }

    fn download_act(&self, from: &Vec<f32>, _width: usize, to: &mut [f32]) -> Result<()> {
        to.copy_from_slice(&from[..to.len()]);
        Ok(())
    }

    fn tokens(&self, n: usize) -> Result<Tokens> {
        Ok(Tokens {
            ids: vec![0; n],
            pieces: Vec::with_capacity(n),
            positions: Vec::with_capacity(n),
        })
    }

    fn upload_tokens(&self, to: &mut Tokens, from: &[u32], pieces: &[Piece]) -> Result<()> {
        to.ids[..from.len()].copy_from_slice(from);
        to.pieces.clear();
        to.pieces.extend_from_slice(pieces);
        to.positions.clear();
        let positions = pieces.iter().flat_map(|p| p.past..p.past + p.len);
        to.positions.extend(positions.map(|at| at as u32));
        Ok(())
    }

    fn host(&self) -> &HostPool {
        &self.host
    }

    fn gemm_precision(&self) -> GemmPrecision {
        Cpu::gemm_precision(self)
    }

    fn with_precision(&self, precision: Precision) -> Self {
        Cpu::with_precision(self.clone(), precision)
    }
}
