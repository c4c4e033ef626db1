//! The forward pass: tokens to logits, leaving in the workspace what the backward pass needs.

use super::workspace::Slot;
use super::{Gpt, Training, Workspace};
use crate::backend::Backend;
use crate::error::{Error, Result};

/// Logits (N, V) of the workspace's tokens, N = `rows` in sequences of `t`.
pub(super) fn forward<B: Backend>(
    gpt: &Gpt,
    be: &B,
    params: &B::Buf,
    rows: usize,
    t: usize,
    ws: &mut Workspace<B>,
    training: Option<Training>,
) -> Result<()> {
    let (c, layout) = (gpt.config.n_embd, &gpt.layout);
    let x = &mut ws.slots[0].x_in;
    be.embed(x, params, &layout.wte, &layout.wpe, &ws.x, rows, t, c)?;
    if let Some(d) = gpt.dropout(training, 0) {
        be.dropout(x, rows * c, d)?;
    }
    let heads = gpt.heads(rows, t);
    let (n_layer, n_slots) = (layout.blocks.len(), ws.slots.len());
    for (l, block) in layout.blocks.iter().enumerate() {
        let (slot, next) = pair(&mut ws.slots, l % n_slots, (l + 1) % n_slots)?;
        let site = 1 + 3 * l;

        // x_mid = x_in + proj(attention(ln_1(x_in)))
        be.layer_norm(
            &mut ws.norm,
            &mut slot.stats_1,
            &slot.x_in,
            params,
            &block.ln_1,
            rows,
            c,
        )?;
        be.linear(&mut slot.qkv, &ws.norm, params, &block.c_attn, rows)?;
        let drop = gpt.dropout(training, site);
        be.attention(&mut slot.att, &mut slot.lse, &slot.qkv, heads, drop)?;
        be.linear(&mut ws.proj, &slot.att, params, &block.attn_proj, rows)?;
        if let Some(d) = gpt.dropout(training, site + 1) {
            be.dropout(&mut ws.proj, rows * c, d)?;
        }
        be.add(&mut slot.x_mid, &slot.x_in, &ws.proj, rows * c)?;

        // x_out = x_mid + proj(gelu(fc(ln_2(x_mid))))
        be.layer_norm(
            &mut ws.norm,
            &mut slot.stats_2,
            &slot.x_mid,
            params,
            &block.ln_2,
            rows,
            c,
        )?;
        be.linear(&mut slot.fc, &ws.norm, params, &block.c_fc, rows)?;
        be.gelu(&mut ws.act, &slot.fc, rows * 4 * c, gpt.config.gelu)?;
        be.linear(&mut ws.proj, &ws.act, params, &block.mlp_proj, rows)?;
        if let Some(d) = gpt.dropout(training, site + 2) {
            be.dropout(&mut ws.proj, rows * c, d)?;
        }
        let out = match next {
            Some(next) if l + 1 < n_layer => &mut next.x_in,
            _ => &mut ws.x_out,
        };
        be.add(out, &slot.x_mid, &ws.proj, rows * c)?;
    }
    be.layer_norm(
        &mut ws.norm,
        &mut ws.stats_f,
        &ws.x_out,
        params,
        &layout.ln_f,
        rows,
        c,
    )?;
    be.linear(&mut ws.logits, &ws.norm, params, &gpt.head(), rows)
}

/// The slot of a block, and the next block's unless it is the same.
fn pair<B: Backend>(
    slots: &mut [Slot<B>],
    i: usize,
    j: usize,
) -> Result<(&mut Slot<B>, Option<&mut Slot<B>>)> {
    if i == j {
        return Ok((&mut slots[i], None));
    }
    let [a, b] = slots
        .get_disjoint_mut([i, j])
        .map_err(|e| Error::invalid("workspace", "a slot for each block", e))?;
    Ok((a, Some(b)))
}
