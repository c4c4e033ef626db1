//! A GPT's loss in f64 by the plainest loops, to compare the library with; nothing of the library's arithmetic is used.

use bnn::backend::{Gelu, Objective};
use bnn::gpt::{Gpt, GptConfig, Training};
use bnn::rng::{Stream, StreamTag};

/// The logits (B, T, V).
pub fn logits(
    gpt: &Gpt,
    flat: &[f64],
    x: &[u16],
    t: usize,
    training: Option<Training>,
) -> Vec<f64> {
    let windows = x.chunks(t).enumerate();
    windows
        .flat_map(|(b, x)| sequence(gpt, flat, x, b, training))
        .flatten()
        .collect()
}

/// The mean negative log-likelihood over the positions that count.
pub fn loss(
    gpt: &Gpt,
    flat: &[f64],
    (x, y): (&[u16], &[u16]),
    t: usize,
    objective: Objective,
    training: Option<Training>,
) -> f64 {
    let v = gpt.config().vocab_size;
    let logits = logits(gpt, flat, x, t, training);
    let (mut sum, mut count) = (0.0, 0.0);
    for (n, (z, &y)) in logits.chunks(v).zip(y).enumerate() {
        if objective == Objective::Last && n % t != t - 1 {
            continue;
        }
        let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = z.iter().map(|z| (z - top).exp()).sum();
        sum += total.ln() + top - z[y as usize];
        count += 1.0;
    }
    sum / count
}

/// The loss's gradient by central differences. A step of 1e-5 leaves about 1e-10 from the third derivative and 1e-11
/// from rounding, for losses and derivatives of order 1.
pub fn gradient(flat: &[f64], loss: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut at = flat.to_vec();
    let h = 1e-5;
    (0..flat.len())
        .map(|i| {
            at[i] = flat[i] + h;
            let above = loss(&at);
            at[i] = flat[i] - h;
            let below = loss(&at);
            at[i] = flat[i];
            (above - below) / (2.0 * h)
        })
        .collect()
}

/// Whether dropout keeps an element, and by what it is multiplied; sites are numbered as `Gpt` documents them.
struct Drop {
    stream: Stream,
    step: u64,
    p: f64,
}

impl Drop {
    fn at(c: &GptConfig, training: Option<Training>, site: usize) -> Option<Self> {
        training.filter(|_| c.dropout > 0.0).map(|t| Self {
            stream: Stream::new(t.seed, StreamTag::Dropout, site as u32),
            step: t.step,
            p: c.dropout as f64,
        })
    }

    fn factor(&self, element: usize) -> f64 {
        let word = self.stream.words(self.step, element as u64 / 4)[element % 4];
        let dropped = (word as f64) < (self.p * 4_294_967_296.0).floor();
        if dropped { 0.0 } else { 1.0 / (1.0 - self.p) }
    }
}

fn factor(drop: &Option<Drop>, element: usize) -> f64 {
    drop.as_ref().map_or(1.0, |d| d.factor(element))
}

type Rows = Vec<Vec<f64>>;

/// The logits of sequence `b`, a row a position.
fn sequence(gpt: &Gpt, flat: &[f64], x: &[u16], b: usize, training: Option<Training>) -> Rows {
    let (c, t) = (gpt.config(), x.len());
    let width = c.n_embd;
    // A tensor by its name, empty if the model has none of that name.
    let get = |name: &str| match gpt.layout().tensor(name) {
        Ok(tensor) => &flat[tensor.range.clone()],
        Err(_) => &[],
    };
    let linear = |name: &str, rows: &Rows| -> Rows {
        let (w, bias) = (get(&format!("{name}.weight")), get(&format!("{name}.bias")));
        rows.iter().map(|row| product(w, bias, row)).collect()
    };
    let norm = |name: &str, rows: &Rows| -> Rows {
        let (w, bias) = (get(&format!("{name}.weight")), get(&format!("{name}.bias")));
        rows.iter().map(|row| layer_norm(w, bias, row)).collect()
    };
    let dropped = |rows: Rows, site: usize| -> Rows {
        let drop = Drop::at(c, training, site);
        let keep = |i: usize, j: usize| factor(&drop, (b * t + i) * width + j);
        let row = |(i, row): (usize, Vec<f64>)| {
            let elements = row.into_iter().enumerate();
            elements.map(|(j, v)| v * keep(i, j)).collect()
        };
        rows.into_iter().enumerate().map(row).collect()
    };

    let (wte, wpe) = (get("transformer.wte.weight"), get("transformer.wpe.weight"));
    let embed = |(i, &token): (usize, &u16)| {
        let token = &wte[token as usize * width..][..width];
        let place = &wpe[i * width..][..width];
        token.iter().zip(place).map(|(a, b)| a + b).collect()
    };
    let mut stream: Rows = dropped(x.iter().enumerate().map(embed).collect(), 0);
    for l in 0..c.n_layer {
        let name = |part: &str| format!("transformer.h.{l}.{part}");
        let qkv = linear(&name("attn.c_attn"), &norm(&name("ln_1"), &stream));
        let attended = attention(c, &qkv, b, &Drop::at(c, training, 3 * l + 1));
        let out = linear(&name("attn.c_proj"), &attended);
        add(&mut stream, &dropped(out, 3 * l + 2));

        let mut hidden = linear(&name("mlp.c_fc"), &norm(&name("ln_2"), &stream));
        hidden
            .iter_mut()
            .flatten()
            .for_each(|v| *v = gelu(c.gelu, *v));
        let out = linear(&name("mlp.c_proj"), &hidden);
        add(&mut stream, &dropped(out, 3 * l + 3));
    }
    let last = norm("transformer.ln_f", &stream);
    let head = if c.tie_weights {
        wte
    } else {
        get("lm_head.weight")
    };
    last.iter().map(|row| product(head, &[], row)).collect()
}

