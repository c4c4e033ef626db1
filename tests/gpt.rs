//! The model: against recorded values of another implementation, against plain loops in f64, and what it refuses.

mod common;

use bnn::backend::Cpu;
use bnn::gpt::{
    Gelu, Gpt, GptConfig, Objective, SquareSums, Squares, TokenBatch, Training, Workspace,
};
use bnn::{Error, Result};
use common::ensure::every_isa;
use common::model::*;
use common::reference;
use common::{Reference, bits, distance, every_cpu, norm, relative_error, wide};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const FIXTURES: [&str; 3] = [
    "gpt_tiny.safetensors",
    "gpt_bias.safetensors",
    "gpt_odd.safetensors",
];

/// Squares carry twice the relative error.
const FISHER_TOLERANCE: f64 = 4e-5;

// ---------------------------------------------------------------- recorded values

fn config_of(r: &Reference) -> GptConfig {
    serde_json::from_value(r.metadata("config")).unwrap()
}

/// Logits, losses, gradients and Fisher diagonals, computed here and not by `verify`; and the threads change no bit.
#[test]
fn recorded_values_on_every_instruction_set() {
    for file in FIXTURES {
        let r = Reference::open(file);
        let config = config_of(&r);
        let gpt = Gpt::new(config.clone()).unwrap();
        let (x, y) = (r.tokens("idx"), r.tokens("targets"));
        let [b, t] = r.shape("idx")[..] else {
            panic!("idx is (B, T)")
        };
        let mut flat = vec![f32::NAN; gpt.n_params()];
        for tensor in gpt.layout().tensors() {
            let name = format!("param.{}", tensor.name);
            assert_eq!(r.shape(&name), tensor.shape);
            flat[tensor.range.clone()].copy_from_slice(&r.f32(&name));
        }
        let close = |got: &[f32], name: &str, tolerance: f64| {
            let error = relative_error(got, &wide(&r.f32(name)));
            assert!(error < tolerance, "{file}: {name} is off by {error:e}");
        };
        let close_tensors = |got: &[f32], prefix: &str, tolerance: f64| {
            for tensor in gpt.layout().tensors() {
                let name = format!("{prefix}.{}", tensor.name);
                close(&got[tensor.range.clone()], &name, tolerance);
            }
        };
        for isa in every_isa() {
            let mut first = None;
            for threads in 1..=3 {
                let cpu = Cpu::with_isa(threads, isa).unwrap();
                assert_eq!(cpu.isa(), isa);
                let mut model = Model::new(&cpu, &config, &flat, b, t);
                let logits = model.logits(&x, t).unwrap();
                close(&logits, "logits", TOLERANCE);
                let mut seen = vec![bits(&logits)];
                for (prefix, objective) in [("", Objective::All), ("last.", Objective::Last)] {
                    let (loss, grad) = model.gradient(&x, &y, t, objective, None).unwrap();
                    close(&[loss as f32], &format!("{prefix}loss"), TOLERANCE);
                    close_tensors(&grad, &format!("{prefix}grad"), TOLERANCE);
                    let alone = model.loss(&x, &y, t, objective).unwrap();
                    // the same logits; the losses' own rounding is below 1e-6
                    assert!((alone - loss).abs() < 1e-6 * loss.abs());
                    seen.push(bits(&grad));
                    seen.push(bits(&[loss as f32, alone as f32]));
                }
                let (_, grad, mut fisher) = model.squares(&x, &y, t, Objective::All).unwrap();
                close_tensors(&grad, "grad", TOLERANCE);
                fisher.iter_mut().for_each(|f| *f /= b as f32);
                close_tensors(&fisher, "fisher", FISHER_TOLERANCE);
                seen.push(bits(&fisher));
                let first = first.get_or_insert_with(|| seen.clone());
                assert!(*first == seen, "{file}: {isa:?} with {threads} threads");
            }
        }
    }
}

// ---------------------------------------------------------------- plain loops in f64

