//! The store: what is written comes back, in order, whole or not at all.

use std::fs;
use std::path::Path;

use bnn::Error;
use bnn::store::{
    self, Dtype, Header, Kind, Provenance, Reader, SampleId, Store, TensorData, TensorInfo,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tempfile::{TempDir, tempdir};

/// More than one chunk (256 KiB) in every data type, and no multiple of one.
const LONG: usize = 200_003;

fn header(kind: Kind) -> Header {
    Header {
        config: "[sampler]\nmethod = \"baoa\"\n".into(),
        model: r#"{"n_layer":6}"#.into(),
        seed: 42,
        chain: 3,
        step: 1200,
        corpus_sha256: [1; 32],
        baseline_sha256: [2; 32],
        vocabulary: "\n !ab".into(),
        scalars: vec![("log_lik".into(), -1.5), ("lowest".into(), f64::INFINITY)],
        counters: vec![("n_samples".into(), u64::MAX)],
        ..Header::new(kind)
    }
}

/// Numbers of all magnitudes, the same in every run.
fn numbers(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| (i as f32 * 0.37).sin() * 2f32.powi((i % 61) as i32 - 30))
        .collect()
}

/// bf16 by another way than the library's: the nearer of the two neighbours, or the one whose last bit is 0.
fn nearest_bf16(x: f32) -> f32 {
    let towards_zero = f32::from_bits(x.to_bits() & 0xffff_0000);
    let away = f32::from_bits((x.to_bits() & 0xffff_0000) + 0x1_0000);
    let (below, above) = (
        (x as f64 - towards_zero as f64).abs(),
        (away as f64 - x as f64).abs(),
    );
    let even = towards_zero.to_bits() & 0x1_0000 == 0;
    if below < above || (below == above && even) {
        towards_zero
    } else {
        away
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn long_tensors_come_back_in_any_order() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("chain.bnn");
    let theta = numbers(LONG);
    let sums: Vec<f64> = theta.iter().map(|&x| x as f64 / 3.0).collect();
    let tensors = [
        ("theta", TensorData::F32(&theta)),
        ("nothing", TensorData::F32(&[])),
        ("rounded", TensorData::Bf16(&theta)),
        ("sums", TensorData::F64(&sums)),
    ];
    store::write(&path, &header(Kind::Chain), &tensors).unwrap();

    let mut reader = Reader::open(&path, Kind::Chain).unwrap();
    let mut singles = vec![0.0; LONG];
    let mut doubles = vec![0.0; LONG];
    reader.read_f64("sums", &mut doubles).unwrap();
    assert_eq!(doubles, sums);
    reader.read_f32("rounded", &mut singles).unwrap();
    let rounded: Vec<f32> = theta.iter().map(|&x| nearest_bf16(x)).collect();
    assert_eq!(singles, rounded);
    reader.read_f32("nothing", &mut []).unwrap();
    reader.read_f32("theta", &mut singles).unwrap();
    assert_eq!(singles, theta);
}

#[test]
fn the_header_comes_back_and_is_readable_alone() {
    let folder = tempdir().unwrap();
    for kind in [Kind::Sample, Kind::Chain, Kind::Baseline] {
        let path = folder.path().join("file.bnn");
        store::write(
            &path,
            &header(kind),
            &[("wte", TensorData::Bf16(&[1.0, 2.0]))],
        )
        .unwrap();
        let (read, tensors) = store::read_header(&path).unwrap();
        assert_eq!(read, header(kind));
        let wte = TensorInfo {
            name: "wte".into(),
            dtype: Dtype::Bf16,
            len: 2,
        };
        assert_eq!(tensors, [wte]);

        let reader = Reader::open(&path, kind).unwrap();
        assert_eq!(reader.scalar("log_lik").unwrap(), -1.5);
        assert_eq!(reader.scalar("lowest").unwrap(), f64::INFINITY);
        assert_eq!(reader.counter("n_samples").unwrap(), u64::MAX);
        for other in [Kind::Sample, Kind::Chain, Kind::Baseline] {
            if other != kind {
                let error = Reader::open(&path, other).map(drop).unwrap_err();
                assert!(
                    matches!(&error, Error::Mismatch { what, .. } if what == "the file's kind"),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn wrong_names_types_and_lengths_are_told() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("chain.bnn");
    let tensors = [
        ("theta", TensorData::F32(&[1.0, 2.0])),
        ("sums", TensorData::F64(&[3.0])),
    ];
    store::write(&path, &header(Kind::Chain), &tensors).unwrap();
    let mut reader = Reader::open(&path, Kind::Chain).unwrap();
    let shapes = [
        reader.read_f32("theta", &mut [0.0; 1]).unwrap_err(),
        reader.read_f32("theta", &mut [0.0; 3]).unwrap_err(),
        reader.read_f64("sums", &mut []).unwrap_err(),
    ];
    for error in shapes {
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
    let mismatches = [
        (reader.read_f64("theta", &mut [0.0; 2]), "data type"),
        (reader.read_f32("sums", &mut [0.0; 1]), "data type"),
        (reader.read_f32("momenta", &mut [0.0; 2]), "tensors"),
        (reader.scalar("n_samples").map(drop), "scalars"),
        (reader.counter("log_lik").map(drop), "counters"),
    ];
    for (result, reason) in mismatches {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, Error::Mismatch { what, .. } if what.contains(reason)),
            "{error}"
        );
    }
    // None of it spoils what follows.
    let mut theta = [0.0; 2];
    reader.read_f32("theta", &mut theta).unwrap();
    assert_eq!(theta, [1.0, 2.0]);
}

#[test]
fn what_cannot_be_stored_leaves_the_old_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("chain.bnn");
    let header = header(Kind::Chain);
    let fine = numbers(LONG);
    store::write(&path, &header, &[("theta", TensorData::F32(&fine))]).unwrap();
    let before = fs::read(&path).unwrap();

    // In the last chunk, when most of the new file is written.
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut bad = fine.clone();
        bad[LONG - 1] = value;
        let sums: Vec<f64> = bad.iter().map(|&x| x.into()).collect();
        for data in [
            TensorData::F32(&bad),
            TensorData::Bf16(&bad),
            TensorData::F64(&sums),
        ] {
            let error = store::write(&path, &header, &[("theta", data)]).unwrap_err();
            assert!(
                matches!(&error, Error::NotFinite { step: 1200, tensor, value: v }
                    if tensor == "theta" && v.to_bits() == value.to_bits()),
                "{error}"
            );
        }
    }
    // Finite, but past the end of bf16.
    let error = store::write(
        &path,
        &header,
        &[("theta", TensorData::Bf16(&[1.0, f32::MAX]))],
    );
    assert!(matches!(error, Err(Error::OutOfRange { .. })), "{error:?}");

    let twice = [("a", TensorData::F32(&[])), ("a", TensorData::F64(&[]))];
    let unnamed = [("", TensorData::F32(&[]))];
    for tensors in [&twice[..], &unnamed] {
        let error = store::write(&path, &header, tensors).unwrap_err();
        assert!(matches!(error, Error::OutOfRange { .. }), "{error}");
    }
    let mut large = header.clone();
    large.vocabulary = "x".repeat(store::HEADER_MAX as usize);
    let error = store::write(&path, &large, &[]).unwrap_err();
    assert!(matches!(error, Error::OutOfRange { .. }), "{error}");

    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names(folder.path()), ["chain.bnn"]);
}

#[test]
fn a_place_that_cannot_be_written_is_named_and_the_rest_left_alone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("chain.bnn");
    let tensors = [("theta", TensorData::F32(&[1.0]))];
    store::write(&path, &header(Kind::Chain), &tensors).unwrap();
    let before = fs::read(&path).unwrap();
    fs::create_dir(folder.path().join("full")).unwrap();
    fs::write(folder.path().join("full/of"), "things").unwrap();

    let places = [
        folder.path().join("nowhere/chain.bnn"),
        path.join("chain.bnn"),     // its folder is a file
        folder.path().join("full"), // it is a folder itself: only the renaming fails
    ];
    for place in places {
        let error = store::write(&place, &header(Kind::Chain), &tensors).unwrap_err();
        assert!(
            matches!(&error, Error::Io { path, .. } if *path == place),
            "{error}"
        );
    }
    let error = store::write("..", &header(Kind::Chain), &tensors).unwrap_err();
    assert!(matches!(error, Error::OutOfRange { .. }), "{error}");

    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names(folder.path()), ["chain.bnn", "full"]);
}

