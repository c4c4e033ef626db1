//! Operands of matrix products in all layouts, and what f64 makes of them.

use super::bits;
use bnn::backend::cpu::gemm::{Epilogue, cols, rows, rows_mut};
use bnn::backend::ops::*;
use bnn::backend::{Cpu, Gelu};
use ndarray::ArrayView2;

/// Uniform in [-1, 1), the same for a seed.
pub fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// A matrix with its layout: row-major, or the transposed view of a row-major one.
#[derive(Clone, Debug)]
pub struct Operand {
    pub data: Vec<f32>,
    pub rows: usize,
    pub cols: usize,
    pub ld: usize,
    pub transposed: bool,
}

impl Operand {
    pub fn new(seed: u64, rows: usize, cols: usize, pad: usize, transposed: bool) -> Self {
        let (outer, inner) = if transposed {
            (cols, rows)
        } else {
            (rows, cols)
        };
        let ld = inner + pad;
        // Exactly as long as it must be: the last row has no padding. What lies between rows must not be used.
        let len = if outer * inner == 0 {
            0
        } else {
            (outer - 1) * ld + inner
        };
        let mut data = random(seed, len);
        for (i, x) in data.iter_mut().enumerate() {
            if i % ld >= inner {
                *x = f32::NAN;
            }
        }
        Self {
            data,
            rows,
            cols,
            ld,
            transposed,
        }
    }

    pub fn mat(&self) -> ArrayView2<'_, f32> {
        let shape = (self.rows, self.cols);
        if self.transposed {
            cols(&self.data, shape, self.ld)
        } else {
            rows(&self.data, shape, self.ld)
        }
    }

    pub fn at(&self, i: usize, j: usize) -> f64 {
        assert!(i < self.rows && j < self.cols);
        f64::from(if self.transposed {
            self.data[j * self.ld + i]
        } else {
            self.data[i * self.ld + j]
        })
    }
}

/// What the product should be, and how far f32 may be from it, element by element.
///
/// Whatever the order of additions, |error| <= (K + 3) u sum |a b| with u = 2^-24: K roundings of products and sums at
/// most, and those of adding C and the bias; sums of magnitudes include the two. (Higham 2002, section 3.1; terms in u^2
/// are below a thousandth of it for K < 2000.)
pub fn expected(
    a: &Operand,
    b: &Operand,
    c: Option<&[f32]>,
    ldc: usize,
    bias: Option<&[f32]>,
) -> (Vec<f64>, Vec<f64>) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let u = 2f64.powi(-24);
    let mut want = Vec::new();
    let mut bound = Vec::new();
    for i in 0..m {
        for j in 0..n {
            let (mut sum, mut size) = (0.0, 0.0);
            for kk in 0..k {
                let product = a.at(i, kk) * b.at(kk, j);
                sum += product;
                size += product.abs();
            }
            for extra in [c.map(|c| c[i * ldc + j]), bias.map(|b| b[j])]
                .into_iter()
                .flatten()
            {
                sum += f64::from(extra);
                size += f64::from(extra).abs();
            }
            want.push(sum);
            bound.push((k as f64 + 3.0) * u * size * 1.001);
        }
    }
    (want, bound)
}

/// Rounded to 8 significant bits, ties to even.
pub fn to_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff_0000)
}

/// What follows a product of several blocks of rows, of columns and of k is, to the bit, what it is after the product.
pub fn check_what_follows(cpu: &Cpu) {
    let (m, n, k) = (560, 1030, 400);
    let (a, b) = (
        Operand::new(1, m, k, 0, false),
        Operand::new(2, k, n, 0, true),
    );
    let (bias, with) = (random(3, n), random(4, m * n));
    let product = |then: Epilogue<'_>| {
        let mut c = vec![f32::NAN; m * n];
        cpu.gemm_epilogue(
            a.mat(),
            b.mat(),
            rows_mut(&mut c, (m, n), n),
            Some(&bias),
            then,
        );
        c
    };
    let plain = product(Epilogue::None);
    let each = |f: fn(f32, f32) -> f32| -> Vec<f32> {
        plain.iter().zip(&with).map(|(a, b)| f(*a, *b)).collect()
    };
    let same = |got: &[f32], want: &[f32]| assert_eq!(bits(got), bits(want), "{cpu:?}");
    same(&product(Epilogue::Add(&with)), &each(|a, b| a + b));
    same(&product(Epilogue::Mul(&with)), &each(|a, b| a * b));
    let (mut act, mut want) = (vec![f32::NAN; m * n], vec![f32::NAN; m * n]);
    same(&product(Epilogue::Gelu(&mut act, Gelu::Exact)), &plain);
    cpu.gelu_slope(&mut want, &mut plain.clone(), m * n, Gelu::Exact)
        .unwrap();
    same(&act, &want);
}
