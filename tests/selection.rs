//! The state of a training that is kept: the best by a held-out text, of the parameters and their moving averages, and when the training ends.

#[path = "common/letters.rs"]
mod letters;

use bnn::Error;
use bnn::backend::{Cpu, Transfer};
use bnn::baseline::{Recipe, Selection, Trainer};
use bnn::data::{Batch, Corpus, Windows};
use bnn::gpt::Gpt;
use bnn::inference::baseline_cache::{BASELINE_CHAIN, Training};
use bnn::inference::baseline_file::BaselineFile;
use bnn::inference::selection::CHECK_TOKENS;
use bnn::metrics::split_loss;

struct Setting {
    cpu: Cpu,
    corpus: Corpus,
    gpt: Gpt,
    recipe: Recipe,
}

const BATCH: (usize, usize) = (4, 8);

impl Setting {
    fn new(letters: usize, iters: u64) -> Self {
        let corpus = letters::corpus(letters, 4, |i| i * i / 7 + i * i * i / 31 + i);
        let gpt = letters::gpt(&corpus, 16, 0.0);
        let recipe = Recipe {
            iters,
            learning_rate: 2e-2,
            warmup_iters: 5,
            seed: 3,
            ..Recipe::default()
        };
        Self {
            cpu: Cpu::new(1).unwrap(),
            corpus,
            gpt,
            recipe,
        }
    }

    fn train(&self, selection: &Selection) -> bnn::Result<BaselineFile> {
        let training = Training {
            selection: Some(selection),
            ..Training::new(&self.corpus, &self.gpt, &self.recipe, BATCH)
        };
        training.run(&self.cpu, &mut |_: u64, _: f64| Ok(()))
    }

    /// Returns the parameters and the averages after each step, the averages computed in doubles.
    fn by_hand(&self, decays: &[f64]) -> Vec<Vec<Vec<f32>>> {
        let windows = Windows::all(self.corpus.train.len(), BATCH.1).unwrap();
        let mut batch = Batch::new(BATCH.0, BATCH.1).unwrap();
        let (b, t) = BATCH;
        let mut trainer = Trainer::new(&self.cpu, &self.gpt, &self.recipe, b, t).unwrap();
        let start = self.gpt.layout().init(self.recipe.seed);
        let wide = |v: &[f32]| v.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let mut averages = vec![wide(&start); decays.len()];
        let mut states = Vec::new();
        for step in 0..self.recipe.iters {
            let (seed, tokens) = (self.recipe.seed, &self.corpus.train);
            (windows.fill(tokens, seed, BASELINE_CHAIN, step, &mut batch)).unwrap();
            trainer.step(&batch).unwrap();
            let now = self.cpu.get(trainer.params()).unwrap();
            let n = (step + 1) as f64;
            for (average, decay) in averages.iter_mut().zip(decays) {
                let kept = decay.min(n / (n + 9.0));
                let each = average.iter_mut().zip(&now);
                each.for_each(|(a, &p)| *a = kept * *a + (1.0 - kept) * f64::from(p));
            }
            let narrow = |v: &Vec<f64>| v.iter().map(|&x| x as f32).collect();
            states.push(
                [now]
                    .into_iter()
                    .chain(averages.iter().map(narrow))
                    .collect(),
            );
        }
        states
    }

    fn loss(&self, params: &[f32], tokens: &[u16]) -> f64 {
        let params = self.cpu.put(params).unwrap();
        split_loss(&self.cpu, &self.gpt, &params, tokens, 8)
            .unwrap()
            .0
    }
}

