//! `bnn bench`: how fast this machine is at each piece of work; the rows have the names and fields of the PyTorch side's.

mod limits;
mod model;

pub use limits::LAYERS;

use crate::backend::Device;
use crate::error::{Error, Result};
use crate::gpt::GptConfig;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Instant;

/// Characters of Tiny Shakespeare, which the shapes are measured with.
const VOCABULARY: usize = 65;

/// What can be measured, in the order of the output.
pub const WORK: &[&str] = &[
    "limits",
    "gemm",
    "grad",
    "logits",
    "adamw",
    "sgld",
    "sghmc",
    "baoa",
    "generate",
    "bma",
    "per_sample",
];

/// What to measure.
#[derive(Clone, Debug)]
pub struct Request {
    /// Named shapes.
    pub shapes: Vec<String>,
    /// Of [`WORK`].
    pub only: Vec<String>,
    /// Threads; 0 takes all.
    pub threads: usize,
    /// Seconds for each row, above 0; longer where one run takes longer.
    pub seconds: f64,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The work.
    pub what: String,
    /// The model's shape, or the matrix's.
    pub shape: String,
    /// Median wall time of a run, milliseconds.
    pub ms: f64,
    /// How many runs.
    pub runs: usize,
    /// What else belongs to it: rates, sizes.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

struct Bench<'a> {
    device: Device,
    seconds: f64,
    row: &'a mut dyn FnMut(&Row) -> Result<()>,
}

/// Measures and hands each row over when it is there.
///
/// # Errors
/// For an unknown shape or work, and what `row` returns.
pub fn bench(request: &Request, mut row: impl FnMut(&Row) -> Result<()>) -> Result<()> {
    if let Some(bad) = request.only.iter().find(|w| !WORK.contains(&w.as_str())) {
        return Err(Error::out_of_range("work", WORK.join(", "), bad));
    }
    if !(request.seconds > 0.0 && request.seconds.is_finite()) {
        return Err(Error::out_of_range("seconds", "above 0", request.seconds));
    }
    let named = |s: &String| GptConfig::named(s, VOCABULARY);
    let configs = request.shapes.iter().map(named);
    let configs = configs.collect::<Result<Vec<_>>>()?;
    let mut b = Bench {
        device: Device::cpu(request.threads)?,
        seconds: request.seconds,
        row: &mut row,
    };
    if request.asks("limits") {
        b.limits()?;
    }
    if request.asks("gemm") {
        b.gemm()?;
    }
    for (shape, config) in request.shapes.iter().zip(configs) {
        model::Shape::new(&mut b, shape, config)?.measure(request)?;
    }
    Ok(())
}

impl Request {
    fn asks(&self, what: &str) -> bool {
        self.only.iter().any(|w| w == what)
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Runs before those that count.
const WARM_UP: usize = 2;

impl Bench<'_> {
    /// Returns the median seconds of `f` after [`WARM_UP`] runs, and how many there were.
    fn time(&self, mut f: impl FnMut() -> Result<()>) -> Result<(f64, usize)> {
        for _ in 0..WARM_UP {
            f()?;
        }
        let (mut times, start) = (Vec::new(), Instant::now());
        while times.len() < 5 || start.elapsed().as_secs_f64() < self.seconds {
            let t = Instant::now();
            f()?;
            times.push(t.elapsed().as_secs_f64());
            if start.elapsed().as_secs_f64() > 4.0 * self.seconds {
                break;
            }
        }
        Ok((median(&mut times), times.len()))
    }

    fn say(
        &mut self,
        what: &str,
        shape: &str,
        time: (f64, usize),
        more: &[(&str, f64)],
    ) -> Result<()> {
        let rounded = |v: f64| Value::from((v * 10.0).round() / 10.0);
        (self.row)(&Row {
            what: what.into(),
            shape: shape.into(),
            ms: (time.0 * 1e7).round() / 1e4,
            runs: time.1,
            more: more
                .iter()
                .map(|(k, v)| (k.to_string(), rounded(*v)))
                .collect(),
        })
    }
}
