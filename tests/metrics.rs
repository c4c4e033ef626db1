//! Text scores, averaged predictions, calibration and the bootstrap.

use bnn::metrics::{
    PredictiveAccumulator, PredictiveScores, Rouge, Unit, bleu, brier_score,
    expected_calibration_error, log_mean_exp, paired_block_bootstrap, predictive_scores, rouge,
    rouge_bootstrap, rouge_mean,
};
use bnn::rng::{Stream, StreamTag};
use proptest::prelude::*;
use safetensors::SafeTensors;
use serde_json::Value;

#[track_caller]
fn assert_close(got: f64, expected: f64, tolerance: f64) {
    assert!(
        (got - expected).abs() <= tolerance,
        "got {got}, expected {expected} ± {tolerance}"
    );
}

#[track_caller]
fn assert_says<T: std::fmt::Debug>(result: bnn::Result<T>, parts: &[&str]) {
    let said = result.unwrap_err().to_string();
    for part in parts {
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
}

// ---- BLEU and ROUGE ----

fn text_fixture() -> Value {
    serde_json::from_slice(&std::fs::read("tests/data/text_scores.json").unwrap()).unwrap()
}

fn strings(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s.as_str().unwrap())
        .collect()
}

#[test]
fn text_scores_are_those_of_nltk_and_rouge_score() {
    let fixture = text_fixture();
    let (references, predictions) = (
        strings(&fixture["references"]),
        strings(&fixture["predictions"]),
    );
    for (unit, name) in [(Unit::Char, "char"), (Unit::Word, "word")] {
        let expected = &fixture[name];
        for order in [1, 2, 4] {
            let got = bleu(&references, &predictions, unit, order).unwrap();
            assert_close(
                got,
                expected[format!("bleu{order}")].as_f64().unwrap(),
                1e-9,
            );
        }
        let mut sums = [0.0; 3];
        for (at, (reference, prediction)) in references.iter().zip(&predictions).enumerate() {
            let got = rouge(reference, prediction, unit).unwrap();
            let scores = [
                ("rouge1", got.rouge1),
                ("rouge2", got.rouge2),
                ("rougeL", got.rouge_l),
            ];
            for ((key, got), sum) in scores.into_iter().zip(&mut sums) {
                let expected = expected[key][at].as_f64().unwrap();
                assert_close(got, expected, 1e-9);
                *sum += expected;
            }
        }
        let mean = rouge_mean(&references, &predictions, unit).unwrap();
        let n = references.len() as f64;
        assert_close(mean.rouge1, sums[0] / n, 1e-9);
        assert_close(mean.rouge2, sums[1] / n, 1e-9);
        assert_close(mean.rouge_l, sums[2] / n, 1e-9);
    }
}

#[test]
fn bleu_by_hand() {
    let (reference, prediction) = (["the cat sat on the mat"], ["the the the cat sat"]);
    let score = |order| bleu(&reference, &prediction, Unit::Word, order).unwrap();
    // 4 of 5 words (`the` counts twice), 2 of 4 pairs, 1 of 3 triples, no four; brevity exp(1 - 6/5).
    let brevity = (-0.2_f64).exp();
    assert_close(score(1), brevity * 0.8, 1e-15);
    assert_close(score(2), brevity * (0.8_f64 * 0.5).sqrt(), 1e-15);
    assert_close(score(3), brevity * (0.8_f64 * 0.5 / 3.0).cbrt(), 1e-15);
    assert_eq!(score(4), 0.0);
    // A longer prediction has no penalty; the lengths are the corpus'.
    assert_close(
        bleu(&["a b"], &["a b c"], Unit::Word, 1).unwrap(),
        2.0 / 3.0,
        1e-15,
    );
    assert_close(
        bleu(&["a b", "c d e"], &["a b x", "c d"], Unit::Word, 1).unwrap(),
        0.8,
        1e-15,
    );
    // Case and white space count among characters.
    assert_close(
        bleu(&["A b"], &["a b"], Unit::Char, 1).unwrap(),
        2.0 / 3.0,
        1e-15,
    );
    assert_eq!(bleu(&["ab"], &[""], Unit::Char, 2).unwrap(), 0.0);
    assert_eq!(bleu(&[""], &[""], Unit::Char, 1).unwrap(), 0.0);
}

