//! A baseline's file; what is accepted is written again and read as the same.
#![no_main]

use bnn::gpt::Gpt;
use bnn::inference::baseline_file::{BaselineFile, baseline_sha256};
use bnn_fuzz::{cost, place::Place, sealed};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use std::sync::LazyLock;

static PLACE: LazyLock<Place> = LazyLock::new(|| Place::new("baseline"));

fn read(bytes: &[u8]) {
    let path = PLACE.file("baseline.bnn", bytes);
    let Ok(file) = cost::within(bytes.len(), || BaselineFile::read(&path)) else {
        return;
    };
    let gpt = Gpt::new(file.model.clone()).expect("it was checked");
    let _ = baseline_sha256(&gpt, &file.params);
    file.check_fits(&path, &gpt, &file.vocabulary)
        .expect("its own shape");
    let copy = PLACE.path("copy.bnn");
    file.write(&copy).expect("it was read");
    let again = BaselineFile::read(&copy).expect("it was written");
    assert_eq!((again.params, again.model), (file.params, file.model));
}

fuzz_target!(|bytes: &[u8]| read(bytes));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sealed::mutate(data, size, max_size, seed)
});
