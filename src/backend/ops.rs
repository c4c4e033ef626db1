//! The operations of a transformer that a device provides: forward and backward, on buffers and places in them.

use super::{Products, Vectors};
use crate::error::Result;
use crate::rng::Stream;
use std::ops::Range;

/// Which form of the Gaussian error linear unit the model uses (Hendrycks & Gimpel 2016).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gelu {
    /// x Phi(x), as nanoGPT.
    #[default]
    Exact,
    /// The tanh approximation, as GPT-2.
    Tanh,
}

/// What follows a matrix product, done while its rows are still in the cache. Matrices have the product's shape.
#[derive(Debug)]
pub enum Then<'a, B: ?Sized> {
    /// Nothing.
    Nothing,
    /// The matrix is added.
    Add(&'a B),
    /// Multiplied by the matrix, element by element.
    Times(&'a B),
    /// The matrix = gelu(product), which stays.
    Gelu(&'a mut B, Gelu),
}

/// A linear layer: y = x W^T + b, its parameters as places in the flat vector.
#[derive(Clone, Debug)]
pub struct Linear {
    /// The weight's place: (out, in).
    pub weight: Range<usize>,
    /// The bias's place: (out).
    pub bias: Option<Range<usize>>,
    /// Width of the input.
    pub n_in: usize,
    /// Width of the output.
    pub n_out: usize,
}

/// A layer norm: its parameters as places in the flat vector.
#[derive(Clone, Debug)]
pub struct Norm {
    /// The gain's place: (C).
    pub weight: Range<usize>,
    /// The bias's place: (C).
    pub bias: Option<Range<usize>>,
}

/// Sizes of an attention: N = B T rows of C = H * head channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Sequences B.
    pub b: usize,
    /// Positions T.
    pub t: usize,
    /// Heads H.
    pub h: usize,
    /// Channels a head.
    pub size: usize,
}

impl Heads {
    /// Width C.
    pub fn width(&self) -> usize {
        self.h * self.size
    }
}

/// Dropout as a function of (seed, step, site, element): the backward pass draws the same mask again.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability that an element is dropped, in [0, 1).
    pub p: f32,
    /// Seed of the run.
    pub seed: u64,
    /// Which step.
    pub step: u64,
    /// Which place in the model.
    pub site: u32,
}

/// How decoding keeps the weights of linear layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightType {
    /// As they are.
    #[default]
    F32,
    /// Rounded to bfloat16, 8 significant bits: half the memory, and near twice the speed where memory bounds it. Sums stay f32.
    Bf16,
}

/// Some consecutive rows of a batch: new tokens of one sequence, of which others were read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first row.
    pub row: usize,
    /// How many, at least 1.
    pub rows: usize,
    /// Where its keys (block, C) and then its values (block, C) begin in the cache.
    pub slot: usize,
    /// Tokens of the sequence that are in the cache.
    pub past: usize,
}

/// Which positions of a sequence count in the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Every position: the mean runs over B T tokens.
    #[default]
    All,
    /// The last position alone, as the original: the mean runs over B windows.
    Last,
}

impl Objective {
    /// How many of `rows` positions, in sequences of `t`, count.
    pub fn count(self, rows: usize, t: usize) -> usize {
        match self {
            Self::All => rows,
            Self::Last => rows / t,
        }
    }
}

/// The form of a prior, independent for each parameter, in z = (theta - center) / s with the scale s.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// -z^2 / 2: s is the standard deviation.
    #[default]
    Normal,
    /// -|z|, the double exponential: standard deviation s sqrt 2. The gradient at the kink is taken as 0.
    Laplace,
    /// -(nu + 1) / 2 ln(1 + z^2 / nu): standard deviation s sqrt(nu / (nu - 2)) where nu > 2.
    StudentT {
        /// Degrees of freedom nu, above 0.
        dof: f32,
    },
}

