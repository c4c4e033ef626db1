//! The operations of a transformer on the CPU, each against plain loops in f64 on every instruction set; the threads
//! change no bit.
//!
//! Buffers are longer than the batch and hold [`RUBBISH`] beforehand: what an operation must not read or write shows.

mod common;

use bnn::backend::{
    Backend, Cpu, Dropout, Family, Gelu, Heads, Linear, Norm, Objective, PRIOR_FLOOR, Precision,
    PriorTerms, Span, WeightType, cpu::Isa,
};
use bnn::rng::{Purpose, Stream};
use common::reference::{gelu, gelu_derivative};
use common::{bits, distance, norm, normals, relative_error, tokens, wide};

const RUBBISH: f32 = 7.75e8;

/// Sums of up to a few hundred f32 products, relative to their norm: a unit of f32 is 6e-8, and errors add up as
/// random walks do, to below 16 units.
const SUMS: f64 = 1e-6;

/// Runs `f` on every instruction set with 1, 2 and 3 threads. The threads must change no bit; with `one_answer` the
/// instruction set neither. Returns an answer for each instruction set.
fn everywhere<const N: usize>(
    one_answer: bool,
    f: impl Fn(&Cpu) -> [Vec<f32>; N],
) -> Vec<[Vec<f32>; N]> {
    let all_bits = |answer: &[Vec<f32>; N]| answer.each_ref().map(|x| bits(x));
    let mut answers: Vec<[Vec<f32>; N]> = Vec::new();
    for isa in Isa::all() {
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

fn rubbish(n: usize) -> Vec<f32> {
    vec![RUBBISH; n]
}

/// The buffer without what lies behind the first n elements, which must be untouched.
fn front(mut buffer: Vec<f32>, n: usize) -> Vec<f32> {
    assert!(buffer[n..].iter().all(|&v| v == RUBBISH));
    buffer.truncate(n);
    buffer
}

/// A range's part of a flat vector; everything outside the ranges must be untouched.
fn parts<const N: usize>(flat: &[f32], ranges: [std::ops::Range<usize>; N]) -> [Vec<f32>; N] {
    for (i, &v) in flat.iter().enumerate() {
        assert!(v == RUBBISH || ranges.iter().any(|r| r.contains(&i)));
    }
    ranges.map(|r| flat[r].to_vec())
}

fn close(what: &str, got: &[f32], want: &[f64], tolerance: f64) {
    let error = relative_error(got, want);
    assert!(error <= tolerance, "{what} is off by {error:e}");
}

// ---------------------------------------------------------------- embedding

#[test]
fn embedding() {
    let (v, block) = (7, 9);
    for (b, t, first, c) in [(1, 1, 8, 1), (3, 5, 0, 33), (2, 9, 0, 16), (7, 4, 3, 18)] {
        let rows = b * t;
        let x = [tokens(rows, v, 1), vec![u16::MAX; 5]].concat();
        let params = [rubbish(3), normals((v + block) * c, 2), rubbish(2)].concat();
        let (wte, wpe) = (3..3 + v * c, 3 + v * c..3 + (v + block) * c);
        let (token, place) = (wide(&params[wte.clone()]), wide(&params[wpe.clone()]));
        let want = |first: usize| -> Vec<f64> {
            let at = |(n, i)| token[x[n] as usize * c + i] + place[(first + n % t) * c + i];
            let all = (0..rows).flat_map(|n| (0..c).map(move |i| (n, i)));
            all.map(at).collect()
        };
        let places: Vec<u16> = (0..rows).map(|n| (first + n % t) as u16).collect();
        for [out, out_at] in everywhere(true, |cpu| {
            let [mut out, mut out_at] = [0, 0].map(|_| rubbish(rows * c + c));
            cpu.embed(&mut out, &params, &wte, &wpe, &x, rows, t, c)
                .unwrap();
            cpu.embed_at(&mut out_at, &params, &wte, &wpe, &x, &places, rows, c)
                .unwrap();
            [front(out, rows * c), front(out_at, rows * c)]
        }) {
            close("embedding", &out, &want(0), 1e-7); // one rounding
            close("embedding at places", &out_at, &want(first), 1e-7);
        }
    }
}

#[test]
fn embedding_backward() {
    let (v, block) = (7, 9);
    for (b, t, c) in [(1, 1, 1), (3, 5, 33), (40, 9, 16), (7, 4, 18)] {
        let rows = b * t;
        let x = [tokens(rows, v, 3), vec![u16::MAX; 5]].concat();
        let (wte, wpe) = (3..3 + v * c, 3 + v * c..3 + (v + block) * c);
        let dout = [normals(rows * c, 4), rubbish(c)].concat();
        let before = normals(v * c, 5); // what the head left in wte's gradient
        let mut want_token = wide(&before);
        let mut want_place = vec![0.0; block * c];
        for n in 0..rows {
            for i in 0..c {
                want_token[x[n] as usize * c + i] += dout[n * c + i] as f64;
                want_place[n % t * c + i] += dout[n * c + i] as f64;
            }
        }
        for [token, place] in everywhere(true, |cpu| {
            let mut grad = rubbish(wpe.end + 4);
            grad[wte.clone()].copy_from_slice(&before);
            cpu.embed_backward(&mut grad, &wte, &wpe, &dout, &x, rows, t, c)
                .unwrap();
            parts(&grad, [wte.clone(), wpe.clone()])
        }) {
            close("token gradient", &token, &want_token, SUMS);
            close("position gradient", &place, &want_place, SUMS);
            assert!(place[t * c..].iter().all(|&g| g == 0.0));
        }
    }
}

// ---------------------------------------------------------------- squares by sequence

/// Squares carry twice the relative error.
const SQUARES: f64 = 2.0 * SUMS;

/// Sequences' parts (S, n), summed; and their squares on top of `before`.
fn totals(parts: &[Vec<f64>], before: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let (mut sum, mut squares) = (vec![0.0; before.len()], wide(before));
    for part in parts {
        for (i, p) in part.iter().enumerate() {
            sum[i] += p;
            squares[i] += p * p;
        }
    }
    (sum, squares)
}

/// What `squares` holds before: positive, as large as what is added, and rubbish where nothing must be.
fn squares_before<const N: usize>(len: usize, ranges: [std::ops::Range<usize>; N]) -> Vec<f32> {
    let mut before = rubbish(len);
    for r in ranges {
        let z = normals(r.len(), 70 + r.start as u64);
        before[r].iter_mut().zip(z).for_each(|(b, z)| *b = z * z);
    }
    before
}

/// To the nearest of 8 significant bits, ties to even: the sum rounds what the lower half is worth.
fn to_bf16(x: &mut [f32]) {
    let big = |v: f32| v * 65537.0; // 2^16 + 1 (Dekker's splitting)
    x.iter_mut().for_each(|v| *v = big(*v) - (big(*v) - *v));
}

/// One sequence, one row, more rows and columns of a weight than are made at a time, sequences longer than a block of k; enough for
/// several threads. Operands are bf16s, so that both precisions have one answer; odd lengths leave a row without its partner in a pair.
#[test]
fn linear_backward_squares() {
    for (b, t, n_in, n_out, bias) in [
        (1, 1, 1, 1, true),
        (5, 1, 3, 40, true),
        (1, 37, 20, 7, false),
        (3, 7, 37, 65, true),
        (4, 33, 96, 200, true),
        (2, 400, 30, 150, false),
        (3, 11, 400, 300, true),
    ] {
        let (rows, at) = (b * t, 3);
        let layer = Linear {
            weight: at..at + n_out * n_in,
            bias: bias.then(|| at + n_out * n_in..at + n_out * n_in + n_out),
            n_in,
            n_out,
        };
        let ranges = [layer.weight.clone(), layer.bias.clone().unwrap_or(0..0)];
        let before = squares_before(at + n_out * (n_in + 1) + 2, ranges.clone());
        let (mut x, mut dout) = (normals(rows * n_in, 71), normals(rows * n_out, 72));
        to_bf16(&mut x);
        to_bf16(&mut dout);
        let (mut dws, mut dbs) = (Vec::new(), Vec::new());
        for (x, d) in x.chunks(t * n_in).zip(dout.chunks(t * n_out)) {
            let (mut dw, mut db) = (vec![0.0; n_out * n_in], vec![0.0; n_out]);
            for (x, d) in x.chunks(n_in).zip(d.chunks(n_out)) {
                for (o, &d) in d.iter().enumerate() {
                    db[o] += d as f64;
                    for (i, &x) in x.iter().enumerate() {
                        dw[o * n_in + i] += d as f64 * x as f64;
                    }
                }
            }
            dws.push(dw);
            dbs.push(db);
        }
        let (want_dw, want_dw_sq) = totals(&dws, &before[layer.weight.clone()]);
        let (x, dout) = ([x, rubbish(4)].concat(), [dout, rubbish(4)].concat());
        let answers = |precision| {
            let on = |cpu: &Cpu| {
                let cpu = cpu.clone().with_precision(precision);
                let (mut grad, mut squares) = (rubbish(before.len()), before.clone());
                cpu.linear_backward_squares(&mut grad, &mut squares, &dout, &x, &layer, rows, t)
                    .unwrap();
                let [dw, db] = parts(&grad, ranges.clone());
                let [dw_sq, db_sq] = parts(&squares, ranges.clone());
                [dw, db, dw_sq, db_sq]
            };
            everywhere(false, on)
        };
        let both = [Precision::Highest, Precision::Medium].map(answers);
        for [dw, db, dw_sq, db_sq] in both.into_iter().flatten() {
            close("weight gradient", &dw, &want_dw, SUMS);
            close("weight squares", &dw_sq, &want_dw_sq, SQUARES);
            if let Some(bias) = layer.bias.clone() {
                let (want_db, want_db_sq) = totals(&dbs, &before[bias]);
                close("bias gradient", &db, &want_db, SUMS);
                close("bias squares", &db_sq, &want_db_sq, SQUARES);
            }
        }
    }
}

/// The input's gradient and the sums are those of the operation without squares, up to the order of the sums.
#[test]
fn layer_norm_backward_squares() {
    for (b, t, c, bias) in [
        (1, 1, 3, true),
        (9, 1, 17, false),
        (4, 9, 384, true),
        (3, 17, 65, true),
    ] {
        let rows = b * t;
        let it = Normed::new(rows, c, bias, 0.5);
        let hat = it.standardised();
        let dout = normals(rows * c, 73);
        let ranges = [it.norm.weight.clone(), it.norm.bias.clone().unwrap_or(0..0)];
        let before = squares_before(it.params.len(), ranges.clone());
        let (mut dws, mut dbs) = (Vec::new(), Vec::new());
        for (d, hat) in dout.chunks(t * c).zip(hat.chunks(t * c)) {
            let (mut dw, mut db) = (vec![0.0; c], vec![0.0; c]);
            for (i, (&d, hat)) in d.iter().zip(hat).enumerate() {
                dw[i % c] += d as f64 * hat;
                db[i % c] += d as f64;
            }
            dws.push(dw);
            dbs.push(db);
        }
        let (want_dw, want_dw_sq) = totals(&dws, &before[it.norm.weight.clone()]);
        let dx_before = normals(rows * c, 74);
        for [dx, want_dx, dw, db, dw_sq, db_sq] in everywhere(true, |cpu| {
            let with_rubbish = |x: &[f32]| [x, &rubbish(c)].concat();
            let (mut out, mut stats) = (rubbish(rows * c), rubbish(rows * 2 + 2));
            let (x, dout) = (with_rubbish(&it.x), with_rubbish(&dout));
            let (params, norm) = (&it.params, &it.norm);
            cpu.layer_norm(&mut out, &mut stats, &x, params, norm, rows, c)
                .unwrap();
            let mut dx = with_rubbish(&dx_before);
            let (mut plain, mut grad) = (dx.clone(), rubbish(before.len()));
            cpu.layer_norm_backward(
                &mut plain, &mut grad, &dout, &x, &stats, params, norm, rows, c,
            )
            .unwrap();
            let (mut grad, mut squares) = (rubbish(before.len()), before.clone());
            cpu.layer_norm_backward_squares(
                &mut dx,
                &mut grad,
                &mut squares,
                &dout,
                &x,
                &stats,
                params,
                norm,
                rows,
                t,
                c,
            )
            .unwrap();
            let [dw, db] = parts(&grad, ranges.clone());
            let [dw_sq, db_sq] = parts(&squares, ranges.clone());
            let [dx, plain] = [dx, plain].map(|dx| front(dx, rows * c));
            [dx, plain, dw, db, dw_sq, db_sq]
        }) {
            assert_eq!(bits(&dx), bits(&want_dx));
            close("gain gradient", &dw, &want_dw, SUMS);
            close("gain squares", &dw_sq, &want_dw_sq, SQUARES);
            if let Some(bias) = it.norm.bias.clone() {
                let (want_db, want_db_sq) = totals(&dbs, &before[bias]);
                close("bias gradient", &db, &want_db, SUMS);
                close("bias squares", &db_sq, &want_db_sq, SQUARES);
            }
        }
    }
}

/// The table's rows get both parts before they are squared; a table of more rows than are made at a time; places beyond the sequences
/// get no gradient, and their squares stay.
#[test]
fn embedding_backward_squares() {
    for (b, t, v, c) in [
        (1, 1, 1, 1),
        (3, 5, 7, 33),
        (2, 9, 11, 16),
        (5, 8, 301, 400),
    ] {
        let (rows, block) = (b * t, 9);
        let x = [tokens(rows, v, 75), vec![u16::MAX; 5]].concat();
        let (wte, wpe) = (3..3 + v * c, 3 + v * c..3 + (v + block) * c);
        let ranges = [wte.clone(), wpe.clone()];
        let before = squares_before(wpe.end + 4, ranges.clone());
        let (dlogits, norm) = (normals(rows * v, 76), normals(rows * c, 77));
        let dout = normals(rows * c, 78);
        let (mut tokens, mut places) = (Vec::new(), Vec::new());
        for s in 0..b {
            let (mut token, mut place) = (vec![0.0; v * c], vec![0.0; block * c]);
            for n in s * t..(s + 1) * t {
                for i in 0..c {
                    for o in 0..v {
                        token[o * c + i] += dlogits[n * v + o] as f64 * norm[n * c + i] as f64;
                    }
                    token[x[n] as usize * c + i] += dout[n * c + i] as f64;
                    place[n % t * c + i] += dout[n * c + i] as f64;
                }
            }
            tokens.push(token);
            places.push(place);
        }
        let (want_token, want_token_sq) = totals(&tokens, &before[wte.clone()]);
        let (want_place, want_place_sq) = totals(&places, &before[wpe.clone()]);
        let longer = |x: &[f32]| [x, &rubbish(c)].concat();
        let (dlogits, norm, dout) = (longer(&dlogits), longer(&norm), longer(&dout));
        for [token, place, token_sq, place_sq] in everywhere(false, |cpu| {
            let (mut grad, mut squares) = (rubbish(before.len()), before.clone());
            let (g, s) = (&mut grad, &mut squares);
            cpu.embed_backward_squares(g, s, &wte, &wpe, &dlogits, &norm, &dout, &x, rows, t, c)
                .unwrap();
            let [token, place] = parts(&grad, ranges.clone());
            let [token_sq, place_sq] = parts(&squares, ranges.clone());
            [token, place, token_sq, place_sq]
        }) {
            close("token gradient", &token, &want_token, SUMS);
            close("token squares", &token_sq, &want_token_sq, SQUARES);
            close("position gradient", &place, &want_place, SUMS);
            close("position squares", &place_sq, &want_place_sq, SQUARES);
            assert!(place[t * c..].iter().all(|&g| g == 0.0));
            assert_eq!(place_sq[t * c..], before[wpe.clone()][t * c..]);
        }
    }
}

// ---------------------------------------------------------------- layer norm

struct Normed {
    c: usize,
    params: Vec<f32>,
    norm: Norm,
    x: Vec<f32>,
}

impl Normed {
    fn new(rows: usize, c: usize, bias: bool, mean: f32) -> Self {
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

    fn weight(&self) -> Vec<f64> {
        wide(&self.params[self.norm.weight.clone()])
    }

    /// Mean and 1/sd of each row.
    fn stats(&self) -> Vec<(f64, f64)> {
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
    fn standardised(&self) -> Vec<f64> {
        let rows = self.x.chunks(self.c).zip(self.stats());
        rows.flat_map(|(row, (mean, rstd))| row.iter().map(move |&v| (v as f64 - mean) * rstd))
            .collect()
    }
}

#[test]
fn layer_norm() {
    for (rows, c, bias) in [
        (1, 1, true),
        (5, 2, false),
        (9, 17, true),
        (37, 384, false),
        (3, 65, true),
    ] {
        // A mean of 1000 leaves x - mean with an error of some 1e-4; one pass over squares would leave 0.1.
        for (mean, tolerance) in [(0.5, SUMS), (1000.0, 2e-4)] {
            let it = Normed::new(rows, c, bias, mean);
            let shift = it.norm.bias.clone().map(|b| wide(&it.params[b]));
            let want: Vec<f64> = it
                .standardised()
                .iter()
                .enumerate()
                .map(|(i, v)| v * it.weight()[i % c] + shift.as_ref().map_or(0.0, |s| s[i % c]))
                .collect();
            let want_stats: Vec<f64> = it.stats().iter().flat_map(|&(m, r)| [m, r]).collect();
            for [out, stats] in everywhere(true, |cpu| {
                let (mut out, mut stats) = (rubbish(rows * c + c), rubbish(rows * 2 + 2));
                let x = [&it.x[..], &rubbish(c)].concat();
                cpu.layer_norm(&mut out, &mut stats, &x, &it.params, &it.norm, rows, c)
                    .unwrap();
                [front(out, rows * c), front(stats, rows * 2)]
            }) {
                let scale = norm(&want).max(1e-3);
                let error = distance(&out, &want) / scale;
                assert!(error < tolerance, "({rows}, {c}): off by {error:e}");
                close("statistics", &stats, &want_stats, tolerance);
            }
        }
    }
}

/// Whatever is not a number, or whose square is beyond f32, is not hidden (a NaN's sign is the machine's affair); a constant
/// row is all bias, however large.
#[test]
fn layer_norm_at_its_ends() {
    let c = 37;
    for (at, value) in [(0, f32::NAN), (36, f32::INFINITY), (5, -3e20), (6, 1e38)] {
        let mut it = Normed::new(1, c, true, 0.5);
        it.x[at] = value;
        for [out, stats] in everywhere(false, |cpu| {
            let (mut out, mut stats) = (rubbish(c), rubbish(2));
            cpu.layer_norm(&mut out, &mut stats, &it.x, &it.params, &it.norm, 1, c)
                .unwrap();
            [out, stats]
        }) {
            assert!(
                stats[1].is_nan() && out.iter().all(|v| v.is_nan()),
                "{value} at {at}"
            );
        }
    }
    let mut it = Normed::new(1, c, true, 0.5);
    it.x.fill(1024.0);
    for [out] in everywhere(true, |cpu| {
        let (mut out, mut stats) = (rubbish(c), rubbish(2));
        cpu.layer_norm(&mut out, &mut stats, &it.x, &it.params, &it.norm, 1, c)
            .unwrap();
        [out]
    }) {
        assert_eq!(bits(&out), bits(&it.params[it.norm.bias.clone().unwrap()]));
    }
}

#[test]
fn layer_norm_backward() {
    for (rows, c, bias) in [
        (1, 3, true),
        (9, 17, false),
        (37, 384, true),
        (50, 65, true),
    ] {
        let it = Normed::new(rows, c, bias, 0.5);
        let (weight, hat) = (it.weight(), it.standardised());
        let dout = normals(rows * c, 8);
        let before = normals(rows * c, 9);
        let mut want_dx = wide(&before);
        let (mut want_dw, mut want_db) = (vec![0.0; c], vec![0.0; c]);
        for (n, (_, rstd)) in it.stats().into_iter().enumerate() {
            let of = n * c..(n + 1) * c;
            let hat = &hat[of.clone()];
            let g: Vec<f64> = (0..c).map(|i| dout[n * c + i] as f64 * weight[i]).collect();
            let mean = g.iter().sum::<f64>() / c as f64;
            let along = g.iter().zip(hat).map(|(g, h)| g * h).sum::<f64>() / c as f64;
            for i in 0..c {
                want_dx[n * c + i] += rstd * (g[i] - mean - hat[i] * along);
                want_dw[i] += dout[n * c + i] as f64 * hat[i];
                want_db[i] += dout[n * c + i] as f64;
            }
        }
        for [dx, dw, db] in everywhere(true, |cpu| {
            let with_rubbish = |x: &[f32]| [x, &rubbish(c)].concat();
            let (mut out, mut stats) = (rubbish(rows * c), rubbish(rows * 2 + 2));
            let (x, dout) = (with_rubbish(&it.x), with_rubbish(&dout));
            cpu.layer_norm(&mut out, &mut stats, &x, &it.params, &it.norm, rows, c)
                .unwrap();
            let (mut dx, mut grad) = (with_rubbish(&before), rubbish(it.params.len()));
            let (params, norm) = (&it.params, &it.norm);
            cpu.layer_norm_backward(&mut dx, &mut grad, &dout, &x, &stats, params, norm, rows, c)
                .unwrap();
            let bias = it.norm.bias.clone().unwrap_or(0..0);
            let [dw, db] = parts(&grad, [it.norm.weight.clone(), bias]);
            [front(dx, rows * c), dw, db]
        }) {
            close("input gradient", &dx, &want_dx, SUMS);
            close("gain gradient", &dw, &want_dw, SUMS);
            match bias {
                true => close("bias gradient", &db, &want_db, SUMS),
                false => assert!(db.is_empty()),
            }
        }
    }
}

// ---------------------------------------------------------------- linear

/// Packed weights, at numbers of rows around every size that is compiled; the rows do not depend on how many there are.
#[test]
fn linear_packed() {
    let shapes = [
        (1, 1, true),
        (37, 65, true),
        (384, 11, false),
        (33, 160, true),
        (300, 129, false),
        (700, 288, true), // enough for two threads
    ];
    for (n_in, n_out, bias) in shapes {
        let at = 3;
        let layer = Linear {
            weight: at..at + n_out * n_in,
            bias: bias.then(|| at + n_out * n_in..at + n_out * n_in + n_out),
            n_in,
            n_out,
        };
        let params = [rubbish(at), normals(n_out * (n_in + 1), 13), rubbish(2)].concat();
        for form in [WeightType::F32, WeightType::Bf16] {
            let mut w = params[layer.weight.clone()].to_vec();
            if form == WeightType::Bf16 {
                to_bf16(&mut w);
            }
            let w = wide(&w);
            for rows in [1, 2, 3, 4, 5, 8, 11, 12, 13, 25, 35] {
                let x = normals(rows * n_in, 14);
                let wide_x = wide(&x);
                let dot = |n: usize, o: usize| {
                    let (x, w) = (&wide_x[n * n_in..][..n_in], &w[o * n_in..][..n_in]);
                    x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>()
                };
                let shift = |o: usize| layer.bias.clone().map_or(0.0, |b| params[b][o] as f64);
                let all = (0..rows).flat_map(|n| (0..n_out).map(move |o| (n, o)));
                let want: Vec<f64> = all.map(|(n, o)| dot(n, o) + shift(o)).collect();
                for [out, alone] in everywhere(false, |cpu| {
                    let packed = cpu.pack(&params, &layer, form).unwrap();
                    let x = [&x[..], &rubbish(4)].concat();
                    let mut out = rubbish(rows * n_out + 5);
                    cpu.linear_packed(&mut out, &x, &packed, &params, &layer, rows)
                        .unwrap();
                    let mut alone = Vec::new();
                    for row in x.chunks_exact(n_in).take(rows) {
                        let mut one = rubbish(n_out);
                        let row = row.to_vec();
                        cpu.linear_packed(&mut one, &row, &packed, &params, &layer, 1)
                            .unwrap();
                        alone.extend(one);
                    }
                    [front(out, rows * n_out), alone]
                }) {
                    close("output", &out, &want, SUMS);
                    assert_eq!(bits(&out), bits(&alone), "{rows} rows of {n_in} by {n_out}");
                }
            }
        }
    }
}

#[test]
fn linear() {
    for (rows, n_in, n_out, bias) in [
        (1, 1, 1, true),
        (1, 37, 65, true),
        (3, 384, 11, false),
        (70, 33, 97, true),
        (130, 96, 200, false),
    ] {
        let at = 3;
        let layer = Linear {
            weight: at..at + n_out * n_in,
            bias: bias.then(|| at + n_out * n_in..at + n_out * n_in + n_out),
            n_in,
            n_out,
        };
        let params = [rubbish(at), normals(n_out * (n_in + 1), 10), rubbish(2)].concat();
        let w = wide(&params[layer.weight.clone()]);
        let shift = layer
            .bias
            .clone()
            .map_or(vec![0.0; n_out], |b| wide(&params[b]));
        let (x, dout) = (normals(rows * n_in, 11), normals(rows * n_out, 12));
        let (wide_x, wide_d) = (wide(&x), wide(&dout));
        let mut want = vec![0.0; rows * n_out];
        let mut want_dx = vec![0.0; rows * n_in];
        let mut want_dw = vec![0.0; n_out * n_in];
        let mut want_db = vec![0.0; n_out];
        for n in 0..rows {
            for o in 0..n_out {
                let d = wide_d[n * n_out + o];
                want_db[o] += d;
                want[n * n_out + o] = shift[o];
                for i in 0..n_in {
                    want[n * n_out + o] += w[o * n_in + i] * wide_x[n * n_in + i];
                    want_dx[n * n_in + i] += d * w[o * n_in + i];
                    want_dw[o * n_in + i] += d * wide_x[n * n_in + i];
                }
            }
        }
        for [out, dx, dw, db] in everywhere(false, |cpu| {
            let x = [&x[..], &rubbish(4)].concat();
            let dout = [&dout[..], &rubbish(4)].concat();
            let mut out = rubbish(rows * n_out + 5);
            cpu.linear(&mut out, &x, &params, &layer, rows).unwrap();
            let (mut dx, mut grad) = (rubbish(rows * n_in + 5), rubbish(params.len()));
            cpu.linear_backward(&mut dx, &mut grad, &dout, &x, &params, &layer, rows)
                .unwrap();
            let bias = layer.bias.clone().unwrap_or(0..0);
            let [dw, db] = parts(&grad, [layer.weight.clone(), bias]);
            let mut alone = rubbish(dx.len());
            cpu.linear_backward_input(&mut alone, &dout, &params, &layer, rows)
                .unwrap();
            assert_eq!(bits(&alone), bits(&dx));
            [front(out, rows * n_out), front(dx, rows * n_in), dw, db]
        }) {
            close("output", &out, &want, SUMS);
            close("input gradient", &dx, &want_dx, SUMS);
            close("weight gradient", &dw, &want_dw, SUMS);
            match bias {
                true => close("bias gradient", &db, &want_db, SUMS),
                false => assert!(db.is_empty()),
            }
        }
    }
}

// ---------------------------------------------------------------- attention

/// What a mask multiplies an element by, from the address alone.
fn mask(d: Option<Dropout>, element: usize) -> f64 {
    let Some(d) = d else { return 1.0 };
    let stream = Stream::new(d.seed, Purpose::Dropout, d.site);
    let word = stream.words(d.step, element as u64 / 4)[element % 4];
    match (word as f64) < (d.p as f64 * 4_294_967_296.0).floor() {
        true => 0.0,
        false => 1.0 / (1.0 - d.p as f64),
    }
}

/// Output (N, C), log-sum-exp (B, H, T), and dqkv (N, 3C) for the output's gradient.
fn attention_reference(
    qkv: &[f64],
    dout: &[f64],
    heads: Heads,
    dropout: Option<Dropout>,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let Heads { b, t, h, size } = heads;
    let c = h * size;
    let scale = 1.0 / (size as f64).sqrt();
    let mut out = vec![0.0; b * t * c];
    let mut lse = vec![0.0; b * h * t];
    let mut dqkv = vec![0.0; 3 * b * t * c];
    for (b, h) in (0..b).flat_map(|b| (0..h).map(move |h| (b, h))) {
        let at = |which: usize, i: usize| (b * t + i) * 3 * c + which * c + h * size;
        let to = |i: usize| (b * t + i) * c + h * size;
        for i in 0..t {
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(a, b)| a * b).sum::<f64>();
            let q = &qkv[at(0, i)..][..size];
            let s: Vec<f64> = (0..=i)
                .map(|j| scale * dot(q, &qkv[at(1, j)..][..size]))
                .collect();
            let top = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let row = (b * heads.h + h) * t + i;
            lse[row] = top + s.iter().map(|s| (s - top).exp()).sum::<f64>().ln();
            let d = &dout[to(i)..][..size];
            let p: Vec<f64> = s.iter().map(|s| (s - lse[row]).exp()).collect();
            let keep: Vec<f64> = (0..=i).map(|j| mask(dropout, row * t + j)).collect();
            // of the probabilities before the mask
            let dp: Vec<f64> = (0..=i)
                .map(|j| keep[j] * dot(d, &qkv[at(2, j)..][..size]))
                .collect();
            let mean = dot(&p, &dp);
            for j in 0..=i {
                let ds = scale * p[j] * (dp[j] - mean);
                for k in 0..size {
                    out[to(i) + k] += keep[j] * p[j] * qkv[at(2, j) + k];
                    dqkv[at(0, i) + k] += ds * qkv[at(1, j) + k];
                    dqkv[at(1, j) + k] += ds * qkv[at(0, i) + k];
                    dqkv[at(2, j) + k] += keep[j] * p[j] * d[k];
                }
            }
        }
    }
    (out, lse, dqkv)
}

/// One token; one block of 64 rows, exactly and one more; three and four blocks, none of them whole at the end.
const HEADS: [Heads; 7] = [
    Heads {
        b: 1,
        t: 1,
        h: 1,
        size: 1,
    },
    Heads {
        b: 5,
        t: 9,
        h: 3,
        size: 7,
    },
    Heads {
        b: 1,
        t: 63,
        h: 2,
        size: 4,
    },
    Heads {
        b: 1,
        t: 64,
        h: 2,
        size: 8,
    },
    Heads {
        b: 2,
        t: 65,
        h: 1,
        size: 16,
    },
    Heads {
        b: 1,
        t: 150,
        h: 3,
        size: 5,
    },
    Heads {
        b: 3,
        t: 200,
        h: 1,
        size: 33,
    },
];

#[test]
fn attention() {
    let rates = [0.0, 0.3];
    for (i, (heads, p)) in HEADS
        .iter()
        .flat_map(|h| rates.map(|p| (*h, p)))
        .enumerate()
    {
        let dropout = (p > 0.0).then_some(Dropout {
            p,
            seed: 4,
            step: 1 << 33,
            site: 5,
        });
        let (n, c) = (heads.b * heads.t, heads.width());
        let rows = heads.b * heads.h * heads.t;
        let qkv = normals(3 * n * c, 20 + i as u64);
        let dout = normals(n * c, 50 + i as u64);
        let (want, want_lse, want_dqkv) =
            attention_reference(&wide(&qkv), &wide(&dout), heads, dropout);
        for [out, lse, dqkv] in everywhere(false, |cpu| {
            let behind = |x: &[f32]| [x, &rubbish(9)].concat();
            let (mut out, mut lse) = (rubbish(n * c + 3), rubbish(rows + 3));
            let (qkv, dout) = (behind(&qkv), behind(&dout));
            cpu.attention(&mut out, &mut lse, &qkv, heads, dropout)
                .unwrap();
            let mut dqkv = rubbish(3 * n * c + 3);
            cpu.attention_backward(&mut dqkv, &dout, &out, &lse, &qkv, heads, dropout)
                .unwrap();
            [front(out, n * c), front(lse, rows), front(dqkv, 3 * n * c)]
        }) {
            // A score is off by a few units, and so is the probability made of it, relatively.
            let check = |what: &str, got: &[f32], want: &[f64]| {
                let error = distance(got, want) / norm(want).max(1.0);
                assert!(
                    error < 2.0 * SUMS,
                    "{heads:?}, p {p}: {what} is off by {error:e}"
                );
            };
            check("output", &out, &want);
            check("log-sum-exp", &lse, &want_lse);
            check("gradient", &dqkv, &want_dqkv);
        }
    }
}

/// Scores of up to some thousand: without the largest taken off, the exponentials would overflow.
#[test]
fn attention_with_large_scores() {
    let heads = Heads {
        b: 1,
        t: 70,
        h: 1,
        size: 16,
    };
    let qkv: Vec<f32> = normals(3 * 70 * 16, 90).iter().map(|v| 30.0 * v).collect();
    let dout = normals(70 * 16, 91);
    let (want, want_lse, want_dqkv) = attention_reference(&wide(&qkv), &wide(&dout), heads, None);
    assert!(want_lse.iter().any(|&s| s > 1000.0));
    for [out, lse, dqkv] in everywhere(false, |cpu| {
        let (mut out, mut lse) = (rubbish(70 * 16), rubbish(70));
        cpu.attention(&mut out, &mut lse, &qkv, heads, None)
            .unwrap();
        let mut dqkv = rubbish(3 * 70 * 16);
        cpu.attention_backward(&mut dqkv, &dout, &out, &lse, &qkv, heads, None)
            .unwrap();
        [out, lse, dqkv]
    }) {
        // A score of 4000 is off by some 2e-4, so a probability is off by that much of itself.
        close("output", &out, &want, 1e-3);
        close("log-sum-exp", &lse, &want_lse, SUMS);
        close("gradient", &dqkv, &want_dqkv, 1e-3);
    }
}

/// Any cut of sequences into what was read and what is new gives what reading each whole gives; all rows, or the last of each.
#[test]
fn attention_cached() {
    let (h, size, block) = (3, 7, 160);
    let (c, slot) = (h * size, 2 * block * h * size);
    // (tokens in all, new ones) of each sequence; slots lie in another order than rows, with a gap before them
    let cases: [&[(usize, usize)]; 5] = [
        &[(1, 1)],
        &[(2, 1), (150, 150)],
        &[(150, 1), (150, 86), (3, 2)],
        &[(160, 66)],
        &[(160, 2), (40, 40), (1, 1), (33, 32)],
    ];
    for case in cases {
        let gap = 11;
        let mut spans = Vec::new();
        let (mut new, mut want, mut filled) = (vec![], vec![], [vec![], vec![]]);
        let n = gap + case.len() * slot;
        filled.fill(rubbish(n + 5));
        for (i, &(total, t)) in case.iter().enumerate() {
            let past = total - t;
            let span = Span {
                row: new.len() / (3 * c),
                rows: t,
                slot: gap + (case.len() - 1 - i) * slot,
                past,
            };
            let qkv = normals(3 * total * c, total as u64);
            let d = Heads {
                b: 1,
                t: total,
                h,
                size,
            };
            let (out, ..) = attention_reference(&wide(&qkv), &vec![0.0; total * c], d, None);
            want.extend_from_slice(&out[past * c..]);
            new.extend_from_slice(&qkv[past * 3 * c..]);
            for (cache, n) in filled.iter_mut().zip([past, total]) {
                for i in 0..n {
                    for which in [1, 2] {
                        let to = span.slot + ((which - 1) * block + i) * c;
                        cache[to..][..c].copy_from_slice(&qkv[i * 3 * c + which * c..][..c]);
                    }
                }
            }
            spans.push(span);
        }
        let rows = new.len() / (3 * c);
        new.extend(rubbish(3 * c));
        for [out, last, cache] in everywhere(false, |cpu| {
            let [mut out, mut last] = [0, 0].map(|_| rubbish(rows * c + c));
            let [mut cache, mut same] = [0, 0].map(|_| filled[0].clone());
            cpu.attention_cached(&mut out, &mut cache, block, &new, &spans, h, size, false)
                .unwrap();
            cpu.attention_cached(&mut last, &mut same, block, &new, &spans, h, size, true)
                .unwrap();
            assert_eq!(bits(&cache), bits(&same));
            [front(out, rows * c), front(last, spans.len() * c), cache]
        }) {
            close("output", &out, &want, 2.0 * SUMS);
            let ends = spans.iter().map(|s| s.row + s.rows - 1);
            let want: Vec<f64> = ends.flat_map(|r| want[r * c..][..c].to_vec()).collect();
            close("last rows", &last, &want, 2.0 * SUMS);
            assert_eq!(bits(&cache), bits(&filled[1]));
        }
    }
}

#[test]
fn last_rows() {
    let (c, x) = (5, normals(45, 1));
    let span = |row, rows| Span {
        row,
        rows,
        slot: 0,
        past: 0,
    };
    for [out] in everywhere(true, |cpu| {
        let mut out = rubbish(4 * c);
        cpu.last_rows(&mut out, &x, &[span(0, 3), span(3, 1), span(4, 5)], c)
            .unwrap();
        [front(out, 3 * c)]
    }) {
        assert_eq!(out, [&x[10..15], &x[15..20], &x[40..45]].concat());
    }
}

// ---------------------------------------------------------------- elementwise

#[test]
fn gelu_forward_and_backward() {
    for n in [1, 17, 4099] {
        let x: Vec<f32> = normals(n, 60).iter().map(|v| 3.0 * v).collect();
        let d = normals(n, 61);
        for form in [Gelu::Exact, Gelu::Tanh] {
            let of = |x: &f32| gelu(form, *x as f64);
            let want: Vec<f64> = x.iter().map(of).collect();
            let slope = |(x, d): (&f32, &f32)| *d as f64 * gelu_derivative(form, *x as f64);
            let want_d: Vec<f64> = x.iter().zip(&d).map(slope).collect();
            for [out, back] in everywhere(true, |cpu| {
                let x = [&x[..], &rubbish(3)].concat();
                let (mut out, mut d) = (rubbish(n + 3), [&d[..], &rubbish(3)].concat());
                cpu.gelu(&mut out, &x, n, form).unwrap();
                cpu.gelu_backward(&mut d, &x, n, form).unwrap();
                [front(out, n), front(d, n)]
            }) {
                // The distribution function is off by 2.5e-7 at most (see the unit tests), tanh by 1.5e-7.
                for i in 0..n {
                    let bound = 4e-7 * (1.0 + x[i].abs() as f64);
                    assert!(
                        (out[i] as f64 - want[i]).abs() < bound,
                        "{form:?} at {}",
                        x[i]
                    );
                    let bound = 8e-7 * (1.0 + x[i].abs() as f64) * (1.0 + d[i].abs() as f64);
                    assert!(
                        (back[i] as f64 - want_d[i]).abs() < bound,
                        "{form:?} at {}",
                        x[i]
                    );
                }
            }
        }
    }
}

/// Far out GELU is 0 or x, its slope 0 or 1; the forms differ by what they are known to (5e-4).
#[test]
fn gelu_at_its_ends() {
    let x = vec![-1e30, -50.0, -20.0, -0.0, 0.0, 20.0, 50.0, 1e30];
    let want = [0.0, 0.0, 0.0, 0.0, 0.0, 20.0, 50.0, 1e30];
    let slope = [0.0, 0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 1.0];
    for form in [Gelu::Exact, Gelu::Tanh] {
        for [out, d] in everywhere(true, |cpu| {
            let (mut out, mut d) = (rubbish(8), vec![1.0; 8]);
            cpu.gelu(&mut out, &x, 8, form).unwrap();
            cpu.gelu_backward(&mut d, &x, 8, form).unwrap();
            [out, d]
        }) {
            for i in 0..8 {
                assert!(
                    (out[i] - want[i]).abs() <= 1e-6 * want[i].abs() + 1e-6,
                    "{form:?} at {}: {}",
                    x[i],
                    out[i]
                );
                assert!(
                    (d[i] - slope[i]).abs() <= 1e-6,
                    "{form:?} at {}: {}",
                    x[i],
                    d[i]
                );
            }
        }
    }
    let (exact, tanh) = (gelu(Gelu::Exact, 2.0), gelu(Gelu::Tanh, 2.0));
    assert!((exact - tanh).abs() > 1e-5 && (exact - tanh).abs() < 5e-4);
}

#[test]
fn addition_rounds_once() {
    for n in [1, 1023, 3001] {
        let (a, b) = (normals(n, 62), normals(n, 63));
        for [out] in everywhere(true, |cpu| {
            let behind = |x: &[f32]| [x, &rubbish(3)].concat();
            let mut out = rubbish(n + 3);
            cpu.add(&mut out, &behind(&a), &behind(&b), n).unwrap();
            [front(out, n)]
        }) {
            let want: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
            assert_eq!(bits(&out), bits(&want));
        }
    }
}

// ---------------------------------------------------------------- dropout

fn drop(cpu: &Cpu, x: &[f32], d: Dropout) -> Vec<f32> {
    let mut out = [x, &rubbish(3)].concat();
    cpu.dropout(&mut out, x.len(), d).unwrap();
    front(out, x.len())
}

#[test]
fn dropout_is_a_function_of_the_address() {
    for (n, p) in [(1, 0.5), (1023, 0.1), (4099, 0.75), (4099, 0.0)] {
        let d = Dropout {
            p,
            seed: 1 << 50,
            step: 3,
            site: 2,
        };
        let x = normals(n, 64);
        for [out] in everywhere(true, |cpu| [drop(cpu, &x, d)]) {
            for i in 0..n {
                let want = x[i] as f64 * mask(Some(d), i);
                // two roundings: the factor's and the product's
                assert!(
                    (out[i] as f64 - want).abs() <= 1.2e-7 * want.abs(),
                    "element {i}"
                );
            }
            assert_eq!(bits(&out) == bits(&x), p == 0.0);
        }
    }
}

/// A share p is dropped, what is kept makes up for it, and masks of different addresses have nothing to do with each
/// other: within 6 standard errors each, a false alarm in 5e8 comparisons.
#[test]
fn dropout_keeps_the_expectation() {
    let (n, p) = (1 << 16, 0.3f32);
    let cpu = Cpu::new(1).unwrap();
    let base = Dropout {
        p,
        seed: 1,
        step: 2,
        site: 3,
    };
    let others = [
        Dropout { seed: 2, ..base },
        Dropout {
            seed: 1 + (1 << 32),
            ..base
        },
        Dropout { step: 3, ..base },
        Dropout {
            step: 2 + (1 << 32),
            ..base
        },
        Dropout { site: 4, ..base },
    ];
    let ones = vec![1.0; n];
    let (q, root) = (1.0 - p as f64, (n as f64).sqrt());
    let sd = (p as f64 * q).sqrt(); // of one decision
    let first = drop(&cpu, &ones, base);
    let share = first.iter().filter(|&&v| v == 0.0).count() as f64 / n as f64;
    assert!((share - p as f64).abs() < 6.0 * sd / root, "{share}");
    let mean = wide(&first).iter().sum::<f64>() / n as f64;
    assert!((mean - 1.0).abs() < 6.0 * sd / q / root, "{mean}");
    for other in others {
        let second = drop(&cpu, &ones, other);
        let both = first
            .iter()
            .zip(&second)
            .filter(|(a, b)| **a > 0.0 && **b > 0.0);
        let share = both.count() as f64 / n as f64;
        let sd = (q * q * (1.0 - q * q)).sqrt();
        assert!(
            (share - q * q).abs() < 6.0 * sd / root,
            "{other:?}: {share}"
        );
    }
}

// ---------------------------------------------------------------- cross-entropy

#[test]
fn cross_entropy() {
    for (b, t, v, size) in [
        (1, 1, 1, 1.0),
        (3, 2, 2, 1.0),
        (5, 9, 16, 3.0),
        (2, 7, 65, 100.0),
        (1, 3, 1000, 1.0),
        (7, 1, 17, 10.0),
    ] {
        let n = b * t;
        let logits: Vec<f32> = normals(n * v, 65).iter().map(|z| size * z).collect();
        let y = [tokens(n, v, 66), vec![0; 3]].concat();
        let row = |i: usize| -> (f64, Vec<f64>) {
            let z = wide(&logits[i * v..(i + 1) * v]);
            let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let lse = top + z.iter().map(|z| (z - top).exp()).sum::<f64>().ln();
            let mut d: Vec<f64> = z.iter().map(|z| (z - lse).exp()).collect();
            d[y[i] as usize] -= 1.0;
            (lse - z[y[i] as usize], d)
        };
        for objective in [Objective::All, Objective::Last] {
            let counts = |i: usize| objective == Objective::All || i % t == t - 1;
            let count = if objective == Objective::All { n } else { b };
            for [nll, nll_2, grad] in everywhere(true, |cpu| {
                let (mut nll, mut nll_2) = (rubbish(n + 2), rubbish(n + 2));
                let mut z = [&logits[..], &rubbish(v)].concat();
                cpu.cross_entropy(&mut nll, &z, &y, n, v).unwrap();
                let weight = 1.0 / count as f32;
                cpu.cross_entropy_backward(&mut nll_2, &mut z, &y, n, t, v, objective, weight)
                    .unwrap();
                for objective in [Objective::All, Objective::Last] {
                    let rows = if objective == Objective::All {
                        (0, 1)
                    } else {
                        (t - 1, t)
                    };
                    let want: f64 = (rows.0..n).step_by(rows.1).map(|i| nll[i] as f64).sum();
                    let (sum, number) = cpu.sum_nll(&nll, n, t, objective).unwrap();
                    assert_eq!((sum, number), (want, (rows.0..n).step_by(rows.1).count()));
                }
                [front(nll, n), front(nll_2, n), front(z, n * v)]
            }) {
                for i in 0..n {
                    let (want, want_d) = row(i);
                    // the sum's rounding, and that of the difference of logits of this size
                    let bound = 2e-6 + 1.2e-7 * 8.0 * size as f64;
                    assert!(
                        (nll[i] as f64 - want).abs() < bound,
                        "{}, not {want}",
                        nll[i]
                    );
                    let d = &grad[i * v..(i + 1) * v];
                    if counts(i) {
                        assert_eq!(nll_2[i].to_bits(), nll[i].to_bits());
                        let want_d: Vec<f64> = want_d.iter().map(|d| d / count as f64).collect();
                        let bound = 1e-6 * (1.0 + size as f64) / count as f64;
                        assert!(distance(d, &want_d) < bound);
                        let sum: f64 = wide(d).iter().sum();
                        assert!(sum.abs() < bound, "a row's gradient sums to {sum}");
                    } else {
                        assert_eq!(nll_2[i], 0.0);
                        assert!(d.iter().all(|&d| d == 0.0));
                    }
                }
            }
        }
    }
}

/// The logits' level does not matter, even where their exponentials overflow; a NaN is not hidden, wherever it is.
#[test]
fn cross_entropy_at_its_ends() {
    let v = 37;
    let nll_of = |cpu: &Cpu, z: &Vec<f32>| {
        let (mut nll, mut back) = (rubbish(1), rubbish(1));
        cpu.cross_entropy(&mut nll, z, &vec![5], 1, v).unwrap();
        let objective = Objective::All;
        let mut z = z.clone();
        cpu.cross_entropy_backward(&mut back, &mut z, &vec![5], 1, 1, v, objective, 0.5)
            .unwrap();
        assert_eq!(bits(&nll), bits(&back));
        nll[0]
    };
    for isa in Isa::all() {
        let cpu = Cpu::with_isa(1, isa).unwrap();
        for level in [-1e30, -500.0, 0.0, 500.0, 1e30f32] {
            // all alike: ln 37
            let nll = nll_of(&cpu, &vec![level; v]);
            assert!((nll - 37f32.ln()).abs() < 1e-6, "{nll} at {level}");
        }
        let mut z = vec![0.0; v];
        z[5] = 1000.0;
        assert_eq!(nll_of(&cpu, &z), 0.0);
        z[5] = -1000.0;
        assert!((nll_of(&cpu, &z) - 1000.0 - 36f32.ln()).abs() < 1e-3);
        for at in 0..v {
            let mut z = normals(v, 67);
            z[at] = f32::NAN;
            assert!(nll_of(&cpu, &z).is_nan(), "a NaN at {at}");
        }
        let mut z = normals(v, 67);
        z[7] = f32::INFINITY;
        assert!(!nll_of(&cpu, &z).is_finite());
    }
}

// ---------------------------------------------------------------- prior

#[test]
fn posterior_gradient() {
    let (std, num_data) = (0.37f32, 1234.5f32);
    let families = [
        Family::Normal,
        Family::Laplace,
        Family::StudentT { dof: 1.7 },
    ];
    for n in [1, 17, 4096, 3 * 4096 + 5] {
        let (loss, theta) = (normals(n, 70), normals(n, 71));
        let (center, weights) = (normals(n, 72), normals(n, 73));
        for (center, weights) in [
            (None, None),
            (Some(&center), None),
            (None, Some(&weights)),
            (Some(&center), Some(&weights)),
        ] {
            let sd = |i: usize| {
                let unit = weights.map_or(1.0, |w| w[i].abs() as f64 + PRIOR_FLOOR as f64);
                std as f64 * unit
            };
            let z = |i: usize| (theta[i] as f64 - center.map_or(0.0, |c| c[i] as f64)) / sd(i);
            for family in families {
                let value_and_slope = |z: f64| match family {
                    Family::Normal => (-0.5 * z * z, -z),
                    Family::Laplace => (-z.abs(), -z.signum()),
                    Family::StudentT { dof } => {
                        let nu = dof as f64;
                        let value = -0.5 * (nu + 1.0) * (z * z / nu).ln_1p();
                        (value, -(nu + 1.0) * z / (nu + z * z))
                    }
                };
                let want: Vec<f64> = (0..n)
                    .map(|i| -(num_data as f64) * loss[i] as f64 + value_and_slope(z(i)).1 / sd(i))
                    .collect();
                let want_sum: f64 = (0..n).map(|i| value_and_slope(z(i)).0).sum();
                for [grad, sum] in everywhere(true, |cpu| {
                    let mut grad = loss.clone();
                    let prior = PriorTerms {
                        center,
                        relative_to: weights,
                        std,
                        family,
                    };
                    let sum = cpu
                        .posterior_gradient(&mut grad, &theta, prior, num_data)
                        .unwrap();
                    let error = (sum / want_sum - 1.0).abs();
                    assert!(error < 1e-6, "{family:?} is off by {error:e}"); // four roundings in z
                    let halves = [sum.to_bits() >> 32, sum.to_bits() & 0xFFFF_FFFF];
                    [grad, halves.map(|h| f32::from_bits(h as u32)).to_vec()]
                }) {
                    close("gradient", &grad, &want, SUMS);
                    assert_eq!(sum.len(), 2);
                }
            }
        }
    }
}

// ---------------------------------------------------------------- the seam itself

#[test]
fn tokens_and_parts_are_copied() {
    let cpu = Cpu::new(2).unwrap();
    let mut room = cpu.tokens(5).unwrap();
    cpu.upload_tokens(&[3, 1, 65_535], &mut room).unwrap();
    cpu.upload_tokens(&[4], &mut room).unwrap();
    assert_eq!(room, [4, 1, 65_535, 0, 0]);
    let mut out = [0.0; 2];
    cpu.download_part(&normals(9, 80), 4, &mut out).unwrap();
    assert_eq!(out, normals(9, 80)[4..6]);
    assert_eq!(cpu.batch(0, || 42), 42);
    assert_eq!(cpu.batch(usize::MAX, || 42), 42);
}
