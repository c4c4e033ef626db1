//! A baseline that is stopped while it is trained goes on from its checkpoint with the same bits, and what it cannot go on from is set aside.

#[path = "common/letters.rs"]
mod letters;

use bnn::Error;
use bnn::backend::Cpu;
use bnn::baseline::{Recipe, Selection};
use bnn::data::Corpus;
use bnn::gpt::Gpt;
use bnn::inference::baseline_cache::{Kept, Training, Watch};
use bnn::inference::baseline_file::BaselineFile;
use std::fs;
use std::path::{Path, PathBuf};

/// Stops a training after a step, and keeps what it hears.
#[derive(Default)]
struct Listener {
    stop_at: u64,
    steps: Vec<u64>,
    words: Vec<String>,
}

impl Watch for Listener {
    fn step(&mut self, step: u64, _: f64) -> bnn::Result<()> {
        self.steps.push(step);
        match step == self.stop_at {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    fn say(&mut self, words: &str) {
        self.words.push(words.into());
    }
}

struct Place {
    cpu: Cpu,
    corpus: Corpus,
    gpt: Gpt,
    recipe: Recipe,
    selection: Option<Selection>,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let corpus = letters::corpus(3000, 4, |i| i * i / 7 + i);
        let gpt = letters::gpt(&corpus, 8, 0.1);
        let recipe = Recipe {
            iters: 70,
            warmup_iters: 5,
            seed: 11,
            ..Recipe::default()
        };
        Self {
            cpu: Cpu::new(1).unwrap(),
            corpus,
            gpt,
            recipe,
            selection: None,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn training(&self) -> Training<'_> {
        Training {
            selection: self.selection.as_ref(),
            ..Training::new(&self.corpus, &self.gpt, &self.recipe, (4, 8))
        }
    }

    /// Trains in the folder with a checkpoint every 20 steps, until a step.
    fn until(&self, stop_at: u64) -> (bnn::Result<Kept>, Listener) {
        let mut listener = Listener {
            stop_at,
            ..Listener::default()
        };
        let made = (self.training()).once(&self.cpu, self.folder.path(), 20, &mut listener);
        (made, listener)
    }

    fn whole(&self) -> BaselineFile {
        let mut watch = Listener::default();
        self.training().run(&self.cpu, &mut watch).unwrap()
    }

    fn part(&self) -> PathBuf {
        let kept = self.training().path(&self.cpu, self.folder.path()).unwrap();
        kept.with_extension("part.bnn")
    }
}

fn same(got: &BaselineFile, want: &BaselineFile) {
    assert_eq!((&got.params, &got.chosen), (&want.params, &want.chosen));
    assert_eq!(
        (got.train_loss, got.val_loss, got.steps),
        (want.train_loss, want.val_loss, want.steps)
    );
}

fn names(folder: &Path) -> Vec<String> {
    let each = fs::read_dir(folder).unwrap();
    let each = each.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    each.collect()
}

#[test]
fn a_stopped_training_goes_on_with_the_same_bits() {
    let mut place = Place::new();
    goes_on_with_the_same_bits(&place);
    place.selection = Some(looks(0));
    goes_on_with_the_same_bits(&place);
}

/// Looks every 15 steps, so that there are some before and after each checkpoint, and one at the end.
fn looks(patience: u64) -> Selection {
    Selection {
        every: 15,
        patience,
        decays: vec![0.5, 0.9],
    }
}

fn goes_on_with_the_same_bits(place: &Place) {
    let want = place.whole();
    // Before and at a checkpoint, between two, with more losses than are averaged, at the last step.
    for stops in [vec![1], vec![20], vec![33], vec![3, 20, 47, 66], vec![70]] {
        let mut made = 0;
        for &stop in &stops {
            let (stopped, heard) = place.until(stop);
            assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
            assert_eq!(heard.steps, (made + 1..=stop).collect::<Vec<_>>());
            made = stop;
        }
        let (done, heard) = place.until(0);
        assert_eq!(heard.steps, (made + 1..=70).collect::<Vec<_>>());
        assert_eq!(heard.words, [format!("going on from step {made}")]);
        let done = done.unwrap();
        assert!(!done.cached && done.file.seconds > 0.0);
        same(&done.file, &want);
        assert_eq!(
            names(place.folder.path()).len(),
            1,
            "the model alone is left"
        );
        fs::remove_file(&done.path).unwrap();
    }
}

#[test]
fn a_killed_training_goes_on_from_its_last_checkpoint() {
    let place = Place::new();
    let want = place.whole();
    let kill = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        struct Killed;
        impl Watch for Killed {
            fn step(&mut self, step: u64, _: f64) -> bnn::Result<()> {
                assert!(step < 50);
                Ok(())
            }
        }
        (place.training()).once(&place.cpu, place.folder.path(), 20, &mut Killed)
    }));
    assert!(kill.is_err());
    let (done, heard) = place.until(0);
    assert_eq!(heard.words, ["going on from step 40"]);
    same(&done.unwrap().file, &want);
    // One that was killed between its last two files leaves nothing for ever.
    fs::write(place.part(), "left").unwrap();
    assert!(place.until(0).0.unwrap().cached);
    assert!(!place.part().exists());
}

