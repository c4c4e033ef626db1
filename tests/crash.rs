//! Power fails at any moment, again and again, and the disk refuses any call: no sample that was stored is lost, and the run ends with
//! the samples of one that nothing happened to.
//!
//! `BNN_CRASHES` sets how many crashes are simulated `BNN_SEED` the seed they follow from.

mod common;

use bnn::backend::Cpu;
use bnn::data::Order;
use bnn::disk::{Access, Watch, watch};
use bnn::gpt::Objective;
use bnn::inference::{
    BatchConfig, CheckpointCheck, Inference, MonitorConfig, Session, SessionConfig,
};
use bnn::samplers::{ChainConfig, Method, Phase, Preconditioner};
use bnn::store::{
    Dtype, FolderLock, Provenance, SampleId, Store, StoreCheck, keep_generation, leftovers,
};
use bnn::{Error, Result};
use common::model::smallest;
use common::place::Place;
use common::simulated_disk::{Disk, Random};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

const START: [f32; 5] = [0.3, -0.2, 1.0, 0.0, 0.7];
const CHECKPOINT_EVERY: u64 = 7;

fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => otherwise,
    }
}

/// A folder in memory where the system has one: what is simulated is not the disk below.
fn folder() -> tempfile::TempDir {
    match Path::new("/dev/shm") {
        shm if shm.is_dir() => tempfile::tempdir_in(shm).unwrap(),
        _ => tempfile::tempdir().unwrap(),
    }
}

fn inference() -> Inference {
    Inference::Chain {
        sampler: ChainConfig {
            warmup_steps: 4,
            sampling_steps: 24,
            thinning: 3,
            seed: 5,
            alpha: 0.3,
            ..ChainConfig::new(Method::Baoa, 0.05)
        },
        preconditioner: Preconditioner::None,
        auto_step: None,
    }
}

/// What makes the gradients.
enum Target {
    /// A standard normal, by gradients of the caller's: nothing is recorded.
    Normal(Cpu),
    /// A model's posterior, with everything that is read off a chain.
    Model(Box<Place>),
}

impl Place {
    fn new() -> Self {
        let text = "the cat sat on the mat and the dog sat on the cat. ".repeat(4);
        Self::of(&text, smallest, |gpt| gpt.layout().init(1), 1.0)
    }

    fn session(&self, file: Option<&Path>) -> Result<Session<Cpu>> {
        let target = self.target();
        let config = SessionConfig {
            inference: inference(),
            objective: Objective::All,
            num_data: None,
            likelihood_weight: 1.0,
            batches: BatchConfig {
                size: 1,
                window: 4,
                order: Order::Independent,
                chosen: None,
            },
            monitors: MonitorConfig {
                temperature_every: 2,
                llc_every: 3,
                probe_tokens: 6,
                probe_every: 2,
            },
        };
        match file {
            Some(path) => Session::resume(&self.cpu, &target, &config, path),
            None => Session::new(&self.cpu, &target, &config),
        }
    }
}

impl Target {
    fn session(&self, file: Option<&Path>) -> Result<Session<Cpu>> {
        match (self, file) {
            (Self::Model(place), file) => place.session(file),
            (Self::Normal(cpu), None) => Session::with_gradients(cpu, inference(), 1.0, &START),
            (Self::Normal(cpu), Some(path)) => {
                Session::resume_with_gradients(cpu, inference(), 1.0, START.len(), path)
            }
        }
    }

    fn step(&self, session: &mut Session<Cpu>) -> Result<bool> {
        if let Self::Model(_) = self {
            return Ok(session.step()?.sample_due);
        }
        let mut theta = START;
        session.read_params(&mut theta)?;
        let grad = theta.map(|x| -x);
        let log_post = -theta.iter().map(|x| 0.5 * (x * x) as f64).sum::<f64>();
        let report = session.step_with_gradient(&grad, log_post)?;
        Ok(report.is_some_and(|r| r.sample_due))
    }

