//! Every operation of a [`Device`]: the call handed to the device that it is.

use super::lower::{FromCpu, ToCpu};
use super::{Buffer, Device};
use crate::backend::cpu::gemm::Panels;
use crate::backend::ops::{
    ActivationOps, AttentionOps, CrossEntropyOps, DropoutOps, EmbedOps, GeluOps, LayerNormOps,
    LinearOps, PosteriorOps,
};
use crate::backend::vectors::{
    AdamW, EkfStep, Langevin, LiveRule, LiveUpdate, Moments, Noise, RangeMoments, Rule, Spread,
    Standing, ViDraw,
};
use crate::backend::{
    Dropout, Gelu, GemmPrecision, Heads, Linear, Norm, Objective, Precision, PriorTerms, Span,
    Then, Vectors, WeightType,
};
use crate::error::Result;
use crate::rng::Stream;
use std::ops::Range;

type Vector = Buffer<Vec<f32>>;
type Tokens = Buffer<Vec<u16>>;
type Packed = Buffer<Panels>;

/// Implements the traits by one `match` per method; the lists say what is handed on.
macro_rules! dispatch {
    ($($ops:ident {
        $(type $of:ident = $ty:ty;)*
        $(also { $($also:tt)* })?
        $(fn $name:ident($($arg:ident: $arg_ty:ty),*) -> $ret:ty;)*
    })*) => {$(
        impl $ops for Device {
            $(type $of = $ty;)*
            $($($also)*)?
            $(fn $name(&self, $($arg: $arg_ty),*) -> Result<$ret> {
                match self {
                    Device::Cpu(cpu) => cpu.$name($($arg.to_cpu()),*).map(FromCpu::from_cpu),
                }
            })*
        }
    )*};
}

