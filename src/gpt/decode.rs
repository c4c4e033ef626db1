//! Sequences token by token, with the keys and values of what was read kept: a KV cache.

use super::params::Layout;
use super::workspace::Workspace;
use super::{Gpt, GptConfig};
use crate::backend::{Backend, Span, WeightType};
use crate::error::{Error, Result};

/// One parameter vector as decoding reads it: the matrices packed, for every row of a batch to use while they pass; the rest flat.
pub struct Weights<B: Backend> {
    config: GptConfig,
    rest: B::Vector,             // what layout.without_matrices() keeps
    layout: Layout,              // of it
    blocks: Vec<[B::Packed; 4]>, // c_attn, attn_proj, c_fc, mlp_proj
    head: B::Packed,
}

impl<B: Backend> Weights<B> {
    /// Packs a parameter vector. With [`WeightType::Bf16`] the matrices are rounded; embeddings that are looked up, norms and biases are not.
    ///
    /// # Errors
    /// When the vector has another length than the model's, or the device has no room.
    pub fn new(backend: &B, gpt: &Gpt, params: &B::Vector, form: WeightType) -> Result<Self> {
        let n = backend.len(params);
        if n != gpt.n_params() {
            return Err(Error::shape("parameters", [gpt.n_params()], [n]));
        }
        let (layout, pieces) = gpt.layout.without_matrices();
        let mut rest = vec![0.0; layout.len()];
        let mut at = 0;
        for piece in pieces {
            backend.download_part(params, piece.start, &mut rest[at..at + piece.len()])?;
            at += piece.len();
        }
        let mut buf = backend.zeros(rest.len())?;
        backend.upload(&mut buf, &rest)?;
        let pack = |linear| backend.pack(params, linear, form);
        let blocks = gpt.layout.blocks.iter().map(|b| {
            Ok([
                pack(&b.c_attn)?,
                pack(&b.attn_proj)?,
                pack(&b.c_fc)?,
                pack(&b.mlp_proj)?,
            ])
        });
        Ok(Self {
            config: gpt.config.clone(),
            rest: buf,
            layout,
            blocks: blocks.collect::<Result<_>>()?,
            head: pack(&gpt.head())?,
        })
    }
}

/// Keys and values of the tokens read so far in some sequences, by one parameter vector.
pub struct Cache<B: Backend> {
    config: GptConfig,
    kv: B::Vector, // (sequences, L, 2, block_size, C)
    lens: Vec<usize>,
}

impl<B: Backend> Cache<B> {
    /// Empty, for `sequences` of them.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn new(backend: &B, c: &GptConfig, sequences: usize) -> Result<Self> {
        let n = slot(c)
            .checked_mul(c.n_layer)
            .and_then(|n| n.checked_mul(sequences))
            .ok_or_else(|| Error::invalid("sequences", "few enough for the memory", sequences))?;
        Ok(Self {
            config: c.clone(),
            kv: backend.zeros(n)?,
            lens: vec![0; sequences],
        })
    }

    /// How many sequences it has room for.
    pub fn sequences(&self) -> usize {
        self.lens.len()
    }

    /// How many tokens of a sequence were read, 0 to block_size.
    pub fn len(&self, sequence: usize) -> usize {
        self.lens[sequence]
    }

    /// Whether nothing was read of it.
    pub fn is_empty(&self, sequence: usize) -> bool {
        self.lens[sequence] == 0
    }

    /// Forgets a sequence.
    pub fn clear(&mut self, sequence: usize) {
        self.lens[sequence] = 0;
    }
}

/// Floats of one block's keys and values.
fn slot(c: &GptConfig) -> usize {
    2 * c.block_size * c.n_embd
}

/// The next tokens of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Which sequence of the cache.
    pub sequence: usize,
    /// What to read after what the cache holds of it; at least one.
    pub tokens: &'a [u16],
}

/// Buffers for reading pieces of sequences. One thread at a time; serves any number of parameter vectors and caches in turn.
pub struct Decoder<B: Backend> {
    config: GptConfig,
    ws: Workspace<B>,
    rows: usize,
    sequences: usize,
    tokens: Vec<u16>,
    places: Vec<u16>,
    spans: Vec<Span>,
}

