//! Tokenizer, corpus, windows and batches.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use bnn::Error;
use bnn::data::{Batch, Batches, Corpus, Order, Tokenizer, Windows, consecutive};
use proptest::prelude::*;
use tempfile::TempDir;

fn message<T: std::fmt::Debug>(result: bnn::Result<T>) -> String {
    result.unwrap_err().to_string()
}

fn assert_says<T: std::fmt::Debug>(result: bnn::Result<T>, parts: &[&str]) {
    let said = message(result);
    for part in parts {
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
}

// ---- tokenizer ----

#[test]
fn characters_are_numbered_by_code_point() {
    // sorted(list(set("hé\nlo 😀!"))) in Python
    let tokenizer = Tokenizer::from_text("hé\nlo 😀!").unwrap();
    assert_eq!(
        tokenizer.chars(),
        ['\n', ' ', '!', 'h', 'l', 'o', 'é', '😀']
    );
    assert_eq!(tokenizer.vocab_size(), 8);
    assert_eq!(tokenizer.encode("é😀h").unwrap(), [6, 7, 3]);
    assert_eq!(tokenizer.decode(&[7, 0, 6]).unwrap(), "😀\né");
    assert_eq!(tokenizer.encode("").unwrap(), Vec::<u16>::new());
}

#[test]
fn a_table_keeps_its_order() {
    let tokenizer = Tokenizer::from_chars("zba".chars()).unwrap();
    assert_eq!(tokenizer.encode("abz").unwrap(), [2, 1, 0]);
    assert_ne!(tokenizer, Tokenizer::from_text("zba").unwrap());
}

#[test]
fn what_the_table_lacks_is_named_with_its_place() {
    let tokenizer = Tokenizer::from_text("abcd\n").unwrap();
    assert_says(
        tokenizer.encode("ab\ncdéa"),
        &["'é'", "character 5", "line 2, column 3", "5 characters"],
    );
    assert_says(tokenizer.encode("é"), &["character 0 (line 1, column 1)"]);
    assert_says(tokenizer.decode(&[4, 1, 5]), &["token 2", "5"]);
}

#[test]
fn tables_that_cannot_be_are_refused() {
    assert_says(
        Tokenizer::from_chars("abca".chars()),
        &["'a' at 0 and at 3"],
    );
    assert_says(Tokenizer::from_text(""), &["at least one"]);
    let chars = || (0..).filter_map(char::from_u32);
    let full = Tokenizer::from_chars(chars().take(1 << 16)).unwrap();
    let last = full.chars()[(1 << 16) - 1];
    assert_eq!(full.encode(&last.to_string()).unwrap(), [u16::MAX]);
    assert_says(
        Tokenizer::from_chars(chars().take((1 << 16) + 1)),
        &["65536", "65537"],
    );
}

proptest! {
    #[test]
    fn texts_come_back(text in "\\PC{1,80}(\\n\\PC{0,20}){0,3}") {
        let tokenizer = Tokenizer::from_text(&text).unwrap();
        let tokens = tokenizer.encode(&text).unwrap();
        prop_assert_eq!(tokens.len(), text.chars().count());
        prop_assert!(tokens.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
        prop_assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
        prop_assert!(tokenizer.chars().is_sorted());
        let again = Tokenizer::from_chars(tokenizer.chars().iter().copied()).unwrap();
        prop_assert_eq!(again, tokenizer);
    }
}

// ---- corpus ----

#[test]
fn the_split_counts_characters() {
    // int(n * 0.9) in Python; the last is Tiny Shakespeare's length, split by nanoGPT into 1,003,854 and 111,540.
    for (n, train) in [
        (1, 0),
        (2, 1),
        (10, 9),
        (11, 9),
        (99, 89),
        (101, 90),
        (1_115_394, 1_003_854),
    ] {
        let text: String = "é1".chars().cycle().take(n).collect();
        let corpus = Corpus::from_text("x", &text).unwrap();
        assert_eq!(
            (corpus.train.len(), corpus.val.len()),
            (train, n - train),
            "of {n}"
        );
        let tokens = [corpus.train, corpus.val].concat();
        assert_eq!(corpus.tokenizer.decode(&tokens).unwrap(), text);
    }
}

#[test]
fn the_fingerprint_is_that_of_table_and_tokens() {
    // hashlib.sha256 over struct.pack of the documented fields
    let expected = "2f11160f76638dbf2ca82dc82357dea3875a7b218f4e90644e88eae7aeac1a4c";
    let corpus = Corpus::from_text("one", "béa béa ab").unwrap();
    let hex: String = corpus
        .sha256
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hex, expected);
    assert_eq!(
        corpus.sha256,
        Corpus::from_text("another", "béa béa ab").unwrap().sha256
    );
    // The same tokens of other characters, and other tokens of the same characters.
    assert_ne!(
        corpus.sha256,
        Corpus::from_text("one", "béc béc cb").unwrap().sha256
    );
    assert_ne!(
        corpus.sha256,
        Corpus::from_text("one", "béa béa ba").unwrap().sha256
    );
}

#[test]
fn the_embedded_text_trains_and_validates() {
    let corpus = Corpus::embedded().unwrap();
    assert_eq!(corpus.name, "play");
    assert_eq!(corpus, Corpus::embedded().unwrap());
    assert_eq!(
        corpus.tokenizer.vocab_size(),
        corpus.tokenizer.chars().len()
    );
    corpus.check_block(4).unwrap();
}

fn file(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn files_read_as_python_reads_them() {
    let dir = TempDir::new().unwrap();
    let corpus = Corpus::from_file(file(&dir, "t.txt", b"one\r\ntwo\rthree\n\r\n")).unwrap();
    assert_eq!(corpus.name, "t.txt");
    let text = corpus
        .tokenizer
        .decode(&[corpus.train, corpus.val].concat())
        .unwrap();
    assert_eq!(text, "one\ntwo\nthree\n\n");
}

#[test]
fn files_that_are_no_text_are_refused_with_the_place() {
    let dir = TempDir::new().unwrap();
    assert_says(
        Corpus::from_file(file(&dir, "bad.txt", b"ab\nc\xc3\xa9\n\xff!")),
        &["bad.txt: byte 7, line 3", "0xff"],
    );
    // cut in the middle of a character
    assert_says(
        Corpus::from_file(file(&dir, "cut.txt", b"ab\nc\xc3")),
        &["byte 4, line 2"],
    );
    assert_says(
        Corpus::from_file(file(&dir, "empty.txt", b"")),
        &["empty.txt", "empty"],
    );
    assert_says(Corpus::from_text("nothing", ""), &["nothing"]);
    let missing = Corpus::from_file(dir.path().join("none.txt"));
    assert!(matches!(missing, Err(Error::Io { .. })));
    assert!(matches!(
        Corpus::from_file(dir.path()),
        Err(Error::Io { .. })
    ));
}

#[test]
fn a_block_needs_room_in_both_splits() {
    let corpus = Corpus::from_text("short", &"ab".repeat(25)).unwrap(); // 45 and 5 tokens
    corpus.check_block(4).unwrap();
    assert_says(
        corpus.check_block(5),
        &["short: validation", "more than 5", "found 5"],
    );
    assert_says(corpus.check_block(45), &["short: train", "found 45"]);
    assert_says(corpus.check_block(usize::MAX), &["train"]);
    assert_says(corpus.check_block(0), &["at least 1"]);
}

// ---- nanoGPT's files ----

const NANOGPT: &str = "tests/data/nanogpt";

#[test]
fn nanogpts_files_hold_what_its_script_would_make_of_the_text() {
    let corpus = Corpus::from_nanogpt(NANOGPT, None).unwrap();
    assert_eq!(corpus.name, "nanogpt");
    assert_eq!(
        corpus.tokenizer.chars().iter().collect::<String>(),
        "\n ,.BEKLMRSTVabehiklmnorstuv"
    );
    assert_eq!((corpus.train.len(), corpus.val.len()), (1305, 146));
    let text = corpus
        .tokenizer
        .decode(&[&corpus.train[..], &corpus.val].concat())
        .unwrap();
    let again = Corpus::from_text("nanogpt", &text).unwrap();
    assert_eq!(again, corpus);
}

#[test]
fn the_table_may_lie_elsewhere() {
    let dir = TempDir::new().unwrap();
    for name in ["train.bin", "val.bin"] {
        std::fs::copy(Path::new(NANOGPT).join(name), dir.path().join(name)).unwrap();
    }
    let meta = Path::new(NANOGPT).join("meta.pkl");
    let corpus = Corpus::from_nanogpt(dir.path(), Some(&meta)).unwrap();
    assert_eq!(
        corpus.sha256,
        Corpus::from_nanogpt(NANOGPT, None).unwrap().sha256
    );
    let without = Corpus::from_nanogpt(dir.path(), None);
    assert!(matches!(&without, Err(Error::Io { path, .. }) if path.ends_with("meta.pkl")));
}

/// A folder with two tokens a split, for one table after the other.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        file(&dir, "train.bin", &[0, 0, 1, 0]);
        file(&dir, "val.bin", &[1, 0, 0, 0]);
        Self(dir)
    }

    fn with_meta(&self, pickle: &[u8]) -> bnn::Result<Corpus> {
        file(&self.0, "meta.pkl", pickle);
        Corpus::from_nanogpt(self.0.path(), None)
    }
}

