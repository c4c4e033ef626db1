//! The squares of the sequences' gradients: each operation against plain loops in f64, and the whole against a gradient a sequence.

mod common;

use bnn::backend::ops::*;
use bnn::backend::{
    Cpu, Gelu, GemmPrecision, HeadGrad, Linear, Normed, Objective, Params, Precision, Tables,
    Write, cpu::Isa,
};
use bnn::gpt::{Gpt, SquareSums, Squares, TokenBatch};
use common::kernel::*;
use common::model::*;
use common::{bits, distance, every_cpu, norm, normals, relative_error, tokens, wide};

/// Squares carry twice the relative error.
const FISHER_TOLERANCE: f64 = 4e-5;

// ---------------------------------------------------------------- the operations

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
                let to = with_squares(&mut grad, &mut squares, rows, t);
                cpu.linear_backward_weight(to, &dout, &x, &layer).unwrap();
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
        let it = NormCase::new(rows, c, bias, 0.5);
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
            cpu.layer_norm(&mut out, &mut stats, &x, Params::Flat(params), norm, rows)
                .unwrap();
            let of = || Normed {
                dout: &dout,
                x: &x,
                stats: &stats,
            };
            let mut dx = with_rubbish(&dx_before);
            let (mut plain, mut grad) = (dx.clone(), rubbish(before.len()));
            let to = gradient(&mut grad, rows, t);
            cpu.layer_norm_backward(&mut plain, Write::Add, to, of(), params, norm)
                .unwrap();
            let (mut grad, mut squares) = (rubbish(before.len()), before.clone());
            let to = with_squares(&mut grad, &mut squares, rows, t);
            cpu.layer_norm_backward(&mut dx, Write::Add, to, of(), params, norm)
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

