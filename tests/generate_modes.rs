//! What a token is drawn from, mode by mode: the average, a vote, one sample for each text.

mod common;

use bnn::backend::{Draw, DrawFrom, Drawn};
use bnn::generate::{Mode, Options, writer};
use bnn::gpt::{Ensemble, Gpt, Piece, WeightType};
use common::writing::*;

/// As the temperature of a vote goes to 0, one sample takes its likeliest token; of two that differ, each has half the draws. (The mean of
/// their logits has one likeliest token, and so has the averaged prediction.)
#[test]
fn a_vote_averages_probabilities_not_logits() {
    let gpt = Gpt::new(config(11, 8)).unwrap();
    let two = samples(&gpt, 2);
    let best = |z: &[f64]| z.iter().copied().enumerate().fold((0, f64::MIN), most).0 as u16;
    fn most(a: (usize, f64), b: (usize, f64)) -> (usize, f64) {
        if b.1 > a.1 { b } else { a }
    }
    let of = |prompt: u16, s: usize| best(&logits(&cpu(), &gpt, &two[s], &[prompt]));
    let prompt = (0..11).find(|&p| of(p, 0) != of(p, 1)).unwrap();
    let mut g = generator(&cpu(), &gpt, two.clone());
    for temperature in [1e-4, 1e-300, f64::MIN_POSITIVE, 0.0] {
        let o = Options {
            temperature,
            mode: Mode::Vote,
            ..options(1)
        };
        let n = 2000;
        let first = (0..n).filter(|&text| {
            let token = write(&mut g, &[prompt], &o, text).tokens[0];
            assert!([of(prompt, 0), of(prompt, 1)].contains(&token));
            token == of(prompt, 0)
        });
        within(first.count(), n as usize, 0.5, 1.0);
    }
}

/// Every mode, temperature and number of tokens against its closed form: with numbers that are spread evenly over 0 to 1, each token comes as often as it
/// is likely, but for one draw at either end of its stretch.
#[test]
fn draws_have_the_laws_of_their_modes() {
    const DRAWS: usize = 4000;
    let gpt = Gpt::new(config(11, 8)).unwrap();
    let three = samples(&gpt, 3);
    let z: Vec<_> = three
        .iter()
        .map(|s| logits(&cpu(), &gpt, s, &[1, 2]))
        .collect();
    let mut models = Ensemble::new(&cpu(), &gpt, three, WeightType::F32, 1).unwrap();
    let tokens = [1, 2];
    models
        .read(&[Piece {
            sequence: 0,
            tokens: &tokens,
        }])
        .unwrap();
    for mode in [Mode::Average, Mode::Vote, Mode::Sequence] {
        for (temperature, top_k) in [0.0, 0.3, 1.0, 2.0, 1e9]
            .into_iter()
            .flat_map(|t| [None, Some(1), Some(3), Some(11)].map(|k| (t, k)))
        {
            let o = Options {
                temperature,
                top_k,
                mode,
                ..options(1)
            };
            for text in 0..3 {
                let from = [writer(o.seed, text, 3)];
                let how = Draw {
                    from: match mode {
                        Mode::Average => DrawFrom::Average,
                        Mode::Vote => DrawFrom::Vote,
                        Mode::Sequence => DrawFrom::Member(&from),
                    },
                    temperature,
                    top_k,
                };
                let q = kept(&z, &o, text);
                let mut seen = [0.0; 11];
                for i in 0..DRAWS {
                    let mut one = [Drawn::default()];
                    let u = [(i as f64 + 0.5) / DRAWS as f64];
                    assert_eq!(models.draw(&mut one, how, &u).unwrap(), None);
                    let (token, log) = (one[0].token as usize, one[0].draw_log_prob);
                    seen[token] += 1.0;
                    assert!((log - q[token].ln()).abs() < TOLERANCE, "{how:?}");
                }
                for (seen, q) in seen.iter().zip(&q) {
                    let off = (seen - q * DRAWS as f64).abs();
                    // The logits are right to about 1e-5, which moves an end by less than one more draw.
                    assert!(off <= 2.0, "{how:?}: {seen} of {DRAWS}, not {q}");
                }
            }
        }
    }
}

