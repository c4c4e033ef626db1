//! A baseline is trained once and kept: what names its file, what the file holds, and the checksum that samples name it by.

#[path = "common/letters.rs"]
mod letters;

use bnn::Error;
use bnn::backend::{Cpu, Precision};
use bnn::baseline::{Recipe, Trainer};
use bnn::data::{Batch, Corpus, Windows};
use bnn::gpt::Gpt;
use bnn::inference::Report;
use bnn::inference::baseline_cache::{BASELINE_CHAIN, Training, Watch};
use bnn::inference::baseline_file::{BaselineFile, baseline_sha256};
use bnn::metrics::split_loss;
use bnn::store::params_sha256;

fn setting() -> (Cpu, Corpus, Gpt, Recipe) {
    let corpus = letters::corpus(3000, 4, |i| i * i / 7 + i);
    let gpt = letters::gpt(&corpus, 8, 0.0);
    let recipe = Recipe {
        iters: 60,
        warmup_iters: 5,
        seed: 11,
        ..Recipe::default()
    };
    (Cpu::new(1).unwrap(), corpus, gpt, recipe)
}

/// Who watches a training that may train or not, and whose loss may be computed, be broken off or not be asked for.
struct Look {
    trains: bool,
    scores: Option<bool>,
}

impl Watch for Look {
    fn step(&mut self, _: u64, _: f64) -> bnn::Result<()> {
        assert!(self.trains, "trained again");
        Ok(())
    }

    fn look(&mut self) -> bnn::Result<()> {
        match self.scores.expect("not scored again") {
            true => Ok(()),
            false => Err(Error::Interrupted),
        }
    }
}

#[test]
fn the_kept_model_is_that_of_the_trainer() {
    let (cpu, corpus, gpt, recipe) = setting();
    let training = Training::new(&corpus, &gpt, &recipe, (4, 8));
    let mut losses = Vec::new();
    let file = training
        .run(&cpu, &mut |step: u64, loss: f64| {
            losses.push((step, loss));
            Ok(())
        })
        .unwrap();

    let windows = Windows::all(corpus.train.len(), 8).unwrap();
    let mut batch = Batch::new(4, 8).unwrap();
    let mut trainer = Trainer::new(&cpu, &gpt, &recipe, 4, 8).unwrap();
    for step in 0..60 {
        let chain = BASELINE_CHAIN;
        windows
            .fill(&corpus.train, 11, chain, step, &mut batch)
            .unwrap();
        let loss = trainer.step(&batch).unwrap();
        assert_eq!(losses[step as usize], (step + 1, loss));
    }
    assert_eq!(&file.params, trainer.params());
    let recent: f64 = losses[10..].iter().map(|(_, l)| l).sum();
    assert_eq!((file.train_loss, file.steps), (recent / 50.0, 60));
    let (val, _) = split_loss(&cpu, &gpt, trainer.params(), &corpus.val, 8).unwrap();
    assert_eq!(file.val_loss, val);

    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("kept");
    let mut does_all = Look {
        trains: true,
        scores: Some(true),
    };
    let first = training.once(&cpu, &folder, 500, &mut does_all).unwrap();
    assert!(!first.cached && first.path == training.path(&cpu, &folder).unwrap());
    assert_eq!(first.file.params, file.params);
    let mut no_work = Look {
        trains: false,
        scores: None,
    };
    let again = training.once(&cpu, &folder, 500, &mut no_work).unwrap();
    assert_eq!((again.cached, &again.file), (true, &first.file));
    assert_eq!(Report::from(&again).u64("kept").unwrap(), 1);
    assert_eq!(Report::from(&again).f64("val_loss").unwrap(), val);
    let (path, abcd) = (&first.path, corpus.tokenizer.vocabulary());
    first.file.check_fits(path, &gpt, &abcd).unwrap();
    for wrong in [
        first.file.check_fits(path, &gpt.untied(), &abcd),
        first.file.check_fits(path, &gpt, "abce"),
    ] {
        assert!(matches!(wrong, Err(Error::Mismatch { .. })), "{wrong:?}");
    }
    // Stopped while its loss is computed: the model is kept, and the loss is computed next time.
    std::fs::remove_file(&first.path).unwrap();
    let mut stops = Look {
        trains: true,
        scores: Some(false),
    };
    let stopped = training.once(&cpu, &folder, 500, &mut stops);
    assert!(matches!(stopped, Err(Error::Interrupted)));
    let bare = BaselineFile::read(&first.path).unwrap();
    assert!(bare.val_loss.is_nan() && bare.params == first.file.params);
    let mut scores = Look {
        trains: false,
        scores: Some(true),
    };
    let scored = training.once(&cpu, &folder, 500, &mut scores).unwrap();
    assert_eq!((scored.cached, scored.file.val_loss), (true, val));
    let again = BaselineFile::read(&first.path).unwrap();
    assert_eq!(again.val_loss, val);

    let stopped = training.run(&cpu, &mut |step: u64, _: f64| match step {
        3 => Err(Error::Interrupted),
        _ => Ok(()),
    });
    assert!(matches!(stopped, Err(Error::Interrupted)));
}

#[test]
fn the_name_follows_from_all_that_the_parameters_depend_on() {
    let (cpu, corpus, gpt, recipe) = setting();
    let folder = std::path::Path::new("kept");
    let of = |corpus: &Corpus, gpt: &Gpt, recipe: &Recipe, batch| {
        let training = Training::new(corpus, gpt, recipe, batch);
        training.path(&cpu, folder).unwrap()
    };
    let name = of(&corpus, &gpt, &recipe, (4, 8));
    assert_eq!(name, of(&corpus, &gpt, &recipe.clone(), (4, 8)));
    let other = Corpus::from_text("letters", &"abcd".repeat(800)).unwrap();
    let longer = Recipe {
        iters: 61,
        ..recipe.clone()
    };
    let names = [
        name,
        of(&other, &gpt, &recipe, (4, 8)),
        of(&corpus, &gpt.untied(), &recipe, (4, 8)),
        of(&corpus, &gpt, &longer, (4, 8)),
        of(&corpus, &gpt, &recipe, (5, 8)),
        of(&corpus, &gpt, &recipe, (4, 7)),
    ];
    for (i, a) in names.iter().enumerate() {
        assert!(names[..i].iter().all(|b| a != b), "{i}");
    }
    // Products that are no coarser on this machine make the same model.
    let rounded = cpu.clone().with_precision(Precision::Medium);
    let training = Training::new(&corpus, &gpt, &recipe, (4, 8));
    let same = rounded.gemm_precision() == cpu.gemm_precision();
    assert_eq!(training.path(&rounded, folder).unwrap() == names[0], same);
}

#[test]
fn an_untied_model_is_named_as_the_tied_one_it_came_from() {
    let (_, _, gpt, _) = setting();
    let params = gpt.layout().init(3);
    let tied = baseline_sha256(&gpt, &params);
    assert_eq!(tied, params_sha256(&params));
    let (untied, mut own) = (gpt.untied(), gpt.untie(&params).unwrap());
    assert_eq!(baseline_sha256(&untied, &own), tied);
    *own.last_mut().unwrap() += 1.0;
    assert_eq!(baseline_sha256(&untied, &own), params_sha256(&own));
}
