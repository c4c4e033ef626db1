//! All buffers that a forward and backward pass writes, sized once for a batch: a step does not allocate.

use super::{Gpt, GptConfig, TokenBatch};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::memory;

/// What one block's backward pass needs of its forward pass: 10 C floats per token.
pub(crate) struct Slot<B: Backend> {
    pub x_in: B::Act,    // (N, C) the residual stream at the block's start
    pub x_mid: B::Act,   // (N, C) and after attention
    pub stats_1: B::Act, // (N, 2)
    pub stats_2: B::Act, // (N, 2)
    pub qkv: B::Act,     // (N, 3C)
    pub lse: B::Act,     // (N, H), as attention lays it out
    pub att: B::Act,     // (N, C) attention's output before its projection
    pub fc: B::Act,      // (N, 4C) before GELU; behind backward GELU's slope
}

/// Buffers for the passes of one model at batches up to (B, T).
///
/// Use it from one thread at a time. For gradients every block has its own slot; otherwise one serves all.
pub struct Workspace<B: Backend> {
    pub(crate) rows: usize, // capacity in tokens
    pub(crate) slots: Vec<Slot<B>>,
    pub(crate) x_out: B::Act, // (N, C) the residual stream after the last block
    pub(crate) norm: B::Act,  // (N, C) a layer norm's output
    pub(crate) stats_f: B::Act, // (N, 2)
    pub(crate) act: B::Act,   // (N, 4C) after GELU
    pub(crate) logits: B::Act, // (N, V), the gradient's place too; for decoding (ends, V)
    pub(crate) nll: B::Act,   // (N, 1)
    pub(crate) back: Option<Gradients<B>>,
    pub(crate) x: B::Tokens,      // (N)
    pub(crate) y: B::Tokens,      // (N) targets
    pub(crate) record: B::Record, // the pass's scalars
    ids: Vec<u32>,                // (N) tokens on their way to the device
}

/// What a workspace is for.
#[derive(Clone, Copy, PartialEq)]
enum WorkspaceKind {
    Decoding { ends: usize },
    Prediction,
    Gradients,
}

/// Gradients of activations, one set for all blocks.
pub(crate) struct Gradients<B: Backend> {
    pub stream: B::Act, // (N, C) of the residual stream
    pub norm: B::Act, // (N, C) of a layer norm's output; what is left of the stream's where some is dropped
    pub att: B::Act,  // (N, C)
    pub qkv: B::Act,  // (N, 3C)
    pub fc: B::Act,   // (N, 4C)
}

impl<B: Backend> Workspace<B> {
    /// Creates room for prediction on up to `b` sequences of up to `t` tokens.
    ///
    /// # Errors
    /// Returns an error when the device has no room, or `t` is not 1 to the model's block size.
    pub fn for_prediction(backend: &B, c: &GptConfig, b: usize, t: usize) -> Result<Self> {
        Self::for_windows(backend, c, b, t, WorkspaceKind::Prediction)
    }

    /// Creates room for gradients of batches of up to `b` sequences of up to `t` tokens.
    ///
    /// # Errors
    /// Fails as [`Workspace::for_prediction`] does.
    pub fn for_gradients(backend: &B, c: &GptConfig, b: usize, t: usize) -> Result<Self> {
        Self::for_windows(backend, c, b, t, WorkspaceKind::Gradients)
    }

    fn for_windows(
        backend: &B,
        c: &GptConfig,
        b: usize,
        t: usize,
        kind: WorkspaceKind,
    ) -> Result<Self> {
        if t == 0 || t > c.block_size {
            return Err(Error::out_of_range(
                "sequence length",
                format!("1 to block_size = {}", c.block_size),
                t,
            ));
        }
        let n = b
            .checked_mul(t)
            .filter(|&n| n > 0 && n <= 1 << 28)
            .ok_or_else(|| {
                Error::out_of_range("batch", "1 to 2^28 tokens", format!("({b}, {t})"))
            })?;
        Self::new(backend, c, n, kind)
    }

