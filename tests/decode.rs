//! Decoding with a cache: the logits of the whole, pieces read together as if alone, rounded weights, what is refused.

mod common;

use bnn::backend::Cpu;
use bnn::gpt::{Cache, Decoder, Gelu, Gpt, GptConfig, Piece, WeightType, Weights};
use common::model::*;
use common::{bits, every_cpu, relative_error, wide};

fn every_cpu_tied_and_untied() -> impl Iterator<Item = (Cpu, bool)> {
    let cpus = every_cpu().into_iter();
    cpus.flat_map(|cpu| [(cpu.clone(), true), (cpu, false)])
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
        let weights = Weights::new(&cpu, &model.gpt, &model.params, WeightType::F32).unwrap();
        let mut decoder = Decoder::new(&cpu, &model.gpt, 1).unwrap();
        let mut cache = Cache::new(&cpu, &config, 1).unwrap();
        for pieces in [&[150][..], &[1, 64, 1, 1, 70, 13], &[7; 21]] {
            cache.clear(0);
            assert!(cache.is_empty(0));
            for &piece in pieces {
                let at = cache.len(0);
                let pieces = [Piece {
                    sequence: 0,
                    tokens: &x[at..at + piece],
                }];
                let mut out = [f32::NAN; 13];
                decoder
                    .read(&cpu, &model.gpt, &weights, &mut cache, &pieces, &mut out)
                    .unwrap();
                let end = at + piece;
                assert_eq!(cache.len(0), end);
                let error = relative_error(&out, &want[(end - 1) * 13..end * 13]);
                assert!(
                    error < TOLERANCE,
                    "{cpu:?}: position {end} is off by {error:e}"
                );
            }
        }
    }
}

