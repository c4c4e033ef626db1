//! Linear layers on the CPU.

use super::{Epilogue, Linear};
use crate::backend::activations::{Params, WeightGrad};
use crate::backend::cpu::gemm::{self, cols, rows as matrix, rows_mut};
use crate::backend::cpu::isa::multiversion;
use crate::backend::cpu::{Cpu, Rows, squares};
use crate::backend::dropout::cpu::Mask;
use crate::backend::ensemble::cpu::Ensemble;
use crate::backend::gelu::cpu as gelu;
use crate::backend::ops::LinearOps;
use crate::error::Result;
use crate::memory::or_error;

/// Columns per step of a bias's gradient.
const COLUMNS: usize = 16;

multiversion! {
    fn add(out: &mut [f32], x: &[f32]) {
        for (o, x) in out.iter_mut().zip(x) {
            *o += x;
        }
    }
}

/// Returns the part of an epilogue that the product itself can do, over its first n elements: nothing for a residual with dropout or ends.
fn fused<'a>(epilogue: &'a mut Epilogue<'_, Cpu>, n: usize) -> gemm::Epilogue<'a> {
    match epilogue {
        Epilogue::Residual {
            x,
            dropout: None,
            ends: None,
        } => gemm::Epilogue::Add(&x[..n]),
        Epilogue::Mul(x) => gemm::Epilogue::Mul(&x[..n]),
        Epilogue::Gelu(y, form) => gemm::Epilogue::Gelu(&mut y[..n], *form),
        Epilogue::None | Epilogue::Residual { .. } => gemm::Epilogue::None,
    }
}

impl Cpu {
    /// Computes out = x + out, element by element.
    fn add(&self, out: &mut [f32], x: &[f32]) {
        self.rows(out.len(), 1024, [Rows::new(out, 1)], |r, [out]| {
            add(self.isa, out, &x[r]);
        });
    }

    /// Computes out = x + dropout(out), if that is the epilogue.
    fn drop_and_add(&self, out: &mut [f32], epilogue: Epilogue<'_, Self>) {
        let Epilogue::Residual {
            x,
            dropout: Some(dropout),
            ..
        } = epilogue
        else {
            return;
        };
        let mask = Mask::new(dropout);
        self.rows(out.len(), 1024, [Rows::new(out, 1)], |r, [out]| {
            mask.apply(out, r.start);
            add(self.isa, out, &x[r]);
        });
    }

    /// Applies the layer of every member to that member's rows, with the epilogue.
    fn linear_members(
        &self,
        out: &mut [f32],
        x: &[f32],
        ensemble: &Ensemble,
        layer: &Linear,
        rows: usize, // of a member
        epilogue: Epilogue<'_, Self>,
    ) {
        let (n_in, width) = (layer.n_in, rows * layer.n_out);
        let place = layer.bias.as_ref().map(|b| ensemble.place(b));
        let weight = ensemble.layer(layer);
        let product = |s: usize, out: &mut [f32]| {
            let bias = place.as_ref().map(|b| ensemble.tensor(s, b));
            let x = &x[s * rows * n_in..][..rows * n_in];
            self.gemm_panels(rows, x, ensemble.panels(s, weight), bias, out);
        };
        let out = Rows::new(out, width);
        let members = ensemble.len();
        match epilogue {
            Epilogue::None => self.members(members, [out], |s, [out]| product(s, out)),
            Epilogue::Mul(_) => unreachable!("no pass over an ensemble goes back"),
            Epilogue::Gelu(y, form) => {
                let outs = [out, Rows::new(y, width)];
                self.members(members, outs, |s, [out, y]| {
                    product(s, out);
                    let out = &out[..width];
                    self.rows(width, 1024, [Rows::new(y, 1)], |r, [y]| {
                        gelu::block(self.isa, y, &out[r], form);
                    });
                });
            }
            Epilogue::Residual { x, ends, .. } => self.members(members, [out], |s, [out]| {
                product(s, out);
                let Some(pieces) = ends else {
                    return self.add(out, &x[s * width..][..width]);
                };
                let n = pieces.positions.len(); // rows of x
                for (out, end) in out.chunks_exact_mut(layer.n_out).zip(pieces.ends()) {
                    add(
                        self.isa,
                        out,
                        &x[(s * n + end) * layer.n_out..][..layer.n_out],
                    );
                }
            }),
        }
    }
}

