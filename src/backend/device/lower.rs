//! Conversion of a call's arguments to the chosen device's types, and of its results to the caller's.

use super::{Buffer, Device, Place};
use crate::backend::ops::ActivationOps;
use crate::backend::vectors::{
    AdamW, Block, ChainView, Combine, EkfStep, Langevin, Noise, PreconditionedRule,
    PreconditionedUpdate, Random, RangeMoments, Reduce, Rule, StdDev, ViDraw,
};
use crate::backend::{
    Attended, AttentionShape, CacheShape, Cotangent, Cpu, Draw, Drawn, Dropout, EnsembleLayout,
    Epilogue, Gelu, HeadGrad, Input, Linear, LossShape, Norm, Normed, Params, Piece, PieceRows,
    Positions, Predicted, PriorFamily, PriorTerms, Scalars, Tables, WeightGrad, Write,
};
use crate::rng::Stream;
use std::ops::Range;

/// An argument of an operation, with its buffers unwrapped.
pub(super) trait ToCpu {
    type Cpu;
    fn to_cpu(self) -> Self::Cpu;
}

/// A result of an operation, with its buffers wrapped.
pub(super) trait FromCpu<C> {
    fn from_cpu(result: C) -> Self;
}

impl<'a, C> ToCpu for &'a Buffer<C> {
    type Cpu = &'a C;
    fn to_cpu(self) -> &'a C {
        let Place::Cpu(own) = &self.0;
        own
    }
}

impl<'a, C> ToCpu for &'a mut Buffer<C> {
    type Cpu = &'a mut C;
    fn to_cpu(self) -> &'a mut C {
        let Place::Cpu(own) = &mut self.0;
        own
    }
}

impl<C> FromCpu<C> for Buffer<C> {
    fn from_cpu(result: C) -> Self {
        Self(Place::Cpu(result))
    }
}

impl<T: ToCpu> ToCpu for Option<T> {
    type Cpu = Option<T::Cpu>;
    fn to_cpu(self) -> Self::Cpu {
        self.map(T::to_cpu)
    }
}

impl<A: ToCpu, B: ToCpu> ToCpu for (A, B) {
    type Cpu = (A::Cpu, B::Cpu);
    fn to_cpu(self) -> Self::Cpu {
        (self.0.to_cpu(), self.1.to_cpu())
    }
}

/// Passes types without buffers through unchanged on every device.
macro_rules! plain {
    ($($ty:ty),* $(,)?) => {$(
        impl ToCpu for $ty {
            type Cpu = Self;
            fn to_cpu(self) -> Self {
                self
            }
        }
    )*};
}
plain!(
    usize,
    u64,
    f32,
    &[f32],
    &mut [f32],
    &[f64],
    &[u32],
    &[Piece],
    &[Range<usize>],
    &mut [RangeMoments],
    &mut [Block],
    &mut [Drawn],
    &Tables,
    &Norm,
    &Linear,
    &AdamW,
    Stream,
    Random,
    Rule,
    PreconditionedRule,
    EkfStep,
    ViDraw,
    Gelu,
    Dropout,
    AttentionShape,
    CacheShape,
    LossShape,
    Cotangent,
    Positions,
    PieceRows,
    Write,
    Draw<'_>,
    EnsembleLayout<'_>,
    Input,
    PriorFamily,
);

macro_rules! plain_results {
    ($($ty:ty),* $(,)?) => {$(
        impl FromCpu<$ty> for $ty {
            fn from_cpu(result: $ty) -> Self {
                result
            }
        }
    )*};
}
plain_results!(
    (),
    f32,
    f64,
    Option<usize>,
    Option<(usize, f32)>,
    Scalars,
    Predicted
);

type Vector = Buffer<Vec<f32>>;
type Act = Buffer<<Cpu as ActivationOps>::Act>;
type CpuAct = <Cpu as ActivationOps>::Act;

