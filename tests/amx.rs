//! Products on AMX tiles, on the machine's own or by emulation (`common/amx.rs`): against f64 at odd sizes.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod common;

use bnn::backend::cpu::gemm::{rows, rows_mut};
use bnn::backend::{Cpu, Precision};
use common::amx::isa;
use common::bits;
use common::operand::{Operand, check_what_follows, expected, random, to_bf16};

/// Bounds of |error| of each element with split operands: 2^-15 of each |a b|, and the roundings of three sums over k.
fn split_bounds(
    a: &Operand,
    b: &Operand,
    c: Option<&[f32]>,
    bias: Option<&[f32]>,
) -> (Vec<f64>, Vec<f64>) {
    let (want, f32_bounds) = expected(a, b, c, b.cols, bias);
    let k = a.cols as f64;
    // An f32 bound is (k + 3) u times the magnitude.
    let per = (2f64.powi(-15) + (3.0 * k + 5.0) * 2f64.powi(-24)) * 1.01;
    let bounds = f32_bounds
        .iter()
        .map(|b| b / ((k + 3.0) * 2f64.powi(-24)) * per)
        .collect();
    (want, bounds)
}

/// Every layout, with C and bias and without, at sizes that fill no tile, fill them, and are cut into several parts of columns and of k.
#[test]
fn a_product_is_what_its_precision_says() {
    let Some(isa) = isa() else { return };
    for (m, n, k) in [
        (17, 1, 1),
        (17, 33, 31),
        (32, 32, 32),
        (45, 70, 129),
        (96, 65, 64),
        (33, 65, 800),
        (530, 33, 250),   // two blocks of rows
        (33, 1030, 1100), // two parts of columns, two of k
        (33, 40, 0),
    ] {
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            if m * n > 10_000 && ta == tb {
                continue; // both kinds of packing are in the other two
            }
            let a = Operand::new(3, m, k, 2, ta);
            let b = Operand::new(4, k, n, 1, tb);
            let round = |x: &Operand| Operand {
                data: x.data.iter().map(|&v| to_bf16(v)).collect(),
                ..x.clone()
            };
            let (before, bias) = (random(5, m * n), random(6, n));
            for (accumulate, bias) in [(true, Some(&bias[..])), (false, None)] {
                let run = |threads, precision: Precision| {
                    let cpu = Cpu::with_isa(threads, isa)
                        .unwrap()
                        .with_precision(precision);
                    // Without accumulate C is not read: NaN must not come through.
                    let mut c = if accumulate {
                        before.clone()
                    } else {
                        vec![f32::NAN; m * n]
                    };
                    cpu.gemm(
                        a.mat(),
                        b.mat(),
                        rows_mut(&mut c, (m, n), n),
                        accumulate,
                        bias,
                    );
                    c
                };
                let c = accumulate.then_some(&before[..]);
                let (exact, f32_bounds) = expected(&a, &b, c, n, bias);
                for precision in [Precision::High, Precision::Medium] {
                    let got = run(1, precision);
                    let (want, bounds) = match precision {
                        Precision::High => split_bounds(&a, &b, c, bias),
                        _ => expected(&round(&a), &round(&b), c, n, bias),
                    };
                    for (at, ((got, want), bound)) in got.iter().zip(&want).zip(&bounds).enumerate()
                    {
                        let error = (f64::from(*got) - want).abs();
                        assert!(
                            error <= *bound,
                            "{precision:?} ({m}, {n}, {k}) {ta} {tb}: {at} is off by {error:e} of {bound:e}"
                        );
                    }
                    // Another precision than f32 was at work.
                    let far = got.iter().zip(&exact).zip(&f32_bounds);
                    let rounded = far
                        .filter(|((g, e), b)| (f64::from(**g) - **e).abs() > **b)
                        .count();
                    let enough = match precision {
                        _ if k == 0 => true,
                        Precision::Medium => rounded > m * n / 4,
                        // From some k on f32's own bound is as wide.
                        _ => rounded > 0 || k > 31,
                    };
                    assert!(enough, "{precision:?}: {rounded} of {}", m * n);
                    for threads in [2, 3] {
                        assert_eq!(
                            bits(&run(threads, precision)),
                            bits(&got),
                            "{threads} threads"
                        );
                    }
                }
            }
        }
    }
}