#[test]
fn a_failing_writer_leaves_the_old_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("report.json");
    let write = |text: &'static str, outcome: bnn::Result<()>| {
        store::replace_file(&path, |file| {
            std::io::Write::write_all(file, text.as_bytes()).map_err(Error::io(&path))?;
            outcome
        })
    };
    write("old", Ok(())).unwrap();
    assert!(matches!(
        write("half of the n", Err(Error::Interrupted)),
        Err(Error::Interrupted)
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    write("new", Ok(())).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(names(folder.path()), ["report.json"]);
}

#[test]
fn leftovers_of_a_process_with_our_number_do_not_stop_us() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("chain.bnn");
    // More than this file's tests have written by the time that this one writes.
    let leftovers = 3000;
    for n in 0..leftovers {
        let name = format!(".chain.bnn.{}.{n}.tmp", std::process::id());
        fs::write(folder.path().join(name), "half").unwrap();
    }
    store::write(&path, &header(Kind::Chain), &[]).unwrap();
    Reader::open(&path, Kind::Chain).unwrap();
    assert_eq!(names(folder.path()).len(), leftovers + 1);
}

/// As `hexdump -C` prints it.
fn hexdump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (line, row) in bytes.chunks(16).enumerate() {
        let mut hex = String::new();
        for (i, byte) in row.iter().enumerate() {
            hex += if i == 8 { "  " } else { " " };
            hex += &format!("{byte:02x}");
        }
        let text: String = row
            .iter()
            .map(|&b| {
                if (32..127).contains(&b) {
                    b as char
                } else {
                    '.'
                }
            })
            .collect();
        out += &format!("{:08x} {hex:<49}  |{text}|\n", 16 * line);
    }
    out + &format!("{:08x}\n", bytes.len())
}

