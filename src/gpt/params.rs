//! One flat vector of parameters: where each tensor lies in it, by nanoGPT's names.

use super::GptConfig;
use crate::backend::{Linear, Norm, Tables};
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Stream, StreamTag};
use std::ops::Range;

/// One named tensor of the flat vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// nanoGPT's name, such as `transformer.h.0.attn.c_attn.weight`.
    pub name: String,
    /// The shape: (out, in) for a matrix, (n) for a gain or bias.
    pub shape: Vec<usize>,
    /// The range of the flat vector.
    pub range: Range<usize>,
}

/// The ranges of the tensors of one block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub ln_1: Norm,
    pub c_attn: Linear,    // (3C, C)
    pub attn_proj: Linear, // (C, C)
    pub ln_2: Norm,
    pub c_fc: Linear,     // (4C, C)
    pub mlp_proj: Linear, // (C, 4C)
}

/// The range of every tensor of a model in the flat vector, in the order of nanoGPT's `named_parameters`.
///
/// A token embedding that is also the head's weight (tied) is listed once; if it is not, `lm_head.weight` is the last tensor.
#[derive(Clone, Debug)]
pub struct Layout {
    tensors: Vec<Tensor>,
    pub(crate) tables: Tables, // (V, C), (block_size, C)
    pub(crate) blocks: Vec<Block>,
    pub(crate) ln_f: Norm,
    pub(crate) head: Range<usize>, // (V, C): the token embedding's where tied
    len: usize,
}

struct Builder {
    tensors: Vec<Tensor>,
    at: usize,
    bias: bool,
}

impl Builder {
    fn add(&mut self, name: String, shape: &[usize]) -> Range<usize> {
        let range = self.at..self.at + shape.iter().product::<usize>();
        self.at = range.end;
        self.tensors.push(Tensor {
            name,
            shape: shape.to_vec(),
            range: range.clone(),
        });
        range
    }

    fn norm(&mut self, name: String, n: usize) -> Norm {
        Norm {
            weight: self.add(format!("{name}.weight"), &[n]),
            bias: self.bias.then(|| self.add(format!("{name}.bias"), &[n])),
        }
    }

    fn linear(&mut self, name: String, n_out: usize, n_in: usize) -> Linear {
        Linear {
            weight: self.add(format!("{name}.weight"), &[n_out, n_in]),
            bias: self
                .bias
                .then(|| self.add(format!("{name}.bias"), &[n_out])),
            n_in,
            n_out,
        }
    }
}

impl Layout {
    /// Creates the layout of a shape.
    pub fn new(c: &GptConfig) -> Self {
        let mut b = Builder {
            tensors: Vec::new(),
            at: 0,
            bias: c.bias,
        };
        let n = c.n_embd;
        let wte = b.add("transformer.wte.weight".into(), &[c.vocab_size, n]);
        let wpe = b.add("transformer.wpe.weight".into(), &[c.block_size, n]);
        let blocks = (0..c.n_layer)
            .map(|l| {
                let h = format!("transformer.h.{l}");
                Block {
                    ln_1: b.norm(format!("{h}.ln_1"), n),
                    c_attn: b.linear(format!("{h}.attn.c_attn"), 3 * n, n),
                    attn_proj: b.linear(format!("{h}.attn.c_proj"), n, n),
                    ln_2: b.norm(format!("{h}.ln_2"), n),
                    c_fc: b.linear(format!("{h}.mlp.c_fc"), 4 * n, n),
                    mlp_proj: b.linear(format!("{h}.mlp.c_proj"), n, 4 * n),
                }
            })
            .collect();
        let ln_f = b.norm("transformer.ln_f".into(), n);
        let head = if c.tie_weights {
            wte.clone()
        } else {
            b.add("lm_head.weight".into(), &[c.vocab_size, n])
        };
        Self {
            tensors: b.tensors,
            tables: Tables { wte, wpe, c: n },
            blocks,
            ln_f,
            head,
            len: b.at,
        }
    }