/// A tied table's rows get both parts before they are squared, one of its own the looked-up rows alone; a table of more rows than are made
/// at a time; places beyond the sequences get no gradient, and their squares stay.
#[test]
fn embedding_backward_squares() {
    for (b, t, v, c, tied) in [
        (1, 1, 1, 1),
        (3, 5, 7, 33),
        (2, 9, 11, 16),
        (5, 8, 301, 400),
    ]
    .into_iter()
    .flat_map(|shape| [(shape, true), (shape, false)])
    .map(|((b, t, v, c), tied)| (b, t, v, c, tied))
    {
        let (rows, block) = (b * t, 9);
        let x = tokens(rows, v, 75);
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
                    for o in 0..if tied { v } else { 0 } {
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
            let tables = Tables {
                wte: wte.clone(),
                wpe: wpe.clone(),
                c,
            };
            let missing = HeadGrad::Missing {
                dlogits: &dlogits,
                input: &norm,
            };
            let head = if tied { missing } else { HeadGrad::Own };
            let (to, x) = (
                with_squares(&mut grad, &mut squares, rows, t),
                on_device(cpu, &x, &[]),
            );
            cpu.embed_backward(to, &tables, head, &dout, &x).unwrap();
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

// ---------------------------------------------------------------- the whole

/// By a gradient a sequence: the mean's gradient, and the sum of squares of the summed log likelihood's, in f64.
fn one_by_one(
    model: &mut Model,
    x: &[u16],
    y: &[u16],
    t: usize,
    objective: Objective,
) -> (Vec<f64>, Vec<f64>) {
    let n = model.flat.len();
    let (mut grad, mut squares) = (vec![0.0; n], vec![0.0; n]);
    for (x_s, y_s) in x.chunks(t).zip(y.chunks(t)) {
        let (_, one) = model.gradient(x_s, y_s, t, objective, None).unwrap();
        for (i, &g) in one.iter().enumerate() {
            grad[i] += g as f64 / (x.len() / t) as f64;
            squares[i] += (g as f64 * objective.count(t, t) as f64).powi(2);
        }
    }
    (grad, squares)
}

/// Tables and matrices of more rows and columns than a part of a product has, odd lengths, fewer positions than the block; in f32 and, where
/// the machine has it, in bf16. The squares' buffer is added to, and the threads change no bit.
#[test]
fn squares_are_those_of_a_gradient_a_sequence() {
    let (tied, untied) = (true, false);
    for (shape, bias, tie_weights, b, t) in [
        ([11, 12, 3, 2, 10], true, tied, 1, 12),
        ([67, 40, 2, 3, 51], true, tied, 5, 37),
        ([301, 9, 1, 2, 98], false, untied, 4, 9),
        ([17, 405, 1, 1, 20], true, tied, 2, 401),
        ([67, 33, 2, 3, 51], true, untied, 4, 32),
        ([90, 8, 1, 2, 34], true, tied, 3, 1),
    ] {
        let mut config = config(shape, bias, Gelu::Exact);
        config.tie_weights = tie_weights;
        let of = |what| common::tokens(b * t, shape[0], what);
        let (x, y) = (of(70), of(71));
        for precision in [Precision::Highest, Precision::Medium] {
            for objective in [Objective::All, Objective::Last] {
                let mut seen: Vec<(Isa, Vec<u32>, Vec<u32>)> = Vec::new();
                for cpu in every_cpu() {
                    let cpu = cpu.with_precision(precision);
                    let mut model = Model::random(&cpu, &config, b, t, 72);
                    let (tolerance, squared) = match cpu.gemm_precision() == GemmPrecision::Bits7 {
                        // Products of up to 16 rows are not rounded: a sequence's must have as many as not to differ from the batch's.
                        true if t <= 16 => continue,
                        // A scale by a power of two commutes with the roundings of operands, any other does not.
                        true if !(b * t).is_power_of_two() => (2e-2, 4e-2),
                        _ => (TOLERANCE, FISHER_TOLERANCE),
                    };
                    let (want_grad, want) = one_by_one(&mut model, &x, &y, t, objective);
                    let (want_loss, plain) = model.gradient(&x, &y, t, objective, None).unwrap();
                    let (loss, grad, squares) = model.squares(&x, &y, t, objective).unwrap();
                    assert_eq!(loss, want_loss);
                    for tensor in model.gpt.layout().tensors() {
                        let r = tensor.range.clone();
                        let (name, floor) = (&tensor.name, 1e-4);
                        // Next to nothing is left of a key's bias, which is exactly 0.
                        let near = |got: &[f32], want: &[f64], tolerance: f64| {
                            let size = norm(&want[r.clone()]).max(floor * norm(want));
                            let error = distance(&got[r.clone()], &want[r.clone()]) / size;
                            assert!(error < tolerance, "{cpu:?}: {name} is off by {error:e}");
                        };
                        near(&grad, &want_grad, tolerance);
                        near(&grad, &wide(&plain), tolerance);
                        near(&squares, &want, squared);
                    }
                    // A second call adds the same again.
                    let (gpt, ws, params) = (&model.gpt, &mut model.ws, &model.params);
                    let (of, grad) = (Squares::Gradients, &mut model.grad);
                    let mut twice = squares.clone();
                    let batch = TokenBatch::new(&x, &y, t, objective);
                    let sums = SquareSums { of, to: &mut twice };
                    gpt.gradient_and_squares(&cpu, params, batch, ws, grad, sums)
                        .unwrap();
                    let doubled: Vec<f64> = squares.iter().map(|&s| 2.0 * s as f64).collect();
                    assert!(relative_error(&twice, &doubled) < 1e-6);
                    seen.push((cpu.isa(), bits(grad), bits(&squares)));
                }
                for pair in seen.chunks(3) {
                    assert!(pair.iter().all(|one| *one == pair[0]), "threads");
                }
            }
        }
    }
}

/// A last norm with a gain of 5e-20 makes gradients of about that size everywhere but in the gain: the squares, the largest of a tensor
/// 1e-38 to 1e-35, keep their digits. In the scale of the mean they would not, as the test itself shows.
#[test]
fn squares_of_tiny_gradients_keep_their_digits() {
    let (b, t) = (4, 100);
    let config = config([13, t, 2, 2, 12], false, Gelu::Exact);
    let (x, y) = (common::tokens(b * t, 13, 73), common::tokens(b * t, 13, 74));
    let mut flat = Model::random(&Cpu::new(1).unwrap(), &config, b, t, 75).flat;
    let gpt = Gpt::new(config.clone()).unwrap();
    let gain = gpt.layout().tensor("transformer.ln_f.weight").unwrap();
    flat[gain.range.clone()]
        .iter_mut()
        .for_each(|w| *w *= 5e-20);
    for cpu in every_cpu() {
        let mut model = Model::new(&cpu, &config, &flat, b, t);
        let (_, want) = one_by_one(&mut model, &x, &y, t, Objective::All);
        let (_, _, squares) = model.squares(&x, &y, t, Objective::All).unwrap();
        let n = (b * t) as f32;
        let mean = |s: &f64| (s / (n * n) as f64) as f32;
        let of_the_mean: Vec<f32> = want.iter().map(mean).collect();
        for tensor in gpt.layout().tensors().iter().filter(|t| *t != gain) {
            let of = tensor.range.clone();
            let (name, want) = (&tensor.name, &want[of.clone()]);
            let top = want.iter().copied().fold(0.0, f64::max);
            assert!((1e-38..1e-35).contains(&top), "{name}: {top:e}");
            let error = relative_error(&squares[of.clone()], want);
            assert!(error < FISHER_TOLERANCE, "{name} is off by {error:e}");
            let lost: Vec<f32> = of_the_mean[of].iter().map(|&s| s * n * n).collect();
            let error = relative_error(&lost, want);
            assert!(error > 2.0 * FISHER_TOLERANCE, "{name}: {error:e}");
        }
    }
}
