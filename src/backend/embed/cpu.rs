//! Token and position embedding on the CPU, and the squares per sequence of the table that the head shares.

use super::{HeadGrad, Positions, Tables};
use crate::backend::activations::cpu::Tokens;
use crate::backend::activations::{Params, WeightGrad};
use crate::backend::cpu::{Cpu, Rows, squares};
use crate::backend::ops::EmbedOps;
use crate::error::Result;
use crate::memory::or_error;
use std::ops::Range;

/// Returns the table in `range`, of a member or of the one model.
fn table<'a>(params: Params<'a, Cpu>, member: usize, range: &Range<usize>) -> &'a [f32] {
    match params {
        Params::Flat(flat) => &flat[range.clone()],
        Params::Ensemble(ensemble) => ensemble.tensor(member, range),
    }
}

/// Adds to wte's gradient and writes wpe's. The work is split over rows of the tables, so each row is summed by one thread, in order.
#[allow(clippy::too_many_arguments)]
fn backward(
    cpu: &Cpu,
    grad: &mut [f32],
    wte: &Range<usize>,
    wpe: &Range<usize>,
    dout: &[f32], // (N, C)
    x: &[u32],    // (N)
    t: usize,
    c: usize,
) {
    // Both tables are rows of C channels and lie side by side in the flat vector, but one adds and the other writes.
    let vocab = wte.len() / c;
    cpu.rows(
        vocab,
        1,
        [Rows::new(&mut grad[wte.clone()], c)],
        |range, [d]| {
            for (n, &token) in x.iter().enumerate() {
                let v = token as usize;
                if range.contains(&v) {
                    let row = &mut d[(v - range.start) * c..][..c];
                    for (o, g) in row.iter_mut().zip(&dout[n * c..][..c]) {
                        *o += g;
                    }
                }
            }
        },
    );
    cpu.rows(
        wpe.len() / c,
        1,
        [Rows::new(&mut grad[wpe.clone()], c)],
        |range, [d]| {
            d.fill(0.0);
            for (row, place) in d.chunks_exact_mut(c).zip(range) {
                for n in (place..x.len()).step_by(t).filter(|_| place < t) {
                    for (o, g) in row.iter_mut().zip(&dout[n * c..][..c]) {
                        *o += g;
                    }
                }
            }
        },
    );
}

/// Computes the gradient of a tied table: the head's product per sequence, with the looked-up rows' gradients added before squaring.
#[allow(clippy::too_many_arguments)]
fn tied(
    cpu: &Cpu,
    dw: &mut [f32],  // (V, C)
    sq: &mut [f32],  // (V, C)
    dlogits: &[f32], // (N, V)
    norm: &[f32],    // (N, C) the head's input
    dout: &[f32],    // (N, C)
    x: &[u32],       // (N)
    t: usize,
    c: usize,
) {
    let vocab = dw.len() / c;
    let (dlogits, norm) = (&dlogits[..x.len() * vocab], &norm[..x.len() * c]);
    cpu.gemm_squares(vocab, c, t, dlogits, norm, dw, sq, |s, rows, cols, part| {
        for n in s * t..(s + 1) * t {
            let v = x[n] as usize;
            if rows.contains(&v) {
                let row = &mut part[(v - rows.start) * cols.len()..][..cols.len()];
                for (o, g) in row.iter_mut().zip(&dout[n * c..][cols.clone()]) {
                    *o += g;
                }
            }
        }
    });
}