impl Family {
    /// The largest second derivative of -log density in z: at the centre, but for a Laplace prior's kink, which counts as 0.
    pub fn curvature(self) -> f64 {
        match self {
            Self::Normal => 1.0,
            Self::Laplace => 0.0,
            Self::StudentT { dof } => (dof as f64 + 1.0) / dof as f64,
        }
    }
}

/// A prior as [`Backend::posterior_gradient`] takes it.
#[derive(Debug)]
pub struct PriorTerms<'a, B> {
    /// Its centre; `None` is 0.
    pub center: Option<&'a B>,
    /// With weights w, the scale of each parameter is std (|w| + [`PRIOR_FLOOR`]); `None` is std.
    pub relative_to: Option<&'a B>,
    /// The scale.
    pub std: f32,
    /// The form.
    pub family: Family,
}

/// Added to |w| in a prior whose standard deviation is relative to the weights, as the original.
pub const PRIOR_FLOOR: f32 = 1e-4;

/// What `gpt` needs of a device. Shapes: N = B T rows; every matrix is row-major.
///
/// Internal seam: callers of the library use [`crate::gpt::Gpt`]. Sizes are the caller's duty and are asserted.
pub trait Backend: Vectors {
    /// Token indices on the device.
    type Tokens: Send + Sync;
    /// A linear layer's weight as decoding reads it.
    type Packed: Send + Sync;

    /// Room for `n` tokens.
    fn tokens(&self, n: usize) -> Result<Self::Tokens>;

    /// Copies tokens to the front of `to`.
    fn upload_tokens(&self, from: &[u16], to: &mut Self::Tokens) -> Result<()>;

    /// Copies `to.len()` elements from `at` to the caller.
    fn download_part(&self, from: &Self::Buf, at: usize, to: &mut [f32]) -> Result<()>;

    /// Runs several operations as one piece of work, without a hand-over to the device's threads for each. `work` is about how many
    /// multiplications they are: few are not worth the one hand-over.
    fn batch<R: Send>(&self, work: usize, f: impl FnOnce() -> R + Send) -> R;

    /// What products of matrices make of their operands.
    fn products(&self) -> Products;

    /// The same device with products of f32 operands as they are; what it runs on is shared.
    fn with_f32_products(&self) -> Self;

    /// How many items [`Backend::each`] runs at a time, at least 1.
    fn lanes(&self) -> usize;

    /// Runs `f` on every item, several at a time where the device can. The first item's error, in their order, is given back.
    fn each<T: Send>(
        &self,
        items: &mut [T],
        f: impl Fn(usize, &mut T) -> Result<()> + Sync,
    ) -> Result<()>;

    /// out (N, C) = `wte[x] + wpe[t]`, rows in sequences of `t`.
    #[allow(clippy::too_many_arguments)]
    fn embed(
        &self,
        out: &mut Self::Buf,
        params: &Self::Buf,
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
        out: &mut Self::Buf,
        params: &Self::Buf,
        wte: &Range<usize>,
        wpe: &Range<usize>,
        x: &Self::Tokens,
        places: &Self::Tokens,
        rows: usize,
        c: usize,
    ) -> Result<()>;

    /// out (S, C) = the last row of each of S spans of x (N, C).
    fn last_rows(&self, out: &mut Self::Buf, x: &Self::Buf, spans: &[Span], c: usize)
    -> Result<()>;

    /// The embedding's gradient in `grad`: wte's, added to the head's part that is there where the table is `tied` and written otherwise;
    /// wpe's, written.
    #[allow(clippy::too_many_arguments)]
    fn embed_backward(
        &self,
        grad: &mut Self::Buf,
        wte: &Range<usize>,
        wpe: &Range<usize>,
        tied: bool,
        dout: &Self::Buf,
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
        grad: &mut Self::Buf,
        squares: &mut Self::Buf,
        wte: &Range<usize>,
        wpe: &Range<usize>,
        head: Option<(&Self::Buf, &Self::Buf)>,
        dout: &Self::Buf,
        x: &Self::Tokens,
        rows: usize,
        t: usize,
        c: usize,
    ) -> Result<()>;

