//! Texts written token by token: looking changes nothing, tokens of the caller's go in, and texts end one by one.

mod common;

use bnn::Error;
use bnn::generate::{ContextOverflow, Generated, Mode, Options};
use bnn::gpt::Gpt;
use common::writing::*;

/// Three prompts, of which the long one does not fit into a read beside the others; block 6.
fn prompts() -> Vec<Vec<u16>> {
    let prompts = [1usize, 9, 4].into_iter().enumerate();
    let each = prompts.map(|(i, len)| common::tokens(len, 11, i as u64));
    each.collect()
}

fn slices(prompts: &[Vec<u16>]) -> Vec<&[u16]> {
    prompts.iter().map(Vec::as_slice).collect()
}

/// Whether or not the caller looks, and whatever the mode, texts are those that are written whole.
#[test]
fn looking_changes_no_bit() {
    let gpt = Gpt::new(config(11, 6)).unwrap();
    let mut g = generator(&cpu(), &gpt, samples(&gpt, 3));
    let prompts = prompts();
    for context in [ContextOverflow::Exact, ContextOverflow::Hop] {
        for mode in [Mode::Average, Mode::Vote, Mode::Sequence] {
            let o = Options {
                context,
                mode,
                temperature: 0.7,
                top_k: Some(5),
                ..options(14)
            };
            let whole = g
                .generate_batch(&slices(&prompts), &o, 3, |_, _| true)
                .unwrap();
            let pulled = |g: &mut bnn::generate::Generator<_>, look: &[usize]| -> Vec<Generated> {
                g.begin(&slices(&prompts), &o, 3).unwrap();
                let mut step = 0;
                loop {
                    for &text in look.iter().filter(|&&t| (t + step).is_multiple_of(2)) {
                        if step < 14 {
                            g.predict(text).unwrap();
                        }
                    }
                    let came = g.advance().unwrap();
                    if came.is_empty() {
                        break;
                    }
                    assert_eq!(came.iter().map(|c| c.0).collect::<Vec<_>>(), [0, 1, 2]);
                    step += 1;
                }
                assert_eq!(step, 14);
                g.finish().unwrap()
            };
            for look in [&[][..], &[1], &[0, 1, 2]] {
                assert_eq!(pulled(&mut g, look), whole, "{context:?} {mode:?} {look:?}");
            }
        }
    }
}

