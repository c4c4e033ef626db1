//! Files that are damaged, forged or not ours: each is refused with its own error, and none costs memory.
//!
//! The files come from an encoder of their own, written after docs/format.md, so that forged ones carry valid checksums.

#[path = "common/lengths.rs"]
mod lengths;

use std::fs;
use std::path::{Path, PathBuf};

use bnn::Error;
use bnn::store::{self, Dtype, Header, Kind, Provenance, Reader, Store, TensorData};
use lengths::{HOSTILE, peak};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// A header as the format describes it, with nothing in the way of nonsense.
#[derive(Clone)]
struct Forged {
    kind: u32,
    config: Vec<u8>,
    model: Vec<u8>,
    seed: u64,
    chain: u32,
    step: u64,
    corpus: [u8; 32],
    baseline: [u8; 32],
    vocabulary: Vec<u8>,
    tensors: Vec<(&'static str, u32, u64)>,
    scalars: Vec<(&'static str, f64)>,
    counters: Vec<(&'static str, u64)>,
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

impl Forged {
    /// A chain's state: two f32s, one bf16, one f64.
    fn new() -> Self {
        Self {
            kind: 1,
            config: b"step_size = 0.5".to_vec(),
            model: b"{}".to_vec(),
            seed: u64::MAX - 1,
            chain: 7,
            step: 1 << 40,
            corpus: [0xc0; 32],
            baseline: [0xba; 32],
            vocabulary: "aé\n".into(),
            tensors: vec![("theta", 0, 2), ("m", 1, 1), ("sum", 2, 1)],
            scalars: vec![("best", f64::NEG_INFINITY), ("lr", 0.1)],
            counters: vec![("accepted", 3)],
        }
    }

    /// The bytes up to the first list, which are where hostile lengths go.
    fn fields(&self) -> Vec<u8> {
        let mut out = self.kind.to_le_bytes().to_vec();
        text(&mut out, &self.config);
        text(&mut out, &self.model);
        out.extend(self.seed.to_le_bytes());
        out.extend(self.chain.to_le_bytes());
        out.extend(self.step.to_le_bytes());
        out.extend(self.corpus);
        out.extend(self.baseline);
        text(&mut out, &self.vocabulary);
        out
    }

    fn header(&self) -> Vec<u8> {
        let mut out = self.fields();
        out.extend((self.tensors.len() as u64).to_le_bytes());
        for (name, dtype, len) in &self.tensors {
            text(&mut out, name.as_bytes());
            out.extend(dtype.to_le_bytes());
            out.extend(len.to_le_bytes());
        }
        out.extend((self.scalars.len() as u64).to_le_bytes());
        for (name, value) in &self.scalars {
            text(&mut out, name.as_bytes());
            out.extend(value.to_le_bytes());
        }
        out.extend((self.counters.len() as u64).to_le_bytes());
        for (name, value) in &self.counters {
            text(&mut out, name.as_bytes());
            out.extend(value.to_le_bytes());
        }
        out
    }

    fn file(&self, payload: &[u8]) -> Vec<u8> {
        assemble(&self.header(), payload)
    }
}

fn assemble(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = b"BNNSTORE".to_vec();
    out.extend(1u32.to_le_bytes());
    out.extend((header.len() as u64).to_le_bytes());
    out.extend(header);
    out.extend(Sha256::digest(&out));
    out.extend(payload);
    out.extend(Sha256::digest(payload));
    out
}

/// What [`Forged::new`] lists: 1.5 and -2 as f32, 3 as bf16, 0.1 as f64.
fn payload() -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(1.5f32.to_le_bytes());
    out.extend((-2f32).to_le_bytes());
    out.extend([0x40, 0x40]);
    out.extend(0.1f64.to_le_bytes());
    out
}

/// A folder for one test and a file in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("chain.bnn");
        // Some file systems flush a file that is overwritten to the disk: a new one is faster.
        if path.exists() {
            fs::remove_file(&path).unwrap();
        }
        fs::write(&path, bytes).unwrap();
        path
    }

    fn open(&self, bytes: &[u8]) -> Result<Reader, Error> {
        Reader::open(self.file(bytes), Kind::Chain)
    }

    /// The error for `bytes`; the header alone must give the same one where `header_too` says so.
    fn refuse(&self, bytes: &[u8], header_too: bool) -> Error {
        let path = self.file(bytes);
        let error = Reader::open(&path, Kind::Chain).expect_err("must be refused");
        if header_too {
            let other = store::read_header(&path).expect_err("must be refused");
            assert_eq!(error.to_string(), other.to_string());
        }
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error} does not name the file"
        );
        error
    }
}

