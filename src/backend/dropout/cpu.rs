//! Dropout (Srivastava et al. 2014), the mask a function of (seed, step, site, element).

use super::Dropout;
use crate::backend::cpu::{Cpu, Rows};
use crate::backend::ops::DropoutOps;
use crate::error::Result;
use crate::rng::{Stream, StreamTag};

/// The dropout mask, decided per element by its address.
#[derive(Clone, Copy)]
pub struct Mask {
    stream: Stream,
    step: u64,
    threshold: u32,
    /// The factor of elements that are kept.
    pub keep: f32,
}

impl Mask {
    pub fn new(d: Dropout) -> Self {
        Self {
            stream: Stream::new(d.seed, StreamTag::Dropout, d.site),
            step: d.step,
            // p in units of 2^-32
            threshold: (d.p as f64 * 4_294_967_296.0) as u32,
            keep: 1.0 / (1.0 - d.p),
        }
    }

    /// Multiplies elements `first..` of a tensor by 0 or 1/(1-p).
    pub fn apply(&self, x: &mut [f32], first: usize) {
        let mut at = first;
        let mut rest = x;
        while !rest.is_empty() {
            let words = self.stream.words(self.step, (at / 4) as u64);
            let n = (4 - at % 4).min(rest.len());
            let (now, later) = rest.split_at_mut(n);
            for (v, w) in now.iter_mut().zip(&words[at % 4..]) {
                *v = if *w < self.threshold {
                    0.0
                } else {
                    *v * self.keep
                };
            }
            at += n;
            rest = later;
        }
    }
}

impl DropoutOps for Cpu {
    fn dropout(&self, out: &mut Vec<f32>, x: &Vec<f32>, n: usize, dropout: Dropout) -> Result<()> {
        let mask = Mask::new(dropout);
        self.rows(n, 1024, [Rows::new(&mut out[..n], 1)], |r, [out]| {
            out.copy_from_slice(&x[r.clone()]);
            mask.apply(out, r.start);
        });
        Ok(())
    }
}