fn with_meta(pickle: &[u8]) -> bnn::Result<Corpus> {
    Folder::new().with_meta(pickle)
}

/// Python's pickles of `{'vocab_size': 3, 'itos': {0: '\n', 1: 'a', 2: 'é'}, 'stoi': {'\n': 0, 'a': 1, 'é': 2}}`,
/// with protocols 2 and 4. Protocols 3 and 5 differ in the second byte alone.
const PROTOCOL_2: &[u8] = b"\x80\x02}q\x00(X\n\x00\x00\x00vocab_sizeq\x01K\x03X\x04\x00\x00\x00itosq\x02}q\x03(K\x00X\
    \x01\x00\x00\x00\nq\x04K\x01X\x01\x00\x00\x00aq\x05K\x02X\x02\x00\x00\x00\xc3\xa9q\x06uX\x04\x00\x00\x00stoiq\x07}q\
    \x08(h\x04K\x00h\x05K\x01h\x06K\x02uu.";
const PROTOCOL_4: &[u8] = b"\x80\x04\x95I\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\nvocab_size\x94K\x03\x8c\x04itos\x94}\
    \x94(K\x00\x8c\x01\n\x94K\x01\x8c\x01a\x94K\x02\x8c\x02\xc3\xa9\x94u\x8c\x04stoi\x94}\x94(h\x04K\x00h\x05K\x01h\x06K\
    \x02uu.";

