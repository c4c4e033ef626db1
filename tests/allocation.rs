//! Steps allocate nothing after the first: of a sampler, a chain, the trainer, a gradient, a decoder. Counted by the
//! allocator, on one thread.
#![allow(unsafe_code)] // an allocator is an unsafe trait

mod common;

use bnn::backend::cpu::isa::{Isa, Level};
use bnn::backend::{Cpu, Vectors};
use bnn::baseline::{Recipe, Trainer};
use bnn::data::{Batch, Windows};
use bnn::gpt::{
    Ensemble, Gelu, Gpt, GptConfig, Objective, Piece, SquareSums, Squares, TokenBatch, Training,
    WeightType, Workspace,
};
use bnn::inference::{At, Evaluator, Sequences};
use bnn::posterior::{Posterior, Prior, PriorUnits};
use bnn::samplers::{Chain, ChainConfig, Method, Phase, Preconditioner, Sampler, Temperatures};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator unchanged; the counter is the thread's own and allocates
// nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|c| c.set(c.get() + 1));
        // SAFETY: the layout is what the caller of this function promises it to be.
        unsafe { System.alloc(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|c| c.set(c.get() + 1));
        // SAFETY: `at` came from this allocator, which is the system's, with this layout.
        unsafe { System.realloc(at, layout, size) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from this allocator, which is the system's, with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `f` allocates.
fn allocations<R>(f: impl FnOnce() -> R) -> usize {
    let before = COUNT.with(Cell::get);
    let result = f();
    let count = COUNT.with(Cell::get) - before;
    drop(result);
    count
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| vec![1u8; 100]), 1);
    let mut grown = Vec::with_capacity(1);
    assert_eq!(allocations(|| (0..2).for_each(|i| grown.push(i))), 1);
    assert_eq!(allocations(|| 1), 0);
}

#[test]
fn a_samplers_step_allocates_nothing() {
    let n = 3 * 4096 + 5;
    let grad = vec![0.1; n];
    for method in Method::ALL {
        let mut config = ChainConfig::new(method, 1e-3);
        config.warmup_steps = 2;
        config.seed = 1;
        let mut sampler = Sampler::new(Cpu::new(1).unwrap(), &grad, config).unwrap();
        for with_mass in [false, true] {
            let before = COUNT.with(Cell::get);
            sampler.step_with_gradient(&grad, -1.0).unwrap();
            sampler.step_with_noise(&grad, -1.0, &grad).unwrap();
            assert_eq!(COUNT.with(Cell::get), before, "{method}, mass {with_mass}");
            if !with_mass {
                sampler.set_mass(&vec![2.0; n]).unwrap();
                assert!(COUNT.with(Cell::get) > before, "the counter counts");
            }
        }
    }
}

/// One thread, on each instruction set but the plainest, whose matrix products another crate makes with buffers of its
/// own.
fn cpus() -> impl Iterator<Item = Cpu> {
    let own = |isa: &Isa| isa.level() != Level::Portable;
    let cpu = |isa| Cpu::with_isa(1, isa).unwrap();
    Isa::all().into_iter().filter(own).map(cpu)
}

/// A shape whose attention takes two blocks of rows, and whose products take every kind of kernel.
fn model(dropout: f32) -> Gpt {
    Gpt::new(GptConfig {
        vocab_size: 31,
        block_size: 80,
        n_layer: 2,
        n_head: 3,
        n_embd: 48,
        bias: true,
        dropout,
        gelu: Gelu::Exact,
        tie_weights: true,
    })
    .unwrap()
}

/// Windows of a text, and a batch of 3 of 70 tokens to fill from it.
fn text() -> (Vec<u16>, Windows, Batch) {
    let tokens: Vec<u16> = (0..1000u32).map(|i| (i * i % 31) as u16).collect();
    let windows = Windows::all(tokens.len(), 70).unwrap();
    (tokens, windows, Batch::new(3, 70).unwrap())
}

