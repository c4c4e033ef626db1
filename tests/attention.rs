//! Attention on the CPU, whole and cached, against plain loops in f64 on every instruction set; the threads change no bit.

mod common;

use bnn::backend::ops::*;
use bnn::backend::{Attended, AttentionShape, CacheShape, Dropout, Piece, PieceRows};
use common::kernel::*;
use common::{bits, distance, norm, normals, wide};

/// Output (N, C), log-sum-exp (B, H, T), and dqkv (N, 3C) for the output's gradient.
fn attention_reference(
    qkv: &[f64],
    dout: &[f64],
    heads: AttentionShape,
    dropout: Option<Dropout>,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let AttentionShape { b, t, h, size } = heads;
    let c = h * size;
    let scale = 1.0 / (size as f64).sqrt();
    let mut out = vec![0.0; b * t * c];
    let mut lse = vec![0.0; b * h * t];
    let mut dqkv = vec![0.0; 3 * b * t * c];
    for (b, h) in (0..b).flat_map(|b| (0..h).map(move |h| (b, h))) {
        let at = |which: usize, i: usize| (b * t + i) * 3 * c + which * c + h * size;
        let to = |i: usize| (b * t + i) * c + h * size;
        for i in 0..t {
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(a, b)| a * b).sum::<f64>();
            let q = &qkv[at(0, i)..][..size];
            let s: Vec<f64> = (0..=i)
                .map(|j| scale * dot(q, &qkv[at(1, j)..][..size]))
                .collect();
            let top = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let row = (b * heads.h + h) * t + i;
            lse[row] = top + s.iter().map(|s| (s - top).exp()).sum::<f64>().ln();
            let d = &dout[to(i)..][..size];
            let p: Vec<f64> = s.iter().map(|s| (s - lse[row]).exp()).collect();
            let keep: Vec<f64> = (0..=i).map(|j| mask(dropout, row * t + j)).collect();
            // of the probabilities before the mask
            let dp: Vec<f64> = (0..=i)
                .map(|j| keep[j] * dot(d, &qkv[at(2, j)..][..size]))
                .collect();
            let mean = dot(&p, &dp);
            for j in 0..=i {
                let ds = scale * p[j] * (dp[j] - mean);
                for k in 0..size {
                    out[to(i) + k] += keep[j] * p[j] * qkv[at(2, j) + k];
                    dqkv[at(0, i) + k] += ds * qkv[at(1, j) + k];
                    dqkv[at(1, j) + k] += ds * qkv[at(0, i) + k];
                    dqkv[at(2, j) + k] += keep[j] * p[j] * d[k];
                }
            }
        }
    }
    (out, lse, dqkv)
}

fn attended<'a>(
    dout: &'a Vec<f32>,
    out: &'a Vec<f32>,
    lse: &'a Vec<f32>,
    qkv: &'a Vec<f32>,
) -> Attended<'a, Vec<f32>> {
    Attended {
        dout,
        out,
        lse,
        qkv,
    }
}

/// One token; one block of 64 rows, exactly and one more; three and four blocks, none of them whole at the end.
const HEADS: [AttentionShape; 7] = [
    AttentionShape {
        b: 1,
        t: 1,
        h: 1,
        size: 1,
    },
    AttentionShape {
        b: 5,
        t: 9,
        h: 3,
        size: 7,
    },
    AttentionShape {
        b: 1,
        t: 63,
        h: 2,
        size: 4,
    },
    AttentionShape {
        b: 1,
        t: 64,
        h: 2,
        size: 8,
    },
    AttentionShape {
        b: 2,
        t: 65,
        h: 1,
        size: 16,
    },
    AttentionShape {
        b: 1,
        t: 150,
        h: 3,
        size: 5,
    },
    AttentionShape {
        b: 3,
        t: 200,
        h: 1,
        size: 33,
    },
];

#[test]
fn attention() {
    let rates = [0.0, 0.3];
    for (i, (heads, p)) in HEADS
        .iter()
        .flat_map(|h| rates.map(|p| (*h, p)))
        .enumerate()
    {
        let dropout = (p > 0.0).then_some(Dropout {
            p,
            seed: 4,
            step: 1 << 33,
            site: 5,
        });
        let (n, c) = (heads.b * heads.t, heads.width());
        let rows = heads.b * heads.h * heads.t;
        let qkv = normals(3 * n * c, 20 + i as u64);
        let dout = normals(n * c, 50 + i as u64);
        let (want, want_lse, want_dqkv) =
            attention_reference(&wide(&qkv), &wide(&dout), heads, dropout);
        for [out, lse, dqkv] in everywhere(false, |cpu| {
            let behind = |x: &[f32]| [x, &rubbish(9)].concat();
            let (mut out, mut lse) = (rubbish(n * c + 3), rubbish(rows + 3));
            let (qkv, dout) = (behind(&qkv), behind(&dout));
            cpu.attention(&mut out, &mut lse, &qkv, heads, dropout)
                .unwrap();
            let mut dqkv = rubbish(3 * n * c + 3);
            cpu.attention_backward(&mut dqkv, attended(&dout, &out, &lse, &qkv), heads, dropout)
                .unwrap();
            [front(out, n * c), front(lse, rows), front(dqkv, 3 * n * c)]
        }) {
            // A score is off by a few units, and so is the probability made of it, relatively.
            let check = |what: &str, got: &[f32], want: &[f64]| {
                let error = distance(got, want) / norm(want).max(1.0);
                assert!(
                    error < 2.0 * SUMS,
                    "{heads:?}, p {p}: {what} is off by {error:e}"
                );
            };
            check("output", &out, &want);
            check("log-sum-exp", &lse, &want_lse);
            check("gradient", &dqkv, &want_dqkv);
        }
    }
}

