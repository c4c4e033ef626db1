//! The controls: AdamW's run from the samples' start, its kept states, the fitted temperature, and which control the average has to beat.

#[path = "common/letters.rs"]
mod letters;

use bnn::backend::{Cpu, Transfer};
use bnn::baseline::{Recipe, Trainer};
use bnn::data::{Batch, Corpus, Windows};
use bnn::gpt::Gpt;
use bnn::inference::baseline_cache::{BASELINE_CHAIN, Watch};
use bnn::inference::controls::{AdamwRun, Contender, best, compare_with, error_over_chains};
use bnn::inference::held_out::score_held_out;
use bnn::inference::scoring::{Models, score};
use bnn::metrics::split_loss;
use bnn::store::{Dtype, Provenance};
use bnn::{Error, Result};

struct Setting {
    cpu: Cpu,
    corpus: Corpus,
    gpt: Gpt,
    recipe: Recipe,
    start: Vec<f32>,
    provenance: Provenance,
    folder: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        let corpus = letters::corpus(3000, 5, |i| i * i / 7 + i * i * i / 31 + i);
        let gpt = letters::gpt(&corpus, 8, 0.0);
        let provenance = Provenance {
            config: String::new(),
            model: gpt.config().json().unwrap(),
            seed: 1,
            corpus_sha256: corpus.sha256,
            baseline_sha256: [0; 32],
            vocabulary: corpus.tokenizer.vocabulary(),
            dtype: Dtype::F32,
            n_params: gpt.n_params() as u64,
        };
        Self {
            cpu: Cpu::new(1).unwrap(),
            start: gpt.layout().init(77),
            recipe: Recipe {
                iters: 9,
                learning_rate: 1e-2,
                warmup_iters: 4,
                seed: 3,
                ..Recipe::default()
            },
            corpus,
            gpt,
            provenance,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn run(&self) -> AdamwRun<'_> {
        AdamwRun {
            corpus: &self.corpus,
            gpt: &self.gpt,
            recipe: &self.recipe,
            batch: (4, 8),
            start: &self.start,
            gradients: 47,
            kept: (12, 7),
            provenance: &self.provenance,
        }
    }

    /// Returns the parameters after each of the 47 steps at the peak rate.
    fn by_hand(&self) -> Vec<Vec<f32>> {
        let recipe = Recipe {
            iters: 47,
            final_fraction: 1.0,
            seed: 3 + (1 << 32),
            ..self.recipe.clone()
        };
        assert_eq!(recipe.learning_rate_at(46), 1e-2);
        let mut trainer = Trainer::new(&self.cpu, &self.gpt, &recipe, 4, 8).unwrap();
        trainer.start_at(&self.start).unwrap();
        let windows = Windows::all(self.corpus.train.len(), 8).unwrap();
        let mut batch = Batch::new(4, 8).unwrap();
        let each = (0..47).map(|step| {
            let tokens = &self.corpus.train;
            (windows.fill(tokens, recipe.seed, BASELINE_CHAIN, step, &mut batch)).unwrap();
            trainer.step(&batch).unwrap();
            self.cpu.get(trainer.params()).unwrap()
        });
        each.collect()
    }
}

/// Ends a training after a step.
struct Until(u64);