    /// out (N, C) = (x - mean) rstd w + b, eps 1e-5; `stats` (N, 2) gets mean and rstd.
    #[allow(clippy::too_many_arguments)]
    fn layer_norm(
        &self,
        out: &mut Self::Buf,
        stats: &mut Self::Buf,
        x: &Self::Buf,
        params: &Self::Buf,
        norm: &Norm,
        rows: usize,
        c: usize,
    ) -> Result<()>;

    /// dx (N, C) += gradient; writes the gain's and the bias's gradient.
    #[allow(clippy::too_many_arguments)]
    fn layer_norm_backward(
        &self,
        dx: &mut Self::Buf,
        grad: &mut Self::Buf,
        dout: &Self::Buf,
        x: &Self::Buf,
        stats: &Self::Buf,
        params: &Self::Buf,
        norm: &Norm,
        rows: usize,
        c: usize,
    ) -> Result<()>;

    /// The same; and the squares of the gain's and the bias's gradient of each sequence of `t` rows are added to `squares`.
    #[allow(clippy::too_many_arguments)]
    fn layer_norm_backward_squares(
        &self,
        dx: &mut Self::Buf,
        grad: &mut Self::Buf,
        squares: &mut Self::Buf,
        dout: &Self::Buf,
        x: &Self::Buf,
        stats: &Self::Buf,
        params: &Self::Buf,
        norm: &Norm,
        rows: usize,
        t: usize,
        c: usize,
    ) -> Result<()>;

    /// out (N, out) = x (N, in) W^T + b, and what follows.
    fn linear(
        &self,
        out: &mut Self::Buf,
        x: &Self::Buf,
        params: &Self::Buf,
        layer: &Linear,
        rows: usize,
        then: Then<'_, Self::Buf>,
    ) -> Result<()>;

    /// Lays a linear layer's weight out for [`Backend::linear_packed`].
    fn pack(&self, params: &Self::Buf, layer: &Linear, form: WeightType) -> Result<Self::Packed>;

    /// As [`Backend::linear`] with a packed weight; the bias, if any, is in `params`. A row's result does not depend on the others.
    fn linear_packed(
        &self,
        out: &mut Self::Buf,
        x: &Self::Buf,
        weight: &Self::Packed,
        params: &Self::Buf,
        layer: &Linear,
        rows: usize,
    ) -> Result<()>;

    /// dx (N, in) = dout (N, out) W, and what follows.
    fn linear_backward_input(
        &self,
        dx: &mut Self::Buf,
        dout: &Self::Buf,
        params: &Self::Buf,
        layer: &Linear,
        rows: usize,
        then: Then<'_, Self::Buf>,
    ) -> Result<()>;

    /// Writes the weight's and bias's gradient from dout (N, out) and x (N, in).
    fn linear_backward_weight(
        &self,
        grad: &mut Self::Buf,
        dout: &Self::Buf,
        x: &Self::Buf,
        layer: &Linear,
        rows: usize,
    ) -> Result<()>;

    /// Writes the weight's and bias's gradient from dout (N, out) and x (N, in); the squares of those of each sequence of `t` rows are
    /// added to `squares`.
    #[allow(clippy::too_many_arguments)]
    fn linear_backward_squares(
        &self,
        grad: &mut Self::Buf,
        squares: &mut Self::Buf,
        dout: &Self::Buf,
        x: &Self::Buf,
        layer: &Linear,
        rows: usize,
        t: usize,
    ) -> Result<()>;

    /// Causal attention: out (N, C) from qkv (N, 3C), scale 1/sqrt(head); `lse` (B, H, T) keeps each row's log-sum-exp.
    fn attention(
        &self,
        out: &mut Self::Buf,
        lse: &mut Self::Buf,
        qkv: &Self::Buf,
        heads: Heads,
        dropout: Option<Dropout>,
    ) -> Result<()>;

