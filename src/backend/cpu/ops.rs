//! The CPU as a [`Backend`]: each operation's buffers cut to size and handed to its file.

use super::gemm::{Mat, Panels};
use super::isa::multiversion;
use super::{Cpu, Precision, Rows, par};
use super::{attention, cross_entropy, dropout, embed, gelu, layer_norm, prior, squares};
use crate::backend::{
    Backend, Dropout, Gelu, Heads, Linear, Norm, Objective, PriorTerms, Products, Span, Then,
    WeightType,
};
use crate::error::Result;
use crate::rng::Stream;
use std::ops::Range;

/// Multiplications that take a thread about as long as waking another (some 50 us).
const MIN_BATCH: usize = 1 << 21;

/// Rows at a time when a bias gradient is summed over columns.
const COLUMNS: usize = 16;

multiversion! {
    fn add(out: &mut [f32], a: &[f32], b: &[f32]) {
        for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
            *o = a + b;
        }
    }
}

/// The first n elements of what follows a product.
fn front(then: Then<'_, Vec<f32>>, n: usize) -> Then<'_, [f32]> {
    match then {
        Then::Nothing => Then::Nothing,
        Then::Add(x) => Then::Add(&x[..n]),
        Then::Times(x) => Then::Times(&x[..n]),
        Then::Gelu(y, form) => Then::Gelu(&mut y[..n], form),
    }
}

impl Backend for Cpu {
    type Tokens = Vec<u16>;
    type Packed = Panels;

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

    fn products(&self) -> Products {
        self.precision.products(self.isa)
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

    fn embed(
        &self,
        out: &mut Vec<f32>,
        params: &Vec<f32>,
        wte: &Range<usize>,
        wpe: &Range<usize>,
        x: &Vec<u16>,
        rows: usize,
        t: usize,
        c: usize,
    ) -> Result<()> {
        let (wte, wpe) = (&params[wte.clone()], &params[wpe.clone()]);
        embed::forward(self, out, wte, wpe, &x[..rows], |n| n % t, c);
        Ok(())
    }

    fn embed_at(
        &self,
        out: &mut Vec<f32>,
        params: &Vec<f32>,
        wte: &Range<usize>,
        wpe: &Range<usize>,
        x: &Vec<u16>,
        places: &Vec<u16>,
        rows: usize,
        c: usize,
    ) -> Result<()> {
        let (wte, wpe) = (&params[wte.clone()], &params[wpe.clone()]);
        let place = |n: usize| places[n] as usize;
        embed::forward(self, out, wte, wpe, &x[..rows], place, c);
        Ok(())
    }

    fn last_rows(&self, out: &mut Vec<f32>, x: &Vec<f32>, spans: &[Span], c: usize) -> Result<()> {
        for (to, s) in out.chunks_exact_mut(c).zip(spans) {
            to.copy_from_slice(&x[(s.row + s.rows - 1) * c..][..c]);
        }
        Ok(())
    }

    fn embed_backward(
        &self,
        grad: &mut Vec<f32>,
        wte: &Range<usize>,
        wpe: &Range<usize>,
        tied: bool,
        dout: &Vec<f32>,
        x: &Vec<u16>,
        rows: usize,
        t: usize,
        c: usize,
    ) -> Result<()> {
        if !tied {
            grad[wte.clone()].fill(0.0);
        }
        embed::backward(self, grad, wte, wpe, dout, &x[..rows], t, c);
        Ok(())
    }

    fn embed_backward_squares(
        &self,
        grad: &mut Vec<f32>,
        squares: &mut Vec<f32>,
        wte: &Range<usize>,
        wpe: &Range<usize>,
        head: Option<(&Vec<f32>, &Vec<f32>)>,
        dout: &Vec<f32>,
        x: &Vec<u16>,
        rows: usize,
        t: usize,
        c: usize,
    ) -> Result<()> {
        let x = &x[..rows];
        let head = head.map(|(dlogits, norm)| (&dlogits[..], &norm[..]));
        embed::backward_squares(self, grad, squares, wte, wpe, head, dout, x, t, c);
        Ok(())
    }

    fn layer_norm(
        &self,
        out: &mut Vec<f32>,
        stats: &mut Vec<f32>,
        x: &Vec<f32>,
        params: &Vec<f32>,
        norm: &Norm,
        rows: usize,
        c: usize,
    ) -> Result<()> {
        layer_norm::forward(self, out, stats, x, params, norm, rows, c);
        Ok(())
    }

    fn layer_norm_backward(
        &self,
        dx: &mut Vec<f32>,
        grad: &mut Vec<f32>,
        dout: &Vec<f32>,
        x: &Vec<f32>,
        stats: &Vec<f32>,
        params: &Vec<f32>,
        norm: &Norm,
        rows: usize,
        c: usize,
    ) -> Result<()> {
        layer_norm::backward(self, dx, grad, dout, x, stats, params, norm, rows, c);
        Ok(())
    }

    fn layer_norm_backward_squares(
        &self,
        dx: &mut Vec<f32>,
        grad: &mut Vec<f32>,
        squares: &mut Vec<f32>,
        dout: &Vec<f32>,
        x: &Vec<f32>,
        stats: &Vec<f32>,
        params: &Vec<f32>,
        norm: &Norm,
        rows: usize,
        t: usize,
        c: usize,
    ) -> Result<()> {
        layer_norm::backward_squares(
            self, dx, grad, squares, dout, x, stats, params, norm, rows, t, c,
        );
        Ok(())
    }

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

    fn attention(
        &self,
        out: &mut Vec<f32>,
        lse: &mut Vec<f32>,
        qkv: &Vec<f32>,
        heads: Heads,
        dropout: Option<Dropout>,
    ) -> Result<()> {
        attention::forward(self, out, lse, qkv, heads, dropout);
        Ok(())
    }

    fn attention_backward(
        &self,
        dqkv: &mut Vec<f32>,
        dout: &Vec<f32>,
        out: &Vec<f32>,
        lse: &Vec<f32>,
        qkv: &Vec<f32>,
        heads: Heads,
        dropout: Option<Dropout>,
    ) -> Result<()> {
        attention::backward(self, dqkv, dout, out, lse, qkv, heads, dropout);
        Ok(())
    }

    fn attention_cached(
        &self,
        out: &mut Vec<f32>,
        cache: &mut Vec<f32>,
        block: usize,
        qkv: &Vec<f32>,
        spans: &[Span],
        heads: usize,
        size: usize,
        last: bool,
    ) -> Result<()> {
        let c = heads * size;
        for (i, s) in spans.iter().enumerate() {
            let cache = &mut cache[s.slot..][..2 * block * c];
            let qkv = &qkv[s.row * 3 * c..][..s.rows * 3 * c];
            let (first, row) = if last { (s.rows - 1, i) } else { (0, s.row) };
            let out = &mut out[row * c..][..(s.rows - first) * c];
            attention::cached(self, out, cache, block, s.past, first, qkv, heads, size);
        }
        Ok(())
    }

    fn gelu(&self, out: &mut Vec<f32>, x: &Vec<f32>, n: usize, form: Gelu) -> Result<()> {
        gelu::forward(self, out, &x[..n], form);
        Ok(())
    }

    fn gelu_slope(&self, out: &mut Vec<f32>, x: &mut Vec<f32>, n: usize, form: Gelu) -> Result<()> {
        gelu::slope(self, &mut out[..n], &mut x[..n], form);
        Ok(())
    }

    fn add(&self, out: &mut Vec<f32>, a: &Vec<f32>, b: &Vec<f32>, n: usize) -> Result<()> {
        let (a, b) = (&a[..n], &b[..n]);
        self.rows(n, 1024, [Rows::new(out, 1)], |r, [out]| {
            add(self.isa, out, &a[r.clone()], &b[r]);
        });
        Ok(())
    }

    fn dropout(&self, x: &mut Vec<f32>, n: usize, d: Dropout) -> Result<()> {
        dropout::apply(self, &mut x[..n], d);
        Ok(())
    }

    fn cross_entropy(
        &self,
        nll: &mut Vec<f32>,
        logits: &Vec<f32>,
        targets: &Vec<u16>,
        rows: usize,
        v: usize,
    ) -> Result<()> {
        cross_entropy::forward(self, nll, logits, &targets[..rows], v);
        Ok(())
    }

    fn cross_entropy_backward(
        &self,
        nll: &mut Vec<f32>,
        logits: &mut Vec<f32>,
        targets: &Vec<u16>,
        rows: usize,
        t: usize,
        v: usize,
        objective: Objective,
        weight: f32,
    ) -> Result<()> {
        let targets = &targets[..rows];
        cross_entropy::backward(self, nll, logits, targets, t, v, objective, weight);
        Ok(())
    }

    fn curvature_cotangent(
        &self,
        logits: &mut Vec<f32>,
        rows: usize,
        t: usize,
        v: usize,
        objective: Objective,
        stream: Stream,
        draw: u64,
    ) -> Result<()> {
        let logits = &mut logits[..rows * v];
        cross_entropy::cotangent(self, logits, t, v, objective, stream, draw);
        Ok(())
    }

    fn posterior_gradient(
        &self,
        grad: &mut Vec<f32>,
        theta: &Vec<f32>,
        prior: PriorTerms<'_, Vec<f32>>,
        num_data: f32,
    ) -> Result<f64> {
        Ok(prior::posterior_gradient(
            self, grad, theta, prior, num_data,
        ))
    }

    fn sum_nll(
        &self,
        nll: &Vec<f32>,
        rows: usize,
        t: usize,
        objective: Objective,
    ) -> Result<(f64, usize)> {
        Ok(cross_entropy::sum(&nll[..rows], t, objective))
    }
}
