//! The operations with weights, on the CPU: embedding, layer norm and linear, each against plain loops in f64 on every instruction set; the
//! threads change no bit.
//!
//! Buffers are longer than the batch and hold rubbish beforehand: what an operation must not read or write shows.

mod common;

use bnn::backend::ops::*;
use bnn::backend::{
    Cpu, Dropout, EnsembleLayout, Epilogue, Gelu, HeadGrad, Linear, Normed, Params, Piece,
    Positions, Tables, WeightType, Write,
};
use common::kernel::*;
use common::{bits, distance, norm, normals, tokens, wide};

// ---------------------------------------------------------------- embedding

#[test]
fn embedding() {
    let (v, block) = (7, 9);
    for (b, t, first, c) in [(1, 1, 8, 1), (3, 5, 0, 33), (2, 9, 0, 16), (7, 4, 3, 18)] {
        let rows = b * t;
        let x = tokens(rows, v, 1);
        let params = [rubbish(3), normals((v + block) * c, 2), rubbish(2)].concat();
        let (wte, wpe) = (3..3 + v * c, 3 + v * c..3 + (v + block) * c);
        let (token, place) = (wide(&params[wte.clone()]), wide(&params[wpe.clone()]));
        let want = |first: usize| -> Vec<f64> {
            let at = |(n, i)| token[x[n] as usize * c + i] + place[(first + n % t) * c + i];
            let all = (0..rows).flat_map(|n| (0..c).map(move |i| (n, i)));
            all.map(at).collect()
        };
        let tables = Tables {
            wte: wte.clone(),
            wpe: wpe.clone(),
            c,
        };
        let pieces: Vec<_> = (0..b)
            .map(|sequence| Piece {
                sequence,
                len: t,
                past: first,
            })
            .collect();
        for [out, out_at] in everywhere(true, |cpu| {
            let [mut out, mut out_at] = [0, 0].map(|_| rubbish(rows * c + c));
            let (flat, x) = (Params::Flat(&params), on_device(cpu, &x, &pieces));
            cpu.embed(&mut out, flat, &tables, &x, rows, Positions::Windows(t))
                .unwrap();
            cpu.embed(&mut out_at, flat, &tables, &x, rows, Positions::Pieces)
                .unwrap();
            [front(out, rows * c), front(out_at, rows * c)]
        }) {
            close("embedding", &out, &want(0), 1e-7); // one rounding
            close("embedding of pieces", &out_at, &want(first), 1e-7);
        }
    }
}

#[test]
fn embedding_backward() {
    let (v, block) = (7, 9);
    let shapes = [(1, 1, 1), (3, 5, 33), (40, 9, 16), (7, 4, 18)];
    for ((b, t, c), tied) in shapes.into_iter().flat_map(|s| [(s, true), (s, false)]) {
        let rows = b * t;
        let x = tokens(rows, v, 3);
        let (wte, wpe) = (3..3 + v * c, 3 + v * c..3 + (v + block) * c);
        let dout = [normals(rows * c, 4), rubbish(c)].concat();
        let before = normals(v * c, 5); // what the head left in wte's gradient
        let mut want_token = if tied {
            wide(&before)
        } else {
            vec![0.0; v * c]
        };
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
            let tables = Tables {
                wte: wte.clone(),
                wpe: wpe.clone(),
                c,
            };
            let head = if tied { HeadGrad::There } else { HeadGrad::Own };
            let (to, x) = (gradient(&mut grad, rows, t), on_device(cpu, &x, &[]));
            cpu.embed_backward(to, &tables, head, &dout, &x).unwrap();
            parts(&grad, [wte.clone(), wpe.clone()])
        }) {
            close("token gradient", &token, &want_token, SUMS);
            close("position gradient", &place, &want_place, SUMS);
            assert!(place[t * c..].iter().all(|&g| g == 0.0));
        }
    }
}

// ---------------------------------------------------------------- layer norm

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
            let it = NormCase::new(rows, c, bias, mean);
            let shift = it.norm.bias.clone().map(|b| wide(&it.params[b]));
            let want: Vec<f64> = it
                .standardised()
                .iter()
                .enumerate()
                .map(|(i, v)| v * it.weight()[i % c] + shift.as_ref().map_or(0.0, |s| s[i % c]))
                .collect();
            let want_stats: Vec<f64> = it.stats().iter().flat_map(|&(m, r)| [m, r]).collect();
            for [out, stats] in everywhere(true, |cpu| {
                let x = [&it.x[..], &rubbish(c)].concat();
                let [out, stats] = it.forward(cpu, &x, rows);
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
        let mut it = NormCase::new(1, c, true, 0.5);
        it.x[at] = value;
        for [out, stats] in everywhere(false, |cpu| {
            let [out, stats] = it.forward(cpu, &it.x, 1);
            [front(out, c), front(stats, 2)]
        }) {
            assert!(
                stats[1].is_nan() && out.iter().all(|v| v.is_nan()),
                "{value} at {at}"
            );
        }
    }
    let mut it = NormCase::new(1, c, true, 0.5);
    it.x.fill(1024.0);
    for [out] in everywhere(true, |cpu| {
        let [out, _] = it.forward(cpu, &it.x, 1);
        [front(out, c)]
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
        let it = NormCase::new(rows, c, bias, 0.5);
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
            let (x, dout) = (with_rubbish(&it.x), with_rubbish(&dout));
            let [_, stats] = it.forward(cpu, &x, rows);
            let (mut dx, mut grad) = (with_rubbish(&before), rubbish(it.params.len()));
            let (params, norm) = (&it.params, &it.norm);
            let of = || Normed {
                dout: &dout,
                x: &x,
                stats: &stats,
            };
            // Overwritten, and then added to what was there.
            let (mut over, mut again) = (rubbish(rows * c + c), rubbish(it.params.len()));
            let to = gradient(&mut again, rows, rows);
            cpu.layer_norm_backward(&mut over, Write::Over, to, of(), params, norm)
                .unwrap();
            let to = gradient(&mut grad, rows, rows);
            cpu.layer_norm_backward(&mut dx, Write::Add, to, of(), params, norm)
                .unwrap();
            assert_eq!(bits(&grad), bits(&again));
            let over = wide(&front(over, rows * c));
            let sum: Vec<f64> = over
                .iter()
                .zip(&before)
                .map(|(a, b)| a + *b as f64)
                .collect();
            close("input gradient, over", &dx[..rows * c], &sum, SUMS);
            let bias = it.norm.bias.clone().unwrap_or(0..0);
            let [dw, db] = parts(&grad, [it.norm.weight.clone(), bias]);
            [front(dx, rows * c), dw, db]
        }) {
            close("input gradient", &dx, &want_dx, SUMS);
            close("gain gradient", &dw, &want_dw, SUMS);
            if bias {
                close("bias gradient", &db, &want_db, SUMS)
            } else {
                assert!(db.is_empty())
            }
        }
    }
}

