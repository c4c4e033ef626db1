//! The generalised Gauss-Newton matrix's diagonal: the cotangent against its formula, and its squares' mean against the exact diagonal.

mod common;

use bnn::backend::ops::*;
use bnn::backend::{Cotangent, LossShape, Scalars};
use bnn::gpt::{Gelu, Objective, SquareSums, Squares, TokenBatch};
use bnn::rng::{Stream, StreamTag};
use common::model::{Model, config};
use common::{every_cpu, normals, reference, tokens, wide};

fn softmax(z: &[f64]) -> Vec<f64> {
    let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = z.iter().map(|z| (z - top).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.iter().map(|e| e / sum).collect()
}

fn cotangent(p: &[f64], sign: impl Fn(usize) -> f64) -> Vec<f64> {
    let root = |i: usize| p[i].sqrt() * sign(i);
    let along: f64 = (0..p.len()).map(root).sum();
    (0..p.len()).map(|i| root(i) - p[i] * along).collect()
}

/// Over all signs the mean of s s^T is diag(p) - p p^T.
#[test]
fn the_cotangents_covariance_is_the_hessian() {
    let p = softmax(&[0.3, -1.0, 2.0, 0.5]);
    let mut mean = [[0.0; 4]; 4];
    for signs in 0..16 {
        let s = cotangent(&p, |i| 1.0 - 2.0 * (signs >> i & 1) as f64);
        for (i, row) in mean.iter_mut().enumerate() {
            row.iter_mut()
                .zip(&s)
                .for_each(|(m, b)| *m += s[i] * b / 16.0);
        }
    }
    for (i, row) in mean.iter().enumerate() {
        for (j, m) in row.iter().enumerate() {
            let own = if i == j { p[i] } else { 0.0 };
            assert!((m - (own - p[i] * p[j])).abs() < 1e-15);
        }
    }
}

/// The kernel is the formula with the stream's bits, on every instruction set; rows that do not count are 0; what lies behind stays.
#[test]
fn the_kernel_is_the_formula() {
    let stream = Stream::new(11, StreamTag::Labels, 0);
    for (b, t, v, size) in [
        (1, 1, 1, 1.0),
        (3, 2, 2, 1.0),
        (2, 5, 65, 4.0),
        (2, 3, 129, 1.0),
        (1, 2, 700, 20.0),
    ] {
        let n = b * t;
        let logits: Vec<f32> = normals(n * v, 12).iter().map(|z| size * z).collect();
        for objective in [Objective::All, Objective::Last] {
            for cpu in every_cpu() {
                let mut z = cpu.zeros(n * v + 7).unwrap();
                z.fill(3.0);
                z[..n * v].copy_from_slice(&logits);
                let (mut nll, y) = (cpu.zeros(n).unwrap(), cpu.tokens(n).unwrap());
                let shape = LossShape {
                    rows: n,
                    t,
                    v,
                    objective,
                };
                let curvature = Cotangent::Curvature { stream, draw: 5 };
                let mut found = Scalars::default();
                cpu.cross_entropy(&mut nll, &mut z, &y, shape, curvature, &mut found)
                    .unwrap();
                for row in 0..n {
                    let got = &z[row * v..][..v];
                    if objective == Objective::Last && row % t != t - 1 {
                        assert!(got.iter().all(|&s| s == 0.0));
                        continue;
                    }
                    let p = softmax(&wide(&logits[row * v..][..v]));
                    let blocks = v.div_ceil(128);
                    let want = cotangent(&p, |i| {
                        let words = stream.words(5, (row * blocks + i / 128) as u64);
                        1.0 - 2.0 * (words[i % 128 / 32] >> (i % 32) & 1) as f64
                    });
                    for (g, w) in got.iter().zip(want) {
                        assert!((*g as f64 - w).abs() < 1e-5, "{cpu:?}: {g} for {w}");
                    }
                }
                assert!(z[n * v..].iter().all(|&z| z == 3.0));
            }
        }
    }
}

/// The mean over draws of the squares is the exact diagonal sum_t J_t^T (diag(p_t) - p_t p_t^T) J_t, the Jacobians by differences of the f64
/// model. 3000 draws; the largest of 300 errors in units of its own standard error, which passes 6.5 once in 4e7 for a normal. With the
/// cotangent's sum taken with weights p in place of r, it was 40.
#[test]
fn the_squares_mean_is_the_exact_diagonal() {
    let (v, t, b) = (4, 3, 2);
    let config = config([v, t, 1, 1, 4], true, Gelu::Exact);
    let (x, y) = (tokens(b * t, v, 21), tokens(b * t, v, 22));
    let cpu = bnn::backend::Cpu::new(1).unwrap();
    for objective in [Objective::All, Objective::Last] {
        let mut model = Model::random(&cpu, &config, b, t, 23);
        let (flat, n) = (wide(&model.flat), model.flat.len());
        let z = |flat: &[f64]| reference::logits(&model.gpt, flat, &x, t, None);
        let at = z(&flat);
        let mut exact = vec![0.0; n];
        for (i, exact) in exact.iter_mut().enumerate() {
            let moved = |h: f64| {
                let mut flat = flat.clone();
                flat[i] += h;
                z(&flat)
            };
            let (up, down) = (moved(1e-5), moved(-1e-5));
            for row in (0..b * t).filter(|r| objective == Objective::All || r % t == t - 1) {
                let p = softmax(&at[row * v..][..v]);
                let j: Vec<f64> = (0..v)
                    .map(|k| (up[row * v + k] - down[row * v + k]) / 2e-5)
                    .collect();
                let along: f64 = p.iter().zip(&j).map(|(p, j)| p * j).sum();
                let square: f64 = p.iter().zip(&j).map(|(p, j)| p * j * j).sum();
                *exact += square - along * along;
            }
        }
        let draws = 3000;
        let (mut sum, mut sum2) = (vec![0.0; n], vec![0.0; n]);
        let stream = Stream::new(2, StreamTag::Labels, 0);
        let plain = model.loss(&x, &y, t, objective).unwrap();
        for draw in 0..draws {
            let mut squares = cpu.zeros(n).unwrap();
            let (gpt, ws, grad) = (&model.gpt, &mut model.ws, &mut model.grad);
            let loss = gpt
                .gradient_and_squares(
                    &cpu,
                    &model.params,
                    TokenBatch::new(&x, &y, t, objective),
                    ws,
                    grad,
                    SquareSums {
                        of: Squares::Curvature { stream, draw },
                        to: &mut squares,
                    },
                )
                .unwrap();
            assert_eq!(loss, plain);
            for ((s, s2), &q) in sum.iter_mut().zip(&mut sum2).zip(&squares) {
                *s += q as f64;
                *s2 += (q as f64).powi(2);
            }
        }
        let m = draws as f64;
        let largest = exact.iter().copied().fold(0.0, f64::max);
        let mut worst = 0.0f64;
        for ((s, s2), want) in sum.iter().zip(&sum2).zip(&exact) {
            let (mean, variance) = (s / m, s2 / m - (s / m).powi(2));
            let error = (variance.max(0.0) / m).sqrt() + 1e-5 * largest;
            worst = worst.max((mean - want).abs() / error);
        }
        assert!(worst < 6.5, "{objective:?}: {worst}");
    }
}
