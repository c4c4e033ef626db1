//! The matrix product on the CPU against a triple loop in f64, and its promise that threads change no bit.

mod common;

use bnn::backend::Cpu;
use bnn::backend::cpu::gemm::{Panels, cols, rows, rows_mut, serial};
use bnn::backend::{GemmPrecision, Precision, WeightType};
use common::bits;
use common::ensure::every_isa;
use common::operand::{Operand, check_what_follows, expected, random, to_bf16};
use ndarray::ArrayView2;
use proptest::prelude::*;

/// Runs `serial` with every instruction set, on C between guards and with gaps, and compares with f64.
fn check_serial(a: &Operand, b: &Operand, accumulate: bool, gap: usize, bias: Option<&[f32]>) {
    const GUARD: f32 = 1234.5;
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let ldc = n + gap;
    let len = (m - 1) * ldc + n;
    let before = random(9, len);
    let (want, bound) = expected(a, b, accumulate.then_some(&before[..]), ldc, bias);
    for isa in every_isa() {
        let mut buffer = vec![GUARD; len + 200];
        for i in 0..m {
            for j in 0..n {
                // Without accumulate, C is not read: NaN must not come through.
                buffer[100 + i * ldc + j] = if accumulate {
                    before[i * ldc + j]
                } else {
                    f32::NAN
                };
            }
        }
        let c = &mut buffer[100..100 + len];
        serial(
            isa,
            a.mat(),
            b.mat(),
            rows_mut(c, (m, n), ldc),
            accumulate,
            bias,
        );
        for (at, &got) in buffer.iter().enumerate() {
            let inside = at
                .checked_sub(100)
                .map(|at| (at / ldc, at % ldc))
                .filter(|&(i, j)| i < m && j < n);
            match inside {
                Some((i, j)) => {
                    let (want, bound) = (want[i * n + j], bound[i * n + j]);
                    let error = (f64::from(got) - want).abs();
                    assert!(
                        error <= bound,
                        "{isa:?} {m}x{n}x{k}: C({i}, {j}) = {got}, expected {want} within {bound}"
                    );
                }
                None => assert!(
                    got == GUARD,
                    "{isa:?} {m}x{n}x{k}: wrote outside C, at {at} - 100"
                ),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Odd shapes, both layouts of both operands, gaps between rows everywhere.
    #[test]
    fn serial_is_the_product(
        m in 1usize..70, n in 1usize..70, k in 1usize..70,
        pads in (0usize..5, 0usize..5, 0usize..5),
        transposed in (any::<bool>(), any::<bool>()),
        accumulate in any::<bool>(), with_bias in any::<bool>(), seed in any::<u64>(),
    ) {
        let a = Operand::new(seed, m, k, pads.0, transposed.0);
        let b = Operand::new(seed ^ 1, k, n, pads.1, transposed.1);
        let bias = random(seed ^ 2, n);
        check_serial(&a, &b, accumulate, pads.2, with_bias.then_some(&bias[..]));
    }

    /// A row of C does not depend on the rows around it, nor a column on its place: edge tiles sum like whole ones.
    /// (From 17 rows on; below, dot products round differently: see `a_row_alone_is_the_same_row`.)
    #[test]
    fn an_element_does_not_depend_on_its_place(
        m in 17usize..70, n in 1usize..70, k in 1usize..800,
        transposed in (any::<bool>(), any::<bool>()), seed in any::<u64>(),
    ) {
        let a = Operand::new(seed, m, k, 0, transposed.0);
        let b = Operand::new(seed ^ 1, k, n, 0, transposed.1);
        let skip = |x: &Operand, i: usize, j: usize| Operand {
            data: x.data[if x.transposed { j * x.ld + i } else { i * x.ld + j }..].to_vec(),
            rows: x.rows - i, cols: x.cols - j, ..*x
        };
        let (i, j) = ((seed % (m - 16) as u64) as usize, (seed >> 32) as usize % n);
        let (a_part, b_part) = (skip(&a, i, 0), skip(&b, 0, j));
        for isa in every_isa() {
            let mut whole = vec![0.0; m * n];
            serial(isa, a.mat(), b.mat(), rows_mut(&mut whole, (m, n), n), false, None);
            let mut part = vec![0.0; (m - i) * n];
            serial(isa, a_part.mat(), b_part.mat(), rows_mut(&mut part, (m - i, n - j), n), false, None);
            for (whole, part) in whole[i * n..].chunks(n).zip(part.chunks(n)) {
                prop_assert_eq!(bits(&whole[j..]), bits(&part[..n - j]), "{:?}", isa);
            }
        }
    }
}

/// Shapes that cross every block boundary: more than one block of k, of rows, of columns, and their edges.
#[test]
fn blocks_meet_without_seams() {
    for (m, n, k) in [
        (241, 97, 257),
        (13, 1100, 1030),
        (500, 33, 513),
        (1, 130, 700),
        (8, 65, 1000),
        (5, 3, 260),
    ] {
        for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
            let a = Operand::new(3, m, k, 1, ta);
            let b = Operand::new(4, k, n, 3, tb);
            let bias = random(5, n);
            check_serial(&a, &b, true, 2, Some(&bias));
            check_serial(&a, &b, false, 0, None);
        }
    }
}

/// Rows that lie a multiple of 4096 bytes apart take a way of their own.
#[test]
fn rows_a_power_of_two_apart() {
    let (m, n, k) = (301, 70, 400);
    let a = Operand::new(6, m, k, 1024 - k, false);
    let bias = random(8, n);
    for tb in [false, true] {
        let b = Operand::new(7, k, n, 0, tb);
        check_serial(&a, &b, true, 0, Some(&bias));
    }
}

/// With nothing to sum, C is cleared or kept, and the bias still added; with nothing to write, nothing happens.
#[test]
fn empty_dimensions() {
    for isa in every_isa() {
        for (m, n) in [(1, 5), (20, 40)] {
            let bias = random(1, n);
            let mut c = vec![f32::NAN; m * n];
            serial(
                isa,
                rows(&[], (m, 0), 0),
                rows(&[], (0, n), 0),
                rows_mut(&mut c, (m, n), n),
                false,
                Some(&bias),
            );
            assert!(c.chunks(n).all(|row| row == bias), "{isa:?}");
            serial(
                isa,
                rows(&[], (m, 0), 0),
                rows(&[], (0, n), 0),
                rows_mut(&mut c, (m, n), n),
                true,
                None,
            );
            assert!(c.chunks(n).all(|row| row == bias), "{isa:?}");
        }
        serial(
            isa,
            rows(&[], (0, 3), 0),
            rows(&[1.0; 15], (3, 5), 5),
            rows_mut(&mut [], (0, 5), 5),
            false,
            None,
        );
        serial(
            isa,
            rows(&[1.0; 15], (5, 3), 3),
            rows(&[], (3, 0), 0),
            rows_mut(&mut [], (5, 0), 0),
            false,
            None,
        );
    }
}

/// The thread count and the split that follows from it change no bit, for tall, wide, small and thin products.
#[test]
fn threads_change_no_bit() {
    let shapes = [
        (768, 65, 128),
        (100, 700, 90),
        (37, 2000, 64),
        (130, 129, 700),
        (16, 16, 4096),
        (60, 32, 2000), // cut into parts of as few rows as would be dot products alone
        (1, 5000, 384),
        (3, 1537, 500),
        (8, 1537, 384),
        (9, 1030, 300),
        (7, 9, 11),
    ];
    for (m, n, k) in shapes {
        for (ta, tb) in [(false, false), (false, true), (true, false)] {
            let a = Operand::new(1, m, k, 0, ta);
            let b = Operand::new(2, k, n, 0, tb);
            let bias = random(3, n);
            let start = random(4, m * n);
            let (want, bound) = expected(&a, &b, Some(&start), n, Some(&bias));
            for isa in every_isa() {
                let mut alone = start.clone();
                serial(
                    isa,
                    a.mat(),
                    b.mat(),
                    rows_mut(&mut alone, (m, n), n),
                    true,
                    Some(&bias),
                );
                for ((got, want), bound) in alone.iter().zip(&want).zip(&bound) {
                    let error = (f64::from(*got) - want).abs();
                    assert!(
                        error <= *bound,
                        "{isa:?} {m}x{n}x{k}: {got}, expected {want}"
                    );
                }
                let mut alone_plain = vec![f32::NAN; m * n];
                serial(
                    isa,
                    a.mat(),
                    b.mat(),
                    rows_mut(&mut alone_plain, (m, n), n),
                    false,
                    None,
                );
                for threads in [1, 2, 3, 5] {
                    let cpu = Cpu::with_isa(threads, isa).unwrap();
                    let mut c = start.clone();
                    cpu.gemm(
                        a.mat(),
                        b.mat(),
                        rows_mut(&mut c, (m, n), n),
                        true,
                        Some(&bias),
                    );
                    let mut plain = vec![f32::NAN; m * n];
                    cpu.run(|| {
                        cpu.gemm(
                            a.mat(),
                            b.mat(),
                            rows_mut(&mut plain, (m, n), n),
                            false,
                            None,
                        )
                    });
                    assert_eq!(
                        bits(&c),
                        bits(&alone),
                        "{isa:?} {m}x{n}x{k}, {threads} threads"
                    );
                    assert_eq!(
                        bits(&plain),
                        bits(&alone_plain),
                        "{isa:?} {m}x{n}x{k}, {threads} threads"
                    );
                }
            }
        }
    }
}

/// A row of a small product has the bits that it has alone: decoding does not depend on the batch.
#[test]
fn a_row_alone_is_the_same_row() {
    let (n, k) = (77, 133);
    let b = Operand::new(2, k, n, 0, true);
    for isa in every_isa() {
        for m in 1..=16 {
            let a = Operand::new(1, m, k, 0, false);
            let mut together = vec![0.0; m * n];
            serial(
                isa,
                a.mat(),
                b.mat(),
                rows_mut(&mut together, (m, n), n),
                false,
                None,
            );
            for i in 0..m {
                let mut alone = vec![0.0; n];
                serial(
                    isa,
                    rows(&a.data[i * k..], (1, k), k),
                    b.mat(),
                    rows_mut(&mut alone, (1, n), n),
                    false,
                    None,
                );
                assert_eq!(
                    bits(&together[i * n..][..n]),
                    bits(&alone),
                    "{isa:?}, row {i} of {m}"
                );
            }
        }
    }
}

#[test]
fn what_follows_comes_after_all_of_k() {
    for isa in every_isa() {
        for precision in [Precision::Highest, Precision::Medium] {
            for threads in [1, 3] {
                let cpu = Cpu::with_isa(threads, isa).unwrap();
                check_what_follows(&cpu.with_precision(precision));
            }
        }
    }
}

/// Slices that are too short, rows of C that would overlap, and shapes that do not fit are refused before anything is written.
#[test]
fn what_does_not_fit_is_refused() {
    let isa = every_isa()[0];
    type Matrix<'a> = (&'a [f32], (usize, usize), usize, bool); // transposed
    fn view((data, shape, ld, transposed): Matrix<'_>) -> ArrayView2<'_, f32> {
        if transposed {
            cols(data, shape, ld)
        } else {
            rows(data, shape, ld)
        }
    }
    let refused = |a: Matrix, b: Matrix, c: (usize, (usize, usize), usize), bias: &[f32]| {
        let mut to = vec![7.0; c.0];
        let bias = (!bias.is_empty()).then_some(bias);
        let call = std::panic::AssertUnwindSafe(|| {
            serial(
                isa,
                view(a),
                view(b),
                rows_mut(&mut to, c.1, c.2),
                false,
                bias,
            );
        });
        let refused = std::panic::catch_unwind(call).is_err();
        assert!(!refused || to.iter().all(|&x| x == 7.0));
        refused
    };
    let x = [1.0; 12];
    let a: Matrix = (&x[..6], (2, 3), 3, false);
    let b: Matrix = (&x, (3, 4), 4, false);
    let c = (8, (2, 4), 4);
    assert!(!refused(a, b, c, &[]));
    assert!(!refused(a, b, (9, (2, 4), 5), &[]));
    for short in [
        (&x[..5], (2, 3), 3, false),
        (&x[..5], (2, 3), 2, true),
        (&x[..], (2, 4), 4, false),
        (&x[..], (3, 3), 3, false),
        (&x[..], (2, 3), usize::MAX / 2 + 1, false),
    ] {
        assert!(refused(short, b, c, &[]), "A {short:?}");
    }
    for short in [(&x[..11], (3, 4), 4, false), (&x[..11], (3, 4), 3, true)] {
        assert!(refused(a, short, c, &[]), "B {short:?}");
    }
    for c in [
        (7, (2, 4), 4),
        (8, (2, 4), 5),
        (8, (2, 4), 3),
        (12, (3, 4), 4),
        (12, (2, 4), usize::MAX / 2 + 1),
    ] {
        assert!(refused(a, b, c, &[]), "C {c:?}");
    }
    assert!(refused(a, b, c, &x[..3]));
    assert!(refused(a, b, c, &x[..5]));
}

/// `medium` is the product of the rounded operands where the machine multiplies bf16s, else `highest`; `high` is `highest` without AMX.
#[test]
fn medium_rounds_its_operands_and_high_does_not() {
    for (m, n, k) in [
        (17, 1, 1),
        (17, 33, 31),
        (45, 70, 129),
        (300, 129, 33),
        (33, 65, 800),
    ] {
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            let a = Operand::new(3, m, k, 2, ta);
            let b = Operand::new(4, k, n, 1, tb);
            let round = |x: &Operand| Operand {
                data: x.data.iter().map(|&v| to_bf16(v)).collect(),
                ..x.clone()
            };
            let (before, bias) = (random(5, m * n), random(6, n));
            let run = |cpu: &Cpu| {
                let mut c = before.clone();
                cpu.gemm(
                    a.mat(),
                    b.mat(),
                    rows_mut(&mut c, (m, n), n),
                    true,
                    Some(&bias),
                );
                c
            };
            for isa in every_isa() {
                let cpu = Cpu::with_isa(1, isa).unwrap();
                let exact = run(&cpu);
                let of = |p| run(&cpu.clone().with_precision(p));
                if !isa.has_amx() {
                    assert_eq!(bits(&of(Precision::High)), bits(&exact));
                }
                let got = of(Precision::Medium);
                if !isa.has_bf16() {
                    assert_eq!(bits(&got), bits(&exact), "{isa:?}");
                    continue;
                }
                let (want, bound) = expected(&round(&a), &round(&b), Some(&before), n, Some(&bias));
                for ((got, want), bound) in got.iter().zip(&want).zip(&bound) {
                    assert!((f64::from(*got) - want).abs() <= *bound, "{m}, {n}, {k}");
                }
                let (exact, bound) = expected(&a, &b, Some(&before), n, Some(&bias));
                let far = got.iter().zip(&exact).zip(&bound);
                let rounded = far.filter(|((g, e), b)| (f64::from(**g) - **e).abs() > **b);
                assert!(rounded.count() * 4 > m * n, "the operands were not rounded");
                for threads in [2, 3] {
                    let cpu = Cpu::with_isa(threads, isa).unwrap();
                    let many = run(&cpu.with_precision(Precision::Medium));
                    assert_eq!(bits(&many), bits(&got), "{threads} threads");
                }
            }
        }
    }
}

/// What is not finite comes through `medium`, too, and denormals count as 0.
#[test]
fn medium_hides_no_infinity() {
    let cpu = Cpu::new(1).unwrap().with_precision(Precision::Medium);
    let (m, n, k) = (20, 40, 7);
    for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        for at in [0, 6] {
            for transposed in [false, true] {
                let mut a = Operand::new(1, m, k, 0, transposed);
                let place = if transposed { at * m + 18 } else { 18 * k + at };
                a.data[place] = bad;
                let b = vec![1.0; k * n];
                let mut c = vec![0.0; m * n];
                cpu.gemm(
                    a.mat(),
                    rows(&b, (k, n), n),
                    rows_mut(&mut c, (m, n), n),
                    false,
                    None,
                );
                for (i, row) in c.chunks(n).enumerate() {
                    let hit = |v: &f32| !v.is_finite();
                    assert!(row.iter().all(|v| hit(v) == (i == 18)), "row {i}");
                }
            }
        }
    }
    let tiny = vec![f32::MIN_POSITIVE / 4.0; m * k];
    let big = vec![1e38; k * n];
    let mut c = vec![1.0; m * n];
    cpu.gemm(
        rows(&tiny, (m, k), k),
        rows(&big, (k, n), n),
        rows_mut(&mut c, (m, n), n),
        false,
        None,
    );
    let want = if cpu.gemm_precision() == GemmPrecision::Bits7 {
        0.0
    } else {
        7.0 * f32::MIN_POSITIVE / 4.0 * 1e38
    };
    assert!(
        c.iter().all(|v| (v - want).abs() <= 1e-6 * want),
        "{}",
        c[0]
    );
}

