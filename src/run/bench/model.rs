//! The work of models of a named shape: gradients, logits, updates, texts.

use super::{Bench, Request, VOCABULARY, WARM_UP, median};
use crate::backend::vectors::{AdamW, Coefficients, Combine, Langevin, Noise, Rule, Vectors};
use crate::backend::{Device, Precision, Transfer};
use crate::error::Result;
use crate::generate::{Generator, Options};
use crate::gpt::{
    Gpt, GptConfig, NAMED, Objective, SquareSums, Squares, TokenBatch, WeightType, Workspace,
};
use crate::rng::{Stream, StreamTag};
use std::time::Instant;

type Vector = <Device as Vectors>::Vector;

/// Tokens written by a text, and its prompt's.
const NEW_TOKENS: usize = 100;
const PROMPT: usize = 20;

/// Texts: work, row, samples, prompts.
const TEXTS: [(&str, &str, u64, usize); 3] = [
    ("generate", "generate_1", 1, 1),
    ("bma", "generate_bma10", 10, 1),
    ("bma", "generate_bma10_prompts8", 10, 8),
];

/// Tokens of a batch: any will do.
fn tokens(n: usize) -> Vec<u16> {
    let stream = Stream::new(0, StreamTag::Evaluate, 0);
    let token = |i| stream.below(VOCABULARY as u64, 0, i) as u16;
    (0..n as u64).map(token).collect()
}

/// A model of a shape, and the batch (B, T) that goes with it.
pub(super) struct Shape<'a, 'b> {
    bench: &'a mut Bench<'b>,
    name: &'a str,
    gpt: Gpt,
    b: usize,
    t: usize,
}

impl<'a, 'b> Shape<'a, 'b> {
    pub fn new(bench: &'a mut Bench<'b>, name: &'a str, config: GptConfig) -> Result<Self> {
        let named = NAMED.iter().find(|n| n.0 == name).copied();
        let (_, b, t) = named.unwrap_or(("", 1, 1));
        let gpt = Gpt::new(config)?;
        Ok(Self {
            bench,
            name,
            gpt,
            b,
            t,
        })
    }

    /// What is asked for.
    pub fn measure(&mut self, request: &Request) -> Result<()> {
        if request.asks("grad") {
            self.gradient("grad", Precision::Highest)?;
            self.gradient("grad_high", Precision::High)?;
            self.gradient("grad_medium", Precision::Medium)?;
        }
        if request.asks("logits") {
            self.logits()?;
        }
        if request.asks("adamw") {
            self.adamw()?;
        }
        for what in ["sgld", "sghmc", "baoa"] {
            if request.asks(what) {
                self.update(what)?;
            }
        }
        for (work, what, samples, prompts) in TEXTS {
            if request.asks(work) {
                self.generate(what, samples, prompts, WeightType::F32)?;
                let what = format!("{what}_bf16");
                self.generate(&what, samples, prompts, WeightType::Bf16)?;
            }
        }
        if request.asks("per_sample") {
            // Four sequences as the PyTorch side, and the shape's batch.
            self.per_sample_fisher(self.b.min(4))?;
            if self.b > 4 {
                self.per_sample_fisher(self.b)?;
            }
        }
        Ok(())
    }

    fn say(&mut self, what: &str, time: (f64, usize), more: &[(&str, f64)]) -> Result<()> {
        self.bench.say(what, self.name, time, more)
    }

