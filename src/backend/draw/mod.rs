//! The next token from an average of models, and how uncertain the average is.
//!
//! For members s with logits z_s, p = mean_s softmax(z_s) is the averaged prediction. Its entropy H(p) is the whole uncertainty,
//! mean_s H(p_s) the part that remains if the parameters were known (Depeweg et al. 2018, eq. 3). The token is drawn from
//! q = mean_s softmax(z_s / T).

pub(in crate::backend) mod cpu;

use crate::backend::ops::ActivationOps;
use crate::error::Result;

/// How a token is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Temperature T of the draw, above 0.
    pub temperature: f64,
    /// Draw among this many likeliest tokens (of equals, those with the lowest numbers); `None` takes all.
    pub top_k: Option<usize>,
}

/// A token that was drawn, and what the members predicted; nats, at temperature 1, before top-k.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Drawn {
    /// The token.
    pub token: u32,
    /// H(p).
    pub entropy: f64,
    /// mean_s H(p_s).
    pub expected_entropy: f64,
    /// ln p of the token, finite where the members' logits are.
    pub log_prob: f64,
}

/// Drawing tokens.
pub trait DrawOps: ActivationOps {
    /// For each of the `out.len()` rows of every member's logits (S, rows, V) a token: the first, of those that `how` keeps in the order of
    /// their numbers, at which the cumulative probability exceeds that row's `u` in [0, 1). Sums are in f64, in the order of the members.
    ///
    /// Returns the first member with a logit that is not finite, and the logit; `out` is then of no use.
    fn draw(
        &self,
        out: &mut [Drawn],
        logits: &Self::Act,
        v: usize,
        members: usize,
        how: Draw,
        u: &[f64],
    ) -> Result<Option<(usize, f32)>>;
}
