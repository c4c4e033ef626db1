//! Token and position embedding, forward and backward.

pub(in crate::backend) mod cpu;

use crate::backend::ops::ActivationOps;
use crate::error::Result;
use std::ops::Range;

/// What a device provides of it.
pub trait EmbedOps: ActivationOps {
    /// out (N, C) = `wte[x] + wpe[t]`, rows in sequences of `t`.
    #[allow(clippy::too_many_arguments)]
    fn embed(
        &self,
        out: &mut Self::Vector,
        params: &Self::Vector,
        wte: &Range<usize>,
        wpe: &Range<usize>,
        x: &Self::Tokens,
        rows: usize,
        t: usize,
        c: usize,
    ) -> Result<()>;

    /// out (N, C) = `wte[x] + wpe[places]`.
    #[allow(clippy::too_many_arguments)]
    fn embed_at(
        &self,
        out: &mut Self::Vector,
        params: &Self::Vector,
        wte: &Range<usize>,
        wpe: &Range<usize>,
        x: &Self::Tokens,
        places: &Self::Tokens,
        rows: usize,
        c: usize,
    ) -> Result<()>;

    /// The embedding's gradient in `grad`: wte's, added to the head's part that is there where the table is `tied` and written otherwise;
    /// wpe's, written.
    #[allow(clippy::too_many_arguments)]
    fn embed_backward(
        &self,
        grad: &mut Self::Vector,
        wte: &Range<usize>,
        wpe: &Range<usize>,
        tied: bool,
        dout: &Self::Vector,
        x: &Self::Tokens,
        rows: usize,
        t: usize,
        c: usize,
    ) -> Result<()>;

    /// The tables' gradients, written, with the squares by sequence added to `squares`: `dout` (N, C) is the embedding's gradient. With a
    /// tied head, its part is made of `head`: the logits' gradient (N, V) and the head's input (N, C). Of a token's row both parts are added
    /// before squaring.
    #[allow(clippy::too_many_arguments)]
    fn embed_backward_squares(
        &self,
        grad: &mut Self::Vector,
        squares: &mut Self::Vector,
        wte: &Range<usize>,
        wpe: &Range<usize>,
        head: Option<(&Self::Vector, &Self::Vector)>,
        dout: &Self::Vector,
        x: &Self::Tokens,
        rows: usize,
        t: usize,
        c: usize,
    ) -> Result<()>;
}