#[test]
fn rouge_by_hand() {
    // Words: 5 and 4; common: a, b, d; pairs: a b; subsequence: a b d.
    let got = rouge("a b c d e", "x a b d", Unit::Word).unwrap();
    assert_close(got.rouge1, 6.0 / 9.0, 1e-15);
    assert_close(got.rouge2, 2.0 / 7.0, 1e-15);
    assert_close(got.rouge_l, 6.0 / 9.0, 1e-15);
    // The order matters to ROUGE-L alone.
    let got = rouge("abcd", "dcba", Unit::Char).unwrap();
    assert_eq!((got.rouge1, got.rouge2, got.rouge_l), (1.0, 0.0, 0.25));
    assert_eq!(rouge("", "", Unit::Char).unwrap(), Rouge::default());
}

#[test]
fn text_scores_refuse_what_they_cannot_score() {
    assert_says(bleu(&["a"], &["a"], Unit::Char, 0), &["1 to 4", "got 0"]);
    assert_says(bleu(&["a"], &["a"], Unit::Char, 5), &["1 to 4", "got 5"]);
    assert_says(
        bleu(&["a", "b"], &["a"], Unit::Char, 1),
        &["predictions", "2", "1"],
    );
    assert_says(
        bleu::<&str, &str>(&[], &[], Unit::Char, 1),
        &["at least one pair"],
    );
    assert_says(
        rouge_mean(&["a"], &["a", "b"], Unit::Char),
        &["predictions", "1", "2"],
    );
    assert_says(
        rouge_mean::<&str, &str>(&[], &[], Unit::Char),
        &["at least one pair"],
    );
    assert_says(rouge_bootstrap(&[], 1), &["at least one pair"]);
}

#[test]
fn the_rouge_bootstrap_is_the_mean_with_noise() {
    let fixture = text_fixture();
    let (references, predictions) = (
        strings(&fixture["references"]),
        strings(&fixture["predictions"]),
    );
    let pairs = references.iter().zip(&predictions);
    let scores: Vec<Rouge> = pairs
        .map(|(r, p)| rouge(r, p, Unit::Char).unwrap())
        .collect();
    let mean = rouge_mean(&references, &predictions, Unit::Char).unwrap();
    let got = rouge_bootstrap(&scores, 1).unwrap();
    assert_eq!(got, rouge_bootstrap(&scores, 1).unwrap());
    assert_ne!(got, rouge_bootstrap(&scores, 2).unwrap());
    // The median of 1,000 means has an sd of about 1.25 / sqrt(1000) = 0.04 of their own sd, which is below 0.3 / 4 for
    // 16 scores: 0.003. The distribution's skew moves its median by less than 0.005. Six sd and that.
    assert_close(got.rouge1, mean.rouge1, 0.023);
    assert_close(got.rouge2, mean.rouge2, 0.023);
    assert_close(got.rouge_l, mean.rouge_l, 0.023);
    assert!(got.rouge1 != mean.rouge1);
    assert_eq!(rouge_bootstrap(&scores[..1], 5).unwrap(), scores[0]);
}

proptest! {
    #[test]
    fn equal_texts_score_one(text in "[a-d ]{0,3}[a-d]( ?[a-d]){3,20}") {
        for unit in [Unit::Char, Unit::Word] {
            let tokens = match unit {
                Unit::Char => text.chars().count(),
                Unit::Word => text.split_whitespace().count(),
            };
            for order in 1..=4.min(tokens) {
                prop_assert_eq!(bleu(&[&text], &[&text], unit, order).unwrap(), 1.0);
            }
            let got = rouge(&text, &text, unit).unwrap();
            prop_assert_eq!((got.rouge1, got.rouge_l), (1.0, 1.0));
            prop_assert_eq!(got.rouge2, if tokens > 1 { 1.0 } else { 0.0 });
        }
    }

    #[test]
    fn text_scores_keep_their_bounds(
        pairs in prop::collection::vec(("[a-e ]{0,30}", "[a-e ]{0,30}"), 1..5),
    ) {
        let (r, p): (Vec<String>, Vec<String>) = pairs.into_iter().unzip();
        for unit in [Unit::Char, Unit::Word] {
            for order in 1..=4 {
                let score = bleu(&r, &p, unit, order).unwrap();
                prop_assert!((0.0..=1.0).contains(&score), "{}", score);
            }
            for (r, p) in r.iter().zip(&p) {
                let got = rouge(r, p, unit).unwrap();
                // The F-measure is symmetric; a common subsequence is made of common tokens.
                prop_assert_eq!(got, rouge(p, r, unit).unwrap());
                prop_assert!(0.0 <= got.rouge_l && got.rouge_l <= got.rouge1 && got.rouge1 <= 1.0);
                prop_assert!((0.0..=1.0).contains(&got.rouge2));
            }
        }
    }
}