#[derive(Clone, Debug)]
struct Case {
    config: GptConfig,
    b: usize,
    t: usize,
    objective: Objective,
    what: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let shape = (3usize..12, 1usize..10, 1usize..4, 1usize..4, 1usize..5);
    let kind = any::<[bool; 5]>();
    let batch = (1usize..4, 0usize..100, any::<u64>());
    (shape, kind, batch).prop_map(|(shape, kind, batch)| {
        let (vocab_size, block_size, n_layer, n_head, head) = shape;
        let [bias, tanh, last, drop, tie_weights] = kind;
        // At a width of 1 or 2 a layer norm gives only signs, and its gradient is rounding.
        let head = if n_head * head < 3 { 3 } else { head };
        Case {
            config: GptConfig {
                vocab_size,
                block_size,
                n_layer,
                n_head,
                n_embd: n_head * head,
                bias,
                dropout: if drop { 0.3 } else { 0.0 },
                gelu: if tanh { Gelu::Tanh } else { Gelu::Exact },
                tie_weights,
            },
            b: batch.0,
            t: 1 + batch.1 % block_size,
            objective: if last {
                Objective::Last
            } else {
                Objective::All
            },
            what: batch.2,
        }
    })
}

/// Errors are a few units of f32 (6e-8) a layer, times what a layer norm divides by (up to 316) where dropout leaves next
/// to nothing of a narrow row: below 3e-6 in nearly every case, and 1.3e-4 in the worst of 3000.
const LOOPS_TOLERANCE: f64 = 2e-4;

/// Compares logits, losses and gradients with the reference.
fn compare(cpu: &Cpu, case: &Case) {
    let Case {
        config,
        b,
        t,
        objective,
        what,
    } = case.clone();
    let (n, v) = (b * t, config.vocab_size);
    let (x, y) = (common::tokens(n, v, what), common::tokens(n, v, !what));
    let mut model = Model::random(cpu, &config, b, t, what);
    let flat = wide(&model.flat);
    let check = |what: &str, error: f64| {
        assert!(
            error < LOOPS_TOLERANCE,
            "{what}: off by {error:e} in {case:?}"
        );
    };

    let want = reference::logits(&model.gpt, &flat, &x, t, None);
    check(
        "logits",
        relative_error(&model.logits(&x, t).unwrap(), &want),
    );
    let want = reference::loss(&model.gpt, &flat, (&x, &y), t, objective, None);
    let got = model.loss(&x, &y, t, objective).unwrap();
    check("loss", (got - want).abs() / (1.0 + want));

    let training = Some(Training {
        seed: 7,
        step: what,
    });
    let (got, grad) = model.gradient(&x, &y, t, objective, training).unwrap();
    let (want, want_grad) = model.reference_gradient(&x, &y, t, objective, training);
    check("training loss", (got - want).abs() / (1.0 + want));
    // Of the whole gradient's norm: that of a key's bias, for one, is exactly 0.
    let layout = model.gpt.layout().clone();
    let check_tensors = |what: &str, got: &[f32], want: &[f64]| {
        let whole = norm(want);
        for tensor in layout.tensors() {
            let of = tensor.range.clone();
            let error = distance(&got[of.clone()], &want[of]) / whole;
            check(&format!("{what} of {}", tensor.name), error);
        }
    };
    check_tensors("gradient", &grad, &want_grad);

    // The sequences' squares, without dropout.
    let (mut want_grad, mut want_squares) = (vec![0.0; flat.len()], vec![0.0; flat.len()]);
    for (x, y) in x.chunks(t).zip(y.chunks(t)) {
        let (_, one) = model.reference_gradient(x, y, t, objective, None);
        for (i, g) in one.iter().enumerate() {
            want_grad[i] += g / b as f64;
            want_squares[i] += (g * objective.count(t, t) as f64).powi(2);
        }
    }
    let (_, grad, squares) = model.squares(&x, &y, t, objective).unwrap();
    check_tensors("mean gradient", &grad, &want_grad);
    check_tensors("squares", &squares, &want_squares);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn gradients_are_the_derivatives_of_the_loss(case in cases()) {
        compare(&Cpu::new(1).unwrap(), &case);
    }
}