/// Where samples disagree about the likeliest token, a low temperature draws what the average finds the likeliest, and a vote does not.
#[test]
fn a_low_temperature_of_the_average_is_its_likeliest_token() {
    let gpt = Gpt::new(config(11, 8)).unwrap();
    let three = samples(&gpt, 3);
    let of = |prompt: u16| -> Vec<Vec<f64>> {
        let z = three.iter().map(|s| logits(&cpu(), &gpt, s, &[prompt]));
        z.collect()
    };
    let likeliest = |q: &[f64]| {
        probabilities(q, 0.0)
            .iter()
            .position(|&p| p == 1.0)
            .unwrap()
    };
    let mut g = generator(&cpu(), &gpt, three.clone());
    let mut disagree = 0;
    for prompt in 0..11 {
        let z = of(prompt);
        let each: Vec<_> = z.iter().map(|z| probabilities(z, 1.0)).collect();
        let best = likeliest(&mean(&each)) as u16;
        let votes: Vec<_> = z.iter().map(|z| likeliest(z) as u16).collect();
        let mut others = 0;
        for text in 0..40 {
            for temperature in [0.0, 1e-4] {
                let o = |mode| Options {
                    temperature,
                    mode,
                    ..options(1)
                };
                let mut token = |mode| write(&mut g, &[prompt], &o(mode), text).tokens[0];
                assert_eq!(token(Mode::Average), best);
                assert_eq!(token(Mode::Sequence), votes[writer(5, text, 3)]);
                let vote = token(Mode::Vote);
                assert!(votes.contains(&vote));
                others += (vote != best) as usize;
            }
        }
        // Of 40 texts a third at least is another's: none of them has a chance of (2/3)^40 = 1e-7.
        let all_agree = votes.iter().all(|&v| v == best);
        assert_eq!(others == 0, all_agree, "prompt {prompt}: {votes:?}, {best}");
        disagree += !all_agree as usize;
    }
    assert!(disagree > 2);
}

/// Of equally likely tokens the first is taken at T = 0, in every mode.
#[test]
fn ties_go_to_the_lowest_id() {
    let gpt = Gpt::new(config(7, 4)).unwrap();
    let mut g = generator(&cpu(), &gpt, vec![uniform(&gpt), uniform(&gpt)]);
    for mode in [Mode::Average, Mode::Vote, Mode::Sequence] {
        let o = Options {
            temperature: 0.0,
            mode,
            ..options(9)
        };
        assert_eq!(write(&mut g, &[3], &o, 1).tokens, [0; 9]);
    }
}

/// A text of mode `sequence` is what its sample writes alone, the samples take turns, and the uncertainty is that of all of them.
#[test]
fn each_text_of_a_sequence_is_one_samples() {
    let gpt = Gpt::new(config(11, 8)).unwrap();
    let four = samples(&gpt, 4);
    let mut together = generator(&cpu(), &gpt, four.clone());
    for seed in [5, 6] {
        let o = Options {
            mode: Mode::Sequence,
            temperature: 1.0,
            seed,
            ..options(20)
        };
        let prompts = [&[1u16, 2][..]; 8];
        let made = together
            .generate_batch(&prompts, &o, 3, |_, _| true)
            .unwrap();
        let mut turns = vec![];
        for (text, made) in (3..).zip(&made) {
            let s = writer(seed, text, 4);
            turns.push(s);
            let alone = vec![four[s].clone()];
            let alone = write(&mut generator(&cpu(), &gpt, alone), &[1, 2], &o, text);
            assert_eq!(made.tokens, alone.tokens);
            for (a, b) in made.info.iter().zip(&alone.info) {
                assert!((a.draw_log_prob - b.log_prob).abs() < 1e-9);
                assert!(a.mutual_information > 0.0 && b.mutual_information == 0.0);
            }
        }
        assert_eq!(turns[..4], turns[4..]);
        turns.truncate(4);
        turns.sort();
        assert_eq!(turns, [0, 1, 2, 3]);
    }
    let first: Vec<_> = (0..100).map(|seed| writer(seed, 0, 4)).collect();
    for s in 0..4 {
        // 25 are expected, with a standard deviation of 4.3.
        assert!((3..50).contains(&first.iter().filter(|&&f| f == s).count()));
    }
    assert_eq!(writer(9, u64::MAX, 1), 0);
}
