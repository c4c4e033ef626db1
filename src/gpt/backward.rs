//! The backward pass: from the gradient of the logits to that of every parameter.
//!
//! What is cheap is made again rather than kept: layer norms' outputs from their statistics, GELU's from its input, which its slope replaces.

use super::{Gpt, Training, Workspace};
use crate::backend::{Backend, Linear, Norm, Then};
use crate::error::{Error, Result};

/// Where the gradient of the parameters goes, and by sequence its squares if they are asked for.
pub(super) struct Gradient<'a, B: Backend> {
    be: &'a B,
    params: &'a B::Vector,
    grad: &'a mut B::Vector,            // (n_params), overwritten
    squares: Option<&'a mut B::Vector>, // (n_params), added to
    rows: usize,
    t: usize,
}

impl<'a, B: Backend> Gradient<'a, B> {
    pub fn new(
        be: &'a B,
        params: &'a B::Vector,
        grad: &'a mut B::Vector,
        squares: Option<&'a mut B::Vector>,
        rows: usize,
        t: usize,
    ) -> Self {
        Self {
            be,
            params,
            grad,
            squares,
            rows,
            t,
        }
    }

    /// dx (N, in) from dout (N, out), and what follows it; and the layer's gradient.
    fn linear(
        &mut self,
        dx: &mut B::Vector,
        dout: &B::Vector,
        x: &B::Vector,
        layer: &Linear,
        then: Then<'_, B::Vector>,
    ) -> Result<()> {
        let (be, params, rows, t) = (self.be, self.params, self.rows, self.t);
        be.linear_backward_input(dx, dout, params, layer, rows, then)?;
        match &mut self.squares {
            None => be.linear_backward_weight(self.grad, dout, x, layer, rows),
            Some(squares) => {
                be.linear_backward_squares(self.grad, squares, dout, x, layer, rows, t)
            }
        }
    }

    /// dx (N, C) += gradient, and the norm's gradient.
    fn layer_norm(
        &mut self,
        dx: &mut B::Vector,
        dout: &B::Vector,
        x: &B::Vector,
        stats: &B::Vector,
        norm: &Norm,
        c: usize,
    ) -> Result<()> {
        let (be, params, rows, t) = (self.be, self.params, self.rows, self.t);
        match &mut self.squares {
            None => be.layer_norm_backward(dx, self.grad, dout, x, stats, params, norm, rows, c),
            Some(squares) => be.layer_norm_backward_squares(
                dx, self.grad, squares, dout, x, stats, params, norm, rows, t, c,
            ),
        }
    }
}

/// Overwrites the gradient. `ws.logits` holds the gradient of the loss in the logits.
pub(super) fn backward<B: Backend>(
    gpt: &Gpt,
    mut to: Gradient<'_, B>,
    ws: &mut Workspace<B>,
    training: Option<Training>,
) -> Result<()> {
    let (be, params, rows, t) = (to.be, to.params, to.rows, to.t);
    let (c, layout) = (gpt.config.n_embd, &gpt.layout);
    let heads = gpt.heads(rows, t);
    let d = ws
        .back
        .as_mut()
        .ok_or_else(|| Error::invalid("workspace", "one for gradients", "one for prediction"))?;

    // The head and the last norm. `norm` still holds the last norm's output.
    let (tied, head) = (gpt.config.tie_weights, gpt.head());
    match to.squares {
        // The tied table's squares wait for the embedding's part.
        Some(_) if tied => {
            be.linear_backward_input(&mut d.norm, &ws.logits, params, &head, rows, Then::Nothing)?
        }
        _ => to.linear(&mut d.norm, &ws.logits, &ws.norm, &head, Then::Nothing)?,
    }
    be.fill(&mut d.stream, 0.0)?;
    to.layer_norm(
        &mut d.stream,
        &d.norm,
        &ws.x_out,
        &ws.stats_f,
        &layout.ln_f,
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
        be.gelu_slope(&mut ws.act, &mut slot.fc, rows * 4 * c, gpt.config.gelu)?;
        let slope = Then::Times(&slot.fc);
        to.linear(&mut d.fc, up, &ws.act, &block.mlp_proj, slope)?;
        be.layer_norm(
            &mut ws.norm,
            &mut slot.stats_2,
            &slot.x_mid,
            params,
            &block.ln_2,
            rows,
            c,
        )?;
        to.linear(&mut d.norm, &d.fc, &ws.norm, &block.c_fc, Then::Nothing)?;
        to.layer_norm(
            &mut d.stream,
            &d.norm,
            &slot.x_mid,
            &slot.stats_2,
            &block.ln_2,
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
        to.linear(&mut d.att, up, &slot.att, &block.attn_proj, Then::Nothing)?;
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
        to.linear(&mut d.norm, &d.qkv, &ws.norm, &block.c_attn, Then::Nothing)?;
        to.layer_norm(
            &mut d.stream,
            &d.norm,
            &slot.x_in,
            &slot.stats_1,
            &block.ln_1,
            c,
        )?;
    }
    if let Some(drop) = gpt.dropout(training, 0) {
        be.dropout(&mut d.stream, rows * c, drop)?;
    }
    let (wte, wpe) = (&layout.wte, &layout.wpe);
    let Some(squares) = to.squares else {
        return be.embed_backward(to.grad, wte, wpe, tied, &d.stream, &ws.x, rows, t, c);
    };
    if !tied {
        let (x, dout) = (&ws.x, &d.stream);
        return be.embed_backward_squares(to.grad, squares, wte, wpe, None, dout, x, rows, t, c);
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
    let head = Some((&ws.logits, &ws.norm));
    be.embed_backward_squares(
        to.grad, squares, wte, wpe, head, &d.stream, &ws.x, rows, t, c,
    )
}