impl<B: Backend> Decoder<B> {
    /// Buffers for pieces of up to `sequences` sequences at a time; together they have at most [`Decoder::rows`] tokens.
    ///
    /// # Errors
    /// When `sequences` is 0 or the device has no room.
    pub fn new(backend: &B, gpt: &Gpt, sequences: usize) -> Result<Self> {
        if sequences == 0 {
            return Err(Error::invalid("sequences", "at least 1", 0));
        }
        let rows = gpt.config.block_size.max(sequences);
        Ok(Self {
            config: gpt.config.clone(),
            ws: Workspace::for_decoding(backend, &gpt.config, rows, sequences)?,
            rows,
            sequences,
            tokens: Vec::with_capacity(rows),
            places: Vec::with_capacity(rows),
            spans: Vec::with_capacity(sequences),
        })
    }

    /// Tokens that can be read at a time: the block's, or one a sequence if those are more.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Reads the pieces; `out` (pieces, V) gets the logits after the last token of each. They do not depend on what else is read with it.
    ///
    /// # Errors
    /// When weights, cache or decoder are another model's, a piece is empty or more than what the block has left, a sequence is not there or comes twice, the pieces are too many or too
    /// long together, or a token is out of range. The cache is then as before.
    pub fn read(
        &mut self,
        backend: &B,
        gpt: &Gpt,
        weights: &Weights<B>,
        cache: &mut Cache<B>,
        pieces: &[Piece],
        out: &mut [f32],
    ) -> Result<()> {
        let v = gpt.config.vocab_size;
        if out.len() != pieces.len() * v {
            return Err(Error::shape("logits", [pieces.len(), v], [out.len()]));
        }
        self.take(gpt, weights, cache, pieces)?;
        let Self {
            ws,
            tokens,
            places,
            spans,
            ..
        } = self;
        if spans.is_empty() {
            return Ok(());
        }
        backend.upload_tokens(tokens, &mut ws.x)?;
        backend.upload_tokens(places, &mut ws.y)?;
        backend.batch(gpt.work(tokens.len()), || {
            pass(ws, backend, gpt, weights, cache, tokens.len(), spans)
        })?;
        backend.download_part(&ws.logits, 0, out)?;
        for p in pieces {
            cache.lens[p.sequence] += p.tokens.len();
        }
        Ok(())
    }

    /// Checks the pieces and lays them out as rows.
    fn take(
        &mut self,
        gpt: &Gpt,
        weights: &Weights<B>,
        cache: &Cache<B>,
        pieces: &[Piece],
    ) -> Result<()> {
        let c = &gpt.config;
        for (what, of) in [
            ("weights", &weights.config),
            ("cache", &cache.config),
            ("decoder", &self.config),
        ] {
            if of != c {
                let shape = |c: &GptConfig| format!("{c:?}");
                return Err(Error::invalid(
                    format!("{what} of a model"),
                    shape(c),
                    shape(of),
                ));
            }
        }
        self.tokens.clear();
        self.places.clear();
        self.spans.clear();
        if pieces.len() > self.sequences {
            let expected = format!("at most {}", self.sequences);
            return Err(Error::invalid("pieces", expected, pieces.len()));
        }
        for (i, p) in pieces.iter().enumerate() {
            let Some(&past) = cache.lens.get(p.sequence) else {
                let expected = format!("one of the cache's {}", cache.lens.len());
                return Err(Error::invalid(
                    format!("sequence of piece {i}"),
                    expected,
                    p.sequence,
                ));
            };
            if pieces[..i].iter().any(|q| q.sequence == p.sequence) {
                let what = format!("sequence of piece {i}");
                return Err(Error::invalid(
                    what,
                    "another than those before",
                    p.sequence,
                ));
            }
            let left = c.block_size - past;
            if p.tokens.is_empty() || p.tokens.len() > left {
                return Err(Error::invalid(
                    format!("tokens to read of piece {i}"),
                    format!("1 to {left} (the block has {past} of {})", c.block_size),
                    p.tokens.len(),
                ));
            }
            if let Some(at) = p.tokens.iter().position(|&t| t as usize >= c.vocab_size) {
                return Err(Error::invalid(
                    format!("x[{i}, {at}]"),
                    format!("a token below vocab_size = {}", c.vocab_size),
                    p.tokens[at],
                ));
            }
            if self.tokens.len() + p.tokens.len() > self.rows {
                let expected = format!("at most {} together", self.rows);
                let got = self.tokens.len() + p.tokens.len();
                return Err(Error::invalid(
                    "tokens to read",
                    expected,
                    format!("{got} or more"),
                ));
            }
            self.spans.push(Span {
                row: self.tokens.len(),
                rows: p.tokens.len(),
                slot: p.sequence * c.n_layer * slot(c),
                past,
            });
            self.tokens.extend_from_slice(p.tokens);
            // A block has at most 2^16 places, so the last one's number is a u16.
            self.places
                .extend((past..past + p.tokens.len()).map(|at| at as u16));
        }
        Ok(())
    }
}