#[test]
fn the_description_of_the_format_gives_the_writers_bytes() {
    let place = Place::new();
    let forged = Forged::new();
    let header = Header {
        kind: Kind::Chain,
        config: "step_size = 0.5".into(),
        model: "{}".into(),
        seed: u64::MAX - 1,
        chain: 7,
        step: 1 << 40,
        corpus_sha256: [0xc0; 32],
        baseline_sha256: [0xba; 32],
        vocabulary: "aé\n".into(),
        scalars: vec![("best".into(), f64::NEG_INFINITY), ("lr".into(), 0.1)],
        counters: vec![("accepted".into(), 3)],
    };
    let path = place.0.path().join("chain.bnn");
    let tensors = [
        ("theta", TensorData::F32(&[1.5, -2.0])),
        ("m", TensorData::Bf16(&[3.0])),
        ("sum", TensorData::F64(&[0.1])),
    ];
    store::write(&path, &header, &tensors).unwrap();
    assert_eq!(fs::read(&path).unwrap(), forged.file(&payload()));

    let mut reader = Reader::open(&path, Kind::Chain).unwrap();
    assert_eq!(reader.header(), &header);
    let (mut theta, mut m, mut sum) = ([0.0; 2], [0.0; 1], [0.0; 1]);
    reader.read_f64("sum", &mut sum).unwrap();
    reader.read_f32("theta", &mut theta).unwrap();
    reader.read_f32("m", &mut m).unwrap();
    assert_eq!((theta, m, sum), ([1.5, -2.0], [3.0], [0.1]));
}

#[test]
fn every_truncation_is_refused() {
    let place = Place::new();
    let whole = Forged::new().file(&payload());
    for len in 0..whole.len() {
        let error = place.refuse(&whole[..len], true);
        match len {
            // Too short to say what it is.
            0..8 => assert!(matches!(error, Error::BadMagic { .. }), "{len}: {error}"),
            _ => assert!(matches!(error, Error::BadLength { .. }), "{len}: {error}"),
        }
    }
    place.open(&whole).unwrap();
}

#[test]
fn bytes_behind_the_end_are_refused() {
    let place = Place::new();
    let mut bytes = Forged::new().file(&payload());
    for extra in 1..40 {
        bytes.push(0);
        let Error::BadLength { expected, got, .. } = place.refuse(&bytes, true) else {
            panic!("{extra} bytes too many")
        };
        assert_eq!(got - expected, extra);
    }
}

#[test]
fn every_single_byte_flip_is_refused_for_its_reason() {
    let place = Place::new();
    let header = Forged::new().header().len();
    let whole = Forged::new().file(&payload());
    for at in 0..whole.len() {
        for mask in [0x01, 0x10, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= mask;
            let payload_begins = 20 + header + 32;
            let error = place.refuse(&bytes, at < payload_begins);
            let as_it_should = match at {
                0..8 => matches!(error, Error::BadMagic { .. }),
                8..12 => matches!(error, Error::BadVersion { expected: 1, .. }),
                // Another length moves the header's checksum: out of the file, or to bytes that are none.
                12..20 => matches!(error, Error::BadLength { .. } | Error::BadChecksum { .. }),
                _ => match &error {
                    Error::BadChecksum { what, .. } if at < payload_begins => what == "header",
                    Error::BadChecksum { what, .. } => what == "payload",
                    _ => false,
                },
            };
            assert!(as_it_should, "byte {at} ^ {mask:02x}: {error}");
        }
    }
}