// ---- averaged predictions ----

struct Ensemble {
    logits: Vec<f32>,  // (S, N, V)
    targets: Vec<u16>, // (N)
    entropy: Vec<f32>,
    mutual_information: Vec<f32>,
    scores: Value,
}

const ENSEMBLE: (usize, usize, usize) = (7, 300, 65);

fn ensemble() -> Ensemble {
    let bytes = std::fs::read("tests/data/predictive.safetensors").unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let scores = &metadata.metadata().as_ref().unwrap()["scores"];
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let words = |name: &str| -> Vec<[u8; 4]> {
        let data = tensors.tensor(name).unwrap().data();
        data.chunks_exact(4)
            .map(|b| b.try_into().unwrap())
            .collect()
    };
    let floats = |name| words(name).into_iter().map(f32::from_le_bytes).collect();
    let (s, n, v) = ENSEMBLE;
    assert_eq!(tensors.tensor("logits").unwrap().shape(), [s, n, v]);
    Ensemble {
        logits: floats("logits"),
        targets: words("targets")
            .into_iter()
            .map(|b| i32::from_le_bytes(b) as u16)
            .collect(),
        entropy: floats("predictive_entropy"),
        mutual_information: floats("mutual_information"),
        scores: serde_json::from_str(scores).unwrap(),
    }
}

fn in_chunks(e: &Ensemble, sizes: &[usize]) -> PredictiveScores {
    let (s, n, v) = ENSEMBLE;
    let mut accumulator = PredictiveAccumulator::new(n, v).unwrap();
    let mut sizes = sizes.iter().cycle();
    for sample in 0..s {
        let mut first = 0;
        while first < n {
            let end = n.min(first + sizes.next().unwrap());
            let logits = &e.logits[(sample * n + first) * v..(sample * n + end) * v];
            accumulator
                .add_sample_chunk(logits, &e.targets[first..end])
                .unwrap();
            first = end;
        }
    }
    accumulator.finish().unwrap()
}

#[test]
fn averaged_predictions_score_as_in_pytorch() {
    let e = ensemble();
    let (s, n, v) = ENSEMBLE;
    let got = predictive_scores(&e.logits, &e.targets, v).unwrap();
    // The reference works in double precision from the same f32 logits: what is left is rounding in sums of some
    // hundred terms of order 1, and perplexities of order 10.
    let close = |got, key: &str| assert_close(got, e.scores[key].as_f64().unwrap(), 1e-11);
    close(got.perplexity, "perplexity_of_mean_prediction");
    close(got.gibbs_perplexity, "perplexity_mean_nll_over_samples");
    close(got.entropy_summary.mean, "predictive_entropy_mean");
    close(got.expected_entropy, "expected_entropy_mean");
    close(
        got.mutual_information_summary.mean,
        "mutual_information_mean",
    );
    close(got.brier, "brier");
    close(got.accuracy, "accuracy");
    close(got.ece, "ece_15_equal_width_bins");
    // The reference stores these as f32, below 8 and below 1: half a unit in the last place is 2.4e-7 and 3e-8.
    for at in 0..n {
        assert_close(got.entropy[at], e.entropy[at].into(), 2.5e-7);
        assert_close(
            got.mutual_information[at],
            e.mutual_information[at].into(),
            3e-8,
        );
    }
    assert_eq!(
        (got.sample_nll.len(), got.nll.len(), got.entropy.len()),
        (s, n, n)
    );
    let max = got.entropy.iter().copied().fold(0.0, f64::max);
    let min = got.entropy.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(
        (got.entropy_summary.max, got.entropy_summary.min),
        (max, min)
    );
    assert!(min < got.entropy_summary.mean && got.entropy_summary.mean < max);
}

