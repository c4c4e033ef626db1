//! The forward pass: tokens to logits, leaving in the workspace what the backward pass needs.

use super::workspace::Slot;
use super::{Gpt, Training, Workspace};
use crate::backend::{Backend, Dropout, Linear, Then};
use crate::error::{Error, Result};

/// Logits (N, V) of the workspace's tokens, N = `rows` in sequences of `t`.
pub(super) fn forward<B: Backend>(
    gpt: &Gpt,
    be: &B,
    params: &B::Vector,
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
        be.linear(
            &mut slot.qkv,
            &ws.norm,
            params,
            &block.c_attn,
            rows,
            Then::Nothing,
        )?;
        let drop = gpt.dropout(training, site);
        be.attention(&mut slot.att, &mut slot.lse, &slot.qkv, heads, drop)?;
        let (layer, drop) = (&block.attn_proj, gpt.dropout(training, site + 1));
        let (out, before) = (&mut slot.x_mid, &slot.x_in);
        residual(
            be,
            out,
            before,
            &mut ws.proj,
            &slot.att,
            params,
            layer,
            rows,
            drop,
        )?;

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
        let gelu = Then::Gelu(&mut ws.act, gpt.config.gelu);
        be.linear(&mut slot.fc, &ws.norm, params, &block.c_fc, rows, gelu)?;
        let out = match next {
            Some(next) if l + 1 < n_layer => &mut next.x_in,
            _ => &mut ws.x_out,
        };
        let (layer, drop) = (&block.mlp_proj, gpt.dropout(training, site + 2));
        residual(
            be,
            out,
            &slot.x_mid,
            &mut ws.proj,
            &ws.act,
            params,
            layer,
            rows,
            drop,
        )?;
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
    be.linear(
        &mut ws.logits,
        &ws.norm,
        params,
        &gpt.head(),
        rows,
        Then::Nothing,
    )
}

/// out (N, C) = before + dropout(linear(x)); `proj` (N, C) is scratch for what is dropped.
#[allow(clippy::too_many_arguments)]
fn residual<B: Backend>(
    be: &B,
    out: &mut B::Vector,
    before: &B::Vector,
    proj: &mut B::Vector,
    x: &B::Vector,
    params: &B::Vector,
    layer: &Linear,
    rows: usize,
    drop: Option<Dropout>,
) -> Result<()> {
    let Some(drop) = drop else {
        return be.linear(out, x, params, layer, rows, Then::Add(before));
    };
    let n = rows * layer.n_out;
    be.linear(proj, x, params, layer, rows, Then::Nothing)?;
    be.dropout(proj, n, drop)?;
    be.add(out, before, proj, n)
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
