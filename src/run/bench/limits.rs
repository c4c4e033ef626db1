//! What the machine can do at most, and how near its matrix products come.

use super::Bench;
use crate::backend::cpu::gemm::{cols, rows, rows_mut};
use crate::backend::{Cpu, Device};
use crate::error::Result;
use crate::rng::{Stream, StreamTag};

/// Products of the shapes' passes: rows, in, out.
pub const LAYERS: [(usize, usize, usize); 10] = [
    (768, 128, 384),
    (768, 128, 128),
    (768, 128, 512),
    (768, 512, 128),
    (768, 128, 65),
    (2048, 384, 1152),
    (2048, 384, 384),
    (2048, 384, 1536),
    (2048, 1536, 384),
    (2048, 384, 65),
];

impl Bench<'_> {
    /// The CPU itself, whose limits and products are measured below the operations.
    fn cpu(&self) -> &Cpu {
        match &self.device {
            Device::Cpu(cpu) => cpu,
        }
    }

    /// What the rest is to be compared with: the best of each, not the median.
    pub fn limits(&mut self) -> Result<()> {
        let (flops, runs) = self.cpu().peak_flops();
        let (time, rate) = ((2e9 / flops, runs), [("gflops", flops / 1e9)]);
        self.say("limit_f32", "1e9 multiply-adds", time, &rate)?;
        // The sizes of the samplers' vectors, the smaller of which a cache may hold.
        for n in [804_096, 10_745_088] {
            let (bytes, runs) = self.cpu().peak_bandwidth(n);
            let (time, rate) = ((20.0 * n as f64 / bytes, runs), [("gb_per_s", bytes / 1e9)]);
            self.say("limit_memory", &n.to_string(), time, &rate)?;
        }
        Ok(())
    }

    /// C = A B, square; then what a layer's passes multiply: forward, to the input, to the weight.
    pub fn gemm(&mut self) -> Result<()> {
        for n in [384, 1024, 2048] {
            self.product("gemm_float32", &n.to_string(), (n, n, n), [false, false])?;
        }
        for (m, k, n) in LAYERS {
            let shape = format!("{m},{k},{n}");
            self.product("gemm_forward", &shape, (m, k, n), [false, true])?;
            self.product("gemm_to_input", &shape, (m, n, k), [false, false])?;
            self.product("gemm_to_weight", &shape, (n, m, k), [true, false])?;
        }
        Ok(())
    }

    /// (m, k) times (k, n), each of which may lie transposed.
    fn product(
        &mut self,
        what: &str,
        shape: &str,
        (m, k, n): (usize, usize, usize),
        transposed: [bool; 2],
    ) -> Result<()> {
        let normal = |n: usize, step: u64| {
            let mut x = vec![0.0; n];
            Stream::new(0, StreamTag::Init, 0).fill_normal(step, &mut x);
            x
        };
        let (a, b, mut c) = (normal(m * k, 0), normal(k * n, 1), vec![0.0; m * n]);
        let cpu = self.cpu();
        let time = self.time(|| {
            let a = match transposed[0] {
                true => cols(&a, (m, k), m),
                false => rows(&a, (m, k), k),
            };
            let b = match transposed[1] {
                true => cols(&b, (k, n), k),
                false => rows(&b, (k, n), n),
            };
            cpu.gemm(a, b, rows_mut(&mut c, (m, n), n), false, None);
            Ok(())
        })?;
        let flops = 2.0 * (m * k * n) as f64;
        self.say(what, shape, time, &[("gflops", flops / time.0 / 1e9)])
    }
}
