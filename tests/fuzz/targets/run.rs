//! A run's folder in which one file is another, as `bnn check` and `bnn diagnose` read it. The first byte says which file.
#![no_main]

use bnn::run::folder::RunFolder;
use bnn::run::{check, diagnose};
use bnn_fuzz::{cost, place::Place, sealed};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use std::path::PathBuf;
use std::sync::LazyLock;

const FILES: [(&str, &[u8]); 5] = [
    ("config.toml", include_bytes!("../seeds/run/config")),
    ("chain_00.bnn", include_bytes!("../seeds/run/chain")),
    ("spent.json", include_bytes!("../seeds/run/spent")),
    ("lost_samples.json", include_bytes!("../seeds/run/lost")),
    ("baoa_metrics.json", include_bytes!("../seeds/run/metrics")),
];

static PLACE: LazyLock<Place> = LazyLock::new(|| Place::new("run"));
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    for (name, bytes) in FILES {
        PLACE.file(name, &bytes[1..]);
    }
    PLACE.path("")
});

fn read() {
    if let Ok((folder, config)) = RunFolder::open(&FOLDER)
        && let Ok(found) = check::check(&folder, &config)
    {
        let _ = found.text();
    }
    let _ = diagnose::open(&FOLDER);
}

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else {
        return;
    };
    let _ = &*FOLDER;
    let (name, before) = FILES[usize::from(*which) % FILES.len()];
    PLACE.file(name, bytes);
    let whole: usize = FILES.iter().map(|f| f.1.len()).sum();
    cost::within(whole + bytes.len(), read);
    PLACE.file(name, &before[1..]);
});
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if size == 0 || usize::from(data[0]) % FILES.len() != 1 || max_size < 2 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    1 + sealed::mutate(&mut data[1..], size - 1, max_size - 1, seed)
});
