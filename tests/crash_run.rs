//! A whole run of the command on a disk that loses power at any call, again and again: baseline, chains, report. It ends with the results of a
//! run that nothing happened to, and no sample that was stored is lost on the way.
//!
//! `BNN_RUN_CRASHES` sets how many crashes are simulated, `BNN_SEED` the seed they follow from.
#![cfg(feature = "cli")]

mod common;

use bnn::Result;
use bnn::disk::{Access, Watch, watch};
use bnn::run::Context;
use bnn::run::check;
use bnn::run::config::{self, Config};
use bnn::run::folder::RunFolder;
use bnn::run::recover::Broken;
use bnn::run::train::{resume, train};
use bnn::settings::Given;
use common::simulated_disk::{Disk, Random};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

const SETTINGS: &str = "
shape = 'tiny'
n_layer = 1
n_embd = 8
block_size = 8
batch_size = 2
baseline_iters = 12
baseline_warmup_iters = 2
preconditioner_steps = 3
warmup_steps = 4
sampling_steps = 12
thinning = 3
chains = 2
chains_at_once = 1
checkpoint_every = 4
probe_tokens = 16
probe_every = 2
temperature_every = 2
curvature_iterations = 0
llc_every = 0
eval_max_tokens = 64
threads = 1
";

fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => otherwise,
    }
}

fn folder() -> tempfile::TempDir {
    match Path::new("/dev/shm") {
        shm if shm.is_dir() => tempfile::tempdir_in(shm).unwrap(),
        _ => tempfile::tempdir().unwrap(),
    }
}

fn settings(dir: &Path) -> Config {
    let file = dir.with_extension("toml");
    std::fs::write(&file, SETTINGS).unwrap();
    let given = config::from_toml(&file).unwrap();
    std::fs::remove_file(file).unwrap();
    let given = Given {
        save_dir: Some(dir.join("runs")),
        ..given
    };
    given.resolve().unwrap()
}

/// The run that has begun in a folder, if one has: a crash before its settings were there leaves an empty folder.
fn begun(dir: &Path) -> Option<PathBuf> {
    let runs = std::fs::read_dir(dir.join("runs/baoa_sampler")).ok()?;
    let mut runs = runs.map(|e| e.unwrap().path());
    runs.find(|run| run.join("config.toml").is_file())
}

/// Begins a run, or goes on with the one that has begun; returns the hash of its samples.
fn drive(dir: &Path, config: &Config) -> Result<String> {
    let mut ctx = Context::default();
    let report = match begun(dir) {
        Some(run) => {
            let (folder, config) = RunFolder::open(&run)?;
            resume(&config, folder, Broken::Refuse, &mut ctx)?
        }
        None => train(config, &mut ctx)?,
    };
    Ok(report.samples_hash)
}

/// The samples that are there, each with its bytes.
fn samples(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let Some(run) = begun(dir) else {
        return BTreeMap::new();
    };
    let all = std::fs::read_dir(run.join("samples")).into_iter().flatten();
    let all = all.map(|e| e.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|e| e == "bnn"))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

fn drive_on<W: Watch + 'static>(disk: W, dir: &Path, config: &Config) -> (Result<String>, W) {
    let disk = Rc::new(RefCell::new(disk));
    let watching = watch(disk.clone());
    let result = drive(dir, config);
    drop(watching);
    let disk = Rc::try_unwrap(disk).ok().expect("nobody else looks");
    (result, disk.into_inner())
}

/// A disk that refuses one call, whatever it is.
struct Refusing {
    calls: usize,
    refused: usize,
    what: String,
}

impl Watch for Refusing {
    fn before(&mut self, access: &Access<'_>) -> std::io::Result<()> {
        self.calls += 1;
        if self.calls == self.refused {
            self.what = format!("{access:?}").chars().take(200).collect();
            return Err(std::io::Error::other("refused"));
        }
        Ok(())
    }
}

#[test]
fn any_call_of_a_run_may_be_refused() {
    let (times, seed) = (number("BNN_RUN_CRASHES", 300) / 2, number("BNN_SEED", 1));
    let refusing = |refused| Refusing {
        calls: 0,
        refused,
        what: String::new(),
    };
    let whole = folder();
    let config = settings(whole.path());
    let (want, all) = drive_on(refusing(usize::MAX), whole.path(), &config);
    let (want, mut random, mut failed) = (want.unwrap(), Random(seed), 0);
    for _ in 0..times {
        let dir = folder();
        let config = settings(dir.path());
        let disk = refusing(1 + random.below(all.calls));
        let (result, disk) = drive_on(disk, dir.path(), &config);
        let kept = samples(dir.path());
        failed += usize::from(result.is_err());
        let again = drive(dir.path(), &config);
        let again = again.unwrap_or_else(|e| panic!("after {}: {e}", disk.what));
        assert_eq!(again, want, "after {}", disk.what);
        let now = samples(dir.path());
        for (path, bytes) in &kept {
            assert_eq!(
                now.get(path),
                Some(bytes),
                "{}: {}",
                disk.what,
                path.display()
            );
        }
    }
    println!(
        "{failed} of {times} runs ended with an error, of {} calls each",
        all.calls
    );
    assert!(failed > 0);
}

#[test]
fn power_may_fail_at_any_moment_of_a_run() {
    let (crashes, seed) = (number("BNN_RUN_CRASHES", 300), number("BNN_SEED", 1));
    let whole = folder();
    let disk = Disk::of(whole.path(), usize::MAX);
    let (want, disk) = drive_on(disk, whole.path(), &settings(whole.path()));
    let (want, all) = (want.unwrap(), disk.changes);
    let (start, mut made, mut run) = (Instant::now(), 0, 0);
    while made < crashes {
        let mut random = Random(seed << 32 | run);
        let dir = folder();
        let config = settings(dir.path());
        let mut kept = BTreeMap::<PathBuf, Vec<u8>>::new();
        loop {
            let dies_at = 1 + random.below(all);
            let disk = Disk::of(dir.path(), dies_at);
            let (result, disk) = drive_on(disk, dir.path(), &config);
            let what = format!("seed {seed}, run {run}, crash {made} at {dies_at}");
            if disk.changes < dies_at {
                let hash = result.unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!(hash, want, "{what}");
                break;
            }
            disk.crash(&mut random);
            made += 1;
            let now = samples(dir.path());
            for (path, bytes) in &kept {
                assert_eq!(now.get(path), Some(bytes), "{what}: {}", path.display());
            }
            kept = now;
        }
        let (folder, config) = RunFolder::open(&begun(dir.path()).unwrap()).unwrap();
        let found = check::check(&folder, &config).unwrap();
        assert!(found.is_whole(), "{}", found.text());
        assert!(folder.metrics().is_file() && folder.summary().is_file());
        run += 1;
    }
    let rate = made as f64 / start.elapsed().as_secs_f64() * 60.0;
    println!(
        "{made} crashes (seed {seed}) over {run} runs of {all} changes each, {rate:.0} crashes per minute: nothing was lost"
    );
}