#[test]
fn another_version_is_refused_with_valid_checksums() {
    let place = Place::new();
    let header = Forged::new().header();
    for version in [0u32, 2, u32::MAX] {
        let mut bytes = b"BNNSTORE".to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(&header);
        bytes.extend(Sha256::digest(&bytes));
        bytes.extend(payload());
        bytes.extend(Sha256::digest(payload()));
        let error = place.refuse(&bytes, true);
        assert!(
            matches!(error, Error::BadVersion { expected: 1, got, .. } if got == version),
            "{error}"
        );
    }
}

#[test]
fn hostile_lengths_are_refused_and_allocate_nothing() {
    let place = Place::new();
    let before = peak();
    for len in HOSTILE {
        // The header's own length.
        let mut bytes = Forged::new().file(&payload());
        bytes[12..20].copy_from_slice(&len.to_le_bytes());
        assert!(matches!(
            place.refuse(&bytes, true),
            Error::BadLength { .. }
        ));

        // A tensor's length, alone and such that the sum wraps around to the true length.
        for at in 0..3 {
            let mut forged = Forged::new();
            forged.tensors[at].2 = len;
            let error = place.refuse(&forged.file(&payload()), true);
            assert!(matches!(error, Error::BadLength { .. }), "{error}");
        }
        let mut forged = Forged::new();
        let wrapped = vec![
            ("a", 2, 1 << 60),
            ("b", 2, 1 << 60),
            ("c", 1, payload().len() as u64 / 2),
        ];
        forged.tensors = wrapped;
        let error = place.refuse(&forged.file(&payload()), true);
        assert!(matches!(error, Error::BadLength { .. }), "{error}");

        // The length of each text, list and name.
        let forged = Forged::new();
        let whole = forged.header();
        let lists = forged.fields().len();
        let tensors = 8 + forged.tensors.iter().map(|t| 20 + t.0.len()).sum::<usize>();
        let scalars = 8 + forged.scalars.iter().map(|t| 16 + t.0.len()).sum::<usize>();
        let model = 4 + 8 + forged.config.len();
        let vocabulary = lists - 8 - forged.vocabulary.len();
        let places = [
            ("config", 4),
            ("model", model),
            ("vocabulary", vocabulary),
            ("tensors", lists),
            ("a tensor's name", lists + 8),
            ("scalars", lists + tensors),
            ("a scalar's name", lists + tensors + 8),
            ("counters", lists + tensors + scalars),
            ("a counter's name", lists + tensors + scalars + 8),
        ];
        for (what, at) in places {
            let mut header = whole.clone();
            header[at..at + 8].copy_from_slice(&len.to_le_bytes());
            let error = place.refuse(&assemble(&header, &payload()), true);
            assert!(matches!(error, Error::BadHeader { .. }), "{what}: {error}");
        }
    }
    // Threads of other tests reserve some address space, far below the least of the lengths.
    assert!(peak() - before < 1 << 33);
}

/// Broken: room for a text of 512 KiB and for a list of as many entries made before it was seen that the header has 200 bytes.
#[test]
fn lengths_beyond_the_header_are_refused_before_there_is_room_for_them() {
    let place = Place::new();
    let forged = Forged::new();
    let (whole, lists) = (forged.header(), forged.fields().len());
    let vocabulary = lists - 8 - forged.vocabulary.len();
    for at in [4, vocabulary, lists, lists + 8] {
        for len in [whole.len() as u64, 1 << 13, 1 << 19] {
            let mut header = whole.clone();
            header[at..at + 8].copy_from_slice(&len.to_le_bytes());
            let error = place.refuse(&assemble(&header, &payload()), true);
            assert!(error.to_string().contains("more than it has"), "{error}");
        }
    }
}

