//! Scores in pieces are those of the whole, whatever the samples lie in; the comparison with another model; which samples and texts are used.

use bnn::Error;
use bnn::backend::Cpu;
use bnn::generate::Mode;
use bnn::gpt::{Gelu, Gpt, GptConfig};
use bnn::inference::scoring::{Models, Paired, RESAMPLES, compare, load_samples, score};
use bnn::inference::text_score::TextPlan;
use bnn::inference::{Report, ReportValue};
use bnn::metrics::{
    DEFAULT_BLOCK, paired_block_bootstrap, split_loss, split_loss_watched, text_scores,
};
use bnn::store::{Dtype, Provenance, Store};

fn gpt(vocab_size: usize, block_size: usize) -> Gpt {
    Gpt::new(GptConfig {
        vocab_size,
        block_size,
        n_layer: 1,
        n_head: 1,
        n_embd: 4,
        bias: true,
        dropout: 0.0,
        gelu: Gelu::Exact,
        tie_weights: true,
    })
    .unwrap()
}

fn samples(gpt: &Gpt, n: u64) -> Vec<Vec<f32>> {
    let mut all: Vec<Vec<f32>> = (0..n).map(|s| gpt.layout().init(s)).collect();
    all.iter_mut().flatten().for_each(|v| *v *= 10.0);
    all
}

fn tokens(n: usize, vocab_size: usize) -> Vec<u16> {
    (0..n)
        .map(|i| ((i * i / 3 + 7 * i) % vocab_size) as u16)
        .collect()
}

fn stored(gpt: &Gpt, all: &[Vec<f32>], folder: &std::path::Path) -> Store {
    let of = Provenance {
        config: String::new(),
        model: "{}".into(),
        seed: 1,
        corpus_sha256: [0; 32],
        baseline_sha256: [0; 32],
        vocabulary: String::new(),
        dtype: Dtype::F32,
        n_params: gpt.n_params() as u64,
    };
    let mut store = Store::create(folder.join("samples"), of).unwrap();
    for (step, params) in all.iter().enumerate() {
        store.append(0, step as u64, params).unwrap();
    }
    store
}

/// Two pieces of 4,096 tokens and one of 512: 2,048 characters leave room for no more in 64 MB.
#[test]
fn pieces_score_as_the_whole_does() {
    let (cpu, gpt) = (Cpu::new(2).unwrap(), gpt(2048, 512));
    let (all, text) = (samples(&gpt, 2), tokens(17 * 512 + 1, 2048));
    let whole = text_scores(&cpu, &gpt, all.iter().map(Ok), &text).unwrap();
    let mut heard = Vec::new();
    let pieces = score(&cpu, &gpt, &text, &Models::Each(&all), |done| {
        heard.push(done);
        Ok(())
    })
    .unwrap();
    assert_eq!(heard, [8, 16, 24, 32, 33, 34]);
    assert_eq!((&pieces.nll, &pieces.entropy), (&whole.nll, &whole.entropy));
    assert_eq!(
        (pieces.brier, pieces.accuracy),
        (whole.brier, whole.accuracy)
    );
    for (a, b) in pieces.sample_nll.iter().zip(&whole.sample_nll) {
        assert!((a - b).abs() < 1e-12 * b, "{a}, not {b}");
    }
}

#[test]
fn samples_in_memory_and_in_a_store_score_alike() {
    let (cpu, gpt) = (Cpu::new(1).unwrap(), gpt(9, 8));
    let (all, text) = (samples(&gpt, 4), tokens(100, 9));
    let folder = tempfile::tempdir().unwrap();
    let store = stored(&gpt, &all, folder.path());
    assert_eq!(
        load_samples(&store, &[3, 1]).unwrap(),
        [&all[3..], &all[1..2]].concat()
    );

    let of = |models: &Models<'_>| score(&cpu, &gpt, &text, models, |_| Ok(()));
    let last = of(&Models::Stored(&store, &[1, 2, 3])).unwrap();
    assert_eq!(last, of(&Models::Each(&all[1..])).unwrap());
    assert_eq!(last.sample_nll.len(), 3);
    let two = of(&Models::Stored(&store, &[1, 3])).unwrap();
    assert_eq!(two.sample_nll, [last.sample_nll[0], last.sample_nll[2]]);
    let alone = of(&Models::One(&all[2])).unwrap();
    assert_eq!(alone.sample_nll[0], last.sample_nll[1]);
    assert!(matches!(
        of(&Models::Each(&[])),
        Err(Error::OutOfRange { .. })
    ));
    let short = vec![vec![0.0; 3]];
    assert!(matches!(
        of(&Models::Each(&short)),
        Err(Error::Shape { .. })
    ));
    let stopped = score(&cpu, &gpt, &text, &Models::Each(&all), |_| {
        Err(Error::Interrupted)
    });
    assert!(matches!(stopped, Err(Error::Interrupted)));
}