#[test]
fn the_example_in_the_documentation_is_a_real_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("example.bnn");
    let header = Header {
        config: "T = 1".into(),
        model: "{}".into(),
        seed: 42,
        chain: 1,
        step: 300,
        corpus_sha256: [0x11; 32],
        baseline_sha256: [0x22; 32],
        vocabulary: "ab".into(),
        scalars: vec![("h".into(), 0.5)],
        counters: vec![("n".into(), 7)],
        ..Header::new(Kind::Chain)
    };
    let tensors = [
        ("theta", TensorData::F32(&[1.0, -2.0])),
        ("m", TensorData::Bf16(&[1.5])),
    ];
    store::write(&path, &header, &tensors).unwrap();
    let bytes = fs::read(&path).unwrap();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/format.md");
    let docs = fs::read_to_string(docs).unwrap();
    // Three f32 or bf16 elements: 10 bytes.
    let sizes = format!(
        "{} bytes (H = {}, P = 10)",
        bytes.len(),
        bytes.len() - 84 - 10
    );
    for expected in [sizes, hexdump(&bytes)] {
        assert!(
            docs.contains(&expected),
            "docs/format.md must hold this:\n{expected}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn f32_is_exact(
        x in prop::collection::vec(any::<f32>().prop_filter("finite", |x| x.is_finite()), 0..300),
        seed in any::<u64>(),
        chain in any::<u32>(),
        step in any::<u64>(),
        config in ".{0,40}",
    ) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("x.bnn");
        let header = Header { seed, chain, step, config, ..header(Kind::Sample) };
        store::write(&path, &header, &[("x", TensorData::F32(&x))]).unwrap();
        let mut reader = Reader::open(&path, Kind::Sample).unwrap();
        prop_assert_eq!(reader.header(), &header);
        let mut read = vec![0.0; x.len()];
        reader.read_f32("x", &mut read).unwrap();
        // The bits, as -0 must stay -0.
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read), bits(&x));
    }

    /// Rounding a normal number to 8 significant bits errs by at most half a unit of the last: 2^-8 of the number.
    #[test]
    fn bf16_is_near_and_idempotent(
        x in prop::collection::vec((-3e38f32..3e38).prop_union(-1f32..1.0), 0..300)
    ) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("x.bnn");
        let round = |x: &[f32]| {
            store::write(&path, &header(Kind::Sample), &[("x", TensorData::Bf16(x))]).unwrap();
            let mut read = vec![0.0; x.len()];
            let mut reader = Reader::open(&path, Kind::Sample).unwrap();
            reader.read_f32("x", &mut read).unwrap();
            read
        };
        let once = round(&x);
        for (&x, &y) in x.iter().zip(&once) {
            if x.is_normal() {
                prop_assert!((x as f64 - y as f64).abs() <= x.abs() as f64 / 256.0, "{} {}", x, y);
            }
            prop_assert_eq!(y, nearest_bf16(x));
        }
        prop_assert_eq!(round(&once), once);
    }
}