fn add(to: &mut Rows, from: &Rows) {
    for (to, from) in to.iter_mut().zip(from) {
        to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
    }
}

fn product(w: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
    let dot = |row: &[f64]| row.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
    let out = w.chunks(x.len()).map(dot).enumerate();
    out.map(|(i, v)| v + bias.get(i).unwrap_or(&0.0)).collect()
}

fn layer_norm(w: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    let rstd = 1.0 / (variance + 1e-5).sqrt();
    let out = x.iter().zip(w).map(|(x, w)| (x - mean) * rstd * w);
    let out = out.enumerate();
    out.map(|(i, v)| v + bias.get(i).unwrap_or(&0.0)).collect()
}

/// Rows of qkv (T, 3C) to rows (T, C), head by head.
fn attention(c: &GptConfig, qkv: &Rows, b: usize, drop: &Option<Drop>) -> Rows {
    let (t, width, size) = (qkv.len(), c.n_embd, c.head_size());
    let mut out = vec![vec![0.0; width]; t];
    for h in 0..c.n_head {
        let part = |row: &Vec<f64>, which: usize| row[which * width + h * size..][..size].to_vec();
        for i in 0..t {
            let q = part(&qkv[i], 0);
            let score = |k: Vec<f64>| {
                let dot: f64 = q.iter().zip(k).map(|(q, k)| q * k).sum();
                dot / (size as f64).sqrt()
            };
            let scores: Vec<f64> = (0..=i).map(|j| score(part(&qkv[j], 1))).collect();
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
            for (j, s) in scores.iter().enumerate() {
                let place = ((b * c.n_head + h) * t + i) * t + j; // in (B, H, T, T)
                let p = (s - top).exp() / total * factor(drop, place);
                for (o, v) in out[i][h * size..][..size].iter_mut().zip(part(&qkv[j], 2)) {
                    *o += p * v;
                }
            }
        }
    }
    out
}

pub fn gelu(form: Gelu, x: f64) -> f64 {
    match form {
        Gelu::Exact => x * normal_cdf(x),
        Gelu::Tanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
    }
}

pub fn gelu_derivative(form: Gelu, x: f64) -> f64 {
    let pi = std::f64::consts::PI;
    match form {
        Gelu::Exact => normal_cdf(x) + x * (-0.5 * x * x).exp() / (2.0 * pi).sqrt(),
        Gelu::Tanh => {
            let k = (2.0 / pi).sqrt();
            let u = (k * (x + 0.044715 * x * x * x)).tanh();
            0.5 * (1.0 + u) + 0.5 * x * (1.0 - u * u) * k * (1.0 + 3.0 * 0.044715 * x * x)
        }
    }
}

/// The normal distribution function to about 1e-14, relative in the lower tail too.
///
/// Near 0 by the series phi(x) (x + x^3/3 + x^5/(3 5) + …), whose terms have one sign; from 3 on by Laplace's
/// continued fraction phi(x) / (x + 1/(x + 2/(x + 3/…))) (Abramowitz & Stegun 26.2.11 and 26.2.14).
pub fn normal_cdf(x: f64) -> f64 {
    let a = x.abs();
    let density = (-0.5 * a * a).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let upper = if a < 3.0 {
        let (mut term, mut sum) = (a, a);
        for k in 1..100 {
            term *= a * a / (2 * k + 1) as f64;
            sum += term;
        }
        0.5 - density * sum
    } else {
        let fraction = (1..200).rev().fold(a, |rest, k| a + k as f64 / rest);
        density / fraction
    };
    if x > 0.0 { 1.0 - upper } else { upper }
}