#[test]
fn a_tensor_list_that_is_short_or_long_is_refused() {
    let place = Place::new();
    for len in [0, 1, 3, 4] {
        let mut forged = Forged::new();
        forged.tensors[0].2 = len;
        let error = place.refuse(&forged.file(&payload()), true);
        let Error::BadLength { expected, got, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(expected as i64 - got as i64, 4 * (len as i64 - 2));
    }
}

#[test]
fn intact_headers_that_make_no_sense_are_refused() {
    let place = Place::new();
    let change = |change: fn(&mut Forged)| {
        let mut forged = Forged::new();
        change(&mut forged);
        forged.header()
    };
    let mut longer = Forged::new().header();
    longer.push(0);
    let shorter = Forged::new().header()[..200].to_vec();
    let cases = [
        ("kind", change(|f| f.kind = 4)),
        ("kind", change(|f| f.kind = u32::MAX)),
        ("data type", change(|f| f.tensors[1].1 = 3)),
        ("the name \"theta\"", change(|f| f.tensors[1].0 = "theta")),
        ("empty name", change(|f| f.tensors[2].0 = "")),
        ("the name \"lr\"", change(|f| f.scalars[0].0 = "lr")),
        (
            "the name \"n\"",
            change(|f| f.counters = vec![("n", 1), ("n", 2)]),
        ),
        ("", change(|f| f.config = vec![b'a', 0xff])),
        ("", change(|f| f.vocabulary = vec![0xed, 0xa0, 0x80])),
        ("1 bytes follow", longer),
        ("", shorter),
        ("", Vec::new()),
    ];
    for (reason, header) in cases {
        let error = place.refuse(&assemble(&header, &payload()), true);
        assert!(
            matches!(&error, Error::BadHeader { message, .. } if message.contains(reason)),
            "{reason}: {error}"
        );
    }
}

#[test]
fn a_header_above_the_cap_is_refused_though_the_file_has_it() {
    let place = Place::new();
    let mut forged = Forged::new();
    let rest = forged.header().len() - forged.config.len();
    forged.config = vec![b'x'; store::HEADER_MAX as usize - rest];
    place.open(&forged.file(&payload())).unwrap();
    forged.config.push(b'x');
    let error = place.refuse(&forged.file(&payload()), true);
    assert!(matches!(&error, Error::BadHeader { message, .. } if message.contains("1048576")));
}

#[test]
fn numbers_that_are_not_finite_are_refused_with_valid_checksums() {
    let place = Place::new();
    let nan = f32::NAN.to_le_bytes();
    let cases: [(usize, &[u8], &str); 4] = [
        (4, &nan, "\"theta\", element 1"),
        (0, &f32::INFINITY.to_le_bytes(), "\"theta\", element 0"),
        (8, &[0x80, 0xff], "\"m\", element 0"),
        (10, &f64::NAN.to_le_bytes(), "\"sum\", element 0"),
    ];
    for (at, value, reason) in cases {
        let mut payload = payload();
        payload[at..at + value.len()].copy_from_slice(value);
        let error = place.refuse(&Forged::new().file(&payload), false);
        assert!(
            matches!(&error, Error::Data { place, .. } if place.contains(reason)),
            "{reason}: {error}"
        );
        // With another number's checksum, it is damage and nothing else.
        let mut bytes = Forged::new().file(&payload);
        *bytes.last_mut().unwrap() ^= 1;
        let error = place.refuse(&bytes, false);
        assert!(matches!(error, Error::BadChecksum { .. }), "{error}");
    }
}

#[test]
fn other_files_are_refused() {
    let place = Place::new();
    for bytes in [&b"PK\x03\x04 and so on"[..], b"BNNSTOR", b"bnnstore", b""] {
        let error = place.refuse(bytes, true);
        assert!(
            matches!(&error, Error::BadMagic { got, .. } if *got == bytes[..bytes.len().min(8)]),
            "{error}"
        );
    }
    let folder = place.0.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let mut others = vec![folder, place.0.path().join("nothing")];
    if cfg!(unix) {
        // Reading it would never end.
        others.push("/dev/zero".into());
    }
    for path in others {
        for error in [
            Reader::open(&path, Kind::Chain).map(drop).unwrap_err(),
            store::read_header(&path).map(drop).unwrap_err(),
        ] {
            assert!(
                matches!(&error, Error::Io { path: p, .. } if *p == path),
                "{error}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Place::new().open(&bytes).is_err());
    }

    /// Whatever the header holds, it is refused or is exactly what the writer would have written.
    #[test]
    fn arbitrary_headers_with_valid_checksums_are_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let place = Place::new();
        let mut header = Forged::new().header();
        for (at, byte) in edits {
            let at = at.index(header.len());
            header[at] = byte;
        }
        let bytes = assemble(&header, &payload());
        if let Ok(reader) = Reader::open(place.file(&bytes), Kind::Chain) {
            let copy = place.0.path().join("copy.bnn");
            let mut reader = reader;
            let names: Vec<_> = reader.tensors().to_vec();
            let (mut singles, mut doubles) = (Vec::new(), Vec::new());
            for info in &names {
                let len = info.len as usize;
                let (mut x, mut y) = (vec![0.0; len], vec![0.0; len]);
                match info.dtype {
                    Dtype::F64 => reader.read_f64(&info.name, &mut y).unwrap(),
                    _ => reader.read_f32(&info.name, &mut x).unwrap(),
                }
                singles.push(x);
                doubles.push(y);
            }
            let tensors: Vec<_> = names
                .iter()
                .zip(singles.iter().zip(&doubles))
                .map(|(info, (x, y))| (info.name.as_str(), match info.dtype {
                    Dtype::F32 => TensorData::F32(x),
                    Dtype::Bf16 => TensorData::Bf16(x),
                    Dtype::F64 => TensorData::F64(y),
                }))
                .collect();
            store::write(&copy, reader.header(), &tensors).unwrap();
            prop_assert_eq!(fs::read(copy).unwrap(), bytes);
        }
    }
}

/// A sample as [`Store`] writes it.
fn sample(chain: u32, step: u64, params: &[f32]) -> (Forged, Vec<u8>) {
    let forged = Forged {
        kind: 0,
        chain,
        step,
        tensors: vec![("params", 0, params.len() as u64)],
        scalars: Vec::new(),
        counters: Vec::new(),
        ..Forged::new()
    };
    let payload = params.iter().flat_map(|x| x.to_le_bytes()).collect();
    (forged, payload)
}

/// A folder with an intact sample, beside which others are put.
fn folder_with_a_sample() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (forged, payload) = sample(0, 10, &[1.0, 2.0]);
    fs::write(
        folder.path().join("c00_s00000010.bnn"),
        forged.file(&payload),
    )
    .unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.len(), 1);
    folder
}

