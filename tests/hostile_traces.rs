//! Trace files whose checksums are right and whose lengths and names are not: each is refused, and none costs memory.

#[path = "common/lengths.rs"]
mod lengths;

use bnn::Error;
use bnn::store::{TraceEnd, TraceReader};
use lengths::{HOSTILE, peak};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// A trace file with one block of that payload, its checksums right, and the end that a checkpoint would name.
fn trace(dir: &Path, payload: &[u8], length: u64) -> Result<TraceReader, Error> {
    let mut bytes = b"BNNTRACE\x01\0\0\0".to_vec();
    bytes.extend([7; 32]);
    let before = Sha256::digest(&bytes);
    bytes.extend(before);
    let mut block = length.to_le_bytes().to_vec();
    block.extend([0; 16]);
    block.extend(payload);
    let sha256 = Sha256::new_with_prefix(before)
        .chain_update(&block)
        .finalize();
    bytes.extend(block);
    bytes.extend(sha256);
    let path = dir.join("forged.trace");
    fs::write(&path, &bytes).unwrap();
    let end = TraceEnd {
        bytes: bytes.len() as u64,
        blocks: 1,
        sha256: sha256.into(),
    };
    TraceReader::open(&path, Some([7; 32]), &end)
}

/// One series in a block: the length of its name, its name, its type, and how many values it has.
fn part(name_len: u64, name: &[u8], code: u32, len: u64, values: &[f64]) -> Vec<u8> {
    let mut bytes = name_len.to_le_bytes().to_vec();
    bytes.extend(name);
    bytes.extend(code.to_le_bytes());
    bytes.extend(len.to_le_bytes());
    values.iter().for_each(|x| bytes.extend(x.to_le_bytes()));
    bytes
}

/// Broken: a count of values taken from the block without looking at what is left of it.
#[test]
fn hostile_traces_are_refused_and_allocate_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let open = |payload: &[u8]| trace(dir.path(), payload, payload.len() as u64);
    let whole = part(1, b"a", 2, 2, &[1.0, 2.0]);
    let mut reader = open(&whole).unwrap();
    assert_eq!(reader.read_f64("a", 1).unwrap(), [2.0]);
    let before = peak();
    for n in HOSTILE {
        for payload in [
            part(n, b"a", 2, 2, &[1.0, 2.0]),
            part(1, b"a", 2, n, &[1.0, 2.0]),
            part(1, b"a", 0, n, &[1.0, 2.0]),
        ] {
            let error = open(&payload).unwrap_err();
            assert!(matches!(error, Error::BadHeader { .. }), "{error}");
        }
        let error = trace(dir.path(), &whole, n).unwrap_err();
        assert!(matches!(error, Error::Data { .. }), "{error}");
        // More values than there are, as a checkpoint may count them.
        assert!(open(&whole).unwrap().read_f64("a", n).is_err());
    }
    for payload in [
        part(1, b"a", 1, 2, &[1.0]),
        part(1, b"a", 9, 1, &[1.0]),
        part(1, b"\xff", 2, 1, &[1.0]),
        part(0, b"", 2, 1, &[1.0]),
        part(1, b"a", 2, 1, &[1.0])[..20].to_vec(),
        [part(1, b"a", 2, 1, &[1.0]), part(1, b"a", 0, 2, &[1.0])].concat(),
        (0..65u8).flat_map(|i| part(1, &[i], 2, 0, &[])).collect(),
    ] {
        let error = open(&payload).unwrap_err();
        assert!(matches!(error, Error::BadHeader { .. }), "{error}");
    }
    let mut reader = open(&part(1, b"a", 2, 1, &[f64::NAN])).unwrap();
    assert!(matches!(reader.read_f64("a", 1), Err(Error::Data { .. })));
    assert!(peak() - before < 1 << 33);
}
