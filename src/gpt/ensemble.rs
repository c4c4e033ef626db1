//! Several parameter vectors of one model that read sequences token by token, side by side, with a cache of keys and values.

use super::block::{Attend, Pass};
use super::forward::forward;
use super::workspace::Workspace;
use super::{Gpt, GptConfig};
use crate::backend::{
    self, Backend, CacheShape, Draw, DrawFrom, Drawn, EnsembleLayout, Params, WeightType,
};
use crate::error::{Error, Result};
use crate::memory;

/// The next tokens of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Index of the sequence.
    pub sequence: usize,
    /// The tokens to read after those read before; at least one.
    pub tokens: &'a [u16],
}

/// S models and what they have read of some sequences. Use it from one thread at a time.
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
    /// Creates models from these parameter vectors, at least one, with room for `sequences`. With [`WeightType::Bf16`] their matrices are
    /// rounded, but not embeddings that are looked up, norms and biases.
    ///
    /// # Errors
    /// Returns an error when there is no vector or no sequence, a vector has another length than the model's, or the device has no room.
    pub fn new(
        backend: &B,
        gpt: &Gpt,
        samples: Vec<B::Vector>,
        form: WeightType,
        sequences: usize,
    ) -> Result<Self> {
        let (c, members) = (&gpt.config, samples.len());
        if members == 0 {
            return Err(Error::out_of_range("samples", "at least one", 0));
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
            lens: memory::zeros(sequences, "sequences")?,
            ids: memory::room(room.rows, "tokens")?,
            pieces: memory::room(sequences, "sequences")?,
        })
    }

    /// Returns the number of models.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Returns the number of sequences that there is room for.
    pub fn sequences(&self) -> usize {
        self.lens.len()
    }

    /// Makes room for at least this many sequences. If there was too little, the sequences read so far are forgotten.
    ///
    /// # Errors
    /// Returns an error when the device has no room.
    pub fn make_room(&mut self, sequences: usize) -> Result<()> {
        if sequences > self.sequences() {
            let room = Room::new(&self.backend, &self.gpt.config, self.members, sequences)?;
            let lens = memory::zeros(sequences, "sequences")?;
            memory::grow(&mut self.ids, room.rows, "tokens")?;
            memory::grow(&mut self.pieces, sequences, "sequences")?;
            (self.cache, self.ws, self.tokens) = (room.cache, room.ws, room.tokens);
            self.rows = room.rows;
            self.lens = lens;
        }
        Ok(())
    }

    /// Returns how many tokens of a sequence were read, 0 to block_size.
    pub fn len(&self, sequence: usize) -> usize {
        self.lens[sequence]
    }

    /// Returns whether no token of the sequence was read.
    pub fn is_empty(&self, sequence: usize) -> bool {
        self.lens[sequence] == 0
    }

    /// Forgets a sequence.
    pub fn clear(&mut self, sequence: usize) {
        self.lens[sequence] = 0;
    }

    /// Returns the number of tokens that can be read at a time: the block's, or one per sequence if that is more.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Reads the pieces. A piece's logits do not depend on the pieces that are read with it.
    ///
    /// # Errors
    /// Returns an error when a piece is empty or longer than what the block has left, a sequence does not exist or comes twice, the pieces
    /// together are too long, or a token is out of range. The sequences are then as before.
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

    /// Copies every model's logits after the last token of each piece of the last read, (S, pieces, V), into the caller's slice.
    ///
    /// # Errors
    /// Returns an error when the slice has another length.
    pub fn logits(&self, out: &mut [f32]) -> Result<()> {
        let v = self.gpt.config.vocab_size;
        let n = self.members * self.pieces.len() * v;
        if out.len() != n {
            return Err(Error::shape("logits", [n], [out.len()]));
        }
        self.backend.download_act(&self.ws.logits, v, out)
    }

    /// Draws a token after each piece of the last read, with one uniform number in [0, 1) per piece.
    /// Returns the first model with a logit that is not finite, and the logit; the tokens are then unspecified.
    ///
    /// # Errors
    /// Returns an error when the numbers of tokens, uniform numbers, pieces and members to draw from differ, or there is no such member.
    pub fn draw(
        &self,
        out: &mut [Drawn],
        how: Draw<'_>,
        u: &[f64],
    ) -> Result<Option<(usize, f32)>> {
        let n = self.pieces.len();
        let members = match how.from {
            DrawFrom::Member(members) => members.len(),
            DrawFrom::Average | DrawFrom::Vote => n,
        };
        for (what, len) in [
            ("tokens to draw", out.len()),
            ("uniform numbers", u.len()),
            ("members to draw from", members),
        ] {
            if len != n {
                return Err(Error::shape(what, [n], [len]));
            }
        }
        if let DrawFrom::Member(members) = how.from
            && let Some(bad) = members.iter().find(|&&m| m >= self.members)
        {
            let expected = format!("below {}, the number of members", self.members);
            return Err(Error::out_of_range("member to draw from", expected, bad));
        }
        let (logits, v) = (&self.ws.logits, self.gpt.config.vocab_size);
        self.backend.draw(out, logits, v, self.members, how, u)
    }

    /// Checks the pieces and lays out their tokens.
    fn take(&mut self, pieces: &[Piece]) -> Result<()> {
        let c = &self.gpt.config;
        let longest: usize = pieces.iter().map(|p| p.tokens.len()).sum();
        for (i, p) in pieces.iter().enumerate() {
            let sequence = format_args!("sequence of piece {i}");
            let Some(&past) = self.lens.get(p.sequence) else {
                let expected = format!(
                    "below {}, the number of sequences with room",
                    self.lens.len()
                );
                return Err(Error::out_of_range(
                    sequence.to_string(),
                    expected,
                    p.sequence,
                ));
            };
            if pieces[..i].iter().any(|q| q.sequence == p.sequence) {
                return Err(Error::conflict(format!(
                    "piece {i} reads sequence {}, as an earlier piece does: join the two",
                    p.sequence
                )));
            }
            let left = c.block_size - past;
            if p.tokens.is_empty() || p.tokens.len() > left {
                return Err(Error::out_of_range(
                    format!("tokens to read of piece {i}"),
                    format!("1 to {left} (the block has {past} of {})", c.block_size),
                    p.tokens.len(),
                ));
            }
            if let Some(at) = p.tokens.iter().position(|&t| t as usize >= c.vocab_size) {
                return Err(Error::out_of_range(
                    format!("x[{i}, {at}]"),
                    format!("a token below vocab_size = {}", c.vocab_size),
                    p.tokens[at],
                ));
            }
        }
        if longest > self.rows {
            let expected = format!("at most {} together", self.rows);
            return Err(Error::out_of_range("tokens to read", expected, longest));
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

/// The buffers whose size grows with the number of sequences.
struct Room<B: Backend> {
    cache: B::Act,
    ws: Workspace<B>,
    tokens: B::Tokens,
    rows: usize,
}

impl<B: Backend> Room<B> {
    fn new(backend: &B, c: &GptConfig, members: usize, sequences: usize) -> Result<Self> {
        if sequences == 0 {
            return Err(Error::out_of_range("sequences", "at least 1", 0));
        }
        let rows = c.block_size.max(sequences);
        let too_many = || Error::out_of_range("sequences", "as many as memory holds", sequences);
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
