//! A chain's series as its checkpoint and its trace have them, and a checkpoint without what depends on when it was saved.

use bnn::store::{Dtype, Header, Kind, Reader, TraceEnd, TraceReader, trace_of};
use std::collections::BTreeMap;
use std::path::Path;

/// How much of its trace a checkpoint names; none where it names none.
pub fn end(r: &Reader) -> Option<TraceEnd> {
    let mut sha256 = [0; 32];
    let parts = sha256.as_chunks_mut::<8>().0.iter_mut();
    for (i, to) in parts.enumerate() {
        let name = format!("trace_file.sha256.{i}");
        *to = r.counter(&name).ok()?.to_le_bytes();
    }
    Some(TraceEnd {
        bytes: r.counter("trace_file.bytes").ok()?,
        blocks: r.counter("trace_file.blocks").ok()?,
        sha256,
    })
}

fn open(checkpoint: &Path) -> (Reader, Option<TraceReader>) {
    let r = Reader::open(checkpoint, Kind::Chain).expect("a whole checkpoint");
    let end = end(&r);
    let trace = end.map(|end| TraceReader::open(&trace_of(checkpoint), None, &end));
    (r, trace.map(|t| t.expect("a whole trace")))
}

fn counted(r: &Reader, name: &str) -> u64 {
    r.counter(&format!("in_trace.{name}")).unwrap_or(0)
}

/// A series of doubles.
pub fn doubles(checkpoint: &Path, name: &str) -> Vec<f64> {
    let (r, trace) = open(checkpoint);
    let n = counted(&r, name);
    trace.map_or(Vec::new(), |mut t| t.read_f64(name, n).expect(name))
}

/// A series of singles.
pub fn singles(checkpoint: &Path, name: &str) -> Vec<f32> {
    let (r, trace) = open(checkpoint);
    let n = counted(&r, name);
    trace.map_or(Vec::new(), |mut t| t.read_f32(name, n).expect(name))
}

/// The draws of the probes: log-probabilities and projections.
pub fn draws(checkpoint: &Path) -> (Vec<f32>, Vec<f64>) {
    let scores = singles(checkpoint, "probe.log_prob");
    (scores, doubles(checkpoint, "probe.projection"))
}

/// What a checkpoint and its trace say, but for where the trace's blocks begin and end: that depends on when it was saved.
#[derive(Debug, PartialEq)]
pub struct State {
    header: Header,
    values: BTreeMap<String, Vec<u64>>,
}

/// Reads a checkpoint with its trace.
pub fn state(checkpoint: &Path) -> State {
    let (mut r, _) = open(checkpoint);
    let mut header = r.header().clone();
    header
        .counters
        .retain(|(name, _)| !name.starts_with("trace_file."));
    let mut values = BTreeMap::new();
    for info in r.tensors().to_vec() {
        let len = info.len as usize;
        let bits: Vec<u64> = match info.dtype {
            Dtype::F64 => {
                let mut v = vec![0.0; len];
                r.read_f64(&info.name, &mut v).expect("doubles");
                v.iter().map(|x| x.to_bits()).collect()
            }
            _ => {
                let mut v = vec![0.0; len];
                r.read_f32(&info.name, &mut v).expect("singles");
                v.iter().map(|x| x.to_bits().into()).collect()
            }
        };
        values.insert(info.name, bits);
    }
    let series = header.counters.iter();
    for name in series.filter_map(|(name, _)| name.strip_prefix("in_trace.")) {
        let bits = match name {
            "probe.log_prob" => {
                let v = singles(checkpoint, name);
                v.iter().map(|x| x.to_bits().into()).collect()
            }
            _ => {
                let v = doubles(checkpoint, name);
                v.iter().map(|x| x.to_bits()).collect()
            }
        };
        values.insert(name.to_owned(), bits);
    }
    State { header, values }
}