#[test]
fn every_binary_protocol_is_read() {
    for pickle in [PROTOCOL_2, PROTOCOL_4] {
        for protocol in 2..=5 {
            let mut pickle = pickle.to_vec();
            pickle[1] = protocol;
            assert_eq!(
                with_meta(&pickle).unwrap().tokenizer.chars(),
                ['\n', 'a', 'é']
            );
        }
    }
    // 1,001 characters: numbers and memos wider than a byte, and items set in several rounds, the last one a single.
    let many =
        with_meta(&std::fs::read(Path::new(NANOGPT).join("meta_1001.pkl")).unwrap()).unwrap();
    let expected: Vec<char> = (0..1001)
        .filter_map(|i| char::from_u32(0x100 + 7 * i))
        .collect();
    assert_eq!(many.tokenizer.chars(), expected);
}

/// A pickle of one dictionary: its entries, written out as opcodes.
fn dict(entries: &[u8]) -> Vec<u8> {
    [b"\x80\x04}(", entries, b"u."].concat()
}

const ITOS: &[u8] = b"\x8c\x04itos}(K\x00\x8c\x01aK\x01\x8c\x01bu";
const STOI: &[u8] = b"\x8c\x04stoi}(\x8c\x01aK\x00\x8c\x01bK\x01u";
const SIZE: &[u8] = b"\x8c\x0avocab_sizeK\x02";

