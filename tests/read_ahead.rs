//! Samples of a store read ahead of the work on them.

use bnn::store::{Dtype, Provenance, Store};
use tempfile::TempDir;

/// Parameters of a sample: more than one piece of a file is read at a time.
const N: usize = 100_000;

/// A store of four samples.
fn filled() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let provenance = Provenance {
        config: "method = \"baoa\"".into(),
        model: "{\"n_layer\":1}".into(),
        seed: 42,
        corpus_sha256: [1; 32],
        baseline_sha256: [2; 32],
        vocabulary: "abc".into(),
        dtype: Dtype::F32,
        n_params: N as u64,
    };
    let mut store = Store::create(folder.path().join("samples"), provenance).unwrap();
    for step in 0..4 {
        let params: Vec<f32> = (0..N).map(|i| (i * 4 + step) as f32).collect();
        store.append(0, step as u64, &params).unwrap();
    }
    (folder, store)
}

/// Read ahead: each sample once it is asked for and in that order, the same one twice too, whatever it takes to work on it.
#[test]
fn samples_that_are_read_ahead_come_in_turn() {
    let (_folder, store) = filled();
    let order: Vec<usize> = (0..store.len())
        .chain([0, 0])
        .chain((0..store.len()).rev())
        .collect();
    let mut seen = vec![];
    store
        .for_each(order.iter().copied(), |i, params| {
            let mut want = vec![0.0; N];
            store.load(i, &mut want)?;
            assert!(*params == want, "sample {i}");
            seen.push(i);
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, order);
    store
        .for_each(std::iter::empty(), |_, _| panic!("nothing was asked for"))
        .unwrap();
}

/// The first error ends it, the reader's or the caller's, when what comes before has been worked on.
#[test]
fn reading_ahead_ends_at_the_first_error() {
    let (folder, store) = filled();
    let worked = |indices: Vec<usize>, fail_at: usize| {
        let mut seen = vec![];
        let result = store.for_each(indices.into_iter(), |i, _| {
            if i == fail_at {
                // Time for the reader to fill what it has and to wait for more.
                std::thread::sleep(std::time::Duration::from_millis(50));
                Err(bnn::Error::out_of_range("work", "no failure", i))
            } else {
                seen.push(i);
                Ok(())
            }
        });
        (seen, result.unwrap_err().to_string())
    };
    let (seen, error) = worked(vec![0, 1, 2, 3], 2);
    assert_eq!(seen, [0, 1]);
    assert!(error.contains("no failure"), "{error}");
    // The reader waits for a buffer that never comes back: it hung here while the way back outlived the work.
    let (seen, _) = worked(vec![0, 1, 2, 3, 1, 2, 3], 0);
    assert_eq!(seen, [0; 0]);
    let (seen, error) = worked(vec![0, 1, 99, 2], 50);
    assert_eq!(seen, [0, 1]);
    assert!(error.contains("sample index"), "{error}");
    // A flipped byte in sample 1's parameters.
    let path = store.folder().join(store.ids()[1].file_name());
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (seen, error) = worked(vec![0, 1, 2], 50);
    assert_eq!(seen, [0]);
    assert!(error.contains("checksum"), "{error}");
    drop(folder);
}
