//! The deterministic model's training: its schedule and its step by hand, against another optimiser, and to its end.

mod common;

use bnn::Error;
use bnn::backend::{Cpu, Vectors};
use bnn::baseline::{Recipe, Trainer};
use bnn::data::{Batch, Windows};
use bnn::gpt::{Gelu, Gpt, GptConfig, Objective, TokenBatch, Workspace};
use common::ensure::every_isa;
use common::{Reference, bits, distance, norm, relative_error, wide};

fn gpt(vocab_size: usize, dropout: f32) -> Gpt {
    Gpt::new(GptConfig {
        vocab_size,
        block_size: 10,
        n_layer: 2,
        n_head: 2,
        n_embd: 16,
        bias: true,
        dropout,
        gelu: Gelu::Exact,
        tie_weights: true,
    })
    .unwrap()
}

fn recipe() -> Recipe {
    Recipe {
        iters: 10,
        learning_rate: 0.02,
        warmup_iters: 4,
        final_fraction: 0.1,
        weight_decay: 0.5,
        beta1: 0.8,
        beta2: 0.95,
        grad_clip: 1.0,
        seed: 11,
    }
}

/// A batch of 3 windows of 8 tokens.
fn batch(v: usize, step: u64) -> Batch {
    let mut batch = Batch::new(3, 8).unwrap();
    batch.x = common::tokens(24, v, 2 * step);
    batch.y = common::tokens(24, v, 2 * step + 1);
    batch
}

fn trainer(cpu: &Cpu, gpt: &Gpt, recipe: &Recipe) -> Trainer<Cpu> {
    Trainer::new(cpu, gpt, recipe, 3, 8).unwrap()
}

// ---------------------------------------------------------------- the schedule

/// nanoGPT's `get_lr` at 10 steps with 4 of warm-up: (i + 1)/5 of the peak, then half a cosine over 6 to a tenth.
#[test]
fn the_learning_rate_by_hand() {
    let recipe = recipe();
    let half = 3f64.sqrt() / 2.0; // cos(pi / 6)
    for (step, share) in [
        (0, 0.2),
        (1, 0.4),
        (2, 0.6),
        (3, 0.8),
        (4, 1.0),
        (5, 0.1 + 0.45 * (1.0 + half)),
        (6, 0.1 + 0.45 * 1.5),
        (7, 0.55),
        (8, 0.1 + 0.45 * 0.5),
        (9, 0.1 + 0.45 * (1.0 - half)),
        (10, 0.1),
        (1000, 0.1),
    ] {
        let got = recipe.learning_rate_at(step) / 0.02;
        assert!(
            (got - share).abs() < 1e-12,
            "step {step}: {got}, not {share}"
        );
    }
    let at = |change: fn(&mut Recipe), step: u64| {
        let mut recipe = recipe.clone();
        change(&mut recipe);
        recipe.learning_rate_at(step) / recipe.learning_rate
    };
    assert!((at(|r| r.warmup_iters = 0, 0) - 1.0).abs() < 1e-12);
    assert!((at(|r| r.final_fraction = 1.0, 8) - 1.0).abs() < 1e-12);
    assert!((at(|r| r.final_fraction = 0.0, 8) - 0.25).abs() < 1e-12);
    assert!((at(|r| r.final_fraction = 0.0, 10)).abs() < 1e-12);
    // all of it warm-up
    assert!(at(|r| r.warmup_iters = u64::MAX, 9) < 1e-18);
    assert!((at(|r| r.warmup_iters = 10, 9) - 10.0 / 11.0).abs() < 1e-12);
}

// ---------------------------------------------------------------- the step

