//! Every operation of a [`Device`]: each call is dispatched to the device behind the handle.

use super::lower::{FromCpu, ToCpu};
use super::{Buffer, Device};
use crate::backend::ops::*;
use crate::backend::vectors::{
    AdamW, ChainView, Combine, EkfStep, Langevin, Noise, PreconditionedRule, PreconditionedUpdate,
    Random, RangeMoments, Reduce, Rule, StdDev, ViDraw,
};
use crate::backend::{
    Attended, AttentionShape, CacheShape, Cotangent, Cpu, Draw, Drawn, Dropout, EnsembleLayout,
    Epilogue, Gelu, GemmPrecision, HeadGrad, HostPool, Input, Linear, LossShape, Norm, Normed,
    Params, Piece, PieceRows, Positions, Precision, Predicted, PriorTerms, Scalars, Tables,
    WeightGrad, Write,
};
use crate::error::Result;
use crate::rng::Stream;
use std::ops::Range;

type Vector = Buffer<<Cpu as Vectors>::Vector>;
type Record = Buffer<Scalars>;
type Act = Buffer<<Cpu as ActivationOps>::Act>;
type Tokens = Buffer<<Cpu as ActivationOps>::Tokens>;
type Ensemble = Buffer<<Cpu as ActivationOps>::Ensemble>;
type Predictive = Buffer<<Cpu as PredictiveOps>::Predictive>;

/// Implements the traits by one `match` per method; the lists name the methods.
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
        type Record = Record;
        also {
            fn len(&self, buf: &Vector) -> usize {
                match self {
                    Device::Cpu(cpu) => cpu.len(buf.to_cpu()),
                }
            }
        }
        fn record() -> Record;
        fn read(record: &mut Record) -> Scalars;
        fn zeros(n: usize) -> Vector;
        fn upload(to: &mut Vector, from: &[f32]) -> ();
        fn download_from(from: &Vector, at: usize, to: &mut [f32]) -> ();
        fn combine(y: &mut Vector, op: Combine<'_, Vector>) -> ();
        fn random(x: &mut Vector, what: Random, stream: Stream, step: u64) -> ();
        fn reduce(of: Reduce<'_, Vector>) -> f64;
        fn sum_of_squares(x: &Vector, record: &mut Record) -> ();
        fn check_finite(x: &Vector, input: Input, record: &mut Record) -> ();
        fn langevin_update(rule: Rule, on: Langevin<'_, Device>, record: &mut Record) -> ();
        fn preconditioned_update(rule: PreconditionedRule, on: PreconditionedUpdate<'_, Device>, record: &mut Record) -> ();
        fn range_moments(out: &mut [RangeMoments], ranges: &[Range<usize>], at: ChainView<'_, Device>) -> ();
        fn adamw_update(theta: &mut Vector, grad: &Vector, m: &mut Vector, v: &mut Vector, decay: &[Range<usize>], adamw: &AdamW, record: &mut Record) -> ();
        fn gaussian_point(out: &mut Vector, mean: &Vector, spread: StdDev<'_, Vector>, noise: Noise<'_, Device>) -> ();
        fn ekf_update(mean: &mut Vector, sd: &mut Vector, grad: &Vector, squares: &Vector, step: EkfStep, record: &mut Record) -> ();
        fn vi_gradient(d_mean: &mut Vector, d_log_sd: &mut Vector, grad: &Vector, log_sd: &Vector, noise: Noise<'_, Device>, draw: ViDraw, record: &mut Record) -> ();
    }
    ActivationOps {
        type Act = Act;
        type Tokens = Tokens;
        type Ensemble = Ensemble;
        also {
            fn host(&self) -> &HostPool {
                match self {
                    Device::Cpu(cpu) => cpu.host(),
                }
            }
            fn gemm_precision(&self) -> GemmPrecision {
                Device::gemm_precision(self)
            }
            fn with_precision(&self, precision: Precision) -> Self {
                Device::with_precision(self.clone(), precision)
            }
        }
        fn act(rows: usize, width: usize) -> Act;
        fn download_act(from: &Act, width: usize, to: &mut [f32]) -> ();
        fn add_difference(to: &mut Act, scale: f32, plus: &Act, minus: &Act, n: usize) -> ();
        fn tokens(n: usize) -> Tokens;
        fn upload_tokens(to: &mut Tokens, from: &[u32], pieces: &[Piece]) -> ();
    }
    EmbedOps {
        fn embed(out: &mut Act, params: Params<'_, Device>, tables: &Tables, x: &Tokens, rows: usize, positions: Positions) -> ();
        fn embed_backward(to: WeightGrad<'_, Device>, tables: &Tables, head: HeadGrad<'_, Act>, dout: &Act, x: &Tokens) -> ();
    }
    LayerNormOps {
        fn layer_norm(out: &mut Act, stats: &mut Act, x: &Act, params: Params<'_, Device>, norm: &Norm, rows: usize) -> ();
        fn layer_norm_backward(dx: &mut Act, write: Write, to: WeightGrad<'_, Device>, of: Normed<'_, Act>, params: &Vector, norm: &Norm) -> ();
    }
    LinearOps {
        fn linear(out: &mut Act, x: &Act, params: Params<'_, Device>, layer: &Linear, rows: usize, epilogue: Epilogue<'_, Device>) -> ();
        fn linear_backward_input(dx: &mut Act, dout: &Act, params: &Vector, layer: &Linear, rows: usize, epilogue: Epilogue<'_, Device>) -> ();
        fn linear_backward_weight(to: WeightGrad<'_, Device>, dout: &Act, x: &Act, layer: &Linear) -> ();
    }
    AttentionOps {
        fn attention(out: &mut Act, lse: &mut Act, qkv: &Act, shape: AttentionShape, dropout: Option<Dropout>) -> ();
        fn attention_backward(dqkv: &mut Act, of: Attended<'_, Act>, shape: AttentionShape, dropout: Option<Dropout>) -> ();
        fn attention_cached(out: &mut Act, cache: &mut Act, qkv: &Act, pieces: &Tokens, shape: CacheShape, rows: PieceRows) -> ();
    }
    GeluOps {
        fn gelu_slope(out: &mut Act, x: &mut Act, n: usize, form: Gelu) -> ();
    }
    DropoutOps {
        fn dropout(out: &mut Act, x: &Act, n: usize, dropout: Dropout) -> ();
    }
    CrossEntropyOps {
        fn cross_entropy(nll: &mut Act, logits: &mut Act, targets: &Tokens, shape: LossShape, cotangent: Cotangent, record: &mut Record) -> ();
    }
    PosteriorOps {
        fn posterior_gradient(grad: &mut Vector, theta: &Vector, prior: PriorTerms<'_, Vector>, num_data: f32, record: &mut Record) -> ();
    }
    EnsembleOps {
        fn ensemble(samples: Vec<Vector>, layout: EnsembleLayout<'_>) -> Ensemble;
    }
    PredictiveOps {
        type Predictive = Predictive;
        fn predictive(n: usize, v: usize) -> Predictive;
        fn predict(to: &mut Predictive, logits: &Act, targets: &Tokens, rows: usize) -> ();
        fn read_predictive(from: &Predictive, temperatures: &[f64]) -> Predicted;
    }
    DrawOps {
        fn draw(out: &mut [Drawn], logits: &Act, v: usize, members: usize, how: Draw<'_>, u: &[f64]) -> Option<(usize, f32)>;
    }
}