/// The corners, on every instruction set: one token, one head, one layer, three tokens; dropout and the last position.
#[test]
fn small_corners_match_plain_loops() {
    for isa in every_isa() {
        let cpu = Cpu::with_isa(1, isa).unwrap();
        for (what, gelu, objective, dropout, tie_weights) in [
            (1, Gelu::Exact, Objective::All, 0.0, true),
            (2, Gelu::Tanh, Objective::Last, 0.25, false),
        ] {
            let mut config = config([3, 1, 1, 1, 4], true, gelu);
            (config.dropout, config.tie_weights) = (dropout, tie_weights);
            let case = Case {
                config,
                b: 1,
                t: 1,
                objective,
                what,
            };
            compare(&cpu, &case);
        }
    }
}

/// Several blocks of rows in attention (64 rows each): the logits, and the gradient of each tensor along one direction.
#[test]
fn long_sequences_match_plain_loops() {
    let mut config = config([13, 110, 2, 3, 24], true, Gelu::Exact);
    config.dropout = 0.2;
    let (b, t) = (2, 101);
    let (x, y) = (common::tokens(b * t, 13, 3), common::tokens(b * t, 13, 4));
    let gpt = Gpt::new(config.clone()).unwrap();
    let training = Some(Training {
        seed: 3,
        step: 1 << 40,
    });
    let flat = wide(&Model::random(&Cpu::new(1).unwrap(), &config, b, t, 5).flat);
    let loss_at = |flat: &[f64]| reference::loss(&gpt, flat, (&x, &y), t, Objective::All, training);
    let direction = |i: usize| {
        let of = gpt.layout().tensors()[i].range.clone();
        wide(&common::normals(of.len(), 50 + i as u64))
    };
    let want_logits = reference::logits(&gpt, &flat, &x, t, None);
    let want_loss = loss_at(&flat);
    let want_slopes: Vec<f64> = gpt
        .layout()
        .tensors()
        .iter()
        .enumerate()
        .map(|(i, tensor)| {
            let moved = |h: f64| {
                let mut flat = flat.clone();
                let part = flat[tensor.range.clone()].iter_mut();
                part.zip(direction(i)).for_each(|(v, d)| *v += h * d);
                loss_at(&flat)
            };
            (moved(1e-5) - moved(-1e-5)) / 2e-5
        })
        .collect();
    for isa in every_isa() {
        let cpu = Cpu::with_isa(2, isa).unwrap();
        let mut model = Model::random(&cpu, &config, b, t, 5);
        let error = relative_error(&model.logits(&x, t).unwrap(), &want_logits);
        assert!(error < TOLERANCE, "logits are off by {error:e}");
        let (loss, grad) = model.gradient(&x, &y, t, Objective::All, training).unwrap();
        assert!((loss - want_loss).abs() < TOLERANCE * want_loss);
        for (i, tensor) in gpt.layout().tensors().iter().enumerate() {
            let grad = wide(&grad[tensor.range.clone()]);
            let slope: f64 = grad.iter().zip(direction(i)).map(|(g, d)| g * d).sum();
            // Of the tensor's norm: the third derivative's part of the reference is larger than the rounding of f32.
            let error = (slope - want_slopes[i]).abs() / norm(&grad);
            assert!(error < 1e-4, "{} is off by {error:e}", tensor.name);
        }
    }
}

/// A width of 1: every layer norm gives its bias alone, whatever comes in.
#[test]
fn a_width_of_one_works() {
    let cpu = Cpu::new(1).unwrap();
    let mut model = Model::random(&cpu, &config([3, 4, 1, 1, 1], true, Gelu::Exact), 1, 3, 6);
    let (x, y) = ([0, 2, 1], [2, 1, 0]);
    let want = reference::logits(&model.gpt, &wide(&model.flat), &x, 3, None);
    assert!(relative_error(&model.logits(&x, 3).unwrap(), &want) < TOLERANCE);
    let (_, grad) = model.gradient(&x, &y, 3, Objective::All, None).unwrap();
    let (_, want) = model.reference_gradient(&x, &y, 3, Objective::All, None);
    assert!(relative_error(&grad, &want) < TOLERANCE);
}

// ---------------------------------------------------------------- batches and workspaces