/// Every state that was looked at has the loss of one that was made by hand, and the kept one is the best of them.
#[test]
fn the_best_state_of_all_looks_is_kept() {
    let of = Setting::new(3000, 95);
    let selection = Selection {
        every: 10,
        patience: 0,
        decays: vec![0.8, 0.95],
    };
    let file = of.train(&selection).unwrap();
    let chosen = file.chosen.as_ref().unwrap();
    let states = of.by_hand(&selection.decays);
    let halves = of.corpus.halves(8);
    // After steps 10, 20, … 90, and 95.
    let looks: Vec<u64> = (1..=9).map(|i| 10 * i).chain([95]).collect();
    assert_eq!(chosen.curve.len(), 3 * looks.len());
    assert_eq!((file.steps, chosen.steps), (95, 95));
    let mut best = (f64::INFINITY, 0, 0);
    for (seen, &step) in chosen.curve.chunks(3).zip(&looks) {
        for (which, &loss) in seen.iter().enumerate() {
            let want = of.loss(&states[step as usize - 1][which], halves.choosing);
            assert!(
                (loss - want).abs() < 2e-5,
                "step {step}, {which}: {loss}, not {want}"
            );
            if loss < best.0 {
                best = (loss, step, which);
            }
        }
    }
    assert_eq!((chosen.loss(), chosen.step()), (best.0, best.1));
    let decay = [None, Some(0.8), Some(0.95)][best.2];
    assert_eq!(chosen.decay(), decay);
    let kept = of.loss(&file.params, halves.choosing);
    assert_eq!(kept, best.0, "the loss of what is kept");
    // Averages must matter here, or the test could not tell them from the parameters.
    let (raw, average) = (&states[94][0], &states[94][2]);
    assert!((of.loss(raw, halves.choosing) - of.loss(average, halves.choosing)).abs() > 1e-3);
    // The file gives it back.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.bnn");
    file.write(&path).unwrap();
    let read = BaselineFile::read(&path).unwrap();
    assert_eq!((&read.params, &read.chosen), (&file.params, &file.chosen));
}

/// A model that overfits is stopped as soon as the best state is as old as the patience, and the best state is kept.
#[test]
fn a_training_ends_when_patience_does() {
    let mut of = Setting::new(700, 400);
    of.recipe.weight_decay = 0.0;
    let patient = |patience| Selection {
        every: 20,
        patience,
        decays: vec![0.9],
    };
    let whole = of.train(&patient(0)).unwrap();
    let all = whole.chosen.as_ref().unwrap();
    assert_eq!(whole.steps, 400);
    assert!(all.step() < 300, "it overfits: best at {}", all.step());
    let short = of.train(&patient(60)).unwrap();
    let chosen = short.chosen.as_ref().unwrap();
    assert_eq!(short.steps, chosen.step() + 60);
    assert_eq!(chosen.curve[..], all.curve[..chosen.curve.len()]);
    // The learning rate's schedule is that of all steps, so what was best by then is best still.
    let until = |c: &[f64]| c.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(chosen.loss(), until(&all.curve[..chosen.curve.len()]));
}

/// Looks read the front of the first half alone, at most so many tokens of it.
#[test]
fn looks_read_no_more_than_they_may() {
    let of = Setting::new(10 * (2 * CHECK_TOKENS + 5000), 2);
    let halves = of.corpus.halves(8);
    assert!(halves.choosing.len() > CHECK_TOKENS + 1);
    let selection = Selection {
        every: 1,
        patience: 0,
        decays: Vec::new(),
    };
    let file = of.train(&selection).unwrap();
    let front = of.loss(&file.params, &halves.choosing[..CHECK_TOKENS + 1]);
    assert_eq!(file.chosen.unwrap().loss(), front);
    assert_ne!(front, of.loss(&file.params, halves.choosing));
}

#[test]
fn what_is_out_of_range_is_refused() {
    let of = Setting::new(700, 2);
    let cases = [
        (0, vec![0.9], "steps between looks"),
        (1, vec![0.9, 1.0], "decay of an average"),
        (1, vec![-0.1], "decay of an average"),
        (1, vec![f64::NAN], "decay of an average"),
    ];
    for (every, decays, what) in cases {
        let selection = Selection {
            every,
            patience: 0,
            decays,
        };
        let refused = of.train(&selection);
        assert!(
            matches!(&refused, Err(Error::OutOfRange { what: name, .. }) if name == what),
            "{refused:?}"
        );
    }
    let mut trainer = Trainer::new(&of.cpu, &of.gpt, &of.recipe, 4, 8).unwrap();
    let mut batch = Batch::new(4, 8).unwrap();
    let windows = Windows::all(of.corpus.train.len(), 8).unwrap();
    windows.fill(&of.corpus.train, 3, 0, 0, &mut batch).unwrap();
    assert!(matches!(trainer.start_at(&[0.0]), Err(Error::Shape { .. })));
    trainer.step(&batch).unwrap();
    let late = trainer.average(&[0.5]);
    assert!(matches!(late, Err(Error::State(_))), "{late:?}");
}