    /// dqkv (N, 3C) from dout (N, C); the probabilities are made again from qkv and lse.
    #[allow(clippy::too_many_arguments)]
    fn attention_backward(
        &self,
        dqkv: &mut Self::Buf,
        dout: &Self::Buf,
        out: &Self::Buf,
        lse: &Self::Buf,
        qkv: &Self::Buf,
        heads: Heads,
        dropout: Option<Dropout>,
    ) -> Result<()>;

    /// Attention of new positions after cached ones: the keys and values of every span join its slot of the cache, whose length is
    /// `block`, then each new position attends to all before it. qkv (N, 3C); out (N, C), or with `last` (S, C): each span's last row.
    #[allow(clippy::too_many_arguments)]
    fn attention_cached(
        &self,
        out: &mut Self::Buf,
        cache: &mut Self::Buf,
        block: usize,
        qkv: &Self::Buf,
        spans: &[Span],
        heads: usize,
        size: usize,
        last: bool,
    ) -> Result<()>;

    /// out = gelu(x) over the first n elements.
    fn gelu(&self, out: &mut Self::Buf, x: &Self::Buf, n: usize, form: Gelu) -> Result<()>;

    /// out = gelu(x), and x = gelu'(x) in place, over the first n elements.
    fn gelu_slope(
        &self,
        out: &mut Self::Buf,
        x: &mut Self::Buf,
        n: usize,
        form: Gelu,
    ) -> Result<()>;

    /// out = a + b over the first n elements.
    fn add(&self, out: &mut Self::Buf, a: &Self::Buf, b: &Self::Buf, n: usize) -> Result<()>;

    /// Drops elements of the first n of x in place and scales the rest by 1/(1-p).
    fn dropout(&self, x: &mut Self::Buf, n: usize, dropout: Dropout) -> Result<()>;

    /// Per-row negative log-likelihood in nats: nll (N) from logits (N, V).
    fn cross_entropy(
        &self,
        nll: &mut Self::Buf,
        logits: &Self::Buf,
        targets: &Self::Tokens,
        rows: usize,
        v: usize,
    ) -> Result<()>;

    /// The same, and `weight` times the gradient of the sum in place of the logits. Rows that the objective leaves out get 0.
    #[allow(clippy::too_many_arguments)]
    fn cross_entropy_backward(
        &self,
        nll: &mut Self::Buf,
        logits: &mut Self::Buf,
        targets: &Self::Tokens,
        rows: usize,
        t: usize,
        v: usize,
        objective: Objective,
        weight: f32,
    ) -> Result<()>;

    /// In place of the logits a cotangent (N, V) whose covariance is the cross-entropy's Hessian in them: with p = softmax(z) and r = sqrt(p),
    /// r * e - p (r . e) with e of +-1, element (n, v) of number `draw` of the stream. Rows that the objective leaves out get 0.
    #[allow(clippy::too_many_arguments)]
    fn curvature_cotangent(
        &self,
        logits: &mut Self::Buf,
        rows: usize,
        t: usize,
        v: usize,
        objective: Objective,
        stream: Stream,
        draw: u64,
    ) -> Result<()>;

    /// grad = -num_data * grad + d/dtheta log prior, in place: from a mean loss to a log posterior. Returns the log prior without its
    /// constant, in f64.
    fn posterior_gradient(
        &self,
        grad: &mut Self::Buf,
        theta: &Self::Buf,
        prior: PriorTerms<'_, Self::Buf>,
        num_data: f32,
    ) -> Result<f64>;

    /// Sum in f64, in order, of nll over the rows that the objective counts, and how many those are.
    fn sum_nll(
        &self,
        nll: &Self::Buf,
        rows: usize,
        t: usize,
        objective: Objective,
    ) -> Result<(f64, usize)>;
}