// ---------------------------------------------------------------- linear

/// Packed weights, at numbers of rows around every size that is compiled; the rows do not depend on how many there are.
#[test]
fn linear_of_an_ensemble() {
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
                    let layout = EnsembleLayout {
                        layers: std::slice::from_ref(&layer),
                        flat: &layer.bias.clone().map_or(vec![], |b| vec![b]),
                        form,
                    };
                    let ensemble = cpu.ensemble(vec![params.clone()], layout).unwrap();
                    let of = Params::Ensemble(&ensemble);
                    let x = [&x[..], &rubbish(4)].concat();
                    let mut out = rubbish(rows * n_out + 5);
                    cpu.linear(&mut out, &x, of, &layer, rows, Epilogue::None)
                        .unwrap();
                    let mut alone = Vec::new();
                    for row in x.chunks_exact(n_in).take(rows) {
                        let mut one = rubbish(n_out);
                        let row = row.to_vec();
                        cpu.linear(&mut one, &row, of, &layer, 1, Epilogue::None)
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
            let flat = Params::Flat(&params);
            cpu.linear(&mut out, &x, flat, &layer, rows, Epilogue::None)
                .unwrap();
            let (mut dx, mut grad) = (rubbish(rows * n_in + 5), rubbish(params.len()));
            cpu.linear_backward_input(&mut dx, &dout, &params, &layer, rows, Epilogue::None)
                .unwrap();
            cpu.linear_backward_weight(gradient(&mut grad, rows, rows), &dout, &x, &layer)
                .unwrap();
            let bias = layer.bias.clone().unwrap_or(0..0);
            let [dw, db] = parts(&grad, [layer.weight.clone(), bias]);
            follows(cpu, &out, rows * n_out, |to, then| {
                cpu.linear(to, &x, flat, &layer, rows, then).unwrap();
            });
            follows(cpu, &dx, rows * n_in, |to, then| {
                cpu.linear_backward_input(to, &dout, &params, &layer, rows, then)
                    .unwrap();
            });
            [front(out, rows * n_out), front(dx, rows * n_in), dw, db]
        }) {
            close("output", &out, &want, SUMS);
            close("input gradient", &dx, &want_dx, SUMS);
            close("weight gradient", &dw, &want_dw, SUMS);
            if bias {
                close("bias gradient", &db, &want_db, SUMS)
            } else {
                assert!(db.is_empty())
            }
        }
    }
}

/// What follows a product, to the bit what it is as an operation of its own: the sum, the product by element, GELU of each form.
fn follows(cpu: &Cpu, plain: &[f32], n: usize, product: impl Fn(&mut Vec<f32>, Epilogue<'_, Cpu>)) {
    let with = [&normals(n, 13)[..], &rubbish(4)].concat();
    let make = |then: Epilogue<'_, Cpu>| {
        let mut out = rubbish(n + 5);
        product(&mut out, then);
        front(out, n)
    };
    let each = |f: fn(f32, f32) -> f32| -> Vec<f32> {
        plain
            .iter()
            .zip(&with[..n])
            .map(|(a, b)| f(*a, *b))
            .collect()
    };
    let residual = |dropout| Epilogue::Residual {
        x: &with,
        dropout,
        ends: None,
    };
    assert_eq!(bits(&make(residual(None))), bits(&each(|a, b| a + b)));
    assert_eq!(bits(&make(Epilogue::Mul(&with))), bits(&each(|a, b| a * b)));
    let d = Dropout {
        p: 0.3,
        seed: 1,
        step: 2,
        site: 3,
    };
    let kept = dropped(cpu, &plain[..n], d);
    let want: Vec<f32> = kept.iter().zip(&with).map(|(a, b)| a + b).collect();
    assert_eq!(bits(&make(residual(Some(d)))), bits(&want));
    for form in [Gelu::Exact, Gelu::Tanh] {
        let (mut act, mut want) = (rubbish(n + 7), rubbish(n));
        let got = make(Epilogue::Gelu(&mut act, form));
        assert_eq!(bits(&got), bits(&plain[..n]));
        cpu.gelu_slope(&mut want, &mut plain.to_vec(), n, form)
            .unwrap();
        assert_eq!(bits(&act[..n]), bits(&want));
        assert_eq!(
            bits(&act[n..]),
            bits(&rubbish(n + 7)[n..]),
            "beyond the end"
        );
    }
}
