//! What the Rust library itself says to the inputs of judgement.c.

use super::expected::{letters, printed, same, small};
use bnn::backend::Cpu;
use bnn::generate::{Generator, Mode};
use bnn::inference::agreement::{Called, judge};
use bnn::inference::baseline_file::BaselineFile;
use bnn::inference::scoring::{Models, compare, load_samples};
use bnn::inference::text_score::{TextPlan, write_and_score};
use bnn::inference::{Compared, Cost, Facts, Movement, Report, TemperatureBand, Verdict};
use bnn::store::Store;
use std::path::{Path, PathBuf};

const CALLED: Called = Called {
    one: "quantity",
    many: "quantities",
};

fn verdicts(out: &str) -> Vec<&str> {
    out.lines()
        .filter_map(|l| l.strip_prefix("verdict: "))
        .collect()
}

/// Draws, temperatures and what is made of them.
pub fn draws(out: &str) {
    let mut x = 12345u64;
    let mut uniform = || {
        x = (x * 1_103_515_245 + 12345) % 2_147_483_648;
        x as f64 / 2_147_483_648.0
    };
    let draws: Vec<f64> = (0..240)
        .map(|i| uniform() + 0.5 * f64::from((i / 80) * (i % 2)))
        .collect();
    let cpu = Cpu::new(1).expect("a device");
    let cost = Cost {
        gradients: 600,
        seconds: Some(4.0),
    };
    let tables: Vec<&[f64]> = draws.chunks_exact(80).collect();
    let j = judge(&cpu, &tables, 40, 2, cost, CALLED).expect("a judgement");
    let a = j.agreement.expect("an agreement");
    let want = [
        a.rhat.worst,
        a.rhat.median,
        a.ess_bulk.draws.worst,
        a.ess_tail.per_gradient.median,
        a.ess_bulk.per_second.expect("a time").worst,
        a.mcse_mean.worst,
    ];
    same(&printed(out, "agreement"), &want, "agreement");
    let still: Vec<f64> = (0..240).map(|i| f64::from(i % 2)).collect();
    let tables: Vec<&[f64]> = still.chunks_exact(80).collect();
    let constant = judge(&cpu, &tables, 40, 2, cost, CALLED).expect("a judgement");
    assert_eq!(verdicts(out)[..2], [j.verdict, constant.verdict]);

    let series: Vec<f64> = (0..60).map(|_| 0.5 + uniform()).collect();
    let b = TemperatureBand::checked(&series, 0.9, 50).expect("a band");
    let off = f64::from(u8::from(b.is_off()));
    let want = [b.mean, b.std_error, b.equilibrium_sd, off];
    same(&printed(out, "band"), &want, "band");
    said(out);
}

/// The sentences that the facts of the program make.
fn said(out: &str) {
    let compared = |name: &str, loss, models, difference, std_error| Compared {
        name: name.into(),
        loss,
        models,
        difference,
        std_error,
    };
    let facts = Facts {
        sampler: "baoa".into(),
        temperature: 0.1,
        chains: 1,
        samples: 25,
        sampling_steps: Some(1000.0),
        rhat: Some(2.03),
        ess: Some(1.5),
        kinetic: Some(1.08),
        kinetic_off: Some(true),
        configurational: Some(0.1),
        configurational_off: Some(true),
        over_free: Some(1.01),
        mutual_information: Some(0.08),
        single: Some(compared("the best single model", 1.64, 1, -0.06, 0.007)),
        control: Some(compared("snapshots", 1.55, 25, 0.03, 0.006)),
        ..Facts::default()
    };
    let lines = |name: &'static str| out.lines().filter_map(move |l| l.strip_prefix(name));
    let v = Verdict::new(facts);
    let none = Verdict::new(Facts::default());
    let texts: Vec<&str> = lines("text: ").collect();
    assert_eq!(texts, [&*v.text, &*none.text]);
    assert_eq!(lines("next: ").next(), Some(&*v.next.join("; ")));
}

/// The baseline and the samples that the program left in the folder.
pub fn files(folder: &Path, out: &str) {
    let (cpu, corpus, gpt) = (Cpu::new(1).expect("a device"), letters(2400), small(16));
    let kept: Vec<_> = (std::fs::read_dir(folder.join("kept")).expect("a folder"))
        .map(|e| e.expect("a file").path())
        .collect();
    let ends = |end: &'static str| move |p: &PathBuf| p.to_string_lossy().ends_with(end);
    // The training that the callback ended has left its state.
    let (parts, kept): (Vec<_>, Vec<_>) = kept.into_iter().partition(ends(".part.bnn"));
    let kept: Vec<_> = kept.into_iter().filter(ends(".bnn")).collect();
    assert_eq!((kept.len(), parts.len()), (1, 1), "{kept:?}, {parts:?}");
    let start = BaselineFile::read(&kept[0]).expect("a baseline").params;
    let store = Store::open(folder.join("samples")).expect("a store");
    let m = Movement::of_stored(&store, 0, &start).expect("a movement");
    let want = [
        m.rms_move,
        m.relative_move,
        m.cosine_first_last.expect("one"),
    ];
    same(&printed(out, "movement"), &want, "movement");
    assert_eq!(verdicts(out)[2], m.verdict);

    let models = Models::Stored(&store, &[0, 1, 2, 3]);
    let c = compare(&cpu, &gpt, &corpus.val, &models, &start, 5, |_| Ok(())).expect("scores");
    let want = [
        c.averaged.perplexity.ln(),
        c.baseline.perplexity.ln(),
        c.paired.difference,
        c.paired.std_error,
        c.paired.z,
        c.paired.low,
        c.paired.high,
    ];
    same(&printed(out, "score"), &want, "score");
    // A program that names no row has every number that the library reports: a score more is a row more, and nothing else changes.
    let report = Report::from(&c);
    let numbers = report.rows().iter().filter_map(|row| {
        let value = report.f64(&row.name).ok()?;
        Some((&*row.name, value, format!("({})", row.meaning)))
    });
    let numbers: Vec<_> = numbers.collect();
    let rows = out.lines().filter_map(|l| l.strip_prefix("row "));
    let rows: Vec<Vec<&str>> = rows.map(|l| l.splitn(3, ' ').collect()).collect();
    assert_eq!(rows.len(), numbers.len());
    for (row, (name, value, meaning)) in rows.iter().zip(&numbers) {
        assert_eq!((row[0], row[2]), (*name, &**meaning));
        same(&[row[1].parse().expect("a number")], &[*value], name);
    }

    let samples = load_samples(&store, &[0, 1, 2, 3]).expect("samples");
    let mut generator = Generator::new(&cpu, &gpt, samples).expect("a generator");
    let plan = TextPlan {
        texts: 3,
        prompt: 4,
        length: 12,
        temperature: 0.8,
        mode: Mode::Average,
        seed: 3,
        split: 1,
    };
    let texts = write_and_score(
        &mut generator,
        &corpus.tokenizer,
        &corpus.train,
        &plan,
        || Ok(()),
    );
    let t = texts.expect("texts").expect("three");
    let want = [3.0, t.bleu, t.rouge.rouge1, t.rouge.rouge2, t.rouge.rouge_l];
    same(&printed(out, "texts"), &want, "texts");
}