/// Any mixture of pieces of several sequences gives, bit for bit, what reading each alone gives.
#[test]
fn what_is_read_together_is_as_if_read_alone() {
    for cpu in every_cpu() {
        let config = config([13, 70, 3, 3, 24], true, Gelu::Exact);
        let model = Model::random(&cpu, &config, 1, 70, 18);
        for form in [WeightType::F32, WeightType::Bf16] {
            let weights = Weights::new(&cpu, &model.gpt, &model.params, form).unwrap();
            let mut decoder = Decoder::new(&cpu, &model.gpt, 5).unwrap();
            let [mut together, mut alone] = [5, 5].map(|n| Cache::new(&cpu, &config, n).unwrap());
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
                let piece = |cache: &Cache<Cpu>, (sequence, n): (usize, usize)| Piece {
                    sequence,
                    tokens: &x[sequence][cache.len(sequence)..][..n],
                };
                let pieces: Vec<_> = round.iter().map(|&p| piece(&together, p)).collect();
                let mut out = vec![f32::NAN; 13 * round.len()];
                let mut one = vec![f32::NAN; 13];
                decoder
                    .read(&cpu, &model.gpt, &weights, &mut together, &pieces, &mut out)
                    .unwrap();
                for (i, &p) in round.iter().enumerate() {
                    let piece = [piece(&alone, p)];
                    decoder
                        .read(&cpu, &model.gpt, &weights, &mut alone, &piece, &mut one)
                        .unwrap();
                    assert_eq!(bits(&one), bits(&out[i * 13..][..13]), "{cpu:?}, {p:?}");
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
        let weights = Weights::new(&cpu, &model.gpt, &model.params, WeightType::Bf16).unwrap();
        let mut decoder = Decoder::new(&cpu, &model.gpt, 1).unwrap();
        let mut cache = Cache::new(&cpu, &config, 1).unwrap();
        let piece = [Piece {
            sequence: 0,
            tokens: &x,
        }];
        let mut got = [f32::NAN; 13];
        decoder
            .read(&cpu, &model.gpt, &weights, &mut cache, &piece, &mut got)
            .unwrap();
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
fn a_decoder_refuses_what_does_not_fit() {
    let cpu = Cpu::new(1).unwrap();
    let model = Model::random(&cpu, &config(SHAPE, true, Gelu::Exact), 1, 1, 16);
    let weights = Weights::new(&cpu, &model.gpt, &model.params, WeightType::F32).unwrap();
    let mut decoder = Decoder::new(&cpu, &model.gpt, 2).unwrap();
    let mut cache = Cache::new(&cpu, model.gpt.config(), 3).unwrap();
    let mut out = [0.0; 33];
    let mut read = |cache: &mut Cache<Cpu>, pieces: &[(usize, &[u16])], logits: usize| {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|&(sequence, tokens)| Piece { sequence, tokens })
            .collect();
        let out = &mut out[..logits];
        let result = decoder.read(&cpu, &model.gpt, &weights, cache, &pieces, out);
        result.map_err(|e| e.to_string())
    };
    read(&mut cache, &[(1, &[1; 10])], 11).unwrap();
    read(&mut cache, &[], 0).unwrap();
    // pieces, room for logits, and what the message says
    type Case<'a> = (&'a [(usize, &'a [u16])], usize, &'a [&'a str]);
    let cases: [Case; 8] = [
        (&[(1, &[])], 11, &["1 to 2", "got 0"]),
        (&[(1, &[1; 3])], 11, &["10 of 12", "got 3"]),
        (&[(0, &[1]), (1, &[1, 11])], 22, &["x[1, 1]", "11"]),
        (&[(1, &[1])], 10, &["logits", "11", "10"]),
        (&[(3, &[1])], 11, &["sequence of piece 0", "3"]),
        (
            &[(0, &[1]), (0, &[1])],
            22,
            &["piece 1", "another", "got 0"],
        ),
        (
            &[(0, &[1]), (1, &[1]), (2, &[1])],
            33,
            &["pieces", "at most 2"],
        ),
        (&[(0, &[1; 12]), (1, &[1])], 22, &["at most 12 together"]),
    ];
    for (pieces, logits, parts) in cases {
        let text = read(&mut cache, pieces, logits).unwrap_err();
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
    // none of which moved the cache
    assert_eq!([0, 1, 2].map(|s| cache.len(s)), [0, 10, 0]);
    read(&mut cache, &[(1, &[1; 2])], 11).unwrap();
    let text = read(&mut cache, &[(1, &[1])], 11).unwrap_err();
    assert!(text.contains("12 of 12"), "{text}");
    assert!(Decoder::new(&cpu, &model.gpt, 0).is_err());
    // what another model made
    let deeper = GptConfig {
        n_layer: 5,
        ..model.gpt.config().clone()
    };
    let other = Gpt::new(deeper).unwrap();
    let flat = other.layout().init(1);
    let others = Weights::new(&cpu, &other, &flat, WeightType::F32).unwrap();
    let mut its_cache = Cache::new(&cpu, other.config(), 3).unwrap();
    let mut its_decoder = Decoder::new(&cpu, &other, 2).unwrap();
    let piece = [Piece {
        sequence: 0,
        tokens: &[1],
    }];
    let mut out = [0.0; 11];
    let mut decoder = Decoder::new(&cpu, &model.gpt, 2).unwrap();
    let results = [
        decoder.read(&cpu, &model.gpt, &others, &mut cache, &piece, &mut out),
        decoder.read(&cpu, &model.gpt, &weights, &mut its_cache, &piece, &mut out),
        its_decoder.read(&cpu, &model.gpt, &weights, &mut cache, &piece, &mut out),
    ];
    for (result, what) in results.into_iter().zip(["weights", "cache", "decoder"]) {
        let text = result.unwrap_err().to_string();
        assert!(text.contains(what) && text.contains("n_layer: 5"), "{text}");
    }
    let short = Weights::new(&cpu, &model.gpt, &vec![0.0; 3], WeightType::F32);
    let text = short.err().unwrap().to_string();
    assert!(
        text.contains("parameters") && text.contains("[3]"),
        "{text}"
    );
}