/// With one token in the vocabulary the loss and its gradient are 0, and decay is all there is: on matrices alone.
#[test]
fn decay_shrinks_matrices_alone() {
    let cpu = Cpu::new(1).unwrap();
    let (gpt, recipe) = (gpt(1, 0.0), recipe());
    let mut trainer = trainer(&cpu, &gpt, &recipe);
    let start = gpt.layout().init(recipe.seed);
    assert_eq!(bits(trainer.params()), bits(&start));
    let mut factor = 1.0;
    for step in 0..3 {
        assert_eq!(trainer.step(&batch(1, step)).unwrap(), 0.0);
        factor *= 1.0 - recipe.learning_rate_at(step) * 0.5;
    }
    assert_eq!(trainer.step_count(), 3);
    assert!(factor < 0.99);
    for tensor in gpt.layout().tensors() {
        let (before, after) = (
            &start[tensor.range.clone()],
            &trainer.params()[tensor.range.clone()],
        );
        if tensor.shape.len() == 1 {
            assert_eq!(bits(before), bits(after), "{}", tensor.name);
            continue;
        }
        let want: Vec<f64> = before.iter().map(|&v| factor * v as f64).collect();
        // a rounding a step
        assert!(relative_error(after, &want) < 1e-7 * 3.0, "{}", tensor.name);
    }
}

/// The first step of Adam from m = v = 0 is lr g / (|g| + eps), g the clipped gradient. A limit of 1e-8 makes g as
/// small as eps, so that the clip shows; the default does not.
#[test]
fn the_gradient_is_clipped_to_its_norm() {
    let cpu = Cpu::new(1).unwrap();
    let gpt = gpt(11, 0.0);
    let batch = batch(11, 1);
    let start = gpt.layout().init(11);
    let mut ws = Workspace::for_gradients(&cpu, gpt.config(), 3, 8).unwrap();
    let mut grad = cpu.zeros(gpt.n_params()).unwrap();
    let loss = gpt
        .gradient(
            &cpu,
            &start,
            TokenBatch::new(&batch.x, &batch.y, 8, Objective::All),
            None,
            &mut ws,
            &mut grad,
        )
        .unwrap();
    let whole = norm(&wide(&grad));
    assert!(whole > 1.0);
    let mut moves = Vec::new();
    for clip in [0.0, 1e-8, 1e-6, 10.0 * whole] {
        let recipe = Recipe {
            grad_clip: clip,
            weight_decay: 0.0,
            ..recipe()
        };
        let scale = if clip > 0.0 {
            (clip / (whole + 1e-6)).min(1.0)
        } else {
            1.0
        };
        let mut trainer = trainer(&cpu, &gpt, &recipe);
        assert_eq!(trainer.step(&batch).unwrap(), loss);
        let step = |(v, g): (&f32, f64)| {
            let g = scale * g;
            *v as f64 + -recipe.learning_rate_at(0) * g / (g.abs() + 1e-8)
        };
        let want: Vec<f64> = start.iter().zip(wide(&grad)).map(step).collect();
        let moved = distance(trainer.params(), &wide(&start));
        let error = distance(trainer.params(), &want) / moved;
        // Of the move, 4e-3 on parameters of up to 1 (or far less, where it is clipped): each rounds to 6e-8.
        let rounding = 6e-8 * norm(&wide(&start)) / moved;
        assert!(error < 1e-6 + rounding, "clip {clip}: off by {error:e}");
        moves.push(moved);
    }
    assert!(moves[1] < 0.1 * moves[2] && moves[2] < 0.9 * moves[0]);
    assert_eq!(moves[0], moves[3]);
}

