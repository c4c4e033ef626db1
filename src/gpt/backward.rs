//! The backward pass: from the gradient of the logits to that of every parameter.
//!
//! What is cheap is recomputed rather than kept: the outputs of layer norms from their statistics, and GELU's from its input, which its
//! slope then overwrites.

use super::block::Pass;
use super::workspace::Workspace;
use crate::backend::{
    Attended, Backend, Dropout, Epilogue, HeadGrad, Linear, Norm, Normed, Params, WeightGrad, Write,
};
use crate::error::{Error, Result};

/// A backward pass and the destination of the parameters' gradient.
pub(super) struct Backward<'a, B: Backend> {
    pub pass: &'a Pass<'a, B>,
    pub params: &'a B::Vector,
    pub to: WeightGrad<'a, B>,
}

impl<B: Backend> Backward<'_, B> {
    /// Computes dx (N, in) from dout (N, out) with its epilogue, and the layer's gradient.
    fn linear(
        &mut self,
        dx: &mut B::Act,
        dout: &B::Act,
        x: &B::Act,
        layer: &Linear,
        epilogue: Epilogue<'_, B>,
    ) -> Result<()> {
        let (be, rows) = (self.pass.be, self.pass.rows);
        be.linear_backward_input(dx, dout, self.params, layer, rows, epilogue)?;
        be.linear_backward_weight(self.to.reborrow(), dout, x, layer)
    }

    /// Computes the input's gradient into dx (N, C), and the gradient of the norm's parameters.
    fn layer_norm(
        &mut self,
        dx: &mut B::Act,
        write: Write,
        of: Normed<'_, B::Act>,
        norm: &Norm,
    ) -> Result<()> {
        let to = self.to.reborrow();
        (self.pass.be).layer_norm_backward(dx, write, to, of, self.params, norm)
    }

    /// Applies dropout to the residual stream's gradient (N, C).
    fn kept<'b>(
        &self,
        stream: &'b B::Act,
        scratch: &'b mut B::Act,
        dropout: Option<Dropout>,
    ) -> Result<&'b B::Act> {
        let Some(dropout) = dropout else {
            return Ok(stream);
        };
        let n = self.pass.rows * self.pass.gpt.config.n_embd;
        self.pass.be.dropout(scratch, stream, n, dropout)?;
        Ok(scratch)
    }

    /// Overwrites the gradient. `ws.logits` holds the gradient of the loss in the logits.
    pub fn run(mut self, ws: &mut Workspace<B>) -> Result<()> {
        let (pass, params) = (self.pass, Params::Flat(self.params));
        let (be, gpt, rows) = (pass.be, pass.gpt, pass.rows);
        let layout = &gpt.layout;
        let d = ws.back.as_mut().ok_or_else(|| {
            Error::conflict("the workspace is for prediction alone: make one for gradients")
        })?;

        // The head and the last norm. `norm` still holds the last norm's output.
        let (tied, head) = (gpt.config.tie_weights, gpt.head());
        // The tied table's squares wait for the embedding's part.
        let head_waits = tied && self.to.squares.is_some();
        if head_waits {
            let (dx, dout) = (&mut d.norm, &ws.logits);
            be.linear_backward_input(dx, dout, self.params, &head, rows, Epilogue::None)?;
        } else {
            self.linear(&mut d.norm, &ws.logits, &ws.norm, &head, Epilogue::None)?;
        }
        let of = Normed {
            dout: &d.norm,
            x: &ws.x_out,
            stats: &ws.stats_f,
        };
        self.layer_norm(&mut d.stream, Write::Over, of, &layout.ln_f)?;

        for l in (0..layout.blocks.len()).rev() {
            self.block(l, ws)?;
        }
        let Some(d) = &mut ws.back else { return Ok(()) };
        let head = match (tied, head_waits) {
            (false, _) => HeadGrad::Own,
            (true, false) => HeadGrad::There,
            (true, true) => {
                let (norm, stats) = (&mut ws.norm, &mut ws.stats_f);
                be.layer_norm(norm, stats, &ws.x_out, params, &layout.ln_f, rows)?;
                HeadGrad::Missing {
                    dlogits: &ws.logits,
                    input: &ws.norm,
                }
            }
        };
        let dout = self.kept(&d.stream, &mut d.norm, pass.dropout(0))?;
        be.embed_backward(self.to.reborrow(), &layout.tables, head, dout, &ws.x)
    }

    /// Goes back through one block: the stream's gradient passes by the MLP and through it, then attention in the same way.
    fn block(&mut self, l: usize, ws: &mut Workspace<B>) -> Result<()> {
        let (pass, params) = (self.pass, Params::Flat(self.params));
        let (be, gpt, rows) = (pass.be, pass.gpt, pass.rows);
        let (block, slot, site) = (&gpt.layout.blocks[l], &mut ws.slots[l], 1 + 3 * l);
        let Some(d) = &mut ws.back else { return Ok(()) };

        let up = self.kept(&d.stream, &mut d.norm, pass.dropout(site + 2))?;
        let n = rows * 4 * gpt.config.n_embd;
        be.gelu_slope(&mut ws.act, &mut slot.fc, n, gpt.config.gelu)?;
        let slope = Epilogue::Mul(&slot.fc);
        self.linear(&mut d.fc, up, &ws.act, &block.mlp_proj, slope)?;
        let (norm, x) = (&mut ws.norm, &slot.x_mid);
        be.layer_norm(norm, &mut slot.stats_2, x, params, &block.ln_2, rows)?;
        self.linear(&mut d.norm, &d.fc, norm, &block.c_fc, Epilogue::None)?;
        let of = Normed {
            dout: &d.norm,
            x,
            stats: &slot.stats_2,
        };
        self.layer_norm(&mut d.stream, Write::Add, of, &block.ln_2)?;

        let up = self.kept(&d.stream, &mut d.norm, pass.dropout(site + 1))?;
        self.linear(&mut d.att, up, &slot.att, &block.attn_proj, Epilogue::None)?;
        let of = Attended {
            dout: &d.att,
            out: &slot.att,
            lse: &slot.lse,
            qkv: &slot.qkv,
        };
        let shape = pass.attention(self.to.t);
        be.attention_backward(&mut d.qkv, of, shape, pass.dropout(site))?;
        let (norm, x) = (&mut ws.norm, &slot.x_in);
        be.layer_norm(norm, &mut slot.stats_1, x, params, &block.ln_1, rows)?;
        self.linear(&mut d.norm, &d.qkv, norm, &block.c_attn, Epilogue::None)?;
        let of = Normed {
            dout: &d.norm,
            x,
            stats: &slot.stats_1,
        };
        self.layer_norm(&mut d.stream, Write::Add, of, &block.ln_1)
    }
}