#[test]
fn chunks_and_threads_change_nothing() {
    let e = ensemble();
    let whole = predictive_scores(&e.logits, &e.targets, ENSEMBLE.2).unwrap();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        assert_eq!(
            pool.install(|| predictive_scores(&e.logits, &e.targets, ENSEMBLE.2).unwrap()),
            whole
        );
        let odd = pool.install(|| in_chunks(&e, &[1, 7, 128]));
        // Chunks change only the order in which a sample's nll is summed.
        assert_eq!((&odd.nll, &odd.entropy), (&whole.nll, &whole.entropy));
        assert_eq!(odd.mutual_information, whole.mutual_information);
        for (odd, whole) in odd.sample_nll.iter().zip(&whole.sample_nll) {
            assert_close(*odd, *whole, 1e-13);
        }
    }
}

#[test]
fn one_uniform_sample_in_closed_form() {
    let (n, v) = (40, 8);
    let targets: Vec<u16> = (0..n as u16).map(|i| i % 5).collect(); // 8 of 40 are 0
    let got = predictive_scores(&vec![0.7; n * v], &targets, v).unwrap();
    let (ln_v, eps) = (8.0_f64.ln(), 1e-14);
    assert_close(got.perplexity, 8.0, 1e-13);
    assert_close(got.gibbs_perplexity, 8.0, 1e-13);
    assert_close(got.entropy_summary.mean, ln_v, eps);
    assert_close(got.entropy_summary.min, ln_v, eps);
    assert_close(got.expected_entropy, ln_v, eps);
    assert_close(got.mutual_information_summary.max, 0.0, eps);
    assert_close(got.mutual_information_summary.min, 0.0, eps);
    assert_close(got.brier, 1.0 - 1.0 / 8.0, eps);
    assert_close(got.accuracy, 0.2, eps); // of equals, id 0
    assert_close(got.ece, 0.2 - 0.125, eps);
}

#[test]
fn samples_that_disagree_for_sure_are_all_mutual_information() {
    // Two samples, each certain of another token: p = (1/2, 1/2). exp(-200) is nothing beside 1 in f64.
    let got = predictive_scores(&[200.0, 0.0, 0.0, 200.0], &[1], 2).unwrap();
    let ln_2 = 2.0_f64.ln();
    assert_close(got.entropy[0], ln_2, 1e-15);
    assert_close(got.mutual_information[0], ln_2, 1e-15);
    assert_close(got.nll[0], ln_2, 1e-15);
    assert_close(got.sample_nll[0], 200.0, 1e-12);
    assert_close(got.sample_nll[1], 0.0, 1e-15);
    assert_close(
        got.gibbs_perplexity,
        100.0_f64.exp(),
        1e-10 * 100.0_f64.exp(),
    );
    assert_close(got.brier, 0.5, 1e-15);
}

#[test]
fn probabilities_below_the_smallest_number_are_no_infinity() {
    // ln p = -20,000 underflows as p, not as ln p.
    let got = predictive_scores(&[2e4, 0.0, 2e4, 0.0], &[1], 2).unwrap();
    assert_close(got.nll[0], 2e4, 1e-9);
    assert_eq!((got.entropy[0], got.mutual_information[0]), (0.0, 0.0));
    assert_close(got.brier, 2.0, 1e-15);
    let got = predictive_scores(&[2e4, 0.0, 0.0, 2e4, 3e38, -3e38], &[1], 2).unwrap();
    assert_close(got.nll[0], 3.0_f64.ln(), 1e-12);
    assert!(got.entropy[0].is_finite());
}

#[test]
fn log_mean_exp_does_not_overflow() {
    assert_close(
        log_mean_exp(&[1.0_f64.ln(), 3.0_f64.ln()]),
        2.0_f64.ln(),
        1e-15,
    );
    assert_close(
        log_mean_exp(&[1e5, 1e5 + 4.0_f64.ln()]),
        1e5 + 2.5_f64.ln(),
        1e-10,
    );
    assert_close(log_mean_exp(&[-1e5; 3]), -1e5, 1e-10);
    assert_close(
        log_mean_exp(&[f64::NEG_INFINITY, 0.0]),
        -(2.0_f64.ln()),
        1e-15,
    );
    assert_eq!(log_mean_exp(&[f64::NEG_INFINITY; 2]), f64::NEG_INFINITY);
    assert!(log_mean_exp(&[f64::NAN, 1.0]).is_nan());
    assert!(log_mean_exp(&[]).is_nan());
}

