//! Decoding with a cache: the logits of the whole, pieces read together as if alone, rounded weights, what is refused.

mod common;

use bnn::Error;
use bnn::backend::Cpu;
use bnn::gpt::{Ensemble, Gelu, Piece, WeightType};
use common::model::*;
use common::{bits, every_cpu, relative_error, wide};

/// Tokens of the vocabulary.
const V: usize = 13;

fn every_cpu_tied_and_untied() -> impl Iterator<Item = (Cpu, bool)> {
    let cpus = every_cpu().into_iter();
    cpus.flat_map(|cpu| [(cpu.clone(), true), (cpu, false)])
}

/// An ensemble of this model alone.
fn alone(cpu: &Cpu, model: &Model, form: WeightType, sequences: usize) -> Ensemble<Cpu> {
    let samples = vec![model.params.clone()];
    Ensemble::new(cpu, &model.gpt, samples, form, sequences).unwrap()
}

/// Reads (sequence, tokens) and gives the logits: (members, pieces, V).
fn read(ensemble: &mut Ensemble<Cpu>, pieces: &[(usize, &[u16])]) -> Result<Vec<f32>, Error> {
    let piece = |&(sequence, tokens)| Piece { sequence, tokens };
    let pieces: Vec<_> = pieces.iter().map(piece).collect();
    ensemble.read(&pieces)?;
    let mut out = vec![f32::NAN; ensemble.members() * pieces.len() * V];
    ensemble.logits(&mut out)?;
    Ok(out)
}

/// Reading in pieces gives the logits of the whole, up to the order of sums.
#[test]
fn a_cache_gives_the_same_logits() {
    for (cpu, tied) in every_cpu_tied_and_untied() {
        let mut config = config([13, 150, 3, 3, 24], true, Gelu::Tanh);
        config.tie_weights = tied;
        let x = common::tokens(150, 13, 14);
        let mut model = Model::random(&cpu, &config, 1, 150, 15);
        let want = wide(&model.logits(&x, 150).unwrap());
        let mut one = alone(&cpu, &model, WeightType::F32, 1);
        for pieces in [&[150][..], &[1, 64, 1, 1, 70, 13], &[7; 21]] {
            one.clear(0);
            assert!(one.is_empty(0));
            for &piece in pieces {
                let at = one.len(0);
                let end = at + piece;
                let out = read(&mut one, &[(0, &x[at..end])]).unwrap();
                assert_eq!(one.len(0), end);
                let error = relative_error(&out, &want[(end - 1) * 13..end * 13]);
                assert!(
                    error < TOLERANCE,
                    "{cpu:?}: position {end} is off by {error:e}"
                );
            }
        }
    }
}

/// Any mixture of pieces of several sequences by two models gives, bit for bit, what each model gives that reads each alone.
#[test]
fn what_is_read_together_is_as_if_read_alone() {
    for cpu in every_cpu() {
        let config = config([13, 70, 3, 3, 24], true, Gelu::Exact);
        let [model, other] = [18, 28].map(|what| Model::random(&cpu, &config, 1, 70, what));
        for form in [WeightType::F32, WeightType::Bf16] {
            let samples = vec![model.params.clone(), other.params.clone()];
            let mut together = Ensemble::new(&cpu, &model.gpt, samples, form, 5).unwrap();
            let mut apart = [&model, &other].map(|m| alone(&cpu, m, form, 5));
            let x: Vec<_> = (0..5).map(|s| common::tokens(70, 13, 20 + s)).collect();
            // (sequence, tokens), of lengths around those at which kernels change
            let rounds: [&[(usize, usize)]; 6] = [
                &[(0, 1), (1, 34), (3, 17)],
                &[(3, 1), (0, 1), (1, 1), (4, 1), (2, 1)],
                &[(2, 65)],
                &[(0, 33), (3, 31), (4, 2)],
                &[(1, 1), (2, 1)],
                &[(4, 13), (0, 5), (1, 3), (3, 2), (2, 1)],
            ];
            for round in rounds {
                let piece = |len: usize, (sequence, n): (usize, usize)| {
                    (sequence, &x[sequence][len..][..n])
                };
                let len = |ensemble: &Ensemble<Cpu>, p: (usize, usize)| ensemble.len(p.0);
                let pieces = round.iter().map(|&p| piece(len(&together, p), p));
                let pieces: Vec<_> = pieces.collect();
                let out = read(&mut together, &pieces).unwrap();
                for (m, one) in apart.iter_mut().enumerate() {
                    for (i, &p) in round.iter().enumerate() {
                        let got = read(one, &[piece(len(one, p), p)]).unwrap();
                        let want = &out[(m * round.len() + i) * V..][..V];
                        assert_eq!(bits(&got), bits(want), "{cpu:?}, {p:?}");
                    }
                }
            }
        }
    }
}