/// Five steps of another implementation in f64: learning rates, clipping, decay and bias corrections.
#[test]
fn five_steps_of_torch() {
    let r = Reference::open("adamw.safetensors");
    let config: GptConfig = serde_json::from_value(r.metadata("config")).unwrap();
    let recipe: Recipe = serde_json::from_value(r.metadata("recipe")).unwrap();
    let gpt = Gpt::new(config).unwrap();
    let (x, y) = (r.tokens("x"), r.tokens("y"));
    let [steps, b, t] = r.shape("x")[..] else {
        panic!("x is (steps, B, T)")
    };
    let (init, loss) = (r.f32("init"), r.f32("loss"));
    assert_eq!(loss.len(), steps);
    let norms = r.f32("norm");
    assert!(norms.iter().any(|&n| n > 1.2) && norms.iter().any(|&n| n < 1.0));
    // The gradient of a key's bias is 0, since it shifts all scores of a row alike: Adam makes a step of its rounding.
    let c = gpt.config().n_embd;
    let noise = |i: usize| {
        let owner = gpt.layout().owner(i).unwrap();
        let at = i - owner.range.start;
        owner.name.ends_with("c_attn.bias") && (c..2 * c).contains(&at)
    };
    for cpu in common::every_cpu() {
        let mut trainer = Trainer::new(&cpu, &gpt, &recipe, b, t).unwrap();
        assert_eq!(bits(trainer.params()), bits(&init), "initial parameters");
        for (i, &loss) in loss.iter().enumerate() {
            let of = i * b * t..(i + 1) * b * t;
            let batch = Batch {
                x: x[of.clone()].to_vec(),
                y: y[of].to_vec(),
                b,
                t,
            };
            let got = trainer.step(&batch).unwrap();
            assert!((got / loss as f64 - 1.0).abs() < 1e-5, "step {i}: {got}");
            if i != 0 && i != steps - 1 {
                continue;
            }
            let want = r.f32(&format!("theta_{}", i + 1));
            let kept: Vec<usize> = (0..want.len()).filter(|&i| !noise(i)).collect();
            let of = |x: &[f32]| -> Vec<f32> { kept.iter().map(|&i| x[i]).collect() };
            let (got, want, start) = (of(trainer.params()), of(&want), of(&init));
            // Relative to the way that was made, a hundredth of the parameters' norm.
            let error = distance(&got, &wide(&want)) / distance(&want, &wide(&start));
            assert!(error < 1e-5, "after step {i}: off by {error:e}");
        }
    }
}

// ---------------------------------------------------------------- a whole training

/// In a text that repeats each token has one that follows it: the loss goes from ln 7 to about 0.
#[test]
fn a_repeated_text_is_learnt() {
    let cpu = Cpu::new(1).unwrap();
    let text: Vec<u16> = (0..200).map(|i| [0, 3, 1, 4, 2, 6, 5][i % 7]).collect();
    let windows = Windows::all(text.len(), 8).unwrap();
    let mut batch = Batch::new(3, 8).unwrap();
    let recipe = Recipe {
        iters: 150,
        learning_rate: 1e-2,
        warmup_iters: 10,
        ..Recipe::default()
    };
    let mut trainer = trainer(&cpu, &gpt(7, 0.0), &recipe);
    let mut losses = Vec::new();
    for step in 0..recipe.iters {
        windows.fill(&text, 1, 0, step, &mut batch).unwrap();
        losses.push(trainer.step(&batch).unwrap());
    }
    assert!((losses[0] - 7f64.ln()).abs() < 0.1, "{}", losses[0]);
    let last = losses.last().unwrap();
    assert!(*last < 0.02, "{last}");
}

/// Bit for bit, whatever the threads, dropout included; another seed gives another model.
#[test]
fn the_same_seed_gives_the_same_parameters() {
    let train = |cpu: &Cpu, seed: u64, dropout: f32| {
        let recipe = Recipe { seed, ..recipe() };
        let mut trainer = trainer(cpu, &gpt(11, dropout), &recipe);
        for step in 0..4 {
            trainer.step(&batch(11, step)).unwrap();
        }
        bits(trainer.params())
    };
    for isa in every_isa() {
        let cpu = |threads| Cpu::with_isa(threads, isa).unwrap();
        for dropout in [0.0, 0.3] {
            let first = train(&cpu(1), 5, dropout);
            for threads in 1..=3 {
                assert!(
                    first == train(&cpu(threads), 5, dropout),
                    "{threads} threads"
                );
            }
            assert_ne!(first, train(&cpu(1), 6, dropout));
        }
        assert_ne!(train(&cpu(1), 5, 0.0), train(&cpu(1), 5, 0.3));
    }
}

// ---------------------------------------------------------------- what is refused