/// A pass over a text hears after each batch that it is to stop, and ends there.
#[test]
fn a_pass_over_a_text_can_be_stopped() {
    let (cpu, gpt) = (Cpu::new(1).unwrap(), gpt(9, 8));
    let params = samples(&gpt, 1).remove(0);
    // Three batches of 512 windows of 8, the last one shorter.
    let text = tokens(1100 * 8 + 1, 9);
    let mut heard = Vec::new();
    let stopped = score(&cpu, &gpt, &text, &Models::One(&params), |windows| {
        heard.push(windows);
        match heard.len() {
            2 => Err(Error::Interrupted),
            _ => Ok(()),
        }
    });
    assert!(matches!(stopped, Err(Error::Interrupted)));
    assert_eq!(heard, [512, 1024]);
    let mut looks = 0;
    let mut look = |most| {
        looks += 1;
        if looks > most {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    };
    let stopped = split_loss_watched(&cpu, &gpt, &params, &text, 8, || look(1));
    assert!(matches!(stopped, Err(Error::Interrupted)));
    let whole = split_loss_watched(&cpu, &gpt, &params, &text, 8, || look(5)).unwrap();
    assert_eq!(whole, split_loss(&cpu, &gpt, &params, &text, 8).unwrap());
    assert_eq!(looks, 5);
}

#[test]
fn the_average_is_compared_with_another_model_token_by_token() {
    let (cpu, gpt) = (Cpu::new(1).unwrap(), gpt(9, 8));
    let (all, text) = (samples(&gpt, 3), tokens(1201, 9));
    let c = compare(
        &cpu,
        &gpt,
        &text,
        &Models::Each(&all[..2]),
        &all[2],
        5,
        |_| Ok(()),
    )
    .unwrap();
    let want = paired_block_bootstrap(
        &c.averaged.nll,
        &c.baseline.nll,
        DEFAULT_BLOCK,
        RESAMPLES,
        5,
    );
    let want = want.unwrap();
    assert_eq!((c.paired.difference, c.paired.z), (want.mean, -want.z));
    assert_eq!(
        (c.paired.block, c.paired.resamples),
        (DEFAULT_BLOCK, RESAMPLES)
    );
    let r = Report::from(&c);
    assert_eq!(r.f64("loss").unwrap(), c.averaged.perplexity.ln());
    assert_eq!(r.f64("baseline.loss").unwrap(), c.baseline.perplexity.ln());
    assert_eq!(r.f64("against_baseline.z").unwrap(), c.paired.z);
    assert_eq!(r.f64s("loss_of_each").unwrap(), c.averaged.sample_nll);
    // Nothing is said without its meaning, and every name stands once.
    for row in r.rows() {
        assert!(row.meaning.len() > 10, "{}: {}", row.name, row.meaning);
        assert_eq!(
            r.rows()
                .iter()
                .filter(|other| other.name == row.name)
                .count(),
            1
        );
        assert!(
            !matches!(&row.value, ReportValue::F64(v) if v.is_nan()),
            "{}",
            row.name
        );
    }
}

/// A better one by 0.1 nats on every token but for noise, and a series too short for two usual blocks.
#[test]
fn a_difference_below_0_is_better() {
    let noise = |i: usize| ((i * 7919) % 13) as f64 / 100.0;
    let b: Vec<f64> = (0..50).map(|i| 2.0 + noise(i)).collect();
    let a: Vec<f64> = (0..50).map(|i| 1.9 + noise(i + 5)).collect();
    let p = Paired::new(&a, &b, 3).unwrap();
    assert!(
        (p.difference + 0.1).abs() < 0.03 && p.high < 0.0 && p.z > 3.0,
        "{p:?}"
    );
    assert_eq!(p.block, 25);
    assert!(p.low < p.difference && p.difference < p.high);
    assert!(Paired::new(&a, &b[1..], 3).is_err());
    // No longer block fits eight times, so the second is half as long.
    assert_eq!(p.other_block, 12);
    let want = paired_block_bootstrap(&a, &b, 12, RESAMPLES, 3).unwrap();
    assert_eq!(p.std_error_other_block, want.std_error);
    let text = p.gain_text();
    assert!(
        text.starts_with("+0.") && text.contains("by blocks of 12"),
        "{text}"
    );
    // Losses that depend on each other over 1,000 tokens: four times the block sees more of it. Of 8,192 tokens eight blocks of 1,024 are there, of
    // 4,672 eight of 512.
    let slow = |n: usize| -> Vec<f64> { (0..n).map(|i| (i as f64 / 600.0).sin()).collect() };
    let of = |n: usize| Paired::new(&slow(n), &vec![0.0; n], 3).unwrap();
    let long = of(8192);
    assert_eq!(
        (long.block, long.other_block, of(4672).other_block),
        (256, 1024, 512)
    );
    assert!(
        long.std_error_other_block > 1.3 * long.std_error,
        "{long:?}"
    );
    let close = Paired::new(&vec![1.0; 100], &vec![1.0005; 100], 3).unwrap();
    assert!(close.gain_text().ends_with("no practical difference"));
}

#[test]
fn a_text_needs_a_hundred_starts() {
    let plan = TextPlan {
        texts: 5,
        prompt: 20,
        length: 80,
        temperature: 0.8,
        mode: Mode::Average,
        seed: 1,
        split: 0,
    };
    assert_eq!(plan.starts(199), None);
    assert_eq!(plan.starts(200), Some((1, 100)));
    assert_eq!(plan.starts(460), Some((3, 360)));
    assert_eq!(plan.starts(10_000), Some((5, 9900)));
    assert_eq!(plan.starts(10), None);
}