impl Watch for Until {
    fn step(&mut self, step: u64, _: f64) -> Result<()> {
        match step == self.0 {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }
}

/// States are kept after steps 19, 26, 33, 40 and 47; a run that is broken off at any of them, or loses them, keeps the same.
#[test]
fn the_kept_states_are_those_of_the_steps() {
    let of = Setting::new();
    let want = of.by_hand();
    let check = || {
        let states = (of.run())
            .once(&of.cpu, of.folder.path(), 5, &mut Until(0))
            .unwrap();
        let steps: Vec<u64> = states.snapshots.ids().iter().map(|id| id.step).collect();
        assert_eq!(steps, [19, 26, 33, 40, 47]);
        let mut params = vec![0.0; of.gpt.n_params()];
        let mut mean = vec![0.0; of.gpt.n_params()];
        for (i, &step) in steps.iter().enumerate() {
            states.snapshots.load(i, &mut params).unwrap();
            assert_eq!(params, want[step as usize - 1]);
            let each = mean.iter_mut().zip(&params);
            each.for_each(|(m, &p): (&mut f64, &f32)| *m += f64::from(p) / 5.0);
        }
        let near = states.mean.iter().zip(&mean);
        for (got, want) in near {
            assert!((f64::from(*got) - want).abs() < 1e-6 * (1.0 + want.abs()));
        }
        let chosen = states.best.file.chosen.unwrap();
        assert_eq!((chosen.steps, chosen.decays.len()), (47, 2));
        states.best.path
    };
    for stop in [3, 19, 30, 47] {
        let stopped = (of.run()).once(&of.cpu, of.folder.path(), 5, &mut Until(stop));
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }
    let path = check();
    check();
    // One state that is gone, with the training done or to be gone on with.
    let lost = of.folder.path().join("snapshots/c00_s00000026.bnn");
    std::fs::remove_file(&lost).unwrap();
    assert_eq!(check(), path);
    std::fs::remove_file(&path).unwrap();
    let stopped = (of.run()).once(&of.cpu, of.folder.path(), 5, &mut Until(40));
    assert!(matches!(stopped, Err(Error::Interrupted)));
    std::fs::remove_file(&lost).unwrap();
    check();
}

/// The scores of both parts are those of the texts, the temperature is the best one tried, and the loss at it is that of p^(1/T).
#[test]
fn the_first_part_chooses_the_temperature() {
    let of = Setting::new();
    let mut models: Vec<Vec<f32>> = (0..3).map(|s| of.gpt.layout().init(s)).collect();
    models.iter_mut().flatten().for_each(|p| *p *= 30.0);
    let text = of.corpus.held_out(8, None);
    let scores =
        score_held_out(&of.cpu, &of.gpt, &text, &Models::Each(&models), |_| Ok(())).unwrap();
    let plain = |tokens: &[u16]| {
        let all = Models::Each(&models);
        score(&of.cpu, &of.gpt, tokens, &all, |_| Ok(())).unwrap()
    };
    assert_eq!(scores.choosing, plain(text.choosing));
    assert_eq!(scores.reporting.nll, plain(text.reporting).nll);
    let whole = plain(&of.corpus.val);
    assert_eq!(
        (&scores.validation.nll, scores.validation.ece),
        (&whole.nll, whole.ece)
    );
    // These models are far too sure of themselves.
    assert!(scores.temperature > 1.5, "{}", scores.temperature);
    assert!(scores.loss_scaled() < scores.loss() - 0.1);
    let at = |t: f64| tempered(&of, &models, text.choosing, t);
    let tried: Vec<f64> = (-8..=8).map(|i| (f64::from(i) / 8.0).exp2()).collect();
    let least = tried.iter().map(|&t| at(t)).fold(f64::INFINITY, f64::min);
    assert!(
        (scores.choosing_scaled - least).abs() < 1e-6,
        "{} {least}",
        scores.choosing_scaled
    );
    let reported = tempered(&of, &models, text.reporting, scores.temperature);
    assert!((scores.loss_scaled() - reported).abs() < 1e-6);
}

/// Returns the mean loss of the average's p^(1/t), computed from logits.
fn tempered(of: &Setting, models: &[Vec<f32>], tokens: &[u16], t: f64) -> f64 {
    use bnn::gpt::Workspace;
    let (block, v) = (8, of.gpt.config().vocab_size);
    let n = (tokens.len() - 1) / block * block;
    let mut p = vec![0.0; n * v];
    let mut ws = Workspace::for_prediction(&of.cpu, of.gpt.config(), n / block, block).unwrap();
    for params in models {
        let params = of.cpu.put(params).unwrap();
        let mut logits = vec![0.0; n * v];
        (of.gpt
            .logits(&of.cpu, &params, &tokens[..n], block, &mut ws, &mut logits))
        .unwrap();
        for (p, z) in p.chunks_mut(v).zip(logits.chunks(v)) {
            let e: Vec<f64> = z.iter().map(|&z| f64::from(z).exp()).collect();
            let sum: f64 = e.iter().sum();
            p.iter_mut()
                .zip(&e)
                .for_each(|(p, e)| *p += e / sum / models.len() as f64);
        }
    }
    let loss = |(i, p): (usize, &[f64])| {
        let scaled: Vec<f64> = p.iter().map(|p| p.powf(1.0 / t)).collect();
        let target = usize::from(tokens[i + 1]);
        -(scaled[target] / scaled.iter().sum::<f64>()).ln()
    };
    p.chunks(v).enumerate().map(loss).sum::<f64>() / n as f64
}

/// The best control is the one that loses least on the part to choose by, and each is compared on the other part.
#[test]
fn the_best_control_is_chosen_by_the_first_part() {
    let of = Setting::new();
    let states = (of.run())
        .once(&of.cpu, of.folder.path(), 5, &mut Until(0))
        .unwrap();
    let text = of.corpus.held_out(8, None);
    let start = [of.start.clone()];
    let score =
        |models: &Models<'_>| score_held_out(&of.cpu, &of.gpt, &text, models, |_| Ok(())).unwrap();
    let average = score(&Models::Each(&start));
    let contender = |name, models| Contender {
        name,
        what: name.into(),
        gradients: 47,
        models,
        first: None,
    };
    let all = [
        contender("start", Models::One(&of.start)),
        contender("mean", Models::One(&states.mean)),
        contender(
            "snapshots",
            Models::Stored(&states.snapshots, &[0, 1, 2, 3, 4]),
        ),
    ];
    let mut heard = Vec::new();
    let controls = compare_with(&of.cpu, &of.gpt, &text, &all, &average, 1, |n| {
        heard.push(n);
        Ok(())
    })
    .unwrap();
    let windows = (text.choosing.len() - 1) / 8 + (text.reporting.len() - 1) / 8;
    assert_eq!(heard.last(), Some(&(7 * windows)));
    assert!(heard.is_sorted());
    assert_eq!(controls[0].average_against.difference, 0.0);
    assert_eq!((controls[2].models, controls[2].gradients), (5, 47));
    for control in &controls {
        let d = control.average_against.difference;
        assert!((d - (average.loss() - control.loss)).abs() < 1e-12);
        let d = control.average_against_scaled.difference;
        assert!((d - (average.loss_scaled() - control.loss_scaled)).abs() < 1e-12);
    }
    let params = of.cpu.put(&states.mean).unwrap();
    let (loss, _) = split_loss(&of.cpu, &of.gpt, &params, text.reporting, 8).unwrap();
    assert!((controls[1].loss - loss).abs() < 1e-5);
    let least = controls.iter().map(|c| c.loss_choosing_scaled);
    let least = least.fold(f64::INFINITY, f64::min);
    assert_eq!(best(&controls).unwrap().loss_choosing_scaled, least);
    assert!(best(&[] as &[bnn::inference::controls::Control]).is_none());
}

#[test]
fn the_spread_over_chains_is_the_error_of_their_mean() {
    assert_eq!(error_over_chains(&[1.5]), None);
    assert_eq!(error_over_chains(&[]), None);
    // Variance 1 over three, so that the mean's error is 1 / sqrt(3).
    let e = error_over_chains(&[1.0, 2.0, 3.0]).unwrap();
    assert!((e - 1.0 / 3f64.sqrt()).abs() < 1e-15);
}