/// Predictions are ln mean_s softmax(z_s) of a pass without a cache, for texts that get tokens of the caller's and others.
#[test]
fn predictions_are_of_the_text_as_it_stands() {
    let (gpt, be) = (Gpt::new(config(11, 6)).unwrap(), cpu());
    let samples = samples(&gpt, 3);
    let mut g = generator(&be, &gpt, samples.clone());
    let prompts = prompts();
    g.begin(&slices(&prompts), &options(12), 0).unwrap();
    let mut texts = prompts.clone();
    let mut put = 0;
    for step in 0..12 {
        for (i, text) in texts.iter().enumerate() {
            let from = text.len().saturating_sub(6);
            let z: Vec<_> = (samples.iter())
                .map(|s| logits(&be, &gpt, s, &text[from..]))
                .collect();
            let each: Vec<_> = z.iter().map(|z| probabilities(z, 1.0)).collect();
            let p = mean(&each);
            let expected = each.iter().map(|p| entropy(p)).sum::<f64>() / 3.0;
            let got = g.predict(i).unwrap();
            let as_p: Vec<f64> = got.log_probs.iter().map(|lp| lp.exp()).collect();
            for (got, want) in as_p.iter().zip(&p) {
                // Logits are f32 sums of up to 12 terms that are of order 10.
                assert!((got - want).abs() < 1e-4, "{as_p:?}, not {p:?}");
            }
            assert!((as_p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!((got.entropy - entropy(&p)).abs() < 1e-4);
            assert!((got.mutual_information - (entropy(&p) - expected)).abs() < 1e-4);
        }
        // The least likely token goes into one text at every third step, and looking goes on to see what was predicted before.
        let (text, before) = (step % 3, g.predict(step % 3).unwrap().log_probs.to_vec());
        let worst = (0..11u16).min_by(|&a, &b| before[a as usize].total_cmp(&before[b as usize]));
        let worst = worst.unwrap();
        g.put(text, worst).unwrap();
        assert_eq!(g.predict(text).unwrap().log_probs, before);
        let came = g.advance().unwrap().to_vec();
        for (i, info) in came {
            if i == text {
                put += 1;
                assert_eq!((info.token, info.draw_log_prob), (worst, 0.0));
                assert_eq!(info.log_prob, before[worst as usize]);
            }
            texts[i].push(info.token);
            assert_eq!(g.written(i).unwrap(), &texts[i][prompts[i].len()..]);
        }
    }
    assert_eq!(put, 12);
}

/// The likeliest token of each prediction, put by the caller, is the text at T = 0.
#[test]
fn the_callers_own_greedy_choice_is_that_of_temperature_0() {
    let gpt = Gpt::new(config(11, 6)).unwrap();
    let mut g = generator(&cpu(), &gpt, samples(&gpt, 2));
    let cold = Options {
        temperature: 0.0,
        ..options(20)
    };
    let want = write(&mut g, &[3, 1], &cold, 0).tokens;
    g.begin(&[&[3, 1]], &options(20), 0).unwrap();
    for _ in 0..20 {
        let lp = g.predict(0).unwrap().log_probs;
        let best = (0..11u16).max_by(|&a, &b| lp[a as usize].total_cmp(&lp[b as usize]));
        g.put(0, best.unwrap()).unwrap();
        g.advance().unwrap();
    }
    assert_eq!(g.finish().unwrap()[0].tokens, want);
}

#[test]
fn texts_end_one_by_one_and_what_comes_too_late_is_refused() {
    let gpt = Gpt::new(config(11, 6)).unwrap();
    let mut g = generator(&cpu(), &gpt, samples(&gpt, 2));
    let too_early = [
        g.advance().map(drop),
        g.predict(0).map(drop),
        g.put(0, 0),
        g.stop(0),
        g.written(0).map(drop),
        g.finish().map(drop),
    ];
    for refused in too_early {
        assert!(matches!(refused, Err(Error::State(_))), "{refused:?}");
    }
    let prompts = prompts();
    let alone: Vec<_> = (0..3)
        .map(|i| write(&mut g, &prompts[i], &options(9), i as u64))
        .collect();
    // What was written whole can be read, and does not go on.
    assert_eq!(
        (g.texts(), g.written(0).unwrap()),
        (1, &alone[2].tokens[..])
    );
    assert!(g.advance().unwrap().is_empty());
    g.begin(&slices(&prompts), &options(9), 0).unwrap();
    assert_eq!(g.texts(), 3);
    for (step, text) in [(0, 1), (3, 2)] {
        while g.written(0).unwrap().len() < step {
            g.advance().unwrap();
        }
        // A text that was looked at ends, too.
        g.predict(text).unwrap();
        g.stop(text).unwrap();
        g.stop(text).unwrap();
        for refused in [g.predict(text).map(drop), g.put(text, 0)] {
            assert!(matches!(refused, Err(Error::State(_))), "{refused:?}");
        }
    }
    for refused in [g.stop(3), g.written(3).map(drop), g.put(3, 0), g.put(0, 11)] {
        assert!(
            matches!(refused, Err(Error::OutOfRange { .. })),
            "{refused:?}"
        );
    }
    while !g.advance().unwrap().is_empty() {}
    assert!(matches!(g.predict(0), Err(Error::State(_))));
    let made = g.finish().unwrap();
    for (i, n) in [9, 0, 3].into_iter().enumerate() {
        assert_eq!(made[i].tokens, alone[i].tokens[..n]);
        assert_eq!(made[i].info, alone[i].info[..n]);
    }
}

/// A sample that is not finite ends the texts with an error; the next text begins well.
#[test]
fn an_error_gives_the_texts_up() {
    let gpt = Gpt::new(config(11, 6)).unwrap();
    let mut bad = samples(&gpt, 2);
    let last = bad[1].len() - 1;
    bad[1][last] = f32::NAN;
    let mut g = generator(&cpu(), &gpt, bad);
    for look in [false, true] {
        g.begin(&[&[1]], &options(5), 0).unwrap();
        let failed = match look {
            true => g.predict(0).map(drop),
            false => g.advance().map(drop),
        };
        assert!(matches!(failed, Err(Error::NotFinite { .. })), "{failed:?}");
        assert!(matches!(g.advance(), Err(Error::State(_))));
    }
}
