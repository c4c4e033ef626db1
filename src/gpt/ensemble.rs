//! Several parameter vectors of one model that read sequences token by token, side by side, with the keys and values of what was read kept.

use super::block::{Attend, Pass};
use super::forward::forward;
use super::workspace::Workspace;
use super::{Gpt, GptConfig};
use crate::backend::{self, Backend, CacheShape, Draw, Drawn, EnsembleLayout, Params, WeightType};
use crate::error::{Error, Result};

/// The next tokens of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Which sequence.
    pub sequence: usize,
    /// What to read after what was read of it; at least one.
    pub tokens: &'a [u16],
}

/// S models and what they have read of some sequences. One thread at a time.
pub struct Ensemble<B: Backend> {
    backend: B,
    gpt: Gpt,
    members: usize, // S
    weights: B::Ensemble,
    cache: B::Act, // (S, sequences, L, 2, block_size, C)
    ws: Workspace<B>,
    tokens: B::Tokens,
    rows: usize,      // tokens that are read at a time
    lens: Vec<usize>, // of each sequence, what was read
    ids: Vec<u32>,
    pieces: Vec<backend::Piece>,
}

impl<B: Backend> Ensemble<B> {
    /// Models of these parameter vectors, at least one, with room for `sequences`. With [`WeightType::Bf16`] their matrices are rounded;
    /// embeddings that are looked up, norms and biases are not.
    ///
    /// # Errors
    /// When there is no vector or no sequence, a vector has another length than the model's, or the device has no room.
    pub fn new(
        backend: &B,
        gpt: &Gpt,
        samples: Vec<B::Vector>,
        form: WeightType,
        sequences: usize,
    ) -> Result<Self> {
        let (c, members) = (&gpt.config, samples.len());
        if members == 0 {
            return Err(Error::invalid("samples", "at least one", 0));
        }
        for params in &samples {
            gpt.check_len(backend, "parameters", params)?;
        }
        let blocks = gpt.layout.blocks.iter();
        let layers =
            blocks.flat_map(|b| [&b.c_attn, &b.attn_proj, &b.c_fc, &b.mlp_proj].map(Clone::clone));
        let layers: Vec<_> = layers.chain([gpt.head()]).collect();
        let layout = EnsembleLayout {
            layers: &layers,
            flat: &gpt.layout.without_matrices(),
            form,
        };
        let room = Room::new(backend, c, members, sequences)?;
        Ok(Self {
            backend: backend.clone(),
            gpt: gpt.clone(),
            members,
            weights: backend.ensemble(samples, layout)?,
            cache: room.cache,
            ws: room.ws,
            tokens: room.tokens,
            rows: room.rows,
            lens: vec![0; sequences],
            ids: Vec::with_capacity(room.rows),
            pieces: Vec::with_capacity(sequences),
        })
    }

    /// How many models there are.
    pub fn members(&self) -> usize {
        self.members
    }

    /// How many sequences there is room for.
    pub fn sequences(&self) -> usize {
        self.lens.len()
    }

    /// Makes room for at least so many sequences. Those that were there are forgotten if there was not enough.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn make_room(&mut self, sequences: usize) -> Result<()> {
        if sequences > self.sequences() {
            let room = Room::new(&self.backend, &self.gpt.config, self.members, sequences)?;
            (self.cache, self.ws, self.tokens) = (room.cache, room.ws, room.tokens);
            self.rows = room.rows;
            self.lens = vec![0; sequences];
        }
        Ok(())
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

    /// Tokens that can be read at a time: the block's, or one per sequence if those are more.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Reads the pieces. A piece's logits do not depend on what else is read with it.
    ///
    /// # Errors
    /// When a piece is empty or more than what the block has left, a sequence is not there or comes twice, the pieces are too long together,
    /// or a token is out of range. What was read is then as before.
    pub fn read(&mut self, pieces: &[Piece]) -> Result<()> {
        self.take(pieces)?;
        if pieces.is_empty() {
            return Ok(());
        }
        let (be, gpt, s) = (&self.backend, &self.gpt, self.members);
        be.upload_tokens(&mut self.tokens, &self.ids, &self.pieces)?;
        let pass = Pass {
            be,
            gpt,
            params: Params::Ensemble(&self.weights),
            rows: s * self.ids.len(),
            training: None,
        };
        let attend = Attend::Cache {
            cache: &mut self.cache,
            shape: CacheShape {
                members: s,
                sequences: self.lens.len(),
                layers: gpt.config.n_layer,
                layer: 0,
                block: gpt.config.block_size,
                h: gpt.config.n_head,
                size: gpt.config.head_size(),
            },
            pieces: &self.tokens,
            ends: s * pieces.len(),
        };
        let ws = &mut self.ws;
        // Of several members each operation is split, so it is to find the threads awake.
        let work = if s > 1 {
            usize::MAX
        } else {
            gpt.work(pass.rows)
        };
        be.host().batch(work, || forward(&pass, ws, attend))?;
        for p in pieces {
            self.lens[p.sequence] += p.tokens.len();
        }
        Ok(())
    }

