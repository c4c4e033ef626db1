//! What a model is, as rows: every size and every switch.

use super::Report;
use crate::gpt::{Gelu, Gpt};

impl From<&Gpt> for Report {
    fn from(gpt: &Gpt) -> Self {
        let c = gpt.config();
        let gelu = match c.gelu {
            Gelu::Exact => "exact",
            Gelu::Tanh => "tanh",
        };
        Self::new()
            .row("vocab_size", c.vocab_size, "how many tokens there are")
            .row("block_size", c.block_size, "the longest context, tokens")
            .row("n_layer", c.n_layer, "blocks")
            .row("n_head", c.n_head, "attention heads of a block")
            .row("n_embd", c.n_embd, "width")
            .row(
                "bias",
                c.bias,
                "whether linear layers and norms have biases",
            )
            .row(
                "dropout",
                f64::from(c.dropout),
                "probability, in training alone",
            )
            .row("gelu", gelu, "the form of the GELU")
            .row(
                "tie_weights",
                c.tie_weights,
                "whether the embedding is the head too",
            )
            .row(
                "n_params",
                gpt.n_params(),
                "numbers of the parameter vector",
            )
            .row(
                "tensors",
                gpt.layout().tensors().len(),
                "named parts of that vector",
            )
    }
}
