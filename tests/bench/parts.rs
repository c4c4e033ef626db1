//! Parts on their own: gradients, sampler updates, AdamW. `cargo bench --bench parts`; divan prints the median.

use bnn::backend::vectors::{AdamW, Coefficients, Langevin, Noise, Rule, Vectors};
use bnn::backend::{Backend, Cpu};
use bnn::generate::{Generator, Options};
use bnn::gpt::{Gpt, GptConfig, NAMED, Objective, WeightType, Workspace};
use bnn::rng::{Purpose, Stream};
use divan::Bencher;

fn main() {
    divan::main();
}

fn cpu() -> Cpu {
    Cpu::new(2).expect("two threads")
}

fn model(shape: &str) -> (Gpt, usize, usize) {
    let &(_, b, t) = NAMED.iter().find(|n| n.0 == shape).expect("a named shape");
    let gpt = Gpt::new(GptConfig::named(shape, 65).expect("a named shape")).expect("a model");
    (gpt, b, t)
}

/// The gradient of a batch at the shape's usual size.
#[divan::bench(args = ["cpu", "baby"])]
fn gradient(bencher: Bencher, shape: &str) {
    let (be, (gpt, b, t)) = (cpu(), model(shape));
    let params = gpt.layout().init(1);
    let x: Vec<u16> = (0..b * t).map(|i| (i * 7 % 65) as u16).collect();
    let mut ws = Workspace::for_gradients(&be, gpt.config(), b, t).expect("room");
    let mut grad = be.zeros(params.len()).expect("room");
    bencher.bench_local(|| {
        gpt.gradient(
            &be,
            &params,
            &x,
            &x,
            t,
            Objective::All,
            None,
            &mut ws,
            &mut grad,
        )
        .expect("a gradient")
    });
}

/// One pass of a sampler's update, noise included, without and with a mass.
#[divan::bench(args = ["sgld", "sghmc", "baoa", "baoa with mass"])]
fn update_baby(bencher: Bencher, what: &str) {
    let be = cpu();
    let n = model("baby").0.n_params();
    let (mut theta, mut momenta) = (vec![0.1f32; n], vec![0.1f32; n]);
    let (grad, center, mass) = (vec![0.1f32; n], vec![0.0f32; n], vec![2.0f32; n]);
    let k = Coefficients {
        kick: 1e-3,
        friction: 1e-2,
        noise: 1e-2,
        drift: 1e-3,
    };
    let rule = match what {
        "sgld" => Rule::Sgld {
            drift: 1e-3,
            noise: 1e-2,
        },
        "sghmc" => Rule::Sghmc(k),
        _ => Rule::Baoa(k),
    };
    let stream = Stream::new(1, Purpose::Noise, 0);
    let mut step = 0;
    bencher.bench_local(|| {
        step += 1;
        let on = Langevin {
            theta: &mut theta,
            momenta: &mut momenta,
            grad: &grad,
            center: &center,
            mass: what.ends_with("mass").then_some(&mass),
            noise: Noise::Counter { stream, step },
        };
        be.langevin_update(rule, on).expect("an update")
    });
}

/// One step of AdamW.
#[divan::bench(args = ["cpu", "baby"])]
fn adamw(bencher: Bencher, shape: &str) {
    let (be, gpt) = (cpu(), model(shape).0);
    let n = gpt.n_params();
    let (mut theta, mut m, mut v) = (vec![0.1f32; n], vec![0.0f32; n], vec![0.0f32; n]);
    let grad = vec![0.1f32; n];
    let decay: Vec<_> = gpt
        .layout()
        .decayed()
        .filter_map(|(r, d)| d.then_some(r))
        .collect();
    let a = AdamW {
        lr: 1e-4,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 10,
        grad_scale: 1.0,
    };
    bencher.bench_local(|| {
        be.adamw_update(&mut theta, &grad, &mut m, &mut v, &decay, &a)
            .expect("an update")
    });
}

/// The forward pass alone, as an evaluation runs it.
#[divan::bench(args = ["cpu", "baby"])]
fn logits(bencher: Bencher, shape: &str) {
    let (be, (gpt, b, t)) = (cpu(), model(shape));
    let params = gpt.layout().init(1);
    let x: Vec<u16> = (0..b * t).map(|i| (i * 7 % 65) as u16).collect();
    let mut ws = Workspace::for_prediction(&be, gpt.config(), b, t).expect("room");
    let mut out = vec![0.0; b * t * 65];
    bencher.bench_local(|| {
        be.batch(usize::MAX, || {
            gpt.logits(&be, &params, &x, t, &mut ws, &mut out)
        })
        .expect("logits")
    });
}

/// 100 tokens after each prompt of 20, averaged over samples: shape, samples, prompts, weights.
#[divan::bench(args = ["cpu 1 1 f32", "cpu 10 1 f32", "baby 1 1 f32", "baby 1 1 bf16", "baby 10 1 f32", "baby 10 1 bf16", "baby 10 8 f32", "baby 10 8 bf16"], sample_count = 3, sample_size = 1)]
fn generate_100(bencher: Bencher, what: &str) {
    let words: Vec<_> = what.split(' ').collect();
    let number = |i: usize| words[i].parse::<u64>().expect("a number");
    let form = match words[3] {
        "bf16" => WeightType::Bf16,
        _ => WeightType::F32,
    };
    let (be, gpt) = (cpu(), model(words[0]).0);
    let samples = (0..number(1)).map(|seed| gpt.layout().init(seed)).collect();
    let mut generator = Generator::with_weights(&be, &gpt, samples, form).expect("a generator");
    let prompt: Vec<u16> = (0..20).collect();
    let prompts = vec![&prompt[..]; number(2) as usize];
    bencher.bench_local(|| {
        generator
            .generate_batch(&prompts, &Options::default(), 0, |_, _| true)
            .expect("texts")
    });
}