#[test]
fn a_gradient_allocates_nothing() {
    for cpu in cpus() {
        let gpt = model(0.2);
        let (tokens, windows, mut batch) = text();
        let mut params = cpu.zeros(gpt.n_params()).unwrap();
        cpu.upload(&mut params, &gpt.layout().init(1)).unwrap();
        let mut ws = Workspace::for_gradients(&cpu, gpt.config(), 3, 70).unwrap();
        let mut grad = cpu.zeros(gpt.n_params()).unwrap();
        let mut squares = cpu.zeros(gpt.n_params()).unwrap();
        let mut logits = vec![0.0; 3 * 70 * 31];
        for step in 0..3 {
            let count = allocations(|| {
                windows.fill(&tokens, 1, 0, step, &mut batch).unwrap();
                let (x, t) = (&batch.x, batch.t);
                for objective in [Objective::All, Objective::Last] {
                    let batch = TokenBatch::new(x, &batch.y, t, objective);
                    gpt.loss(&cpu, &params, batch, &mut ws).unwrap();
                    let training = Some(Training { seed: 1, step });
                    for training in [None, training] {
                        gpt.gradient(&cpu, &params, batch, training, &mut ws, &mut grad)
                            .unwrap();
                    }
                    gpt.gradient_and_squares(
                        &cpu,
                        &params,
                        batch,
                        &mut ws,
                        &mut grad,
                        SquareSums {
                            of: Squares::Gradients,
                            to: &mut squares,
                        },
                    )
                    .unwrap();
                }
                gpt.logits(&cpu, &params, x, t, &mut ws, &mut logits)
                    .unwrap();
            });
            assert!(step == 0 || count == 0, "step {step}: {count}");
        }
    }
}

#[test]
fn reading_a_token_allocates_nothing() {
    for cpu in cpus() {
        let gpt = model(0.0);
        let params = gpt.layout().init(1);
        let samples = vec![params.clone(), params];
        let mut ensemble = Ensemble::new(&cpu, &gpt, samples, WeightType::F32, 2).unwrap();
        let mut out = [0.0; 2 * 62];
        let mut read = |ensemble: &mut Ensemble<Cpu>, tokens: &[u16]| {
            let pieces = [0, 1].map(|sequence| Piece { sequence, tokens });
            // Both at once, unless together they are too long.
            let count = if tokens.len() == 1 { 2 } else { 1 };
            for pieces in pieces.chunks(count) {
                ensemble.read(pieces).unwrap();
                ensemble.logits(&mut out[..62 * count]).unwrap();
            }
        };
        // the longest context once, which sets the sizes of scratch
        read(&mut ensemble, &[1; 79]);
        read(&mut ensemble, &[1]);
        (0..2).for_each(|s| ensemble.clear(s));
        for at in 0..4 {
            assert_eq!(allocations(|| read(&mut ensemble, &[2])), 0, "token {at}");
        }
    }
}

fn chain(cpu: &Cpu, method: Method, preconditioner: Preconditioner) -> (Chain<Cpu>, Temperatures) {
    let gpt = model(0.0);
    let theta = gpt.layout().init(2);
    let prior = Prior {
        family: bnn::posterior::PriorFamily::Normal,
        std: 0.5,
        center: Some(theta.clone()),
        units: PriorUnits::RelativeTo(theta.clone()),
    };
    let posterior = Posterior::new(cpu, &gpt, &prior, 1e5, Objective::All, 3, 70).unwrap();
    let mut config = ChainConfig::new(method, 1e-9);
    config.warmup_steps = 2;
    config.sampling_steps = 3;
    config.thinning = 1;
    let ranges = gpt.layout().tensors().iter().map(|t| t.range.clone());
    let temperatures = Temperatures::new(1, ranges.collect()).unwrap();
    let chain = Chain::new(cpu, posterior, &theta, config, preconditioner).unwrap();
    (chain, temperatures)
}

#[test]
fn a_chains_step_allocates_nothing() {
    for cpu in cpus() {
        let (tokens, windows, mut batch) = text();
        let rms = Preconditioner::Rms {
            steps: 3,
            floor: 0.1,
        };
        let live = Preconditioner::Live {
            steps: 3,
            floor: 0.1,
            decay: 0.9,
            gamma: true,
        };
        for method in Method::ALL {
            for preconditioner in [Preconditioner::None, rms, live] {
                if preconditioner.check_method(method).is_err() {
                    continue;
                }
                let (mut chain, mut taken) = chain(&cpu, method, preconditioner);
                while chain.phase() != Phase::Done {
                    let step = chain.steps_made();
                    let count = allocations(|| {
                        windows.fill(&tokens, 1, 0, step, &mut batch).unwrap();
                        common::step_watched(&mut chain, &batch, &mut taken).unwrap()
                    });
                    // The first step sizes the thread's scratch; the last gradient of the preconditioner makes the mass.
                    let once = step == 0 || step + 1 == preconditioner.steps();
                    assert!(once || count == 0, "{method}, step {step}: {count}");
                }
            }
        }
    }
}

