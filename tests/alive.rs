//! Is the chain alive: what is read off the chain itself, against closed forms.
#![allow(clippy::single_range_in_vec_init)] // one tensor is a list of one range

mod common;

use bnn::backend::Cpu;
use bnn::data::{Batch, Windows};
use bnn::gpt::{Gelu, Gpt, GptConfig, Objective};
use bnn::posterior::{Posterior, Prior};
use bnn::rng::{Purpose, Stream};
use bnn::samplers::{
    BatchMeans, Chain, Config, Method, Phase, Preconditioner, Sampler, Temperatures,
};
use common::discretised::{Target, kinetic, stationary};
use common::normals;

fn gpt() -> Gpt {
    Gpt::new(GptConfig {
        vocab_size: 7,
        block_size: 8,
        n_layer: 1,
        n_head: 2,
        n_embd: 6,
        bias: true,
        dropout: 0.0,
        gelu: Gelu::Exact,
    })
    .unwrap()
}

fn posterior(cpu: &Cpu, gpt: &Gpt) -> Posterior<Cpu> {
    let prior = Prior::isotropic(0.8);
    Posterior::new(cpu, gpt, &prior, 500.0, Objective::All, 2, 5).unwrap()
}

fn batch(step: u64) -> Batch {
    let text = common::tokens(100, 7, 1);
    let windows = Windows::all(text.len(), 5).unwrap();
    let mut batch = Batch::new(2, 5).unwrap();
    windows.fill(&text, 3, 0, step, &mut batch).unwrap();
    batch
}

// ---------------------------------------------------------------- running means

/// Mean and deviation from their definitions, the batches from theirs, and the same bits whenever the stream was broken off.
#[test]
fn running_means_are_those_of_the_whole_stream() {
    let n = 173;
    let x: Vec<[f64; 2]> = (0..n)
        .map(|i| [f64::from(i * i % 31) - 4.0, 1e6 + f64::from(i % 7)])
        .collect();
    let mut all = BatchMeans::new(2);
    for (i, x) in x.iter().enumerate() {
        let state = all.state();
        let again = BatchMeans::restore(2, all.count(), &state).unwrap();
        assert_eq!(again, all, "after {i}");
        all = again;
        all.push(x);
    }
    for k in 0..2 {
        let column: Vec<f64> = x.iter().map(|x| x[k]).collect();
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let m = mean(&column);
        let squares: f64 = column.iter().map(|x| (x - m).powi(2)).sum();
        // 173 values go in batches of 8: 21 full ones
        let batches: Vec<f64> = column.chunks_exact(8).map(mean).collect();
        let bm = mean(&batches);
        let between: f64 = batches.iter().map(|b| (b - bm).powi(2)).sum();
        let got = all.get(k).unwrap();
        let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-9, "{a}, not {b}");
        close(got.mean, m);
        close(got.sd.unwrap(), (squares / 172.0).sqrt());
        close(got.std_error.unwrap(), (between / (21.0 * 20.0)).sqrt());
    }
    assert!(all.get(2).is_none() && BatchMeans::new(1).get(0).is_none());
    assert!(BatchMeans::restore(2, 173, &all.state()[1..]).is_err());
}

/// 400 autoregressive streams x' = a x + z with a = 1/2: the mean's variance is (1 + a) / (1 - a) / n = 3 / n times theirs. The mean of
/// the squared standard errors is within 10 % of it: over 25 batches and 400 streams its own deviation is 1.4 %, so that 10 % is 7 of
/// them, a false alarm in 1e-11. Were values taken for independent it would be a third.
#[test]
fn the_standard_error_counts_autocorrelation() {
    let (width, n) = (400, 6400);
    let stream = Stream::new(3, Purpose::Evaluate, 0);
    let mut x = vec![0.0; width];
    let mut means = BatchMeans::new(width);
    for step in 0..n {
        for (i, x) in x.iter_mut().enumerate() {
            *x = 0.5 * *x + f64::from(stream.normal(step, i as u64));
        }
        means.push(&x);
    }
    let squares = (0..width).map(|i| means.get(i).unwrap().std_error.unwrap().powi(2));
    let got = squares.sum::<f64>() / width as f64;
    let want = 3.0 * (1.0 / 0.75) / n as f64;
    assert!((got / want - 1.0).abs() < 0.1, "{got}, not {want}");
}

// ---------------------------------------------------------------- temperatures of tensors