dispatch! {
    Vectors {
        type Vector = Vector;
        also {
            fn len(&self, buf: &Vector) -> usize {
                match self {
                    Device::Cpu(cpu) => cpu.len(buf.to_cpu()),
                }
            }
        }
        fn zeros(n: usize) -> Vector;
        fn upload(to: &mut Vector, from: &[f32]) -> ();
        fn download(from: &Vector, to: &mut [f32]) -> ();
        fn read(buf: &Vector, at: usize) -> f32;
        fn copy(to: &mut Vector, from: &Vector) -> ();
        fn fill(x: &mut Vector, value: f32) -> ();
        fn scale(x: &mut Vector, a: f32) -> ();
        fn axpy(y: &mut Vector, a: f32, x: &Vector) -> ();
        fn divide(x: &mut Vector, y: &Vector) -> ();
        fn square_accumulate(acc: &mut Vector, x: &Vector) -> ();
        fn normal(x: &mut Vector, stream: Stream, step: u64) -> ();
        fn signs(x: &mut Vector, stream: Stream, step: u64) -> ();
        fn sum_of_squares(x: &Vector) -> f64;
        fn dot(x: &Vector, y: &Vector) -> f64;
        fn first_non_finite(x: &Vector) -> Option<usize>;
        fn langevin_update(rule: Rule, on: Langevin<'_, Device>) -> Moments;
        fn live_update(rule: LiveRule, on: LiveUpdate<'_, Device>) -> Moments;
        fn range_moments(out: &mut [RangeMoments], ranges: &[Range<usize>], at: Standing<'_, Device>) -> ();
        fn adamw_update(theta: &mut Vector, grad: &Vector, m: &mut Vector, v: &mut Vector, decay: &[Range<usize>], adamw: &AdamW) -> ();
        fn gaussian_point(out: &mut Vector, mean: &Vector, spread: Spread<'_, Vector>, noise: Noise<'_, Device>) -> ();
        fn sum_of_sds(spread: Spread<'_, Vector>) -> f64;
        fn ekf_update(mean: &mut Vector, sd: &mut Vector, grad: &Vector, squares: &Vector, step: EkfStep) -> Option<usize>;
        fn vi_gradient(d_mean: &mut Vector, d_log_sd: &mut Vector, grad: &Vector, log_sd: &Vector, noise: Noise<'_, Device>, draw: ViDraw) -> f64;
    }
    ActivationOps {
        type Tokens = Tokens;
        also {
            fn gemm_precision(&self) -> GemmPrecision {
                Device::gemm_precision(self)
            }
            fn with_f32_products(&self) -> Self {
                self.clone().with_precision(Precision::Highest)
            }
            fn lanes(&self) -> usize {
                self.threads()
            }
            fn batch<R: Send>(&self, work: usize, f: impl FnOnce() -> R + Send) -> R {
                match self {
                    Device::Cpu(cpu) => cpu.batch(work, f),
                }
            }
            fn each<T: Send>(&self, items: &mut [T], f: impl Fn(usize, &mut T) -> Result<()> + Sync) -> Result<()> {
                match self {
                    Device::Cpu(cpu) => cpu.each(items, f),
                }
            }
        }
        fn tokens(n: usize) -> Tokens;
        fn upload_tokens(from: &[u16], to: &mut Tokens) -> ();
        fn download_part(from: &Vector, at: usize, to: &mut [f32]) -> ();
        fn last_rows(out: &mut Vector, x: &Vector, spans: &[Span], c: usize) -> ();
        fn add(out: &mut Vector, a: &Vector, b: &Vector, n: usize) -> ();
    }
    EmbedOps {
        fn embed(out: &mut Vector, params: &Vector, wte: &Range<usize>, wpe: &Range<usize>, x: &Tokens, rows: usize, t: usize, c: usize) -> ();
        fn embed_at(out: &mut Vector, params: &Vector, wte: &Range<usize>, wpe: &Range<usize>, x: &Tokens, places: &Tokens, rows: usize, c: usize) -> ();
        fn embed_backward(grad: &mut Vector, wte: &Range<usize>, wpe: &Range<usize>, tied: bool, dout: &Vector, x: &Tokens, rows: usize, t: usize, c: usize) -> ();
        fn embed_backward_squares(grad: &mut Vector, squares: &mut Vector, wte: &Range<usize>, wpe: &Range<usize>, head: Option<(&Vector, &Vector)>, dout: &Vector, x: &Tokens, rows: usize, t: usize, c: usize) -> ();
    }
    LayerNormOps {
        fn layer_norm(out: &mut Vector, stats: &mut Vector, x: &Vector, params: &Vector, norm: &Norm, rows: usize, c: usize) -> ();
        fn layer_norm_backward(dx: &mut Vector, grad: &mut Vector, dout: &Vector, x: &Vector, stats: &Vector, params: &Vector, norm: &Norm, rows: usize, c: usize) -> ();
        fn layer_norm_backward_squares(dx: &mut Vector, grad: &mut Vector, squares: &mut Vector, dout: &Vector, x: &Vector, stats: &Vector, params: &Vector, norm: &Norm, rows: usize, t: usize, c: usize) -> ();
    }
    LinearOps {
        type Packed = Packed;
        fn linear(out: &mut Vector, x: &Vector, params: &Vector, layer: &Linear, rows: usize, then: Then<'_, Vector>) -> ();
        fn pack(params: &Vector, layer: &Linear, form: WeightType) -> Packed;
        fn linear_packed(out: &mut Vector, x: &Vector, weight: &Packed, params: &Vector, layer: &Linear, rows: usize) -> ();
        fn linear_backward_input(dx: &mut Vector, dout: &Vector, params: &Vector, layer: &Linear, rows: usize, then: Then<'_, Vector>) -> ();
        fn linear_backward_weight(grad: &mut Vector, dout: &Vector, x: &Vector, layer: &Linear, rows: usize) -> ();
        fn linear_backward_squares(grad: &mut Vector, squares: &mut Vector, dout: &Vector, x: &Vector, layer: &Linear, rows: usize, t: usize) -> ();
    }
    AttentionOps {
        fn attention(out: &mut Vector, lse: &mut Vector, qkv: &Vector, heads: Heads, dropout: Option<Dropout>) -> ();
        fn attention_backward(dqkv: &mut Vector, dout: &Vector, out: &Vector, lse: &Vector, qkv: &Vector, heads: Heads, dropout: Option<Dropout>) -> ();
        fn attention_cached(out: &mut Vector, cache: &mut Vector, block: usize, qkv: &Vector, spans: &[Span], heads: usize, size: usize, last: bool) -> ();
    }
    GeluOps {
        fn gelu(out: &mut Vector, x: &Vector, n: usize, form: Gelu) -> ();
        fn gelu_slope(out: &mut Vector, x: &mut Vector, n: usize, form: Gelu) -> ();
    }
    DropoutOps {
        fn dropout(x: &mut Vector, n: usize, dropout: Dropout) -> ();
    }
    CrossEntropyOps {
        fn cross_entropy(nll: &mut Vector, logits: &Vector, targets: &Tokens, rows: usize, v: usize) -> ();
        fn cross_entropy_backward(nll: &mut Vector, logits: &mut Vector, targets: &Tokens, rows: usize, t: usize, v: usize, objective: Objective, weight: f32) -> ();
        fn curvature_cotangent(logits: &mut Vector, rows: usize, t: usize, v: usize, objective: Objective, stream: Stream, draw: u64) -> ();
        fn sum_nll(nll: &Vector, rows: usize, t: usize, objective: Objective) -> (f64, usize);
    }
    PosteriorOps {
        fn posterior_gradient(grad: &mut Vector, theta: &Vector, prior: PriorTerms<'_, Vector>, num_data: f32) -> f64;
    }
}