#[test]
fn tables_that_contradict_themselves_are_refused() {
    let parts = |parts: &[&[u8]]| with_meta(&dict(&parts.concat()));
    assert_eq!(
        parts(&[ITOS, STOI, SIZE]).unwrap().tokenizer.chars(),
        ['a', 'b']
    );

    assert_says(parts(&[STOI, SIZE]), &["meta.pkl", "\"itos\" is missing"]);
    assert_says(parts(&[ITOS, SIZE]), &["\"stoi\" is missing"]);
    assert_says(parts(&[ITOS, STOI]), &["\"vocab_size\" is missing"]);
    assert_says(
        parts(&[ITOS, STOI, b"\x8c\x0avocab_sizeK\x03"]),
        &["vocab_size is 3", "2 entries"],
    );
    assert_says(
        parts(&[ITOS, STOI, b"\x8c\x0avocab_size\x8c\x012"]),
        &["number under \"vocab_size\""],
    );
    assert_says(
        parts(&[ITOS, STOI, b"\x8c\x0avocab_sizeJ\xff\xff\xff\xff"]),
        &["vocab_size is -1"],
    );
    assert_says(
        parts(&[b"\x8c\x04itosK\x02", STOI, SIZE]),
        &["dictionary under \"itos\""],
    );
    let gap = b"\x8c\x04itos}(K\x00\x8c\x01aK\x02\x8c\x01bu";
    assert_says(parts(&[gap, STOI, SIZE]), &["expected the id 1, found 2"]);
    let swapped = b"\x8c\x04stoi}(\x8c\x01aK\x01\x8c\x01bK\x00u";
    assert_says(
        parts(&[ITOS, swapped, SIZE]),
        &["itos gives 0 for 'a', stoi gives Some(1)"],
    );
    let twice = b"\x8c\x04itos}(K\x00\x8c\x01aK\x01\x8c\x01au";
    assert_says(parts(&[twice, STOI, SIZE]), &["itos gives 1 for 'a'"]);
    let long = b"\x8c\x04itos}(K\x00\x8c\x02aaK\x01\x8c\x01bu";
    assert_says(parts(&[long, STOI, SIZE]), &["one character"]);
    let turned = b"\x8c\x04stoi}(K\x00\x8c\x01aK\x01\x8c\x01bu";
    assert_says(
        parts(&[ITOS, turned, SIZE]),
        &["stoi: expected character to number"],
    );
    let nothing = [
        &b"\x8c\x04itos}"[..],
        b"\x8c\x04stoi}",
        b"\x8c\x0avocab_sizeK\x00",
    ];
    assert_says(parts(&nothing), &["at least one character"]);
}

#[test]
fn pickles_that_do_more_are_refused_where_they_do() {
    // protocol 0 of os.system("…")
    assert_says(
        with_meta(b"cos\nsystem\n(S'ls'\ntR."),
        &["byte 0", "opcode 0x63"],
    );
    assert_says(with_meta(b"\x80\x04]\x94."), &["byte 2", "opcode 0x5d"]);
    assert_says(with_meta(b"\x80\x04K\x01."), &["one dictionary"]);
    assert_says(with_meta(&[PROTOCOL_4, b"."].concat()), &["one dictionary"]);
    assert_says(with_meta(b"\x80\x04}h\x09."), &["byte 3", "no such memo"]);
    assert_says(with_meta(b"\x80\x04\x94."), &["nothing to memoize"]);
    assert_says(with_meta(b"\x80\x04}K\x01s."), &["expected a dictionary"]);
    assert_says(with_meta(b"\x80\x04s."), &["nothing to set"]);
    assert_says(with_meta(b"\x80\x04}(K\x01u."), &["no value"]);
    assert_says(with_meta(b"\x80\x04}u."), &["nothing to set"]);
    assert_says(with_meta(b"\x80\x04\x8c\x01\xff."), &["UTF-8"]);
    // a string that claims 4 GiB
    assert_says(
        with_meta(b"\x80\x04X\xff\xff\xff\xffab"),
        &["byte 7", "4294967295 more bytes, found 2"],
    );
    assert_says(with_meta(b""), &["byte 0", "found 0"]);
}

#[test]
fn damage_never_does_worse_than_an_error() {
    let folder = Folder::new();
    for pickle in [PROTOCOL_2, PROTOCOL_4] {
        for len in 0..pickle.len() {
            folder.with_meta(&pickle[..len]).unwrap_err();
        }
        let mut damaged = pickle.to_vec();
        for at in 0..pickle.len() {
            for byte in [0xff, pickle[at] ^ 1, b'u'] {
                damaged[at] = byte;
                if let Ok(corpus) = folder.with_meta(&damaged) {
                    assert_eq!(corpus.tokenizer.vocab_size(), 3);
                }
            }
            damaged[at] = pickle[at];
        }
    }
    // nesting as deep as the file is long
    let mut nested = b"\x80\x04".to_vec();
    nested.extend(std::iter::repeat_n(b"}K\x00", 100_000).flatten());
    nested.extend(b"K\x00");
    nested.extend(std::iter::repeat_n(b's', 100_000));
    nested.push(b'.');
    assert_says(folder.with_meta(&nested), &["missing"]);
}