const N: usize = 5;

fn provenance(dtype: Dtype) -> Provenance {
    let header = header(Kind::Sample);
    Provenance {
        config: header.config,
        model: header.model,
        seed: header.seed,
        corpus_sha256: header.corpus_sha256,
        baseline_sha256: header.baseline_sha256,
        vocabulary: header.vocabulary,
        dtype,
        n_params: N as u64,
    }
}

/// Distinct parameters for each sample; bf16 rounds some of them.
fn params(chain: u32, step: u64) -> [f32; N] {
    std::array::from_fn(|i| (chain as f32 + 0.1) * (step as f32 + 1.0) + i as f32)
}

fn id(chain: u32, step: u64) -> SampleId {
    SampleId { chain, step }
}

/// Two chains: 0 with steps 10, 20, …, 70 and 1 with 10, 20, 30.
fn filled(dtype: Dtype) -> (TempDir, Store) {
    let folder = tempdir().unwrap();
    let mut store = Store::create(folder.path(), provenance(dtype)).unwrap();
    for (chain, n) in [(1, 3), (0, 7)] {
        for step in (1..=n).map(|i| 10 * i) {
            store.append(chain, step, &params(chain, step)).unwrap();
        }
    }
    (folder, store)
}

fn steps(store: &Store, chain: u32) -> Vec<u64> {
    let ids = store.ids().iter().filter(|id| id.chain == chain);
    ids.map(|id| id.step).collect()
}

#[test]
fn samples_come_back_in_order_whatever_the_order_of_writing() {
    let folder = tempdir().unwrap();
    let samples = folder.path().join("run/samples");
    let mut store = Store::create(&samples, provenance(Dtype::F32)).unwrap();
    assert!(store.is_empty());
    // As names, 100000000 sorts before 99999999 and c100 before c99.
    let ordered = [
        id(0, 0),
        id(0, 99_999_999),
        id(0, 100_000_000),
        id(0, u64::MAX),
        id(99, 5),
        id(100, 4),
        id(u32::MAX, 123),
    ];
    for at in [3, 0, 6, 2, 5, 1, 4] {
        let SampleId { chain, step } = ordered[at];
        store.append(chain, step, &params(chain, step)).unwrap();
    }
    let reopened = Store::open(&samples).unwrap();
    assert_eq!(reopened.provenance(), &provenance(Dtype::F32));
    for store in [&store, &reopened] {
        assert_eq!(store.ids(), ordered);
        assert_eq!(store.len(), ordered.len());
        store.verify().unwrap();
        for (index, id) in ordered.iter().enumerate() {
            let mut read = [0.0; N];
            store.load(index, &mut read).unwrap();
            assert_eq!(read, params(id.chain, id.step));
        }
    }
    assert_eq!(names(&samples)[1], "c00_s100000000.bnn");
    assert!(samples.join("c00_s00000000.bnn").exists());
    assert!(samples.join("c4294967295_s00000123.bnn").exists());
}

