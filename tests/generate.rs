//! Generation: against a second, uncached way of doing it; what the averages mean; draws; what is refused.

mod common;

use bnn::backend::ops::*;
use bnn::generate::{ContextOverflow, Generated, Generator, Mode, Options, TokenInfo};
use bnn::gpt::{Ensemble, Gelu, Gpt, GptConfig, Piece, WeightType, Workspace};
use bnn::rng::{Stream, StreamTag};
use bnn::{Error, Result};
use common::writing::*;
use common::{every_cpu, relative_error, wide};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Token for token, through several times the block, with prompts shorter than it, as long and longer.
#[test]
fn texts_are_those_of_the_plain_way() {
    for context in [ContextOverflow::Exact, ContextOverflow::Hop] {
        for (block, n) in [(1, 1), (2, 2), (3, 1), (8, 3), (9, 2)] {
            let gpt = Gpt::new(config(11, block)).unwrap();
            let samples = samples(&gpt, n);
            let mut g = generator(&cpu(), &gpt, samples.clone());
            assert_eq!(g.num_samples(), n as usize);
            for (text, len) in [1, block, block + 1, 3 * block].into_iter().enumerate() {
                let prompt = common::tokens(len, 11, text as u64);
                let ways = [
                    (None, Mode::Average),
                    (Some(1), Mode::Vote),
                    (Some(4), Mode::Average),
                    (Some(4), Mode::Vote),
                    (Some(4), Mode::Sequence),
                    (Some(11), Mode::Vote),
                    (Some(100), Mode::Sequence),
                ];
                for (top_k, mode) in ways {
                    let o = Options {
                        top_k,
                        mode,
                        context,
                        temperature: text as f64 / 2.0,
                        ..options(3 * block + 2)
                    };
                    let text = text as u64;
                    let got = write(&mut g, &prompt, &o, text);
                    let want = plain(&cpu(), &gpt, &samples, &prompt, &o, text);
                    all_close(&got, &want, TOLERANCE);
                }
            }
        }
    }
}

/// The two ways of going beyond the block are two ways: they agree up to it and not after.
#[test]
fn contexts_differ_beyond_the_block() {
    let gpt = Gpt::new(config(11, 8)).unwrap();
    let mut g = generator(&cpu(), &gpt, samples(&gpt, 1));
    let [exact, hop] = [ContextOverflow::Exact, ContextOverflow::Hop].map(|context| {
        let o = Options {
            context,
            ..options(30)
        };
        write(&mut g, &[3, 1, 4], &o, 0)
    });
    // 3 of the prompt and 5 new ones fill the block; the sixth new one is drawn after all 8.
    assert_eq!(exact.info[..6], hop.info[..6]);
    assert_ne!(exact.info[6..], hop.info[6..]);
    // 24 draws beyond it read 7 tokens again each; a hop reads 3 again and serves 5 draws.
    assert_eq!((exact.rereads, hop.rereads), (24 * 7, 5 * 3));
}

