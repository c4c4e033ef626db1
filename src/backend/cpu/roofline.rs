//! The limits of the machine for rooflines: multiply-adds per second in registers, bytes per second through memory.

use super::isa::{Level, multiversion};
use super::{Cpu, Rows};
use std::time::{Duration, Instant};

/// Independent chains, a lane each: enough to hide the latency, few enough for sixteen registers of eight lanes.
const CHAINS: usize = 12 * 8;
/// The number of chains for registers of sixteen lanes, of which there are thirty-two.
const WIDE_CHAINS: usize = 12 * 16;
/// Multiply-adds of each chain per run.
const LENGTH: usize = 100_000;
/// How long each measurement takes.
const TIME: Duration = Duration::from_millis(300);

#[inline(always)]
fn run<const N: usize>(x: &mut [f32; N], f: impl Fn(f32) -> f32) {
    let mut y = *x;
    for _ in 0..LENGTH {
        for y in &mut y {
            *y = f(*y);
        }
    }
    *x = y;
}

multiversion! {
    fn fused(x: &mut [f32; CHAINS], a: f32, b: f32) {
        run(x, |y| y.mul_add(a, b));
    }
}

multiversion! {
    fn fused_wide(x: &mut [f32; WIDE_CHAINS], a: f32, b: f32) {
        run(x, |y| y.mul_add(a, b));
    }
}

/// Multiplies and adds separately, as the portable kernels do, where no fused instruction is certain.
fn apart(x: &mut [f32; CHAINS], a: f32, b: f32) {
    run(x, |y| y * a + b);
}

impl Cpu {
    /// Measures the operations per second of f32 multiply-adds (two each) in registers, on all threads. Returns the best rate within 0.3 s,
    /// and the number of runs.
    pub fn peak_flops(&self) -> (f64, usize) {
        let width = match self.isa.level() {
            Level::Avx512 => WIDE_CHAINS,
            _ => CHAINS,
        };
        let mut x = vec![1.0f32; self.threads() * width];
        let work = (2 * LENGTH * x.len()) as f64;
        best(work, || {
            self.rows(self.threads(), 1, [Rows::new(&mut x, width)], |_, [x]| {
                let (a, b) = (0.999, 1e-3);
                match self.isa.level() {
                    Level::Avx512 => x
                        .as_chunks_mut()
                        .0
                        .iter_mut()
                        .for_each(|x| fused_wide(self.isa, x, a, b)),
                    Level::Avx2 => x
                        .as_chunks_mut()
                        .0
                        .iter_mut()
                        .for_each(|x| fused(self.isa, x, a, b)),
                    Level::Portable => x.as_chunks_mut().0.iter_mut().for_each(|x| apart(x, a, b)),
                }
            });
        })
    }

    /// Measures the bytes per second of a pass that reads three vectors of n elements and writes two, as a sampler's update does. Returns
    /// the best rate within 0.3 s, and the number of runs.
    pub fn peak_bandwidth(&self, n: usize) -> (f64, usize) {
        let (mut a, mut b, c) = (vec![1.0f32; n], vec![1.0f32; n], vec![1.0f32; n]);
        best((20 * n) as f64, || {
            let outs = [Rows::new(&mut a, 1), Rows::new(&mut b, 1)];
            self.rows(n, 4096, outs, |r, [a, b]| add(self.isa, a, b, &c[r]));
        })
    }
}

multiversion! {
    fn add(a: &mut [f32], b: &mut [f32], c: &[f32]) {
        for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
            *a += *c;
            *b += *a;
        }
    }
}

/// Returns the best rate of `f`, which does `work`, and how often it ran.
fn best(work: f64, mut f: impl FnMut()) -> (f64, usize) {
    let (start, mut rate, mut runs) = (Instant::now(), 0.0f64, 0);
    while runs < 3 || start.elapsed() < TIME {
        let t = Instant::now();
        f();
        rate = rate.max(work / t.elapsed().as_secs_f64());
        runs += 1;
    }
    (rate, runs)
}