#[test]
fn an_evaluation_allocates_nothing() {
    for cpu in cpus() {
        let gpt = model(0.0);
        let (tokens, windows, mut batch) = text();
        windows.fill(&tokens, 1, 0, 0, &mut batch).unwrap();
        let params = gpt.layout().init(3);
        let prior = Prior::isotropic(0.5);
        let mut posterior =
            Posterior::new(&cpu, &gpt, &prior, 1e5, Objective::Last, 3, 70).unwrap();
        posterior.evaluate(&params, &batch).unwrap();
        let count = allocations(|| posterior.evaluate(&params, &batch).unwrap());
        assert_eq!(count, 0);
    }
}

#[test]
fn a_training_step_allocates_nothing() {
    for cpu in cpus() {
        let (tokens, windows, mut batch) = text();
        let mut trainer = Trainer::new(&cpu, &model(0.1), &Recipe::default(), 3, 70).unwrap();
        for step in 0..4 {
            let count = allocations(|| {
                windows.fill(&tokens, 1, 0, step, &mut batch).unwrap();
                trainer.step(&batch).unwrap()
            });
            assert!(step == 0 || count == 0, "step {step}: {count}");
        }
    }
}

/// Broken: a workspace made anew for each call.
#[test]
fn an_evaluator_allocates_nothing_after_the_first_call_of_a_size() {
    for cpu in cpus() {
        let gpt = model(0.0);
        let params = gpt.layout().init(1);
        let tokens: Vec<u32> = (0..211u32).map(|i| i * i % 31).collect();
        let (mut grad, mut squares) = (params.clone(), params.clone());
        let (mut logits, mut log_probs) = (vec![0.0; 210 * 31], vec![0.0; 210]);
        let mut evaluator = Evaluator::new(&cpu, &gpt);
        for round in 0..4 {
            // A batch that is smaller, and in shorter sequences, has room in the first one's.
            let (n, t) = if round < 2 { (210, 70) } else { (120, 30) };
            let of = Sequences {
                x: &tokens[..n],
                y: &tokens[1..n + 1],
                t,
                objective: Objective::All,
            };
            let count = allocations(|| {
                let e = &mut evaluator;
                e.squares(At::Host(&params), of, &mut grad, &mut squares)
                    .unwrap();
                e.gradient(At::Host(&params), of, &mut grad).unwrap();
                e.loss(At::Host(&params), of).unwrap();
                let (logits, probs) = (&mut logits[..n * 31], &mut log_probs[..n]);
                e.logits(At::Host(&params), of, logits).unwrap();
                e.log_probs(At::Host(&params), of, probs).unwrap();
                e.log_probs_kept(At::Host(&params), of).unwrap();
            });
            assert!(round == 0 || count == 0, "round {round}: {count}");
        }
    }
}

/// Counts what crosses the border to C, too.
#[test]
fn an_evaluator_in_c_allocates_nothing_after_the_first_call() {
    use bnn::capi::*;
    use std::ptr::{null, null_mut};
    if cpus().next().is_none() {
        return; // the plainest instruction set's products are another crate's
    }
    let (mut context, mut model, mut evaluator) = (null_mut(), null_mut(), null_mut());
    let (mut loss, mut n) = (0.0, 0);
    // SAFETY: handles are live, and what is written to has the lengths that are given.
    unsafe {
        assert_eq!(bnn_context_new(1, &mut context, null_mut()), BNN_OK);
        let made = bnn_model_new(context, null(), 31, &mut model, null_mut());
        assert_eq!(made, BNN_OK);
        assert_eq!(
            bnn_model_sizes(model, &mut n, null_mut(), null_mut()),
            BNN_OK
        );
        let made = bnn_evaluator_new(model, &mut evaluator, null_mut());
        assert_eq!(made, BNN_OK);
        let (params, mut grad) = (vec![0.01f32; n], vec![0.0f32; n]);
        let x: Vec<u32> = (0..32).map(|i| i % 31).collect();
        for round in 0..3 {
            let count = allocations(|| {
                let (p, x, g, none, err) = (
                    params.as_ptr(),
                    x.as_ptr(),
                    grad.as_mut_ptr(),
                    null_mut(),
                    null_mut(),
                );
                let made = bnn_evaluator_gradient(
                    evaluator, p, n, x, x, 2, 16, 0, &mut loss, none, g, err,
                );
                assert_eq!(made, BNN_OK);
                let e = evaluator;
                let made = bnn_evaluator_loss(e, null(), 0, x, x, 2, 16, 1, &mut loss, none, err);
                assert_eq!(made, BNN_OK);
            });
            assert!(round == 0 || count == 0, "round {round}: {count}");
        }
        bnn_evaluator_free(evaluator);
        bnn_model_free(model);
        bnn_context_free(context);
    }
}