    fn provenance(&self) -> Provenance {
        let n_params = match self {
            Self::Normal(_) => START.len(),
            Self::Model(place) => place.gpt.n_params(),
        };
        Provenance {
            config: String::new(),
            model: String::new(),
            seed: 5,
            corpus_sha256: [0; 32],
            baseline_sha256: [0; 32],
            vocabulary: String::new(),
            dtype: Dtype::F32,
            n_params: n_params as u64,
        }
    }
}

/// What a chain comes to: its samples, and all that was recorded of it.
type End = ([u8; 32], String);

/// Goes on with a chain whose files lie in a folder, to its end; `kept` hears of each sample and each checkpoint that is on the disk.
fn drive(target: &Target, folder: &Path, kept: &mut Kept) -> Result<End> {
    let _lock = FolderLock::acquire(folder)?;
    let path = folder.join("chain_00.bnn");
    let mut store = Store::resume(folder.join("samples"), target.provenance())?;
    for left in leftovers(folder, |_| true)?
        .into_iter()
        .chain(leftovers(store.folder(), |_| true)?)
    {
        std::fs::remove_file(&left).map_err(Error::io(&left))?;
    }
    let there = path.try_exists().map_err(Error::io(&path))?;
    let mut session = target.session(there.then_some(&path))?;
    let made = session.steps_made();
    assert!(made >= kept.checkpoint, "a checkpoint was lost");
    let missing = inference().missing(0, made, store.ids())?;
    assert!(
        missing.is_empty(),
        "{missing:?} of {made} steps are missing"
    );
    store.set_target(session.identity()?)?;
    let mut theta = vec![0.0; session.parameters()];
    while session.phase() != Phase::Done {
        let sample_due = target.step(&mut session)?;
        let made = session.steps_made();
        if sample_due {
            session.read_params(&mut theta)?;
            store.append(0, made, &theta)?;
            kept.samples.insert(made, theta.clone());
        }
        if made.is_multiple_of(CHECKPOINT_EVERY) || session.phase() == Phase::Done {
            keep_generation(&path)?;
            session.save(&path)?;
            kept.checkpoint = made;
        }
    }
    let recorded = (session.trace()?, session.draws()?, session.excess_losses()?);
    Ok((store.hash()?, format!("{recorded:?}")))
}

/// What the chain was told is on the disk.
#[derive(Default)]
struct Kept {
    samples: BTreeMap<u64, Vec<f32>>,
    checkpoint: u64,
}

impl Kept {
    /// Checks that all of it is there, whole.
    fn check(&self, folder: &Path) {
        let samples = folder.join("samples");
        if self.samples.is_empty() && !samples.is_dir() {
            return;
        }
        let found = StoreCheck::of(&samples).unwrap();
        assert!(found.damaged.is_empty(), "{:?}", found.damaged);
        assert!(found.foreign.is_empty(), "{:?}", found.foreign);
        for &step in self.samples.keys() {
            let id = SampleId { chain: 0, step };
            assert!(found.whole.contains(&id), "{id:?} was lost");
        }
        if self.samples.is_empty() {
            return;
        }
        let store = Store::open(&samples).unwrap();
        for (index, id) in store.ids().iter().enumerate() {
            let mut params = vec![0.0; store.provenance().n_params as usize];
            store.load(index, &mut params).unwrap();
            if let Some(want) = self.samples.get(&id.step) {
                assert_eq!(params, *want, "{id:?} is another");
            }
        }
    }
}

/// Lets somebody look while the chain is driven.
fn drive_watched<W: Watch + 'static>(
    target: &Target,
    folder: &Path,
    kept: &mut Kept,
    by: W,
) -> (Result<End>, W) {
    let by = Rc::new(RefCell::new(by));
    let watching = watch(by.clone());
    let result = drive(target, folder, kept);
    drop(watching);
    let by = Rc::try_unwrap(by).ok().expect("nobody else looks");
    (result, by.into_inner())
}

#[test]
fn power_may_fail_at_any_moment() {
    let (crashes, seed) = (number("BNN_CRASHES", 4_000), number("BNN_SEED", 1));
    for target in targets() {
        power_fails(&target, crashes / 2, seed);
    }
}