#[test]
fn a_larger_workspace_changes_no_bit() {
    for cpu in every_cpu() {
        let config = config(SHAPE, true, Gelu::Tanh);
        for (b, t) in [(1, 1), (1, 12), (3, 5)] {
            let (x, y) = batch(b, t, 1);
            let mut exact = Model::random(&cpu, &config, b, t, 8);
            let mut large = Model::random(&cpu, &config, 4, 12, 8);
            // rubbish of an earlier, larger batch
            let (x_all, y_all) = batch(4, 12, 9);
            large
                .gradient(&x_all, &y_all, 12, Objective::All, None)
                .unwrap();
            assert_eq!(
                bits(&exact.logits(&x, t).unwrap()),
                bits(&large.logits(&x, t).unwrap())
            );
            for objective in [Objective::All, Objective::Last] {
                let (loss, grad) = exact.gradient(&x, &y, t, objective, None).unwrap();
                let (loss_2, grad_2) = large.gradient(&x, &y, t, objective, None).unwrap();
                assert_eq!((loss, bits(&grad)), (loss_2, bits(&grad_2)));
            }
        }
    }
}

/// Two slots serve all blocks of a prediction: 1, 2 and 3 blocks take each way through them.
#[test]
fn a_prediction_workspace_predicts_the_same() {
    let cpu = Cpu::new(1).unwrap();
    for n_layer in 1..=4 {
        let config = config([11, 12, n_layer, 2, 10], false, Gelu::Exact);
        let (x, y) = batch(2, 7, 2);
        let mut model = Model::random(&cpu, &config, 2, 7, 9);
        let logits = model.logits(&x, 7).unwrap();
        let loss = model.loss(&x, &y, 7, Objective::Last).unwrap();
        model.ws = Workspace::for_prediction(&cpu, &config, 2, 7).unwrap();
        assert_eq!(bits(&logits), bits(&model.logits(&x, 7).unwrap()));
        assert_eq!(loss, model.loss(&x, &y, 7, Objective::Last).unwrap());
        for refused in [
            model.gradient(&x, &y, 7, Objective::All, None).unwrap_err(),
            model.squares(&x, &y, 7, Objective::All).unwrap_err(),
        ] {
            let text = refused.to_string();
            assert!(
                text.contains("workspace") && text.contains("gradients"),
                "{text}"
            );
        }
    }
}

/// The mean over a batch is the mean over its sequences, and no position sees a later token.
#[test]
fn sequences_are_independent_and_attention_is_causal() {
    let cpu = Cpu::new(2).unwrap();
    let (b, t, v) = (3, 9, SHAPE[0]);
    let (x, y) = batch(b, t, 3);
    let mut model = Model::random(&cpu, &config(SHAPE, true, Gelu::Exact), b, t, 10);
    let all = model.logits(&x, t).unwrap();
    let mut sum = 0.0;
    for i in 0..b {
        let of = i * t..(i + 1) * t;
        let alone = model.logits(&x[of.clone()], t).unwrap();
        let want = wide(&all[of.start * v..of.end * v]);
        assert!(relative_error(&alone, &want) < 1e-6); // the same sums, perhaps in another order
        sum += model
            .loss(&x[of.clone()], &y[of], t, Objective::All)
            .unwrap();
    }
    let loss = model.loss(&x, &y, t, Objective::All).unwrap();
    assert!((loss - sum / b as f64).abs() < 1e-6 * loss);

    let mut changed = x.clone();
    changed[t + 5] = (x[t + 5] + 1) % v as u16; // sequence 1, position 5
    let other = model.logits(&changed, t).unwrap();
    for (i, (a, b)) in all.chunks(v).zip(other.chunks(v)).enumerate() {
        let seen = (t + 5..2 * t).contains(&i);
        assert_eq!(bits(a) != bits(b), seen, "row {i}");
    }
}

/// At the last position alone, and by hand from the logits.
#[test]
fn the_last_objective_counts_the_last_position() {
    let cpu = Cpu::new(1).unwrap();
    let (b, t, v) = (3, 4, SHAPE[0]);
    let (x, y) = batch(b, t, 4);
    let mut model = Model::random(&cpu, &config(SHAPE, false, Gelu::Exact), b, t, 11);
    let logits = wide(&model.logits(&x, t).unwrap());
    let nll = |n: usize| {
        let z = &logits[n * v..(n + 1) * v];
        z.iter().map(|z| z.exp()).sum::<f64>().ln() - z[y[n] as usize]
    };
    let want = (nll(3) + nll(7) + nll(11)) / 3.0;
    let got = model.loss(&x, &y, t, Objective::Last).unwrap();
    assert!((got - want).abs() < 1e-6 * want, "{got}, not {want}");
    // a target that does not count changes nothing
    let mut other = y.clone();
    other[5] = (y[5] + 1) % v as u16;
    let (_, grad) = model.gradient(&x, &y, t, Objective::Last, None).unwrap();
    let (_, same) = model
        .gradient(&x, &other, t, Objective::Last, None)
        .unwrap();
    assert_eq!(bits(&grad), bits(&same));
}

