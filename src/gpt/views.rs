//! A flat parameter vector seen as the model's tensors, in their shapes and by nanoGPT's names.

use super::Layout;
use crate::backend::{Linear, Norm};
use crate::error::{Error, Result};
use ndarray::{ArrayView1, ArrayView2};
use std::ops::Range;

/// A model's parameters.
#[derive(Clone, Debug)]
pub struct ParamViews<'a> {
    /// Token embedding, (V, C).
    pub wte: ArrayView2<'a, f32>,
    /// Position embedding, (block_size, C).
    pub wpe: ArrayView2<'a, f32>,
    /// The blocks, in order.
    pub blocks: Vec<BlockViews<'a>>,
    /// The last layer norm.
    pub ln_f: NormViews<'a>,
    /// The head's weight, (V, C): the token embedding if tied.
    pub lm_head: ArrayView2<'a, f32>,
}

/// One block's parameters.
#[derive(Clone, Debug)]
pub struct BlockViews<'a> {
    /// The layer norm before attention.
    pub ln_1: NormViews<'a>,
    /// Queries, keys and values, weight (3C, C).
    pub c_attn: LinearViews<'a>,
    /// Attention's projection, weight (C, C): nanoGPT's `attn.c_proj`.
    pub attn_proj: LinearViews<'a>,
    /// The layer norm before the MLP.
    pub ln_2: NormViews<'a>,
    /// The MLP's first layer, weight (4C, C).
    pub c_fc: LinearViews<'a>,
    /// The MLP's projection, weight (C, 4C): nanoGPT's `mlp.c_proj`.
    pub mlp_proj: LinearViews<'a>,
}

/// A layer norm's parameters.
#[derive(Clone, Debug)]
pub struct NormViews<'a> {
    /// Gain, (C).
    pub weight: ArrayView1<'a, f32>,
    /// Bias, (C).
    pub bias: Option<ArrayView1<'a, f32>>,
}

/// A linear layer's parameters.
#[derive(Clone, Debug)]
pub struct LinearViews<'a> {
    /// Weight, (out, in).
    pub weight: ArrayView2<'a, f32>,
    /// Bias, (out).
    pub bias: Option<ArrayView1<'a, f32>>,
}

/// The flat vector that views are made of.
struct Flat<'a>(&'a [f32]);

impl<'a> Flat<'a> {
    fn vector(&self, r: &Range<usize>) -> ArrayView1<'a, f32> {
        ArrayView1::from(&self.0[r.clone()])
    }

    fn matrix(&self, r: &Range<usize>, columns: usize) -> Result<ArrayView2<'a, f32>> {
        ArrayView2::from_shape((r.len() / columns, columns), &self.0[r.clone()])
            .map_err(|e| Error::out_of_range("range of a tensor", "whole rows of its width", e))
    }

    fn norm(&self, norm: &Norm) -> NormViews<'a> {
        NormViews {
            weight: self.vector(&norm.weight),
            bias: norm.bias.as_ref().map(|b| self.vector(b)),
        }
    }

    fn linear(&self, layer: &Linear) -> Result<LinearViews<'a>> {
        Ok(LinearViews {
            weight: self.matrix(&layer.weight, layer.n_in)?,
            bias: layer.bias.as_ref().map(|b| self.vector(b)),
        })
    }
}

impl Layout {
    /// Views a flat vector as the model's tensors: parameters, or a gradient in them.
    ///
    /// # Errors
    /// Returns an error when the vector has another length than the model.
    pub fn params<'a>(&self, flat: &'a [f32]) -> Result<ParamViews<'a>> {
        self.check(flat)?;
        let flat = Flat(flat);
        let blocks = self.blocks.iter().map(|b| {
            Ok(BlockViews {
                ln_1: flat.norm(&b.ln_1),
                c_attn: flat.linear(&b.c_attn)?,
                attn_proj: flat.linear(&b.attn_proj)?,
                ln_2: flat.norm(&b.ln_2),
                c_fc: flat.linear(&b.c_fc)?,
                mlp_proj: flat.linear(&b.mlp_proj)?,
            })
        });
        let c = self.tables.c;
        Ok(ParamViews {
            wte: flat.matrix(&self.tables.wte, c)?,
            wpe: flat.matrix(&self.tables.wpe, c)?,
            blocks: blocks.collect::<Result<_>>()?,
            ln_f: flat.norm(&self.ln_f),
            lm_head: flat.matrix(&self.head, c)?,
        })
    }
}