#[test]
fn wrong_chunks_are_refused_and_not_counted() {
    let new = || PredictiveAccumulator::new(3, 2).unwrap();
    assert_says(PredictiveAccumulator::new(0, 2), &["tokens"]);
    assert_says(PredictiveAccumulator::new(2, 0), &["vocabulary"]);
    assert_says(
        PredictiveAccumulator::new(2, 65537),
        &["vocabulary", "65537"],
    );
    assert_says(PredictiveAccumulator::new(usize::MAX, 2), &["memory"]);
    assert_says(new().finish(), &["sample 0"]);

    let mut a = new();
    a.add_sample_chunk(&[0.1, 0.2, 0.3, 0.4], &[0, 1]).unwrap();
    assert_says(a.clone().finish(), &["sample 0", "got 2"]);
    assert_says(a.add_sample_chunk(&[], &[]), &["1 to 1 tokens", "got 0"]);
    assert_says(
        a.add_sample_chunk(&[0.0; 4], &[0, 0]),
        &["1 to 1 tokens", "got 2"],
    );
    assert_says(
        a.add_sample_chunk(&[0.0; 3], &[0]),
        &["logits", "(1, 2)", "got 3"],
    );
    assert_says(
        a.add_sample_chunk(&[0.0, f32::NAN], &[0]),
        &["sample 0, token 2", "NaN", "id 1"],
    );
    assert_says(
        a.add_sample_chunk(&[f32::NEG_INFINITY, 0.0], &[0]),
        &["sample 0, token 2", "-inf"],
    );
    assert_says(
        a.add_sample_chunk(&[0.0; 2], &[2]),
        &["sample 0, token 2", "size 2", "found 2"],
    );
    a.add_sample_chunk(&[0.5, 0.6], &[1]).unwrap();
    a.add_sample_chunk(&[1.0, 0.0], &[0]).unwrap();
    assert_says(
        a.add_sample_chunk(&[0.0; 4], &[1, 0]),
        &["sample 1, token 2", "the target 1", "found 0"],
    );
    a.add_sample_chunk(&[1.0, 0.0, 1.0, 0.0], &[1, 1]).unwrap();
    let expected = predictive_scores(
        &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0],
        &[0, 1, 1],
        2,
    );
    // Only the order of sums differs.
    let (got, expected) = (a.finish().unwrap(), expected.unwrap());
    assert_eq!(got.nll, expected.nll);
    assert_close(got.sample_nll[1], expected.sample_nll[1], 1e-15);

    assert_says(
        predictive_scores(&[0.0; 7], &[0, 1], 2),
        &["(S, 2, 2)", "got 7"],
    );
    assert_says(predictive_scores(&[], &[0], 2), &["(S, 1, 2)"]);
    assert_says(predictive_scores(&[0.0], &[], 2), &["tokens"]);
}

proptest! {
    #[test]
    fn averaging_never_loses_and_information_is_not_negative(
        s in 1usize..6, n in 1usize..5, v in 1usize..9, seed: u64, spread in 0.0f64..30.0,
    ) {
        let normals = Normals::new(seed);
        let logits: Vec<f32> = (0..s * n * v).map(|i| (spread * normals.at(i)) as f32).collect();
        let targets: Vec<u16> = (0..n).map(|i| (seed.rotate_left(i as u32) % v as u64) as u16).collect();
        let got = predictive_scores(&logits, &targets, v).unwrap();
        // Rounding: sums of at most 9 terms of order 1 and of log likelihoods of order 100.
        let mean_nll = got.nll.iter().sum::<f64>() / n as f64;
        let gibbs = got.sample_nll.iter().sum::<f64>() / s as f64;
        prop_assert!(mean_nll <= gibbs + 1e-12, "{} {}", mean_nll, gibbs);
        prop_assert!(got.perplexity <= got.gibbs_perplexity * (1.0 + 1e-12));
        prop_assert!(got.mutual_information_summary.min >= -1e-13);
        // No more than the entropy of which sample it is.
        prop_assert!(got.mutual_information_summary.max <= (s as f64).ln() + 1e-13);
        prop_assert!(got.entropy_summary.max <= (v as f64).ln() + 1e-13);
        prop_assert!((0.0..=2.0).contains(&got.brier));
        prop_assert!((0.0..=1.0).contains(&got.ece) && (0.0..=1.0).contains(&got.accuracy));
    }
}