/// Scores of up to some thousand: without the largest taken off, the exponentials would overflow.
#[test]
fn attention_with_large_scores() {
    let heads = AttentionShape {
        b: 1,
        t: 70,
        h: 1,
        size: 16,
    };
    let qkv: Vec<f32> = normals(3 * 70 * 16, 90).iter().map(|v| 30.0 * v).collect();
    let dout = normals(70 * 16, 91);
    let (want, want_lse, want_dqkv) = attention_reference(&wide(&qkv), &wide(&dout), heads, None);
    assert!(want_lse.iter().any(|&s| s > 1000.0));
    for [out, lse, dqkv] in everywhere(false, |cpu| {
        let (mut out, mut lse) = (rubbish(70 * 16), rubbish(70));
        cpu.attention(&mut out, &mut lse, &qkv, heads, None)
            .unwrap();
        let mut dqkv = rubbish(3 * 70 * 16);
        cpu.attention_backward(&mut dqkv, attended(&dout, &out, &lse, &qkv), heads, None)
            .unwrap();
        [out, lse, dqkv]
    }) {
        // A score of 4000 is off by some 2e-4, so a probability is off by that much of itself.
        close("output", &out, &want, 1e-3);
        close("log-sum-exp", &lse, &want_lse, SUMS);
        close("gradient", &dqkv, &want_dqkv, 1e-3);
    }
}

/// Any cut of sequences into what was read and what is new gives what reading each whole gives; all rows, or the last of each. Two members
/// with caches of their own, the second block of three.
#[test]
fn attention_cached() {
    let (h, size, block, layers) = (3, 7, 160, 3);
    let (c, slot) = (h * size, 2 * block * h * size);
    // (tokens in all, new ones) of each sequence, the last sequence first; another lies between
    let cases: [&[(usize, usize)]; 5] = [
        &[(1, 1)],
        &[(2, 1), (150, 150)],
        &[(150, 1), (150, 86), (3, 2)],
        &[(160, 66)],
        &[(160, 2), (40, 40), (1, 1), (33, 32)],
    ];
    for case in cases {
        let sequences = case.len() + 1;
        let shape = CacheShape {
            members: 2,
            sequences,
            layers,
            layer: 1,
            block,
            h,
            size,
        };
        let pieces: Vec<_> = (case.iter().enumerate())
            .map(|(i, &(total, len))| Piece {
                sequence: sequences - 1 - i,
                len,
                past: total - len,
            })
            .collect();
        let rows: usize = pieces.iter().map(|p| p.len).sum();
        let (mut new, mut want) = (vec![], vec![]);
        let mut filled = [0, 0].map(|_| rubbish(2 * sequences * layers * slot));
        for member in 0..2 {
            for (p, &(total, _)) in pieces.iter().zip(case) {
                let qkv = normals(3 * total * c, total as u64 + 1000 * member as u64);
                let d = AttentionShape {
                    b: 1,
                    t: total,
                    h,
                    size,
                };
                let (out, ..) = attention_reference(&wide(&qkv), &vec![0.0; total * c], d, None);
                want.extend_from_slice(&out[p.past * c..]);
                new.extend_from_slice(&qkv[p.past * 3 * c..]);
                let at = ((member * sequences + p.sequence) * layers + 1) * slot;
                for (cache, n) in filled.iter_mut().zip([p.past, total]) {
                    for (i, which) in (0..n).flat_map(|i| [(i, 1), (i, 2)]) {
                        let to = at + ((which - 1) * block + i) * c;
                        cache[to..][..c].copy_from_slice(&qkv[i * 3 * c + which * c..][..c]);
                    }
                }
            }
        }
        new.extend(rubbish(3 * c));
        let ends = pieces.iter().scan(0, |end, p| {
            *end += p.len;
            Some(*end - 1)
        });
        let ends: Vec<_> = ends.flat_map(|e| [e, rows + e]).collect();
        for [out, last, cache] in everywhere(false, |cpu| {
            let tokens = on_device(cpu, &vec![0; rows], &pieces);
            let [mut out, mut last] = [0, 0].map(|_| rubbish(2 * rows * c + c));
            let [mut cache, mut same] = [0, 0].map(|_| filled[0].clone());
            cpu.attention_cached(&mut out, &mut cache, &new, &tokens, shape, PieceRows::All)
                .unwrap();
            cpu.attention_cached(&mut last, &mut same, &new, &tokens, shape, PieceRows::Last)
                .unwrap();
            assert_eq!(bits(&cache), bits(&same));
            [
                front(out, 2 * rows * c),
                front(last, 2 * pieces.len() * c),
                cache,
            ]
        }) {
            close("output", &out, &want, 2.0 * SUMS);
            let mut ends = ends.clone();
            ends.sort();
            let want: Vec<f64> = ends
                .iter()
                .flat_map(|r| want[r * c..][..c].to_vec())
                .collect();
            close("last rows", &last, &want, 2.0 * SUMS);
            assert_eq!(bits(&cache), bits(&filled[1]));
        }
    }
}