#[test]
fn recipes_out_of_range_are_refused() {
    recipe().check().unwrap();
    Recipe::default().check().unwrap();
    type Change = fn(&mut Recipe);
    let cases: [(&str, Change); 16] = [
        ("baseline_iters", |r| r.iters = 0),
        ("baseline_learning_rate", |r| r.learning_rate = 0.0),
        ("baseline_learning_rate", |r| r.learning_rate = f64::NAN),
        ("baseline_learning_rate", |r| {
            r.learning_rate = f64::INFINITY
        }),
        ("final_fraction", |r| r.final_fraction = -0.1),
        ("final_fraction", |r| r.final_fraction = 1.1),
        ("final_fraction", |r| r.final_fraction = f64::NAN),
        ("weight_decay", |r| r.weight_decay = -0.1),
        ("weight_decay", |r| r.weight_decay = f64::INFINITY),
        ("beta1", |r| r.beta1 = 1.0),
        ("beta1", |r| r.beta1 = -0.1),
        ("beta2", |r| r.beta2 = 1.0),
        ("beta2", |r| r.beta2 = f64::NAN),
        ("grad_clip", |r| r.grad_clip = -1.0),
        ("grad_clip", |r| r.grad_clip = f64::NAN),
        ("grad_clip", |r| r.grad_clip = f64::INFINITY),
    ];
    let (cpu, gpt) = (Cpu::new(1).unwrap(), gpt(11, 0.0));
    for (field, change) in cases {
        let mut recipe = recipe();
        change(&mut recipe);
        let refused = Trainer::new(&cpu, &gpt, &recipe, 3, 8).err().expect(field);
        let text = refused.to_string();
        assert!(text.starts_with(&format!("{field}:")), "{text}");
    }
    let ends: [Change; 7] = [
        |r| r.iters = 1,
        |r| r.final_fraction = 0.0,
        |r| r.final_fraction = 1.0,
        |r| r.weight_decay = 0.0,
        |r| r.beta1 = 0.0,
        |r| r.grad_clip = 0.0,
        |r| r.warmup_iters = 0,
    ];
    for change in ends {
        let mut recipe = recipe();
        change(&mut recipe);
        recipe.check().unwrap();
    }
    let unknown = serde_json::from_str::<Recipe>(r#"{"iterations": 5}"#).unwrap_err();
    assert!(unknown.to_string().contains("iterations"));
}

/// A learning rate far too large: the step after the first sees a loss that is no number, says so, and leaves the
/// parameters as they were.
#[test]
fn a_diverged_training_stops() {
    let (cpu, gpt) = (Cpu::new(1).unwrap(), gpt(11, 0.0));
    let recipe = Recipe {
        learning_rate: 1e30,
        weight_decay: 0.0,
        ..recipe()
    };
    let mut trainer = trainer(&cpu, &gpt, &recipe);
    trainer.step(&batch(11, 0)).unwrap();
    let before = bits(trainer.params());
    for _ in 0..2 {
        match trainer.step(&batch(11, 1)).unwrap_err() {
            Error::NotFinite {
                step,
                tensor,
                value,
            } => {
                assert_eq!(step, 1);
                assert!(
                    tensor == "loss" || tensor.starts_with("gradient of "),
                    "{tensor}"
                );
                assert!(!value.is_finite());
            }
            other => panic!("{other}"),
        }
        assert_eq!(trainer.step_count(), 1);
        assert_eq!(bits(trainer.params()), before);
    }
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let cpu = Cpu::new(1).unwrap();
    let mut trainer = trainer(&cpu, &gpt(11, 0.0), &recipe());
    let before = bits(trainer.params());
    let mut unknown = batch(11, 0);
    unknown.x[9] = 11;
    let text = trainer.step(&unknown).unwrap_err().to_string();
    assert!(text.contains("x[1, 1]"), "{text}");
    let text = trainer
        .step(&Batch::new(4, 8).unwrap())
        .unwrap_err()
        .to_string();
    assert!(text.contains("at most 24"), "{text}");
    assert_eq!((trainer.step_count(), bits(trainer.params())), (0, before));
    let text = Trainer::new(&cpu, &gpt(11, 0.0), &recipe(), 3, 11)
        .err()
        .unwrap()
        .to_string();
    assert!(text.contains("block_size = 10"), "{text}");
}
