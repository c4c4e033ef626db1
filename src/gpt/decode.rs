//! One sequence token by token, with the keys and values of what was read kept: a KV cache.

use super::workspace::Workspace;
use super::{Gpt, GptConfig};
use crate::backend::Backend;
use crate::error::{Error, Result};

/// Keys and values of the tokens read so far by one parameter vector: (L, 2, block_size, C).
pub struct Cache<B: Backend> {
    kv: B::Buf,
    len: usize,
}

impl<B: Backend> Cache<B> {
    /// An empty cache.
    pub fn new(backend: &B, c: &GptConfig) -> Result<Self> {
        Ok(Self {
            kv: backend.zeros(c.n_layer * 2 * c.block_size * c.n_embd)?,
            len: 0,
        })
    }

    /// How many tokens were read, 0 to block_size.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

/// Buffers for reading up to block_size tokens at a time. One thread at a time; serves any number of caches in turn.
pub struct Decoder<B: Backend> {
    ws: Workspace<B>,
}

impl<B: Backend> Decoder<B> {
    /// Buffers for a model.
    pub fn new(backend: &B, gpt: &Gpt) -> Result<Self> {
        Ok(Self {
            ws: Workspace::for_decoding(backend, gpt.config())?,
        })
    }

    /// Reads `x` after what the cache holds; `out` (V) gets the logits after the last of them.
    ///
    /// # Errors
    /// When x is empty, more than what the block has left, or holds a token out of range.
    pub fn read(
        &mut self,
        backend: &B,
        gpt: &Gpt,
        params: &B::Buf,
        cache: &mut Cache<B>,
        x: &[u16],
        out: &mut [f32],
    ) -> Result<()> {
        let (v, block, past) = (gpt.config.vocab_size, gpt.config.block_size, cache.len);
        if x.is_empty() || x.len() > block - past {
            return Err(Error::invalid(
                "tokens to read",
                format!("1 to {} (the block has {past} of {block})", block - past),
                x.len(),
            ));
        }
        if out.len() != v {
            return Err(Error::shape("logits", [v], [out.len()]));
        }
        let before = x.len() - 1;
        let ws = &mut self.ws;
        ws.take(backend, &gpt.config, &gpt.layout, params, x, None, x.len())?;
        backend.batch(|| {
            if before > 0 {
                pass(ws, backend, gpt, params, cache, past, before, false)?;
                backend.upload_tokens(&x[before..], &mut ws.x)?;
            }
            pass(ws, backend, gpt, params, cache, past + before, 1, true)
        })?;
        cache.len += x.len();
        backend.download_part(&ws.logits, 0, out)
    }
}

/// Reads the workspace's first `rows` tokens after `past` cached ones; `last`: there is one, and its logits are wanted.
///
/// Of the tokens before the last, the last block gives its keys and values, and nothing comes after them.
#[allow(clippy::too_many_arguments)]
fn pass<B: Backend>(
    ws: &mut Workspace<B>,
    be: &B,
    gpt: &Gpt,
    params: &B::Buf,
    cache: &mut Cache<B>,
    past: usize,
    rows: usize,
    last: bool,
) -> Result<()> {
    let (config, layout) = (&gpt.config, &gpt.layout);
    let (c, block) = (config.n_embd, config.block_size);
    let heads = gpt.heads(rows, rows);
    let slot = &mut ws.slots[0];
    // The residual stream alternates between x_in and x_mid.
    let (wte, wpe) = (&layout.wte, &layout.wpe);
    be.embed(&mut slot.x_in, params, wte, wpe, &ws.x, rows, rows, past, c)?;
    for (l, b) in layout.blocks.iter().enumerate() {
        let stats = &mut slot.stats_1;
        be.layer_norm(&mut ws.norm, stats, &slot.x_in, params, &b.ln_1, rows, c)?;
        be.linear(&mut slot.qkv, &ws.norm, params, &b.c_attn, rows)?;
        let at = l * 2 * block * c;
        let kv = &mut cache.kv;
        be.attention_cached(&mut slot.att, kv, at, block, past, &slot.qkv, heads)?;
        if !last && l + 1 == layout.blocks.len() {
            return Ok(());
        }
        be.linear(&mut ws.proj, &slot.att, params, &b.attn_proj, rows)?;
        be.add(&mut slot.x_mid, &slot.x_in, &ws.proj, rows * c)?;
        let stats = &mut slot.stats_2;
        be.layer_norm(&mut ws.norm, stats, &slot.x_mid, params, &b.ln_2, rows, c)?;
        be.linear(&mut slot.fc, &ws.norm, params, &b.c_fc, rows)?;
        be.gelu(&mut ws.act, &slot.fc, rows * 4 * c, config.gelu)?;
        be.linear(&mut ws.proj, &ws.act, params, &b.mlp_proj, rows)?;
        be.add(&mut slot.x_in, &slot.x_mid, &ws.proj, rows * c)?;
    }
    let (norm, stats) = (&mut ws.norm, &mut ws.stats_f);
    be.layer_norm(norm, stats, &slot.x_in, params, &layout.ln_f, rows, c)?;
    be.linear(&mut ws.logits, &ws.norm, params, &gpt.head(), rows)
}