#[test]
fn token_files_are_checked() {
    let try_with = |train: &[u8], val: &[u8]| {
        let dir = TempDir::new().unwrap();
        file(&dir, "meta.pkl", PROTOCOL_4);
        file(&dir, "train.bin", train);
        file(&dir, "val.bin", val);
        Corpus::from_nanogpt(dir.path(), None)
    };
    let corpus = try_with(&[1, 0, 2, 0], &[0, 0]).unwrap();
    assert_eq!((corpus.train, corpus.val), (vec![1, 2], vec![0]));
    assert_says(try_with(&[1, 0, 2], &[0, 0]), &["train.bin", "3 bytes"]);
    assert_says(try_with(&[1, 0], &[]), &["val.bin", "0 bytes"]);
    assert_says(
        try_with(&[1, 0, 2, 0, 3, 0], &[0, 0]),
        &["train.bin: token 2", "size 3", "found 3"],
    );
    // the second byte counts: 256
    assert_says(
        try_with(&[1, 0], &[0, 1]),
        &["val.bin: token 0", "found 256"],
    );
}

// ---- windows and batches ----

/// Tokens that tell their position.
fn ramp(n: usize) -> Vec<u16> {
    (0..n as u16).collect()
}

fn filled(windows: &Windows, n: usize, b: usize, t: usize, at: (u64, u32, u64)) -> Batch {
    let mut batch = Batch::new(b, t).unwrap();
    windows
        .fill(&ramp(n), at.0, at.1, at.2, &mut batch)
        .unwrap();
    batch
}

#[test]
fn a_batch_is_a_function_of_seed_chain_and_step() {
    let windows = Windows::all(1000, 8).unwrap();
    let first = filled(&windows, 1000, 16, 8, (1, 2, 3));
    assert_eq!(first, filled(&windows, 1000, 16, 8, (1, 2, 3)));
    for other in [(2, 2, 3), (1, 3, 3), (1, 2, 4)] {
        assert_ne!(first.x, filled(&windows, 1000, 16, 8, other).x);
    }
    // A batch of fewer windows is the beginning of a larger one.
    assert_eq!(filled(&windows, 1000, 5, 8, (1, 2, 3)).x, first.x[..40]);
}

#[test]
fn every_window_is_drawn_alike() {
    // 6 windows, 4,000 batches of 3: each count is binomial (12,000, 1/6) with sd 40.8. Six sd either way have a false
    // alarm rate of 6 * 2e-9.
    let windows = Windows::all(10, 4).unwrap();
    let mut counts = [0.0; 6];
    for step in 0..4000 {
        for row in filled(&windows, 10, 3, 4, (7, 0, step)).x.chunks(4) {
            counts[row[0] as usize] += 1.0;
        }
    }
    for count in counts {
        assert!((count - 2000.0_f64).abs() < 6.0 * 40.8, "{counts:?}");
    }
}

/// The window starts of a step, read off a text in which every token is its own place.
fn starts(batches: &Batches, n: usize, b: usize, step: u64) -> Vec<usize> {
    let mut batch = Batch::new(b, batches.windows().window_len()).unwrap();
    batches.fill(&ramp(n), 7, 2, step, &mut batch).unwrap();
    let rows = batch.x.chunks(batches.windows().window_len());
    rows.map(|row| row[0] as usize).collect()
}