#[derive(Clone, Debug)]
struct Case {
    config: GptConfig,
    what: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let shape = (1usize..40, 1usize..90, 1usize..4, 1usize..4, 1usize..9);
    let kind = (any::<bool>(), any::<bool>(), any::<u64>());
    (shape, kind).prop_map(|(shape, (bias, tanh, what))| {
        let (vocab_size, block_size, n_layer, n_head, head) = shape;
        // At a width of 1 or 2 a layer norm gives only signs, and a sign near 0 is rounding.
        let head = if n_head * head < 3 { 3 } else { head };
        let config = GptConfig {
            vocab_size,
            block_size,
            n_layer,
            n_head,
            n_embd: n_head * head,
            bias,
            dropout: 0.0,
            gelu: if tanh { Gelu::Tanh } else { Gelu::Exact },
            tie_weights: true,
        };
        Case { config, what }
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    /// Every position in pieces of random sizes, and every position by single tokens, against the whole at once.
    #[test]
    fn cached_logits_are_those_of_the_whole(case in cases()) {
        let (c, cpu) = (&case.config, cpu());
        let gpt = Gpt::new(c.clone()).unwrap();
        let (v, t) = (c.vocab_size, c.block_size);
        let flat = params(&gpt, case.what);
        let x = common::tokens(t, v, case.what);
        let mut ws = Workspace::for_prediction(&cpu, c, 1, t).unwrap();
        let mut want = vec![0.0; t * v];
        gpt.logits(&cpu, &flat, &x, t, &mut ws, &mut want).unwrap();
        let want = wide(&want);
        let mut one = Ensemble::new(&cpu, &gpt, vec![flat], WeightType::F32, 1).unwrap();
        let mut out = vec![f32::NAN; v];
        for longest in [1, 7, 40, t] {
            one.clear(0);
            while one.len(0) < t {
                let at = one.len(0);
                let draw = Stream::new(case.what, StreamTag::Evaluate, 1);
                let n = 1 + draw.below(longest as u64, longest as u64, at as u64) as usize;
                let end = t.min(at + n);
                let piece = [Piece { sequence: 0, tokens: &x[at..end] }];
                one.read(&piece).unwrap();
                one.logits(&mut out).unwrap();
                prop_assert_eq!(one.len(0), end);
                let error = relative_error(&out, &want[(end - 1) * v..end * v]);
                prop_assert!(error < 1e-5, "position {}: off by {:e}", end, error);
            }
        }
    }
}

// ---------------------------------------------------------------- averages

#[test]
fn copies_of_a_model_are_that_model() {
    let gpt = Gpt::new(config(11, 8)).unwrap();
    let one = params(&gpt, 100);
    let o = options(40);
    let alone = write(&mut generator(&cpu(), &gpt, vec![one.clone()]), &[1], &o, 0);
    for n in [2, 3, 10] {
        let copies = write(
            &mut generator(&cpu(), &gpt, vec![one.clone(); n]),
            &[1],
            &o,
            0,
        );
        // Sums of up to 10 shares, in f64.
        all_close(&copies, &alone, 1e-12);
        let disagree = |t: &TokenInfo| t.mutual_information.abs() > 1e-12;
        assert!(!copies.info.iter().any(disagree));
    }
    assert!(alone.info.iter().all(|t| t.mutual_information == 0.0));
}

#[test]
fn different_models_disagree_by_at_most_ln_s() {
    let gpt = Gpt::new(config(11, 8)).unwrap();
    let made = write(
        &mut generator(&cpu(), &gpt, samples(&gpt, 3)),
        &[1],
        &options(40),
        0,
    );
    for t in made.info {
        assert!(t.mutual_information > 1e-6 && t.mutual_information <= 3f64.ln() + 1e-12);
        assert!(t.entropy <= 11f64.ln() + 1e-12 && t.log_prob < 0.0);
    }
}

/// The likeliest token each time, whatever the temperature; so does a low temperature.
#[test]
fn one_token_to_choose_from_is_greedy() {
    let gpt = Gpt::new(config(11, 8)).unwrap();
    let mut g = generator(&cpu(), &gpt, samples(&gpt, 1));
    let greedy = |temperature, top_k, seed| Options {
        temperature,
        top_k,
        seed,
        ..options(30)
    };
    let first = write(&mut g, &[1], &greedy(1.0, Some(1), 0), 0);
    for (temperature, top_k) in [(50.0, Some(1)), (0.3, Some(1)), (1e-300, None), (0.0, None)] {
        let again = write(&mut g, &[1], &greedy(temperature, top_k, 9), 3);
        all_close(&again, &first, 1e-12);
        assert!(again.info.iter().all(|t| t.draw_log_prob == 0.0));
    }
}

/// Finite logits have finite log probabilities, however far apart they are.
#[test]
fn the_log_probability_of_a_hopeless_token_is_finite() {
    let gpt = Gpt::new(config(11, 8)).unwrap();
    let mut two = samples(&gpt, 2);
    for flat in &mut two {
        let gain = gpt.layout().tensor("transformer.ln_f.weight").unwrap();
        flat[gain.range.clone()].iter_mut().for_each(|v| *v *= 1e4);
    }
    let z: Vec<_> = two.iter().map(|s| logits(&cpu(), &gpt, s, &[1])).collect();
    let o = Options {
        temperature: 1e9,
        ..options(1)
    };
    let mut g = generator(&cpu(), &gpt, two);
    let mut hopeless = 0;
    for text in 0..100 {
        let t = write(&mut g, &[1], &o, text).info[0];
        // With logits thousands apart, log p is the gap to the top but for the mean's ln 2 and rounding: 1e-5 of 1e5.
        let gap = |z: &Vec<f64>| z[t.token as usize] - z.iter().copied().fold(f64::MIN, f64::max);
        let want = z.iter().map(gap).fold(f64::MIN, f64::max);
        assert!((t.log_prob - want).abs() < 3.0, "{} and {want}", t.log_prob);
        hopeless += (want < -800.0) as usize; // e^-800 is 0 in f64
    }
    assert!(hopeless > 0);
}

// ---------------------------------------------------------------- draws

/// Counts of the first token over many texts: false alarm below 1e-6 for each set of options.
#[test]
fn tokens_are_drawn_with_their_probabilities() {
    let gpt = Gpt::new(config(11, 8)).unwrap();
    let samples = samples(&gpt, 2);
    let z: Vec<_> = samples
        .iter()
        .map(|s| logits(&cpu(), &gpt, s, &[2, 3]))
        .collect();
    let mut g = generator(&cpu(), &gpt, samples);
    for (temperature, top_k) in [
        (1.0, None),
        (0.7, Some(4)),
        (2.0, Some(10)),
        (1e300, None),
        (1e300, Some(3)),
    ] {
        let o = Options {
            temperature,
            top_k,
            ..options(1)
        };
        let n = 10_000;
        let mut counts = [0; 11];
        for text in 0..n as u64 {
            counts[write(&mut g, &[2, 3], &o, text).tokens[0] as usize] += 1;
        }
        let q = kept(&z, &o, 0);
        let total: f64 = q.iter().sum();
        for (count, q) in counts.into_iter().zip(q) {
            // The 1e-5 between cached and uncached is far inside what 10,000 draws can tell.
            within(count, n, q / total, 11.0);
        }
    }
}

/// Exact ties: the k lowest tokens are kept, and every one of them is drawn. Not to see one of three in 300 draws: below 1e-50.
#[test]
fn of_equals_the_lower_tokens_are_kept() {
    let gpt = Gpt::new(config(11, 8)).unwrap();
    let o = Options {
        top_k: Some(3),
        ..options(300)
    };
    let made = write(
        &mut generator(&cpu(), &gpt, vec![uniform(&gpt)]),
        &[7],
        &o,
        0,
    );
    let mut seen = made.tokens.clone();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, [0, 1, 2]);
    // before top-k
    let even = |t: &TokenInfo| (t.entropy - 11f64.ln()).abs() < 1e-12;
    assert!(made.info.iter().all(even));
}

/// Of tokens that are drawn uniformly, neighbours agree once in V, within a text and between texts. False alarm: below 1e-6 each.
#[test]
fn places_and_texts_are_drawn_independently() {
    let gpt = Gpt::new(config(11, 8)).unwrap();
    let mut g = generator(&cpu(), &gpt, vec![uniform(&gpt)]);
    let o = Options {
        context: ContextOverflow::Hop,
        ..options(100)
    };
    let mut by_text = |text| write(&mut g, &[7], &o, text).tokens;
    let texts: Vec<_> = (0..101).chain([u64::MAX]).map(&mut by_text).collect();
    let equal = |a: &[u16], b: &[u16]| a.iter().zip(b).filter(|(a, b)| a == b).count();
    let inside = texts.iter().map(|t| equal(&t[1..], t)).sum();
    // A pair's agreement is independent of the other pairs' though they share tokens: each is uniform given all before.
    within(inside, 102 * 99, 1.0 / 11.0, 1.0);
    let between = texts.windows(2).map(|t| equal(&t[0], &t[1])).sum();
    within(between, 101 * 100, 1.0 / 11.0, 1.0);
    // and the seed tells them apart, too
    let other = Options { seed: 6, ..o };
    let other = write(&mut g, &[7], &other, 0).tokens;
    within(equal(&other, &texts[0]), 100, 1.0 / 11.0, 1.0);
}

// ---------------------------------------------------------------- the course of a text

#[test]
fn threads_change_no_bit() {
    let gpt = Gpt::new(config(11, 20)).unwrap();
    for n in [1, 2, 5] {
        for context in [ContextOverflow::Exact, ContextOverflow::Hop] {
            let o = Options {
                context,
                top_k: Some(7),
                ..options(60)
            };
            let mut first: Vec<(String, Generated)> = vec![];
            for cpu in every_cpu() {
                let mut g = generator(&cpu, &gpt, samples(&gpt, n));
                let made = write(&mut g, &[1, 2, 3], &o, 4);
                assert_eq!(made, write(&mut g, &[1, 2, 3], &o, 4), "made again");
                let isa = format!("{:?}", cpu.isa());
                match first.iter().find(|f| f.0 == isa) {
                    Some((_, f)) => assert_eq!(*f, made, "{cpu:?}"),
                    None => first.push((isa, made)),
                }
            }
        }
    }
}

/// Texts written together are those written alone: prompts of all lengths, texts that end early, beyond the block, any threads.
#[test]
fn a_batch_is_its_texts() {
    let gpt = Gpt::new(config(11, 20)).unwrap();
    let long: Vec<u16> = (0..50).map(|i| i % 11).collect();
    let prompts: Vec<&[u16]> = [1, 50, 20, 7, 19, 3].map(|n| &long[..n]).to_vec();
    for n in [1, 3] {
        for (context, form) in [
            (ContextOverflow::Exact, WeightType::F32),
            (ContextOverflow::Hop, WeightType::Bf16),
        ] {
            let o = Options {
                context,
                ..options(30)
            };
            for cpu in every_cpu() {
                let new = || Generator::with_weights(&cpu, &gpt, samples(&gpt, n), form).unwrap();
                let (mut g, mut other) = (new(), new());
                // Text i has ended after i + 5 tokens, but for the first, which runs to its end.
                let mut left = [30, 6, 7, 8, 9, 10];
                let made = g
                    .generate_batch(&prompts, &o, 3, |i, _| {
                        left[i] -= 1;
                        left[i] > 0
                    })
                    .unwrap();
                assert_eq!(made.len(), 6);
                for (i, made) in made.iter().enumerate() {
                    let count = if i == 0 { 30 } else { i + 5 };
                    assert_eq!(made.tokens.len(), count);
                    let o = Options {
                        max_new_tokens: count,
                        ..o.clone()
                    };
                    let alone = write(&mut other, prompts[i], &o, 3 + i as u64);
                    assert_eq!(*made, alone, "text {i} of {n} samples");
                }
            }
        }
    }
    let mut g = generator(&cpu(), &gpt, samples(&gpt, 1));
    let none = g.generate_batch(&[], &options(3), 0, |_, _| true).unwrap();
    assert!(none.is_empty());
    let bad = g.generate_batch(&[&[1], &[2, 11]], &options(3), 0, |_, _| true);
    let text = bad.unwrap_err().to_string();
    assert!(
        text.contains("prompt 1[1]") && text.contains("11"),
        "{text}"
    );
}

#[test]
fn the_caller_sees_each_token_and_can_stop() {
    let gpt = Gpt::new(config(11, 4)).unwrap();
    let mut g = generator(&cpu(), &gpt, samples(&gpt, 2));
    let whole = write(&mut g, &[1], &options(20), 0);
    for n in 1..20 {
        let mut seen = vec![];
        let o = options(20);
        let part = g.generate(&[1], &o, 0, |t| {
            seen.push(*t);
            seen.len() < n
        });
        let part = part.unwrap();
        assert_eq!(part.tokens, whole.tokens[..n]);
        assert_eq!(part.info, whole.info[..n]);
        assert_eq!(seen, part.info);
    }
    // a stopped text leaves nothing behind
    assert_eq!(write(&mut g, &[1], &options(20), 0), whole);
    // and may have asked for any number of tokens
    let o = options(usize::MAX);
    let one = g.generate(&[1], &o, 0, |_| false).unwrap();
    assert_eq!(one.tokens, whole.tokens[..1]);
    let none = write(&mut g, &[1], &options(0), 0);
    assert!(none.tokens.is_empty() && none.info.is_empty() && none.rereads == 0);
}

// ---------------------------------------------------------------- what is refused

fn refused<T>(result: Result<T>, parts: &[&str]) {
    let text = result.err().expect("refused").to_string();
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
}

#[test]
fn samples_and_prompts_that_do_not_fit_are_refused() {
    let gpt = Gpt::new(config(11, 4)).unwrap();
    let (cpu, one) = (cpu(), params(&gpt, 1));
    refused(
        Generator::new(&cpu, &gpt, vec![]),
        &["samples", "at least one"],
    );
    let short = one[1..].to_vec();
    refused(
        Generator::new(&cpu, &gpt, vec![one.clone(), short]),
        &["parameters", &gpt.n_params().to_string()],
    );
    let mut g = generator(&cpu, &gpt, vec![one]);
    let before = write(&mut g, &[1], &options(9), 0);
    for n in [0, 1] {
        let mut of = |prompt: &[u16]| g.generate(prompt, &options(n), 0, |_| true);
        refused(of(&[]), &["prompt", "at least one token"]);
        refused(of(&[1, 11]), &["prompt[1]", "11"]);
        // before the block, too
        refused(
            of(&[1, 1, u16::MAX, 1, 1, 1, 1, 1]),
            &["prompt[2]", "65535"],
        );
    }
    assert_eq!(write(&mut g, &[1], &options(9), 0), before);
}

#[test]
fn options_out_of_range_are_refused() {
    let gpt = Gpt::new(config(11, 4)).unwrap();
    let mut g = generator(&cpu(), &gpt, samples(&gpt, 1));
    let mut of = |o: Options| {
        let checked = o.check().map_err(|e| e.to_string());
        let made = g.generate(&[1], &o, 0, |_| true);
        assert_eq!(checked.err(), made.as_ref().err().map(|e| e.to_string()));
        made
    };
    for temperature in [-1e-300, -1.0, f64::NAN, f64::INFINITY] {
        let o = Options {
            temperature,
            ..options(1)
        };
        refused(of(o), &["temperature", "0 or more"]);
    }
    let o = Options {
        top_k: Some(0),
        ..options(1)
    };
    refused(of(o), &["top_k", "at least 1"]);
    of(options(1)).unwrap();

    let default = Options::default();
    let json = r#"{"max_new_tokens":100,"temperature":0.8,"top_k":null,"seed":0,"context":"exact","mode":"average"}"#;
    assert_eq!(serde_json::to_string(&default).unwrap(), json);
    let hop = json.replace("exact", "hop");
    let hop: Options = serde_json::from_str(&hop).unwrap();
    assert_eq!(hop.context, ContextOverflow::Hop);
}

/// A NaN in the embedding of position 5 is seen when that is read: after a prompt of 3, at the step that reads the third new token.
#[test]
fn logits_that_are_not_numbers_name_sample_and_step() {
    let gpt = Gpt::new(config(11, 8)).unwrap();
    let place = gpt.layout().tensor("transformer.wpe.weight").unwrap();
    for cpu in every_cpu() {
        let mut five = samples(&gpt, 5);
        let whole = write(
            &mut generator(&cpu, &gpt, five.clone()),
            &[1; 3],
            &options(3),
            0,
        );
        for bad in [4, 3] {
            five[bad][place.range.start + 5 * 12] = f32::NAN;
        }
        let mut g = generator(&cpu, &gpt, five);
        for (len, at) in [(3, 3), (6, 0)] {
            match g.generate(&[1; 8][..len], &options(9), 0, |_| true) {
                Err(Error::NotFinite {
                    step,
                    tensor,
                    value,
                }) => {
                    assert_eq!((step, tensor.as_str()), (at, "logits of sample 3"));
                    assert!(value.is_nan());
                }
                other => panic!("{other:?}"),
            }
        }
        // an error leaves nothing behind
        assert_eq!(write(&mut g, &[1; 3], &options(3), 0), whole);
    }
}

// ---------------------------------------------------------------- items in parallel

/// Every item once with its index, on the context's own threads or the caller's; the first error in the items' order.
#[test]
fn each_item_runs_in_the_contexts_pool() {
    for cpu in every_cpu() {
        let caller = std::thread::current().id();
        let mut items = vec![None; 37];
        cpu.host()
            .each(&mut items, |i, item| {
                let thread = std::thread::current();
                let own = thread.name().is_some_and(|name| name.starts_with("bnn-"));
                assert!(own || (cpu.threads() == 1 && thread.id() == caller));
                assert!(item.replace(i).is_none());
                Ok(())
            })
            .unwrap();
        assert!(items.iter().enumerate().all(|(i, item)| *item == Some(i)));
        let failing = cpu.host().each(&mut items, |i, _| match i % 10 {
            9 => Err(Error::out_of_range("item", "another", i)),
            _ => Ok(()),
        });
        refused(failing, &["item", "got 9"]);
        cpu.host()
            .each(&mut [0; 0], |_, _| panic!("there is none"))
            .unwrap();
    }
}