// ---- calibration ----

#[test]
fn the_brier_score_is_a_squared_distance() {
    assert_close(
        brier_score(&[0.5, 0.3, 0.2], 1).unwrap(),
        0.25 + 0.49 + 0.04,
        1e-15,
    );
    assert_eq!(brier_score(&[0.0, 1.0], 1).unwrap(), 0.0);
    assert_eq!(brier_score(&[0.0, 1.0], 0).unwrap(), 2.0);
    assert_says(brier_score(&[0.5, 0.5], 2), &["below 2", "got 2"]);
}

#[test]
fn the_calibration_error_by_hand() {
    let ece = |c: &[f64], hits: &[bool], bins| expected_calibration_error(c, hits, bins);
    // One bin: mean confidence 0.6, accuracy 1/2. Two bins: gaps 0.3 and 0.9 - 1.
    assert_close(ece(&[0.3, 0.9], &[false, true], 1).unwrap(), 0.1, 1e-15);
    assert_close(ece(&[0.3, 0.9], &[false, true], 2).unwrap(), 0.2, 1e-15);
    // 0.5 belongs to (0, 0.5]: with 0.3 the gaps add up, apart from 0.7 they would cancel.
    assert_close(ece(&[0.5, 0.3], &[true, false], 2).unwrap(), 0.1, 1e-15);
    assert_close(ece(&[0.5, 0.7], &[true, false], 2).unwrap(), 0.6, 1e-15);
    assert_eq!(ece(&[1.0], &[true], 15).unwrap(), 0.0);

    assert_says(ece(&[0.5], &[true], 0), &["bins"]);
    assert_says(ece(&[0.5, 0.5], &[true], 3), &["2", "1"]);
    assert_says(ece(&[], &[], 3), &["1", "0"]);
    for bad in [0.0, 1.5, f64::NAN] {
        assert_says(ece(&[0.5, bad], &[true, true], 3), &["confidence 1"]);
    }
}

proptest! {
    /// Against the definition read literally, edges (k + 1) / bins and their neighbours included.
    #[test]
    fn the_calibration_error_bins_as_defined(
        bins in 1usize..40,
        cases in prop::collection::vec((0usize..1000, -1i8..=1, any::<bool>()), 1..30),
    ) {
        let (confidence, hits): (Vec<f64>, Vec<bool>) = cases
            .into_iter()
            .map(|(k, step, hit)| {
                let edge = (k % bins + 1) as f64 / bins as f64;
                let c = match step { -1 => edge.next_down(), 0 => edge, _ => edge.next_up() };
                (c.min(1.0), hit)
            })
            .unzip();
        let mut expected = 0.0;
        for k in 0..bins {
            let (low, high) = (k as f64 / bins as f64, (k + 1) as f64 / bins as f64);
            let inside = |c: f64| c > low && c <= high;
            let members = confidence.iter().zip(&hits).filter(|(c, _)| inside(**c));
            let gap: f64 = members.map(|(c, &hit)| c - if hit { 1.0 } else { 0.0 }).sum();
            expected += gap.abs() / hits.len() as f64;
        }
        let got = expected_calibration_error(&confidence, &hits, bins).unwrap();
        prop_assert!((got - expected).abs() < 1e-12);
    }
}

// ---- bootstrap ----

struct Normals(Stream);

impl Normals {
    fn new(seed: u64) -> Self {
        Self(Stream::new(seed, StreamTag::Noise, 0))
    }

