//! The buffers of a pass on the CPU.

use super::Piece;
use crate::backend::cpu::{Cpu, pages};
use crate::backend::ensemble::cpu::Ensemble;
use crate::backend::ops::ActivationOps;
use crate::backend::{GemmPrecision, HostPool, Precision};
use crate::error::{Error, Result};
use crate::memory;
use std::ops::Range;

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
        let what = || format!("a matrix of {rows} by {width}");
        let n = rows.checked_mul(width);
        let n = n.ok_or_else(|| Error::out_of_memory(what(), usize::MAX, size_of::<f32>()))?;
        pages::zeros(n, "activations")
            .map_err(|_| Error::out_of_memory(what(), n, size_of::<f32>()))
    }

    fn download_act(&self, from: &Vec<f32>, _width: usize, to: &mut [f32]) -> Result<()> {
        to.copy_from_slice(&from[..to.len()]);
        Ok(())
    }

    fn add_difference(
        &self,
        to: &mut Vec<f32>,
        scale: f32,
        plus: &Vec<f32>,
        minus: &Vec<f32>,
        n: usize,
    ) -> Result<()> {
        let (plus, minus) = (&plus[..n], &minus[..n]);
        let leaf = |r: Range<usize>, [to]: [&mut [f32]; 1]| {
            let differences = plus[r.clone()].iter().zip(&minus[r]);
            let each = to.iter_mut().zip(differences);
            each.for_each(|(to, (plus, minus))| *to += scale * (plus - minus));
        };
        self.blocks(n, [&mut to[..n]], leaf, |(), ()| ());
        Ok(())
    }

    fn tokens(&self, n: usize) -> Result<Tokens> {
        Ok(Tokens {
            ids: memory::zeros(n, "tokens")?,
            pieces: memory::room(n, "pieces of sequences")?,
            positions: memory::room(n, "positions")?,
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