    /// Tokens a second, and the model's operations a second: `a` a parameter without positions and token, `b` for attention.
    fn rates(&self, a: usize, b: usize, seconds: f64) -> [(&'static str, f64); 2] {
        let (c, n) = (self.gpt.config(), self.b * self.t);
        let parameters = self.gpt.n_params() - c.block_size * c.n_embd;
        let flops = (a * parameters + b * c.n_layer * c.n_embd * self.t) * n;
        [
            ("tokens_per_s", n as f64 / seconds),
            ("gflops", flops as f64 / seconds / 1e9),
        ]
    }

    fn gradient(&mut self, what: &str, precision: Precision) -> Result<()> {
        let (gpt, b, t) = (&self.gpt, self.b, self.t);
        let device = &self.bench.device.clone().with_precision(precision);
        let params = device.put(&gpt.layout().init(1))?;
        let (x, y) = (tokens(b * t), tokens(b * t));
        let mut ws = Workspace::for_gradients(device, gpt.config(), b, t)?;
        let batch = TokenBatch::new(&x, &y, t, Objective::All);
        let mut grad = device.zeros(gpt.n_params())?;
        let time = self.bench.time(|| {
            gpt.gradient(device, &params, batch, None, &mut ws, &mut grad)
                .map(drop)
        })?;
        self.say(what, time, &self.rates(6, 12, time.0))
    }

    /// The forward pass alone, as an evaluation runs it.
    fn logits(&mut self) -> Result<()> {
        let (device, gpt, b, t) = (&self.bench.device, &self.gpt, self.b, self.t);
        let params = device.put(&gpt.layout().init(1))?;
        let x = tokens(b * t);
        let mut ws = Workspace::for_prediction(device, gpt.config(), b, t)?;
        let mut out = vec![0.0; b * t * VOCABULARY];
        let work = || gpt.logits(device, &params, &x, t, &mut ws, &mut out);
        let time = self.bench.time(work)?;
        self.say("logits", time, &self.rates(2, 4, time.0))
    }

    /// A vector as a trainer's or a chain's, every page of it written.
    fn vector(&self, n: usize, value: f32) -> Result<Vector> {
        let mut x = self.bench.device.zeros(n)?;
        (self.bench.device).combine(&mut x, Combine::Fill(value))?;
        Ok(x)
    }

    fn adamw(&mut self) -> Result<()> {
        let n = self.gpt.n_params();
        let (mut theta, grad) = (self.vector(n, 0.1)?, self.vector(n, 0.1)?);
        let (mut m, mut v) = (self.vector(n, 0.0)?, self.vector(n, 0.0)?);
        let decayed = self.gpt.layout().decayed();
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
        let device = &self.bench.device;
        let mut record = device.record()?;
        let time = self.bench.time(|| {
            a.step += 1;
            device.adamw_update(&mut theta, &grad, &mut m, &mut v, &decay, &a, &mut record)
        })?;
        // theta, m, v read and written, grad read
        self.say_bytes("adamw_step", time, 28.0)
    }

    /// A row of work that takes so many bytes a parameter.
    fn say_bytes(&mut self, what: &str, time: (f64, usize), bytes: f64) -> Result<()> {
        let n = self.gpt.n_params() as f64;
        let rate = bytes * n / time.0 / 1e9;
        self.say(what, time, &[("params", n), ("gb_per_s", rate)])
    }

    /// A sampler's update, its noise included.
    fn update(&mut self, what: &str) -> Result<()> {
        let n = self.gpt.n_params();
        let momenta = if what == "sgld" { 0 } else { n };
        let (mut theta, mut momenta) = (self.vector(n, 0.1)?, self.vector(momenta, 0.1)?);
        let (grad, center) = (self.vector(n, 0.1)?, self.vector(n, 0.0)?);
        let (drift, noise) = (1e-3, 1e-2);
        let k = Coefficients {
            kick: 1e-3,
            friction: 1e-2,
            noise,
            drift,
        };
        // Without a mass, as the samplers of posteriors that stand beside.
        let (rule, bytes) = match what {
            "sgld" => (Rule::Sgld { drift, noise }, 16.0),
            "sghmc" => (Rule::Sghmc(k), 24.0),
            _ => (Rule::Baoa(k), 24.0),
        };
        let stream = Stream::new(1, StreamTag::Noise, 0);
        let mut step = 0;
        let device = &self.bench.device;
        let mut record = device.record()?;
        let time = self.bench.time(|| {
            step += 1;
            let on = Langevin {
                theta: &mut theta,
                momenta: &mut momenta,
                grad: &grad,
                center: &center,
                mass: None,
                gradient_noise: None,
                blocks: &mut [],
                noise: Noise::Counter { stream, step },
            };
            device.langevin_update(rule, on, &mut record)
        })?;
        self.say_bytes(&format!("{what}_update_inplace"), time, bytes)
    }

    fn generate(
        &mut self,
        what: &str,
        samples: u64,
        prompts: usize,
        form: WeightType,
    ) -> Result<()> {
        let (device, gpt) = (&self.bench.device, &self.gpt);
        let each = (0..samples).map(|seed| device.put(&gpt.layout().init(seed)));
        let params = each.collect::<Result<Vec<_>>>()?;
        let mut generator = Generator::with_weights(device, gpt, params, form)?;
        let all = tokens(PROMPT * prompts);
        let prompts: Vec<&[u16]> = all.chunks(PROMPT).collect();
        let options = Options {
            max_new_tokens: NEW_TOKENS,
            ..Options::default()
        };
        let time = self.bench.time(|| {
            let made = generator.generate_batch(&prompts, &options, 0, |_, _| true);
            made.map(drop)
        })?;
        let rate = (NEW_TOKENS * prompts.len()) as f64 / time.0;
        self.say(what, time, &[("tokens_per_s", rate)])
    }

    /// The diagonal of the empirical Fisher over b sequences, gradient included, in turn with the plain gradient of the same batch.
    fn per_sample_fisher(&mut self, b: usize) -> Result<()> {
        let (device, gpt, t) = (&self.bench.device, &self.gpt, self.t);
        let params = device.put(&gpt.layout().init(1))?;
        let (x, y) = (tokens(b * t), tokens(b * t));
        let ws = &mut Workspace::for_gradients(device, gpt.config(), b, t)?;
        let batch = TokenBatch::new(&x, &y, t, Objective::All);
        let grad = &mut device.zeros(gpt.n_params())?;
        let to = &mut device.zeros(gpt.n_params())?;
        let (mut plain, mut times) = (Vec::new(), Vec::new());
        let (_, runs) = self.bench.time(|| {
            let start = Instant::now();
            gpt.gradient(device, &params, batch, None, ws, grad)?;
            let between = Instant::now();
            let squares = SquareSums {
                of: Squares::Gradients,
                to: &mut *to,
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
        self.say(&what, (seconds, runs), &more)
    }
}