#[test]
fn a_sweep_takes_every_window_once_in_an_order_of_its_own() {
    let (n, t, b) = (203, 7, 4);
    let windows = Windows::all(n, t).unwrap();
    let batches = Batches::new(windows.clone(), Order::Sweep, b).unwrap();
    // 28 windows whatever the offset, so 7 batches of 4.
    assert_eq!(batches.per_sweep(), 7);
    let sweep = |k: u64| -> Vec<usize> {
        (7 * k..7 * k + 7)
            .flat_map(|step| starts(&batches, n, b, step))
            .collect()
    };
    let mut offsets = HashSet::new();
    for k in 0..40 {
        let all = sweep(k);
        let offset = all[0] % t;
        offsets.insert(offset);
        let mut sorted = all.clone();
        sorted.sort_unstable();
        let want: Vec<usize> = (0..28).map(|i| offset + i * t).collect();
        assert_eq!(sorted, want, "sweep {k}");
        assert!(
            *sorted.last().unwrap() + t < n,
            "the last target is in the text"
        );
        assert_ne!(all, sweep(k + 1));
    }
    assert_eq!(offsets.len(), t, "every offset comes: {offsets:?}");
    // There and back: the second half of a sweep is the first in reverse, and the next is another.
    let symmetric = Batches::new(windows.clone(), Order::Symmetric, b).unwrap();
    for k in 0..3 {
        let at = |i: u64| starts(&symmetric, n, b, 14 * k + i);
        for i in 0..7 {
            assert_eq!(at(i), at(13 - i));
        }
        assert_ne!(at(0), at(14));
    }
    // Drawn independently, it is what the windows themselves draw.
    let plain = Batches::new(windows.clone(), Order::Independent, b).unwrap();
    let mut batch = Batch::new(b, t).unwrap();
    windows.fill(&ramp(n), 7, 2, 5, &mut batch).unwrap();
    let rows: Vec<usize> = batch.x.chunks(t).map(|row| row[0] as usize).collect();
    assert_eq!(starts(&plain, n, b, 5), rows);
    // What does not fill a batch sits out; a batch that a sweep cannot fill is refused.
    assert_eq!(
        Batches::new(windows.clone(), Order::Sweep, 5)
            .unwrap()
            .per_sweep(),
        5
    );
    assert!(Batches::new(windows.clone(), Order::Sweep, 29).is_err());
    assert!(Batches::new(windows.clone(), Order::Independent, 29).is_ok());
    assert!(Batches::new(windows, Order::Sweep, 0).is_err());
}

#[test]
fn a_sweep_of_a_subset_takes_its_windows() {
    let (n, t, b) = (203, 7, 4);
    let some = Windows::subset(n, t, 12, 3).unwrap();
    let want: Vec<usize> = (0..12).map(|i| some.start(i).unwrap()).collect();
    let batches = Batches::new(some, Order::Sweep, b).unwrap();
    assert_eq!(batches.per_sweep(), 3);
    for k in 0..5 {
        let steps = 3 * k..3 * k + 3;
        let mut all: Vec<usize> = steps
            .flat_map(|step| starts(&batches, n, b, step))
            .collect();
        all.sort_unstable();
        assert_eq!(all, want);
    }
    // A text just longer than a window has one.
    let one = Batches::new(Windows::all(8, 7).unwrap(), Order::Sweep, 1).unwrap();
    assert_eq!((one.per_sweep(), starts(&one, 8, 1, 3)), (1, vec![0]));
}

#[test]
fn every_subset_is_drawn_alike() {
    // 5 choose 2 = 10 subsets over 10,000 seeds: counts with mean 1,000 and sd 30; six sd: 10 * 2e-9.
    let mut counts = std::collections::BTreeMap::new();
    for seed in 0..10_000 {
        let windows = Windows::subset(7, 2, 2, seed).unwrap();
        *counts
            .entry((windows.start(0), windows.start(1)))
            .or_insert(0.0) += 1.0;
    }
    assert_eq!(counts.len(), 10);
    for count in counts.values() {
        assert!((count - 1000.0_f64).abs() < 180.0, "{counts:?}");
    }
}

#[test]
fn filling_reuses_the_buffers() {
    let tokens = ramp(100);
    let mut batch = Batch::new(4, 8).unwrap();
    let before = (
        batch.x.as_ptr(),
        batch.x.capacity(),
        batch.y.as_ptr(),
        batch.y.capacity(),
    );
    let windows = Windows::all(100, 8).unwrap();
    let in_order = consecutive(&tokens, 8).unwrap();
    for step in 0..20 {
        windows.fill(&tokens, 1, 0, step, &mut batch).unwrap();
        in_order
            .fill(step as usize, 1 + step as usize % 4, &mut batch)
            .unwrap();
        batch.b = batch.b.max(1);
    }
    let after = (
        batch.x.as_ptr(),
        batch.x.capacity(),
        batch.y.as_ptr(),
        batch.y.capacity(),
    );
    assert_eq!(before, after);
}