fn targets() -> [Target; 2] {
    let normal = Target::Normal(Cpu::new(1).unwrap());
    [normal, Target::Model(Box::new(Place::new()))]
}

fn power_fails(target: &Target, crashes: u64, seed: u64) {
    let whole = folder();
    let disk = Disk::of(whole.path(), usize::MAX);
    let (want, disk) = drive_watched(target, whole.path(), &mut Kept::default(), disk);
    let (want, all) = (want.unwrap(), disk.changes);
    let (start, mut made, mut ended) = (Instant::now(), 0, 0);
    let mut run = 0;
    while made < crashes {
        let mut random = Random(seed << 32 | run);
        let (dir, mut kept) = (folder(), Kept::default());
        loop {
            let dies_at = 1 + random.below(all);
            let disk = Disk::of(dir.path(), dies_at);
            let (result, disk) = drive_watched(target, dir.path(), &mut kept, disk);
            if disk.changes < dies_at {
                let hash = result.unwrap_or_else(|e| panic!("seed {seed}, run {run}: {e}"));
                assert_eq!(hash, want, "seed {seed}, run {run}");
                break;
            }
            assert!(
                result.is_err(),
                "seed {seed}, run {run}: went on without power"
            );
            disk.crash(&mut random);
            kept.check(dir.path());
            made += 1;
        }
        kept.check(dir.path());
        (ended, run) = (ended + 1, run + 1);
    }
    let rate = made as f64 / start.elapsed().as_secs_f64() * 60.0;
    println!(
        "{made} crashes (seed {seed}) over {ended} runs of {all} changes each, {rate:.0} crashes per minute: nothing was lost"
    );
}

/// A disk that refuses the calls from one on: that call alone, or every later one too.
struct Failing {
    calls: usize,
    fails_at: usize,
    alone: bool,
    kind: io::ErrorKind,
    refused: Option<PathBuf>,
}

impl Watch for Failing {
    fn before(&mut self, access: &Access<'_>) -> io::Result<()> {
        self.calls += 1;
        if self.calls == self.fails_at || self.calls > self.fails_at && !self.alone {
            self.refused = Some(
                format!("{access:?}")
                    .chars()
                    .take(200)
                    .collect::<String>()
                    .into(),
            );
            return Err(self.kind.into());
        }
        Ok(())
    }
}

#[test]
fn each_call_may_be_refused() {
    targets().iter().for_each(refuse_each);
}

fn refuse_each(target: &Target) {
    let failing = |fails_at, alone, kind| Failing {
        calls: 0,
        fails_at,
        alone,
        kind,
        refused: None,
    };
    let whole = folder();
    let none = failing(usize::MAX, true, io::ErrorKind::Other);
    let (want, none) = drive_watched(target, whole.path(), &mut Kept::default(), none);
    let want = want.unwrap();
    assert!(none.calls >= 200, "{}", none.calls);
    let mut refused = 0;
    for (kind, every) in [
        (io::ErrorKind::Other, 1),
        (io::ErrorKind::StorageFull, 7),
        (io::ErrorKind::PermissionDenied, 7),
    ] {
        for fails_at in (1..=none.calls).step_by(every) {
            for alone in [true, false] {
                let (dir, mut kept) = (folder(), Kept::default());
                let by = failing(fails_at, alone, kind);
                let (result, by) = drive_watched(target, dir.path(), &mut kept, by);
                let what = by.refused.unwrap_or_default();
                match result {
                    Ok(hash) => assert_eq!(hash, want, "{what:?}"),
                    Err(_) => refused += 1,
                }
                kept.check(dir.path());
                let again = drive(target, dir.path(), &mut kept);
                let again = again.unwrap_or_else(|e| panic!("after {what:?}: {e}"));
                assert_eq!(again, want, "after {what:?}");
            }
        }
    }
    // Most calls matter; those that do not are locks without support, links, and what only tidies up.
    assert!(refused > none.calls, "{refused}");
}

