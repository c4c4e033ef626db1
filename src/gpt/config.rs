//! The shape of a GPT with nanoGPT's field names, and the named shapes.

use crate::backend::Gelu;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The model's shape. Field names are nanoGPT's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GptConfig {
    /// Vocabulary size V, 1 to 65,536.
    pub vocab_size: usize,
    /// Longest context T, in tokens.
    pub block_size: usize,
    /// Number of blocks L.
    pub n_layer: usize,
    /// Number of attention heads; divides `n_embd`.
    pub n_head: usize,
    /// Width C.
    pub n_embd: usize,
    /// Whether linear layers and layer norms have biases.
    #[serde(default)]
    pub bias: bool,
    /// Dropout probability in training, in [0, 1); never used in sampling or prediction.
    #[serde(default)]
    pub dropout: f32,
    /// The form of the GELU.
    #[serde(default)]
    pub gelu: Gelu,
    /// Whether the token embedding is also the head's weight, as in nanoGPT; if not, the head has a separate matrix.
    #[serde(default = "tied", skip_serializing_if = "Clone::clone")]
    pub tie_weights: bool,
}

fn tied() -> bool {
    true
}

/// The names that [`GptConfig::named`] accepts, each with its usual batch (B, T).
pub const NAMED: &[(&str, usize, usize)] = &[
    ("tiny", 4, 16),
    ("cpu", 12, 64),
    ("baby", 16, 128),
    ("baby-full", 64, 256),
    ("gpt2", 1, 256),
];

impl GptConfig {
    /// Returns the shape as JSON, as files have it.
    ///
    /// # Errors
    /// Never in fact: it is plain data.
    pub fn json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::out_of_range("model", "JSON", e))
    }

    /// Returns a named shape for a vocabulary: `tiny`, `cpu`, `baby`, `baby-full` or `gpt2`.
    ///
    /// # Errors
    /// Returns an error when there is no such name.
    pub fn named(name: &str, vocab_size: usize) -> Result<Self> {
        let (block_size, n_layer, n_head, n_embd, bias) = match name {
            "tiny" => (32, 2, 2, 32, false),
            "cpu" => (64, 4, 4, 128, false),
            "baby" | "baby-full" => (256, 6, 6, 384, false),
            "gpt2" => (1024, 12, 12, 768, true),
            other => {
                let names: Vec<_> = NAMED.iter().map(|n| n.0).collect();
                return Err(Error::out_of_range("shape", names.join(", "), other));
            }
        };
        let c = Self {
            vocab_size,
            block_size,
            n_layer,
            n_head,
            n_embd,
            bias,
            dropout: 0.0,
            gelu: Gelu::Exact,
            tie_weights: true,
        };
        c.check()?;
        Ok(c)
    }

    /// Returns the number of parameters of a shape that was checked, without building it.
    pub fn n_params(&self) -> usize {
        let (c, bias) = (self.n_embd, usize::from(self.bias));
        let norm = c * (1 + bias);
        let layer = 2 * norm + 12 * c * c + 9 * c * bias;
        let head = usize::from(!self.tie_weights) * self.vocab_size * c;
        (self.vocab_size + self.block_size) * c + self.n_layer * layer + norm + head
    }

    /// Returns the number of channels per head.
    pub fn head_size(&self) -> usize {
        self.n_embd / self.n_head
    }

    /// Checks that the shape can be built.
    ///
    /// # Errors
    /// Returns an error that names the field out of range.
    pub fn check(&self) -> Result<()> {
        let range = |what: &str, v: usize, max: usize| {
            if v == 0 || v > max {
                return Err(Error::out_of_range(what, format!("1 to {max}"), v));
            }
            Ok(())
        };
        range("vocab_size", self.vocab_size, 1 << 16)?;
        range("block_size", self.block_size, 1 << 16)?;
        range("n_layer", self.n_layer, 1024)?;
        range("n_embd", self.n_embd, 1 << 16)?;
        range("n_head", self.n_head, self.n_embd)?;
        if !self.n_embd.is_multiple_of(self.n_head) {
            return Err(Error::out_of_range(
                "n_head",
                format!("a divisor of n_embd = {}", self.n_embd),
                self.n_head,
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::out_of_range(
                "dropout",
                "0 <= dropout < 1",
                self.dropout,
            ));
        }
        Ok(())
    }
}