#[test]
fn windows_and_batches_that_do_not_fit_are_refused() {
    assert_says(Windows::all(8, 8), &["more than 8", "found 8"]);
    assert_eq!(Windows::all(9, 8).unwrap().num_windows(), 1);
    assert_says(Windows::all(8, 0), &["window length"]);
    assert_says(Windows::subset(20, 5, 0, 1), &["1 to 15", "got 0"]);
    assert_says(Windows::subset(20, 5, 16, 1), &["1 to 15", "got 16"]);
    assert_says(Windows::subset(5, 5, 1, 1), &["found 5"]);
    assert_says(Batch::new(0, 3), &["(0, 3)"]);
    assert_says(Batch::new(3, 0), &["(3, 0)"]);
    assert_says(Batch::new(usize::MAX, 2), &["memory"]);
    assert_says(Batch::new(usize::MAX / 2, 1), &["memory"]);

    let windows = Windows::all(20, 5).unwrap();
    let mut batch = Batch::new(2, 4).unwrap();
    assert_says(
        windows.fill(&ramp(20), 0, 0, 0, &mut batch),
        &["(2, 5)", "(2, 4)"],
    );
    assert_says(
        consecutive(&ramp(20), 5).unwrap().fill(0, 2, &mut batch),
        &["(2, 5)"],
    );
    let mut batch = Batch::new(2, 5).unwrap();
    assert_says(
        windows.fill(&ramp(21), 0, 0, 0, &mut batch),
        &["tokens", "20", "21"],
    );
    assert_says(
        consecutive(&ramp(20), 5).unwrap().fill(0, 0, &mut batch),
        &["at least 1"],
    );
    assert_eq!(
        consecutive(&ramp(20), 5)
            .unwrap()
            .fill(9, 2, &mut batch)
            .unwrap(),
        0
    );
    assert_says(
        windows.fill(&ramp(20), 0, 0, 0, &mut batch),
        &["at least one window"],
    );
    assert_says(consecutive(&ramp(5), 5), &["found 5"]);
    assert_says(consecutive(&ramp(5), 0), &["window length"]);
}

proptest! {
    #[test]
    fn windows_stay_inside_and_targets_are_one_on(
        t in 1usize..20, more in 1usize..300, b in 1usize..9, seed: u64, chain: u32, step: u64,
    ) {
        let n = t + more;
        let windows = Windows::all(n, t).unwrap();
        prop_assert_eq!(windows.num_windows(), more);
        prop_assert_eq!((windows.start(more - 1), windows.start(more)), (Some(more - 1), None));
        let batch = filled(&windows, n, b, t, (seed, chain, step));
        prop_assert_eq!((batch.b, batch.t, batch.x.len(), batch.y.len()), (b, t, b * t, b * t));
        for (x, y) in batch.x.chunks(t).zip(batch.y.chunks(t)) {
            let start = x[0] as usize;
            prop_assert!(start < more);
            prop_assert_eq!(x, &ramp(n)[start..start + t]);
            prop_assert_eq!(y, &ramp(n)[start + 1..start + t + 1]);
        }
    }

    #[test]
    fn subsets_are_distinct_and_batches_keep_to_them(
        t in 1usize..10, more in 1usize..200, part in 0.0..1.0, seed: u64,
    ) {
        let n = t + more;
        let count = 1 + (part * more as f64) as usize;
        let windows = Windows::subset(n, t, count, seed).unwrap();
        prop_assert_eq!(windows.num_windows(), count);
        let starts: HashSet<usize> = (0..count).map(|at| windows.start(at).unwrap()).collect();
        prop_assert_eq!(starts.len(), count);
        prop_assert!(starts.iter().all(|&start| start < more));
        let again = Windows::subset(n, t, count, seed).unwrap();
        prop_assert!((0..count).all(|at| again.start(at) == windows.start(at)));
        for x in filled(&windows, n, 4, t, (seed, 0, 9)).x.chunks(t) {
            prop_assert!(starts.contains(&(x[0] as usize)));
        }
    }

    #[test]
    fn consecutive_windows_cover_each_target_once(t in 1usize..12, more in 1usize..200, b in 1usize..6) {
        let tokens = ramp(t + more);
        let windows = consecutive(&tokens, t).unwrap();
        let k = (t + more - 1) / t;
        prop_assert_eq!((windows.num_windows(), windows.num_tokens()), (k, k * t));
        let mut batch = Batch::new(b, t).unwrap();
        let (mut first, mut x, mut y) = (0, vec![], vec![]);
        while first < windows.num_windows() {
            let got = windows.fill(first, b, &mut batch).unwrap();
            prop_assert_eq!(got, b.min(k - first));
            prop_assert_eq!((batch.b, batch.x.len()), (got, got * t));
            first += got;
            x.extend_from_slice(&batch.x);
            y.extend_from_slice(&batch.y);
        }
        prop_assert_eq!(&x[..], &tokens[..k * t]);
        prop_assert_eq!(&y[..], &tokens[1..k * t + 1]);
    }
}