    /// Every model's logits after the last token of each piece read last: (S, pieces, V), into the caller's slice.
    ///
    /// # Errors
    /// When the slice has another length.
    pub fn logits(&self, out: &mut [f32]) -> Result<()> {
        let v = self.gpt.config.vocab_size;
        let n = self.members * self.pieces.len() * v;
        if out.len() != n {
            return Err(Error::shape("logits", [n], [out.len()]));
        }
        self.backend.download_act(&self.ws.logits, v, out)
    }

    /// Draws a token after each piece read last from the models' average prediction, with a uniform number of [0, 1) each. Returns the first
    /// model with a logit that is not finite, and the logit; the tokens are then of no use.
    ///
    /// # Errors
    /// When there are not as many tokens or numbers as pieces.
    pub fn draw(&self, out: &mut [Drawn], how: Draw, u: &[f64]) -> Result<Option<(usize, f32)>> {
        let n = self.pieces.len();
        for (what, len) in [("tokens to draw", out.len()), ("uniform numbers", u.len())] {
            if len != n {
                return Err(Error::shape(what, [n], [len]));
            }
        }
        let (logits, v) = (&self.ws.logits, self.gpt.config.vocab_size);
        self.backend.draw(out, logits, v, self.members, how, u)
    }

    /// Checks the pieces and lays their tokens out.
    fn take(&mut self, pieces: &[Piece]) -> Result<()> {
        let c = &self.gpt.config;
        let longest: usize = pieces.iter().map(|p| p.tokens.len()).sum();
        for (i, p) in pieces.iter().enumerate() {
            let sequence = format_args!("sequence of piece {i}");
            let Some(&past) = self.lens.get(p.sequence) else {
                let expected = format!("one of the {} that there is room for", self.lens.len());
                return Err(Error::invalid(sequence.to_string(), expected, p.sequence));
            };
            if pieces[..i].iter().any(|q| q.sequence == p.sequence) {
                let expected = "another than those before";
                return Err(Error::invalid(sequence.to_string(), expected, p.sequence));
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
        }
        if longest > self.rows {
            let expected = format!("at most {} together", self.rows);
            return Err(Error::invalid("tokens to read", expected, longest));
        }
        self.ids.clear();
        self.pieces.clear();
        for p in pieces {
            self.ids.extend(p.tokens.iter().map(|&id| u32::from(id)));
            self.pieces.push(backend::Piece {
                sequence: p.sequence,
                len: p.tokens.len(),
                past: self.lens[p.sequence],
            });
        }
        Ok(())
    }
}

/// What an ensemble has to be as large as its sequences are many.
struct Room<B: Backend> {
    cache: B::Act,
    ws: Workspace<B>,
    tokens: B::Tokens,
    rows: usize,
}

impl<B: Backend> Room<B> {
    fn new(backend: &B, c: &GptConfig, members: usize, sequences: usize) -> Result<Self> {
        if sequences == 0 {
            return Err(Error::invalid("sequences", "at least 1", 0));
        }
        let rows = c.block_size.max(sequences);
        let too_many = || Error::invalid("sequences", "few enough for the memory", sequences);
        let total = |n: usize| n.checked_mul(members).ok_or_else(too_many);
        let cached = (2 * c.n_layer * c.block_size).checked_mul(sequences);
        Ok(Self {
            cache: backend.act(total(cached.ok_or_else(too_many)?)?, c.n_embd)?,
            ws: Workspace::for_decoding(backend, c, total(rows)?, total(sequences)?)?,
            tokens: backend.tokens(rows)?,
            rows,
        })
    }
}