/// The worst that a product of split operands can be: both lower parts and what is left of them as large as they get, all of one sign.
#[test]
fn the_bound_of_split_operands_is_nearly_reached() {
    let Some(isa) = isa() else { return };
    let cpu = Cpu::with_isa(1, isa)
        .unwrap()
        .with_precision(Precision::High);
    let (m, n) = (17, 1);
    let a = vec![1.0 + 254.5 / 65536.0; m];
    let mut c = vec![0.0; m * n];
    cpu.gemm(
        rows(&a, (m, 1), 1),
        rows(&a[..1], (1, n), 1),
        rows_mut(&mut c, (m, n), n),
        false,
        None,
    );
    let exact = f64::from(a[0]) * f64::from(a[0]);
    let error = (f64::from(c[0]) - exact).abs() / exact * 2f64.powi(15);
    assert!(error < 1.0 && error > 0.97, "{error} of 2^-15");
}

/// The error of a large product relative to its norm, and that no term of the three is missing: without one of the lower ones it is 1e-3.
#[test]
fn split_operands_have_sixteen_bits() {
    let Some(isa) = isa() else { return };
    let (m, n, k) = (64, 64, 500);
    let (a, b) = (
        Operand::new(7, m, k, 0, false),
        Operand::new(8, k, n, 0, true),
    );
    let (want, _) = expected(&a, &b, None, n, None);
    let cpu = Cpu::with_isa(1, isa).unwrap();
    let error = |precision| {
        let mut c = vec![0.0; m * n];
        let cpu = cpu.clone().with_precision(precision);
        cpu.gemm(a.mat(), b.mat(), rows_mut(&mut c, (m, n), n), false, None);
        common::relative_error(&c, &want)
    };
    let (high, medium) = (error(Precision::High), error(Precision::Medium));
    println!("high {high:e}, medium {medium:e}");
    assert!(high < 6e-6 && high > 1e-6, "{high:e}");
    assert!(medium < 3e-3 && medium > 1e-3, "{medium:e}");
}

#[test]
fn what_follows_comes_after_all_of_k() {
    let Some(isa) = isa() else { return };
    for precision in [Precision::High, Precision::Medium] {
        let cpu = Cpu::with_isa(2, isa).unwrap();
        check_what_follows(&cpu.with_precision(precision));
    }
}

/// What is not finite comes through in its row and nowhere else; denormals count as 0.
#[test]
fn no_infinity_is_hidden() {
    let Some(isa) = isa() else { return };
    let (m, n, k) = (20, 40, 7);
    for precision in [Precision::High, Precision::Medium] {
        let cpu = Cpu::with_isa(1, isa).unwrap().with_precision(precision);
        // NaNs whose upper halves alone would be an infinity, or wrap around to -0.
        let huge = 3.4e38f32; // no bf16 is near
        let nans = [0x7f80_0001, 0x7fff_ffff, 0xffff_ffff].map(f32::from_bits);
        for bad in [
            &[f32::INFINITY, f32::NEG_INFINITY, f32::NAN][..],
            &nans,
            &[huge],
        ]
        .concat()
        {
            for (at, transposed) in [(0, false), (6, false), (0, true), (6, true)] {
                let mut a = Operand::new(1, m, k, 0, transposed);
                a.data[if transposed { at * m + 18 } else { 18 * k + at }] = bad;
                let b = Operand::new(2, k, n, 0, false);
                let mut c = vec![0.0; m * n];
                cpu.gemm(a.mat(), b.mat(), rows_mut(&mut c, (m, n), n), false, None);
                for (i, row) in c.chunks(n).enumerate() {
                    assert!(
                        row.iter().all(|v| v.is_finite() == (i != 18)),
                        "{precision:?}: {bad} in row {i}"
                    );
                }
            }
        }
        let (tiny, big) = (vec![f32::MIN_POSITIVE / 4.0; m * k], vec![1e38; k * n]);
        let mut c = vec![1.0; m * n];
        let (a, b) = (rows(&tiny, (m, k), k), rows(&big, (k, n), n));
        cpu.gemm(a, b, rows_mut(&mut c, (m, n), n), false, None);
        assert!(c.iter().all(|&v| v == 0.0), "{}", c[0]);
    }
}