#[test]
fn what_cannot_be_gone_on_from_is_set_aside() {
    let place = Place::new();
    let want = place.whole();
    assert!(place.until(30).0.is_err());
    let whole = fs::read(place.part()).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let mut other = Place::new();
    other.recipe.learning_rate *= 2.0;
    assert!(other.until(30).0.is_err());
    let foreign = fs::read(other.part()).unwrap();
    let cases = [
        flipped,
        whole[..whole.len() - 9].to_vec(),
        Vec::new(),
        foreign,
    ];
    for (n, bytes) in (1..).zip(&cases) {
        fs::write(place.part(), bytes).unwrap();
        let (done, heard) = place.until(0);
        assert_eq!(heard.steps[0], 1);
        assert!(
            heard.words.len() == 1 && heard.words[0].contains("begins anew"),
            "{:?}",
            heard.words
        );
        let done = done.unwrap();
        same(&done.file, &want);
        assert_eq!(names(&place.folder.path().join("damaged")).len(), n);
        fs::remove_file(&done.path).unwrap();
    }
    // What the system refuses is not damaged.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(place.part(), place.part()).unwrap();
        let (refused, _) = place.until(0);
        assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    }
}

#[test]
fn one_process_trains_a_model_twice_at_once_and_spoils_nothing() {
    let place = Place::new();
    let want = place.whole();
    struct Nested<'a>(&'a Place, Option<BaselineFile>);
    impl Watch for Nested<'_> {
        fn step(&mut self, step: u64, _: f64) -> bnn::Result<()> {
            if step == 25 {
                let mut inner = Listener::default();
                let folder = self.0.folder.path();
                let made = (self.0.training()).once(&self.0.cpu, folder, 20, &mut inner)?;
                assert_eq!(inner.steps.len(), 70);
                self.1 = Some(made.file);
            }
            Ok(())
        }
    }
    let mut watch = Nested(&place, None);
    let outer = (place.training()).once(&place.cpu, place.folder.path(), 20, &mut watch);
    same(&outer.unwrap().file, &want);
    same(&watch.1.unwrap(), &want);
}

/// One that is stopped while it looks at the held-out text has made its step, and looks again.
#[test]
fn a_training_that_is_stopped_in_a_look_looks_again() {
    let mut place = Place::new();
    place.selection = Some(looks(0));
    let want = place.whole();
    struct InLook(u64);
    impl Watch for InLook {
        fn step(&mut self, step: u64, _: f64) -> bnn::Result<()> {
            self.0 = step;
            Ok(())
        }

        fn look(&mut self) -> bnn::Result<()> {
            match self.0 {
                30 => Err(Error::Interrupted),
                _ => Ok(()),
            }
        }
    }
    let folder = place.folder.path();
    let stopped = (place.training()).once(&place.cpu, folder, 20, &mut InLook(0));
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    let (done, heard) = place.until(0);
    assert_eq!(heard.words, ["going on from step 30"]);
    same(&done.unwrap().file, &want);
}
