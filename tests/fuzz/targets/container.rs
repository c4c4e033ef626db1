//! Any container, read whole; what is accepted is written again with the same bytes.
#![no_main]

use bnn::store::{self, Dtype, Kind, Reader, TensorData};
use bnn_fuzz::{cost, place::Place, sealed};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use std::sync::LazyLock;

static PLACE: LazyLock<Place> = LazyLock::new(|| Place::new("container"));

fn read(bytes: &[u8]) {
    let path = PLACE.file("file.bnn", bytes);
    let header = store::read_header(&path);
    for kind in [Kind::Sample, Kind::Chain, Kind::Baseline] {
        let Ok(mut reader) = Reader::open(&path, kind) else {
            continue;
        };
        assert!(header.is_ok());
        let infos = reader.tensors().to_vec();
        let mut read: Vec<(Vec<f32>, Vec<f64>)> = Vec::new();
        for info in &infos {
            let n = info.len as usize;
            let (mut singles, mut doubles) = (Vec::new(), Vec::new());
            if info.dtype == Dtype::F64 {
                doubles.resize(n, 0.0);
                reader
                    .read_f64(&info.name, &mut doubles)
                    .expect("checked when it was opened");
            } else {
                singles.resize(n, 0.0);
                reader
                    .read_f32(&info.name, &mut singles)
                    .expect("checked when it was opened");
            }
            read.push((singles, doubles));
        }
        let again = infos.iter().zip(&read).map(|(info, (x, y))| {
            let data = match info.dtype {
                Dtype::F32 => TensorData::F32(x),
                Dtype::Bf16 => TensorData::Bf16(x),
                Dtype::F64 => TensorData::F64(y),
            };
            (info.name.as_str(), data)
        });
        let copy = PLACE.path("copy.bnn");
        store::write(&copy, reader.header(), &again.collect::<Vec<_>>()).expect("it was read");
        assert_eq!(std::fs::read(copy).expect("a copy"), bytes);
    }
}

fuzz_target!(|bytes: &[u8]| cost::within(bytes.len(), || read(bytes)));
fuzz_mutator!(
    |data: &mut [u8], size: usize, max_size: usize, seed: u32| sealed::mutate(
        data, size, max_size, seed
    )
);