    /// Returns the matrices of the blocks and of an untied head, in order: each one's range of the flat vector and its number of inputs.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = (Range<usize>, usize)> + '_ {
        let layers = |b: &Block| {
            [&b.c_attn, &b.attn_proj, &b.c_fc, &b.mlp_proj].map(|l| (l.weight.clone(), l.n_in))
        };
        let own = self.head != self.tables.wte;
        let head = own.then(|| (self.head.clone(), self.tables.c));
        self.blocks.iter().flat_map(layers).chain(head)
    }

    /// Returns the ranges of the flat vector that are no matrix of a block or of an untied head, in order: tables that are looked up, gains
    /// and biases.
    pub(crate) fn without_matrices(&self) -> Vec<Range<usize>> {
        let matrices: Vec<usize> = self.matrices().map(|(range, _)| range.start).collect();
        let tensors = self.tensors.iter().map(|t| t.range.clone());
        tensors.filter(|r| !matrices.contains(&r.start)).collect()
    }

    /// Returns the number of parameters (a tied head counted once, positions included).
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns `false`: a model has parameters.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the tensors, in order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Returns the tensor of that name.
    ///
    /// # Errors
    /// Returns an error when there is none.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors
            .iter()
            .find(|t| t.name == name)
            .ok_or_else(|| Error::out_of_range("tensor", "a name of the model's parameters", name))
    }

    /// Returns the tensor that element `index` belongs to.
    pub fn owner(&self, index: usize) -> Option<&Tensor> {
        let i = self.tensors.partition_point(|t| t.range.end <= index);
        self.tensors.get(i)
    }

    /// Checks that a flat vector has the right length.
    ///
    /// # Errors
    /// Returns an error when it does not.
    pub fn check(&self, flat: &[f32]) -> Result<()> {
        self.check_len(flat.len())
    }

    /// Checks the length of a flat vector.
    pub(crate) fn check_len(&self, n: usize) -> Result<()> {
        if n != self.len {
            return Err(Error::shape("parameters", [self.len], [n]));
        }
        Ok(())
    }

    /// Returns nanoGPT's initial parameters: N(0, 0.02), 0.02 / sqrt(2 L) for the projections into the residual stream, gains 1, biases 0.
    /// They are a function of the seed alone.
    ///
    /// # Panics
    /// Panics where memory does not hold them; [`Layout::initial`] returns an error.
    pub fn init(&self, seed: u64) -> Vec<f32> {
        self.initial(seed).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Returns what [`Layout::init`] does.
    ///
    /// # Errors
    /// Returns [`Error::OutOfMemory`] where memory does not hold them.
    pub fn initial(&self, seed: u64) -> Result<Vec<f32>> {
        let stream = Stream::new(seed, StreamTag::Init, 0);
        let mut flat = memory::zeros(self.len, &format!("a model's {} parameters", self.len))?;
        stream.fill_normal(0, &mut flat);
        let proj = 0.02 / (2.0 * self.blocks.len() as f32).sqrt();
        for t in &self.tensors {
            let part = &mut flat[t.range.clone()];
            match (t.shape.len(), t.name.as_str()) {
                (2, name) => {
                    let std = if name.ends_with("c_proj.weight") {
                        proj
                    } else {
                        0.02
                    };
                    part.iter_mut().for_each(|v| *v *= std);
                }
                (_, name) if name.ends_with("bias") => part.fill(0.0),
                _ => part.fill(1.0),
            }
        }
        Ok(flat)
    }

    /// Returns whether weight decay applies to each tensor: only to matrices, as in nanoGPT.
    pub fn decayed(&self) -> impl Iterator<Item = (Range<usize>, bool)> + '_ {
        self.tensors
            .iter()
            .map(|t| (t.range.clone(), t.shape.len() >= 2))
    }
}
