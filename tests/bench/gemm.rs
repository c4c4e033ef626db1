//! The matrix product on the shapes of a small transformer, beside the crate matrixmultiply.
//!
//! `cargo bench --bench gemm`; the figure is multiply-adds a second (two operations each). `BNN_ISA` forces the kernel.

use bnn::backend::cpu::gemm::{cols, rows, rows_mut, serial};
use bnn::backend::cpu::{Cpu, Isa};
use bnn::run::bench::LAYERS;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ndarray::ArrayView2;

/// (K, N) of a layer that reads one token.
const DECODING: [(usize, usize); 4] = [(128, 384), (384, 1152), (1536, 384), (4096, 4096)];

/// (positions, head size): scores of one head, keys inside rows of 3 * 384.
const HEADS: [(usize, usize); 3] = [(64, 32), (256, 32), (256, 64)];

fn main() {
    divan::main();
}

/// The three products of a layer: its output, the gradient of its input, the gradient of its weights.
#[derive(Clone, Copy, Debug)]
enum Form {
    Forward,
    Input,
    Weight,
}

/// A layer's buffers: x (M, K), w (N, K), dy (M, N), and room for each product.
struct Layer {
    m: usize,
    k: usize,
    n: usize,
    x: Vec<f32>,
    w: Vec<f32>,
    dy: Vec<f32>,
    out: Vec<f32>,
}

/// (A, B, accumulate) of a product.
type Product<'a> = (ArrayView2<'a, f32>, ArrayView2<'a, f32>, bool);

/// Not zeros, which some machines multiply at a higher clock.
fn filled(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.0)
        .collect()
}

impl Layer {
    fn new((m, k, n): (usize, usize, usize)) -> Self {
        let out = vec![0.0; (m * n).max(m * k).max(n * k)];
        Self {
            m,
            k,
            n,
            x: filled(m * k),
            w: filled(n * k),
            dy: filled(m * n),
            out,
        }
    }

    fn product(&mut self, form: Form) -> (Product<'_>, &mut [f32]) {
        let (m, k, n) = (self.m, self.k, self.n);
        let product = match form {
            Form::Forward => (rows(&self.x, (m, k), k), cols(&self.w, (k, n), k), false),
            Form::Input => (rows(&self.dy, (m, n), n), rows(&self.w, (n, k), k), false),
            Form::Weight => (cols(&self.dy, (n, m), n), rows(&self.x, (m, k), k), true),
        };
        let size = product.0.nrows() * product.1.ncols();
        (product, &mut self.out[..size])
    }
}

fn layer(bencher: Bencher, shape: (usize, usize, usize), form: Form, threads: usize) {
    let cpu = Cpu::new(threads).expect("the threads start");
    let mut layer = Layer::new(shape);
    let bencher = bencher.counter(ItemsCount::new(shape.0 * shape.1 * shape.2));
    let ((a, b, accumulate), c) = layer.product(form);
    let shape = (a.nrows(), b.ncols());
    bencher.bench_local(|| {
        let c = rows_mut(&mut *c, shape, shape.1);
        cpu.gemm(black_box(a), b, c, accumulate, None);
    });
}

#[divan::bench(args = LAYERS, consts = [1, 2])]
fn forward<const THREADS: usize>(bencher: Bencher, shape: (usize, usize, usize)) {
    layer(bencher, shape, Form::Forward, THREADS);
}

#[divan::bench(args = LAYERS, consts = [1, 2])]
fn input_gradient<const THREADS: usize>(bencher: Bencher, shape: (usize, usize, usize)) {
    layer(bencher, shape, Form::Input, THREADS);
}

#[divan::bench(args = LAYERS, consts = [1, 2])]
fn weight_gradient<const THREADS: usize>(bencher: Bencher, shape: (usize, usize, usize)) {
    layer(bencher, shape, Form::Weight, THREADS);
}

#[divan::bench(args = LAYERS)]
fn forward_matrixmultiply(bencher: Bencher, (m, k, n): (usize, usize, usize)) {
    let (x, w) = (filled(m * k), filled(n * k));
    let mut y = vec![0.0; m * n];
    let ld = k as isize;
    bencher.counter(ItemsCount::new(m * n * k)).bench_local(|| {
        // SAFETY: x is (m, k), w is (n, k) and y is (m, n), all row-major.
        unsafe {
            matrixmultiply::sgemm(
                m,
                k,
                n,
                1.0,
                x.as_ptr(),
                ld,
                1,
                w.as_ptr(),
                1,
                ld,
                0.0,
                y.as_mut_ptr(),
                n as isize,
                1,
            );
        }
    });
}

#[divan::bench(args = DECODING, consts = [1, 2, 8])]
fn decode<const ROWS: usize>(bencher: Bencher, (k, n): (usize, usize)) {
    let cpu = Cpu::new(1).expect("one thread");
    let (x, w) = (filled(ROWS * k), filled(n * k));
    let mut y = vec![0.0; ROWS * n];
    bencher
        .counter(ItemsCount::new(ROWS * n * k))
        .bench_local(|| {
            cpu.gemm(
                rows(black_box(&x), (ROWS, k), k),
                cols(&w, (k, n), k),
                rows_mut(&mut y, (ROWS, n), n),
                false,
                None,
            )
        });
}

#[divan::bench(args = HEADS)]
fn scores(bencher: Bencher, (positions, size): (usize, usize)) {
    let isa = Isa::detect().expect("BNN_ISA names a set that is there");
    let ld = 3 * 384;
    let qkv = filled(positions * ld);
    let mut scores = vec![0.0; positions * positions];
    bencher
        .counter(ItemsCount::new(positions * positions * size))
        .bench_local(|| {
            let q = rows(black_box(&qkv), (positions, size), ld);
            let k = cols(&qkv[384..], (size, positions), ld);
            serial(
                isa,
                q,
                k,
                rows_mut(&mut scores, (positions, positions), positions),
                false,
                None,
            );
        });
}
