//! Everything that a forward and backward pass writes, sized once for a batch: no allocation in a step.

use super::{GptConfig, Layout};
use crate::backend::Backend;
use crate::error::{Error, Result};

/// What one block's backward pass needs of its forward pass: 10 C floats a token.
pub(crate) struct Slot<B: Backend> {
    pub x_in: B::Vector,    // (N, C) the residual stream at the block's start
    pub x_mid: B::Vector,   // (N, C) and after attention
    pub stats_1: B::Vector, // (N, 2)
    pub stats_2: B::Vector, // (N, 2)
    pub qkv: B::Vector,     // (N, 3C)
    pub lse: B::Vector,     // (B, H, T)
    pub att: B::Vector,     // (N, C) attention's output before its projection
    pub fc: B::Vector,      // (N, 4C) before GELU; behind backward GELU's slope
}

/// Buffers for the passes of one model at batches up to (B, T).
///
/// One thread at a time. For decoding one slot serves all blocks, for prediction two; for gradients every block has its own.
pub struct Workspace<B: Backend> {
    pub(crate) rows: usize, // capacity in tokens
    pub(crate) slots: Vec<Slot<B>>,
    pub(crate) x_out: B::Vector, // (N, C) the residual stream after the last block
    pub(crate) norm: B::Vector,  // (N, C) a layer norm's output
    pub(crate) stats_f: B::Vector, // (N, 2)
    pub(crate) act: B::Vector,   // (N, 4C) after GELU
    pub(crate) proj: B::Vector,  // (N, C) in decoding, or before dropout; else empty
    pub(crate) logits: B::Vector, // (N, V), the gradient's place too; for decoding (ends, V)
    pub(crate) nll: B::Vector,   // (N)
    pub(crate) back: Option<Gradients<B>>,
    pub(crate) x: B::Tokens, // (N)
    pub(crate) y: B::Tokens, // (N) targets; for decoding each token's place in its sequence
}

/// What a workspace is for.
#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    Decoding { ends: usize },
    Prediction,
    Gradients,
}

/// Gradients of activations, one set for all blocks.
pub(crate) struct Gradients<B: Backend> {
    pub stream: B::Vector, // (N, C) of the residual stream
    pub norm: B::Vector,   // (N, C) of a layer norm's output
    pub att: B::Vector,    // (N, C)
    pub qkv: B::Vector,    // (N, 3C)
    pub fc: B::Vector,     // (N, 4C)
}

impl<B: Backend> Workspace<B> {
    /// Room for prediction on up to `b` sequences of up to `t` tokens.
    ///
    /// # Errors
    /// When the device has no room, or `t` is not 1 to the model's block size.
    pub fn for_prediction(backend: &B, c: &GptConfig, b: usize, t: usize) -> Result<Self> {
        Self::new(backend, c, b, t, Purpose::Prediction)
    }

    /// Room for gradients of batches of up to `b` sequences of up to `t` tokens.
    ///
    /// # Errors
    /// As [`Workspace::for_prediction`].
    pub fn for_gradients(backend: &B, c: &GptConfig, b: usize, t: usize) -> Result<Self> {
        Self::new(backend, c, b, t, Purpose::Gradients)
    }

    /// Room for `rows` tokens with the logits of `ends` of them.
    pub(super) fn for_decoding(
        backend: &B,
        c: &GptConfig,
        rows: usize,
        ends: usize,
    ) -> Result<Self> {
        Self::new(backend, c, rows, 1, Purpose::Decoding { ends })
    }

    fn new(backend: &B, c: &GptConfig, b: usize, t: usize, purpose: Purpose) -> Result<Self> {
        if t == 0 || t > c.block_size {
            return Err(Error::invalid(
                "sequence length",
                format!("1 to block_size = {}", c.block_size),
                t,
            ));
        }
        let n = b
            .checked_mul(t)
            .filter(|&n| n > 0 && n <= 1 << 28)
            .ok_or_else(|| Error::invalid("batch", "1 to 2^28 tokens", format!("({b}, {t})")))?;
        let width = c.n_embd;
        let zeros = |per_row: usize| backend.zeros(n * per_row);
        let count = match purpose {
            Purpose::Decoding { .. } => 1,
            Purpose::Prediction => 2.min(c.n_layer),
            Purpose::Gradients => c.n_layer,
        };
        let slots = (0..count)
            .map(|_| {
                Ok(Slot {
                    x_in: zeros(width)?,
                    x_mid: zeros(width)?,
                    stats_1: zeros(2)?,
                    stats_2: zeros(2)?,
                    qkv: zeros(3 * width)?,
                    lse: zeros(c.n_head)?,
                    att: zeros(width)?,
                    fc: zeros(4 * width)?,
                })
            })
            .collect::<Result<_>>()?;
        let back = (purpose == Purpose::Gradients)
            .then(|| {
                Ok::<_, Error>(Gradients {
                    stream: zeros(width)?,
                    norm: zeros(width)?,
                    att: zeros(width)?,
                    qkv: zeros(3 * width)?,
                    fc: zeros(4 * width)?,
                })
            })
            .transpose()?;
        Ok(Self {
            rows: n,
            slots,
            x_out: zeros(width)?,
            norm: zeros(width)?,
            stats_f: zeros(2)?,
            act: zeros(4 * width)?,
            proj: zeros(match purpose {
                Purpose::Decoding { .. } => width,
                Purpose::Gradients if c.dropout > 0.0 => width,
                _ => 0,
            })?,
            logits: match purpose {
                Purpose::Decoding { ends } => backend.zeros(ends * c.vocab_size)?,
                _ => zeros(c.vocab_size)?,
            },
            nll: zeros(1)?,
            back,
            x: backend.tokens(n)?,
            y: backend.tokens(n)?,
        })
    }

    /// Takes in a batch: x and, where there are any, targets y, both (B, T).
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn take(
        &mut self,
        backend: &B,
        c: &GptConfig,
        layout: &Layout,
        params: &B::Vector,
        x: &[u16],
        y: Option<&[u16]>,
        t: usize,
    ) -> Result<()> {
        if backend.len(params) != layout.len() {
            return Err(Error::shape(
                "parameters",
                [layout.len()],
                [backend.len(params)],
            ));
        }
        if t == 0 || t > c.block_size || x.is_empty() || !x.len().is_multiple_of(t) {
            return Err(Error::invalid(
                "batch",
                format!("sequences of 1 to {} tokens", c.block_size),
                format!("{} tokens in sequences of {t}", x.len()),
            ));
        }
        if x.len() > self.rows {
            return Err(Error::invalid(
                "batch",
                format!("at most {} tokens, the workspace's size", self.rows),
                x.len(),
            ));
        }
        let known = |what: &str, tokens: &[u16]| match tokens
            .iter()
            .position(|&v| v as usize >= c.vocab_size)
        {
            Some(i) => Err(Error::invalid(
                format!("{what}[{}, {}]", i / t, i % t),
                format!("a token below vocab_size = {}", c.vocab_size),
                tokens[i],
            )),
            None => Ok(()),
        };
        known("x", x)?;
        backend.upload_tokens(x, &mut self.x)?;
        if let Some(y) = y {
            if y.len() != x.len() {
                return Err(Error::shape("targets", [x.len()], [y.len()]));
            }
            known("y", y)?;
            backend.upload_tokens(y, &mut self.y)?;
        }
        Ok(())
    }
}