impl LinearOps for Cpu {
    fn linear(
        &self,
        out: &mut Vec<f32>,
        x: &Vec<f32>,
        params: Params<'_, Self>,
        layer: &Linear,
        rows: usize,
        mut epilogue: Epilogue<'_, Self>,
    ) -> Result<()> {
        let (k, n) = (layer.n_in, layer.n_out);
        let flat = match params {
            Params::Flat(flat) => flat,
            Params::Ensemble(ensemble) => {
                let rows = rows / ensemble.len();
                return or_error(|| {
                    self.linear_members(out, x, ensemble, layer, rows, epilogue);
                    Ok(())
                });
            }
        };
        let w = cols(&flat[layer.weight.clone()], (k, n), k);
        let (x, out) = (matrix(x, (rows, k), k), &mut out[..rows * n]);
        let bias = layer.bias.clone().map(|b| &flat[b]);
        let fused = fused(&mut epilogue, rows * n);
        let to = rows_mut(&mut *out, (rows, n), n);
        or_error(|| {
            self.gemm_epilogue(x, w, to, bias, fused);
            Ok(())
        })?;
        self.drop_and_add(out, epilogue);
        Ok(())
    }

    fn linear_backward_input(
        &self,
        dx: &mut Vec<f32>,
        dout: &Vec<f32>,
        params: &Vec<f32>,
        layer: &Linear,
        rows: usize,
        mut epilogue: Epilogue<'_, Self>,
    ) -> Result<()> {
        let (k, n) = (layer.n_in, layer.n_out);
        let w = matrix(&params[layer.weight.clone()], (n, k), k);
        let dy = matrix(dout, (rows, n), n);
        let fused = fused(&mut epilogue, rows * k);
        let dx = &mut dx[..rows * k];
        let to = rows_mut(&mut *dx, (rows, k), k);
        or_error(|| {
            self.gemm_epilogue(dy, w, to, None, fused);
            Ok(())
        })?;
        self.drop_and_add(dx, epilogue);
        Ok(())
    }

    fn linear_backward_weight(
        &self,
        to: WeightGrad<'_, Self>,
        dout: &Vec<f32>,
        x: &Vec<f32>,
        layer: &Linear,
    ) -> Result<()> {
        let (k, n, t) = (layer.n_in, layer.n_out, to.t);
        let (dy, x) = (&dout[..to.rows * n], &x[..to.rows * k]);
        let (w, bias) = (layer.weight.clone(), layer.bias.clone());
        let Some(squares) = to.squares else {
            let (dy_t, x) = (cols(dy, (n, to.rows), n), matrix(x, (to.rows, k), k));
            let dw = rows_mut(&mut to.grad[w], (n, k), k);
            or_error(|| {
                self.gemm(dy_t, x, dw, false, None);
                Ok(())
            })?;
            if let Some(b) = bias {
                self.rows(n, COLUMNS, [Rows::new(&mut to.grad[b], 1)], |cols, [db]| {
                    squares::column_sums(db, dy, n, cols);
                });
            }
            return Ok(());
        };
        let (dw, sq) = (&mut to.grad[w.clone()], &mut squares[w]);
        or_error(|| {
            self.gemm_squares(n, k, t, dy, x, dw, sq, |_, _, _, _| ());
            Ok(())
        })?;
        if let Some(b) = bias {
            let (db, sq) = (&mut to.grad[b.clone()], &mut squares[b]);
            self.column_squares(to.rows / t, db, sq, |s, cols, sums| {
                squares::column_sums(sums, &dy[s * t * n..][..t * n], n, cols);
            });
        }
        Ok(())
    }
}
