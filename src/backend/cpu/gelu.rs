//! GELU, exact and in the tanh form, forward and backward (Hendrycks & Gimpel 2016).

use super::isa::multiversion;
use super::math::{normal_cdf_pdf, tanh};
use super::{Cpu, Rows};
use crate::backend::Gelu;

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;
/// Beyond it the tanh form's slope is 0 or 1 in f32; the square of a huge x would overflow and make 0 * infinity of it.
const END: f32 = 20.0;

multiversion! {
    fn forward_exact(out: &mut [f32], x: &[f32]) {
        for (o, &x) in out.iter_mut().zip(x) {
            *o = x * normal_cdf_pdf(x).0;
        }
    }
}

multiversion! {
    fn backward_exact(d: &mut [f32], x: &[f32]) {
        for (d, &x) in d.iter_mut().zip(x) {
            let (cdf, pdf) = normal_cdf_pdf(x);
            *d *= cdf + x * pdf;
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
    fn backward_tanh(d: &mut [f32], x: &[f32]) {
        for (d, &x) in d.iter_mut().zip(x) {
            let x = x.clamp(-END, END);
            let u = tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x));
            let du = SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x);
            *d *= 0.5 * (1.0 + u) + 0.5 * x * (1.0 - u * u) * du;
        }
    }
}

/// out = gelu(x).
pub fn forward(cpu: &Cpu, out: &mut [f32], x: &[f32], form: Gelu) {
    cpu.rows(x.len(), 1024, [Rows::new(out, 1)], |r, [out]| match form {
        Gelu::Exact => forward_exact(cpu.isa, out, &x[r]),
        Gelu::Tanh => forward_tanh(cpu.isa, out, &x[r]),
    });
}

/// d = d gelu'(x), in place.
pub fn backward(cpu: &Cpu, d: &mut [f32], x: &[f32], form: Gelu) {
    cpu.rows(x.len(), 1024, [Rows::new(d, 1)], |r, [d]| match form {
        Gelu::Exact => backward_exact(cpu.isa, d, &x[r]),
        Gelu::Tanh => backward_tanh(cpu.isa, d, &x[r]),
    });
}
