//! `bnn bench`: how fast this machine is at each piece of work; the rows have the names and fields of the PyTorch side's.

use super::Context;
use crate::backend::cpu::gemm::{cols, rows, rows_mut};
use crate::backend::vectors::{AdamW, Coefficients, Combine, Langevin, Noise, Rule, Vectors};
use crate::backend::{Cpu, Device, Precision, Transfer};
use crate::error::{Error, Result};
use crate::generate::{Generator, Options};
use crate::gpt::{
    Gpt, GptConfig, NAMED, Objective, SquareSums, Squares, TokenBatch, WeightType, Workspace,
};
use crate::rng::{Stream, StreamTag};
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Instant;

/// Characters of Tiny Shakespeare, which the shapes are measured with.
const VOCABULARY: usize = 65;
/// Tokens written by a text, and its prompt's.
const NEW_TOKENS: usize = 100;
const PROMPT: usize = 20;

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
    ctx: &'a Context,
    row: &'a mut dyn FnMut(&Row) -> Result<()>,
}

/// Measures and hands each row over when it is there.
///
/// # Errors
/// For an unknown shape or work, and when interrupted.
pub fn bench(
    request: &Request,
    ctx: &Context,
    mut row: impl FnMut(&Row) -> Result<()>,
) -> Result<()> {
    if let Some(bad) = request.only.iter().find(|w| !WORK.contains(&w.as_str())) {
        return Err(Error::invalid("work", WORK.join(", "), bad));
    }
    if !(request.seconds > 0.0 && request.seconds.is_finite()) {
        return Err(Error::invalid("seconds", "above 0", request.seconds));
    }
    let named = |s: &String| GptConfig::named(s, VOCABULARY);
    let configs = request
        .shapes
        .iter()
        .map(named)
        .collect::<Result<Vec<_>>>()?;
    let mut b = Bench {
        device: Device::cpu(request.threads)?,
        seconds: request.seconds,
        ctx,
        row: &mut row,
    };
    if request.asks("limits") {
        b.limits()?;
    }
    if request.asks("gemm") {
        b.gemm()?;
    }
    for (shape, config) in request.shapes.iter().zip(configs) {
        b.shape(request, shape, &Gpt::new(config)?)?;
    }
    Ok(())
}

impl Request {
    fn asks(&self, what: &str) -> bool {
        self.only.iter().any(|w| w == what)
    }
}

