//! The next token from an average of models, and how uncertain the average is.
//!
//! For members s with logits z_s and predictions p_s = softmax(z_s), p = mean_s p_s is the averaged prediction. Its entropy H(p) is the total
//! uncertainty; mean_s H(p_s) is the part that would remain if the parameters were known (Depeweg et al. 2018, eq. 3). The token is drawn
//! from p, from a vote of the members or from one member's prediction, at a temperature: [`DrawFrom`].

pub(in crate::backend) mod cpu;

use crate::backend::ops::ActivationOps;
use crate::error::Result;

/// The distribution that a token is drawn from, at temperature T. At T = 0 all its weight is on the likeliest token, and of several on the one with the
/// lowest id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DrawFrom<'a> {
    /// The averaged prediction, tempered: proportional to p^(1/T).
    Average,
    /// The average of the members' tempered predictions, mean_s softmax(z_s / T): at T = 0 each member votes for one token.
    Vote,
    /// For each row the prediction of the member with this index alone, tempered: softmax(z_s / T).
    Member(&'a [usize]),
}

/// How a token is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw<'a> {
    /// What it is drawn from.
    pub from: DrawFrom<'a>,
    /// Temperature T of the draw, 0 or more.
    pub temperature: f64,
    /// The number of likeliest tokens to draw from (ties go to the lowest ids); `None` draws from all.
    pub top_k: Option<usize>,
}

/// A drawn token and what the members predicted, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Drawn {
    /// The drawn token.
    pub token: u32,
    /// Entropy of the averaged prediction, H(p), at temperature 1 and before top-k.
    pub entropy: f64,
    /// Mean entropy of the members' predictions, mean_s H(p_s), at temperature 1.
    pub expected_entropy: f64,
    /// ln p of the drawn token, at temperature 1 and before top-k; finite where the members' logits are.
    pub log_prob: f64,
    /// Logarithm of the probability with which the token was drawn: at the draw's temperature, among the top k.
    pub draw_log_prob: f64,
}

/// The operation of drawing tokens.
pub trait DrawOps: ActivationOps {
    /// Draws a token for each of the `out.len()` rows of every member's logits (S, rows, V): the first of those that `how` keeps, in
    /// ascending order of id, at which the cumulative probability exceeds that row's `u` in [0, 1). Sums are in f64, in the order of the
    /// members.
    ///
    /// Returns the first member with a logit that is not finite, and the logit; `out` is then unspecified.
    fn draw(
        &self,
        out: &mut [Drawn],
        logits: &Self::Act,
        v: usize,
        members: usize,
        how: Draw<'_>,
        u: &[f64],
    ) -> Result<Option<(usize, f32)>>;
}
