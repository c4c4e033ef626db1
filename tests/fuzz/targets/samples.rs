//! A sample beside another one in a folder: opened, looked at, read, thinned.
#![no_main]

use bnn::store::{Store, StoreCheck};
use bnn_fuzz::{cost, place::Place, sealed};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use std::path::Path;
use std::sync::LazyLock;

static PLACE: LazyLock<Place> = LazyLock::new(|| Place::new("samples"));
const FIRST: &[u8] = include_bytes!("../seeds/samples/F32_c00_s00000010.bnn");

fn read(bytes: &[u8]) {
    let folder = PLACE.path("store");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).expect("a folder");
    // Alone or beside a whole one; under the name that it says it has.
    let (chain, step) = sealed::Sealed::open(bytes).map_or((0, 20), |s| (s.chain, s.step));
    if step % 2 == 0 {
        std::fs::write(folder.join("c00_s00000010.bnn"), FIRST).expect("a file");
    }
    let name = format!("c{chain:02}_s{step:08}.bnn");
    std::fs::write(folder.join(&name), bytes).expect("a file");
    let len = bytes.len().max(FIRST.len());
    let store = cost::within(len, || look(&folder));
    if let Some((mut store, params)) = store {
        assert!(params.len() <= 4 * len);
        let _ = store.append(7, 7, &params);
        let _ = store.keep_every(2);
        let _ = store.keep_last(1);
    }
}

/// Opens a store and reads all of it; what reads and what verifies agree.
fn look(folder: &Path) -> Option<(Store, Vec<f32>)> {
    let found = StoreCheck::of(folder).expect("a folder");
    let store = Store::open(folder).ok()?;
    assert_eq!(found.whole.len() + found.damaged.len(), store.len());
    let mut params = vec![0.0; store.provenance().n_params as usize];
    let whole = (0..store.len())
        .filter(|&i| store.load(i, &mut params).is_ok())
        .count();
    assert_eq!(store.verify().is_ok(), whole == store.len());
    assert_eq!(store.hash().is_ok(), whole == store.len());
    Some((store, params))
}

fuzz_target!(|bytes: &[u8]| read(bytes));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sealed::mutate(data, size, max_size, seed)
});
