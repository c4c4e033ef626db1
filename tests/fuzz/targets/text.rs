//! A text, and the same bytes as nanoGPT's tokens.
#![no_main]

use bnn::data::{Batch, Corpus, Windows};
use bnn_fuzz::{cost, place::Place};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let place = Place::new("text");
    place.file("meta.pkl", include_bytes!("../seeds/meta/meta.pkl"));
    place
});

fn look(corpus: &Corpus) {
    for tokens in [&corpus.train, &corpus.val] {
        let text = corpus.tokenizer.decode(tokens).expect("its own tokens");
        assert_eq!(
            &corpus.tokenizer.encode(&text).expect("its own text"),
            tokens
        );
    }
    if corpus.check_block(3).is_ok() {
        let windows = Windows::all(corpus.train.len(), 3).expect("a window");
        let mut batch = Batch::new(2, 3).expect("a batch");
        windows
            .fill(&corpus.train, 1, 0, 0, &mut batch)
            .expect("a batch");
    }
}

fn read(bytes: &[u8]) {
    if let Ok(corpus) = Corpus::from_file(PLACE.file("text.txt", bytes)) {
        look(&corpus);
    }
    PLACE.file("train.bin", bytes);
    PLACE.file("val.bin", bytes);
    if let Ok(corpus) = Corpus::from_nanogpt(PLACE.path(""), None) {
        look(&corpus);
    }
}

fuzz_target!(|bytes: &[u8]| cost::within(bytes.len(), || read(bytes)));