// ---------------------------------------------------------------- dropout

fn with_dropout(p: f32) -> GptConfig {
    GptConfig {
        dropout: p,
        ..config(SHAPE, false, Gelu::Exact)
    }
}

#[test]
fn dropout_is_a_function_of_seed_and_step() {
    let (x, y) = batch(2, 9, 5);
    let draw = |cpu: &Cpu, p: f32, training: Option<Training>| {
        let mut model = Model::random(cpu, &with_dropout(p), 2, 9, 12);
        let (loss, grad) = model.gradient(&x, &y, 9, Objective::All, training).unwrap();
        (loss.to_bits(), bits(&grad))
    };
    let at = |seed, step| Some(Training { seed, step });
    for isa in every_isa() {
        let cpu = Cpu::with_isa(1, isa).unwrap();
        let first = draw(&cpu, 0.3, at(5, 9));
        assert_eq!(first, draw(&cpu, 0.3, at(5, 9)));
        for threads in [2, 3] {
            let cpu = Cpu::with_isa(threads, isa).unwrap();
            assert!(first == draw(&cpu, 0.3, at(5, 9)), "{threads} threads");
        }
        for (seed, step) in [(6, 9), (5, 10), (5 + (1 << 32), 9), (5, 9 + (1 << 32))] {
            assert_ne!(first, draw(&cpu, 0.3, at(seed, step)), "({seed}, {step})");
        }
        assert_ne!(first, draw(&cpu, 0.31, at(5, 9)));
        // none at a rate of 0 and none outside training
        let plain = draw(&cpu, 0.0, None);
        assert_eq!(plain, draw(&cpu, 0.0, at(5, 9)));
        assert_eq!(plain, draw(&cpu, 0.3, None));
    }
}

/// Losses and logits are those of the model without dropout, whatever the configuration's rate.
#[test]
fn predictions_have_no_dropout() {
    let cpu = Cpu::new(1).unwrap();
    let (x, y) = batch(2, 9, 6);
    let [plain, dropping] = [0.0, 0.9].map(|p| {
        let mut model = Model::random(&cpu, &with_dropout(p), 2, 9, 13);
        let loss = model.loss(&x, &y, 9, Objective::All).unwrap();
        (loss, bits(&model.logits(&x, 9).unwrap()))
    });
    assert_eq!(plain, dropping);
}

// ---------------------------------------------------------------- what is refused, and what is not hidden

