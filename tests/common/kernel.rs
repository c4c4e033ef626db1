//! What the tests of single operations share: every instruction set and thread count, and buffers that show what they should not touch.

use super::{bits, ensure::every_isa, normals, relative_error, wide};
use bnn::backend::ops::*;
use bnn::backend::{Cpu, Dropout, Norm, Params, Piece, WeightGrad};
use bnn::rng::{Stream, StreamTag};

pub const RUBBISH: f32 = 7.75e8;

/// Sums of up to a few hundred f32 products, relative to their norm: a unit of f32 is 6e-8, and errors add up as
/// random walks do, to below 16 units.
pub const SUMS: f64 = 1e-6;

/// Runs `f` on every instruction set with 1, 2 and 3 threads. The threads must change no bit; with `one_answer` the
/// instruction set neither. Returns an answer for each instruction set.
pub fn everywhere<const N: usize>(
    one_answer: bool,
    f: impl Fn(&Cpu) -> [Vec<f32>; N],
) -> Vec<[Vec<f32>; N]> {
    let all_bits = |answer: &[Vec<f32>; N]| answer.each_ref().map(|x| bits(x));
    let mut answers: Vec<[Vec<f32>; N]> = Vec::new();
    for isa in every_isa() {
        let answer = |threads| {
            let cpu = Cpu::with_isa(threads, isa).unwrap();
            assert_eq!((cpu.isa(), cpu.threads()), (isa, threads));
            f(&cpu)
        };
        let alone = answer(1);
        for threads in [2, 3] {
            let same = all_bits(&answer(threads)) == all_bits(&alone);
            assert!(same, "{isa:?} with {threads} threads");
        }
        if one_answer && let Some(first) = answers.first() {
            assert!(all_bits(first) == all_bits(&alone), "{isa:?}");
        }
        answers.push(alone);
    }
    answers
}

/// Tokens on the device, and behind them ones that no table has.
pub fn on_device(cpu: &Cpu, tokens: &[u16], pieces: &[Piece]) -> <Cpu as ActivationOps>::Tokens {
    let mut room = cpu.tokens(tokens.len() + 5).unwrap();
    cpu.upload_tokens(&mut room, &vec![u32::MAX; tokens.len() + 5], &[])
        .unwrap();
    let wide: Vec<u32> = tokens.iter().map(|&t| t.into()).collect();
    cpu.upload_tokens(&mut room, &wide, pieces).unwrap();
    room
}

/// A gradient of `rows` in sequences of `t`, without squares.
pub fn gradient(grad: &mut Vec<f32>, rows: usize, t: usize) -> WeightGrad<'_, Cpu> {
    WeightGrad {
        grad,
        squares: None,
        rows,
        t,
    }
}

/// Returns what [`gradient`] does, with the squares by sequence.
pub fn with_squares<'a>(
    grad: &'a mut Vec<f32>,
    squares: &'a mut Vec<f32>,
    rows: usize,
    t: usize,
) -> WeightGrad<'a, Cpu> {
    WeightGrad {
        grad,
        squares: Some(squares),
        rows,
        t,
    }
}

pub fn rubbish(n: usize) -> Vec<f32> {
    vec![RUBBISH; n]
}

/// The buffer without what lies behind the first n elements, which must be untouched.
pub fn front(mut buffer: Vec<f32>, n: usize) -> Vec<f32> {
    assert!(buffer[n..].iter().all(|&v| v == RUBBISH));
    buffer.truncate(n);
    buffer
}

/// A range's part of a flat vector; everything outside the ranges must be untouched.
pub fn parts<const N: usize>(flat: &[f32], ranges: [std::ops::Range<usize>; N]) -> [Vec<f32>; N] {
    for (i, &v) in flat.iter().enumerate() {
        assert!(v == RUBBISH || ranges.iter().any(|r| r.contains(&i)));
    }
    ranges.map(|r| flat[r].to_vec())
}

pub fn close(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
    let error = relative_error(got, want);
    assert!(error <= tolerance, "{what} is off by {error:e}");
}

/// What a mask multiplies an element by, from the address alone.
pub fn mask(d: Option<Dropout>, element: usize) -> f64 {
    let Some(d) = d else { return 1.0 };
    let stream = Stream::new(d.seed, StreamTag::Dropout, d.site);
    let word = stream.words(d.step, element as u64 / 4)[element % 4];
    if (word as f64) < (d.p as f64 * 4_294_967_296.0).floor() {
        0.0
    } else {
        1.0 / (1.0 - d.p as f64)
    }
}

/// To the nearest of 8 significant bits, ties to even: the sum rounds what the lower half is worth.
pub fn to_bf16(x: &mut [f32]) {
    let big = |v: f32| v * 65537.0; // 2^16 + 1 (Dekker's splitting)
    x.iter_mut().for_each(|v| *v = big(*v) - (big(*v) - *v));
}

pub struct NormCase {
    pub c: usize,
    pub params: Vec<f32>,
    pub norm: Norm,
    pub x: Vec<f32>,
}

impl NormCase {
    pub fn new(rows: usize, c: usize, bias: bool, mean: f32) -> Self {
        let row = |v: f32| mean + 3.0 * v;
        Self {
            c,
            params: [rubbish(5), normals(2 * c, 6), rubbish(1)].concat(),
            norm: Norm {
                weight: 5..5 + c,
                bias: bias.then(|| 5 + c..5 + 2 * c),
            },
            x: normals(rows * c, 7).into_iter().map(row).collect(),
        }
    }

    /// Runs the layer on rows of `x`: the output, (rows, c) and a row of rubbish, and the statistics, (rows, 2) and two more.
    pub fn forward(&self, cpu: &Cpu, x: &Vec<f32>, rows: usize) -> [Vec<f32>; 2] {
        let (mut out, mut stats) = (rubbish((rows + 1) * self.c), rubbish((rows + 1) * 2));
        let params = Params::Flat(&self.params);
        (cpu.layer_norm(&mut out, &mut stats, x, params, &self.norm, rows)).unwrap();
        [out, stats]
    }

    pub fn weight(&self) -> Vec<f64> {
        wide(&self.params[self.norm.weight.clone()])
    }

    /// Mean and 1/sd of each row.
    pub fn stats(&self) -> Vec<(f64, f64)> {
        let of = |row: &[f32]| {
            let row = wide(row);
            let n = row.len() as f64;
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            (mean, 1.0 / (variance + 1e-5).sqrt())
        };
        self.x.chunks(self.c).map(of).collect()
    }

    /// (x - mean) / sd.
    pub fn standardised(&self) -> Vec<f64> {
        let rows = self.x.chunks(self.c).zip(self.stats());
        rows.flat_map(|(row, (mean, rstd))| row.iter().map(move |&v| (v as f64 - mean) * rstd))
            .collect()
    }
}

/// Returns what dropout leaves of x.
pub fn dropped(cpu: &Cpu, x: &[f32], d: Dropout) -> Vec<f32> {
    let mut out = rubbish(x.len() + 3);
    cpu.dropout(&mut out, &x.to_vec(), x.len(), d).unwrap();
    front(out, x.len())
}