/// Computes the gradient of an untied table: per sequence, the rows of the tokens in it.
fn looked_up(
    cpu: &Cpu,
    dw: &mut [f32], // (V, C)
    sq: &mut [f32], // (V, C)
    dout: &[f32],   // (N, C)
    x: &[u32],      // (N)
    t: usize,
    c: usize,
) {
    let vocab = dw.len() / c;
    let tables = [Rows::new(dw, c), Rows::new(sq, c)];
    cpu.rows(vocab, 1, tables, |range, [d, sq]| {
        d.fill(0.0);
        let mut part = Vec::new();
        crate::memory::at_least(&mut part, c, 0.0);
        for (s, tokens) in x.chunks_exact(t).enumerate() {
            for (i, &token) in tokens.iter().enumerate() {
                let v = token as usize;
                if !range.contains(&v) || tokens[..i].contains(&token) {
                    continue;
                }
                part.fill(0.0);
                for n in (i..t).filter(|&n| tokens[n] == token) {
                    let row = &dout[(s * t + n) * c..][..c];
                    part.iter_mut().zip(row).for_each(|(p, g)| *p += g);
                }
                let row = (v - range.start) * c..(v - range.start + 1) * c;
                squares::add(
                    cpu.isa,
                    &mut d[row.clone()],
                    &mut sq[row],
                    c,
                    &part,
                    c,
                    false,
                );
            }
        }
    });
}

/// Computes the gradient of the position table: each position occurs once per sequence.
fn positions(
    cpu: &Cpu,
    dw: &mut [f32], // (block_size, C)
    sq: &mut [f32], // (block_size, C)
    dout: &[f32],   // (N, C)
    rows: usize,
    t: usize,
    c: usize,
) {
    let places = dw.len() / c;
    let tables = [Rows::new(dw, c), Rows::new(sq, c)];
    cpu.rows(places, 1, tables, |range, [d, sq]| {
        let table = d.chunks_exact_mut(c).zip(sq.chunks_exact_mut(c));
        for ((d, sq), place) in table.zip(range) {
            if place >= t {
                d.fill(0.0);
                continue;
            }
            for n in (place..rows).step_by(t) {
                squares::add(cpu.isa, d, sq, c, &dout[n * c..][..c], c, n == place);
            }
        }
    });
}

impl EmbedOps for Cpu {
    fn embed(
        &self,
        out: &mut Vec<f32>,
        params: Params<'_, Self>,
        tables: &Tables,
        x: &Tokens,
        rows: usize,
        positions: Positions,
    ) -> Result<()> {
        let c = tables.c;
        let (members, wte, wpe) = match params {
            Params::Flat(_) => (1, tables.wte.clone(), tables.wpe.clone()),
            Params::Ensemble(e) => (e.len(), e.place(&tables.wte), e.place(&tables.wpe)),
        };
        let per_member = rows / members;
        self.rows(rows, 16, [Rows::new(out, c)], |range, [out]| {
            for (row, at) in out.chunks_exact_mut(c).zip(range) {
                let (member, n) = (at / per_member, at % per_member);
                let place = match positions {
                    Positions::Windows(t) => n % t,
                    Positions::Pieces => x.positions[n] as usize,
                };
                let token = &table(params, member, &wte)[x.ids[n] as usize * c..][..c];
                let place = &table(params, member, &wpe)[place * c..][..c];
                for ((o, a), b) in row.iter_mut().zip(token).zip(place) {
                    *o = a + b;
                }
            }
        });
        Ok(())
    }

    fn embed_backward(
        &self,
        to: WeightGrad<'_, Self>,
        tables: &Tables,
        head: HeadGrad<'_, Vec<f32>>,
        dout: &Vec<f32>,
        x: &Tokens,
    ) -> Result<()> {
        or_error(|| {
            let (wte, wpe, c, t) = (&tables.wte, &tables.wpe, tables.c, to.t);
            let x = &x.ids[..to.rows];
            let Some(squares) = to.squares else {
                if matches!(head, HeadGrad::Own) {
                    to.grad[wte.clone()].fill(0.0);
                }
                backward(self, to.grad, wte, wpe, dout, x, t, c);
                return Ok(());
            };
            let (dw, sq) = (&mut to.grad[wte.clone()], &mut squares[wte.clone()]);
            match head {
                HeadGrad::Missing { dlogits, input } => {
                    tied(self, dw, sq, dlogits, input, dout, x, t, c)
                }
                _ => looked_up(self, dw, sq, dout, x, t, c),
            }
            let (dw, sq) = (&mut to.grad[wpe.clone()], &mut squares[wpe.clone()]);
            positions(self, dw, sq, dout, x.len(), t, c);
            Ok(())
        })
    }
}
