//! What the machine can do at most: fused multiply-adds out of registers, bytes a second through memory. For rooflines.

use super::isa::multiversion;
use super::{Cpu, Rows};
use std::time::Instant;

/// Independent chains, a lane each: as many as hide the latency, few enough for sixteen registers of eight lanes.
const CHAINS: usize = 12 * 8;
/// Multiply-adds of each chain in one go.
const LENGTH: usize = 200_000;

multiversion! {
    fn chains(x: &mut [f32; CHAINS], a: f32, b: f32) {
        let mut y = *x;
        for _ in 0..LENGTH {
            for y in &mut y {
                *y = y.mul_add(a, b);
            }
        }
        *x = y;
    }
}

impl Cpu {
    /// Operations a second of f32 multiply-adds (two each) in registers, on all threads: the best of `tries` short runs.
    pub fn peak_flops(&self, tries: usize) -> f64 {
        let mut x = vec![1.0f32; self.threads * CHAINS];
        let mut best = 0.0f64;
        for _ in 0..tries {
            let start = Instant::now();
            self.rows(self.threads, 1, [Rows::new(&mut x, CHAINS)], |_, [x]| {
                for x in x.as_chunks_mut::<CHAINS>().0 {
                    chains(self.isa, x, 0.999, 1e-3);
                }
            });
            let done = (2 * LENGTH * x.len()) as f64;
            best = best.max(done / start.elapsed().as_secs_f64());
        }
        best
    }

    /// Bytes a second of a pass that reads three vectors of n elements and writes two, as a sampler's update does: the best of `tries`.
    pub fn peak_bandwidth(&self, n: usize, tries: usize) -> f64 {
        let (mut a, mut b, c) = (vec![1.0f32; n], vec![1.0f32; n], vec![1.0f32; n]);
        let mut best = 0.0f64;
        for _ in 0..tries {
            let start = Instant::now();
            let outs = [Rows::new(&mut a, 1), Rows::new(&mut b, 1)];
            self.rows(n, 4096, outs, |r, [a, b]| add(self.isa, a, b, &c[r]));
            best = best.max((20 * n) as f64 / start.elapsed().as_secs_f64());
        }
        best
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
