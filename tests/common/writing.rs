//! Generation by a second way, without a cache, and what its tests share.

use super::wide;
use bnn::backend::Cpu;
use bnn::generate::{ContextOverflow, Generated, Generator, Mode, Options, TokenInfo, writer};
use bnn::gpt::{Gelu, Gpt, GptConfig, Workspace};
use bnn::rng::{Stream, StreamTag};

pub fn config(vocab_size: usize, block_size: usize) -> GptConfig {
    GptConfig {
        vocab_size,
        block_size,
        n_layer: 2,
        n_head: 2,
        n_embd: 12,
        bias: true,
        dropout: 0.0,
        gelu: Gelu::Exact,
        tie_weights: true,
    }
}

/// Initial parameters with matrices 20 times as large, so that predictions are far from uniform.
pub fn params(gpt: &Gpt, seed: u64) -> Vec<f32> {
    let mut flat = gpt.layout().init(seed);
    for t in gpt.layout().tensors().iter().filter(|t| t.shape.len() == 2) {
        flat[t.range.clone()].iter_mut().for_each(|v| *v *= 20.0);
    }
    flat
}

pub fn samples(gpt: &Gpt, n: u64) -> Vec<Vec<f32>> {
    (0..n).map(|s| params(gpt, 100 + s)).collect()
}

/// A model whose logits are all the same number: the tied head's rows are equal.
pub fn uniform(gpt: &Gpt) -> Vec<f32> {
    let (mut flat, c) = (params(gpt, 1), gpt.config().n_embd);
    let wte = gpt.layout().tensor("transformer.wte.weight").unwrap();
    for row in flat[wte.range.clone()].chunks_exact_mut(c) {
        row.fill(0.5);
    }
    flat
}

pub fn cpu() -> Cpu {
    Cpu::new(1).unwrap()
}

pub fn generator(cpu: &Cpu, gpt: &Gpt, samples: Vec<Vec<f32>>) -> Generator<Cpu> {
    Generator::new(cpu, gpt, samples).unwrap()
}

pub fn options(n: usize) -> Options {
    Options {
        max_new_tokens: n,
        seed: 5,
        ..Options::default()
    }
}

pub fn write(g: &mut Generator<Cpu>, prompt: &[u16], o: &Options, text: u64) -> Generated {
    g.generate(prompt, o, text, |_| true).unwrap()
}

// ---------------------------------------------------------------- a second way, without a cache

/// The last position's logits of a whole forward pass.
pub fn logits(cpu: &Cpu, gpt: &Gpt, params: &Vec<f32>, window: &[u16]) -> Vec<f64> {
    let (t, v) = (window.len(), gpt.config().vocab_size);
    let mut ws = Workspace::for_prediction(cpu, gpt.config(), 1, t).unwrap();
    let mut out = vec![0.0; t * v];
    gpt.logits(cpu, params, window, t, &mut ws, &mut out)
        .unwrap();
    wide(&out[(t - 1) * v..])
}

/// softmax(z / T), at T = 0 the first of the largest.
pub fn probabilities(z: &[f64], temperature: f64) -> Vec<f64> {
    let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if temperature == 0.0 {
        let first = z.iter().position(|&z| z == top);
        return (0..z.len())
            .map(|t| (Some(t) == first) as u8 as f64)
            .collect();
    }
    let e: Vec<f64> = z.iter().map(|z| ((z - top) / temperature).exp()).collect();
    let total: f64 = e.iter().sum();
    e.iter().map(|e| e / total).collect()
}

pub fn mean(p: &[Vec<f64>]) -> Vec<f64> {
    let at = |v| p.iter().map(|p: &Vec<f64>| p[v]).sum::<f64>() / p.len() as f64;
    (0..p[0].len()).map(at).collect()
}

pub fn entropy(p: &[f64]) -> f64 {
    let terms = p.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln());
    terms.sum()
}