/// With rounded weights the logits are those of the rounded model.
#[test]
fn bf16_weights_are_the_rounded_models() {
    for (cpu, tied) in every_cpu_tied_and_untied() {
        let mut config = config([13, 20, 2, 3, 24], true, Gelu::Exact);
        config.tie_weights = tied;
        let mut model = Model::random(&cpu, &config, 1, 20, 19);
        let x = common::tokens(20, 13, 15);
        let got = read(&mut alone(&cpu, &model, WeightType::Bf16, 1), &[(0, &x)]).unwrap();
        let exact = wide(&model.logits(&x, 20).unwrap()[19 * 13..]);
        let off = relative_error(&got, &exact);
        assert!((1e-4..3e-2).contains(&off), "{off:e}"); // 8 bits a weight
        // With the blocks' matrices rounded, what is left is the head's rounding; the embedding that is looked up is not rounded. A head
        // of its own can be rounded too, and nothing is left.
        let round = |v: &mut f32| {
            let bits = v.to_bits();
            *v = f32::from_bits((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff_0000);
        };
        for t in model.gpt.layout().tensors() {
            if t.shape.len() == 2 && (t.name.contains(".h.") || t.name.starts_with("lm_head")) {
                model.params[t.range.clone()].iter_mut().for_each(round);
            }
        }
        let blocks = wide(&model.logits(&x, 20).unwrap()[19 * 13..]);
        let rest = relative_error(&got, &blocks);
        // Each product of the head is off by 2^-8 at most.
        let most = if tied { 4e-3 } else { TOLERANCE };
        assert!(rest < most && rest < off, "{rest:e} of {off:e}");
    }
}

#[test]
fn an_ensemble_refuses_what_does_not_fit() {
    let cpu = Cpu::new(1).unwrap();
    let model = Model::random(&cpu, &config(SHAPE, true, Gelu::Exact), 1, 1, 16);
    let mut ensemble = alone(&cpu, &model, WeightType::F32, 3);
    read(&mut ensemble, &[(1, &[1; 10])]).unwrap_err(); // logits of another vocabulary
    read(&mut ensemble, &[]).unwrap();
    // pieces, and what the message says
    type Case<'a> = (&'a [(usize, &'a [u16])], &'a [&'a str]);
    let cases: [Case; 6] = [
        (&[(1, &[])], &["1 to 2", "got 0"]),
        (&[(1, &[1; 3])], &["10 of 12", "got 3"]),
        (&[(0, &[1]), (1, &[1, 11])], &["x[1, 1]", "11"]),
        (&[(3, &[1])], &["sequence of piece 0", "3"]),
        (
            &[(0, &[1]), (0, &[1])],
            &["piece 1", "an earlier piece", "sequence 0"],
        ),
        (&[(0, &[1; 12]), (1, &[1])], &["at most 12 together"]),
    ];
    for (pieces, parts) in cases {
        let text = read(&mut ensemble, pieces).unwrap_err().to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
    // none of which moved what was read
    assert_eq!([0, 1, 2].map(|s| ensemble.len(s)), [0, 10, 0]);
    let pieces = [(1, &[1; 2][..])].map(|(sequence, tokens)| Piece { sequence, tokens });
    ensemble.read(&pieces).unwrap();
    let text = ensemble.logits(&mut [0.0; 10]).unwrap_err().to_string();
    assert!(
        ["logits", "11", "10"]
            .iter()
            .all(|part| text.contains(part)),
        "{text}"
    );
    ensemble.logits(&mut [0.0; 11]).unwrap();
    let text = read(&mut ensemble, &[(1, &[1])]).unwrap_err().to_string();
    assert!(text.contains("12 of 12"), "{text}");
    let refused = |samples: Vec<Vec<f32>>, sequences: usize, parts: &[&str]| {
        let made = Ensemble::new(&cpu, &model.gpt, samples, WeightType::F32, sequences);
        let text = made.err().unwrap().to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    };
    refused(vec![model.params.clone()], 0, &["sequences", "at least 1"]);
    refused(vec![], 1, &["samples", "at least one"]);
    refused(
        vec![model.params.clone(), vec![0.0; 3]],
        1,
        &["parameters", "[3]"],
    );
    let too_many = vec![model.params.clone()];
    refused(too_many, usize::MAX / 1000, &["memory"]);
}
