//! The forward pass: tokens to logits, leaving in the workspace what the backward pass needs.

use super::block::{self, Attend, Pass, Scratch};
use super::workspace::Workspace;
use crate::backend::{Backend, Epilogue, Positions};
use crate::error::Result;

/// Computes the logits of the workspace's tokens: (N, V) for windows; for pieces (S, pieces, V), after the last token of each.
///
/// Each block keeps its intermediate results in its own slot, where there is one per block; a single slot serves all in turn.
pub(super) fn forward<B: Backend>(
    pass: &Pass<'_, B>,
    ws: &mut Workspace<B>,
    mut attend: Attend<'_, B>,
) -> Result<()> {
    let (be, params, gpt) = (pass.be, pass.params, pass.gpt);
    let positions = match attend {
        Attend::Windows(t) => Positions::Windows(t),
        Attend::Cache { .. } => Positions::Pieces,
    };
    let (layout, rows) = (&gpt.layout, pass.rows);
    let x = match attend {
        Attend::Windows(_) => &ws.x,
        Attend::Cache { pieces, .. } => pieces,
    };
    let (first, tables) = (&mut ws.slots[0].x_in, &layout.tables);
    match pass.dropout(0) {
        None => be.embed(first, params, tables, x, rows, positions)?,
        Some(drop) => {
            be.embed(&mut ws.norm, params, tables, x, rows, positions)?;
            be.dropout(first, &ws.norm, rows * gpt.config.n_embd, drop)?;
        }
    }
    let n_layer = layout.blocks.len();
    let (mut ends, one) = (rows, ws.slots.len() == 1);
    for l in 0..n_layer {
        let mut scratch = Scratch {
            norm: &mut ws.norm,
            act: &mut ws.act,
        };
        let (slots, rest) = ws.slots.split_at_mut(if one { 1 } else { l + 1 });
        let (slot, next) = (&mut slots[slots.len() - 1], rest.first_mut());
        let out = next.map_or(&mut ws.x_out, |next| &mut next.x_in);
        ends = block::forward(pass, l, slot, out, &mut scratch, &mut attend)?;
        if one && l + 1 < n_layer {
            std::mem::swap(&mut slot.x_in, &mut ws.x_out);
        }
    }
    be.layer_norm(
        &mut ws.norm,
        &mut ws.stats_f,
        &ws.x_out,
        params,
        &layout.ln_f,
        ends,
    )?;
    be.linear(
        &mut ws.logits,
        &ws.norm,
        params,
        &gpt.head(),
        ends,
        Epilogue::None,
    )
}
