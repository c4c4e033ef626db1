//! A device whose buffers nobody can look into, and which counts what is asked of it.

use bnn::Result;
use bnn::backend::ops::*;
use bnn::backend::vectors::*;
use bnn::backend::*;
use bnn::rng::Stream;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What was asked of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations of any kind.
    pub calls: usize,
    /// Those whose result the host waits for.
    pub reads: usize,
    /// Those that bring something to the device.
    pub uploads: usize,
    /// Those that make a buffer.
    pub made: usize,
    /// Numbers that were copied to the host, from vectors and activations.
    pub copied: usize,
}

#[derive(Default)]
struct Counters([AtomicUsize; 5]);

/// The device; clones share the counters.
#[derive(Clone)]
pub struct Counted {
    device: Device,
    counters: Arc<Counters>,
}

#[derive(Clone, Copy)]
enum Kind {
    Launch,
    Read,
    Upload,
    Make,
}

impl Counted {
    pub fn new(threads: usize) -> Self {
        Self {
            device: Device::cpu(threads).unwrap(),
            counters: Arc::default(),
        }
    }

    /// What was asked since `f` began.
    pub fn during<R>(&self, f: impl FnOnce() -> R) -> (R, Counts) {
        self.counters.0.iter().for_each(|c| c.store(0, Relaxed));
        let result = f();
        let [calls, reads, uploads, made, copied] =
            self.counters.0.each_ref().map(|c| c.load(Relaxed));
        let counts = Counts {
            calls,
            reads,
            uploads,
            made,
            copied,
        };
        (result, counts)
    }

    fn add(&self, which: usize, n: usize) {
        self.counters.0[which].fetch_add(n, Relaxed);
    }

    fn count(&self, kind: Kind) {
        self.add(0, 1);
        match kind {
            Kind::Launch => {}
            Kind::Read => self.add(1, 1),
            Kind::Upload => self.add(2, 1),
            Kind::Make => self.add(3, 1),
        }
    }
}

/// An argument as the device inside takes it. The buffers are the same, so that most are what they are.
trait Inside {
    type To;
    fn inside(self) -> Self::To;
}

macro_rules! same {
    ($($ty:ty),* $(,)?) => {$(
        impl Inside for $ty {
            type To = Self;
            fn inside(self) -> Self {
                self
            }
        }
    )*};
}
same!(
    usize,
    f32,
    u64,
    Stream,
    Random,
    Rule,
    PreconditionedRule,
    EkfStep,
    ViDraw,
    Input,
    Gelu,
    Dropout,
    Option<Dropout>,
    AttentionShape,
    CacheShape,
    LossShape,
    Cotangent,
    Positions,
    PieceRows,
    Write,
    Draw<'_>,
    EnsembleLayout<'_>,
    StdDev<'_, Vector>,
    Combine<'_, Vector>,
    Reduce<'_, Vector>,
    PriorTerms<'_, Vector>,
    HeadGrad<'_, Act>,
    Normed<'_, Act>,
    Attended<'_, Act>,
    Vec<Vector>,
);

impl<T: ?Sized> Inside for &T {
    type To = Self;
    fn inside(self) -> Self {
        self
    }
}

impl<T: ?Sized> Inside for &mut T {
    type To = Self;
    fn inside(self) -> Self {
        self
    }
}

impl<'a> Inside for Noise<'a, Counted> {
    type To = Noise<'a, Device>;
    fn inside(self) -> Self::To {
        match self {
            Noise::Counter { stream, step } => Noise::Counter { stream, step },
            Noise::Given(z) => Noise::Given(z),
        }
    }
}

impl<'a> Inside for Params<'a, Counted> {
    type To = Params<'a, Device>;
    fn inside(self) -> Self::To {
        match self {
            Params::Flat(params) => Params::Flat(params),
            Params::Ensemble(ensemble) => Params::Ensemble(ensemble),
        }
    }
}

impl<'a> Inside for Epilogue<'a, Counted> {
    type To = Epilogue<'a, Device>;
    fn inside(self) -> Self::To {
        match self {
            Epilogue::None => Epilogue::None,
            Epilogue::Residual { x, dropout, ends } => Epilogue::Residual { x, dropout, ends },
            Epilogue::Mul(x) => Epilogue::Mul(x),
            Epilogue::Gelu(y, form) => Epilogue::Gelu(y, form),
        }
    }
}