/// A disk that takes and gives a few bytes at a time, and is interrupted now and then.
struct Slow(Random);

impl Watch for Slow {
    fn before(&mut self, access: &Access<'_>) -> io::Result<()> {
        match access {
            Access::Read(_) | Access::Write { .. } if self.0.chance(3) => {
                Err(io::ErrorKind::Interrupted.into())
            }
            _ => Ok(()),
        }
    }

    fn at_most(&mut self, n: usize) -> usize {
        1 + self.0.below(n.min(11))
    }
}

#[test]
fn short_and_interrupted_calls_change_nothing() {
    targets().iter().for_each(slow);
}

fn slow(target: &Target) {
    let (whole, dir) = (folder(), folder());
    let want = drive(target, whole.path(), &mut Kept::default()).unwrap();
    for seed in 0..20 {
        let slow = Slow(Random(seed));
        let (got, _) = drive_watched(target, dir.path(), &mut Kept::default(), slow);
        assert_eq!(got.unwrap(), want);
        if seed % 2 == 0 {
            std::fs::remove_dir_all(dir.path().join("samples")).unwrap();
            for name in ["chain_00.bnn", "chain_00.previous.bnn"] {
                std::fs::remove_file(dir.path().join(name)).unwrap();
            }
        }
    }
}

/// The simulation finds what it is there to find: a file that is renamed before it is durable is lost by some crash.
#[test]
fn a_file_that_is_not_made_durable_is_lost() {
    let lost = (0..200).any(|seed| {
        let dir = folder();
        let disk = Rc::new(RefCell::new(Disk::of(dir.path(), usize::MAX)));
        let (beside, path) = (dir.path().join("beside"), dir.path().join("file"));
        {
            let mut disk = disk.borrow_mut();
            let bytes = b"what is kept";
            for access in [
                Access::Create(&beside),
                Access::Write {
                    path: &beside,
                    at: 0,
                    bytes,
                },
                Access::Rename {
                    from: &beside,
                    to: &path,
                },
                Access::SyncFolder(dir.path()),
            ] {
                disk.before(&access).unwrap();
            }
        }
        disk.borrow().crash(&mut Random(seed));
        std::fs::read(&path).unwrap() != b"what is kept"
    });
    assert!(lost);
}

/// Every file below a folder with its bytes.
fn listing(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(listing(&path)),
            false => _ = all.insert(path.clone(), std::fs::read(path).unwrap()),
        }
    }
    all
}

/// A repair of files that are whole changes nothing, whichever call the system refuses on the way. Broken: what could not be read called damaged, and moved.
#[test]
fn a_file_that_cannot_be_read_is_not_called_damaged() {
    let [_, model] = targets();
    let dir = folder();
    drive(&model, dir.path(), &mut Kept::default()).unwrap();
    let (samples, aside) = (dir.path().join("samples"), dir.path().join("damaged"));
    let before = listing(dir.path());
    let repair = || -> Result<usize> {
        let done = StoreCheck::of(&samples)?.repair(&samples, &aside)?;
        let chain = CheckpointCheck::repair(&dir.path().join("chain_00.bnn"), &aside)?;
        Ok(done.len() + chain.len())
    };
    let repair_refused_at = |fails_at, alone| {
        let by = Rc::new(RefCell::new(Failing {
            calls: 0,
            fails_at,
            alone,
            kind: io::ErrorKind::Other,
            refused: None,
        }));
        let watching = watch(by.clone());
        let done = repair();
        drop(watching);
        (done, by.borrow().calls)
    };
    let (done, calls) = repair_refused_at(usize::MAX, true);
    assert_eq!(done.unwrap(), 0);
    assert!(calls > 50, "{calls}");
    for fails_at in 1..=calls {
        for alone in [true, false] {
            let (done, _) = repair_refused_at(fails_at, alone);
            assert!(
                done.is_err(),
                "call {fails_at} was refused and nobody said so"
            );
            assert!(listing(dir.path()) == before, "call {fails_at}");
        }
    }
}
