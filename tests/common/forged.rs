//! A file changed by someone who knows the format: its checksums are right.

use bnn::store::{self, Dtype, Header, Kind, Reader, TensorData};
use std::collections::BTreeMap;
use std::path::Path;

/// What is in a file, to be changed.
pub struct Parts {
    pub header: Header,
    pub singles: BTreeMap<String, Vec<f32>>,
    pub doubles: BTreeMap<String, Vec<f64>>,
}

impl Parts {
    /// A counter that is there.
    pub fn counter(&mut self, name: &str) -> &mut u64 {
        let found = self.header.counters.iter_mut().find(|(n, _)| n == name);
        &mut found.expect(name).1
    }

    /// A tensor of f32s that is there.
    #[allow(dead_code)] // not every test file has one to change
    pub fn singles(&mut self, name: &str) -> &mut Vec<f32> {
        self.singles.get_mut(name).expect(name)
    }

    /// A tensor of f64s that is there.
    pub fn doubles(&mut self, name: &str) -> &mut Vec<f64> {
        self.doubles.get_mut(name).expect(name)
    }
}

/// Writes to `to` what `change` makes of the file of that kind at `from`.
pub fn forge(from: &Path, kind: Kind, to: &Path, change: impl FnOnce(&mut Parts)) {
    let mut r = Reader::open(from, kind).expect("a whole file");
    let mut parts = Parts {
        header: r.header().clone(),
        singles: BTreeMap::new(),
        doubles: BTreeMap::new(),
    };
    for info in r.tensors().to_vec() {
        let len = info.len as usize;
        match info.dtype {
            Dtype::F64 => {
                let mut v = vec![0.0; len];
                r.read_f64(&info.name, &mut v).expect("f64s");
                parts.doubles.insert(info.name, v);
            }
            _ => {
                let mut v = vec![0.0; len];
                r.read_f32(&info.name, &mut v).expect("f32s");
                parts.singles.insert(info.name, v);
            }
        }
    }
    change(&mut parts);
    let singles = parts.singles.iter();
    let doubles = parts.doubles.iter();
    let tensors: Vec<(&str, TensorData)> = singles
        .map(|(name, v)| (name.as_str(), TensorData::F32(v)))
        .chain(doubles.map(|(name, v)| (name.as_str(), TensorData::F64(v))))
        .collect();
    store::write(to, &parts.header, &tensors).expect("a file");
}