/// Structs of the same fields.
macro_rules! fields {
    ($($ty:ident { $($field:ident),* })*) => {$(
        impl<'a> Inside for $ty<'a, Counted> {
            type To = $ty<'a, Device>;
            fn inside(self) -> Self::To {
                $ty { $($field: self.$field.inside()),* }
            }
        }
    )*};
}
fields! {
    Langevin { theta, momenta, grad, center, mass, gradient_noise, blocks, noise }
    PreconditionedUpdate { theta, squares, mass, grad, diagonal, center, noise }
    ChainView { theta, momenta, grad, center, mass }
    WeightGrad { grad, squares, rows, t }
}

impl<T> Inside for Option<&T> {
    type To = Self;
    fn inside(self) -> Self {
        self
    }
}

impl<T> Inside for Option<&mut T> {
    type To = Self;
    fn inside(self) -> Self {
        self
    }
}

type Vector = <Device as Vectors>::Vector;
type Record = <Device as Vectors>::Record;
type Act = <Device as ActivationOps>::Act;
type Tokens = <Device as ActivationOps>::Tokens;
type Ensemble = <Device as ActivationOps>::Ensemble;
type Predictive = <Device as PredictiveOps>::Predictive;

macro_rules! count {
    ($($ops:ident {
        $(type $of:ident = $ty:ty;)*
        $(also { $($also:tt)* })?
        $(fn $kind:ident $name:ident($($arg:ident: $arg_ty:ty),*) -> $ret:ty;)*
    })*) => {$(
        impl $ops for Counted {
            $(type $of = $ty;)*
            $($($also)*)?
            $(fn $name(&self, $($arg: $arg_ty),*) -> Result<$ret> {
                self.count(Kind::$kind);
                self.device.$name($($arg.inside()),*)
            })*
        }
    )*};
}

