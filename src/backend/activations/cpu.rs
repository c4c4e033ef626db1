//! Buffers of a pass, tokens on the device, and how work is handed to it.

use crate::backend::cpu::isa::multiversion;
use crate::backend::cpu::{Cpu, Rows, par};
use crate::backend::ops::ActivationOps;
use crate::backend::{GemmPrecision, Precision, Span};
use crate::error::Result;

/// Multiplications that take a thread about as long as waking another (some 50 us).
const MIN_BATCH: usize = 1 << 21;

multiversion! {
    fn add(out: &mut [f32], a: &[f32], b: &[f32]) {
        for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
            *o = a + b;
        }
    }
}

impl ActivationOps for Cpu {
    type Tokens = Vec<u16>;

    fn tokens(&self, n: usize) -> Result<Vec<u16>> {
        Ok(vec![0; n])
    }

    fn upload_tokens(&self, from: &[u16], to: &mut Vec<u16>) -> Result<()> {
        to[..from.len()].copy_from_slice(from);
        Ok(())
    }

    fn download_part(&self, from: &Vec<f32>, at: usize, to: &mut [f32]) -> Result<()> {
        to.copy_from_slice(&from[at..][..to.len()]);
        Ok(())
    }

    fn batch<R: Send>(&self, work: usize, f: impl FnOnce() -> R + Send) -> R {
        match work < MIN_BATCH {
            true => f(),
            false => self.run(f),
        }
    }

    fn gemm_precision(&self) -> GemmPrecision {
        Cpu::gemm_precision(self)
    }

    fn with_f32_products(&self) -> Self {
        self.clone().with_precision(Precision::Highest)
    }

    fn lanes(&self) -> usize {
        self.threads
    }

    fn each<T: Send>(
        &self,
        items: &mut [T],
        f: impl Fn(usize, &mut T) -> Result<()> + Sync,
    ) -> Result<()> {
        match &self.pool {
            Some(pool) => pool.install(|| par::each(items, 0, &f)),
            None => items.iter_mut().enumerate().try_for_each(|(i, t)| f(i, t)),
        }
    }

    fn last_rows(&self, out: &mut Vec<f32>, x: &Vec<f32>, spans: &[Span], c: usize) -> Result<()> {
        for (to, s) in out.chunks_exact_mut(c).zip(spans) {
            to.copy_from_slice(&x[(s.row + s.rows - 1) * c..][..c]);
        }
        Ok(())
    }

    fn add(&self, out: &mut Vec<f32>, a: &Vec<f32>, b: &Vec<f32>, n: usize) -> Result<()> {
        let (a, b) = (&a[..n], &b[..n]);
        self.rows(n, 1024, [Rows::new(out, 1)], |r, [out]| {
            add(self.isa, out, &a[r.clone()], &b[r]);
        });
        Ok(())
    }
}
