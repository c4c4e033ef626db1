//! Any container, read whole; what is accepted is written again with the same bytes.
#![no_main]

use bnn::store::{self, Dtype, Kind, Reader, TensorData};
use bnn_fuzz::{cost, place::Place, sealed};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use std::path::Path;
use std::sync::LazyLock;

static PLACE: LazyLock<Place> = LazyLock::new(|| Place::new("container"));

type Elements = (Vec<f32>, Vec<f64>);

/// Reads a whole file of a kind.
fn read(path: &Path, kind: Kind) -> Option<(Reader, Vec<Elements>)> {
    let header = store::read_header(path);
    let mut reader = Reader::open(path, kind).ok()?;
    assert!(header.is_ok());
    let mut all = Vec::new();
    for info in reader.tensors().to_vec() {
        let n = info.len as usize;
        let (mut singles, mut doubles) = (Vec::new(), Vec::new());
        let read = if info.dtype == Dtype::F64 {
            doubles.resize(n, 0.0);
            reader.read_f64(&info.name, &mut doubles)
        } else {
            singles.resize(n, 0.0);
            reader.read_f32(&info.name, &mut singles)
        };
        read.expect("checked when it was opened");
        all.push((singles, doubles));
    }
    Some((reader, all))
}

/// Writes what was read.
fn write(path: &Path, reader: &Reader, all: &[Elements]) {
    let tensors: Vec<_> = reader
        .tensors()
        .iter()
        .zip(all)
        .map(|(info, (x, y))| {
            let data = match info.dtype {
                Dtype::F32 => TensorData::F32(x),
                Dtype::Bf16 => TensorData::Bf16(x),
                Dtype::F64 => TensorData::F64(y),
            };
            (info.name.as_str(), data)
        })
        .collect();
    store::write(path, reader.header(), &tensors).expect("it was read");
}

fuzz_target!(|bytes: &[u8]| {
    let path = PLACE.file("file.bnn", bytes);
    for kind in [Kind::Sample, Kind::Chain, Kind::Baseline] {
        let read = cost::within(bytes.len(), || read(&path, kind));
        if let Some((reader, all)) = read {
            let copy = PLACE.path("copy.bnn");
            write(&copy, &reader, &all);
            assert_eq!(std::fs::read(copy).expect("a copy"), bytes);
        }
    }
});
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    sealed::mutate(data, size, max_size, seed)
});
