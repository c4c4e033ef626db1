//! The backward pass: from the gradient of the logits to that of every parameter.
//!
//! What is cheap is made again rather than kept: layer norms' outputs from their statistics, GELU's from its input.

use super::{Gpt, Training, Workspace};
use crate::backend::Backend;
use crate::error::{Error, Result};

/// Overwrites `grad` (n_params). `ws.logits` holds the gradient of the loss in the logits.
#[allow(clippy::too_many_arguments)]
pub(super) fn backward<B: Backend>(
    gpt: &Gpt,
    be: &B,
    params: &B::Buf,
    rows: usize,
    t: usize,
    ws: &mut Workspace<B>,
    training: Option<Training>,
    grad: &mut B::Buf,
) -> Result<()> {
    let (c, layout) = (gpt.config.n_embd, &gpt.layout);
    let heads = gpt.heads(rows, t);
    let d = ws
        .back
        .as_mut()
        .ok_or_else(|| Error::invalid("workspace", "one for gradients", "one for prediction"))?;

    // The head and the last norm. `norm` still holds the last norm's output.
    be.linear_backward(
        &mut d.norm,
        grad,
        &ws.logits,
        &ws.norm,
        params,
        &gpt.head(),
        rows,
    )?;
    be.fill(&mut d.stream, 0.0)?;
    be.layer_norm_backward(
        &mut d.stream,
        grad,
        &d.norm,
        &ws.x_out,
        &ws.stats_f,
        params,
        &layout.ln_f,
        rows,
        c,
    )?;

    for (l, block) in layout.blocks.iter().enumerate().rev() {
        let slot = &mut ws.slots[l];
        let site = 1 + 3 * l;

        // The MLP: the stream's gradient passes by it and through it.
        let up = match gpt.dropout(training, site + 2) {
            Some(drop) => {
                be.copy(&mut ws.proj, &d.stream)?;
                be.dropout(&mut ws.proj, rows * c, drop)?;
                &ws.proj
            }
            None => &d.stream,
        };
        be.gelu(&mut ws.act, &slot.fc, rows * 4 * c, gpt.config.gelu)?;
        be.linear_backward(&mut d.fc, grad, up, &ws.act, params, &block.mlp_proj, rows)?;
        be.gelu_backward(&mut d.fc, &slot.fc, rows * 4 * c, gpt.config.gelu)?;
        be.layer_norm(
            &mut ws.norm,
            &mut slot.stats_2,
            &slot.x_mid,
            params,
            &block.ln_2,
            rows,
            c,
        )?;
        be.linear_backward(
            &mut d.norm,
            grad,
            &d.fc,
            &ws.norm,
            params,
            &block.c_fc,
            rows,
        )?;
        be.layer_norm_backward(
            &mut d.stream,
            grad,
            &d.norm,
            &slot.x_mid,
            &slot.stats_2,
            params,
            &block.ln_2,
            rows,
            c,
        )?;

        // Attention.
        let up = match gpt.dropout(training, site + 1) {
            Some(drop) => {
                be.copy(&mut ws.proj, &d.stream)?;
                be.dropout(&mut ws.proj, rows * c, drop)?;
                &ws.proj
            }
            None => &d.stream,
        };
        be.linear_backward(
            &mut d.att,
            grad,
            up,
            &slot.att,
            params,
            &block.attn_proj,
            rows,
        )?;
        let drop = gpt.dropout(training, site);
        be.attention_backward(
            &mut d.qkv, &d.att, &slot.att, &slot.lse, &slot.qkv, heads, drop,
        )?;
        be.layer_norm(
            &mut ws.norm,
            &mut slot.stats_1,
            &slot.x_in,
            params,
            &block.ln_1,
            rows,
            c,
        )?;
        be.linear_backward(
            &mut d.norm,
            grad,
            &d.qkv,
            &ws.norm,
            params,
            &block.c_attn,
            rows,
        )?;
        be.layer_norm_backward(
            &mut d.stream,
            grad,
            &d.norm,
            &slot.x_in,
            &slot.stats_1,
            params,
            &block.ln_1,
            rows,
            c,
        )?;
    }
    if let Some(drop) = gpt.dropout(training, 0) {
        be.dropout(&mut d.stream, rows * c, drop)?;
    }
    be.embed_backward(grad, &layout.wte, &layout.wpe, &d.stream, &ws.x, rows, t, c)
}