/// What a token is drawn from, with all but its k likeliest tokens at 0.
pub fn kept(z: &[Vec<f64>], o: &Options, text: u64) -> Vec<f64> {
    let tempered = |z: &Vec<f64>| probabilities(z, o.temperature);
    let mut q = match o.mode {
        Mode::Average => {
            let each: Vec<_> = z.iter().map(|z| probabilities(z, 1.0)).collect();
            let log: Vec<f64> = mean(&each).iter().map(|p| p.ln()).collect();
            tempered(&log)
        }
        Mode::Vote => mean(&z.iter().map(tempered).collect::<Vec<_>>()),
        Mode::Sequence => tempered(&z[writer(o.seed, text, z.len())]),
    };
    let mut order: Vec<usize> = (0..q.len()).collect();
    order.sort_by(|&a, &b| q[b].partial_cmp(&q[a]).unwrap()); // stable: of equals the lower first
    for &t in order.iter().skip(o.top_k.unwrap_or(usize::MAX)) {
        q[t] = 0.0;
    }
    let total: f64 = q.iter().sum();
    q.iter().map(|q| q / total).collect()
}

pub fn plain(
    cpu: &Cpu,
    gpt: &Gpt,
    samples: &[Vec<f32>],
    prompt: &[u16],
    o: &Options,
    text: u64,
) -> Generated {
    let block = gpt.config().block_size;
    let mut window = prompt[prompt.len().saturating_sub(block)..].to_vec();
    let (mut tokens, mut info, mut rereads) = (vec![], vec![], 0);
    for i in 0..o.max_new_tokens {
        if window.len() > block {
            let keep = match o.context {
                ContextOverflow::Exact => block,
                ContextOverflow::Hop if block == 1 => 1,
                ContextOverflow::Hop => block / 2,
            };
            window.drain(..window.len() - keep);
            rereads += keep - 1; // the newest was not read before
        }
        let z: Vec<_> = samples
            .iter()
            .map(|s| logits(cpu, gpt, s, &window))
            .collect();
        let each: Vec<_> = z.iter().map(|z| probabilities(z, 1.0)).collect();
        let p = mean(&each);
        let q = kept(&z, o, text);
        let u = Stream::new(o.seed, StreamTag::Generate, 0).uniform(text, i as u64);
        let mut left = u * q.iter().sum::<f64>();
        let token = q
            .iter()
            .position(|q| {
                left -= q;
                left < 0.0
            })
            .unwrap();
        let expected_entropy = each.iter().map(|p| entropy(p)).sum::<f64>() / each.len() as f64;
        info.push(TokenInfo {
            token: token as u16,
            entropy: entropy(&p),
            expected_entropy,
            mutual_information: entropy(&p) - expected_entropy,
            log_prob: p[token].ln(),
            draw_log_prob: q[token].ln(),
        });
        tokens.push(token as u16);
        window.push(token as u16);
    }
    Generated {
        tokens,
        info,
        rereads,
    }
}

/// Logits of up to about 10 are right to 1e-5 of that, and what is made of them to a few times as much.
pub const TOLERANCE: f64 = 5e-4;

pub fn close(a: &TokenInfo, b: &TokenInfo, tolerance: f64) {
    assert_eq!(a.token, b.token);
    for (a, b) in [
        (a.entropy, b.entropy),
        (a.expected_entropy, b.expected_entropy),
        (a.mutual_information, b.mutual_information),
        (a.log_prob, b.log_prob),
        (a.draw_log_prob, b.draw_log_prob),
    ] {
        assert!((a - b).abs() < tolerance, "{a} and {b}");
    }
}

pub fn all_close(a: &Generated, b: &Generated, tolerance: f64) {
    assert_eq!((&a.tokens, a.rereads), (&b.tokens, b.rereads));
    assert_eq!(a.info.len(), b.info.len());
    for (a, b) in a.info.iter().zip(&b.info) {
        close(a, b, tolerance);
    }
}

/// A count of n independent events of probability q lies within Bernstein's bound. False alarm: below 1e-6 / share.
pub fn within(count: usize, n: usize, q: f64, share: f64) {
    // P(|X - n q| >= s) <= 2 exp(-s^2 / (2 (n q (1 - q) + s / 3))), solved for s
    let (n, l) = (n as f64, (2.0 * share / 1e-6).ln());
    let s = l / 3.0 + (l * l / 9.0 + 2.0 * n * q * (1.0 - q) * l).sqrt();
    assert!((count as f64 - n * q).abs() <= s, "{count} of {n}, not {q}");
}