/// Tokens of a batch: any will do.
fn tokens(n: usize) -> Vec<u16> {
    let stream = Stream::new(0, StreamTag::Evaluate, 0);
    (0..n as u64)
        .map(|i| stream.below(VOCABULARY as u64, 0, i) as u16)
        .collect()
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Runs before those that count.
const WARM_UP: usize = 2;

impl Bench<'_> {
    /// Median seconds of `f` after [`WARM_UP`] runs, and how many there were.
    fn time(&self, mut f: impl FnMut() -> Result<()>) -> Result<(f64, usize)> {
        for _ in 0..WARM_UP {
            f()?;
        }
        let (mut times, start) = (Vec::new(), Instant::now());
        while times.len() < 5 || start.elapsed().as_secs_f64() < self.seconds {
            self.ctx.check_stop()?;
            let t = Instant::now();
            f()?;
            times.push(t.elapsed().as_secs_f64());
            if start.elapsed().as_secs_f64() > 4.0 * self.seconds {
                break;
            }
        }
        Ok((median(&mut times), times.len()))
    }

    /// The CPU itself, whose limits and products are measured below the operations.
    fn cpu(&self) -> &Cpu {
        match &self.device {
            Device::Cpu(cpu) => cpu,
        }
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

    /// What the rest is to be compared with: the best of each, not the median.
    fn limits(&mut self) -> Result<()> {
        let (flops, runs) = self.cpu().peak_flops();
        let time = (2e9 / flops, runs);
        self.say(
            "limit_f32",
            "1e9 multiply-adds",
            time,
            &[("gflops", flops / 1e9)],
        )?;
        // The sizes of the samplers' vectors, the smaller of which a cache may hold.
        for n in [804_096, 10_745_088] {
            let (bytes, runs) = self.cpu().peak_bandwidth(n);
            let time = (20.0 * n as f64 / bytes, runs);
            self.say(
                "limit_memory",
                &n.to_string(),
                time,
                &[("gb_per_s", bytes / 1e9)],
            )?;
        }
        Ok(())
    }

    /// C = A B, square; then the products of the shapes' passes, (rows, in, out): forward, to the input, to the weight.
    fn gemm(&mut self) -> Result<()> {
        let normal = |n: usize, step: u64| {
            let mut x = vec![0.0; n];
            Stream::new(0, StreamTag::Init, 0).fill_normal(step, &mut x);
            x
        };
        for n in [384, 1024, 2048] {
            let (a, b, mut c) = (normal(n * n, 0), normal(n * n, 1), vec![0.0; n * n]);
            let time = self.time(|| {
                let (a, b) = (rows(&a, (n, n), n), rows(&b, (n, n), n));
                self.cpu()
                    .gemm(a, b, rows_mut(&mut c, (n, n), n), false, None);
                Ok(())
            })?;
            let flops = 2.0 * (n as f64).powi(3);
            self.say(
                "gemm_float32",
                &n.to_string(),
                time,
                &[("gflops", flops / time.0 / 1e9)],
            )?;
        }
        for (m, k, n) in [
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
        ] {
            let (x, w, dy) = (normal(m * k, 0), normal(n * k, 1), normal(m * n, 2));
            let (mut y, mut dx, mut dw) = (vec![0.0; m * n], vec![0.0; m * k], vec![0.0; n * k]);
            for form in ["forward", "to_input", "to_weight"] {
                let cpu = self.cpu();
                let time = self.time(|| {
                    match form {
                        "forward" => cpu.gemm(
                            rows(&x, (m, k), k),
                            cols(&w, (k, n), k),
                            rows_mut(&mut y, (m, n), n),
                            false,
                            None,
                        ),
                        "to_input" => cpu.gemm(
                            rows(&dy, (m, n), n),
                            rows(&w, (n, k), k),
                            rows_mut(&mut dx, (m, k), k),
                            false,
                            None,
                        ),
                        _ => cpu.gemm(
                            cols(&dy, (n, m), n),
                            rows(&x, (m, k), k),
                            rows_mut(&mut dw, (n, k), k),
                            false,
                            None,
                        ),
                    }
                    Ok(())
                })?;
                let flops = 2.0 * (m * k * n) as f64;
                let what = format!("gemm_{form}");
                self.say(
                    &what,
                    &format!("{m},{k},{n}"),
                    time,
                    &[("gflops", flops / time.0 / 1e9)],
                )?;
            }
        }
        Ok(())
    }

    /// What is asked for of one shape.
    fn shape(&mut self, request: &Request, shape: &str, gpt: &Gpt) -> Result<()> {
        let named = NAMED.iter().find(|n| n.0 == shape).copied();
        let (_, rows, t) = named.unwrap_or(("", 1, 1));
        if request.asks("grad") {
            self.gradient(shape, gpt, rows, t)?;
        }
        if request.asks("logits") {
            self.logits(shape, gpt, rows, t)?;
        }
        if request.asks("adamw") {
            self.adamw(shape, gpt)?;
        }
        for what in ["sgld", "sghmc", "baoa"] {
            if request.asks(what) {
                self.update(shape, gpt, what)?;
            }
        }
        // Name, samples, prompts.
        let texts = [
            ("generate", "generate_1", 1, 1),
            ("bma", "generate_bma10", 10, 1),
            ("bma", "generate_bma10_prompts8", 10, 8),
        ];
        for (work, what, samples, prompts) in texts {
            if request.asks(work) {
                self.generate(shape, gpt, what, samples, prompts, WeightType::F32)?;
                let what = format!("{what}_bf16");
                self.generate(shape, gpt, &what, samples, prompts, WeightType::Bf16)?;
            }
        }
        if request.asks("per_sample") {
            // Four sequences as the PyTorch side, and the shape's batch.
            self.per_sample_fisher(shape, gpt, rows.min(4), t)?;
            if rows > 4 {
                self.per_sample_fisher(shape, gpt, rows, t)?;
            }
        }
        Ok(())
    }

    fn gradient(&mut self, shape: &str, gpt: &Gpt, b: usize, t: usize) -> Result<()> {
        for (what, precision) in [
            ("grad", Precision::Highest),
            ("grad_high", Precision::High),
            ("grad_medium", Precision::Medium),
        ] {
            self.gradient_at(what, precision, shape, gpt, b, t)?;
        }
        Ok(())
    }

    fn gradient_at(
        &mut self,
        what: &str,
        precision: Precision,
        shape: &str,
        gpt: &Gpt,
        b: usize,
        t: usize,
    ) -> Result<()> {
        let device = &self.device.clone().with_precision(precision);
        let params = device.put(&gpt.layout().init(1))?;
        let (x, y) = (tokens(b * t), tokens(b * t));
        let mut ws = Workspace::for_gradients(device, gpt.config(), b, t)?;
        let batch = TokenBatch::new(&x, &y, t, Objective::All);
        let mut grad = device.zeros(gpt.n_params())?;
        let time = self.time(|| {
            gpt.gradient(device, &params, batch, None, &mut ws, &mut grad)
                .map(drop)
        })?;
        let more = rates(gpt, b * t, t, 6, 12, time.0);
        self.say(what, shape, time, &more)
    }

    /// The forward pass alone, as an evaluation runs it.
    fn logits(&mut self, shape: &str, gpt: &Gpt, b: usize, t: usize) -> Result<()> {
        let device = &self.device;
        let params = device.put(&gpt.layout().init(1))?;
        let x = tokens(b * t);
        let mut ws = Workspace::for_prediction(device, gpt.config(), b, t)?;
        let mut out = vec![0.0; b * t * VOCABULARY];
        let time = self.time(|| gpt.logits(device, &params, &x, t, &mut ws, &mut out))?;
        let more = rates(gpt, b * t, t, 2, 4, time.0);
        self.say("logits", shape, time, &more)
    }

    /// A vector as a trainer's or a chain's, every page of it written.
    fn vector(&self, n: usize, value: f32) -> Result<<Device as Vectors>::Vector> {
        let mut x = self.device.zeros(n)?;
        self.device.combine(&mut x, Combine::Fill(value))?;
        Ok(x)
    }

    fn adamw(&mut self, shape: &str, gpt: &Gpt) -> Result<()> {
        let n = gpt.n_params();
        let (mut theta, grad) = (self.vector(n, 0.1)?, self.vector(n, 0.1)?);
        let (mut m, mut v) = (self.vector(n, 0.0)?, self.vector(n, 0.0)?);
        let decayed = gpt.layout().decayed();
        let decay: Vec<_> = decayed.filter_map(|(r, d)| d.then_some(r)).collect();
        let mut a = AdamW {
            lr: 1e-4,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-8,
            weight_decay: 0.1,
            step: 0,
            grad_scale: 1.0,
            clip: 0.0,
        };
        let device = &self.device;
        let mut record = device.record()?;
        let time = self.time(|| {
            a.step += 1;
            device.adamw_update(&mut theta, &grad, &mut m, &mut v, &decay, &a, &mut record)
        })?;
        // theta, m, v read and written, grad read
        let rate = 28.0 * n as f64 / time.0 / 1e9;
        self.say(
            "adamw_step",
            shape,
            time,
            &[("params", n as f64), ("gb_per_s", rate)],
        )
    }

    /// A sampler's update, its noise included.
    fn update(&mut self, shape: &str, gpt: &Gpt, what: &str) -> Result<()> {
        let n = gpt.n_params();
        let momenta = if what == "sgld" { 0 } else { n };
        let (mut theta, mut momenta) = (self.vector(n, 0.1)?, self.vector(momenta, 0.1)?);
        let (grad, center) = (self.vector(n, 0.1)?, self.vector(n, 0.0)?);
        let k = Coefficients {
            kick: 1e-3,
            friction: 1e-2,
            noise: 1e-2,
            drift: 1e-3,
        };
        // Without a mass, as the samplers of posteriors that stand beside.
        let (rule, bytes) = match what {
            "sgld" => (
                Rule::Sgld {
                    drift: 1e-3,
                    noise: 1e-2,
                },
                16.0,
            ),
            "sghmc" => (Rule::Sghmc(k), 24.0),
            _ => (Rule::Baoa(k), 24.0),
        };
        let stream = Stream::new(1, StreamTag::Noise, 0);
        let mut step = 0;
        let device = &self.device;
        let mut record = device.record()?;
        let time = self.time(|| {
            step += 1;
            let on = Langevin {
                theta: &mut theta,
                momenta: &mut momenta,
                grad: &grad,
                center: &center,
                mass: None,
                noise: Noise::Counter { stream, step },
            };
            device.langevin_update(rule, on, &mut record)
        })?;
        let rate = bytes * n as f64 / time.0 / 1e9;
        let more = [("params", n as f64), ("gb_per_s", rate)];
        self.say(&format!("{what}_update_inplace"), shape, time, &more)
    }

    fn generate(
        &mut self,
        shape: &str,
        gpt: &Gpt,
        what: &str,
        samples: u64,
        prompts: usize,
        form: WeightType,
    ) -> Result<()> {
        let each = (0..samples).map(|seed| self.device.put(&gpt.layout().init(seed)));
        let params = each.collect::<Result<Vec<_>>>()?;
        let mut generator = Generator::with_weights(&self.device, gpt, params, form)?;
        let all = tokens(PROMPT * prompts);
        let prompts: Vec<&[u16]> = all.chunks(PROMPT).collect();
        let options = Options {
            max_new_tokens: NEW_TOKENS,
            ..Options::default()
        };
        let time = self.time(|| {
            generator
                .generate_batch(&prompts, &options, 0, |_, _| true)
                .map(drop)
        })?;
        let rate = (NEW_TOKENS * prompts.len()) as f64 / time.0;
        self.say(what, shape, time, &[("tokens_per_s", rate)])
    }

    /// The diagonal of the empirical Fisher over b sequences, gradient included, in turn with the plain gradient of the same batch.
    fn per_sample_fisher(&mut self, shape: &str, gpt: &Gpt, b: usize, t: usize) -> Result<()> {
        let device = &self.device;
        let params = device.put(&gpt.layout().init(1))?;
        let (x, y) = (tokens(b * t), tokens(b * t));
        let ws = &mut Workspace::for_gradients(device, gpt.config(), b, t)?;
        let batch = TokenBatch::new(&x, &y, t, Objective::All);
        let (grad, squares) = (
            &mut device.zeros(gpt.n_params())?,
            &mut device.zeros(gpt.n_params())?,
        );
        let (mut plain, mut times) = (Vec::new(), Vec::new());
        let (_, runs) = self.time(|| {
            let start = Instant::now();
            gpt.gradient(device, &params, batch, None, ws, grad)?;
            let between = Instant::now();
            let of = Squares::Gradients;
            let squares = SquareSums {
                of,
                to: &mut *squares,
            };
            gpt.gradient_and_squares(device, &params, batch, ws, grad, squares)?;
            plain.push((between - start).as_secs_f64());
            times.push(between.elapsed().as_secs_f64());
            Ok(())
        })?;
        let [plain, seconds] = [&mut plain, &mut times].map(|times| median(&mut times[WARM_UP..]));
        let more = [
            ("ms_per_sequence", seconds * 1e3 / b as f64),
            ("gradient_ms", plain * 1e3),
            ("percent_of_gradient", seconds / plain * 100.0),
        ];
        let what = format!("per_sample_fisher_B{b}");
        self.say(&what, shape, (seconds, runs), &more)
    }
}

/// Tokens a second, and the model's operations a second: `a` a parameter without positions and token, `b` for attention.
fn rates(
    gpt: &Gpt,
    n: usize,
    t: usize,
    a: usize,
    b: usize,
    seconds: f64,
) -> [(&'static str, f64); 2] {
    let c = gpt.config();
    let parameters = gpt.n_params() - c.block_size * c.n_embd;
    let flops = (a * parameters + b * c.n_layer * c.n_embd * t) * n;
    [
        ("tokens_per_s", n as f64 / seconds),
        ("gflops", flops as f64 / seconds / 1e9),
    ]
}