#[test]
fn bf16_samples_take_half_the_room_and_are_rounded() {
    let (folder, store) = filled(Dtype::Bf16);
    let mut read = [0.0; N];
    Store::open(folder.path())
        .unwrap()
        .load(8, &mut read)
        .unwrap();
    assert_eq!(store.ids()[8], id(1, 20));
    assert_eq!(read, params(1, 20).map(nearest_bf16));
    assert_ne!(read, params(1, 20));

    let (wide, _) = filled(Dtype::F32);
    let size = |folder: &TempDir| {
        folder
            .path()
            .join("c01_s00000020.bnn")
            .metadata()
            .unwrap()
            .len()
    };
    assert_eq!(size(&wide) - size(&folder), 2 * N as u64);
}

#[test]
fn the_hash_is_that_of_the_parameters_in_order() {
    for (dtype, stored) in [
        (Dtype::F32, (|x| x) as fn(f32) -> f32),
        (Dtype::Bf16, nearest_bf16),
    ] {
        let (folder, store) = filled(dtype);
        let mut bytes = Vec::new();
        for (chain, n) in [(0, 7), (1, 3)] {
            for step in (1..=n).map(|i| 10 * i) {
                for x in params(chain, step) {
                    bytes.extend(stored(x).to_le_bytes());
                }
            }
        }
        let expected: [u8; 32] = Sha256::digest(&bytes).into();
        assert_eq!(store.hash().unwrap(), expected);
        assert_eq!(
            Store::open(folder.path()).unwrap().hash().unwrap(),
            expected
        );
    }
    // Over more than one chunk.
    let folder = tempdir().unwrap();
    let long = Provenance {
        n_params: LONG as u64,
        ..provenance(Dtype::Bf16)
    };
    let mut store = Store::create(folder.path(), long).unwrap();
    let x = numbers(LONG);
    store.append(0, 1, &x).unwrap();
    let rounded: Vec<u8> = x
        .iter()
        .flat_map(|&x| nearest_bf16(x).to_le_bytes())
        .collect();
    assert_eq!(store.hash().unwrap()[..], Sha256::digest(&rounded)[..]);
}

#[test]
fn the_same_run_writes_the_same_bytes() {
    let ((a, _), (b, _)) = (filled(Dtype::F32), filled(Dtype::F32));
    assert_eq!(names(a.path()), names(b.path()));
    for name in names(a.path()) {
        assert_eq!(
            fs::read(a.path().join(&name)).unwrap(),
            fs::read(b.path().join(&name)).unwrap()
        );
    }
}

#[test]
fn a_resumed_run_may_come_past_what_it_stored_but_not_change_it() {
    for dtype in [Dtype::F32, Dtype::Bf16] {
        let (folder, _) = filled(dtype);
        let path = folder.path().join("c00_s00000030.bnn");
        let before = fs::read(&path).unwrap();
        let mut longer = provenance(dtype);
        longer.config = "another number of steps".into();
        let mut store = Store::resume(folder.path(), longer).unwrap();
        store.append(0, 30, &params(0, 30)).unwrap();
        let mut other = params(0, 30);
        other[N - 1] += 1.0;
        let error = store.append(0, 30, &other).unwrap_err();
        assert!(
            matches!(&error, Error::Mismatch { path: p, .. } if *p == path),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), before);
        store.append(0, 80, &params(0, 80)).unwrap();
        assert_eq!(store.len(), 11);
        assert_eq!(Store::open(folder.path()).unwrap().ids(), store.ids());
    }
}

#[test]
fn a_sample_that_another_writer_stored_is_recognised() {
    let (folder, mut store) = filled(Dtype::F32);
    let mut other = Store::resume(folder.path(), provenance(Dtype::F32)).unwrap();
    other.append(2, 10, &params(2, 10)).unwrap();
    assert!(matches!(
        store.append(2, 10, &[0.0; N]),
        Err(Error::Mismatch { .. })
    ));
    assert_eq!(store.len(), 10);
    store.append(2, 10, &params(2, 10)).unwrap();
    assert_eq!(store.ids().last(), Some(&id(2, 10)));
}