count! {
    Vectors {
        type Vector = Vector;
        type Record = Record;
        also {
            fn len(&self, buf: &Vector) -> usize {
                self.device.len(buf)
            }
            fn download_from(&self, from: &Vector, at: usize, to: &mut [f32]) -> Result<()> {
                self.count(Kind::Read);
                self.add(4, to.len());
                self.device.download_from(from, at, to)
            }
        }
        fn Make record() -> Record;
        fn Read read(record: &mut Record) -> Scalars;
        fn Make zeros(n: usize) -> Vector;
        fn Upload upload(to: &mut Vector, from: &[f32]) -> ();
        fn Launch combine(y: &mut Vector, op: Combine<'_, Vector>) -> ();
        fn Launch random(x: &mut Vector, what: Random, stream: Stream, step: u64) -> ();
        fn Read reduce(of: Reduce<'_, Vector>) -> f64;
        fn Launch sum_of_squares(x: &Vector, record: &mut Record) -> ();
        fn Launch check_finite(x: &Vector, input: Input, record: &mut Record) -> ();
        fn Launch langevin_update(rule: Rule, on: Langevin<'_, Counted>, record: &mut Record) -> ();
        fn Launch preconditioned_update(rule: PreconditionedRule, on: PreconditionedUpdate<'_, Counted>, record: &mut Record) -> ();
        fn Read range_moments(out: &mut [RangeMoments], ranges: &[Range<usize>], at: ChainView<'_, Counted>) -> ();
        fn Launch adamw_update(theta: &mut Vector, grad: &Vector, m: &mut Vector, v: &mut Vector, decay: &[Range<usize>], adamw: &AdamW, record: &mut Record) -> ();
        fn Launch gaussian_point(out: &mut Vector, mean: &Vector, spread: StdDev<'_, Vector>, noise: Noise<'_, Counted>) -> ();
        fn Launch ekf_update(mean: &mut Vector, sd: &mut Vector, grad: &Vector, squares: &Vector, step: EkfStep, record: &mut Record) -> ();
        fn Launch vi_gradient(d_mean: &mut Vector, d_log_sd: &mut Vector, grad: &Vector, log_sd: &Vector, noise: Noise<'_, Counted>, draw: ViDraw, record: &mut Record) -> ();
    }
    ActivationOps {
        type Act = Act;
        type Tokens = Tokens;
        type Ensemble = Ensemble;
        also {
            fn host(&self) -> &HostPool {
                self.device.host()
            }
            fn gemm_precision(&self) -> GemmPrecision {
                ActivationOps::gemm_precision(&self.device)
            }
            fn with_precision(&self, precision: Precision) -> Self {
                Self {
                    device: self.device.clone().with_precision(precision),
                    counters: self.counters.clone(),
                }
            }
            fn download_act(&self, from: &Act, width: usize, to: &mut [f32]) -> Result<()> {
                self.count(Kind::Read);
                self.add(4, to.len());
                self.device.download_act(from, width, to)
            }
        }
        fn Make act(rows: usize, width: usize) -> Act;
        fn Launch add_difference(to: &mut Act, scale: f32, plus: &Act, minus: &Act, n: usize) -> ();
        fn Make tokens(n: usize) -> Tokens;
        fn Upload upload_tokens(to: &mut Tokens, from: &[u32], pieces: &[Piece]) -> ();
    }
    EmbedOps {
        fn Launch embed(out: &mut Act, params: Params<'_, Counted>, tables: &Tables, x: &Tokens, rows: usize, positions: Positions) -> ();
        fn Launch embed_backward(to: WeightGrad<'_, Counted>, tables: &Tables, head: HeadGrad<'_, Act>, dout: &Act, x: &Tokens) -> ();
    }
    LayerNormOps {
        fn Launch layer_norm(out: &mut Act, stats: &mut Act, x: &Act, params: Params<'_, Counted>, norm: &Norm, rows: usize) -> ();
        fn Launch layer_norm_backward(dx: &mut Act, write: Write, to: WeightGrad<'_, Counted>, of: Normed<'_, Act>, params: &Vector, norm: &Norm) -> ();
    }
    LinearOps {
        fn Launch linear(out: &mut Act, x: &Act, params: Params<'_, Counted>, layer: &Linear, rows: usize, epilogue: Epilogue<'_, Counted>) -> ();
        fn Launch linear_backward_input(dx: &mut Act, dout: &Act, params: &Vector, layer: &Linear, rows: usize, epilogue: Epilogue<'_, Counted>) -> ();
        fn Launch linear_backward_weight(to: WeightGrad<'_, Counted>, dout: &Act, x: &Act, layer: &Linear) -> ();
    }
    AttentionOps {
        fn Launch attention(out: &mut Act, lse: &mut Act, qkv: &Act, shape: AttentionShape, dropout: Option<Dropout>) -> ();
        fn Launch attention_backward(dqkv: &mut Act, of: Attended<'_, Act>, shape: AttentionShape, dropout: Option<Dropout>) -> ();
        fn Launch attention_cached(out: &mut Act, cache: &mut Act, qkv: &Act, pieces: &Tokens, shape: CacheShape, rows: PieceRows) -> ();
    }
    GeluOps {
        fn Launch gelu_slope(out: &mut Act, x: &mut Act, n: usize, form: Gelu) -> ();
    }
    DropoutOps {
        fn Launch dropout(out: &mut Act, x: &Act, n: usize, dropout: Dropout) -> ();
    }
    CrossEntropyOps {
        fn Launch cross_entropy(nll: &mut Act, logits: &mut Act, targets: &Tokens, shape: LossShape, cotangent: Cotangent, record: &mut Record) -> ();
    }
    PosteriorOps {
        fn Launch posterior_gradient(grad: &mut Vector, theta: &Vector, prior: PriorTerms<'_, Vector>, num_data: f32, record: &mut Record) -> ();
    }
    EnsembleOps {
        fn Make ensemble(samples: Vec<Vector>, layout: EnsembleLayout<'_>) -> Ensemble;
    }
    PredictiveOps {
        type Predictive = Predictive;
        fn Make predictive(n: usize, v: usize) -> Predictive;
        fn Launch predict(to: &mut Predictive, logits: &Act, targets: &Tokens, rows: usize) -> ();
        fn Read read_predictive(from: &Predictive, temperatures: &[f64]) -> Predicted;
    }
    DrawOps {
        fn Read draw(out: &mut [Drawn], logits: &Act, v: usize, members: usize, how: Draw<'_>, u: &[f64]) -> Option<(usize, f32)>;
    }
}