    /// Box and Muller's cosine.
    fn at(&self, i: usize) -> f64 {
        let radius = (-2.0 * (1.0 - self.0.uniform(0, i as u64)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.0.uniform(1, i as u64)).cos()
    }

    /// x_i = phi x_(i-1) + noise, stationary.
    fn autoregression(&self, phi: f64, n: usize) -> Vec<f64> {
        let mut x = self.at(0) / (1.0 - phi * phi).sqrt();
        (1..=n)
            .map(|i| {
                x = phi * x + self.at(i);
                x
            })
            .collect()
    }
}

#[test]
fn the_standard_error_of_autocorrelated_losses_is_found() {
    let (phi, n, block, resamples) = (0.8, 60_000, 256, 2000);
    let noise = Normals::new(3).autoregression(phi, n);
    let base: Vec<f64> = (0..n).map(|i| 2.0 + (i % 7) as f64).collect();
    let a: Vec<f64> = base
        .iter()
        .zip(&noise)
        .map(|(b, e)| b + 0.1 * e - 0.05)
        .collect();
    // The variance of an AR(1)'s mean is 1 / ((1 - phi)^2 n).
    let exact = 0.1 / ((1.0 - phi) * (n as f64).sqrt());
    let got = paired_block_bootstrap(&a, &base, block, resamples, 1).unwrap();
    // The variance estimate has a relative sd of sqrt(4/3 * block / n) = 7.5 % (blocks) and sqrt(2 / resamples) =
    // 3.2 %, together 8.2 %, so the standard error 4.1 %; its bias is 2 phi / (1 - phi^2) / block / 2 = 0.9 %. Six sd: 26 %.
    assert_close(got.std_error / exact, 1.0, 0.26);
    // Blocks of one token miss the correlation: too small by sqrt((1 - phi) / (1 + phi)) = 1/3.
    // Six sd for 200 resamples, sqrt(1/2 / 200) = 5 % each: 30 % of 1/3.
    let blind = paired_block_bootstrap(&a, &base, 1, 200, 1).unwrap();
    assert_close(blind.std_error / exact, 1.0 / 3.0, 0.1);

    let mean = a.iter().zip(&base).map(|(a, b)| a - b).sum::<f64>() / n as f64;
    assert_close(got.mean, mean, 1e-12);
    assert!((got.mean + 0.05).abs() < 6.0 * exact);
    assert_eq!(got.z, got.mean / got.std_error);
    // The 2.5 % quantile of 2,000 normal deviates has an sd of sqrt(0.025 * 0.975 / 2000) / 0.058 = 0.06 of theirs.
    assert_close((got.low - got.mean) / got.std_error, -1.96, 0.4);
    assert_close((got.high - got.mean) / got.std_error, 1.96, 0.4);

    assert_eq!(
        got,
        paired_block_bootstrap(&a, &base, block, resamples, 1).unwrap()
    );
    assert_ne!(
        got,
        paired_block_bootstrap(&a, &base, block, resamples, 2).unwrap()
    );
    let swapped = paired_block_bootstrap(&base, &a, block, resamples, 1).unwrap();
    assert_close(swapped.mean, -got.mean, 1e-12);
    assert_close(swapped.std_error / got.std_error, 1.0, 1e-9);
}

#[test]
fn few_blocks_do_not_look_surer_than_they_are() {
    // Two blocks of independent losses with variance 1: the variance estimate is unbiased. Over 1,000 series its mean
    // has a relative sd of about sqrt(2 / 1000) = 4.5 %; 30 % is more than six of them. Without the correction it is 0.5.
    let (n, series) = (20, 1000);
    let mut variance = 0.0;
    for seed in 0..series {
        let a = Normals::new(seed).autoregression(0.0, n);
        let got = paired_block_bootstrap(&a, &vec![0.0; n], n / 2, 200, seed).unwrap();
        variance += got.std_error * got.std_error / series as f64;
    }
    assert_close(variance * n as f64, 1.0, 0.3);
}

/// Four blocks of ten independent losses: the 95 % interval holds the true difference of 0 in 98 % of 2,000 series (Student's t with 3 degrees is wide for a
/// resampled interval), 0.3 % standard deviation; 95 % are ten of them away. Without t it was 89 to 90 %, which fails by seven of its own.
#[test]
fn an_interval_of_few_blocks_is_as_wide_as_student_says() {
    let (n, series) = (40, 2000);
    let holds = |seed| {
        let a = Normals::new(seed).autoregression(0.0, n);
        let got = paired_block_bootstrap(&a, &vec![0.0; n], n / 4, 400, seed).unwrap();
        got.low <= 0.0 && 0.0 <= got.high
    };
    let share = (0..series).filter(|&seed| holds(seed)).count() as f64 / series as f64;
    assert!((0.95..0.998).contains(&share), "{share}");
}

#[test]
fn a_last_block_is_cut_to_the_series() {
    // 7 = 3 + 3 + 1. With losses 1, 0, 0, … a resample's sum is how many of its blocks hold the first token.
    let mut a = vec![0.0; 7];
    a[0] = 1.0;
    let got = paired_block_bootstrap(&a, &[0.0; 7], 3, 20_000, 4).unwrap();
    // Two blocks hold it with probability 3/7, one with 1/7: variance 2 * 12/49 + 6/49, over 49, times 7/4.
    let exact = (30.0 / 49.0 / 49.0 * 7.0 / 4.0_f64).sqrt();
    // The sd of 20,000 draws has a relative sd of about sqrt(1/2 / 20,000) = 0.5 % for a distribution of this shape.
    assert_close(got.std_error / exact, 1.0, 0.03);
    assert_close(got.mean, 1.0 / 7.0, 1e-15);
}

#[test]
fn equal_series_do_not_differ() {
    let a: Vec<f64> = (0..100).map(|i| (i as f64).sin()).collect();
    let got = paired_block_bootstrap(&a, &a, 10, 100, 1).unwrap();
    assert_eq!(
        (got.mean, got.std_error, got.z, got.low, got.high),
        (0.0, 0.0, 0.0, 0.0, 0.0)
    );
}

#[test]
fn the_bootstrap_refuses_what_it_cannot_resample() {
    let a = [1.0; 9];
    let run = |a: &[f64], b: &[f64], block, n| paired_block_bootstrap(a, b, block, n, 1);
    assert_says(run(&a, &a[..8], 2, 10), &["9", "8"]);
    assert_says(run(&a, &a, 0, 10), &["block", "1 to 4", "got 0"]);
    assert_says(
        run(&a, &a, 5, 10),
        &["block", "1 to 4", "9 tokens", "got 5"],
    );
    run(&a, &a, 4, 10).unwrap();
    assert_says(run(&[], &[], 1, 10), &["block"]);
    assert_says(run(&a, &a, 2, 1), &["resamples", "got 1"]);
    let mut bad = a;
    bad[6] = f64::INFINITY;
    assert_says(run(&a, &bad, 2, 10), &["token 6", "inf"]);
}

/// Against every pair, with equal numbers and numbers of one kind only among them.
#[test]
fn the_area_under_the_curve_is_a_share_of_pairs() {
    let negative = [0.1, 0.4, 0.35, 0.8, 0.4];
    let positive = [0.4, 0.9, 0.1, 0.7];
    let pair = |n: f64, p: f64| match p.total_cmp(&n) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    let pairs: f64 = (negative.iter())
        .map(|&n| positive.iter().map(|&p| pair(n, p)).sum::<f64>())
        .sum();
    let got = bnn::metrics::auroc(&negative, &positive).unwrap();
    assert!((got - pairs / 20.0).abs() < 1e-15);
    let of = |a: &[f64], b: &[f64]| bnn::metrics::auroc(a, b);
    assert_eq!(of(&[0.0, 1.0], &[2.0, 3.0]).unwrap(), 1.0);
    assert_eq!(of(&[2.0], &[1.0]).unwrap(), 0.0);
    assert_eq!(of(&[0.0], &[-0.0]).unwrap(), 0.5);
    for bad in [of(&[], &[1.0]), of(&[1.0], &[]), of(&[f64::NAN], &[1.0])] {
        assert!(matches!(bad, Err(bnn::Error::OutOfRange { .. })), "{bad:?}");
    }
}

/// The loss of the average of the first s samples is what those alone give.
#[test]
fn the_losses_of_the_first_samples_are_theirs() {
    let (n, v) = (23, 7);
    let logits: Vec<f32> = (0..4 * n * v)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 11.0)
        .collect();
    let targets: Vec<u16> = (0..n).map(|i| (i * 5 % v) as u16).collect();
    let all = bnn::metrics::predictive_scores(&logits, &targets, v).unwrap();
    for s in 1..=4 {
        let first = &logits[..s * n * v];
        let some = bnn::metrics::predictive_scores(first, &targets, v).unwrap();
        let mean = some.nll.iter().sum::<f64>() / n as f64;
        assert!((all.average_nll[s - 1] - mean).abs() < 1e-14);
    }
}