#[test]
fn panels_of_no_rows_and_of_wrong_shapes() {
    for isa in every_isa() {
        let cpu = Cpu::with_isa(1, isa).unwrap();
        let w = random(1, 130 * 3);
        for form in [WeightType::F32, WeightType::Bf16] {
            let panels = Panels::new(isa, &w, 130, 3, form).unwrap();
            cpu.gemm_panels(0, &[], &panels, None, &mut []);
            assert!(Panels::new(isa, &w, 131, 3, form).is_err());
            assert!(Panels::new(isa, &w, usize::MAX, usize::MAX, form).is_err());
            // W (n, 0): what is left is the bias.
            let none = Panels::new(isa, &[], 130, 0, form).unwrap();
            let (bias, mut c) = (random(2, 130), vec![7.0; 260]);
            cpu.gemm_panels(2, &[], &none, Some(&bias), &mut c);
            assert_eq!(c, [&bias[..], &bias].concat());
            // -0 stays what it is, in whole panels and in the last.
            let tiny = Panels::new(isa, &[1e-30; 130], 130, 1, form).unwrap();
            let mut c = vec![7.0; 3 * 130];
            cpu.gemm_panels(3, &[-1e-30; 3], &tiny, None, &mut c);
            let mut one = vec![7.0; 130];
            cpu.gemm_panels(1, &[-1e-30], &tiny, None, &mut one);
            assert_eq!(bits(&c[..130]), bits(&one));
        }
        let panels = Panels::new(isa, &w, 130, 3, WeightType::F32).unwrap();
        let huge = std::panic::AssertUnwindSafe(|| {
            cpu.gemm_panels(1 << 63, &[], &panels, None, &mut []);
        });
        assert!(std::panic::catch_unwind(huge).is_err());
    }
}
