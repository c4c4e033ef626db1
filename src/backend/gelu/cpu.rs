//! GELU, exact and in the tanh form, and its slope (Hendrycks & Gimpel 2016).

use super::Gelu;
use crate::backend::cpu::isa::multiversion;
use crate::backend::cpu::math::{normal_cdf_pdf, tanh};
use crate::backend::cpu::{Cpu, Isa, Rows};
use crate::backend::ops::GeluOps;
use crate::error::Result;

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;
/// Beyond this the tanh form's slope is 0 or 1 in f32; the square of a huge x would overflow and yield 0 * infinity.
const END: f32 = 20.0;

multiversion! {
    fn forward_exact(out: &mut [f32], x: &[f32]) {
        for (o, &x) in out.iter_mut().zip(x) {
            *o = x * normal_cdf_pdf(x).0;
        }
    }
}

multiversion! {
    fn slope_exact(out: &mut [f32], x: &mut [f32]) {
        for (o, x) in out.iter_mut().zip(x) {
            let (cdf, pdf) = normal_cdf_pdf(*x);
            *o = *x * cdf;
            *x = cdf + *x * pdf;
        }
    }
}

multiversion! {
    fn forward_tanh(out: &mut [f32], x: &[f32]) {
        for (o, &x) in out.iter_mut().zip(x) {
            *o = 0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x)));
        }
    }
}

multiversion! {
    fn slope_tanh(out: &mut [f32], x: &mut [f32]) {
        for (o, x) in out.iter_mut().zip(x) {
            let at = x.clamp(-END, END);
            let u = tanh(SQRT_2_OVER_PI * (at + CUBIC * at * at * at));
            let du = SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * at * at);
            *o = 0.5 * *x * (1.0 + u);
            *x = 0.5 * (1.0 + u) + 0.5 * at * (1.0 - u * u) * du;
        }
    }
}

/// Computes out = gelu(x) on the calling thread.
pub fn block(isa: Isa, out: &mut [f32], x: &[f32], form: Gelu) {
    match form {
        Gelu::Exact => forward_exact(isa, out, x),
        Gelu::Tanh => forward_tanh(isa, out, x),
    }
}

impl GeluOps for Cpu {
    fn gelu_slope(&self, out: &mut Vec<f32>, x: &mut Vec<f32>, n: usize, form: Gelu) -> Result<()> {
        let outs = [Rows::new(&mut out[..n], 1), Rows::new(&mut x[..n], 1)];
        // One exponential serves both.
        self.rows(n, 1024, outs, |_, [out, x]| match form {
            Gelu::Exact => slope_exact(self.isa, out, x),
            Gelu::Tanh => slope_tanh(self.isa, out, x),
        });
        Ok(())
    }
}