#[test]
fn batches_that_do_not_fit_are_refused() {
    let cpu = Cpu::new(1).unwrap();
    let mut model = Model::random(&cpu, &config(SHAPE, true, Gelu::Exact), 2, 6, 17);
    let (x, y) = batch(2, 6, 7);
    let ones = |n: usize| vec![1u16; n];
    let with = |tokens: &[u16], at: usize, token: u16| {
        let mut tokens = tokens.to_vec();
        tokens[at] = token;
        tokens
    };
    // (x, y, t) and what the message says
    type Refused<'a> = (Vec<u16>, Vec<u16>, usize, &'a [&'a str]);
    let cases: [Refused; 9] = [
        (with(&x, 8, 11), y.clone(), 6, &["x[1, 2]", "11"]),
        (
            x.clone(),
            with(&y, 5, u16::MAX),
            6,
            &["y[0, 5]", "65535", "11"],
        ),
        (x.clone(), ones(11), 6, &["targets", "12", "11"]),
        (ones(13), ones(13), 13, &["1 to 12", "13"]),
        (x.clone(), y.clone(), 0, &["sequences of 0"]),
        (x.clone(), y.clone(), 5, &["12 tokens in sequences of 5"]),
        (vec![], vec![], 6, &["0 tokens"]),
        (ones(18), ones(18), 6, &["at most 12", "18"]),
        (ones(24), ones(24), 12, &["at most 12", "24"]),
    ];
    for (x, y, t, parts) in cases {
        let text = [
            model.loss(&x, &y, t, Objective::All).unwrap_err(),
            model.gradient(&x, &y, t, Objective::All, None).unwrap_err(),
            model.squares(&x, &y, t, Objective::All).unwrap_err(),
        ]
        .map(|e| e.to_string());
        for text in text {
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
    }
    // the same tokens in fewer, longer windows fit
    model.loss(&x, &y, 12, Objective::All).unwrap();

    let (cpu, gpt, params) = (&model.cpu, &model.gpt, &model.params);
    let (ws, grad) = (&mut model.ws, &mut model.grad);
    let short = &mut vec![0.0; 7];
    let n = gpt.n_params();
    let says = |result: Result<f64>, what: &str| match result.unwrap_err() {
        Error::Shape {
            what: of,
            expected,
            got,
        } => assert_eq!(
            (of.as_str(), expected, got),
            (what, format!("[{n}]"), "[7]".into())
        ),
        other => panic!("{other}"),
    };
    let batch = TokenBatch::new(&x, &y, 6, Objective::All);
    says(gpt.loss(cpu, short, batch, ws), "parameters");
    says(
        gpt.gradient(cpu, short, batch, None, ws, grad),
        "parameters",
    );
    says(
        gpt.gradient(cpu, params, batch, None, ws, short),
        "gradient",
    );
    let to = &mut vec![0.0; n];
    let of = Squares::Gradients;
    says(
        gpt.gradient_and_squares(cpu, short, batch, ws, grad, SquareSums { of, to }),
        "parameters",
    );
    says(
        gpt.gradient_and_squares(cpu, params, batch, ws, short, SquareSums { of, to }),
        "gradient",
    );
    says(
        gpt.gradient_and_squares(cpu, params, batch, ws, grad, SquareSums { of, to: short }),
        "squares",
    );
    let text = gpt
        .logits(cpu, params, &x, 6, ws, &mut [0.0; 131])
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("logits") && text.contains("132") && text.contains("131"),
        "{text}"
    );
}

#[test]
fn workspaces_that_cannot_be_are_refused() {
    let cpu = Cpu::new(1).unwrap();
    let config = config(SHAPE, true, Gelu::Exact);
    for (b, t, part) in [
        (1, 0, "sequence length"),
        (1, 13, "block_size = 12"),
        (0, 12, "(0, 12)"),
        (usize::MAX, 2, "batch"),
        (1 << 27, 12, "2^28"),
    ] {
        for result in [
            Workspace::for_gradients(&cpu, &config, b, t),
            Workspace::for_prediction(&cpu, &config, b, t),
        ] {
            let text = result.err().expect("refused").to_string();
            assert!(text.contains(part), "{text}");
        }
    }
}

/// One NaN in any tensor that the batch reads shows in the loss and the gradient.
#[test]
fn a_nan_is_not_hidden() {
    for isa in every_isa() {
        let cpu = Cpu::with_isa(1, isa).unwrap();
        for gelu in [Gelu::Exact, Gelu::Tanh] {
            let config = config(SHAPE, true, gelu);
            let mut model = Model::random(&cpu, &config, 2, 12, 18);
            let (x, y) = batch(2, 12, 8);
            for tensor in model.gpt.layout().tensors().to_vec() {
                for at in [tensor.range.start, tensor.range.end - 1] {
                    let kept = std::mem::replace(&mut model.params[at], f32::NAN);
                    let loss = model.loss(&x, &y, 12, Objective::All).unwrap();
                    assert!(loss.is_nan(), "{}: loss {loss}", tensor.name);
                    let of = model.gradient(&x, &y, 12, Objective::All, None).unwrap();
                    assert!(of.0.is_nan(), "{}: loss {}", tensor.name, of.0);
                    assert!(of.1.iter().any(|g| g.is_nan()), "{}", tensor.name);
                    model.params[at] = kept;
                }
            }
            assert!(model.loss(&x, &y, 12, Objective::All).unwrap().is_finite());
        }
    }
}