#[test]
fn appending_refuses_what_is_no_sample() {
    let (folder, mut store) = filled(Dtype::Bf16);
    let before = names(folder.path());
    for n in [0, N - 1, N + 1] {
        let error = store.append(0, 80, &vec![1.0; n]).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
    let mut bad = params(0, 80);
    bad[2] = f32::NAN;
    let error = store.append(0, 80, &bad).unwrap_err();
    assert!(
        matches!(&error, Error::NotFinite { step: 80, tensor, .. } if tensor == "params"),
        "{error}"
    );
    assert_eq!(store.len(), 10);
    assert_eq!(names(folder.path()), before);

    for (index, n) in [(10, N), (usize::MAX, N), (0, N - 1), (0, N + 1)] {
        let error = store.load(index, &mut vec![0.0; n]).unwrap_err();
        assert!(
            matches!(error, Error::OutOfRange { .. } | Error::Shape { .. }),
            "{error}"
        );
    }
}

#[test]
fn a_folder_that_vanishes_is_an_error_with_the_path() {
    let folder = tempdir().unwrap();
    let samples = folder.path().join("samples");
    let mut store = Store::create(&samples, provenance(Dtype::F32)).unwrap();
    fs::remove_dir(&samples).unwrap();
    let error = store.append(0, 10, &params(0, 10)).unwrap_err();
    assert!(
        matches!(&error, Error::Io { path, .. } if *path == samples.join("c00_s00000010.bnn")),
        "{error}"
    );
    assert!(store.is_empty());
}

#[test]
fn leftovers_of_a_crash_are_passed_over_and_half_a_file_is_not() {
    let (folder, _) = filled(Dtype::F32);
    let whole = fs::read(folder.path().join("c00_s00000010.bnn")).unwrap();
    let half = &whole[..whole.len() / 2];
    for name in [
        ".c00_s00000080.bnn.4711.0.tmp",
        "c00_s00000090.bnn.tmp",
        ".DS_Store",
    ] {
        fs::write(folder.path().join(name), half).unwrap();
    }
    let mut store = Store::open(folder.path()).unwrap();
    assert_eq!(store.len(), 10);
    store.verify().unwrap();
    store.append(0, 80, &params(0, 80)).unwrap();
    let mut read = [0.0; N];
    store.load(7, &mut read).unwrap();
    assert_eq!(read, params(0, 80));

    // Under a sample's own name, as an interrupted copy leaves it.
    let path = folder.path().join("c01_s00000040.bnn");
    fs::write(&path, half).unwrap();
    let error = Store::open(folder.path()).map(drop).unwrap_err();
    assert!(
        matches!(&error, Error::BadLength { path: p, .. } if *p == path),
        "{error}"
    );
    let error = store.append(1, 40, &params(1, 40)).unwrap_err();
    assert!(matches!(error, Error::BadLength { .. }), "{error}");
    // The others stay readable.
    store.verify().unwrap();
}

#[test]
fn thinning_keeps_what_it_is_told_to() {
    let reopened = |folder: &TempDir| Store::open(folder.path()).unwrap();

    let (folder, mut store) = filled(Dtype::F32);
    let deleted = store.thin(|index, id| index == 0 || id == self::id(1, 20));
    assert_eq!(deleted.unwrap(), 8);
    assert_eq!(store.ids(), [id(0, 10), id(1, 20)]);
    assert_eq!(reopened(&folder).ids(), store.ids());
    let mut read = [0.0; N];
    store.load(1, &mut read).unwrap();
    assert_eq!(read, params(1, 20));

    let (folder, mut store) = filled(Dtype::F32);
    assert_eq!(store.keep_last(2).unwrap(), 6);
    assert_eq!(
        (steps(&store, 0), steps(&store, 1)),
        (vec![60, 70], vec![20, 30])
    );
    assert_eq!(reopened(&folder).ids(), store.ids());
    assert_eq!(store.keep_last(2).unwrap(), 0);
    assert_eq!(store.keep_last(0).unwrap(), 4);
    assert!(store.is_empty());
    assert!(names(folder.path()).is_empty());

    let (folder, mut store) = filled(Dtype::F32);
    assert_eq!(store.keep_every(1).unwrap(), 0);
    assert_eq!(store.keep_every(3).unwrap(), 6);
    assert_eq!(
        (steps(&store, 0), steps(&store, 1)),
        (vec![10, 40, 70], vec![10])
    );
    assert_eq!(reopened(&folder).ids(), store.ids());
    assert!(matches!(store.keep_every(0), Err(Error::OutOfRange { .. })));
}

#[test]
fn truncating_drops_what_is_later_in_one_chain() {
    let (folder, mut store) = filled(Dtype::F32);
    assert_eq!(store.truncate_after(0, 45).unwrap(), 3);
    assert_eq!(
        (steps(&store, 0), steps(&store, 1)),
        (vec![10, 20, 30, 40], vec![10, 20, 30])
    );
    assert_eq!(store.truncate_after(1, 20).unwrap(), 1);
    assert_eq!(store.truncate_after(1, 20).unwrap(), 0);
    assert_eq!(store.truncate_after(5, 0).unwrap(), 0);
    assert_eq!(Store::open(folder.path()).unwrap().ids(), store.ids());
    assert_eq!(store.truncate_after(0, 0).unwrap(), 4);
    assert_eq!((steps(&store, 0), steps(&store, 1)), (vec![], vec![10, 20]));
}

#[test]
fn a_file_that_cannot_be_deleted_stays_in_the_list() {
    let (folder, mut store) = filled(Dtype::F32);
    let path = folder.path().join("c00_s00000020.bnn");
    fs::remove_file(&path).unwrap();
    let error = store.truncate_after(0, 10).unwrap_err();
    assert!(
        matches!(&error, Error::Io { path: p, .. } if *p == path),
        "{error}"
    );
    assert_eq!(steps(&store, 0), [10, 20, 30, 40, 50, 60, 70]);
    assert!(folder.path().join("c00_s00000030.bnn").exists());
}

#[test]
fn another_run_is_told_by_what_differs() {
    let (folder, store) = filled(Dtype::F32);
    store.expect(&provenance(Dtype::F32)).unwrap();
    type Change = fn(&mut Provenance);
    let cases: [(&str, Change); 7] = [
        ("seed", |p| p.seed += 1),
        ("model", |p| p.model.push(' ')),
        ("corpus", |p| p.corpus_sha256[0] ^= 1),
        ("baseline", |p| p.baseline_sha256[31] ^= 1),
        ("vocabulary", |p| p.vocabulary.push('c')),
        ("number of parameters", |p| p.n_params += 1),
        ("data type", |p| p.dtype = Dtype::Bf16),
    ];
    for (reason, change) in cases {
        let mut other = provenance(Dtype::F32);
        change(&mut other);
        let errors = [
            store.expect(&other).unwrap_err(),
            Store::resume(folder.path(), other).map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(
                matches!(&error, Error::Mismatch { what, .. } if what.contains(reason)),
                "{reason}: {error}"
            );
        }
    }
    let mut other = provenance(Dtype::F32);
    other.config.clear();
    store.expect(&other).unwrap();
}

#[test]
fn a_new_store_wants_an_empty_folder_and_a_sensible_provenance() {
    let (folder, _) = filled(Dtype::F32);
    let error = Store::create(folder.path(), provenance(Dtype::F32))
        .map(drop)
        .unwrap_err();
    assert!(
        matches!(&error, Error::Conflict(why) if why.contains("10 samples")),
        "{error}"
    );
    let folder = tempdir().unwrap();
    let none = Provenance {
        n_params: 0,
        ..provenance(Dtype::F32)
    };
    for provenance in [none, provenance(Dtype::F64)] {
        let error = Store::create(folder.path(), provenance)
            .map(drop)
            .unwrap_err();
        assert!(matches!(error, Error::OutOfRange { .. }), "{error}");
    }
}
