//! nanoGPT's `meta.pkl`.
#![no_main]

use bnn::data::Corpus;
use bnn_fuzz::{cost, place::Place};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let place = Place::new("meta");
    for name in ["train.bin", "val.bin"] {
        place.file(name, &[0, 0, 1, 0]);
    }
    place
});

fuzz_target!(|bytes: &[u8]| {
    let path = PLACE.file("meta.pkl", bytes);
    let folder = PLACE.path("");
    let corpus = cost::within(bytes.len(), || Corpus::from_nanogpt(&folder, Some(&path)));
    if let Ok(corpus) = corpus {
        let text = corpus
            .tokenizer
            .decode(&corpus.train)
            .expect("its own tokens");
        assert_eq!(
            corpus.tokenizer.encode(&text).expect("its own text"),
            corpus.train
        );
    }
});
