//! The operations without weights, on the CPU: GELU, dropout, cross-entropy and the prior's gradient, each against plain loops in f64 on every
//! instruction set; the threads change no bit.
//!
//! Buffers are longer than the batch and hold rubbish beforehand: what an operation must not read or write shows.

mod common;

use bnn::backend::ops::*;
use bnn::backend::{
    Cotangent, Cpu, Dropout, Gelu, LossShape, Objective, PriorFamily, PriorTerms, Scalars, cpu::Isa,
};
use common::kernel::*;
use common::reference::{gelu, gelu_derivative};
use common::{bits, distance, normals, tokens, wide};

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
        for [out] in everywhere(true, |cpu| [dropped(cpu, &x, d)]) {
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
    let first = dropped(&cpu, &ones, base);
    let share = first.iter().filter(|&&v| v == 0.0).count() as f64 / n as f64;
    assert!((share - p as f64).abs() < 6.0 * sd / root, "{share}");
    let mean = wide(&first).iter().sum::<f64>() / n as f64;
    assert!((mean - 1.0).abs() < 6.0 * sd / q / root, "{mean}");
    for other in others {
        let second = dropped(&cpu, &ones, other);
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
        let (center, scales) = (normals(n, 72), normals(n, 73));
        let scales: Vec<f32> = scales.iter().map(|s| 1e-4 + s.abs()).collect();
        for (center, scales) in [
            (None, None),
            (Some(&center), None),
            (None, Some(&scales)),
            (Some(&center), Some(&scales)),
        ] {
            let sd = |i: usize| {
                let unit = scales.map_or(1.0, |s| s[i] as f64);
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
                        scales,
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
fn a_difference_is_added() {
    for n in [1, 17, 4099, 9001] {
        let [to, plus, minus] = [82, 83, 84].map(|what| normals(n, what));
        let each = (0..n).map(|i| {
            let [to, plus, minus] = [&to, &plus, &minus].map(|x| f64::from(x[i]));
            to - 2.5 * (plus - minus)
        });
        let want: Vec<f64> = each.collect();
        for [got] in everywhere(true, |cpu| {
            let mut out = [&to[..], &rubbish(3)].concat();
            let [plus, minus] = [&plus, &minus].map(|x| [&x[..], &rubbish(3)].concat());
            cpu.add_difference(&mut out, -2.5, &plus, &minus, n)
                .unwrap();
            assert_eq!(bits(&out[n..]), bits(&rubbish(3)), "beyond the end");
            [front(out, n)]
        }) {
            assert!(distance(&got, &want) < 1e-6 * (n as f64).sqrt());
        }
    }
}

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