    /// Creates room for `rows` tokens with the logits of `ends` of them.
    pub(super) fn for_decoding(
        backend: &B,
        c: &GptConfig,
        rows: usize,
        ends: usize,
    ) -> Result<Self> {
        Self::new(backend, c, rows, WorkspaceKind::Decoding { ends })
    }

    fn new(backend: &B, c: &GptConfig, n: usize, kind: WorkspaceKind) -> Result<Self> {
        let width = c.n_embd;
        let act = |width: usize| backend.act(n, width);
        let gradients = kind == WorkspaceKind::Gradients;
        let slots = (0..if gradients { c.n_layer } else { 1 })
            .map(|_| {
                Ok(Slot {
                    x_in: act(width)?,
                    x_mid: act(width)?,
                    stats_1: act(2)?,
                    stats_2: act(2)?,
                    qkv: act(3 * width)?,
                    lse: act(c.n_head)?,
                    att: act(width)?,
                    fc: act(4 * width)?,
                })
            })
            .collect::<Result<_>>()?;
        let back = gradients
            .then(|| {
                Ok::<_, Error>(Gradients {
                    stream: act(width)?,
                    norm: act(width)?,
                    att: act(width)?,
                    qkv: act(3 * width)?,
                    fc: act(4 * width)?,
                })
            })
            .transpose()?;
        let (ends, tokens) = match kind {
            WorkspaceKind::Decoding { ends } => (ends, 0),
            _ => (n, n),
        };
        Ok(Self {
            rows: n,
            slots,
            x_out: act(width)?,
            norm: act(width)?,
            stats_f: act(2)?,
            act: act(4 * width)?,
            logits: backend.act(ends, c.vocab_size)?,
            nll: backend.act(tokens, 1)?,
            back,
            x: backend.tokens(tokens)?,
            y: backend.tokens(tokens)?,
            record: backend.record()?,
            ids: memory::room(tokens, "tokens")?,
        })
    }

    /// Copies in x, and y if `with_targets`, both (B, T).
    pub(super) fn take(
        &mut self,
        backend: &B,
        gpt: &Gpt,
        params: &B::Vector,
        batch: &TokenBatch<'_>,
        with_targets: bool,
    ) -> Result<()> {
        let (c, n, TokenBatch { x, y, t, .. }) = (&gpt.config, gpt.n_params(), *batch);
        if backend.len(params) != n {
            return Err(Error::shape("parameters", [n], [backend.len(params)]));
        }
        if t == 0 || t > c.block_size || x.is_empty() || !x.len().is_multiple_of(t) {
            return Err(Error::out_of_range(
                "batch",
                format!("sequences of 1 to {} tokens", c.block_size),
                format!("{} tokens in sequences of {t}", x.len()),
            ));
        }
        if x.len() > self.rows {
            return Err(Error::out_of_range(
                "batch",
                format!("at most {} tokens, the workspace's size", self.rows),
                x.len(),
            ));
        }
        wide(&mut self.ids, "x", x, t, c.vocab_size)?;
        backend.upload_tokens(&mut self.x, &self.ids, &[])?;
        if with_targets {
            if y.len() != x.len() {
                return Err(Error::shape("targets", [x.len()], [y.len()]));
            }
            wide(&mut self.ids, "y", y, t, c.vocab_size)?;
            backend.upload_tokens(&mut self.y, &self.ids, &[])?;
        }
        Ok(())
    }
}

/// Converts tokens (B, T) for the device, if every one is below `v`.
fn wide(ids: &mut Vec<u32>, what: &str, tokens: &[u16], t: usize, v: usize) -> Result<()> {
    if let Some(i) = tokens.iter().position(|&id| id as usize >= v) {
        return Err(Error::out_of_range(
            format!("{what}[{}, {}]", i / t, i % t),
            format!("a token below vocab_size = {v}"),
            tokens[i],
        ));
    }
    ids.clear();
    ids.extend(tokens.iter().map(|&id| u32::from(id)));
    Ok(())
}