/// log_post = -lambda (x - 1)^2 / 2 on two ranges, the gradient of the second with noise of variance `noise`: each range's temperatures are those of
/// the exact stationary moments of the step, within 8 standard errors (from 20 batches or more: a false alarm in 1e-7). The noise heats its range by
/// a quarter or more, some 100 standard errors; a mean over both ranges in place of each fails as far off.
#[test]
fn each_range_has_its_own_temperature() {
    let cpu = Cpu::new(1).unwrap();
    let (lambda, noise, sizes) = (3.0, [0.0, 2.0], [1500, 2500]);
    for method in [Method::Baoa, Method::Sghmc, Method::Sgld] {
        let step_size = if method == Method::Sgld { 0.1 } else { 0.4 };
        let mut c = Config::new(method, step_size);
        c.temperature = 0.7;
        if method.has_momenta() {
            (c.alpha, c.sigma) = (1.1, 1.3);
        }
        (c.warmup_steps, c.sampling_steps, c.thinning) = (100, 3000, 1);
        let n = sizes[0] + sizes[1];
        let mut sampler = Sampler::new(cpu.clone(), &normals(n, 1), c.clone()).unwrap();
        let mass: Vec<f32> = (0..n)
            .map(|i| if i < sizes[0] { 2.0 } else { 0.5 })
            .collect();
        sampler.set_mass(&mass).unwrap();
        let ranges = vec![0..sizes[0], sizes[0]..n];
        let mut t = Temperatures::new(3, ranges).unwrap();
        let stream = Stream::new(8, Purpose::Evaluate, 0);
        let (mut z, mut made) = (vec![0.0; n], 0);
        while sampler.phase() != Phase::Done {
            stream.fill_normal(sampler.step(), &mut z);
            let at = |i: usize| noise[usize::from(i >= sizes[0])] as f32;
            let theta = sampler.params();
            let grad: Vec<f32> = (0..n)
                .map(|i| -lambda as f32 * (theta[i] - 1.0) + at(i).sqrt() * z[i])
                .collect();
            if sampler.phase() == Phase::Sampling {
                if t.due(made) {
                    t.read(&sampler, &grad).unwrap();
                    t.keep();
                }
                made += 1;
            }
            sampler.step_with_gradient(&grad, 0.0).unwrap();
        }
        assert_eq!(t.count(), 1000);
        for i in 0..2 {
            let on = Target {
                precision: vec![vec![lambda]],
                mass: vec![[2.0, 0.5][i]],
                gradient_noise: vec![vec![noise[i]]],
            };
            let s = stationary(&c, &on);
            let off = |got: bnn::samplers::RunningMean, want: f64| {
                (got.mean - want).abs() / got.std_error.unwrap()
            };
            let configurational = lambda * s[0][0];
            let z = off(t.configurational(i).unwrap(), configurational);
            assert!(z < 8.0, "{method} {i}: {z}");
            if method.has_momenta() {
                let want = kinetic(&c, &on, &s);
                let z = off(t.kinetic(i).unwrap(), want);
                assert!(z < 8.0, "{method} {i}: {z}");
                assert!(i == 0 || want > 1.25 * 0.7, "{want}");
            } else {
                assert_eq!(t.kinetic(i).unwrap().mean, 0.0);
            }
            // what the documentation says of BAOA
            if method == Method::Baoa && i == 0 {
                assert!((configurational / 0.7 - 1.0).abs() < 1e-9);
                assert!((kinetic(&c, &on, &s) / 0.7 - 1.0).abs() < 1e-9);
            }
        }
    }
}

/// A chain takes them at every second sampling step, from the state before the step: over all parameters they are the reports' numbers, the
/// kinetic one that of the step before.
#[test]
fn a_chain_takes_them_before_the_step_while_it_samples() {
    let (cpu, gpt) = (Cpu::new(1).unwrap(), gpt());
    let mut c = Config::new(Method::Baoa, 1e-3);
    (c.warmup_steps, c.sampling_steps, c.thinning) = (3, 25, 1);
    let none = Preconditioner::None;
    let theta = gpt.layout().init(1);
    let mut chain = Chain::new(&cpu, posterior(&cpu, &gpt), &theta, c, none).unwrap();
    let t = Temperatures::new(2, vec![0..gpt.n_params()]).unwrap();
    chain.watch(t);
    let mut want = BatchMeans::new(2);
    let mut before = 0.0;
    while chain.phase() != Phase::Done {
        let step = chain.steps_made();
        let r = chain.step(&batch(step)).unwrap();
        if step >= 3 && (step - 3) % 2 == 1 {
            want.push(&[before, r.configurational_temperature.unwrap()]);
        }
        before = r.kinetic_temperature.unwrap();
    }
    let got = chain.temperatures().unwrap();
    assert_eq!((got.count(), want.count()), (12, 12));
    for (got, want) in [
        (got.kinetic(0), want.get(0)),
        (got.configurational(0), want.get(1)),
    ] {
        let (got, want) = (got.unwrap(), want.unwrap());
        assert!((got.mean / want.mean - 1.0).abs() < 1e-5);
        assert!((got.sd.unwrap() / want.sd.unwrap() - 1.0).abs() < 1e-3);
    }
    assert!(Temperatures::new(0, vec![0..1]).is_err());
    assert!(Temperatures::new(1, vec![0..1, 1..1]).is_err());
}
