//! Linear layers y = x W^T + b, forward and backward, and what follows a product while it is in the cache.

use crate::backend::cpu::gemm::{Mat, Panels};
use crate::backend::cpu::{Cpu, Rows, squares};
use crate::backend::ops::LinearOps;
use crate::backend::{Linear, Then, WeightType};
use crate::error::Result;

/// Columns that are summed at a time for a bias's gradient.
const COLUMNS: usize = 16;

/// The first n elements of what follows a product.
fn front(then: Then<'_, Vec<f32>>, n: usize) -> Then<'_, [f32]> {
    match then {
        Then::Nothing => Then::Nothing,
        Then::Add(x) => Then::Add(&x[..n]),
        Then::Times(x) => Then::Times(&x[..n]),
        Then::Gelu(y, form) => Then::Gelu(&mut y[..n], form),
    }
}

impl LinearOps for Cpu {
    type Packed = Panels;

    fn linear(
        &self,
        out: &mut Vec<f32>,
        x: &Vec<f32>,
        params: &Vec<f32>,
        layer: &Linear,
        rows: usize,
        then: Then<'_, Vec<f32>>,
    ) -> Result<()> {
        let (k, n) = (layer.n_in, layer.n_out);
        let w = Mat::cols(&params[layer.weight.clone()], k);
        let x = Mat::rows(&x[..rows * k], k);
        let out = &mut out[..rows * n];
        let bias = layer.bias.clone().map(|b| &params[b]);
        self.gemm_then(rows, n, k, x, w, out, bias, front(then, rows * n));
        Ok(())
    }

    fn pack(&self, params: &Vec<f32>, layer: &Linear, form: WeightType) -> Result<Panels> {
        let w = &params[layer.weight.clone()];
        Panels::new(self.isa, w, layer.n_out, layer.n_in, form)
    }

    fn linear_packed(
        &self,
        out: &mut Vec<f32>,
        x: &Vec<f32>,
        weight: &Panels,
        params: &Vec<f32>,
        layer: &Linear,
        rows: usize,
    ) -> Result<()> {
        let (x, out) = (&x[..rows * layer.n_in], &mut out[..rows * layer.n_out]);
        let bias = layer.bias.clone().map(|b| &params[b]);
        self.gemm_panels(rows, x, weight, bias, out);
        Ok(())
    }

    fn linear_backward_input(
        &self,
        dx: &mut Vec<f32>,
        dout: &Vec<f32>,
        params: &Vec<f32>,
        layer: &Linear,
        rows: usize,
        then: Then<'_, Vec<f32>>,
    ) -> Result<()> {
        let (k, n) = (layer.n_in, layer.n_out);
        let w = Mat::rows(&params[layer.weight.clone()], k);
        let dy = Mat::rows(&dout[..rows * n], n);
        let (dx, then) = (&mut dx[..rows * k], front(then, rows * k));
        self.gemm_then(rows, k, n, dy, w, dx, None, then);
        Ok(())
    }

    fn linear_backward_weight(
        &self,
        grad: &mut Vec<f32>,
        dout: &Vec<f32>,
        x: &Vec<f32>,
        layer: &Linear,
        rows: usize,
    ) -> Result<()> {
        let (k, n) = (layer.n_in, layer.n_out);
        let dy = &dout[..rows * n];
        let x = Mat::rows(&x[..rows * k], k);
        let dw = &mut grad[layer.weight.clone()];
        self.gemm(n, k, rows, Mat::cols(dy, n), x, false, dw);
        if let Some(b) = &layer.bias {
            let db = &mut grad[b.clone()];
            self.rows(n, COLUMNS, [Rows::new(db, 1)], |cols, [db]| {
                squares::column_sums(db, dy, n, cols);
            });
        }
        Ok(())
    }

    fn linear_backward_squares(
        &self,
        grad: &mut Vec<f32>,
        squares: &mut Vec<f32>,
        dout: &Vec<f32>,
        x: &Vec<f32>,
        layer: &Linear,
        rows: usize,
        t: usize,
    ) -> Result<()> {
        let (k, n) = (layer.n_in, layer.n_out);
        let (dy, x) = (&dout[..rows * n], &x[..rows * k]);
        let w = layer.weight.clone();
        let (dw, sq) = (&mut grad[w.clone()], &mut squares[w]);
        self.gemm_squares(n, k, t, dy, x, dw, sq, |_, _, _, _| ());
        if let Some(b) = layer.bias.clone() {
            let (db, sq) = (&mut grad[b.clone()], &mut squares[b]);
            self.column_squares(rows / t, db, sq, |s, cols, sums| {
                squares::column_sums(sums, &dy[s * t * n..][..t * n], n, cols);
            });
        }
        Ok(())
    }
}
