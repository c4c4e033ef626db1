//! A trace file whose checksums are right: what is accepted gives as many numbers as it says it has, and no more.
#![no_main]

use bnn::store::{TraceEnd, TraceReader};
use bnn_fuzz::{cost, place::Place};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

static PLACE: LazyLock<Place> = LazyLock::new(|| Place::new("trace"));

/// Names that series have here.
const NAMES: [&str; 4] = ["trace.log_lik", "temperatures", "a", ""];

/// What is left of an input.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A length: the right one, or any.
    fn length(&mut self, right: u64) -> u64 {
        if self.byte() < 240 {
            return right;
        }
        let mut any = [0; 8];
        let taken = self.take(8);
        any[..taken.len()].copy_from_slice(taken);
        u64::from_le_bytes(any)
    }
}

/// One series of a block, mostly in order.
fn part(input: &mut Input<'_>) -> Vec<u8> {
    let name = NAMES[usize::from(input.byte()) % NAMES.len()];
    let code = u32::from(input.byte() % 4);
    let width = if code == 2 { 8 } else { 4 };
    let n = usize::from(input.byte() % 16);
    let mut bytes = input.length(name.len() as u64).to_le_bytes().to_vec();
    bytes.extend(name.as_bytes());
    bytes.extend(code.to_le_bytes());
    bytes.extend(input.length(n as u64).to_le_bytes());
    let values = input.take(width * n);
    bytes.extend(values);
    bytes.resize(bytes.len() + width * n - values.len(), 0);
    bytes
}

/// The payload of a block: series, or any bytes.
fn payload(input: &mut Input<'_>) -> Vec<u8> {
    if input.byte() < 32 {
        let n = usize::from(input.byte());
        return input.take(n).to_vec();
    }
    (0..input.byte() % 4).flat_map(|_| part(input)).collect()
}

/// A file of several blocks, and the end that a checkpoint would name.
fn file(input: &mut Input<'_>) -> (Vec<u8>, TraceEnd) {
    let mut bytes = b"BNNTRACE\x01\0\0\0".to_vec();
    bytes.extend([7; 32]);
    let mut before = Sha256::digest(&bytes);
    bytes.extend(before);
    let blocks = input.byte() % 4;
    for _ in 0..blocks {
        let payload = payload(input);
        let length = input.length(payload.len() as u64);
        let block = [&length.to_le_bytes(), &[0; 16][..], &payload].concat();
        before = Sha256::new_with_prefix(before)
            .chain_update(&block)
            .finalize();
        bytes.extend(block);
        bytes.extend(before);
    }
    let end = TraceEnd {
        bytes: input.length(bytes.len() as u64),
        blocks: input.length(blocks.into()),
        sha256: before.into(),
    };
    (bytes, end)
}

fuzz_target!(|data: &[u8]| {
    let (bytes, end) = file(&mut Input(data));
    let path = PLACE.file("file.trace", &bytes);
    let _ = cost::within(bytes.len(), || {
        let mut reader = TraceReader::open(&path, Some([7; 32]), &end)?;
        for name in NAMES {
            let n = reader.len(name);
            assert!(n <= bytes.len() as u64);
            let read = (reader.read_f64(name, n), reader.read_f32(name, n));
            for got in [read.0.map(|v| v.len()), read.1.map(|v| v.len())] {
                assert!(got.is_err() || got.is_ok_and(|len| len as u64 == n));
            }
            assert!(reader.read_f64(name, n + 1).is_err());
            assert!(reader.read_f32(name, u64::MAX).is_err());
        }
        bnn::Result::Ok(())
    });
});