#[test]
fn a_store_names_the_file_that_does_not_belong() {
    let (fine, payload) = sample(0, 20, &[3.0, 4.0]);
    let change = |change: fn(&mut Forged)| {
        let mut forged = fine.clone();
        change(&mut forged);
        forged.file(&payload)
    };
    let half = fine.file(&payload)[..200].to_vec();
    type Check = fn(&Error) -> bool;
    let cases: [(Vec<u8>, Check); 13] = [
        (half, |e| matches!(e, Error::BadLength { .. })),
        (Vec::new(), |e| matches!(e, Error::BadMagic { .. })),
        (vec![0; 4096], |e| matches!(e, Error::BadMagic { .. })),
        (change(|f| f.step = 21), |e| {
            matches!(e, Error::Mismatch { .. })
        }),
        (change(|f| f.chain = 1), |e| {
            matches!(e, Error::Mismatch { .. })
        }),
        (change(|f| f.kind = 2), |e| {
            matches!(e, Error::Mismatch { .. })
        }),
        (change(|f| f.seed = 1), |e| {
            matches!(e, Error::Mismatch { .. })
        }),
        (change(|f| f.model = b"[]".to_vec()), |e| {
            matches!(e, Error::Mismatch { .. })
        }),
        (change(|f| f.corpus[31] = 0), |e| {
            matches!(e, Error::Mismatch { .. })
        }),
        (change(|f| f.tensors[0].0 = "theta"), |e| {
            matches!(e, Error::BadHeader { .. })
        }),
        (change(|f| f.tensors[0] = ("params", 2, 1)), |e| {
            matches!(e, Error::BadHeader { .. })
        }),
        (
            change(|f| f.tensors = vec![("params", 0, 1), ("more", 0, 1)]),
            |e| matches!(e, Error::BadHeader { .. }),
        ),
        (
            change(|f| f.tensors[0] = ("params", 1, 4)),
            |e| matches!(e, Error::Mismatch { what, .. } if what == "the number of parameters"),
        ),
    ];
    for (bytes, as_it_should) in cases {
        let folder = folder_with_a_sample();
        let path = folder.path().join("c00_s00000020.bnn");
        fs::write(&path, bytes).unwrap();
        let error = Store::open(folder.path()).map(drop).unwrap_err();
        assert!(as_it_should(&error), "{error}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
}

#[test]
fn a_store_takes_one_name_per_sample_and_passes_over_the_rest() {
    let wrong = [
        "c0_s00000020.bnn",
        "c000_s00000020.bnn",
        "c00_s0000020.bnn",
        "c00_s000000020.bnn",
        "c+1_s00000020.bnn",
        "c00_s00000020.bnn.bak",
        "c00_s00000020",
        "C00_s00000020.bnn",
        "c00_s99999999999999999999.bnn",
        "c4294967296_s00000020.bnn",
        "notes.txt",
    ];
    let (forged, payload) = sample(0, 20, &[3.0, 4.0]);
    for name in wrong {
        let folder = folder_with_a_sample();
        fs::write(folder.path().join(name), forged.file(&payload)).unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(
            (store.len(), store.foreign()),
            (1, &[folder.path().join(name)][..])
        );
    }
    // A folder with another name, and one with the right one.
    let folder = folder_with_a_sample();
    fs::create_dir(folder.path().join("more")).unwrap();
    assert_eq!(
        Store::open(folder.path()).unwrap().foreign(),
        [folder.path().join("more")]
    );
    let name = "c00_s00000020.bnn";
    let folder = folder_with_a_sample();
    fs::create_dir(folder.path().join(name)).unwrap();
    let error = Store::open(folder.path()).map(drop).unwrap_err();
    assert!(error.to_string().contains(name), "{error}");
}

#[test]
fn damaged_parameters_are_found_whenever_they_are_read() {
    let folder = folder_with_a_sample();
    let (forged, payload) = sample(0, 20, &[3.0, 4.0]);
    let whole = forged.file(&payload);
    let path = folder.path().join("c00_s00000020.bnn");
    // From the first byte of the payload to the last of its checksum.
    for at in whole.len() - 40..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        fs::write(&path, bytes).unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.load(0, &mut [0.0; 2]).unwrap();
        let refused = [
            store.load(1, &mut [0.0; 2]).unwrap_err(),
            store.hash().map(drop).unwrap_err(),
            store.verify().unwrap_err(),
            store.append(0, 20, &[3.0, 4.0]).unwrap_err(),
        ];
        for error in refused {
            assert!(
                matches!(&error, Error::BadChecksum { path: p, .. } if *p == path),
                "{error}"
            );
        }
    }
}

#[test]
fn a_sample_that_changes_after_opening_is_refused() {
    let folder = folder_with_a_sample();
    let store = Store::open(folder.path()).unwrap();
    let path = folder.path().join("c00_s00000010.bnn");
    for params in [&[1.0][..], &[1.0, 2.0, 3.0]] {
        let (forged, payload) = sample(0, 10, params);
        fs::write(&path, forged.file(&payload)).unwrap();
        let error = store.load(0, &mut [0.0; 2]).unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let error = store.load(0, &mut [0.0; 2]).unwrap_err();
    assert!(
        matches!(&error, Error::Io { path: p, .. } if *p == path),
        "{error}"
    );
}

#[test]
fn a_folder_without_samples_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |folder: &Path| Store::open(folder).map(drop).unwrap_err();
    assert!(matches!(refused(folder.path()), Error::Data { .. }));
    let nothing = folder.path().join("nothing");
    assert!(matches!(refused(&nothing), Error::Io { path, .. } if path == nothing));
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(refused(&file), Error::Io { path, .. } if path == file));
    // A new store does not begin there either.
    let provenance = Provenance {
        config: String::new(),
        model: String::new(),
        seed: 0,
        corpus_sha256: [0; 32],
        baseline_sha256: [0; 32],
        vocabulary: String::new(),
        dtype: Dtype::F32,
        n_params: 1,
    };
    let error = Store::create(&file, provenance.clone())
        .map(drop)
        .unwrap_err();
    assert!(
        matches!(&error, Error::Io { path, .. } if *path == file),
        "{error}"
    );
    // Beside other files it does.
    assert_eq!(
        Store::create(folder.path(), provenance).unwrap().foreign(),
        [file]
    );
}
