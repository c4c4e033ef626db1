//! What several test files share.
#![allow(dead_code)] // no test file uses all of it

pub mod adam_path;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod amx;
#[cfg(feature = "cli")]
pub mod command;
pub mod discretised;
pub mod ensure;
pub mod forged;
pub mod kernel;
pub mod model;
pub mod operand;
pub mod place;
pub mod plane;
pub mod reference;
pub mod replicas;
pub mod series;
pub mod simulated_disk;
pub mod writing;

use bnn::backend::Cpu;
use bnn::rng::{Stream, StreamTag};

/// Every instruction set of this machine with 1, 2 and 3 threads, the set forced.
pub fn every_cpu() -> Vec<Cpu> {
    let of = |isa| {
        (1..=3).map(move |threads| {
            let cpu = Cpu::with_isa(threads, isa).unwrap();
            assert_eq!((cpu.isa(), cpu.threads()), (isa, threads));
            cpu
        })
    };
    ensure::every_isa().into_iter().flat_map(of).collect()
}

/// Standard normals, other ones for each `what`.
pub fn normals(n: usize, what: u64) -> Vec<f32> {
    let mut z = vec![0.0; n];
    Stream::new(20_260, StreamTag::Evaluate, 0).fill_normal(what, &mut z);
    z
}

/// Tokens below `v`, other ones for each `what`.
pub fn tokens(n: usize, v: usize, what: u64) -> Vec<u16> {
    let stream = Stream::new(20_261, StreamTag::Evaluate, 0);
    (0..n as u64)
        .map(|i| stream.below(v as u64, what, i) as u16)
        .collect()
}

pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| v as f64).collect()
}

pub fn norm(x: &[f64]) -> f64 {
    x.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Norm of the difference.
pub fn distance(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let difference: Vec<f64> = got.iter().zip(want).map(|(&g, w)| g as f64 - w).collect();
    norm(&difference)
}

/// Norm of the difference over the norm of what is wanted.
pub fn relative_error(got: &[f32], want: &[f64]) -> f64 {
    distance(got, want) / norm(want)
}

/// One step of a chain that samples, at which the temperatures are taken where they are due.
pub fn step_watched(
    chain: &mut bnn::samplers::Chain<Cpu>,
    batch: &bnn::data::Batch,
    temperatures: &mut bnn::samplers::Temperatures,
) -> bnn::Result<bnn::samplers::ChainReport> {
    let s = chain.sampler();
    let sampled = s.step().saturating_sub(s.config().warmup_steps);
    let due = chain.phase() == bnn::samplers::Phase::Sampling && temperatures.due(sampled);
    let report = chain.step_observed(batch, |s, grad| {
        if due {
            temperatures.read(s, grad)
        } else {
            Ok(())
        }
    })?;
    if due {
        temperatures.keep();
    }
    Ok(report)
}

/// The exact bits, so that a NaN equals itself and 0 differs from -0.
pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

/// A file of `tests/data`.
pub fn data(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// The tensors and the metadata of a safetensors file.
pub struct Reference {
    bytes: Vec<u8>,
}

impl Reference {
    pub fn open(name: &str) -> Self {
        Self {
            bytes: std::fs::read(data(name)).unwrap(),
        }
    }

    fn bytes_of(&self, name: &str) -> Vec<[u8; 4]> {
        let file = safetensors::SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let four = |b: &[u8]| b.try_into().unwrap();
        view.data().chunks_exact(4).map(four).collect()
    }

    pub fn f32(&self, name: &str) -> Vec<f32> {
        let all = self.bytes_of(name);
        all.into_iter().map(f32::from_le_bytes).collect()
    }

    pub fn f64(&self, name: &str) -> Vec<f64> {
        let file = safetensors::SafeTensors::deserialize(&self.bytes).unwrap();
        let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(view.dtype(), safetensors::Dtype::F64);
        let eight = |b: &[u8]| f64::from_le_bytes(b.try_into().unwrap());
        view.data().chunks_exact(8).map(eight).collect()
    }

    pub fn tokens(&self, name: &str) -> Vec<u16> {
        let all = self.bytes_of(name);
        let token = |b| u16::try_from(i32::from_le_bytes(b)).unwrap();
        all.into_iter().map(token).collect()
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        let file = safetensors::SafeTensors::deserialize(&self.bytes).unwrap();
        file.tensor(name).unwrap().shape().to_vec()
    }

    pub fn metadata(&self, key: &str) -> serde_json::Value {
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&self.bytes).unwrap();
        serde_json::from_str(&metadata.metadata().as_ref().unwrap()[key]).unwrap()
    }
}