/// Reads the workspace's rows after what the cache has of their sequences; the logits after each span's last row.
///
/// Of the other rows the last block gives its keys and values, and nothing comes after them.
fn pass<B: Backend>(
    ws: &mut Workspace<B>,
    be: &B,
    gpt: &Gpt,
    w: &Weights<B>,
    cache: &mut Cache<B>,
    mut rows: usize,
    spans: &mut [Span],
) -> Result<()> {
    let (config, layout, params) = (&gpt.config, &w.layout, &w.rest);
    let (c, block) = (config.n_embd, config.block_size);
    let (heads, size) = (config.n_head, config.head_size());
    let s = &mut ws.slots[0];
    // The residual stream: x_in, x_mid, x_in, … and between attention and its projection in x_out.
    be.embed_at(
        &mut s.x_in,
        params,
        &layout.wte,
        &layout.wpe,
        &ws.x,
        &ws.y,
        rows,
        c,
    )?;
    for (l, (b, packed)) in layout.blocks.iter().zip(&w.blocks).enumerate() {
        let last = l + 1 == layout.blocks.len();
        let [c_attn, attn_proj, c_fc, mlp_proj] = packed;
        be.layer_norm(
            &mut ws.norm,
            &mut s.stats_1,
            &s.x_in,
            params,
            &b.ln_1,
            rows,
            c,
        )?;
        be.linear_packed(&mut s.qkv, &ws.norm, c_attn, params, &b.c_attn, rows)?;
        let (kv, qkv) = (&mut cache.kv, &s.qkv);
        be.attention_cached(&mut s.att, kv, block, qkv, spans, heads, size, last)?;
        if last {
            be.last_rows(&mut ws.x_out, &s.x_in, spans, c)?;
            rows = spans.len();
        }
        be.linear_packed(&mut ws.proj, &s.att, attn_proj, params, &b.attn_proj, rows)?;
        let before = if last { &ws.x_out } else { &s.x_in };
        be.add(&mut s.x_mid, before, &ws.proj, rows * c)?;
        be.layer_norm(
            &mut ws.norm,
            &mut s.stats_2,
            &s.x_mid,
            params,
            &b.ln_2,
            rows,
            c,
        )?;
        be.linear_packed(&mut s.fc, &ws.norm, c_fc, params, &b.c_fc, rows)?;
        be.gelu(&mut ws.act, &s.fc, rows * 4 * c, config.gelu)?;
        be.linear_packed(&mut ws.proj, &ws.act, mlp_proj, params, &b.mlp_proj, rows)?;
        be.add(&mut s.x_in, &s.x_mid, &ws.proj, rows * c)?;
        spans.iter_mut().for_each(|s| s.slot += slot(config));
    }
    be.layer_norm(
        &mut ws.norm,
        &mut ws.stats_f,
        &s.x_in,
        params,
        &layout.ln_f,
        rows,
        c,
    )?;
    be.linear_packed(&mut ws.logits, &ws.norm, &w.head, params, &gpt.head(), rows)
}