/// Converts structs field by field.
macro_rules! fields {
    ($($ty:ident<$of:ty => $cpu:ty> { $($field:ident),* })*) => {$(
        impl<'a> ToCpu for $ty<'a, $of> {
            type Cpu = $ty<'a, $cpu>;
            fn to_cpu(self) -> Self::Cpu {
                $ty { $($field: self.$field.to_cpu()),* }
            }
        }
    )*};
}
fields! {
    Langevin<Device => Cpu> { theta, momenta, grad, center, mass, gradient_noise, blocks, noise }
    PreconditionedUpdate<Device => Cpu> { theta, squares, mass, grad, diagonal, center, noise }
    ChainView<Device => Cpu> { theta, momenta, grad, center, mass }
    WeightGrad<Device => Cpu> { grad, squares, rows, t }
    PriorTerms<Vector => Vec<f32>> { center, scales, std, family }
    Normed<Act => CpuAct> { dout, x, stats }
    Attended<Act => CpuAct> { dout, out, lse, qkv }
}

impl<'a> ToCpu for Noise<'a, Device> {
    type Cpu = Noise<'a, Cpu>;
    fn to_cpu(self) -> Self::Cpu {
        match self {
            Self::Counter { stream, step } => Noise::Counter { stream, step },
            Self::Given(z) => Noise::Given(z.to_cpu()),
        }
    }
}

impl<'a> ToCpu for StdDev<'a, Vector> {
    type Cpu = StdDev<'a, Vec<f32>>;
    fn to_cpu(self) -> Self::Cpu {
        match self {
            Self::Sd(sd) => StdDev::Sd(sd.to_cpu()),
            Self::LogSd(log_sd) => StdDev::LogSd(log_sd.to_cpu()),
            Self::Precision {
                precision,
                plus,
                temperature,
            } => StdDev::Precision {
                precision: precision.to_cpu(),
                plus,
                temperature,
            },
        }
    }
}

impl<'a> ToCpu for Combine<'a, Vector> {
    type Cpu = Combine<'a, Vec<f32>>;
    fn to_cpu(self) -> Self::Cpu {
        match self {
            Self::Fill(value) => Combine::Fill(value),
            Self::Copy(x) => Combine::Copy(x.to_cpu()),
            Self::Scale(a) => Combine::Scale(a),
            Self::Axpy(a, x) => Combine::Axpy(a, x.to_cpu()),
            Self::Divide(x) => Combine::Divide(x.to_cpu()),
            Self::AddSquares(x) => Combine::AddSquares(x.to_cpu()),
        }
    }
}

impl<'a> ToCpu for Reduce<'a, Vector> {
    type Cpu = Reduce<'a, Vec<f32>>;
    fn to_cpu(self) -> Self::Cpu {
        match self {
            Self::Dot(x, y) => Reduce::Dot(x.to_cpu(), y.to_cpu()),
            Self::Sds(spread) => Reduce::Sds(spread.to_cpu()),
        }
    }
}

impl<C> ToCpu for Vec<Buffer<C>> {
    type Cpu = Vec<C>;
    fn to_cpu(self) -> Vec<C> {
        let own = |buffer: Buffer<C>| {
            let Place::Cpu(own) = buffer.0;
            own
        };
        self.into_iter().map(own).collect()
    }
}

impl<'a> ToCpu for Params<'a, Device> {
    type Cpu = Params<'a, Cpu>;
    fn to_cpu(self) -> Self::Cpu {
        match self {
            Self::Flat(params) => Params::Flat(params.to_cpu()),
            Self::Ensemble(ensemble) => Params::Ensemble(ensemble.to_cpu()),
        }
    }
}

impl<'a> ToCpu for Epilogue<'a, Device> {
    type Cpu = Epilogue<'a, Cpu>;
    fn to_cpu(self) -> Self::Cpu {
        match self {
            Self::None => Epilogue::None,
            Self::Residual { x, dropout, ends } => Epilogue::Residual {
                x: x.to_cpu(),
                dropout,
                ends: ends.to_cpu(),
            },
            Self::Mul(x) => Epilogue::Mul(x.to_cpu()),
            Self::Gelu(y, form) => Epilogue::Gelu(y.to_cpu(), form),
        }
    }
}

impl<'a> ToCpu for HeadGrad<'a, Act> {
    type Cpu = HeadGrad<'a, CpuAct>;
    fn to_cpu(self) -> Self::Cpu {
        match self {
            Self::Own => HeadGrad::Own,
            Self::There => HeadGrad::There,
            Self::Missing { dlogits, input } => HeadGrad::Missing {
                dlogits: dlogits.to_cpu(),
                input: input.to_cpu(),
            },
        }
    }
}
