//! The operations of a transformer on the CPU, each against plain loops in f64 on every instruction set; the threads
//! change no bit.
//!
//! Buffers are longer than the batch and hold rubbish beforehand: what an operation must not read or write shows.

mod common;

use bnn::backend::ops::*;
use bnn::backend::{
    Cotangent, Cpu, Dropout, EnsembleLayout, Epilogue, Gelu, HeadGrad, Linear, LossShape, Normed,
    Objective, PRIOR_FLOOR, Params, Piece, Positions, PriorFamily, PriorTerms, Scalars, Tables,
    WeightType, Write, cpu::Isa,
};
use common::kernel::*;
use common::reference::{gelu, gelu_derivative};
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
                let (mut out, mut stats) = (rubbish(rows * c + c), rubbish(rows * 2 + 2));
                let x = [&it.x[..], &rubbish(c)].concat();
                cpu.layer_norm(
                    &mut out,
                    &mut stats,
                    &x,
                    Params::Flat(&it.params),
                    &it.norm,
                    rows,
                )
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
        let mut it = NormCase::new(1, c, true, 0.5);
        it.x[at] = value;
        for [out, stats] in everywhere(false, |cpu| {
            let (mut out, mut stats) = (rubbish(c), rubbish(2));
            cpu.layer_norm(
                &mut out,
                &mut stats,
                &it.x,
                Params::Flat(&it.params),
                &it.norm,
                1,
            )
            .unwrap();
            [out, stats]
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
        let (mut out, mut stats) = (rubbish(c), rubbish(2));
        cpu.layer_norm(
            &mut out,
            &mut stats,
            &it.x,
            Params::Flat(&it.params),
            &it.norm,
            1,
        )
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
            let (mut out, mut stats) = (rubbish(rows * c), rubbish(rows * 2 + 2));
            let (x, dout) = (with_rubbish(&it.x), with_rubbish(&dout));
            cpu.layer_norm(
                &mut out,
                &mut stats,
                &x,
                Params::Flat(&it.params),
                &it.norm,
                rows,
            )
            .unwrap();
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
    let kept = drop(cpu, &plain[..n], d);
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

// ---------------------------------------------------------------- elementwise

#[test]
fn gelu_and_its_slope() {
    for n in [1, 17, 4099] {
        let x: Vec<f32> = normals(n, 60).iter().map(|v| 3.0 * v).collect();
        for form in [Gelu::Exact, Gelu::Tanh] {
            let of = |x: &f32| gelu(form, *x as f64);
            let want: Vec<f64> = x.iter().map(of).collect();
            let slope = |x: &f32| gelu_derivative(form, *x as f64);
            let want_slope: Vec<f64> = x.iter().map(slope).collect();
            for [out, slope] in everywhere(true, |cpu| {
                let x = [&x[..], &rubbish(3)].concat();
                let (mut out, mut slope) = (rubbish(n + 3), x.clone());
                cpu.gelu_slope(&mut out, &mut slope, n, form).unwrap();
                assert_eq!(bits(&slope[n..]), bits(&x[n..]), "beyond the end");
                [front(out, n), front(slope, n)]
            }) {
                // The distribution function is off by 2.5e-7 at most (see the unit tests), tanh by 1.5e-7.
                for i in 0..n {
                    let bound = 4e-7 * (1.0 + x[i].abs() as f64);
                    assert!(
                        (out[i] as f64 - want[i]).abs() < bound,
                        "{form:?} at {}",
                        x[i]
                    );
                    let bound = 8e-7 * (1.0 + x[i].abs() as f64);
                    assert!(
                        (slope[i] as f64 - want_slope[i]).abs() < bound,
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
            let (mut out, mut d) = (rubbish(8), x.clone());
            cpu.gelu_slope(&mut out, &mut d, 8, form).unwrap();
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

// ---------------------------------------------------------------- dropout

fn drop(cpu: &Cpu, x: &[f32], d: Dropout) -> Vec<f32> {
    let mut out = rubbish(x.len() + 3);
    cpu.dropout(&mut out, &x.to_vec(), x.len(), d).unwrap();
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
        let y = tokens(n, v, 66);
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
                let y = on_device(cpu, &y, &[]);
                let shape = LossShape {
                    rows: n,
                    t,
                    v,
                    objective,
                };
                let none = Cotangent::None;
                let [mut found, mut found_2] = [Scalars::default(); 2];
                cpu.cross_entropy(&mut nll, &mut z, &y, shape, none, &mut found)
                    .unwrap();
                assert_eq!(bits(&z[..n * v]), bits(&logits));
                let gradient = Cotangent::Gradient(1.0 / count as f32);
                cpu.cross_entropy(&mut nll_2, &mut z, &y, shape, gradient, &mut found_2)
                    .unwrap();
                let rows = (0..n).filter(|&i| counts(i));
                assert_eq!(found.nll, rows.map(|i| nll[i] as f64).sum::<f64>());
                assert_eq!(found, found_2);
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
        let (y, mut z) = (on_device(cpu, &[5], &[]), z.clone());
        let shape = LossShape {
            rows: 1,
            t: 1,
            v,
            objective: Objective::All,
        };
        let mut run = |nll: &mut Vec<f32>, cotangent| {
            let mut found = Scalars::default();
            cpu.cross_entropy(nll, &mut z, &y, shape, cotangent, &mut found)
                .unwrap();
        };
        run(&mut nll, Cotangent::None);
        run(&mut back, Cotangent::Gradient(0.5));
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
        PriorFamily::Normal,
        PriorFamily::Laplace,
        PriorFamily::StudentT { dof: 1.7 },
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
                    PriorFamily::Normal => (-0.5 * z * z, -z),
                    PriorFamily::Laplace => (-z.abs(), -z.signum()),
                    PriorFamily::StudentT { dof } => {
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
                    let mut found = Scalars::default();
                    cpu.posterior_gradient(&mut grad, &theta, prior, num_data, &mut found)
                        .unwrap();
                    let sum = found.log_prior;
                    assert_eq!(found.gradient, None);
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
fn rows_come_back_from_the_device() {
    let cpu = Cpu::new(2).unwrap();
    let mut x = cpu.act(3, 4).unwrap();
    x.copy_from_slice(&normals(12, 80));
    let mut out = [0.0; 8];
    cpu.download_act(&x, 4, &mut out).unwrap();
    assert_eq!(out, normals(12, 80)[..8]);
    assert!(cpu.act(usize::MAX, 2).is_err());
}
