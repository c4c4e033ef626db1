//! The forward pass of one block, for training, prediction and decoding: x + attention(ln_1(x)), then x + mlp(ln_2(x)).

use super::{Gpt, Training, workspace::Slot};
use crate::backend::{AttentionShape, Backend, CacheShape, Dropout, Epilogue, Params, PieceRows};
use crate::error::Result;

/// What every operation of a forward pass reads.
pub(super) struct Pass<'a, B: Backend> {
    pub be: &'a B,
    pub gpt: &'a Gpt,
    pub params: Params<'a, B>,
    pub rows: usize, // N, of all members
    pub training: Option<Training>,
}

/// What a block's positions attend to.
pub(super) enum Attend<'a, B: Backend> {
    /// Each window of this many tokens attends to itself.
    Windows(usize),
    /// Each piece attends to the cached tokens of its sequence. The last block continues with the last row of each.
    Cache {
        cache: &'a mut B::Act,
        shape: CacheShape,
        pieces: &'a B::Tokens,
        ends: usize, // pieces, of all members
    },
}

/// Buffers that all blocks use in turn.
pub(super) struct Scratch<'a, B: Backend> {
    pub norm: &'a mut B::Act, // (N, C) a layer norm's output
    pub act: &'a mut B::Act,  // (N, 4C) after GELU
}

impl<B: Backend> Pass<'_, B> {
    /// Returns the dropout mask of a site in the model: 0 is the embedding, then come attention, its projection and the MLP of each block.
    pub fn dropout(&self, site: usize) -> Option<Dropout> {
        self.gpt.dropout(self.training, site)
    }

    /// Describes how windows of `t` tokens attend.
    pub fn attention(&self, t: usize) -> AttentionShape {
        AttentionShape {
            b: self.rows / t,
            t,
            h: self.gpt.config.n_head,
            size: self.gpt.config.head_size(),
        }
    }
}

/// Computes `out` (N, C) = block `l` of `slot.x_in`. Returns the number of its rows.
pub(super) fn forward<B: Backend>(
    pass: &Pass<'_, B>,
    l: usize,
    slot: &mut Slot<B>,
    out: &mut B::Act,
    scratch: &mut Scratch<'_, B>,
    attend: &mut Attend<'_, B>,
) -> Result<usize> {
    let (be, params, mut rows) = (pass.be, pass.params, pass.rows);
    let block = &pass.gpt.layout.blocks[l];
    let (norm, act, site) = (&mut *scratch.norm, &mut *scratch.act, 1 + 3 * l);

    be.layer_norm(
        norm,
        &mut slot.stats_1,
        &slot.x_in,
        params,
        &block.ln_1,
        rows,
    )?;
    be.linear(
        &mut slot.qkv,
        norm,
        params,
        &block.c_attn,
        rows,
        Epilogue::None,
    )?;
    let mut ends = None;
    match attend {
        Attend::Windows(t) => {
            let (shape, drop) = (pass.attention(*t), pass.dropout(site));
            be.attention(&mut slot.att, &mut slot.lse, &slot.qkv, shape, drop)?;
        }
        Attend::Cache {
            cache,
            shape,
            pieces,
            ends: count,
        } => {
            let shape = CacheShape { layer: l, ..*shape };
            let which = if l + 1 == shape.layers {
                (rows, ends) = (*count, Some(*pieces));
                PieceRows::Last
            } else {
                PieceRows::All
            };
            be.attention_cached(&mut slot.att, cache, &slot.qkv, pieces, shape, which)?;
        }
    }
    let residual = Epilogue::Residual {
        x: &slot.x_in,
        dropout: pass.dropout(site + 1),
        ends,
    };
    be.linear(
        &mut slot.x_mid,
        &slot.att,
        params,
        &block.attn_proj,
        rows,
        residual,
    )?;

    be.layer_norm(
        norm,
        &mut slot.stats_2,
        &slot.x_mid,
        params,
        &block.ln_2,
        rows,
    )?;
    let gelu = Epilogue::Gelu(act, pass.gpt.config.gelu);
    be.linear(&mut slot.fc, norm, params, &block.c_fc, rows, gelu)?;
    let residual = Epilogue::Residual {
        x: &slot.x_mid,
        dropout: pass.dropout(site + 2),
        ends: None,
    };
    be.linear(out, act, params, &block.mlp_proj, rows, residual)?;
    Ok(rows)
}
